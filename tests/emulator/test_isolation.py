"""Who may do what: every operation of the cloud and of the Builder for every kind of caller, by the documented roles.

And what nobody may: see or change another account's things, by whatever identifier the operations know.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest

from ioto_async.emulator.request import Refused
from ioto_async.operations import IOTO
from tests.documented import ROWS, Member, Row
from tests.rows import each_row

from .callers import ADMIN, MARKED, MODELS, OWN, OWNER, SAMPLE, USER, Caller, Reply, World, kept, opened, reopened

HTTP = {key: row for key, row in ROWS.items() if row.http}
CLOUD = {key: row for key, row in HTTP.items() if row.api == "ioto"}
BUILDER = {key.removeprefix("builder:"): row for key, row in HTTP.items() if row.api == "builder"}

NOBODY = (403, "Authentication failed")
DENIED = (403, "Access denied")


def settle(world: World) -> None:
    """Begin with two accounts that have nothing."""
    world.emulator.reset()
    world.a = world.emulator.account_id
    world.b = world.emulator.cloud.add_account("B", "account@b.test")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        settle(world)
        yield world


# Roles --------------------------------------------------------------------------------------------------------------


@each_row("name", sorted(CLOUD))
async def test_who_is_nobody_here_is_refused_by_every_operation(world: World, name: str) -> None:
    settle(world)
    for caller in world.strangers():
        reply = await world.send(caller, name)
        if name == "test/ping" and not caller.headers:
            assert (reply.status, reply.text) == (200, "pinged\n")
        else:
            assert reply.refusal == NOBODY, caller.name


@each_row("name", sorted(CLOUD))
async def test_a_role_is_enough_or_access_is_denied(world: World, name: str) -> None:
    settle(world)
    row = CLOUD[name]
    cloud = world.emulator.cloud
    cloud.register_device("DEV0000001")
    cloud.claim_device("DEV0000001", world.a)
    callers = [
        *(world.login(role, account) for account in (world.b, world.a) for role in ("user", "admin", "owner")),
        world.device("DEV0000001"),
        world.cloud_api(),
    ]
    # An account that is closed takes its callers with it.
    body = {"id": "nobody"} if name == "account/close" else {}
    for caller in callers:
        reply = await world.send(caller, name, body)
        if not caller.may(row):
            assert reply.refusal == DENIED, caller.name
        elif name == "account/close" and caller.name == "login admin":
            assert reply.refusal == (403, "id needs the role owner")
        elif name == "user/login" and caller.tok:
            assert reply.status in (400, 403), caller.name  # there is no user to answer with
        else:
            assert reply.status in (200, 400), (caller.name, reply)


@each_row("role, status", [("user", 403), ("admin", 200), ("owner", 200)])
async def test_an_account_is_closed_by_its_admin_or_owner(world: World, role: str, status: int) -> None:
    settle(world)
    reply = await world.send(world.login(role, world.b), "account/close")
    assert reply.status == status
    reply = await world.send(world.login("user", world.a), "account/get")
    assert reply.status == 200


async def test_a_resumed_token_is_as_good_as_before(world: World) -> None:
    cloud = world.emulator.cloud
    token = cloud.create_token("cloud")
    caller = Caller("CloudAPI", {"Authorization": token})
    cloud.suspend_token(token)
    assert (await world.send(caller, "device/find")).refusal == NOBODY
    cloud.resume_token(token)
    assert (await world.send(caller, "device/find")).status == 200


# Roles of members ---------------------------------------------------------------------------------------------------


def _restricted() -> Iterator[tuple[Row, str, Member, str]]:
    """Every member for which a caller with the role of its operation may lack the role."""
    ladder = ["user", "admin", "owner"]
    for row in CLOUD.values():
        for where, members in (("body", row.body), ("query", row.query)):
            for member in members:
                if member.role is None:
                    continue
                for role in ladder[: ladder.index(member.role)]:
                    if row.role in {"user": USER, "admin": ADMIN}[role]:
                        yield row, where, member, role


@each_row("row, where, member, role", _restricted())
async def test_a_member_for_a_role_is_refused_from_others_by_its_name(
    world: World, row: Row, where: str, member: Member, role: str
) -> None:
    settle(world)
    required = {
        "name": "x",
        "_type": "Store",
        "items": [],
        "deviceId": "D",
        "cloudId": world.emulator.cloud_id,
        "id": "x",
    }
    body: dict[str, Any] = {each.name: required[each.name] for each in row.body if each.required}
    query = f"?{member.name}=primary" if where == "query" else ""
    if where == "body":
        body[member.name] = world.b if member.name == "accountId" else "foreign"
    caller = world.login(role, world.a)
    reply = await world.send(caller, row.name, body, query)
    assert reply.refusal == (403, f"{member.name} needs the role {member.role}")


async def test_there_are_members_for_roles() -> None:
    assert len([*_restricted()]) > 30


ACCOUNT_NAMED = [
    (name, role)
    for name, row in IOTO.items()
    for role, roles in (("user", USER), ("admin", ADMIN), ("owner", OWNER))
    if row.role in roles and "accountId" in {member.name for member in row.body}
]
"""Operations that may name the account, documented so or inferred, and the logins that may call them."""


@each_row("name, role", ACCOUNT_NAMED)
async def test_a_login_names_no_account_but_its_own(world: World, name: str, role: str) -> None:
    settle(world)
    row, caller = CLOUD[name], world.login(role, world.a)
    required = {
        "name": "x",
        "_type": "Store",
        "deviceId": "D",
        "id": "x",
        "filename": "x",
        "items": [],
        "email": "x@x.test",
    }
    body = {member.name: required.get(member.name, "user") for member in row.body if member.required}
    reply = await world.send(caller, name, body | {"accountId": world.b})
    assert reply.status == 403
    assert reply.text in ("accountId needs the role owner", "accountId must be that of the caller")


# Data ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    """The filled clouds, stopped; to fill them anew for each test would take most of its time."""
    directory = tmp_path_factory.mktemp("filled")
    return directory, asyncio.run(kept(directory))


@pytest.fixture
async def filled(template: tuple[Path, World], tmp_path: Path) -> AsyncIterator[World]:
    async with reopened(*template, tmp_path / "clouds") as world:
        yield world


VALUES: dict[str, Any] = {
    "name": "Changed",
    "mimeType": "text/plain",
    "data": base64.b64encode(b"changed").decode(),
    "size": 7,
    "first": "Changed",
    "last": "Changed",
    "resolved": True,
    "role": "owner",
    "sendInvite": True,
    "title": "Changed",
    "display": "changed",
    "clean": True,
    "version": "9.9.9",
    "success": True,
    "value": "changed",
    "type": "string",
    "register": True,
    "preferences": {"theme": "changed"},
    "css": ["changed"],
}
"""What the members that name nothing are set to: a change would show."""


def _items(world: World) -> list[dict[str, Any]]:
    marks = world.marks
    device = {"namespace": "Embedthis/Device", "metric": marks["metric"], "statistic": "sum", "accumulate": True}
    stored = {"namespace": "Database", "model": "Store", "field": "value", "statistic": "current"}
    return [
        *(device | {"dimensions": dimensions} for dimensions in ({}, {"Device": MARKED})),
        *(device | {"dimensions": {}, "owner": owner} for owner in (world.a, "default")),
        stored | {"dimensions": {}},
        stored | {"dimensions": {"deviceId": MARKED, "accountId": world.a}},
    ]


def _named(world: World, row: Row) -> Iterator[dict[str, Any]]:
    """Every way to name something of A's to an operation."""
    controller, members, marks = row.name.partition("/")[0], {member.name for member in row.body}, world.marks
    ids = {
        "account": [world.a],
        "alert": [marks["alert"]],
        "dashboard": [marks["dashboard"]],
        "device": [MARKED],
        "file": [MARKED],
        "manager": [marks["manager"], world.manager, world.a],
        "provision": [MARKED],
        "user": [marks["user"], marks["admin"]],
    }
    if "id" in members:
        yield from ({"id": id} for id in ids.get(controller, []))
    if "email" in members:
        yield from ({"email": marks[email]} for email in ("account email", "user email", "admin email"))
    if controller == "dashboard" and "name" in members:
        yield {"name": marks["board"]}
    if controller in ("file", "device") and ("filename" in members or row.open):
        yield from _files(world)
    if row.name == "manager/getSignedUrl":
        for id in (marks["manager"], f"{world.manager}/../{marks['manager']}"):
            yield from (
                {"id": id, "filename": marks["page"], "command": command} for command in ("get", "put", "delete")
            )
    if row.name == "manager/update":
        owners = (world.a, marks["account email"], marks["user email"])
        yield from ({"id": world.own["manager"], "owner": owner} for owner in owners)
    if row.name == "user/login":
        yield {"invite": marks["invitation"]}
    if controller == "generic":
        yield from _things(world)
    if controller == "metric":
        yield from ({"deviceId": device, "namespace": "Embedthis/Device"} for device in (MARKED, OWN))
        yield {"namespace": "Embedthis/Device", "metric": marks["metric"]}
        yield {"namespace": "Database", "model": "Store"}
    if row.name == "action/invoke":
        context = {"deviceId": MARKED, "metric": marks["metric"], "value": "99", "accountId": world.a}
        context |= {"program": "reboot", "parameters": "now", "key": marks["key"], "target": MARKED}
        for name in ("MetricSample", "DeviceCommand", "Keep", "Alarm"):
            yield {"name": name, "context": context}
            yield {"name": name, "context": context | {"deviceId": OWN}}
    if row.name.startswith("action/"):
        yield {"type": "alert"}


