"""What is left for the next run when one ends early: all for which nothing was sent, and nothing else."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from ioto_async import AuthenticationError, Limits, RetryPolicy, TokenProviderError
from ioto_async.operations import Kind
from tests.rawserver import GUARD, RawServer, Request, Step, client_of, in_thread, reply, served

from .calls import outcomes, states, statuses, turns, until, written

ONE_AT_ONCE = Limits(in_flight=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def names(server: RawServer) -> list[str]:
    return [request.json["name"] for request in server.requests]


async def goes_on(path: Path, items: list[str]) -> dict[str, str]:
    """What the next run makes of the items."""
    async with served(handler=lambda _: reply(200, {})) as (_, client):
        return await statuses(client.bulk(client.action.invoke, items, journal=path, concurrency=1))


class Queue:
    """A handler that answers *at_once* so many requests and never the others."""

    def __init__(self, at_once: int = 0) -> None:
        self._left = at_once

    def __call__(self, request: Request) -> Step:
        self._left -= 1
        return reply(200, {}) if self._left >= 0 else Step()


@pytest.mark.parametrize("concurrency", [4, "auto"])
@pytest.mark.parametrize("ordered", [False, True])
async def test_when_the_grace_is_over_only_what_was_sent_is_unknown(
    path: Path, concurrency: Any, *, ordered: bool
) -> None:
    async with served(handler=Queue(), limits=ONE_AT_ONCE) as (server, client):
        run = client.bulk(client.action.invoke, list("abcdef"), concurrency=concurrency, journal=path, ordered=ordered)
        done = asyncio.ensure_future(statuses(run))
        await server.received(1)
        await turns()
        run.stop(grace=0)
        assert await done == {"a": "unknown"}
        assert names(server) == ["a"]
    noted = states(path)
    assert noted.pop("a") == "unknown"
    assert set(noted.values()) <= {"undone"}
    assert await goes_on(path, list("abcdef")) == {"a": "unknown", **dict.fromkeys("bcdef", "ok")}


async def test_calls_that_wait_for_their_turn_end_at_once_when_the_run_stops_and_those_in_flight_may_go_on(
    path: Path,
) -> None:
    held = asyncio.Event()
    async with served(handler=lambda _: reply(200, {}, hold=held), limits=ONE_AT_ONCE) as (server, client):
        run = client.bulk(client.action.invoke, list("abcdef"), concurrency=4, journal=path)
        done = asyncio.ensure_future(statuses(run))
        await server.received(1)
        await turns()
        run.stop()
        await turns()
        assert not done.done()
        held.set()
        assert await done == {"a": "ok"}
        assert names(server) == ["a"]
    assert await goes_on(path, list("abcdef")) == {"a": "skipped", **dict.fromkeys("bcdef", "ok")}


@pytest.mark.parametrize("in_flight", [1, None])
@pytest.mark.parametrize("concurrency", [1, 4, "auto"])
async def test_a_run_that_is_told_to_stop_in_a_long_pause_ends_at_once(
    path: Path, concurrency: Any, in_flight: int | None
) -> None:
    pause = reply(429, "slow down", headers={"Retry-After": "100"})
    async with served(handler=lambda _: pause, limits=Limits(in_flight=in_flight)) as (_, client):
        run = client.bulk(client.action.invoke, list("abcdef"), concurrency=concurrency, journal=path)
        done = asyncio.ensure_future(outcomes(run))
        await until(lambda: client._pool.limiter.pauses.left > 0)
        await turns()
        assert not done.done()
        run.stop("it takes too long")
        assert await done == []
        assert run.summary.stopped == "it takes too long"
    assert set(states(path).values()) == {"undone"}
    assert await goes_on(path, list("abcdef")) == dict.fromkeys("abcdef", "ok")


async def test_a_run_that_is_told_to_stop_while_a_refused_call_waits_to_be_sent_again_ends_at_once(path: Path) -> None:
    policy = RetryPolicy(base=1e9, cap=1e9, elapsed=math.inf)
    async with served(handler=lambda _: reply(429, "slow down"), retry=policy) as (server, client):
        run = client.bulk(client.action.invoke, list("abc"), concurrency=1, journal=path)
        done = asyncio.ensure_future(outcomes(run))
        await server.received(1)
        await until(lambda: client._pool.limiter.in_flight == 0)
        run.stop()
        assert await done == []
        assert names(server) == ["a"]
    assert states(path) == {"a": "undone"}
    assert await goes_on(path, list("abc")) == dict.fromkeys("abc", "ok")


async def test_a_call_that_was_in_flight_when_the_run_stopped_does_not_wait_to_be_sent_again(path: Path) -> None:
    refusal = asyncio.Event()
    pause = reply(429, "slow down", headers={"Retry-After": "100"}, hold=refusal)
    async with served(handler=lambda _: pause) as (server, client):
        run = client.bulk(client.action.invoke, list("abc"), concurrency=2, journal=path)
        done = asyncio.ensure_future(outcomes(run))
        await server.received(2)
        run.stop()
        refusal.set()
        assert await done == []
        assert sorted(names(server)) == ["a", "b"]
    assert states(path) == {"a": "undone", "b": "undone"}


async def test_a_call_that_may_have_worked_is_unknown_if_it_cannot_be_sent_again_any_more(path: Path) -> None:
    """It could have been, as it does the same twice; but the run was stopped."""
    policy = RetryPolicy(base=1e9, cap=1e9, elapsed=math.inf)
    async with served(handler=lambda _: reply(500, "ouch"), retry=policy) as (server, client):
        run = client.bulk(client.device.claim, list("abc"), concurrency=1, journal=path)
        done = asyncio.ensure_future(statuses(run))
        await server.received(1)
        await until(lambda: client._pool.limiter.in_flight == 0)
        run.stop()
        assert await done == {"a": "unknown"}


@pytest.mark.parametrize("concurrency", [1, 4, "auto"])
async def test_after_the_refusal_of_a_token_no_other_request_is_sent(path: Path, concurrency: Any) -> None:
    async with served(handler=lambda _: reply(401, "no entry"), limits=ONE_AT_ONCE) as (server, client):
        run = client.bulk(
            client.action.invoke, list("abcdef"), concurrency=concurrency, journal=path, stop_on=AuthenticationError
        )
        with pytest.raises(AuthenticationError):
            await outcomes(run)
        assert names(server) == ["a"]
    assert set(states(path).values()) == {"undone"}
    assert await goes_on(path, list("abcdef")) == dict.fromkeys("abcdef", "ok")


async def test_a_provider_of_tokens_that_fails_may_end_the_run_and_leaves_all_items_for_the_next(path: Path) -> None:
    async def provider() -> str:
        await turns()
        raise LookupError

    async with served(login=provider, origin="app.ioto.me") as (server, client):
        run = client.bulk(client.action.invoke, list("abcdef"), concurrency=4, journal=path, stop_on=TokenProviderError)
        with pytest.raises(TokenProviderError):
            await outcomes(run)
    assert server.requests == []
    assert set(states(path).values()) == {"undone"}


@pytest.mark.parametrize("concurrency", [4, "auto"])
async def test_leaving_the_loop_leaves_what_waits_for_its_turn_to_the_next_run(path: Path, concurrency: Any) -> None:
    async with served(handler=Queue(1), limits=ONE_AT_ONCE) as (server, client):

        async def take_one() -> None:
            async with client.bulk(client.action.invoke, list("abcdef"), concurrency=concurrency, journal=path) as run:
                async for outcome in run:
                    assert outcome.status == "ok"
                    await server.received(2)
                    await turns()
                    break

        async with asyncio.timeout(GUARD):
            await take_one()
        assert names(server) == ["a", "b"]
    assert await goes_on(path, list("abcdef")) == {"a": "skipped", "b": "unknown", **dict.fromkeys("cdef", "ok")}


@pytest.mark.parametrize("way", ["a task", "between two outcomes", "without a task"])
def test_the_end_of_the_loop_leaves_what_waits_for_its_turn_to_the_next_run(path: Path, way: str) -> None:
    sent: list[str] = []

    async def main(url: str) -> None:
        client = client_of(url, limits=ONE_AT_ONCE)
        run = client.bulk(client.action.invoke, list("abcdef"), concurrency=4, journal=path)
        given = aiter(run)
        await anext(given)
        if way == "a task":
            task = asyncio.ensure_future(anext(given))
            await until(lambda: len(server.requests) == 2)
            await turns()
            assert not task.done()
        elif way == "between two outcomes":
            await until(lambda: len(server.requests) == 2)
            await turns()
        kept.append((client, run, given))

    kept: list[Any] = []
    with in_thread(reply(200, {}), Step()) as server:
        asyncio.run(main(server.url))
        sent.extend(names(server))
        asyncio.run(kept[0][0].aclose())
    found = asyncio.run(goes_on(path, list("abcdef")))
    assert found["a"] == "skipped"
    assert {key for key, status in found.items() if status == "unknown"} == set(sent) - {"a"}
    assert {key for key, status in found.items() if status == "ok"} == set("abcdef") - set(sent)


# What was in doubt before -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["sent", "unknown"])
@pytest.mark.parametrize("way", ["stop", "grace", "leave"])
async def test_what_was_in_doubt_before_is_in_doubt_after_a_run_that_has_not_come_to_send_it(
    path: Path, state: str, way: str
) -> None:
    written(path, ("b", "sent"), ("b", state), call="device/claim")
    async with served(handler=Queue(), limits=ONE_AT_ONCE) as (server, client):
        run = client.bulk(client.device.claim, ["a", "b", "c"], concurrency=3, journal=path)
        done = asyncio.ensure_future(outcomes(run))
        await server.received(1)
        await turns()
        if way == "leave":
            done.cancel()
        else:
            run.stop(grace=0)
        await asyncio.wait([done])
    assert states(path)["b"] in ("sent", "unknown")
    assert states(path)["c"] == "undone"
    async with served(handler=lambda _: reply(200, {})) as (server, client):
        run = client.bulk(client.device.claim, ["b", "c"], concurrency=1, journal=path, kind=Kind.ONCE)
        assert await statuses(run) == {"b": "unknown", "c": "ok"}
        assert len(server.requests) == 1


# Items with one key -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("way", ["stop", "grace", "leave"])
async def test_items_with_the_key_of_one_that_was_not_sent_are_left_to_the_next_run_as_well(
    path: Path, way: str, *, ordered: bool
) -> None:
    items = ["a", "b", "b", "b", "c"]
    async with served(handler=Queue(), limits=ONE_AT_ONCE) as (server, client):
        run = client.bulk(client.action.invoke, items, concurrency=4, journal=path, ordered=ordered)
        done = asyncio.ensure_future(outcomes(run))
        await server.received(1)
        await turns()
        if way == "leave":
            done.cancel()
        else:
            run.stop(grace=0 if way == "grace" else None)
            await turns()
            run.stop(grace=0)
        await asyncio.wait([done])
        if way != "leave":
            assert [(outcome.key, outcome.status) for outcome in await done] == [("a", "unknown")]
    noted = states(path)
    assert noted.pop("a") in ("unknown", "sent")
    assert set(noted.values()) <= {"undone"}
    async with served(handler=lambda _: reply(200, {})) as (server, client):
        later = await outcomes(client.bulk(client.action.invoke, items, concurrency=4, journal=path))
        assert sorted(names(server)) == ["b", "c"]
    assert sorted((outcome.key, outcome.status) for outcome in later) == [
        ("a", "unknown"),
        ("b", "ok"),
        ("b", "skipped"),
        ("b", "skipped"),
        ("c", "ok"),
    ]
