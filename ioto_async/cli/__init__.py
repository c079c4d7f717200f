"""The command line ``ioto-async``; a command is loaded when it is called. Imports everything below.

Exit status: 0 all well, 1 some of it failed, 2 wrong usage, 3 the token was refused, 4 the cloud was not reached, 130
interrupted.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Final

from .._version import __version__
from ..errors import AuthenticationError, ConnectionFailedError, InvalidArgumentError, IotoError

__all__ = ["main"]

_COMMANDS: Final = ("call", "demo", "emulator", "provision")
_STATUS: Final = ((InvalidArgumentError, 2), (AuthenticationError, 3), (ConnectionFailedError, 4), (IotoError, 1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command in *arguments* (by default those of the process) and exit with its status."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        import cyclopts
    except ModuleNotFoundError as error:
        return _complain(f"{error.name} is not installed: pip install 'ioto-async[cli]'", 2)
    app = cyclopts.App(
        name="ioto-async",
        help="Work with EmbedThis Ioto device clouds.",
        version=__version__,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        for command in [*arguments[:1]] if {*arguments[:1]} & {*_COMMANDS} else _COMMANDS:
            app.command(getattr(importlib.import_module(f"{__name__}.{command}"), command), name=command)
        status: int | None = app(arguments)
    except KeyboardInterrupt:
        return _complain("interrupted: run the same command again to go on", 130)
    except IotoError as error:
        return _complain(str(error), next(status for kind, status in _STATUS if isinstance(error, kind)))
    except OSError as error:
        return _complain(str(error), 1)
    return status or 0


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"ioto-async: {text}\n")
    return status
