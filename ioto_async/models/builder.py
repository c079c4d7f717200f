"""Records of the Builder (reference, section 12)."""

from datetime import datetime
from typing import Any

import attrs

from ..settings import optional_secret
from .record import Record

__all__ = ["BuilderDevice", "BuilderProduct", "Registration"]


@attrs.define(kw_only=True)
class BuilderDevice(Record):
    """A registered device, as the Builder shows it."""

    accessed: datetime | None = None
    """Time of the last contact; of the legacy ``device/claim`` alone, as are ``created`` and ``model``."""
    account_id: str | None = None
    """Account that claimed it."""
    cloud_id: str | None = None
    """Device cloud that it was claimed for."""
    created: datetime | None = None
    id: str
    """Claim ID."""
    manager_account_id: str | None = None
    """Account of the device app."""
    model: str | None = None
    product_id: str | None = None
    """Key of the product."""
    test: bool | None = None
    """A test device, which is not billed."""
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class BuilderProduct(Record):
    """The product of a product token, as ``device/lookup`` shows it."""

    account_id: str | None = None
    """Account that makes the product."""
    description: str | None = None
    id: str
    """Key of the product."""
    name: str | None = None
    plan_id: str | None = None
    """Plan that its devices are billed by."""
    suspended: bool | None = None
    url: str | None = None
    """Web page of the product."""
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class Registration(Record):
    """What ``device/register`` answers; everything but ``registered`` is there once the device is claimed."""

    registered: bool | None = None
    api: str | None = None
    """Base URL of the device's cloud."""
    token: str | None = attrs.field(default=None, repr=False, converter=optional_secret)
    """Device token for that cloud; a `Secret`."""
    cloud_type: str | None = None
    """``eval``, ``hosted`` or ``dedicated``."""
    cloud_name: str | None = None
    cloud_region: str | None = None
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)
