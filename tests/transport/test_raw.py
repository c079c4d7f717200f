"""What the service sends beside the record: `with_raw_response` of every method, and whose reply it is."""

import asyncio
import copy
import functools
import gzip
import inspect
import pickle
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import pytest

from ioto_async import (
    Attempt,
    BadRequestError,
    DecodeError,
    Device,
    InvalidArgumentError,
    IotoClient,
    NotFoundError,
    RawResponse,
    RetryPolicy,
    ServiceError,
    with_raw_response,
)
from ioto_async.bulk import Bulk
from ioto_async.controllers import DeviceController, base
from ioto_async.operations import IOTO, operation_of
from ioto_async.testing import mock_client
from ioto_async.transport.capture import CAPTURE
from ioto_async.transport.effects import reports_effects
from tests.methods import CALLS, COMPOSED, METHODS, MethodCall, RawClient, make_client, method_of
from tests.mocked import Cloud
from tests.rawserver import Request, Step, client_of, leftover_tasks, reply, served
from tests.rows import each_row

JOINED = {"metric.series", "metric.value"}
"""Methods that share a request with others."""
HEAD = (
    b"HTTP/1.1 200 Scripted\r\nContent-Type: application/json\r\nSet-Cookie: a=SECRET-1\r\nset-cookie: b=SECRET-2\r\n"
)


@pytest.fixture(autouse=True)
def _takes_all() -> Any:
    """Each test ends with nothing left to be kept."""
    yield
    assert CAPTURE.get() is None


# Every method -----------------------------------------------------------------------------------------------------


@each_row("made", [made for made in CALLS if made.key not in JOINED])
@pytest.mark.filterwarnings("ignore:.* is a legacy operation:DeprecationWarning")
async def test_a_method_gives_the_same_record_beside_its_response(
    cloud: Cloud, client: IotoClient, made: MethodCall
) -> None:
    cloud.begin(made.reply)
    record = await made.call(client.with_options())
    plain = cloud.only.body
    cloud.begin(made.reply)
    raw: Any = RawClient(client.with_options())
    response = await made.call(raw)
    assert cloud.only.body == plain
    assert isinstance(response, RawResponse)
    assert repr(response.record) == repr(record)
    assert (response.status, response.attempts, response.body) == (200, 1, made.reply)


async def test_any_operation_by_its_path_has_one() -> None:
    async with served(reply(200, {"id": "D1"}), reply(200, {"id": "D1"})) as (_, client):
        response = await with_raw_response(client.call)("device/get", {"id": "D1"})
        assert response.record == {"id": "D1"}
        assert (await with_raw_response(client.call)("other/call")).record == {"id": "D1"}


class Own(DeviceController):
    """What a method does that somebody else has written, only they know."""

    async def get(self, id: str, **options: Any) -> Device:
        return await super().get(await self.get_signed_url(), **options)


def _refused() -> list[tuple[Callable[..., Any], str]]:
    client = make_client()
    composed = [*JOINED, *(name for name in COMPOSED if name not in METHODS), "metric.get", "metric.set"]
    named = [(method_of(name, client), f"Controller.{name.partition('.')[2]}") for name in composed]
    return [
        *named,
        (client.bulk, "_Client.bulk"),
        (client.aclose, "_Client.aclose"),
        (Own(client._transport, None).get, "Own.get"),
        (DeviceController.get, "function"),
        (functools.partial(client.device.get, "D1"), "partial"),
        (AsyncMock(), "AsyncMock"),
        (mock_client().device.get, "AsyncMock"),
    ]


@each_row("method, name", _refused())
def test_what_does_not_make_one_request_is_refused_by_its_name(method: Callable[..., Any], name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"with_raw_response: expected a method .* got .*{name}$"):
        with_raw_response(method)


async def test_a_call_that_had_nothing_to_send_is_an_error(cloud: Cloud, client: IotoClient) -> None:
    with pytest.raises(InvalidArgumentError, match=r"with_raw_response: MetricController\.fetch had nothing to send"):
        await with_raw_response(client.metric.fetch)("D1", [])
    assert cloud.sent == []


