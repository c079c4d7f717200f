"""Several clouds at one Builder."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ioto_async.emulator import Emulator, EmulatorThread, Fault
from ioto_async.emulator.state.cloud import Cloud
from tests.rows import each_row

DEVICE = "DEV0000001"
NOBODY = (403, "Authentication failed")


class World:
    """Two clouds, and raw HTTP to each."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.first, self.second = emulator.clouds
        self._session = session

    async def post(
        self, cloud: Cloud, path: str, body: object = None, *, token: str = "", origin: str = ""
    ) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", "Authorization": token} | ({"Origin": origin} if origin else {})
        async with self._session.post(cloud.api + path, data=json.dumps(body or {}), headers=headers) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if reply.content_type == "application/json" else text

    async def register(self, id: str = DEVICE, cloud: Cloud | None = None) -> Any:
        product = self.first.product_token
        path, body = "/api/device/register", {"id": id, "product": product}
        return (await self.post(cloud or self.first, path, body, token=product))[1]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with Emulator(clouds=2) as emulator, aiohttp.ClientSession() as session:
        yield World(emulator, session)


async def test_each_cloud_has_an_address_and_keys_of_its_own(world: World) -> None:
    first, second = world.first, world.second
    assert world.emulator.cloud is first
    for name in ("id", "api", "account_id", "token", "login_token", "origin", "client_id", "password", "user_pool"):
        assert getattr(first, name) != getattr(second, name), name
    assert first.builder is second.builder
    assert first.product_token == second.product_token


async def test_info_lists_the_further_clouds(world: World) -> None:
    info = world.emulator.info()
    (other,) = info["clouds"]
    assert info["api"] == world.first.api
    assert other["api"] == world.second.api
    assert other["builder"] == f"{world.second.api}/api"
    assert set(other) == set(info) - {"clouds"}
    async with Emulator() as alone:
        assert "clouds" not in alone.info()


@each_row("count", [0, -1])
def test_there_is_one_cloud_at_least(count: int) -> None:
    with pytest.raises(ValueError, match="clouds"):
        Emulator(clouds=count)


async def test_the_tokens_of_a_cloud_are_nothing_on_another(world: World) -> None:
    first, second = world.first, world.second
    first.register_device(DEVICE)
    first.claim_device(DEVICE)
    device = first.create_token("device", device_id=DEVICE)
    assert await world.post(second, "/tok/device/find", token=first.token) == NOBODY
    assert await world.post(second, "/tok/device/provision", {"id": DEVICE}, token=device) == NOBODY
    for origin in (first.origin, second.origin):
        assert await world.post(second, "/device/find", token=first.login_token, origin=origin) == NOBODY
    with pytest.raises(KeyError):
        second.revoke_token(first.token)


async def test_a_device_is_claimed_in_one_cloud_whichever_is_first(world: World) -> None:
    first, second = world.first, world.second
    first.register_device(DEVICE)
    assert second.claim_device(DEVICE)["accountId"] == second.account_id
    assert first.device(DEVICE) is None
    with pytest.raises(Exception, match="already claimed"):
        first.claim_device(DEVICE)
    for path in ("get", "release", "provision"):
        reply = await world.post(first, f"/tok/device/{path}", {"id": DEVICE}, token=first.token)
        assert reply == (400, "Cannot find device")
    assert (await world.post(first, "/tok/device/find", token=first.token))[1]["data"] == []
    assert (await world.post(second, "/tok/device/get", {"id": DEVICE}, token=second.token))[0] == 200


async def test_a_device_learns_of_its_own_cloud_wherever_it_registers(world: World) -> None:
    first, second = world.first, world.second
    first.register_device(DEVICE)
    second.claim_device(DEVICE)
    for cloud in (first, second):
        reply = await world.register(cloud=cloud)
        assert (reply["api"], reply["cloudName"]) == (second.api, second.name)
    assert (await world.post(second, "/tok/device/provision", {"id": DEVICE}, token=reply["token"]))[0] == 200
    assert await world.post(first, "/tok/device/provision", {"id": DEVICE}, token=reply["token"]) == NOBODY


