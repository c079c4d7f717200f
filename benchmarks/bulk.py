"""Bulk runs against what users would write instead: overhead, memory, hidden latency; finding a service's rate."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import repeat
from typing import Final

import attrs
import orjson

from ioto_async import Attempt, IotoClient

from .responder import ACCOUNT_ID, DEVICE_ID, LATENCY, PHASES, limited_responder, responder, slow_responder
from .table import Spread, lines
from .ways import WAYS

__all__ = ["measure"]

_ITEMS: Final = 100_000
_MANY: Final = 1_000_000
_SETTLED: Final = 1 / 3
"""Part of a phase that is left out of its rate, though not of its refusals."""
_MB: Final = 1 << 20


@attrs.frozen
class _Run:
    """What one process measured: seconds, and bytes by which it grew."""

    wall: float
    cpu: float
    growth: float
    stall: float


def measure(rounds: int) -> str:
    """Measure everything; the result is tables with their titles."""
    return "\n\n".join((_overhead(rounds), _many(), _over_http(rounds), _latency(rounds), asyncio.run(_auto())))


def _say(text: str) -> None:
    print(f"bulk, {text} ...", file=sys.stderr, flush=True)


def _run(way: str, call: str, count: int, port: int = 0, in_flight: int = 64) -> _Run:
    command = [sys.executable, "-m", "benchmarks.ways", way, call, str(count)]
    command += ["--port", str(port), "--in-flight", str(in_flight)]
    return _Run(**orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def _in_turns(rounds: int, ways: Sequence[str], call: str, count: int, port: int = 0) -> dict[str, list[_Run]]:
    runs: dict[str, list[_Run]] = {way: [] for way in ways}
    for turn in range(rounds):
        for way in ways if turn % 2 else reversed(ways):
            runs[way].append(_run(way, call, count, port))
    return runs


def _columns(runs: Sequence[_Run]) -> tuple[str, str]:
    return (
        f"{statistics.median(run.growth for run in runs) / _MB:.1f}",
        f"{statistics.median(run.stall for run in runs) * 1000:.0f}",
    )


def _overhead(rounds: int) -> str:
    _say("overhead")
    goals = {"bulk": 5.0, "bulk, journal": 12.0}
    ways = (
        "bulk",
        "bulk, ordered",
        "bulk, journal",
        "workers by hand",
        "TaskGroup, semaphore",
        "gather of all",
        "aiometer",
    )
    rows = []
    for way, runs in _in_turns(rounds, ways, "nothing", _ITEMS).items():
        cost = Spread.of([run.wall / _ITEMS * 1e6 for run in runs])
        cpu = statistics.median(run.cpu / _ITEMS * 1e6 for run in runs)
        goal = goals.get(way)
        met = "" if goal is None else "yes" if cost.median <= goal else "NO"
        rows.append((way, cost.text(2), f"{cpu:.2f}", *_columns(runs), f"<= {goal:g}" if goal else "", met))
    titles = (
        f"{_ITEMS:,} calls that do nothing",
        "wall us each",
        "CPU us each",
        "grows by MB",
        "stall ms",
        "goal",
        "met",
    )
    return lines(titles, rows)


def _many() -> str:
    _say("a million items")
    rows = []
    for way in ("bulk", "bulk, journal"):
        run = _run(way, "nothing", _MANY)
        met = "yes" if run.growth <= 5 * _MB and run.stall <= 0.05 else "NO"
        rows.append((way, f"{run.wall:.1f}", *_columns([run]), "<= 5 MB, 50 ms", met))
    return lines((f"{_MANY:,} of them from a generator", "seconds", "grows by MB", "stall ms", "goal", "met"), rows)


def _over_http(rounds: int) -> str:
    _say(f"{_ITEMS:,} calls over HTTP")
    ways = [way for way in WAYS if way != "bulk, ordered"]
    with responder() as server:
        found = _in_turns(max(rounds // 2, 2), ways, "device.get", _ITEMS, server.where.port)
    slow = found["gather of all"]
    rows = []
    for way, runs in found.items():
        ratio = statistics.median(theirs.wall / ours.wall for ours, theirs in zip(runs, slow, strict=True))
        memory = statistics.median(ours.growth / theirs.growth for ours, theirs in zip(runs, slow, strict=True))
        met = "" if way != "bulk" else "yes" if ratio >= 1.8 and memory <= 0.1 else "NO"
        goal = ">= 1.8, <= 0.1" if met else ""
        seconds = Spread.of([run.wall for run in runs]).text(1)
        rows.append((way, seconds, f"{ratio:.2f}", *_columns(runs), f"{memory:.3f}", goal, met))
    title = f"{_ITEMS:,} calls of device.get, 64 in flight"
    return lines((title, "seconds", "times gather", "grows by MB", "stall ms", "of gather's", "goal", "met"), rows)


def _latency(rounds: int) -> str:
    rows = []
    for in_flight in (64, 256):
        _say(f"{LATENCY * 1000:g} ms of latency, {in_flight} in flight")
        ideal = in_flight / LATENCY
        count = int(ideal) * 2
        with slow_responder() as server:
            pairs = [
                ("bulk", "device.get"),
                ("workers by hand", "aiohttp"),
                ("TaskGroup, semaphore", "aiohttp"),
                ("workers by hand", "device.get"),
            ]
            found: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
            for turn in range(rounds):
                for pair in pairs if turn % 2 else reversed(pairs):
                    run = _run(*pair, count, server.where.port, in_flight)
                    found[pair].append(count / run.wall)
        for pair, rates in found.items():
            share = statistics.median(rates) / ideal
            ratio = statistics.median(
                ours / theirs for ours, theirs in zip(rates, found["workers by hand", "aiohttp"], strict=True)
            )
            goal = met = ""
            if pair[0] == "bulk":
                goal = ">= 90 % of ideal" if in_flight == 64 else ">= 1 times aiohttp"
                met = "yes" if (share >= 0.9 if in_flight == 64 else ratio >= 1) else "NO"
            name = f"{pair[0]}, {pair[1]}"
            rate = Spread.of(rates).text(0)
            rows.append((name, str(in_flight), rate, f"{share * 100:.0f} %", f"{ratio:.2f}", goal, met))
    title = f"{LATENCY * 1000:g} ms of latency"
    return lines((title, "in flight", "calls/s", "of the ideal", "times aiohttp", "goal", "met"), rows)


# Finding the rate -------------------------------------------------------------------------------------------------


async def _auto() -> str:
    _say("auto, against a server that changes its mind")
    seen: list[tuple[float, bool]] = []

    def observe(attempt: Attempt) -> None:
        seen.append((time.monotonic(), attempt.status == 429))

    with limited_responder() as server:
        base = f"http://127.0.0.1:{server.where.port}"
        async with IotoClient(
            base, token="anytoken", account_id=ACCOUNT_ID, environ={}, observer=observe, timeout=10
        ) as client:
            run = client.bulk(client.device.get, repeat(DEVICE_ID))
            asyncio.get_running_loop().call_later(sum(seconds for _, seconds in PHASES), run.stop)
            async for _ in run:
                pass
            run.raise_for_failures()
    rows = []
    begin = seen[0][0]
    for rate, seconds in PHASES:
        phase = [(at - begin, refused) for at, refused in seen if begin <= at < begin + seconds]
        refused = sum(refused for _, refused in phase) / len(phase)
        settled = [at for at, refused in phase if not refused and at >= seconds * _SETTLED]
        served = len(settled) / (seconds * (1 - _SETTLED))
        met = "yes" if abs(served / rate - 1) <= 0.1 and refused < 0.05 else "NO"
        rows.append((f"{rate}/s, then 429", f"{served:.0f}", f"{refused * 100:.2f} %", "within 10 %, < 5 %", met))
        begin += seconds
    return lines(("auto, the server allows", "served/s", "refused", "goal", "met"), rows)
