"""The signatures of URLs that grant the transfer of one file."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal
from urllib.parse import urlencode

import attrs

from ..wire import dumps

__all__ = ["COMMANDS", "Command", "Denied", "Grant", "Signer"]

Command = Literal["get", "put", "delete"]
COMMANDS: Final[tuple[Command, ...]] = ("get", "put", "delete")
_LIFE_S: Final = 900


class Denied(Exception):
    """A signature that is not valid; ``code`` is the error code of S3."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@attrs.frozen
class Grant:
    """What a URL grants; None where it was signed for any size (bytes) or type."""

    command: str
    size: int | None
    mime_type: str | None


class Signer:
    """Signs query strings and checks them; the key is its own, so that its signatures end with it.

    Args:
        now: returns the time in epoch milliseconds.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._key = secrets.token_bytes(32)

    def query(self, owner: str, filename: str, command: Command, size: int | None, mime_type: str | None) -> str:
        """Return the query string that grants *command* on a file for 15 minutes."""
        members = {"command": command, "expires": str(self._now() // 1000 + _LIFE_S)}
        if size is not None:
            members["size"] = str(size)
        if mime_type is not None:
            members["mimeType"] = mime_type
        return urlencode(members | {"signature": self._signature(owner, filename, members.items())})

    def check(self, owner: str, filename: str, pairs: Iterable[tuple[str, str]]) -> Grant:
        """Return what the *pairs* of a query string grant.

        Raises:
            Denied: they are not signed, or not for this file, or not any more.
        """
        given = list(pairs)
        members = dict(given)
        twice = len(members) < len(given)
        signature = members.pop("signature", None)
        if signature is None:
            raise Denied("AccessDenied", "Access Denied")
        wanted = self._signature(owner, filename, members.items())
        # The comparison takes bytes, as texts would have to be ASCII.
        if twice or not hmac.compare_digest(signature.encode(), wanted.encode()):
            raise Denied("SignatureDoesNotMatch", "The signature does not match the request")
        if int(members["expires"]) * 1000 <= self._now():
            raise Denied("AccessDenied", "Request has expired")
        return _grant(members)

    def _signature(self, owner: str, filename: str, pairs: Iterable[tuple[str, str]]) -> str:
        return hmac.new(self._key, dumps([owner, filename, sorted(pairs)]), hashlib.sha256).hexdigest()


def _grant(members: Mapping[str, str]) -> Grant:
    size = members.get("size")
    return Grant(members["command"], None if size is None else int(size), members.get("mimeType"))
