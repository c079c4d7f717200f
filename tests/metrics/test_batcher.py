"""What is asked at the same time is asked together; the end of one caller, whichever it is, is no other's."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from ioto_async import ClientStateError, DecodeError, InBandError, ServiceError
from ioto_async.metrics.batcher import Batcher
from ioto_async.transport.effects import EFFECTS, Effects
from tests.bulk.calls import Calls, no_task_is_left, turns, until
from tests.rawserver import GUARD

NAME: ContextVar[str] = ContextVar("name", default="nobody")


class Asked:
    """Answers each question with itself in capitals, and notes what was asked together."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    async def __call__(self, questions: Sequence[str]) -> Sequence[str | Exception]:
        self.batches.append([*questions])
        await asyncio.sleep(0)
        return [question.upper() for question in questions]


class Held:
    """Answers when the test says so; an item of `calls` is what was asked together."""

    def __init__(self) -> None:
        self.calls = Calls()

    async def __call__(self, questions: Sequence[str]) -> Sequence[str | Exception]:
        answers: Sequence[str | Exception] = await self.calls("".join(questions))
        return answers


def all_of(batcher: Batcher[str, str], questions: str, ask: Any, key: str = "key") -> dict[str, "asyncio.Task[str]"]:
    """A task for each question."""
    return {question: asyncio.create_task(batcher.get(key, question, ask)) for question in questions}


async def ends(tasks: dict[str, "asyncio.Task[str]"]) -> dict[str, Any]:
    """What has become of each, exceptions included."""
    async with asyncio.timeout(GUARD):
        ended = await asyncio.gather(*tasks.values(), return_exceptions=True)
    return dict(zip(tasks, ended, strict=True))


# Together ---------------------------------------------------------------------------------------------------------


async def test_what_is_asked_in_one_turn_is_asked_together_and_answered_to_each() -> None:
    ask, batcher = Asked(), Batcher[str, str](10)
    assert await ends(all_of(batcher, "abc", ask)) == {"a": "A", "b": "B", "c": "C"}
    assert ask.batches == [["a", "b", "c"]]


async def test_what_is_asked_later_is_asked_by_itself() -> None:
    ask, batcher = Asked(), Batcher[str, str](10)
    await ends(all_of(batcher, "ab", ask))
    await ends(all_of(batcher, "c", ask))
    assert ask.batches == [["a", "b"], ["c"]]


async def test_a_question_does_not_join_a_request_that_is_under_way() -> None:
    ask, batcher = Held(), Batcher[str, str](10)
    first = all_of(batcher, "a", ask)
    await until(lambda: ask.calls.open == ["a"])
    second = all_of(batcher, "b", ask)
    await until(lambda: ask.calls.open == ["a", "b"])
    ask.calls.give("b", ["B"])
    ask.calls.give("a", ["A"])
    assert await ends({**first, **second}) == {"a": "A", "b": "B"}


async def test_questions_of_different_keys_are_apart() -> None:
    ask, batcher = Asked(), Batcher[str, str](10)
    await ends({**all_of(batcher, "ab", ask, "x"), **all_of(batcher, "cd", ask, "y")})
    assert ask.batches == [["a", "b"], ["c", "d"]]


async def test_there_are_no_more_questions_together_than_allowed() -> None:
    ask, batcher = Asked(), Batcher[str, str](2)
    assert len(await ends(all_of(batcher, "abcde", ask))) == 5
    assert sorted(ask.batches) == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_full_request_does_not_wait_for_the_end_of_the_turn() -> None:
    order: list[str] = []

    async def ask(questions: Sequence[str]) -> Sequence[str | Exception]:
        order.append("".join(questions))
        return questions

    batcher = Batcher[str, str](2)
    tasks = all_of(batcher, "ab", ask)
    later = asyncio.create_task(asyncio.sleep(0))
    later.add_done_callback(lambda _: order.append("next turn"))
    await ends(tasks)
    await turns(3)
    assert order == ["ab", "next turn"]


# Ends -------------------------------------------------------------------------------------------------------------


async def test_the_error_of_one_question_is_its_caller_s_alone() -> None:
    async def ask(questions: Sequence[str]) -> Sequence[str | Exception]:
        return [InBandError("no such", operation="x/y") if question == "b" else question for question in questions]

    ended = await ends(all_of(Batcher(10), "abc", ask))
    assert (ended["a"], ended["c"]) == ("a", "c")
    assert isinstance(ended["b"], InBandError)


async def test_each_caller_gets_an_error_of_its_own() -> None:
    cause = OSError("gone")

    async def ask(questions: Sequence[str]) -> Sequence[str | Exception]:
        raise DecodeError("not so", operation="metric/fetch", path="$.data", status=201) from cause

    errors = [*(await ends(all_of(Batcher(10), "abc", ask))).values()]
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, DecodeError)
        assert (error.operation, error.path, error.status, error.__cause__) == ("metric/fetch", "$.data", 201, cause)
        assert str(error) == "metric/fetch: reply at $.data: not so"
    errors[0].add_note("mine")
    errors[0].amend(operation="mine", attempts=2, message="mine", outcome_unknown=True)
    assert not hasattr(errors[1], "__notes__")
    assert errors[1].operation == "metric/fetch"


