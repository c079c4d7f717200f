"""The control API, ``/_emulator/…``: what an `Emulator` object can do, for programs in any language.

It is no part of the emulated API. It answers requests of this machine, and those that bring its token.
"""

import base64
import hmac
import ipaddress
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import orjson
from aiohttp import hdrs, web
from yarl import URL

from . import wire
from .faults import Faults, fault_members, parse_faults
from .mqtt.broker import Message
from .mqtt.service import operation_of
from .request import Refused
from .rest.app import Received

__all__ = ["PREFIX", "ControlApp", "Controlled", "message_members", "request_members"]

_LOG: Final = logging.getLogger(__name__)
PREFIX: Final = "/_emulator"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_UNITS: Final = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}


class Controlled(Protocol):
    """What the control API acts on."""

    faults: Faults
    requests: deque[Received]
    messages: deque[Message]

    def reset(self) -> None:
        """Return to the state after the first start."""

    def info(self) -> Mapping[str, Any]:
        """Return what a client needs to know."""

    def status(self) -> Mapping[str, Any]:
        """Return how it goes."""

    def advance(self, span: float | timedelta) -> None:
        """Let time pass."""

    def seed(self, devices: int | Sequence[Mapping[str, Any]], *, claim: bool = False, cloud: int = 1) -> list[str]:
        """Register devices."""

    def snapshot(self) -> list[bytes]:
        """Return the state."""

    def restore(self, snapshot: list[bytes]) -> None:
        """Return to a state."""

    @property
    def time(self) -> datetime:
        """The time of the clouds."""


class ControlApp:
    """Answers the requests of the control API.

    Args:
        emulator: what to control.
        token: what a request must bring that does not come from this machine.
    """

    def __init__(self, emulator: Controlled, token: str) -> None:
        self._emulator = emulator
        self._token = token

    def add_to(self, app: web.Application) -> None:
        """Answer the requests of *app* to the control API."""
        app.router.add_route("*", PREFIX + "/{name}", self._handle)

    async def _handle(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        methods = _ACTIONS.get(name)
        if not self._may_call(request):
            return _error(403, "the control API is for this machine, or needs its token: Authorization: bearer TOKEN")
        if methods is None:
            return _error(404, f"{name!r} is not known; there are {', '.join(_ACTIONS)}")
        action = methods.get(request.method)
        if action is None:
            allowed = ", ".join(methods)
            return _error(405, f"{name}: expected {allowed}, got {request.method}", {hdrs.ALLOW: allowed})
        try:
            # Not read(), which has a limit that snapshots may exceed.
            return _reply(action(self._emulator, _parse(await request.content.read())))
        except (Refused, ValueError) as error:
            return _error(400, f"{name}: {error}")
        except (web.RequestPayloadError, ConnectionError):
            return _error(400, f"{name}: the body cannot be read")
        except Exception as error:  # noqa: BLE001 - a defect must not end the server
            _LOG.error("%s failed", request.path, exc_info=error)
            return _error(500, f"{name}: {type(error).__name__}: {error}")

    def _may_call(self, request: web.Request) -> bool:
        given = request.headers.get(hdrs.AUTHORIZATION)
        if given is not None:
            return hmac.compare_digest(given.rpartition(" ")[2].encode(), self._token.encode())
        # A page of the web can send requests to this machine, under a name of its own too.
        origin = request.headers.get(hdrs.ORIGIN)
        here = URL.build(scheme=request.scheme, authority=request.host) if request.host else None
        return (
            _is_loopback(request.remote)
            and here is not None
            and _is_loopback(here.host)
            and (origin is None or origin == str(here.origin()))
        )


def _is_loopback(host: str | None) -> bool:
    if host in _LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _reply(value: object) -> web.Response:
    return web.Response(body=wire.dumps(value), content_type="application/json")


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=wire.dumps({"error": text}), content_type="application/json", headers=headers
    )


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the body is not valid JSON: {error}") from error


def _members(body: Any, *names: str) -> Mapping[str, Any]:
    """Return the members of *body* that are not null, and none beyond *names*."""
    if not isinstance(body, dict):
        raise ValueError(f"expected an object, got {type(body).__name__}")
    for name in body:
        if name not in names:
            raise ValueError(f"{name!r} is not known; there {'are' if len(names) > 1 else 'is'} {', '.join(names)}")
    return {name: value for name, value in body.items() if value is not None}


# Actions --------------------------------------------------------------------------------------------------------------


def _reset(emulator: Controlled, body: Any) -> object:
    _members(body)
    emulator.reset()
    return emulator.status()


def _seed(emulator: Controlled, body: Any) -> object:
    members = _members(body, "devices", "claim", "cloud")
    claim, cloud, devices = members.get("claim", False), members.get("cloud", 1), members.get("devices", [])
    if not isinstance(claim, bool):
        raise ValueError(f"claim: expected true or false, got {claim!r}")
    if not isinstance(cloud, int) or isinstance(cloud, bool):
        raise ValueError(f"cloud: expected the number of a cloud, got {cloud!r}")
    return {"devices": emulator.seed(devices, claim=claim, cloud=cloud)}


def _time(emulator: Controlled, body: Any) -> object:
    return {"time": emulator.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def _pass_time(emulator: Controlled, body: Any) -> object:
    members = _members(body, *_UNITS, "to")
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
    databases = _members(body, "databases").get("databases")
    if not isinstance(databases, list) or not all(isinstance(each, str) for each in databases):
        raise ValueError("databases: expected an array of base64 texts")
    try:
        images = [base64.b64decode(each, validate=True) for each in databases]
    except ValueError as error:
        raise ValueError(f"databases: {error}") from error
    emulator.restore(images)
    return emulator.status()


_ACTIONS: Final[Mapping[str, Mapping[str, Callable[[Controlled, Any], object]]]] = {
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


# Records as JSON ------------------------------------------------------------------------------------------------------


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
