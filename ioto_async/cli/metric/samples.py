"""Files of samples, read one line at a time."""

import csv
import hashlib
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final

import attrs
import orjson

from ...errors import InvalidArgumentError
from ...models import JSON
from ..rows import BadRow, Seen, cells_of, header_of, numbered, object_of, printable

__all__ = ["Order", "SampleRow", "count_samples", "read_samples"]

_PREFIX: Final = "dimensions."
_MEMBERS: Final = ("metric", "value", "timestamp", "dimensions")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MILLISECONDS: Final = 1e11
"""Numbers from here on are milliseconds, before it they are seconds."""
_LARGEST_WHOLE: Final = 2**53
_LATE: Final = timedelta(minutes=5)
"""By how much a sample may be older than the newest of its series before the service drops it."""
_SERIES: Final = 10_000
"""Series whose order is looked at, which is what is held of them in memory."""

Dimensions = dict[str, str | int | float | bool]
Members = dict[str, JSON]
Reader = Callable[[int, str], Members | BadRow]


@attrs.frozen
class SampleRow:
    """A sample of the file."""

    line: int
    key: str
    """What tells it from all others."""
    metric: str
    value: float
    dimensions: Dimensions | None
    """None where the row says nothing of any."""
    timestamp: datetime | None


class Order:
    """Tells samples that come too late, of the first ten thousand series that have timestamps."""

    def __init__(self) -> None:
        self._newest: dict[Hashable, datetime] = {}

    def is_late(self, row: SampleRow) -> bool:
        """Whether the service drops the sample of *row* if all before it are written."""
        if row.timestamp is None:
            return False
        series = (row.metric, None if row.dimensions is None else frozenset(row.dimensions.items()))
        newest = self._newest.get(series)
        if newest is None and len(self._newest) == _SERIES:
            return False
        if newest is None or row.timestamp > newest:
            self._newest[series] = row.timestamp
            return False
        return newest - row.timestamp > _LATE


class _BadValueError(Exception):
    """A member that does not fit."""


def count_samples(lines: Iterable[str], key_column: str | None = None) -> int:
    """How many rows `read_samples` will give of *lines*.

    Raises:
        InvalidArgumentError: as `read_samples` does.
    """
    return sum(1 for _ in _rows(lines, key_column)[1])


def read_samples(lines: Iterable[str], key_column: str | None = None) -> Iterator[SampleRow | BadRow]:
    """Read a CSV with a header, or JSON objects. Blank lines are passed over.

    Args:
        lines: the text.
        key_column: name of the column that tells samples apart; by default it is the line and what is in it.

    Raises:
        InvalidArgumentError: there is no row, or the header does not fit.
    """
    read, rows = _rows(lines, key_column)
    seen = Seen()
    for number, line in rows:
        members = read(number, line)
        row = members if isinstance(members, BadRow) else _sample(number, line, members, key_column)
        if key_column is not None and isinstance(row, SampleRow) and (before := seen.before(row.key, number)):
            row = BadRow(number, row.metric, f"{key_column} {printable(row.key)} is already on line {before}")
        yield row


def _rows(lines: Iterable[str], key_column: str | None) -> tuple[Reader, Iterator[tuple[int, str]]]:
    """What makes members of a line, and the lines of the rows, with their numbers."""
    rest = numbered(lines)
    first = next(rest, None)
    if first is None:
        raise InvalidArgumentError("--from: no rows: expected a CSV with the columns metric and value, or JSONL")
    text = first[1].lstrip()
    if text.startswith("{"):
        return object_of, chain([first], rest)
    if text.startswith("["):
        raise InvalidArgumentError("--from: looks like a JSON array: expected an object a line")
    cells = cells_of(first[1])
    if isinstance(cells, csv.Error):
        raise InvalidArgumentError(f"--from: the header is no CSV: {cells}")
    header_of(cells, "metric", "--from")
    return _cells(_names(cells, key_column)), rest


