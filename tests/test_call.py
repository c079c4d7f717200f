"""``client.call``: any operation by its path, with nothing added and the reply as it came."""

import json
import warnings
from typing import Any

import pytest

from ioto_async import (
    OMIT,
    DecodeError,
    InBandError,
    InvalidArgumentError,
    IotoClient,
    OutcomeUnknownError,
    RetryPolicy,
    ServiceError,
)
from ioto_async.controllers import base
from ioto_async.models import JSON, Range
from tests.mocked import API, TOKEN, Cloud
from tests.rawserver import RawServer, reply
from tests.rows import each_row

BUILDER = "https://api.admin.embedthis.com/api"


def dumps(value: object) -> bytes:
    return json.dumps(value).encode()


# Requests ---------------------------------------------------------------------------------------------------------


async def test_a_call_goes_to_its_path_with_nothing_added(cloud: Cloud, client: IotoClient) -> None:
    await client.call("device/find", {"productId": "P"}, query={"limit": 5, "next": {"pk": "a"}})
    assert (cloud.only.url.partition("?")[0], cloud.only.body) == (f"{API}/tok/device/find", {"productId": "P"})
    assert "limit=5" in cloud.only.url


async def test_a_call_without_a_body_sends_an_empty_object(cloud: Cloud, client: IotoClient) -> None:
    await client.call("account/get")
    assert (cloud.only.url, cloud.only.body) == (f"{API}/tok/account/get", {})


async def test_an_operation_that_is_not_documented_can_be_called(cloud: Cloud, client: IotoClient) -> None:
    await client.call("teaPot2/brewTea", {"cups": 2, "milk": None}, query={"when": "now", "cups": 2})
    assert cloud.only.url == f"{API}/tok/teaPot2/brewTea?when=now&cups=2"
    assert cloud.only.body == {"cups": 2, "milk": None}


async def test_the_builder_is_called_by_its_own_table(cloud: Cloud, client: IotoClient) -> None:
    builder = client.with_options(builder_token="BT").builder
    await builder.call("product/find")
    await builder.call("metric/get", {"metric": "m"})
    assert [sent.url for sent in cloud.sent] == [f"{BUILDER}/tok/product/find", f"{BUILDER}/tok/metric/get"]


async def test_register_is_called_without_the_prefix(cloud: Cloud, client: IotoClient) -> None:
    await client.with_options(builder_token="BT").builder.call("device/register", {"id": "D", "product": "P"})
    assert cloud.only.url == f"{BUILDER}/device/register"


async def test_register_goes_with_the_product_token_of_its_body() -> None:
    async with RawServer.of(reply(200, {"registered": True})) as server:
        client = IotoClient(API, token=TOKEN, builder=f"{server.url}/api", builder_token="BT", environ={})
        async with client:
            assert await client.builder.call("device/register", {"id": "D", "product": "P"}) == {"registered": True}
    (request,) = server.requests
    assert (request.path, request.header("Authorization")) == ("/api/device/register", "bearer P")


@each_row("product, text", [(None, "device/register: product is required"), ("a b", "device/register: product: ")])
async def test_register_without_a_product_token_is_refused(
    cloud: Cloud, client: IotoClient, product: str | None, text: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        await client.builder.call("device/register", {"id": "D", "product": product})
    assert cloud.sent == []


async def test_records_and_dates_may_stand_in_a_body(cloud: Cloud, client: IotoClient) -> None:
    await client.call("dashboard/create", {"name": "N", "range": Range(period=60)})
    assert cloud.only.body == {"name": "N", "range": {"period": 60}}


@each_row("limit, wire", [(5, "5"), ("5", "5")])
async def test_a_count_of_the_query_may_be_text(cloud: Cloud, client: IotoClient, limit: object, wire: str) -> None:
    cloud.begin(b"{}")
    await client.call("device/find", query={"limit": limit})
    assert cloud.only.url.endswith(f"?limit={wire}")


async def test_none_is_left_out_of_the_query(cloud: Cloud, client: IotoClient) -> None:
    await client.call("teapot/brew", query={"limit": None})
    assert cloud.only.url == f"{API}/tok/teapot/brew"


async def test_null_is_sent_where_none_is_given(cloud: Cloud, client: IotoClient) -> None:
    await client.call("user/update", {"id": "I", "first": None, "preferences": None, "mine": None})
    assert cloud.only.body == {"id": "I", "first": None, "preferences": None, "mine": None}
    for body in ({"id": None}, {}):
        with pytest.raises(InvalidArgumentError, match="device/get: id is required"):
            await client.call("device/get", body)


async def test_what_is_to_be_left_out_is_not_sent(cloud: Cloud, client: IotoClient) -> None:
    await client.call("user/update", {"id": "I", "first": OMIT})
    await client.generic.update("M", {"id": "I", "first": OMIT, "last": None}, account_id="A")
    assert [sent.body for sent in cloud.sent] == [
        {"id": "I"},
        {"_type": "M", "accountId": "A", "id": "I", "last": None},
    ]
    with pytest.raises(InvalidArgumentError, match=r"user/update: preferences\.a: Omit is not JSON"):
        await client.call("user/update", {"id": "I", "preferences": {"a": OMIT}})


async def test_the_options_of_a_call_are_taken(cloud: Cloud, client: IotoClient) -> None:
    await client.call("device/find", headers={"X-Trace": "7"}, timeout=5)
    assert cloud.only.headers["X-Trace"] == "7"


# Replies ----------------------------------------------------------------------------------------------------------


@each_row(
    "value",
    [
        {"data": [{"id": "D"}], "next": "N", "paged": True},
        {"data": {"id": "D"}},
        {"error": "the last run failed", "type": "metric"},
        {},
        [],
        "https://files.example/x",
        "",
        5,
        2**64 - 1,
        1.5,
        True,
        None,
    ],
)
@each_row("name", ["device/get", "teapot/brew"])
async def test_a_reply_is_the_value_as_it_came(cloud: Cloud, client: IotoClient, name: str, value: JSON) -> None:
    cloud.begin(dumps(value))
    found = await client.call(name, {"id": "D"})
    assert (found, type(found)) == (value, type(value))


@each_row("body", [b"", b" \n"])
async def test_an_empty_reply_is_none(cloud: Cloud, client: IotoClient, body: bytes) -> None:
    cloud.begin(body)
    assert await client.call("alert/remove", {"id": "I"}) is None


@each_row("body, text", [(b"pinged\n", "pinged"), ("é ok".encode(), "é ok"), (b"nulls", "nulls")])
async def test_a_reply_that_is_text_is_text(cloud: Cloud, client: IotoClient, body: bytes, text: str) -> None:
    cloud.begin(body)
    assert await client.call("test/ping") == text


@each_row("body", [b'{"a":1', b"[1,", b'"cut', b" <html>SECRET</html>", b"\xff\xfe", b"{SECRET}"])
async def test_what_is_neither_json_nor_text_is_a_decode_error(cloud: Cloud, client: IotoClient, body: bytes) -> None:
    cloud.begin(body)
    with pytest.raises(DecodeError) as wrong:
        await client.call("test/ping")
    assert "SECRET" not in f"{wrong.value} {wrong.value!r}"


async def test_a_reply_that_is_nothing_but_an_error_raises(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"error": "boom"})
    with pytest.raises(InBandError, match="teapot/brew: 200 boom"):
        await client.call("teapot/brew")


