"""The operations of older generations that clients in the field still call."""

import hashlib
from typing import Any

import pytest

from ioto_async.emulator import Emulator
from tests.rows import each_row

from .conftest import Post, Reply


async def test_remove_releases_a_device_and_a_user_may_do_it(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    user = emu.cloud.create_token("login", role="user")
    reply = await post.login("/device/remove", {"id": "DEV0000001"}, token=user)
    assert (reply.status, reply.json["id"]) == (200, "DEV0000001")
    assert emu.cloud.device("DEV0000001") is None
    assert (await post("/tok/device/provision", {"id": "DEV0000001"}, token=token)).status == 403
    assert (await post("/tok/device/claim", {"id": "DEV0000001"})).status == 200


async def test_remove_reaches_no_device_of_another_account(emu: Emulator, post: Post) -> None:
    emu.cloud.register_device("DEV0000001")
    emu.cloud.claim_device("DEV0000001", emu.cloud.add_account("Other", "other@ioto.test"))
    reply = await post.login("/device/remove", {"id": "DEV0000001"})
    assert (reply.status, reply.text) == (400, "Cannot find device")
    assert emu.cloud.device("DEV0000001") is not None


async def test_get_creds_moved_from_provision_to_device(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    old, new = [(await post(f"/tok/{name}/getCreds", token=token)).json for name in ("provision", "device")]
    assert old.keys() == new.keys() == {"accessKeyId", "secretAccessKey", "sessionToken", "region", "expires"}
    emu.cloud.type = "hosted"
    assert (await post("/tok/provision/getCreds", token=token)).status == 400


@pytest.fixture
async def token(post: Post) -> str:
    return await post.device_token()


async def checkin(post: Post, token: str, **body: object) -> Reply:
    return await post("/tok/provision/checkin", body, token=token)


async def test_a_checkin_offers_an_update(emu: Emulator, post: Post, token: str) -> None:
    emu.cloud.add_update("2.0.0", b"firmware")
    reply = (await checkin(post, token, id="DEV0000001", productId="any", version="1.0.0")).json
    assert reply.keys() == {"checksum", "version", "url"}
    assert (reply["version"], reply["checksum"]) == ("2.0.0", hashlib.sha256(b"firmware").hexdigest())
    image = await post(reply["url"].removeprefix(emu.api), method="GET", token="")
    assert image.text == "firmware"


async def test_a_checkin_with_nothing_to_do_is_an_empty_object(post: Post, token: str) -> None:
    assert (await checkin(post, token, version="1.0.0")).json == {}


async def test_a_checkin_notes_the_version(emu: Emulator, post: Post, token: str) -> None:
    await checkin(post, token, version="1.2.3")
    record: dict[str, Any] = emu.cloud.device("DEV0000001") or {}
    assert (record["version"], record["checked"]) == ("1.2.3", "1.2.3")


async def test_a_checkin_may_leave_the_version_to_the_record(emu: Emulator, post: Post) -> None:
    emu.cloud.register_device("DEV0000001", version="1.5.0")
    emu.cloud.claim_device("DEV0000001")
    emu.cloud.add_update("1.5.0", b"x")
    assert (await checkin(post, emu.token, id="DEV0000001")).json == {}
    emu.cloud.add_update("1.6.0", b"x")
    assert (await checkin(post, emu.token, id="DEV0000001")).json["version"] == "1.6.0"


@each_row(
    "body, message",
    [
        ({}, "Missing version"),
        ({"version": 2}, "version must be of type string"),
        ({"version": "new"}, "version must be a semantic version"),
    ],
)
async def test_a_checkin_needs_a_version(post: Post, token: str, body: dict[str, object], message: str) -> None:
    reply = await checkin(post, token, **body)
    assert (reply.status, reply.text) == (400, message)


async def test_a_checkin_needs_a_device_that_the_caller_sees(emu: Emulator, post: Post, token: str) -> None:
    assert (await checkin(post, emu.token)).text == "Missing id"
    assert (await checkin(post, emu.token, id="NOBODY")).text == "Cannot find device"
