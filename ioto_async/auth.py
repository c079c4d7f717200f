"""Authentication as an aiohttp client middleware, pinned to one origin. Imports floor 0 and body.

Two methods (reference, section 4): a CloudAPI, device, product or Builder token, whose paths get ``/tok`` in front,
and a login access token with an ``Origin`` header on the bare path.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from yarl import URL

from .body import RequestBody
from .config import check_origin, check_token
from .errors import InvalidArgumentError, TokenProviderError
from .validation import is_number, must_be

__all__ = ["AccessToken", "Auth", "LoginAuth", "NoAuth", "TokenAuth", "TokenProvider"]

logger = logging.getLogger("ioto_async")


@attrs.frozen
class AccessToken:
    """A login access token, and how long it is good for."""

    value: str = attrs.field(repr=False)
    """The token."""
    lifetime: float | None = attrs.field(
        default=None,
        validator=must_be(
            "seconds above 0, or None",
            lambda value: value is None or (is_number(value) and 0 < value < math.inf),
            of="AccessToken",
        ),
    )
    """Seconds from the moment it was asked for; None if that is not known."""


TokenProvider = Callable[[], Awaitable[str | AccessToken]]
"""Gives a login access token that is valid now; asked again before it expires, and after an authentication failure."""

_REFUSED: Final = (401, 403)
_PATIENCE: Final = 1.0
"""Seconds that a provider has to end when its client is closed."""
_SHORTEST: Final = 4
"""Characters of a token that is looked for in texts."""
_MARGIN: Final = 60.0
"""Seconds before its end at which a token is renewed, or a tenth of its lifetime if that is less."""
_DISCARD_LIMIT: Final = 1 << 16
"""Bytes of a refused reply that are read to keep its connection; beyond that closing is cheaper."""


class Auth:
    """Credentials.

    Attributes:
        prefix: what the method puts in front of a path.
        headers: the headers that carry the credentials; empty while they have to be asked for.
        renewable: whether others can be asked for when these are refused.
    """

    __slots__ = ("headers", "renewable")

    prefix = ""

    def __init__(self, headers: Mapping[str, str], *, renewable: bool = False) -> None:
        self.headers = headers
        self.renewable = renewable

    def pinned(self, base: URL) -> "Middleware":
        """The middleware that sends these credentials to the origin of *base* and nowhere else."""
        return Middleware(self, base)

    def is_due(self) -> bool:
        """Whether it is time to `ask`."""
        return not self.headers

    async def ask(self) -> Mapping[str, str]:
        """Get new ``headers``.

        Raises:
            TokenProviderError: the provider failed.
        """
        return self.headers

    def forget(self, refused: Mapping[str, str]) -> None:
        """Drop the ``headers`` if they are still the ones that were *refused*."""

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
        self._token = check_token(token)
        super().__init__({"Authorization": f"bearer {token}" if bearer else token})

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

    __slots__ = ("_clock", "_due", "_expires", "_origin", "_provider", "_refresh", "_tokens")

    def __init__(self, token: str | TokenProvider, *, origin: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = self._expires = math.inf
        self._origin = check_origin(origin)
        self._provider = token
        self._refresh: asyncio.Task[Mapping[str, str]] | None = None
        # Older ones as well: a late reply may repeat one.
        self._tokens: deque[str] = deque(maxlen=8)
        if not isinstance(token, str) and not callable(token):
            raise InvalidArgumentError(f"login: expected a token or an async callable, got {type(token).__name__}")
        known = isinstance(token, str)
        super().__init__(self._carry(token) if known else {}, renewable=not known)

    def __repr__(self) -> str:
        return f"LoginAuth('***', origin={self._origin!r})"

    def _carry(self, token: object) -> Mapping[str, str]:
        self._tokens.append(check_token(token, "login"))
        return {"Authorization": self._tokens[-1], "Origin": self._origin}

    def is_due(self) -> bool:
        return not self.headers or self._clock() >= self._due

    async def ask(self) -> Mapping[str, str]:
        # One question at a time: all callers that need a token wait for the same answer.
        task = self._refresh
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._refresh = asyncio.create_task(self._fetch())
        try:
            # Shielded: a caller that is cancelled must not cancel the others.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if not task.cancelled() or (caller is not None and caller.cancelling()):
                raise
            raise TokenProviderError("the provider of login tokens was cancelled", operation="", sent=False) from None
        except Exception as error:
            # Each caller gets an error of its own, as it tells of the caller's operation.
            raise TokenProviderError(_reason(error), operation="", sent=False) from error

    async def _fetch(self) -> Mapping[str, str]:
        assert not isinstance(self._provider, str)  # else nothing is asked for
        began = self._clock()
        try:
            answer = await self._provider()
            token, lifetime = (answer.value, answer.lifetime) if isinstance(answer, AccessToken) else (answer, None)
            headers = self._carry(token)
        except Exception as error:
            if not self.headers or self._clock() >= self._expires:
                raise
            self._due = self._expires  # what we have is good until then
            logger.warning("an early renewal failed: %s", _reason(error))
            return self.headers
        self.headers = headers
        if lifetime is None:
            self._due = self._expires = math.inf
        else:
            self._expires = began + lifetime
            self._due = self._expires - min(_MARGIN, lifetime / 10)
        return headers

    def forget(self, refused: Mapping[str, str]) -> None:
        if self.headers is refused:  # else another call was quicker, and its token is the one to try
            self.headers = {}

    async def close(self) -> None:
        task = self._refresh
        if task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait((task,), timeout=_PATIENCE)

    def mask(self, text: str) -> str:
        for token in self._tokens:
            text = _masked(text, token)
        return text


def _reason(error: Exception) -> str:
    # Only our own text is shown: the provider's may hold the credentials that it works with.
    if isinstance(error, TokenProviderError):
        text = error.message
    else:
        text = str(error) if isinstance(error, InvalidArgumentError) else f"raised {type(error).__name__}"
    return f"the provider of login tokens: {text}"


def _masked(text: str, token: str) -> str:
    # A token of a letter or two is none, and is in every text.
    return text.replace(token, "***") if len(token) >= _SHORTEST else text


class Middleware:
    """The aiohttp client middleware: adds the credentials; where they are refused, renews them and replays once."""

    __slots__ = ("_auth", "_authority", "_scheme")

    def __init__(self, auth: Auth, base: URL) -> None:
        self._auth = auth
        self._scheme = base.scheme
        self._authority = base.authority

    def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> Awaitable[ClientResponse]:
        if request.url.authority != self._authority or request.url.scheme != self._scheme:
            # Whatever led the request elsewhere, the credentials do not follow.
            return handler(request)
        if self._auth.renewable:
            return self._renewing(request, handler)
        _add(request, self._auth.headers)
        return handler(request)

    async def _renewing(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        auth = self._auth
        headers = await auth.ask() if auth.is_due() else auth.headers
        _add(request, headers)
        response = await handler(request)
        if response.status in _REFUSED:
            if isinstance(request.body, RequestBody):
                request.body.in_doubt = False
            auth.forget(headers)
            await _discard(response)
            _add(request, auth.headers or await auth.ask())
            response = await handler(request)
        return response


def _add(request: ClientRequest, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        request.headers[name] = value


async def _discard(response: ClientResponse) -> None:
    """Read a reply that nobody wants to its end, so that its connection goes back to the pool."""
    if response.content_length is not None and response.content_length <= _DISCARD_LIMIT:
        await response.read()
    else:
        response.close()
