"""The Builder's Device controller: registration (reference, section 12). Imports floors 0 to 2."""

from collections.abc import Mapping
from typing import Unpack

from .. import decoding
from ..auth import TokenAuth
from ..config import check_token
from ..models import Registration
from ..operations import BUILDER
from ..transport import CallOptions
from .base import Controller, joined

__all__ = ["BuilderDeviceController"]

_REGISTRATION = decoding.result(Registration)


class BuilderDeviceController(Controller):
    """Devices before they are claimed. Source: the vendor's page ``builder/ref/device``."""

    __slots__ = ()

    async def register(
        self,
        id: str,
        product: str,
        *,
        account: str | None = None,
        cloud: str | None = None,
        test: bool | None = None,
        properties: Mapping[str, object] | None = None,
        **options: Unpack[CallOptions],
    ) -> Registration:
        """Register a device, and learn where it belongs once it is claimed.

        Safe to repeat: devices ask until ``api`` and ``token`` are there.

        Args:
            id: claim ID.
            product: product token; it is also what authenticates the call.
            account: account to claim the device for at once.
            cloud: device cloud to claim it for.
            test: register a test device.
            properties: further members of the device's description, such as ``name`` and ``model``.
            options: ``timeout``, ``retries``, ``headers`` of this call.
        """
        operation = BUILDER["device/register"]
        named = {"id": id, "product": product, "account": account, "cloud": cloud, "test": test}
        body = joined(operation, named, "properties", properties)
        auth = TokenAuth(check_token(product, f"{operation.name}: product"), bearer=True)
        return await self._transport.with_auth(auth).call(operation, _REGISTRATION, body, options)
