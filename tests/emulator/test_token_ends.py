"""How the tokens of every kind end: from their expiry on, or by a revocation, and neither ends another one."""

import pytest

from ioto_async.emulator import Emulator
from ioto_async.emulator.state.tokens import TokenKind

from .conftest import Post, Reply
from .tables import each_row_after_reset

DEVICE = "DEV0000001"
REFUSED = (403, "Authentication failed")


def claim(emu: Emulator) -> None:
    emu.cloud.clock = lambda: 1000.0
    emu.cloud.register_device(DEVICE)
    emu.cloud.claim_device(DEVICE)


@pytest.fixture
def claimed(emu: Emulator) -> None:
    claim(emu)


every_kind = each_row_after_reset("kind", ["cloud", "device", "login", "product", "builder"], before=claim)


def create(emu: Emulator, kind: TokenKind, lifetime: float | None = None) -> str:
    device_id = DEVICE if kind == "device" else None
    return emu.cloud.create_token(kind, device_id=device_id, lifetime=lifetime)


async def use(post: Post, kind: TokenKind, token: str) -> Reply:
    """Call something that needs a token of this kind."""
    if kind == "product":
        return await post("/api/device/register", {"id": "DEV0000002", "product": token}, token=token)
    if kind == "login":
        return await post.login("/device/find", {}, token=token)
    path = {"cloud": "/tok/device/find", "device": "/tok/file/list", "builder": "/api/tok/device/find"}[kind]
    return await post(path, {}, token=token)


@every_kind
async def test_a_token_is_good_until_its_expiry_and_refused_from_then_on(
    emu: Emulator, post: Post, claimed: None, kind: TokenKind
) -> None:
    token = create(emu, kind, 60)
    emu.cloud.clock = lambda: 1059.999
    assert (await use(post, kind, token)).status == 200
    emu.cloud.clock = lambda: 1060.0
    reply = await use(post, kind, token)
    assert (reply.status, reply.text) == REFUSED


@every_kind
async def test_a_token_without_a_lifetime_does_not_expire(
    emu: Emulator, post: Post, claimed: None, kind: TokenKind
) -> None:
    token = create(emu, kind)
    emu.cloud.clock = lambda: 4e9
    assert (await use(post, kind, token)).status == 200


@every_kind
async def test_a_token_that_is_revoked_is_refused_and_another_of_its_kind_is_not(
    emu: Emulator, post: Post, claimed: None, kind: TokenKind
) -> None:
    token, other = create(emu, kind), create(emu, kind)
    assert (await use(post, kind, token)).status == 200
    emu.cloud.revoke_token(token)
    reply = await use(post, kind, token)
    assert (reply.status, reply.text) == REFUSED
    if kind == "product":
        # The device is the first product's.
        reply = await post("/api/device/register", {"id": "DEV0000003", "product": other}, token=other)
    else:
        reply = await use(post, kind, other)
    assert reply.status == 200


@every_kind
async def test_an_expired_token_cannot_be_resumed(emu: Emulator, post: Post, claimed: None, kind: TokenKind) -> None:
    token = create(emu, kind, 60)
    emu.cloud.clock = lambda: 1060.0
    emu.cloud.resume_token(token)
    reply = await use(post, kind, token)
    assert (reply.status, reply.text) == REFUSED


async def test_a_device_whose_token_has_expired_gets_another_when_it_registers(
    emu: Emulator, post: Post, claimed: None
) -> None:
    first = create(emu, "device", 60)
    assert (await post.register(id=DEVICE)).json["token"] == first
    emu.cloud.clock = lambda: 1060.0
    second = (await post.register(id=DEVICE)).json["token"]
    assert second != first
    assert (await use(post, "device", second)).status == 200
    assert (await use(post, "device", first)).status == 403


async def test_a_device_whose_token_was_revoked_gets_another_when_it_registers(
    emu: Emulator, post: Post, claimed: None
) -> None:
    first = (await post.register(id=DEVICE)).json["token"]
    emu.cloud.revoke_token(first)
    second = (await post.register(id=DEVICE)).json["token"]
    assert second != first
    assert (await use(post, "device", second)).status == 200
    assert (await use(post, "device", first)).status == 403


async def test_a_device_goes_on_when_the_token_of_its_product_has_ended(
    emu: Emulator, post: Post, claimed: None
) -> None:
    token = create(emu, "device")
    emu.cloud.revoke_token(emu.product_token)
    assert (await post.register(id=DEVICE)).status == 403
    assert (await use(post, "device", token)).status == 200
