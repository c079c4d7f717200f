"""Under `asyncio.eager_task_factory` a task runs before whoever makes it has it; all that makes tasks is tried here.

``pytest --eager`` runs all other tests so as well.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

import tests.distributed.calls as calls
from ioto_async import AccessToken, DeviceLink, IotoClient, Limits
from ioto_async.bulk import Bulk
from ioto_async.distributed import bulk
from ioto_async.emulator import Emulator, EmulatorThread, Fault
from tests.bulk.calls import no_task_is_left, outcomes, statuses
from tests.rawserver import GUARD, Request, Step, reply, served

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")

IDS = [f"DEV{number:07}" for number in range(50)]
DEVICE = IDS[0]


@pytest.fixture(autouse=True)
async def eager() -> AsyncIterator[None]:
    """Have the tasks of the test begin at once, and leave none."""
    if sys.version_info >= (3, 12):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    async with asyncio.timeout(GUARD):
        yield
        await no_task_is_left()


@pytest.fixture
def emulator(ioto_emulator: EmulatorThread) -> EmulatorThread:
    for id in IDS:
        ioto_emulator.cloud.register_device(id)
    return ioto_emulator


# Clients ----------------------------------------------------------------------------------------------------------


async def test_calls_in_tasks_wait_for_their_turns(emulator: EmulatorThread) -> None:
    async with IotoClient.from_env(emulator.env, limits=Limits(in_flight=2)) as client:
        async with asyncio.TaskGroup() as group:
            claims = [group.create_task(client.device.claim(id)) for id in IDS]
        assert [claim.result().id for claim in claims] == IDS


async def test_a_call_that_is_cancelled_before_it_is_sent_leaves_its_turn_to_the_next(emulator: EmulatorThread) -> None:
    async with IotoClient.from_env(emulator.env, limits=Limits(in_flight=1)) as client:
        first, second, third = (asyncio.create_task(client.device.claim(id)) for id in IDS[:3])
        second.cancel()
        assert [(await task).id for task in (first, third)] == [IDS[0], IDS[2]]
        assert second.cancelled()
    assert len(emulator.requests) == 2


async def test_iteration_fetches_ahead_and_may_be_left(emulator: EmulatorThread) -> None:
    async with IotoClient.from_env(emulator.env) as client:
        await asyncio.gather(*map(client.device.claim, IDS))
        assert [device.id async for device in client.device.find(limit=7)] == IDS
        async for device in client.device.find(limit=7):
            assert device.id == DEVICE
            break


async def test_a_file_goes_up_and_comes_down(emulator: EmulatorThread, tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"hello, "
        yield b"world"

    async with IotoClient.from_env(emulator.env) as client:
        await client.file.upload("hello.txt", chunks(), size=12)
        await client.file.download("hello.txt", tmp_path / "hello.txt")
    assert (tmp_path / "hello.txt").read_bytes() == b"hello, world"


# Sign-in ----------------------------------------------------------------------------------------------------------


def device(request: Request) -> Step:
    return reply(200, {"id": "D"})


async def test_a_provider_that_answers_at_once_is_asked_once() -> None:
    asked = 0

    async def provider() -> AccessToken:
        nonlocal asked
        asked += 1
        return AccessToken("token", 3600)

    async with served(handler=device, token=None, login=provider, origin="app.example") as (server, client):
        await asyncio.gather(*(client.device.get("D") for _ in range(20)))
    assert asked == 1
    assert {request.header("Authorization") for request in server.requests} == {"token"}


async def test_calls_that_a_provider_causes_before_it_waits_wait_for_it() -> None:
    asked = 0
    others: list[asyncio.Task[Any]] = []

    async with served(handler=device, token=None, login="old", origin="app.example") as (server, first):

        async def provider() -> str:
            nonlocal asked
            asked += 1
            others.append(asyncio.create_task(client.device.get("D")))
            return "token"

        client = first.with_options(login=provider, origin="app.example")
        await client.device.get("D")
        await asyncio.gather(*others)
    assert (asked, len(server.requests)) == (1, 2)


# Many calls -------------------------------------------------------------------------------------------------------


async def test_a_bulk_run_comes_to_its_end(emulator: EmulatorThread, tmp_path: Path) -> None:
    async with IotoClient.from_env(emulator.env) as client:
        run = client.bulk(client.device.claim, IDS, journal=tmp_path / "journal")
        assert sorted(outcome.key for outcome in await outcomes(run) if outcome.status == "ok") == IDS
        again = client.bulk(client.device.claim, IDS, journal=tmp_path / "journal")
        assert {outcome.status for outcome in await outcomes(again)} == {"skipped"}


async def test_a_run_of_calls_that_end_at_once_or_fail_or_wait_has_an_outcome_for_each() -> None:
    async def call(number: int) -> int:
        if number % 3 == 0:
            return number
        if number % 3 == 1:
            raise ValueError(number)
        await asyncio.sleep(0)
        return number

    for concurrency in (1, 2, 100):
        found = await statuses(Bulk(call, range(30), concurrency=concurrency))
        assert found == {str(number): "failed" if number % 3 == 1 else "ok" for number in range(30)}


async def test_a_run_that_is_left_at_once_ends_its_workers() -> None:
    begun: list[int] = []

    async def call(number: int) -> None:
        begun.append(number)
        if number:
            await asyncio.Event().wait()

    async with Bulk(call, range(100), concurrency=10) as run:
        async for _ in run:
            break
    assert begun
    await no_task_is_left()


async def test_a_run_in_a_task_that_is_cancelled_at_once_ends() -> None:
    async def call(number: int) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(outcomes(Bulk(call, range(100), concurrency=10)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cluster_does_the_calls(emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in emulator.env.items():
        monkeypatch.setenv(name, value)
    # Its own loop, in a thread, has no eager tasks, in which Dask cannot close.
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        async with Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
            found = [outcome async for outcome in bulk(client, calls.claim, IDS, shard=10)]
    assert sorted(outcome.key for outcome in found if outcome.status == "ok") == IDS


# Metrics and devices ----------------------------------------------------------------------------------------------


async def test_reads_of_one_turn_are_joined(emulator: EmulatorThread) -> None:
    async with IotoClient.from_env(emulator.env) as client:
        await client.device.claim(DEVICE)
        emulator.requests.clear()
        async with asyncio.TaskGroup() as group:
            for number in range(150):
                group.create_task(client.metric.value(DEVICE, f"m{number}"))
    assert [request.path for request in emulator.requests] == ["/tok/metric/fetch"] * 2


async def test_a_writer_writes_what_it_is_given(emulator: EmulatorThread) -> None:
    async with IotoClient.from_env(emulator.env) as client:
        await client.device.claim(DEVICE)
        writer = client.metric.writer(via="automation", name="MetricSample", count=10)
        async with writer, asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(writer.write("temp", number, dimensions={"Device": DEVICE}))
        assert (writer.summary.ok, writer.summary.done) == (50, 50)


async def test_a_device_has_its_link_and_makes_it_again(emulator: EmulatorThread) -> None:
    async with IotoClient.from_env(emulator.env) as client:
        await client.device.claim(DEVICE)
        certificates = await client.device.provision(DEVICE)
        async with DeviceLink(certificates, ca=emulator.ca, base=0) as link:
            emulator.faults.add(Fault("metric/set", reset="after"))
            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(link.set_metric("temp", 1))
                group.create_task(link.set_store("mode", "eco"))
            assert (await link.get_store("mode"), await link.get_metric("temp")) == ("eco", 1)


async def test_the_embedded_cloud_serves_in_the_same_loop() -> None:
    async with Emulator() as emulator, IotoClient.from_env(emulator.env) as client:
        emulator.cloud.register_device(DEVICE)
        await client.device.claim(DEVICE)
        async with DeviceLink(await client.device.provision(DEVICE), ca=emulator.ca) as link:
            await link.ping()
