"""What the command line leaves on disk: a folder for each device, a manifest for all."""

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

__all__ = ["CERTIFICATE", "KEY", "PROVISION", "Manifest", "is_complete", "open_alone", "read", "sweep", "write_private"]

CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
PROVISION: Final = "provision.json"
_NAMELESS: Final = "line "
"""How the keys of rows begin that name no device; no ID has a space in it."""


def write_private(path: Path, text: str | Iterable[bytes]) -> None:
    """Write *path* so that it is whole or not there at all, readable by its owner alone (mode 0600)."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
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


def sweep(path: Path) -> None:
    """Remove what runs that were killed while they wrote *path* have left beside it."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)


def open_alone(path: Path) -> BinaryIO | None:
    """Open *path* to append to and to read, and lock it; None if another process has it."""
    while True:
        file = path.open("ab+")
        if not try_lock(file):
            file.close()
            return None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # whoever had it has ended meanwhile, and taken the file with it


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
    """A line of JSON for every device, the newest only: ``manifest.jsonl``.

    Lines are written beside the manifest as the devices end and folded into it at the end, so that neither a crash
    nor a run over another part of the fleet loses any. A lock keeps two runs apart.

    Raises:
        InvalidArgumentError: on entry, if another run writes into the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "manifest.jsonl"
        self._part = folder / "manifest.jsonl.part"
        self._file: BinaryIO

    def __enter__(self) -> Self:
        file = open_alone(self._part)
        if file is None:
            raise InvalidArgumentError(f"--out: another run is writing into {self.path.parent}")
        self._file = file
        sweep(self.path)
        self._fold()  # what a run that was killed has left
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fold()
        self._part.unlink()
        self._file.close()

    def write(self, entry: Mapping[str, object]) -> None:
        """Add the line of one row; ``id`` tells which device, None that it names none."""
        self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._file.flush()

    def _fold(self) -> None:
        if os.fstat(self._file.fileno()).st_size:
            write_private(self.path, self._folded())
            self._file.truncate(0)

    def _folded(self) -> Iterator[bytes]:
        """What is kept of the manifest, and the newest line of each row since."""
        newest = Index(lambda offset: _key(self._line_at(offset)) or "")
        for offset, line in _lines(self._part):
            if key := _key(line):
                newest.put(key, offset)
        for _, line in _lines(self.path):
            key = _key(line)
            # Rows that named no device are told of by the run that met them, not for ever. What is not ours, is kept.
            if key is None or not (key.startswith(_NAMELESS) or newest.get(key) is not None):
                yield line
        for offset, line in _lines(self._part):
            if (key := _key(line)) and newest.get(key) == offset:
                yield line

    def _line_at(self, offset: int) -> bytes:
        self._file.seek(offset)
        return self._file.readline()


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of *path* and where they begin."""
    offset = 0
    try:
        with path.open("rb") as file:
            for line in file:
                yield offset, line.removesuffix(b"\n") + b"\n"
                offset += len(line)
    except FileNotFoundError:
        return


def _key(line: bytes) -> str | None:
    """What tells the row of *line* from others: its ID, or where it stands; None for what is no line of ours.

    The last line of a killed run may be torn, and is none then.
    """
    try:
        entry = orjson.loads(line)
        return str(entry["id"]) if entry["id"] is not None else f"{_NAMELESS}{entry['line']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
