"""Nothing gets lost or changed on the way to the wire and back: records, JSON values, dates."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ioto_async.codec.decoding import anything, paged, record
from ioto_async.codec.encoding import body as encode
from ioto_async.codec.records import converter, epoch_ms
from ioto_async.models import Action, ActionResult, Alert, Dashboard, Device, File, Login, Metric, StoreItem, Widget
from ioto_async.operations import IOTO
from tests.records import RECORDS, exact, json_objects, json_values, least, records
from tests.rows import each_row

OPERATION = IOTO["device/get"]


def dumps(value: object) -> bytes:
    """JSON, not by the library that the package uses."""
    return json.dumps(value, ensure_ascii=False).encode()


# Records ----------------------------------------------------------------------------------------------------------


def _sent(value: object) -> Any:
    """*value* as it arrives at a server, in a body."""
    return json.loads(encode(IOTO["generic/create"], {"_type": "M", "value": value}))["value"]


def _any_survive(cls: type[Any]) -> None:
    @settings(max_examples=10)
    @given(st.lists(records(cls), max_size=2))
    def survive(originals: list[Any]) -> None:
        for original in originals:
            # Wrapped: a bare record of nothing but an error is a failure.
            assert exact(record(cls)(OPERATION, dumps({"data": _sent(original)}))) == exact(original)
        page = paged(cls)(OPERATION, dumps({"data": [converter.unstructure(original) for original in originals]}))
        assert exact(page.items) == exact(originals)

    survive()


@each_row("cls", RECORDS)
def test_any_record_survives_the_way_to_the_wire_and_back_alone_and_in_a_page(cls: type[Any]) -> None:
    _any_survive(cls)


SAMPLES: dict[Any, object] = {
    str | None: "x",
    bool | None: False,
    int | None: 0,
    float | None: 0.5,
    datetime | None: datetime(2024, 1, 23, tzinfo=UTC),
    dict[str, Any] | None: {"a": [1]},
    list[Any] | None: [None],
}


@each_row(
    "cls, name, value",
    [
        (cls, field.name, SAMPLES[field.type])
        for cls in RECORDS
        for field in attrs.fields(attrs.resolve_types(cls))
        if field.type in SAMPLES
    ],
)
def test_every_member_of_a_record_travels_by_itself(cls: type[Any], name: str, value: object) -> None:
    original = cls(**least(cls) | {name: value})
    assert len(_sent(original)) == len(least(cls) | {name: value})
    assert exact(record(cls)(OPERATION, dumps({"data": _sent(original)}))) == exact(original)


# JSON values ------------------------------------------------------------------------------------------------------


OBJECTS: list[tuple[type[Any], str]] = [
    (ActionResult, "context"),
    (Action, "context"),
    (Action, "args"),
    (Alert, "context"),
    (Login, "roles"),
    (Login, "schema"),
    (Metric, "dimensions"),
    (Widget, "options"),
]


@settings(max_examples=60)
@given(value=json_objects)
@each_row("cls, name", OBJECTS)
def test_any_object_is_kept_exactly(value: dict[str, Any], cls: type[Any], name: str) -> None:
    found = record(cls)(OPERATION, dumps(least(cls) | {name: value}))
    assert exact(getattr(found, name)) == exact(value)
    assert exact(_sent(found)) == exact(least(cls) | {name: value})


HARD = [2**64 - 1, -(2**63), 1.0, -0.0, 5e-324, {"": {"": [[], {}, [[]]]}}, "\x00é😀\u2028", [None], ""]


@settings(max_examples=100)
@given(json_values)
@example(HARD)
def test_any_value_of_a_store_item_is_kept_exactly(value: object) -> None:
    found = record(StoreItem)(OPERATION, dumps({"key": "k", "value": value}))
    assert exact(found.value) == exact(value)
    assert exact(_sent(found)) == exact({"key": "k"} if value is None else {"key": "k", "value": value})


@settings(max_examples=50)
@given(value=json_values)
@example(HARD)
@each_row("cls", RECORDS)
def test_any_value_of_an_unknown_member_is_kept_exactly(value: object, cls: type[Any]) -> None:
    found = record(cls)(OPERATION, dumps(least(cls) | {"unknown": value}))
    assert exact(found.extra) == exact({"unknown": value})
    assert exact(_sent(found)) == exact(least(cls) | {"unknown": value})


@settings(max_examples=60)
@given(value=json_values)
@example(HARD)
def test_any_value_inside_a_widget_is_kept_exactly(value: object) -> None:
    wire = {"id": "D", "widgets": [{"options": {"v": value}, "actions": [{"conditions": [value], "mine": value}]}]}
    found = record(Dashboard)(OPERATION, dumps(wire))
    assert exact(_sent(found)) == exact(wire)


@settings(max_examples=100)
@given(json_values)
@example(HARD)
def test_any_value_is_decoded_as_it_came(value: object) -> None:
    # In a list, as an object of nothing but an error is a failure.
    assert exact(anything(OPERATION, dumps([value]))) == exact([value])


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_content_of_a_file_is_decoded(content: bytes) -> None:
    wire = {"data": base64.b64encode(content).decode()}
    assert record(File)(OPERATION, dumps(wire)).content == content


# Dates ------------------------------------------------------------------------------------------------------------

# The documented forms, for times that numbers of seconds and of milliseconds tell apart.
FORMS: dict[str, Callable[[datetime], object]] = {
    "z": lambda date: date.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    "offset of zero": lambda date: date.isoformat(timespec="milliseconds"),
    "offset": lambda date: date.astimezone(timezone(timedelta(hours=-9, minutes=-30))).isoformat(),
    "none": lambda date: date.replace(tzinfo=None).isoformat(),
    "seconds": lambda date: date.timestamp(),
    "milliseconds": lambda date: round(date.timestamp() * 1000),
}
instants = (
    st.datetimes(datetime(1974, 1, 1), datetime(2199, 1, 1)) | st.datetimes(datetime(1900, 1, 1), datetime(1966, 1, 1))
).map(lambda date: date.replace(microsecond=date.microsecond // 1000 * 1000, tzinfo=UTC))


def _created(wire: object) -> datetime:
    created = record(Device)(OPERATION, dumps({"id": "D", "created": wire})).created
    assert created is not None
    return created


@settings(max_examples=100)
@given(date=instants)
@each_row("written", FORMS)
def test_any_documented_form_of_a_date_is_the_same_instant(
    date: datetime, written: Callable[[datetime], object]
) -> None:
    created = _created(written(date))
    assert (created, created.tzinfo) == (date, UTC)


@settings(max_examples=60)
@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-3))])))
def test_a_time_in_milliseconds_is_read_back(date: datetime) -> None:
    milliseconds = epoch_ms(date)
    if abs(milliseconds) < 1e11 or not datetime(2, 1, 1, tzinfo=UTC) < date < datetime(9999, 1, 1, tzinfo=UTC):
        return
    assert timedelta(0) <= date - _created(milliseconds) < timedelta(milliseconds=1)
