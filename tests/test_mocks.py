"""Mocks of a client, made by `unittest.mock` and by `ioto_async.testing`, in tests of code that uses one."""

import asyncio
import inspect
import json
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock, call, create_autospec, patch

import aiohttp
import pytest
from aioresponses import aioresponses as plain
from aioresponses.core import CallbackResult
from yarl import URL

import ioto_async
from ioto_async import (
    BadRequestError,
    BuilderClient,
    ConnectionFailedError,
    DeviceLink,
    InvalidArgumentError,
    IotoClient,
    NotFoundError,
)
from ioto_async.controllers.base import Controller
from ioto_async.controllers.paging import Paged
from ioto_async.metrics.writer import Writer
from ioto_async.models import Device, Page
from ioto_async.testing import aioresponses, canned_pages, mock_client
from tests.documented import ROWS
from tests.methods import METHODS, make_client, method_of
from tests.mocked import API
from tests.rows import each_row

DEVICE = Device(id="D")


# What is asynchronous ---------------------------------------------------------------------------------------------


def is_find(method: Any) -> bool:
    return str(inspect.signature(method).return_annotation).startswith(f"{Paged.__module__}.Paged")


@each_row("key", sorted(ROWS))
def test_every_method_is_seen_as_a_coroutine_function_or_is_a_find(key: str) -> None:
    method = method_of(key)
    assert inspect.iscoroutinefunction(method) is not is_find(method)
    assert asyncio.iscoroutinefunction(method) is not is_find(method)


@each_row(
    "method",
    [
        IotoClient.call,
        IotoClient.aclose,
        BuilderClient.call,
        make_client().call,
        DeviceLink.set_metric,
        DeviceLink.aclose,
        Writer.write,
        Writer.aclose,
    ],
)
def test_what_is_awaited_is_a_coroutine_function(method: Callable[..., Any]) -> None:
    assert inspect.iscoroutinefunction(method)


# Specs ------------------------------------------------------------------------------------------------------------


async def use(client: Any) -> None:
    """Use *client* as code does that is to be tested."""
    client.device.claim.return_value = DEVICE
    client.builder.device.get.return_value = DEVICE
    client.call.return_value = {"id": "D"}
    assert await client.device.claim("D") is DEVICE
    assert await client.builder.device.get("D") is DEVICE
    assert await client.call("device/get", {"id": "D"}) == {"id": "D"}
    await client.device.remove("D")
    await client.aclose()
    client.device.claim.assert_awaited_once_with("D")
    client.device.claim.side_effect = NotFoundError("no such device", operation="device/claim")
    with pytest.raises(NotFoundError):
        await client.device.claim("D")
    with pytest.raises(AttributeError):
        client.devices  # noqa: B018
    assert client.account_id != "unset"


MADE: dict[str, Callable[[], Any]] = {
    "AsyncMock": lambda: AsyncMock(spec=IotoClient),
    "AsyncMock, set": lambda: AsyncMock(spec_set=IotoClient),
    "MagicMock": lambda: MagicMock(spec=IotoClient),
    "Mock": lambda: Mock(spec=IotoClient),
    "class": lambda: create_autospec(IotoClient),
    "class, called": lambda: create_autospec(IotoClient)(API, token="token"),
    "instance": lambda: create_autospec(IotoClient, instance=True),
    "class, set": lambda: create_autospec(IotoClient, spec_set=True),
    "instance, set": lambda: create_autospec(IotoClient, instance=True, spec_set=True),
    "of a client": lambda: create_autospec(make_client()),
    "of a client, set": lambda: create_autospec(make_client(), spec_set=True),
    "ours": mock_client,
}


@each_row("make", MADE)
async def test_a_mock_of_a_client_has_its_namespaces_and_their_methods(make: Callable[[], Any]) -> None:
    await use(make())


@each_row("make", {name: make for name, make in MADE.items() if "Mock" not in name})
async def test_an_autospec_knows_methods_and_arguments(make: Callable[[], Any]) -> None:
    client = make()
    with pytest.raises(AttributeError, match="claims"):
        client.device.claims  # noqa: B018
    with pytest.raises(AttributeError, match="claims"):
        client.builder.device.claims  # noqa: B018
    with pytest.raises(TypeError, match="id"):
        client.device.claim()
    with pytest.raises(TypeError):
        client.device.claim("D", "E")


