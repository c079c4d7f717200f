"""Files through signed URLs: what goes to their host and what does not, retries, and what is left behind."""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import logging
import os
import pickle
import shutil
import socket
import threading
import time
import traceback
import tracemalloc
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ioto_async import (
    Attempt,
    AuthenticationError,
    CallError,
    CallTimeoutError,
    ClientStateError,
    ConnectionFailedError,
    ConnectionLostError,
    DecodeError,
    InvalidArgumentError,
    IotoClient,
    NotFoundError,
    PoolTimeoutError,
    RetryPolicy,
    ServiceError,
    Transfer,
    TransferError,
    UnexpectedStatusError,
)
from ioto_async.emulator import Emulator, Fault
from ioto_async.transfer.transfer import download, upload
from ioto_async.transport.deadlines import Deadline
from tests.rawserver import GUARD, TOKEN, RawServer, Request, Step, client_of, drop, reply, reset, silent
from tests.rows import each_row

DATA = b"picture" * 100
SUM = hashlib.sha256(DATA).hexdigest()
SIGNATURE = "5ec2e7516na7u2e0123456789abcdef"
QUERY = f"X-Amz-Expires=300&X-Amz-Credential=AKIA%2F2025%2fs3&X-Amz-Signature={SIGNATURE}"
MIB = 1 << 20
NEVER = RetryPolicy(attempts=1)
SOON = 0.05
"""Seconds of a deadline that is to be missed."""

S3_ERROR = "<?xml version='1.0'?>\n<Error><Code>{}</Code><Message>{}</Message><RequestId>X</RequestId></Error>"


class Site:
    """An API that gives signed URLs, the bucket that they lead to, and a client of the API."""

    def __init__(self, api: RawServer, client: IotoClient, url: str) -> None:
        self.api = api
        self.client = client
        self.url = url


@contextlib.asynccontextmanager
async def signing(url: str, **options: Any) -> AsyncIterator[Site]:
    """A site whose signed URLs are *url* with a number at the end."""

    def sign(_: Request) -> Step:
        return reply(200, json.dumps(f"{url}&n={len(api.requests)}"))

    async with RawServer(handler=sign) as api, client_of(api, **options) as client:
        yield Site(api, client, url)


