"""Who the caller is to a cloud: the kind of its token, its role, its user and its account."""

from collections.abc import Iterable
from typing import Final, Literal

import attrs

from ...client import IotoClient
from ...errors import (
    AuthenticationError,
    BadRequestError,
    DecodeError,
    InBandError,
    InvalidArgumentError,
    NotFoundError,
)
from ...models import JSON, Account, User

__all__ = ["Identity", "TokenKind", "act_for", "identify"]

TokenKind = Literal["CloudAPI token", "device token", "login access token"]

_ACCOUNTS: Final = 20
"""Accounts that are looked at, to find the one to set."""


@attrs.frozen(kw_only=True)
class Identity:
    """A caller, as the cloud sees it."""

    endpoint: str | None
    """Base URL of the cloud; None in a replay, which needs none."""
    kind: TokenKind
    """What kind of token it calls with, as far as the replies tell."""
    role: str
    """``user``, ``admin``, ``owner``, or ``device``; of a token the least that it must have for what it may do."""
    user: User | None = None
    """Who has signed in; None for other tokens."""
    account: Account | None = None
    """The account that is acted for: that of the user, or the only one that the token sees."""
    accounts: tuple[Account, ...] | None = None
    """The first accounts that the token sees; None if the cloud does not say."""

    def to_dict(self) -> dict[str, JSON]:
        """The identity as JSON; its keys are always the same."""
        user, account = self.user, self.account
        return {
            "endpoint": self.endpoint,
            "token": self.kind,
            "role": self.role,
            "account_id": None if account is None else account.id,
            "account_name": None if account is None else account.name,
            "user_id": None if user is None else user.id,
            "user_email": None if user is None else user.email,
        }


async def identify(client: IotoClient, *, endpoint: str | None, is_login: bool) -> Identity:
    """Find out who the caller is, by calls that only read.

    Args:
        client: acts for no account.
        endpoint: its base URL.
        is_login: whether it calls with login tokens.

    Raises:
        AuthenticationError: the cloud refuses the token.
        NotFoundError: who has signed in is no user of the cloud.
        CallError: a call failed otherwise.
    """
    if is_login:
        user, account = await _signed_in(client)
        role = "user" if user is None or user.role is None else user.role
        return Identity(endpoint=endpoint, kind="login access token", role=role, user=user, account=account)
    try:
        page = await client.account.find(limit=_ACCOUNTS)
    except AuthenticationError as refused:
        return await _of_lower_role(client, endpoint, refused)
    except (BadRequestError, DecodeError, InBandError):
        await client.device.find(limit=1)  # a cloud that lists no accounts may take the token all the same
        return Identity(endpoint=endpoint, kind="CloudAPI token", role="owner")
    accounts = _open(page.items)
    only = accounts[0] if len(accounts) == 1 and page.next is None else None
    return Identity(endpoint=endpoint, kind="CloudAPI token", role="owner", account=only, accounts=accounts)


async def act_for(client: IotoClient, identity: Identity, account_id: str, *, source: str) -> Identity:
    """The same caller, who acts for the account *account_id*, as the setting *source* says.

    Raises:
        InvalidArgumentError: the cloud has no such account, the caller does not see it, or it is not that of the user.
        CallError: the call failed otherwise.
    """
    if identity.user is not None and identity.account is not None:
        if identity.account.id != account_id:
            raise InvalidArgumentError(
                f"{source}: {identity.user.email} acts for {identity.account.id} alone, got {account_id!r}"
            )
        return identity
    if identity.kind != "CloudAPI token":
        return attrs.evolve(identity, account=Account(id=account_id))
    try:
        account = await client.account.get(account_id)
    except NotFoundError:
        raise InvalidArgumentError(f"{source}: there is no account {account_id!r}") from None
    except (BadRequestError, DecodeError, InBandError, AuthenticationError):
        account = Account(id=account_id)  # a cloud, or a role, that shows no accounts may act for it all the same
    return attrs.evolve(identity, account=account)


async def _signed_in(client: IotoClient) -> tuple[User | None, Account | None]:
    """Who has signed in, and the account of that user."""
    try:
        return await client.user.get(), await client.account.get()
    except NotFoundError:
        raise
    except (BadRequestError, DecodeError, InBandError):
        # What these answer without a key is not documented; this says the same, and makes no user.
        login = await client.user.login(register=False)
        return login.user, login.account


def _open(accounts: Iterable[Account]) -> tuple[Account, ...]:
    return tuple(account for account in accounts if not account.closed)


async def _of_lower_role(client: IotoClient, endpoint: str | None, refused: AuthenticationError) -> Identity:
    """Who a token is of that cannot list accounts.

    Raises:
        AuthenticationError: it is *refused* for everything.
    """
    try:
        await client.device.find(limit=1)
    except AuthenticationError:
        pass
    else:
        return Identity(endpoint=endpoint, kind="CloudAPI token", role="user")
    try:
        await client.file.list()
    except AuthenticationError:
        raise refused from None
    except NotFoundError:
        pass
    return Identity(endpoint=endpoint, kind="device token", role="device")
