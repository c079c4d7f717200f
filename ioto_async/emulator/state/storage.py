"""The SQLite connections that the parts of the embedded cloud share."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["connect", "emptied", "load_settings", "save_settings"]

# Goes up with every change to the tables, of whatever part.
_VERSION = 5


def connect(path: str | None) -> sqlite3.Connection:
    """Open the database *path*, or one in memory for None.

    Statements commit by themselves; a part that needs several to be one uses ``with db:`` after ``BEGIN``. The
    connection may be used from any thread, as the cloud serialises its calls with a lock.

    Raises:
        OSError: the file cannot be opened, is no database, or is one of another version of the emulator.
    """
    if path is not None:
        # Keys and tokens are in it; SQLite gives its journal files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        _check_version(db)
        db.execute(
            "CREATE TABLE IF NOT EXISTS settings"
            " (part TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (part, name))"
        )
    except sqlite3.Error as error:
        db.close()
        raise OSError(f"{path}: {error}") from error
    return db


def _check_version(db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != _VERSION and db.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise sqlite3.DatabaseError("not a database of this version of the emulator")
    db.execute(f"PRAGMA user_version = {_VERSION}")


def load_settings(db: sqlite3.Connection, part: str) -> dict[str, str]:
    """Return the permanent keys and secrets of *part*, by name; empty before `save_settings`."""
    return dict(db.execute("SELECT name, value FROM settings WHERE part = ?", (part,)).fetchall())


def save_settings(db: sqlite3.Connection, part: str, values: dict[str, str]) -> None:
    """Store the keys and secrets of *part*; a reset does not touch them."""
    db.executemany(
        "INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", [(part, name, value) for name, value in values.items()]
    )


@contextmanager
def emptied(db: sqlite3.Connection) -> Iterator[None]:
    """Empty all tables of *db* but the settings, in one transaction with the block."""
    tables = db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name != 'settings'"
    ).fetchall()
    db.execute("BEGIN")
    with db:
        for (table,) in tables:
            db.execute(f'DELETE FROM "{table}"')  # noqa: S608 - a name from the catalogue
        yield
