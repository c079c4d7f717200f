"""The writer itself, over a link that does what the test says: what is held, sent, told and left."""

import asyncio
import contextlib
import math
import pickle
import re
from collections.abc import AsyncIterator
from contextvars import ContextVar
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from ioto_async import (
    BadRequestError,
    BufferFullError,
    CallError,
    ClientStateError,
    InvalidArgumentError,
    IotoClient,
    RateLimitedError,
    RetryPolicy,
    Sample,
    ServiceError,
    TokenProviderError,
    UnwrittenError,
    Writer,
)
from ioto_async.bulk import calling
from ioto_async.metrics import outage
from tests.bulk.calls import no_task_is_left, others, turns, until
from tests.rawserver import GUARD

from .links import Link, away, in_doubt, statuses, writer


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing between two tries."""
    monkeypatch.setattr(outage, "_WAITS", RetryPolicy(attempts=10**9, elapsed=math.inf, base=0))


async def written(link: Link, samples: int, **options: Any) -> dict[str, str]:
    """Write values 0, 1, 2, …, and return what became of them."""
    w, told = writer(link, **options)
    async with asyncio.timeout(GUARD), w:
        for number in range(samples):
            await w.write("m", number)
    return statuses(told)


@contextlib.asynccontextmanager
async def unwritten(w: Writer, *, match: str = "") -> AsyncIterator[list[UnwrittenError]]:
    """The block of a writer whose end raises an error, which is in the list afterwards."""
    raised: list[UnwrittenError] = []
    try:
        async with w:
            yield raised
    except UnwrittenError as error:
        raised.append(error)
    assert raised, "the end of the block raised nothing"
    assert re.search(match, str(raised[0]))


# When it sends ------------------------------------------------------------------------------------------------------


async def test_nothing_is_sent_before_there_are_as_many_samples_as_asked_for() -> None:
    link = Link()
    w, _ = writer(link, count=3, seconds=1000)
    async with w:
        await w.write("m", 0)
        await w.write("m", 1)
        await turns()
        assert link.sent == []
        await w.write("m", 2)
        await until(lambda: link.sent == [0, 1, 2])


async def test_what_was_sent_makes_what_comes_next_no_more_urgent() -> None:
    link = Link()
    w, _ = writer(link, count=2, seconds=1000)
    async with w:
        await w.write("m", 0)
        await w.write("m", 1)
        await until(lambda: link.sent == [0, 1])
        await w.write("m", 2)
        await turns()
        assert link.sent == [0, 1]


async def test_samples_are_sent_when_they_are_as_large_as_asked_for() -> None:
    link = Link()
    w, _ = writer(link, count=1000, bytes=100, seconds=1000)
    async with w:
        await w.write("m" * 60, 0)
        await turns()
        assert link.sent == []
        await w.write("m" * 60, 1)
        await until(lambda: link.sent == [0, 1])


async def test_a_sample_is_sent_when_it_is_as_old_as_asked_for() -> None:
    link = Link()
    w, _ = writer(link, count=1000, seconds=0.01)
    async with w:
        for number in range(3):  # for each new buffer anew
            await w.write("m", number)
            await until(lambda number=number: link.sent == [*range(number + 1)])  # type: ignore[misc]


async def test_a_flush_sends_what_there_is_and_returns_when_it_has_its_outcomes() -> None:
    link = Link(holds=True)
    w, told = writer(link, count=1000, seconds=1000)
    async with w:
        await w.write("m", 0)
        await w.write("m", 1)
        flushing = asyncio.create_task(w.flush())
        await link.has(2)
        await w.write("m", 2)  # is not waited for
        link.acknowledge(1)
        await turns()
        assert not flushing.done()
        link.acknowledge(1)
        await flushing
        assert statuses(told) == {"0": "ok", "1": "ok"}
        assert w.pending == 1
        link.acknowledge()
    assert link.sent == [0, 1, 2]


async def test_a_flush_of_nothing_returns() -> None:
    w, _ = writer(Link())
    async with asyncio.timeout(GUARD), w:
        await w.flush()


async def test_no_more_samples_are_on_their_way_than_asked_for_and_there_are_no_more_tasks() -> None:
    link = Link(holds=True)
    w, told = writer(link, concurrency=4)
    async with w:
        for number in range(20):
            await w.write("m", number)
        await link.has(4)
        await turns()
        assert len(others()) == 4 + 1  # and the one that takes the outcomes
        link.acknowledge(2)
        await turns()
        assert link.waiting == [2, 3, 4, 5]
        link.acknowledge()
    assert (link.highest, link.sent) == (4, [*range(20)])
    assert set(statuses(told).values()) == {"ok"}


async def test_samples_that_are_acknowledged_at_once_need_one_task_that_sends() -> None:
    link = Link()
    seen: list[int] = []
    w, _ = writer(link, count=100, concurrency=50)
    async with w:
        for number in range(1000):
            await w.write("m", number)
            seen.append(len(others()))
    assert max(seen) <= 1 + 1  # and the one that takes the outcomes
    assert link.sent == [*range(1000)]


async def test_a_writer_in_a_tight_loop_lets_the_samples_be_sent() -> None:
    link = Link()
    w, _ = writer(link, count=100)
    async with w:
        for number in range(5000):
            await w.write("m", number)
        assert len(link.sent) > 4000


async def test_the_tasks_of_a_writer_know_nothing_of_the_task_that_writes() -> None:
    caller: ContextVar[str] = ContextVar("caller", default="nobody")
    seen: list[str] = []

    class Asking(Link):
        async def set_metric(self, metric: str, value: float, **rest: Any) -> None:
            seen.append(caller.get())

    w, _ = writer(Asking())
    caller.set("the block")
    async with w:
        caller.set("a request")
        await w.write("m", 1)
    assert seen == ["the block"]


async def test_each_task_of_a_writer_has_a_context_of_its_own() -> None:
    mine: ContextVar[float] = ContextVar("mine")
    seen: list[tuple[float, float]] = []

    class Setting(Link):
        async def set_metric(self, metric: str, value: float, **rest: Any) -> None:
            mine.set(value)
            await super().set_metric(metric, value, **rest)
            seen.append((mine.get(), value))

    link = Setting(holds=True)
    w, _ = writer(link, concurrency=3)
    async with w:
        for number in range(3):
            await w.write("m", number)
        await link.has(3)
        link.acknowledge()
    assert seen == [(0, 0), (1, 1), (2, 2)]


# Room ---------------------------------------------------------------------------------------------------------------


async def test_a_write_waits_while_there_is_no_room() -> None:
    link = Link(holds=True)
    w, _ = writer(link, capacity=2)
    async with w:
        await w.write("m", 0)
        await w.write("m", 1)
        third, fourth = (asyncio.create_task(w.write("m", number)) for number in (2, 3))
        await link.has(2)
        await turns()
        assert (third.done(), fourth.done(), w.pending) == (False, False, 2)
        link.acknowledge(1)
        await third
        assert not fourth.done()
        link.acknowledge()
        await fourth
    assert link.sent == [0, 1, 2, 3]


async def test_a_buffer_without_room_is_sent_though_it_is_not_due() -> None:
    link = Link()
    assert set((await written(link, 10, count=1000, seconds=1000, capacity=3)).values()) == {"ok"}


async def test_bytes_take_room_as_well_and_a_sample_that_is_larger_than_all_of_it_goes_alone() -> None:
    link = Link(holds=True)
    w, _ = writer(link, capacity_bytes=50)
    async with w:
        await w.write("m", 0)
        large = asyncio.create_task(w.write("m" * 100, 1))
        small = asyncio.create_task(w.write("m", 2))
        await link.has(1)
        await turns()
        assert (large.done(), small.done()) == (False, False)  # in turn: the large one would never have its
        link.acknowledge(1)
        await large
        await turns()
        assert not small.done()
        link.acknowledge()
        await small
    assert link.sent == [0, 1, 2]


async def test_a_write_that_is_cancelled_while_it_waits_is_not_accepted_and_leaves_its_turn_to_the_next() -> None:
    link = Link(holds=True)
    w, _ = writer(link, capacity=1)
    async with w:
        await w.write("m", 0)
        second, third = (asyncio.create_task(w.write("m", number)) for number in (1, 2))
        await link.has(1)
        second.cancel()
        link.acknowledge()
        await third
        assert second.cancelled()
    assert link.sent == [0, 2]


async def test_a_write_that_is_cancelled_as_its_turn_comes_leaves_it_to_the_next() -> None:
    link = Link(holds=True)
    loop = asyncio.get_running_loop()
    second: asyncio.Task[None]
    # The room is given away in the step that tells the outcome, and whoever has got it runs after what comes then.
    w, _ = writer(link, capacity=1, on_outcome=lambda outcome: loop.call_soon(second.cancel))
    async with asyncio.timeout(GUARD), w:
        await w.write("m", 0)
        second, third = (asyncio.create_task(w.write("m", number)) for number in (1, 2))
        await link.has(1)
        link.acknowledge()
        await third
    assert second.cancelled()
    assert (link.sent, w.summary.ok) == ([0, 2], 2)


async def test_nothing_is_left_of_writes_that_were_cancelled_behind_one_that_waits() -> None:
    link = Link(holds=True)
    w, _ = writer(link, capacity=1)
    async with asyncio.timeout(GUARD), w:
        await w.write("m", 0)
        first = asyncio.create_task(w.write("m", 1))
        await turns()
        for number in range(10):
            late = asyncio.create_task(w.write("m", number))
            await turns(3)
            late.cancel()
            await asyncio.wait([late])
        assert len(w._buffer._turns) == 1
        link.acknowledge()
        await first
    assert link.sent == [0, 1]


async def test_a_cancelled_write_that_was_too_large_lets_those_behind_it_in() -> None:
    link = Link(holds=True)
    w, _ = writer(link, capacity_bytes=50)
    async with asyncio.timeout(GUARD), w:
        await w.write("m", 0)
        large = asyncio.create_task(w.write("m" * 100, 1))
        small = asyncio.create_task(w.write("m", 2))
        await turns()
        large.cancel()
        await small
        link.acknowledge()
    assert link.sent == [0, 2]


async def test_a_sample_is_refused_when_there_was_no_room_for_too_long_and_the_others_are_kept() -> None:
    link = Link()
    link.away = True
    w, told = writer(link, capacity=3, patience=0.05)
    async with asyncio.timeout(GUARD), w:
        for number in range(3):
            await w.write("m", number)
        waiting = [asyncio.create_task(w.write("m", number)) for number in (3, 4)]
        await asyncio.wait(waiting)
        for task in waiting:
            with pytest.raises(BufferFullError, match=r"not accepted: for 0.05 s .* 3 samples of 30 bytes") as refused:
                await task
            assert isinstance(refused.value.__cause__, type(away()))
            assert "no connection" in str(refused.value)
            assert (refused.value.samples, refused.value.bytes) == (3, 30)
        late = w.write("m", 5)
        with pytest.raises(BufferFullError):  # without any wait: it has been full for long enough
            late.send(None)
        link.away = False
        await w.flush()
        await w.write("m", 6)  # and now there is room
    assert statuses(told) == {"0": "ok", "1": "ok", "2": "ok", "6": "ok"}
    assert set(link.sent) == {0, 1, 2, 6}


async def test_a_service_that_is_slow_is_not_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last sample waits for longer than one may, but never for so long that nothing moves."""
    loop, ahead = asyncio.get_running_loop(), 0.0
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + ahead)
    link = Link(holds=True)
    w, told = writer(link, capacity=1, patience=100)
    async with asyncio.timeout(10 * GUARD + 1000), w:
        writes = [asyncio.create_task(w.write("m", number)) for number in range(6)]
        for number in range(6):
            await until(lambda number=number: link.waiting == [number])  # type: ignore[misc]
            ahead += 60
            await turns()
            link.acknowledge(1)
        await asyncio.gather(*writes)
    assert set(statuses(told).values()) == {"ok"}


