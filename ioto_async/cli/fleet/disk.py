"""Writes the files of many devices at once: for one after the other, the disk takes ten times as long."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import attrs

from ..files import Draft

__all__ = ["Disk"]


@attrs.frozen(eq=False)
class _Order:
    """Files to be written, and the future of whoever waits for them."""

    prepare: Callable[[], Draft]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Disk:
    """Threads that write files, each those of several devices at a time.

    Args:
        threads: how many there may be.
        group: devices whose files a thread writes before it waits for the disk.
    """

    def __init__(self, threads: int, group: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="ioto-files")
        self._idle = threads
        self._group = group
        self._due: deque[_Order] = deque()
        self._lock = Lock()

    async def write(self, prepare: Callable[[], Draft]) -> None:
        """Write the files that *prepare* drafts, which is called in a thread, and wait until the disk has them.

        Raises:
            Exception: what *prepare* raises.
            OSError: they cannot be written.
        """
        loop = asyncio.get_running_loop()
        order = _Order(prepare, loop, loop.create_future())
        with self._lock:
            self._due.append(order)
            is_to_start = self._idle > 0
            self._idle -= is_to_start
        if is_to_start:
            self._pool.submit(self._work)
        await order.done

    def _work(self) -> None:
        while orders := self._take():
            ended = self._written(orders)
            for loop in {order.loop for order in orders}:
                with contextlib.suppress(RuntimeError):  # it is closed
                    loop.call_soon_threadsafe(_tell, [end for end in ended if end[0].loop is loop])

    def _take(self) -> list[_Order]:
        """The orders that a thread carries out next; it ends if there are none."""
        with self._lock:
            orders = [self._due.popleft() for _ in range(min(len(self._due), self._group))]
            self._idle += not orders
            return orders

    def _written(self, orders: Iterable[_Order]) -> list[tuple[_Order, Exception | None]]:
        drafts: list[tuple[_Order, Draft]] = []
        ended: list[tuple[_Order, Exception | None]] = []
        for order in orders:
            if order.done.cancelled():
                continue
            try:
                drafts.append((order, order.prepare()))
            except Exception as error:  # noqa: BLE001  it is for whoever waits
                ended.append((order, error))
        for order, draft in drafts:
            try:
                draft.publish()
            except OSError as error:
                ended.append((order, error))
            else:
                ended.append((order, None))
        return ended


def _tell(ended: Iterable[tuple[_Order, Exception | None]]) -> None:
    for order, error in ended:
        if order.done.cancelled():
            continue
        if error is None:
            order.done.set_result(None)
        else:
            order.done.set_exception(error)