def _files(world: World) -> Iterator[dict[str, Any]]:
    file, log = world.marks["file"], world.marks["log"]
    own = (file, f"../{world.a}/{file}", f"/{world.a}/{file}", f"..%2f{world.a}%2f{file}", f"{world.a}/{file}")
    paths = [*own, f"{MARKED}/{log}", f"../{MARKED}/{log}", f"../../{world.a}/{MARKED}/{log}"]
    yield from ({"filename": path} for path in paths)
    for command in ("get", "put", "delete"):
        yield from ({"filename": path, "command": command} for path in paths)
        yield from ({"id": OWN, "filename": path, "command": command} for path in paths)
        yield {"id": MARKED, "filename": log, "command": command}
        yield {"id": f"../{world.a}/{MARKED}", "filename": log, "command": command}


def _things(world: World) -> Iterator[dict[str, Any]]:
    marks = world.marks
    for model in (*MODELS, "Metric"):
        yield {"_type": model}
        yield {"_type": model, "deviceId": MARKED}
        yield {"_type": model, "deviceId": MARKED, "id": MARKED, "key": marks["key"], "name": marks["name"]}
        yield {"_type": model, "deviceId": OWN, "key": marks["key"], "owner": world.a}
        yield {"_type": model, "pk": f"s#{world.a}#{MARKED}", "sk": f"s#{marks['key']}"}


