"""What the metric commands are told in words: durations, dates, dimensions, statistics."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Final

import attrs
from cyclopts import Parameter

from ...errors import InvalidArgumentError
from ...models import DEVICE_NAMESPACE, MetricQuery
from ...models.metric import check_statistic

__all__ = ["Asked", "Words", "in_words", "moment_of", "pairs_of", "seconds_of"]

Words = Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)]
"""An option that may be given several times, with one word each."""

_UNITS: Final[Mapping[str, int]] = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_ID: Final = "{id}"
"""What stands for the ID of a device in the value of a dimension."""


def seconds_of(option: str, text: str) -> float:
    """Seconds of a duration such as ``90s``, ``5m``, ``1.5h``, ``1d`` or ``4w``.

    Raises:
        InvalidArgumentError: *text* is none, or nothing.
    """
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not seconds:
        raise InvalidArgumentError(f"{option}: expected a duration such as 90s, 5m, 1h, 1d or 4w, got {text!r}")
    return int(seconds) if seconds.is_integer() else seconds


def in_words(seconds: float) -> str:
    """A duration as `seconds_of` reads it, in the largest unit that it has one of."""
    for unit, length in _UNITS.items():
        if seconds >= length and (seconds % length == 0 or seconds >= 10 * length):
            return f"{round(seconds / length, 1):g}{unit}"
    return f"{seconds:g}s"


def moment_of(option: str, text: str) -> datetime:
    """The moment of an ISO date with its offset from UTC.

    Raises:
        InvalidArgumentError: *text* is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidArgumentError(
            f"{option}: expected an ISO date with its offset, such as 2026-05-01T12:00Z, got {text!r}"
        )
    return moment


def pairs_of(option: str, words: Iterable[str]) -> dict[str, str]:
    """The names and values of the *words* NAME=VALUE.

    Raises:
        InvalidArgumentError: one is something else, or a name comes twice.
    """
    pairs: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if not name or not value:
            raise InvalidArgumentError(f"{option}: expected NAME=VALUE, got {word!r}")
        if name in pairs:
            raise InvalidArgumentError(f"{option}: {name} is given twice")
        pairs[name] = value
    return pairs


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Asked:
    """What is asked about metrics."""

    period: str = "1d"
    """How far back, such as 90s, 5m, 1h, 1d or 4w. The cloud has points of 30s up to 5m, of 5m up to 1h, of 2h up to
    1d, of 12h up to 1w, of 2d up to 4w, and of a month up to a year."""
    statistic: str = "avg"
    """avg, min, max, count, sum, current, or a percentile such as p95."""
    dimensions: Words = ()
    """NAME=VALUE of the exact dimensions; may be given several times, {id} in a value stands for the ID of the device.
    Device={id} by default; {} alone is the metric without dimensions."""
    start: str | None = None
    """Begin of the period, an ISO date with its offset such as 2026-05-01T12:00Z. By default it ends now."""
    namespace: str = DEVICE_NAMESPACE
    """Where the metrics live."""
    account: str | None = None
    """Account that owns the devices; IOTO_ACCOUNT by default."""

    def names(self) -> tuple[str, ...]:
        """The names of the dimensions.

        Raises:
            InvalidArgumentError: they are none.
        """
        if not self.dimensions:
            return ("Device",)
        return () if self.dimensions == ("{}",) else tuple(pairs_of("--dimensions", self.dimensions))

    def query(self, device_id: str, metric: str, *, accumulate: bool = False) -> MetricQuery:
        """The question about a *metric* of a device.

        Raises:
            InvalidArgumentError: an option does not fit.
        """
        check_statistic("--statistic", self.statistic)
        words = self.dimensions or (f"Device={_ID}",)
        pairs = {} if words == ("{}",) else pairs_of("--dimensions", words)
        return MetricQuery(
            metric,
            {name: value.replace(_ID, device_id) for name, value in pairs.items()},
            self.statistic,
            period=seconds_of("--period", self.period),
            accumulate=accumulate,
            start=None if self.start is None else moment_of("--start", self.start),
            namespace=self.namespace,
        )
