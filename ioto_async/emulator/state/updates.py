"""Firmware images and who is offered them (wire examples, 4.6)."""

import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import semver

from ..request import Refused
from ..wire import new_ulid
from .devices import Device
from .policy import parse

__all__ = ["Offer", "Updates"]

_UPDATES: Final = """
CREATE TABLE IF NOT EXISTS updates (
    id TEXT PRIMARY KEY, product_id TEXT NOT NULL, version TEXT NOT NULL, policy TEXT NOT NULL,
    enabled INTEGER NOT NULL, device_limit INTEGER, percentage REAL NOT NULL, rate INTEGER, period REAL NOT NULL,
    image BLOB NOT NULL, checksum TEXT NOT NULL, path TEXT NOT NULL UNIQUE
)
"""
_OFFERS: Final = """
CREATE TABLE IF NOT EXISTS offers (
    update_id TEXT, device_id TEXT, offered INTEGER NOT NULL, success INTEGER, PRIMARY KEY (update_id, device_id)
) WITHOUT ROWID
"""


@attrs.frozen
class Offer:
    """An update for a device; ``path`` is the unguessable last part of the image's URL."""

    update: str
    version: str
    checksum: str
    path: str


class Updates:
    """The tables of updates and of the offers made."""

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int]) -> None:
        self._db = db
        self._now = now
        db.execute(_UPDATES)
        db.execute(_OFFERS)

    def add(
        self,
        version: str,
        image: bytes,
        product_id: str,
        *,
        policy: str,
        limit: int | None,
        percentage: float,
        rate: int | None,
        period: float,
        enabled: bool,
    ) -> str:
        """Publish an image and return the update's key; the parameters are those of ``Cloud.add_update``.

        Raises:
            ValueError: for a version that is not semantic or a bad policy.
        """
        semver.Version.parse(version)
        if policy:
            parse(policy)
        update_id = new_ulid(self._now())
        self._db.execute(
            "INSERT INTO updates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                update_id,
                product_id,
                version,
                policy,
                enabled,
                limit,
                percentage,
                rate,
                period,
                image,
                hashlib.sha256(image).hexdigest(),
                secrets.token_urlsafe(24),
            ),
        )
        return update_id

    def published(self, version: str, image: bytes, product_id: str) -> str | None:
        """Return the key of the update that *image* was published as, None if it was not."""
        row = self._db.execute(
            "SELECT id FROM updates WHERE product_id = ? AND version = ? AND checksum = ?",
            (product_id, version, hashlib.sha256(image).hexdigest()),
        ).fetchone()
        return row[0] if row else None

    def offer(self, device: Device, version: str, properties: Mapping[str, Any]) -> Offer | None:
        """Find the newest update that suits a device which runs *version*, and note the offer.

        The *properties* sent now go before those sent with the registration.

        Raises:
            Refused: 400 if *version* is not a semantic version.
        """
        try:
            running = semver.Version.parse(version)
        except ValueError as error:
            raise Refused("version must be a semantic version") from error
        updates = self._db.execute(
            "SELECT id, version, policy, device_limit, percentage, rate, period, checksum, path FROM updates"
            # Of the same version the one that was published last goes first, as what is sorted stays in order.
            " WHERE product_id = ? AND enabled ORDER BY rowid DESC",
            (device.product_id,),
        ).fetchall()
        for update_id, new, policy, limit, percentage, rate, period, checksum, path in sorted(
            updates, key=lambda row: semver.Version.parse(row[1]), reverse=True
        ):
            # A policy decides alone, so that it may take devices back to an older version; but what already runs
            # is never offered, or the device would install it forever.
            if running.compare(new) == 0:
                continue
            if policy:
                # Whose major, minor and patch these are is not documented: those of the running version here.
                names = {**device.properties, **properties, "version": version, "newVersion": new}
                names |= {"major": running.major, "minor": running.minor, "patch": running.patch}
                suits = parse(policy)(names)
            else:
                suits = running.compare(new) < 0
            if suits and self._admits(update_id, device.id, limit, percentage, rate, period):
                return Offer(update_id, new, checksum, path)
        return None

    def _admits(
        self, update_id: str, device_id: str, limit: int | None, percentage: float, rate: int | None, period: float
    ) -> bool:
        """Apply the limits and note the offer; a device that was offered the update keeps its place."""
        if _share(update_id, device_id) >= percentage:
            return False
        now = self._now()
        known, count, recent = self._db.execute(
            "SELECT coalesce(sum(device_id = ?), 0), count(*), coalesce(sum(offered > ?), 0) FROM offers"
            " WHERE update_id = ?",
            (device_id, now - int(period * 1000), update_id),
        ).fetchone()
        if known:
            return True
        if (limit is not None and count >= limit) or (rate is not None and recent >= rate):
            return False
        self._db.execute("INSERT INTO offers VALUES (?, ?, ?, NULL)", (update_id, device_id, now))
        return True

    def report(self, update_id: str, device_id: str, *, success: bool) -> None:
        """Note how an installation went.

        Raises:
            Refused: 400 if the device was never offered this update.
        """
        if not self._db.execute(
            "UPDATE offers SET success = ? WHERE update_id = ? AND device_id = ?", (success, update_id, device_id)
        ).rowcount:
            raise Refused("Cannot find update")

    def reports(self, update_id: str) -> dict[str, bool | None]:
        """Return the devices that were offered an update: True or False as reported, None so far."""
        rows = self._db.execute("SELECT device_id, success FROM offers WHERE update_id = ?", (update_id,))
        return {device_id: None if success is None else bool(success) for device_id, success in rows}

    def image(self, path: str) -> bytes | None:
        """Return the image at *path*, None if there is none."""
        row = self._db.execute("SELECT image FROM updates WHERE path = ?", (path,)).fetchone()
        return row[0] if row else None


def _share(update_id: str, device_id: str) -> float:
    """Place a device in 0 to 100, at random between updates but always the same for one."""
    digest = hashlib.sha256(f"{update_id} {device_id}".encode()).digest()
    return int.from_bytes(digest[:4]) * 100 / 2**32
