"""Metrics of many devices: one that cannot be read leaves the others."""

from typing import Any

import pytest

from ioto_async import DatabaseQuery, InvalidArgumentError, IotoClient, MetricQuery, NotFoundError
from ioto_async.emulator import Emulator
from ioto_async.models.metric import DEVICE_NAMESPACE
from tests.rawserver import Request, Step, reply, served

QUERY = MetricQuery("temp", {"Device": "${deviceId}", "Room": "a"})


async def test_each_device_has_an_outcome_with_what_was_read_of_it() -> None:
    async with Emulator() as emu, IotoClient(environ=emu.env) as client:
        engine = emu.cloud.metrics.engine(emu.account_id)
        for number in range(3):
            emu.cloud.register_device(f"DEV{number}")
            emu.cloud.claim_device(f"DEV{number}")
            engine.emit(DEVICE_NAMESPACE, "temp", number, [{"Device": f"DEV{number}"}], timestamp=emu.cloud.now() - 1)
        query = MetricQuery("temp", {"Device": "${deviceId}"}, accumulate=True)
        run = client.metric.fetch_many(["DEV0", "NOSUCHDEV1", "DEV1", "DEV2"], [query])
        outcomes = {outcome.item: outcome async for outcome in run}
    assert {id: outcome.status for id, outcome in outcomes.items()} == {
        "DEV0": "ok",
        "NOSUCHDEV1": "failed",
        "DEV1": "ok",
        "DEV2": "ok",
    }
    assert isinstance(outcomes["NOSUCHDEV1"].error, NotFoundError)
    for number in range(3):
        (row,) = (outcomes[f"DEV{number}"].value or []).to_rows()  # type: ignore[union-attr]
        assert (row["device_id"], row["statistic"], row["value"]) == (f"DEV{number}", "avg", number)


async def test_what_is_asked_of_a_device_is_about_it() -> None:
    def handler(request: Request) -> Step:
        return reply(200, {"data": [{"metric": "temp"}, {"metric": "signal"}]})

    items: list[MetricQuery | DatabaseQuery] = [QUERY, DatabaseQuery("Device", "signal", {"id": "${deviceId}"})]
    async with served(handler=handler) as (server, client):
        run = client.metric.fetch_many(iter(["D1", "D2"]), iter(items), account_id="A1", concurrency=1)
        assert [outcome.status async for outcome in run] == ["ok", "ok"]
    bodies = [request.json for request in server.requests]
    assert [(body["deviceId"], body["accountId"]) for body in bodies] == [("D1", "A1"), ("D2", "A1")]
    assert [item["dimensions"] for body in bodies for item in body["items"]] == [
        *[{"Device": "D1", "Room": "a"}, {"id": "D1"}],
        *[{"Device": "D2", "Room": "a"}, {"id": "D2"}],
    ]


@pytest.mark.parametrize("items", ["temp", 5, [QUERY, "temp"]])
async def test_what_is_no_query_is_refused_before_anything_is_sent(items: Any) -> None:
    async with served() as (server, client):
        with pytest.raises(InvalidArgumentError, match="items: expected queries"):
            client.metric.fetch_many(["D1"], items)
    assert server.requests == []
