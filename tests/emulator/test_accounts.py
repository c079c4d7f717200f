from typing import Any
from urllib.parse import quote

import pytest

from ioto_async.emulator import Emulator

from .conftest import Post
from .tables import each_row_after_reset

UNKNOWN = (400, "Cannot find account")
RECORD = {"activity", "closed", "cloudId", "created", "email", "id", "name"}


@pytest.fixture
def other(emu: Emulator) -> str:
    return emu.cloud.add_account("Other", "other@ioto.test")


def login(emu: Emulator, role: Any, account_id: str | None = None) -> str:
    return emu.cloud.create_token("login", role=role, account_id=account_id)


async def test_a_record_has_every_documented_member(emu: Emulator, post: Post) -> None:
    emu.cloud.clock = lambda: 1706061837.062
    account = emu.cloud.add_account("Other", "other@ioto.test")
    assert (await post("/tok/account/get", {"id": account})).json == {
        "activity": "2024-01-24T02:03:57.062Z",
        "closed": False,
        "cloudId": emu.cloud_id,
        "created": "2024-01-24T02:03:57.062Z",
        "email": "other@ioto.test",
        "id": account,
        "name": "Other",
    }


async def test_a_login_is_an_activity_of_its_account_and_user(emu: Emulator, post: Post) -> None:
    emu.cloud.clock = lambda: 4102444800.0
    await post.login("/test/ping")
    account = (await post("/tok/account/get", {"id": emu.account_id})).json
    user = (await post("/tok/user/get", {"email": emu.cloud.username})).json
    assert account["activity"] == user["activity"] == "2100-01-01T00:00:00.000Z"
    assert account["created"] < account["activity"]


# get and find


async def test_get_without_members_is_of_the_callers_own_account(emu: Emulator, post: Post) -> None:
    assert (await post.login("/account/get", {})).json["id"] == emu.account_id
    reply = await post("/tok/account/get", {})
    assert (reply.status, reply.text) == (400, "Missing id or email")


async def test_a_cloud_token_gets_any_account_by_id_or_email(emu: Emulator, post: Post, other: str) -> None:
    for body in ({"id": other}, {"email": "OTHER@ioto.test"}, {"id": other, "email": "other@ioto.test"}):
        assert (await post("/tok/account/get", body)).json["id"] == other
    for body in ({"id": "nobody"}, {"id": other, "email": "demo@ioto.test"}):
        assert (await post("/tok/account/get", body)).json == {}


async def test_an_email_of_two_accounts_does_not_tell_which(emu: Emulator, post: Post, other: str) -> None:
    emu.cloud.add_account("Twin", "other@ioto.test")
    reply = await post("/tok/account/get", {"email": "other@ioto.test"})
    assert (reply.status, reply.text) == (400, 'There is more than one account with this "email"; name its "id"')


async def test_an_owner_sees_no_account_but_his_own(emu: Emulator, post: Post, other: str) -> None:
    for body in ({"id": other}, {"email": "other@ioto.test"}):
        reply = await post.login("/account/get", body)
        assert (reply.status, reply.json) == (200, {})
        assert (await post.login("/account/find", body)).json["data"] == []
    assert [each["id"] for each in (await post.login("/account/find", {})).json["data"]] == [emu.account_id]


async def test_only_owners_name_an_account_and_only_admins_find_any(emu: Emulator, post: Post) -> None:
    for role, path, body in (
        ("admin", "/account/get", {"id": emu.account_id}),
        ("admin", "/account/close", {"id": emu.account_id}),
        ("admin", "/account/updateIdentity", {"id": emu.account_id}),
    ):
        reply = await post.login(path, body, token=login(emu, role))
        assert (reply.status, reply.text) == (403, "id needs the role owner")
    reply = await post.login("/account/find", {}, token=login(emu, "user"))
    assert (reply.status, reply.text) == (403, "Access denied")


async def test_accounts_are_listed_in_pages(emu: Emulator, post: Post) -> None:
    ids = [emu.account_id, *(emu.cloud.add_account(f"A{n}", f"a{n}@ioto.test") for n in range(4))]
    found, query = [], ""
    while True:
        reply = (await post(f"/tok/account/find?limit=2{query}", {})).json
        found += [each["id"] for each in reply["data"]]
        if "next" not in reply:
            break
        query = f"&next={quote(reply['next'])}"
    assert found == sorted(ids)
    reply = (await post("/tok/account/find", {"email": "a2@ioto.test"})).json
    assert [each["name"] for each in reply["data"]] == ["A2"]


# updateIdentity


async def test_an_admin_changes_the_identity_of_his_account(emu: Emulator, post: Post, other: str) -> None:
    body = {"name": "New", "email": "new@ioto.test"}
    record = (await post.login("/account/updateIdentity", body, token=login(emu, "admin", other))).json
    assert set(record) == RECORD
    assert (record["id"], record["name"], record["email"]) == (other, "New", "new@ioto.test")
    assert (await post.login("/account/get", {})).json["name"] == "Demo"


async def test_what_is_not_sent_stays(emu: Emulator, post: Post) -> None:
    record = (await post.login("/account/updateIdentity", {"name": "New"})).json
    assert (record["name"], record["email"]) == ("New", "demo@ioto.test")


