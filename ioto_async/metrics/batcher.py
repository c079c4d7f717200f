"""Has what is asked at the same time answered by one request.

The request belongs to none of those who ask: it runs in a task of its own, and ends early only when all of them have
gone.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Generic, TypeVar

import attrs

from ..errors import ClientStateError, copy_of
from ..transport.effects import EFFECTS, waiting

__all__ = ["Ask", "Batcher"]

Q = TypeVar("Q")
A = TypeVar("A")

Ask = Callable[[Sequence[Q]], Coroutine[Any, Any, Sequence[A | Exception]]]
"""Has questions answered, in their order; one that fails alone has its error as its answer."""


@attrs.define(eq=False)
class _Batch(Generic[Q, A]):
    """What is asked by one request."""

    ask: Ask[Q, A]
    loop: asyncio.AbstractEventLoop
    context: Context
    questions: list[Q] = attrs.field(factory=list)
    answers: "list[asyncio.Future[A | Exception]]" = attrs.field(factory=list)
    waiting: int = 0
    """How many still wait for their answers."""
    task: "asyncio.Task[Sequence[A | Exception]] | None" = None

    def leave(self) -> None:
        self.waiting -= 1
        if not self.waiting and self.task is not None:
            self.task.cancel()


class Batcher(Generic[Q, A]):
    """Collects questions until the loop has run all that is ready now, or there are enough of them.

    Args:
        most: questions in a request at most.
    """

    __slots__ = ("_most", "_open")

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[Hashable, _Batch[Q, A]] = {}

    async def get(self, key: Hashable, question: Q, ask: Ask[Q, A]) -> A:
        """Have *question* answered, together with the others of the same *key*.

        Args:
            key: what questions must have in common.
            question: what is asked.
            ask: sends the request; that of the first of a *key* is taken, and its context.

        Raises:
            ClientStateError: somebody has cancelled the request itself.
            Exception: what *ask* raised or answered, as an object of the caller's own.
        """
        loop = asyncio.get_running_loop()
        batch = self._open.get(key)
        if batch is None or batch.loop is not loop:  # else of a loop that has ended
            batch = self._begin(key, ask, loop)
        answer: asyncio.Future[A | Exception] = loop.create_future()
        batch.questions.append(question)
        batch.answers.append(answer)
        batch.waiting += 1
        if len(batch.answers) >= self._most:
            self._send(key, batch)
        del key, question, ask  # thousands may wait here, and the garbage collector looks at all that they hold
        try:
            if (effects := EFFECTS.get()) is None:
                result = await answer
            else:
                with waiting(effects):
                    result = await answer
        except asyncio.CancelledError:
            answer.cancel()
            batch.leave()
            raise
        if isinstance(result, Exception):
            raise copy_of(result)
        return result

    def _begin(self, key: Hashable, ask: Ask[Q, A], loop: asyncio.AbstractEventLoop) -> _Batch[Q, A]:
        context = copy_context()
        context.run(EFFECTS.set, None)  # what is sent is not for the item of a bulk run alone
        batch = self._open[key] = _Batch[Q, A](ask, loop, context)
        loop.call_soon(self._send, key, batch)
        return batch

    def _send(self, key: Hashable, batch: _Batch[Q, A]) -> None:
        """Send a batch, unless it was sent when it was full, or nobody waits any more."""
        if batch.task is not None:
            return
        self._open.pop(key, None)
        questions, answers = batch.questions, [answer for answer in batch.answers if not answer.done()]
        if not answers:
            return
        if len(answers) < len(questions):
            of_all = zip(questions, batch.answers, strict=True)
            questions = [question for question, answer in of_all if not answer.done()]
        batch.task = batch.context.run(batch.loop.create_task, batch.ask(questions))
        batch.task.add_done_callback(partial(_settle, answers))


def _settle(answers: Sequence["asyncio.Future[A | Exception]"], task: "asyncio.Task[Sequence[A | Exception]]") -> None:
    """Give all who still wait what the request has brought, whichever way it ended."""
    error = None if task.cancelled() else task.exception()
    results: Sequence[A | Exception]
    if task.cancelled() or (error is not None and not isinstance(error, Exception)):
        results = [ClientStateError("the request for this and other calls was cancelled by itself")] * len(answers)
    else:
        results = task.result() if error is None else [error] * len(answers)
    for answer, result in zip(answers, results, strict=True):
        if not answer.done():
            answer.set_result(result)
