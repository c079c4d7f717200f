"""Pauses that a service asks for: whom they hold back, for how long, and when they end."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

import ioto_async.transport.limiter as limiter_module
import ioto_async.transport.pauses as pauses_module
import ioto_async.transport.transport as transport_module
from ioto_async import BuilderClient, Limits, RateLimitedError, RetryPolicy, ServiceError
from tests.rawserver import GUARD, RawServer, Request, Step, client_of, reply, served

DEVICE = {"id": "D1", "accountId": "A1"}
LONG = {"Retry-After": "999999999"}
NEVER = RetryPolicy(attempts=1)


def slow_down(status: int = 429) -> Step:
    return reply(status, "slow down", headers=LONG)


class Clock:
    """A time that passes only when the test says so."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (limiter_module, pauses_module, transport_module):
            patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))


async def test_a_longer_retry_after_than_allowed_fails_the_call_that_met_it_and_holds_the_others_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    async with served(slow_down(), reply(200, DEVICE), retry=RetryPolicy(elapsed=1e9)) as (server, client):
        with pytest.raises(RateLimitedError) as caught:
            await client.device.get("D1")
        assert (caught.value.sent, caught.value.attempts, caught.value.retry_after) == (True, 1, 999999999)
        waiting = asyncio.create_task(client.device.get("D1"))
        assert client._pool.limiter.pauses.left == 120.0
        for _ in range(20):
            await asyncio.sleep(0)
        assert (waiting.done(), len(server.requests)) == (False, 1)
        clock.now += 120
        assert (await client.device.get("D1")).id == "D1"
        waiting.cancel()


@pytest.mark.parametrize("status", [429, 503])
async def test_the_longest_pause_is_an_option_of_clients_and_clones(status: int) -> None:
    steps = [slow_down(status), reply(200, DEVICE), slow_down(status), reply(200, DEVICE)]
    async with served(*steps, max_retry_after=0) as (server, client):
        for caller in (client, client.with_options(max_retry_after=0.01)):
            with pytest.raises((RateLimitedError, ServiceError)):
                await caller.device.get("D1")
            assert (await client.device.get("D1")).id == "D1"
    assert len(server.requests) == 4


async def test_a_retry_after_that_is_allowed_is_waited_for_although_it_is_longer_than_the_cap_of_other_waits() -> None:
    steps = reply(429, "slow down", headers={"Retry-After": "0.05"}), reply(200, DEVICE)
    async with served(*steps, retry=RetryPolicy(base=0, cap=0), max_retry_after=0.05) as (server, client):
        assert (await client.device.get("D1")).id == "D1"
    assert len(server.requests) == 2


async def test_a_pause_is_of_the_origin_that_asked_for_it() -> None:
    """Neither the Builder nor another device cloud has to do with it."""
    async with (
        RawServer(handler=lambda _: slow_down()) as busy,
        RawServer(handler=lambda _: reply(200, DEVICE)) as idle,
        client_of(busy, builder=idle.url, builder_token="builder-token-012345", retry=NEVER) as client,
    ):
        clone = client.with_options(api=idle.url, token="another-token-0123456789")
        with pytest.raises(RateLimitedError):
            await client.device.get("D1")
        async with asyncio.timeout(GUARD):
            assert (await clone.device.get("D1")).id == "D1"
            assert (await client.builder.device.get("D1")).id == "D1"
        with pytest.raises(RateLimitedError, match="pause"):
            await client.with_options(account_id="A2").device.get("D1")
    assert (len(busy.requests), len(idle.requests)) == (1, 2)


async def test_a_throttled_builder_does_not_stop_the_device_cloud() -> None:
    async with (
        RawServer(handler=lambda _: slow_down()) as busy,
        RawServer(handler=lambda _: reply(200, DEVICE)) as idle,
        client_of(idle, builder=busy.url, builder_token="builder-token-012345", retry=NEVER) as client,
    ):
        with pytest.raises(RateLimitedError):
            await client.builder.device.get("D1")
        async with asyncio.timeout(GUARD):
            assert (await client.device.get("D1")).id == "D1"


async def test_a_pause_ends_with_the_pool() -> None:
    async with RawServer.of(slow_down(), reply(200, DEVICE)) as server:
        client = client_of(server, retry=RetryPolicy(elapsed=1e9))
        async with client:
            with pytest.raises(RateLimitedError):
                await client.device.get("D1")
        async with client, asyncio.timeout(GUARD):
            assert (await client.device.get("D1")).id == "D1"


async def test_a_pause_of_a_builder_client_ends_with_its_pool() -> None:
    async with RawServer.of(slow_down(), reply(200, DEVICE)) as server:
        client = BuilderClient(server.url, token="builder-token-012345", environ={}, retry=RetryPolicy(elapsed=1e9))
        for _ in range(2):
            async with client, asyncio.timeout(GUARD):
                if not server.requests:
                    with pytest.raises(RateLimitedError):
                        await client.device.get("D1")
                else:
                    assert (await client.device.get("D1")).id == "D1"


@pytest.mark.parametrize("days", [-2, 0, 2])
async def test_a_date_is_measured_against_the_reply_although_the_clock_here_is_wrong(days: int) -> None:
    theirs = datetime.now(UTC) + timedelta(days=days)
    dates = {"Date": format_datetime(theirs, usegmt=True)}
    dates["Retry-After"] = format_datetime(theirs + timedelta(seconds=30), usegmt=True)
    async with served(reply(429, "slow down", headers=dates), retry=NEVER) as (_, client):
        with pytest.raises(RateLimitedError) as caught:
            await client.device.get("D1")
        assert caught.value.retry_after == 30
        assert 0 < client._pool.limiter.pauses.left <= 30


@pytest.mark.parametrize("concurrency", [1, 4, "auto"])
async def test_in_a_bulk_run_a_very_long_retry_after_fails_its_item_and_not_the_others(concurrency: int) -> None:
    def handler(request: Request) -> Step:
        id = request.json["id"]
        return slow_down() if id == "D3" else reply(200, {**DEVICE, "id": id})

    async with served(handler=handler, max_retry_after=0.01) as (_, client):
        run = client.bulk(client.device.claim, [f"D{number}" for number in range(8)], concurrency=concurrency)
        found = {outcome.key: outcome async for outcome in run}
    assert {key: outcome.status for key, outcome in found.items()} == {
        **dict.fromkeys(map("D{}".format, range(8)), "ok"),
        "D3": "failed",
    }
    assert isinstance(found["D3"].error, RateLimitedError)
    assert found["D3"].error.retry_after == 999999999


async def test_the_limits_hold_for_all_origins_together_although_pauses_do_not() -> None:
    hold = asyncio.Event()
    async with (
        RawServer(handler=lambda _: reply(200, DEVICE, hold=hold)) as first,
        RawServer(handler=lambda _: reply(200, DEVICE)) as second,
        client_of(first, limits=Limits(in_flight=1)) as client,
    ):
        one = asyncio.create_task(client.device.get("D1"))
        await first.received(1)
        two = asyncio.create_task(client.with_options(api=second.url, token="t-0123456789").device.get("D1"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert second.requests == []
        hold.set()
        await asyncio.gather(one, two)
