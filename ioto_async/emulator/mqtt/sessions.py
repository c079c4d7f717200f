"""What the broker remembers of a client: its subscriptions, and what it is still to get."""

from collections import deque
from itertools import chain
from typing import Final

from .packets import Publish
from .topics import matches

__all__ = ["Session"]

# As at AWS IoT Core.
_MOST_UNACKNOWLEDGED: Final = 100
_MOST_WAITING: Final = 1000
_MOST_SUBSCRIPTIONS: Final = 50
# Not of AWS, which says nothing of clients that are connected: more than any device has items to be synchronised.
_MOST_TO_COME: Final = 100_000
# Of topics and payloads, whether the client is connected or not: a message may have 128 KiB.
_MOST_BYTES: Final = 64 * 2**20
_LAST_PACKET_ID: Final = 0xFFFF


class Session:
    """The state of one client ID; it touches no connection, and returns what is to be sent.

    Attributes:
        clean: whether it ends with the connection.
        expires: when it ends, in seconds of the broker's clock; None while the client is connected.
    """

    def __init__(self, *, clean: bool) -> None:
        self.clean: Final = clean
        self.expires: float | None = None
        self._filters: dict[str, int] = {}
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._unacknowledged: dict[int, Publish] = {}
        self._packet_id = 0

    def subscribe(self, filter: str, qos: int) -> bool:
        """Add a subscription, or change its QoS; return False if there are too many."""
        if filter not in self._filters and len(self._filters) >= _MOST_SUBSCRIPTIONS:
            return False
        self._filters[filter] = qos
        return True

    def unsubscribe(self, filter: str) -> None:
        """Remove a subscription, if there is such."""
        self._filters.pop(filter, None)

    def offer(self, topic: str, payload: bytes) -> tuple[list[Publish], bool]:
        """Take a message, if a subscription is for it: what is to be sent now, and False if it had to be dropped."""
        qos = max((qos for filter, qos in self._filters.items() if matches(filter, topic)), default=None)
        if qos is None:
            return [], True
        if qos == 0:
            # Nothing of QoS 0 is kept for a client that is away.
            return ([Publish(topic, payload)] if self.expires is None else []), True
        size = len(topic) + len(payload)
        most = _MOST_TO_COME if self.expires is None else _MOST_WAITING
        if len(self._waiting) >= most or self._waiting_bytes + size > _MOST_BYTES:
            return [], False
        self._waiting.append((topic, payload))
        self._waiting_bytes += size
        return self._due(), True

    def acknowledge(self, packet_id: int) -> list[Publish]:
        """Note that the client has a message, and return those that may follow."""
        self._unacknowledged.pop(packet_id, None)
        return self._due()

    def resume(self) -> list[Publish]:
        """Note that the client is connected, and return what it has missed or not acknowledged."""
        self.expires = None
        again = [packet._replace(dup=True) for packet in self._unacknowledged.values()]
        return list(chain(again, self._due()))

    def _due(self) -> list[Publish]:
        due: list[Publish] = []
        if self.expires is not None:
            return due
        while self._waiting and len(self._unacknowledged) < _MOST_UNACKNOWLEDGED:
            topic, payload = self._waiting.popleft()
            self._waiting_bytes -= len(topic) + len(payload)
            packet = Publish(topic, payload, 1, self._next_id())
            self._unacknowledged[packet.packet_id] = packet
            due.append(packet)
        return due

    def _next_id(self) -> int:
        while True:
            self._packet_id = self._packet_id % _LAST_PACKET_ID + 1
            if self._packet_id not in self._unacknowledged:
                return self._packet_id
