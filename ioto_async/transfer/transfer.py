"""Files through signed URLs, streamed, without credentials.

A signed URL is a secret of its own, for one file and a short time. Its host is not the API's, so that nothing which a
client sends to the API goes there: no token, no header and no middleware of the user's, no cookie.
"""

import asyncio
import contextlib
import mimetypes
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Final, Protocol, TypeVar, cast

import aiohttp
import attrs

from .._version import __version__
from ..errors import CallError, ClientStateError, InvalidArgumentError, TransferError
from ..operations import Kind
from ..settings import check_names
from ..transport.aiohttp_private import CAN_SEND_UNASKED, permission_of
from ..transport.attempt import Body, attempt, did_nothing, read_up_to, wait_to_retry
from ..transport.auth import holding_turn
from ..transport.deadlines import Deadline
from ..transport.effects import EFFECTS
from ..transport.options import CallOptions
from ..transport.proxies import proxy_arguments
from ..transport.retry import Failed, Failure, Retries
from ..transport.tasks import in_thread
from ..transport.transport import Transport
from .files import (
    CHUNK,
    Content,
    NoBody,
    Part,
    Source,
    Stopped,
    UploadBody,
    callers_own,
    check_target,
    content_of,
    part_of,
    path_of,
)
from .signed import SignedURL, announced_sha256, refused

__all__ = [
    "DownloadOptions",
    "Progress",
    "Source",
    "Transfer",
    "UploadOptions",
    "check_download",
    "download",
    "fetch",
    "upload",
]

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far, and how many they will be, if that is known; equal only at the end, once all is well
and a downloaded file is in its place.

