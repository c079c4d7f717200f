"""The delivery of requests by a bulk run: what is sent again, what is in doubt, and what travels together."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ioto_async import (
    BadRequestError,
    CallError,
    ConnectionLostError,
    IotoClient,
    Outcome,
    RateLimitedError,
    RetryPolicy,
    Sample,
    ServiceError,
)
from ioto_async.bulk import Bulk
from ioto_async.metrics import outage as waits
from ioto_async.metrics.delivery import Delivery, JointDelivery
from ioto_async.metrics.link import LinkSink
from ioto_async.metrics.model import ModelSink
from ioto_async.metrics.outage import Outage
from ioto_async.metrics.sample import Checker
from tests.bulk.calls import Crowd, outcomes, states, turns, until
from tests.rawserver import GUARD, Request, Step, drop, reply, served

from .links import Link, away, in_doubt


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing between two tries."""
    monkeypatch.setattr(waits, "_WAITS", RetryPolicy(attempts=10**9, elapsed=math.inf, base=0))


def refused() -> CallError:
    return BadRequestError("no such metric", operation="metric/set", status=400)


def lost() -> CallError:
    return ConnectionLostError("the connection broke", operation="metric/set", outcome_unknown=True)


def busy() -> CallError:
    return ServiceError("busy", operation="metric/set", status=503)


def later() -> CallError:
    return RateLimitedError("later", operation="metric/set", status=429, retry_after=500)


def sample(value: float, metric: str = "m", **dimensions: str) -> Sample:
    return Checker().sample(metric, value, dimensions, None, f"{value}")


class Repeating(LinkSink):
    """Sends again what may be in the cloud."""

    repeats = True


def run(link: Link, count: int, *, sink: type[LinkSink] = LinkSink, **options: Any) -> tuple[Bulk[Any, None], Outage]:
    """A bulk run that delivers samples of values 0, 1, 2, … over *link*."""
    outage = Outage()
    delivery = Delivery(sink(link=link), outage)
    bulk: Bulk[Sample, None] = Bulk(
        lambda item: delivery.send((item,)),
        [sample(number) for number in range(count)],
        **{"concurrency": 8, "key": lambda item: item.key, "through_client": True, **options},
    )
    return bulk, outage


def found(told: list[Outcome[Any, Any]]) -> dict[str, str]:
    return {outcome.key: outcome.status for outcome in told}


async def test_a_request_that_was_not_taken_is_sent_until_it_is_and_each_try_counts() -> None:
    link = Link()
    link.errors = [away(), RateLimitedError("too many", operation="metric/set", status=429), away()]
    bulk, outage = run(link, 2, concurrency=1)
    told = await outcomes(bulk)
    assert [(outcome.status, outcome.attempts) for outcome in told] == [("ok", 4), ("ok", 1)]
    assert link.sent == [0, 0, 0, 0, 1]
    assert outage.cause is None


async def test_while_the_service_is_away_one_request_tries_and_the_others_wait() -> None:
    link = Link(holds=True)
    bulk, outage = run(link, 8)
    done = asyncio.ensure_future(outcomes(bulk))
    await link.has(8)
    for _, future in link._held:
        future.set_exception(away())
    await link.has(1)
    await turns()
    assert (len(link.sent), str(outage.cause)) == (8 + 1, str(away()))
    link.acknowledge(1)
    await link.has(7)
    link.acknowledge()
    assert set(found(await done).values()) == {"ok"}


