"""The journal of a bulk run: what was about to be sent, and what became of it.

A text file of JSON lines. The first says what is called; then each item has a line before its call (``sent``) and one
after it (``ok``, ``failed``, ``unknown``, or ``undone`` if it turned out that nothing was sent). The last line of a key
counts, and says when it was written. Values are not written, as they may be keys and tokens, unless the run asks for
that; the line of one has a checksum, so that a damaged file never passes for what a call has returned.

A line is handed to the operating system before what it tells of goes on, so that no end of the process loses one. The
lines go to the disk about once a second, all at once, in a thread.
"""

import asyncio
import errno
import os
import stat
import time
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal

import orjson

from ..errors import InvalidArgumentError, IotoError
from ..transport.tasks import in_thread
from .index import Index
from .locks import try_lock
from .outcome import Status

__all__ = ["EarlierError", "ForeignJournalError", "Journal", "State"]

State = Literal["sent", "ok", "failed", "unknown", "undone"]

_VERSION: Final = 1
_HEAD: Final = b'{"journal":%d,"call":' % _VERSION
_OK: Final = b'{"key":%b,"status":"ok","attempts":%d,"elapsed":%.6f,"at":%b}\n'
_STATES: Final = ("sent", "ok", "failed", "unknown", "undone")
_DATES: Final = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
_SYNC: Final = 1.0
"""Seconds between two waits for the disk."""
_LINE: Final = 1 << 12
"""Bytes that are read to see one line, at first."""


class EarlierError(IotoError):
    """What the journal tells of an item that was called before and did not end well."""

    def __str__(self) -> str:
        return f"when it was called before: {self.args[0]}"


class ForeignJournalError(InvalidArgumentError):
    """The journal belongs to another call, and tells of something.

    Attributes:
        theirs: what that call is named; None if it has no name.
    """

    theirs: str | None = None