async def test_patience_begins_anew_when_there_was_room(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, ahead = asyncio.get_running_loop(), 0.0
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + ahead)
    link = Link(holds=True)
    w, told = writer(link, capacity=1, patience=100)
    async with asyncio.timeout(10_000), w:
        await w.write("m", 0)
        for number in range(1, 4):
            waiting = asyncio.create_task(w.write("m", number))
            await link.has(1)
            await turns()
            link.acknowledge(1)
            await waiting
            ahead += 101
        await link.has(1)
        link.acknowledge()
    assert statuses(told) == {str(number): "ok" for number in range(4)}


async def test_a_write_whose_turn_comes_as_the_writer_ends_is_not_accepted() -> None:
    link = Link(holds=True)
    w, told = writer(link, capacity=2)
    async with unwritten(w, match="the link is closed"):
        await w.write("m", 0)
        await w.write("m", 1)
        waiting = asyncio.create_task(w.write("m", 2))
        await link.has(2)
        await turns()
        link._held[0][1].set_result(None)  # makes room
        link._held[1][1].set_exception(ClientStateError("the link is closed"))  # before it is taken
        with pytest.raises(ClientStateError, match="the link is closed"):
            await waiting
        await until(lambda: w.pending == 0)
    assert statuses(told) == {"0": "ok", "1": "failed"}


