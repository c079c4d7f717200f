import asyncio
import gzip
import http.client
import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioto_async.emulator import Emulator, EmulatorThread
from ioto_async.operations import IOTO

from .conftest import Post, exchange, request_bytes


async def refused(post: Post, body: bytes) -> str:
    reply = await post("/tok/device/find", data=body)
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "text/plain"
    assert "\n" not in reply.text
    return reply.text


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"}", b"{'id':1}", b'{"id":}', b'{"id":1,}', b"nonsense", b"{}{}", b"{} x", b"\xef\xbb\xbf{}",
        b'{"id":NaN}', b'{"id":Infinity}', b'{"id":-Infinity}', b'{"id":1e999}', b'{"id":01}',
        b'{"id":"\xff"}', b'{"id":"\xed\xa0\x80"}', b'{"id":"\\ud800"}', b'{"id":"\\x41"}',
        b"\0", b'{"id":"\0"}', b'{"id":"a\nb"}', b"//x\n{}",
    ],
)  # fmt: skip
async def test_what_is_no_json_is_refused(post: Post, body: bytes) -> None:
    assert await refused(post, body) == "Body is not valid JSON"


@pytest.mark.parametrize("body", [b"[]", b'[{"id":"A"}]', b"null", b"1", b'"A"', b"true"])
async def test_what_is_no_object_is_refused(post: Post, body: bytes) -> None:
    assert await refused(post, body) == "Body must be a JSON object"


@pytest.mark.parametrize("body", [b'{"id":"A","id":"B"}', b'{"a":{"b":1,"b":1}}', b'{"a":[{"\\u0062":1,"b":1}]}'])
async def test_a_member_given_twice_is_refused(post: Post, body: bytes) -> None:
    assert await refused(post, body) == "Body has a member twice"


@pytest.mark.parametrize("depth", [101, 1000, 100_000])
async def test_deep_nesting_is_refused(post: Post, depth: int) -> None:
    await refused(post, b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    await refused(post, b'{"a":' * depth + b"1" + b"}" * depth)


async def test_many_members_side_by_side_are_not_deep(post: Post) -> None:
    body: dict[str, object] = {"list": [{}] * 1000}
    assert (await post("/tok/device/find", body)).status == 200


async def test_a_nul_in_a_text_is_only_a_text(post: Post) -> None:
    reply = await post("/tok/device/get", {"id": "A\0B"})
    assert (reply.status, reply.text) == (400, "Cannot find device")


@pytest.mark.parametrize("number", [2**63, 2**64, 10**400, -(10**30)])
async def test_huge_numbers_do_no_harm(emu: Emulator, post: Post, number: int) -> None:
    assert (await post.register(id="DEV0000001", number=number)).status in (200, 400)


async def test_a_huge_body_is_refused(post: Post) -> None:
    assert await refused(post, b'{"a":"' + b"x" * 9 * 2**20 + b'"}') == "Body is too large"


async def test_a_body_of_many_megabytes_is_read(post: Post) -> None:
    assert (await post("/tok/device/find", data=b'{"a":"' + b"x" * 7 * 2**20 + b'"}')).status == 200


async def test_a_bomb_of_compressed_zeros_is_refused(post: Post) -> None:
    bomb = gzip.compress(b" " * 2**26)
    reply = await post("/tok/device/find", data=bomb, headers={"Content-Encoding": "gzip"})
    assert (reply.status, reply.text) == (400, "Body is too large")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_body_that_is_not_compressed_as_it_says_is_refused(emu: Emulator, coding: str) -> None:
    request = request_bytes(
        "/tok/device/find", emu.token, b"nonsense", headers=f"Content-Encoding: {coding}\r\n".encode()
    )
    assert (await exchange(emu.api, request)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("type", ["text/html", "application/x-www-form-urlencoded", "application/jsonx", "text/xml"])
async def test_another_content_type_is_refused(post: Post, type: str) -> None:
    reply = await post("/tok/device/find", {}, headers={"Content-Type": type})
    assert (reply.status, reply.text) == (400, "Content-Type must be application/json")


@pytest.mark.parametrize("type", ["text/plain", "application/octet-stream", ""])
async def test_what_clients_put_on_bytes_by_themselves_is_taken_for_json(post: Post, type: str) -> None:
    assert (await post("/tok/device/find", {}, headers={"Content-Type": type})).status == 200


async def test_a_body_of_white_space_is_an_empty_one(post: Post) -> None:
    assert (await post("/tok/device/find", data=b" \r\n")).status == 200


async def test_a_content_type_may_name_its_charset(post: Post) -> None:
    reply = await post("/tok/device/find", {}, headers={"Content-Type": "Application/JSON; charset=utf-8"})
    assert reply.status == 200


@pytest.mark.parametrize("id", ["' OR '1'='1", '"; DROP TABLE devices; --', "%", "_", "*", "\\"])
async def test_a_claim_id_is_never_part_of_a_statement(emu: Emulator, post: Post, id: str) -> None:
    await post.device_token()
    assert (await post("/tok/device/get", {"id": id})).text == "Cannot find device"
    assert (await post("/tok/device/find", {"id": id})).json["data"] == []
    assert (await post("/tok/device/get", {"id": "DEV0000001"})).status == 200


@pytest.mark.parametrize(
    "query", ["%ff", "a=%00", "limit=1&limit=2", "=", "&&", "next=%ed%a0%80", "a" * 6000, "%", "%zz"]
)
async def test_a_strange_query_is_answered(post: Post, query: str) -> None:
    assert (await post(f"/tok/device/find?{query}", {})).status in (200, 400)


@pytest.mark.parametrize(
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


def call(emulator: EmulatorThread, path: str, body: bytes) -> tuple[int, str]:
    host, _, port = emulator.api.rpartition("//")[2].partition(":")
    connection = http.client.HTTPConnection(host, int(port))
    try:
        connection.request("POST", path, body, {"X-Token": emulator.token, "Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@settings(max_examples=100, deadline=None, database=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_answered(thread: EmulatorThread, body: bytes) -> None:
    status, text = call(thread, "/tok/device/get", body)
    assert status == 400
    assert "\n" not in text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)
MEMBERS = sorted({field.name for operation in IOTO.values() for field in operation.body})
BODIES = st.dictionaries(
    st.sampled_from(MEMBERS) | st.text(max_size=5),
    VALUES | st.sampled_from(["DEV0000001", "Device", "Store", "1.0.0"]),
    max_size=8,
)


@pytest.mark.parametrize("name", [*IOTO])
@settings(max_examples=60, deadline=None, database=None)
@given(body=BODIES)
def test_any_object_is_answered_by_every_operation(thread: EmulatorThread, name: str, body: dict[str, object]) -> None:
    status, text = call(thread, f"/tok/{name}", json.dumps(body).encode())
    assert status in (200, 400, 403), text
    assert status == 200 or "\n" not in text
