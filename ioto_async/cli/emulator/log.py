"""The lines of ``--log``: each request and message as it comes."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from ...emulator import Emulator
from ...emulator.mqtt.broker import Message
from ...emulator.mqtt.service import operation_of
from ...emulator.recent import Dated, Recent
from ...emulator.rest.app import Received

__all__ = ["log_requests"]

_KEPT: Final = 1000


class _Requests(Recent[Received]):
    """The last requests, each of which is written as well."""

    def append(self, request: Received, /) -> None:
        """Add a request."""
        super().append(request)
        _write(request.time, request.operation or request.path, request.caller, request.status, request.ms)


class _Messages(Dated[Message]):
    """The last messages of devices, each of which is written as well; they have no status and take no time."""

    def record(self, items: Sequence[Message], time: float) -> None:
        """Add messages."""
        super().record(items, time)
        for message in items:
            _write(time, operation_of(message.topic), message.client_id, None, None)


def log_requests(emulator: Emulator) -> None:
    """Write a line to stderr for all that *emulator* receives, once it runs: for people on a terminal, else JSON."""
    emulator.requests = _Requests(maxlen=_KEPT)
    emulator.messages = _Messages(maxlen=_KEPT)


def _write(time: float, operation: str, caller: str, status: int | None, ms: float | None) -> None:
    date = datetime.fromtimestamp(time, UTC)
    if sys.stderr.isatty():
        shown = "-" if status is None else "cut" if status == 0 else str(status)
        took = "" if ms is None else f"{ms:.1f} ms"
        name = operation if operation.isprintable() else repr(operation)
        line = f"{date:%H:%M:%S}.{date.microsecond // 1000:03d}  {name:<28} {caller:<10} {shown:>4} {took:>10}".rstrip()
    else:
        members: Mapping[str, object] = {
            "time": date.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "operation": operation,
            "caller": caller,
            "status": status,
            "ms": None if ms is None else round(ms, 3),
        }
        line = json.dumps(members)
    sys.stderr.write(f"{line}\n")
