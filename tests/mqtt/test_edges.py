"""What a device link does with a broker that is away, refuses, falls silent or talks nonsense."""

import asyncio
import gc
import json
import logging
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from ioto_async.bulk import Bulk
from ioto_async.emulator.state.pki import Authority
from ioto_async.errors import (
    AuthenticationError,
    CallTimeoutError,
    ClientStateError,
    ConnectionFailedError,
    ConnectionLostError,
    InvalidArgumentError,
    OutcomeUnknownError,
    RateLimitedError,
)
from ioto_async.mqtt import DeviceLink, EventsLost, RawMessage, Throttle
from ioto_async.mqtt.connection import Connection, dial
from ioto_async.mqtt.tls import make_context
from ioto_async.operations import Kind
from tests.rawserver import GUARD
from tests.rows import each_row

from .fakebroker import (
    DEVICE,
    FakeBroker,
    Published,
    authority,
    certs_of,
    connack,
    connected_to,
    link_to,
    openssl_server,
    packet,
    server_context,
)

SHORT = 0.1
"""Seconds that are meant to pass."""


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[FakeBroker]:
    async with FakeBroker().running(tmp_path) as broker:
        yield broker


def first(verdict: str, then: str = "ack") -> Callable[[Published], str]:
    """Treat the messages of the first connection otherwise than those of the next."""
    return lambda message: verdict if message.connection == 1 else then


# The connection -------------------------------------------------------------------------------------------------------


async def test_a_device_connects_with_its_id_in_version_3_1_1_and_listens_to_its_topics(broker: FakeBroker) -> None:
    async with link_to(broker, keepalive=30) as link:
        assert link.is_connected
    connect = broker.connects[0]
    assert connect == b"\x00\x04MQTT\x04\x02\x00\x1e" + len(DEVICE).to_bytes(2, "big") + DEVICE.encode()
    for topic in (f"ioto/device/{DEVICE}/#", "ioto/account/all/#", "ioto/account/ACCOUNT/#"):
        assert topic.encode() + b"\x01" in broker.subscribed[0]


async def test_a_small_message_does_not_wait_for_the_acknowledgement_of_another(broker: FakeBroker) -> None:
    with await dial("localhost", broker.port, make_context(certs_of(broker.port), authority().certificate)) as secure:
        assert secure.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_sample_is_sent_to_the_topic_of_the_rule(broker: FakeBroker) -> None:
    async with link_to(broker) as link:
        await link.set_metric("RANDOM", 4.2, buffer={"elapsed": 0})
    [message] = broker.published
    assert message.topic == f"$aws/rules/IotoDevice/ioto/service/{DEVICE}/metric/set"
    assert json.loads(message.payload)["value"] == 4.2


@pytest.mark.parametrize("code", [2, 4, 5])
async def test_a_broker_that_turns_the_device_away_is_not_asked_again(broker: FakeBroker, code: int) -> None:
    broker.accept = lambda number: connack(code)
    with pytest.raises(AuthenticationError, match="mqtt/connect: the broker refuses the connection") as caught:
        await link_to(broker).__aenter__()
    assert not caught.value.outcome_unknown
    assert broker.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        connack(3),
        b"",
        b"HTTP/1.1 400 Bad Request\r\n" + b"X" * 200,
        b"\x20\xff\xff\xff\xff\xff",
        b"\x20\x00",
        packet(0x40, b"\x00\x01") + packet(0x00, b""),
    ],
    ids=["unavailable", "cut", "http", "length", "empty", "other"],
)
async def test_a_broker_that_is_not_itself_is_asked_again(broker: FakeBroker, answer: bytes) -> None:
    broker.accept = lambda number: connack(0) if number == 3 else answer
    async with link_to(broker) as link:
        await link.ping()
    assert broker.connections == 3


async def test_a_broker_that_never_answers_a_connection_is_asked_again(broker: FakeBroker) -> None:
    broker.accept = lambda number: connack(0) if number >= 2 else packet(0xD0, b"")
    async with link_to(broker, timeout=SHORT) as link:
        await link.ping()
    assert broker.connections >= 2  # a busy machine may need more time for one


