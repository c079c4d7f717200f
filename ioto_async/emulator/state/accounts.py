"""The accounts of a cloud."""

import re
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ..request import CANNOT_FIND_ACCOUNT, Refused
from ..wire import iso, new_ulid
from .models import cursor, paged

__all__ = ["Account", "Accounts", "check_email"]

# The vendor's schema has an expression of its own; what it refuses beyond this is not known.
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
_MAX_EMAIL: Final = 254

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL COLLATE NOCASE, created INTEGER NOT NULL,
    activity INTEGER NOT NULL, closed INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""
_SELECT: Final = "SELECT id, name, email, created, activity, closed FROM accounts"
_FIND: Final = (
    _SELECT + " WHERE (:id IS NULL OR id = :id) AND (:email IS NULL OR email = :email)"
    " AND (:own IS NULL OR (id = :own AND NOT closed))"
)
_FORWARD: Final = _FIND + " AND id > :position ORDER BY id"
_BACK: Final = _FIND + " AND id < :position ORDER BY id DESC"


def check_email(email: str) -> str:
    """Return *email* if it can be an address.

    Raises:
        Refused: 400 if not.
    """
    if len(email) > _MAX_EMAIL or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise Refused('Bad value for "email": not an address')
    return email


@attrs.frozen
class Account:
    """An account; dates are epoch milliseconds. A closed one is kept as a record, and owns nothing any more."""

    id: str
    name: str
    email: str
    created: int
    activity: int
    closed: bool = attrs.field(converter=bool)

    def record(self, cloud_id: str) -> dict[str, Any]:
        """Return what replies show (reference, section 7)."""
        return {
            "activity": iso(self.activity),
            "closed": self.closed,
            "cloudId": cloud_id,
            "created": iso(self.created),
            "email": self.email,
            "id": self.id,
            "name": self.name,
        }


class Accounts:
    """The table of accounts."""

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int], cloud_id: str) -> None:
        self._db = db
        self._now = now
        self._cloud_id = cloud_id
        db.execute(_TABLE)

    def add(self, name: str, email: str, *, id: str | None = None) -> str:
        """Add an account and return its key, *id* or a new one.

        Raises:
            Refused: 400 if *email* is no address or *name* is empty.
        """
        now = self._now()
        id = id or new_ulid(now)
        self._db.execute(
            "INSERT INTO accounts (id, name, email, created, activity) VALUES (?, ?, ?, ?, ?)",
            (id, _check_name(name), check_email(email), now, now),
        )
        return id

    def load(self, id: str, *, closed: bool = False) -> Account:
        """Return an account, with *closed* a closed one too.

        Raises:
            Refused: 400 if there is none.
        """
        row = self._db.execute(_SELECT + " WHERE id = ? AND (NOT closed OR ?)", (id, closed)).fetchone()
        if row is None:
            raise Refused(CANNOT_FIND_ACCOUNT)
        return Account(*row)

    def has(self, id: str) -> bool:
        """Say whether there is an account *id* that is not closed."""
        row = self._db.execute("SELECT 1 FROM accounts WHERE id = ? AND NOT closed", (id,)).fetchone()
        return row is not None

    def find(
        self, query: Mapping[str, str], *, own: str | None, id: str | None = None, email: str | None = None
    ) -> dict[str, Any]:
        """Answer one page of accounts in the order of their keys.

        Args:
            query: limit and cursor.
            own: the account of a caller who may see no other, and that only if it is open; None for all.
            id: the key to look for; None for any.
            email: the address to look for, in any case; None for any.
        """
        position, back = cursor(query, "id")
        start = position[0] if position else ""
        rows = self._db.execute(_BACK if back else _FORWARD, {"own": own, "id": id, "email": email, "position": start})
        return paged((({"id": row[0]}, Account(*row).record(self._cloud_id)) for row in rows), query)

    def update(self, id: str, members: Mapping[str, Any]) -> None:
        """Change what an account is known by: ``name`` and ``email``, where *members* have them.

        Raises:
            Refused: 400 if the address is none, or one of them is empty or None: an account needs both.
        """
        for required in ("name", "email"):
            if members.get(required, "") is None:
                raise Refused(f'Validation error in "Account" for "{required}": required')
        name, email = members.get("name"), members.get("email")
        self._db.execute(
            "UPDATE accounts SET name = coalesce(?, name), email = coalesce(?, email) WHERE id = ?",
            (None if name is None else _check_name(name), None if email is None else check_email(email), id),
        )

    def touch(self, id: str) -> None:
        """Note that an account was used."""
        self._db.execute("UPDATE accounts SET activity = ? WHERE id = ?", (self._now(), id))

    def close(self, id: str) -> None:
        """Close an account; only its record stays."""
        self._db.execute("UPDATE accounts SET closed = 1 WHERE id = ?", (id,))


def _check_name(name: str) -> str:
    if not name:
        raise Refused('Bad value for "name": empty')
    return name
