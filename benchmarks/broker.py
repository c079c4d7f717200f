"""How many samples the embedded cloud takes over MQTT in a second, on one core: ``python -m benchmarks.broker``.

100 devices, each with a connection of its own (TLS with its certificate), publish samples with QoS 1, 20 of them
unacknowledged at a time. A sample counts when it is acknowledged, which is when the cloud has committed it.
"""

import asyncio
import itertools
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import orjson

from benchmarks import machine
from ioto_async.emulator import Emulator
from ioto_async.emulator.mqtt.packets import Connack, Connect, Puback, Publish, Reader, encode

from .beside import Beside, beside
from .table import Spread, lines

__all__ = ["DEVICES", "Where", "contexts", "in_memory", "measure"]

DEVICES: Final = 100
_WINDOW: Final = 20
_SAMPLES: Final = 20_000
_GOAL: Final = 20_000


@attrs.frozen
class Where:
    """Where the broker is, and its devices: claim ID, certificate and key."""

    host: str
    port: int
    ca: str
    devices: list[tuple[str, str, str]]


@asynccontextmanager
async def _serving(db: Path | None) -> AsyncIterator[Where]:
    async with Emulator(db=db) as emulator:
        devices = []
        for _ in range(DEVICES):
            id_ = emulator.cloud.register_device()
            emulator.cloud.claim_device(id_)
            certificate, key = emulator.cloud.authority.issue(id_)
            emulator.cloud.devices.certify(id_, certificate, key)
            devices.append((id_, certificate, key))
        yield Where(emulator.mqtt_host, emulator.mqtt_port, emulator.cloud.authority.certificate, devices)


@asynccontextmanager
async def in_memory() -> AsyncIterator[Where]:
    """An embedded cloud with devices, for `beside`."""
    async with _serving(None) as where:
        yield where


@asynccontextmanager
async def _in_a_file() -> AsyncIterator[Where]:
    with tempfile.TemporaryDirectory() as folder:
        async with _serving(Path(folder) / "cloud.db") as where:
            yield where


class _Device(asyncio.Protocol):
    """Publishes as fast as it is acknowledged."""

    def __init__(self, id: str) -> None:
        self._reader = Reader(1 << 16)
        self._transport: asyncio.Transport
        self._id = id
        self._topic = f"$aws/rules/IotoDevice/ioto/service/{id}/metric/set"
        self._packet_ids = itertools.cycle(range(1, 0x10000))
        self._samples: Iterator[int] = iter(())
        self._under_way = 0
        self.event: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(encode(Connect(self._id, keep_alive=1200)))

    def data_received(self, data: bytes) -> None:
        for packet in self._reader.feed(data):
            if packet == Connack(0):
                self.event.set_result(None)
            elif isinstance(packet, Puback):
                self._under_way -= 1
            else:
                self.event.set_exception(RuntimeError(f"expected an acknowledgement, got {packet}"))
        self._fill()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.event.done():
            self.event.set_exception(error or ConnectionError("the broker has ended a connection"))

    def publish(self, samples: Iterator[int]) -> asyncio.Future[None]:
        """Begin with *samples*; the result comes when all are acknowledged."""
        self.event = asyncio.get_running_loop().create_future()
        self._samples = samples
        self._fill()
        return self.event

    def close(self) -> None:
        """End the connection."""
        self._transport.abort()

    def _fill(self) -> None:
        packets = []
        for value in itertools.islice(self._samples, _WINDOW - self._under_way):
            sample = {"metric": "T", "value": value, "dimensions": [{"Device": "${deviceId}"}]}
            packets.append(encode(Publish(self._topic, orjson.dumps(sample), 1, next(self._packet_ids))))
        if packets:
            self._under_way += len(packets)
            self._transport.write(b"".join(packets))
        elif not self._under_way and not self.event.done():
            self.event.set_result(None)


def contexts(where: Where) -> list[tuple[str, ssl.SSLContext]]:
    """The TLS of each device, with its claim ID."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for id_, certificate, key in where.devices:
            # The ssl module reads certificates from files only.
            path = Path(folder) / id_
            path.write_text(certificate + key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=where.ca)
            context.load_cert_chain(path)
            made.append((id_, context))
    return made


async def _connected(where: Where) -> list[_Device]:
    loop = asyncio.get_running_loop()
    devices = []
    for id_, context in contexts(where):
        _, device = await loop.create_connection(partial(_Device, id_), where.host, where.port, ssl=context)
        await device.event
        devices.append(device)
    return devices


async def _play(server: Beside[Where], rounds: int) -> list[tuple[float, float]]:
    """Publish all samples *rounds* times; seconds by the clock and of the server's CPU for each."""
    devices = await _connected(server.where)
    took = []
    for _ in range(rounds):
        cpu, began = server.cpu(), time.perf_counter()
        await asyncio.gather(*(device.publish(iter(range(_SAMPLES // DEVICES))) for device in devices))
        took.append((time.perf_counter() - began, server.cpu() - cpu))
    for device in devices:
        device.close()
    return took


def measure(rounds: int) -> str:
    """Measure, and return the table."""
    rows = []
    for name, serving in (("in memory", in_memory), ("in a file", _in_a_file)):
        print(f"samples over MQTT, {name} ...", file=sys.stderr, flush=True)
        with beside(serving) as server:
            # The first round warms up.
            took = asyncio.run(_play(server, rounds + 1))[1:]
        rate = Spread.of([_SAMPLES / wall for wall, _ in took])
        cpu = Spread.of([cpu * 1e6 / _SAMPLES for _, cpu in took])
        rows.append([name, rate.text(0), cpu.text(0), f">= {_GOAL}", "met" if rate.median >= _GOAL else "NOT MET"])
    return lines(["the cloud's database", "samples/s", "server CPU us each", "goal", ""], rows)


if __name__ == "__main__":
    machine.pin(machine.client_core())
    print(measure(8))
