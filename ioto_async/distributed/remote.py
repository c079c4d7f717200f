"""What goes to the cluster as code, so that nothing has to be imported to receive it.

A worker ends if it receives a task that it cannot load, whoever uses it, and the scheduler loads tasks as well. Dask
pickles functions of a module by reference, and functions inside functions by value.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

__all__ = ["ASK", "WORK"]


def _make_work() -> Callable[..., Awaitable[bytes | tuple[str, str]]]:
    async def work(*args: Any) -> bytes | tuple[str, str]:
        from importlib import import_module

        try:
            session = import_module("ioto_async.distributed.session")
        except Exception as error:  # noqa: BLE001  whatever it is, others may do the shard
            from distributed import get_worker

            worker = get_worker()
            return worker.contact_address or worker.address, f"{type(error).__name__}: {error}"
        done: bytes = await session.work(*args)
        return done

    return work


def _make_ask() -> Callable[..., Awaitable[None]]:
    async def ask(function: str, *args: Any, dask_worker: Any) -> None:
        import sys

        session = sys.modules.get("ioto_async.distributed.session")
        if session is not None:
            await getattr(session, function)(dask_worker, *args)

    return ask


WORK: Final = _make_work()
"""The task of a shard: `session.work`, or the address of the worker and why it cannot load that."""
ASK: Final = _make_ask()
"""Calls a function of `session` on a worker, if that has been loaded there."""
