"""The clock of the clouds: one call, and time has passed for all that depends on it."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import pytest
from cryptography import x509

from ioto_async.emulator import Emulator, EmulatorThread
from tests.rawserver import GUARD
from tests.rows import each_row

from .conftest import Post
from .mqtt_devices import Device, Fleet, becomes

MONTH = timedelta(days=31)


@pytest.fixture
def mqtt() -> bool:
    return True


# The clock itself -----------------------------------------------------------------------------------------------------


def test_time_passes_by_seconds_and_by_spans(ioto_emulator: EmulatorThread) -> None:
    cloud = ioto_emulator.cloud
    cloud.clock = lambda: 1000.0
    cloud.advance(1.5)
    cloud.advance(timedelta(minutes=1))
    assert (cloud.clock(), cloud.now(), cloud.clock.ahead) == (1061.5, 1_061_500, 61.5)
    cloud.clock = lambda: 5.0
    assert cloud.clock() == 5.0


@each_row(
    "span, why",
    [
        (-1, "time does not go back"),
        (timedelta(seconds=-1), "time does not go back"),
        (float("nan"), "expected seconds, 0 or more, got nan"),
        (float("inf"), "expected seconds, 0 or more, got inf"),
        (3e11, "beyond the year 9999"),
    ],
)
def test_the_clock_does_not_go_back_or_beyond_all_dates(
    ioto_emulator: EmulatorThread, span: float | timedelta, why: str
) -> None:
    ioto_emulator.reset()
    with pytest.raises(ValueError, match=why):
        ioto_emulator.cloud.advance(span)
    assert ioto_emulator.cloud.clock.ahead == 0


def test_a_reset_returns_to_the_real_time(ioto_emulator: EmulatorThread) -> None:
    ioto_emulator.cloud.advance(MONTH)
    ioto_emulator.reset()
    assert ioto_emulator.cloud.clock.ahead == 0


async def test_a_database_keeps_how_far_the_clock_is_ahead(tmp_path: Path) -> None:
    async with Emulator(db=tmp_path / "cloud.db", mqtt=False, clouds=2) as first:
        first.clouds[1].advance(MONTH)
    async with Emulator(db=tmp_path / "cloud.db", mqtt=False, clouds=2) as second:
        assert [cloud.clock.ahead for cloud in second.clouds] == [MONTH.total_seconds()] * 2
        second.reset()
    async with Emulator(db=tmp_path / "cloud.db", mqtt=False) as third:
        assert third.cloud.clock.ahead == 0


# What it moves --------------------------------------------------------------------------------------------------------


async def test_a_month_later_all_that_lasts_less_has_ended(emu: Emulator, post: Post) -> None:
    cloud = emu.cloud
    device_token = await post.device_token()
    token, login = cloud.create_token("cloud", lifetime=86400), cloud.create_token("login", lifetime=86400)
    product, builder = cloud.create_token("product", lifetime=86400), cloud.create_token("builder", lifetime=86400)
    cloud.block_device("DEV0000001", 60)
    url = (await post("/tok/device/getSignedUrl", {"id": "DEV0000001", "command": "put", "filename": "a"})).json
    refresh = await sign_in(emu, "USER_PASSWORD_AUTH", USERNAME=emu.cloud.username, PASSWORD=emu.cloud.password)

    async def seen() -> dict[str, Any]:
        provision = (await post("/tok/device/provision", {"id": "DEV0000001"}, token=device_token)).json
        registration = {"id": "DEV0000002", "product": product}
        again = await sign_in(emu, "REFRESH_TOKEN_AUTH", REFRESH_TOKEN=refresh["AuthenticationResult"]["RefreshToken"])
        return {
            "token": (await post("/tok/device/find", {}, token=token)).status,
            "login": (await post.login("/user/get", {}, token=login)).status,
            "access": (await post.login("/user/get", {}, token=refresh["AuthenticationResult"]["AccessToken"])).status,
            "refresh": again.get("__type", "signed in"),
            "product": (await post("/api/device/register", registration, token=product)).status,
            "builder": (await post("/api/tok/device/find", {}, token=builder)).status,
            "blocked": provision.get("error"),
            "signed": await put(url),
        }

    assert await seen() == {
        "token": 200,
        "login": 200,
        "access": 200,
        "refresh": "signed in",
        "product": 200,
        "builder": 200,
        "blocked": "Device blocked due to excess traffic",
        "signed": 200,
    }
    cloud.advance(MONTH)
    assert await seen() == {
        "token": 403,
        "login": 403,
        "access": 403,
        "refresh": "NotAuthorizedException",
        "product": 403,
        "builder": 403,
        "blocked": None,
        "signed": 403,
    }


async def sign_in(emu: Emulator, flow: str, **parameters: str) -> dict[str, Any]:
    body = {"AuthFlow": flow, "ClientId": emu.cloud.client_id, "AuthParameters": parameters}
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
    }
    async with aiohttp.ClientSession() as session, session.post(emu.cognito, json=body, headers=headers) as reply:
        found: dict[str, Any] = await reply.json(content_type=None)
        return found


async def put(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.put(url, data=b"content") as reply:
        return reply.status


async def test_samples_age(emu: Emulator, post: Post) -> None:
    await post.device_token()
    emu.cloud.metrics.engine(emu.account_id).emit("Ioto", "speed", 5, [{}], timestamp=emu.cloud.now())

    async def total(period: int) -> float:
        item = {"namespace": "Ioto", "metric": "speed", "dimensions": {}, "statistic": "sum"}
        body = {"accountId": emu.account_id, "deviceId": "DEV0000001"}
        items = [item | {"period": period, "accumulate": True}]
        (answer,) = (await post("/tok/metric/fetch", body | {"items": items})).json["data"]
        return sum(float(point["value"]) for point in answer["points"])

    assert (await total(3600), await total(5_000_000)) == (5, 5)
    emu.cloud.advance(MONTH)
    assert (await total(3600), await total(5_000_000)) == (0, 5)


async def test_items_with_an_end_are_gone(emu: Emulator, post: Post) -> None:
    await post.device_token()
    item = {"_type": "Store", "accountId": emu.account_id, "deviceId": "DEV0000001", "key": "a", "value": 1}
    ends = datetime.fromtimestamp(emu.cloud.clock() + 60, UTC).isoformat()
    await post("/tok/generic/create", item | {"type": "number", "expires": ends})
    asked = {name: item[name] for name in ("_type", "accountId", "deviceId", "key")}
    assert (await post("/tok/generic/get", asked)).json["value"] == 1
    emu.cloud.advance(MONTH)
    assert not (await post("/tok/generic/get", asked)).json


async def test_an_update_goes_to_the_devices_of_the_next_period(emu: Emulator, post: Post) -> None:
    emu.cloud.add_update("2.0.0", b"x", rate=1, period=60)

    async def is_offered(id: str) -> bool:
        emu.cloud.register_device(id)
        if emu.cloud.device(id) is None:
            emu.cloud.claim_device(id)
        body = {"id": id, "product": emu.product_token, "version": "1.0.0"}
        return "version" in (await post("/tok/provision/update", body)).json

    assert [await is_offered("DEV0000001"), await is_offered("DEV0000002")] == [True, False]
    emu.cloud.advance(60)
    assert await is_offered("DEV0000002")


async def test_replies_and_records_are_dated_by_it(emu: Emulator, post: Post) -> None:
    emu.cloud.register_device("DEV0000001")
    emu.cloud.advance(MONTH)
    claimed = await post("/tok/device/claim", {"id": "DEV0000001"})  # by the plain way
    described = await post("/tok/device/get", {"id": "DEV0000001"}, headers={"Connection": "close"})  # by aiohttp
    async with aiohttp.ClientSession() as session, session.get(emu.cloud.files.url) as reply:
        dates = [claimed.headers["Date"], described.headers["Date"], reply.headers["Date"]]
    soonest = datetime.now(UTC) + MONTH - timedelta(minutes=5)
    assert [date for date in dates if parsedate_to_datetime(date) < soonest] == []
    assert datetime.fromisoformat(claimed.json["created"]) > soonest


# Devices --------------------------------------------------------------------------------------------------------------


async def test_devices_connect_with_certificates_of_a_later_time(emu: Emulator, fleet: Fleet) -> None:
    emu.cloud.advance(MONTH)
    device = await fleet()
    certificate = x509.load_pem_x509_certificate(device.pem.read_bytes())
    assert certificate.not_valid_before_utc > datetime.now(UTC) + timedelta(days=30)
    async with device.client():
        pass


async def test_certificates_end_with_their_authority(emu: Emulator, post: Post, fleet: Fleet) -> None:
    device = await fleet()
    emu.cloud.advance(timedelta(days=3640))
    async with device.client():
        pass
    emu.cloud.advance(timedelta(days=20))
    with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
        async with device.client():
            pass
    emu.cloud.register_device("DEV0000002")
    emu.cloud.claim_device("DEV0000002")
    for id in (device.id, "DEV0000002"):
        refused = await post("/tok/device/provision", {"id": id})
        assert (refused.status, refused.text) == (400, "The certificate authority of the cloud has expired")


async def test_sessions_end_and_connections_stay(emu: Emulator, post: Post, fleet: Fleet) -> None:
    away, there = await fleet(), await fleet("DEV0000002")
    async with there.client() as client:
        for span, present in ((timedelta(minutes=59), True), (timedelta(minutes=61), False)):
            await persistent(away, subscribes=True)
            await becomes(emu, post, away, "offline")
            emu.cloud.advance(span)
            assert await is_kept(away) is present
        async with asyncio.timeout(GUARD):
            await client.publish(there.topic("test/ping"), qos=1)


async def persistent(device: Device, *, subscribes: bool) -> None:
    async with device.client(clean_session=False) as client:
        if subscribes:
            await client.subscribe(device.mine, qos=1)


async def is_kept(device: Device) -> bool:
    """Whether the session of a device is there, as CONNACK says it."""
    flags = asyncio.get_running_loop().create_future()
    client = device.client(clean_session=False)
    inner = client._client
    connected = inner.on_connect

    def note(*arguments: Any) -> None:
        flags.get_loop().call_soon_threadsafe(flags.set_result, arguments[2])
        assert connected is not None
        connected(*arguments)

    inner.on_connect = note
    async with client:
        found = await flags
    return bool(found.session_present if hasattr(found, "session_present") else found["session present"])
