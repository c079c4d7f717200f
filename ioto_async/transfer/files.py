"""The two ends of a transfer: where bytes come from, and the file they go to.

Files are read and written in threads, a chunk at a time.
"""

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import secrets
import stat
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from contextlib import aclosing
from io import FileIO
from pathlib import Path
from typing import Final

import attrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from ..errors import InvalidArgumentError, TransferError
from ..transport.attempt import check_connection
from ..transport.tasks import in_thread

__all__ = [
    "CHUNK",
    "Content",
    "NoBody",
    "Part",
    "Source",
    "Stopped",
    "UploadBody",
    "callers_own",
    "check_target",
    "content_of",
    "part_of",
    "path_of",
]

logger = logging.getLogger("ioto_async")

CHUNK: Final = 1 << 18
"""Bytes that are read at once; twice as many are in memory."""
_SLICE: Final = 1 << 14
"""Bytes that are sent at once: on a slow line, the movement of each is noticed."""
_PATIENCE: Final = 1.0
"""Seconds that a source has to end when its transfer is over."""

Buffer = bytes | bytearray | memoryview
Source = str | os.PathLike[str] | Buffer | AsyncIterable[Buffer]
"""What can be uploaded: the path of a file, bytes, or chunks of bytes as they come."""


_OURS: Final = f"{__name__.partition('.')[0]}."


class Stopped(Exception):
    """A transfer that ends for no fault of the service: the source, the disk or ``progress`` raised *error*."""

    def __init__(self, error: Exception) -> None:
        self.error = error


@contextlib.contextmanager
def callers_own() -> Iterator[None]:
    """What raises here is no fault of the connection, and passes through as it is."""
    try:
        yield
    except Exception as error:
        # Its traceback begins with the caller's own part: the variables of ours have the signed URL.
        own = error.__traceback__
        while own is not None and own.tb_frame.f_globals.get("__name__", "").startswith(_OURS):
            own = own.tb_next
        raise Stopped(error.with_traceback(own)) from error


def path_of(name: str, value: str | os.PathLike[str]) -> Path:
    """The path that the argument *name* says.

    Raises:
        InvalidArgumentError: it says none.
    """
    path = os.fspath(value)
    if not isinstance(path, str):
        raise InvalidArgumentError(f"{name}: expected a path of text, got {type(path).__name__}")
    if "\0" in path:
        raise InvalidArgumentError(f"{name}: {path!r} holds a NUL")
    return Path(path)


@attrs.frozen(eq=False)
class Content:
    """What is uploaded.

    Attributes:
        size: bytes.
        chunks: gives them; may be called again.
        once: whether it may not.
    """

    size: int
    chunks: Callable[[], AsyncGenerator[bytes | memoryview, None]]
    once: bool = False


async def content_of(source: Source, size: int | None) -> Content:
    """Look at *source*, but read nothing yet.

    Args:
        source: the bytes.
        size: how many they are; needed where the source does not know.

    Raises:
        InvalidArgumentError: it is nothing of the kind, or not of that size.
        OSError: the file is not there or cannot be read.
    """
    if size is not None and (type(size) is not int or size < 0):
        raise InvalidArgumentError(f"size: expected bytes from 0, got {size!r}")
    if isinstance(source, AsyncIterable):
        if size is None:
            raise InvalidArgumentError("size: needed with an async iterator, as a signed URL takes no chunked body")
        return Content(size, lambda: _from_iterator(source), once=True)
    if isinstance(source, Buffer):
        if isinstance(source, memoryview) and not source.c_contiguous:
            raise InvalidArgumentError("source: the memoryview is not contiguous")
        data = memoryview(source).cast("B")
        content = Content(len(data), lambda: _from_memory(data))
    elif isinstance(source, (str, os.PathLike)):
        path = path_of("source", source)
        status = await in_thread(path.stat)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidArgumentError(f"source: {path} is no regular file")
        content = Content(status.st_size, lambda: _from_file(path))
    else:
        raise InvalidArgumentError(
            f"source: expected a path, bytes or an async iterator of bytes, got {type(source).__name__}"
        )
    if size is not None and size != content.size:
        raise InvalidArgumentError(f"size: expected {content.size}, as the source has, got {size}")
    return content


