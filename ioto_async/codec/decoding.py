"""Replies to results: what an operation answers, made of the body of a 2xx."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import attrs
import orjson

from ..errors import DecodeError, DeviceBlockedError, InBandError, NotFoundError, one_line
from ..models import JSON, Cursor, Page
from ..operations import Operation
from .records import Mismatch, converter

__all__ = [
    "Decoder",
    "anything",
    "nothing",
    "paged",
    "part",
    "plain",
    "record",
    "result",
    "string",
    "text",
    "whole_number",
]

T = TypeVar("T")

Decoder = Callable[[Operation, bytes], T]
"""Turns the body of a successful reply into what the call returns; raises `DecodeError` or `InBandError`."""


_OBJECT: Final[Callable[[Any, Any], dict[str, Any]]] = converter.get_structure_hook(dict[str, Any])
_TEXT: Final[Callable[[Any, Any], str]] = converter.get_structure_hook(str)
_WHOLE: Final[Callable[[Any, Any], int]] = converter.get_structure_hook(int)


def record(cls: type[T], *, must_exist: bool = False) -> Decoder[T]:
    """Decode one record, bare or wrapped.

    With *must_exist* an empty reply means that there is no such record, which raises `NotFoundError`; what a get
    answers for no match is not documented.
    """
    structure: Callable[[Any, Any], T] = converter.get_structure_hook(cls)
    own_data = _has_data(cls)

    def decode(operation: Operation, data: bytes) -> T:
        if must_exist and not data.strip():
            raise _not_found(operation)
        value, steps = _unwrap(_loads(operation, data), own_data)
        if must_exist and not value and value in (None, {}, []):
            raise _not_found(operation)
        return _structured(operation, structure, value, cls, steps)

    return decode


def result(cls: type[T], *, may_be_empty: bool = False) -> Decoder[T]:
    """Decode the answer of an operation that can fail inside a 200: an ``error`` member raises.

    With *may_be_empty* a reply without a body is one without members.
    """
    structure: Callable[[Any, Any], T] = converter.get_structure_hook(cls)
    own_data = _has_data(cls)

    def decode(operation: Operation, data: bytes) -> T:
        if may_be_empty and not data.strip():
            data = b"{}"
        value, steps = _unwrap(_loads(operation, data), own_data)
        if type(value) is dict and (value.get("error") or ("delay" in value and value.keys() <= _FAILURE)):
            raise _in_band(operation, value)
        return _structured(operation, structure, value, cls, steps)

    return decode


def paged(cls: type[T], *, nested: bool = False) -> Decoder[Page[T]]:
    """Decode a list: an envelope with cursors, or a bare array.

    With *nested* the elements may be arrays of records, which are joined.
    """
    many: Any = list[cls]  # type: ignore[valid-type]  # a type made at run time
    structure: Callable[[Any, Any], list[T]] = converter.get_structure_hook(many)
    structure_one: Callable[[Any, Any], T] = converter.get_structure_hook(cls)

    def decode(operation: Operation, data: bytes) -> Page[T]:
        reply = _loads(operation, data)
        envelope, steps = (reply, ["data"]) if type(reply) is dict else ({"data": reply}, [])
        items = envelope.pop("data", None)
        if nested and type(items) is list and any(type(part) is list for part in items):
            records = []
            for number, part in enumerate(items):
                hook = structure if type(part) is list else lambda value, _: [structure_one(value, cls)]
                records += _structured(operation, hook, part, many, [number, *steps])
        else:
            records = _structured(operation, structure, items, many, steps)
        next_, prev = (_cursor(operation, name, envelope.pop(name, None)) for name in ("next", "prev"))
        return Page(items=records, next=next_, prev=prev, extra=envelope)

    return decode


def part(cls: type[T]) -> Callable[[Operation, object, Sequence[str | int]], T]:
    """Decode a part of a reply that was left as JSON; the function takes its place too, outermost step first."""
    structure: Callable[[Any, Any], T] = converter.get_structure_hook(cls)

    def decode(operation: Operation, value: object, steps: Sequence[str | int]) -> T:
        return _structured(operation, structure, value, cls, steps[::-1])

    return decode


def plain(operation: Operation, data: bytes) -> dict[str, Any]:
    """Decode an object whose members are not documented."""
    value, steps = _unwrap(_loads(operation, data))
    return _structured(operation, _OBJECT, value, dict, steps)


def string(operation: Operation, data: bytes) -> str:
    """Decode a bare JSON string."""
    return _structured(operation, _TEXT, _loads(operation, data), str, ())


def whole_number(operation: Operation, data: bytes) -> int:
    """Decode a bare number without a fraction."""
    value, steps = _unwrap(_loads(operation, data))
    return _structured(operation, _WHOLE, value, int, steps)


def text(operation: Operation, data: bytes) -> str:
    """Decode a body that is plain text; white space around it is not part of it."""
    return data.decode("utf-8", "replace").strip()


def nothing(operation: Operation, data: bytes) -> None:
    """Ignore the body of an operation whose reply is not documented, unless it tells of a failure."""
    if b"error" in data:
        with contextlib.suppress(DecodeError):
            _loads(operation, data)


def anything(operation: Operation, data: bytes) -> JSON:
    """Decode a reply as it came: its JSON value, None for an empty body, and text where it is text.

    Only what begins as neither JSON nor HTML does is taken for text; white space around it is not part of it.
    """
    start = data.lstrip()[:1]
    if not start:
        return None
    try:
        value: JSON = _loads(operation, data)
    except DecodeError:
        if start not in b'{["<':
            with contextlib.suppress(UnicodeDecodeError):
                return data.decode().strip()
        raise
    return value


def _loads(operation: Operation, data: bytes) -> Any:
    """The JSON of a reply; one that is nothing but the description of a failure raises `InBandError`."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        message = f"not JSON: {error.msg} at character {error.pos} ({len(data)} bytes)"
    else:
        if type(value) is dict and value.get("error") and value.keys() <= _FAILURE:
            raise _in_band(operation, value)
        return value
    if not data.strip():
        message = "the body is empty"
    elif data.lstrip().startswith(b"<"):
        message = f"an HTML page ({len(data)} bytes)"
    # Raised here and not above: the decoder's error, which would be the context, holds a body with keys perhaps.
    raise DecodeError(message, operation=operation.name)


