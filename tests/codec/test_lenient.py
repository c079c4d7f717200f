"""Replies that do not fit their records: one odd member costs that member, and is told once."""

import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from ioto_async import DecodeError, InBandError, IotoClient, MetricQuery
from ioto_async.codec.decoding import paged, record
from ioto_async.codec.encoding import body as encode
from ioto_async.models import (
    Action,
    Certificates,
    Dashboard,
    Device,
    Item,
    Login,
    Metric,
    MetricList,
    Point,
    Range,
    StoreItem,
    Widget,
    WidgetAction,
)
from ioto_async.operations import IOTO
from tests.mocked import Cloud
from tests.rawserver import reply, served
from tests.records import RECORDS, least, wire_names
from tests.rows import each_row

OPERATION = IOTO["device/find"]
WHOLE = datetime(2024, 1, 23, 2, 3, 57, tzinfo=UTC)


def dumps(value: object) -> bytes:
    """JSON, not by the library that the package uses."""
    return json.dumps(value, ensure_ascii=False).encode()


# Members ----------------------------------------------------------------------------------------------------------

MEMBERS: list[tuple[str, object, object]] = [
    # nothing can be made of it
    ("accessed", "", None),
    ("accessed", "n/a", None),
    ("accessed", True, None),
    ("accessed", {"$date": 0}, None),
    ("accessed", "2024-01-23T02:03:60Z", None),
    ("accessed", "0001-01-01T00:00:00+14:00", None),
    ("accessed", "9999-12-31T23:59:59-14:00", None),
    ("accessed", 1e300, None),
    ("accessed", -(2**63), None),
    ("version", [1, 2], None),
    ("version", {"major": 1}, None),
    ("version", True, None),
    ("test", "maybe", None),
    ("test", 2, None),
    ("test", [], None),
    # it is plain what is meant
    ("accessed", "1705975437", WHOLE),
    ("accessed", " 1705975437000", WHOLE),
    ("version", 1.2, "1.2"),
    ("version", 7, "7"),
    ("test", "true", True),
    ("test", "False", False),
    ("test", 1, True),
    ("test", 0.0, False),
]


@each_row("name, value, read", MEMBERS)
def test_an_odd_member_is_what_it_plainly_means_or_none_and_stays_in_extra(
    name: str, value: object, read: object
) -> None:
    wire = {"id": "D", "product": "P", name: value, "unknown": 1}
    members: dict[str, Any] = {name: read}
    expected = Device(id="D", product="P", extra={name: value, "unknown": 1}, **members)
    assert record(Device)(OPERATION, dumps(wire)) == expected
    assert paged(Device)(OPERATION, dumps([wire])).items == [expected]


def test_midnight_as_hour_24_does_not_lose_the_record() -> None:
    # Python 3.14 reads it.
    wire = {"id": "D", "created": "2024-01-22T24:00:00Z"}
    found = record(Device)(OPERATION, dumps(wire))
    assert found.created in (None, datetime(2024, 1, 23, tzinfo=UTC))


NUMBERS: list[tuple[type[Any], str, object, object]] = [
    (Certificates, "port", "443", 443),
    (Certificates, "port", "443.0", 443),
    (Certificates, "port", "443.5", None),
    (Certificates, "port", 443.5, None),
    (Certificates, "port", True, None),
    (Certificates, "port", "1" * 5000, None),
    (Point, "value", "4.2", 4.2),
    (Point, "value", "9007199254740993", 9007199254740993),
    (Point, "value", "-1e3", -1000.0),
    (Point, "value", "NaN", None),
    (Point, "value", "", None),
    (Point, "value", "1e999", None),
    (Point, "value", False, None),
]


@each_row("cls, name, value, read", NUMBERS)
def test_an_odd_number_is_read_as_far_as_it_is_plain(cls: type[Any], name: str, value: object, read: object) -> None:
    found = record(cls)(OPERATION, dumps({name: value}))
    assert (getattr(found, name), type(getattr(found, name)), found.extra) == (read, type(read), {name: value})


