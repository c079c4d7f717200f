"""Stock MQTT clients as devices of the embedded cloud."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from ioto_async.emulator import Emulator, Fault
from tests.emulator.conftest import Post
from tests.emulator.mqtt_devices import Device, Fleet
from tests.rawserver import GUARD

from .mqtt_clients import CLIENTS, Client, Message, RefusedError, why_not

Connected = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(params=CLIENTS)
def make(request: pytest.FixtureRequest) -> type[Client]:
    """The class of each client in turn."""
    client: Any = CLIENTS[request.param]
    reason = why_not(client.package)
    if reason is not None:
        pytest.skip(reason)
    return client  # type: ignore[no-any-return]


@asynccontextmanager
async def connected(client: Client, **options: Any) -> AsyncIterator[bool]:
    """Connect, say whether there was a session, and disconnect."""
    present = await client.connect(**options)
    try:
        yield present
    finally:
        await client.close()


async def total(emu: Emulator, post: Post, device: Device, metric: str) -> object:
    which = {"namespace": "Embedthis/Device", "metric": metric, "dimensions": {"Device": device.id}}
    item = which | {"statistic": "sum", "accumulate": True}
    body = {"accountId": emu.account_id, "deviceId": device.id, "items": [item]}
    return (await post("/tok/metric/fetch", body)).json["data"][0]["points"][0]["value"]


async def ask(client: Client, request: str, body: object = None) -> bytes:
    """Send a request with a sequence number, and return the payload of its reply."""
    await client.publish(client.device.topic(request), "" if body is None else json.dumps(body))
    reply = await client.receive()
    assert reply.topic == f"ioto/device/{client.device.id}/{request}"
    return reply.payload


async def test_it_sets_metrics_and_gets_commands(emu: Emulator, post: Post, device: Device, make: type[Client]) -> None:
    client = make(device)
    async with connected(client):
        assert await client.subscribe(device.mine) == [1]
        for value in range(5):
            sample = {"metric": "T", "value": value, "dimensions": [{"Device": "${deviceId}"}]}
            await client.publish(device.rule("metric/set"), json.dumps(sample))
        assert await ask(client, "test/ping/1") == b"pinged"
        assert await total(emu, post, device, "T") == 10
        body = {"_type": "Command", "accountId": emu.account_id, "deviceId": device.id, "command": "reboot"}
        assert (await post("/tok/generic/create", body)).status == 200
        command = await client.receive()
    assert command.topic == f"ioto/device/{device.id}/sync/UPSERT"
    assert json.loads(command.payload)["command"] == "reboot"
    # Nothing was sent twice.
    assert len(emu.messages) == 6


async def test_what_waits_for_a_session_comes_with_the_next_connection(
    emu: Emulator, device: Device, make: type[Client]
) -> None:
    first, second = make(device), make(device)
    async with connected(first, clean=False):
        await first.subscribe(device.mine)
    emu.cloud.throttle_device(device.id)
    async with connected(second, clean=False) as present:
        assert present
        assert (await second.receive()).topic == f"ioto/device/{device.id}/mqtt/throttle"


async def test_it_is_refused_with_the_certificate_of_another(fleet: Fleet, device: Device, make: type[Client]) -> None:
    await fleet("DEV0000002")
    with pytest.raises(RefusedError, match=make.not_authorized):
        await make(device).connect("DEV0000002")


async def test_it_says_that_mqtt_5_is_not_served(device: Device, make: type[Client]) -> None:
    with pytest.raises(RefusedError, match=r"(?i)unsupported.protocol.version"):
        await make(device).connect(version=5)


async def test_it_is_told_what_it_may_not_subscribe_to(device: Device, make: type[Client]) -> None:
    client = make(device)
    async with connected(client):
        assert await client.subscribe("ioto/device/DEV0000002/#") == [0x80]
        assert await client.subscribe(device.mine) == [1]
        assert await ask(client, "test/ping/1") == b"pinged"


async def test_eight_filters_are_granted_and_nine_end_the_connection(device: Device, make: type[Client]) -> None:
    if not make.takes_many_filters:
        pytest.skip("it puts one filter into a SUBSCRIBE")
    client = make(device)
    async with connected(client):
        filters = [f"ioto/device/{device.id}/{number}" for number in range(9)]
        assert await client.subscribe(*filters[:8]) == [1] * 8
        subscribing = asyncio.create_task(client.subscribe(*filters))
        await client.wait_ended()
        subscribing.cancel()
        await asyncio.gather(subscribing, return_exceptions=True)


async def test_seven_slashes_are_allowed_and_eight_end_the_connection(
    emu: Emulator, device: Device, make: type[Client]
) -> None:
    client = make(device)
    async with connected(client):
        await client.publish(device.topic("4/5/6/7/8"), "{}")
        publishing = asyncio.create_task(client.publish(device.topic("4/5/6/7/8/9"), "{}"))
        await client.wait_ended()
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
    assert {message.topic for message in emu.messages} == {device.topic("4/5/6/7/8")}


async def test_a_retained_message_waits_for_a_subscription(device: Device, make: type[Client]) -> None:
    topic, state = device.topic("store/set"), '{"key":"state","value":"on"}'
    first, second = make(device), make(device)
    async with connected(first):
        await first.publish(topic, state, retain=True)
        await first.subscribe(device.mine)
        assert await ask(first, "store/get/1", {"key": "state"}) == b"on"
    async with connected(second):
        await second.subscribe(topic)
        assert await second.receive() == Message(topic, state.encode(), True)
        await second.publish(topic, "", retain=True)
        assert await second.receive() == Message(topic, b"", False)


async def test_its_will_is_carried_out_when_it_is_lost(emu: Emulator, device: Device, make: type[Client]) -> None:
    topic, state = device.topic("store/set"), b'{"key":"state","value":"lost"}'
    client = make(device)
    async with connected(client, will=Message(topic, state, True)):
        emu.faults.add(Fault("mqtt/test/ping", reset="before"))
        pinging = asyncio.create_task(client.publish(device.topic("test/ping"), ""))
        async with asyncio.timeout(GUARD):
            while emu.cloud.retained.load(topic) is None:
                await asyncio.sleep(0.005)
        await client.wait_ended()
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)
    other = make(device)
    async with connected(other):
        await other.subscribe(device.mine)
        assert await ask(other, "store/get/1", {"key": "state"}) == b"lost"
