"""The same small web backend twice, as its users write it, each served on a port of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Annotated, Any

import attrs
from aiohttp import web

from ioto_async import Device, IotoClient, IotoError

__all__ = ["BACKENDS", "Backend", "Calls"]


@attrs.define
class Calls:
    """What the backend has noticed."""

    clients: int = 0
    cancelled: int = 0
    followed_up: int = 0


@attrs.frozen
class Backend:
    url: str
    calls: Calls
    stop: Callable[[], None]
    """Tells it to end, once what is under way is answered."""
    stopped: Callable[[], Any]
    """Waits until it has."""


# FastAPI --------------------------------------------------------------------------------------------------------------


def fastapi_app(make_client: Callable[[], IotoClient], calls: Calls) -> Any:
    from fastapi import BackgroundTasks, Depends, FastAPI, Request

    from ioto_async.integrations.starlette import CancelOnDisconnect, error_handler

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        calls.clients += 1
        async with make_client() as client:
            yield {"ioto": client}

    def ioto(request: Request) -> IotoClient:
        client: IotoClient = request.state.ioto
        return client

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(CancelOnDisconnect)
    app.add_exception_handler(IotoError, error_handler)

    @app.get("/devices/{id}")
    async def get_device(id: str, client: Annotated[IotoClient, Depends(ioto)], tasks: BackgroundTasks) -> Device:
        async def follow_up() -> None:
            await asyncio.sleep(0)
            calls.followed_up += 1

        tasks.add_task(follow_up)
        try:
            return await client.device.get(id)
        except asyncio.CancelledError:
            calls.cancelled += 1
            raise

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    return app


@asynccontextmanager
async def fastapi_backend(make_client: Callable[[], IotoClient]) -> AsyncIterator[Backend]:
    import uvicorn

    class Server(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            self.is_up = asyncio.Event()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.is_up.set()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # they are those of the tests

    calls = Calls()
    config = uvicorn.Config(fastapi_app(make_client, calls), port=0, log_level="warning", ws="none", loop="asyncio")
    server = Server(config)

    def stop() -> None:
        server.should_exit = True

    serving = asyncio.create_task(server.serve())
    try:
        await server.is_up.wait()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Backend(f"http://127.0.0.1:{port}", calls, stop, lambda: serving)
    finally:
        stop()
        await serving


# aiohttp.web ----------------------------------------------------------------------------------------------------------


def aiohttp_app(make_client: Callable[[], IotoClient], calls: Calls) -> web.Application:
    from ioto_async.integrations.aiohttp_web import error_middleware

    ioto = web.AppKey("ioto", IotoClient)

    async def client(app: web.Application) -> AsyncIterator[None]:
        calls.clients += 1
        async with make_client() as app[ioto]:
            yield

    async def get_device(request: web.Request) -> web.Response:
        try:
            device = await request.app[ioto].device.get(request.match_info["id"])
        except asyncio.CancelledError:
            calls.cancelled += 1
            raise
        return web.Response(text=device.to_json(), content_type="application/json")

    async def echo(request: web.Request) -> web.Response:
        return web.json_response(len(await request.read()))

    app = web.Application(middlewares=[error_middleware])
    app.cleanup_ctx.append(client)
    app.add_routes([web.get("/devices/{id}", get_device), web.post("/echo", echo)])
    return app


@asynccontextmanager
async def aiohttp_backend(make_client: Callable[[], IotoClient]) -> AsyncIterator[Backend]:
    calls = Calls()
    runner = web.AppRunner(aiohttp_app(make_client, calls), handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ending: list[asyncio.Task[None]] = []

    def stop() -> None:
        if not ending:
            ending.append(asyncio.create_task(runner.cleanup()))

    try:
        yield Backend(f"http://127.0.0.1:{runner.addresses[0][1]}", calls, stop, lambda: ending[0])
    finally:
        stop()
        await ending[0]


BACKENDS: dict[str, Callable[[Callable[[], IotoClient]], AbstractAsyncContextManager[Backend]]] = {
    "FastAPI": fastapi_backend,
    "aiohttp.web": aiohttp_backend,
}