@contextlib.asynccontextmanager
async def site(
    *steps: Step, handler: Callable[[Request], Step] | None = None, **options: Any
) -> AsyncIterator[tuple[RawServer, Site]]:
    async with RawServer(deque(steps), handler) as bucket, signing(f"{bucket.url}/b/a.jpg?{QUERY}", **options) as made:
        yield bucket, made


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def bucket_of(handle: Handle, **options: Any) -> AsyncIterator[Site]:
    """A site whose bucket reads and writes as *handle* does, one connection at a time."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        async with signing(f"http://127.0.0.1:{port}/b/a.jpg?{QUERY}", **options) as made:
            yield made
        async with asyncio.timeout(GUARD):
            await ended.wait()
    finally:
        server.close()
        await server.wait_closed()


async def head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The head of a request, whose body is asked for if its sender waits for that."""
    read = await reader.readuntil(b"\r\n\r\n")
    if b"Expect: 100-continue\r\n" in read:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return read


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def failure(call: Awaitable[Any]) -> CallError:
    with pytest.raises(CallError) as caught:
        await call
    return caught.value


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "local.jpg"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing half done may be left."""
    folder = tmp_path / "folder"
    folder.mkdir()
    yield folder
    assert [path.name for path in folder.glob("*") if path.name != "a.jpg"] == []
    assert list(folder.glob(".*")) == []


# Upload -----------------------------------------------------------------------------------------------------------

SOURCES: dict[str, Callable[[Path], tuple[Any, dict[str, Any]]]] = {
    "path": lambda path: (path, {}),
    "name": lambda path: (str(path), {}),
    "bytes": lambda _: (DATA, {}),
    "bytearray": lambda _: (bytearray(DATA), {}),
    "memoryview": lambda _: (memoryview(DATA), {"size": len(DATA)}),
    "iterator": lambda _: (chunks(DATA[:5], b"", DATA[5:]), {"size": len(DATA)}),
}


@pytest.mark.parametrize("kind", SOURCES)
async def test_an_upload_puts_the_bytes_to_the_signed_url_with_the_signed_type_and_length(
    kind: str, local: Path
) -> None:
    source, options = SOURCES[kind](local)
    async with site(reply(200, b"")) as (bucket, made):
        done = await made.client.file.upload("a.jpg", source, **options)
    (request,) = bucket.requests
    assert (request.method, request.target, request.body) == ("PUT", f"/b/a.jpg?{QUERY}&n=1", DATA)
    assert (request.header("Content-Type"), request.header("Content-Length")) == ("image/jpeg", str(len(DATA)))
    assert request.header("Transfer-Encoding") is None
    assert done == Transfer(len(DATA), SUM, "image/jpeg")


@pytest.mark.parametrize("empty", [b"", chunks(), "file"])
async def test_an_empty_file_is_uploaded_with_a_length_of_0(empty: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    if empty == "file":
        empty = tmp_path / "empty"
        empty.touch()
    async with site(reply(200, b"")) as (bucket, made):
        done = await made.client.file.upload("a", empty, size=0, progress=lambda *args: seen.append(args))
    assert (done.size, bucket.requests[0].header("Content-Length"), seen) == (0, "0", [(0, 0)])


@pytest.mark.parametrize(
    ("upload", "body"),
    [
        (lambda c: c.file.upload("a.bin", b"123", account_id="A1"), {"accountId": "A1"}),
        (lambda c: c.device.upload("a.bin", b"123", id="D1"), {"id": "D1"}),
        (lambda c: c.manager.upload("a.bin", b"123", id="M1", clean=True), {"id": "M1", "clean": True}),
    ],
    ids=["file", "device", "manager"],
)
async def test_the_url_for_an_upload_is_asked_for_with_type_and_size(
    upload: Callable[[IotoClient], Awaitable[Transfer]], body: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    async with site(reply(200, b"")) as (_, made):
        await upload(made.client)
    (asked,) = made.api.requests
    assert asked.path == f"/tok/{request.node.callspec.id}/getSignedUrl"
    assert asked.json == body | {
        "command": "put",
        "filename": "a.bin",
        "mimeType": "application/octet-stream",
        "size": 3,
    }


@pytest.mark.parametrize(
    ("download", "body"),
    [
        (lambda c, p: c.file.download("a.bin", p, account_id="A1"), {"accountId": "A1"}),
        (lambda c, p: c.device.download("a.bin", p, id="D1"), {"id": "D1"}),
        (lambda c, p: c.manager.download("a.bin", p, id="M1"), {"id": "M1"}),
    ],
    ids=["file", "device", "manager"],
)
async def test_the_url_for_a_download_is_asked_for_by_name(
    download: Callable[[IotoClient, Path], Awaitable[Transfer]],
    body: dict[str, Any],
    folder: Path,
    request: pytest.FixtureRequest,
) -> None:
    async with site(reply(200, DATA)) as (_, made):
        await download(made.client, folder / "a.jpg")
    (asked,) = made.api.requests
    assert asked.path == f"/tok/{request.node.callspec.id}/getSignedUrl"
    assert asked.json == body | {"command": "get", "filename": "a.bin"}


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [("a.txt", "text/plain"), ("a", "application/octet-stream"), ("a.tar.gz", "application/octet-stream")],
)
async def test_the_type_is_guessed_by_the_name_of_the_file(name: str, mime_type: str) -> None:
    async with site(reply(200, b"")) as (bucket, made):
        await made.client.file.upload(name, b"x")
    assert made.api.requests[0].json["mimeType"] == bucket.requests[0].header("Content-Type") == mime_type


async def test_a_type_that_is_given_goes_before_the_name() -> None:
    async with site(reply(200, b"")) as (bucket, made):
        await made.client.file.upload("a.txt", b"x", mime_type="text/html; charset=utf-8")
    assert bucket.requests[0].header("Content-Type") == "text/html; charset=utf-8"


UNFIT: list[tuple[Callable[[Any], Awaitable[Transfer]], str]] = [
    (lambda f: f.upload("", b"x"), "filename"),
    (lambda f: f.upload(None, b"x"), "filename"),
    (lambda f: f.upload("a", 17), "source"),
    (lambda f: f.upload("a", chunks(b"x")), "size"),
    (lambda f: f.upload("a", b"x", size=2), "size"),
    (lambda f: f.upload("a", b"x", size=-1), "size"),
    (lambda f: f.upload("a", b"x", size=True), "size"),
    (lambda f: f.upload("a", memoryview(DATA)[::2]), "source"),
    (lambda f: f.upload("a", os.curdir), "source"),
    (lambda f: f.upload("a", "a\0b"), "source"),
    (lambda f: f.upload("a", b"x", mime_type=""), "mime_type"),
    (lambda f: f.upload("a", b"x", mime_type="text/x\r\nEvil: 1"), "mime_type"),
    (lambda f: f.upload("a", b"x", progress=17), "progress"),
    (lambda f: f.upload("a", b"x", patience=17), "patience"),
    (lambda f: f.upload("a", b"x", timeout=0), "timeout"),
    (lambda f: f.download("", "a.jpg"), "filename"),
    (lambda f: f.download("a", 17), "path"),
    (lambda f: f.download("a", os.curdir), "path"),
    (lambda f: f.download("a", "a\0b"), "path"),
    (lambda f: f.download("a", "a.jpg", patience=17), "patience"),
    (lambda f: f.download("a", "no/such/folder/a.jpg"), "path"),
    (lambda f: f.download("a", "a.jpg", checksum="abc"), "checksum"),
    (lambda f: f.download("a", "a.jpg", max_size=-1), "max_size"),
    (lambda f: f.download("a", "a.jpg", progress=17), "progress"),
]


async def test_an_argument_that_does_not_fit_is_named_before_anything_is_sent() -> None:
    async with site() as (bucket, made):

        @each_row("call, name", UNFIT)
        async def check(call: Callable[[Any], Awaitable[Transfer]], name: str) -> None:
            with pytest.raises(InvalidArgumentError, match=name):
                await call(made.client.file)

        await check()
    assert (made.api.requests, bucket.requests) == ([], [])


async def test_a_source_that_is_not_there_is_the_error_of_the_operating_system(tmp_path: Path) -> None:
    async with site() as (_, made):
        with pytest.raises(FileNotFoundError, match=r"missing\.jpg"):
            await made.client.file.upload("a.jpg", tmp_path / "missing.jpg")
    assert made.api.requests == []


# What the host of a signed URL sees -------------------------------------------------------------------------------

ALLOWED = {"accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"}


async def gossip(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    request.headers["X-Token"] = TOKEN
    return await handler(request)


CLIENTS: dict[str, dict[str, Any]] = {
    "token": {"token": TOKEN},
    "bearer": {"token": TOKEN, "bearer": True},
    "login": {"login": TOKEN, "origin": "app.example"},
    "headers": {"headers": {"X-Secret": TOKEN, "Cookie": TOKEN}},
    "middlewares": {"middlewares": [gossip]},
}


async def both_ways(made: Site, folder: Path) -> None:
    await made.client.file.upload("a.jpg", DATA, headers={"X-Call": TOKEN})
    await made.client.file.download("a.jpg", folder / "a.jpg", headers={"X-Call": TOKEN})


def assert_bare(bucket: RawServer) -> None:
    put, get = bucket.requests
    assert {name.lower() for name, _ in put.headers} - ALLOWED == set()
    assert {name.lower() for name, _ in get.headers} - ALLOWED == set()
    assert {"content-length", "content-type"} & {name.lower() for name, _ in get.headers} == set()
    assert TOKEN not in repr(put.headers) + repr(get.headers)


@pytest.mark.parametrize("options", CLIENTS)
async def test_nothing_of_the_client_goes_to_the_host_of_a_signed_url(options: str, folder: Path) -> None:
    async with site(reply(200, b""), reply(200, DATA), **CLIENTS[options]) as (bucket, made):
        await both_ways(made, folder)
    assert_bare(bucket)
    assert {request.header("X-Call") for request in made.api.requests} == {TOKEN}


async def test_nothing_of_a_borrowed_session_goes_there_either(folder: Path) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    headers = {"Authorization": TOKEN, "X-Token": TOKEN, "Content-Language": TOKEN, "User-Agent": TOKEN}
    headers |= {"Host": TOKEN, "Expect": "100-continue", "Accept-Encoding": TOKEN}
    async with (
        aiohttp.ClientSession(headers=headers, cookies={"id": TOKEN}, cookie_jar=jar, middlewares=(gossip,)) as session,
        RawServer.of(reply(200, b"", headers={"Set-Cookie": "theirs=1"}), reply(200, DATA)) as bucket,
        signing(f"{bucket.url}/b/a.jpg?{QUERY}", session=session, login=TOKEN, origin="app.example") as made,
    ):
        await both_ways(made, folder)
    assert_bare(bucket)
    assert {request.header("Host") for request in bucket.requests} == {f"127.0.0.1:{bucket.port}"}
    assert {cookie.key for cookie in jar} == {"id"}


async def test_nothing_of_the_user_s_netrc_goes_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {TOKEN}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with (
        aiohttp.ClientSession(trust_env=True) as session,
        RawServer.of(reply(200, b""), reply(200, DATA)) as bucket,
        # With an Authorization header of ours, aiohttp would refuse that of the netrc.
        signing(f"{bucket.url}/b/a.jpg?{QUERY}") as made,
        client_of(made.api, session=session) as borrower,
    ):
        url = await made.client.file.get_signed_url(filename="a.jpg")

        async def sign(**_: object) -> str:
            return url

        await upload(borrower._transport, "file/upload", sign, "a.jpg", DATA, {})
        await download(borrower._transport, "file/download", sign, "a.jpg", folder / "a.jpg", {})
    assert_bare(bucket)


async def test_transfers_take_the_proxy_of_a_borrowed_session(folder: Path) -> None:
    far = f"http://127.0.0.1:9/b/a.jpg?{QUERY}"

    def proxy(request: Request) -> Step:
        return reply(200, json.dumps(far) if "getSignedUrl" in request.target else DATA)

    async with (
        RawServer(handler=proxy) as server,
        aiohttp.ClientSession(proxy=server.url) as session,
        client_of("http://127.0.0.1:9", session=session) as client,
    ):
        await client.file.upload("a.jpg", DATA)
        await client.file.download("a.jpg", folder / "a.jpg")
    assert [(request.method, request.target) for request in server.requests[1::2]] == [("PUT", far), ("GET", far)]


async def test_a_redirect_is_not_followed(folder: Path) -> None:
    async with RawServer() as elsewhere:
        away = reply(307, b"", headers={"Location": f"{elsewhere.url}/?{QUERY}"})
        async with site(away, away) as (_, made):
            errors = [
                await failure(made.client.file.upload("a.jpg", DATA)),
                await failure(made.client.file.download("a.jpg", folder / "a.jpg")),
            ]
    assert elsewhere.requests == []
    assert [(type(error), error.status) for error in errors] == [(UnexpectedStatusError, 307)] * 2
    assert SIGNATURE not in str(errors)


UNSAFE_URLS = [
    "http://bucket.example/a?",
    "ftp://127.0.0.1/a?",
    "/a?",
    "https://u:p@bucket.example/a?",
    "https://b/ a?",
    "https://b/#",
]


@each_row("url", UNSAFE_URLS)
async def test_a_signed_url_that_is_not_safe_is_refused_without_being_shown(folder: Path, url: str) -> None:
    async with signing(f"{url}{QUERY}") as made:
        error = await failure(made.client.file.download("a.jpg", folder / "a.jpg"))
    assert (type(error), SIGNATURE in str(error), len(made.api.requests)) == (DecodeError, False, 1)


@pytest.mark.parametrize("allow_http", [False, True])
async def test_a_signed_url_may_be_plain_http_beyond_loopback_only_by_option(allow_http: bool, folder: Path) -> None:
    # The address leads to this machine, but is no loopback address.
    async with (
        RawServer.of(reply(200, DATA)) as bucket,
        signing(f"http://0.0.0.0:{bucket.port}/a?{QUERY}", allow_http=allow_http) as made,
    ):
        call = made.client.file.download("a.jpg", folder / "a.jpg")
        if allow_http:
            assert (await call).checksum == SUM
        else:
            assert type(await failure(call)) is DecodeError
    assert len(bucket.requests) == allow_http


# Sources that do not keep their word ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "size", "actual"),
    [((b"12345",), 7, 5), ((), 1, 0), ((b"1234", b"5678"), 7, 8), ((b"12345678",), 7, 8), ((b"x",), 0, 1)],
)
async def test_a_source_of_another_length_is_an_error_that_names_both(
    parts: tuple[bytes, ...], size: int, actual: int
) -> None:
    async with site(reply(200, b"")) as (bucket, made):
        error = await failure(made.client.file.upload("a.jpg", chunks(*parts), size=size))
    assert isinstance(error, TransferError)
    assert (error.expected, error.actual, error.outcome_unknown) == (size, actual, False)
    assert str(size) in error.message
    assert str(actual) in error.message
    # An object must not come to be of a part of the bytes.
    assert [request.body for request in bucket.requests if request.body] == []


async def test_a_file_that_shrinks_while_it_is_read_is_an_error_that_names_both(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(bytes(MIB))

    def shrink(_: int, __: int | None) -> None:
        os.truncate(path, MIB // 2)

    async with site(reply(200, b"")) as (bucket, made):
        error = await failure(made.client.file.upload("log", path, progress=shrink))
    assert isinstance(error, TransferError)
    assert (error.expected, error.actual, bucket.requests) == (MIB, MIB // 2, [])


OF_ANOTHER_CALL = AuthenticationError("not for you", operation="device/get", status=403)


@pytest.mark.parametrize(
    "trouble", [OSError("disk on fire"), RuntimeError("bug"), TimeoutError("slow"), OF_ANOTHER_CALL]
)
async def test_what_the_source_raises_comes_out_as_it_is(trouble: Exception) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield DATA
        raise trouble

    async with site(reply(200, b"")) as (bucket, made):
        with pytest.raises(type(trouble)) as caught:
            await made.client.file.upload("a.jpg", source(), size=10_000)
    assert caught.value is trouble
    assert (bucket.requests, len(made.api.requests)) == ([], 1)
    assert str(OF_ANOTHER_CALL) == "device/get: 403 not for you"
    assert SIGNATURE not in "".join(traceback.format_exception(caught.value))


async def test_a_source_that_is_cancelled_is_named_and_does_not_cancel_the_caller() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield DATA
        raise asyncio.CancelledError

    async with site(reply(200, b""), reply(200, b"")) as (bucket, made):
        error = await failure(made.client.file.upload("a.jpg", source(), size=10_000))
    assert isinstance(error, TransferError)
    assert "the source was cancelled" in error.message
    assert (error.expected, bucket.requests) == (10_000, [])


async def test_a_source_that_does_not_want_to_end_does_not_hold_its_transfer_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ioto_async.transfer.files._PATIENCE", SOON)
    release = asyncio.Event()
    ended = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield DATA
            await release.wait()
        except asyncio.CancelledError:
            await release.wait()
            raise
        finally:
            ended.set()

    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader, writer)
        await reader.read()

    async with bucket_of(patient) as made, asyncio.timeout(GUARD):
        error = await failure(made.client.file.upload("a", source(), size=10_000, timeout=SOON))
        release.set()
        await ended.wait()
    assert type(error) is CallTimeoutError


async def test_chunks_that_are_no_bytes_are_refused() -> None:
    async def text() -> AsyncIterator[Any]:
        yield "text"

    async with site() as (_, made):
        with pytest.raises(InvalidArgumentError, match="str"):
            await made.client.file.upload("a.txt", text(), size=4)


async def test_a_buffer_that_is_filled_anew_for_every_chunk_is_sent_right() -> None:
    async def source() -> AsyncIterator[bytearray]:
        buffer = bytearray(4)
        for number in range(3):
            buffer[:] = bytes([number]) * 4
            yield buffer

    async with site(reply(200, b"")) as (bucket, made):
        await made.client.file.upload("a", source(), size=12)
    assert bucket.requests[0].body == b"\x00\x00\x00\x00\x01\x01\x01\x01\x02\x02\x02\x02"


async def test_a_success_that_comes_before_the_bytes_is_none() -> None:
    held = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"1"
        await held.wait()
        yield b"2"

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with bucket_of(hasty) as made:
        error = await failure(made.client.file.upload("a", source(), size=2))
    assert isinstance(error, TransferError)
    assert (error.expected, error.status) == (2, 200)


async def test_a_success_that_comes_before_the_connection_has_taken_the_last_bytes_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("aiohttp.http_writer.StreamWriter.drain", never)
    async with site(reply(200, b"")) as (_, made):
        error = await failure(made.client.file.upload("a", DATA))
    assert isinstance(error, TransferError)
    assert (error.expected, error.actual) == (len(DATA), 0)


# Retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "bytes"])
@pytest.mark.parametrize("trouble", [reply(500), reply(503, headers={"Retry-After": "0"}), reply(429)])
async def test_an_upload_that_can_be_repeated_is(kind: str, trouble: Step, local: Path) -> None:
    source, options = SOURCES[kind](local)
    async with site(trouble, trouble, reply(200, b"")) as (bucket, made):
        done = await made.client.file.upload("a.jpg", source, **options)
    assert [request.body for request in bucket.requests] == [DATA] * 3
    assert (done.checksum, len(made.api.requests)) == (SUM, 1)


async def test_an_upload_whose_connection_breaks_is_repeated(local: Path) -> None:
    attempts: list[Attempt] = []
    async with site(reset(), reply(200, b""), observer=attempts.append) as (bucket, made):
        assert (await made.client.file.upload("a.jpg", local)).checksum == SUM
    assert [request.body for request in bucket.requests] == [DATA, DATA]
    puts = [(attempt.status, attempt.failure is None) for attempt in attempts if attempt.operation == "file/upload"]
    assert puts == [(None, False), (200, True)]


@pytest.mark.parametrize("direction", ["upload", "download"])
async def test_a_kept_connection_that_breaks_is_not_made_good_behind_the_back_of_retries(
    direction: str, folder: Path
) -> None:
    async with site(reply(200, DATA), drop(), reply(200, DATA)) as (bucket, made):
        await transfer(made, direction, folder)
        error = await failure(transfer(made, direction, folder, retries=0))
    assert (type(error), len(bucket.requests)) == (ConnectionLostError, 2)


async def test_an_iterator_outlives_a_kept_connection_that_has_died() -> None:
    connections = 0
    received: list[bytes] = []

    async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await head(reader, writer)
        received.append(await reader.readexactly(len(DATA)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        if connections == 1:
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
        else:
            await reader.read()

    async with bucket_of(dying) as made:
        await made.client.file.upload("a", DATA)
        await made.client.file.upload("a", chunks(DATA[:99], DATA[99:]), size=len(DATA))
    assert (connections, received) == (2, [DATA, DATA])


async def test_an_iterator_is_sent_to_a_host_that_does_not_say_that_it_may_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ioto_async.transfer.transfer._PATIENCE", SOON)
    received = b""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        received = await reader.readexactly(len(DATA))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with bucket_of(mute) as made:
        await made.client.file.upload("a", chunks(DATA), size=len(DATA))
    assert received == DATA


async def test_an_iterator_outlives_a_url_that_has_expired() -> None:
    heads: list[bytes] = []

    async def strict(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if len(heads) == 1:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await reader.readexactly(len(DATA))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with bucket_of(strict) as made:
        done = await made.client.file.upload("a", chunks(DATA), size=len(DATA), retries=0)
    assert (done.checksum, len(heads), len(made.api.requests)) == (SUM, 2, 2)


async def test_an_upload_that_is_cut_in_the_middle_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(8 * MIB))
    connections = 0
    received = 0

    async def cut_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, received
        connections += 1
        await head(reader, writer)
        if connections <= 2:
            await reader.readexactly(MIB)
            writer.transport.abort()
            return
        received = len(await reader.readexactly(8 * MIB))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with bucket_of(cut_twice) as made:
        done = await made.client.file.upload("large", path)
    assert (done.size, received) == (8 * MIB, 8 * MIB)


@pytest.mark.parametrize("trouble", [reply(500), reply(403), reset(), drop()])
async def test_an_iterator_that_has_begun_is_never_sent_again(trouble: Step) -> None:
    async with site(trouble, reply(200, b""), reply(200, b"")) as (bucket, made):
        error = await failure(made.client.file.upload("a.jpg", chunks(DATA), size=len(DATA)))
    assert (error.attempts, len(bucket.requests), len(made.api.requests)) == (1, 1, 1)


async def test_an_iterator_that_has_not_begun_is_tried_again() -> None:
    async with RawServer() as gone:
        pass
    begun = False

    async def source() -> AsyncIterator[bytes]:
        nonlocal begun
        begun = True
        yield DATA

    async with signing(f"{gone.url}/a?{QUERY}") as made:
        error = await failure(made.client.file.upload("a.jpg", source(), size=len(DATA)))
    assert (type(error), error.attempts, begun, error.sent) == (ConnectionFailedError, 4, False, False)


async def test_a_lost_upload_may_have_worked_only_if_all_bytes_had_gone_out() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader, writer)
        await reader.readexactly(1)
        writer.transport.abort()

    async with site(reset()) as (_, made):
        whole = await failure(made.client.file.upload("a.jpg", DATA, retries=0))
    async with bucket_of(cut) as made:
        part = await failure(made.client.file.upload("a", chunks(*[bytes(MIB)] * 32), size=32 * MIB))
    assert (type(whole), whole.outcome_unknown) == (ConnectionLostError, True)
    assert (type(part), part.outcome_unknown) == (ConnectionLostError, False)


async def test_a_download_that_is_cut_in_the_middle_is_repeated_from_the_beginning(folder: Path) -> None:
    cut = reply(200, DATA[:100], length=len(DATA), close=True)
    async with site(cut, cut, reply(200, DATA)) as (bucket, made):
        done = await made.client.file.download("a.jpg", folder / "a.jpg")
    assert ((folder / "a.jpg").read_bytes(), done.checksum, len(bucket.requests)) == (DATA, SUM, 3)


async def test_a_download_that_is_always_cut_fails_and_leaves_the_old_file(folder: Path) -> None:
    (folder / "a.jpg").write_text("old")
    cut = reply(200, DATA[:100], length=len(DATA), close=True)
    async with site(*[cut] * 9) as (bucket, made):
        error = await failure(made.client.file.download("a.jpg", folder / "a.jpg", retries=2))
    assert (type(error), error.attempts, len(bucket.requests)) == (ConnectionLostError, 3, 3)
    assert (folder / "a.jpg").read_text() == "old"


@pytest.mark.parametrize("direction", ["upload", "download"])
async def test_an_expired_url_is_replaced_once(direction: str, folder: Path) -> None:
    expired = reply(403, S3_ERROR.format("AccessDenied", "Request has expired"))
    async with site(expired, reply(200, DATA)) as (bucket, made):
        done = await transfer(made, direction, folder, retries=0)
    assert done.checksum == SUM
    assert [request.query["n"] for request in bucket.requests] == ["1", "2"]


@pytest.mark.parametrize("direction", ["upload", "download"])
async def test_a_url_that_is_refused_twice_is_given_up(direction: str, folder: Path) -> None:
    expired = reply(403, S3_ERROR.format("AccessDenied", "Request has expired"))
    async with site(*[expired] * 9) as (bucket, made):
        error = await failure(transfer(made, direction, folder))
    assert (type(error), error.status, error.attempts, len(bucket.requests)) == (AuthenticationError, 403, 2, 2)
    assert str(error) == f"file/{direction}: 403 AccessDenied: Request has expired (2 attempts)"


@pytest.mark.parametrize("direction", ["upload", "download"])
async def test_a_transfer_that_always_fails_ends_with_the_last_error_and_all_attempts(
    direction: str, folder: Path
) -> None:
    seen: list[Attempt] = []
    slow = reply(503, S3_ERROR.format("SlowDown", "Please"), headers={"Retry-After": "0"})
    async with site(drop(), reply(500), slow, observer=seen.append) as (bucket, made):
        error = await failure(transfer(made, direction, folder, retries=2))
    assert str(error) == f"file/{direction}: 503 SlowDown: Please (3 attempts) (retry after 0 s)"
    assert (type(error), error.outcome_unknown, len(bucket.requests)) == (ServiceError, direction == "upload", 3)
    assert [attempt.number for attempt in seen if attempt.operation == f"file/{direction}"] == [1, 2, 3]


async def test_a_transfer_that_is_asked_to_wait_too_long_fails_with_that_wait() -> None:
    async with site(reply(503, headers={"Retry-After": "61"}), retry=RetryPolicy(elapsed=60)) as (bucket, made):
        error = await failure(made.client.file.upload("a.jpg", DATA))
    assert (error.retry_after, error.attempts, error.outcome_unknown, len(bucket.requests)) == (61.0, 1, False, 1)


async def test_another_try_of_a_transfer_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async with site(reply(500, S3_ERROR.format("InternalError", "We")), reply(200, b"")) as (_, made):
        with caplog.at_level(logging.INFO, "ioto_async"):
            await made.client.file.upload("a.jpg", DATA)
    (record,) = [record for record in caplog.records if record.name == "ioto_async"]
    assert record.getMessage() == "file/upload: retry in 0.00 s after attempt 1: InternalError: We"


@pytest.mark.parametrize("answer", [reply(400, "No such file"), reply(200, '"ftp://elsewhere.example/?x=12345678"')])
async def test_what_an_earlier_attempt_may_have_stored_is_not_forgotten_when_there_is_no_other_url(
    answer: Step,
) -> None:
    expired = reply(403, S3_ERROR.format("AccessDenied", "Request has expired"))
    async with RawServer.of(drop(), expired) as bucket:
        url = reply(200, json.dumps(f"{bucket.url}/b/a.jpg?{QUERY}"))
        async with RawServer.of(url, answer) as api, client_of(api) as client:
            error = await failure(client.file.upload("a.jpg", DATA))
    assert (type(error) in (NotFoundError, DecodeError), error.outcome_unknown) == (True, True)


class Clock:
    """The time that retries go by; nothing else sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("ioto_async.transfer.transfer.time", self)

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("moves", "attempts"), [(True, 4), (False, 1)])
async def test_the_time_in_which_bytes_move_does_not_count_against_the_budget_of_retries(
    moves: bool, attempts: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    moved = asyncio.Event()

    async def hours_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader, writer)
        clock.now += 7200
        if moves:
            moved.clear()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
            await moved.wait()
        else:
            writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")

    async with bucket_of(hours_later) as made:
        call = made.client.file.download("a.jpg", folder / "a.jpg", progress=lambda _, __: moved.set())
        error = await failure(call)
    assert error.attempts == attempts


