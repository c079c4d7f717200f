"""What the cloud tells a device, as typed events; and the buffer that they wait in.

Source: reference, section 10.
"""

import asyncio
import copy
import logging
from collections import deque
from datetime import datetime
from typing import Any, Final, Literal, Self, TypeAlias, TypeVar, cast

import attrs
import orjson

from ..codec.records import Mismatch, converter
from ..errors import CallError, ClientStateError

__all__ = [
    "Contested",
    "EventBuffer",
    "EventsLost",
    "ItemSynced",
    "LinkEvent",
    "RawMessage",
    "Release",
    "SyncAcknowledged",
    "SyncDown",
    "Throttle",
    "parse_event",
]

logger = logging.getLogger("ioto_async")

T = TypeVar("T")

_RELEASE_AGE: Final = 10.0
"""Seconds after which a release is stale."""
_THROTTLE_AGE: Final = 30.0
"""Seconds after which a throttle is stale."""

SyncCommand = Literal["INSERT", "MODIFY", "UPSERT", "REMOVE"]
"""What became of an item of the device database."""


@attrs.frozen(kw_only=True)
class Release:
    """The device was released from its account: its certificate is about to end, and it may be claimed anew."""

    timestamp: datetime
    """When."""


@attrs.frozen(kw_only=True)
class Throttle:
    """The device sends more than its plan allows. The link has already slowed down, see `DeviceLink`."""

    timestamp: datetime
    """When the cloud said so."""
    close: bool
    """Whether the device is to stay away; the link has closed the connection and opens it again after an hour."""


@attrs.frozen(kw_only=True)
class SyncAcknowledged:
    """SYNC: the cloud has stored changes that `DeviceLink.sync_up` sent."""

    seq: int
    """The number that `DeviceLink.sync_up` returned."""
    keys: list[str]
    """Sort keys of the items that were stored."""
    updated: datetime | None
    """When they were."""


@attrs.frozen(kw_only=True)
class SyncDown:
    """SYNCDOWN: all items that `DeviceLink.sync_down` asked for have been sent."""

    updated: datetime | None
    """The time to ask from the next time."""


@attrs.frozen(kw_only=True)
class ItemSynced:
    """INSERT, MODIFY, UPSERT or REMOVE: an item of the device database changed in the cloud."""

    command: SyncCommand
    key: str | None
    """Its sort key, the member ``sk``."""
    updated: datetime | None
    """When it changed."""
    item: dict[str, Any] = attrs.field(repr=False)
    """All members of the item as they came, ``sk`` and ``updated`` among them."""


@attrs.frozen(kw_only=True)
class RawMessage:
    """A message that is none of the documented ones, or whose content is not what they have."""

    topic: str
    payload: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class EventsLost:
    """Nobody read the events in time: so many that came before the next one were thrown away."""

    count: int


@attrs.frozen(kw_only=True)
class Contested:
    """Several connections in a row have ended soon after the broker had accepted them.

    Most likely another client connects with the same client id and certificate: a broker ends the older connection, and
    both come back for ever. The link goes on trying, with waits that grow until a connection lasts.
    """

    connections: int
    """How many."""
    reason: str
    """Why the last one has ended."""


LinkEvent: TypeAlias = (
    Contested | Release | Throttle | SyncAcknowledged | SyncDown | ItemSynced | RawMessage | EventsLost
)
"""What `DeviceLink.events` gives."""


def parse_event(topic: str, payload: bytes, now: datetime) -> LinkEvent | None:
    """The event that a message is; None for one that is too old to act on.

    Args:
        topic: all of it, ``ioto/device/<id>/…`` or ``ioto/account/<id>/…``.
        payload: its content.
        now: the present, to tell how old the message is.
    """
    try:
        return _parsed(topic.split("/", 3)[3], payload, now)
    except (IndexError, Mismatch, orjson.JSONDecodeError):
        return RawMessage(topic=topic, payload=payload)


def _parsed(tail: str, payload: bytes, now: datetime) -> LinkEvent | None:
    service, _, name = tail.partition("/")
    if tail == "provision/release":
        timestamp = _structured(orjson.loads(payload), datetime)
        return None if (now - timestamp).total_seconds() > _RELEASE_AGE else Release(timestamp=timestamp)
    if tail == "mqtt/throttle":
        members = _members(payload)
        timestamp = _structured(members.get("timestamp"), datetime)
        stale = (now - timestamp).total_seconds() > _THROTTLE_AGE
        return None if stale else Throttle(timestamp=timestamp, close=members.get("close") is True)
    if service == "sync":
        return _synced(name, _members(payload))
    raise Mismatch("a topic that is documented", tail)


def _synced(command: str, members: dict[str, Any]) -> LinkEvent:
    updated = _structured(members.get("updated"), datetime | None)
    if command == "SYNC":
        keys = _structured(members.get("keys", []), list[str])
        return SyncAcknowledged(seq=_structured(members.get("seq"), int), keys=keys, updated=updated)
    if command == "SYNCDOWN":
        return SyncDown(updated=updated)
    if command not in ("INSERT", "MODIFY", "UPSERT", "REMOVE"):
        raise Mismatch("a command of sync", command)
    key = _structured(members.get("sk"), str | None)
    return ItemSynced(command=cast("SyncCommand", command), key=key, updated=updated, item=members)


def _structured(value: object, cls: type[T] | Any) -> Any:
    return converter.get_structure_hook(cls)(value, cls)


def _members(payload: bytes) -> dict[str, Any]:
    members: dict[str, Any] = _structured(orjson.loads(payload), dict[str, Any])
    return members


class EventBuffer:
    """Keeps the newest *limit* events until they are read: an async iterator, each event goes to one reader.

    Attributes:
        loop: where they come from, and are waited for; None before.
    """

    def __init__(self, limit: int) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._limit = limit
        self._events: deque[LinkEvent] = deque()
        self._lost = 0
        self._ended = False
        self._error: CallError | None = None
        self._changed = asyncio.Event()

    def put(self, event: LinkEvent) -> None:
        """Add one; where there is no room, the oldest goes, and the reader is told by an `EventsLost`."""
        if len(self._events) >= self._limit:
            self._events.popleft()
            if not self._lost:
                logger.warning("nobody reads the events of a device link: the oldest of more than %d go", self._limit)
            self._lost += 1
        self._events.append(event)
        self._changed.set()

    def end(self, error: CallError | None = None) -> None:
        """Let readers end, with copies of *error* if there is one, once they have read what is left."""
        if not self._ended:
            self._ended, self._error = True, copy.copy(error)
            self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LinkEvent:
        while not self._events:
            if self._error is not None:
                raise copy.copy(self._error)  # readings must not share a traceback
            if self._ended:
                raise StopAsyncIteration
            if self.loop not in (None, asyncio.get_running_loop()):
                raise ClientStateError("the link belongs to another event loop")
            self._changed.clear()
            await self._changed.wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            return EventsLost(count=lost)
        return self._events.popleft()
