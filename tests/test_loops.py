"""Clients in the loops of others: anyio's, one in debug mode, one that runs now and then, one of another thread."""

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ioto_async import ClientStateError, ConnectionFailedError, DeviceLink, IotoClient
from ioto_async.emulator import EmulatorThread
from tests.bulk.calls import no_task_is_left
from tests.rawserver import GUARD

IDS = [f"DEV{number:07}" for number in range(20)]
DEVICE = IDS[0]


@pytest.fixture
def emulator(ioto_emulator: EmulatorThread) -> EmulatorThread:
    for id in IDS:
        ioto_emulator.cloud.register_device(id)
        ioto_emulator.cloud.claim_device(id)
    return ioto_emulator


@pytest.fixture
async def client(emulator: EmulatorThread) -> AsyncIterator[IotoClient]:
    async with IotoClient.from_env(emulator.env) as client:
        yield client
    await no_task_is_left()


async def wait(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send nothing, ever."""
    await asyncio.Event().wait()
    return await handler(request)


# anyio, whose scopes cancel a task again and again until they are left ---------------------------------------------


@pytest.fixture
def anyio() -> Any:
    return pytest.importorskip("anyio", reason="anyio comes with the extra all")


async def test_calls_run_in_a_task_group(client: IotoClient, anyio: Any) -> None:
    found = []

    async def get(id: str) -> None:
        found.append((await client.device.get(id)).id)

    async with anyio.create_task_group() as group:
        for id in IDS:
            group.start_soon(get, id)
    assert sorted(map(str, found)) == IDS


async def test_a_scope_that_is_over_cancels_a_call_and_no_more(client: IotoClient, anyio: Any) -> None:
    waits = client.with_options(middlewares=[wait])
    with anyio.move_on_after(0.01) as scope:
        await waits.device.get(DEVICE)
    assert scope.cancelled_caught
    with anyio.CancelScope() as scope, pytest.raises(ConnectionFailedError, match="timed out"):
        await waits.device.get(DEVICE, timeout=0.01, retries=0)
    assert not scope.cancelled_caught
    assert (await client.device.get(DEVICE)).id == DEVICE


async def test_a_scope_ends_what_runs_in_it(client: IotoClient, emulator: EmulatorThread, anyio: Any) -> None:
    async def walk() -> None:
        async for _ in client.device.find(limit=1):
            scope.cancel()

    async def run() -> None:
        # Without an end, as a few may all be done before the scope has its turn.
        async with client.bulk(client.device.get, itertools.cycle(IDS), concurrency=2) as run:
            async for _ in run:
                scope.cancel()

    async def write() -> None:
        async with client.metric.writer(via="automation", name="MetricSample") as writer:
            while True:
                await writer.write("temp", 1, dimensions={"Device": DEVICE})
                scope.cancel()

    async def link() -> None:
        certificates = await client.device.provision(DEVICE)
        async with DeviceLink(certificates, ca=emulator.ca) as link:
            scope.cancel()
            await anext(link.events())

    async def upload() -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"hello"
            scope.cancel()
            await anyio.sleep_forever()

        await client.file.upload("hello.txt", chunks(), size=10)

    for use in (walk, run, write, link, upload):
        with anyio.CancelScope() as scope:
            await use()
        assert scope.cancelled_caught, use
        await no_task_is_left()


def test_a_client_is_closed_in_a_scope_that_is_over(emulator: EmulatorThread, anyio: Any) -> None:
    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with IotoClient.from_env(emulator.env) as client:
                await client.device.get(DEVICE)
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        await no_task_is_left()

    anyio.run(main, backend="asyncio", backend_options={"debug": True})


# asyncio ----------------------------------------------------------------------------------------------------------


async def test_a_deadline_of_the_caller_and_one_of_the_call_are_told_apart(client: IotoClient) -> None:
    waits = client.with_options(middlewares=[wait])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await waits.device.get(DEVICE)
    async with asyncio.timeout(GUARD) as limit:
        with pytest.raises(ConnectionFailedError, match="timed out"):
            await waits.device.get(DEVICE, timeout=0.01, retries=0)
    assert not limit.expired()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


def test_a_client_works_in_debug_mode(emulator: EmulatorThread, tmp_path: Path) -> None:
    async def main() -> None:
        async with IotoClient.from_env(emulator.env) as client:
            await asyncio.gather(*map(client.device.get, IDS))
            assert {o.status async for o in client.bulk(client.device.get, IDS, journal=tmp_path / "journal")} == {"ok"}
            assert [device.id async for device in client.device.find(limit=3)] == IDS
            async with DeviceLink(await client.device.provision(DEVICE), ca=emulator.ca) as link:
                await link.ping()
            async with client.metric.writer(via="automation", name="MetricSample") as writer:
                await writer.write("temp", 1, dimensions={"Device": DEVICE})
            await client.file.upload("hello.txt", b"hello")
            await client.file.download("hello.txt", tmp_path / "hello.txt")
        await no_task_is_left()

    with asyncio.Runner(debug=True) as runner:
        runner.run(main())


def test_a_loop_that_runs_now_and_then_keeps_its_client(emulator: EmulatorThread) -> None:
    """As in a notebook, where each cell is a run."""
    client = IotoClient.from_env(emulator.env)

    async def cell() -> str:
        async for outcome in client.bulk(client.device.get, IDS, concurrency=2):  # left half way
            return outcome.status
        raise AssertionError

    async def last() -> None:
        gc.collect()
        await no_task_is_left()
        await client.aclose()

    with asyncio.Runner() as runner:
        assert [runner.run(cell()) for _ in range(3)] == ["ok"] * 3
        runner.run(last())


async def test_other_threads_call_through_the_loop(client: IotoClient) -> None:
    loop = asyncio.get_running_loop()

    def get(id: str) -> str | None:
        return asyncio.run_coroutine_threadsafe(client.device.get(id), loop).result().id

    assert await asyncio.gather(*(asyncio.to_thread(get, id) for id in IDS)) == IDS


async def test_a_client_is_not_closed_under_a_loop_of_another_thread(client: IotoClient) -> None:
    await client.device.get(DEVICE)
    with pytest.raises(ClientStateError, match="another event loop that is not closed: close it there"):
        await asyncio.to_thread(asyncio.run, client.aclose())
    assert (await client.device.get(DEVICE)).id == DEVICE, "it goes on where it belongs"


def test_a_client_is_not_closed_in_another_loop_while_its_own_is_not_closed(emulator: EmulatorThread) -> None:
    client = IotoClient.from_env(emulator.env)
    with asyncio.Runner() as runner:
        runner.run(client.device.get(DEVICE))
        with pytest.raises(ClientStateError, match="close it there"):
            asyncio.run(client.aclose())
        assert runner.run(client.device.get(DEVICE)).id == DEVICE
        runner.run(client.aclose())
