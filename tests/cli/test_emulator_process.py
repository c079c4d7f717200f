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
from shutil import which
from sqlite3 import connect
from typing import Any

import attrs
import pytest

from ioto_async.cli import _run
from ioto_async.cli.emulator.shell import _statements
from ioto_async.emulator import Emulator, EmulatorThread
from tests.rawserver import GUARD
from tests.rows import each_row

from .test_emulator import process

COMMAND = [sys.executable, "-m", "ioto_async.cli", "emulator"]
BUILDER = "https://api.admin.embedthis.com/api"


@attrs.frozen
class Done:
    status: int
    stdout: str
    stderr: str


@attrs.frozen
class Run:
    """Runs the command in this process; what it starts inherits streams, environment and folder."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Done:
        status = _run(["emulator", *words])
        return Done(status, *self.capture.readouterr())


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return Run(capfd)


# --exec ---------------------------------------------------------------------------------------------------------------

SHOW = (
    sys.executable,
    "-c",
    "import json, os; print(json.dumps({k: os.environ[k] for k in os.environ if k[:4] in ('IOTO', 'BUIL', 'NO_P')}))",
)


def test_a_command_gets_all_that_leads_to_the_cloud_and_nothing_that_leads_elsewhere(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = {"IOTO_BUILDER": BUILDER, "IOTO_DEVICE": "M72DANY8BZ", "BUILDER_HOST": "x", "NO_PROXY": "a,localhost"}
    for name, value in stale.items():
        monkeypatch.setenv(name, value)
    shown = json.loads(run("--exec", *SHOW).stdout)
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
def test_the_command_decides_on_the_exit_status(run: Run, words: list[str], status: int, shown: str) -> None:
    done = run("--no-mqtt", "--exec", *words)
    assert (done.status, done.stdout + done.stderr) == (status, shown)


def test_signals_are_passed_on_to_the_command(heard_hangup: None) -> None:
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    traps = "; ".join(f"trap 'echo got {name}' {name[3:]}" for name in names)
    script = f"{traps}; trap 'exit 9' USR2; echo ready; while :; do sleep 0.01; done"
    words = [*COMMAND, "--no-mqtt", "--exec", "sh", "-c", script]
    # In a session of its own there is no terminal that would have sent the signal to both.
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        for name in names:
            child.send_signal(signal.Signals[name])
            assert child.stdout.readline() == f"got {name}\n"
        child.send_signal(signal.SIGUSR2)
        assert child.stdout.read() == ""
    assert child.returncode == 9


def test_without_a_command_it_is_the_shell_of_the_user(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shell = tmp_path / "shell"
    shell.write_text("#!/bin/sh\necho $IOTO_BUILDER; exit 5\n")
    shell.chmod(0o755)
    monkeypatch.setenv("SHELL", str(shell))
    done = run("--no-mqtt", "--exec")
    assert (done.status, done.stdout[:7]) == (5, "http://")


@each_row(
    "words, why",
    [
        (["--env", "--exec", "true"], "--exec: expected no --env beside it"),
        (["bash"], "bash: expected --env before it"),
        (["--claim"], "--claim: expected --devices beside it"),
    ],
)
def test_what_does_not_fit_together_is_wrong_usage(run: Run, words: list[str], why: str) -> None:
    done = run(*words)
    assert (done.status, done.stdout, done.stderr) == (2, "", f"ioto-async: {why}\n")


EVERYDAY = """set -e
ioto-async provision fleet.csv --out fleet
ioto-async metric write --from samples.csv --via automation --automation MetricSample
ioto-async metric get M72DANY8BZ temperature --period 1d --graph
ioto-async metric export --devices fleet.csv --metric temperature --metric humidity --period 1d --out out.csv
ioto-async call device/find id=M72DANY8BZ --query limit=5
ioto-async call action/invoke name=Alert 'context:={"message": "too hot"}' -v
"""


def test_everyday_commands_work_in_it(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("plotext", reason="plotext comes with the extra all")
    (tmp_path / "fleet.csv").write_text("id\nM72DANY8BZ\n")
    (tmp_path / "samples.csv").write_text("metric,value,dimensions.Device\ntemperature,21.5,M72DANY8BZ\n")
    program = tmp_path / "ioto-async"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ioto_async.cli "$@"\n')
    program.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "IOTO_BUILDER": BUILDER, "IOTO_API": "https://x.invalid"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    done = run("--devices", "fleet.csv", "--exec", "bash", "-c", EVERYDAY)
    assert done.status == 0, done.stdout + done.stderr
    assert (tmp_path / "out.csv").read_text().count("21.5") == 1


def test_it_takes_little_more_memory_than_python_with_aiohttp() -> None:
    show = "grep VmRSS /proc/$PPID/status"
    bare = [sys.executable, "-c", f"import subprocess, aiohttp.web; subprocess.run({show!r}, shell=True)"]
    plain = subprocess.run(bare, capture_output=True, text=True, check=True).stdout
    command = [*COMMAND, "--exec", "sh", "-c", show]
    serving = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(serving.split()[1]) - int(plain.split()[1]) < 40 * 1024


# Shells ---------------------------------------------------------------------------------------------------------------

# How each is started without the files of its user, and how it takes up what --env prints.
SHELLS = {
    "bash": (["bash", "--norc", "-c"], 'eval "$({})"'),
    "zsh": (["zsh", "-f", "-c"], 'eval "$({})"'),
    "fish": (["fish", "--no-config", "-c"], "{} | source"),
}
LOOPBACK = "localhost,127.0.0.1,::1"
# What a path may have, and a shell may read otherwise.
ODD = "it's \"$HOME\" `id` \\$(id) \\' {a,b} * ~ !! #x;&|\n %s é"


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Each shell that is installed."""
    name = str(request.param)
    if which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    folder = tmp_path / ODD
    folder.mkdir()
    return folder


