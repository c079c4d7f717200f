"""The command-line clients of mosquitto as devices of the embedded cloud."""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE, Process

import pytest

from ioto_async.emulator import Emulator
from tests.emulator.conftest import Post
from tests.emulator.mqtt_devices import Device
from tests.rawserver import GUARD

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("mosquitto_pub", "mosquitto_sub", "mosquitto_rr", "stdbuf"))),
    reason="the clients of mosquitto are not installed (Debian: mosquitto-clients)",
)


async def begin(device: Device, command: str, *arguments: str, alpn: bool = True) -> Process:
    address = ("-h", device.host, "-p", str(device.port), "-i", device.id, "-q", "1")
    tls = ("--cafile", device.ca, "--cert", str(device.pem), "--key", str(device.pem))
    protocol = ("--tls-alpn", "x-amzn-mqtt-ca") if alpn else ()
    # What they write comes line by line, also to a pipe; mosquitto_rr would speak MQTT 5 by itself.
    return await asyncio.create_subprocess_exec(
        *("stdbuf", "-oL", command, "-V", "mqttv311"),
        *address,
        *tls,
        *protocol,
        *arguments,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )


async def run(device: Device, command: str, *arguments: str, stdin: bytes = b"", alpn: bool = True) -> tuple[int, str]:
    """Run a client to its end, and return its exit status and what it wrote to stdout and stderr."""
    child = await begin(device, command, *arguments, alpn=alpn)
    async with asyncio.timeout(GUARD):
        stdout, stderr = await child.communicate(stdin)
    assert child.returncode is not None
    return child.returncode, (stdout + stderr).decode()


async def subscribed(device: Device, filter: str, *arguments: str) -> Process:
    """Run mosquitto_sub, once the cloud has its subscription."""
    child = await begin(device, "mosquitto_sub", "-d", "-t", filter, *arguments)
    assert child.stdout is not None
    async with asyncio.timeout(GUARD):
        while b"SUBACK" not in await child.stdout.readline():
            pass
    return child


async def total(emu: Emulator, post: Post, metric: str, statistic: str) -> object:
    item = {
        "namespace": "Embedthis/Device",
        "metric": metric,
        "dimensions": {"Device": "DEV0000001"},
        "statistic": statistic,
        "accumulate": True,
    }
    body = {"accountId": emu.account_id, "deviceId": "DEV0000001", "items": [item]}
    return (await post("/tok/metric/fetch", body)).json["data"][0]["points"][0]["value"]


@pytest.mark.parametrize("alpn", [True, False])
async def test_mosquitto_pub_sets_a_metric(emu: Emulator, post: Post, device: Device, alpn: bool) -> None:
    sample = '{"metric":"RANDOM","value":4.2,"dimensions":[{"Device":"${deviceId}"}],"buffer":{"elapsed":0}}'
    assert await run(device, "mosquitto_pub", "-t", device.rule("metric/set"), "-m", sample, alpn=alpn) == (0, "")
    assert await total(emu, post, "RANDOM", "avg") == 4.2


async def test_mosquitto_pub_sends_a_stream_of_samples(emu: Emulator, post: Post, device: Device) -> None:
    samples = [{"metric": "T", "value": value, "dimensions": [{"Device": "${deviceId}"}]} for value in range(1000)]
    lines = "\n".join(map(json.dumps, samples)).encode()
    assert await run(device, "mosquitto_pub", "-t", device.rule("metric/set"), "-l", stdin=lines) == (0, "")
    assert await total(emu, post, "T", "count") == 1000
    assert await total(emu, post, "T", "sum") == 499_500


async def test_mosquitto_rr_asks_for_a_metric_and_for_a_store(device: Device) -> None:
    for operation, payload in (
        ("metric/set", '{"metric":"T","value":2.5,"dimensions":[{}]}'),
        ("store/set", '{"key":"mode","value":"eco","type":"string"}'),
    ):
        assert await run(device, "mosquitto_pub", "-t", device.rule(operation), "-m", payload) == (0, "")
    for request, payload, reply in (
        ("metric/get/100", '{"metric":"T","dimensions":{},"period":300,"statistic":"avg"}', "2.5\n"),
        ("store/get/101", '{"key":"mode"}', "eco\n"),
        ("test/ping/102", "", "pinged\n"),
    ):
        topics = ("-t", device.topic(request), "-e", f"ioto/device/{device.id}/{request}")
        assert await run(device, "mosquitto_rr", *topics, "-m", payload, "-W", "10") == (0, reply)


