"""Arguments on their way to the wire: cursors, dates, numbers, text, any JSON; and what is refused by name."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioto_async import DatabaseQuery, InvalidArgumentError, IotoClient, MetricQuery
from ioto_async.models import Device, Item, Range, Widget
from tests.documented import ROWS
from tests.methods import METHODS, WHEN, WHEN_ISO, Replies, make_client
from tests.mocked import Cloud, Sent
from tests.rows import each_row

Call = Callable[[IotoClient], Awaitable[object]]

RECORD, PAGE = b'{"id":"X"}', b'{"data":[]}'
ANY = b'{"id":"X","data":[]}'
"""A record and a list at once."""
LONE_SURROGATE = "\ud800"

# What is legacy warns once in a process, which may be here.
pytestmark = pytest.mark.filterwarnings("ignore:.* is a legacy operation:DeprecationWarning")


@contextmanager
def sender() -> Iterator[Callable[[Call], Sent]]:
    """Give a function that runs a call and returns the one request of it, for tests that try many."""
    with Cloud(ANY) as cloud, asyncio.Runner() as runner:
        client = runner.run(make_client().__aenter__())

        async def made(call: Call) -> Sent:
            cloud.begin(ANY)
            await call(client)
            return cloud.only

        try:
            yield lambda call: runner.run(made(call))
        finally:
            runner.run(client.aclose())


# Cursors and query strings ----------------------------------------------------------------------------------------


def _received(url: str) -> dict[str, str]:
    """The query string as a server reads it."""
    query = parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    return {name: value for name, (value,) in query.items()}


FINDS = [
    key
    for key, method in METHODS.items()
    if method.replies is Replies.PAGE and any(field.name == "next" for field in ROWS[method.operation or key].query)
]
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


def test_the_finds_that_take_cursors_are_known() -> None:
    assert set(FINDS) == {
        "account/find",
        "action/find",
        "alert/find",
        "builder:device/find",
        "device/find",
        "generic/find",
        "store.find",
    }


@each_row("find", FINDS)
@each_row("direction", ["next", "prev"])
@each_row("cursor", SPECIAL)
async def test_a_text_cursor_arrives_as_it_was_given(
    cloud: Cloud, client: IotoClient, find: str, direction: str, cursor: str
) -> None:
    cloud.begin(PAGE)
    await METHODS[find].call(client, **{direction: cursor})
    assert _received(cloud.only.url) == {direction: cursor}


@each_row("find", FINDS)
@each_row("direction", ["next", "prev"])
async def test_an_object_cursor_is_sent_as_json(cloud: Cloud, client: IotoClient, find: str, direction: str) -> None:
    cloud.begin(PAGE)
    cursor = {"pk": "d#A+&=%", "sk": "d#é", "n": 1.5, "deep": {"list": [None, True]}}
    await METHODS[find].call(client, **{direction: cursor})
    received = _received(cloud.only.url)
    assert received.keys() == {direction}
    assert json.loads(received[direction]) == cursor


@each_row("cursor", ["a+b&c=d%é", {"pk": "d#A+&=%", "sk": "é"}])
async def test_the_cursor_of_a_page_fetches_the_next(
    cloud: Cloud, client: IotoClient, cursor: str | dict[str, str]
) -> None:
    cloud.begin(json.dumps({"data": [], "next": cursor}).encode())
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


def test_any_text_cursor_arrives_as_it_was_given() -> None:
    with sender() as send:

        @settings(max_examples=40)
        @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
        def arrives(cursor: str) -> None:
            sent = send(lambda client: client.device.find(next=cursor))
            assert _received(sent.url) == {"next": cursor}

        arrives()


def test_any_object_cursor_arrives_as_it_was_given() -> None:
    with sender() as send:

        @settings(max_examples=40)
        @given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, min_size=1, max_size=3))
        def arrives(cursor: dict[str, Any]) -> None:
            sent = send(lambda client: client.device.find(next=cursor))
            assert json.loads(_received(sent.url)["next"]) == cursor

        arrives()


# Values -----------------------------------------------------------------------------------------------------------

VALUES: list[tuple[object, object]] = [
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
    (Device(id="D", created=WHEN), {"id": "D", "created": WHEN_ISO}),
    (Item(type="Store", extra={"key": "k"}), {"_type": "Store", "key": "k"}),
    ([{"when": WHEN}], [{"when": WHEN_ISO}]),
]


@each_row("value, wire", VALUES)
async def test_a_value_is_sent_as_documented(cloud: Cloud, client: IotoClient, value: object, wire: object) -> None:
    cloud.begin(RECORD)
    await client.generic.create("M", {"v": value})
    assert cloud.only.body["v"] == wire


def test_any_json_value_is_sent_as_it_is() -> None:
    with sender() as send:

        @settings(max_examples=60)
        @given(json_values)
        def arrives(value: object) -> None:
            sent = send(lambda client: client.generic.update("M", {"v": value}))
            # The text of both shows 1, 1.0 and true apart, which an equation does not.
            assert repr(sent.body["v"]) == repr(value)

        arrives()


class Colour(Enum):
    RED = "red"


@each_row("value", [UUID(int=1), Colour.RED])
@each_row("beside", [None, "null"])
async def test_whether_a_value_can_be_sent_does_not_depend_on_its_neighbours(
    client: IotoClient, value: object, beside: object
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


# What is refused --------------------------------------------------------------------------------------------------


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
    (lambda c, v: c.metric.series(v, "temp"), "metric/fetch", "deviceId", TEXTS),
    (lambda c, v: c.metric.series("D", v), "metric/fetch", "metric", TEXTS),
    (lambda c, v: c.metric.value("D", "m", statistic=v), "metric/fetch", "statistic", TEXTS),
    (lambda c, v: c.metric.value("D", "m", namespace=v), "metric/fetch", "namespace", TEXTS),
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
    (lambda c, v: c.account.create(v, "N"), "account/create", "email", TEXTS),
    (lambda c, v: c.account.create("a@b.c", v), "account/create", "name", TEXTS),
    (lambda c, v: c.alert.get(v), "alert/get", "id", TEXTS),
    (lambda c, v: c.alert.remove(v), "alert/remove", "id", TEXTS),
    (lambda c, v: c.alert.update(v), "alert/update", "id", TEXTS),
    (lambda c, v: c.dashboard.create(v), "dashboard/create", "name", TEXTS),
    (lambda c, v: c.dashboard.get(v), "dashboard/get", "id", TEXTS),
    (lambda c, v: c.dashboard.get(name=v), "dashboard/get", "name", TEXTS),
    (lambda c, v: c.dashboard.remove(v), "dashboard/remove", "id", TEXTS),
    (lambda c, v: c.dashboard.update(v), "dashboard/update", "id", TEXTS),
    (lambda c, v: c.device.remove(v), "device/remove", "id", TEXTS),
    (lambda c, v: c.file.get(v), "file/get", "filename", TEXTS),
    (lambda c, v: c.file.put(v, b""), "file/put", "filename", TEXTS),
    (lambda c, v: c.file.remove(v), "file/remove", "filename", TEXTS),
    (lambda c, v: c.manager.provision(v), "manager/provision", "id", TEXTS),
    (lambda c, v: c.manager.update(v), "manager/update", "id", TEXTS),
    (lambda c, v: c.manager.update_display(v, "{}"), "manager/updateDisplay", "id", TEXTS),
    (lambda c, v: c.manager.update_display("I", v), "manager/updateDisplay", "display", TEXTS),
    (lambda c, v: c.user.create(v, "user"), "user/create", "email", TEXTS),
    (lambda c, v: c.user.create("a@b.c", v), "user/create", "role", TEXTS),
    (lambda c, v: c.user.remove(v), "user/remove", "id", TEXTS),
    (lambda c, v: c.user.remove(email=v), "user/remove", "email", TEXTS),
    (lambda c, v: c.user.update(v), "user/update", "id", OTHER_TEXTS),
    (lambda c, v: c.user.update_role(v, "user"), "user/updateRole", "id", TEXTS),
    (lambda c, v: c.user.update_role("I", v), "user/updateRole", "role", TEXTS),
    (lambda c, v: c.builder.device.claim(v, "T", "A"), "device/claim", "id", TEXTS),
    (lambda c, v: c.builder.device.claim("D", v, "A"), "device/claim", "cloudToken", TEXTS),
    (lambda c, v: c.builder.device.claim("D", "T", v), "device/claim", "accountId", TEXTS),
    (lambda c, v: c.builder.device.get(v), "device/get", "id", TEXTS),
    (lambda c, v: c.builder.device.lookup(v), "device/lookup", "product", TEXTS),
    (lambda c, v: c.builder.device.release(v), "device/release", "id", TEXTS),
    (lambda c, v: c.builder.device.remove(v), "device/remove", "id", TEXTS),
    (lambda c, v: c.builder.device.remove_all(v), "device/removeAll", "productId", TEXTS),
    # Optional texts.
    (lambda c, v: c.account.close(v), "account/close", "id", OTHER_TEXTS | {"empty": ""}),
    (lambda c, v: c.account.get(v), "account/get", "id", OTHER_TEXTS | {"empty": ""}),
    (lambda c, v: c.account.get(index=v), "account/get", "index", OTHER_TEXTS),
    (lambda c, v: c.account.find(email=v), "account/find", "email", OTHER_TEXTS),
    (lambda c, v: c.account.update_identity(v, name="N"), "account/updateIdentity", "id", OTHER_TEXTS),
    (lambda c, v: c.account.update_identity(email=v), "account/updateIdentity", "email", OTHER_TEXTS),
    (lambda c, v: c.dashboard.create("N", layout=v), "dashboard/create", "layout", OTHER_TEXTS),
    (lambda c, v: c.dashboard.update("I", name=v), "dashboard/update", "name", OTHER_TEXTS),
    (lambda c, v: c.file.get_signed_url(command=v), "file/getSignedUrl", "command", OTHER_TEXTS),
    (lambda c, v: c.file.list(account_id=v), "file/list", "accountId", OTHER_TEXTS | {"empty": ""}),
    (lambda c, v: c.file.put("a", b"", mime_type=v), "file/put", "mimeType", OTHER_TEXTS),
    (lambda c, v: c.manager.get(v), "manager/get", "id", OTHER_TEXTS | {"empty": ""}),
    (lambda c, v: c.manager.get_signed_url(filename=v), "manager/getSignedUrl", "filename", OTHER_TEXTS),
    (lambda c, v: c.manager.update("I", domain=v), "manager/update", "domain", OTHER_TEXTS),
    (lambda c, v: c.user.get(v), "user/get", "id", OTHER_TEXTS | {"empty": ""}),
    (lambda c, v: c.user.find(email=v), "user/find", "email", OTHER_TEXTS),
    (lambda c, v: c.user.login(invite=v), "user/login", "invite", OTHER_TEXTS),
    (lambda c, v: c.user.update("I", first=v), "user/update", "first", OTHER_TEXTS),
    (lambda c, v: c.builder.device.find(cloud_id=v), "device/find", "cloudId", OTHER_TEXTS),
    (lambda c, v: c.device.find(id=v), "device/find", "id", OTHER_TEXTS),
    (lambda c, v: c.device.find(product_id=v), "device/find", "productId", OTHER_TEXTS),
    (lambda c, v: c.device.find(account_id=v), "device/find", "accountId", OTHER_TEXTS),
    (lambda c, v: c.metric.value("D", "m", account_id=v), "metric/fetch", "accountId", OTHER_TEXTS),
    (lambda c, v: c.metric.value("D", "m", cloud_id=v), "metric/fetch", "cloud_id", {"empty": "", "number": 5}),
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
    (lambda c, v: c.account.find(limit=v), "account/find", "limit", NUMBERS | {"zero": 0, "half": 0.5}),
    (lambda c, v: c.dashboard.create("N", refresh=v), "dashboard/create", "refresh", NUMBERS),
    (lambda c, v: c.alert.update("I", resolved=v), "alert/update", "resolved", {"text": "true", "number": 1}),
    (lambda c, v: c.dashboard.update("I", live=v), "dashboard/update", "live", {"text": "true", "number": 1}),
    (lambda c, v: c.manager.get_signed_url(clean=v), "manager/getSignedUrl", "clean", {"text": "true", "number": 1}),
    (lambda c, v: c.user.login(register=v), "user/login", "register", {"text": "true", "number": 1}),
    (lambda c, v: c.user.create("a@b.c", "user", send_invite=v), "user/create", "sendInvite", {"number": 1}),
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
        lambda c, v: c.metric.value("D", "m", period=v),
        "metric/fetch",
        "period",
        NUMBERS | {"zero": 0, "negative": -300, "None": None, "no time": timedelta(0)},
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
    (
        lambda c, v: c.metric.series("D", "m", start=v),
        "metric/fetch",
        "start",
        {"naive": datetime(2024, 1, 1), "number": 5, "text": WHEN_ISO, "list": []},
    ),
    (
        lambda c, v: c.dashboard.create("N", range=Range(start=v)),
        "dashboard/create",
        "range.start",
        {"naive": datetime(2024, 1, 1)},
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
    (lambda c, v: c.metric.value("D", "m", dimensions={"colour": v}), "metric/fetch", "dimensions.colour", UNFIT),
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
    (lambda c, v: c.user.update("I", preferences={"colour": v}), "user/update", "preferences.colour", UNFIT),
    (lambda c, v: c.dashboard.create("N", css=[v]), "dashboard/create", "css[0]", UNFIT),
    (
        lambda c, v: c.dashboard.create("N", widgets=[{}, Widget(options={"colour": v})]),
        "dashboard/create",
        "widgets[1].options.colour",
        UNFIT,
    ),
    (lambda c, v: c.file.list({"colour": v}), "file/list", "colour", UNFIT),
    (lambda c, v: c.builder.test.echo({"colour": v}), "test/echo", "colour", UNFIT),
    # What is no mapping, no list, or no bytes.
    (lambda c, v: c.file.put("a", v), "file/put", "data", {"text": "AP8=", "None": None, "list": [1]}),
    (lambda c, v: c.file.list(v), "file/list", "filters", {"list": [("a", 1)], "text": "abc"}),
    (lambda c, v: c.user.update("I", preferences=v), "user/update", "preferences", {"list": [1], "text": "x"}),
    (lambda c, v: c.dashboard.create("N", range=v), "dashboard/create", "range", {"list": [1], "text": "x"}),
    (lambda c, v: c.dashboard.create("N", css=v), "dashboard/create", "css", {"text": "x", "mapping": {}}),
    (lambda c, v: c.dashboard.update("I", widgets=v), "dashboard/update", "widgets", {"text": "x", "mapping": {}}),
    (
        lambda c, v: c.dashboard.update("I", widgets=[{}, v]),
        "dashboard/update",
        "widgets[1]",
        {"text": "x", "number": 1, "None": None, "range": Range()},
    ),
    (lambda c, v: c.manager.update("I", users=v), "manager/update", "users", {"text": "a@b.c", "mapping": {}}),
    (
        lambda c, v: c.builder.metric.fetch(v),
        "metric/fetch",
        "items",
        {"mapping inside": [{"metric": "m"}], "text inside": ["m"], "number": 5},
    ),
    (lambda c, v: c.builder.test.empty(v), "test/empty", "fields", {"list": [("a", 1)], "text": "abc"}),
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
    (
        lambda c, v: c.metric.series("D", "m", dimensions=v),
        "metric/fetch",
        "dimensions",
        {"list": [1], "text": "x", "number": 5},
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


@each_row(
    "operation, field, name, call, value",
    [(operation, field, name, call, value) for call, operation, field, values in BAD for name, value in values.items()],
)
async def test_a_bad_argument_is_refused_by_name_before_anything_is_sent(
    cloud: Cloud,
    client: IotoClient,
    operation: str,
    field: str,
    name: str,
    call: Callable[[IotoClient, Any], Awaitable[object]],
    value: object,
) -> None:
    cloud.begin(ANY)
    with pytest.raises(InvalidArgumentError) as refused:
        await call(client, value)
    assert cloud.sent == []
    assert operation in str(refused.value)
    assert field in str(refused.value).replace(operation, "")


@each_row("name, make", [("circle", _circle), ("300 levels", lambda: _deep(300)), ("5000 levels", lambda: _deep(5000))])
async def test_a_value_without_an_end_is_refused(
    cloud: Cloud, client: IotoClient, name: str, make: Callable[[], object]
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"generic/create"):
        await client.generic.create("M", {"v": make()})
    assert cloud.sent == []


async def test_a_date_beyond_the_calendar_in_utc_is_refused(cloud: Cloud, client: IotoClient) -> None:
    late = datetime.max.replace(tzinfo=timezone(timedelta(hours=-3)))
    with pytest.raises(InvalidArgumentError, match=r"generic/create.*when"):
        await client.generic.create("M", {"when": late})
    assert cloud.sent == []


@each_row(
    "text, call",
    [
        ("cloud token", lambda c: c.builder.device.claim("D", b"SECRET", "A")),
        ("text of a cloud token", lambda c: c.builder.device.claim("D", f"SECRET{LONE_SURROGATE}", "A")),
        ("data", lambda c: c.file.put("a", "SECRET")),
        ("context", lambda c: c.action.invoke("Run", context="SECRET")),
        ("product of register", lambda c: c.builder.device.register("D", b"SECRET")),
        ("product of update", lambda c: c.provision.update("D", b"SECRET", "1.0.0")),
        ("key", lambda c: c.builder.device.register("D", "P", properties={"key": f"SECRET{LONE_SURROGATE}"})),
    ],
)
async def test_a_refused_text_is_not_shown(client: IotoClient, text: str, call: Call) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await call(client)
    assert "SECRET" not in str(refused.value)
