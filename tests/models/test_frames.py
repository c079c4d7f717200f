"""Metrics as data frames of pandas and polars: what the rows say, and types that do not depend on it."""

import re
import sys
from typing import Any

import pytest
from hypothesis import given, settings

from ioto_async._install import install_command
from ioto_async.models import MetricRow, Metrics
from tests.rows import each_row

from .test_tables import COLUMNS, FAILED, TEMPERATURE, WHEN, tables

pandas = pytest.importorskip("pandas", reason="pandas comes with the extra all")
polars = pytest.importorskip("polars", reason="polars comes with the extra all")


def plain(value: Any) -> Any:
    """A value of a frame as rows have it: whole numbers compare with the floats they have become."""
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


@settings(max_examples=50)
@given(tables)
def test_frames_have_what_the_rows_have(table: Metrics) -> None:
    in_pandas, in_polars = table.to_pandas(), table.to_polars()
    columns = [*in_pandas.columns]
    assert {*columns} == ({*COLUMNS} - {"dimensions"}) | dimensions_of(table)
    assert in_polars.columns == columns
    rows = [flat(row, columns) for row in table.to_rows()]
    assert [{name: plain(value) for name, value in row.items()} for row in in_pandas.to_dict("records")] == rows
    assert in_polars.to_dicts() == rows


@settings(max_examples=50)
@given(tables)
def test_the_types_of_columns_do_not_depend_on_what_is_in_them(table: Metrics) -> None:
    pandas_types, polars_types = table.to_pandas().dtypes, table.to_polars().schema
    for name in ("period", "value", "count"):
        assert pandas_types[name] == "float64"
        assert polars_types[name] == polars.Float64
    assert pandas_types["timestamp"] == "datetime64[us, UTC]"
    assert polars_types["timestamp"] == polars.Datetime("us", "UTC")
    assert all(polars_types[name] == polars.String for name in dimensions_of(table))


@settings(max_examples=50)
@given(tables.filter(lambda table: bool(table.to_rows())))
def test_dimensions_are_named_as_pandas_names_them(table: Metrics) -> None:
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
    frame = Metrics([TEMPERATURE, FAILED]).to_pandas()
    assert frame.groupby("dimensions.Device")["value"].mean()["D1"] == 20
    assert frame[frame["error"].notna()]["device_id"].tolist() == ["D2"]
    assert Metrics([TEMPERATURE]).to_polars().filter(polars.col("count") > 0)["timestamp"].to_list() == [WHEN]


@each_row("package", ["pandas", "polars"])
def test_a_package_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    expected = f"{package} is not installed, which to_{package} needs: {install_command(package)}"
    with pytest.raises(ModuleNotFoundError, match=re.escape(expected)):
        getattr(Metrics([TEMPERATURE]), f"to_{package}")()
    assert len(Metrics([TEMPERATURE]).to_rows()) == 2
