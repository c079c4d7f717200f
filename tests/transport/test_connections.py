"""Connections that end while nobody looks, and hosts that move."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from ioto_async import IotoClient
from ioto_async.operations import Kind
from tests.rawserver import GUARD, RawServer, Request, Step, client_of, drop, in_thread, reply, reset, served

DEVICE = {"id": "D1", "accountId": "A1"}

Call = Callable[[IotoClient], Awaitable[Any]]

CALLS: dict[Kind, Call] = {
    Kind.READ: lambda client: client.device.get("D1"),
    Kind.REPLAYABLE: lambda client: client.device.claim("D1"),
    Kind.ONCE: lambda client: client.action.invoke("Automation"),
}


def last(request: Request) -> Step:
    """A reply after which the connection is closed without a word."""
    body = b"{}" if request.path.endswith("invoke") else DEVICE
    return Step(reply(200, body).data, close=True)


# Never delivered is not unknown -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
async def test_a_kept_connection_that_was_closed_unannounced_costs_no_call(kind: Kind) -> None:
    async with served(handler=last, limit=4) as (server, client):
        for _ in range(20):
            await CALLS[kind](client)
        await asyncio.gather(*[CALLS[kind](client) for _ in range(60)])
    assert len(server.requests) == 80, "one was sent twice"


async def test_in_a_bulk_run_no_item_is_unknown_for_connections_that_were_closed() -> None:
    async with served(handler=last) as (server, client):
        run = client.bulk(lambda item: client.action.invoke(item), map(str, range(100)), key=str, concurrency=10)
        assert [outcome.status async for outcome in run] == ["ok"] * 100
    assert len(server.requests) == 100


def test_an_end_that_came_while_the_loop_was_blocked_is_seen_before_anything_is_sent() -> None:
    with in_thread(*[reply(200, b"{}")] * 10) as server:

        async def main() -> None:
            async with client_of(server) as client:
                for _ in range(10):
                    await client.action.invoke("Automation")
                    # Blocks this loop, as code that computes for a long time does.
                    asyncio.run_coroutine_threadsafe(server.close_connections(), server.loop).result(GUARD)

        asyncio.run(main())
    assert len(server.requests) == 10


async def test_an_upload_from_an_iterator_begins_on_a_connection_that_lives() -> None:
    """An iterator can be read but once: it must not be begun for a connection that has ended."""
    begun = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal begun
        begun += 1
        yield b"abc"

    def handler(request: Request) -> Step:
        if request.method == "PUT":
            assert request.body == b"abc"
            return Step(reply(200, b"").data, close=True)
        return Step(reply(200, f'"{server.url}/bucket/f?signature=0123456789"').data, close=True)

    async with RawServer(handler=handler) as server, client_of(server) as client:
        for _ in range(5):
            await client.file.upload("f", chunks(), size=3)
    assert begun == 5
    assert len([request for request in server.requests if request.method == "PUT"]) == 5


async def test_bytes_that_were_handed_to_the_socket_make_doubt() -> None:
    async with served(reply(200, b"{}"), drop(), reply(200, b"{}")) as (server, client):
        await client.action.invoke("Automation")
        run = client.bulk(lambda item: client.action.invoke(item), ["a"], key=str)
        assert [outcome.status async for outcome in run] == ["unknown"]
    assert len(server.requests) == 2


# A host that moves ------------------------------------------------------------------------------------------------


class Names:
    """Name servers that say where a host is now."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.port = 0
        self.asked = 0

        async def getaddrinfo(loop: object, host: str, port: int, **options: Any) -> list[Any]:
            self.asked += 1
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", self.port))]

        patch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


def move(names: Names, server: RawServer) -> None:
    names.port = server.port


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.mark.parametrize("kind", Kind)
async def test_a_host_that_refuses_is_looked_up_again_for_the_next_attempt(names: Names, kind: Kind) -> None:
    async with RawServer(handler=last) as server, RawServer(handler=last) as gone:
        names.port = gone.port
        async with client_of("http://cloud.test", allow_http=True, observer=lambda _: move(names, server)) as client:
            await gone.__aexit__(None, None, None)
            await CALLS[kind](client)
    assert (names.asked, len(server.requests)) == (2, 1)


@pytest.mark.parametrize("broken", [drop(), reset()], ids=["closed", "reset"])
async def test_a_connection_that_breaks_lets_its_host_be_looked_up_again(names: Names, broken: Step) -> None:
    async with RawServer(handler=last) as server, RawServer(handler=lambda _: broken) as gone:
        names.port = gone.port
        async with client_of("http://cloud.test", allow_http=True, observer=lambda _: move(names, server)) as client:
            await client.device.get("D1")
    assert len(server.requests) == 1


async def test_a_time_out_lets_the_host_be_looked_up_again(names: Names) -> None:
    async with RawServer(handler=last) as server, RawServer(handler=lambda _: Step()) as gone:
        names.port = gone.port
        options: Any = {"allow_http": True, "timeout": 0.1, "observer": lambda _: move(names, server)}
        async with client_of("http://cloud.test", **options) as client:
            await client.device.get("D1")
    assert len(server.requests) == 1


async def test_while_all_is_well_a_host_is_not_looked_up_for_each_connection(names: Names) -> None:
    async with RawServer(handler=lambda _: reply(200, DEVICE, close=True)) as server:
        names.port = server.port
        async with client_of("http://cloud.test", allow_http=True) as client:
            for _ in range(5):
                await client.device.get("D1")
    assert (names.asked, server.connections) == (1, 5)
