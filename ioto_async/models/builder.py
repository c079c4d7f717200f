"""Records of the Builder (reference, section 12)."""

from typing import Any

import attrs

__all__ = ["Registration"]


@attrs.define(kw_only=True)
class Registration:
    """What ``device/register`` answers; everything but ``registered`` is there once the device is claimed."""

    registered: bool | None = None
    api: str | None = None
    """Base URL of the device's cloud."""
    token: str | None = attrs.field(default=None, repr=False)
    """Device token for that cloud."""
    cloud_type: str | None = None
    """``eval``, ``hosted`` or ``dedicated``."""
    cloud_name: str | None = None
    cloud_region: str | None = None
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)