class StrangeError(Exception):
    """An error of somebody else, which cannot be made without its keyword."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class StrangerError(Exception):
    """One that cannot even be created without it."""

    def __new__(cls, *, code: int) -> "StrangerError":
        return super().__new__(cls, code)

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


@pytest.mark.parametrize(
    "strange",
    [StrangeError(code=7), StrangerError(code=7), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text")],
    ids=lambda error: type(error).__name__,
)
async def test_errors_that_are_not_of_this_package_come_as_they_are(strange: Exception) -> None:
    async def ask(questions: Sequence[str]) -> Sequence[str | Exception]:
        raise strange

    for error in (await ends(all_of(Batcher(10), "ab", ask))).values():
        assert type(error) is type(strange)
        assert (str(error), vars(error)) == (str(strange), vars(strange))


async def test_notes_that_an_error_has_come_with_it_and_those_of_a_caller_stay_with_the_caller() -> None:
    async def ask(questions: Sequence[str]) -> Sequence[str | Exception]:
        error = ServiceError("down", operation="x/y")
        error.add_note("from below")
        raise error

    first, second = (await ends(all_of(Batcher(10), "ab", ask))).values()
    first.add_note("mine")
    assert (first.__notes__, second.__notes__) == (["from below", "mine"], ["from below"])


async def test_a_traceback_shows_where_the_request_has_failed() -> None:
    async def the_request(questions: Sequence[str]) -> Sequence[str | Exception]:
        raise ServiceError("down", operation="x/y")

    error = (await ends(all_of(Batcher(10), "a", the_request)))["a"]
    names = []
    trace = error.__traceback__
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert names[-1] == "the_request"


# Cancellation -----------------------------------------------------------------------------------------------------


async def cancel(*tasks: "asyncio.Task[str]") -> None:
    """Cancel *tasks*: in a task that is made after them, when they have asked, and before the request is sent."""
    for task in tasks:
        task.cancel()


async def test_who_is_cancelled_before_the_request_is_not_asked_for() -> None:
    ask, batcher = Asked(), Batcher[str, str](10)
    tasks = all_of(batcher, "abc", ask)
    cancelling = asyncio.create_task(cancel(tasks["b"]))
    ended = await ends(tasks)
    await cancelling
    assert (ended["a"], ended["c"]) == ("A", "C")
    assert isinstance(ended["b"], asyncio.CancelledError)
    assert ask.batches == [["a", "c"]]


async def test_nothing_is_asked_if_all_are_cancelled_before() -> None:
    asked: list[Sequence[str]] = []

    def ask(questions: Sequence[str]) -> Coroutine[Any, Any, Sequence[str | Exception]]:
        asked.append(questions)
        return Asked()(questions)

    batcher = Batcher[str, str](10)
    tasks = all_of(batcher, "ab", ask)
    cancelling = asyncio.create_task(cancel(*tasks.values()))
    ended = await ends(tasks)
    await cancelling
    assert {type(end) for end in ended.values()} == {asyncio.CancelledError}
    await turns()
    assert asked == []
    assert await ends(all_of(batcher, "c", ask)) == {"c": "C"}


async def test_who_is_cancelled_meanwhile_does_not_disturb_the_others() -> None:
    ask, batcher = Held(), Batcher[str, str](10)
    tasks = all_of(batcher, "abc", ask)
    await until(lambda: ask.calls.open == ["abc"])
    tasks["b"].cancel()
    await until(tasks["b"].done)
    await turns()
    assert ask.calls.cancelled == []
    ask.calls.give("abc", ["A", "B", "C"])
    ended = await ends(tasks)
    assert (ended["a"], ended["c"]) == ("A", "C")
    assert tasks["b"].cancelled()


async def test_the_request_is_cancelled_when_the_last_of_its_callers_is_gone() -> None:
    ask, batcher = Held(), Batcher[str, str](10)
    tasks = all_of(batcher, "abc", ask)
    await until(lambda: ask.calls.open == ["abc"])
    for task in tasks.values():
        assert ask.calls.cancelled == []
        task.cancel()
        await until(task.done)
    await until(lambda: ask.calls.cancelled == ["abc"])
    await no_task_is_left()


async def test_a_caller_who_runs_out_of_time_is_alone_in_that() -> None:
    ask, batcher = Held(), Batcher[str, str](10)

    async def hasty() -> str:
        async with asyncio.timeout(0):
            return await batcher.get("key", "a", ask)

    tasks = {"a": asyncio.create_task(hasty())} | all_of(batcher, "b", ask)
    await until(tasks["a"].done)
    await until(lambda: bool(ask.calls.open))
    (question,) = ask.calls.open
    ask.calls.give(question, [each.upper() for each in question])
    ended = await ends(tasks)
    assert ended["b"] == "B"
    assert isinstance(ended["a"], TimeoutError)


async def test_who_is_cancelled_in_the_turn_of_the_answer_is_cancelled() -> None:
    ask, batcher = Held(), Batcher[str, str](10)
    tasks = all_of(batcher, "ab", ask)
    await until(lambda: ask.calls.open == ["ab"])
    ask.calls.give("ab", [ServiceError("down", operation="x/y"), "B"])
    while not ask.calls.ended:
        await asyncio.sleep(0)
    tasks["a"].cancel()
    tasks["b"].cancel()
    assert {type(end) for end in (await ends(tasks)).values()} == {asyncio.CancelledError}
    await no_task_is_left()


async def test_all_are_told_if_somebody_cancels_the_request_itself() -> None:
    ask, batcher = Held(), Batcher[str, str](10)
    tasks = all_of(batcher, "ab", ask)
    await until(lambda: ask.calls.open == ["ab"])
    (request,) = asyncio.all_tasks() - {asyncio.current_task(), *tasks.values()}
    request.cancel()
    first, second = (await ends(tasks)).values()
    assert isinstance(first, ClientStateError)
    assert isinstance(second, ClientStateError)
    assert first is not second


# Loops and contexts -----------------------------------------------------------------------------------------------


def test_the_end_of_the_loop_ends_request_and_callers() -> None:
    ask, batcher = Held(), Batcher[str, str](10)
    tasks: dict[str, asyncio.Task[str]] = {}

    async def main() -> None:
        tasks.update(all_of(batcher, "ab", ask))
        await until(lambda: ask.calls.open == ["ab"])

    asyncio.run(main())
    assert [task.cancelled() for task in tasks.values()] == [True, True]
    assert ask.calls.cancelled == ["ab"]


def test_a_question_of_a_loop_that_has_ended_is_not_joined() -> None:
    batcher = Batcher[str, str](10)
    left: list[Coroutine[Any, Any, str]] = []

    def begin() -> None:
        left.append(batcher.get("key", "a", Asked()))
        left[0].send(None)
        loop.stop()  # before the turn in which it would be sent

    loop = asyncio.new_event_loop()
    loop.call_soon(begin)
    loop.run_forever()
    loop.close()
    ask = Asked()
    assert asyncio.run(batcher.get("key", "b", ask)) == "B"
    assert ask.batches == [["b"]]
    left[0].close()


async def test_the_request_has_the_context_of_its_first_caller() -> None:
    seen: list[tuple[str, Effects | None]] = []

    async def ask(questions: Sequence[str]) -> Sequence[str | Exception]:
        seen.append((NAME.get(), EFFECTS.get()))
        return questions

    async def caller(name: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        NAME.set(name)
        EFFECTS.set(Effects(task))
        return await batcher.get("key", name, ask)

    batcher = Batcher[str, str](10)
    assert await asyncio.gather(*map(caller, ("first", "second"))) == ["first", "second"]
    assert seen == [("first", None)]


async def test_a_caller_of_a_bulk_run_says_that_it_waits_and_can_be_taken_back() -> None:
    ask, batcher = Held(), Batcher[str, str](10)
    all_effects: list[Effects] = []

    async def caller() -> str:
        task = asyncio.current_task()
        assert task is not None
        all_effects.append(Effects(task))
        EFFECTS.set(all_effects[0])
        return await batcher.get("key", "a", ask)

    tasks = {"a": asyncio.create_task(caller())}
    await until(lambda: ask.calls.open == ["a"])
    assert (all_effects[0].waiting, all_effects[0].changed) == (1, False)
    all_effects[0].stop_waiting()
    assert isinstance((await ends(tasks))["a"], asyncio.CancelledError)
    assert (all_effects[0].waiting, all_effects[0].was_stopped) == (0, True)
    await until(lambda: ask.calls.cancelled == ["a"])


async def test_a_caller_of_a_bulk_run_that_has_ended_is_not_asked_for() -> None:
    ask, batcher = Asked(), Batcher[str, str](10)

    async def caller() -> str:
        task = asyncio.current_task()
        assert task is not None
        effects = Effects(task)
        effects.stop_waiting()
        EFFECTS.set(effects)
        return await batcher.get("key", "a", ask)

    ended = await ends({"a": asyncio.create_task(caller())} | all_of(batcher, "b", ask))
    assert isinstance(ended["a"], asyncio.CancelledError)
    assert (ended["b"], ask.batches) == ("B", [["b"]])


@pytest.mark.parametrize("count", [1, 7, 100, 250])
async def test_any_number_of_questions_is_answered(count: int) -> None:
    ask, batcher = Asked(), Batcher[str, str](100)
    tasks = [asyncio.create_task(batcher.get("key", f"q{number}", ask)) for number in range(count)]
    async with asyncio.timeout(GUARD):
        assert await asyncio.gather(*tasks) == [f"Q{number}" for number in range(count)]
    assert [len(batch) for batch in ask.batches] == [100] * (count // 100) + ([count % 100] if count % 100 else [])
