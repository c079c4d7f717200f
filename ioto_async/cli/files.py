"""The files that commands write: those that users name, a folder for each device, a manifest of all."""

import contextlib
import errno
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedRandom, FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import orjson

from ..bulk.index import Index
from ..bulk.locks import try_lock
from ..errors import InvalidArgumentError
from ..models import Certificates

__all__ = [
    "CERTIFICATE",
    "KEY",
    "PROVISION",
    "Manifest",
    "beside",
    "check_device_folder",
    "check_own",
    "is_complete",
    "is_stdout",
    "is_stream",
    "make_folder",
    "naming",
    "open_output",
    "read",
    "read_certificates",
    "remove_temporaries",
    "write_private",
    "write_together",
]

CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
PROVISION: Final = "provision.json"
_WITHOUT_ID: Final = "line "
"""Begins the keys of rows that have no ID; no ID has a space in it."""
_OPEN_FILES: Final = ("/dev/fd/", "/dev/std", "/proc/")
"""Begin the names of files that are open, such as /dev/stdout, which may be regular ones."""


def is_stream(path: Path) -> bool:
    """Whether *path* is, or leads to, a device, a pipe or an open file of this process, which is never replaced."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return _is_open_file(path) if stat.S_ISREG(mode) else not stat.S_ISDIR(mode)


def is_stdout(path: Path) -> bool:
    """Whether *path* is another name of stdout."""
    return is_stream(path) and _is_open_file(path) and os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))


def _is_open_file(path: Path) -> bool:
    while not str(path.absolute()).startswith(_OPEN_FILES):
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
    return True


def beside(path: Path, suffix: str) -> Path:
    """A file of ours beside the file *path*, which a user has named, and to which links are followed."""
    target = Path(os.path.realpath(path))
    return target.parent / f"{target.name}.{suffix}"


@contextlib.contextmanager
def open_output(path: Path, option: str) -> Iterator[BinaryIO]:
    """Open the file *path*, which a user has named, for writing.

    A regular file is replaced when the body ends without an error. Until then what is written is in ``PATH.part``,
    which an error removes. A link is followed; devices and pipes are written through.

    Args:
        path: the file.
        option: names it in errors.

    Raises:
        InvalidArgumentError: another process writes it, or ``PATH.part`` is no file of ours.
        OSError: it cannot be written.
    """
    if is_stream(path):
        with naming(path), path.open("ab") as stream:
            yield stream
        return
    target = Path(os.path.realpath(path))
    if target.is_dir() or target.is_symlink():  # that is left of links in a circle
        code = errno.EISDIR if target.is_dir() else errno.ELOOP
        raise OSError(code, os.strerror(code), str(path))
    part = beside(path, "part")
    try:
        file = open_locked(part)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{option}: {error}") from None
    if file is None:
        raise InvalidArgumentError(f"{option}: another run is writing {path}")
    with naming(path), file:
        try:
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            part.unlink()
            raise
        part.replace(target)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of writing name *path*."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


def check_own(path: Path) -> int | None:
    """Check that *path*, a file or folder in a folder of ours, leads nowhere else; return its mode, if it is there.

    Raises:
        InvalidArgumentError: it is a link, a device or a pipe.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(mode):
        raise InvalidArgumentError(f"{path} is a symbolic link: remove it")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InvalidArgumentError(f"{path} is no regular file: remove it")
    return mode


def check_device_folder(folder: Path) -> None:
    """Check that the *folder* of a device, and what is in it, leads nowhere else.

    Raises:
        InvalidArgumentError: it does.
    """
    mode = check_own(folder)
    if mode is not None and stat.S_ISDIR(mode):
        for name in (KEY, CERTIFICATE, PROVISION):
            check_own(folder / name)


def make_folder(folder: Path) -> bool:
    """Make the *folder* of a device, for its owner alone; False if there is something of that name."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        return False
    return True


def write_private(path: Path, text: str | Iterable[bytes]) -> None:
    """Write *path*, in a folder of ours, completely or not at all, readable by its owner alone (mode 0600).

    Raises:
        InvalidArgumentError: it is a link, a device or a pipe.
    """
    check_own(path)
    write_together(path.parent, {path.name: text})


def write_together(folder: Path, texts: Mapping[str, str | Iterable[bytes]]) -> None:
    """Write files of *folder* by their names, in this order, each completely or not at all, with mode 0600.

    None of them is there before the disk has the bytes of all, which it takes faster together.
    """
    temporaries: dict[Path, Path] = {}
    opened: list[FileIO] = []
    try:
        for name, text in texts.items():
            temporary = folder / f".{name}.{secrets.token_hex(8)}"
            file = FileIO(temporary, "x", opener=_open_private)
            opened.append(file)
            temporaries[temporary] = folder / name
            with open(file.fileno(), "wb", closefd=False) as buffered:
                buffered.writelines((text.encode(),) if isinstance(text, str) else text)
        for file in opened:
            os.fsync(file.fileno())
        for temporary, path in temporaries.items():
            temporary.replace(path)
    except BaseException:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)
        raise
    finally:
        for file in opened:
            file.close()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def remove_temporaries(path: Path) -> None:
    """Remove the temporary files of runs that were killed while they wrote *path*."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)


