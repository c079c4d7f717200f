"""The devices, from registration to release: the registry of the Builder, and the claimed devices of a cloud."""

import re
import sqlite3
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import attrs
import orjson

from ..request import CANNOT_FIND_DEVICE, Refused
from ..wire import dumps, iso
from .models import cursor, paged

__all__ = ["STATES", "Device", "Devices", "Registry"]

# What fits a thing name of AWS IoT and the common name of a certificate (64 characters).
_CLAIM_ID: Final = re.compile(r"[0-9A-Za-z:_-]{1,64}")

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS devices (
    id TEXT PRIMARY KEY, product_id TEXT NOT NULL, properties BLOB NOT NULL, test INTEGER NOT NULL,
    version TEXT, checked TEXT, accessed INTEGER NOT NULL, blocked_until INTEGER NOT NULL DEFAULT 0,
    cloud_id TEXT, account_id TEXT, created INTEGER, certificate TEXT, key TEXT
) WITHOUT ROWID
"""
_SELECT: Final = (
    "SELECT d.id, d.product_id, p.name, p.account_id, d.properties, d.test, d.version, d.checked, d.accessed,"
    " d.blocked_until, d.cloud_id, d.account_id, d.created, d.certificate, d.key"
    " FROM devices d JOIN products p ON p.id = d.product_id"
)
_COUNT: Final = "SELECT count(*) FROM devices d"
_LOAD: Final = _SELECT + " WHERE d.id = ?"
_FIND: Final = (
    _SELECT + " WHERE (:cloud IS NULL OR d.cloud_id = :cloud) AND (:owner IS NULL OR p.account_id = :owner)"
    " AND (:id IS NULL OR d.id = :id) AND (:account IS NULL OR d.account_id = :account)"
    " AND (:product IS NULL OR d.product_id = :product)"
)
_FORWARD: Final = _FIND + " AND d.id > :position ORDER BY d.id"
_BACK: Final = _FIND + " AND d.id < :position ORDER BY d.id DESC"
_SEEN: Final = " WHERE (d.cloud_id = :cloud OR d.cloud_id IS NULL) AND instr(lower(d.id), lower(:text))"
_IN_STATE: Final[Mapping[str, str]] = {
    "registered": " AND d.cloud_id IS NULL",
    "claimed": " AND d.cloud_id IS NOT NULL AND d.certificate IS NULL",
    "provisioned": " AND d.certificate IS NOT NULL",
    "online": " AND d.cloud_id IS NOT NULL AND d.id IN (SELECT value FROM json_each(:online))",
    "": "",
}
STATES: Final = tuple(_IN_STATE)
"""What devices can be browsed by; the last one, empty, is for all."""


@attrs.frozen
class Device:
    """A registered device; dates are epoch milliseconds.

    ``owner`` is the account of the Builder that has the product. ``cloud_id``, ``account_id`` and ``created`` are None
    until it is claimed, ``certificate`` and ``key`` until it is provisioned.
    """

    id: str
    product_id: str
    product: str
    owner: str
    properties: Mapping[str, Any] = attrs.field(converter=orjson.loads)
    test: bool = attrs.field(converter=bool)
    version: str | None
    checked: str | None
    accessed: int
    blocked_until: int
    cloud_id: str | None
    account_id: str | None
    created: int | None
    certificate: str | None = attrs.field(repr=False)
    key: str | None = attrs.field(repr=False)

    @property
    def state(self) -> str:
        """How far it has come: registered, claimed or provisioned."""
        if self.cloud_id is None:
            return "registered"
        return "claimed" if self.certificate is None else "provisioned"

    def record(self) -> dict[str, Any]:
        """Return what the replies of a cloud show of a claimed device (reference, section 7)."""
        return _without_nulls(
            accessed=iso(self.accessed),
            accountId=self.account_id,
            created=None if self.created is None else iso(self.created),
            id=self.id,
            product=self.product,
            productId=self.product_id,
            test=True if self.test else None,
            version=self.version,
            checked=self.checked,
        )

    def builder_record(self) -> dict[str, Any]:
        """Return what the replies of the Builder show of a device; the manager's account is the app's that claimed."""
        return _without_nulls(
            accountId=self.owner,
            cloudId=self.cloud_id,
            id=self.id,
            managerAccountId=self.account_id,
            productId=self.product_id,
            test=True if self.test else None,
        )


class Registry:
    """All registered devices. A claim ID is unique across all clouds, as device/claim names nothing else."""

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int]) -> None:
        self._db = db
        self._now = now
        db.execute(_TABLE)

    def register(self, id: str, product_id: str, properties: Mapping[str, Any]) -> None:
        """Register a device, or replace its *properties*.

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

    def load(self, id: str) -> Device | None:
        """Return a registered device, claimed or not."""
        row = self._db.execute(_LOAD, (id,)).fetchone()
        return Device(*row) if row else None

    def owned(self, id: str, owner: str | None) -> Device:
        """Return a device of the Builder's account *owner*.

        Raises:
            Refused: 400 if there is none; another account's device is not found either.
        """
        device = self.load(id)
        if device is None or device.owner != owner:
            raise Refused(CANNOT_FIND_DEVICE)
        return device

    def find(
        self,
        query: Mapping[str, str],
        *,
        owner: str | None,
        id: str | None,
        cloud_id: str | None,
        product_id: str | None,
    ) -> dict[str, Any]:
        """Answer one page of *owner*'s devices, claimed or not, by claim ID; None for the others narrows nothing."""
        # Whoever has no account has no devices, and None would mean all of them.
        wanted = {"owner": owner or "", "id": id, "cloud": cloud_id, "product": product_id, "account": None}
        return _page(self._db, query, wanted, Device.builder_record)

    def of_product(self, product_id: str) -> list[Device]:
        """Return all devices of a product."""
        return [Device(*row) for row in self._db.execute(_SELECT + " WHERE d.product_id = ?", (product_id,))]

    def count(self) -> int:
        """Return how many devices there are, claimed or not."""
        (count,) = self._db.execute("SELECT count(*) FROM devices").fetchone()
        return int(count)

    def mark(self, id: str, *, test: bool) -> None:
        """Note whether a device is for tests, and not billed."""
        self._db.execute("UPDATE devices SET test = ? WHERE id = ?", (test, id))

    def release(self, id: str) -> None:
        """Take a device from its cloud and account; its certificate goes with the claim."""
        self._db.execute(
            "UPDATE devices SET cloud_id = NULL, account_id = NULL, created = NULL, checked = NULL, blocked_until = 0,"
            " certificate = NULL, key = NULL WHERE id = ?",
            (id,),
        )

    def remove(self, id: str) -> None:
        """Forget a device."""
        self._db.execute("DELETE FROM devices WHERE id = ?", (id,))


