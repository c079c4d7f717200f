"""The SQLite connection that all parts of the embedded cloud share. Standard library only."""

import os
import sqlite3

__all__ = ["connect"]


def connect(path: str | None) -> sqlite3.Connection:
    """Open the database *path*, or one in memory for None.

    Statements commit by themselves; a part that needs several to be one uses ``with db:`` after ``BEGIN``. The
    connection may be used from any thread, as the cloud serialises its calls with a lock.

    Raises:
        OSError: the file cannot be opened, or is no database.
    """
    if path is not None:
        # Keys and tokens are in it; SQLite gives the files beside it the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error as error:
        db.close()
        raise OSError(f"{path}: {error}") from error
    return db
