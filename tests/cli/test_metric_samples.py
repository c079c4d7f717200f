"""Files of samples: what is read, and which rows cannot be used."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ioto_async.cli.metric import samples
from ioto_async.cli.metric.samples import LateSamples, SampleRow, read_samples
from ioto_async.cli.rows import BadRow
from ioto_async.errors import InvalidArgumentError
from tests.rows import each_row

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_now", lambda: NOON)


def read(text: str, key: str | None = None, *, any_timestamp: bool = False) -> list[SampleRow | BadRow]:
    return list(read_samples(text.splitlines(keepends=True), key, any_timestamp=any_timestamp))


def one(text: str, key: str | None = None) -> SampleRow:
    (row,) = read(text, key)
    assert isinstance(row, SampleRow), row
    return row


def bad(text: str, key: str | None = None) -> BadRow:
    *_, row = read(text, key)
    assert isinstance(row, BadRow), row
    return row


def test_a_csv_has_a_column_for_each_dimension() -> None:
    row = one("Metric,VALUE,dimensions.Device,dimensions.Room\ntemperature,21.5,DEV1,\n")
    assert (row.line, row.metric, row.value, row.dimensions, row.timestamp) == (
        2,
        "temperature",
        21.5,
        {"Device": "DEV1"},
        None,
    )


def test_a_csv_may_have_the_dimensions_as_json() -> None:
    row = one('metric,value,dimensions\ntemperature,21,"{""Device"":""DEV1"",""Floor"":3}"\n')
    assert row.dimensions == {"Device": "DEV1", "Floor": 3}


@each_row(
    "text",
    {
        "a cell of several lines": 'metric,value,dimensions.Device\nt,1,"A\nu,2,B"\nt,3,C\n',
        "columns without a name": "metric,value,,dimensions.Device\nt,1,,A\nt,3,,C,,\n",
        "the index of pandas": ",metric,value,dimensions.Device\n0,t,1,A\n1,t,3,C\n",
    },
)
def test_a_csv_of_another_program_is_read(text: str) -> None:
    rows = read(text)
    assert [row.line for row in rows] in ([2, 3], [2, 4])
    assert isinstance(rows[-1], SampleRow)
    assert (rows[-1].metric, rows[-1].value, rows[-1].dimensions) == ("t", 3, {"Device": "C"})


def test_json_has_them_as_an_object() -> None:
    row = one('{"metric":"temperature","value":-2,"dimensions":{"Device":"DEV1"},"dimensions.Room":"a"}')
    assert (row.value, row.dimensions) == (-2, {"Device": "DEV1", "Room": "a"})


def test_no_dimensions_are_not_the_same_as_an_empty_map() -> None:
    assert one('{"metric":"t","value":1}').dimensions is None
    assert one('{"metric":"t","value":1,"dimensions":{}}').dimensions == {}
    assert one("metric,value,dimensions.Device\nt,1,\n").dimensions is None


@each_row("cell, value", [("21.5", 21.5), ("21", 21), ("-1e3", -1000), (".5", 0.5), ("1e300", 1e300)])
def test_values_are_numbers(cell: str, value: float) -> None:
    found = one(f"metric,value\nt,{cell}\n").value
    assert (found, type(found)) == (value, type(value))


@each_row("cell", ["", "warm", "nan", "inf", "1_000", "1e999"])
def test_a_value_that_is_no_number_costs_its_row(cell: str) -> None:
    row = bad(f"metric,value\nt,{cell}\n")
    assert (row.line, row.label) == (2, "t")
    assert row.reason.startswith("value: expected a finite number, got ")


@each_row("value", ["true", "null", "[1]", '"warm"'])
def test_a_json_value_that_is_no_number_costs_its_row(value: str) -> None:
    assert bad(f'{{"metric":"t","value":{value}}}').reason.startswith("value: expected a finite number, got ")


@each_row("text", ["2026-05-01T12:00Z", "2026-05-01T14:00:00.000+02:00", "1777636800", "1777636800.0", "1777636800000"])
def test_timestamps_are_iso_dates_seconds_or_milliseconds(text: str) -> None:
    assert one(f"metric,value,timestamp\nt,1,{text}\n").timestamp == NOON


@each_row("text", ["yesterday", "2026-05-01", "2026-05-01T12:00", "1e300"])
def test_a_timestamp_that_is_none_costs_its_row(text: str) -> None:
    assert bad(f"metric,value,timestamp\nt,1,{text}\n").reason.startswith("timestamp: expected an ISO date")


AGO, AHEAD = "is more than a year ago", "is in the future"

DOUBTFUL = [
    ("1.7776368E+12", "an exponent means that digits are lost"),
    ("1.7776368e9", "an exponent means that digits are lost"),
    ("20260501", "it looks like a date"),
    ("20260501120000", "it looks like a date"),
    ("202605011200", "it looks like a date"),
    ("2026050112", "it looks like a date"),
    ("46143.5", f"1970-01-01T12:49:03Z {AGO}"),
    ("0", f"1970-01-01T00:00:00Z {AGO}"),
    ("-1", f"1969-12-31T23:59:59Z {AGO}"),
    ("99999999999", AHEAD),
    ("2025-04-30T11:59:59Z", AGO),
    ("2026-05-02T12:00:01Z", AHEAD),
    ("0002-01-01T00:00:00+14:00", AGO),
]


@each_row("text, problem", DOUBTFUL)
def test_a_timestamp_that_can_hardly_be_meant_costs_its_row_unless_it_is_asked_for(text: str, problem: str) -> None:
    rows = f"metric,value,timestamp\nt,1,{text}\n"
    reason = bad(rows).reason
    assert reason.startswith("timestamp: expected an ISO date with its offset, or epoch seconds or milliseconds, or ")
    assert problem in reason
    assert text in reason
    (row,) = read(rows, any_timestamp=True)
    assert isinstance(row, SampleRow)


@each_row("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1e300", "2026-05-01", "1777636800000000"])
def test_a_time_that_nobody_can_tell_is_never_taken(text: str) -> None:
    (row,) = read(f"metric,value,timestamp\nt,1,{text}\n", any_timestamp=True)
    assert isinstance(row, BadRow)


@each_row("text", ["2025-05-01T12:00Z", "2026-05-02T12:00Z", "1777636800", "1777636800000", "1777636800.25"])
def test_a_year_ago_and_a_day_from_now_can_be_meant(text: str) -> None:
    assert one(f"metric,value,timestamp\nt,1,{text}\n").timestamp is not None


@each_row(
    "text, reason",
    [
        ('{"value":1}', "metric: expected a text, got None"),
        ('{"metric":"","value":1}', "metric: expected a text, got ''"),
        ('{"metric":"a\\u0007","value":1}', r"metric: expected a text, got 'a\x07'"),
        ('{"metric":"t","value":1,"room":"a"}', "room: expected metric, value, timestamp or dimensions"),
        ('{"metric":"t","value":1,"dimensions":3}', "dimensions: expected a JSON object, got 3"),
        ('{"metric":"t","value":1,"dimensions":{"a":[1]}}', "dimensions: a: expected a text or a number, got [1]"),
        ('{"metric":"t"', "not JSON: "),
        ('{"metric":"t","value":1}\n[1]', "expected a JSON object, got list"),
        ("metric,value\nmetric,value", "the header again"),
        ("metric,,value\nt,x,1", "column 2 has no name, but holds 'x'"),
        ('{"metric":"t","value":1,"":2}', "a member has a value, but no name"),
        ("metric,value\nt,1,2", "3 columns where the header has 2"),
        ('metric,value\n"t,1', "not CSV: "),
        ("metric,value,dimensions\nt,1,Device", "dimensions: expected a JSON object, got 'Device'"),
    ],
)
def test_the_reason_of_a_bad_row_is_reported(text: str, reason: str) -> None:
    assert bad(text).reason.startswith(reason)


@each_row(
    "text, key, complaint",
    [
        ("", None, "--from: no rows"),
        ("[1]", None, "--from: looks like a JSON array"),
        ("metric,x\n", None, "--from: column x: expected one of metric, value"),
        ("metric\n", None, "--from: the header has no column value"),
        ("metric,,value\n", "", "--from: the header has no column "),
        ("# samples\nmetric,value\n", None, "--from: the header has no column metric: # samples"),
        ("t,1\n", None, "--from: the header has no column metric"),
        ("metric,value\n", "id", "--from: the header has no column id"),
        ("metric,value,value\n", None, "--from: the header names a column twice"),
        ("metric;value\n", None, "--from: columns are separated by ';'"),
    ],
)
def test_what_is_wrong_with_a_file_is_reported(text: str, key: str | None, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint):
        read(text, key)


def keys(text: str, key: str | None = None) -> list[Any]:
    return [row.key for row in read(text, key) if isinstance(row, SampleRow)]


def test_the_key_is_of_the_line_and_of_what_is_in_it() -> None:
    text = "metric,value\nt,1\nt,1\n"
    before = keys(text)
    assert len(set(before)) == 2
    assert keys(text + "t,2\n")[:2] == before
    assert keys("metric,value\nt,1\nt,2\n")[1] != before[1]


def test_a_column_may_be_the_key() -> None:
    assert keys("id,metric,value\na,t,1\nb,t,1\n", "id") == ["a", "b"]
    assert keys('{"id":7,"metric":"t","value":1}', "id") == ["7"]


def test_a_key_that_comes_again_or_is_none_costs_its_row() -> None:
    assert bad("id,metric,value\na,t,1\na,t,2\n", "id").reason == "id a is already on line 2"
    assert bad("id,metric,value\n,t,1\n", "id").reason.startswith("id: expected a text that tells the sample")
    assert bad('{"id":1.5,"metric":"t","value":1}', "id").reason.startswith("id: expected a text that tells the sample")


def test_samples_are_counted_without_blank_lines() -> None:
    assert read_samples(["metric,value\n", "t,1\n", "\n", "t,warm\n"]).count() == 2
    assert read_samples(['{"metric":"t","value":1}\n', "\n"]).count() == 1


def late(*rows: str) -> list[int]:
    """The lines of the samples that come too late; a row is METRIC,DEVICE,MINUTE."""
    text = "metric,value,timestamp,dimensions.Device\n"
    for row in rows:
        metric, device, minute = row.split(",")
        text += f"{metric},1,{minute and f'2026-05-01T12:{minute}Z'},{device}\n"
    order = LateSamples()
    return [row.line for row in read(text) if isinstance(row, SampleRow) and order.is_late(row)]


def test_a_sample_is_late_that_is_older_by_more_than_five_minutes() -> None:
    assert late("t,A,30", "t,A,25", "t,A,24", "t,A,30:01", "t,A,25", "t,A,") == [4, 6]
    assert late("t,A,30", "t,B,00", "u,A,00", "t,,00") == []


def test_the_order_of_the_first_series_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_SERIES", 2)
    assert late("t,A,30", "t,B,30", "t,C,30", "t,C,00", "t,B,00") == [6]
