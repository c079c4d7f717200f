"""Whether the cloud takes the token, what its role allows, and which account it acts for."""

from typing import Final

from ...client import IotoClient
from ...errors import AuthenticationError, CallError, InvalidArgumentError, NotFoundError
from ...models import JSON, Account
from ...settings import check_text
from .found import Found
from .identity import identify
from .jwt import parse_jwt
from .results import CheckResult, failed, ok, warning
from .service import options_of, unreached
from .target import Target

__all__ = ["check_account", "check_role", "check_token"]

_MAKE_ONE: Final = "make a CloudAPI token in the Builder (the token list of your cloud), and set IOTO_TOKEN to it"
_GATEWAY: Final = ("Forbidden", "Unauthorized")
"""What AWS API Gateway itself says, of a host that leads to no API as well."""
_SHOWN: Final = 3
"""Accounts that are shown."""


# The token --------------------------------------------------------------------------------------------------------


async def check_token(found: Found) -> CheckResult:
    """Whether the cloud takes the token, and what kind of token it is."""
    target, is_login = found.target, found.login is not None
    if target["token"] is None and not is_login:
        return failed(
            "no credentials are set: neither IOTO_TOKEN nor a sign-in",
            f"{_MAKE_ONE}; or set IOTO_COGNITO, IOTO_CLIENT_ID, IOTO_USERNAME, IOTO_PASSWORD and IOTO_HOST to sign in",
            exit_status=2,
        )
    try:
        found.client = await found.stack.enter_async_context(_client(found))
    except InvalidArgumentError as error:
        return failed(str(error), _how_to_mend(target["token"] or ""), exit_status=2)
    try:
        found.identity = await identify(found.client, endpoint=str(found.url), is_login=is_login)
    except AuthenticationError as error:
        text, hint = _refused_login(error, target) if is_login else await _refused_token(error, found)
        return failed(text, hint, exit_status=3)
    except NotFoundError:
        return failed(
            f"{target.settings['username'].shown} has signed in, but is no user of this cloud",
            "sign in to the device app once, which makes the user, or have an administrator add it",
            exit_status=3,
        )
    except CallError as error:
        return unreached(error)
    identity = found.identity
    source = "the sign-in" if is_login else "IOTO_TOKEN"
    who = f" of {identity.user.email}" if identity.user is not None and identity.user.email else ""
    return ok(f"{identity.kind}{who}, from {source}, is accepted", kind=identity.kind, source=source)


def _client(found: Found) -> IotoClient:
    """A client with the credentials that are configured, which acts for no account.

    Raises:
        InvalidArgumentError: they do not fit.
    """
    target = found.target
    environ = {"IOTO_TOKEN": target["token"] or "", "IOTO_HOST": target["origin"] or ""}
    return IotoClient(str(found.url), login=found.login, environ=environ, **options_of(found))


def _how_to_mend(token: str) -> str:
    """What to do with a token that cannot be sent."""
    if token.strip().strip("\"'").lower().startswith("bearer"):
        return "leave out the word bearer: IOTO_TOKEN is the token alone"
    return "look for a line break, a space or a quote in IOTO_TOKEN, and take the token as the Builder shows it"


async def _refused_token(error: AuthenticationError, found: Found) -> tuple[str, str]:
    """What is wrong with a token that the cloud refuses, and what to do."""
    target = found.target
    token, text = target["token"] or "", f"the cloud refuses IOTO_TOKEN: {error.status} {error.message}"
    claims = parse_jwt(token)
    if claims is not None or await _is_login_token(found):
        use = "login access" if claims is None else claims.use
        ended = (
            f", which expired at {claims.ends:%Y-%m-%d %H:%M} UTC" if claims is not None and claims.has_ended else ""
        )
        hint = (
            "unset IOTO_TOKEN and set IOTO_COGNITO, IOTO_CLIENT_ID, IOTO_USERNAME, IOTO_PASSWORD and IOTO_HOST, with"
            f" which the client signs in by itself (in Python, login= takes such a token); or {_MAKE_ONE}"
        )
        return f"{text}; it is the {use} token of a sign-in{ended}", hint
    for name, what in (("builder_token", "BuilderAPI token"), ("product", "product token")):
        if token == target[name]:
            return f"{text}; it is the {what} of {target.named(name)}", _MAKE_ONE
    if error.message in _GATEWAY:
        what = f"API Gateway refuses it before a cloud has seen it: {target.named('api')} may be of another API"
        return text, f"{what}, or the token may be wrong: {_MAKE_ONE}"
    hint = (
        f"it may be of another cloud (is {target.named('api')} right?), suspended, revoked or expired, or a token of"
        f" the Builder or of a product: {_MAKE_ONE}"
    )
    return text, hint


async def _is_login_token(found: Found) -> bool:
    """Whether the token is good where login tokens are; asked at the same host."""
    token, origin = found.target["token"], found.target["origin"]
    if token is None or origin is None:
        return False
    client = IotoClient(str(found.url), login=token, origin=str(origin), environ={}, **options_of(found))
    try:
        async with client:
            await client.user.get()
    except CallError:
        return False
    return True


def _refused_login(error: AuthenticationError, target: Target) -> tuple[str, str]:
    hint = (
        f"IOTO_HOST ({target.settings['origin'].shown}) must be the domain of this cloud's device app, and"
        " IOTO_COGNITO its sign-in; a user who has never used the app must sign in there once"
    )
    return f"the cloud refuses the token of the sign-in: {error.status} {error.message}", hint