It begins anew when a transfer is tried again. What it raises ends the transfer. It must not block.
"""


class UploadOptions(CallOptions, total=False):
    """What every upload takes beside its own arguments.

    ``timeout``: seconds without progress. ``retries``: how many times the file is sent again at most; an iterator that
    has begun never is. ``headers``: further headers of the call that asks for the signed URL. ``mime_type``: content
    type; by default as the ending of the file's name there says. ``size``: bytes; needed with an iterator.
    ``progress``: see `Progress`.
    """

    mime_type: str | None
    size: int | None
    progress: Progress | None


class DownloadOptions(CallOptions, total=False):
    """What every download takes beside its own arguments.

    ``timeout``: seconds without progress. ``retries``: how many times the file is asked for again at most.
    ``headers``: further headers of the call that asks for the signed URL. ``checksum``: SHA-256 that the file must
    have, in hex. ``max_size``: bytes that it may have. ``progress``: see `Progress`.
    """

    checksum: str | None
    max_size: int | None
    progress: Progress | None


Sign = Callable[[], Awaitable[str]]

_USER_AGENT: Final = f"ioto-async/{__version__}"
_REPLY_LIMIT: Final = 1 << 16
"""Bytes of the reply to an upload that are read to keep its connection."""
_PATIENCE: Final = 1.0
"""Seconds that a host has to say that the body of a request may come."""
_LOOK: Final = 0.05
"""Seconds between two attempts to write to a pipe that takes nothing."""


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
    """The content type that the ending of *filename* stands for."""
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


def _call_options(
    operation: str, options: UploadOptions | DownloadOptions, known: type[UploadOptions] | type[DownloadOptions]
) -> CallOptions:
    """Those of *options* that any call takes.

    Raises:
        InvalidArgumentError: there are some that are not *known*.
    """
    check_names(options, known.__annotations__, of=operation)
    return cast("CallOptions", {name: value for name, value in options.items() if name in CallOptions.__annotations__})


async def upload(
    transport: Transport,
    operation: str,
    sign: Callable[..., Awaitable[str]],
    filename: str,
    source: Source,
    options: UploadOptions,
) -> Transfer:
    """Send a file to a signed URL.

    An iterator can be read but once. It is begun when the host has said that the file may come, or has said nothing for
    a second, and never read again; until then, a connection that has died or a URL that has expired costs nothing.

    Args:
        transport: whose session, retries, time-out and observer are used.
        operation: what to call the transfer.
        sign: called with ``filename``, ``mime_type``, ``size`` and the `CallOptions` among *options*; gives the URL.
        filename: path of the file there.
        source: path of the file here, bytes, or an async iterator of chunks.
        options: see `UploadOptions`.

    Raises:
        InvalidArgumentError: an argument does not fit; nothing was sent.
        CallError: the transfer failed.
        OSError: the file cannot be read.
    """
    call = _call_options(operation, options, UploadOptions)
    _check_filename(operation, filename)
    mime_type, progress = options.get("mime_type"), options.get("progress")
    mime_type = _mime_type_of(filename) if mime_type is None else mime_type
    if not isinstance(mime_type, str) or not re.fullmatch("[!-~]+/[ -~]*[!-~]", mime_type):
        raise InvalidArgumentError(f"{operation}: mime_type: expected one such as text/plain, got {mime_type!r}")
    _check_progress(operation, progress)
    content = await content_of(source, options.get("size"))
    job = _Upload(operation, _Meter(progress), content, mime_type)
    sign = partial(sign, filename=filename, mime_type=mime_type, size=content.size, **call)
    return await _transfer(transport, job, sign, call)


async def download(
    transport: Transport,
    operation: str,
    sign: Callable[..., Awaitable[str]],
    filename: str,
    path: str | PathLike[str],
    options: DownloadOptions,
) -> Transfer:
    """Fetch a file from a signed URL; it is in its place when it is whole, and else what was there stays.

    What is at *path* is replaced, not written to: of a symbolic link the link, not what it leads to.

    Args:
        transport: whose session, retries, time-out and observer are used.
        operation: what to call the transfer.
        sign: called with ``filename`` and the `CallOptions` among *options*; gives the URL.
        filename: path of the file there.
        path: where the file goes.
        options: see `DownloadOptions`.

    Raises:
        InvalidArgumentError: an argument does not fit; nothing was sent.
        CallError: the transfer failed.
        OSError: the file cannot be written.
    """
    call = _call_options(operation, options, DownloadOptions)
    _check_filename(operation, filename)
    checksum = options.get("checksum")
    expected = None if checksum is None else _check_sha256(operation, checksum)
    job = await _download_job(operation, path, expected, options.get("max_size"), options.get("progress"))
    return await _transfer(transport, job, partial(sign, filename=filename, **call), call)


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
    job = await _download_job(operation, path, checksum, max_size, progress, needs_length=True)
    return await _transfer(transport, job, url, options)


async def _download_job(
    operation: str,
    path: str | PathLike[str],
    checksum: str | None,
    max_size: int | None,
    progress: Progress | None,
    *,
    needs_length: bool = False,
) -> "_Download":
    target = await check_download(operation, path, max_size, progress)
    return _Download(operation, _Meter(progress), target, checksum, max_size, needs_length)


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
    name = f"{operation}: path"
    target = path_of(name, path)
    await in_thread(check_target, name, target)
    return target


def _check_progress(operation: str, progress: Progress | None) -> None:
    if progress is not None and not callable(progress):
        raise InvalidArgumentError(f"{operation}: progress: expected a callable, got {type(progress).__name__}")


class _Meter:
    """Reports the progress of a transfer, and puts its deadline off.

    Attributes:
        deadline: that of the present attempt.
        last: when something moved, as `time.monotonic` says.
    """

    deadline: Deadline

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.last = time.monotonic()

    def moved(self, done: int, total: int | None) -> None:
        self.last = time.monotonic()
        self.deadline.put_off()
        if self._progress is not None and done != total:
            self._progress(done, total)

    def ended(self, size: int) -> None:
        if self._progress is not None:
            self._progress(size, size)


B = TypeVar("B", bound=Body)
T = TypeVar("T")


class _Job(Protocol[B]):
    """A transfer, in either direction."""

    @property
    def operation(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def meter(self) -> _Meter: ...

    def body(self) -> B:
        """The body of one attempt."""

    def may_be_repeated(self, body: B) -> bool:
        """Whether another attempt is possible after the one with that *body*."""

    def may_be_done(self, body: B) -> bool:
        """Whether it may have worked, if no reply says."""

    async def exchange(self, session: aiohttp.ClientSession, url: SignedURL, body: B) -> tuple[int, Transfer]:
        """Send the request and read the reply."""


async def _transfer(transport: Transport, job: _Job[B], sign: Sign | str, options: CallOptions) -> Transfer:
    """Do *job*; what the source, the disk or ``progress`` raises comes out as it is."""
    try:
        return await _with_retries(transport, job, sign, options)
    except Stopped as stopped:
        error = stopped.error
    raise error  # where it does not seem to come from something else


async def _with_retries(transport: Transport, job: _Job[B], sign: Sign | str, options: CallOptions) -> Transfer:
    timeout, retry, _ = transport.for_this_call(options)
    renewable = not isinstance(sign, str)
    signed: SignedURL | None = None
    retries: Retries | None = None
    while True:
        if signed is None:
            signed = await _signed(transport, job, sign, retries)
        body = job.body()
        try:
            async with _connection(transport, job.operation):
                with _noted(job, body), holding_turn():  # the source of an upload may make calls
                    number = 1 if retries is None else retries.attempts + 1
                    return await _attempt(transport, job, signed, body, timeout, number)
        except Failed as failed:
            error, failure = failed.error, failed.failure
        except ClientStateError as closed:
            _remember(retries, closed)
            raise
        except CallError as definite:
            error, failure = definite.with_traceback(None), Failure.DEFINITE  # whose variables have the signed URL
        if retries is None:
            retries = Retries(job.operation, job.kind, retry, transport.options.max_retry_after)
        retries.failed(error, failure, could_be_done=job.may_be_done(body))
        if not job.may_be_repeated(body):
            raise error
        if renewable and error.status == 403:
            renewable, signed = False, None  # it may have expired
            continue
        # Of a large file, the time in which it moved does not count.
        elapsed = time.monotonic() - job.meter.last
        await wait_to_retry(retries, elapsed=elapsed, is_played=transport.pool.only_plays)


async def _signed(transport: Transport, job: _Job[B], sign: Sign | str, retries: Retries | None) -> SignedURL:
    try:
        return SignedURL.of(job.operation, sign if isinstance(sign, str) else await sign(), transport.pool)
    except (CallError, ClientStateError) as error:
        _remember(retries, error)
        raise


def _remember(retries: Retries | None, error: CallError | ClientStateError) -> None:
    """Say in *error* that an earlier attempt may have done the work."""
    if retries is not None and retries.maybe_done:
        error.outcome_unknown = True


@contextlib.contextmanager
def _noted(job: _Job[B], body: B) -> Iterator[None]:
    """Note among the effects what becomes of an attempt."""
    effects = EFFECTS.get()
    if effects is None:
        yield
        return
    effects.in_flight += 1
    try:
        yield
    except BaseException as error:
        # A refusal is definite; anything else, its time-out and its end by others too, may have come too late.
        if job.may_be_done(body) and not did_nothing(error):
            effects.doubt()
        raise
    else:
        effects.changed = True  # on a download, the file here
    finally:
        effects.landed()


async def _attempt(
    transport: Transport,
    job: _Job[B],
    signed: SignedURL,
    body: B,
    timeout: float | None,  # noqa: ASYNC109  see attempt
    number: int,
) -> Transfer:
    if transport.pool.loop is not asyncio.get_running_loop():
        await transport.pool.open()
    observer = transport.options.observer
    started = time.monotonic()
    with attempt(transport.pool, observer, job.operation, number, started, timeout, body, signed.mask) as trying:
        job.meter.deadline = trying.deadline
        async with transport.pool.bare() as session:
            trying.status, done = await job.exchange(session, signed, body)
    return done


@contextlib.asynccontextmanager
async def _connection(transport: Transport, operation: str) -> AsyncIterator[None]:
    """Have a connection of the pool while the body runs.

    Raises:
        PoolTimeoutError: it takes longer than the client's ``pool_timeout`` to get one.
    """
    if transport.pool.loop is not asyncio.get_running_loop():
        await transport.pool.open()
    connections = transport.pool.limiter.connections
    async with transport.waiting_for_turn(operation):
        await connections.take()
    try:
        yield
    finally:
        connections.give_back()


async def _nothing_added(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Take out what aiohttp puts in: what the user's netrc has for the host, and the length of no body."""
    request.headers.pop("Authorization", None)
    if request.method == "GET":
        request.headers.pop("Content-Length", None)
    return await handler(request)


