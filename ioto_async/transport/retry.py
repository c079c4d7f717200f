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

from ..operations import Kind
from ..settings import is_number, must_be, whole_number

__all__ = ["Failure", "RetryPolicy", "failure_of_status", "parse_retry_after"]


class Failure(Enum):
    """What is known of a request that failed."""

    NEVER_DELIVERED = "never delivered"
    """The service has not seen it."""
    REFUSED = "refused without work"
    """429, or 503 with ``Retry-After``."""
    UNKNOWN = "outcome unknown"
    """Other 5xx, a connection that broke, or no reply in time after sending."""
    DEFINITE = "definite"
    """Seen and turned down."""


def failure_of_status(status: int, retry_after: float | None) -> Failure:
    """Sort a reply that is not a success by its *status*."""
    if status == 429 or (status == 503 and retry_after is not None):
        return Failure.REFUSED
    return Failure.UNKNOWN if status >= 500 else Failure.DEFINITE


def parse_retry_after(value: str | None, now: Callable[[], datetime]) -> float | None:
    """Seconds that a ``Retry-After`` header asks for: a number or an HTTP date; None if absent or senseless.

    Args:
        value: the header.
        now: gives the present, for a date; aware.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now()).total_seconds()
        return max(seconds, 0.0)
    return seconds if 0 <= seconds < float("inf") else None


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
