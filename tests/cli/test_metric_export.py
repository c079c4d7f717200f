"""``ioto-async metric export``: the metrics of a fleet as one table."""

import csv
import errno
import io
import json
import os
import signal
import socket
from pathlib import Path

import orjson
import pytest

from ioto_async.bulk.locks import try_lock
from ioto_async.cli.metric import tables
from ioto_async.emulator import EmulatorThread, Fault
from tests.rawserver import GUARD
from tests.rows import each_row

from .fleets import piped, start
from .metrics import Metrics, lines, requests

FLEET = "id,name\nDEV1,a\nDEV2,b\nDEV3,c\n"


@pytest.fixture
def fleet(metrics: Metrics) -> Path:
    """Three devices with a sample of two metrics each."""
    for number in range(1, 4):
        metrics.add(f"DEV{number}", 20 + number)
        metrics.add(f"DEV{number}", 40 + number, metric="humidity")
    return metrics.file("fleet.csv", FLEET)


def export(metrics: Metrics, *options: object) -> list[str]:
    return ["export", "--devices", str(metrics.folder / "fleet.csv"), "--metric", "temperature", *map(str, options)]


# The table --------------------------------------------------------------------------------------------------------


def test_the_table_has_all_points_in_the_order_of_the_devices(metrics: Metrics, fleet: Path) -> None:
    result = metrics(*export(metrics, "--metric", "humidity", "--period", "5m", "--output", "csv", "--json"))
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert (result.status, len(rows)) == (0, 60)
    assert [(row["device_id"], row["metric"], row["value"]) for row in rows if row["value"]] == [
        ("DEV1", "temperature", "21"),
        ("DEV1", "humidity", "41"),
        ("DEV2", "temperature", "22"),
        ("DEV2", "humidity", "42"),
        ("DEV3", "temperature", "23"),
        ("DEV3", "humidity", "43"),
    ]
    figures = json.loads(result.stderr.splitlines()[-1])
    assert {name: figures[name] for name in ("devices", "failed", "series", "rows", "requests")} == {
        "devices": 3,
        "failed": 0,
        "series": 6,
        "rows": 60,
        "requests": 3,
    }


def test_all_metrics_of_a_device_are_one_request(metrics: Metrics, fleet: Path, cloud: EmulatorThread) -> None:
    metrics(*export(metrics, "--metric", "humidity", "--output", "jsonl"))
    bodies = requests(cloud, "metric/fetch")
    assert [body["deviceId"] for body in bodies] == ["DEV1", "DEV2", "DEV3"]
    assert [[item["metric"] for item in body["items"]] for body in bodies] == [["temperature", "humidity"]] * 3
    assert bodies[0]["items"][0]["dimensions"] == {"Device": "DEV1"}


@each_row("form, reader", [("csv", "read_csv"), ("jsonl", "read_ndjson"), ("parquet", "read_parquet")])
def test_the_name_of_the_file_tells_the_form(metrics: Metrics, fleet: Path, form: str, reader: str) -> None:
    polars = pytest.importorskip("polars", reason="polars comes with the extra all")
    out = metrics.folder / f"points.{form}"
    result = metrics(*export(metrics, "--out", out, "--json"))
    assert (result.status, result.figures["out"]) == (0, str(out))
    assert getattr(polars, reader)(out).height == 36
    assert not (metrics.folder / f"points.{form}.part").exists()


def test_without_a_word_it_is_csv_on_stdout(metrics: Metrics, fleet: Path) -> None:
    result = metrics(*export(metrics))
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert (result.status, {row["device_id"] for row in rows}) == (0, {"DEV1", "DEV2", "DEV3"})


