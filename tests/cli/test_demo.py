"""``ioto-async demo``, as a user runs it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from ioto_async.cli import _run
from tests.rows import each_row

COUNTS = ("devices", "claimed", "already_claimed", "provisioned", "kept", "failed")
METRICS = ("metrics_written", "metrics_read_back", "metrics_failed")


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("IOTO_")}
    return subprocess.run(
        [sys.executable, "-m", "ioto_async.cli", "demo", *options],
        cwd=folder,
        env=environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
    )


@attrs.frozen
class Run:
    child: subprocess.CompletedProcess[str]
    folder: Path

    @property
    def figures(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.child.stdout)
        return loaded


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of ``demo --devices 20 --json``, for all that look at it."""
    folder = tmp_path_factory.mktemp("demo")
    return Run(demo(folder, "--devices", "20", "--json"), folder)


def test_the_demo_works(run: Run) -> None:
    assert run.child.returncode == 0, run.child.stderr


def test_the_demo_prints_nothing_but_one_json_object_on_stdout(run: Run) -> None:
    assert len(run.child.stdout.splitlines()) == 1
    assert isinstance(run.figures, dict)


def test_no_bar_is_drawn_where_stderr_is_no_terminal(run: Run) -> None:
    assert run.child.stderr == ""


def test_every_device_is_claimed_and_provisioned(run: Run) -> None:
    assert [run.figures[name] for name in COUNTS] == [20, 20, 0, 20, 0, 0]


def test_every_device_has_its_metric_written_and_read_back(run: Run) -> None:
    assert [run.figures[name] for name in METRICS] == [20, 20, 0]


def test_the_requests_are_counted_and_timed(run: Run) -> None:
    figures = run.figures
    assert (figures["requests"], figures["metrics_requests"]) == (40, 40)
    assert all(figures[name] > 0 for name in ("requests_per_second", "p50_ms", "p99_ms"))
    assert figures["p50_ms"] <= figures["p99_ms"]


def test_the_files_are_where_the_figures_say(run: Run) -> None:
    out, manifest, fleet = (Path(run.figures[name]) for name in ("out", "manifest", "fleet"))
    ids = [line.partition(",")[0] for line in fleet.read_text().splitlines()[1:]]
    assert len(set(ids)) == 20
    for id in ids:
        assert {path.name for path in (out / id).iterdir()} == {"certificate.pem", "key.pem", "provision.json"}
    assert {json.loads(line)["id"] for line in manifest.read_text().splitlines()} == set(ids)


def test_by_default_the_files_go_to_a_new_temporary_folder(run: Run) -> None:
    (made,) = (path for path in run.folder.iterdir() if path.name.startswith("ioto-demo-"))
    assert Path(run.figures["out"]).is_relative_to(made)


def test_without_json_the_figures_are_a_table_and_out_tells_where_the_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(["demo", "--devices", "2", "--out", "here"]) == 0
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    for name, value in (("claimed", "2"), ("provisioned", "2"), ("failed", "0"), ("out", "here/devices")):
        assert re.search(rf"^\W*{name}\W+{value}\W*$", stdout, re.MULTILINE), name
    assert len(list((tmp_path / "here" / "devices").glob("*/key.pem"))) == 2


@each_row("number", ["0", "-1", "many", "1000001"])
def test_a_fleet_of_impossible_size_is_wrong_usage(capsys: pytest.CaptureFixture[str], number: str) -> None:
    assert _run(["demo", "--devices", number]) == 2
    assert "--devices" in capsys.readouterr().err


def test_a_file_as_folder_is_reported_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("")
    assert _run(["demo", "--devices", "1", "--out", str(tmp_path / "taken")]) in (1, 2)
    assert capsys.readouterr().err.startswith("ioto-async: ")
