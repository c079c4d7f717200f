"""Login access tokens by user name and password, from Amazon Cognito.

Source: reference, section 4; the vendor's sample ``login.sh``.
"""

import copy
import logging
import ssl as ssl_module
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

import aiohttp
import orjson
from yarl import URL

from ..codec.records import converted
from ..codec.words import words_of
from ..errors import InvalidArgumentError, TokenProviderError, one_line
from ..operations import Kind
from ..settings import Secret, check_password, check_text, is_number, parse_endpoint, seconds, secret, secrets_in
from .attempt import never_delivered, read_refusal, read_up_to, text_of, wait_to_retry
from .auth import AccessToken, TokenProvider
from .proxies import Proxies, concealed, proxy_arguments
from .recorder import Recorder
from .refusals import Refusal
from .retry import Failed, Failure, Retries, RetryPolicy

__all__ = ["CognitoLogin", "recorded_login"]

logger = logging.getLogger("ioto_async")

_OPERATION: Final = "cognito/InitiateAuth"
_HEADERS: Final = {
    "Content-Type": "application/x-amz-json-1.1",
    "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
}
_REPLY_LIMIT: Final = 1 << 16
_RETRY: Final = RetryPolicy(attempts=3)
_REFUSED: Final = "NotAuthorizedException"