# A record may have a member ``error`` of its own, as an automation does; it then has others, too.
_FAILURE: Final = frozenset({"error", "message", "delay", "name", "context"})
_ENVELOPE: Final = frozenset({"data", "next", "prev", "paged", "count", "schema"})


def _has_data(cls: type[Any]) -> bool:
    """Whether records of *cls* have a member ``data`` of their own."""
    return "data" in attrs.fields_dict(cls)


def _unwrap(value: Any, own_data: bool = False) -> tuple[Any, Sequence[str | int]]:
    """The record in *value*, and the steps to it, innermost first.

    A record comes bare or as the ``data`` of an envelope; the vendor's own pages disagree (reference, section 5). With
    *own_data* a ``data`` that is text belongs to the record.
    """
    if type(value) is not dict or "data" not in value or not value.keys() <= _ENVELOPE:
        return value, ()
    if own_data and type(value["data"]) is str:
        return value, ()
    value = value["data"]
    if type(value) is list and len(value) == 1:
        return value[0], [0, "data"]
    return value, ["data"]


def _structured(
    operation: Operation, structure: Callable[[Any, Any], T], value: object, cls: object, steps: Sequence[str | int]
) -> T:
    try:
        return structure(value, cls)
    except Mismatch as mismatch:
        mismatch.steps.extend(steps)
        message, path = str(mismatch), mismatch.path
    raise DecodeError(message, operation=operation.name, path=path)


def _cursor(operation: Operation, name: str, value: Any) -> Cursor | None:
    if value is None or value == "" or value == {}:
        return None
    if isinstance(value, (str, dict)):
        return value
    message = str(Mismatch("a cursor (string or object)", value))
    raise DecodeError(message, operation=operation.name, path=f"$.{name}")


def _not_found(operation: Operation) -> NotFoundError:
    return NotFoundError("no such record (empty reply)", operation=operation.name, status=200)


def _in_band(operation: Operation, reply: dict[str, Any]) -> InBandError:
    error = reply.get("error") or "blocked"
    message = one_line(error if isinstance(error, str) else orjson.dumps(error).decode())
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if not isinstance(reply["delay"], bool):
            return DeviceBlockedError(message, operation=operation.name, delay=float(reply["delay"]))
    return InBandError(message, operation=operation.name, status=200)
