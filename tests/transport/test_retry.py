"""When to try again and how long to wait: pure functions."""

import email.utils
import itertools
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ioto_async import InvalidArgumentError, RetryPolicy
from ioto_async.operations import Kind
from ioto_async.transport.options import with_retries
from ioto_async.transport.retry import Failure, failure_of_status, parse_retry_after
from tests.rows import each_row

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)

kinds = st.sampled_from(Kind)
failures = st.sampled_from(Failure)
retryable = st.sampled_from([Failure.NEVER_DELIVERED, Failure.REFUSED])
fractions = st.floats(0, 1, exclude_max=True)


def now() -> datetime:
    return NOW


def wait(
    policy: RetryPolicy,
    failure: Failure = Failure.NEVER_DELIVERED,
    kind: Kind = Kind.READ,
    *,
    attempts: int = 1,
    elapsed: float = 0.0,
    retry_after: float | None = None,
    fraction: float = 0.5,
) -> float | None:
    return policy.wait(
        failure, kind, attempts=attempts, elapsed=elapsed, retry_after=retry_after, random=lambda: fraction
    )


# Statuses ---------------------------------------------------------------------------------------------------------


STATUSES = [
    (408, None, Failure.REFUSED),
    (408, 3.0, Failure.REFUSED),
    (429, None, Failure.REFUSED),
    (429, 3.0, Failure.REFUSED),
    (503, 3.0, Failure.REFUSED),
    (503, 0.0, Failure.REFUSED),
    (503, None, Failure.UNKNOWN),
    (500, None, Failure.UNKNOWN),
    (500, 3.0, Failure.UNKNOWN),
    (502, None, Failure.UNKNOWN),
    (504, 3.0, Failure.UNKNOWN),
    (599, None, Failure.UNKNOWN),
    (400, None, Failure.DEFINITE),
    (400, 3.0, Failure.DEFINITE),
    (401, None, Failure.DEFINITE),
    (403, None, Failure.DEFINITE),
    (404, None, Failure.DEFINITE),
    (409, None, Failure.DEFINITE),
    (301, None, Failure.DEFINITE),
]


@each_row("status, retry_after, failure", STATUSES)
def test_a_status_says_what_became_of_the_request(status: int, retry_after: float | None, failure: Failure) -> None:
    assert failure_of_status(status, retry_after) is failure


# The decision table -----------------------------------------------------------------------------------------------


@each_row("failure, kind", itertools.product(Failure, Kind))
def test_the_decision_table_is_that_of_rule_6(failure: Failure, kind: Kind) -> None:
    retried = {
        Failure.NEVER_DELIVERED: {Kind.READ, Kind.REPLAYABLE, Kind.ONCE},
        Failure.REFUSED: {Kind.READ, Kind.REPLAYABLE, Kind.ONCE},
        Failure.UNKNOWN: {Kind.READ, Kind.REPLAYABLE},
        Failure.DEFINITE: set(),
    }
    assert (wait(RetryPolicy(), failure, kind) is not None) == (kind in retried[failure])


@given(failures, kinds, st.integers(1, 20), st.integers(1, 20))
def test_no_more_attempts_are_made_than_the_policy_allows(
    failure: Failure, kind: Kind, allowed: int, attempts: int
) -> None:
    if wait(RetryPolicy(attempts=allowed), failure, kind, attempts=attempts) is not None:
        assert attempts < allowed


def test_a_policy_of_one_attempt_never_waits() -> None:
    assert wait(RetryPolicy(attempts=1)) is None


# Waits ------------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 10_000),
    fractions,
    st.floats(0, 1e6, allow_subnormal=False),
    st.floats(0, 1e6, allow_subnormal=False),
)
def test_a_wait_lies_between_zero_and_the_doubled_base_and_the_cap(
    attempts: int, fraction: float, base: float, cap: float
) -> None:
    policy = RetryPolicy(attempts=attempts + 1, elapsed=math.inf, base=base, cap=cap)
    seconds = wait(policy, attempts=attempts, fraction=fraction)
    assert seconds is not None
    assert 0 <= seconds <= min(cap, base * 2.0 ** min(attempts - 1, 60))


@each_row("attempts, seconds", {1: 1.0, 2: 2.0, 3: 4.0, 4: 8.0, 5: 10.0, 90: 10.0}.items())
def test_the_bound_of_the_wait_doubles_with_each_attempt_up_to_the_cap(attempts: int, seconds: float) -> None:
    policy = RetryPolicy(attempts=100, base=2, cap=20, elapsed=1000)
    assert wait(policy, attempts=attempts, fraction=0.5) == seconds


def test_the_jitter_is_full() -> None:
    policy = RetryPolicy(base=4)
    assert [wait(policy, fraction=fraction) for fraction in (0.0, 0.25, 0.75)] == [0.0, 1.0, 3.0]


@given(retryable, kinds, st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e9), fractions)
def test_a_wait_that_the_service_asked_for_is_kept_or_the_call_is_given_up(
    failure: Failure, kind: Kind, asked: float, elapsed: float, budget: float, fraction: float
) -> None:
    policy = RetryPolicy(elapsed=budget)
    seconds = wait(policy, failure, kind, retry_after=asked, elapsed=elapsed, fraction=fraction)
    assert seconds == (asked if elapsed + asked <= budget else None)


