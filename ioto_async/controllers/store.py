"""The key-value store of a device: Generic calls on the model Store (reference, sections 8 and 11).

The API's own ``store/*`` calls are for devices over MQTT.
"""

from datetime import datetime
from typing import Unpack

from ..codec import decoding, encoding
from ..codec.encoding import OMIT, Omit, exists_query
from ..errors import InvalidArgumentError
from ..models import Cursor, StoreItem
from ..operations import IOTO, Operation
from ..transport.capture import one_request
from ..transport.options import CallOptions
from .base import Controller
from .paging import Paged

__all__ = ["StoreController"]

_ITEM = decoding.record(StoreItem)
_FOUND = decoding.record(StoreItem, must_exist=True, named=True)
_ITEMS = decoding.paged(StoreItem)


class StoreController(Controller):
    """Values by key, of one device each. Source: the vendor's pages ``ioto/ref/store`` and ``generic``."""

    def _body(self, operation: Operation, account_id: str | None, **key: str) -> dict[str, object]:
        # The table leaves the body open, so that what identifies an item is checked here.
        identified = {name: encoding.required_text(operation, name, value) for name, value in key.items()}
        return {"_type": "Store", "accountId": self._account(account_id), **identified}

    @one_request
    async def get(
        self, device_id: str, key: str, *, account_id: str | None = None, **options: Unpack[CallOptions]
    ) -> StoreItem:
        """Get the item of a key.

        Args:
            device_id: device that owns the item.
            key: its key.
            account_id: account that owns the device; the client's by default.

        Raises:
            NotFoundError: there is none.
        """
        operation = IOTO["generic/get"]
        body = self._body(operation, account_id, deviceId=device_id, key=key)
        return await self._transport.call(operation, _FOUND, body, options)

    @one_request
    async def set(
        self,
        device_id: str,
        key: str,
        value: object,
        *,
        type: str | None = None,
        expires: datetime | Omit | None = OMIT,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> StoreItem:
        """Set a key, whether it is new or not.

        Args:
            device_id: device that owns the item.
            key: its key.
            value: any JSON value but null, or what becomes one: an enum its value, a datetime and a UUID text.
            type: ``number``, ``string`` or ``boolean``; by default what *value* becomes, and ``object`` for the rest.
            expires: when the item goes away; None for never. What is left out stays as it is.
            account_id: account that owns the device; the client's by default.
        """
        operation = IOTO["generic/update"]
        own = encoding.json_type(operation, "value", value)
        if own == "null":
            raise InvalidArgumentError(f"{operation.name}: value is required: nulls are not stored, use remove")
        body = self._body(operation, account_id, deviceId=device_id, key=key)
        type = own if type is None else encoding.required_text(operation, "type", type)
        body |= {"value": value, "type": type}
        if expires is not OMIT:
            body["expires"] = encoding.timestamp(operation, "expires", expires)
        return await self._transport.call(operation, _ITEM, body, options, exists_query(operation, "any"))

    @one_request
    async def remove(
        self, device_id: str, key: str, *, account_id: str | None = None, **options: Unpack[CallOptions]
    ) -> None:
        """Remove a key; that it is not there is no error.

        Args:
            device_id: device that owns the item.
            key: its key.
            account_id: account that owns the device; the client's by default.
        """
        operation = IOTO["generic/remove"]
        body = self._body(operation, account_id, deviceId=device_id, key=key)
        await self._transport.call(operation, decoding.nothing, body, options)

    @one_request
    def find(
        self,
        device_id: str,
        *,
        account_id: str | None = None,
        limit: int | None = None,
        next: Cursor | None = None,
        prev: Cursor | None = None,
        **options: Unpack[CallOptions],
    ) -> Paged[StoreItem]:
        """Find all keys of a device; await for one page, ``async for`` for all.

        Args:
            device_id: device that owns the items.
            account_id: account that owns the device; the client's by default.
            limit: items in a page.
            next: cursor of a page to begin with.
            prev: cursor of a page to begin with; given alone, pages are read backward.
        """
        operation = IOTO["generic/find"]
        body = self._body(operation, account_id, deviceId=device_id)
        return self._find(operation, _ITEMS, body, options, limit=limit, next=next, prev=prev)
