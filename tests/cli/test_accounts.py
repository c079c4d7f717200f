"""The account that the command line and the environment name."""

import pytest

from ioto_async.cli import _run
from ioto_async.emulator import EmulatorThread
from tests.rows import each_row

from .fleets import Fleet


@each_row(
    "words",
    [
        ["fleet", "claim", "FILE"],
        ["fleet", "provision", "FILE", "--out", "OUT"],
        ["fleet", "release", "FILE", "--dry-run"],
        ["metric", "get", "DEV1", "temperature"],
        ["metric", "export", "--devices", "FILE", "--metric", "temperature"],
        ["metric", "write", "--from", "FILE", "--via", "model", "--model", "M"],
    ],
)
def test_white_space_around_an_account_is_refused_by_name(
    cloud: EmulatorThread, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    (fleet.folder / "ids.txt").write_text("DEV1\n")
    places = {"FILE": str(fleet.folder / "ids.txt"), "OUT": str(fleet.folder / "out")}
    command = [places.get(word, word) for word in words]
    fleet.capture.readouterr()
    assert _run([*command, "--account", "A1 "]) == 2
    assert "--account: expected no white space around it, got 'A1 '" in fleet.capture.readouterr().err
    if "--dry-run" not in words:  # it makes no client
        monkeypatch.setenv("IOTO_ACCOUNT", " A1")
        assert _run(command) == 2
        assert "IOTO_ACCOUNT: expected no white space around it, got ' A1'" in fleet.capture.readouterr().err
    assert not cloud.requests
