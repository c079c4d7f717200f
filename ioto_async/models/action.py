"""Records of the Action controller (reference, section 7)."""

from typing import Any

import attrs

from .record import Record

__all__ = ["Action", "ActionResult"]


@attrs.define(kw_only=True)
class Action(Record):
    """An automation of a device cloud."""

    args: dict[str, Any] | None = None
    """Arguments, by type."""
    buffer: dict[str, Any] | None = None
    """Buffering of a metric: ``sum``, ``count``, ``elapsed`` (seconds), ``force``."""
    cloud_id: str | None = None
    context: dict[str, Any] | None = None
    """Variables of the trigger expression."""
    description: str | None = None
    destination: str | None = None
    """URL, address, function, topic or number, by type."""
    due: float | None = None
    """Next due time; the unit is not documented."""
    enable: bool | None = None
    error: str | None = None
    """Text of the last failure."""
    expression: str | None = None
    """Trigger expression."""
    format: str | None = None
    """Message format."""
    id: str
    name: str | None = None
    poll: float | None = None
    """Polling delay of the trigger."""
    rearm: float | None = None
    """Quiet time after firing."""
    severity: str | None = None
    """Severity of an alert."""
    trigger: str | None = None
    """Source of the trigger."""
    type: str | None = None
    """Such as ``metric``, ``device``, ``alert``, ``http``."""
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class ActionResult(Record):
    """What ``action/invoke`` did."""

    name: str | None = None
    context: dict[str, Any] | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)
