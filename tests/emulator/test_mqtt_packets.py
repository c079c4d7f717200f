from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioto_async.emulator.mqtt import packets
from ioto_async.emulator.mqtt.packets import (
    BadPacket,
    BadProtocol,
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
from tests.rows import each_row

LIMIT = 4096

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
ids = st.integers(1, 0xFFFF)
payloads = st.binary(max_size=300)
wills = st.builds(Will, texts, payloads, st.integers(0, 2), st.booleans())
every_packet = st.one_of(
    st.builds(Connect, texts, st.booleans(), st.integers(0, 0xFFFF), st.none() | wills),
    st.builds(Connack, st.integers(1, 255), st.just(False)),
    st.builds(Connack, st.just(0), st.booleans()),
    st.builds(Publish, texts, payloads, st.just(1), ids, st.booleans(), st.booleans()),
    st.builds(Publish, texts, payloads, st.just(0), st.just(0), st.booleans(), st.just(False)),
    st.builds(Puback, ids),
    st.builds(Subscribe, ids, st.lists(st.tuples(texts, st.integers(0, 2)), min_size=1, max_size=5).map(tuple)),
    st.builds(Suback, ids, st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=5).map(tuple)),
    st.builds(Unsubscribe, ids, st.lists(texts, min_size=1, max_size=5).map(tuple)),
    st.builds(Unsuback, ids),
    st.builds(Pingreq),
    st.builds(Pingresp),
    st.builds(Disconnect),
)


def read(data: bytes, limit: int = LIMIT) -> list[Packet]:
    return list(Reader(limit).feed(data))


@given(st.lists(every_packet, max_size=5), st.data())
def test_packets_come_out_as_they_went_in_wherever_the_bytes_are_cut(sent: list[Packet], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader = Reader(LIMIT)
    received: list[Packet] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += reader.feed(stream[begin:end])
    assert received == sent
    assert [type(packet) for packet in received] == [type(packet) for packet in sent]


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_packets_or_refused(data: bytes) -> None:
    reader = Reader(LIMIT)
    with suppress(BadPacket):
        for packet in reader.feed(data):
            assert isinstance(packet, Packet)


@given(every_packet, st.data())
def test_a_packet_with_one_other_byte_is_a_packet_or_refused(packet: Packet, data: st.DataObject) -> None:
    stream = bytearray(encode(packet))
    stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadPacket):
        read(bytes(stream))


@each_row(
    "packet, wire",
    [
        (Connect("a", True, 60), "10 0d 0004 4d515454 04 02 003c 0001 61"),
        (
            Connect("a", False, 0, Will("t", b"xy", 1, True)),
            "10 14 0004 4d515454 04 2c 0000 0001 61 0001 74 0002 7879",
        ),
        (Connack(0, True), "20 02 01 00"),
        (Publish("a/b", b"hi"), "30 07 0003 612f62 6869"),
        (Publish("a/b", b"", 1, 258, True, True), "3b 07 0003 612f62 0102"),
        (Puback(258), "40 02 0102"),
        (Subscribe(1, (("a", 0), ("#", 1))), "82 0a 0001 0001 61 00 0001 23 01"),
        (Suback(1, (1, 0x80)), "90 04 0001 01 80"),
        (Unsubscribe(1, ("a",)), "a2 05 0001 0001 61"),
        (Unsuback(1), "b0 02 0001"),
        (Pingreq(), "c0 00"),
        (Pingresp(), "d0 00"),
        (Disconnect(), "e0 00"),
    ],
)
def test_the_bytes_are_those_of_the_standard(packet: Packet, wire: str) -> None:
    assert encode(packet).hex() == wire.replace(" ", "")
    assert read(bytes.fromhex(wire)) == [packet]


def test_user_name_and_password_are_read_over() -> None:
    wire = "10 16 0004 4d515454 04 c2 003c 0001 61 0002 6d65 0003 010203"
    assert read(bytes.fromhex(wire)) == [Connect("a", True, 60)]