async def transfer(made: Site, direction: str, folder: Path, **options: Any) -> Transfer:
    if direction == "upload":
        return await made.client.file.upload("a.jpg", DATA, **options)
    return await made.client.file.download("a.jpg", folder / "a.jpg", **options)


@pytest.mark.parametrize("direction", ["upload", "download"])
async def test_the_observer_is_told_of_the_url_and_of_the_transfer(direction: str, folder: Path) -> None:
    seen: list[Attempt] = []
    async with site(reply(500, S3_ERROR.format("InternalError", "We")), reply(200, DATA), observer=seen.append) as (
        _,
        made,
    ):
        await transfer(made, direction, folder)
    assert [(attempt.operation, attempt.number, attempt.status, attempt.failure) for attempt in seen] == [
        ("file/getSignedUrl", 1, 200, None),
        (f"file/{direction}", 1, 500, "InternalError: We"),
        (f"file/{direction}", 2, 200, None),
    ]


async def test_the_observer_is_told_of_what_ended_a_transfer() -> None:
    seen: list[Attempt] = []

    def progress(_: int, __: int | None) -> None:
        raise ZeroDivisionError

    async with site(reply(200, b""), observer=seen.append) as (_, made):
        with pytest.raises(ZeroDivisionError):
            await made.client.file.upload("a", bytes(MIB), progress=progress)
    assert (seen[-1].operation, seen[-1].failure) == ("file/upload", "ZeroDivisionError")


# Failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (reply(404, S3_ERROR.format("NoSuchKey", "The key &amp; all\nis gone.")), NotFoundError, "NoSuchKey: The key"),
        (reply(500, S3_ERROR.format("InternalError", "We")), ServiceError, "InternalError: We"),
        (reply(500, "plain text"), ServiceError, "plain text"),
        (reply(500, "<html>no"), ServiceError, "Scripted"),
        (reply(206, DATA), UnexpectedStatusError, ""),
    ],
)
async def test_a_reply_that_is_no_success_is_told_in_one_line(
    answer: Step, error: type[CallError], message: str, folder: Path
) -> None:
    async with site(answer) as (_, made):
        told = await failure(made.client.file.download("a.jpg", folder / "a.jpg", retries=0))
    assert type(told) is error
    assert message in told.message
    assert "\n" not in str(told)


ECHO = f"what is {SIGNATURE} or AKIA/2025/s3 in {QUERY}"
ECHOES: dict[str, Callable[[], Step]] = {
    "refusal": lambda: reply(403, S3_ERROR.format(ECHO, ECHO.replace("&", "&amp;"))),
    "failure": lambda: reply(500, ECHO),
    "redirect": lambda: reply(302, b"", headers={"Location": f"https://elsewhere.example/?{QUERY}"}),
    "no status line": lambda: Step(f"{SIGNATURE}\r\n\r\n".encode(), close=True),
    "bad header": lambda: Step(f"HTTP/1.1 200 OK\r\n{SIGNATURE}\r\n\r\n".encode(), close=True),
    "reset": reset,
    "cut": lambda: reply(200, DATA, length=10_000, close=True),
}


