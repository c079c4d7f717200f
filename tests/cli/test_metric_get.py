"""``ioto-async metric get`` and ``list``: what is asked, and how it is shown."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ioto_async._install import install_command
from ioto_async.cli.metric.arguments import format_duration, parse_date, parse_pairs
from ioto_async.cli.options import parse_duration
from ioto_async.emulator import EmulatorThread, Fault
from ioto_async.errors import InvalidArgumentError
from tests.rows import each_row

from .metrics import Metrics, lines, requests

# What is asked ----------------------------------------------------------------------------------------------------


@each_row("text, seconds", [("90s", 90), ("5m", 300), ("1h", 3600), ("1d", 86_400), ("4w", 2_419_200), ("1.5h", 5400)])
def test_durations_have_a_unit(text: str, seconds: float) -> None:
    assert parse_duration("--period", text) == seconds


@each_row("text", ["", "5", "5x", "-5m", "0s", "1h30m", "h", "5 m", "nans"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"--period: expected a duration such as 90s"):
        parse_duration("--period", text)


@each_row(
    "seconds, words",
    [
        (30, "30s"),
        (300, "5m"),
        (7200, "2h"),
        (43_200, "12h"),
        (2_628_000, "30.4d"),
        (0.5, "0.5s"),
    ],
)
def test_a_duration_is_written_in_its_largest_unit(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


@each_row("text", ["today", "2026-05-01", "2026-05-01T12:00"])
def test_a_date_without_its_offset_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"--start: expected an ISO date with its offset"):
        parse_date("--start", text)


@each_row("words", [["Device"], ["=x"], ["Device="], ["a=1", "a=2"]])
def test_dimensions_are_names_and_values(words: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"--dimensions: "):
        parse_pairs("--dimensions", words)


def test_the_request_has_what_the_options_say(metrics: Metrics, cloud: EmulatorThread) -> None:
    metrics(
        *("get", "DEV1", "temperature", "--period", "4w", "--statistic", "max", "--start", "2026-05-01T12:00+02:00"),
        *("--dimensions", "Room=a=b", "--dimensions", "Device=x-{id}", "--namespace", "Own"),
    )
    (body,) = requests(cloud, "metric/fetch")
    assert body["deviceId"] == "DEV1"
    assert body["items"] == [
        {
            "namespace": "Own",
            "metric": "temperature",
            "dimensions": {"Room": "a=b", "Device": "x-DEV1"},
            "statistic": "max",
            "period": 2_419_200,
            "start": 1_777_629_600_000,
        }
    ]


def test_by_default_it_is_the_average_of_a_day_of_the_device(metrics: Metrics, cloud: EmulatorThread) -> None:
    metrics("get", "DEV1", "temperature")
    metrics("get", "DEV1", "temperature", "--dimensions", "{}")
    first, second = (body["items"][0] for body in requests(cloud, "metric/fetch"))
    assert (first["dimensions"], first["statistic"], first["period"]) == ({"Device": "DEV1"}, "avg", 86_400)
    assert second["dimensions"] == {}


def test_wrong_usage_is_reported_and_nothing_is_written(metrics: Metrics) -> None:
    metrics.add("DEV1", 21.5)

    @each_row(
        "options, complaint",
        [
            (["--period", "5x"], "--period: expected a duration"),
            (["--statistic", "mean"], "--statistic: expected avg, min"),
            (["--start", "today"], "--start: expected an ISO date"),
            (["--dimensions", "Device"], "--dimensions: expected NAME=VALUE, got 'Device'"),
            (["--out", "points.txt"], "--out: expected a name that ends in .csv"),
            (["--graph", "--output", "csv"], "--graph: stdout has the csv: give --out FILE"),
            (["--plot", "points.jpg"], "--plot: expected a name that ends in .png or .svg, got points.jpg"),
            (["--out", "no-such-folder/points.csv"], "--out: No such file or directory"),
        ],
    )
    def check(options: list[str], complaint: str) -> None:
        result = metrics("get", "DEV1", "temperature", *options)
        assert (result.status, result.stdout) == (2, "")
        assert result.stderr.startswith(f"ioto-async: {complaint}")

    check()


# How it is shown --------------------------------------------------------------------------------------------------


def test_the_table_has_times_values_and_counts(metrics: Metrics) -> None:
    metrics.add("DEV1", 20)
    metrics.add("DEV1", 23)
    result = metrics("get", "DEV1", "temperature", "--period", "5m")
    title, _, header, _, *rows, _ = result.stdout.splitlines()
    assert result.status == 0
    assert title == "temperature of DEV1: avg, points of 30s"
    assert header.split("┃")[1:-1] == [" time (UTC)           ", "  avg ", " samples "]
    assert rows[0].split("│")[1:-1] == [" 2026-05-01T11:55:00Z ", "      ", "       0 "]  # no samples: no average
    assert rows[-1].split("│")[1:-1] == [" 2026-05-01T12:00:00Z ", " 21.5 ", "       2 "]


def test_a_count_of_nothing_is_zero(metrics: Metrics) -> None:
    metrics.add("DEV1", 20)
    rows = lines(metrics("get", "DEV1", "temperature", "--statistic", "count", "--output", "jsonl").stdout)
    assert [row["value"] for row in rows] == [0] * 11 + [1]


def test_accumulated_it_is_one_point(metrics: Metrics) -> None:
    metrics.add("DEV1", 20, ago=7000)
    metrics.add("DEV1", 24)
    result = metrics("get", "DEV1", "temperature", "--accumulate", "--output", "jsonl")
    (row,) = lines(result.stdout)
    assert (row["value"], row["count"], row["timestamp"]) == (22, 2, "2026-05-01T12:00:00Z")
    assert "one point for 1d" in metrics("get", "DEV1", "temperature", "--accumulate").stdout


def test_csv_has_a_column_for_each_dimension(metrics: Metrics) -> None:
    metrics.add("DEV1", 21.5)
    result = metrics("get", "DEV1", "temperature", "--period", "5m", "--output", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert rows[-1] == {
        "device_id": "DEV1",
        "namespace": "Embedthis/Device",
        "metric": "temperature",
        "dimensions.Device": "DEV1",
        "statistic": "avg",
        "period": "300",
        "timestamp": "2026-05-01T12:00:00Z",
        "value": "21.5",
        "count": "1",
        "error": "",
    }
    assert (rows[0]["value"], rows[0]["count"]) == ("", "0")


def test_jsonl_has_the_dimensions_as_an_object(metrics: Metrics) -> None:
    metrics.add("DEV1", 21.5)
    *_, row = lines(metrics("get", "DEV1", "temperature", "--output", "jsonl").stdout)
    assert row == {
        "device_id": "DEV1",
        "namespace": "Embedthis/Device",
        "metric": "temperature",
        "dimensions": {"Device": "DEV1"},
        "statistic": "avg",
        "period": 86_400,
        "timestamp": "2026-05-01T12:00:00Z",
        "value": 21.5,
        "count": 1,
        "error": None,
    }


def test_parquet_has_types(metrics: Metrics) -> None:
    metrics.add("DEV1", 21.5)
    out = metrics.folder / "points.parquet"
    polars = pytest.importorskip("polars", reason="polars comes with the extra all")
    assert metrics("get", "DEV1", "temperature", "--out", out).stdout == ""
    frame = polars.read_parquet(out)
    assert frame.schema["timestamp"] == polars.Datetime("us", "UTC")
    assert frame.schema["value"] == polars.Float64()
    assert frame.schema["dimensions.Device"] == polars.String()
    assert frame.row(-1, named=True)["value"] == 21.5


def test_parquet_goes_to_a_pipe(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics.add("DEV1", 21.5)
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe))
    polars = pytest.importorskip("polars", reason="polars comes with the extra all")
    status = metrics("get", "DEV1", "temperature", "--output", "parquet").status
    assert (status, polars.read_parquet(pipe.getvalue()).height) == (0, 12)


def test_parquet_is_not_for_a_terminal(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow comes with the extra all")
    monkeypatch.setattr("ioto_async.cli.metric.tables.sys.stdout.isatty", lambda: True)
    result = metrics("get", "DEV1", "temperature", "--output", "parquet")
    assert (result.status, "parquet is not for a terminal: give --out FILE" in result.stderr) == (2, True)


def test_what_is_not_installed_is_named_with_its_extra(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(metrics.folder)
    metrics.add("DEV1", 21.5)

    @each_row(
        "options, missing, extra",
        [
            (["--output", "parquet", "--out", "points.parquet"], "pyarrow", "parquet"),
            (["--graph"], "plotext", "plot"),
            (["--plot", "points.png"], "matplotlib", "plot"),
        ],
    )
    def check(options: list[str], missing: str, extra: str) -> None:
        with monkeypatch.context() as patch:
            for name in [name for name in sys.modules if name.split(".")[0] == missing]:
                patch.delitem(sys.modules, name)
            patch.setitem(sys.modules, missing, None)
            result = metrics("get", "DEV1", "temperature", *options)
        assert result.status == 2
        assert result.stderr.startswith(f"ioto-async: {options[0]}: ")
        assert "is not installed" in result.stderr
        assert result.stderr.endswith(f": {install_command(extra)}\n")
        assert not list(metrics.folder.glob("points*"))

    check()


def test_no_extra_is_loaded_that_is_not_used(metrics: Metrics, cloud: EmulatorThread) -> None:
    extras = {"aiomqtt", "matplotlib", "pandas", "plotext", "polars", "pyarrow"}
    code = f"""
