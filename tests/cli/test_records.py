"""``ioto-async device``, ``store``, ``user`` and ``alert``: records of the cloud, as tables and as data."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from ioto_async.cli.listing import print_rows
from ioto_async.emulator import EmulatorThread, Fault
from tests.rows import each_row

from .fleets import Result, ran

Run = Callable[..., Result]


@pytest.fixture
def run(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``ioto-async ARGUMENTS`` at a cloud with four devices."""
    for number in range(1, 5):
        cloud.cloud.claim_device(f"DEV{number}")
    return lambda *arguments: Result(*ran(capsys, [*arguments]))


INTERRUPTIBLE = """
import signal
from ioto_async.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # which the shell of a job in the background has ignored
main()
"""


def on_a_terminal(cloud: EmulatorThread, typed: str | None, *arguments: str) -> tuple[int, str]:
    """Run ``ioto-async ARGUMENTS`` where somebody answers what it asks, or interrupts it if *typed* is None.

    Returns:
        Its status, and what the terminal shows.
    """
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", INTERRUPTIBLE, *arguments]
    shown = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | cloud.env) as child:
        os.close(theirs)
        try:
            while part := os.read(ours, 4096):
                is_asked = b"[y/N] " in shown
                shown += part
                if b"[y/N] " in shown and not is_asked:
                    child.send_signal(signal.SIGINT) if typed is None else os.write(ours, typed.encode())
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(ours)
    return child.returncode, shown.decode()


# Devices ------------------------------------------------------------------------------------------------------------


def test_devices_are_listed_in_each_format(run: Run) -> None:
    ids = ["DEV1", "DEV2", "DEV3", "DEV4"]
    table = run("device", "list").stdout
    assert "│ DEV1 │ Demo    │" in table
    assert "account_id" not in table
    assert [row["id"] for row in json.loads(run("device", "list", "--output", "json").stdout)] == ids
    found = run("device", "list", "--output", "jsonl").stdout.splitlines()
    assert [json.loads(line)["id"] for line in found] == ids
    rows = [*csv.DictReader(io.StringIO(run("device", "list", "--output", "csv").stdout))]
    assert [row["id"] for row in rows] == ids
    assert rows[0].keys() == json.loads(found[0]).keys() - {"extra"}


@each_row("limit, page", [("1", "1"), ("3", "3"), ("4", "4"), ("250", "100")])
def test_a_list_ends_at_its_limit(run: Run, cloud: EmulatorThread, limit: str, page: str) -> None:
    found = run("device", "list", "--limit", limit, "--output", "jsonl")
    assert (found.status, len(found.stdout.splitlines())) == (0, min(int(limit), 4))
    assert cloud.requests[-1].query["limit"] == page


