"""Points of metrics as a table in CSV, JSON lines or Parquet, written as they come."""

import contextlib
import csv
import importlib
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, Protocol, TypedDict

import orjson

from ..._install import install_command
from ...errors import InvalidArgumentError
from ...models import Metric, Metrics
from ..files import is_stdout, is_stream, naming, open_output
from ..listing import text_of

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "PointRow",
    "SeriesValues",
    "Table",
    "TableFormat",
    "error_row",
    "format_of",
    "iso_date",
    "open_table",
    "point_rows",
    "rows_of",
    "series_values",
]

TableFormat = Literal["csv", "jsonl", "parquet"]

_FORMATS: Final[tuple[TableFormat, ...]] = ("csv", "jsonl", "parquet")
_ROW_GROUP: Final = 20_000
"""Rows of a Parquet row group, which are kept in memory until it is written."""


class PointRow(TypedDict):
    """A point, or an error."""

    device_id: str
    namespace: str | None
    metric: str | None
    dimensions: dict[str, str]
    statistic: str
    period: float | None
    timestamp: datetime | None
    value: float | None
    count: float | None
    error: str | None


_NUMBERS: Final = ("period", "value", "count")


class SeriesValues(TypedDict):
    """The points of a metric, as JSON has them."""

    namespace: str | None
    metric: str | None
    dimensions: dict[str, str]
    period: float | None
    samples: float | None
    points: list[tuple[str | None, float | None, float | None]]
    """The timestamp of each, its value, and the number of its samples."""


def series_values(metric: Metric, statistic: str, end: datetime | None = None) -> SeriesValues:
    """The points of a *metric*, of a *statistic* that was asked for, dated no later than *end*."""
    metric.statistic = statistic
    for point in metric.points or ():
        if end is not None and point.timestamp is not None:
            point.timestamp = min(point.timestamp, end)
    return SeriesValues(
        namespace=metric.namespace,
        metric=metric.metric,
        dimensions={name: text_of(value) for name, value in (metric.dimensions or {}).items()},
        period=metric.period,
        samples=metric.samples,
        points=[
            (None if row["timestamp"] is None else row["timestamp"].isoformat(), row["value"], row["count"])
            for row in Metrics([metric]).to_rows()
        ],
    )


def rows_of(series: SeriesValues, device_id: str, statistic: str) -> list[PointRow]:
    """A row for each point of a *series* of a device."""
    return [
        PointRow(
            device_id=device_id,
            namespace=series["namespace"],
            metric=series["metric"],
            dimensions=series["dimensions"],
            statistic=statistic,
            period=series["period"],
            timestamp=None if timestamp is None else datetime.fromisoformat(timestamp),
            value=value,
            count=count,
            error=None,
        )
        for timestamp, value, count in series["points"]
    ]


def point_rows(metric: Metric, device_id: str, statistic: str) -> list[PointRow]:
    """The points of a *metric* of a device, of a *statistic* that was asked for."""
    return rows_of(series_values(metric, statistic), device_id, statistic)


def error_row(device_id: str, metric: str | None, statistic: str, error: str) -> PointRow:
    """The row for a metric that could not be read, or for all metrics of a device."""
    return PointRow(
        device_id=device_id,
        namespace=None,
        metric=metric,
        dimensions={},
        statistic=statistic,
        period=None,
        timestamp=None,
        value=None,
        count=None,
        error=error,
    )


