"""Bulk runs over the workers of a Dask cluster: the side of whoever asks.

The items are cut into shards, and each shard is a task of Dask. The engine runs twice: on a worker over the items of a
shard, and here over the shards.
"""

import asyncio
import contextlib
import inspect
import itertools
import logging
import uuid
from collections import Counter, deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sized,
)
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, Final, Generic, TypeVar, Unpack

import attrs
from distributed import Client, Future, KilledWorker
from distributed.protocol.pickle import dumps, loads

from ..bulk import Bulk, Outcome, Progress, RunOptions, Status
from ..bulk.options import BaseOptions, key_of
from ..bulk.outcome import Run
from ..client import BuilderClient, IotoClient
from ..errors import InvalidArgumentError, IotoError, one_line
from ..operations import Kind
from ..settings import check_options, function, or_none, whole_number
from ..transport.limits import Limits
from ..transport.tasks import in_thread
from .remote import ASK, WORK
from .session import Job, LostWorkerError, Mark, Order, Results, end_session, stop_shards
from .shards import Directory, Shard, Sharder
from .workers import Workers

__all__ = ["DistributedBulk", "LostSchedulerError", "LostWorkerError", "bulk"]

logger = logging.getLogger("ioto_async")

Cloud = TypeVar("Cloud", IotoClient, BuilderClient)
Item = TypeVar("Item")
Value = TypeVar("Value")

_AHEAD: Final = 2
"""Shards for each worker: the one that it works at, and the next."""
_PARTS: Final = 4
"""Parts of the keys for each worker that there is when the journals are made; more workers than parts are no use."""
_LEAST_PARTS: Final = 16
_SHARE: Final = 5.0
"""Seconds that a shard takes at least to be sent at a limited rate: a worker's share of it changes between shards."""
_LOOK: Final = 1.0
"""Seconds between two looks at the workers and their shards."""
_MARGIN: Final = 5.0
"""Seconds that workers have to answer, and after the grace to tell what became of their shards."""
_SILENCE: Final = 10.0
"""Seconds after which a scheduler that does not answer is told."""
_RECONNECTION: Final = 0.1
"""Seconds between two attempts, or two looks whether the scheduler is there again."""
_LATELY: Final = 5.0
"""Seconds over which the rate is measured that observers are told."""


def bulk(
    cluster_client: Client,
    call: Callable[[Cloud, Item], Awaitable[Value]],
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    rate: float | None = None,
    shard: int = 1000,
    reconcile: Callable[[Cloud, Item], Awaitable[bool | None]] | None = None,
    connect: Callable[[Limits], Cloud] | None = None,
    **options: Unpack[RunOptions[Item]],
) -> "DistributedBulk[Item, Value]":
    """Make one call for each of many items on the workers of a Dask cluster: ``async for`` gives the outcomes.

    ::

        async def claim(client: IotoClient, id: str) -> Device:
            return await client.device.claim(id)

        async with distributed.Client(address, asynchronous=True) as cluster_client:
            run = ioto_async.distributed.bulk(cluster_client, claim, ids, journal="/shared/claim", rate=200)
            async for outcome in run:
                print(outcome.key, outcome.status, outcome.error)
            run.raise_for_failures()

    Each worker has one client of its own while the run lasts, made there from the environment that the worker has. One
    that lacks the package, the credentials or the folder of journals takes no part, and the others do its share; the
    logger ``ioto_async`` warns of that, and of workers that are lost. Nothing is registered with the cluster.

    A shard whose worker is lost is taken up by another one. What the lost one had done, as the journal tells, is
    ``skipped``, and its values are lost; what it had sent and was not answered is ``unknown``, unless ``kind`` or
    ``reconcile`` lets it be sent again. Without a journal, all items of the shard are, and the shard is run again for
    any other ``kind`` than `Kind.ONCE` alone.

    Args:
        cluster_client: made with ``asynchronous=True``.
        call: awaited with a client and an item, on a worker; an async function of a module, or a `functools.partial` of
            one. What it returns must be fit to be pickled.
        items: taken as there is room for them, and fit to be pickled. About ``shard`` items for each journal are
            held (without journals, two shards for each worker).
        rate: requests per second of all workers together; unlimited by default. Each worker has an even share, which
            follows their number from shard to shard.
        shard: how many items a worker gets at a time, at most. With a rate, fewer if they would take its share
            more than five seconds.
        reconcile: as for ``client.bulk``, with a client as well; an async function of a module.
        connect: makes the client on a worker, instead of `IotoClient.from_env`; a function of a module. Where it finds
            the credentials is its business: what it holds is sent to the workers.
        options: see `RunOptions`. Four differ here: ``concurrency`` is that of each worker; ``journal`` is a directory
            that this process and all workers see, with a journal for each part of the keys; ``key`` is called in this
            process; ``kind`` and ``through_client`` are known for no call. An observer is told what the workers have
            done, which is ahead of `DistributedBulk.summary`; what it sees in flight is the rest of the
            shards that they have begun.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """
    chosen = check_options(BaseOptions[Item], options)
    if not isinstance(cluster_client, Client) or not cluster_client.asynchronous:
        raise InvalidArgumentError("cluster_client: expected a distributed.Client made with asynchronous=True")
    if not isinstance(items, (Iterable, AsyncIterable)) or isinstance(items, (str, bytes)):
        raise InvalidArgumentError(f"items: expected an iterable or async iterable, got {type(items).__name__}")
    whole_number(1).check("shard", shard)
    Limits(rate=rate)
    _check_function("call", call)
    if reconcile is not None:
        _check_function("reconcile", reconcile)
    or_none(function()).check("connect", connect)
    job = Job(
        call,
        reconcile,
        connect or _from_env,
        chosen.concurrency,
        chosen.kind or Kind.ONCE,
        chosen.through_client,
        chosen.retry_failed,
        chosen.name,
        chosen.stop_on,
    )
    return DistributedBulk(cluster_client, job, items, chosen, rate, shard)


