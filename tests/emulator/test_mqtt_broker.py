"""The broker by itself: bytes in, bytes out, and a clock that the test moves."""

import asyncio
import gc
import logging
import socket
import ssl
import threading
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Literal

import attrs
import pytest

from ioto_async.emulator.faults import Fault
from ioto_async.emulator.mqtt.broker import Broker, Grant, Message, Publication
from ioto_async.emulator.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Reader,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
    encode,
)
from ioto_async.emulator.state.mqtt_sessions import KeptSession, MqttSessions
from ioto_async.emulator.state.pki import Authority
from ioto_async.emulator.state.storage import connect
from tests.bulk.calls import until
from tests.rawserver import GUARD
from tests.rows import each_row


@attrs.define
class EchoService:
    """Lets everybody in to ``up/`` and ``down/``, and sends back what comes; only ``up/own/`` reaches its publisher."""

    received: list[Message] = attrs.Factory(list)
    kept: dict[str, tuple[bytes, int]] = attrs.Factory(dict)
    batches: list[int] = attrs.Factory(list)
    broken: bool = False
    faults: list[Fault] = attrs.Factory(list)

    def authorize(self, client_id: str, certificate: bytes) -> Grant | None:
        return Grant(("up/", "$aws/rules/x/up/"), ("down/", "up/own/"))

    def fault(self, topic: str | None) -> Fault | None:
        operation = "mqtt/connect" if topic is None else "mqtt/message"
        return self.faults.pop(0) if self.faults and self.faults[0].operation == operation else None

    def receive(self, messages: Sequence[Message], retained: Sequence[tuple[Message, int]] = ()) -> list[Message]:
        if self.broken:
            raise OSError("the disk is full")
        self.kept |= {message.topic: (message.payload, qos) for message, qos in retained}
        self.received += messages
        self.batches.append(len(messages))
        return [message._replace(topic=message.topic.replace("up/", "down/")) for message in messages]

    def retained(self, topic: str) -> tuple[bytes, int] | None:
        return self.kept.get(topic)

    def throttle(self, client_id: str, *, close: bool) -> Message:
        return Message(client_id, "down/throttle", b"")


@attrs.define
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Raw:
    """A client that sends and receives packets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._packets = Reader(2**20)
        self._got: list[Packet] = []

    def send(self, *packets: Packet) -> None:
        self.write(b"".join(map(encode, packets)))

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def get(self) -> Packet | None:
        """The next packet; None if the broker has ended the connection."""
        async with asyncio.timeout(GUARD):
            while not self._got:
                try:
                    data = await self._reader.read(65536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._got += self._packets.feed(data)
        return self._got.pop(0)

    async def rest(self) -> bytes:
        """All bytes until the broker ends the connection."""
        async with asyncio.timeout(GUARD):
            return await self._reader.read()

    async def close(self) -> None:
        self._writer.transport.abort()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Server:
    """A broker that runs, and clients of it."""

    def __init__(self, broker: Broker, service: EchoService, clock: Clock, port: int, context: ssl.SSLContext) -> None:
        self.broker = broker
        self.service = service
        self.clock = clock
        self.port = port
        self.context = context
        self._clients: list[Raw] = []

    async def open(self) -> Raw:
        client = Raw(*await asyncio.open_connection("localhost", self.port, ssl=self.context))
        self._clients.append(client)
        return client

    async def connect(self, client_id: str = "a", *, clean: bool = True, keep_alive: int = 60) -> Raw:
        client = await self.open()
        client.send(Connect(client_id, clean, keep_alive))
        self.connack = await client.get()
        return client

    async def subscribed(self, client_id: str = "a", *, clean: bool = True) -> Raw:
        client = await self.connect(client_id, clean=clean)
        client.send(Subscribe(1, (("down/#", 1),)))
        assert await client.get() == Suback(1, (1,))
        return client

    async def stop(self) -> None:
        for client in self._clients:
            await client.close()
        await self.broker.stop()


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = Authority.create()
    folder: Path = tmp_path_factory.mktemp("tls")
    made = []
    for name, pair, context in (
        ("server", authority.issue_server(["localhost"]), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)),
        ("client", authority.issue("a"), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
    ):
        (folder / name).write_text("".join(pair))
        context.load_cert_chain(folder / name)
        context.load_verify_locations(cadata=authority.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        made.append(context)
    return made[0], made[1]


@pytest.fixture
async def server(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[Server]:
    clock, service = Clock(), EchoService()
    broker = Broker(service, clock)
    port = await broker.start("127.0.0.1", 0, contexts[0])
    server = Server(broker, service, clock, port, contexts[1])
    yield server
    await server.stop()


async def test_a_message_is_acknowledged_and_then_replied_to(server: Server) -> None:
    client = await server.subscribed()
    client.send(Publish("up/x", b"1", 1, 9))
    assert [await client.get(), await client.get()] == [Puback(9), Publish("down/x", b"1", 1, 1)]


async def test_messages_that_come_together_are_stored_together(server: Server) -> None:
    client = await server.connect()
    client.send(*(Publish("up/x", b"", 1, number) for number in range(1, 51)))
    assert [await client.get() for _ in range(50)] == [Puback(number) for number in range(1, 51)]
    assert sum(server.service.batches) == 50
    assert len(server.service.batches) == 1


async def test_each_packet_is_a_tls_record_of_its_own(server: Server) -> None:
    """The vendor's agent reads wrongly where two packets have come in one record."""
    packets: list[Packet] = [
        Connect("a"),
        Subscribe(1, (("down/#", 1),)),
        *(Publish("up/x", b"%d" % number, 1, number) for number in range(1, 51)),
        Pingreq(),
    ]

    def talk() -> list[bytes]:
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=GUARD) as raw,
            server.context.wrap_socket(raw, server_hostname="localhost") as tls,
        ):
            tls.sendall(b"".join(map(encode, packets)))
            # A read gives what is in one record, or less.
            return [tls.recv(65536) for _ in range(1 + 1 + 50 + 1 + 50)]

    records = await asyncio.to_thread(talk)
    expected: list[Packet] = [
        Connack(0),
        Suback(1, (1,)),
        Pingresp(),
        *(Puback(number) for number in range(1, 51)),
        *(Publish("down/x", b"%d" % number, 1, number) for number in range(1, 51)),
    ]
    assert sorted(records) == sorted(map(encode, expected))


