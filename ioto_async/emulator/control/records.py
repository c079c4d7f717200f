"""Requests and messages as JSON."""

import base64

import orjson

from .. import wire
from ..faults import fault_members
from ..mqtt.broker import Message
from ..mqtt.service import operation_of
from ..rest.app import Received

__all__ = ["message_members", "request_members"]


def request_members(request: Received, most: int | None = None) -> dict[str, object]:
    """Return a request as JSON; ``body`` is JSON if it was, else text, or ``{"base64": …}`` if it is none.

    One of more than *most* bytes is ``{"bytes": …}``, how many they are.
    """
    return {
        "time": wire.iso(int(request.time * 1000)),
        "operation": request.operation,
        "method": request.method,
        "path": request.path,
        "query": dict(request.query),
        "body": _content(request.body, most),
        "caller": request.caller,
        "status": request.status,
        "ms": round(request.ms, 3),
        "fault": None if request.fault is None else fault_members(request.fault),
    }


def message_members(message: Message, most: int | None = None) -> dict[str, object]:
    """Return a message of a device as JSON, with its ``payload`` as the body of a request is."""
    return {
        "operation": operation_of(message.topic),
        "client_id": message.client_id,
        "topic": message.topic,
        "payload": _content(message.payload, most),
    }


def _content(data: bytes, most: int | None) -> object:
    if not data:
        return None
    if most is not None and len(data) > most:
        return {"bytes": len(data)}
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
