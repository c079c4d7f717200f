"""Who may call a cloud, and a cloud where two accounts have something of everything."""

import asyncio
import base64
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import attrs

from ioto_async.emulator import Emulator
from tests.documented import Row

__all__ = [
    "ADMIN",
    "DEVICE",
    "MARKED",
    "MODELS",
    "OWN",
    "OWNER",
    "USER",
    "Caller",
    "Reply",
    "World",
    "kept",
    "opened",
    "reopened",
]

USER = {"public", "user", "view"}
ADMIN = USER | {"admin", "edit", "upgrade", "claimDevice", "releaseDevice"}
OWNER = ADMIN | {"owner"}
DEVICE = {"public", "device", "upgrade", "view", "edit"}
EVERY = OWNER | DEVICE
"""What a CloudAPI token may."""


MARKED, OWN = "AAAA000001", "BBBB000001"
"""The devices of the accounts A and B."""
SAMPLE = 4242424.5
"""The value of A's metric."""


@attrs.frozen
class Caller:
    """How a request says who sends it."""

    name: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    tok: bool = True
    """Whether ``/tok`` is put in front of the path."""
    roles: frozenset[str] = frozenset()
    """The documented roles that it has; none for who is nobody here."""
    also: frozenset[str] = frozenset()
    """Operations that it may call whatever their role."""

    def may(self, row: Row) -> bool:
        return row.role in self.roles or row.name in self.also


@attrs.frozen
class Reply:
    status: int
    text: str
    type: str

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.text


class Connections:
    """Sends requests on one connection to each server, at less cost than a client session."""

    def __init__(self) -> None:
        self._streams: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def post(self, url: str, data: bytes, headers: Mapping[str, str]) -> Reply:
        """Send *data*, and return the reply, which must have a Content-Length."""
        parts = urlsplit(url)
        if parts.netloc not in self._streams:
            self._streams[parts.netloc] = await asyncio.open_connection(parts.hostname, parts.port)
        reader, writer = self._streams[parts.netloc]
        sent = {"Host": parts.netloc, "Content-Length": str(len(data)), **headers}
        lines = [f"POST {urlunsplit(('', '', *parts[2:]))} HTTP/1.1", *(f"{name}: {sent[name]}" for name in sent)]
        writer.write("\r\n".join([*lines, "\r\n"]).encode() + data)
        status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        received = dict(field.split(": ", 1) for field in fields)
        body = await reader.readexactly(int(received["Content-Length"]))
        return Reply(int(status.split(" ", 2)[1]), body.decode(), received["Content-Type"])

    async def close(self) -> None:
        for _, writer in self._streams.values():
            writer.close()
            await writer.wait_closed()