def _bodies(world: World, row: Row) -> Iterator[dict[str, Any]]:
    """Bodies that name A's things by each identifier alone and by all, with and without A's account."""
    members = {member.name for member in row.body}
    required: dict[str, Any] = {"cloudId": world.emulator.cloud_id, "items": _items(world), "update": world.update}
    required |= {"product": world.emulator.product_token}
    required = {name: value for name, value in required.items() if name in members}
    filler = {name: VALUES[name] for name in members & VALUES.keys()}
    names = [*_named(world, row)]
    every = {member: value for name in names for member, value in name.items()}
    seen: list[dict[str, Any]] = []
    for name in (*names, every, {}):
        for body in (required | filler | name, required | filler | name | {"accountId": world.a}, required | name):
            if body not in seen:
                seen.append(body)
                yield body


def _shown(world: World, name: str, body: dict[str, Any], text: str) -> set[str]:
    """The marks of A's in a reply that were not in the request."""
    given = json.dumps(body)
    # Whoever takes A's address for his own, where it is free, is shown it ever after.
    taken = "email" if name in ("account/updateIdentity", "user/update") else None
    return {
        what
        for what, mark in world.marks.items()
        if mark in text and mark not in given and (taken is None or taken not in what)
    }


async def _tried(world: World, caller: Caller, name: str, base: str = "") -> AsyncIterator[tuple[Any, Reply]]:
    """Name A's things to an operation in every way, and use what URLs come back; yields what was sent and answered."""
    row = CLOUD[name]
    options = {option.name for option in row.query}
    queries = ["?exists", "?exists=false"] * ("exists" in options) + ["?index=gs1&limit=100"] * ("index" in options)
    for body in _bodies(world, row):
        if name == "account/close" and "id" not in body:
            continue  # it would be the caller's own account
        for query in ("?limit=100" if "limit" in options else "", *queries):
            reply = await world.send(caller, name, body, query, base)
            assert reply.status in (200, 400, 403), (caller.name, body, reply)
            yield body, reply
            if reply.status == 200 and reply.text.startswith('"http'):
                method = {"put": "PUT", "delete": "DELETE"}.get(str(body.get("command")), "GET")
                yield body, await world.transfer(method, json.loads(reply.text), "changed" if method == "PUT" else None)


