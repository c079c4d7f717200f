"""What replies are decoded to: records, lists, dates, failures; and that nothing gets lost on the way."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from types import UnionType
from typing import Any, Union, get_args, get_origin

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mocked import ACCOUNT, API, TOKEN, Cloud

from ioto_async import (
    DecodeError,
    DeviceBlockedError,
    InBandError,
    InvalidArgumentError,
    IotoClient,
    MetricQuery,
    NotFoundError,
)
from ioto_async.converter import converter, epoch_ms
from ioto_async.decoding import nothing, paged, plain, record, result, string
from ioto_async.encoding import body as encode
from ioto_async.models import (
    Action,
    ActionResult,
    Certificates,
    Credentials,
    Device,
    Item,
    Metric,
    MetricList,
    Point,
    Registration,
    StoreItem,
    UpdateOffer,
)
from ioto_async.operations import IOTO

OPERATION = IOTO["device/get"]
SECRET = "SECRET-do-not-show"

RECORDS: list[type[Any]] = [
    Action,
    ActionResult,
    Certificates,
    Credentials,
    Device,
    Item,
    Metric,
    MetricList,
    Point,
    Registration,
    StoreItem,
    UpdateOffer,
]
every_record = pytest.mark.parametrize("cls", RECORDS)

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
    "builder.device.register": lambda c: c.builder.device.register("D", "P"),
}
ONE_RECORD = [
    "action.get",
    "action.invoke",
    "device.claim",
    "device.get",
    "device.get_creds",
    "device.provision",
    "device.release",
    "generic.create",
    "generic.get",
    "generic.update",
    "metric.get_metric_list",
    "provision.get_certs",
    "provision.update",
    "store.get",
    "store.set",
    "builder.device.register",
]
LISTS = ["action.find", "device.find", "generic.find", "store.find"]
GETS = ["action.get", "device.get", "generic.get", "store.get"]
NOTHING = ["generic.remove", "provision.update_report", "store.remove"]


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


def dumps(value: object) -> bytes:
    """JSON, not by the library that the package uses."""
    return json.dumps(value, ensure_ascii=False).encode()


def device(value: object) -> Device:
    return record(Device)(OPERATION, dumps(value))


# Records ----------------------------------------------------------------------------------------------------------

ENVELOPES: dict[str, Callable[[object], object]] = {
    "bare": lambda value: value,
    "in data": lambda value: {"data": value},
    "in data with cursors": lambda value: {"data": value, "next": None, "prev": None, "paged": True},
    "in a list of one": lambda value: {"data": [value]},
    "in data with count and schema": lambda value: {"data": value, "count": 1, "schema": {}},
}


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("method", ONE_RECORD)
async def test_a_record_comes_bare_or_in_an_envelope(
    cloud: Cloud, client: IotoClient, method: str, envelope: str
) -> None:
    cloud.reply = dumps(ENVELOPES[envelope]({"unknown": 1, "name": "n"}))
    found = await METHODS[method](client)
    assert found.extra["unknown"] == 1


@pytest.mark.parametrize("envelope", ["bare", "in data"])
async def test_the_schema_comes_bare_or_in_an_envelope(cloud: Cloud, client: IotoClient, envelope: str) -> None:
    cloud.reply = dumps(ENVELOPES[envelope]({"version": "0.0.1", "models": {"Store": {}}}))
    assert await client.metric.get_device_schema() == {"version": "0.0.1", "models": {"Store": {}}}


async def test_a_member_named_data_beside_others_is_no_envelope(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"_type": "Log", "data": {"a": 1}})
    found = await client.generic.get("Log")
    assert (found.type, found.extra) == ("Log", {"data": {"a": 1}})


def test_members_are_named_in_snake_case() -> None:
    found = device({"id": "D", "accountId": "A", "productId": "P", "test": False, "version": "1.0.0"})
    assert found == Device(id="D", account_id="A", product_id="P", test=False, version="1.0.0")


def test_the_type_of_an_item_is_its_model() -> None:
    found = record(Item)(OPERATION, dumps({"_type": "Store", "type": "string", "deviceId": "D"}))
    assert found == Item(type="Store", device_id="D", extra={"type": "string"})


@every_record
def test_unknown_members_are_kept(cls: type[Any]) -> None:
    found = record(cls)(OPERATION, dumps({"unknown": {"a": [None, {}]}, "extra": 1, "account_id": "x"}))
    assert found == cls(extra={"unknown": {"a": [None, {}]}, "extra": 1, "account_id": "x"})


@every_record
def test_missing_members_are_none(cls: type[Any]) -> None:
    assert record(cls)(OPERATION, b"{}") == cls()


def _wire_names(cls: type[Any]) -> list[str]:
    """The documented members of *cls*, as its own encoding names them."""
    # An attribute of any type can be set: attrs does not check.
    full = cls(**{field.name: 0 for field in attrs.fields(cls) if field.name != "extra"})
    return list(converter.unstructure(full))


@every_record
def test_null_members_are_as_if_missing(cls: type[Any]) -> None:
    assert record(cls)(OPERATION, dumps(dict.fromkeys(_wire_names(cls)))) == cls()


def test_a_whole_number_with_a_fraction_of_zero_is_whole() -> None:
    port = record(Certificates)(OPERATION, b'{"port":443.0}').port
    assert (port, type(port)) == (443, int)


def test_a_count_keeps_its_digits() -> None:
    found = record(Point)(OPERATION, b'{"count":9007199254740993,"value":-0.5}')
    assert (found.count, found.value) == (9007199254740993, -0.5)


# Dates ------------------------------------------------------------------------------------------------------------

WHEN = datetime(2024, 1, 23, 2, 3, 57, 62000, tzinfo=UTC)
WHOLE = WHEN.replace(microsecond=0)


@pytest.mark.parametrize(
    ("wire", "date"),
    [
        ("2024-01-23T02:03:57.062Z", WHEN),
        ("2024-01-23T02:03:57Z", WHOLE),
        ("2024-01-23T02:03:57.062+00:00", WHEN),
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
    ],
)
def test_a_date_is_read_in_every_documented_form(wire: object, date: datetime) -> None:
    assert device({"created": wire}).created == date


@pytest.mark.parametrize("wire", ["2024-01-23T07:33:57+05:30", "2024-01-23T02:03:57", 1705975437, 1705975437062])
def test_a_date_is_in_utc(wire: object) -> None:
    created = device({"created": wire}).created
    assert created is not None
    assert created.tzinfo is UTC


@pytest.fixture
def far_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that lives nine hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_zone")
@pytest.mark.parametrize("wire", ["2024-01-23T02:03:57", "2024-01-23T02:03:57Z", 1705975437, 1705975437000])
def test_a_date_does_not_depend_on_the_zone_of_the_process(wire: object) -> None:
    assert device({"created": wire}).created == WHOLE


@pytest.mark.usefixtures("far_zone")
def test_a_time_in_milliseconds_does_not_depend_on_the_zone_of_the_process() -> None:
    assert epoch_ms(WHOLE) == 1705975437000


@pytest.mark.parametrize(
    "wire",
    [
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
    ],
    ids=ascii,
)
def test_what_is_no_date_is_a_mismatch_at_its_path(wire: object) -> None:
    with pytest.raises(DecodeError, match="date") as wrong:
        device({"created": wire})
    assert wrong.value.path == "$.created"


@pytest.mark.parametrize("cls", [Credentials, Item, StoreItem])
def test_an_expiry_is_a_date(cls: type[Any]) -> None:
    assert record(cls)(OPERATION, b'{"expires":"2024-01-23T02:03:57.062Z"}').expires == WHEN


@pytest.mark.parametrize("timestamp", [1705975437, 1705975437000])
def test_the_time_of_a_point_comes_in_seconds_or_milliseconds(timestamp: int) -> None:
    assert record(Point)(OPERATION, dumps({"timestamp": timestamp})).timestamp == WHOLE


# The documented forms, for times that numbers of seconds and of milliseconds tell apart.
FORMS: dict[str, Callable[[datetime], object]] = {
    "z": lambda date: date.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    "offset of zero": lambda date: date.isoformat(timespec="milliseconds"),
    "offset": lambda date: date.astimezone(timezone(timedelta(hours=-9, minutes=-30))).isoformat(),
    "none": lambda date: date.replace(tzinfo=None).isoformat(),
    "seconds": lambda date: date.timestamp(),
    "milliseconds": lambda date: round(date.timestamp() * 1000),
}
instants = (
    st.datetimes(datetime(1974, 1, 1), datetime(2199, 1, 1)) | st.datetimes(datetime(1900, 1, 1), datetime(1966, 1, 1))
).map(lambda date: date.replace(microsecond=date.microsecond // 1000 * 1000, tzinfo=UTC))


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=40, deadline=None)
@given(date=instants)
def test_any_documented_form_of_a_date_is_the_same_instant(form: str, date: datetime) -> None:
    assert device({"created": FORMS[form](date)}).created == date


# Mismatches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "reply", "path"),
    [
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
    ],
    ids=ascii,
)
def test_a_mismatch_names_operation_and_path_and_shows_no_text(cls: type[Any], reply: object, path: str) -> None:
    with pytest.raises(DecodeError) as wrong:
        record(cls)(OPERATION, dumps(reply))
    assert (wrong.value.operation, wrong.value.path) == ("device/get", path)
    assert f"device/get: reply at {path}: " in str(wrong.value)
    assert SECRET not in f"{wrong.value} {wrong.value!r} {wrong.value.message}"


@pytest.mark.parametrize(
    ("reply", "path"),
    [
        ({"data": [{}, {}, {}, {"created": SECRET}]}, "$.data[3].created"),
        ([{}, {"created": SECRET}], "$[1].created"),
        ({"data": SECRET}, "$.data"),
        ({"data": {}}, "$.data"),
        ({"data": [{}, None]}, "$.data[1]"),
        ({"data": [], "next": 5}, "$.next"),
        ({"data": [], "next": [SECRET]}, "$.next"),
        ({"data": [], "prev": True}, "$.prev"),
        (SECRET, "$"),
        (5, "$"),
        (None, "$"),
    ],
    ids=ascii,
)
async def test_a_mismatch_in_a_list_names_operation_and_path(
    cloud: Cloud, client: IotoClient, reply: object, path: str
) -> None:
    cloud.reply = dumps(reply)
    with pytest.raises(DecodeError) as wrong:
        await client.device.find()
    assert (wrong.value.operation, wrong.value.path) == ("device/find", path)
    assert SECRET not in str(wrong.value)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ([{"points": [{}, {"timestamp": SECRET}]}], "$.data[0].points[1].timestamp"),
        ([{}, {"points": [{}, {}, {"value": SECRET}]}], "$.data[1].points[2].value"),
        ([[{}, {}], [{"points": [{"timestamp": SECRET}]}]], "$.data[1][0].points[0].timestamp"),
        ([[{}], [SECRET]], "$.data[1][0]"),
        ([[{}, {}], SECRET], "$.data[1]"),
    ],
    ids=ascii,
)
async def test_a_mismatch_in_metrics_names_the_place_in_the_reply(
    cloud: Cloud, client: IotoClient, data: object, path: str
) -> None:
    cloud.reply = dumps({"data": data})
    with pytest.raises(DecodeError) as wrong:
        await client.metric.fetch("D", [MetricQuery("m")])
    assert (wrong.value.operation, wrong.value.path) == ("metric/fetch", path)
    assert SECRET not in str(wrong.value)


@pytest.mark.parametrize("method", sorted(METHODS.keys() - set(NOTHING)))
@pytest.mark.parametrize(
    "reply",
    [
        b'{"key":"SECRET-do-not-show"',
        b"SECRET-do-not-show",
        b"<html>SECRET-do-not-show</html>",
        b"\xff\xfeSECRET-do-not-show",
        b'"SECRET-do-not-show\\ud800"',
        b"[" * 5000 + b"]" * 5000,
    ],
    ids=["cut off", "text", "html", "not utf-8", "lone surrogate", "deep"],
)
async def test_what_is_no_json_is_a_decode_error_without_the_text(
    cloud: Cloud, client: IotoClient, method: str, reply: bytes
) -> None:
    cloud.reply = reply
    with pytest.raises(DecodeError) as wrong:
        await METHODS[method](client)
    assert wrong.value.path == "$"
    assert SECRET not in f"{wrong.value} {wrong.value!r}"


@pytest.mark.parametrize("method", NOTHING)
@pytest.mark.parametrize("reply", [b"", b"null", b"{}", b"1", b"<html>", b"\xff"])
async def test_a_reply_that_is_not_documented_is_ignored(
    cloud: Cloud, client: IotoClient, method: str, reply: bytes
) -> None:
    cloud.reply = reply
    assert await METHODS[method](client) is None


# Lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", LISTS)
@pytest.mark.parametrize("reply", [{"data": [{"x": 1}, {"x": 2}]}, [{"x": 1}, {"x": 2}]], ids=["envelope", "array"])
async def test_a_list_comes_in_an_envelope_or_bare(
    cloud: Cloud, client: IotoClient, method: str, reply: object
) -> None:
    cloud.reply = dumps(reply)
    page = await METHODS[method](client)
    assert [item.extra for item in page.items] == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize("cursor", ["abc", "null", '{"pk":"x"}', {"pk": "d#A", "sk": "d#B"}, {"n": None}], ids=ascii)
@pytest.mark.parametrize("direction", ["next", "prev"])
async def test_a_cursor_is_given_back_as_it_came(
    cloud: Cloud, client: IotoClient, direction: str, cursor: object
) -> None:
    cloud.reply = dumps({"data": [], direction: cursor})
    assert getattr(await client.device.find(), direction) == cursor


@pytest.mark.parametrize("cursor", [None, "", {}], ids=ascii)
@pytest.mark.parametrize("direction", ["next", "prev"])
async def test_an_empty_cursor_is_none(cloud: Cloud, client: IotoClient, direction: str, cursor: object) -> None:
    cloud.reply = dumps({"data": [], direction: cursor})
    assert getattr(await client.device.find(), direction) is None


async def test_other_members_of_an_envelope_are_kept(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"data": [], "next": "n", "paged": True, "count": 3})
    assert (await client.device.find()).extra == {"paged": True, "count": 3}


async def test_a_page_keeps_the_order_of_its_records(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"data": [{"id": str(number)} for number in range(50)]})
    page = await client.device.find()
    assert [found.id for found in page.items] == [str(number) for number in range(50)]


@pytest.mark.parametrize(
    "data",
    [
        [{"metric": "a"}, {"metric": "b"}],
        [[{"metric": "a"}, {"metric": "b"}]],
        [[{"metric": "a"}], [{"metric": "b"}]],
        [[{"metric": "a"}], [], {"metric": "b"}],
    ],
    ids=["flat", "nested once", "nested by request", "mixed"],
)
@pytest.mark.parametrize("envelope", [True, False])
async def test_metrics_come_flat_or_nested(
    cloud: Cloud, client: IotoClient, data: list[object], envelope: bool
) -> None:
    cloud.reply = dumps({"data": data} if envelope else data)
    assert [metric.metric for metric in await client.metric.fetch("D", [MetricQuery("m")])] == ["a", "b"]


async def test_a_metric_has_its_points(cloud: Cloud, client: IotoClient) -> None:
    points = [
        {"value": None, "timestamp": 1705975437000, "count": 0},
        {"value": 4.2, "timestamp": 1705975437, "max": 5},
    ]
    cloud.reply = dumps({"data": [[{"metric": "m", "dimensions": {"Device": "D"}, "points": points, "samples": 12}]]})
    assert await client.metric.fetch("D", [MetricQuery("m")]) == [
        Metric(
            metric="m",
            dimensions={"Device": "D"},
            samples=12,
            points=[
                Point(timestamp=WHOLE, count=0),
                Point(timestamp=WHOLE, value=4.2, extra={"max": 5}),
            ],
        )
    ]


async def test_a_metric_that_failed_leaves_the_others(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"data": [{"metric": "a", "error": "no such thing"}, {"metric": "b", "points": []}]})
    failed, fine = await client.metric.fetch("D", [MetricQuery("a"), MetricQuery("b")])
    assert (failed.error, fine.error, fine.points) == ("no such thing", None, [])


# Empty replies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", GETS)
@pytest.mark.parametrize(
    "reply",
    [b"", b" \n", b"null", b"{}", b"{ }", b'{"data":null}', b'{"data":{}}', b'{"data":[]}'],
    ids=ascii,
)
async def test_an_empty_reply_to_a_get_is_not_found(
    cloud: Cloud, client: IotoClient, method: str, reply: bytes
) -> None:
    cloud.reply = reply
    with pytest.raises(NotFoundError) as missing:
        await METHODS[method](client)
    assert missing.value.status == 200
    assert missing.value.operation in ("action/get", "device/get", "generic/get")


@pytest.mark.parametrize("reply", [b"", b"\n", b"{}"], ids=ascii)
async def test_an_empty_reply_to_an_update_check_is_no_offer(cloud: Cloud, client: IotoClient, reply: bytes) -> None:
    cloud.reply = reply
    assert await client.provision.update("D", "P", "1.0.0") == UpdateOffer()


async def test_an_update_check_says_why_there_is_nothing(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"message": "up to date"})
    offer = await client.provision.update("D", "P", "1.0.0")
    assert (offer.url, offer.message) == (None, "up to date")


@pytest.mark.parametrize("reply", [b"", b"{}"], ids=ascii)
async def test_an_empty_reply_to_an_automation_is_a_success(cloud: Cloud, client: IotoClient, reply: bytes) -> None:
    cloud.reply = reply
    assert await client.action.invoke("Run") == ActionResult()


@pytest.mark.parametrize("method", ["device.provision", "provision.get_certs", "device.get_creds", *LISTS])
async def test_an_empty_body_is_a_decode_error_where_a_reply_is_documented(
    cloud: Cloud, client: IotoClient, method: str
) -> None:
    cloud.reply = b""
    with pytest.raises(DecodeError, match="empty"):
        await METHODS[method](client)


async def test_an_unclaimed_device_is_registered_and_no_more(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = b'{"registered":true}'
    assert await client.builder.device.register("D", "P") == Registration(registered=True)


# A signed URL -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["https://files.example/a?X-Amz=%2F&b=c", "", "é"])
async def test_a_signed_url_is_a_json_string(cloud: Cloud, client: IotoClient, url: str) -> None:
    cloud.reply = dumps(url)
    assert await client.device.get_signed_url() == url


@pytest.mark.parametrize("reply", [{"url": SECRET}, [SECRET], None, 5, True], ids=ascii)
async def test_a_signed_url_of_another_type_is_a_mismatch(cloud: Cloud, client: IotoClient, reply: object) -> None:
    cloud.reply = dumps(reply)
    with pytest.raises(DecodeError, match=r"device/getSignedUrl: reply at \$: expected a string") as wrong:
        await client.device.get_signed_url()
    assert SECRET not in str(wrong.value)


# Failures inside a 200 --------------------------------------------------------------------------------------------

IN_BAND = ["action.invoke", "device.provision", "provision.get_certs", "provision.update", "device.get_creds"]


@pytest.mark.parametrize("method", IN_BAND)
@pytest.mark.parametrize("envelope", ["bare", "in data"])
async def test_an_error_inside_a_200_is_raised(cloud: Cloud, client: IotoClient, method: str, envelope: str) -> None:
    cloud.reply = dumps(ENVELOPES[envelope]({"error": "it went wrong", "name": "n"}))
    with pytest.raises(InBandError) as failed:
        await METHODS[method](client)
    assert (failed.value.message, failed.value.status) == ("it went wrong", 200)
    assert not isinstance(failed.value, DeviceBlockedError)


@pytest.mark.parametrize("delay", [0, 60, 1.5])
async def test_a_blocked_device_says_for_how_long(cloud: Cloud, client: IotoClient, delay: float) -> None:
    cloud.reply = dumps({"error": "excess traffic", "delay": delay})
    with pytest.raises(DeviceBlockedError) as blocked:
        await client.device.provision("D")
    assert (blocked.value.delay, blocked.value.operation) == (delay, "device/provision")
    assert f"{delay:g} s" in str(blocked.value)


@pytest.mark.parametrize("delay", [None, True, "soon", [], {}], ids=ascii)
async def test_a_delay_that_is_no_number_is_not_taken_for_one(cloud: Cloud, client: IotoClient, delay: object) -> None:
    cloud.reply = dumps({"error": "excess traffic", "delay": delay})
    with pytest.raises(InBandError) as failed:
        await client.device.provision("D")
    assert not isinstance(failed.value, DeviceBlockedError)


@pytest.mark.parametrize("error", [None, "", False])
async def test_an_error_without_content_is_none(cloud: Cloud, client: IotoClient, error: object) -> None:
    cloud.reply = dumps({"error": error, "name": "Run"})
    assert (await client.action.invoke("Run")).name == "Run"


async def test_a_delay_without_an_error_is_none(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"delay": 5, "endpoint": "mqtt.example"})
    assert (await client.device.provision("D")).extra == {"delay": 5}


@pytest.mark.parametrize("delay", [30, "30", 30.0], ids=ascii)
async def test_a_delay_alone_blocks_the_device(cloud: Cloud, client: IotoClient, delay: object) -> None:
    cloud.reply = dumps({"delay": delay})
    with pytest.raises(DeviceBlockedError) as blocked:
        await client.device.provision("D")
    assert blocked.value.delay == 30


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.device.claim("D"),
        lambda c: c.device.get("D"),
        lambda c: c.device.find(),
        lambda c: c.store.set("D", "k", 1),
        lambda c: c.generic.remove("Store", device_id="D"),
        lambda c: c.metric.fetch("D", [MetricQuery("t")]),
        lambda c: c.metric.get_metric_list("C"),
        lambda c: c.metric.get_device_schema(),
        lambda c: c.provision.update_report("D", "U", success=True),
    ],
    ids=["claim", "get", "find", "set", "remove", "fetch", "list", "schema", "report"],
)
async def test_a_reply_that_is_nothing_but_an_error_raises(
    cloud: Cloud, client: IotoClient, call: Callable[[IotoClient], Awaitable[object]]
) -> None:
    cloud.reply = dumps({"error": "boom"})
    with pytest.raises(InBandError, match="boom"):
        await call(client)


async def test_a_record_with_an_error_among_its_members_is_a_record(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"id": "A", "type": "metric", "error": "the last run failed"})
    assert (await client.action.get("C", "metric")).error == "the last run failed"


@pytest.mark.parametrize("error", [{"code": 5}, ["a"], 7, True], ids=ascii)
async def test_an_error_that_is_no_text_is_raised_all_the_same(cloud: Cloud, client: IotoClient, error: object) -> None:
    cloud.reply = dumps({"error": error})
    with pytest.raises(InBandError) as failed:
        await client.action.invoke("Run")
    assert json.loads(failed.value.message) == error


async def test_an_error_of_the_context_is_not_the_automation_s(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"name": "Run", "context": {"error": "old"}})
    assert (await client.action.invoke("Run")).context == {"error": "old"}


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


async def test_the_last_failure_of_an_automation_is_a_member_like_others(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"id": "A", "error": "last time"})
    assert (await client.action.get("C", "metric")).error == "last time"


async def test_an_item_can_have_a_member_named_error(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = dumps({"_type": "Log", "error": "disk full", "delay": 5})
    assert (await client.generic.get("Log"))["error"] == "disk full"


# Requests ---------------------------------------------------------------------------------------------------------


def test_a_time_in_milliseconds_is_rounded_down() -> None:
    assert epoch_ms(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == -1


def test_a_time_in_milliseconds_needs_a_zone() -> None:
    with pytest.raises(InvalidArgumentError, match="time zone"):
        epoch_ms(datetime(2024, 1, 1))


@settings(max_examples=60, deadline=None)
@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-3))])))
def test_a_time_in_milliseconds_is_read_back(date: datetime) -> None:
    milliseconds = epoch_ms(date)
    if abs(milliseconds) < 1e11 or not datetime(2, 1, 1, tzinfo=UTC) < date < datetime(9999, 1, 1, tzinfo=UTC):
        return
    created = device({"created": milliseconds}).created
    assert created is not None
    assert timedelta(0) <= date - created < timedelta(milliseconds=1)


# Properties -------------------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(words, json_values, max_size=3)


def _members(cls: type[Any]) -> dict[str, Any]:
    fields = attrs.fields(attrs.resolve_types(cls))
    return {field.name: field.type for field in fields if field.name != "extra"}


def _values(type_: Any) -> st.SearchStrategy[Any]:
    """Values that an attribute of *type_* may have."""
    if get_origin(type_) in (Union, UnionType):
        return st.one_of(*(_values(arg) for arg in get_args(type_)))
    if get_origin(type_) is list:
        return st.lists(_values(get_args(type_)[0]), max_size=3)
    if get_origin(type_) is dict:
        return json_objects
    if attrs.has(type_):
        return records(type_)
    known: dict[Any, st.SearchStrategy[Any]] = {
        type(None): st.none(),
        str: words,
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**64 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1),
        datetime: st.datetimes(timezones=st.just(UTC)),
        Any: json_values,
    }
    return known[type_]


def records(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Records of *cls* with any members, known and unknown."""
    taken = {*_wire_names(cls), "data"}
    extra = st.dictionaries(words.filter(lambda name: name not in taken), json_values, max_size=3)
    members = {name: _values(type_) for name, type_ in _members(cls).items()}
    return st.builds(cls, extra=extra, **members)


