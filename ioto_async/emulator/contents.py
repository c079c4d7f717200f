"""Bytes of any length in pieces, so that nobody holds them whole. Standard library only."""

import sqlite3
from collections import Counter
from typing import Final

__all__ = ["CHUNK", "Contents"]

CHUNK: Final = 2**18
"""Bytes in a piece; the last one of a content may have fewer."""

_TABLE: Final = (
    "TABLE IF NOT EXISTS chunks (content TEXT, number INTEGER, data BLOB NOT NULL, PRIMARY KEY (content, number))"
)


class Contents:
    """The table of pieces. A content is there until it is removed and nobody reads it any more."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._readers: Counter[str] = Counter()
        self._removed: set[str] = set()
        # A database in memory would hold them there. SQLite keeps a temporary table in a file without a name.
        _, _, path = db.execute("PRAGMA database_list").fetchone()
        db.execute(f"CREATE {_TABLE}" if path else f"CREATE TEMP {_TABLE}")

    def append(self, content: str, number: int, data: bytes) -> None:
        """Add the piece *number*, counted from 0."""
        self._db.execute("INSERT INTO chunks VALUES (?, ?, ?)", (content, number, data))

    def piece(self, content: str, number: int) -> bytes:
        """Return the piece *number*; empty behind the last one."""
        row = self._db.execute("SELECT data FROM chunks WHERE content = ? AND number = ?", (content, number)).fetchone()
        return row[0] if row else b""

    def size(self, content: str) -> int:
        """Return how many bytes there are."""
        (size,) = self._db.execute(
            "SELECT coalesce(sum(length(data)), 0) FROM chunks WHERE content = ?", (content,)
        ).fetchone()
        return int(size)

    def open(self, content: str) -> None:
        """Keep the pieces where they are until *content* is closed as often as opened."""
        self._readers[content] += 1

    def close(self, content: str) -> None:
        """Take back an ``open``."""
        self._readers[content] -= 1
        if self._readers[content] == 0:
            del self._readers[content]
            if content in self._removed:
                self.remove(content)

    def remove(self, content: str) -> None:
        """Drop the pieces, as soon as nobody reads them."""
        if self._readers[content]:
            self._removed.add(content)
        else:
            self._removed.discard(content)
            self._db.execute("DELETE FROM chunks WHERE content = ?", (content,))
