"""``metric export``: the series of a whole fleet as a table."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Final

import attrs

from ...bulk import Bulk, Outcome
from ...client import IotoClient
from ...errors import CallError, DecodeError, InBandError, InvalidArgumentError
from ...models import Metric
from ...operations import Kind
from ..files import is_stdout
from ..options import RunOptions, check_account
from ..report import RequestStats
from ..rows import BadRow, Row, open_source, read_rows
from ..run import AUTH_ERRORS, CircuitBreaker, Ending, FileRun, UnreachableError
from .arguments import QueryOptions
from .tables import Table, TableFormat, error_row, format_of, open_table, point_rows

__all__ = ["export"]

_METRIC_ERRORS: Final = (InBandError, DecodeError)
"""Errors that concern one of the metrics in a reply."""

SeriesByMetric = dict[str, Metric | CallError]
"""By the name of each metric: its series, or why there is none."""


class _IncompleteError(Exception):
    """The run has ended before all rows, so that the table must not replace an older one."""


async def export(
    file: str,
    metrics: Sequence[str],
    query: QueryOptions,
    options: RunOptions,
    *,
    id_column: str,
    output: TableFormat | None,
    out: Path | None,
) -> int:
    """Read *metrics* of every device of *file*, write the points, print the figures, and return the exit status.

    Raises:
        InvalidArgumentError: an option, the file or the environment does not fit.
        CallError: it has ended the run; the figures are printed.
        OSError: the table could not be written.
    """
    format = format_of(output, out) or "csv"
    if len(set(metrics)) < len(metrics):
        raise InvalidArgumentError(f"--metric: a name is given twice: {', '.join(metrics)}")
    for metric in metrics:
        query.query("-", metric)  # check the options before anything is opened
    requests = RequestStats()
    client = IotoClient(account_id=check_account(query.account), **options.client_options(requests.observe))
    read = partial(read_rows, id_column=id_column, option="--devices")
    with (
        open_source(file, read, "--devices") as source,
        Ending() as ending,
        contextlib.suppress(_IncompleteError),
        open_table(format, out, query.dimension_names()) as table,
    ):
        run = ExportRun(
            title="metric export",
            source=source,
            options=options,
            counts=dict.fromkeys(("devices", "failed", "series", "rows"), 0),
            uses_stdout=out is None or is_stdout(out),
            client=client,
            metrics=metrics,
            query=query,
            table=table,
        )
        ending.run = run
        await run.run()
        if run.is_stopped:
            raise _IncompleteError
    figures: dict[str, object] = {**requests.figures()}
    if out is not None and not run.is_stopped:
        figures["out"] = str(out)
    return run.report(figures)


@attrs.define(kw_only=True, eq=False)
class ExportRun(FileRun[Row, SeriesByMetric]):
    """A run of ``metric export``."""

    client: IotoClient
    metrics: Sequence[str]
    query: QueryOptions
    table: Table
    points: Counter[str] = attrs.field(factory=Counter, init=False)
    """How many points of each metric have been read."""

    @contextlib.asynccontextmanager
    async def open_bulk(
        self, rows: Iterable[Row] | AsyncIterable[Row]
    ) -> AsyncGenerator[Bulk[Row, SeriesByMetric], None]:
        """Open the bulk run, which makes one call for each device."""
        bulk = self.client.bulk(
            CircuitBreaker(self._read, self.options.patience_seconds, self.progress.print),
            rows,
            concurrency=self.options.concurrency,
            ordered=True,
            key=attrgetter("key"),
            kind=Kind.READ,
            stop_on=(*AUTH_ERRORS, UnreachableError),
            observer=self.observe,
        )
        async with self.client, bulk:
            yield bulk

    async def _read(self, row: Row) -> SeriesByMetric:
        """Read all metrics of a device at once, so that they share one request."""
        queries = [self.query.query(row.id, metric) for metric in self.metrics]
        results = await asyncio.gather(
            *(
                self.client.metric.series(
                    row.id,
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
        series: SeriesByMetric = {}
        for metric, result in zip(self.metrics, results, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, _METRIC_ERRORS):
                raise result
            series[metric] = result
        return series

    def record(self, outcome: Outcome[Row, SeriesByMetric]) -> None:
        """Count an outcome, and write it to the table."""
        row, error, series = outcome.item, outcome.error, outcome.value or {}
        if error is not None:
            self._write_error(row, None, str(error))
        for metric, result in series.items():
            if isinstance(result, CallError):
                self._write_error(row, metric, str(result))
                continue
            points = point_rows(result, row.id, self.query.statistic)
            self.table.write(points)
            self.counts["series"] += 1
            self.counts["rows"] += len(points)
            self.points[metric] += len(points)
        self.counts["failed"] += error is not None or any(isinstance(result, CallError) for result in series.values())

    def record_refused(self, row: Row | BadRow, reason: str) -> None:
        """Write a row that cannot be used to the table."""
        self.table.write([error_row(row.label, None, self.query.statistic, reason)])

    def _write_error(self, row: Row, metric: str | None, error: str) -> None:
        self.fail(row, error if metric is None else f"{metric}: {error}")
        self.table.write([error_row(row.id, metric, self.query.statistic, error)])

    def summarize(self) -> None:
        """Say where the other failures are, and which metrics have no points."""
        self.failures.finish("they have rows with an error in the table")
        without_points = [metric for metric, points in self.points.items() if not points]
        if without_points and not self.is_stopped:
            self.progress.print(f"no device has points of {', '.join(without_points)} with these dimensions")
