from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

from ioto_async.emulator import Emulator

from .conftest import Post, Reply
from .tables import each_row_after_reset

UNKNOWN = (400, "Cannot find user")
EMAIL, PASSWORD = "ada@ioto.test", "Secret-123"


@pytest.fixture
def other(emu: Emulator) -> str:
    return emu.cloud.add_account("Other", "other@ioto.test")


def login(emu: Emulator, role: Any, account_id: str | None = None) -> str:
    return emu.cloud.create_token("login", role=role, account_id=account_id)


def signed_in(emu: Emulator, email: str = EMAIL) -> str:
    """Return the access token of an identity that is no user yet."""
    return emu.cloud.tokens.create("login", identity_id=emu.cloud.sign_up(email, PASSWORD))


# create, find and get


async def test_a_record_has_the_documented_members_and_no_null(emu: Emulator, post: Post) -> None:
    record = (await post("/tok/user/create", {"email": EMAIL, "role": "admin"})).json
    assert set(record) == {"accountId", "activity", "cloudId", "email", "id", "role"}
    assert record["accountId"] == emu.account_id
    assert record["cloudId"] == emu.cloud_id
    body = {"id": record["id"], "first": "Ada", "last": "Lovelace", "preferences": {"theme": "dark"}}
    updated = (await post("/tok/user/update", body)).json
    assert updated == record | body


async def test_a_member_that_is_null_is_removed(emu: Emulator, post: Post) -> None:
    record = (await post("/tok/user/create", {"email": EMAIL, "role": "admin"})).json
    named = {"id": record["id"], "first": "Ada", "last": "Lovelace", "preferences": {"theme": "dark"}}
    await post("/tok/user/update", named)
    updated = (await post("/tok/user/update", {"id": record["id"], "first": None, "preferences": None})).json
    assert updated == record | {"last": "Lovelace"}
    reply = await post("/tok/user/update", {"id": record["id"], "email": None})
    assert (reply.status, reply.text) == (400, 'Validation error in "User" for "email": required')
    assert (await post("/tok/user/updateRole", {"id": record["id"], "role": None})).status == 400


async def test_a_login_creates_users_of_its_own_account(emu: Emulator, post: Post, other: str) -> None:
    token = login(emu, "admin", other)
    record = (await post.login("/user/create", {"email": EMAIL, "role": "user"}, token=token)).json
    assert record["accountId"] == other


@each_row_after_reset(
    "body, text",
    [
        ({"email": EMAIL}, "Missing role"),
        ({"role": "user"}, "Missing email"),
        ({"email": EMAIL, "role": "super"}, 'Bad value for "role": super is not user, admin or owner'),
        ({"email": "x", "role": "user"}, 'Bad value for "email": not an address'),
        ({"email": "a\nb@c.test", "role": "user"}, 'Bad value for "email": not an address'),
        ({"email": "DEMO@ioto.test", "role": "user"}, "There is already a user with this email"),
        ({"email": EMAIL, "role": "user", "accountId": "nobody"}, "Cannot find account"),
    ],
)
async def test_a_user_that_cannot_be_is_refused(post: Post, body: dict[str, str], text: str) -> None:
    reply = await post("/tok/user/create", body)
    assert (reply.status, reply.text) == (400, text)
    assert len((await post("/tok/user/find", {})).json["data"]) == 1


async def test_nobody_gives_a_role_above_his_own(emu: Emulator, post: Post) -> None:
    token = login(emu, "admin")
    user = emu.cloud.add_user(EMAIL)
    for path, body in (
        ("/user/create", {"email": "eve@ioto.test", "role": "owner"}),
        ("/user/updateRole", {"id": user, "role": "owner"}),
    ):
        reply = await post.login(path, body, token=token)
        assert (reply.status, reply.text) == (403, "role owner is above the caller's own")
        assert (await post.login(path, body | {"role": "admin"}, token=token)).status == 200


async def test_an_admin_has_no_say_over_an_owner(emu: Emulator, post: Post) -> None:
    token = login(emu, "admin")
    owner = (await post.login("/user/get", {})).json["id"]
    for path in ("/user/remove", "/user/update", "/user/updateRole"):
        reply = await post.login(path, {"id": owner, "role": "user", "first": "Eve"}, token=token)
        assert reply.status == 403
    record = (await post.login("/user/get", {})).json
    assert (record["role"], "first" in record) == ("owner", False)