async def _wait_no_longer(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send the body after a while though the host has not said that it may come, as not every host does."""
    allowed = permission_of(request)
    if allowed is None:
        return await handler(request)

    def allow() -> None:
        if not allowed.done():
            allowed.set_result(True)

    timer = asyncio.get_running_loop().call_later(_PATIENCE, allow)
    try:
        return await handler(request)
    finally:
        timer.cancel()


@attrs.frozen
class _Upload:
    """Sends a file."""

    operation: str
    meter: _Meter
    content: Content
    mime_type: str
    kind: Kind = Kind.REPLAYABLE

    def body(self) -> UploadBody:
        size = self.content.size
        return UploadBody(self.operation, self.content, self.mime_type, lambda done: self.meter.moved(done, size))

    def may_be_repeated(self, body: UploadBody) -> bool:
        return body.may_be_read_again

    def may_be_done(self, body: UploadBody) -> bool:
        return body.in_doubt and body.given == self.content.size

    async def exchange(self, session: aiohttp.ClientSession, url: SignedURL, body: UploadBody) -> tuple[int, Transfer]:
        status = 0
        try:
            status = await self._send(session, url, body)
        except (aiohttp.ClientError, OSError, Failed):
            if body.failure is None:
                raise
        finally:
            await body.settled()
        if body.failure is not None:
            raise body.failure
        if body.taken < self.content.size:
            raise TransferError(
                f"the host reported success after {body.taken} of {self.content.size} bytes",
                operation=self.operation,
                expected=self.content.size,
                actual=body.taken,
                status=status,
            )
        with callers_own():
            self.meter.ended(body.taken)
        return status, Transfer(body.taken, body.checksum, self.mime_type)

    async def _send(self, session: aiohttp.ClientSession, url: SignedURL, body: UploadBody) -> int:
        headers = {"Accept": "*/*", "Content-Type": self.mime_type, "User-Agent": _USER_AGENT}
        proxy, proxy_headers = proxy_arguments(url.proxy, url.url, headers)
        response = await session.put(
            url.url,
            data=body,
            headers=headers,
            proxy=proxy,
            proxy_headers=proxy_headers,
            allow_redirects=False,
            # What can be read but once is not, before the host has seen the request: a kept connection may be dead.
            expect100=CAN_SEND_UNASKED and self.content.once and self.content.size > 0,
            middlewares=(_nothing_added, _wait_no_longer, *url.recorders),
        )
        try:
            if not 200 <= response.status < 300:
                raise await refused(self.operation, response, url, self.meter.deadline)
            await read_up_to(response, _REPLY_LIMIT)
        finally:
            response.close()  # of one that was read to its end, the connection is kept all the same
        return response.status


@attrs.frozen
class _Download:
    """Fetches a file."""

    operation: str
    meter: _Meter
    path: Path
    checksum: str | None
    max_size: int | None
    needs_length: bool
    kind: Kind = Kind.READ

    def body(self) -> NoBody:
        return NoBody()  # notes that the request goes out, which its headers do not

    def may_be_repeated(self, body: NoBody) -> bool:
        return True

    def may_be_done(self, body: NoBody) -> bool:
        return False

    async def exchange(self, session: aiohttp.ClientSession, url: SignedURL, body: NoBody) -> tuple[int, Transfer]:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": _USER_AGENT}
        proxy, proxy_headers = proxy_arguments(url.proxy, url.url, headers)
        response = await session.get(
            url.url,
            data=body,
            headers=headers,
            proxy=proxy,
            proxy_headers=proxy_headers,
            allow_redirects=False,
            auto_decompress=False,  # size and checksum are of the file as it is kept
            middlewares=(_nothing_added, *url.recorders),
            read_bufsize=CHUNK,
            skip_auto_headers=("Content-Type",),
        )
        try:
            if response.status != 200:
                raise await refused(self.operation, response, url, self.meter.deadline)
            return 200, await self._receive(response)
        finally:
            response.close()

    async def _receive(self, response: aiohttp.ClientResponse) -> Transfer:
        self._check_length(response)
        part = await self._on_disk(part_of, self.path)
        try:
            await self._on_disk(part.open)
            while chunk := await response.content.read(CHUNK):
                self._check_size(part.size + len(chunk))
                await self._on_disk(part.write, chunk)
                with callers_own():
                    self.meter.moved(part.size, response.content_length)
            self._check_sums(part, response)
            while not await self._on_disk(part.commit):  # noqa: ASYNC110  another process's
                await asyncio.sleep(_LOOK)
        except BaseException:
            part.discard()
            raise
        with callers_own():
            self.meter.ended(part.size)
        return Transfer(part.size, part.checksum, response.content_type)

    async def _on_disk(self, function: Callable[..., T], *args: object) -> T:
        with callers_own(), self.meter.deadline.paused():
            return await in_thread(function, *args)

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
        for expected in (self.checksum, announced_sha256(response)):
            if expected is not None and expected != part.checksum:
                raise self._error(f"expected SHA-256 {expected}, got {part.checksum}", expected, part.checksum)

    def _error(self, message: str, expected: int | str, actual: int | str | None) -> TransferError:
        return TransferError(message, operation=self.operation, expected=expected, actual=actual, status=200)
