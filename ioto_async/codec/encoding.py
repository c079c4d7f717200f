"""Arguments to requests: bodies and query strings, checked by the table."""

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal

import attrs
import orjson

from ..errors import InvalidArgumentError
from ..models.wire import epoch_ms, iso
from ..operations import Field, Operation

__all__ = [
    "OMIT",
    "Exists",
    "Omit",
    "body",
    "exists_query",
    "given",
    "json_type",
    "part",
    "query",
    "required_text",
    "timestamp",
    "trimmed",
]

Exists = bool | Literal["any"]
"""What must be true of the item before a write: it exists, it does not, or either (``"any"``)."""


class Omit(Enum):
    """The type of `OMIT`: ``str | Omit | None`` is the annotation of a member that can be set, cleared or left out."""

    OMIT = object()  # no JSON, so that it is not sent by mistake

    def __repr__(self) -> str:
        return "OMIT"

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return getattr, (Omit, self.name)  # not by the value, which is another object in each process


OMIT: Final = Omit.OMIT
"""The default of a member that an update leaves as it is, where None clears it::

    await client.user.update(id, last=name if name is known else OMIT)

Among the members that `IotoClient.call` and the methods of ``generic`` take, one that is `OMIT` is left out as well.
"""

_KEY: Final = ("id", "Id")
"""How members are called that hold the key of a record."""


def given(members: Mapping[str, object]) -> dict[str, object]:
    """The *members* that are not left out."""
    return {name: value for name, value in members.items() if value is not OMIT}


_DEPTH: Final = 250
"""Levels that orjson writes; deeper, and endless, values are refused."""


def body(operation: Operation, members: Mapping[str, object], *, nulls: bool = False) -> bytes:
    """Make the body of a request.

    Args:
        operation: what is called; its documented members are checked for presence and type.
        members: by wire name. Dates become ISO text, records their own JSON. None leaves a documented member out;
            elsewhere it is sent as null.
        nulls: send None as null in documented members as well.

    Raises:
        InvalidArgumentError: a member is missing, empty, of the wrong type, or no JSON; the text names it.
    """
    return _dumps(operation, _checked(operation, operation.body, members, nulls=nulls))


def part(operation: Operation, members: Mapping[str, object]) -> bytes:
    """Make a part of a body, an `orjson.Fragment` of which can stand in the rest; nothing of it is documented.

    Raises:
        InvalidArgumentError: a member is no JSON; the text names it.
    """
    return trimmed(_dumps(operation, members))


def trimmed(data: bytes) -> bytes:
    """A copy of what orjson has returned, for where thousands wait: that keeps the 4 KiB that it was written to."""
    return bytes(memoryview(data))


def query(operation: Operation, members: Mapping[str, object]) -> dict[str, str]:
    """Make the members of a query string: text as it is, everything else as JSON; None is left out.

    Raises:
        InvalidArgumentError: a member is of the wrong type, or no JSON; the text names it.
    """
    members = {name: value for name, value in members.items() if value is not None}
    members = _checked(operation, operation.query, members)
    _dumps(operation, members)  # refuses what is no JSON
    return {
        name: value if isinstance(value, str) else orjson.dumps(value, _default).decode()
        for name, value in members.items()
    }


def required_text(operation: Operation, name: str, value: object) -> str:
    """Return *value* if it is text and not empty, for a member that the table does not know.

    Raises:
        InvalidArgumentError: it is not.
    """
    if not isinstance(value, str) or not value:
        raise _refusal(operation, name, "a string that is not empty", value)
    if not value.isascii():
        _dumps(operation, {name: value})
    return value


def json_type(operation: Operation, name: str, value: object) -> str:
    """What *value* is once it is JSON: ``boolean``, ``number``, ``string``, ``object`` (arrays as well) or ``null``.

    Raises:
        InvalidArgumentError: it is no JSON; the text names the member.
    """
    first = _dumps(operation, {name: value}).partition(b":")[2][:1]
    return _TYPES.get(first, "number")


_TYPES: Final = {b"t": "boolean", b"f": "boolean", b'"': "string", b"{": "object", b"[": "object", b"n": "null"}


def timestamp(operation: Operation, name: str, value: datetime | None) -> int | None:
    """Epoch milliseconds of *value*, None for None.

    Raises:
        InvalidArgumentError: it is no aware datetime; the text names the member.
    """
    if value is None:
        return None
    try:
        return epoch_ms(value)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{operation.name}: {name}: {error}") from None


def _is_cursor(value: object) -> bool:
    return isinstance(value, (str, Mapping)) and bool(value)


