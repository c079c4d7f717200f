"""``ioto-async fleet`` run again: what its journal says is done, and what is not."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ioto_async.bulk import Journal
from ioto_async.emulator import EmulatorThread, Fault
from tests.rows import each_row

from .fleets import Fleet


def claims(cloud: EmulatorThread) -> list[str]:
    return [json.loads(request.body)["id"] for request in cloud.requests if request.path.endswith("/device/claim")]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_journal_is_beside_the_file_and_named_after_the_command(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    result = fleet("claim")
    assert fleet.journaled("claim") == {"DEV1": "ok", "DEV2": "ok"}
    assert result.figures["journal"] == str(fleet.journal("claim"))


def test_what_is_done_is_not_sent_again(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    fleet("claim")
    fleet.write("DEV1\nDEV2\nDEV3\n")
    result = fleet("claim")
    assert (result.status, result.figures["skipped"], result.figures["claimed"]) == (0, 2, 1)
    assert claims(cloud) == ["DEV1", "DEV2", "DEV3"]
    assert result.stderr.startswith(f"2 skipped: {fleet.journal('claim')} says that they are done (")


def test_without_a_journal_everything_is_sent_again(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    fleet("claim")
    result = fleet("claim", "--no-journal")
    assert (result.status, result.figures["already_claimed"]) == (0, 1)
    assert "journal" not in result.figures


def test_no_journal_leaves_none_behind(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    fleet("claim", "--no-journal")
    assert [path.name for path in fleet.folder.iterdir()] == ["fleet.csv"]


def test_what_has_failed_is_reported_and_not_sent_again(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("NOBODY\n")
    fleet("claim")
    sent = len(cloud.requests)
    result = fleet("claim")
    assert (result.status, result.figures["failed"], len(cloud.requests)) == (1, 1, sent)
    assert result.stderr.splitlines() == [
        "line 1: NOBODY: when it was called before: device/claim: 400 Cannot find device",
        "1 of them failed in an earlier run: --retry-failed tries them again",
    ]


def test_retry_failed_sends_it_again(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("NEW1\nDEV1\n")
    fleet("claim")
    cloud.cloud.register_device("NEW1")
    result = fleet("claim", "--retry-failed")
    assert (result.status, result.figures["claimed"], result.figures["skipped"]) == (0, 1, 1)


def test_an_unknown_outcome_is_taken_up_again(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.faults.add(Fault("device/claim", status=500, times=4))
    fleet.write("DEV1\n")
    first = fleet("claim")
    assert (first.status, first.figures["unknown"], fleet.journaled("claim")) == (1, 1, {"DEV1": "unknown"})
    assert first.stderr.startswith("line 1: DEV1: device/claim: 500 ")
    assert fleet("claim").status == 0


def test_what_a_killed_run_has_sent_is_taken_up_again(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.claim_device("DEV1")  # done, but killed before the reply was noted
    fleet.write("DEV1\nDEV2\n")
    fleet.write_journal("claim", '{"key":"DEV1","status":"sent"}\n{"key":"DEV2","st')
    result = fleet("claim")
    assert (result.status, result.figures["already_claimed"], result.figures["claimed"]) == (0, 1, 1)


def test_the_journal_of_another_command_is_refused(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    assert fleet("claim").status == 0
    result = fleet("release", "--journal", str(fleet.journal("claim")))
    assert (result.status, result.stdout) == (2, "")
    assert cloud.cloud.device("DEV1") is not None
    assert "fleet claim at" in result.stderr
    assert "fleet release at" in result.stderr


def test_what_was_done_at_another_cloud_is_not_done_here(
    cloud: EmulatorThread, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.write("DEV1\n")
    assert fleet("claim").status == 0
    monkeypatch.setenv("IOTO_API", "https://production.example.com")
    for options in ([], ["--dry-run"]):
        result = fleet("claim", *options)
        assert (result.status, result.stdout) == (2, "")
        assert "https://production.example.com" in result.stderr


def test_rows_that_cannot_be_used_are_not_in_the_journal(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("id,product\n..,\nDEV1,\nNEW1," + cloud.product_token + "\nNEW1,\n")
    result = fleet("register")
    assert (result.figures["failed"], fleet.journaled("register")) == (3, {"NEW1": "ok"})
    fleet.write(f"id,product\nDEV1,{cloud.product_token}\n")
    assert fleet("register").status == 0


def test_rows_that_a_refused_token_has_stopped_are_taken_up(
    cloud: EmulatorThread, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.write("DEV1\nDEV2\nDEV3\nDEV4\n")
    with monkeypatch.context() as patch:
        patch.setenv("IOTO_TOKEN", "WRONG")
        assert fleet("claim").status == 3
    assert set(fleet.journaled("claim").values()) <= {"undone"}
    result = fleet("claim")
    assert (result.status, result.figures["claimed"]) == (0, 4)


def test_an_unreachable_cloud_fails_no_row(
    cloud: EmulatorThread, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    fleet.write("DEV1\nDEV2\n")
    with monkeypatch.context() as patch:
        patch.setenv("IOTO_API", f"http://127.0.0.1:{unused_tcp_port}")
        result = fleet("claim")
    assert (result.status, result.figures["failed"]) == (4, 0)
    assert fleet("claim").figures["claimed"] == 2


def test_a_journal_goes_where_the_option_says(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    elsewhere = fleet.folder / "elsewhere.jsonl"
    fleet("claim", "--journal", str(elsewhere))
    assert elsewhere.exists()
    assert not fleet.journal("claim").exists()


def test_stdin_has_a_journal_where_one_is_named(
    cloud: EmulatorThread, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.write("DEV1\n")
    figures = []
    for _ in range(2):
        with fleet.file.open() as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            journal = str(fleet.folder / "stdin.journal")
            figures.append(fleet.raw("fleet", "claim", "-", "--json", "--journal", journal).figures)
    assert [figure["skipped"] for figure in figures] == [0, 1]


@each_row(
    "options",
    {
        "a journal and none": ["--journal", "x", "--no-journal"],
        "failures of no journal": ["--retry-failed", "--no-journal"],
        "no such folder": ["--journal", "no/such/folder/journal"],
        "a folder": ["--journal", "."],
    },
)
def test_a_journal_that_cannot_be_is_wrong_usage(cloud: EmulatorThread, fleet: Fleet, options: list[str]) -> None:
    fleet.write("DEV1\n")
    result = fleet("claim", *options)
    assert (result.status, result.stdout, bool(cloud.requests)) == (2, "", False)
    assert "journal" in result.stderr


def test_a_journal_that_another_run_has_is_refused(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    other = Journal(fleet.journal("claim"), None)
    other.open()
    try:
        result = fleet("claim")
    finally:
        asyncio.run(other.close())
    assert (result.status, bool(cloud.requests)) == (2, False)
    assert "another run" in result.stderr


# What is still done ------------------------------------------------------------------------------------------------


def test_skipped_rows_tell_when_they_were_done(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    lines = [
        {"key": "DEV1", "status": "ok", "at": "2026-05-01T12:00:00Z"},
        {"key": "DEV2", "status": "ok", "at": "2026-05-03T08:30:59Z"},
    ]
    fleet.write_journal("claim", "".join(json.dumps(line) + "\n" for line in lines))
    result = fleet("claim")
    assert (result.status, result.figures["skipped"], result.figures["already_claimed"]) == (0, 2, 0)
    told = "they are done (2026-05-01 12:00 UTC to 2026-05-03 08:30 UTC); --verify asks"
    assert f"2 skipped: {fleet.journal('claim')} says that {told}" in result.stderr
    assert [row["done_at"] for row in fleet.listed("claim").rows] == [line["at"] for line in lines]


@each_row("date", ['"x"', "7", "null", '{"a":1}', '"2026-05-01T12:00:00"'])
def test_a_date_that_is_none_spoils_nothing(new_fleet: Callable[[], Fleet], cloud: EmulatorThread, date: str) -> None:
    fleet = new_fleet()
    fleet.write("DEV1\n")
    fleet.write_journal("claim", f'{{"key":"DEV1","status":"ok","at":{date}}}\n')
    result = fleet("claim")
    assert (result.status, result.figures["skipped"], "they are done;" in result.stderr) == (0, 1, True)


@each_row("command", ["claim", "provision"])
def test_a_device_that_was_released_is_claimed_again_where_it_is_verified(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, command: str
) -> None:
    fleet = new_fleet()
    fleet.write("DEV1\nDEV2\nDEV3\n")
    options = ["--out", str(fleet.out)] if command == "provision" else []
    assert fleet(command, *options).figures["claimed"] == 3
    cloud.cloud.release_device("DEV2")
    cloud.cloud.release_device("DEV3")
    cloud.cloud.claim_device("DEV3", cloud.cloud.add_account("other", "other@x.test"))
    shutil.rmtree(fleet.out / "DEV2", ignore_errors=command == "claim")
    result = fleet(command, *options, "--verify")
    assert [result.figures[name] for name in ("claimed", "already_claimed", "skipped", "failed")] == [1, 0, 1, 1]
    assert "1 skipped: they are done, as the service says" in result.stderr
    assert "already claimed" in result.stderr
    assert fleet.journaled(command) == {"DEV1": "ok", "DEV2": "ok", "DEV3": "failed"}


def test_a_release_is_verified(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    fleet("claim")
    fleet("release")
    cloud.cloud.claim_device("DEV2")
    assert fleet("release").figures["skipped"] == 2
    result = fleet("release", "--verify")
    assert (result.status, result.figures["released"], result.figures["skipped"]) == (0, 1, 1)
    assert cloud.cloud.device("DEV2") is None


def test_a_registration_is_done_again_where_it_is_verified(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("NEW1\n")
    fleet("register", "--product", cloud.product_token)
    result = fleet("register", "--product", cloud.product_token, "--verify")
    assert (result.status, result.figures["registered"], result.figures["skipped"]) == (0, 1, 0)


def test_a_row_that_cannot_be_verified_fails_and_stays_done(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    fleet("claim")
    cloud.faults.add(Fault("device/get", status=400, body="not now", times=1))
    result = fleet("claim", "--verify", "--concurrency", "1")
    assert (result.status, result.figures["failed"], result.figures["skipped"]) == (1, 1, 1)
    assert fleet.journaled("claim") == {"DEV1": "ok", "DEV2": "ok"}


def test_a_refused_token_ends_a_run_that_verifies(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    fleet("claim")
    cloud.faults.add(Fault("device/get", status=401))
    result = fleet("claim", "--verify")
    assert (result.status, result.figures["failed"]) == (3, 0)
    assert fleet.journaled("claim") == {"DEV1": "ok", "DEV2": "ok"}


@each_row(
    "options, complaint",
    [
        (["--no-journal"], "--verify: there is no journal"),
        (["--dry-run"], "--dry-run: nothing is sent, by --verify neither"),
        (["--dask", "tcp://127.0.0.1:1"], "--verify: --dask cannot do that"),
    ],
)
def test_what_cannot_be_verified_is_wrong_usage(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, options: list[str], complaint: str
) -> None:
    fleet = new_fleet()
    fleet.write("DEV1\n")
    result = fleet("claim", "--verify", *options)
    assert (result.status, result.stderr.startswith(f"ioto-async: {complaint}")) == (2, True), result.stderr


# provision ---------------------------------------------------------------------------------------------------------


def test_a_device_whose_folder_is_not_whole_is_provisioned_again(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    fleet.provision()
    before = files_of(fleet.out / "DEV1")
    (fleet.out / "DEV1" / "certificate.pem").unlink()
    result = fleet.provision()
    assert (result.status, result.figures["provisioned"], result.figures["skipped"]) == (0, 1, 1)
    assert files_of(fleet.out / "DEV1") == before


def test_another_folder_gets_all_devices(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    fleet.provision()
    result = fleet("provision", "--out", str(fleet.folder / "more"))
    assert (result.status, result.figures["provisioned"]) == (0, 2)


def test_devices_that_are_skipped_count_as_kept_and_not_as_claimed(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    fleet.provision()
    sent = len(cloud.requests)
    result = fleet.provision()
    assert [result.figures[name] for name in ("devices", "already_claimed", "kept", "skipped")] == [2, 0, 2, 2]
    assert len(cloud.requests) == sent


def test_a_manifest_that_is_gone_has_a_line_for_every_row_again(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    fleet.provision()
    (fleet.out / "manifest.jsonl").unlink()
    fleet.provision()
    assert json.loads((fleet.out / "manifest.jsonl").read_text()) == {
        "id": "DEV1",
        "line": 1,
        "claimed": "before",
        "status": "kept",
    }


def test_overwrite_fetches_what_the_journal_calls_done(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    fleet.provision()
    result = fleet.provision("--overwrite")
    assert (result.figures["provisioned"], result.figures["skipped"]) == (1, 0)


def test_a_device_that_failed_after_its_claim_is_finished_when_it_is_tried_again(
    cloud: EmulatorThread, fleet: Fleet
) -> None:
    cloud.faults.add(Fault("device/provision", status=400, body="not now"))
    fleet.write("DEV1\n")
    assert fleet.provision().figures["claimed"] == 1
    result = fleet.provision("--retry-failed")
    assert (result.status, result.figures["already_claimed"], result.figures["provisioned"]) == (0, 1, 1)


def test_a_folder_that_is_gone_is_filled_again(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    fleet.provision()
    shutil.rmtree(fleet.out)
    assert fleet.provision().figures["provisioned"] == 2
