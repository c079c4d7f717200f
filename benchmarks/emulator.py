"""How many devices the embedded cloud reads, claims and provisions in a second, on one core."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import attrs
import orjson

from ioto_async.emulator import Emulator

from .bare import bare
from .beside import Beside, beside
from .reference import brief, reference
from .table import Figure, Piece, Row, Section, Spread

__all__ = ["measure"]

_CONNECTIONS: Final = 16
_CALLS: Final = {"device/claim": 400, "device/get": 800, "device/provision": 100}
"""Calls of a round; it claims devices of its own, and the other two are about these."""
_GOALS: Final = {"device/get": (5000, 8000), "device/claim": (2500, 4000), "device/provision": (600, 1000)}
_COLUMNS: Final = ("operation", "calls/s", "quartiles", "server us")
_LEGEND: Final = f"""\
The embedded cloud as its users run it, in memory, on a core of its own; {_CONNECTIONS} connections of the bare
protocol, on another core. server us: CPU time of the cloud's process for a call."""


@attrs.frozen
class _Cloud:
    """What has to be known to work with an emulator."""

    api: str
    token: str
    account_id: str
    devices: list[str]


@attrs.frozen
class _Turn:
    """What a call cost: calls a second, and microseconds of the server's CPU time."""

    rate: float
    server: float


@asynccontextmanager
async def _emulator(devices: int) -> AsyncIterator[_Cloud]:
    async with Emulator() as emulator:
        ids = [emulator.cloud.register_device() for _ in range(devices)]
        yield _Cloud(emulator.api, emulator.token, emulator.account_id, ids)


def measure(rounds: int) -> Iterator[Piece]:
    """Measure the emulator as its users run it: in memory, without tuning."""
    yield Section(title="The embedded cloud on one core", columns=_COLUMNS, legend=_LEGEND)
    claimed = _CALLS["device/claim"]
    # The first round warms up.
    with beside(partial(_emulator, claimed * (rounds + 1))) as server:
        turns, references = asyncio.run(_play(server, rounds))
    for operation, (must, aim) in _GOALS.items():
        rate = Spread.of([turn.rate for turn in turns[operation]])
        cost = Spread.of([turn.server for turn in turns[operation]])
        cells = (operation, f"{rate.median:,.0f}", f"{rate.low:,.0f} to {rate.high:,.0f}", cost.text(0))
        yield Row(cells=cells, raw={"operation": operation, "turns": [attrs.asdict(turn) for turn in turns[operation]]})
        what = f"embedded cloud on one core, {operation}"
        yield Figure(what=what, found=rate, unit="calls/s", must=must, aim=aim, sides=brief(references))


async def _play(server: Beside[_Cloud], rounds: int) -> tuple[dict[str, list[_Turn]], list[float]]:
    cloud = server.where
    headers = {"Authorization": cloud.token, "Content-Type": "application/json"}
    turns: dict[str, list[_Turn]] = {operation: [] for operation in _CALLS}
    references = []
    claimed = _CALLS["device/claim"]
    for turn in range(rounds + 1):
        ids = cloud.devices[turn * claimed : (turn + 1) * claimed]
        references.append(reference())
        for operation, calls in _CALLS.items():
            bodies = []
            for number in range(calls):
                body: dict[str, Any] = {"id": ids[number % claimed]}
                if operation != "device/provision":
                    body["accountId"] = cloud.account_id
                bodies.append(orjson.dumps(body))
            found = await _calls(server, f"{cloud.api}/tok/{operation}", headers, bodies)
            if turn:
                turns[operation].append(found)
    return turns, references


async def _calls(server: Beside[_Cloud], url: str, headers: dict[str, str], bodies: Sequence[bytes]) -> _Turn:
    async with bare(url, headers, None) as exchange:
        left = iter(bodies)

        async def work() -> None:
            for body in left:
                status, reply = await exchange(body)
                if status != 200:
                    raise RuntimeError(f"expected status 200 from {url}, got {status}: {reply[:200]!r}")

        before, began = server.cpu(), time.perf_counter()
        await asyncio.gather(*(work() for _ in range(_CONNECTIONS)))
        seconds, cpu = time.perf_counter() - began, server.cpu() - before
    return _Turn(len(bodies) / seconds, cpu / len(bodies) * 1e6)
