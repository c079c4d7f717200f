"""``ioto-async emulator`` around other commands: --exec, --env, --log, seeds, and the commands for one that runs."""

import asyncio
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import connect
from typing import Any

import pytest

from ioto_async.cli import _run
from ioto_async.cli.emulator.shell import _statements
from ioto_async.emulator import Emulator, EmulatorThread
from tests.rawserver import GUARD
from tests.rows import each_row
from tests.test_readme import commands

from .test_emulator import process

COMMAND = [sys.executable, "-m", "ioto_async.cli", "emulator"]
BUILDER = "https://api.admin.embedthis.com/api"


def run(*words: str, environ: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **(environ or {})}
    return subprocess.run([*COMMAND, *words], env=environ, capture_output=True, text=True, timeout=GUARD, **options)


# --exec ---------------------------------------------------------------------------------------------------------------

SHOW = (
    sys.executable,
    "-c",
    "import json, os; print(json.dumps({k: os.environ[k] for k in os.environ if k[:4] in ('IOTO', 'BUIL', 'NO_P')}))",
)


def test_a_command_gets_all_that_leads_to_the_cloud_and_nothing_that_leads_elsewhere() -> None:
    stale = {"IOTO_BUILDER": BUILDER, "IOTO_DEVICE": "M72DANY8BZ", "BUILDER_HOST": "x", "NO_PROXY": "a,localhost"}
    shown = json.loads(run("--exec", *SHOW, environ=stale).stdout)
    assert sorted(shown) == [
        *("BUILDER_TOKEN", "IOTO_ACCOUNT", "IOTO_API", "IOTO_BUILDER", "IOTO_CLIENT_ID", "IOTO_CLOUD", "IOTO_COGNITO"),
        *("IOTO_EMULATOR", "IOTO_EMULATOR_TOKEN", "IOTO_HOST", "IOTO_MQTT_HOST", "IOTO_MQTT_PORT", "IOTO_PASSWORD"),
        *("IOTO_PRODUCT", "IOTO_TOKEN", "IOTO_USERNAME", "NO_PROXY"),
    ]
    assert shown["IOTO_BUILDER"] == f"{shown['IOTO_API']}/api"
    assert shown["IOTO_EMULATOR"] == f"{shown['IOTO_API']}/_emulator"
    assert shown["NO_PROXY"] == "a,localhost,127.0.0.1,::1"


@each_row(
    "words, status, shown",
    [
        (["sh", "-c", "exit 0"], 0, ""),
        (["sh", "-c", "exit 7"], 7, ""),
        (["sh", "-c", "kill -TERM $$"], 143, ""),
        (["sh", "-c", "kill -INT $$"], 130, ""),
        (["no-such-command"], 127, "ioto-async: --exec: no-such-command: No such file or directory\n"),
        (["/"], 126, "ioto-async: --exec: /: Permission denied\n"),
        # Its options are its own.
        (["sh", "-c", 'echo "$@"', "--", "--help", "--port", "x y", "--"], 0, "--help --port x y --\n"),
    ],
)
def test_the_command_decides_on_the_exit_status(words: list[str], status: int, shown: str) -> None:
    done = run("--no-mqtt", "--exec", *words)
    assert (done.returncode, done.stdout + done.stderr) == (status, shown)


@each_row("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_signals_are_passed_on_to_the_command(name: str, heard_hangup: None) -> None:
    script = f"trap 'echo got {name}; exit 9' {name[3:]}; echo ready; while :; do sleep 0.01; done"
    words = [*COMMAND, "--no-mqtt", "--exec", "sh", "-c", script]
    # In a session of its own there is no terminal that would have sent the signal to both.
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.Signals[name])
        assert child.stdout.read() == f"got {name}\n"
    assert child.returncode == 9


def test_without_a_command_it_is_the_shell_of_the_user() -> None:
    done = run("--no-mqtt", "--exec", environ={"SHELL": "/bin/sh"}, input="echo $IOTO_BUILDER; exit 5")
    assert (done.returncode, done.stdout[:7]) == (5, "http://")


