"""Keeps two processes from sharing a file."""

import os
from typing import Protocol

from ..errors import InvalidArgumentError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: two runs with one file are then not kept apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["try_lock"]


class _File(Protocol):
    @property
    def name(self) -> str | os.PathLike[str]: ...

    def fileno(self) -> int: ...


def try_lock(file: _File) -> bool:
    """Lock an open *file* until it is closed; false if another process, or another opening, has it.

    Raises:
        InvalidArgumentError: its file system has no locks, as some of networks do not.
    """
    if fcntl is not None:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise InvalidArgumentError(
                f"{os.fspath(file.name)} cannot be locked ({error.strerror}), so that two runs could write it at once:"
                " name a path on a local disk"
            ) from None
    return True
