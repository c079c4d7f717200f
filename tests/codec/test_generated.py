"""The generated hooks do what the careful ones do: the same records, the same failures."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from ioto_async.codec.records import Mismatch, careful_hook, converter, members, members_of
from ioto_async.models import Certificates, Device
from tests.records import RECORDS, exact, json_values, least, records, scalars, wire_names, words
from tests.rows import each_row

Structure = Callable[[Any, Any], Any]

DATES = ["2024-01-23T01:02:03Z", "2024-01-23T01:02:03.5+09:00", "2024-01-23", "0001-01-01T00:00+05:00", "n/a", 1e20, 17]
SECRETS: dict[str, Any] = {
    "apiToken": "x",
    "pem": "-----BEGIN PRIVATE KEY-----",
    "dash": "-",
    "nested": {"password": "x"},
    "list": [{"token": "x"}],
}


def _outcome(hook: Structure, value: object, cls: type[Any]) -> object:
    """What comes of *value*: the record, its secrets, and the order of what is unknown; or where and how it fails."""
    try:
        found = hook(value, cls)
    except Mismatch as mismatch:
        return str(mismatch), mismatch.steps
    return exact(found), repr(found), repr(getattr(found, "extra", None))


def _agree(cls: type[Any], value: object) -> None:
    expected = _outcome(careful_hook(cls, converter), value, cls)
    assert _outcome(converter.get_structure_hook(cls), value, cls) == expected


def _wire(cls: type[Any]) -> st.SearchStrategy[Any]:
    """What a reply may have in the place of a *cls*: records, and others with members of any type and in any order."""
    named = {
        name: st.sampled_from(DATES) if field.type in (datetime, datetime | None) else json_values
        for name, field in members(cls).items()
    }
    some = st.lists(st.sampled_from(sorted(named)), unique=True, max_size=6)
    odd = some.flatmap(lambda names: st.fixed_dictionaries({name: named[name] | scalars for name in names}))
    unknown = st.dictionaries(words, json_values, max_size=2) | st.just(SECRETS)
    keys = st.fixed_dictionaries({}, optional={name: st.just("K") | scalars for name in least(cls)})
    mixed = st.tuples(odd, unknown, keys).flatmap(
        lambda parts: st.permutations([item for part in parts for item in part.items()]).map(dict)
    )
    return st.one_of(records(cls).map(converter.unstructure), mixed, mixed, json_values)


def _agree_on_any(cls: type[Any]) -> None:
    @settings(max_examples=8)
    @given(_wire(cls))
    def agree(value: object) -> None:
        _agree(cls, value)

    agree()


@each_row("cls", RECORDS)
def test_the_generated_hook_and_the_careful_one_agree_on_any_reply(cls: type[Any]) -> None:
    _agree_on_any(cls)


@each_row("cls", RECORDS)
def test_the_generated_hook_and_the_careful_one_agree_on_every_member(cls: type[Any]) -> None:
    values: list[object] = [*DATES, None, True, 0, 1.5, 2.0, 2**70, "", "x", [], [None], {}, {"id": "x"}, [{}]]
    for name in wire_names(cls):
        for value in values:
            _agree(cls, {**least(cls), name: value})
            _agree(cls, {name: value, "unknown": SECRETS, **least(cls)})


def test_a_reply_is_not_changed_by_the_hook_beyond_what_is_secret() -> None:
    value = {"id": "D", "accessed": "2024-01-23T00:00:00Z", "name": "N", "more": {"a": [1]}}
    before = {**value}
    converter.get_structure_hook(Device)(value, Device)
    assert value == before


def test_records_do_not_share_what_is_unknown() -> None:
    first, second = converter.get_structure_hook(list[Device])([{"id": "A"}, {"id": "B"}], list[Device])
    first.extra["x"] = 1
    assert second.extra == {}


def _doubled(value: float | None) -> float | None:
    return None if value is None else value * 2


@attrs.define(kw_only=True)
class Checked:
    """A record whose class does more than set its attributes."""

    first: float | None = attrs.field(default=None, converter=_doubled)
    second: str | None = None
    seen: list[str] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.seen.append("after")


@attrs.frozen
class Frozen:
    """A record whose attributes cannot be set."""

    value: float | None = None
    count: float | None = None


@attrs.define
class Counted:
    """A record whose member is not None by default."""

    count: int = 7


@each_row(
    "cls, value, read",
    [
        (Frozen, {"value": 1, "other": 2}, Frozen(1)),
        (Checked, {"first": 2, "second": "x"}, Checked(first=2, second="x")),
        (Counted, {}, Counted(7)),
        (Counted, {"count": 3.0}, Counted(3)),
        (Certificates, {"key": "x"}, Certificates(key="x")),
    ],
)
def test_a_class_is_made_as_it_wants_to_be(cls: type[Any], value: dict[str, Any], read: object) -> None:
    assert converter.get_structure_hook(cls)(value, cls) == read


# Encoding ---------------------------------------------------------------------------------------------------------


def _unstructured(record: Any) -> dict[str, Any]:
    """What a record is in JSON, member by member."""
    made = {name: converter.unstructure(value) for name, value in members_of(record).items()}
    return {**record.extra, **made}


def _same_json(cls: type[Any]) -> None:
    @settings(max_examples=10)
    @given(records(cls))
    def same(record: Any) -> None:
        made = converter.unstructure(record)
        assert exact(made) == exact(_unstructured(record))
        assert [*made] == [*_unstructured(record)]

    same()


@each_row("cls", RECORDS)
def test_a_record_is_unstructured_as_its_members_are(cls: type[Any]) -> None:
    _same_json(cls)
