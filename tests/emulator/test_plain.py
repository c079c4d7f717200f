"""Plain requests, which are answered without aiohttp's server, are answered as it answers them."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioto_async.emulator import Emulator, Fault
from ioto_async.emulator.rest import plain
from ioto_async.emulator.rest.handlers import device
from ioto_async.emulator.rest.plain import Plain, parse
from tests.rawserver import GUARD
from tests.rows import each_row

from .tables import each_row_after_reset

_HEADERS: Final = {
    "Host": "cloud",
    "Authorization": "T",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "A/1 (b; c)",
    "Content-Type": "application/json",
}
_ODD: Final = {"TE": "trailers"}
"""What changes nothing but who answers."""


def request_of(
    path: str = "/tok/device/get", body: bytes = b'{"id":"D"}', headers: dict[str, str] | None = None
) -> bytes:
    every = _HEADERS | {"Content-Length": str(len(body))} | (headers or {})
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in every.items())]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


PLAIN = request_of()


@each_row(
    "data, request",
    [
        (PLAIN, Plain("/tok/device/get", "", "T", b'{"id":"D"}')),
        (PLAIN.replace(b": ", b":"), Plain("/tok/device/get", "", "T", b'{"id":"D"}')),
        (PLAIN.replace(b"Authorization", b"X-TOKEN"), Plain("/tok/device/get", "", "T", b'{"id":"D"}')),
        (request_of(headers={"X-Token": "U"}), Plain("/tok/device/get", "", "T", b'{"id":"D"}')),
        (request_of(headers={"Connection": "keep-alive"}), Plain("/tok/device/get", "", "T", b'{"id":"D"}')),
        (request_of("/device/find?limit=3&next=%7b", b""), Plain("/device/find", "limit=3&next=%7b", "T", b"")),
        (request_of(body=b"\r\n\r\n\xff"), Plain("/tok/device/get", "", "T", b"\r\n\r\n\xff")),
    ],
)
def test_a_plain_request_is_read(data: bytes, request: Plain) -> None:
    assert parse(data) == request


@each_row(
    "data",
    {
        "nothing": b"",
        "half a head": PLAIN[:40],
        "half a body": PLAIN[:-1],
        "a byte too many": PLAIN + b"x",
        "two requests": PLAIN * 2,
        "line ends of another kind": PLAIN.replace(b"\r\n", b"\n"),
        "a line end alone": PLAIN.replace(b"*/*", b"*\n*"),
        "a carriage return alone": PLAIN.replace(b"*/*", b"*\r*"),
        "a folded header": PLAIN.replace(b"*/*", b"*\r\n */*"),
        "a tab": PLAIN.replace(b"*/*", b"*\t*"),
        "a NUL": PLAIN.replace(b"*/*", b"*\0*"),
        "other characters": request_of(headers={"Accept": "\xe4"}),
        "a space before the colon": PLAIN.replace(b"Accept:", b"Accept :"),
        "a header without a colon": PLAIN.replace(b"Accept: */*", b"Accept"),
        "a header without a name": PLAIN.replace(b"Accept: */*", b": */*"),
        "a header with an odd name": PLAIN.replace(b"Accept:", b"Acc_ept:"),
        "a header twice": PLAIN.replace(b"Accept: */*", b"Accept: */*\r\naccept: a/b"),
        "two lengths": PLAIN.replace(b"Accept: */*", b"content-length: 10"),
        "no length": PLAIN.replace(b"Content-Length: 10", b"X: y"),
        "a length with a sign": PLAIN.replace(b"Length: 10", b"Length: +10"),
        "a length with zeros": PLAIN.replace(b"Length: 10", b"Length: 010"),
        "a long head": request_of(headers={"Accept": "a" * 5000}),
        "many headers": request_of(headers={f"A{number}": "b" for number in range(60)}),
        "another method": PLAIN.replace(b"POST", b"GET"),
        "another method in lower case": PLAIN.replace(b"POST", b"post"),
        "HTTP/1.0": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        "no version": PLAIN.replace(b" HTTP/1.1", b""),
        "two spaces": PLAIN.replace(b"POST ", b"POST  "),
        "no slash in front": PLAIN.replace(b"POST /", b"POST A/"),
        "a whole URL": request_of("http://cloud/tok/device/get"),
        "an escaped path": request_of("/tok/device/g%65t"),
        "dots in the path": request_of("/tok/../tok/device/get"),
        "a fragment": request_of("/tok/device/get#a"),
        "an odd query": request_of('/tok/device/get?a="'),
        "no host": PLAIN.replace(b"Host", b"Toast"),
        "another content type": request_of(headers={"Content-Type": "text/plain"}),
        "a content type with parameters": request_of(headers={"Content-Type": "application/json; charset=utf-8"}),
        **{
            name: request_of(headers={name: value})
            for name, value in {
                "Connection": "close",
                "Content-Encoding": "gzip",
                "Expect": "100-continue",
                "Origin": "https://app.ioto.test",
                "Transfer-Encoding": "chunked",
                "Upgrade": "websocket",
                **_ODD,
            }.items()
        },
    },
)
def test_what_is_not_plain_is_left_to_aiohttp(data: bytes) -> None:
    assert parse(data) is None


@attrs.define
class Raw:
    """A connection on which bytes are sent as they are."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def exchange(self, data: bytes) -> bytes:
        """Send a request and return the reply, without the second at which it was made."""
        self.writer.write(data)
        return await self.reply()

    async def reply(self) -> bytes:
        async with asyncio.timeout(GUARD):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
            assert length is not None
            return re.sub(rb"\r\nDate: [^\r]*", b"", head) + await self.reader.readexactly(int(length[1]))