@each_row(
    "words, why",
    [
        (["--env", "--exec", "true"], "--exec: expected no --env beside it"),
        (["bash"], "bash: expected --env before it"),
        (["--claim"], "--claim: expected --devices beside it"),
    ],
)
def test_what_does_not_fit_together_is_wrong_usage(words: list[str], why: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"ioto-async: {why}\n")


def test_every_command_of_the_readme_works_in_it(tmp_path: Path) -> None:
    pytest.importorskip("plotext", reason="plotext comes with the extra all")
    (tmp_path / "fleet.csv").write_text("id\nM72DANY8BZ\n")
    (tmp_path / "samples.csv").write_text("metric,value,dimensions.Device\ntemperature,21.5,M72DANY8BZ\n")
    program = tmp_path / "ioto-async"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ioto_async.cli "$@"\n')
    program.chmod(0o755)
    tried = [line for line in commands() if " demo" not in line and " emulator" not in line]
    assert len(tried) == 6
    script = "\n".join(["set -e", *tried])
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "IOTO_BUILDER": BUILDER, "IOTO_API": "https://x.invalid"}
    done = run("--devices", "fleet.csv", "--exec", "bash", "-c", script, cwd=tmp_path, environ=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out.csv").read_text().count("21.5") == 1


def test_it_takes_little_more_memory_than_python_with_aiohttp() -> None:
    show = "grep VmRSS /proc/$PPID/status"
    bare = [sys.executable, "-c", f"import subprocess, aiohttp.web; subprocess.run({show!r}, shell=True)"]
    plain = subprocess.run(bare, capture_output=True, text=True, check=True).stdout
    serving = run("--exec", "sh", "-c", show).stdout
    assert int(serving.split()[1]) - int(plain.split()[1]) < 40 * 1024


# --env ----------------------------------------------------------------------------------------------------------------


@contextmanager
def in_shell(script: str, *options: str, **environ: str) -> Iterator[subprocess.CompletedProcess[str]]:
    """What a script of bash prints behind ``eval "$(ioto-async emulator --env)"``, before the cloud is ended."""
    command = shlex.join([*COMMAND, "--env", *options])
    # Its output is read to the end: that comes although the cloud goes on.
    done = subprocess.run(
        ["bash", "-c", f'eval "$({command})"\necho $IOTO_EMULATOR_PID\n{script}'],
        env={**os.environ, "SHELL": "/bin/bash", **environ},
        capture_output=True,
        text=True,
        timeout=GUARD,
    )
    pid, _, done.stdout = done.stdout.partition("\n")
    try:
        yield done
    finally:
        os.kill(int(pid), signal.SIGTERM)


def test_a_shell_has_the_cloud_in_its_environment() -> None:
    cli = shlex.join([sys.executable, "-m", "ioto_async.cli"])
    script = f'echo "$IOTO_BUILDER" "[$IOTO_OLD]"; {cli} call device/find; {cli} emulator status'
    options = ("--devices", "2", "--claim", "--no-mqtt")
    with in_shell(script, *options, IOTO_BUILDER=BUILDER, IOTO_OLD="x", HTTP_PROXY="http://127.0.0.1:9") as done:
        assert done.stderr == ""
        first, rest = done.stdout.split("\n", 1)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api \[\]", first)
        assert rest.count('"DEV000000') == 2
        assert json.loads(rest.splitlines()[-1])["registered"] == 2


@each_row(
    "shell, line",
    [
        ("bash", "export A='it'\"'\"'s';"),
        ("zsh", "export A='it'\"'\"'s';"),
        ("fish", "set -gx A 'it\\'s';"),
    ],
)
def test_each_shell_has_its_own_language(shell: Any, line: str) -> None:
    written = list(_statements({"A": "it's", "B": None}, shell))
    assert written == [line, "set -e B;" if shell == "fish" else "unset B;"]


@each_row("options, status", [(["--port", "99999"], 2), (["--devices", "no-such-file"], 2), (["--db", "/no/x"], 1)])
def test_a_cloud_that_does_not_start_is_not_put_into_the_environment(options: list[str], status: int) -> None:
    done = run("--env", *options)
    assert (done.returncode, done.stdout) == (status, "")
    assert options[1] in done.stderr


# Seeds ----------------------------------------------------------------------------------------------------------------


def test_devices_faults_and_the_export_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text("id,version\nM72DANY8BZ,1.0.0\nDEV2,\n")
    (tmp_path / "faults.json").write_text('[{"operation": "device/get", "status": 503}]')
    out = tmp_path / "out.db"
    options = ["--devices", str(tmp_path / "fleet.csv"), "--claim", "--faults", str(tmp_path / "faults.json")]
    with process(*options, "--export-on-exit", str(out), "--no-mqtt") as one:
        assert one.info["devices"] == ["M72DANY8BZ", "DEV2"]
        status = run("status", "--url", one.info["api"])
        assert json.loads(status.stdout)["faults"] == 1
        assert one.stop(signal.SIGTERM) == (0, "", "")
    assert out.stat().st_mode & 0o077 == 0
    with process("--db", str(out), "--devices", "2") as again:
        assert again.info["token"] == one.info["token"]
        assert json.loads(run("status", "--url", again.info["control"]).stdout)["registered"] == 4


@each_row(
    "option, text, why",
    [
        ("--devices", "id\n,\nA B\n", "--devices: line 3: "),
        ("--devices", "id\nDEV1\nDEV1\n", "--devices: line 3: "),
        ("--faults", "{", "--faults {file}: Expecting property name"),
        ("--faults", '[{"code": 1}]', "--faults {file}: faults[0]: 'code' is not known; there are operation, "),
    ],
)
def test_what_cannot_be_seeded_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, text: str, why: str
) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    assert _run(["emulator", option, str(file)]) == 2
    assert capsys.readouterr().err.startswith("ioto-async: " + why.format(file=file))


