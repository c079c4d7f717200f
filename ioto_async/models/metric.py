"""Records and requests of the Metric controller (reference, sections 7 and 9)."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import attrs

from ..errors import InvalidArgumentError
from ..settings import in_seconds, must_be, period
from .record import Record

__all__ = [
    "DEVICE_NAMESPACE",
    "DatabaseQuery",
    "Metric",
    "MetricKey",
    "MetricList",
    "MetricQuery",
    "Point",
    "Statistic",
    "check_statistic",
    "in_buffer",
    "is_of_nothing",
]

Statistic = Literal["avg", "min", "max", "count", "sum", "current"] | str
"""A statistic's name; ``pNN`` (a percentile such as ``p95``) needs value storage on the service's side."""

_STATISTICS: Final = re.compile(r"avg|min|max|count|sum|current|p\d{1,2}")


def is_of_nothing(statistic: Statistic | None, count: float | None) -> bool:
    """Whether a point of *count* samples has no value: the service has 0 for the average of none, as for their sum.

    So has one whose statistic is not known, None.
    """
    return count == 0 and statistic not in ("count", "sum")


def check_statistic(of: str, value: Statistic) -> None:
    """Refuse what is none of the statistics that are known (reference, section 9), where the service would not.

    Args:
        of: what the argument is called.
        value: what it is.

    Raises:
        InvalidArgumentError: it is another.
    """
    if not _STATISTICS.fullmatch(value):
        expected = "avg, min, max, count, sum, current, or a percentile such as p95"
        raise InvalidArgumentError(f"{of}: expected {expected}, got {value!r}")


def in_buffer(of: str, buffer: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """How the cloud is to gather samples, with ``elapsed`` in seconds; it may be any `Period`.

    Args:
        of: the operation.
        buffer: as the caller has it; what is no mapping is left to the check of the operation.

    Raises:
        InvalidArgumentError: ``elapsed`` is no period.
    """
    if not isinstance(buffer, Mapping) or buffer.get("elapsed") is None:
        return buffer
    elapsed: Any = in_seconds(buffer["elapsed"])
    period(above_zero=False, of=of).check("buffer: elapsed", elapsed)
    return {**buffer, "elapsed": elapsed}


DEVICE_NAMESPACE: Final = "Embedthis/Device"
"""Where the metrics of devices live."""


@attrs.define(kw_only=True)
class Point(Record):
    """One point of a series."""

    value: float | None = None
    """The statistic's value; None where the service has no finite one. It has 0 for the average of no samples."""
    timestamp: datetime | None = None
    """End of the point's interval; seconds and milliseconds on the wire are told apart by size."""
    count: float | None = None
    """Number of samples behind the value."""
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class Metric(Record):
    """The answer to one item of a metric request."""

    device_id: str | None = None
    """The device that was asked about; the service does not say it, and dimensions do not always."""
    dimensions: dict[str, Any] | None = None
    error: str | None = None
    """Why this item failed; the others of the request are not affected."""
    id: str | None = None
    """The request item's own ``id``, echoed."""
    metric: str | None = None
    namespace: str | None = None
    owner: str | None = None
    period: float | None = None
    """Seconds that the answering span covers, which may be more than was asked for."""
    points: list[Point] | None = None
    samples: float | None = None
    """Points in the span."""
    statistic: str | None = None
    """The statistic that was asked for, which the service does not say; None where that cannot be told."""
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class MetricList(Record):
    """What ``metric/getMetricList`` knows: metrics if a namespace was given, dimensions if a metric was."""

    namespaces: list[str] | None = None
    metrics: list[str] | None = None
    dimensions: list[dict[str, Any]] | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class MetricKey(Record):
    """What identifies a metric of an account: each dimension map is a metric of its own."""

    namespace: str
    metric: str
    dimensions: dict[str, Any]
    """As the service reads them back, their values as text; empty for all."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


_OF: Final = "metric/fetch"
_text: Final = must_be("a string that is not empty", _is_text, of=_OF)
_name: Final = must_be("a string that is not empty", lambda value: value is None or _is_text(value), of=_OF)
_flag: Final = must_be("True or False", lambda value: isinstance(value, bool), of=_OF)
_count: Final = must_be(
    "a whole number above 0", lambda value: value is None or (type(value) is int and value > 0), of=_OF
)
_period: Final = period(of=_OF)
_mapping: Final = must_be("a mapping", lambda value: isinstance(value, Mapping), of=_OF)


@attrs.frozen
class MetricQuery:
    """One item of a metric request.

    Attributes:
        metric: name of the metric.
        dimensions: exact dimension map, such as ``{"Device": id}``; empty for all.
        statistic: see `Statistic`.
        period: seconds, a `datetime.timedelta`, or text such as ``90s``, ``5m``, ``1.5h``, ``1d`` or ``4w``; the
            attribute is in seconds. The service cuts it to a year.
        accumulate: fold all points into one.
        start: start of the range; aware.
        limit: sent as it is; what it limits is documented for database items only.
        namespace: where the metric lives.
        cloud_id: device cloud.
        id: echoed in the answer.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """

    metric: str = attrs.field(validator=_text)
    dimensions: Mapping[str, object] = attrs.field(factory=dict, validator=_mapping)
    statistic: Statistic = attrs.field(default="avg", validator=_text)
    period: float = attrs.field(default=300, kw_only=True, converter=in_seconds, validator=_period)
    accumulate: bool = attrs.field(default=False, kw_only=True, validator=_flag)
    start: datetime | None = attrs.field(default=None, kw_only=True)
    limit: int | None = attrs.field(default=None, kw_only=True, validator=_count)
    namespace: str = attrs.field(default=DEVICE_NAMESPACE, kw_only=True, validator=_text)
    cloud_id: str | None = attrs.field(default=None, kw_only=True, validator=_name)
    id: str | None = attrs.field(default=None, kw_only=True, validator=_name)


@attrs.frozen
class DatabaseQuery:
    """One item of a metric request that reads a field of database items instead of a metric.

    Attributes:
        model: name of the model.
        field: numeric field of it.
        dimensions: attributes that the items must have.
        statistic: see `Statistic`.
        limit: items at most.
        namespace: echoed in the answer.
        cloud_id: device cloud.
        id: echoed in the answer.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """

    model: str = attrs.field(validator=_text)
    field: str = attrs.field(validator=_text)
    dimensions: Mapping[str, object] = attrs.field(factory=dict, validator=_mapping)
    statistic: Statistic = attrs.field(default="current", validator=_text)
    limit: int | None = attrs.field(default=None, kw_only=True, validator=_count)
    namespace: str = attrs.field(default="Database", kw_only=True, validator=_text)
    cloud_id: str | None = attrs.field(default=None, kw_only=True, validator=_name)
    id: str | None = attrs.field(default=None, kw_only=True, validator=_name)
