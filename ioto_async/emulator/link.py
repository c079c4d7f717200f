"""The way from a cloud to its connected devices. Imports wire."""

import time
from typing import Protocol

from .wire import dumps

__all__ = ["Link", "NoLink", "throttle"]


class Link(Protocol):
    """The way to connected devices; for any thread."""

    def send(self, topic: str, payload: bytes, client_id: str | None = None) -> None:
        """Publish a message to whoever has subscribed, to the device *client_id* alone unless None."""

    def drop(self, client_id: str | None = None) -> None:
        """End the connection and the session of a device, for None of all, after what was sent."""


def throttle(device_id: str, *, close: bool) -> tuple[str, bytes]:
    """Return the topic and the payload that tell a device to slow down, or with *close* to go."""
    # A device drops what is older than 30 s by its own clock, so this is the real time.
    return f"ioto/device/{device_id}/mqtt/throttle", dumps({"timestamp": int(time.time() * 1000), "close": close})


class NoLink:
    """Leads to no device."""

    def send(self, topic: str, payload: bytes, client_id: str | None = None) -> None:
        """Send nothing."""

    def drop(self, client_id: str | None = None) -> None:
        """End nothing."""
