from typing import Any

import aiohttp
import pytest

from ioto_async.emulator import Emulator
from ioto_async.operations import IOTO
from tests.documented import ROWS

from .callers import DEVICE
from .conftest import Post, exchange, request_bytes
from .tables import each_row_after_reset

REFUSED = (403, "Authentication failed")


@each_row_after_reset("scheme", ["", "bearer ", "Bearer ", "BEARER ", "bearer   "])
async def test_authorization_is_raw_or_bearer_in_any_case(emu: Emulator, post: Post, scheme: str) -> None:
    assert (await post("/tok/device/find", {}, token=scheme + emu.token)).status == 200


async def test_x_token_is_an_alternative(emu: Emulator, post: Post) -> None:
    reply = await post("/tok/device/find", {}, token="", headers={"X-Token": emu.token})
    assert reply.status == 200


async def test_no_space_is_needed_after_the_colon(emu: Emulator) -> None:
    request = request_bytes("/tok/device/find", emu.token).replace(b"Authorization: ", b"Authorization:")
    assert (await exchange(emu.api, request)).startswith(b"HTTP/1.1 200 ")


@each_row_after_reset(
    "path, token, origin",
    [
        *(("/tok/device/find", token, None) for token in ("", "bearer", "nobody", "Basic QTpC", "' OR 1=1 --")),
        ("/device/find", "token", None),
        ("/tok/device/find", "login_token", "https://app.ioto.test"),
        ("/tok/device/find", "product_token", "app.ioto.test"),
        ("/device/find", "product_token", "app.ioto.test"),
        ("/api/device/register", "token", None),
        *(("/device/find", "login_token", origin) for origin in (None, "", "https://evil.test", "null")),
    ],
)
async def test_a_token_that_is_not_for_the_path_and_the_origin_is_refused(
    emu: Emulator, post: Post, path: str, token: str, origin: str | None
) -> None:
    body = {"id": "DEV0000001", "product": emu.product_token} if path.startswith("/api/") else {}
    headers = {} if origin is None else {"Origin": origin}
    reply = await post(path, body, token=getattr(emu, token, token) if token else "", headers=headers)
    assert (reply.status, reply.text) == REFUSED


@each_row_after_reset("origin", ["app.ioto.test", "https://app.ioto.test", "http://App.Ioto.Test"])
async def test_a_login_names_its_origin_with_or_without_scheme(emu: Emulator, post: Post, origin: str) -> None:
    reply = await post("/device/find", {}, token=emu.login_token, headers={"Origin": origin})
    assert reply.status == 200


async def test_a_token_of_other_bytes_is_refused(emu: Emulator) -> None:
    request = request_bytes("/tok/device/find", "").replace(b"Authorization: ", b"Authorization: \xff\xfe\xed\xa0\x80")
    reply = await exchange(emu.api, request)
    assert reply.startswith(b"HTTP/1.1 403 ")
    assert reply.endswith(b"Authentication failed")


async def test_a_revoked_token_is_refused(emu: Emulator, post: Post) -> None:
    token = emu.cloud.create_token("cloud")
    assert (await post("/tok/device/find", {}, token=token)).status == 200
    emu.cloud.revoke_token(token)
    reply = await post("/tok/device/find", {}, token=token)
    assert (reply.status, reply.text) == REFUSED
    with pytest.raises(KeyError):
        emu.cloud.revoke_token(token)


async def test_a_token_is_refused_from_its_expiry_on(emu: Emulator, post: Post) -> None:
    emu.cloud.clock = lambda: 1000.0
    token = emu.cloud.create_token("cloud", lifetime=60)
    emu.cloud.clock = lambda: 1059.999
    assert (await post("/tok/device/find", {}, token=token)).status == 200
    emu.cloud.clock = lambda: 1060.0
    reply = await post("/tok/device/find", {}, token=token)
    assert (reply.status, reply.text) == REFUSED


async def test_a_cloud_token_passes_every_role(emu: Emulator, post: Post) -> None:
    for name in IOTO:
        reply = await post(f"/tok/{name}", {})
        assert reply.text not in ("Authentication failed", "Access denied"), name


