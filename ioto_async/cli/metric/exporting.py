"""``metric export``: the series of a whole fleet, as a table."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import Final

from ...bulk import Outcome, Progress
from ...client import IotoClient
from ...errors import CallError, DecodeError, InBandError, InvalidArgumentError, IotoError
from ...models import Metric
from ...operations import Kind
from ..options import Pace, connections
from ..report import ProgressBar, Stopwatch, print_report
from ..rows import BadRow, Row, Source, count_rows, opened, read_rows
from ..run import REFUSED, Failures, Interruption, Reaching, Screen, Unreachable, patience_of
from .arguments import Asked
from .tables import Form, Table, failure_row, form_of, rows_of, written

__all__ = ["export"]

_TITLE: Final = "metric export"


_EACH: Final = (InBandError, DecodeError)
"""What an answer has wrong, which is no matter of the others."""

Answers = dict[str, Metric | CallError]
"""By metric: its series, or why there is none."""


class _StoppedError(Exception):
    """The run was interrupted, so that the table is not whole."""


async def export(
    file: str,
    metrics: Sequence[str],
    asked: Asked,
    pace: Pace,
    *,
    id_column: str,
    output: Form | None,
    out: Path | None,
) -> int:
    """Read *metrics* of every device of *file*, write the points, print what came of it, and return the exit status.

    Raises:
        InvalidArgumentError: an option, the file or the environment does not fit.
        CallError: it has ended the run; the figures are printed.
        OSError: the table could not be written.
    """
    form = "csv" if output is None and out is None else form_of(output, out)
    if form is None:
        raise InvalidArgumentError(f"--out: expected a name that ends in .csv, .jsonl or .parquet, or --output: {out}")
    if len(set(metrics)) < len(metrics):
        raise InvalidArgumentError(f"--metric: a name is given twice: {', '.join(metrics)}")
    for metric in metrics:
        asked.query("-", metric)  # before anything is opened
    stopwatch, interruption = Stopwatch(), Interruption()
    client = IotoClient(
        account_id=asked.account,
        limit=connections(pace.concurrency),
        limits=pace.limits(),
        observer=stopwatch.observe,
    )
    stop: CallError | None = None
    read = partial(read_rows, id_column=id_column, option="--devices")
    count = partial(count_rows, id_column=id_column, option="--devices")
    with opened(file, read, count, "--devices") as source:
        bar = ProgressBar(_TITLE, source.total, hidden=out is None and sys.stdout.isatty())
        results = _Results(asked, bar)
        try:
            with written(form, out, asked.names()) as table, bar:
                await _go_through(client, source, metrics, asked, pace, results, table, bar, interruption)
        except REFUSED as error:
            stop = error
        except Unreachable as unreachable:
            stop = unreachable.error
        except _StoppedError:
            pass
    results.failures.finish("they have rows with an error in the table")
    if stop is None and interruption.by is None and results.pointless:
        bar.say(f"no device has points of {', '.join(results.pointless)} with these dimensions")
    figures: dict[str, object] = {**results.counts, **stopwatch.figures()}
    if out is not None and stop is None and interruption.by is None:
        figures["out"] = str(out)
    if stop is not None or interruption.by is not None:
        figures["stopped"] = str(stop) if interruption.by is None else f"by {interruption.by.name}"
    print_report(figures, as_json=pace.as_json, title=_TITLE, aside=out is None)
    if stop is not None:
        raise stop
    return interruption.status or int(results.counts["failed"] > 0)


async def _go_through(
    client: IotoClient,
    source: Source[Row | BadRow],
    metrics: Sequence[str],
    asked: Asked,
    pace: Pace,
    results: "_Results",
    table: Table,
    bar: ProgressBar,
    interruption: Interruption,
) -> None:
    async def read(row: Row) -> Answers:
        return await _read(client, row.id, metrics, asked)

    def observe(progress: Progress) -> None:
        bar.show(progress, results.not_sent)

    async with AsyncExitStack() as stack:
        good = results.good(source.rows(), table)
        rows: Iterable[Row] | AsyncIterable[Row] = good
        if source.total is None:
            rows = await stack.enter_async_context(aclosing(_piped(source, results, table)))
        await stack.enter_async_context(client)
        run = client.bulk(
            Reaching(read, patience_of(pace.concurrency)),
            rows,
            concurrency=pace.concurrency,
            ordered=True,
            key=_id_of,
            kind=Kind.READ,
            stop_on=(*REFUSED, Unreachable),
            observer=observe,
        )
        await stack.enter_async_context(run)
        stack.enter_context(interruption.of(run, bar.say))
        async for outcome in run:
            results.take(outcome, table)
    if interruption.by is not None:
        raise _StoppedError


async def _piped(source: Source[Row | BadRow], results: "_Results", table: Table) -> AsyncGenerator[Row, None]:
    async with aclosing(source.piped_rows()) as rows:
        async for row in rows:
            for good in results.good((row,), table):
                yield good


def _id_of(row: Row) -> str:
    return row.id


async def _read(client: IotoClient, device_id: str, metrics: Sequence[str], asked: Asked) -> Answers:
    """Ask for all series of a device at once, which makes one request of them."""
    queries = [asked.query(device_id, metric) for metric in metrics]
    answers = await asyncio.gather(
        *(
            client.metric.series(
                device_id,
                query.metric,
                statistic=query.statistic,
                period=query.period,
                dimensions=query.dimensions,
                start=query.start,
                namespace=query.namespace,
            )
            for query in queries
        ),
        return_exceptions=True,
    )
    read: Answers = {}
    for metric, answer in zip(metrics, answers, strict=True):
        if isinstance(answer, BaseException) and not isinstance(answer, _EACH):
            raise answer
        read[metric] = answer
    return read


class _Results:
    """Writes what was read, and takes note of what was not.

    Attributes:
        counts: the figures.
        failures: tells of them on the screen.
        not_sent: rows that name no device.
        pointless: metrics that were read, but no points of them.
    """

    def __init__(self, asked: Asked, screen: Screen) -> None:
        self._statistic = asked.statistic
        self.failures = Failures(screen)
        self.counts = dict.fromkeys(("devices", "failed", "series", "rows"), 0)
        self.not_sent = 0
        self._points: Counter[str] = Counter()

    @property
    def pointless(self) -> list[str]:
        return [metric for metric, points in self._points.items() if not points]

    def good(self, rows: Iterable[Row | BadRow], table: Table) -> Iterator[Row]:
        """The *rows* that name a device; the others have failed."""
        for row in rows:
            if isinstance(row, Row):
                yield row
                continue
            self.not_sent += 1
            self._count(failed=True)
            self._fail(table, row.line, row.id, None, row.reason)

    def take(self, outcome: Outcome[Row, Answers], table: Table) -> None:
        """Write what was read of a device.

        Raises:
            Exception: that of the outcome, if it is none that a device can be blamed for.
        """
        row, error = outcome.item, outcome.error
        if error is not None and not isinstance(error, IotoError):
            raise error
        answers = outcome.value or {}
        self._count(failed=error is not None or any(isinstance(answer, CallError) for answer in answers.values()))
        if error is not None:
            self._fail(table, row.line, row.id, None, str(error))
        for metric, answer in answers.items():
            if isinstance(answer, CallError):
                self._fail(table, row.line, row.id, metric, str(answer))
            else:
                points = rows_of(answer, row.id, self._statistic)
                table.write(points)
                self.counts["series"] += 1
                self.counts["rows"] += len(points)
                self._points[metric] += len(points)

    def _count(self, *, failed: bool) -> None:
        self.counts["devices"] += 1
        self.counts["failed"] += failed

    def _fail(self, table: Table, line: int, id: str, metric: str | None, error: str) -> None:
        self.failures.tell(line, (id or "no id") + (f": {metric}" if metric else ""), error)
        table.write([failure_row(id, metric, self._statistic, error)])
