"""The command line of this process, as messages repeat it."""

import shlex
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final

__all__ = ["ARGUMENTS", "command_line"]

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
