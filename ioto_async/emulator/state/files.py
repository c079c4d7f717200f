"""The files of the embedded cloud and their signed URLs.

A transfer holds the cloud's lock for one chunk at a time, so that a large file delays no other request.
"""

import hashlib
import re
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import attrs

from ..request import Refused
from ..wire import iso
from .models import cursor, paged
from .signing import COMMANDS, Signer

__all__ = ["CHUNK", "CHUNKS_TABLE", "LARGEST", "Download", "File", "Files", "Upload"]

CHUNK: Final = 2**18
"""Bytes in a chunk; the last one of a content may have fewer."""

LARGEST: Final = 5 * 2**30
"""Bytes in the largest file, as in one upload to S3."""

_OTHER_TYPE: Final = "application/octet-stream"
_MAX_FILENAME: Final = 1024
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_MEDIA_TYPE: Final = 255
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(;[ -~]*)?", re.ASCII)

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS files (
    owner TEXT, filename TEXT, mime_type TEXT NOT NULL, size INTEGER NOT NULL, checksum TEXT NOT NULL,
    md5 TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (owner, filename)
) WITHOUT ROWID
"""
_SELECT: Final = "SELECT filename, mime_type, size, checksum, md5, created, updated, content FROM files WHERE owner = ?"
_GET: Final = _SELECT + " AND filename = ?"
_FORWARD: Final = _SELECT + " AND filename > ? ORDER BY filename"
_BACK: Final = _SELECT + " AND filename < ? ORDER BY filename DESC"

CHUNKS_TABLE: Final = (
    "TABLE IF NOT EXISTS chunks (content TEXT, number INTEGER, data BLOB NOT NULL, PRIMARY KEY (content, number))"
)


class Chunks:
    """The table of chunks. Those of a content stay until it is removed and the last download of it has ended."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._readers: Counter[str] = Counter()
        self._removed: set[str] = set()
        # A database in memory would keep them in memory. SQLite keeps a temporary table in a file without a name.
        _, _, path = db.execute("PRAGMA database_list").fetchone()
        db.execute(f"CREATE {CHUNKS_TABLE}" if path else f"CREATE TEMP {CHUNKS_TABLE}")

    def append(self, content: str, number: int, data: bytes) -> None:
        """Add the chunk *number*, counted from 0."""
        self._db.execute("INSERT INTO chunks VALUES (?, ?, ?)", (content, number, data))

    def load(self, content: str, number: int) -> bytes:
        """Return the chunk *number*; empty behind the last one."""
        row = self._db.execute("SELECT data FROM chunks WHERE content = ? AND number = ?", (content, number)).fetchone()
        return row[0] if row else b""

    def size(self, content: str) -> int:
        """Return how many bytes there are."""
        (size,) = self._db.execute(
            "SELECT coalesce(sum(length(data)), 0) FROM chunks WHERE content = ?", (content,)
        ).fetchone()
        return int(size)

    def open(self, content: str) -> None:
        """Keep the chunks until *content* is closed as often as opened."""
        self._readers[content] += 1

    def close(self, content: str) -> None:
        """Take back an ``open``."""
        self._readers[content] -= 1
        if self._readers[content] == 0:
            del self._readers[content]
            if content in self._removed:
                self.remove(content)

    def remove(self, content: str) -> None:
        """Remove the chunks, once no download reads them."""
        if self._readers[content]:
            self._removed.add(content)
        else:
            self._removed.discard(content)
            self._db.execute("DELETE FROM chunks WHERE content = ?", (content,))


@attrs.frozen
class File:
    """What is known of a file; dates are epoch milliseconds, digests in hex, ``content`` is the key of its bytes."""

    filename: str
    mime_type: str
    size: int
    checksum: str
    """SHA-256"""
    md5: str
    created: int
    updated: int
    content: str

    def record(self) -> dict[str, Any]:
        """Return what replies show of a file."""
        return {
            "filename": self.filename,
            "mimeType": self.mime_type,
            "size": self.size,
            "checksum": self.checksum,
            "created": iso(self.created),
            "updated": iso(self.updated),
        }


