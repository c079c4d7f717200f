"""What ``ioto-async fleet`` prints, what a dry run reports, and how fast a run goes."""

import contextlib
import csv
import errno
import io
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from ioto_async.bulk import Progress, Summary
from ioto_async.cli.files import Manifest
from ioto_async.cli.options import RunOptions
from ioto_async.cli.report import Failures, ProgressBar, RequestStats
from ioto_async.emulator import EmulatorThread, Fault
from ioto_async.errors import InvalidArgumentError
from ioto_async.transport.attempt import Attempt
from tests.rows import each_row

from .fleets import Fleet

FLEET = "id,name\nDEV1,a\nNOBODY,b\n..,c\nDEV2,d\n"


# A line for every row ----------------------------------------------------------------------------------------------


def test_jsonl_has_an_object_for_every_row(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write(FLEET)
    result = fleet.listed("claim", "--concurrency", "1")
    assert result.status == 1
    done, unknown, bad, last = result.rows
    assert (done["id"], done["line"], done["status"], done["result"]) == ("DEV1", 2, "ok", "claimed")
    assert (done["attempts"], done["elapsed"] > 0, done["accountId"]) == (1, True, cloud.account_id)
    assert (unknown["id"], unknown["status"]) == ("NOBODY", "failed")
    assert unknown["error"] == "device/claim: 400 Cannot find device"
    assert (bad["id"], bad["text"], bad["status"], bad["attempts"]) == (None, "..", "failed", 0)
    assert last["id"] == "DEV2"


def test_a_row_that_an_earlier_run_has_done_is_listed_as_skipped(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    fleet("claim")
    (row,) = fleet.listed("claim").rows
    assert (row["id"], row["status"], row["attempts"]) == ("DEV1", "skipped", 0)


def test_attempts_count_what_was_sent_again(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.faults.add(Fault("device/claim", status=429, headers={"Retry-After": "0"}, times=2))
    fleet.write("DEV1\n")
    (row,) = fleet.listed("claim").rows
    assert (row["status"], row["attempts"]) == ("ok", 3)


def test_csv_has_the_same_columns_in_every_line(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write(FLEET)
    result = fleet.raw("fleet", "claim", str(fleet.file), "--output", "csv")
    header, *rows = csv.reader(io.StringIO(result.stdout))
    assert header[:7] == ["id", "line", "status", "result", "error", "attempts", "elapsed"]
    assert {len(row) for row in rows} == {len(header)}
    told = sorted((row[1], row[0], row[2]) for row in rows)
    assert told == [("2", "DEV1", "ok"), ("3", "NOBODY", "failed"), ("4", "", "failed"), ("5", "DEV2", "ok")]


def test_a_table_has_a_line_for_every_row(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write(FLEET)
    result = fleet.raw("fleet", "claim", str(fleet.file), "--output", "table")
    lines = sorted(line.split()[:4] for line in result.stdout.splitlines())
    assert [line[:3] for line in lines] == [
        ["2", "DEV1", "ok"],
        ["3", "NOBODY", "failed"],
        ["4", "..", "failed"],
        ["5", "DEV2", "ok"],
        ["line", "id", "status"],
    ]


def test_the_figures_make_way_for_the_rows(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    result = fleet.listed("claim", "--json")
    assert [row["id"] for row in result.rows] == ["DEV1"]
    assert json.loads(result.stderr)["claimed"] == 1


def test_rows_go_where_stdout_goes_while_a_bar_is_on_the_terminal(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "ioto_async.cli", "fleet", "claim", str(fleet.file), "--output", "jsonl"],
        env=os.environ | cloud.env | {"TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal tells its end
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    stdout, _ = child.communicate()
    assert [json.loads(line)["status"] for line in stdout.splitlines()] == ["ok", "ok"]
    assert b"2/2" in shown


def test_figures_without_rows_are_a_table_on_stdout(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    result = fleet.raw("fleet", "claim", str(fleet.file))
    assert re.search(r"claimed\W+1\b", result.stdout)
    assert result.stderr == ""


def test_figures_as_json_are_all_that_check_update_prints_where_they_are_asked_for(
    cloud: EmulatorThread, fleet: Fleet
) -> None:
    cloud.cloud.claim_device("DEV1")
    fleet.write("id,version,product\nDEV1,1.0.0,x\n")
    assert fleet("check-update").figures["up_to_date"] == 1


def test_no_secret_is_printed_or_journaled(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.faults.add(Fault("device/claim", status=400, body=f"no: {cloud.token}"))
    cloud.faults.add(Fault("device/register", status=400, body=f"no: {cloud.product_token}"))
    fleet.write("".join(f'{{"id":"DEV{n}","product":"{cloud.product_token}"}}\n' for n in (1, 2, 3)))
    told = ""
    for command in ("claim", "register", "release"):
        result = fleet.listed(command, "--concurrency", "1")
        told += result.stdout + result.stderr + fleet.journal(command).read_text()
    assert [secret for secret in (cloud.token, cloud.product_token) if secret in told] == []


def test_of_many_failures_the_first_of_each_cause_are_reported(cloud: EmulatorThread, fleet: Fleet) -> None:
    nobody = [f"NOBODY{number}" for number in range(30)]
    bad = [f"../x{number}" for number in range(30)]
    fleet.write("\n".join(["id", *nobody[:10], *bad, "DEV1", *nobody[10:], "DEV2,x", ""]))
    result = fleet("claim", "--concurrency", "1")
    assert (result.status, result.figures["failed"], result.figures["claimed"]) == (1, 61, 1)
    *told, ids, forms, last = result.stderr.splitlines()
    assert sorted(told) == [
        "line 12: ../x0: id: expected up to 128 letters, digits, '-' and '_', got '../x0'",
        "line 13: ../x1: id: expected up to 128 letters, digits, '-' and '_', got '../x1'",
        "line 14: ../x2: id: expected up to 128 letters, digits, '-' and '_', got '../x2'",
        "line 2: NOBODY0: device/claim: 400 Cannot find device",
        "line 3: NOBODY1: device/claim: 400 Cannot find device",
        "line 4: NOBODY2: device/claim: 400 Cannot find device",
        "line 63: DEV2: 2 columns where the header has 1",
    ]
    assert {ids, forms} == {
        "and 27 more like line 2: device/claim: 400 Cannot find device",
        "and 27 more like line 12: id: expected up to 128 letters, digits, '-' and '_', got '../x0'",
    }
    again = shlex.join(["ioto-async", "fleet", "claim", str(fleet.file), "--json", "--concurrency", "1"])
    assert last == f"61 failed: --output jsonl tells of all; once that is mended, run {again} --retry-failed"


@each_row(
    "options, end",
    {
        "without a journal": (["--no-journal"], "all"),
        "with rows that were not sent": ([], "run ioto-async fleet claim FILE --json"),
    },
)
def test_failures_say_how_to_go_on(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, options: list[str], end: str
) -> None:
    fleet = new_fleet()
    fleet.write("id\n" + "..\n" * 25)
    last = fleet("claim", *options).stderr.splitlines()[-1]
    assert last.startswith("25 failed: --output jsonl tells of all")
    assert last.replace(str(fleet.file), "FILE").endswith(end)


def test_causes_beyond_many_are_counted_together() -> None:
    told: list[str] = []
    failures = Failures(told.append)
    for number in range(3000):
        failures.add(number, f"DEV{number}", "cause " + "x" * (number // 2))
    failures.finish("see there")
    *first, like, rest, last = told
    assert (len(first), last) == (20 + 9, "3000 failed: see there")
    assert first[0] == "line 0: DEV0: cause "
    assert all(line.startswith("and 2 more like line ") for line in (*first[20:], like))
    assert rest == f"and {3000 - 20 - 10 * 2} more of other causes"


@each_row(
    "first, second, is_same",
    [
        ("id A1 is already on line 2", "id B22 is already on line 17", True),
        ("/out/A1/key.pem holds another key", "/out/B22/key.pem holds another key", True),
        ("no reply after 1.5 s", "no reply after 30 s", True),
        ("request 4f1c22ab90de failed", "request 77ab04fe1d33 failed", True),
        ("device/claim: 400 no", "device/claim: 409 no", False),
        ("name: no text", "product: no text", False),
    ],
)
def test_failures_that_differ_by_what_is_of_their_row_have_one_cause(first: str, second: str, is_same: bool) -> None:
    told: list[str] = []
    failures = Failures(told.append)
    for text, label in [(first, "A1")] * 3 + [(second, "B22")]:
        failures.add(1, label, text)
    assert len(told) == (3 if is_same else 4)


# Without sending anything ------------------------------------------------------------------------------------------


def test_a_dry_run_sends_and_writes_nothing(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    result = fleet.provision("--dry-run")
    assert (result.status, result.figures["to_do"], bool(cloud.requests)) == (0, 2, False)
    assert [path.name for path in fleet.folder.iterdir()] == ["fleet.csv"]


def test_a_dry_run_tells_what_the_journal_skips(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\nNOBODY\n")
    fleet("claim")
    fleet.write("DEV1\nDEV2\nDEV3\nNOBODY\n")
    journal = fleet.journal("claim").read_bytes()
    names = ("devices", "to_do", "skipped", "failed_before", "failed")
    result = fleet("claim", "--dry-run")
    assert [result.figures[name] for name in names] == [4, 1, 2, 1, 0]
    result = fleet("claim", "--dry-run", "--retry-failed")
    assert [result.figures[name] for name in names] == [4, 2, 2, 0, 0]
    assert fleet.journal("claim").read_bytes() == journal


def test_a_dry_run_of_provision_looks_into_the_folders(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    fleet.provision()
    (fleet.out / "DEV2" / "key.pem").unlink()
    figures = fleet.provision("--dry-run").figures
    assert (figures["skipped"], figures["to_do"]) == (1, 1)
    assert fleet.provision("--dry-run", "--overwrite").figures["to_do"] == 2


def test_a_dry_run_reports_rows_that_cannot_be_used(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("id,product\nNEW1,\n..,x\nNEW2,x\n")
    result = fleet("register", "--dry-run")
    assert (result.status, result.figures["failed"], result.figures["to_do"]) == (1, 2, 1)
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["line 2", "line 3"]


def test_a_dry_run_needs_no_credentials(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IOTO_API", "IOTO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    fleet.write("DEV1\n")
    assert fleet("claim", "--dry-run").status == 0


# How far it is -----------------------------------------------------------------------------------------------------


def progress(elapsed: float, ok: int, failed: int = 0, unknown: int = 0, skipped: int = 0) -> Progress:
    summary = Summary(ok=ok, failed=failed, unknown=unknown, skipped=skipped)
    return Progress(summary, total=None, elapsed=elapsed, rate=10.0, in_flight=7, concurrency=8)


def lines_of(*shown: Progress, total: int | None = 100) -> list[str]:
    text = io.StringIO()
    bar = ProgressBar("fleet claim", total, console=Console(file=text))
    for one in shown:
        bar.update(one, not_sent=1)
    return text.getvalue().splitlines()


def test_a_short_run_says_nothing_of_its_progress() -> None:
    assert lines_of(progress(0.5, ok=1), progress(4.9, ok=50)) == []


def test_a_long_run_says_every_five_seconds_how_far_it_is() -> None:
    told = lines_of(*(progress(tick / 2, ok=tick) for tick in range(40)))
    assert [line.split(",")[0] for line in told] == [
        "fleet claim: 11/100",
        "fleet claim: 21/100",
        "fleet claim: 31/100",
    ]


def test_a_line_of_progress_has_rate_failures_calls_in_flight_and_time_left() -> None:
    told = lines_of(progress(5.0, ok=20, failed=2, unknown=1, skipped=6))
    assert told == ["fleet claim: 30/100, 10/s, 3 failed, 1 unknown, 7 in flight, eta 0:07"]


def test_progress_of_unknown_length_has_no_end() -> None:
    assert lines_of(progress(5.0, ok=20), total=None) == ["fleet claim: 21/?, 10/s, 1 failed, 7 in flight"]


@each_row("rate, eta", [(0.1, ", eta 13:10"), (0.0003, ", eta 73:08:54"), (0.0002, ""), (1e-300, ""), (0.0, "")])
def test_an_end_that_is_days_away_is_not_told_of(rate: float, eta: str) -> None:
    (line,) = lines_of(attrs.evolve(progress(5.0, ok=20), rate=rate))
    assert line.removeprefix("fleet claim: 21/100, 0/s, 1 failed, 7 in flight") == eta


def test_a_stall_is_made_up_for_by_one_line() -> None:
    assert len(lines_of(progress(23.0, ok=1), progress(24.9, ok=2), progress(25.0, ok=3))) == 2


def test_percentiles_are_exact_to_a_hundredth() -> None:
    stats = RequestStats()
    for ms in range(1, 1001):
        stats.observe(Attempt("device/claim", 1, 200, ms / 1000, None))
    figures = stats.figures()
    assert figures["requests"] == 1000
    assert figures["p50_ms"] == pytest.approx(500, rel=0.011)
    assert figures["p99_ms"] == pytest.approx(990, rel=0.011)


def test_no_request_has_no_latency() -> None:
    figures = RequestStats().figures()
    assert (figures["requests"], figures["p50_ms"], figures["p99_ms"]) == (0, 0, 0)


# How fast it goes --------------------------------------------------------------------------------------------------


@each_row("text, rate", [("200/s", 200), ("200", 200), ("12000/min", 200), ("0.5/s", 0.5), (None, None)])
def test_a_rate_is_requests_a_second_or_a_minute(text: str | None, rate: float | None) -> None:
    assert RunOptions(rate=text).limits().rate == rate


@each_row("text", ["", "fast", "0", "0/min", "-1", "200/h", "1e3", "200 /s", "inf"])
def test_what_is_no_rate_is_wrong_usage(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="--rate: expected requests such as 200/s"):
        RunOptions(rate=text).limits()


def test_a_run_goes_as_fast_as_its_rate(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\nDEV3\nDEV4\n")
    result = fleet("claim", "--rate", "20/s")
    assert result.status == 0
    assert result.figures["seconds"] >= 3 / 20


@each_row("options", [["--rate", "fast"], ["--concurrency", "0"], ["--output", "xml"]])
def test_wrong_options_are_wrong_usage(cloud: EmulatorThread, fleet: Fleet, options: list[str]) -> None:
    fleet.write("DEV1\n")
    result = fleet("claim", *options)
    assert (result.status, result.stdout, bool(cloud.requests)) == (2, "", False)


@each_row("concurrency", ["auto", "1", "8"])
def test_every_concurrency_brings_all_rows_to_their_end(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, concurrency: str
) -> None:
    fleet = new_fleet()
    ids = [cloud.cloud.register_device() for _ in range(100)]
    fleet.write("\n".join(ids))
    assert fleet("claim", "--concurrency", concurrency).figures["claimed"] == 100


def test_a_closed_standard_output_stops_nothing(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    line = 'exec "$0" -m ioto_async.cli fleet claim "$1" --output jsonl >&-'
    child = subprocess.run(
        ["sh", "-c", line, sys.executable, str(fleet.file)],
        env=os.environ | cloud.env,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.returncode == 0
    assert "Traceback" not in child.stderr
    assert fleet.journaled("claim") == {"DEV1": "ok"}


@each_row("stderr", ["2>/dev/full", "2>&-"])
def test_an_unwritable_standard_error_stops_nothing(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, stderr: str
) -> None:
    fleet = new_fleet()
    fleet.write("id\nDEV1\nNOBODY1\nDEV2\n")
    line = f'exec "$0" -m ioto_async.cli fleet claim "$1" --json {stderr}'
    child = subprocess.run(
        ["sh", "-c", line, sys.executable, str(fleet.file)],
        env=os.environ | cloud.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures = json.loads(child.stdout)
    assert (child.returncode, figures["claimed"], figures["failed"]) == (1, 2, 1)


@each_row("options", [["--output", "jsonl"], ["--json"], []])
def test_a_standard_output_that_takes_nothing_is_an_error(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, options: list[str]
) -> None:
    fleet = new_fleet()
    fleet.write("DEV1\n")
    with Path("/dev/full").open("w") as full:
        child = subprocess.run(
            [sys.executable, "-m", "ioto_async.cli", "fleet", "claim", str(fleet.file), *options],
            env=os.environ | cloud.env,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (child.returncode, child.stderr.splitlines()[-1]) == (1, "ioto-async: No space left on device")
    assert ("claimed" in child.stderr) == ("--output" in options)
    assert "Traceback" not in child.stderr
    assert "ignored" not in child.stderr


@each_row("broken", ["write", "_merge"])
def test_a_full_disk_ends_the_run_with_its_figures(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(manifest: Manifest, *_: object) -> None:
        if manifest.path.parent.joinpath("DEV1").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(manifest.path))

    fleet = new_fleet()
    fleet.write("DEV1\n")
    with monkeypatch.context() as patch:
        patch.setattr(Manifest, broken, fail)
        result = fleet.provision()
    assert (result.status, result.figures["claimed"]) == (1, 1)
    assert "No space left on device" in result.figures["stopped"]
    assert result.stderr.endswith(f"No space left on device: {fleet.out / 'manifest.jsonl'}\n")
    assert fleet.provision().status == 0


def test_a_refusal_names_the_row_that_met_it(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.faults.add(Fault("device/claim", status=403, body="Access denied"))
    fleet.write("DEV1\n")
    result = fleet("claim")
    assert result.status == 3
    assert result.stderr.endswith("device/claim: 403 Access denied (item DEV1)\n")
