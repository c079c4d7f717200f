"""What the tests of bulk runs share: a call whose ends the test decides, and items that note how far they were read."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from ioto_async.bulk import Bulk, Outcome
from tests.rawserver import GUARD, Request, Step, reply


class Calls:
    """An async callable of one item that goes on when the test says so.

    Attributes:
        begun: the items it was called with, in that order.
        ended: those of them whose call has ended in any way.
        cancelled: those of them whose call was cancelled.
    """

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.ended: list[Any] = []
        self.cancelled: list[Any] = []
        self.highest = 0
        self._futures: dict[Any, asyncio.Future[Any]] = {}

    @property
    def open(self) -> list[Any]:
        """The items whose calls are waiting, oldest first."""
        return list(self._futures)

    async def __call__(self, item: Any) -> Any:
        self.begun.append(item)
        future = self._futures[item] = asyncio.get_running_loop().create_future()
        self.highest = max(self.highest, len(self._futures))
        try:
            return await future
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise
        finally:
            self._futures.pop(item)
            self.ended.append(item)

    def give(self, item: Any, value: Any = None) -> None:
        self._futures[item].set_result(value)

    def fail(self, item: Any, error: BaseException) -> None:
        self._futures[item].set_exception(error)

    def give_all(self) -> None:
        for item in self.open:
            if not self._futures[item].done():
                self.give(item)


class Source:
    """Items 0, 1, 2, … as an iterable and an async iterable.

    Attributes:
        pulled: how many were taken.
        closed: whether the generator was left.
    """

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self._count = count
        self._error = error
        self.pulled = 0
        self.closed = False

    def items(self) -> Iterator[int]:
        try:
            for number in range(self._count):
                self.pulled += 1
                yield number
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True

    async def later(self) -> AsyncIterator[int]:
        try:
            for number in range(self._count):
                await asyncio.sleep(0)
                self.pulled += 1
                yield number
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True

    def of(self, sort: str) -> Any:
        return self.items() if sort == "items" else self.later()


def device(request: Request) -> dict[str, str]:
    """The device that a request names."""
    return {"id": request.json["id"], "accountId": "A1"}


class Crowd:
    """A handler whose replies are held back."""

    def __init__(self) -> None:
        self.held: list[asyncio.Event] = []
        self.released = 0

    def __call__(self, request: Request) -> Step:
        self.held.append(asyncio.Event())
        return reply(200, {"id": request.json.get("id", ""), "accountId": "A1"}, hold=self.held[-1])

    @property
    def waiting(self) -> int:
        return len(self.held) - self.released

    def release(self, count: int) -> None:
        for event in self.held[self.released : self.released + count]:
            event.set()
            self.released += 1


async def turns(count: int = 100) -> None:
    """Let the loop have its turns, until nothing happens any more that needs nothing from outside."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop have its turns until *condition* holds."""
    async with asyncio.timeout(GUARD):
        while not condition():
            await asyncio.sleep(0)


def others() -> set[asyncio.Task[Any]]:
    """The tasks beside the present one."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def no_task_is_left() -> None:
    """Wait until there is no other task; what waits for a thread takes more than a few turns."""
    gc.collect()
    await until(lambda: not others())


async def outcomes(run: Bulk[Any, Any]) -> list[Outcome[Any, Any]]:
    """All of them."""
    async with asyncio.timeout(GUARD), run:
        return [outcome async for outcome in run]


async def consume(run: Bulk[Any, Any], into: Callable[[Outcome[Any, Any]], object]) -> None:
    """Hand each outcome to *into*, whose exceptions are those of a loop's body."""
    async with asyncio.timeout(GUARD), run:
        async for outcome in run:
            into(outcome)


async def statuses(run: Bulk[Any, Any]) -> dict[str, str]:
    """The status of each key; a key that comes twice is an error."""
    found: dict[str, str] = {}
    for outcome in await outcomes(run):
        assert outcome.key not in found, f"{outcome.key} has two outcomes"
        found[outcome.key] = outcome.status
    return found


async def echo(item: Any) -> Any:
    """A call that returns at once."""
    return item


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, the first among them."""
    data = path.read_bytes()
    assert data.endswith(b"\n"), "the last line is torn"
    return [json.loads(line) for line in data.splitlines()]


def states(path: Path) -> dict[str, str]:
    """What the last line of each key says."""
    return {line["key"]: line["status"] for line in lines(path)[1:]}


def written(path: Path, *entries: tuple[str, str], call: str | None = None) -> None:
    """Write a journal with these keys and statuses."""
    head = {"journal": 1, "call": call}
    body = [{"key": key, "status": status} for key, status in entries]
    path.write_text("".join(json.dumps(line) + "\n" for line in [head, *body]))
