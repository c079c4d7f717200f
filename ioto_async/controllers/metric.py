"""The Metric controller: reading metrics (reference, sections 9 and 11)."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, overload

import attrs

from ..bulk import Bulk, BulkOptions
from ..codec import decoding
from ..errors import DecodeError
from ..metrics.queries import item_of, items_of, requests_of, with_device
from ..metrics.reads import JoinedReads
from ..metrics.walk import walk
from ..models import (
    DEVICE_NAMESPACE,
    Cursor,
    DatabaseQuery,
    Metric,
    MetricKey,
    MetricList,
    MetricQuery,
    Metrics,
    Statistic,
)
from ..models.metric import is_of_nothing
from ..operations import IOTO, MQTT, Kind, Operation
from ..settings import Period
from ..transport.options import CallOptions
from ..transport.transport import Transport
from .base import Controller, mqtt_only

if TYPE_CHECKING:
    from ..codec.encoding import Exists
    from ..metrics.link import MetricLink
    from ..metrics.options import WriterOptions
    from ..metrics.writer import Writer

__all__ = ["MetricController", "fetch_metrics"]

_METRICS: Final = decoding.paged(Metric, nested=True, instead=lambda reason: Metric(error=f"the answer: {reason}"))
"""Each answer keeps its place: callers read them beside what they have asked."""
_METRIC: Final = decoding.part(Metric)
_LIST = decoding.record(MetricList, instead="namespaces")


@attrs.define
class _Total:
    """What `MetricController.value` looks at of a point; a `Point` takes twice the time."""

    value: float | None = None
    count: float | None = None


_TOTALS: Final = decoding.part(list[_Total])


async def fetch_metrics(
    transport: Transport,
    operation: Operation,
    items: Iterable[MetricQuery | DatabaseQuery],
    named: Mapping[str, object],
    options: CallOptions,
) -> Metrics:
    """Read *items* by ``metric/fetch`` of the device cloud or of the Builder; without any, nothing is sent.

    Args:
        transport: sends the request.
        operation: the row of ``metric/fetch``.
        items: what to read.
        named: the other members of the body.
        options: those of the request.

    Raises:
        InvalidArgumentError: an item is no query, or an argument does not fit.
    """
    requests = items_of(operation, items)
    if not requests:
        return Metrics()
    page = await transport.call(operation, _METRICS, {**named, "items": requests}, options)
    for metric, request in zip(page.items, requests_of(page.items, requests), strict=True):
        metric.statistic = None if request is None else str(request["statistic"])
    return Metrics(page.items)


class MetricController(Controller):
    """Metrics of devices. Source: the vendor's page ``ioto/ref/metric``.

    Calls of `series` and `value` that are made at the same time, by many tasks, share requests: those for one device
    with the same options become one request, of 100 items at most.
    """

    def __init__(self, transport: Transport, account_id: str | None) -> None:
        super().__init__(transport, account_id)
        self._reads = JoinedReads(transport)

    async def fetch(
        self,
        device_id: str,
        items: Iterable[MetricQuery | DatabaseQuery],
        *,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Metrics:
        """Read metrics.

        Args:
            device_id: device that owns the metrics.
            items: what to read.
            account_id: account that owns the device; the client's by default.

        Returns:
            The answers, which can be made a table of. An item that failed has its ``error`` set and does not affect
            the others.
        """
        named = {"deviceId": device_id, "accountId": self._account(account_id)}
        metrics = await fetch_metrics(self._transport, IOTO["metric/fetch"], items, named, options)
        for metric in metrics:
            metric.device_id = device_id
        return metrics

    def fetch_many(
        self,
        device_ids: Iterable[str] | AsyncIterable[str],
        items: Iterable[MetricQuery | DatabaseQuery],
        *,
        account_id: str | None = None,
        **options: Unpack[BulkOptions[str]],
    ) -> Bulk[str, Metrics]:
        """Read the same metrics of many devices, a request for each, many at once; one that fails stops no other.

        ::

            temperature = MetricQuery("temperature", {"Device": "${deviceId}"})
            async for outcome in client.metric.fetch_many(device_ids, [temperature]):
                print(outcome.item, outcome.status, outcome.value or outcome.error)

        Args:
            device_ids: the devices, taken as there is room for them.
            items: what to read of each; ``${deviceId}`` in a dimension stands for the device.
            account_id: account that owns the devices; the client's by default.
            options: see `BulkOptions`.

        Returns:
            The run, whose outcomes have the `Metrics` that `fetch` returns.

        Raises:
            InvalidArgumentError: an argument does not fit.
        """
        queries = [*items] if isinstance(items, Iterable) else items
        items_of(IOTO["metric/fetch"], queries)

        async def fetch(device_id: str) -> Metrics:
            of_device = [with_device(query, device_id) for query in queries]
            return await self.fetch(device_id, of_device, account_id=account_id)

        chosen: BulkOptions[str] = {"name": "metric/fetch", "kind": Kind.READ, **options}
        return Bulk(fetch, device_ids, self._transport.pool.limiter, **chosen)

    async def series(
        self,
        device_id: str,
        metric: str,
        *,
        statistic: Statistic = "avg",
        period: Period = 300,
        dimensions: Mapping[str, object] | None = None,
        start: datetime | None = None,
        namespace: str = DEVICE_NAMESPACE,
        cloud_id: str | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Metric:
        """Read the points of one metric; many calls at once become few requests.

        ::

            temperatures = await asyncio.gather(*(client.metric.series(id, "temperature") for id in device_ids))
            table = Metrics(temperatures).to_pandas()

        Args:
            device_id: device that owns the metric.
            metric: name of the metric.
            statistic: see `Statistic`.
            period: seconds, a `datetime.timedelta`, or text such as ``"1h"``; the service cuts it to a year.
            dimensions: exact dimension map; ``{"Device": device_id}`` by default, ``{}`` for all.
            start: start of the range; aware. By default the range ends now.
            namespace: where the metric lives.
            cloud_id: device cloud.
            account_id: account that owns the device; the client's by default.

        Returns:
            The metric; one that does not exist has no points.

        Raises:
            InBandError: the service could not answer this one.
            DecodeError: which answer is this one's cannot be told.
        """
        item = item_of(metric, statistic, period, namespace, cloud_id, accumulate=False)
        account_id = self._account(account_id)
        members, place = await self._reads.read(device_id, account_id, item, dimensions, start, options)
        found = _METRIC(IOTO["metric/fetch"], members, ("data", place), self._transport.reading)
        found.device_id, found.statistic = device_id, statistic
        found.id = None  # the item's was none of the caller's
        return found

    async def value(
        self,
        device_id: str,
        metric: str,
        *,
        statistic: Statistic = "avg",
        period: Period = 300,
        dimensions: Mapping[str, object] | None = None,
        start: datetime | None = None,
        namespace: str = DEVICE_NAMESPACE,
        cloud_id: str | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> float | None:
        """Read one value of a metric, over the whole *period*; many calls at once become few requests.

        Args:
            device_id: device that owns the metric.
            metric: name of the metric.
            statistic: see `Statistic`.
            period: seconds, a `datetime.timedelta`, or text such as ``"1h"``; the service cuts it to a year.
            dimensions: exact dimension map; ``{"Device": device_id}`` by default, ``{}`` for all.
            start: start of the range; aware. By default the range ends now.
            namespace: where the metric lives.
            cloud_id: device cloud.
            account_id: account that owns the device; the client's by default.

        Returns:
            The value. None if the metric does not exist, and if there are no samples in the range, where the service
            has 0 for an average; a sum or a count of no samples is 0.

        Raises:
            InBandError: the service could not answer this one.
            DecodeError: which answer is this one's cannot be told.
        """
        item = item_of(metric, statistic, period, namespace, cloud_id, accumulate=True)
        account_id = self._account(account_id)
        members, place = await self._reads.read(device_id, account_id, item, dimensions, start, options)
        operation, points = IOTO["metric/fetch"], members.get("points") or []
        totals = _TOTALS(operation, points, ("data", place, "points"), self._transport.reading)
        if totals and is_of_nothing(statistic, totals[0].count):
            return None
        value = totals[0].value if totals else None
        if value is None and any(not isinstance(point, dict) or point.get("value") is not None for point in points):
            # It is not that there are no samples.
            raise DecodeError("expected a number", operation=operation.name, path=f"$.data[{place}].points[0].value")
        return value

    async def get(
        self,
        metric: str,
        *,
        dimensions: Mapping[str, object] | None = None,
        period: Period | None = None,
        statistic: Statistic | None = None,
        **options: Unpack[CallOptions],
    ) -> float:
        """Read one value of a metric, as a device does over MQTT; the forms for HTTP are `value` and `fetch`.

        Args:
            metric: name of the metric.
            dimensions: exact dimension map.
            period: seconds, a `datetime.timedelta`, or text such as ``"1h"``; 300 seconds by default.
            statistic: see `Statistic`; ``avg`` by default.

        Raises:
            MqttOnlyError: always; nothing is sent.
        """
        raise mqtt_only(MQTT["metric/get"])

    async def get_device_schema(self, *, cloud_id: str | None = None, **options: Unpack[CallOptions]) -> dict[str, Any]:
        """Get the schema of the device database: models, their fields and metric rules.

        Args:
            cloud_id: device cloud.
        """
        body = {"cloudId": cloud_id}
        found = await self._transport.call(IOTO["metric/getDeviceSchema"], decoding.plain, body, options)
        return found["schema"] if found.keys() == {"schema"} and isinstance(found["schema"], dict) else found

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
        """
        body = {"cloudId": cloud_id, "namespace": namespace, "metric": metric, "model": model}
        query = {"index": index, "limit": limit, "next": next, "prev": prev}
        return await self._transport.call(IOTO["metric/getMetricList"], _LIST, body, options, query)

    async def walk(
        self,
        cloud_id: str,
        *,
        namespace: str | None = None,
        metric: str | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncGenerator[MetricKey, None]:
        """List all metrics, namespace by namespace: ``async for key in client.metric.walk(cloud_id)``.

        Made of calls of `get_metric_list`, some of them sent ahead of the key in use. The service lists 10,000 at most
        of a namespace or a metric.

        Args:
            cloud_id: device cloud.
            namespace: namespace, or the beginning of some; all by default.
            metric: name of a metric, to see its dimensions only.
        """

        async def ask(namespace: str | None, metric: str | None) -> MetricList:
            return await self.get_metric_list(cloud_id, namespace=namespace, metric=metric, **options)

        async with aclosing(walk(ask, namespace, metric)) as keys:
            async for key in keys:
                yield key

    async def set(
        self,
        metric: str,
        value: float,
        *,
        dimensions: Sequence[Mapping[str, object]] | None = None,
        buffer: Mapping[str, object] | None = None,
        **options: Unpack[CallOptions],
    ) -> None:
        """Add a sample, as a device does over MQTT; what there is for HTTP is in `writer`.

        Args:
            metric: name of the metric.
            value: the sample.
            dimensions: dimension maps, each of which gets the sample; ``[{}]`` for none.
            buffer: ``sum``, ``count``, ``elapsed`` (seconds), ``force``.

        Raises:
            MqttOnlyError: always; nothing is sent.
        """
        raise mqtt_only(MQTT["metric/set"])

    @overload
    def writer(
        self,
        *,
        via: Literal["automation"],
        name: str,
        metric: str = ...,
        value: str = ...,
        timestamp: str | None = ...,
        dimensions: Mapping[str, str] = ...,
        context: Mapping[str, object] | None = ...,
        at_least_once: bool = ...,
        **options: Unpack["WriterOptions"],
    ) -> "Writer": ...

    @overload
    def writer(
        self,
        *,
        via: Literal["model"],
        model: str,
        create: bool = ...,
        exists: "Exists | None" = ...,
        fields: Mapping[str, str] | None = ...,
        dimensions: Mapping[str, str] = ...,
        item: Mapping[str, object] | None = ...,
        at_least_once: bool = ...,
        **options: Unpack["WriterOptions"],
    ) -> "Writer": ...

    @overload
    def writer(
        self,
        *,
        via: Literal["mqtt"],
        link: "MetricLink",
        buffer: Mapping[str, object] | None = ...,
        **options: Unpack["WriterOptions"],
    ) -> "Writer": ...

    def writer(self, *, via: str, **arguments: Any) -> "Writer":
        """Write samples as they come, to one of the three sinks that the API has; there is no ``metric/set`` over HTTP.

        ::

            async with client.metric.writer(via="automation", name="AddSample") as writer:
                await writer.write("temperature", 21.5, dimensions={"Device": device_id})

        Samples are held until there are some, and sent many at once. While the service is away, or refuses requests
        without work, they are kept and tried again. One that was sent with no reply is not sent again, as it would
        count twice; its outcome is unknown. See `Writer`, and `WriterOptions` for the buffer.

        ``automation``: one ``action/invoke`` for each sample, in no order, of an automation of type metric whose
        arguments have variables for what a sample has: ``metric`` for the name, ``value``, ``timestamp`` in epoch ms if
        a sample has one, and one for each dimension. Samples of one metric and dimension map that have a timestamp are
        sent one after the other, in the order of `Writer.write`: write them in the order of their times, as the
        service's engine drops what is more than five minutes older than the newest.

        ``model``: ``generic/update`` or ``create`` of items of a model with metric rules. A metric is a field, and the
        dimensions tell the item. What is sent together and belongs to one item travels in one request, up to the first
        field that comes again. Updates of an item do not overtake each other. The cloud dates samples when they come.

        ``mqtt``: one ``metric/set`` for each sample, in order, as far as none is sent again. The cloud dates samples
        when they come. The link itself repeats what was not acknowledged, which may then count twice.

        Args:
            via: the sink.
            arguments: those of the sink, and the options of the writer.

                - ``name``: of the automation.
                - ``metric``, ``value``, ``timestamp``: its variables, called like that by default; None for the last if
                  it has no use for one, so that such samples are refused.
                - ``dimensions``: the variables, or members, of dimensions that are not called like them; by default
                  ``{"Device": "deviceId"}``.
                - ``context``: further variables, the same for all samples.
                - ``model``: name of the model.
                - ``create``: create items instead of updating them.
                - ``exists``: what must be true of an item before; by default either for an update, and that it does not
                  exist for ``create``.
                - ``fields``: the fields of metrics that are not called like them.
                - ``item``: further members, the same for all items; ``accountId`` is the client's account by default.
                - ``at_least_once``: send again what may be in the cloud, as often as a call is (see `RetryPolicy`), and
                  for as long as the service is away; a sample may then count twice.
                - ``link``: a `DeviceLink`.
                - ``buffer``: ``sum``, ``count``, ``elapsed`` (as *period* of `series`), ``force``: what the cloud is to
                  put together.
                - The rest is in `WriterOptions`.

        Raises:
            InvalidArgumentError: there is no such sink, or an argument does not fit.
        """
        # Not before it is used: most clients do not write.
        from ..metrics.opening import writer_via

        return writer_via(self._transport, self._account_id, via, arguments)
