"""What runs on a worker: the client that its shards share, and the run of one shard.

Nothing is registered with the cluster. A session begins with the first shard that a worker gets, and holds no
credentials before. It ends when whoever asked says so, and by itself when nobody waits for its shards any more, or when
no further one comes.
"""

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

import attrs
from distributed import Worker, get_worker
from distributed.protocol.pickle import dumps, loads

from ..bulk import Bulk, Outcome, Status
from ..bulk.locks import try_lock
from ..client import BuilderClient, IotoClient
from ..errors import IotoError
from ..operations import Kind
from ..transport.limits import Limits
from ..transport.tasks import in_thread

__all__ = ["Job", "LostWorkerError", "Mark", "Order", "Results", "end_session", "stop_shards", "work"]

_PATIENCE: Final = 120.0
"""Seconds for which a journal may still belong to a worker that was lost: file servers notice late."""
_LOOK: Final = 0.5
"""Seconds between two looks whether it does."""
_WATCH: Final = 1.0
"""Seconds between two looks whether anybody still waits for the shards."""
_IDLE: Final = 10.0
"""Seconds without a shard after which a session ends."""

Mark = tuple[str, dict[Status, int]]
"""A worker that has begun a shard, and how many outcomes of each status it has of it.

The scheduler keeps the marks of a shard, and drops them with its task.
"""


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
    is_once: bool
    """Whether the items must not be sent again if another worker has begun to, which no journal tells."""
    is_doubtful: bool
    """Whether another worker is known to have begun them."""
    rate: float | None
    """What the worker may send at present, requests a second."""


@attrs.frozen
class Results:
    """What became of a shard on a worker."""

    worker: str
    """Its address."""
    outcomes: list[Outcome[int, Any]] = attrs.field(factory=list)
    """With positions in the shard for items."""
    ended: Exception | None = None
    """What ends the run, if something does."""
    is_begun: bool = True
    """Whether this worker may have sent something."""
    unfit: Exception | None = None
    """Why this worker can do no shard of the run, if it cannot."""


_SESSIONS: "Final[WeakKeyDictionary[Worker, dict[str, Session]]]" = WeakKeyDictionary()
"""The sessions of the workers in this process, by the names of their runs."""


