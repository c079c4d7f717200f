from typing import Any
from urllib.parse import urlencode

import pytest

from ioto_async.emulator import Emulator
from ioto_async.emulator.state.tokens import Role

from .conftest import Post, Reply
from .tables import each_row_after_reset

DEVICE = "DEV0000001"
NOW = 1_700_000_000


class Generic:
    """Generic calls with the CloudAPI token, for the claimed device of the cloud's own account."""

    def __init__(self, emu: Emulator, post: Post) -> None:
        self._post = post
        self.owner = {"accountId": emu.account_id, "deviceId": DEVICE}

    async def __call__(self, action: str, body: dict[str, Any], query: str = "") -> Reply:
        return await self._post(f"/tok/generic/{action}{query}", {**self.owner, **body})

    async def store(self, key: str, value: object = 1) -> Reply:
        return await self("create", {"_type": "Store", "key": key, "value": value, "type": "number"})


SPEED = {"_type": "Store", "key": "speed", "value": 5, "type": "number"}


def claim(emu: Emulator) -> None:
    emu.cloud.clock = lambda: NOW
    emu.cloud.register_device(DEVICE)
    emu.cloud.claim_device(DEVICE)


@pytest.fixture
def generic(emu: Emulator, post: Post) -> Generic:
    claim(emu)
    return Generic(emu, post)


@pytest.fixture
def item(generic: Generic) -> dict[str, Any]:
    return {**generic.owner, **SPEED}


def refused(reply: Reply) -> str:
    assert reply.status == 400
    assert reply.headers["Content-Type"].startswith("text/plain")
    return reply.text


async def test_create_replies_with_the_bare_record(generic: Generic, item: dict[str, Any]) -> None:
    reply = await generic("create", item)
    assert reply.status == 200
    assert reply.json == {**item, "updated": "2023-11-14T22:13:20.000Z"}


async def test_get_replies_with_the_bare_record(generic: Generic, item: dict[str, Any]) -> None:
    created = await generic("create", item)
    assert (await generic("get", {"_type": "Store", "key": "speed"})).json == created.json


async def test_get_of_nothing_is_an_empty_object(generic: Generic) -> None:
    reply = await generic("get", {"_type": "Store", "key": "speed"})
    assert (reply.status, reply.text) == (200, "{}")


async def test_find_replies_with_pages(generic: Generic) -> None:
    for key in "abc":
        await generic.store(key)
    first = (await generic("find", {"_type": "Store"}, "?limit=2")).json
    assert first.keys() == {"data", "paged", "next"}
    query = urlencode({"limit": 2, "next": first["next"]})
    second = (await generic("find", {"_type": "Store"}, f"?{query}")).json
    assert second.keys() == {"data", "paged", "prev"}
    assert [record["key"] for record in first["data"] + second["data"]] == ["a", "b", "c"]


async def test_a_page_back_is_in_forward_order(generic: Generic) -> None:
    for key in "abc":
        await generic.store(key)
    first = (await generic("find", {"_type": "Store"}, "?limit=2")).json
    second = (await generic("find", {"_type": "Store"}, "?" + urlencode({"next": first["next"]}))).json
    query = urlencode({"limit": 2, "prev": second["prev"]})
    assert (await generic("find", {"_type": "Store"}, f"?{query}")).json["data"] == first["data"]


async def test_a_find_may_have_a_filter(generic: Generic) -> None:
    for key in ("fast", "slow"):
        await generic.store(key)
    page = (await generic("find", {"_type": "Store"}, "?filter=key%3Dslow")).json
    assert [record["key"] for record in page["data"]] == ["slow"]


async def test_update_changes_the_item(generic: Generic) -> None:
    await generic.store("speed", 5)
    reply = await generic("update", {"_type": "Store", "key": "speed", "value": 6})
    assert reply.json["value"] == 6


@each_row_after_reset("query", ["?exists", "?exists=", "?exists=null"], before=claim)
async def test_update_makes_the_item_if_exists_is_null(generic: Generic, item: dict[str, Any], query: str) -> None:
    assert (await generic("update", item, query)).status == 200
    assert (await generic("update", {**item, "value": 6}, query)).json["value"] == 6


async def test_exists_may_be_turned_round(generic: Generic, item: dict[str, Any]) -> None:
    assert refused(await generic("create", item, "?exists=true")).endswith("does not exist")
    await generic("create", item)
    assert refused(await generic("update", item, "?exists=false")).endswith("exists")


