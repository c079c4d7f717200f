"""The walk through the names of all metrics."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from contextlib import aclosing
from typing import Any, Final, Literal

from ..errors import DecodeError
from ..models import MetricKey, MetricList
from ..models.value import json_text
from ..transport.tasks import settle

__all__ = ["walk"]

Ask = Callable[[str | None, str | None], Coroutine[Any, Any, MetricList]]
"""Lists what the service knows of a namespace and of a metric."""

_AHEAD: Final = 4
"""Lists that are asked for at once."""


async def walk(ask: Ask, namespace: str | None, metric: str | None) -> AsyncGenerator[MetricKey, None]:
    """Yield the metrics in the namespaces that begin with *namespace*, of the name *metric* if there is one."""
    first = await ask(namespace, None)
    # Each is asked for by its full name: that may be the beginning of others, but what is below is its own alone.
    for space in dict.fromkeys(_listed(first, "namespaces")):
        listed = first if space == namespace or metric is not None else await ask(space, None)
        names = _listed(listed, "metrics") if metric is None else (metric,)
        async with aclosing(_lists(ask, space, dict.fromkeys(names))) as lists:
            async for name, known in lists:
                for dimensions in _distinct(_listed(known, "dimensions")):
                    yield MetricKey(namespace=space, metric=name, dimensions=dimensions)


def _listed(known: MetricList, name: Literal["namespaces", "metrics", "dimensions"]) -> list[Any]:
    """A list of what the service knows.

    Raises:
        DecodeError: it is no list; without it the walk would end as if there were nothing.
    """
    if name in known.extra and getattr(known, name) is None:
        raise DecodeError("expected an array", operation="metric/getMetricList", path=f"$.{name}")
    return getattr(known, name) or []


async def _lists(ask: Ask, space: str, names: Iterable[str]) -> AsyncGenerator[tuple[str, MetricList], None]:
    """What is known of each metric, in their order; some are asked for while one is looked at."""
    running: deque[tuple[str, asyncio.Task[MetricList]]] = deque()
    left = iter(names)
    try:
        while True:
            while len(running) < _AHEAD and (name := next(left, None)) is not None:
                running.append((name, asyncio.create_task(ask(space, name))))
            if not running:
                return
            known = await running[0][1]
            yield running.popleft()[0], known
    finally:
        for _, task in running:
            task.cancel()
        for _, task in running:
            await settle(task)


def _distinct(dimensions: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each map once: two that the service keeps apart may read the same (reference, section 9)."""
    seen = set()
    for each in dimensions:
        key = json_text(each, sort=True)
        if key not in seen:
            seen.add(key)
            yield each