_CHECKS: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "string": ("a string that is not empty", lambda value: isinstance(value, str) and bool(value)),
    "base64": ("a string", lambda value: isinstance(value, str)),  # of nothing it is empty
    "number": ("a finite number", lambda value: type(value) is int or (type(value) is float and math.isfinite(value))),
    "count": ("a whole number above 0", lambda value: type(value) is int and value > 0),
    "boolean": ("a boolean", lambda value: isinstance(value, bool)),
    "object": ("a mapping or a record", lambda value: isinstance(value, Mapping) or attrs.has(type(value))),
    "array": ("a list", lambda value: isinstance(value, (list, tuple))),
    "cursor": ("a cursor as it was received", _is_cursor),
    "any": ("a value", lambda value: True),
}


def _checked(
    operation: Operation, fields: Iterable[Field], members: Mapping[str, object], *, nulls: bool = False
) -> Mapping[str, object]:
    """Hold *members* against their documentation; return those that are not None, or all of them with *nulls*."""
    absent: tuple[str, ...] = ()
    for field in fields:
        value = members.get(field.name)
        if value is None:
            if field.required:
                raise InvalidArgumentError(f"{operation.name}: {field.name} is required")
            absent += (field.name,)
        elif not (type(value) is str and value and field.type == "string"):  # most members are
            expected, fits = _CHECKS[field.type]
            if not fits(value):
                raise _refusal(operation, field.name, expected, value)
        elif value.strip() != value and field.name.endswith(_KEY):
            # The service would find nothing by it, and say so in other words.
            raise InvalidArgumentError(f"{operation.name}: {field.name}: expected no white space around it")
    if not absent or nulls:
        return members
    present = dict(members)
    for name in absent:
        present.pop(name, None)
    return present


def _refusal(operation: Operation, name: str, expected: str, value: object) -> InvalidArgumentError:
    # Text is not shown, it may be a token in the wrong place; an empty one is.
    shown = f" {value!r}" if value == "" or isinstance(value, (bool, int, float)) else ""
    return InvalidArgumentError(f"{operation.name}: {name}: expected {expected}, got {type(value).__name__}{shown}")


def _default(value: object) -> object:
    """What orjson does not know by itself."""
    if isinstance(value, datetime):
        return iso(value)
    if attrs.has(type(value)):
        from .records import converter  # few requests hold a record

        return converter.unstructure(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _dumps(operation: Operation, members: Mapping[str, object]) -> bytes:
    try:
        data = orjson.dumps(members, _default, orjson.OPT_PASSTHROUGH_DATETIME)
    except orjson.JSONEncodeError as error:
        raise InvalidArgumentError(f"{operation.name}: {_culprit(members) or error}") from None
    # orjson writes NaN and the infinities as null, which would lose them silently.
    if b"null" in data and (culprit := _culprit(members)):
        raise InvalidArgumentError(f"{operation.name}: {culprit}")
    return data


def _culprit(members: Mapping[str, object]) -> str | None:
    """Describe the first part of *members* that JSON cannot hold."""
    stack: list[tuple[str, object, int]] = [("", members, 0)]
    while stack:
        path, value, depth = stack.pop()
        while isinstance(value, Enum) and not isinstance(value, Omit):
            value = value.value  # as orjson does
        if depth > _DEPTH:
            return f"{path[:60]}…: nested too deep, or without end"
        try:
            parts = _parts(value, path)
        except InvalidArgumentError as error:
            return f"{path or 'body'}: {error}"
        if parts is not None:
            stack.extend((at, item, depth + 1) for at, item in reversed(parts))
        elif reason := _unfit(value):
            return f"{path}: {reason}"
    return None


def _parts(value: object, path: str) -> list[tuple[str, object]] | None:
    """What *value* is made of, and where; None for what has no parts."""
    if attrs.has(type(value)):
        from .records import members_of

        value = members_of(value)
    if isinstance(value, Mapping):
        if strange := [name for name in value if not isinstance(name, str)]:
            raise InvalidArgumentError(f"the member name {strange[0]!r} is not a string")
        return [(f"{path}.{name}" if path else name, item) for name, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"{path}[{position}]", item) for position, item in enumerate(value)]
    return None


def _unfit(value: object) -> str | None:
    """Why orjson refuses or loses *value*, which has no parts; None if it does not."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number"
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return "the number does not fit into 64 bits"
    try:
        orjson.dumps(value, _default, orjson.OPT_PASSTHROUGH_DATETIME)
    except orjson.JSONEncodeError as error:
        if isinstance(error.__cause__, InvalidArgumentError):
            return str(error.__cause__)
        return "the text is not Unicode" if isinstance(value, str) else f"{type(value).__name__} is not JSON"
    return None


def exists_query(operation: Operation, exists: Exists | None) -> dict[str, object]:
    """The query option; *any* is a null, which the vendor's own script spells as a name without a value.

    Raises:
        InvalidArgumentError: *exists* is something else.
    """
    if exists is None or isinstance(exists, bool):
        return {"exists": exists}
    if exists != "any":
        raise InvalidArgumentError(f"{operation.name}: exists: expected True, False or 'any', got {exists!r}")
    return {"exists": ""}