@each_row("cls", RECORDS)
def test_a_record_of_nothing_but_odd_members_is_read(cls: type[Any]) -> None:
    attributes = [field.name for field in attrs.fields(cls) if field.name != "extra"]
    odd = {name: [[None]] for name in wire_names(cls) if name not in least(cls)}
    found = record(cls)(OPERATION, dumps({"data": odd | least(cls)}))
    for name, attribute in zip(wire_names(cls), attributes, strict=True):
        if name in least(cls):
            assert getattr(found, attribute) == least(cls)[name]
        elif getattr(found, attribute) != odd[name]:  # else a list of anything, or any value
            assert getattr(found, attribute) in (None, [], "[[null]]")  # the last for an error
            assert found.extra[name] == odd[name]


PARTS: dict[str, tuple[type[Any], dict[str, Any], Any]] = {
    "a member of a nested record": (
        Dashboard,
        {"id": "D", "range": {"start": "soon", "period": 60}},
        Dashboard(id="D", range=Range(period=60, extra={"start": "soon"})),
    ),
    "a nested record": (Dashboard, {"id": "D", "range": "day"}, Dashboard(id="D", extra={"range": "day"})),
    "an element of a list of records": (
        Metric,
        {"points": [{"value": 1}, None, {"value": "2"}, "x"]},
        Metric(
            points=[Point(value=1), Point(value=2, extra={"value": "2"})],
            extra={"points": [{"value": 1}, None, {"value": "2"}, "x"]},
        ),
    ),
    "a list": (Metric, {"points": {"value": 1}}, Metric(extra={"points": {"value": 1}})),
    "an element of a list of texts": (
        MetricList,
        {"metrics": ["a", None, 5]},
        MetricList(metrics=["a", "5"], extra={"metrics": ["a", None, 5]}),
    ),
    "an element of a list of objects": (
        MetricList,
        {"dimensions": [{}, "x", {"a": "b"}]},
        MetricList(dimensions=[{}, {"a": "b"}], extra={"dimensions": [{}, "x", {"a": "b"}]}),
    ),
    "a part of a part": (
        Dashboard,
        {"id": "D", "widgets": [{"id": 5, "actions": [{"target": []}]}, None]},
        Dashboard(
            id="D",
            widgets=[Widget(id="5", actions=[WidgetAction(extra={"target": []})], extra={"id": 5})],
            extra={"widgets": [{"id": 5, "actions": [{"target": []}]}, None]},
        ),
    ),
}


@each_row("cls, wire, read", PARTS)
def test_the_parts_of_a_record_are_read_one_by_one(cls: type[Any], wire: dict[str, Any], read: Any) -> None:
    assert record(cls)(OPERATION, dumps(wire)) == read


def test_a_nested_record_without_its_key_is_none_and_stays_in_extra() -> None:
    found = record(Login)(OPERATION, dumps({"user": {"email": "a@b.c"}, "account": {"id": "A"}}))
    assert found.user is None
    assert found.extra == {"user": {"email": "a@b.c"}}
    assert found.account is not None


@each_row(
    "error, text",
    [
        ({"code": 5}, '{"code":5}'),
        ({"message": "no data"}, "no data"),
        (7, "7"),
        (True, "true"),
        ({}, None),
        ([], None),
    ],
)
@each_row("cls", [Metric, Action])
def test_what_failed_does_not_look_as_if_it_had_not(cls: type[Any], error: object, text: str | None) -> None:
    found = record(cls)(OPERATION, dumps({"error": error, "namespace": "N"} | least(cls)))
    assert (found.error, found.extra["error"]) == (text, error)


def test_a_member_that_was_changed_is_sent_as_it_is_now() -> None:
    widget = record(Widget)(OPERATION, b'{"limit": "5", "rows": "many", "id": "w"}')
    widget.limit = 10
    sent = json.loads(encode(IOTO["generic/create"], {"_type": "M", "v": widget}))["v"]
    assert sent == {"limit": 10, "rows": "many", "id": "w"}


def test_the_raw_value_of_what_is_not_shown_is_not_shown_either() -> None:
    secret = "SECRET-do-not-show"
    for name, value in {"key": [secret], "certificate": {"pem": secret}}.items():
        assert secret not in repr(record(Certificates)(OPERATION, dumps({name: value})))


# Keys -------------------------------------------------------------------------------------------------------------

KEYLESS: list[object] = [None, 5, "D", [], True, {}, {"id": None}, {"id": ""}, {"id": []}, {"product": "P"}]


@each_row("element", KEYLESS)
def test_an_element_that_is_no_record_is_left_out_of_the_items_and_kept(element: object) -> None:
    page = paged(Device)(OPERATION, dumps({"data": [{"id": "A"}, element, {"id": "B"}], "next": "c"}))
    assert ([device.id for device in page.items], page.rejected, page.next) == (["A", "B"], [element], "c")


