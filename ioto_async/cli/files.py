"""What the command line leaves on disk: a folder for each device, a manifest for all. Imports errors only."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from ..errors import InvalidArgumentError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: two runs into one folder are then not kept apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["CERTIFICATE", "KEY", "PROVISION", "Manifest", "is_complete", "read", "sweep", "write_private"]

CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
PROVISION: Final = "provision.json"


def write_private(path: Path, text: str) -> None:
    """Write *path* so that it is whole or not there at all, readable by its owner alone (mode 0600)."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
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
        self._file: TextIO

    def __enter__(self) -> Self:
        self._lock()
        sweep(self.path)
        self._fold()  # what a run that was killed has left
        return self

    def _lock(self) -> None:
        while True:
            self._file = self._part.open("a", encoding="utf-8")
            try:
                if fcntl is not None:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._part.exists() and os.path.samestat(os.fstat(self._file.fileno()), self._part.stat()):
                    return
            except BlockingIOError:
                self._file.close()
                raise InvalidArgumentError(f"--out: another run is writing into {self.path.parent}") from None
            self._file.close()  # another run has ended meanwhile, and taken the file with it

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fold()
        self._part.unlink()
        self._file.close()

    def write(self, entry: Mapping[str, object]) -> None:
        """Add the line of one row; ``id`` tells which device, None that it names none."""
        self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        self._file.flush()

    def _fold(self) -> None:
        newest = dict(_lines(self._part))
        if newest:
            # Rows that named no device are told of by the run that met them, not for ever.
            kept = {key: line for key, line in _lines(self.path) if key not in newest and not isinstance(key, int)}
            write_private(self.path, "".join(f"{line}\n" for line in (*kept.values(), *newest.values())))
        self._file.truncate(0)


def _lines(path: Path) -> Iterator[tuple[str | int, str]]:
    """The lines of *path* that are whole, by ID, or by their number in the fleet file where they have none."""
    for line in (read(path) or b"").decode("utf-8", "replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # torn, the last line of a killed run
        try:
            yield (entry["id"] if entry["id"] is not None else entry["line"]), line
        except (KeyError, TypeError):
            yield line, line  # not ours, and so not ours to drop
