"""The tokens of the embedded cloud and what their holders may do. Imports ``request`` and ``wire`` of the package.

Kinds and roles: reference, section 4. Which capabilities a token has is documented nowhere; what is chosen here:
a CloudAPI token has all of them, a device token those of a device, a user views, an admin and an owner also
edit, claim, release and upgrade devices.
"""

import sqlite3
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from .request import Caller
from .wire import new_ulid

__all__ = ["Role", "TokenKind", "Tokens", "allows"]

TokenKind = Literal["cloud", "device", "login", "product"]
Role = Literal["user", "admin", "owner"]

_USER: Final = frozenset({"public", "user", "view"})
_ADMIN: Final = _USER | {"admin", "edit", "upgrade", "claimDevice", "releaseDevice"}
_OWNER: Final = _ADMIN | {"owner"}
_ROLES: Final[Mapping[tuple[TokenKind, Role | None], frozenset[str]]] = MappingProxyType(
    {
        ("cloud", None): _OWNER | {"device"},
        ("device", None): frozenset({"public", "device", "upgrade", "view", "edit"}),
        ("product", None): frozenset({"public"}),
        ("login", "user"): _USER,
        ("login", "admin"): _ADMIN,
        ("login", "owner"): _OWNER,
    }
)
# The agent runs automations with its device token, although the operation is documented for users.
_DEVICE_ALSO: Final = "action/invoke"


def allows(caller: Caller, role: str, operation: str) -> bool:
    """Say whether *caller* may call *operation*, which is documented for *role*."""
    return role in caller.roles or (caller.kind == "device" and operation == _DEVICE_ALSO)


class Tokens:
    """The table of tokens. They are kept as they are, since a restarted cloud shows its own again."""

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int]) -> None:
        self._db = db
        self._now = now
        db.execute(
            "CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, kind TEXT NOT NULL, cloud_id TEXT NOT NULL,"
            " account_id TEXT, device_id TEXT, role TEXT, expires INTEGER)"
        )
        db.execute("CREATE INDEX IF NOT EXISTS tokens_device ON tokens (device_id)")

    def create(
        self,
        kind: TokenKind,
        cloud_id: str,
        *,
        token: str | None = None,
        account_id: str | None = None,
        device_id: str | None = None,
        role: Role | None = None,
        expires: int | None = None,
    ) -> str:
        """Add a token, *token* itself or a new one; *expires* is in epoch milliseconds, None for never."""
        token = token or new_ulid(self._now())
        self._db.execute(
            "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?)",
            (token, kind, cloud_id, account_id, device_id, role, expires),
        )
        return token

    def of_device(self, cloud_id: str, account_id: str, device_id: str) -> str:
        """Return the token of a claimed device: the same one as long as it is valid, then another."""
        row = self._db.execute(
            "SELECT token FROM tokens WHERE kind = 'device' AND device_id = ?"
            " AND (expires IS NULL OR expires > ?) ORDER BY rowid LIMIT 1",
            (device_id, self._now()),
        ).fetchone()
        if row:
            return str(row[0])
        return self.create("device", cloud_id, account_id=account_id, device_id=device_id)

    def revoke(self, token: str) -> None:
        """End *token* at once.

        Raises:
            KeyError: if there is none such.
        """
        if not self._db.execute("DELETE FROM tokens WHERE token = ?", (token,)).rowcount:
            raise KeyError("no such token")

    def revoke_device(self, device_id: str) -> None:
        """End all tokens of a device."""
        self._db.execute("DELETE FROM tokens WHERE device_id = ?", (device_id,))

    def caller(self, token: str) -> Caller | None:
        """Return the holder of *token*; None if it is unknown, revoked or expired."""
        row = self._db.execute(
            "SELECT kind, cloud_id, account_id, device_id, role, expires FROM tokens WHERE token = ?", (token,)
        ).fetchone()
        if row is None:
            return None
        kind, cloud_id, account_id, device_id, role, expires = row
        if expires is not None and expires <= self._now():
            return None
        return Caller(kind, _ROLES[kind, role], cloud_id, account_id, device_id)
