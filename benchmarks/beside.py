"""A server in a process and on a core of its own."""

import asyncio
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

import attrs

from benchmarks import machine

__all__ = ["Beside", "beside"]

T = TypeVar("T")

Serving = Callable[[], AbstractAsyncContextManager[T]]


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
def beside(serving: Serving[T]) -> Iterator[Beside[T]]:
    """Run *serving* beside this process.

    Args:
        serving: a function at the top of a module that makes the context in which the server runs.
    """
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_run, args=(serving, there), daemon=True)
    process.start()
    there.close()
    try:
        yield Beside(here.recv(), here)
    finally:
        # The other side ends when it sees the end of the pipe, and so it does if this process is killed.
        here.close()
        process.join()


def _run(serving: Serving[T], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    machine.pin(machine.server_core())
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
