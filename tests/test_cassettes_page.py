"""What the examples of the page about cassettes send, record and print."""

import re
import shlex
from pathlib import Path

import pytest

from ioto_async.cli import _run
from ioto_async.emulator import EmulatorThread
from ioto_async.transport.cassette import _named
from ioto_async.transport.cassette_file import read

PAGE = (Path(__file__).parent.parent / "docs" / "cassettes.md").read_text(encoding="utf-8")
DEVICE = "M72DANY8BZ"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def cloud(ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EmulatorThread:
    monkeypatch.chdir(tmp_path)
    for name, value in ioto_emulator.env.items():
        monkeypatch.setenv(name, value)
    ioto_emulator.cloud.register_device(DEVICE)
    return ioto_emulator


def test_the_test_passes(cloud: EmulatorThread, pytester: pytest.Pytester) -> None:
    (source,) = blocks("python test")
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(source)
    for options in (["--ioto-record=once"], []):
        pytester.runpytest_subprocess("-p", "no:randomly", *options).assert_outcomes(passed=1)
    assert len(cloud.requests) == 1


def test_the_commands_work(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.cloud.claim_device(DEVICE)
    printed = []
    for line in "".join(blocks("console")).splitlines():
        _named.cache_clear()  # each is a process of its own
        assert _run(shlex.split(line)[2:]) == 0, line
        printed.append(capsys.readouterr().out)
    assert len(cloud.requests) == 1
    assert DEVICE in printed[0]
    assert '"id": "MASK' in printed[1]
    assert printed[2].startswith("1 exchange: 1 the same")


def test_the_file_of_the_page_is_one(tmp_path: Path) -> None:
    (text,) = blocks("text")
    path = tmp_path / "page.cassette"
    path.write_text(text)
    (exchange,) = read(path).exchanges
    assert exchange.request["operation"] == "device/get"
