"""Taking turns: each contender in a process of its own, all on one core, one at a time, in short slices.

The machine's speed drifts, and other jobs run on it. So everyone plays once in every round, in an order that is
shuffled under a seed, and what counts is the median of the ratios within the rounds.
"""

import asyncio
import random
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final, Protocol

import attrs

from benchmarks import machine

from .beside import spawn
from .contenders import Call, Contender, SyncCall, Target
from .reference import reference
from .request import DEVICE_ID

__all__ = ["Failure", "Seat", "Slice", "Summary", "compare", "seated", "take_turns"]


_PATIENCE: Final = 1.25
"""How many times as long as it should take all rounds may take."""
_FEWEST: Final = 3
"""Rounds that there are anyway."""


@attrs.frozen
class Slice:
    """One turn: calls, and microseconds by the clock and of CPU time for each; the server's CPU time too."""

    calls: int
    wall: float
    cpu: float
    server: float = 0.0


@attrs.frozen
class Summary:
    """All turns of a contender: how many ms half of its calls and 99 % of them took at most, and its peak of MiB."""

    p50: float
    p99: float
    peak: float


@attrs.frozen
class Failure:
    """What kept a contender from playing."""

    reason: str


_ENDED: Final = Failure("its process has ended")


# The process of a contender -----------------------------------------------------------------------------------------


class _Player(Protocol):
    """What a process plays with: opened for a target, played, closed again; `forget` what was played so far."""

    def open(self, target: Target) -> None: ...
    def play(self, seconds: float) -> Slice: ...
    def forget(self) -> None: ...
    def close(self) -> Summary: ...


