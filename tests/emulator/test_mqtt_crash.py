"""The cloud is killed and started again in the middle of its traffic: what it acknowledged, it has and delivers."""

import asyncio
import json
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.rawserver import GUARD

from .mqtt_devices import RULE
from .mqtt_stream import Stream

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here"),
    # paho-mqtt leaves a socket open whose TLS handshake has failed, as it does when the broker is killed during it.
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
]

SAMPLES = 20_000
DEVICES = 10
KILLS = (3_000, 9_000, 15_000)
"""At how many acknowledged samples the cloud is killed."""


@attrs.define
class Child:
    """The cloud, in a process of its own that comes back at the same addresses."""

    db: Path
    process: "subprocess.Popen[str] | None" = None
    info: dict[str, Any] = attrs.Factory(dict)

    def start(self) -> None:
        ports = [str(self.info.get("mqtt_port", 0)), self.info.get("api", ":0").rpartition(":")[2]]
        command = [
            "-m",
            "ioto_async.cli",
            "emulator",
            "--db",
            str(self.db),
            "--mqtt-port",
            ports[0],
            "--port",
            ports[1],
        ]
        self.process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.info = json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@attrs.define
class Uploads:
    """Numbered samples on their way to the cloud: every number is a metric of its own."""

    waiting: deque[int] = attrs.Factory(lambda: deque(range(SAMPLES)))
    acknowledged: set[int] = attrs.Factory(set)
    on_acknowledged: Callable[[int], None] = lambda count: None

    def message(self, device_id: str, number: int) -> tuple[str, bytes]:
        # Every other sample is held by a buffer.
        buffer = {"elapsed": 3600} if number % 2 else {"elapsed": 0}
        sample = {"metric": f"n{number}", "value": number, "dimensions": [{}], "buffer": buffer}
        return f"{RULE}ioto/service/{device_id}/metric/set", json.dumps(sample).encode()

    def acknowledge(self, number: int) -> None:
        self.acknowledged.add(number)
        self.on_acknowledged(len(self.acknowledged))

    def _numbers(self) -> Iterator[int]:
        while self.waiting:
            yield self.waiting.popleft()

    async def stream(self, device_id: str, child: Child, context: ssl.SSLContext) -> None:
        """Send what waits, and put what was not acknowledged back."""
        stream = Stream(device_id, self._numbers(), lambda n: self.message(device_id, n), self.acknowledge)
        with suppress(ConnectionError):
            await stream.run("localhost", child.info["mqtt_port"], context)
        self.waiting.extend(stream.unacknowledged)


async def provisioned(session: aiohttp.ClientSession, info: dict[str, Any], id: str, folder: Path) -> ssl.SSLContext:
    async def post(path: str, body: object, token: str) -> Any:
        async with session.post(path, json=body, headers={"Authorization": token}) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    registration = {"id": id, "product": info["product_token"]}
    await post(f"{info['builder']}/device/register", registration, info["product_token"])
    await post(f"{info['api']}/tok/device/claim", {"id": id, "accountId": info["account_id"]}, info["token"])
    reply = await post(f"{info['api']}/tok/device/provision", {"id": id}, info["token"])
    pem = folder / f"{id}.pem"
    pem.write_text(reply["certificate"] + reply["key"])
    context = ssl.create_default_context(cafile=info["ca"])
    context.load_cert_chain(pem)
    return context


async def stored(
    session: aiohttp.ClientSession, info: dict[str, Any], device_id: str, count: int = SAMPLES
) -> dict[int, float]:
    """Which numbers the cloud has, and the average of what it has of each."""
    found: dict[int, float] = {}
    for begin in range(0, count, 1000):
        items = [
            {"namespace": "Embedthis/Device", "metric": f"n{number}", "statistic": "avg", "period": 3600}
            | {"accumulate": True}
            for number in range(begin, begin + 1000)
        ]
        body = {"accountId": info["account_id"], "deviceId": device_id, "items": items}
        url, headers = f"{info['api']}/tok/metric/fetch", {"Authorization": info["token"]}
        async with session.post(url, json=body, headers=headers) as response:
            data = (await response.json())["data"]
        found |= {
            int(each["metric"][1:]): each["points"][0]["value"]
            for each in data
            if each["points"] and each["points"][0]["count"]
        }
    return found


