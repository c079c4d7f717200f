"""The ways of samples to the cloud: what is sent, what is sent again, and what cannot be sent."""

import asyncio
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ioto_async import (
    AccessToken,
    ClientStateError,
    InvalidArgumentError,
    IotoClient,
    Limits,
    MetricQuery,
    OutcomeUnknownError,
    RetryPolicy,
    UnwrittenError,
    Writer,
)
from ioto_async.emulator import Emulator
from ioto_async.metrics import outage
from tests.bulk.calls import Crowd, turns, until
from tests.rawserver import GUARD, RawServer, Request, Step, client_of, drop, in_thread, reply, served

from .links import Link, Told, away, statuses, writer

DEVICE = "DEV0000001"
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing between two tries."""
    monkeypatch.setattr(outage, "_WAITS", RetryPolicy(attempts=10**9, elapsed=math.inf, base=0))


def fine(request: Request) -> Step:
    return reply(200, {})


def automation(client: IotoClient, **options: Any) -> Writer:
    return client.metric.writer(via="automation", **{"name": "AddSample", "count": 1, **options})


def model(client: IotoClient, **options: Any) -> Writer:
    return client.metric.writer(via="model", **{"model": "Climate", **options})


# Automations --------------------------------------------------------------------------------------------------------


async def contexts(samples: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    """What an automation named AddSample gets for *samples*."""
    async with served(handler=fine) as (server, client):
        async with automation(client, concurrency=1, **options) as w:
            for sample in samples:
                await w.write(**sample)
        assert {request.path for request in server.requests} == {"/tok/action/invoke"}
        assert all(request.json.keys() == {"name", "context"} for request in server.requests)
        assert {request.json["name"] for request in server.requests} == {"AddSample"}
        return [request.json["context"] for request in server.requests]


async def test_an_automation_gets_name_value_and_time_of_each_sample_and_a_variable_for_each_dimension() -> None:
    samples: list[dict[str, Any]] = [
        {"metric": "temp", "value": 21.5},
        {"metric": "temp", "value": 22, "dimensions": {"Device": DEVICE, "room": 4}, "timestamp": WHEN},
    ]
    assert await contexts(samples) == [
        {"metric": "temp", "value": 21.5},
        {"metric": "temp", "value": 22, "deviceId": DEVICE, "room": 4, "timestamp": 1767323045678},
    ]


async def test_the_variables_of_an_automation_may_have_other_names_and_there_may_be_more_of_them() -> None:
    sample = {"metric": "temp", "value": 1, "dimensions": {"Device": DEVICE, "Room": "4"}, "timestamp": WHEN}
    names = {"metric": "what", "value": "howMuch", "timestamp": "at", "dimensions": {"Room": "room"}}
    assert await contexts([sample], **names, context={"accountId": "A1"}) == [
        {"accountId": "A1", "what": "temp", "howMuch": 1, "at": 1767323045678, "Device": DEVICE, "room": "4"}
    ]


@pytest.mark.parametrize(
    ("options", "sample", "text"),
    [
        ({"timestamp": None}, {"timestamp": WHEN}, "timestamp of 'm': AddSample takes none, got 2026-01-02"),
        ({}, {"dimensions": {"value": "x"}}, "dimensions: {'value': 'x'} set a variable of AddSample that is set"),
        ({"context": {"room": 1}}, {"dimensions": {"room": 2}}, "dimensions: {'room': 2} set a variable"),
        (
            {"dimensions": {"Device": "metric"}},
            {"dimensions": {"Device": "x"}},
            "set a variable of AddSample that is",
        ),
        ({}, {"dimensions": {"Device": "x", "deviceId": "y"}}, "set a variable of AddSample that is"),
    ],
)
async def test_a_sample_that_the_variables_of_an_automation_cannot_hold_is_refused(
    options: dict[str, Any], sample: dict[str, Any], text: str
) -> None:
    async with served(handler=fine) as (server, client), automation(client, **options) as w:
        with pytest.raises(InvalidArgumentError, match=text):
            await w.write("m", 1, **sample)
        assert server.requests == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": ""}, "name: expected a string that is not empty"),
        ({"value": None}, "value: expected a string that is not empty"),
        ({"dimensions": {"a": "x", "b": "x"}}, "dimensions: two of them have the same name"),
        ({"dimensions": {"a": 1}}, "dimensions: expected a mapping of names to names"),
        ({"context": [1]}, "context: expected a mapping, got list"),
        ({"context": {"x": math.nan}}, "x: nan is not a finite number"),
        ({"at_least_once": 1}, "at_least_once: expected true or false, got 1"),
        ({"model": "Store"}, "via automation: unknown option 'model'"),
        ({"metric": "value"}, "two variables have the same name: value, value, timestamp"),
    ],
)
def test_an_argument_of_the_way_over_automations_that_does_not_fit_is_refused(
    options: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        automation(client_of("https://cloud.example"), **options)


def test_an_argument_that_is_needed_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"via automation: missing a required .*'name'"):
        client_of("https://cloud.example").metric.writer(via="automation")  # type: ignore[call-overload]


async def test_an_automation_that_fails_is_a_failed_sample() -> None:
    told: Told = []
    async with served(reply(200, {"error": "The automation is disabled"}), reply(200, {})) as (server, client):
        with pytest.raises(UnwrittenError, match="The automation is disabled"):
            await two(automation(client, concurrency=1, on_outcome=told.append))
        assert len(server.requests) == 2
    assert statuses(told) == {"0": "failed", "1": "ok"}


async def two(w: Writer) -> None:
    async with asyncio.timeout(GUARD), w:
        await w.write("m", 0)
        await w.write("m", 1)


# Failures -----------------------------------------------------------------------------------------------------------


async def test_a_request_whose_reply_is_lost_is_not_sent_again() -> None:
    told: Told = []
    async with served(drop(), reply(200, {})) as (server, client):
        with pytest.raises(UnwrittenError, match="of 2 samples 0 are not written, and of 1 that is not known"):
            await two(automation(client, concurrency=1, on_outcome=told.append))
        assert [request.json["context"]["value"] for request in server.requests] == [0, 1]
    assert statuses(told) == {"0": "unknown", "1": "ok"}
    assert isinstance(told[0].error, OutcomeUnknownError)


async def test_a_request_whose_reply_is_lost_is_sent_again_if_asked_for() -> None:
    told: Told = []
    async with served(drop(), reply(500, "broken"), reply(200, {}), reply(200, {})) as (server, client):
        await two(automation(client, concurrency=1, at_least_once=True, on_outcome=told.append))
        assert [request.json["context"]["value"] for request in server.requests] == [0, 0, 0, 1]
    assert statuses(told) == {"0": "ok", "1": "ok"}


async def test_what_is_to_arrive_at_least_once_is_kept_while_the_service_is_away() -> None:
    told: Told = []
    async with served(*[drop()] * 20, reply(200, {}), reply(200, {})) as (server, client):
        await two(automation(client, concurrency=1, at_least_once=True, on_outcome=told.append))
        assert [request.json["context"]["value"] for request in server.requests] == [0] * 21 + [1]
    assert statuses(told) == {"0": "ok", "1": "ok"}


@pytest.mark.parametrize(
    "refusal", [reply(429, "too many"), reply(503, "busy", headers={"Retry-After": "0"})], ids=["429", "503"]
)
async def test_what_is_to_arrive_at_least_once_and_is_in_doubt_is_kept_while_the_service_refuses_it(
    refusal: Step,
) -> None:
    told: Told = []
    async with served(drop(), *[refusal] * 20, reply(200, {}), reply(200, {})) as (server, client):
        await two(automation(client, concurrency=1, at_least_once=True, on_outcome=told.append))
        assert [request.json["context"]["value"] for request in server.requests] == [0] * 22 + [1]
    assert statuses(told) == {"0": "ok", "1": "ok"}


async def test_what_is_in_doubt_when_the_provider_of_tokens_fails_is_kept_as_well() -> None:
    told: Told = []
    failed = 0

    async def login() -> AccessToken:
        nonlocal failed
        if server.requests and failed < 20:
            failed += 1
            raise OSError("the sign-in is away")
        return AccessToken("token", lifetime=1e-9)  # is good for one request

    steps = (drop(), reply(200, {}), reply(200, {}))
    async with RawServer.of(*steps) as server, client_of(server, login=login, origin="https://app.example") as client:
        await two(automation(client, concurrency=1, at_least_once=True, on_outcome=told.append))
    assert failed == 20
    assert statuses(told) == {"0": "ok", "1": "ok"}


async def test_what_is_to_be_sent_again_when_the_client_is_closed_is_in_doubt() -> None:
    told: Told = []
    closing: list[asyncio.Task[None]] = []

    def close(_: object) -> None:
        closing.append(asyncio.create_task(client.aclose()))

    # The first try has failed when the observer is told, and the second one comes too late.
    async with RawServer.of(drop()) as server:
        client = client_of(server, observer=close, retry=RetryPolicy(base=0.2))
        w = automation(client, at_least_once=True, on_outcome=told.append)

        async def block() -> None:
            async with asyncio.timeout(GUARD), w:
                await w.write("m", 0)
                await until(lambda: bool(told))

        with pytest.raises(UnwrittenError):
            await block()
        await closing[0]
        assert len(server.requests) == 1
    assert statuses(told) == {"0": "unknown"}
    assert isinstance(told[0].error, ClientStateError)


async def test_what_was_to_arrive_at_least_once_and_did_not_in_time_is_in_doubt() -> None:
    told: Told = []
    async with served(handler=lambda request: drop()) as (_, client):
        with pytest.raises(UnwrittenError):
            await two(automation(client, concurrency=1, at_least_once=True, grace=0.05, on_outcome=told.append))
    assert statuses(told) == {"0": "unknown", "1": "failed"}


async def test_what_a_service_fails_at_again_and_again_does_not_stop_the_others() -> None:
    told: Told = []

    def broken(request: Request) -> Step:
        return reply(500, "broken") if request.json["context"]["value"] == 0 else reply(200, {})

    async with served(handler=broken) as (_, client):
        with pytest.raises(UnwrittenError, match="500 broken"):
            await two(automation(client, concurrency=1, at_least_once=True, on_outcome=told.append))
    assert statuses(told) == {"0": "unknown", "1": "ok"}


@pytest.mark.parametrize("create", [False, True])
async def test_a_write_of_a_model_whose_reply_is_lost_is_not_sent_again_as_each_adds_samples(*, create: bool) -> None:
    async with served(drop(), reply(200, {})) as (server, client):
        with pytest.raises(UnwrittenError):
            await two(model(client, create=create, concurrency=1, count=2))
        assert [request.json["m"] for request in server.requests] == [0, 1]


async def test_requests_that_are_refused_without_work_are_sent_until_they_are_taken() -> None:
    busy = [reply(503, "busy", headers={"Retry-After": "0"}), reply(429, "too many")] * 5
    told: Told = []
    async with served(*busy, reply(200, {}), reply(200, {})) as (server, client):
        await two(automation(client, concurrency=1, on_outcome=told.append))
        assert len(server.requests) == 12
    assert statuses(told) == {"0": "ok", "1": "ok"}
    assert sum(outcome.attempts for outcome in told) == 12


async def test_samples_wait_for_a_server_that_is_not_there_yet() -> None:
    told: Told = []
    async with RawServer(handler=fine) as gone:
        pass
    async with client_of(gone) as client, asyncio.timeout(GUARD), automation(client, on_outcome=told.append) as w:
        for number in range(20):
            await w.write("m", number)
        await until(lambda: w._outage._failures > 3)
        assert told == []
        async with gone:
            await w.flush()
    assert statuses(told) == {str(number): "ok" for number in range(20)}
    assert sorted(request.json["context"]["value"] for request in gone.requests) == [*range(20)]


async def test_a_client_that_is_closed_ends_its_writers_with_a_clear_error() -> None:
    crowd, told = Crowd(), Told()
    async with served(handler=crowd) as (_, client):
        w = automation(client, concurrency=2, on_outcome=told.append)

        async def block() -> None:
            async with w:
                for number in range(4):
                    await w.write("m", number)
                await until(lambda: crowd.waiting == 2)
                await client.aclose()
                await until(lambda: len(told) == 4)
                with pytest.raises(ClientStateError, match="takes no samples any more: the client was closed"):
                    await w.write("m", 4)

        with pytest.raises(UnwrittenError, match="the client was closed"):
            await block()
    assert sorted(statuses(told).values()) == ["failed", "failed", "unknown", "unknown"]


async def test_what_waits_for_its_turn_at_the_end_was_not_sent() -> None:
    crowd, told = Crowd(), Told()
    async with served(handler=crowd, limits=Limits(in_flight=1)) as (_, client):
        w = automation(client, concurrency=3, grace=0.02, on_outcome=told.append)

        async def block() -> None:
            async with w:
                for number in range(3):
                    await w.write("m", number)
                await until(lambda: crowd.waiting == 1)

        with pytest.raises(UnwrittenError):
            await block()
    assert statuses(told) == {"0": "unknown", "1": "failed", "2": "failed"}


async def test_a_writer_that_has_nothing_to_do_notices_a_closed_client_as_well() -> None:
    async with served(handler=fine) as (server, client), automation(client) as w:
        await w.write("m", 0)
        await w.flush()
        await client.aclose()
        with pytest.raises(ClientStateError, match="the client is closed"):
            await w.write("m", 1)
        assert len(server.requests) == 1


async def test_a_closed_client_has_no_writer_to_enter() -> None:
    async with served(handler=fine) as (_, client):
        w = automation(client)
        await client.aclose()
        with pytest.raises(ClientStateError, match="the client is closed"):
            await w.__aenter__()


async def test_requests_wait_for_their_turn_at_the_limiter_of_the_client() -> None:
    crowd, told = Crowd(), Told()
    async with served(handler=crowd, limits=Limits(in_flight=3)) as (_, client):
        limiter = client._pool.limiter
        async with automation(client, on_outcome=told.append) as w:
            for number in range(12):
                await w.write("m", number)
            await until(lambda: crowd.waiting == 3)
            await turns()
            assert crowd.waiting == limiter.in_flight == 3
            for _ in range(4):
                await until(lambda: crowd.waiting == 3)
                crowd.release(3)
        assert (limiter.in_flight, limiter.limit) == (0, 3)  # as it was before
    assert set(statuses(told).values()) == {"ok"}


@pytest.mark.parametrize(("concurrency", "at_once"), [("auto", 4), (20, 20)])
async def test_a_writer_that_is_to_find_out_what_the_service_can_do_begins_with_few_requests(
    concurrency: Any, at_once: int
) -> None:
    crowd = Crowd()
    async with (
        served(handler=crowd) as (_, client),
        automation(client, concurrency=concurrency, grace=GUARD) as w,
    ):
        for number in range(20):
            await w.write("m", number)
        await until(lambda: crowd.waiting == at_once)
        await turns()
        assert crowd.waiting == len(w._run._workers) == at_once
        while w.pending:
            crowd.release(crowd.waiting)
            await turns(1)


async def test_a_writer_that_has_nothing_to_do_holds_back_no_other_calls() -> None:
    async with served(handler=fine) as (_, client), automation(client) as w:
        for _ in range(2):
            await w.write("m", 0)
            await w.flush()
            await turns()
            assert client._pool.limiter.limit == math.inf


def test_a_client_writes_in_two_runs_in_a_row() -> None:
    with in_thread(*[reply(200, {}, close=True)] * 4) as server:
        client = client_of(server)

        async def last() -> None:
            async with client:
                await two(automation(client))

        asyncio.run(two(automation(client)))
        asyncio.run(last())
        assert len(server.requests) == 4


# Models -------------------------------------------------------------------------------------------------------------


async def bodies(samples: list[tuple[str, float, dict[str, Any]]], **options: Any) -> list[dict[str, Any]]:
    """What is sent for *samples* of a model named Climate that are sent together."""
    async with served(handler=fine) as (server, client):
        async with model(client, count=1000, seconds=1000, concurrency=1, **options) as w:
            for metric, value, dimensions in samples:
                await w.write(metric, value, dimensions=dimensions)
        return [request.json for request in server.requests]


A, B = {"Device": "A"}, {"Device": "B"}


async def test_fields_of_an_item_travel_together_up_to_one_that_comes_again() -> None:
    samples = [("temp", 1.0, A), ("temp", 2.0, B), ("humidity", 3.0, A), ("temp", 4.0, A), ("humidity", 5.0, A)]
    assert await bodies(samples) == [
        {"_type": "Climate", "deviceId": "A", "temp": 1, "humidity": 3},
        {"_type": "Climate", "deviceId": "B", "temp": 2},
        {"_type": "Climate", "deviceId": "A", "temp": 4, "humidity": 5},
    ]


async def test_dimensions_that_are_equal_and_yet_not_the_same_are_of_different_items() -> None:
    assert await bodies([("temp", 1.0, {"room": 1}), ("humidity", 2.0, {"room": True})]) == [
        {"_type": "Climate", "room": 1, "temp": 1},
        {"_type": "Climate", "room": True, "humidity": 2},
    ]


async def test_an_item_is_the_same_whether_its_dimension_or_its_member_is_named() -> None:
    assert await bodies([("temp", 1.0, A), ("humidity", 2.0, {"deviceId": "A"}), ("temp", 3.0, {"deviceId": "A"})]) == [
        {"_type": "Climate", "deviceId": "A", "temp": 1, "humidity": 2},
        {"_type": "Climate", "deviceId": "A", "temp": 3},
    ]


async def test_each_sample_of_a_request_has_its_outcome() -> None:
    told: Told = []
    async with served(reply(400, "no such model"), reply(200, {})) as (_, client):
        w = model(client, count=1000, concurrency=1, on_outcome=told.append)

        async def block() -> None:
            async with w:
                for metric, value in (("a", 1), ("b", 2), ("a", 3)):
                    await w.write(metric, value)

        with pytest.raises(UnwrittenError) as raised:
            await block()
    assert statuses(told) == {"0": "failed", "1": "failed", "2": "ok"}
    assert (w.summary.failed, w.summary.ok, len(w.summary.errors)) == (2, 1, 1)
    assert [outcome.item.value for outcome in raised.value.outcomes] == [1, 2]


async def test_fields_and_members_may_have_other_names_and_all_items_may_have_more_members() -> None:
    assert await bodies(
        [("Temperature", 1.0, {"Device": "A", "Room": "4"})],
        fields={"Temperature": "temp"},
        dimensions={"Device": "id"},
        item={"accountId": "A1", "site": "north"},
    ) == [{"_type": "Climate", "accountId": "A1", "site": "north", "id": "A", "Room": "4", "temp": 1}]


@pytest.mark.parametrize(
    ("options", "path", "query"),
    [
        ({}, "/tok/generic/update", {"exists": ""}),
        ({"exists": True}, "/tok/generic/update", {"exists": "true"}),
        ({"create": True}, "/tok/generic/create", {}),
        ({"create": True, "exists": "any"}, "/tok/generic/create", {"exists": ""}),
    ],
)
async def test_a_write_of_a_model_updates_or_creates(options: dict[str, Any], path: str, query: object) -> None:
    async with served(handler=fine, account_id="A1") as (server, client):
        async with model(client, count=1, **options) as w:
            await w.write("temp", 1)
        (request,) = server.requests
    assert (request.path, request.query) == (path, query)
    assert request.json == {"_type": "Climate", "accountId": "A1", "temp": 1}


async def test_updates_of_an_item_do_not_overtake_each_other_and_those_of_others_do_not_wait() -> None:
    crowd, told = Crowd(), Told()
    async with served(handler=crowd) as (server, client):
        async with model(client, count=1, concurrency=10, on_outcome=told.append) as w:
            await w.write("temp", 0, dimensions=A)
            await w.write("temp", 1, dimensions={"deviceId": "A"})  # is the same item
            await w.write("temp", 2, dimensions=A)
            await w.write("temp", 9, dimensions=B)
            await server.received(2)
            await turns()
            for _ in range(3):
                await until(lambda: crowd.waiting > 0)
                crowd.release(crowd.waiting)
            await until(lambda: crowd.waiting > 0 or len(told) == 4)
            crowd.release(crowd.waiting)
        sent = [request.json["temp"] for request in server.requests]
    assert [value for value in sent if value != 9] == [0, 1, 2]
    assert 9 in sent[:2]
    assert [outcome.item.value for outcome in told if outcome.item.value != 9] == [0, 1, 2]


async def test_updates_of_an_item_keep_their_order_when_one_is_sent_again() -> None:
    busy = reply(503, "busy", headers={"Retry-After": "0"})
    async with served(*[busy] * 9, *[reply(200, {})] * 3) as (server, client):
        async with model(client, count=1, concurrency=10) as w:
            for value in range(3):
                await w.write("temp", value, dimensions=A)
        assert [request.json["temp"] for request in server.requests] == [0] * 10 + [1, 2]


async def test_samples_of_a_series_that_have_a_time_do_not_overtake_each_other() -> None:
    crowd = Crowd()
    begin = datetime(2026, 11, 23, tzinfo=UTC)
    async with served(handler=crowd) as (server, client):
        async with automation(client, concurrency=10) as w:
            for minute, dimensions in enumerate((A, {"deviceId": "A"}, A)):  # the same variables
                await w.write("temp", minute, dimensions=dimensions, timestamp=begin + timedelta(minutes=minute))
            for _ in range(3):
                await until(lambda: crowd.waiting > 0)
                await turns()
                assert crowd.waiting == 1
                crowd.release(1)
        assert [request.json["context"]["value"] for request in server.requests] == [0, 1, 2]


async def test_samples_of_other_series_do_not_wait_for_each_other() -> None:
    crowd = Crowd()
    begin = datetime(2026, 11, 23, tzinfo=UTC)
    async with served(handler=crowd) as (_, client), automation(client, concurrency=10) as w:
        for device in "ABC":
            await w.write("temp", 1, dimensions={"Device": device}, timestamp=begin)
        await w.write("humidity", 1, dimensions=A, timestamp=begin)
        await w.write("humidity", 2)
        await w.write("humidity", 3)
        await until(lambda: crowd.waiting == 6)
        crowd.release(6)


async def test_updates_that_wait_for_another_at_the_end_were_not_sent() -> None:
    crowd, told = Crowd(), Told()
    async with served(handler=crowd) as (_, client):
        w = model(client, count=1, grace=0.02, on_outcome=told.append)

        async def block() -> None:
            async with w:
                for value in range(4):
                    await w.write("temp", value, dimensions=A)
                await until(lambda: crowd.waiting == 1)
                await turns()

        with pytest.raises(UnwrittenError):
            await block()
    assert statuses(told) == {"0": "unknown", "1": "failed", "2": "failed", "3": "failed"}


async def test_new_items_do_not_wait_for_each_other() -> None:
    crowd = Crowd()
    async with (
        served(handler=crowd) as (_, client),
        model(client, create=True, count=1, concurrency=10) as w,
    ):
        for value in range(3):
            await w.write("temp", value)
        await until(lambda: crowd.waiting == 3)
        crowd.release(3)


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (
            {"timestamp": WHEN},
            "timestamp of 'm': the cloud dates what is made of a write of Climate when it comes, got",
        ),
        (
            {"dimensions": {"Device": "x", "deviceId": "y"}},
            "dimensions: .* set a member of Climate that is set already",
        ),
        ({"dimensions": {"site": "x"}}, "dimensions: .* set a member of Climate that is set already"),
        ({"dimensions": {"m": "x"}}, "metric: 'm' is the member 'm' of Climate, which tells the item"),
        ({"metric": "_type"}, "metric: '_type' is the member '_type' of Climate"),
    ],
)
async def test_a_sample_that_an_item_cannot_hold_is_refused(sample: dict[str, Any], text: str) -> None:
    async with served(handler=fine) as (server, client), model(client, item={"site": "north"}) as w:
        with pytest.raises(InvalidArgumentError, match=text):
            await w.write(**{"metric": "m", "value": 1, **sample})
        assert server.requests == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"model": ""}, "generic/update: model: expected a string that is not empty"),
        ({"exists": 3}, "exists: expected True, False or 'any', got 3"),
        ({"create": "yes"}, "create: expected true or false, got 'yes'"),
        ({"fields": {"a": "x", "b": "x"}}, "fields: two of them have the same name"),
        ({"item": [1]}, "item: expected a mapping, got list"),
        ({"name": "AddSample"}, "via model: unknown option 'name'"),
    ],
)
def test_an_argument_of_the_way_over_models_that_does_not_fit_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        model(client_of("https://cloud.example"), **options)


# MQTT ---------------------------------------------------------------------------------------------------------------


async def test_a_link_gets_name_value_and_one_map_of_dimensions() -> None:
    link = Link()
    w, _ = writer(link, buffer={"elapsed": "10s"})
    async with w:
        await w.write("temp", 21.5)
        await w.write("temp", 22, dimensions={"Device": DEVICE})
    assert link.messages == [
        {"metric": "temp", "value": 21.5, "dimensions": [{}], "buffer": {"elapsed": 10}},
        {"metric": "temp", "value": 22, "dimensions": [{"Device": DEVICE}], "buffer": {"elapsed": 10}},
    ]


async def test_what_a_link_has_sent_over_http_is_in_doubt_whatever_the_link_says() -> None:
    class Bridge(Link):
        async def set_metric(self, metric: str, value: float, **rest: Any) -> None:
            try:
                await client.action.invoke("AddSample", context={"value": value})
            except OutcomeUnknownError:
                raise away() from None

    async with served(handler=lambda request: drop()) as (server, client):
        w, told = writer(Bridge())
        with pytest.raises(UnwrittenError):
            await two(w)
        assert len(server.requests) == 2
    assert statuses(told) == {"0": "unknown", "1": "unknown"}


# The embedded cloud -------------------------------------------------------------------------------------------------

CLIMATE: Mapping[str, Mapping[str, Any]] = {
    "pk": {"type": "string", "value": "climate#${accountId}"},
    "sk": {"type": "string", "value": "climate#${deviceId}"},
    "accountId": {"type": "string", "required": True},
    "deviceId": {"type": "string", "required": True},
    "temp": {"type": "number"},
    "humidity": {"type": "number"},
}
RULE = {
    "namespace": "Embedthis/Device",
    "fields": [{"Temperature": "temp"}, "humidity"],
    "dimensions": [{}, {"Device": "deviceId"}],
}


async def total(client: IotoClient, metric: str, dimensions: dict[str, object]) -> tuple[float, float]:
    """Sum and count of a metric."""
    queries = [MetricQuery(metric, dimensions, statistic, accumulate=True) for statistic in ("sum", "count")]
    found = await client.metric.fetch(DEVICE, queries)
    values = [metric.points[0].value for metric in found if metric.points]
    return (float(values[0] or 0), float(values[1] or 0))


async def test_samples_by_an_automation_are_in_the_cloud() -> None:
    async with Emulator() as emulator, IotoClient.from_env(emulator.env) as client:
        emulator.cloud.register_device(DEVICE)
        await client.device.claim(DEVICE)
        async with client.metric.writer(via="automation", name="MetricSample") as w:
            for number in range(1, 101):
                await w.write("temp", number, dimensions={"Device": DEVICE})
        assert await total(client, "temp", {"Device": DEVICE}) == (5050, 100)


async def test_samples_by_a_model_are_in_the_cloud() -> None:
    async with Emulator() as emulator, IotoClient.from_env(emulator.env) as client:
        emulator.cloud.register_device(DEVICE)
        emulator.cloud.models.add_model("Climate", CLIMATE, {"metrics": [RULE]})
        await client.device.claim(DEVICE)
        w = client.metric.writer(via="model", model="Climate", fields={"Temperature": "temp"})
        async with w:
            for number in range(1, 101):
                await w.write("Temperature", number, dimensions={"Device": DEVICE})
                await w.write("humidity", number / 2, dimensions={"Device": DEVICE})
        assert w.summary.ok == 200
        assert [request.path for request in emulator.requests].count("/tok/generic/update") == 100
        assert await total(client, "Temperature", {"Device": DEVICE}) == (5050, 100)
        assert await total(client, "humidity", {}) == (2525, 100)
        item = await client.generic.get("Climate", device_id=DEVICE)
        assert (item["temp"], item["humidity"]) == (100, 50)
