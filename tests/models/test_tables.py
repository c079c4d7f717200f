"""Metrics as rows and data frames: every point once, and nothing but what the metrics say."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import ioto_async
from ioto_async.models import Metric, Metrics, Point

WHEN = datetime(2024, 1, 23, 2, 3, 57, 62000, UTC)
COLUMNS = [
    "device_id",
    "id",
    "namespace",
    "metric",
    "dimensions",
    "statistic",
    "period",
    "timestamp",
    "value",
    "count",
    "error",
]

TEMPERATURE = Metric(
    device_id="D1",
    namespace="Embedthis/Device",
    metric="temp",
    dimensions={"Device": "D1"},
    period=300,
    samples=10,
    statistic="avg",
    points=[Point(value=20, timestamp=WHEN, count=2), Point(value=None, timestamp=None, count=0)],
)
FAILED = Metric(device_id="D2", id="7", metric="temp", dimensions={"Device": "D2", "Room": 5}, error="no such metric")

texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
dates = st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
scalars = texts | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, -2.25])
points = st.builds(Point, value=numbers, timestamp=dates, count=numbers)
metrics = st.builds(
    Metric,
    device_id=texts,
    id=texts,
    namespace=texts,
    metric=texts,
    dimensions=st.none() | st.dictionaries(names, scalars, max_size=3),
    period=numbers,
    statistic=st.sampled_from([None, "avg", "sum", "count", "min", "p95"]),
    points=st.none() | st.lists(points, max_size=3),
    error=texts,
)
tables = st.lists(metrics, max_size=4).map(Metrics)


def test_every_point_has_a_row() -> None:
    assert Metrics([TEMPERATURE]).to_rows() == [
        {
            "device_id": "D1",
            "id": None,
            "namespace": "Embedthis/Device",
            "metric": "temp",
            "dimensions": {"Device": "D1"},
            "statistic": "avg",
            "period": 300,
            "timestamp": WHEN,
            "value": 20,
            "count": 2,
            "error": None,
        },
        {
            "device_id": "D1",
            "id": None,
            "namespace": "Embedthis/Device",
            "metric": "temp",
            "dimensions": {"Device": "D1"},
            "statistic": "avg",
            "period": 300,
            "timestamp": None,
            "value": None,
            "count": 0,
            "error": None,
        },
    ]


def test_a_point_without_samples_has_no_value_but_for_their_number_and_sum() -> None:
    """The service pads a series with points of value 0, which would spoil every average."""
    points = [Point(value=20, count=1), Point(value=0, count=0), Point(value=22, count=1)]
    found = {
        statistic: [row["value"] for row in Metrics([Metric(statistic=statistic, points=points)]).to_rows()]
        for statistic in ("avg", "min", "max", "current", "p95", None, "sum", "count")
    }
    assert [values for statistic, values in found.items() if statistic in ("sum", "count")] == [[20, 0, 22]] * 2
    assert [values for statistic, values in found.items() if statistic not in ("sum", "count")] == [[20, None, 22]] * 6


def test_an_item_that_failed_has_a_row_that_says_why() -> None:
    (row,) = Metrics([FAILED]).to_rows()
    assert (row["device_id"], row["id"], row["error"]) == ("D2", "7", "no such metric")
    assert (row["timestamp"], row["value"], row["count"]) == (None, None, None)


def test_a_metric_without_points_has_no_row() -> None:
    assert Metrics([Metric(metric="none", points=[]), Metric(metric="none")]).to_rows() == []


def test_the_metrics_of_several_devices_make_one_table() -> None:
    first, second = Metrics([TEMPERATURE]), Metrics([FAILED])
    both = Metrics([*first, *second])
    assert [row["device_id"] for row in both.to_rows()] == ["D1", "D1", "D2"]
    assert both == [TEMPERATURE, FAILED]


def test_a_row_is_not_the_metric_itself() -> None:
    rows = Metrics([TEMPERATURE]).to_rows()
    rows[0]["dimensions"]["Device"] = "changed"
    assert TEMPERATURE.dimensions == {"Device": "D1"}
    assert rows[1]["dimensions"] == {"Device": "D1"}


def test_the_class_is_at_hand() -> None:
    assert ioto_async.Metrics is Metrics


@given(tables)
def test_the_rows_are_the_points_and_the_failures(table: Metrics) -> None:
    rows = table.to_rows()
    assert len(rows) == sum(len(metric.points or ()) + (metric.error is not None) for metric in table)
    assert all([*row] == COLUMNS for row in rows)
    found = [(row["timestamp"], row["value"], row["count"]) for row in rows]
    wanted: list[Any] = []
    for metric in table:
        wanted += [(None, None, None)] * (metric.error is not None)
        for point in metric.points or ():
            is_empty = point.count == 0 and metric.statistic not in ("sum", "count")
            wanted.append((point.timestamp, None if is_empty else point.value, point.count))
    assert found == wanted


# Data frames ------------------------------------------------------------------------------------------------------


def test_a_dimension_that_is_nested_deep_is_text_all_the_same() -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    columns = Metrics([Metric(dimensions={"a": deep}, error="no")])._columns()
    assert columns["dimensions.a"] == ["[" * 401 + "]" * 401]
