"""Items of the key-value store (reference, section 7)."""

from datetime import datetime
from typing import Any

import attrs

from .record import Record

__all__ = ["StoreItem"]


@attrs.define(kw_only=True)
class StoreItem(Record):
    """One key of one device."""

    account_id: str | None = None
    created: datetime | None = None
    device_id: str | None = None
    key: str
    role: str | None = None
    """Role that may read the item."""
    value: Any = None
    """Any JSON value."""
    type: str | None = None
    """``number``, ``string`` or ``boolean``."""
    updated: datetime | None = None
    expires: datetime | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)
