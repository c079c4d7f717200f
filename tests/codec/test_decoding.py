"""What replies are decoded to: records, lists, dates, failures; and that nothing gets lost on the way."""

import asyncio
import copy
import itertools
import json
import pickle
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ioto_async import (
    DecodeError,
    DeviceBlockedError,
    InBandError,
    InvalidArgumentError,
    IotoClient,
    IotoError,
    MetricQuery,
    NotFoundError,
)
from ioto_async.codec.decoding import anything, nothing, paged, plain, record, result, string, whole_number
from ioto_async.codec.reading import Reading
from ioto_async.codec.records import epoch_ms
from ioto_async.models import (
    Account,
    Action,
    ActionResult,
    Certificates,
    Credentials,
    Dashboard,
    Device,
    File,
    Item,
    Login,
    Manager,
    Metric,
    MetricList,
    NewAccount,
    Page,
    Point,
    Range,
    Registration,
    StoreItem,
    UpdateOffer,
    User,
    Widget,
    WidgetAction,
)
from ioto_async.operations import IOTO
from tests.mocked import ACCOUNT, API, TOKEN, Cloud
from tests.records import RECORDS, least, scalars, wire_names
from tests.rows import each_row

OPERATION = IOTO["device/get"]
STRICT = Reading(strict=True)
SECRET = "SECRET-do-not-show"

Call = Callable[[IotoClient], Awaitable[Any]]
METHODS: dict[str, Call] = {
    "action.find": lambda c: c.action.find("C"),
    "action.get": lambda c: c.action.get("C", "metric"),
    "action.invoke": lambda c: c.action.invoke("Run"),
    "device.claim": lambda c: c.device.claim("D"),
    "device.find": lambda c: c.device.find(),
    "device.get": lambda c: c.device.get("D"),
    "device.get_creds": lambda c: c.device.get_creds(),
    "device.get_signed_url": lambda c: c.device.get_signed_url(),
    "device.provision": lambda c: c.device.provision("D"),
    "device.release": lambda c: c.device.release("D"),
    "generic.create": lambda c: c.generic.create("M"),
    "generic.find": lambda c: c.generic.find("M"),
    "generic.get": lambda c: c.generic.get("M"),
    "generic.remove": lambda c: c.generic.remove("M"),
    "generic.update": lambda c: c.generic.update("M"),
    "metric.fetch": lambda c: c.metric.fetch("D", [MetricQuery("m")]),
    "metric.get_device_schema": lambda c: c.metric.get_device_schema(),
    "metric.get_metric_list": lambda c: c.metric.get_metric_list("C"),
    "provision.get_certs": lambda c: c.provision.get_certs("D"),
    "provision.update": lambda c: c.provision.update("D", "P", "1.0.0"),
    "provision.update_report": lambda c: c.provision.update_report("D", "U", success=True),
    "store.get": lambda c: c.store.get("D", "k"),
    "store.set": lambda c: c.store.set("D", "k", 1),
    "store.remove": lambda c: c.store.remove("D", "k"),
    "store.find": lambda c: c.store.find("D"),
    "account.close": lambda c: c.account.close(),
    "account.create": lambda c: c.account.create("a@b.c", "A"),
    "account.find": lambda c: c.account.find(),
    "account.get": lambda c: c.account.get(),
    "account.update_identity": lambda c: c.account.update_identity(name="B"),
    "alert.find": lambda c: c.alert.find(),
    "alert.get": lambda c: c.alert.get("I"),
    "alert.remove": lambda c: c.alert.remove("I"),
    "alert.update": lambda c: c.alert.update("I", resolved=True),
    "dashboard.create": lambda c: c.dashboard.create("N"),
    "dashboard.find": lambda c: c.dashboard.find(),
    "dashboard.get": lambda c: c.dashboard.get("I"),
    "dashboard.remove": lambda c: c.dashboard.remove("I"),
    "dashboard.update": lambda c: c.dashboard.update("I"),
    "device.remove": lambda c: c.device.remove("D"),
    "file.get": lambda c: c.file.get("a"),
    "file.get_signed_url": lambda c: c.file.get_signed_url(),
    "file.list": lambda c: c.file.list(),
    "file.put": lambda c: c.file.put("a", b"x"),
    "file.remove": lambda c: c.file.remove("a"),
    "manager.get": lambda c: c.manager.get(),
    "manager.get_signed_url": lambda c: c.manager.get_signed_url(),
    "manager.provision": lambda c: c.manager.provision("I"),
    "manager.update": lambda c: c.manager.update("I"),
    "manager.update_display": lambda c: c.manager.update_display("I", "{}"),
    "provision.checkin": lambda c: c.provision.checkin(),
    "provision.get_creds": lambda c: c.provision.get_creds(),
    "user.create": lambda c: c.user.create("a@b.c", "user"),
    "user.find": lambda c: c.user.find(),
    "user.get": lambda c: c.user.get(),
    "user.get_roles": lambda c: c.user.get_roles(),
    "user.login": lambda c: c.user.login(),
    "user.remove": lambda c: c.user.remove("I"),
    "user.update": lambda c: c.user.update("I"),
    "user.update_role": lambda c: c.user.update_role("I", "admin"),
    "builder.device.claim": lambda c: c.builder.device.claim("D", "T", "A"),
    "builder.device.find": lambda c: c.builder.device.find(),
    "builder.device.get": lambda c: c.builder.device.get("D"),
    "builder.device.lookup": lambda c: c.builder.device.lookup("P"),
    "builder.device.register": lambda c: c.builder.device.register("D", "P"),
    "builder.device.release": lambda c: c.builder.device.release("D"),
    "builder.device.remove": lambda c: c.builder.device.remove("D"),
    "builder.device.remove_all": lambda c: c.builder.device.remove_all("P"),
    "builder.metric.fetch": lambda c: c.builder.metric.fetch([MetricQuery("m")]),
    "builder.test.echo": lambda c: c.builder.test.echo(),
    "builder.test.empty": lambda c: c.builder.test.empty(),
    "builder.test.exception": lambda c: c.builder.test.exception(),
    "builder.test.success": lambda c: c.builder.test.success(),
}
ONE_RECORD = [
    "account.create",
    "account.get",
    "account.update_identity",
    "action.get",
    "action.invoke",
    "alert.get",
    "alert.update",
    "dashboard.create",
    "dashboard.get",
    "dashboard.update",
    "device.claim",
    "device.get",
    "device.get_creds",
    "device.provision",
    "device.release",
    "device.remove",
    "file.get",
    "file.put",
    "generic.create",
    "generic.get",
    "generic.update",
    "manager.get",
    "manager.provision",
    "manager.update",
    "manager.update_display",
    "metric.get_metric_list",
    "provision.checkin",
    "provision.get_certs",
    "provision.get_creds",
    "provision.update",
    "store.get",
    "store.set",
    "user.create",
    "user.get",
    "user.login",
    "user.update",
    "user.update_role",
    "builder.device.claim",
    "builder.device.get",
    "builder.device.lookup",
    "builder.device.register",
]
LISTS = [
    "account.find",
    "action.find",
    "alert.find",
    "dashboard.find",
    "device.find",
    "file.list",
    "generic.find",
    "store.find",
    "user.find",
    "builder.device.find",
]
GETS = [
    "account.get",
    "action.get",
    "alert.get",
    "dashboard.get",
    "device.get",
    "file.get",
    "generic.get",
    "manager.get",
    "store.get",
    "user.get",
    "builder.device.get",
    "builder.device.lookup",
]
NOTHING = [
    "account.close",
    "alert.remove",
    "dashboard.remove",
    "file.remove",
    "generic.remove",
    "provision.update_report",
    "store.remove",
    "user.remove",
    "builder.device.release",
    "builder.device.remove",
    "builder.test.empty",
    "builder.test.exception",
    "builder.test.success",
]
OBJECTS = ["metric.get_device_schema", "user.get_roles", "builder.test.echo"]
METRICS = ["metric.fetch", "builder.metric.fetch"]
URLS = ["device.get_signed_url", "file.get_signed_url", "manager.get_signed_url"]

