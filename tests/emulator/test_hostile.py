import asyncio
import gzip
import http.client
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from xml.etree import ElementTree

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from ioto_async.emulator import Emulator, EmulatorThread
from ioto_async.operations import BUILDER, IOTO

from .conftest import Post, Reply, exchange, request_bytes
from .tables import each_row_after_reset


async def refused(post: Post, body: bytes) -> str:
    reply = await post("/tok/device/find", data=body)
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "text/plain"
    assert "\n" not in reply.text
    return reply.text


NO_JSON = [
    b"{", b"}", b"{'id':1}", b'{"id":}', b'{"id":1,}', b"nonsense", b"{}{}", b"{} x", b"\xef\xbb\xbf{}",
    b'{"id":NaN}', b'{"id":Infinity}', b'{"id":-Infinity}', b'{"id":1e999}', b'{"id":01}',
    b'{"id":"\xff"}', b'{"id":"\xed\xa0\x80"}', b'{"id":"\\ud800"}', b'{"id":"\\x41"}',
    b"\0", b'{"id":"\0"}', b'{"id":"a\nb"}', b"//x\n{}",
]  # fmt: skip
NO_OBJECT = [b"[]", b'[{"id":"A"}]', b"null", b"1", b'"A"', b"true"]
TWICE = [b'{"id":"A","id":"B"}', b'{"a":{"b":1,"b":1}}', b'{"a":[{"\\u0062":1,"b":1}]}', b'{"a:":"b:","c":1,"c":1}']


@each_row_after_reset(
    "body, text",
    [
        *((body, "Body is not valid JSON") for body in NO_JSON),
        *((body, "Body must be a JSON object") for body in NO_OBJECT),
        *((body, "Body has a member twice") for body in TWICE),
        (b'{"a":"' + b"x" * 9 * 2**20 + b'"}', "Body is too large"),
    ],
)
async def test_a_body_that_is_no_json_object_or_too_large_is_refused(post: Post, body: bytes, text: str) -> None:
    assert await refused(post, body) == text


