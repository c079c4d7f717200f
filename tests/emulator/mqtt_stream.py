"""A device that publishes as fast as it is acknowledged, in bytes made by hand; it shares no code with the broker."""

import asyncio
import ssl
import struct
from collections.abc import Callable, Iterator

__all__ = ["Stream"]


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _packet(first: int, body: bytes) -> bytes:
    low, high = len(body) & 0x7F, len(body) >> 7
    assert high < 128, "a length of two bytes is enough here"
    return bytes((first, low | 0x80, high)) + body


class Stream(asyncio.Protocol):
    """Publishes numbered payloads with QoS 1, some at a time, until all are acknowledged or the connection ends.

    Args:
        client_id: the device.
        numbers: what to send; each is taken when there is room for it.
        message: gives the topic and the payload of a number.
        acknowledged: called with the number of each PUBACK.
        window: how many may be unacknowledged.

    Attributes:
        unacknowledged: the numbers that were sent, as far as they are not acknowledged.
    """

    def __init__(
        self,
        client_id: str,
        numbers: Iterator[int],
        message: Callable[[int], tuple[str, bytes]],
        acknowledged: Callable[[int], None],
        window: int = 50,
    ) -> None:
        self._client_id = client_id
        self._numbers = numbers
        self._message = message
        self._acknowledged = acknowledged
        self._window = window
        self._transport: asyncio.Transport
        self._data = b""
        self._packet_id = 0
        self._sent: dict[int, int] = {}
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def unacknowledged(self) -> list[int]:
        return list(self._sent.values())

    async def run(self, host: str, port: int, context: ssl.SSLContext) -> None:
        """Connect and publish; return when all is acknowledged or the connection has ended."""
        await asyncio.get_running_loop().create_connection(lambda: self, host, port, ssl=context)
        await self._done
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_packet(0x10, _text("MQTT") + b"\4\2\0\x3c" + _text(self._client_id)))

    def data_received(self, data: bytes) -> None:
        self._data += data
        # CONNACK and PUBACK have four bytes each, and nothing else comes.
        while len(self._data) >= 4:
            head, self._data = self._data[:4], self._data[4:]
            if head[0] == 0x40:
                self._acknowledged(self._sent.pop(head[2] << 8 | head[3]))
            else:
                assert head == b"\x20\2\0\0", head
        self._fill()

    def _fill(self) -> None:
        packets = []
        while len(self._sent) < self._window:
            number = next(self._numbers, None)
            if number is None:
                break
            self._packet_id = self._packet_id % 0xFFFF + 1
            self._sent[self._packet_id] = number
            topic, payload = self._message(number)
            packets.append(_packet(0x32, _text(topic) + struct.pack(">H", self._packet_id) + payload))
        if packets:
            self._transport.write(b"".join(packets))
        elif not self._sent and not self._done.done():
            self._done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)