async def test_a_broker_that_never_answers_is_named_when_patience_ends(broker: FakeBroker) -> None:
    broker.accept = lambda number: packet(0xD0, b"")
    with pytest.raises(ConnectionFailedError, match=r"the broker has not accepted the connection within 0\.1 s"):
        await link_to(broker, timeout=SHORT, patience=10 * SHORT).__aenter__()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_certificate_of_somebody_else_is_refused_for_good(tmp_path: Path, newest: ssl.TLSVersion) -> None:
    # With TLS 1.3 the refusal comes after the handshake, and meets what the device has written by then: time and again.
    context = server_context(tmp_path)
    context.maximum_version = newest
    for _ in range(10):
        with openssl_server(context) as (port, refusals):
            link = DeviceLink(certs_of(port, Authority.create()), ca=authority().certificate, base=0, patience=GUARD)
            with pytest.raises(AuthenticationError, match="does not take the certificate of the device"):
                await link.__aenter__()
        assert len(refusals) == 1


async def test_a_refusal_is_read_although_writing_has_failed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openssl_server(server_context(tmp_path)) as (port, refusals):

        def too_late(socket: ssl.SSLSocket, data: bytes) -> int:
            deadline = time.monotonic() + GUARD
            while not refusals and time.monotonic() < deadline:  # the refusal is on its way before it is noted
                pass
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol")

        monkeypatch.setattr(ssl.SSLSocket, "send", too_late)
        link = DeviceLink(certs_of(port, Authority.create()), ca=authority().certificate, base=0, patience=GUARD)
        with pytest.raises(AuthenticationError, match="does not take the certificate of the device"):
            await link.__aenter__()
    assert len(refusals) == 1


async def test_a_broker_that_cannot_be_trusted_gets_nothing(broker: FakeBroker) -> None:
    with pytest.raises(ConnectionFailedError, match="the certificate of the broker cannot be trusted"):
        await link_to(broker, ca=Authority.create().certificate).__aenter__()
    assert broker.connects == []


async def test_a_broker_that_does_not_let_the_device_listen_is_not_asked_again(broker: FakeBroker) -> None:
    broker.granted = b"\x80\x01\x01"
    with pytest.raises(AuthenticationError, match=f"listen to ioto/device/{DEVICE}/#"):
        await link_to(broker).__aenter__()


async def test_a_broker_that_does_not_say_whether_the_device_may_listen_is_asked_again(broker: FakeBroker) -> None:
    broker.granted = b""

    def answer(number: int) -> bytes:
        broker.granted = b"\x01\x01\x01" if number == 2 else b""
        return connack(0)

    broker.accept = answer
    async with link_to(broker) as link:
        await link.ping()
    assert broker.connections == 2


async def test_topics_of_accounts_are_not_needed(broker: FakeBroker) -> None:
    broker.granted = b"\x01\x80\x80"
    async with link_to(broker) as link:
        await link.ping()


async def test_an_unreachable_broker_is_tried_until_patience_ends() -> None:
    certs = certs_of(1)
    link = DeviceLink(certs, ca=authority().certificate, patience=SHORT, base=0)
    with pytest.raises(ConnectionFailedError, match=r"no connection within 0\.1 s") as caught:
        await link.__aenter__()
    assert not caught.value.sent
    assert await tasks() == set()


async def test_the_end_of_an_accepted_connection_is_seen_at_once(broker: FakeBroker) -> None:
    broker.on_publish = first("hold")
    async with link_to(broker) as link:
        sample = asyncio.ensure_future(link.set_metric("T", 1))
        await broker.received(1)
        assert link.is_connected
        broker.accept = lambda number: connack(3)
        broker.cut()
        await broker.until(lambda: broker.connections >= 2)
        assert not link.is_connected
        sample.cancel()


@pytest.mark.parametrize("endpoint", ["x" * 64 + ".com", ".localhost"])
async def test_an_endpoint_that_is_no_name_of_a_host_is_not_tried_again(endpoint: str) -> None:
    with pytest.raises(ConnectionFailedError, match="is no name of a host"):
        await DeviceLink(certs_of(1, endpoint=endpoint), ca=authority().certificate, patience=GUARD).__aenter__()


