"""Copies of the database of a cloud, to be kept or to return to."""

import sqlite3
from contextlib import closing
from typing import Final

from .files import CHUNKS_TABLE
from .jwts import PART
from .storage import emptied

__all__ = ["dump", "restore"]

# Connections and their sessions are those of the process.
_NOT_RESTORED: Final = ("settings", "mqtt_sessions", "mqtt_queue", "mqtt_published")
# But the clock, and what is made when it is needed first.
_KEYS: Final = f"SELECT part, name, value FROM settings WHERE part NOT IN ('clock', '{PART}') ORDER BY part, name"  # noqa: S608
_CLOCK: Final = "SELECT part, name, value FROM settings WHERE part = 'clock'"
_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"


def dump(db: sqlite3.Connection) -> bytes:
    """Return all of a database as what is in a database file."""
    with closing(sqlite3.connect(":memory:")) as copy:
        db.backup(copy)
        if not copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'chunks'").fetchone():
            # That of a database in memory is a temporary table.
            copy.execute(f"CREATE {CHUNKS_TABLE}")
            copy.executemany("INSERT INTO chunks VALUES (?, ?, ?)", db.execute("SELECT * FROM chunks"))
            copy.commit()
        return copy.serialize()


def restore(dbs: list[sqlite3.Connection], images: list[bytes]) -> None:
    """Return databases to what *images* hold of them, or leave all of them as they are.

    Raises:
        ValueError: *images* is not what `dump` returned for these very databases.
    """
    if len(images) != len(dbs):
        raise ValueError(f"the snapshot has {len(images)} databases; there are {len(dbs)} clouds")
    for db, image in zip(dbs, images, strict=True):
        with closing(_opened(image)) as given:
            try:
                same = [each.execute("PRAGMA user_version").fetchone() for each in (db, given)]
                keys = [each.execute(_KEYS).fetchall() for each in (db, given)]
            except sqlite3.DatabaseError as error:
                raise ValueError(f"the snapshot is no database of a cloud: {error}") from error
        if same[0] != same[1] or keys[0] != keys[1]:
            raise ValueError("the snapshot is of another cloud; the option --db starts one from it")
    for db, image in zip(dbs, images, strict=True):
        with closing(_opened(image)) as given:
            _copy(given, db)


def _opened(image: bytes) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    # In memory there is no write-ahead log, which the header of a file may ask for.
    db.deserialize(image[:18] + b"\1\1" + image[20:])
    return db


def _copy(given: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Put what is in the tables of *given* in place of what is in those of *db*."""
    tables = [name for (name,) in given.execute(_TABLES) if name not in _NOT_RESTORED]
    with emptied(db):
        db.execute("DELETE FROM chunks")
        for table in tables:
            rows = given.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - a name from the catalogue
            places = ", ".join("?" * len(rows.description))
            db.executemany(f'INSERT INTO "{table}" VALUES ({places})', rows)  # noqa: S608
        db.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", given.execute(_CLOCK))
