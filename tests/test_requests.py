"""What every method sends: URL, body, headers; and what it refuses to send."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mocked import ACCOUNT, API, TOKEN, Cloud

from ioto_async import DatabaseQuery, InvalidArgumentError, IotoClient, MetricQuery
from ioto_async.models import Device, Item

Call = Callable[[IotoClient], Awaitable[object]]

BUILDER = "https://api.admin.embedthis.com/api"
RECORD, LIST, URL = b'{"id":"X"}', b'{"data":[]}', b'"https://files.example/x"'
ANY = b'{"id":"X","data":[]}'
"""A record and a list at once."""
WHEN = datetime(2024, 1, 23, 2, 3, 57, 62000, tzinfo=UTC)
WHEN_ISO, WHEN_MS = "2024-01-23T02:03:57.062Z", 1705975437062
LONE_SURROGATE = "\ud800"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(RECORD) as cloud:
        yield cloud


def make_client(**options: Any) -> IotoClient:
    return IotoClient(API, **{"token": TOKEN, "account_id": ACCOUNT, "environ": {}, **options})


@pytest.fixture
async def client(cloud: Cloud) -> AsyncIterator[IotoClient]:
    async with make_client() as client:
        yield client


# Every method -----------------------------------------------------------------------------------------------------

A = {"accountId": ACCOUNT}
PAGING: dict[str, Any] = {"index": "gs1", "limit": 5, "next": "N", "prev": "P"}
PAGING_QUERY = "?index=gs1&limit=5&next=N&prev=P"

CALLS: dict[str, tuple[Call, str, dict[str, Any], bytes]] = {
    "device.claim": (lambda c: c.device.claim("D"), "device/claim", {"id": "D"} | A, RECORD),
    "test.ping": (lambda c: c.test.ping(), "test/ping", {}, b"pinged\n"),
    "device.find, bare": (lambda c: c.device.find(), "device/find", A, LIST),
    "device.find": (
        lambda c: c.device.find(id="D", product_id="P", **PAGING),
        f"device/find{PAGING_QUERY}",
        {"id": "D", "productId": "P"} | A,
        LIST,
    ),
    "device.get": (lambda c: c.device.get("D"), "device/get", {"id": "D"} | A, RECORD),
    "device.get_creds": (lambda c: c.device.get_creds(), "device/getCreds", {}, RECORD),
    "device.get_signed_url, bare": (lambda c: c.device.get_signed_url(), "device/getSignedUrl", {}, URL),
    "device.get_signed_url": (
        lambda c: c.device.get_signed_url(id="D", command="put", filename="a/b", mime_type="image/png", size=0),
        "device/getSignedUrl",
        {"id": "D", "command": "put", "filename": "a/b", "mimeType": "image/png", "size": 0},
        URL,
    ),
    "device.provision": (lambda c: c.device.provision("D"), "device/provision", {"id": "D"}, RECORD),
    "device.release": (lambda c: c.device.release("D"), "device/release", {"id": "D"} | A, RECORD),
    "provision.get_certs": (lambda c: c.provision.get_certs("D"), "provision/getCerts", {"id": "D"}, RECORD),
    "provision.update": (
        lambda c: c.provision.update("D", "P", "1.2.3"),
        "provision/update",
        {"id": "D", "product": "P", "version": "1.2.3"},
        RECORD,
    ),
    "provision.update, with all": (
        lambda c: c.provision.update("D", "P", "1.2.3", test=False, properties={"pro": "true", "model": None}),
        "provision/update",
        {"id": "D", "product": "P", "version": "1.2.3", "test": False, "pro": "true", "model": None},
        RECORD,
    ),
    "provision.update_report": (
        lambda c: c.provision.update_report("D", "U", success=False),
        "provision/updateReport",
        {"id": "D", "update": "U", "success": False},
        b"",
    ),
    "metric.fetch": (
        lambda c: c.metric.fetch("D", [MetricQuery("temp")]),
        "metric/fetch",
        {
            "deviceId": "D",
            "items": [
                {
                    "namespace": "Embedthis/Device",
                    "metric": "temp",
                    "dimensions": {},
                    "statistic": "avg",
                    "period": 300,
                }
            ],
        }
        | A,
        LIST,
    ),
    "metric.fetch, with all": (
        lambda c: c.metric.fetch(
            "D",
            [
                MetricQuery(
                    "temp",
                    {"Device": "D"},
                    "current",
                    period=86400,
                    accumulate=True,
                    start=WHEN,
                    limit=3,
                    namespace="N",
                    cloud_id="C",
                    id="I",
                )
            ],
        ),
        "metric/fetch",
        {
            "deviceId": "D",
            "items": [
                {
                    "namespace": "N",
                    "metric": "temp",
                    "dimensions": {"Device": "D"},
                    "statistic": "current",
                    "period": 86400,
                    "accumulate": True,
                    "start": WHEN_MS,
                    "limit": 3,
                    "cloudId": "C",
                    "id": "I",
                }
            ],
        }
        | A,
        LIST,
    ),
    "metric.fetch, database": (
        lambda c: c.metric.fetch("D", iter([DatabaseQuery("Service", "value", limit=1)])),
        "metric/fetch",
        {
            "deviceId": "D",
            "items": [
                {
                    "namespace": "Database",
                    "model": "Service",
                    "field": "value",
                    "dimensions": {},
                    "statistic": "current",
                    "limit": 1,
                }
            ],
        }
        | A,
        LIST,
    ),
    "metric.get_device_schema": (lambda c: c.metric.get_device_schema(), "metric/getDeviceSchema", {}, RECORD),
    "metric.get_device_schema, with all": (
        lambda c: c.metric.get_device_schema(cloud_id="C"),
        "metric/getDeviceSchema",
        {"cloudId": "C"},
        RECORD,
    ),
    "metric.get_metric_list": (
        lambda c: c.metric.get_metric_list("C"),
        "metric/getMetricList",
        {"cloudId": "C"},
        RECORD,
    ),
    "metric.get_metric_list, with all": (
        lambda c: c.metric.get_metric_list("C", namespace="N", metric="temp", model="Store", **PAGING),
        f"metric/getMetricList{PAGING_QUERY}",
        {"cloudId": "C", "namespace": "N", "metric": "temp", "model": "Store"},
        RECORD,
    ),
    "action.find": (lambda c: c.action.find("C"), "action/find", {"cloudId": "C"}, LIST),
    "action.find, with all": (
        lambda c: c.action.find("C", type="metric", **PAGING),
        f"action/find{PAGING_QUERY}",
        {"cloudId": "C", "type": "metric"},
        LIST,
    ),
    "action.get": (lambda c: c.action.get("C", "metric"), "action/get", {"cloudId": "C", "type": "metric"}, RECORD),
    "action.get, with all": (
        lambda c: c.action.get("C", "metric", id="I"),
        "action/get",
        {"cloudId": "C", "type": "metric", "id": "I"},
        RECORD,
    ),
    "action.invoke": (lambda c: c.action.invoke("Run"), "action/invoke", {"name": "Run"}, RECORD),
    "action.invoke, by id": (
        lambda c: c.action.invoke(id="I", context={"a": [1]}),
        "action/invoke",
        {"id": "I", "context": {"a": [1]}},
        RECORD,
    ),
    "generic.create": (
        lambda c: c.generic.create("Store", {"key": "k"}, device_id="D"),
        "generic/create",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        RECORD,
    ),
    "generic.find": (lambda c: c.generic.find("Store"), "generic/find", {"_type": "Store"} | A, LIST),
    "generic.find, with all": (
        lambda c: c.generic.find("Store", {"key": "k"}, device_id="D", **PAGING),
        f"generic/find{PAGING_QUERY}",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        LIST,
    ),
    "generic.get": (
        lambda c: c.generic.get("Store", {"key": "k"}, device_id="D"),
        "generic/get",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        RECORD,
    ),
    "generic.remove": (
        lambda c: c.generic.remove("Store", {"key": "k"}, device_id="D"),
        "generic/remove",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        b"",
    ),
    "generic.update": (
        lambda c: c.generic.update("Store", {"key": "k", "description": None}, device_id="D"),
        "generic/update",
        {"_type": "Store", "deviceId": "D", "key": "k", "description": None} | A,
        RECORD,
    ),
    "store.get": (
        lambda c: c.store.get("D", "k"),
        "generic/get",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        RECORD,
    ),
    "store.set": (
        lambda c: c.store.set("D", "k", 1),
        "generic/update?exists=",
        {"_type": "Store", "deviceId": "D", "key": "k", "value": 1, "type": "number"} | A,
        RECORD,
    ),
    "store.set, with all": (
        lambda c: c.store.set("D", "k", {"a": 1}, type="string", expires=WHEN),
        "generic/update?exists=",
        {
            "_type": "Store",
            "deviceId": "D",
            "key": "k",
            "value": {"a": 1},
            "type": "string",
            "expires": WHEN_MS,
        }
        | A,
        RECORD,
    ),
    "store.remove": (
        lambda c: c.store.remove("D", "k"),
        "generic/remove",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        b"",
    ),
    "store.find": (lambda c: c.store.find("D"), "generic/find", {"_type": "Store", "deviceId": "D"} | A, LIST),
    "store.find, with all": (
        lambda c: c.store.find("D", limit=5, next="N", prev="P"),
        "generic/find?limit=5&next=N&prev=P",
        {"_type": "Store", "deviceId": "D"} | A,
        LIST,
    ),
}
REGISTRATIONS: dict[str, tuple[Call, dict[str, Any]]] = {
    "bare": (lambda c: c.builder.device.register("D", "P"), {"id": "D", "product": "P"}),
    "with all": (
        lambda c: c.builder.device.register(
            "D", "P", account="A", cloud="C", test=True, properties={"name": "Demo", "created": WHEN}
        ),
        {
            "id": "D",
            "product": "P",
            "account": "A",
            "cloud": "C",
            "test": True,
            "name": "Demo",
            "created": WHEN_ISO,
        },
    ),
}

every_call = pytest.mark.parametrize("name", CALLS)
every_registration = pytest.mark.parametrize("name", REGISTRATIONS)


@every_call
async def test_a_method_posts_its_members_to_its_path(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, path, body, cloud.reply = CALLS[name]
    await call(client)
    sent = cloud.only
    url, _, query = sent.url.partition("?")
    expected, _, expected_query = path.partition("?")
    assert (sent.method, url, sent.body) == ("POST", f"{API}/tok/{expected}", body)
    assert sorted(query.split("&")) == sorted(expected_query.split("&"))


@every_call
async def test_a_body_is_sent_as_compact_json(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    await call(client)
    assert cloud.only.content_type == "application/json"
    # JSON keeps the order of members; separators have no spaces.
    assert cloud.only.data == json.dumps(cloud.only.body, separators=(",", ":"), ensure_ascii=False).encode()


@every_call
async def test_a_request_asks_for_json_and_names_the_client(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    await call(client)
    assert cloud.only.headers["Accept"] == "application/json"
    assert cloud.only.headers["User-Agent"].startswith("ioto-async/")


@every_call
async def test_a_token_is_no_part_of_url_body_or_plain_headers(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    await call(client)
    sent = cloud.only
    assert TOKEN not in f"{sent.url} {sent.data!r} {dict(sent.headers)}"


@every_call
async def test_credentials_come_from_a_middleware(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    await call(client)
    assert len(cloud.only.options["middlewares"]) == 1


@every_call
async def test_redirects_are_not_followed(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    await call(client)
    assert cloud.only.options["allow_redirects"] is False


@every_call
async def test_a_login_token_goes_to_the_bare_path(cloud: Cloud, name: str) -> None:
    call, path, _, cloud.reply = CALLS[name]
    async with make_client(token=None, login="ACCESS", origin="app.ioto.me") as client:
        await call(client)
    assert cloud.only.url.partition("?")[0] == f"{API}/{path.partition('?')[0]}"


@every_call
async def test_a_client_without_an_account_names_none(cloud: Cloud, name: str) -> None:
    call, _, body, cloud.reply = CALLS[name]
    async with make_client(account_id=None) as client:
        await call(client)
    assert cloud.only.body == {member: value for member, value in body.items() if member != "accountId"}


@every_call
async def test_the_options_of_a_call_add_headers(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    clone = client.with_options(headers={"X-Trace": "7"})
    await call(clone)
    assert cloud.only.headers["X-Trace"] == "7"


@every_registration
async def test_register_posts_to_the_builder_without_the_prefix(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, body = REGISTRATIONS[name]
    await call(client)
    assert (cloud.only.method, cloud.only.url, cloud.only.body) == ("POST", f"{BUILDER}/device/register", body)


async def test_register_goes_to_the_builder_that_is_configured(cloud: Cloud) -> None:
    async with make_client(builder="https://builder.example/base") as client:
        await client.builder.device.register("D", "P")
    assert cloud.only.url == "https://builder.example/base/device/register"


async def test_a_path_in_the_endpoint_stays_in_front(cloud: Cloud) -> None:
    async with IotoClient(f"{API}/stage/", token=TOKEN, environ={}) as client:
        await client.device.get("D")
    assert cloud.only.url == f"{API}/stage/tok/device/get"


async def test_headers_of_one_call_are_sent_with_it_alone(cloud: Cloud, client: IotoClient) -> None:
    await client.device.get("D", headers={"X-Trace": "7"})
    await client.device.get("D")
    assert [sent.headers.get("X-Trace") for sent in cloud.sent] == ["7", None]


async def test_a_query_of_one_call_is_not_sent_with_the_next(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = LIST
    await client.device.find(limit=1)
    await client.device.find()
    assert [sent.url for sent in cloud.sent] == [f"{API}/tok/device/find?limit=1", f"{API}/tok/device/find"]


async def test_fetching_no_metrics_sends_nothing(cloud: Cloud, client: IotoClient) -> None:
    assert await client.metric.fetch("D", []) == []
    assert cloud.sent == []


async def test_a_find_that_is_not_awaited_sends_nothing(cloud: Cloud, client: IotoClient) -> None:
    client.device.find()
    assert cloud.sent == []


async def test_a_long_body_is_sent_without_a_warning(cloud: Cloud, client: IotoClient) -> None:
    await client.store.set("D", "k", "x" * (2 << 20))
    assert len(cloud.only.data) > 2 << 20


# Accounts ---------------------------------------------------------------------------------------------------------

WITH_ACCOUNT: dict[str, tuple[Callable[..., Awaitable[object]], bytes]] = {
    "device.claim": (lambda c, **o: c.device.claim("D", **o), RECORD),
    "device.find": (lambda c, **o: c.device.find(**o), LIST),
    "device.get": (lambda c, **o: c.device.get("D", **o), RECORD),
    "device.release": (lambda c, **o: c.device.release("D", **o), RECORD),
    "generic.create": (lambda c, **o: c.generic.create("Store", **o), RECORD),
    "generic.find": (lambda c, **o: c.generic.find("Store", **o), LIST),
    "generic.get": (lambda c, **o: c.generic.get("Store", **o), RECORD),
    "generic.remove": (lambda c, **o: c.generic.remove("Store", **o), b""),
    "generic.update": (lambda c, **o: c.generic.update("Store", **o), RECORD),
    "metric.fetch": (lambda c, **o: c.metric.fetch("D", [MetricQuery("temp")], **o), LIST),
    "store.get": (lambda c, **o: c.store.get("D", "k", **o), RECORD),
    "store.set": (lambda c, **o: c.store.set("D", "k", 1, **o), RECORD),
    "store.remove": (lambda c, **o: c.store.remove("D", "k", **o), b""),
    "store.find": (lambda c, **o: c.store.find("D", **o), LIST),
}
every_call_with_an_account = pytest.mark.parametrize("name", WITH_ACCOUNT)


@every_call_with_an_account
async def test_an_account_of_the_call_goes_before_the_client_s(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, cloud.reply = WITH_ACCOUNT[name]
    await call(client, account_id="OTHER")
    assert cloud.only.body["accountId"] == "OTHER"


@every_call_with_an_account
async def test_an_account_of_a_clone_goes_before_the_client_s(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, cloud.reply = WITH_ACCOUNT[name]
    await call(client.with_options(account_id="CLONE"))
    assert cloud.only.body["accountId"] == "CLONE"


@every_call_with_an_account
async def test_an_empty_account_is_not_replaced_by_the_client_s(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, cloud.reply = WITH_ACCOUNT[name]
    with pytest.raises(InvalidArgumentError, match=r"account"):
        await call(client, account_id="")
    assert cloud.sent == []


async def test_the_environment_names_the_account(cloud: Cloud) -> None:
    environ = {"IOTO_API": API, "IOTO_TOKEN": TOKEN, "IOTO_ACCOUNT": "FROM-ENV"}
    async with IotoClient.from_env(environ) as client:
        await client.device.get("D")
    assert cloud.only.body["accountId"] == "FROM-ENV"


async def test_an_empty_client_wide_account_is_never_sent(cloud: Cloud) -> None:
    with pytest.raises(InvalidArgumentError, match=r"account"):
        async with make_client(account_id="") as client:
            await client.device.get("D")
    assert cloud.sent == []


# Exists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exists", "query"), [("any", "?exists="), (True, "?exists=true"), (False, "?exists=false")])
@pytest.mark.parametrize("method", ["create", "update"])
async def test_exists_is_spelled_as_documented(
    cloud: Cloud, client: IotoClient, method: str, exists: object, query: str
) -> None:
    await getattr(client.generic, method)("Store", exists=exists)
    assert cloud.only.url == f"{API}/tok/generic/{method}{query}"


@pytest.mark.parametrize("method", ["create", "update"])
async def test_exists_is_left_out_by_default(cloud: Cloud, client: IotoClient, method: str) -> None:
    await getattr(client.generic, method)("Store")
    assert cloud.only.url == f"{API}/tok/generic/{method}"


# Cursors ----------------------------------------------------------------------------------------------------------


def _received(url: str) -> dict[str, str]:
    """The query string as a server reads it."""
    query = parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    return {name: value for name, (value,) in query.items()}


FINDS: dict[str, Callable[..., Awaitable[object]]] = {
    "device": lambda c, **o: c.device.find(**o),
    "action": lambda c, **o: c.action.find("C", **o),
    "generic": lambda c, **o: c.generic.find("Store", **o),
    "store": lambda c, **o: c.store.find("D", **o),
}
every_find = pytest.mark.parametrize("find", FINDS)
SPECIAL = [
    "a+b",
    "a&b=c",
    "100%",
    "%2B",
    "a b",
    "é😀",
    "a#b?c/d;e",
    '"quoted"',
    "null",
    "\\",
    "line\r\nline\t",
    "=",
    "\x00",
    " ",
]


@every_find
@pytest.mark.parametrize("direction", ["next", "prev"])
@pytest.mark.parametrize("cursor", SPECIAL, ids=ascii)
async def test_a_text_cursor_arrives_as_it_was_given(
    cloud: Cloud, client: IotoClient, find: str, direction: str, cursor: str
) -> None:
    cloud.reply = LIST
    await FINDS[find](client, **{direction: cursor})
    assert _received(cloud.only.url) == {direction: cursor}


@every_find
@pytest.mark.parametrize("direction", ["next", "prev"])
async def test_an_object_cursor_is_sent_as_json(cloud: Cloud, client: IotoClient, find: str, direction: str) -> None:
    cloud.reply = LIST
    cursor = {"pk": "d#A+&=%", "sk": "d#é", "n": 1.5, "deep": {"list": [None, True]}}
    await FINDS[find](client, **{direction: cursor})
    received = _received(cloud.only.url)
    assert received.keys() == {direction}
    assert json.loads(received[direction]) == cursor


@pytest.mark.parametrize("cursor", ["a+b&c=d%é", {"pk": "d#A+&=%", "sk": "é"}], ids=["text", "object"])
async def test_the_cursor_of_a_page_fetches_the_next(
    cloud: Cloud, client: IotoClient, cursor: str | dict[str, str]
) -> None:
    cloud.reply = json.dumps({"data": [], "next": cursor}).encode()
    page = await client.device.find()
    await client.device.find(next=page.next)
    value = _received(cloud.sent[1].url)["next"]
    assert value == cursor or json.loads(value) == cursor


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Lone surrogates are no text.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé", max_size=3), inner, max_size=3),
    max_leaves=6,
)


def _sent_by(call: Call) -> tuple[str, Any]:
    """URL and body of the one request that *call* makes, in a loop of its own."""

    async def run() -> None:
        async with make_client() as client:
            await call(client)

    with Cloud(ANY) as cloud:
        asyncio.run(run())
        return cloud.only.url, cloud.only.body


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_cursor_arrives_as_it_was_given(cursor: str) -> None:
    url, _ = _sent_by(lambda client: client.device.find(next=cursor))
    assert _received(url) == {"next": cursor}


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, min_size=1, max_size=3))
def test_any_object_cursor_arrives_as_it_was_given(cursor: dict[str, Any]) -> None:
    url, _ = _sent_by(lambda client: client.device.find(next=cursor))
    assert json.loads(_received(url)["next"]) == cursor


# Values -----------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (WHEN, WHEN_ISO),
        (WHEN.astimezone(timezone(timedelta(hours=5, minutes=30))), WHEN_ISO),
        (datetime(1969, 12, 31, tzinfo=UTC), "1969-12-31T00:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (1.5e300, 1.5e300),
        ("é😀\x00", "é😀\x00"),
        ({"a": [None, {}, []]}, {"a": [None, {}, []]}),
        ((1, 2), [1, 2]),
        (Device(account_id="A", created=WHEN), {"accountId": "A", "created": WHEN_ISO}),
        (Item(type="Store", extra={"key": "k"}), {"_type": "Store", "key": "k"}),
        ([{"when": WHEN}], [{"when": WHEN_ISO}]),
    ],
    ids=ascii,
)
async def test_a_value_is_sent_as_documented(cloud: Cloud, client: IotoClient, value: object, wire: object) -> None:
    await client.generic.create("M", {"v": value})
    assert cloud.only.body["v"] == wire


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (True, "boolean"),
        (0, "number"),
        (1.5, "number"),
        ("", "string"),
        ("x", "string"),
        ({}, "object"),
        ([], "object"),
    ],
)
async def test_the_type_of_a_stored_value_is_seen(cloud: Cloud, client: IotoClient, value: object, type_: str) -> None:
    await client.store.set("D", "k", value)
    assert (cloud.only.body["value"], cloud.only.body["type"]) == (value, type_)


@settings(max_examples=60, deadline=None)
@given(json_values)
def test_any_json_value_is_sent_as_it_is(value: object) -> None:
    _, body = _sent_by(lambda client: client.generic.update("M", {"v": value}))
    # The text of both shows 1, 1.0 and true apart, which an equation does not.
    assert repr(body["v"]) == repr(value)


@pytest.mark.parametrize("value", [UUID(int=1), Colour.RED], ids=["uuid", "enum"])
@pytest.mark.parametrize("beside", [None, "null"], ids=["null", "the word null"])
async def test_whether_a_value_can_be_sent_does_not_depend_on_its_neighbours(
    cloud: Cloud, client: IotoClient, value: object, beside: object
) -> None:
    async def accepted(fields: Mapping[str, object]) -> bool:
        try:
            await client.generic.update("M", fields)
        except InvalidArgumentError:
            return False
        return True

    assert await accepted({"v": value}) == await accepted({"v": value, "w": beside})


async def test_the_values_of_the_caller_are_not_changed(cloud: Cloud, client: IotoClient) -> None:
    fields: dict[str, object] = {"key": "k", "when": WHEN}
    await client.generic.create("M", fields, device_id="D")
    assert fields == {"key": "k", "when": WHEN}


# Bad arguments ----------------------------------------------------------------------------------------------------


class Opaque:
    """No JSON."""


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def _deep(levels: int) -> list[Any]:
    deep: list[Any] = []
    for _ in range(levels):
        deep = [deep]
    return deep


# Name of the value, the value.
UNFIT: dict[str, Any] = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "naive datetime": datetime(2024, 1, 1),
    "date": date(2024, 1, 1),
    "bytes": b"x",
    "set": {1},
    "object": Opaque(),
    "decimal": Decimal(1),
    "lone surrogate": LONE_SURROGATE,
    "2**64": 2**64,
    "-2**63-1": -(2**63) - 1,
}
TEXTS: dict[str, Any] = {"empty": "", "None": None, "number": 5, "bytes": b"x", "surrogate": LONE_SURROGATE}
OTHER_TEXTS = {name: value for name, value in TEXTS.items() if name not in ("empty", "None")}
NUMBERS: dict[str, Any] = {"text": "5", "boolean": True, "nan": math.nan, "inf": math.inf, "2**64": 2**64}
CURSORS: dict[str, Any] = {
    "number": 5,
    "bytes": b"x",
    "list": ["x"],
    "boolean": True,
    "surrogate": LONE_SURROGATE,
    "nan inside": {"a": math.nan},
    "set inside": {"a": {1}},
    "member name": {1: 2},
}
Bad = tuple[Callable[[Any, Any], Awaitable[object]], str, str, dict[str, Any]]

# The call, the operation and the field that the error names, and the values that are refused.
BAD: list[Bad] = [
    # Required texts.
    (lambda c, v: c.device.claim(v), "device/claim", "id", TEXTS),
    (lambda c, v: c.device.get(v), "device/get", "id", TEXTS),
    (lambda c, v: c.device.release(v), "device/release", "id", TEXTS),
    (lambda c, v: c.device.provision(v), "device/provision", "id", TEXTS),
    (lambda c, v: c.provision.get_certs(v), "provision/getCerts", "id", TEXTS),
    (lambda c, v: c.provision.update(v, "P", "1.0.0"), "provision/update", "id", TEXTS),
    (lambda c, v: c.provision.update("D", v, "1.0.0"), "provision/update", "product", TEXTS),
    (lambda c, v: c.provision.update("D", "P", v), "provision/update", "version", TEXTS),
    (lambda c, v: c.provision.update_report(v, "U", success=True), "provision/updateReport", "id", TEXTS),
    (lambda c, v: c.provision.update_report("D", v, success=True), "provision/updateReport", "update", TEXTS),
    (lambda c, v: c.metric.fetch(v, [MetricQuery("temp")]), "metric/fetch", "deviceId", TEXTS),
    (lambda c, v: c.metric.fetch("D", [MetricQuery(v)]), "metric/fetch", "metric", TEXTS),
    (lambda c, v: c.metric.fetch("D", [MetricQuery("m", statistic=v)]), "metric/fetch", "statistic", TEXTS),
    (lambda c, v: c.metric.fetch("D", [MetricQuery("m", namespace=v)]), "metric/fetch", "namespace", TEXTS),
    (lambda c, v: c.metric.fetch("D", [DatabaseQuery(v, "f")]), "metric/fetch", "model", TEXTS),
    (lambda c, v: c.metric.fetch("D", [DatabaseQuery("M", v)]), "metric/fetch", "field", TEXTS),
    (lambda c, v: c.metric.get_metric_list(v), "metric/getMetricList", "cloudId", TEXTS),
    (lambda c, v: c.action.find(v), "action/find", "cloudId", TEXTS),
    (lambda c, v: c.action.get(v, "metric"), "action/get", "cloudId", TEXTS),
    (lambda c, v: c.action.get("C", v), "action/get", "type", TEXTS),
    (lambda c, v: c.action.invoke(v), "action/invoke", "name", TEXTS),
    (lambda c, v: c.action.invoke(id=v), "action/invoke", "id", TEXTS),
    (lambda c, v: c.generic.create(v), "generic/create", "_type", TEXTS),
    (lambda c, v: c.generic.find(v), "generic/find", "_type", TEXTS),
    (lambda c, v: c.generic.get(v), "generic/get", "_type", TEXTS),
    (lambda c, v: c.generic.remove(v), "generic/remove", "_type", TEXTS),
    (lambda c, v: c.generic.update(v), "generic/update", "_type", TEXTS),
    (lambda c, v: c.store.get(v, "k"), "generic/get", "deviceId", TEXTS),
    (lambda c, v: c.store.get("D", v), "generic/get", "key", TEXTS),
    (lambda c, v: c.store.set(v, "k", 1), "generic/update", "deviceId", TEXTS),
    (lambda c, v: c.store.set("D", v, 1), "generic/update", "key", TEXTS),
    (lambda c, v: c.store.remove(v, "k"), "generic/remove", "deviceId", TEXTS),
    (lambda c, v: c.store.remove("D", v), "generic/remove", "key", TEXTS),
    (lambda c, v: c.store.find(v), "generic/find", "deviceId", TEXTS),
    (lambda c, v: c.builder.device.register(v, "P"), "device/register", "id", TEXTS),
    (lambda c, v: c.builder.device.register("D", v), "device/register", "product", TEXTS),
    # Optional texts.
    (lambda c, v: c.device.find(id=v), "device/find", "id", OTHER_TEXTS),
    (lambda c, v: c.device.find(product_id=v), "device/find", "productId", OTHER_TEXTS),
    (lambda c, v: c.device.find(account_id=v), "device/find", "accountId", OTHER_TEXTS),
    (lambda c, v: c.device.find(index=v), "device/find", "index", OTHER_TEXTS),
    (lambda c, v: c.device.get_signed_url(id=v), "device/getSignedUrl", "id", OTHER_TEXTS),
    (lambda c, v: c.device.get_signed_url(command=v), "device/getSignedUrl", "command", OTHER_TEXTS),
    (lambda c, v: c.device.get_signed_url(filename=v), "device/getSignedUrl", "filename", OTHER_TEXTS),
    (lambda c, v: c.device.get_signed_url(mime_type=v), "device/getSignedUrl", "mimeType", OTHER_TEXTS),
    (lambda c, v: c.metric.get_device_schema(cloud_id=v), "metric/getDeviceSchema", "cloudId", OTHER_TEXTS),
    (lambda c, v: c.metric.get_metric_list("C", namespace=v), "metric/getMetricList", "namespace", OTHER_TEXTS),
    (lambda c, v: c.metric.get_metric_list("C", metric=v), "metric/getMetricList", "metric", OTHER_TEXTS),
    (lambda c, v: c.metric.get_metric_list("C", model=v), "metric/getMetricList", "model", OTHER_TEXTS),
    (lambda c, v: c.action.find("C", type=v), "action/find", "type", OTHER_TEXTS),
    (lambda c, v: c.action.get("C", "metric", id=v), "action/get", "id", OTHER_TEXTS),
    (lambda c, v: c.generic.get("M", device_id=v), "generic/get", "deviceId", OTHER_TEXTS),
    (lambda c, v: c.generic.get("M", account_id=v), "generic/get", "accountId", OTHER_TEXTS),
    (lambda c, v: c.store.set("D", "k", 1, type=v), "generic/update", "type", OTHER_TEXTS),
    (lambda c, v: c.builder.device.register("D", "P", account=v), "device/register", "account", OTHER_TEXTS),
    (lambda c, v: c.builder.device.register("D", "P", cloud=v), "device/register", "cloud", OTHER_TEXTS),
    # Numbers and switches.
    (lambda c, v: c.device.find(limit=v), "device/find", "limit", NUMBERS),
    (lambda c, v: c.metric.get_metric_list("C", limit=v), "metric/getMetricList", "limit", NUMBERS),
    (lambda c, v: c.device.get_signed_url(size=v), "device/getSignedUrl", "size", NUMBERS),
    (lambda c, v: c.metric.fetch("D", [MetricQuery("m", limit=v)]), "metric/fetch", "limit", NUMBERS),
    (
        lambda c, v: c.metric.fetch("D", [MetricQuery("m", period=v)]),
        "metric/fetch",
        "period",
        NUMBERS | {"zero": 0, "negative": -300, "None": None},
    ),
    (
        lambda c, v: c.provision.update_report("D", "U", success=v),
        "provision/updateReport",
        "success",
        {"None": None, "text": "true", "number": 1},
    ),
    (
        lambda c, v: c.provision.update("D", "P", "1.0.0", test=v),
        "provision/update",
        "test",
        {"text": "true", "number": 1},
    ),
    (
        lambda c, v: c.builder.device.register("D", "P", test=v),
        "device/register",
        "test",
        {"text": "true", "number": 1},
    ),
    # exists: a boolean or "any".
    (
        lambda c, v: c.generic.create("M", exists=v),
        "generic/create",
        "exists",
        {"text": "yes", "number": 1, "list": []},
    ),
    (
        lambda c, v: c.generic.update("M", exists=v),
        "generic/update",
        "exists",
        {"text": "yes", "number": 1, "list": []},
    ),
    # Dates.
    (
        lambda c, v: c.store.set("D", "k", 1, expires=v),
        "generic/update",
        "expires",
        {"naive": datetime(2024, 1, 1), "number": 5, "text": WHEN_ISO},
    ),
    (
        lambda c, v: c.metric.fetch("D", [MetricQuery("m", start=v)]),
        "metric/fetch",
        "start",
        {"naive": datetime(2024, 1, 1), "number": 5, "text": WHEN_ISO},
    ),
    # Cursors.
    (lambda c, v: c.device.find(next=v), "device/find", "next", CURSORS),
    (lambda c, v: c.generic.find("M", prev=v), "generic/find", "prev", CURSORS),
    (lambda c, v: c.metric.get_metric_list("C", next=v), "metric/getMetricList", "next", CURSORS),
    # Values that are no JSON, wherever a value can stand.
    (lambda c, v: c.generic.create("M", {"colour": v}), "generic/create", "colour", UNFIT),
    (lambda c, v: c.generic.update("M", {"a": [1, {"colour": v}]}), "generic/update", "a[1].colour", UNFIT),
    (lambda c, v: c.generic.find("M", {"colour": v}), "generic/find", "colour", UNFIT),
    (lambda c, v: c.store.set("D", "k", v), "generic/update", "value", UNFIT),
    (lambda c, v: c.action.invoke("Run", context={"colour": v}), "action/invoke", "colour", UNFIT),
    (
        lambda c, v: c.metric.fetch("D", [MetricQuery("m", {"colour": v})]),
        "metric/fetch",
        "items[0].dimensions.colour",
        UNFIT,
    ),
    (
        lambda c, v: c.provision.update("D", "P", "1.0.0", properties={"colour": v}),
        "provision/update",
        "colour",
        UNFIT,
    ),
    (
        lambda c, v: c.builder.device.register("D", "P", properties={"colour": v}),
        "device/register",
        "colour",
        UNFIT,
    ),
    (lambda c, v: c.generic.create("M", {"v": Item(extra={"colour": v})}), "generic/create", "colour", UNFIT),
    # What is no mapping, or no list.
    (
        lambda c, v: c.generic.create("M", v),
        "generic/create",
        "fields",
        {"list": [("a", 1)], "text": "abc", "number": 5},
    ),
    (
        lambda c, v: c.provision.update("D", "P", "1.0.0", properties=v),
        "provision/update",
        "properties",
        {"list": [("a", 1)], "text": "abc", "number": 5},
    ),
    (lambda c, v: c.action.invoke("Run", context=v), "action/invoke", "context", {"list": [1], "text": "x"}),
    (
        lambda c, v: c.metric.fetch("D", v),
        "metric/fetch",
        "items",
        {"mapping inside": [{"metric": "m"}], "text inside": ["m"], "number": 5},
    ),
    (
        lambda c, v: c.metric.fetch("D", [MetricQuery("m", dimensions=v)]),
        "metric/fetch",
        "dimensions",
        {"list": [1], "text": "x", "None": None},
    ),
    # Members that are given twice.
    (lambda c, v: c.generic.create("M", v), "generic/create", "_type", {"twice": {"_type": "N"}}),
    (lambda c, v: c.generic.get("M", v, device_id="D"), "generic/get", "deviceId", {"twice": {"deviceId": "E"}}),
    (
        lambda c, v: c.generic.update("M", v, account_id="A"),
        "generic/update",
        "accountId",
        {"twice": {"accountId": "B"}},
    ),
    (
        lambda c, v: c.provision.update("D", "P", "1.0.0", properties=v),
        "provision/update",
        "version",
        {"twice": {"version": "2.0.0"}},
    ),
    (
        lambda c, v: c.builder.device.register("D", "P", properties=v),
        "device/register",
        "product",
        {"twice": {"product": "Q"}},
    ),
    # Members that are named by fields alone are checked all the same.
    (lambda c, v: c.generic.get("M", {"deviceId": v}), "generic/get", "deviceId", OTHER_TEXTS),
    (lambda c, v: c.provision.update("D", "P", "1.0.0", properties={"test": v}), "provision/update", "test", {"": "x"}),
    # Names of members.
    (lambda c, v: c.generic.create("M", {v: 1}), "generic/create", "", {"number": 1, "surrogate": LONE_SURROGATE}),
    (
        lambda c, v: c.generic.create("M", {"a": {v: 1}}),
        "generic/create",
        "a",
        {"number": 1, "surrogate": LONE_SURROGATE},
    ),
]


BAD_CALLS = [
    pytest.param(call, value, operation, field, id=f"{operation} {field}: {name}")
    for call, operation, field, values in BAD
    for name, value in values.items()
]


@pytest.mark.parametrize(("call", "value", "operation", "field"), BAD_CALLS)
async def test_a_bad_argument_is_refused_by_name_before_anything_is_sent(
    cloud: Cloud,
    client: IotoClient,
    call: Callable[[IotoClient, Any], Awaitable[object]],
    value: object,
    operation: str,
    field: str,
) -> None:
    cloud.reply = ANY
    with pytest.raises(InvalidArgumentError) as refused:
        await call(client, value)
    assert cloud.sent == []
    assert operation in str(refused.value)
    assert field in str(refused.value).replace(operation, "")


@pytest.mark.parametrize("value", [_circle(), _deep(300), _deep(5000)], ids=["circle", "300 levels", "5000 levels"])
async def test_a_value_without_an_end_is_refused(cloud: Cloud, client: IotoClient, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"generic/create"):
        await client.generic.create("M", {"v": value})
    assert cloud.sent == []


async def test_a_date_beyond_the_calendar_in_utc_is_refused(cloud: Cloud, client: IotoClient) -> None:
    late = datetime.max.replace(tzinfo=timezone(timedelta(hours=-3)))
    with pytest.raises(InvalidArgumentError, match=r"generic/create.*when"):
        await client.generic.create("M", {"when": late})
    assert cloud.sent == []


async def test_running_an_automation_needs_its_name_or_its_id(cloud: Cloud, client: IotoClient) -> None:
    with pytest.raises(InvalidArgumentError, match=r"action/invoke.*name.*id"):
        await client.action.invoke()
    assert cloud.sent == []


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.action.invoke("Run", context="SECRET"),
        lambda c: c.builder.device.register("D", b"SECRET"),
        lambda c: c.provision.update("D", b"SECRET", "1.0.0"),
        lambda c: c.builder.device.register("D", "P", properties={"key": f"SECRET{LONE_SURROGATE}"}),
    ],
    ids=["context", "product of register", "product of update", "key"],
)
async def test_a_refused_text_is_not_shown(cloud: Cloud, client: IotoClient, call: Call) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await call(client)
    assert "SECRET" not in str(refused.value)


async def test_an_unknown_option_is_refused(cloud: Cloud, client: IotoClient) -> None:
    with pytest.raises(InvalidArgumentError, match=r"timeouts"):
        await client.device.get("D", timeouts=3)  # type: ignore[call-arg]
    assert cloud.sent == []


@pytest.mark.parametrize("option", [{"timeout": 0}, {"timeout": math.nan}, {"retries": -1}, {"headers": {"a b": "x"}}])
async def test_a_bad_option_is_refused_by_name(cloud: Cloud, client: IotoClient, option: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=min(option)):
        await client.device.get("D", **option)
    assert cloud.sent == []
