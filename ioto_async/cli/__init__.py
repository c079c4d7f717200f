"""The command line ``ioto-async``; a command is loaded when it is called.

Exit status: 0 all well, 1 some of it failed, 2 wrong usage, 3 the token or the sign-in was refused, 4 the cloud or the
sign-in service was not reached, 130 interrupted, 143 asked to end by SIGTERM.
"""

import importlib
import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Final

from .._version import __version__
from ..errors import AuthenticationError, ConnectionFailedError, InvalidArgumentError, IotoError, TokenProviderError

__all__ = ["main"]

_COMMANDS: Final = {
    "call": "call",
    "demo": "demo",
    "emulator": "emulator",
    "fleet": "fleet",
    "metric": "metric",
    "provision": "fleet",
}
"""The module of each; ``provision`` is short for ``fleet provision``."""
_INTERRUPTED: Final = (130, 143)
_MASKED: Final = "--product"
"""The option whose value is not to be shown."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command in *arguments* (by default those of the process) and exit with its status."""
    if sys.stdout is None:  # closed by whoever has started this
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper):  # as stderr is: what it has no character for must not end the command
        sys.stdout.reconfigure(errors="backslashreplace")
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
            module = importlib.import_module(f"{__name__}.{_COMMANDS[command]}")
            app.command(getattr(module, command), name=command)
        status: int | None = app(arguments)
    except KeyboardInterrupt:
        status = 130
    except IotoError as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        return _complain(f"{error}{notes}", _status(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # Whoever read the results is gone. What is left of them must not be tried again at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _complain(str(error), 1)
    if status in _INTERRUPTED:
        return _complain(f"interrupted{_how_to_go_on(arguments)}", status)
    return status or 0


def _how_to_go_on(arguments: Sequence[str]) -> str:
    """What to do after an interruption of a command that notes what it has done; nothing to say of any other."""
    if arguments[:1] not in (["fleet"], ["provision"]) and arguments[:2] != ["metric", "write"]:
        return ""
    is_noted = not {"--no-journal", "-", "--from=-"} & {*arguments}
    if is_noted or any(word.startswith("--journal") for word in arguments):
        return f": to go on, run {_again(arguments)}"
    return ": there is no journal to go on from; --journal FILE keeps one"


def _again(arguments: Sequence[str]) -> str:
    """The command line with those *arguments*, but for the secret in it."""
    words: list[str] = []
    for word in arguments:
        if words[-1:] == [_MASKED]:
            words.append("…")
        else:
            words.append(f"{_MASKED}=…" if word.startswith(f"{_MASKED}=") else shlex.quote(word))
    return " ".join(("ioto-async", *words))


def _status(error: BaseException | None) -> int:
    """The exit status that tells of *error*."""
    if isinstance(error, InvalidArgumentError):
        return 2
    if isinstance(error, AuthenticationError):
        return 3
    if isinstance(error, ConnectionFailedError):
        return 4
    if isinstance(error, TokenProviderError):
        # The command line knows one provider, whose own error is the cause: of a sign-in, told by its status.
        cause = error.__cause__
        if isinstance(cause, TokenProviderError):
            return 4 if cause.status is None else 3 if 400 <= cause.status < 500 and cause.attempts == 1 else 1
    return 1


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"ioto-async: {text}\n")
    return status