# Refusals ---------------------------------------------------------------------------------------------------------


@each_row(
    "name",
    [
        "",
        "device",
        "/device/get",
        "device/get/",
        "device/",
        "tok/device/get",
        "Device/get",
        "device/Get",
        "device/get creds",
        "device/get\n",
        "device/gét",
        "device/../x",
        "device/get?x=1",
        "1device/get",
        None,
        5,
    ],
)
async def test_what_is_no_path_of_an_operation_is_refused(cloud: Cloud, client: IotoClient, name: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="controller/action") as refused:
        await client.call(name)
    assert repr(name) in str(refused.value)
    assert cloud.sent == []


@each_row(
    "arguments, text",
    [
        ({"name": "device/get"}, "device/get: id is required"),
        ({"name": "device/get", "body": {"id": 5}}, "device/get: id: expected a string"),
        ({"name": "device/get", "body": ["id"]}, "device/get: body: expected a mapping, got list"),
        ({"name": "teapot/brew", "body": "x"}, "teapot/brew: body: expected a mapping, got str"),
        ({"name": "teapot/brew", "body": []}, "teapot/brew: body: expected a mapping, got list"),
        ({"name": "teapot/brew", "query": "limit=5"}, "teapot/brew: query: expected a mapping, got str"),
        ({"name": "teapot/brew", "body": {"v": {1}}}, "teapot/brew: v: set is not JSON"),
        ({"name": "device/find", "query": {"limit": "many"}}, "device/find: limit: expected a whole number above 0"),
        ({"name": "device/find", "query": {"limit": "0"}}, "device/find: limit: expected a whole number above 0"),
        ({"name": "device/find", "timeouts": 5}, "unknown option 'timeouts'"),
    ],
)
async def test_a_bad_argument_is_refused_by_name(
    cloud: Cloud, client: IotoClient, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await client.call(**arguments)
    assert text in str(refused.value)
    assert cloud.sent == []


# Retries and warnings ---------------------------------------------------------------------------------------------


async def test_an_operation_that_is_not_documented_is_sent_once() -> None:
    async with RawServer.of(reply(500, "broken")) as server:
        async with IotoClient(server.url, token=TOKEN, environ={}, retry=RetryPolicy(base=0)) as client:
            with pytest.raises(OutcomeUnknownError):
                await client.call("teapot/brew")
        assert len(server.requests) == 1


async def test_a_documented_read_is_sent_again() -> None:
    async with RawServer.of(reply(500, "broken"), reply(500, "broken")) as server:
        async with IotoClient(server.url, token=TOKEN, environ={}, retry=RetryPolicy(base=0)) as client:
            with pytest.raises(ServiceError):
                await client.call("device/find", retries=1)
        assert len(server.requests) == 2


async def test_a_legacy_name_warns_once_as_its_method_does(
    cloud: Cloud, client: IotoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_warned", set())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        await client.call("device/remove", {"id": "D"})
        await client.call("device/remove", {"id": "D"})
        await client.device.remove("D")
    (warning,) = warned
    assert "device/remove is a legacy operation: use device/release" in str(warning.message)
    assert (warning.category, warning.filename) == (DeprecationWarning, __file__)


async def test_the_builder_s_legacy_name_warns(
    cloud: Cloud, client: IotoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_warned", set())
    text = "device/claim of the Builder is a legacy operation: use device/claim of the device cloud"
    with pytest.warns(DeprecationWarning, match=text):
        await client.builder.call("device/claim", {"id": "D", "cloudToken": "T", "accountId": "A"})