# Messages -------------------------------------------------------------------------------------------------------------


async def test_what_was_not_acknowledged_is_sent_again_before_all_else_and_in_order(broker: FakeBroker) -> None:
    broker.on_publish = first("hold")
    async with link_to(broker, window=3) as link:
        samples = [asyncio.ensure_future(link.set_metric("T", number)) for number in range(6)]
        await broker.received(3)
        broker.cut()
        await asyncio.gather(*samples)
    values = [(message.connection, json.loads(message.payload)["value"]) for message in broker.published]
    assert values == [(1, 0), (1, 1), (1, 2), *[(2, number) for number in range(6)]]


async def test_what_was_acknowledged_is_not_sent_again(broker: FakeBroker) -> None:
    broker.on_publish = lambda message: "cut" if b'"value":2' in message.payload and message.connection == 1 else "ack"
    async with link_to(broker, window=1) as link:
        for number in (1, 2, 3):
            await link.set_metric("T", number, dimensions=[{}])
    values = [json.loads(message.payload)["value"] for message in broker.published]
    assert values == [1, 2, 2, 3]


async def test_no_more_than_the_window_is_under_way(broker: FakeBroker) -> None:
    broker.on_publish = lambda message: "hold"
    async with link_to(broker, window=2) as link:
        samples = [asyncio.ensure_future(link.set_metric("T", number)) for number in range(5)]
        for count in range(2, 6):
            await broker.received(count)
            assert len(broker.published) == count
            broker.acknowledge(broker.published[count - 2])
        broker.acknowledge(broker.published[4])
        await asyncio.gather(*samples)


async def test_a_silent_connection_is_given_up_and_its_messages_are_sent_again(broker: FakeBroker) -> None:
    broker.on_publish = first("hold")
    async with link_to(broker, timeout=SHORT) as link:
        await link.set_metric("T", 1)
    held, *again = [message.connection for message in broker.published]
    assert again
    assert held < min(again)


async def test_a_sample_whose_fate_is_not_known_says_so_when_patience_ends(broker: FakeBroker) -> None:
    broker.on_publish = lambda message: "hold"
    async with connected_to(broker, patience=SHORT) as link:
        with pytest.raises(OutcomeUnknownError, match="metric/set: sent, but whether it worked is not known") as caught:
            await link.set_metric("T", 1)
    assert caught.value.outcome_unknown
    assert caught.value.sent
    assert isinstance(caught.value.__cause__, ConnectionFailedError)


async def test_what_may_be_repeated_is_a_lost_connection_when_patience_ends(broker: FakeBroker) -> None:
    broker.on_publish = lambda message: "hold"
    async with connected_to(broker, patience=SHORT) as link:
        with pytest.raises(ConnectionLostError, match="store/set") as caught:
            await link.set_store("key", 1)
        assert caught.value.outcome_unknown
        with pytest.raises(ConnectionLostError, match="test/ping") as lost:
            await link.ping()
        assert not lost.value.outcome_unknown


async def test_a_sample_that_was_never_sent_says_so_when_patience_ends(broker: FakeBroker) -> None:
    async with connected_to(broker, patience=SHORT) as link:
        broker.accept = lambda number: connack(3)
        broker.cut()
        await broker.until(lambda: broker.connections >= 2)
        with pytest.raises(ConnectionFailedError, match="Server unavailable") as caught:
            await link.set_metric("T", 1)
        assert not caught.value.sent
        assert not caught.value.outcome_unknown


async def test_a_link_goes_on_after_patience_has_ended_for_a_call(broker: FakeBroker) -> None:
    broker.on_publish = lambda message: "hold" if len(broker.published) == 1 else "ack"
    async with connected_to(broker, patience=SHORT) as link:
        with pytest.raises(OutcomeUnknownError):
            await link.set_metric("T", 1)
        await link.set_metric("T", 2)


