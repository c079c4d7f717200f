"""Many calls at once: the engine of bulk runs.

Workers take items, call, and leave outcomes; whoever iterates takes those. At most twice as many items as may be in
flight are between the two, so that either side waits for the other, and memory does not depend on the number of items.
A worker begins when there is something to do that nobody does, and ends when there is nothing: calls that return
at once need one, calls that wait as many as may be in flight.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Hashable,
    Iterable,
    Iterator,
    Sized,
)
from itertools import islice
from types import TracebackType
from typing import Final, TypeVar, Unpack, cast

from ..errors import ClientStateError, InvalidArgumentError, IotoError, one_line
from ..operations import Kind, operation_of
from ..settings import check_options, or_none, seconds
from ..transport.effects import Effects, reports_effects
from ..transport.limiter import Limiter
from ..transport.tasks import in_thread
from .calling import KEYED, NEW, Caller, Entry, Standing
from .journal import EarlierError, Journal, State
from .options import BulkOptions, Options, key_of
from .outcome import Outcome, Progress, Run
from .workers import WorkerPool

__all__ = ["Bulk"]

logger = logging.getLogger("ioto_async")

Item = TypeVar("Item")
Value = TypeVar("Value")

_BAD: Final = ("failed", "unknown")
_GRACE: Final = or_none(seconds())
_TICK: Final = 0.5
"""Seconds between two looks at the progress."""
_LATELY: Final = 0.3
"""Weight of the last tick in the rate that is told."""


class Bulk(Run[Item, Value]):
    """A run of one call for each of many items; ``async for`` over it gives their outcomes.

    A run is iterated over once. Leaving the loop in any way ends the calls that are in flight; inside
    ``async with run:`` they have ended when that block is left, otherwise soon after.

    Args:
        call: what is awaited for each item.
        items: the items, taken as there is room for them.
        limiter: the client's, where its requests wait for their turn; ``auto`` needs one.
        options: see `BulkOptions`.

    Attributes:
        summary: the outcomes so far, by number.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """

    def __init__(
        self,
        call: Callable[[Item], Awaitable[Value]],
        items: Iterable[Item] | AsyncIterable[Item],
        limiter: Limiter | None = None,
        **options: Unpack[BulkOptions[Item]],
    ) -> None:
        super().__init__()
        if not callable(call):
            raise InvalidArgumentError(f"call: expected a callable, got {type(call).__name__}")
        self._source: Iterator[Item] | AsyncIterator[Item] = _iterator(items)
        self._owns_source = self._source is not items
        self._is_async = isinstance(self._source, AsyncIterator)
        chosen = self._options = check_options(Options[Item], options)
        self._concurrency = None if chosen.concurrency == "auto" else chosen.concurrency
        self._limiter = limiter
        self._holding: contextlib.ExitStack | None = None
        """Held while calls are in flight: those of others may then have to wait for them."""
        self._idle_limit = 1
        self._extra = 0
        """Workers beyond the requests that may be in flight, as theirs spend time elsewhere."""
        if chosen.concurrency == "auto" and limiter is None:
            raise InvalidArgumentError("concurrency: auto needs a client; expected a whole number from 1")
        operation = operation_of(call)
        self._caller = Caller(
            call,
            chosen.reconcile,
            chosen.verify,
            chosen.kind or (Kind.ONCE if operation is None else operation.kind),
            chosen.through_client or reports_effects(call),
            chosen.stop_on,
            self._abort,
            self._note_sent,
        )
        self._journal: Journal | None = None
        if chosen.journal is not None:
            name = chosen.name or (None if operation is None else operation.name)
            self._journal = Journal(chosen.journal, name, keeps_values=chosen.keep_values)
        self._total = len(items) if chosen.total is None and isinstance(items, Sized) else chosen.total
        self._is_plain = chosen.journal is None and chosen.sequence_key is None
        """Whether an item can be called for without a look at any other."""
        self._is_own_key = self._is_plain and chosen.key is None
        """Whether a text is all that tells it from others."""
        self._ready: deque[Entry[Item]] = deque()
        self._done: deque[Outcome[Item, Value]] = deque()
        self._early: dict[int, Outcome[Item, Value] | None] = {}
        """Where the order matters: outcomes whose turn has not come, by position; None where there will be none."""
        self._next = 0
        self._queues: dict[Hashable, deque[Entry[Item]] | None] = {}
        """By the keys of the items on their way, those that came later and have to wait for them."""
        self._workers = WorkerPool(self._work, self._worker_ended)
        self._reader: asyncio.Task[None] | None = None
        self._pulled = self._given = self._in_flight = self._failures = 0
        self._is_idle = self._is_read = False
        self._broken: Exception | None = None
        self._wake: asyncio.Future[None] | None = None

    # For whoever iterates ------------------------------------------------------------------------------------------

    def stop(self, reason: str = "asked to", *, grace: float | None = None) -> None:
        """Begin no further item; the iteration ends when the calls in flight have ended.

        Calls of a client that wait for their turn, or before they are sent again, are not in flight: they end at once.
        If nothing was done for an item until then, it has no outcome, and the next run with the journal takes it up.

        Args:
            reason: what `Summary.stopped` says.
            grace: seconds after which calls that are still in flight are cancelled; their outcome is unknown. None for
                any time.

        Raises:
            InvalidArgumentError: *grace* is no number of seconds.
        """
        _GRACE.check("grace", grace)
        self._close_input(reason)
        self._withdraw()
        if grace is not None:
            asyncio.get_running_loop().call_later(grace, self._workers.cancel)

    @property
    def _limit(self) -> int:
        if self._concurrency is not None:
            return self._concurrency
        if self._limiter is None or self._holding is None:
            return self._idle_limit
        return int(self._limiter.limit) + self._extra

    # The iteration ------------------------------------------------------------------------------------------------

    async def _outcomes(self) -> AsyncGenerator[Outcome[Item, Value], None]:
        self._ended = asyncio.Event()
        journal, done, summary = self._journal, self._done, self.summary
        try:
            async with contextlib.AsyncExitStack() as stack:
                if journal is not None:
                    stack.push_async_exit(self._close_journal)
                    await in_thread(journal.open)
                self._enter_limiter()
                stack.callback(self._leave_limiter)
                stack.push_async_callback(self._end)
                stack.enter_context(self._observed())
                self._workers.start()
                while True:
                    if journal is not None and done:
                        journal.flush()  # nobody is told what is not noted
                    for _ in range(len(done)):
                        outcome = done.popleft()
                        self._given += 1
                        if outcome.status == "ok":  # as `Summary.count` does it
                            summary.ok += 1
                            summary.attempts += outcome.attempts
                        else:
                            summary.count(outcome)
                        if self._is_idle and self._may_begin():
                            self._is_idle = False
                            self._workers.start()
                        yield outcome
                    if done:
                        continue
                    if self._may_begin():
                        self._workers.start()
                    elif not self._workers:
                        break
                    self._wake = asyncio.get_running_loop().create_future()
                    await self._wake
                if self._broken is not None:
                    raise self._broken
        finally:
            self._ended.set()

    async def _close_journal(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._journal is not None
        try:
            await self._journal.close()
        except OSError as failure:
            if kind is not GeneratorExit:
                raise
            # The loop was left, and nobody waits for what the iteration raises then.
            logger.warning("the journal could not be written: %s", failure)
            self._close_error = failure

    async def _end(self) -> None:
        """Leave no task behind."""
        self._caller.is_ending = self._is_read = True
        self._drop_ready()
        try:
            await self._workers.aclose()
        finally:
            if self._owns_source and isinstance(self._source, AsyncGenerator):
                await self._source.aclose()

    @contextlib.contextmanager
    def _observed(self) -> Iterator[None]:
        """Look at the progress now and then while the body runs, and at the end."""
        if self._options.observer is None and self._journal is None:
            yield
            return
        loop = asyncio.get_running_loop()
        began = last = loop.time()
        done, rate = 0, 0.0
        timer: asyncio.TimerHandle | None = None

        def look() -> None:
            nonlocal last, done, rate
            now = loop.time()
            if now > last:
                lately = (self.summary.done - done) / (now - last)
                weight = _LATELY * min((now - last) / _TICK, 1.0)
                rate = lately if not rate else rate + weight * (lately - rate)
                last, done = now, self.summary.done
            observer = self._options.observer
            if observer is not None:
                paused = 0.0 if self._limiter is None else self._limiter.pauses.left
                progress = Progress(self.summary, self._total, now - began, rate, self._in_flight, self._limit, paused)
                try:
                    observer(progress)
                except Exception:  # a run must not be lost to a broken observer
                    logger.exception("the observer raised on %s", progress)

        def tick() -> None:
            nonlocal timer
            look()
            self._flush(to_disk=True)
            timer = loop.call_later(_TICK, tick)

        timer = loop.call_later(_TICK, tick)
        try:
            yield
        finally:
            timer.cancel()
            look()

    # The workers --------------------------------------------------------------------------------------------------

    def _may_read(self) -> bool:
        return not self._is_read and self._pulled - self._given < 2 * self._limit

    def _may_begin(self) -> bool:
        """Whether there is something to do for a further worker."""
        return (
            self._workers.starting is None
            and len(self._workers.tasks) < self._limit
            and (bool(self._ready) or (self._reader is None and self._may_read()))
        )

    def _worker_ended(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self._break(error)
        if self._may_begin():  # it has ended for a limit that has risen meanwhile
            self._workers.start()
        if not self._workers:
            self._wake_up()

    def _wake_up(self) -> None:
        """Wake whoever iterates."""
        if self._wake is not None:
            if not self._wake.done():
                self._wake.set_result(None)
            self._wake = None

    def _break(self, error: BaseException) -> None:
        """Let the calls in flight end, and then raise."""
        if self._broken is None:
            self._broken = error if isinstance(error, Exception) else RuntimeError(repr(error))
        self._close_input(one_line(str(error)) or type(error).__name__)

    def _close_input(self, reason: str) -> None:
        """Take no further item."""
        if self.summary.stopped is None:
            self.summary.stopped = reason
        self._is_read = True
        if self._reader is not None:
            self._reader.cancel()

    def _abort(self, error: Exception) -> None:
        """End the run for an *error* that concerns all items."""
        self._break(error)
        self._withdraw()

    def _withdraw(self) -> None:
        """Take back what has not been sent, and do not wait for what cannot be sent now."""
        self._caller.is_stopping = True
        self._drop_ready()
        for effects in self._workers.tasks.values():
            effects.stop_waiting()

    def _enter_limiter(self) -> None:
        if self._holding is None:
            self._holding = contextlib.ExitStack()
            if self._limiter is not None:
                self._holding.enter_context(self._limiter.running(adapting=self._concurrency is None))

    def _leave_limiter(self) -> None:
        """Let the calls of others pass as if there were no run, as it waits for items itself."""
        if self._holding is not None:
            self._idle_limit = self._limit
            self._holding.close()
            self._holding = None

    def _follow(self, limiter: Limiter) -> None:
        """Have more workers than requests may be in flight while they keep fewer of them there."""
        if limiter.is_crowded:
            self._extra = max(self._extra - 1, 0)
        elif len(self._workers) >= self._limit:
            self._extra = min(self._extra + 1, limiter.ceiling)

    async def _work(self, effects: Effects) -> None:
        worker = asyncio.current_task()
        assert worker is not None
        workers, ready, done, caller = self._workers, self._ready, self._done, self._caller
        followed = self._limiter if self._concurrency is None else None
        is_simple = self._journal is None and not self._options.ordered
        while len(workers.tasks) <= (self._concurrency or self._limit) and not worker.cancelling():
            if not ready:
                if self._reader is not None or not self._may_read():
                    self._is_idle = True
                    return
                await self._read_one() if self._is_async else self._read_some()
                continue
            entry = ready.popleft()
            effects.reset()
            if self._holding is None:
                self._enter_limiter()
            if workers.starting is None and self._may_begin():
                workers.start()
            self._in_flight += 1
            try:
                call = caller.verified_outcome_of if entry[3].is_done else caller.outcome_of
                outcome = await call(entry, effects)
                if is_simple and outcome is not None and outcome.status == "ok":  # as `_end_of` does it
                    done.append(outcome)
                    if self._wake is not None:
                        self._wake_up()
                else:
                    self._end_of(entry, outcome)
            except asyncio.CancelledError:
                self._cancelled(entry, effects)
                raise
            finally:
                self._in_flight -= 1
                if entry[3] is not NEW:
                    self._release(entry)
                if not self._in_flight and self._reader is not None:
                    self._leave_limiter()
            if followed is not None:
                self._follow(followed)

    # Reading ------------------------------------------------------------------------------------------------------

    async def _read_one(self) -> None:
        source = cast("AsyncIterator[Item]", self._source)
        self._reader = asyncio.current_task()
        if not self._in_flight:
            self._leave_limiter()
        try:
            item = await anext(source)
            if not self._is_read:
                self._enter(item)
        except StopAsyncIteration:
            self._is_read = True
        except asyncio.CancelledError:
            if self._caller.is_ending:
                raise
            if not self._is_read:  # else that is why
                raise ClientStateError("the items were cancelled by themselves") from None
        except BaseException:
            self._is_read = True
            raise
        finally:
            self._reader = None
            self._flush()

    def _read_some(self) -> None:
        """Take as many items as can be begun now, so that the journal is written once for all of them."""
        source = cast("Iterator[Item]", self._source)
        limit = self._limit
        room = max(min(limit - self._in_flight, 2 * limit - self._pulled + self._given), 1)
        taken = 0
        try:
            for item in islice(source, room):
                if self._is_read:  # the items themselves have stopped the run
                    return
                if self._is_own_key and isinstance(item, str):  # as `_enter` does it
                    self._ready.append((self._pulled, item, item, NEW))
                    self._pulled += 1
                else:
                    self._enter(item)
                taken += 1
        except BaseException:
            self._is_read = True
            raise
        finally:
            self._flush()
        if taken < room:
            self._is_read = True

    def _flush(self, *, to_disk: bool = False) -> None:
        if self._journal is not None:
            try:
                self._journal.flush()
                if to_disk:
                    self._journal.sync()
            except OSError as error:
                self._abort(error)  # nothing is sent that is not noted

    def _enter(self, item: Item) -> None:
        """Find out what is to be done for an *item*."""
        position = self._pulled
        key = key_of(self._options.key, item, position, has_journal=self._journal is not None)
        self._pulled += 1
        if self._is_plain:
            self._ready.append((position, key, item, NEW))
            return
        journal = self._journal
        if (
            journal is not None
            and self._options.sequence_key is None
            and key not in self._queues
            and journal.state(key) is None
            and not self._caller.is_stopping
            and not self._caller.is_ending
        ):  # most items of a run; as `_advance` does it
            self._queues[key] = None
            journal.sent(key)
            self._ready.append((position, key, item, KEYED))
            return
        # The keys of the item that only one item may hold at a time.
        queues: tuple[Hashable, ...] = () if journal is None else (key,)
        if self._options.sequence_key is not None:
            value = self._options.sequence_key(item)
            if value is not None and not isinstance(value, Hashable):
                raise InvalidArgumentError(
                    f"sequence_key: expected a hashable value for item {position}, got {value!r}"
                )
            if value is not None:  # a tuple is never equal to the key of a journal, which is text
                queues = (*queues, (value,))
        entry = position, key, item, Standing(queues)
        if not self._advance(entry):
            self._release(entry)

    def _advance(self, entry: Entry[Item]) -> bool:
        """Bring an item to the next queue in which it has to wait, or make it ready; false if it has left."""
        position, key, _, standing = entry
        queues = standing.queues
        while standing.held < len(queues):
            queue = queues[standing.held]
            if queue in self._queues:
                waiting = self._queues[queue]
                if waiting is None:
                    waiting = self._queues[queue] = deque()
                waiting.append(entry)
                return True
            self._queues[queue] = None
            standing.held += 1
        outcome = None
        journal = self._journal
        if journal is not None and (state := journal.state(key)) is not None:
            outcome = self._earlier(entry, state, journal)
        if outcome is not None or self._caller.is_stopping or self._caller.is_ending:
            self._leave(position, outcome)
            return False
        if journal is not None and not standing.is_done:
            journal.sent(key)
        self._ready.append(entry)
        return True

    def _release(self, entry: Entry[Item]) -> None:
        """Let the items have their turn that wait for an *entry* that has left, in their order."""
        if entry[3] is KEYED and self._queues[entry[1]] is None:
            del self._queues[entry[1]]
            return
        left = [entry]
        followed = False
        while left:
            _, key, _, standing = left.pop()
            for queue in (key,) if standing is KEYED else standing.queues[: standing.held]:
                waiting = self._queues.pop(queue)
                if waiting:
                    followed = True
                    following = waiting.popleft()
                    self._queues[queue] = waiting
                    following[3].held += 1
                    if not self._advance(following):
                        left.append(following)
        if followed:
            self._flush()

    def _earlier(self, entry: Entry[Item], state: State, journal: Journal) -> Outcome[Item, Value] | None:
        """What the journal knows of an item; None if it is to be called."""
        _, key, item, standing = entry
        match state:
            case "ok" if self._options.verify is None:
                return Outcome(item, key, "skipped", journal.value(key), done_at=journal.done_at(key))
            case "ok":
                standing.is_done, standing.done_at = True, journal.done_at(key)
            case "failed" if not self._options.retry_failed:
                return Outcome(item, key, "failed", error=journal.error(key))
            case "sent" | "unknown":
                standing.was_sent = True
                if self._options.reconcile is not None:
                    standing.error = journal.error(key)
                elif self._caller.kind is Kind.ONCE:
                    return Outcome(item, key, "unknown", error=journal.error(key))
        return None

    # The ends -----------------------------------------------------------------------------------------------------

    def _end_of(self, entry: Entry[Item], outcome: Outcome[Item, Value] | None) -> None:
        """Note what became of an item, and hand that over."""
        if outcome is None or entry[3].is_done:
            self._undo(entry)
            if outcome is not None and outcome.status == "skipped" and self._journal is not None:
                outcome.value = self._journal.value(outcome.key)
        elif self._journal is not None:
            text = None if outcome.error is None else _text_of(outcome.error)
            self._journal.ended(
                outcome.key, outcome.status, outcome.attempts, outcome.elapsed, text, value=outcome.value
            )
            if self._options.ordered:  # it may be long until the outcome is given, which would flush it
                self._flush()
        if outcome is not None and outcome.status in _BAD:
            self._failures += 1
            if self._failures == self._options.stop_after:
                self.stop(f"after {self._failures} failures")
        if outcome is None or self._options.ordered:
            self._leave(entry[0], outcome)
        else:
            self._done.append(outcome)
            if self._wake is not None:
                self._wake_up()

    def _cancelled(self, entry: Entry[Item], effects: Effects) -> None:
        """Note that an item was not sent after all, as far as that is known."""
        if self._caller.did_nothing(effects):
            self._undo(entry)

    def _note_sent(self, entry: Entry[Item]) -> None:
        """Note that an item is about to be sent that was thought to be done."""
        if self._journal is not None:
            self._journal.sent(entry[1])
            self._flush()

    def _undo(self, entry: Entry[Item]) -> None:
        """Note that an item was not sent after all, if it was not sent before either."""
        _, key, _, standing = entry
        if self._journal is not None and not standing.was_sent and not standing.is_done:
            try:
                self._journal.undone(key)
            except OSError as error:  # somebody has cut the file; the outcomes are still to be given
                self._break(error)

    def _drop_ready(self) -> None:
        """Begin nothing of what was taken and has not begun."""
        while self._ready:
            entry = self._ready.popleft()
            self._undo(entry)
            self._leave(entry[0], None)
            self._release(entry)

    def _leave(self, position: int, outcome: Outcome[Item, Value] | None) -> None:
        """Hand an outcome over, if there is one, when it is its turn."""
        if self._options.ordered:
            if position != self._next:
                self._early[position] = outcome
                return
            self._next += 1
        if outcome is not None:
            self._done.append(outcome)
        while self._next in self._early:
            due = self._early.pop(self._next)
            self._next += 1
            if due is not None:
                self._done.append(due)
        if self._done:
            self._wake_up()


def _text_of(error: Exception) -> str:
    """What a journal says of an *error*: what others raise may hold anything; our own texts hold no secrets."""
    if isinstance(error, EarlierError):
        return str(error.args[0])
    return one_line(str(error)) if isinstance(error, IotoError) else type(error).__name__


def _iterator(items: Iterable[Item] | AsyncIterable[Item]) -> Iterator[Item] | AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        return aiter(items)
    if isinstance(items, Iterable) and not isinstance(items, (str, bytes)):
        return iter(items)
    raise InvalidArgumentError(f"items: expected an iterable or async iterable of items, got {type(items).__name__}")
