"""The packets of device links: against paho's and the embedded broker's, cut anywhere, and bent."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ioto_async.emulator.mqtt import packets as theirs
from ioto_async.mqtt import packets
from ioto_async.mqtt.packets import Connack, Malformed, Packet, Pingresp, Puback, Publish, Reader, Suback
from tests.rows import each_row

LIMIT = 1 << 20
numbers = st.integers(1, packets.LAST_NUMBER)
topics = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=12)
payloads = st.binary(max_size=40) | st.sampled_from([127, 128, 16_383, 16_384]).map(bytes)
sent = st.one_of(
    st.integers(0, 5).map(theirs.Connack),
    st.tuples(topics, payloads).map(lambda parts: theirs.Publish(*parts)),
    st.tuples(topics, payloads, numbers, st.booleans()).map(lambda parts: theirs.Publish(*parts[:2], 1, *parts[2:])),
    numbers.map(theirs.Puback),
    st.tuples(numbers, st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=9)).map(
        lambda parts: theirs.Suback(parts[0], tuple(parts[1]))
    ),
    st.just(theirs.Pingresp()),
)
"""What a broker sends, as the embedded one has it."""


def as_ours(packet: theirs.Packet) -> Packet:
    match packet:
        case theirs.Connack(code):
            return Connack(code)
        case theirs.Publish(topic, payload, _, number):
            return Publish(topic, payload, number)
        case theirs.Puback(number):
            return Puback(number)
        case theirs.Suback(number, codes):
            return Suback(number, bytes(codes))
    return Pingresp()


def read(data: bytes, cuts: list[int], limit: int = LIMIT) -> tuple[list[Packet], str | None]:
    """What a reader makes of *data* that comes in pieces, and what it refuses."""
    reader = Reader(limit)
    found: list[Packet] = []
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    try:
        for begin, end in pairwise(places):
            found += reader.feed(data[begin:end])  # keeps what came before an error
    except Malformed as error:
        return found, str(error)
    return found, None


@given(st.lists(sent, max_size=8), st.lists(st.integers(0), max_size=12))
def test_packets_of_a_broker_are_read_wherever_they_are_cut(made: list[theirs.Packet], cuts: list[int]) -> None:
    data = b"".join(map(theirs.encode, made))
    assert read(data, cuts) == (list(map(as_ours, made)), None)


@given(st.lists(sent.filter(lambda packet: len(theirs.encode(packet)) < 300), min_size=1, max_size=3))
def test_a_packet_is_given_with_its_last_byte_and_not_before(made: list[theirs.Packet]) -> None:
    reader = Reader(LIMIT)
    for packet in made:
        data = theirs.encode(packet)
        assert [found for byte in data[:-1] for found in reader.feed(bytes((byte,)))] == []
        assert list(reader.feed(data[-1:])) == [as_ours(packet)]


@given(topics, payloads, numbers)
def test_what_a_link_sends_is_what_a_broker_reads(topic: str, payload: bytes, number: int) -> None:
    broker = theirs.Reader(LIMIT)
    assert list(broker.feed(packets.publish(topic, payload, number))) == [theirs.Publish(topic, payload, 1, number)]
    assert list(broker.feed(packets.subscribe(number, [topic, "a"]))) == [
        theirs.Subscribe(number, ((topic, 1), ("a", 1)))
    ]
    assert list(broker.feed(packets.connect(topic, number))) == [theirs.Connect(topic, True, number)]
    rest = packets.puback(number) + packets.PINGREQ + packets.DISCONNECT
    assert list(broker.feed(rest)) == [theirs.Puback(number), theirs.Pingreq(), theirs.Disconnect()]


@each_row("size", [0, 122, 123, 16_378, 16_379, 2_097_146, 2_097_147])
def test_a_length_has_as_many_bytes_as_it_needs(size: int) -> None:
    data = packets.publish("t", bytes(size), 1)
    assert list(theirs.Reader(1 << 28).feed(data)) == [theirs.Publish("t", bytes(size), 1, 1)]


@given(st.binary(max_size=60), st.lists(st.integers(0), max_size=5))
@example(bytes.fromhex("30ffffff7f"), [])
def test_any_bytes_give_packets_or_an_error_the_same_wherever_they_are_cut(data: bytes, cuts: list[int]) -> None:
    assert read(data, cuts) == read(data, [])


@given(st.lists(sent, min_size=1, max_size=4), st.integers(0), st.integers(1, 255), st.lists(st.integers(0)))
def test_a_bit_that_is_wrong_is_an_error_or_another_packet_and_nothing_else(
    made: list[theirs.Packet], place: int, bits: int, cuts: list[int]
) -> None:
    data = bytearray(b"".join(map(theirs.encode, made)))
    data[place % len(data)] ^= bits
    found, _ = read(bytes(data), cuts)
    assert len(found) <= len(data) // 2  # the shortest packet has two bytes
    for packet in found:
        assert not isinstance(packet, Publish) or (packet.topic and "\0" not in packet.topic)


@each_row(
    "wire, why",
    [
        ("30 ff ff ff ff", "more than four bytes"),
        ("30 ff ff ff 7f", "a packet of 268435455 bytes, of which 1048576 are allowed"),
        ("00 00", "type and flags 0x00"),
        ("f0 00", "type and flags 0xf0"),
        ("10 00", "type and flags 0x10"),
        ("82 03 000161", "type and flags 0x82"),
        ("50 02 0001", "type and flags 0x50"),
        ("20 01 00", "type and flags 0x20, 1 bytes"),
        ("20 03 00 84 00", "type and flags 0x20, 3 bytes"),
        ("40 00", "type and flags 0x40, 0 bytes"),
        ("40 03 000100", "type and flags 0x40, 3 bytes"),
        ("42 02 0001", "type and flags 0x42"),
        ("90 01 00", "type and flags 0x90, 1 bytes"),
        ("d0 01 00", "type and flags 0xd0, 1 bytes"),
        ("34 05 0001 61 0001", "QoS 2"),
        ("36 05 0001 61 0001", "QoS 3"),
        ("30 00", "ends in its topic"),
        ("30 01 00", "ends in its topic"),
        ("30 02 0001", "ends in its topic"),
        ("32 04 0001 61 00", "ends in its topic"),
        ("32 05 0001 61 0000", "without a topic or a packet identifier"),
        ("30 02 0000", "without a topic or a packet identifier"),
        ("30 03 0001 00", "without a topic or a packet identifier"),
        ("30 03 0001 ff", "no UTF-8"),
        ("30 05 0003 eda080", "no UTF-8"),
    ],
)
def test_what_is_not_for_a_client_is_refused_after_what_came_before(wire: str, why: str) -> None:
    found, error = read(bytes.fromhex("40 02 0007" + wire), [])
    assert (found, error is not None and why in error) == ([Puback(7)], True), error


def test_a_packet_beyond_the_limit_is_refused_before_it_has_come() -> None:
    assert read(theirs.encode(theirs.Publish("t", b"x" * 97)), [], 100) == ([Publish("t", b"x" * 97, 0)], None)
    _, error = read(theirs.encode(theirs.Publish("t", b"x" * 98))[:2], [], 100)
    assert error == "a packet of 101 bytes, of which 100 are allowed"


def test_a_client_id_that_is_too_long_for_a_packet_cannot_be_sent() -> None:
    with pytest.raises(OverflowError):
        packets.connect("x" * 65_536, 60)