@each_row_after_reset("depth", [101, 1000, 100_000])
async def test_deep_nesting_is_refused(post: Post, depth: int) -> None:
    await refused(post, b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    await refused(post, b'{"a":' * depth + b"1" + b"}" * depth)


async def test_a_nul_in_a_text_is_only_a_text(post: Post) -> None:
    reply = await post("/tok/device/get", {"id": "A\0B"})
    assert (reply.status, reply.text) == (400, "Cannot find device")


@each_row_after_reset("number", [2**63, 2**64, 10**400, -(10**30)])
async def test_huge_numbers_do_no_harm(emu: Emulator, post: Post, number: int) -> None:
    assert (await post.register(id="DEV0000001", number=number)).status in (200, 400)


async def test_a_bomb_of_compressed_zeros_is_refused(post: Post) -> None:
    bomb = gzip.compress(b" " * 2**26)
    reply = await post("/tok/device/find", data=bomb, headers={"Content-Encoding": "gzip"})
    assert (reply.status, reply.text) == (400, "Body is too large")


@each_row_after_reset("coding", ["gzip", "deflate"])
async def test_a_body_that_is_not_compressed_as_it_says_is_refused(emu: Emulator, coding: str) -> None:
    request = request_bytes(
        "/tok/device/find", emu.token, b"nonsense", headers=f"Content-Encoding: {coding}\r\n".encode()
    )
    assert (await exchange(emu.api, request)).startswith(b"HTTP/1.1 400 ")


@each_row_after_reset("type", ["text/html", "application/x-www-form-urlencoded", "application/jsonx", "text/xml"])
async def test_another_content_type_is_refused(post: Post, type: str) -> None:
    reply = await post("/tok/device/find", {}, headers={"Content-Type": type})
    assert (reply.status, reply.text) == (400, "Content-Type must be application/json")


@each_row_after_reset(
    "data, type",
    [
        # What clients put on bytes by themselves.
        *((b"{}", type) for type in ("text/plain", "application/octet-stream", "")),
        (b"{}", "Application/JSON; charset=utf-8"),
        (b" \r\n", "application/json"),
        (b'{"a":"' + b"x" * 7 * 2**20 + b'"}', "application/json"),
        # Side by side is not deep.
        (b'{"list": [' + b"{}, " * 999 + b"{}]}", "application/json"),
    ],
)
async def test_what_can_be_taken_for_a_json_object_is(post: Post, data: bytes, type: str) -> None:
    assert (await post("/tok/device/find", data=data, headers={"Content-Type": type})).status == 200


@each_row_after_reset("id", ["' OR '1'='1", '"; DROP TABLE devices; --', "%", "_", "*", "\\"])
async def test_a_claim_id_is_never_part_of_a_statement(emu: Emulator, post: Post, id: str) -> None:
    await post.device_token()
    assert (await post("/tok/device/get", {"id": id})).text == "Cannot find device"
    assert (await post("/tok/device/find", {"id": id})).json["data"] == []
    assert (await post("/tok/device/get", {"id": "DEV0000001"})).status == 200


@each_row_after_reset("query", ["%ff", "a=%00", "limit=1&limit=2", "=", "&&", "next=%ed%a0%80", "a" * 6000, "%", "%zz"])
async def test_a_strange_query_is_answered(post: Post, query: str) -> None:
    assert (await post(f"/tok/device/find?{query}", {})).status in (200, 400)


@each_row_after_reset(
    "request_line",
    [b"GET / HTTP/1.1", b"POST * HTTP/1.1", b"POST http://evil.test/tok/device/find HTTP/1.1", b"POST /%ff%00 HTTP/1.1",
     b"POST /\xff HTTP/1.1", b"POST / HTTP/9.9", b"nonsense", b"POST /tok/device/find HTTP/1.1\r\nContent-Length: x",
     b"POST /tok/device/find HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", b"CONNECT a:1 HTTP/1.1"],
)  # fmt: skip
async def test_a_strange_request_is_refused_and_the_next_one_answered(
    emu: Emulator, post: Post, request_line: bytes
) -> None:
    reply = await exchange(emu.api, request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert reply.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert (await post("/tok/device/find", {})).status == 200


async def test_a_client_that_leaves_in_the_middle_does_no_harm(
    emu: Emulator, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    host, _, port = emu.api.rpartition("//")[2].partition(":")
    for sent in (b"", b"POST", request_bytes("/tok/device/find", emu.token, b"{}")[:-1]):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        writer.close()
        await writer.wait_closed()
    assert (await post("/tok/device/find", {})).status == 200
    assert not caplog.records


async def test_a_refusal_is_one_line_whatever_it_shows(post: Post) -> None:
    reply = await post("/tok/generic/get", {"_type": "a\nb\x00" + 10_000 * "c"})
    assert reply.status == 400
    assert reply.text.startswith('Cannot find model "a b c')
    assert reply.text.isprintable()
    assert len(reply.text) <= 500


@pytest.fixture(scope="module")
def thread() -> Iterator[EmulatorThread]:
    with EmulatorThread() as emulator:
        emulator.cloud.register_device("DEV0000001")
        emulator.cloud.claim_device("DEV0000001")
        yield emulator


def connection_to(emulator: EmulatorThread) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(emulator.api).netloc)


def call(connection: http.client.HTTPConnection, path: str, body: bytes, token: str) -> tuple[int, str]:
    connection.request("POST", path, body, {"X-Token": token, "Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read().decode()


@settings(max_examples=100, database=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_answered(thread: EmulatorThread, body: bytes) -> None:
    with closing(connection_to(thread)) as connection:
        status, text = call(connection, "/tok/device/get", body, thread.token)
    assert status == 400
    assert "\n" not in text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)
MEMBERS = sorted({field.name for operation in (*IOTO.values(), *BUILDER.values()) for field in operation.body})
BODIES = st.dictionaries(
    st.sampled_from(MEMBERS) | st.text(max_size=5),
    VALUES | st.sampled_from(["DEV0000001", "Device", "Store", "1.0.0"]),
    max_size=8,
)


# Every route ------------------------------------------------------------------------------------------------------

MALFORMED: dict[str, bytes] = {
    "no JSON": b"{",
    "JSON5": b"{id: 'A', /* all */ size: +1,}",
    "an array": b'[{"id":"A"}]',
    "null": b"null",
    "a member twice": b'{"id":"A","id":"B"}',
    "deep nesting": b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}",
    "a NUL": b'{"id":"\0"}',
    "no UTF-8": b'{"id":"\xff\xfe"}',
    "10 MB": b'{"a":"' + b"x" * 10 * 2**20 + b'"}',
}
ROUTES = [*(f"/tok/{name}" for name in IOTO), *(f"/api/tok/{name}" for name in BUILDER if BUILDER[name].tok)]


def caller_of(emu: Emulator | EmulatorThread, path: str) -> str:
    return emu.cloud.builder.token if path.startswith("/api/") else emu.token


@settings(max_examples=25, database=None)
@given(body=BODIES)
def test_any_object_is_answered_by_every_operation(thread: EmulatorThread, body: dict[str, object]) -> None:
    with closing(connection_to(thread)) as connection:
        for path in ROUTES:
            status, text = call(connection, path, json.dumps(body).encode(), caller_of(thread, path))
            assert status in (200, 400, 403) or path == "/api/tok/test/exception", (path, text)
            assert status == 200 or "\n" not in text, path


def assert_refused(reply: Reply) -> None:
    assert 400 <= reply.status < 500, reply.text
    assert reply.headers["Content-Type"].partition(";")[0] == "text/plain"
    assert reply.text
    assert reply.text.isprintable()


@each_row_after_reset("path", ROUTES)
async def test_no_operation_takes_a_malformed_body(emu: Emulator, post: Post, path: str) -> None:
    for data in MALFORMED.values():
        assert_refused(await post(path, data=data, token=caller_of(emu, path)))


@each_row_after_reset("path", ROUTES)
async def test_no_operation_takes_another_method_or_content_type(emu: Emulator, post: Post, path: str) -> None:
    token = caller_of(emu, path)
    assert_refused(await post(path, method="GET", token=token))
    assert_refused(await post(path, {}, token=token, headers={"Content-Type": "text/html"}))


@each_row_after_reset("path", ROUTES)
async def test_no_operation_has_another_one_behind_it(emu: Emulator, post: Post, path: str) -> None:
    for unknown in (f"{path}/more", f"{path}More", path.upper(), f"{path}%00", f"{path};x"):
        reply = await post(unknown, {}, token=caller_of(emu, path))
        assert_refused(reply)
        assert reply.text == "Unknown action"


async def test_registration_takes_no_malformed_body(emu: Emulator, post: Post) -> None:
    for data in MALFORMED.values():
        assert_refused(await post("/api/device/register", data=data, token=emu.product_token))


ANYTHING: list[object] = ["\0", "a\nb", "../..", 10**400, -1, [], {}, [[]], {"": ""}, True, "\U0001f600" * 300]


async def test_a_members_value_may_be_anything_but_never_breaks_an_operation(emu: Emulator, post: Post) -> None:
    names = {**{f"/tok/{name}": row for name, row in IOTO.items()}}
    names |= {f"/api/tok/{name}": row for name, row in BUILDER.items() if row.tok}
    for path, row in names.items():
        for value in ANYTHING:
            body = {field.name: value for field in row.body}
            reply = await post(path, body, token=caller_of(emu, path))
            assert reply.status in (200, 400, 403) or row.name == "test/exception", (path, value, reply.text)
            if reply.status != 200:
                assert_one_line(reply)


def assert_one_line(reply: Reply) -> None:
    assert reply.headers["Content-Type"].partition(";")[0] == "text/plain"
    assert reply.text.isprintable()


# The sign-in ------------------------------------------------------------------------------------------------------

COGNITO = {"Content-Type": "application/x-amz-json-1.1"}
TARGET = {"X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth"}


async def sign_in(emu: Emulator, session: aiohttp.ClientSession, **request: object) -> Reply:
    options: dict[str, Any] = {"method": "POST", "headers": COGNITO | TARGET, "data": b"{}"} | request
    options["data"] = io.BytesIO(options["data"])
    async with session.request(url=emu.cognito, **options) as response:
        return Reply(response.status, await response.text(), response.headers)


def assert_aws_refuses(reply: Reply) -> None:
    assert 400 <= reply.status < 500, reply.text
    assert reply.headers["Content-Type"].startswith("application/x-amz-json-1.1")
    error = json.loads(reply.text)
    assert error["__type"].endswith("Exception")
    assert isinstance(error.get("message", ""), str)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@each_row_after_reset("what", sorted(MALFORMED))
async def test_the_sign_in_refuses_a_malformed_body_as_aws_does(
    emu: Emulator, session: aiohttp.ClientSession, what: str
) -> None:
    assert_aws_refuses(await sign_in(emu, session, data=MALFORMED[what]))


@each_row_after_reset(
    "headers",
    [TARGET | {"Content-Type": "text/html"}, COGNITO, COGNITO | {"X-Amz-Target": "Other.InitiateAuth"},
     COGNITO | {"X-Amz-Target": "AWSCognitoIdentityProviderService.ListUsers"}, COGNITO | {"X-Amz-Target": "x" * 4000}],
)  # fmt: skip
async def test_the_sign_in_refuses_another_target_or_type(
    emu: Emulator, session: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    assert_aws_refuses(await sign_in(emu, session, headers=headers))


async def test_the_sign_in_is_a_post(emu: Emulator, session: aiohttp.ClientSession) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert_aws_refuses(await sign_in(emu, session, method=method, data=b""))


@each_row_after_reset("value", [None, 1, True, [], {}, "", "\0", "x" * 5000, {"USERNAME": 1}, {"USERNAME": "\ud800"}])
async def test_any_member_of_the_sign_in_is_answered(
    emu: Emulator, session: aiohttp.ClientSession, value: object
) -> None:
    good = {"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": "x", "AuthParameters": {"USERNAME": "a", "PASSWORD": "b"}}
    for name in good:
        assert_aws_refuses(await sign_in(emu, session, data=json.dumps(good | {name: value}).encode()))


# The files --------------------------------------------------------------------------------------------------------


async def signed(emu: Emulator, post: Post, command: str, **more: object) -> str:
    body = {"command": command, "filename": "a.txt", "accountId": emu.account_id} | more
    reply = await post("/tok/file/getSignedUrl", body)
    assert reply.status == 200, reply.text
    return str(reply.json)


async def transfer(session: aiohttp.ClientSession, method: str, url: str, data: bytes | None = None) -> Reply:
    async with session.request(method, URL(url, encoded=True), data=data and io.BytesIO(data)) as response:
        return Reply(response.status, await response.text(), response.headers)


def assert_s3_refuses(reply: Reply) -> None:
    assert 400 <= reply.status < 500, reply.text
    assert reply.headers["Content-Type"].partition(";")[0] == "application/xml"
    error = ElementTree.fromstring(reply.text)
    assert error.tag == "Error"
    assert error.findtext("Code")
    assert error.findtext("Message")


def spoilt(url: str) -> Iterator[str]:
    """URLs that nobody signed: each option changed or left out, another file, none."""
    parts = urlsplit(url)
    pairs = parts.query.split("&")
    for index, pair in enumerate(pairs):
        name, _, value = pair.partition("=")
        others = pairs[:index], pairs[index + 1 :]
        for changed in ([], [f"{name}="], [f"{name}={value[::-1]}x"], [f"{name}=%ff%00"], [pair, pair]):
            yield urlunsplit(parts._replace(query="&".join([*others[0], *changed, *others[1]])))
    yield urlunsplit(parts._replace(query=""))
    for path in (f"{parts.path}x", f"{parts.path}/..", f"{parts.path}%00", f"{parts.path}/../../secret"):
        yield urlunsplit(parts._replace(path=path))


@each_row_after_reset("command", ["get", "put", "delete"])
async def test_a_url_that_nobody_signed_is_refused_as_s3_does(
    emu: Emulator, post: Post, session: aiohttp.ClientSession, command: str
) -> None:
    assert (await transfer(session, "PUT", await signed(emu, post, "put"), b"x")).status == 200
    url = await signed(emu, post, command)
    method = {"get": "GET", "put": "PUT", "delete": "DELETE"}[command]
    for bad in spoilt(url):
        reply = await transfer(session, method, bad, b"x" if method == "PUT" else None)
        assert reply.status >= 400, bad
        assert_s3_refuses(reply)
    assert (await transfer(session, method, url, b"x" if method == "PUT" else None)).status in (200, 204)


@each_row_after_reset("command", ["get", "put", "delete"])
async def test_a_signed_url_is_good_for_its_own_command_alone(
    emu: Emulator, post: Post, session: aiohttp.ClientSession, command: str
) -> None:
    url = await signed(emu, post, command)
    own = {"get": "GET", "put": "PUT", "delete": "DELETE"}[command]
    for method in {"GET", "PUT", "DELETE", "POST", "PATCH"} - {own}:
        assert_s3_refuses(await transfer(session, method, url, b"x" if method in ("PUT", "POST", "PATCH") else None))


async def test_a_signed_url_ends(emu: Emulator, post: Post, session: aiohttp.ClientSession) -> None:
    emu.cloud.clock = lambda: 1000.0
    url = await signed(emu, post, "put")
    emu.cloud.clock = lambda: 10_000_000.0
    assert_s3_refuses(await transfer(session, "PUT", url, b"x"))


async def test_a_file_of_another_size_than_signed_is_refused(
    emu: Emulator, post: Post, session: aiohttp.ClientSession
) -> None:
    url = await signed(emu, post, "put", size=3)
    for data in (b"", b"ab", b"abcd", b"x" * 10 * 2**20):
        assert_s3_refuses(await transfer(session, "PUT", url, data))
    assert (await transfer(session, "PUT", url, b"abc")).status == 200


async def test_a_file_that_is_not_there_is_refused(emu: Emulator, post: Post, session: aiohttp.ClientSession) -> None:
    assert_s3_refuses(await transfer(session, "GET", await signed(emu, post, "get", filename="none.txt")))
