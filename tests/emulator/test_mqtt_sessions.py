import pytest

from ioto_async.emulator.mqtt.packets import Publish
from ioto_async.emulator.mqtt.sessions import Session
from tests.rows import each_row


def made() -> Session:
    session = Session(clean=False)
    session.subscribe("a/#", 1)
    session.subscribe("b", 0)
    return session


@pytest.fixture
def session() -> Session:
    return made()


def test_a_message_is_sent_with_the_qos_of_its_subscription(session: Session) -> None:
    assert session.enqueue("a/x", b"1") == ([Publish("a/x", b"1", 1, 1)], True)
    assert session.enqueue("b", b"2") == ([Publish("b", b"2")], True)


def test_a_message_that_nobody_wants_is_not_sent(session: Session) -> None:
    assert session.enqueue("c", b"1") == ([], True)
    session.unsubscribe("b")
    session.unsubscribe("never")
    assert session.enqueue("b", b"1") == ([], True)


def test_a_message_for_two_subscriptions_is_sent_once_with_the_higher_qos(session: Session) -> None:
    session.subscribe("a/x", 0)
    assert [packet.qos for packet in session.enqueue("a/x", b"1")[0]] == [1]


def test_a_subscription_can_change_its_qos(session: Session) -> None:
    session.subscribe("a/#", 0)
    assert [packet.qos for packet in session.enqueue("a/x", b"1")[0]] == [0]


def test_at_most_100_are_unacknowledged_and_the_others_follow_in_order(session: Session) -> None:
    sent = [packet for number in range(150) for packet in session.enqueue("a", b"%d" % number)[0]]
    assert [packet.payload for packet in sent] == [b"%d" % number for number in range(100)]
    assert [packet.payload for packet in session.acknowledge(7)] == [b"100"]
    assert session.acknowledge(7) == []
    for packet in sent[7:]:
        sent += session.acknowledge(packet.packet_id)
    assert sent[-1].payload == b"149"


def test_packet_identifiers_begin_again_and_leave_out_what_is_not_acknowledged(session: Session) -> None:
    (kept,) = session.enqueue("a", b"kept")[0]
    ids = []
    for _ in range(0xFFFF):
        (packet,) = session.enqueue("a", b"")[0]
        ids.append(packet.packet_id)
        session.acknowledge(packet.packet_id)
    assert kept.packet_id == 1
    assert ids == [*range(2, 0x10000), 2]


def test_at_most_1000_wait_for_a_client_that_is_away(session: Session) -> None:
    session.expires = 60.0
    kept = [session.enqueue("a", b"")[1] for _ in range(1001)]
    assert kept == [True] * 1000 + [False]


def test_all_items_of_a_device_can_wait_while_it_is_connected_but_not_more_and_more(session: Session) -> None:
    kept = [session.enqueue("a", b"")[1] for _ in range(100_101)]
    assert kept == [True] * 100_100 + [False]


@each_row("expires", [None, 60.0])
def test_of_what_waits_there_are_at_most_64_mib(expires: float | None) -> None:
    session = made()
    for _ in range(100):
        session.enqueue("a", b"")
    session.expires = expires
    message = b"x" * (2**17 - 1)
    kept = [session.enqueue("a", message)[1] for _ in range(513)]
    assert kept == [True] * 512 + [False]
    session.expires = None
    assert session.acknowledge(1) == [Publish("a", message, 1, 101)]
    assert [session.enqueue("a", message)[1] for _ in range(2)] == [True, False]


def test_a_client_that_comes_back_gets_what_it_did_not_acknowledge_and_what_it_missed(session: Session) -> None:
    session.enqueue("a", b"1")
    session.enqueue("a", b"2")
    session.acknowledge(1)
    session.expires = 60.0
    assert session.enqueue("a", b"3") == ([], True)
    assert session.enqueue("b", b"of QoS 0") == ([], True)
    assert session.resume() == [Publish("a", b"2", 1, 2, dup=True), Publish("a", b"3", 1, 3)]


def test_a_session_has_at_most_50_subscriptions() -> None:
    session = Session(clean=True)
    assert all(session.subscribe(str(number), 1) for number in range(50))
    assert not session.subscribe("50", 1)
    assert session.subscribe("7", 0)