def test_the_cap_does_not_shorten_what_the_service_asked_for() -> None:
    assert wait(RetryPolicy(cap=1, elapsed=60), Failure.REFUSED, retry_after=30.0) == 30.0


def test_retry_after_zero_is_honoured_as_it_is() -> None:
    assert wait(RetryPolicy(base=8), Failure.REFUSED, retry_after=0.0) == 0.0


@given(st.floats(0, 1e6), st.floats(0, 1e6), fractions)
def test_no_attempt_begins_after_the_elapsed_budget(elapsed: float, budget: float, fraction: float) -> None:
    seconds = wait(RetryPolicy(elapsed=budget), elapsed=elapsed, fraction=fraction)
    assert seconds is None or elapsed + seconds <= budget


# The policy's own arguments ---------------------------------------------------------------------------------------


@each_row(
    "name, value",
    [
        ("attempts", 0),
        ("attempts", -1),
        ("attempts", "3"),
        ("elapsed", -1.0),
        ("elapsed", math.nan),
        ("elapsed", "60"),
        ("base", -0.1),
        ("base", math.nan),
        ("base", None),
        ("cap", -1.0),
        ("cap", math.nan),
    ],
)
def test_a_policy_refuses_settings_that_make_no_sense_and_names_them(name: str, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=name) as refused:
        RetryPolicy(**{name: value})  # type: ignore[arg-type]  # that is the point
    assert isinstance(refused.value, ValueError)


def test_retries_count_the_attempts_after_the_first() -> None:
    assert with_retries(RetryPolicy(base=3), 2) == RetryPolicy(base=3, attempts=3)


@each_row("retries", [-1, 1.0, "2", None, True])
def test_retries_must_be_a_whole_number_from_0(retries: object) -> None:
    with pytest.raises(InvalidArgumentError, match="retries"):
        with_retries(RetryPolicy(), retries)  # type: ignore[arg-type]  # that is the point


# Retry-After ------------------------------------------------------------------------------------------------------


@each_row("value, seconds", {"0": 0.0, "120": 120.0, " 7 ": 7.0, "1.5": 1.5}.items())
def test_retry_after_may_be_seconds(value: str, seconds: float) -> None:
    assert parse_retry_after(value, None, now) == seconds


@each_row(
    "date, seconds",
    [
        ("Sat, 04 May 2024 07:08:08 GMT", 3 * 86400.0),
        ("Tue, 07 May 2024 07:07:38 GMT", 30.0),
        ("Tue, 07 May 2024 07:08:08 GMT", 0.0),
        ("Thu, 09 May 2024 00:00:00 GMT", 0.0),
        ("yesterday", 86399.0),
        ("", 86399.0),
        (None, 86399.0),
    ],
)
def test_a_date_is_measured_against_the_date_of_the_reply(date: str | None, seconds: float) -> None:
    assert parse_retry_after("Tue, 07 May 2024 07:08:08 GMT", date, now) == seconds


def test_no_retry_after_is_none() -> None:
    assert parse_retry_after(None, None, now) is None


DATES = [
    "Mon, 06 May 2024 07:09:09 GMT",
    "Mon, 06 May 2024 07:09:09 -0000",
    "Mon, 06 May 2024 09:09:09 +0200",
    "Monday, 06-May-24 07:09:09 GMT",
    "Mon May  6 07:09:09 2024",
]


@each_row("value", DATES)
def test_retry_after_may_be_a_date_in_every_form_that_http_knows(value: str) -> None:
    assert parse_retry_after(value, None, now) == 60.0


def test_a_date_that_is_past_means_now() -> None:
    assert parse_retry_after("Mon, 06 May 2024 07:08:08 GMT", None, now) == 0.0


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
def test_a_date_gives_the_seconds_until_then(date: datetime) -> None:
    date = date.replace(microsecond=0, tzinfo=UTC)
    text = email.utils.format_datetime(date, usegmt=True)
    assert parse_retry_after(text, None, now) == max((date - NOW) / timedelta(seconds=1), 0.0)


@each_row("value", ["", " ", "soon", "-1", "nan", "inf", "-inf", "1e999", "Mon, 99 May 2024 07:08:08 GMT"])
def test_a_senseless_retry_after_is_none(value: str) -> None:
    assert parse_retry_after(value, None, now) is None


@given(
    st.text() | st.from_regex(r"\A[0-9]{1,25} (Jan|Foo) [0-9]{1,25} [0-9]{1,25}:[0-9]{2}:[0-9]{2} [+-]?[0-9]{1,25}\Z")
)
@example("1 Jan 99999999999999999999 00:00:00 GMT")
@example("Mon, 1 Jan 2024 00:00:00 +99999999999999999999")
def test_no_header_makes_the_parser_fail(value: str) -> None:
    seconds = parse_retry_after(value, None, now)
    assert seconds is None or 0 <= seconds < math.inf
