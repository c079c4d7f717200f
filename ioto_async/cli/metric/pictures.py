"""A series as a picture: in the terminal by plotext, in a file by matplotlib.

Points without samples are gaps. All times are in UTC.
"""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Final

import attrs

from ..._install import install_command
from ...errors import InvalidArgumentError
from ...models import Metric
from ..files import open_output
from ..listing import text_of
from .arguments import format_duration
from .tables import point_rows

__all__ = ["Series", "draw", "plot"]

_DAY: Final = 86_400
_STEPS: Final = (
    *(1, 5, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(hours * 3600 for hours in (1, 2, 3, 4, 6, 12)),
    *(days * _DAY for days in (1, 2, 4, 7, 14)),
)
"""Seconds between two ticks; months are beyond them."""
_MONTHS: Final = (1, 2, 3, 6, 12)
_VALUE_TICKS: Final = 6
_TIME_TICKS: Final = 10
_TICK_WIDTH: Final = 11
"""Columns for each tick in the terminal."""
_FRAME: Final = str.maketrans("─│┌┐└┘┤┬", "-|++++++")
"""The lines of the frame in ASCII."""
_SIZE: Final = (10, 4.5)
"""Width and height of a picture in a file, in inches."""


@attrs.frozen
class Series:
    """A series with its labels."""

    title: str
    subtitle: str
    label: str
    """Of the values."""
    points: Sequence[tuple[datetime, float | None]]
    """In the order of their times; None for a gap."""
    interval: float
    """Seconds from one to the next."""

    @classmethod
    def of(cls, metric: Metric, device_id: str, name: str, statistic: str, *, unit: str | None) -> "Series":
        """The series of a metric that was fetched.

        Args:
            metric: the metric.
            device_id: of the device.
            name: of the metric.
            statistic: of the values.
            unit: of the values.
        """
        rows = point_rows(metric, device_id, statistic)
        points = sorted((row["timestamp"].astimezone(UTC), row["value"]) for row in rows if row["timestamp"])
        span = metric.period or 0
        interval = span / metric.samples if metric.samples and len(points) > 1 else span
        each = f"points of {format_duration(interval)}" if len(points) > 1 else f"one point for {format_duration(span)}"
        own = {"Device": device_id}
        others = ", ".join(f"{key}={text_of(value)}" for key, value in (metric.dimensions or {}).items())
        where = f"of {device_id}" if metric.dimensions in (own, None) else f"({others or 'no dimensions'})"
        measured = "samples" if statistic == "count" else statistic
        return cls(
            f"{name} {where}", f"{statistic}, {each}", f"{measured} ({unit})" if unit else measured, points, interval
        )

    @property
    def is_empty(self) -> bool:
        """Whether no point has a value."""
        return all(value is None for _, value in self.points)

    def lines(self) -> list[list[tuple[datetime, float]]]:
        """The points between the gaps."""
        parts = groupby(self.points, key=lambda point: point[1] is None)
        return [[(at, value) for at, value in part if value is not None] for is_gap, part in parts if not is_gap]

    @property
    def ends(self) -> tuple[datetime, datetime]:
        """The begin and the end of the time axis."""
        first, last = self.points[0][0], self.points[-1][0]
        return (first, last) if first < last else (last - timedelta(seconds=self.interval or 1), last)


# In the terminal ---------------------------------------------------------------------------------------------------


def draw(series: Series, *, width: int, height: int, colour: bool, plain: bool = False) -> str:
    """A picture of *series* as text.

    Args:
        series: not empty.
        width: columns.
        height: lines.
        colour: whether colours may be used.
        plain: use ASCII characters only.

    Raises:
        InvalidArgumentError: plotext is not installed.
    """
    try:
        import plotext
    except ModuleNotFoundError as error:
        raise _missing("--graph", error) from None
    plotext.terminal.limit(False, False)  # do not limit the size to that of the terminal
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")  # colours the line only, and leaves the background to the terminal
    figure.plot_size(width, height)
    lines = series.lines()
    times = [at.timestamp() for line in lines for at, _ in line]
    values = [value for line in lines for _, value in line]
    # A point without neighbours is too small as a dot of braille.
    alone, joined = ("*", "*") if plain else ("•", "braille")
    markers = [alone if len(line) == 1 else joined for line in lines for _ in line]
    signal = figure.signal(times, values, marker=markers).lines()
    for begin in _begins(lines):
        signal.line(begin, False)
    figure.draw(signal)
    first, last = series.ends
    ticks = _ticks(first, last, max(width // _TICK_WIDTH, 2))
    figure.ruler("x").lim(first.timestamp(), last.timestamp()).ticks(
        [at.timestamp() for at in ticks], _tick_labels(ticks)
    )
    levels = _value_ticks(min(values), max(values))
    figure.ruler("y").ticks(levels, [*map(_shown, levels)])
    figure.title(f"{series.title}: {series.subtitle}")
    figure.label(f"time (UTC), {_range(first, last)}", "x")
    figure.label(series.label, "y")
    text: str = figure.build().string(colorless=not colour)
    if plain:
        text = text.translate(_FRAME)
    return text if colour else "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _begins(lines: Iterable[Sequence[object]]) -> Iterator[int]:
    """The index of the first point of each line."""
    place = 0
    for line in lines:
        yield place
        place += len(line)


def _ticks(first: datetime, last: datetime, most: int) -> list[datetime]:
    """Times from *first* to *last* that are easy to read; fewer than *most*, unless there are years between them."""
    length = (last - first).total_seconds()
    step = next((step for step in _STEPS if length / step < most), None)
    if step is None:
        return _month_ticks(first, last, most)
    begin = math.ceil(first.timestamp() / step) * step
    return [datetime.fromtimestamp(at, UTC) for at in range(begin, int(last.timestamp()) + 1, step)]


def _month_ticks(first: datetime, last: datetime, most: int) -> list[datetime]:
    begin, end = (at.year * 12 + at.month - 1 for at in (first, last))
    step = next((step for step in _MONTHS if (end - begin) / step < most), _MONTHS[-1])
    months = range(begin + -begin % step, end + 1, step)
    ticks = (datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months)
    return [at for at in ticks if at >= first]


def _tick_labels(ticks: Sequence[datetime]) -> list[str]:
    """The time of each tick; its day at midnight, or its month if all are the first of one."""
    if len(ticks) > 1 and all(at.day == 1 and _is_midnight(at) for at in ticks):
        return [f"{at:%b %Y}" for at in ticks]
    is_fine = any(at.second for at in ticks)
    return [f"{at:%d %b}" if _is_midnight(at) else f"{at:%H:%M:%S}" if is_fine else f"{at:%H:%M}" for at in ticks]


def _value_ticks(low: float, high: float) -> list[float]:
    """Values from *low* to *high* that are easy to read."""
    if low == high:
        return [low]
    least = (high - low) / (_VALUE_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(step for step in (power, 2 * power, 2.5 * power, 5 * power, 10 * power) if step >= least * 0.999)
    return [at * step for at in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _is_midnight(at: datetime) -> bool:
    return not (at.hour or at.minute or at.second)


def _range(first: datetime, last: datetime) -> str:
    if first.date() == last.date():
        return f"{first:%d %b %Y}"
    return f"{first:%d %b %Y} to {last:%d %b %Y}"


def _shown(level: float) -> str:
    return f"{level:,.10g}"


# In a file ---------------------------------------------------------------------------------------------------------


def plot(series: Series, path: Path) -> None:
    """Write a picture of *series*, which is not empty, to *path*, in the format that its suffix names.

    Raises:
        InvalidArgumentError: matplotlib is not installed, or another process writes *path*.
        OSError: *path* cannot be written.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter
    except ModuleNotFoundError as error:
        raise _missing("--plot", error) from None
    figure = Figure(figsize=_SIZE, dpi=120, layout="constrained")  # without pyplot, it needs no display
    axes = figure.add_subplot()
    for line in series.lines():
        times = [at.timestamp() for at, _ in line]
        axes.plot(times, [value for _, value in line], color="C0", marker="o", markersize=4, linewidth=1.8)
    first, last = series.ends
    margin = (last - first) * 0.02
    axes.set_xlim((first - margin).timestamp(), (last + margin).timestamp())
    ticks = _ticks(first, last, _TIME_TICKS)
    axes.set_xticks([at.timestamp() for at in ticks], _tick_labels(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda level, _: _shown(level)))
    axes.set_title(series.title, loc="left", fontsize=13, fontweight="bold", pad=24, parse_math=False)
    axes.text(0, 1.03, series.subtitle, transform=axes.transAxes, color="0.35", parse_math=False)
    axes.set_xlabel(f"time (UTC), {_range(first, last)}")
    axes.set_ylabel(series.label, parse_math=False)
    axes.grid(visible=True, color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()  # a device or a pipe cannot be written to and fro
    figure.savefig(picture, format=path.suffix.removeprefix("."))
    with open_output(path, "--plot") as file:
        file.write(picture.getvalue())


def _missing(option: str, error: ModuleNotFoundError) -> InvalidArgumentError:
    return InvalidArgumentError(f"{option}: {error.name} is not installed: {install_command('plot')}")
