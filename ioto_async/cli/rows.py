"""The rows of a file or a pipe: CSV, JSON lines, or one ID a line, read one line at a time."""

import asyncio
import contextlib
import csv
import re
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from functools import partial
from itertools import chain, starmap
from typing import Final, Generic, Protocol, TextIO, TypeVar

import attrs
import orjson

from ..bulk.index import Index
from ..errors import InvalidArgumentError, IotoError
from ..models import JSON

__all__ = [
    "BadRow",
    "FileRow",
    "Row",
    "RowError",
    "Rows",
    "Source",
    "checked",
    "open_source",
    "parse_header",
    "parse_object",
    "peek",
    "printable",
    "read_rows",
    "split_cells",
    "unique",
]

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
"""IDs become names of folders. The service makes ten letters and digits; makers of devices choose their own."""


class FileRow(Protocol):
    """A row that can be used."""

    @property
    def line(self) -> int:
        """The number of its line, from 1."""

    @property
    def key(self) -> str:
        """What tells it from all other rows, in a journal as well."""

    @property
    def label(self) -> str:
        """What messages call it."""


R = TypeVar("R", bound=FileRow)


@attrs.frozen
class BadRow:
    """A row that cannot be used; both texts are printable."""

    line: int
    label: str
    """What messages call it; empty if that cannot be read."""
    reason: str


class RowError(IotoError):
    """A failure that concerns one row only.

    Attributes:
        claimed: whether the device was claimed nonetheless: ``now``, ``before``, or None if it was not.
    """

    def __init__(self, text: str, *, claimed: str | None = None) -> None:
        super().__init__(text)
        self.claimed = claimed


def checked(row: R | BadRow, check: Callable[[R], None]) -> R:
    """The *row*, if it can be used.

    Raises:
        RowError: it is a bad row, or *check* raises this for it.
    """
    if isinstance(row, BadRow):
        raise RowError(row.reason)
    check(row)
    return row


@attrs.frozen
class Row:
    """A device of the fleet."""

    line: int
    id: str
    columns: dict[str, JSON] = attrs.field(factory=dict, repr=False)
    """The other columns that are not empty; a product token may be among them."""

    @property
    def key(self) -> str:
        """The ID."""
        return self.id

    @property
    def label(self) -> str:
        """The ID."""
        return self.id

    def text(self, name: str) -> str | None:
        """The text in the column *name*; None if the row has none.

        Raises:
            RowError: it is something else, which is possible in JSON.
        """
        value = self.columns.get(name)
        if value is not None and not isinstance(value, str):
            raise RowError(f"{name}: expected a text, got {type(value).__name__}")
        return value


# Lines -------------------------------------------------------------------------------------------------------------

Lines = Iterator[tuple[int, str]]
"""Lines and their numbers."""


@attrs.frozen
class Rows(Generic[R]):
    """The rows of a text, to be iterated over or counted once."""

    lines: Lines
    """The lines that have a row each."""
    read: Callable[[int, str], R | BadRow]
    """Makes a row of a line."""

    def __iter__(self) -> Iterator[R | BadRow]:
        return starmap(self.read, self.lines)

    def count(self) -> int:
        """The number of rows."""
        return sum(1 for _ in self.lines)


def peek(lines: Iterable[str], option: str, expected: str) -> tuple[str, Lines]:
    """The first of the *lines* that are not blank, without leading space, and all of them with their numbers.

    Args:
        lines: the text.
        option: names the file in errors.
        expected: what should be in it.

    Raises:
        InvalidArgumentError: there is no such line, or it begins a JSON array.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip(" \t\r\n,"))
    first = next(numbered, None)
    if first is None:
        raise InvalidArgumentError(f"{option}: no rows: expected {expected}")
    text = first[1].lstrip()
    if text.startswith("["):
        raise InvalidArgumentError(f"{option}: looks like a JSON array: expected an object a line")
    return text, chain([first], numbered)


def split_cells(line: str) -> list[str] | csv.Error:
    """The cells of a *line* of CSV, or the error in it."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        return error


