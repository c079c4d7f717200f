"""Endpoints and credentials of a client, as its arguments or the environment give them."""

import ssl as ssl_module
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from yarl import URL

from ..errors import InvalidArgumentError, MissingSettingError
from ..settings import BUILDER_URL, Settings, check_password, check_text, check_token, parse_endpoint
from .auth import Auth, LoginAuth, NoAuth, TokenAuth, TokenProvider

if TYPE_CHECKING:
    from .cognito import CognitoLogin

__all__ = ["builder_auth", "builder_url", "cloud_auth", "cloud_url", "login_of", "token_of"]

_SIGN_IN: Final = ("IOTO_CLIENT_ID", "IOTO_USERNAME", "IOTO_PASSWORD")
"""What signs a user in at ``IOTO_COGNITO``."""


def cloud_url(api: str | None, settings: Settings, *, allow_http: bool) -> URL:
    """The base URL of the device cloud.

    Raises:
        InvalidArgumentError: there is none, or it is malformed.
    """
    if api is not None:
        return parse_endpoint(api, allow_http=allow_http)
    if settings.api is None:
        raise MissingSettingError("base URL of the device cloud", argument="api", variable="IOTO_API")
    return parse_endpoint(settings.api, name="IOTO_API", allow_http=allow_http)


def builder_url(url: str | None, settings: Settings, *, allow_http: bool) -> URL:
    """The base URL of the Builder.

    Raises:
        InvalidArgumentError: it is malformed.
    """
    if url is None and settings.builder is not None:
        return parse_endpoint(settings.builder, name="IOTO_BUILDER", allow_http=allow_http)
    return parse_endpoint(BUILDER_URL if url is None else url, name="builder", allow_http=allow_http)


def builder_auth(token: str | None, settings: Settings) -> Auth:
    """The credentials for the Builder; none of them if there is no token.

    Raises:
        InvalidArgumentError: the token cannot be sent.
    """
    if token is not None:
        return TokenAuth(check_token(token, "builder_token"))
    if settings.builder_token is not None:
        return TokenAuth(check_token(settings.builder_token, "BUILDER_TOKEN"))
    return NoAuth()


def token_of(settings: Settings) -> str | None:
    """The token of the environment; None if there is none.

    Raises:
        InvalidArgumentError: it cannot be sent.
    """
    return None if settings.token is None else check_token(settings.token, "IOTO_TOKEN")


class SignInOptions(TypedDict, total=False):
    """The options of a `CognitoLogin`."""

    ssl: ssl_module.SSLContext | None
    timeout: float
    proxy: str | URL | None
    trust_env: bool


def login_of(settings: Settings, **options: Unpack[SignInOptions]) -> "CognitoLogin":
    """The sign-in that the environment says, where it has no token.

    Raises:
        InvalidArgumentError: it has none either, or a part of one, or it is malformed.
    """
    from .cognito import CognitoLogin

    endpoint, client_id = settings.cognito, settings.client_id
    username, password = settings.username, settings.password
    if endpoint is None:
        variables = f"IOTO_TOKEN, or to sign in IOTO_COGNITO, {', '.join(_SIGN_IN)} and IOTO_HOST"
        raise MissingSettingError("credentials", argument="token or login", variable=variables)
    if client_id is None or username is None or password is None:
        values = (client_id, username, password)
        missing = " and ".join(name for name, value in zip(_SIGN_IN, values, strict=True) if value is None)
        raise MissingSettingError("complete sign-in", argument="login", variable=f"{missing} beside IOTO_COGNITO")
    parse_endpoint(endpoint, name="IOTO_COGNITO")
    check_text("IOTO_CLIENT_ID", client_id)
    check_text("IOTO_USERNAME", username)
    check_password("IOTO_PASSWORD", password)
    return CognitoLogin(endpoint, client_id, username, password, **options)


def cloud_auth(
    token: str | None, login: str | TokenProvider | None, origin: str | None, *, bearer: bool
) -> TokenAuth | LoginAuth:
    """The credentials for the device cloud: *token* or *login*.

    Raises:
        InvalidArgumentError: an argument does not fit, or the origin is missing.
    """
    if token is not None and login is not None:
        raise InvalidArgumentError("token and login: give one of them")
    if token is not None:
        return TokenAuth(token, bearer=bearer)
    if bearer:
        raise InvalidArgumentError("bearer: a login token is sent as it is")
    if origin is None:
        what = "domain of the device app, which login tokens go with"
        raise MissingSettingError(what, argument="origin", variable="IOTO_HOST")
    assert login is not None  # both callers have looked
    return LoginAuth(login, origin=origin)
