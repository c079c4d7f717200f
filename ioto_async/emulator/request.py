"""What a handler of the embedded cloud is given, and how it refuses."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

__all__ = [
    "AUTHENTICATION_FAILED",
    "CANNOT_FIND_ACCOUNT",
    "CANNOT_FIND_DEVICE",
    "CANNOT_FIND_USER",
    "NO_ACCOUNT",
    "Call",
    "Caller",
    "Refused",
]

AUTHENTICATION_FAILED = "Authentication failed"
CANNOT_FIND_ACCOUNT = "Cannot find account"
CANNOT_FIND_DEVICE = "Cannot find device"
CANNOT_FIND_USER = "Cannot find user"

NO_ACCOUNT: Final = "none"
"""The account of an identity that signed in and is no user yet: a key that no account has."""


@attrs.frozen
class Caller:
    """Who calls, as its token says.

    ``account_id`` is None for a CloudAPI token, which may name any account of its cloud in the body, and the account
    of the Builder for a BuilderAPI token. ``device_id`` is set for a device token alone, ``identity_id`` (who signed
    in) for a login, and ``user_id`` for the login of a user.
    """

    kind: Literal["public", "product", "builder", "device", "login", "cloud"]
    roles: frozenset[str]
    cloud_id: str | None = None
    account_id: str | None = None
    device_id: str | None = None
    user_id: str | None = None
    identity_id: str | None = None


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
