"""Reads of one metric each, joined to requests for many, and their answers told apart."""

from collections.abc import Coroutine, Hashable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Final

import orjson

from ..codec import decoding, encoding
from ..codec.records import Mismatch
from ..codec.words import words_of
from ..errors import CallError, DecodeError, InBandError, InvalidArgumentError, one_line
from ..models.value import json_text
from ..operations import IOTO, Operation
from ..transport.options import CallOptions
from ..transport.transport import Transport
from .batcher import Batcher

__all__ = ["Answer", "Item", "JoinedReads", "answers_of"]

_FETCH: Final = IOTO["metric/fetch"]
_ANSWERS: Final = decoding.paged(Any, nested=True)
"""Each caller decodes its own answer: what one of them cannot read is no matter of the others."""
_TOGETHER: Final = 100
"""Items of a request at most."""
_MOST_ANSWERS: Final = 10_000
"""Answers that are looked at; to so many more than were asked for, there is none that could be told."""
_IDS: Final = [f"read-{number}" for number in range(_TOGETHER)]
_ENDS: Final = [b',"id":"read-%d"}' % number for number in range(_TOGETHER)]
"""What each item of a request ends with: its ``id``."""
_LARGEST_ANSWER: Final = 4096
"""Bytes that the answer to one item has at most: it has 14 points (reference, section 9)."""


# Plain tuples: a class takes ten times the time to make, which of a read is a noticeable part.
Item = tuple[str, bytes]
"""One item of a request: its ``id``, and the JSON of it."""
Answer = tuple[dict[str, Any], int]
"""What the service has answered to one item: the JSON value, and its place in the reply."""


class JoinedReads:
    """The reads of one client.

    Args:
        transport: sends the requests.
    """

    __slots__ = ("_batcher", "_transport")

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        room = transport.options.max_reply // _LARGEST_ANSWER
        # What is asked is the JSON of an item but for its ``id`` and its end: the garbage collector does not look at
        # bytes, but at most of what else ten thousand reads could hold while they wait.
        self._batcher = Batcher[bytes, Answer](max(1, min(_TOGETHER, room)))

    def read(
        self,
        device_id: str,
        account_id: str | None,
        item: bytes,
        dimensions: Mapping[str, object] | None,
        start: datetime | None,
        options: CallOptions,
    ) -> Coroutine[Any, Any, Answer]:
        """Ask for an *item*, in one request with what else is asked now about the device with the same options.

        Args:
            device_id: device that owns the metric.
            account_id: account that owns the device.
            item: what `item_of` makes of the other members.
            dimensions: None for those of the device.
            start: start of the range.
            options: those of the request.

        Raises:
            InvalidArgumentError: an argument does not fit; later it would take the items of others with it.
        """
        try:
            own = _own_dimensions(device_id, account_id)
        except TypeError:  # what has no hash does not fit, which is said here
            own = _checked_dimensions(device_id, account_id)
        if dimensions is None and start is None:
            question = b"%b,%b" % (item, own)
        else:
            question = b"%b,%b" % (item, _members(own, dimensions, start))
        key: Hashable = (device_id, account_id)
        if options:
            self._transport.for_this_call(options)
            key = (device_id, account_id, _hashable(options))
        return self._batcher.get(key, question, partial(self._ask, device_id, account_id, options))

    async def _ask(
        self, device_id: str, account_id: str | None, options: CallOptions, questions: Sequence[bytes]
    ) -> Sequence[Answer | Exception]:
        encoded = [question + end for question, end in zip(questions, _ENDS, strict=False)]
        body = {"deviceId": device_id, "accountId": account_id, "items": [*map(orjson.Fragment, encoded)]}
        page = await self._transport.call(_FETCH, _ANSWERS, body, options)
        return answers_of(_FETCH, [*zip(_IDS, encoded, strict=False)], page.items)


def _checked_dimensions(device_id: str, account_id: str | None) -> bytes:
    """The member that has the dimensions of a device.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """
    encoding.required_text(_FETCH, "deviceId", device_id)
    if account_id is not None:
        encoding.required_text(_FETCH, "accountId", account_id)
    return _members(b"", {"Device": device_id}, None)


_own_dimensions = lru_cache(maxsize=1024, typed=True)(_checked_dimensions)
"""Many reads are of one device."""


