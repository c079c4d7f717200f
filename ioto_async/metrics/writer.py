"""Samples as they come: held until there are some, sent many at once, each with an outcome.

Samples wait in the buffer until it is due, then requests are made of them as there are workers. A worker begins when
there is something to send that nobody sends, up to as many as may be in flight, and ends when there is nothing. A
request that the service has surely not taken goes back to the front, all wait for a while, and one worker tries first.
"""

import asyncio
import contextlib
import contextvars
import heapq
import logging
import math
import random
import sys
import time
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, Self, Unpack

import attrs

from ..bulk.outcome import Outcome, Status, Summary
from ..errors import (
    CallError,
    CallTimeoutError,
    ClientStateError,
    ConnectionFailedError,
    ConnectionLostError,
    InvalidArgumentError,
    IotoError,
    RateLimitedError,
    ServiceError,
    TokenProviderError,
)
from ..operations import Kind
from ..settings import check_options, is_number
from ..transport.effects import EFFECTS, Effects
from ..transport.retry import Failure, RetryPolicy, failure_of_status
from .buffer import Room
from .options import Options, WriterOptions
from .sample import Checker, Dimension, Sample, UnwrittenError
from .sinks import Way

__all__ = ["Writer"]


logger = logging.getLogger("ioto_async")

_WAITS: Final = RetryPolicy(attempts=sys.maxsize, elapsed=math.inf)
"""How long to wait for the service: it may be away for any time."""
_PASSING: Final = (ConnectionFailedError, RateLimitedError, ServiceError, TokenProviderError)
"""What another time may be another, as long as nothing was done."""
_AWAY: Final = (ConnectionFailedError, ConnectionLostError, CallTimeoutError, TokenProviderError)
"""What says that the service is away, whatever was done until then."""
_TURN: Final = 256
"""Samples after which whoever writes lets others have a turn."""
_KEPT: Final = 100
"""Bad outcomes that are kept for the error at the end."""


@attrs.define(eq=False)
class _Batch:
    """The samples that were in the buffer at one time."""

    requests: Iterator[Sequence[Sample]]
    left: int
    """Samples that have no outcome yet."""
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)


@attrs.define(eq=False)
class _Lane:
    """Requests that must not overtake each other; there is one as long as one of them is on its way."""

    key: Hashable
    waiting: "deque[_Job]" = attrs.field(factory=deque)
    """Those that wait for it, which are nowhere else."""


@attrs.define(order=True)
class _Job:
    """A request on its way."""

    number: int
    """They are sent in this order, as far as they can."""
    batch: _Batch = attrs.field(order=False)
    samples: Sequence[Sample] = attrs.field(order=False)
    # Not the key itself: of each sample it is another object, which takes more memory than the sample.
    lane: _Lane | None = attrs.field(order=False)
    attempts: int = attrs.field(default=0, order=False)
    elapsed: float = attrs.field(default=0.0, order=False)
    is_in_doubt: bool = attrs.field(default=False, order=False)
    """Whether the service may have taken it, though it is to be sent again."""


