"""One call: its attempts, the reply of each, and what a failure means.

Every call passes here, so what can be is made once (URLs, headers, middlewares), and what is rarely needed is looked at
only then.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Final, Literal, TypeVar

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from .._version import __version__
from ..codec import encoding
from ..codec.reading import LARGE, Decoder, Reading, in_steps
from ..errors import (
    CallError,
    CallTimeoutError,
    ClientStateError,
    ConnectionFailedError,
    DecodeError,
    PoolTimeoutError,
    RateLimitedError,
)
from ..operations import Kind, Operation
from ..settings import check_headers, check_names
from .attempt import (
    RequestBody,
    RequestPayload,
    Response,
    attempt,
    did_nothing,
    read_refusal,
    read_up_to,
    wait_to_retry,
)
from .auth import HOLDS_TURN, Auth, Middleware
from .capture import CAPTURE, Capture, take_capture
from .effects import EFFECTS, Effects, waiting
from .fast_path import FastPath
from .large import read_large
from .limits import Verdict
from .options import CallOptions, TransportOptions, check_timeout, with_retries
from .pauses import PauseError
from .pool import NO_TIMEOUT, Pool
from .proxies import proxy_arguments
from .retry import Failed, Failure, Retries, RetryPolicy

__all__ = ["Transport"]

T = TypeVar("T")

_HEADERS: Final = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": f"ioto-async/{__version__}",
}


class Transport:
    """Sends the operations of one endpoint with one set of credentials and options.

    Args:
        pool: the session, shared by all transports of a client.
        base: validated base URL.
        auth: the credentials.
        options: retries, time-outs and the like.
        service: cloud or builder.

    Attributes:
        pool: see above.
        options: see above.
        service: see above.
        reading: how replies are read.
    """

    __slots__ = (
        "_auth",
        "_base",
        "_fast_path",
        "_has_middlewares",
        "_headers",
        "_may_be_fast",
        "_middlewares",
        "_pause",
        "_proxy",
        "_proxy_headers",
        "_urls",
        "options",
        "pool",
        "reading",
        "service",
    )

    def __init__(
        self,
        pool: Pool,
        base: URL,
        auth: Auth,
        options: TransportOptions,
        service: Literal["cloud", "builder"] = "cloud",
    ) -> None:
        self.pool = pool
        self.service = service
        self._base = base
        self._auth = auth
        self.options = options
        self.reading = Reading(options.strict, pool.noticed)
        # Of the type that aiohttp wants, which saves it a copy.
        self._headers = CIMultiDict({**_HEADERS, **check_headers(options.headers)})
        # Innermost, so that what other middlewares send again is authenticated as well.
        others = (*pool.middlewares, *options.middlewares)
        self._middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = (
            *others,
            Middleware(auth, base),
            *pool.recorders(service),
        )
        self._pause = pool.limiter.pauses.of(base)
        self._proxy, self._proxy_headers = proxy_arguments(pool.proxies.of(base), base, self._headers)
        self._has_middlewares = bool(others)
        self._fast_path = FastPath(pool, auth, base, self._headers, options.max_reply)
        self._may_be_fast = self._proxy is None and len(self._middlewares) == 1
        self._urls: dict[Operation, URL] = {}

    def with_auth(self, auth: Auth) -> "Transport":
        """The same endpoint and options with other credentials."""
        return Transport(self.pool, self._base, auth, self.options, self.service)

    async def call(
        self,
        operation: Operation,
        decode: Decoder[T],
        body: Mapping[str, object],
        options: CallOptions,
        query: Mapping[str, object] | None = None,
        *,
        nulls: bool = False,
    ) -> T:
        """Do one call.

        Args:
            operation: what is called.
            decode: turns the reply's body into the result.
            body: the body's members by wire name; None leaves one out.
            options: options of this call.
            query: the query string's members; None leaves one out.
            nulls: send None in *body* as null instead.

        Raises:
            InvalidArgumentError: an argument does not fit; nothing was sent.
            CallError: the call failed; see `ioto_async.errors` for the kinds.
        """
        request = RequestBody(encoding.body(operation, body, nulls=nulls), is_careful=operation.kind is Kind.ONCE)
        if (url := self._urls.get(operation)) is None:
            url = self._url(operation)
        if query:
            url = url.with_query(encoding.query(operation, query))
        usual = self.options.timeout, self.options.retry, self._headers
        timeout, retry, headers = self.for_this_call(options) if options else usual
        retries: Retries | None = None
        effects = EFFECTS.get()
        capture = CAPTURE.get() and take_capture()
        pool, limiter = self.pool, self.pool.limiter
        started = time.monotonic()
        while True:
            status: int | None = None
            try:
                entered = limiter.enter_now(self._pause) if pool.loop is asyncio.get_running_loop() else None
                if entered is None:
                    asked = time.monotonic()
                    entered = await self._turn(operation, retry, effects)
                    started += entered - asked  # waiting for a turn has nothing to do with the service
                number = 1 if retries is None else retries.attempts + 1
                if effects is not None:
                    effects.in_flight += 1
                try:
                    with attempt(
                        pool, self.options.observer, operation.name, number, entered, timeout, request, self._auth.mask
                    ) as trying:
                        reply = await self._send(url, request, headers, capture)
                        if not isinstance(reply, bytes):
                            reply = await self._read(operation, reply, trying, capture)
                except BaseException as ended:
                    self._left(operation, request, entered, effects, ended)
                    raise
                status = trying.status
                limiter.leave(Verdict.SERVED, entered, of=operation.name)
                if effects is not None:
                    effects.changed |= operation.kind is not Kind.READ
                    effects.landed()
                if len(reply) > LARGE:
                    steps = in_steps(decode, operation, reply, self.reading, body)
                    return await read_large(steps, operation, entered, timeout)
                return decode(operation, reply, self.reading, body)
            except ClientStateError as closed:
                closed.outcome_unknown |= retries is not None and retries.maybe_done
                raise
            except (Failed, CallError) as ended:
                # Without its traceback, and the reply: the variables of it may have secrets.
                failed, reply = self._failed(ended.with_traceback(None), status), b""
            retries = retries or Retries(operation.name, operation.kind, retry, self.options.max_retry_after)
            retries.failed(failed.error, failed.failure)
            # All calls of a run wait for the end of the pause, and nobody may fail for having come first.
            is_shared = effects is not None and failed.failure is Failure.REFUSED
            elapsed = 0.0 if is_shared else time.monotonic() - started
            await wait_to_retry(retries, elapsed=elapsed, is_paused=is_shared, is_played=pool.only_plays)
            request.begin()

    def _url(self, operation: Operation) -> URL:
        prefix = self._auth.prefix if operation.tok else ""
        path = f"{self._base.raw_path.rstrip('/')}{prefix}/{operation.name}"
        url = self._urls[operation] = self._base.with_path(path, encoded=True)
        return url

    def for_this_call(self, options: CallOptions) -> tuple[float | None, RetryPolicy, CIMultiDict[str]]:
        """Time-out, retries and headers of a call with these *options*.

        Raises:
            InvalidArgumentError: an option is not known, or does not fit.
        """
        check_names(options, CallOptions.__annotations__)
        timeout, retry, headers = self.options.timeout, self.options.retry, self._headers
        if "timeout" in options:
            timeout = check_timeout(options["timeout"])
        if "retries" in options:
            retry = with_retries(retry, options["retries"])
        if "headers" in options:
            headers = headers.copy()
            headers.update(check_headers(options["headers"]))
        return timeout, retry, headers

    async def _turn(self, operation: Operation, retry: RetryPolicy, effects: Effects | None) -> float:
        """Wait until the session is open and the limits allow a request, and return when that was.

        Raises:
            ClientStateError: the client is closed, or belongs to another loop.
            RateLimitedError: the service has asked for a pause that is longer than the call may take.
            PoolTimeoutError: it takes longer than the client's ``pool_timeout``.
        """
        if self.pool.loop is not asyncio.get_running_loop():
            await self.pool.open()
        limiter = self.pool.limiter
        if HOLDS_TURN.get():
            return limiter.enter_first()
        # A bulk run is a queue itself: none of its items is to fail for the others.
        limit = self.options.pool_timeout if effects is None else None
        patience = math.inf if effects is not None else retry.elapsed if limit is None else min(retry.elapsed, limit)
        try:
            async with self.waiting_for_turn(operation.name):
                entered = await limiter.enter(self._pause, patience)
        except PauseError as pause:
            message = "the service has asked for a pause, in its reply to another call"
            raise RateLimitedError(message, operation=operation.name, sent=False, retry_after=pause.left) from None
        try:
            await self.pool.open()  # it may have been closed meanwhile
        except ClientStateError:
            limiter.leave(Verdict.SILENT, entered, of=operation.name)
            raise
        return entered

    @contextlib.asynccontextmanager
    async def waiting_for_turn(self, operation: str) -> AsyncIterator[None]:
        """Wait in the body for a turn of *operation*; in a bulk run, which is a queue itself, as long as it takes.

        Raises:
            PoolTimeoutError: it takes longer than the client's ``pool_timeout``.
        """
        effects = EFFECTS.get()
        limit = self.options.pool_timeout if effects is None else None
        try:
            with waiting(effects):
                async with asyncio.timeout(limit):
                    yield
        except TimeoutError:
            raise PoolTimeoutError(
                f"no turn within {limit:g} s: other calls have the connections, or the limits",
                operation=operation,
                sent=False,
            ) from None

    def _failed(self, ended: Failed | CallError, status: int | None) -> Failed:
        """What it means that a call has *ended* so, after a complete reply if that had a *status*."""
        if isinstance(ended, Failed):
            return ended
        # From the decoder or the provider of tokens.
        ended.status = ended.status if status is None else status
        ended.message = self._auth.mask(ended.message)
        return Failed(ended, Failure.DEFINITE)

    def _left(
        self, operation: Operation, body: RequestBody, entered: float, effects: Effects | None, error: BaseException
    ) -> None:
        """Tell the limiter and the effects that a request has ended with *error*."""
        verdict = Verdict.SILENT
        if isinstance(error, Failed):
            verdict, retry_after = _verdict(error), error.error.retry_after
            is_asked = verdict is Verdict.THROTTLED and self.pool.loop is not None and not self.pool.only_plays
            if is_asked and retry_after is not None:
                self._pause.begin(min(retry_after, self.options.max_retry_after))
        self.pool.limiter.leave(verdict, entered, of=operation.name)
        if effects is not None:
            if operation.kind is not Kind.READ and body.in_doubt and not did_nothing(error):
                effects.doubt()
            effects.landed()

    def _send(
        self, url: URL, body: RequestBody, headers: CIMultiDict[str], capture: Capture | None
    ) -> Awaitable[bytes | Response]:
        """Send the request once, and return the body of a plain reply, or any other one unread."""
        # The fast path reads no headers, and sends the same ones each time.
        if self._may_be_fast and capture is None and headers is self._headers and self._fast_path.is_open():
            return self._fast_path.post(url, body)
        return self._post(url, body, headers)

    async def _read(self, operation: Operation, response: Response, trying: attempt, capture: Capture | None) -> bytes:
        """The body of a 2xx."""
        limit, status = self.options.max_reply, response.status
        if not 200 <= status < 300:
            raise (await read_refusal(response, self._auth.mask, deadline=trying.deadline)).failed(operation.name)
        length = response.content_length
        is_bounded = length is not None and length <= limit and "Content-Encoding" not in response.headers
        data = await (response.read() if is_bounded else read_up_to(response, limit))
        if len(data) > limit:
            raise DecodeError(f"the body has more than {limit} bytes", operation=operation.name, status=status)
        trying.status = status
        if capture is not None:
            capture.keep(response, data, trying, self._auth.mask)
        return data

    async def _post(self, url: URL, body: RequestBody, headers: CIMultiDict[str]) -> aiohttp.ClientResponse:
        holds_turn = HOLDS_TURN.set(self._has_middlewares or HOLDS_TURN.get())  # middlewares may make calls themselves
        try:
            return await self.pool.session.post(
                url,
                data=RequestPayload(body),
                headers=headers,
                allow_redirects=False,
                middlewares=self._middlewares,
                raise_for_status=False,
                timeout=NO_TIMEOUT,
                proxy=self._proxy,
                proxy_headers=self._proxy_headers,
            )
        finally:
            HOLDS_TURN.reset(holds_turn)


def _verdict(failed: Failed) -> Verdict:
    error = failed.error
    if error.status in (429, 503):
        return Verdict.THROTTLED
    late = isinstance(error, (CallTimeoutError, ConnectionFailedError)) and failed.failure is not Failure.DEFINITE
    if late or error.status == 504:
        return Verdict.OVERLOADED
    return Verdict.SILENT if error.status is None else Verdict.SERVED
