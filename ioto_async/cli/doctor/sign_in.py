"""Whether the sign-in service is reached, and the user can sign in."""

import ssl
from typing import Final

from ...errors import InvalidArgumentError, TokenProviderError
from ...settings import Settings, check_origin, parse_endpoint, secret
from ...transport.cognito import CognitoLogin
from ...transport.environment import login_of
from ...transport.proxies import Proxies
from .found import Found
from .network import Host, reached
from .results import CheckResult, Status, failed, ok, skipped

__all__ = ["SIGN_IN", "check_sign_in"]

SIGN_IN: Final = ("cognito", "client_id", "username", "password", "origin")
"""The settings of a sign-in; all of them are needed."""


async def check_sign_in(found: Found) -> CheckResult:
    """Whether the user that the settings name can sign in; only where they have no token."""
    target = found.target
    if target["token"] is not None:
        unused = "; IOTO_COGNITO is not used" if target["cognito"] is not None else ""
        return skipped(f"IOTO_TOKEN is set{unused}")
    missing = [target.named(name) for name in SIGN_IN if target[name] is None]
    if len(missing) == len(SIGN_IN) or target["cognito"] is None:
        return skipped("IOTO_COGNITO is not set")
    if missing:
        return failed(
            f"the sign-in is set in part: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set",
            f"set {' and '.join(missing)}, or unset IOTO_COGNITO and set IOTO_TOKEN",
            exit_status=2,
        )
    try:
        login, to = _login(found)
    except InvalidArgumentError as error:
        return failed(str(error), "correct the variable", exit_status=2)
    result = await reached(to, ssl.create_default_context() if target["cognito"].startswith("https:") else None)
    if result.status is Status.FAILED:
        return result
    try:
        token = await login()
    except TokenProviderError as error:
        return _refused(error)
    found.login = secret(token.value)
    minutes = "" if token.lifetime is None else f"; the access token is valid for {token.lifetime / 60:.0f} min"
    username = str(target.settings["username"].shown)
    return ok(f"{username} has signed in{minutes}", username=username, seconds_valid=token.lifetime)


def _login(found: Found) -> tuple[CognitoLogin, Host]:
    """The sign-in, and where it is.

    Raises:
        InvalidArgumentError: a setting does not fit.
    """
    target = found.target
    settings = Settings.from_env(target.environ)
    login = login_of(settings, timeout=found.limit, proxy=target.proxy, trust_env=True)
    try:
        check_origin(settings.origin)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"IOTO_HOST: {error}") from None
    url = parse_endpoint(str(settings.cognito), name="IOTO_COGNITO")
    proxy = Proxies(target.proxy, trust_env=True).of(url)
    return login, Host(url.host or "", url.port or 443, "the sign-in", "IOTO_COGNITO", proxy)


def _refused(error: TokenProviderError) -> CheckResult:
    text, status = error.message, error.status
    if status is None:
        return failed(f"the sign-in was not reached: {text}", "check IOTO_COGNITO and the network", exit_status=4)
    if 400 <= status < 500:
        hint = "check IOTO_USERNAME and IOTO_PASSWORD, and that IOTO_CLIENT_ID is of the user pool of IOTO_COGNITO"
        return failed(f"the sign-in is refused: {text}", hint, exit_status=3)
    return failed(f"the sign-in fails: {text}", "try again later")
