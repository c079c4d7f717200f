"""Authentication as an aiohttp client middleware: it asks for tokens and moves bytes; `credentials` decides.

Two methods (reference, section 4): a CloudAPI, device, product or Builder token, whose paths get ``/tok`` in front,
and a login access token with an ``Origin`` header on the bare path.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Final

import attrs
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from yarl import URL

from ..errors import CassetteError, InvalidArgumentError, TokenProviderError
from ..settings import Secret, check_origin, check_token, or_none, seconds, secret
from .attempt import RequestBody, RequestPayload, Response
from .credentials import Credentials, Decision, Pinned
from .effects import EFFECTS

__all__ = [
    "HOLDS_TURN",
    "AccessToken",
    "Auth",
    "LoginAuth",
    "Middleware",
    "NoAuth",
    "TokenAuth",
    "TokenProvider",
    "holding_turn",
    "renewed",
]

logger = logging.getLogger("ioto_async")


@attrs.frozen(init=False)
class AccessToken:
    """A login access token and its lifetime.

    Raises:
        InvalidArgumentError: the lifetime is none.
    """

    value: str = attrs.field(repr=False)
    """The token; a `Secret`."""
    lifetime: float | None = attrs.field(default=None, validator=or_none(seconds(above_zero=True, of="AccessToken")))
    """Seconds from the moment it was asked for; None if that is not known."""

    def __init__(self, value: str, lifetime: float | None = None) -> None:
        value = secret(value)  # tracebacks may show this variable
        self.__attrs_init__(value, lifetime)


TokenProvider = Callable[[], Awaitable[str | AccessToken]]
"""Gives a login access token that is valid now.

It is asked again shortly before the token expires, while calls go on with the one they have, and when a token that is
older than some seconds is refused.
"""

HOLDS_TURN: Final[ContextVar[bool]] = ContextVar("ioto_async_holds_turn", default=False)
"""Whether a call that has its turn waits for the calls of the present task, so that these must not wait for one.

They are a token provider's or a middleware's.
"""


@contextlib.contextmanager
def holding_turn() -> Iterator[None]:
    """Let the calls that the body makes pass without a turn."""
    token = HOLDS_TURN.set(True)
    try:
        yield
    finally:
        HOLDS_TURN.reset(token)


_PATIENCE: Final = 1.0
"""Seconds that a provider has to end when its client is closed."""
_SHORTEST: Final = 4
"""Characters of a token that is looked for in texts."""
_DISCARD_LIMIT: Final = 1 << 16
"""Bytes of a refused reply that are read to keep its connection; beyond that closing is cheaper."""


class Auth:
    """A method of authentication.

    Attributes:
        prefix: what the method puts in front of a path.
        credentials: what it sends.
    """

    __slots__ = ("credentials",)

    prefix = ""

    def __init__(
        self, headers: Mapping[str, str], *, renewable: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.credentials = Credentials(headers, renewable=renewable, clock=clock)

    @property
    def renewable(self) -> bool:
        """Whether other credentials can be asked for when these are refused."""
        return self.credentials.renewable

    async def headers(self, decision: Decision) -> Mapping[str, str]:
        """The headers to send, as *decision* says.

        Raises:
            TokenProviderError: there are none, as the provider has failed.
        """
        return self.credentials.headers

    async def close(self) -> None:
        """End what may still be under way to get credentials."""

    def mask(self, text: str) -> str:
        """*text* without the credentials, should the service repeat them."""
        return text


class NoAuth(Auth):
    """No credentials: only public operations answer."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__({})

    def __repr__(self) -> str:
        return "NoAuth()"


class TokenAuth(Auth):
    """A CloudAPI, device, product or Builder token.

    Args:
        token: the token.
        bearer: send ``bearer <token>`` instead of the token alone; both ship in the vendor's clients.

    Raises:
        InvalidArgumentError: the token is empty or cannot stand in a header.
    """

    __slots__ = ("_token",)

    prefix = "/tok"

    def __init__(self, token: str, *, bearer: bool = False) -> None:
        token = secret(token)  # tracebacks may show this variable
        self._token = check_token(token)
        super().__init__({"Authorization": Secret(f"bearer {token}") if bearer else token})

    def __repr__(self) -> str:
        return "TokenAuth('***')"

    def mask(self, text: str) -> str:
        return _masked(text, self._token)


