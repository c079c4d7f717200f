"""The bodies of what came in, by operation."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final

import orjson

from ..operations import BUILDER, IOTO, MQTT
from .mqtt.broker import Message
from .mqtt.service import operation_of
from .rest.app import Received

__all__ = ["OPERATIONS", "find_bodies"]

OPERATIONS: Final = frozenset(
    {*IOTO, *BUILDER, "cognito", "download", "files", "mqtt/connect", *(f"mqtt/{name}" for name in MQTT)}
)
"""The names by which faults select requests and messages."""


def find_bodies(operation: str, requests: Iterable[Received], messages: Iterable[Message]) -> list[Any]:
    """Return the bodies of the *requests* or *messages* of an operation; see ``Emulator.bodies``."""
    if operation not in OPERATIONS:
        # Else a test that expects none would pass for a name that is misspelt.
        near = get_close_matches(str(operation), OPERATIONS, n=1)
        raise ValueError(f"operation: {operation!r} is not known" + (f"; did you mean {near[0]!r}?" if near else ""))
    if operation.startswith("mqtt/"):
        return [_content(each.payload) for each in messages if operation_of(each.topic) == operation]
    return [_content(each.body) for each in requests if each.operation == operation]


def _content(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data
