"""What the control API does."""

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from aiohttp import hdrs

from ..faults import fault_members, parse_faults
from .controlled import Controlled, members_of
from .records import message_members, request_members

__all__ = ["ACTIONS"]

_UNITS: Final = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}


def _reset(emulator: Controlled, body: Any) -> object:
    members_of(body)
    emulator.reset()
    return emulator.status()


def _seed(emulator: Controlled, body: Any) -> object:
    members = members_of(body, "devices", "claim", "cloud")
    claim, cloud, devices = members.get("claim", False), members.get("cloud", 1), members.get("devices", [])
    if not isinstance(claim, bool):
        raise ValueError(f"claim: expected true or false, got {claim!r}")
    if not isinstance(cloud, int) or isinstance(cloud, bool):
        raise ValueError(f"cloud: expected the number of a cloud, got {cloud!r}")
    return {"devices": emulator.seed(devices, claim=claim, cloud=cloud)}


def _time(emulator: Controlled, body: Any) -> object:
    return {"time": emulator.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def _pass_time(emulator: Controlled, body: Any) -> object:
    members = members_of(body, *_UNITS, "to")
    if "to" in members:
        if len(members) > 1:
            raise ValueError("to: expected no span beside it")
        emulator.advance(_seconds_until(members["to"], emulator.time))
    else:
        for name, value in members.items():
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                raise ValueError(f"{name}: expected a number, got {value!r}")
        if not members:
            raise ValueError(f"expected to, or any of {', '.join(_UNITS)}")
        emulator.advance(sum(value * _UNITS[name] for name, value in members.items()))
    return _time(emulator, body)


def _seconds_until(text: object, now: datetime) -> float:
    try:
        then = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        then = None
    if then is None or then.tzinfo is None:
        raise ValueError(f"to: expected a date such as 2030-01-31T12:00:00Z, got {text!r}")
    if then < now:
        raise ValueError(f"to: {text} is past, and time does not go back")
    return (then - now).total_seconds()


def _faults(emulator: Controlled, body: Any) -> object:
    return {"faults": [fault_members(fault) for fault in emulator.faults.left()]}


def _add_faults(emulator: Controlled, body: Any) -> object:
    faults = parse_faults(body["faults"] if isinstance(body, dict) and body.keys() == {"faults"} else body)
    for fault in faults:
        emulator.faults.add(fault)
    return _faults(emulator, body)


def _clear_faults(emulator: Controlled, body: Any) -> object:
    emulator.faults.clear()
    return _faults(emulator, body)


def _requests(emulator: Controlled, body: Any) -> object:
    return {"requests": [request_members(request) for request in list(emulator.requests)]}


def _clear_requests(emulator: Controlled, body: Any) -> object:
    emulator.requests.clear()
    return {"requests": []}


def _messages(emulator: Controlled, body: Any) -> object:
    return {"messages": [message_members(message) for message in list(emulator.messages)]}


def _clear_messages(emulator: Controlled, body: Any) -> object:
    emulator.messages.clear()
    return {"messages": []}


def _snapshot(emulator: Controlled, body: Any) -> object:
    return {"databases": [base64.b64encode(image).decode() for image in emulator.snapshot()]}


def _restore(emulator: Controlled, body: Any) -> object:
    databases = members_of(body, "databases").get("databases")
    if not isinstance(databases, list) or not all(isinstance(each, str) for each in databases):
        raise ValueError("databases: expected an array of base64 texts")
    try:
        images = [base64.b64decode(each, validate=True) for each in databases]
    except ValueError as error:
        raise ValueError(f"databases: {error}") from error
    emulator.restore(images)
    return emulator.status()


ACTIONS: Final[Mapping[str, Mapping[str, Callable[[Controlled, Any], object]]]] = {
    "status": {hdrs.METH_GET: lambda emulator, body: emulator.status()},
    "info": {hdrs.METH_GET: lambda emulator, body: emulator.info()},
    "reset": {hdrs.METH_POST: _reset},
    "seed": {hdrs.METH_POST: _seed},
    "time": {hdrs.METH_GET: _time, hdrs.METH_POST: _pass_time},
    "faults": {hdrs.METH_GET: _faults, hdrs.METH_POST: _add_faults, hdrs.METH_DELETE: _clear_faults},
    "requests": {hdrs.METH_GET: _requests, hdrs.METH_DELETE: _clear_requests},
    "messages": {hdrs.METH_GET: _messages, hdrs.METH_DELETE: _clear_messages},
    "snapshot": {hdrs.METH_GET: _snapshot, hdrs.METH_PUT: _restore},
}