# What is legacy warns once in a process, which may be here.
pytestmark = pytest.mark.filterwarnings("ignore:.* is a legacy operation:DeprecationWarning")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        yield cloud


def make_client() -> IotoClient:
    return IotoClient(API, token=TOKEN, account_id=ACCOUNT, environ={})


@pytest.fixture
async def client(cloud: Cloud) -> AsyncIterator[IotoClient]:
    async with make_client() as client:
        yield client


@pytest.fixture
async def strict(client: IotoClient) -> IotoClient:
    return client.with_options(strict=True)


def dumps(value: object) -> bytes:
    """JSON, not by the library that the package uses."""
    return json.dumps(value, ensure_ascii=False).encode()


def device(value: dict[str, Any]) -> Device:
    return record(Device)(OPERATION, dumps({"id": "D"} | value), STRICT)


# Records ----------------------------------------------------------------------------------------------------------

ENVELOPES: dict[str, Callable[[object], object]] = {
    "bare": lambda value: value,
    "in data": lambda value: {"data": value},
    "in data with cursors": lambda value: {"data": value, "next": None, "prev": None, "paged": True},
    "in a list of one": lambda value: {"data": [value]},
    "in data with count and schema": lambda value: {"data": value, "count": 1, "schema": {}},
}


@each_row("method, envelope", itertools.product(ONE_RECORD, ENVELOPES))
async def test_a_record_comes_bare_or_in_an_envelope(
    cloud: Cloud, client: IotoClient, method: str, envelope: str
) -> None:
    cloud.reply = dumps(ENVELOPES[envelope]({"unknown": 1, "name": "n", "id": "I", "key": "k"}))
    found = await METHODS[method](client)
    assert found.extra["unknown"] == 1


@each_row("reply", [b'"three"', b"true", b"{}", b"null", b"1.5"])
async def test_a_number_of_another_type_is_a_mismatch(cloud: Cloud, client: IotoClient, reply: bytes) -> None:
    cloud.reply = reply
    with pytest.raises(DecodeError, match="a whole number"):
        await client.builder.device.remove_all("P")


def test_members_are_named_in_snake_case() -> None:
    found = device({"id": "D", "accountId": "A", "productId": "P", "test": False, "version": "1.0.0"})
    assert found == Device(id="D", account_id="A", product_id="P", test=False, version="1.0.0")


