"""The failed attempts of one call: what is remembered, how long to wait, and which error is final; no network."""

import asyncio

import pytest

from ioto_async import (
    CallError,
    ConnectionLostError,
    DecodeError,
    OutcomeUnknownError,
    RateLimitedError,
    RetryPolicy,
    ServiceError,
)
from ioto_async.operations import Kind
from ioto_async.transport.attempt import wait_to_retry
from ioto_async.transport.effects import EFFECTS, Effects
from ioto_async.transport.retry import Failure, Retries


def lost(text: str = "gone", retry_after: float | None = None) -> CallError:
    return ConnectionLostError(text, operation="", retry_after=retry_after)


def retries(
    kind: Kind, *failures: Failure, policy: RetryPolicy | None = None, error: CallError | None = None
) -> Retries:
    """A call whose attempts have failed so far."""
    made = Retries("device/get", kind, policy or RetryPolicy(base=0))
    for failure in failures:
        made.failed(error or lost(), failure)
    return made


def next_wait(of: Retries, *, elapsed: float = 0.0, is_paused: bool = False) -> float:
    return of.wait(elapsed=elapsed, is_paused=is_paused, random=lambda: 0.5)


def test_the_error_of_an_attempt_says_whose_it_was_and_which() -> None:
    call = retries(Kind.READ, Failure.UNKNOWN)
    error = lost("the last one")
    call.failed(error, Failure.REFUSED)
    assert (call.attempts, call.error) == (2, error)
    assert (error.operation, error.attempts, error.message) == ("device/get", 2, "the last one")
    assert str(error) == "device/get: the last one (2 attempts)"


def test_an_earlier_attempt_that_may_have_done_the_work_is_remembered() -> None:
    never, refused, unknown, definite = Failure
    table: list[tuple[Kind, tuple[Failure, ...], bool]] = [
        (Kind.REPLAYABLE, (never, refused, definite), False),
        (Kind.REPLAYABLE, (unknown,), True),
        (Kind.REPLAYABLE, (unknown, never), True),
        (Kind.REPLAYABLE, (unknown, refused, definite), True),
        (Kind.ONCE, (never, refused), False),
        (Kind.ONCE, (refused, unknown), True),
        (Kind.READ, (unknown, unknown), False),
    ]
    wrong = [
        (kind, failures)
        for kind, failures, maybe_done in table
        if (call := retries(kind, *failures)).maybe_done is not maybe_done
        or call.error.outcome_unknown is not maybe_done
    ]
    assert wrong == []


@pytest.mark.parametrize(("kind", "maybe_done"), [(Kind.READ, False), (Kind.REPLAYABLE, True), (Kind.ONCE, True)])
def test_a_reply_that_cannot_be_read_may_have_told_of_success(kind: Kind, maybe_done: bool) -> None:
    call = retries(kind, Failure.DEFINITE, error=DecodeError("no JSON", operation=""))
    assert call.maybe_done is maybe_done


def test_what_had_not_gone_out_whole_is_not_done() -> None:
    call = retries(Kind.REPLAYABLE)
    call.failed(lost(), Failure.UNKNOWN, could_be_done=False)
    assert (call.maybe_done, call.error.outcome_unknown) == (False, False)


def test_the_waits_are_those_of_the_policy() -> None:
    policy = RetryPolicy(attempts=9, base=2, cap=5)
    call = retries(Kind.READ, policy=policy)
    waits = []
    for _ in range(3):
        call.failed(lost(), Failure.UNKNOWN)
        waits.append(next_wait(call))
    assert waits == [1.0, 2.0, 2.5]
    call.failed(lost(retry_after=7.0), Failure.REFUSED)
    assert next_wait(call) == 7.0
    assert next_wait(call, is_paused=True) == 2.5, "it is waited for elsewhere"


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_call_that_is_asked_to_wait_longer_than_allowed_fails(is_paused: bool) -> None:
    call = Retries("device/get", Kind.READ, RetryPolicy(elapsed=1e9), max_retry_after=5.0)
    call.failed(lost(retry_after=5.0), Failure.REFUSED)
    assert 0 <= next_wait(call, is_paused=is_paused) <= 5.0
    call.failed(lost(retry_after=5.1), Failure.REFUSED)
    with pytest.raises(ConnectionLostError):
        next_wait(call, is_paused=is_paused)


