"""Records of the Provision controller, and of ``device/provision`` (reference, section 7)."""

from typing import Any

import attrs

from ..settings import optional_secret
from .record import Record

__all__ = ["Certificates", "UpdateOffer"]


@attrs.define(kw_only=True)
class Certificates(Record):
    """What a device needs to connect by MQTT."""

    account_id: str | None = None
    certificate: str | None = attrs.field(default=None, repr=False)
    """PEM text."""
    endpoint: str | None = None
    """MQTT host."""
    id: str | None = None
    """Claim ID."""
    key: str | None = attrs.field(default=None, repr=False, converter=optional_secret)
    """Private key, PEM text; a `Secret`."""
    port: int | None = None
    """MQTT port."""
    thing: str | None = None
    """Name of the AWS IoT thing."""
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.define(kw_only=True)
class UpdateOffer(Record):
    """The answer to an update check; without ``url`` there is nothing to install."""

    checksum: str | None = None
    """SHA-256 of the image, 64 lower-case hex digits."""
    version: str | None = None
    """Version of the image."""
    message: str | None = None
    """Why there is nothing to do."""
    url: str | None = attrs.field(default=None, repr=False, converter=optional_secret)
    """Where the image is; a `Secret`, as whoever has the URL can download it."""
    update: str | None = None
    """Key of the update, for the report."""
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)
