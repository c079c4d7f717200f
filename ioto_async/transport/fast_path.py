"""Plain exchanges at a fraction of what a request of aiohttp costs, over the connections of aiohttp's own pool.

aiohttp opens, keeps and closes the connections. The bytes of a request are made here, with the headers that one of
aiohttp's would have. A plain reply is read by the `FastProtocol`, and any other one by aiohttp.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Final, cast

import aiohttp
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from .aiohttp_private import is_patched
from .attempt import RequestBody
from .auth import Auth, renewed
from .credentials import Decision, Pinned
from .fast_protocol import FastProtocol
from .pool import NO_TIMEOUT, Pool

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage

__all__ = ["FastPath"]

_LARGEST: Final = 1 << 20
"""Bytes of a reply that are kept in memory at once; aiohttp reads longer ones, and lets the peer wait meanwhile."""


class Reply:
    """A reply that is not plain, as aiohttp's parser has it; see `Response`.

    The connection goes back to the pool when the body has been read.
    """

    __slots__ = ("_connection", "content", "headers", "reason", "status")

    def __init__(self, message: "RawResponseMessage", content: aiohttp.StreamReader, connection: "Connection") -> None:
        self.status = message.code
        self.reason = message.reason
        self.headers = message.headers
        self.content = content
        self._connection = connection
        content.on_eof(self._release)

    def _release(self) -> None:
        protocol = self._connection.protocol
        if protocol is not None and not protocol.upgraded:
            self._connection.release()

    @property
    def content_length(self) -> int | None:
        """What the header says."""
        length = self.headers.get("Content-Length")
        return None if length is None else int(length)

    async def read(self) -> bytes:
        """The whole body."""
        try:
            return await self.content.read()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, as the body is not wanted."""
        self._connection.close()


class _Template:
    """A request, as aiohttp's connector looks at it, which finds out only once which connections are fit for it."""

    def __init__(self, request: aiohttp.ClientRequest) -> None:
        self._request = request
        self.connection_key = request.connection_key
        self.proxy = request.proxy

    def __getattr__(self, name: str) -> object:
        return getattr(self._request, name)


class FastPath:
    """Exchanges with one origin that cost a fraction of what aiohttp's requests do.

    Args:
        pool: whose connections are used.
        auth: the credentials.
        base: a URL of the origin.
        headers: those of every request, beside the credentials and what aiohttp adds.
        max_reply: how many bytes a reply may have.
    """

    __slots__ = (
        "_auth",
        "_base",
        "_carried",
        "_connector",
        "_head",
        "_headers",
        "_largest",
        "_pinned",
        "_pool",
        "_request",
        "_session",
        "_template",
    )

    def __init__(self, pool: Pool, auth: Auth, base: URL, headers: Mapping[str, str], max_reply: int) -> None:
        self._base = base
        self._headers = headers
        self._largest = min(max_reply, _LARGEST)
        self._pool = pool
        self._auth = auth
        self._pinned = Pinned(auth.credentials, base)
        self._session: aiohttp.ClientSession | None = None

    def is_open(self) -> bool:
        """Whether a request can go this way: not where nobody knows how, or somebody wants to see what aiohttp does."""
        session = self._pool.session
        return (self._session is session or self._prepare(session)) and not is_patched()

    def _prepare(self, session: aiohttp.ClientSession) -> bool:
        connector = self._pool.connector
        if connector is None or session.trace_configs:
            return False
        self._session, self._connector = session, connector
        loop = asyncio.get_running_loop()
        self._request = aiohttp.ClientRequest("POST", self._base, headers=self._headers, data=b"{}", loop=loop)
        self._template = cast("aiohttp.ClientRequest", _Template(self._request))
        self._carried: Mapping[str, str] | None = None
        return True

    def post(self, url: URL, body: RequestBody) -> Awaitable[bytes | Reply]:
        """Send *body*, as the `Middleware` and what is behind it would.

        Returns:
            The body of a plain reply, whose status is 200; any other reply unread.

        Raises:
            aiohttp.ClientError: as a request of aiohttp does.
            OSError: so, too.
        """
        credentials = self._pinned.credentials  # which go to their origin: no connection is to any other one
        return self._renewing(url, body) if credentials.renewable else self._post(url, body, credentials.headers)

    async def _renewing(self, url: URL, body: RequestBody) -> bytes | Reply:
        is_plain = (decision := self._pinned.before(url)) is Decision.SEND
        headers = self._pinned.credentials.headers if is_plain else await self._auth.headers(decision)
        reply = await self._post(url, body, headers)
        if isinstance(reply, bytes):
            return reply
        others = await renewed(self._auth, self._pinned, headers, reply, body)
        return reply if others is None else await self._post(url, body, others)

    async def _post(self, url: URL, body: RequestBody, carried: Mapping[str, str]) -> bytes | Reply:
        if carried is not self._carried:
            self._head, self._carried = self._fields(carried), carried
        data = body.data
        request = b"POST %b HTTP/1.1\r\n%b%d\r\n\r\n%b" % (url.raw_path_qs.encode(), self._head, len(data), data)
        try:
            connection = await self._connector.connect(self._template, [], NO_TIMEOUT)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {url}") from error
        try:
            protocol = connection.protocol
            assert isinstance(protocol, FastProtocol)
            if body.is_careful:
                await body.go_out()
            protocol.check_open()
            body.sent = body.in_doubt = True
            reply = await protocol.exchange(request, largest=self._largest)
            if reply is None:
                return await self._read(protocol, connection)
        except BaseException:
            connection.close()
            raise
        connection.release()
        return reply

    async def _read(self, protocol: FastProtocol, connection: "Connection") -> Reply:
        """The reply that aiohttp reads."""
        while True:
            try:
                message, content = await protocol.read()
            except HttpProcessingError as error:
                raise aiohttp.ClientResponseError(
                    self._request.request_info, (), status=error.code, message=error.message, headers=error.headers
                ) from error
            if not 100 <= message.code < 200 or message.code == 101:
                return Reply(message, content, connection)

    def _fields(self, carried: Mapping[str, str]) -> bytes:
        """The lines after the first one, without the value of the last, which is the length of the body."""
        headers = CIMultiDict(self._request.headers)
        headers.update(carried)
        headers.popall("Content-Length", None)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        if any(character in line for line in lines for character in "\r\n\0"):
            raise ValueError("a header holds a control character")  # nothing gets here that was not checked
        return "\r\n".join([*lines, "Content-Length: "]).encode()
