"""Whatever devices publish: the cloud carries on, and nothing of it is anything to another device."""

import json
import logging
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ioto_async.emulator.faults import Faults
from ioto_async.emulator.mqtt.broker import Message
from ioto_async.emulator.mqtt.service import CloudService
from ioto_async.emulator.recent import Dated
from ioto_async.emulator.state.builder import Builder
from ioto_async.emulator.state.cloud import Cloud
from ioto_async.emulator.state.storage import connect

A, B = "DEV000000A", "DEV000000B"
OPERATIONS = ["metric/set", "metric/get", "store/set", "store/get", "test/ping", "db/syncToDynamo", "db/syncDown"]
NAMES = [
    *("metric", "value", "dimensions", "buffer", "period", "statistic", "key", "type", "expires", "seq", "changes"),
    *("timestamp", "cmd", "item", "_type", "id", "deviceId", "accountId", "updated", "sk", "elapsed", "count"),
]
TEXTS = [
    *("T", "a#b", "", "${deviceId}", "avg", "p90", "boolean", "update", "remove", "Store", "Device", "Log", "Service"),
    *(f"s#{A}", f"d#{A}", f"d#{B}", "s#x", "pin#x", "service#", "l#1", B, "2025-01-01T00:00:00.000Z", "soon"),
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(TEXTS),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner),
    max_leaves=12,
)
bodies = st.dictionaries(st.sampled_from(NAMES), values, max_size=6)
topics = st.builds(
    lambda rule, operation, seq: f"{rule}ioto/service/{A}/{operation}{seq}",
    st.sampled_from(["", "$aws/rules/IotoDevice/"]),
    st.sampled_from(OPERATIONS) | st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(["", "/1", "/", "/1/2"]),
)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = connect(None)
    yield db
    db.close()


@pytest.fixture
def cloud(db: sqlite3.Connection) -> Cloud:
    cloud = Cloud(db, Builder(db))
    for id_ in (A, B):
        cloud.register_device(id_)
        cloud.claim_device(id_)
    return cloud


@pytest.fixture
def service(cloud: Cloud) -> CloudService:
    return CloudService(cloud, Faults(), Dated())


def of_b(cloud: Cloud) -> list[Any]:
    """What there is of the device B."""
    models = [name for name, process in cloud.models.schema["process"].items() if name != "Metric" and process]
    owner = {"accountId": cloud.account_id, "deviceId": B, "id": B}
    return [
        [item for item in cloud.models.since(name, owner, "") if B in (item.get("deviceId"), item.get("id"))]
        for name in models
    ]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(topics, bodies.map(json.dumps).map(str.encode) | st.binary(max_size=30)), max_size=4))
def test_no_message_fails_or_reaches_another_device(
    cloud: Cloud, service: CloudService, caplog: pytest.LogCaptureFixture, sent: list[tuple[str, bytes]]
) -> None:
    caplog.clear()
    before = of_b(cloud)
    replies = service.receive([Message(A, topic, payload) for topic, payload in sent])
    assert {reply.client_id for reply in replies} <= {A}
    assert all(reply.topic.startswith(f"ioto/device/{A}/") for reply in replies)
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.WARNING] == []
    assert of_b(cloud) == before


def sum_of(cloud: Cloud, metric: str) -> float | None:
    found = cloud.metrics.engine(cloud.account_id).query(
        "Embedthis/Device", metric, {}, 300, "sum", accumulate=True, timestamp=cloud.now()
    )
    return found["points"][0]["value"] if found["points"] else None


def test_messages_are_stored_all_or_none(db: sqlite3.Connection, cloud: Cloud, service: CloudService) -> None:
    messages = [
        Message(A, f"ioto/service/{A}/metric/set", b'{"metric":"T","value":1}'),
        Message(A, f"ioto/service/{A}/metric/set", b'{"metric":"held","value":1,"buffer":{"elapsed":600}}'),
        Message(A, f"ioto/service/{A}/store/set", b'{"key":"a","value":1}'),
    ]
    db.execute("CREATE TRIGGER full BEFORE INSERT ON items BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
    with pytest.raises(sqlite3.Error, match="the disk is full"):
        service.receive(messages)
    assert (sum_of(cloud, "T"), sum_of(cloud, "held")) == (None, None)
    db.execute("DROP TRIGGER full")
    service.receive(messages)
    assert (sum_of(cloud, "T"), sum_of(cloud, "held")) == (1, 1)


def test_a_message_that_meets_a_defect_is_logged_and_the_others_are_carried_out(
    cloud: Cloud, service: CloudService, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.models.schema["process"]["Store"]["metrics"] = [4]
    messages = [
        Message(A, f"ioto/service/{A}/metric/set", b'{"metric":"T","value":1}'),
        Message(A, f"ioto/service/{A}/store/set", b'{"key":"a","value":1}'),
        Message(A, f"ioto/service/{A}/test/ping/9", b""),
    ]
    assert service.receive(messages) == [Message(A, f"ioto/device/{A}/test/ping/9", b"pinged")]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert sum_of(cloud, "T") == 1


def test_a_message_of_a_device_that_was_just_released_is_nothing(
    cloud: Cloud, service: CloudService, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.release_device(A)
    assert service.receive([Message(A, f"ioto/service/{A}/test/ping/1", b"")]) == []
    assert "the device is not claimed" in caplog.text
