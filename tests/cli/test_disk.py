"""The files of many devices, written in groups."""

import asyncio
import os
import stat
from functools import partial
from pathlib import Path

import pytest

from ioto_async.cli.files import Draft
from ioto_async.cli.fleet.disk import Disk


async def test_what_one_device_fails_with_is_its_own_and_all_others_are_written(tmp_path: Path) -> None:
    disk = Disk(threads=2, group=4)

    def prepare(number: int) -> Draft:
        if number == 3:
            raise ValueError("not this one")
        return Draft(tmp_path, {f"{number}.pem": f"key {number}"})

    ended = await asyncio.gather(
        *(disk.write(partial(prepare, number)) for number in range(20)), return_exceptions=True
    )
    assert [number for number, error in enumerate(ended) if error is not None] == [3]
    assert isinstance(ended[3], ValueError)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        f"{number}.pem": f"key {number}" for number in range(20) if number != 3
    }


async def test_a_device_counts_as_written_only_when_the_disk_has_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    await Disk(threads=1, group=4).write(lambda: Draft(tmp_path, {"a": "1", "b": (b"2", b"3")}))
    written = [tmp_path / "a", tmp_path / "b"]
    assert synced == [path.stat().st_ino for path in written]
    assert [stat.S_IMODE(path.stat().st_mode) for path in written] == [0o600, 0o600]
    assert (tmp_path / "b").read_bytes() == b"23"


async def test_files_that_cannot_be_synced_leave_nothing_and_their_device_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        await Disk(threads=1, group=4).write(lambda: Draft(tmp_path, {"a": "1"}))
    assert list(tmp_path.iterdir()) == []
