"""How many samples a process on one core writes over MQTT, and what a buffer of them takes."""

import asyncio
import multiprocessing
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import aiomqtt
import orjson

from benchmarks import machine
from ioto_async import DeviceLink, IotoClient
from ioto_async.models import Certificates

from .beside import beside
from .broker import DEVICES, Where, contexts, in_memory
from .table import Spread, lines

__all__ = ["measure"]

_SAMPLES: Final = 20_000
_AT_ONCE: Final = 10
"""Samples of a device that are under way at once."""
_GOAL: Final = 10_000
_BUFFERED: Final = 100_000
_PLENTY: Final = 1 << 30
_GROWTH: Final = 64.0
"""MiB by which the process may grow."""

Play = Callable[[int], Awaitable[object]]
"""Has every device write so many samples; returns when they are acknowledged."""


async def _in_tasks(writes: Iterable[Callable[[int], Awaitable[object]]], count: int) -> None:
    async def work(write: Callable[[int], Awaitable[object]], values: Iterator[int]) -> None:
        for value in values:
            await write(value)

    tasks = []
    for write in writes:
        values = iter(range(count))
        tasks += [work(write, values) for _ in range(_AT_ONCE)]
    await asyncio.gather(*tasks)


# Ways -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _aiomqtt(where: Where) -> AsyncIterator[Play]:
    async def write(client: aiomqtt.Client, topic: str, value: int) -> None:
        sample = {"metric": "T", "value": value, "dimensions": [{"Device": "${deviceId}"}]}
        await client.publish(topic, orjson.dumps(sample), qos=1)

    async with AsyncExitStack() as stack:
        writes = []
        for id_, context in contexts(where):
            client = aiomqtt.Client(
                where.host,
                where.port,
                identifier=id_,
                tls_context=context,
                protocol=aiomqtt.ProtocolVersion.V311,
                max_concurrent_outgoing_calls=_AT_ONCE,
            )
            await stack.enter_async_context(client)
            writes.append(partial(write, client, f"$aws/rules/IotoDevice/ioto/service/{id_}/metric/set"))
        yield partial(_in_tasks, writes)


async def _linked(stack: AsyncExitStack, where: Where) -> list[DeviceLink]:
    links = []
    for id_, certificate, key in where.devices:
        certs = Certificates(id=id_, certificate=certificate, key=key, endpoint=where.host, port=where.port)
        links.append(await stack.enter_async_context(DeviceLink(certs, ca=where.ca)))
    return links


@asynccontextmanager
async def _device_link(where: Where) -> AsyncIterator[Play]:
    async with AsyncExitStack() as stack:
        links = await _linked(stack, where)
        yield partial(_in_tasks, [partial(link.set_metric, "T") for link in links])


@asynccontextmanager
async def _writer(where: Where) -> AsyncIterator[Play]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(IotoClient("http://127.0.0.1:1", token="none-is-sent", environ={}))
        links = await _linked(stack, where)

        async def write(link: DeviceLink, count: int) -> None:
            async with client.metric.writer(via="mqtt", link=link, concurrency=_AT_ONCE) as writer:
                for value in range(count):
                    await writer.write("T", value, dimensions={"Device": link.device_id})
                await writer.flush()

        async def play(count: int) -> None:
            await asyncio.gather(*(write(link, count) for link in links))

        yield play


_WAYS: Final[Mapping[str, Callable[[Where], AbstractAsyncContextManager[Play]]]] = {
    "DeviceLink.set_metric": _device_link,
    "metric.writer via mqtt": _writer,
    "aiomqtt, publish": _aiomqtt,
}


async def _play(where: Where, name: str) -> tuple[float, float]:
    """Write all samples; seconds by the clock and of CPU time."""
    async with _WAYS[name](where) as play:
        await play(2 * _AT_ONCE)  # to warm up
        cpu, began = time.process_time(), time.perf_counter()
        await play(_SAMPLES // DEVICES)
        return time.perf_counter() - began, time.process_time() - cpu


# The buffer ---------------------------------------------------------------------------------------------------------


async def _buffer(where: Where) -> tuple[float, float]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(IotoClient("http://127.0.0.1:1", token="none-is-sent", environ={}))
        first = Where(where.host, where.port, where.ca, where.devices[:1])
        [link] = await _linked(stack, first)
        before = machine.memory("VmRSS")
        async with client.metric.writer(
            via="mqtt", link=link, count=_BUFFERED, bytes=_PLENTY, seconds=3600, capacity_bytes=_PLENTY
        ) as writer:
            for number in range(_BUFFERED):
                dimensions = {"Device": link.device_id, "room": str(number % 100)}
                await writer.write("temperature", number / 10, dimensions=dimensions)
            full = machine.memory("VmRSS")
            await writer.flush()
        if writer.summary.ok != _BUFFERED:
            raise RuntimeError(f"expected {_BUFFERED} samples to be acknowledged, got {writer.summary}")
    return (full - before) / 2**20, (machine.memory("VmHWM") - before) / 2**20


def _growth(where: Where) -> tuple[float, float]:
    """MiB by which a fresh process grows while samples are buffered, and until they are flushed."""
    return asyncio.run(_buffer(where))


def measure(rounds: int) -> str:
    """Measure, and return the tables."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in _WAYS}
    with beside(in_memory) as server:
        for turn in range(rounds):
            print(f"samples over MQTT, round {turn + 1} of {rounds} ...", file=sys.stderr, flush=True)
            for name in took if turn % 2 else reversed(took):
                took[name].append(asyncio.run(_play(server.where, name)))
        print(f"a buffer of {_BUFFERED:,} samples ...", file=sys.stderr, flush=True)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            held, grown = fresh.submit(_growth, server.where).result()
    rows = []
    for name, runs in took.items():
        rate = Spread.of([_SAMPLES / wall for wall, _ in runs])
        cpu = Spread.of([seconds * 1e6 / _SAMPLES for _, seconds in runs])
        pairs = zip(runs, took["aiomqtt, publish"], strict=True)
        ratio = Spread.of([theirs / ours for (ours, _), (theirs, _) in pairs])
        goal = met = ""
        if name != "aiomqtt, publish":
            goal, met = f">= {_GOAL}", "yes" if rate.median >= _GOAL else "NO"
        rows.append((name, rate.text(0), cpu.text(0), ratio.text(2), goal, met))
    title = f"{_SAMPLES:,} samples of {DEVICES} devices, {_AT_ONCE} each at once"
    written = lines((title, "samples/s", "client CPU us each", "times aiomqtt", "goal", "met"), rows)
    met = "yes" if grown <= _GROWTH else "NO"
    row = (f"{_BUFFERED:,} samples", f"{held:.1f}", f"{grown:.1f}", f"<= {_GROWTH:g}", met)
    return f"{written}\n\n{lines(('metric.writer', 'MiB when full', 'MiB until flushed', 'goal', 'met'), [row])}"