def iso_date(date: datetime | None) -> str:
    """A *date* in UTC as ISO text, to the millisecond at most; empty for None."""
    if date is None:
        return ""
    text = date.isoformat(timespec="milliseconds" if date.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def format_of(output: str | None, out: Path | None) -> TableFormat | None:
    """The format that *output* names, or else the suffix of the file *out*; None if neither names one.

    Devices and pipes, whose names tell nothing, get CSV.

    Raises:
        InvalidArgumentError: there is a file, but no format for it.
    """
    suffix = None if out is None else out.suffix.removeprefix(".")
    found = next((known for known in _FORMATS if known == (output or suffix)), None)
    if found is None and out is not None:
        if is_stream(out):
            return "csv"
        raise InvalidArgumentError(f"--out: expected a name that ends in .csv, .jsonl or .parquet, or --output: {out}")
    return found


class Table(Protocol):
    """A table that is being written."""

    def write(self, rows: Iterable[PointRow]) -> None:
        """Add *rows*."""

    def close(self) -> None:
        """Write what is still in memory."""


@contextlib.contextmanager
def open_table(format: TableFormat, out: Path | None, dimensions: Sequence[str]) -> Iterator[Table]:
    """Open a table on stdout, or in the file *out* as `open_output` does.

    Args:
        format: of the table.
        out: the file; None for stdout.
        dimensions: the names of the dimensions that rows may have.

    Raises:
        InvalidArgumentError: *out* cannot be written, another process writes it, or it is Parquet for a terminal.
    """
    columns = [*_columns(dimensions)]
    if format == "parquet":
        _check_pyarrow()
    if out is None or is_stdout(out):
        if format == "parquet" and sys.stdout.isatty():
            raise InvalidArgumentError("--output: parquet is not for a terminal: give --out FILE")
        sys.stdout.flush()
        with contextlib.closing(_table(format, sys.stdout.buffer, columns)) as table:
            yield table
        sys.stdout.buffer.flush()
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open_output(out, "--out"))
        except OSError as error:
            raise InvalidArgumentError(f"--out: {error.strerror}: {out}") from None
        yield _Named(stack.enter_context(contextlib.closing(_table(format, file, columns))), out)


class _Named:
    """A table whose errors name its file."""

    def __init__(self, table: Table, path: Path) -> None:
        self._table = table
        self._path = path

    def write(self, rows: Iterable[PointRow]) -> None:
        with naming(self._path):
            self._table.write(rows)

    def close(self) -> None:
        """It is closed with its file."""


def _table(format: TableFormat, file: BinaryIO, columns: Sequence[str]) -> Table:
    if format == "csv":
        return _Csv(file, columns)
    return _JsonLines(file) if format == "jsonl" else _Parquet(file, columns)


def _columns(dimensions: Iterable[str]) -> Iterator[str]:
    for name in PointRow.__annotations__:
        if name == "dimensions":
            yield from (f"dimensions.{dimension}" for dimension in dimensions)
        else:
            yield name


def _flat(row: PointRow) -> dict[str, object]:
    """A row with a column for each dimension, named as `Metrics.to_pandas` does."""
    return {**row, **{f"dimensions.{name}": value for name, value in row["dimensions"].items()}}


class _JsonLines:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, rows: Iterable[PointRow]) -> None:
        options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
        self._file.writelines(orjson.dumps(row, option=options) for row in rows)

    def close(self) -> None:
        """Nothing is kept in memory."""


class _Csv:
    def __init__(self, file: BinaryIO, columns: Sequence[str]) -> None:
        self._file = file
        self._columns = columns
        self._write([columns])

    def write(self, rows: Iterable[PointRow]) -> None:
        self._write([_cell(flat.get(name)) for name in self._columns] for flat in map(_flat, rows))

    def _write(self, rows: Iterable[Sequence[object]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())

    def close(self) -> None:
        """Nothing is kept in memory."""


def _cell(value: object) -> object:
    return iso_date(value) if isinstance(value, datetime) else value


class _Parquet:
    def __init__(self, file: BinaryIO, columns: Sequence[str]) -> None:
        import pyarrow
        import pyarrow.parquet

        self._schema = pyarrow.schema([(name, _arrow_type(name)) for name in columns])
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema)
        self._rows: list[dict[str, object]] = []

    def write(self, rows: Iterable[PointRow]) -> None:
        self._rows.extend(map(_flat, rows))
        if len(self._rows) >= _ROW_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow

        self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def close(self) -> None:
        if self._rows:
            self._write_group()
        self._writer.close()


def _arrow_type(column: str) -> "pyarrow.DataType":
    import pyarrow

    if column == "timestamp":
        return pyarrow.timestamp("us", "UTC")
    return pyarrow.float64() if column in _NUMBERS else pyarrow.string()


def _check_pyarrow() -> None:
    try:
        importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        text = f"--output: {error.name} is not installed, which parquet needs: {install_command('parquet')}"
        raise InvalidArgumentError(text) from None
