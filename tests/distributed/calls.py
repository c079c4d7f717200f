"""What the tests of distributed runs have workers call; by itself, so that workers need not load the tests."""

import asyncio
import os
import signal
from pathlib import Path
from typing import NoReturn

from distributed import get_worker

from ioto_async import IotoClient, Limits, NotFoundError

CLIENTS: list[IotoClient] = []
LIMITS: list[Limits] = []
"""Those of the clients that `connect` has made in this process."""


def connect(limits: Limits) -> IotoClient:
    client = IotoClient.from_env(limits=limits)
    CLIENTS.append(client)
    LIMITS.append(limits)
    return client


async def claim(client: IotoClient, id: str) -> str:
    device = await client.device.claim(id)
    return device.id or ""


async def claim_and_die(client: IotoClient, id: str, *, last: str, marker: Path) -> str:
    """Claim; the process that does so for *last* does not live to tell, the first time."""
    device = await client.device.claim(id)
    die(id == last, marker)
    return device.id or ""


async def set_and_die(client: IotoClient, key: str, *, last: str, marker: Path) -> str:
    """As `claim_and_die`, with a call that may be made twice."""
    await client.store.set(key, "colour", "red")
    die(key == last, marker)
    return key


def die(is_time: bool, marker: Path) -> None:
    if is_time and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


async def die_always(client: IotoClient, item: int) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("alive")


async def is_claimed(client: IotoClient, id: str) -> bool:
    try:
        await client.device.get(id)
    except NotFoundError:
        return False
    return True


async def where(client: IotoClient, item: int) -> tuple[str, float | None, int]:
    """Where this is, at which rate, and how many clients were made there."""
    return get_worker().address, LIMITS[-1].rate, len(LIMITS)


BEGUN = asyncio.Event()
GO_ON = asyncio.Event()
CUT_OFF = asyncio.Event()
ENDED: list[int] = []


async def hold(client: IotoClient, item: int) -> int:
    """In the process of the test: from the tenth item on, tell that it has begun, and wait."""
    if item >= 10:
        BEGUN.set()
        try:
            await GO_ON.wait()
        except asyncio.CancelledError:
            CUT_OFF.set()
            raise
        finally:
            ENDED.append(item)
    return item


class Stubborn(Exception):
    """Can be pickled, and not be made again."""

    def __init__(self, *, why: str) -> None:
        super().__init__(why)


async def raise_stubborn(client: IotoClient, item: int) -> int:
    if item % 2:
        raise Stubborn(why="a secret")
    return item


async def return_stubborn(client: IotoClient, item: int) -> object:
    return (number for number in range(3)) if item % 2 else item
