"""Files of rows, one a line: how they are opened, and what makes a row no good. Imports floor 0.

A row ends with its line: a quote that is not closed costs one row, not the rest.
"""

import csv
from collections.abc import Iterable, Iterator
from typing import TextIO

import attrs
import orjson

from ...errors import InvalidArgumentError
from ...models import JSON

__all__ = ["BadRow", "cells_of", "header_of", "numbered", "object_of", "open_lines", "printable"]


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
