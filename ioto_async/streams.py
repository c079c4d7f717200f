"""The two ends of a transfer: where bytes come from, and the file they go to. Imports errors and aiohttp.

Files are read and written in threads, a chunk at a time.
"""

import asyncio
import hashlib
import os
import secrets
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from contextlib import aclosing
from io import FileIO
from pathlib import Path
from typing import Final, TypeVar

import attrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from .errors import InvalidArgumentError, TransferError

__all__ = ["CHUNK", "Content", "Part", "Source", "Stopped", "UploadBody", "check_target", "content_of", "in_thread"]

CHUNK: Final = 1 << 18
"""Bytes that are moved at once; twice as many are in memory."""

Buffer = bytes | bytearray | memoryview
Source = str | os.PathLike[str] | Buffer | AsyncIterable[Buffer]
"""What can be uploaded: the path of a file, bytes, or chunks of bytes as they come."""

T = TypeVar("T")


class Stopped(Exception):
    """A transfer that ends for no fault of the service: the source, the disk or ``progress`` raised *error*."""

    def __init__(self, error: Exception) -> None:
        self.error = error


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """As `asyncio.to_thread`, but a cancelled caller waits for the thread: the file it works on is about to close."""
    future = asyncio.get_running_loop().run_in_executor(None, function, *args)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait((future,))
        if not future.cancelled():
            future.exception()  # has been looked at
        raise


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
        size: how many they are; needed where the source cannot tell.

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
        path = Path(source)
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


class UploadBody(Payload):
    """A body of known size that is sent as it is read.

    Args:
        operation: what to call the transfer in errors.
        content: the bytes.
        mime_type: their type.
        moved: told how many bytes have gone out.

    Attributes:
        sent: whether it has begun to go out.
        in_doubt: the same; what became of it only a reply can tell.
        given: bytes that were handed to the connection.
        failure: what the source or *moved* raised.
        ended: set while nothing is being sent.
    """

    _autoclose = True  # `write` closes what it has opened

    def __init__(self, operation: str, content: Content, mime_type: str, moved: Callable[[int], None]) -> None:
        super().__init__(content, content_type=mime_type)
        self._size = content.size
        self._operation = operation
        self._content = content
        self._moved = moved
        self._digest = hashlib.sha256()
        self.sent = self.in_doubt = False
        self.given = 0
        self.failure: Exception | None = None
        self.ended = asyncio.Event()
        self.ended.set()

    @property
    def checksum(self) -> str:
        """SHA-256 of what was handed to the connection, in hex."""
        return self._digest.hexdigest()

    @property
    def may_be_sent_again(self) -> bool:
        """Whether the source still has every byte."""
        return not (self._content.once and self.sent)

    @property
    def consumed(self) -> bool:
        """Whether aiohttp may not send it again, as it does on its own where a server has hung up."""
        return not self.may_be_sent_again

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """There is no text to look at."""
        raise TypeError("the body is a stream")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body."""
        if self.consumed:  # older versions of aiohttp do not ask
            raise ConnectionResetError("the connection broke, and the source cannot be read again")
        self.sent = self.in_doubt = True
        self.ended.clear()
        try:
            async with aclosing(self._pieces()) as pieces:
                while (piece := await self._next(pieces)) is not None:
                    await writer.write(piece)
        finally:
            self.ended.set()

    async def _next(self, pieces: AsyncGenerator[memoryview, None]) -> memoryview | None:
        try:
            return await anext(pieces, None)
        except Exception as error:
            self.failure = error
            # aiohttp tries again after an OSError, and takes any other exception for a lost connection.
            raise Stopped(error) from error

    async def _pieces(self) -> AsyncGenerator[memoryview, None]:
        self.given = found = 0
        self._digest = hashlib.sha256()
        # One piece is kept back until the next is seen: a source that holds too many bytes must not make a whole file.
        held: memoryview | None = None
        async with aclosing(self._content.chunks()) as chunks:
            async for chunk in chunks:
                for piece in _cut(chunk):
                    found += len(piece)
                    if found > self._content.size:
                        raise self._mismatch(f"at least {found}", found)
                    if held is not None:
                        yield self._give(held)
                        self._moved(self.given)
                    held = piece
        if found < self._content.size:
            raise self._mismatch(str(found), found)
        if held is not None:
            yield self._give(held)
            self._moved(self.given)

    def _give(self, piece: memoryview) -> memoryview:
        self._digest.update(piece)
        self.given += len(piece)
        return piece

    def _mismatch(self, found: str, actual: int) -> TransferError:
        size = self._content.size
        return TransferError(
            f"{size} bytes were announced, but the source gave {found}",
            operation=self._operation,
            expected=size,
            actual=actual,
        )


def _cut(chunk: bytes | memoryview) -> Iterator[memoryview]:
    view = memoryview(chunk)
    for begin in range(0, len(view), CHUNK):
        yield view[begin : begin + CHUNK]


def check_target(path: Path) -> None:
    """Refuse a *path* that no file can be written to.

    Raises:
        InvalidArgumentError: it is a folder, or there is no folder to hold it.
    """
    if path.is_dir():
        raise InvalidArgumentError(f"path: {path} is a folder")
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"path: there is no folder {path.parent}")


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

    def commit(self) -> None:
        """Put the file in its place, on the disk and whole."""
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Remove the file, unless it is in its place."""
        if self._file is not None:
            self._file.close()
        self._temporary.unlink(missing_ok=True)
