"""Asks before something is removed."""

import sys
from typing import Annotated, Final

from cyclopts import Parameter

from ..errors import InvalidArgumentError

__all__ = ["YesFlag", "is_confirmed"]

YesFlag = Annotated[bool, Parameter(name=("--yes", "-y"), negative=(), show_default=False)]
"""The option of every command that removes something."""
_YES: Final = ("y", "yes")


def is_confirmed(question: str, *, yes: bool) -> bool:
    """Ask the user a *question*, on a terminal; not while a loop runs, as that takes Ctrl-C.

    Args:
        question: what is asked.
        yes: do not ask, as the answer is yes.

    Raises:
        InvalidArgumentError: nobody can be asked, and *yes* is false.
    """
    if yes:
        return True
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidArgumentError(f"--yes: required where nobody can be asked: {question}")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in _YES:
        return True
    sys.stderr.write("ioto-async: nothing was removed\n")
    return False
