"""``metric export``: the series of a whole fleet as a table."""

import asyncio
import contextlib
import math
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Final

import attrs

from ...bulk import Bulk, Outcome
from ...client import IotoClient
from ...errors import CallError, DecodeError, InBandError, InvalidArgumentError, IotoError
from ...operations import Kind
from ..command_line import command_line
from ..files import is_stdout
from ..options import RunOptions, check_account
from ..report import RequestStats
from ..rows import BadRow, Row, open_source, read_rows
from ..run import AUTH_ERRORS, CircuitBreaker, Ending, FileRun, UnreachableError
from .arguments import QueryOptions
from .journal import Earlier, journal_name, journal_path, prepare_journal
from .tables import (
    PointRow,
    SeriesValues,
    Table,
    TableFormat,
    error_row,
    format_of,
    open_table,
    rows_of,
    series_values,
)

__all__ = ["export"]

_METRIC_ERRORS: Final = (InBandError, DecodeError)
"""Errors that concern one of the metrics in a reply."""

Answers = dict[str, SeriesValues]
"""By the name of each metric, its series."""


class _IncompleteError(Exception):
    """The run has ended before all rows, so that the table must not replace an older one."""


class PartialReadError(IotoError):
    """Some metrics of a device could not be read.

    Attributes:
        answers: the others.
        errors: by the name of each metric, why there is none.
    """

    def __init__(self, answers: Answers, errors: dict[str, CallError]) -> None:
        super().__init__("; ".join(f"{metric}: {error}" for metric, error in errors.items()))
        self.answers = answers
        self.errors = errors


async def export(
    file: str,
    metrics: Sequence[str],
    query: QueryOptions,
    options: RunOptions,
    *,
    id_column: str,
    output: TableFormat | None,
    out: Path | None,
    restart: bool,
) -> int:
    """Read *metrics* of every device of *file*, write the points, print the figures, and return the exit status.

    Raises:
        InvalidArgumentError: an option, the file or the environment does not fit, or an interrupted run of another
            export has left its journal.
        CallError: it has ended the run; the figures are printed.
        OSError: the table could not be written.
    """
    format = format_of(output, out) or "csv"
    if len(set(metrics)) < len(metrics):
        raise InvalidArgumentError(f"--metric: a name is given twice: {', '.join(metrics)}")
    for metric in metrics:
        query.query("-", metric)  # check the options before anything is opened
    journal = journal_path(out)
    if restart and journal is None:
        raise InvalidArgumentError("--restart: there is no file to begin anew: give --out FILE")
    requests = RequestStats()
    client = IotoClient(account_id=check_account(query.account), **options.client_options(requests.observe))
    read = partial(read_rows, id_column=id_column, option="--devices")
    with (
        open_source(file, read, "--devices") as source,
        Ending() as ending,
        contextlib.suppress(_IncompleteError),
        open_table(format, out, query.dimension_names()) as table,
    ):
        name = journal_name(source, metrics, query, id_column, client.account_id)
        left = None if journal is None else await prepare_journal(journal, name, query, restart=restart)
        run = ExportRun(
            title="metric export",
            source=source,
            options=options,
            counts=dict.fromkeys(("devices", "failed", "series", "rows"), 0),
            journal=journal,
            uses_stdout=out is None or is_stdout(out),
            client=client,
            metrics=metrics,
            query=query,
            table=table,
            name=name,
            left=left,
        )
        ending.run = run
        try:
            await run.run()
        finally:
            if not run.has_read:
                run.forget()
        if run.is_stopped:
            raise _IncompleteError
    figures: dict[str, object] = {**requests.figures()}
    if left is not None:
        figures["read_earlier"] = run.read_earlier
    if run.is_stopped:
        run.say_how_to_go_on()
    else:
        run.forget()  # the table is in its place
        if out is not None:
            figures["out"] = str(out)
    return run.report(figures)