async def test_what_an_error_says_of_the_samples_is_their_outcome() -> None:
    cases: list[tuple[type[LinkSink], list[Exception], str, int]] = [
        (LinkSink, [refused()], "failed", 1),
        (LinkSink, [away(), refused()], "failed", 2),
        (LinkSink, [in_doubt()], "unknown", 1),
        (LinkSink, [lost()], "unknown", 1),
        (LinkSink, [KeyError("a bug")], "unknown", 1),
        (Repeating, [lost()], "ok", 2),
        (Repeating, [lost(), away(), lost()], "ok", 4),
        (Repeating, [lost(), busy()], "ok", 3),  # the second attempt has done nothing
        (Repeating, [lost(), refused()], "unknown", 2),
        (Repeating, [lost(), away(), refused()], "unknown", 3),
        (Repeating, [lost(), KeyError("a bug")], "unknown", 2),
    ]
    wrong = {}
    for sink, errors, status, tries in cases:
        link = Link()
        link.errors = [*errors]
        bulk, _ = run(link, 1, sink=sink)
        (outcome,) = await outcomes(bulk)
        if (outcome.status, outcome.attempts) != (status, tries):
            wrong[f"{sink.__name__} {errors}"] = (outcome.status, outcome.attempts)
    assert wrong == {}


async def test_a_service_is_reached_when_it_has_taken_a_request_or_refused_one_for_good() -> None:
    cases: list[tuple[list[Exception], bool]] = [
        ([], True),
        ([refused()], True),
        ([away(), refused()], True),
        ([in_doubt()], False),
        ([KeyError("a bug")], False),
    ]
    reached = []
    for errors, _ in cases:
        link = Link()
        link.errors = [*errors]
        bulk, outage = run(link, 1)
        await outcomes(bulk)
        reached.append(outage.was_reached)
    assert reached == [was_reached for _, was_reached in cases]


async def test_at_the_end_of_a_run_what_waits_was_not_sent_and_what_is_on_its_way_is_in_doubt(tmp_path: Path) -> None:
    link = Link(holds=True)
    bulk, outage = run(link, 3, journal=tmp_path / "journal")
    done = asyncio.ensure_future(outcomes(bulk))
    await link.has(3)
    link._held[0][1].set_exception(later())
    await link.has(2)
    bulk.stop(grace=0)
    assert found(await done) == {"1": "unknown", "2": "unknown"}
    assert states(tmp_path / "journal") == {"0": "undone", "1": "unknown", "2": "unknown"}
    outage.close()


async def test_what_waits_at_the_end_of_a_run_after_an_attempt_in_doubt_is_in_doubt(tmp_path: Path) -> None:
    link = Link()
    link.errors = [lost(), later()]
    bulk, outage = run(link, 1, sink=Repeating, journal=tmp_path / "journal")
    done = asyncio.ensure_future(outcomes(bulk))
    await until(lambda: isinstance(outage.cause, RateLimitedError))
    bulk.stop()
    assert found(await done) == {"0": "unknown"}
    assert states(tmp_path / "journal") == {"0": "unknown"}
    outage.close()


async def test_what_comes_to_its_end_in_a_run_that_was_stopped_is_not_sent_again(tmp_path: Path) -> None:
    link = Link(holds=True)
    bulk, outage = run(link, 2, journal=tmp_path / "journal")
    done = asyncio.ensure_future(outcomes(bulk))
    await link.has(2)
    bulk.stop()
    link._held[0][1].set_exception(away())
    link._held[1][1].set_result(None)
    assert found(await done) == {"1": "ok"}
    assert states(tmp_path / "journal") == {"0": "undone", "1": "ok"}
    assert link.sent == [0, 1]
    outage.close()


# Samples that travel together ---------------------------------------------------------------------------------------


def joint(client: IotoClient, samples: list[Sample], *, create: bool = False, **options: Any) -> Bulk[Sample, None]:
    """A bulk run that delivers *samples* as fields of items of a model."""
    sink = ModelSink(client._transport, None, model="Climate", create=create)
    delivery = JointDelivery(sink, Delivery(sink, Outage()))
    return client.bulk(
        delivery.send,
        samples,
        **{
            "concurrency": 20,
            "key": lambda item: item.key,
            "through_client": True,
            "sequence_key": delivery.sequence_key,
            **options,
        },
    )


def fields(values: range, **dimensions: str) -> list[Sample]:
    return [sample(value, f"field{value}", **dimensions) for value in values]


def fine(request: Request) -> Step:
    return reply(200, {})