async def test_get_without_members_is_of_the_caller(emu: Emulator, post: Post) -> None:
    user = emu.cloud.add_user(EMAIL)
    token = emu.cloud.create_token("login", user_id=user)
    assert (await post.login("/user/get", {}, token=token)).json["id"] == user
    reply = await post("/tok/user/get", {})
    assert (reply.status, reply.text) == (400, "Missing id or email")


async def test_a_user_is_got_by_id_or_email(emu: Emulator, post: Post) -> None:
    user = emu.cloud.add_user(EMAIL)
    for body in ({"id": user}, {"email": EMAIL.upper()}, {"id": user, "email": EMAIL}):
        assert (await post.login("/user/get", body)).json["id"] == user
        assert (await post("/tok/user/get", body)).json["id"] == user
    for body in ({"id": "nobody"}, {"id": user, "email": "demo@ioto.test"}):
        reply = await post("/tok/user/get", body)
        assert (reply.status, reply.json) == (200, {})


async def test_a_plain_user_may_list_users_but_name_none(emu: Emulator, post: Post) -> None:
    token = login(emu, "user")
    assert len((await post.login("/user/find", {}, token=token)).json["data"]) == 2
    for path in ("/user/get", "/user/find"):
        for name in ("id", "email"):
            reply = await post.login(path, {name: "x"}, token=token)
            assert (reply.status, reply.text) == (403, f"{name} needs the role admin")


async def test_users_of_another_account_look_the_same_as_none(emu: Emulator, post: Post, other: str) -> None:
    user = emu.cloud.add_user(EMAIL, account_id=other)
    assert (await post.login("/user/get", {"id": user})).json == {}
    assert (await post.login("/user/find", {"email": EMAIL})).json["data"] == []
    for path in ("/user/remove", "/user/update", "/user/updateRole"):
        reply = await post.login(path, {"id": user, "role": "user"})
        assert (reply.status, reply.text) == UNKNOWN
    assert (await post.login("/user/find", {"accountId": other})).status == 403
    assert (await post("/tok/user/get", {"id": user, "accountId": emu.account_id})).json == {}
    assert (await post("/tok/user/get", {"id": user})).json["id"] == user


async def test_users_are_listed_in_pages(emu: Emulator, post: Post, other: str) -> None:
    ids = [emu.cloud.add_user(f"u{number}@ioto.test", account_id=other) for number in range(5)]
    found, query = [], ""
    while True:
        reply = (await post(f"/tok/user/find?limit=2{query}", {"accountId": other})).json
        found += [each["id"] for each in reply["data"]]
        if "next" not in reply:
            break
        query = f"&next={quote(reply['next'])}"
    assert found == sorted(ids)
    assert len((await post("/tok/user/find", {})).json["data"]) == 6


# Changes


async def test_a_user_changes_himself(emu: Emulator, post: Post) -> None:
    user = emu.cloud.add_user(EMAIL)
    token = emu.cloud.create_token("login", user_id=user)
    body = {"first": "Ada", "preferences": {"a": [1, None]}}
    assert (await post.login("/user/update", body, token=token)).json["first"] == "Ada"
    record = (await post.login("/user/update", {"id": user, "last": "L"}, token=token)).json
    assert (record["first"], record["last"], record["preferences"]) == ("Ada", "L", {"a": [1, None]})


async def test_only_an_admin_changes_others(emu: Emulator, post: Post) -> None:
    user = emu.cloud.add_user(EMAIL)
    reply = await post.login("/user/update", {"id": user, "first": "Eve"}, token=login(emu, "user"))
    assert reply.status == 200  # the first user of that role is this one
    eve = emu.cloud.create_token("login", user_id=emu.cloud.add_user("eve@ioto.test"))
    reply = await post.login("/user/update", {"id": user, "first": "Bob"}, token=eve)
    assert (reply.status, reply.text) == (403, "Access denied")
    reply = await post.login("/user/update", {"id": user, "first": "Bob"}, token=login(emu, "admin"))
    assert reply.json["first"] == "Bob"


async def test_a_cloud_token_names_the_user_that_it_changes(emu: Emulator, post: Post) -> None:
    for path in ("update", "updateRole"):
        assert (await post(f"/tok/user/{path}", {"role": "user"})).text == "Missing id"
    assert (await post("/tok/user/remove", {})).text == "Missing id or email"


