"""The results as lines for people."""

import shutil
import textwrap
from collections.abc import Iterable
from typing import Final

from .results import CheckResult, Report, Status

__all__ = ["lines_of", "summary_of"]

_NAMES: Final = 10
_STATUSES: Final = 9
"""Widths of the columns."""
_WIDTH: Final = 80
_COLOURS: Final = {Status.OK: "32", Status.WARNING: "33", Status.FAILED: "31", Status.SKIPPED: "2"}


def lines_of(result: CheckResult, *, colour: bool = False, width: int | None = None) -> list[str]:
    """The lines for a result: its status, its name, what was found, and in lines of its own what to do.

    Args:
        result: what to print.
        colour: whether to colour the status.
        width: columns; by default those of the terminal, and 80 at most.
    """
    width = width or min(shutil.get_terminal_size((_WIDTH, 24)).columns, _WIDTH)
    indent = " " * (_STATUSES + _NAMES)
    first = f"{result.status:<{_STATUSES}}{result.name:<{_NAMES}}"
    lines = _wrapped(result.summary, first, indent, width)
    if result.hint:
        lines += _wrapped(result.hint, f"{indent}-> ", f"{indent}   ", width)
    if colour:
        lines[0] = f"\x1b[{_COLOURS[result.status]}m{lines[0][:_STATUSES]}\x1b[0m{lines[0][_STATUSES:]}"
    return lines


def _wrapped(text: str, first: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, len(indent) + 20),
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def summary_of(report: Report) -> str:
    """One line about all results."""
    counts = {status: report.count(status) for status in Status}
    parts = [*_counted(counts[Status.FAILED], "check has failed", "checks have failed")]
    parts += _counted(counts[Status.WARNING], "warning", "warnings")
    if not parts:
        return "No problems found."
    return f"{', '.join(parts)}."


def _counted(count: int, one: str, more: str) -> Iterable[str]:
    return [f"{count} {one if count == 1 else more}"] if count else []
