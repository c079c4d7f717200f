"""The samples of a file or a pipe, read one line at a time."""

import csv
import hashlib
import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs
import orjson

from ...errors import InvalidArgumentError
from ...models import JSON
from ..rows import BadRow, Rows, parse_header, parse_object, peek, printable, split_cells, unique

__all__ = ["LateSamples", "SampleRow", "read_samples"]

_PREFIX: Final = "dimensions."
_MEMBERS: Final = ("metric", "value", "timestamp", "dimensions")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MILLISECONDS: Final = 1e11
"""Timestamps from here on are in milliseconds, smaller ones in seconds."""
_LONGEST_AGO: Final = timedelta(days=366)
"""The service keeps no sample for longer than a year."""
_LONGEST_AHEAD: Final = timedelta(days=1)
_LARGEST_WHOLE: Final = 2**53
_MAX_AGE: Final = timedelta(minutes=5)
"""By how much a sample may be older than the newest of its series before the service drops it."""
_SERIES: Final = 10_000
"""Series whose newest timestamps are kept in memory."""

Dimensions = dict[str, str | int | float | bool]
Members = dict[str, JSON]


@attrs.frozen
class SampleRow:
    """A sample of the file."""

    line: int
    key: str
    """What tells it from all other samples, in the journal as well."""
    metric: str
    value: float
    dimensions: Dimensions | None
    """None if the row has no dimensions."""
    timestamp: datetime | None

    @property
    def label(self) -> str:
        """The name of the metric."""
        return self.metric


class LateSamples:
    """Finds samples that the service drops as too old, in the first 10 000 series that have timestamps."""

    def __init__(self) -> None:
        self._newest: dict[Hashable, datetime] = {}

    def is_late(self, row: SampleRow) -> bool:
        """Whether the service drops the sample in *row* if all samples before it are written."""
        if row.timestamp is None:
            return False
        series = (row.metric, None if row.dimensions is None else frozenset(row.dimensions.items()))
        newest = self._newest.get(series)
        if newest is None and len(self._newest) == _SERIES:
            return False
        if newest is None or row.timestamp > newest:
            self._newest[series] = row.timestamp
            return False
        return newest - row.timestamp > _MAX_AGE


class _BadValueError(Exception):
    """A member of a row that does not fit."""


def read_samples(
    lines: Iterable[str], key_column: str | None = None, *, any_timestamp: bool = False
) -> Rows[SampleRow]:
    """Read samples from a CSV with a header, or from JSON objects (one a line). Blank lines are skipped.

    Args:
        lines: the text.
        key_column: the column that tells samples apart; by default the number of the line and the text of the row do.
        any_timestamp: whether to take timestamps that can hardly be meant.

    Raises:
        InvalidArgumentError: there are no rows, or the header does not fit.
    """
    _, first, records = peek(lines, "--from", "a CSV with the columns metric and value, or JSONL")
    parse: Callable[[int, str], Members | BadRow] = parse_object
    if not first.lstrip().startswith("{"):
        cells = split_cells(first)
        if isinstance(cells, csv.Error):
            raise InvalidArgumentError(f"--from: the header is no CSV: {cells}")
        header = parse_header(cells, "metric", "--from")
        assert header is not None
        parse = attrs.evolve(header, names=_column_names(cells, header.names, key_column)).members
        next(records)

    def read(number: int, record: str) -> SampleRow | BadRow:
        members = parse(number, record)
        if isinstance(members, BadRow):
            return members
        return _sample(number, record, members, key_column, any_timestamp=any_timestamp)

    return Rows(records, read if key_column is None else unique(read, key_column))


def _column_names(cells: Sequence[str], lower: Sequence[str], key_column: str | None) -> list[str]:
    """The names of the columns: those of dimensions and the key unchanged, all others in lower case.

    Args:
        cells: of the header.
        lower: the names in lower case, empty for a column without a name.
        key_column: the column that tells samples apart.
    """
    names = []
    for cell, name in zip(cells, lower, strict=True):
        is_free = bool(cell) and (cell == key_column or cell.startswith(_PREFIX))
        if name and not is_free and name not in _MEMBERS:
            expected = "metric, value, timestamp, dimensions.NAME, or the one that --key names"
            raise InvalidArgumentError(f"--from: column {printable(cell)}: expected one of {expected}")
        names.append(cell if is_free else name)
    for needed in ("value", key_column):
        if needed is not None and needed not in filter(None, names):
            shown = printable(", ".join(filter(None, cells)))
            raise InvalidArgumentError(f"--from: the header has no column {needed}: {shown}")
    return names


def _sample(
    number: int, line: str, members: Members, key_column: str | None, *, any_timestamp: bool
) -> SampleRow | BadRow:
    metric = members.get("metric")
    try:
        _check_names(members, key_column)
        return SampleRow(
            number,
            _key(number, line, members, key_column),
            _metric(metric),
            _value(members.get("value")),
            _dimensions(members),
            _timestamp(members.get("timestamp"), any_timestamp=any_timestamp),
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
    """The number that *value* is or represents as text; None for anything else."""
    if isinstance(value, str):
        try:
            number = float("nan" if "_" in value else value)
        except ValueError:
            return None
        return int(number) if number.is_integer() and abs(number) < _LARGEST_WHOLE else number
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _timestamp(value: JSON, *, any_timestamp: bool) -> datetime | None:
    if value is None:
        return None
    date = _date(value)
    flaw = None if date is None or any_timestamp else _flaw(value, date)
    if date is None or flaw is not None:
        problem = "" if flaw is None else f", or --any-timestamp, as {flaw}"
        expected = "an ISO date with its offset, or epoch seconds or milliseconds"
        raise _BadValueError(f"timestamp: expected {expected}{problem}, got {_shown(value)}")
    return date


def _date(value: JSON) -> datetime | None:
    """The time that *value* stands for; None if it is none."""
    number = _number(value)
    try:
        if number is not None:
            return _EPOCH + timedelta(seconds=number / 1000 if abs(number) >= _FIRST_MILLISECONDS else number)
        date = datetime.fromisoformat(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
    # Only within these years can dates be compared with others, whatever their offsets.
    return date if date is not None and date.tzinfo is not None and 1 < date.year < 9999 else None


def _flaw(value: JSON, date: datetime) -> str | None:
    """Why the timestamp *value*, which would be *date*, can hardly be meant; None if it can."""
    if isinstance(value, str) and _number(value) is not None:
        if "e" in value.lower():
            return "an exponent means that digits are lost"
        if re.fullmatch(r"\s*(19|20|21)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])(\d\d){0,3}\s*", value):
            return "it looks like a date"
    age = _now() - date
    if -_LONGEST_AHEAD <= age <= _LONGEST_AGO:
        return None
    found = date.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"{found} is {'more than a year ago' if age > _LONGEST_AGO else 'in the future'}"


def _now() -> datetime:
    return datetime.now(UTC)


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
