"""The Account controller: who owns devices and users (reference, section 11)."""

from typing import Unpack

from ..codec import decoding
from ..codec.encoding import OMIT, Omit
from ..models import Account, Cursor, NewAccount
from ..operations import IOTO
from ..transport.options import CallOptions
from .base import Controller, legacy, need_one
from .paging import Paged

__all__ = ["AccountController"]

_ACCOUNT = decoding.record(Account)
_FOUND = decoding.record(Account, must_exist=True)
_ACCOUNTS = decoding.paged(Account)
_NEW = decoding.result(NewAccount)


class AccountController(Controller):
    """Accounts. Source: the vendor's page ``ioto/ref/account``."""

    async def close(self, id: str | None = None, **options: Unpack[CallOptions]) -> None:
        """Close an account for good, with its users, devices and dashboards. It is never sent twice.

        Args:
            id: key of the account, for owners; the client's by default, and without one the caller's own.

        Raises:
            OutcomeUnknownError: it was sent, and whether the account is closed is not known.
        """
        await self._transport.call(IOTO["account/close"], decoding.nothing, {"id": self._account(id)}, options)

    @legacy(IOTO["account/create"])
    async def create(self, email: str, name: str, **options: Unpack[CallOptions]) -> NewAccount:
        """Make an account and its first user. Deprecated: ``user.login``, which makes the account, replaced it.

        Args:
            email: address of the account and of the user.
            name: person or company.

        Raises:
            OutcomeUnknownError: it was sent, and whether the account was made is not known.
        """
        return await self._transport.call(IOTO["account/create"], _NEW, {"email": email, "name": name}, options)

    def find(
        self,
        *,
        id: str | None = None,
        email: str | None = None,
        index: str | None = None,
        limit: int | None = None,
        next: Cursor | None = None,
        prev: Cursor | None = None,
        **options: Unpack[CallOptions],
    ) -> Paged[Account]:
        """Find accounts; await for one page, ``async for`` for all.

        Args:
            id: only this key; for administrators.
            email: only this address; for administrators.
            index: ``primary`` or ``gs1``; for owners.
            limit: accounts in a page.
            next: cursor of a page to begin with.
            prev: cursor of a page to begin with; given alone, pages are read backward.
        """
        body = {"id": id, "email": email}
        return self._find(
            IOTO["account/find"], _ACCOUNTS, body, options, index=index, limit=limit, next=next, prev=prev
        )

    async def get(
        self,
        id: str | None = None,
        *,
        email: str | None = None,
        index: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Account:
        """Get one account; with neither *id* nor *email* the client's, and without one the caller's own.

        Args:
            id: key of the account; for owners.
            email: its address; for owners.
            index: ``primary`` or ``gs1``, which a look-up by *email* may need; for owners.

        Raises:
            NotFoundError: there is none.
        """
        body = {"id": self._account(id) if email is None else id, "email": email}
        return await self._transport.call(IOTO["account/get"], _FOUND, body, options, {"index": index})

    async def update_identity(
        self,
        id: str | None = None,
        *,
        email: str | Omit | None = OMIT,
        name: str | Omit | None = OMIT,
        **options: Unpack[CallOptions],
    ) -> Account:
        """Change the address or the name of an account; what is left out stays as it is, and None clears it.

        Args:
            id: key of the account, for owners; the client's by default, and without one the caller's own.
            email: new address.
            name: new name.
        """
        operation = IOTO["account/updateIdentity"]
        need_one(operation, left_out=OMIT, email=email, name=name)
        named, changes = {"id": self._account(id)}, {"email": email, "name": name}
        return await self._update(operation, _ACCOUNT, named, changes, options)
