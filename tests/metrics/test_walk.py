"""``metric.walk``: every metric once, few lists at once, and none that nobody looks at."""

import asyncio
from collections import Counter
from contextlib import aclosing
from typing import Any

import pytest

from ioto_async import Attempt, DecodeError, IotoClient, ServiceError
from ioto_async.emulator import Emulator
from ioto_async.models import MetricKey
from tests.rawserver import GUARD, Request, Step, leftover_tasks, reply, served

Known = dict[str, dict[str, list[dict[str, str]]]]
"""Dimension maps by metric by namespace."""

SMALL: Known = {
    "Embedthis/Device": {"temp": [{}, {"Device": "A"}], "humidity": [{"Device": "A"}]},
    "Embedthis/Device2": {"temp": [{"Device": "B"}]},
    "Mine": {"load": [{}]},
}


def keys_of(known: Known) -> list[MetricKey]:
    return [
        MetricKey(namespace=namespace, metric=metric, dimensions=dimensions)
        for namespace, metrics in known.items()
        for metric, maps in metrics.items()
        for dimensions in maps
    ]


class Lists:
    """Lists what there is as the service does: a namespace is taken for the beginning of its own and of others."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.hold: asyncio.Event | None = None

    def __call__(self, request: Request) -> Step:
        body = request.json
        space, metric = body.get("namespace", ""), body.get("metric")
        found: dict[str, Any] = {"namespaces": [name for name in self.known if name.startswith(space)]}
        if space in self.known:
            found["metrics"] = [*self.known[space]]
            if metric in self.known[space]:
                found["dimensions"] = self.known[space][metric]
        return reply(200, found, hold=self.hold if metric else None)


async def walked(client: IotoClient, **options: Any) -> list[MetricKey]:
    async with asyncio.timeout(GUARD):
        return [key async for key in client.metric.walk("C", **options)]


async def test_a_walk_sees_every_metric_once_and_in_order() -> None:
    async with served(handler=Lists(SMALL)) as (server, client):
        assert await walked(client) == keys_of(SMALL)
    assert {request.path for request in server.requests} == {"/tok/metric/getMetricList"}
    assert {request.json["cloudId"] for request in server.requests} == {"C"}
    assert len(server.requests) == 1 + 3 + 4


async def test_a_namespace_that_is_the_beginning_of_another_brings_no_metric_twice() -> None:
    async with served(handler=Lists(SMALL)) as (server, client):
        found = await walked(client, namespace="Embedthis/Device")
    assert found == [key for key in keys_of(SMALL) if key.namespace != "Mine"]
    # That of the namespaces has listed the metrics of the first as well.
    assert len(server.requests) == 1 + 1 + 3


async def test_the_beginning_of_a_namespace_is_enough() -> None:
    async with served(handler=Lists(SMALL)) as (_, client):
        assert await walked(client, namespace="Mi") == keys_of({"Mine": SMALL["Mine"]})


async def test_a_walk_to_one_metric_asks_for_no_list_of_metrics() -> None:
    async with served(handler=Lists(SMALL)) as (server, client):
        found = await walked(client, metric="temp")
    assert found == [key for key in keys_of(SMALL) if key.metric == "temp"]
    assert len(server.requests) == 1 + 3


async def test_a_list_that_repeats_itself_brings_no_metric_twice() -> None:
    lists: dict[tuple[str, ...], dict[str, Any]] = {
        (): {"namespaces": ["N", "N"]},
        ("N",): {"namespaces": ["N"], "metrics": ["m", "m"]},
        ("N", "m"): {"metrics": ["m"], "dimensions": [{"a": "1", "b": "2"}, {"b": "2", "a": "1"}]},
    }

    def handler(request: Request) -> Step:
        asked = tuple(request.json[name] for name in ("namespace", "metric") if name in request.json)
        return reply(200, lists[asked])

    async with served(handler=handler) as (_, client):
        assert await walked(client) == [MetricKey(namespace="N", metric="m", dimensions={"a": "1", "b": "2"})]


@pytest.mark.parametrize("body", [{}, {"namespaces": []}, {"namespaces": None}, {"namespaces": ["gone"]}])
async def test_a_walk_through_nothing_ends(body: dict[str, Any]) -> None:
    async with served(handler=lambda _: reply(200, body)) as (_, client):
        assert await walked(client) == []


async def test_nothing_is_asked_before_somebody_looks() -> None:
    async with served(handler=Lists(SMALL)) as (server, client):
        walk = client.metric.walk("C")
        await asyncio.sleep(0)
        assert server.requests == []
        await walk.aclose()


async def test_only_some_lists_are_asked_for_ahead() -> None:
    known: Known = {"N": {f"m{number}": [{}] for number in range(50)}, "O": {"m": [{}]}}
    async with served(handler=Lists(known)) as (server, client), aclosing(client.metric.walk("C")) as walk:
        assert (await anext(walk)).metric == "m0"
        await server.received(2 + 4)
        assert len(server.requests) <= 2 + 5
    assert {request.json.get("namespace") for request in server.requests} == {None, "N"}


async def test_no_more_than_some_lists_are_asked_for_at_once() -> None:
    lists = Lists({"N": {f"m{number}": [{}] for number in range(20)}})
    lists.hold = asyncio.Event()
    async with served(handler=lists) as (server, client):
        walking = asyncio.create_task(walked(client))
        await server.received(2 + 4)
        assert server.open == 4
        lists.hold.set()
        assert len(await walking) == 20
        assert server.open == 4
    assert max(Counter(request.body for request in server.requests).values()) == 1


async def test_a_walk_that_is_left_gives_up_what_it_has_asked_for_ahead() -> None:
    seen: list[Attempt] = []
    lists = Lists({"N": {f"m{number}": [{}] for number in range(20)}})
    async with served(handler=lists, observer=seen.append) as (server, client):
        async with aclosing(client.metric.walk("C")) as walk:
            assert (await anext(walk)).metric == "m0"
            await server.received(2 + 4)
            lists.hold = asyncio.Event()
            assert [(await anext(walk)).metric for _ in range(3)] == ["m1", "m2", "m3"]
            await server.received(2 + 4 + 3)
        assert [attempt.failure for attempt in seen] == [None] * 6 + ["cancelled"] * 3
        lists.hold.set()
    assert await leftover_tasks() == set()


async def test_a_list_that_fails_ends_the_walk() -> None:
    lists = Lists({"N": {"good": [{}], "bad": [{}], "late": [{}]}})

    def handler(request: Request) -> Step:
        return reply(500, "down") if request.json.get("metric") == "bad" else lists(request)

    async with served(handler=handler) as (_, client):
        walk = client.metric.walk("C", retries=0)
        assert (await anext(walk)).metric == "good"
        with pytest.raises(ServiceError, match="metric/getMetricList: 500 down"):
            await anext(walk)
        assert [key async for key in walk] == []
    assert await leftover_tasks() == set()


async def test_a_list_that_is_none_ends_the_walk() -> None:
    async with served(handler=lambda _: reply(200, {"namespaces": "N"})) as (_, client):
        with pytest.raises(DecodeError, match="namespaces"):
            await walked(client)


async def test_a_metric_with_dimensions_that_are_nested_deep_is_listed() -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"a": deep}
    known = {"N": {"m": [{"Device": "A"}, deep, deep, {}]}}
    async with served(handler=Lists(known)) as (_, client):
        assert await walked(client) == keys_of({"N": {"m": [{"Device": "A"}, deep, {}]}})


async def test_the_metrics_of_the_embedded_cloud_are_walked_through() -> None:
    async with Emulator() as emulator, IotoClient.from_env(emulator.env) as client:
        engine, now = emulator.cloud.metrics.engine(emulator.account_id), emulator.cloud.now()
        for space, metrics in SMALL.items():
            for metric, maps in metrics.items():
                engine.emit(space, metric, 1, maps, timestamp=now)
        found = [key async for key in client.metric.walk(emulator.cloud_id)]
        assert sorted(found, key=repr) == sorted(keys_of(SMALL), key=repr)
        device_id = emulator.cloud.register_device("A000000001")
        emulator.cloud.claim_device(device_id)
        # What a walk finds can be asked for.
        values = await asyncio.gather(
            *(
                client.metric.value(device_id, key.metric, dimensions=key.dimensions, namespace=key.namespace)
                for key in found
            )
        )
    assert values == [1] * len(found)
