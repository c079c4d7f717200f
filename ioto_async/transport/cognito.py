"""Login access tokens by user name and password, from Amazon Cognito.

Source: reference, section 4; the vendor's sample ``login.sh``.
"""

import asyncio
import logging
import random
import ssl as ssl_module
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

import aiohttp
import orjson

from ..errors import InvalidArgumentError, TokenProviderError, one_line
from ..operations import Kind
from ..settings import is_number, parse_endpoint
from .attempt import read_up_to, text_of
from .auth import AccessToken
from .retry import Failure, RetryPolicy, failure_of_status

__all__ = ["CognitoLogin"]

logger = logging.getLogger("ioto_async")

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

    The first token is had for the password, the next ones for the refresh token that came with it, and for the
    password again where that is refused. Each time opens and closes a connection of its own, as it is about once an
    hour.

    Args:
        endpoint: URL of the Cognito service; a user pool ID behind it, as the docs show, is kept.
        client_id: key of the app client.
        username: user name or e-mail address.
        password: password.
        ssl: an `ssl.SSLContext` instead of the system's trust store.
        timeout: seconds for one attempt; a failed connection is tried again.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """

    def __init__(
        self,
        endpoint: str,
        client_id: str,
        username: str,
        password: str,
        *,
        ssl: ssl_module.SSLContext | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._endpoint = parse_endpoint(endpoint, name="endpoint")
        for name, value in (("client_id", client_id), ("username", username), ("password", password)):
            if not isinstance(value, str) or not value:
                raise InvalidArgumentError(f"{name}: expected a string that is not empty")
        if ssl is not None and not isinstance(ssl, ssl_module.SSLContext):
            raise InvalidArgumentError(f"ssl: expected an ssl.SSLContext, got {ssl!r}")
        if not is_number(timeout) or not 0 < timeout < float("inf"):
            raise InvalidArgumentError(f"timeout: expected seconds above 0, got {timeout!r}")
        self._client_id = client_id
        self._username = username
        self._password = password
        self._ssl = ssl
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._refresh: str | None = None
        # Older ones as well: a late reply may repeat one.
        self._refreshes: deque[str] = deque(maxlen=8)

    def __repr__(self) -> str:
        return f"CognitoLogin({str(self._endpoint)!r}, '***')"

    async def __call__(self) -> AccessToken:
        """Get an access token that is valid now.

        Raises:
            TokenProviderError: user name or password is wrong, more is asked for than them, or Cognito cannot be
                reached.
        """
        if self._refresh is not None:
            status, reply = await self._ask("REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": self._refresh})
            if _code(reply) != _REFUSED:
                return self._token(status, reply)
            logger.info("the refresh token was refused: signing in with the password")
            self._refresh = None
        return self._token(
            *await self._ask("USER_PASSWORD_AUTH", {"USERNAME": self._username, "PASSWORD": self._password})
        )

    def _token(self, status: int, reply: Mapping[str, object]) -> AccessToken:
        """What a *reply* grants."""
        if status != 200:
            message = reply.get("message") or reply.get("Message") or "no text"
            raise self._error(f"{_code(reply) or 'refused'}: {message}", status)
        if challenge := reply.get("ChallengeName"):
            raise self._error(f"asks for {challenge}, which only a person can answer", status)
        result = reply.get("AuthenticationResult")
        if not isinstance(result, dict):
            raise self._error("the reply has no AuthenticationResult", status)
        value, lifetime, refresh = (result.get(name) for name in ("AccessToken", "ExpiresIn", "RefreshToken"))
        if not isinstance(value, str) or not value:
            raise self._error("the reply has no AccessToken", status)
        if lifetime is not None and not (is_number(lifetime) and lifetime > 0):
            raise self._error("ExpiresIn: expected seconds above 0", status)
        if isinstance(refresh, str) and refresh:  # a refreshed token may come without
            self._refresh = refresh
            if refresh not in self._refreshes:
                self._refreshes.append(refresh)
        return AccessToken(value, lifetime)

    async def _ask(self, flow: str, parameters: Mapping[str, str]) -> tuple[int, Mapping[str, object]]:
        """Status and reply of one flow; a failure that may pass is tried again."""
        body = orjson.dumps({"AuthFlow": flow, "ClientId": self._client_id, "AuthParameters": parameters})
        attempts = 0
        started = time.monotonic()
        while True:
            attempts += 1
            status = None
            try:
                status, data = await self._post(body)
            except (aiohttp.ClientError, OSError) as error:
                text = text_of(error) or type(error).__name__
                if isinstance(error, TimeoutError):
                    text = "no complete reply in time"
                hopeless = isinstance(error, aiohttp.ClientConnectorCertificateError)
                failure = Failure.DEFINITE if hopeless else Failure.NEVER_DELIVERED
            else:
                reply = _parsed(data)
                busy = _code(reply) == "TooManyRequestsException"
                failure = Failure.REFUSED if busy else failure_of_status(status, None)
                if failure is Failure.DEFINITE and reply is not None:
                    return status, reply
                text = f"answered {status}" if reply is not None or status != 200 else "the reply is no JSON object"
            wait = _RETRY.wait(
                failure,
                Kind.READ,
                attempts=attempts,
                elapsed=time.monotonic() - started,
                retry_after=None,
                random=random.random,
            )
            if wait is None:
                raise self._error(text, status, attempts)
            await asyncio.sleep(wait)

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=self._timeout) as session,
            session.post(
                self._endpoint, data=body, headers=_HEADERS, allow_redirects=False, ssl=self._ssl or True
            ) as response,
        ):
            return response.status, await read_up_to(response, _REPLY_LIMIT)

    def _error(self, text: str, status: int | None, attempts: int = 1) -> TokenProviderError:
        for secret in sorted((self._password, *self._refreshes), key=len, reverse=True):  # one may begin with another
            text = text.replace(secret, "***")
        return TokenProviderError(
            f"Cognito: {one_line(text)}", operation="cognito/InitiateAuth", status=status, attempts=attempts
        )


def _parsed(data: bytes) -> Mapping[str, object] | None:
    try:
        reply = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return reply if isinstance(reply, dict) else None


def _code(reply: Mapping[str, object] | None) -> str:
    """The name of the error in *reply*, without the namespace that may go before it."""
    return str((reply or {}).get("__type", "")).rpartition("#")[2]
