"""The cheapest client there is: ready-made requests over hand-written connections. It shows what a server can do."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["Driver", "driver", "post"]

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def post(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of a request, with the length of *body* among the headers."""
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


class Driver:
    """Sends one request again and again; each connection the next as soon as it has its reply."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._connections: list[_Connection] = []
        self._unsent = self._unanswered = 0
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self, port: int) -> None:
        """Open one more connection."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
        self._connections.append(connection)

    async def __call__(self, calls: int) -> None:
        """Send the request so many times.

        Raises:
            RuntimeError: a reply is no 200.
            ConnectionError: a connection is lost.
        """
        self._unsent = self._unanswered = calls
        self._over = asyncio.get_running_loop().create_future()
        for connection in self._connections:
            self.send(connection.transport)
        await self._over

    def send(self, transport: asyncio.Transport) -> None:
        """Send the next request, if there is one."""
        if self._unsent:
            self._unsent -= 1
            transport.write(self._request)

    def answered(self, reply: bytes) -> None:
        """Count a reply."""
        self._unanswered -= 1
        if not reply.startswith(b"HTTP/1.1 200 "):
            self.fail(RuntimeError(f"expected a 200, got {reply[:200]!r}"))
        elif not self._unanswered and not self._over.done():
            self._over.set_result(None)

    def fail(self, error: Exception) -> None:
        """Raise *error* where the replies are awaited."""
        if not self._over.done():
            self._over.set_exception(error)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            connection.transport.close()


class _Connection(asyncio.Protocol):
    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head = self._data.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._data, 0, head)
        if length is None:
            self._driver.fail(RuntimeError(f"expected a Content-Length, got {self._data[:head]!r}"))
        elif len(self._data) >= head + 4 + int(length[1]):
            reply, self._data = self._data, b""
            self._driver.answered(reply)
            self._driver.send(self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._driver.fail(error or ConnectionResetError("the server closed the connection"))


@asynccontextmanager
async def driver(port: int, request: bytes, connections: int) -> AsyncIterator[Driver]:
    """A driver with so many connections to *port*."""
    made = Driver(request)
    try:
        for _ in range(connections):
            await made.connect(port)
        yield made
    finally:
        made.close()
