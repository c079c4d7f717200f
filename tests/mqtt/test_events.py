"""What the cloud says, as events; and the buffer that they wait in."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from ioto_async.errors import AuthenticationError
from ioto_async.mqtt import EventsLost, ItemSynced, RawMessage, Release, SyncAcknowledged, SyncDown, Throttle
from ioto_async.mqtt.events import EventBuffer, parse_event

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MS = int(NOW.timestamp() * 1000)
HOME = "ioto/device/DEV0000001/"


def raw(number: int) -> RawMessage:
    return RawMessage(topic=str(number), payload=b"")


def test_a_release_has_its_time() -> None:
    assert parse_event(HOME + "provision/release", str(MS).encode(), NOW) == Release(timestamp=NOW)


@pytest.mark.parametrize(("age", "kept"), [(9.9, True), (10.1, False)])
def test_a_release_counts_for_ten_seconds(age: float, kept: bool) -> None:
    event = parse_event(HOME + "provision/release", str(MS).encode(), NOW + timedelta(seconds=age))
    assert (event is not None) is kept


@pytest.mark.parametrize(("age", "kept"), [(29.9, True), (30.1, False)])
def test_a_throttle_counts_for_thirty_seconds(age: float, kept: bool) -> None:
    event = parse_event(HOME + "mqtt/throttle", b'{"timestamp":%d}' % MS, NOW + timedelta(seconds=age))
    assert (event is not None) is kept


@pytest.mark.parametrize("close", [True, False])
def test_a_throttle_says_whether_to_stay_away(close: bool) -> None:
    payload = b'{"timestamp":%d,"close":%s}' % (MS, str(close).lower().encode())
    assert parse_event(HOME + "mqtt/throttle", payload, NOW) == Throttle(timestamp=NOW, close=close)


def test_an_acknowledgement_has_number_and_keys() -> None:
    payload = b'{"seq":7,"keys":["s#counter"],"updated":"2026-01-01T00:00:00.000Z"}'
    expected = SyncAcknowledged(seq=7, keys=["s#counter"], updated=NOW)
    assert parse_event(HOME + "sync/SYNC", payload, NOW) == expected


def test_the_end_of_a_sync_has_its_time() -> None:
    payload = b'{"updated":"2026-01-01T00:00:00.000Z"}'
    assert parse_event(HOME + "sync/SYNCDOWN", payload, NOW) == SyncDown(updated=NOW)


@pytest.mark.parametrize("command", ["INSERT", "MODIFY", "UPSERT", "REMOVE"])
@pytest.mark.parametrize("home", [HOME, "ioto/account/all/", "ioto/account/ACCOUNT/"])
def test_an_item_comes_with_all_its_members(command: str, home: str) -> None:
    payload = b'{"sk":"s#counter","updated":"2026-01-01T00:00:00.000Z","_type":"Store","value":1}'
    event = parse_event(f"{home}sync/{command}", payload, NOW)
    assert isinstance(event, ItemSynced)
    assert (event.command, event.key, event.updated) == (command, "s#counter", NOW)
    assert event.item["_type"] == "Store"


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (HOME + "provision/release", b"soon"),
        (HOME + "provision/release", b""),
        (HOME + "mqtt/throttle", b"[]"),
        (HOME + "mqtt/throttle", b'{"close":true}'),
        (HOME + "sync/SYNC", b'{"keys":["a"]}'),
        (HOME + "sync/SYNC", b"\xff"),
        (HOME + "sync/OTHER", b"{}"),
        (HOME + "other/thing", b"1"),
        ("elsewhere", b"1"),
    ],
)
def test_what_is_not_documented_comes_as_it_is(topic: str, payload: bytes) -> None:
    assert parse_event(topic, payload, NOW) == RawMessage(topic=topic, payload=payload)


async def test_events_come_in_order_and_end_with_the_link() -> None:
    buffer = EventBuffer(3)
    buffer.put(raw(1))
    buffer.put(raw(2))
    buffer.end()
    assert [event async for event in buffer] == [raw(1), raw(2)]


async def test_events_that_nobody_reads_are_counted_and_the_oldest_go(caplog: pytest.LogCaptureFixture) -> None:
    buffer = EventBuffer(2)
    with caplog.at_level(logging.WARNING, "ioto_async"):
        for number in range(5):
            buffer.put(raw(number))
    buffer.end()
    assert [event async for event in buffer] == [EventsLost(count=3), raw(3), raw(4)]
    assert len(caplog.records) == 1


async def test_a_reader_that_waits_gets_the_next_event() -> None:
    buffer = EventBuffer(1)
    reading = asyncio.ensure_future(anext(buffer))
    await asyncio.sleep(0)
    buffer.put(raw(1))
    assert await reading == raw(1)


async def test_a_reader_that_is_cancelled_loses_no_event() -> None:
    buffer = EventBuffer(1)
    reading = asyncio.ensure_future(anext(buffer))
    await asyncio.sleep(0)
    buffer.put(raw(1))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await anext(buffer) == raw(1)


async def test_readers_of_a_link_that_was_turned_away_are_told_after_what_is_left() -> None:
    buffer = EventBuffer(2)
    buffer.put(raw(1))
    buffer.end(AuthenticationError("refused", operation="mqtt/connect"))
    assert await anext(buffer) == raw(1)
    with pytest.raises(AuthenticationError):
        await anext(buffer)


async def test_readers_of_a_link_that_was_turned_away_do_not_share_their_error() -> None:
    buffer = EventBuffer(2)
    buffer.end(AuthenticationError("refused", operation="mqtt/connect"))
    raised = []
    for _ in range(3):
        with pytest.raises(AuthenticationError, match="mqtt/connect: refused") as caught:
            await anext(buffer)
        caught.value.add_note("mine")
        raised.append((len(caught.traceback), caught.value.__notes__))
    assert raised == [raised[0]] * 3
