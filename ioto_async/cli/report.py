"""Progress on stderr, results on stdout. Imports the transport for what an observer is given."""

import json
import math
import sys
import time
from array import array
from collections.abc import Mapping
from types import TracebackType
from typing import Annotated, Final, Self

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..attempt import Attempt

__all__ = ["FLAG", "JsonFlag", "ProgressBar", "Stopwatch", "print_report"]

FLAG: Final = Parameter(negative=(), show_default=False)
"""How an option without a value is declared."""

JsonFlag = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]
"""The option of every command that prints figures."""


class Stopwatch:
    """Counts requests and keeps how long each took; give `observe` to a client."""

    def __init__(self) -> None:
        self._elapsed = array("d")
        self._started = time.perf_counter()

    def observe(self, attempt: Attempt) -> None:
        """Take note of one attempt."""
        self._elapsed.append(attempt.elapsed)

    def figures(self) -> dict[str, float]:
        """Requests, seconds, requests a second, and median and 99th percentile of the latency in ms."""
        seconds = time.perf_counter() - self._started
        ordered = sorted(self._elapsed)
        return {
            "requests": len(ordered),
            "seconds": round(seconds, 3),
            "requests_per_second": round(len(ordered) / seconds, 1),
            "p50_ms": round(_percentile(ordered, 50) * 1000, 2),
            "p99_ms": round(_percentile(ordered, 99) * 1000, 2),
        }


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else 0.0


class ProgressBar:
    """A bar on stderr, shown only where somebody looks: on a terminal."""

    def __init__(self, title: str, total: int | None) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]} failed"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=total, failed=0)

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:  # rich would end a line that was never begun
            self._bar.stop()

    def update(self, done: int, failed: int) -> None:
        """Show that *done* are over, *failed* of them without success."""
        self._bar.update(self._task, completed=done, failed=failed)

    def say(self, text: str) -> None:
        """Print a line above the bar, or plainly where there is none."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_report(figures: Mapping[str, object], *, as_json: bool, title: str) -> None:
    """Print *figures* on stdout: a table, or one JSON object."""
    if as_json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(justify="right", overflow="fold")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value))
    # Nobody breaks the lines of a pipe: paths stay in one piece.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
