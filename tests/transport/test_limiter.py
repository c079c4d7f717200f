"""Where requests wait for their turn: the limiter by itself in simulated time, and in a client against a server."""

import asyncio
import contextlib
import math
import selectors
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

import ioto_async.transport.limiter as limiter_module
import ioto_async.transport.pauses as pauses_module
import ioto_async.transport.transport as transport_module
from ioto_async import ClientStateError, InvalidArgumentError, IotoClient, Limits, RateLimitedError, RetryPolicy
from ioto_async.transport.limiter import Limiter
from ioto_async.transport.limits import Verdict
from ioto_async.transport.pauses import PauseError
from ioto_async.transport.pool import Pool
from tests.rawserver import GUARD, RawServer, Request, Step, client_of, in_thread, leftover_tasks, reply, served

DEVICE = {"id": "D1", "accountId": "A1"}


# In simulated time ------------------------------------------------------------------------------------------------


class _Selector(selectors.SelectSelector):
    """Waits for nothing, and puts the clock forward instead."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everybody waits for something that never comes")
        self.now += max(timeout, 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


def simulate(main: Callable[[], Awaitable[None]]) -> None:
    """Run *main*, and the limiters in it, in a time that passes only while all wait."""

    async def begin() -> None:
        await main()
        assert not await leftover_tasks()

    with asyncio.Runner(loop_factory=_Loop) as runner, pytest.MonkeyPatch.context() as patch:
        for module in (limiter_module, pauses_module):
            patch.setattr(module, "time", SimpleNamespace(monotonic=runner.get_loop().time))
        runner.run(begin())


def now() -> float:
    """Seconds since the beginning of the simulated time."""
    return asyncio.get_running_loop().time() - 1000.0


ORIGIN = URL("https://cloud.example")


def enter_now(limiter: Limiter) -> float | None:
    return limiter.enter_now(limiter.pauses.of(ORIGIN))


async def enter(limiter: Limiter, patience: float = math.inf) -> float:
    return await limiter.enter(limiter.pauses.of(ORIGIN), patience)


def throttled(limiter: Limiter, entered: float, retry_after: float) -> None:
    """What happens when a reply asks for a pause."""
    limiter.pauses.of(ORIGIN).begin(retry_after)
    limiter.leave(Verdict.THROTTLED, entered, of="a")


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def passing(limiter: Limiter, names: str, passed: list[str]) -> dict[str, asyncio.Task[float]]:
    """Tasks that wait in this order, and write their names down as they pass."""

    async def pass_by(name: str) -> float:
        entered = await enter(limiter)
        passed.append(name)
        return entered

    return {name: asyncio.create_task(pass_by(name)) for name in names}


async def end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def test_without_limits_everybody_passes_at_once() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(), math.inf)
        for _ in range(500):
            assert enter_now(limiter) is not None
        assert await enter(limiter) == asyncio.get_running_loop().time()
        assert (now(), limiter.in_flight, limiter.limit) == (0.0, 501, math.inf)

    simulate(main)


def test_no_more_connections_are_in_use_than_there_are_and_transfers_wait_in_the_same_line() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(), 2), list[str]()

        async def transfer() -> None:
            await limiter.connections.take()
            passed.append("transfer")

        first = enter_now(limiter)
        assert first is not None
        assert enter_now(limiter) is not None
        assert enter_now(limiter) is None
        tasks = [*passing(limiter, "a", passed).values(), asyncio.create_task(transfer())]
        await turns()
        tasks += passing(limiter, "b", passed).values()
        await turns()
        assert passed == []
        limiter.leave(Verdict.SERVED, first, of="a")
        await turns()
        assert passed == ["a"]
        limiter.leave(Verdict.SERVED, first, of="a")
        await turns()
        assert passed == ["a", "transfer"]
        limiter.connections.give_back()
        await asyncio.wait(tasks)
        assert (passed, limiter.in_flight) == (["a", "transfer", "b"], 2)

    simulate(main)


def test_who_is_cancelled_while_waiting_for_a_connection_gives_everything_back() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(rate=1), 1), list[str]()
        await limiter.connections.take()
        tasks = passing(limiter, "ab", passed)
        await turns()
        assert limiter.in_flight == 1
        await end(tasks["a"])
        assert limiter.in_flight == 1, "b has the turn now"
        limiter.connections.give_back()
        await asyncio.wait([tasks["b"]])
        assert (now(), limiter.in_flight, limiter.connections.free) == (0.0, 1, 0)

    simulate(main)


def test_a_pause_that_begins_while_a_connection_is_waited_for_is_kept_to() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(), 1), list[str]()
        await limiter.connections.take()
        tasks = passing(limiter, "ab", passed)
        await turns()
        limiter.pauses.of(ORIGIN).begin(5.0)
        limiter.connections.give_back()
        await turns()
        assert (passed, limiter.in_flight, limiter.connections.free) == ([], 0, 1)
        await asyncio.wait([tasks["a"]])
        assert (now(), passed) == (5.0, ["a"])
        await end(tasks["b"])

    simulate(main)


def test_no_more_are_in_flight_than_the_limit_and_the_others_pass_in_their_order() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(in_flight=2), 100), list[str]()
        tasks = passing(limiter, "abcd", passed)
        await turns()
        assert (passed, limiter.in_flight) == (["a", "b"], 2)
        limiter.leave(Verdict.SERVED, tasks["b"].result(), of="a")
        await turns()
        assert (passed, limiter.in_flight) == (["a", "b", "c"], 2)
        limiter.leave(Verdict.SERVED, tasks["a"].result(), of="a")
        await turns()
        assert passed == ["a", "b", "c", "d"]

    simulate(main)


def test_requests_pass_at_the_rate() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(rate=10), 100), list[str]()
        tasks = passing(limiter, "abcdefghijk", passed)
        await asyncio.wait(tasks.values())
        assert passed == list("abcdefghijk")
        for number, task in enumerate(tasks.values()):
            assert task.result() - 1000.0 == pytest.approx(number / 10, abs=1e-3)

    simulate(main)


def test_a_quiet_time_is_not_made_up_for() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(rate=10), 100)
        await asyncio.sleep(60)
        began = now()
        for _ in range(11):
            await enter(limiter)
        assert now() - began == pytest.approx(1.0, abs=0.01)

    simulate(main)


def test_nobody_passes_those_who_wait() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(rate=1), 100), list[str]()
        assert enter_now(limiter) is not None
        assert enter_now(limiter) is None, "there was no token"
        tasks = passing(limiter, "ab", passed)
        await asyncio.wait([tasks["a"]])
        assert enter_now(limiter) is None, "b was before"
        await asyncio.wait([tasks["b"]])
        assert now() == pytest.approx(2.0)

    simulate(main)


def test_a_token_that_comes_a_hair_before_the_timer_belongs_to_those_who_wait() -> None:
    async def main() -> None:
        limiter, passed, seen = Limiter(Limits(rate=1), 100), list[str](), list[float | None]()
        assert enter_now(limiter) is not None
        asyncio.get_running_loop().call_at(1001.0 - 1e-7, lambda: seen.append(enter_now(limiter)))
        await asyncio.wait(passing(limiter, "a", passed).values())
        assert (passed, seen) == (["a"], [None])

    simulate(main)


def test_who_is_cancelled_while_waiting_takes_no_turn() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(in_flight=1), 100), list[str]()
        entered = enter_now(limiter)
        assert entered is not None
        tasks = passing(limiter, "abc", passed)
        await turns()
        await end(tasks["a"], tasks["b"])
        limiter.leave(Verdict.SERVED, entered, of="a")
        await turns()
        assert (passed, limiter.in_flight) == (["c"], 1)

    simulate(main)


def test_who_is_cancelled_as_the_turn_comes_gives_it_to_the_next() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(in_flight=1), 100), list[str]()
        entered = enter_now(limiter)
        assert entered is not None
        tasks = passing(limiter, "ab", passed)
        await turns()
        limiter.leave(Verdict.SERVED, entered, of="a")
        await end(tasks["a"])
        await turns()
        assert (passed, limiter.in_flight) == (["b"], 1)

    simulate(main)


def test_a_token_of_somebody_who_is_cancelled_as_the_turn_comes_is_not_lost() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(rate=1), 100), list[str]()
        assert enter_now(limiter) is not None
        tasks = passing(limiter, "ab", passed)
        await turns()
        asyncio.get_running_loop().call_at(1001.0, tasks["a"].cancel)
        await asyncio.wait(tasks.values())
        assert passed in (["b"], ["a", "b"])
        assert now() == pytest.approx(1.0 if passed == ["b"] else 2.0)

    simulate(main)


def test_when_the_head_of_the_line_is_cancelled_the_next_has_no_longer_to_wait() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(rate=1), 100), list[str]()
        assert enter_now(limiter) is not None
        tasks = passing(limiter, "ab", passed)
        await asyncio.sleep(0.5)
        await end(tasks["a"])
        await asyncio.wait([tasks["b"]])
        assert now() == pytest.approx(1.0)

    simulate(main)


def test_a_refusal_that_asks_for_a_pause_holds_everybody_back() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(in_flight=2), 100), list[str]()
        first, second = enter_now(limiter), enter_now(limiter)
        assert first is not None
        assert second is not None
        tasks = passing(limiter, "ab", passed)
        await turns()
        throttled(limiter, first, 5.0)
        limiter.leave(Verdict.SERVED, second, of="a")
        await asyncio.sleep(1)
        assert passed == []
        assert enter_now(limiter) is None
        assert limiter.pauses.left == 4.0
        await asyncio.wait(tasks.values())
        assert (now(), limiter.pauses.left) == (5.0, 0.0)

    simulate(main)


def test_who_waits_and_would_not_bear_a_pause_is_told_as_soon_as_it_begins() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(in_flight=1), 100)
        entered = enter_now(limiter)
        assert entered is not None
        brief, patient = asyncio.create_task(enter(limiter, 5.0)), asyncio.create_task(enter(limiter, 20.0))
        await turns()
        throttled(limiter, entered, 10.0)
        with pytest.raises(PauseError) as caught:
            await brief
        assert (now(), caught.value.left) == (0.0, 10.0)
        await patient
        assert (now(), limiter.in_flight) == (10.0, 1)

    simulate(main)


def test_a_pause_that_would_be_borne_is_waited_for_although_it_comes_while_waiting() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(in_flight=1), 100)
        entered = enter_now(limiter)
        assert entered is not None
        waiting = asyncio.create_task(enter(limiter, 5.0))
        await turns()
        throttled(limiter, entered, 5.0)
        await waiting
        assert now() == 5.0

    simulate(main)


def test_who_is_told_of_a_pause_and_cancelled_at_once_takes_no_turn() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(in_flight=1), 100)
        entered = enter_now(limiter)
        assert entered is not None
        brief = asyncio.create_task(enter(limiter, 1.0))
        await turns()
        throttled(limiter, entered, 10.0)
        await end(brief)
        assert limiter.in_flight == 0
        await enter(limiter)
        assert (now(), limiter.in_flight) == (10.0, 1)

    simulate(main)


def test_those_who_are_cancelled_are_forgotten_at_once_wherever_they_stand() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(in_flight=1), 100)
        assert enter_now(limiter) is not None
        head = asyncio.create_task(enter(limiter))
        await turns()
        for _ in range(100):
            others = [asyncio.create_task(enter(limiter)) for _ in range(10)]
            await turns()
            await end(*others)
        assert len(limiter._waiting) == 1, "a client that waits with time-outs of its own would fill the memory"
        await end(head)
        assert len(limiter._waiting) == 0

    simulate(main)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(), 100)
        entered = enter_now(limiter)
        assert entered is not None
        throttled(limiter, entered, 5.0)
        assert enter_now(limiter) is None
        limiter.in_flight += 1  # one that was under way
        throttled(limiter, entered, 1.0)
        await enter(limiter)
        assert now() == 5.0

    simulate(main)


def test_while_it_adapts_it_begins_with_few_in_flight_and_lets_more_pass_as_they_are_served() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(), 64), list[str]()
        with limiter.running(adapting=True):
            begin = int(limiter.limit)
            assert 1 <= begin <= 8
            tasks = passing(limiter, "abcdefghijklmnopqrst", passed)
            await turns()
            assert limiter.in_flight == begin
            limiter.leave(Verdict.SERVED, tasks["a"].result(), of="a")
            await turns()
            assert limiter.in_flight == int(limiter.limit) > begin
        await turns()
        assert (len(passed), limiter.limit) == (20, math.inf), "they waited on after the search was over"

    simulate(main)


def test_the_search_never_goes_beyond_the_limit_in_flight_that_was_set() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(in_flight=2), 64)
        with limiter.running(adapting=True):
            assert limiter.limit == 2
            for _ in range(50):
                for entered in [enter_now(limiter), enter_now(limiter)]:
                    assert entered is not None
                assert enter_now(limiter) is None
                await asyncio.sleep(0.01)
                for _ in range(2):
                    limiter.leave(Verdict.SERVED, now() + 1000.0 - 0.01, of="a")
            assert limiter.limit == 2

    simulate(main)


def test_the_search_goes_on_until_the_last_who_wanted_it_is_gone() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(), 64)
        with contextlib.ExitStack() as outer:
            outer.enter_context(limiter.running(adapting=True))
            with limiter.running(adapting=True):
                pass
            assert limiter.limit < math.inf
        assert limiter.limit == math.inf

    simulate(main)


def test_a_refusal_slows_down_while_it_adapts_and_only_then() -> None:
    async def refused(limiter: Limiter) -> float:
        for _ in range(4):
            entered = await enter(limiter)
            limiter.leave(Verdict.SERVED, entered, of="a")
        entered = await enter(limiter)
        limiter.leave(Verdict.THROTTLED, entered, of="a")
        began = now()
        for _ in range(20):
            limiter.leave(Verdict.SILENT, await enter(limiter), of="a")
        return now() - began

    async def main() -> None:
        limiter = Limiter(Limits(), 64)
        assert await refused(limiter) == 0
        with limiter.running(adapting=True):
            assert await refused(limiter) > 0.02
        assert enter_now(limiter) is not None

    simulate(main)


def test_the_search_never_goes_beyond_the_rate_that_was_set() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(rate=10), 64)
        with limiter.running(adapting=True):
            began = now()
            for _ in range(21):
                entered = await enter(limiter)
                limiter.leave(Verdict.SERVED, entered, of="a")
            assert now() - began == pytest.approx(2.0, abs=0.01)

    simulate(main)


def test_an_open_limiter_lets_everybody_pass_who_waits() -> None:
    async def main() -> None:
        limiter, passed = Limiter(Limits(rate=0.001, in_flight=1), 100), list[str]()
        assert enter_now(limiter) is not None
        tasks = passing(limiter, "abc", passed)
        await turns()
        limiter.open()
        await asyncio.wait(tasks.values())
        assert (passed, now()) == (["a", "b", "c"], 0.0)

    simulate(main)


def test_those_who_waited_in_a_loop_that_is_gone_hold_nobody_up() -> None:
    limiter = Limiter(Limits(in_flight=1), 100)
    lost = asyncio.new_event_loop()
    assert enter_now(limiter) is not None
    waiting = lost.create_task(enter(limiter))
    lost.run_until_complete(asyncio.sleep(0))
    lost.run_until_complete(asyncio.sleep(0))
    lost.close()
    limiter.reset()
    assert enter_now(limiter) is not None
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]  # the loss of it is what this test is about
    del waiting


@settings(max_examples=60)
@given(
    in_flight=st.integers(1, 4),
    rate=st.sampled_from([None, 1.0, 100.0]),
    steps=st.lists(
        st.sampled_from(["enter", "leave", "cancel", "cancel last", "throttled", "turn", "wait"]), max_size=60
    ),
)
def test_whatever_is_cancelled_no_turn_is_lost(in_flight: int, rate: float | None, steps: list[str]) -> None:
    async def main() -> None:
        limiter = Limiter(Limits(rate=rate, in_flight=in_flight), 100)
        tasks: list[asyncio.Task[float]] = []
        inside: list[asyncio.Task[float]] = []

        def look() -> None:
            for task in [task for task in tasks if task.done()]:
                tasks.remove(task)
                if not task.cancelled():
                    inside.append(task)

        for step in steps:
            look()
            if step == "enter":
                tasks.append(asyncio.create_task(enter(limiter)))
            elif step == "leave" and inside:
                limiter.leave(Verdict.SERVED, inside.pop(0).result(), of="a")
            elif step == "throttled" and inside:
                throttled(limiter, inside.pop(0).result(), 2.0)
            elif step == "cancel" and tasks:
                tasks[0].cancel()
            elif step == "cancel last" and tasks:
                tasks[-1].cancel()
            elif step == "turn":
                await asyncio.sleep(0)
            elif step == "wait":
                await asyncio.sleep(0.3)
            assert limiter.in_flight <= in_flight
        while tasks or inside:  # the simulation says so if somebody would wait for ever
            look()
            if inside:
                limiter.leave(Verdict.SERVED, inside.pop().result(), of="a")
            elif tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert limiter.in_flight == 0

    simulate(main)


def test_a_timer_of_a_loop_that_is_gone_keeps_nobody_in_the_next() -> None:
    """Its loop will never call it."""
    limiter = Limiter(Limits(rate=1), 100)
    lost = asyncio.new_event_loop()
    assert enter_now(limiter) is not None
    waiting = [lost.create_task(enter(limiter)) for _ in range(3)]
    lost.run_until_complete(asyncio.sleep(0))
    lost.run_until_complete(asyncio.sleep(0))
    lost.close()
    limiter.reset()

    async def main() -> None:
        for _ in range(3):
            await enter(limiter)

    began = time.monotonic()
    simulate(main)
    assert time.monotonic() - began < GUARD
    for task in waiting:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # as above
    del waiting


def test_what_was_in_flight_in_a_loop_that_is_gone_takes_and_makes_no_room_in_the_next() -> None:
    pool = Pool(limits=Limits(in_flight=1))
    entered: list[float] = []

    async def begin() -> None:
        await pool.open()
        now = enter_now(pool.limiter)
        assert now is not None
        entered.append(now)

    async def main() -> None:
        await begin()
        pool.limiter.leave(Verdict.SERVED, entered[0], of="a")  # the late end of the first
        assert enter_now(pool.limiter) is None
        pool.limiter.leave(Verdict.SERVED, entered[1], of="a")
        await begin()
        await pool.close()

    asyncio.run(begin())
    asyncio.run(main())


# In a client ------------------------------------------------------------------------------------------------------


class Crowd:
    """A handler whose replies are held back; counts the requests that are there."""

    def __init__(self) -> None:
        self.held: list[asyncio.Event] = []

    def __call__(self, request: Request) -> Step:
        self.held.append(asyncio.Event())
        return reply(200, {**DEVICE, "id": request.json.get("id", "D1")}, hold=self.held[-1])

    def release(self, count: int) -> None:
        for _ in range(count):
            self.held.pop(0).set()


async def test_requests_in_flight_are_limited_for_a_client_its_clones_and_its_builder_together() -> None:
    crowd = Crowd()
    async with (
        RawServer(handler=crowd) as server,
        client_of(
            server, builder=server.url, builder_token="builder-token-012345", limits=Limits(in_flight=2)
        ) as client,
    ):
        clone = client.with_options(retries=0)
        calls = [
            asyncio.create_task(call)
            for call in (
                client.device.get("D1"),
                clone.device.get("D2"),
                clone.builder.device.get("D3"),
                client.call("device/get", {"id": "D4"}),
            )
        ]
        for count in (2, 3, 4):
            await server.received(count)
            await turns()
            assert len(server.requests) == count
            crowd.release(1)
        crowd.release(1)
        await asyncio.gather(*calls)


async def test_a_retry_after_holds_back_the_calls_of_clones_as_well() -> None:
    now = {"Retry-After": "3600"}
    policy = RetryPolicy(attempts=1)
    async with served(reply(429, "slow down", headers=now), retry=policy, max_retry_after=3600) as (server, client):
        with pytest.raises(RateLimitedError):
            await client.device.get("D1")
        for other in (client, client.with_options(retries=2)):
            with pytest.raises(RateLimitedError, match="pause") as caught:
                await other.device.get("D2")
            assert not caught.value.sent
            assert caught.value.retry_after == pytest.approx(3600, rel=0.1)
    assert len(server.requests) == 1


async def test_calls_that_wait_fail_or_wait_on_when_a_pause_comes_as_each_of_them_would_bear() -> None:
    refusal = asyncio.Event()
    steps = reply(429, "slow down", headers={"Retry-After": "600"}, hold=refusal), reply(200, DEVICE)
    brief, patient = RetryPolicy(elapsed=60), RetryPolicy(elapsed=3600)
    limits = Limits(in_flight=1)
    async with served(*steps, limits=limits, retry=brief, max_retry_after=600) as (server, client):
        first = asyncio.create_task(client.device.get("D1", retries=0))
        await server.received(1)
        second = asyncio.create_task(client.device.get("D2"))
        third = asyncio.create_task(client.with_options(retry=patient).device.get("D3"))
        await turns()
        refusal.set()
        async with asyncio.timeout(GUARD):
            with pytest.raises(RateLimitedError, match="pause") as caught:
                await second
        assert (caught.value.sent, caught.value.operation) == (False, "device/get")
        with pytest.raises(RateLimitedError, match="slow down"):
            await first
        await turns()
        assert not third.done()
        third.cancel()
        await asyncio.wait([third])
    assert len(server.requests) == 1


async def test_a_closed_client_says_so_at_once_although_there_is_a_pause() -> None:
    pause = {"Retry-After": "3600"}
    policy = RetryPolicy(elapsed=1e6)
    async with served(reply(429, "slow down", headers=pause), retry=policy, max_retry_after=3600) as (server, client):
        with pytest.raises(RateLimitedError):
            await client.device.get("D1", retries=0)
        await client.aclose()
        async with asyncio.timeout(GUARD):
            with pytest.raises(ClientStateError, match="closed"):
                await client.device.get("D2")
    assert len(server.requests) == 1


@pytest.mark.parametrize("elapsed", [1.0, 1e6])
async def test_a_call_in_a_second_loop_is_refused_at_once_although_others_wait(elapsed: float) -> None:
    crowd = Crowd()
    policy = RetryPolicy(elapsed=elapsed)
    async with served(handler=crowd, limits=Limits(in_flight=1), retry=policy) as (server, client):
        calls = [asyncio.create_task(client.device.get(f"D{number}")) for number in range(2)]
        await server.received(1)

        async def second() -> None:
            async with asyncio.timeout(GUARD):
                await client.device.get("D9")

        with pytest.raises(ClientStateError, match="event loop"):
            await asyncio.to_thread(asyncio.run, second())
        for count in (1, 2):
            await server.received(count)
            crowd.release(1)
        assert [(await call).id for call in calls] == ["D0", "D1"]


class Clock:
    """A time that passes only when the test says so."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (limiter_module, pauses_module, transport_module):
            patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))


