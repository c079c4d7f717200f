"""The tokens of a device cloud or of the Builder, and what their holders may do.

Kinds and roles: reference, section 4. Which capabilities a token has is documented nowhere; what is chosen here:
a CloudAPI token has all of them, a device token those of a device, a user views, an admin and an owner also
edit, claim, release and upgrade devices.
"""

import sqlite3
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal

import attrs

from ..request import Caller
from ..wire import new_ulid

__all__ = ["RANKS", "ROLES", "Role", "Token", "TokenKind", "Tokens", "allows"]

TokenKind = Literal["cloud", "device", "login", "product", "builder"]
Role = Literal["user", "admin", "owner"]

RANKS: Final[tuple[Role, ...]] = ("user", "admin", "owner")
"""The roles of users and of BuilderAPI tokens, each with what the ones before it may do."""

_USER: Final = ("public", "user", "view")
_ADMIN: Final = (*_USER, "admin", "edit", "upgrade", "claimDevice", "releaseDevice")
_OWNER: Final = (*_ADMIN, "owner")

ROLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "user": _USER,
        "admin": _ADMIN,
        "owner": _OWNER,
        "device": ("public", "device", "upgrade", "view", "edit"),
        "cloud": (*_OWNER, "device"),
    }
)
"""The capabilities of each role of a user, of a device token, and of a CloudAPI token (``cloud``)."""

# The agent runs automations with its device token, although the operation is documented for users.
_DEVICE_ALSO: Final = "action/invoke"

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY, issuer TEXT NOT NULL, kind TEXT NOT NULL, account_id TEXT, device_id TEXT,
    identity_id TEXT, role TEXT, expires INTEGER, suspended INTEGER NOT NULL DEFAULT 0
)
"""


def allows(caller: Caller, role: str, operation: str) -> bool:
    """Say whether *caller* may call *operation*, which is documented for *role*."""
    return role in caller.roles or (caller.kind == "device" and operation == _DEVICE_ALSO)


@attrs.frozen
class Token:
    """What a valid token stands for; the text of the token is not kept.

    ``device_id`` is set for device tokens, ``identity_id`` (who signed in) for login tokens, ``role`` for BuilderAPI
    tokens. What the user behind a login may do is in the user's record alone.
    """

    kind: TokenKind
    account_id: str | None
    device_id: str | None
    identity_id: str | None
    role: Role | None


class Tokens:
    """The tokens that *issuer*, a cloud or the Builder, gave out; those of another issuer are unknown.

    They are kept as they are, since a restarted cloud shows its own again.
    """

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int], issuer: str) -> None:
        self._db = db
        self._now = now
        self._issuer = issuer
        db.execute(_TABLE)
        db.execute("CREATE INDEX IF NOT EXISTS tokens_device ON tokens (device_id)")
        db.execute("CREATE INDEX IF NOT EXISTS tokens_identity ON tokens (identity_id)")

    def create(
        self,
        kind: TokenKind,
        *,
        token: str | None = None,
        account_id: str | None = None,
        device_id: str | None = None,
        identity_id: str | None = None,
        role: Role | None = None,
        expires: int | None = None,
    ) -> str:
        """Add a token, *token* itself or a new one; *expires* is in epoch milliseconds, None for never."""
        token = token or new_ulid(self._now())
        self._db.execute(
            "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (token, self._issuer, kind, account_id, device_id, identity_id, role, expires),
        )
        return token

    def load(self, token: str) -> Token | None:
        """Return what *token* stands for; None if it is unknown, revoked, suspended or expired."""
        row = self._db.execute(
            "SELECT kind, account_id, device_id, identity_id, role FROM tokens WHERE token = ? AND issuer = ?"
            " AND NOT suspended AND (expires IS NULL OR expires > ?)",
            (token, self._issuer, self._now()),
        ).fetchone()
        return Token(*row) if row else None

    def has(self, token: str) -> bool:
        """Say whether *token* was given out and not revoked; it may be suspended or expired."""
        row = self._db.execute("SELECT 1 FROM tokens WHERE token = ? AND issuer = ?", (token, self._issuer))
        return row.fetchone() is not None

    def of_device(self, account_id: str, device_id: str) -> str:
        """Return the token of a claimed device: the same one until it expires or is revoked, then another."""
        # A suspended one stays the device's: another would undo the suspension.
        row = self._db.execute(
            "SELECT token FROM tokens WHERE kind = 'device' AND device_id = ? AND issuer = ?"
            " AND (expires IS NULL OR expires > ?) ORDER BY rowid LIMIT 1",
            (device_id, self._issuer, self._now()),
        ).fetchone()
        if row:
            return str(row[0])
        return self.create("device", account_id=account_id, device_id=device_id)

    def suspend(self, token: str, suspended: bool) -> None:
        """Suspend *token*, or resume it.

        Raises:
            KeyError: there is no such token.
        """
        self._only(
            self._db.execute(
                "UPDATE tokens SET suspended = ? WHERE token = ? AND issuer = ?", (suspended, token, self._issuer)
            )
        )

    def is_suspended(self, token: str) -> bool:
        """Say whether *token* is suspended now."""
        row = self._db.execute(
            "SELECT suspended FROM tokens WHERE token = ? AND issuer = ?", (token, self._issuer)
        ).fetchone()
        return row is not None and bool(row[0])

    def revoke(self, token: str) -> None:
        """End *token* at once.

        Raises:
            KeyError: there is no such token.
        """
        self._only(self._db.execute("DELETE FROM tokens WHERE token = ? AND issuer = ?", (token, self._issuer)))

    def revoke_device(self, device_id: str) -> None:
        """End all tokens of a device."""
        self._db.execute("DELETE FROM tokens WHERE device_id = ? AND issuer = ?", (device_id, self._issuer))

    def revoke_identity(self, identity_id: str) -> None:
        """End all login tokens of the identity *identity_id*."""
        self._db.execute("DELETE FROM tokens WHERE identity_id = ? AND issuer = ?", (identity_id, self._issuer))

    def _only(self, changed: sqlite3.Cursor) -> None:
        if not changed.rowcount:
            raise KeyError("no such token")
