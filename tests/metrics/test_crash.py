"""Streams to a cloud that is killed in the middle: what was acknowledged is there, and nothing is there twice."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from ioto_async import IotoClient, MetricQuery, Outcome, Sample, UnwrittenError, Writer
from ioto_async.mqtt import DeviceLink
from tests.rawserver import GUARD

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here"),
]

SAMPLES = 20_000
BITS = 50
"""Samples of a device: each is a power of two, so that a sum tells which of them it has, and doubles as well."""
DEVICES = [f"DEV{number:07}" for number in range(SAMPLES // BITS)]
KILLS = (4_000, 9_000, 14_000)
"""Outcomes after which the cloud is killed."""


class Cloud:
    """An embedded cloud in a process of its own, which begins again where it was killed."""

    def __init__(self, folder: Path) -> None:
        self._db = folder / "cloud.db"
        self._port = self._mqtt_port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.info: dict[str, Any] = {}

    def start(self) -> None:
        options = {"--db": self._db, "--port": self._port, "--mqtt-port": self._mqtt_port}
        words = [str(word) for option in options.items() for word in option]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ioto_async.cli", "emulator", *words], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.info = json.loads(self._process.stdout.readline())
        self._port, self._mqtt_port = int(self.info["api"].rpartition(":")[2]), self.info["mqtt_port"]

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with Cloud(tmp_path) as running:
        yield running


def client_of(cloud: Cloud) -> IotoClient:
    info = cloud.info
    return IotoClient(
        info["api"], token=info["token"], account_id=info["account_id"], builder=info["builder"], environ={}
    )


async def claimed(client: IotoClient, product: str, devices: list[str] = DEVICES) -> None:
    """Have the devices."""

    async def claim(id: str) -> None:
        await client.builder.device.register(id, product)
        await client.device.claim(id)

    run = client.bulk(claim, devices)
    async for _ in run:
        pass
    run.raise_for_failures()


class Ledger:
    """What was told of each sample; kills the cloud when enough was, and has it begin again.

    Attributes:
        bits: by status, the samples of each device.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._told = 0
        self._restarts: list[asyncio.Task[None]] = []
        self.bits: dict[str, dict[str, int]] = {status: dict.fromkeys(DEVICES, 0) for status in ("ok", "unknown")}
        self.bits["failed"] = dict.fromkeys(DEVICES, 0)

    def note(self, outcome: Outcome[Sample, None]) -> None:
        bit, device = int(outcome.item.value), str(outcome.item.dimensions["Device"])
        assert not any(bits[device] & bit for bits in self.bits.values()), "a sample has two outcomes"
        self.bits[outcome.status][device] |= bit
        self._told += 1
        if self._told in KILLS:
            self._cloud.kill()
            self._restarts.append(asyncio.create_task(asyncio.to_thread(self._cloud.start)))

    async def restarted(self) -> None:
        assert len(self._restarts) == len(KILLS)
        await asyncio.gather(*self._restarts)


async def stream(w: Writer, metric: str) -> None:
    """Write all samples; some are in doubt at the end, as the cloud was killed."""
    with suppress(UnwrittenError):
        async with w:
            for number in range(SAMPLES):
                device = DEVICES[number % len(DEVICES)]
                await w.write(metric, 2 ** (number // len(DEVICES)), dimensions={"Device": device})
            await w.flush()


async def check(client: IotoClient, metric: str, ledger: Ledger) -> None:
    """Hold the cloud against what was told."""
    ok, unknown = ledger.bits["ok"], ledger.bits["unknown"]
    found = 0
    for device in DEVICES:
        queries = [
            MetricQuery(metric, {"Device": device}, name, period=300, accumulate=True) for name in ("sum", "count")
        ]
        total, count = [
            int(answer.points[0].value or 0) if answer.points else 0
            for answer in await client.metric.fetch(device, queries)
        ]
        assert total & ok[device] == ok[device], f"{device}: acknowledged, and not there"
        assert total & ~(ok[device] | unknown[device]) == 0, f"{device}: there, and never sent, or twice"
        assert count == total.bit_count()
        assert ok[device] | unknown[device] == 2**BITS - 1
        found += count
    doubtful = sum(bits.bit_count() for bits in unknown.values())
    assert SAMPLES - doubtful <= found <= SAMPLES
    assert doubtful <= len(KILLS) * 100, "more is in doubt than was on its way"


@pytest.mark.parametrize(
    ("metric", "way"),
    [
        ("bits", {"via": "automation", "name": "MetricSample"}),
        ("value", {"via": "model", "model": "Service"}),
    ],
    ids=["automation", "model"],
)
async def test_what_is_acknowledged_is_in_the_cloud_though_it_is_killed(
    cloud: Cloud, metric: str, way: dict[str, Any]
) -> None:
    ledger = Ledger(cloud)
    async with client_of(cloud) as client:
        await claimed(client, cloud.info["product_token"])
        w: Writer = client.metric.writer(**way, capacity=2000, patience=GUARD * 6, on_outcome=ledger.note)
        await stream(w, metric)
        await ledger.restarted()
        assert (w.summary.done, w.summary.failed, w.pending) == (SAMPLES, 0, 0)
        await check(client, metric, ledger)


async def test_what_is_acknowledged_over_mqtt_is_in_the_cloud_though_it_is_killed(cloud: Cloud) -> None:
    """Over MQTT what is in doubt is sent again, so that here a sample may be there twice."""
    device = DEVICES[0]
    ledger = Ledger(cloud)
    async with client_of(cloud) as client:
        product = cloud.info["product_token"]
        await claimed(client, product, [device])
        token = (await client.builder.device.register(device, product)).token
        certs = await client.with_options(token=token).device.provision(device)
        async with DeviceLink(certs, ca=cloud.info["ca"]) as link:
            w = client.metric.writer(via="mqtt", link=link, capacity=2000, patience=GUARD * 6, on_outcome=ledger.note)
            with suppress(UnwrittenError):
                async with w:
                    for number in range(SAMPLES):
                        bit = 2 ** (number // len(DEVICES))
                        dimensions = {"Device": DEVICES[number % len(DEVICES)], "Sample": str(bit)}
                        await w.write("bits", bit, dimensions=dimensions)
                    await w.flush()
        await ledger.restarted()
        assert (w.summary.done, w.summary.failed, w.pending) == (SAMPLES, 0, 0)
        lost = 0
        for name in DEVICES:
            bits = [2**exponent for exponent in range(BITS)]
            answers = await client.metric.fetch(
                device,
                [MetricQuery("bits", {"Device": name, "Sample": str(bit)}, "count", accumulate=True) for bit in bits],
            )
            there = {bit for bit, answer in zip(bits, answers, strict=True) if answer.points and answer.points[0].count}
            assert {bit for bit in bits if ledger.bits["ok"][name] & bit} <= there
            lost += BITS - len(there)
        assert lost <= w.summary.unknown <= len(KILLS) * 100