@attrs.define(kw_only=True, eq=False)
class ExportRun(FileRun[Row, Answers]):
    """A run of ``metric export``.

    What was read is in the journal, and from there the table is written again by the next run, if this one is
    interrupted. The table is in the order of the rows, those that cannot be used included.
    """

    client: IotoClient
    metrics: Sequence[str]
    query: QueryOptions
    table: Table
    name: str
    """What the journal is of."""
    left: Earlier | None
    """What an interrupted run has left."""
    points: Counter[str] = attrs.field(factory=Counter, init=False)
    """How many points of each metric have been read."""
    has_read: bool = attrs.field(init=False)
    """Whether there is something to go on from."""
    read_earlier: int = attrs.field(default=0, init=False)
    """Devices that an interrupted run has read."""
    outstanding: int = attrs.field(default=0, init=False)
    """Rows that can be used and have no outcome yet."""
    refused_rows: deque[tuple[int, PointRow]] = attrs.field(factory=deque, init=False)
    """What is to be written for rows that cannot be used, after what comes before them; with the number of the line."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.has_read = self.left is not None
        if self.left is not None:
            self.progress.print(str(self.left))

    def forget(self) -> None:
        """Remove the journal."""
        if self.journal is not None:
            self.journal.unlink(missing_ok=True)
            self.journal = None

    def say_how_to_go_on(self) -> None:
        """Say what to do after the run was stopped, if there is something to go on from."""
        if self.journal is not None:
            again = command_line(without="--restart")
            self.progress.print(f"what was read is kept in {self.journal}: to go on, run {again}")

    @contextlib.asynccontextmanager
    async def open_bulk(self, rows: Iterable[Row] | AsyncIterable[Row]) -> AsyncGenerator[Bulk[Row, Answers], None]:
        """Open the bulk run, which makes one call for each device."""
        bulk = self.client.bulk(
            CircuitBreaker(self._read, self.options.patience_seconds, self.progress.print),
            rows,
            concurrency=self.options.concurrency,
            journal=self.journal,
            name=self.name,
            keep_values=True,
            retry_failed=True,
            ordered=True,
            key=attrgetter("key"),
            kind=Kind.READ,
            stop_on=(*AUTH_ERRORS, UnreachableError),
            observer=self.observe,
        )
        async with self.client, bulk:
            yield bulk

    async def _read(self, row: Row) -> Answers:
        """Read all metrics of a device at once, so that they share one request.

        Raises:
            PartialReadError: some could not be read.
        """
        range = None if self.left is None else self.left.range
        queries = [self.query.query(row.id, metric) for metric in self.metrics]
        results = await asyncio.gather(
            *(
                self.client.metric.series(
                    row.id,
                    query.metric,
                    statistic=query.statistic,
                    period=query.period,
                    dimensions=query.dimensions,
                    start=query.start if range is None else range.start,
                    namespace=query.namespace,
                )
                for query in queries
            ),
            return_exceptions=True,
        )
        answers: Answers = {}
        errors: dict[str, CallError] = {}
        for metric, result in zip(self.metrics, results, strict=True):
            if isinstance(result, _METRIC_ERRORS):
                errors[metric] = result
            elif isinstance(result, BaseException):
                raise result
            else:
                answers[metric] = series_values(result, self.query.statistic, None if range is None else range.end)
        if errors:
            raise PartialReadError(answers, errors)
        self.has_read = True
        return answers

    def check(self, row: Row) -> None:
        """Count a row that can be used."""
        self.outstanding += 1

    def record(self, outcome: Outcome[Row, Answers]) -> None:
        """Count an outcome, and write it to the table."""
        row, error, answers = outcome.item, outcome.error, outcome.value or {}
        errors: dict[str, CallError] = {}
        self._write_refused(row.line)
        self.outstanding -= 1
        self.read_earlier += outcome.status == "skipped"
        self.counts["failed"] += error is not None
        if isinstance(error, PartialReadError):
            answers, errors = error.answers, error.errors
        elif error is not None:
            self._write_error(row, None, str(error))
        for metric in self.metrics:
            if metric in errors:
                self._write_error(row, metric, str(errors[metric]))
            elif metric in answers:
                points = rows_of(answers[metric], row.id, self.query.statistic)
                self.table.write(points)
                self.counts["series"] += 1
                self.counts["rows"] += len(points)
                self.points[metric] += len(points)
        if not self.outstanding:
            self._write_refused()

    def record_refused(self, row: Row | BadRow, reason: str) -> None:
        """Write a row that cannot be used to the table, when it is its turn."""
        self.refused_rows.append((row.line, error_row(row.label, None, self.query.statistic, reason)))
        if not self.outstanding:
            self._write_refused()

    def _write_refused(self, before: float = math.inf) -> None:
        while self.refused_rows and self.refused_rows[0][0] < before:
            self.table.write([self.refused_rows.popleft()[1]])

    def _write_error(self, row: Row, metric: str | None, error: str) -> None:
        self.fail(row, error if metric is None else f"{metric}: {error}")
        self.table.write([error_row(row.id, metric, self.query.statistic, error)])

    def summarize(self) -> None:
        """Say where the other failures are, and which metrics have no points."""
        self.failures.finish("they have rows with an error in the table")
        without_points = [metric for metric, points in self.points.items() if not points]
        if without_points and not self.is_stopped:
            self.progress.print(f"no device has points of {', '.join(without_points)} with these dimensions")
