"""The file of a cassette: a block of JSON for each exchange, appended whole, read with line numbers.

The first block is the head: what the file is, its version, and what its masks are made with. Each of the others is one
request and what came of it. A block begins with a line ``{`` and ends with a line ``}``, so that the file can be read,
and compared line by line, in a review.
"""

import contextlib
import json
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from ..errors import CassetteError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "FAILURES",
    "VERSION",
    "Exchange",
    "Head",
    "Recorded",
    "append",
    "begin",
    "begin_or_go_on",
    "block",
    "go_on",
    "read",
]

logger = logging.getLogger("ioto_async")

VERSION: Final = 1
_KIND: Final = "ioto-async"
FAILURES: Final = ("not connected", "certificate refused", "connection lost", "no reply", "not HTTP")
"""How an exchange fails: nothing was sent, twice; it was sent, and the connection or the caller's time ended; the reply
broke the rules."""
_WIDTH: Final = 100
"""Characters of an object or array that is still written in one line."""


@attrs.frozen
class Head:
    """What a cassette begins with."""

    salt: str = attrs.field(factory=lambda: secrets.token_hex(8), repr=False)
    """What its masks are made with."""
    ids: bool = True
    """Whether identifiers are masked."""

    def members(self) -> dict[str, Any]:
        """The block."""
        return {"cassette": _KIND, "version": VERSION, "ids": "masked" if self.ids else "kept", "salt": self.salt}


@attrs.frozen
class Exchange:
    """One request and what came of it, masked."""

    request: Mapping[str, Any]
    """``to`` (cloud, builder, files, sign-in), ``operation``, ``credentials``; ``query``, ``url`` and one of ``body``
    (JSON), ``text`` and ``bytes`` where there is one."""
    reply: Mapping[str, Any] | None
    """``status``, ``headers`` where there are some that matter, and one of ``body``, ``text`` and ``bytes``; None where
    none came."""
    failure: str | None = None
    """How the connection failed, if it did; with a reply, before the end of that."""
    line: int = 0
    """Where it is in the file."""

    def members(self) -> dict[str, Any]:
        """The block."""
        found: dict[str, Any] = {"request": self.request}
        if self.reply is not None:
            found["reply"] = self.reply
        if self.failure is not None:
            found["failure"] = self.failure
        return found


@attrs.frozen
class Recorded:
    """What is in a file."""

    head: Head
    exchanges: list[Exchange]
    end: int
    """Bytes up to the end of the last whole block."""


# Writing --------------------------------------------------------------------------------------------------------------