def parse_object(number: int, line: str) -> dict[str, JSON] | BadRow:
    """The members of the JSON object on a *line*; a bad row if it is not one."""
    try:
        members = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return BadRow(number, "", f"not JSON: {error.msg} at character {error.pos}")
    if not isinstance(members, dict):
        return BadRow(number, "", f"expected a JSON object, got {type(members).__name__}")
    return members


def parse_header(cells: list[str], required: str, option: str) -> list[str] | None:
    """The names of the columns in lower case; None if *cells* are no header but a single ID.

    Args:
        cells: of the first line.
        required: the column that must be there.
        option: names the file in errors.

    Raises:
        InvalidArgumentError: that column is missing, or the file is not a CSV in UTF-8 with commas.
    """
    names = [cell.lower() for cell in cells]
    if required in names:
        if len(set(names)) < len(names):
            raise InvalidArgumentError(f"{option}: the header names a column twice: {printable(', '.join(cells))}")
        return names
    if cells[0].startswith(("\udcff\udcfe", "\udcfe\udcff")):
        raise InvalidArgumentError(f"{option}: looks like UTF-16: save it as UTF-8")
    for separator in ";\t":
        if required in cells[0].lower().split(separator) and len(cells) == 1:
            raise InvalidArgumentError(f"{option}: columns are separated by {separator!r}: expected ','")
    if len(cells) > 1 or required != "id":
        raise InvalidArgumentError(f"{option}: the header has no column {required}: {printable(', '.join(cells))}")
    return None


