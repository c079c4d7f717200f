"""What type checkers make of the public surface: checked by mypy and pyright, never run."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_type

import aiohttp

from ioto_async import (
    JSON,
    OMIT,
    AccessToken,
    Account,
    BuilderClient,
    Bulk,
    BulkOptions,
    Cassette,
    Certificates,
    ClientOptions,
    CognitoLogin,
    Device,
    DeviceLink,
    FetchedUpdate,
    IotoClient,
    Item,
    Limits,
    Metric,
    MetricKey,
    MetricQuery,
    Metrics,
    Omit,
    Outcome,
    Page,
    RawResponse,
    RetryPolicy,
    Sample,
    StoreItem,
    Summary,
    Transfer,
    User,
    Writer,
    with_raw_response,
)
from ioto_async import NoSuchThing as NoSuchThing  # type: ignore[attr-defined]
from ioto_async.controllers.paging import Paged
from ioto_async.testing import aioresponses, canned_pages, mock_client


async def cassettes() -> None:
    """Record, play, and look at what is left."""
    cassette = Cassette(Path("trip.cassette"), "none", order="strict", ignore=["timestamp"])
    async with IotoClient(cassette=cassette) as client:
        assert_type(client, IotoClient)
    assert_type(cassette.unplayed, list[str])
    IotoClient(cassette="trip.cassette")
    BuilderClient(cassette=Path("trip.cassette"))
    Cassette("trip.cassette", "record")  # type: ignore[arg-type]


async def clients(session: aiohttp.ClientSession) -> None:
    """Make clients, and clones of them."""
    client = IotoClient(
        "https://cloud.example",
        token="token",
        account_id="account",
        timeout=10.0,
        retry=RetryPolicy(attempts=2),
        limits=Limits(rate=100.0),
        session=session,
    )
    async with client as entered:
        assert_type(entered, IotoClient)
    assert_type(client.with_options(timeout=None, retries=0), IotoClient)
    assert_type(client.builder, BuilderClient)
    assert_type(await client.aclose(), None)
    assert_type(IotoClient.from_env({"IOTO_API": "https://cloud.example"}), IotoClient)
    login = CognitoLogin("https://cognito.example", "id", "user", "password")
    assert_type(await login(), AccessToken)


async def mocks() -> None:
    """Use a mock where a client is wanted."""
    client = mock_client()
    client.device.find.return_value = canned_pages([Device(id="D1")])
    assert_type(canned_pages([Device(id="D1")], Page(items=[Device(id="D2")])), Paged[Device])
    await calls(client)
    client.device.claim.assert_awaited_once()
    with aioresponses() as replies:
        replies.post("https://cloud.example/tok/device/get", payload={"id": "D1"})


async def calls(client: IotoClient) -> None:
    """Call methods of controllers."""
    assert_type(await client.device.claim("D1", timeout=5, retries=1, headers={"X-Trace": "7"}), Device)
    assert_type(await client.device.get("D1"), Device)
    assert_type(await client.account.get(), Account)
    assert_type(await client.store.get("D1", "key"), StoreItem)
    assert_type(await client.provision.get_certs("D1"), Certificates)
    assert_type(await client.generic.get("Model", {"id": "1"}), Item)
    assert_type(await client.call("device/get", {"id": "D1"}), JSON)


async def changes(client: IotoClient, first: str | Omit | None, is_known: bool) -> None:
    """Set members, clear them, and leave them out."""
    assert_type(await client.user.update("U", first=first, last=None, preferences={"theme": "dark"}), User)
    await client.user.update("U", last="L" if is_known else OMIT)
    await client.dashboard.update("D", name=OMIT, css=None, live=OMIT)
    await client.store.set("D1", "key", 1, expires=None)
    if first is not OMIT:
        assert_type(first, str | None)


def leaves(device: Device) -> None:
    """Have a record leave the process."""
    assert_type(device.to_dict(), dict[str, Any])
    assert_type(device.to_json(wire=True), str)


async def finds(client: IotoClient) -> None:
    """Await one page, or go through all."""
    found = client.device.find(limit=10)
    assert_type(found, Paged[Device])
    assert_type(await asyncio.create_task(found), Page[Device])
    assert_type(await asyncio.wait_for(found, 1), Page[Device])
    page = await found
    assert_type(page, Page[Device])
    assert_type(page.items, list[Device])
    async for device in client.device.find():
        assert_type(device, Device)
    async for pages in client.user.find().pages():
        assert_type(pages, Page[User])


async def metrics(client: IotoClient) -> None:
    """Read metrics."""
    assert_type(await client.metric.series("D1", "cpu", period=3600), Metric)
    assert_type(await client.metric.value("D1", "cpu", period=3600), float | None)
    assert_type(await client.metric.fetch("D1", [MetricQuery("cpu", {"Device": "D1"}, "avg")]), Metrics)
    async for key in client.metric.walk("cloud"):
        assert_type(key, MetricKey)


async def writes(client: IotoClient, link: DeviceLink) -> None:
    """Write samples."""
    writer = client.metric.writer(via="automation", name="AddSample", count=100)
    assert_type(writer, Writer)
    async with writer as entered:
        assert_type(entered, Writer)
        assert_type(await writer.write("cpu", 1.5, timestamp=datetime.now(UTC)), None)
    assert_type(client.metric.writer(via="mqtt", link=link), Writer)
    assert_type(await link.get_metric("cpu"), float | None)


async def bulk_runs(client: IotoClient) -> None:
    """Make many calls at once."""
    run = client.bulk(client.device.claim, ["D1", "D2"], journal=Path("journal"), concurrency=8)
    assert_type(run, Bulk[str, Device])
    async for outcome in run:
        assert_type(outcome, Outcome[str, Device])
        assert_type(outcome.item, str)
        assert_type(outcome.value, Device | None)
    assert_type(run.summary, Summary)


async def numbers() -> AsyncIterator[int]:
    """Items that come later."""
    yield 1


async def own_callables(client: IotoClient) -> None:
    """Pass callables of one's own, with items that come later."""

    async def call(number: int) -> str:
        return str(number)

    assert_type(client.bulk(call, numbers(), concurrency=1, through_client=True), Bulk[int, str])