class CognitoLogin:
    """Gives login access tokens of one user: pass it as ``login`` to an `IotoClient`.

    ::

        login = CognitoLogin("https://cognito-idp.us-east-1.amazonaws.com", client_id, username, password)
        client = IotoClient("https://….amazonaws.com", login=login, origin="app.example")

    The first token is requested with the password, the next ones with the refresh token that came with it, and with
    the password again where that is refused. Each request opens and closes a connection of its own, as there is about
    one an hour.

    Args:
        endpoint: URL of the Cognito service; a user pool ID behind it, as the docs show, is kept.
        client_id: key of the app client.
        username: user name or e-mail address.
        password: password.
        ssl: an `ssl.SSLContext` instead of the system's trust store.
        timeout: seconds for one attempt; a failed connection is tried again.
        proxy: as for an `IotoClient`; the sign-in that a client makes by itself goes through the client's.
        trust_env: as for an `IotoClient`.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """

    _endpoint = URL()  # for the repr in a traceback of the constructor
    _cassette: Recorder | None = None

    def __init__(
        self,
        endpoint: str,
        client_id: str,
        username: str,
        password: str,
        *,
        ssl: ssl_module.SSLContext | None = None,
        timeout: float = 30.0,
        proxy: str | URL | None = None,
        trust_env: bool = False,
    ) -> None:
        # What follows may raise, and tracebacks may show these variables.
        endpoint, password, proxy = secret(endpoint), secret(password), concealed(proxy)
        self._endpoint = parse_endpoint(endpoint, name="endpoint")
        check_text("client_id", client_id)
        check_text("username", username)
        self._password = check_password("password", password)
        if ssl is not None and not isinstance(ssl, ssl_module.SSLContext):
            raise InvalidArgumentError(f"ssl: expected an ssl.SSLContext, got {ssl!r}")
        seconds(above_zero=True).check("timeout", timeout)
        self._client_id = client_id
        self._username = username
        self._ssl = ssl
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._headers = dict(_HEADERS)
        self._proxy, self._proxy_headers = proxy_arguments(
            Proxies(proxy, trust_env=trust_env).of(self._endpoint), self._endpoint, self._headers
        )
        self._refresh: Secret | None = None
        # Older ones as well: a late reply may repeat one.
        self._refreshes: deque[Secret] = deque(maxlen=8)

    def __repr__(self) -> str:
        return f"CognitoLogin({str(self._endpoint)!r}, '***')"

    def with_cassette(self, cassette: Recorder) -> "CognitoLogin":
        """The same, whose requests are recorded or played by the *cassette*."""
        other = copy.copy(self)
        other._cassette, other._refreshes = cassette, self._refreshes.copy()
        return other

    async def __call__(self) -> AccessToken:
        """Get an access token that is valid now.

        Raises:
            TokenProviderError: user name or password is wrong, more is asked for than them, or Cognito cannot be
                reached.
        """
        retries: Retries | None = None
        started = time.monotonic()
        while True:
            refresh = self._refresh
            try:
                reply = await self._post(refresh)
            except Failed as failed:
                error, failure = failed.error, failed.failure
            else:
                if not isinstance(reply, Refusal):
                    return self._token(reply)
                if refresh is not None and reply.code == _REFUSED:
                    logger.info("the refresh token was refused: signing in with the password")
                    self._refresh = retries = None
                    started = time.monotonic()
                    continue
                error, failure = self._error(reply.message, reply.status, reply.retry_after), reply.failure
            if retries is None:
                retries = Retries(_OPERATION, Kind.READ, _RETRY)
            retries.failed(error, failure)
            is_played = self._cassette is not None and self._cassette.only_plays
            await wait_to_retry(retries, elapsed=time.monotonic() - started, is_played=is_played)

    def _token(self, reply: Mapping[str, object]) -> AccessToken:
        """What a *reply* grants."""
        if challenge := reply.get("ChallengeName"):
            asked = challenge if isinstance(challenge, str) else "more"
            raise self._error(f"asks for {asked}, which only a person can answer", 200)
        result = reply.get("AuthenticationResult")
        if not isinstance(result, dict):
            words = words_of(reply)
            raise self._error(f"the reply has no AuthenticationResult{words and ': '}{words}", 200)
        value, lifetime, refresh = (result.get(name) for name in ("AccessToken", "ExpiresIn", "RefreshToken"))
        if not isinstance(value, str) or not value:
            raise self._error("the reply has no AccessToken", 200)
        known = converted(lifetime, float) if isinstance(lifetime, str) else lifetime
        if lifetime is not None and (known is None or not is_number(known) or known <= 0):
            raise self._error("ExpiresIn: expected seconds above 0", 200)
        if isinstance(refresh, str) and refresh:  # a refreshed token may come without
            self._refresh = Secret(refresh)
            if refresh not in self._refreshes:
                self._refreshes.append(self._refresh)
        return AccessToken(value, known)

    async def _post(self, refresh: str | None) -> Mapping[str, object] | Refusal:
        """The reply to one request for a token: for *refresh*, or for the password where that is None.

        Raises:
            Failed: there is none that can be read.
        """
        if refresh is None:
            flow, parameters = "USER_PASSWORD_AUTH", {"USERNAME": self._username, "PASSWORD": self._password}
        else:
            flow, parameters = "REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": refresh}
        content = {"AuthFlow": flow, "ClientId": self._client_id, "AuthParameters": parameters}
        body = aiohttp.BytesPayload(orjson.dumps(content))
        try:
            async with (
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=self._timeout) as session,
                session.post(
                    self._endpoint,
                    data=body,
                    headers=self._headers,
                    allow_redirects=False,
                    ssl=self._ssl or True,
                    proxy=self._proxy,
                    proxy_headers=self._proxy_headers,
                    middlewares=() if self._cassette is None else (self._cassette.middleware("sign-in"),),
                ) as response,
            ):
                if not 200 <= response.status < 300:
                    return await read_refusal(response, self._mask)
                reply = _granted(await read_up_to(response, _REPLY_LIMIT))
        except TimeoutError:
            raise Failed(self._error("no complete reply in time"), Failure.NEVER_DELIVERED) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Failed(self._error(text_of(error)), never_delivered(error)) from None
        if reply is not None:
            return reply
        raise Failed(self._error("the reply is no JSON object", 200), Failure.DEFINITE)

    def _mask(self, text: str) -> str:
        for known in sorted((self._password, *self._refreshes), key=len, reverse=True):  # one may begin with another
            text = text.replace(known, "***")
        return text

    def _error(self, text: str, status: int | None = None, retry_after: float | None = None) -> TokenProviderError:
        return TokenProviderError(
            f"Cognito: {one_line(self._mask(text))}", operation=_OPERATION, status=status, retry_after=retry_after
        )


def recorded_login(login: str | TokenProvider, cassette: Recorder) -> str | TokenProvider:
    """*login* for a client with a *cassette*: where all is played, no provider but ours is asked for a token."""
    if isinstance(login, CognitoLogin):
        return login.with_cassette(cassette)
    return _replayed if cassette.only_plays and callable(login) else login


async def _replayed() -> str:
    return "replay"


def _granted(data: bytes) -> Mapping[str, object] | None:
    """The object in a reply, and all of its text a secret; None where there is none."""
    try:
        reply = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(reply, dict):
        return None
    parts = {name: secrets_in(part, *part) if isinstance(part, dict) else part for name, part in reply.items()}
    return secrets_in(parts, *parts)
