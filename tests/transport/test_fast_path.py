"""The fast path: what goes over it, what steps aside, and that it does what aiohttp's own requests do."""

import asyncio
import gzip
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import attrs
import pytest

from ioto_async import CallError, ConnectionFailedError, DecodeError, IotoClient, RetryPolicy, with_raw_response
from ioto_async.testing import aioresponses
from ioto_async.transport import pool
from ioto_async.transport.aiohttp_private import use_protocol
from ioto_async.transport.fast_path import FastPath
from tests.proxy import TestProxy
from tests.rawserver import GUARD, RawServer, Request, Step, client_of, drop, reply, served
from tests.rows import each_row

DEVICE = {"id": "D1"}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests that went over the fast path."""
    paths: list[str] = []
    post = FastPath.post

    def note(self: FastPath, url: Any, body: Any) -> Awaitable[Any]:
        paths.append(url.raw_path_qs)
        return post(self, url, body)

    monkeypatch.setattr(FastPath, "post", note)
    return paths


@pytest.fixture(autouse=True)
def _with_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it, though the tests may run without it."""
    monkeypatch.setattr(pool, "use_protocol", use_protocol)


# What goes over it -------------------------------------------------------------------------------------------------


async def test_plain_calls_and_their_refusals_go_over_it_from_the_first_on(taken: list[str]) -> None:
    steps = reply(200, DEVICE), reply(404, {"message": "Device not found"}), reply(200, {"data": [], "next": "c"})
    async with served(*steps) as (server, client):
        await client.device.get("D1")
        with pytest.raises(CallError, match="not found"):
            await client.device.get("D2")
        await client.device.find(limit=2, next="é &c")
    assert taken == [request.target for request in server.requests]
    assert server.requests[2].query == {"limit": "2", "next": "é &c"}
    assert server.connections == 1


@each_row(
    "name, options",
    [
        ("a token", {"token": "cloud-token"}),
        ("a token with its method", {"token": "cloud-token", "bearer": True}),
        ("a login", {"login": "access-token", "origin": "app.example"}),
        ("headers of the client", {"headers": {"X-Trace": "ü", "Accept-Language": "de"}}),
    ],
)
async def test_it_sends_what_aiohttp_would(name: str, options: dict[str, Any]) -> None:
    sent = []
    for fast_path in (True, False):
        async with served(reply(200, DEVICE), fast_path=fast_path, **options) as (server, client):
            await client.device.get("D1", account_id="A1")
        request = server.requests[0]
        headers = [(name, value.replace(str(server.port), "PORT")) for name, value in request.headers]
        sent.append((request.method, request.target, sorted(headers), request.body))
    assert sent[0] == sent[1]


# What steps aside --------------------------------------------------------------------------------------------------