# --log ----------------------------------------------------------------------------------------------------------------


def test_requests_are_logged_as_json(tmp_path: Path) -> None:
    cli = [sys.executable, "-m", "ioto_async.cli"]
    done = run("--log", "--devices", "1", "--claim", "--exec", *cli, "call", "device/get", "id=DEV0000001")
    assert json.loads(done.stdout)["id"] == "DEV0000001"
    line = json.loads(done.stderr)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("ms") > 0
    assert line == {"operation": "device/get", "caller": "cloud", "status": 200}


async def test_messages_of_devices_are_logged(tmp_path: Path) -> None:
    cli = shlex.join([sys.executable, "-m", "ioto_async.cli"])
    (tmp_path / "fleet.csv").write_text("id\nM72DANY8BZ\n")
    (tmp_path / "samples.csv").write_text("metric,value,dimensions.Device\ntemperature,21.5,M72DANY8BZ\n")
    script = (
        f"{cli} provision fleet.csv --out fleet 2>&1 && {cli} metric write --from samples.csv --via mqtt"
        " --certs fleet/M72DANY8BZ 2>&1"
    )
    done = run("--log", "--devices", "fleet.csv", "--exec", "sh", "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [{**line, "time": ""} for line in lines if line["operation"].startswith("mqtt/metric")] == [
        {"time": "", "operation": "mqtt/metric/set", "caller": "M72DANY8BZ", "status": None, "ms": None}
    ]


def test_requests_are_logged_for_people_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    cli = [sys.executable, "-m", "ioto_async.cli", "call", "device/get", "id=NONE"]
    command = [*COMMAND, "--log", "--no-mqtt", "--exec", *cli]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, start_new_session=True) as child:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], GUARD)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    assert child.returncode == 1
    first = shown.decode().splitlines()[0]
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  device/get {19}cloud       400 +\d+\.\d ms", first), shown