async def _attack(world: World, caller: Caller, name: str, base: str = "") -> None:
    async for body, reply in _tried(world, caller, name, base):
        assert _shown(world, name, body, reply.text) == set(), (caller.name, body, reply)
    assert world.state() == world.before, caller.name


# Four tests, which may run at the same time; an owner may do all that the slow ones may.
@pytest.mark.parametrize(
    "who",
    [pytest.param("user", marks=pytest.mark.slow), pytest.param("admin", marks=pytest.mark.slow), "owner", "device"],
)
@each_row("name", sorted(CLOUD))
async def test_another_account_neither_sees_nor_changes_anything(filled: World, name: str, who: str) -> None:
    filled.restore()
    await _attack(filled, filled.device(OWN) if who == "device" else filled.login(who, filled.b), name)


@each_row("name", sorted(CLOUD))
async def test_another_cloud_neither_sees_nor_changes_anything(filled: World, name: str) -> None:
    filled.restore()
    second = filled.emulator.clouds[1]
    login = {"Authorization": second.login_token, "Origin": f"https://{second.origin}"}
    for caller in (filled.cloud_api(1), Caller("login", login, tok=False)):
        await _attack(filled, caller, name, second.api)


NOBODYS = {
    "account/close": "ends all that is compared; has tests of its own",
    "account/create": "makes an account of its own",
    "action/find": "automations are the cloud's",
    "action/get": "automations are the cloud's",
    "device/claim": "takes what is nobody's",
    "device/getCreds": "makes up keys",
    "metric/getDeviceSchema": "the schema is the cloud's",
    "provision/getCreds": "makes up keys",
    "test/ping": "knows nothing",
    "user/getRoles": "roles are the cloud's",
}
"""Operations by which not even A sees or changes anything of A's, and why."""


@each_row("name", sorted(CLOUD.keys() - NOBODYS.keys()))
async def test_what_is_tried_from_outside_works_for_whom_it_is_meant(filled: World, name: str) -> None:
    """Else that nothing was seen or changed would say nothing."""
    filled.restore()
    caller = filled.login("owner", filled.a) if CLOUD[name].role in OWNER else filled.device(MARKED)
    seen = [_shown(filled, name, body, reply.text) async for body, reply in _tried(filled, caller, name)]
    assert any(seen) or _has_changed(filled)


def _has_changed(world: World) -> bool:
    try:
        return world.state() != world.before
    except (AssertionError, IndexError, KeyError, Refused):  # some of it is not there any more
        return True