async def test_a_device_moves_from_cloud_to_cloud(world: World) -> None:
    first, second = world.first, world.second
    first.register_device(DEVICE)
    first.claim_device(DEVICE)
    old = (await world.register())["token"]
    first.release_device(DEVICE)
    second.claim_device(DEVICE)
    assert await world.post(first, "/tok/device/provision", {"id": DEVICE}, token=old) == NOBODY
    assert (await world.register())["api"] == second.api


async def test_a_registration_can_claim_into_any_cloud(world: World) -> None:
    second, product = world.second, world.first.product_token
    body = {"id": DEVICE, "product": product, "account": second.account_id, "cloud": second.id}
    status, reply = await world.post(world.first, "/api/device/register", body, token=product)
    assert (status, reply["api"]) == (200, second.api)
    body = {"id": "DEV0000002", "product": product, "account": world.first.account_id, "cloud": second.id}
    reply = await world.post(world.first, "/api/device/register", body, token=product)
    assert reply == (400, "Cannot find account")


async def test_the_builder_sees_and_releases_the_devices_of_all_clouds(world: World) -> None:
    first, second = world.first, world.second
    token = first.builder.token
    for id_, cloud in ((DEVICE, first), ("DEV0000002", second)):
        cloud.register_device(id_)
        cloud.claim_device(id_)
    for cloud in (first, second):
        found = (await world.post(cloud, "/api/tok/device/find", token=token))[1]["data"]
        assert [each["cloudId"] for each in found] == [first.id, second.id]
    body = {"id": "DEV0000003", "cloudToken": second.token, "accountId": second.account_id}
    first.register_device("DEV0000003")
    assert (await world.post(first, "/api/tok/device/claim", body, token=token))[1]["cloudId"] == second.id
    for id_ in (DEVICE, "DEV0000002"):
        assert (await world.post(first, "/api/tok/device/release", {"id": id_}, token=token))[0] == 200
    assert [first.device(DEVICE), second.device("DEV0000002")] == [None, None]


async def test_an_update_is_for_a_product_in_whatever_cloud(world: World) -> None:
    world.first.add_update("2.0.0", b"firmware")
    world.second.register_device(DEVICE)
    world.second.claim_device(DEVICE)
    body = {"id": DEVICE, "product": world.first.product_token, "version": "1.0.0"}
    offer = (await world.post(world.second, "/tok/provision/update", body, token=world.second.token))[1]
    assert offer["version"] == "2.0.0"
    assert offer["url"].startswith(world.second.api)


async def test_accounts_users_and_items_are_of_one_cloud(world: World) -> None:
    first, second = world.first, world.second
    account = first.add_account("Other", "other@ioto.test")
    first.add_user("ada@ioto.test", account_id=account)
    # The same address can be a user's of another cloud.
    second.add_user("ada@ioto.test")
    assert not second.has_account(account)
    for name in ("device/find", "generic/find", "user/find"):
        body = {"accountId": account, "_type": "Device"}
        status, reply = await world.post(second, f"/tok/{name}", body, token=second.token)
        assert reply == "Cannot find account" if status == 400 else reply["data"] == []
    assert (await world.post(second, "/tok/account/get", {"id": account}, token=second.token))[1] == {}


async def test_a_sign_in_is_good_for_one_cloud(world: World) -> None:
    first, second = world.first, world.second
    parameters = {"USERNAME": first.username, "PASSWORD": first.password}
    target = "AWSCognitoIdentityProviderService.InitiateAuth"
    answers = []
    for cloud, client_id in ((first, first.client_id), (second, first.client_id), (second, second.client_id)):
        body = {"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": client_id, "AuthParameters": parameters}
        headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
        async with aiohttp.request("POST", cloud.cognito, data=json.dumps(body).encode(), headers=headers) as reply:
            answers.append(json.loads(await reply.text()).get("__type"))
    assert answers == [None, "ResourceNotFoundException", "NotAuthorizedException"]