async def test_acknowledgements_keep_those_who_wait_patient(broker: FakeBroker) -> None:
    # Each takes nearly as long as patience, and all together many times as long.
    async def later(message: Published) -> None:
        await asyncio.sleep(SHORT)
        broker.acknowledge(message)

    answers = []

    def slow(message: Published) -> str:
        answers.append(asyncio.ensure_future(later(message)))
        return "hold"

    broker.on_publish = slow
    async with connected_to(broker, window=1, patience=10 * SHORT) as link:
        await asyncio.gather(*[link.set_metric("T", number) for number in range(14)])
    assert len(broker.published) == 14


async def test_a_device_that_is_turned_away_later_ends_all_calls(broker: FakeBroker) -> None:
    broker.on_publish = lambda message: "hold"
    async with link_to(broker, window=1) as link:
        flying = asyncio.ensure_future(link.set_metric("T", 1))
        waiting = asyncio.ensure_future(link.set_metric("T", 2))
        await broker.received(1)
        broker.accept = lambda number: connack(5)
        broker.cut()
        with pytest.raises(OutcomeUnknownError, match="Not authorized"):
            await flying
        with pytest.raises(AuthenticationError, match="metric/set: the broker refuses"):
            await waiting
        with pytest.raises(AuthenticationError):
            await link.set_metric("T", 3)
        with pytest.raises(AuthenticationError):
            await anext(link.events())
    assert broker.connections == 2


async def test_a_call_that_is_cancelled_while_it_waits_is_not_sent(broker: FakeBroker) -> None:
    broker.on_publish = lambda message: "hold"
    async with link_to(broker, window=1) as link:
        samples = [asyncio.ensure_future(link.set_metric("T", number)) for number in range(3)]
        await broker.received(1)
        samples[1].cancel()
        broker.on_publish = lambda message: "ack"
        broker.acknowledge(broker.published[0])
        await samples[2]
    assert [json.loads(message.payload)["value"] for message in broker.published] == [0, 2]


async def test_a_call_that_is_cancelled_on_its_way_is_not_sent_again(broker: FakeBroker) -> None:
    broker.on_publish = first("hold")
    async with link_to(broker) as link:
        sample = asyncio.ensure_future(link.set_metric("T", 1))
        await broker.received(1)
        sample.cancel()
        broker.cut()
        await link.set_metric("T", 2)
    assert [json.loads(message.payload)["value"] for message in broker.published] == [1, 2]


@pytest.mark.parametrize("grace", [None, 0])
async def test_a_run_that_is_stopped_takes_back_what_was_not_sent(broker: FakeBroker, grace: int | None) -> None:
    broker.on_publish = lambda message: "hold"
    async with link_to(broker, window=1) as link:
        run = Bulk(partial(link.set_metric, "T"), range(3), concurrency=3, kind=Kind.ONCE)
        outcomes = []

        async def consume() -> None:
            outcomes.extend([(outcome.item, outcome.status) async for outcome in run])

        consumer = asyncio.create_task(consume())
        await broker.received(1)
        run.stop(grace=grace)
        if grace is None:  # what was sent is waited for
            broker.acknowledge(broker.published[0])
        await consumer
    assert outcomes == [(0, "ok" if grace is None else "unknown")]


async def test_closing_tells_those_who_wait_what_is_known(broker: FakeBroker) -> None:
    broker.on_publish = lambda message: "hold"
    async with link_to(broker, window=1) as link:
        samples = [asyncio.ensure_future(link.set_metric("T", number)) for number in range(2)]
        await broker.received(1)
    errors = await asyncio.gather(*samples, return_exceptions=True)
    assert [type(error) for error in errors] == [ClientStateError, ClientStateError]
    assert [getattr(error, "outcome_unknown", None) for error in errors] == [True, False]


async def test_a_message_that_no_broker_takes_is_refused(broker: FakeBroker) -> None:
    async with link_to(broker) as link:
        with pytest.raises(InvalidArgumentError, match="store/set: a message may have 131072 bytes"):
            await link.set_store("key", "x" * 131072)


