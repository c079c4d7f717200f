"""The Builder's Device, Metric and Test controllers (reference, section 12)."""

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from ..codec import decoding
from ..models import BuilderDevice, BuilderProduct, Cursor, DatabaseQuery, MetricQuery, Metrics, Registration
from ..operations import BUILDER
from ..settings import check_token, secret
from ..transport.auth import TokenAuth
from ..transport.options import CallOptions
from ..transport.transport import Transport
from .base import Controller, legacy, merged
from .metric import fetch_metrics
from .paging import Paged

__all__ = ["BuilderDeviceController", "BuilderMetricController", "BuilderTestController", "registering"]

_CLAIMED = decoding.record(BuilderDevice)
_FOUND = decoding.record(BuilderDevice, must_exist=True)
_DEVICES = decoding.paged(BuilderDevice)
_PRODUCT = decoding.record(BuilderProduct, must_exist=True)
_REGISTRATION = decoding.result(Registration)


def registering(transport: Transport, product: object) -> Transport:
    """*transport* for ``device/register``, which is authenticated by the token of the *product* itself.

    Raises:
        InvalidArgumentError: *product* is no token.
    """
    token = check_token(product, f"{BUILDER['device/register'].name}: product")
    return transport.with_auth(TokenAuth(token, bearer=True))


class BuilderDeviceController(Controller):
    """Devices before they are claimed, and whose they are. Source: the vendor's page ``builder/ref/device``.

    All calls but `register` need a BuilderAPI token.
    """

    _operations = BUILDER

    @legacy(BUILDER["device/claim"])
    async def claim(
        self, id: str, cloud_token: str, account_id: str, *, test: bool | None = None, **options: Unpack[CallOptions]
    ) -> BuilderDevice:
        """Claim a device for a cloud. Deprecated: ``device.claim`` of the device cloud replaced it.

        Args:
            id: claim ID.
            cloud_token: token of the device cloud.
            account_id: account that claims.
            test: claim it as a test device.
        """
        cloud_token = secret(cloud_token)  # tracebacks may show the arguments
        body = {"id": id, "cloudToken": cloud_token, "accountId": account_id, "test": test}
        return await self._transport.call(BUILDER["device/claim"], _CLAIMED, body, options)

    def find(
        self,
        *,
        id: str | None = None,
        cloud_id: str | None = None,
        product_id: str | None = None,
        limit: int | None = None,
        next: Cursor | None = None,
        prev: Cursor | None = None,
        **options: Unpack[CallOptions],
    ) -> Paged[BuilderDevice]:
        """Find registered devices; await for one page, ``async for`` for all.

        Args:
            id: only this claim ID.
            cloud_id: only devices of this cloud.
            product_id: only devices of this product.
            limit: devices in a page.
            next: cursor of a page to begin with.
            prev: cursor of a page to begin with; given alone, pages are read backward.
        """
        body = {"id": id, "cloudId": cloud_id, "productId": product_id}
        return self._find(BUILDER["device/find"], _DEVICES, body, options, limit=limit, next=next, prev=prev)

    async def get(self, id: str, **options: Unpack[CallOptions]) -> BuilderDevice:
        """Get one registered device.

        Args:
            id: claim ID.

        Raises:
            NotFoundError: there is none.
        """
        return await self._transport.call(BUILDER["device/get"], _FOUND, {"id": id}, options)

    async def lookup(self, product: str, **options: Unpack[CallOptions]) -> BuilderProduct:
        """Get the product that a product token belongs to.

        Args:
            product: product token.

        Raises:
            NotFoundError: there is none.
        """
        product = secret(product)
        return await self._transport.call(BUILDER["device/lookup"], _PRODUCT, {"product": product}, options)

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
        """
        operation = BUILDER["device/register"]
        product = secret(product)
        named = {"id": id, "product": product, "account": account, "cloud": cloud, "test": test}
        body = merged(operation, named, "properties", properties)
        return await registering(self._transport, product).call(operation, _REGISTRATION, body, options)

    async def release(self, id: str, **options: Unpack[CallOptions]) -> None:
        """Release a device, so that it can be claimed again.

        Args:
            id: claim ID.
        """
        await self._transport.call(BUILDER["device/release"], decoding.nothing, {"id": id}, options)

    async def remove(self, id: str, **options: Unpack[CallOptions]) -> None:
        """Remove a device from the Builder; release it first.

        Args:
            id: claim ID.
        """
        await self._transport.call(BUILDER["device/remove"], decoding.nothing, {"id": id}, options)

    async def remove_all(self, product_id: str, **options: Unpack[CallOptions]) -> int:
        """Remove all devices of a product from the Builder. It is never sent twice.

        Args:
            product_id: key of the product.

        Returns:
            How many there were.

        Raises:
            OutcomeUnknownError: it was sent, and whether the devices are gone is not known.
        """
        body = {"productId": product_id}
        return await self._transport.call(BUILDER["device/removeAll"], decoding.whole_number, body, options)


class BuilderMetricController(Controller):
    """Metrics of what the Builder knows. Source: the vendor's page ``builder/ref/metric``."""

    _operations = BUILDER

    async def fetch(self, items: Iterable[MetricQuery | DatabaseQuery], **options: Unpack[CallOptions]) -> Metrics:
        """Read metrics, as `MetricController.fetch` does.

        Args:
            items: what to read; the namespace names a part of the Builder, such as ``Embedthis/Cloud``.

        Returns:
            The answers. An item that failed has its ``error`` set and does not affect the others.
        """
        return await fetch_metrics(self._transport, BUILDER["metric/fetch"], items, {}, options)


class BuilderTestController(Controller):
    """Calls that change nothing, for those who try out a client. Source: the vendor's bundle, page ``test``."""

    _operations = BUILDER
    __test__ = False  # for pytest, which takes the name for a test's

    async def echo(self, fields: Mapping[str, object] | None = None, **options: Unpack[CallOptions]) -> dict[str, Any]:
        """Have *fields* sent back; what else the reply holds is not documented.

        Args:
            fields: the body.
        """
        operation = BUILDER["test/echo"]
        return await self._transport.call(operation, decoding.plain, merged(operation, {}, "fields", fields), options)

    async def empty(self, fields: Mapping[str, object] | None = None, **options: Unpack[CallOptions]) -> None:
        """Have nothing sent back.

        Args:
            fields: the body.
        """
        operation = BUILDER["test/empty"]
        await self._transport.call(operation, decoding.nothing, merged(operation, {}, "fields", fields), options)

    async def exception(self, **options: Unpack[CallOptions]) -> None:
        """Have the service fail.

        Raises:
            ServiceError: it did; after as many attempts as for any read.
        """
        await self._transport.call(BUILDER["test/exception"], decoding.nothing, {}, options)

    async def success(self, **options: Unpack[CallOptions]) -> None:
        """Have the service do well."""
        await self._transport.call(BUILDER["test/success"], decoding.nothing, {}, options)