class LoginAuth(Auth):
    """Login access tokens of a user of a device app.

    Args:
        token: an access token, or an async callable that gives one; only the latter can follow an expiry.
        origin: domain of the device app, such as ``app.ioto.me``.
        clock: gives seconds, to know when a token is about to expire.

    Raises:
        InvalidArgumentError: the token or the origin cannot stand in a header.
    """

    __slots__ = ("__weakref__", "_origin", "_provider", "_request", "_tokens")

    def __init__(self, token: str | TokenProvider, *, origin: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._provider = token = secret(token)
        self._origin = origin  # first, as a traceback may show what is not made to its end
        check_origin(origin)
        self._request: asyncio.Task[Mapping[str, str]] | None = None
        # Older ones as well: a late reply may repeat one.
        self._tokens: deque[str] = deque(maxlen=8)
        if not isinstance(token, str) and not callable(token):
            raise InvalidArgumentError(f"login: expected a token or an async callable, got {type(token).__name__}")
        known = isinstance(token, str)
        super().__init__(self._carry(token) if known else {}, renewable=not known, clock=clock)

    def __repr__(self) -> str:
        return f"LoginAuth('***', origin={self._origin!r})"

    def _carry(self, token: object) -> Mapping[str, str]:
        token = check_token(token, "login")
        self._tokens.append(token)
        return {"Authorization": token, "Origin": self._origin}

    async def headers(self, decision: Decision) -> Mapping[str, str]:
        if decision is Decision.ASK:
            return await self._refreshed()
        if decision is Decision.SEND_AND_RENEW:
            self._refresh()
        return self.credentials.headers

    def _refresh(self) -> "asyncio.Task[Mapping[str, str]]":
        """The request to the provider: one at a time, all callers that need a token wait for the same one."""
        task = self._request
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._request = asyncio.create_task(self._fetch())
            # What it raises counts as seen, as there may be nobody who waits for it.
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return task

    async def _refreshed(self) -> Mapping[str, str]:
        task = self._refresh()
        try:
            # Shielded: a caller that is cancelled must not cancel the others.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if not task.cancelled() or (caller is not None and caller.cancelling()):
                raise
            raise TokenProviderError("the provider of login tokens was cancelled", operation="", sent=False) from None
        except Exception as error:
            # Each caller gets an error of its own, as it names the caller's operation.
            retry_after = error.retry_after if isinstance(error, TokenProviderError) else None
            raise TokenProviderError(_reason(error), operation="", sent=False, retry_after=retry_after) from error

    async def _fetch(self) -> Mapping[str, str]:
        assert not isinstance(self._provider, str)  # else nothing is asked for
        self._request = asyncio.current_task()  # an eager task runs before whoever makes it can note it
        asked = self.credentials.clock()
        HOLDS_TURN.set(True)
        EFFECTS.set(None)  # what it sends is not for the item of a bulk run
        try:
            answer = secret(await self._provider())
            token, lifetime = (answer.value, answer.lifetime) if isinstance(answer, AccessToken) else (answer, None)
            headers = self._carry(token)
        except Exception as error:
            if self.credentials.headers:  # calls go on with them, or get the refusal of them: no error shows this
                logger.warning("the renewal of a login token failed: %s", self.mask(_reason(error)))
            raise
        finally:
            self.credentials.answered()
        self.credentials.granted(headers, lifetime, asked=asked)
        return headers

    async def close(self) -> None:
        task = self._request
        if task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait((task,), timeout=_PATIENCE)

    def mask(self, text: str) -> str:
        for token in sorted(self._tokens, key=len, reverse=True):  # one may begin with another
            text = _masked(text, token)
        return text


def _reason(error: Exception) -> str:
    # Only our own text is shown: the provider's may hold the credentials that it works with.
    if isinstance(error, TokenProviderError):
        text = error.message
    else:
        text = (
            str(error) if isinstance(error, (InvalidArgumentError, CassetteError)) else f"raised {type(error).__name__}"
        )
    return f"the provider of login tokens: {text}"


def _masked(text: str, token: str) -> str:
    # A token of a letter or two is none, and is in every text.
    return text.replace(token, "***") if len(token) >= _SHORTEST else text


class Middleware:
    """The aiohttp client middleware: adds the credentials; where they are refused, renews them and replays once.

    Args:
        auth: what to send.
        base: a URL of the origin that it goes to.
    """

    __slots__ = ("_auth", "_pinned")

    def __init__(self, auth: Auth, base: URL) -> None:
        self._auth = auth
        self._pinned = Pinned(auth.credentials, base)

    def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> Awaitable[ClientResponse]:
        decision = self._pinned.before(request.url)
        if decision is Decision.SEND_BARE:
            return handler(request)
        if self._pinned.credentials.renewable:
            return self._renewing(decision, request, handler)
        request.headers.update(self._pinned.credentials.headers)
        return handler(request)

    async def _renewing(self, decision: Decision, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        is_plain = decision is Decision.SEND
        headers = self._pinned.credentials.headers if is_plain else await self._auth.headers(decision)
        request.headers.update(headers)
        response = await handler(request)
        body = request.body.body if isinstance(request.body, RequestPayload) else None
        if (others := await renewed(self._auth, self._pinned, headers, response, body)) is None:
            return response
        request.headers.update(others)
        return await handler(request)


async def renewed(
    auth: Auth, pinned: Pinned, sent: Mapping[str, str], response: Response, body: RequestBody | None
) -> Mapping[str, str] | None:
    """The headers to send a request with once more; None where its *response* is to be taken as it is.

    Args:
        auth: gives others.
        pinned: decides whether they are asked for.
        sent: the headers that the request went with.
        response: the reply, which is read where it refuses them.
        body: what was sent, if that is known.
    """
    decision = pinned.after(response.status, sent, is_replay=False)
    if decision is Decision.DONE:
        return None
    if body is not None:
        body.in_doubt = False
    try:
        headers = await auth.headers(decision)
        await _discard(response)
    except TokenProviderError:  # the log has it; the caller gets the refusal
        return None
    except BaseException:
        response.close()
        raise
    return headers


async def _discard(response: Response) -> None:
    """Read a reply that nobody wants to its end, so that its connection goes back to the pool."""
    if response.content_length is not None and response.content_length <= _DISCARD_LIMIT:
        await response.read()
    else:
        response.close()
