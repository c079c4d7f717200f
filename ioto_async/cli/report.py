"""Progress on stderr, results on stdout."""

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Annotated, Final, Self

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from .. import bulk
from ..transport.attempt import Attempt

__all__ = ["FLAG", "JsonFlag", "ProgressBar", "Stopwatch", "print_report"]

FLAG: Final = Parameter(negative=(), show_default=False)
"""How an option without a value is declared."""

JsonFlag = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]
"""The option of every command that prints figures."""


_GRAIN: Final = 0.01
"""How exact a percentile is, as a share of it; so the times of millions of requests are a few hundred numbers."""
_EVERY: Final = 5.0
"""Seconds between two lines about the progress where there is no terminal."""


class Stopwatch:
    """Counts requests by how long they took; give `observe` to a client."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._started = time.perf_counter()

    def observe(self, attempt: Attempt) -> None:
        """Take note of one attempt."""
        self._counts[round(math.log(max(attempt.elapsed, 1e-6)) / _GRAIN)] += 1

    def figures(self, *, in_part: bool = False) -> dict[str, float]:
        """Requests, seconds, requests a second, and median and 99th percentile of the latency in ms.

        Args:
            in_part: the seconds alone, as the requests are sent elsewhere.
        """
        seconds = time.perf_counter() - self._started
        if in_part:
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
        for grain, count in sorted(self._counts.items()):
            left -= count
            if left <= 0:
                return math.exp(grain * _GRAIN)
        return 0.0


class ProgressBar:
    """How far a run is, on stderr: a bar on a terminal, elsewhere a line now and then, the first after five seconds.

    Args:
        title: of the run.
        total: items, if that is known.
        console: where to; stderr.
        hidden: draw no bar, as lines of results go to the same terminal.
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
            redirect_stdout=False,  # it would take results that go to a file to the terminal
            disable=hidden or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=total, more="")
        self._next = _EVERY

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:  # rich would end a line that was never begun
            self._bar.stop()

    def show(self, progress: bulk.Progress, not_sent: int = 0) -> None:
        """Show the *progress* of a run; *not_sent* items have failed before they came to it."""
        summary = progress.summary
        done, failed = summary.done + not_sent, summary.failed + not_sent
        more = [f"{progress.rate:.0f}/s", f"{failed} failed"]
        if summary.unknown:
            more.append(f"{summary.unknown} unknown")
        more.append(f"{progress.in_flight} in flight")
        if progress.paused:
            more.append(f"paused for {_duration(progress.paused)}, as the service asks")
        elif self._total is not None and progress.rate and summary.stopped is None:
            more.append(f"eta {_duration((self._total - done) / progress.rate)}")
        if not self._bar.disable:
            self._bar.update(self._task, completed=done, more=", ".join(more))
        elif progress.elapsed >= self._next and not self._console.is_terminal:
            self._next += _EVERY * ((progress.elapsed - self._next) // _EVERY + 1)
            total = "?" if self._total is None else self._total
            self.say(f"{self._title}: {done}/{total}, {', '.join(more)}")

    def say(self, text: str) -> None:
        """Print a line above the bar, or plainly where there is none."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(math.ceil(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def print_report(figures: Mapping[str, object], *, as_json: bool, title: str, aside: bool = False) -> None:
    """Print *figures* as a table, or as one JSON object, on stdout; *aside*, on stderr, as stdout has results."""
    file = sys.stderr if aside else sys.stdout
    if as_json:
        file.write(json.dumps(figures) + "\n")
        return
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(justify="right", overflow="fold")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value))
    # Nobody breaks the lines of a pipe: paths stay in one piece.
    Console(file=file, width=None if file.isatty() else 200).print(table)
