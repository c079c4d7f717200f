"""What messages to the user of a command say: the command line of this process, and what an error was."""

import shlex
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final

__all__ = ["ARGUMENTS", "command_line", "text_of"]

ARGUMENTS: Final[ContextVar[Sequence[str]]] = ContextVar("ARGUMENTS", default=())
"""The arguments of the command that runs."""
_MASKED_OPTION: Final = "--product"
"""The option whose value is not printed."""


def command_line(*more: str, without: str | None = None) -> str:
    """The command that runs, with *more* arguments, and without secrets and the flag *without*."""
    words: list[str] = []
    for argument in (*ARGUMENTS.get(), *more):
        if argument == without:
            continue
        if words[-1:] == [_MASKED_OPTION]:
            words.append("…")
        else:
            words.append(f"{_MASKED_OPTION}=…" if argument.startswith(f"{_MASKED_OPTION}=") else shlex.quote(argument))
    return " ".join(("ioto-async", *words))


def text_of(error: BaseException | None) -> str:
    """What is said of *error*: of one of the system its words and the file, without its number."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
