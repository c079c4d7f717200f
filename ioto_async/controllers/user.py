"""The User controller: the people of an account (reference, section 11)."""

from collections.abc import Mapping
from typing import Any, Literal, Unpack

from ..codec import decoding
from ..codec.encoding import OMIT, Omit
from ..models import Login, User
from ..operations import IOTO
from ..transport.options import CallOptions
from .base import Controller, need_one
from .paging import Paged

__all__ = ["Role", "UserController"]

_USER = decoding.record(User)
_FOUND = decoding.record(User, must_exist=True)
_USERS = decoding.paged(User)
_LOGIN = decoding.result(Login)

Role = Literal["user", "admin", "owner"]
"""What a user may do: look; change things as well; close the account as well."""


class UserController(Controller):
    """Users. Source: the vendor's page ``ioto/ref/user``."""

    async def create(
        self,
        email: str,
        role: Role,
        *,
        send_invite: bool | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> User:
        """Make a user. It is never sent twice without you saying so.

        Args:
            email: login address.
            role: what the user may do.
            send_invite: mail an invitation.
            account_id: account of the user; the client's by default.

        Raises:
            OutcomeUnknownError: it was sent, and whether the user was made is not known.
        """
        body = {"email": email, "role": role, "sendInvite": send_invite, "accountId": self._account(account_id)}
        return await self._transport.call(IOTO["user/create"], _USER, body, options)

    def find(
        self,
        *,
        id: str | None = None,
        email: str | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Paged[User]:
        """Find users; await for one page, ``async for`` for all.

        Args:
            id: only this key; for administrators.
            email: only this address; for administrators.
            account_id: only users of this account; the client's by default.
        """
        body = {"email": email, "id": id, "accountId": self._account(account_id)}
        return self._find(IOTO["user/find"], _USERS, body, options)

    async def get(
        self,
        id: str | None = None,
        *,
        email: str | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> User:
        """Get one user; with neither *id* nor *email* the caller.

        Args:
            id: key of the user; for administrators.
            email: login address; for administrators.
            account_id: account of the user; the client's by default.

        Raises:
            NotFoundError: there is none.
        """
        body = {"email": email, "id": id, "accountId": self._account(account_id)}
        return await self._transport.call(IOTO["user/get"], _FOUND, body, options)

    async def get_roles(self, **options: Unpack[CallOptions]) -> dict[str, Any]:
        """Get the roles of the cloud; what they hold is not documented."""
        return await self._transport.call(IOTO["user/getRoles"], decoding.plain, {}, options)

    async def login(
        self,
        *,
        invite: str | None = None,
        register: bool | None = None,
        social: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> Login:
        """Tell the cloud that a user has signed in; the first time makes the account. Needs a login token.

        Args:
            invite: key of an invitation.
            register: make the account and the user.
            social: the user signed in with an account elsewhere.

        Raises:
            InBandError: the reply is a 200 with an ``error``.
        """
        body = {"invite": invite, "register": register, "social": social}
        return await self._transport.call(IOTO["user/login"], _LOGIN, body, options)

    async def remove(
        self,
        id: str | None = None,
        *,
        email: str | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> None:
        """Remove a user, named by *id* or *email*.

        Args:
            id: key of the user.
            email: login address.
            account_id: account of the user; the client's by default.
        """
        operation = IOTO["user/remove"]
        need_one(operation, id=id, email=email)
        body = {"email": email, "id": id, "accountId": self._account(account_id)}
        await self._transport.call(operation, decoding.nothing, body, options)

    async def update(
        self,
        id: str | None = None,
        *,
        email: str | Omit | None = OMIT,
        first: str | Omit | None = OMIT,
        last: str | Omit | None = OMIT,
        preferences: Mapping[str, object] | Omit | None = OMIT,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> User:
        """Change a user, without *id* the caller; what is left out stays as it is, and None clears it.

        Args:
            id: key of the user.
            email: login address.
            first: given name.
            last: family name.
            preferences: settings of the app.
            account_id: account of the user; the client's by default.
        """
        operation = IOTO["user/update"]
        named = {"id": id, "accountId": self._account(account_id)}
        changes = {"email": email, "first": first, "last": last, "preferences": preferences}
        return await self._update(operation, _USER, named, changes, options)

    async def update_role(
        self,
        id: str,
        role: Role,
        *,
        send_invite: bool | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> User:
        """Change what a user may do.

        Args:
            id: key of the user.
            role: new role.
            send_invite: mail an invitation, again if there was one.
            account_id: account of the user; the client's by default.
        """
        operation = IOTO["user/updateRole"]
        need_one(operation, id=id)
        need_one(operation, role=role)
        body = {"id": id, "role": role, "sendInvite": send_invite, "accountId": self._account(account_id)}
        return await self._transport.call(operation, _USER, body, options)