# Outcomes -----------------------------------------------------------------------------------------------------------


def refused() -> CallError:
    return BadRequestError("no such metric", operation="metric/set", status=400)


async def test_each_sample_has_an_outcome_which_has_the_sample_and_its_key() -> None:
    link = Link()
    link.errors = [refused(), in_doubt()]
    w, told = writer(link, concurrency=1)
    async with unwritten(w):
        await w.write("a", 1, key="row 1")
        await w.write("b", 2.5, dimensions={"Device": "D1"})
        await w.write("c", 3)
    assert [(o.key, o.status, o.attempts) for o in told] == [
        ("row 1", "failed", 1),
        ("1", "unknown", 1),
        ("2", "ok", 1),
    ]
    assert [(o.item.metric, o.item.value, dict(o.item.dimensions)) for o in told] == [
        ("a", 1, {}),
        ("b", 2.5, {"Device": "D1"}),
        ("c", 3, {}),
    ]
    assert all(isinstance(o.item, Sample) and o.item.timestamp is None for o in told)
    assert [type(o.error) for o in told] == [type(refused()), type(in_doubt()), type(None)]
    summary = w.summary
    assert (summary.ok, summary.failed, summary.unknown, summary.attempts) == (1, 1, 1, 3)


async def test_an_outcome_counts_all_tries_and_tells_the_seconds_from_the_first_to_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = count()
    monkeypatch.setattr(calling, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    link = Link()
    link.errors = [away(), away()]
    w, told = writer(link)
    async with w:
        await w.write("m", 0)
    assert [(outcome.attempts, outcome.elapsed) for outcome in told] == [(3, 1.0)]


async def test_the_block_raises_when_a_sample_is_not_written_and_the_error_tells_which() -> None:
    link = Link()
    link.errors = [refused(), in_doubt()]
    w, _ = writer(link, concurrency=1, on_outcome=None)
    async with unwritten(w, match=r"of 3 samples 1 are not written, and of 1 .*no such metric") as raised:
        for number in range(3):
            await w.write("m", number)
    assert (raised[0].failed, raised[0].unknown) == (1, 1)
    assert [(outcome.key, outcome.status) for outcome in raised[0].outcomes] == [("0", "failed"), ("1", "unknown")]


async def test_of_many_bad_outcomes_the_first_are_kept() -> None:
    link = Link()
    link.errors = [refused() for _ in range(1000)]
    w, _ = writer(link, on_outcome=None)
    async with unwritten(w) as raised:
        for number in range(1000):
            await w.write("m", number)
        await w.flush()
    assert (raised[0].failed, len(raised[0].outcomes), len(w.summary.errors)) == (1000, 100, 100)


async def test_an_unexpected_exception_leaves_the_outcome_unknown() -> None:
    link = Link()
    link.errors = [KeyError("a bug")]
    w, told = writer(link)
    async with unwritten(w, match="a bug"):
        await w.write("m", 0)
    assert statuses(told) == {"0": "unknown"}


async def test_a_callback_that_raises_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    link = Link()

    def broken(outcome: object) -> None:
        raise RuntimeError("no idea")

    w, _ = writer(link, on_outcome=broken)
    async with w:
        await w.write("m", 0)
        await w.write("m", 1)
    assert (link.sent, w.summary.ok) == ([0, 1], 2)
    assert "on_outcome raised" in caplog.text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
async def test_the_errors_of_a_writer_survive_pickling(protocol: int) -> None:
    link = Link()
    link.errors = [refused()]
    w, _ = writer(link, on_outcome=None)
    async with unwritten(w) as raised:
        await w.write("m", 1, key="row 1")
    full = BufferFullError("refused", samples=3, bytes=30)
    for error in (raised[0], full):
        back = pickle.loads(pickle.dumps(error, protocol))
        assert (type(back), str(back), vars(back).keys()) == (type(error), str(error), vars(error).keys())
        if isinstance(back, UnwrittenError):
            assert [(outcome.key, outcome.item.value, outcome.status) for outcome in back.outcomes] == [
                ("row 1", 1, "failed")
            ]


# Failures that pass -------------------------------------------------------------------------------------------------


async def test_samples_that_were_not_delivered_are_sent_again_until_they_are() -> None:
    link = Link()
    link.errors = [away() for _ in range(50)]
    assert await written(link, 20) == {str(number): "ok" for number in range(20)}
    assert len(link.sent) == 70


async def test_while_the_service_is_away_one_sample_tries_at_a_time() -> None:
    link = Link(holds=True)
    w, told = writer(link, concurrency=8)
    async with asyncio.timeout(GUARD), w:
        for number in range(8):
            await w.write("m", number)
        await link.has(8)
        link.errors = [away() for _ in range(5)]
        for _, future in link._held:
            future.set_exception(away())
        await link.has(1)  # the sixth try
        await turns()
        assert len(link.sent) == 8 + 5 + 1
        link.acknowledge(1)
        await link.has(7)  # and now all of them
        link.acknowledge()
    assert set(statuses(told).values()) == {"ok"}
    assert max(outcome.attempts for outcome in told) > 1


async def test_a_writer_tells_its_trouble_until_the_service_takes_samples_again() -> None:
    link = Link()
    link.away = True
    w, _ = writer(link, concurrency=1)
    async with asyncio.timeout(GUARD), w:
        assert w.trouble is None
        await w.write("m", 0)
        await until(lambda: w.trouble is not None)
        assert str(w.trouble) == str(away())
        link.errors = [RateLimitedError("too many", operation="metric/set")]
        await until(lambda: isinstance(w.trouble, RateLimitedError))
        link.away = False
        await w.flush()
        assert w.trouble is None


async def test_a_sample_in_doubt_does_not_say_that_the_service_is_back() -> None:
    link = Link(holds=True)
    w, told = writer(link, concurrency=4, grace=0)
    async with unwritten(w):
        for number in range(8):
            await w.write("m", number)
        await link.has(4)
        link._held[0][1].set_exception(away())
        await link.has(3)
        await turns()  # the pause is over, but those that are on their way are more than one
        for left in (2, 1):
            link._held[0][1].set_exception(in_doubt())
            await turns()
            assert len(link.waiting) == left
        assert isinstance(w.trouble, type(away()))
        link._held[0][1].set_exception(in_doubt())
        await until(lambda: link.waiting == [0])
        link.acknowledge(1)
        await link.has(4)  # it is back
        assert w.trouble is None
    assert [(outcome.key, outcome.status) for outcome in told[:4]] == [
        ("1", "unknown"),
        ("2", "unknown"),
        ("3", "unknown"),
        ("0", "ok"),
    ]


@pytest.mark.parametrize(
    "error",
    [
        RateLimitedError("too many", operation="metric/set", status=429),
        ServiceError("busy", operation="metric/set", status=503, retry_after=0),
        TokenProviderError("the sign-in is away as well", operation="metric/set", sent=False),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_was_refused_without_work_is_sent_again(error: CallError) -> None:
    link = Link()
    link.errors = [error] * 3
    assert await written(link, 2) == {"0": "ok", "1": "ok"}


async def test_of_samples_that_are_sent_again_the_first_that_came_back_tries() -> None:
    link = Link(holds=True)
    w, told = writer(link, concurrency=5)
    async with asyncio.timeout(GUARD), w:
        for number in range(10):
            await w.write("m", number)
        await link.has(5)
        for position in (3, 0, 4, 1, 2):
            link._held[position][1].set_exception(away())
        await link.has(1)
        link.acknowledge()
    assert link.sent[:5] == [*range(5)]
    assert link.sent[5] == 3
    assert sorted(link.sent[5:]) == [*range(10)]
    assert set(statuses(told).values()) == {"ok"}


async def test_a_service_that_wants_a_pause_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, ahead = asyncio.get_running_loop(), 0.0
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + ahead)
    link = Link()
    link.errors = [RateLimitedError("too many", operation="metric/set", status=429, retry_after=500)]
    w, told = writer(link)
    async with w:
        await w.write("m", 0)
        await until(lambda: len(link.sent) == 1)
        await w.write("m", 1)
        ahead = 499
        await turns()
        assert len(link.sent) == 1
        ahead = 501
        await until(lambda: len(told) == 2)
    assert link.sent == [0, 0, 1]


async def test_a_sample_whose_outcome_is_unknown_is_not_sent_again() -> None:
    link = Link()
    link.errors = [in_doubt()]
    w, told = writer(link)
    async with unwritten(w):
        await w.write("m", 0)
        await w.write("m", 1)
    assert link.sent == [0, 1]
    assert statuses(told) == {"0": "unknown", "1": "ok"}


# The ends -----------------------------------------------------------------------------------------------------------


async def test_the_end_of_the_block_sends_what_is_left() -> None:
    link = Link()
    assert set((await written(link, 5, count=1000, seconds=1000)).values()) == {"ok"}
    await no_task_is_left()


async def test_the_end_goes_on_as_long_as_samples_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    real, shift = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + shift)

    class Slow(Link):
        async def set_metric(self, *args: Any, **options: Any) -> None:
            nonlocal shift
            await super().set_metric(*args, **options)
            shift += 6
            for _ in range(3):  # let what is due come
                await asyncio.sleep(0)

    w, told = writer(Slow(), concurrency=1, grace=10)
    async with w:
        for value in range(5):
            await w.write("T", value)
    assert [outcome.status for outcome in told] == ["ok"] * 5


async def test_what_cannot_be_sent_within_the_grace_is_told_and_is_not_sent_later() -> None:
    link = Link(holds=True)
    w, told = writer(link, concurrency=2, grace=0.02)
    async with unwritten(w, match=r"of 5 samples 3 are not written, and of 2 .* for 0\.02 s nothing") as raised:
        for number in range(5):
            await w.write("m", number)
        await link.has(2)
    assert statuses(told) == {"0": "unknown", "1": "unknown", "2": "failed", "3": "failed", "4": "failed"}
    assert [outcome.key for outcome in raised[0].outcomes] == [outcome.key for outcome in told]
    assert (w.summary.done, w.pending, others()) == (5, 0, set())
    assert link.cancelled == [0, 1]


async def test_what_was_written_just_before_the_end_is_told_as_written() -> None:
    link = Link(holds=True)
    w, told = writer(link)
    async with w:
        await w.write("m", 0)
        await link.has(1)
        link.acknowledge()
        await asyncio.sleep(0)  # its outcome is known to the task that has sent it, and to nobody else
        assert (link.waiting, told) == ([], [])
        await w.aclose(grace=0)
    assert statuses(told) == {"0": "ok"}


async def test_at_the_end_what_waits_for_a_service_that_is_away_was_not_written() -> None:
    link = Link()
    link.away = True
    w, told = writer(link, grace=0.02)
    async with unwritten(w, match=r"after metric/set: no connection") as raised:
        for number in range(3):
            await w.write("m", number)
    assert statuses(told) == {"0": "failed", "1": "failed", "2": "failed"}
    assert (raised[0].failed, raised[0].unknown) == (3, 0)
    assert others() == set()


async def test_at_the_end_the_oldest_of_what_waits_to_be_sent_again_is_told_first() -> None:
    link = Link(holds=True)
    w, told = writer(link, concurrency=5, grace=0)
    async with unwritten(w):
        for number in range(7):
            await w.write("m", number)
        await link.has(5)
        for position in (3, 0, 4, 1, 2):
            link._held[position][1].set_exception(
                RateLimitedError("later", operation="metric/set", status=429, retry_after=500)
            )
        await link.has(0)
    assert [outcome.key for outcome in told] == [str(number) for number in range(7)]


async def test_a_sample_has_an_outcome_also_if_its_cancellation_looks_like_a_service_that_is_away() -> None:
    class Translating(Link):
        async def set_metric(self, metric: str, value: float, **rest: Any) -> None:
            try:
                await super().set_metric(metric, value, **rest)
            except asyncio.CancelledError:
                raise away() from None

    link = Translating(holds=True)
    w, told = writer(link, grace=0)
    async with unwritten(w):
        await w.write("m", 0)
        await link.has(1)
    assert (statuses(told), w.pending) == ({"0": "failed"}, 0)


async def test_a_writer_that_has_ended_leaves_no_timer_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    call_later = loop.call_later

    def noted(*arguments: Any, **options: Any) -> asyncio.TimerHandle:
        timers.append(call_later(*arguments, **options))
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", noted)
    link = Link()
    link.errors = [RateLimitedError("later", operation="metric/set", status=429, retry_after=500)]
    w, told = writer(link, count=1000, seconds=1000, grace=0)
    async with unwritten(w):
        await w.write("m", 0)
        flushing = asyncio.create_task(w.flush())
        await until(lambda: w.trouble is not None)
        await w.write("m", 1)
    await flushing
    assert statuses(told) == {"0": "failed", "1": "failed"}
    # That of the buffer, of the pause, and of the buffer again; what else there was has fired.
    assert len(timers) >= 3
    assert [timer for timer in timers if not timer.cancelled() and timer.when() > loop.time()] == []


async def test_an_exception_in_the_block_lets_what_was_written_be_sent() -> None:
    link = Link()
    w, told = writer(link, count=1000, seconds=1000)

    async def block() -> None:
        async with w:
            await w.write("m", 0)
            raise KeyError

    with pytest.raises(KeyError) as raised:
        await block()
    assert statuses(told) == {"0": "ok"}
    assert not hasattr(raised.value, "__notes__")
    assert others() == set()


async def test_an_exception_in_the_block_has_a_note_of_what_is_not_written() -> None:
    link = Link(holds=True)
    w, told = writer(link, concurrency=1, grace=0.01)

    async def block() -> None:
        async with w:
            await w.write("m", 0)
            await w.write("m", 1)
            await link.has(1)
            raise KeyError

    with pytest.raises(KeyError) as raised:
        await block()
    assert raised.value.__notes__[0].startswith("writer: of 2 samples 1 are not written, and of 1 that is not known")
    assert statuses(told) == {"0": "unknown", "1": "failed"}


async def test_a_cancellation_ends_at_once_leaves_no_task_and_has_a_note() -> None:
    link = Link(holds=True)
    w, told = writer(link, concurrency=1, grace=1000)
    notes: list[str] = []

    async def main() -> None:
        try:
            async with w:
                await w.write("m", 0)
                await w.write("m", 1)
                await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            notes.extend(error.__notes__)
            raise

    task = asyncio.create_task(main())
    await link.has(1)
    task.cancel()
    await asyncio.wait([task], timeout=GUARD)
    assert task.cancelled()
    assert statuses(told) == {"0": "unknown", "1": "failed"}
    assert notes[0].startswith("writer: of 2 samples 1 are not written")
    assert others() == set()


async def test_a_cancellation_during_the_end_leaves_no_task() -> None:
    link = Link(holds=True)
    w, told = writer(link, concurrency=1, grace=1000)

    async def main() -> None:
        async with w:
            await w.write("m", 0)
            await w.write("m", 1)

    task = asyncio.create_task(main())
    await link.has(1)
    await turns()
    task.cancel()
    await asyncio.wait([task], timeout=GUARD)
    assert task.cancelled()
    assert statuses(told) == {"0": "unknown", "1": "failed"}
    assert others() == set()


async def test_a_cancellation_while_tasks_take_their_time_to_end_is_one() -> None:
    ending, may_end = asyncio.Event(), asyncio.Event()

    class Slow(Link):
        async def set_metric(self, metric: str, value: float, **rest: Any) -> None:
            try:
                await super().set_metric(metric, value, **rest)
            except asyncio.CancelledError:
                ending.set()
                await may_end.wait()
                raise

    link = Slow(holds=True)
    w, told = writer(link, grace=0)

    async def main() -> None:
        async with w:
            await w.write("m", 0)
            await link.has(1)

    task = asyncio.create_task(main())
    async with asyncio.timeout(GUARD):
        await ending.wait()
        task.cancel()
        await turns()
        assert not task.done()  # it leaves no task behind
        may_end.set()
        await asyncio.wait([task])
    assert task.cancelled()
    assert statuses(told) == {"0": "unknown"}
    assert others() == set()


async def test_a_time_out_around_the_block_is_one() -> None:
    link = Link(holds=True)
    w, _ = writer(link, grace=1000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02), w:
            await w.write("m", 0)
    assert others() == set()


async def test_writes_that_wait_for_room_are_refused_at_the_end() -> None:
    link = Link(holds=True)
    w, told = writer(link, capacity=1)
    async with w:
        await w.write("m", 0)
        waiting = asyncio.create_task(w.write("m", 1))
        await link.has(1)
        await turns()
        closing = asyncio.create_task(w.aclose())
        await turns()
        with pytest.raises(ClientStateError, match="closed"):
            await waiting
        link.acknowledge()
        await closing
    assert statuses(told) == {"0": "ok"}


async def test_a_second_close_waits_for_the_first() -> None:
    link = Link(holds=True)
    w, _ = writer(link)
    async with w:
        await w.write("m", 0)
        first, second = (asyncio.create_task(w.aclose()) for _ in range(2))
        await link.has(1)
        await turns()
        assert not second.done()
        link.acknowledge()
        await asyncio.gather(first, second)


async def test_an_end_inside_the_block_tells_once_what_is_not_written() -> None:
    link = Link()
    link.errors = [refused()]
    w, _ = writer(link)
    async with unwritten(w) as raised:
        await w.write("m", 0)
        await w.aclose()
    assert raised[0].failed == 1
    assert not hasattr(raised[0], "__notes__")


async def test_a_flush_that_is_waiting_returns_when_the_writer_ends() -> None:
    link = Link(holds=True)
    w, told = writer(link, grace=0)
    async with unwritten(w):
        await w.write("m", 0)
        flushing = asyncio.create_task(w.flush())
        await link.has(1)
    async with asyncio.timeout(GUARD):
        await flushing
    assert statuses(told) == {"0": "unknown"}


async def test_a_link_that_is_closed_ends_the_writer() -> None:
    link = Link(holds=True)
    w, told = writer(link, concurrency=1)
    async with unwritten(w, match="the link is closed"):
        await w.write("m", 0)
        await w.write("m", 1)
        await link.has(1)
        link._held[0][1].set_exception(ClientStateError("the link is closed"))
        await until(lambda: len(told) == 2)
        with pytest.raises(ClientStateError, match="takes no samples any more: the link is closed"):
            await w.write("m", 2)
        with pytest.raises(ClientStateError, match="the link is closed"):
            await w.flush()
    assert statuses(told) == {"0": "failed", "1": "failed"}


async def test_tasks_that_somebody_else_cancels_end_the_writer_with_an_error() -> None:
    link = Link(holds=True)
    w, told = writer(link, concurrency=1)
    async with unwritten(w, match="cancelled"):
        await w.write("m", 0)
        await w.write("m", 1)
        await link.has(1)
        for task in others():
            task.cancel()
        await until(lambda: len(told) == 2)
        with pytest.raises(ClientStateError):
            await w.write("m", 2)
    assert others() == set()


# Where it may be used -----------------------------------------------------------------------------------------------


async def test_a_writer_is_used_inside_its_block_and_entered_once() -> None:
    link = Link()
    w, _ = writer(link)
    with pytest.raises(ClientStateError, match="inside its block"):
        await w.write("m", 0)
    async with w:
        await w.write("m", 0)
    with pytest.raises(ClientStateError, match="it was closed"):
        await w.write("m", 1)
    with pytest.raises(ClientStateError, match="it was closed"):
        await w.flush()
    with pytest.raises(ClientStateError, match="entered once"):
        await w.__aenter__()
    await w.aclose()
    assert link.sent == [0]


def test_a_writer_belongs_to_the_loop_of_its_block() -> None:
    w, _ = writer(Link())
    asyncio.run(w.__aenter__())

    async def elsewhere() -> None:
        with pytest.raises(ClientStateError, match="its tasks were cancelled"):
            await w.write("m", 0)

    asyncio.run(elsewhere())


async def test_a_writer_is_used_and_closed_in_no_other_running_loop() -> None:
    link = Link()
    w, _ = writer(link)
    async with w:
        for use in (w.aclose(), w.flush(), w.write("m", 0)):
            with pytest.raises(ClientStateError, match="belongs to another event loop"):
                await asyncio.to_thread(asyncio.run, use)
        await w.write("m", 1)
    assert link.sent == [1]


def test_writers_work_in_two_runs_in_a_row() -> None:
    for _ in range(2):
        link = Link()
        assert set(asyncio.run(written(link, 3)).values()) == {"ok"}


# Arguments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (("", 1), "metric: expected a text that is not empty, got ''"),
        ((7, 1), "metric: expected a text that is not empty, got 7"),
        (("m", math.nan), "value of 'm': expected a finite number, got nan"),
        (("m", -math.inf), "value of 'm': expected a finite number, got -inf"),
        (("m", True), "value of 'm': expected a number, got True"),
        (("m", "1"), "value of 'm': expected a number, got '1'"),
        (("m", None), "value of 'm': expected a number, got None"),
        (("m", 1 << 80), "64-bit"),
        (("m", Decimal(1)), r"value of 'm': expected a number, got Decimal\('1'\)"),
        (("m", 10**400), "64-bit"),
        (("m", 10**5000), "64-bit.* value=a int that is too long to be shown"),
        (("m", Fraction(10**400)), r"value of 'm': expected a number that a float can hold, got Fraction\(1000"),
        (("m", Fraction(10**5000)), "expected a number that a float can hold, got a Fraction that is too long"),
        (("m", 1, {"Device": 10**5000}), "64-bit.* dimensions=a dict that is too long to be shown"),
        (("m", 1, {"Device": [1]}), r"dimensions: Device: expected a text or a number, got \[1\]"),
        (("m\ud800", 1), "no JSON"),
        (("m", 1, {"Device": None}), "dimensions: Device: expected a text or a number, got None"),
        (("m", 1, {"Device": ""}), "dimensions: Device: expected a text or a number, got ''"),
        (("m", 1, {"Device": math.nan}), "dimensions: Device: expected a finite number, got nan"),
        (("m", 1, {"": "x"}), "dimensions: expected names that are not empty, got ''"),
        (("m", 1, {1: "x"}), "dimensions: expected names that are not empty, got 1"),
        (("m", 1, ["Device"]), r"dimensions: expected a mapping .*got \['Device'\]"),
        (("m", 1, []), r"dimensions: expected a mapping .*got \[\]"),
        (("m", 1, None, None, ""), "key: expected a text that is not empty, got ''"),
        (("m", 1, None, datetime(2026, 1, 1)), "timestamp of 'm': 2026-01-01T00:00:00 has no time zone"),
        (("m", 1, None, 12345), "timestamp of 'm': expected a datetime, got int"),
        (("m", 1, None, datetime(2026, 1, 1, tzinfo=UTC)), "timestamp of 'm': over MQTT"),
    ],
)
async def test_what_is_no_sample_is_refused_at_once_with_its_name_and_value(sample: Any, text: str) -> None:
    link = Link()
    w, told = writer(link)
    metric, value, dimensions, timestamp, key = [*sample, None, None, None][:5]
    async with w:
        with pytest.raises(InvalidArgumentError, match=text):
            await w.write(metric, value, dimensions=dimensions, timestamp=timestamp, key=key)
        assert w.pending == 0
    assert (link.sent, told) == ([], [])


