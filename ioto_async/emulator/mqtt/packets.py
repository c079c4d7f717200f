"""The packets of MQTT 3.1.1 as bytes and as values.

Sections in comments and errors are those of the OASIS standard. QoS 2 is not spoken, as AWS IoT Core does not.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "ACCEPTED",
    "IDENTIFIER_REJECTED",
    "NOT_AUTHORIZED",
    "SUBSCRIPTION_REFUSED",
    "BadPacket",
    "BadProtocol",
    "Connack",
    "Connect",
    "Disconnect",
    "Packet",
    "Pingreq",
    "Pingresp",
    "Puback",
    "Publish",
    "Reader",
    "Suback",
    "Subscribe",
    "Unsuback",
    "Unsubscribe",
    "Will",
    "encode",
]

ACCEPTED: Final = 0
IDENTIFIER_REJECTED: Final = 2
NOT_AUTHORIZED: Final = 5
"""Return codes of CONNACK (3.2.2.3)."""

SUBSCRIPTION_REFUSED: Final = 0x80
"""Return code of SUBACK (3.9.3)."""

_NAME: Final = b"MQTT"
_LEVEL: Final = 4
_MQTT_5: Final = 5
_REFUSED: Final = b"\x20\2\0\1"
# CONNACK of MQTT 5: no flags, "Unsupported Protocol Version", no properties.
_MQTT_5_REFUSED: Final = b"\x20\3\0\x84\0"
_MAX_LENGTH_BYTES: Final = 4


class BadPacket(Exception):
    """What came in is not MQTT 3.1.1; the connection is to be closed."""


class BadProtocol(BadPacket):
    """A CONNECT of another version of MQTT.

    Attributes:
        refusal: the packet that says so to a client of that version.
    """

    def __init__(self, *, is_5: bool) -> None:
        super().__init__("another protocol than MQTT 3.1.1")
        self.refusal: Final = _MQTT_5_REFUSED if is_5 else _REFUSED


class Will(NamedTuple):
    """What to publish when a client is lost."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class Connect(NamedTuple):
    """CONNECT: ``keep_alive`` is in seconds, 0 for none. User name and password are read, and not kept."""

    client_id: str
    clean_session: bool = True
    keep_alive: int = 0
    will: Will | None = None


class Connack(NamedTuple):
    """CONNACK."""

    code: int
    session_present: bool = False


class Publish(NamedTuple):
    """PUBLISH; ``packet_id`` is 0 with QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    retain: bool = False
    dup: bool = False


class Puback(NamedTuple):
    """PUBACK."""

    packet_id: int


class Subscribe(NamedTuple):
    """SUBSCRIBE: pairs of topic filter and wanted QoS."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


class Suback(NamedTuple):
    """SUBACK: for each filter the granted QoS or `SUBSCRIPTION_REFUSED`."""

    packet_id: int
    codes: tuple[int, ...]


class Unsubscribe(NamedTuple):
    """UNSUBSCRIBE."""

    packet_id: int
    filters: tuple[str, ...]


class Unsuback(NamedTuple):
    """UNSUBACK."""

    packet_id: int


class Pingreq(NamedTuple):
    """PINGREQ."""


class Pingresp(NamedTuple):
    """PINGRESP."""


class Disconnect(NamedTuple):
    """DISCONNECT."""


Packet: TypeAlias = (
    Connect | Connack | Publish | Puback | Subscribe | Suback | Unsubscribe | Unsuback | Pingreq | Pingresp | Disconnect
)


class Reader:
    """Takes the bytes of one connection, cut anywhere, and gives packets.

    Args:
        limit: the most bytes that a packet may have behind its fixed header.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # The beginning of a packet that is not whole, and how many bytes make it whole, as far as that is known.
        self._data = bytearray()
        self._wanted = 0

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Add *data*, and give the packets that are whole now. To be iterated to its end or never again.

        Raises:
            BadPacket: after the packets that were good; the connection cannot go on.
        """
        if self._data:
            self._data += data
            if len(self._data) < self._wanted:
                return
            data = bytes(self._data)
            self._data.clear()
        position, end = 0, len(data)
        while position < end:
            begin, length = _fixed_header(data, position)
            if begin and length > self._limit:
                raise BadPacket(f"a packet of {length} bytes; {self._limit} are allowed")
            if not begin or begin + length > end:
                self._data += data[position:]
                self._wanted = begin + length - position if begin else 0
                return
            first, position = data[position], begin + length
            yield _decode(first, data[begin:position])


