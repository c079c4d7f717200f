"""What a handler of the embedded cloud is given, and how it refuses. Imports nothing of the package."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

__all__ = ["AUTHENTICATION_FAILED", "CANNOT_FIND_DEVICE", "Call", "Caller", "Refused"]

AUTHENTICATION_FAILED = "Authentication failed"
CANNOT_FIND_DEVICE = "Cannot find device"


@attrs.frozen
class Caller:
    """Who calls, as its token says.

    ``account_id`` is None for a CloudAPI token, which may name any account of its cloud in the body.
    ``device_id`` is set for a device token alone.
    """

    kind: Literal["public", "product", "device", "login", "cloud"]
    roles: frozenset[str]
    cloud_id: str | None = None
    account_id: str | None = None
    device_id: str | None = None


@attrs.frozen
class Call:
    """One authenticated, parsed request: the body's and the query's members, named as on the wire."""

    caller: Caller
    body: Mapping[str, Any]
    query: Mapping[str, str]


class Refused(Exception):
    """Ends a call with a status and a one-line text, sent as ``text/plain`` (reference, section 5)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