def printable(text: str) -> str:
    """*text* with escapes for what cannot be printed."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def unique(read: Callable[[int, str], R | BadRow], column: str) -> Callable[[int, str], R | BadRow]:
    """Read rows as *read* does, but make a bad row of one whose key an earlier line has.

    The keys take some twenty bytes each. They are told apart by a hash of 64 bits: the chance that one of a million is
    taken for another is 1 in 30 million.

    Args:
        read: makes a row of a line.
        column: the column that has the keys.
    """
    key = ""
    first_lines = Index(lambda _: key)  # a line is not read again: equal hashes count as equal keys

    def read_unique(number: int, line: str) -> R | BadRow:
        nonlocal key
        row = read(number, line)
        if isinstance(row, BadRow):
            return row
        key = row.key
        first = first_lines.get(key)
        if first is not None:
            return BadRow(number, row.label, f"{column} {printable(key)} is already on line {first}")
        first_lines.put(key, number)
        return row

    return read_unique


# Devices -----------------------------------------------------------------------------------------------------------


def read_rows(lines: Iterable[str], id_column: str = "id", option: str = "FILE") -> Rows[Row]:
    """Read devices from a CSV with a header, from JSON objects (one a line), or from one ID a line.

    Names of CSV columns are converted to lower case, those of JSON members are not. Blank lines are skipped.

    Args:
        lines: the text.
        id_column: the column that has the IDs.
        option: names the file in errors.

    Raises:
        InvalidArgumentError: there are no rows, or the header does not have the column.
    """
    first, numbered = peek(lines, option, f"a CSV with a column {id_column}, JSONL, or one ID a line")
    if first.startswith("{"):
        return Rows(numbered, unique(partial(_json_row, id_column), "id"))
    id_column = id_column.lower()
    cells = split_cells(first)
    header = None if isinstance(cells, csv.Error) else parse_header(cells, id_column, option)
    if header is None:
        return Rows(numbered, unique(partial(_csv_row, ["id"], "id"), "id"))
    next(numbered)
    return Rows(numbered, unique(partial(_csv_row, header, id_column), "id"))


def _json_row(id_column: str, number: int, line: str) -> Row | BadRow:
    members = parse_object(number, line)
    if isinstance(members, BadRow):
        return members
    id = members.pop(id_column, None)
    if id is not None and not isinstance(id, str):
        return BadRow(number, printable(str(id)), f"{id_column}: expected a text, got {type(id).__name__}")
    columns: dict[str, JSON] = {name: value for name, value in members.items() if value is not None and value != ""}
    return _row(number, id or "", id_column, columns)


def _csv_row(header: list[str], id_column: str, number: int, line: str) -> Row | BadRow:
    cells = split_cells(line)
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


def _row(number: int, id: str, id_column: str, columns: dict[str, JSON]) -> Row | BadRow:
    if not id:
        return BadRow(number, "", f"{id_column} is empty")
    if not _ID.fullmatch(id):
        shown = printable(id)
        return BadRow(number, shown, f"{id_column}: expected up to 128 letters, digits, '-' and '_', got '{shown}'")
    return Row(number, id, columns)


# Files and pipes ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Source(Generic[R]):
    """An open file or pipe."""

    lines: TextIO
    read: Callable[[Iterable[str]], Rows[R]]
    """Finds the rows of lines."""
    path: str | None
    """Path of the file; None for stdin and pipes, which cannot be read again."""
    total: int | None
    """How many rows there are; None for a pipe."""

    @contextlib.asynccontextmanager
    async def rows(
        self, accept: Callable[[R | BadRow], R | None]
    ) -> AsyncGenerator[Iterable[R] | AsyncIterable[R], None]:
        """The rows that *accept* returns, which is called with every row when it is due."""
        if self.total is None:
            async with contextlib.aclosing(self._piped(accept)) as rows:
                yield rows
        else:
            yield (row for item in self.read(self.lines) if (row := accept(item)) is not None)

    async def _piped(self, accept: Callable[[R | BadRow], R | None]) -> AsyncGenerator[R, None]:
        """The rows of a pipe. Somebody may be typing them, so a thread waits for them and not the event loop."""
        # A thread of its own, which an interrupted run need not join.
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[R | BadRow | Exception | None] = asyncio.Queue(1)

        def put(item: R | BadRow | Exception | None) -> None:
            putting = queue.put(item)
            try:
                asyncio.run_coroutine_threadsafe(putting, loop).result()
            except RuntimeError:  # the loop is closed
                putting.close()
                raise CancelledError from None

        def read() -> None:
            with contextlib.suppress(CancelledError), self.lines:  # cancelled: the run has ended
                try:
                    for row in self.read(self.lines):
                        put(row)
                except (InvalidArgumentError, OSError) as error:
                    put(error)
                put(None)

        threading.Thread(target=read, name="rows", daemon=True).start()
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            if (row := accept(item)) is not None:
                yield row


@contextlib.contextmanager
def open_source(file: str, read: Callable[[Iterable[str]], Rows[R]], option: str = "FILE") -> Iterator[Source[R]]:
    """Open *file*, ``-`` for stdin.

    Args:
        file: path of the file.
        read: finds the rows of lines.
        option: names the file in errors.

    Raises:
        InvalidArgumentError: the file cannot be read, or has no rows.
    """
    lines = _open(file, option)
    if not lines.seekable():
        yield Source(lines, read, path=None, total=None)  # the thread that reads it closes it
        return
    with lines:
        start = lines.tell()
        total = read(lines).count()
        lines.seek(start)
        yield Source(lines, read, path=None if file == "-" else file, total=total)


def _open(file: str, option: str) -> TextIO:
    if file == "-" and sys.stdin is None:
        raise InvalidArgumentError(f"{option}: there is no standard input")
    path = sys.stdin.fileno() if file == "-" else file
    try:
        # Bytes that are not UTF-8 are kept as surrogates, so that they cost their row and not the file.
        return open(path, encoding="utf-8-sig", errors="surrogateescape", newline="", closefd=isinstance(path, str))
    except OSError as error:
        raise InvalidArgumentError(f"{option}: {error.strerror}: {file}") from None
