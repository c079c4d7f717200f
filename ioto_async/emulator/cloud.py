"""The state of the embedded cloud and its rules. Imports the emulator's parts, but neither handlers nor server.

Each part keeps its own tables in the one database. Handlers work on the parts under the cloud's lock, which the
server holds for the length of a call; the methods here take it themselves and may be called from any thread.
"""

import sqlite3
import threading
import time
from typing import Any, Final, Literal

from .actions import Actions
from .devices import Devices
from .models import Models
from .pki import Authority
from .request import Caller, Refused
from .samples import Samples
from .tokens import Role, TokenKind, Tokens
from .updates import Updates
from .wire import new_claim_id, new_ulid

__all__ = ["Cloud"]

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS products (id TEXT PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS accounts (id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL)",
)


class Cloud:
    """One device cloud and the part of the Builder that its devices need.

    A new database gets a cloud, an account, a product and a token of each kind; one that has them keeps them.
    A user is known by the login token alone: it carries the role and the account of the user's record.

    Attributes:
        id: the key of the cloud.
        account_id: the account that claims go to unless another is named.
        token: the CloudAPI token.
        login_token: an owner's login token for ``account_id``.
        product_token: the product token, which is the key of the product too.
        origin: the host of the device app, which login tokens must name in ``Origin``.
        name, region, endpoint: the cloud's name, its AWS region and its MQTT host.
        type: eval, hosted or dedicated; may be set.
        api: base URL; set by the server.
        clock: gives the time in epoch seconds; may be set, to let time pass in a test.
        lock: held by whoever reads or changes the state.
        tokens, devices, updates, models, actions, metrics, authority: the parts; to be used under the lock.
    """

    name: Final = "Embedded"
    region: Final = "us-east-1"
    origin: Final = "app.ioto.test"
    endpoint: Final = "mqtt.ioto.test"

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.lock = threading.RLock()
        self.api = ""
        self.clock = time.time
        for table in _TABLES:
            db.execute(table)
        settings: dict[str, str] = dict(db.execute("SELECT name, value FROM settings").fetchall())
        new = not settings
        if new:
            settings = self._settings()
        self.id = settings["id"]
        self.account_id = settings["account_id"]
        self.token = settings["token"]
        self.login_token = settings["login_token"]
        self.product_token = settings["product_token"]
        self.authority = Authority(settings["ca_certificate"], settings["ca_key"])
        self._assemble()
        if new:
            db.execute("BEGIN")
            with db:
                db.executemany("INSERT INTO settings VALUES (?, ?)", settings.items())
                self._seed()

    def _settings(self) -> dict[str, str]:
        authority = Authority.create()
        keys = ("id", "account_id", "token", "login_token", "product_token")
        return {key: new_ulid(self.now()) for key in keys} | {
            "ca_certificate": authority.certificate,
            "ca_key": authority.key,
        }

    def _assemble(self) -> None:
        self.type: Literal["eval", "hosted", "dedicated"] = "dedicated"
        self.tokens = Tokens(self._db, self.now)
        self.devices = Devices(self._db, self.now)
        self.updates = Updates(self._db, self.now)
        self.models = Models(self._db, self.now)
        self.actions = Actions(self._db, self.now)
        self.metrics = Samples(self._db)

    def _seed(self) -> None:
        self._db.execute("INSERT INTO accounts VALUES (?, ?, ?)", (self.account_id, "Demo", "demo@ioto.test"))
        self._db.execute("INSERT INTO products VALUES (?, ?)", (self.product_token, "Demo"))
        self.tokens.create("cloud", self.id, token=self.token)
        # Real login tokens end after an hour; these stay, as nobody signs in here to get another.
        self.tokens.create("login", self.id, token=self.login_token, account_id=self.account_id, role="owner")
        self.tokens.create("product", self.id, token=self.product_token)

    def reset(self) -> None:
        """Return to the state after seeding: the same keys and tokens, nothing else, the real clock."""
        with self.lock:
            tables = self._db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name != 'settings'"
            ).fetchall()
            self._db.execute("BEGIN")
            with self._db:
                for (table,) in tables:
                    self._db.execute(f'DELETE FROM "{table}"')  # noqa: S608 - a name from the catalogue
                self._seed()
            self.clock = time.time
            # New parts, for what they hold outside their tables.
            self._assemble()

    def close(self) -> None:
        """Store what is held back in buffers; the database may be closed then."""
        with self.lock:
            self.metrics.flush(timestamp=self.now())

    def now(self) -> int:
        """Return the time in epoch milliseconds."""
        return int(self.clock() * 1000)

    def caller(self, token: str) -> Caller | None:
        """Return the holder of *token*; a device's call counts as a contact of the device."""
        with self.lock:
            caller = self.tokens.caller(token)
            if caller and caller.device_id is not None:
                self.devices.touch(caller.device_id)
            return caller

    def device(self, id: str, account_id: str | None = None) -> dict[str, Any] | None:
        """Return the record of a claimed device, None if there is none in *account_id* (None: in any account)."""
        with self.lock:
            device = self.devices.load(id)
            if device is None or device.account_id is None or account_id not in (None, device.account_id):
                return None
            return device.record()

    def has_account(self, id: object) -> bool:
        """Say whether there is an account *id*."""
        with self.lock:
            return self._db.execute("SELECT 1 FROM accounts WHERE id = ?", (str(id),)).fetchone() is not None

    def register_device(self, id: str | None = None, *, product: str | None = None, **properties: Any) -> str:
        """Register a device as its agent would, and return its claim ID.

        Args:
            id: the claim ID; a random one if None.
            product: the product token; the cloud's own if None.
            **properties: what ``device.json5`` would hold, JSON values; ``test`` and ``version`` have a meaning.

        Raises:
            Refused: there is no such product, or the claim ID is malformed or another product's.
        """
        claim_id = new_claim_id() if id is None else id
        product = product or self.product_token
        with self.lock:
            if not self._db.execute("SELECT 1 FROM products WHERE id = ?", (product,)).fetchone():
                raise Refused("Cannot find product")
            self.devices.register(claim_id, product, properties)
            return claim_id

    def claim_device(self, id: str, account_id: str | None = None) -> dict[str, Any]:
        """Give a registered device to an account, the cloud's own if None, and return its record.

        Raises:
            Refused: there is no such device or account, or the device is claimed already, by whomever.
        """
        account_id = self.account_id if account_id is None else account_id
        with self.lock:
            if not self.has_account(account_id):
                raise Refused("Cannot find account")
            self.devices.claim(id, account_id)
            return self.devices.claimed(id, account_id).record()

    def release_device(self, id: str, account_id: str | None = None) -> dict[str, Any]:
        """Hand a device of *account_id* (None: of any) back to the Builder and return its last record.

        Its token and its certificate end with the claim.

        Raises:
            Refused: there is no such claimed device.
        """
        with self.lock:
            device = self.devices.claimed(id, account_id)
            self._db.execute("BEGIN")
            with self._db:
                self.devices.release(id)
                self.tokens.revoke_device(id)
            return device.record()

    def block_device(self, id: str, seconds: float) -> None:
        """Let device/provision answer with ``error`` and ``delay`` for *seconds*, as for excess traffic.

        Raises:
            Refused: there is no such device.
        """
        with self.lock:
            self.devices.block(id, self.now() + int(seconds * 1000))

    def add_account(self, name: str, email: str) -> str:
        """Add an account and return its key."""
        with self.lock:
            account_id = new_ulid(self.now())
            self._db.execute("INSERT INTO accounts VALUES (?, ?, ?)", (account_id, name, email))
            return account_id

    def create_token(
        self,
        kind: TokenKind,
        *,
        account_id: str | None = None,
        device_id: str | None = None,
        role: Role = "owner",
        name: str = "Demo",
        lifetime: float | None = None,
    ) -> str:
        """Make a token and return it.

        Args:
            kind: ``cloud`` (CloudAPI), ``device``, ``login``, or ``product``, which makes the product as well.
            account_id: the account of a login token; the cloud's own if None.
            device_id: the claimed device of a device token.
            role: the role of a login token's user.
            name: the name of the product.
            lifetime: seconds until it expires; None for never.

        Raises:
            Refused: there is no such claimed device.
        """
        with self.lock:
            expires = None if lifetime is None else self.now() + int(lifetime * 1000)
            if kind == "device":
                account_id = self.devices.claimed(device_id or "", account_id).account_id
                return self.tokens.create(kind, self.id, account_id=account_id, device_id=device_id, expires=expires)
            if kind == "login":
                account_id = self.account_id if account_id is None else account_id
                return self.tokens.create(kind, self.id, account_id=account_id, role=role, expires=expires)
            token = self.tokens.create(kind, self.id, expires=expires)
            if kind == "product":
                self._db.execute("INSERT INTO products VALUES (?, ?)", (token, name))
            return token

    def revoke_token(self, token: str) -> None:
        """End a token at once; from then on it is answered with ``Authentication failed``.

        Raises:
            KeyError: there is no such token.
        """
        with self.lock:
            self.tokens.revoke(token)

    def add_update(
        self,
        version: str,
        image: bytes,
        *,
        product: str | None = None,
        policy: str = "",
        limit: int | None = None,
        percentage: float = 100,
        rate: int | None = None,
        period: float = 86400,
        enabled: bool = True,
    ) -> str:
        """Publish a firmware image and return the update's key (wire examples, 4.6).

        Args:
            version: a semantic version.
            image: the bytes to download.
            product: the product token; the cloud's own if None.
            policy: a JavaScript condition on the device's properties, ``version``, ``newVersion``, ``major``,
                ``minor`` and ``patch``, for instance ``model == 'Demo-01' && major >= 2``; empty for any device
                with a lower version.
            limit: how many devices may be offered it; None for all.
            percentage: the share of devices, 0 to 100, that may be offered it.
            rate: how many more devices may be offered it in *period* seconds; None for all.
            period: see *rate*.
            enabled: whether it is offered at all.

        Raises:
            ValueError: *version* is not a semantic version, or *policy* not such a condition.
        """
        with self.lock:
            return self.updates.add(
                version,
                image,
                product or self.product_token,
                policy=policy,
                limit=limit,
                percentage=percentage,
                rate=rate,
                period=period,
                enabled=enabled,
            )

    def update_reports(self, update_id: str) -> dict[str, bool | None]:
        """Return, by device, how an update went: True or False as reported, None while only offered."""
        with self.lock:
            return self.updates.reports(update_id)