async def test_the_marks_are_there_to_be_seen(filled: World) -> None:
    owner, seen = filled.login("owner", filled.a), ""
    item = {"deviceId": MARKED}
    asked: list[tuple[str, dict[str, Any]]] = [
        *(
            (name, {})
            for name in ("account/get", "device/find", "user/find", "dashboard/find", "alert/find", "file/list")
        ),
        *(("generic/find", item | {"_type": model}) for model in MODELS),
        ("file/get", {"filename": filled.marks["file"]}),
        ("manager/get", {"id": filled.marks["manager"]}),
        ("metric/getMetricList", {"cloudId": filled.emulator.cloud_id, "namespace": "Embedthis/Device"}),
        ("metric/fetch", item | {"items": _items(filled)}),
    ]
    for name, body in asked:
        reply = await filled.send(owner, name, body)
        assert reply.status == 200, (name, reply)
        seen += reply.text
        seen += base64.b64decode(json.loads(reply.text)["data"]).decode() if name == "file/get" else ""
    device = filled.device(MARKED)
    seen += (await filled.send(device, "device/provision", {"id": MARKED})).text
    for caller, name, named in (
        (device, "device/getSignedUrl", {"id": MARKED, "filename": filled.marks["log"]}),
        (owner, "manager/getSignedUrl", {"id": filled.marks["manager"], "filename": filled.marks["page"]}),
    ):
        url = await filled.ok(caller, name, named)
        seen += url + (await filled.transfer("GET", url)).text
    seen += (await filled.send(filled.cloud_api(), "manager/get", {"id": filled.manager})).text
    # The properties of a device and the key of an invitation are in no reply at all.
    assert {what for what, mark in filled.marks.items() if mark not in seen} == {"model", "invitation"}


@each_row(
    "name, body",
    [
        ("account/find", {}),
        ("alert/find", {}),
        ("device/find", {}),
        ("generic/find", {"_type": "Store", "deviceId": MARKED}),
    ],
)
async def test_the_cursor_of_another_account_leads_nowhere(filled: World, name: str, body: dict[str, Any]) -> None:
    filled.restore()
    world = filled
    named = {} if name == "account/find" else {"accountId": world.a}
    page = await world.ok(world.cloud_api(), name, body | named, "?limit=1")
    assert page["next"]
    for caller in (world.login(role, world.b) for role in ("user", "admin", "owner")):
        for option in ("next", "prev"):
            for more in ({}, {"deviceId": OWN} if body else {}):
                query = f"?limit=100&{urlencode({option: page['next']})}"
                reply = await world.send(caller, name, body | more, query)
                assert _shown(world, name, body, reply.text) == set(), (caller.name, reply)


# Who is no more -----------------------------------------------------------------------------------------------------


async def test_a_user_who_is_removed_is_nobody(filled: World) -> None:
    token = filled.emulator.cloud.create_token("login", account_id=filled.a, user_id=filled.marks["user"])
    user = filled.login("user", filled.a, token)
    assert (await filled.send(user, "device/find")).status == 200
    await filled.ok(filled.login("admin", filled.a), "user/remove", {"id": filled.marks["user"]})
    assert (await filled.send(user, "device/find")).refusal == NOBODY


async def test_a_role_ends_when_it_is_taken_away(filled: World) -> None:
    token = filled.emulator.cloud.create_token("login", account_id=filled.a, user_id=filled.marks["admin"])
    admin = filled.login("admin", filled.a, token)
    assert (await filled.send(admin, "user/getRoles")).status == 200
    body = {"id": filled.marks["admin"], "role": "user"}
    await filled.ok(filled.login("owner", filled.a), "user/updateRole", body)
    assert (await filled.send(admin, "user/getRoles")).refusal == DENIED
    assert (await filled.send(admin, "device/find")).status == 200


async def test_an_admin_makes_nobody_an_owner_and_unmakes_none(filled: World) -> None:
    """He would have what an owner alone may do, or leave the account to himself."""
    owner, admin = filled.login("owner", filled.a), filled.login("admin", filled.a)
    own = await filled.ok(owner, "user/get", {})
    attacks: list[tuple[str, dict[str, Any]]] = [
        ("user/updateRole", {"id": filled.marks["admin"], "role": "owner"}),
        ("user/updateRole", {"id": filled.marks["user"], "role": "owner"}),
        ("user/updateRole", {"id": own["id"], "role": "user"}),
        ("user/create", {"email": "new@x.test", "role": "owner"}),
    ]
    for name, body in attacks:
        reply = await filled.send(admin, name, body)
        assert reply.status in (400, 403), (name, body, reply)
    assert (await filled.ok(owner, "user/get", {}))["role"] == "owner"
    users = (await filled.ok(owner, "user/find", {}))["data"]
    assert [user["email"] for user in users if user["role"] == "owner"] == [own["email"]]


