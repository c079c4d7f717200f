"""One call: its attempts, the reply of each, and what a failure means.

Every call passes here, so what can be is made once (URLs, headers, middlewares), and what is rarely needed is looked at
only then.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Final, TypeVar

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from .._version import __version__
from ..codec import encoding
from ..codec.decoding import LARGE, Decoder, Reading, in_steps
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
from .attempt import RequestBody, attempt, did_nothing, read_refusal, read_up_to, wait_to_retry
from .auth import HOLDS_TURN, Auth, Middleware, holding_turn
from .deadlines import Deadline
from .effects import EFFECTS, Effects, waiting
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

    Attributes:
        pool: see above.
        options: see above.
        reading: how replies are read.
    """

    __slots__ = (
        "_auth",
        "_base",
        "_has_middlewares",
        "_headers",
        "_middlewares",
        "_pause",
        "_proxy",
        "_proxy_headers",
        "_urls",
        "options",
        "pool",
        "reading",
    )

    def __init__(self, pool: Pool, base: URL, auth: Auth, options: TransportOptions) -> None:
        self.pool = pool
        self._base = base
        self._auth = auth
        self.options = options
        self.reading = Reading(options.strict, pool.noticed)
        # Of the type that aiohttp wants, which saves it a copy.
        self._headers = CIMultiDict({**_HEADERS, **check_headers(options.headers)})
        # Innermost, so that what other middlewares send again is authenticated as well.
        self._middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = (
            *pool.middlewares,
            *options.middlewares,
            Middleware(auth, base),
        )
        self._pause = pool.limiter.pauses.of(base)
        self._proxy, self._proxy_headers = proxy_arguments(pool.proxies.of(base), base, self._headers)
        self._has_middlewares = len(self._middlewares) > 1
        self._urls: dict[Operation, URL] = {}

    def with_auth(self, auth: Auth) -> "Transport":
        """The same endpoint and options with other credentials."""
        return Transport(self.pool, self._base, auth, self.options)

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
        url = self._urls.get(operation) or self._url(operation)
        if query:
            url = url.with_query(encoding.query(operation, query))
        timeout, retry, headers = self.options.timeout, self.options.retry, self._headers
        if options:
            timeout, retry, headers = self.for_this_call(options)
        retries: Retries | None = None
        effects = EFFECTS.get()
        started = time.monotonic()
        while True:
            status = None
            try:
                is_open = self.pool.loop is asyncio.get_running_loop()
                entered = self.pool.limiter.enter_now(self._pause) if is_open else None
                if entered is None:
                    asked = time.monotonic()
                    entered = await self._turn(operation, retry, effects)
                    started += entered - asked  # waiting for a turn has nothing to do with the service
                number = 1 if retries is None else retries.attempts + 1
                try:
                    status, reply = await self._attempt(operation, url, request, headers, timeout, number, effects)
                except BaseException as ended:
                    self._left(operation, request, entered, effects, ended)
                    raise
                self._left(operation, request, entered, effects, None)
                if len(reply) > LARGE:
                    steps = in_steps(decode, operation, reply, self.reading, body)
                    return await read_large(steps, operation, entered, timeout)
                return decode(operation, reply, self.reading, body)
            except Failed as failed:
                error, failure = failed.error, failed.failure
            except ClientStateError as closed:
                if retries is not None and retries.maybe_done:
                    closed.outcome_unknown = True
                raise
            except CallError as definite:  # from the decoder or the provider of tokens
                # Without its traceback, and the reply: the variables of it may have secrets.
                error, failure, reply = definite.with_traceback(None), Failure.DEFINITE, b""
                error.status = error.status if status is None else status
                error.message = self._auth.mask(error.message)
            if retries is None:
                retries = Retries(operation.name, operation.kind, retry, self.options.max_retry_after)
            retries.failed(error, failure)
            # All calls of a run wait for the end of the pause, and nobody may fail for having come first.
            is_shared = effects is not None and failure is Failure.REFUSED
            elapsed = 0.0 if is_shared else time.monotonic() - started
            await wait_to_retry(retries, elapsed=elapsed, is_paused=is_shared)
            request = request.again()

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
                return await limiter.enter(self._pause, patience)
        except PauseError as pause:
            message = "the service has asked for a pause, in its reply to another call"
            raise RateLimitedError(message, operation=operation.name, sent=False, retry_after=pause.left) from None

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

    def _attempt(
        self,
        operation: Operation,
        url: URL,
        body: RequestBody,
        headers: CIMultiDict[str],
        timeout: float | None,
        number: int,
        effects: Effects | None,
    ) -> Awaitable[tuple[int, bytes]]:
        """Send the request once and return status and body of a 2xx, or raise `Failed`; `_left` has to follow."""
        if effects is not None:
            effects.in_flight += 1
        return attempt(
            self.pool,
            self.options.observer,
            operation.name,
            number,
            timeout,
            body,
            self._auth.mask,
            lambda session, deadline: self._exchange(session, deadline, operation, url, body, headers),
        )

    def _left(
        self,
        operation: Operation,
        body: RequestBody,
        entered: float,
        effects: Effects | None,
        error: BaseException | None,
    ) -> None:
        """Tell the limiter and the effects how a request has ended, by *error* or well."""
        verdict = Verdict.SERVED
        if isinstance(error, Failed):
            verdict, retry_after = _verdict(error), error.error.retry_after
            if verdict is Verdict.THROTTLED and retry_after is not None and self.pool.loop is not None:
                self._pause.begin(min(retry_after, self.options.max_retry_after))
        elif error is not None:
            verdict = Verdict.SILENT
        self.pool.limiter.leave(verdict, entered, of=operation.name)
        if effects is not None:
            if operation.kind is not Kind.READ:
                if error is None:
                    effects.changed = True
                elif body.in_doubt and not did_nothing(error):
                    effects.doubt()
            effects.landed()

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        deadline: Deadline,
        operation: Operation,
        url: URL,
        body: RequestBody,
        headers: CIMultiDict[str],
    ) -> tuple[int, bytes]:
        if self._has_middlewares:
            with holding_turn():
                response = await self._post(session, url, body, headers)
        else:
            response = await self._post(session, url, body, headers)
        if not 200 <= response.status < 300:
            raise (await read_refusal(response, self._auth.mask, deadline=deadline)).failed(operation.name)
        length = response.content_length
        if length is None or length > self.options.max_reply or "Content-Encoding" in response.headers:
            return response.status, await self._read_bounded(operation, response)
        return response.status, await response.read()

    def _post(
        self, session: aiohttp.ClientSession, url: URL, body: RequestBody, headers: CIMultiDict[str]
    ) -> Awaitable[aiohttp.ClientResponse]:
        return session.post(
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            middlewares=self._middlewares,
            raise_for_status=False,
            timeout=NO_TIMEOUT,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
        )

    async def _read_bounded(self, operation: Operation, response: aiohttp.ClientResponse) -> bytes:
        limit = self.options.max_reply
        data = await read_up_to(response, limit)
        if len(data) > limit:
            raise DecodeError(f"the body has more than {limit} bytes", operation=operation.name, status=response.status)
        return data


def _verdict(failed: Failed) -> Verdict:
    error = failed.error
    if error.status in (429, 503):
        return Verdict.THROTTLED
    late = isinstance(error, (CallTimeoutError, ConnectionFailedError)) and failed.failure is not Failure.DEFINITE
    if late or error.status == 504:
        return Verdict.OVERLOADED
    return Verdict.SILENT if error.status is None else Verdict.SERVED
