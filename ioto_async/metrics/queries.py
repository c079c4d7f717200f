"""The items of requests for metrics (reference, section 9)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import attrs

from ..codec import encoding
from ..errors import InvalidArgumentError
from ..models import DatabaseQuery, Metric, MetricQuery, Statistic
from ..operations import IOTO, Operation
from ..settings import Period

__all__ = ["item_of", "items_of", "requests_of", "with_device"]


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


Query = TypeVar("Query", bound=MetricQuery | DatabaseQuery)


def with_device(query: Query, device_id: str) -> Query:
    """*query* with *device_id* for each ``${deviceId}`` in the values of its dimensions."""
    dimensions = {
        name: value.replace("${deviceId}", str(device_id)) if isinstance(value, str) else value
        for name, value in query.dimensions.items()
    }
    return attrs.evolve(query, dimensions=dimensions)


def requests_of(answers: Sequence[Metric], items: Sequence[Mapping[str, object]]) -> list[Mapping[str, object] | None]:
    """Which of *items* each of the *answers* is to; None where that cannot be told.

    They come in the order of the items, as the service's library does it. Where some are missing, they are told by
    the ``id`` that an item has alone.
    """
    if len(answers) == len(items) and all(map(_may_answer, answers, items)):
        return [*items]
    counts = Counter(item.get("id") for item in items)
    by_id = {item["id"]: item for item in items if "id" in item and counts[item["id"]] == 1}
    return [by_id.get(answer.id) for answer in answers]


def _may_answer(answer: Metric, item: Mapping[str, object]) -> bool:
    named = {"id": answer.id, "metric": answer.metric, "namespace": answer.namespace}
    return all(value is None or value == item.get(name, value) for name, value in named.items())


def item_of(
    metric: str,
    statistic: Statistic,
    period: Period,
    namespace: str,
    cloud_id: str | None,
    *,
    accumulate: bool,
) -> bytes:
    """The JSON of an item of ``metric/fetch`` but for its dimensions and its end.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """
    try:
        return _known(metric, statistic, period, namespace, cloud_id, accumulate)
    except TypeError:  # what has no hash does not fit, which is said here
        return _made(metric, statistic, period, namespace, cloud_id, accumulate)


def _made(
    metric: str,
    statistic: Statistic,
    period: Period,
    namespace: str,
    cloud_id: str | None,
    accumulate: bool,
) -> bytes:
    query = MetricQuery(
        metric, {}, statistic, period=period, namespace=namespace, cloud_id=cloud_id, accumulate=accumulate
    )
    members = _item(IOTO["metric/fetch"], query)
    del members["dimensions"]
    return encoding.part(IOTO["metric/fetch"], members).removesuffix(b"}")


_known = lru_cache(maxsize=256, typed=True)(_made)
"""Thousands of calls ask for the same of other devices."""