# The role ---------------------------------------------------------------------------------------------------------

_ALLOWED: Final = {
    "user": ("public", "user", "view"),
    "admin": ("public", "user", "view", "admin", "edit", "upgrade", "claimDevice", "releaseDevice"),
    "owner": ("public", "user", "view", "admin", "edit", "upgrade", "claimDevice", "releaseDevice", "owner"),
    "device": ("public", "device", "upgrade", "view", "edit"),
}
"""What each role is taken to allow where the cloud does not say so: no document maps the ones to the others."""


async def check_role(found: Found) -> CheckResult:
    """What the role of the caller allows."""
    identity = found.identity
    role, told = identity.role, None
    if role in ("admin", "owner"):
        try:
            told = _capabilities((await found.client.user.get_roles()).get(role))
        except CallError:
            told = None  # it is the documents' then
    allowed = told or _ALLOWED.get(role, ())
    source = "the cloud" if told else "assumed"
    details: dict[str, JSON] = {"role": role, "allows": [*allowed], "source": source}
    if role == "device":
        return warning(
            "device: may do what a device does for itself, and nothing for others", f"for more, {_MAKE_ONE}", **details
        )
    if not {"claimDevice", "releaseDevice"} <= {*allowed}:
        return warning(
            f"{role}: may view, but not claim, provision or release devices, nor administer anything",
            f"if you need that, sign in as an admin or an owner, or {_MAKE_ONE}",
            **details,
        )
    more = ", and close the account" if "owner" in allowed else ""
    return ok(f"{role}: may view, change and administer, claim and release devices{more}", **details)


def _capabilities(value: object) -> tuple[str, ...] | None:
    """What the cloud says of a role; None if that is not an array of names."""
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return tuple(value)
    return None


# The account ------------------------------------------------------------------------------------------------------


async def check_account(found: Found) -> CheckResult:
    """Which account calls act for, and whether there is such an account."""
    target, identity = found.target, found.identity
    setting = target.settings["account"]
    if setting.value is not None:
        try:
            check_text(str(setting.source), str(setting.value))
        except InvalidArgumentError as error:
            return failed(str(error), f"write {setting.source} without it", exit_status=2)
        return await _named(found, str(setting.value), str(setting.source))
    if identity.account is not None and identity.user is not None:
        return ok(f"{_name(identity.account)}, that of the user", **_members(identity.account, "user"))
    if identity.account is not None:
        return warning(
            f"the only account is {_name(identity.account)}, and calls do not name it",
            f"set IOTO_ACCOUNT={identity.account.id} (or give --account)",
            **_members(identity.account, None),
        )
    if identity.accounts:
        shown = ", ".join(_name(account) for account in identity.accounts[:_SHOWN])
        more = ", …" if len(identity.accounts) > _SHOWN else ""
        return warning(
            f"calls name no account, and there are several: {shown}{more}",
            "set IOTO_ACCOUNT (or give --account) to the ID of yours",
            account_id=None,
            accounts=[account.id for account in identity.accounts],
        )
    if identity.kind == "CloudAPI token" and identity.accounts is None:
        return warning(
            "calls name no account, and the cloud does not say which there are",
            "set IOTO_ACCOUNT (or give --account) to the ID of yours, which the device app shows",
            account_id=None,
        )
    if identity.kind == "CloudAPI token":
        return warning(
            "the cloud has no account yet",
            "sign in to the device app once, which makes an account; devices are claimed for one",
            account_id=None,
        )
    return ok("that of the token, which the cloud does not tell", account_id=None)


async def _named(found: Found, id: str, source: str) -> CheckResult:
    """Whether there is an account *id*, which is set by *source*."""
    identity, account = found.identity, found.identity.account
    if identity.user is not None and account is not None:
        if account.id == id:
            return ok(f"{_name(account)}, from {source}, is that of the user", **_members(account, source))
        return failed(
            f"{source} names {id}, but {identity.user.email} is of {_name(account)}",
            f"unset {source}: a user acts for the own account alone",
            account_id=account.id,
            account_name=account.name,
            source="user",
        )
    if identity.kind == "device token":
        return ok(f"{id}, from {source}; a device token acts for its own account alone", account_id=id, source=source)
    seen = identity.accounts or ()
    account = next((each for each in seen if each.id == id), None)
    try:
        account = account or await found.client.account.get(id)
    except (NotFoundError, AuthenticationError) as error:
        known = ", ".join(_name(each) for each in seen[:_SHOWN])
        hint = f"set {source} to one of those that the token sees: {known}" if known else f"correct {source}"
        if isinstance(error, AuthenticationError):
            return failed(f"the token does not see the account {id}, from {source}", hint, exit_status=3)
        return failed(f"there is no account {id}, from {source}", hint)
    except CallError as error:
        return unreached(error)
    if account.closed:
        return failed(f"{_name(account)}, from {source}, is closed", f"set {source} to another account")
    return ok(f"{_name(account)}, from {source}", **_members(account, source))


def _name(account: Account) -> str:
    return f"{account.id} ({account.name})" if account.name else account.id


def _members(account: Account, source: str | None) -> dict[str, JSON]:
    return {"account_id": account.id, "account_name": account.name, "source": source}
