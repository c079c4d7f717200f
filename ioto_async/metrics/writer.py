"""Samples as they come: held until there are some, sent many at once, each with an outcome."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Hashable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, Self, Unpack

import attrs

from ..bulk import Bulk
from ..bulk.outcome import Outcome, Status, Summary
from ..errors import ClientStateError, InvalidArgumentError
from ..settings import check_options, or_none, seconds
from ..transport.effects import EFFECTS, Effects
from ..transport.shared import Shared
from ..transport.tasks import ended
from .buffer import Batch, Buffer
from .delivery import Delivery
from .options import Options, WriterOptions
from .outage import Outage
from .sample import Checker, Dimension, Sample, UnwrittenError
from .sinks import Sink

__all__ = ["Writer"]

logger = logging.getLogger("ioto_async")


_YIELD: Final = 64
"""Samples after which whoever writes lets others run."""
_GRACE: Final = or_none(seconds())
_OTHER_LOOP: Final = "the writer belongs to another event loop"
_KEPT: Final = 100
"""Bad outcomes that are kept for the error at the end."""


@attrs.define(eq=False)
class _Request:
    """Samples that travel together."""

    batch: Batch
    samples: Sequence[Sample]
    effects: Effects | None = None
    """What its delivery does; None before it has begun, and after it has ended."""
    has_ended: bool = False
    has_changed: bool = False
    """Whether it had changed something by then, or may have."""

    @property
    def is_waiting(self) -> bool:
        """Whether nothing of it is on its way, and nothing has come back."""
        if self.effects is None:
            return not self.has_ended
        return self.effects.waiting > 0 and not self.effects.in_flight

    @property
    def is_in_doubt(self) -> bool:
        """Whether the service may have taken it."""
        return self.has_changed if self.effects is None else self.effects.changed


class Writer(Shared):
    """Writes samples of metrics: ``async with client.metric.writer(...) as writer``.

    The block ends without an error only if every sample that it accepted is in the cloud. An exception in the block
    does not keep what was written before from being sent, a cancellation does: then requests on their way are
    cancelled too. Either carries a note that says how many samples are not written.

    A writer belongs to the event loop of its block, and is entered once.

    Args:
        sink: how samples get to the cloud.
        options: see `WriterOptions`.

    Attributes:
        summary: the outcomes so far, by number.
    """

    # A bulk run over the requests that are made of what is in the buffer. What the service does not take stays with
    # its worker, which waits for the end of the outage.

    def __init__(self, sink: Sink, **options: Unpack[WriterOptions]) -> None:
        chosen = self._options = check_options(Options, options)
        self.summary = Summary()
        self._sink = sink
        self._outage = Outage()
        self._delivery = Delivery(sink, self._outage)
        self._buffer = Buffer(
            count=chosen.count,
            bytes=chosen.bytes,
            seconds=chosen.seconds,
            capacity=chosen.capacity,
            capacity_bytes=chosen.capacity_bytes,
            patience=chosen.patience,
            cause=lambda: self._outage.cause,
        )
        concurrency = chosen.concurrency
        if concurrency == "auto" and sink.concurrency is not None:
            concurrency = sink.concurrency
        self._run: Bulk[_Request, None] = Bulk(
            self._send,
            self._requests(),
            None if sink.pool is None else sink.pool.limiter,
            concurrency=concurrency,
            sequence_key=self._sequence_key,
            through_client=True,  # else the delivery notes it
        )
        self._consumer: asyncio.Task[None] | None = None
        self._checker = Checker()
        self._number = 0
        self._batch: tuple[Batch, Iterator[Sequence[Sample]]] | None = None
        """The present batch, and the samples of its requests that are not made yet."""
        self._requested: dict[_Request, None] = {}
        """Requests without an outcome, oldest first."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: ClientStateError | None = None
        """Why no samples are accepted any more."""
        self._cut: ClientStateError | None = None
        """Why nothing is sent any more."""
        self._is_closing = False
        self._progress = 0.0
        """When a sample was last written; seconds of the loop's clock."""
        self._bad: list[Outcome[Sample, None]] = []

    @property
    def pending(self) -> int:
        """Samples that have no outcome yet."""
        return self._buffer.held

    @property
    def trouble(self) -> Exception | None:
        """Why the service takes no samples now, as it has said last; None if it does."""
        return self._outage.cause

    async def __aenter__(self) -> Self:
        if self._loop is not None:
            raise ClientStateError("a writer is entered once")
        self._loop = asyncio.get_running_loop()
        if self._sink.pool is not None:
            await self._sink.pool.open()
        self._consumer = asyncio.create_task(self._consume())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.aclose()
            return
        unwritten = await self._finish(self._options.grace if isinstance(error, Exception) else None)
        _add_note(error, unwritten)

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
            timestamp: when it was taken, aware; when it arrives by default. Refused where the sink cannot carry it.
            key: what the `Outcome` of the sample is to call it; by default its number, 0 for the first that was given.

        Raises:
            InvalidArgumentError: an argument does not fit; the sample was not accepted.
            BufferFullError: there was no room for ``patience`` seconds; the sample was not accepted.
            ClientStateError: the writer or its client is closed; the sample was not accepted.
        """
        if not self._number % _YIELD:
            await asyncio.sleep(0)
        if self._stopped is not None or self._loop is not asyncio.get_running_loop():
            raise self._refusal()
        pool = self._sink.pool
        if pool is not None and pool.loop is not self._loop:
            await self._reopen()
        if key is not None and (type(key) is not str or not key):
            raise InvalidArgumentError(f"write: key: expected a text that is not empty, got {key!r}")
        sample = self._checker.sample(metric, value, dimensions, timestamp, str(self._number) if key is None else key)
        self._sink.check(sample)
        self._number += 1
        if not self._buffer.reserve_now(sample.size):
            await self._buffer.reserve(sample.size)
            if self._stopped is not None:
                self._buffer.release(1, sample.size)
                raise self._refusal()
        self._buffer.append(sample)

    async def flush(self) -> None:
        """Send what was accepted until now, and wait until all of it has its outcome, however long that takes.

        Raises:
            ClientStateError: the writer or its client is closed.
        """
        if self._stopped is not None or self._loop is not asyncio.get_running_loop():
            raise self._refusal()
        await self._buffer.ended()

    async def aclose(self, *, grace: float | None = None) -> None:
        """Send what was accepted, and end.

        Args:
            grace: seconds for which nothing may be written before the rest is given up; by default as the options say.

        Raises:
            InvalidArgumentError: *grace* is no number of seconds.
            UnwrittenError: some samples are not written, or may not be.
            ClientStateError: the writer belongs to another event loop.
        """
        _GRACE.check("grace", grace)
        if self._loop is not None and self._loop is not asyncio.get_running_loop() and not self._loop.is_closed():
            raise ClientStateError(_OTHER_LOOP)
        error = await self._finish(self._options.grace if grace is None else grace)
        if error is not None:
            raise error

    def _refusal(self) -> ClientStateError:
        if self._stopped is not None:
            return ClientStateError(f"the writer takes no samples any more: {self._stopped}")
        return ClientStateError("a writer is used inside its block: async with" if self._loop is None else _OTHER_LOOP)

    async def _reopen(self) -> None:
        """Find out why the client is not open any more."""
        assert self._sink.pool is not None
        try:
            await self._sink.pool.open()
        except ClientStateError as error:
            self._stop(error)
            raise self._refusal() from error

    # The run -------------------------------------------------------------------------------------------------------

    async def _requests(self) -> AsyncGenerator[_Request, None]:
        """The requests that are made of what is due, as the run takes them."""
        while (batch := await self._buffer.next_batch()) is not None:
            self._batch = batch, self._sink.requests(batch.take())
            for request in self._rest():
                yield request
            self._batch = None

    def _rest(self) -> Iterator[_Request]:
        """The requests of the present batch that are not made yet."""
        if self._batch is not None:
            batch, groups = self._batch
            for samples in groups:
                request = _Request(batch, samples)
                self._requested[request] = None
                yield request

    def _sequence_key(self, request: _Request) -> Hashable:
        return self._sink.sequence_key(request.samples)

    async def _send(self, request: _Request) -> None:
        effects = request.effects = EFFECTS.get()
        assert effects is not None  # the run has set it
        try:
            await self._delivery.send(request.samples)
        except ClientStateError as error:
            self._stopped = self._stopped or error
            raise
        finally:
            # The task goes on with another request.
            request.effects, request.has_ended, request.has_changed = None, True, effects.changed

    async def _consume(self) -> None:
        """Take the outcomes of the run."""
        closed = ClientStateError("it has ended")
        try:
            async for outcome in self._run:
                self._end(outcome.item, outcome.status, outcome.error, outcome.attempts, outcome.elapsed)
        except asyncio.CancelledError:
            closed = ClientStateError("its tasks were cancelled")
        except ClientStateError as error:
            closed = error
        except Exception as error:  # noqa: BLE001  whatever it is, the samples have their outcome
            closed = ClientStateError(f"it broke: {error!r}")
        self._stop(closed)
        self._give_up([*self._requested])

    # The ends ------------------------------------------------------------------------------------------------------

    def _end(
        self, request: _Request, status: Status, error: Exception | None, attempts: int = 0, elapsed: float = 0.0
    ) -> None:
        """Give the samples of a request their outcome, unless they have it."""
        if request not in self._requested:
            return
        del self._requested[request]
        if status == "ok" and self._is_closing:
            self._progress = asyncio.get_running_loop().time()
        for sample in request.samples:
            self._tell(Outcome(sample, sample.key, status, None, error, attempts, elapsed))
        size = sum(sample.size for sample in request.samples)
        self._buffer.end(request.batch, len(request.samples), size)

    def _tell(self, outcome: Outcome[Sample, None]) -> None:
        self.summary.count(outcome)
        if outcome.status != "ok" and (self._cut is not None or len(self._bad) < _KEPT):
            self._bad.append(outcome)
        told = self._options.on_outcome
        if told is not None:
            try:
                told(outcome)
            except Exception:  # the samples must not be lost to a broken callback
                logger.exception("on_outcome raised on %s", outcome)

    def _stop(self, error: ClientStateError) -> None:
        """Send nothing more, and give an outcome to what is not being sent."""
        self._stopped = self._stopped or error
        if self._cut is None:
            self._cut = error
            self._buffer.close(self._refusal)
            self._run.stop(str(error), grace=0)
        self._give_up([request for request in self._requested if request.is_waiting])

    def _give_up(self, requests: Sequence[_Request]) -> None:
        """Give an outcome to these *requests*, and to what is in none."""
        self._outage.close()
        unsent = ClientStateError(f"not sent: {self._cut}")
        unsent.__cause__ = self._outage.cause
        for request in requests:
            self._end(request, "unknown" if request.is_in_doubt else "failed", unsent)
        self._end_rest(unsent)
        while (batch := self._buffer.next_batch_now()) is not None:
            self._batch = batch, self._sink.requests(batch.take())
            self._end_rest(unsent)

    def _end_rest(self, unsent: ClientStateError) -> None:
        for request in self._rest():
            self._end(request, "failed", unsent)

    async def _finish(self, grace: float | None) -> UnwrittenError | None:
        """Send what there is, leave no task behind, and tell what is not written.

        It goes on until nothing was written for *grace* seconds; None: send nothing more, not even what is due.
        """
        closed = ClientStateError("it was closed")
        self._stopped = self._stopped or closed
        if self._consumer is None:  # it has not begun
            return None
        if self._is_closing:  # somebody else ends it
            await asyncio.wait((self._consumer,))
            return None
        self._is_closing = True
        self._buffer.close(self._refusal)
        cancelled: asyncio.CancelledError | None = None
        try:
            if grace is None:
                closed = ClientStateError("the writer was cancelled")
            else:
                await self._all_written(grace, self._consumer)
        except TimeoutError:
            closed = ClientStateError(f"the writer was closed, and for {grace:g} s nothing could be written")
        except asyncio.CancelledError as error:
            cancelled, closed = error, ClientStateError("the writer was cancelled")
        self._stop(closed)
        try:
            await ended((self._consumer,))
        except asyncio.CancelledError as error:
            cancelled = error
        unwritten = self._unwritten()
        if cancelled is not None:
            _add_note(cancelled, unwritten)
            raise cancelled
        return unwritten

    async def _all_written(self, grace: float, consumer: asyncio.Task[None]) -> None:
        """Wait until *consumer* has all outcomes, as long as some sample is written within *grace* seconds.

        Raises:
            TimeoutError: none was.
        """
        loop = asyncio.get_running_loop()
        self._progress = loop.time()
        while not consumer.done():
            left = self._progress + grace - loop.time()
            if left < 0:
                raise TimeoutError
            await asyncio.wait((consumer,), timeout=left)

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


def _add_note(error: BaseException, unwritten: UnwrittenError | None) -> None:
    if unwritten is not None:
        error.add_note(f"writer: {unwritten}")