async def test_with_an_account_all_its_callers_and_things_end(filled: World) -> None:
    world = filled
    callers = [world.login(role, world.a) for role in ("user", "admin", "owner")] + [world.device(MARKED)]
    get = await world.ok(callers[2], "file/getSignedUrl", {"command": "get", "filename": world.marks["file"]})
    assert (await world.transfer("GET", get)).text == world.marks["content"]
    await world.ok(callers[2], "account/close", {})
    for caller in callers:
        name = "device/provision" if caller.name == "device" else "device/find"
        assert (await world.send(caller, name, {"id": MARKED})).refusal == NOBODY, caller.name
    assert (await world.transfer("GET", get)).status >= 400
    whole = world.cloud_api()
    for name in ("device/find", "user/find", "dashboard/find", "alert/find", "file/list"):
        reply = await world.send(whole, name, {})
        seen = {what for what, mark in world.marks.items() if mark in reply.text}
        assert seen == set(), (name, reply)
    assert (await world.send(world.login("user", world.b), "device/find")).status == 200


async def test_a_released_device_is_nobody_until_it_is_claimed_again(filled: World) -> None:
    device = filled.device(MARKED)
    await filled.ok(filled.login("admin", filled.a), "device/release", {"id": MARKED})
    assert (await filled.send(device, "device/provision", {"id": MARKED})).refusal == NOBODY
    await filled.ok(filled.login("admin", filled.b), "device/claim", {"id": MARKED})
    assert (await filled.send(device, "device/provision", {"id": MARKED})).refusal == NOBODY


async def test_a_device_that_changes_hands_brings_nothing_along(filled: World) -> None:
    """What it stored for A is not B's to read."""
    await filled.ok(filled.login("admin", filled.a), "device/release", {"id": MARKED})
    owner = filled.login("owner", filled.b)
    await filled.ok(owner, "device/claim", {"id": MARKED})
    for body in ({"_type": model, "deviceId": MARKED} for model in ("Store", "Log", "Command")):
        assert (await filled.ok(owner, "generic/find", body))["data"] == []
    fetched = await filled.send(owner, "metric/fetch", {"deviceId": MARKED, "items": _items(filled)})
    assert filled.marks["sample"] not in fetched.text
    log = {"id": MARKED, "command": "get", "filename": filled.marks["log"]}
    assert (
        await filled.transfer("GET", await filled.ok(filled.device(MARKED), "device/getSignedUrl", log))
    ).status >= 400


# Devices ------------------------------------------------------------------------------------------------------------


@each_row("name", ["device/provision", "provision/getCerts", "provision/update", "provision/updateReport"])
async def test_a_device_speaks_for_itself_alone(filled: World, name: str) -> None:
    filled.restore()
    world, cloud = filled, filled.emulator.cloud
    body = {"id": f"{OWN}2", "product": world.emulator.product_token, "version": "1.0.0"}
    before = cloud.update_reports(world.update)
    reply = await world.send(world.device(OWN), name, body | {"update": world.update, "success": True})
    assert reply.refusal == (400, "Cannot find device")
    assert cloud.update_reports(world.update) == before


# The Builder --------------------------------------------------------------------------------------------------------


@each_row("name", sorted(BUILDER))
async def test_the_builder_has_the_same_ladder(world: World, name: str) -> None:
    settle(world)
    row, emulator = BUILDER[name], world.emulator
    for caller in (world.builder(role) for role in ("user", "admin", "owner")):
        if name == "device/register":
            caller = attrs.evolve(caller, tok=False)
            assert (await world.send(caller, name, base=emulator.builder)).refusal == NOBODY
            continue
        reply = await world.send(caller, name, base=emulator.builder)
        if not caller.may(row):
            assert reply.refusal == DENIED, caller.name
        else:
            assert reply.status in ((500,) if name == "test/exception" else (200, 400)), (caller.name, reply)