class Journal:
    """An open journal belongs to one run; another one is refused.

    Args:
        path: the file, which is made if it is not there.
        call: what is called, such as ``device/claim``; None if that has no name.
        keeps_values: whether it has what the calls returned.

    Attributes:
        begun: when the first run began whose values it keeps, in UTC; None if it does not say so.
        has_values: whether a call has returned, and its value is kept.
    """

    def __init__(self, path: Path, call: str | None, *, keeps_values: bool = False) -> None:
        self.path = path
        self.begun: datetime | None = None
        self.has_values = False
        self._call = call
        self._keeps_values = keeps_values
        self._opened: FileIO | None = None
        self._size = 0
        """Bytes of the file."""
        self._end = 0
        """Bytes that it will have when the lines are written."""
        self._lines: list[bytes] = []
        self._index = Index(self._key_at)
        self._open: dict[str, bytes] = {}
        """Keys whose last line is that of a call, each with its JSON; that of an earlier run's key is empty."""
        self._second = 0
        self._now = b""
        """The text of the last second in which a call ended."""
        self._has_ended = False
        self._synced = 0.0
        self._syncing = Lock()
        self._lost: OSError | None = None
        """What the disk has failed with."""

    def open(self) -> None:
        """Lock the file, cut a torn last line off, and read what is there.

        Raises:
            ForeignJournalError: it belongs to another call.
            InvalidArgumentError: it cannot be opened or locked, another run has it, it is no journal, or it is damaged.
            OSError: it cannot be read or written.
        """
        try:
            self._opened = FileIO(self.path, "a+")
        except OSError as error:
            raise InvalidArgumentError(f"journal: {error.strerror}: {self.path}") from None
        try:
            self._lock()
            self._read()
        except BaseException:
            self._opened.close()
            self._opened = None
            raise

    @property
    def _file(self) -> FileIO:
        assert self._opened is not None
        return self._opened

    def _lock(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            raise InvalidArgumentError(f"journal: {self.path} is no regular file")
        try:
            is_ours = try_lock(self._file)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"journal: {error}") from None
        if not is_ours:
            raise InvalidArgumentError(f"journal: another run is writing into {self.path}")

    def _read(self) -> None:
        offset = 0
        torn = False
        foreign: ForeignJournalError | None = None
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    if number == 1 and not (_HEAD.startswith(line) or line.startswith(_HEAD)):
                        raise InvalidArgumentError(f"journal: {self.path} is no journal of a bulk run")
                    torn = True  # the last one, of a run that was killed while it wrote
                    break
                if number == 1:
                    foreign = self._check_head(line)
                else:
                    self._take_in(line, number, offset)
                offset += len(line)
        if foreign is not None:
            if self._open or self._has_ended:
                raise foreign
            offset, torn = 0, True  # nothing has come of it
            self._index = Index(self._key_at)
            self.has_values = False
        if torn:
            self._file.truncate(offset)
        self._size = self._end = offset
        if not offset:
            head: dict[str, object] = {"journal": _VERSION, "call": self._call}
            if self._keeps_values:
                head["at"] = self.begun = datetime.now(UTC)
            self._append(orjson.dumps(head, option=_DATES) + b"\n")
            self.flush()

    def _check_head(self, line: bytes) -> "ForeignJournalError | None":
        """Make sure that this is a journal; what to raise if it is another call's, and tells of something."""
        try:
            head = orjson.loads(line)
            version, call = head["journal"], head["call"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise InvalidArgumentError(f"journal: {self.path} is no journal of a bulk run") from None
        if version != _VERSION:
            raise InvalidArgumentError(f"journal: {self.path} is of version {version!r}, expected {_VERSION}")
        self.begun = _date(head)
        if call == self._call:
            return None
        theirs, ours = (name or "a callable of your own" for name in (call, self._call))
        error = ForeignJournalError(f"journal: {self.path} is of {theirs}, not of {ours}: give each its own")
        error.theirs = call
        return error

    def _take_in(self, line: bytes, number: int, offset: int) -> None:
        try:
            entry = orjson.loads(line)
            key, status = entry["key"], entry["status"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            key = status = None
        if not isinstance(key, str) or status not in _STATES:
            raise InvalidArgumentError(f"journal: {self.path}, line {number}: expected key and status")
        if self._keeps_values and status == "ok":
            if "value" not in entry or entry.get("crc") != _checksum(key, orjson.dumps(entry["value"])):
                raise InvalidArgumentError(f"journal: {self.path}, line {number}: damaged: its checksum is another")
            self.has_values = True
        if status == "sent":
            self._open[key] = b""
        else:
            self._open.pop(key, None)
            self._index.put(key, offset)
            self._has_ended = self._has_ended or status != "undone"

    def state(self, key: str) -> State | None:
        """What the journal says of *key*; None for a new one."""
        if key in self._open:
            return "sent"
        offset = self._index.get(key)
        return None if offset is None else self._line_at(offset)["status"]  # type: ignore[return-value]

    def error(self, key: str) -> EarlierError:
        """What the journal says of a *key* that failed or is unknown."""
        entry = self._entry(key) if key not in self._open else None
        text = entry.get("error") if entry else None
        return EarlierError(str(text or "sent, and what became of it was not noted"))

    def done_at(self, key: str) -> datetime | None:
        """When a *key* was done, in UTC; None if the journal does not say so, as those of earlier versions do not."""
        return _date(self._entry(key) or {})

    def value(self, key: str) -> Any:
        """What the call for a *key* returned that was done; None if values are not kept."""
        return (self._entry(key) or {}).get("value") if self._keeps_values else None

    def sent(self, key: str) -> None:
        """Note that a call is about to be made; `flush` before it is."""
        text = self._open[key] = orjson.dumps(key)
        line = b'{"key":%b,"status":"sent"}\n' % text
        self._lines.append(line)
        self._end += len(line)

    def ended(
        self, key: str, status: Status, attempts: int, elapsed: float, error: str | None, value: object = None
    ) -> None:
        """Note what became of a call.

        Args:
            key: that of the item.
            status: what became of it.
            attempts: calls for it, and the requests that they have sent again.
            elapsed: seconds that the calls took.
            error: what the call raised, as text.
            value: what the call returned, which has to be JSON if values are kept.

        Raises:
            InvalidArgumentError: the value is no JSON.
        """
        if error is None and status == "ok" and not self._keeps_values:  # by hand, in a third of the time
            second = int(time.time())
            if second != self._second:
                self._second = second
                self._now = orjson.dumps(datetime.fromtimestamp(second, UTC), option=_DATES)
            text = self._open.pop(key, b"") or orjson.dumps(key)
            line = _OK % (text, attempts, elapsed, self._now)
            self._lines.append(line)
            self._index.put(key, self._end)
            self._end += len(line)
            return
        entry: dict[str, object] = {"key": key, "status": status, "attempts": attempts, "elapsed": round(elapsed, 6)}
        entry["at"] = datetime.now(UTC)
        if error is not None:
            entry["error"] = error
        if self._keeps_values and status == "ok":
            try:
                data = orjson.dumps(value)
            except TypeError as problem:
                raise InvalidArgumentError(f"keep_values: the value of item {key} is no JSON: {problem}") from None
            entry |= {"value": orjson.Fragment(data), "crc": _checksum(key, data)}
        self._note(key, entry)

    def undone(self, key: str) -> None:
        """Note that no call was made after all: what was known before counts again."""
        self._note(key, self._entry(key) or {"key": key, "status": "undone"})

    def forget(self, key: str) -> None:
        """Note that what is known of a key does not count any more, so that it is called again."""
        self._note(key, {"key": key, "status": "undone"})

    def _note(self, key: str, entry: dict[str, object]) -> None:
        self._open.pop(key, None)
        self._index.put(key, self._end)
        self._append(orjson.dumps(entry, option=_DATES) + b"\n")

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._end += len(line)

    def flush(self) -> None:
        """Hand what was noted to the operating system.

        Raises:
            OSError: it does not take it. The next `flush` tries again.
        """
        if not self._lines:
            return
        data = b"".join(self._lines)
        try:
            written = self._file.write(data)
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError as error:
            self._file.truncate(self._size)
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        self._size += len(data)
        self._lines.clear()

    def sync(self) -> None:
        """Have the lines written to the disk, unless that was done just now; returns at once.

        Raises:
            OSError: the last time it failed.
        """
        if self._lost is not None:
            raise self._lost
        now = time.monotonic()
        if now - self._synced >= _SYNC and not self._syncing.locked():
            self._synced = now
            asyncio.get_running_loop().run_in_executor(None, self._to_disk)

    def _to_disk(self, *, is_last: bool = False) -> None:
        """Wait for the disk, in a thread."""
        with self._syncing:
            if self._opened is None:
                return
            try:
                os.fsync(self._opened.fileno())
            except OSError as error:
                # The system tells of bytes that it has lost only once.
                self._lost = self._lost or OSError(error.errno, error.strerror, str(self.path))
            if is_last:
                self._opened.close()
                self._opened = None

    async def close(self) -> None:
        """Write what is left to the disk, and let others have the file.

        Raises:
            OSError: it could not be written, now or before.
        """
        if self._opened is None:
            return
        try:
            self.flush()
        finally:
            await in_thread(partial(self._to_disk, is_last=True))
        if self._lost is not None:
            raise self._lost

    def _entry(self, key: str) -> dict[str, object] | None:
        offset = self._index.get(key)
        return None if offset is None else self._line_at(offset)

    def _key_at(self, offset: int) -> str:
        return str(self._line_at(offset)["key"])

    def _line_at(self, offset: int) -> dict[str, object]:
        if offset >= self._size and self._lines:
            self.flush()
        length = _LINE
        while b"\n" not in (data := os.pread(self._file.fileno(), length, offset)):
            if len(data) < length:
                raise OSError(errno.EIO, "somebody has changed the journal", str(self.path))
            length *= 4
        line: dict[str, object] = orjson.loads(data[: data.index(b"\n")])
        return line


def _date(entry: Mapping[str, object]) -> datetime | None:
    """When an *entry* was written; None if it does not say so."""
    at = entry.get("at")
    try:
        date = datetime.fromisoformat(at) if isinstance(at, str) else None
    except ValueError:
        return None
    return None if date is None or date.tzinfo is None else date


def _checksum(key: str, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key.encode()))
