"""Where rows come from: a file, a pipe, or the standard input. Imports errors and lines."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Generic, TextIO, TypeVar

import attrs

from ...errors import InvalidArgumentError
from .lines import open_lines

__all__ = ["Source", "opened"]


R = TypeVar("R")


@attrs.frozen
class Source(Generic[R]):
    """An open file of rows."""

    lines: TextIO
    read: Callable[[Iterable[str]], Iterator[R]]
    """Makes rows of lines."""
    total: int | None
    """How many rows are in it; None for a pipe, of which that cannot be told beforehand."""

    def rows(self) -> Iterator[R]:
        """The rows of a file."""
        return self.read(self.lines)

    async def piped_rows(self) -> AsyncGenerator[R, None]:
        """The rows of a pipe. Somebody may be typing them: the loop goes on meanwhile."""
        # A thread of its own, which an interrupted run need not join.
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[R | Exception | None] = asyncio.Queue(1)

        def hand_over(item: R | Exception | None) -> None:
            put = queue.put(item)
            try:
                asyncio.run_coroutine_threadsafe(put, loop).result()
            except RuntimeError:  # the loop is closed
                put.close()
                raise CancelledError from None

        def read() -> None:
            with contextlib.suppress(CancelledError), self.lines:  # cancelled: the run is over, nobody wants more
                try:
                    for row in self.rows():
                        hand_over(row)
                except (InvalidArgumentError, OSError) as error:
                    hand_over(error)
                hand_over(None)

        threading.Thread(target=read, name="rows", daemon=True).start()
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item


@contextlib.contextmanager
def opened(
    file: str,
    read: Callable[[Iterable[str]], Iterator[R]],
    count: Callable[[Iterable[str]], int],
    option: str = "FILE",
) -> Iterator[Source[R]]:
    """Open *file*, ``-`` for the standard input.

    Args:
        file: path of the file.
        read: makes rows of lines.
        count: tells how many there will be.
        option: what names the file.

    Raises:
        InvalidArgumentError: it cannot be read, or has no rows.
    """
    if file == "-" and sys.stdin is None:
        raise InvalidArgumentError(f"{option}: there is no standard input")
    lines = open_lines(sys.stdin.fileno() if file == "-" else file, option)
    if not lines.seekable():
        yield Source(lines, read, None)  # its reader closes it
        return
    with lines:
        start = lines.tell()
        total = count(lines)
        lines.seek(start)
        yield Source(lines, read, total)