async def test_remove_takes_the_item_away(generic: Generic) -> None:
    await generic.store("speed")
    assert (await generic("remove", {"_type": "Store", "key": "speed"})).status == 200
    assert (await generic("get", {"_type": "Store", "key": "speed"})).json == {}


async def test_remove_of_nothing_is_fine(generic: Generic) -> None:
    assert (await generic("remove", {"_type": "Store", "key": "speed"})).status == 200


@each_row_after_reset("value", [2**63 - 1, -(2**63), "ß→😀\0", [[], {}, None, {"": []}], 0.1, False], before=claim)
async def test_a_value_travels_exactly(generic: Generic, value: object) -> None:
    await generic.store("speed", value)
    assert (await generic("get", {"_type": "Store", "key": "speed"})).json["value"] == value


@each_row_after_reset(
    "action, body, query, text",
    [
        ("update", SPEED, "", 'Cannot update "Store": the item does not exist'),
        ("create", SPEED, "?exists=true", 'Cannot create "Store": the item does not exist'),
        ("create", SPEED, "?exists=maybe", 'Bad value for "exists": maybe'),
        (
            "remove",
            {"_type": "Store", "key": "speed"},
            "?exists=true",
            'Cannot remove "Store": the item does not exist',
        ),
        ("find", {"_type": "Stores"}, "", 'Cannot find model "Stores"'),
        *(
            (action, {"_type": "Metric"}, "", 'Model "Metric" is written by the cloud alone')
            for action in ("create", "update", "remove")
        ),
        ("find", {"_type": "Store", "deviceId": "DEV0000002"}, "", "Cannot find device"),
    ],
    before=claim,
)
async def test_what_cannot_be_is_refused_with_the_reason(
    generic: Generic, action: str, body: dict[str, Any], query: str, text: str
) -> None:
    assert refused(await generic(action, body, query)) == text


async def test_a_device_of_another_account_is_not_found(emu: Emulator, generic: Generic) -> None:
    emu.cloud.register_device("DEV0000002")
    emu.cloud.claim_device("DEV0000002", emu.cloud.add_account("Other", "other@ioto.test"))
    reply = await generic("find", {"_type": "Store", "deviceId": "DEV0000002"})
    assert refused(reply) == "Cannot find device"


async def test_a_cloud_token_must_name_the_account(generic: Generic, post: Post) -> None:
    reply = await post("/tok/generic/find", {"_type": "Store", "deviceId": DEVICE})
    assert refused(reply) == 'Missing "accountId" for the key of "Store"'


async def test_an_account_with_the_sign_of_keys_is_refused(generic: Generic) -> None:
    reply = await generic("find", {"_type": "Device", "accountId": f"{generic.owner['accountId']}#"})
    assert refused(reply) in ("Cannot find account", "Cannot find device")


async def test_a_login_acts_for_its_own_account(generic: Generic, post: Post) -> None:
    await generic.store("speed")
    reply = await post.login("/generic/get", {"_type": "Store", "deviceId": DEVICE})
    assert reply.json["key"] == "speed"


async def test_a_login_sees_nothing_of_another_account(emu: Emulator, generic: Generic, post: Post) -> None:
    other = emu.cloud.add_account("Other", "other@ioto.test")
    token = emu.cloud.create_token("login", account_id=other)
    await generic("create", {"_type": "Device", "id": DEVICE})
    page = await post.login("/generic/find", {"_type": "Device"}, token=token)
    assert page.json["data"] == []


# Who may read a Store


SECRET = {"key": "secret", "value": 42, "type": "number", "role": "admin"}


async def keep_secret(generic: Generic) -> dict[str, Any]:
    """Write a Store for admins as the cloud's owner, and return it."""
    return dict((await generic("create", {"_type": "Store", **SECRET})).json)


@pytest.fixture
async def secret(generic: Generic) -> dict[str, Any]:
    return await keep_secret(generic)


async def as_role(emu: Emulator, post: Post, who: Any, action: str, query: str = "", **body: object) -> Reply:
    token = emu.cloud.create_token("login", role=who)
    return await post.login(f"/generic/{action}{query}", {"_type": "Store", "deviceId": DEVICE} | body, token=token)


@each_row_after_reset("role, read", [("user", False), ("admin", True), ("owner", True)], before=claim)
async def test_a_store_is_read_by_its_role_alone(
    emu: Emulator, generic: Generic, post: Post, role: str, read: bool
) -> None:
    secret = await keep_secret(generic)
    await generic.store("speed")
    assert (await as_role(emu, post, role, "get", key="secret")).json == (secret if read else {})
    for query in ("", "?limit=1", "?filter=e"):
        found = (await as_role(emu, post, role, "find", query)).json["data"]
        assert (secret in found) is read
    assert (await as_role(emu, post, role, "get", key="speed")).json["value"] == 1
    # With a part of the key all that may be read count, and nothing else.
    whole = (await as_role(emu, post, role, "get", value=42)).json
    assert whole == (secret if read else {})


