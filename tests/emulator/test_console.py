"""What the console asks the control API for, and the page itself, without a browser."""

import re
from collections.abc import AsyncIterator
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

import ioto_async.emulator.control
from ioto_async.emulator import Emulator, Fault
from tests.rows import each_row

from .conftest import Post
from .mqtt_devices import Fleet, received
from .test_control import Control

DEVICE = "DEV0000001"


@pytest.fixture
async def control(emu: Emulator) -> AsyncIterator[Control]:
    async with aiohttp.ClientSession() as session:
        yield Control(emu, session)


async def got(control: Control, name: str) -> Any:
    answer = await control("GET", name)
    assert answer.status == 200, answer.json
    return answer.json


def test_its_page_of_documentation_names_all_that_it_adds_to_the_control_api() -> None:
    text = (Path(__file__).parents[2] / "docs" / "console.md").read_text("utf-8")
    for name in ("activity", "devices", "device", "metrics", "models", "items", "operations"):
        assert f"`GET {name}`" in text
    for name in ("claim", "release", "command"):
        assert f"`POST {name}`" in text


# The page -------------------------------------------------------------------------------------------------------------


async def test_the_page_has_a_strict_policy_and_uses_nothing_from_elsewhere(emu: Emulator) -> None:
    async with aiohttp.ClientSession() as session, session.get(emu.console) as reply:
        text = await reply.text()
        assert (reply.status, reply.content_type, reply.headers["Cache-Control"]) == (200, "text/html", "no-store")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        policy = reply.headers["Content-Security-Policy"]
    assert re.sub(r"'sha256-[\w+/=]{44}'", "HASH", policy) == (
        "default-src 'none'; script-src HASH; style-src HASH; img-src data:; connect-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    )
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)\S+", text) == []
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|style=", text)
    assert not emu.requests


async def test_the_page_is_in_the_package() -> None:
    assert (Path(ioto_async.emulator.control.__file__).parent / "console.html").is_file()


async def test_the_url_without_the_slash_leads_to_it(emu: Emulator) -> None:
    async with aiohttp.ClientSession() as session, session.get(emu.control) as reply:
        assert (reply.status, str(reply.url)) == (200, emu.console)
        assert emu.info()["console"] == emu.console


