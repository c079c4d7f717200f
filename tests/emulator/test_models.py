import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioto_async.emulator.request import Refused
from ioto_async.emulator.state.models import Models
from ioto_async.emulator.state.schema import device_schema
from ioto_async.emulator.state.storage import connect
from tests.rows import each_row

NOW = 1_700_000_000_123
STAMP = "2023-11-14T22:13:20.123Z"
OWNER = {"accountId": "A", "deviceId": "D"}
ITEM = {**OWNER, "key": "speed", "value": 5, "type": "number"}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Clock:
    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def models(clock: Clock) -> Iterator[Models]:
    db = connect(None)
    yield Models(db, clock)
    db.close()


def refusal(function: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(Refused) as caught:
        function(*args, **options)
    assert caught.value.status == 400
    assert "\n" not in caught.value.message
    return caught.value.message


def fill(models: Models, count: int) -> list[str]:
    keys = [f"k{number:03}" for number in range(count)]
    for key in keys:
        models.create("Store", {**ITEM, "key": key})
    return keys


def keys_of(page: dict[str, Any]) -> list[str]:
    return [record["key"] for record in page["data"]]


# Create, update, remove


def test_a_created_item_comes_back_by_its_key(models: Models) -> None:
    models.create("Store", ITEM)
    assert models.get("Store", {**OWNER, "key": "speed"}) == {"_type": "Store", **ITEM, "updated": STAMP}


def test_create_returns_the_record(models: Models) -> None:
    assert models.create("Store", ITEM) == models.get("Store", ITEM)


def test_create_with_exists_null_replaces_the_whole_item(models: Models) -> None:
    models.create("Store", {**ITEM, "role": "user"})
    assert "role" not in models.create("Store", {**ITEM, "value": 6}, None)


def test_update_changes_what_is_named_and_keeps_the_rest(models: Models) -> None:
    models.create("Store", {**ITEM, "role": "user"})
    record = models.update("Store", {**OWNER, "key": "speed", "value": 6})
    assert (record["value"], record["role"]) == (6, "user")


def test_update_with_exists_null_makes_the_item_and_stamps_created(models: Models, clock: Clock) -> None:
    models.update("Store", ITEM, None)
    clock.ms += 1000
    record = models.update("Store", {**ITEM, "value": 6}, None)
    assert (record["created"], record["updated"]) == (STAMP, "2023-11-14T22:13:21.123Z")


def test_update_removes_a_member_set_to_null(models: Models) -> None:
    models.create("Store", {**ITEM, "role": "user"})
    assert "role" not in models.update("Store", {**OWNER, "key": "speed", "role": None})


def test_an_upsert_keeps_a_stored_value_that_has_a_default(models: Models) -> None:
    command = models.create("Command", {**OWNER, "command": "ls", "args": {"all": True}})
    record = models.update("Command", {**OWNER, "id": command["id"], "command": "ls -l"}, None)
    assert record["args"] == {"all": True}


def test_a_record_that_was_read_can_be_sent_back(models: Models, clock: Clock) -> None:
    record = models.update("Store", {**ITEM, "expires": NOW + 60_000}, None)
    clock.ms += 1000
    assert models.update("Store", {**record, "value": 6})["expires"] == record["expires"]


def test_remove_takes_the_item_away(models: Models) -> None:
    models.create("Store", ITEM)
    models.remove("Store", {**OWNER, "key": "speed"})
    assert models.get("Store", {**OWNER, "key": "speed"}) is None


def test_a_missing_id_is_a_new_ulid(models: Models) -> None:
    first, second = (models.create("Log", {**OWNER, "message": "hello"})["id"] for _ in range(2))
    assert len(first) == len(second) == 26
    assert first != second


KEY = {**OWNER, "key": "speed"}
NO_VALUE = {name: value for name, value in ITEM.items() if name != "value"}


@each_row(
    "call, model, arguments, message",
    [
        ("create", "Store", (ITEM, True), 'Cannot create "Store": the item does not exist'),
        ("update", "Store", (ITEM,), 'Cannot update "Store": the item does not exist'),
        ("remove", "Store", (ITEM, True), 'Cannot remove "Store": the item does not exist'),
        ("remove", "Store", (OWNER,), 'Missing "key" for the key of "Store"'),
        ("find", "Stores", (OWNER, {}), 'Cannot find model "Stores"'),
        ("find", "Store", (OWNER, {"index": "gs2"}), 'Cannot find index "gs2"'),
        ("find", "Store", (OWNER, {"index": "gs1"}), 'Missing "gs1pk" for the key of "Store"'),
        ("get", "Store", ({"accountId": "A"},), 'Missing "deviceId" for the key of "Store"'),
        ("create", "Store", (NO_VALUE,), 'Validation error in "Store" for "value": required'),
        (
            "create",
            "Settings",
            ({**OWNER, "volume": "loud"},),
            'Validation error in "Settings" for "volume": not of type number',
        ),
        (
            "create",
            "Settings",
            ({**OWNER, "volume": True},),
            'Validation error in "Settings" for "volume": not of type number',
        ),
        (
            "create",
            "Device",
            ({"accountId": "A", "id": "D", "connection": "away"},),
            'Validation error in "Device" for "connection": not one of online, offline',
        ),
        *(
            ("create", "Store", ({**ITEM, "expires": date},), 'Validation error in "Store" for "expires": not a date')
            for date in ("yesterday", 1e15, 1e20, -1e17)
        ),
        (
            "create",
            "Store",
            ({**ITEM, "created": STAMP},),
            'Validation error in "Store" for "created": read-only',
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    models: Models, call: str, model: str, arguments: tuple[Any, ...], message: str
) -> None:
    assert refusal(getattr(models, call), model, *arguments) == message
    assert models.find("Store", OWNER, {})["data"] == []


@each_row(
    "call, arguments, message",
    [
        ("create", (ITEM,), 'Cannot create "Store": the item exists'),
        ("update", (ITEM, False), 'Cannot update "Store": the item exists'),
        ("update", ({**KEY, "value": None},), 'Validation error in "Store" for "value": required'),
        (
            "update",
            ({**ITEM, "created": "2020-01-01T00:00:00.000Z"},),
            'Validation error in "Store" for "created": read-only',
        ),
    ],
)
def test_what_an_item_that_is_there_does_not_take_is_refused_by_name(
    models: Models, call: str, arguments: tuple[Any, ...], message: str
) -> None:
    before = models.update("Store", ITEM, None)
    assert refusal(getattr(models, call), "Store", *arguments) == message
    assert models.get("Store", KEY) == before


@each_row(
    "option, value",
    [
        *(("limit", limit) for limit in ("0", "-1", "many", "1.5")),
        *(("next", cursor) for cursor in ("x", "{}", "[]", "5", '{"pk":"s#A#D","sk":5}')),
    ],
)
def test_a_limit_or_a_cursor_that_is_none_is_refused(models: Models, option: str, value: str) -> None:
    assert refusal(models.find, "Store", OWNER, {option: value}).startswith(f'Bad value for "{option}"')


@each_row(
    "expires, shown",
    [
        # Rounded up to seconds.
        (NOW + 1, "2023-11-14T22:13:21.000Z"),
        ("2030-01-01T00:00:00.000Z", "2030-01-01T00:00:00.000Z"),
    ],
)
def test_an_expiry_in_milliseconds_or_as_a_date_comes_back_as_a_date(
    models: Models, expires: object, shown: str
) -> None:
    assert models.create("Store", {**ITEM, "expires": expires}, None)["expires"] == shown


@each_row(
    "model, item, wanted",
    [
        ("Store", ITEM, {**OWNER, "accountId": "B"}),
        ("Store", {**ITEM, "value": True}, {**OWNER, "value": 1}),
        ("Command", {"accountId": "A", "deviceId": "DE", "command": "ls"}, OWNER),
    ],
)
def test_find_does_not_take_what_is_like_it_for_what_is_wanted(
    models: Models, model: str, item: dict[str, Any], wanted: dict[str, Any]
) -> None:
    models.create(model, item, None)
    assert models.find(model, wanted, {})["data"] == []


def test_nothing_is_got_and_may_be_removed(models: Models) -> None:
    models.remove("Store", KEY)
    assert models.get("Store", KEY) is None


def test_a_new_item_has_no_members_beyond_the_schema_no_source_and_no_date_of_creation(models: Models) -> None:
    record = models.create("Store", {**ITEM, "colour": "red", "_source": "device"})
    assert {"colour", "_source", "created"}.isdisjoint(record)


# Members


def test_a_caller_cannot_set_the_keys_of_the_database(models: Models) -> None:
    models.create("Store", {**ITEM, "pk": "s#B#D", "sk": "s#other"})
    assert models.get("Store", {**OWNER, "key": "speed"}) is not None


def test_a_default_stands_for_a_member_that_was_not_given(models: Models) -> None:
    assert models.create("Command", {**OWNER, "command": "ls"})["args"] == {}


@given(json_values.filter(lambda value: value is not None))
def test_any_json_value_of_a_store_comes_back_exactly(value: object) -> None:
    db = connect(None)
    models = Models(db, Clock())
    models.create("Store", {**ITEM, "value": value})
    record = models.get("Store", {**OWNER, "key": "speed"})
    db.close()
    assert record is not None
    # As texts, since 1, 1.0 and True are equal in Python.
    assert json.dumps(record["value"]) == json.dumps(value)


# Expiry


def test_an_expired_item_is_gone(models: Models, clock: Clock) -> None:
    models.create("Store", {**ITEM, "expires": NOW + 1000})
    clock.ms += 2000
    assert models.get("Store", {**OWNER, "key": "speed"}) is None
    assert models.find("Store", OWNER, {})["data"] == []


def test_an_expired_item_can_be_created_again(models: Models, clock: Clock) -> None:
    models.create("Store", {**ITEM, "expires": NOW + 1000})
    clock.ms += 2000
    models.create("Store", ITEM)


# Get and find


def test_get_by_a_part_of_the_key_finds_the_only_item_and_refuses_a_choice(models: Models) -> None:
    record = models.create("Store", ITEM)
    assert models.get("Store", OWNER) == record
    fill(models, 1)
    message = refusal(models.get, "Store", OWNER)
    assert message == 'Get of "Store" without a whole key finds more than one item'


def test_find_selects_by_a_part_of_the_sort_key(models: Models) -> None:
    for device in ("D", "E"):
        models.create("Command", {"accountId": "A", "deviceId": device, "command": "ls"})
    page = models.find("Command", {"accountId": "A", "deviceId": "E"}, {})
    assert [record["deviceId"] for record in page["data"]] == ["E"]


def test_find_by_the_whole_key_does_not_find_longer_keys(models: Models) -> None:
    for key in ("a", "ab", "a\0"):
        models.create("Store", {**ITEM, "key": key})
    assert keys_of(models.find("Store", {**OWNER, "key": "a"}, {})) == ["a"]


def test_find_compares_the_other_members(models: Models) -> None:
    for number in range(3):
        models.create("Store", {**ITEM, "key": f"k{number}", "value": number})
    assert keys_of(models.find("Store", {**OWNER, "value": 1}, {})) == ["k1"]


def test_find_without_a_limit_returns_100(models: Models) -> None:
    fill(models, 101)
    page = models.find("Store", OWNER, {})
    assert len(page["data"]) == 100
    assert "next" in page


def test_the_last_page_has_no_next(models: Models) -> None:
    fill(models, 2)
    assert models.find("Store", OWNER, {"limit": "2"}).keys() == {"data", "paged"}


def test_a_cursor_is_a_text_that_holds_an_object(models: Models) -> None:
    fill(models, 2)
    text = models.find("Store", OWNER, {"limit": "1"})["next"]
    assert json.loads(text) == {"pk": "s#A#D", "sk": "s#k000"}


def test_an_encoded_object_is_as_good_a_cursor(models: Models) -> None:
    fill(models, 2)
    spaced = json.dumps(json.loads(models.find("Store", OWNER, {"limit": "1"})["next"]), indent=1)
    assert keys_of(models.find("Store", OWNER, {"next": spaced})) == ["k001"]


def test_prev_comes_only_to_requests_with_a_cursor(models: Models) -> None:
    fill(models, 3)
    first = models.find("Store", OWNER, {"limit": "1"})
    assert "prev" not in first
    assert "prev" in models.find("Store", OWNER, {"limit": "1", "next": first["next"]})


def test_pages_are_filled_with_matches(models: Models) -> None:
    for number in range(20):
        models.create("Store", {**ITEM, "key": f"k{number:03}", "value": number % 5})
    page = models.find("Store", {**OWNER, "value": 3}, {"limit": "3"})
    assert keys_of(page) == ["k003", "k008", "k013"]
    assert keys_of(models.find("Store", {**OWNER, "value": 3}, {"next": page["next"]})) == ["k018"]


@given(count=st.integers(0, 25), limit=st.integers(1, 30))
def test_paging_there_and_back_visits_every_item_once_in_order(count: int, limit: int) -> None:
    db = connect(None)
    models = Models(db, Clock())
    keys = fill(models, count)
    query = {"limit": str(limit)}
    page = models.find("Store", OWNER, query)
    there = keys_of(page)
    while "next" in page:
        page = models.find("Store", OWNER, {**query, "next": page["next"]})
        there += keys_of(page)
    back = keys_of(page)
    while "prev" in page:
        page = models.find("Store", OWNER, {**query, "prev": page["prev"]})
        back = keys_of(page) + back
    db.close()
    assert there == keys
    assert back == keys


def test_a_cursor_of_another_account_is_refused(models: Models) -> None:
    fill(models, 2)
    cursor = models.find("Store", OWNER, {"limit": "1"})["next"]
    message = refusal(models.find, "Store", {**OWNER, "accountId": "B"}, {"next": cursor})
    assert message == "The cursor belongs to another find"


def test_a_filter_with_a_name_compares_that_member(models: Models) -> None:
    for number in range(3):
        models.create("Store", {**ITEM, "key": f"k{number}", "value": number})
    assert keys_of(models.find("Store", OWNER, {"filter": "value=2"})) == ["k2"]


def test_a_filter_without_a_name_looks_into_all_members(models: Models) -> None:
    models.create("Store", {**ITEM, "key": "speed limit"})
    models.create("Store", {**ITEM, "key": "other", "value": "the limit"})
    models.create("Store", {**ITEM, "key": "third"})
    assert keys_of(models.find("Store", OWNER, {"filter": "limit"})) == ["other", "speed limit"]


def test_a_filter_drops_the_limit(models: Models) -> None:
    fill(models, 5)
    assert len(models.find("Store", OWNER, {"filter": "k", "limit": "2"})["data"]) == 5


# Models of one's own

FAULT: dict[str, dict[str, Any]] = {
    "pk": {"type": "string", "value": "fault#${accountId}"},
    "sk": {"type": "string", "value": "fault#${id}"},
    "gs1pk": {"type": "string", "value": "level#${accountId}"},
    "gs1sk": {"type": "string", "value": "level#${level}"},
    "accountId": {"type": "string", "required": True},
    "id": {"type": "string", "generate": "ulid"},
    "level": {"type": "string"},
}


def test_an_added_model_can_be_used(models: Models) -> None:
    models.add_model("Fault", FAULT)
    record = models.create("Fault", {"accountId": "A", "level": "high"})
    assert models.get("Fault", {"accountId": "A"}) == record
    assert "Fault" in models.schema["models"]


@each_row("definition, named", [({"pk": FAULT["pk"]}, "templates"), ({**FAULT, "level": {"type": "letters"}}, "level")])
def test_an_added_model_needs_templates_for_its_keys_and_known_types(
    models: Models, definition: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        models.add_model("Fault", definition)


def test_the_second_index_selects_by_its_own_key(models: Models) -> None:
    models.add_model("Fault", FAULT)
    for fault, level in (("1", "low"), ("2", "high"), ("3", "low"), ("4", "lower")):
        models.create("Fault", {"accountId": "A", "id": fault, "level": level})
    wanted = {"accountId": "A", "level": "low"}
    page = models.find("Fault", wanted, {"index": "gs1", "limit": "1"})
    rest = models.find("Fault", wanted, {"index": "gs1", "next": page["next"]})
    assert [record["id"] for record in page["data"] + rest["data"]] == ["1", "3"]


def test_the_schema_is_plain_json_and_a_copy() -> None:
    schema = device_schema()
    assert json.loads(json.dumps(schema)) == schema
    schema["models"].clear()
    assert "Store" in device_schema()["models"]
