"""How a device link begins, connects again and ends: nothing is left, and nobody waits forever."""

import asyncio
import gc
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ioto_async import IotoClient, UnwrittenError
from ioto_async.emulator import Emulator
from ioto_async.errors import ClientStateError, ConnectionFailedError, InvalidArgumentError
from ioto_async.mqtt import Contested, DeviceLink
from ioto_async.mqtt.connection import Connection
from tests.rawserver import GUARD

from .fakebroker import FakeBroker, authority, certs_of, connected_to, link_to, packet

SHORT = 0.1
"""Seconds that are meant to pass."""


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[FakeBroker]:
    async with FakeBroker().running(tmp_path) as broker:
        yield broker


@pytest.fixture
async def client() -> AsyncIterator[IotoClient]:
    async with IotoClient("https://x.example", token="token", environ={}) as client:
        yield client


@pytest.fixture
async def complaints() -> AsyncIterator[list[str]]:
    """What the loop complains of; the test fails if it does."""
    found: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: found.append(f"{context['message']}: {context.get('exception')!r}")
    )
    yield found
    gc.collect()
    assert found == []


def own_tasks() -> list[asyncio.Task[Any]]:
    """The tasks of links and connections, now."""
    names = [(task, repr(task.get_coro())) for task in asyncio.all_tasks()]
    return [task for task, name in names if "DeviceLink" in name or "Client." in name or "Connection" in name]


# The beginning --------------------------------------------------------------------------------------------------------


async def test_a_link_that_could_not_be_opened_can_be_closed_and_takes_no_calls(broker: FakeBroker) -> None:
    link = link_to(broker, ca="no such file")
    with pytest.raises(InvalidArgumentError, match="ca: "):
        await link.__aenter__()
    await link.aclose()
    with pytest.raises(ClientStateError, match="the link is closed"):
        await link.set_metric("T", 1)
    with pytest.raises(StopAsyncIteration):
        await anext(link.events())
    assert own_tasks() == []


async def test_a_call_that_is_made_while_the_link_opens_waits_for_it(broker: FakeBroker) -> None:
    link = link_to(broker)
    opening = asyncio.ensure_future(link.__aenter__())
    await asyncio.sleep(0)
    await link.set_metric("T", 1)
    await opening
    await link.aclose()
    assert len(broker.published) == 1


async def test_a_link_that_is_closed_while_it_opens_is_not_opened(broker: FakeBroker) -> None:
    broker.accept = lambda number: packet(0xD0, b"")
    for turns in (1, 2, 5, 50):
        link = link_to(broker)
        opening = asyncio.ensure_future(link.__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        await link.aclose()
        assert own_tasks() == [] or opening in own_tasks()
        with pytest.raises(ClientStateError, match="the link is closed"):
            await opening
        assert not link.is_connected
        assert own_tasks() == []
    await broker.until(lambda: broker.open == 0)


async def test_a_link_that_was_closed_before_it_was_opened_is_not_opened(broker: FakeBroker) -> None:
    link = link_to(broker)
    await link.aclose()
    with pytest.raises(ClientStateError, match="make another"):
        await link.__aenter__()
    assert broker.connections == 0


async def test_links_to_brokers_that_say_nothing_keep_nobody_from_the_threads() -> None:
    writers: list[asyncio.StreamWriter] = []
    all_there = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if len(writers) == 3:
            all_there.set()
        await reader.read()
        writer.close()

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    server = await asyncio.start_server(silent, "localhost", 0)
    certs = certs_of(server.sockets[0].getsockname()[1])
    links = [DeviceLink(certs, ca=authority().certificate, patience=60, timeout=60) for _ in range(3)]
    opening = [asyncio.ensure_future(link.__aenter__()) for link in links]
    async with asyncio.timeout(GUARD):
        await all_there.wait()
        await asyncio.to_thread(lambda: None)
        for task in opening:
            task.cancel()
        await asyncio.wait(opening)
    assert all(task.cancelled() for task in opening)
    assert own_tasks() == []
    server.close()
    await server.wait_closed()
    gc.collect()  # a socket that is left open would warn, and warnings are errors


async def test_a_broker_that_does_not_shake_hands_is_asked_again() -> None:
    again = asyncio.Event()
    seen: list[int] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(len(seen))
        if len(seen) == 2:
            again.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "localhost", 0)
    certs = certs_of(server.sockets[0].getsockname()[1])
    link = DeviceLink(certs, ca=authority().certificate, patience=GUARD, timeout=SHORT, base=0)
    opening = asyncio.ensure_future(link.__aenter__())
    async with asyncio.timeout(GUARD / 2):
        await again.wait()
    opening.cancel()
    await asyncio.wait({opening})
    server.close()
    await server.wait_closed()