@pytest.mark.parametrize("direction", ["upload", "download"])
@each_row("echo", ECHOES)
async def test_no_error_shows_the_signed_url(
    direction: str, folder: Path, caplog: pytest.LogCaptureFixture, echo: Callable[[], Step]
) -> None:
    seen: list[Attempt] = []
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        async with site(echo(), echo(), echo(), observer=seen.append) as (_, made):
            error = await failure(transfer(made, direction, folder, retries=1))
    records = [record.getMessage() for record in caplog.records if record.name == "ioto_async"]
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    shown += repr(seen) + repr(records)
    assert SIGNATURE[:12] not in shown
    assert "AKIA" not in shown
    assert SIGNATURE[:12].encode() not in pickle.dumps(error)


async def test_a_deadline_begins_anew_when_something_has_moved() -> None:
    task = asyncio.current_task()
    assert task is not None
    now = asyncio.get_running_loop().time()
    deadline = Deadline(task, 10, now - 60)
    assert deadline.due < now
    deadline.put_off()
    assert deadline.due >= now + 10


async def test_a_deadline_that_is_paused_does_not_expire() -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    now = asyncio.get_running_loop().time()
    deadline = Deadline(task, 10, now)
    with deadline.paused():
        deadline.expire(now + 11)
        assert (task.cancelling(), deadline.due) == (0, now + 21)
    deadline.expire(now + 22)
    await asyncio.wait([task])
    assert task.cancelled()


async def test_the_time_that_a_disk_needs_is_not_taken_for_that_of_the_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = 10 * SOON
    loop = asyncio.get_running_loop()

    async with site(reply(200, DATA), reply(200, DATA)) as (bucket, made), RawServer.of(silent()) as nobody:
        other = made.client.with_options(api=nobody.url, token=TOKEN)

        def slow(_: int) -> None:
            # The deadlines of a client end in their order, and this one begins after that of the download.
            call = failure(other.device.get("D1", timeout=patience, retries=0))
            assert type(asyncio.run_coroutine_threadsafe(call, loop).result(GUARD)) is CallTimeoutError

        monkeypatch.setattr("ioto_async.transfer.files.os.fsync", slow)
        done = await made.client.file.download("a.jpg", folder / "a.jpg", timeout=patience)
    assert (done.checksum, len(bucket.requests)) == (SUM, 1)


