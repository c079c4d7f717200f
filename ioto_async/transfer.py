"""Files through signed URLs, streamed, without credentials. Imports floors 0 and 1, attempt, streams and transport.

A signed URL is a secret of its own, for one file and a short time. Its host is not the API's, so that nothing which a
client sends to the API goes there: no token, no header and no middleware of the user's, no cookie.
"""

import asyncio
import base64
import binascii
import contextlib
import html
import logging
import mimetypes
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Final, Protocol, TypeVar

import aiohttp
import attrs
from yarl import URL

from ._version import __version__
from .attempt import Delivery, Failed, attempt, error_class, read_up_to
from .body import RequestBody
from .config import check_signed_url
from .errors import (
    CallError,
    DecodeError,
    InvalidArgumentError,
    NotFoundError,
    TransferError,
    one_line,
)
from .operations import Kind
from .pool import NO_TIMEOUT, Deadline
from .retry import Failure, failure_of_status, parse_retry_after
from .streams import CHUNK, Content, Part, Source, Stopped, UploadBody, check_target, content_of, in_thread
from .transport import CallOptions, Transport

__all__ = ["Progress", "Source", "Transfer", "check_download", "download", "fetch", "upload"]

logger = logging.getLogger("ioto_async")

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far, and how many they will be, if that is known; equal only at the end, once all is well.

It begins anew when a transfer is tried again. What it raises ends the transfer. It must not block.
"""

Sign = Callable[[], Awaitable[str]]

_USER_AGENT: Final = f"ioto-async/{__version__}"
_REPLY_LIMIT: Final = 1 << 16
"""Bytes of a reply that are read where it is not the file itself."""
_TELLING: Final = 8
"""Characters of a part of a URL that is looked for in texts; shorter ones are in every text."""


@attrs.frozen
class Transfer:
    """A file that was transferred whole."""

    size: int
    """Bytes."""
    checksum: str
    """SHA-256 of the bytes, in hex."""
    mime_type: str
    """Content type."""


def _mime_type_of(filename: str) -> str:
    """The content type that the ending of *filename* tells of."""
    mime_type, encoding = mimetypes.guess_type(filename)
    return mime_type if mime_type and not encoding else "application/octet-stream"


def _check_filename(operation: str, filename: str) -> None:
    if not isinstance(filename, str) or not filename:
        raise InvalidArgumentError(f"{operation}: filename: expected a string that is not empty, got {filename!r}")


def _check_sha256(operation: str, value: str) -> str:
    """Return *value* in lower case if it is a SHA-256 checksum.

    Raises:
        InvalidArgumentError: it is not of 64 hex digits.
    """
    if not isinstance(value, str) or not re.fullmatch("[0-9A-Fa-f]{64}", value):
        raise InvalidArgumentError(f"{operation}: checksum: expected the 64 hex digits of a SHA-256, got {value!r}")
    return value.lower()


async def upload(
    transport: Transport,
    operation: str,
    sign: Callable[..., Awaitable[str]],
    filename: str,
    source: Source,
    *,
    mime_type: str | None,
    size: int | None,
    progress: Progress | None,
    options: CallOptions,
) -> Transfer:
    """Send a file to a signed URL.

    Args:
        transport: whose session, retries, time-out and observer are used.
        operation: what to call the transfer.
        sign: called with ``filename``, ``mime_type`` and ``size``; gives the URL.
        filename: path of the file there.
        source: path of the file here, bytes, or an async iterator of chunks.
        mime_type: content type; by default as the ending of *filename* says.
        size: bytes; needed with an iterator.
        progress: see `Progress`.
        options: ``retries``, and ``timeout``: seconds without progress.

    Raises:
        InvalidArgumentError: an argument does not fit; nothing was sent.
        CallError: the transfer failed.
        OSError: the file cannot be read.
    """
    _check_filename(operation, filename)
    mime_type = _mime_type_of(filename) if mime_type is None else mime_type
    if not isinstance(mime_type, str) or not re.fullmatch("[!-~]+/[ -~]*[!-~]", mime_type):
        raise InvalidArgumentError(f"{operation}: mime_type: expected one such as text/plain, got {mime_type!r}")
    _check_progress(operation, progress)
    content = await content_of(source, size)
    way = _Up(operation, _Meter(progress), content, mime_type)
    sign = partial(sign, filename=filename, mime_type=mime_type, size=content.size)
    return await _transfer(transport, way, sign, options)


async def download(
    transport: Transport,
    operation: str,
    sign: Callable[..., Awaitable[str]],
    filename: str,
    path: str | PathLike[str],
    *,
    checksum: str | None,
    max_size: int | None,
    progress: Progress | None,
    options: CallOptions,
) -> Transfer:
    """Fetch a file from a signed URL; it is in its place when it is whole, and else what was there stays.

    Args:
        transport: whose session, retries, time-out and observer are used.
        operation: what to call the transfer.
        sign: called with ``filename``; gives the URL.
        filename: path of the file there.
        path: where the file goes.
        checksum: SHA-256 that it must have, in hex.
        max_size: bytes that it may have.
        progress: see `Progress`.
        options: ``retries``, and ``timeout``: seconds without progress.

    Raises:
        InvalidArgumentError: an argument does not fit; nothing was sent.
        CallError: the transfer failed.
        OSError: the file cannot be written.
    """
    _check_filename(operation, filename)
    expected = None if checksum is None else _check_sha256(operation, checksum)
    way = await _way_down(operation, path, expected, max_size, progress)
    return await _transfer(transport, way, partial(sign, filename=filename), options)


async def fetch(
    transport: Transport,
    operation: str,
    url: str,
    path: str | PathLike[str],
    *,
    checksum: str,
    max_size: int,
    progress: Progress | None,
    options: CallOptions,
) -> Transfer:
    """As `download`, from a *url* that cannot be renewed, whose reply must say how long it is."""
    way = await _way_down(operation, path, checksum, max_size, progress, needs_length=True)
    return await _transfer(transport, way, url, options)


async def _way_down(
    operation: str,
    path: str | PathLike[str],
    checksum: str | None,
    max_size: int | None,
    progress: Progress | None,
    *,
    needs_length: bool = False,
) -> "_Down":
    target = await check_download(operation, path, max_size, progress)
    return _Down(operation, _Meter(progress), target, checksum, max_size, needs_length)


async def check_download(
    operation: str, path: str | PathLike[str], max_size: int | None, progress: Progress | None
) -> Path:
    """Return where a download goes, if its arguments fit.

    Raises:
        InvalidArgumentError: they do not.
    """
    if max_size is not None and (type(max_size) is not int or max_size < 0):
        raise InvalidArgumentError(f"{operation}: max_size: expected bytes from 0, got {max_size!r}")
    _check_progress(operation, progress)
    if not isinstance(path, (str, PathLike)):
        raise InvalidArgumentError(f"{operation}: path: expected a path, got {type(path).__name__}")
    target = Path(path)
    await in_thread(check_target, target)
    return target


def _check_progress(operation: str, progress: Progress | None) -> None:
    if progress is not None and not callable(progress):
        raise InvalidArgumentError(f"{operation}: progress: expected a callable, got {type(progress).__name__}")


class _Meter:
    """Tells how far a transfer is, and puts its deadline off."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.deadline: Deadline | None = None
        self.last = time.monotonic()

    def moved(self, done: int, total: int | None) -> None:
        self.last = time.monotonic()
        if self.deadline is not None:
            self.deadline.put_off()
        if self._progress is not None and done != total:
            self._progress(done, total)

    def ended(self, size: int) -> None:
        if self._progress is not None:
            self._progress(size, size)