def _exact(value: Any) -> Any:
    """*value* with the types that an equation does not tell apart: 1, 1.0 and True."""
    if attrs.has(type(value)):
        return type(value), {field.name: _exact(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, dict):
        return {name: _exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return type(value), value, math.copysign(1, value) if isinstance(value, float) else None


@every_record
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_record_survives_the_way_to_the_wire_and_back(cls: type[Any], data: st.DataObject) -> None:
    original = data.draw(records(cls))
    wire = json.loads(encode(IOTO["generic/create"], {"_type": "M", "record": original}))["record"]
    # Wrapped: a bare record of nothing but an error is a failure.
    assert _exact(record(cls)(OPERATION, dumps({"data": wire}))) == _exact(original)


@every_record
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_any_list_of_records_survives_as_a_page(cls: type[Any], data: st.DataObject) -> None:
    originals = data.draw(st.lists(records(cls), max_size=3))
    page = paged(cls)(OPERATION, dumps({"data": [converter.unstructure(original) for original in originals]}))
    assert _exact(page.items) == _exact(originals)


@pytest.mark.parametrize(
    ("cls", "wire", "attribute"),
    [
        (ActionResult, "context", "context"),
        (Action, "context", "context"),
        (Action, "args", "args"),
        (Metric, "dimensions", "dimensions"),
    ],
)
@settings(max_examples=30, deadline=None)
@given(value=json_objects)
def test_any_object_is_kept_exactly(cls: type[Any], wire: str, attribute: str, value: dict[str, Any]) -> None:
    found = record(cls)(OPERATION, dumps({wire: value}))
    assert _exact(getattr(found, attribute)) == _exact(value)


@settings(max_examples=100, deadline=None)
@given(json_values)
@example(2**64 - 1)
@example(-(2**63))
@example({"": {"": [[], {}, [[]]]}})
@example("\x00é😀\u2028")
def test_any_value_of_a_store_item_is_kept_exactly(value: object) -> None:
    assert _exact(record(StoreItem)(OPERATION, dumps({"value": value})).value) == _exact(value)


@every_record
@settings(max_examples=20, deadline=None)
@given(value=json_values)
def test_any_value_of_an_unknown_member_is_kept_exactly(cls: type[Any], value: object) -> None:
    assert _exact(record(cls)(OPERATION, dumps({"unknown": value})).extra) == _exact({"unknown": value})


DECODERS: dict[str, Callable[[Any, bytes], object]] = {
    **{f"record {cls.__name__}": record(cls) for cls in RECORDS},
    **{f"list {cls.__name__}": paged(cls) for cls in RECORDS},
    **{f"result {cls.__name__}": result(cls) for cls in (ActionResult, Certificates, Registration)},
    "found": record(Device, must_exist=True),
    "may be empty": result(UpdateOffer, may_be_empty=True),
    "nested": paged(Metric, nested=True),
    "plain": plain,
    "string": string,
    "nothing": nothing,
}
NAMES = sorted({name for cls in RECORDS for name in _wire_names(cls)} | {"data", "next", "prev", "error", "delay"})
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


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
@example(b"\xef\xbb\xbf{}")
@example(b"1e400")
@example(b'{"created":1e308,"port":1e308}')
@example(b"NaN")
def test_arbitrary_bytes_are_decoded_or_refused(body: bytes) -> None:
    _try_every_decoder(body)


@settings(max_examples=200, deadline=None)
@given(likely)
@example({"error": "x", "delay": 2**64 - 1})
@example({"error": "x", "delay": 1e308})
@example({"data": [[[]]]})
@example({"data": {"data": {"data": None}}})
def test_arbitrary_json_is_decoded_or_refused(value: object) -> None:
    _try_every_decoder(dumps(value))


@settings(max_examples=25, deadline=None)
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


@settings(max_examples=100, deadline=None)
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
