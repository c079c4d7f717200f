"""Replies that HTTP itself breaks: told as that, and not as an answer of the service."""

import gzip
from typing import Any

import aiohttp

from ioto_async import (
    BadRequestError,
    CallError,
    ConnectionLostError,
    DecodeError,
    OutcomeUnknownError,
    TokenProviderError,
)
from ioto_async.transport.cognito import CognitoLogin
from tests.rawserver import RawServer, Request, Step, client_of, reply, served
from tests.rows import each_row

OK = b"HTTP/1.1 200 OK\r\n"
END = b"Content-Length: 2\r\n\r\n{}"

BROKEN = [
    ("a header line of 9 KB", OK + b"X: " + b"a" * 9000 + b"\r\n" + END, "Got more than 8190 bytes"),
    ("two lengths", OK + b"Content-Length: 3\r\n" + END, "Content-Length"),
    ("length and chunks", OK + b"Transfer-Encoding: chunked\r\n" + END, "Content-Length"),
    ("a length of letters", OK + b"Content-Length: x\r\n\r\n{}", "Content-Length"),
    ("a length below 0", OK + b"Content-Length: -2\r\n\r\n{}", "Content-Length"),
    ("brotli", OK + b"Content-Encoding: br\r\n" + END, "content-encoding: brotli (br)"),
    ("brotli with an error", b"HTTP/1.1 503 Busy\r\nContent-Encoding: br\r\n" + END, "content-encoding: brotli (br)"),
    ("what is no gzip", OK + b"Content-Encoding: gzip\r\n" + END, "content-encoding: gzip"),
    ("chunks of letters", OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", "chunk size"),
    ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
    ("HTTP/2", b"HTTP/2 200 OK\r\n" + END, "HTTP/2"),
    ("a status of 99", b"HTTP/1.1 99 OK\r\n" + END, "99"),
]
if tuple(map(int, aiohttp.__version__.split(".")[:2])) >= (3, 14):  # older versions do not look at these
    BROKEN += [
        ("zstd", OK + b"Content-Encoding: zstd\r\n" + END, "content-encoding: zstandard (zstd)"),
        ("a header with a NUL", OK + b"X: a\0b\r\n" + END, "header"),
    ]


def step(data: bytes) -> Step:
    return Step(data, close=True)


async def error_of(calling: Any) -> CallError:
    try:
        await calling
    except CallError as error:
        return error
    raise AssertionError("it worked")


@each_row("name, data, text", BROKEN)
async def test_it_is_not_told_as_a_400_and_nothing_is_sent_again(name: str, data: bytes, text: str) -> None:
    async with served(handler=lambda _: step(data)) as (server, client):
        read = await error_of(client.device.get("D1"))
        claim = await error_of(client.device.claim("D1"))
        invoke = await error_of(client.action.invoke("Automation"))
    assert len(server.requests) == 3
    assert [type(error) for error in (read, claim, invoke)] == [DecodeError, DecodeError, OutcomeUnknownError]
    assert type(invoke.__cause__) is DecodeError
    for error in (read, claim, invoke):
        assert (error.status, error.sent) == (None, True)
        assert "not valid HTTP: " in str(error)
        assert text in str(error)
        assert "400" not in str(error)
        assert "install" not in str(error)
    assert (read.outcome_unknown, claim.outcome_unknown, invoke.outcome_unknown) == (False, True, True)


async def test_a_bulk_run_calls_such_an_item_unknown() -> None:
    async with served(handler=lambda _: step(BROKEN[0][1])) as (server, client):
        run = client.bulk(client.action.invoke, ["a", "b"])
        assert [outcome.status async for outcome in run] == ["unknown", "unknown"]
    assert len(server.requests) == 2


async def test_a_transfer_tells_it_too() -> None:
    def handler(request: Request) -> Step:
        if request.method == "POST":
            return reply(200, f'"{server.url}/bucket/f?signature=0123456789"')
        return step(BROKEN[1][1])

    async with RawServer(handler=handler) as server, client_of(server) as client:
        error = await error_of(client.file.upload("f", b"abc"))
    assert type(error) is DecodeError
    assert (error.status, error.outcome_unknown) == (None, True)
    assert [request.method for request in server.requests] == ["POST", "PUT"]


async def test_a_sign_in_tells_it_too_and_is_not_tried_again() -> None:
    async with RawServer(handler=lambda _: step(BROKEN[1][1])) as server:
        error = await error_of(CognitoLogin(server.url, "client", "user", "password")())
    assert type(error) is TokenProviderError
    assert "the reply is not valid HTTP: " in str(error)
    assert len(server.requests) == 1


@each_row(
    "name, data",
    [
        ("within the body", OK + b"Content-Length: 9\r\n\r\n{}"),
        ("within a chunk", OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}"),
        ("within the headers", OK + b"Content-Le"),
    ],
)
async def test_a_reply_that_is_cut_off_is_a_lost_connection_and_sent_again(name: str, data: bytes) -> None:
    async with served(handler=lambda _: step(data)) as (server, client):
        error = await error_of(client.device.get("D1", retries=1))
    assert type(error) is ConnectionLostError
    assert len(server.requests) == 2


async def test_a_refusal_whose_text_cannot_be_read_is_a_refusal() -> None:
    refusal = reply(400, "no gzip", headers={"Content-Encoding": "gzip"})
    async with served(refusal) as (_, client):
        error = await error_of(client.device.get("D1"))
    assert (type(error), error.status) == (BadRequestError, 400)


async def test_compression_that_was_asked_for_is_read() -> None:
    packed = reply(200, gzip.compress(b'{"id": "D1", "accountId": "A1"}'), headers={"Content-Encoding": "gzip"})
    async with served(packed) as (server, client):
        assert (await client.device.get("D1")).id == "D1"
    assert "gzip" in (server.requests[0].header("Accept-Encoding") or "")
