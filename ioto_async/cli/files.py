"""The files that commands write: a folder for each device, a manifest of all."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import orjson

from ..bulk.index import Index
from ..bulk.locks import try_lock
from ..errors import InvalidArgumentError

__all__ = [
    "CERTIFICATE",
    "KEY",
    "PROVISION",
    "Manifest",
    "is_complete",
    "open_locked",
    "read",
    "remove_temporaries",
    "write_private",
]

CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
PROVISION: Final = "provision.json"
_WITHOUT_ID: Final = "line "
"""Begins the keys of rows that have no ID; no ID has a space in it."""


def write_private(path: Path, text: str | Iterable[bytes]) -> None:
    """Write *path* completely or not at all, readable by its owner alone (mode 0600)."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # has mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines((text.encode(),) if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def remove_temporaries(path: Path) -> None:
    """Remove the temporary files of runs that were killed while they wrote *path*."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)


def open_locked(path: Path) -> BinaryIO | None:
    """Open *path* for appending and reading, and lock it; None if another process has locked it."""
    while True:
        file = path.open("ab+")
        if not try_lock(file):
            file.close()
            return None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # the process that had locked it has ended meanwhile, and removed it


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
        InvalidArgumentError: on entry, if the folder cannot be created, or another run writes into it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "manifest.jsonl"
        self._part = folder / "manifest.jsonl.part"
        self._file: BinaryIO

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidArgumentError(f"--out: {error.strerror}: {self._folder}") from None
        file = open_locked(self._part)
        if file is None:
            raise InvalidArgumentError(f"--out: another run is writing into {self._folder}")
        self._file = file
        remove_temporaries(self.path)
        self._merge()  # the lines of a run that was killed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._merge()
        self._part.unlink()
        self._file.close()

    def write(self, entry: Mapping[str, object]) -> None:
        """Add the line of a row; its ``id`` is None if the row has none."""
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
