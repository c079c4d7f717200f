"""How a device slows down."""

from ioto_async.mqtt.outbox import Pacer


def test_an_unthrottled_device_never_waits() -> None:
    pacer = Pacer()
    pacer.sent(0.0)
    assert pacer.delay(0.0) == 0.0


def test_messages_are_half_a_second_apart_after_a_throttle() -> None:
    pacer = Pacer()
    pacer.throttle(100.0)
    assert 0.49 < pacer.delay(100.0) <= 0.5
    assert pacer.delay(100.5) == 0.0
    pacer.sent(100.5)
    assert 0.49 < pacer.delay(100.5) <= 0.5


def test_each_further_throttle_doubles_the_time_up_to_a_minute() -> None:
    pacer = Pacer()
    delays = []
    for _ in range(10):
        pacer.throttle(0.0)
        delays.append(pacer.delay(0.0))
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_quiet_minute_halves_the_time_and_in_the_end_there_is_none() -> None:
    pacer = Pacer()
    pacer.throttle(0.0)
    pacer.sent(60.0)
    assert pacer.delay(60.0) == 0.25
    pacer.sent(600.0)
    assert pacer.delay(600.0) == 0.0
    pacer.throttle(601.0)
    assert pacer.delay(601.0) == 0.5
