"""Every example of the README runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ioto_async.emulator import EmulatorThread

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
DEVICE = "M72DANY8BZ"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def cloud(ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EmulatorThread:
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name, value in ioto_emulator.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SSL_CERT_FILE", ioto_emulator.ca)
    ioto_emulator.cloud.register_device(DEVICE)
    ioto_emulator.cloud.add_update("2.0.0", b"image")
    return ioto_emulator


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_example_runs(number: int, cloud: EmulatorThread) -> None:
    source = blocks("python")[number]
    if "to_pandas" in source:
        pytest.importorskip("pandas", reason="pandas comes with the extra all")
    if "device.claim" not in source:
        cloud.cloud.claim_device(DEVICE)
    exec(compile(source, f"README example {number}", "exec"), {"__name__": "__main__"})


def test_readme_has_examples() -> None:
    assert len(blocks("python")) >= 10


@pytest.mark.parametrize("source", blocks("python test"))
def test_test_example_passes(source: str, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(source)
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)


def commands() -> list[str]:
    lines = "".join(blocks("console")).splitlines()
    return [line.removeprefix("$ ") for line in lines if "ioto-async" in line]


def test_every_command_of_the_readme_is_tried_here_or_by_ci() -> None:
    assert commands() == [
        "pip install -e '.[cli]' && ioto-async demo",  # by .ci/run, from the wheel
        "ioto-async provision fleet.csv --out fleet",
        "ioto-async metric write --from samples.csv --via automation --automation MetricSample",
        "ioto-async metric get M72DANY8BZ temperature --period 1d --graph",
        "ioto-async metric export --devices fleet.csv --metric temperature --metric humidity --period 1d --out out.csv",
        "ioto-async call device/find id=M72DANY8BZ --query limit=5",
        """ioto-async call action/invoke name=Alert 'context:={"message": "too hot"}' -v    # -v shows the request""",
        "ioto-async emulator --port 8080 --db cloud.db",  # by test_emulator, with a free port
    ]


@pytest.mark.parametrize("command", [command for command in commands() if " call " in command])
def test_call_command_works(command: str, cloud: EmulatorThread, tmp_path: Path) -> None:
    cloud.cloud.claim_device(DEVICE)
    arguments = shlex.split(command, comments=True)[1:]
    child = subprocess.run(
        [sys.executable, "-m", "ioto_async.cli", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith("{")


def test_provision_command_works(cloud: EmulatorThread, tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text(f"id\n{DEVICE}\n")
    (command,) = (command for command in commands() if "provision" in command)
    arguments = command.split()[1:]
    child = subprocess.run(
        [sys.executable, "-m", "ioto_async.cli", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    assert {path.name for path in (tmp_path / "fleet" / DEVICE).iterdir()} == {
        "certificate.pem",
        "key.pem",
        "provision.json",
    }


def test_metric_commands_work(cloud: EmulatorThread, tmp_path: Path) -> None:
    pytest.importorskip("plotext", reason="plotext comes with the extra all")
    cloud.cloud.claim_device(DEVICE)
    (tmp_path / "samples.csv").write_text(f"metric,value,dimensions.Device\ntemperature,21.5,{DEVICE}\n")
    (tmp_path / "fleet.csv").write_text(f"id\n{DEVICE}\n")
    printed = []
    for command in commands():
        if " metric " in command:
            arguments = shlex.split(command, comments=True)[1:]
            child = subprocess.run(
                [sys.executable, "-m", "ioto_async.cli", *arguments], cwd=tmp_path, capture_output=True, text=True
            )
            assert child.returncode == 0, child.stderr
            printed.append(child.stdout)
    assert "21.5" in printed[1]
    assert (tmp_path / "out.csv").read_text().count("21.5") == 1
