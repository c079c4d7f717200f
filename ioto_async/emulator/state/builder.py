"""The Builder: what all clouds of one emulator share."""

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Protocol

import attrs

from ..request import CANNOT_FIND_DEVICE, Caller, Refused
from ..wire import new_claim_id, new_ulid
from .clock import Clock, in_seconds
from .devices import Device, Registry
from .samples import Samples
from .storage import emptied, load_settings, save_settings
from .tokens import RANKS, Role, Tokens
from .updates import Updates

__all__ = ["Builder", "DeviceCloud", "Product"]

_PART: Final = "builder"
_CLOCK: Final = "clock"
_AHEAD: Final = "ahead"
_CONTROL: Final = "control"
_KEYS: Final = ("id", "account_id", "token", "product_token", "plan_id")
_NAMESPACE: Final = "Embedthis/Cloud"

_PRODUCTS: Final = """
CREATE TABLE IF NOT EXISTS products (
    id TEXT PRIMARY KEY, account_id TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL,
    plan_id TEXT NOT NULL, url TEXT NOT NULL
) WITHOUT ROWID
"""
_PRODUCT: Final = "SELECT id, account_id, name, description, plan_id, url FROM products WHERE id = ?"

_CAPABILITIES: Final[Mapping[Role | None, frozenset[str]]] = MappingProxyType(
    {role: frozenset({"public", *RANKS[: rank + 1]}) for rank, role in enumerate(RANKS)}
)


class DeviceCloud(Protocol):
    """What the Builder needs of a cloud."""

    id: str

    def seed(self) -> None:
        """Return the tables to the state after the first start."""

    def assemble(self) -> None:
        """Make the parts anew, to drop what they hold outside their tables."""

    def caller(self, token: str) -> Caller | None:
        """Return the holder of *token*, None if it is not valid here."""

    def claim_device(self, id: str, account_id: str | None = None) -> dict[str, Any]:
        """Give a registered device to an account and return its record."""

    def release_device(self, id: str, account_id: str | None = None) -> dict[str, Any]:
        """Take a device from its account and return its last record."""

    def registration(self, device: Device) -> dict[str, Any]:
        """Return what a claimed device is told when it registers."""


@attrs.frozen
class Product:
    """A product; its key is its product token, and ``account_id`` the account of the Builder that has it."""

    id: str
    account_id: str
    name: str
    description: str
    plan_id: str
    url: str


