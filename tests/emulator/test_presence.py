"""Whether a device is connected, as REST shows it."""

import asyncio
import json
from pathlib import Path

import aiohttp
import aiomqtt
import pytest

from ioto_async.emulator import Emulator
from ioto_async.emulator.mqtt.packets import Connect, Disconnect, Publish, encode
from tests.rawserver import GUARD

from .conftest import Post
from .mqtt_devices import Device, Fleet, becomes, item, received


@pytest.fixture
def mqtt() -> bool:
    return True


async def accessed(post: Post, device: Device) -> str:
    return str((await post("/tok/device/get", {"id": device.id})).json["accessed"])


async def test_a_device_is_online_from_its_connect_until_its_connection_ends(
    emu: Emulator, post: Post, device: Device
) -> None:
    assert await item(emu, post, device) == {}
    for _ in range(2):
        emu.cloud.clock = lambda: 2_000_000_000.0
        async with device.client():
            found = await item(emu, post, device)
            assert (found["connection"], found["id"]) == ("online", device.id)
            assert await accessed(post, device) == "2033-05-18T03:33:20.000Z"
            emu.cloud.clock = lambda: 2_000_000_100.0
        await becomes(emu, post, device, "offline")
        assert await accessed(post, device) == "2033-05-18T03:35:00.000Z"


async def test_devices_are_found_by_their_presence(emu: Emulator, post: Post, fleet: Fleet) -> None:
    first, second = await fleet(), await fleet("DEV0000002")
    async with first.client():
        async with second.client():
            pass
        await becomes(emu, post, second, "offline")
        body = {"_type": "Device", "accountId": emu.account_id, "connection": "online"}
        assert [each["id"] for each in (await post("/tok/generic/find", body)).json["data"]] == [first.id]


async def test_a_lost_connection_makes_it_offline(emu: Emulator, post: Post, device: Device) -> None:
    _, writer = await asyncio.open_connection("localhost", device.port, ssl=device.context())
    writer.write(encode(Connect(device.id)))
    await becomes(emu, post, device, "online")
    writer.transport.abort()
    await becomes(emu, post, device, "offline")


async def test_a_connection_that_replaces_another_leaves_it_online(emu: Emulator, post: Post, device: Device) -> None:
    reader, writer = await asyncio.open_connection("localhost", device.port, ssl=device.context())
    writer.write(encode(Connect(device.id)))
    await becomes(emu, post, device, "online")
    async with device.client():
        async with asyncio.timeout(GUARD):
            while await reader.read(100):  # the CONNACK, and then the end
                pass
        assert (await item(emu, post, device))["connection"] == "online"
    writer.transport.abort()
    await becomes(emu, post, device, "offline")


async def test_a_release_makes_it_offline(emu: Emulator, post: Post, device: Device) -> None:
    async with device.client() as client:
        assert (await post("/tok/device/release", {"id": device.id})).status == 200
        async with asyncio.timeout(GUARD):
            with pytest.raises(aiomqtt.MqttError):
                await anext(aiter(client.messages))
        await becomes(emu, post, device, "offline")


async def test_what_the_device_has_written_stays_and_keeps_its_date(emu: Emulator, post: Post, device: Device) -> None:
    members = {"accountId": emu.account_id, "id": device.id, "name": "Pump", "connection": "offline"}
    date = "2025-01-01T00:00:01.000Z"
    emu.cloud.models.for_devices().update("Device", members, None, updated=date)
    async with device.client():
        found = await item(emu, post, device)
        assert (found["name"], found["connection"], found["updated"]) == ("Pump", "online", date)


async def test_after_a_restart_no_device_is_connected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with aiohttp.ClientSession() as session:
        async with Emulator(db=tmp_path / "cloud.db") as emulator:
            post = Post(emulator, session)
            device = await Fleet(emulator, post, tmp_path)()
            _, writer = await asyncio.open_connection("localhost", device.port, ssl=device.context())
            writer.write(encode(Connect(device.id)))
            kept = await becomes(emulator, post, device, "online")
        writer.transport.abort()
        async with Emulator(db=tmp_path / "cloud.db") as emulator:
            assert await item(emulator, Post(emulator, session), device) == {**kept, "connection": "offline"}
    assert caplog.records == []


async def test_the_device_itself_does_not_change_it(emu: Emulator, post: Post, device: Device) -> None:
    # As the agent sends it after a release and the next claim.
    state = f'{{"connection":"offline","id":"{device.id}","name":"Pump","updated":"2033-01-01T00:00:01.000Z"}}'
    changes = f'{{"seq":7,"changes":[{{"cmd":"update","key":"d#{device.id}","item":{state}}}]}}'
    async with device.client() as client:
        await client.subscribe(device.mine)
        await client.publish(device.rule("db/syncToDynamo"), changes, qos=1)
        topic, ack = await received(client)
        assert (topic, json.loads(ack)["keys"]) == (f"ioto/device/{device.id}/sync/SYNC", [f"d#{device.id}"])
        found = await item(emu, post, device)
        assert (found["name"], found["connection"]) == ("Pump", "online")
    await becomes(emu, post, device, "offline")


async def test_a_change_that_comes_with_the_end_of_a_connection_does_not_make_it_online(
    emu: Emulator, post: Post, device: Device
) -> None:
    state = f'{{"connection":"online","id":"{device.id}","name":"Pump","updated":"2033-01-01T00:00:01.000Z"}}'
    changes = f'{{"seq":7,"changes":[{{"cmd":"update","key":"d#{device.id}","item":{state}}}]}}'
    _, writer = await asyncio.open_connection("localhost", device.port, ssl=device.context())
    publish = Publish(device.rule("db/syncToDynamo"), changes.encode(), 1, 1)
    writer.write(encode(Connect(device.id)) + encode(publish) + encode(Disconnect()))
    async with asyncio.timeout(GUARD):
        while (found := await item(emu, post, device)).get("name") != "Pump":
            await asyncio.sleep(0.005)
    assert found["connection"] == "offline"
    writer.transport.abort()