@each_row("headers", [{"Host": "rebound.example"}, {"Origin": "https://page.example"}, {"Authorization": "bearer no"}])
async def test_whoever_may_not_call_gets_the_form_for_the_token_alone(emu: Emulator, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(emu.console, headers=headers) as reply:
            assert (reply.status, reply.content_type) == (403, "text/html")
            text = await reply.text()
        for name in ("token", "login_token", "product_token", "builder_token", "control_token", "password", "api"):
            assert str(emu.info()[name]) not in text
        for name in ("activity", "devices", "models", "info"):
            async with session.get(f"{emu.control}/{name}", headers=headers) as reply:
                assert (reply.status, list(await reply.json())) == (403, ["error"])


# What came in ---------------------------------------------------------------------------------------------------------


class TestActivity:
    @pytest.fixture
    def mqtt(self) -> bool:
        return True

    async def test_a_reader_goes_on_at_the_cursor(
        self, emu: Emulator, control: Control, post: Post, tmp_path: Path
    ) -> None:
        device = await Fleet(emu, post, tmp_path)()
        first = await got(control, "activity")
        assert [entry["operation"] for entry in first["activity"]] == ["device/provision"]
        assert first["status"] == {**emu.status(), "time": first["status"]["time"]}
        emu.cloud.clock = lambda: 2_000_000_000.25
        async with device.client() as client:
            await client.publish(device.topic("store/set"), '{"key": "a", "value": 1, "type": "number"}', qos=1)
        emu.cloud.clock = lambda: 2_000_000_001.0
        emu.faults.add(Fault("device/get", status=503))
        await post("/tok/device/get", {"id": device.id})
        then = await got(control, f"activity?after={first['next']}")
        message, request = then["activity"]
        assert message == {
            "kind": "message",
            "time": "2033-05-18T03:33:20.250Z",
            "operation": "mqtt/store/set",
            "caller": device.id,
            "path": device.topic("store/set"),
            "body": {"key": "a", "value": 1, "type": "number"},
        }
        assert (request.pop("ms") > 0, request) == (
            True,
            {
                "kind": "request",
                "time": "2033-05-18T03:33:21.000Z",
                "operation": "device/get",
                "method": "POST",
                "path": "/tok/device/get",
                "query": {},
                "body": {"id": device.id},
                "caller": "public",
                "status": 503,
                "fault": {"operation": "device/get", "status": 503},
            },
        )
        assert (then["run"], then["skipped"]) == (first["run"], 0)
        assert (await got(control, f"activity?after={then['next']}"))["activity"] == []

    async def test_faults_over_mqtt_are_there(
        self, emu: Emulator, control: Control, post: Post, tmp_path: Path
    ) -> None:
        device = await Fleet(emu, post, tmp_path)()
        begin = (await got(control, "activity"))["next"]
        emu.faults.add(Fault("mqtt/connect", delay=0.001))
        emu.faults.add(Fault("mqtt/test/ping", throttle="slow"))
        async with device.client() as client:
            await client.publish(device.rule("test/ping"), qos=1)
            await client.publish(device.rule("test/ping"), qos=1)
        activity = (await got(control, f"activity?after={begin}"))["activity"]
        assert all(entry.pop("time") for entry in activity)
        faults = [entry for entry in activity if entry["kind"] == "fault"]
        assert faults == [
            {
                "kind": "fault",
                "operation": "mqtt/connect",
                "caller": None,
                "fault": {"operation": "mqtt/connect", "delay": 0.001},
            },
            {
                "kind": "fault",
                "operation": "mqtt/test/ping",
                "caller": device.id,
                "fault": {"operation": "mqtt/test/ping", "throttle": "slow"},
            },
        ]
        assert len(activity) == 4
        await control("DELETE", "messages")
        assert not emu.faults.injected


async def test_of_many_requests_the_last_are_shown_and_the_others_counted(
    emu: Emulator, control: Control, post: Post
) -> None:
    begin = (await got(control, "activity"))["next"]
    for number in range(203):
        await post("/tok/device/get", {"id": str(number)})
    then = await got(control, f"activity?after={begin}")
    assert [entry["body"]["id"] for entry in then["activity"]] == [str(number) for number in range(3, 203)]
    assert then["skipped"] == 3


async def test_a_cursor_of_another_run_begins_anew(control: Control, post: Post) -> None:
    await post("/tok/device/find")
    assert len((await got(control, "activity?after=0123-5-0-0"))["activity"]) == 1


async def test_a_new_start_is_another_run() -> None:
    emulator = Emulator(mqtt=False)
    runs = []
    for _ in range(2):
        async with emulator:
            runs.append(emulator.run)
    assert all(runs)
    assert runs[0] != runs[1]


async def test_no_token_or_password_is_shown(emu: Emulator, control: Control, post: Post) -> None:
    device_token = await post.device_token()
    product = emu.product_token
    await post("/tok/device/find", {"productId": product})
    await post(f"/tok/nothing?token={device_token}&plain=1", {"note": f"it is {emu.token}!", "password": "pass-word"})
    await post("/tok/nothing", data=f"not JSON: {emu.login_token}".encode())
    await post("/tok/nothing", {"list": [{"clientSecret": "se-cret", "id": emu.account_id}], "jwt": "eyJh.eyJz.c2ln"})
    await post("/tok/nothing", {"pem": "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n", "n": 1})
    await post("/tok/nothing", data=b"x" * 20_000)
    log = {"_type": "Log", "accountId": emu.account_id, "deviceId": DEVICE}
    await post("/tok/generic/create", {**log, "message": emu.cloud.builder.token})
    await post.register(id="DEV0000002", model="Pump", apiToken="api-token", description=device_token)
    activity = await got(control, "activity")
    bodies = [entry["body"] for entry in activity["activity"]]
    assert bodies[1:-2] == [
        {"productId": "•••"},
        {"note": "it is •••!", "password": "•••"},
        "not JSON: •••",
        {"list": [{"clientSecret": "•••", "id": emu.account_id}], "jwt": "•••"},
        {"pem": "•••\n", "n": 1},
        {"bytes": 20_000},
    ]
    assert activity["activity"][2]["query"] == {"token": "•••", "plain": "1"}
    shown = [activity, await got(control, "device?id=DEV0000002"), await got(control, "items?model=Log")]
    shown += [await got(control, name) for name in ("devices", "models", "operations", f"device?id={DEVICE}")]
    assert shown[1]["properties"] == {"model": "Pump", "apiToken": "•••", "description": "•••"}
    assert [item["message"] for item in shown[2]["items"]] == ["•••"]
    device = emu.cloud.devices.load(DEVICE)
    assert device is not None
    secrets = [value for name, value in emu.info().items() if "token" in name or name == "password"]
    for secret in (*secrets, device_token, "pass-word", "se-cret", "api-token", "MHcC"):
        assert str(secret) not in str(shown)


# Devices --------------------------------------------------------------------------------------------------------------


async def test_devices_are_listed_page_by_page(emu: Emulator, control: Control) -> None:
    emu.cloud.clock = lambda: 1_700_000_000.5
    emu.seed([{"id": DEVICE, "version": "1.0.0", "test": True}], claim=True)
    emu.seed(120)
    first = await got(control, "devices")
    assert first["devices"][0] == {
        "id": DEVICE,
        "state": "claimed",
        "online": False,
        "accessed": "2023-11-14T22:13:20.500Z",
        "product": "Demo",
        "account_id": emu.account_id,
        "version": "1.0.0",
        "test": True,
    }
    assert first["counts"] == {"registered": 119, "claimed": 1, "provisioned": 0, "online": 0}
    seen, after = [], ""
    while after is not None:
        page = await got(control, f"devices?after={after}&limit=50")
        assert page["total"] == 120
        seen.append([device["id"] for device in page["devices"]])
        after = page["next"]
    assert [len(page) for page in seen] == [50, 50, 20]
    assert list(chain(*seen)) == [f"DEV{number:07d}" for number in range(1, 121)]
    # A page that is full and the last has no next.
    assert (await got(control, "devices?limit=120"))["next"] is None


async def test_devices_are_found_by_state_and_text(emu: Emulator, control: Control, post: Post) -> None:
    for id_ in ("Pump-1", "Pump-2", "pump-3", "Fan"):
        emu.cloud.register_device(id_)
    emu.cloud.claim_device("Pump-1")
    emu.cloud.claim_device("Pump-2")
    await post("/tok/device/provision", {"id": "Pump-2"})
    for query, wanted in (
        ("", ["Fan", "Pump-1", "Pump-2", "pump-3"]),
        ("?text=PUMP", ["Pump-1", "Pump-2", "pump-3"]),
        ("?state=registered", ["Fan", "pump-3"]),
        ("?state=registered&text=a", ["Fan"]),
        ("?state=claimed", ["Pump-1"]),
        ("?state=provisioned", ["Pump-2"]),
        ("?state=online", []),
        ("?text=%25", []),
        ("?text=", ["Fan", "Pump-1", "Pump-2", "pump-3"]),
    ):
        page = await got(control, f"devices{query}")
        assert ([device["id"] for device in page["devices"]], page["total"]) == (wanted, len(wanted)), query


async def test_a_cloud_shows_its_own_devices_and_those_of_none() -> None:
    async with Emulator(clouds=2, mqtt=False) as emu, aiohttp.ClientSession() as session:
        control = Control(emu, session)
        emu.seed(3)
        assert (await control("POST", "claim", {"id": DEVICE})).json["state"] == "claimed"
        assert (await control("POST", "claim", {"id": "DEV0000002", "cloud": 2})).json["state"] == "claimed"
        for cloud, wanted in ((1, [DEVICE, "DEV0000003"]), (2, ["DEV0000002", "DEV0000003"])):
            assert [each["id"] for each in (await got(control, f"devices?cloud={cloud}"))["devices"]] == wanted
        answer = await control("GET", "device?cloud=2&id=" + DEVICE)
        assert (answer.status, answer.json) == (400, {"error": "device: Cannot find device"})
        assert (await control("POST", "release", {"id": "DEV0000002", "cloud": 2})).json["state"] == "registered"


class TestOnline:
    @pytest.fixture
    def mqtt(self) -> bool:
        return True

    async def test_a_connected_device_is_online(
        self, emu: Emulator, control: Control, post: Post, tmp_path: Path
    ) -> None:
        fleet = Fleet(emu, post, tmp_path)
        first, second = await fleet(), await fleet("DEV0000002")
        async with first.client():
            page = await got(control, "devices?state=online")
            assert [(device["id"], device["online"]) for device in page["devices"]] == [(first.id, True)]
            assert page["counts"] == {"registered": 0, "claimed": 0, "provisioned": 2, "online": 1}
            shown = await got(control, f"device?id={first.id}")
            assert (shown["online"], shown["state"]) == (True, "provisioned")
            assert shown["mqtt"] == f"localhost:{first.port}"
        assert (await got(control, f"device?id={second.id}"))["online"] is False

    async def test_a_command_is_stored_and_sent(
        self, emu: Emulator, control: Control, post: Post, tmp_path: Path
    ) -> None:
        device = await Fleet(emu, post, tmp_path)()
        async with device.client() as client:
            await client.subscribe(device.mine, qos=1)
            answer = await control("POST", "command", {"id": device.id, "command": "reboot", "args": {"in": 5}})
            assert (answer.status, answer.json["command"], answer.json["args"]) == (200, "reboot", {"in": 5})
            topic, payload = await received(client)
        assert topic == f"ioto/device/{device.id}/sync/UPSERT"
        assert b'"command":"reboot"' in payload
        (item,) = (await got(control, "items?model=Command"))["items"]
        assert item == answer.json
        assert (await got(control, f"items?id={device.id}"))["items"][-1] == item


async def test_a_device_is_claimed_and_released(emu: Emulator, control: Control) -> None:
    emu.seed(1)
    account = emu.cloud.add_account("Other", "other@x.test")
    claimed = (await control("POST", "claim", {"id": DEVICE, "account_id": account})).json
    assert (claimed["state"], claimed["account_id"]) == ("claimed", account)
    again = await control("POST", "claim", {"id": DEVICE})
    assert (again.status, again.json) == (400, {"error": "claim: Device is already claimed"})
    released = (await control("POST", "release", {"id": DEVICE})).json
    assert (released["state"], released["account_id"], released["created"]) == ("registered", None, None)
    assert (await control("POST", "release", {"id": DEVICE})).json == {"error": "release: Cannot find device"}


# Metrics and items ----------------------------------------------------------------------------------------------------


async def test_the_metrics_of_a_device_are_series(emu: Emulator, control: Control) -> None:
    emu.cloud.clock = lambda: 1_700_000_000.0
    emu.seed(2, claim=True)
    engine = emu.cloud.metrics.engine(emu.account_id)

    def emit(metric: str, value: float, dimensions: dict[str, str], **options: Any) -> None:
        engine.emit("N", metric, value, [dimensions], timestamp=emu.cloud.now(), **options)

    emit("heat", 2, {"Device": DEVICE})
    emit("heat", 4, {"Device": DEVICE, "Room": "A"})
    emit("cold", 1, {"deviceId": DEVICE})
    for other in ({}, {"Device": "DEV0000002"}, {"Device": DEVICE + "0"}, {"Device": "X" + DEVICE}):
        emit("heat", 9, other)
    emit("held", 1, {"Device": DEVICE}, buffer={"count": 10})
    emu.advance(60)
    emit("heat", 6, {"Device": DEVICE})
    series = await got(control, f"metrics?id={DEVICE}&period=300&statistic=max")
    assert series["more"] is False
    found = {(each["metric"], *each["dimensions"].items()): each["points"] for each in series["metrics"]}
    assert sorted(found) == [
        ("cold", ("deviceId", DEVICE)),
        ("heat", ("Device", DEVICE)),
        ("heat", ("Device", DEVICE), ("Room", "A")),
    ]
    values = [point["value"] for point in found["heat", ("Device", DEVICE)] if point["count"]]
    assert values == [2, 6]
    # What a buffer holds stays there: to look does not change what there is.
    assert [held.size for _, held in emu.cloud.metrics.held(f"{emu.account_id}#")] == [1]
    emu.cloud.release_device("DEV0000002")
    assert await got(control, "metrics?id=DEV0000002") == {"metrics": [], "more": False}


async def test_of_many_metrics_sixty_are_shown(emu: Emulator, control: Control) -> None:
    emu.seed(1, claim=True)
    engine = emu.cloud.metrics.engine(emu.account_id)
    for number in range(61):
        engine.emit("N", f"m{number}", 1, [{"Device": DEVICE}], timestamp=emu.cloud.now())
    series = await got(control, f"metrics?id={DEVICE}")
    assert (len(series["metrics"]), series["more"]) == (60, True)


async def test_items_are_listed_by_model_and_by_device(emu: Emulator, control: Control, post: Post) -> None:
    emu.seed(2, claim=True)
    for number in range(5):
        for id_ in (DEVICE, "DEV0000002"):
            body = {
                "_type": "Store",
                "accountId": emu.account_id,
                "deviceId": id_,
                "key": f"k{number}",
                "type": "number",
            }
            assert (await post("/tok/generic/create", {**body, "value": number})).status == 200
    await post("/tok/generic/create", {"_type": "Service", "value": 5})
    models = (await got(control, "models"))["models"]
    assert [(model["name"], model["items"]) for model in models if model["items"]] == [("Store", 10), ("Service", 1)]
    keys, after = [], ""
    while after is not None:
        page = await got(control, f"items?model=Store&limit=4&after={quote(after)}")
        keys.append([(item["deviceId"], item["key"]) for item in page["items"]])
        after = page["next"]
    assert [len(page) for page in keys] == [4, 4, 2]
    assert list(chain(*keys)) == [(id_, f"k{number}") for id_ in (DEVICE, "DEV0000002") for number in range(5)]
    found = (await got(control, "items?model=Store&text=K3"))["items"]
    assert [(item["deviceId"], item["value"]) for item in found] == [(DEVICE, 3), ("DEV0000002", 3)]
    own = (await got(control, f"items?id={DEVICE}"))["items"]
    assert [(item["_type"], item["key"]) for item in own] == [("Store", f"k{number}") for number in range(5)]


# Faults and errors ----------------------------------------------------------------------------------------------------


async def test_one_fault_of_several_is_removed(emu: Emulator, control: Control) -> None:
    faults: list[dict[str, object]] = [
        {"operation": "device/get", "status": 503, "body": "no"},
        {"operation": "device/get", "status": 503, "body": "no", "times": 2},
        {"delay": 1.0, "headers": {"A": "b"}, "times": "all"},
    ]
    assert (await control("POST", "faults", faults)).json == {"faults": faults}
    assert (await control("DELETE", "faults", faults[1])).json == {"faults": [faults[0], faults[2]]}
    assert (await control("DELETE", "faults", faults[2])).json == {"faults": [faults[0]]}
    again = await control("DELETE", "faults", faults[2])
    assert (again.status, again.json["error"][:44]) == (400, "faults: expected a fault as it is listed, or")
    assert len(emu.faults.left()) == 1


async def test_all_names_of_operations_are_there(control: Control) -> None:
    names = (await got(control, "operations"))["operations"]
    assert {"device/get", "device/register", "files", "mqtt/connect", "mqtt/metric/set"} <= set(names)
    assert names == sorted(names)


@each_row(
    "method, path, body, why",
    [
        ("GET", "activity?after=x", None, "activity: after: expected what another reply has as next, got 'x'"),
        ("GET", "activity?before=x", None, "activity: 'before' is not known; there is after"),
        ("GET", "devices?limit=0", None, "devices: limit: expected a number from 1 to 500, got 0"),
        ("GET", "devices?limit=x", None, "devices: limit: expected a number from 1 to 500, got 'x'"),
        ("GET", "devices?cloud=2", None, "devices: cloud: expected a number from 1 to 1, got 2"),
        ("GET", "devices?state=gone", None, "devices: state: expected registered, claimed, provisioned, online, got"),
        ("GET", "device?id=NOBODY", None, "device: Cannot find device"),
        ("GET", "device", None, "device: Cannot find device"),
        ("GET", "metrics?id=A&period=0", None, "metrics: period: expected a number from 1 to 31536000, got 0"),
        (
            "GET",
            "metrics?id=A&statistic=p99",
            None,
            "metrics: statistic: expected avg, min, max, sum, count, got",
        ),
        ("GET", "items", None, "items: expected model or id, and not both"),
        ("GET", "items?model=Nothing", None, 'items: Cannot find model "Nothing"'),
        ("GET", "items?model=Store&after=x", None, 'items: Bad value for "after": not where a page of'),
        ("POST", "claim", {}, "claim: id: expected the claim ID of a device"),
        ("POST", "claim", {"id": 1}, "claim: id: expected a text, got 1"),
        ("POST", "claim", {"id": "A", "cloud": True}, "claim: cloud: expected a number from 1 to 1, got True"),
        ("POST", "release", {"id": "A", "account_id": "B"}, "release: 'account_id' is not known; there are cloud, id"),
        ("POST", "command", {"id": "A"}, "command: command: expected a text that is not empty"),
        ("POST", "command", {"id": "A", "command": "a", "args": []}, "command: args: expected an object, got []"),
        ("POST", "command", {"id": "A", "command": "a"}, "command: Cannot find device"),
        ("DELETE", "faults", [], "faults: expected a fault as it is listed, or no body to clear all, got []"),
        ("DELETE", "faults", {"code": 1}, "faults: fault: 'code' is not known"),
    ],
)
async def test_what_is_wrong_is_named(control: Control, method: str, path: str, body: object, why: str) -> None:
    answer = await control(method, path, body)
    assert (answer.status, answer.json["error"][: len(why)]) == (400, why)
