"""Reading many values of many devices: joined calls against one request for each value."""

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import product
from typing import Any, Final

import aiohttp
import attrs
import orjson

from ioto_async import IotoClient, MetricQuery

from .request import ACCOUNT_ID, TOKEN
from .responder import metric_responder
from .table import Figure, Piece, Row, Section, Spread, progress

__all__ = ["measure"]

_DEVICES: Final = [f"01K9ZX5V7M3QH2B8D4T6W0{number:04}" for number in range(100)]
_METRICS: Final = [f"/room/{number}/temperature" for number in range(100)]
_COUNT: Final = len(_DEVICES) * len(_METRICS)
_IN_FLIGHT: Final = 64
"""Requests at once, where there is one for each value."""
_TOGETHER: Final = 200
"""Values at once, where they are joined: with two requests there is always one that the server works on."""
_TIMES: Final = 5
"""Turns of those who join, in place of one: theirs are short, and what else the machine does would show more."""
_GOAL: Final = (10.0, 30.0)

Read = Callable[[str, str], Awaitable[float | None]]
_Way = tuple[str, int]


@attrs.define
class _Player:
    """How values are read, and how many requests that took."""

    read: Read
    requests: int = 0

    async def play(self, at_once: int) -> float:
        """Read all values in so many tasks; the result is the seconds that it took."""
        self.requests = 0
        wanted = product(_DEVICES, _METRICS)
        found: list[float | None] = []

        async def work() -> None:
            for device_id, metric in wanted:
                found.append(await self.read(device_id, metric))

        gc.collect()  # nobody is to clean up after another
        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(at_once)))
        seconds = time.perf_counter() - began
        if found.count(21.5) != _COUNT:
            raise RuntimeError(f"expected the value 21.5 {_COUNT} times, got {found[:5]!r}, … ({len(found)})")
        return seconds


_JOINED: Final = "value"
_SINGLE: Final = "fetch of one item"
_AIOHTTP: Final = "aiohttp, a POST each"
_WAYS: Final = (
    (_JOINED, _TOGETHER),
    (_JOINED, _COUNT),
    (_SINGLE, _IN_FLIGHT),
    (_SINGLE, _COUNT),
    (_AIOHTTP, _IN_FLIGHT),
    (_AIOHTTP, _COUNT),
)
"""Who reads, and how many tasks of theirs there are at once."""
_BASE: Final = (_SINGLE, _IN_FLIGHT)
_LEGEND: Final = f"""\
In turns in one process, over {_IN_FLIGHT} connections. ratio: values/s against {_SINGLE} in {_IN_FLIGHT} tasks, in the
same round. Many tasks cost by themselves: the collector of garbage looks at all of them again and again."""


@asynccontextmanager
async def _players(port: int) -> AsyncIterator[Mapping[str, _Player]]:
    base = f"http://127.0.0.1:{port}"
    players: dict[str, _Player] = {}
    connector = aiohttp.TCPConnector(limit=_IN_FLIGHT)
    headers = {"Authorization": TOKEN, "Content-Type": "application/json"}
    async with (
        IotoClient(
            base,
            token=TOKEN,
            account_id=ACCOUNT_ID,
            environ={},
            limit=_IN_FLIGHT,
            observer=lambda _: count(players[_JOINED]),
        ) as client,
        IotoClient(base, token=TOKEN, account_id=ACCOUNT_ID, environ={}, limit=_IN_FLIGHT) as single,
        aiohttp.ClientSession(connector=connector, headers=headers) as session,
    ):

        def count(player: _Player) -> None:
            player.requests += 1

        async def fetch(device_id: str, metric: str) -> float | None:
            count(players[_SINGLE])
            (found,) = await single.metric.fetch(
                device_id, [MetricQuery(metric, {"Device": device_id}, accumulate=True)]
            )
            return found.points[0].value if found.points else None

        async def post(device_id: str, metric: str) -> float | None:
            count(players[_AIOHTTP])
            item = {
                "namespace": "Embedthis/Device",
                "metric": metric,
                "dimensions": {"Device": device_id},
                "statistic": "avg",
                "period": 300,
                "accumulate": True,
            }
            body = orjson.dumps({"deviceId": device_id, "accountId": ACCOUNT_ID, "items": [item]})
            async with session.post(f"{base}/tok/metric/fetch", data=body) as response:
                response.raise_for_status()
                reply: dict[str, Any] = orjson.loads(await response.read())
                value: float | None = reply["data"][0]["points"][0]["value"]
                return value

        players[_JOINED] = _Player(client.metric.value)
        players[_SINGLE] = _Player(fetch)
        players[_AIOHTTP] = _Player(post)
        yield players


async def _play(port: int, rounds: int) -> tuple[Mapping[_Way, Sequence[float]], Mapping[_Way, int]]:
    """Seconds of each turn, and requests of one, by way."""
    seconds: dict[_Way, list[float]] = {way: [] for way in _WAYS}
    requests: dict[_Way, int] = {}
    async with _players(port) as players:
        for player in players.values():  # to warm up
            await player.play(_IN_FLIGHT)
        for turn in range(rounds):
            progress(f"{_COUNT:,} values, round {turn + 1} of {rounds}")
            for way in _WAYS if turn % 2 else reversed(_WAYS):
                name, at_once = way
                times = _TIMES if name == _JOINED else 1
                seconds[way].append(statistics.fmean([await players[name].play(at_once) for _ in range(times)]))
                requests[way] = players[name].requests
    return seconds, requests


def measure(rounds: int) -> Iterator[Piece]:
    """Measure against a server that answers at once."""
    columns = ("way", "tasks", "requests", "seconds", "quartiles", "values/s", "ratio")
    yield Section(title=f"{_COUNT:,} values of {len(_DEVICES)} devices", columns=columns, legend=_LEGEND)
    with metric_responder() as server:
        seconds, requests = asyncio.run(_play(server.where.port, rounds))
    for way, each in seconds.items():
        name, at_once = way
        spread, ratio = Spread.of(each), _ratio(each, seconds[_BASE])
        cells = (
            name,
            f"{at_once:,}",
            f"{requests[way]:,}",
            f"{spread.median:.2f}",
            f"{spread.low:.2f} to {spread.high:.2f}",
            f"{_COUNT / spread.median:,.0f}",
            f"{ratio.median:.1f}",
        )
        yield Row(cells=cells, raw={"way": name, "tasks": at_once, "requests": requests[way], "seconds": each})
    ours, theirs = seconds[_JOINED, _COUNT], seconds[_AIOHTTP, _COUNT]
    must, aim = _GOAL
    yield Figure(
        what=f"{_COUNT:,} joined reads in as many tasks at once / one POST per value over plain aiohttp",
        found=_ratio(ours, theirs),
        must=must,
        aim=aim,
        sides=" / ".join(f"{_COUNT / statistics.median(each):,.0f} values/s" for each in (ours, theirs)),
    )


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times as fast ours was."""
    return Spread.of([their / our for our, their in zip(ours, theirs, strict=True)])