async def test_fields_of_an_item_that_come_at_the_same_time_travel_in_one_request() -> None:
    mixed = [one for pair in zip(fields(range(8), id="A"), fields(range(8, 16), id="B"), strict=True) for one in pair]
    async with served(handler=fine) as (server, client):
        told = await outcomes(joint(client, mixed))
        bodies = [request.json for request in server.requests]
    assert sorted(bodies, key=lambda body: body["id"]) == [
        {"_type": "Climate", "id": "A", **{f"field{value}": value for value in range(8)}},
        {"_type": "Climate", "id": "B", **{f"field{value}": value for value in range(8, 16)}},
    ]
    assert found(told) == {f"{value}": "ok" for value in range(16)}


@pytest.mark.parametrize("create", [False, True])
async def test_a_field_that_comes_again_begins_the_next_request(*, create: bool) -> None:
    samples = [sample(value, f"field{value % 3}") for value in range(9)]
    async with served(handler=fine) as (server, client):
        await outcomes(joint(client, samples, create=create))
        bodies = sorted((request.json for request in server.requests), key=lambda body: int(body["field0"]))
    assert bodies == [
        {"_type": "Climate", "field0": 0, "field1": 1, "field2": 2},
        {"_type": "Climate", "field0": 3, "field1": 4, "field2": 5},
        {"_type": "Climate", "field0": 6, "field1": 7, "field2": 8},
    ]


async def test_samples_share_the_fate_of_their_request() -> None:
    cases = [(reply(200, {}), "ok"), (reply(400, "no such model"), "failed"), (drop(), "unknown")]
    fates = []
    for step, _ in cases:
        async with served(step) as (server, client):
            told = await outcomes(joint(client, fields(range(3))))
            assert len(server.requests) == 1
        fates.append({outcome.status for outcome in told})
        assert len(told) == 3
    assert fates == [{status} for _, status in cases]


async def test_samples_that_fail_together_have_errors_of_their_own() -> None:
    """Whoever adds a note to one must not find it on the others."""
    async with served(reply(400, "no such model")) as (_, client):
        told = await outcomes(joint(client, fields(range(3))))
    errors = [outcome.error for outcome in told]
    assert len(set(map(id, errors))) == 3
    assert {str(error) for error in errors} == {str(errors[0])}


@asynccontextmanager
async def on_its_way(journal: Path) -> AsyncIterator[tuple[Bulk[Sample, None], Crowd]]:
    """A run whose three samples are on their way in one request; its journal has their outcomes afterwards."""
    crowd = Crowd()
    async with served(handler=crowd) as (_, client), asyncio.timeout(GUARD):
        bulk = joint(client, fields(range(3)), journal=journal)
        done = asyncio.ensure_future(outcomes(bulk))
        await until(lambda: crowd.waiting == 1)
        yield bulk, crowd
        await done


async def test_samples_that_are_on_their_way_come_to_their_end_when_a_run_is_stopped(tmp_path: Path) -> None:
    async with on_its_way(tmp_path / "journal") as (bulk, crowd):
        bulk.stop()
        await turns()
        crowd.release(1)
    assert states(tmp_path / "journal") == {"0": "ok", "1": "ok", "2": "ok"}


async def test_samples_of_a_request_that_is_cut_off_are_all_in_doubt(tmp_path: Path) -> None:
    async with on_its_way(tmp_path / "journal") as (bulk, _):
        bulk.stop(grace=0)
    assert states(tmp_path / "journal") == {"0": "unknown", "1": "unknown", "2": "unknown"}


async def test_samples_of_a_request_that_waits_when_a_run_is_stopped_were_not_sent(tmp_path: Path) -> None:
    async with served(reply(429, "later", headers={"Retry-After": "500"})) as (server, client):
        bulk = joint(client, fields(range(3)), journal=tmp_path / "journal")
        done = asyncio.ensure_future(outcomes(bulk))
        await server.received(1)
        bulk.stop()
        assert await done == []
    assert states(tmp_path / "journal") == {"0": "undone", "1": "undone", "2": "undone"}
