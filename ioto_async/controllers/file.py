"""The File controller: files of an account (reference, section 11)."""

import binascii
from collections.abc import Mapping
from functools import partial
from os import PathLike
from typing import Unpack

from ..codec import decoding, encoding
from ..errors import InvalidArgumentError
from ..models import File
from ..operations import IOTO, Operation
from ..transfer.transfer import DownloadOptions, Source, Transfer, UploadOptions, download, upload
from ..transport.options import CallOptions
from .base import Command, Controller, merged
from .paging import Paged

__all__ = ["FileController"]

_FILE = decoding.result(File, may_be_empty=True)
_FOUND = decoding.record(File, must_exist=True, instead="data")
_FILES = decoding.paged(File, key="filename")


class FileController(Controller):
    """Files. Source: the vendor's page ``ioto/ref/file``, which does not say what the calls answer."""

    def _named(self, operation: Operation, filename: str, account_id: str | None) -> dict[str, object]:
        # The table leaves these bodies open, so that what they are about is checked here.
        return {"filename": encoding.required_text(operation, "filename", filename)} | self._scope(
            operation, account_id
        )

    def _scope(self, operation: Operation, account_id: str | None) -> dict[str, object]:
        account = self._account(account_id)
        return {} if account is None else {"accountId": encoding.required_text(operation, "accountId", account)}

    async def get(self, filename: str, *, account_id: str | None = None, **options: Unpack[CallOptions]) -> File:
        """Get a file with its content: ``(await client.file.get("a.txt")).content`` is bytes.

        Args:
            filename: path of the file.
            account_id: account that owns it; the client's by default.

        Raises:
            NotFoundError: there is none.
        """
        body = {"filename": filename, "accountId": self._account(account_id)}
        return await self._transport.call(IOTO["file/get"], _FOUND, body, options)

    async def get_signed_url(
        self,
        *,
        id: str | None = None,
        command: Command | None = None,
        filename: str | None = None,
        mime_type: str | None = None,
        size: int | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> str:
        """Get a URL to transfer one file with; whoever has the URL can use it.

        Args:
            id: claim ID of the device that transfers; not documented, but sent by the device agent.
            command: what the URL is for.
            filename: path of the file.
            mime_type: its content type.
            size: its size, bytes.
            account_id: account that owns the file; the client's by default.

        Returns:
            The URL, a `Secret`.
        """
        body = {
            "accountId": self._account(account_id),
            "id": id,
            "command": command,
            "filename": filename,
            "mimeType": mime_type,
            "size": size,
        }
        return await self._transport.call(IOTO["file/getSignedUrl"], decoding.signed_url, body, options)

    def list(
        self,
        filters: Mapping[str, object] | None = None,
        *,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Paged[File]:
        """List files, without their content; await for one page, ``async for`` for all.

        Args:
            filters: attributes that the files must have, named as on the wire.
            account_id: account that owns the files; the client's by default.
        """
        operation = IOTO["file/list"]
        body = merged(operation, self._scope(operation, account_id), "filters", filters)
        return self._find(operation, _FILES, body, options)

    async def put(
        self,
        filename: str,
        data: bytes,
        *,
        mime_type: str | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> File:
        """Write a file, whether it is new or not. It travels inside the request: use a signed URL for a large one.

        Args:
            filename: path of the file.
            data: its content.
            mime_type: its content type.
            account_id: account that owns it; the client's by default.

        Returns:
            What the service says of the file, which may be nothing.
        """
        operation = IOTO["file/put"]
        if not isinstance(data, bytes):
            raise InvalidArgumentError(f"{operation.name}: data: expected bytes, got {type(data).__name__}")
        body = {
            "filename": encoding.required_text(operation, "filename", filename),
            "mimeType": mime_type,
            "data": binascii.b2a_base64(data, newline=False).decode(),
            "accountId": self._account(account_id),
        }
        return await self._transport.call(operation, _FILE, body, options)

    async def remove(self, filename: str, *, account_id: str | None = None, **options: Unpack[CallOptions]) -> None:
        """Remove a file.

        Args:
            filename: path of the file.
            account_id: account that owns it; the client's by default.
        """
        operation = IOTO["file/remove"]
        body = self._named(operation, filename, account_id)
        await self._transport.call(operation, decoding.nothing, body, options)

    async def upload(
        self,
        filename: str,
        source: Source,
        *,
        account_id: str | None = None,
        **options: Unpack[UploadOptions],
    ) -> Transfer:
        """Write a file of any size.

        The bytes go to the URL that `get_signed_url` gives, without the client's token and headers. They are read as
        they go, and sent again as with calls, unless they come from an iterator that has begun.

        Args:
            filename: path of the file there.
            source: path of a file, bytes, or an async iterator of bytes.
            account_id: account that owns the file; the client's by default.
            options: see `ioto_async.transfer.transfer.UploadOptions`.

        Raises:
            TransferError: the source has more or fewer bytes than were announced.
            AuthenticationError: the signed URL was refused, a second one as well.
            OSError: the source cannot be read.
        """
        sign = partial(self.get_signed_url, account_id=account_id, command="put")
        return await upload(self._transport, "file/upload", sign, filename, source, options)

    async def download(
        self,
        filename: str,
        path: str | PathLike[str],
        *,
        account_id: str | None = None,
        **options: Unpack[DownloadOptions],
    ) -> Transfer:
        """Fetch a file of any size into a local one, which is replaced when all is there and well, and else stays.

        The bytes come from the URL that `get_signed_url` gives, without the client's token and headers.

        Args:
            filename: path of the file there.
            path: where it goes.
            account_id: account that owns the file; the client's by default.
            options: see `ioto_async.transfer.transfer.DownloadOptions`.

        Raises:
            NotFoundError: there is no such file.
            TransferError: it is too large, or its checksum is another.
            AuthenticationError: the signed URL was refused, a second one as well.
            OSError: *path* cannot be written.
        """
        sign = partial(self.get_signed_url, account_id=account_id, command="get")
        return await download(self._transport, "file/download", sign, filename, path, options)
