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
    DatabaseQuery,
    Device,
    File,
    Item,
    MetricKey,
    MetricQuery,
    Page,
    Registration,
    StoreItem,
    UpdateOffer,
)
from tests.records import RECORDS

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

every_record = pytest.mark.parametrize("record", RECORDS)
every_secret = pytest.mark.parametrize(("record", "name"), SECRETS, ids=lambda value: getattr(value, "__name__", value))


def test_whatever_is_no_page_no_query_and_no_key_is_a_record_with_extra_members() -> None:
    classes = [getattr(models, name) for name in models.__all__]
    found = {cls for cls in classes if isinstance(cls, type) and attrs.has(cls)}
    assert found == {*RECORDS, Page, MetricKey, MetricQuery, DatabaseQuery}


@every_record
def test_a_record_is_an_attrs_class(record: type[Any]) -> None:
    assert attrs.has(record)


@every_record
def test_a_record_has_slots(record: type[Any]) -> None:
    assert not hasattr(record(), "__dict__")


@every_record
def test_a_record_takes_no_attribute_that_it_does_not_have(record: type[Any]) -> None:
    with pytest.raises(AttributeError):
        record().no_such_attribute = 1


@every_record
def test_a_record_takes_keywords_only(record: type[Any]) -> None:
    assert [field.name for field in attrs.fields(record) if field.init and not field.kw_only] == []


@every_record
def test_every_member_of_a_record_is_optional(record: type[Any]) -> None:
    empty = record()
    values = {field.name: getattr(empty, field.name) for field in attrs.fields(record)}
    assert values.pop("extra") == {}
    assert set(values.values()) <= {None}


@every_record
def test_two_records_do_not_share_their_extra_members(record: type[Any]) -> None:
    first, second = record(), record()
    first.extra["name"] = 1
    assert second.extra == {}


@every_record
def test_records_with_the_same_members_are_equal(record: type[Any]) -> None:
    assert record(extra={"a": 1}) == record(extra={"a": 1})


@every_secret
def test_the_repr_of_a_record_does_not_show_a_secret(record: type[Any], name: str) -> None:
    assert SECRET not in repr(record(**{name: SECRET}))


@every_secret
def test_the_repr_of_a_page_does_not_show_a_secret_of_its_records(record: type[Any], name: str) -> None:
    assert SECRET not in repr(Page(items=[record(**{name: SECRET})]))


@every_secret
def test_the_text_of_a_record_does_not_show_a_secret(record: type[Any], name: str) -> None:
    assert SECRET not in f"{record(**{name: SECRET})}"


@pytest.mark.parametrize("record", [Certificates, Credentials, Registration])
def test_undocumented_members_of_a_reply_with_key_material_are_not_shown(record: type[Any]) -> None:
    # The agent knows of a member `cert`, the old name of `certificate`.
    assert SECRET not in repr(record(extra={"cert": SECRET}))


@every_record
def test_no_member_with_the_name_of_a_secret_is_shown(record: type[Any]) -> None:
    named = {"key", "certificate", "token", "secret_access_key", "session_token"}
    names = [field.name for field in attrs.fields(record) if field.name in named and field.repr]
    # The key of a store item is its name.
    assert names == (["key"] if record is StoreItem else [])


def test_the_members_of_an_item_s_model_are_read_by_name() -> None:
    assert Item(extra={"colour": "red"})["colour"] == "red"


def test_an_item_says_which_member_it_does_not_have() -> None:
    with pytest.raises(KeyError, match="colour"):
        Item()["colour"]


def test_a_metric_query_asks_for_the_documented_defaults() -> None:
    query = MetricQuery("temp")
    assert (query.namespace, query.statistic, query.period) == ("Embedthis/Device", "avg", 300)


@pytest.mark.parametrize(
    ("period", "seconds"),
    [(timedelta(days=1), 86400), (timedelta(minutes=1, milliseconds=500), 60.5), (60, 60), (0.5, 0.5)],
)
def test_a_period_is_seconds_or_a_timedelta(period: float | timedelta, seconds: float) -> None:
    query = MetricQuery("temp", period=period)
    assert (query.period, type(query.period)) == (seconds, type(seconds))


@pytest.mark.parametrize("period", [timedelta(0), timedelta(seconds=-1), "1d", True, float("inf"), float("nan")])
def test_a_period_that_is_not_above_zero_is_refused_by_its_value(period: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"period: expected seconds .* got {re.escape(repr(period))}"):
        MetricQuery("temp", period=period)


@pytest.mark.parametrize("query", [MetricQuery("temp"), DatabaseQuery("Store", "value")])
def test_a_query_is_not_changed_once_made(query: MetricQuery | DatabaseQuery) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        query.statistic = "sum"  # type: ignore[misc]


def test_a_page_is_not_changed_once_made() -> None:
    page = Page[Device](items=[])
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        page.next = "x"  # type: ignore[misc]


def test_the_content_of_a_file_is_bytes() -> None:
    assert (File(data="AP8=").content, File(data="").content) == (b"\x00\xff", b"")


@pytest.mark.parametrize("data", ["AP8", "A P8=", "AP8==", "é", "=", "AP8=\n"])
def test_content_that_is_no_base64_is_a_decode_error_that_does_not_show_it(data: str) -> None:
    with pytest.raises(DecodeError, match="base64") as wrong:
        _ = File(data=f"{SECRET}{data}").content
    assert (wrong.value.operation, wrong.value.path) == ("file/get", "$.data")
    assert SECRET not in f"{wrong.value!r} {wrong.value} {wrong.value.__context__!r}"


def test_a_file_of_a_list_has_no_content() -> None:
    with pytest.raises(DecodeError, match="none"):
        _ = File(filename="a.txt").content