@attrs.define
class World:
    """Two clouds; on the first, the accounts A and B, each with something of everything; A's bears marks."""

    emulator: Emulator
    session: aiohttp.ClientSession
    connections: Connections
    a: str = ""
    b: str = ""
    marks: dict[str, str] = attrs.Factory(dict)
    """A's texts and keys, by what they are."""
    own: dict[str, str] = attrs.Factory(dict)
    """B's, by the same names."""
    manager: str = ""
    """The key of the cloud's own device app, which belongs to neither."""
    update: str = ""
    """The key of an update that A's device was offered."""
    before: dict[str, Any] = attrs.Factory(dict)
    """What A had when everything was in place."""
    databases: tuple[Path, ...] = ()
    """What the clouds were reopened from."""

    def restore(self) -> None:
        """Return the clouds to what they were reopened from."""
        emulator = self.emulator
        with emulator.cloud.lock:
            for cloud, path in zip(emulator.clouds, self.databases, strict=True):
                with closing(sqlite3.connect(path)) as kept:
                    kept.backup(cloud._db)
            emulator.cloud.builder.metrics.forget()
            for cloud in emulator.clouds:
                cloud.assemble()

    async def send(self, caller: Caller, name: str, body: object = None, query: str = "", base: str = "") -> Reply:
        url = f"{base or self.emulator.cloud.api}{'/tok' if caller.tok else ''}/{name}{query}"
        data = json.dumps({} if body is None else body).encode()
        headers = {"Content-Type": "application/json"} | dict(caller.headers)
        return await self.connections.post(url, data, headers)

    async def ok(self, caller: Caller, name: str, body: object, query: str = "") -> Any:
        """Send what must succeed, and return the JSON value."""
        reply = await self.send(caller, name, body, query)
        assert reply.status == 200, (name, reply)
        return json.loads(reply.text) if reply.text else None

    # Callers

    def cloud_api(self, number: int = 0) -> Caller:
        return Caller("CloudAPI", {"Authorization": self.emulator.clouds[number].token}, roles=frozenset(EVERY))

    def device(self, id: str) -> Caller:
        token = self.emulator.cloud.create_token("device", device_id=id)
        return Caller("device", {"Authorization": token}, roles=frozenset(DEVICE), also=frozenset({"action/invoke"}))

    def login(self, role: Any, account_id: str, token: str | None = None) -> Caller:
        token = token or self.emulator.cloud.create_token("login", account_id=account_id, role=role)
        roles = {"user": USER, "admin": ADMIN, "owner": OWNER}[role]
        return Caller(
            f"login {role}", {"Authorization": token, "Origin": self.origin}, tok=False, roles=frozenset(roles)
        )

    @property
    def origin(self) -> str:
        return f"https://{self.emulator.cloud.origin}"

    def builder(self, role: Any, account_id: str | None = None) -> Caller:
        token = self.emulator.cloud.builder.create_token(role=role, account_id=account_id)
        roles = {"user": USER, "admin": ADMIN, "owner": OWNER}[role]
        return Caller(f"BuilderAPI {role}", {"Authorization": token}, roles=frozenset(roles))

    def strangers(self) -> Iterator[Caller]:
        """Who is nobody on this cloud."""
        emulator, cloud, other = self.emulator, self.emulator.cloud, self.emulator.clouds[1]

        def raw(name: str, token: str, *, tok: bool = True, origin: str = "") -> Caller:
            headers = {"Authorization": token} | ({"Origin": origin} if origin else {})
            return Caller(name, headers, tok)

        yield Caller("nobody", {})
        yield Caller("nobody on the bare path", {}, tok=False)
        yield raw("a bad token", "0" * 26)
        yield raw("an expired token", cloud.create_token("cloud", lifetime=0))
        revoked, suspended = cloud.create_token("cloud"), cloud.create_token("cloud")
        cloud.revoke_token(revoked)
        cloud.suspend_token(suspended)
        yield raw("a revoked token", revoked)
        yield raw("a suspended token", suspended)
        yield raw("a product token", emulator.product_token)
        yield raw("a BuilderAPI token", cloud.builder.token)
        yield raw("CloudAPI of another cloud", other.token)
        yield raw("login of another cloud", other.login_token, tok=False, origin=f"https://{other.origin}")
        yield raw("login of another cloud, our origin", other.login_token, tok=False, origin=self.origin)
        yield raw("login on /tok", emulator.login_token, origin=self.origin)
        yield raw("login without origin", emulator.login_token, tok=False)
        yield raw("login with a wrong origin", emulator.login_token, tok=False, origin="https://evil.test")
        yield raw("CloudAPI on the bare path", emulator.token, tok=False, origin=self.origin)
        expired = cloud.create_token("login", lifetime=0)
        yield raw("an expired login", expired, tok=False, origin=self.origin)

    # Their things

    async def fill(self) -> None:
        """Give A and B something of everything; every text of A's bears a mark of its own."""
        cloud, owner = self.emulator.cloud, self.cloud_api()
        self.a = cloud.add_account("MARK-account", "mark-account@a.test")
        self.b = cloud.add_account("B", "account@b.test")
        self.update = cloud.add_update("2.0.0", b"firmware")
        app = await self.ok(owner, "manager/get", {})
        self.manager = app["id"]
        with cloud.lock:
            cloud.actions.add({"name": "Alarm", "type": "alert", "message": "It is ${value}"})
            item = {"_type": "Store", "deviceId": "${target}", "key": "${key}", "value": "${value}", "type": "string"}
            cloud.actions.add({"name": "Keep", "type": "database", "args": item | {"accountId": "${accountId}"}})
        self.own = await self._furnish(self.b, OWN, "own", 1)
        self.marks = await self._furnish(self.a, MARKED, "MARK", SAMPLE)
        self.marks |= {
            "account id": self.a,
            "account email": "mark-account@a.test",
            "device": MARKED,
            "encoded": base64.b64encode(self.marks["content"].encode()).decode(),
            "sample": str(SAMPLE),
            # Every login is shown the cloud's own app, but not how it is served.
            "app's certificate": app["certArn"],
        }
        self.before = self.state()

    async def _furnish(self, account: str, device: str, mark: str, sample: float) -> dict[str, str]:
        """Give *account* something of everything, and return its texts and keys."""
        cloud, owner, named = self.emulator.cloud, self.cloud_api(), {"accountId": account}
        texts = {what: f"{mark}-{what}" for what in TEXTS}
        for id in (device, f"{device}2"):
            cloud.register_device(id, model=texts["model"], version="1.0.0")
            cloud.claim_device(id, account)
        check = {"id": device, "product": self.emulator.product_token, "version": "1.0.0"}
        await self.ok(owner, "provision/update", check)

        keys = {}
        for role in ("user", "admin"):
            keys[f"{role} email"] = email = f"{mark.lower()}-{role}@x.test"
            keys[role] = cloud.add_user(email, password="Secret-123", role=role, account_id=account)
        await self.ok(owner, "user/updateRole", {"id": keys["user"], "role": "user", "sendInvite": True} | named)
        keys["invitation"] = cloud.invitations()[keys["user email"]]
        names = {"id": keys["user"], "first": texts["first"], "last": texts["last"]}
        await self.ok(owner, "user/update", names | named)

        of_device = {"deviceId": device} | named
        for number in ("", "2"):
            item = {"key": texts["key"] + number, "value": texts["value"] + number, "type": "string"}
            await self.ok(owner, "generic/create", {"_type": "Store"} | item | of_device)
        items: list[dict[str, Any]] = [
            {"_type": "Store", "key": "number", "value": sample, "type": "number"},
            {"_type": "Log", "message": texts["message"]},
            {"_type": "Command", "command": texts["command"], "args": {}},
            {"_type": "Broadcast", "key": texts["key"], "value": texts["news"], "type": "string"},
            {"_type": "Pin", "name": texts["pin"], "value": {"on": texts["pinned"]}},
            {"_type": "Settings", "address": texts["address"]},
        ]
        for item in items:
            await self.ok(owner, "generic/create", item | of_device)
        await self.ok(
            owner, "generic/update", {"_type": "Device", "id": device, "name": texts["name"]} | named, "?exists"
        )
        certificates = await self.ok(owner, "device/provision", {"id": device})
        keys["private key"] = certificates["key"].splitlines()[1]
        keys |= await self._add_app(account, mark, texts)

        keys["dashboard"] = (await self.ok(owner, "dashboard/create", {"name": texts["board"]} | named))["id"]
        content = base64.b64encode(texts["content"].encode()).decode()
        for filename in (texts["file"], f"{texts['file']}2"):
            file = {"filename": filename, "mimeType": "text/plain", "data": content}
            await self.ok(owner, "file/put", file | named)
        log = {"id": device, "command": "put", "filename": texts["log"]}
        url = await self.ok(owner, "device/getSignedUrl", log)
        assert (await self.transfer("PUT", url, texts["logged"])).status == 200

        caller = self.login("owner", account)
        context = {"deviceId": device, "metric": texts["metric"], "value": sample}
        await self.ok(caller, "action/invoke", {"name": "MetricSample", "context": context})
        for number in ("", "2"):
            context = {"value": texts["context"] + number, "deviceId": device + number}
            await self.ok(caller, "action/invoke", {"name": "Alarm", "context": context})
        keys["alert"] = (await self.ok(owner, "alert/find", named, "?limit=10"))["data"][0]["id"]
        return texts | keys

    async def _add_app(self, account: str, mark: str, texts: dict[str, str]) -> dict[str, str]:
        """Give *account* a device app with a file in it, and return its keys; no operation makes apps."""
        cloud, owner, domain = self.emulator.cloud, self.cloud_api(), f"{mark.lower()}.app.test"
        with cloud.lock:
            app = cloud.managers.add(account, domain, cloud.region)
        id = {"id": app["id"]}
        await self.ok(owner, "manager/update", id | {"title": texts["title"], "users": [texts["guest"]]})
        await self.ok(owner, "manager/updateDisplay", id | {"display": texts["display"]})
        url = await self.ok(owner, "manager/getSignedUrl", id | {"command": "put", "filename": texts["page"]})
        assert (await self.transfer("PUT", url, texts["markup"])).status == 200
        return {"manager": app["id"], "domain": domain, "certificate": app["certArn"]}

    async def transfer(self, method: str, url: str, text: str | None = None) -> Reply:
        """Use a signed URL."""
        data, headers = (None, {}) if text is None else (text.encode(), {"Content-Type": "text/plain"})
        async with self.session.request(method, url, data=data, headers=headers) as answer:
            return Reply(answer.status, await answer.text(), answer.headers.get("Content-Type", ""))

    def state(self) -> dict[str, Any]:
        """All that A has, from the cloud's own tables, and what nobody has alone."""
        cloud, a = self.emulator.cloud, self.a
        item = {"accountId": a, "deviceId": MARKED}
        metric = ("Embedthis/Device", self.marks["metric"], {"Device": MARKED}, 300, "sum")
        files = {"file": (a, "file"), "log": (a, "log"), "page": (self.marks["manager"], "page")}
        names = {"log": f"{MARKED}/{self.marks['log']}"}
        with cloud.lock:
            device = cloud.devices.claimed(MARKED, a)
            total = cloud.metrics.engine(a).query(*metric, accumulate=True, timestamp=cloud.now())
            return {
                "account": cloud.accounts.load(a),
                "devices": cloud.devices.find({}, id=None, account_id=a, product_id=None),
                "users": cloud.users.find({}, account_id=a),
                "dashboards": cloud.dashboards.find(a, {}),
                "alerts": cloud.alerts.find(a, {}),
                "files": cloud.files.find(a, {}, {}),
                **{what: self._file(owner, names.get(what, self.marks[mark])) for what, (owner, mark) in files.items()},
                **{model: cloud.models.find(model, item | self._id(model), {}) for model in MODELS},
                "certificates": (device.certificate, device.key),
                "manager": cloud.managers.get(self.marks["manager"]),
                "own manager": cloud.managers.get(self.manager),
                "actions": cloud.actions.find({}),
                "roles": {role: list(cloud.roles[role]) for role in cloud.roles},
                "sum": total["points"][0]["value"],
                "invitation": cloud.invitations().get(self.marks["user email"]),
                "reports": cloud.update_reports(self.update)[MARKED],
            }

    def _file(self, owner: str, name: str) -> tuple[object, bytes]:
        """A file and its content."""
        files = self.emulator.cloud.files
        file = files.get(owner, name)
        assert file is not None, name
        download = files.read(file)
        try:
            return file, b"".join(iter(download.next, b""))
        finally:
            download.close()

    @staticmethod
    def _id(model: str) -> dict[str, str]:
        return {"id": MARKED} if model == "Device" else {}