async def test_it_looks_like_the_method() -> None:
    client = make_client()
    for method in (client.device.get, client.device.find, client.device.remove, client.call):
        raw = with_raw_response(method)
        assert (raw.__name__, raw.__doc__) == (method.__name__, method.__doc__)
        assert inspect.signature(raw) == inspect.signature(method)
        assert inspect.iscoroutinefunction(raw)


# What it has ------------------------------------------------------------------------------------------------------


async def test_headers_are_found_whatever_their_case_and_secrets_are_masked_in_the_repr() -> None:
    step = Step(HEAD + b"X-Amzn-RequestId: R1\r\nX-Echo: cloud-token-1\r\nContent-Length: 11\r\n\r\n" + b'{"id":"D1"}')
    async with served(step, token="cloud-token-1") as (_, client):
        response = await with_raw_response(client.device.get)("D1")
    assert response.headers["content-type"] == response.headers["CONTENT-TYPE"] == "application/json"
    assert response.headers.getall("Set-Cookie") == ["a=SECRET-1", "b=SECRET-2"]
    assert response.headers["X-Echo"] == "cloud-token-1"
    assert response.request_id == "R1"
    assert response.body == b'{"id":"D1"}'
    assert response.elapsed > 0
    assert not hasattr(response.headers, "add")
    for shown in (repr(response), repr(response.headers), f"{response}"):
        assert "SECRET" not in shown
        assert "cloud-token" not in shown
    assert "status=200" in repr(response)
    assert "body=<11 bytes>" in repr(response)


@each_row(
    "headers, id",
    [
        ({"x-amzn-RequestId": "R"}, "R"),
        ({"Apigw-Requestid": "A="}, "A="),
        ({"Apigw-Requestid": "A=", "X-AMZN-REQUESTID": "R"}, "R"),
        ({"Date": "today"}, None),
    ],
)
def test_the_id_of_the_request_is_found(headers: dict[str, str], id: str | None) -> None:
    assert _made(headers).request_id == id


def _made(headers: dict[str, str]) -> RawResponse[Device]:
    return RawResponse(status=200, headers=headers, elapsed=0.5, attempts=1, body=b"{}", record=Device(id="D1"))


def test_it_can_be_made_copied_and_pickled_and_not_changed() -> None:
    made = _made({"Set-Cookie": "SECRET"})
    for other in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert other == made
        assert "SECRET" not in repr(other)
    with pytest.raises(AttributeError):
        made.status = 404  # type: ignore[misc]


async def test_the_last_attempt_is_the_one_it_has(waits: list[float]) -> None:
    steps = reply(500, "no", headers={"X-Number": "1"}), reply(200, {"id": "D1"}, headers={"X-Number": "2"})
    seen: list[Attempt] = []
    async with served(*steps, observer=seen.append) as (_, client):
        response = await with_raw_response(client.device.get)("D1")
    assert (response.attempts, response.headers["X-Number"], response.body) == (2, "2", b'{"id": "D1"}')
    assert [attempt.number for attempt in seen] == [1, 2]
    assert response.elapsed <= seen[-1].elapsed


async def test_the_body_has_no_content_encoding() -> None:
    data = gzip.compress(b'{"id":"D1"}')
    async with served(reply(200, data, headers={"Content-Encoding": "gzip"}), reply(200, b"{}", chunked=True)) as (
        _,
        client,
    ):
        response = await with_raw_response(client.device.get)("D1")
        assert (response.body, response.headers["Content-Encoding"]) == (b'{"id":"D1"}', "gzip")
        assert (await with_raw_response(client.user.get_roles)()).body == b"{}"


async def test_an_empty_reply_has_one() -> None:
    async with served(reply(204)) as (_, client):
        response = await with_raw_response(client.user.remove)("U1")
    assert (response.status, response.body, response.record) == (204, b"", None)


async def test_a_find_gives_its_first_page() -> None:
    pages = reply(200, {"data": [{"id": "D1"}], "next": "c"}), reply(200, {"data": [{"id": "D2"}]})
    async with served(*pages) as (server, client):
        find = with_raw_response(client.device.find)
        first = (await find(limit=1)).record
        second = (await find(limit=1, next=first.next)).record
    assert [device.id for page in (first, second) for device in page.items] == ["D1", "D2"]
    assert [request.query for request in server.requests] == [{"limit": "1"}, {"limit": "1", "next": "c"}]


