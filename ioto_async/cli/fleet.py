"""Fleet files: rows of devices, read one line at a time. Imports floor 0."""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Final, TextIO

import attrs

from ..errors import InvalidArgumentError, IotoError

__all__ = ["BadRow", "Row", "RowError", "count_rows", "open_fleet", "read_fleet"]

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
"""IDs become names of folders. The service makes ten letters and digits; makers of devices choose their own."""


class RowError(IotoError):
    """One device that cannot be brought to its end; the others go on."""


@attrs.frozen
class Row:
    """A device of the fleet."""

    line: int
    id: str
    columns: dict[str, str] = attrs.field(factory=dict)
    """The other columns that are not empty."""


@attrs.frozen
class BadRow:
    """A row that cannot be used, and why; both texts are printable."""

    line: int
    id: str
    reason: str


def open_fleet(path: str | int) -> TextIO:
    """Open the fleet file *path*, or a descriptor, which stays open.

    Raises:
        InvalidArgumentError: it cannot be read.
    """
    try:
        # Bytes that are no UTF-8 are carried along, so that they cost one row and not the file.
        return open(path, encoding="utf-8-sig", errors="surrogateescape", newline="", closefd=isinstance(path, str))
    except OSError as error:
        raise InvalidArgumentError(f"FILE: {error.strerror}: {path}") from None


def count_rows(lines: Iterable[str]) -> int:
    """How many rows `read_fleet` will give of *lines*.

    Raises:
        InvalidArgumentError: as `read_fleet` does.
    """
    return sum(1 for _ in _cells(lines)[1])


def read_fleet(lines: Iterable[str]) -> Iterator[Row | BadRow]:
    """Read a CSV with a header that has a column ``id``, or one ID a line.

    Blank lines are passed over. A cell ends with its line: a quote that is not closed costs one row, not the rest.
    An ID that came before is a bad row.

    Raises:
        InvalidArgumentError: there is no row, or the header has no column ``id``.
    """
    header, rows = _cells(lines)
    seen: dict[str, int] = {}
    for line, cells in rows:
        yield BadRow(line, "", f"not CSV: {cells}") if isinstance(cells, csv.Error) else _row(line, header, cells, seen)


Cells = list[str] | csv.Error


def _cells(lines: Iterable[str]) -> tuple[list[str], Iterator[tuple[int, Cells]]]:
    """The header, ``["id"]`` if there is none, and the cells of each line that is not blank."""
    numbered = ((number, _split(line)) for number, line in enumerate(lines, 1) if line.strip(" \t\r\n,"))
    first = next(numbered, None)
    if first is None:
        raise InvalidArgumentError("FILE: no rows: expected a CSV with a column id, or one ID a line")
    header = None if isinstance(first[1], csv.Error) else _header(first[1])
    if header is not None:
        return header, numbered
    return ["id"], _chain(first, numbered)


def _chain(first: tuple[int, Cells], rest: Iterator[tuple[int, Cells]]) -> Iterator[tuple[int, Cells]]:
    yield first
    yield from rest


def _split(line: str) -> Cells:
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        return error


def _header(cells: list[str]) -> list[str] | None:
    """The names of the columns, in lower case; None if *cells* are one ID."""
    names = [cell.lower() for cell in cells]
    if "id" in names:
        if len(set(names)) < len(names):
            raise InvalidArgumentError(f"FILE: the header names a column twice: {_printable(', '.join(cells))}")
        return names
    if cells[0].startswith(("\udcff\udcfe", "\udcfe\udcff")):
        raise InvalidArgumentError("FILE: looks like UTF-16: save it as UTF-8")
    for separator in ";\t":
        if "id" in cells[0].lower().split(separator) and len(cells) == 1:
            raise InvalidArgumentError(f"FILE: columns are separated by {separator!r}: expected ','")
    if len(cells) > 1:
        raise InvalidArgumentError(f"FILE: the header has no column id: {_printable(', '.join(cells))}")
    return None


def _row(line: int, header: list[str], cells: list[str], seen: dict[str, int]) -> Row | BadRow:
    columns = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
    id = columns.pop("id", "")
    shown = _printable(id)
    if len(cells) > len(header):
        return BadRow(line, shown, f"{len(cells)} columns where the header has {len(header)}")
    if not id:
        return BadRow(line, "", "id is empty")
    if not _ID.fullmatch(id):
        return BadRow(line, shown, f"id: expected up to 128 letters, digits, '-' and '_', got '{shown}'")
    for name, cell in columns.items():
        if not cell.isprintable():
            return BadRow(line, id, f"{name}: not UTF-8 text, or holds a control character: '{_printable(cell)}'")
    if id in seen:
        return BadRow(line, id, f"id {id} is already on line {seen[id]}")
    seen[id] = line
    return Row(line, id, columns)


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()
