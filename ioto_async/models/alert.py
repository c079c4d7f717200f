"""Records of the Alert controller (reference, section 7)."""

from datetime import datetime
from typing import Any

import attrs

from .record import Record

__all__ = ["Alert"]


@attrs.define(kw_only=True)
class Alert(Record):
    """Something that an automation found worth telling."""

    account_id: str | None = None
    """Account that owns it."""
    cloud_id: str | None = None
    """Device cloud."""
    context: dict[str, Any] | None = None
    """Variables of the alert."""
    count: float | None = None
    """How many times the same thing was told."""
    id: str
    """Key of the alert."""
    message: str | None = None
    name: str | None = None
    """Automation that raised it."""
    seq: str | None = None
    """Fingerprint: alerts that tell the same have the same."""
    severity: str | None = None
    subject: str | None = None
    """Subject line."""
    resolved: bool | None = None
    """Whether somebody has dealt with it."""
    timestamp: datetime | None = None
    """Time when it was made."""
    extra: dict[str, Any] = attrs.field(factory=dict)
