"""A device link and the embedded cloud: what a device says is there, and what the cloud says is heard."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from ioto_async import IotoClient, MetricQuery
from ioto_async.emulator import Emulator, Fault
from ioto_async.errors import AuthenticationError, ConnectionFailedError
from ioto_async.models import Certificates
from ioto_async.mqtt import DeviceLink, ItemSynced, Release, SyncAcknowledged, SyncDown, Throttle
from tests.rawserver import GUARD

DEVICE = "DEV0000001"


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator() as emu:
        yield emu


@pytest.fixture
async def client(emu: Emulator) -> AsyncIterator[IotoClient]:
    async with IotoClient(environ=emu.env) as client:
        yield client


async def provisioned(emu: Emulator, client: IotoClient, id: str = DEVICE) -> Certificates:
    emu.cloud.register_device(id)
    emu.cloud.claim_device(id)
    return await client.device.provision(id)


def link_of(emu: Emulator, certs: Certificates, **options: Any) -> DeviceLink:
    options = {"base": 0, "patience": GUARD, "timeout": GUARD} | options
    return DeviceLink(certs, ca=emu.ca, **options)


@pytest.fixture
async def link(emu: Emulator, client: IotoClient) -> AsyncIterator[DeviceLink]:
    async with link_of(emu, await provisioned(emu, client)) as link:
        yield link


async def count_of(client: IotoClient, *metrics: str) -> list[float | None]:
    queries = [MetricQuery(name, {"Device": DEVICE}, "count", accumulate=True) for name in metrics]
    answers = await client.metric.fetch(DEVICE, queries)
    return [answer.points[0].value if answer.points else 0 for answer in answers]


async def test_a_sample_is_read_back_by_rest_and_by_the_device(link: DeviceLink, client: IotoClient) -> None:
    await link.set_metric("TEMP", 20)
    await link.set_metric("TEMP", 23)
    assert await link.get_metric("TEMP") == 21.5
    assert await link.get_metric("TEMP", statistic="max", period=60) == 23
    assert await count_of(client, "TEMP") == [2]


async def test_dimensions_are_those_that_were_said(link: DeviceLink) -> None:
    await link.set_metric("TEMP", 20, dimensions=[{}, {"Room": "attic"}])
    assert await link.get_metric("TEMP", dimensions={}) == 20
    assert await link.get_metric("TEMP", dimensions={"Room": "attic"}) == 20
    assert await link.get_metric("TEMP") is None


@pytest.mark.parametrize("value", [3, 2.5, True, False, "text", ""])
async def test_a_stored_value_is_read_back_as_what_it_was(link: DeviceLink, value: Any) -> None:
    await link.set_store("key", value)
    read = await link.get_store("key")
    assert read == (value if value != "" else None)
    assert type(read) is (type(value) if value != "" else type(None))


async def test_a_stored_value_is_there_by_rest(link: DeviceLink, client: IotoClient) -> None:
    await link.set_store("key", 3, type="number", expires=datetime.now(UTC) + timedelta(hours=1))
    item = await client.store.get(DEVICE, "key")
    assert (item.value, item.type) == (3, "number")
    assert item.expires is not None


async def test_what_is_not_there_has_no_value(link: DeviceLink) -> None:
    assert await link.get_store("nothing") is None
    assert await link.get_metric("NOTHING") is None


async def test_a_ping_arrives(link: DeviceLink, emu: Emulator) -> None:
    await link.ping()
    assert emu.messages[-1].topic == f"ioto/service/{DEVICE}/test/ping"
    assert emu.messages[-1].payload == b""


async def test_many_samples_at_once_all_arrive(link: DeviceLink, client: IotoClient) -> None:
    await asyncio.gather(*[link.set_metric("TEMP", number) for number in range(2000)])
    assert await count_of(client, "TEMP") == [2000]


async def test_a_sample_is_counted_once_where_the_cut_came_before_it_was_stored(
    link: DeviceLink, emu: Emulator, client: IotoClient
) -> None:
    emu.faults.add(Fault("mqtt/metric/set", reset="before"))
    await link.set_metric("TEMP", 1)
    assert await count_of(client, "TEMP") == [1]


async def test_a_sample_is_counted_twice_where_the_acknowledgement_was_lost(
    link: DeviceLink, emu: Emulator, client: IotoClient
) -> None:
    emu.faults.add(Fault("mqtt/metric/set", reset="after"))
    await link.set_metric("TEMP", 1)
    assert await count_of(client, "TEMP") == [2]


async def test_no_acknowledged_sample_is_missing_after_many_cuts(
    link: DeviceLink, emu: Emulator, client: IotoClient
) -> None:
    names = [f"N{number}" for number in range(300)]
    resets: tuple[Literal["before", "after"], ...] = ("before", "after", "before", "after")
    for reset in resets:
        emu.faults.add(Fault("mqtt/metric/set", reset=reset))
    await asyncio.gather(*[link.set_metric(name, 1) for name in names])
    assert all(await count_of(client, *names))


async def test_no_acknowledged_sample_is_missing_after_the_cloud_was_started_again(tmp_path: Path) -> None:
    names = [f"N{number}" for number in range(300)]
    samples: list[asyncio.Future[None]] = []
    async with Emulator(db=tmp_path / "cloud.db") as emu:
        async with IotoClient(environ=emu.env) as client:
            certs = await provisioned(emu, client)
        link = link_of(emu, certs, window=10)
        await link.__aenter__()
        samples = [asyncio.ensure_future(link.set_metric(name, 1)) for name in names]
        await asyncio.wait(samples, return_when=asyncio.FIRST_COMPLETED)
        port = emu.mqtt_port
    assert not all(sample.done() for sample in samples)
    async with (
        Emulator(db=tmp_path / "cloud.db", mqtt_port=port) as emu,
        IotoClient(environ=emu.env) as client,
    ):
        await asyncio.gather(*samples)
        assert all(await count_of(client, *names))
        await link.aclose()


async def test_a_link_connects_where_the_broker_was_not_ready_yet(emu: Emulator, client: IotoClient) -> None:
    emu.faults.add(Fault("mqtt/connect", status=3, times=2))
    emu.faults.add(Fault("mqtt/connect", reset="before"))
    async with link_of(emu, await provisioned(emu, client)) as link:
        await link.ping()


async def test_a_released_device_hears_so_and_is_turned_away(link: DeviceLink, emu: Emulator) -> None:
    emu.cloud.release_device(DEVICE)
    assert isinstance(await anext(link.events()), Release)
    with pytest.raises(AuthenticationError):
        await anext(link.events())
    with pytest.raises(AuthenticationError, match="metric/set: the broker refuses the connection"):
        await link.set_metric("TEMP", 1)


async def test_the_certificate_of_a_former_claim_is_turned_away(emu: Emulator, client: IotoClient) -> None:
    certs = await provisioned(emu, client)
    emu.cloud.release_device(DEVICE)
    emu.cloud.claim_device(DEVICE)
    with pytest.raises(AuthenticationError):
        await link_of(emu, certs).__aenter__()
    async with link_of(emu, await client.device.provision(DEVICE)) as link:
        await link.ping()


async def test_the_broker_is_not_trusted_without_its_authority(emu: Emulator, client: IotoClient) -> None:
    certs = await provisioned(emu, client)
    with pytest.raises(ConnectionFailedError, match="cannot be trusted"):
        await DeviceLink(certs, base=0, patience=GUARD).__aenter__()


async def test_a_throttle_is_heard_and_obeyed(link: DeviceLink, emu: Emulator) -> None:
    emu.cloud.throttle_device(DEVICE)
    event = await anext(link.events())
    assert isinstance(event, Throttle)
    assert not event.close
    await link.ping()


async def test_changes_of_the_device_are_acknowledged_by_their_number(link: DeviceLink, client: IotoClient) -> None:
    now = datetime.now(UTC)
    item = {"_type": "Store", "key": "counter", "value": 5, "type": "number", "updated": now}
    number = await link.sync_up([{"cmd": "upsert", "key": "s#counter", "item": item}])
    event = await anext(link.events())
    assert isinstance(event, SyncAcknowledged)
    assert event.seq == number
    assert (await client.store.get(DEVICE, "counter")).value == 5


async def test_a_change_in_the_cloud_comes_down_and_again_when_asked_for(link: DeviceLink, client: IotoClient) -> None:
    await client.generic.create("Command", {"command": "blink"}, device_id=DEVICE)
    event = await anext(link.events())
    assert isinstance(event, ItemSynced)
    assert event.item["command"] == "blink"
    await link.sync_down(datetime(2020, 1, 1, tzinfo=UTC))
    events = [await anext(link.events()), await anext(link.events())]
    assert isinstance(events[0], ItemSynced)
    assert events[0].key == event.key
    assert isinstance(events[1], SyncDown)
