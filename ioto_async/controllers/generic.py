"""The Generic controller: any model of the device database (reference, sections 8 and 11)."""

from collections.abc import Mapping
from typing import Unpack

from ..codec import decoding
from ..codec.encoding import Exists, exists_query
from ..models import Cursor, Item
from ..operations import IOTO, Operation
from ..transport.options import CallOptions
from .base import Controller, merged
from .paging import Paged

__all__ = ["GenericController"]

_ITEM = decoding.record(Item)
_FOUND = decoding.record(Item, must_exist=True)
_ITEMS = decoding.paged(Item)


class GenericController(Controller):
    """Items of any database model. Source: the vendor's page ``ioto/ref/generic``.

    Where a method takes ``fields``, these are attributes of the model, named as on the wire.
    """

    def _body(
        self,
        operation: Operation,
        model: str,
        fields: Mapping[str, object] | None,
        device_id: str | None,
        account_id: str | None,
    ) -> Mapping[str, object]:
        named = {"_type": model, "deviceId": device_id, "accountId": account_id}
        body = merged(operation, named, "fields", fields)
        return {**body, "accountId": self._account_id} if body["accountId"] is None else body

    async def create(
        self,
        model: str,
        fields: Mapping[str, object] | None = None,
        *,
        device_id: str | None = None,
        account_id: str | None = None,
        exists: Exists | None = None,
        **options: Unpack[CallOptions],
    ) -> Item:
        """Create an item. It is never sent twice without you saying so.

        Args:
            model: name of the model.
            fields: attributes of the item.
            device_id: device that owns the item.
            account_id: account that owns the item; the client's by default.
            exists: what must be true before; the service's default is False.

        Raises:
            OutcomeUnknownError: it was sent, and whether the item was made is not known.
        """
        operation = IOTO["generic/create"]
        body = self._body(operation, model, fields, device_id, account_id)
        return await self._transport.call(operation, _ITEM, body, options, exists_query(operation, exists))

    def find(
        self,
        model: str,
        fields: Mapping[str, object] | None = None,
        *,
        device_id: str | None = None,
        account_id: str | None = None,
        index: str | None = None,
        limit: int | None = None,
        next: Cursor | None = None,
        prev: Cursor | None = None,
        **options: Unpack[CallOptions],
    ) -> Paged[Item]:
        """Find items; await for one page, ``async for`` for all.

        Args:
            model: name of the model.
            fields: attributes that the items must have.
            device_id: device that owns the items.
            account_id: account that owns the items; the client's by default.
            index: ``primary`` or ``gs1``; for owners.
            limit: items in a page.
            next: cursor of a page to begin with.
            prev: cursor of a page to begin with; given alone, pages are read backward.
        """
        operation = IOTO["generic/find"]
        body = self._body(operation, model, fields, device_id, account_id)
        return self._find(operation, _ITEMS, body, options, index=index, limit=limit, next=next, prev=prev)

    async def get(
        self,
        model: str,
        fields: Mapping[str, object] | None = None,
        *,
        device_id: str | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Item:
        """Get one item; the service refuses attributes that match more than one.

        Args:
            model: name of the model.
            fields: attributes that identify the item.
            device_id: device that owns the item.
            account_id: account that owns the item; the client's by default.

        Raises:
            NotFoundError: there is none.
        """
        operation = IOTO["generic/get"]
        body = self._body(operation, model, fields, device_id, account_id)
        return await self._transport.call(operation, _FOUND, body, options)

    async def remove(
        self,
        model: str,
        fields: Mapping[str, object] | None = None,
        *,
        device_id: str | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> None:
        """Remove an item; that it is not there is no error.

        Args:
            model: name of the model.
            fields: attributes that identify the item.
            device_id: device that owns the item.
            account_id: account that owns the item; the client's by default.
        """
        operation = IOTO["generic/remove"]
        body = self._body(operation, model, fields, device_id, account_id)
        await self._transport.call(operation, decoding.nothing, body, options)

    async def update(
        self,
        model: str,
        fields: Mapping[str, object] | None = None,
        *,
        device_id: str | None = None,
        account_id: str | None = None,
        exists: Exists | None = None,
        **options: Unpack[CallOptions],
    ) -> Item:
        """Change attributes of an item.

        Args:
            model: name of the model.
            fields: attributes that identify the item, and those to set; None removes an attribute.
            device_id: device that owns the item.
            account_id: account that owns the item; the client's by default.
            exists: what must be true before; the service's default is True, ``"any"`` creates the item if need be.
        """
        operation = IOTO["generic/update"]
        body = self._body(operation, model, fields, device_id, account_id)
        return await self._transport.call(operation, _ITEM, body, options, exists_query(operation, exists))
