"""The SQLite connection that all parts of the embedded cloud share. Standard library only."""

import sqlite3

__all__ = ["connect"]


def connect(path: str | None) -> sqlite3.Connection:
    """Open the database *path*, or one in memory for None.

    Statements commit by themselves; a part that needs several to be one uses ``with db:`` after ``BEGIN``. The
    connection may be used from any thread, as the cloud serialises its calls with a lock.
    """
    db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    return db
