"""``ioto-async fleet`` when it is asked to end, and when it goes on."""

import json
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ioto_async.cli.signals import ending_signals
from ioto_async.emulator import EmulatorThread
from tests.rawserver import GUARD
from tests.rows import each_row

from .fleets import Fleet, start

pytestmark = pytest.mark.slow

# Each row is a line on stdout; this many fill its pipe, so that nobody is done before somebody reads.
ROWS = 700


@pytest.fixture
def ids(cloud: EmulatorThread) -> list[str]:
    return [cloud.cloud.register_device() for _ in range(ROWS)]


def ended(child: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """The exit status, and what was printed; a process that hangs fails the test."""
    try:
        stdout, stderr = child.communicate(timeout=GUARD)
    finally:
        child.kill()
    return child.returncode, stdout.decode(), stderr.decode()


def rows_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@each_row("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_run_finishes_what_it_began_and_the_next_one_does_the_rest(
    cloud: EmulatorThread, heard_hangup: None, new_fleet: Callable[[], Fleet], number: signal.Signals, status: int
) -> None:
    fleet = new_fleet()
    ids = [cloud.cloud.register_device() for _ in range(ROWS)]
    fleet.write("\n".join(ids))
    command = ["fleet", "claim", str(fleet.file), "--output", "jsonl", "--concurrency", "8"]
    child = start(*command, environ=cloud.env)
    assert child.stdout is not None
    first = child.stdout.readline().decode()
    child.send_signal(number)
    code, stdout, stderr = ended(child)
    assert code == status
    done = {row["id"]: row["status"] for row in rows_of(first + stdout)}
    assert 0 < len(done) < ROWS
    assert set(done.values()) == {"ok"}  # nothing was cut off
    assert f"{number.name}: waiting up to 10 s" in stderr
    again = stderr.splitlines()[-1].partition("to go on, run ")[2]
    assert shlex.split(again) == ["ioto-async", *command]
    rest = fleet.raw(*shlex.split(again)[1:])
    assert rest.status == 0, rest.stderr
    left = {row["id"] for row in rest.rows if row["status"] == "ok"}
    assert left == set(ids) - done.keys()
    assert all(cloud.cloud.device(id) is not None for id in ids)


@pytest.mark.slow
def test_a_killed_run_is_gone_on_with(ids: list[str], cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("\n".join(ids))
    child = start("fleet", "claim", str(fleet.file), "--output", "jsonl", environ=cloud.env)
    assert child.stdout is not None
    child.stdout.readline()
    child.kill()
    child.communicate()
    result = fleet("claim")
    figures = result.figures
    assert (result.status, figures["devices"], figures["skipped"] > 0) == (0, ROWS, True)
    assert figures["claimed"] + figures["already_claimed"] + figures["skipped"] == ROWS
    assert set(fleet.journaled("claim").values()) == {"ok"}


def test_a_run_under_nohup_does_not_hear_the_terminal_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.getsignal", lambda number: signal.SIG_IGN if number is signal.SIGHUP else None)
    assert ending_signals() == [signal.SIGINT, signal.SIGTERM]


def test_a_second_signal_ends_calls_that_hang_and_the_next_run_takes_them_up(
    cloud: EmulatorThread, fleet: Fleet
) -> None:
    fleet.write("DEV1\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = f"http://127.0.0.1:{silent.getsockname()[1]}"
        child = start("fleet", "claim", str(fleet.file), "--json", environ=cloud.env | {"IOTO_API": api})
        connection, _ = silent.accept()
        with connection:
            assert b"device/claim" in connection.recv(1000)
            assert child.stderr is not None
            child.send_signal(signal.SIGINT)
            assert child.stderr.readline().startswith(b"SIGINT: ")
            child.send_signal(signal.SIGINT)
            code, stdout, stderr = ended(child)
    assert (code, json.loads(stdout)["unknown"], json.loads(stdout)["stopped"]) == (130, 1, "by SIGINT")
    assert "Traceback" not in stderr
    assert fleet.journaled("claim") == {"DEV1": "unknown"}
    journal = fleet.journal("claim")
    journal.write_text(journal.read_text().replace(api, cloud.env["IOTO_API"]))  # as if it had been there all the time
    assert fleet("claim").figures["claimed"] == 1


def test_a_run_that_waits_for_input_ends_at_the_first_signal(cloud: EmulatorThread, tmp_path: Path) -> None:
    command = ["fleet", "claim", "-", "--output", "jsonl", "--journal", str(tmp_path / "journal")]
    child = start(*command, environ=cloud.env, stdin=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"DEV1\nDEV2\n")
    child.stdin.flush()
    child.stdout.readline()
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    # Its input stays open: it does not wait for more.
    assert child.wait(GUARD) == 130
    child.communicate()


def test_without_a_journal_there_is_nothing_to_go_on_from(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = cloud.env | {"IOTO_API": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        child = start("fleet", "claim", str(fleet.file), "--no-journal", environ=environ)
        connection, _ = silent.accept()
        with connection:
            for _ in range(2):
                child.send_signal(signal.SIGINT)
                assert child.stderr is not None
                child.stderr.readline()
            code, _, stderr = ended(child)
    assert code == 130
    assert "to go on, run" not in stderr
    assert "no journal" in stderr


def test_an_open_file_cannot_be_gone_on_with(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cyclopts.App.__call__", interrupt)
    fleet.write("DEV1\n")
    with fleet.file.open() as file:
        for name in (f"/dev/fd/{file.fileno()}", "/dev/null"):
            for command in (["fleet", "claim", name], ["metric", "write", f"--from={name}"]):
                result = fleet.raw(*command)
                assert (result.status, "there is no journal to go on from" in result.stderr) == (130, True), command


def test_another_command_that_is_interrupted_shows_nothing_of_its_arguments(cloud: EmulatorThread) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = cloud.env | {"IOTO_API": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        child = start("call", "user/login", "password=TOPSECRET", environ=environ)
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1)  # else the signal could come while it connects, which asyncio would complain of
            child.send_signal(signal.SIGINT)
            code, _, stderr = ended(child)
    assert (code, stderr) == (130, "ioto-async: interrupted\n")


def test_the_command_to_go_on_with_does_not_show_the_product_token(
    cloud: EmulatorThread, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.write("NEW1\n")
    command = ["fleet", "register", str(fleet.file), "--json"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = cloud.env | {"IOTO_BUILDER": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        child = start(*command, "--product", cloud.product_token, environ=environ)
        connection, _ = silent.accept()
        with connection:
            assert b"device/register" in connection.recv(1000)
            assert child.stderr is not None
            child.send_signal(signal.SIGTERM)
            child.stderr.readline()
            child.send_signal(signal.SIGTERM)
            code, stdout, stderr = ended(child)
    assert code == 143
    assert cloud.product_token not in stdout + stderr
    assert "--json --product" in stderr

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cyclopts.App.__call__", interrupt)
    result = fleet.raw(*command, f"--product={cloud.product_token}")
    assert (result.status, cloud.product_token in result.stderr) == (130, False)
    assert "--json --product" in result.stderr


def test_a_reader_that_goes_away_ends_the_run(ids: list[str], cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("\n".join(ids))
    child = start("fleet", "claim", str(fleet.file), "--output", "jsonl", environ=cloud.env)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.readline()
    child.stdout.close()
    stderr = child.stderr.read().decode()
    child.stderr.close()
    assert (child.wait(GUARD), "Broken pipe" in stderr) == (1, True)
    assert "Traceback" not in stderr
