"""Which statistic an answer is of: the service does not repeat it."""

from typing import Any

from ioto_async import DatabaseQuery, IotoClient, MetricQuery
from ioto_async.emulator import Emulator
from ioto_async.models.metric import DEVICE_NAMESPACE
from tests.rawserver import reply, served
from tests.rows import each_row

DEVICE = "DEV0000001"


def answer(metric: str | None = None, id: str | None = None, **members: Any) -> dict[str, Any]:
    named = {"metric": metric, "id": id}
    return {**{name: value for name, value in named.items() if value is not None}, "points": [], **members}


AVG, MAX = MetricQuery("temp"), MetricQuery("temp", statistic="max")
NAMED = MetricQuery("temp", statistic="min", id="a"), MetricQuery("temp", statistic="max", id="b")
COUNT = DatabaseQuery("Device", "signal", statistic="count")


@each_row(
    "queries, answers, statistics",
    [
        ([AVG, MAX], [answer("temp"), answer("temp")], ["avg", "max"]),
        ([AVG, MAX], [answer(), answer()], ["avg", "max"]),
        ([AVG, MAX], [answer("temp")], [None]),
        ([AVG], [answer("wind")], [None]),
        ([AVG, COUNT], [answer("temp"), answer()], ["avg", "count"]),
        ([*NAMED], [answer("temp", "a"), answer("temp", "b")], ["min", "max"]),
        ([*NAMED], [answer("temp", "b"), answer("temp", "a")], ["max", "min"]),
        ([*NAMED], [answer("temp", "b")], ["max"]),
        ([NAMED[0], NAMED[0]], [answer("temp", "a")], [None]),
        ([AVG], [], []),
        ([AVG], [answer("temp", error="no")], ["avg"]),
    ],
)
async def test_it_is_that_of_the_query_which_the_answer_is_to(
    queries: list[Any], answers: list[dict[str, Any]], statistics: list[str | None]
) -> None:
    async with served(reply(200, {"data": answers})) as (_, client):
        found = await client.metric.fetch(DEVICE, iter(queries))
    assert [metric.statistic for metric in found] == statistics


async def test_an_average_over_a_table_counts_no_points_without_samples() -> None:
    async with Emulator() as emu, IotoClient(environ=emu.env) as client:
        emu.cloud.register_device(DEVICE)
        emu.cloud.claim_device(DEVICE)
        engine = emu.cloud.metrics.engine(emu.account_id)
        for value, minutes in ((20, 50), (22, 1)):
            timestamp = emu.cloud.now() - minutes * 60_000
            engine.emit(DEVICE_NAMESPACE, "temp", value, [{"Device": DEVICE}], timestamp=timestamp)
        query = MetricQuery("temp", {"Device": DEVICE}, period=3600)
        fetched = await client.metric.fetch(DEVICE, [query])
        series = await client.metric.series(DEVICE, "temp", period=3600)
    for table in (fetched, type(fetched)([series])):
        rows = table.to_rows()
        assert len(rows) > 2
        assert {row["statistic"] for row in rows} == {"avg"}
        values = [row["value"] for row in rows if row["value"] is not None]
        assert sum(values) / len(values) == 21
        assert all(row["count"] == 0 for row in rows if row["value"] is None)
