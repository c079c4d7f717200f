"""Devices over MQTT: what a device sends and hears, as a device. Needs the extra ``mqtt`` (aiomqtt).

aiomqtt is loaded when the first link is made.
"""

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