TEXTS = (
    "account", "address", "board", "command", "content", "context", "display", "file", "first", "guest", "key", "last",
    "log", "logged", "markup", "message", "metric", "model", "name", "news", "page", "pin", "pinned", "title", "value",
)  # fmt: skip
"""Texts that an account's things have."""

MODELS = ("Store", "Log", "Command", "Device", "Broadcast", "Pin", "Settings")
"""The models whose items belong to an account."""


@asynccontextmanager
async def opened(db: Path | None = None) -> AsyncIterator[World]:
    """Start two clouds with nothing in them, or with what *db* has."""
    connections = Connections()
    async with Emulator(db=db, clouds=2, mqtt=False) as emulator, aiohttp.ClientSession() as session:
        try:
            yield World(emulator, session, connections)
        finally:
            await connections.close()


async def kept(directory: Path) -> World:
    """Leave two filled clouds in *directory*, stopped, for `reopened`."""
    async with opened(directory / "cloud.db") as world:
        await world.fill()
        return world


@asynccontextmanager
async def reopened(directory: Path, kept: World, copy: Path) -> AsyncIterator[World]:
    """Start the clouds that were *kept* in *directory* again, from a copy of their databases."""
    shutil.copytree(directory, copy)
    databases = directory / "cloud.db", directory / "cloud-2.db"
    async with opened(copy / "cloud.db") as world:
        yield attrs.evolve(
            kept, emulator=world.emulator, session=world.session, connections=world.connections, databases=databases
        )
