"""What commands write to where something else than a regular file is."""

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from ioto_async.cli.files import is_stdout, is_stream
from ioto_async.emulator import EmulatorThread
from tests.rawserver import GUARD
from tests.rows import each_row

from .fleets import Fleet, start
from .metrics import Metrics


def read_by_another(pipe: Path) -> Future[bytes]:
    """What somebody reads from a named *pipe* until its end."""
    os.mkfifo(pipe)
    got: Future[bytes] = Future()
    threading.Thread(target=lambda: got.set_result(pipe.read_bytes()), daemon=True).start()
    return got


@each_row(
    "name, options, begin",
    {
        "a table": ("points", [], b"device_id,"),
        "another format": ("points", ["--output", "jsonl"], b'{"device_id":'),
        "a format that is written at the end": ("points.parquet", [], b"PAR1"),
    },
)
def test_a_table_goes_through_a_pipe(
    metrics: Metrics, tmp_path_factory: pytest.TempPathFactory, name: str, options: list[str], begin: bytes
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow comes with the extra all")
    metrics.add("DEV1", 20)
    pipe = tmp_path_factory.mktemp("pipe") / name
    got = read_by_another(pipe)
    fleet = metrics.file("fleet.csv", "id\nDEV1\n")
    result = metrics("export", "--devices", fleet, "--metric", "temperature", "--out", pipe, *options)
    assert (result.status, got.result(GUARD)[: len(begin)], pipe.is_fifo()) == (0, begin, True)


@each_row("name, begin", [("picture.png", b"\x89PNG"), ("picture.svg", b"<?xml")])
def test_a_picture_goes_through_a_pipe(
    metrics: Metrics, tmp_path_factory: pytest.TempPathFactory, name: str, begin: bytes
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra all")
    metrics.add("DEV1", 20)
    pipe = tmp_path_factory.mktemp("pipe") / name
    got = read_by_another(pipe)
    result = metrics("get", "DEV1", "temperature", "--plot", pipe)
    assert (result.status, got.result(GUARD)[: len(begin)], pipe.is_fifo()) == (0, begin, True)


def test_a_table_and_a_picture_go_where_a_link_leads(metrics: Metrics) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra all")
    metrics.add("DEV1", 20)
    (metrics.folder / "kept").mkdir()
    for name in ("points.csv", "picture.png"):
        (metrics.folder / name).symlink_to(Path("kept", name))
    files = metrics.folder / "points.csv", metrics.folder / "picture.png"
    result = metrics("get", "DEV1", "temperature", "--out", files[0], "--plot", files[1])
    assert (result.status, [file.is_symlink() for file in files]) == (0, [True, True])
    assert {path.name for path in (metrics.folder / "kept").iterdir()} == {"points.csv", "picture.png"}


def test_links_in_a_circle_are_reported(metrics: Metrics) -> None:
    loop = metrics.folder / "points.csv"
    loop.symlink_to(loop)
    result = metrics("get", "DEV1", "temperature", "--out", loop)
    assert (result.status, loop.is_symlink()) == (2, True)
    assert "--out: Too many levels of symbolic links: " in result.stderr


def test_a_link_beside_the_table_is_not_written_through(metrics: Metrics) -> None:
    kept = metrics.file("kept", "kept")
    (metrics.folder / "points.csv.part").symlink_to(kept)
    result = metrics("get", "DEV1", "temperature", "--out", metrics.folder / "points.csv")
    assert (result.status, kept.read_text()) == (2, "kept")
    assert "points.csv.part is a symbolic link" in result.stderr


def test_a_file_that_is_open_is_not_replaced(metrics: Metrics, tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        name = Path(f"/dev/fd/{file.fileno()}")
        (tmp_path / "link").symlink_to(name)
        assert [is_stream(path) for path in (name, tmp_path / "link", Path(file.name))] == [True, True, False]
        assert not is_stdout(Path(file.name))


def test_stdout_by_its_name_is_stdout(metrics: Metrics, cloud: EmulatorThread) -> None:
    metrics.add("DEV1", 20)
    metrics.file("fleet.csv", "id\nDEV1\n")
    command = ("metric", "export", "--devices", str(metrics.folder / "fleet.csv"), "--metric", "temperature", "--json")
    child = start(*command, "--out", "/dev/stdout", environ=cloud.env)
    stdout, stderr = child.communicate(timeout=GUARD)
    assert (child.returncode, stdout.startswith(b"device_id,"), b'"devices": 1' in stdout) == (0, True, False)
    assert b'"devices": 1' in stderr


def link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "kept")


def link_in(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(path.parent.parent.parent / "kept")


def pipe_in(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)


@each_row(
    "name, make, complaint",
    {
        "the part of the manifest": ("manifest.jsonl.part", link, "manifest.jsonl.part is a symbolic link"),
        "the manifest": ("manifest.jsonl", link, "manifest.jsonl is a symbolic link"),
        "a pipe as part": ("manifest.jsonl.part", os.mkfifo, "manifest.jsonl.part is no regular file"),
    },
)
def test_a_manifest_that_leads_elsewhere_is_refused(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, name: str, make: Callable[[Path], None], complaint: str
) -> None:
    fleet = new_fleet()
    fleet.write("id\nDEV1\n")
    fleet.out.mkdir()
    (fleet.folder / "kept").write_text("kept")
    make(fleet.out / name)
    result = fleet.provision()
    assert (result.status, (fleet.folder / "kept").read_text(), len(cloud.requests)) == (2, "kept", 0)
    assert result.stderr.startswith("ioto-async: --out: ")
    assert complaint in result.stderr


@each_row(
    "name, make, complaint",
    {
        "the folder": ("DEV1", link, "DEV1 is a symbolic link"),
        "the key": ("DEV1/key.pem", link_in, "key.pem is a symbolic link"),
        "the description": ("DEV1/provision.json", link_in, "provision.json is a symbolic link"),
        "a pipe": ("DEV1/certificate.pem", pipe_in, "certificate.pem is no regular file"),
    },
)
def test_a_folder_that_leads_elsewhere_fails_its_device_before_it_is_claimed(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, name: str, make: Callable[[Path], None], complaint: str
) -> None:
    fleet = new_fleet()
    fleet.write("id\nDEV1\nDEV2\n")
    fleet.out.mkdir()
    (fleet.folder / "kept").mkdir()
    make(fleet.out / name)
    result = fleet.provision()
    assert (result.status, result.figures["claimed"], result.figures["failed"]) == (1, 1, 1)
    assert result.stderr.startswith("line 2: DEV1: ")
    assert complaint in result.stderr
    assert not any((fleet.folder / "kept").iterdir())


@each_row(
    "make, complaint",
    {
        "a pipe": (os.mkfifo, "no regular file"),
        "a device": (lambda path: path.symlink_to("/dev/null"), "no regular file"),
        "a folder": (Path.mkdir, "Is a directory"),
    },
)
def test_a_journal_that_cannot_be_read_again_is_refused(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, make: Callable[[Path], None], complaint: str
) -> None:
    fleet = new_fleet()
    fleet.write("DEV1\n")
    make(fleet.folder / "journal")
    result = fleet("claim", "--journal", str(fleet.folder / "journal"))
    assert (result.status, len(cloud.requests)) == (2, 0)
    assert result.stderr.startswith(f"ioto-async: --journal: {complaint}: ")


@each_row("code", [errno.ENOLCK, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.ENOSYS])
def test_a_file_system_without_locks_is_told_of_with_a_way_on(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    fleet = new_fleet()
    fleet.write("DEV1\n")
    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", flock)
        results = fleet("claim"), fleet.provision("--no-journal")
        assert fleet("claim", "--no-journal").status == 0
    for result, option, file, way in zip(
        results,
        ("--journal", "--out"),
        (fleet.journal("claim"), fleet.out / "manifest.jsonl.part"),
        ("local disk, or give --no-journal\n", "local disk\n"),
        strict=True,
    ):
        assert result.status == 2
        assert result.stderr.startswith(f"ioto-async: {option}: {file} cannot be locked ({os.strerror(code)}), ")
        assert result.stderr.endswith(way)


def test_stdin_by_its_name_has_no_journal_of_its_own(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    with fleet.file.open() as file:
        result = fleet.raw("fleet", "claim", f"/dev/fd/{file.fileno()}", "--json")
    assert (result.status, result.figures["claimed"], "journal" in result.figures) == (0, 1, False)