class Devices:
    """The devices that are claimed in one cloud; those of other clouds are not found."""

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int], cloud_id: str) -> None:
        self._db = db
        self._now = now
        self._cloud_id = cloud_id
        self._registry = Registry(db, now)

    def claim(self, id: str, account_id: str) -> Device:
        """Give a registered device to an account of this cloud, and return it.

        Raises:
            Refused: 400 if it is not registered, or claimed already, by whomever.
        """
        now = self._now()
        if not self._db.execute(
            "UPDATE devices SET cloud_id = ?, account_id = ?, created = ?, accessed = ?"
            " WHERE id = ? AND cloud_id IS NULL",
            (self._cloud_id, account_id, now, now, id),
        ).rowcount:
            raise Refused("Device is already claimed" if self._registry.load(id) else CANNOT_FIND_DEVICE)
        return self.claimed(id, account_id)

    def release(self, id: str) -> None:
        """Hand a claimed device back to the Builder; its certificate goes with the claim."""
        self._registry.release(self.claimed(id, None).id)

    def block(self, id: str, until: int) -> None:
        """Refuse to provision a device, of this cloud or of none yet, before *until*, epoch milliseconds.

        Raises:
            Refused: 400 if there is no such device.
        """
        if not self._db.execute(
            "UPDATE devices SET blocked_until = ? WHERE id = ? AND (cloud_id IS NULL OR cloud_id = ?)",
            (until, id, self._cloud_id),
        ).rowcount:
            raise Refused(CANNOT_FIND_DEVICE)

    def certify(self, id: str, certificate: str, key: str) -> None:
        """Keep the certificate and the private key of a device, PEM texts, for as long as it is claimed."""
        self._update(id, "certificate = ?, key = ?", certificate, key)

    def check(self, id: str, version: str) -> None:
        """Note the version that a device reports when it asks for an update."""
        # What `checked` means is not spelled out; here it is this version, and `version` follows it.
        self._update(id, "version = ?, checked = ?, accessed = ?", version, version, self._now())

    def touch(self, id: str) -> bool:
        """Note that a device made contact, and return whether it is claimed in this cloud."""
        return self._update(id, "accessed = ?", self._now())

    def _update(self, id: str, assignments: str, *values: object) -> bool:
        statement = f"UPDATE devices SET {assignments} WHERE id = ? AND cloud_id = ?"  # noqa: S608 - from this class
        return self._db.execute(statement, (*values, id, self._cloud_id)).rowcount > 0

    def load(self, id: str) -> Device | None:
        """Return a device that is claimed in this cloud, None if it is not."""
        device = self._registry.load(id)
        return device if device and device.cloud_id == self._cloud_id else None

    def claimed(self, id: str, account_id: str | None) -> Device:
        """Return a device claimed by *account_id*, by any account for None.

        Raises:
            Refused: 400 if there is none; another account's device is not found either.
        """
        device = self.load(id)
        if device is None or account_id not in (None, device.account_id):
            raise Refused(CANNOT_FIND_DEVICE)
        return device

    def find(
        self, query: Mapping[str, str], *, id: str | None, account_id: str | None, product_id: str | None
    ) -> dict[str, Any]:
        """Answer one page of claimed devices in the order of their claim IDs; None narrows nothing."""
        wanted = {"cloud": self._cloud_id, "id": id, "account": account_id, "product": product_id, "owner": None}
        return _page(self._db, query, wanted, Device.record)

    def browse(
        self, *, text: str, state: str, online: Collection[str], after: str, limit: int
    ) -> tuple[list[Device], int]:
        """Return *limit* devices of this cloud or of none yet, and how many there are on all pages.

        Args:
            text: what is in their claim IDs, in whatever case.
            state: registered, claimed, provisioned, online, or empty for all.
            online: the claim IDs of those that are connected.
            after: the claim ID that they come after.
            limit: how many.
        """
        wanted = {"cloud": self._cloud_id, "text": text, "online": dumps(list(online)).decode()}
        where = _SEEN + _IN_STATE[state]
        rows = self._db.execute(
            _SELECT + where + " AND d.id > :after ORDER BY d.id LIMIT :limit",
            {**wanted, "after": after, "limit": limit},
        )
        (count,) = self._db.execute(_COUNT + where, wanted).fetchone()
        return [Device(*row) for row in rows], int(count)

    def count_states(self) -> dict[str, int]:
        """Return how many devices of this cloud, or of none yet, are in each state."""
        everywhere, claimed, provisioned = self._db.execute(
            "SELECT count(*), count(cloud_id), count(certificate) FROM devices WHERE cloud_id = ? OR cloud_id IS NULL",
            (self._cloud_id,),
        ).fetchone()
        return {
            "registered": everywhere - claimed,
            "claimed": claimed - provisioned,
            "provisioned": provisioned,
        }

    def count(self) -> int:
        """Return how many devices there are."""
        (count,) = self._db.execute("SELECT count(*) FROM devices WHERE cloud_id = ?", (self._cloud_id,)).fetchone()
        return int(count)

    def of_account(self, account_id: str) -> list[str]:
        """Return the claim IDs of an account's devices."""
        rows = self._db.execute(
            "SELECT id FROM devices WHERE cloud_id = ? AND account_id = ?", (self._cloud_id, account_id)
        )
        return [id_ for (id_,) in rows]


def _page(
    db: sqlite3.Connection,
    query: Mapping[str, str],
    wanted: Mapping[str, str | None],
    record: Callable[[Device], dict[str, Any]],
) -> dict[str, Any]:
    position, back = cursor(query, "id")
    rows = db.execute(_BACK if back else _FORWARD, {**wanted, "position": position[0] if position else ""})
    return paged((({"id": row[0]}, record(Device(*row))) for row in rows), query)


def _without_nulls(**members: Any) -> dict[str, Any]:
    # The cloud stores no nulls (reference, section 6).
    return {name: value for name, value in members.items() if value is not None}
