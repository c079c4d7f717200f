"""One way to make many calls, in a process of its own: ``python -m benchmarks.ways WAY CALL N``; prints JSON.

A peak of memory is the process's for ever, so that each way gets a fresh one.
"""

import argparse
import asyncio
import functools
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import aiometer
import orjson

from benchmarks import machine
from ioto_async import IotoClient
from ioto_async.bulk import Bulk

from .request import ACCOUNT_ID, TOKEN

__all__ = ["CALLS", "WAYS"]

Call = Callable[[str], Awaitable[object]]
Way = Callable[[Call, Iterator[str], int], Awaitable[int]]

_BEAT: Final = 0.005
"""Seconds between two looks whether the loop still turns."""


# Ways -------------------------------------------------------------------------------------------------------------


async def _bulk(
    call: Call, items: Iterator[str], in_flight: int, *, ordered: bool = False, journal: Path | None = None
) -> int:
    done = 0
    async for outcome in Bulk(call, items, concurrency=in_flight, ordered=ordered, journal=journal):
        done += outcome.status == "ok"
    return done


async def _bulk_journal(call: Call, items: Iterator[str], in_flight: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return await _bulk(call, items, in_flight, journal=Path(folder) / "journal")


async def _gather(call: Call, items: Iterator[str], in_flight: int) -> int:
    return len(await asyncio.gather(*(call(item) for item in items)))


async def _task_group(call: Call, items: Iterator[str], in_flight: int) -> int:
    semaphore = asyncio.Semaphore(in_flight)
    done = 0

    async def one(item: str) -> None:
        nonlocal done
        async with semaphore:
            await call(item)
        done += 1

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))
    return done


async def _aiometer(call: Call, items: Iterator[str], in_flight: int) -> int:
    # It wants a sequence.
    async with aiometer.amap(call, list(items), max_at_once=in_flight) as results:
        return sum([1 async for _ in results])


async def _workers(call: Call, items: Iterator[str], in_flight: int) -> int:
    done = 0

    async def work() -> None:
        nonlocal done
        for item in items:
            await call(item)
            done += 1

    await asyncio.gather(*(work() for _ in range(in_flight)))
    return done


WAYS: Final[Mapping[str, Way]] = {
    "bulk": _bulk,
    "bulk, ordered": functools.partial(_bulk, ordered=True),
    "bulk, journal": _bulk_journal,
    "gather of all": _gather,
    "TaskGroup, semaphore": _task_group,
    "aiometer": _aiometer,
    "workers by hand": _workers,
}
"""Workers by hand have no outcome, no order and no journal; the first exception ends all of them."""


# Calls ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _nothing(port: int, in_flight: int) -> AsyncIterator[Call]:
    async def call(item: str) -> str:
        return item

    yield call


@asynccontextmanager
async def _device_get(port: int, in_flight: int) -> AsyncIterator[Call]:
    # The time-out counts the wait for a connection, which with `gather` of all is the time of the whole run.
    async with IotoClient(
        f"http://127.0.0.1:{port}", token=TOKEN, account_id=ACCOUNT_ID, environ={}, limit=in_flight, timeout=600
    ) as client:
        yield client.device.get


@asynccontextmanager
async def _aiohttp(port: int, in_flight: int) -> AsyncIterator[Call]:
    url = f"http://127.0.0.1:{port}/tok/device/get"
    headers = {"Authorization": TOKEN, "Content-Type": "application/json"}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=in_flight), timeout=aiohttp.ClientTimeout(total=600)
    ) as session:

        async def call(item: str) -> object:
            body = orjson.dumps({"id": item, "accountId": ACCOUNT_ID})
            async with session.post(url, data=body, headers=headers) as response:
                response.raise_for_status()
                return orjson.loads(await response.read())

        yield call


CALLS: Final = {"nothing": _nothing, "device.get": _device_get, "aiohttp": _aiohttp}


# One run ----------------------------------------------------------------------------------------------------------


class _Heart:
    """Beats in the loop, and keeps the longest time for which it could not."""

    def __init__(self) -> None:
        self.stall = 0.0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._next()

    def _next(self) -> None:
        due = self._loop.time() + _BEAT
        self._handle = self._loop.call_at(due, self._beat, due)

    def _beat(self, due: float) -> None:
        self.stall = max(self.stall, self._loop.time() - due)
        self._next()

    def stop(self) -> None:
        self._handle.cancel()


async def _run(way: Way, call_name: str, count: int, port: int, in_flight: int) -> dict[str, float]:
    async with CALLS[call_name](port, in_flight) as call:
        await way(call, (f"W{number}" for number in range(4 * in_flight)), in_flight)  # fills the pool
        heart = _Heart()
        heart.start()
        before = machine.memory("VmRSS")
        cpu, wall = time.process_time(), time.perf_counter()
        done = await way(call, (f"D{number}" for number in range(count)), in_flight)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        heart.stop()
    if done != count:
        raise RuntimeError(f"expected {count} results, got {done}")
    return {"wall": wall, "cpu": cpu, "growth": max(machine.memory("VmHWM") - before, 0), "stall": heart.stall}


def main() -> None:
    """Run one way and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("call", choices=CALLS)
    parser.add_argument("count", type=int)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--in-flight", type=int, default=64)
    chosen = parser.parse_args()
    machine.keep_heap()
    machine.pin(machine.client_core())
    figures = asyncio.run(_run(WAYS[chosen.way], chosen.call, chosen.count, chosen.port, chosen.in_flight))
    sys.stdout.write(orjson.dumps(figures).decode())


if __name__ == "__main__":
    main()
