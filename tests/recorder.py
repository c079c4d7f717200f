"""A proxy in front of a server that keeps the requests and the replies that pass through it."""

import json
from types import TracebackType
from typing import Any, Self

import aiohttp
import attrs
from aiohttp import web
from yarl import URL

__all__ = ["Exchange", "Recorder"]

_KEPT = ("Authorization", "Content-Type", "Origin", "X-Token")


@attrs.frozen
class Exchange:
    """One request and its reply."""

    path: str
    """Behind the base URL."""
    headers: dict[str, str] = attrs.field(repr=False)
    sent: bytes
    status: int
    received: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The members of the request."""
        members: dict[str, Any] = json.loads(self.sent) if self.sent else {}
        return members

    @property
    def reply(self) -> Any:
        """The JSON value of the reply; its text if it is none."""
        try:
            return json.loads(self.received)
        except json.JSONDecodeError:
            return self.received.decode()


class Recorder:
    """``async with Recorder(base) as recorder``: what is sent to ``recorder.url`` goes to *base* and is kept."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.url = ""
        self.exchanges: list[Exchange] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def _forward(self, request: web.Request) -> web.Response:
        headers = {name: request.headers[name] for name in _KEPT if name in request.headers}
        body = await request.read()
        url = URL(self.base + request.raw_path, encoded=True)
        async with self._session.request(request.method, url, data=body, headers=headers) as reply:
            data = await reply.read()
            self.exchanges.append(Exchange(request.path, headers, body, reply.status, data))
            type = {"Content-Type": reply.headers.get("Content-Type", "")}
            return web.Response(status=reply.status, body=data, headers=type)

    async def send(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, str]:
        """Send a request of one's own to the server, unrecorded, and return the status and the text."""
        async with self._session.post(self.base + path, data=json.dumps(body).encode(), headers=headers) as reply:
            return reply.status, await reply.text()
