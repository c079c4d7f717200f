"""Web backends under load: one client for the process, errors as problems, requests that end with their client."""

import asyncio
from functools import partial
from urllib.parse import urlsplit

import aiohttp
import pytest

from ioto_async import IotoClient, RetryPolicy
from ioto_async.emulator import EmulatorThread, Fault
from tests.rawserver import GUARD, RawServer, client_of, reply, silent
from tests.rows import each_row

from .backends import BACKENDS, Backend

pytest.importorskip("fastapi", reason="FastAPI comes with the extra dev")
pytest.importorskip("uvicorn", reason="uvicorn comes with the extra dev")

DEVICES = [f"DEV{number:07}" for number in range(1, 21)]


async def until(backend: Backend, condition: str) -> None:
    """Wait until the *condition* about what the backend has noticed holds; turns of the loop, no time."""
    async with asyncio.timeout(GUARD):
        while not eval(condition, {}, {"calls": backend.calls}):
            await asyncio.sleep(0.001)


@each_row("name", [*BACKENDS])
async def test_200_requests_at_once_share_one_client(ioto_emulator: EmulatorThread, name: str) -> None:
    ioto_emulator.reset()
    for id in DEVICES:
        ioto_emulator.cloud.register_device(id)
        ioto_emulator.cloud.claim_device(id)
    make_client = partial(IotoClient.from_env, ioto_emulator.env)
    async with BACKENDS[name](make_client) as backend, aiohttp.ClientSession(backend.url) as session:

        async def get(id: str) -> tuple[int, str]:
            async with session.get(f"/devices/{id}") as response:
                return response.status, (await response.json())["id"]

        found = await asyncio.gather(*(get(id) for id in DEVICES * 10))
        assert found == [(200, id) for id in DEVICES * 10]
        assert backend.calls.clients == 1
        if name == "FastAPI":
            await until(backend, "calls.followed_up == 200")


@each_row(
    "name, fault, status, title",
    [
        (name, *row)
        for name in BACKENDS
        for row in (
            (None, 404, "Not Found"),
            (Fault("device/get", status=400, body="id: no"), 400, "Bad Request"),
            (Fault("device/get", status=429, headers={"Retry-After": "7"}), 503, "Service Unavailable"),
            (Fault("device/get", status=500), 502, "Bad Gateway"),
        )
    ],
)
async def test_an_error_is_a_problem(
    ioto_emulator: EmulatorThread, name: str, fault: Fault | None, status: int, title: str
) -> None:
    ioto_emulator.reset()
    if fault is not None:
        ioto_emulator.faults.add(fault)
    make_client = partial(IotoClient.from_env, ioto_emulator.env, retry=RetryPolicy(attempts=1))
    async with (
        BACKENDS[name](make_client) as backend,
        aiohttp.ClientSession(backend.url) as session,
        session.get("/devices/NONE") as response,
    ):
        assert response.status == status
        assert response.content_type == "application/problem+json"
        assert response.headers.get("Retry-After") == ("7" if status == 503 else None)
        problem = await response.json()
        assert (problem["title"], problem["status"]) == (title, status)


async def send(backend: Backend, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(backend.url).port)
    writer.write(text.encode())
    await writer.drain()
    return reader, writer


@each_row("name", [*BACKENDS])
async def test_a_client_that_leaves_cancels_the_call(name: str) -> None:
    async with RawServer.of(silent()) as cloud, BACKENDS[name](lambda: client_of(cloud)) as backend:
        _, writer = await send(backend, "GET /devices/D1 HTTP/1.1\r\nHost: x\r\n\r\n")
        await cloud.received(1)
        writer.transport.abort()
        await until(backend, "calls.cancelled == 1")
        await cloud.until(lambda: cloud.open == 0)  # its connection is not one that is used again


@each_row("name", [*BACKENDS])
async def test_what_is_under_way_is_answered_before_the_backend_ends(name: str) -> None:
    hold = asyncio.Event()
    async with RawServer.of(reply(200, {"id": "D1"}, hold=hold)) as cloud:
        async with BACKENDS[name](lambda: client_of(cloud)) as backend:
            reader, writer = await send(backend, "GET /devices/D1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await cloud.received(1)
            backend.stop()
            hold.set()
            answer = await asyncio.wait_for(reader.read(), GUARD)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b'"D1"' in answer
            writer.close()
            await asyncio.wait_for(backend.stopped(), GUARD)
        assert backend.calls.cancelled == 0


@each_row("name", [*BACKENDS])
async def test_large_bodies_are_read(name: str) -> None:
    async with (
        BACKENDS[name](lambda: client_of("http://127.0.0.1:9", allow_http=True)) as backend,
        aiohttp.ClientSession(backend.url) as session,
        session.post("/echo", data=bytes(1_000_000)) as response,
    ):
        assert await response.json() == 1_000_000