class Files:
    """The table of files. An owner is an account or a device app.

    Args:
        db: the cloud's database.
        now: returns the time in epoch milliseconds.

    Attributes:
        url: the base of signed URLs; set by the server.
        signer: makes and checks their signatures.
    """

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int]) -> None:
        self.url = ""
        self._db = db
        self._now = now
        self._chunks = Chunks(db)
        db.execute(_TABLE)
        self.renew()

    def renew(self) -> None:
        """End all signed URLs, and the transfers of files that are not in the table."""
        self.signer = Signer(self._now)
        self._db.execute("DELETE FROM chunks WHERE content NOT IN (SELECT content FROM files)")

    def find(self, owner: str, members: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of the records that have all of *members*, in the order of their names.

        Raises:
            Refused: bad limit or cursor.
        """
        position, back = cursor(query, "filename")
        rows = self._db.execute(_BACK if back else _FORWARD, (owner, position[0] if position else ""))
        return paged(
            (({"filename": row[0]}, File(*row).record()) for row in rows),
            query,
            lambda record: all(record.get(name) == value for name, value in members.items()),
        )

    def get(self, owner: str, filename: object) -> File | None:
        """Return a file, None if there is none.

        Raises:
            Refused: 400 if that cannot be the name of a file.
        """
        row = self._db.execute(_GET, (owner, _filename(filename))).fetchone()
        return File(*row) if row else None

    def put(self, owner: str, filename: object, mime_type: str | None, data: bytes) -> File:
        """Write a file, new or not.

        Raises:
            Refused: 400 if that cannot be the name or the type of a file.
        """
        upload = self.upload(owner, filename, mime_type)
        try:
            upload.write(data)
            return upload.finish()
        finally:
            upload.close()

    def remove(self, owner: str, filename: object) -> None:
        """Remove a file; none there is fine.

        Raises:
            Refused: 400 if that cannot be the name of a file.
        """
        file = self.get(owner, filename)
        if file is not None:
            self._db.execute("DELETE FROM files WHERE owner = ? AND filename = ?", (owner, file.filename))
            self._chunks.remove(file.content)

    def remove_account(self, account_id: str) -> None:
        """Remove all files of an account, or of a device app."""
        files = [File(*row) for row in self._db.execute(_SELECT, (account_id,))]
        self._db.execute("DELETE FROM files WHERE owner = ?", (account_id,))
        for file in files:
            self._chunks.remove(file.content)

    def upload(self, owner: str, filename: object, mime_type: str | None) -> "Upload":
        """Begin to write a file; to be closed.

        Raises:
            Refused: 400 if that cannot be the name or the type of a file.
        """
        return Upload(self, self._chunks, owner, _filename(filename), _mime_type(mime_type or _OTHER_TYPE))

    def read(self, file: File, start: int = 0) -> "Download":
        """Begin to read a file at the byte *start*; to be closed."""
        return Download(self._chunks, file, start)

    def store(self, owner: str, filename: str, mime_type: str, *, checksum: str, md5: str, content: str) -> File:
        """Make stored chunks the *content* of a file, new or not, and return the file."""
        old = self.get(owner, filename)
        now = self._now()
        size = self._chunks.size(content)
        file = File(filename, mime_type, size, checksum, md5, old.created if old else now, now, content)
        self._db.execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (owner, *attrs.astuple(file))
        )
        if old:
            self._chunks.remove(old.content)
        return file

    def signed_url(
        self,
        owner: str,
        filename: object,
        *,
        folder: str | None = None,
        command: str | None = None,
        size: float | None = None,
        mime_type: str | None = None,
    ) -> str:
        """Return a URL that grants one command on one file to its holder, for 15 minutes.

        Args:
            owner: the account, or the device app.
            filename: the file.
            folder: where the name begins; None for the top.
            command: get, put or delete; get if None.
            size: of a file to be put, bytes; None for any.
            mime_type: of a file to be put; None for any.

        Raises:
            Refused: 400 if one of them cannot be.
        """
        command = command or "get"
        if command not in COMMANDS:
            raise Refused("command must be get, put or delete")
        if size is not None and not (0 <= size <= LARGEST and size == int(size)):
            raise Refused(f"size must be a whole number of up to {LARGEST} bytes, not {size}")
        name = _filename(filename)
        name = name if folder is None else _filename(f"{folder}/{name}")
        type_ = _mime_type(mime_type) if mime_type else None
        query = self.signer.query(owner, name, command, None if size is None else int(size), type_)
        return f"{self.url}/{owner}/{quote(name)}?{query}"


class Upload:
    """An upload of a file. What it replaces stays until it is finished."""

    def __init__(self, files: Files, chunks: Chunks, owner: str, filename: str, mime_type: str) -> None:
        self._files = files
        self._chunks = chunks
        self._target = owner, filename, mime_type
        self._content = secrets.token_hex(16)
        self._rest = bytearray()
        self._count = 0
        self._size = 0
        self._sha256 = hashlib.sha256()
        # What S3 makes an ETag of.
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._finished = False

    def write(self, data: bytes) -> None:
        """Add *data* at the end."""
        self._sha256.update(data)
        self._md5.update(data)
        self._size += len(data)
        self._rest += data
        while len(self._rest) >= CHUNK:
            self._append()

    def finish(self) -> File:
        """Store the file in place of the old one, and return it.

        Raises:
            LookupError: its chunks are gone, as the cloud was reset.
        """
        if self._rest:
            self._append()
        if self._chunks.size(self._content) != self._size:
            raise LookupError("the upload is not there any more")
        file = self._files.store(
            *self._target, checksum=self._sha256.hexdigest(), md5=self._md5.hexdigest(), content=self._content
        )
        self._finished = True
        return file

    def close(self) -> None:
        """Drop what was written, unless it is finished."""
        if not self._finished:
            self._chunks.remove(self._content)

    def _append(self) -> None:
        self._chunks.append(self._content, self._count, bytes(self._rest[:CHUNK]))
        del self._rest[:CHUNK]
        self._count += 1


class Download:
    """A download of a file. Its bytes stay until it is closed, even if the file is removed or replaced."""

    def __init__(self, chunks: Chunks, file: File, start: int) -> None:
        self.file = file
        self._chunks = chunks
        self._number, self._skipped = divmod(start, CHUNK)
        chunks.open(file.content)

    def next(self) -> bytes:
        """Return the next chunk; empty at the end."""
        data = self._chunks.load(self.file.content, self._number)
        self._number += 1
        skipped, self._skipped = self._skipped, 0
        return data[skipped:] if skipped else data

    def close(self) -> None:
        """End the download."""
        self._chunks.close(self.file.content)


def _filename(filename: object) -> str:
    if filename is None or filename == "":
        raise Refused("Missing filename")
    if not isinstance(filename, str):
        raise Refused("filename must be of type string")
    if (
        len(filename) > _MAX_FILENAME
        or filename.startswith("/")
        or _CONTROL.search(filename)
        or not {".", ".."}.isdisjoint(filename.split("/"))
    ):
        raise Refused(f"filename must be a path inside the storage of up to {_MAX_FILENAME} characters: {filename!r}")
    return filename


def _mime_type(mime_type: str) -> str:
    if len(mime_type) > _MAX_MEDIA_TYPE or not _MEDIA_TYPE.fullmatch(mime_type):
        raise Refused(f"mimeType must be a media type such as image/png, not {mime_type!r}")
    return mime_type
