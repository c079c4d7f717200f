"""The formats of the embedded cloud: JSON, dates, keys and claim IDs."""

import json
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, cast

import orjson

__all__ = ["ALPHABET", "LAST_DATE", "dumps", "iso", "loads", "new_claim_id", "new_ulid"]

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""The digits of ULIDs and claim IDs: no I, L, O, U (reference, section 6)."""

LAST_DATE: Final = 8_640_000_000_000_000
"""The last date that JavaScript has, in epoch milliseconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DEPTH: Final = 100


def dumps(value: object) -> bytes:
    """Encode *value* compactly: the updater looks for ``"url":"`` without a space (wire examples, 4.2)."""
    return orjson.dumps(value)


def loads(body: bytes) -> dict[str, Any]:
    """Decode the body of a request, an object; an empty body counts as ``{}``.

    Raises:
        ValueError: with a one-line text, for anything but one strict JSON object of modest nesting.
    """
    if not body:
        return {}
    # The real cloud's answer to a member given twice is not known; a refusal shows the mistake.
    # orjson is the strict one (UTF-8, lone surrogates, NaN, infinite numbers), json the one that shows duplicates.
    try:
        value = orjson.loads(body)
        if body.count(b"{") + body.count(b"[") > _MAX_DEPTH and _depth(value) > _MAX_DEPTH:
            raise ValueError("JSON is nested too deep")
        # Each member has a colon: where there are no more of these, none was given twice.
        if body.count(b":") != _members(value):
            _DISTINCT.decode(body.decode())
    except orjson.JSONDecodeError as error:
        raise ValueError("Body is not valid JSON") from error
    if not isinstance(value, dict):
        raise ValueError("Body must be a JSON object")
    return cast("dict[str, Any]", value)


def _distinct(pairs: list[tuple[str, object]]) -> None:
    if len(pairs) > 1 and len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("Body has a member twice")


_DISTINCT: Final = json.JSONDecoder(object_pairs_hook=_distinct)


def _members(value: object) -> int:
    if type(value) is dict:
        return len(value) + sum(map(_members, value.values()))
    return sum(map(_members, value)) if type(value) is list else 0


def _depth(value: object) -> int:
    depth = 0
    level: list[object] = [value]
    while level:
        depth += 1
        level = [child for item in level for child in _children(item)]
    return depth


def _children(item: object) -> Iterable[object]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def iso(ms: int) -> str:
    """Format epoch milliseconds as ``2024-01-23T02:03:57.062Z``."""
    second, rest = divmod(ms, 1000)
    return f"{_second(second)}.{rest:03d}Z"


@lru_cache(maxsize=1024)
def _second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).isoformat()[:-6]


def new_ulid(ms: int) -> str:
    """Make a key of 26 characters: 10 of the time *ms* (epoch milliseconds), 16 random."""
    return _digits(ms, 10) + _digits(secrets.randbits(80), 16)


def new_claim_id() -> str:
    """Make a random claim ID of 10 characters, as the device agent does."""
    return _digits(secrets.randbits(50), 10)


def _digits(number: int, count: int) -> str:
    return "".join([ALPHABET[number >> shift & 31] for shift in range(5 * (count - 1), -1, -5)])