B = TypeVar("B", bound=Delivery)


class _Way(Protocol[B]):
    """What a transfer does, in either direction."""

    @property
    def operation(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def meter(self) -> _Meter: ...

    def body(self) -> B:
        """The body of one attempt."""

    def may_go_again(self, body: B) -> bool:
        """Whether another attempt is possible after the one with that *body*."""

    def may_be_done(self, body: B) -> bool:
        """Whether it may have worked, if no reply says."""

    async def exchange(self, session: aiohttp.ClientSession, url: "_Signed", body: B) -> tuple[int, Transfer]:
        """Send the request and read the reply."""


class _Signed:
    """A signed URL, and the ways in which a text may show it."""

    def __init__(self, url: URL) -> None:
        self.url = url
        values = {word.partition("=")[2] for word in url.raw_query_string.split("&")} | {*url.query.values()}
        whole = {str(url), url.raw_path_qs, url.raw_query_string, url.query_string}
        self._secrets = sorted(
            (text for text in whole | values | {*url.raw_parts} if len(text) >= _TELLING), key=len, reverse=True
        )

    def mask(self, text: str) -> str:
        """*text* without what would let others use the URL."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


async def _transfer(transport: Transport, way: _Way[B], sign: Sign | str, options: CallOptions) -> Transfer:
    """Try until it works, or there is no hope."""
    timeout, retry, _ = transport.for_this_call(options)
    renewable = not isinstance(sign, str)
    signed: _Signed | None = None
    attempts = 0
    maybe_done = False
    while True:
        if signed is None:
            signed = _checked(way.operation, sign if isinstance(sign, str) else await sign(), transport)
        attempts += 1
        body = way.body()
        try:
            return await _attempt(transport, way, signed, body, timeout, attempts)
        except Failed as failed:
            error, failure = failed.error, failed.failure
        except CallError as definite:
            error, failure = definite, Failure.DEFINITE
        maybe_done = maybe_done or (failure is Failure.UNKNOWN and way.may_be_done(body))
        error.amend(operation=way.operation, attempts=attempts, message=error.message, outcome_unknown=maybe_done)
        if not way.may_go_again(body):
            raise error
        if renewable and error.status == 403:
            renewable, signed = False, None  # it may have expired
            continue
        wait = retry.wait(
            failure,
            way.kind,
            attempts=attempts,
            # Of a large file, the time in which it moved does not count.
            elapsed=time.monotonic() - way.meter.last,
            retry_after=error.retry_after,
            random=random.random,
        )
        if wait is None:
            raise error
        logger.info("%s: retry in %.2f s after attempt %d: %s", way.operation, wait, attempts, error.message)
        await asyncio.sleep(wait)


def _checked(operation: str, url: str, transport: Transport) -> _Signed:
    try:
        return _Signed(check_signed_url(url, allow_http=transport.pool.allow_http))
    except InvalidArgumentError as error:
        raise DecodeError(f"the signed URL: {error}", operation=operation) from None


async def _attempt(
    transport: Transport,
    way: _Way[B],
    signed: _Signed,
    body: B,
    timeout: float | None,  # noqa: ASYNC109  see attempt
    number: int,
) -> Transfer:
    def exchange(session: aiohttp.ClientSession, deadline: Deadline) -> Awaitable[tuple[int, Transfer]]:
        way.meter.deadline = deadline
        return way.exchange(session, signed, body)

    try:
        _, done = await attempt(
            transport.pool, transport.options.observer, way.operation, number, timeout, body, signed.mask, exchange
        )
    except Stopped as stopped:
        error = stopped.error
    else:
        return done
    raise error  # where it does not seem to come from something else


@contextlib.contextmanager
def _callers_own() -> Iterator[None]:
    """What raises here is no fault of the connection."""
    try:
        yield
    except Exception as error:
        raise Stopped(error) from error


def _only(*names: str) -> aiohttp.ClientMiddlewareType:
    """A middleware that lets no header pass but *names*; alone, it keeps those of a borrowed session out as well."""

    async def bare(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        for name in {name for name in request.headers if name.lower() not in names}:
            del request.headers[name]
        return await handler(request)

    return bare


_GET: Final = _only("accept", "accept-encoding", "host", "user-agent")
_PUT: Final = _only("accept", "accept-encoding", "content-length", "content-type", "host", "user-agent")


@attrs.frozen
class _Up:
    """Sends a file."""

    operation: str
    meter: _Meter
    content: Content
    mime_type: str
    kind: Kind = Kind.REPLAYABLE

    def body(self) -> UploadBody:
        size = self.content.size
        return UploadBody(self.operation, self.content, self.mime_type, lambda done: self.meter.moved(done, size))

    def may_go_again(self, body: UploadBody) -> bool:
        return body.may_be_sent_again

    def may_be_done(self, body: UploadBody) -> bool:
        return body.given == self.content.size

    async def exchange(self, session: aiohttp.ClientSession, url: _Signed, body: UploadBody) -> tuple[int, Transfer]:
        status = 0
        try:
            status = await self._send(session, url, body)
        except (aiohttp.ClientError, OSError):
            if body.failure is None:
                raise
        finally:
            await body.ended.wait()
        if body.failure is not None:
            raise Stopped(body.failure) from body.failure
        if body.given < self.content.size:
            raise TransferError(
                f"success was told after {body.given} of {self.content.size} bytes",
                operation=self.operation,
                expected=self.content.size,
                actual=body.given,
                status=status,
            )
        with _callers_own():
            self.meter.ended(body.given)
        return status, Transfer(body.given, body.checksum, self.mime_type)

    async def _send(self, session: aiohttp.ClientSession, url: _Signed, body: UploadBody) -> int:
        response = await session.put(
            url.url,
            data=body,
            headers={"Accept": "*/*", "Content-Type": self.mime_type, "User-Agent": _USER_AGENT},
            allow_redirects=False,
            middlewares=(_PUT,),
            raise_for_status=False,
            timeout=NO_TIMEOUT,
        )
        try:
            if not 200 <= response.status < 300:
                raise await _refused(self.operation, response, url)
            await read_up_to(response, _REPLY_LIMIT)
        finally:
            response.close()  # of one that was read to its end, the connection is kept all the same
        return response.status


@attrs.frozen
class _Down:
    """Fetches a file."""

    operation: str
    meter: _Meter
    path: Path
    checksum: str | None
    max_size: int | None
    needs_length: bool
    kind: Kind = Kind.READ

    def body(self) -> RequestBody:
        return RequestBody(b"")  # tells when the request goes out; its headers do not

    def may_go_again(self, body: RequestBody) -> bool:
        return True

    def may_be_done(self, body: RequestBody) -> bool:
        return False

    async def exchange(self, session: aiohttp.ClientSession, url: _Signed, body: RequestBody) -> tuple[int, Transfer]:
        response = await session.get(
            url.url,
            data=body,
            headers={"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": _USER_AGENT},
            allow_redirects=False,
            auto_decompress=False,  # size and checksum are of the file as it is kept
            middlewares=(_GET,),
            raise_for_status=False,
            read_bufsize=CHUNK,
            timeout=NO_TIMEOUT,
        )
        try:
            if response.status != 200:
                raise await _refused(self.operation, response, url)
            return 200, await self._receive(response)
        finally:
            response.close()

    async def _receive(self, response: aiohttp.ClientResponse) -> Transfer:
        self._check_length(response)
        part = Part(self.path)
        try:
            with _callers_own():
                await in_thread(part.open)
            while chunk := await response.content.read(CHUNK):
                self._check_size(part.size + len(chunk))
                with _callers_own():
                    await in_thread(part.write, chunk)
                    self.meter.moved(part.size, response.content_length)
            self._check_sums(part, response)
            with _callers_own():
                self.meter.ended(part.size)
                await in_thread(part.commit)
        except BaseException:
            part.discard()
            raise
        return Transfer(part.size, part.checksum, response.content_type)

    def _check_length(self, response: aiohttp.ClientResponse) -> None:
        length = response.content_length
        if length is not None:
            self._check_size(length)
        elif self.needs_length or "chunked" not in response.headers.get("Transfer-Encoding", "").lower():
            # The end of such a reply may as well be a connection that broke.
            raise self._error("the reply has no Content-Length", "a Content-Length", None)

    def _check_size(self, size: int) -> None:
        if self.max_size is not None and size > self.max_size:
            raise self._error(f"{size} bytes or more, {self.max_size} are allowed", self.max_size, size)

    def _check_sums(self, part: Part, response: aiohttp.ClientResponse) -> None:
        told = _hex_of(response.headers.get("x-amz-checksum-sha256"))
        for expected in (self.checksum, told):
            if expected is not None and expected != part.checksum:
                raise self._error(f"expected SHA-256 {expected}, got {part.checksum}", expected, part.checksum)

    def _error(self, message: str, expected: int | str, actual: int | str | None) -> TransferError:
        return TransferError(message, operation=self.operation, expected=expected, actual=actual, status=200)


def _hex_of(checksum: str | None) -> str | None:
    """A checksum as S3 tells it, in hex; None for one of a file in parts, which is not over its bytes."""
    try:
        data = base64.b64decode(checksum or "", validate=True)
    except binascii.Error:
        return None
    return data.hex() if len(data) == 32 else None


async def _refused(operation: str, response: aiohttp.ClientResponse, url: _Signed) -> Failed:
    """Read a reply that is no success and sort it."""
    status = response.status
    try:
        data = await read_up_to(response, _REPLY_LIMIT)
    except (aiohttp.ClientError, OSError):
        data = b""  # the status has said it already
    retry_after = parse_retry_after(response.headers.get("Retry-After"), lambda: datetime.now(UTC))
    message = one_line(url.mask(_text(data, response)))
    cls = NotFoundError if status == 404 else error_class(status, message)
    error = cls(message, operation=operation, status=status, retry_after=retry_after)
    return Failed(error, failure_of_status(status, retry_after))


def _text(data: bytes, response: aiohttp.ClientResponse) -> str:
    """What S3 says in XML, or another server in plain text."""
    if 300 <= response.status < 400:
        return "a redirect, which a signed URL does not follow"
    text = data.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        found = (re.search(f"<{name}>([^<]*)</{name}>", text) for name in ("Code", "Message"))
        text = ": ".join(html.unescape(match[1]) for match in found if match)
    return text or response.reason or "no text"
