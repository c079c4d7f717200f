"""The Metric controller: reading metrics (reference, sections 9 and 11). Imports floors 0 to 2."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Unpack

from .. import decoding, encoding
from ..errors import InvalidArgumentError
from ..models import Cursor, DatabaseQuery, Metric, MetricList, MetricQuery, Statistic
from ..operations import IOTO, MQTT, Operation
from ..transport import CallOptions
from .base import Controller, mqtt_only

__all__ = ["METRICS", "MetricController", "items_of"]

METRICS: Final = decoding.paged(Metric, nested=True)
"""Decodes what a request for metrics is answered with."""
_LIST = decoding.record(MetricList)


def items_of(operation: Operation, queries: Iterable[MetricQuery | DatabaseQuery]) -> list[dict[str, object]]:
    """The items of a request for metrics, by wire name.

    Raises:
        InvalidArgumentError: something else than queries.
    """
    if not isinstance(queries, Iterable):
        raise InvalidArgumentError(f"{operation.name}: items: expected queries, got {type(queries).__name__}")
    return [_item(operation, query) for query in queries]


def _item(operation: Operation, query: MetricQuery | DatabaseQuery) -> dict[str, object]:
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
        requests = items_of(operation, items)
        if not requests:
            return []
        body = {"deviceId": device_id, "accountId": self._account(account_id), "items": requests}
        page = await self._transport.call(operation, METRICS, body, options)
        return page.items

    async def get(
        self,
        metric: str,
        *,
        dimensions: Mapping[str, object] | None = None,
        period: float | None = None,
        statistic: Statistic | None = None,
        **options: Unpack[CallOptions],
    ) -> float:
        """Read one value of a metric, as a device does over MQTT; there is no HTTP form, `fetch` is its like.

        Args:
            metric: name of the metric.
            dimensions: exact dimension map.
            period: seconds; 300 by default.
            statistic: see `Statistic`; ``avg`` by default.
            options: ``timeout``, ``retries``, ``headers`` of this call.

        Raises:
            MqttOnlyError: always; nothing is sent.
        """
        raise mqtt_only(MQTT["metric/get"])

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

    async def set(
        self,
        metric: str,
        value: float,
        *,
        dimensions: Sequence[Mapping[str, object]] | None = None,
        buffer: Mapping[str, object] | None = None,
        **options: Unpack[CallOptions],
    ) -> None:
        """Add a sample, as a device does over MQTT; there is no HTTP form, `ActionController.invoke` runs the like.

        Args:
            metric: name of the metric.
            value: the sample.
            dimensions: dimension maps, each of which gets the sample; ``[{}]`` for none.
            buffer: ``sum``, ``count``, ``elapsed`` (seconds), ``force``.
            options: ``timeout``, ``retries``, ``headers`` of this call.

        Raises:
            MqttOnlyError: always; nothing is sent.
        """
        raise mqtt_only(MQTT["metric/set"])
