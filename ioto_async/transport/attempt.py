"""One attempt of a request: its deadline, its observer, and what a failure means; the wait before the next one."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

import aiohttp
import attrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from ..errors import (
    CallError,
    CallTimeoutError,
    ClientStateError,
    ConnectionFailedError,
    ConnectionLostError,
    one_line,
)
from .deadlines import Deadline
from .effects import EFFECTS, waiting
from .pool import SESSION_CLOSED, Pool
from .refusals import REDIRECT, Refusal, parse_refusal
from .retry import Failed, Failure, Retries

__all__ = [
    "Attempt",
    "Delivery",
    "RequestBody",
    "attempt",
    "did_nothing",
    "never_delivered",
    "read_refusal",
    "read_up_to",
    "reason_of",
    "text_of",
    "wait_to_retry",
]


class RequestBody(Payload):
    """JSON bytes, made once and sent by every attempt's middlewares as often as they like.

    Attributes:
        sent: whether it has begun to go out: the difference between *never* and *maybe*.
        in_doubt: whether it has, and no reply says what became of it.
    """

    _autoclose = True  # there is nothing to close

    def __init__(self, data: bytes) -> None:
        super().__init__(data, content_type="application/json")
        self._size = len(data)
        self.sent = False
        self.in_doubt = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text, for middlewares that look at it."""
        return str(self._value, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body."""
        self.sent = self.in_doubt = True
        await writer.write(self._value)


logger = logging.getLogger("ioto_async")

T = TypeVar("T")

_CLOSED: Final = "the client was closed meanwhile"
_REFUSAL_LIMIT: Final = 1 << 16
"""Bytes of a reply that is no success that are read; what it says is one line."""

Observer = Callable[["Attempt"], None]


@attrs.frozen
class Attempt:
    """One attempt of a call, as an observer sees it when it is over."""

    operation: str
    """``controller/action``; of a transfer through a signed URL ``controller/upload`` or the like."""
    number: int
    """1 for the first attempt of a call."""
    status: int | None
    """HTTP status, or None where there was no complete reply."""
    elapsed: float
    """Seconds."""
    failure: str | None
    """What went wrong, or None for a 2xx."""


class Delivery(Protocol):
    """How much of a request has been sent; see `ioto_async.transport.attempt.RequestBody`."""

    sent: bool
    in_doubt: bool


async def attempt(
    pool: Pool,
    observer: Observer | None,
    operation: str,
    number: int,
    timeout: float | None,  # noqa: ASYNC109  asyncio.timeout costs a sixth of a call; see pool
    body: Delivery,
    mask: Callable[[str], str],
    exchange: Callable[[aiohttp.ClientSession, Deadline], Awaitable[tuple[int, T]]],
) -> tuple[int, T]:
    """Do *exchange* once, within *timeout*, and return the status and the result of it.

    Args:
        pool: where the session is from.
        observer: called with the `Attempt` when it is over.
        operation: what to call it.
        number: 1 for the first attempt.
        timeout: seconds until the deadline, which *exchange* may put off.
        body: the request's.
        mask: takes secrets out of a text.
        exchange: sends the request and reads the reply.

    Raises:
        Failed: another attempt may do better, or may not.
        CallError: none will.
        ClientStateError: the client was closed meanwhile.
    """
    session = pool.session if pool.loop is asyncio.get_running_loop() else await pool.open()
    deadlines = pool.deadlines
    status = None
    failure: str | None = "cancelled"
    started = time.perf_counter()
    deadline = deadlines.start(timeout)
    try:
        status, result = await exchange(session, deadline)
        failure = None
    except asyncio.CancelledError:
        if deadline.uncancel():
            if deadline.closed:
                failure = _CLOSED
                raise ClientStateError(_CLOSED, outcome_unknown=body.in_doubt) from None
            failed = _timed_out(operation, f"timed out after {timeout:g} s", deadline, body)
            failure = failed.error.message
            raise failed from None
        if session.closed and not deadline.is_cancelled():
            # aiohttp cancels those who wait for a connection when a borrowed session is closed.
            failure = SESSION_CLOSED
            raise ClientStateError(SESSION_CLOSED, outcome_unknown=body.in_doubt) from None
        raise
    except (aiohttp.ClientError, OSError) as error:
        failed = _broken(operation, error, body, mask)
        failure = failed.error.message
        raise failed from None
    except Failed as failed:
        status, failure = failed.error.status, failed.error.message
        raise
    except CallError as error:
        status, failure = error.status, error.message
        error.sent = body.sent
        raise
    except Exception as error:
        failure = type(error.__cause__ or error).__name__
        if session.closed and isinstance(error, RuntimeError):
            raise ClientStateError(SESSION_CLOSED, outcome_unknown=body.in_doubt) from error
        raise
    finally:
        deadlines.stop(deadline)
        if observer is not None:
            _observe(observer, Attempt(operation, number, status, time.perf_counter() - started, failure))
    return status, result


def _observe(observer: Observer, seen: Attempt) -> None:
    try:
        observer(seen)
    except Exception:  # the result of a call that worked must not be lost to a broken observer
        logger.exception("the observer raised on %s", seen)


async def read_up_to(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body; of one that is longer than *limit* its first bytes, more than that, and the connection is closed."""
    data = bytearray()
    try:
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > limit:
                response.close()
                break
    except BaseException:
        response.close()
        raise
    return bytes(data)


async def read_refusal(
    response: aiohttp.ClientResponse, mask: Callable[[str], str], redirect: str = REDIRECT
) -> Refusal:
    """Read a *response* that is no success; *mask* and *redirect* are those of `parse_refusal`."""
    try:
        data = await read_up_to(response, _REFUSAL_LIMIT)
    except (aiohttp.ClientError, OSError):
        data = b""  # the status has said it already
    if response.status < 200:
        response.close()  # another protocol is spoken there from now on
    return parse_refusal(
        response.status,
        response.reason,
        response.headers,
        data,
        mask=mask,
        now=lambda: datetime.now(UTC),
        redirect=redirect,
    )


async def wait_to_retry(retries: Retries, *, elapsed: float, retry_after: float | None) -> None:
    """Wait until the next attempt is due, after the last one was counted as failed.

    Args:
        retries: the attempts of the call.
        elapsed: seconds since the first one began.
        retry_after: seconds that the service asked for, if it did, and they are to be waited here.

    Raises:
        CallError: there is no further attempt.
        asyncio.CancelledError: the bulk run that the call is part of is to end.
    """
    effects = EFFECTS.get()
    if effects is not None and retries.maybe_done:
        effects.doubt()
    wait = retries.wait(elapsed=elapsed, retry_after=retry_after, random=random.random)
    logger.info(
        "%s: retry in %.2f s after attempt %d: %s", retries.operation, wait, retries.attempts, retries.error.message
    )
    if effects is not None:
        effects.retries += 1
    with waiting(effects):
        await asyncio.sleep(wait)


def did_nothing(error: BaseException) -> bool:
    """Whether an attempt that ended with *error* is known to have done nothing."""
    return isinstance(error, Failed) and error.failure is not Failure.UNKNOWN


def text_of(cause: Exception) -> str:
    """What aiohttp or the operating system says of a connection that failed; never empty."""
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return f"cannot connect to {cause.host}:{cause.port}: {cause.certificate_error}"
    if isinstance(cause, aiohttp.ClientConnectorError):
        return f"cannot connect to {cause.host}:{cause.port}: {reason_of(cause.os_error)}"
    return str(cause) or type(cause).__name__


def reason_of(error: OSError) -> str:
    """What the operating system or the TLS library says of a connection that failed; never empty."""
    if text := error.strerror or str(error):
        return text
    if isinstance(error, ConnectionResetError):  # asyncio's own, which says nothing
        return "closed during the TLS handshake: the host may want another version of TLS, or a client certificate"
    return type(error).__name__


def never_delivered(cause: Exception) -> Failure:
    """The sort of a failure that has kept a request from being delivered."""
    # Another try would meet the same certificate.
    is_certificate = isinstance(cause, aiohttp.ClientConnectorCertificateError)
    return Failure.DEFINITE if is_certificate else Failure.NEVER_DELIVERED


def _timed_out(operation: str, message: str, deadline: Deadline, body: Delivery) -> Failed:
    if body.in_doubt:
        missing = "progress" if deadline.was_put_off else "a complete reply"
        return Failed(CallTimeoutError(f"{message} without {missing}", operation=operation), Failure.UNKNOWN)
    message += " before the request could be sent"
    return Failed(ConnectionFailedError(message, operation=operation, sent=body.sent), Failure.NEVER_DELIVERED)


def _broken(operation: str, cause: Exception, body: Delivery, mask: Callable[[str], str]) -> Failed:
    text = one_line(mask(text_of(cause))) or type(cause).__name__
    error: CallError
    if body.in_doubt:
        error, failure = ConnectionLostError(text, operation=operation), Failure.UNKNOWN
    else:
        error = ConnectionFailedError(text, operation=operation, sent=body.sent)
        failure = never_delivered(cause)
    if mask(repr(cause)) == repr(cause):  # else it would show the token: the request's, or one that came back
        error.__cause__ = cause
    return Failed(error, failure)
