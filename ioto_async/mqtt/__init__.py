"""Devices over MQTT: what a device sends and hears, as a device."""

from .events import (
    Contested,
    EventsLost,
    ItemSynced,
    LinkEvent,
    RawMessage,
    Release,
    SyncAcknowledged,
    SyncDown,
    Throttle,
)
from .link import DeviceLink
from .options import LinkOptions

__all__ = [
    "Contested",
    "DeviceLink",
    "EventsLost",
    "ItemSynced",
    "LinkEvent",
    "LinkOptions",
    "RawMessage",
    "Release",
    "SyncAcknowledged",
    "SyncDown",
    "Throttle",
]