class Builder:
    """Products, the registry of devices, updates, and the clouds that devices are claimed into.

    A new database gets an account, a product and a token; one that has them keeps them. Accounts of the Builder are
    keys and nothing more, as no operation here shows one.

    Attributes:
        account_id: its own account, which has the product.
        token: a BuilderAPI token of the role admin for ``account_id``.
        product_token: the product token, which is the key of the product too.
        control_token: the token of the control API.
        clouds: the clouds by their keys, in the order in which they were made.
        clock: gives the time to all clouds.
        lock: for reading and changing any state, of the Builder or of a cloud.
        tokens, registry, updates, metrics: the parts; to be used under the lock.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db: Final = db
        self.lock = threading.RLock()
        self.clock: Final = Clock()
        self.clouds: dict[str, DeviceCloud] = {}
        db.execute(_PRODUCTS)
        settings = load_settings(db, _PART)
        new = not settings
        if new:
            settings = {key: new_ulid(self.now()) for key in _KEYS}
        self.id: Final = settings["id"]
        self.account_id = settings["account_id"]
        self.token = settings["token"]
        self.product_token = settings["product_token"]
        self._plan_id: Final = settings["plan_id"]
        control = load_settings(db, _CONTROL)
        self.control_token: Final = control.get("token") or secrets.token_urlsafe(16)
        if not control:
            save_settings(db, _CONTROL, {"token": self.control_token})
        self._assemble()
        if new:
            db.execute("BEGIN")
            with db:
                save_settings(db, _PART, settings)
                self._seed()

    def _assemble(self) -> None:
        self.clock.ahead = float(load_settings(self.db, _CLOCK).get(_AHEAD, 0))
        self.tokens = Tokens(self.db, self.now, self.id)
        self.registry = Registry(self.db, self.now)
        self.updates = Updates(self.db, self.now)
        self.metrics = Samples(self.db)

    def _seed(self) -> None:
        self.tokens.create("builder", token=self.token, account_id=self.account_id, role="admin")
        self._add_product(
            self.product_token, self.account_id, "Demo", "A product to try things with", "https://ioto.test/demo"
        )

    def reset(self) -> None:
        """Return this and all clouds to the state after seeding: the same keys and tokens, the real clock."""
        with self.lock:
            self.clock.replace(time.time)
            with emptied(self.db):
                self._save_clock()
                self._seed()
                for cloud in self.clouds.values():
                    cloud.seed()
            self.renew()

    def renew(self) -> None:
        """Begin again with what is in the tables, whatever the parts have held of it; connections are ended."""
        with self.lock:
            self._assemble()
            for cloud in self.clouds.values():
                cloud.assemble()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Store all that the block does to the registry or, if it raises, nothing of it; to be used under the lock."""
        self.db.execute("BEGIN")
        with self.db:
            yield

    def close(self) -> None:
        """Store what is held back in buffers; the database may be closed then."""
        with self.lock:
            self.metrics.flush(timestamp=self.now())

    def now(self) -> int:
        """Return the time in epoch milliseconds."""
        clock = self.clock
        return int((clock.source() + clock.ahead) * 1000)

    def advance(self, span: float | timedelta) -> None:
        """Let time pass for all clouds; see ``Cloud.advance``."""
        with self.lock:
            self.clock.move(in_seconds(span))
            self._save_clock()

    def _save_clock(self) -> None:
        save_settings(self.db, _CLOCK, {_AHEAD: repr(self.clock.ahead)})

    def caller(self, token: str) -> Caller | None:
        """Return the holder of a product or BuilderAPI token; None for any other."""
        with self.lock:
            held = self.tokens.load(token)
            if held is None:
                return None
            if held.kind == "product":
                return Caller("product", frozenset({"public"}))
            return Caller("builder", _CAPABILITIES[held.role], account_id=held.account_id)

    def create_token(
        self, role: Role = "admin", account_id: str | None = None, *, lifetime: float | None = None
    ) -> str:
        """Make a BuilderAPI token and return it.

        Args:
            role: what it is good for: user, admin or owner.
            account_id: the account of the Builder whose products and devices it sees; the Builder's own if None.
            lifetime: seconds until it expires; None for never.
        """
        with self.lock:
            expires = None if lifetime is None else self.now() + int(lifetime * 1000)
            account_id = self.account_id if account_id is None else account_id
            return self.tokens.create("builder", account_id=account_id, role=role, expires=expires)

    def add_product(
        self,
        name: str,
        *,
        account_id: str | None = None,
        description: str = "",
        url: str = "",
        lifetime: float | None = None,
    ) -> str:
        """Add a product and return its product token, which is its key too.

        Args:
            name: what records of its devices call it.
            account_id: the account of the Builder that has it; the Builder's own if None.
            description: a text.
            url: where to read about it.
            lifetime: seconds until the token expires; None for never.
        """
        with self.lock:
            token = new_ulid(self.now())
            expires = None if lifetime is None else self.now() + int(lifetime * 1000)
            account_id = self.account_id if account_id is None else account_id
            self.db.execute("BEGIN")
            with self.db:
                self._add_product(token, account_id, name, description, url, expires)
            return token

    def _add_product(
        self, token: str, account_id: str, name: str, description: str, url: str, expires: int | None = None
    ) -> None:
        row = (token, account_id, name, description, self._plan_id, url)
        self.db.execute("INSERT INTO products VALUES (?, ?, ?, ?, ?, ?)", row)
        self.tokens.create("product", token=token, account_id=account_id, expires=expires)

    def product(self, id: str, account_id: str | None = None) -> Product:
        """Return a product of *account_id*, of any account for None.

        Raises:
            Refused: there is none; another account's product is not found either.
        """
        with self.lock:
            row = self.db.execute(_PRODUCT, (id,)).fetchone()
            if row is None or account_id not in (None, row[1]):
                raise Refused("Cannot find product")
            return Product(*row)

    def register_device(self, id: str | None = None, *, product: str | None = None, **properties: Any) -> str:
        """Register a device as its agent would, and return its claim ID; see ``Cloud.register_device``."""
        claim_id = new_claim_id() if id is None else id
        with self.lock:
            known = self.product(product or self.product_token)
            self.registry.register(claim_id, known.id, properties)
            return claim_id

    def release_device(self, id: str) -> None:
        """Take a device back from whatever cloud it is claimed in, if any.

        Raises:
            Refused: there is no such device, or its cloud is not running now.
        """
        with self.lock:
            device = self.registry.load(id)
            if device is None:
                raise Refused(CANNOT_FIND_DEVICE)
            if device.cloud_id is not None:
                self.cloud(device.cloud_id).release_device(id)

    def cloud(self, id: str) -> DeviceCloud:
        """Return the cloud *id*.

        Raises:
            Refused: there is none, or it is not running now.
        """
        cloud = self.clouds.get(id)
        if cloud is None:
            raise Refused("Cannot find cloud")
        return cloud

    def add_sample(
        self,
        metric: str,
        value: float,
        dimensions: Sequence[Mapping[str, Any]] = ({},),
        *,
        namespace: str = _NAMESPACE,
        account_id: str | None = None,
    ) -> None:
        """Add a sample to the metrics of an account of the Builder, its own if None, dated now.

        Raises:
            ValueError: *value* is no finite number, or a name or a map of dimensions is unusable.
        """
        with self.lock:
            engine = self.metrics.engine(self.account_id if account_id is None else account_id)
            engine.emit(namespace, metric, value, dimensions, timestamp=self.now())
