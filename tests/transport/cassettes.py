"""What the tests of cassettes share."""

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from ioto_async import Cassette, IotoClient
from tests.rawserver import GUARD, reply, served


def player(path: Path, **options: Any) -> IotoClient:
    """A client of a cassette, which knows no token, no endpoint and no account."""
    cassette = Cassette(path, "none", **options)
    return IotoClient(cassette=cassette, environ={}, timeout=GUARD)


async def failure(call: Awaitable[object]) -> Exception:
    try:
        await call
    except Exception as error:  # noqa: BLE001
        return error
    raise AssertionError("nothing was raised")


async def recorded(path: Path, *ids: str) -> None:
    async with served(handler=lambda request: reply(200, request.json), cassette=Cassette(path, "all")) as (_, client):
        for id in ids:
            await client.device.get(id)
