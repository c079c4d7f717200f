"""How many ``device/get`` the embedded cloud answers in a second, on one core."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import attrs
import orjson

from ioto_async.emulator import Emulator

from .beside import Beside, beside
from .driver import driver, post
from .slices import Player, Slice, take_turns
from .table import Row

__all__ = ["measure"]

_CONNECTIONS: Final = 16
_CALLS: Final = 800
_GOAL: Final = 2000.0


@attrs.frozen
class _Cloud:
    """What has to be known to ask an emulator for a device."""

    api: str
    token: str
    device_id: str
    account_id: str


@asynccontextmanager
async def _emulator() -> AsyncIterator[_Cloud]:
    async with Emulator() as emulator:
        device_id = emulator.cloud.register_device()
        emulator.cloud.claim_device(device_id)
        yield _Cloud(emulator.api, emulator.token, device_id, emulator.account_id)


def measure(rounds: int) -> list[Row]:
    """Measure the emulator as its users run it: in memory, without tuning."""
    print("emulator ...", file=sys.stderr, flush=True)
    with beside(_emulator) as server:
        slices = asyncio.run(_slices(server, rounds))
    return [Row(name="emulator, device/get", in_flight=_CONNECTIONS, goal=_GOAL).costs(slices)]


async def _slices(server: Beside[_Cloud], rounds: int) -> dict[int, Slice]:
    cloud = server.where
    url = urlsplit(cloud.api)
    assert url.port is not None  # the emulator always names it
    headers = {"Host": url.netloc, "Authorization": cloud.token, "Content-Type": "application/json"}
    body = orjson.dumps({"id": cloud.device_id, "accountId": cloud.account_id})
    async with driver(url.port, post("/tok/device/get", headers, body), _CONNECTIONS) as drive:
        slices = await take_turns({"emulator": Player(drive, _CALLS)}, rounds, cpu=server.cpu)
    return slices["emulator"]
