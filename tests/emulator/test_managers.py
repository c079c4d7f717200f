from typing import Any

import aiohttp

from ioto_async.emulator import Emulator

from .conftest import Post
from .tables import each_row_after_reset

FIELDS = {
    *("accountId", "certArn", "cloudFront", "cloudId", "custom", "distributionId", "domain", "error", "id", "name"),
    *("owner", "priorDomain", "provisioned", "region", "title", "type", "users", "version", "display"),
}
NONE = (400, "Cannot find manager")


async def get(post: Post, **body: object) -> dict[str, Any]:
    record: dict[str, Any] = (await post("/tok/manager/get", body)).json
    return record


async def test_a_cloud_has_an_app_with_all_documented_members(emu: Emulator, post: Post) -> None:
    record = await get(post)
    assert record.keys() == FIELDS
    assert (record["accountId"], record["owner"]) == (emu.account_id, emu.account_id)
    assert (record["cloudId"], record["domain"]) == (emu.cloud_id, emu.origin)
    assert await get(post, id=record["id"]) == record


async def test_the_cloud_itself_can_look_at_its_app(emu: Emulator, post: Post) -> None:
    record = await get(post)
    with emu.cloud.lock:
        assert emu.cloud.managers.get() == record
        assert emu.cloud.managers.get("X") is None


async def test_an_update_sets_what_is_named_alone(emu: Emulator, post: Post) -> None:
    before = await get(post)
    changes = {
        "custom": True,
        "domain": "things.example.test",
        "name": "Things",
        "priorDomain": "old.example.test",
        "region": "eu-west-1",
        "title": "My things",
        "users": ["ada@ioto.test"],
        "version": "1.2.3",
        "versionCurrent": "1.2.2",
    }
    body = {"id": before["id"], "cloudId": emu.cloud_id, "display": "x", "type": "y", "accountId": emu.account_id}
    assert (await post("/tok/manager/update", body | changes)).json == before | changes
    assert await get(post) == before | changes


async def test_without_an_id_the_own_app_is_updated(post: Post) -> None:
    assert (await post("/tok/manager/update", {"title": "New"})).json["title"] == "New"
    assert (await get(post))["name"] == "Demo"


async def test_a_member_that_is_null_is_removed(emu: Emulator, post: Post) -> None:
    before = await get(post)
    body = {"title": None, "priorDomain": None, "domain": None, "users": None, "cloudId": None}
    after = (await post("/tok/manager/update", body)).json
    assert after == {name: value for name, value in before.items() if name not in body or name == "cloudId"}
    record = (await post("/tok/manager/update", {"domain": "a.test"})).json
    assert (record["domain"], record.get("priorDomain")) == ("a.test", None)


async def test_a_new_domain_makes_the_present_one_the_prior_one(emu: Emulator, post: Post) -> None:
    await post("/tok/manager/update", {"domain": "a.test"})
    record = (await post("/tok/manager/update", {"domain": "a.test", "title": "x"})).json
    assert (record["domain"], record["priorDomain"]) == ("a.test", emu.origin)


async def test_an_owner_is_named_by_the_address_of_a_user_or_of_an_account(emu: Emulator, post: Post) -> None:
    other = emu.cloud.add_account("Other", "other@ioto.test")
    emu.cloud.add_user("ada@ioto.test", account_id=emu.account_id)
    for owner, account_id in (("other@ioto.test", other), ("ADA@ioto.test", emu.account_id), (other, other)):
        assert (await post("/tok/manager/update", {"owner": owner})).json["owner"] == account_id
    reply = await post("/tok/manager/update", {"owner": "nobody@ioto.test"})
    assert (reply.status, reply.text) == (400, "Cannot find account")


async def test_whoever_signed_in_names_his_own_account_as_the_owner_alone(emu: Emulator, post: Post) -> None:
    other = emu.cloud.add_account("Other", "other@ioto.test")
    emu.cloud.add_user("eve@ioto.test", account_id=other)
    emu.cloud.add_user("ada@ioto.test", account_id=emu.account_id)
    for owner in ("ada@ioto.test", emu.cloud.username, emu.account_id):
        assert (await post.login("/manager/update", {"owner": owner})).json["owner"] == emu.account_id
    # Another account looks the same as none.
    for owner in ("other@ioto.test", "eve@ioto.test", other, "nobody@ioto.test"):
        reply = await post.login("/manager/update", {"owner": owner})
        assert (reply.status, reply.text) == (400, "Cannot find account")
        assert other not in reply.text
    assert (await get(post))["owner"] == emu.account_id


