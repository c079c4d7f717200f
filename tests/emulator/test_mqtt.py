"""Devices speak MQTT with the embedded cloud, by a client that is not this package's."""

import asyncio
import json
import logging
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import pytest

from ioto_async.emulator import Emulator, EmulatorThread, Fault
from ioto_async.emulator.mqtt.packets import Connect, encode
from tests.rawserver import GUARD
from tests.rows import each_row

from .conftest import Post
from .mqtt_devices import RULE, Device, Fleet, asked, received
from .tables import each_row_after_reset

DIMENSIONS = [{"Device": "${deviceId}"}]


@pytest.fixture
def mqtt() -> bool:
    return True


@pytest.fixture
async def client(device: Device) -> AsyncIterator[aiomqtt.Client]:
    """The device, connected, with a subscription to all that is for it."""
    async with device.client() as client:
        await client.subscribe(device.mine, qos=1)
        yield client


@asynccontextmanager
async def connected(fleet: Fleet) -> AsyncIterator[tuple[Device, aiomqtt.Client]]:
    """The same for a row of a table, whose emulator is reset before."""
    device = await fleet()
    async with device.client() as client:
        await client.subscribe(device.mine, qos=1)
        yield device, client


async def point(
    emu: Emulator,
    post: Post,
    metric: str,
    dimensions: dict[str, Any],
    statistic: str = "avg",
    device_id: str = "DEV0000001",
) -> Any:
    """The value that REST reads."""
    item = {"namespace": "Embedthis/Device", "metric": metric, "dimensions": dimensions, "statistic": statistic}
    body = {"accountId": emu.account_id, "deviceId": device_id, "items": [item | {"accumulate": True}]}
    (result,) = (await post("/tok/metric/fetch", body)).json["data"]
    return result["points"][0]["value"] if result["points"] else None


async def store(emu: Emulator, post: Post, key: str) -> Any:
    body = {"_type": "Store", "accountId": emu.account_id, "deviceId": "DEV0000001", "key": key}
    return (await post("/tok/generic/get", body)).json


async def write(emu: Emulator, post: Post, verb: str, model: str, device_id: str, members: dict[str, Any]) -> Any:
    body = {"_type": model, "accountId": emu.account_id, "deviceId": device_id, **members}
    reply = await post(f"/tok/generic/{verb}?exists", body)
    assert reply.status == 200, reply.text
    return reply.json


async def ended(client: aiomqtt.Client) -> bool:
    """Wait for the end of a connection that gets no messages."""
    async with asyncio.timeout(GUARD):
        try:
            await anext(aiter(client.messages))
        except aiomqtt.MqttError:
            return True
    return False


