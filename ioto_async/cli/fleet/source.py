"""Where rows come from: a file, a pipe, or the standard input. Imports rows."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import CancelledError
from typing import TextIO

import attrs

from ...errors import InvalidArgumentError
from .rows import BadRow, Row, count_rows, open_fleet, read_rows

__all__ = ["Source", "opened"]


@attrs.frozen
class Source:
    """An open fleet file."""

    lines: TextIO
    id_column: str
    total: int | None
    """How many rows are in it; None for a pipe, of which that cannot be told beforehand."""

    def rows(self) -> Iterator[Row | BadRow]:
        """The rows of a file."""
        return read_rows(self.lines, self.id_column)

    async def piped_rows(self) -> AsyncGenerator[Row | BadRow, None]:
        """The rows of a pipe. Somebody may be typing them: the loop goes on meanwhile."""
        # A thread of its own, which an interrupted run need not join.
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Row | BadRow | Exception | None] = asyncio.Queue(1)

        def hand_over(item: Row | BadRow | Exception | None) -> None:
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

        threading.Thread(target=read, name="fleet", daemon=True).start()
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item


@contextlib.contextmanager
def opened(file: str, id_column: str) -> Iterator[Source]:
    """Open *file*, ``-`` for the standard input.

    Raises:
        InvalidArgumentError: it cannot be read, or has no rows.
    """
    if file == "-" and sys.stdin is None:
        raise InvalidArgumentError("FILE: there is no standard input")
    lines = open_fleet(sys.stdin.fileno() if file == "-" else file)
    if not lines.seekable():
        yield Source(lines, id_column, None)  # its reader closes it
        return
    with lines:
        start = lines.tell()
        total = count_rows(lines, id_column)
        lines.seek(start)
        yield Source(lines, id_column, total)