# The console ----------------------------------------------------------------------------------------------------------


@each_row("option", [(), ("--env", "bash")])
def test_people_on_a_terminal_are_told_where_the_console_is(option: tuple[str, ...]) -> None:
    ours, theirs = pty.openpty()
    command = [COMMAND[0], *COMMAND[1:], *reversed(option), "--no-mqtt"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as child:
        os.close(theirs)
        assert child.stdout is not None
        line = child.stdout.readline()
        assert select.select([ours], [], [], GUARD)[0]
        shown = os.read(ours, 4096).decode()
        if option:
            text = line + child.stdout.read()
            control = re.search("export IOTO_EMULATOR=(.*);", text)
            background = re.search(r"export IOTO_EMULATOR_PID=(\d+);", text)
            assert control is not None
            assert background is not None
            os.kill(int(background[1]), signal.SIGTERM)
            console = f"{control[1]}/"
        else:
            console = json.loads(line)["console"]
            child.terminate()
    os.close(ours)
    assert shown == f"The console is at {console}\r\n"


# One that runs --------------------------------------------------------------------------------------------------------


def test_its_status_is_printed(ioto_emulator: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    for url in (ioto_emulator.api, ioto_emulator.api + "/", ioto_emulator.control):
        assert _run(["emulator", "status", "--url", url]) == 0
        assert json.loads(capsys.readouterr().out)["clouds"][0]["id"] == ioto_emulator.cloud_id


def test_a_snapshot_is_saved_and_returned_to(
    ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IOTO_EMULATOR", ioto_emulator.control)
    file = tmp_path / "saved.db"
    ioto_emulator.seed(2)
    assert _run(["emulator", "snapshot", "save", str(file)]) == 0
    ioto_emulator.reset()
    assert _run(["emulator", "snapshot", "load", str(file)]) == 0
    assert ioto_emulator.status()["registered"] == 2
    with closing(connect(file)) as db:
        assert db.execute("SELECT count(*) FROM devices").fetchone() == (2,)
    assert capsys.readouterr().out == ""


async def test_what_waits_ends_when_it_is_ready(tmp_path: Path) -> None:
    async with Emulator(mqtt=False) as first:
        port = int(first.api.rpartition(":")[2])
    url = f"http://127.0.0.1:{port}"
    waiting = await asyncio.create_subprocess_exec(*COMMAND, "wait", "--url", url)
    async with Emulator(port=port, mqtt=False):
        assert await asyncio.wait_for(waiting.wait(), GUARD) == 0


@each_row(
    "words, status, why",
    [
        (["status"], 2, "--url: expected the URL of an embedded cloud, here or in IOTO_EMULATOR"),
        (["status", "--url", "x"], 2, "--url: expected a URL such as http://127.0.0.1:8080, got 'x'"),
        (["wait", "--url", "http://127.0.0.1:9", "--timeout", "0.1s"], 4, "emulator/status: http://127.0.0.1:9/_emu"),
        (["wait", "--url", "http://127.0.0.1:9", "--timeout", "x"], 2, "--timeout: expected a duration such as"),
        (["snapshot", "load", "/no/file", "--url", "{url}"], 2, "FILE: No such file or directory: /no/file"),
        (
            ["snapshot", "load", __file__, "--url", "{url}"],
            1,
            "{url}/_emulator/snapshot: 400 snapshot: the snapshot is",
        ),
        (["snapshot", "save", "/no/file", "--url", "{url}"], 1, "[Errno 2] No such file or directory: '/no/file"),
    ],
)
def test_what_cannot_be_done_is_reported_without_a_traceback(
    ioto_emulator: EmulatorThread,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    why: str,
) -> None:
    monkeypatch.delenv("IOTO_EMULATOR", raising=False)
    assert _run(["emulator", *(word.format(url=ioto_emulator.api) for word in words)]) == status
    assert capsys.readouterr().err.startswith("ioto-async: " + why.format(url=ioto_emulator.api))
