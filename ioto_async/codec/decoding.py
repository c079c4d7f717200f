"""Replies to results: what an operation answers, made of the body of a 2xx."""

import contextlib
import math
import re
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, TypeVar

import attrs
import orjson

from ..errors import DecodeError, DeviceBlockedError, InBandError, NotFoundError, one_line
from ..models import JSON, Cursor, Page
from ..models.value import json_text
from ..operations import Kind, Operation
from ..settings import Secret, conceal
from . import lenient
from .elements import Elements
from .lenient import Lenient
from .pieces import pieces
from .reading import LARGE, LENIENT, NOT_SENT, Decoder, Path, Reading, Steps, Stepwise, done, json_path
from .records import Mismatch, converter
from .words import says_not_found, words_of

__all__ = [
    "anything",
    "nothing",
    "paged",
    "part",
    "plain",
    "record",
    "result",
    "signed_url",
    "string",
    "text",
    "whole_number",
]

T = TypeVar("T")


_STRICT: Final = Reading(strict=True)

Parts = Generator[list[Any], None, Any]
"""Parses a reply: yields elements of its array, and returns its value without them."""

_OBJECT: Final[Callable[[Any, Any], dict[str, Any]]] = converter.get_structure_hook(dict[str, Any])
_TEXT: Final[Callable[[Any, Any], str]] = converter.get_structure_hook(str)
_WHOLE: Final[Callable[[Any, Any], int]] = converter.get_structure_hook(int)


def record(
    cls: type[T], *, must_exist: bool = False, named: bool | None = None, instead: str | None = None
) -> Decoder[T]:
    """Decode one record, bare or wrapped.

    With *must_exist* an empty reply means that there is no such record, which raises `NotFoundError`; what a get
    answers for no match is not documented. With *named*, which is the opposite by default, a record that lacks its key
    has that of the request: a change was made to what that names, whatever the reply says of it. A reply that is no
    object is taken for the member *instead* of the record, if that is given.
    """
    structure: Callable[[Any, Any], T] = converter.get_structure_hook(cls)
    own_data = _has_data(cls)
    named = not must_exist if named is None else named

    def decode(
        operation: Operation, data: bytes, reading: Reading = LENIENT, sent: Mapping[str, object] = NOT_SENT
    ) -> T:
        if must_exist and not data.strip():
            raise _not_found(operation)
        value = _loads(operation, data, reading)
        path: Path = ()
        if type(value) is dict and "data" in value:
            value, path = _unwrap(value, own_data)
        if must_exist and not value and value in (None, {}, []):
            raise _not_found(operation)
        try:
            return structure(value, cls)
        except Mismatch as mismatch:
            failed = mismatch
        if instead is not None and not reading.strict:
            with contextlib.suppress(Mismatch):
                alone = structure({instead: value}, cls)
                reading.tell(operation, [(path, str(failed))])
                return alone
        found: T = _odd(operation, failed, value, cls, path, reading, sent if named else NOT_SENT)
        return found

    return decode


def result(cls: type[T], *, may_be_empty: bool = False) -> Decoder[T]:
    """Decode the answer of an operation that can fail inside a 200: an ``error`` member raises.

    With *may_be_empty* a reply without a body is one without members.
    """
    structure: Callable[[Any, Any], T] = converter.get_structure_hook(cls)
    own_data = _has_data(cls)

    def decode(
        operation: Operation, data: bytes, reading: Reading = LENIENT, sent: Mapping[str, object] = NOT_SENT
    ) -> T:
        if may_be_empty and not data.strip():
            data = b"{}"
        value = _loads(operation, data, reading)
        path: Path = ()
        if type(value) is dict:
            if "data" in value:
                value, path = _unwrap(value, own_data)
            if type(value) is dict and (value.get("error") or ("delay" in value and value.keys() <= _FAILURE)):
                raise _in_band(operation, value)
        try:
            return structure(value, cls)
        except Mismatch as mismatch:
            failed = mismatch
        found: T = _odd(operation, failed, value, cls, path, reading, sent)
        return found

    return decode


