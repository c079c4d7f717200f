"""Records of the Device controller (reference, section 7)."""

from datetime import datetime
from typing import Any

import attrs

from ..settings import optional_secret
from .record import Record

__all__ = ["Credentials", "Device"]


@attrs.define(kw_only=True)
class Device(Record):
    """A claimed device, as ``device/*`` shows it."""

    accessed: datetime | None = None
    """Time of the last contact."""
    account_id: str | None = None
    """Account that claimed it."""
    checked: str | None = None
    """Version seen at the last update check."""
    created: datetime | None = None
    """Time of the first claim."""
    id: str
    """Claim ID."""
    product: str | None = None
    """Name of the product."""
    product_id: str | None = None
    """Key of the product."""
    test: bool | None = None
    """A test device, which is not billed."""
    version: str | None = None
    """Firmware version."""
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class Credentials(Record):
    """Temporary AWS keys of a device, of dedicated clouds only; ``expires`` says until when."""

    access_key_id: str | None = None
    secret_access_key: str | None = attrs.field(default=None, repr=False, converter=optional_secret)
    """A `Secret`, as is the token."""
    session_token: str | None = attrs.field(default=None, repr=False, converter=optional_secret)
    expires: datetime | None = None
    region: str | None = None
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)