async def test_mosquitto_sub_gets_what_rest_writes_and_the_release(emu: Emulator, post: Post, device: Device) -> None:
    child = await subscribed(device, device.mine, "-F", "%t %p", "-C", "2")
    body = {"_type": "Command", "accountId": emu.account_id, "deviceId": device.id, "command": "reboot"}
    assert (await post("/tok/generic/create", body)).status == 200
    assert (await post("/tok/device/release", {"id": device.id})).status == 200
    async with asyncio.timeout(GUARD):
        stdout, _ = await child.communicate()
    lines = [line.partition(" ") for line in stdout.decode().splitlines() if line.startswith("ioto/")]
    assert [topic for topic, _, _ in lines] == [
        f"ioto/device/{device.id}/sync/UPSERT",
        f"ioto/device/{device.id}/provision/release",
    ]
    assert json.loads(lines[0][2])["command"] == "reboot"
    assert lines[1][2].isdigit()


async def test_mosquitto_sub_gets_the_acknowledgement_of_a_sync(emu: Emulator, device: Device) -> None:
    item = {"key": "counter", "value": 3, "type": "number", "_type": "Store", "updated": "2025-01-01T00:00:01.000Z"}
    changes = {"seq": 7, "changes": [{"cmd": "update", "key": "s#counter", "item": item}]}
    topics = ("-t", device.rule("db/syncToDynamo"), "-e", f"ioto/device/{device.id}/sync/SYNC")
    status, stdout = await run(device, "mosquitto_rr", *topics, "-m", json.dumps(changes), "-W", "10")
    assert status == 0
    assert json.loads(stdout)["keys"] == ["s#counter"]


async def test_mosquitto_is_refused_what_is_not_the_devices(emu: Emulator, post: Post, device: Device) -> None:
    emu.cloud.register_device("DEV0000002")
    emu.cloud.claim_device("DEV0000002")
    foreign = "ioto/service/DEV0000002/metric/set"
    status, said = await run(device, "mosquitto_pub", "-t", foreign, "-m", '{"metric":"T","value":1}')
    assert status != 0, said
    status, said = await run(device, "mosquitto_sub", "-t", "ioto/device/DEV0000002/#", "-W", "5")
    assert "denied" in said
    status, said = await run(device, "mosquitto_pub", "-i", "DEV0000002", "-t", foreign, "-m", "")
    assert (status, "not authorised" in said) == (5, True)


async def test_mosquitto_says_that_mqtt_5_is_not_served(device: Device) -> None:
    topic = device.topic("test/ping")
    status, said = await run(device, "mosquitto_pub", "-V", "mqttv5", "-t", topic, "-n")
    assert (status, "Unsupported Protocol Version" in said) == (132, True)


async def test_mosquitto_gets_what_waited_for_its_session(emu: Emulator, device: Device) -> None:
    session = ("--disable-clean-session", "-t", device.mine)
    assert await run(device, "mosquitto_sub", *session, "-E") == (0, "")
    emu.cloud.throttle_device(device.id)
    status, said = await run(device, "mosquitto_sub", *session, "-F", "%t", "-C", "1")
    assert (status, said) == (0, f"ioto/device/{device.id}/mqtt/throttle\n")


async def test_mosquitto_gets_a_retained_message_until_it_is_ended(emu: Emulator, device: Device) -> None:
    topic, state = device.topic("store/set"), '{"key":"state","value":"on"}'
    assert await run(device, "mosquitto_pub", "-t", topic, "-r", "-m", state) == (0, "")
    got = await run(device, "mosquitto_sub", "-t", topic, "--retained-only", "-F", "%r %p", "-C", "1")
    assert got == (0, f"1 {state}\n")
    assert await run(device, "mosquitto_pub", "-t", topic, "-r", "-n") == (0, "")
    # With nothing to come it ends when it has its SUBACK.
    assert await run(device, "mosquitto_sub", "-t", topic, "-E") == (0, "")
    assert emu.cloud.retained.load(topic) is None


async def test_the_limits_of_aws_hold_for_mosquitto(device: Device) -> None:
    filters = [word for number in range(9) for word in ("-t", f"ioto/device/{device.id}/{number}")]
    assert await run(device, "mosquitto_sub", *filters[:-2], "-E") == (0, "")
    child = await begin(device, "mosquitto_sub", "-d", *filters)
    assert child.stdout is not None
    connects = 0
    async with asyncio.timeout(GUARD):
        # It connects again by itself.
        while connects < 2:
            connects += b"sending CONNECT" in await child.stdout.readline()
        child.terminate()
        await child.communicate()
    assert await run(device, "mosquitto_pub", "-t", device.topic("4/5/6/7/8"), "-m", "{}") == (0, "")
    status, _ = await run(device, "mosquitto_pub", "-t", device.topic("4/5/6/7/8/9"), "-m", "{}")
    assert status != 0


async def test_a_released_device_is_refused(emu: Emulator, device: Device) -> None:
    emu.cloud.release_device(device.id)
    status, said = await run(device, "mosquitto_pub", "-t", device.topic("test/ping"), "-n")
    assert (status, "not authorised" in said) == (5, True)
