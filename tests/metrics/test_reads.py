"""``metric.series`` and ``metric.value``: few requests for many calls, and to each call what is its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioto_async import (
    Attempt,
    ClientStateError,
    DecodeError,
    InBandError,
    InvalidArgumentError,
    IotoClient,
    MetricQuery,
    ServiceError,
)
from ioto_async.emulator import Emulator
from ioto_async.metrics.reads import Item, answers_of
from ioto_async.models import Metric, Point
from ioto_async.operations import IOTO
from tests.bulk.calls import no_task_is_left, outcomes, until
from tests.rawserver import GUARD, Request, Step, client_of, in_thread, reply, served, silent

AT = 1700640000
"""A timestamp of the service, in seconds."""
WHEN = datetime.fromtimestamp(AT, UTC)


def answer(item: dict[str, Any], **members: Any) -> dict[str, Any]:
    """What the service says to an item: as value the number in the metric's name."""
    value = int("".join(filter(str.isdigit, item["metric"])) or 0)
    own = {name: item[name] for name in ("namespace", "metric", "dimensions", "id") if name in item}
    return own | {"period": 300, "samples": 10, "points": [{"value": value, "timestamp": AT, "count": 1}]} | members


def without_id(metric: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metric.items() if name != "id"}


def service(change: Callable[[list[dict[str, Any]]], Any] = lambda answers: answers) -> Callable[[Request], Step]:
    """Answers every item, and lets *change* have its way with the answers."""
    return lambda request: reply(200, {"data": change([answer(item) for item in request.json["items"]])})


async def values(client: IotoClient, *metrics: str, **options: Any) -> list[Any]:
    """What calls for the metrics of one device, all at once, have ended with."""
    async with asyncio.timeout(GUARD):
        calls = (client.metric.value("D", metric, **options) for metric in metrics)
        return await asyncio.gather(*calls, return_exceptions=True)


# Few requests -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def fleet(devices: int) -> AsyncIterator[tuple[Emulator, IotoClient, list[str]]]:
    async with Emulator() as emulator:
        ids = [f"DEV{number:07}" for number in range(devices)]
        for id in ids:
            emulator.cloud.register_device(id)
            emulator.cloud.claim_device(id)
        async with IotoClient.from_env(emulator.env) as client:
            yield emulator, client, ids


@pytest.mark.slow
async def test_ten_thousand_calls_for_a_hundred_devices_are_a_hundred_requests() -> None:
    async with fleet(100) as (emulator, client, ids):
        engine = emulator.cloud.metrics.engine(emulator.account_id)
        for number, id in enumerate(ids):
            engine.emit("Embedthis/Device", "m7", number, [{"Device": id}], timestamp=emulator.cloud.now())
        before = len(emulator.requests)
        calls = [(id, f"m{number}") for number in range(100) for id in ids]
        found = await asyncio.gather(*(client.metric.value(id, metric) for id, metric in calls))
        assert len(emulator.requests) - before == 100
    assert len(found) == 10_000
    assert {call: value for call, value in zip(calls, found, strict=True) if value is not None} == {
        (id, "m7"): number for number, id in enumerate(ids)
    }


async def test_calls_of_one_turn_for_one_device_are_one_request() -> None:
    async with served(handler=service()) as (server, client):
        assert await values(client, "m1", "m2", "m3") == [1, 2, 3]
    (request,) = server.requests
    assert [item["metric"] for item in request.json["items"]] == ["m1", "m2", "m3"]
    assert len({item["id"] for item in request.json["items"]}) == 3


async def test_series_and_values_share_a_request() -> None:
    async with served(handler=service()) as (server, client):
        series, value = await asyncio.gather(client.metric.series("D", "m1"), client.metric.value("D", "m2"))
    assert (series.metric, value) == ("m1", 2)
    assert len(server.requests) == 1