def block(members: Mapping[str, Any]) -> bytes:
    """The text of a block."""
    lines = [f"  {json.dumps(name)}: {_pretty(value, 2)}" for name, value in members.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can name
        return _escaped(text).encode()


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" if 0xD800 <= ord(char) < 0xE000 else char for char in text)


def _pretty(value: Any, indent: int) -> str:
    """*value* in one line if that is short, else a member or an element a line."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) + indent <= _WIDTH or not isinstance(value, (dict, list)) or not value:
        return text
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [
            f"{inner}{json.dumps(name, ensure_ascii=False)}: {_pretty(each, indent + 2)}"
            for name, each in value.items()
        ]
        return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(inner + _pretty(each, indent + 2) for each in value) + "\n" + " " * indent + "]"


def begin_or_go_on(path: Path, head: Head) -> Head:
    """Begin a cassette, unless another process has begun it meanwhile, and return the head that it has.

    Raises:
        CassetteError: what is there is none, or damaged.
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _lock(descriptor)
        if not os.fstat(descriptor).st_size:
            _write(descriptor, block(head.members()))
            return head
    finally:
        os.close(descriptor)
    return go_on(path)


def begin(path: Path, head: Head) -> None:
    """Put a cassette with nothing but a *head* at *path*, in place of what is there; nobody else can read it.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            _write(descriptor, block(head.members()))
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def go_on(path: Path) -> Head:
    """Make the cassette at *path* fit to be added to, and return its head: a last block without its end is cut off.

    Raises:
        CassetteError: it is none, or damaged.
        OSError: it cannot be read or written.
    """
    with path.open("r+b") as file:
        _lock(file.fileno())
        recorded = read(path)
        size = file.seek(0, os.SEEK_END)
        if recorded.end < size:
            file.truncate(recorded.end)
        elif recorded.end > size:  # an editor has taken the last line end away
            file.write(b"\n")
    return recorded.head


def append(path: Path, exchange: Exchange) -> None:
    """Add an exchange, whole: several processes may add to one file, and any of them may be killed.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        _lock(descriptor)
        _write(descriptor, block(exchange.members()))
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Wait for whoever writes to the file; where there are no locks, one process alone may record."""
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


# Reading --------------------------------------------------------------------------------------------------------------


def read(path: Path) -> Recorded:
    """Read a cassette. A last block without its end, as a full disk leaves it, is left out and logged.

    Raises:
        CassetteError: it is none, or damaged; the text names the line.
        OSError: it cannot be read.
    """
    return _Reader(path).read()


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Recorded:
        data = self._path.read_bytes()
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            if b"\n" in data[error.start :]:
                raise self._error(data.count(b"\n", 0, error.start) + 1, "not UTF-8") from None
            text = data[: error.start].decode()  # half a character, where the last block was cut off
        head: Head | None = None
        exchanges: list[Exchange] = []
        end = 0
        for line, members, size in self._blocks(text):
            if head is None:
                head = self._head(line, members)
            else:
                exchanges.append(self._exchange(line, members))
            end = size
        if head is None:
            raise self._error(1, 'no cassette: expected a block {"cassette": "ioto-async", …} first')
        return Recorded(head, exchanges, end)

    def _blocks(self, text: str) -> Iterator[tuple[int, dict[str, Any], int]]:
        """The first line of each block, its members, and the bytes up to its end."""
        size = first = 0
        lines: list[str] = []
        for number, line in enumerate(
            text.split("\n"), 1
        ):  # not splitlines, to which more ends a line than JSON escapes
            size += len(line.encode()) + 1
            bare = line.rstrip()
            if not lines and not bare:
                continue
            if not lines and bare != "{":
                raise self._error(number, f"expected a line {{, got {bare[:40]!r}")
            if lines and line[:1] == bare == "{":
                raise self._error(number, f"a new block, before the end of that of line {first}")
            if not lines:
                first = number
            lines.append(line)
            if line[:1] == bare == "}":
                yield first, self._parsed(first, "\n".join(lines)), size
                lines.clear()
        if lines:
            logger.warning("%s: line %d: the last exchange has no end, and is left out", self._path, first)

    def _parsed(self, first: int, text: str) -> dict[str, Any]:
        try:
            members = json.loads(text, parse_constant=_refuse)
        except json.JSONDecodeError as error:
            raise self._error(first + error.lineno - 1, f"not JSON: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            raise self._error(first, f"not JSON that can be read: {error}") from None
        if not isinstance(members, dict):
            raise self._error(first, "expected an object")
        return members

    def _head(self, line: int, members: Mapping[str, Any]) -> Head:
        if members.get("cassette") != _KIND:
            raise self._error(line, 'no cassette: expected a block {"cassette": "ioto-async", …} first')
        if members.get("version") != VERSION:
            raise self._error(line, f"version: expected {VERSION}, got {members.get('version')!r}")
        if members.get("ids") not in ("masked", "kept"):
            raise self._error(line, f"ids: expected masked or kept, got {members.get('ids')!r}")
        if not isinstance(members.get("salt"), str):
            raise self._error(line, f"salt: expected text, got {members.get('salt')!r}")
        return Head(members["salt"], members["ids"] == "masked")

    def _exchange(self, line: int, members: Mapping[str, Any]) -> Exchange:
        request, reply, failure = (members.get(name) for name in ("request", "reply", "failure"))
        if not isinstance(request, dict):
            raise self._error(line, f"request: expected an object, got {_kind(request)}")
        for name in ("to", "operation", "credentials"):
            if not isinstance(request.get(name), str):
                raise self._error(line, f"request.{name}: expected text, got {_kind(request.get(name))}")
        for name, kind in (("query", dict), ("url", str), ("text", str), ("bytes", dict)):
            if name in request and not isinstance(request[name], kind):
                raise self._error(line, f"request.{name}: unexpected {_kind(request[name])}")
        if reply is None and failure is None:
            raise self._error(line, "expected a reply or a failure")
        if reply is not None:
            self._check_reply(line, reply)
        if failure is not None and failure not in FAILURES:
            raise self._error(line, f"failure: expected one of {', '.join(FAILURES)}, got {failure!r}")
        return Exchange(request, reply, failure, line)

    def _check_reply(self, line: int, reply: Any) -> None:
        if not isinstance(reply, dict):
            raise self._error(line, f"reply: expected an object, got {_kind(reply)}")
        status, headers = reply.get("status"), reply.get("headers", {})
        if type(status) is not int or not 100 <= status <= 999:
            raise self._error(line, f"reply.status: expected an HTTP status, got {status!r}")
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            raise self._error(line, "reply.headers: expected an object of texts")
        for name, kind in (("text", str), ("bytes", dict)):
            if name in reply and not isinstance(reply[name], kind):
                raise self._error(line, f"reply.{name}: unexpected {_kind(reply[name])}")

    def _error(self, line: int, text: str) -> CassetteError:
        return CassetteError(f"{self._path}: line {line}: {text}")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