class _Base:
    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._took = array("d")
        """Seconds of each call."""

    def _slice(self, before: int, wall: float, cpu: float) -> Slice:
        calls = len(self._took) - before
        return Slice(calls, wall / calls * 1e6, cpu / calls * 1e6)

    def forget(self) -> None:
        self._took = array("d")

    def _summary(self) -> Summary:
        took = sorted(self._took)
        if not took:
            raise RuntimeError("expected calls, got none")
        self.forget()
        peak = machine.memory("VmHWM") / 2**20
        return Summary(took[len(took) // 2] * 1e3, took[int(len(took) * 0.99)] * 1e3, peak)


def _check(found: str) -> None:
    if found != DEVICE_ID:
        raise RuntimeError(f"expected the device {DEVICE_ID}, got {found!r}")


class _Async(_Base):
    """A contender on an event loop."""

    def __init__(self, contender: Contender) -> None:
        super().__init__(contender)
        self._runner = asyncio.Runner(loop_factory=_LOOPS[contender.loop]())

    def open(self, target: Target) -> None:
        self._target = target
        opened = self._contender.open(target)
        assert isinstance(opened, AbstractAsyncContextManager)
        self._opened = opened
        self._call: Call = self._runner.run(_entered(opened))

    def play(self, seconds: float) -> Slice:
        return self._runner.run(self._play(seconds))

    def close(self) -> Summary:
        self._runner.run(_left(self._opened))
        return self._summary()

    async def _play(self, seconds: float) -> Slice:
        call, done, clock = self._call, self._took.append, time.perf_counter
        before, cpu, wall = len(self._took), time.process_time(), clock()
        until = wall + seconds

        async def work() -> None:
            while (began := clock()) < until:
                _check(await call())
                done(clock() - began)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._target.in_flight):
                    group.create_task(work())
        except ExceptionGroup as error:
            raise error.exceptions[0] from None
        return self._slice(before, clock() - wall, time.process_time() - cpu)


async def _entered(opened: AbstractAsyncContextManager[Call]) -> Call:
    return await opened.__aenter__()


async def _left(opened: AbstractAsyncContextManager[Call]) -> None:
    await opened.__aexit__(None, None, None)


class _Threads(_Base):
    """A contender in as many threads as there are calls in flight."""

    def open(self, target: Target) -> None:
        self._target = target
        opened = self._contender.open(target)
        assert isinstance(opened, AbstractContextManager)
        self._opened = opened
        self._call: SyncCall = opened.__enter__()
        self._threads = ThreadPoolExecutor(target.in_flight)

    def play(self, seconds: float) -> Slice:
        call, done, clock = self._call, self._took.append, time.perf_counter
        before, cpu, wall = len(self._took), time.process_time(), clock()
        until = wall + seconds

        def work() -> None:
            while (began := clock()) < until:
                _check(call())
                done(clock() - began)

        for worker in [self._threads.submit(work) for _ in range(self._target.in_flight)]:
            worker.result()
        return self._slice(before, clock() - wall, time.process_time() - cpu)

    def close(self) -> Summary:
        self._threads.shutdown()
        self._opened.__exit__(None, None, None)
        return self._summary()


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return made


def _aiofastnet() -> Callable[[], asyncio.AbstractEventLoop]:
    import aiofastnet

    made: Callable[[], asyncio.AbstractEventLoop] = aiofastnet.loop_factory()
    return made


_LOOPS: Final[Mapping[str, Callable[[], Callable[[], asyncio.AbstractEventLoop]]]] = {
    "asyncio": lambda: asyncio.new_event_loop,
    "uvloop": _uvloop,
    "aiofastnet": _aiofastnet,
}


def _obey(contender: Contender, pipe: Connection) -> None:
    """Do what comes through *pipe*: the name of a method of `_Player` and its arguments."""
    player: _Player | None = None
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            return
        try:
            if player is None:
                player = _Threads(contender) if contender.threads else _Async(contender)
            answer = getattr(player, name)(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever another's client raises is reported, and the others go on
            answer = Failure(f"{type(error).__name__}: {error}")
        pipe.send(answer)


# This side ----------------------------------------------------------------------------------------------------------


@attrs.define
class Seat:
    """A contender with its process, and what it has done since it was opened."""

    contender: Contender
    _pipe: Connection
    slices: dict[int, Slice] = attrs.field(factory=dict)
    summary: Summary | None = None
    failure: Failure | None = None

    def open(self, target: Target) -> None:
        """Make it ready for *target*, with nothing done yet."""
        self.slices, self.summary, self.failure = {}, None, None
        self._do("open", target)

    def play(self, seconds: float, turn: int | None, server: Callable[[], float]) -> None:
        """Let it play; None is a turn to warm up."""
        if self.failure is None:
            before = server()
            slice_ = self._do("play", seconds)
            if not isinstance(slice_, Slice):
                return
            if turn is None:
                self._do("forget")
            else:
                used = (server() - before) / slice_.calls * 1e6
                self.slices[turn] = attrs.evolve(slice_, server=used)

    def close(self) -> None:
        """Let it close its connections."""
        if self.failure is None:
            summary = self._do("close")
            self.summary = summary if isinstance(summary, Summary) else None

    def start(self, name: str, *arguments: Any) -> None:
        """Begin with something; `end` waits for it. So several can play at once."""
        self._pipe.send((name, arguments))

    def end(self) -> Any:
        """The result of what was begun; None if that failed."""
        try:
            answer = self._pipe.recv()
        except EOFError:
            answer = _ENDED
        if isinstance(answer, Failure):
            self.failure = answer
            return None
        return answer

    def _do(self, name: str, *arguments: Any) -> Any:
        try:
            self.start(name, *arguments)
        except OSError:
            self.failure = _ENDED
            return None
        return self.end()


@contextmanager
def seated(contenders: Sequence[Contender], core: int | None) -> Iterator[list[Seat]]:
    """Give each of *contenders* a process on *core*."""
    with ExitStack() as stack:
        yield [Seat(each, stack.enter_context(spawn(partial(_obey, each), core))) for each in contenders]


def take_turns(
    seats: Sequence[Seat], target: Target, *, rounds: int, seconds: float, seed: int, server: Callable[[], float]
) -> list[float]:
    """Let all play against *target*, a slice of *seconds* in every round, after one to warm up.

    There are fewer rounds where the slices take much longer, as those of clients do whose calls do not end in time. The
    result is what the reference loop took, once in every round.
    """
    over = time.monotonic() + rounds * len(seats) * seconds * _PATIENCE
    for seat in seats:
        seat.open(target)
        seat.play(seconds, None, server)
    order, references = list(seats), []
    dice = random.Random(seed)
    for turn in range(rounds):
        if turn >= _FEWEST and time.monotonic() > over:
            break
        dice.shuffle(order)
        references.append(reference())
        for seat in order:
            seat.play(seconds, turn, server)
    for seat in seats:
        seat.close()
    return references


def compare(ours: Mapping[int, Slice], theirs: Mapping[int, Slice], *, cpu: bool = False) -> list[float]:
    """How many times as fast ours was, or as cheap by CPU time, in each round."""
    turns = sorted(ours.keys() & theirs.keys())
    if cpu:
        return [theirs[turn].cpu / ours[turn].cpu for turn in turns]
    return [theirs[turn].wall / ours[turn].wall for turn in turns]
