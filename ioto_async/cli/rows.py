"""The rows of a file or a pipe: CSV, JSON lines, or one ID a line, read one row at a time."""

import asyncio
import contextlib
import csv
import re
import sys
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from functools import partial
from itertools import chain, starmap
from pathlib import Path
from typing import Final, Generic, Protocol, TextIO, TypeVar

import attrs
import orjson

from ..bulk.index import Index
from ..errors import InvalidArgumentError, IotoError
from ..models import JSON
from .files import is_stream

__all__ = [
    "BadRow",
    "FileRow",
    "Header",
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
_UNNAMED: Final = re.compile(r"unnamed: \d+(_level_\d+)?")
_NONE: Final[Mapping[str, str]] = {}
_BREAKS: Final = str.maketrans("", "", "\t\r\n")
"""What a text may hold besides what can be printed."""
_WHOLE: Final = re.compile(r'(?:"(?:[^"]|"")*+"|[^",]*+)(?:,(?:"(?:[^"]|"")*+"|[^",]*+))*+\s*+')
"""A line whose cells are quoted as a whole or not at all, so that it ends no quote of another."""
_MAX_LINES: Final = 1000
"""Lines after the one with a quote in which it must be closed."""
_WORD: Final = re.compile(r"[A-Za-z]+")
_TITLE: Final = re.compile(
    "(?:account|address|asset|claim|client|cloud|code|device|fleet|gateway|guid|hardware|host|hw|ident|identification"
    "|identifier|imei|imsi|key|label|list|mac|machine|meter|model|my|name|no|node|nr|num|number|of|product|ref"
    "|sensor|serial|sn|station|tag|the|thing|token|udid|uid|unit|uuid|id|s)+"
)
"""Words that headers are made of, joined or not."""


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
    """The other columns that are not empty; a product token may be among them. A column ``id`` beside the one that has
    the IDs is not: the service would take it for the ID."""

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


# Records -----------------------------------------------------------------------------------------------------------

Records = Iterator[tuple[int, str]]
"""Texts of a row each, and the numbers of the lines that they begin on."""


@attrs.frozen
class Rows(Generic[R]):
    """The rows of a text, to be iterated over or counted once."""

    records: Records
    """The texts that have a row each."""
    read: Callable[[int, str], R | BadRow]
    """Makes a row of a text."""

    def __iter__(self) -> Iterator[R | BadRow]:
        return starmap(self.read, self.records)

    def count(self) -> int:
        """The number of rows."""
        return sum(1 for _ in self.records)


def peek(lines: Iterable[str], option: str, expected: str) -> tuple[int, str, Records]:
    """The first record with its number, and all of them. Lines that are blank, or have commas only, are left out.

    A record of JSON is a line. One of CSV may have several, as there may be line breaks between quotes.

    Args:
        lines: the text.
        option: names the file in errors.
        expected: what should be in it.

    Raises:
        InvalidArgumentError: there is no record, or the text begins a JSON array or an object of several lines.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1))
    first = next((line for line in numbered if not _is_blank(line[1])), None)
    if first is None:
        raise InvalidArgumentError(f"{option}: no rows: expected {expected}")
    rest = chain([first], numbered)
    text = first[1].strip()
    if text.startswith("["):
        raise InvalidArgumentError(f"{option}: looks like a JSON array: expected an object a line")
    if text == "{":
        raise InvalidArgumentError(f"{option}: looks like a JSON object of several lines: expected an object a line")
    records = (line for line in rest if not _is_blank(line[1])) if text.startswith("{") else _csv_records(rest)
    number, record = next(records)
    return number, record, chain([(number, record)], records)


def _is_blank(line: str) -> bool:
    return not line.strip(" \t\r\n,")


def _csv_records(lines: Records) -> Records:
    """Put the lines together that a quoted cell spans.

    A quote that is not closed, or not where a cell ends, costs the line that has it. What follows is read on its own.
    """
    ahead: deque[tuple[int, str]] = deque()
    taken: list[tuple[int, str]] = []

    def take(line: tuple[int, str]) -> Iterator[str]:
        yield line[1]
        while len(taken) < _MAX_LINES and (following := ahead.popleft() if ahead else next(lines, None)):
            taken.append(following)
            yield following[1]

    while line := ahead.popleft() if ahead else next(lines, None):
        number, text = line
        if _is_blank(text):
            continue
        if '"' in text and not _WHOLE.fullmatch(text):
            taken.clear()
            try:
                next(csv.reader(take(line), strict=True))
            except csv.Error:
                ahead.extendleft(reversed(taken))
            else:
                text += "".join(following for _, following in taken)
        yield number, text


def split_cells(record: str) -> list[str] | csv.Error:
    """The cells of a *record* of CSV, or the error in it."""
    try:
        return [cell.strip() for cell in next(csv.reader([record], strict=True))]
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
    if members.get("") in (None, ""):
        members.pop("", None)
        return members
    return BadRow(number, "", "a member has a value, but no name")


@attrs.frozen
class Header:
    """The columns of a CSV.

    Cells that are empty need no name. Nor do columns before the first that has one, which pandas writes for the index
    of a table: they are left out.
    """

    names: Sequence[str]
    """Empty for a column without a name."""
    label: str
    """The column that messages call a row by."""

    def members(self, number: int, record: str) -> dict[str, JSON] | BadRow:
        """The cells of a *record* that are not empty, by their names; a bad row if they do not fit the columns."""
        cells = split_cells(record)
        if isinstance(cells, csv.Error):
            return BadRow(number, "", f"not CSV: {cells}")
        members: dict[str, JSON] = {name: cell for name, cell in zip(self.names, cells, strict=False) if cell}
        label = str(members.get(self.label, ""))
        if label.lower() == self.label and self._is_again(cells):
            return BadRow(number, label, "the header again, and not a row")
        if members.pop("", None) is not None or len(cells) > len(self.names):
            reason = self._misfit(cells)
            if reason is not None:
                return BadRow(number, printable(label), reason)
        return members

    def _is_again(self, cells: Sequence[str]) -> bool:
        return all(not cell or cell.lower() == name.lower() for name, cell in zip(self.names, cells, strict=False))

    def _misfit(self, cells: Sequence[str]) -> str | None:
        width = max((place for place, cell in enumerate(cells, 1) if cell), default=0)
        if width > len(self.names):
            return f"{width} columns where the header has {len(self.names)}"
        first = next((place for place, name in enumerate(self.names) if name), 0)
        for place, (name, cell) in enumerate(zip(self.names, cells, strict=False)):
            if place > first and cell and not name:
                return f"column {place + 1} has no name, but holds '{printable(cell)}'"
        return None


def parse_header(cells: list[str], required: str, option: str) -> Header | None:
    """The columns, with names in lower case; None if *cells* are no header but a single ID.

    Args:
        cells: of the first record.
        required: the column that must be there.
        option: names the file in errors.

    Raises:
        InvalidArgumentError: that column is missing, or the file is not a CSV in UTF-8 with commas.
    """
    names = [_name(cell) for cell in cells]
    named = [name for name in names if name]
    shown = printable(", ".join(filter(None, cells)))
    if required in names:
        if len(set(named)) < len(named):
            raise InvalidArgumentError(f"{option}: the header names a column twice: {shown}")
        return Header(names, required)
    if cells[0].startswith(("\udcff\udcfe", "\udcfe\udcff")):
        raise InvalidArgumentError(f"{option}: looks like UTF-16: save it as UTF-8")
    for separator in ";\t":
        if required in cells[0].lower().split(separator) and len(cells) == 1:
            raise InvalidArgumentError(f"{option}: columns are separated by {separator!r}: expected ','")
    if any(cells[1:]) or required != "id":
        raise InvalidArgumentError(f"{option}: the header has no column {required}: {shown}")
    return None


def _name(cell: str) -> str:
    """The name of a column in lower case, on one line; empty for what pandas calls a column without a name."""
    name = " ".join(cell.split()).lower()
    return "" if _UNNAMED.fullmatch(name) else name


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


def read_rows(
    lines: Iterable[str], id_column: str = "id", option: str = "FILE", needed: Mapping[str, str] = _NONE
) -> Rows[Row]:
    """Read devices from a CSV with a header, from JSON objects (one a line), or from one ID a line.

    Names of CSV columns are converted to lower case, those of JSON members are not. Blank lines are skipped.

    Args:
        lines: the text.
        id_column: the column that has the IDs.
        option: names the file in errors.
        needed: the columns that every row needs, and what for.

    Raises:
        InvalidArgumentError: there are no rows, the header does not have the column or a needed one, or the first line
            looks neither like a header that has it nor like an ID.
    """
    number, first, records = peek(lines, option, f"a CSV with a column {id_column}, JSONL, or one ID a line")
    if first.lstrip().startswith("{"):
        return Rows(records, unique(partial(_json_row, id_column), "id"))
    cells = split_cells(first)
    if isinstance(cells, csv.Error):
        raise InvalidArgumentError(f"{option}: line {number}: not CSV: {cells}")
    header = parse_header(cells, _name(id_column), option)
    if header is None:
        _check_id(cells[0], f"{option}: line {number}: {printable(cells[0])}")
    for name, purpose in needed.items():
        if header is None or name not in header.names:
            raise InvalidArgumentError(f"{option}: there is no column {name}: {purpose}")
    if header is None:
        return Rows(records, unique(partial(_csv_row, Header(["id"], "id")), "id"))
    next(records)
    return Rows(records, unique(partial(_csv_row, header), "id"))


def _check_id(cell: str, place: str) -> None:
    """Check that the *cell* of a first line that is no header does not look like one all the same.

    Raises:
        InvalidArgumentError: it does.
    """
    if cell.startswith(("#", "//")):
        raise InvalidArgumentError(f"{place}: looks like a comment, expected a header or an ID: remove it")
    has_digit = any(character.isdigit() for character in cell)
    is_id = _ID.fullmatch(cell) is not None
    words = _WORD.findall(cell)
    is_title = bool(words) and all(_TITLE.fullmatch(word.lower()) for word in words) and not (is_id and has_digit)
    # IDs of the service are capital letters and digits. A few of them have no digit.
    if is_title or (not has_digit and not (is_id and cell == cell.upper())):
        raise InvalidArgumentError(
            f"{place}: looks like a header without a column id: name the column by --id-column; if it is an ID, put a"
            " line 'id' before it"
        )


def _json_row(id_column: str, number: int, line: str) -> Row | BadRow:
    members = parse_object(number, line)
    if isinstance(members, BadRow):
        return members
    id = members.pop(id_column, None)
    if id is not None and not isinstance(id, str):
        return BadRow(number, printable(str(id)), f"{id_column}: expected a text, got {type(id).__name__}")
    columns: dict[str, JSON] = {name: value for name, value in members.items() if value is not None and value != ""}
    return _row(number, id or "", id_column, columns)


def _csv_row(header: Header, number: int, record: str) -> Row | BadRow:
    members = header.members(number, record)
    if isinstance(members, BadRow):
        return members
    id = str(members.pop(header.label, ""))
    row = _row(number, id, header.label, members)
    if isinstance(row, Row):
        for name, value in members.items():
            cell = str(value)
            if not cell.isprintable() and not cell.translate(_BREAKS).isprintable():
                reason = f"{name}: not UTF-8 text, or holds a control character: '{printable(cell)}'"
                return BadRow(number, id, reason)
    return row


def _row(number: int, id: str, id_column: str, columns: dict[str, JSON]) -> Row | BadRow:
    if not id:
        return BadRow(number, "", f"{id_column} is empty")
    columns.pop("id", None)
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
    """Path of the file; None for stdin, under any name, and pipes, which cannot be read again."""
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
        # Of what this process has been given open, a later run can have no journal.
        path = None if file == "-" or is_stream(Path(file)) else file
        yield Source(lines, read, path=path, total=total)


def _open(file: str, option: str) -> TextIO:
    if file == "-" and sys.stdin is None:
        raise InvalidArgumentError(f"{option}: there is no standard input")
    path = sys.stdin.fileno() if file == "-" else file
    try:
        # Bytes that are not UTF-8 are kept as surrogates, so that they cost their row and not the file.
        return open(path, encoding="utf-8-sig", errors="surrogateescape", newline="", closefd=isinstance(path, str))
    except OSError as error:
        raise InvalidArgumentError(f"{option}: {error.strerror}: {file}") from None