def test_a_page_of_nothing_odd_has_nothing_rejected() -> None:
    assert paged(Device)(OPERATION, b'{"data": [{"id": "A"}]}').rejected == []


def test_a_key_that_is_a_number_is_read_as_text() -> None:
    page = paged(Device)(OPERATION, b'{"data": [{"id": 17}]}')
    assert (page.items, page.rejected) == ([Device(id="17", extra={"id": 17})], [])


@each_row("reply", [reply for reply in KEYLESS if reply not in (None, {}, [])])
async def test_a_get_of_what_is_no_record_is_a_decode_error(cloud: Cloud, client: IotoClient, reply: object) -> None:
    cloud.begin(dumps(reply))
    with pytest.raises(DecodeError):
        await client.device.get("D")


Change = Callable[[IotoClient], Awaitable[Any]]
CHANGES: dict[str, Change] = {
    "device.claim": lambda c: c.device.claim("I"),
    "device.release": lambda c: c.device.release("I"),
    "alert.update": lambda c: c.alert.update("I", resolved=True),
    "dashboard.update": lambda c: c.dashboard.update("I"),
    "manager.update": lambda c: c.manager.update("I"),
    "manager.provision": lambda c: c.manager.provision("I"),
    "manager.update_display": lambda c: c.manager.update_display("I", "{}"),
    "user.update": lambda c: c.user.update("I"),
    "user.update_role": lambda c: c.user.update_role("I", "admin"),
    "account.update_identity": lambda c: c.account.update_identity("I", name="N"),
}


@each_row("change", CHANGES)
@each_row("reply", [b"{}", b'{"id": null}', b'{"data": {}}'])
async def test_what_was_changed_has_the_key_of_the_request_where_the_reply_has_none(
    cloud: Cloud, client: IotoClient, change: Change, reply: bytes
) -> None:
    cloud.begin(reply)
    assert (await change(client)).id == "I"


async def test_a_value_of_the_store_has_the_key_of_the_request_where_the_reply_has_none(
    cloud: Cloud, client: IotoClient
) -> None:
    cloud.begin(b'{"value": 1}')
    assert await client.store.set("D", "k", 1) == await client.store.get("D", "k") == StoreItem(key="k", value=1)


async def test_what_was_made_without_telling_its_key_is_a_decode_error(cloud: Cloud, client: IotoClient) -> None:
    cloud.begin(b"{}")
    with pytest.raises(DecodeError) as wrong:
        await client.user.create("a@b.c", "user")
    assert (wrong.value.path, wrong.value.outcome_unknown) == ("$.id", True)


async def test_claims_with_odd_replies_are_ok(cloud: Cloud, client: IotoClient) -> None:
    cloud.begin(b'{"accessed": "", "version": 1.2, "test": "true"}')
    outcomes = [outcome async for outcome in client.bulk(client.device.claim, ["A", "B"])]
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
    assert {outcome.value.id for outcome in outcomes if outcome.value is not None} == {"A", "B"}


# Walks, metrics ---------------------------------------------------------------------------------------------------


async def test_a_walk_goes_on_behind_an_odd_page() -> None:
    steps = [b'{"data": [null, {"id": "A", "accessed": ""}], "next": "c"}', b'{"data": [{"id": "B"}, 5]}']
    async with served(*[reply(200, body) for body in steps]) as (server, client):
        pages = [[device.id for device in page.items] async for page in client.device.find().pages()]
    assert pages == [["A"], ["B"]]
    assert len(server.requests) == 2


async def test_metrics_keep_their_places(cloud: Cloud, client: IotoClient) -> None:
    cloud.begin(b'{"data": [{"metric": "a", "period": "60"}, null, {"metric": "c"}]}')
    metrics = await client.metric.fetch("D", [MetricQuery(name) for name in "abc"])
    assert [metric.metric for metric in metrics] == ["a", None, "c"]
    assert metrics[0].period == 60
    assert metrics[1].error == "the answer: expected an object, got null"


