"""A typed call through `IotoClient` against what else could be used, with the same request to the same server."""

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiohttp
import httpx
import orjson

from ioto_async import IotoClient, __version__
from ioto_async.models import Device

from .beside import beside
from .driver import driver, post
from .responder import ACCOUNT_ID, DEVICE_ID, responder
from .slices import Player, Slice, take_turns, workers
from .table import Row

__all__ = ["measure"]

Call = Callable[[], Awaitable[Device | dict[str, Any]]]

_TOKEN: Final = "01K3D8S0F6Z2J4M7P9R1V5X3YB"
_PATH: Final = "/tok/device/get"
_BODY: Final = {"id": DEVICE_ID, "accountId": ACCOUNT_ID}
_HEADERS: Final = {
    "Accept": "application/json",
    "Authorization": _TOKEN,
    "Content-Type": "application/json",
    "User-Agent": f"ioto-async/{__version__}",
}
_TIMEOUT: Final = 30.0
_KEEPALIVE: Final = 15.0

_CALLS: Final = {64: 640, 8: 480, 1: 200}
"""Calls in a slice, by how many are in flight: less than a tenth of a second, and enough to fill the pool."""
_SLOW_CALLS: Final = {64: 256, 8: 96, 1: 96}
_SLOW_EVERY: Final = 4
_BARE_CALLS: Final = 1920

_OURS: Final = "IotoClient"
_BASE: Final = "aiohttp + orjson"
_SLOW: Final = "httpx + orjson"
_BARE: Final = "bare protocol (no client)"
_GOAL: Final = 0.9
_SLOW_GOAL: Final = 15.0
_SERVER: Final = Row(
    name="server / the fastest client",
    in_flight=max(_CALLS),
    goal=3.0,
    warning="the server is not clearly faster than the clients: their ratios are too close to 1",
)


@asynccontextmanager
async def _ours(base: str, in_flight: int) -> AsyncIterator[Call]:
    async with IotoClient(
        base, token=_TOKEN, account_id=ACCOUNT_ID, environ={}, limit=in_flight, keepalive=_KEEPALIVE, timeout=_TIMEOUT
    ) as client:
        yield lambda: client.device.get(DEVICE_ID)


def _session(in_flight: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=in_flight, keepalive_timeout=_KEEPALIVE)
    return aiohttp.ClientSession(
        connector=connector, headers=_HEADERS, timeout=aiohttp.ClientTimeout(total=_TIMEOUT, sock_connect=10)
    )


@asynccontextmanager
async def _aiohttp_orjson(base: str, in_flight: int) -> AsyncIterator[Call]:
    url = base + _PATH
    async with _session(in_flight) as session:

        async def call() -> dict[str, Any]:
            async with session.post(url, data=orjson.dumps(_BODY)) as response:
                response.raise_for_status()
                return orjson.loads(await response.read())  # type: ignore[no-any-return]

        yield call


@asynccontextmanager
async def _aiohttp_json(base: str, in_flight: int) -> AsyncIterator[Call]:
    url = base + _PATH
    async with _session(in_flight) as session:

        async def call() -> dict[str, Any]:
            async with session.post(url, json=_BODY) as response:
                response.raise_for_status()
                return await response.json()  # type: ignore[no-any-return]

        yield call


@asynccontextmanager
async def _httpx_orjson(base: str, in_flight: int) -> AsyncIterator[Call]:
    url = base + _PATH
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight, keepalive_expiry=_KEEPALIVE)
    # A proxy in the environment is not for a server on this machine.
    async with httpx.AsyncClient(headers=_HEADERS, limits=limits, timeout=_TIMEOUT, trust_env=False) as client:

        async def call() -> dict[str, Any]:
            response = await client.post(url, content=orjson.dumps(_BODY))
            response.raise_for_status()
            return orjson.loads(response.content)  # type: ignore[no-any-return]

        yield call


_CLIENTS: Final[Mapping[str, Callable[[str, int], AbstractAsyncContextManager[Call]]]] = {
    _BASE: _aiohttp_orjson,
    _OURS: _ours,
    "aiohttp json=, .json()": _aiohttp_json,
    _SLOW: _httpx_orjson,
}


def measure(rounds: int) -> list[Row]:
    """Measure all clients, at 64, 8 and 1 in flight."""
    rows = []
    with beside(responder) as server:
        for in_flight in _CALLS:
            print(f"clients, {in_flight} in flight ...", file=sys.stderr, flush=True)
            slices = asyncio.run(_slices(server.where, in_flight, rounds))
            rows += _rows(slices, in_flight)
    return rows


async def _slices(port: int, in_flight: int, rounds: int) -> dict[str, dict[int, Slice]]:
    base = f"http://127.0.0.1:{port}"
    players = {}
    async with AsyncExitStack() as stack:
        for name, client in _CLIENTS.items():
            call = await stack.enter_async_context(client(base, in_flight))
            await _check(name, call)
            slow = name == _SLOW
            calls = (_SLOW_CALLS if slow else _CALLS)[in_flight]
            players[name] = Player(workers(call, in_flight), calls, _SLOW_EVERY if slow else 1)
        if in_flight == max(_CALLS):
            request = post(_PATH, {"Host": f"127.0.0.1:{port}", **_HEADERS}, orjson.dumps(_BODY))
            bare = await stack.enter_async_context(driver(port, request, in_flight))
            players[_BARE] = Player(bare, _BARE_CALLS)
        return await take_turns(players, rounds)


async def _check(name: str, call: Call) -> None:
    device = await call()
    found = device.id if isinstance(device, Device) else device["id"]
    if found != DEVICE_ID:
        raise RuntimeError(f"{name}: expected the device {DEVICE_ID}, got {device!r}")


def _rows(slices: Mapping[str, Mapping[int, Slice]], in_flight: int) -> list[Row]:
    """The rows of one concurrency; only at the highest are there goals, and the look at the server."""
    goals = in_flight == max(_CALLS)
    base = slices[_BASE]
    rows = []
    for name, turns in slices.items():
        row = Row(name=name, in_flight=in_flight, goal=_GOAL if goals and name == _OURS else None).costs(turns)
        rows.append(row if name == _BASE else row.against(turns, base))
    slow = Row(name=f"{_OURS} / httpx", in_flight=in_flight, goal=_SLOW_GOAL if goals else None)
    rows.append(slow.against(slices[_OURS], slices[_SLOW]))
    if goals:
        fastest = min((slices[name] for name in _CLIENTS), key=_median_wall)
        rows.append(_SERVER.against(slices[_BARE], fastest))
    return rows


def _median_wall(turns: Mapping[int, Slice]) -> float:
    return statistics.median(slice_.wall for slice_ in turns.values())