async def test_a_device_may_do_what_devices_do_and_run_automations(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    allowed = {name for name in IOTO if (await post(f"/tok/{name}", {}, token=token)).text != "Access denied"}
    documented = {row.name for row in ROWS.values() if row.api == "ioto" and row.http and row.role in DEVICE}
    assert allowed == documented | {"action/invoke"}


async def test_anybody_may_ask_for_a_sign_of_life(emu: Emulator) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/tok/test/ping", "/test/ping"):
            async with session.post(emu.api + path) as reply:
                assert (reply.status, await reply.text(), reply.content_type) == (200, "pinged\n", "text/plain")


@each_row_after_reset(
    "role, path, allowed",
    [
        ("user", "device/get", True),
        ("user", "device/claim", False),
        ("user", "action/get", False),
        ("admin", "device/claim", True),
        ("admin", "action/get", True),
        ("admin", "provision/update", True),
        ("owner", "device/release", True),
        ("owner", "device/provision", False),
    ],
)
async def test_a_login_has_the_roles_of_its_user(
    emu: Emulator, post: Post, role: str, path: str, allowed: bool
) -> None:
    roles = {"user", "admin", "owner"}
    assert role in roles
    token = emu.cloud.create_token("login", role=role)  # type: ignore[arg-type]
    reply = await post.login(f"/{path}", {}, token=token)
    assert (reply.text != "Access denied") is allowed
    assert reply.text != "Authentication failed"


@each_row_after_reset(
    "role, path, body, answer",
    [
        ("user", "/device/find", {"accountId": "OTHER"}, (403, "accountId needs the role owner")),
        ("user", "/device/find", {"accountId": "OWN"}, (200, None)),
        ("user", "/metric/getMetricList", {"cloudId": "CLOUD"}, (200, None)),
        ("user", "/metric/getMetricList", {"cloudId": "other"}, (403, None)),
        ("user", "/device/find?index=gs1", {}, (403, "index needs the role owner")),
        ("owner", "/device/find", {"accountId": "OTHER"}, (403, None)),
    ],
)
async def test_a_login_names_its_own_account_and_cloud_and_no_other(
    emu: Emulator, post: Post, role: Any, path: str, body: dict[str, str], answer: tuple[int, str | None]
) -> None:
    keys = {"OTHER": emu.cloud.add_account("Other", "other@ioto.test"), "OWN": emu.account_id, "CLOUD": emu.cloud_id}
    body = {name: keys.get(value, value) for name, value in body.items()}
    token = emu.login_token if role == "owner" else emu.cloud.create_token("login", role=role)
    reply = await post.login(path, body, token=token)
    status, text = answer
    assert reply.status == status
    assert text in (None, reply.text)


async def test_a_product_token_registers_for_its_own_product_alone(emu: Emulator, post: Post) -> None:
    other = emu.cloud.create_token("product", name="Other")
    reply = await post.register(id="DEV0000001", product=other)
    assert (reply.status, reply.text) == (403, "product must be that of the token")
    body = {"id": "DEV0000001", "product": other}
    assert (await post("/api/device/register", body, token=other)).json == {"registered": True}


async def test_a_device_token_can_be_made_only_for_a_claimed_device(emu: Emulator, post: Post) -> None:
    await post.device_token()
    token = emu.cloud.create_token("device", device_id="DEV0000001")
    assert (await post("/tok/device/provision", {"id": "DEV0000001"}, token=token)).status == 200
    with pytest.raises(Exception, match="Cannot find device"):
        emu.cloud.create_token("device", device_id="DEV0000002")


# Suspended, replaced, and the records behind logins ----------------------------------------------------------------


def bearer_of(emu: Emulator, kind: str) -> str:
    emu.cloud.register_device("DEV0000001")
    emu.cloud.claim_device("DEV0000001")
    if kind == "device":
        return emu.cloud.create_token("device", device_id="DEV0000001")
    return emu.cloud.create_token("login" if kind == "login" else "cloud")


async def use(post: Post, kind: str, token: str) -> tuple[int, str]:
    if kind == "login":
        reply = await post.login("/device/find", {}, token=token)
    else:
        reply = await post("/tok/test/ping", {}, token=token)
    return reply.status, reply.text


@each_row_after_reset("kind", ["cloud", "device", "login"])
async def test_a_suspended_token_is_refused_until_it_is_resumed(emu: Emulator, post: Post, kind: str) -> None:
    token = bearer_of(emu, kind)
    emu.cloud.suspend_token(token)
    assert await use(post, kind, token) == REFUSED
    emu.cloud.resume_token(token)
    assert (await use(post, kind, token))[0] == 200


async def test_the_tokens_of_the_builder_can_be_suspended_too(emu: Emulator, post: Post) -> None:
    builder = emu.cloud.builder.token
    for token in (emu.product_token, builder):
        emu.cloud.suspend_token(token)
    assert (await post.register(id="DEV0000001")).status == 403
    assert (await post("/api/tok/device/find", {}, token=builder)).status == 403
    for token in (emu.product_token, builder):
        emu.cloud.resume_token(token)
    assert (await post.register(id="DEV0000001")).status == 200
    assert (await post("/api/tok/device/find", {}, token=builder)).status == 200


async def test_a_device_gets_no_other_token_while_its_own_is_suspended(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    emu.cloud.suspend_token(token)
    assert (await post.register(id="DEV0000001")).json["token"] == token


async def test_a_token_that_was_never_given_out_cannot_be_suspended_or_resumed(emu: Emulator) -> None:
    for change in (emu.cloud.suspend_token, emu.cloud.resume_token):
        with pytest.raises(KeyError):
            change("nobody")


async def test_a_token_is_replaced_by_another_and_a_revocation(emu: Emulator, post: Post) -> None:
    new = emu.cloud.create_token("cloud")
    emu.cloud.revoke_token(emu.token)
    assert (await post("/tok/device/find", {})).status == 403
    assert (await post("/tok/device/find", {}, token=new)).status == 200


@each_row_after_reset("path", ["/tok/test/ping", "/test/ping", "/api/tok/test/success", "/api/test/success"])
async def test_a_token_that_is_not_good_is_refused_even_where_none_is_needed(post: Post, path: str) -> None:
    assert (await post(path, {}, token="")).status == 200
    reply = await post(path, {}, token="nobody")
    assert (reply.status, reply.text) == REFUSED


async def test_a_login_without_a_user_is_good_for_what_is_public_and_no_more(emu: Emulator, post: Post) -> None:
    identity = emu.cloud.sign_up("eve@ioto.test", "Secret-123")
    token = emu.cloud.tokens.create("login", identity_id=identity)
    assert (await post.login("/test/ping", token=token)).status == 200
    for name, row in IOTO.items():
        if row.role != "public":
            reply = await post.login(f"/{name}", {"accountId": emu.account_id}, token=token)
            assert (reply.status, reply.text) == (403, "Access denied"), name


async def test_a_login_without_a_user_has_an_account_that_there_is_not(emu: Emulator) -> None:
    identity = emu.cloud.sign_up("eve@ioto.test", "Secret-123")
    caller = emu.cloud.caller(emu.cloud.tokens.create("login", identity_id=identity))
    assert caller is not None
    # None would be every account, as for a CloudAPI token.
    assert caller.account_id is not None
    assert not emu.cloud.has_account(caller.account_id)


async def test_the_logins_that_are_made_for_a_role_are_of_one_user(emu: Emulator) -> None:
    callers = [emu.cloud.caller(emu.cloud.create_token("login", role="user")) for _ in range(2)]
    first, second = [caller.user_id for caller in callers if caller]
    assert first == second is not None


async def test_a_login_can_be_made_for_one_user(emu: Emulator, post: Post) -> None:
    user = emu.cloud.add_user("ada@ioto.test", role="admin")
    token = emu.cloud.create_token("login", user_id=user)
    assert (await post.login("/user/get", {}, token=token)).json["id"] == user


async def test_what_a_role_is_good_for_is_up_to_the_cloud(emu: Emulator, post: Post) -> None:
    token = emu.cloud.create_token("login", role="user")
    emu.cloud.register_device("DEV0000001")
    body = {"id": "DEV0000001"}
    assert (await post.login("/device/claim", body, token=token)).text == "Access denied"
    emu.cloud.roles["user"].append("claimDevice")
    assert (await post.login("/device/claim", body, token=token)).status == 200
    emu.reset()
    assert "claimDevice" not in emu.cloud.roles["user"]