async def test_another_address_is_also_what_the_user_signs_in_with(emu: Emulator, post: Post) -> None:
    user = emu.cloud.add_user(EMAIL, password=PASSWORD)
    assert (await post("/tok/user/update", {"id": user, "email": "new@ioto.test"})).json["email"] == "new@ioto.test"
    with emu.cloud.lock:
        assert emu.cloud.identities.of_email(EMAIL) is None
        assert emu.cloud.identities.of_email("new@ioto.test") == emu.cloud.users.load(user).identity_id


async def test_an_address_that_is_taken_is_refused(emu: Emulator, post: Post) -> None:
    user = emu.cloud.add_user(EMAIL, password=PASSWORD)
    emu.cloud.sign_up("eve@ioto.test", PASSWORD)
    for email in ("DEMO@ioto.test", "eve@ioto.test", "x"):
        assert (await post("/tok/user/update", {"id": user, "email": email})).status == 400
    assert (await post("/tok/user/get", {"id": user})).json["email"] == EMAIL


async def test_a_role_holds_from_the_next_call_on(emu: Emulator, post: Post) -> None:
    user = emu.cloud.add_user(EMAIL)
    token = emu.cloud.create_token("login", user_id=user)
    assert (await post.login("/user/getRoles", {}, token=token)).status == 403
    record = (await post.login("/user/updateRole", {"id": user, "role": "admin"})).json
    assert (record["id"], record["role"]) == (user, "admin")
    assert (await post.login("/user/getRoles", {}, token=token)).status == 200
    await post.login("/user/updateRole", {"id": user, "role": "user"})
    assert (await post.login("/user/getRoles", {}, token=token)).status == 403


@each_row_after_reset("name", ["id", "email"])
async def test_a_removed_user_is_nobody_at_once(emu: Emulator, post: Post, name: str) -> None:
    user = emu.cloud.add_user(EMAIL, password=PASSWORD)
    token = emu.cloud.create_token("login", user_id=user)
    assert (await post.login("/user/remove", {name: {"id": user, "email": EMAIL}[name]})).status == 200
    reply = await post.login("/test/ping", token=token)
    assert (reply.status, reply.text) == (403, "Authentication failed")
    reply = await post.login("/user/remove", {"id": user})
    assert (reply.status, reply.text) == UNKNOWN
    # The address is free again.
    emu.cloud.add_user(EMAIL, password=PASSWORD)


async def test_roles_map_to_capabilities(emu: Emulator, post: Post) -> None:
    roles = (await post.login("/user/getRoles", {})).json
    assert set(roles) == {"user", "admin", "owner", "device", "cloud"}
    assert set(roles["user"]) < set(roles["admin"]) < set(roles["owner"]) < set(roles["cloud"])
    assert "claimDevice" in roles["admin"]


# login


async def test_a_login_is_answered_with_what_the_app_needs(emu: Emulator, post: Post) -> None:
    reply = (await post.login("/user/login", {})).json
    assert set(reply) == {"account", "manager", "roles", "schema", "user"}
    assert reply["account"]["id"] == emu.account_id
    assert reply["user"]["email"] == emu.cloud.username
    assert reply["roles"] == emu.cloud.roles
    assert "Store" in reply["schema"]["models"]
    assert reply["manager"]["domain"] == emu.origin


async def test_the_first_login_makes_an_account_with_an_owner(emu: Emulator, post: Post) -> None:
    token = signed_in(emu)
    reply = (await post.login("/user/login", {"register": True}, token=token)).json
    assert (reply["user"]["role"], reply["user"]["email"]) == ("owner", EMAIL)
    assert reply["account"]["email"] == EMAIL
    assert reply["user"]["accountId"] == reply["account"]["id"] != emu.account_id
    again = (await post.login("/user/login", {}, token=token)).json
    assert (again["user"]["id"], again["account"]["id"]) == (reply["user"]["id"], reply["account"]["id"])
    assert (await post.login("/user/get", {}, token=token)).json["id"] == reply["user"]["id"]
    assert len((await post("/tok/account/find", {})).json["data"]) == 2


async def test_a_login_that_shall_not_register_finds_no_user(emu: Emulator, post: Post) -> None:
    token = signed_in(emu)
    reply = await post.login("/user/login", {"register": False}, token=token)
    assert (reply.status, reply.text) == UNKNOWN
    assert len((await post("/tok/account/find", {})).json["data"]) == 1


