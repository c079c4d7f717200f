"""What a device writes and reads over MQTT: JSON out, bare values in.

Source: reference, section 10; the replies are bare values, as the vendor's agent takes them.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, TypeAlias

import orjson

from ..codec import encoding
from ..codec.encoding import OMIT, Omit
from ..errors import DecodeError, InvalidArgumentError
from ..models import Statistic
from ..models.metric import check_statistic, in_buffer
from ..operations import MQTT, Kind, Operation, Reply
from ..settings import Period, in_seconds, period

__all__ = [
    "StoreType",
    "StoreValue",
    "changes",
    "number",
    "sample",
    "scalar",
    "since",
    "store_query",
    "stored",
    "value_query",
]

StoreValue: TypeAlias = bool | int | float | str
"""What a device can keep in its store."""

StoreType = Literal["boolean", "number", "string"]

# These two have no rows in the table: they are neither called by the cloud's names nor answered.
_SYNC_UP: Final = Operation("db/syncToDynamo", "device", Kind.REPLAYABLE, Reply.NONE, (), (), True, True, "")
_SYNC_DOWN: Final = Operation("db/syncDown", "device", Kind.READ, Reply.NONE, (), (), True, True, "")

_COMMANDS: Final = ("create", "update", "upsert", "remove")
# The text is sent as it is, the cloud puts the device in.
_OWN: Final = {"Device": "${deviceId}"}
_NUMBERS: Final = (int, float)
_PERIOD: Final = period(of=MQTT["metric/get"].name)
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def sample(
    metric: str,
    value: float,
    dimensions: Sequence[Mapping[str, object]] | None,
    buffer: Mapping[str, object] | None,
) -> bytes:
    """The body of ``metric/set``.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """
    operation = MQTT["metric/set"]
    if buffer is None and (body := _plain(metric, value, dimensions)) is not None:
        return body
    encoding.required_text(operation, "metric", metric)
    if value is None:
        raise InvalidArgumentError(f"{operation.name}: value is required")
    if dimensions is None:
        dimensions = [_OWN]
    elif (
        not isinstance(dimensions, Sequence)
        or not dimensions
        or not all(isinstance(entry, Mapping) for entry in dimensions)
    ):
        raise InvalidArgumentError(
            f"{operation.name}: dimensions: expected a list of maps, [{{}}] for none, got {dimensions!r}"
        )
    members = {"metric": metric, "value": value, "dimensions": dimensions, "buffer": in_buffer(operation.name, buffer)}
    return _body(operation, members)


def _plain(metric: object, value: object, dimensions: object) -> bytes | None:
    """What `sample` makes of what nearly all samples consist of; None for anything else, right or wrong."""
    if type(metric) is not str or not metric or type(value) not in _NUMBERS:
        return None
    if dimensions is None:
        dimensions = [_OWN]
    elif type(dimensions) is not list or not dimensions or not all(type(entry) is dict for entry in dimensions):
        return None
    try:
        body = orjson.dumps(
            {"metric": metric, "value": value, "dimensions": dimensions}, option=orjson.OPT_PASSTHROUGH_DATETIME
        )
    except orjson.JSONEncodeError:
        return None
    # orjson writes NaN and the infinities as null.
    return None if b"null" in body else encoding.trimmed(body)


def value_query(metric: str, dimensions: Mapping[str, object] | None, period: Period, statistic: Statistic) -> bytes:
    """The body of ``metric/get``.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """
    operation = MQTT["metric/get"]
    encoding.required_text(operation, "metric", metric)
    # The cloud does not reply to what it does not know.
    check_statistic(f"{operation.name}: statistic", encoding.required_text(operation, "statistic", statistic))
    period = in_seconds(period)
    _PERIOD.check("period", period)
    dimensions = _OWN if dimensions is None else dimensions
    members = {"metric": metric, "dimensions": dimensions, "period": period, "statistic": statistic}
    return _body(operation, members)


def stored(key: str, value: StoreValue, type: StoreType | None, expires: datetime | Omit | None) -> bytes:
    """The body of ``store/set``.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """
    operation = MQTT["store/set"]
    encoding.required_text(operation, "key", key)
    own = _type_of(operation, value)
    if type is not None and type != own:
        raise InvalidArgumentError(f"{operation.name}: type: expected {own!r} for this value, got {type!r}")
    members: dict[str, object] = {"key": key, "value": value, "type": own}
    if expires is not OMIT:
        members["expires"] = encoding.timestamp(operation, "expires", expires)
    return encoding.trimmed(encoding.body(operation, members, nulls=True))


def store_query(key: str) -> bytes:
    """The body of ``store/get``.

    Raises:
        InvalidArgumentError: *key* does not fit.
    """
    operation = MQTT["store/get"]
    return _body(operation, {"key": encoding.required_text(operation, "key", key)})


def changes(number: int, changes: Iterable[Mapping[str, object]]) -> bytes:
    """The body of ``db/syncToDynamo``.

    Raises:
        InvalidArgumentError: *changes* are no mappings, or hold what is no JSON.
    """
    entries = list(changes) if isinstance(changes, Iterable) and not isinstance(changes, (str, Mapping)) else None
    if not entries or not all(isinstance(entry, Mapping) for entry in entries):
        raise InvalidArgumentError(f"{_SYNC_UP.name}: changes: expected mappings, at least one")
    for entry in entries:
        if entry.get("cmd") not in _COMMANDS:
            expected = ", ".join(_COMMANDS)
            raise InvalidArgumentError(f"{_SYNC_UP.name}: changes: cmd: expected {expected}, got {entry.get('cmd')!r}")
        encoding.required_text(_SYNC_UP, "changes: key", entry.get("key"))
    return _body(_SYNC_UP, {"seq": number, "changes": entries})


def since(since: datetime) -> bytes:
    """The body of ``db/syncDown``.

    Raises:
        InvalidArgumentError: *since* is no aware datetime.
    """
    if encoding.timestamp(_SYNC_DOWN, "since", since) is None:
        raise InvalidArgumentError(f"{_SYNC_DOWN.name}: since is required")
    return _body(_SYNC_DOWN, {"timestamp": since})


def _body(operation: Operation, members: Mapping[str, object]) -> bytes:
    return encoding.trimmed(encoding.body(operation, members))


def _type_of(operation: Operation, value: StoreValue) -> StoreType:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    raise InvalidArgumentError(f"{operation.name}: value: expected a number, text or a boolean, got {_name_of(value)}")


def _name_of(value: object) -> str:
    return type(value).__name__


def scalar(payload: bytes) -> StoreValue | None:
    """The value of a bare reply: None where it is empty or null, text where it is nothing else.

    Text as well are digits that are no number in the cloud, as no double is so large.
    """
    text = payload.decode("utf-8", "replace")
    known: dict[str, bool | None] = {"": None, "null": None, "undefined": None, "true": True, "false": False}
    if text in known:
        return known[text]
    if (match := _NUMBER.fullmatch(text)) and math.isfinite(value := float(text)):
        return value if match[2] or match[3] else int(text)
    return text


def number(operation: Operation, payload: bytes) -> float | None:
    """The number of a bare reply, None where there is none.

    Raises:
        DecodeError: it is something else.
    """
    value = scalar(payload)
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    raise DecodeError(f"expected a number, got {type(value).__name__}", operation=operation.name, status=None)