async def test_numbers_of_other_libraries_are_numbers() -> None:
    class Float(float):
        pass

    link = Link()
    w, _ = writer(link)
    async with w:
        await w.write("m", Fraction(1, 2))  # type: ignore[arg-type]
        await w.write("m", Float(2.5))
    assert link.sent == [0.5, 2.5]
    assert {type(value) for value in link.sent} == {float}


async def test_dimensions_that_change_after_the_write_are_those_of_the_write() -> None:
    link = Link()
    dimensions = {"Device": "A"}
    w, _ = writer(link, count=1000)
    async with w:
        await w.write("m", 1, dimensions=dimensions)
        dimensions["Device"] = "B"
    assert link.messages[0]["dimensions"] == [{"Device": "A"}]


async def test_dimensions_that_are_equal_and_yet_not_the_same_stay_what_they_are() -> None:
    link = Link()
    w, _ = writer(link)
    values: list[Any] = [1, True, 1.0, "1", 1]
    async with w:
        for value in values:
            await w.write("m", 1, dimensions={"deviceId": value})
    sent = [message["dimensions"][0]["deviceId"] for message in link.messages]
    assert [(type(value), value) for value in sent] == [(type(value), value) for value in values]


@pytest.mark.slow
async def test_a_writer_forgets_dimensions_so_that_any_number_of_them_may_come() -> None:
    link = Link()
    w, _ = writer(link, count=1000)
    async with w:
        for number in range(25_000):
            await w.write("m", number, dimensions={"Device": str(number)})
    assert [message["dimensions"] for message in link.messages] == [[{"Device": str(n)}] for n in range(25_000)]
    assert len(w._checker._known) <= 10_000


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"count": 0}, "count: expected a whole number from 1, got 0"),
        ({"bytes": True}, "bytes: expected a whole number from 1, got True"),
        ({"capacity": 1.5}, "capacity: expected a whole number from 1, got 1.5"),
        ({"capacity_bytes": -1}, "capacity_bytes: .* got -1"),
        ({"seconds": math.nan}, "seconds: expected seconds from 0, got nan"),
        ({"patience": math.inf}, "patience: expected seconds from 0, got inf"),
        ({"grace": -1}, "grace: expected seconds from 0, got -1"),
        ({"concurrency": 0}, "concurrency: expected auto, or a whole number from 1, got 0"),
        ({"on_outcome": 3}, "on_outcome: expected a callable, or None, got 3"),
        ({"counts": 3}, "via mqtt: unknown option 'counts': expected one of link, buffer, count, bytes"),
        ({"link": None}, "link: expected a DeviceLink, got NoneType"),
        ({"buffer": 5}, "metric/set: buffer: expected a mapping, got int"),
        ({"buffer": {"sum": {1}}}, "metric/set: buffer.sum: set is not JSON"),
        ({"via": "pigeon"}, "via: expected one of automation, model, mqtt, got 'pigeon'"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(options: dict[str, Any], text: str) -> None:
    client = IotoClient("https://cloud.example", token="token", environ={})
    with pytest.raises(InvalidArgumentError, match=text):
        client.metric.writer(**{"via": "mqtt", "link": Link(), **options})


async def test_a_grace_that_is_no_number_of_seconds_is_refused() -> None:
    w, _ = writer(Link())
    async with w:
        with pytest.raises(InvalidArgumentError, match="grace: expected seconds from 0, or None, got -1"):
            await w.aclose(grace=-1)
