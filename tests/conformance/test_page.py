"""Every example of docs/conformance.md runs."""

import re
import shlex
from pathlib import Path

import pytest

from ioto_async.cli import _run
from ioto_async.emulator import EmulatorThread

PAGE = (Path(__file__).parent.parent.parent / "docs" / "conformance.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def cloud(ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EmulatorThread:
    monkeypatch.chdir(tmp_path)
    for name, value in ioto_emulator.env.items():
        monkeypatch.setenv(name, value)
    return ioto_emulator


def test_the_python_example_runs(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = blocks("python")
    exec(compile(source, "docs/conformance.md", "exec"), {"__name__": "__main__"})
    assert "'holds': 2" in capsys.readouterr().out


def test_the_test_example_passes(pytester: pytest.Pytester) -> None:
    (source,) = blocks("python test")
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(source)
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)


def test_the_command_works(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [line.removeprefix("$ ") for line in "".join(blocks("console")).splitlines() if " doctor " in line]
    (command,) = commands
    assert _run([*shlex.split(command)[1:], "--rate", "1000/s"]) == 0
    assert Path("conformance.md").exists()
    capsys.readouterr()