async def _from_memory(data: memoryview) -> AsyncGenerator[memoryview, None]:
    yield data


async def _from_iterator(source: AsyncIterable[Buffer]) -> AsyncGenerator[bytes, None]:
    async for chunk in source:
        if not isinstance(chunk, Buffer):
            raise InvalidArgumentError(f"source: expected chunks of bytes, got {type(chunk).__name__}")
        # A buffer may be filled anew before it has gone out.
        yield bytes(chunk)


async def _from_file(path: Path) -> AsyncGenerator[bytes, None]:
    file = _Opened()
    try:
        await in_thread(file.open, path)
        while chunk := await in_thread(file.read):
            yield chunk
    finally:
        file.close()


class _Opened:
    """A file that is closed even if nobody waits any more for the thread that opens it."""

    _file: FileIO | None = None

    def open(self, path: Path) -> None:
        self._file = FileIO(path)

    def read(self) -> bytes:
        assert self._file is not None
        return self._file.read(CHUNK)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class _Once(Payload):
    """A body that is sent once at most: aiohttp itself repeats a GET or PUT on whose kept connection nobody answers.

    Attributes:
        sent: whether it has begun to go out.
        in_doubt: the same; only a reply says what became of it.
    """

    _autoclose = True  # what a `write` opens it closes

    def __init__(self, content: object, size: int, mime_type: str) -> None:
        super().__init__(content, content_type=mime_type)
        self._size = size
        self.sent = self.in_doubt = False

    @property
    def consumed(self) -> bool:
        """Whether aiohttp may not send it again."""
        return self.sent

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """There is no text to look at."""
        raise TypeError("the body is a stream")

    def _begin(self, writer: AbstractStreamWriter) -> None:
        if self.sent:  # older versions of aiohttp do not look at `consumed`
            raise ConnectionResetError("the connection broke")
        check_connection(writer)
        self.sent = self.in_doubt = True