class Writer:
    """Writes samples of metrics: ``async with client.metric.writer(...) as writer``.

    The block ends without an error only if every sample that it accepted is in the cloud. An exception in the block
    does not keep what was written before from being sent, a cancellation does: then requests on their way are
    cancelled too. Either carries a note that says how many samples are not written.

    A writer belongs to the event loop of its block, and is entered once.

    Args:
        way: how samples get to the cloud.
        options: see `WriterOptions`.

    Attributes:
        summary: the outcomes so far, by number.
    """

    def __init__(self, way: Way, **options: Unpack[WriterOptions]) -> None:
        chosen = self._options = check_options(Options, options)
        self.summary = Summary()
        self._way = way
        self._sink_reports = way.reports
        self._gate = None if way.pool is None else way.pool.gate
        self._concurrency = chosen.concurrency
        if chosen.concurrency == "auto" and way.concurrency is not None:
            self._concurrency = way.concurrency
        self._room = Room(chosen.capacity, chosen.capacity_bytes, chosen.patience)
        self._checker = Checker()
        self._number = 0
        self._buffer: list[Sample] = []
        self._buffered_bytes = 0
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._batches: dict[_Batch, None] = {}
        """Those with samples that have no outcome, oldest first."""
        self._ready: deque[_Batch] = deque()
        """Those of which not all requests are made."""
        self._made = 0
        """Requests that were made."""
        self._again: list[_Job] = []
        """A heap of requests that are made, and nobody sends."""
        self._lanes: dict[Hashable, _Lane] = {}
        """By their keys."""
        self._workers: dict[asyncio.Task[None], Effects] = {}
        self._starting: asyncio.Task[None] | None = None
        self._turns = contextlib.ExitStack()
        """Holds the gate while there are workers."""
        self._failures = 0
        """Requests that the service has not taken, one after another."""
        self._pause: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None
        self._stopped: ClientStateError | None = None
        """Why nothing is accepted any more."""
        self._is_cut = False
        """Whether nothing is begun any more."""
        self._is_closing = False
        self._progress = 0.0
        """When a sample was last written, while it is closed; seconds of the loop's clock."""
        self._bad: list[Outcome[Sample, None]] = []
        self._ended: asyncio.Event | None = None

    @property
    def pending(self) -> int:
        """Samples that have no outcome yet."""
        return self._room.samples

    @property
    def trouble(self) -> Exception | None:
        """Why the service takes no samples now, as it has said last; None if it does."""
        return self._room.cause

    async def __aenter__(self) -> Self:
        if self._loop is not None:
            raise ClientStateError("a writer is entered once")
        self._loop = asyncio.get_running_loop()
        if self._way.pool is not None:
            await self._way.pool.open()
        self._ended = asyncio.Event()
        # Workers have nothing to do with the task that happens to write the first sample.
        self._context = contextvars.copy_context()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.aclose()
            return
        unwritten = await self._finish(self._options.grace if isinstance(error, Exception) else None)
        _note(error, unwritten)

    async def write(
        self,
        metric: str,
        value: float,
        *,
        dimensions: Mapping[str, Dimension] | None = None,
        timestamp: datetime | None = None,
        key: str | None = None,
    ) -> None:
        """Accept a sample; it waits for room, but not for the sample's outcome, of which ``on_outcome`` is told.

        Args:
            metric: name of the metric.
            value: the sample.
            dimensions: dimension map; none by default.
            timestamp: when it was taken, aware; when it arrives by default. Refused where the way cannot carry it.
            key: what the `Outcome` of the sample is to call it; by default its number, 0 for the first that was given.

        Raises:
            InvalidArgumentError: an argument does not fit; the sample was not accepted.
            BufferFullError: there was no room for ``patience`` seconds; the sample was not accepted.
            ClientStateError: the writer or its client is closed; the sample was not accepted.
        """
        if not self._number % _TURN:
            await asyncio.sleep(0)
        if self._stopped is not None or self._loop is not asyncio.get_running_loop():
            raise self._refusal()
        pool = self._way.pool
        if pool is not None and pool.loop is not self._loop:
            await self._reopen()
        if key is not None and (type(key) is not str or not key):
            raise InvalidArgumentError(f"write: key: expected a text that is not empty, got {key!r}")
        sample = self._checker.sample(metric, value, dimensions, timestamp, str(self._number) if key is None else key)
        self._way.check(sample)
        self._number += 1
        if not self._room.take_now(sample.size):
            self._due()
            await self._room.take(sample.size)
            if self._stopped is not None:
                self._room.give(1, sample.size)
                raise self._refusal()
        self._accept(sample)

    async def flush(self) -> None:
        """Send what was accepted until now, and wait until all of it has its outcome, however long that takes.

        Raises:
            ClientStateError: the writer or its client is closed.
        """
        if self._stopped is not None or self._loop is not asyncio.get_running_loop():
            raise self._refusal()
        self._take()
        self._spawn()
        await self._all_ended()

    async def aclose(self, *, grace: float | None = None) -> None:
        """Send what was accepted, and end.

        Args:
            grace: seconds for which nothing may be written before the rest is given up; by default as the options say.

        Raises:
            InvalidArgumentError: *grace* is no number of seconds.
            UnwrittenError: some samples are not written, or may not be.
        """
        if grace is not None and not (is_number(grace) and 0 <= grace < math.inf):
            raise InvalidArgumentError(f"grace: expected seconds from 0, or None, got {grace!r}")
        error = await self._finish(self._options.grace if grace is None else grace)
        if error is not None:
            raise error

    # The buffer ----------------------------------------------------------------------------------------------------

    def _refusal(self) -> ClientStateError:
        if self._stopped is not None:
            return ClientStateError(f"the writer takes no samples any more: {self._stopped}")
        return ClientStateError(
            "a writer is used inside its block: async with"
            if self._loop is None
            else "the writer belongs to another event loop"
        )

    async def _reopen(self) -> None:
        """Find out why the client is not open any more."""
        assert self._way.pool is not None
        try:
            await self._way.pool.open()
        except ClientStateError as error:
            self._stop(error)
            raise self._refusal() from error

    def _accept(self, sample: Sample) -> None:
        options, buffer = self._options, self._buffer
        buffer.append(sample)
        self._buffered_bytes += sample.size
        if len(buffer) >= options.count or self._buffered_bytes >= options.bytes:
            self._due()
        elif len(buffer) == 1:
            self._timer = asyncio.get_running_loop().call_later(options.seconds, self._due)

    def _due(self) -> None:
        """Send what is in the buffer as soon as somebody can."""
        self._is_due = bool(self._buffer)
        self._spawn()

    def _take(self) -> None:
        """Begin a new buffer."""
        self._is_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._buffer:
            batch = _Batch(self._way.requests(self._buffer), len(self._buffer))
            self._batches[batch] = None
            self._ready.append(batch)
            self._buffer, self._buffered_bytes = [], 0

    # The workers ---------------------------------------------------------------------------------------------------

    @property
    def _limit(self) -> int:
        if self._failures:
            return 1  # which finds out whether the service is back
        return int(self._gate.limit if self._gate is not None and self._concurrency == "auto" else self._concurrency)

    def _has_work(self) -> bool:
        return bool(self._again or self._ready or (self._is_due and self._buffer))

    def _spawn(self) -> None:
        """Start a worker, if there is something to do for a further one."""
        if self._starting is not None or self._pause is not None or self._is_cut or not self._has_work():
            return
        if not self._workers and self._gate is not None:
            self._turns.enter_context(self._gate.running(adapting=self._concurrency == "auto"))
        if len(self._workers) >= self._limit:
            return
        assert self._context is not None
        # One at a time: it may turn out that one is enough.
        worker = self._starting = asyncio.create_task(self._work(), context=self._context.copy())
        self._workers[worker] = Effects(worker)
        worker.add_done_callback(self._gone)

    def _gone(self, worker: asyncio.Task[None]) -> None:
        del self._workers[worker]
        if not self._workers:
            self._turns.close()
        if worker.cancelled():
            self._stop(ClientStateError("its tasks were cancelled"))
        elif (error := worker.exception()) is not None:
            self._stop(ClientStateError(f"it broke: {error!r}"))
        self._spawn()

    async def _work(self) -> None:
        self._starting = None
        worker = asyncio.current_task()
        assert worker is not None
        effects = self._workers[worker]
        EFFECTS.set(effects)
        while len(self._workers) <= self._limit and (job := self._next()) is not None:
            self._spawn()
            await self._do(job, effects)

    def _next(self) -> _Job | None:
        """The next request that may be sent now, None if there is none."""
        if self._pause is not None or self._is_cut:
            return None
        if self._again:
            return heapq.heappop(self._again)
        while True:
            while self._ready:
                batch = self._ready[0]
                for samples in batch.requests:
                    if (job := self._job(batch, samples)) is not None:
                        return job
                self._ready.popleft()
            if not (self._is_due and self._buffer):
                return None
            self._take()

    def _job(self, batch: _Batch, samples: Sequence[Sample]) -> _Job | None:
        """Make a request; None if it has to wait for another, and is taken out of the way."""
        self._made += 1
        key = self._way.lane(samples)
        if key is None:
            return _Job(self._made, batch, samples, None)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key)
            return _Job(self._made, batch, samples, lane)
        lane.waiting.append(_Job(self._made, batch, samples, lane))
        return None

    async def _do(self, job: _Job, effects: Effects) -> None:
        """Send a request, and bring its samples to their outcomes, or put it back."""
        effects.reset()
        job.attempts += 1
        began = time.perf_counter()
        status: Status = "unknown"
        error: Exception | None = None
        try:
            await self._way.send(job.samples)
        except asyncio.CancelledError:
            status = "failed" if self._sink_reports and not effects.changed else "unknown"
            error = ClientStateError("cancelled on its way", outcome_unknown=status == "unknown")
            raise
        except IotoError as raised:
            error = raised
            if not (effects.in_doubt or getattr(raised, "outcome_unknown", False)):
                status = "failed"
            if isinstance(raised, ClientStateError):
                self._stop(raised)
        except Exception as raised:  # noqa: BLE001  whatever it is, it is the outcome of these samples
            error = raised
        else:
            status = "ok"
        finally:
            job.attempts += effects.retries
            job.elapsed += time.perf_counter() - began
            if isinstance(error, CallError) and self._will_pass(error, status) and not self._is_cut:
                job.is_in_doubt = job.is_in_doubt or status == "unknown"
                self._put_back(job, error)
            else:
                self._end(job, status, error)

    def _will_pass(self, error: CallError, status: Status) -> bool:
        """Whether a request that has ended so is to be sent again."""
        if status == "failed":
            return isinstance(error, _PASSING)
        if not self._way.repeats:
            return False
        return isinstance(error, _AWAY) or (
            error.status is not None and failure_of_status(error.status, error.retry_after) is Failure.REFUSED
        )

    def _put_back(self, job: _Job, error: CallError) -> None:
        """Have a request sent again, when the service takes some."""
        heapq.heappush(self._again, job)
        self._room.cause = error
        if self._pause is not None:
            return
        self._failures += 1
        wait = _WAITS.wait(
            Failure.REFUSED,
            Kind.ONCE,
            attempts=self._failures,
            elapsed=0.0,
            retry_after=error.retry_after,
            random=random.random,
        )
        assert wait is not None  # it may be tried any number of times
        logger.info("writer: %d samples wait, next try in %.2f s: %s", self.pending, wait, error)
        self._pause = asyncio.get_running_loop().call_later(wait, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._spawn()

    # The ends ------------------------------------------------------------------------------------------------------

    def _end(self, job: _Job, status: Status, error: Exception | None) -> None:
        """Give the samples of a request their outcome."""
        if status != "unknown":
            self._failures, self._room.cause = 0, None  # it answers
        if status == "ok" and self._is_closing:
            self._progress = asyncio.get_running_loop().time()
        if status == "failed" and job.is_in_doubt:
            status = "unknown"
        for sample in job.samples:
            self._tell(Outcome(sample, sample.key, status, None, error, job.attempts, job.elapsed))
        batch = job.batch
        batch.left -= len(job.samples)
        if not batch.left:
            del self._batches[batch]
            batch.ended.set()
        if job.lane is not None:
            if job.lane.waiting:
                heapq.heappush(self._again, job.lane.waiting.popleft())
            else:
                del self._lanes[job.lane.key]
        self._room.give(len(job.samples), sum(sample.size for sample in job.samples))

    def _tell(self, outcome: Outcome[Sample, None]) -> None:
        self.summary.count(outcome)
        if outcome.status != "ok" and (self._is_cut or len(self._bad) < _KEPT):
            self._bad.append(outcome)
        told = self._options.on_outcome
        if told is not None:
            try:
                told(outcome)
            except Exception:  # the samples must not be lost to a broken callback
                logger.exception("on_outcome raised on %s", outcome)

    def _stop(self, error: ClientStateError) -> None:
        """Begin nothing more, and give an outcome to what has not begun."""
        if self._is_cut:
            return
        self._is_cut = True
        self._stopped = self._stopped or error
        self._take()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        unsent = ClientStateError(f"not sent: {error}")
        unsent.__cause__ = self._room.cause
        for job in self._left():
            self._end(job, "failed", unsent)
        self._room.close(self._refusal)

    def _left(self) -> Iterator[_Job]:
        """The requests that nobody sends, oldest first within a lane; they are nowhere else then."""
        waiting = [job for lane in self._lanes.values() for job in lane.waiting]
        for lane in self._lanes.values():
            lane.waiting.clear()
        for job in waiting:
            job.lane = None
        again, self._again = self._again, []
        yield from sorted(again + waiting)
        while self._ready:
            batch = self._ready.popleft()
            yield from (_Job(0, batch, samples, None) for samples in batch.requests)

    async def _finish(self, grace: float | None) -> UnwrittenError | None:
        """Send what there is, leave no task behind, and tell what is not written.

        It goes on until nothing was written for *grace* seconds; None: send nothing more, not even what is due.
        """
        closed = ClientStateError("it was closed")
        self._stopped = self._stopped or closed
        if self._ended is None or self._is_closing:  # it has not begun, or somebody else ends it
            if self._ended is not None:
                await self._ended.wait()
            return None
        self._is_closing = True
        self._room.close(self._refusal)
        cancelled: asyncio.CancelledError | None = None
        try:
            if grace is None:
                closed = ClientStateError("the writer was cancelled")
            else:
                self._take()
                self._spawn()
                await self._all_written(grace)
        except TimeoutError:
            closed = ClientStateError(f"the writer was closed, and for {grace:g} s nothing could be written")
        except asyncio.CancelledError as error:
            cancelled, closed = error, ClientStateError("the writer was cancelled")
        self._stop(closed)
        for worker in self._workers:
            worker.cancel()
        while self._workers:
            try:
                await asyncio.wait(self._workers)
            except asyncio.CancelledError as error:  # they have to end first
                cancelled = error
        self._ended.set()
        unwritten = self._unwritten()
        if cancelled is not None:
            _note(cancelled, unwritten)
            raise cancelled
        return unwritten

    async def _all_written(self, grace: float) -> None:
        """Wait for all outcomes, as long as some sample is written within *grace* seconds.

        Raises:
            TimeoutError: none was.
        """
        loop = asyncio.get_running_loop()
        self._progress = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(self._progress + grace):
                    await self._all_ended()
            except TimeoutError:
                if loop.time() >= self._progress + grace:
                    raise
            else:
                return

    async def _all_ended(self) -> None:
        for batch in list(self._batches):
            await batch.ended.wait()

    def _unwritten(self) -> UnwrittenError | None:
        failed, unknown = self.summary.failed, self.summary.unknown
        if not failed and not unknown:
            return None
        text = f"of {self.summary.done} samples {failed} are not written"
        if unknown:
            text += f", and of {unknown} that is not known"
        if self._bad and (first := self._bad[0].error) is not None:
            text += f"; the first: {first}" + (f" (after {first.__cause__})" if first.__cause__ else "")
        return UnwrittenError(text, failed=failed, unknown=unknown, outcomes=self._bad)


def _note(error: BaseException, unwritten: UnwrittenError | None) -> None:
    if unwritten is not None:
        error.add_note(f"writer: {unwritten}")
