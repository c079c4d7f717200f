"""What the control API does."""

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from aiohttp import hdrs

from ..faults import fault_members, parse_faults
from ..request import CANNOT_FIND_DEVICE, Refused
from ..state.account_writer import AccountWriter
from . import views
from .controlled import Controlled, cloud_of, members_of, text_of
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


def _clear_faults(emulator: Controlled, given: Any) -> object:
    if given == {}:
        emulator.faults.clear()
    else:
        (fault,) = parse_faults(given) if isinstance(given, dict) else [None]
        if fault is None or not emulator.faults.remove(fault):
            raise ValueError(f"expected a fault as it is listed, or no body to clear all, got {given!r}")
    return _faults(emulator, given)


def _requests(emulator: Controlled, body: Any) -> object:
    return {"requests": [request_members(request) for request in list(emulator.requests)]}


def _clear_requests(emulator: Controlled, body: Any) -> object:
    emulator.requests.clear()
    return {"requests": []}


def _messages(emulator: Controlled, body: Any) -> object:
    return {"messages": [message_members(message) for message in list(emulator.messages)]}


def _clear_messages(emulator: Controlled, body: Any) -> object:
    emulator.messages.clear()
    emulator.faults.injected.clear()
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


def _claim(emulator: Controlled, body: Any) -> object:
    members = members_of(body, "cloud", "id", "account_id")
    cloud_of(emulator, members).claim_device(_id(members), text_of(members, "account_id") or None)
    return _device(emulator, members)


def _release(emulator: Controlled, body: Any) -> object:
    members = members_of(body, "cloud", "id")
    cloud_of(emulator, members).release_device(_id(members))
    return _device(emulator, members)


def _command(emulator: Controlled, body: Any) -> object:
    members = members_of(body, "cloud", "id", "command", "args")
    command, args = text_of(members, "command"), members.get("args", {})
    if not command:
        raise ValueError("command: expected a text that is not empty")
    if not isinstance(args, dict):
        raise ValueError(f"args: expected an object, got {args!r}")
    cloud = cloud_of(emulator, members)
    with cloud.lock, cloud.transaction():
        device = cloud.devices.claimed(_id(members), None)
        if device.account_id is None:
            raise Refused(CANNOT_FIND_DEVICE)
        return AccountWriter(cloud, device.account_id).write(
            "Command", {"deviceId": device.id, "command": command, "args": args}
        )


def _id(members: Mapping[str, Any]) -> str:
    id = text_of(members, "id")
    if not id:
        raise ValueError("id: expected the claim ID of a device")
    return id


def _device(emulator: Controlled, members: Mapping[str, Any]) -> object:
    return views.device(emulator, {name: members[name] for name in ("cloud", "id") if name in members})


ACTIONS: Final[Mapping[str, Mapping[str, Callable[[Controlled, Any], object]]]] = {
    "status": {hdrs.METH_GET: lambda emulator, body: emulator.status()},
    "info": {hdrs.METH_GET: lambda emulator, body: emulator.info()},
    "reset": {hdrs.METH_POST: _reset},
    "seed": {hdrs.METH_POST: _seed},
    "time": {hdrs.METH_GET: _time, hdrs.METH_POST: _pass_time},
    "faults": {hdrs.METH_GET: _faults, hdrs.METH_POST: _add_faults, hdrs.METH_DELETE: _clear_faults},
    "requests": {hdrs.METH_GET: _requests, hdrs.METH_DELETE: _clear_requests},
    "messages": {hdrs.METH_GET: _messages, hdrs.METH_DELETE: _clear_messages},
    "activity": {hdrs.METH_GET: views.activity},
    "devices": {hdrs.METH_GET: views.devices},
    "device": {hdrs.METH_GET: views.device},
    "metrics": {hdrs.METH_GET: views.metrics},
    "models": {hdrs.METH_GET: views.models},
    "items": {hdrs.METH_GET: views.items},
    "operations": {hdrs.METH_GET: views.operations},
    "claim": {hdrs.METH_POST: _claim},
    "release": {hdrs.METH_POST: _release},
    "command": {hdrs.METH_POST: _command},
    "snapshot": {hdrs.METH_GET: _snapshot, hdrs.METH_PUT: _restore},
}