def _fixed_header(data: bytes, position: int) -> tuple[int, int]:
    """Return where the packet at *position* goes on, 0 if that is not known yet, and how long it is from there."""
    length = shift = 0
    for begin in range(position + 1, min(position + 1 + _MAX_LENGTH_BYTES, len(data))):
        digit = data[begin]
        length |= (digit & 0x7F) << shift
        if digit < 0x80:
            return begin + 1, length
        shift += 7
    if len(data) > position + _MAX_LENGTH_BYTES:
        raise BadPacket("a length of more than four bytes (2.2.3)")
    return 0, 0


class _Body:
    """The bytes behind a fixed header, taken one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise BadPacket("a packet ends in the middle of a field")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def number(self) -> int:
        return int.from_bytes(self.take(2))

    def binary(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        return _text(self.binary())

    def packet_id(self) -> int:
        number = self.number()
        if not number:
            raise BadPacket("a packet identifier of 0 (2.3.1)")
        return number

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._position)

    @property
    def more(self) -> bool:
        return self._position < len(self._data)

    def end(self) -> None:
        if self.more:
            raise BadPacket("bytes behind the end of a packet")


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadPacket("a text that is not UTF-8 (1.5.3)") from None
    if "\0" in text:
        raise BadPacket("a text with a null character (1.5.3)")
    return text


def _decode(first: int, data: bytes) -> Packet:
    kind, flags = first >> 4, first & 0x0F
    if kind == _PUBLISH:
        return _publish(flags, data)
    if kind not in _READERS:
        raise BadPacket(f"a packet of the type {kind}, which is reserved or of QoS 2")
    wanted, read = _READERS[kind]
    if flags != wanted:
        raise BadPacket(f"flags {flags} in a packet of the type {kind} (2.2.2)")
    body = _Body(data)
    packet = read(body)
    body.end()
    return packet


def _publish(flags: int, data: bytes) -> Publish:
    qos = flags >> 1 & 3
    if qos > 1:
        raise BadPacket(f"a message of QoS {qos}")
    # By hand, as this is what nearly all packets are.
    end = 2 + int.from_bytes(data[:2])
    begin = end + 2 * qos
    if begin > len(data) or len(data) < 2:
        raise BadPacket("a packet ends in the middle of a field")
    packet_id = int.from_bytes(data[end:begin])
    if qos and not packet_id:
        raise BadPacket("a packet identifier of 0 (2.3.1)")
    if flags & 8 and not qos:
        raise BadPacket("a duplicate of QoS 0 (3.3.1.1)")
    return Publish(_text(data[2:end]), data[begin:], qos, packet_id, bool(flags & 1), bool(flags & 8))


def _connect(body: _Body) -> Connect:
    name, level = body.binary(), body.take(1)[0]
    if name != _NAME or level != _LEVEL:
        raise BadProtocol(is_5=name == _NAME and level == _MQTT_5)
    flags = body.take(1)[0]
    qos = flags >> 3 & 3
    if flags & 1 or qos == 3 or (not flags & 0x04 and flags & 0x38) or (flags & 0x40 and not flags & 0x80):
        raise BadPacket("connect flags that do not fit (3.1.2)")
    keep_alive = body.number()
    client_id = body.text()
    will = Will(body.text(), body.binary(), qos, bool(flags & 0x20)) if flags & 0x04 else None
    if flags & 0x80:
        body.text()
    if flags & 0x40:
        body.binary()
    return Connect(client_id, bool(flags & 2), keep_alive, will)


def _connack(body: _Body) -> Connack:
    present, code = body.take(2)
    if present > 1 or (present and code):
        raise BadPacket("acknowledge flags that do not fit (3.2.2)")
    return Connack(code, bool(present))


def _subscribe(body: _Body) -> Subscribe:
    packet_id = body.packet_id()
    filters = []
    while body.more:
        filter_, qos = body.text(), body.take(1)[0]
        if qos > 2:
            raise BadPacket("a requested QoS that is none (3.8.3)")
        filters.append((filter_, qos))
    if not filters:
        raise BadPacket("a SUBSCRIBE without a filter (3.8.3)")
    return Subscribe(packet_id, tuple(filters))


def _suback(body: _Body) -> Suback:
    packet_id, codes = body.packet_id(), tuple(body.rest())
    if not codes or any(code > 2 and code != SUBSCRIPTION_REFUSED for code in codes):
        raise BadPacket("return codes that are none (3.9.3)")
    return Suback(packet_id, codes)


def _unsubscribe(body: _Body) -> Unsubscribe:
    packet_id = body.packet_id()
    filters = []
    while body.more:
        filters.append(body.text())
    if not filters:
        raise BadPacket("an UNSUBSCRIBE without a filter (3.10.3)")
    return Unsubscribe(packet_id, tuple(filters))


_PUBLISH: Final = 3
# By the type of the packet: the flags that it must have, and how to read what follows.
_READERS: Final[Mapping[int, tuple[int, Callable[["_Body"], Packet]]]] = {
    1: (0, _connect),
    2: (0, _connack),
    4: (0, lambda body: Puback(body.packet_id())),
    8: (2, _subscribe),
    9: (0, _suback),
    10: (2, _unsubscribe),
    11: (0, lambda body: Unsuback(body.packet_id())),
    12: (0, lambda body: Pingreq()),
    13: (0, lambda body: Pingresp()),
    14: (0, lambda body: Disconnect()),
}


def encode(packet: Packet) -> bytes:
    """Return the bytes of *packet*.

    Raises:
        OverflowError: a text, or the whole of it, is longer than MQTT can say, or a number is out of range.
    """
    if isinstance(packet, Puback):  # what nearly all packets of a broker are
        return b"\x40\2" + packet.packet_id.to_bytes(2)
    match packet:
        case Publish(topic, payload, qos, packet_id, retain, dup):
            number = packet_id.to_bytes(2) if qos else b""
            return _packet(0x30 | dup << 3 | qos << 1 | retain, _string(topic) + number + payload)
        case Connect():
            return _packet(0x10, _connect_bytes(packet))
        case Connack(code, present):
            return bytes((0x20, 2, present, code))
        case Subscribe(packet_id, filters):
            return _packet(
                0x82, packet_id.to_bytes(2) + b"".join(_string(name) + bytes((qos,)) for name, qos in filters)
            )
        case Suback(packet_id, codes):
            return _packet(0x90, packet_id.to_bytes(2) + bytes(codes))
        case Unsubscribe(packet_id, names):
            return _packet(0xA2, packet_id.to_bytes(2) + b"".join(map(_string, names)))
        case Unsuback(packet_id):
            return b"\xb0\2" + packet_id.to_bytes(2)
        case Pingreq():
            return b"\xc0\0"
        case Pingresp():
            return b"\xd0\0"
        case Disconnect():
            return b"\xe0\0"


def _connect_bytes(packet: Connect) -> bytes:
    flags, will = packet.clean_session << 1, b""
    if packet.will is not None:
        topic, payload, qos, retain = packet.will
        flags |= 0x04 | qos << 3 | retain << 5
        will = _string(topic) + len(payload).to_bytes(2) + payload
    head = b"\0\4" + _NAME + bytes((_LEVEL, flags)) + packet.keep_alive.to_bytes(2)
    return head + _string(packet.client_id) + will


def _string(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2) + data


def _packet(first: int, body: bytes) -> bytes:
    length, digits = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | 0x80 if length else digit)
        if not length:
            break
    if len(digits) > _MAX_LENGTH_BYTES:
        raise OverflowError(f"{len(body)} bytes are more than a packet can have")
    return bytes((first,)) + digits + body