async def test_the_wait_for_a_turn_takes_nothing_of_the_time_for_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither before the first attempt nor before another one."""
    clock, held = Clock(monkeypatch), dict[str, asyncio.Event]()
    refusals = 2

    def handler(request: Request) -> Step:
        nonlocal refusals
        id = request.json["id"]
        if id == "D2" and refusals:
            refusals -= 1
            return reply(429, "slow down")
        held[id] = asyncio.Event()
        return reply(200, {**DEVICE, "id": id}, hold=held[id])

    policy = RetryPolicy(attempts=3, elapsed=60, base=0)
    async with served(handler=handler, limits=Limits(in_flight=1), retry=policy) as (server, client):
        first = asyncio.create_task(client.device.get("D1"))
        await server.received(1)
        second = asyncio.create_task(client.device.get("D2"))
        third = asyncio.create_task(client.device.get("D3"))
        await turns()
        clock.now += 1000
        held["D1"].set()
        await server.until(lambda: "D3" in held)  # D2 was refused, and waits for another turn
        await turns()
        clock.now += 1000
        held["D3"].set()
        await server.until(lambda: "D2" in held or second.done())
        held["D2"].set()
        async with asyncio.timeout(GUARD):
            assert [(await call).id for call in (first, second, third)] == ["D1", "D2", "D3"]
    assert [request.json["id"] for request in server.requests] == ["D1", "D2", "D3", "D2", "D2"]


async def test_the_time_for_retries_still_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def handler(request: Request) -> Step:
        clock.now += 40
        return reply(429, "slow down")

    policy = RetryPolicy(attempts=9, elapsed=60, base=0)
    async with served(handler=handler, limits=Limits(in_flight=1), retry=policy) as (server, client):
        with pytest.raises(RateLimitedError):
            await client.device.get("D1")
    assert len(server.requests) == 2


@pytest.mark.parametrize("limits", [Limits(in_flight=1), Limits(rate=0.01), Limits()])
async def test_a_provider_of_tokens_may_call_through_the_client_that_waits_for_its_answer(limits: Limits) -> None:
    clients: list[IotoClient] = []

    async def provider() -> str:
        user = clients[0].with_options(token="a-token-to-sign-in-with")
        return str(await user.call("user/signIn", {"name": "me"}))

    def handler(request: Request) -> Step:
        return reply(200, b'"token-0123456789"' if request.path.endswith("user/signIn") else DEVICE)

    async with (
        RawServer(handler=handler) as server,
        client_of(server, login=provider, origin="app.ioto.me", limits=limits) as client,
    ):
        clients.append(client)
        async with asyncio.timeout(GUARD):
            await client.device.get("D1")
        assert client._pool.limiter.in_flight == 0
    assert [(request.path, request.header("Authorization")) for request in server.requests] == [
        ("/tok/user/signIn", "a-token-to-sign-in-with"),
        ("/device/get", "token-0123456789"),
    ]


async def test_only_calls_of_the_provider_pass_without_a_turn() -> None:
    crowd, clients = Crowd(), list[IotoClient]()

    async def provider() -> str:
        await clients[0].with_options(token="a-token-to-sign-in-with").call("user/signIn")
        return "token-0123456789"

    async with (
        RawServer(handler=crowd) as server,
        client_of(server, login=provider, origin="app.ioto.me", limits=Limits(in_flight=1)) as client,
    ):
        clients.append(client)
        calls = [asyncio.create_task(client.device.get(f"D{number}")) for number in range(2)]
        paths = []
        for count in (1, 2, 3):
            await server.received(count)
            await turns()
            paths.append([request.path for request in server.requests])
            crowd.release(1)
        await asyncio.gather(*calls)
    assert paths[0] == ["/tok/user/signIn"]
    assert paths[1][1:] == ["/device/get"]
    assert paths[2][2:] == ["/device/get"]


async def test_a_call_that_may_take_as_long_as_the_pause_waits_for_its_end() -> None:
    steps = reply(503, "slow down", headers={"Retry-After": "0.05"}), reply(200, DEVICE), reply(200, DEVICE)
    async with served(*steps) as (server, client):
        await asyncio.gather(client.device.get("D1"), client.device.get("D1"))
    assert len(server.requests) == 3


async def test_closing_the_client_wakes_those_who_wait_at_the_limiter() -> None:
    crowd = Crowd()
    async with served(handler=crowd, limits=Limits(in_flight=1)) as (server, client):
        calls = [asyncio.create_task(client.device.get(f"D{number}")) for number in range(3)]
        await server.received(1)
        await client.aclose()
        async with asyncio.timeout(GUARD):
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [ClientStateError] * 3
        assert len(server.requests) == 1


async def test_closing_the_client_wakes_those_who_wait_for_the_end_of_a_pause() -> None:
    pause = {"Retry-After": "3600"}
    policy = RetryPolicy(elapsed=1e6)
    async with served(reply(429, "slow down", headers=pause), retry=policy) as (server, client):
        with pytest.raises(RateLimitedError):
            await client.device.get("D1", retries=0)
        call = asyncio.create_task(client.device.get("D2"))
        await turns()
        await client.aclose()
        async with asyncio.timeout(GUARD):
            with pytest.raises(ClientStateError):
                await call
    assert len(server.requests) == 1


async def test_a_call_that_is_cancelled_at_the_limiter_sends_nothing_and_loses_no_turn() -> None:
    crowd = Crowd()
    async with served(handler=crowd, limits=Limits(in_flight=1)) as (server, client):
        first, second, third = (asyncio.create_task(client.device.get(f"D{number}")) for number in range(3))
        await server.received(1)
        second.cancel()
        await asyncio.wait([second])
        crowd.release(1)
        await server.received(2)
        crowd.release(1)
        async with asyncio.timeout(GUARD):
            assert (await first).id == "D0"
            assert (await third).id == "D2"
    assert [request.json["id"] for request in server.requests] == ["D0", "D2"]


async def test_a_call_that_is_cancelled_in_flight_makes_room() -> None:
    crowd = Crowd()
    async with served(handler=crowd, limits=Limits(in_flight=1)) as (server, client):
        first, second = (asyncio.create_task(client.device.get(f"D{number}")) for number in range(2))
        await server.received(1)
        first.cancel()
        await server.received(2)
        crowd.release(2)
        async with asyncio.timeout(GUARD):
            assert (await second).id == "D1"


@pytest.mark.parametrize("limits", [Limits(in_flight=1), Limits(rate=100), Limits(rate=100, in_flight=2)])
def test_a_client_with_limits_serves_two_loops_in_a_row(limits: Limits) -> None:
    with in_thread(*[reply(200, DEVICE, close=True)] * 6) as server:
        client = client_of(server, limits=limits)

        async def three(*, last: bool) -> None:
            async with asyncio.timeout(GUARD):
                await asyncio.gather(*[client.device.get("D1") for _ in range(3)])
            if last:
                await client.aclose()

        asyncio.run(three(last=False))
        asyncio.run(three(last=True))
    assert len(server.requests) == 6


def test_calls_that_ended_with_their_loop_take_no_room_in_the_next() -> None:
    with in_thread(*[reply(200, DEVICE, close=True)] * 4) as server:
        client = client_of(server, limits=Limits(in_flight=1))

        async def abandon() -> None:
            calls = [asyncio.create_task(client.device.get("D1")) for _ in range(3)]
            await asyncio.sleep(0)
            assert not any(call.done() for call in calls)

        async def one() -> None:
            async with client, asyncio.timeout(GUARD):
                await client.device.get("D2")

        asyncio.run(abandon())
        asyncio.run(one())
    assert server.requests[-1].json["id"] == "D2"


def test_limits_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="limits: expected an instance of Limits, got"):
        client_of("http://127.0.0.1:9", limits=200)