def _members(own: bytes, dimensions: Mapping[str, object] | None, start: datetime | None) -> bytes:
    """The JSON of further members of an item, *own* in place of no *dimensions*."""
    members: dict[str, object] = {}
    if start is not None:
        members["start"] = encoding.timestamp(_FETCH, "start", start)
    if dimensions is not None:
        if not isinstance(dimensions, Mapping):
            raise InvalidArgumentError(f"{_FETCH.name}: dimensions: expected a mapping, got {dimensions!r}")
        members["dimensions"] = dimensions
        own = b""
    return b",".join(filter(None, (own, encoding.part(_FETCH, members)[1:-1])))


def _hashable(options: CallOptions) -> Hashable:
    named = sorted(options.items())
    return tuple((name, tuple(value.items()) if isinstance(value, Mapping) else value) for name, value in named)


def answers_of(operation: Operation, items: Sequence[Item], reply: Sequence[Any]) -> list[Answer | CallError]:
    """The answer to each of *items* in *reply*, or the error of the item.

    Answers are told by the ``id``, which the service's library echoes, though no document says so. One without counts
    by its place, if there are as many answers as items, and if it does not name another metric than the item.

    Raises:
        DecodeError: there are too many answers to look at.
    """
    if len(reply) > _MOST_ANSWERS:
        message = f"expected an answer to each of {len(items)} items, got {len(reply)}"
        raise DecodeError(message, operation=operation.name, path="$.data")
    if len(reply) == len(items):  # at first as if all were as expected, which is the rule
        found = [
            _answer(operation, members, place) if members.get("error") else (members, place)
            for place, ((id, _), members) in enumerate(zip(items, reply, strict=True))
            if type(members) is dict and members.get("id") == id
        ]
        if len(found) == len(items):
            return found
    ids = {id for id, _ in items}
    places: dict[str, int] = {}
    twice: set[str] = set()
    for place, members in enumerate(reply):
        echoed = members.get("id") if isinstance(members, dict) else None
        if isinstance(echoed, str) and echoed in ids:
            if echoed in places:
                twice.add(echoed)
            places[echoed] = place
    told = {*places.values()}
    answers: list[Answer | CallError] = []
    for number, (id, data) in enumerate(items):
        at = places.get(id)
        if at is None and len(reply) == len(items) and number not in told:
            at = number
            members = reply[number]
            if isinstance(members, dict) and (difference := _difference(orjson.loads(data), members)):
                message = f"{difference}; no id tells which answer is whose, and their order is another"
                answers.append(DecodeError(message, operation=operation.name, path=f"$.data[{number}]"))
                continue
        if at is None or id in twice:
            to_this = "none" if at is None else "more than one"
            message = f"expected an answer to each of {len(items)} items, got {len(reply)}, and {to_this} to this item"
            answers.append(DecodeError(message, operation=operation.name, path="$.data"))
        else:
            answers.append(_answer(operation, reply[at], at))
    return answers


def _answer(operation: Operation, members: Any, place: int) -> Answer | CallError:
    if not isinstance(members, dict):
        return DecodeError(str(Mismatch("an object", members)), operation=operation.name, path=f"$.data[{place}]")
    error = members.get("error")
    if not error:
        return members, place
    message = one_line(words_of(error) or json_text(error))
    return InBandError(message, operation=operation.name, status=200)


def _difference(item: Mapping[str, Any], members: Mapping[str, Any]) -> str:
    """What in an answer shows that it is not the one to *item*; empty if nothing does."""
    for name in ("namespace", "metric"):
        if members.get(name, item[name]) != item[name]:
            return f"expected the {name} {item[name]!r}, got {json_text(members[name])[:80]}"
    dimensions = members.get("dimensions")
    if isinstance(dimensions, dict) and not _may_be_same(item["dimensions"], dimensions):
        return f"expected the dimensions {item['dimensions']!r}, got {json_text(dimensions)[:200]}"
    return ""


def _may_be_same(sent: Mapping[str, object], got: Mapping[str, object]) -> bool:
    """Whether the service, which reads dimensions back as text, may have made *got* of *sent*."""
    known = {name: _text(value) for name, value in sent.items() if _comes_back(value)}
    if len(known) == len(sent) and got.keys() != sent.keys():
        return False
    return all(name in got and _text(got[name]) == text for name, text in known.items())


def _comes_back(value: object) -> bool:
    """Whether a value is read back as it was sent: devices are filled in, and ``,`` or ``=`` end it."""
    return value is not True and not (isinstance(value, str) and any(mark in value for mark in ("${", ",", "=")))


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json_text(value)
