"""Fleet files: rows of devices, read one line at a time. Imports floor 0, lines, and the index of the bulk runs."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

import attrs

from ...bulk.index import Index
from ...errors import InvalidArgumentError, IotoError
from ...models import JSON
from .lines import BadRow, cells_of, header_of, numbered, object_of, printable

__all__ = ["Row", "RowError", "Seen", "count_rows", "read_rows"]

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
"""IDs become names of folders. The service makes ten letters and digits; makers of devices choose their own."""


class RowError(IotoError):
    """One device that cannot be brought to its end; the others go on.

    Attributes:
        claimed: whether it was claimed all the same: ``now``, ``before``, or None.
    """

    def __init__(self, text: str, *, claimed: str | None = None) -> None:
        super().__init__(text)
        self.claimed = claimed


@attrs.frozen
class Row:
    """A device of the fleet."""

    line: int
    id: str
    columns: dict[str, JSON] = attrs.field(factory=dict, repr=False)
    """The other columns that are not empty; a product token may be among them."""

    def text(self, name: str) -> str | None:
        """The column *name*; None if the row has none.

        Raises:
            RowError: it is no text, which only JSON can be.
        """
        value = self.columns.get(name)
        if value is not None and not isinstance(value, str):
            raise RowError(f"{name}: expected a text, got {type(value).__name__}")
        return value


def count_rows(lines: Iterable[str], id_column: str = "id", option: str = "FILE") -> int:
    """How many rows `read_rows` will give of *lines*.

    Raises:
        InvalidArgumentError: as `read_rows` does.
    """
    return sum(1 for _ in _rows(lines, id_column, option)[1])


def read_rows(lines: Iterable[str], id_column: str = "id", option: str = "FILE") -> Iterator[Row | BadRow]:
    """Read a CSV with a header, JSON objects, or one ID a line.

    Names of a CSV's columns are taken in lower case, those of JSON as they are. Blank lines are passed over.
    An ID that came before is a bad row.

    Args:
        lines: the text.
        id_column: name of the column that has the IDs.
        option: what names the file.

    Raises:
        InvalidArgumentError: there is no row, or the header has no such column.
    """
    read, rows = _rows(lines, id_column, option)
    seen = Seen()
    for number, line in rows:
        row = read(number, line)
        if isinstance(row, Row) and (before := seen.before(row.id, row.line)):
            row = BadRow(number, row.id, f"id {row.id} is already on line {before}")
        yield row


class Seen:
    """On which line each key came first, in some twenty bytes for each.

    They are told apart by a hash of 64 bits: that one of a million is taken for another has a chance of 1 to 30
    million.
    """

    def __init__(self) -> None:
        self._key = ""
        self._lines = Index(lambda line: self._key)

    def before(self, key: str, line: int) -> int | None:
        """The line before that has the *key* of *line*; None for a new one, which is noted."""
        self._key = key
        before = self._lines.get(key)
        if before is None:
            self._lines.put(key, line)
        return before


Reader = Callable[[int, str], Row | BadRow]
Lines = Iterator[tuple[int, str]]


def _rows(lines: Iterable[str], id_column: str, option: str) -> tuple[Reader, Lines]:
    """What makes a row of a line, and the lines of the rows, with their numbers."""
    rest = numbered(lines)
    first = next(rest, None)
    if first is None:
        expected = f"a CSV with a column {id_column}, JSONL, or one ID a line"
        raise InvalidArgumentError(f"{option}: no rows: expected {expected}")
    text = first[1].lstrip()
    if text.startswith("{"):
        return _objects(id_column), chain([first], rest)
    if text.startswith("["):
        raise InvalidArgumentError(f"{option}: looks like a JSON array: expected an object a line")
    cells = cells_of(text)
    header = None if isinstance(cells, csv.Error) else header_of(cells, id_column.lower(), option)
    if header is not None:
        return _cells(header, id_column.lower()), rest
    return _cells(["id"], "id"), chain([first], rest)


# JSON --------------------------------------------------------------------------------------------------------------


def _objects(id_column: str) -> Reader:
    def read(number: int, line: str) -> Row | BadRow:
        members = object_of(number, line)
        if isinstance(members, BadRow):
            return members
        id = members.pop(id_column, None)
        if id is not None and not isinstance(id, str):
            return BadRow(number, printable(str(id)), f"{id_column}: expected a text, got {type(id).__name__}")
        columns: dict[str, JSON] = {name: value for name, value in members.items() if value is not None and value != ""}
        return _row(number, id or "", id_column, columns)

    return read


# CSV ---------------------------------------------------------------------------------------------------------------


def _cells(header: list[str], id_column: str) -> Reader:
    def read(number: int, line: str) -> Row | BadRow:
        cells = cells_of(line)
        if isinstance(cells, csv.Error):
            return BadRow(number, "", f"not CSV: {cells}")
        columns: dict[str, JSON] = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
        id = str(columns.pop(id_column, ""))
        if len(cells) > len(header):
            return BadRow(number, printable(id), f"{len(cells)} columns where the header has {len(header)}")
        row = _row(number, id, id_column, columns)
        if isinstance(row, Row):
            for name, cell in columns.items():
                if not str(cell).isprintable():
                    reason = f"{name}: not UTF-8 text, or holds a control character: '{printable(str(cell))}'"
                    return BadRow(number, id, reason)
        return row

    return read


# Both --------------------------------------------------------------------------------------------------------------


def _row(number: int, id: str, id_column: str, columns: dict[str, JSON]) -> Row | BadRow:
    if not id:
        return BadRow(number, "", f"{id_column} is empty")
    if not _ID.fullmatch(id):
        shown = printable(id)
        return BadRow(number, shown, f"{id_column}: expected up to 128 letters, digits, '-' and '_', got '{shown}'")
    return Row(number, id, columns)
