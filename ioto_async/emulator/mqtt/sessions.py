"""The session of a client: its subscriptions, and the messages that it has not acknowledged."""

from collections import deque
from itertools import chain
from typing import Final, Self

from ..state.mqtt_sessions import KeptSession, SessionRecord
from .packets import Publish
from .topics import matches

__all__ = ["Session"]

# As at AWS IoT Core.
_MAX_UNACKNOWLEDGED: Final = 100
_MAX_QUEUED_OFFLINE: Final = 1000
_MAX_SUBSCRIPTIONS: Final = 50
# Not of AWS, which says nothing of clients that are connected: more than any device has items to be synchronised.
_MAX_QUEUED_ONLINE: Final = 100_000
# Of topics and payloads, whether the client is connected or not: a message may have 128 KiB.
_MAX_QUEUED_BYTES: Final = 64 * 2**20
_LAST_PACKET_ID: Final = 0xFFFF


class Session:
    """The state of one client ID; it touches no connection, and returns what is to be sent.

    Args:
        clean: whether it ends with the connection.
        record: where it is kept beyond the process, if it is.

    Attributes:
        clean: whether it ends with the connection.
        expires: when it ends, in seconds of the broker's clock; None while the client is connected.
        hears_itself: whether a subscription may match what the client itself publishes.
    """

    def __init__(self, *, clean: bool, record: SessionRecord | None = None) -> None:
        self.clean: Final = clean
        self._record = record
        self.expires: float | None = None
        self.hears_itself = False
        self._filters: dict[str, int] = {}
        # Numbers in the record, and what is to be sent, still without packet identifiers.
        self._queue: deque[tuple[int, Publish]] = deque()
        self._queued_bytes = 0
        self._unacknowledged: dict[int, Publish] = {}
        self._packet_id = 0

    @classmethod
    def kept(cls, kept: KeptSession, record: SessionRecord) -> Self:
        """Return a session as it was when another process kept it."""
        session = cls(clean=False, record=record)
        session._filters = kept.filters
        for number, topic, payload, packet_id, retain in kept.messages:
            packet = Publish(topic, payload, 1, packet_id, bool(retain))
            if packet_id:
                session._unacknowledged[packet_id] = packet
                session._packet_id = packet_id
            else:
                session._queue.append((number, packet))
                session._queued_bytes += len(topic) + len(payload)
        return session

    def subscribe(self, filter: str, qos: int) -> bool:
        """Add a subscription, or change its QoS; return False if there are too many."""
        if filter not in self._filters and len(self._filters) >= _MAX_SUBSCRIPTIONS:
            return False
        self._filters[filter] = qos
        if self._record is not None:
            self._record.subscribed(self._filters)
        return True

    def unsubscribe(self, filter: str) -> None:
        """Remove a subscription, if there is such."""
        self._filters.pop(filter, None)
        if self._record is not None:
            self._record.subscribed(self._filters)

    def has_filter_below(self, beginnings: tuple[str, ...]) -> bool:
        """Say whether a subscription begins with one of *beginnings*."""
        return any(filter.startswith(beginnings) for filter in self._filters)

    def wants(self, topic: str) -> bool:
        """Say whether a subscription matches."""
        return any(matches(filter, topic) for filter in self._filters)

    def enqueue(self, topic: str, payload: bytes, published_qos: int = 1) -> tuple[list[Publish], bool]:
        """Queue a message that a subscription matches; return what is to be sent now, and False if it was dropped."""
        qos = max((qos for filter, qos in self._filters.items() if matches(filter, topic)), default=None)
        if qos is None:
            return [], True
        return self._enqueue(Publish(topic, payload, min(qos, published_qos)))

    def enqueue_retained(self, topic: str, payload: bytes, qos: int) -> list[Publish]:
        """Queue a message that was retained, for a new subscription to *topic*; return what is to be sent now."""
        return self._enqueue(Publish(topic, payload, qos, retain=True))[0]

    def _enqueue(self, packet: Publish) -> tuple[list[Publish], bool]:
        topic, payload = packet.topic, packet.payload
        if packet.qos == 0:
            # Nothing of QoS 0 is kept for a client that is away.
            return ([packet] if self.expires is None else []), True
        size = len(topic) + len(payload)
        limit = _MAX_QUEUED_ONLINE if self.expires is None else _MAX_QUEUED_OFFLINE
        if len(self._queue) >= limit or self._queued_bytes + size > _MAX_QUEUED_BYTES:
            return [], False
        number = 0 if self._record is None else self._record.queued(topic, payload, packet.retain)
        self._queue.append((number, packet))
        self._queued_bytes += size
        return self._sendable(), True

    def acknowledge(self, packet_id: int) -> list[Publish]:
        """Note that the client has a message, and return those that may follow."""
        if self._unacknowledged.pop(packet_id, None) is not None and self._record is not None:
            self._record.acknowledged(packet_id)
        return self._sendable()

    def resume(self) -> list[Publish]:
        """Note that the client is connected, and return what is queued or not acknowledged."""
        self.expires = None
        again = [packet._replace(dup=True) for packet in self._unacknowledged.values()]
        return list(chain(again, self._sendable()))

    def _sendable(self) -> list[Publish]:
        due: list[Publish] = []
        if self.expires is not None:
            return due
        while self._queue and len(self._unacknowledged) < _MAX_UNACKNOWLEDGED:
            number, packet = self._queue.popleft()
            self._queued_bytes -= len(packet.topic) + len(packet.payload)
            packet = packet._replace(packet_id=self._next_id())
            self._unacknowledged[packet.packet_id] = packet
            if self._record is not None:
                self._record.sent(number, packet.packet_id)
            due.append(packet)
        return due

    def _next_id(self) -> int:
        while True:
            self._packet_id = self._packet_id % _LAST_PACKET_ID + 1
            if self._packet_id not in self._unacknowledged:
                return self._packet_id
