"""Requests and messages as JSON."""

import base64

import orjson

from .. import wire
from ..mqtt.broker import Message
from ..mqtt.service import operation_of
from ..rest.app import Received

__all__ = ["message_members", "request_members"]


def request_members(request: Received) -> dict[str, object]:
    """Return a request as JSON; ``body`` is JSON if it was, else text, or ``{"base64": …}`` if it is none."""
    return {
        "time": wire.iso(int(request.time * 1000)),
        "operation": request.operation,
        "method": request.method,
        "path": request.path,
        "query": dict(request.query),
        "body": _content(request.body),
        "caller": request.caller,
        "status": request.status,
        "ms": round(request.ms, 3),
    }


def message_members(message: Message) -> dict[str, object]:
    """Return a message of a device as JSON, with its ``payload`` as the body of a request is."""
    return {
        "operation": operation_of(message.topic),
        "client_id": message.client_id,
        "topic": message.topic,
        "payload": _content(message.payload),
    }


def _content(data: bytes) -> object:
    if not data:
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