async def transfers(client: IotoClient) -> None:
    """Send and fetch files."""
    assert_type(await client.file.upload("a.txt", b"data"), Transfer)
    assert_type(await client.file.download("a.txt", "a.txt", checksum=None), Transfer)
    assert_type(await client.provision.fetch_update("D1", "P1", "1.0.0", "image"), FetchedUpdate | None)


def outcomes_of_samples(outcome: Outcome[Sample, None]) -> None:
    """Be told what became of a sample."""
    assert_type(outcome.item.value, float)
    assert_type(outcome.error, Exception | None)
    assert_type(outcome.ok, bool)


def options(given: ClientOptions, of_run: BulkOptions[str]) -> None:
    """Name options in one's own code."""
    assert_type(IotoClient("https://cloud.example", token="token", **given), IotoClient)
    assert_type(of_run.get("ordered"), bool | None)


async def raw_responses(client: IotoClient) -> None:
    """Look at what came with a record."""
    response = await with_raw_response(client.device.get)("D1", account_id="A", timeout=5, retries=0)
    assert_type(response, RawResponse[Device])
    assert_type(response.record, Device)
    assert_type(response.status, int)
    assert_type(response.headers.get("Content-Type"), str | None)
    assert_type(response.headers.getall("Set-Cookie"), list[str])
    assert_type(response.request_id, str | None)
    assert_type((await with_raw_response(client.device.find)(limit=10)).record, Page[Device])
    assert_type((await with_raw_response(client.user.remove)("U")).record, None)
    assert_type((await with_raw_response(client.call)("device/get", {"id": "D1"})).record, JSON)
    assert_type(
        client.bulk(with_raw_response(client.device.claim), ["D1"], concurrency=8), Bulk[str, RawResponse[Device]]
    )
    await with_raw_response(client.device.get)()  # type: ignore[call-arg]
    await with_raw_response(client.device.get)("D1", timeout="5")  # type: ignore[arg-type]
    with_raw_response(client.metric.writer)  # type: ignore[arg-type]