async def test_calls_one_after_the_other_are_a_request_each() -> None:
    async with served(handler=service()) as (server, client):
        await client.metric.value("D", "m1")
        await client.metric.value("D", "m2")
    assert len(server.requests) == 2


async def test_devices_accounts_and_options_have_requests_of_their_own() -> None:
    calls: list[dict[str, Any]] = [
        {},
        {"account_id": "A2"},
        {"timeout": 5},
        {"retries": 1},
        {"headers": {"X-Trace": "1"}},
        {"headers": {"X-Trace": "2"}},
    ]
    async with served(handler=service(), account_id="A1") as (server, client):
        both = [*calls, *calls]
        found = await asyncio.gather(
            *(client.metric.value("D", f"m{number}", **options) for number, options in enumerate(both)),
            client.metric.value("E", "m12"),
        )
    assert found == [*range(13)]
    seen = [
        (request.json["deviceId"], request.json["accountId"], request.header("X-Trace"), len(request.json["items"]))
        for request in server.requests
    ]
    assert sorted(seen, key=str) == sorted(
        [
            ("D", "A1", None, 2),
            ("D", "A2", None, 2),
            ("D", "A1", None, 2),
            ("D", "A1", None, 2),
            ("D", "A1", "1", 2),
            ("D", "A1", "2", 2),
            ("E", "A1", None, 1),
        ],
        key=str,
    )


@pytest.mark.parametrize(("max_reply", "most"), [(16 << 20, 100), (1 << 16, 16), (1000, 1)])
async def test_the_reply_to_a_request_fits_into_the_largest_that_is_allowed(max_reply: int, most: int) -> None:
    async with served(handler=service(), max_reply=max_reply) as (server, client):
        assert await values(client, *(f"m{number}" for number in range(200))) == [*range(200)]
    assert max(len(request.json["items"]) for request in server.requests) == most


async def test_an_account_that_is_not_named_is_the_client_s() -> None:
    async with served(handler=service(), account_id="A1") as (server, client):
        await asyncio.gather(client.metric.value("D", "m1"), client.metric.value("D", "m2", account_id="A1"))
    assert [request.json["accountId"] for request in server.requests] == ["A1"]


async def test_dimensions_are_those_of_the_time_of_the_call() -> None:
    dimensions = {"Device": "D"}
    async with served(handler=service()) as (server, client):
        first = asyncio.create_task(client.metric.value("D", "m1", dimensions=dimensions))
        await asyncio.sleep(0)
        dimensions["Device"] = "E"
        await first
    assert server.requests[0].json["items"][0]["dimensions"] == {"Device": "D"}


async def test_the_two_hours_that_a_clock_shows_twice_are_told_apart() -> None:
    first = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    async with served(handler=service()) as (server, client):
        for start in (first, first.replace(fold=1)):
            await client.metric.value("D", "m1", start=start)
    early, late = (request.json["items"][0]["start"] for request in server.requests)
    assert late - early == 3_600_000


# Results ----------------------------------------------------------------------------------------------------------


async def test_a_series_has_its_points_and_its_device() -> None:
    async with served(handler=service()) as (_, client):
        found = await client.metric.series("D", "m4", period=timedelta(hours=1))
    assert found == Metric(
        device_id="D",
        namespace="Embedthis/Device",
        metric="m4",
        dimensions={"Device": "D"},
        period=300,
        samples=10,
        statistic="avg",
        points=[Point(value=4, timestamp=WHEN, count=1)],
    )


async def test_the_same_question_gets_each_asker_an_answer_of_its_own() -> None:
    async with served(handler=service()) as (_, client):
        first, second = await asyncio.gather(client.metric.series("D", "m1"), client.metric.series("D", "m1"))
    assert first == second
    assert first is not second
    assert first.points is not second.points


