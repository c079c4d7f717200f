"""The workers of a run: tasks that begin when there is something to do, and end when there is nothing."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any

from ..transport.effects import EFFECTS, Effects
from ..transport.tasks import ended

__all__ = ["WorkerPool"]


class WorkerPool:
    """Workers that begin one at a time, as it may turn out that one is enough.

    Args:
        work: what a worker does until there is nothing to do, with the effects of its calls.
        gone: told that a worker has ended, and what it raised; a `asyncio.CancelledError` if it was cancelled.

    Attributes:
        tasks: the workers, each with what the calls for its item have done.
        starting: the worker that is about to begin.
    """

    __slots__ = ("_context", "_gone", "_work", "starting", "tasks")

    def __init__(
        self, work: Callable[[Effects], Coroutine[Any, Any, None]], gone: Callable[[BaseException | None], None]
    ) -> None:
        self._work = work
        self._gone = gone
        self.tasks: dict[asyncio.Task[None], Effects] = {}
        self.starting: asyncio.Task[None] | None = None
        self._context: Context | None = None

    def __len__(self) -> int:
        return len(self.tasks)

    def start(self) -> None:
        """Have a further worker begin."""
        if self._context is None:  # of whoever began the run; a later one just happens to need a worker
            self._context = copy_context()
        worker = self.starting = asyncio.create_task(self._run(), context=self._context.copy())
        self.tasks[worker] = Effects(worker)
        worker.add_done_callback(self._ended)

    async def _run(self) -> None:
        worker = asyncio.current_task()
        assert worker is not None
        if worker not in self.tasks:  # an eager task begins before it is known here
            await asyncio.sleep(0)
        self.starting = None
        effects = self.tasks[worker]
        EFFECTS.set(effects)
        await self._work(effects)

    def _ended(self, worker: asyncio.Task[None]) -> None:
        del self.tasks[worker]
        if self.starting is worker:  # cancelled before it began
            self.starting = None
        self._gone(asyncio.CancelledError() if worker.cancelled() else worker.exception())

    def cancel(self) -> None:
        """Cancel what the workers do."""
        for worker in self.tasks:
            worker.cancel()

    async def aclose(self) -> None:
        """End all workers, and leave none behind although the caller is cancelled."""
        self.cancel()
        await ended(self.tasks)
