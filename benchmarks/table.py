"""What the themes give, piece by piece: sections, rows, and figures with a goal; and how these are printed."""

import math
import statistics
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Self

import attrs

__all__ = ["Figure", "Piece", "Row", "Section", "Spread", "figures", "lines", "progress"]

_FIRST: Final = 46
_OTHERS: Final = 8
_WIDE: Final = {"quartiles": 16}
_MET: Final = {True: "yes", False: "NO"}


@attrs.frozen
class Spread:
    """The median of some numbers, and the quartiles round it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Collection[float]) -> Self:
        """Look at *numbers*; a single one has no spread."""
        if len(numbers) == 1:
            [number] = numbers
            return cls(number, number, number)
        low, median, high = statistics.quantiles(numbers, n=4, method="inclusive")
        return cls(median, low, high)

    def text(self, digits: int | None = None) -> str:
        """The median, and in parentheses the quartiles, with so many digits after the point; None is what fits."""
        median, low, high = (self.number(number, digits) for number in (self.median, self.low, self.high))
        return f"{median} ({low} to {high})"

    def number(self, number: float, digits: int | None = None) -> str:
        """One of these numbers; without *digits* all three have the same, enough to tell 1 % of the median."""
        if digits is None:
            digits = max(0, 2 - math.floor(math.log10(self.median))) if 0 < self.median < 100 else 0
        return f"{number:,.{digits}f}"


@attrs.frozen(kw_only=True)
class Section:
    """A table, whose rows follow: its title, its columns, and what has to be known to read it."""

    title: str
    columns: Sequence[str]
    legend: str = ""

    def head(self) -> str:
        """The title and the head of the table, in Markdown."""
        legend = f"{self.legend}\n\n" if self.legend else ""
        return f"### {self.title}\n\n{legend}{self.line(self.columns)}\n{_rule(self._widths())}"

    def line(self, cells: Sequence[str]) -> str:
        """A row of the table."""
        return _line(cells, self._widths())

    def _widths(self) -> list[int]:
        return [max(len(title), _WIDE.get(title, _OTHERS) if at else _FIRST) for at, title in enumerate(self.columns)]


@attrs.frozen(kw_only=True)
class Row:
    """A row of the section before it: what is printed, and the numbers behind that."""

    cells: Sequence[str]
    raw: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Figure:
    """A number with a goal.

    Attributes:
        what: what was measured, or which two things were divided.
        found: the number; of a ratio, that of two things measured in turns.
        unit: what is counted; nothing for a ratio.
        must: what it has to be at least.
        aim: what is hoped for.
        at_most: whether it has to be at most that.
        sides: what was divided, or how much of what was measured.
        instead: another figure that does as well, where the machine is the limit before the goal is reached.
    """

    what: str
    found: Spread
    unit: str = ""
    must: float
    aim: float
    at_most: bool = False
    sides: str = ""
    instead: "Figure | None" = None

    @property
    def met(self) -> bool:
        """Whether the median reached the goal, or that of `instead` did."""
        return self._reached(self.must) or (self.instead is not None and self.instead.met)

    def _reached(self, bound: float) -> bool:
        return self.found.median <= bound if self.at_most else self.found.median >= bound

    def cells(self) -> tuple[str, ...]:
        """The row of the table of figures."""
        unit = f" {self.unit}" if self.unit else ""
        found = self.found.text() + unit
        must = f"{'<=' if self.at_most else '>='} {self.must:,g}{unit}"
        if self.instead is not None:
            _, others, other, *_ = self.instead.cells()
            found, must = f"{found}; {others}", f"{must}; or {other}"
        met = _MET[self.met] + (", aim too" if self._reached(self.aim) else "")
        return (self.what, found, must, f"{self.aim:,g}", met, self.sides)

    def plain(self) -> dict[str, Any]:
        """The figure for JSON."""
        return attrs.asdict(self) | {"met": self.met}


Piece = Section | Row | Figure | str
"""What the modules give as soon as they have it; text is printed as it is."""


def progress(text: str) -> None:
    """Say what is measured now, to whoever waits for the next row."""
    print(f"... {text}", file=sys.stderr, flush=True)


def figures(found: Iterable[Figure]) -> str:
    """The table of the figures with their goals."""
    titles = ("what", "found", "must", "aim", "met", "both sides, or beside")
    return lines(titles, [figure.cells() for figure in found])


def lines(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; all columns but the first are set to the right."""
    cells = [titles, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    head, *body = (_line(row, widths) for row in cells)
    return "\n".join((head, _rule(widths), *body))


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return " | ".join((f"| {first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others))) + " |"


def _rule(widths: Iterable[int]) -> str:
    return "|" + "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths)) + "|"