# Errors, and others' replies --------------------------------------------------------------------------------------


@each_row(
    "step, kind",
    [
        (reply(404, {"message": "Device not found"}), NotFoundError),
        (reply(400, "no"), BadRequestError),
        (reply(500, "no"), ServiceError),
        (reply(200, "{"), DecodeError),
    ],
)
async def test_errors_are_raised_as_they_are(step: Step, kind: type[Exception]) -> None:
    async with served(handler=lambda _: step, retry=RetryPolicy(attempts=1)) as (_, client):
        with pytest.raises(kind) as plain:
            await client.device.get("D1")
        with pytest.raises(kind) as raw:
            await with_raw_response(client.device.get)("D1")
        assert CAPTURE.get() is None
    assert vars(raw.value) == vars(plain.value)


def _numbered(request: Request) -> Step:
    id = request.json["id"]
    return reply(200, {"id": id}, headers={"X-Id": id})


async def test_many_tasks_get_their_own() -> None:
    ids = [f"D{number}" for number in range(50)]
    async with served(handler=_numbered) as (_, client):
        get = with_raw_response(client.device.get)
        mixed = [call(id) for id in ids for call in (get, client.device.get)]
        found = await asyncio.gather(*mixed)
    for id, response, record in zip(ids, found[::2], found[1::2], strict=True):
        assert isinstance(response, RawResponse)
        assert (response.headers["X-Id"], response.record.id, record) == (id, id, Device(id=id))


@each_row("is_raw", [False, True])
async def test_calls_of_a_token_provider_and_of_a_middleware_are_not_taken_for_it(is_raw: bool) -> None:
    asked: list[str] = []

    async def ask(id: str) -> None:
        if is_raw:
            response = await with_raw_response(other.device.get)(id)
            assert response.headers["X-Id"] == id
        else:
            await other.device.get(id)
        asked.append(id)

    async def login() -> str:
        await ask("P")
        return "access-token"

    async def middleware(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        await ask("M1")
        response = await handler(request)
        await ask("M2")
        return response

    options: dict[str, Any] = {"login": login, "origin": "app.example", "middlewares": [middleware]}
    async with served(handler=_numbered) as (server, other), client_of(server, **options) as client:
        response = await with_raw_response(client.device.get)("D1")
        assert (response.headers["X-Id"], response.record.id) == ("D1", "D1")
    assert asked == ["M1", "P", "M2"]


async def test_a_call_that_is_cancelled_leaves_nothing_behind() -> None:
    hold = asyncio.Event()
    steps = reply(200, {"id": "D1"}, hold=hold), reply(200, {"id": "D2"})
    async with served(*steps) as (server, client):
        get = with_raw_response(client.device.get)
        before = asyncio.create_task(get("D0"))
        if not before.done():
            before.cancel()
        with pytest.raises(asyncio.CancelledError):
            await before
        call = asyncio.create_task(get("D1"))
        await server.received(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await get("D2")).record.id == "D2"
        hold.set()
    assert await leftover_tasks() == set()


async def test_a_bulk_run_knows_what_it_knows_of_the_method() -> None:
    async with served(handler=_numbered) as (_, client):
        claim = with_raw_response(client.device.claim)
        run = client.bulk(claim, ["D1", "D2"], concurrency=2)
        assert isinstance(run, Bulk)
        found = {outcome.item: outcome.value async for outcome in run}
    assert {id: response and response.headers["X-Id"] for id, response in found.items()} == {"D1": "D1", "D2": "D2"}
    assert operation_of(claim) is IOTO["device/claim"]
    assert reports_effects(claim)


async def test_a_legacy_method_warns_whoever_awaits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_warned", set())
    async with served(reply(200, {"id": "D1"})) as (_, client):
        with pytest.warns(DeprecationWarning, match="device/remove is a legacy operation") as warned:
            await with_raw_response(client.device.remove)("D1")
    assert [warning.filename for warning in warned] == [__file__]
