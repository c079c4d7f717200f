"""When to try again, and after how long: pure decisions, no clock and no socket.

Source: architecture rules 5 to 8. A failure is of one of four sorts, an operation of one of three kinds:

=================  ======  ==========  ====================
failure            READ    REPLAYABLE  ONCE
=================  ======  ==========  ====================
NEVER_DELIVERED    retry   retry       retry
REFUSED            retry   retry       retry
UNKNOWN            retry   retry       OutcomeUnknownError
DEFINITE           raise   raise       raise
=================  ======  ==========  ====================
"""

import email.utils
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Final

import attrs

from ..errors import CallError, DecodeError, OutcomeUnknownError
from ..operations import Kind
from ..settings import is_number, must_be, whole_number

__all__ = [
    "MAX_RETRY_AFTER",
    "Failed",
    "Failure",
    "Retries",
    "RetryPolicy",
    "failure_of_status",
    "parse_retry_after",
]

MAX_RETRY_AFTER: Final = 120.0
"""Seconds of a ``Retry-After`` that are waited for where nothing else is said."""


class Failure(Enum):
    """What is known of a request that failed."""

    NEVER_DELIVERED = "never delivered"
    """The service has not seen it."""
    REFUSED = "refused without work"
    """408, 429, or 503 with ``Retry-After``."""
    UNKNOWN = "outcome unknown"
    """Other 5xx, a connection that broke, or no reply in time after sending."""
    DEFINITE = "definite"
    """Seen and turned down."""


class Failed(Exception):
    """An attempt that did not succeed: what to raise if it was the last, and what is known of it."""

    def __init__(self, error: CallError, failure: Failure) -> None:
        self.error = error
        self.failure = failure


def failure_of_status(status: int, retry_after: float | None) -> Failure:
    """Sort a reply that is not a success by its *status*."""
    if status in (408, 429) or (status == 503 and retry_after is not None):
        return Failure.REFUSED
    return Failure.UNKNOWN if status >= 500 else Failure.DEFINITE


def parse_retry_after(value: str | None, date: str | None, now: Callable[[], datetime]) -> float | None:
    """Seconds that a ``Retry-After`` header asks for: a number or an HTTP date; None if absent or senseless.

    Args:
        value: the header.
        date: the ``Date`` header of the same reply, which a date is measured against: clocks differ.
        now: gives the present where there is none; aware.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        end = _parse_date(value)
        return None if end is None else max((end - (_parse_date(date or "") or now())).total_seconds(), 0.0)
    return seconds if 0 <= seconds < float("inf") else None


def _parse_date(value: str) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)


_OF: Final = "RetryPolicy"
_whole: Final = whole_number(1, of=_OF)
_budget: Final = must_be("seconds from 0", lambda value: is_number(value) and value >= 0, of=_OF)
_wait: Final = must_be("seconds from 0", lambda value: is_number(value) and 0 <= value <= 1e9, of=_OF)


@attrs.frozen
class RetryPolicy:
    """How often and how long a call is tried.

    Waits use full jitter: a random time between 0 and ``base * 2**n`` seconds, at most ``cap``. A ``Retry-After`` is
    honoured as it is and never shortened; where it does not fit into the budget, the call fails with
    ``retry_after`` set.
    """

    attempts: int = attrs.field(default=4, validator=_whole)
    """How many times a request is sent at most."""
    elapsed: float = attrs.field(default=60.0, validator=_budget)
    """Seconds since the first attempt after which no further one begins; infinity for no limit."""
    base: float = attrs.field(default=0.25, validator=_wait)
    """Seconds; upper bound of the first wait."""
    cap: float = attrs.field(default=8.0, validator=_wait)
    """Seconds; upper bound of every wait that the service did not ask for."""

    def wait(
        self,
        failure: Failure,
        kind: Kind,
        *,
        attempts: int,
        elapsed: float,
        retry_after: float | None,
        random: Callable[[], float],
    ) -> float | None:
        """Seconds to wait before the next attempt, or None to give up.

        Args:
            failure: the sort of the last failure.
            kind: the kind of the operation.
            attempts: how many times the request was tried so far.
            elapsed: seconds since the first attempt began.
            retry_after: seconds that the service asked for, if it did.
            random: source of numbers in [0, 1).
        """
        if failure is Failure.DEFINITE or (failure is Failure.UNKNOWN and kind is Kind.ONCE):
            return None
        if attempts >= self.attempts:
            return None
        wait = retry_after
        if wait is None:
            # The exponent is bounded: 2.0**1100 would overflow long after any cap has been reached.
            wait = random() * min(self.cap, self.base * 2.0 ** min(attempts - 1, 60))
        return wait if elapsed + wait <= self.elapsed else None


class Retries:
    """The attempts of one call that have failed, and what follows from them.

    Made at the first failure, so that a call that succeeds pays nothing for it.

    Args:
        operation: what errors and log call it.
        kind: the kind of the operation.
        policy: how often and how long to try.
        max_retry_after: seconds of a ``Retry-After`` that are waited for.

    Attributes:
        operation: see above.
        attempts: how many have failed.
        error: what the last one failed with.
        maybe_done: whether one of them may have done the work.
    """

    __slots__ = ("_failure", "_kind", "_max_retry_after", "_policy", "attempts", "error", "maybe_done", "operation")

    error: CallError
    _failure: Failure

    def __init__(
        self, operation: str, kind: Kind, policy: RetryPolicy, max_retry_after: float = MAX_RETRY_AFTER
    ) -> None:
        self.operation = operation
        self._kind = kind
        self._policy = policy
        self._max_retry_after = max_retry_after
        self.attempts = 0
        self.maybe_done = False

    def failed(self, error: CallError, failure: Failure, *, could_be_done: bool = True) -> None:
        """Count an attempt that has failed, and add to its *error* what only the sender knows.

        Args:
            error: what it failed with; there are no secrets in its text.
            failure: the sort of the failure.
            could_be_done: whether so much of the request had gone out that the work may have been done.
        """
        self.attempts += 1
        self.error, self._failure = error, failure
        # A reply that cannot be read may be one of success.
        is_unknown = failure is Failure.UNKNOWN or isinstance(error, DecodeError)
        if is_unknown and could_be_done and self._kind is not Kind.READ:
            self.maybe_done = True
        error.amend(
            operation=self.operation,
            attempts=self.attempts,
            message=error.message,
            outcome_unknown=self.maybe_done,
        )

    def wait(self, *, elapsed: float, random: Callable[[], float], is_paused: bool = False) -> float:
        """Seconds to wait before the next attempt.

        Args:
            elapsed: seconds since the first attempt began.
            random: source of numbers in [0, 1).
            is_paused: whether the time that the service asked for is waited elsewhere.

        Raises:
            CallError: there is none. It is the last error, or, of what must not be repeated, that its outcome is
                unknown.
        """
        retry_after = self.error.retry_after
        is_too_long = retry_after is not None and retry_after > self._max_retry_after
        if is_too_long or isinstance(self.error, DecodeError):  # another reply would be no better
            wait = None
        else:
            wait = self._policy.wait(
                self._failure,
                self._kind,
                attempts=self.attempts,
                elapsed=elapsed,
                retry_after=None if is_paused else retry_after,
                random=random,
            )
        if wait is not None:
            return wait
        if self._failure is Failure.UNKNOWN and self._kind is Kind.ONCE:
            raise OutcomeUnknownError(
                f"sent, but whether it worked is not known: {self.error.message}",
                operation=self.operation,
                status=self.error.status,
                attempts=self.attempts,
                outcome_unknown=True,
                retry_after=self.error.retry_after,
            ) from self.error
        raise self.error
