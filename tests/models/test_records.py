"""The records: their form, and what their repr does not show."""

import re
from datetime import timedelta
from typing import Any

import attrs
import pytest

from ioto_async import DecodeError, InvalidArgumentError, models
from ioto_async.models import (
    Certificates,
    Credentials,
    Dashboard,
    DatabaseQuery,
    File,
    Item,
    MetricKey,
    MetricQuery,
    Page,
    Range,
    Registration,
    StoreItem,
    UpdateOffer,
)
from tests.records import RECORDS, least
from tests.rows import each_row

SECRET = "SECRET-do-not-show"
SECRETS = [
    (Certificates, "key"),
    (Certificates, "certificate"),
    (Credentials, "secret_access_key"),
    (Credentials, "session_token"),
    (File, "data"),
    (Registration, "token"),
    (UpdateOffer, "url"),
]


def test_whatever_is_no_page_no_query_and_no_key_is_a_record_with_extra_members() -> None:
    classes = [getattr(models, name) for name in models.__all__]
    found = {cls for cls in classes if isinstance(cls, type) and attrs.has(cls)}
    assert found == {*RECORDS, Page, MetricKey, MetricQuery, DatabaseQuery}


@each_row("cls", RECORDS)
def test_a_record_has_slots_and_takes_keywords_only_all_of_which_but_its_key_are_optional(cls: type[Any]) -> None:
    empty = cls(**least(cls))
    assert attrs.has(cls)
    assert not hasattr(empty, "__dict__")
    with pytest.raises(AttributeError):
        empty.no_such_attribute = 1
    assert [field.name for field in attrs.fields(cls) if field.init and not field.kw_only] == []
    values = {field.name: getattr(empty, field.name) for field in attrs.fields(cls)}
    assert values.pop("extra") == {}
    assert {name: value for name, value in values.items() if value is not None} == least(cls)


def test_what_tells_a_record_from_others_is_always_there() -> None:
    assert {cls.__name__: [*least(cls)] for cls in RECORDS if least(cls)} == {
        "Account": ["id"],
        "Action": ["id"],
        "Alert": ["id"],
        "BuilderDevice": ["id"],
        "BuilderProduct": ["id"],
        "Dashboard": ["id"],
        "Device": ["id"],
        "Manager": ["id"],
        "StoreItem": ["key"],
        "User": ["id"],
    }


@each_row("cls", RECORDS)
def test_records_with_the_same_members_are_equal_and_share_none(cls: type[Any]) -> None:
    key = least(cls)
    assert cls(**key, extra={"a": 1}) == cls(**key, extra={"a": 1})
    first, second = cls(**key), cls(**key)
    first.extra["name"] = 1
    assert second.extra == {}


@each_row("cls, name", SECRETS)
def test_a_record_does_not_show_a_secret_alone_or_in_a_page(cls: type[Any], name: str) -> None:
    record = cls(**{name: SECRET})
    assert SECRET not in repr(record)
    assert SECRET not in f"{record}"
    assert SECRET not in repr(Page(items=[record]))


@each_row("cls", [Certificates, Credentials, Registration])
def test_undocumented_members_of_a_reply_with_key_material_are_not_shown(cls: type[Any]) -> None:
    # The agent knows of a member `cert`, the old name of `certificate`.
    assert SECRET not in repr(cls(extra={"cert": SECRET}))


@each_row("cls", RECORDS)
def test_no_member_with_the_name_of_a_secret_is_shown(cls: type[Any]) -> None:
    named = {"key", "certificate", "token", "secret_access_key", "session_token"}
    names = [field.name for field in attrs.fields(cls) if field.name in named and field.repr]
    # The key of a store item is its name.
    assert names == (["key"] if cls is StoreItem else [])


def test_the_members_of_an_item_s_model_are_read_by_name() -> None:
    assert Item(extra={"colour": "red"})["colour"] == "red"
    with pytest.raises(KeyError, match="colour"):
        Item()["colour"]


def test_a_metric_query_asks_for_the_documented_defaults() -> None:
    query = MetricQuery("temp")
    assert (query.namespace, query.statistic, query.period) == ("Embedthis/Device", "avg", 300)


@each_row(
    "period, seconds",
    {
        timedelta(days=1): 86400,
        timedelta(minutes=1, milliseconds=500): 60.5,
        60: 60,
        0.5: 0.5,
        "90s": 90,
        "1.5m": 90,
        "0.5s": 0.5,
        "1h": 3600,
        "1d": 86400,
        "4w": 2_419_200,
    }.items(),
)
def test_a_period_is_seconds_a_timedelta_or_text(period: Any, seconds: float) -> None:
    query = MetricQuery("temp", period=period)
    assert (query.period, type(query.period)) == (seconds, type(seconds))


@each_row(
    "period",
    [
        *[timedelta(0), timedelta(seconds=-1), True, float("inf"), float("nan")],
        *["1x", "", "0s", "-1h", "1h ", "1h30m", "60", f"{'9' * 400}h"],
    ],
)
def test_a_period_that_is_not_above_zero_is_refused_by_its_value(period: Any) -> None:
    expected = f"period: expected seconds .* got {re.escape(repr(period))}"
    with pytest.raises(InvalidArgumentError, match=expected):
        MetricQuery("temp", period=period)


@each_row(
    "made, name", [(Page(items=[]), "next"), (MetricQuery("temp"), "statistic"), (DatabaseQuery("S", "v"), "statistic")]
)
def test_a_query_and_a_page_are_not_changed_once_made(made: object, name: str) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(made, name, "sum")


def test_the_content_of_a_file_is_bytes() -> None:
    assert (File(data="AP8=").content, File(data="").content) == (b"\x00\xff", b"")


@each_row("data", ["AP8", "A P8=", "AP8==", "é", "=", "AP8=\n"])
def test_content_that_is_no_base64_is_a_decode_error_that_does_not_show_it(data: str) -> None:
    with pytest.raises(DecodeError, match="base64") as wrong:
        _ = File(data=f"{SECRET}{data}").content
    assert (wrong.value.operation, wrong.value.path) == ("file/get", "$.data")
    assert SECRET not in f"{wrong.value!r} {wrong.value} {wrong.value.__context__!r}"


def test_a_file_of_a_list_has_no_content() -> None:
    with pytest.raises(DecodeError, match="none"):
        _ = File(filename="a.txt").content


def test_the_spans_of_a_dashboard_are_periods_as_well() -> None:
    shown = Range(period="1d", refresh=timedelta(minutes=1))
    assert (shown.period, shown.refresh, Dashboard(id="B1", refresh="90s").refresh) == (86400, 60, 90)
    assert (Range(period=-1).period, Range().period) == (-1, None)  # what the service takes is its own business
    with pytest.raises(InvalidArgumentError, match=r"refresh: expected seconds, .* got 'often'"):
        Dashboard(id="B1", refresh="often")