async def test_nonsense_on_an_accepted_connection_ends_it_and_loses_nothing(broker: FakeBroker) -> None:
    broker.on_publish = first("hold")
    async with link_to(broker) as link:
        sample = asyncio.ensure_future(link.set_metric("T", 1))
        await broker.received(1)
        broker.write(b"\x00\x00\x00\x00")
        await sample
    assert broker.connections == 2


@each_row(
    "nonsense",
    [
        "30 ff ff ff 7f",  # a length of 256 MiB
        "30 ff ff ff ff",  # one of too many bytes
        "34 05 0001 61 0001",  # QoS 2
        "40 03 000100",  # an acknowledgement that is too long
        "10 00",  # what only clients send
        "f0 00",
    ],
)
async def test_what_no_broker_sends_ends_the_connection_and_loses_nothing(tmp_path: Path, nonsense: str) -> None:
    async with FakeBroker(on_publish=first("hold")).running(tmp_path) as broker, link_to(broker) as link:
        sample = asyncio.ensure_future(link.set_metric("T", 1))
        await broker.received(1)
        broker.write(bytes.fromhex(nonsense))
        await sample
        assert broker.connections == 2


@each_row("stray", ["20 02 00 05", "90 03 0001 80", "d0 00", "40 02 ffff"])
async def test_an_answer_that_nobody_waits_for_is_ignored(tmp_path: Path, stray: str) -> None:
    async with FakeBroker().running(tmp_path) as broker, link_to(broker) as link:
        broker.write(bytes.fromhex(stray))
        await link.ping()
        assert broker.connections == 1


async def test_a_message_with_qos_1_is_acknowledged(broker: FakeBroker) -> None:
    topic = f"ioto/device/{DEVICE}/other".encode()
    async with link_to(broker) as link:
        broker.write(packet(0x32, len(topic).to_bytes(2, "big") + topic + b"\x00\x07" + b"payload"))
        assert await anext(link.events()) == RawMessage(topic=topic.decode(), payload=b"payload")
        await link.ping()
    assert broker.heard == [7]


async def test_more_than_is_read_at_once_is_read_all_the_same(broker: FakeBroker) -> None:
    async with link_to(broker) as link:
        for number in range(300):  # each in a TLS record of its own
            broker.say(f"ioto/device/{DEVICE}/other/{number}", b"")
        events = [await anext(link.events()) for _ in range(300)]
    assert [getattr(event, "topic", "").rpartition("/")[2] for event in events] == [str(each) for each in range(300)]


async def test_more_than_the_broker_reads_at_once_arrives_whole_and_in_order(broker: FakeBroker) -> None:
    texts = [f"{number:03}" * 40_000 for number in range(100)]
    async with link_to(broker) as link:
        await asyncio.gather(*[link.set_store("key", text) for text in texts])
    assert [json.loads(message.payload)["value"] for message in broker.published] == texts
    assert broker.connections == 1


async def test_an_idle_connection_is_probed_and_given_up_where_that_is_not_answered(broker: FakeBroker) -> None:
    connection = Connection(
        "localhost",
        broker.port,
        client_id=DEVICE,
        context=make_context(certs_of(broker.port), authority().certificate),
        keepalive=1,
        timeout=GUARD,
        proxy=None,
        on_message=lambda topic, payload: None,
        on_acknowledged=lambda number: None,
    )
    try:
        await connection.open(["topic"])
        await broker.until(lambda: broker.pings == 2)
        broker.answers_pings = False
        async with asyncio.timeout(GUARD):
            broken = await asyncio.shield(connection.lost)
    finally:
        await connection.close()
    assert str(broken) == "the broker has not answered a ping within 1 s"
    assert (broken.aborted, broker.pings, broker.goodbyes) == (True, 3, 0)


async def test_an_acknowledgement_of_nothing_is_ignored(broker: FakeBroker) -> None:
    async with link_to(broker) as link:
        broker.write(packet(0x40, b"\x12\x34"))
        await link.ping()


# Questions ------------------------------------------------------------------------------------------------------------