def _from_env(limits: Limits) -> IotoClient:
    return IotoClient.from_env(limits=limits)


def _check_function(name: str, value: object) -> None:
    """Refuse what cannot be sent to a worker, or takes along what should not be: a client, with its token."""
    function = value
    while isinstance(function, partial):
        function = function.func
    if not inspect.isfunction(function) or "<" in function.__qualname__:
        raise InvalidArgumentError(
            f"{name}: expected a function of a module, with a client and an item for arguments, got {value!r}"
        )
    if not inspect.iscoroutinefunction(function):
        raise InvalidArgumentError(f"{name}: expected an async function, got {value!r}")


class LostSchedulerError(IotoError):
    """The scheduler of the cluster was lost. What is in a journal is known to the next run."""


@attrs.define(eq=False)
class _Sent(Generic[Item]):
    """A shard on its way: the task of Dask."""

    shard: Shard[Item]
    future: "Future[Any]"
    workers: frozenset[str] | None
    """Those that may do it; None for any."""
    mark: Mark | None = None
    """The worker that is furthest with it; None if none has told that it has begun."""
    is_begun: bool = False
    """Whether a worker may have sent items of it, where that is known."""
    is_taken_back: bool = False
    """Whether no worker shall do it, or none of those that might."""


class DistributedBulk(Run[Item, Value]):
    """A run over the workers of a Dask cluster; made by `bulk`. ``async for`` over it gives the outcomes.

    A run is iterated over once. Leaving the loop in any way ends the calls that are in flight on the workers; inside
    ``async with run:`` they have ended when that block is left, otherwise soon after. They end as well, within seconds,
    if this process is killed. Nothing of a run stays in the cluster.

    Attributes:
        summary: the outcomes so far, by number.

    Raises:
        LostSchedulerError: the scheduler was lost, and did not come back before the ``cluster_client`` gave up.
        InvalidArgumentError: no worker has what the run needs.
    """

    def __init__(
        self,
        cluster_client: Client,
        job: Job,
        items: Iterable[Item] | AsyncIterable[Item],
        options: BaseOptions[Item],
        rate: float | None,
        shard: int,
    ) -> None:
        super().__init__()
        self._cluster = cluster_client
        self._kind = job.kind
        self._job = bytes(dumps(job))
        self._items = items
        self._options = options
        self._total = len(items) if options.total is None and isinstance(items, Sized) else options.total
        self._rate = rate
        self._shard = shard
        self._name = f"ioto-async-{uuid.uuid4().hex}"
        self._workers = Workers(self._sequel)
        self._is_disconnected = self._is_withdrawing = False
        self._directory: Directory | None = None
        self._shards: Bulk[Shard[Item], Results] | None = None
        self._sent: dict[int, _Sent[Item]] = {}
        """The shards on their way, by number."""
        self._arrived: Counter[Status] = Counter()
        """The outcomes that have come back, and may not have been given yet."""
        self._meter = _Meter()
        self._telling: set[asyncio.Task[None]] = set()

    def stop(self, reason: str = "asked to", *, grace: float | None = None) -> None:
        """Begin no further item; the iteration ends when the calls in flight on the workers have ended.

        Args:
            reason: what `Summary.stopped` says.
            grace: seconds after which calls that are still in flight are cancelled; their outcome is unknown. None for
                any time.
        """
        if self.summary.stopped is None:
            self.summary.stopped = reason
        if self._shards is not None:
            self._shards.stop(grace=None if grace is None else grace + _MARGIN)
            task = asyncio.create_task(self._withdraw(grace))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _withdraw(self, grace: float | None) -> None:
        """Tell the workers to stop, and take back the shards that none of them has begun."""
        if self._cluster.status != "running":
            return
        with contextlib.suppress(OSError):  # the scheduler is just being lost
            await self._ask(stop_shards, grace)
            self._is_withdrawing = True
            for sent in [*self._sent.values()]:
                await self._look(sent)

    # The iteration ------------------------------------------------------------------------------------------------

    async def _outcomes(self) -> AsyncGenerator[Outcome[Item, Value], None]:
        self._ended = asyncio.Event()
        error: Exception | None = None
        try:
            async with contextlib.AsyncExitStack() as stack:
                sharder = await self._begin(stack)
                shards = await stack.enter_async_context(contextlib.aclosing(sharder.shards()))
                # How many are about is up to the sharder, as the number of workers may change.
                observer = None if self._options.observer is None else partial(self._observe, self._options.observer)
                run = self._shards = Bulk(self._send, shards, concurrency=1 << 20, observer=observer)
                stack.enter_context(_running(self._watch(sharder)))
                await stack.enter_async_context(run)
                if self.summary.stopped is not None:
                    run.stop()
                async for done in run:
                    outcomes, ended = self._open(done)
                    for outcome in outcomes:
                        self.summary.count(outcome)
                        yield outcome
                    sharder.settle(done.item)
                    if ended is not None and error is None:
                        error = ended
                        self.stop("after an error")
            if error is not None:
                raise error
        finally:
            self._ended.set()

    async def _begin(self, stack: contextlib.AsyncExitStack) -> Sharder[Item]:
        path = self._options.journal
        if not await self._is_connected():
            raise LostSchedulerError("cluster_client: not connected to a scheduler")
        self._workers.update(await self._cluster.nthreads(), self._in_hand)
        if path is not None:
            parts = max(_PARTS * len(self._workers.present), _LEAST_PARTS)
            self._directory = await in_thread(Directory.open, path.absolute(), parts)
            stack.callback(self._directory.close)
        stack.push_async_callback(self._end)
        return Sharder(
            self._items,
            lambda item, position: key_of(self._options.key, item, position, has_journal=path is not None),
            None if self._directory is None else self._directory.parts,
            self._size,
            self._room,
        )

    async def _end(self) -> None:
        """Leave nothing of the run on the workers; what cannot be told ends by itself, see `Session`."""
        if self._cluster.status == "running":
            await self._ask(end_session)
        for task in self._telling:
            task.cancel()

    async def _ask(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Have each worker call a *function* for this run; one that hangs must not hold up the others."""
        name = function.__name__

        async def ask(worker: str) -> None:
            await self._cluster.run(ASK, name, self._name, *args, workers=[worker], on_error="ignore")

        with contextlib.suppress(OSError):  # a `TimeoutError` is one
            async with asyncio.timeout(_MARGIN):
                # Not those of the last look: the one that matters may just have come.
                await asyncio.gather(*map(ask, await self._cluster.nthreads()), return_exceptions=True)

    # The workers --------------------------------------------------------------------------------------------------

    async def _watch(self, sharder: Sharder[Item]) -> None:
        """Notice workers that come and go, and how far the shards are."""
        is_silent = False
        while True:
            await asyncio.sleep(_LOOK)
            if self._cluster.status != "running":
                continue
            try:
                async with asyncio.timeout(_SILENCE):
                    self._workers.update(await self._cluster.nthreads(), self._in_hand)
                    for sent in [*self._sent.values()]:
                        await self._look(sent)
                is_silent = False
                sharder.look()
            except TimeoutError:
                if not is_silent:
                    is_silent = True
                    logger.warning("the scheduler of the cluster does not answer: waiting for it")
            except OSError:  # the scheduler is just being lost
                continue

    async def _look(self, sent: "_Sent[Item]") -> None:
        """Notice how far a shard is, and take it back if it is with no worker and nobody shall begin it."""
        marks = await self._marks(sent)
        sent.mark = max(marks, key=lambda mark: sum(mark[1].values()), default=None)
        # Dask would keep it for workers that may never come back.
        is_stuck = sent.workers is not None and not sent.workers & self._workers.present
        is_over = self._is_withdrawing and not {worker for worker, _ in marks} & self._workers.present
        if (is_stuck or is_over) and not sent.is_taken_back:
            sent.is_begun, sent.is_taken_back = bool(marks), True
            await sent.future.cancel()

    async def _marks(self, sent: "_Sent[Item]") -> list[Mark]:
        """The workers that have begun a shard."""
        marks: dict[str, Mark] = await self._cluster.get_metadata([sent.future.key], {})
        return [*marks.values()]

    def _in_hand(self, workers: frozenset[str]) -> int:
        """How many items *workers* have begun shards with."""
        return sum(len(sent.shard.items) for sent in self._sent.values() if sent.mark and sent.mark[0] in workers)

    def _sequel(self, items: int) -> str:
        """What follows when a worker is lost that had a number of *items*."""
        if self._directory is not None:
            return f"another one goes on with its {items} items from the journal"
        if self._kind is Kind.ONCE:
            return f"its {items} items are unknown, as there is no journal"
        return f"another one does its {items} items again"

    def _observe(self, observer: Callable[[Progress], None], shards: Progress) -> None:
        """Tell an *observer* what the workers have done, which is ahead of the outcomes that have come from there."""
        ahead = Counter[Status]()
        for sent in self._sent.values():
            if sent.mark is not None:
                ahead.update(sent.mark[1])
        done = self._arrived + ahead
        summary = attrs.evolve(
            self.summary, ok=done["ok"], failed=done["failed"], unknown=done["unknown"], skipped=done["skipped"]
        )
        rate = self._meter.rate(shards.elapsed, summary.done)
        in_flight = sum(len(sent.shard.items) for sent in self._sent.values() if sent.mark) - ahead.total()
        observer(Progress(summary, self._total, shards.elapsed, rate, in_flight, self._room() * self._size()))

    def _room(self) -> int:
        return _AHEAD * max(len(self._workers.fit), 1)

    @property
    def _share(self) -> float | None:
        return None if self._rate is None else self._rate / max(len(self._workers.fit), 1)

    def _size(self) -> int:
        share = self._share
        return self._shard if share is None else max(min(self._shard, int(share * _SHARE)), 1)

    # A shard ------------------------------------------------------------------------------------------------------

    async def _send(self, shard: Shard[Item]) -> Results:
        """Have a *shard* done by a worker."""
        try:
            results = await self._results_of(shard)
        except LostWorkerError as error:
            results = _lost(shard, error)
        except LostSchedulerError as error:
            results = _lost(shard, error, ended=error)
        except Exception as error:  # noqa: BLE001  it ends the run
            results = Results("", ended=error)
        self._arrived.update(outcome.status for outcome in results.outcomes)
        return results

    async def _results_of(self, shard: Shard[Item]) -> Results:
        is_doubtful = is_offered = False
        for attempt in itertools.count():
            if not await self._is_connected():
                if self.summary.stopped is None:
                    error: IotoError = LostSchedulerError("the scheduler of the cluster was lost")
                else:
                    error = LostWorkerError("the scheduler of the cluster was lost")
                if is_offered:  # a worker may have begun it
                    raise error
                return Results("", ended=error if isinstance(error, LostSchedulerError) else None)
            self._workers.check()
            sent = self._submit(shard, attempt, is_doubtful=is_doubtful)
            try:
                results = await self._returned(sent)
            except asyncio.CancelledError:
                await sent.future.cancel()
                raise
            finally:
                is_offered = is_offered or bool(self._workers.present)
                del self._sent[shard.number]
                sent.future.release()
            if results is not None:
                return results
            is_doubtful = is_doubtful or sent.is_begun
        raise AssertionError("unreachable")

    async def _returned(self, sent: "_Sent[Item]") -> Results | None:
        """Wait for the results of a shard: None to send it again."""
        try:
            results = _loaded(await sent.future)
        except Exception as error:  # noqa: BLE001  raised again if it is not known
            return await self._after(sent, error)
        if results.is_begun:
            return results
        if not sent.is_begun:
            try:
                sent.is_begun = bool(await self._marks(sent))  # by another worker, before
            except OSError:  # the scheduler is just being lost
                sent.is_begun = True
        if results.unfit is None:
            return self._unsent(sent)
        self._workers.refuse(results.worker, results.unfit)
        return None

    async def _after(self, sent: "_Sent[Item]", error: Exception) -> Results | None:
        """What follows if a shard comes back without results, for an *error* of Dask: None to send it again.

        Raises:
            LostWorkerError: that is not possible.
            IotoError: the cluster cannot do any.
        """
        if sent.is_taken_back:
            return self._unsent(sent) if self.summary.stopped is not None else None
        if isinstance(error, OSError) or (isinstance(error, CancelledError) and self._cluster.status != "running"):
            if self._is_once and self._workers.present:
                raise LostWorkerError("the scheduler of the cluster was lost, and there is no journal") from error
            await asyncio.sleep(_RECONNECTION)  # the client may be about to notice that the connection is lost
            return None
        if isinstance(error, (KilledWorker, CancelledError)):
            raise LostWorkerError(f"the shard of the item was lost: {one_line(str(error))}") from error
        cause = error.__cause__ or error
        raise IotoError(f"the cluster could not do a shard: {type(cause).__name__}: {one_line(str(cause))}") from error

    def _unsent(self, sent: "_Sent[Item]") -> Results:
        """The results of a shard that no worker does any more, as the run is stopped.

        Raises:
            LostWorkerError: one had begun it.
        """
        if sent.is_begun:
            raise LostWorkerError("the worker that had the item was lost")
        return Results("")

    def _submit(self, shard: Shard[Item], attempt: int, *, is_doubtful: bool) -> "_Sent[Item]":
        key = f"{self._name}-{shard.number}-{attempt}"
        journal = None if self._directory is None else self._directory.journal(shard.part)
        order = Order(shard.keys, shard.items, journal, self._is_once, is_doubtful, self._share)
        # Without a reason, the choice is left to Dask: a cluster may grow with what there is to do.
        workers = self._workers.fit if self._workers.unfit else None
        future: Future[Any] = self._cluster.submit(
            WORK, self._name, key, self._job, _pickled(order), key=key, pure=False, workers=workers and sorted(workers)
        )
        sent = self._sent[shard.number] = _Sent(shard, future, workers)
        return sent

    @property
    def _is_once(self) -> bool:
        """Whether items must not be sent again, and no journal tells which were."""
        return self._directory is None and self._kind is Kind.ONCE

    async def _is_connected(self) -> bool:
        """Wait for the scheduler if the connection to it is lost, as long as the client tries; whether it is there."""
        if self._cluster.status == "running":
            return True
        if not self._is_disconnected:
            self._is_disconnected = True
            logger.warning("the connection to the scheduler was lost: trying to connect again")
        while self._cluster.status == "connecting" and self.summary.stopped is None:  # noqa: ASYNC110  another task's
            await asyncio.sleep(_RECONNECTION)
        if self._cluster.status != "running":
            return False
        if self._is_disconnected:
            self._is_disconnected = False
            logger.warning("connected to the scheduler again: the run goes on")
        return True

    def _open(self, done: Outcome[Shard[Item], Results]) -> tuple[Iterator[Outcome[Item, Value]], Exception | None]:
        """What became of the items of a shard, and the error that ends the run, if there is one."""
        shard, results = done.item, done.value
        if results is None:
            results = _lost(shard, LostWorkerError("the worker that has the item did not answer in time"))
            self._arrived["unknown"] += len(shard.items)
        return (_of_item(outcome, shard.items) for outcome in results.outcomes), results.ended


def _lost(shard: Shard[Any], error: Exception, *, ended: Exception | None = None) -> Results:
    """The results of a shard of which nothing is known."""
    outcomes = [
        Outcome[int, Any](position, key, "unknown", error=LostWorkerError(str(error)))
        for position, key in enumerate(shard.keys)
    ]
    return Results("", outcomes, ended)


def _loaded(told: bytes | tuple[str, str]) -> Results:
    if isinstance(told, bytes):
        results: Results = loads(told)
        return results
    worker, why = told
    return Results(worker, is_begun=False, unfit=IotoError(why))


class _Meter:
    """Measures the rate of a count over the last seconds."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque([(0.0, 0)])

    def rate(self, now: float, count: int) -> float:
        """Take note of a *count* at a time in seconds, and tell the rate a second."""
        self._counts.append((now, count))
        while len(self._counts) > 2 and self._counts[1][0] <= now - _LATELY:
            self._counts.popleft()
        since, before = self._counts[0]
        return max(count - before, 0) / (now - since) if now > since else 0.0


def _of_item(outcome: Outcome[int, Any], items: list[Item]) -> Outcome[Item, Any]:
    return Outcome(
        items[outcome.item],
        outcome.key,
        outcome.status,
        outcome.value,
        outcome.error,
        outcome.attempts,
        outcome.elapsed,
    )


def _pickled(order: Order) -> bytes:
    try:
        return bytes(dumps(order))
    except Exception as error:
        raise InvalidArgumentError(f"items: expected items that can be pickled: {error}") from error


@contextlib.contextmanager
def _running(coroutine: Coroutine[Any, Any, None]) -> Iterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