async def test_a_page_is_full_of_what_may_be_read(emu: Emulator, generic: Generic, post: Post) -> None:
    for key in "abcdef":
        await generic("create", {"_type": "Store", "key": key, "value": 1, "type": "number", "role": "admin"})
        await generic.store(f"{key}2")
    page = (await as_role(emu, post, "user", "find", "?limit=4")).json
    assert [record["key"] for record in page["data"]] == ["a2", "b2", "c2", "d2"]
    rest = (await as_role(emu, post, "user", "find", "?" + urlencode({"limit": 4, "next": page["next"]}))).json
    assert [record["key"] for record in rest["data"]] == ["e2", "f2"]


@each_row_after_reset(
    "action, query", [("update", ""), ("update", "?exists"), ("create", "?exists"), ("remove", "")], before=claim
)
async def test_a_store_that_may_not_be_read_is_not_written_either(
    emu: Emulator, generic: Generic, post: Post, action: str, query: str
) -> None:
    secret = await keep_secret(generic)
    body = {"key": "secret"} | ({"value": 1, "type": "number", "role": None} if action != "remove" else {})
    reply = await as_role(emu, post, "user", action, query, **body)
    assert (reply.status, reply.text) == (403, f'Cannot {action} "Store": the item needs the role admin')
    assert (await generic("get", {"_type": "Store", "key": "secret"})).json == secret
    assert (await as_role(emu, post, "admin", action, query, **body)).status == 200


async def test_a_metric_of_the_database_has_what_may_be_read_alone(
    emu: Emulator, post: Post, secret: dict[str, Any]
) -> None:
    item = {"namespace": "Database", "model": "Store", "field": "value", "statistic": "current"}
    roles: tuple[tuple[Role, int], ...] = (("user", 0), ("admin", 1))
    for role, count in roles:
        token = emu.cloud.create_token("login", role=role)
        reply = await post.login("/metric/fetch", {"deviceId": DEVICE, "items": [item]}, token=token)
        assert len(reply.json["data"][0]["points"]) == count


async def test_a_member_called_role_means_nothing_in_another_model(emu: Emulator, generic: Generic, post: Post) -> None:
    keys = {"pk": {"type": "string", "value": "part#${accountId}"}, "sk": {"type": "string", "value": "part#${id}"}}
    members = {name: {"type": "string"} for name in ("accountId", "id", "role")}
    with emu.cloud.lock:
        emu.cloud.models.add_model("Part", keys | members)
    await generic("create", {"_type": "Part", "id": "1", "role": "wheel"})
    token = emu.cloud.create_token("login", role="user")
    found = await post.login("/generic/find", {"_type": "Part"}, token=token)
    assert [part["role"] for part in found.json["data"]] == ["wheel"]


async def test_a_device_item_is_found_by_device_id_as_in_the_vendors_example(generic: Generic) -> None:
    await generic("create", {"_type": "Device", "id": DEVICE, "name": "Lamp"})
    assert (await generic("get", {"_type": "Device"})).json["name"] == "Lamp"


async def test_an_added_model_is_served(emu: Emulator, generic: Generic, post: Post) -> None:
    definition = {
        "pk": {"type": "string", "value": "fault#${accountId}"},
        "sk": {"type": "string", "value": "fault#${id}"},
        "accountId": {"type": "string"},
        "id": {"type": "string", "generate": "ulid"},
        "temperature": {"type": "number"},
    }
    emu.cloud.models.add_model("Fault", definition)
    assert (await generic("create", {"_type": "Fault", "temperature": 90})).json["temperature"] == 90
    schema = (await post("/tok/metric/getDeviceSchema", {})).json
    assert schema["models"]["Fault"]["temperature"] == {"type": "number"}


async def test_items_outlive_the_server(tmp_path: Any) -> None:
    async with Emulator(db=tmp_path / "cloud.db") as emu:
        members = {"accountId": emu.account_id, "deviceId": DEVICE, "key": "speed"}
        emu.cloud.models.create("Store", {**members, "value": 5, "type": "number"})
    async with Emulator(db=tmp_path / "cloud.db") as emu:
        record = emu.cloud.models.get("Store", members)
        assert record is not None
        assert record["value"] == 5
