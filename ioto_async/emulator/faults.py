"""Fault injection: failures of the embedded cloud, described as data."""

import asyncio
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Literal

import attrs

__all__ = ["Fault", "Faults", "reset"]


@attrs.frozen
class Fault:
    """A failure of a request, instead of or around its processing.

    A fault with ``status`` or ``body`` answers by itself: the request is not even authenticated. One without them
    lets the request be processed and alters the reply.

    Attributes:
        operation: such as ``device/get``, ``download`` for update images, ``files`` for signed URLs, or ``cognito``
            for sign-ins; None for any request over HTTP. Over MQTT ``mqtt/connect`` and the messages of devices, such
            as ``mqtt/metric/set``, which only ``delay``, ``reset``, ``throttle`` and ``times`` have a meaning for.
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


class Faults:
    """The faults that are still to be injected; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._faults)

    def add(self, fault: Fault) -> None:
        """Inject *fault* into matching requests, once the faults added before it are used up."""
        with self._lock:
            self._faults.append(fault)

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