def test_a_list_goes_on_with_the_next_page(run: Run, cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ioto_async.cli.records._PAGE", 2)
    assert len(run("device", "list", "--output", "jsonl").stdout.splitlines()) == 4
    assert len(run("device", "list", "--output", "jsonl", "--limit", "3").stdout.splitlines()) == 3


@each_row("output, stdout", {"table": "", "jsonl": "", "json": "[]\n"}.items())
def test_an_empty_list_prints_nothing_but_a_note(run: Run, output: str, stdout: str) -> None:
    found = run("device", "list", "--product-id", "NONE", "--output", output)
    assert (found.status, found.stdout) == (0, stdout)
    assert found.stderr == "ioto-async: no devices: ioto-async fleet claim FILE claims some\n"


def test_what_is_no_record_is_counted(run: Run, cloud: EmulatorThread) -> None:
    cloud.faults.add(Fault("device/find", body='{"data": [{"id": "DEV1"}, 7, {}]}'))
    found = run("device", "list", "--output", "jsonl")
    assert len(found.stdout.splitlines()) == 1
    assert found.stderr == "ioto-async: 2 more could not be read: ioto-async call shows them as they came\n"


def test_a_device_is_shown_in_each_format(run: Run) -> None:
    table = run("device", "get", "DEV2")
    assert "│ id         │ DEV2 " in table.stdout
    assert "version" not in table.stdout  # which is not known
    assert json.loads(run("device", "get", "DEV2", "--output", "json").stdout)["version"] is None
    assert json.loads(run("device", "get", "DEV2", "--output", "jsonl").stdout)["id"] == "DEV2"
    (row,) = csv.DictReader(io.StringIO(run("device", "get", "DEV2", "--output", "csv").stdout))
    assert row["product"] == "Demo"


def test_a_device_that_is_not_there_is_an_error_with_the_next_step(run: Run) -> None:
    assert run("device", "get", "NONE") == Result(
        1,
        "",
        "ioto-async: device/get: 400 Cannot find device (ioto-async device list shows those of the account)\n",
    )


@each_row("command", ["device list", "device get DEV1", "store list DEV1", "user list", "alert list"])
def test_the_account_and_the_cloud_are_options(run: Run, cloud: EmulatorThread, command: str) -> None:
    other = cloud.cloud.add_account("Other", "other@example.com")
    run(*command.split(), "--account", other)
    assert json.loads(cloud.requests[-1].body)["accountId"] == other
    found = run(*command.split(), "--account", " x")
    assert (found.status, found.stderr.startswith("ioto-async: --account: ")) == (2, True)
    found = run(*command.split(), "--api", "nonsense")
    assert (found.status, found.stderr.startswith("ioto-async: --api: ")) == (2, True)


def test_a_command_is_sent_by_an_automation(run: Run, cloud: EmulatorThread) -> None:
    done = run("device", "command", "DEV1", "program=date", "parameters=-u", "times:=2")
    assert done == Result(0, "", "DeviceCommand has run for DEV1\n")
    assert json.loads(cloud.requests[-1].body) == {
        "name": "DeviceCommand",
        "context": {"deviceId": "DEV1", "program": "date", "parameters": "-u", "times": 2},
    }
    (item,) = cloud.cloud.models.all("Command")
    assert (item["deviceId"], item["args"]["program"], item["args"]["parameters"]) == ("DEV1", "date", "-u")


@each_row(
    "words, status, complaint",
    [
        (["deviceId=DEV2"], 2, "deviceId: given twice"),
        (["date"], 2, "date: expected key=text or key:=json"),
        (["--automation", "Nothing"], 1, "action/invoke: "),
    ],
)
def test_a_command_that_cannot_be_sent_is_an_error(run: Run, words: list[str], status: int, complaint: str) -> None:
    done = run("device", "command", "DEV1", *words)
    assert (done.status, done.stdout) == (status, "")
    assert done.stderr.startswith(f"ioto-async: {complaint}")


# The store ----------------------------------------------------------------------------------------------------------


def test_keys_are_set_got_listed_and_removed(run: Run) -> None:
    done = run("store", "set", "DEV1", "mode=eco", "speed:=3", 'range:={"low": 1}', "on:=true", 'text:="3"')
    assert (done.status, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [f"set {key} of DEV1" for key in ("mode", "speed", "range", "on", "text")]

    @each_row("key, printed", [("mode", "eco"), ("speed", "3"), ("range", '{"low":1}'), ("on", "true"), ("text", "3")])
    def check(key: str, printed: str) -> None:
        assert run("store", "get", "DEV1", key) == Result(0, printed + "\n", "")

    check()
    item = json.loads(run("store", "get", "DEV1", "speed", "--output", "json").stdout)
    assert (item["key"], item["value"], item["type"]) == ("speed", 3, "number")
    assert "│ speed │ 3         │ number  │" in run("store", "list", "DEV1").stdout
    done = run("store", "rm", "DEV1", "mode", "speed", "never", "--yes")
    assert (done.status, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [f"removed {key} of DEV1" for key in ("mode", "speed", "never")]
    left = run("store", "list", "DEV1", "--output", "csv").stdout
    assert [row["key"] for row in csv.DictReader(io.StringIO(left))] == ["on", "range", "text"]
    nothing = run("store", "list", "DEV2")
    assert nothing == Result(0, "", "ioto-async: DEV2 has no keys: ioto-async store set DEV2 key=text\n")


@each_row(
    "item, complaint",
    [
        ("x", "x: expected key=text or key:=json"),
        ("=x", "=x: expected key=text or key:=json"),
        ("x:=eco", "x: not JSON: Expecting value at character 0"),
        ("x:=null", "x: null is not stored: ioto-async store rm removes a key"),
        ("a=2", "a: given twice"),
        ("x=\udcff", "x: the text is not UTF-8"),
    ],
)
def test_nothing_is_set_if_an_item_is_wrong(run: Run, item: str, complaint: str) -> None:
    assert run("store", "set", "DEV1", "a=1", item) == Result(2, "", f"ioto-async: {complaint}\n")
    assert run("store", "list", "DEV1").stdout == ""


def test_a_key_that_is_not_there_is_an_error_with_the_next_step(run: Run) -> None:
    found = run("store", "get", "DEV1", "speed")
    assert (found.status, found.stdout) == (1, "")
    assert found.stderr.endswith(" (ioto-async store list DEV1 shows its keys)\n")


@each_row("command", [["set", "DEV1", "a=1", "b=2", "c=3"], ["rm", "DEV1", "a", "b", "c", "--yes"]])
def test_of_several_keys_the_one_that_fails_is_named(run: Run, cloud: EmulatorThread, command: list[str]) -> None:
    operation = {"set": "generic/update", "rm": "generic/remove"}[command[0]]
    cloud.faults.add(Fault(operation))  # the first is let through
    cloud.faults.add(Fault(operation, status=400, body="Sorry"))
    done = run("store", *command)
    *first, last = done.stderr.splitlines()
    assert (done.status, len(first)) == (1, 1)
    assert last == f"ioto-async: {operation}: 400 Sorry (for b; those after it were not tried)"


def test_where_nobody_can_be_asked_removal_needs_a_flag(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("store", "set", "DEV1", "a=1")
    for stdin in (io.StringIO("y\n"), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run("store", "rm", "DEV1", "a") == Result(
            2, "", "ioto-async: --yes: required where nobody can be asked: Remove a of DEV1?\n"
        )
    assert run("store", "get", "DEV1", "a").stdout == "1\n"


@each_row(
    "typed, status, said, left",
    [
        ("y\n", 0, "removed a of DEV1", 0),
        ("\x04", 1, "ioto-async: nothing was removed", 1),
        (None, 130, "ioto-async: interrupted", 1),
    ],
)
def test_on_a_terminal_removal_is_asked_for(
    run: Run, cloud: EmulatorThread, typed: str | None, status: int, said: str, left: int
) -> None:
    run("store", "set", "DEV1", "a=1")
    ended, shown = on_a_terminal(cloud, typed, "store", "rm", "DEV1", "a")
    assert "Remove a of DEV1? [y/N] " in shown
    assert (ended, shown.splitlines()[-1].endswith(said)) == (status, True)
    assert len(run("store", "list", "DEV1", "--output", "jsonl").stdout.splitlines()) == left


# Users and alerts ---------------------------------------------------------------------------------------------------


def test_users_are_listed(run: Run, cloud: EmulatorThread) -> None:
    cloud.cloud.add_user("ann@example.com", role="admin")
    cloud.cloud.add_user("bob@example.com", role="user")
    found = [json.loads(line) for line in run("user", "list", "--output", "jsonl").stdout.splitlines()]
    roles = {user["email"]: user["role"] for user in found}
    assert {"ann@example.com": "admin", "bob@example.com": "user"}.items() <= roles.items()
    assert len(run("user", "list", "--limit", "1", "--output", "jsonl").stdout.splitlines()) == 1
    assert "│ bob@example.com" in run("user", "list").stdout


def test_alerts_are_listed_and_acknowledged(run: Run, cloud: EmulatorThread) -> None:
    hot = cloud.cloud.add_alert("Hot", "too hot", severity="error")["id"]
    cold = cloud.cloud.add_alert("Cold", "too cold")["id"]
    wet = cloud.cloud.add_alert("Wet", "too wet")["id"]
    table = run("alert", "list").stdout
    assert all(text in table for text in (hot, "too hot", "error", cold, wet))
    assert run("alert", "ack", hot, cold) == Result(0, "", f"resolved {hot}\nresolved {cold}\n")

    def listed(*arguments: str) -> list[str]:
        lines = run("alert", "list", *arguments, "--output", "jsonl").stdout.splitlines()
        return sorted(json.loads(line)["id"] for line in lines)

    assert listed() == [wet]
    assert listed("--limit", "1") == [wet]
    assert listed("--all") == sorted([hot, cold, wet])
    assert run("alert", "list", "--all").stdout.count("│ true") == 2
    run("alert", "ack", wet)
    assert run("alert", "list").stderr == "ioto-async: no alerts: --all lists the resolved ones as well\n"


def test_an_alert_that_is_not_there_is_named(run: Run, cloud: EmulatorThread) -> None:
    hot = cloud.cloud.add_alert("Hot", "too hot")["id"]
    found = run("alert", "ack", "NONE", hot)
    assert (found.status, found.stdout) == (1, "")
    assert found.stderr.startswith("ioto-async: alert/update: 400 ")
    assert found.stderr.endswith(" (for NONE; those after it were not tried)\n")


def test_a_date_in_a_table_is_short_and_whole(run: Run, cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.cloud.clock = lambda: 1_777_636_800.123
    cloud.cloud.add_alert("Hot", "too hot in the cellar, and in the hall")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("ioto_async.cli.report._PIPE_WIDTH", None)
    assert "│ 2026-05-01T12:00:00Z │" in run("alert", "list").stdout
    assert json.loads(run("alert", "list", "--output", "jsonl").stdout)["timestamp"] == "2026-05-01T12:00:00.123Z"


# Tables -------------------------------------------------------------------------------------------------------------


def test_a_table_keeps_to_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("store", "set", "DEV1", "key=" + "word " * 50)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("ioto_async.cli.report._PIPE_WIDTH", None)
    table = run("store", "list", "DEV1").stdout
    assert max(map(len, table.splitlines())) <= 40
    assert table.count("word") == 50


def test_what_a_record_holds_cannot_steer_the_terminal(run: Run) -> None:
    run("store", "set", "DEV1", "key=\x1b[31m\r\n[bold]:smile:ü\x9b")
    table = run("store", "list", "DEV1").stdout
    assert r"\x1b[31m\r\n[bold]:smile:ü\x9b" in table


@each_row("width", [12, 30, 80])
def test_cells_are_folded_and_never_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("ioto_async.cli.report._PIPE_WIDTH", None)
    print_rows(("id", "text"), [("01M8Q8ZMZV4ATAFMXEQ6DMRR8W", "y" * 100)])
    table = capsys.readouterr().out
    assert table.count("y") == 100
    assert "".join(line.split("│")[1].strip() for line in table.splitlines() if "│" in line) == (
        "01M8Q8ZMZV4ATAFMXEQ6DMRR8W"
    )
