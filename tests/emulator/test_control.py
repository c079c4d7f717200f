"""The control API: what other languages do with the embedded cloud, and who may."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from ioto_async.emulator import Emulator, Fault
from tests.rows import each_row

from .conftest import Post, exchange
from .mqtt_devices import Fleet


@attrs.frozen
class Answer:
    status: int
    json: Any
    headers: Any


class Control:
    """Sends a request to the control API of a cloud."""

    def __init__(self, emu: Emulator, session: aiohttp.ClientSession) -> None:
        self._emu = emu
        self._session = session

    async def __call__(
        self,
        method: str,
        name: str,
        body: object = None,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = data if body is None else json.dumps(body).encode()
        async with self._session.request(method, f"{self._emu.control}/{name}", data=sent, headers=headers) as reply:
            assert reply.content_type == "application/json"
            return Answer(reply.status, await reply.json(), reply.headers)


@pytest.fixture
async def control(emu: Emulator) -> AsyncIterator[Control]:
    async with aiohttp.ClientSession() as session:
        yield Control(emu, session)


# What it does ---------------------------------------------------------------------------------------------------------


async def test_the_status_says_what_there_is(emu: Emulator, control: Control, post: Post) -> None:
    emu.seed(3)
    emu.cloud.claim_device("DEV0000001")
    emu.cloud.clock = lambda: 1_700_000_000.5
    emu.faults.add(Fault("device/get", status=500))
    await post("/tok/device/find")
    assert (await control("GET", "status")).json == {
        "time": "2023-11-14T22:13:20.500Z",
        "ahead": 0,
        "registered": 3,
        "clouds": [{"id": emu.cloud_id, "name": "Embedded", "api": emu.api, "devices": 1}],
        "faults": 1,
        "requests": 1,
        "messages": 0,
    }
    assert (await control("GET", "info")).json == emu.info()


async def test_devices_are_seeded(emu: Emulator, control: Control) -> None:
    assert (await control("POST", "seed", {"devices": 2})).json == {"devices": ["DEV0000001", "DEV0000002"]}
    devices = [{"id": "M72DANY8BZ", "version": "1.0.0", "test": True, "self": 1}, {"id": "DEV0000002"}]
    assert (await control("POST", "seed", {"devices": devices, "claim": True})).json["devices"] == [
        "M72DANY8BZ",
        "DEV0000002",
    ]
    record: Any = emu.cloud.device("M72DANY8BZ")
    assert (record["version"], record["test"], record["accountId"]) == ("1.0.0", True, emu.account_id)
    assert emu.cloud.device("DEV0000001") is None
    # What is there is not added again.
    assert (await control("POST", "seed", {"devices": devices, "claim": True})).status == 200
    account = emu.cloud.add_account("Other", "other@x.test")
    assert (await control("POST", "seed", {"devices": [{"account_id": account}]})).status == 200
    assert len(emu.cloud.devices.of_account(account)) == 1


async def test_of_devices_that_cannot_all_be_seeded_none_is(emu: Emulator, control: Control) -> None:
    answer = await control("POST", "seed", {"devices": [{"id": "DEV0000001"}, {"id": "not one"}], "claim": True})
    assert (answer.status, answer.json) == (400, {"error": "seed: devices[1]: not one: Bad claim ID"})
    assert emu.status()["registered"] == 0


async def test_time_is_moved_on(emu: Emulator, control: Control) -> None:
    emu.cloud.clock = lambda: 0.0
    assert (await control("GET", "time")).json == {"time": "1970-01-01T00:00:00.000Z"}
    assert (await control("POST", "time", {"days": 31, "hours": 1})).json == {"time": "1970-02-01T01:00:00.000Z"}
    assert (await control("POST", "time", {"to": "1970-03-01T00:00:00+01:00"})).json == {
        "time": "1970-02-28T23:00:00.000Z"
    }
    assert emu.time == datetime(1970, 2, 28, 23, tzinfo=UTC)
    emu.advance(timedelta(hours=1))
    assert (await control("GET", "time")).json == {"time": "1970-03-01T00:00:00.000Z"}


async def test_faults_are_added_listed_and_cleared(emu: Emulator, control: Control, post: Post) -> None:
    faults: list[dict[str, object]] = [
        {"operation": "device/get", "status": 503, "headers": {"Retry-After": "1"}, "times": 2},
        {"operation": "device/find", "body": {"items": []}},
        {"delay": 0.5, "reset": "after", "times": "all"},
    ]
    given = [faults[0], {**faults[1], "body": '{"items":[]}'}, faults[2]]
    assert (await control("POST", "faults", faults)).json == {"faults": given}
    reply = await post("/tok/device/get", {"id": "A"})
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert (await post("/tok/device/find")).json == {"items": []}
    left = {name: value for name, value in faults[0].items() if name != "times"}
    assert (await control("GET", "faults")).json == {"faults": [left, faults[2]]}
    assert [fault.times for fault in emu.faults.left()] == [1, None]
    assert (await control("DELETE", "faults")).json == {"faults": []}
    assert (await control("POST", "faults", {"operation": "device/get", "status": 500})).json == {
        "faults": [{"operation": "device/get", "status": 500}]
    }
    assert not emu.faults.left()[0].body


async def test_requests_are_listed_as_json(emu: Emulator, control: Control, post: Post) -> None:
    emu.cloud.clock = lambda: 1_700_000_000.5
    await post("/tok/device/get?limit=1", {"id": "A"})
    await post("/tok/device/get", data=b"\xff", headers={"Content-Type": "text/plain"})
    await post("/nothing", data=b"text", token="")
    first, second, third = (await control("GET", "requests")).json["requests"]
    assert first.pop("ms") > 0
    assert first == {
        "time": "2023-11-14T22:13:20.500Z",
        "operation": "device/get",
        "method": "POST",
        "path": "/tok/device/get",
        "query": {"limit": "1"},
        "body": {"id": "A"},
        "caller": "cloud",
        "status": 400,
        "fault": None,
    }
    assert second["body"] == {"base64": "/w=="}
    assert (third["operation"], third["body"], third["caller"], third["status"]) == (None, "text", "public", 400)
    assert (await control("DELETE", "requests")).json == {"requests": []}
    assert not emu.requests


async def test_a_request_says_what_was_injected_into_it(emu: Emulator, control: Control, post: Post) -> None:
    emu.faults.add(Fault("device/get", status=503, headers={"Retry-After": "1"}, times=None))
    emu.faults.add(Fault("device/find", delay=0.001))
    emu.faults.add(Fault("files", status=500))
    await post("/tok/device/get", {"id": "A"})
    await post("/tok/device/find")
    async with aiohttp.ClientSession() as session, session.get(emu.cloud.files.url + "/a/b"):
        pass
    requests = (await control("GET", "requests")).json["requests"]
    assert [(request["status"], request["fault"]) for request in requests] == [
        (503, {"operation": "device/get", "status": 503, "headers": {"Retry-After": "1"}, "times": "all"}),
        (200, {"operation": "device/find", "delay": 0.001}),
        (500, {"operation": "files", "status": 500}),
    ]


async def test_a_reset_forgets_all_but_the_keys(emu: Emulator, control: Control, post: Post) -> None:
    emu.seed(2, claim=True)
    emu.advance(60)
    emu.faults.add(Fault(status=500))
    await post("/tok/device/find")
    answer = (await control("POST", "reset")).json
    assert [answer[name] for name in ("ahead", "registered", "faults", "requests")] == [0, 0, 0, 0]
    assert (await post("/tok/device/find")).json["data"] == []


class TestMessages:
    @pytest.fixture
    def mqtt(self) -> bool:
        return True

    async def test_messages_of_devices_are_listed(
        self, emu: Emulator, control: Control, post: Post, tmp_path: Path
    ) -> None:
        device = await Fleet(emu, post, tmp_path)()
        async with device.client() as client:
            await client.publish(device.topic("store/set"), '{"key": "a", "value": 1, "type": "number"}', qos=1)
        (message,) = (await control("GET", "messages")).json["messages"]
        assert message == {
            "operation": "mqtt/store/set",
            "client_id": device.id,
            "topic": device.topic("store/set"),
            "payload": {"key": "a", "value": 1, "type": "number"},
        }
        assert (await control("DELETE", "messages")).json == {"messages": []}


# Snapshots ------------------------------------------------------------------------------------------------------------


@each_row("clouds, kept", [(1, False), (1, True), (2, False), (2, True)])
async def test_a_snapshot_is_returned_to_and_begun_from(tmp_path: Path, clouds: int, kept: bool) -> None:
    folder = tmp_path / f"{clouds}{kept}"
    folder.mkdir()
    async with (
        Emulator(clouds=clouds, db=folder / "cloud.db" if kept else None, mqtt=False) as emu,
        aiohttp.ClientSession() as session,
    ):
        last = emu.clouds[-1]
        emu.seed(2, claim=True, cloud=clouds)
        emu.advance(3600)
        control = Control(emu, session)
        saved = (await control("GET", "snapshot")).json
        emu.advance(3600)
        last.release_device("DEV0000001")
        assert (await control("PUT", "snapshot", saved)).json["clouds"][-1]["devices"] == 2
        assert (last.device("DEV0000001") or {})["id"] == "DEV0000001"
        assert emu.cloud.clock.ahead == 3600
        keys = [cloud.token for cloud in emu.clouds]
    for number, text in enumerate(saved["databases"], 1):
        name = "copy.db" if number == 1 else f"copy-{number}.db"
        (folder / name).write_bytes(base64.b64decode(text))
    async with Emulator(clouds=clouds, db=folder / "copy.db", mqtt=False) as again:
        assert [cloud.token for cloud in again.clouds] == keys
        assert again.clouds[-1].devices.count() == 2


async def test_a_snapshot_has_the_content_of_files(emu: Emulator, post: Post, control: Control) -> None:
    await post.device_token()
    asked = {"id": "DEV0000001", "filename": "a.txt"}
    async with aiohttp.ClientSession() as session:
        put = (await post("/tok/device/getSignedUrl", asked | {"command": "put"})).json
        async with session.put(put, data=b"before") as reply:
            assert reply.status == 200
        saved = (await control("GET", "snapshot")).json
        async with session.put(put, data=b"after") as reply:
            assert reply.status == 200
        assert (await control("PUT", "snapshot", saved)).status == 200
        async with session.get((await post("/tok/device/getSignedUrl", asked | {"command": "get"})).json) as reply:
            assert await reply.read() == b"before"


async def test_a_snapshot_of_another_cloud_is_refused(emu: Emulator, control: Control) -> None:
    emu.seed(1)
    async with Emulator(mqtt=False) as other:
        (image,) = other.snapshot()
    for databases, why in (
        ([image], "the snapshot is of another cloud; the option --db starts one from it"),
        ([image, image], "the snapshot has 2 databases; there are 1 clouds"),
        ([b"SQLite"], "the snapshot is no database of a cloud: file is not a database"),
    ):
        given = {"databases": [base64.b64encode(each).decode() for each in databases]}
        answer = await control("PUT", "snapshot", given)
        assert (answer.status, answer.json) == (400, {"error": f"snapshot: {why}"})
    assert emu.status()["registered"] == 1


# Errors ---------------------------------------------------------------------------------------------------------------


@each_row(
    "method, name, body, why",
    [
        ("POST", "reset", {"a": 1}, "reset: 'a' is not known"),
        ("POST", "seed", [], "seed: expected an object, got list"),
        ("POST", "seed", {"device": 1}, "seed: 'device' is not known; there are devices, claim, cloud"),
        ("POST", "seed", {"devices": -1}, "seed: devices: expected a number from 0 to 9999999, got -1"),
        ("POST", "seed", {"devices": True}, "seed: devices: expected a number or an array of objects, got True"),
        ("POST", "seed", {"devices": [1]}, "seed: devices[0]: expected an object, got 1"),
        ("POST", "seed", {"devices": [{"id": 1}]}, "seed: devices[0].id: expected a text that is not empty, got 1"),
        ("POST", "seed", {"devices": 1, "cloud": 2}, "seed: cloud: expected a number from 1 to 1, got 2"),
        ("POST", "seed", {"claim": "yes"}, "seed: claim: expected true or false, got 'yes'"),
        ("POST", "time", {}, "time: expected to, or any of seconds, minutes, hours, days, weeks"),
        ("POST", "time", {"days": "31"}, "time: days: expected a number, got '31'"),
        ("POST", "time", {"days": -1}, "time: expected seconds, 0 or more, got -86400: time does not go back"),
        ("POST", "time", {"to": "1999-01-01T00:00:00Z"}, "time: to: 1999-01-01T00:00:00Z is past, and time"),
        ("POST", "time", {"to": "2040-01-01"}, "time: to: expected a date such as 2030-01-31T12:00:00Z, got"),
        ("POST", "time", {"to": "2040-01-01T00:00:00Z", "days": 1}, "time: to: expected no span beside it"),
        ("POST", "faults", 1, "faults: fault: expected an object, got 1"),
        ("POST", "faults", [{}, {"code": 1}], "faults: faults[1]: 'code' is not known; there are operation, status"),
        ("POST", "faults", {"status": "500"}, "faults: fault.status: expected a whole number from 1 to 599, got '500'"),
        ("POST", "faults", {"delay": -1}, "faults: fault.delay: expected seconds, 0 or more, got -1"),
        ("POST", "faults", {"reset": "now"}, "faults: fault.reset: expected before or after, got 'now'"),
        ("POST", "faults", {"times": 0}, "faults: fault.times: expected a whole number from 1, or all, got 0"),
        ("POST", "faults", {"headers": {"A": 1}}, "faults: fault.headers: expected an object of texts, got {'A': 1}"),
        ("POST", "faults", {"headers": {"A": "\r\n"}}, "faults: fault.headers: expected an object of texts, got"),
        ("PUT", "snapshot", {}, "snapshot: databases: expected an array of base64 texts"),
        ("PUT", "snapshot", {"databases": ["!"]}, "snapshot: databases: "),
    ],
)
async def test_what_is_wrong_is_named(
    emu: Emulator, control: Control, method: str, name: str, body: object, why: str
) -> None:
    answer = await control(method, name, body)
    assert answer.status == 400
    assert list(answer.json) == ["error"]
    assert answer.json["error"].startswith(why)


async def test_a_body_that_is_not_json_is_refused(control: Control) -> None:
    answer = await control("POST", "seed", data=b"{devices")
    assert (answer.status, answer.json["error"][:40]) == (400, "seed: the body is not valid JSON: unexpe")


async def test_unknown_names_and_methods_are_told_what_there_is(control: Control) -> None:
    answer = await control("GET", "widgets")
    assert (answer.status, answer.json["error"]) == (
        404,
        (
            "'widgets' is not known; there are status, info, reset, seed, time, faults, requests, messages, activity,"
            " devices, device, metrics, models, items, operations, claim, release, command, snapshot"
        ),
    )
    answer = await control("PUT", "time")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")
    assert answer.json["error"] == "time: expected GET, POST, got PUT"


# Who may --------------------------------------------------------------------------------------------------------------


@each_row(
    "headers, status",
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "rebound.example"}, 403),
        ({"Host": "local host:["}, 403),
        ({"Origin": "https://page.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Authorization": "bearer wrong"}, 403),
        ({"Authorization": "bearer {token}", "Host": "rebound.example"}, 200),
        ({"Authorization": "{token}", "Origin": "https://page.example"}, 200),
        ({"Origin": "http://localhost:1", "Host": "localhost:1"}, 200),
    ],
)
async def test_pages_of_the_web_may_not_call_it(
    emu: Emulator, control: Control, headers: dict[str, str], status: int
) -> None:
    sent = {name: text.replace("{token}", emu.control_token) for name, text in headers.items()}
    assert (await control("GET", "status", headers=sent)).status == status


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"bearer {token}"}


async def test_other_machines_need_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiohttp.web_request.BaseRequest.remote", "192.0.2.1")
    async with Emulator(mqtt=False) as emu, aiohttp.ClientSession() as session:
        control = Control(emu, session)
        refused = await control("GET", "status")
        assert (refused.status, refused.json["error"]) == (
            403,
            "the control API is for this machine, or needs its token: Authorization: bearer TOKEN",
        )
        assert (await control("GET", "status", headers=bearer(emu.control_token))).status == 200
        assert (await control("GET", "status", headers=bearer(emu.token))).status == 403


async def test_it_is_no_part_of_the_emulated_api(emu: Emulator, control: Control) -> None:
    emu.faults.add(Fault(status=500, times=None))
    assert (await control("GET", "status")).status == 200
    assert not emu.requests
    host = emu.api.removeprefix("http://").encode()
    request = b"POST /_emulator/reset HTTP/1.1\r\nHost: " + host
    reply = await exchange(emu.api, request + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200")
    assert not emu.faults