def test_parquet_is_written_by_row_groups(metrics: Metrics, fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(tables, "_ROW_GROUP", 12)
    out = metrics.folder / "points.parquet"
    metrics(*export(metrics, "--out", out))
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow comes with the extra all")
    file = parquet.ParquetFile(out)
    assert (file.metadata.num_rows, file.num_row_groups) == (36, 3)


def test_rows_of_csv_and_jsonl_are_written_as_they_come(cloud: EmulatorThread, metrics: Metrics) -> None:
    ids = [cloud.cloud.register_device() for _ in range(300)]
    for id in ids:
        cloud.cloud.claim_device(id)
        metrics.add(id, 1)
    metrics.file("fleet.csv", "\n".join(ids))
    child = start("metric", *export(metrics, "--output", "jsonl"), environ=cloud.env)
    assert child.stdout is not None
    first = child.stdout.readline()
    assert orjson.loads(first)["device_id"] == ids[0]
    child.send_signal(signal.SIGINT)  # the pipe is full, so that there is more to come
    stdout, stderr = child.communicate(timeout=GUARD)
    rows = lines((first + stdout).decode())
    assert (child.returncode, rows[-1]["device_id"] != ids[-1]) == (130, True)
    assert b"ioto-async: interrupted\n" in stderr


@each_row(
    "text",
    [
        "DEV1\nDEV2\nDEV3\n",
        '{"id":"DEV1"}\n{"id":"DEV2"}\n{"id":"DEV3"}\n',
        "name,id\na,DEV1\nb,DEV2\nc,DEV3\n",
    ],
)
def test_files_are_read_as_those_of_the_fleet_commands(metrics: Metrics, fleet: Path, text: str) -> None:
    fleet.write_text(text)
    rows = lines(metrics(*export(metrics, "--output", "jsonl")).stdout)
    assert {row["device_id"] for row in rows} == {"DEV1", "DEV2", "DEV3"}


def test_the_column_of_the_ids_may_be_named(metrics: Metrics, fleet: Path) -> None:
    fleet.write_text("serial,id\nDEV1,x\n")
    rows = lines(metrics(*export(metrics, "--output", "jsonl", "--id-column", "serial")).stdout)
    assert {row["device_id"] for row in rows} == {"DEV1"}


def test_devices_come_from_a_pipe(metrics: Metrics, fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with piped("DEV1\nDEV3\n", monkeypatch):
        result = metrics("export", "--devices", "-", "--metric", "temperature", "--output", "jsonl")
    assert result.status == 0
    assert {row["device_id"] for row in lines(result.stdout)} == {"DEV1", "DEV3"}


# Failures ---------------------------------------------------------------------------------------------------------


def test_what_fails_is_reported_counted_and_has_a_row(metrics: Metrics, fleet: Path, cloud: EmulatorThread) -> None:
    fleet.write_text("id\nDEV1\n..\nDEV2\n")
    cloud.faults.add(Fault("metric/fetch", status=400, body="no such device"))
    result = metrics(*export(metrics, "--output", "jsonl", "--json", "--concurrency", "1"))
    rows = lines(result.stdout)
    assert result.status == 1
    assert {row["device_id"]: row["error"] for row in rows} == {
        "DEV1": "metric/fetch: 400 no such device",
        "..": "id: expected up to 128 letters, digits, '-' and '_', got '..'",
        "DEV2": None,
    }
    first, second, figures = result.stderr.splitlines()
    assert {first, second} == {
        "line 2: DEV1: metric/fetch: 400 no such device",
        "line 3: ..: id: expected up to 128 letters, digits, '-' and '_', got '..'",
    }
    assert {name: json.loads(figures)[name] for name in ("devices", "failed", "series")} == {
        "devices": 3,
        "failed": 2,
        "series": 1,
    }


def test_one_metric_that_fails_does_not_affect_the_others(metrics: Metrics, fleet: Path, cloud: EmulatorThread) -> None:
    fleet.write_text("DEV1\n")
    points = [{"value": 1, "count": 1, "timestamp": 1_777_629_600_000}]
    answers = [
        {"namespace": "Embedthis/Device", "metric": "temperature", "error": "too old"},
        {"namespace": "Embedthis/Device", "metric": "humidity", "points": points},
    ]
    cloud.faults.add(Fault("metric/fetch", body=json.dumps({"data": answers})))
    result = metrics(*export(metrics, "--metric", "humidity", "--output", "jsonl", "--json"))
    temperature, humidity = lines(result.stdout)
    assert (temperature["metric"], temperature["error"]) == ("temperature", "metric/fetch: 200 too old")
    assert (humidity["metric"], humidity["value"], humidity["error"]) == ("humidity", 1, None)
    assert result.status == 1
    assert result.stderr.splitlines()[0] == "line 1: DEV1: temperature: metric/fetch: 200 too old"


def test_the_file_is_written_though_some_devices_fail(metrics: Metrics, fleet: Path, cloud: EmulatorThread) -> None:
    cloud.faults.add(Fault("metric/fetch", status=400))
    out = metrics.folder / "points.csv"
    assert metrics(*export(metrics, "--out", out)).status == 1
    assert len(out.read_text().splitlines()) == 1 + 1 + 24


def test_metrics_that_no_device_has_are_reported(metrics: Metrics, fleet: Path) -> None:
    metrics.add("DEV2", 1, metric="rare")
    result = metrics(*export(metrics, "--metric", "rare", "--metric", "typo", "--metric", "humdity", "--json"))
    told = result.stderr.splitlines()[:-1]
    assert (result.status, told) == (0, ["no device has points of typo, humdity with these dimensions"])


def test_a_metric_that_could_not_be_read_is_not_missing(metrics: Metrics, fleet: Path, cloud: EmulatorThread) -> None:
    cloud.faults.add(Fault("metric/fetch", status=400, times=None))
    assert "no device has points" not in metrics(*export(metrics)).stderr


def test_failures_beyond_the_first_are_counted(metrics: Metrics, fleet: Path) -> None:
    fleet.write_text("DEV1\n" + "..\n" * 25)
    result = metrics(*export(metrics, "--output", "csv", "--json"))
    assert "and 22 more like line 2: id: expected" in result.stderr
    assert "25 failed: they have rows with an error in the table\n" in result.stderr


# Runs that end early ----------------------------------------------------------------------------------------------


def test_a_refused_token_ends_it_and_leaves_the_file_as_it_was(
    metrics: Metrics, fleet: Path, cloud: EmulatorThread
) -> None:
    cloud.faults.add(Fault("metric/fetch", status=401, times=None))
    out = metrics.file("points.csv", "before")
    result = metrics(*export(metrics, "--out", out, "--json", "--concurrency", "1"))
    assert (result.status, out.read_text()) == (3, "before")
    assert not (metrics.folder / "points.csv.part").exists()
    assert "out" not in result.figures
    assert result.figures["stopped"].startswith("metric/fetch: 401")
    assert result.stderr.splitlines()[-1].startswith("ioto-async: metric/fetch: 401")


def test_a_cloud_that_is_not_reached_ends_it(metrics: Metrics, fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    monkeypatch.setenv("IOTO_API", f"http://127.0.0.1:{port}")
    assert metrics(*export(metrics, "--output", "jsonl")).status == 4


@pytest.mark.slow
@each_row("number, status", [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_an_interrupted_export_leaves_no_file(
    metrics: Metrics, fleet: Path, cloud: EmulatorThread, heard_hangup: None, number: signal.Signals, status: int
) -> None:
    out = metrics.folder / "points.csv"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = cloud.env | {"IOTO_API": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        child = start("metric", *export(metrics, "--out", out, "--json"), environ=environ)
        connection, _ = silent.accept()
        with connection:
            assert b"metric/fetch" in connection.recv(1000)
            assert (metrics.folder / "points.csv.part").exists()
            child.send_signal(number)
            stdout, stderr = child.communicate(timeout=GUARD)
    assert (child.returncode, json.loads(stdout)["stopped"]) == (status, f"by {number.name}")
    assert b"Traceback" not in stderr
    assert [path.name for path in metrics.folder.iterdir()] == ["fleet.csv"]


def test_a_table_for_which_the_disk_has_no_room_ends_with_the_figures(
    metrics: Metrics, fleet: Path, cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fsync)
        result = metrics(*export(metrics, "--out", metrics.folder / "points.csv", "--json"))
    assert (result.status, result.figures["devices"]) == (1, 3)
    assert "No space left on device" in result.figures["stopped"]
    told, error = result.stderr.splitlines()
    assert told.startswith(
        f"what was read is kept in {metrics.folder / 'points.csv'}.journal: to go on, run ioto-async "
    )
    assert error == f"ioto-async: {result.figures['stopped']}"
    assert {path.name for path in metrics.folder.iterdir()} == {"fleet.csv", "points.csv.journal"}
    cloud.requests.clear()
    assert metrics(*export(metrics, "--out", metrics.folder / "points.csv")).status == 0
    assert not cloud.requests


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_device_that_takes_no_more_is_named(metrics: Metrics, cloud: EmulatorThread) -> None:
    ids = [cloud.cloud.register_device() for _ in range(60)]  # more than what is buffered
    for id in ids:
        cloud.cloud.claim_device(id)
        metrics.add(id, 1)
    metrics.file("fleet.csv", "\n".join(ids))
    result = metrics(*export(metrics, "--out", "/dev/full", "--output", "csv", "--json"))
    assert (result.status, 0 < result.figures["devices"] < 60) == (1, True)
    assert result.figures["stopped"] == "No space left on device: /dev/full"


def test_two_exports_into_one_file_do_not_meet(metrics: Metrics, fleet: Path) -> None:
    out = metrics.folder / "points.csv"
    with (metrics.folder / "points.csv.part").open("ab") as other:
        assert try_lock(other)
        result = metrics(*export(metrics, "--out", out))
        assert (result.status, f"--out: another run is writing {out}" in result.stderr) == (2, True)
    assert metrics(*export(metrics, "--out", out)).status == 0  # what a killed run has left is written over


@each_row(
    "options, complaint",
    [
        (["--out", "points.txt"], "--out: expected a name that ends in .csv, .jsonl or .parquet, or --output: points"),
        (["--output", "csv", "--metric", "temperature"], "--metric: a name is given twice: temperature"),
        (["--output", "csv", "--period", "x"], "--period: expected a duration"),
        (
            ["--output", "csv", "--dimensions", "Device=1", "--dimensions", "Device=2"],
            "--dimensions: Device is given twice",
        ),
        (["--output", "csv", "--rate", "x"], "--rate: expected requests such as 200/s"),
        (["--out", "/", "--output", "csv"], "--out: Is a directory: /"),
    ],
)
def test_wrong_usage_is_reported_and_nothing_is_sent(
    metrics: Metrics, fleet: Path, cloud: EmulatorThread, options: list[str], complaint: str
) -> None:
    result = metrics(*export(metrics, *options))
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr.startswith(f"ioto-async: {complaint}")
    assert requests(cloud, "metric/fetch") == []


def test_a_file_without_rows_is_reported(metrics: Metrics, fleet: Path) -> None:
    fleet.write_text("")
    result = metrics(*export(metrics, "--output", "csv"))
    assert result.status == 2
    assert result.stderr.startswith("ioto-async: --devices: no rows: expected a CSV with a column id")


@each_row(
    "text, complaint",
    [
        (None, "--devices: No such file or directory: "),
        ("[]", "--devices: looks like a JSON array"),
        ("id,id\n", "--devices: the header names a column twice"),
        ("serial,name\n", "--devices: the header has no column id"),
        ("id;name\n", "--devices: columns are separated by ';'"),
    ],
)
def test_what_is_wrong_with_the_file_names_its_option(
    metrics: Metrics, fleet: Path, text: str | None, complaint: str
) -> None:
    if text is None:
        fleet.unlink()
    else:
        fleet.write_text(text)
    result = metrics(*export(metrics))
    assert (result.status, result.stderr.startswith(f"ioto-async: {complaint}")) == (2, True), result.stderr


def test_what_is_wrong_with_a_pipe_names_its_option(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    with piped("", monkeypatch):
        result = metrics("export", "--devices", "-", "--metric", "t")
    assert result.status == 2
    assert result.stderr.startswith("ioto-async: --devices: no rows")