async def test_a_closed_account_owns_no_app(emu: Emulator, post: Post) -> None:
    closed = emu.cloud.add_account("Closed", "other@ioto.test")
    emu.cloud.close_account(closed)
    for owner in ("other@ioto.test", closed):
        assert (await post("/tok/manager/update", {"owner": owner})).text == "Cannot find account"
    again = emu.cloud.add_account("Again", "other@ioto.test")
    assert (await post("/tok/manager/update", {"owner": "other@ioto.test"})).json["owner"] == again


async def test_the_display_is_replaced(emu: Emulator, post: Post) -> None:
    before = await get(post)
    reply = await post("/tok/manager/updateDisplay", {"cloudId": emu.cloud_id, "display": "{pages: []}"})
    assert reply.json == before | {"display": "{pages: []}"}


@each_row_after_reset("path", ["update", "updateDisplay"])
async def test_the_app_of_another_cloud_is_not_changed(post: Post, path: str) -> None:
    reply = await post(f"/tok/manager/{path}", {"cloudId": "another", "title": "x", "display": "x"})
    assert (reply.status, reply.text) == (400, "Cannot find cloud")


async def test_provisioning_is_dated(emu: Emulator, post: Post) -> None:
    before = await get(post)
    emu.cloud.clock = lambda: 4_102_444_800.0
    reply = await post("/tok/manager/provision", {"id": before["id"]})
    assert reply.json == before | {"provisioned": "2100-01-01T00:00:00.000Z"}
    assert (await post("/tok/manager/provision", {})).text == "Missing id"


async def test_an_app_that_is_not_there_is_none(post: Post) -> None:
    assert await get(post, id="X") == {}
    for path in ("getSignedUrl", "provision", "update", "updateDisplay"):
        reply = await post(f"/tok/manager/{path}", {"id": "X", "filename": "a", "display": "x"})
        assert (reply.status, reply.text) == NONE


async def test_the_app_is_nothing_to_another_account(emu: Emulator, post: Post) -> None:
    manager_id = (await get(post))["id"]
    token = emu.cloud.create_token("login", account_id=emu.cloud.add_account("Other", "other@ioto.test"))
    assert (await post.login("/manager/get", {}, token=token)).json == {}
    for path in ("getSignedUrl", "provision", "update", "updateDisplay"):
        body = {"id": manager_id, "filename": "a", "display": "x", "title": "x"}
        reply = await post.login(f"/manager/{path}", body, token=token)
        assert (reply.status, reply.text) == NONE
    assert (await post.login("/manager/get", {})).json["id"] == manager_id


async def signed(post: Post, command: str, filename: str, **more: object) -> str:
    reply = await post("/tok/manager/getSignedUrl", {"command": command, "filename": filename} | more)
    assert reply.status == 200, reply.text
    url: str = reply.json
    return url


async def test_the_files_of_an_app_are_its_own_and_can_be_cleaned(emu: Emulator, post: Post) -> None:
    async with aiohttp.ClientSession() as session:

        async def status(command: str, filename: str, **more: object) -> int:
            url = await signed(post, command, filename, **more)
            async with session.request(command, url, data=b"<html>" if command == "put" else None) as reply:
                return reply.status

        assert await status("put", "index.html") == 200
        assert await status("get", "index.html") == 200
        assert (await post("/tok/file/list", {})).json["data"] == []
        assert await status("put", "app.js", clean=True) == 200
        assert await status("get", "app.js") == 200
        assert await status("get", "index.html") == 404


async def test_a_url_that_cannot_be_signed_cleans_nothing(emu: Emulator, post: Post) -> None:
    manager_id = (await get(post))["id"]
    with emu.cloud.lock:
        emu.cloud.files.put(manager_id, "index.html", None, b"x")
    reply = await post("/tok/manager/getSignedUrl", {"filename": "../x", "clean": True})
    assert reply.status == 400
    with emu.cloud.lock:
        assert emu.cloud.files.get(manager_id, "index.html") is not None