def paged(
    cls: type[T],
    *,
    nested: bool = False,
    instead: Callable[[str], T] | None = None,
    key: str | None = None,
    may_be_one: bool = False,
) -> Decoder[Page[T]]:
    """Decode a list: an envelope with cursors, or a bare array.

    With *nested* the elements may be arrays of records, which are joined. An element that is no record is left out, or
    replaced by what *instead* makes of the reason; with *key* one that is text is a record with no more than that
    member. With *may_be_one* a record in the place of the list is a list of it, and an empty object one of none.
    """
    structure: Callable[[Any, Any], T] = converter.get_structure_hook(cls)

    def page(operation: Operation, reply: Any, records: list[T], rejected: list[JSON], *, is_object: bool) -> Page[T]:
        if not is_object:
            return Page(items=records, rejected=rejected)
        next_ = _cursor(operation, "next", reply.pop("next", None))
        prev = _cursor(operation, "prev", reply.pop("prev", None))
        return Page(items=records, next=next_, prev=prev, rejected=rejected, extra=conceal(reply))

    def rest(operation: Operation, reading: Reading, elements: Elements[T], reply: Any, items: Any) -> Steps[Page[T]]:
        is_object = type(reply) is dict
        elements.root = ("data",) if is_object else ()
        if type(items) is not list:
            return _alone(operation, reply if may_be_one and items is None else None, items, elements, reading)
        yield from elements.add(items)
        reading.tell(operation, elements.reader.odd)
        return page(operation, reply, elements.records, elements.rejected, is_object=is_object)

    def at_once(operation: Operation, data: bytes, reading: Reading) -> Page[T]:
        reply = _loads(operation, data, reading)
        is_object = type(reply) is dict
        items = reply.pop("data", None) if is_object else reply
        if type(items) is list and not (nested and list in map(type, items)):
            try:
                return page(operation, reply, [structure(item, cls) for item in items], [], is_object=is_object)
            except Mismatch:
                pass
        elements = Elements(operation, cls, structure, reading.strict, nested, instead, key)
        return done(rest(operation, reading, elements, reply, items))

    def steps(operation: Operation, data: bytes, reading: Reading) -> Steps[Page[T]]:
        root: Path = () if data.lstrip()[:1] == b"[" else ("data",)
        elements = Elements(operation, cls, structure, reading.strict, nested, instead, key, root)
        source = _in_pieces(operation, data)
        try:
            while True:
                yield from elements.add(next(source))
        except StopIteration as end:
            reply = end.value
        except orjson.JSONDecodeError:
            return at_once(operation, data, reading)
        items = reply.pop("data", None) if type(reply) is dict else reply
        return (yield from rest(operation, reading, elements, reply, items))

    return Stepwise(steps, at_once)


def _alone(operation: Operation, reply: object, items: object, elements: Elements[T], reading: Reading) -> Page[T]:
    """The page that *reply*, an object, stands for in the place of a list.

    Raises:
        DecodeError: it stands for none; *items* were to be one.
    """
    if type(reply) is dict and not reading.strict:
        with contextlib.suppress(Mismatch):
            page = Page(items=[elements.structure(reply, elements.cls)] if reply else [])
            reading.tell(operation, [((), "expected a list of records, got an object")])
            return page
    raise _misfit(operation, Mismatch("an array", items), elements.root)


def part(cls: type[T]) -> Callable[[Operation, object, Path, Reading], T]:
    """Decode a part of a reply that was left as JSON; the function takes its place too, outermost step first."""
    structure: Callable[[Any, Any], T] = converter.get_structure_hook(cls)

    def decode(operation: Operation, value: object, path: Path, reading: Reading) -> T:
        try:
            return structure(value, cls)
        except Mismatch as mismatch:
            failed = mismatch
        found: T = _odd(operation, failed, value, cls, path, reading)
        return found

    return decode


def plain(
    operation: Operation, data: bytes, reading: Reading = LENIENT, sent: Mapping[str, object] = NOT_SENT
) -> dict[str, Any]:
    """Decode an object whose members are not documented."""
    value, path = _unwrap(_loads(operation, data, reading))
    return _structured(operation, _OBJECT, value, dict, path, _STRICT)


def string(operation: Operation, data: bytes, reading: Reading = LENIENT, sent: Mapping[str, object] = NOT_SENT) -> str:
    """Decode a bare JSON string."""
    return _structured(operation, _TEXT, _loads(operation, data, reading), str, (), _STRICT)


def signed_url(
    operation: Operation, data: bytes, reading: Reading = LENIENT, sent: Mapping[str, object] = NOT_SENT
) -> Secret:
    """Decode a bare JSON string that lets whoever has it read or write a file.

    It may be text without quotes, or the only text of an object, if it is an absolute URL.
    """
    try:
        return Secret(string(operation, data, reading))
    except DecodeError:
        url = None if reading.strict else _url(operation, data, reading)
        if url is None:
            raise
    return url