async def _nothing(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    return await handler(request)


@asynccontextmanager
async def _borrowed(url: str) -> AsyncIterator[IotoClient]:
    async with aiohttp.ClientSession() as session, client_of(url, session=session) as client:
        yield client


@asynccontextmanager
async def _clone(url: str) -> AsyncIterator[IotoClient]:
    async with client_of(url) as client:
        yield client.with_options(middlewares=[_nothing])


@asynccontextmanager
async def _proxied(url: str) -> AsyncIterator[IotoClient]:
    async with TestProxy() as proxy, client_of(url, proxy=proxy.url) as client:
        yield client


@each_row(
    "name, make",
    [
        ("it is turned off", lambda url: client_of(url, fast_path=False)),
        ("a borrowed session", _borrowed),
        ("a middleware", lambda url: client_of(url, middlewares=[_nothing])),
        ("a middleware of a clone", _clone),
        ("a proxy", _proxied),
    ],
)
async def test_it_steps_aside_for_what_a_client_has(taken: list[str], name: str, make: Callable[[str], Any]) -> None:
    async with RawServer(handler=lambda _: reply(200, DEVICE)) as server, make(server.url) as client:
        for _ in range(2):
            assert (await client.device.get("D1")).id == "D1"
    assert taken == []


async def test_it_steps_aside_for_the_headers_of_a_call(taken: list[str]) -> None:
    async with served(handler=lambda _: reply(200, DEVICE)) as (server, client):
        await client.device.get("D1", headers={"X-Call": "1"})
        await client.device.get("D1")
    assert [request.header("X-Call") for request in server.requests] == ["1", None]
    assert len(taken) == 1


async def test_it_steps_aside_for_a_raw_response(taken: list[str]) -> None:
    async with served(handler=lambda _: reply(200, DEVICE)) as (server, client):
        await client.device.get("D1")
        assert (await with_raw_response(client.device.get)("D1")).record == await client.device.get("D1")
    assert (len(server.requests), len(taken), server.connections) == (3, 2, 1)


@each_row("name", ["_request", "post"])
async def test_it_steps_aside_while_a_method_of_sessions_is_patched(
    taken: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seen = []
    taken.clear()
    original = getattr(aiohttp.ClientSession, name)

    def wrapped(self: aiohttp.ClientSession, *args: Any, **options: Any) -> Any:
        seen.append(args)
        return original(self, *args, **options)

    async with served(handler=lambda _: reply(200, DEVICE)) as (_, client):
        await client.device.get("D1")
        with monkeypatch.context() as patch:
            patch.setattr(aiohttp.ClientSession, name, wrapped)
            await client.device.get("D1")
        await client.device.get("D1")
    assert (len(seen), len(taken)) == (1, 2)


async def test_it_steps_aside_while_aioresponses_answers(taken: list[str]) -> None:
    async with served(handler=lambda _: reply(200, DEVICE)) as (server, client):
        await client.device.get("D1")
        with aioresponses() as mocked:
            mocked.post(f"{server.url}/tok/device/get", payload={"id": "mocked"})
            assert (await client.device.get("D1")).id == "mocked"
        assert (await client.device.get("D1")).id == "D1"
    assert len(taken) == 2


async def test_it_steps_aside_for_a_session_that_is_traced(taken: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def note(session: Any, context: Any, params: aiohttp.TraceRequestStartParams) -> None:
        seen.append(params.url.path)

    init = aiohttp.ClientSession.__init__

    def traced(self: aiohttp.ClientSession, **options: Any) -> None:
        config = aiohttp.TraceConfig()
        config.on_request_start.append(note)
        init(self, **options, trace_configs=[config])

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", traced)  # as tracers do
    async with served(handler=lambda _: reply(200, DEVICE)) as (_, client):
        await client.device.get("D1")
    assert (seen, taken) == (["/tok/device/get"], [])


async def test_it_steps_aside_where_aiohttp_cannot_be_used_in_parts(
    taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "use_protocol", lambda *_: False)
    async with served(handler=lambda _: reply(200, DEVICE)) as (_, client):
        await client.device.get("D1")
    assert taken == []


# Connections -------------------------------------------------------------------------------------------------------


async def test_transfers_and_calls_that_step_aside_share_its_connections() -> None:
    async with served(handler=lambda _: reply(200, DEVICE)) as (server, client):
        await client.device.get("D1")
        await client.device.get("D1", headers={"X-Call": "1"})
        await client.device.get("D1")
    assert server.connections == 1


async def test_what_comes_without_being_asked_for_is_not_taken_for_a_reply() -> None:
    async def come_in() -> None:
        async with asyncio.timeout(GUARD):
            while _idle(client):
                await asyncio.sleep(0)

    unasked = reply(200, {"id": "of nobody"}).data
    async with served(Step(reply(200, DEVICE).data + b""), handler=None) as (server, client):
        server.handler = lambda _: reply(200, {"id": f"D{len(server.requests)}"})
        assert (await client.device.get("D1")).id == "D1"
        for writer in server._writers:
            writer.write(unasked)
        await come_in()
        assert (await client.device.get("D2")).id == "D2"
        assert server.connections == 2


def _idle(client: IotoClient) -> list[Any]:
    """The connections that are kept for another exchange and fit for one."""
    connector: Any = client._pool.session.connector
    kept = [protocol for connections in connector._conns.values() for protocol, _ in connections]
    return [protocol for protocol in kept if protocol.is_connected() and not protocol.should_close]


async def test_a_second_reply_in_the_same_bytes_costs_the_connection() -> None:
    both = reply(200, {"id": "D1"}).data + reply(200, {"id": "of nobody"}).data
    async with served(Step(both), reply(200, {"id": "D2"})) as (server, client):
        assert (await client.device.get("D1")).id == "D1"
        assert (await client.device.get("D2")).id == "D2"
    assert server.connections == 2


async def test_a_connection_is_given_up_where_the_reply_comes_before_all_was_sent() -> None:
    """What was not sent would be read as the beginning of the next request."""
    body = b"POST /tok/device/remove HTTP/1.1\r\n" * 300_000

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply(200, {"id": f"C{next(numbers)}"}).data)
        await ended.wait()
        writer.close()

    numbers, ended = itertools.count(1), asyncio.Event()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with client_of(url) as client:
        replies = [await client.call("x/large", {"text": body.decode()}), await client.call("x/small")]
        ended.set()
    server.close()
    await server.wait_closed()
    assert replies == [{"id": "C1"}, {"id": "C2"}]


async def test_a_refused_login_is_renewed_and_replayed_once() -> None:
    tokens = iter(["first", "second", "third"])

    async def provider() -> str:
        return next(tokens)

    def handler(request: Request) -> Step:
        return reply(200, DEVICE) if request.header("Authorization") == "second" else reply(401, "expired")

    async with served(handler=handler, login=provider, origin="app.example") as (server, client):
        client._auth.credentials.clock = lambda: len(server.requests) * 60.0
        assert (await client.device.get("D1")).id == "D1"
        assert (await client.device.get("D1")).id == "D1"
    assert [request.header("Authorization") for request in server.requests] == ["first", "second", "second"]
    assert server.connections == 1


async def test_a_call_that_must_not_be_sent_twice_notices_a_connection_that_has_just_ended() -> None:
    async with served(handler=lambda _: reply(200, DEVICE)) as (server, client):
        await client.device.get("D1")
        for writer in server._writers:
            writer.close()
        await client.device.claim("D1")
    assert [request.path for request in server.requests] == ["/tok/device/get", "/tok/device/claim"]


async def test_a_connection_that_ends_after_the_request_leaves_its_outcome_unknown() -> None:
    async with served(reply(200, DEVICE), drop()) as (_, client):
        await client.device.get("D1")
        with pytest.raises(CallError) as caught:
            await client.device.claim("D1")
    assert caught.value.outcome_unknown


async def test_no_address_is_told_as_it_always_is() -> None:
    async with client_of("http://127.0.0.1:9", retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(ConnectionFailedError, match=r"cannot connect to 127\.0\.0\.1:9: "):
            await client.device.get("D1")


async def test_a_reply_beyond_the_limit_is_refused_in_one_piece_as_well() -> None:
    async with served(handler=lambda _: reply(200, {"id": "D" * 100}), max_reply=50) as (_, client):
        with pytest.raises(DecodeError, match="more than 50 bytes"):
            await client.device.get("D1")


# The same as aiohttp -----------------------------------------------------------------------------------------------
#
# Generated replies, most of them broken somewhere, cut at random places: over both ways the same comes out, and the
# same becomes of the connection.

_STATUS: Final = [b"HTTP/1.1 200 OK"] * 12 + [
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 ",
    b"HTTP/1.1  200 OK",
    b"http/1.1 200 OK",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 200 \xc3\xbc",
    b"HTTP/1.1 200 a\tb",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 201 Created",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 301 Moved",
    b"HTTP/1.1 400 Bad",
    b"HTTP/1.1 404 Not Found",
    b"HTTP/1.1 429 Slow",
    b"HTTP/1.1 500 Broken",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
    b"HTTP/1.1 101 Switching Protocols",
    b"HTTP/2 200 OK",
    b"",
]
_FIELDS: Final = [
    b"Date: Mon, 30 Nov 2026 12:00:00 GMT",
    b"Content-Type: application/json",
    b"x-amzn-RequestId: 4a5f6f0e-4d3a-4f0b-9d53-6f2c9a4a7a51",
    b"Cache-Control: no-store",
    b"Connection: keep-alive",
    b"connection: Keep-Alive",
    b"Connection: close",
    b"Connection: keep-alive, close",
    b"Proxy-Connection: close",
    b"Connection: upgrade\r\nUpgrade: websocket",
    b"Upgrade: h2c",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: chunked",
    b"Content-Encoding: gzip",
    b"Content-Encoding: identity",
    b"Trailer: X",
    b"Set-Cookie: a=b",
    b"Empty:",
    b"Tab:\tx",
    b"Trailing: x \t",
    b"Folded: a\r\n b",
    b"Colons: a:b:c",
    b"Umlaut: \xc3\xbc",
    b"Broken: \xff",
    b"Control: a\x01b",
    b"Null: a\0b",
    b"Space : x",
    b": x",
    b"no colon",
    b"Bare: a\nX: b",
    b"Return: a\rb",
    b"Token!#$%&'*+.^_`|~: x",
    b"In(valid): x",
    b"Long: " + b"a" * 3000,
    b"TooLong: " + b"a" * 9000,
    b"\r\n".join([b"Many: x"] * 130),
]
_LENGTHS: Final = [b"Content-Length: %d"] * 12 + [
    b"content-length:%d",
    b"CONTENT-LENGTH: %d",
    b"Content-Length:  %d",
    b"Content-Length: %d ",
    b"Content-Length: 0%d",
    b"Content-Length: +%d",
    b"Content-Length: -%d",
    b"Content-Length: %d0",
    b"Content-Length: %dx",
    b"Content-Length: %d\r\nContent-Length: 3",
    b"Content-Length: %d, 3",
    b"Content-Length: 1\r\ncontent-length: %d",
    b"Content-Length:",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"",
]
_LONG: Final = b'{"id":"%b"}' % (b"D" * 3000)
_BODIES: Final = [b'{"id":"D1"}'] * 6 + [b"", b"{}", b"[]", b"not JSON", b'{"error":"no"}', _LONG]


@attrs.frozen
class Case:
    """A reply in the pieces in which it comes, and how the connection ends if that is not enough."""

    pieces: list[bytes]
    error: Exception | None

    @classmethod
    def generate(cls, source: random.Random) -> "Case":
        body = source.choice(_BODIES)
        length = source.choice(_LENGTHS)
        fields = source.sample(_FIELDS, source.choice((0, 0, 1, 2, 5)))
        if length:
            fields.insert(source.randint(0, len(fields)), length % len(body) if b"%d" in length else length)
        if any(b"chunked" in field for field in fields):
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        if any(b"gzip" in field for field in fields) and source.random() < 0.8:
            body = gzip.compress(body)
        data = b"\r\n".join([source.choice(_STATUS), *fields, b"", body])
        match source.randrange(12):
            case 0:
                data = data[: source.randint(0, len(data))]
            case 1:
                data += source.choice([b"x", b"\r\n", data])
            case 2:
                at = source.randrange(len(data) + 1)
                data = data[:at] + source.randbytes(1) + data[at + 1 :]
            case 3:
                data = data.replace(b"\r\n", b"\n", source.randint(1, 3))
        cuts = sorted(source.choices(range(len(data) + 1), k=source.choice((0, 0, 0, 1, 2, 4))))
        pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        error = source.choice([None, None, ConnectionResetError(104, "Connection reset by peer")])
        return cls([piece for piece in pieces if piece], error)


class Line(asyncio.Transport):
    """A connection whose peer answers the first request with a `Case`."""

    def __init__(self, protocol: asyncio.Protocol, case: Case) -> None:
        super().__init__()
        self._protocol = protocol
        self._pieces = list(case.pieces)
        self._error = case.error
        self._is_paused = self.is_closed = self._is_asked = False
        protocol.connection_made(self)

    def write(self, data: "bytes | bytearray | memoryview[int]") -> None:
        if bytes(data).endswith(b"}") and not self._is_asked:
            self._is_asked = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def _go_on(self) -> None:
        if self.is_closed or self._is_paused:
            return
        if self._pieces:
            self._protocol.data_received(self._pieces.pop(0))
            asyncio.get_running_loop().call_soon(self._go_on)

    def end(self) -> None:
        """Let the peer end the connection."""
        if not self.is_closed:
            self._close(self._error)

    def _close(self, error: Exception | None) -> None:
        self.is_closed = True
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

    def close(self) -> None:
        if not self.is_closed:
            self._close(None)

    abort = close

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        asyncio.get_running_loop().call_soon(self._go_on)

    def get_write_buffer_size(self) -> int:
        return 0


class Network:
    """What all connections are made by while the tests run; the last one is there to be ended."""

    case: Case
    line: Line

    async def create(self, connector: Any, *_: object) -> asyncio.Protocol:
        protocol: asyncio.Protocol = connector._factory()
        self.line = Line(protocol, self.case)
        return protocol

    async def outcome(self, case: Case, client: IotoClient) -> tuple[object, ...]:
        """What a call returns or raises, and how many connections are kept."""
        self.case = case
        calling = asyncio.ensure_future(client.call("x/y", {"a": 1}))
        for turn in range(200):
            if calling.done():
                break
            await asyncio.sleep(0)
            if turn == 100:
                self.line.end()
        found: tuple[object, ...]
        calling.cancel()  # aiohttp waits for the rest of some broken replies though the connection has ended
        try:
            found = "value", await calling
        except asyncio.CancelledError:
            found = ("waits",)
        except CallError as error:
            found = type(error), error.message, error.status, error.sent, error.outcome_unknown, error.retry_after
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        kept = len(_idle(client))
        self.line.close()
        await asyncio.sleep(0)
        connector: Any = client._pool.session.connector
        connector._conns.clear()
        return (*found, kept)


def _generated(seed: int, count: int) -> Iterator[Case]:
    source = random.Random(seed)
    return (Case.generate(source) for _ in range(count))


async def _differences(monkeypatch: pytest.MonkeyPatch, cases: Iterable[Case]) -> list[str]:
    """The replies that have another outcome over the one way than over the other."""
    network = Network()

    async def create(connector: Any, *_: object) -> asyncio.Protocol:
        return await network.create(connector)

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", create)
    differences = []
    options: dict[str, Any] = {"allow_http": True, "retry": RetryPolicy(attempts=1)}
    async with (
        client_of("http://cloud.example", **options) as fast,
        client_of("http://cloud.example", fast_path=False, **options) as ordinary,
    ):
        for number, case in enumerate(cases):
            outcomes = [await network.outcome(case, client) for client in (fast, ordinary)]
            if outcomes[0] != outcomes[1]:
                differences.append(f"{number}: {case}\n  fast:     {outcomes[0]}\n  ordinary: {outcomes[1]}")
    return differences


async def test_generated_replies_have_the_same_outcome_over_both_ways(
    monkeypatch: pytest.MonkeyPatch, taken: list[str]
) -> None:
    differences = await _differences(monkeypatch, _generated(7, 1500))
    assert not differences, "\n".join(differences[:5])
    assert len(taken) == 1500


async def test_empty_lines_after_a_reply_have_the_same_outcome_over_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"id":"D1"}'
    after = [[b"\r\n"], [b"\r", b"\n"], [b"\n\n"], [b"\r"], [b"\r\n", plain], [b"\r\nx"], [b" "]]
    differences = await _differences(monkeypatch, [Case([plain, *pieces], None) for pieces in after])
    assert not differences, "\n".join(differences)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_many_generated_replies_have_the_same_outcome_over_both_ways(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    differences = await _differences(monkeypatch, _generated(seed, 10_000))
    assert not differences, "\n".join(differences[:5])
