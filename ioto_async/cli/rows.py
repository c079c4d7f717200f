"""Fleet files: rows of devices, read one line at a time."""

import asyncio
import contextlib
import csv
import re
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from itertools import chain
from typing import Final, Generic, TextIO, TypeVar

import attrs
import orjson

from ..bulk.index import Index
from ..errors import InvalidArgumentError, IotoError
from ..models import JSON

__all__ = [
    "BadRow",
    "Row",
    "RowError",
    "Seen",
    "Source",
    "cells_of",
    "count_rows",
    "header_of",
    "numbered",
    "object_of",
    "open_lines",
    "opened",
    "printable",
    "read_rows",
]


@attrs.frozen
class BadRow:
    """A row that cannot be used, and why; both texts are printable."""

    line: int
    id: str
    reason: str


def open_lines(path: str | int, option: str) -> TextIO:
    """Open the file *path*, or a descriptor, which stays open; *option* is what names it.

    Raises:
        InvalidArgumentError: it cannot be read.
    """
    try:
        # Bytes that are no UTF-8 are carried along, so that they cost one row and not the file.
        return open(path, encoding="utf-8-sig", errors="surrogateescape", newline="", closefd=isinstance(path, str))
    except OSError as error:
        raise InvalidArgumentError(f"{option}: {error.strerror}: {path}") from None


def numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The *lines* that are not blank, and their numbers."""
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip(" \t\r\n,"))


def cells_of(line: str) -> list[str] | csv.Error:
    """The cells of a *line* of CSV; the error of one that is none."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        return error


def object_of(number: int, line: str) -> dict[str, JSON] | BadRow:
    """The members of a *line* of JSON; why the row is no good if it is no object."""
    try:
        members = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return BadRow(number, "", f"not JSON: {error.msg} at character {error.pos}")
    if not isinstance(members, dict):
        return BadRow(number, "", f"expected a JSON object, got {type(members).__name__}")
    return members


def header_of(cells: list[str], id_column: str, option: str) -> list[str] | None:
    """The names of the columns, in lower case, with *id_column* among them; None if *cells* are one ID.

    Args:
        cells: of the first line.
        id_column: the column that is needed.
        option: what names the file.

    Raises:
        InvalidArgumentError: they are no header, or one without that column.
    """
    names = [cell.lower() for cell in cells]
    if id_column in names:
        if len(set(names)) < len(names):
            raise InvalidArgumentError(f"{option}: the header names a column twice: {printable(', '.join(cells))}")
        return names
    if cells[0].startswith(("\udcff\udcfe", "\udcfe\udcff")):
        raise InvalidArgumentError(f"{option}: looks like UTF-16: save it as UTF-8")
    for separator in ";\t":
        if id_column in cells[0].lower().split(separator) and len(cells) == 1:
            raise InvalidArgumentError(f"{option}: columns are separated by {separator!r}: expected ','")
    if len(cells) > 1 or id_column != "id":
        raise InvalidArgumentError(f"{option}: the header has no column {id_column}: {printable(', '.join(cells))}")
    return None


def printable(text: str) -> str:
    """*text* as it can be shown."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


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


R = TypeVar("R")


@attrs.frozen
class Source(Generic[R]):
    """An open file of rows."""

    lines: TextIO
    read: Callable[[Iterable[str]], Iterator[R]]
    """Makes rows of lines."""
    total: int | None
    """How many rows are in it; None for a pipe, of which that cannot be told beforehand."""

    def rows(self) -> Iterator[R]:
        """The rows of a file."""
        return self.read(self.lines)

    async def piped_rows(self) -> AsyncGenerator[R, None]:
        """The rows of a pipe. Somebody may be typing them: the loop goes on meanwhile."""
        # A thread of its own, which an interrupted run need not join.
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[R | Exception | None] = asyncio.Queue(1)

        def hand_over(item: R | Exception | None) -> None:
            put = queue.put(item)
            try:
                asyncio.run_coroutine_threadsafe(put, loop).result()
            except RuntimeError:  # the loop is closed
                put.close()
                raise CancelledError from None

        def read() -> None:
            with contextlib.suppress(CancelledError), self.lines:  # cancelled: the run is over, nobody wants more
                try:
                    for row in self.rows():
                        hand_over(row)
                except (InvalidArgumentError, OSError) as error:
                    hand_over(error)
                hand_over(None)

        threading.Thread(target=read, name="rows", daemon=True).start()
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item


@contextlib.contextmanager
def opened(
    file: str,
    read: Callable[[Iterable[str]], Iterator[R]],
    count: Callable[[Iterable[str]], int],
    option: str = "FILE",
) -> Iterator[Source[R]]:
    """Open *file*, ``-`` for the standard input.

    Args:
        file: path of the file.
        read: makes rows of lines.
        count: tells how many there will be.
        option: what names the file.

    Raises:
        InvalidArgumentError: it cannot be read, or has no rows.
    """
    if file == "-" and sys.stdin is None:
        raise InvalidArgumentError(f"{option}: there is no standard input")
    lines = open_lines(sys.stdin.fileno() if file == "-" else file, option)
    if not lines.seekable():
        yield Source(lines, read, None)  # its reader closes it
        return
    with lines:
        start = lines.tell()
        total = count(lines)
        lines.seek(start)
        yield Source(lines, read, total)