def test_the_type_of_an_item_is_its_model() -> None:
    found = record(Item)(OPERATION, dumps({"_type": "Store", "type": "string", "deviceId": "D"}))
    assert found == Item(type="Store", device_id="D", extra={"type": "string"})


@each_row("cls", RECORDS)
def test_unknown_members_are_kept_and_missing_ones_are_none(cls: type[Any]) -> None:
    unknown = {"unknown": {"a": [None, {}]}, "extra": 1, "account_id": "x"}
    decode = record(cls)
    assert decode(OPERATION, dumps(unknown | least(cls))) == cls(**least(cls), extra=unknown)
    assert decode(OPERATION, dumps(least(cls))) == cls(**least(cls))
    assert decode(OPERATION, dumps(dict.fromkeys(wire_names(cls)) | least(cls))) == cls(**least(cls))


def test_numbers_keep_their_digits_and_whole_ones_their_type() -> None:
    port = record(Certificates)(OPERATION, b'{"port":443.0}').port
    assert (port, type(port)) == (443, int)
    found = record(Point)(OPERATION, b'{"count":9007199254740993,"value":-0.5}')
    assert (found.count, found.value) == (9007199254740993, -0.5)


# Dates ------------------------------------------------------------------------------------------------------------

WHEN = datetime(2024, 1, 23, 2, 3, 57, 62000, tzinfo=UTC)
WHOLE = WHEN.replace(microsecond=0)


