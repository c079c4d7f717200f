"""Items that must not overtake each other: those of one sequence key are called for one after the other."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ioto_async import InvalidArgumentError, Limits
from ioto_async.bulk import Bulk
from tests.rawserver import Request, Step, reply, served

from .calls import Calls, no_task_is_left, outcomes, states, statuses, turns, until


def letter(item: str) -> str | None:
    """The sequence of an item: its letter; none for what has no number."""
    return item[0] if item[1:] else None


def sequenced(calls: Any, items: list[str], **options: Any) -> Bulk[str, Any]:
    return Bulk(calls, items, concurrency=8, sequence_key=letter, **options)


@pytest.mark.parametrize("journaled", [False, True])
async def test_items_of_one_sequence_wait_for_each_other_and_for_no_others(tmp_path: Path, *, journaled: bool) -> None:
    calls = Calls()
    run = sequenced(calls, ["a1", "a2", "b1", "a3", "c"], journal=tmp_path / "journal" if journaled else None)
    done = asyncio.ensure_future(outcomes(run))
    await until(lambda: sorted(calls.open) == ["a1", "b1", "c"])
    calls.give("a1")
    await until(lambda: sorted(calls.open) == ["a2", "b1", "c"])
    calls.fail("a2", ValueError("no"))
    await until(lambda: sorted(calls.open) == ["a3", "b1", "c"])
    calls.give_all()
    found = {outcome.item: outcome.status for outcome in await done}
    assert found == {"a1": "ok", "a2": "failed", "b1": "ok", "a3": "ok", "c": "ok"}
    assert [item for item in calls.begun if item.startswith("a")] == ["a1", "a2", "a3"]
    await no_task_is_left()


async def test_an_item_that_the_journal_knows_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first, second = Calls(), Calls()
    done = asyncio.ensure_future(outcomes(sequenced(first, ["a1"], journal=path)))
    await until(lambda: first.open == ["a1"])
    first.give_all()
    await done
    done = asyncio.ensure_future(outcomes(sequenced(second, ["a1", "a2", "a1", "a3"], journal=path)))
    await until(lambda: second.open == ["a2"])
    second.give_all()
    await until(lambda: second.open == ["a3"])
    second.give_all()
    assert sorted((outcome.key, outcome.status) for outcome in await done) == [
        ("a1", "skipped"),
        ("a1", "skipped"),
        ("a2", "ok"),
        ("a3", "ok"),
    ]


@pytest.mark.parametrize("grace", [None, 0])
async def test_what_waits_for_another_item_when_the_run_stops_is_left_to_the_next(
    tmp_path: Path, grace: float | None
) -> None:
    path, calls = tmp_path / "journal", Calls()
    run = sequenced(calls, ["a1", "a2", "a3"], journal=path)
    done = asyncio.ensure_future(outcomes(run))
    await until(lambda: calls.open == ["a1"])
    run.stop(grace=grace)
    if grace is None:
        calls.give_all()
    assert [(outcome.key, outcome.status) for outcome in await done] == [("a1", "unknown" if grace == 0 else "ok")]
    assert states(path).keys() == {"a1"}


async def test_many_items_of_one_sequence_that_are_known_are_passed_over_without_recursion(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    async def call(item: str) -> None:
        await asyncio.sleep(0)

    assert set((await statuses(Bulk(call, ["x1"], journal=path, concurrency=1))).values()) == {"ok"}
    held = Calls()
    run = Bulk(held, ["a1", *["x1"] * 5000], concurrency=4000, journal=path, sequence_key=lambda _: "all")
    done = asyncio.ensure_future(outcomes(run))
    await until(lambda: held.open == ["a1"])
    held.give_all()
    found = await done
    assert [outcome.status for outcome in found].count("skipped") == 5000


async def test_a_sequence_key_that_cannot_be_a_key_ends_the_run_and_is_named() -> None:
    def unhashable(item: str) -> Any:
        return []

    run = Bulk(Calls(), ["a"], concurrency=1, sequence_key=unhashable)
    with pytest.raises(InvalidArgumentError, match=r"sequence_key: expected a hashable value for item 0, got \[\]"):
        await outcomes(run)


# Turns of others --------------------------------------------------------------------------------------------------


async def test_a_run_that_waits_for_its_items_holds_up_no_other_calls() -> None:
    """It finds out how many requests the service can do at once only while it sends some."""
    more = asyncio.Event()

    async def items() -> AsyncIterator[str]:
        yield "first"
        await more.wait()
        yield "last"

    def handler(request: Request) -> Step:
        return reply(200, {})

    async with served(handler=handler, limits=Limits()) as (_, client):
        limiter = client._pool.limiter
        before = limiter.limit
        run = client.bulk(client.action.invoke, items())
        iteration = aiter(run)
        assert (await anext(iteration)).status == "ok"
        await turns()
        assert limiter.limit == before
        more.set()
        assert (await anext(iteration)).status == "ok"
        with pytest.raises(StopAsyncIteration):
            await anext(iteration)
        assert limiter.limit == before
