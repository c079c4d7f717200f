"""Records of the Account controller (reference, section 7)."""

from datetime import datetime
from typing import Any

import attrs

from .record import Record

__all__ = ["Account"]


@attrs.define(kw_only=True)
class Account(Record):
    """An account of a device cloud: a person or a company with devices and users."""

    activity: datetime | None = None
    """Time of the last use."""
    closed: bool | None = None
    """Whether the account was closed."""
    cloud_id: str | None = None
    """Device cloud that it belongs to."""
    created: datetime | None = None
    email: str | None = None
    """Contact address."""
    id: str
    """Key of the account."""
    name: str | None = None
    """Person or company."""
    extra: dict[str, Any] = attrs.field(factory=dict)