def _url(operation: Operation, data: bytes, reading: Reading) -> Secret | None:
    """The URL in a reply that is no bare string; None if there is none."""
    value: Any = data.decode("utf-8", "replace").strip()
    if value[:1] == "{":
        found = _loads(operation, data, reading)
        texts = [each for each in found.values() if type(each) is str] if type(found) is dict else []
        value = texts[0] if len(texts) == 1 else ""
    if not _ABSOLUTE.fullmatch(value):
        return None
    reading.tell(operation, [((), "expected a string, got a URL within something else")])
    return Secret(value)


_ABSOLUTE: Final = re.compile(r"https?://[^\s\"<>]+")


def whole_number(
    operation: Operation, data: bytes, reading: Reading = LENIENT, sent: Mapping[str, object] = NOT_SENT
) -> int:
    """Decode a bare number without a fraction."""
    value, path = _unwrap(_loads(operation, data, reading))
    return _structured(operation, _WHOLE, value, int, path, reading)


def text(operation: Operation, data: bytes, reading: Reading = LENIENT, sent: Mapping[str, object] = NOT_SENT) -> str:
    """Decode a body that is plain text, or a JSON string; white space around it is not part of it."""
    found = data.decode("utf-8", "replace").strip()
    if found[:1] == '"':
        with contextlib.suppress(orjson.JSONDecodeError):
            return str(orjson.loads(found))
    return found


def nothing(
    operation: Operation, data: bytes, reading: Reading = LENIENT, sent: Mapping[str, object] = NOT_SENT
) -> None:
    """Ignore the body of an operation whose reply is not documented, unless it tells of a failure."""
    if b"error" in data:
        with contextlib.suppress(DecodeError):
            _loads(operation, data, reading)


def _anything(operation: Operation, data: bytes, reading: Reading) -> JSON:
    """Decode a reply as it came: its JSON value, None for an empty body, and text where it is text.

    Only what begins as neither JSON nor HTML does is taken for text; white space around it is not part of it.
    """
    start = data.lstrip()[:1]
    if not start:
        return None
    try:
        value: JSON = conceal(_loads(operation, data, reading))
    except DecodeError:
        if start not in b'{["<':
            with contextlib.suppress(UnicodeDecodeError):
                return data.decode().strip()
        raise
    return value


def _anything_in_steps(operation: Operation, data: bytes, reading: Reading) -> Steps[JSON]:
    elements: list[JSON] = []
    source = _in_pieces(operation, data)
    while True:
        try:
            elements += conceal(next(source))
        except StopIteration as end:
            reply = conceal(end.value)
            break
        except orjson.JSONDecodeError:
            return _anything(operation, data, reading)
        yield
    if elements:
        array = reply["data"] if type(reply) is dict else reply
        array[:0] = elements
    value: JSON = reply
    return value


anything: Final[Decoder[JSON]] = Stepwise(_anything_in_steps, _anything)
"""Decodes a reply as it came; see `_anything`."""


def _in_pieces(operation: Operation, data: bytes) -> Parts:
    """A large reply; what it raises for one that is no JSON says nothing of use."""
    _check_parts(operation, data)
    value = yield from pieces(data)
    _check(operation, value)
    return value


def _loads(operation: Operation, data: bytes, reading: Reading) -> Any:
    """The JSON of a reply; one that is nothing but the description of a failure raises.

    It is a `NotFoundError` if it says to what only reads that a record is not there, else an `InBandError`.
    """
    if len(data) > LARGE:
        _check_parts(operation, data)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        problem = f"not JSON: {error.msg} at character {error.pos} ({len(data)} bytes)"
    else:
        if type(value) is dict and ("error" in value or "errorMessage" in value):
            _check(operation, value)
        return value
    is_json = False
    if not data.strip():
        problem = "the body is empty"
    elif data.lstrip().startswith(b"<"):
        problem = f"an HTML page ({len(data)} bytes)"
    elif not reading.strict:
        with contextlib.suppress(ValueError):
            value = lenient.loads(data)
            is_json = True
    if is_json:
        reading.tell(operation, [((), problem)])
        _check(operation, value)
        return value
    # Raised here and not above: the decoder's error, which would be the context, holds a body with keys perhaps.
    raise DecodeError(problem, operation=operation.name)


_MOST_PARTS: Final = 1_000_000
"""Objects and arrays of a reply: 16 MiB of the points of metrics, which are short, are a third of it."""


