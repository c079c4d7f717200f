"""One attempt of a request: its deadline, its observer, and what a failure means; the wait before the next one."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

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
from .fast_protocol import closed_before
from .pool import SESSION_CLOSED, Pool
from .retry import Failed, Failure, Retries, failure_of_status

if TYPE_CHECKING:
    from .refusals import Refusal

__all__ = [
    "Attempt",
    "Body",
    "RequestBody",
    "RequestPayload",
    "Response",
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


class RequestBody:
    """JSON bytes, made once, and what has become of them in the present attempt, however often that sends them.

    Args:
        data: the bytes.
        is_careful: whether to look first if the connection has ended, which costs two turns of the loop: for what
            must not be sent again once it has gone out.

    Attributes:
        data: see above.
        is_careful: see above.
        sent: whether it has begun to go out: the difference between *never* and *maybe*.
        in_doubt: whether it has, and no reply says what became of it.
    """

    __slots__ = ("data", "in_doubt", "is_careful", "sent")

    def __init__(self, data: bytes, *, is_careful: bool = False) -> None:
        self.data = data
        self.is_careful = is_careful
        self.sent = self.in_doubt = False

    def begin(self) -> None:
        """Begin an attempt: nothing of it has been sent."""
        self.sent = self.in_doubt = False

    async def go_out(self) -> None:
        """Wait before it is written, as it is careful: an end of the connection that has come in shows by then."""
        # It is seen in the next turn of the loop, and acted on in the one after.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


class RequestPayload(Payload):
    """A `RequestBody` for aiohttp, which a request's middlewares send as often as they like.

    Attributes:
        body: see above.
    """

    _autoclose = True  # there is nothing to close

    def __init__(self, body: RequestBody) -> None:
        super().__init__(body.data, content_type="application/json")
        self._size = len(body.data)
        self.body = body

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text, for middlewares that look at it."""
        return str(self.body.data, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body.

        Raises:
            ConnectionResetError: the connection had ended; nothing was sent.
        """
        if self.body.is_careful:
            await self.body.go_out()
        check_connection(writer)
        self.body.sent = self.body.in_doubt = True
        await writer.write(self.body.data)


def check_connection(writer: AbstractStreamWriter) -> None:
    """Make sure that what is written to *writer* reaches the socket.

    Raises:
        ConnectionResetError: the connection has ended, as a server ends idle ones.
    """
    if isinstance(writer, StreamWriter) and (writer.transport is None or writer.transport.is_closing()):
        raise closed_before()


logger = logging.getLogger("ioto_async")

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


class Response(Protocol):
    """What is used of an `aiohttp.ClientResponse`."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def reason(self) -> str | None:
        """What the first line says beside it."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, whatever the case."""

    @property
    def content_length(self) -> int | None:
        """What the header says, bytes."""

    @property
    def content(self) -> aiohttp.StreamReader:
        """The body, to be read in parts."""

    async def read(self) -> bytes:
        """The whole body."""

    def close(self) -> None:
        """Close the connection, as the body is not wanted."""


class attempt:  # noqa: N801  a statement, as `asyncio.timeout` is
    """Do in the body of a ``with`` statement one attempt of a request, and tell what its failure means.

    Args:
        pool: where the session is from; it is open.
        observer: called with the `Attempt` when it is over.
        operation: what to call it.
        number: 1 for the first attempt.
        started: when it began, as `time.monotonic` says.
        timeout: seconds until the deadline, which the body may put off.
        body: the request's.
        mask: takes secrets out of a text.

    Attributes:
        deadline: that of the attempt.
        number: see above.
        started: see above.
        status: of a complete reply; 200 unless the body of the statement sets it.

    Raises:
        Failed: another attempt may do better, or may not.
        CallError: none will.
        ClientStateError: the client was closed meanwhile.
    """

    __slots__ = (
        "_body",
        "_deadlines",
        "_mask",
        "_observer",
        "_operation",
        "_pool",
        "_session",
        "_timeout",
        "deadline",
        "number",
        "started",
        "status",
    )

    deadline: Deadline

    def __init__(
        self,
        pool: Pool,
        observer: Observer | None,
        operation: str,
        number: int,
        started: float,
        timeout: float | None,
        body: Body,
        mask: Callable[[str], str],
    ) -> None:
        self._pool = pool
        self._observer = observer
        self._operation = operation
        self.number = number
        self.started = started
        self._timeout = timeout
        self._body = body
        self._mask = mask
        self.status: int | None = 200

    def __enter__(self) -> Self:
        # Those of now: the pool may be closed, and be opened again, meanwhile.
        self._session, self._deadlines = self._pool.session, self._pool.deadlines
        self.deadline = self._deadlines.start(self._timeout, self.started)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._observer is None:
            self._deadlines.stop(self.deadline)
            return
        meant, failure = (None, None)
        if error is not None:
            self.status = None
            meant, failure = self._meaning(error)
        self._deadlines.stop(self.deadline)
        if self._observer is not None:
            elapsed = time.monotonic() - self.started
            _observe(self._observer, Attempt(self._operation, self.number, self.status, elapsed, failure))
        if meant is not None and meant is not error:
            raise meant from meant.__cause__

    def _meaning(self, error: BaseException) -> tuple[BaseException, str]:
        """What to raise for *error*, which may be itself, and what to tell an observer."""
        if isinstance(error, asyncio.CancelledError):
            return self._cancelled(error)
        if isinstance(error, (aiohttp.ClientError, OSError)):
            self._pool.forget_addresses()
            failed = _broken(self._operation, error, self._body, self._mask)
            return failed, failed.error.message
        if isinstance(error, Failed):
            self.status = error.error.status
            return error, error.error.message
        if isinstance(error, CallError):
            self.status, error.sent = error.status, self._body.sent
            return error, error.message
        if not isinstance(error, Exception):
            return error, "cancelled"
        failure = type(error.__cause__ or error).__name__
        if self._session.closed and isinstance(error, RuntimeError):
            closed = ClientStateError(SESSION_CLOSED, outcome_unknown=self._body.in_doubt)
            closed.__cause__ = error.with_traceback(None)
            return closed, failure
        return error, failure

    def _cancelled(self, error: asyncio.CancelledError) -> tuple[BaseException, str]:
        if self.deadline.uncancel():
            if self.deadline.closed:
                return ClientStateError(_CLOSED, outcome_unknown=self._body.in_doubt), _CLOSED
            self._pool.forget_addresses()
            failed = _timed_out(self._operation, f"timed out after {self._timeout:g} s", self.deadline, self._body)
            return failed, failed.error.message
        if self._session.closed and not self.deadline.is_cancelled():
            # aiohttp cancels those who wait for a connection when a borrowed session is closed.
            return ClientStateError(SESSION_CLOSED, outcome_unknown=self._body.in_doubt), SESSION_CLOSED
        return error, "cancelled"


def _observe(observer: Observer, seen: Attempt) -> None:
    try:
        observer(seen)
    except Exception:  # the result of a call that worked must not be lost to a broken observer
        logger.exception("the observer raised on %s", seen)


async def read_up_to(response: Response, limit: int) -> bytes:
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
    response: Response,
    mask: Callable[[str], str],
    redirect: str | None = None,
    deadline: Deadline | None = None,
) -> "Refusal":
    """Read a *response* that is no success; the status has said it already if its text does not come.

    Args:
        response: the reply.
        mask: see `parse_refusal`.
        redirect: see `parse_refusal`.
        deadline: that of the attempt.
    """
    from .refusals import parse_refusal

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


async def wait_to_retry(retries: Retries, *, elapsed: float, is_paused: bool = False, is_played: bool = False) -> None:
    """Wait until the next attempt is due, after the last one was counted as failed.

    Args:
        retries: the attempts of the call.
        elapsed: seconds since the first one began.
        is_paused: whether the time that the service asked for is waited elsewhere.
        is_played: whether the reply came from a cassette, so that the next one is there already.

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
        await asyncio.sleep(0 if is_played else wait)


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