@pytest.mark.parametrize(
    ("kind", "failures", "elapsed", "retry_after"),
    [
        pytest.param(Kind.READ, [Failure.UNKNOWN] * 3, 0.0, None, id="no more attempts"),
        pytest.param(Kind.READ, [Failure.UNKNOWN], 61.0, None, id="no more time"),
        pytest.param(Kind.READ, [Failure.REFUSED], 31.0, 30.0, id="no time for Retry-After"),
        pytest.param(Kind.ONCE, [Failure.REFUSED] * 3, 0.0, None, id="refused for good"),
        pytest.param(Kind.REPLAYABLE, [Failure.DEFINITE], 0.0, None, id="definite"),
    ],
)
def test_the_last_error_is_final_when_there_are_no_more_attempts(
    kind: Kind, failures: list[Failure], elapsed: float, retry_after: float | None
) -> None:
    call = retries(kind, *failures, policy=RetryPolicy(attempts=3), error=lost(retry_after=retry_after))
    with pytest.raises(CallError) as caught:
        next_wait(call, elapsed=elapsed)
    assert caught.value is call.error


def test_what_must_not_be_repeated_ends_with_an_unknown_outcome() -> None:
    cause = ServiceError("on fire", operation="", status=500, retry_after=9.0)
    call = retries(Kind.ONCE, Failure.REFUSED, error=RateLimitedError("slow", operation="", status=429))
    call.failed(cause, Failure.UNKNOWN)
    with pytest.raises(OutcomeUnknownError) as caught:
        next_wait(call)
    error = caught.value
    assert error.__cause__ is cause
    assert error.message == "sent, but whether it worked is not known: on fire"
    assert (error.operation, error.status, error.attempts) == ("device/get", 500, 2)
    assert (error.outcome_unknown, error.retry_after) == (True, 9.0)


# As part of a bulk run --------------------------------------------------------------------------------------------


async def effects_of(call: Retries, *, is_stopping: bool = False) -> tuple[Effects, type[BaseException] | None]:
    """What is noted while *call* waits for its next attempt, and how that ends."""
    task = asyncio.current_task()
    assert task is not None
    effects = Effects(task)
    effects.is_stopping = is_stopping
    token = EFFECTS.set(effects)
    try:
        await wait_to_retry(call, elapsed=0.0)
    except (CallError, asyncio.CancelledError) as error:
        return effects, type(error)
    finally:
        EFFECTS.reset(token)
    return effects, None


async def test_a_further_attempt_is_noted() -> None:
    effects, end = await effects_of(retries(Kind.READ, Failure.UNKNOWN))
    assert (effects.retries, effects.changed, effects.in_doubt, effects.waiting, end) == (1, False, False, 0, None)


async def test_what_may_have_been_done_is_noted_though_there_is_a_further_attempt() -> None:
    effects, end = await effects_of(retries(Kind.REPLAYABLE, Failure.UNKNOWN, Failure.REFUSED))
    assert (effects.retries, effects.changed, effects.in_doubt, end) == (1, True, True, None)


async def test_what_may_have_been_done_is_noted_though_there_is_no_further_attempt() -> None:
    effects, end = await effects_of(retries(Kind.ONCE, Failure.UNKNOWN))
    assert (effects.retries, effects.changed, effects.in_doubt, end) == (0, True, True, OutcomeUnknownError)


async def test_nothing_is_waited_for_where_the_run_is_to_end() -> None:
    effects, end = await effects_of(retries(Kind.READ, Failure.UNKNOWN), is_stopping=True)
    assert (effects.was_stopped, effects.waiting, end) == (True, 0, asyncio.CancelledError)
