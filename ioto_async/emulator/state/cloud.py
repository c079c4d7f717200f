"""The state of one embedded cloud and its rules.

Each part keeps its own tables in the cloud's database. Handlers work on the parts under the lock that all clouds share,
which the server holds for the length of a call; the methods here take it themselves and may be called from any thread.
"""

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any, Final, Literal

from ..request import CANNOT_FIND_ACCOUNT, NO_ACCOUNT, Caller, Refused
from ..wire import dumps, new_ulid
from .accounts import Accounts
from .actions import Actions
from .alerts import Alerts
from .builder import Builder
from .clock import Clock
from .cognito import Cognito
from .dashboards import Dashboards
from .devices import Device, Devices
from .files import Files
from .jwts import JwtSigner
from .managers import Managers
from .models import Models
from .mqtt_sessions import MqttSessions, RetainedMessages
from .pki import Authority
from .publisher import NullPublisher, Publisher, throttle
from .samples import Samples
from .storage import emptied, load_settings, save_settings
from .tokens import ROLES, Role, TokenKind, Tokens
from .users import User, Users

__all__ = ["Cloud"]

_PART: Final = "cloud"
_KEYS: Final = ("id", "account_id", "token", "login_token", "client_id")
_USERNAME: Final = "demo@ioto.test"
_MQTT_PORT: Final = 443


