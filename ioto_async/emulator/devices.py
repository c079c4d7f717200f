"""The devices of the embedded cloud, from registration to release. Imports ``request``, ``models`` and ``wire``."""

import re
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import orjson

from .models import cursor, paged
from .request import CANNOT_FIND_DEVICE, Refused
from .wire import dumps, iso

__all__ = ["Device", "Devices"]

# What fits a thing name of AWS IoT and the common name of a certificate (64 characters).
_CLAIM_ID: Final = re.compile(r"[0-9A-Za-z:_-]{1,64}")

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS devices (
    id TEXT PRIMARY KEY, product_id TEXT NOT NULL, properties BLOB NOT NULL, test INTEGER NOT NULL,
    version TEXT, checked TEXT, accessed INTEGER NOT NULL, blocked_until INTEGER NOT NULL DEFAULT 0,
    account_id TEXT, created INTEGER, certificate TEXT, key TEXT
) WITHOUT ROWID
"""
_SELECT: Final = (
    "SELECT d.id, d.product_id, p.name, d.properties, d.test, d.version, d.checked, d.accessed, d.blocked_until,"
    " d.account_id, d.created, d.certificate, d.key FROM devices d JOIN products p ON p.id = d.product_id"
)
_LOAD: Final = _SELECT + " WHERE d.id = ?"
_FIND: Final = (
    _SELECT + " WHERE d.account_id IS NOT NULL AND (:id IS NULL OR d.id = :id)"
    " AND (:account IS NULL OR d.account_id = :account) AND (:product IS NULL OR d.product_id = :product)"
)
_FORWARD: Final = _FIND + " AND d.id > :position ORDER BY d.id"
_BACK: Final = _FIND + " AND d.id < :position ORDER BY d.id DESC"


@attrs.frozen
class Device:
    """A registered device; dates are epoch milliseconds.

    ``account_id`` and ``created`` are None until it is claimed, ``certificate`` and ``key`` until it is provisioned.
    """

    id: str
    product_id: str
    product: str
    properties: Mapping[str, Any] = attrs.field(converter=orjson.loads)
    test: bool
    version: str | None
    checked: str | None
    accessed: int
    blocked_until: int
    account_id: str | None
    created: int | None
    certificate: str | None
    key: str | None

    def record(self) -> dict[str, Any]:
        """Return what replies show of a claimed device (reference, section 7)."""
        record = {
            "accessed": iso(self.accessed),
            "accountId": self.account_id,
            "created": None if self.created is None else iso(self.created),
            "id": self.id,
            "product": self.product,
            "productId": self.product_id,
            "test": True if self.test else None,
            "version": self.version,
            "checked": self.checked,
        }
        # The cloud stores no nulls (reference, section 6).
        return {name: value for name, value in record.items() if value is not None}


class Devices:
    """The table of devices. A claim ID is taken once in the whole Builder, as device/claim names nothing else."""

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int]) -> None:
        self._db = db
        self._now = now
        db.execute(_TABLE)

    def register(self, id: str, product_id: str, properties: Mapping[str, Any]) -> None:
        """Make a device known, or renew its *properties*.

        Raises:
            Refused: 400 for a claim ID that cannot be one or that belongs to another product.
        """
        if not _CLAIM_ID.fullmatch(id):
            raise Refused("Bad claim ID")
        device = self.load(id)
        if device and device.product_id != product_id:
            raise Refused("Claim ID is in use by another product")
        version = properties.get("version")
        self._db.execute(
            "INSERT INTO devices (id, product_id, properties, test, version, accessed) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET properties = excluded.properties, test = excluded.test,"
            " version = coalesce(excluded.version, version), accessed = excluded.accessed",
            (
                id,
                product_id,
                dumps(properties),
                properties.get("test") is True,
                version if isinstance(version, str) else None,
                self._now(),
            ),
        )

    def claim(self, id: str, account_id: str) -> None:
        """Give a registered device to an account.

        Raises:
            Refused: 400 if it is not registered, or claimed already, by whomever.
        """
        device = self.load(id)
        if device is None:
            raise Refused(CANNOT_FIND_DEVICE)
        if device.account_id is not None:
            raise Refused("Device is already claimed")
        now = self._now()
        self._db.execute(
            "UPDATE devices SET account_id = ?, created = ?, accessed = ? WHERE id = ?", (account_id, now, now, id)
        )

    def release(self, id: str) -> None:
        """Take a device from its account; its certificate goes with the claim."""
        self._db.execute(
            "UPDATE devices SET account_id = NULL, created = NULL, checked = NULL, blocked_until = 0,"
            " certificate = NULL, key = NULL WHERE id = ?",
            (id,),
        )

    def block(self, id: str, until: int) -> None:
        """Refuse to provision a device before *until*, epoch milliseconds.

        Raises:
            Refused: 400 if there is no such device.
        """
        if not self._db.execute("UPDATE devices SET blocked_until = ? WHERE id = ?", (until, id)).rowcount:
            raise Refused(CANNOT_FIND_DEVICE)

    def certify(self, id: str, certificate: str, key: str) -> None:
        """Keep the certificate and the private key of a device, PEM texts, for as long as it is claimed."""
        self._db.execute("UPDATE devices SET certificate = ?, key = ? WHERE id = ?", (certificate, key, id))

    def check(self, id: str, version: str) -> None:
        """Note the version that a device reports when it asks for an update."""
        # What `checked` means is not spelled out; here it is this version, and `version` follows it.
        self._db.execute(
            "UPDATE devices SET version = ?, checked = ?, accessed = ? WHERE id = ?",
            (version, version, self._now(), id),
        )

    def touch(self, id: str) -> None:
        """Note that a device made contact."""
        self._db.execute("UPDATE devices SET accessed = ? WHERE id = ?", (self._now(), id))

    def load(self, id: str) -> Device | None:
        """Return a registered device, claimed or not."""
        row = self._db.execute(_LOAD, (id,)).fetchone()
        return Device(*row) if row else None

    def claimed(self, id: str, account_id: str | None) -> Device:
        """Return a device claimed by *account_id*, by any account for None.

        Raises:
            Refused: 400 if there is none; another account's device looks the same as none.
        """
        device = self.load(id)
        if device is None or device.account_id is None or account_id not in (None, device.account_id):
            raise Refused(CANNOT_FIND_DEVICE)
        return device

    def find(
        self, query: Mapping[str, str], *, id: str | None, account_id: str | None, product_id: str | None
    ) -> dict[str, Any]:
        """Answer one page of claimed devices in the order of their claim IDs; None narrows nothing."""
        position, back = cursor(query, "id")
        start = position[0] if position else ""
        rows = self._db.execute(
            _BACK if back else _FORWARD, {"id": id, "account": account_id, "product": product_id, "position": start}
        )
        return paged((({"id": row[0]}, Device(*row).record()) for row in rows), query)