def test_a_namespace_of_the_class_is_its_class() -> None:
    assert issubclass(IotoClient.device, Controller)
    assert issubclass(IotoClient.builder, BuilderClient)
    assert type(make_client().builder) is BuilderClient


async def test_the_class_can_be_patched_where_it_is_used() -> None:
    with patch("ioto_async.IotoClient", autospec=True) as made:
        client = made.return_value
        client.__aenter__.return_value = client
        client.device.claim.return_value = DEVICE
        async with ioto_async.IotoClient(API, token="token") as entered:
            assert await entered.device.claim("D") is DEVICE
        made.assert_called_once_with(API, token="token")
    assert ioto_async.IotoClient is IotoClient


# Patches ----------------------------------------------------------------------------------------------------------


@each_row(
    "options",
    [
        {"return_value": DEVICE},
        {"autospec": True, "return_value": DEVICE},
        {"new_callable": AsyncMock, "return_value": DEVICE},
        {"spec": True, "return_value": DEVICE},
    ],
)
async def test_a_method_of_a_namespace_can_be_patched(options: dict[str, Any]) -> None:
    client = make_client()
    with patch.object(client.device, "claim", **options) as claim:
        assert await client.device.claim("D") is DEVICE
        claim.assert_awaited_once_with("D")
        run = client.bulk(client.device.claim, ["A", "B"])
        assert [(outcome.key, outcome.value) async for outcome in run] == [("A", DEVICE), ("B", DEVICE)]
    assert client.device.claim.__func__ is type(client.device).claim  # type: ignore[attr-defined]


async def test_a_find_can_be_patched() -> None:
    client = make_client()
    with patch.object(client.device, "find", return_value=canned_pages([DEVICE])):
        assert [device async for device in client.device.find()] == [DEVICE]
    with patch.object(client.device, "find", autospec=True) as find:
        find.return_value = canned_pages([DEVICE])
        assert (await client.device.find(limit=1)).items == [DEVICE]
        find.assert_called_once_with(limit=1)


@each_row("options", [{}, {"autospec": True}])
async def test_a_namespace_can_be_patched(options: dict[str, Any]) -> None:
    client = make_client()
    with patch.object(client, "device", **options) as device:
        device.claim.return_value = DEVICE
        assert await client.device.claim("D") is DEVICE


async def test_a_namespace_can_be_replaced() -> None:
    client = make_client()
    client.__dict__["device"] = mock_client().device
    assert await client.device.find() == Page(items=[])


# Canned pages -----------------------------------------------------------------------------------------------------

A, B, C = (Device(id=id) for id in "ABC")


async def test_canned_pages_are_walked_through_as_those_of_a_cloud() -> None:
    found = canned_pages([A, B], [C])
    assert [device async for device in found] == [A, B, C]
    assert [page.items async for page in found.pages()] == [[A, B], [C]]
    first = await found
    assert (first.items, first.next is None) == ([A, B], False)
    assert await asyncio.create_task(found) == await asyncio.wait_for(found, None) == first
    assert [*await asyncio.gather(found, canned_pages([A, B], [C]))] == [first, first]


async def test_a_page_may_be_given_as_one() -> None:
    found = canned_pages(Page(items=[A], extra={"total": 2}), Page(items=[B]))
    assert [(page.items, page.extra) async for page in found.pages()] == [([A], {"total": 2}), ([B], {})]


async def test_a_page_that_is_an_exception_is_raised_when_it_is_asked_for() -> None:
    found = canned_pages([A], NotFoundError("gone", operation="device/find"))
    assert (await found).items == [A]
    devices = aiter(found)
    assert await anext(devices) is A
    with pytest.raises(NotFoundError):
        await anext(devices)


async def test_what_is_changed_in_a_page_is_not_in_the_next() -> None:
    found = canned_pages([A])
    (await found).items.clear()
    assert (await found).items == [A]


