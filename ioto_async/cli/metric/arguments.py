"""Options of the metric commands, and how durations, dates and dimensions are read."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import attrs
from cyclopts import Parameter

from ...errors import InvalidArgumentError
from ...models import DEVICE_NAMESPACE, MetricQuery
from ...models.metric import check_statistic
from ...settings import UNITS
from ..options import Texts, parse_duration

__all__ = ["QueryOptions", "format_duration", "parse_date", "parse_pairs"]

_ID: Final = "{id}"
"""Stands for the ID of a device in the value of a dimension."""
_NO_DIMENSIONS: Final = ("{}",)


def format_duration(seconds: float) -> str:
    """A duration as options have it, in the largest unit that gives a short number."""
    for unit, length in UNITS.items():
        if seconds >= length and (seconds % length == 0 or seconds >= 10 * length):
            return f"{round(seconds / length, 1):g}{unit}"
    return f"{seconds:g}s"


def parse_date(option: str, text: str) -> datetime:
    """The time of an ISO date with its offset from UTC.

    Raises:
        InvalidArgumentError: *text* is not such a date.
    """
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        date = None
    if date is None or date.tzinfo is None:
        raise InvalidArgumentError(
            f"{option}: expected an ISO date with its offset, such as 2026-05-01T12:00Z, got {text!r}"
        )
    return date


def parse_pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """The names and values of *texts* such as NAME=VALUE.

    Raises:
        InvalidArgumentError: a text is something else, or a name is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise InvalidArgumentError(f"{option}: expected NAME=VALUE, got {text!r}")
        if name in pairs:
            raise InvalidArgumentError(f"{option}: {name} is given twice")
        pairs[name] = value
    return pairs


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class QueryOptions:
    """What is queried of a metric."""

    period: str = "1d"
    """How far back, such as 90s, 5m, 1h, 1d or 4w. The cloud has points of 30s up to 5m, of 5m up to 1h, of 2h up to
    1d, of 12h up to 1w, of 2d up to 4w, and of a month up to a year."""
    statistic: str = "avg"
    """avg, min, max, count, sum, current, or a percentile such as p95."""
    dimensions: Texts = ()
    """NAME=VALUE of the exact dimensions; may be given several times, {id} in a value stands for the ID of the device.
    Device={id} by default; {} alone is the metric without dimensions."""
    start: str | None = None
    """Begin of the period, an ISO date with its offset such as 2026-05-01T12:00Z. By default it ends now."""
    namespace: str = DEVICE_NAMESPACE
    """Where the metrics live."""
    account: str | None = None
    """Account that owns the devices; IOTO_ACCOUNT by default."""

    def dimension_names(self) -> tuple[str, ...]:
        """The names of the dimensions.

        Raises:
            InvalidArgumentError: the dimensions are not pairs of names and values.
        """
        return tuple(self._dimensions())

    def query(self, device_id: str, metric: str, *, accumulate: bool = False) -> MetricQuery:
        """The query for a *metric* of a device.

        Raises:
            InvalidArgumentError: an option does not fit.
        """
        check_statistic("--statistic", self.statistic)
        return MetricQuery(
            metric,
            {name: value.replace(_ID, device_id) for name, value in self._dimensions().items()},
            self.statistic,
            period=parse_duration("--period", self.period),
            accumulate=accumulate,
            start=None if self.start is None else parse_date("--start", self.start),
            namespace=self.namespace,
        )

    def _dimensions(self) -> dict[str, str]:
        if self.dimensions == _NO_DIMENSIONS:
            return {}
        return parse_pairs("--dimensions", self.dimensions or (f"Device={_ID}",))
