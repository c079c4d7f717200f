"""A cloud that the environment names, and a fleet for it."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from ioto_async.emulator import EmulatorThread
from tests.rawserver import GUARD

from .fleets import Fleet
from .metrics import NOW, Metrics


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No jitter between the attempts of a call."""
    monkeypatch.setattr("random.random", lambda: 0.0)


@pytest.fixture
def no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lines of progress on stderr, however long a run takes on a busy machine."""
    monkeypatch.setattr("ioto_async.cli.report._INTERVAL", GUARD)


@pytest.fixture
def cloud(
    ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch, no_waits: None, no_progress: None
) -> EmulatorThread:
    """A cloud with four registered devices."""
    for name, value in ioto_emulator.env.items():
        monkeypatch.setenv(name, value)
    register_devices(ioto_emulator)
    return ioto_emulator


@pytest.fixture
def heard_hangup() -> Iterator[None]:
    """Processes that are started hear SIGHUP, even if the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def register_devices(cloud: EmulatorThread) -> None:
    for number in range(1, 5):
        cloud.cloud.register_device(f"DEV{number}")


@pytest.fixture
def empty_folder(cloud: EmulatorThread, tmp_path: Path) -> Callable[[], Path]:
    """Makes a folder for a row of a table, and has the cloud as it was at the beginning of the test."""

    def make() -> Path:
        cloud.reset()
        register_devices(cloud)
        return Path(mkdtemp(dir=tmp_path))

    return make


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fleet:
    return Fleet(tmp_path, capsys)


@pytest.fixture
def new_fleet(empty_folder: Callable[[], Path], capsys: pytest.CaptureFixture[str]) -> Callable[[], Fleet]:
    """Makes a fleet for a row of a table."""
    return lambda: Fleet(empty_folder(), capsys)


@pytest.fixture
def metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch
) -> Metrics:
    """The cloud's devices are claimed, and it is always the same time there and here."""
    monkeypatch.setattr("ioto_async.cli.metric.samples._now", lambda: NOW)
    for number in range(1, 5):
        cloud.cloud.claim_device(f"DEV{number}")
    cloud.cloud.clock = NOW.timestamp
    return Metrics(tmp_path, capsys, cloud)