@pytest.mark.parametrize(
    ("statistic", "points", "expected"),
    [
        ("avg", [{"value": 4.5, "count": 2}], 4.5),
        ("avg", [{"value": 0, "count": 2}], 0),
        ("avg", [{"value": 4.5}], 4.5),
        ("avg", [{"value": 0, "count": 0}], None),
        ("current", [{"value": 0, "count": 0}], None),
        ("min", [{"value": None, "count": 0}], None),
        ("p95", [{"count": 3}], None),
        ("sum", [{"value": 0, "count": 0}], 0),
        ("count", [{"value": 0, "count": 0}], 0),
        ("avg", [], None),
        ("avg", None, None),
    ],
)
async def test_a_value_is_none_where_there_is_none(
    statistic: str, points: list[dict[str, Any]] | None, expected: float | None
) -> None:
    def change(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each | {"points": points} for each in answers]

    async with served(handler=service(change)) as (_, client):
        assert await values(client, "m1", statistic=statistic) == [expected]


async def test_a_sample_of_the_embedded_cloud_is_its_average_its_count_and_its_current_value() -> None:
    async with fleet(2) as (_, client, (first, second)):
        for value in (20, 22):
            await client.action.invoke("MetricSample", context={"deviceId": first, "metric": "t", "value": value})
        statistics = ("avg", "sum", "count", "min", "max")
        found = await asyncio.gather(
            *(client.metric.value(first, "t", statistic=each) for each in statistics),
            client.metric.value(second, "t"),
            client.metric.value(first, "t", dimensions={}),
            client.metric.value(first, "t", period="1d", statistic="current"),
        )
        series = await client.metric.series(first, "t", period=timedelta(minutes=5), statistic="sum")
    assert found == [21, 42, 2, 20, 22, None, 21, 21]
    assert series.points is not None
    assert [point.value for point in series.points if point.count] == [42]


# Whose answer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda answers: answers,
        lambda answers: answers[::-1],
        lambda answers: [[each] for each in answers],
        lambda answers: [answers[1:], answers[:1]],
        lambda answers: [without_id(each) for each in answers],
        lambda answers: [[without_id(each)] for each in answers],
        lambda answers: [without_id(answers[0]), *answers[1:]],
        lambda answers: [{"points": each["points"]} for each in answers],
        lambda answers: [{**each, "id": "of its own"} for each in answers],
        lambda answers: [{**each, "id": 7} for each in answers],
        lambda answers: [*answers[::-1], {"id": "of nobody", "metric": "m9"}],
    ],
    ids=[
        *("flat", "another order", "nested", "nested anyhow", "no ids", "nested, no ids", "one without", "bare"),
        *("other ids", "no text", "more"),
    ],
)
async def test_an_answer_gets_to_who_has_asked(change: Callable[[list[dict[str, Any]]], Any]) -> None:
    async with served(handler=service(change)) as (_, client):
        assert await values(client, "m1", "m2", "m3") == [1, 2, 3]


async def test_an_item_without_an_answer_is_the_error_of_its_caller() -> None:
    async with served(handler=service(lambda answers: answers[:1] + answers[2:])) as (_, client):
        first, second, third = await values(client, "m1", "m2", "m3")
    assert (first, third) == (1, 3)
    assert isinstance(second, DecodeError)
    expected = "metric/fetch: reply at $.data: expected an answer to each of 3 items, got 2, and none to this item"
    assert str(second) == expected


async def test_two_answers_to_one_item_are_the_error_of_its_caller() -> None:
    async with served(handler=service(lambda answers: [*answers, answers[1]])) as (_, client):
        first, second, third = await values(client, "m1", "m2", "m3")
    assert (first, third) == (1, 3)
    assert isinstance(second, DecodeError)
    assert "more than one to this item" in str(second)


async def test_a_reply_of_far_too_many_answers_is_a_decode_error_for_each() -> None:
    body = b'{"data":[%b]}' % b",".join([b"null"] * 300_000)
    async with served(reply(200, body)) as (_, client):
        calls = (client.metric.value("D", name) for name in ("a", "b"))
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(error) for error in errors] == [
        "metric/fetch: reply at $.data: expected an answer to each of 2 items, got 300000"
    ] * 2