async def test_a_cloud_token_names_the_account_that_it_changes(post: Post, other: str) -> None:
    assert (await post("/tok/account/updateIdentity", {"id": other, "name": "New"})).json["name"] == "New"
    assert (await post("/tok/account/updateIdentity", {"name": "New"})).text == "Missing id"
    reply = await post("/tok/account/updateIdentity", {"id": "nobody", "name": "New"})
    assert (reply.status, reply.text) == UNKNOWN


async def test_an_owner_changes_no_other_account(emu: Emulator, post: Post, other: str) -> None:
    for path in ("/account/updateIdentity", "/account/close"):
        reply = await post.login(path, {"id": other, "name": "New"})
        assert (reply.status, reply.text) == UNKNOWN
    record = (await post("/tok/account/get", {"id": other})).json
    assert (record["name"], record["closed"]) == ("Other", False)


@each_row_after_reset(
    "body",
    [{"email": "x"}, {"email": "a@b c.test"}, {"email": "@b.test"}, {"name": ""}, {"name": None}, {"email": None}],
)
async def test_an_identity_that_cannot_be_is_refused(post: Post, body: dict[str, str | None]) -> None:
    reply = await post.login("/account/updateIdentity", body)
    assert reply.status == 400
    assert f'"{next(iter(body))}"' in reply.text


# create


async def test_a_new_account_has_an_owner(emu: Emulator, post: Post) -> None:
    reply = (await post("/tok/account/create", {"name": "New", "email": "new@ioto.test"})).json
    assert set(reply) == {"account", "user"}
    assert set(reply["account"]) == RECORD
    assert reply["user"]["accountId"] == reply["account"]["id"]
    assert (reply["user"]["role"], reply["user"]["email"]) == ("owner", "new@ioto.test")
    reply = await post("/tok/account/create", {"name": "Newer", "email": "NEW@ioto.test"})
    assert (reply.status, reply.text) == (400, "There is already a user with this email")
    assert (await post("/tok/account/find", {"email": "new@ioto.test"})).json["data"][0]["name"] == "New"


# close


@pytest.fixture
async def full(emu: Emulator, post: Post, other: str) -> str:
    """An account with something of everything."""
    emu.cloud.add_user("eve@ioto.test", role="owner", account_id=other)
    emu.cloud.register_device("DEV0000001")
    emu.cloud.claim_device("DEV0000001", other)
    emu.cloud.add_alert("Hot", "It is hot", account_id=other)
    for path, body in (
        ("dashboard/create", {"name": "Board"}),
        ("file/put", {"filename": "a.txt", "data": "aGVsbG8="}),
    ):
        assert (await post(f"/tok/{path}", {"accountId": other} | body)).status == 200
    return other


async def test_a_closed_account_has_nothing_left(emu: Emulator, post: Post, full: str) -> None:
    token = login(emu, "admin", full)
    device = emu.cloud.create_token("device", device_id="DEV0000001")
    assert (await post.login("/account/close", {}, token=token)).status == 200
    assert emu.cloud.device("DEV0000001") is None
    for path, bearer in (("/tok/device/provision", device), ("/account/get", token)):
        reply = await post(path, {"id": "DEV0000001"}, token=bearer, headers={"Origin": emu.origin})
        assert (reply.status, reply.text) == (403, "Authentication failed")
    with emu.cloud.lock:
        cloud = emu.cloud
        assert cloud.users.of_account(full) == []
        for part in (cloud.dashboards, cloud.alerts):
            assert part.find(full, {})["data"] == []
        assert cloud.files.find(full, {}, {})["data"] == []
    assert (await post.register(id="DEV0000001")).text == '{"registered":true}'


async def test_other_accounts_outlive_one_that_is_closed(emu: Emulator, post: Post, full: str) -> None:
    emu.cloud.register_device("DEV0000002")
    emu.cloud.claim_device("DEV0000002")
    emu.cloud.close_account(full)
    assert (await post.login("/device/get", {"id": "DEV0000002"})).status == 200
    assert (await post.login("/user/get", {})).json["email"] == emu.cloud.username


async def test_the_record_of_a_closed_account_is_seen_by_cloud_tokens_alone(
    emu: Emulator, post: Post, other: str
) -> None:
    await post("/tok/account/close", {"id": other})
    assert (await post("/tok/account/get", {"id": other})).json["closed"] is True
    assert other in [each["id"] for each in (await post("/tok/account/find", {})).json["data"]]
    own = emu.account_id
    await post.login("/account/close", {})
    assert (await post("/tok/account/get", {"id": own})).json["closed"] is True


async def test_a_closed_account_can_be_used_for_nothing(emu: Emulator, post: Post, other: str) -> None:
    emu.cloud.close_account(other)
    emu.cloud.register_device("DEV0000001")
    for path, body in (
        ("account/close", {"id": other}),
        ("account/updateIdentity", {"id": other, "name": "New"}),
        ("device/claim", {"id": "DEV0000001", "accountId": other}),
        ("user/create", {"email": "eve@ioto.test", "role": "user", "accountId": other}),
        ("user/find", {"accountId": other}),
        ("generic/find", {"_type": "Device", "accountId": other}),
    ):
        reply = await post(f"/tok/{path}", body)
        assert (reply.status, reply.text) == UNKNOWN, path


async def test_a_cloud_token_closes_no_account_that_it_does_not_name(emu: Emulator, post: Post) -> None:
    reply = await post("/tok/account/close", {})
    assert (reply.status, reply.text) == (400, "Missing id")
    assert emu.cloud.has_account(emu.account_id)
