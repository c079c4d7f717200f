"""Bulk runs with a client: how many requests there are at once, pauses, and the end of the client or its loop."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from ioto_async import CallTimeoutError, ClientStateError, Limits, OutcomeUnknownError, RateLimitedError, RetryPolicy
from ioto_async.bulk import Bulk, Progress
from ioto_async.operations import Kind
from tests.rawserver import GUARD, Request, Step, client_of, in_thread, reply, served

from .calls import Calls, Crowd, device, no_task_is_left, outcomes, states, statuses, turns


async def test_a_method_of_a_client_is_called_for_each_item() -> None:
    async with served(handler=lambda request: reply(200, device(request))) as (server, client):
        run = client.bulk(client.device.claim, (f"D{number}" for number in range(50)))
        found = {outcome.key: outcome.value.id async for outcome in run if outcome.value is not None}
    assert found == {f"D{number}": f"D{number}" for number in range(50)}
    assert {request.path for request in server.requests} == {"/tok/device/claim"}
    assert len(server.requests) == 50


@pytest.mark.parametrize("status", [429, 503])
async def test_requests_that_are_sent_again_are_attempts(status: int) -> None:
    refusals = {"D1": 2, "D2": 0, "D3": 1}

    def handler(request: Request) -> Step:
        id = request.json["id"]
        if refusals[id]:
            refusals[id] -= 1
            return reply(status, "slow down", headers={"Retry-After": "0"})
        return reply(200, device(request))

    async with served(handler=handler) as (_, client):
        run = client.bulk(client.device.claim, ["D1", "D2", "D3"], concurrency=1)
        found = {outcome.key: (outcome.status, outcome.attempts) async for outcome in run}
    assert found == {"D1": ("ok", 3), "D2": ("ok", 1), "D3": ("ok", 2)}
    assert run.summary.attempts == 6


async def test_attempts_of_an_item_that_fails_count_as_well() -> None:
    refused = reply(503, "slow down", headers={"Retry-After": "0"})
    async with served(*[refused] * 3, retry=RetryPolicy(attempts=3, base=0)) as (_, client):
        (outcome,) = await outcomes(client.bulk(client.device.claim, ["D1"], concurrency=1))
    assert (outcome.status, outcome.attempts) == ("failed", 3)


async def test_attempts_are_those_of_the_item_also_when_the_call_makes_several_requests_at_once() -> None:
    refused = {"D1a", "D1b", "D2a"}

    def handler(request: Request) -> Step:
        id = request.json["id"]
        if id in refused:
            refused.discard(id)
            return reply(429, "slow down", headers={"Retry-After": "0"})
        return reply(200, device(request))

    async with served(handler=handler) as (_, client):

        async def both(item: str) -> None:
            async with asyncio.TaskGroup() as group:
                for letter in "ab":
                    group.create_task(client.device.get(item + letter))

        run = client.bulk(both, ["D1", "D2", "D3"], concurrency=1)
        found = {outcome.key: outcome.attempts async for outcome in run}
    assert found == {"D1": 3, "D2": 2, "D3": 1}


async def test_a_connection_that_breaks_makes_an_operation_that_must_not_be_repeated_unknown() -> None:
    async with served(Step(close=True), reply(200, {})) as (server, client):
        run = client.bulk(client.action.invoke, ["restart", "report"], concurrency=1, ordered=True)
        found = [(outcome.status, type(outcome.error)) async for outcome in run]
    assert found == [("unknown", OutcomeUnknownError), ("ok", type(None))]
    assert len(server.requests) == 2


async def test_auto_begins_with_few_requests_and_has_more_of_them_as_they_are_served() -> None:
    crowd = Crowd()
    async with served(handler=crowd, limit=64) as (server, client):
        done = asyncio.ensure_future(outcomes(client.bulk(client.device.claim, map(str, range(600)))))
        await server.received(1)
        await turns()
        highest = begin = crowd.waiting
        assert begin <= 8
        while not done.done():
            highest = max(highest, crowd.waiting)
            crowd.release(crowd.waiting)
            await asyncio.sleep(0)
        assert len(await done) == 600
    assert begin < highest <= 64


async def test_two_runs_of_a_client_and_its_clone_share_what_was_found_out() -> None:
    crowd = Crowd()
    async with served(handler=crowd, limit=64) as (server, client):
        clone = client.with_options(retries=1)
        runs = client.bulk(client.device.claim, map(str, range(50))), clone.bulk(clone.device.get, map(str, range(50)))
        done = asyncio.ensure_future(asyncio.gather(*map(outcomes, runs)))
        await server.received(2)
        for _ in range(20):
            await turns(10)
        assert crowd.waiting <= client._pool.limiter.limit == clone._pool.limiter.limit
        assert client._pool.limiter.limit < 64
        while not done.done():
            assert crowd.waiting <= client._pool.limiter.limit
            crowd.release(1)
            await asyncio.sleep(0)
        assert [len(found) for found in await done] == [50, 50]
        assert client._pool.limiter.limit == math.inf, "the search goes on although the runs are over"


async def test_the_search_is_over_when_the_loop_is_left() -> None:
    async with served(handler=lambda request: reply(200, device(request))) as (_, client):
        async with client.bulk(client.device.claim, map(str, range(100))) as run:
            async for _ in run:
                assert client._pool.limiter.limit < math.inf
                break
        assert client._pool.limiter.limit == math.inf


async def test_a_run_keeps_to_the_limits_of_its_client() -> None:
    crowd = Crowd()
    async with served(handler=crowd, limits=Limits(in_flight=2)) as (server, client):
        done = asyncio.ensure_future(outcomes(client.bulk(client.device.claim, map(str, range(20)), concurrency=8)))
        while not done.done():
            assert crowd.waiting <= 2
            crowd.release(1)
            await asyncio.sleep(0)
        assert len(await done) == 20
    assert len(server.requests) == 20


async def test_auto_has_more_calls_at_once_while_they_spend_their_time_beside_the_client() -> None:
    """They may wait for a database, say, so that it would be of no use to have few of them."""
    calls = Calls()
    async with served(limit=32) as (_, client):
        done = asyncio.ensure_future(outcomes(client.bulk(calls, range(10_000))))
        await turns()
        begin = len(calls.open)
        while not done.done():
            await turns(20)
            calls.give_all()
        assert len(await done) == 10_000
    assert begin <= 8
    assert 32 <= calls.highest <= begin + 32, "a limit that nobody uses has risen"


async def test_auto_has_fewer_calls_at_once_again_when_they_wait_for_the_client() -> None:
    crowd, calls = Crowd(), Calls()
    busy = 0

    async with served(handler=crowd, limit=16) as (server, client):

        async def call(item: int) -> None:
            nonlocal busy
            if item < 300:
                await calls(item)
                return
            busy += 1
            try:
                await client.device.get(str(item))
            finally:
                busy -= 1

        done = asyncio.ensure_future(outcomes(client.bulk(call, range(1000))))
        while not server.requests:
            await turns(20)
            calls.give_all()
        assert calls.highest > 16
        most = 0
        while not done.done():
            calls.give_all()
            crowd.release(crowd.waiting)
            await asyncio.sleep(0)
            if len(server.requests) > 600:
                most = max(most, busy)
        assert len(await done) == 1000
    assert most <= 16 + 2, "calls that only stand in line have begun"


async def test_with_a_fixed_concurrency_no_call_runs_out_of_time_while_it_waits_for_a_connection() -> None:
    release = asyncio.Event()

    def handler(request: Request) -> Step:
        hold = release if request.json["id"] in ("D0", "D1") else None
        return reply(200, device(request), hold=hold)

    async with served(handler=handler, limit=2) as (server, client), served(Step()) as (_, other):

        async def call(item: str) -> None:
            # The two that hold the connections may take any time.
            await client.device.claim(item, timeout=None if item in ("D0", "D1") else 0.5, retries=0)

        run = client.bulk(call, [f"D{number}" for number in range(20)], concurrency=10)
        done = asyncio.ensure_future(statuses(run))
        await server.received(2)
        with pytest.raises(CallTimeoutError):  # as they would, had their time begun
            await other.device.get("D", timeout=0.6, retries=0)
        assert len(server.requests) == 2
        release.set()
        assert set((await done).values()) == {"ok"}


async def test_leaving_a_run_leaves_no_connection_in_use() -> None:
    crowd = Crowd()
    async with served(handler=crowd) as (server, client):
        async with client.bulk(client.device.claim, map(str, range(100)), concurrency=4) as run:
            task = asyncio.ensure_future(_consume_one(run))
            await server.received(4)
            crowd.release(1)
            await task
        assert client._pool.limiter.in_flight == 0
        crowd.release(100)  # else the server does not see that nobody waits any more
        await server.until(lambda: server.open <= 1)
    await no_task_is_left()


async def _consume_one(run: Bulk[Any, Any]) -> None:
    async for _ in run:
        break


async def test_closing_the_client_ends_the_run_and_only_what_is_in_flight_is_unknown(tmp_path: Path) -> None:
    """What was sent may have been done; what was not sent is for the next run."""
    held = asyncio.Event()
    async with served(handler=lambda request: reply(200, {}, hold=held)) as (server, client):
        run = client.bulk(
            client.action.invoke, map(str, range(20)), concurrency=4, journal=tmp_path / "journal", kind=Kind.ONCE
        )
        found: dict[str, str] = {}

        async def gather() -> None:
            async for outcome in run:
                found[outcome.item] = outcome.status

        done = asyncio.ensure_future(gather())
        await server.received(4)
        await client.aclose()
        with pytest.raises(ClientStateError, match="closed"):
            await done
        held.set()
    sent = {request.json["name"] for request in server.requests}
    assert found == dict.fromkeys(sent, "unknown")
    noted = states(tmp_path / "journal")
    assert {key for key, state in noted.items() if state == "unknown"} == sent
    assert set(noted.values()) <= {"unknown", "undone"}
    assert len(noted) <= 8, "items were read although nothing can be done for them"
    later: list[str] = []

    async def call(item: str) -> None:
        later.append(item)

    options: Any = {"concurrency": 4, "journal": tmp_path / "journal", "kind": Kind.ONCE, "name": "action/invoke"}
    await outcomes(Bulk(call, map(str, range(20)), **options))
    assert sorted(later) == sorted(set(map(str, range(20))) - sent)


async def test_a_run_waits_for_the_end_of_a_pause_and_fails_no_item_for_it() -> None:
    refusals = iter([reply(429, "slow down", headers={"Retry-After": "0.05"})])

    def handler(request: Request) -> Step:
        return next(refusals, None) or reply(200, device(request))

    policy = RetryPolicy(attempts=2, elapsed=0.06, base=0)
    async with served(handler=handler, retry=policy) as (_, client):
        found = await statuses(client.bulk(client.device.claim, map(str, range(20)), concurrency=4))
    assert set(found.values()) == {"ok"}


@pytest.mark.parametrize("concurrency", [1, 4, "auto"])
@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_is_longer_than_the_time_for_retries_fails_no_item(status: int, concurrency: Any) -> None:
    """Not the one that came first either: that it is told of the pause is no fault of it."""
    refusals = [reply(status, "slow down", headers={"Retry-After": "0.05"}) for _ in range(2)]

    def handler(request: Request) -> Step:
        return refusals.pop() if refusals else reply(200, device(request))

    policy = RetryPolicy(attempts=4, elapsed=0.001, base=0)
    async with served(handler=handler, retry=policy) as (_, client):
        found = await statuses(client.bulk(client.device.claim, map(str, range(20)), concurrency=concurrency))
    assert list(found.values()) == ["ok"] * 20


async def test_beside_a_run_a_call_fails_if_the_pause_is_longer_than_its_time() -> None:
    refused = reply(429, "slow down", headers={"Retry-After": "30"})
    async with served(refused, retry=RetryPolicy(elapsed=1)) as (_, client):
        with pytest.raises(RateLimitedError):
            await client.device.claim("D1")


async def test_the_progress_tells_of_a_pause_and_then_of_no_end() -> None:
    seen = asyncio.Queue[Progress]()

    def handler(request: Request) -> Step:
        if request.json["id"] == "5":
            return reply(429, "slow down", headers={"Retry-After": "100"})
        return reply(200, device(request))

    async with served(handler=handler) as (_, client):
        run = client.bulk(client.device.claim, list(map(str, range(50))), concurrency=1, observer=seen.put_nowait)
        done = asyncio.ensure_future(outcomes(run))
        async with asyncio.timeout(GUARD):
            progress = await seen.get()
            while not progress.paused:
                progress = await seen.get()
        assert 0 < progress.paused <= 100
        assert progress.rate > 0
        assert progress.eta is None
        run.stop()
        assert len(await done) == 5


def test_a_run_of_a_client_works_in_one_loop_after_another() -> None:
    with in_thread(*[reply(200, {"id": "D", "accountId": "A1"}, close=True)] * 20) as server:
        client = client_of(server, limits=Limits(in_flight=3))

        async def main() -> int:
            async with client:
                return len(await outcomes(client.bulk(client.device.claim, map(str, range(10)))))

        assert [asyncio.run(main()), asyncio.run(main())] == [10, 10]