def narrow(address: Any) -> socket.socket:
    """A socket that holds little: what it has taken has nearly left."""
    made = socket.socket(*address[:2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    made.setblocking(False)
    return made


async def test_an_upload_that_moves_slowly_is_seen_to_move(monkeypatch: pytest.MonkeyPatch) -> None:
    step, steps = 128 << 10, 16
    moved = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader, writer)
        for _ in range(steps):
            # Reads no more before the last of it was noticed.
            await moved.wait()
            moved.clear()
            await reader.readexactly(step)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    put_off = Deadline.put_off

    def noticed(deadline: Deadline) -> None:
        put_off(deadline)
        moved.set()

    monkeypatch.setattr(Deadline, "put_off", noticed)
    connector = aiohttp.TCPConnector(socket_factory=narrow)
    async with aiohttp.ClientSession(connector=connector) as session, bucket_of(slow, session=session) as made:
        async with asyncio.timeout(GUARD):
            done = await made.client.file.upload("a", bytes(step * steps), timeout=None)
    assert done.size == step * steps


async def test_an_upload_on_which_nothing_moves_runs_out_of_time() -> None:
    release = asyncio.Event()

    async def deaf(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await release.wait()

    async with bucket_of(deaf) as made:
        error = await failure(made.client.file.upload("a", bytes(32 * MIB), timeout=SOON, retries=0))
        release.set()
    assert (type(error), error.outcome_unknown) == (CallTimeoutError, False)
    assert "without progress" in error.message


async def test_a_download_on_which_nothing_moves_runs_out_of_time(folder: Path) -> None:
    async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader, writer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
        await reader.read()

    async with bucket_of(stuck) as made:
        error = await failure(made.client.file.download("a", folder / "a.jpg", timeout=SOON, retries=0))
    assert type(error) is CallTimeoutError
    assert "without progress" in error.message


async def test_a_source_that_gives_nothing_runs_out_of_time() -> None:
    never = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"1"
        await never.wait()

    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader, writer)
        await reader.read()

    async with bucket_of(patient) as made:
        error = await failure(made.client.file.upload("a", source(), size=2, timeout=SOON))
    assert (type(error), error.outcome_unknown) == (CallTimeoutError, False)


# Progress ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["upload", "download"])
async def test_progress_rises_and_is_complete_once_at_the_end(direction: str, folder: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    data = bytes(3 * MIB + 1)
    async with site(reply(200, data)) as (_, made):
        if direction == "upload":
            await made.client.file.upload("a", data, progress=lambda *args: seen.append(args))
        else:
            await made.client.file.download("a", folder / "a.jpg", progress=lambda *args: seen.append(args))
    assert len(seen) > 3
    assert seen == sorted(set(seen))
    assert {total for _, total in seen} == {len(data)}
    assert [done for done, total in seen if done == total] == [seen[-1][0]] == [len(data)]


@pytest.mark.parametrize("direction", ["upload", "download"])
async def test_progress_is_not_complete_where_the_transfer_fails(direction: str, folder: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    answer = (
        reply(500) if direction == "upload" else reply(200, DATA, headers={"x-amz-checksum-sha256": checksum(b"other")})
    )
    async with site(answer) as (_, made):
        await failure(transfer(made, direction, folder, retries=0, progress=lambda *args: seen.append(args)))
    assert [done for done, total in seen if done == total] == []


async def test_the_total_of_a_download_without_a_length_is_known_at_the_end(folder: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    async with site(reply(200, DATA, chunked=True)) as (_, made):
        await made.client.file.download("a", folder / "a.jpg", progress=lambda *args: seen.append(args))
    assert {total for _, total in seen[:-1]} == {None}
    assert seen[-1] == (len(DATA), len(DATA))


@pytest.mark.parametrize("direction", ["upload", "download"])
@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("trouble", [OSError("no screen"), ZeroDivisionError(), OF_ANOTHER_CALL])
async def test_what_progress_raises_ends_the_transfer(
    direction: str, at_end: bool, trouble: Exception, folder: Path
) -> None:
    calls = 0
    data = bytes(MIB)

    def progress(done: int, total: int | None) -> None:
        nonlocal calls
        if at_end == (done == total):
            calls += 1
            raise trouble

    async with site(reply(200, data), reply(200, data)) as (_, made):
        files = made.client.file
        call = (
            files.upload("a", data, progress=progress)
            if direction == "upload"
            else files.download("a", folder / "a.jpg", progress=progress)
        )
        with pytest.raises(type(trouble)) as caught:
            await call
    assert (caught.value, calls, len(made.api.requests)) == (trouble, 1, 1)
    assert str(OF_ANOTHER_CALL) == "device/get: 403 not for you"
    # When a download is told to be whole, it is in its place.
    assert len(list(folder.iterdir())) == (direction == "download" and at_end)


async def test_a_download_that_is_told_to_be_whole_is_in_its_place(folder: Path) -> None:
    there: list[tuple[bool, bool]] = []

    def progress(done: int, total: int | None) -> None:
        there.append((done == total, (folder / "a.jpg").exists()))

    async with site(reply(200, bytes(MIB))) as (_, made):
        await made.client.file.download("a", folder / "a.jpg", progress=progress)
    assert set(there) == {(False, False), (True, True)}


# Download ---------------------------------------------------------------------------------------------------------


def checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@pytest.mark.parametrize("name", [str, Path])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("data", [b"", DATA, bytes(MIB)])
async def test_a_download_is_a_get_into_a_file(
    name: Callable[[Path], Any], chunked: bool, data: bytes, folder: Path
) -> None:
    answer = reply(200, data, chunked=chunked, headers={"Content-Type": "image/jpeg"})
    async with site(answer) as (bucket, made):
        done = await made.client.file.download("a.jpg", name(folder / "a.jpg"))
    (request,) = bucket.requests
    assert (request.method, request.target, request.body) == ("GET", f"/b/a.jpg?{QUERY}&n=1", b"")
    assert (folder / "a.jpg").read_bytes() == data
    assert done == Transfer(len(data), hashlib.sha256(data).hexdigest(), "image/jpeg")


async def test_a_download_has_the_mode_of_any_new_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    async with site(reply(200, DATA)) as (_, made):
        await made.client.file.download("a.jpg", folder / "a.jpg")
    assert (folder / "a.jpg").stat().st_mode == (tmp_path / "other").stat().st_mode


async def test_the_longest_name_that_a_file_can_have_can_be_downloaded_to(tmp_path: Path) -> None:
    async with site(reply(200, DATA)) as (_, made):
        await made.client.file.download("a.jpg", tmp_path / ("x" * 255))
    assert (tmp_path / ("x" * 255)).read_bytes() == DATA


async def test_a_download_replaces_a_link_and_not_what_it_leads_to(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    (folder / "a.jpg").symlink_to(tmp_path / "other")
    async with site(reply(200, DATA)) as (_, made):
        await made.client.file.download("a.jpg", folder / "a.jpg")
    assert ((folder / "a.jpg").is_symlink(), (folder / "a.jpg").read_bytes()) == (False, DATA)
    assert (tmp_path / "other").read_text() == "other"


@pytest.mark.parametrize("comes", ["before", "after"])
async def test_a_download_to_a_pipe_is_written_through_it_once_it_is_whole(
    comes: str, folder: Path, tmp_path: Path
) -> None:
    data = bytes(MIB)
    os.mkfifo(tmp_path / "pipe")
    (folder / "a.jpg").symlink_to(tmp_path / "pipe")
    cut = reply(200, data[:100], length=len(data), close=True)
    async with site(cut, reply(200, data)) as (bucket, made):
        asked = asyncio.Event()
        download = made.client.file.download("a.jpg", folder / "a.jpg", progress=lambda _, __: asked.set())
        task = asyncio.create_task(download)
        if comes == "after":
            await asked.wait()
        got = await asyncio.to_thread((tmp_path / "pipe").read_bytes)
        assert ((await task).size, len(got), len(bucket.requests)) == (len(data), len(data), 2)
    assert (folder / "a.jpg").is_symlink()
    assert (tmp_path / "pipe").is_fifo()


async def test_a_download_to_a_pipe_that_nobody_reads_runs_out_of_time(folder: Path) -> None:
    os.mkfifo(folder / "a.jpg")
    async with site(reply(200, DATA)) as (_, made):
        error = await failure(made.client.file.download("a.jpg", folder / "a.jpg", timeout=SOON, retries=0))
    assert type(error) is CallTimeoutError
    assert (folder / "a.jpg").is_fifo()


async def test_a_download_to_a_device_leaves_it_a_device(folder: Path) -> None:
    (folder / "a.jpg").symlink_to("/dev/null")
    async with site(reply(200, DATA)) as (_, made):
        assert (await made.client.file.download("a.jpg", folder / "a.jpg")).size == len(DATA)
    assert (folder / "a.jpg").is_char_device()


async def test_a_file_that_is_kept_compressed_comes_as_it_is_kept(folder: Path) -> None:
    packed = gzip.compress(DATA)
    async with site(reply(200, packed, headers={"Content-Encoding": "gzip"})) as (_, made):
        done = await made.client.file.download("a.jpg", folder / "a.jpg", checksum=hashlib.sha256(packed).hexdigest())
    assert (done.size, (folder / "a.jpg").read_bytes()) == (len(packed), packed)


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("told", [False, True], ids=["argument", "header"])
async def test_a_wrong_checksum_leaves_what_was_there(old: str | None, told: bool, folder: Path) -> None:
    if old is not None:
        (folder / "a.jpg").write_text(old)
    other = hashlib.sha256(b"other").hexdigest()
    headers = {"x-amz-checksum-sha256": checksum(b"other")} if told else {}
    async with site(reply(200, DATA, headers=headers)) as (bucket, made):
        call = made.client.file.download("a.jpg", folder / "a.jpg", checksum=None if told else other.upper())
        error = await failure(call)
    assert isinstance(error, TransferError)
    assert (error.expected, error.actual, len(bucket.requests)) == (other, SUM, 1)
    assert [path.read_text() for path in folder.iterdir()] == ([] if old is None else [old])


@pytest.mark.parametrize("value", [checksum(DATA), f"{checksum(b'parts')}-3", "?"])
async def test_a_right_checksum_and_one_of_a_file_in_parts_are_accepted(value: str, folder: Path) -> None:
    async with site(reply(200, DATA, headers={"x-amz-checksum-sha256": value})) as (_, made):
        assert (await made.client.file.download("a.jpg", folder / "a.jpg", checksum=SUM)).checksum == SUM


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_file_that_is_too_large_is_refused(chunked: bool, folder: Path) -> None:
    async with site(reply(200, bytes(MIB), chunked=chunked), reply(200, DATA)) as (_, made):
        error = await failure(made.client.file.download("a.jpg", folder / "a.jpg", max_size=MIB - 1))
        await made.client.file.download("a.jpg", folder / "a.jpg", max_size=len(DATA))
    assert isinstance(error, TransferError)
    assert (error.expected, error.actual) == (MIB - 1, MIB)


async def test_a_reply_whose_end_cannot_be_told_from_a_cut_is_refused(folder: Path) -> None:
    endless = Step(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart", close=True)
    async with site(endless) as (_, made):
        error = await failure(made.client.file.download("a.jpg", folder / "a.jpg"))
    assert isinstance(error, TransferError)
    assert "Content-Length" in error.message


async def test_what_goes_wrong_with_the_disk_is_the_error_of_the_operating_system(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    async with site(reply(200, bytes(MIB)), reply(200, DATA)) as (bucket, made):
        with pytest.raises(FileNotFoundError):
            await made.client.file.download("a", folder / "a", progress=lambda _, __: shutil.rmtree(folder, True))
    assert len(bucket.requests) == 1


# What is left behind ----------------------------------------------------------------------------------------------


async def test_transfers_share_the_connections_of_the_client(folder: Path) -> None:
    async with site(handler=lambda _: reply(200, DATA)) as (bucket, made):
        for _ in range(3):
            await both_ways(made, folder)
    assert (bucket.connections, len(bucket.requests)) == (1, 6)


@pytest.mark.parametrize("kind", ["path", "iterator"])
async def test_an_upload_that_is_cancelled_leaves_nothing_open(kind: str, tmp_path: Path) -> None:
    closed = asyncio.Event()
    begun = asyncio.Event()
    path = tmp_path / "large"
    path.write_bytes(bytes(32 * MIB))

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader, writer)
        begun.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(MIB // 4):
                if reader.at_eof():
                    break
                await asyncio.sleep(0)
        closed.set()

    source: Any = path if kind == "path" else chunks(*[bytes(MIB)] * 32)
    async with bucket_of(deaf) as made:
        task = asyncio.create_task(made.client.file.upload("a", source, size=32 * MIB))
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert [left for left in asyncio.all_tasks() if "write_bytes" in repr(left)] == []
        async with asyncio.timeout(GUARD):
            await closed.wait()


async def test_a_download_that_is_cancelled_leaves_nothing_behind(folder: Path) -> None:
    closed = asyncio.Event()
    begun = asyncio.Event()

    async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader, writer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
        await reader.read()
        closed.set()

    async with bucket_of(stuck) as made:
        (folder / "a.jpg").write_text("old")
        call = made.client.file.download("a", folder / "a.jpg", progress=lambda _, __: begun.set())
        task = asyncio.create_task(call)
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        async with asyncio.timeout(GUARD):
            await closed.wait()
    assert [path.read_text() for path in folder.iterdir()] == ["old"]


@pytest.mark.parametrize("end", ["error", "cancellation"])
async def test_a_part_that_cannot_be_removed_does_not_hide_why_the_download_ended(
    end: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task: asyncio.Task[Transfer]

    def progress(_: int, __: int | None) -> None:
        (part,) = tmp_path.iterdir()
        part.unlink()
        part.mkdir()
        if end == "error":
            raise ZeroDivisionError
        task.cancel()

    async with site(reply(200, bytes(MIB)), reply(200, bytes(MIB))) as (bucket, made):
        task = asyncio.create_task(made.client.file.download("a", tmp_path / "a.jpg", progress=progress))
        await asyncio.wait([task])
    assert task.cancelled() or type(task.exception()) is ZeroDivisionError
    assert (task.cancelled(), len(bucket.requests)) == (end == "cancellation", 1)
    assert [record.levelname for record in caplog.records if record.name == "ioto_async"] == ["WARNING"]
    assert SIGNATURE not in caplog.text


async def test_a_download_that_is_cancelled_twice_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    opening = asyncio.Event()
    release = threading.Event()

    class Slow(FileIO):
        def __init__(self, path: Path, mode: str) -> None:
            loop.call_soon_threadsafe(opening.set)
            release.wait(GUARD)
            super().__init__(path, mode)

    monkeypatch.setattr("ioto_async.transfer.files.FileIO", Slow)
    async with site(reply(200, DATA)) as (_, made):
        task = asyncio.create_task(made.client.file.download("a", folder / "a.jpg"))
        await opening.wait()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        release.set()
        await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("borrowed", [False, True])
@pytest.mark.parametrize("direction", ["upload", "download"])
async def test_closing_the_client_ends_a_transfer_whose_reply_is_being_read(
    direction: str, borrowed: bool, folder: Path
) -> None:
    async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader, writer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
        replied.set()
        await reader.read()

    replied = asyncio.Event()
    begun = asyncio.Event()
    session = aiohttp.ClientSession()
    async with session, bucket_of(stuck, timeout=None, **({"session": session} if borrowed else {})) as made:
        options: Any = {"progress": lambda _, __: begun.set()} if direction == "download" else {}
        task = asyncio.create_task(transfer(made, direction, folder, **options))
        await (begun if direction == "download" else replied).wait()
        await made.client.aclose()
        async with asyncio.timeout(GUARD):
            await asyncio.wait([task])
        assert session.closed is False
    assert type(task.exception()) is ClientStateError
    assert "meanwhile" in str(task.exception())
    assert list(folder.iterdir()) == []


async def test_what_an_earlier_attempt_may_have_stored_is_told_when_the_client_is_closed(local: Path) -> None:
    observed = asyncio.Event()

    def seen(attempt: Attempt) -> None:
        if attempt.operation == "file/upload":
            observed.set()

    async with site(drop(), observer=seen, retry=RetryPolicy(base=0.05)) as (_, made):
        task = asyncio.create_task(made.client.file.upload("a.txt", local))
        await observed.wait()
        await made.client.aclose()
        with pytest.raises(ClientStateError, match="closed") as caught:
            await task
    assert caught.value.outcome_unknown


@contextlib.contextmanager
def flat(limit: int) -> Iterator[None]:
    """Fails where more than *limit* bytes are in use at once."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < limit


@pytest.mark.parametrize("kind", ["path", "iterator"])
async def test_the_memory_that_an_upload_needs_does_not_grow_with_the_file(kind: str, tmp_path: Path) -> None:
    size = 64 * MIB
    received = 0

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await head(reader, writer)
        while received < size:
            received += len(await reader.read(MIB // 4))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def generated() -> AsyncIterator[bytes]:
        for _ in range(256):
            yield bytes(MIB // 4)

    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(size)
    async with bucket_of(sink) as made:
        with flat(8 * MIB):
            done = await made.client.file.upload("a", path if kind == "path" else generated(), size=size)
    assert (done.size, received) == (size, size)


async def test_the_memory_that_a_download_needs_does_not_grow_with_the_file(tmp_path: Path) -> None:
    size = 64 * MIB

    async def spring(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader, writer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
        for _ in range(256):
            writer.write(bytes(MIB // 4))
            await writer.drain()

    async with bucket_of(spring) as made:
        with flat(8 * MIB):
            done = await made.client.file.download("a", tmp_path / "large")
    assert (done.size, (tmp_path / "large").stat().st_size) == (size, size)


# The embedded cloud -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def embedded(**options: Any) -> AsyncIterator[tuple[Emulator, IotoClient]]:
    async with Emulator() as emulator, client_of(emulator.api, environ=emulator.env, **options) as client:
        yield emulator, client


@pytest.mark.parametrize("kind", SOURCES)
async def test_a_file_comes_back_from_the_embedded_cloud_as_it_was_sent(kind: str, local: Path, folder: Path) -> None:
    source, options = SOURCES[kind](local)
    async with embedded() as (emulator, client):
        name = "photos/a ü+%/1.jpg"
        sent = await client.file.upload(name, source, account_id=emulator.account_id, **options)
        back = await client.file.download(name, folder / "a.jpg", account_id=emulator.account_id, checksum=SUM)
        content = (await client.file.get(name, account_id=emulator.account_id)).content
    assert sent == back == Transfer(len(DATA), SUM, "image/jpeg")
    assert (folder / "a.jpg").read_bytes() == content == DATA


async def test_an_app_comes_back_from_the_embedded_cloud(folder: Path) -> None:
    async with embedded() as (_, client):
        await client.manager.upload("old.html", b"old")
        await client.manager.upload("index.html", DATA, clean=True)
        assert (await client.manager.download("index.html", folder / "a.jpg")).mime_type == "text/html"
        error = await failure(client.manager.download("old.html", folder / "a.jpg"))
    assert type(error) is NotFoundError
    assert (folder / "a.jpg").read_bytes() == DATA


async def test_a_device_transfers_files_with_its_own_token(folder: Path) -> None:
    async with embedded() as (emulator, client):
        emulator.cloud.register_device("DEV0000001")
        emulator.cloud.claim_device("DEV0000001")
        registration = await client.builder.device.register("DEV0000001", emulator.product_token)
        device = client.with_options(token=registration.token).device
        await device.upload("log.txt", DATA, id="DEV0000001")
        assert (await device.download("log.txt", folder / "a.jpg", id="DEV0000001")).checksum == SUM


@pytest.mark.parametrize("direction", ["upload", "download"])
async def test_a_url_of_the_embedded_cloud_that_expires_meanwhile_is_replaced(direction: str, folder: Path) -> None:
    asked = 0

    def age(attempt: Attempt) -> None:
        nonlocal asked
        asked += attempt.operation == "file/getSignedUrl"
        if asked == 1:
            emulator.cloud.clock = lambda: time.time() + 3600

    async with embedded() as (emulator, client):
        await client.file.put("a.jpg", DATA)
        files = client.with_options(observer=age).file
        if direction == "upload":
            await files.upload("a.jpg", DATA)
        else:
            await files.download("a.jpg", folder / "a.jpg")
    assert asked == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault("files", status=503, headers={"Retry-After": "0"}),
        Fault("files", reset="before", times=2),
        Fault("files", truncate=True),
    ],
    ids=["status", "reset", "truncate"],
)
async def test_a_transfer_outlives_a_fault_of_the_embedded_cloud(fault: Fault, local: Path, folder: Path) -> None:
    async with embedded() as (emulator, client):
        emulator.faults.add(fault)
        await client.file.upload("a.jpg", local)
        emulator.faults.add(fault)
        assert (await client.file.download("a.jpg", folder / "a.jpg")).checksum == SUM


# Connections ------------------------------------------------------------------------------------------------------


async def test_calls_and_transfers_wait_for_the_same_connections_at_no_cost_of_their_time_out() -> None:
    hold = asyncio.Event()

    def handler(request: Request) -> Step:
        if request.method == "PUT":
            return reply(200, b"", hold=hold)
        if request.path.endswith("device/get"):
            return reply(200, {"id": "D1", "accountId": "A1"})
        return reply(200, f'"{server.url}/bucket/f?{QUERY}"')

    async with RawServer(handler=handler) as server, client_of(server, limit=1, retry=NEVER) as client:
        first = asyncio.create_task(client.file.upload("f", DATA))
        await server.until(lambda: any(request.method == "PUT" for request in server.requests))
        waiting: list[asyncio.Task[Any]] = [
            asyncio.create_task(client.device.get("D1", timeout=SOON)),
            asyncio.create_task(client.file.upload("g", DATA, timeout=SOON)),
        ]
        with pytest.raises(PoolTimeoutError) as caught:
            await client.with_options(pool_timeout=SOON).device.get("D1")
        assert (caught.value.sent, caught.value.operation) == (False, "device/get")
        assert not any(task.done() for task in waiting)
        hold.set()
        await asyncio.gather(first, *waiting)
        assert client._pool.limiter.connections.free == 1


async def test_an_upload_without_a_connection_in_time_has_an_error_of_its_own() -> None:
    async with site(pool_timeout=SOON, limit=1, retry=NEVER) as (bucket, made):
        connections = made.client._pool.limiter.connections
        signed: list[Attempt] = []

        def take(attempt: Attempt) -> None:
            signed.append(attempt)
            connections.free -= 1  # somebody else has the connection, once the URL is signed

        with pytest.raises(PoolTimeoutError) as caught:
            await made.client.with_options(observer=take).file.upload("f", DATA)
    assert (caught.value.operation, caught.value.sent, caught.value.outcome_unknown) == ("file/upload", False, False)
    assert [attempt.operation for attempt in signed] == ["file/getSignedUrl"]
    assert bucket.requests == []


async def test_the_source_of_an_upload_may_call_through_the_client_whose_only_connection_it_has() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        await client.device.get("D1")
        yield DATA

    def handler(request: Request) -> Step:
        if request.method == "PUT":
            return reply(200, b"")
        if request.path.endswith("device/get"):
            return reply(200, {"id": "D1", "accountId": "A1"})
        return reply(200, f'"{server.url}/bucket/f?{QUERY}"')

    async with RawServer(handler=handler) as server, client_of(server, limit=1) as client, asyncio.timeout(GUARD):
        await client.file.upload("f", chunks(), size=len(DATA))
        assert client._pool.limiter.connections.free == 1
