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
from aiohttp.http import HttpProcessingError, StreamWriter
from aiohttp.http_exceptions import ContentLengthError, TransferEncodingError
from aiohttp.payload import Payload

from ..errors import (
    CallError,
    CallTimeoutError,
    ClientStateError,
    ConnectionFailedError,
    ConnectionLostError,
    DecodeError,
    one_line,
)
from .deadlines import Deadline
from .effects import EFFECTS, waiting
from .pool import SESSION_CLOSED, Pool
from .refusals import REDIRECT, Refusal, parse_refusal
from .retry import Failed, Failure, Retries, failure_of_status

__all__ = [
    "Attempt",
    "Body",
    "RequestBody",
    "attempt",
    "check_connection",
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

    Args:
        data: the bytes.
        is_careful: whether to look first if the connection has ended, which costs two turns of the loop: for what
            must not be sent again once it has gone out.

    Attributes:
        sent: whether it has begun to go out: the difference between *never* and *maybe*.
        in_doubt: whether it has, and no reply says what became of it.
    """

    _autoclose = True  # there is nothing to close

    def __init__(self, data: bytes, *, is_careful: bool = False) -> None:
        super().__init__(data, content_type="application/json")
        self._size = len(data)
        self._is_careful = is_careful
        self.sent = False
        self.in_doubt = False

    def again(self) -> "RequestBody":
        """The same bytes, of which nothing has been sent."""
        return RequestBody(self._value, is_careful=self._is_careful)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text, for middlewares that look at it."""
        return str(self._value, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body.

        Raises:
            ConnectionResetError: the connection had ended; nothing was sent.
        """
        if self._is_careful:
            # An end that has come in is seen in the next turn, and acted on in the one after.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        check_connection(writer)
        self.sent = self.in_doubt = True
        await writer.write(self._value)


def check_connection(writer: AbstractStreamWriter) -> None:
    """Make sure that what is written to *writer* reaches the socket.

    Raises:
        ConnectionResetError: the connection has ended, as a server ends idle ones.
    """
    if isinstance(writer, StreamWriter) and (writer.transport is None or writer.transport.is_closing()):
        raise ConnectionResetError("the connection was closed before the request could be sent")


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


class Body(Protocol):
    """The body of a request, which notes how much of it has been sent; see `RequestBody`."""

    sent: bool
    in_doubt: bool


async def attempt(
    pool: Pool,
    observer: Observer | None,
    operation: str,
    number: int,
    timeout: float | None,  # noqa: ASYNC109  asyncio.timeout costs a sixth of a call; see pool
    body: Body,
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
            pool.forget_addresses()
            failed = _timed_out(operation, f"timed out after {timeout:g} s", deadline, body)
            failure = failed.error.message
            raise failed from None
        if session.closed and not deadline.is_cancelled():
            # aiohttp cancels those who wait for a connection when a borrowed session is closed.
            failure = SESSION_CLOSED
            raise ClientStateError(SESSION_CLOSED, outcome_unknown=body.in_doubt) from None
        raise
    except (aiohttp.ClientError, OSError) as error:
        pool.forget_addresses()
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
            raise ClientStateError(SESSION_CLOSED, outcome_unknown=body.in_doubt) from error.with_traceback(None)
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
    response: aiohttp.ClientResponse,
    mask: Callable[[str], str],
    redirect: str = REDIRECT,
    deadline: Deadline | None = None,
) -> Refusal:
    """Read a *response* that is no success; the status has said it already if its text does not come.

    Args:
        response: the reply.
        mask: see `parse_refusal`.
        redirect: see `parse_refusal`.
        deadline: that of the attempt.
    """
    data = b""
    try:
        data = await read_up_to(response, _REFUSAL_LIMIT)
    except asyncio.CancelledError:
        if deadline is None or deadline.closed or not deadline.uncancel():
            raise
    except (aiohttp.ClientError, OSError):
        logger.debug("the text of a reply %d has not come whole", response.status)
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


async def wait_to_retry(retries: Retries, *, elapsed: float, is_paused: bool = False) -> None:
    """Wait until the next attempt is due, after the last one was counted as failed.

    Args:
        retries: the attempts of the call.
        elapsed: seconds since the first one began.
        is_paused: whether the time that the service asked for is waited elsewhere.

    Raises:
        CallError: there is no further attempt.
        asyncio.CancelledError: the bulk run that the call is part of is to end.
    """
    effects = EFFECTS.get()
    if effects is not None and retries.maybe_done:
        effects.doubt()
    wait = retries.wait(elapsed=elapsed, is_paused=is_paused, random=random.random)
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


def flaw_of(cause: Exception) -> str | None:
    """What is wrong with a reply that breaks the rules of HTTP, as *cause* has it; None where that is not the failure.

    aiohttp tells of it as if the service had answered 400.
    """
    rule = cause.__cause__
    if not isinstance(rule, HttpProcessingError) or isinstance(cause, aiohttp.ClientHttpProxyError):
        return None
    if isinstance(cause, aiohttp.ClientPayloadError) and isinstance(rule, (TransferEncodingError, ContentLengthError)):
        return None  # it has been cut off
    return f"not valid HTTP: {rule.message.partition('. Please install')[0]}"


def text_of(cause: Exception) -> str:
    """What aiohttp or the operating system says of a connection that failed; never empty."""
    if (flaw := flaw_of(cause)) is not None:
        return f"the reply is {flaw}"
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return f"the proxy does not let the request through: {cause.status} {cause.message}"
    if isinstance(cause, aiohttp.ClientProxyConnectionError):
        return f"cannot connect to the proxy {cause.host}:{cause.port}: {reason_of(cause.os_error)}"
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return f"cannot connect to {cause.host}:{cause.port}: {cause.certificate_error}"
    if isinstance(cause, aiohttp.ClientConnectorError):
        return f"cannot connect to {cause.host}:{cause.port}: {reason_of(cause.os_error)}"
    if isinstance(cause, aiohttp.ClientOSError) and isinstance(cause.__cause__, OSError):
        cause = cause.__cause__  # aiohttp's own text names the URL alone
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
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return (
            Failure.DEFINITE if failure_of_status(cause.status, None) is Failure.DEFINITE else Failure.NEVER_DELIVERED
        )
    # Another try would meet the same certificate, or the same reply.
    is_final = isinstance(cause, aiohttp.ClientConnectorCertificateError) or flaw_of(cause) is not None
    return Failure.DEFINITE if is_final else Failure.NEVER_DELIVERED


def _timed_out(operation: str, message: str, deadline: Deadline, body: Body) -> Failed:
    if body.in_doubt:
        missing = "progress" if deadline.was_put_off else "a complete reply"
        return Failed(CallTimeoutError(f"{message} without {missing}", operation=operation), Failure.UNKNOWN)
    message += " before the request could be sent"
    return Failed(ConnectionFailedError(message, operation=operation, sent=body.sent), Failure.NEVER_DELIVERED)


def _broken(operation: str, cause: Exception, body: Body, mask: Callable[[str], str]) -> Failed:
    text = one_line(mask(text_of(cause))) or type(cause).__name__
    error: CallError
    if body.sent and (flaw := flaw_of(cause)) is not None:
        return Failed(DecodeError(one_line(mask(flaw)), operation=operation, status=None), Failure.UNKNOWN)
    if body.in_doubt:
        error, failure = ConnectionLostError(text, operation=operation), Failure.UNKNOWN
    else:
        error = ConnectionFailedError(text, operation=operation, sent=body.sent)
        failure = never_delivered(cause)
    if mask(repr(cause)) == repr(cause):  # else it would show the token: the request's, or one that came back
        error.__cause__ = cause.with_traceback(None)  # whose variables are the headers and the URL of the request
    return Failed(error, failure)
