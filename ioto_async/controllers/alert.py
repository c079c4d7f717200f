"""The Alert controller: what automations found worth telling (reference, section 11)."""

from typing import Unpack

from ..codec import decoding
from ..codec.encoding import OMIT, Omit
from ..models import Alert, Cursor
from ..operations import IOTO
from ..transport.options import CallOptions
from .base import Controller, need_one
from .paging import Paged

__all__ = ["AlertController"]

_ALERT = decoding.record(Alert)
_FOUND = decoding.record(Alert, must_exist=True)
_ALERTS = decoding.paged(Alert)


class AlertController(Controller):
    """Alerts. Source: the vendor's page ``ioto/ref/alert``."""

    def find(
        self,
        *,
        account_id: str | None = None,
        index: str | None = None,
        limit: int | None = None,
        next: Cursor | None = None,
        prev: Cursor | None = None,
        **options: Unpack[CallOptions],
    ) -> Paged[Alert]:
        """Find alerts; await for one page, ``async for`` for all.

        Args:
            account_id: account that owns them; the client's by default.
            index: ``primary`` or ``gs1``; for owners.
            limit: alerts in a page.
            next: cursor of a page to begin with.
            prev: cursor of a page to begin with; given alone, pages are read backward.
        """
        body = {"accountId": self._account(account_id)}
        return self._find(IOTO["alert/find"], _ALERTS, body, options, index=index, limit=limit, next=next, prev=prev)

    async def get(self, id: str, *, account_id: str | None = None, **options: Unpack[CallOptions]) -> Alert:
        """Get one alert.

        Args:
            id: key of the alert.
            account_id: account that owns it; the client's by default.

        Raises:
            NotFoundError: there is none.
        """
        operation = IOTO["alert/get"]
        need_one(operation, id=id)
        body = {"id": id, "accountId": self._account(account_id)}
        return await self._transport.call(operation, _FOUND, body, options)

    async def remove(self, id: str, *, account_id: str | None = None, **options: Unpack[CallOptions]) -> None:
        """Remove an alert.

        Args:
            id: key of the alert.
            account_id: account that owns it; the client's by default.
        """
        operation = IOTO["alert/remove"]
        need_one(operation, id=id)
        body = {"id": id, "accountId": self._account(account_id)}
        await self._transport.call(operation, decoding.nothing, body, options)

    async def update(
        self,
        id: str,
        *,
        resolved: bool | Omit | None = OMIT,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Alert:
        """Say whether an alert has been dealt with.

        Args:
            id: key of the alert.
            resolved: whether it has; None clears what is known of it.
            account_id: account that owns the alert; the client's by default.
        """
        operation = IOTO["alert/update"]
        need_one(operation, id=id)
        named = {"id": id, "accountId": self._account(account_id)}
        return await self._update(operation, _ALERT, named, {"resolved": resolved}, options)
