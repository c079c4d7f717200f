"""What waits to be sent, without a connection: the clock stands still until the test moves it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ioto_async.errors import ClientStateError, ConnectionFailedError, OutcomeUnknownError
from ioto_async.mqtt.outbox import Message, Outbox
from ioto_async.operations import Kind
from ioto_async.transport.effects import EFFECTS, Effects

CLOSED = ClientStateError("the link is closed")


class Clock:
    """The time of the loop.

    Attributes:
        now: seconds.
        timers: all that were set.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = 1000.0
        self.timers: list[asyncio.TimerHandle] = []
        self._call_at = loop.call_at

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, **options: Any) -> asyncio.TimerHandle:
        self.timers.append(timer := self._call_at(when, callback, *args, **options))
        return timer

    async def go(self, seconds: float) -> None:
        """Let *seconds* pass, and what is due then happen."""
        self.now += seconds
        await turns()


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    loop = asyncio.get_running_loop()
    clock = Clock(loop)
    monkeypatch.setattr(loop, "time", lambda: clock.now)
    monkeypatch.setattr(loop, "call_at", clock.call_at)
    return clock


class Line:
    """An outbox and the far end of its connection."""

    def __init__(self, *, window: int = 10, patience: float = 60.0, timeout: float = 30.0) -> None:
        self.sent: list[bytes] = []
        self.stalls = 0
        self.box = Outbox(
            window=window,
            patience=patience,
            timeout=timeout,
            give_up=lambda: ConnectionFailedError("no acknowledgement", operation="mqtt/connect", sent=False),
            stalled=self._stalled,
        )

    def _stalled(self) -> None:
        self.stalls += 1

    def attach(self) -> None:
        """Numbers begin with 1, and go on with each message."""
        self.box.attach(self._take)

    def _take(self, topic: str, payload: bytes) -> int:
        self.sent.append(payload)
        return len(self.sent)

    def send(self, payload: bytes, kind: Kind = Kind.ONCE) -> "asyncio.Task[None]":
        return asyncio.create_task(self.box.send(Message("metric/set", kind, "topic", payload)))


@pytest.fixture
async def line(clock: Clock) -> AsyncIterator[Line]:
    line = Line()
    yield line
    line.box.end(CLOSED)


class Item:
    """A task of a bulk run, and what it does."""

    def __init__(self, line: Line, kind: Kind = Kind.ONCE) -> None:
        self.task = asyncio.create_task(self._run(line, kind))

    async def _run(self, line: Line, kind: Kind) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.effects = Effects(task)
        EFFECTS.set(self.effects)
        await asyncio.gather(line.send(b"1", kind))


async def test_a_call_that_is_cancelled_in_the_turn_of_an_acknowledgement_is_not_sent(clock: Clock) -> None:
    line = Line(window=1)
    line.attach()
    flying, waiting, last = line.send(b"1"), line.send(b"2"), line.send(b"3")
    await turns()
    line.box.acknowledge(1)
    waiting.cancel()
    await turns()
    assert line.sent == [b"1", b"3"]
    assert flying.done()
    line.box.acknowledge(2)
    await last
    line.box.end(CLOSED)


async def test_a_message_that_later_ones_overtake_gives_the_connection_up(clock: Clock, line: Line) -> None:
    line.attach()
    lost = line.send(b"lost")
    await turns()
    for number in range(2, 9):
        await clock.go(5)
        other = line.send(b"other")
        await turns()
        line.box.acknowledge(number)
        await other
        if line.stalls:
            break
    assert line.stalls == 1
    assert clock.now <= 1000 + 35
    line.box.detach()
    line.attach()
    await turns()
    assert line.sent[-1] == b"lost"
    line.box.acknowledge(len(line.sent))
    await lost


async def test_a_message_that_later_ones_overtake_time_and_again_fails_when_patience_ends(
    clock: Clock, line: Line
) -> None:
    line.attach()
    lost = line.send(b"lost")
    await turns()
    for _ in range(20):
        await clock.go(5)
        other = line.send(b"other")
        await turns()
        line.box.acknowledge(len(line.sent))
        await other
        if line.stalls:
            line.box.detach()
            line.stalls = 0
            line.attach()
            await turns()
    assert lost.done()
    with pytest.raises(OutcomeUnknownError, match="no acknowledgement"):
        await lost


