"""Processes beside this one: servers on a core of their own, and contenders that take turns on another."""

import asyncio
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

import attrs

from benchmarks import machine

__all__ = ["Beside", "Run", "Serving", "beside", "spawn"]

T = TypeVar("T")

Serving = Callable[[], AbstractAsyncContextManager[T]]
Run = Callable[[Connection], None]
"""What a process beside this one does until the other end of its pipe is closed."""


@attrs.frozen
class Beside(Generic[T]):
    """A server that runs beside this process, and what it says of where it is to be found."""

    where: T
    _pipe: Connection

    def cpu(self) -> float:
        """Seconds of CPU time that the server has used."""
        self._pipe.send(None)
        return float(self._pipe.recv())


@contextmanager
def spawn(run: Run, core: int | None) -> Iterator[Connection]:
    """Have *run* called in a new process on *core*; the result is this end of the pipe to it.

    Args:
        run: can be pickled; it returns when reading from the pipe raises EOFError.
        core: as `machine.pin` takes it.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(run, core, there), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        # The other side ends when it sees the end of the pipe, and so it does if this process is killed.
        here.close()
        process.join()


def _run(run: Run, core: int | None, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    machine.pin(core)
    machine.keep_heap()
    run(pipe)


@contextmanager
def beside(serving: Serving[T]) -> Iterator[Beside[T]]:
    """Run *serving* on asyncio beside this process.

    Args:
        serving: a function at the top of a module that makes the context in which the server runs.
    """
    with spawn(partial(_in_asyncio, serving), machine.server_core()) as pipe:
        yield Beside(pipe.recv(), pipe)


def _in_asyncio(serving: Serving[T], pipe: Connection) -> None:
    asyncio.run(_serve(serving, pipe))


async def _serve(serving: Serving[T], pipe: Connection) -> None:
    over = asyncio.Event()

    def asked() -> None:
        try:
            pipe.recv()
        except EOFError:
            over.set()
        else:
            pipe.send(time.process_time())

    async with serving() as where:
        pipe.send(where)
        asyncio.get_running_loop().add_reader(pipe.fileno(), asked)
        await over.wait()