async def test_questions_are_numbered_from_100_and_answers_find_their_way(broker: FakeBroker) -> None:
    def answer(message: Published) -> str:
        place = message.topic.removeprefix(f"ioto/service/{DEVICE}/")
        if place == "store/get/101":  # the second is answered first
            broker.say(f"ioto/device/{DEVICE}/store/get/101", b"second")
            broker.say(f"ioto/device/{DEVICE}/metric/get/100", b"1.5")
        return "ack"

    broker.on_publish = answer
    async with link_to(broker) as link:
        number, text = await asyncio.gather(link.get_metric("T"), link.get_store("key"))
    assert (number, text) == (1.5, "second")


async def test_a_question_without_an_answer_times_out_and_a_late_answer_is_no_event(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ioto_async")
    async with link_to(broker, timeout=SHORT) as link:
        with pytest.raises(CallTimeoutError, match=r"store/get: no reply within 0\.1 s") as caught:
            await link.get_store("key")
        assert caught.value.sent
        broker.say(f"ioto/device/{DEVICE}/store/get/100", b"1")
        broker.say(f"ioto/device/{DEVICE}/other", b"2")
        assert await anext(link.events()) == RawMessage(topic=f"ioto/device/{DEVICE}/other", payload=b"2")
    assert "a reply came too late: store/get/100" in caplog.text


async def test_a_second_answer_to_a_question_does_no_harm(broker: FakeBroker) -> None:
    def answer(message: Published) -> str:
        if "store/get" in message.topic:
            broker.say(f"ioto/device/{DEVICE}/store/get/100", b"1")
            broker.say(f"ioto/device/{DEVICE}/store/get/100", b"2")
        return "ack"

    broker.on_publish = answer
    async with link_to(broker) as link:
        assert await link.get_store("key") == 1
        await link.ping()
    assert broker.connections == 1


async def test_a_question_that_was_never_sent_says_so_when_it_times_out(broker: FakeBroker) -> None:
    broker.on_publish = lambda message: "hold"
    async with link_to(broker, window=1, timeout=SHORT) as link:
        sample = asyncio.ensure_future(link.set_metric("T", 1))
        await broker.received(1)
        broker.accept = lambda number: packet(0xD0, b"")
        broker.cut()
        with pytest.raises(CallTimeoutError, match="metric/get") as caught:
            await link.get_metric("T")
        sample.cancel()
    assert not caught.value.sent


async def test_a_question_that_waits_for_its_answer_ends_with_the_link(broker: FakeBroker) -> None:
    async with link_to(broker) as link:
        question = asyncio.ensure_future(link.get_metric("T"))
        await broker.received(1)
        await link.ping()  # by now the question is acknowledged
    with pytest.raises(ClientStateError, match="the link is closed"):
        await question


# Throttling -----------------------------------------------------------------------------------------------------------


def throttle(close: bool) -> bytes:
    return json.dumps({"timestamp": int(time.time() * 1000), "close": close}).encode()


async def test_a_device_that_is_to_stay_away_does(broker: FakeBroker) -> None:
    broker.on_publish = lambda message: "hold"
    async with link_to(broker, window=1) as link:
        flying = asyncio.ensure_future(link.set_metric("T", 1))
        waiting = asyncio.ensure_future(link.set_metric("T", 2))
        await broker.received(1)
        broker.say(f"ioto/device/{DEVICE}/mqtt/throttle", throttle(close=True))
        with pytest.raises(OutcomeUnknownError) as unknown:
            await flying
        with pytest.raises(RateLimitedError, match="too much traffic") as limited:
            await waiting
        assert unknown.value.retry_after == limited.value.retry_after == 3600
        await broker.until(lambda: broker.open == 0)
        assert not link.is_connected
        with pytest.raises(RateLimitedError) as later:
            await link.set_metric("T", 3)
        assert later.value.retry_after is not None
        assert 3500 < later.value.retry_after <= 3600
        event = await anext(link.events())
        assert isinstance(event, Throttle)
        assert event.close
    assert broker.connections == 1


async def test_a_throttled_device_waits_between_messages_and_loses_no_patience(broker: FakeBroker) -> None:
    async with connected_to(broker, patience=SHORT) as link:
        broker.say(f"ioto/device/{DEVICE}/mqtt/throttle", throttle(close=False))
        await anext(link.events())
        sample = asyncio.ensure_future(link.set_metric("T", 1))
        await asyncio.sleep(0)
        assert broker.published == []
        await sample
    assert len(broker.published) == 1


# Its own affairs ------------------------------------------------------------------------------------------------------


async def tasks() -> set[asyncio.Task[Any]]:
    """Tasks of the link that are left."""
    for _ in range(10):
        await asyncio.sleep(0)
    current = asyncio.current_task()
    return {
        task
        for task in asyncio.all_tasks()
        if task is not current and not task.done() and "FakeBroker" not in repr(task.get_coro())
    }


async def test_closing_leaves_no_task_and_no_connection(broker: FakeBroker) -> None:
    async with link_to(broker) as link:
        await link.ping()
    assert await tasks() == set()
    await broker.until(lambda: broker.open == 0)
    gc.collect()  # an open socket or a future that nobody looked at would warn, and warnings are errors


async def test_opening_can_be_cancelled_at_any_point(broker: FakeBroker) -> None:
    # One turn of the loop later each time: while the key is read, the thread connects, the broker answers.
    broker.accept = lambda number: packet(0xD0, b"")
    for turns in (0, 1, 2, 5, 50):
        opening = asyncio.ensure_future(link_to(broker).__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert await tasks() == set()
    opening = asyncio.ensure_future(link_to(broker).__aenter__())
    seen = len(broker.connects)
    await broker.until(lambda: len(broker.connects) > seen)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert await tasks() == set()
    await broker.until(lambda: broker.open == 0)
    assert broker.goodbyes == 0  # to whom nobody has been introduced


async def test_no_thread_is_left_but_those_of_the_loop(broker: FakeBroker) -> None:
    async with link_to(broker):
        pass
    await asyncio.get_running_loop().shutdown_default_executor()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("asyncio")] == []


async def test_the_key_is_left_nowhere(
    broker: FakeBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "private"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    seen = []
    load = ssl.SSLContext.load_cert_chain

    def loading(context: ssl.SSLContext, path: Any, *args: Any, **options: Any) -> None:
        seen.append((Path(path).parent, Path(path).stat().st_mode & 0o777))
        load(context, path, *args, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", loading)
    certs = certs_of(broker.port)
    assert certs.key is not None
    with caplog.at_level(logging.DEBUG):
        async with link_to(broker, certs=certs) as link:
            await link.ping()
            shown = repr(link)
    assert seen == [(place, 0o600)]
    assert list(place.iterdir()) == []
    secret = certs.key.splitlines()[1]
    assert secret not in shown
    assert secret not in caplog.text


async def test_a_key_of_another_certificate_is_refused_without_showing_it(broker: FakeBroker) -> None:
    other = certs_of(broker.port)
    assert other.key is not None
    with pytest.raises(InvalidArgumentError, match="certs: certificate and key cannot be used") as caught:
        await link_to(broker, certs=certs_of(broker.port, key=other.key)).__aenter__()
    assert other.key.splitlines()[1] not in str(caught.value)
    assert broker.connections == 0


@pytest.mark.parametrize("key", ["no key", "schlüssel", "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----"])
async def test_a_key_that_is_none_is_refused_without_showing_it(broker: FakeBroker, key: str) -> None:
    with pytest.raises(InvalidArgumentError, match="certs: certificate and key cannot be used") as caught:
        await link_to(broker, certs=certs_of(broker.port, key=key)).__aenter__()
    assert key not in str(caught.value)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
async def test_a_key_that_is_encrypted_is_refused_as_that(broker: FakeBroker, form: PrivateFormat) -> None:
    certs = certs_of(broker.port)
    assert certs.key is not None
    plain = load_pem_private_key(certs.key.encode(), password=None)
    key = plain.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret")).decode()
    with pytest.raises(InvalidArgumentError, match="certs: the key is encrypted: decrypt it") as caught:
        await link_to(broker, certs=certs_of(broker.port, key=key)).__aenter__()
    assert key.splitlines()[-2] not in str(caught.value)


async def test_trust_can_be_given_as_a_file_or_a_context(broker: FakeBroker, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(authority().certificate)
    context = ssl.create_default_context(cafile=path)
    for ca in (path, str(path), context):
        async with link_to(broker, ca=ca) as link:
            await link.ping()


@pytest.mark.parametrize("spoilt", ["without its first line", "in one line"])
async def test_a_key_that_is_taken_for_trust_is_not_shown(broker: FakeBroker, spoilt: str) -> None:
    key = certs_of(broker.port).key
    assert key is not None
    lines = key.splitlines()
    ca = "\n".join(lines[1:]) if spoilt == "without its first line" else "".join(lines[1:-1])
    with pytest.raises(InvalidArgumentError, match="ca: no certificates of authorities") as caught:
        await link_to(broker, ca=ca).__aenter__()
    assert lines[1][:20] not in str(caught.value)


@pytest.mark.parametrize("ca", ["/no/such/file", Path("/no/such/file"), "-----BEGIN nothing", 7])
async def test_trust_that_cannot_be_read_is_refused(broker: FakeBroker, ca: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="ca: no certificates of authorities could be read"):
        await link_to(broker, ca=ca).__aenter__()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"id": None}, "id"),
        ({"id": "a/b"}, "id"),
        ({"id": "+"}, "id"),
        ({"account_id": "#"}, "account_id"),
        ({"certificate": None}, "certificate"),
        ({"key": ""}, "key"),
        ({"endpoint": None}, "endpoint"),
        ({"endpoint": "mqtt.example\n"}, "endpoint: expected no white space"),
        ({"port": 0}, "port"),
        ({"port": True}, "port"),
    ],
)
def test_certificates_that_are_not_whole_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"certs: {named}"):
        DeviceLink(certs_of(**{"port": 1} | changes))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("window", 0),
        ("window", 70000),
        ("patience", 0),
        ("timeout", float("inf")),
        ("keepalive", 10),
        ("base", -1),
        ("cap", "8"),
        ("backlog", 0),
    ],
)
def test_options_that_do_not_fit_are_refused(option: str, value: Any) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(InvalidArgumentError, match=f"{option}: expected"):
        DeviceLink(certs_of(1), **options)


