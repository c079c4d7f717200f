"""A cloud that the environment names, and a fleet for it."""

from pathlib import Path

import pytest

from ioto_async.emulator import EmulatorThread

from .fleets import Fleet
from .metrics import NOW, Metrics


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No jitter between the attempts of a call."""
    monkeypatch.setattr("random.random", lambda: 0.0)


@pytest.fixture
def cloud(ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch, no_waits: None) -> EmulatorThread:
    """A cloud with four registered devices."""
    for name, value in ioto_emulator.env.items():
        monkeypatch.setenv(name, value)
    for number in range(1, 5):
        ioto_emulator.cloud.register_device(f"DEV{number}")
    return ioto_emulator


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fleet:
    return Fleet(tmp_path, capsys)


@pytest.fixture
def metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str], cloud: EmulatorThread) -> Metrics:
    """The cloud's devices are claimed, and it is always the same time there."""
    for number in range(1, 5):
        cloud.cloud.claim_device(f"DEV{number}")
    cloud.cloud.clock = NOW.timestamp
    return Metrics(tmp_path, capsys, cloud)