class NoBody(_Once):
    """The empty body of a GET, which notes that the request goes out."""

    def __init__(self) -> None:
        super().__init__(b"", 0, "application/octet-stream")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the headers."""
        self._begin(writer)
        await writer.write(b"")


class UploadBody(_Once):
    """A body of known size that is sent as it is read.

    Args:
        operation: what to call the transfer in errors.
        content: the bytes.
        mime_type: their type.
        moved: called with the number of bytes that have gone out.

    Attributes:
        given: bytes that were handed to the connection.
        taken: bytes of them that it has taken.
        failure: what ended it; `Stopped` where the source or *moved* raised.
    """

    def __init__(self, operation: str, content: Content, mime_type: str, moved: Callable[[int], None]) -> None:
        super().__init__(content, content.size, mime_type)
        self._operation = operation
        self._content = content
        self._moved = moved
        self._digest = hashlib.sha256()
        self._idle = asyncio.Event()
        self._idle.set()
        self.given = self.taken = 0
        self.failure: Stopped | TransferError | None = None

    @property
    def checksum(self) -> str:
        """SHA-256 of what was handed to the connection, in hex."""
        return self._digest.hexdigest()

    @property
    def may_be_read_again(self) -> bool:
        """Whether the source still has every byte."""
        return not (self._content.once and self.sent)

    async def settled(self) -> None:
        """Wait until nothing is read from the source any more; but not for ever, as it may not want to end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._idle.wait()

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body."""
        self._begin(writer)
        self._idle.clear()
        try:
            await self._write(writer)
        except (Stopped, TransferError) as failure:
            self.failure = failure
            raise  # aiohttp takes it for a lost connection
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # aiohttp does so when the reply is there, or nobody waits for it any more
            self.failure = self._error("but the source was cancelled", self.given)
            raise self.failure from None
        finally:
            self._idle.set()

    async def _write(self, writer: AbstractStreamWriter) -> None:
        found = 0
        # One piece is kept back until the next is seen: a source that holds too many bytes must not make a whole file.
        held: memoryview | None = None
        async with aclosing(self._content.chunks()) as chunks:
            while (chunk := await _next(chunks)) is not None:
                for piece in _cut(chunk):
                    found += len(piece)
                    if found > self._content.size:
                        raise self._error(f"but the source gave at least {found}", found)
                    if held is not None:
                        await self._send(writer, held)
                    held = piece
        if found < self._content.size:
            raise self._error(f"but the source gave {found}", found)
        if held is not None:
            await self._send(writer, held)

    async def _send(self, writer: AbstractStreamWriter, piece: memoryview) -> None:
        self._digest.update(piece)
        self.given += len(piece)
        await writer.write(piece)
        await writer.drain()  # else aiohttp waits only now and then
        self.taken = self.given
        with callers_own():
            self._moved(self.taken)

    def _error(self, text: str, actual: int) -> TransferError:
        size = self._content.size
        message = f"{size} bytes were announced, {text}"
        return TransferError(message, operation=self._operation, expected=size, actual=actual)


async def _next(chunks: AsyncGenerator[bytes | memoryview, None]) -> bytes | memoryview | None:
    with callers_own():
        return await anext(chunks, None)


def _cut(chunk: bytes | memoryview) -> Iterator[memoryview]:
    view = memoryview(chunk)
    for begin in range(0, len(view), _SLICE):
        yield view[begin : begin + _SLICE]


def check_target(name: str, path: Path) -> None:
    """Refuse a *path*, which the argument *name* says, that no file can be written to.

    Raises:
        InvalidArgumentError: it is a folder or a socket, or there is no folder to hold it.
    """
    if path.is_dir():
        raise InvalidArgumentError(f"{name}: {path} is a folder")
    if path.is_socket():
        raise InvalidArgumentError(f"{name}: {path} is a socket")
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"{name}: there is no folder {path.parent}")


class Part:
    """A file that grows beside its place, and takes it when it is whole.

    Attributes:
        size: bytes so far.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".ioto-{secrets.token_hex(8)}.part")
        self._file: FileIO | None = None
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def checksum(self) -> str:
        """SHA-256 of the bytes so far, in hex."""
        return self._digest.hexdigest()

    def open(self) -> None:
        """Make the file."""
        self._file = FileIO(self._temporary, "x")

    def write(self, data: bytes) -> None:
        """Append *data*."""
        assert self._file is not None
        self._digest.update(data)
        self.size += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def commit(self) -> bool:
        """Put the file in its place, on the disk and whole; false if that goes on later, with another call."""
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self._path)
        return True

    def discard(self) -> None:
        """Remove the file, unless it is in its place. What goes wrong with that matters less than why it is done."""
        try:
            try:
                if self._file is not None:
                    self._file.close()
            finally:
                self._temporary.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the part of a download could not be removed: %s", error)


class Spool(Part):
    """A part for a device or a pipe, which is not replaced: it gets the bytes once all of them are there."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._stream: FileIO | None = None
        self._sent = 0

    def open(self) -> None:
        """Make a file without a name."""
        descriptor, name = tempfile.mkstemp()
        Path(name).unlink()
        self._file = FileIO(descriptor, "r+")

    def commit(self) -> bool:
        """Hand on what the device or pipe takes now; false if it takes no more, or nobody reads from the pipe yet."""
        assert self._file is not None
        if self._stream is None:
            try:
                self._stream = FileIO(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK), "w")
            except OSError as error:
                if error.errno == errno.ENXIO:  # nobody reads
                    return False
                raise
        while data := os.pread(self._file.fileno(), CHUNK, self._sent):
            written = self._stream.write(data)
            if written is None:
                return False
            self._sent += written
        self._stream.close()
        self._file.close()
        return True

    def discard(self) -> None:
        """Close what is open."""
        for file in (self._stream, self._file):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()


def part_of(path: Path) -> Part:
    """What a download to *path* grows in."""
    return Spool(path) if path.exists() and not path.is_file() else Part(path)