def shown_by_env(text: str) -> dict[str, str]:
    """The variables that ``env -0`` has printed."""
    return {name: value for name, _, value in (each.partition("=") for each in text.split("\0")) if name}


def test_a_command_of_any_shell_has_values_as_they_are(
    run: Run, monkeypatch: pytest.MonkeyPatch, shell: str, odd_folder: Path
) -> None:
    for name, value in (("IOTO_BUILDER", BUILDER), ("IOTO_OLD", "x"), ("NO_PROXY", ODD)):
        monkeypatch.setenv(name, value)
    done = run("--no-mqtt", "--db", str(odd_folder / "cloud.db"), "--exec", *SHELLS[shell][0], "env -0; exit 5")
    shown = shown_by_env(done.stdout)
    assert (done.status, done.stderr) == (5, "")
    assert (shown["SSL_CERT_FILE"], shown["NO_PROXY"]) == (str(odd_folder / "cloud.db.ca.pem"), f"{ODD},{LOOPBACK}")
    assert shown["IOTO_BUILDER"] == f"{shown['IOTO_API']}/api"
    assert "IOTO_OLD" not in shown


# --env ----------------------------------------------------------------------------------------------------------------


@contextmanager
def in_shell(
    script: str, *options: str, shell: str = "bash", cwd: Path | None = None, **environ: str
) -> Iterator[subprocess.CompletedProcess[str]]:
    """What a script prints behind ``eval "$(ioto-async emulator --env)"``, before the cloud is ended."""
    start, take_up = SHELLS[shell]
    command = take_up.format(shlex.join([*COMMAND, "--env", *options]))
    # Its output is read to the end: that comes although the cloud goes on.
    done = subprocess.run(
        [*start, f"{command}\necho $IOTO_EMULATOR_PID\n{script}"],
        env={**os.environ, "SHELL": f"/bin/{shell}", **environ},
        cwd=cwd,
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


def test_a_cloud_that_the_shell_has_already_is_told_with_how_to_stop_it() -> None:
    with in_shell("", "--no-mqtt", IOTO_EMULATOR_PID=str(os.getpid())) as done:
        assert done.stderr == (
            f"ioto-async: the previous embedded cloud of this shell still runs; to stop it: kill {os.getpid()}\n"
        )


@each_row("pid", ["0", "-1", "x", "", "9" * 30])
def test_a_cloud_that_has_ended_is_not_told(pid: str) -> None:
    with in_shell("", "--no-mqtt", IOTO_EMULATOR_PID=pid) as done:
        assert done.stderr == ""


def test_any_shell_has_values_as_they_are(shell: str, odd_folder: Path) -> None:
    options = ("--no-mqtt", "--db", "cloud.db")
    stale = {"IOTO_BUILDER": BUILDER, "IOTO_OLD": "x", "no_proxy": ODD}
    with in_shell("env -0", *options, shell=shell, cwd=odd_folder, **stale) as done:
        shown = shown_by_env(done.stdout)
    assert done.stderr == ""
    # By its whole path, as a shell goes to other folders.
    assert (shown["SSL_CERT_FILE"], shown["no_proxy"]) == (str(odd_folder / "cloud.db.ca.pem"), f"{ODD},{LOOPBACK}")
    assert shown["NODE_EXTRA_CA_CERTS"] == shown["SSL_CERT_FILE"]
    assert shown["IOTO_BUILDER"] == f"{shown['IOTO_API']}/api"
    assert "IOTO_OLD" not in shown


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
    assert written == [line, "set -qU B; and set -gx B ''; or set -e B;" if shell == "fish" else "unset B;"]


@each_row("options, status", [(["--port", "99999"], 2), (["--devices", "no-such-file"], 2), (["--db", "/no/x"], 1)])
def test_a_cloud_that_does_not_start_is_not_put_into_the_environment(run: Run, options: list[str], status: int) -> None:
    done = run("--env", *options)
    assert (done.status, done.stdout) == (status, "")
    assert options[1] in done.stderr


# Seeds ----------------------------------------------------------------------------------------------------------------


def test_devices_faults_and_the_export_at_the_end(run: Run, tmp_path: Path) -> None:
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
        ("--faults", None, "--faults: No such file or directory: {file}"),
        ("--update", None, "--update: No such file or directory: {file}"),
        ("--faults", "{", "--faults {file}: Expecting property name"),
        ("--faults", '[{"code": 1}]', "--faults {file}: faults[0]: 'code' is not known; there are operation, "),
    ],
)
def test_what_cannot_be_seeded_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, text: str | None, why: str
) -> None:
    file = tmp_path / "file"
    file.unlink(missing_ok=True)
    if text is not None:
        file.write_text(text)
    assert _run(["emulator", option, f"{file}:1.0" if option == "--update" else str(file)]) == 2
    assert capsys.readouterr().err.startswith("ioto-async: " + why.format(file=file))


