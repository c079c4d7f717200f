"""Records and requests of the Metric controller (reference, sections 7 and 9)."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import attrs

from ..errors import InvalidArgumentError

__all__ = ["DatabaseQuery", "Metric", "MetricList", "MetricQuery", "Point", "Statistic"]

Statistic = Literal["avg", "min", "max", "count", "sum", "current"] | str
"""A statistic's name; ``pNN`` (a percentile such as ``p95``) needs value storage on the service's side."""

DEVICE_NAMESPACE = "Embedthis/Device"


@attrs.define(kw_only=True)
class Point:
    """One point of a series."""

    value: float | None = None
    """The statistic's value; None where the service has no finite one."""
    timestamp: datetime | None = None
    """End of the point's interval; seconds and milliseconds on the wire are told apart by size."""
    count: float | None = None
    """Number of samples behind the value."""
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class Metric:
    """The answer to one item of a metric request."""

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
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class MetricList:
    """What ``metric/getMetricList`` knows: metrics if a namespace was given, dimensions if a metric was."""

    namespaces: list[str] | None = None
    metrics: list[str] | None = None
    dimensions: list[dict[str, Any]] | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)


def _text(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, str) or not value:
        raise _refusal(attribute, "a string that is not empty", value)


def _name(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None:
        _text(_, attribute, value)


def _flag(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, bool):
        raise _refusal(attribute, "True or False", value)


def _count(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise _refusal(attribute, "a whole number above 0", value)


def _seconds(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
        raise _refusal(attribute, "seconds above 0", value)


def _mapping(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, Mapping):
        raise _refusal(attribute, "a mapping", value)


def _refusal(attribute: "attrs.Attribute[Any]", expected: str, value: object) -> InvalidArgumentError:
    return InvalidArgumentError(f"metric/fetch: {attribute.name}: expected {expected}, got {value!r}")


@attrs.frozen
class MetricQuery:
    """One item of a metric request.

    Attributes:
        metric: name of the metric.
        dimensions: exact dimension map, such as ``{"Device": id}``; empty for all.
        statistic: see `Statistic`.
        period: seconds.
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
    period: float = attrs.field(default=300, kw_only=True, validator=_seconds)
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