import sys
from ioto_async.cli import _run
assert _run(["metric", "get", "DEV1", "temperature", "--output", "csv"]) == 0
print({extras} & sys.modules.keys())
"""
    child = subprocess.run([sys.executable, "-c", code], env=os.environ | cloud.env, capture_output=True, text=True)
    assert child.stdout.splitlines()[-1] == "set()", child.stderr


def test_a_title_does_with_what_stdout_can_encode(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics.add("DEV1", 20, metric="Wärme")
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding="ascii"))
    status = metrics("get", "DEV1", "Wärme").status
    sys.stdout.flush()
    assert (status, pipe.getvalue().splitlines()[0]) == (0, b"W?rme of DEV1: avg, points of 2h")


def test_a_metric_that_is_not_there_is_reported(metrics: Metrics) -> None:
    result = metrics("get", "DEV1", "pressure")
    assert (result.status, result.stdout) == (0, "")
    assert result.stderr == "ioto-async: there is no metric pressure of DEV1 with these dimensions\n"


def test_a_metric_that_the_cloud_cannot_read_is_a_failure(metrics: Metrics, cloud: EmulatorThread) -> None:
    answer = {"data": [{"metric": "temperature", "error": "out of order"}]}
    cloud.faults.add(Fault("metric/fetch", body=json.dumps(answer)))
    result = metrics("get", "DEV1", "temperature", "--output", "csv")
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr == "ioto-async: temperature of DEV1: out of order\n"


@each_row("code, status", [(401, 3), (400, 1)])
def test_the_exit_status_tells_of_the_failure(metrics: Metrics, cloud: EmulatorThread, code: int, status: int) -> None:
    cloud.faults.add(Fault("metric/fetch", status=code))
    assert metrics("get", "DEV1", "temperature").status == status


# The list ---------------------------------------------------------------------------------------------------------


def test_the_list_has_every_metric(metrics: Metrics, cloud: EmulatorThread) -> None:
    metrics.add("DEV1", 1)
    metrics.add("DEV2", 1, metric="humidity")
    result = metrics("list", cloud.cloud.id, "--output", "csv")
    assert result.stdout.splitlines() == [
        "namespace,metric,dimensions",
        "Embedthis/Device,humidity,Device=DEV2",
        "Embedthis/Device,temperature,Device=DEV1",
    ]
    (row,) = lines(metrics("list", cloud.cloud.id, "--output", "jsonl", "--metric", "humidity").stdout)
    assert row == {"namespace": "Embedthis/Device", "metric": "humidity", "dimensions": {"Device": "DEV2"}}
    table = metrics("list", cloud.cloud.id).stdout
    assert "│ Embedthis/Device │ humidity    │ Device=DEV2 │" in table
    array = json.loads(metrics("list", cloud.cloud.id, "--output", "json").stdout)
    assert [row["metric"] for row in array] == ["humidity", "temperature"]


@each_row("output, stdout", {"table": "", "jsonl": "", "json": "[]\n", "csv": "namespace,metric,dimensions\n"}.items())
def test_an_empty_list_is_said_to_be_empty(metrics: Metrics, cloud: EmulatorThread, output: str, stdout: str) -> None:
    result = metrics("list", cloud.cloud.id, "--metric", "nothing", "--output", output)
    assert (result.status, result.stdout) == (0, stdout)
    assert result.stderr == f"ioto-async: {cloud.cloud.id} has no such metrics\n"


def test_a_file_that_is_there_is_replaced_when_the_new_one_is_whole(metrics: Metrics) -> None:
    metrics.add("DEV1", 1)
    out = metrics.file("points.csv", "before")
    assert metrics("get", "DEV1", "temperature", "--out", out).status == 0
    assert out.read_text().startswith("device_id,")
    assert [path.name for path in Path(metrics.folder).iterdir()] == ["points.csv"]