async def test_the_answer_of_another_is_not_taken_for_its_place() -> None:
    def change(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [answers[1], answers[1] | {"id": "of nobody"}]

    async with served(handler=service(change)) as (_, client):
        average, highest = await asyncio.gather(
            *(client.metric.value("D", "m1", statistic=statistic) for statistic in ("avg", "max")),
            return_exceptions=True,
        )
    assert isinstance(average, DecodeError)
    assert highest == 1


async def test_without_ids_answers_in_another_order_are_refused() -> None:
    async with served(handler=service(lambda answers: [without_id(each) for each in answers[::-1]])) as (_, client):
        first, second, third = await values(client, "m1", "m2", "m3")
    assert second == 2
    assert isinstance(first, DecodeError)
    assert isinstance(third, DecodeError)
    assert "$.data[0]: expected the metric 'm1', got \"m3\"" in str(first)


async def test_without_ids_another_number_of_answers_is_refused() -> None:
    async with served(handler=service(lambda answers: [without_id(each) for each in answers[:2]])) as (_, client):
        found = await values(client, "m1", "m2", "m3")
    assert {type(each) for each in found} == {DecodeError}


WITHOUT_IDS = [
    ({"Device": "D"}, {"Device": "D"}, True),
    ({"Device": "D"}, {"Device": "E"}, False),
    ({"Device": "D"}, {}, False),
    ({}, {"Device": "D"}, False),
    ({"Room": 7, "Floor": 1.0, "On": False}, {"Room": "7", "Floor": "1", "On": "false"}, True),
    ({"Room": 7}, {"Room": "8"}, False),
    ({"Device": "${deviceId}"}, {"Device": "D"}, True),
    ({"deviceId": True}, {"deviceId": "D"}, True),
    ({"Room": "7", "Device": "${deviceId}"}, {"Room": "8", "Device": "D"}, False),
    ({"Path": "a,b=c"}, {"Path": "a", "b": "c"}, True),
    ({"Path": "a,b=c"}, None, True),
]


@pytest.mark.parametrize(("sent", "got", "fits"), WITHOUT_IDS, ids=str)
async def test_without_ids_dimensions_have_to_be_those_that_were_asked_for(
    sent: dict[str, object], got: dict[str, object] | None, fits: bool
) -> None:
    def change(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [without_id(each) | {"dimensions": got} for each in answers]

    async with served(handler=service(change)) as (_, client):
        (found,) = await values(client, "m1", dimensions=sent)
    assert (found == 1) if fits else isinstance(found, DecodeError)


@given(st.data())
def test_whatever_the_order_and_the_losses_nobody_gets_the_answer_of_another(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    items: list[Item] = [(str(n), b'{"namespace": "N", "metric": "m%d", "dimensions": {}}' % n) for n in range(count)]
    answers = [{"id": str(n), "namespace": "N", "metric": f"m{n}", "dimensions": {}} for n in range(count)]
    came = data.draw(st.lists(st.sampled_from(answers), max_size=10))
    came = [each | {"id": "other"} if data.draw(st.booleans()) else each for each in came]
    for (id, _), found in zip(items, answers_of(IOTO["metric/fetch"], items, came), strict=True):
        if isinstance(found, tuple):
            members, place = found
            assert members["metric"] == f"m{id}"
            assert came[place] is members


# Errors -----------------------------------------------------------------------------------------------------------


async def test_an_item_that_fails_is_the_error_of_its_caller_alone() -> None:
    def change(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [answers[0], {"id": answers[1]["id"], "error": "no such\nmetric"}, answers[2]]

    async with served(handler=service(change)) as (_, client):
        first, second, third = await values(client, "m1", "m2", "m3")
    assert (first, third) == (1, 3)
    assert isinstance(second, InBandError)
    assert (str(second), second.operation) == ("metric/fetch: 200 no such metric", "metric/fetch")


async def test_an_answer_that_cannot_be_read_is_the_error_of_its_caller_alone() -> None:
    def change(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [answers[0], answers[1] | {"points": [{"value": "warm"}]}, answers[2]]

    async with served(handler=service(change)) as (_, client):
        calls = (client.metric.value, client.metric.value, client.metric.series, client.metric.value)
        first, second, third, _ = await asyncio.gather(
            *(call("D", f"m{number}") for number, call in enumerate(calls[:3], 1)),
            asyncio.sleep(0),
            return_exceptions=True,
        )
    assert first == 1
    assert isinstance(second, DecodeError)
    assert (second.path, second.operation) == ("$.data[1].points[0].value", "metric/fetch")
    assert isinstance(third, Metric)


async def test_a_series_that_cannot_be_read_says_where() -> None:
    async with served(handler=service(lambda answers: [answers[0] | {"points": [{"timestamp": "soon"}]}])) as (
        _,
        client,
    ):
        with pytest.raises(DecodeError) as wrong:
            await client.with_options(strict=True).metric.series("D", "m1")
        found = await client.metric.series("D", "m1")
    assert wrong.value.path == "$.data[0].points[0].timestamp"
    assert found.points == [Point(extra={"timestamp": "soon"})]


async def test_a_request_that_fails_fails_for_each_with_an_error_of_its_own() -> None:
    async with served(handler=lambda _: reply(500, "down")) as (server, client):
        errors = await values(client, "m1", "m2", "m3", retries=1)
    assert [type(error) for error in errors] == [ServiceError] * 3
    assert len({id(error) for error in errors}) == 3
    assert {(error.operation, error.status, error.attempts) for error in errors} == {("metric/fetch", 500, 2)}
    assert len(server.requests) == 2


async def test_a_failure_that_passes_is_tried_again_for_all() -> None:
    steps = iter([reply(503, "soon")])

    def handler(request: Request) -> Step:
        return next(steps, None) or service()(request)

    async with served(handler=handler) as (server, client):
        assert await values(client, "m1", "m2") == [1, 2]
    assert len(server.requests) == 2


async def test_an_argument_that_does_not_fit_is_refused_without_the_others() -> None:
    async with served(handler=service()) as (server, client):
        found = await asyncio.gather(
            client.metric.value("D", "m1"),
            client.metric.value("D", "m2", dimensions={"Device": {1}}),
            client.metric.value("D", "m3", period=timedelta(0)),
            client.metric.value("D", "m4", timeout=[1]),  # type: ignore[arg-type]
            client.metric.value("D", "m5", colour="red"),  # type: ignore[call-arg]
            client.metric.value(["D"], "m6"),  # type: ignore[arg-type]
            client.metric.value("D", ["m7"]),  # type: ignore[arg-type]
            client.metric.value("D", "m8"),
            return_exceptions=True,
        )
    assert found[:1] + found[-1:] == [1, 8]
    texts = [str(error) for error in found[1:-1] if isinstance(error, InvalidArgumentError)]
    names = ["dimensions.Device", "period", "timeout", "colour", "deviceId", "metric"]
    assert all(name in text for name, text in zip(names, texts, strict=True))
    assert [len(request.json["items"]) for request in server.requests] == [2]


async def test_what_was_refused_once_is_not_taken_for_what_looks_the_same() -> None:
    async with served(handler=service()) as (_, client):
        assert await client.metric.value("D", "m1", period=1) == 1
        with pytest.raises(InvalidArgumentError, match="period"):
            await client.metric.value("D", "m1", period=True)


# Cancellation and the end of the client ---------------------------------------------------------------------------


async def test_a_caller_who_goes_does_not_disturb_the_others() -> None:
    held = asyncio.Event()

    def handler(request: Request) -> Step:
        step = service()(request)
        step.hold = held
        return step

    async with served(handler=handler) as (server, client):
        tasks = [asyncio.create_task(client.metric.value("D", f"m{number}")) for number in range(3)]
        await server.received(1)
        tasks[1].cancel()
        await until(tasks[1].done)
        held.set()
        assert await tasks[0] == 0
        assert await tasks[2] == 2
    assert tasks[1].cancelled()
    assert len(server.requests) == 1


async def test_the_request_is_given_up_when_all_callers_have_gone() -> None:
    seen: list[Attempt] = []
    async with served(silent(), observer=seen.append) as (server, client):
        tasks = [asyncio.create_task(client.metric.value("D", f"m{number}")) for number in range(3)]
        await server.received(1)
        for task in tasks:
            task.cancel()
        await server.until(lambda: server.open == 0)
        await until(lambda: bool(seen))
    assert [attempt.failure for attempt in seen] == ["cancelled"]


async def test_closing_the_client_ends_all_calls_under_way() -> None:
    async with served(silent()) as (server, client):
        running = asyncio.create_task(values(client, "m1", "m2"))
        await server.received(1)
        await client.aclose()
        assert [type(error) for error in await running] == [ClientStateError] * 2


async def test_closing_the_client_ends_the_calls_that_have_not_been_sent() -> None:
    async with served(handler=service()) as (server, client):
        running = [asyncio.create_task(client.metric.value("D", f"m{number}")) for number in range(2)]
        await client.aclose()
        async with asyncio.timeout(GUARD):
            ended = await asyncio.gather(*running, return_exceptions=True)
    assert [type(error) for error in ended] == [ClientStateError] * 2
    assert server.requests == []
    await no_task_is_left()


def test_a_client_joins_calls_in_one_loop_after_the_other() -> None:
    answers = {"data": [{"points": [{"value": value}]} for value in (1, 2)]}
    with in_thread(reply(200, answers), reply(200, answers)) as server:
        client = client_of(server)

        async def read() -> list[Any]:
            async with client:
                return await values(client, "m1", "m2")

        assert asyncio.run(read()) == [1, 2]
        assert asyncio.run(read()) == [1, 2]
        assert len(server.requests) == 2


# Bulk runs --------------------------------------------------------------------------------------------------------


async def test_the_calls_of_a_bulk_run_join() -> None:
    async with served(handler=service()) as (server, client):

        async def read(metric: str) -> float | None:
            return await client.metric.value("D", metric)

        async with client.bulk(read, (f"m{number}" for number in range(1000)), concurrency=100) as run:
            found = {outcome.item: outcome.value async for outcome in run}
    assert found == {f"m{number}": number for number in range(1000)}
    # Its tasks begin one after the other, and come together with the replies.
    assert len(server.requests) <= 200


async def test_a_bulk_run_that_is_left_gives_up_its_joined_requests() -> None:
    async with served(handler=lambda _: silent()) as (server, client):
        read = partial(client.metric.value, "D")
        run = client.bulk(read, (f"m{number}" for number in range(10)), concurrency=10)
        reading = asyncio.create_task(outcomes(run))
        await server.received(1)
        reading.cancel()
        await until(reading.done)
        await server.until(lambda: server.open == 0)


async def test_stopping_a_bulk_run_takes_back_the_reads_that_wait() -> None:
    async with served(handler=lambda _: silent()) as (server, client):
        read = partial(client.metric.value, "D")
        run = client.bulk(read, (f"m{number}" for number in range(10)), concurrency=10)
        reading = asyncio.create_task(outcomes(run))
        await server.received(1)
        run.stop("enough", grace=0)
        assert await reading == []
        await server.until(lambda: server.open == 0)


# What fetch gives -------------------------------------------------------------------------------------------------


async def test_what_fetch_gives_knows_its_device() -> None:
    async with served(handler=service()) as (_, client):
        found = await client.metric.fetch("D", [MetricQuery("m1"), MetricQuery("m2")])
    assert [metric.device_id for metric in found] == ["D", "D"]