async def test_one_clock_rules_all_clouds(world: World) -> None:
    world.second.clock = lambda: 1706061837.062
    assert [cloud.now() for cloud in world.emulator.clouds] == [1706061837062] * 2
    assert world.first.builder.now() == 1706061837062
    assert world.first.lock is world.second.lock


async def test_faults_and_requests_are_of_all_clouds(world: World) -> None:
    world.emulator.faults.add(Fault("test/ping", status=503))
    assert (await world.post(world.second, "/test/ping"))[0] == 503
    assert world.emulator.requests[-1].path == "/test/ping"


async def test_reset_begins_all_clouds_anew(world: World) -> None:
    before = world.emulator.info()
    for cloud in world.emulator.clouds:
        cloud.register_device(f"DEV-{cloud.name[-1]}")
        cloud.claim_device(f"DEV-{cloud.name[-1]}")
        cloud.add_user("ada@ioto.test", password="Secret-123")
        cloud.revoke_token(cloud.token)
    world.second.reset()
    assert world.emulator.info() == before
    for cloud in world.emulator.clouds:
        assert (await world.post(cloud, "/tok/device/find", token=cloud.token))[1]["data"] == []
        assert len((await world.post(cloud, "/tok/user/find", token=cloud.token))[1]["data"]) == 1
    found = await world.post(world.first, "/api/tok/device/find", token=world.first.builder.token)
    assert found[1]["data"] == []


async def test_files_go_to_a_server_of_each_clouds_own(world: World) -> None:
    urls = [cloud.files.url for cloud in world.emulator.clouds]
    apis = [cloud.api for cloud in world.emulator.clouds]
    assert len({*urls, *apis}) == 4
    assert all(url.startswith("http://127.0.0.1:") for url in urls)
    world.emulator.reset()
    assert [cloud.files.url for cloud in world.emulator.clouds] == urls


async def test_each_cloud_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    async with Emulator(db=db, clouds=2) as emulator:
        before = [(cloud.id, cloud.token, cloud.password) for cloud in emulator.clouds]
        emulator.clouds[1].register_device(DEVICE)
        emulator.clouds[1].claim_device(DEVICE)
        emulator.clouds[1].add_user("ada@ioto.test")
    assert (tmp_path / "cloud-2.db").exists()
    async with Emulator(db=db, clouds=2) as emulator:
        assert [(cloud.id, cloud.token, cloud.password) for cloud in emulator.clouds] == before
        assert emulator.clouds[1].device(DEVICE) is not None
        assert emulator.clouds[1].users.of_email("ada@ioto.test") is not None
        assert emulator.clouds[0].users.of_email("ada@ioto.test") is None


async def test_a_device_of_a_cloud_that_is_not_running_is_in_no_other(tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    async with Emulator(db=db, clouds=2) as emulator:
        emulator.clouds[1].register_device(DEVICE)
        emulator.clouds[1].claim_device(DEVICE)
    async with Emulator(db=db) as emulator:
        assert emulator.cloud.device(DEVICE) is None
        with pytest.raises(Exception, match="already claimed"):
            emulator.cloud.claim_device(DEVICE)
        with pytest.raises(Exception, match="Cannot find cloud"):
            emulator.cloud.builder.release_device(DEVICE)


async def test_the_file_of_the_ca_is_good_for_every_cloud() -> None:
    async with Emulator(clouds=2, tls=True) as emulator, aiohttp.ClientSession() as session:
        context = ssl.create_default_context(cafile=emulator.ca)
        for cloud in emulator.clouds:
            for url in (cloud.api, cloud.files.url):
                assert url.startswith("https://")
                async with session.post(f"{url}/test/ping", ssl=context) as reply:
                    assert reply.status < 500


def test_a_thread_serves_several_clouds_too() -> None:
    with EmulatorThread(clouds=3) as emulator:
        assert len({cloud.api for cloud in emulator.clouds}) == 3
    with pytest.raises(RuntimeError, match="not running"):
        _ = emulator.clouds
