"""What every command says of a setting that is missing, and the flag that stands for a variable."""

import os
from pathlib import Path

import pytest

from ioto_async.cli import _run
from ioto_async.emulator import EmulatorThread
from tests.rawserver import in_thread, reply
from tests.rows import each_row

DEVICE = "M72DANY8BZ"
COMMANDS = {
    "call": ["call", "device/get", f"id={DEVICE}"],
    "claim": ["fleet", "claim", "fleet.csv"],
    "release": ["fleet", "release", "fleet.csv", "--no-journal"],
    "check-update": ["fleet", "check-update", "fleet.csv", "--product", "P"],
    "provision": ["provision", "fleet.csv", "--out", "out"],
    "metric get": ["metric", "get", DEVICE, "temperature"],
    "metric list": ["metric", "list", "CLOUD"],
    "metric export": ["metric", "export", "--devices", "fleet.csv", "--metric", "temperature"],
    "metric write": ["metric", "write", "--from", "samples.csv", "--via", "automation", "--automation", "MetricSample"],
    "doctor --conformance": ["doctor", "--conformance"],
    "whoami": ["whoami"],
}
"""Every command that calls a device cloud."""


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the files of the commands, in a process that no cloud is set for."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("IOTO_", "BUILDER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IOTO_API", "")  # so that what a flag makes of it is undone
    (tmp_path / "fleet.csv").write_text(f"id\n{DEVICE}\n")
    (tmp_path / "samples.csv").write_text(f"metric,value,dimensions.Device\ntemperature,21.5,{DEVICE}\n")
    return tmp_path


@each_row("command", COMMANDS)
def test_an_endpoint_that_is_missing_is_named_by_flag_and_variable(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert _run(command) == 2
    assert capsys.readouterr().err == (
        "ioto-async: no base URL of the device cloud: give --api, or set IOTO_API; ioto-async doctor checks all"
        " settings\n"
    )


@each_row("command", COMMANDS)
def test_credentials_that_are_missing_are_named_by_variable_as_secrets_have_no_flag(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert _run([*command, "--api", "https://localhost:9"]) == 2
    assert capsys.readouterr().err.startswith("ioto-async: no credentials: set IOTO_TOKEN, or to sign in IOTO_COGNITO")


@each_row("command", COMMANDS)
def test_the_flag_goes_before_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_progress: None, command: list[str]
) -> None:
    with in_thread() as server:
        server.handler = lambda request: reply(403, "Authentication failed")
        monkeypatch.setenv("IOTO_API", "https://localhost:9")
        monkeypatch.setenv("IOTO_TOKEN", "01TOKEN")
        assert _run([*command, "--api", server.url]) == 3
        assert "403 Authentication failed" in capsys.readouterr().err
        assert server.requests


@each_row("command", COMMANDS)
def test_a_flag_that_is_no_url_is_named_itself(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert _run([*command, "--api", "http://cloud.example"]) == 2
    assert capsys.readouterr().err.startswith("ioto-async: --api: cloud.example is not a loopback address")


def test_a_run_over_a_cluster_takes_no_endpoint_of_this_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([*COMMANDS["claim"], "--api", "https://localhost:9", "--dask", "tcp://localhost:9"]) == 2
    assert capsys.readouterr().err.startswith("ioto-async: --api: the workers of --dask have an environment of their")


def test_a_call_to_the_builder_without_a_token_says_so(
    ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IOTO_BUILDER", ioto_emulator.builder)
    assert _run(["call", "--builder", "device/find"]) == 3
    assert "(it went without a token: set BUILDER_TOKEN)" in capsys.readouterr().err
    monkeypatch.setenv("BUILDER_TOKEN", "01TOKEN")
    assert _run(["call", "--builder", "device/find"]) == 3
    assert "set BUILDER_TOKEN" not in capsys.readouterr().err