def _check_parts(operation: Operation, data: bytes) -> None:
    """Refuse what has too many parts before they are made; each costs memory, and time of the garbage collector."""
    if data.count(b"{") + data.count(b"[") > _MOST_PARTS:
        message = f"more than {_MOST_PARTS} objects and arrays ({len(data)} bytes)"
        raise DecodeError(message, operation=operation.name)


def _check(operation: Operation, value: Any) -> None:
    """Raise what *value* tells of, if it is nothing but the description of a failure."""
    if type(value) is not dict or not (value.get("error") or value.get("errorMessage")):
        return
    names = value.keys()
    if (value.get("error") and names <= _FAILURE) or (value.get("errorMessage") and names <= _CRASH):
        error = _in_band(operation, value)
        if operation.kind is Kind.READ and says_not_found(error.message):
            raise NotFoundError(error.message, operation=operation.name, status=200)
        raise error


# A record may have a member ``error`` of its own, as an automation does; it then has others, too.
_FAILURE: Final = frozenset({"error", "message", "delay", "name", "context"})
_CRASH: Final = frozenset({"errorMessage", "errorType", "requestId", "stackTrace", "trace"})
"""What a function of AWS Lambda leaves that has raised; the gateway before it may hand that on as a success."""
_ENVELOPE: Final = frozenset({"data", "next", "prev", "paged", "count", "schema"})


def _has_data(cls: type[Any]) -> bool:
    """Whether records of *cls* have a member ``data`` of their own."""
    return "data" in attrs.fields_dict(cls)


def _unwrap(value: Any, own_data: bool = False) -> tuple[Any, Path]:
    """The record in *value*, and where it is.

    A record comes bare or as the ``data`` of an envelope; the vendor's own pages disagree (reference, section 5). With
    *own_data* a ``data`` that is text belongs to the record.
    """
    if type(value) is not dict or "data" not in value or not value.keys() <= _ENVELOPE:
        return value, ()
    if own_data and type(value["data"]) is str:
        return value, ()
    value = value["data"]
    if type(value) is list and len(value) == 1:
        return value[0], ("data", 0)
    return value, ("data",)


def _structured(
    operation: Operation,
    structure: Callable[[Any, Any], T],
    value: object,
    cls: Any,
    path: Path,
    reading: Reading,
) -> T:
    try:
        return structure(value, cls)
    except Mismatch as mismatch:
        failed = mismatch
    found: T = _odd(operation, failed, value, cls, path, reading)
    return found


def _odd(
    operation: Operation,
    failed: Mismatch,
    value: object,
    cls: Any,
    path: Path,
    reading: Reading,
    sent: Mapping[str, object] = NOT_SENT,
) -> Any:
    """What can be made of the *value* at *path*, which *failed* to be a *cls*."""
    if not reading.strict:
        reader = Lenient()
        try:
            found = reader.read(value, cls, path, sent)
        except Mismatch as mismatch:
            failed = mismatch
        else:
            reading.tell(operation, reader.odd)
            return found
    raise _misfit(operation, failed, path)


def _misfit(operation: Operation, mismatch: Mismatch, root: Path) -> DecodeError:
    """What to raise for a *mismatch* in what is at *root*."""
    return DecodeError(str(mismatch), operation=operation.name, path=json_path((*root, *reversed(mismatch.steps))))


def _cursor(operation: Operation, name: str, value: Any) -> Cursor | None:
    if value is None or value == "" or value == {}:
        return None
    if isinstance(value, str):
        return value
    message = str(Mismatch("a cursor (string or object)", value))
    if isinstance(value, dict):
        try:
            orjson.dumps(value)
        except orjson.JSONEncodeError:
            message = "expected a cursor that can be sent back, got an object that is nested too deep"
        else:
            return value
    raise DecodeError(message, operation=operation.name, path=f"$.{name}")


def _not_found(operation: Operation) -> NotFoundError:
    return NotFoundError("no such record (empty reply)", operation=operation.name, status=200)


def _in_band(operation: Operation, reply: dict[str, Any]) -> InBandError:
    error = reply.get("error") or reply.get("errorMessage") or "blocked"
    message = one_line(words_of(error) or json_text(error))
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if not isinstance(reply["delay"], bool) and math.isfinite(delay := float(reply["delay"])):
            return DeviceBlockedError(message, operation=operation.name, delay=delay)
    return InBandError(message, operation=operation.name, status=200)
