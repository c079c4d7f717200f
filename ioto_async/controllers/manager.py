"""The Manager controller: device apps (reference, section 11)."""

from collections.abc import Sequence
from functools import partial
from os import PathLike
from typing import Unpack

from ..codec import decoding
from ..codec.encoding import OMIT, Omit
from ..models import Manager
from ..operations import IOTO
from ..transfer.transfer import DownloadOptions, Source, Transfer, UploadOptions, download, upload
from ..transport.options import CallOptions
from .base import Command, Controller, need_one

__all__ = ["ManagerController"]

_MANAGER = decoding.record(Manager)
_FOUND = decoding.record(Manager, must_exist=True)


class ManagerController(Controller):
    """Device managers, which are apps. Source: the vendor's bundle, page ``manager``."""

    async def get(self, id: str | None = None, **options: Unpack[CallOptions]) -> Manager:
        """Get one manager.

        Args:
            id: key of the manager; by default the caller's own.

        Raises:
            NotFoundError: there is none.
        """
        return await self._transport.call(IOTO["manager/get"], _FOUND, {"id": id}, options)

    async def get_signed_url(
        self,
        *,
        id: str | None = None,
        clean: bool | None = None,
        command: Command | None = None,
        filename: str | None = None,
        mime_type: str | None = None,
        size: int | None = None,
        **options: Unpack[CallOptions],
    ) -> str:
        """Get a URL to transfer one file of an app with; whoever has the URL can use it.

        Args:
            id: key of the manager.
            clean: delete the old files of the app.
            command: what the URL is for.
            filename: path of the file.
            mime_type: its content type.
            size: its size, bytes.

        Returns:
            The URL, a `Secret`.
        """
        body = {
            "id": id,
            "clean": clean,
            "command": command,
            "filename": filename,
            "mimeType": mime_type,
            "size": size,
        }
        return await self._transport.call(IOTO["manager/getSignedUrl"], decoding.signed_url, body, options)

    async def provision(self, id: str, **options: Unpack[CallOptions]) -> Manager:
        """Put an app into operation.

        Args:
            id: key of the manager.
        """
        return await self._transport.call(IOTO["manager/provision"], _MANAGER, {"id": id}, options)

    async def update(
        self,
        id: str,
        *,
        cloud_id: str | Omit | None = OMIT,
        custom: bool | Omit | None = OMIT,
        domain: str | Omit | None = OMIT,
        name: str | Omit | None = OMIT,
        owner: str | Omit | None = OMIT,
        prior_domain: str | Omit | None = OMIT,
        region: str | Omit | None = OMIT,
        title: str | Omit | None = OMIT,
        users: Sequence[object] | Omit | None = OMIT,
        version: str | Omit | None = OMIT,
        version_current: str | Omit | None = OMIT,
        **options: Unpack[CallOptions],
    ) -> Manager:
        """Change a manager; what is left out stays as it is, and None clears it.

        Args:
            id: key of the manager.
            cloud_id: device cloud.
            custom: whether the domain is the account's own.
            domain: domain of the app.
            name: its name.
            owner: e-mail address of its owner.
            prior_domain: domain that it had before.
            region: AWS region.
            title: its title.
            users: who may use it.
            version: its version.
            version_current: the present version; what sets it apart is not documented.
        """
        operation = IOTO["manager/update"]
        need_one(operation, id=id)
        changes = {
            "cloudId": cloud_id,
            "custom": custom,
            "domain": domain,
            "name": name,
            "owner": owner,
            "priorDomain": prior_domain,
            "region": region,
            "title": title,
            "users": users,
            "version": version,
            "versionCurrent": version_current,
        }
        return await self._update(operation, _MANAGER, {"id": id}, changes, options)

    async def update_display(
        self,
        id: str,
        display: str,
        *,
        cloud_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Manager:
        """Replace the display file of an app.

        Args:
            id: key of the manager.
            display: text of the display file.
            cloud_id: device cloud.
        """
        operation = IOTO["manager/updateDisplay"]
        need_one(operation, id=id)
        need_one(operation, display=display)
        body = {"cloudId": cloud_id, "display": display, "id": id}
        return await self._transport.call(operation, _MANAGER, body, options)

    async def upload(
        self,
        filename: str,
        source: Source,
        *,
        id: str | None = None,
        clean: bool | None = None,
        **options: Unpack[UploadOptions],
    ) -> Transfer:
        """Write a file of any size. See `FileController.upload`, which also says what is raised.

        Args:
            filename: path of the file in the app.
            source: path of a file, bytes, or an async iterator of bytes.
            id: key of the manager.
            clean: delete the old files of the app first.
            options: see `ioto_async.transfer.transfer.UploadOptions`.
        """
        sign = partial(self.get_signed_url, id=id, clean=clean, command="put")
        return await upload(self._transport, "manager/upload", sign, filename, source, options)

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
            filename: path of the file in the app.
            path: where it goes.
            id: key of the manager.
            options: see `ioto_async.transfer.transfer.DownloadOptions`.
        """
        sign = partial(self.get_signed_url, id=id, command="get")
        return await download(self._transport, "manager/download", sign, filename, path, options)