@each_row("name", sorted(BUILDER))
async def test_who_is_nobody_at_the_builder_is_refused(world: World, name: str) -> None:
    settle(world)
    emulator, row = world.emulator, BUILDER[name]
    tokens = {"nobody": "", "bad": "0" * 26, "product": emulator.product_token, "CloudAPI": emulator.token}
    tokens["login"] = emulator.login_token
    for who, token in tokens.items():
        caller = Caller(who, {"Authorization": token, "Origin": world.origin} if token else {})
        for tok in (True, False):
            if name == "device/register" and (who == "product" or tok):
                continue
            reply = await world.send(attrs.evolve(caller, tok=tok), name, base=emulator.builder)
            if row.role == "public" and name != "device/register" and who == "nobody":
                assert reply.status in (200, 500), (who, reply)
            else:
                assert reply.refusal == NOBODY, (who, tok)


@each_row("name", sorted(name for name, row in BUILDER.items() if row.role != "public"))
async def test_another_builder_account_neither_sees_nor_changes_anything(filled: World, name: str) -> None:
    filled.restore()
    world, emulator = filled, filled.emulator
    emulator.cloud.register_device("FREE000001")
    dimensions: list[dict[str, Any]] = [{}, {"Device": MARKED}]
    emulator.cloud.builder.add_sample(world.marks["metric"], SAMPLE, dimensions, namespace="Embedthis/Device")
    mine, other = world.builder("owner"), world.builder("owner", "another account of the Builder")
    ids = [MARKED, "FREE000001"]

    async def state() -> str:
        return (await world.send(mine, "device/find", base=emulator.builder)).text + str(world.state())

    before = await state()
    assert (
        world.marks["sample"]
        in (await world.send(mine, "metric/fetch", {"items": _items(world)}, base=emulator.builder)).text
    )
    given: list[dict[str, Any]] = [{"id": id} for id in ids]
    given += [{"product": emulator.product_token}, {"productId": emulator.product_token}]
    given += [{"cloudId": emulator.cloud_id}, {"items": _items(world)}, {}]
    given += [body | {"cloudToken": emulator.token, "accountId": world.a, "test": True} for body in given[:2]]
    for body in given:
        reply = await world.send(other, name, body, base=emulator.builder)
        assert reply.status in (200, 400, 403), (body, reply)
        assert _shown(world, name, body, reply.text) == set(), (body, reply)
        assert "FREE000001" not in reply.text or "FREE000001" in str(body)
    assert await state() == before


async def test_a_registration_takes_no_device_from_another_account(filled: World) -> None:
    emulator, before = filled.emulator, filled.state()
    product = emulator.product_token
    caller = Caller("product", {"Authorization": f"bearer {product}"}, tok=False)
    for cloud, account in ((emulator.cloud, filled.b), (emulator.clouds[1], emulator.clouds[1].account_id)):
        body = {"id": MARKED, "product": product, "account": account, "cloud": cloud.id, "model": "changed"}
        reply = await filled.send(caller, "device/register", body, base=emulator.builder)
        assert reply.status == 400 or json.loads(reply.text)["api"] == emulator.api
    after = filled.state()
    assert [device["accountId"] for device in after.pop("devices")["data"]] == [filled.a] * 2
    del before["devices"]  # the device has been in touch
    assert after == before


async def test_the_product_of_another_builder_account_registers_none_of_our_devices(filled: World) -> None:
    emulator, before = filled.emulator, filled.state()
    product = emulator.cloud.builder.add_product("Other", account_id="another account of the Builder")
    caller = Caller("product", {"Authorization": product}, tok=False)
    for body in ({"id": MARKED, "product": product}, {"id": MARKED, "product": emulator.product_token}):
        reply = await filled.send(caller, "device/register", body, base=emulator.builder)
        assert reply.status in (400, 403)
        assert 'token"' not in reply.text
    assert filled.state() == before