async def test_no_page_is_an_empty_one() -> None:
    assert await canned_pages() == Page(items=[])


@each_row("page", [A, "AB", None, 1])
def test_what_is_no_page_is_refused(page: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="pages: expected a Page, records or an exception, got"):
        canned_pages([A], page)


# Our mock ---------------------------------------------------------------------------------------------------------


def test_the_mock_is_an_instance_of_what_it_stands_for() -> None:
    client = mock_client("A1")
    assert isinstance(client, IotoClient)
    assert isinstance(client.builder, BuilderClient)
    assert isinstance(client.device, IotoClient.device)
    assert client.account_id == "A1"
    assert mock_client().account_id is None


async def test_the_mock_is_entered_and_cloned_as_itself() -> None:
    client = mock_client()
    async with client as entered:
        assert entered is client
    assert client.with_options(timeout=5) is client
    with pytest.raises(RuntimeError, match="of the block"):
        async with client.builder:
            raise RuntimeError("of the block")


@each_row("key", [key for key in sorted(ROWS) if is_find(method_of(key))])
async def test_every_find_of_the_mock_returns_an_empty_page(key: str) -> None:
    assert await METHODS[key].call(mock_client()) == Page(items=[])


async def test_the_mock_makes_real_bulk_runs() -> None:
    client = mock_client()
    client.device.claim.side_effect = [A, NotFoundError("gone", operation="device/claim")]
    run = client.bulk(client.device.claim, ["A", "B"], concurrency=1)
    assert [(outcome.key, outcome.status) async for outcome in run] == [("A", "ok"), ("B", "failed")]
    assert client.mock_calls[-2:] == [call.device.claim("A"), call.device.claim("B")]
    with pytest.raises(InvalidArgumentError):
        client.builder.bulk(client.builder.device.release, ["A"], concurrency=0)


async def test_the_mock_has_a_writer() -> None:
    client = mock_client()
    async with client.metric.writer(via="automation", name="AddSample") as writer:
        await writer.write("temp", 21.5)
    writer.write.assert_awaited_once_with("temp", 21.5)
    client.metric.writer.assert_called_once_with(via="automation", name="AddSample")


def test_what_is_not_there_can_be_neither_used_nor_set() -> None:
    client = mock_client()
    with pytest.raises(AttributeError):
        client.devices = 1
    with pytest.raises(AttributeError):
        client.device.claims = 1


# aioresponses -----------------------------------------------------------------------------------------------------


async def test_a_canned_reply_is_that_of_a_call() -> None:
    with aioresponses() as replies:
        replies.post(f"{API}/tok/device/get", payload={"id": "D"})
        replies.post(f"{API}/tok/device/get", status=400, body="Bad id")
        async with make_client() as client:
            assert (await client.device.get("D")).id == "D"
            with pytest.raises(BadRequestError, match="Bad id"):
                await client.device.get("D", retries=0)
            with pytest.raises(ConnectionFailedError, match="Connection refused"):
                await client.device.get("D", retries=0)
        sent = replies.requests["POST", URL(f"{API}/tok/device/get")]
    assert [json.loads(request.kwargs["data"].decode())["id"] for request in sent] == ["D"] * 3


async def test_a_reply_may_come_from_a_callback() -> None:
    with aioresponses() as replies:
        replies.post(f"{API}/tok/device/get", callback=lambda url, **rest: CallbackResult(payload={"id": url.host}))
        async with make_client() as client:
            assert (await client.device.get("D")).id == "cloud.example"


async def test_it_decorates_and_lets_other_requests_pass() -> None:
    @aioresponses(passthrough=["http://127.0.0.1"], param="replies")
    async def fetch(replies: Any = None) -> None:
        replies.get("https://other.example", status=204)
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("http://127.0.0.1:1")
            async with session.get("https://other.example") as response:
                assert response.status == 204

    await fetch()


def test_nothing_is_left_patched() -> None:
    before = aiohttp.ClientSession._request, plain.__init__.__globals__["ClientResponse"]
    with aioresponses():
        assert aiohttp.ClientSession._request is not before[0]
    assert (aiohttp.ClientSession._request, plain.__init__.__globals__["ClientResponse"]) == before
