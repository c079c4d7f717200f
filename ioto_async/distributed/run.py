"""Bulk runs over the workers of a Dask cluster: the side of whoever asks.

The items are cut into shards, and each shard is a task of Dask. The engine runs twice: on a worker over the items of a
shard, and here over the shards.
"""

import asyncio
import contextlib
import inspect
import logging
import uuid
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
from typing import Any, Final, TypeVar, Unpack

from distributed import Client, KilledWorker
from distributed.protocol.pickle import dumps, loads

from ..bulk import Bulk, Outcome, Progress, RunOptions
from ..bulk.options import BaseOptions, key_of
from ..bulk.outcome import Run
from ..client import BuilderClient, IotoClient
from ..errors import InvalidArgumentError
from ..operations import Kind
from ..settings import check_options, function, or_none, whole_number
from ..transport.limits import Limits
from ..transport.tasks import in_thread
from .session import Job, LostWorkerError, Order, Results, Session, stop_shards, work
from .shards import Directory, Shard, Sharder

__all__ = ["DistributedBulk", "LostWorkerError", "bulk"]

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
"""Seconds between two looks how many workers there are."""
_MARGIN: Final = 5.0
"""Seconds that workers have, after the grace, to tell what became of their shards."""


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

    Each worker has one client of its own while the run lasts, made there from the environment that the worker has.

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
            process; ``kind`` and ``through_client`` are known for no call. What an observer sees in flight are the
            items that workers have.

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


class DistributedBulk(Run[Item, Value]):
    """A run over the workers of a Dask cluster; made by `bulk`. ``async for`` over it gives the outcomes.

    A run is iterated over once. Leaving the loop in any way ends the calls that are in flight on the workers; inside
    ``async with run:`` they have ended when that block is left, otherwise soon after.

    Attributes:
        summary: the outcomes so far, by number.
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
        self._job = job
        self._items = items
        self._options = options
        self._total = len(items) if options.total is None and isinstance(items, Sized) else options.total
        self._rate = rate
        self._shard = shard
        self._name = f"ioto-async-{uuid.uuid4().hex}"
        self._workers = self._in_flight = 0
        self._directory: Directory | None = None
        self._shards: Bulk[Shard[Item], Results] | None = None
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
            task = asyncio.create_task(self._tell(grace))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, grace: float | None) -> None:
        """Let the workers know that they are to stop; one that is just being lost need not."""
        await self._cluster.run(stop_shards, self._name, grace, on_error="ignore")

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
                stack.enter_context(_watching(self._watch(sharder)))
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
        self._workers = len(await self._cluster.nthreads())
        if path is not None:
            parts = max(_PARTS * self._workers, _LEAST_PARTS)
            self._directory = await in_thread(Directory.open, path.absolute(), parts)
            stack.callback(self._directory.close)
        await self._cluster.register_plugin(Session(self._name, self._job))
        stack.push_async_callback(self._end)
        return Sharder(
            self._items,
            lambda item, position: key_of(self._options.key, item, position, has_journal=path is not None),
            None if self._directory is None else self._directory.parts,
            self._size,
            self._room,
        )

    async def _end(self) -> None:
        """Leave nothing of the run on the workers."""
        if self._telling:
            await asyncio.wait(self._telling)
        try:
            await self._cluster.unregister_worker_plugin(self._name)
            await self._cluster.set_metadata(self._name, None)  # see `Session`
        except OSError as error:  # what it had of the run is lost as well
            logger.warning("a worker was lost when the run came to its end: %s", error)

    async def _watch(self, sharder: Sharder[Item]) -> None:
        """Keep an eye on the number of workers."""
        while True:
            await asyncio.sleep(_LOOK)
            self._workers = len(await self._cluster.nthreads())
            sharder.look()

    def _observe(self, observer: Callable[[Progress], None], shards: Progress) -> None:
        elapsed, room = shards.elapsed, self._room() * self._size()
        # Shards come at once, so that a rate of late would jump.
        rate = self.summary.done / elapsed if elapsed else 0.0
        observer(Progress(self.summary, self._total, elapsed, rate, self._in_flight, room))

    def _room(self) -> int:
        return _AHEAD * max(self._workers, 1)

    @property
    def _share(self) -> float | None:
        return None if self._rate is None else self._rate / max(self._workers, 1)

    def _size(self) -> int:
        share = self._share
        return self._shard if share is None else max(min(self._shard, int(share * _SHARE)), 1)

    # A shard ------------------------------------------------------------------------------------------------------

    async def _send(self, shard: Shard[Item]) -> Results:
        """Have a *shard* done by a worker."""
        key = f"{self._name}-{shard.number}"
        journal = None if self._directory is None else self._directory.journal(shard.part)
        is_once = journal is None and self._job.kind is Kind.ONCE
        order = Order(shard.keys, shard.items, journal, str(shard.number) if is_once else None, self._share)
        self._in_flight += len(shard.items)
        future = self._cluster.submit(work, self._name, _pickled(order), key=key, pure=False)
        try:
            results: Results = loads(await future)
        except asyncio.CancelledError:
            await future.cancel()
            raise
        finally:
            self._in_flight -= len(shard.items)
            future.release()
        return results

    def _open(self, done: Outcome[Shard[Item], Results]) -> tuple[Iterator[Outcome[Item, Value]], Exception | None]:
        """What became of the items of a shard, and the error that ends the run, if there is one."""
        shard = done.item
        if done.value is not None:
            outcomes, ended = done.value
            return (_of_item(outcome, shard.items) for outcome in outcomes), ended
        if done.status == "failed" and not isinstance(done.error, (KilledWorker, CancelledError)):
            return iter(()), done.error
        return (
            Outcome(item, key, "unknown", error=LostWorkerError(f"the shard of the item was lost: {done.error}"))
            for item, key in zip(shard.items, shard.keys, strict=True)
        ), None


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
def _watching(watch: Coroutine[Any, Any, None]) -> Iterator[None]:
    task = asyncio.create_task(watch)
    try:
        yield
    finally:
        task.cancel()