@each_row_after_reset("email", [EMAIL, EMAIL.upper()])
async def test_whoever_was_added_by_his_address_becomes_that_user(emu: Emulator, post: Post, email: str) -> None:
    user = (await post.login("/user/create", {"email": EMAIL, "role": "admin"})).json["id"]
    token = signed_in(emu, email)
    reply = (await post.login("/user/login", {"register": False}, token=token)).json
    assert (reply["user"]["id"], reply["user"]["role"]) == (user, "admin")
    assert reply["account"]["id"] == emu.account_id
    assert (await post.login("/user/get", {}, token=token)).json["id"] == user


async def test_an_invitation_is_sent_if_told_to_and_again_with_the_same_key(emu: Emulator, post: Post) -> None:
    body = {"email": EMAIL, "role": "user"}
    user = (await post.login("/user/create", body)).json["id"]
    assert emu.cloud.invitations() == {}
    await post.login("/user/updateRole", {"id": user, "sendInvite": True})
    first = emu.cloud.invitations()
    assert list(first) == [EMAIL]
    await post.login("/user/updateRole", {"id": user, "role": "admin", "sendInvite": True})
    assert emu.cloud.invitations() == first
    await post.login("/user/create", {"email": "eve@ioto.test", "role": "user", "sendInvite": True})
    assert emu.cloud.invitations().keys() == {EMAIL, "eve@ioto.test"}


async def test_an_invitation_must_fit_whoever_shows_it(emu: Emulator, post: Post) -> None:
    for email in (EMAIL, "eve@ioto.test"):
        await post.login("/user/create", {"email": email, "role": "user", "sendInvite": True})
    invitations = emu.cloud.invitations()
    token = signed_in(emu)

    async def show(invite: str) -> Reply:
        return await post.login("/user/login", {"invite": invite}, token=token)

    for wrong in ("nobody", invitations["eve@ioto.test"]):
        assert ((await show(wrong)).status, (await show(wrong)).text) == (400, "Cannot find invitation")
    for _ in range(2):
        assert (await show(invitations[EMAIL])).json["user"]["email"] == EMAIL
    assert (await show("nobody")).status == 400


@each_row_after_reset("headers", [{}, {"Origin": "https://evil.test"}])
async def test_a_login_needs_its_origin(emu: Emulator, post: Post, headers: Mapping[str, str]) -> None:
    reply = await post("/user/login", {}, token=signed_in(emu), headers=headers)
    assert (reply.status, reply.text) == (403, "Authentication failed")


async def test_a_login_needs_an_access_token(emu: Emulator, post: Post) -> None:
    for path in ("/user/login", "/tok/user/login"):
        reply = await post(path, {}, token="")
        assert (reply.status, reply.text) == (403, "Authentication failed")
    reply = await post("/tok/user/login", {})
    assert (reply.status, reply.text) == (403, "user/login needs a login access token")


async def test_strangers_are_not_told_who_has_the_app(emu: Emulator, post: Post) -> None:
    own = (await post.login("/user/login", {})).json["manager"]
    others = (await post.login("/user/login", {}, token=signed_in(emu))).json["manager"]
    hidden = {"accountId", "owner", "users", "certArn", "cloudFront", "distributionId", "error"}
    assert set(own) - set(others) == hidden
    assert {"id", "domain", "title", "version"} <= set(others)


# The cloud's methods


async def test_a_user_can_be_added_with_all_that_is_known(emu: Emulator, post: Post, other: str) -> None:
    user = emu.cloud.add_user(EMAIL, role="admin", account_id=other, first="Ada", last="Lovelace")
    record = (await post("/tok/user/get", {"id": user})).json
    assert (record["role"], record["accountId"]) == ("admin", other)
    assert (record["first"], record["last"]) == ("Ada", "Lovelace")
    with pytest.raises(Exception, match="Cannot find account"):
        emu.cloud.add_user("eve@ioto.test", account_id="nobody")


async def test_a_token_for_a_user_who_is_not_there_cannot_be_made(emu: Emulator) -> None:
    with pytest.raises(Exception, match="Cannot find user"):
        emu.cloud.create_token("login", user_id="nobody")
    with pytest.raises(Exception, match="Cannot find account"):
        emu.cloud.create_token("login", account_id="nobody")
