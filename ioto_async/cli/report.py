"""Progress and failures on stderr, figures at the end."""

import json
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self, TextIO

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from .. import bulk
from ..transport.attempt import Attempt

__all__ = ["Failures", "ProgressBar", "RequestStats", "print_report", "print_table", "table_width"]

_RESOLUTION: Final = 0.01
"""Relative error of a percentile; with it, the latencies of millions of requests fit into a few hundred counters."""
_INTERVAL: Final = 5.0
"""Seconds between two lines of progress where stderr is not a terminal."""
_LONGEST_ETA: Final = 360_000.0
"""Seconds that are told of as the time that is left; a run that seems to need longer has only come to a halt."""
_FAILURES_SHOWN: Final = 20
_SHOWN_OF_A_CAUSE: Final = 3
_CAUSES: Final = 1000
"""Causes that are told apart; more would be as many as there are rows."""
_CAUSES_SHOWN: Final = 10
_OWN: Final = re.compile(r"'[^']*'|\b(?=\w*\d)\w{9,}\b|\b(?!\d{3}\b)\d+(?:\.\d+)?\b")
"""What is of one row in an error: quoted texts, IDs, and numbers that are no status."""
_PIPE_WIDTH: Final = 200
"""Columns of a table that does not go to a terminal, so that paths stay in one piece."""


class RequestStats:
    """Counts requests by their latency; give `observe` to a client."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._started = time.perf_counter()

    def observe(self, attempt: Attempt) -> None:
        """Count one attempt."""
        self._counts[round(math.log(max(attempt.elapsed, 1e-6)) / _RESOLUTION)] += 1

    def figures(self, *, seconds_only: bool = False) -> dict[str, float]:
        """Requests, seconds, requests a second, and median and 99th percentile of the latency in ms.

        Args:
            seconds_only: leave out all but the seconds, as this process has sent no requests itself.
        """
        seconds = time.perf_counter() - self._started
        if seconds_only:
            return {"seconds": round(seconds, 3)}
        requests = self._counts.total()
        return {
            "requests": requests,
            "seconds": round(seconds, 3),
            "requests_per_second": round(requests / seconds, 1),
            "p50_ms": round(self._percentile(requests, 50) * 1000, 2),
            "p99_ms": round(self._percentile(requests, 99) * 1000, 2),
        }

    def _percentile(self, requests: int, percent: int) -> float:
        left = math.ceil(requests * percent / 100)
        for exponent, count in sorted(self._counts.items()):
            left -= count
            if left <= 0:
                return math.exp(exponent * _RESOLUTION)
        return 0.0


class ProgressBar:
    """Progress on stderr: a bar on a terminal, elsewhere a line every five seconds.

    Args:
        title: of the run.
        total: number of items, if it is known.
        console: where to print; stderr by default.
        hidden: draw no bar, as results go to the same terminal.
    """

    def __init__(self, title: str, total: int | None, *, console: Console | None = None, hidden: bool = False) -> None:
        self._title, self._total = title, total
        self._console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[more]}"),
            console=self._console,
            redirect_stdout=False,  # it would send to the terminal what stdout sends to a file
            disable=hidden or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=total, more="")
        self._next = _INTERVAL

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:  # rich would print an empty line
            self._bar.stop()

    def update(self, progress: bulk.Progress, not_sent: int = 0) -> None:
        """Show the *progress* of a bulk run; *not_sent* items failed before they were part of it."""
        summary = progress.summary
        done, failed = summary.done + not_sent, summary.failed + not_sent
        more = [f"{progress.rate:.0f}/s", f"{failed} failed"]
        if summary.unknown:
            more.append(f"{summary.unknown} unknown")
        more.append(f"{progress.in_flight} in flight")
        if progress.paused:
            more.append(f"paused for {_duration(progress.paused)}, as the service asks")
        elif self._total is not None and progress.rate and summary.stopped is None:
            eta = (self._total - done) / progress.rate
            if eta < _LONGEST_ETA:
                more.append(f"eta {_duration(eta)}")
        if not self._bar.disable:
            self._bar.update(self._task, completed=done, more=", ".join(more))
        elif progress.elapsed >= self._next and not self._console.is_terminal:
            self._next += _INTERVAL * ((progress.elapsed - self._next) // _INTERVAL + 1)
            total = "?" if self._total is None else self._total
            self.print(f"{self._title}: {done}/{total}, {', '.join(more)}")

    def print(self, line: str) -> None:
        """Print a *line* above the bar, if there is one."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(math.ceil(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@attrs.define
class _Cause:
    """Failures of one cause, of which one is the example."""

    line: int
    error: str
    count: int = 0
    printed: int = 0


class Failures:
    """Prints the first failed rows of each cause, and counts the others.

    Args:
        print_line: prints a line on stderr.
    """

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print = print_line
        self._causes: dict[str, _Cause] = {}
        self._count = self._printed = 0

    def add(self, line: int, label: str, error: str) -> None:
        """Add the row on *line* of the file, which failed with *error*."""
        name = _cause_of(label, error)
        if name not in self._causes and len(self._causes) == _CAUSES:
            name = ""
        cause = self._causes.setdefault(name, _Cause(line, error))
        cause.count += 1
        self._count += 1
        if cause.printed < _SHOWN_OF_A_CAUSE and self._printed < _FAILURES_SHOWN:
            cause.printed += 1
            self._printed += 1
            self._print(f"line {line}: {label}: {error}")

    def finish(self, hint: str) -> None:
        """Print how many failures were not printed, by their causes; *hint* says what can be done about all."""
        if self._count == self._printed:
            return
        hidden = [cause for name, cause in self._causes.items() if name and cause.count > cause.printed]
        hidden.sort(key=lambda cause: cause.printed - cause.count)
        rest = self._count - self._printed
        for cause in hidden[:_CAUSES_SHOWN]:
            more = cause.count - cause.printed
            rest -= more
            self._print(f"and {more} more like line {cause.line}: {cause.error}")
        if rest:
            self._print(f"and {rest} more of other causes")
        self._print(f"{self._count} failed: {hint}")


def _cause_of(label: str, error: str) -> str:
    """What errors of one cause have in common: *error* without what it quotes of its row."""
    text = error.replace(label, "…") if len(label) > 1 else error
    return _OWN.sub("…", text)


def print_report(figures: Mapping[str, object], *, as_json: bool, title: str, to_stderr: bool = False) -> None:
    """Print *figures* as a table or as one JSON object, on stdout unless results are there already."""
    file = sys.stderr if to_stderr else sys.stdout
    if as_json:
        file.write(json.dumps(figures) + "\n")
        return
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(justify="right", overflow="fold")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value))
    print_table(table, file)


def print_table(table: Table, file: TextIO) -> None:
    """Print *table* to *file*, as wide as the terminal if it is one."""
    _console(file).print(table)


def table_width(file: TextIO) -> int:
    """Columns that a table in *file* may have."""
    return _console(file).width


def _console(file: TextIO) -> Console:
    width = None if file.isatty() else _PIPE_WIDTH
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False)