def test_certificates_must_be_such() -> None:
    with pytest.raises(InvalidArgumentError, match="certs: expected Certificates, got dict"):
        DeviceLink({})  # type: ignore[arg-type]


async def test_a_link_that_is_not_open_says_how_to_open_it() -> None:
    link = DeviceLink(certs_of(1))
    with pytest.raises(ClientStateError, match="async with"):
        await link.set_metric("T", 1)
    await link.aclose()


async def test_a_closed_link_takes_no_calls_and_is_not_opened_again(broker: FakeBroker) -> None:
    async with link_to(broker) as link:
        pass
    with pytest.raises(ClientStateError, match="the link is closed"):
        await link.set_metric("T", 1)
    with pytest.raises(ClientStateError, match="make another"):
        await link.__aenter__()


async def test_a_link_belongs_to_one_loop(broker: FakeBroker) -> None:
    async def read() -> None:
        await anext(link.events())

    async with link_to(broker) as link:
        for use in (link.set_metric("T", 1), link.aclose(), read()):
            with pytest.raises(ClientStateError, match="another event loop"):
                await asyncio.to_thread(asyncio.run, use)
        await link.ping()


async def test_events_that_nobody_reads_are_not_lost_silently(broker: FakeBroker) -> None:
    async with link_to(broker, backlog=2) as link:
        for number in range(4):
            broker.say(f"ioto/device/{DEVICE}/other/{number}", b"")
        await link.ping()
    events = [event async for event in link.events()]
    assert events[0] == EventsLost(count=2)
    assert [getattr(event, "topic", "")[-1:] for event in events[1:]] == ["2", "3"]
