"""All records of the package, and strategies for them."""

import math
from datetime import UTC, datetime
from types import UnionType
from typing import Any, Union, get_args, get_origin

import attrs
from hypothesis import strategies as st

from ioto_async import models
from ioto_async.codec.records import converter
from ioto_async.models import Page

__all__ = ["RECORDS", "exact", "json_objects", "json_values", "least", "records", "scalars", "wire_names", "words"]


def _is_record(value: object) -> bool:
    return (
        isinstance(value, type)
        and attrs.has(value)
        and value is not Page
        and any(field.name == "extra" for field in attrs.fields(value))
    )


RECORDS: list[type[Any]] = [getattr(models, name) for name in models.__all__ if _is_record(getattr(models, name))]

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
"""Lone surrogates are no text."""
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(words, json_values, max_size=3)


def wire_names(cls: type[Any]) -> list[str]:
    """The documented members of *cls*, as its own encoding names them."""
    # An attribute of any type can be set: attrs does not check.
    full = cls(**{field.name: 0 for field in attrs.fields(cls) if field.name != "extra"})
    return list(converter.unstructure(full))


def least(cls: type[Any]) -> dict[str, Any]:
    """What a *cls* cannot do without, which is named alike as an attribute and on the wire."""
    return {field.name: f"the {field.name}" for field in attrs.fields(cls) if field.default is attrs.NOTHING}


def _members(cls: type[Any]) -> dict[str, Any]:
    fields = attrs.fields(attrs.resolve_types(cls))
    return {field.name: field.type for field in fields if field.name != "extra"}


def _values(type_: Any) -> st.SearchStrategy[Any]:
    """Values that an attribute of *type_* may have."""
    if get_origin(type_) in (Union, UnionType):
        return st.one_of(*(_values(arg) for arg in get_args(type_)))
    if get_origin(type_) is list:
        return st.lists(_values(get_args(type_)[0]), max_size=3)
    if get_origin(type_) is dict:
        return json_objects
    if attrs.has(type_):
        return records(type_)
    known: dict[Any, st.SearchStrategy[Any]] = {
        type(None): st.none(),
        str: words,
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**64 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1),
        datetime: st.datetimes(timezones=st.just(UTC)),
        Any: json_values,
    }
    return known[type_]


def records(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Records of *cls* with any members, known and unknown."""
    taken = {*wire_names(cls), "data"}
    extra = st.dictionaries(words.filter(lambda name: name not in taken), json_values, max_size=3)
    members = {name: _values(type_) for name, type_ in _members(cls).items()}
    # Some of them: a Widget has sixty.
    some = st.lists(st.sampled_from(sorted(members)), unique=True, max_size=6)
    keys = {name: words.filter(bool) for name in least(cls)}
    known = some.flatmap(lambda names: st.fixed_dictionaries({name: members[name] for name in names} | keys))
    return st.builds(lambda extra, known: cls(extra=extra, **known), extra, known)


def exact(value: Any) -> Any:
    """*value* with the types that an equation does not tell apart: 1, 1.0 and True."""
    if attrs.has(type(value)):
        return type(value), {field.name: exact(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return type(value), value, math.copysign(1, value) if isinstance(value, float) else None