# Again and again ------------------------------------------------------------------------------------------------------


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many connections in a row have failed, each time that a link waits before another one."""
    seen: list[int] = []

    def wait(link: DeviceLink, failures: int) -> float:
        seen.append(failures)
        return 0.0

    monkeypatch.setattr(DeviceLink, "_wait", wait)
    return seen


async def test_waits_grow_with_a_broker_that_accepts_connections_and_ends_them(
    broker: FakeBroker, failures: list[int]
) -> None:
    broker.on_publish = lambda message: "cut" if message.connection < 4 else "ack"
    async with link_to(broker) as link:
        await link.set_metric("T", 1)
    assert failures == [1, 2, 3]


async def served_and_cut_off(link: DeviceLink, broker: FakeBroker, *, times: int) -> None:
    """Have connections do some work before they end, and one that stays."""
    for number in range(1, times + 1):
        await link.ping()
        broker.cut()
        await broker.until(lambda number=number: broker.connections > number)  # type: ignore[misc]
    await link.ping()


async def test_an_acknowledgement_is_no_reason_to_come_back_sooner(broker: FakeBroker, failures: list[int]) -> None:
    """Two clients with one client id get some messages through each time, and would push each other out for ever."""
    async with link_to(broker) as link:
        await served_and_cut_off(link, broker, times=3)
    assert failures == [1, 2, 3]


async def test_connections_that_the_broker_ends_soon_again_and_again_are_told_once(
    broker: FakeBroker, failures: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ioto_async")
    async with link_to(broker) as link:
        await served_and_cut_off(link, broker, times=5)
        event = await anext(link.events())
    assert isinstance(event, Contested)
    assert (event.connections, bool(event.reason)) == (3, True)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "ended 3 connections in a row" in warning
    assert "does another client use the same client id and certificate?" in warning
    ends = [record for record in caplog.records if "the connection has ended: " in record.getMessage()]
    assert len(ends) == 5, "each says why"


async def test_a_connection_that_the_link_gives_up_by_itself_says_nothing_of_another_client(
    broker: FakeBroker, failures: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    broker.on_publish = lambda message: "hold" if message.connection < 5 else "ack"
    async with link_to(broker, timeout=SHORT) as link:
        await link.ping()
    assert len(failures) >= 4
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


async def test_two_links_with_one_client_id_both_tell_of_the_other() -> None:
    async with Emulator() as emu, IotoClient(environ=emu.env) as client:
        emu.cloud.register_device("DEV0000001")
        emu.cloud.claim_device("DEV0000001")
        certs = await client.device.provision("DEV0000001")
        options: Any = {"ca": emu.ca, "base": 0.01, "cap": 0.01, "patience": GUARD}
        async with DeviceLink(certs, **options) as first, DeviceLink(certs, **options) as second:
            async with asyncio.timeout(GUARD):
                found = await asyncio.gather(anext(first.events()), anext(second.events()))
    assert [type(event) for event in found] == [Contested, Contested]


async def test_waits_begin_anew_after_a_connection_that_has_lasted(broker: FakeBroker, failures: list[int]) -> None:
    async with link_to(broker, timeout=3 * SHORT, cap=SHORT / 10, base=0) as link:
        for number in range(1, 4):
            await asyncio.sleep(7 * SHORT)
            broker.cut()
            await broker.until(lambda number=number: broker.connections > number)  # type: ignore[misc]
            await broker.until(lambda: link.is_connected or broker.open > 0)
    assert failures == [1, 1, 1]


async def test_a_topic_that_is_no_text_ends_the_connection(broker: FakeBroker, complaints: list[str]) -> None:
    async with link_to(broker) as link:
        broker.write(packet(0x30, b"\x00\x01\xff"))
        await broker.until(lambda: broker.connections == 2)
        await link.ping()


# The end --------------------------------------------------------------------------------------------------------------


async def test_a_link_that_is_closed_says_goodbye_and_has_ended_then(broker: FakeBroker, complaints: list[str]) -> None:
    async with link_to(broker) as link:
        await link.ping()
    assert own_tasks() == []
    await broker.until(lambda: broker.open == 0)
    assert broker.goodbyes == 1


async def test_a_broker_that_does_not_read_does_not_keep_a_link_from_its_end(
    broker: FakeBroker, complaints: list[str]
) -> None:
    broker.on_publish = lambda message: "deafen"
    link = link_to(broker, window=1000, timeout=60, patience=60)
    await link.__aenter__()
    samples = [asyncio.ensure_future(link.set_store("key", "x" * 120_000)) for _ in range(200)]
    await broker.received(1)
    async with asyncio.timeout(GUARD):
        await link.aclose()
    assert own_tasks() == []
    errors = await asyncio.gather(*samples, return_exceptions=True)
    assert {type(error) for error in errors} == {ClientStateError}


async def test_a_connection_may_break_while_its_link_is_closed(broker: FakeBroker, complaints: list[str]) -> None:
    for turns in range(12):
        link = link_to(broker)
        await link.__aenter__()
        broker.cut()
        for _ in range(turns):
            await asyncio.sleep(0)
        await link.aclose()
        assert own_tasks() == []


async def test_a_question_that_was_not_acknowledged_is_told_of_the_end_once(
    broker: FakeBroker, complaints: list[str]
) -> None:
    broker.on_publish = lambda message: "hold"
    async with link_to(broker) as link:
        question = asyncio.ensure_future(link.get_metric("T"))
        await broker.received(1)
    with pytest.raises(ClientStateError, match="the link is closed") as caught:
        await question
    assert not caught.value.outcome_unknown  # it only reads
    del question, caught


async def test_a_link_is_closed_though_whoever_closes_it_is_cancelled(broker: FakeBroker) -> None:
    broker.on_publish = lambda message: "deafen"  # so that the end takes a while
    link = link_to(broker, window=1000)
    await link.__aenter__()
    samples = [asyncio.ensure_future(link.set_store("key", "x" * 120_000)) for _ in range(200)]
    await broker.received(1)
    closing = asyncio.ensure_future(link.aclose())
    for _ in range(3):
        await asyncio.sleep(0)
        closing.cancel()
    await asyncio.wait({closing})
    assert closing.cancelled()
    await asyncio.wait(samples)
    assert own_tasks() == []
    assert [sample.exception() is None for sample in samples] == [False] * 200


async def test_an_end_of_all_tasks_ends_whoever_waits_for_the_link(broker: FakeBroker, complaints: list[str]) -> None:
    broker.on_publish = lambda message: "hold"
    link = link_to(broker)
    await link.__aenter__()
    event = asyncio.ensure_future(anext(link.events(), None))
    [runner] = [task for task in own_tasks() if "DeviceLink._run" in repr(task.get_coro())]
    sample = asyncio.ensure_future(link.set_metric("T", 1))
    await broker.received(1)
    runner.cancel()
    async with asyncio.timeout(GUARD / 2):
        with pytest.raises(ClientStateError, match="the task of the link was cancelled") as caught:
            await sample
        assert await event is None
        with pytest.raises(ClientStateError, match="the task of the link was cancelled"):
            await link.set_metric("T", 2)
    assert caught.value.outcome_unknown
    await link.aclose()


async def test_a_link_that_breaks_tells_those_who_wait(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.on_publish = lambda message: "hold"
    link = link_to(broker)
    await link.__aenter__()
    sample = asyncio.ensure_future(link.set_metric("T", 1))
    event = asyncio.ensure_future(anext(link.events(), None))
    await broker.received(1)

    async def broken(connection: Connection, topics: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Connection, "open", broken)
    broker.cut()
    async with asyncio.timeout(GUARD):
        with pytest.raises(ClientStateError, match="the link has failed: RuntimeError"):
            await sample
        assert await event is None
    with pytest.raises(RuntimeError, match="broken"):
        await link.aclose()


async def test_a_writer_ends_with_a_link_that_has_no_future(broker: FakeBroker, client: IotoClient) -> None:
    async with link_to(broker) as link:
        await link.ping()
        broker.become_another()
        broker.cut()
        with pytest.raises(ConnectionFailedError, match="cannot be trusted"):
            await anext(link.events())
        writer = client.metric.writer(via="mqtt", link=link, count=1)
        async with asyncio.timeout(GUARD):
            await writer.__aenter__()
            await writer.write("T", 1)
            await writer.flush()
            with pytest.raises(UnwrittenError, match="the link has ended: mqtt/connect: the certificate of the broker"):
                await writer.aclose()
    assert broker.published[1:] == []


# In a bulk run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["timeout", "group", "translation"])
async def test_an_item_is_unknown_whatever_becomes_of_the_error_of_its_sample(
    broker: FakeBroker, client: IotoClient, how: str
) -> None:
    broker.on_publish = lambda message: "hold"

    async def work(value: int) -> None:
        if how == "timeout":
            async with asyncio.timeout(SHORT):
                await link.set_metric("T", value)
        elif how == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(link.set_metric("T", value))
        else:
            try:
                await link.set_metric("T", value)
            except Exception as error:
                raise ValueError("mine") from error

    async with connected_to(broker, patience=2 * SHORT) as link, client.bulk(work, [1]) as run:
        outcomes = [outcome.status async for outcome in run]
    assert outcomes == ["unknown"]
    assert len(broker.published) == 1
