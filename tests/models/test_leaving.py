"""How records leave the process: as dicts, as JSON, and as copies."""

import copy
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import given, settings

from ioto_async import (
    Account,
    Certificates,
    Device,
    InvalidArgumentError,
    Item,
    Login,
    Metric,
    MetricKey,
    Metrics,
    Page,
    Point,
    Record,
    Registration,
    Secret,
    StoreItem,
    UpdateOffer,
)
from ioto_async.codec.records import converter
from tests.records import RECORDS, exact, records
from tests.rows import each_row

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = "-----BEGIN PRIVATE KEY-----"

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda record: pickle.loads(pickle.dumps(record)),
    "evolve": attrs.evolve,
}


def test_a_dict_has_all_attributes_by_name_and_dates_as_they_are() -> None:
    device = Device(id="D1", account_id="A1", created=CREATED, extra={"nested": {"list": [1]}})
    members = device.to_dict()
    assert list(members) == [field.name for field in attrs.fields(Device)]
    assert {name: value for name, value in members.items() if value is not None} == {
        "id": "D1",
        "account_id": "A1",
        "created": CREATED,
        "extra": {"nested": {"list": [1]}},
    }
    members["extra"]["nested"]["list"].append(2)
    assert device.extra == {"nested": {"list": [1]}}  # it is a copy


def test_on_the_wire_names_are_in_camel_case_dates_are_text_and_none_is_left_out() -> None:
    device = Device(id="D1", account_id="A1", created=CREATED, extra={"colour": None})
    wire = {"id": "D1", "accountId": "A1", "created": "2026-01-02T03:04:05.000Z", "colour": None}
    assert device.to_dict(wire=True) == json.loads(device.to_json(wire=True)) == wire
    assert Item(type="Log", device_id="D1").to_dict(wire=True) == {"_type": "Log", "deviceId": "D1"}


def test_json_has_the_same_members_as_the_dict() -> None:
    device = Device(id="D1", created=CREATED.astimezone(timezone(timedelta(hours=2))))
    assert json.loads(device.to_json()) == {**device.to_dict(), "created": "2026-01-02T03:04:05.000Z"}


def test_records_in_records_leave_as_well() -> None:
    login = Login(account=Account(id="A1"), extra={"x": 1})
    assert login.to_dict()["account"]["id"] == "A1"
    assert login.to_dict(wire=True) == {"account": {"id": "A1"}, "x": 1}
    metric = Metric(metric="t", points=[Point(value=1.5, timestamp=CREATED)])
    assert metric.to_dict()["points"][0]["timestamp"] == CREATED
    assert json.loads(metric.to_json(wire=True))["points"] == [{"value": 1.5, "timestamp": "2026-01-02T03:04:05.000Z"}]
    assert MetricKey(namespace="N", metric="t", dimensions={}).to_dict() == {
        "namespace": "N",
        "metric": "t",
        "dimensions": {},
    }


def test_a_page_leaves_with_its_records() -> None:
    page = Page(items=[Device(id="D1")], next="n1", rejected=[{"apiToken": Secret(KEY)}])
    assert page.to_dict()["items"][0]["id"] == "D1"
    assert page.to_dict()["next"] == "n1"
    assert page.to_dict()["rejected"] == [{"apiToken": KEY}]
    assert page.to_dict(wire=True) == {"data": [{"id": "D1"}], "next": "n1"}
    assert json.loads(page.to_json(wire=True)) == page.to_dict(wire=True)


@each_row(
    "record, name",
    [
        (Certificates(key=KEY), "key"),
        (Registration(token=KEY), "token"),
        (UpdateOffer(url=KEY), "url"),
        (Device(id="D1", extra={"apiToken": Secret(KEY)}), "apiToken"),
    ],
)
def test_secrets_leave_by_their_value_as_plain_text(record: Record, name: str) -> None:
    flat = record.to_dict(wire=True)
    assert (flat[name], type(flat[name])) == (KEY, str)
    assert KEY in record.to_json()
    assert KEY in record.to_json(wire=True)
    assert KEY in repr(record.to_dict())


@each_row(
    "record, reason",
    [
        (Device(id="D1", created=datetime(2026, 1, 2)), "Device: 2026-01-02T00:00:00 has no time zone"),
        (StoreItem(key="K", value={1, 2}), "StoreItem: set is not JSON"),
    ],
)
def test_what_is_no_json_is_refused_by_name(record: Record, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        record.to_json()


@each_row("cls", RECORDS)
def test_every_record_leaves_as_the_client_itself_would_send_it(cls: type[Any]) -> None:
    @settings(max_examples=10)
    @given(records(cls))
    def leaves(record: Any) -> None:
        wire = record.to_dict(wire=True)
        assert wire == converter.unstructure(record)
        assert exact(json.loads(record.to_json(wire=True))) == exact(wire)
        assert list(json.loads(record.to_json())) == list(record.to_dict())

    leaves()


@each_row("again", COPIES)
def test_copies_of_records_are_equal_and_keep_their_secrets(again: Callable[[Any], Any]) -> None:
    certificates = Certificates(id="D1", key=KEY, extra={"apiToken": Secret(KEY)})
    others = [Device(id="D1", created=CREATED, extra={"a": [1]}), Page(items=[certificates], next={"id": "D1"})]
    for record in [certificates, *others, MetricKey(namespace="N", metric="t", dimensions={})]:
        made = again(record)
        assert (made, type(made)) == (record, type(record))
        assert made is not record
    made = again(certificates)
    assert (type(made.key), type(made.extra["apiToken"])) == (Secret, Secret)
    assert KEY not in repr(again(Page(items=[certificates])))


@each_row("again", [COPIES["copy"], COPIES["deepcopy"], COPIES["pickle"]])
def test_copies_of_metrics_are_metrics(again: Callable[[Any], Any]) -> None:
    metrics = Metrics([Metric(metric="t", points=[Point(value=1)])])
    assert (again(metrics), type(again(metrics))) == (metrics, Metrics)
