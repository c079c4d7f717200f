"""Messages from the cloud to connected devices."""

import time
from collections.abc import Collection
from typing import Protocol

from ..wire import dumps

__all__ = ["NullPublisher", "Publisher", "throttle"]


class Publisher(Protocol):
    """Publishes to connected devices over MQTT; may be used from any thread."""

    def send(self, topic: str, payload: bytes, client_id: str | None = None) -> None:
        """Publish a message to all subscribers, or to the device *client_id* alone."""

    def drop(self, client_id: str | None = None) -> None:
        """End the connection and the session of a device, of all devices for None, after what was sent."""

    def connected(self) -> Collection[str]:
        """Return the IDs of the devices that are connected."""


class NullPublisher:
    """A `Publisher` without devices, for a cloud that serves no MQTT."""

    def send(self, topic: str, payload: bytes, client_id: str | None = None) -> None:
        """Send nothing."""

    def drop(self, client_id: str | None = None) -> None:
        """End nothing."""

    def connected(self) -> Collection[str]:
        """Return none."""
        return ()


def throttle(device_id: str, *, close: bool) -> tuple[str, bytes]:
    """Return the topic and the payload that tell a device to slow down, or with *close* to disconnect."""
    # A device drops what is older than 30 s by its own clock, so this is the real time.
    return f"ioto/device/{device_id}/mqtt/throttle", dumps({"timestamp": int(time.time() * 1000), "close": close})
