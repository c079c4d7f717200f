"""Plain requests, which are read and answered at once; aiohttp's server gets the connections with any other.

aiohttp spends twice as long on a request as the cloud does on most operations, and nearly every request is plain.
"""

import asyncio
import functools
import re
import socket
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import attrs
from aiohttp.http import SERVER_SOFTWARE

__all__ = ["Front", "Plain", "head", "http_date", "parse"]

_BUFFER: Final = 65_536
"""Bytes that are read at once; a larger request is not plain."""
_MAX_HEAD: Final = 4096
_MAX_HEADERS: Final = 50
_IDLE: Final = 3630
"""Seconds without a request after which a connection is closed, as aiohttp does."""
_QUERY: Final = re.compile(r"[0-9A-Za-z%&+,.:=_~-]*")
_ODD: Final = frozenset(
    {
        # What changes how a request is read, or is answered with headers of its own.
        *("connection", "content-encoding", "expect", "origin", "te", "trailer", "transfer-encoding", "upgrade"),
        # What aiohttp refuses, or whoever calls has more than one way to say.
        *("sec-websocket-key1", "http2-settings", "proxy-connection"),
    }
)


@attrs.frozen
class Plain:
    """A request for an operation of which nothing but this matters: a POST of JSON that came in one piece."""

    path: str
    query: str
    token: str
    """What the header ``Authorization`` says, else ``X-Token``."""
    body: bytes


def parse(data: bytes) -> Plain | None:
    """Return the request that *data* is; None unless it is exactly one, and plain beyond doubt."""
    end = data.find(b"\r\n\r\n")
    if not 0 < end < _MAX_HEAD:
        return None
    read = _parse_head(data[:end])
    body = data[end + 4 :]
    if read is None or read[3] != str(len(body)):
        return None
    return Plain(read[0], read[1], read[2], body)


@functools.lru_cache(maxsize=256)  # the calls of one client to one operation hardly differ
def _parse_head(head: bytes) -> tuple[str, str, str, str] | None:
    """Return the path, the query string, the token and the length of a plain request."""
    try:
        first, *lines = head.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    method, _, target = first.partition(" ")
    target, _, version = target.partition(" ")
    if method != "POST" or version != "HTTP/1.1" or len(lines) > _MAX_HEADERS:
        return None
    path, _, query = target.partition("?")
    if not path.startswith("/") or not path.replace("/", "").isalnum() or not _QUERY.fullmatch(query):
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name in headers or not (name.replace("-", "").isalnum() and value.isprintable()):
            return None
        headers[name] = value.strip(" ")
    if headers.get("connection", "").lower() == "keep-alive":
        del headers["connection"]  # as it is anyway
    if headers.keys() & _ODD or headers.get("content-type") != "application/json" or "host" not in headers:
        return None
    token = headers.get("authorization")
    return path, query, headers.get("x-token", "") if token is None else token, headers.get("content-length", "")


def head(status: int, type: str, length: int, second: int) -> bytes:
    """Return the head of a reply, as aiohttp writes it, dated *second* of the epoch."""
    return b"%sContent-Length: %d\r\n%s" % (_first(status, type), length, _last(second))


@functools.cache
def _first(status: int, type: str) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {type}\r\n".encode()


@functools.lru_cache(maxsize=1)
def http_date(second: int) -> str:
    """Return a second of the epoch as the header ``Date`` has it."""
    return formatdate(second, usegmt=True)


@functools.lru_cache(maxsize=1)
def _last(second: int) -> bytes:
    return f"Date: {http_date(second)}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n".encode()


class Front:
    """Makes the protocol of each connection to a server, and ends those that are still plain.

    Args:
        answer: returns the reply to a request, or None to leave it to aiohttp.
        aiohttp: makes the protocol of aiohttp.
    """

    def __init__(self, answer: Callable[[Plain], bytes | None], aiohttp: Callable[[], asyncio.Protocol]) -> None:
        self.answer = answer
        self.aiohttp = aiohttp
        self.buffer = memoryview(bytearray(_BUFFER))
        """What comes in; it is used up before the next connection is read."""
        self.connections: set[Connection] = set()

    def __call__(self) -> "Connection":
        """Make the protocol of a new connection."""
        return Connection(self)

    def close(self) -> None:
        """End the connections, once what was written has been sent."""
        for connection in [*self.connections]:
            connection.close()


class Connection(asyncio.BufferedProtocol):
    """A connection whose requests are answered here as long as they are plain.

    The first one that is not goes to aiohttp, with the bytes as they came, and so does all that follows.
    """

    _transport: asyncio.Transport

    def __init__(self, front: Front) -> None:
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Expect a request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._front.connections.add(self)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._active = self._loop.time()
        self._timer = self._loop.call_later(_IDLE, self._end_if_idle)

    def _end_if_idle(self) -> None:
        left = self._active + _IDLE - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._end_if_idle)
        else:
            self.close()

    def close(self) -> None:
        """End the connection, once what was written has been sent."""
        self._transport.close()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put what comes in."""
        return self._front.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Answer a request, or let aiohttp do that."""
        data = bytes(self._front.buffer[:nbytes])
        request = None if self._is_paused else parse(data)
        reply = None if request is None else self._front.answer(request)
        if reply is None:
            self._hand_over(data)
        else:
            self._active = self._loop.time()
            self._transport.write(reply)

    def _hand_over(self, data: bytes) -> None:
        self._forget()
        protocol = self._front.aiohttp()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if self._is_paused:
            protocol.pause_writing()
        protocol.data_received(data)

    def pause_writing(self) -> None:
        """Answer nothing before the client has read: aiohttp can wait for that."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Answer again."""
        self._is_paused = False

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._forget()

    def _forget(self) -> None:
        self._timer.cancel()
        self._front.connections.discard(self)
