"""Bulk runs without a journal: what is pulled, begun and given, and what is left when a run ends."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from ioto_async import (
    AuthenticationError,
    BadRequestError,
    CallError,
    ClientStateError,
    ConnectionLostError,
    InvalidArgumentError,
    OutcomeUnknownError,
)
from ioto_async.bulk import Bulk, Outcome, Progress
from tests.rawserver import GUARD

from .calls import Calls, Source, consume, echo, no_task_is_left, others, outcomes, statuses, turns, until

SORTS = ["items", "later"]


class Refused(Exception):
    """What a call of the tests raises."""


def refuse(outcome: Outcome[Any, Any]) -> None:
    raise Refused


def in_doubt() -> CallError:
    return ConnectionLostError("the connection broke", operation="device/claim", outcome_unknown=True)


def once_in_doubt() -> CallError:
    return OutcomeUnknownError("the connection broke", operation="action/invoke", outcome_unknown=True)


# What is pulled and begun -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", SORTS)
async def test_nothing_is_pulled_before_somebody_iterates(sort: str) -> None:
    source = Source(10)
    run = Bulk(echo, source.of(sort), concurrency=2)
    await turns()
    assert source.pulled == 0
    assert len(await outcomes(run)) == 10


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("sort", SORTS)
async def test_while_calls_hang_no_more_is_pulled_than_twice_the_concurrency(sort: str, *, ordered: bool) -> None:
    source, calls = Source(10_000), Calls()
    run = Bulk(calls, source.of(sort), concurrency=8, ordered=ordered)
    async with run:
        waiting = asyncio.ensure_future(anext(aiter(run)))
        await turns()
        assert len(calls.open) == 8
        assert source.pulled <= 16
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
    await no_task_is_left()


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("sort", SORTS)
async def test_while_the_consumer_is_slow_no_more_is_pulled_than_twice_the_concurrency(
    sort: str, *, ordered: bool
) -> None:
    source = Source(10_000)
    run = Bulk(echo, source.of(sort), concurrency=8, ordered=ordered)
    taken = 0
    async with run:
        async for _ in run:
            taken += 1
            await turns()
            assert source.pulled - taken <= 16
            if taken == 50:
                break
    await no_task_is_left()


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("sort", SORTS)
async def test_calls_go_on_while_the_consumer_is_busy_with_an_outcome(sort: str, *, ordered: bool) -> None:
    source, calls = Source(100), Calls()
    run = Bulk(calls, source.of(sort), concurrency=4, ordered=ordered)
    async with run:
        outcomes_ = aiter(run)
        first = asyncio.ensure_future(anext(outcomes_))
        await until(lambda: len(calls.open) == 4)
        calls.give(0)
        await first
        await until(lambda: len(calls.open) == 4)
        assert calls.open == [1, 2, 3, 4]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("concurrency", [1, 2, 7, 64])
async def test_the_concurrency_is_reached_and_never_exceeded(concurrency: int, sort: str) -> None:
    calls = Calls()
    run = Bulk(calls, Source(500).of(sort), concurrency=concurrency)
    done = asyncio.ensure_future(outcomes(run))
    while not done.done():
        await turns(20 + 4 * concurrency)
        assert len(calls.open) <= concurrency
        calls.give_all()
    assert len(await done) == 500
    assert calls.highest == concurrency


async def test_fewer_items_than_the_concurrency_are_all_called_at_once() -> None:
    calls = Calls()
    done = asyncio.ensure_future(outcomes(Bulk(calls, range(5), concurrency=64)))
    await turns()
    assert calls.open == [0, 1, 2, 3, 4]
    calls.give_all()
    assert len(await done) == 5


@pytest.mark.parametrize("items", [[], (), iter(()), {}])
async def test_no_items_make_no_outcomes(items: Any) -> None:
    run = Bulk(echo, items, concurrency=3)
    assert await outcomes(run) == []
    assert (run.summary.done, run.summary.stopped) == (0, None)


@pytest.mark.parametrize(
    "items", [["a", "b", "c"], ("a", "b", "c"), {"a": 1, "b": 2, "c": 3}, (letter for letter in "abc")]
)
async def test_any_iterable_will_do(items: Any) -> None:
    assert await statuses(Bulk(echo, items, concurrency=2)) == dict.fromkeys("abc", "ok")


async def test_an_async_iterable_with_an_iterator_of_its_own_will_do() -> None:
    class Letters:
        def __init__(self) -> None:
            self.left = list("abc")

        def __aiter__(self) -> AsyncIterator[str]:
            return self

        async def __anext__(self) -> str:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    assert await statuses(Bulk(echo, Letters(), concurrency=2)) == dict.fromkeys("abc", "ok")


async def test_what_was_pulled_is_called_although_the_next_item_is_long_in_coming() -> None:
    limiter = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        yield 1
        yield 2
        await limiter.wait()
        yield 3

    run = Bulk(echo, items(), concurrency=4)
    found: list[Any] = []
    async for outcome in run:
        found.append(outcome.value)
        if len(found) == 2:
            limiter.set()
    assert sorted(found) == [1, 2, 3]


@pytest.mark.parametrize("ordered", [False, True])
async def test_100_000_calls_that_return_at_once_all_have_their_outcome(*, ordered: bool) -> None:
    run = Bulk(echo, range(100_000), concurrency=16, ordered=ordered)
    values = [outcome.item async for outcome in run if outcome.value == outcome.item]
    assert values == list(range(100_000)) if ordered else sorted(values) == list(range(100_000))
    assert run.summary.ok == 100_000


# The order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", SORTS)
async def test_outcomes_come_as_the_calls_end(sort: str) -> None:
    calls = Calls()
    run = Bulk(calls, Source(4).of(sort), concurrency=4)
    async with run:
        given = aiter(run)
        for item in (2, 0, 3, 1):
            following = asyncio.ensure_future(anext(given))
            await until(lambda: len(calls.begun) == 4)
            calls.give(item, f"value {item}")
            outcome = await following
            assert (outcome.item, outcome.value) == (item, f"value {item}")
        with pytest.raises(StopAsyncIteration):
            await anext(given)


@pytest.mark.parametrize("sort", SORTS)
async def test_an_ordered_run_gives_the_outcomes_in_the_order_of_the_items(sort: str) -> None:
    calls = Calls()
    done = asyncio.ensure_future(outcomes(Bulk(calls, Source(50).of(sort), concurrency=5, ordered=True)))
    while not done.done():
        await turns(20)
        for item in reversed(calls.open[-2:]):
            calls.give(item, item * item)
    assert [(outcome.item, outcome.value) for outcome in await done] == [(item, item * item) for item in range(50)]


@pytest.mark.parametrize("sort", SORTS)
async def test_an_ordered_run_begins_nothing_too_far_ahead_of_what_hangs(sort: str) -> None:
    calls, source = Calls(), Source(1000)
    run = Bulk(calls, source.of(sort), concurrency=5, ordered=True)
    async with run:
        first = asyncio.ensure_future(anext(aiter(run)))
        for _ in range(100):
            await turns(10)
            for item in calls.open:
                if item:
                    calls.give(item)
        assert not first.done()
        assert 5 <= max(calls.begun) <= 10
        assert source.pulled <= 15
        calls.give(0)
        assert (await first).item == 0


async def test_failed_items_keep_their_place_in_an_ordered_run() -> None:
    async def odd(item: int) -> None:
        if item % 2:
            raise Refused(item)

    found = await outcomes(Bulk(odd, range(20), concurrency=4, ordered=True))
    assert [(outcome.item, outcome.status) for outcome in found] == [
        (item, "failed" if item % 2 else "ok") for item in range(20)
    ]


# Outcomes ---------------------------------------------------------------------------------------------------------


async def test_an_outcome_has_the_value_the_key_and_the_attempts() -> None:
    async def double(item: int) -> int:
        return 2 * item

    (outcome,) = await outcomes(Bulk(double, [21], concurrency=1))
    assert (outcome.item, outcome.key, outcome.status, outcome.value, outcome.error, outcome.attempts) == (
        21,
        "21",
        "ok",
        42,
        None,
        1,
    )
    assert 0 <= outcome.elapsed < GUARD


async def test_a_failed_item_has_its_error_and_does_not_stop_the_others() -> None:
    error = Refused("no")

    async def call(item: int) -> int:
        if item == 3:
            raise error
        return item

    run = Bulk(call, range(10), concurrency=2)
    found = {outcome.item: outcome for outcome in await outcomes(run)}
    assert (found[3].status, found[3].error, found[3].value, found[3].attempts) == ("failed", error, None, 1)
    assert [item for item in range(10) if not found[item].ok] == [3]
    assert (run.summary.ok, run.summary.failed, run.summary.unknown, run.summary.skipped) == (9, 1, 0, 0)
    assert (run.summary.done, run.summary.attempts, run.summary.stopped) == (10, 10, None)


async def test_a_callable_that_raises_before_it_gives_an_awaitable_has_failed() -> None:
    def call(item: int) -> Any:
        raise Refused(item)

    assert await statuses(Bulk(call, range(3), concurrency=2)) == dict.fromkeys("012", "failed")


async def test_stop_iteration_of_a_call_fails_its_item_alone() -> None:
    async def call(item: int) -> int:
        if item == 1:
            raise StopAsyncIteration
        return item

    assert await statuses(Bulk(call, range(3), concurrency=1)) == {"0": "ok", "1": "failed", "2": "ok"}


@pytest.mark.parametrize("error", [in_doubt, once_in_doubt])
async def test_an_error_that_leaves_the_outcome_open_makes_it_unknown(error: Any) -> None:
    async def call(item: str) -> None:
        raise error()

    run = Bulk(call, ["a"], concurrency=1)
    (outcome,) = await outcomes(run)
    assert (outcome.status, type(outcome.error)) == ("unknown", type(error()))
    assert run.summary.unknown == 1


async def test_a_call_that_cancels_itself_ends_its_item_alone() -> None:
    async def call(item: int) -> int:
        if item == 1:
            raise asyncio.CancelledError
        if item == 2:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return item

    found = {outcome.item: outcome for outcome in await outcomes(Bulk(call, range(20), concurrency=2))}
    assert [item for item, outcome in found.items() if outcome.status != "ok"] == [1, 2]
    assert {found[1].status, found[2].status} <= {"failed", "unknown"}
    assert len(found) == 20
    await no_task_is_left()


async def test_in_an_ordered_run_a_call_that_cancels_itself_does_not_hold_back_the_others() -> None:
    async def call(item: int) -> int:
        if item == 3:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return item

    found = await outcomes(Bulk(call, range(100), concurrency=2, ordered=True))
    assert [outcome.item for outcome in found] == list(range(100))


async def test_a_call_that_swallows_its_own_cancellation_has_returned() -> None:
    async def call(item: int) -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return item

    run = Bulk(call, range(20), concurrency=2)
    assert sorted(outcome.item for outcome in await outcomes(run) if outcome.status == "ok") == list(range(20))


async def test_calls_may_have_deadlines_of_their_own() -> None:
    async def call(item: int) -> int:
        async with asyncio.timeout(0 if item % 2 else None):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return item

    found = await outcomes(Bulk(call, range(10), concurrency=3))
    assert {outcome.item: type(outcome.error) for outcome in found if outcome.error} == dict.fromkeys(
        range(1, 10, 2), TimeoutError
    )


# Keys -------------------------------------------------------------------------------------------------------------


async def test_texts_and_whole_numbers_are_their_own_keys_and_other_items_have_their_position() -> None:
    run = Bulk(echo, ["M72DANY8BZ", 17, ("a", 1), {"id": 1}, 2.5, None], concurrency=1, ordered=True)
    assert [outcome.key for outcome in await outcomes(run)] == ["M72DANY8BZ", "17", "2", "3", "4", "5"]


async def test_a_key_tells_items_apart_as_it_likes() -> None:
    run = Bulk(echo, [{"id": "a"}, {"id": "b"}], concurrency=1, ordered=True, key=lambda item: str(item["id"]))
    assert [outcome.key for outcome in await outcomes(run)] == ["a", "b"]


@pytest.mark.parametrize("key", [None, 3, b"a", ["a"]])
async def test_a_key_that_is_no_text_is_refused_by_value(key: Any) -> None:
    run = Bulk(echo, ["a"], concurrency=1, key=lambda item: key)
    with pytest.raises(InvalidArgumentError, match="key") as caught:
        await outcomes(run)
    assert repr(key) in str(caught.value)


async def test_what_a_key_raises_ends_the_run_after_the_outcomes_before() -> None:
    def key(item: int) -> str:
        if item == 3:
            raise Refused
        return str(item)

    found: list[Outcome[int, int]] = []
    with pytest.raises(Refused):
        await consume(Bulk(echo, range(10), concurrency=1, key=key), found.append)
    assert [outcome.item for outcome in found] == [0, 1, 2]
    await no_task_is_left()


# Reconciling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "calls"), [(True, "ok", 1), (False, "ok", 2), (None, "unknown", 1)], ids=str
)
async def test_reconcile_decides_what_became_of_an_unknown_item(answer: Any, status: str, calls: int) -> None:
    asked: list[str] = []
    called: list[str] = []

    async def call(item: str) -> str:
        called.append(item)
        if len(called) == 1:
            raise once_in_doubt()
        return "done"

    async def reconcile(item: str) -> bool | None:
        asked.append(item)
        return answer  # type: ignore[no-any-return]

    (outcome,) = await outcomes(Bulk(call, ["a"], concurrency=1, reconcile=reconcile))
    assert (asked, len(called)) == (["a"], calls)
    assert (outcome.status, outcome.attempts) == (status, calls)
    assert (outcome.error is None) == (status == "ok")
    assert outcome.value == ("done" if calls == 2 else None)


async def test_an_item_that_was_not_done_is_called_once_more_and_not_again() -> None:
    called: list[str] = []

    async def call(item: str) -> None:
        called.append(item)
        raise once_in_doubt()

    async def reconcile(item: str) -> bool:
        return False

    (outcome,) = await outcomes(Bulk(call, ["a"], concurrency=1, reconcile=reconcile))
    assert (outcome.status, len(called)) == ("unknown", 2)


async def test_an_item_that_was_not_done_may_fail_the_second_time() -> None:
    called: list[str] = []

    async def call(item: str) -> None:
        called.append(item)
        raise Refused if len(called) == 2 else once_in_doubt()

    async def reconcile(item: str) -> bool:
        return False

    (outcome,) = await outcomes(Bulk(call, ["a"], concurrency=1, reconcile=reconcile))
    assert (outcome.status, type(outcome.error), outcome.attempts) == ("failed", Refused, 2)


async def test_a_reconcile_that_raises_leaves_the_item_unknown_and_the_others_alone() -> None:
    async def call(item: int) -> int:
        if item == 1:
            raise once_in_doubt()
        return item

    async def reconcile(item: int) -> bool:
        raise Refused("cannot look it up")

    found = {
        outcome.item: outcome for outcome in await outcomes(Bulk(call, range(3), concurrency=1, reconcile=reconcile))
    }
    assert {item: outcome.status for item, outcome in found.items()} == {0: "ok", 1: "unknown", 2: "ok"}
    chain, error = [], found[1].error
    while error is not None:
        chain.append(type(error))
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    assert Refused in chain, "nobody learns that reconcile is broken"


async def test_reconcile_is_not_asked_about_what_has_failed_or_was_done() -> None:
    async def call(item: int) -> None:
        if item:
            raise Refused

    async def reconcile(item: int) -> bool:
        raise AssertionError("it was asked")

    assert await statuses(Bulk(call, range(2), concurrency=1, reconcile=reconcile)) == {"0": "ok", "1": "failed"}


# When the items end with an error ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("sort", SORTS)
async def test_when_the_items_raise_the_outcomes_before_are_given_and_then_the_error(
    sort: str, *, ordered: bool
) -> None:
    error = Refused("the file is broken")
    source, calls = Source(5, error), Calls()
    run = Bulk(calls, source.of(sort), concurrency=8, ordered=ordered)
    found: list[Outcome[int, None]] = []
    task = asyncio.create_task(consume(run, found.append))
    await until(lambda: source.closed)
    await turns()
    assert calls.open == [0, 1, 2, 3, 4]
    assert calls.cancelled == []
    calls.give_all()
    with pytest.raises(Refused) as caught:
        await task
    assert caught.value is error
    assert [(outcome.item, outcome.status) for outcome in found] == [(number, "ok") for number in range(5)]
    await no_task_is_left()


@pytest.mark.parametrize("sort", SORTS)
async def test_items_that_raise_at_once_raise_at_once(sort: str) -> None:
    with pytest.raises(Refused):
        await outcomes(Bulk(echo, Source(0, Refused()).of(sort), concurrency=8))
    await no_task_is_left()


async def test_items_that_end_in_a_cancellation_of_their_own_are_not_taken_for_all_there_are() -> None:
    """Such as a generator that awaits a task which somebody has cancelled."""

    async def items() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    with pytest.raises((Exception, asyncio.CancelledError)):
        await outcomes(Bulk(echo, items(), concurrency=2))
    await no_task_is_left()


# Stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", SORTS)
async def test_a_run_stops_after_so_many_failures(sort: str) -> None:
    called = []

    async def call(item: int) -> None:
        called.append(item)
        if item in (2, 4, 6):
            raise Refused

    run = Bulk(call, Source(100).of(sort), concurrency=1, stop_after=2)
    await outcomes(run)
    assert called == [0, 1, 2, 3, 4]
    assert (run.summary.ok, run.summary.failed) == (3, 2)
    assert run.summary.stopped
    assert "2" in run.summary.stopped


async def test_unknown_outcomes_count_as_failures_for_stopping() -> None:
    async def call(item: int) -> None:
        raise once_in_doubt()

    run = Bulk(call, range(100), concurrency=1, stop_after=3)
    assert len(await outcomes(run)) == 3


async def test_calls_in_flight_end_when_a_run_stops_after_failures() -> None:
    calls = Calls()
    done = asyncio.ensure_future(outcomes(Bulk(calls, range(100), concurrency=4, stop_after=1)))
    await turns()
    calls.fail(2, Refused())
    await turns()
    assert calls.begun == [0, 1, 2, 3]
    assert not done.done()
    calls.give_all()
    assert {outcome.item: outcome.status for outcome in await done} == {0: "ok", 1: "ok", 2: "failed", 3: "ok"}
    assert calls.begun == [0, 1, 2, 3]


@pytest.mark.parametrize("ordered", [False, True])
async def test_an_error_that_ends_the_run_is_raised_when_the_calls_in_flight_have_ended(*, ordered: bool) -> None:
    calls = Calls()
    run = Bulk(calls, range(100), concurrency=4, stop_on=AuthenticationError, ordered=ordered)
    found: list[Outcome[int, None]] = []
    task = asyncio.create_task(consume(run, found.append))
    await turns()
    refused = AuthenticationError("no", operation="device/claim", status=403)
    calls.fail(1, refused)
    await turns()
    assert not task.done()
    assert calls.begun == [0, 1, 2, 3]
    calls.give_all()
    with pytest.raises(AuthenticationError) as caught:
        await task
    assert caught.value is refused
    assert sorted(outcome.item for outcome in found) == [0, 2, 3]
    assert (run.summary.ok, run.summary.failed) == (3, 0)
    assert calls.begun == [0, 1, 2, 3]
    await no_task_is_left()


async def test_the_summary_tells_which_error_has_ended_the_run() -> None:
    async def call(item: int) -> None:
        raise Refused("no entry")

    run = Bulk(call, range(100), concurrency=1, stop_on=Refused)
    with pytest.raises(Refused):
        await outcomes(run)
    assert run.summary.stopped is not None
    assert "no entry" in run.summary.stopped or "Refused" in run.summary.stopped


async def test_an_error_that_ends_the_run_is_raised_although_the_next_item_never_comes() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async def call(item: int) -> None:
        await turns()
        raise Refused

    with pytest.raises(Refused):
        await outcomes(Bulk(call, items(), concurrency=2, stop_on=Refused))
    await no_task_is_left()


async def test_an_item_that_comes_after_the_error_that_ends_the_run_is_not_called() -> None:
    calls, more = Calls(), asyncio.Event()

    async def items() -> AsyncIterator[int]:
        yield 1
        await more.wait()
        yield 2

    done = asyncio.ensure_future(outcomes(Bulk(calls, items(), concurrency=2, stop_on=Refused)))
    await until(lambda: calls.open == [1])
    calls.fail(1, Refused())
    await turns()
    more.set()
    await turns()
    assert calls.begun == [1]
    with pytest.raises(Refused):
        await done


async def test_of_several_errors_that_end_the_run_the_first_is_raised() -> None:
    calls = Calls()
    done = asyncio.ensure_future(outcomes(Bulk(calls, range(100), concurrency=3, stop_on=(KeyError, Refused))))
    await turns()
    calls.fail(1, Refused("first"))
    await turns()
    calls.fail(0, KeyError("second"))
    calls.give(2)
    with pytest.raises(Refused, match="first"):
        await done


async def test_other_errors_do_not_end_the_run() -> None:
    async def call(item: int) -> None:
        raise Refused

    found = await statuses(Bulk(call, range(5), concurrency=1, stop_on=(AuthenticationError, BadRequestError)))
    assert found == dict.fromkeys("01234", "failed")


@pytest.mark.parametrize("sort", SORTS)
async def test_a_run_that_is_told_to_stop_ends_when_the_calls_in_flight_have_ended(sort: str) -> None:
    calls = Calls()
    run = Bulk(calls, Source(100).of(sort), concurrency=3)
    done = asyncio.ensure_future(outcomes(run))
    await until(lambda: len(calls.open) == 3)
    run.stop("the day is over")
    await turns()
    assert not done.done()
    calls.give_all()
    assert sorted(outcome.item for outcome in await done) == [0, 1, 2]
    assert run.summary.stopped == "the day is over"
    assert calls.begun == [0, 1, 2]
    await no_task_is_left()


async def test_a_run_that_is_told_to_stop_before_it_begins_calls_nothing() -> None:
    calls = Calls()
    run = Bulk(calls, range(100), concurrency=3)
    run.stop()
    assert await outcomes(run) == []
    assert calls.begun == []


def test_a_run_can_be_told_to_stop_before_there_is_a_loop() -> None:
    run = Bulk(echo, range(100), concurrency=3)
    run.stop("not today")
    assert asyncio.run(outcomes(run)) == []
    assert run.summary.stopped == "not today"


async def test_items_that_never_come_do_not_keep_a_run_from_stopping() -> None:
    left: list[bool] = []

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            left.append(True)

    run = Bulk(echo, items(), concurrency=3)
    found: list[Any] = []
    async with asyncio.timeout(GUARD):
        async for outcome in run:
            found.append(outcome.item)
            asyncio.get_running_loop().call_soon(run.stop)
    assert (found, left) == ([1], [True])
    await no_task_is_left()


@pytest.mark.parametrize("sort", SORTS)
async def test_items_that_stop_the_run_themselves_are_not_called_any_more(sort: str) -> None:
    def items() -> Iterator[int]:
        yield 0
        run.stop("by the items")
        yield 1
        yield 2

    async def later() -> AsyncIterator[int]:
        for item in items():
            yield item

    called = []

    async def call(item: int) -> None:
        await asyncio.sleep(0)
        called.append(item)

    run = Bulk(call, items() if sort == "items" else later(), concurrency=4)
    await outcomes(run)
    assert set(called) <= {0}
    assert run.summary.done == len(called)


async def test_calls_that_outlast_the_grace_are_cancelled_and_unknown() -> None:
    calls = Calls()
    run = Bulk(calls, range(100), concurrency=3)
    done = asyncio.ensure_future(outcomes(run))
    await until(lambda: len(calls.open) == 3)
    calls.give(1)
    run.stop("enough", grace=0)
    found = {outcome.item: outcome for outcome in await done}
    assert {item: outcome.status for item, outcome in found.items()} == {0: "unknown", 1: "ok", 2: "unknown"}
    assert isinstance(found[0].error, Exception)
    assert sorted(calls.cancelled) == [0, 2]
    assert run.summary.unknown == 2
    await no_task_is_left()


async def test_calls_that_end_within_the_grace_have_their_outcome() -> None:
    calls = Calls()
    run = Bulk(calls, range(100), concurrency=3)
    done = asyncio.ensure_future(outcomes(run))
    await until(lambda: len(calls.open) == 3)
    run.stop(grace=3600)
    calls.give_all()
    assert [outcome.status for outcome in await done] == ["ok"] * 3
    await no_task_is_left()


async def test_a_second_stop_may_shorten_the_grace() -> None:
    calls = Calls()
    run = Bulk(calls, range(100), concurrency=1)
    done = asyncio.ensure_future(outcomes(run))
    await until(lambda: len(calls.open) == 1)
    run.stop("first", grace=3600)
    await turns()
    run.stop("second", grace=0)
    assert [outcome.status for outcome in await done] == ["unknown"]


@pytest.mark.parametrize("grace", [-1, math.nan, "1"])
async def test_a_grace_that_is_no_number_of_seconds_is_refused(grace: Any) -> None:
    run = Bulk(echo, range(3), concurrency=1)
    with pytest.raises(InvalidArgumentError, match="grace"):
        run.stop(grace=grace)
    assert run.summary.stopped is None


# Leaving the loop -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", SORTS)
async def test_breaking_out_of_the_loop_leaves_nothing_behind(sort: str) -> None:
    calls, source = Calls(), Source(100)
    run = Bulk(calls, source.of(sort), concurrency=4)
    async with run:
        task = asyncio.ensure_future(_give_first(calls))
        async for _ in run:
            break
        await task
    assert others() == set()
    assert sorted(calls.ended) == sorted(calls.begun)
    begun = len(calls.begun)
    await turns()
    assert len(calls.begun) == begun


async def _give_first(calls: Calls) -> None:
    await until(lambda: bool(calls.open))
    calls.give(0)


@pytest.mark.parametrize("sort", SORTS)
async def test_breaking_out_of_the_loop_without_async_with_leaves_nothing_behind_soon(sort: str) -> None:
    calls, source = Calls(), Source(100)
    task = asyncio.ensure_future(_give_first(calls))
    async for _ in Bulk(calls, source.of(sort), concurrency=4):
        break
    await task
    await no_task_is_left()
    assert sorted(calls.ended) == sorted(calls.begun)


async def test_an_exception_in_the_loop_leaves_nothing_behind() -> None:
    calls = Calls()
    task = asyncio.ensure_future(_give_first(calls))
    with pytest.raises(Refused):
        await consume(Bulk(calls, range(100), concurrency=4), refuse)
    await task
    assert others() == set()
    assert sorted(calls.ended) == sorted(calls.begun)


@pytest.mark.parametrize("sort", SORTS)
async def test_cancelling_the_consumer_leaves_nothing_behind(sort: str) -> None:
    calls, source = Calls(), Source(100)
    done = asyncio.ensure_future(outcomes(Bulk(calls, source.of(sort), concurrency=4)))
    await until(lambda: len(calls.open) == 4)
    done.cancel()
    with pytest.raises(asyncio.CancelledError):
        await done
    assert others() == set()
    assert sorted(calls.cancelled) == sorted(calls.begun)


async def test_calls_that_take_their_time_to_end_have_ended_when_the_block_is_left() -> None:
    cleaned: list[int] = []

    async def call(item: int) -> None:
        try:
            if item:
                await asyncio.Event().wait()
        finally:
            await turns(30)
            cleaned.append(item)

    async with asyncio.timeout(GUARD), Bulk(call, range(100), concurrency=4) as run:
        async for _ in run:
            break
    assert cleaned[0] == 0
    assert len(cleaned) >= 4
    assert others() == set()


async def test_a_consumer_that_is_cancelled_twice_leaves_nothing_behind_either() -> None:
    async def call(item: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await turns(50)

    done = asyncio.ensure_future(outcomes(Bulk(call, range(100), concurrency=4)))
    await turns()
    done.cancel()
    await turns(10)
    done.cancel()
    with pytest.raises(asyncio.CancelledError):
        await done
    assert others() == set()


async def test_calls_that_will_not_be_cancelled_are_waited_for() -> None:
    release = asyncio.Event()
    ended: list[int] = []

    async def call(item: int) -> None:
        if item:
            while not release.is_set():
                with suppress(asyncio.CancelledError):
                    await release.wait()
        ended.append(item)

    async def leave() -> None:
        async with Bulk(call, range(3), concurrency=3) as run:
            async for _ in run:
                break

    leaving = asyncio.create_task(leave())
    await turns()
    assert not leaving.done()
    release.set()
    async with asyncio.timeout(GUARD):
        await leaving
    assert sorted(ended) == [0, 1, 2]
    assert others() == set()


async def test_calls_that_will_not_be_cancelled_are_followed_by_no_others() -> None:
    begun: list[int] = []

    async def call(item: int) -> None:
        begun.append(item)
        if item:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async with asyncio.timeout(GUARD), Bulk(call, range(1000), concurrency=3) as run:
        async for _ in run:
            await until(lambda: len(begun) == 4)
            break
    assert begun == [0, 1, 2, 3]
    assert others() == set()


async def test_async_items_that_the_run_began_to_iterate_over_are_closed() -> None:
    class Table:
        closed = False

        async def __aiter__(self) -> AsyncIterator[int]:
            try:
                for number in range(100):
                    yield number
            finally:
                Table.closed = True

    async with Bulk(echo, Table(), concurrency=2) as run:
        async for _ in run:
            break
    assert Table.closed


async def test_items_are_closed_as_well_if_the_consumer_is_cancelled_twice() -> None:
    class Table:
        closed = False

        async def __aiter__(self) -> AsyncIterator[int]:
            try:
                for number in range(100):
                    yield number
            finally:
                await asyncio.sleep(0)
                Table.closed = True

    ending: list[int] = []

    async def call(item: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.append(item)
            await turns(50)

    run = Bulk(call, Table(), concurrency=4)
    done = asyncio.ensure_future(outcomes(run))
    await turns()
    done.cancel()
    await until(lambda: len(ending) == 4)
    done.cancel()
    with pytest.raises(asyncio.CancelledError):
        await done
    assert Table.closed
    assert others() == set()


async def test_a_block_without_a_loop_does_nothing() -> None:
    calls = Calls()
    async with Bulk(calls, range(3), concurrency=1) as run:
        await turns()
    assert calls.begun == []
    assert run.summary.done == 0


async def test_a_run_is_iterated_over_once() -> None:
    run = Bulk(echo, range(3), concurrency=1)
    await outcomes(run)
    with pytest.raises(ClientStateError, match="once"):
        await outcomes(run)


async def test_a_run_that_was_broken_off_is_not_taken_up() -> None:
    run = Bulk(echo, range(30), concurrency=1)
    async with run:
        async for _ in run:
            break
    with pytest.raises(ClientStateError):
        await outcomes(run)


async def test_the_context_of_whoever_iterates_is_the_one_of_the_calls() -> None:
    trace: ContextVar[str] = ContextVar("trace")
    trace.set("mine")

    async def call(item: int) -> str:
        found = trace.get("none")
        trace.set("somebody else's")
        return found

    # Whether a call sees what the one before has set is left open; that it sees the caller's at first is not.
    found = await outcomes(Bulk(call, [1], concurrency=1))
    assert [outcome.value for outcome in found] == ["mine"]
    assert trace.get() == "mine"


def test_a_run_that_nobody_ends_is_ended_with_its_loop() -> None:
    calls = Calls()

    async def main() -> None:
        given = aiter(Bulk(calls, range(100), concurrency=4))
        waiting = asyncio.ensure_future(anext(given))
        await until(lambda: len(calls.open) == 4)
        assert not waiting.done()

    asyncio.run(main())
    assert sorted(calls.cancelled) == [0, 1, 2, 3]


async def test_nothing_is_looked_up_or_called_again_when_every_task_is_cancelled() -> None:
    """As at the end of a loop, in no certain order."""
    calls, asked = Calls(), list[int]()

    async def reconcile(item: int) -> bool:
        asked.append(item)
        return False

    consumer = asyncio.ensure_future(outcomes(Bulk(calls, range(100), concurrency=4, reconcile=reconcile)))
    await until(lambda: len(calls.open) == 4)
    for task in [*(others() - {consumer}), consumer]:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert (sorted(calls.begun), asked) == ([0, 1, 2, 3], [])
    assert others() == set()


# Errors together --------------------------------------------------------------------------------------------------


async def test_failures_are_raised_together_with_their_keys() -> None:
    async def call(item: str) -> None:
        if item == "a":
            raise Refused("not this")
        if item == "b":
            raise once_in_doubt()

    run = Bulk(call, list("abcd"), concurrency=1)
    await outcomes(run)
    with pytest.raises(ExceptionGroup, match="1 of 4 items failed, 1 are unknown") as caught:
        run.raise_for_failures()
    assert {type(error): error.__notes__ for error in caught.value.exceptions} == {
        Refused: ["item a: failed"],
        OutcomeUnknownError: ["item b: unknown"],
    }


async def test_without_failures_nothing_is_raised() -> None:
    run = Bulk(echo, range(3), concurrency=1)
    await outcomes(run)
    run.raise_for_failures()


async def test_of_many_failures_the_first_100_are_kept() -> None:
    async def call(item: int) -> None:
        raise Refused(item)

    run = Bulk(call, range(1000), concurrency=1)
    await outcomes(run)
    with pytest.raises(ExceptionGroup, match="1000 of 1000 items failed; the first 100 errors") as caught:
        run.raise_for_failures()
    assert [error.args for error in caught.value.exceptions] == [(number,) for number in range(100)]


async def test_one_error_for_many_items_does_not_grow_without_end() -> None:
    error = Refused("always the same")

    async def call(item: int) -> None:
        raise error

    run = Bulk(call, range(10_000), concurrency=1)
    await outcomes(run)
    assert len(error.__notes__) <= 100


async def test_only_outcomes_that_were_given_are_counted() -> None:
    run = Bulk(echo, range(100), concurrency=8)
    async with run:
        async for _ in run:
            if run.summary.done == 3:
                break
    assert run.summary.ok == 3


# Observers --------------------------------------------------------------------------------------------------------


async def test_an_observer_is_told_the_end() -> None:
    seen: list[Progress] = []
    run = Bulk(echo, [1, 2, 3], concurrency=2, observer=seen.append)
    await outcomes(run)
    last = seen[-1]
    assert last.summary is run.summary
    assert (last.total, last.summary.ok, last.in_flight, last.concurrency) == (3, 3, 0, 2)
    assert last.elapsed >= 0
    assert last.rate >= 0


@pytest.mark.parametrize(
    ("items", "options", "total"),
    [([1, 2], {}, 2), (iter([1, 2]), {}, None), (iter([1, 2]), {"total": 2}, 2), ([1, 2], {"total": 7}, 7)],
)
async def test_the_total_is_the_number_of_the_items_if_that_is_known(items: Any, options: Any, total: Any) -> None:
    seen: list[Progress] = []
    await outcomes(Bulk(echo, items, concurrency=2, observer=seen.append, **options))
    assert seen[-1].total == total


async def test_an_observer_is_told_while_the_calls_are_in_flight() -> None:
    calls, seen = Calls(), asyncio.Queue[Progress]()
    done = asyncio.ensure_future(outcomes(Bulk(calls, range(10), concurrency=4, observer=seen.put_nowait)))
    async with asyncio.timeout(GUARD):
        progress = await seen.get()
        while not progress.in_flight:
            progress = await seen.get()
    assert (progress.in_flight, progress.concurrency, progress.total) == (4, 4, 10)
    while not done.done():
        calls.give_all()
        await asyncio.sleep(0)
    await done


def test_the_time_that_is_left_follows_from_the_rate() -> None:
    summary = Bulk(echo, [], concurrency=1).summary
    summary.ok = 40
    progress = Progress(summary, total=100, elapsed=4.0, rate=10.0, in_flight=1, concurrency=1)
    assert progress.eta == 6.0
    assert Progress(summary, None, 4.0, 10.0, 1, 1).eta is None
    assert Progress(summary, 100, 4.0, 0.0, 1, 1).eta is None
    assert Progress(summary, 10, 4.0, 10.0, 1, 1).eta == 0, "there were more items than was said"
    assert Progress(summary, 100, 4.0, 10.0, 1, 1, paused=3.0).eta is None
    summary.stopped = "asked to"
    assert Progress(summary, 100, 4.0, 10.0, 1, 1).eta is None


async def test_a_broken_observer_is_logged_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def observer(progress: Progress) -> None:
        raise Refused("broken observer")

    with caplog.at_level(logging.ERROR, "ioto_async"):
        assert len(await outcomes(Bulk(echo, range(10), concurrency=2, observer=observer))) == 10
    assert any(record.exc_info and record.exc_info[0] is Refused for record in caplog.records)


async def test_an_observer_is_told_the_end_of_a_run_that_was_broken_off() -> None:
    seen: list[Progress] = []
    with pytest.raises(Refused):
        await consume(Bulk(echo, range(100), concurrency=2, observer=seen.append), refuse)
    assert seen
    assert seen[-1].in_flight == 0


# Options ----------------------------------------------------------------------------------------------------------

BAD_OPTIONS = [
    ("concurrency", 0),
    ("concurrency", -1),
    ("concurrency", 2.5),
    ("concurrency", "8"),
    ("concurrency", True),
    ("concurrency", None),
    ("ordered", 1),
    ("ordered", None),
    ("journal", 5),
    ("journal", b"x"),
    ("key", "id"),
    ("reconcile", True),
    ("kind", "once"),
    ("retry_failed", "yes"),
    ("stop_after", 0),
    ("stop_after", True),
    ("stop_after", 1.0),
    ("stop_on", "AuthenticationError"),
    ("stop_on", [ValueError]),
    ("stop_on", ValueError("x")),
    ("stop_on", (ValueError, KeyboardInterrupt)),
    ("stop_on", None),
    ("total", -1),
    ("total", 1.5),
    ("observer", 1),
]


@pytest.mark.parametrize(("name", "value"), BAD_OPTIONS, ids=lambda value: str(value))
def test_an_option_that_does_not_fit_is_refused_by_name_and_value(name: str, value: Any) -> None:
    options: dict[str, Any] = {"concurrency": 1, name: value}
    with pytest.raises(InvalidArgumentError, match=name) as caught:
        Bulk(echo, [1], **options)
    assert repr(value) in str(caught.value)


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    options: dict[str, Any] = {"concurency": 4}
    with pytest.raises(
        InvalidArgumentError, match=r"unknown option 'concurency': expected one of concurrency, journal, .*ordered"
    ):
        Bulk(echo, [1], **options)


@pytest.mark.parametrize("items", [5, None, object(), "M72DANY8BZ", b"M72DANY8BZ"])
def test_items_that_are_no_iterable_are_refused(items: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="items"):
        Bulk(echo, items, concurrency=1)


@pytest.mark.parametrize("call", [None, "claim", 5])
def test_a_call_that_is_no_callable_is_refused(call: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="call"):
        Bulk(call, [1], concurrency=1)


def test_a_coroutine_in_place_of_a_callable_is_refused() -> None:
    coroutine = echo(1)
    with pytest.raises(InvalidArgumentError, match="call"):
        Bulk(coroutine, [1], concurrency=1)  # type: ignore[arg-type]
    coroutine.close()


def test_without_a_client_the_concurrency_cannot_be_found_out() -> None:
    with pytest.raises(InvalidArgumentError, match="concurrency"):
        Bulk(echo, [1])