async def is_refused(device: Device, port: int, context: ssl.SSLContext) -> bool:
    """Say whether a broker ends a TLS connection without an answer to CONNECT."""
    try:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    except ssl.SSLError:
        return True
    try:
        writer.write(encode(Connect(device.id)))
        async with asyncio.timeout(GUARD):
            return await reader.read(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True
    finally:
        writer.transport.abort()


# Metrics and the store -----------------------------------------------------------------------------------------------


async def test_a_sample_set_by_mqtt_is_read_back_by_rest(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    sample = {"metric": "RANDOM", "value": 4.2, "dimensions": DIMENSIONS, "buffer": {"elapsed": 0}}
    await client.publish(device.rule("metric/set"), json.dumps(sample), qos=1)
    assert await point(emu, post, "RANDOM", {"Device": device.id}) == 4.2


@each_row_after_reset(
    "dimensions, read",
    [
        ([{"Device": "${deviceId}"}], {"Device": "DEV0000001"}),
        ([{"deviceId": True}], {"deviceId": "DEV0000001"}),
        ([{"Room": "of ${deviceId}"}], {"Room": "of DEV0000001"}),
        ([{}], {}),
        ([], {}),
        ([{}, {"Device": "x"}], {}),
        ([{}, {"Device": "x"}], {"Device": "x"}),
        (None, {}),
    ],
)
async def test_dimensions_are_filled_in(
    emu: Emulator, post: Post, fleet: Fleet, dimensions: object, read: dict[str, str]
) -> None:
    sample = {"metric": "/city/Rome/temp", "value": 7, "dimensions": dimensions}
    async with connected(fleet) as (device, client):
        await client.publish(device.rule("metric/set"), json.dumps(sample), qos=1)
    assert await point(emu, post, "/city/Rome/temp", read) == 7


async def test_the_full_topic_does_the_same_as_basic_ingest(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    sample = json.dumps({"metric": "T", "value": 1, "dimensions": DIMENSIONS})
    await client.publish(device.rule("metric/set"), sample, qos=1)
    await client.publish(device.topic("metric/set"), sample, qos=0)
    await client.publish(device.topic("metric/set"), sample, qos=1)
    assert await point(emu, post, "T", {"Device": device.id}, "count") == 3


async def test_a_buffered_sample_is_read_back_at_once(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    for value in (1, 3):
        sample = {"metric": "T", "value": value, "dimensions": DIMENSIONS, "buffer": {"elapsed": 3600}}
        await client.publish(device.rule("metric/set"), json.dumps(sample), qos=1)
    assert await point(emu, post, "T", {"Device": device.id}, "sum") == 4


async def test_a_metric_is_asked_for_and_answered_with_a_bare_number(device: Device, client: aiomqtt.Client) -> None:
    for value in (1, 2.5):
        await client.publish(device.rule("metric/set"), json.dumps({"metric": "T", "value": value}), qos=1)
    body = {"metric": "T", "dimensions": {}, "period": 300, "statistic": "sum"}
    assert await asked(client, device, "metric/get/100", body) == b"3.5"
    assert await asked(client, device, "metric/get/101", body | {"statistic": "count"}) == b"2"


async def test_the_agents_dimensions_of_a_request_are_filled_in(device: Device, client: aiomqtt.Client) -> None:
    sample = {"metric": "T", "value": 4.25, "dimensions": [{"Device": "${deviceId}"}]}
    await client.publish(device.rule("metric/set"), json.dumps(sample), qos=1)
    body = {"metric": "T", "dimensions": {"Device": "${deviceId}"}, "period": 300, "statistic": "avg"}
    assert await asked(client, device, "metric/get/100", body) == b"4.25"


async def test_a_metric_without_samples_has_no_value(device: Device, client: aiomqtt.Client) -> None:
    assert await asked(client, device, "metric/get/100", {"metric": "none"}) == b""


@each_row_after_reset(
    "value, type, bare",
    [
        (3.0, "number", b"3.0"),
        (3, "number", b"3"),
        ("warm", "string", b"warm"),
        ("4.2", "string", b"4.2"),
        (True, "boolean", b"true"),
        (False, "boolean", b"false"),
        # As the agent sends a boolean.
        (1.0, "boolean", b"true"),
        (0.0, "boolean", b"false"),
        ({"a": [1]}, "object", b'{"a":[1]}'),
    ],
)
async def test_a_store_is_set_and_got_as_a_bare_value(fleet: Fleet, value: object, type: str, bare: bytes) -> None:
    item = {"key": "counter", "value": value, "type": type}
    async with connected(fleet) as (device, client):
        await client.publish(device.rule("store/set"), json.dumps(item), qos=1)
        assert await asked(client, device, "store/get/101", {"key": "counter"}) == bare


async def test_a_store_set_by_mqtt_is_read_by_rest(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    await client.publish(device.rule("store/set"), '{"key":"counter","value":3.000000,"type":"number"}', qos=1)
    item = await store(emu, post, "counter")
    assert (item["value"], item["type"], item["deviceId"]) == (3.0, "number", device.id)


async def test_a_store_item_ends_when_the_device_says(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    expires = emu.cloud.now() + 60_000
    await client.publish(device.rule("store/set"), json.dumps({"key": "a", "value": 1, "expires": expires}), qos=1)
    assert await asked(client, device, "store/get/1", {"key": "a"}) == b"1"
    emu.cloud.clock = lambda: expires / 1000 + 2
    assert await asked(client, device, "store/get/2", {"key": "a"}) == b""


async def test_a_store_that_is_not_there_has_no_value(device: Device, client: aiomqtt.Client) -> None:
    assert await asked(client, device, "store/get/101", {"key": "none"}) == b""


async def test_rules_of_a_model_make_samples_of_what_the_device_stores(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    rule = {"namespace": "Embedthis/Device", "fields": [{"Speed": "value"}], "dimensions": [{"Device": "deviceId"}]}
    emu.cloud.models.schema["process"]["Store"]["metrics"] = [rule]
    await client.publish(device.rule("store/set"), '{"key":"speed","value":9,"type":"number"}', qos=1)
    assert await point(emu, post, "Speed", {"Device": device.id}) == 9


async def test_a_ping_is_a_contact_and_is_answered_where_it_is_numbered(
    emu: Emulator, device: Device, client: aiomqtt.Client
) -> None:
    emu.cloud.clock = lambda: 2_000_000_000
    await client.publish(device.topic("test/ping"), qos=1)
    record = emu.cloud.device(device.id)
    assert record is not None
    assert record["accessed"] == "2033-05-18T03:33:20.000Z"
    assert await asked(client, device, "test/ping/100") == b"pinged"


async def test_messages_are_noted(emu: Emulator, device: Device, client: aiomqtt.Client) -> None:
    await client.publish(device.rule("store/set"), b"{}", qos=1)
    assert list(emu.messages) == [(device.id, device.rule("store/set"), b"{}")]


@each_row(
    "operation, payload, why",
    [
        ("metric/set", b"no JSON", "Body is not valid JSON"),
        ("metric/set", b"\xff\xfe", "Body is not valid JSON"),
        ("metric/set", b"[1]", "Body must be a JSON object"),
        ("metric/set", b"", "Missing metric"),
        ("metric/set", b'{"metric":"T"}', "Missing value"),
        ("metric/set", b'{"metric":"T","value":"4"}', "value must be of type number"),
        ("metric/set", b'{"metric":"T","value":true}', "value must be of type number"),
        ("metric/set", b'{"metric":"T","value":1e300}', "not a finite number below 2"),
        ("metric/set", b'{"metric":4,"value":4}', "metric must be of type string"),
        ("metric/set", b'{"metric":"a#b","value":4}', "'#'"),
        ("metric/set", b'{"metric":"T","value":4,"dimensions":{}}', "dimensions must be of type array"),
        ("metric/set", b'{"metric":"T","value":4,"dimensions":[4]}', "dimensions must be a list of objects"),
        ("metric/set", b'{"metric":"T","value":4,"buffer":{"elapsed":"1"}}', "buffer"),
        ("metric/get/1", b'{"metric":"T","statistic":"most"}', "statistic 'most' is unknown"),
        ("store/set", b'{"key":"a"}', "Missing value"),
        ("store/set", b'{"value":1}', "Missing key"),
        ("store/set", b'{"key":"a","value":1,"expires":1e300}', "expires"),
        ("store/get/1", b"{}", "Missing key"),
        ("db/syncToDynamo", b'{"seq":1}', "changes must be of type array"),
        ("db/syncDown", b"{}", "timestamp must be of type string"),
        ("db/syncDown", b'{"timestamp":"soon"}', "soon"),
        ("no/such", b"{}", "no such operation"),
        ("nothing", b"{}", "no such operation"),
    ],
)
async def test_what_cannot_be_carried_out_is_logged_and_acknowledged(
    device: Device, client: aiomqtt.Client, caplog: pytest.LogCaptureFixture, operation: str, payload: bytes, why: str
) -> None:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "ioto_async.emulator"):
        await client.publish(device.topic(operation), payload, qos=1)
        # It was nothing to the connection either, and to the messages around it.
        assert await asked(client, device, "test/ping/1") == b"pinged"
    (record,) = caplog.records
    assert why in record.getMessage()


# Who may do what --------------------------------------------------------------------------------------------------


async def test_the_address_of_the_broker_is_in_the_reply_of_provision_and_in_info(
    emu: Emulator, device: Device
) -> None:
    assert (device.host, device.port) == (emu.mqtt_host, emu.mqtt_port) == ("localhost", emu.info()["mqtt_port"])


@each_row("offered, chosen", [(["x-amzn-mqtt-ca"], "x-amzn-mqtt-ca"), (["mqtt"], "mqtt"), ([], None), (["h2"], None)])
async def test_alpn_is_that_of_aws_and_no_duty(device: Device, offered: list[str], chosen: str | None) -> None:
    _, writer = await asyncio.open_connection(device.host, device.port, ssl=device.context(*offered))
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
    writer.transport.abort()


async def test_no_certificate_no_connection(emu: Emulator, device: Device) -> None:
    assert await is_refused(device, device.port, ssl.create_default_context(cafile=emu.ca))
    assert not await is_refused(device, device.port, device.context())


async def test_a_certificate_of_another_authority_is_refused(
    emu: Emulator, device: Device, tmp_path: Path, post: Post
) -> None:
    async with Emulator() as other, aiohttp.ClientSession() as session:
        theirs = await Fleet(other, Post(other, session), tmp_path)("DEV0000002")
    context = ssl.create_default_context(cafile=emu.ca)
    context.load_cert_chain(theirs.pem)
    assert await is_refused(device, device.port, context)


@each_row_after_reset("identifier", ["DEV0000002", "DEV0000009", "Ω"])
async def test_a_client_id_that_is_not_that_of_the_certificate_is_refused(fleet: Fleet, identifier: str) -> None:
    device, _ = await fleet(), await fleet("DEV0000002")
    with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
        async with device.client(identifier=identifier):
            pass


async def test_a_device_is_let_in_again_with_the_certificate_of_its_new_claim_alone(
    emu: Emulator, fleet: Fleet, device: Device
) -> None:
    old = device.context()
    emu.cloud.release_device(device.id)
    with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
        async with device.client(tls_context=old):
            pass
    emu.cloud.claim_device(device.id)
    with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
        async with device.client(tls_context=old):
            pass
    again = await fleet.provision(device.id)
    with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
        async with device.client(tls_context=old):
            pass
    async with again.client():
        pass


@each_row_after_reset(
    "topic",
    [
        "ioto/service/DEV0000002/metric/set",
        RULE + "ioto/service/DEV0000002/metric/set",
        "$aws/rules/Other/ioto/service/DEV0000001/metric/set",
        "ioto/service/DEV0000001",
        "ioto/device/DEV0000001/provision/release",
        "ioto/account/all/sync/UPSERT",
        "$aws/things/DEV0000001/shadow/update",
        "$aws/things/DEV0000001/jobs/get",
        "$SYS/broker",
        "x",
    ],
)
async def test_a_message_to_a_topic_of_another_ends_the_connection(emu: Emulator, fleet: Fleet, topic: str) -> None:
    await fleet("DEV0000002")
    async with connected(fleet) as (_, client):
        await client.publish(topic, json.dumps({"metric": "T", "value": 1}), qos=0)
        assert await ended(client)
    assert not emu.messages


async def test_a_packet_of_128_kib_passes_and_a_longer_one_ends_the_connection(
    emu: Emulator, device: Device, client: aiomqtt.Client
) -> None:
    topic = device.topic("test/ping")
    # The topic has a length, and the packet an identifier.
    most = 128 * 1024 - len(topic) - 4
    await client.publish(topic, b"x" * most, qos=1)
    assert len(emu.messages) == 1
    # With QoS 0 there is no identifier.
    await client.publish(topic, b"x" * (most + 2), qos=0)
    await client.publish(topic, b"x" * (most + 3), qos=0)
    assert await ended(client)
    assert len(emu.messages) == 2


async def test_a_message_that_is_to_be_retained_is_carried_out(
    emu: Emulator, device: Device, client: aiomqtt.Client
) -> None:
    await client.publish(device.topic("test/ping"), b"", qos=1, retain=True)
    assert await asked(client, device, "test/ping/1") == b"pinged"
    assert len(emu.messages) == 2


@each_row(
    "filter",
    [
        *("#", "ioto/#", "ioto/device/+/#", "ioto/device/DEV0000002/#", "ioto/service/DEV0000002/#"),
        *("ioto/account/other/#", "$aws/rules/#", "$aws/things/DEV0000001/shadow/get/accepted"),
        *("$aws/things/DEV0000001/jobs/notify", "$aws/events/presence/connected/DEV0000001"),
    ],
)
async def test_a_filter_of_another_is_refused_and_the_connection_stays(
    device: Device, client: aiomqtt.Client, filter: str
) -> None:
    (code,) = await client.subscribe(filter, qos=1)
    assert getattr(code, "value", code) == 0x80
    assert await asked(client, device, "test/ping/1") == b"pinged"


async def test_the_agents_filters_are_granted(emu: Emulator, device: Device) -> None:
    async with device.client() as client:
        for filter in (device.mine, "ioto/account/all/#", f"ioto/account/{emu.account_id}/#"):
            (code,) = await client.subscribe(filter, qos=1)
            assert getattr(code, "value", code) == 1


async def test_a_second_connection_with_the_client_id_ends_the_first(device: Device, client: aiomqtt.Client) -> None:
    async with device.client() as second:
        assert await ended(client)
        await second.subscribe(device.mine, qos=1)
        assert await asked(second, device, "test/ping/1") == b"pinged"


async def test_devices_do_not_hear_each_other(emu: Emulator, fleet: Fleet, client: aiomqtt.Client) -> None:
    other = await fleet("DEV0000002")
    async with other.client() as theirs:
        await theirs.subscribe(other.mine, qos=1)
        assert await asked(theirs, other, "test/ping/7") == b"pinged"
        emu.cloud.throttle_device("DEV0000001")
        assert (await received(client))[0] == "ioto/device/DEV0000001/mqtt/throttle"


async def test_what_is_for_a_client_that_keeps_its_session_waits_for_it(emu: Emulator, device: Device) -> None:
    async with device.client(clean_session=False) as client:
        await client.subscribe(device.mine, qos=1)
    for _ in range(3):
        emu.cloud.throttle_device(device.id)
    async with device.client(clean_session=False) as client:
        topics = [(await received(client))[0] for _ in range(3)]
    assert topics == [f"ioto/device/{device.id}/mqtt/throttle"] * 3


async def test_what_is_for_a_client_that_keeps_no_session_is_gone(emu: Emulator, device: Device) -> None:
    async with device.client() as client:
        await client.subscribe(device.mine, qos=1)
    emu.cloud.throttle_device(device.id)
    async with device.client() as client:
        await client.subscribe(device.mine, qos=1)
        assert await asked(client, device, "test/ping/1") == b"pinged"


async def test_the_will_of_a_client_that_is_lost_is_carried_out(
    emu: Emulator, post: Post, fleet: Fleet, device: Device
) -> None:
    will = aiomqtt.Will(device.topic("store/set"), '{"key":"state","value":"lost"}', qos=1)
    async with device.client(will=will) as client:
        await client.subscribe(device.mine, qos=1)
        emu.faults.add(Fault("mqtt/test/ping", reset="before"))
        await client.publish(device.topic("test/ping"), qos=0)
        assert await ended(client)
    async with device.client() as client:
        await client.subscribe(device.mine, qos=1)
        assert await asked(client, device, "store/get/1", {"key": "state"}) == b"lost"


async def test_the_will_of_a_client_that_says_farewell_is_dropped(emu: Emulator, device: Device) -> None:
    will = aiomqtt.Will(device.topic("store/set"), '{"key":"state","value":"lost"}', qos=1)
    async with device.client(will=will):
        pass
    async with device.client() as client:
        await client.subscribe(device.mine, qos=1)
        assert await asked(client, device, "store/get/1", {"key": "state"}) == b""


@each_row(
    "will",
    [
        aiomqtt.Will("ioto/service/DEV0000002/test/ping", b"", qos=1),
        aiomqtt.Will("ioto/service/DEV0000001/test/ping", b"", qos=2),
    ],
)
async def test_a_will_that_may_not_be_is_refused(device: Device, will: aiomqtt.Will) -> None:
    with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
        async with device.client(will=will):
            pass


async def test_mqtt_5_is_refused(device: Device) -> None:
    with pytest.raises(aiomqtt.MqttError, match="Unsupported protocol version"):
        async with device.client(protocol=aiomqtt.ProtocolVersion.V5):
            pass


# Release, throttle, sync ----------------------------------------------------------------------------------------------


async def test_a_released_device_is_told_and_then_disconnected(
    post: Post, device: Device, client: aiomqtt.Client
) -> None:
    before = int(time.time() * 1000)
    assert (await post("/tok/device/release", {"id": device.id})).status == 200
    topic, payload = await received(client)
    assert topic == f"ioto/device/{device.id}/provision/release"
    assert before <= int(payload) <= int(time.time() * 1000)
    assert await ended(client)
    with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
        async with device.client():
            pass


async def test_a_reset_ends_all_connections(emu: Emulator, client: aiomqtt.Client) -> None:
    emu.reset()
    assert await ended(client)
    assert not emu.messages


@each_row("close", [True, False])
async def test_a_device_is_told_to_slow_down_or_to_go(emu: Emulator, client: aiomqtt.Client, close: bool) -> None:
    before = int(time.time() * 1000)
    emu.cloud.throttle_device("DEV0000001", close=close)
    topic, payload = await received(client)
    message = json.loads(payload)
    assert topic == "ioto/device/DEV0000001/mqtt/throttle"
    assert message.pop("timestamp") >= before
    assert message == {"close": close}


async def sync_up(client: aiomqtt.Client, device: Device, *changes: dict[str, Any], seq: int = 7) -> Any:
    """Send changes, and return what is acknowledged and what comes before that."""
    await client.publish(device.rule("db/syncToDynamo"), json.dumps({"seq": seq, "changes": changes}), qos=1)
    others: list[tuple[str, Any]] = []
    while True:
        topic, payload = await received(client)
        if topic == f"ioto/device/{device.id}/sync/SYNC":
            return json.loads(payload), others
        others.append((topic, json.loads(payload)))


COUNTER = {"key": "counter", "value": 3, "type": "number", "_type": "Store", "updated": "2025-01-01T00:00:01.000Z"}


async def test_changes_on_the_device_are_stored_and_acknowledged(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    state = {"id": device.id, "connection": "online", "_type": "Device", "updated": "2025-01-01T00:00:01.000Z"}
    ack, others = await sync_up(
        client,
        device,
        {"cmd": "update", "key": "s#counter", "item": COUNTER},
        {"cmd": "upsert", "key": f"d#{device.id}", "item": state},
    )
    assert (ack["seq"], ack["keys"], others) == (7, ["s#counter", f"d#{device.id}"], [])
    assert ack["updated"].endswith("Z")
    item = await store(emu, post, "counter")
    assert (item["value"], item["updated"]) == (3, "2025-01-01T00:00:01.000Z")
    body = {"_type": "Device", "accountId": emu.account_id, "id": device.id}
    assert (await post("/tok/generic/get", body)).json["connection"] == "online"


async def test_rules_of_a_model_make_samples_of_what_changes_on_the_device(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    item = {"value": 21, "_type": "Service", "updated": "2025-01-01T00:00:01.000Z"}
    ack, _ = await sync_up(client, device, {"cmd": "update", "key": "service#", "item": item})
    assert ack["keys"] == ["service#"]
    assert await point(emu, post, "value", {"Device": device.id}) == 21


async def test_a_removal_on_the_device_is_carried_out(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    await sync_up(client, device, {"cmd": "create", "key": "s#counter", "item": COUNTER})
    item = {"sk": "s#counter", "updated": "2025-01-01T00:00:02.000Z"}
    ack, _ = await sync_up(client, device, {"cmd": "remove", "key": "s#counter", "item": item}, seq=8)
    assert (ack["seq"], ack["keys"]) == (8, ["s#counter"])
    assert await store(emu, post, "counter") == {}


async def test_a_change_that_is_older_than_the_cloud_has_is_dropped_and_the_newer_item_sent_back(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    await write(emu, post, "update", "Store", device.id, {"key": "counter", "value": 9, "type": "number"})
    ack, others = await sync_up(client, device, {"cmd": "update", "key": "s#counter", "item": COUNTER})
    assert ack["keys"] == ["s#counter"]
    ((topic, item),) = others
    assert topic == f"ioto/device/{device.id}/sync/UPSERT"
    assert (item["sk"], item["value"], item["_type"]) == ("s#counter", 9, "Store")


@each_row_after_reset(
    "change",
    [
        {"cmd": "update", "key": "q#counter", "item": COUNTER},
        {"cmd": "update", "key": "log#1", "item": COUNTER},
        {"cmd": "forget", "key": "s#a", "item": COUNTER},
        {"cmd": "update", "key": "s#a", "item": 4},
        {"cmd": "update", "key": 4, "item": COUNTER},
        {"cmd": "update", "key": "d#DEV0000002", "item": {"_type": "Device"}},
        {"cmd": "update", "key": "s#a", "item": {"_type": "Store", "updated": "soon"}},
        {"cmd": "update", "key": "l#1", "item": {"_type": "Log", "message": 4}},
        4,
    ],
)
async def test_a_change_that_cannot_be_applied_is_not_acknowledged_and_the_others_are(
    fleet: Fleet, caplog: pytest.LogCaptureFixture, change: Any
) -> None:
    async with connected(fleet) as (device, client):
        with caplog.at_level(logging.WARNING, "ioto_async.emulator"):
            ack, _ = await sync_up(client, device, change, {"cmd": "update", "key": "s#counter", "item": COUNTER})
    assert ack["keys"] == ["s#counter"]
    assert "a change is not applied" in caplog.text


async def test_items_that_only_travel_down_are_acknowledged_and_dropped_when_a_device_sends_them_up(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The agent does so after each provisioning, again and again until they are acknowledged."""
    record = await write(emu, post, "create", "Command", device.id, {"command": "reboot"})
    _, payload = await received(client)
    item = json.loads(payload)
    key, late = item["sk"], "2040-01-01T00:00:00.000Z"
    broadcast = {"_type": "Broadcast", "key": "news", "value": 1, "type": "number"}
    with caplog.at_level(logging.INFO, "ioto_async.emulator"):
        ack, others = await sync_up(
            client,
            device,
            {"cmd": "upsert", "key": key, "item": item | {"command": "format", "updated": late}},
            {"cmd": "remove", "key": key, "item": item},
            {"cmd": "create", "key": "bcast#news", "item": broadcast},
        )
    assert (ack["keys"], others) == ([key, key, "bcast#news"], [])
    assert caplog.messages == []
    body = {"_type": "Command", "accountId": emu.account_id, "deviceId": device.id, "id": record["id"]}
    assert (await post("/tok/generic/get", body)).json == record


async def test_what_rest_writes_travels_down_to_the_connected_device(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    record = await write(emu, post, "create", "Command", device.id, {"command": "reboot", "args": {"in": 5}})
    topic, payload = await received(client)
    item = json.loads(payload)
    assert topic == f"ioto/device/{device.id}/sync/UPSERT"
    assert item.pop("sk") == f"command#{emu.account_id}#{device.id}#{record['id']}"
    assert item == record
    assert (item["command"], item["_type"]) == ("reboot", "Command")
    emu.cloud.clock = lambda: 2_000_000_000
    await write(emu, post, "remove", "Command", device.id, {"id": record["id"]})
    topic, payload = await received(client)
    assert topic == f"ioto/device/{device.id}/sync/REMOVE"
    removed = json.loads(payload)
    assert removed["sk"].endswith(record["id"])
    # Later than what the device has, which it would keep otherwise.
    assert removed["updated"] == "2033-05-18T03:33:20.000Z"


async def test_a_command_by_an_automation_reaches_the_device(
    post: Post, device: Device, client: aiomqtt.Client
) -> None:
    context = {"deviceId": device.id, "program": "date", "parameters": "-u"}
    assert (await post("/tok/action/invoke", {"name": "DeviceCommand", "context": context})).json.get("error") is None
    item = json.loads((await received(client))[1])
    assert (item["command"], item["args"]) == ("custom", {"program": "date", "parameters": "-u"})


async def test_what_goes_up_alone_does_not_travel_down(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    await write(emu, post, "create", "Store", device.id, {"key": "a", "value": 1, "type": "number"})
    assert await asked(client, device, "test/ping/1") == b"pinged"


async def test_a_device_does_not_get_its_own_changes_back(device: Device, client: aiomqtt.Client) -> None:
    pin = {"name": "led", "value": 1, "_type": "Pin", "updated": "2025-01-01T00:00:01.000Z"}
    ack, others = await sync_up(client, device, {"cmd": "update", "key": "pin#led", "item": pin})
    assert (ack["keys"], others) == (["pin#led"], [])


async def test_an_item_of_no_device_reaches_all_devices_of_the_account_and_one_of_nobody_all(
    emu: Emulator, post: Post, device: Device
) -> None:
    account = {"pk": {"type": "string", "value": "a#${accountId}"}, "sk": {"type": "string", "value": "a#"}}
    everybody = {"pk": {"type": "string", "value": "e#"}, "sk": {"type": "string", "value": "e#"}}
    fields = {"accountId": {"type": "string"}, "value": {"type": "number"}}
    emu.cloud.models.add_model("Policy", account | fields, {"sync": "down"})
    emu.cloud.models.add_model("News", everybody | {"value": {"type": "number"}}, {"sync": "down"})
    async with device.client() as client:
        await client.subscribe("ioto/account/all/#", qos=1)
        await client.subscribe(f"ioto/account/{emu.account_id}/#", qos=1)
        for model in ("Policy", "News"):
            await write(emu, post, "create", model, device.id, {"value": 1})
        topics = [(await received(client))[0] for _ in range(2)]
    assert topics == [f"ioto/account/{emu.account_id}/sync/UPSERT", "ioto/account/all/sync/UPSERT"]


async def test_a_sync_down_of_a_model_that_is_keyed_by_account_brings_nothing_of_another_device(
    emu: Emulator, post: Post, fleet: Fleet, device: Device, client: aiomqtt.Client
) -> None:
    other = await fleet("DEV0000002")
    keys = {"pk": {"type": "string", "value": "t#${accountId}"}, "sk": {"type": "string", "value": "t#${id}"}}
    fields = {name: {"type": "string"} for name in ("accountId", "deviceId", "id")}
    emu.cloud.models.add_model("Task", keys | fields, {"sync": "down"})
    for id_, device_id in (("1", device.id), ("2", other.id), ("3", None)):
        emu.cloud.models.for_devices().create("Task", {"accountId": emu.account_id, "deviceId": device_id, "id": id_})
    await client.publish(device.rule("db/syncDown"), '{"timestamp":"1970-01-01T00:00:00.000Z"}', qos=1)
    items = [json.loads((await received(client))[1]) for _ in range(3)]
    assert [item.get("id") for item in items] == ["1", "3", None]


async def test_a_sync_down_of_more_than_may_be_unacknowledged_brings_all(
    emu: Emulator, device: Device, client: aiomqtt.Client
) -> None:
    for number in range(1500):
        members = {"accountId": emu.account_id, "deviceId": device.id, "key": str(number), "value": 1, "type": "number"}
        emu.cloud.models.for_devices().create("Broadcast", members)
    await client.publish(device.rule("db/syncDown"), '{"timestamp":"1970-01-01T00:00:00.000Z"}', qos=1)
    topics = [(await received(client))[0] for _ in range(1501)]
    assert topics == [f"ioto/device/{device.id}/sync/UPSERT"] * 1500 + [f"ioto/device/{device.id}/sync/SYNCDOWN"]


async def test_a_sync_down_brings_what_changed_since_and_then_says_so(
    emu: Emulator, post: Post, fleet: Fleet, device: Device, client: aiomqtt.Client
) -> None:
    other = await fleet("DEV0000002")
    for key, now in (("old", 1_800_000_000), ("new", 1_800_000_001)):
        emu.cloud.clock = partial(float, now)
        await write(emu, post, "create", "Broadcast", device.id, {"key": key, "value": 1, "type": "number"})
        assert json.loads((await received(client))[1])["key"] == key
    await write(emu, post, "create", "Broadcast", other.id, {"key": "theirs", "value": 3, "type": "number"})
    await client.publish(device.rule("db/syncDown"), '{"timestamp":"2027-01-15T08:00:00.000Z"}', qos=1)
    topic, payload = await received(client)
    item = json.loads(payload)
    assert topic == f"ioto/device/{device.id}/sync/UPSERT"
    assert (item["key"], item["sk"]) == ("new", "bcast#new")
    assert await received(client) == (
        f"ioto/device/{device.id}/sync/SYNCDOWN",
        b'{"updated":"2027-01-15T08:00:01.000Z"}',
    )


# Faults and ends ------------------------------------------------------------------------------------------------------


@each_row_after_reset("reset, stored", [("before", None), ("after", 1)])
async def test_a_fault_cuts_the_connection_before_or_after_the_message_is_stored(
    emu: Emulator, post: Post, fleet: Fleet, reset: Any, stored: int | None
) -> None:
    async with connected(fleet) as (device, client):
        emu.faults.add(Fault("mqtt/metric/set", reset=reset))
        await client.publish(device.rule("metric/set"), '{"metric":"T","value":1}', qos=0)
        assert await ended(client)
    assert await point(emu, post, "T", {}, "sum") == stored


async def test_a_fault_holds_a_message_back_and_all_behind_it(
    emu: Emulator, device: Device, client: aiomqtt.Client
) -> None:
    emu.faults.add(Fault("mqtt/store/set", delay=0.05))
    await client.publish(device.rule("store/set"), '{"key":"a","value":1}', qos=0)
    assert await asked(client, device, "store/get/1", {"key": "a"}) == b"1"


@each_row("throttle", ["slow", "close"])
async def test_a_fault_throttles_a_device_after_its_message(
    emu: Emulator, device: Device, client: aiomqtt.Client, throttle: Any
) -> None:
    emu.faults.add(Fault("mqtt/metric/set", throttle=throttle))
    await client.publish(device.rule("metric/set"), '{"metric":"T","value":1}', qos=1)
    topic, payload = await received(client)
    assert topic == f"ioto/device/{device.id}/mqtt/throttle"
    assert json.loads(payload)["close"] == (throttle == "close")


async def test_a_fault_refuses_a_connection(emu: Emulator, device: Device) -> None:
    emu.faults.add(Fault("mqtt/connect", status=3))
    with pytest.raises(aiomqtt.MqttError, match="unavailable"):
        async with device.client():
            pass
    async with device.client():
        pass


async def test_a_fault_of_any_request_leaves_mqtt_alone(
    emu: Emulator, post: Post, device: Device, client: aiomqtt.Client
) -> None:
    emu.faults.add(Fault(status=503))
    await client.publish(device.rule("store/set"), '{"key":"a","value":1}', qos=1)
    assert (await post("/tok/test/ping")).status == 503


async def test_what_cannot_be_stored_is_not_acknowledged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    db = tmp_path / "cloud.db"
    async with Emulator(db=db) as emu, aiohttp.ClientSession() as session:
        post = Post(emu, session)
        device = await Fleet(emu, post, tmp_path)()
        emu.cloud.metrics._db.execute("PRAGMA busy_timeout = 0")
        async with device.client() as client:
            await client.publish(device.rule("metric/set"), '{"metric":"T","value":1,"buffer":{"elapsed":60}}', qos=1)
            with closing(sqlite3.connect(db, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                sample = '{"metric":"T","value":2,"buffer":{"elapsed":60}}'
                await client.publish(device.rule("metric/set"), sample, qos=0)
                assert await ended(client)
        assert "cannot be stored" in caplog.text
        assert await point(emu, post, "T", {}, "sum") == 1


async def test_samples_that_a_buffer_holds_outlast_a_process_that_ends_without_a_word(tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    async with Emulator(db=db) as emu, aiohttp.ClientSession() as session:
        device = await Fleet(emu, Post(emu, session), tmp_path)()
        async with device.client() as client:
            for value in (1, 2):
                sample = {"metric": "T", "value": value, "buffer": {"elapsed": 3600}}
                await client.publish(device.rule("metric/set"), json.dumps(sample), qos=1)
        # What a killed process leaves.
        for file in tmp_path.glob("cloud.db*"):
            (tmp_path / f"left-{file.name}").write_bytes(file.read_bytes())
    async with Emulator(db=tmp_path / "left-cloud.db") as emu, aiohttp.ClientSession() as session:
        assert await point(emu, Post(emu, session), "T", {}, "sum") == 3


async def test_a_device_comes_back_to_a_cloud_that_was_started_again(tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    async with Emulator(db=db) as emu, aiohttp.ClientSession() as session:
        device = await Fleet(emu, Post(emu, session), tmp_path)()
        port = emu.mqtt_port
    async with Emulator(db=db, mqtt_port=port) as emu, device.client() as client:
        await client.subscribe(device.mine, qos=1)
        assert await asked(client, device, "test/ping/1") == b"pinged"


async def test_each_cloud_has_a_broker_and_an_authority_of_its_own(tmp_path: Path) -> None:
    async with Emulator(clouds=2) as emu, aiohttp.ClientSession() as session:
        device = await Fleet(emu, Post(emu, session), tmp_path)()
        second = emu.clouds[1]
        assert second.mqtt_port != emu.mqtt_port
        assert await is_refused(device, second.mqtt_port, device.context())


async def test_without_mqtt_a_device_is_told_an_address_that_leads_nowhere(tmp_path: Path) -> None:
    async with Emulator(mqtt=False) as emu, aiohttp.ClientSession() as session:
        device = await Fleet(emu, Post(emu, session), tmp_path)()
        assert (device.host, device.port) == ("mqtt.ioto.test", 443)
        assert emu.info()["mqtt_port"] is None
        emu.cloud.throttle_device(device.id)
        emu.cloud.release_device(device.id)
        with pytest.raises(RuntimeError, match="no MQTT"):
            _ = emu.mqtt_port


async def test_a_thread_serves_devices_and_reaches_them_from_another(tmp_path: Path) -> None:
    with EmulatorThread() as emu:
        emu.cloud.register_device("DEV0000001")
        emu.cloud.claim_device("DEV0000001")
        async with aiohttp.ClientSession() as session:
            headers = {"Authorization": emu.token}
            body = {"id": "DEV0000001"}
            async with session.post(f"{emu.api}/tok/device/provision", json=body, headers=headers) as response:
                reply = await response.json()
        pem = tmp_path / "device.pem"
        pem.write_text(reply["certificate"] + reply["key"])
        device = Device("DEV0000001", reply["endpoint"], reply["port"], pem, emu.ca)
        async with device.client() as client:
            await client.subscribe(device.mine, qos=1)
            emu.cloud.throttle_device(device.id)
            assert (await received(client))[0].endswith("mqtt/throttle")
            emu.reset()
            assert await ended(client)