async def test_a_message_is_not_late_while_those_before_it_are_acknowledged(clock: Clock, line: Line) -> None:
    line.attach()
    samples = [line.send(b"%d" % number) for number in range(10)]
    await turns()
    for number in range(10):
        await clock.go(25)
        line.box.acknowledge(number + 1)
    await asyncio.gather(*samples)
    assert line.stalls == 0


async def test_a_message_that_is_held_back_is_not_late(clock: Clock) -> None:
    line = Line(patience=1)
    line.attach()
    before = line.send(b"1")
    await turns()
    line.box.acknowledge(1)
    await before
    for _ in range(5):
        line.box.throttle()  # 8 s between messages
    held = line.send(b"2")
    await clock.go(7)
    assert not held.done()
    await clock.go(1)
    line.box.acknowledge(2)
    await held
    line.box.end(CLOSED)


async def test_a_connection_that_comes_later_is_watched_from_then_on(clock: Clock) -> None:
    line = Line(patience=1000, timeout=30)
    sample = line.send(b"1")
    await clock.go(100)
    line.attach()
    await clock.go(29)
    assert line.stalls == 0
    await clock.go(1)
    assert line.stalls == 1
    line.box.end(CLOSED)
    with pytest.raises(ClientStateError):
        await sample


async def test_an_outbox_that_has_ended_leaves_no_timer(clock: Clock) -> None:
    line = Line()
    line.attach()
    line.box.throttle()
    samples = [line.send(b"%d" % number) for number in range(3)]
    await turns()
    line.box.end(CLOSED)
    errors = await asyncio.gather(*samples, return_exceptions=True)
    assert [type(error) for error in errors] == [ClientStateError] * 3
    assert clock.timers
    assert all(timer.cancelled() for timer in clock.timers)


async def test_an_outbox_whose_connection_failed_for_good_says_that_there_is_no_next_time(line: Line) -> None:
    waiting = line.send(b"1")
    await turns()
    line.box.end(ConnectionFailedError("not to be trusted", operation="mqtt/connect", sent=False))
    with pytest.raises(ConnectionFailedError, match="metric/set: not to be trusted"):
        await waiting
    with pytest.raises(ClientStateError, match="the link has ended: mqtt/connect: not to be trusted") as caught:
        await line.send(b"2")
    assert not caught.value.outcome_unknown


async def test_an_item_whose_sample_is_acknowledged_while_the_run_stops_is_done(line: Line) -> None:
    line.attach()
    item = Item(line)
    await turns()
    item.effects.stop_waiting()
    line.box.acknowledge(1)
    await item.task
    assert not item.effects.was_stopped
    assert not item.effects.in_doubt


async def test_an_item_whose_sample_waits_again_while_the_run_stops_is_cancelled(line: Line) -> None:
    line.attach()
    item = Item(line)
    await turns()
    item.effects.stop_waiting()
    line.box.detach()
    await asyncio.wait({item.task})
    assert item.task.cancelled()
    assert item.effects.in_doubt
    line.attach()
    assert line.sent == [b"1"]


@pytest.mark.parametrize("kind", Kind)
async def test_an_item_that_was_cancelled_is_in_doubt_if_it_has_sent_more_than_a_question(
    line: Line, kind: Kind
) -> None:
    line.attach()
    item = Item(line, kind)
    await turns()
    item.task.cancel()
    await asyncio.wait({item.task})
    assert item.effects.in_doubt is (kind is not Kind.READ)
    assert item.effects.changed is (kind is not Kind.READ)


async def test_an_item_that_was_cancelled_while_it_waited_has_done_nothing(line: Line) -> None:
    item = Item(line)
    await turns()
    item.task.cancel()
    await asyncio.wait({item.task})
    assert not item.effects.changed
    assert not item.effects.in_doubt
