"""The Device controller of a device cloud: claim, provision, release (reference, section 11)."""

from functools import partial
from os import PathLike
from typing import Unpack

from ..codec import decoding
from ..models import Certificates, Credentials, Cursor, Device
from ..operations import IOTO
from ..transfer.transfer import DownloadOptions, Source, Transfer, UploadOptions, download, upload
from ..transport.options import CallOptions
from .base import Command, Controller, legacy
from .paging import Paged

__all__ = ["DeviceController"]

_DEVICE = decoding.record(Device)
_FOUND = decoding.record(Device, must_exist=True)
_DEVICES = decoding.paged(Device)
_CREDENTIALS = decoding.result(Credentials)
_CERTIFICATES = decoding.result(Certificates)


class DeviceController(Controller):
    """Devices of the cloud. Source: the vendor's page ``ioto/ref/device``."""

    async def claim(self, id: str, *, account_id: str | None = None, **options: Unpack[CallOptions]) -> Device:
        """Move a registered device from the Builder into this cloud.

        The service refuses a device that is claimed already, even by the same account: after a `BadRequestError`, and
        the more so if its ``outcome_unknown`` is set, `get` tells whether the device is yours.

        Args:
            id: claim ID.
            account_id: account that claims; the client's by default.
        """
        body = {"id": id, "accountId": self._account(account_id)}
        return await self._transport.call(IOTO["device/claim"], _DEVICE, body, options)

    def find(
        self,
        *,
        id: str | None = None,
        product_id: str | None = None,
        account_id: str | None = None,
        index: str | None = None,
        limit: int | None = None,
        next: Cursor | None = None,
        prev: Cursor | None = None,
        **options: Unpack[CallOptions],
    ) -> Paged[Device]:
        """Find claimed devices; await for one page, ``async for`` for all.

        Args:
            id: only this claim ID.
            product_id: only devices of this product.
            account_id: only devices of this account; the client's by default.
            index: ``primary`` or ``gs1``; for owners.
            limit: devices in a page.
            next: cursor of a page to begin with.
            prev: cursor of a page to begin with; given alone, pages are read backward.
        """
        body = {"id": id, "productId": product_id, "accountId": self._account(account_id)}
        return self._find(IOTO["device/find"], _DEVICES, body, options, index=index, limit=limit, next=next, prev=prev)

    async def get(self, id: str, *, account_id: str | None = None, **options: Unpack[CallOptions]) -> Device:
        """Get one claimed device.

        Args:
            id: claim ID.
            account_id: account that owns it; the client's by default.

        Raises:
            NotFoundError: no such device, or it is another account's.
        """
        body = {"id": id, "accountId": self._account(account_id)}
        return await self._transport.call(IOTO["device/get"], _FOUND, body, options)

    async def get_creds(self, **options: Unpack[CallOptions]) -> Credentials:
        """Get temporary AWS keys; for a device token, on dedicated clouds only."""
        return await self._transport.call(IOTO["device/getCreds"], _CREDENTIALS, {}, options)

    async def get_signed_url(
        self,
        *,
        id: str | None = None,
        command: Command | None = None,
        filename: str | None = None,
        mime_type: str | None = None,
        size: int | None = None,
        **options: Unpack[CallOptions],
    ) -> str:
        """Get a URL to transfer one file with; whoever has the URL can use it.

        Args:
            id: claim ID.
            command: what the URL is for.
            filename: path of the file.
            mime_type: its content type.
            size: its size, bytes.

        Returns:
            The URL, a `Secret`.
        """
        body = {"id": id, "command": command, "filename": filename, "mimeType": mime_type, "size": size}
        return await self._transport.call(IOTO["device/getSignedUrl"], decoding.signed_url, body, options)

    async def provision(self, id: str, **options: Unpack[CallOptions]) -> Certificates:
        """Get a claimed device's certificate, key and MQTT endpoint.

        Args:
            id: claim ID.

        Raises:
            DeviceBlockedError: the device is blocked for excess traffic; ``delay`` says for how long.
            InBandError: the reply is a 200 with another ``error``.
        """
        return await self._transport.call(IOTO["device/provision"], _CERTIFICATES, {"id": id}, options)

    async def release(self, id: str, *, account_id: str | None = None, **options: Unpack[CallOptions]) -> Device:
        """Hand a device back to the Builder, so that it can be claimed again.

        Args:
            id: claim ID.
            account_id: account that owns it; the client's by default.
        """
        body = {"id": id, "accountId": self._account(account_id)}
        return await self._transport.call(IOTO["device/release"], _DEVICE, body, options)

    @legacy(IOTO["device/remove"])
    async def remove(self, id: str, *, account_id: str | None = None, **options: Unpack[CallOptions]) -> Device:
        """Hand a device back to the Builder. Deprecated: ``device.release``, which does the same, replaced it.

        Args:
            id: claim ID.
            account_id: account that owns it; the client's by default.
        """
        body = {"id": id, "accountId": self._account(account_id)}
        return await self._transport.call(IOTO["device/remove"], _DEVICE, body, options)

    async def upload(
        self,
        filename: str,
        source: Source,
        *,
        id: str | None = None,
        **options: Unpack[UploadOptions],
    ) -> Transfer:
        """Write a file of any size. See `FileController.upload`, which also says what is raised.

        Args:
            filename: path of the file there.
            source: path of a file, bytes, or an async iterator of bytes.
            id: claim ID.
            options: see `ioto_async.transfer.transfer.UploadOptions`.
        """
        sign = partial(self.get_signed_url, id=id, command="put")
        return await upload(self._transport, "device/upload", sign, filename, source, options)

    async def download(
        self,
        filename: str,
        path: str | PathLike[str],
        *,
        id: str | None = None,
        **options: Unpack[DownloadOptions],
    ) -> Transfer:
        """Fetch a file of any size. See `FileController.download`, which also says what is raised.

        Args:
            filename: path of the file there.
            path: where it goes.
            id: claim ID.
            options: see `ioto_async.transfer.transfer.DownloadOptions`.
        """
        sign = partial(self.get_signed_url, id=id, command="get")
        return await download(self._transport, "device/download", sign, filename, path, options)
