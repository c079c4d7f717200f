"""Bulk runs against what users would write instead: overhead, memory, hidden latency; finding a service's rate.

Each way runs in a process of its own, `ways`, in turns with the others.
"""

import asyncio
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final

import attrs
import orjson

from ioto_async import Attempt, IotoClient

from .reference import brief, reference, told
from .request import ACCOUNT_ID, DEVICE_ID
from .responder import LATENCY, PHASES, limited_responder, responder, slow_responder
from .table import Figure, Piece, Row, Section, Spread, progress

__all__ = ["measure"]

_ITEMS: Final = 100_000
_MANY: Final = 1_000_000
_IN_FLIGHT: Final = 64
_MB: Final = 1 << 20
_SETTLED: Final = 1 / 3
"""Part of a phase that is left out of its rate, though not of its refusals."""

_ENGINE_GOALS: Final = {"bulk": (4.0, 2.5), "bulk, journal": (9.0, 6.0)}
_HTTP_GOAL: Final = (2.2, 3.0)
_LATENCY_GOALS: Final = {64: (1.0, 1.3), 256: (2.2, 3.0), 1024: (2.5, 3.5)}
_IDEAL_GOALS: Final = {64: 0.95, 256: 0.9, 1024: 0.8}
"""The share of the ideal that does as well, where the machine or the latency is the limit."""
_IDEAL_SECONDS: Final = {64: 1.0, 256: 1.0, 1024: 0.5}
"""For how long a run would last if nothing but the latency took time."""
_QUICK: Final = 10
"""How many times as few items there are in a quick run."""

_Pair = tuple[str, str]
"""A way and what it calls."""
_BULK: Final = ("bulk", "device.get")
_BY_HAND: Final = ("workers by hand", "aiohttp")

_LEGEND: Final = """\
Each way in a process of its own, in turns; medians, with the quartiles. grows: the peak of the process's memory above
what it had after a warm-up. stall: the longest time for which the event loop could do nothing else."""


@attrs.frozen
class _Run:
    """What one process measured: seconds, and bytes by which it grew."""

    wall: float
    cpu: float
    growth: float
    stall: float