DATES: list[tuple[object, datetime]] = [
    ("2024-01-23T02:03:57.062Z", WHEN),
    ("2024-01-23T02:03:57Z", WHOLE),
    ("2024-01-23T02:03:57.062+00:00", WHEN),
    ("2024-01-23T07:33:57+05:30", WHOLE),
    ("2024-01-23T07:33:57.062+05:30", WHEN),
    ("2024-01-22T18:03:57.062-08:00", WHEN),
    ("2024-01-23T02:03:57.062", WHEN),
    ("2024-01-23T02:03:57", WHOLE),
    ("2024-01-23T02:03:57.062000Z", WHEN),
    (1705975437, WHOLE),
    (1705975437.062, WHEN),
    (1705975437062, WHEN),
    (1705975437062.0, WHEN),
    (0, datetime(1970, 1, 1, tzinfo=UTC)),
    (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (-86400, datetime(1969, 12, 31, tzinfo=UTC)),
    (-1_000_000_000_000, datetime(1938, 4, 24, 22, 13, 20, tzinfo=UTC)),
    ("1969-12-31T23:59:59.000Z", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ("1970-01-01T00:00:00.000Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ("9999-12-31T23:59:59.999Z", datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
]


@each_row("wire, date", DATES)
def test_a_date_is_read_in_every_documented_form(wire: object, date: datetime) -> None:
    created = device({"created": wire}).created
    assert created is not None
    assert (created, created.tzinfo) == (date, UTC)


@pytest.fixture
def far_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that lives nine hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_zone")
@each_row("wire", ["2024-01-23T02:03:57", "2024-01-23T02:03:57Z", 1705975437, 1705975437000])
def test_dates_do_not_depend_on_the_zone_of_the_process(wire: object) -> None:
    assert device({"created": wire}).created == WHOLE


@pytest.mark.usefixtures("far_zone")
def test_milliseconds_do_not_depend_on_the_zone_of_the_process() -> None:
    assert epoch_ms(WHOLE) == 1705975437000


NO_DATES: list[object] = [
    "",
    "yesterday",
    "2024-13-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "1705975437",
    True,
    [],
    {},
    1e18,
    -1e18,
    1e300,
    2**63,
]


@each_row("wire", NO_DATES)
def test_what_is_no_date_is_a_mismatch_at_its_path(wire: object) -> None:
    with pytest.raises(DecodeError, match="date") as wrong:
        device({"created": wire})
    assert wrong.value.path == "$.created"


@each_row("cls", [Credentials, Item, StoreItem])
def test_an_expiry_is_a_date(cls: type[Any]) -> None:
    assert record(cls)(OPERATION, dumps({"expires": "2024-01-23T02:03:57.062Z"} | least(cls))).expires == WHEN


@each_row("timestamp", [1705975437, 1705975437000])
def test_the_time_of_a_point_is_a_date(timestamp: int) -> None:
    assert record(Point)(OPERATION, dumps({"timestamp": timestamp})).timestamp == WHOLE


# Mismatches -------------------------------------------------------------------------------------------------------

MISMATCHES: list[tuple[type[Any], object, str]] = [
    (Device, {"id": 5}, "$.id"),
    (Device, {"id": [SECRET]}, "$.id"),
    (Device, {"test": SECRET}, "$.test"),
    (Device, {"test": 1}, "$.test"),
    (Device, {"created": SECRET}, "$.created"),
    (Certificates, {"key": {"pem": SECRET}}, "$.key"),
    (Certificates, {"certificate": [SECRET]}, "$.certificate"),
    (Certificates, {"port": SECRET}, "$.port"),
    (Certificates, {"port": 443.5}, "$.port"),
    (Certificates, {"port": True}, "$.port"),
    (Credentials, {"secretAccessKey": [SECRET]}, "$.secretAccessKey"),
    (Credentials, {"sessionToken": {"a": SECRET}, "expires": 0}, "$.sessionToken"),
    (Registration, {"token": [SECRET]}, "$.token"),
    (Registration, {"registered": SECRET}, "$.registered"),
    (Action, {"args": SECRET}, "$.args"),
    (Action, {"poll": SECRET}, "$.poll"),
    (Action, {"poll": False}, "$.poll"),
    (Dashboard, {"widgets": [{}, {"actions": [{"target": [SECRET]}]}]}, "$.widgets[1].actions[0].target"),
    (Dashboard, {"range": {"start": SECRET}}, "$.range.start"),
    (Login, {"user": {"email": [SECRET]}}, "$.user.email"),
    (File, {"data": [SECRET, SECRET]}, "$.data"),
    (Metric, {"points": SECRET}, "$.points"),
    (Metric, {"points": [{}, SECRET]}, "$.points[1]"),
    (Metric, {"points": [{}, {"value": SECRET}]}, "$.points[1].value"),
    (Metric, {"points": [None]}, "$.points[0]"),
    (MetricList, {"metrics": ["a", 5]}, "$.metrics[1]"),
    (MetricList, {"dimensions": [{}, {}, SECRET]}, "$.dimensions[2]"),
    (Device, SECRET, "$"),
    (Device, [SECRET], "$"),
    (Device, None, "$"),
    (Device, {"data": {"created": SECRET}}, "$.data.created"),
    (Device, {"data": [{"created": SECRET}]}, "$.data[0].created"),
    (Device, {"data": SECRET}, "$.data"),
    (Device, {"data": [{"id": "A"}, {"id": "B"}]}, "$.data"),
    (Metric, {"data": {"points": [{"timestamp": SECRET}]}}, "$.data.points[0].timestamp"),
]


@each_row("cls, reply, path", MISMATCHES)
def test_a_mismatch_names_operation_and_path_and_shows_no_text(cls: type[Any], reply: object, path: str) -> None:
    with pytest.raises(DecodeError) as wrong:
        record(cls)(OPERATION, dumps(reply), STRICT)
    assert (wrong.value.operation, wrong.value.path) == ("device/get", path)
    assert f"device/get: reply at {path}: " in str(wrong.value)
    assert SECRET not in f"{wrong.value} {wrong.value!r} {wrong.value.message}"


DEVICE = {"id": "D"}
MISMATCHES_IN_LISTS: list[tuple[object, str]] = [
    ({"data": [DEVICE, DEVICE, DEVICE, {"created": SECRET}]}, "$.data[3].created"),
    ([DEVICE, {"created": SECRET}], "$[1].created"),
    ({"data": [DEVICE, {"id": None}]}, "$.data[1].id"),
    ([{"id": ""}], "$[0].id"),
    ({"data": SECRET}, "$.data"),
    ({"data": {}}, "$.data"),
    ({"data": [DEVICE, None]}, "$.data[1]"),
    ({"data": [], "next": 5}, "$.next"),
    ({"data": [], "next": [SECRET]}, "$.next"),
    ({"data": [], "prev": True}, "$.prev"),
    (SECRET, "$"),
    (5, "$"),
    (None, "$"),
]


@each_row("reply, path", MISMATCHES_IN_LISTS)
async def test_a_mismatch_in_a_list_names_operation_and_path(
    cloud: Cloud, strict: IotoClient, reply: object, path: str
) -> None:
    cloud.reply = dumps(reply)
    with pytest.raises(DecodeError) as wrong:
        await strict.device.find()
    assert (wrong.value.operation, wrong.value.path) == ("device/find", path)
    assert SECRET not in str(wrong.value)


MISMATCHES_IN_METRICS: list[tuple[object, str]] = [
    ([{"points": [{}, {"timestamp": SECRET}]}], "$.data[0].points[1].timestamp"),
    ([{}, {"points": [{}, {}, {"value": SECRET}]}], "$.data[1].points[2].value"),
    ([[{}, {}], [{"points": [{"timestamp": SECRET}]}]], "$.data[1][0].points[0].timestamp"),
    ([[{}], [SECRET]], "$.data[1][0]"),
    ([[{}, {}], SECRET], "$.data[1]"),
]


@each_row("data, path", MISMATCHES_IN_METRICS)
async def test_a_mismatch_in_metrics_names_the_place_in_the_reply(
    cloud: Cloud, strict: IotoClient, data: object, path: str
) -> None:
    cloud.reply = dumps({"data": data})
    with pytest.raises(DecodeError) as wrong:
        await strict.metric.fetch("D", [MetricQuery("m")])
    assert (wrong.value.operation, wrong.value.path) == ("metric/fetch", path)
    assert SECRET not in str(wrong.value)


NO_JSON = {
    "cut off": b'{"key":"SECRET-do-not-show"',
    "text": b"SECRET-do-not-show",
    "html": b"<html>SECRET-do-not-show</html>",
    "not utf-8": b"\xff\xfeSECRET-do-not-show",
    "deep": b"[" * 5000 + b"]" * 5000,
}


@each_row("method, name", itertools.product(sorted(METHODS.keys() - set(NOTHING)), NO_JSON))
async def test_what_is_no_json_is_a_decode_error_without_the_text(
    cloud: Cloud, client: IotoClient, method: str, name: str
) -> None:
    cloud.reply = NO_JSON[name]
    with pytest.raises(DecodeError) as wrong:
        await METHODS[method](client)
    assert wrong.value.path == "$"
    assert SECRET not in f"{wrong.value} {wrong.value!r}"


@each_row("method, reply", itertools.product(NOTHING, [b"", b"null", b"{}", b"1", b"<html>", b"\xff"]))
async def test_a_reply_that_is_not_documented_is_ignored(
    cloud: Cloud, client: IotoClient, method: str, reply: bytes
) -> None:
    cloud.reply = reply
    assert await METHODS[method](client) is None


def nested(levels: int) -> str:
    """JSON that orjson reads and does not write again, from 255 levels on; from 1025 on, it does not read it."""
    return '[{"a":' * (levels // 2) + "1" + "}]" * (levels // 2)


DEEP: dict[str, str] = {
    "the whole": "%s",
    "an error": '{"error": %s}',
    "an error of many members": '{"id": "I", "key": "k", "error": %s}',
    "a delay": '{"error": "x", "delay": %s}',
    "unknown members": '{"id": "I", "key": "k", "x": %s}',
    "known members": '{"id": "I", "key": "k", "created": %s, "dimensions": %s, "points": %s, "value": %s, "user": %s}',
    "an element": '{"data": [{"id": "I", "key": "k", "x": %s}, %s]}',
    "a cursor": '{"data": [], "next": {"a": %s}}',
}


@pytest.mark.slow
@each_row("form, levels", itertools.product(DEEP, [300, 1000, 3000]))
async def test_a_reply_that_is_nested_very_deep_is_a_value_or_an_error_of_ours(
    cloud: Cloud, client: IotoClient, form: str, levels: int
) -> None:
    cloud.reply = DEEP[form].replace("%s", nested(levels)).encode()
    for call in METHODS.values():
        try:
            await call(client)
        except IotoError as error:
            assert len(str(error)) < 1000  # noqa: PT017
            assert str(pickle.loads(pickle.dumps(copy.copy(error)))) == str(error)  # noqa: PT017


async def test_a_cursor_that_could_not_be_sent_back_is_a_decode_error(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = DEEP["a cursor"].replace("%s", nested(300)).encode()
    with pytest.raises(DecodeError, match="too deep") as wrong:
        await client.device.find()
    assert wrong.value.path == "$.next"


# Lists ------------------------------------------------------------------------------------------------------------


@each_row("method, in_envelope", itertools.product(LISTS, [True, False]))
async def test_a_list_comes_in_an_envelope_or_bare(
    cloud: Cloud, client: IotoClient, method: str, in_envelope: bool
) -> None:
    items = [{"x": number, "id": "I", "key": "k"} for number in (1, 2)]
    cloud.reply = dumps({"data": items} if in_envelope else items)
    page = await METHODS[method](client)
    assert [item.extra["x"] for item in page.items] == [1, 2]


@each_row(
    "direction, cursor",
    itertools.product(["next", "prev"], ["abc", "null", '{"pk":"x"}', {"pk": "d#A", "sk": "d#B"}, {"n": None}]),
)
async def test_a_cursor_is_given_back_as_it_came(
    cloud: Cloud, client: IotoClient, direction: str, cursor: object
) -> None:
    cloud.reply = dumps({"data": [], direction: cursor})
    assert getattr(await client.device.find(), direction) == cursor


@each_row("direction, cursor", itertools.product(["next", "prev"], [None, "", {}]))
async def test_an_empty_cursor_is_none(cloud: Cloud, client: IotoClient, direction: str, cursor: object) -> None:
    cloud.reply = dumps({"data": [], direction: cursor})
    assert getattr(await client.device.find(), direction) is None


NESTINGS: dict[str, list[Any]] = {
    "flat": [{"metric": "a"}, {"metric": "b"}],
    "nested once": [[{"metric": "a"}, {"metric": "b"}]],
    "nested by request": [[{"metric": "a"}], [{"metric": "b"}]],
    "mixed": [[{"metric": "a"}], [], {"metric": "b"}],
}


@each_row("method, envelope, nesting", itertools.product(METRICS, [True, False], NESTINGS))
async def test_metrics_come_flat_or_nested(
    cloud: Cloud, client: IotoClient, method: str, envelope: bool, nesting: str
) -> None:
    data = NESTINGS[nesting]
    cloud.reply = dumps({"data": data} if envelope else data)
    assert [metric.metric for metric in await METHODS[method](client)] == ["a", "b"]


# Empty replies ----------------------------------------------------------------------------------------------------

EMPTY = [b"", b" \n", b"null", b"{}", b"{ }", b'{"data":null}', b'{"data":{}}', b'{"data":[]}']


@each_row("method, reply", itertools.product(GETS, EMPTY))
async def test_an_empty_reply_to_a_get_is_not_found(
    cloud: Cloud, client: IotoClient, method: str, reply: bytes
) -> None:
    cloud.reply = reply
    with pytest.raises(NotFoundError) as missing:
        await METHODS[method](client)
    assert missing.value.status == 200
    assert missing.value.operation.endswith(("/get", "/lookup"))


NEVER_EMPTY = [
    "device.provision",
    "provision.get_certs",
    "device.get_creds",
    "user.login",
    "account.create",
    "builder.device.remove_all",
    *URLS,
    *OBJECTS,
    *LISTS,
]


@each_row("method", NEVER_EMPTY)
async def test_an_empty_body_is_a_decode_error_where_a_reply_is_documented(
    cloud: Cloud, client: IotoClient, method: str
) -> None:
    cloud.reply = b""
    with pytest.raises(DecodeError, match="empty"):
        await METHODS[method](client)


# Replies as a whole -----------------------------------------------------------------------------------------------

DASHBOARD = {
    "id": "D",
    "widgetCss": [".a"],
    "range": {"start": "2024-01-23T02:03:57.062Z"},
    "widgets": [
        {
            "id": "w",
            "defaultValue": "7",
            "actions": [{"type": "url", "target": "https://x.example", "conditions": ["a > 1"]}],
            "range": {"period": 60},
            "mine": 1,
        },
        {},
    ],
}
POINTS = [
    {"value": None, "timestamp": 1705975437000, "count": 0},
    {"value": 4.2, "timestamp": 1705975437, "max": 5},
]
SCHEMA = {"version": "0.0.1", "models": {"Store": {}}}
SHORT: list[tuple[str, bytes, object]] = [
    ("file.get", b'{"data":"AP8="}', File(data="AP8=")),
    ("file.get", b'{"data":{"data":"AP8="}}', File(data="AP8=")),
    ("builder.device.remove_all", b"3", 3),
    ("builder.device.remove_all", b"0", 0),
    ("builder.device.remove_all", b'{"data":3}', 3),
    ("builder.device.remove_all", b"3.0", 3),
    ("provision.update", b"", UpdateOffer()),
    ("provision.update", b"\n", UpdateOffer()),
    ("provision.update", b"{}", UpdateOffer()),
    ("provision.checkin", b"", UpdateOffer()),
    ("provision.checkin", b"\n", UpdateOffer()),
    ("provision.checkin", b"{}", UpdateOffer()),
    ("file.put", b"", File()),
    ("file.put", b"{}", File()),
    ("action.invoke", b"", ActionResult()),
    ("action.invoke", b"{}", ActionResult()),
]
RESULTS: dict[str, tuple[Call, object, object]] = {
    **{f"{method} {reply!r}": (METHODS[method], reply, result) for method, reply, result in SHORT},
    **{
        f"{method} {envelope}": (METHODS[method], ENVELOPES[envelope](SCHEMA), SCHEMA)
        for method, envelope in itertools.product(OBJECTS, ["bare", "in data"])
    },
    "a sign-in": (
        METHODS["user.login"],
        {"account": {"id": "A"}, "manager": {"id": "M", "certArn": "R"}, "roles": {"x": 1}, "user": {"id": "U"}},
        Login(account=Account(id="A"), manager=Manager(id="M", cert_arn="R"), roles={"x": 1}, user=User(id="U")),
    ),
    "a new account and its first user": (
        METHODS["account.create"],
        {"account": {"id": "A"}, "user": {"id": "U", "role": "owner"}},
        NewAccount(account=Account(id="A"), user=User(id="U", role="owner")),
    ),
    "a dashboard and its parts": (
        METHODS["dashboard.get"],
        DASHBOARD,
        Dashboard(
            id="D",
            widget_css=[".a"],
            range=Range(start=WHEN),
            widgets=[
                Widget(
                    id="w",
                    default_value="7",
                    actions=[WidgetAction(type="url", target="https://x.example", conditions=["a > 1"])],
                    range=Range(period=60),
                    extra={"mine": 1},
                ),
                Widget(),
            ],
        ),
    ),
    "a member data beside others is no envelope": (
        METHODS["generic.get"],
        {"_type": "Log", "data": {"a": 1}},
        Item(type="Log", extra={"data": {"a": 1}}),
    ),
    "an item may have the members of a failure": (
        METHODS["generic.get"],
        {"_type": "Log", "error": "disk full", "delay": 5},
        Item(type="Log", extra={"error": "disk full", "delay": 5}),
    ),
    "the other members of an envelope": (
        METHODS["device.find"],
        {"data": [], "next": "n", "paged": True, "count": 3},
        Page(items=[], next="n", extra={"paged": True, "count": 3}),
    ),
    "the order of a page": (
        METHODS["device.find"],
        {"data": [{"id": str(number)} for number in range(50)]},
        Page(items=[Device(id=str(number)) for number in range(50)]),
    ),
    "a metric and its points": (
        METHODS["metric.fetch"],
        {"data": [[{"metric": "m", "dimensions": {"Device": "D"}, "points": POINTS, "samples": 12}]]},
        [
            Metric(
                device_id="D",
                metric="m",
                dimensions={"Device": "D"},
                samples=12,
                statistic="avg",
                points=[Point(timestamp=WHOLE, count=0), Point(timestamp=WHOLE, value=4.2, extra={"max": 5})],
            )
        ],
    ),
    "a metric that failed leaves the others": (
        lambda c: c.metric.fetch("D", [MetricQuery("a"), MetricQuery("b")]),
        {"data": [{"metric": "a", "error": "no such thing"}, {"metric": "b", "points": []}]},
        [
            Metric(device_id="D", metric="a", statistic="avg", error="no such thing"),
            Metric(device_id="D", metric="b", statistic="avg", points=[]),
        ],
    ),
    "an unclaimed device": (METHODS["builder.device.register"], {"registered": True}, Registration(registered=True)),
    "why there is no update": (
        METHODS["provision.update"],
        {"message": "up to date"},
        UpdateOffer(message="up to date"),
    ),
    "a delay alone beside another member": (
        METHODS["device.provision"],
        {"delay": 5, "endpoint": "mqtt.example"},
        Certificates(endpoint="mqtt.example", extra={"delay": 5}),
    ),
    "an automation whose last run failed": (
        METHODS["action.get"],
        {"id": "A", "type": "metric", "error": "the last run failed"},
        Action(id="A", type="metric", error="the last run failed"),
    ),
    "an automation of which only the error of the last run is known": (
        METHODS["action.get"],
        {"id": "A", "error": "last time"},
        Action(id="A", error="last time"),
    ),
    "an error of the context": (
        METHODS["action.invoke"],
        {"name": "Run", "context": {"error": "old"}},
        ActionResult(name="Run", context={"error": "old"}),
    ),
    **{
        f"an error without content: {error}": (
            METHODS["action.invoke"],
            {"error": error, "name": "Run"},
            ActionResult(name="Run", extra={"error": error}),
        )
        for error in (None, "", False)
    },
}


@each_row("call, reply, result", RESULTS)
async def test_a_reply_becomes_what_is_documented(
    cloud: Cloud, client: IotoClient, call: Call, reply: object, result: object
) -> None:
    cloud.reply = reply if isinstance(reply, bytes) else dumps(reply)
    assert await call(client) == result


# A signed URL -----------------------------------------------------------------------------------------------------


@each_row("method, url", itertools.product(URLS, ["https://files.example/a?X-Amz=%2F&b=c", "", "é"]))
async def test_a_signed_url_is_a_json_string(cloud: Cloud, client: IotoClient, method: str, url: str) -> None:
    cloud.reply = dumps(url)
    assert await METHODS[method](client) == url


@each_row("method, reply", itertools.product(URLS, [{"url": SECRET}, [SECRET], None, 5, True]))
async def test_a_signed_url_of_another_type_is_a_mismatch(
    cloud: Cloud, client: IotoClient, method: str, reply: object
) -> None:
    cloud.reply = dumps(reply)
    with pytest.raises(DecodeError, match=r"/getSignedUrl: reply at \$: expected a string") as wrong:
        await METHODS[method](client)
    assert SECRET not in str(wrong.value)


# Failures inside a 200 --------------------------------------------------------------------------------------------

IN_BAND = [
    "account.create",
    "action.invoke",
    "device.provision",
    "device.get_creds",
    "file.put",
    "provision.checkin",
    "provision.get_certs",
    "provision.get_creds",
    "provision.update",
    "user.login",
]


@each_row("method, envelope", itertools.product(IN_BAND, ["bare", "in data"]))
async def test_an_error_inside_a_200_is_raised(cloud: Cloud, client: IotoClient, method: str, envelope: str) -> None:
    cloud.reply = dumps(ENVELOPES[envelope]({"error": "it went wrong", "name": "n"}))
    with pytest.raises(InBandError) as failed:
        await METHODS[method](client)
    assert (failed.value.message, failed.value.status) == ("it went wrong", 200)
    assert not isinstance(failed.value, DeviceBlockedError)


@each_row(
    "reply, delay",
    [
        ({"error": "excess traffic", "delay": 0}, 0),
        ({"error": "excess traffic", "delay": 60}, 60),
        ({"error": "excess traffic", "delay": 1.5}, 1.5),
        ({"delay": 30}, 30),
        ({"delay": "30"}, 30),
        ({"delay": 30.0}, 30),
    ],
)
async def test_a_delay_that_is_a_number_blocks_the_device(
    cloud: Cloud, client: IotoClient, reply: object, delay: float
) -> None:
    cloud.reply = dumps(reply)
    with pytest.raises(DeviceBlockedError) as blocked:
        await client.device.provision("D")
    assert (blocked.value.delay, blocked.value.operation) == (delay, "device/provision")
    assert f"{delay:g} s" in str(blocked.value)


@each_row("call", METHODS)
async def test_a_function_that_has_crashed_is_no_success(cloud: Cloud, client: IotoClient, call: Call) -> None:
    cloud.reply = dumps({"errorMessage": "boom", "errorType": "Error", "trace": ["Error: boom", "at x"]})
    with pytest.raises(InBandError, match="200 boom"):
        await call(client)


@each_row("reply", [{"error": "Cannot find device"}, {"errorMessage": "Cannot find device", "errorType": "Error"}])
async def test_a_read_whose_reply_says_that_nothing_is_there_is_not_found(
    cloud: Cloud, client: IotoClient, reply: dict[str, str]
) -> None:
    cloud.reply = dumps(reply)
    with pytest.raises(NotFoundError, match=r"^device/get: 200 Cannot find device$"):
        await client.device.get("D")
    for call in (client.device.claim("D"), client.action.invoke("Run")):
        with pytest.raises(InBandError):
            await call


@each_row("delay", [None, True, "soon", [], {}, "nan", "inf"])
async def test_a_delay_that_is_no_number_is_not_taken_for_one(cloud: Cloud, client: IotoClient, delay: object) -> None:
    cloud.reply = dumps({"error": "excess traffic", "delay": delay})
    with pytest.raises(InBandError) as failed:
        await client.device.provision("D")
    assert not isinstance(failed.value, DeviceBlockedError)


@each_row("call", METHODS)
async def test_a_reply_that_is_nothing_but_an_error_raises(cloud: Cloud, client: IotoClient, call: Call) -> None:
    cloud.reply = dumps({"error": "boom"})
    with pytest.raises(InBandError, match="boom"):
        await call(client)


@each_row(
    "error, message",
    [
        ({"code": 5}, '{"code":5}'),
        (7, "7"),
        (True, "true"),
        ([[]], "[[]]"),
        (["a", "b"], "a; b"),
        ({"code": 5, "message": "it broke"}, "it broke"),
        ('{"Message": "it broke"}', "it broke"),
    ],
)
async def test_an_error_that_is_no_text_is_raised_all_the_same(
    cloud: Cloud, client: IotoClient, error: object, message: str
) -> None:
    cloud.reply = dumps({"error": error})
    with pytest.raises(InBandError) as failed:
        await client.action.invoke("Run")
    assert failed.value.message == message


async def test_the_spelling_of_a_member_name_does_not_hide_an_error(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = b'{"\\u0065rror":"it went wrong"}'
    with pytest.raises(InBandError):
        await client.action.invoke("Run")


async def test_the_text_of_an_error_is_one_line(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"error": "first\r\nsecond\x1b[31m"})
    with pytest.raises(InBandError) as failed:
        await client.action.invoke("Run")
    assert failed.value.message.isprintable()


async def test_the_text_of_an_error_has_500_characters_at_most(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"error": "x" * 5000})
    with pytest.raises(InBandError) as failed:
        await client.action.invoke("Run")
    assert len(failed.value.message) == 500


async def test_the_text_of_an_error_does_not_repeat_the_token(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"error": f"token {TOKEN} is not allowed"})
    with pytest.raises(InBandError) as failed:
        await client.action.invoke("Run")
    assert TOKEN not in f"{failed.value} {failed.value!r}"


async def test_a_blocked_device_s_error_does_not_show_other_members(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"error": "excess traffic", "delay": 5, "key": SECRET, "certificate": SECRET})
    with pytest.raises(DeviceBlockedError) as blocked:
        await client.device.provision("D")
    assert SECRET not in f"{blocked.value} {blocked.value!r} {blocked.value.__dict__}"


# Requests ---------------------------------------------------------------------------------------------------------


def test_a_time_in_milliseconds_is_rounded_down() -> None:
    assert epoch_ms(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == -1


def test_a_time_in_milliseconds_needs_a_zone() -> None:
    with pytest.raises(InvalidArgumentError, match="time zone"):
        epoch_ms(datetime(2024, 1, 1))


# Properties -------------------------------------------------------------------------------------------------------

DECODERS: dict[str, Callable[[Any, bytes], object]] = {
    **{f"record {cls.__name__}": record(cls) for cls in RECORDS},
    **{f"list {cls.__name__}": paged(cls) for cls in RECORDS},
    **{f"result {cls.__name__}": result(cls) for cls in (ActionResult, Certificates, Login, Registration)},
    "found": record(Device, must_exist=True),
    "may be empty": result(UpdateOffer, may_be_empty=True),
    "nested": paged(Metric, nested=True),
    "anything": anything,
    "plain": plain,
    "string": string,
    "nothing": nothing,
    "whole number": whole_number,
}
NAMES = sorted({name for cls in RECORDS for name in wire_names(cls)} | {"data", "next", "prev", "error", "delay"})
likely = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


def _try_every_decoder(body: bytes) -> None:
    for name, decode in DECODERS.items():
        try:
            decode(OPERATION, body)
        except (DecodeError, InBandError, NotFoundError) as expected:
            assert expected.operation == "device/get", name  # noqa: PT017


@settings(max_examples=100)
@given(st.binary(max_size=60))
@example(b"\xef\xbb\xbf{}")
@example(b"1e400")
@example(b'{"created":1e308,"port":1e308}')
@example(b"NaN")
def test_arbitrary_bytes_are_decoded_or_refused(body: bytes) -> None:
    _try_every_decoder(body)


@settings(max_examples=200)
@given(likely)
@example({"error": "x", "delay": 2**64 - 1})
@example({"error": "x", "delay": 1e308})
@example({"data": [[[]]]})
@example({"data": {"data": {"data": None}}})
def test_arbitrary_json_is_decoded_or_refused(value: object) -> None:
    _try_every_decoder(dumps(value))


@settings(max_examples=6)
@given(likely)
def test_no_method_raises_anything_else_on_arbitrary_json(value: object) -> None:
    async def run() -> None:
        async with make_client() as client:
            for call in METHODS.values():
                try:
                    await call(client)
                except (DecodeError, InBandError, NotFoundError) as expected:
                    assert expected.attempts == 1  # noqa: PT017

    with Cloud(dumps(value)):
        asyncio.run(run())


@settings(max_examples=100)
@given(
    st.recursive(
        st.just(SECRET) | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
        max_leaves=8,
    )
)
def test_no_decode_error_shows_text_of_the_reply(value: object) -> None:
    for decode in DECODERS.values():
        try:
            decode(OPERATION, dumps(value))
        except (DecodeError, NotFoundError) as wrong:
            assert SECRET not in f"{wrong} {wrong!r} {wrong.__dict__}"  # noqa: PT017
        except InBandError:
            pass  # its text is the service's own
