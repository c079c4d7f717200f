"""The Provision controller: certificates and updates (reference, section 11). Imports floors 0 to 2."""

from collections.abc import Mapping
from typing import Unpack

from .. import decoding
from ..models import Certificates, UpdateOffer
from ..operations import IOTO
from ..transport import CallOptions
from .base import Controller, joined

__all__ = ["ProvisionController"]

_CERTIFICATES = decoding.result(Certificates)
_OFFER = decoding.result(UpdateOffer, may_be_empty=True)


class ProvisionController(Controller):
    """Certificates and firmware updates. Source: the vendor's page ``ioto/ref/provision``."""

    __slots__ = ()

    async def get_certs(self, id: str, **options: Unpack[CallOptions]) -> Certificates:
        """Get a claimed device's certificates; the same reply as ``device.provision``.

        Args:
            id: claim ID.
            options: ``timeout``, ``retries``, ``headers`` of this call.

        Raises:
            DeviceBlockedError: the device is blocked for excess traffic.
        """
        return await self._transport.call(IOTO["provision/getCerts"], _CERTIFICATES, {"id": id}, options)

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
            options: ``timeout``, ``retries``, ``headers`` of this call.

        Returns:
            The offer; without ``url`` there is nothing to install.
        """
        operation = IOTO["provision/update"]
        body = joined(
            operation, {"id": id, "product": product, "version": version, "test": test}, "properties", properties
        )
        return await self._transport.call(operation, _OFFER, body, options)

    async def update_report(self, id: str, update: str, *, success: bool, **options: Unpack[CallOptions]) -> None:
        """Tell how the installation of an update ended.

        Args:
            id: claim ID.
            update: key of the update, from the offer.
            success: whether it worked.
            options: ``timeout``, ``retries``, ``headers`` of this call.
        """
        body = {"id": id, "update": update, "success": success}
        await self._transport.call(IOTO["provision/updateReport"], decoding.nothing, body, options)
