"""Metrics as rows and data frames: every point once, and nothing but what the metrics say."""

import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ioto_async
from ioto_async.models import Metric, MetricRow, Metrics, Point
from tests.rows import each_row

WHEN = datetime(2024, 1, 23, 2, 3, 57, 62000, UTC)
COLUMNS = ["device_id", "id", "namespace", "metric", "dimensions", "period", "timestamp", "value", "count", "error"]

TEMPERATURE = Metric(
    device_id="D1",
    namespace="Embedthis/Device",
    metric="temp",
    dimensions={"Device": "D1"},
    period=300,
    samples=10,
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
            "period": 300,
            "timestamp": None,
            "value": None,
            "count": 0,
            "error": None,
        },
    ]


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
        wanted += [(point.timestamp, point.value, point.count) for point in metric.points or ()]
    assert found == wanted


# Data frames ------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value of a frame as rows have it: whole numbers compare with the floats they have become."""
    import pandas

    if value is None or value is pandas.NaT or (isinstance(value, float) and value != value):
        return None
    return value.to_pydatetime() if isinstance(value, pandas.Timestamp) else value


def flat(row: MetricRow, columns: list[str]) -> dict[str, Any]:
    """A row with a member for each of the *columns*."""
    found: dict[str, Any] = {}
    for column in columns:
        name, _, dimension = column.partition(".")
        value: Any = dict(row)[name]
        if dimension:
            value = value.get(dimension)
            if isinstance(value, bool):
                value = str(value).lower()
            elif isinstance(value, (int, float)):
                value = repr(value)
        elif name in ("period", "value", "count") and value is not None:
            value = float(value)
        found[column] = value
    return found


def dimensions_of(table: Metrics) -> set[str]:
    return {f"dimensions.{name}" for row in table.to_rows() for name in row["dimensions"]}


@settings(max_examples=50, deadline=None)
@given(tables)
def test_frames_have_what_the_rows_have(table: Metrics) -> None:
    in_pandas, in_polars = table.to_pandas(), table.to_polars()
    columns = [*in_pandas.columns]
    assert {*columns} == ({*COLUMNS} - {"dimensions"}) | dimensions_of(table)
    assert in_polars.columns == columns
    rows = [flat(row, columns) for row in table.to_rows()]
    assert [{name: plain(value) for name, value in row.items()} for row in in_pandas.to_dict("records")] == rows
    assert in_polars.to_dicts() == rows


@settings(max_examples=50, deadline=None)
@given(tables)
def test_the_types_of_columns_do_not_depend_on_what_is_in_them(table: Metrics) -> None:
    import polars

    pandas_types, polars_types = table.to_pandas().dtypes, table.to_polars().schema
    for name in ("period", "value", "count"):
        assert pandas_types[name] == "float64"
        assert polars_types[name] == polars.Float64
    assert pandas_types["timestamp"] == "datetime64[us, UTC]"
    assert polars_types["timestamp"] == polars.Datetime("us", "UTC")
    assert all(polars_types[name] == polars.String for name in dimensions_of(table))


@settings(max_examples=50, deadline=None)
@given(tables.filter(lambda table: bool(table.to_rows())))
def test_dimensions_are_named_as_pandas_names_them(table: Metrics) -> None:
    import pandas

    rows: list[dict[str, Any]] = [dict(row) for row in table.to_rows()]
    theirs = {str(name) for name in pandas.json_normalize(rows).columns if str(name).startswith("dimensions.")}
    assert {name for name in table.to_pandas().columns if name.startswith("dimensions.")} == theirs


def test_dimensions_stand_where_the_rows_have_them() -> None:
    columns = ["device_id", "id", "namespace", "metric", "dimensions.Device", "dimensions.Room"]
    assert [*Metrics([TEMPERATURE, FAILED]).to_pandas().columns][:6] == columns
    assert Metrics([TEMPERATURE, FAILED]).to_polars().columns[:6] == columns


def test_a_table_of_nothing_has_its_columns() -> None:
    columns = [name for name in COLUMNS if name != "dimensions"]
    assert [*Metrics().to_pandas().columns] == columns
    assert Metrics().to_polars().columns == columns


def test_a_frame_can_be_worked_with() -> None:
    import polars

    frame = Metrics([TEMPERATURE, FAILED]).to_pandas()
    assert frame.groupby("dimensions.Device")["value"].mean()["D1"] == 20
    assert frame[frame["error"].notna()]["device_id"].tolist() == ["D2"]
    assert Metrics([TEMPERATURE]).to_polars().filter(polars.col("count") > 0)["timestamp"].to_list() == [WHEN]


@each_row("package", ["pandas", "polars"])
def test_a_package_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    expected = rf"{package} is not installed.*pip install 'ioto-async\[{package}\]'"
    with pytest.raises(ModuleNotFoundError, match=expected):
        getattr(Metrics([TEMPERATURE]), f"to_{package}")()
    assert len(Metrics([TEMPERATURE]).to_rows()) == 2
