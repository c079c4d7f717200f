"""Records on stdout: as a table for people, as JSON, as JSON lines or as CSV."""

import csv
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ..models import JSON
from ..models.value import json_text
from .options import RecordFormat

__all__ = ["Listing", "print_record", "print_rows", "text_of"]

Members = Mapping[str, Any]
"""The members of a record, as JSON has them."""
Cell = Callable[[Any], str]
"""Makes the text of a cell of a value."""


def text_of(value: JSON) -> str:
    """A value as text: text as it is, and JSON of all else."""
    return value if isinstance(value, str) else json_text(value)


class Listing:
    """Prints records of one kind: lines as they come, and a table or an array once all of them are there.

    Args:
        output: the format.
        columns: members of a record that CSV has.
        shown: those that a table has; by default the same.
        cells: what makes the text of a column; by default that of `text_of`, and empty for None.
        dates: columns with ISO dates, which a table shows to the second.
    """

    def __init__(
        self,
        output: RecordFormat,
        columns: Sequence[str],
        *,
        shown: Sequence[str] | None = None,
        cells: Mapping[str, Cell] | None = None,
        dates: Sequence[str] = (),
    ) -> None:
        self._output = output
        self._columns = columns if shown is None or output == "csv" else shown
        self._dates = dates
        self._cells = dict(cells or {}) | (dict.fromkeys(dates, _short_date) if output == "table" else {})
        self._kept: list[Members] = []
        self._count = 0
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        if output == "csv":
            self._writer.writerow(columns)

    def add(self, members: Members) -> None:
        """Print a record, or keep it for `finish`."""
        self._count += 1
        if self._output == "jsonl":
            sys.stdout.write(json_text(dict(members)) + "\n")
        elif self._output == "csv":
            self._writer.writerow(self._row(members))
        else:
            self._kept.append(members)

    def finish(self, nothing: str) -> None:
        """Print what is kept; *nothing* is said on stderr if there were no records."""
        if self._output == "json":
            sys.stdout.write(json_text([dict(members) for members in self._kept], indent=True) + "\n")
        elif self._output == "table" and self._kept:
            print_rows(self._columns, map(self._row, self._kept), whole=self._dates)
        if not self._count:
            sys.stderr.write(f"ioto-async: {nothing}\n")

    def _row(self, members: Members) -> list[str]:
        return [self._cells.get(name, _cell)(members.get(name)) for name in self._columns]


def print_record(members: Members, output: RecordFormat) -> None:
    """Print one record; its table has a line for each member that is known."""
    if output == "json":
        sys.stdout.write(json_text(dict(members), indent=True) + "\n")
    elif output == "table":
        rows = [(name, _cell(value)) for name, value in members.items() if value not in (None, {})]
        print_rows(("member", "value"), rows, header=False)
    else:
        listing = Listing(output, list(members))
        listing.add(members)
        listing.finish("")


_WHOLE: Final = 2 / 3
"""The share of the width that columns whose cells are not folded may have."""


def print_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    header: bool = True,
) -> None:
    """Print a table on stdout, as wide as the terminal at most.

    Args:
        columns: their names.
        rows: the cells of each.
        right: columns whose cells are aligned to the right.
        whole: columns whose cells are not folded, as are those of the first, if there is room.
        header: whether the names are printed.
    """
    from rich.table import Table

    from .report import print_table, table_width

    printed = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *printed, strict=True)]
    not_folded = {columns[0], *whole}
    room = sum(width for name, width in zip(columns, widths, strict=True) if name in not_folded)
    has_room = room <= _WHOLE * table_width(sys.stdout)
    table = Table(show_header=header)
    for name in columns:
        table.add_column(
            name,
            justify="right" if name in right else "left",
            overflow="fold",
            no_wrap=has_room and name in not_folded,
        )
    for row in printed:
        table.add_row(*row)
    print_table(table, sys.stdout)


def _cell(value: JSON) -> str:
    return "" if value is None else text_of(value)


def _short_date(date: str | None) -> str:
    """An ISO *date* in UTC, to the second."""
    return "" if date is None else f"{date[:19]}Z"


def _printable(text: str) -> str:
    """*text* with escapes for what would move the cursor of a terminal, or worse: records hold what anybody wrote."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
