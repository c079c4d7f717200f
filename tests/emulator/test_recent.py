"""What the embedded cloud keeps of what came in."""

import copy

from ioto_async.emulator.mqtt.broker import Message
from ioto_async.emulator.recent import Dated, Recent

A, B, C = (Message(name, f"ioto/service/{name}/test/ping", b"") for name in "ABC")


def test_a_reader_goes_on_where_it_stopped() -> None:
    recent = Recent[int](maxlen=3)
    seen: list[list[int]] = []
    mark = 0
    for number in range(7):
        if number in (1, 4):
            seen.append(recent.since(mark))
            mark = recent.total
        recent.append(number)
    assert seen == [[0], [1, 2, 3]]
    # Of those after the fourth, as many as are kept.
    assert recent.since(mark) == [4, 5, 6]
    assert recent.since(0) == [4, 5, 6]
    assert recent.since(7) == recent.since(100) == []


def test_what_was_cleared_counts_on() -> None:
    recent = Recent([1, 2])
    recent.clear()
    recent.append(3)
    assert (recent.total, recent.since(2), recent.since(0)) == (3, [3], [3])


def test_a_copy_keeps_as_many() -> None:
    recent = Recent([1, 2], maxlen=2)
    assert (copy.copy(recent).maxlen, list(recent.copy())) == (2, [1, 2])


def test_messages_have_the_times_they_came_at() -> None:
    recent = Dated[Message](maxlen=2)
    recent.record([A, B], 1.0)
    assert recent.dated_since(1) == [(1.0, B)]
    recent.record([C], 2.0)
    assert (list(recent), recent.total) == ([B, C], 3)
    assert recent.dated_since(0) == [(1.0, B), (2.0, C)]
    recent.clear()
    recent.record([A], 3.0)
    assert recent.dated_since(0) == [(3.0, A)]
    assert recent.dated_since(4) == []
