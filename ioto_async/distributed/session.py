"""What runs on a worker: the client that its shards share, and the run of one shard.

Nothing here holds credentials until a worker has its first shard, which makes the client there.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal

import attrs
from distributed import Worker, WorkerPlugin, get_worker
from distributed.protocol.pickle import dumps, loads

from ..bulk import Bulk, Outcome
from ..bulk.locks import try_lock
from ..client import BuilderClient, IotoClient
from ..errors import IotoError
from ..operations import Kind
from ..transport.limits import Limits
from ..transport.tasks import in_thread

__all__ = ["Job", "LostWorkerError", "Order", "Results", "Session", "stop_shards", "work"]

_PATIENCE: Final = 120.0
"""Seconds for which a journal may still belong to a worker that was lost: file servers notice late."""
_LOOK: Final = 0.5
"""Seconds between two looks whether it does."""

Results = tuple[list[Outcome[int, Any]], Exception | None]
"""The outcomes of a shard, with positions in it for items; and what ended the run, if something did."""


class LostWorkerError(IotoError):
    """The worker that had an item was lost, and whether the item was done is not known."""

    outcome_unknown = True


_Client = IotoClient | BuilderClient


@attrs.frozen
class Job:
    """What is the same for all shards of a run; see `bulk`. It is pickled."""

    call: Callable[[Any, Any], Awaitable[Any]]
    """With the client that ``connect`` makes."""
    reconcile: Callable[[Any, Any], Awaitable[bool | None]] | None
    connect: Callable[[Limits], _Client]
    concurrency: int | Literal["auto"]
    kind: Kind
    through_client: bool
    retry_failed: bool
    name: str | None
    stop_on: type[Exception] | tuple[type[Exception], ...]


@attrs.frozen
class Order:
    """A shard on its way to a worker."""

    keys: list[str]
    items: list[Any]
    journal: Path | None
    once: str | None
    """A name of the shard, where no journal tells whether another worker has begun to send these items; None if they
    may be sent again."""
    rate: float | None
    """What the worker may send at present, requests a second."""


class Session(WorkerPlugin):
    """What the shards of one run share on a worker. Dask makes one on each, and takes it down when the run has ended.

    Args:
        name: tells it from the sessions of other runs.
        job: the run.
    """

    def __init__(self, name: str, job: Job) -> None:
        self.name = name
        self._job = job

    def setup(self, worker: Worker) -> None:
        """Begin, on a *worker*."""
        self._worker = worker
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[Results]] = set()
        self._running: Bulk[int, Any] | None = None
        self._is_stopped = self._is_over = False
        self._client: _Client | None = None
        self._rate: float | None = None

    async def teardown(self, worker: Worker) -> None:
        """End the calls in flight, and close the client."""
        self._is_over = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._client is not None:
            await self._client.aclose()

    def stop(self, grace: float | None) -> None:
        """Begin no further item; see `Bulk.stop`."""
        self._is_stopped = True
        if self._running is not None:
            self._running.stop(grace=grace)

    async def work(self, order: Order) -> Results:
        """Bring the items of a shard to their outcomes."""
        task = asyncio.create_task(self._work(order))
        self._tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if not self._is_over or not task.done():
                raise
            return [], None  # nobody waits for it
        finally:
            self._tasks.discard(task)

    async def _work(self, order: Order) -> Results:
        # One shard after the other: the calls in flight are the worker's, however many threads Dask gives it.
        async with self._turn:
            if self._is_stopped:
                return [], None
            client = await self._connected(order.rate)
            if order.journal is not None:
                await _unlocked(order.journal)
            run = self._running = self._run(client, order, is_doubtful=not await self._is_first(order))
            outcomes: list[Outcome[int, Any]] = []
            ended: Exception | None = None
            try:
                async with run:
                    async for outcome in run:
                        outcomes.append(outcome)  # noqa: PERF401  what has come before an error counts
            except self._job.stop_on as error:
                ended = error
            finally:
                self._running = None
            return outcomes, ended

    def _run(self, client: _Client, order: Order, *, is_doubtful: bool) -> Bulk[int, Any]:
        job, items = self._job, order.items
        doubtful = set(range(len(items))) if is_doubtful else set()

        async def call(position: int) -> object:
            if position in doubtful:
                doubtful.remove(position)
                raise LostWorkerError("the worker that had the item was lost, and there is no journal")
            return await job.call(client, items[position])

        async def reconcile(position: int) -> bool | None:
            assert job.reconcile is not None
            return await job.reconcile(client, items[position])

        return client.bulk(
            call,
            range(len(items)),
            concurrency=job.concurrency,
            journal=order.journal,
            name=job.name,
            key=order.keys.__getitem__,
            kind=job.kind,
            through_client=job.through_client,
            retry_failed=job.retry_failed,
            stop_on=job.stop_on,
            reconcile=reconcile if job.reconcile is not None else None,
        )

    async def _connected(self, rate: float | None) -> _Client:
        """The client, a new one if the share of this worker has changed."""
        if self._client is not None and rate != self._rate:
            client, self._client = self._client, None
            await client.aclose()
        if self._client is None:
            self._client = self._job.connect(Limits(rate=rate))
            self._rate = rate
        return self._client

    async def _is_first(self, order: Order) -> bool:
        """Whether no other worker has begun this shard, as far as that matters.

        The scheduler keeps who has; not with the task, which it may forget and run again. Should two workers ask at one
        time, as one of them was cut off, then neither is the first.
        """
        if order.once is None:
            return True
        scheduler = self._worker.scheduler
        await scheduler.set_metadata(keys=[self.name, order.once, uuid.uuid4().hex], value=True)
        return len(await scheduler.get_metadata(keys=[self.name, order.once])) == 1


async def work(name: str, order: bytes) -> bytes:
    """The task that Dask runs for a shard: pickled `Order` to pickled `Results`, of the session with a *name*."""
    worker = get_worker()
    session = worker.plugins[name]
    assert isinstance(session, Session)
    try:
        outcomes, ended = await session.work(loads(order))
    except Exception as error:
        error.add_note(f"on the worker {worker.address}")
        raise
    return _dumps(outcomes, ended)


def stop_shards(name: str, grace: float | None, dask_worker: Worker) -> None:
    """Stop the shards of the session with a *name*, if this worker has one."""
    session = dask_worker.plugins.get(name)
    if isinstance(session, Session):
        session.stop(grace)


def _dumps(outcomes: list[Outcome[int, Any]], ended: Exception | None) -> bytes:
    for outcome in outcomes:
        # Most exceptions can be pickled, but not all of them can be made again from that.
        if outcome.error is not None and not isinstance(outcome.error, IotoError) and not _travels(outcome.error):
            outcome.error = IotoError(f"{type(outcome.error).__name__}, which cannot be pickled")
    try:
        return bytes(dumps((outcomes, ended)))
    except Exception:  # noqa: BLE001  pickling runs the code of others; what it was is told below
        for outcome in outcomes:
            if not _travels(outcome.value):
                kind = type(outcome.value).__name__
                outcome.error = IotoError(f"done, but what was returned, a {kind}, cannot be pickled")
                outcome.value = None
        return bytes(dumps((outcomes, ended)))


def _travels(value: object) -> bool:
    try:
        loads(dumps(value))
    except Exception:  # noqa: BLE001  as above
        return False
    return True


async def _unlocked(path: Path) -> None:
    """Wait until no other process has a journal: a lost worker may only be cut off, and end somewhat later.

    If that takes too long, the run says so.
    """
    until = time.monotonic() + _PATIENCE
    while not await in_thread(_is_free, path) and time.monotonic() < until:  # noqa: ASYNC110  another process's
        await asyncio.sleep(_LOOK)


def _is_free(path: Path) -> bool:
    with path.open("ab") as file:
        return try_lock(file)