def _names(cells: list[str], key_column: str | None) -> list[str]:
    """The names of the columns; those of dimensions and the key as they are written, the others in lower case."""
    names = []
    for cell in cells:
        is_ours = cell == key_column or cell.startswith(_PREFIX)
        name = cell if is_ours else cell.lower()
        if not is_ours and name not in _MEMBERS:
            expected = "metric, value, timestamp, dimensions.NAME, or the one that --key names"
            raise InvalidArgumentError(f"--from: column {printable(cell)}: expected one of {expected}")
        names.append(name)
    for needed in ("value", key_column):
        if needed is not None and needed not in names:
            raise InvalidArgumentError(f"--from: the header has no column {needed}: {printable(', '.join(cells))}")
    return names


def _cells(names: list[str]) -> Reader:
    def read(number: int, line: str) -> Members | BadRow:
        cells = cells_of(line)
        if isinstance(cells, csv.Error):
            return BadRow(number, "", f"not CSV: {cells}")
        if len(cells) > len(names):
            return BadRow(number, "", f"{len(cells)} columns where the header has {len(names)}")
        return {name: cell for name, cell in zip(names, cells, strict=False) if cell}

    return read


def _sample(number: int, line: str, members: Members, key_column: str | None) -> SampleRow | BadRow:
    metric = members.get("metric")
    try:
        _check_names(members, key_column)
        return SampleRow(
            number,
            _key(number, line, members, key_column),
            _metric(metric),
            _value(members.get("value")),
            _dimensions(members),
            _timestamp(members.get("timestamp")),
        )
    except _BadValueError as error:
        return BadRow(number, printable(metric) if isinstance(metric, str) else "", str(error))


def _check_names(members: Iterable[str], key_column: str | None) -> None:
    for name in members:
        if name not in _MEMBERS and name != key_column and not name.startswith(_PREFIX):
            raise _BadValueError(f"{printable(name)}: expected metric, value, timestamp or dimensions")


def _metric(value: JSON) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise _BadValueError(f"metric: expected a text, got {_shown(value)}")
    return value


def _key(number: int, line: str, members: Mapping[str, JSON], key_column: str | None) -> str:
    if key_column is None:
        content = line.strip().encode(errors="surrogateescape")
        return f"{number}-{hashlib.blake2s(content, digest_size=8).hexdigest()}"
    key = members.get(key_column)
    if type(key) is int:
        return str(key)
    if not isinstance(key, str) or not key.isprintable() or not key:
        raise _BadValueError(f"{key_column}: expected a text that tells the sample from others, got {_shown(key)}")
    return key


def _value(value: JSON) -> float:
    number = _number(value)
    if number is None or not math.isfinite(number):
        raise _BadValueError(f"value: expected a finite number, got {_shown(value)}")
    return number


def _number(value: JSON) -> float | None:
    """The number that *value* is, or that it is written as; None for anything else."""
    if isinstance(value, str):
        try:
            number = float("nan" if "_" in value else value)
        except ValueError:
            return None
        return int(number) if number.is_integer() and abs(number) < _LARGEST_WHOLE else number
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _timestamp(value: JSON) -> datetime | None:
    if value is None:
        return None
    number = _number(value)
    try:
        if number is not None:
            return _EPOCH + timedelta(seconds=number / 1000 if abs(number) >= _FIRST_MILLISECONDS else number)
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _BadValueError(
            "timestamp: expected an ISO date with its offset, or epoch seconds or milliseconds, got " + _shown(value)
        )
    return moment


def _dimensions(members: Mapping[str, JSON]) -> Dimensions | None:
    given = members.get("dimensions")
    if isinstance(given, str):
        try:
            given = orjson.loads(given)
        except orjson.JSONDecodeError:
            raise _BadValueError(f"dimensions: expected a JSON object, got {_shown(given)}") from None
    if given is not None and not isinstance(given, dict):
        raise _BadValueError(f"dimensions: expected a JSON object, got {_shown(given)}")
    named = {name.removeprefix(_PREFIX): value for name, value in members.items() if name.startswith(_PREFIX)}
    if given is None and not named:
        return None
    dimensions: Dimensions = {}
    for name, value in {**(given or {}), **named}.items():
        if not name.isprintable() or not isinstance(value, (str, int, float)) or not str(value).isprintable():
            raise _BadValueError(f"dimensions: {printable(name)}: expected a text or a number, got {_shown(value)}")
        dimensions[name] = value
    return dimensions


def _shown(value: JSON) -> str:
    return printable(repr(value))[:100]
