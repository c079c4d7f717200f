"""Retained messages and wills of devices, by a client that is not this package's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import aiomqtt
import pytest

from ioto_async.emulator import Emulator, Fault
from tests.rawserver import GUARD
from tests.rows import each_row

from .conftest import Post
from .mqtt_devices import Device, Fleet, asked

STATE = "store/set"
LOST, BACK = b'{"key":"state","value":"lost"}', b'{"key":"state","value":"back"}'


@pytest.fixture
def mqtt() -> bool:
    return True


@pytest.fixture
async def device(emu: Emulator, post: Post, tmp_path: Path) -> Device:
    return await Fleet(emu, post, tmp_path)()


async def message(client: aiomqtt.Client) -> tuple[bytes, bool, int]:
    """The payload of the next message, whether it was retained, and its QoS."""
    async with asyncio.timeout(GUARD):
        message = await anext(aiter(client.messages))
    assert isinstance(message.payload, bytes)
    return message.payload, message.retain, message.qos


async def retained(device: Device, topic: str) -> tuple[bytes, bool, int] | None:
    """What a new subscription to *topic* brings."""
    async with device.client() as client:
        await client.subscribe([(topic, 1), (device.mine, 1)])
        await client.publish(device.topic("test/ping/1"), qos=1)
        first = await message(client)
    return None if first == (b"pinged", False, 1) else first


async def test_a_retained_message_is_carried_out_and_waits_for_new_subscriptions(device: Device) -> None:
    topic = device.topic(STATE)
    async with device.client() as client:
        await client.publish(topic, LOST, qos=1, retain=True)
        await client.publish(topic, b'{"key":"other","value":1}', qos=1)
        await client.subscribe(device.mine, qos=1)
        assert await asked(client, device, "store/get/1", {"key": "state"}) == b"lost"
    assert await retained(device, topic) == (LOST, True, 1)
    async with device.client() as client:
        await client.publish(topic, BACK, qos=0, retain=True)
    assert await retained(device, topic) == (BACK, True, 0)
    # As at AWS IoT Core: its very topic, no wildcards.
    assert await retained(device, device.topic("store/+")) is None


async def test_an_empty_message_ends_a_retained_one_and_is_passed_on(device: Device) -> None:
    topic = device.topic(STATE)
    async with device.client() as client:
        await client.publish(topic, LOST, qos=1, retain=True)
        await client.subscribe(topic, qos=1)
        assert await message(client) == (LOST, True, 1)
        await client.publish(topic, b"", qos=1, retain=True)
        assert await message(client) == (b"", False, 1)
    assert await retained(device, topic) is None


async def test_what_is_retained_is_no_other_devices(emu: Emulator, post: Post, tmp_path: Path, device: Device) -> None:
    async with device.client() as client:
        await client.publish(device.topic(STATE), LOST, qos=1, retain=True)
    other = await Fleet(emu, post, tmp_path)("DEV0000002")
    async with other.client() as client:
        (code,) = await client.subscribe(device.topic(STATE), qos=1)
        assert getattr(code, "value", code) == 0x80
        await client.subscribe(other.mine, qos=1)
        assert await asked(client, other, "test/ping/1") == b"pinged"


@asynccontextmanager
async def started(db: Path) -> AsyncIterator[tuple[Emulator, Fleet]]:
    async with Emulator(db=db) as emu, aiohttp.ClientSession() as session:
        yield emu, Fleet(emu, Post(emu, session), db.parent)


async def test_what_is_retained_outlasts_the_cloud_and_not_a_reset(tmp_path: Path) -> None:
    async with started(tmp_path / "cloud.db") as (emu, fleet):
        device = await fleet()
        async with device.client() as client:
            await client.publish(device.topic(STATE), LOST, qos=1, retain=True)
    async with started(tmp_path / "cloud.db") as (emu, fleet):
        device = await fleet.provision(device.id)
        before = emu.snapshot()
        assert await retained(device, device.topic(STATE)) == (LOST, True, 1)
        emu.reset()
        device = await fleet()
        assert await retained(device, device.topic(STATE)) is None
        # It is a part of what the cloud holds.
        emu.restore(before)
        device = await fleet.provision(device.id)
        assert await retained(device, device.topic(STATE)) == (LOST, True, 1)


@each_row("how", ["lost", "replaced", "refused", "farewell"])
async def test_a_will_is_carried_out_and_retained_unless_the_client_says_farewell(how: str, tmp_path: Path) -> None:
    async with started(tmp_path / f"{how}.db") as (emu, fleet):
        device = await fleet()
        will = aiomqtt.Will(device.topic(STATE), LOST, qos=1, retain=True)
        client = device.client(will=will)
        await client.__aenter__()
        if how == "lost":
            emu.faults.add(Fault("mqtt/test/ping", reset="before"))
            await client.publish(device.topic("test/ping"), qos=0)
        elif how == "replaced":
            async with device.client():
                pass
        elif how == "refused":
            await client.publish("elsewhere", b"", qos=0)
        if how == "farewell":
            await client.__aexit__(None, None, None)
        else:
            async with asyncio.timeout(GUARD):
                with pytest.raises(aiomqtt.MqttError):
                    await anext(aiter(client.messages))
                while not emu.cloud.retained.load(device.topic(STATE)):
                    await asyncio.sleep(0.005)
            await client.__aexit__(None, None, None)
        expected = None if how == "farewell" else (LOST, True, 1)
        assert await retained(device, device.topic(STATE)) == expected
        async with device.client() as client:
            await client.subscribe(device.mine, qos=1)
            value = b"" if how == "farewell" else b"lost"
            assert await asked(client, device, "store/get/1", {"key": "state"}) == value