async def test_a_message_that_cannot_be_stored_is_not_acknowledged_and_ends_the_connection(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client, other = await server.connect(), await server.connect("b")
    server.service.broken = True
    client.send(Publish("up/x", b"", 1, 1))
    assert await client.get() is None
    assert "1 messages cannot be stored" in caplog.text
    other.send(Pingreq())
    assert await other.get() == Pingresp()


@each_row("said, given", [(60, 90), (10, 45), (0, 1800), (65535, 1800)])
async def test_a_silent_client_is_disconnected_after_half_as_much_again_as_it_said(
    server: Server, said: int, given: int
) -> None:
    client = await server.connect(keep_alive=said)
    server.clock.now += given
    server.broker.expire()
    client.send(Pingreq())
    assert await client.get() == Pingresp()
    server.clock.now += given + 1
    server.broker.expire()
    assert await client.get() is None


async def test_a_client_that_never_says_connect_is_disconnected(server: Server) -> None:
    client = await server.open()
    client.write(b"\x10")
    server.clock.now += 31
    # The broker looks by itself now and then.
    assert await client.get() is None


@each_row(
    "first, answers",
    [
        ([Publish("up/x", b"")], []),
        ([Pingreq()], []),
        ([Connect("a"), Connect("a")], [Connack(0)]),
        ([Connect("a"), Connack(0)], [Connack(0)]),
        ([Connect("a"), Pingresp()], [Connack(0)]),
        ([Connect("a"), Subscribe(1, (("down/#/x", 1),))], [Connack(0)]),
        ([Connect("a"), Publish("up/+", b"")], [Connack(0)]),
        ([Connect("a"), Subscribe(1, tuple((f"down/{number}", 1) for number in range(9)))], [Connack(0)]),
        ([Connect("a"), Publish("up/2/3/4/5/6/7/8/9", b"")], [Connack(0)]),
        ([Connect("a"), Disconnect()], [Connack(0)]),
        ([Connect("a"), Disconnect(), Publish("up/x", b"", 1, 1)], [Connack(0)]),
        ([Connect("a"), Publish("other/x", b""), Publish("up/x", b"", 1, 1)], [Connack(0)]),
        ([Connect("")], [Connack(2)]),
    ],
)
async def test_what_breaks_the_protocol_ends_the_connection(
    server: Server, first: list[Packet], answers: list[Packet]
) -> None:
    client = await server.open()
    client.send(*first)
    for answer in answers:
        assert await client.get() == answer
    assert await client.get() is None
    assert server.service.received == []


@each_row(
    "wire, answers",
    [
        ("10 0f 0006 4d5149736470 03 02 003c 0001 61", [Connack(1)]),
        ("16 03 01 02 00", []),
        (b"GET / HTTP/1.1\r\nHost: cloud.example\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n".hex(), []),
        ("10 0d 0004 4d515454 04 02 003c 0001 61 34 08 0004 75702f78 0001", [Connack(0)]),
    ],
)
async def test_what_is_not_mqtt_3_1_1_ends_the_connection(server: Server, wire: str, answers: list[Packet]) -> None:
    client = await server.open()
    client.write(bytes.fromhex(wire))
    for answer in answers:
        assert await client.get() == answer
    assert await client.get() is None


async def test_a_client_of_mqtt_5_is_refused_in_its_own_words(server: Server) -> None:
    client = await server.open()
    client.write(bytes.fromhex("10 0e 0004 4d515454 05 02 003c 00 0001 61"))
    # CONNACK: no flags, reason "Unsupported Protocol Version", no properties.
    assert await client.rest() == bytes.fromhex("20 03 00 84 00")


async def test_eight_filters_and_seven_slashes_are_allowed_as_at_aws(server: Server) -> None:
    client = await server.connect()
    filters = tuple((f"down/{number}/3/4/5/6/7/#", 1) for number in range(8))
    client.send(Subscribe(1, filters), Publish("up/2/3/4/5/6/7/8", b"", 1, 1))
    assert {await client.get(), await client.get()} == {Suback(1, (1,) * 8), Puback(1)}


async def test_what_is_to_be_retained_is_carried_out_and_so_is_such_a_will(server: Server) -> None:
    client = await server.open()
    client.send(Connect("a", will=Will("up/will", b"2", 1, retain=True)), Publish("up/x", b"1", 1, 1, retain=True))
    assert [await client.get(), await client.get()] == [Connack(0), Puback(1)]
    await client.close()
    await until(lambda: len(server.service.received) == 2)
    assert server.service.received == [Message("a", "up/x", b"1"), Message("a", "up/will", b"2")]
    assert server.service.kept == {"up/x": (b"1", 1), "up/will": (b"2", 1)}


async def test_what_was_retained_comes_with_a_new_subscription_to_its_very_topic(server: Server) -> None:
    client = await server.connect()
    client.send(Publish("up/own/x", b"1", 1, 1, retain=True), Publish("up/own/y", b"2", retain=True))
    assert await client.get() == Puback(1)
    client.send(Subscribe(2, (("up/own/+", 1), ("up/own/x", 1), ("up/own/y", 1), ("up/x", 1))))
    assert [await client.get() for _ in range(3)] == [
        Suback(2, (1, 1, 1, 0x80)),
        Publish("up/own/x", b"1", 1, 1, retain=True),
        Publish("up/own/y", b"2", 0, retain=True),
    ]
    # Again with each SUBSCRIBE, with the QoS that is granted then.
    client.send(Subscribe(3, (("up/own/x", 0),)))
    assert [await client.get(), await client.get()] == [Suback(3, (0,)), Publish("up/own/x", b"1", retain=True)]


async def test_what_a_client_publishes_and_subscribes_to_comes_back_to_it_alone(server: Server) -> None:
    client, other = await server.connect(), await server.connect("b")
    for each in (client, other):
        each.send(Subscribe(1, (("up/own/#", 1),)))
        assert await each.get() == Suback(1, (1,))
    client.send(Publish("up/own/x", b"1", 1, 7, retain=True), Publish("up/own/x", b"2"), Publish("up/x", b"3"))
    # As the subscription was there before, neither has the flag.
    assert [await client.get() for _ in range(3)] == [
        Puback(7),
        Publish("up/own/x", b"1", 1, 1),
        Publish("up/own/x", b"2"),
    ]
    for each in (client, other):
        each.send(Pingreq())
        assert await each.get() == Pingresp()


@each_row("packet", [Publish("$aws/rules/x/up/y", b"1", 1, 1, retain=True), Will("$aws/rules/x/up/y", b"1", 1, True)])
async def test_what_goes_to_topics_of_aws_cannot_be_retained(server: Server, packet: Publish | Will) -> None:
    server.service.received.clear()
    client = await server.open()
    if isinstance(packet, Will):
        client.send(Connect("a", will=packet))
        assert await client.get() == Connack(5)
    else:
        client.send(Connect("a"), packet._replace(retain=False))
        assert [await client.get(), await client.get()] == [Connack(0), Puback(1)]
        client.send(packet)
    assert await client.get() is None
    assert len(server.service.received) == isinstance(packet, Publish)
    assert server.service.kept == {}


@each_row("packet, is_told", [(4095, False), (4096, True), (20_000, True)])
async def test_a_message_that_the_agent_cannot_read_is_sent_and_the_user_told(
    server: Server, caplog: pytest.LogCaptureFixture, packet: int, is_told: bool
) -> None:
    head = len(encode(Publish("down/x", b"x" * (packet - 20), 1, 1))) - (packet - 20)
    size = packet - head
    client, other = await server.subscribed(), await server.connect("b")
    caplog.clear()
    with caplog.at_level(logging.WARNING, "ioto_async.emulator"):
        server.broker.publish("down/x", b"x" * size)
    assert await client.get() == Publish("down/x", b"x" * size, 1, 1)
    told = [record.getMessage() for record in caplog.records]
    expected = (
        f"a: a packet of {packet} bytes to down/x: the vendor's agent reads no more than 4095;"
        " it loses the message, or reconnects without end"
    )
    assert told == [expected] * is_told
    for each in (client, other):
        await each.close()


async def test_what_came_before_an_error_is_carried_out(server: Server) -> None:
    client = await server.connect()
    client.write(encode(Publish("up/x", b"1", 1, 1)) + b"\0\0")
    while await client.get() is not None:
        pass
    assert server.service.received == [Message("a", "up/x", b"1")]


async def test_qos_2_is_granted_as_1_and_a_filter_can_be_taken_back(server: Server) -> None:
    client = await server.connect()
    client.send(Subscribe(1, (("down/#", 2), ("down/a", 0), ("up/#", 0))), Unsubscribe(2, ("down/#", "down/a")))
    assert [await client.get(), await client.get()] == [Suback(1, (1, 0, 0x80)), Unsuback(2)]
    server.broker.publish("down/a", b"")
    client.send(Pingreq())
    assert await client.get() == Pingresp()


async def test_the_51st_subscription_is_refused(server: Server) -> None:
    client = await server.connect()
    client.send(*(Subscribe(number, ((f"down/{number}", 1),)) for number in range(1, 52)))
    codes = [await client.get() for _ in range(51)]
    assert codes == [*(Suback(number, (1,)) for number in range(1, 51)), Suback(51, (0x80,))]


async def test_a_message_that_was_not_acknowledged_comes_again_with_the_next_connection(server: Server) -> None:
    client = await server.subscribed(clean=False)
    assert server.connack == Connack(0)
    server.broker.publish("down/x", b"1")
    assert await client.get() == Publish("down/x", b"1", 1, 1)
    again = await server.connect(clean=False)
    assert server.connack == Connack(0, session_present=True)
    assert await again.get() == Publish("down/x", b"1", 1, 1, dup=True)
    again.send(Puback(1))
    server.broker.publish("down/x", b"2")
    assert await again.get() == Publish("down/x", b"2", 1, 2)
    assert await client.get() is None


@each_row("away, present", [(3600, True), (3601, False)])
async def test_a_session_is_kept_for_an_hour(server: Server, away: int, present: bool) -> None:
    client = await server.subscribed(clean=False)
    client.send(Disconnect())
    assert await client.get() is None
    server.clock.now += away
    server.broker.expire()
    await server.connect(clean=False)
    assert server.connack == Connack(0, session_present=present)


@pytest.fixture
def store() -> Iterator[MqttSessions]:
    """Where sessions are kept beyond a broker."""
    with closing(connect(None)) as db:
        yield MqttSessions(db, threading.RLock())


@asynccontextmanager
async def keeping(store: MqttSessions, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[Server]:
    clock, service = Clock(), EchoService()
    broker = Broker(service, clock, store)
    server = Server(broker, service, clock, await broker.start("127.0.0.1", 0, contexts[0]), contexts[1])
    yield server
    await server.stop()


async def test_a_session_outlives_its_broker_with_subscriptions_and_messages(
    store: MqttSessions, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async with keeping(store, contexts) as server:
        client = await server.subscribed(clean=False)
        client.send(Subscribe(2, (("down/off", 0), ("down/gone", 1))), Unsubscribe(3, ("down/gone", "down/#")))
        client.send(Subscribe(4, (("down/on/#", 1),)))
        for _ in range(3):
            await client.get()
        for payload in (b"1", b"2", b"3"):
            server.broker.send("down/on/x", payload, "a")
        assert [await client.get() for _ in range(3)] == [
            Publish("down/on/x", payload, 1, number) for number, payload in enumerate((b"1", b"2", b"3"), 1)
        ]
        client.send(Puback(2), Disconnect())
        assert await client.get() is None
        server.broker.publish("down/on/x", b"4")
        server.broker.publish("down/off", b"5")
        server.broker.publish("down/gone", b"6")
        await server.subscribed("clean")
    async with keeping(store, contexts) as server:
        client = await server.connect(clean=False)
        assert server.connack == Connack(0, session_present=True)
        assert [await client.get() for _ in range(3)] == [
            Publish("down/on/x", b"1", 1, 1, dup=True),
            Publish("down/on/x", b"3", 1, 3, dup=True),
            Publish("down/on/x", b"4", 1, 4),
        ]
        client.send(Puback(1), Puback(3), Puback(4), Pingreq())
        assert await client.get() == Pingresp()
        await server.connect("clean", clean=False)
        assert server.connack == Connack(0)
    assert store.load() == {"a": KeptSession({"down/off": 0, "down/on/#": 1}, []), "clean": KeptSession({}, [])}


async def test_a_retained_message_that_was_not_acknowledged_comes_again_with_its_flag(
    store: MqttSessions, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async with keeping(store, contexts) as server:
        client = await server.connect(clean=False)
        client.send(Publish("up/own/x", b"1", 1, 1, retain=True))
        assert await client.get() == Puback(1)
        client.send(Subscribe(1, (("up/own/x", 1),)))
        assert [await client.get(), await client.get()] == [
            Suback(1, (1,)),
            Publish("up/own/x", b"1", 1, 1, retain=True),
        ]
    async with keeping(store, contexts) as server:
        client = await server.connect(clean=False)
        assert await client.get() == Publish("up/own/x", b"1", 1, 1, retain=True, dup=True)
        # The session knows what it may match, though this broker has seen no SUBSCRIBE.
        client.send(Puback(1), Publish("up/own/x", b"2", 1, 9))
        assert [await client.get(), await client.get()] == [Puback(9), Publish("up/own/x", b"2", 1, 2)]


async def test_what_was_published_and_not_queued_when_the_process_ended_is_queued_by_the_next(
    store: MqttSessions, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async with keeping(store, contexts) as server:
        await server.subscribed(clean=False)
    store.push("down/x", b"1", "a")
    store.push("down/y", b"2", None)
    store.push("down/z", b"3", "other")
    async with keeping(store, contexts) as server:
        client = await server.connect(clean=False)
        expected = [Publish("down/x", b"1", 1, 1), Publish("down/y", b"2", 1, 2)]
        assert [await client.get(), await client.get()] == expected
    assert store.pushed() == []


@each_row("end", ["drop", "expire", "clean"])
async def test_a_session_that_has_ended_is_kept_nowhere(
    store: MqttSessions, contexts: tuple[ssl.SSLContext, ssl.SSLContext], end: str
) -> None:
    async with keeping(store, contexts) as server:
        client = await server.subscribed(clean=False)
        server.broker.publish("down/x", b"1")
        client.send(Disconnect())
        while await client.get() is not None:
            pass
        assert len(store.load()["a"].messages) == 1
        if end == "drop":
            server.broker.drop("a")
        elif end == "expire":
            server.clock.now += 3601
            server.broker.expire()
        else:
            await server.connect(clean=True)
        assert store.load() == {}


async def test_a_clean_connection_ends_the_session_that_was_kept(server: Server) -> None:
    await server.subscribed(clean=False)
    await server.connect(clean=True)
    assert server.connack == Connack(0)
    await server.connect(clean=False)
    assert server.connack == Connack(0)


async def test_nothing_is_kept_of_a_connection_that_keeps_no_session(server: Server) -> None:
    client = await server.subscribed(clean=True)
    await server.connect(clean=False)
    assert server.connack == Connack(0)
    assert await client.get() is None
    other = await server.subscribed("b", clean=True)
    other.send(Disconnect())
    assert await other.get() is None
    server.broker.publish("down/x", b"", "b")


async def test_a_message_for_nobody_in_particular_goes_to_all_that_subscribed(server: Server) -> None:
    first, second, third = await server.subscribed("a"), await server.subscribed("b"), await server.connect("c")
    server.broker.send("down/x", b"1")
    assert await first.get() == await second.get() == Publish("down/x", b"1", 1, 1)
    third.send(Pingreq())
    assert await third.get() == Pingresp()


async def test_a_message_that_is_too_many_is_dropped_and_the_user_told(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = await server.subscribed(clean=False)
    client.send(Disconnect())
    assert await client.get() is None
    with caplog.at_level(logging.WARNING, "ioto_async.emulator"):
        for _ in range(1001):
            server.broker.publish("down/x", b"")
    (record,) = caplog.records
    assert record.getMessage() == "a is behind; a message to down/x is dropped"


async def test_a_client_that_does_not_read_is_cut_off(server: Server) -> None:
    client = await server.connect()
    client.send(Subscribe(1, (("down/#", 0),)))
    assert await client.get() == Suback(1, (0,))
    for _ in range(400):
        server.broker.publish("down/x", b"x" * 100_000, "a")
    server.broker.publish("down/x", b"", "a")
    while await client.get() is not None:
        pass
    again = await server.connect()
    again.send(Pingreq())
    assert await again.get() == Pingresp()


async def test_a_client_that_does_not_read_is_cut_off_though_it_never_reads_again(server: Server) -> None:
    client = await server.connect()
    client.send(Subscribe(1, (("down/#", 0),)))
    assert await client.get() == Suback(1, (0,))
    for _ in range(400):
        server.broker.publish("down/x", b"x" * 100_000, "a")
    await until(lambda: not server.broker._connections)


async def test_a_silent_client_that_does_not_read_is_disconnected_all_the_same(server: Server) -> None:
    client = await server.connect()
    client.send(Subscribe(1, (("down/#", 0),)))
    assert await client.get() == Suback(1, (0,))
    (connection,) = server.broker._connections
    while connection._transport.get_write_buffer_size() < 2**20:
        server.broker.publish("down/x", b"x" * 100_000, "a")
        await asyncio.sleep(0)
    server.clock.now += 1000
    server.broker.expire()
    await until(lambda: not server.broker._connections)


async def test_a_message_that_is_held_back_is_not_stored_if_its_connection_ends_before(server: Server) -> None:
    server.service.faults = [Fault("mqtt/message", delay=0.1), Fault("mqtt/message", delay=0.1)]
    client, other = await server.connect(), await server.connect("b")
    client.send(Publish("up/x", b"1", 1, 1))
    await until(lambda: len(server.service.faults) == 1)
    server.broker.drop("a")
    assert await client.get() is None
    other.send(Publish("up/x", b"2", 1, 1))  # is held back until after the first one
    assert await other.get() == Puback(1)
    assert server.service.received == [Message("b", "up/x", b"2")]


@each_row("reset", ["before", "after"])
async def test_a_connection_can_be_cut_before_or_after_its_connect(
    server: Server, reset: Literal["before", "after"]
) -> None:
    server.service.faults = [Fault("mqtt/connect", reset=reset)]
    await server.connect()
    assert server.connack is None
    await server.connect()
    assert server.connack == Connack(0)


async def test_a_client_that_is_dropped_loses_its_session(server: Server) -> None:
    client = await server.subscribed(clean=False)
    server.broker.send("down/last", b"", "a")
    server.broker.drop("a")
    assert await client.get() == Publish("down/last", b"", 1, 1)
    assert await client.get() is None
    await server.connect(clean=False)
    assert server.connack == Connack(0)


async def test_a_broker_stops_while_somebody_is_in_the_middle_of_a_handshake(server: Server) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(GUARD):
        await server.broker.stop()
    writer.close()


async def test_a_handshake_that_takes_until_after_the_end_gives_no_connection(server: Server) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = server.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await reader.read(65536))
    await server.broker.stop()
    writer.write(outgoing.read())
    async with asyncio.timeout(GUARD):
        with suppress(ConnectionError):
            while await reader.read(65536):
                pass
        await until(lambda: not server.broker._connections)
    writer.close()


async def test_what_was_not_stored_before_the_end_is_not_stored_after_it(server: Server) -> None:
    client = await server.connect()
    server.broker.receive(Publication(None, Message("a", "up/x", b""), 0, 1, False, None))
    await server.broker.stop()
    assert await client.get() is None
    assert server.service.received == []


async def test_a_broker_that_has_stopped_is_forgotten(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    broker = Broker(EchoService(), Clock())
    await broker.start("127.0.0.1", 0, contexts[0])
    await broker.stop()
    gone = weakref.ref(broker)
    del broker
    gc.collect()
    assert gone() is None


async def test_a_broker_that_stops_ends_all_connections(server: Server) -> None:
    client = await server.connect()
    await server.broker.stop()
    assert await client.get() is None
    with pytest.raises(ConnectionError):
        await server.open()
