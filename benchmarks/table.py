"""The rows of the result and how they are printed."""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Self

import attrs

from .slices import Slice, compare

__all__ = ["Row", "Spread", "lines", "render"]

_TITLES: Final = ("measured", "in flight", "calls/s", "wall us", "CPU us", "ratio", "by CPU", "goal", "met")
_WORDS: Final = {None: "", True: "yes", False: "NO"}


@attrs.frozen
class Spread:
    """The median of some numbers, and the quartiles round it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Collection[float]) -> Self:
        """Look at *numbers*; there must be two at least."""
        low, median, high = statistics.quantiles(numbers, n=4, method="inclusive")
        return cls(median, low, high)

    def text(self, digits: int) -> str:
        """The median, and in parentheses the quartiles."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


@attrs.frozen(kw_only=True)
class Row:
    """One line: what a call cost, how it compares, and what was hoped for.

    The goal is the least ratio by the clock on the wall, or without a ratio the least calls a second.
    """

    name: str
    in_flight: int
    rate: Spread | None = None
    wall: float | None = None
    cpu: float | None = None
    ratio: Spread | None = None
    cpu_ratio: Spread | None = None
    goal: float | None = None
    warning: str | None = None
    """What it means for the other numbers if the goal is not met."""

    def costs(self, slices: Mapping[int, Slice]) -> Self:
        """The row with what a call cost."""
        return attrs.evolve(
            self,
            rate=Spread.of([1e6 / slice_.wall for slice_ in slices.values()]),
            wall=statistics.median(slice_.wall for slice_ in slices.values()),
            cpu=statistics.median(slice_.cpu for slice_ in slices.values()),
        )

    def against(self, ours: Mapping[int, Slice], theirs: Mapping[int, Slice]) -> Self:
        """The row with a comparison."""
        ratios = compare(ours, theirs)
        return attrs.evolve(
            self,
            ratio=Spread.of([ratio.wall for ratio in ratios]),
            cpu_ratio=Spread.of([ratio.cpu for ratio in ratios]),
        )

    @property
    def met(self) -> bool | None:
        """Whether the median reached the goal; None without one."""
        judged = self.ratio or self.rate
        return None if self.goal is None or judged is None else judged.median >= self.goal

    def plain(self) -> dict[str, Any]:
        """The row for JSON."""
        return attrs.asdict(self, filter=attrs.filters.exclude("warning")) | {"met": self.met}

    def cells(self) -> tuple[str, ...]:
        """The row for people."""
        return (
            self.name,
            str(self.in_flight),
            self.rate.text(0) if self.rate else "",
            f"{self.wall:.1f}" if self.wall else "",
            f"{self.cpu:.1f}" if self.cpu else "",
            self.ratio.text(2) if self.ratio else "",
            f"{self.cpu_ratio.median:.2f}" if self.cpu_ratio else "",
            f">= {self.goal:g}" if self.goal else "",
            _WORDS[self.met],
        )


def render(rows: Iterable[Row]) -> str:
    """The table; it is Markdown too."""
    return lines(_TITLES, [row.cells() for row in rows])


def lines(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; all columns but the first are set to the right."""
    cells = [titles, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "|" + "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths)) + "|"
    head, *body = (_line(row, widths) for row in cells)
    return "\n".join((head, rule, *body))


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return " | ".join((f"| {first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others))) + " |"
