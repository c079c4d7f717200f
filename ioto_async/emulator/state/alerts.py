"""The alerts of the embedded cloud (reference, section 7)."""

import hashlib
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from ..request import Refused
from ..wire import dumps, iso, new_ulid
from .models import cursor, paged

__all__ = ["Alerts"]

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS alerts (
    id TEXT PRIMARY KEY, account_id TEXT NOT NULL, seq TEXT NOT NULL, resolved INTEGER NOT NULL, data BLOB NOT NULL
)
"""
_FIND: Final = "SELECT id, data FROM alerts WHERE (:account IS NULL OR account_id = :account)"
_FORWARD: Final = _FIND + " AND id > :position ORDER BY id"
_BACK: Final = _FIND + " AND id < :position ORDER BY id DESC"


class Alerts:
    """The table of alerts. For an account None stands for all of them, which a CloudAPI token may see."""

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int]) -> None:
        self._db = db
        self._now = now
        db.execute(_TABLE)
        db.execute("CREATE INDEX IF NOT EXISTS alerts_seq ON alerts (seq, resolved)")

    def add(
        self,
        account_id: str,
        cloud_id: str,
        *,
        name: str,
        subject: str,
        message: str,
        severity: str,
        context: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Raise an alert and return its record.

        An alert of the same kind that is not resolved counts one more instead, and takes the new message and context.
        """
        # Of what the fingerprint is made is not documented. The message is not in it, as it may hold a measured value;
        # the device is, since it is what needs attention.
        kind = (account_id, name, severity, subject, context.get("deviceId"))
        seq = hashlib.sha256(dumps(kind)).hexdigest()[:16]
        row = self._db.execute("SELECT data FROM alerts WHERE seq = ? AND NOT resolved", (seq,)).fetchone()
        now = self._now()
        first: dict[str, Any] = {
            "accountId": account_id,
            "cloudId": cloud_id,
            "count": 0,
            "id": new_ulid(now),
            "name": name,
            "seq": seq,
            "severity": severity,
            "subject": subject,
            "resolved": False,
            "timestamp": iso(now),
        }
        record: dict[str, Any] = orjson.loads(row[0]) if row else first
        return self._save(record | {"context": dict(context), "message": message, "count": record["count"] + 1})

    def find(self, account_id: str | None, query: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of alerts, the oldest first.

        Raises:
            Refused: bad limit or cursor.
        """
        position, back = cursor(query, "id")
        start = position[0] if position else ""
        rows = self._db.execute(_BACK if back else _FORWARD, {"account": account_id, "position": start})
        return paged((({"id": id_}, orjson.loads(data)) for id_, data in rows), query)

    def get(self, account_id: str | None, id: str) -> dict[str, Any] | None:
        """Return the alert *id*, None if there is none."""
        row = self._db.execute(_FIND + " AND id = :id", {"account": account_id, "id": id}).fetchone()
        if row is None:
            return None
        record: dict[str, Any] = orjson.loads(row[1])
        return record

    def remove(self, account_id: str | None, id: str) -> None:
        """Remove an alert; none there is fine."""
        self._db.execute(
            "DELETE FROM alerts WHERE id = :id AND (:account IS NULL OR account_id = :account)",
            {"id": id, "account": account_id},
        )

    def update(self, account_id: str | None, id: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """Mark an alert as handled or not, as ``resolved`` of *members* says, and return its record.

        None removes the mark; without the member it stays as it is.

        Raises:
            Refused: there is no such alert.
        """
        record = self.get(account_id, id)
        if record is None:
            raise Refused("Cannot find alert")
        if "resolved" not in members:
            return record
        record["resolved"] = members["resolved"]
        return self._save({name: value for name, value in record.items() if value is not None})

    def remove_account(self, account_id: str) -> None:
        """Remove all alerts of an account."""
        self._db.execute("DELETE FROM alerts WHERE account_id = ?", (account_id,))

    def _save(self, record: dict[str, Any]) -> dict[str, Any]:
        self._db.execute(
            "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?)",
            (record["id"], record["accountId"], record["seq"], record.get("resolved", False), dumps(record)),
        )
        return record