async def test_every_acknowledged_sample_is_in_the_cloud_however_often_it_is_killed(tmp_path: Path) -> None:
    child = Child(tmp_path / "cloud.db")
    uploads, kills = Uploads(), deque(KILLS)

    def kill(acknowledged: int) -> None:
        if kills and acknowledged >= kills[0]:
            kills.popleft()
            child.kill()

    uploads.on_acknowledged = kill
    try:
        child.start()
        # No connection of a cloud that was killed is used again.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            ids = [f"DEV{number:07}" for number in range(DEVICES)]
            contexts = {id: await provisioned(session, child.info, id, tmp_path) for id in ids}
            ends = 0
            while uploads.waiting:
                await asyncio.gather(*(uploads.stream(id, child, context) for id, context in contexts.items()))
                if uploads.waiting:
                    ends += 1
                    child.end()
                    # What was acknowledged before the end is there after it.
                    child.start()
                    before = set(uploads.acknowledged)
                    assert before - (await stored(session, child.info, ids[0])).keys() == set()
            assert ends == len(KILLS)
            child.end()
            child.start()
            assert uploads.acknowledged == set(range(SAMPLES))
            found = await stored(session, child.info, ids[0])
        assert found == {number: number for number in range(SAMPLES)}
    finally:
        child.end()


@attrs.define
class Agent:
    """A stock client that keeps its session, connects again by itself, and subscribes but once."""

    id: str
    acknowledged: set[int] = attrs.Factory(set)
    heard: list[str] = attrs.Factory(list)
    client: paho.Client = attrs.field(init=False)
    is_subscribed: threading.Event = attrs.Factory(threading.Event)

    def begin(self, info: dict[str, Any], context: ssl.SSLContext) -> None:
        client = self.client = paho.Client(
            CallbackAPIVersion.VERSION2, self.id, clean_session=False, protocol=paho.MQTTv311
        )
        numbers: dict[int, int] = {}
        client.tls_set_context(context)
        client.reconnect_delay_set(1, 1)
        client.on_subscribe = lambda *args: self.is_subscribed.set()
        client.on_publish = lambda client, data, packet_id, *args: self.acknowledged.add(numbers[packet_id])
        client.on_message = lambda client, data, message: self.heard.append(json.loads(message.payload)["command"])
        client.connect("localhost", info["mqtt_port"])
        client.subscribe(f"ioto/device/{self.id}/#", 1)
        client.loop_start()
        assert self.is_subscribed.wait(GUARD)
        for number in range(TWO_WAYS):
            sample = {"metric": f"n{number}", "value": number, "dimensions": [{}]}
            sent = client.publish(f"{RULE}ioto/service/{self.id}/metric/set", json.dumps(sample), 1)
            numbers[sent.mid] = number

    def end(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


TWO_WAYS = 2_000
"""Samples up; an eighth as many commands go down."""


async def test_what_is_queued_for_a_device_outlives_kills_in_the_middle_of_traffic_in_both_directions(
    tmp_path: Path,
) -> None:
    child, agent = Child(tmp_path / "cloud.db"), Agent("DEV0000001")
    asked: set[str] = set()
    choice = random.Random(15)
    kills = sorted(choice.sample(range(10, TWO_WAYS // 8 - 10), 6))

    async def command(session: aiohttp.ClientSession, name: str) -> bool:
        body = {"_type": "Command", "accountId": child.info["account_id"], "deviceId": agent.id, "command": name}
        headers = {"Authorization": child.info["token"]}
        try:
            async with session.post(f"{child.info['api']}/tok/generic/create", json=body, headers=headers) as response:
                assert response.status == 200, await response.text()
        except aiohttp.ClientError:
            return False
        asked.add(name)
        return True

    try:
        child.start()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            context = await provisioned(session, child.info, agent.id, tmp_path)
            await asyncio.to_thread(agent.begin, child.info, context)
            for number in range(TWO_WAYS // 8):
                if number in kills:
                    calls = [asyncio.ensure_future(command(session, f"c{number}-{each}")) for each in range(4)]
                    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                    child.kill()  # with some on their way
                    await asyncio.wait(calls)
                    child.end()
                    await asyncio.to_thread(child.start)
                assert await command(session, f"c{number}")
            async with asyncio.timeout(GUARD):
                while len(agent.acknowledged) < TWO_WAYS or asked - set(agent.heard):
                    await asyncio.sleep(0.1)
            found = await stored(session, child.info, agent.id, TWO_WAYS)
        assert found == {number: number for number in range(TWO_WAYS)}
        assert len(asked) >= TWO_WAYS // 8
        # The first that was heard of each came in the order in which they were asked for.
        order = list(dict.fromkeys(name for name in agent.heard if "-" not in name))
        assert order == [f"c{number}" for number in range(TWO_WAYS // 8)]
    finally:
        agent.end()
        child.end()
