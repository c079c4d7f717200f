"""Records to JSON values and back: the one cattrs converter.

Names in camel case on the wire are in snake case here, dates are aware datetimes, and what a reply holds beyond a
record's members stays in its ``extra``. A value that does not fit raises `Mismatch`, which knows where it is;
`ioto_async.codec.lenient` makes of such a reply what can be made of it.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import attrs
from cattrs import Converter

from ..models.wire import EPOCH, epoch_ms, iso, wire_name
from ..settings import conceal
from .generated import Reader, can_be_generated, structure_hook, unstructure_hook

__all__ = [
    "Mismatch",
    "Reader",
    "converted",
    "converter",
    "epoch_ms",
    "iso",
    "members",
    "members_of",
    "readers",
]

_FIRST_MILLISECONDS: Final = 1e11
"""Epoch numbers from here on are milliseconds: as seconds they would be beyond the year 5138 (reference, section 9)."""


class Mismatch(Exception):
    """A value that does not fit; every level that it passes adds its step to ``steps``, innermost first."""

    def __init__(self, expected: str, value: object) -> None:
        # Text is not shown: it may be key material in the wrong place.
        shown = f" {value!r}" if isinstance(value, (bool, int, float)) else ""
        super().__init__(f"expected {expected}, got {_json_type(value)}{shown}")
        self.steps: list[str | int] = []


def _json_type(value: object) -> str:
    names = ((bool, "boolean"), ((int, float), "number"), (str, "string"), (list, "array"), (dict, "object"))
    return next((name for types, name in names if isinstance(value, types)), "null")


def _text(value: object, _: object) -> str:
    if type(value) is not str:
        raise Mismatch("a string", value)
    return value


def _key(value: object, _: object) -> str:
    if type(value) is not str or not value:
        raise Mismatch("a string that is not empty", value)
    return value


def _boolean(value: object, _: object) -> bool:
    if type(value) is not bool:
        raise Mismatch("a boolean", value)
    return value


def _integer(value: object, _: object) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise Mismatch("a whole number", value)


def _number(value: object, _: object) -> float:
    # An int stays one: counts and sums keep their digits.
    if type(value) is int or type(value) is float:
        return value
    raise Mismatch("a number", value)


def _date(value: object, _: object) -> datetime:
    try:
        if type(value) is str:
            date = datetime.fromisoformat(value)
            if date.tzinfo is UTC:
                return date
            return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
        if type(value) is int or type(value) is float:
            return _instant(value)
    except (ValueError, OverflowError):
        pass
    raise Mismatch("a date (ISO text, epoch seconds or milliseconds)", value)


@lru_cache(maxsize=1024)
def _instant(value: float) -> datetime:
    """The date of epoch seconds or milliseconds, which the series of a reply have in common."""
    if abs(value) >= _FIRST_MILLISECONDS:
        return EPOCH + timedelta(milliseconds=value)
    return EPOCH + timedelta(seconds=value)


_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BOOLEANS: Final = {"true": True, "false": False}


def converted(value: object, cls: object) -> Any:
    """What a *value* of another type plainly means as a *cls*: numbers and booleans as text, and numbers as text ones.

    None where that is not plain.
    """
    if isinstance(value, str):
        if cls is bool:
            return _BOOLEANS.get(value.strip().lower())
        number = _number_in(value)
        if number is None or cls is float:
            return number if cls is float else None
        try:
            return _integer(number, cls) if cls is int else _date(number, cls) if cls is datetime else None
        except Mismatch:
            return None
    if type(value) in (int, float):
        return repr(value) if cls is str else bool(value) if cls is bool and value in (0, 1) else None
    return None


def _number_in(text: str) -> float | None:
    text = text.strip()
    if not _NUMBER.fullmatch(text) or not math.isfinite(number := float(text)):
        return None
    return int(text) if number.is_integer() and len(text) < 20 and text.lstrip("-").isdecimal() else number


def _anything(value: object, _: object) -> object:
    return value


def _object(value: object, _: object) -> dict[str, Any]:
    if type(value) is not dict:
        raise Mismatch("an object", value)
    return value


# Types that are the same in JSON: most members need no more than this look.
_PLAIN: Final[Mapping[Any, type]] = {str: str, bool: bool, int: int, float: float, dict[str, Any]: dict}


def members(cls: type[Any]) -> dict[str, "attrs.Attribute[Any]"]:
    """The attributes of *cls* by wire name, without ``extra``."""
    fields = attrs.fields(attrs.resolve_types(get_origin(cls) or cls))
    return {wire_name(field): field for field in fields if field.name != "extra"}


def members_of(record: Any) -> dict[str, Any]:
    """What *record* holds, by wire name, and not converted itself; None leaves a member out.

    ``extra`` may have a member, too, as it came: what the attribute says of it counts.
    """
    held = {name: getattr(record, field.name) for name, field in members(type(record)).items()}
    return getattr(record, "extra", {}) | {name: value for name, value in held.items() if value is not None}


def readers(cls: type[Any], converter: Converter) -> dict[str, Reader]:
    """How the members of *cls* are read, by wire name."""
    found = {}
    for name, field in members(cls).items():
        type_ = _inner(field.type) if _is_optional(field.type) else field.type or Any  # None leaves a member out
        hook = converter.get_structure_hook(type_)
        plain = _PLAIN.get(type_)
        if field.default is attrs.NOTHING and type_ is str:
            plain, hook = None, _key
        found[name] = (field.alias or field.name, plain, hook, type_)
    return found


def _structure_record(cls: type[Any], converter: Converter) -> Callable[[object, object], Any]:
    careful = careful_hook(cls, converter)
    if not can_be_generated(attrs.resolve_types(get_origin(cls) or cls)):
        return careful
    return structure_hook(get_origin(cls) or cls, members(cls), readers(cls, converter), careful, Mismatch)


def careful_hook(cls: type[Any], converter: Converter) -> Callable[[object, object], Any]:
    """The hook that structures a *cls* member by member, in the order of the reply, and knows where it is."""
    reader_of = readers(cls, converter).get
    keeps_extra = any(field.name == "extra" for field in attrs.fields(cls))
    any_type = getattr(cls, "any_type", False)

    def structure(value: object, _: object) -> Any:
        if type(value) is not dict:
            raise Mismatch("an object", value)
        known: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, item in value.items():
            reader = reader_of(name)
            if reader is None:
                extra[name] = item
            elif type(item) is reader[1]:
                known[reader[0]] = item
            elif item is not None:
                try:
                    known[reader[0]] = reader[2](item, reader[3])
                except Mismatch as mismatch:
                    if not any_type:
                        mismatch.steps.append(name)
                        raise
                    known[reader[0]] = converted(item, reader[3])
                    extra[name] = item
        if keeps_extra:
            known["extra"] = conceal(extra) if extra else extra
        try:
            return cls(**known)
        except TypeError:  # an argument is missing
            raise _without_key(cls, value) from None

    return structure


def _without_key(cls: type[Any], value: dict[str, Any]) -> Mismatch:
    """What is wrong with the *value* of a record of *cls* that lacks what tells the record from others."""
    required = (name for name, field in members(cls).items() if field.default is attrs.NOTHING)
    name = next(name for name in required if value.get(name) is None)
    mismatch = Mismatch("a string that is not empty", value.get(name))
    mismatch.steps.append(name)
    return mismatch


def _structure_list(cls: type[Any], converter: Converter) -> Callable[[object, object], Any]:
    (element,) = get_args(cls)
    hook = converter.get_structure_hook(element)

    def structure(value: object, _: object) -> list[Any]:
        if type(value) is not list:
            raise Mismatch("an array", value)
        items: list[Any] = []
        try:
            for item in value:
                items.append(hook(item, element))  # noqa: PERF401  the position names the culprit
        except Mismatch as mismatch:
            mismatch.steps.append(len(items))
            raise
        return items

    return structure


def _structure_optional(cls: type[Any], converter: Converter) -> Callable[[object, object], Any]:
    type_ = _inner(cls)
    hook = converter.get_structure_hook(type_)
    return lambda value, _: None if value is None else hook(value, type_)


def _is(container: type) -> Callable[[Any], bool]:
    return lambda cls: get_origin(cls) is container


def _is_optional(cls: object) -> bool:
    """Whether *cls* is one type or None."""
    args = get_args(cls)
    return get_origin(cls) in (Union, UnionType) and len(args) == 2 and type(None) in args


def _inner(cls: object) -> Any:
    """What an optional type may be beside None."""
    (type_,) = (arg for arg in get_args(cls) if arg is not type(None))
    return type_


def _unstructure_record(cls: type[Any], converter: Converter) -> Callable[[Any], dict[str, Any]]:
    return unstructure_hook(cls, members(cls), converter.unstructure)


def _make_converter() -> Converter:
    # Hooks of our own for every type that records use: half the time of the stock ones on a record of nine
    # optional members, strict about JSON types, and they know where they are.
    converter = Converter()
    for type_, hook in ((str, _text), (bool, _boolean), (int, _integer), (float, _number), (datetime, _date)):
        converter.register_structure_hook(type_, hook)
    converter.register_structure_hook_func(lambda cls: cls is Any, _anything)
    converter.register_structure_hook_func(_is(dict), _object)
    converter.register_structure_hook_factory(_is(list), _structure_list)
    converter.register_structure_hook_factory(_is_optional, _structure_optional)
    converter.register_structure_hook_factory(attrs.has, _structure_record)
    converter.register_unstructure_hook(datetime, iso)
    converter.register_unstructure_hook_factory(attrs.has, _unstructure_record)
    return converter


converter: Final = _make_converter()
"""The converter of all records; hooks for types of your own can be registered on it."""
