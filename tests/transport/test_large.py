"""Reading a large reply holds up neither the loop nor the deadline of its attempt."""

import asyncio
import json
import time
from collections.abc import Generator

import pytest

from ioto_async import CallTimeoutError
from ioto_async.codec.reading import LARGE
from ioto_async.operations import IOTO
from ioto_async.transport.large import read_large
from tests.rawserver import GUARD, reply, served

OPERATION = IOTO["device/find"]
DEVICES = [{"id": f"D{number}", "product": "P" * 100} for number in range(20_000)]
BODY = json.dumps({"data": [*DEVICES, None], "next": "c"}).encode()


async def test_a_large_page_is_read_as_any_other() -> None:
    assert len(BODY) > LARGE
    async with served(reply(200, BODY)) as (_, client):
        page = await client.device.find()
    assert [device.id for device in page.items] == [device["id"] for device in DEVICES]
    assert (page.rejected, page.next) == ([None], "c")


def _endless() -> Generator[None, None, None]:
    while True:
        yield


async def test_the_loop_has_its_turns_while_a_large_reply_is_read() -> None:
    reading = asyncio.create_task(read_large(_endless(), OPERATION, time.monotonic(), None))
    async with asyncio.timeout(GUARD):
        for _ in range(5):
            await asyncio.sleep(0)
    assert not reading.done()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_the_deadline_holds_while_a_large_reply_is_read() -> None:
    with pytest.raises(CallTimeoutError, match=r"device/find: timed out after 0\.02 s, while the reply was read"):
        await read_large(_endless(), OPERATION, time.monotonic(), 0.02)


async def test_a_call_whose_reply_takes_too_long_to_read_fails_and_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ioto_async.transport.transport.in_steps", lambda *_: _endless())
    async with served(reply(200, BODY), timeout=0.5) as (server, client):
        with pytest.raises(CallTimeoutError, match="while the reply was read") as late:
            await client.device.find()
        assert len(server.requests) == 1
    assert (late.value.status, late.value.attempts) == (200, 1)
