"""Fault injection: failures of the embedded cloud, described as data."""

import asyncio
import math
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from typing import Final, Literal

import attrs

from .recent import Dated
from .wire import dumps

__all__ = ["Fault", "Faults", "Injected", "fault_members", "parse_faults", "reset"]


@attrs.frozen
class Fault:
    """A failure of a request, instead of or around its processing.

    A fault with ``status`` or ``body`` answers by itself: the request is not even authenticated. One without them
    lets the request be processed and alters the reply.

    Attributes:
        operation: such as ``device/get``, ``download`` for update images, ``files`` for signed URLs, ``cognito`` for
            sign-ins, or ``jwks`` for the keys of their tokens; None for any request over HTTP. Over MQTT
            ``mqtt/connect`` and the messages of devices, such as ``mqtt/metric/set``, which only ``delay``, ``reset``,
            ``throttle`` and ``times`` have a meaning for.
        status: the status of the answer; 200 if only ``body`` is given. For ``mqtt/connect`` the return code.
        body: the body of the answer, whatever it is: HTML, half a JSON text; empty if only ``status`` is given.
        headers: added to the answer; ``Content-Type`` is ``application/json`` for 200, else ``text/plain``.
        delay: seconds to wait before anything else.
        reset: cut the connection ``before`` or ``after`` the request is processed, with no answer, or over MQTT with
            no acknowledgement.
        truncate: announce the whole body, send half of it and close the connection.
        throttle: send the device ``mqtt/throttle`` after its message, to slow down or to ``close`` its connection.
        times: how many requests it affects; None for all that follow.
    """

    operation: str | None = None
    status: int | None = None
    body: bytes | str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    delay: float = 0
    reset: Literal["before", "after"] | None = None
    truncate: bool = False
    throttle: Literal["slow", "close"] | None = None
    times: int | None = 1


@attrs.frozen
class Injected:
    """A fault that was injected over MQTT; ``client_id`` is None for a CONNECT, which is not read before."""

    operation: str
    client_id: str | None
    fault: Fault


class Faults:
    """The faults that are still to be injected; may be used from any thread.

    Attributes:
        injected: the last 1000 that were injected over MQTT; those of requests are with these.
    """

    def __init__(self) -> None:
        self.injected: Final[Dated[Injected]] = Dated(maxlen=1000)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._faults)

    def add(self, fault: Fault) -> None:
        """Inject *fault* into matching requests, once the faults added before it are used up."""
        with self._lock:
            self._faults.append(fault)

    def left(self) -> list[Fault]:
        """Return those that are still to be injected, each with the ``times`` that it has left."""
        with self._lock:
            return list(self._faults)

    def remove(self, fault: Fault) -> bool:
        """Forget a fault that is as *fault* is described, and say whether there was one."""
        wanted = fault_members(fault)
        with self._lock:
            for index, each in enumerate(self._faults):
                if fault_members(each) == wanted:
                    del self._faults[index]
                    return True
        return False

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def take(self, operation: str | None) -> Fault | None:
        """Return the first fault that matches a request and count it down; None if there is none."""
        if not self._faults:
            return None
        wanted = (operation,) if operation is not None and operation.startswith("mqtt/") else (None, operation)
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.operation in wanted:
                    if fault.times is not None:
                        left = attrs.evolve(fault, times=fault.times - 1)
                        self._faults[index : index + 1] = [left] if fault.times > 1 else []
                    return fault
        return None


def reset(transport: asyncio.Transport | None) -> None:
    """Reset a connection; one that has ended is left alone."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    # TLS has none any more once the peer has closed.
    if connection is not None:
        # With a linger time of 0 the kernel sends RST instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


# As JSON --------------------------------------------------------------------------------------------------------------


def parse_faults(value: object) -> list[Fault]:
    """Return the faults that JSON describes: an object with the attributes of `Fault`, or an array of such.

    ``body`` may be an object or an array as well, and stands for its JSON text then; ``times`` is ``"all"`` for all
    that follow. A member that is null counts as absent.

    Raises:
        ValueError: a member is not known, or its value is wrong; the text names its place and the value.
    """
    if not isinstance(value, list):
        return [_parse(value, "fault")]
    return [_parse(each, f"faults[{index}]") for index, each in enumerate(value)]


def _parse(value: object, place: str) -> Fault:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: expected an object, got {value!r}")
    members = {name: member for name, member in value.items() if member is not None}
    for name, member in members.items():
        if name not in _MEMBERS:
            raise ValueError(f"{place}: {name!r} is not known; there are {', '.join(_MEMBERS)}")
        expected, fits = _MEMBERS[name]
        if not fits(member):
            raise ValueError(f"{place}.{name}: expected {expected}, got {member!r}")
    if isinstance(members.get("body"), (dict, list)):
        members["body"] = dumps(members["body"])
    if members.get("times") == _ALL:
        members["times"] = None
    return Fault(**members)


def fault_members(fault: Fault) -> dict[str, object]:
    """Return *fault* as `parse_faults` reads it, without what has its default."""
    members = {name: value for name in _MEMBERS if (value := getattr(fault, name)) != getattr(_DEFAULT, name)}
    if isinstance(fault.body, bytes):
        members["body"] = fault.body.decode(errors="replace")
    if fault.headers:
        members["headers"] = dict(fault.headers)
    if fault.times is None:
        members["times"] = _ALL
    return members


def _is_whole(value: object, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_delay(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_headers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(text, str) and text.isprintable() for pair in value.items() for text in pair
    )


_ALL: Final = "all"
_DEFAULT: Final = Fault()
_MEMBERS: Final[Mapping[str, tuple[str, Callable[[object], bool]]]] = {
    "operation": ("the name of an operation", lambda value: isinstance(value, str) and bool(value)),
    "status": ("a whole number from 1 to 599", lambda value: _is_whole(value, 1, 599)),
    "body": ("text, an object or an array", lambda value: isinstance(value, (str, dict, list))),
    "headers": ("an object of texts", _is_headers),
    "delay": ("seconds, 0 or more", _is_delay),
    "reset": ("before or after", lambda value: value in ("before", "after")),
    "truncate": ("true or false", lambda value: isinstance(value, bool)),
    "throttle": ("slow or close", lambda value: value in ("slow", "close")),
    "times": ("a whole number from 1, or all", lambda value: value == _ALL or _is_whole(value, 1)),
}
