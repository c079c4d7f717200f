"""HTTP by hand over asyncio's transports, with no client round it: what a client in Python cannot be faster than."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

__all__ = ["Exchange", "bare", "post"]

Exchange = Callable[[bytes], Awaitable[tuple[int, bytes]]]
"""Posts a body; the result is the status and the body of the reply."""


def post(path: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request up to the length of its body, which is still missing."""
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join((*lines, "Content-Length: ")).encode()


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._data = b""
        self._reply: asyncio.Future[tuple[int, bytes]] | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # which that of uvloop is not said to be

    def send(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send *request*; its reply comes as the result."""
        self._reply = self._loop.create_future()
        self.transport.write(request)
        return self._reply

    def data_received(self, data: bytes) -> None:
        if self._data:
            data = self._data + data
        head = data.find(b"\r\n\r\n")
        if head >= 0:
            # The responder writes it so.
            at = data.index(b"\r\nContent-Length: ", 0, head) + 18
            body = head + 4
            if len(data) >= body + int(data[at : data.index(b"\r\n", at)]):
                self._data = b""
                reply, self._reply = self._reply, None
                assert reply is not None
                reply.set_result((int(data[9:12]), data[body:]))
                return
        self._data = data

    def connection_lost(self, error: Exception | None) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error or ConnectionResetError("the server closed the connection"))


@asynccontextmanager
async def bare(url: str, headers: Mapping[str, str], context: ssl.SSLContext | None) -> AsyncIterator[Exchange]:
    """Exchange bodies with *url*, over as many connections as are needed at once."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    loop = asyncio.get_running_loop()
    head = post(parts.path, {"Host": parts.netloc, **headers})
    idle: list[_Connection] = []
    all_: list[_Connection] = []

    async def exchange(body: bytes) -> tuple[int, bytes]:
        if idle:
            connection = idle.pop()
        else:
            _, connection = await loop.create_connection(_Connection, host, port, ssl=context)
            all_.append(connection)
        reply = await connection.send(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        idle.append(connection)
        return reply

    try:
        yield exchange
    finally:
        for connection in all_:
            connection.transport.close()
