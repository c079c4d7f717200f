"""The Provision controller: certificates and updates (reference, section 11)."""

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Final, Unpack

import attrs

from ..codec import decoding
from ..errors import DecodeError, InvalidArgumentError, IotoError, one_line
from ..models import Certificates, Credentials, UpdateOffer
from ..operations import IOTO
from ..settings import check_signed_url
from ..transfer.transfer import Progress, check_download, fetch
from ..transport.effects import EFFECTS
from ..transport.options import CallOptions
from .base import Controller, legacy, merged

__all__ = ["FetchedUpdate", "ProvisionController"]

logger = logging.getLogger("ioto_async")

_CERTIFICATES = decoding.result(Certificates)
_CREDENTIALS = decoding.result(Credentials)
_OFFER = decoding.result(UpdateOffer, may_be_empty=True)

_MAX_IMAGE: Final = 100 << 20
"""Bytes that the vendor's updater takes."""


@attrs.frozen
class FetchedUpdate:
    """An update that was downloaded and checked, and installed if `ProvisionController.fetch_update` was told how."""

    offer: UpdateOffer
    path: Path
    """Where the image is."""
    size: int
    """Bytes."""
    reported: bool
    """Whether the service was told."""


class ProvisionController(Controller):
    """Certificates and firmware updates. Source: the vendor's page ``ioto/ref/provision``."""

    @legacy(IOTO["provision/checkin"])
    async def checkin(
        self,
        id: str | None = None,
        *,
        product_id: str | None = None,
        test: bool | None = None,
        properties: Mapping[str, object] | None = None,
        **options: Unpack[CallOptions],
    ) -> UpdateOffer:
        """Ask whether there is an update for a device. Deprecated: ``provision.update`` replaced it.

        Args:
            id: claim ID.
            product_id: key of the product.
            test: ask for a test device.
            properties: further members of the body.

        Returns:
            The offer; without ``url`` there is nothing to install.
        """
        operation = IOTO["provision/checkin"]
        body = merged(operation, {"id": id, "productId": product_id, "test": test}, "properties", properties)
        return await self._transport.call(operation, _OFFER, body, options)

    async def get_certs(self, id: str, **options: Unpack[CallOptions]) -> Certificates:
        """Get a claimed device's certificates; the same reply as ``device.provision``.

        Args:
            id: claim ID.

        Raises:
            DeviceBlockedError: the device is blocked for excess traffic.
        """
        return await self._transport.call(IOTO["provision/getCerts"], _CERTIFICATES, {"id": id}, options)

    @legacy(IOTO["provision/getCreds"])
    async def get_creds(self, **options: Unpack[CallOptions]) -> Credentials:
        """Get temporary AWS keys. Deprecated: ``device.get_creds`` replaced it."""
        return await self._transport.call(IOTO["provision/getCreds"], _CREDENTIALS, {}, options)

    async def fetch_update(
        self,
        id: str,
        product: str,
        version: str,
        path: str | PathLike[str],
        *,
        test: bool | None = None,
        properties: Mapping[str, object] | None = None,
        install: Callable[[Path], Awaitable[object] | object] | None = None,
        report: bool = True,
        progress: Progress | None = None,
        max_size: int = _MAX_IMAGE,
        **options: Unpack[CallOptions],
    ) -> FetchedUpdate | None:
        """Ask for an update, download and verify it, install it, and report how it went, as the vendor's updater does.

        The image replaces *path* when all of it is there with the checksum of the offer. Its host gets no token, be it
        the API's own.

        Args:
            id: claim ID.
            product: key of the product.
            version: firmware version that the device runs, as of SemVer 2.0.
            path: where the image goes.
            test: ask for a test device.
            properties: variables for the policy that decides who gets the update.
            install: called with the path; awaited if it is async. It runs in the event loop.
            report: tell the service whether it worked; without *install*, whether the download did.
            progress: called with the bytes so far and their total; see `ioto_async.transfer.transfer.Progress`.
            max_size: bytes that the image may have.
            options: those of a call, for each request; for the download, ``timeout`` is in seconds without progress.

        Returns:
            What was fetched, or None if there is nothing to install. A report that fails is a warning in the log, and
            ``reported`` is then false.

        Raises:
            DecodeError: the offer lacks a member or its URL is not https; nothing was downloaded or reported.
            TransferError: the image is too large, or its checksum is another.
            OSError: *path* cannot be written.
            Exception: whatever *install* raises.
        """
        name = "provision/fetchUpdate"
        target = await check_download(name, path, max_size, progress)
        if install is not None and not callable(install):
            raise InvalidArgumentError(f"{name}: install: expected a callable, got {type(install).__name__}")
        offer = await self.update(id, product, version, test=test, properties=properties, **options)
        if not offer.url:
            return None
        url, checksum, update = _checked(offer)
        try:
            image = await fetch(
                self._transport,
                name,
                url,
                target,
                checksum=checksum,
                max_size=max_size,
                progress=progress,
                options=options,
            )
            if install is not None:
                if (effects := EFFECTS.get()) is not None:
                    effects.changed = True  # what it does, nobody else knows
                done = install(target)
                if inspect.isawaitable(done):
                    await done
        except Exception:
            if report:
                await self._report(id, update, success=False, options=options)
            raise
        reported = report and await self._report(id, update, success=True, options=options)
        return FetchedUpdate(offer, target, image.size, reported)

    async def _report(self, id: str, update: str, *, success: bool, options: CallOptions) -> bool:
        try:
            await self.update_report(id, update, success=success, **options)
        except IotoError as error:  # the image, or what went wrong with it, matters more
            logger.warning("the report on update %s of device %s failed: %s", update, id, error)
            return False
        return True

    async def update(
        self,
        id: str,
        product: str,
        version: str,
        *,
        test: bool | None = None,
        properties: Mapping[str, object] | None = None,
        **options: Unpack[CallOptions],
    ) -> UpdateOffer:
        """Ask whether there is an update for a device.

        Args:
            id: claim ID.
            product: key of the product.
            version: firmware version that the device runs, as of SemVer 2.0.
            test: ask for a test device.
            properties: variables for the policy that decides who gets the update.

        Returns:
            The offer; without ``url`` there is nothing to install.
        """
        operation = IOTO["provision/update"]
        body = merged(
            operation, {"id": id, "product": product, "version": version, "test": test}, "properties", properties
        )
        return await self._transport.call(operation, _OFFER, body, options)

    async def update_report(self, id: str, update: str, *, success: bool, **options: Unpack[CallOptions]) -> None:
        """Tell how the installation of an update ended.

        Args:
            id: claim ID.
            update: key of the update, from the offer.
            success: whether it worked.
        """
        body = {"id": id, "update": update, "success": success}
        await self._transport.call(IOTO["provision/updateReport"], decoding.nothing, body, options)


def _checked(offer: UpdateOffer) -> tuple[str, str, str]:
    """URL, checksum and key of an *offer* that is fit to be followed."""
    problem = None
    url, checksum, update = offer.url or "", offer.checksum or "", offer.update or ""
    try:
        check_signed_url(url)
    except InvalidArgumentError as error:
        problem = "url", str(error)
    if not re.fullmatch("[0-9A-Fa-f]{64}", checksum):
        problem = "checksum", f"expected the 64 hex digits of a SHA-256, got {one_line(checksum)[:80]!r}"
    elif not update or not offer.version:
        problem = "version" if update else "update", "missing in an offer with a url"
    if problem is not None:
        member, text = problem
        raise DecodeError(text, operation="provision/update", path=f"$.{member}")
    return url, checksum.lower(), update
