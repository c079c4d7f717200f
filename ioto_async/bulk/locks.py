"""Keeps two processes from sharing a file."""

from typing import Protocol

try:
    import fcntl
except ModuleNotFoundError:  # Windows: two runs with one file are then not kept apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["try_lock"]


class _File(Protocol):
    def fileno(self) -> int: ...


def try_lock(file: _File) -> bool:
    """Lock an open *file* until it is closed; false if another process, or another opening, has it."""
    if fcntl is not None:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