@asynccontextmanager
async def connected(emu: Emulator) -> AsyncIterator[Raw]:
    host, _, port = emu.api.rpartition("//")[2].partition(":")
    raw = Raw(*await asyncio.open_connection(host, int(port)))
    try:
        yield raw
    finally:
        raw.writer.close()


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What has been left to aiohttp."""
    seen: list[bytes] = []
    hand_over = plain.Connection._hand_over

    def note(connection: plain.Connection, data: bytes) -> None:
        seen.append(data)
        hand_over(connection, data)

    monkeypatch.setattr(plain.Connection, "_hand_over", note)
    return seen


CASES: Final = {
    "a record": ("/tok/device/get", {"id": "DEV0000001"}, "token"),
    "a page": ("/tok/device/find?limit=1&a=%C3%A4", {}, "token"),
    "text": ("/test/ping", None, ""),
    "no such device": ("/tok/device/get", {"id": "D\n"}, "token"),
    "a missing member": ("/tok/device/get", {}, "token"),
    "a member of another type": ("/tok/device/get", {"id": 1}, "token"),
    "no token": ("/tok/device/get", {"id": "DEV0000001"}, ""),
    "an unknown token": ("/tok/device/get", {"id": "DEV0000001"}, "unknown"),
    "a login without an origin": ("/device/get", {"id": "DEV0000001"}, "login_token"),
    "a login's path": ("/device/get", {"id": "DEV0000001"}, "token"),
    "an unknown path": ("/tok/device/nothing", {}, "token"),
    "the Builder's": ("/api/tok/device/find", {}, "builder_token"),
    "not JSON": ("/tok/device/get", b"{", "token"),
    "a member twice": ("/tok/device/get", b'{"id":"DEV0000001","id":"DEV0000001"}', "token"),
    "a bearer": ("/tok/device/get", {"id": "DEV0000001"}, "bearer"),
    "spaces": ("/tok/device/get", b' \n{"id" : "DEV0000001"}\n', "token"),
}


def claimed(emu: Emulator) -> None:
    emu.cloud.register_device("DEV0000001")
    emu.cloud.claim_device("DEV0000001")


@each_row_after_reset("path, body, token", CASES, before=claimed)
async def test_a_request_has_the_reply_that_aiohttp_would_give(
    emu: Emulator, path: str, body: object, token: str, handed_over: list[bytes]
) -> None:
    handed_over.clear()
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    tokens = emu.info() | {"unknown": "unknown", "": "", "bearer": f"Bearer {emu.token}"}
    headers = {"Authorization": str(tokens[token])}
    async with connected(emu) as raw:
        quick = await raw.exchange(request_of(path, data, headers))
        assert len(handed_over) == (path == "/tok/device/nothing")
        slow = await raw.exchange(request_of(path, data, headers | _ODD))
    assert len(handed_over) == 1
    assert quick == slow
    assert emu.requests[-1] == emu.requests[-2]


async def test_a_handler_that_fails_is_a_500_and_the_next_request_is_answered(
    emu: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, handed_over: list[bytes]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    claimed(emu)
    good = request_of(body=b'{"id":"DEV0000001"}', headers={"Authorization": emu.token})
    async with connected(emu) as raw:
        with monkeypatch.context() as patch:
            patch.setattr(device, "own_device", fail)
            assert (await raw.exchange(good)).endswith(b"\r\n\r\nService error")
        assert (await raw.exchange(good)).startswith(b"HTTP/1.1 200 ")
    assert not handed_over
    assert [(record.message, record.exc_info is not None) for record in caplog.records] == [
        ("/tok/device/get failed", True)
    ]


async def test_a_fault_is_injected(emu: Emulator, handed_over: list[bytes]) -> None:
    emu.faults.add(Fault("device/get", status=503, body="no"))
    request = request_of(headers={"Authorization": emu.token})
    async with connected(emu) as raw:
        assert (await raw.exchange(request)).startswith(b"HTTP/1.1 503 ")
        assert (await raw.exchange(request)).startswith(b"HTTP/1.1 400 ")
    assert handed_over == [request]


@each_row_after_reset(
    "cut",
    {
        "in the head": lambda data: (data[:40], data[40:]),
        "before the body": lambda data: (data[: data.index(b"{")], data[data.index(b"{") :]),
        "in the body": lambda data: (data[:-3], data[-3:]),
        "two at once": lambda data: (data * 2, b""),
    },
)
async def test_a_request_that_comes_in_pieces_is_answered_and_so_are_two_at_once(
    emu: Emulator, cut: Callable[[bytes], tuple[bytes, bytes]], handed_over: list[bytes]
) -> None:
    handed_over.clear()
    request = request_of(headers={"Authorization": emu.token})
    first, second = cut(request)
    async with connected(emu) as raw:
        whole = await raw.exchange(request)
        assert not handed_over
        raw.writer.write(first)
        while not handed_over:  # one turn of the loop after the other, until the server has it
            await asyncio.sleep(0)
        raw.writer.write(second)
        assert await raw.reply() == whole
        if not second:
            assert await raw.reply() == whole
    assert handed_over == [first]


async def test_a_client_that_does_not_read_gets_every_reply_in_order_when_it_does(
    emu: Emulator, handed_over: list[bytes]
) -> None:
    for number in range(100):
        emu.cloud.register_device(f"DEV{number:07}")
        emu.cloud.claim_device(f"DEV{number:07}")
    headers = {"Authorization": emu.token}
    requests = [request_of("/tok/device/find", b'{"productId":"%s"}' % emu.product_token.encode(), headers)] * 1000
    async with connected(emu) as raw:
        for request in requests:
            raw.writer.write(request)
            await asyncio.sleep(0)
        while not handed_over:
            await asyncio.sleep(0)
        replies = [await raw.reply() for _ in requests]
    assert len({*replies}) == 1
    assert replies[0].startswith(b"HTTP/1.1 200 ")


async def test_a_connection_that_is_idle_is_closed(emu: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_of(headers={"Authorization": emu.token})
    monkeypatch.setattr(plain, "_IDLE", 0.02)
    async with connected(emu) as idle, asyncio.timeout(GUARD):
        assert (await idle.exchange(request)).startswith(b"HTTP/1.1 400 ")
        assert await idle.reader.read() == b""


async def test_a_cloud_that_ends_closes_its_connections() -> None:
    async with Emulator(mqtt=False) as emu, connected(emu) as raw:
        assert (await raw.exchange(request_of())).startswith(b"HTTP/1.1 403 ")
        await emu.__aexit__(None, None, None)
        async with asyncio.timeout(GUARD):
            assert await raw.reader.read() == b""


@given(st.binary(max_size=40), st.integers(0, len(PLAIN)), st.integers(0, 20))
def test_whatever_comes_is_read_or_left_to_aiohttp(noise: bytes, at: int, cut: int) -> None:
    request = parse(PLAIN[:at] + noise + PLAIN[at + cut :])
    assert request is None or (request.path.isascii() and request.path.startswith("/"))