class Session:
    """What the shards of one run share on a worker.

    Args:
        worker: where they run.
        name: tells it from the sessions of other runs.
        job: the run.
    """

    def __init__(self, worker: Worker, name: str, job: Job) -> None:
        self._worker = worker
        self._address = _address(worker)
        self._name = name
        self._job = job
        self._turn = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[Results]] = {}
        self._running: Bulk[int, Any] | None = None
        self._begun: tuple[str, str, Counter[Status]] | None = None
        """Of the shard that is running: the keys of its mark, and its outcomes so far."""
        self._is_stopped = self._is_over = False
        self._client: _Client | None = None
        self._rate: float | None = None
        self._idle_since = time.monotonic()
        self._watching = asyncio.create_task(self._watch())

    @classmethod
    def of(cls, worker: Worker, name: str, job: Job) -> "Session":
        """The session of the run with a *name* on a *worker*; it begins if there is none."""
        sessions = _SESSIONS.setdefault(worker, {})
        if name not in sessions:
            sessions[name] = cls(worker, name, job)
        return sessions[name]

    async def aclose(self) -> None:
        """End the calls in flight, and close the client."""
        if self._is_over:
            return
        self._is_over = True
        if self._watching is not asyncio.current_task():
            self._watching.cancel()
        sessions = _SESSIONS.get(self._worker, {})
        if sessions.pop(self._name, None) is not None and not sessions:
            del _SESSIONS[self._worker]
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        if self._client is not None:
            await self._client.aclose()

    def stop(self, grace: float | None) -> None:
        """Begin no further item; see `Bulk.stop`."""
        self._is_stopped = True
        if self._running is not None:
            self._running.stop(grace=grace)

    async def work(self, key: str, order: Order) -> Results:
        """Bring the items of a shard, whose task has the *key*, to their outcomes."""
        task = self._tasks[key] = asyncio.create_task(self._work(key, order))
        try:
            # Where nobody waits for the shard any more, it is the task that is cancelled.
            await asyncio.wait((task,))
            return Results(self._address) if task.cancelled() else task.result()
        except asyncio.CancelledError:  # the worker is about to close
            await self.aclose()
            raise
        finally:
            del self._tasks[key]
            self._idle_since = time.monotonic()

    async def _watch(self) -> None:
        """Tell how far the shards are, and end those that nobody waits for: who asked may be killed, or cut off."""
        is_dropped = False
        while self._tasks or (not is_dropped and time.monotonic() < self._idle_since + _IDLE):
            await asyncio.sleep(_WATCH)
            if not self._tasks:
                continue
            wanted = await self._wanted()
            for key, task in self._tasks.items():
                if key not in wanted:
                    is_dropped = task.cancel()
            if self._begun is not None and self._begun[0] in wanted:
                with contextlib.suppress(OSError):  # the worker closes itself if the scheduler is lost
                    await self._mark(*self._begun)
        await self.aclose()

    async def _wanted(self) -> set[str]:
        """The keys of the tasks of this worker that the scheduler has not dropped."""
        try:
            tasks = await self._worker.scheduler.processing(workers=[self._address])
        except KeyError:  # the scheduler takes this worker for lost
            return set()
        except OSError:  # the worker closes itself if the scheduler is lost
            return {*self._tasks}
        return set().union(*tasks.values())

    async def _work(self, key: str, order: Order) -> Results:
        # One shard after the other: the calls in flight are the worker's, however many threads Dask gives it.
        async with self._turn:
            if self._is_stopped or key not in await self._wanted():
                return Results(self._address, is_begun=False)
            try:
                client = await self._connected(order.rate)
                if order.journal is not None:
                    await _unlocked(order.journal)
            except Exception as error:  # noqa: BLE001  credentials or the folder of journals, which others may have
                return Results(self._address, is_begun=False, unfit=error)
            doubtful: set[int] = set()
            run = self._running = self._run(client, order, doubtful)
            token = uuid.uuid4().hex
            await self._mark(key, token, {})
            if await self._is_doubtful(key, order):
                doubtful.update(range(len(order.items)))
            outcomes: list[Outcome[int, Any]] = []
            counts: Counter[Status] = Counter()
            ended: Exception | None = None
            self._begun = key, token, counts
            try:
                async with run:
                    async for outcome in run:
                        outcomes.append(outcome)
                        counts[outcome.status] += 1
            except Exception as error:  # noqa: BLE001  told where the run was asked for
                error.add_note(f"on the worker {self._address}")
                ended = error
            finally:
                self._running = self._begun = None
            return Results(self._address, outcomes, ended)

    def _run(self, client: _Client, order: Order, doubtful: set[int]) -> Bulk[int, Any]:
        job, items = self._job, order.items

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

    async def _mark(self, key: str, token: str, counts: dict[Status, int]) -> None:
        """Let it be known that this worker has begun a shard, and how far it is."""
        mark: Mark = self._address, dict(counts)
        await self._worker.scheduler.set_metadata(keys=[key, token], value=mark)

    async def _is_doubtful(self, key: str, order: Order) -> bool:
        """Whether another worker has begun a shard, as far as that matters.

        Should two workers have marked it at one time, as one of them was cut off, then it is doubtful for both.
        """
        if not order.is_once:
            return False
        return order.is_doubtful or len(await self._worker.scheduler.get_metadata(keys=[key])) > 1


def _address(worker: Worker) -> str:
    """What the scheduler calls a *worker*."""
    return worker.contact_address or worker.address


async def work(name: str, key: str, job: bytes, order: bytes) -> bytes:
    """Do a shard, of which the task has the *key*: pickled `Order` to pickled `Results`, for the run with a *name*."""
    worker = get_worker()
    try:
        session, loaded = Session.of(worker, name, loads(job)), loads(order)
    except Exception as error:  # noqa: BLE001  a module of the call or of an item, which other workers may have
        return _dumps(Results(_address(worker), is_begun=False, unfit=error))
    return _dumps(await session.work(key, loaded))


async def stop_shards(worker: Worker, name: str, grace: float | None) -> None:
    """Stop the shards of the run with a *name* on a *worker*."""
    if (session := _SESSIONS.get(worker, {}).get(name)) is not None:
        session.stop(grace)


async def end_session(worker: Worker, name: str) -> None:
    """Leave nothing of the run with a *name* on a *worker*."""
    if (session := _SESSIONS.get(worker, {}).get(name)) is not None:
        await session.aclose()


def _dumps(results: Results) -> bytes:
    # Most exceptions can be pickled, but not all of them can be made again from that.
    for outcome in results.outcomes:
        if outcome.error is not None:
            outcome.error = _sendable(outcome.error)
    results = attrs.evolve(
        results,
        ended=None if results.ended is None else _sendable(results.ended),
        unfit=None if results.unfit is None else _sendable(results.unfit),
    )
    try:
        return bytes(dumps(results))
    except Exception:  # noqa: BLE001  pickling runs the code of others; what it was is told below
        for outcome in results.outcomes:
            if not _travels(outcome.value):
                kind = type(outcome.value).__name__
                outcome.error = IotoError(f"done, but what was returned, a {kind}, cannot be pickled")
                outcome.value = None
        return bytes(dumps(results))


def _sendable(error: Exception) -> Exception:
    if isinstance(error, IotoError) or _travels(error):
        return error
    return IotoError(f"{type(error).__name__}, which cannot be pickled")


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