def measure(rounds: int, *, seed: int, quick: bool = False) -> Iterator[Piece]:
    """Measure everything; if *quick*, with fewer items, and without what is long by its nature."""
    dice = random.Random(seed)
    if quick:
        yield from _engine(rounds, dice, _ITEMS // _QUICK)
        yield from _over_http(rounds, dice, _ITEMS // _QUICK)
        yield from _latency(rounds, dice, 1 / 4)
        return
    yield from _engine(rounds, dice, _ITEMS)
    yield from _many()
    yield from _over_http(rounds, dice, _ITEMS)
    yield from _latency(rounds, dice, 1)
    yield from asyncio.run(_auto())


def _run(way: str, call: str, count: int, port: int = 0, in_flight: int = _IN_FLIGHT) -> _Run:
    command = [sys.executable, "-m", "benchmarks.ways", way, call, str(count)]
    command += ["--port", str(port), "--in-flight", str(in_flight)]
    return _Run(**orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def _in_turns(
    pairs: Sequence[_Pair], rounds: int, dice: random.Random, count: int, port: int = 0, in_flight: int = _IN_FLIGHT
) -> Mapping[_Pair, list[_Run]]:
    runs: dict[_Pair, list[_Run]] = {pair: [] for pair in pairs}
    order = list(pairs)
    for turn in range(rounds):
        dice.shuffle(order)
        for pair in order:
            progress(f"{', '.join(pair)}: {count:,} calls, {in_flight} in flight, round {turn + 1} of {rounds}")
            runs[pair].append(_run(*pair, count, port, in_flight))
    return runs


def _memory(runs: Sequence[_Run]) -> tuple[str, str]:
    return (
        f"{statistics.median(run.growth for run in runs) / _MB:.1f}",
        f"{statistics.median(run.stall for run in runs) * 1000:.0f}",
    )


def _raw(name: str, count: int, runs: Sequence[_Run], **more: object) -> dict[str, object]:
    return {"way": name, "count": count, **more, "runs": [attrs.asdict(run) for run in runs]}


def _engine(rounds: int, dice: random.Random, count: int) -> Iterator[Piece]:
    references = [reference() for _ in range(5)]
    columns = ("way", "wall us each", "quartiles", "CPU us each", "grows by MB", "stall ms")
    yield Section(
        title=f"{count:,} calls that do nothing, {_IN_FLIGHT} in flight",
        columns=columns,
        legend=f"{_LEGEND}\n{told(references)}",
    )
    often = ("bulk", "bulk, ordered", "bulk, journal", "workers by hand")
    once = ("TaskGroup, semaphore", "gather of all", "aiometer")
    found = dict(_in_turns([(way, "nothing") for way in often], rounds, dice, count))
    found |= _in_turns([(way, "nothing") for way in once], 1, dice, count)
    for (way, _), runs in found.items():
        cost = Spread.of([run.wall / count * 1e6 for run in runs])
        cpu = statistics.median(run.cpu / count * 1e6 for run in runs)
        cells = (way, f"{cost.median:.2f}", f"{cost.low:.2f} to {cost.high:.2f}", f"{cpu:.2f}", *_memory(runs))
        yield Row(cells=cells, raw=_raw(way, count, runs))
        if way in _ENGINE_GOALS:
            must, aim = _ENGINE_GOALS[way]
            what = f"bulk engine, an item that does nothing{way.removeprefix('bulk')}"
            yield Figure(what=what, found=cost, unit="us", must=must, aim=aim, at_most=True, sides=brief(references))


def _many() -> Iterator[Piece]:
    yield Section(
        title=f"{_MANY:,} of them from a generator", columns=("way", "seconds", "grows by MB", "stall ms"), legend=""
    )
    for way in ("bulk", "bulk, journal"):
        progress(f"{way}: {_MANY:,} calls")
        run = _run(way, "nothing", _MANY)
        yield Row(cells=(way, f"{run.wall:.1f}", *_memory([run])), raw=_raw(way, _MANY, [run]))


def _over_http(rounds: int, dice: random.Random, count: int) -> Iterator[Piece]:
    columns = ("way", "calls/s", "times by hand", "quartiles", "grows by MB", "stall ms")
    yield Section(title=f"{count:,} calls over HTTP, {_IN_FLIGHT} in flight", columns=columns, legend=_LEGEND)
    often = [_BULK, _BY_HAND]
    once = [("bulk, journal", "device.get"), ("workers by hand", "device.get"), ("gather of all", "device.get")]
    with responder() as server:
        found = dict(_in_turns(often, rounds, dice, count, server.where.port))
        found |= _in_turns(once, 1, dice, count, server.where.port)
    by_hand = found[_BY_HAND]
    for pair, runs in found.items():
        ratio = _times(runs, by_hand)
        rate = statistics.median(count / run.wall for run in runs)
        spread = f"{ratio.low:.2f} to {ratio.high:.2f}"
        cells = (", ".join(pair), f"{rate:,.0f}", f"{ratio.median:.2f}", spread, *_memory(runs))
        yield Row(cells=cells, raw=_raw(pair[0], count, runs, call=pair[1]))
    must, aim = _HTTP_GOAL
    what = f"bulk of {count:,} calls / workers by hand over plain aiohttp"
    yield Figure(what=what, found=_times(found[_BULK], by_hand), must=must, aim=aim, sides=_sides(found, count))


def _times(ours: Sequence[_Run], theirs: Sequence[_Run]) -> Spread:
    """How many times as fast ours was, in the rounds that both ran."""
    return Spread.of([their.wall / our.wall for our, their in zip(ours, theirs, strict=False)])


def _sides(found: Mapping[_Pair, Sequence[_Run]], count: int) -> str:
    rates = (statistics.median(count / run.wall for run in found[pair]) for pair in (_BULK, _BY_HAND))
    return " / ".join(f"{rate:,.0f}/s" for rate in rates)


def _latency(rounds: int, dice: random.Random, share: float) -> Iterator[Piece]:
    columns = ("way", "in flight", "calls/s", "of the ideal", "times by hand", "quartiles")
    yield Section(title=f"A server that takes {LATENCY * 1000:g} ms", columns=columns, legend=_LEGEND)
    for in_flight in _LATENCY_GOALS:
        ideal = in_flight / LATENCY
        count = int(ideal * _IDEAL_SECONDS[in_flight] * share)
        pairs = [_BULK, _BY_HAND, ("workers by hand", "device.get")]
        if in_flight == min(_LATENCY_GOALS):
            pairs.append(("TaskGroup, semaphore", "aiohttp"))
        with slow_responder() as server:
            found = _in_turns(pairs, rounds, dice, count, server.where.port, in_flight)
        by_hand = found[_BY_HAND]
        shares = {}
        for pair, runs in found.items():
            ratio = _times(runs, by_hand)
            shares[pair] = Spread.of([count / run.wall / ideal for run in runs])
            rate = statistics.median(count / run.wall for run in runs)
            spread = f"{ratio.low:.2f} to {ratio.high:.2f}"
            of_ideal = f"{shares[pair].median * 100:.0f} %"
            cells = (", ".join(pair), str(in_flight), f"{rate:,.0f}", of_ideal, f"{ratio.median:.2f}", spread)
            yield Row(cells=cells, raw=_raw(pair[0], count, runs, call=pair[1], in_flight=in_flight))
        must, aim = _LATENCY_GOALS[in_flight]
        bound = _IDEAL_GOALS[in_flight]
        share_of = Figure(what="share of the ideal", found=shares[_BULK], unit="of the ideal", must=bound, aim=bound)
        yield Figure(
            what=f"{LATENCY * 1000:g} ms server, bulk / workers by hand over plain aiohttp; {in_flight} in flight",
            found=_times(found[_BULK], by_hand),
            must=must,
            aim=aim,
            sides=_sides(found, count),
            instead=share_of,
        )


# Finding the rate -------------------------------------------------------------------------------------------------


async def _auto() -> list[Piece]:
    seen: list[tuple[float, bool]] = []

    def observe(attempt: Attempt) -> None:
        seen.append((time.monotonic(), attempt.status == 429))

    progress(f"a server that changes its limit, for {sum(seconds for _, seconds in PHASES):g} s")
    with limited_responder() as server:
        base = server.where.base("http")
        async with IotoClient(
            base, token="anytoken", account_id=ACCOUNT_ID, environ={}, observer=observe, timeout=10
        ) as client:
            run = client.bulk(client.device.get, repeat(DEVICE_ID))
            asyncio.get_running_loop().call_later(sum(seconds for _, seconds in PHASES), run.stop)
            async for _ in run:
                pass
            run.raise_for_failures()
    columns = ("limit of the server", "served/s", "refused", "within 10 %, and < 5 % refused")
    pieces: list[Piece] = [Section(title="Concurrency found by itself", columns=columns)]
    begin = seen[0][0]
    for rate, seconds in PHASES:
        phase = [(at - begin, refused) for at, refused in seen if begin <= at < begin + seconds]
        refused = sum(refused for _, refused in phase) / len(phase)
        settled = [at for at, refused in phase if not refused and at >= seconds * _SETTLED]
        served = len(settled) / (seconds * (1 - _SETTLED))
        met = "yes" if abs(served / rate - 1) <= 0.1 and refused < 0.05 else "NO"
        cells = (f"{rate}/s, then 429", f"{served:.0f}", f"{refused * 100:.2f} %", met)
        pieces.append(Row(cells=cells, raw={"limit": rate, "served": served, "refused": refused}))
        begin += seconds
    return pieces
