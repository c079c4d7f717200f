"""The JSON of a large reply, some elements of its array at a time: a parser of all of it would hold up the loop."""

import re
import secrets
from collections.abc import Generator
from typing import Any, Final

import orjson

__all__ = ["pieces"]

_PIECE: Final = 1 << 18
"""Bytes that are parsed at once, and somewhat more."""
_TRIES: Final = 8
"""Places that are tried as the end of a piece."""
_HEAD: Final = 1 << 14
"""Bytes in which the array must begin."""

_ARRAY: Final = re.compile(rb"\s*\[")
_MEMBER: Final = re.compile(rb'"data"\s*:\s*\[')
_FIRST: Final = re.compile(rb'\s*(?:(\{)\s*("[^"\\]{0,99}")\s*:|([\[{])|)')


def pieces(data: bytes) -> Generator[list[Any], None, Any]:
    """Parse the array that *data* is, or that is the member ``data`` of it, piece by piece.

    A piece that parses by itself, up to a comma behind it, is elements and nothing else: a comma within an element
    would leave something open. So the elements are those of the whole, which are found at the cost of a few guesses.

    Yields:
        The next elements; none where another place must be tried.

    Returns:
        The value of *data*, but for the elements that were yielded. That is all of it where there is no such array.

    Raises:
        orjson.JSONDecodeError: *data* is not JSON, or has several members of that name; what was yielded is void.
    """
    at = start = _start(data)
    separator = _separator(data, start)
    while start and len(data) - at > 2 * _PIECE:
        look = at + _PIECE
        for _ in range(_TRIES):
            comma = separator.search(data, look)
            if comma is None:
                break
            elements = _parsed(b"[%b]" % data[at : comma.start()])
            yield elements
            if elements:
                at = comma.start() + 1
                break
            look = comma.end()
        else:
            break
        if comma is None:
            break
    if at == start:
        return orjson.loads(data)
    # Also where the array is not the last of its name, which is the one that counts, or ends with a comma.
    mark = secrets.token_hex()
    rest = orjson.loads(b'%b"%b",%b' % (data[:start], mark.encode(), data[at:]))
    array = rest["data"] if type(rest) is dict else rest
    if type(array) is not list or not array or array[0] != mark:
        raise orjson.JSONDecodeError("there are several members of the name data", "", 0)
    del array[0]
    return rest


def _start(data: bytes) -> int:
    """Where the elements of the array begin; 0 where there is none."""
    if array := _ARRAY.match(data):
        return array.end()
    member = _MEMBER.search(data, 0, _HEAD)
    # It is the member of the outermost object if no more than that is open.
    if member is None or not _parsed(b"[%b]}]" % data[: member.end()]):
        return 0
    return member.end()


def _separator(data: bytes, start: int) -> re.Pattern[bytes]:
    """What is likely to stand between two elements: a comma before what the first one begins with."""
    first = _FIRST.match(data, start)
    if first is None:
        return re.compile(b",")
    brace, name, bracket = first.groups()
    if name:
        return re.compile(rb",\s*%b\s*%b\s*:" % (re.escape(brace), re.escape(name)))
    return re.compile(rb",\s*%b" % re.escape(bracket or b""))


def _parsed(text: bytes) -> list[Any]:
    """The array *text*; an empty one where it is no JSON."""
    try:
        array: list[Any] = orjson.loads(text)
    except orjson.JSONDecodeError:
        return []
    return array
