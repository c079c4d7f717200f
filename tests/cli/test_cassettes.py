"""``--record`` and ``--replay`` before any command."""

import json
import os
import sys
from pathlib import Path

import pytest

from ioto_async.cli import _run
from ioto_async.emulator import EmulatorThread
from ioto_async.transport.cassette import _named
from ioto_async.transport.cassette_file import read
from tests.rows import each_row

from .fleets import Fleet


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    _named.cache_clear()  # another process would have none
    return tmp_path / "trip.cassette"


@pytest.fixture
def offline(cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this package is set."""
    for name in [name for name in os.environ if name.startswith(("IOTO_", "BUILDER_"))]:
        monkeypatch.delenv(name)


def test_a_command_is_recorded_and_replayed(
    cloud: EmulatorThread, fleet: Fleet, tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.file.write_text("id\nDEV1\nDEV2\n")
    command = ["provision", str(fleet.file), "--no-journal", "--out", str(fleet.out), "--json"]
    assert _run(["--record", str(tape), *command]) == 0
    figures = json.loads(fleet.capture.readouterr().out)
    assert figures["provisioned"] == 2
    assert "IOTO_RECORD" not in os.environ
    text = tape.read_text("utf-8")
    assert [secret for secret in (cloud.token, cloud.account_id, "DEV1") if secret in text] == []
    cloud.requests.clear()
    for name in [name for name in os.environ if name.startswith("IOTO_")]:
        monkeypatch.delenv(name)
    out = str(fleet.folder / "again")
    assert _run([f"--replay={tape}", *command[:-2], out, "--json"]) == 0
    assert json.loads(fleet.capture.readouterr().out)["provisioned"] == 2
    assert not cloud.requests


def test_several_commands_are_recorded_to_one_cassette(
    cloud: EmulatorThread, capsys: pytest.CaptureFixture[str], tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IOTO_RECORD", str(tape))
    for _ in range(2):
        assert _run(["call", "test/ping"]) == 0
    assert [exchange.request["operation"] for exchange in read(tape).exchanges] == ["test/ping"] * 2
    monkeypatch.delenv("IOTO_RECORD")
    cloud.requests.clear()
    capsys.readouterr()
    assert _run(["--replay", str(tape), "call", "test/ping"]) == 0
    assert capsys.readouterr().out == '"pinged"\n'
    assert not cloud.requests


@each_row("variable", ["IOTO_TOKEN", "IOTO_COGNITO"])
def test_whoami_is_replayed_without_settings(
    cloud: EmulatorThread,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tape: Path,
    variable: str,
) -> None:
    tape.unlink(missing_ok=True)
    _named.cache_clear()
    with monkeypatch.context() as patch:
        if variable != "IOTO_TOKEN":
            patch.delenv("IOTO_TOKEN")
        assert _run(["--record", str(tape), "whoami", "--json"]) == 0
        recorded = json.loads(capsys.readouterr().out)
        for name in [name for name in os.environ if name.startswith(("IOTO_", "BUILDER_"))]:
            patch.delenv(name)
        assert _run(["--replay", str(tape), "whoami", "--json"]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["endpoint"] is None
    assert {name: replayed[name] for name in ("token", "role")} == {name: recorded[name] for name in ("token", "role")}


def test_a_cassette_that_is_not_there_is_told(offline: None, capsys: pytest.CaptureFixture[str], tape: Path) -> None:
    assert _run(["--replay", str(tape), "call", "test/ping"]) == 1
    assert "no such cassette; " in capsys.readouterr().err


def test_the_command_that_an_embedded_cloud_serves_is_recorded(
    tape: Path, capsys: pytest.CaptureFixture[str], offline: None
) -> None:
    command = [sys.executable, "-m", "ioto_async.cli", "call", "test/ping"]
    assert _run(["--record", str(tape), "emulator", "--no-mqtt", "--exec", *command]) == 0
    assert [exchange.request["operation"] for exchange in read(tape).exchanges] == ["test/ping"]


@each_row(
    "arguments, message",
    [
        (["--record"], "--record: expected the path of a cassette"),
        (["--replay="], "--replay: expected the path of a cassette"),
        (["--record", "a", "--replay", "b", "call"], "--replay: expected no --record before it"),
    ],
)
def test_wrong_usage_is_told(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert _run(arguments) == 2
    assert capsys.readouterr().err == f"ioto-async: {message}\n"


def test_what_is_no_cassette_is_not_written_to(
    cloud: EmulatorThread, capsys: pytest.CaptureFixture[str], tape: Path
) -> None:
    tape.write_text("id\nDEV1\n")
    assert _run(["--record", str(tape), "call", "test/ping"]) == 1
    assert "line 1: expected a line {, got 'id'" in capsys.readouterr().err
    assert tape.read_text() == "id\nDEV1\n"
