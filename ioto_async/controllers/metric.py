"""The Metric controller: reading metrics (reference, sections 9 and 11). Imports floors 0 to 2."""

from collections.abc import Iterable
from typing import Any, Unpack

from .. import decoding, encoding
from ..errors import InvalidArgumentError
from ..models import Cursor, DatabaseQuery, Metric, MetricList, MetricQuery
from ..operations import IOTO, Operation
from ..transport import CallOptions
from .base import Controller

__all__ = ["MetricController"]

_METRICS = decoding.paged(Metric, nested=True)
_LIST = decoding.record(MetricList)


def _item(operation: Operation, query: MetricQuery | DatabaseQuery) -> dict[str, object]:
    """One item of a request, by wire name."""
    if not isinstance(query, (MetricQuery, DatabaseQuery)):
        raise InvalidArgumentError(f"{operation.name}: items: expected queries, got {type(query).__name__} in them")
    item: dict[str, object] = {
        "namespace": query.namespace,
        "dimensions": dict(query.dimensions),
        "statistic": query.statistic,
        "limit": query.limit,
        "cloudId": query.cloud_id,
        "id": query.id,
    }
    if isinstance(query, DatabaseQuery):
        item |= {"model": query.model, "field": query.field}
    else:
        item |= {"metric": query.metric, "period": query.period, "accumulate": query.accumulate or None}
        item["start"] = encoding.timestamp(operation, "start", query.start)
    return {name: value for name, value in item.items() if value is not None}


class MetricController(Controller):
    """Metrics of devices. Source: the vendor's page ``ioto/ref/metric``."""

    __slots__ = ()

    async def fetch(
        self,
        device_id: str,
        items: Iterable[MetricQuery | DatabaseQuery],
        *,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> list[Metric]:
        """Read metrics.

        Args:
            device_id: device that owns the metrics.
            items: what to read.
            account_id: account that owns the device; the client's by default.
            options: ``timeout``, ``retries``, ``headers`` of this call.

        Returns:
            The answers. An item that failed has its ``error`` set and does not affect the others.
        """
        operation = IOTO["metric/fetch"]
        if not isinstance(items, Iterable):
            raise InvalidArgumentError(f"{operation.name}: items: expected queries, got {type(items).__name__}")
        requests = [_item(operation, item) for item in items]
        if not requests:
            return []
        body = {"deviceId": device_id, "accountId": self._account(account_id), "items": requests}
        page = await self._transport.call(operation, _METRICS, body, options)
        return page.items

    async def get_device_schema(self, *, cloud_id: str | None = None, **options: Unpack[CallOptions]) -> dict[str, Any]:
        """Get the schema of the device database: models, their fields and metric rules.

        Args:
            cloud_id: device cloud.
            options: ``timeout``, ``retries``, ``headers`` of this call.
        """
        body = {"cloudId": cloud_id}
        return await self._transport.call(IOTO["metric/getDeviceSchema"], decoding.plain, body, options)

    async def get_metric_list(
        self,
        cloud_id: str,
        *,
        namespace: str | None = None,
        metric: str | None = None,
        model: str | None = None,
        index: str | None = None,
        limit: int | None = None,
        next: Cursor | None = None,
        prev: Cursor | None = None,
        **options: Unpack[CallOptions],
    ) -> MetricList:
        """List namespaces; with *namespace* its metrics too, with *metric* as well its dimensions.

        Args:
            cloud_id: device cloud.
            namespace: namespace, or the beginning of some.
            metric: name of a metric of *namespace*.
            model: database model.
            index: ``primary`` or ``gs1``; for owners.
            limit: entries at most.
            next: cursor of a page.
            prev: cursor of a page.
            options: ``timeout``, ``retries``, ``headers`` of this call.
        """
        body = {"cloudId": cloud_id, "namespace": namespace, "metric": metric, "model": model}
        query = {"index": index, "limit": limit, "next": next, "prev": prev}
        return await self._transport.call(IOTO["metric/getMetricList"], _LIST, body, options, query)
