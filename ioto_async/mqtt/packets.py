"""The packets of MQTT 3.1.1 that a device sends and is sent, as bytes and as values; no input or output.

Sections are those of the OASIS standard. A link sends with QoS 1 and asks for no more than that.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "DISCONNECT",
    "LAST_NUMBER",
    "PINGREQ",
    "Connack",
    "Malformed",
    "Packet",
    "Pingresp",
    "Puback",
    "Publish",
    "Reader",
    "Suback",
    "connect",
    "puback",
    "publish",
    "subscribe",
]

LAST_NUMBER: Final = 0xFFFF
"""Packet identifiers go from 1 to this."""
PINGREQ: Final = b"\xc0\x00"
DISCONNECT: Final = b"\xe0\x00"

_LONGEST_HEAD: Final = 5
"""Bytes of a fixed header (2.2)."""


class Malformed(Exception):
    """What came is no MQTT 3.1.1, or is not for a client: the connection cannot go on."""


class Connack(NamedTuple):
    """CONNACK: the broker's answer to a connection; code 0 accepts it (3.2.2.3)."""

    code: int


class Publish(NamedTuple):
    """PUBLISH: a message; ``number`` is its packet identifier, 0 with QoS 0."""

    topic: str
    payload: bytes
    number: int


class Puback(NamedTuple):
    """PUBACK: the broker has taken the message with that packet identifier."""

    number: int


class Suback(NamedTuple):
    """SUBACK: for each topic filter the granted QoS, or 0x80 for none."""

    number: int
    codes: bytes


class Pingresp(NamedTuple):
    """PINGRESP."""


Packet: TypeAlias = Connack | Publish | Puback | Suback | Pingresp


def connect(client_id: str, keepalive: int) -> bytes:
    """CONNECT with a clean session, and without a user name or a will (3.1).

    Args:
        client_id: who connects.
        keepalive: seconds, up to 65 535.
    """
    return _packet(0x10, b"\x00\x04MQTT\x04\x02" + keepalive.to_bytes(2, "big") + _text(client_id))


def subscribe(number: int, topics: Sequence[str]) -> bytes:
    """SUBSCRIBE to *topics*, with QoS 1 (3.8)."""
    return _packet(0x82, number.to_bytes(2, "big") + b"".join(_text(topic) + b"\x01" for topic in topics))


def publish(topic: str, payload: bytes, number: int) -> bytes:
    """PUBLISH with QoS 1 (3.3)."""
    name = topic.encode()
    size = len(name) + len(payload) + 4
    return b"".join((b"\x32", _length(size), len(name).to_bytes(2, "big"), name, number.to_bytes(2, "big"), payload))


def puback(number: int) -> bytes:
    """PUBACK (3.4)."""
    return b"\x40\x02" + number.to_bytes(2, "big")


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _length(size: int) -> bytes:
    """Seven bits in a byte, the lowest first (2.2.3)."""
    if size < 0x80:
        return bytes((size,))
    if size < 0x4000:
        return bytes((size & 0x7F | 0x80, size >> 7))
    return bytes((size & 0x7F | 0x80,)) + _length(size >> 7)


class Reader:
    """Takes the bytes of one connection, cut anywhere, and gives packets.

    Args:
        limit: bytes that a packet may have behind its fixed header.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        """The beginning of a packet that is not whole, and
        how many bytes make it whole, as far as that is known."""
        self._wanted = 0

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Add *data*, and give the packets that are whole now. To be read to the end, or never again.

        Raises:
            Malformed: after the packets that were good.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data = bytes(self._rest)
            self._rest.clear()
        position, end = 0, len(data)
        while position < end:
            begin, size = self._head(data, position)
            if not begin or begin + size > end:
                self._rest += data[position:]
                self._wanted = begin + size - position if begin else 0
                return
            first, position = data[position], begin + size
            if first == 0x40 and size == 2:  # what nearly all packets are
                yield Puback(data[begin] << 8 | data[begin + 1])
            else:
                yield _decode(first, data[begin:position])

    def _head(self, data: bytes, position: int) -> tuple[int, int]:
        """Where the packet at *position* goes on behind its fixed header, 0 if that is not there yet; and its size."""
        size = shift = 0
        for begin in range(position + 1, min(position + _LONGEST_HEAD, len(data))):
            digit = data[begin]
            size |= (digit & 0x7F) << shift
            if digit < 0x80:
                if size > self._limit:
                    raise Malformed(f"a packet of {size} bytes, of which {self._limit} are allowed")
                return begin + 1, size
            shift += 7
        if len(data) - position >= _LONGEST_HEAD:
            raise Malformed("a length of more than four bytes (2.2.3)")
        return 0, 0


def _decode(first: int, body: bytes) -> Packet:
    if first >> 4 == 3:
        return _publish(first & 0x0F, body)
    if first == 0x20 and len(body) == 2:
        return Connack(body[1])
    if first == 0x90 and len(body) >= 2:
        return Suback(body[0] << 8 | body[1], body[2:])
    if first == 0xD0 and not body:
        return Pingresp()
    raise Malformed(f"a packet that is not for a client: type and flags 0x{first:02x}, {len(body)} bytes")


def _publish(flags: int, body: bytes) -> Publish:
    qos = flags >> 1 & 3
    if qos > 1:
        raise Malformed(f"a message of QoS {qos}, where no more than 1 was asked for (3.8.4)")
    end = 2 + int.from_bytes(body[:2], "big")
    begin = end + 2 * qos
    if len(body) < max(begin, 2):
        raise Malformed("a message that ends in its topic")
    try:
        topic = body[2:end].decode()
    except UnicodeDecodeError:
        raise Malformed("a topic that is no UTF-8 (1.5.3)") from None
    number = int.from_bytes(body[end:begin], "big")
    if not topic or "\0" in topic or (qos and not number):
        raise Malformed("a message without a topic or a packet identifier (2.3.1, 4.7.3)")
    return Publish(topic, body[begin:], number)
