"""The private names of aiohttp: all in one list, all there, and what happens where one is not."""

import ast
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

import ioto_async
from ioto_async import InvalidArgumentError
from ioto_async.transport import aiohttp_private
from tests.rawserver import RawServer, Request, Step, client_of, reply, served

DEVICE = {"id": "D1"}


def test_the_installed_aiohttp_has_every_name() -> None:
    assert (aiohttp_private._MISSING, aiohttp_private.CAN_SEND_UNASKED) == ((), True)


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated", "ignore:The 'proxy_auth' parameter is deprecated")
async def test_every_name_means_what_it_is_taken_for() -> None:
    async def middleware(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        permissions.append(aiohttp_private.permission_of(request))
        return await handler(request)

    permissions: list[object] = []
    auth = aiohttp.BasicAuth("user", "password")
    async with RawServer.of(reply(200, b""), reply(200, b"")) as server:
        session = aiohttp.ClientSession(middlewares=(middleware,), proxy=server.url, proxy_auth=auth)
        async with session:
            await session.post("http://cloud.example", data=b"x")
            await session.post("http://cloud.example", data=b"x", expect100=True)
            assert aiohttp_private.middlewares_of(session) == (middleware,)
            assert aiohttp_private.proxy_of(session) == (server.url, auth)
            assert aiohttp_private.loop_of(session).is_running()
    assert [permission is None for permission in permissions] == [True, False]


def test_no_other_module_asks_for_a_private_name() -> None:
    found = []
    for path in Path(ioto_async.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]):
                    if name.startswith("_") and not name.startswith("__"):
                        found.append((path.name, name))
    assert found == []


async def test_a_session_that_does_not_show_what_must_be_known_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiohttp_private, "_MISSING", ("_middlewares",))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(InvalidArgumentError, match=r"session: aiohttp .* ClientSession\._middlewares"):
            client_of("https://cloud.example", session=session)


async def test_a_client_with_a_session_of_its_own_needs_no_private_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiohttp_private, "_MISSING", ("_middlewares",))
    for name in ("_LOOP", "_MIDDLEWARES", "_PROXY", "_PROXY_AUTH"):
        monkeypatch.setattr(aiohttp_private, name, "_gone")
    async with served(reply(200, DEVICE)) as (_, client):
        assert (await client.device.get("D1")).id == "D1"


async def test_an_iterator_is_sent_at_once_where_its_host_could_not_be_left_unanswered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"all"

    def handler(request: Request) -> Step:
        return reply(200, f'"{server.url}/a?x=1"' if request.method == "POST" else b"")

    monkeypatch.setattr("ioto_async.transfer.transfer.CAN_SEND_UNASKED", False)
    async with RawServer(handler=handler) as server, client_of(server) as client:
        await client.file.upload("a.bin", source(), size=3)
    assert (server.requests[1].body, server.requests[1].header("Expect")) == (b"all", None)
