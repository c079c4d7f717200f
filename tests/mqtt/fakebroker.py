"""An MQTT broker on a raw socket that does what it is told, for what no well-behaved broker does."""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from ioto_async.emulator.state.pki import Authority
from ioto_async.models import Certificates
from ioto_async.mqtt import DeviceLink
from ioto_async.mqtt.tls import make_context
from tests.rawserver import GUARD

DEVICE = "DEV0000001"


@cache
def authority() -> Authority:
    return Authority.create()


@dataclass
class Published:
    """A message that a device has sent."""

    connection: int
    """1 for the first connection."""
    number: int
    topic: str
    payload: bytes


@dataclass
class FakeBroker:
    """Takes everything, unless told otherwise.

    Attributes:
        accept: what a connection is answered with, by its number; nothing closes it.
        granted: the codes of a SUBACK.
        on_publish: what to do with a message: "ack", "hold", "cut", or "deafen", to read no more.
        answers_pings: whether it does.
        goodbyes: how many connections the devices have ended as they should.
        pings: how many have come.
        heard: the numbers of its messages that devices have acknowledged.
    """

    accept: Callable[[int], bytes] = lambda number: connack(0)
    granted: bytes = b"\x01\x01\x01"
    on_publish: Callable[[Published], str] = lambda message: "ack"
    published: list[Published] = field(default_factory=list)
    connects: list[bytes] = field(default_factory=list)
    subscribed: list[bytes] = field(default_factory=list)
    answers_pings: bool = True
    pings: int = 0
    heard: list[int] = field(default_factory=list)
    connections: int = 0
    goodbyes: int = 0
    open: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self._changed = asyncio.Condition()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self, directory: Path) -> AsyncIterator["FakeBroker"]:
        context = self._context = server_context(directory)
        self._directory = directory
        server = await asyncio.start_server(self._serve, "localhost", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            await server.wait_closed()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(GUARD), self._changed:
            await self._changed.wait_for(condition)

    async def received(self, count: int) -> None:
        await self.until(lambda: len(self.published) >= count)

    def say(self, topic: str, payload: bytes) -> None:
        """Send a message to the newest connection."""
        head = struct.pack("!H", len(topic)) + topic.encode()
        self._writers[-1].write(packet(0x30, head + payload))

    def acknowledge(self, message: Published) -> None:
        self._writers[-1].write(puback(message.number))

    def cut(self) -> None:
        """End the newest connection."""
        self._writers[-1].transport.abort()

    def become_another(self) -> None:
        """Have a certificate that no device trusts, for the connections to come."""
        self._context.load_cert_chain(_server_pem(self._directory, Authority.create()))

    def write(self, data: bytes) -> None:
        self._writers[-1].write(data)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        number = self.connections
        self._writers.append(writer)
        try:
            await self._connection(number, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self.open -= 1
            await self._notify()

    async def _connection(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            kind, body = await _read(reader)
            if kind & 0xF0 == 0x10:
                self.connects.append(body)
                answer = self.accept(number)
                if not answer:
                    return
                writer.write(answer)
            elif kind & 0xF0 == 0x80:
                self.subscribed.append(body[2:])
                writer.write(packet(0x90, body[:2] + self.granted))
            elif kind & 0xF0 == 0xC0:
                self.pings += 1
                if self.answers_pings:
                    writer.write(packet(0xD0, b""))
            elif kind & 0xF0 == 0x40:
                self.heard += struct.unpack("!H", body)
            elif kind & 0xF0 == 0xE0:
                self.goodbyes += 1
                return
            elif kind & 0xF0 == 0x30:
                (length,) = struct.unpack_from("!H", body)
                (mid,) = struct.unpack_from("!H", body, 2 + length)
                message = Published(number, mid, body[2 : 2 + length].decode(), body[4 + length :])
                self.published.append(message)
                verdict = self.on_publish(message)
                if verdict == "cut":
                    writer.transport.abort()
                elif verdict == "deafen":
                    await self._notify()
                    await asyncio.Event().wait()
                elif verdict == "ack":
                    writer.write(puback(mid))
            await self._notify()


def _server_pem(directory: Path, issuer: Authority) -> Path:
    path = directory / "server.pem"
    path.write_text("".join(issuer.issue_server(["localhost"])))
    return path


def server_context(directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_server_pem(directory, authority()))
    context.load_verify_locations(cadata=authority().certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    return context


@contextlib.contextmanager
def openssl_server(context: ssl.SSLContext) -> Iterator[tuple[int, list[str]]]:
    """A server that says why it refuses a certificate, as OpenSSL does and asyncio does not: port, refusals."""
    refusals: list[str] = []

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            connection.settimeout(GUARD)
            try:
                context.wrap_socket(connection, server_side=True).close()
                return  # told to end by a client that it trusts
            except ssl.SSLError as error:
                refusals.append(error.reason)
            finally:
                connection.close()

    with socket.create_server(("localhost", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port, refusals
        finally:
            certs = certs_of(port)
            trusted = make_context(certs, authority().certificate)
            with socket.create_connection(("localhost", port)) as raw, contextlib.suppress(OSError):
                trusted.wrap_socket(raw, server_hostname="localhost").close()
            thread.join(GUARD)


def packet(kind: int, body: bytes) -> bytes:
    length, head = len(body), bytearray([kind])
    while True:
        length, digit = divmod(length, 128)
        head.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(head) + body


def connack(code: int) -> bytes:
    return packet(0x20, bytes([0, code]))


def puback(number: int) -> bytes:
    return packet(0x40, struct.pack("!H", number))


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        digit = (await reader.readexactly(1))[0]
        length |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return kind, await reader.readexactly(length)


def certs_of(port: int, issuer: Authority | None = None, **changes: Any) -> Certificates:
    certificate, key = (issuer or authority()).issue(DEVICE)
    members: dict[str, Any] = {
        "id": DEVICE,
        "account_id": "ACCOUNT",
        "certificate": certificate,
        "key": key,
        "endpoint": "localhost",
        "port": port,
    }
    return Certificates(**members | changes)


def link_to(broker: FakeBroker, **options: Any) -> DeviceLink:
    """A link that waits for nothing between connections."""
    certs = options.pop("certs", None) or certs_of(broker.port)
    options.setdefault("base", 0)
    options.setdefault("patience", GUARD)
    options.setdefault("timeout", GUARD)
    return DeviceLink(certs, ca=options.pop("ca", authority().certificate), **options)


@asynccontextmanager
async def connected_to(broker: FakeBroker, *, patience: float, **options: Any) -> AsyncIterator[DeviceLink]:
    """A link whose *patience* is that once it is connected, which takes as long as the machine needs."""
    async with link_to(broker, **options) as link:
        link._outbox._patience = patience
        link._options = attrs.evolve(link._options, patience=patience)
        yield link
