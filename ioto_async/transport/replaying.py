"""A recorded reply as aiohttp reads it: real requests and real replies, over a connection that leads nowhere."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import attrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.payload import Payload

from .pool import NO_TIMEOUT

__all__ = ["Canned", "play"]

_BODILESS: Final = (204, 304)
_NOT_KEPT: Final = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})
"""Headers that are about how a body came, and not about what it is."""
_REASONS: Final[Mapping[int, str]] = {status.value: status.phrase for status in HTTPStatus}
_NO_HTTP: Final = b"no HTTP\r\n\r\n"


@attrs.frozen
class Canned:
    """What comes of a request.

    Attributes:
        status: of the reply; 0 for none.
        headers: of the reply; those of its length and its form are left out.
        body: its body, not compressed.
        failure: how the connection fails, after all that; one of `FAILURES`, or None.
    """

    status: int = 0
    headers: Iterable[tuple[str, str]] = ()
    body: bytes = attrs.field(default=b"", repr=False)
    failure: str | None = None

    def data(self) -> bytes:
        """The bytes of the reply."""
        if self.failure == "not HTTP":
            return _NO_HTTP
        if not self.status:
            return b""
        reason = _REASONS.get(self.status, "")
        lines = [f"HTTP/1.1 {self.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in self.headers if name.lower() not in _NOT_KEPT]
        if self.status in _BODILESS or self.status < 200:
            return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
        length = len(self.body) + (1 if self.failure else 0)  # of one that broke off, more was announced
        head = "\r\n".join([*lines, f"Content-Length: {length}", "", ""])
        return head.encode("utf-8", "surrogateescape") + self.body


class _Wire(asyncio.Transport):
    """Takes one request, and then calls *answer* with the SHA-256 of its body in hex."""

    def __init__(self, protocol: asyncio.Protocol, length: int, answer: Callable[[str], None]) -> None:
        super().__init__()
        self._protocol = protocol
        self._left = length
        self._answer: Callable[[str], None] | None = answer
        self._head: bytes | None = b""
        self._digest = hashlib.sha256()
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._head is not None:
            head, end, body = (self._head + bytes(data)).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head, data = None, body
        self._digest.update(data)
        self._left -= len(data)
        if self._left <= 0 and self._answer is not None:
            answer, self._answer = self._answer, None
            asyncio.get_running_loop().call_soon(answer, self._digest.hexdigest())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self.lose(None)

    def abort(self) -> None:
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        """End the connection."""
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class _Connector(aiohttp.BaseConnector):
    """Makes one connection, over which one request is answered."""

    def __init__(self, length: int, canned: Callable[[str], Canned]) -> None:
        super().__init__()
        self._length = length
        self._canned = canned
        self.error: Exception | None = None

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  as in the base class
    ) -> Connection:
        loop = asyncio.get_running_loop()
        protocol = ResponseHandler(loop)

        def answer(sha256: str) -> None:
            try:
                canned = self._canned(sha256)
            except Exception as error:  # noqa: BLE001  it is raised where the reply is waited for
                self.error = error
                wire.lose(ConnectionResetError())
                return
            if data := canned.data():
                protocol.data_received(data)
            if canned.failure == "connection lost":
                wire.lose(None)

        wire = _Wire(protocol, self._length, answer)
        protocol.connection_made(wire)
        return Connection(self, req.connection_key, protocol, loop)


async def play(
    request: aiohttp.ClientRequest, data: Payload | None, length: int, canned: Callable[[str], Canned]
) -> aiohttp.ClientResponse:
    """Send a request nowhere, and return the reply to it.

    Args:
        request: what is asked.
        data: its body, which notes that it has been sent; None to send it without one.
        length: bytes of the body.
        canned: gives the reply, for the SHA-256 of the body in hex; what it raises comes out.

    Raises:
        aiohttp.ClientError: the connection fails, as it did when that was recorded.
    """
    headers: Mapping[str, str] = {
        name: value for name, value in request.headers.items() if name.lower() not in ("content-length", "expect")
    }
    connector = _Connector(length if data is not None else 0, canned)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=NO_TIMEOUT, auto_decompress=False
    ) as session:
        try:
            return await session.request(
                request.method, request.url, data=data, headers=headers, allow_redirects=False, raise_for_status=False
            )
        except (aiohttp.ClientError, OSError):
            if connector.error is not None:
                raise connector.error from None
            raise