def open_locked(path: Path) -> BinaryIO | None:
    """Open *path*, a file of ours, for appending and reading, and lock it; None if another process has locked it.

    Raises:
        InvalidArgumentError: it is a link, a device or a pipe, or its file system has no locks.
        OSError: it cannot be opened.
    """
    while True:
        check_own(path)
        file = BufferedRandom(FileIO(path, "a+", opener=_open_no_link))
        try:
            is_ours = try_lock(file)
        except InvalidArgumentError:
            file.close()
            raise
        if not is_ours:
            file.close()
            return None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # the process that had locked it has ended meanwhile, and removed it


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def read(path: Path) -> bytes | None:
    """The bytes of *path*, or None if there is no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def is_complete(folder: Path) -> bool:
    """Whether everything that a device needs is in *folder*; ``provision.json`` is written last, and removed first."""
    return all((folder / name).is_file() for name in (KEY, CERTIFICATE, PROVISION))


class Manifest:
    """A line of JSON for every device, only the newest of each: ``manifest.jsonl``.

    Lines are written to a file beside the manifest as the devices are done, and merged into it at the end, so that
    neither a crash nor a run over another part of the fleet loses any. A lock keeps out other runs.

    Args:
        folder: where the manifest is; created on entry.

    Raises:
        InvalidArgumentError: on entry, if the folder cannot be created, another run writes into it, or the manifest is
            a link, a device or a pipe.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "manifest.jsonl"
        self._part = folder / "manifest.jsonl.part"
        self._file: BinaryIO

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_own(self.path)
            file = open_locked(self._part)
        except OSError as error:
            raise InvalidArgumentError(f"--out: {error.strerror}: {self._folder}") from None
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"--out: {error}") from None
        if file is None:
            raise InvalidArgumentError(f"--out: another run is writing into {self._folder}")
        self._file = file
        remove_temporaries(self.path)
        self._merge()  # the lines of a run that was killed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._merge()
            self._part.unlink()

    def write(self, entry: Mapping[str, object]) -> None:
        """Add the line of a row; its ``id`` is None if the row has none.

        Raises:
            OSError: it cannot be written.
        """
        with naming(self._part):
            self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
            self._file.flush()

    def _merge(self) -> None:
        if os.fstat(self._file.fileno()).st_size:
            write_private(self.path, self._merged())
            self._file.truncate(0)

    def _merged(self) -> Iterator[bytes]:
        """The lines of the manifest that are still valid, and the newest line of each row since."""
        newest = Index(lambda offset: _key(self._line_at(offset)) or "")
        for offset, line in _lines(self._part):
            if key := _key(line):
                newest.put(key, offset)
        for _, line in _lines(self.path):
            key = _key(line)
            # Rows without an ID are listed by the run that met them, not for ever. Lines of others are kept.
            if key is None or not (key.startswith(_WITHOUT_ID) or newest.get(key) is not None):
                yield line
        for offset, line in _lines(self._part):
            if (key := _key(line)) and newest.get(key) == offset:
                yield line

    def _line_at(self, offset: int) -> bytes:
        self._file.seek(offset)
        return self._file.readline()


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of *path* and their offsets."""
    offset = 0
    try:
        with path.open("rb") as file:
            for line in file:
                yield offset, line.removesuffix(b"\n") + b"\n"
                offset += len(line)
    except FileNotFoundError:
        return


def _key(line: bytes) -> str | None:
    """The key of the row in *line*: its ID, or else its line number; None for a line that is not ours.

    The last line of a killed run may be incomplete, and has no key then.
    """
    try:
        entry = orjson.loads(line)
        return str(entry["id"]) if entry["id"] is not None else f"{_WITHOUT_ID}{entry['line']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def read_certificates(path: Path, device: str | None) -> Certificates:
    """Read what `fleet provision` has written for a device.

    Args:
        path: the folder of the device, a file in it, or the folder of the fleet.
        device: ID of the device; None to take the one in the folder.

    Raises:
        InvalidArgumentError: a file is missing, is something else, or is of another device.
    """
    folder = path.parent if path.is_file() else path
    if device is not None and not (folder / PROVISION).exists():
        folder = folder / device
    contents: dict[str, bytes] = {}
    for name in (PROVISION, CERTIFICATE, KEY):
        content = read(folder / name)
        if content is None:
            hint = "" if device is not None else ": name the device by --device, or its own folder"
            raise InvalidArgumentError(f"--certs: no {name} in {folder}{hint}")
        contents[name] = content
    try:
        provision = json.loads(contents[PROVISION])
        id, account, endpoint, port = (provision.get(name) for name in ("id", "accountId", "endpoint", "port"))
    except (ValueError, AttributeError):
        raise InvalidArgumentError(f"--certs: {folder / PROVISION} is not what fleet provision writes") from None
    if device is not None and id != device:
        raise InvalidArgumentError(f"--certs: {folder} is of device {id}, not of {device}")
    return Certificates(
        id=id,
        account_id=account,
        endpoint=endpoint,
        port=port,
        certificate=contents[CERTIFICATE].decode(errors="replace"),
        key=contents[KEY].decode(errors="replace"),
    )
