"""The device apps of the embedded cloud (reference, section 7, Manager)."""

import secrets
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from ..request import Refused
from ..wire import dumps, iso, new_ulid

__all__ = ["CANNOT_FIND_MANAGER", "Managers"]

CANNOT_FIND_MANAGER = "Cannot find manager"

_TABLE: Final = "CREATE TABLE IF NOT EXISTS managers (id TEXT PRIMARY KEY, cloud_id TEXT NOT NULL, data BLOB NOT NULL)"
_OWN: Final = "SELECT data FROM managers WHERE cloud_id = ? ORDER BY id LIMIT 1"
_GET: Final = "SELECT data FROM managers WHERE cloud_id = ? AND id = ?"
# No table of records has versionCurrent; what was set is shown.
_UPDATED: Final = (
    *("custom", "domain", "name", "owner", "priorDomain", "region", "title", "users", "version", "versionCurrent"),
    "display",
)


class Managers:
    """The table of apps. A cloud without one gets one: nothing in its own API makes apps.

    Args:
        db: the cloud's database.
        now: returns the time in epoch milliseconds.
        cloud_id: the cloud.
        account_id: the owner of the first app.
        domain: the host of the first app.
        region: its AWS region.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        now: Callable[[], int],
        *,
        cloud_id: str,
        account_id: str,
        domain: str,
        region: str,
    ) -> None:
        self._db = db
        self._now = now
        self._cloud_id = cloud_id
        db.execute(_TABLE)
        if self.get() is None:
            self.add(account_id, domain, region)

    def add(self, account_id: str, domain: str, region: str) -> dict[str, Any]:
        """Add an app of an account and return its record."""
        now = self._now()
        return self._save(
            {
                "accountId": account_id,
                "certArn": f"arn:aws:acm:{region}:000000000000:certificate/{secrets.token_hex(16)}",
                "cloudFront": f"{secrets.token_hex(7)}.cloudfront.test",
                "cloudId": self._cloud_id,
                "custom": False,
                "display": "{}",
                "distributionId": "E" + secrets.token_hex(7).upper(),
                "domain": domain,
                "error": "",
                "id": new_ulid(now),
                "name": "Demo",
                "owner": account_id,
                "priorDomain": "",
                "provisioned": iso(now),
                "region": region,
                "title": "Demo",
                "type": "app",
                "users": [],
                "version": "1.0.0",
            }
        )

    def get(self, id: str | None = None) -> dict[str, Any] | None:
        """Return the record of an app, the cloud's first one for None; None if there is none."""
        row = self._db.execute(_GET if id else _OWN, (self._cloud_id, id) if id else (self._cloud_id,)).fetchone()
        if row is None:
            return None
        record: dict[str, Any] = orjson.loads(row[0])
        return record

    def update(self, id: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """Set the documented ones of *members*, remove those that are None, and return the record.

        A new domain makes the present one the prior one, unless *members* name that too.

        Raises:
            Refused: there is no such app.
        """
        record = self._load(id)
        changes = {name: members[name] for name in _UPDATED if name in members}
        present = record.get("domain")
        if present is not None and changes.get("domain", present) != present:
            changes = {"priorDomain": present} | changes
        return self._save({name: value for name, value in (record | changes).items() if value is not None})

    def provision(self, id: str) -> dict[str, Any]:
        """Note that an app was put into operation, and return its record.

        Raises:
            Refused: there is no such app.
        """
        return self._save(self._load(id) | {"provisioned": iso(self._now()), "error": ""})

    def _load(self, id: str) -> dict[str, Any]:
        record = self.get(id)
        if record is None:
            raise Refused(CANNOT_FIND_MANAGER)
        return record

    def _save(self, record: dict[str, Any]) -> dict[str, Any]:
        self._db.execute(
            "INSERT OR REPLACE INTO managers VALUES (?, ?, ?)", (record["id"], self._cloud_id, dumps(record))
        )
        return record