async def test_one_odd_answer_does_not_fail_the_reads_that_share_its_request(cloud: Cloud, client: IotoClient) -> None:
    cloud.begin(b'{"data": [null]}')
    with pytest.raises(DecodeError) as wrong:
        await client.metric.value("D", "m")
    assert wrong.value.path == "$.data[0]"
    cloud.begin(b'{"data": [{"points": [{"value": "4.5", "count": "n/a"}]}]}')
    assert await client.metric.value("D", "m") == 4.5
    for points in (b'[{"value": "warm"}]', b"[null]", b'"none"'):
        cloud.begin(b'{"data": [{"points": %b}]}' % points)
        with pytest.raises(DecodeError, match="points"):
            await client.metric.value("D", "m")
    cloud.begin(b'{"data": [{"points": [null], "error": {"message": "no"}}]}')
    with pytest.raises(InBandError, match=r"metric/fetch: 200 no$"):
        await client.metric.series("D", "m")


# Models of users --------------------------------------------------------------------------------------------------


@each_row("strict", [False, True])
async def test_a_model_of_a_user_is_never_odd(
    cloud: Cloud, client: IotoClient, caplog: pytest.LogCaptureFixture, strict: bool
) -> None:
    wire = {"_type": "M", "deviceId": 7, "created": "n/a", "updated": True, "expires": {"in": 5}, "accountId": "A"}
    cloud.begin(dumps({"data": [wire]}))
    (item,) = (await client.with_options(strict=strict).generic.find("M")).items
    odd = {name: value for name, value in wire.items() if name not in ("_type", "accountId")}
    assert item == Item(type="M", account_id="A", device_id="7", extra=odd)
    assert item["created"] == "n/a"
    assert caplog.records == []


# Strict reading, log ----------------------------------------------------------------------------------------------


@each_row(
    "reply",
    [{"id": "D", name: value} for name, value, _ in MEMBERS if value != "1705975437"] + [{"id": None}, {}],
)
async def test_strict_clients_and_clones_raise(cloud: Cloud, client: IotoClient, reply: dict[str, Any]) -> None:
    cloud.begin(dumps({"data": [reply]}))
    strict = client.with_options(strict=True)
    for caller in (strict, strict.with_options(timeout=5)):
        with pytest.raises(DecodeError):
            await caller.device.find()
    await client.device.find()
    await strict.with_options(strict=False).device.find()


async def test_what_is_odd_is_logged_once_without_text_of_the_reply(
    cloud: Cloud, client: IotoClient, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.begin(dumps({"data": [{"id": str(number), "accessed": "SECRET"} for number in range(5)] + [{}] * 3}))
    await client.device.find()
    await client.device.find()
    await client.with_options(timeout=5).device.find()
    assert [(entry.levelno, entry.getMessage()) for entry in caplog.records] == [
        (
            logging.WARNING,
            f"device/find: reply at {text}; the rest is read, and this is logged once",
        )
        for text in (
            "$.data[0].accessed: expected a date (ISO text, epoch seconds or milliseconds), got string",
            "$.data[5].id: expected a string that is not empty, got null",
        )
    ]
    cloud.begin(b'{"id": "D", "accessed": "SECRET"}')
    await client.device.get("D")
    assert len(caplog.records) == 3


# JSON but for a detail --------------------------------------------------------------------------------------------

NEARLY: list[tuple[bytes, Device]] = [
    (b'\xef\xbb\xbf{"id":"D"}', Device(id="D")),
    (b'{"id":"D","version":"a\\ud83d"}', Device(id="D", version="a\ufffd")),
    (b'{"id":"D","product":"caf\xe9"}', Device(id="D", product="caf\ufffd")),
    (b'{"id":"D","x":[NaN,Infinity,-Infinity,1e999]}', Device(id="D", extra={"x": [None] * 4})),
    (b'{"id":"D","x":1' + b"0" * 400 + b"}", Device(id="D", extra={"x": None})),
    (b'{"id":"D","x":NaN,"y":1' + b"0" * 30 + b"}", Device(id="D", extra={"x": None, "y": 1e30})),
    (b'{"id":"C","id":"D"}', Device(id="D")),
]


@each_row("body, read", NEARLY)
async def test_a_reply_that_is_json_but_for_a_detail_is_read(
    cloud: Cloud, client: IotoClient, body: bytes, read: Device
) -> None:
    cloud.begin(body)
    assert await client.device.get("D") == read
    if body.count(b'"id"') == 1:
        with pytest.raises(DecodeError):
            await client.with_options(strict=True).device.get("D")