# --log ----------------------------------------------------------------------------------------------------------------


def test_requests_are_logged_as_json(run: Run) -> None:
    cli = [sys.executable, "-m", "ioto_async.cli"]
    done = run("--log", "--devices", "1", "--claim", "--exec", *cli, "call", "device/get", "id=DEV0000001")
    assert json.loads(done.stdout)["id"] == "DEV0000001"
    line = json.loads(done.stderr)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("ms") > 0
    assert line == {"operation": "device/get", "caller": "cloud", "status": 200}


def test_messages_of_devices_are_logged(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cli = shlex.join([sys.executable, "-m", "ioto_async.cli"])
    (tmp_path / "fleet.csv").write_text("id\nM72DANY8BZ\n")
    (tmp_path / "samples.csv").write_text("metric,value,dimensions.Device\ntemperature,21.5,M72DANY8BZ\n")
    script = (
        f"{cli} provision fleet.csv --out fleet 2>&1 && {cli} metric write --from samples.csv --via mqtt"
        " --certs fleet/M72DANY8BZ 2>&1"
    )
    monkeypatch.chdir(tmp_path)
    done = run("--log", "--devices", "fleet.csv", "--exec", "sh", "-c", script)
    assert done.status == 0, done.stdout
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
        (
            ["wait", "--url", "http://127.0.0.1:9", "--timeout", "0.1s"],
            4,
            "emulator/status: cannot reach http://127.0.0.1:9/_emu",
        ),
        (["wait", "--url", "http://127.0.0.1:9", "--timeout", "x"], 2, "--timeout: expected a duration such as"),
        (["snapshot", "load", "/no/file", "--url", "{url}"], 2, "FILE: No such file or directory: /no/file"),
        (
            ["snapshot", "load", __file__, "--url", "{url}"],
            1,
            "{url}/_emulator/snapshot: 400 snapshot: the snapshot is",
        ),
        (["snapshot", "save", "/no/file", "--url", "{url}"], 1, "No such file or directory: /no/file"),
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