@each_row("size, digits", [(0, 1), (120, 1), (125, 2), (16_370, 2), (16_384, 3), (2_097_152, 4)])
def test_lengths_take_one_to_four_bytes(size: int, digits: int) -> None:
    packet = Publish("t", b"x" * size)
    wire = encode(packet)
    assert len(wire) == 1 + digits + 3 + size
    assert read(wire, 2**28) == [packet]


@each_row(
    "make",
    {
        "a topic of 65 536 bytes": lambda: Publish("x" * 65536, b""),
        "a payload of 256 MiB": lambda: Publish("t", b"x" * 2**28),
        "the identifier 65 536": lambda: Puback(65536),
    },
)
def test_what_no_packet_can_say_is_an_error(make: Callable[[], Packet]) -> None:
    packet = make()
    with pytest.raises(OverflowError):
        encode(packet)


VERSION = "another protocol than MQTT 3.1.1"


@each_row(
    "wire, why",
    [
        *(
            (wire, VERSION)
            for wire in (
                "10 0f 0006 4d5149736470 03 02 003c 0001 61",
                "10 0e 0004 4d515454 05 02 003c 00 0001 61",
                "10 0d 0004 4d515454 84 02 003c 0001 61",
            )
        ),
        ("00 00", "type 0"),
        ("f0 00", "type 15"),
        ("50 02 0001", "of QoS 2"),
        ("30 ff ff ff ff 01", "more than four bytes"),
        ("34 05 0001 61 0001", "QoS 2"),
        ("36 05 0001 61 0001", "QoS 3"),
        ("38 03 0001 61", "duplicate of QoS 0"),
        ("32 05 0001 61 0000", "identifier of 0"),
        ("32 04 0001 61 00", "middle of a field"),
        ("30 01 00", "middle of a field"),
        ("30 00", "middle of a field"),
        ("30 03 0001 ff", "not UTF-8"),
        ("30 05 0003 eda080", "not UTF-8"),
        ("30 03 0001 00", "null character"),
        ("41 02 0001", "flags 1"),
        ("40 02 0000", "identifier of 0"),
        ("40 03 0001 00", "behind the end"),
        ("40 01 00", "middle of a field"),
        ("80 06 0001 0001 61 00", "flags 0"),
        ("82 02 0001", "without a filter"),
        ("82 06 0001 0001 61 03", "requested QoS"),
        ("a2 02 0001", "without a filter"),
        ("90 03 0001 03", "return codes"),
        ("90 02 0001", "return codes"),
        ("20 02 02 00", "acknowledge flags"),
        ("20 02 01 05", "acknowledge flags"),
        ("c0 01 00", "behind the end"),
        ("10 0d 0004 4d515454 04 03 003c 0001 61", "connect flags"),
        ("10 0d 0004 4d515454 04 1a 003c 0001 61", "connect flags"),
        ("10 0d 0004 4d515454 04 42 003c 0001 61", "connect flags"),
        ("10 0b 0004 4d515454 04 02 003c 00", "middle of a field"),
    ],
)
def test_what_breaks_the_standard_is_refused(wire: str, why: str) -> None:
    with pytest.raises(BadPacket, match=why) as caught:
        read(bytes.fromhex(wire))
    assert isinstance(caught.value, BadProtocol) is (why == VERSION)


def test_what_came_before_a_bad_packet_is_given() -> None:
    packets_ = Reader(LIMIT).feed(encode(Puback(1)) + encode(Puback(2)) + b"\0\0")
    assert (next(packets_), next(packets_)) == (Puback(1), Puback(2))
    with pytest.raises(BadPacket):
        next(packets_)


def test_a_packet_beyond_the_limit_is_refused_before_it_has_come() -> None:
    assert read(encode(Publish("t", b"x" * 97)), 100) == [Publish("t", b"x" * 97)]
    with pytest.raises(BadPacket, match="101 bytes; 100 are allowed"):
        read(encode(Publish("t", b"x" * 98))[:5], 100)


def test_every_name_that_is_listed_is_there() -> None:
    assert [name for name in packets.__all__ if not hasattr(packets, name)] == []
