"""``ioto-async doctor --conformance``, and ``emulator --otherwise``."""

import json
import signal
import stat
import sys
from pathlib import Path

import pytest

from ioto_async.cli import _run
from ioto_async.conformance.finding import MARK
from ioto_async.emulator import EmulatorThread, Fault
from tests.rows import each_row

from .fleets import start
from .test_fleet_interrupt import ended

CONFORMANCE = ["doctor", "--conformance", "--rate", "1000/s"]


@pytest.fixture
def claimed(cloud: EmulatorThread) -> EmulatorThread:
    """A cloud with two claimed devices."""
    for device in ("DEV1", "DEV2"):
        cloud.cloud.claim_device(device)
    return cloud


def test_findings_are_printed_and_the_report_is_private(
    claimed: EmulatorThread, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.md"
    assert _run([*CONFORMANCE, "--report", str(report)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert any(line.startswith("A18  holds") for line in lines)
    skipped = [line for line in lines if line.split()[:2] == ["not", "checked"]]
    assert [line.rpartition(": ")[2] for line in skipped] == ["--write", "--device ID"]
    assert " A21, A22, A36, " in skipped[0]
    assert lines[-2].startswith(f"{sum(' holds ' in line for line in lines)} holds, 0 does not hold, 0 cannot tell, ")
    assert str(report) in lines[-1]
    assert err == ""
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    text = report.read_text()
    assert text.startswith("# Conformance of an Ioto cloud\n")
    assert not {claimed.token, claimed.account_id, claimed.cloud_id, "127.0.0.1"} & set(text.replace("`", " ").split())


def test_the_report_is_json_if_its_name_says_so(
    claimed: EmulatorThread, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    words = ["--only", "A18", "--only", "A19", "--report", str(report), "--json"]
    assert _run([*CONFORMANCE, *words]) == 0
    printed, written = json.loads(capsys.readouterr().out), json.loads(report.read_text())
    assert printed == written
    assert [(each["number"], each["verdict"]) for each in written["findings"]] == [("A18", "holds"), ("A19", "holds")]


def test_what_does_not_hold_fails_the_command(claimed: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    claimed.faults.add(Fault("test/ping", status=200, body="pong"))
    assert _run([*CONFORMANCE, "--only", "A23"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("A23  does not hold  application/json: 'pong'\n     assumed: `test/ping` is answered with")


def test_devices_are_written_about_only_if_they_are_named(
    claimed: EmulatorThread, capsys: pytest.CaptureFixture[str]
) -> None:
    claimed.requests.clear()
    assert _run([*CONFORMANCE, "--write", "--device", "DEV2", "--only", "A60", "--only", "A21"]) == 0
    capsys.readouterr()
    bodies = b"".join(request.body for request in claimed.requests)
    assert b'"DEV2"' in bodies
    assert b'"DEV1"' not in bodies
    with claimed.cloud.lock:
        assert claimed.cloud.models.all("Store") == []


@each_row(
    "words, error",
    [
        (["--write"], "--write: expected --conformance beside it"),
        (["--report", "x"], "--report: expected --conformance beside it"),
        (["--only", "A1"], "--only: expected --conformance beside it"),
        (["--device", "DEV1"], "--device: expected --certs or --conformance beside it"),
        (["--conformance", "--certs", "x"], "--certs: expected no --conformance beside it"),
        (["--conformance", "--rate", "0"], "--rate: expected requests such as 200/s"),
        (["--conformance", "--only", "B1"], "--only: there is no assumption 'B1'"),
        (
            ["--conformance", "--device", "DEV4"],
            "--device: DEV4 is not a device of the account: device/get: 400 Cannot",
        ),
        (["--conformance", "--report", "nowhere/x.md"], "--report: No such file or directory: nowhere/x.md"),
        (["--conformance", "--report", "."], "--report: Is a directory: ."),
    ],
)
def test_wrong_usage_is_told_by_the_name_of_the_flag(
    claimed: EmulatorThread, capsys: pytest.CaptureFixture[str], words: list[str], error: str
) -> None:
    assert _run(["doctor", *words]) == 2
    assert f"ioto-async: {error}" in capsys.readouterr().err


def test_a_token_that_is_refused_ends_with_its_status(
    claimed: EmulatorThread, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IOTO_TOKEN", "WRONG")
    assert _run(CONFORMANCE) == 3
    assert "403 Authentication failed" in capsys.readouterr().err


@pytest.mark.slow
@each_row("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_removes_what_it_has_written(
    claimed: EmulatorThread, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    claimed.faults.clear()
    claimed.faults.add(Fault("generic/update", delay=1))
    report = tmp_path / f"{status}.md"
    words = ["--write", "--device", "DEV1", "--only", "A23", "--only", "A65", "--only", "A63", "--report", str(report)]
    child = start("doctor", "--conformance", "--rate", "2/s", *words, environ=claimed.env)
    assert child.stdout is not None
    assert child.stdout.readline().startswith(b"A23  holds")  # it has its handlers, and writes next
    child.send_signal(number)
    code, _, err = ended(child)
    assert code == status
    assert f"{number.name}: removing what was written" in err
    assert "- complete: no" in report.read_text()
    with claimed.cloud.lock:
        assert [item for item in claimed.cloud.models.all("Store") if item["key"].startswith(MARK)] == []


def test_an_emulator_refuses_to_leave_what_is_no_assumption(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["emulator", "--otherwise", "A18", "--otherwise", "X"]) == 2
    assert (
        "ioto-async: --otherwise: 'X' is not an assumption that a cloud can break; those are A1, "
        in capsys.readouterr().err
    )


def test_an_emulator_leaves_the_assumptions_that_it_is_told_to(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import os, urllib.request as r; print(r.urlopen(r.Request(os.environ['IOTO_API'] + '/tok/device/find',"
        " b'{}', {'Authorization': os.environ['IOTO_TOKEN'], 'Content-Type': 'application/json'})).read())"
    )
    assert _run(["emulator", "--otherwise", "A18", "--no-mqtt", "--exec", sys.executable, "-c", code]) == 0
    assert capfd.readouterr().out.strip() == "b'[]'"