class Cloud:
    """One device cloud: its accounts, users and tokens, and what its claimed devices do.

    A new database gets a cloud, an account with an owner who can sign in, and a token of each kind; one that has them
    keeps them. The keys and tokens of one cloud are unknown in another; what the clouds share is in ``builder``.

    Attributes:
        builder: what all clouds share.
        id: the key of the cloud.
        account_id: the account that claims go to unless another is named.
        token: the CloudAPI token.
        login_token: a login token of the owner of ``account_id``; it never expires.
        username, password: what that owner signs in with.
        client_id, user_pool: the keys of Cognito for this cloud.
        origin: the host of the device app, which login tokens must name in ``Origin``.
        name, region: the cloud's name and its AWS region.
        endpoint, mqtt_port: where MQTT is served; set by the server, else a host that does not exist.
        publisher: publishes to connected devices; set by the server.
        type: eval, hosted or dedicated; may be set.
        roles: the capabilities of the roles of users, of ``device`` and ``cloud`` (CloudAPI tokens); may be changed.
        differences: the numbers of the assumptions that it does not keep to; set by the server.
        api: base URL; set by the server.
        tokens, devices, updates, models, actions, metrics, accounts, users, identities, authority, dashboards, alerts,
            managers, files, mqtt_sessions, retained: the parts; to be used under the lock.
    """

    region: Final = "us-east-1"

    def __init__(self, db: sqlite3.Connection, builder: Builder) -> None:
        number = len(builder.clouds) + 1
        suffix = "" if number == 1 else str(number)
        self.builder: Final = builder
        self.name: Final = f"Embedded {suffix}".strip()
        self.origin: Final = f"app{suffix}.ioto.test"
        self.endpoint = f"mqtt{suffix}.ioto.test"
        self.mqtt_port = _MQTT_PORT
        self.publisher: Publisher = NullPublisher()
        self.api = ""
        self.differences: frozenset[str] = frozenset()
        self._db = db
        self.files: Final = Files(db, self.now)
        self.mqtt_sessions: Final = MqttSessions(db, self.lock)
        self.retained: Final = RetainedMessages(db)
        self._signer = JwtSigner(db, number)
        settings = load_settings(db, _PART)
        new = not settings
        if new:
            settings = self._settings()
        self.id = settings["id"]
        self.account_id = settings["account_id"]
        self.token = settings["token"]
        self.login_token = settings["login_token"]
        self.username = settings["username"]
        self.password = settings["password"]
        self.client_id = settings["client_id"]
        self.user_pool = settings["user_pool"]
        self.authority = Authority(settings["ca_certificate"], settings["ca_key"], builder.clock)
        self.assemble()
        if new:
            db.execute("BEGIN")
            with db:
                save_settings(db, _PART, settings)
                self._seed()
        builder.clouds[self.id] = self

    def _settings(self) -> dict[str, str]:
        authority = Authority.create()
        return {key: new_ulid(self.now()) for key in _KEYS} | {
            "username": _USERNAME,
            "password": secrets.token_urlsafe(12),
            "user_pool": f"{self.region}_{secrets.token_hex(5)}",
            "ca_certificate": authority.certificate,
            "ca_key": authority.key,
        }

    def assemble(self) -> None:
        """Make the parts anew, to drop what they hold outside their tables."""
        self.type: Literal["eval", "hosted", "dedicated"] = "dedicated"
        self.roles = {name: list(capabilities) for name, capabilities in ROLES.items()}
        self.tokens = Tokens(self._db, self.now, self.id)
        self.accounts = Accounts(self._db, self.now, self.id)
        pool = self.user_pool, self.client_id, lambda: self.cognito
        self.identities = Cognito(self._db, self.now, self.tokens, self._signer, *pool)
        self.users = Users(self._db, self.now, self.id, self.accounts, self.identities)
        self.devices = Devices(self.builder.db, self.now, self.id)
        self.updates = self.builder.updates
        self.models = Models(self._db, self.now)
        self.models.changed = self._sync_down
        self.actions = Actions(self._db, self.now)
        self.metrics = Samples(self._db)
        self.dashboards = Dashboards(self._db, self.now)
        self.alerts = Alerts(self._db, self.now)
        self.managers = Managers(
            self._db,
            self.now,
            cloud_id=self.id,
            account_id=self.account_id,
            domain=self.origin,
            region=self.region,
        )
        # Not made anew: the server has set its URL.
        self.files.renew()
        self.publisher.drop()

    def seed(self) -> None:
        """Return the tables to the state after the first start; the Builder has emptied the database it shares."""
        with nullcontext() if self._db is self.builder.db else emptied(self._db):
            self._seed()

    def _seed(self) -> None:
        self.accounts.add("Demo", _USERNAME, id=self.account_id)
        owner = self.users.add(self.username, self.account_id, "owner", password=self.password)
        self.tokens.create("cloud", token=self.token)
        # The token that a sign-in gives ends after an hour; this one stays.
        self.tokens.create("login", token=self.login_token, identity_id=owner.identity_id)

    def reset(self) -> None:
        """Return all clouds and the Builder to the state after seeding: the same keys and tokens, the real clock."""
        self.builder.reset()

    def close(self) -> None:
        """Store what is held back in buffers; the database may be closed then."""
        with self.lock:
            self.metrics.flush(timestamp=self.now())

    @property
    def clock(self) -> Clock:
        """Gives the time to all clouds; a function that returns epoch seconds may be set in its place."""
        return self.builder.clock

    @clock.setter
    def clock(self, source: Callable[[], float]) -> None:
        self.builder.clock.replace(source)

    def advance(self, span: float | timedelta) -> None:
        """Let time pass for all clouds: tokens, sign-ins, signed URLs, certificates, throttles and sessions end by it.

        The connections of devices stay. A database keeps how far the clock is ahead. A number for *span* is seconds.

        Raises:
            ValueError: *span* is negative or not finite, or the time would be beyond the year 9999.
        """
        self.builder.advance(span)

    @property
    def lock(self) -> threading.RLock:
        """The lock for reading and changing the state; one for all clouds."""
        return self.builder.lock

    @property
    def product_token(self) -> str:
        """The token of the Builder's product, which is the key of the product too."""
        return self.builder.product_token

    @property
    def cognito(self) -> str:
        """The URL for sign-ins."""
        return f"{self.api}/cognito"

    @property
    def login_lifetime(self) -> float:
        """How many seconds an access token of a sign-in is good for, 3600; may be set."""
        return self.identities.lifetime

    @login_lifetime.setter
    def login_lifetime(self, seconds: float) -> None:
        self.identities.lifetime = seconds

    def now(self) -> int:
        """Return the time in epoch milliseconds."""
        return self.builder.now()

    def otherwise(self, number: str) -> bool:
        """Say whether the cloud is to do otherwise than the assumption *number* says."""
        return number in self.differences

    def caller(self, token: str) -> Caller | None:
        """Return the holder of *token* and note the contact or activity; None if the token is not valid here."""
        with self.lock:
            held = self.tokens.load(token)
            if held is None:
                return None
            if held.identity_id is not None:
                return self._login(held.identity_id)
            if held.device_id is not None and not self.devices.touch(held.device_id):
                return None
            kind: Literal["device", "cloud"] = "cloud" if held.device_id is None else "device"
            return Caller(kind, frozenset(self.roles[kind]), self.id, held.account_id, held.device_id)

    def _login(self, identity_id: str) -> Caller:
        user = self.users.of_identity(identity_id)
        if user is None:
            # Not account None, which would be all accounts.
            return Caller("login", frozenset({"public"}), self.id, NO_ACCOUNT, identity_id=identity_id)
        self.users.touch(user.id)
        self.accounts.touch(user.account_id)
        roles = frozenset(self.roles[user.role])
        return Caller("login", roles, self.id, user.account_id, user_id=user.id, identity_id=identity_id)

    def device(self, id: str, account_id: str | None = None) -> dict[str, Any] | None:
        """Return the record of a claimed device, None if there is none in *account_id* (None: in any account)."""
        with self.lock:
            device = self.devices.load(id)
            if device is None or account_id not in (None, device.account_id):
                return None
            return device.record()

    def has_account(self, id: object) -> bool:
        """Say whether there is an account *id* that is not closed."""
        with self.lock:
            return self.accounts.has(str(id))

    def has_files(self, owner: str) -> bool:
        """Say whether *owner* is an account that is not closed, or a device app."""
        with self.lock:
            return self.accounts.has(owner) or self.managers.get(owner) is not None

    def _open_account(self, id: str | None) -> str:
        """Return *id*, for None the cloud's own, if it is an account that is not closed."""
        account_id = self.account_id if id is None else id
        if not self.accounts.has(account_id):
            raise Refused(CANNOT_FIND_ACCOUNT)
        return account_id

    def register_device(self, id: str | None = None, *, product: str | None = None, **properties: Any) -> str:
        """Register a device as its agent would, and return its claim ID.

        Args:
            id: the claim ID; a random one if None.
            product: the product token; the Builder's own if None.
            **properties: what ``device.json5`` would hold, JSON values; ``test`` and ``version`` have a meaning.

        Raises:
            Refused: there is no such product, or the claim ID is malformed or another product's.
        """
        return self.builder.register_device(id, product=product, **properties)

    def claim_device(self, id: str, account_id: str | None = None) -> dict[str, Any]:
        """Give a registered device to an account, the cloud's own if None, and return its record.

        Raises:
            Refused: there is no such device or account, or the device is claimed already, by whomever.
        """
        with self.lock:
            account_id = self._open_account(account_id)
            return self.devices.claim(id, account_id).record()

    def release_device(self, id: str, account_id: str | None = None) -> dict[str, Any]:
        """Hand a device of *account_id* (None: of any) back to the Builder and return its last record.

        Its token and its certificate end with the claim.

        Raises:
            Refused: there is no such claimed device.
        """
        with self.lock:
            device = self.devices.claimed(id, account_id)
            self.tokens.revoke_device(id)
            self.devices.release(id)
            # The device compares this with its own clock, so it is the real time, whatever `clock` returns.
            self.publisher.send(f"ioto/device/{id}/provision/release", str(int(time.time() * 1000)).encode(), id)
            self.publisher.drop(id)
            return device.record()

    def registration(self, device: Device) -> dict[str, Any]:
        """Return what a claimed device is told when it registers (wire examples, 1.1)."""
        with self.lock:
            return {
                "api": self.api,
                "token": self.tokens.of_device(device.account_id or NO_ACCOUNT, device.id),
                "cloudType": self.type,
                "cloudName": self.name,
                "cloudRegion": self.region,
            }

    def block_device(self, id: str, seconds: float) -> None:
        """Let device/provision answer with ``error`` and ``delay`` for *seconds*, as for excess traffic.

        Raises:
            Refused: there is no such device, or it is claimed in another cloud.
        """
        with self.lock:
            self.devices.block(id, self.now() + int(seconds * 1000))

    def throttle_device(self, id: str, *, close: bool = False) -> None:
        """Tell a connected device to slow down, or with *close* to disconnect, as for excess traffic.

        Raises:
            Refused: there is no such claimed device.
        """
        with self.lock:
            self.devices.claimed(id, None)
            self.publisher.send(*throttle(id, close=close), id)

    def _sync_down(self, model: str, verb: str, item: Mapping[str, Any]) -> None:
        """Publish a write of the device database to its device, to all of its account, or to all of the cloud."""
        if self.models.process(model).get("sync") not in ("down", "both"):
            return
        device_id, account_id = item.get("deviceId"), item.get("accountId")
        to = f"device/{device_id}" if device_id else f"account/{account_id or 'all'}"
        self.publisher.send(f"ioto/{to}/sync/{verb}", dumps(item), device_id)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Store all that the block does to this cloud or, if it raises, nothing of it; to be used under the lock."""
        self._db.execute("BEGIN")
        try:
            with self._db:
                yield
        except BaseException:
            self.metrics.forget()
            raise

    def add_account(self, name: str, email: str) -> str:
        """Add an account and return its key.

        Raises:
            Refused: *email* is no address, or *name* is empty.
        """
        with self.lock:
            return self.accounts.add(name, email)

    def close_account(self, id: str) -> None:
        """End an account with its users, their logins, its dashboards, alerts and files; its devices are released.

        The record stays, with ``closed`` true. What the account's devices stored is out of reach, like the account.

        Raises:
            Refused: there is no such account, or it is closed already.
        """
        with self.lock:
            self._open_account(id)
            for device_id in self.devices.of_account(id):
                self.release_device(device_id)
            for user in self.users.of_account(id):
                self.users.remove(user)
            self.dashboards.remove_account(id)
            self.alerts.remove_account(id)
            self.files.remove_account(id)
            # Last, so that what was cut short can be begun again.
            self.accounts.close(id)

    def add_user(
        self,
        email: str,
        *,
        password: str | None = None,
        role: Role = "user",
        account_id: str | None = None,
        first: str | None = None,
        last: str | None = None,
    ) -> str:
        """Add a user and return its key.

        Args:
            email: the address, which is also what he signs in with.
            password: what he signs in with; None if he does not, or has signed up already.
            role: user, admin or owner.
            account_id: the account; the cloud's own if None.
            first: the given name.
            last: the family name.

        Raises:
            Refused: *email* is no address or taken, or there is no such account.
        """
        with self.lock:
            account_id = self._open_account(account_id)
            return self.users.add(email, account_id, role, first=first, last=last, password=password).id

    def sign_up(self, email: str, password: str) -> str:
        """Add an identity that can sign in, but is no user before it calls user/login; return its key.

        Raises:
            Refused: *email* is no address or signed up already, or *password* is empty.
        """
        with self.lock:
            return self.users.sign_up(email, password)

    def invitations(self) -> dict[str, str]:
        """Return the key of each invitation that was sent, by the address it went to."""
        with self.lock:
            return self.users.invitations()

    def create_token(
        self,
        kind: TokenKind,
        *,
        account_id: str | None = None,
        device_id: str | None = None,
        user_id: str | None = None,
        role: Role = "owner",
        name: str = "Demo",
        lifetime: float | None = None,
    ) -> str:
        """Make a token and return it.

        Args:
            kind: ``cloud`` (CloudAPI), ``device``, ``login``, ``builder`` (BuilderAPI), or ``product``, which makes
                the product as well.
            account_id: the account of a login's user, the cloud's own if None; for ``builder`` and ``product`` the
                Builder's account.
            device_id: the claimed device of a device token.
            user_id: the user of a login token; if None the first with *role* in the account, made if there is none.
            role: the role of a login's user, or of a BuilderAPI token.
            name: the name of the product.
            lifetime: seconds until it expires; None for never.

        Raises:
            Refused: there is no such claimed device, user or account.
        """
        with self.lock:
            expires = None if lifetime is None else self.now() + int(lifetime * 1000)
            match kind:
                case "cloud":
                    return self.tokens.create(kind, expires=expires)
                case "device":
                    account_id = self.devices.claimed(device_id or "", account_id).account_id
                    return self.tokens.create(kind, account_id=account_id, device_id=device_id, expires=expires)
                case "login":
                    user = self._user(role, account_id) if user_id is None else self.users.load(user_id, account_id)
                    return self.tokens.create(kind, identity_id=self._identity(user), expires=expires)
                case "product":
                    return self.builder.add_product(name, account_id=account_id, lifetime=lifetime)
                case "builder":
                    return self.builder.create_token(role, account_id, lifetime=lifetime)

    def _user(self, role: Role, account_id: str | None) -> User:
        account_id = self._open_account(account_id)
        found = next((user for user in self.users.of_account(account_id) if user.role == role), None)
        return found or self.users.add(f"{role}-{new_ulid(self.now()).lower()}@ioto.test", account_id, role)

    def _identity(self, user: User) -> str:
        """Return what *user* signs in as; one who has no password gets a key that has none either."""
        if user.identity_id is not None:
            return user.identity_id
        identity_id = self.identities.of_email(user.email) or new_ulid(self.now())
        self.users.bind(user.id, identity_id)
        return identity_id

    def revoke_token(self, token: str) -> None:
        """End a token at once; from then on it is answered with ``Authentication failed``.

        Raises:
            KeyError: there is no such token.
        """
        with self.lock:
            self._tokens_with(token).revoke(token)

    def suspend_token(self, token: str) -> None:
        """Let a token be answered with ``Authentication failed`` until it is resumed.

        Raises:
            KeyError: there is no such token.
        """
        with self.lock:
            self._tokens_with(token).suspend(token, True)

    def resume_token(self, token: str) -> None:
        """Let a suspended token be good again.

        Raises:
            KeyError: there is no such token.
        """
        with self.lock:
            self._tokens_with(token).suspend(token, False)

    def _tokens_with(self, token: str) -> Tokens:
        return self.tokens if self.tokens.has(token) else self.builder.tokens

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
        """Publish a firmware image for all clouds and return the update's key (wire examples, 4.6).

        Args:
            version: a semantic version.
            image: the bytes to download.
            product: the product token; the Builder's own if None.
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

    def add_alert(
        self,
        name: str,
        message: str,
        *,
        account_id: str | None = None,
        subject: str | None = None,
        severity: str = "info",
        context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Raise an alert as an automation called *name* does, and return its record.

        One of the same kind that is not resolved counts one more instead.

        Args:
            name: the automation; the subject too, unless that is given.
            message: the text.
            account_id: the account; the cloud's own if None.
            subject: a line about it.
            severity: how grave it is.
            context: the variables of the automation, JSON values; ``deviceId`` tells the alerts of devices apart.

        Raises:
            Refused: there is no such account.
        """
        with self.lock:
            return self.alerts.add(
                self._open_account(account_id),
                self.id,
                name=name,
                subject=subject or name,
                message=message,
                severity=severity,
                context=context or {},
            )

    def update_reports(self, update_id: str) -> dict[str, bool | None]:
        """Return, by device, how an update went: True or False as reported, None while only offered."""
        with self.lock:
            return self.updates.reports(update_id)
