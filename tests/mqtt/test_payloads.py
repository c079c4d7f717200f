"""What a device writes and reads."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ioto_async import OMIT
from ioto_async.errors import DecodeError, InvalidArgumentError
from ioto_async.mqtt import payloads
from ioto_async.operations import MQTT
from tests.rows import each_row


def test_a_sample_has_the_members_of_the_agent() -> None:
    assert json.loads(payloads.sample("RANDOM", 4.2, None, {"elapsed": 0})) == {
        "metric": "RANDOM",
        "value": 4.2,
        "dimensions": [{"Device": "${deviceId}"}],
        "buffer": {"elapsed": 0},
    }


def test_a_sample_without_a_buffer_does_not_mention_it() -> None:
    assert json.loads(payloads.sample("T", 1, [{}, {"deviceId": True}], None)) == {
        "metric": "T",
        "value": 1,
        "dimensions": [{}, {"deviceId": True}],
    }


@each_row("value", [math.nan, math.inf, -math.inf, True, "4", None, 10**30])
def test_a_sample_that_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="metric/set: value"):
        payloads.sample("T", value, None, None)


@each_row("dimensions", [[], {}, {"Device": "a"}, ["Device"], "Device", 7])
def test_dimensions_that_are_no_list_of_maps_are_refused(dimensions: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="metric/set: dimensions"):
        payloads.sample("T", 1, dimensions, None)


def test_the_time_of_a_buffer_and_of_a_question_is_a_period() -> None:
    said = json.loads(payloads.sample("T", 1, None, {"elapsed": "1.5m", "force": True}))
    assert said["buffer"] == {"elapsed": 90, "force": True}
    assert json.loads(payloads.value_query("T", None, timedelta(hours=1), "avg"))["period"] == 3600
    assert json.loads(payloads.value_query("T", None, "1d", "avg"))["period"] == 86400
    with pytest.raises(InvalidArgumentError, match=r"metric/set: buffer: elapsed: expected seconds, .* got 'soon'"):
        payloads.sample("T", 1, None, {"elapsed": "soon"})


def test_a_buffer_that_is_no_map_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="metric/set: buffer"):
        payloads.sample("T", 1, None, [("elapsed", 0)])  # type: ignore[arg-type]


def test_a_metric_needs_a_name() -> None:
    with pytest.raises(InvalidArgumentError, match="metric/set: metric"):
        payloads.sample("", 1, None, None)


def test_a_question_has_the_members_of_the_agent() -> None:
    assert json.loads(payloads.value_query("RANDOM", None, 300, "avg")) == {
        "metric": "RANDOM",
        "dimensions": {"Device": "${deviceId}"},
        "period": 300,
        "statistic": "avg",
    }


@each_row("period", [0, -1, math.nan, math.inf, True, "5", "0s", "1x"])
def test_a_period_that_is_no_time_is_refused(period: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="metric/get: period"):
        payloads.value_query("T", None, period, "avg")


@each_row("value, type", [(3, "number"), (3.5, "number"), (True, "boolean"), ("3", "string")])
def test_the_type_of_a_stored_value_is_its_own(value: Any, type: Any) -> None:
    expected = {"key": "counter", "value": value, "type": type}
    assert json.loads(payloads.stored("counter", value, None, OMIT)) == expected
    assert json.loads(payloads.stored("counter", value, type, OMIT)) == expected


def test_another_type_than_that_of_the_value_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="store/set: type: expected 'boolean'"):
        payloads.stored("counter", True, "number", OMIT)


@each_row("value", [None, [1], {"a": 1}, math.nan])
def test_a_value_that_the_store_does_not_take_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="store/set: value"):
        payloads.stored("counter", value, None, OMIT)


def test_an_expiry_is_in_milliseconds() -> None:
    assert json.loads(payloads.stored("k", 1, None, None))["expires"] is None
    body = payloads.stored("k", 1, None, datetime(2030, 1, 1, tzinfo=UTC))
    assert json.loads(body)["expires"] == 1893456000000


@each_row(
    "payload, value",
    [
        (b"4.2", 4.2),
        (b"-7", -7),
        (b"1e3", 1000.0),
        (b"true", True),
        (b"false", False),
        (b"", None),
        (b"null", None),
        (b"hello", "hello"),
        (b"007", "007"),
        (b"NaN", "NaN"),
        (b" 1", " 1"),
        ("½".encode(), "½"),
        ("٣".encode(), "٣"),
        (b"9" * 300, 10**300 - 1),
        (b"9" * 5000, "9" * 5000),
        (b"1e999", "1e999"),
        (b"-1e999", "-1e999"),
    ],
)
def test_a_bare_value_is_read_as_what_it_is(payload: bytes, value: object) -> None:
    read = payloads.scalar(payload)
    assert read == value
    assert type(read) is type(value)


@each_row("payload", [b"text", b"true", b"NaN", b"1e999", b"9" * 5000])
def test_a_metric_that_is_no_number_is_a_decode_error(payload: bytes) -> None:
    with pytest.raises(DecodeError, match="metric/get"):
        payloads.number(MQTT["metric/get"], payload)


def test_changes_travel_with_their_number() -> None:
    change = {"cmd": "update", "key": "s#counter", "item": {"value": 1}}
    assert json.loads(payloads.changes(7, [change])) == {"seq": 7, "changes": [change]}


@each_row("changes", [[], "text", {"cmd": "update"}, [1], None])
def test_changes_that_are_no_maps_are_refused(changes: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="changes"):
        payloads.changes(1, changes)


@each_row(
    "change, named",
    [
        ({"cmd": "delete", "key": "s#a"}, "cmd: expected create, update, upsert, remove, got 'delete'"),
        ({"key": "s#a"}, "cmd: expected create, update, upsert, remove, got None"),
        ({"cmd": "remove"}, "key"),
        ({"cmd": "remove", "key": 1}, "key"),
    ],
)
def test_changes_that_the_cloud_would_drop_are_refused(change: Any, named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=named):
        payloads.changes(1, [{"cmd": "remove", "key": "s#b"}, change])


@each_row("statistic", ["foo", "p", "p100", "AVG", ""])
def test_a_statistic_that_the_cloud_would_not_reply_to_is_refused(statistic: str) -> None:
    with pytest.raises(InvalidArgumentError, match="statistic"):
        payloads.value_query("T", None, 300, statistic)


def test_sync_down_sends_iso_text() -> None:
    assert json.loads(payloads.since(datetime(2025, 1, 1, tzinfo=UTC))) == {"timestamp": "2025-01-01T00:00:00.000Z"}


@each_row("since", [None, 0, datetime(2025, 1, 1)])
def test_sync_down_needs_an_aware_time(since: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="since"):
        payloads.since(since)
