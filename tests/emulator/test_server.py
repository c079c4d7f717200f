import asyncio
import json
import logging
import socket
import sqlite3
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from ioto_async.emulator import Emulator, EmulatorThread, Fault
from ioto_async.emulator.faults import reset
from ioto_async.emulator.rest.handlers import device

from .conftest import Post, exchange, request_bytes
from .tables import each_row_after_reset

INFO = [
    *("api", "builder", "token", "login_token", "origin", "account_id", "cloud_id", "product_token", "ca"),
    *("cognito", "user_pool", "client_id", "username", "password", "builder_token", "mqtt_host", "mqtt_port"),
    *("control", "console", "control_token"),
]


@pytest.fixture
def mqtt() -> bool:
    return True


async def test_info_has_what_a_client_needs_in_order(emu: Emulator) -> None:
    info = emu.info()
    assert list(info) == INFO
    assert info["builder"] == info["api"] + "/api"
    assert not info["api"].endswith("/")
    assert len(info["token"]) == 26
    assert Path(info["ca"]).read_text().startswith("-----BEGIN CERTIFICATE-----")


async def test_env_has_the_vendors_names(emu: Emulator) -> None:
    assert emu.env == {
        "IOTO_API": emu.api,
        "IOTO_TOKEN": emu.token,
        "IOTO_ACCOUNT": emu.account_id,
        "IOTO_BUILDER": emu.builder,
        "IOTO_HOST": emu.origin,
        "IOTO_CLOUD": emu.cloud_id,
        "IOTO_PRODUCT": emu.product_token,
        "IOTO_COGNITO": emu.cognito,
        "IOTO_CLIENT_ID": emu.cloud.client_id,
        "IOTO_USERNAME": emu.cloud.username,
        "IOTO_PASSWORD": emu.cloud.password,
        "BUILDER_TOKEN": emu.cloud.builder.token,
        "IOTO_EMULATOR": f"{emu.api}/_emulator",
        "IOTO_EMULATOR_TOKEN": emu.control_token,
        "IOTO_MQTT_HOST": emu.mqtt_host,
        "IOTO_MQTT_PORT": str(emu.mqtt_port),
    }


async def test_a_reply_is_compact_json_with_its_length_and_no_chunks(emu: Emulator) -> None:
    emu.cloud.register_device("DEV0000001")
    emu.cloud.claim_device("DEV0000001")
    reply = await exchange(emu.api, request_bytes("/tok/device/get", emu.token, b'{"id":"DEV0000001"}'))
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert b"transfer-encoding" not in head.lower()
    assert b'"id":"DEV0000001"' in body
    assert body == json.dumps(json.loads(body), separators=(",", ":")).encode()


async def test_a_refusal_is_one_line_of_plain_text(post: Post) -> None:
    reply = await post("/tok/device/get", {"id": "NOBODY"})
    assert (reply.status, reply.text) == (400, "Cannot find device")
    assert reply.headers["Content-Type"] == "text/plain"
    assert reply.headers["Content-Length"] == "18"


@each_row_after_reset(
    "path, body, method, text",
    [
        *(
            ("/tok/device/get", None, method, "Method must be POST")
            for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS")
        ),
        *(
            (path, {}, "POST", "Unknown action")
            for path in ("/", "/tok", "/tok/device", "/tok/device/nothing", "/device/register", "//device/get")
        ),
        *(("/tok/device/get", body, "POST", "Missing id") for body in ({}, {"id": None}, {"id": ""})),
        *(("/tok/device/get", {"id": id}, "POST", "id must be of type string") for id in (1, True, ["A"], {"A": 1})),
    ],
)
async def test_a_request_that_cannot_be_answered_is_refused_with_the_reason(
    post: Post, path: str, body: object, method: str, text: str
) -> None:
    reply = await post(path, body, method=method)
    assert (reply.status, reply.text) == (400, text)


async def test_an_empty_body_counts_as_an_empty_object(post: Post) -> None:
    reply = await post("/tok/device/find", data=b"")
    assert (reply.status, reply.json["data"]) == (200, [])


async def test_an_empty_body_needs_no_content_type(emu: Emulator) -> None:
    head = f"POST /tok/device/find HTTP/1.1\r\nHost: cloud\r\nConnection: close\r\nX-Token: {emu.token}\r\n\r\n"
    assert (await exchange(emu.api, head.encode())).startswith(b"HTTP/1.1 200 ")


async def test_unknown_members_are_accepted(emu: Emulator, post: Post) -> None:
    await post.device_token()
    reply = await post("/tok/device/get", {"id": "DEV0000001", "more": {"than": "known"}})
    assert reply.status == 200


async def test_query_flags_without_a_value_are_accepted(post: Post) -> None:
    assert (await post("/tok/device/find?exists&limit=", {})).status == 200


@each_row_after_reset("limit", ["0", "-1", "x", "1.5", "9" * 5000, "%00"])
async def test_a_limit_that_is_no_positive_number_is_refused(post: Post, limit: str) -> None:
    reply = await post(f"/tok/device/find?limit={limit}", {})
    assert reply.status == 400
    assert "limit" in reply.text


async def test_a_handlers_defect_is_a_logged_service_error(
    post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(device, "account_of", lambda call: 1 / 0)
    with caplog.at_level(logging.ERROR, "ioto_async.emulator"):
        reply = await post("/tok/device/find", {})
    assert (reply.status, reply.text) == (500, "Service error")
    assert "ZeroDivisionError" in caplog.text


async def test_requests_are_kept_without_their_token(emu: Emulator, post: Post) -> None:
    await post("/tok/device/find?limit=2&exists", {"productId": "P"})
    (received,) = emu.requests
    assert received.path == "/tok/device/find"
    assert received.query == {"limit": "2", "exists": ""}
    assert json.loads(received.body) == {"productId": "P"}
    assert (received.caller, received.status) == ("cloud", 200)
    assert emu.token not in repr(received)


async def test_no_more_than_a_thousand_requests_are_kept(emu: Emulator) -> None:
    assert emu.requests.maxlen == 1000


async def test_reset_keeps_identity_and_drops_all_else(emu: Emulator, post: Post) -> None:
    before = emu.info()
    await post.device_token()
    item = {"_type": "Store", "accountId": emu.account_id, "deviceId": "DEV0000001", "key": "k", "value": 1}
    assert (await post("/tok/generic/create", item | {"type": "number"})).status == 200
    account = emu.cloud.add_account("Other", "other@ioto.test")
    extra = emu.cloud.create_token("cloud")
    emu.cloud.revoke_token(emu.token)
    emu.cloud.clock = lambda: 0.0
    emu.faults.add(Fault(status=500))
    emu.reset()
    assert emu.info() == before
    assert not emu.requests
    assert (await post("/tok/device/find", {})).json["data"] == []
    assert (await post("/tok/device/find", {}, token=extra)).status == 403
    emu.cloud.register_device("DEV0000001")
    assert (await post("/tok/device/claim", {"id": "DEV0000001", "accountId": account})).status == 400
    assert (await post("/tok/device/claim", {"id": "DEV0000001"})).status == 200
    assert (await post("/tok/generic/find", {"_type": "Store"} | dict(list(item.items())[1:3]))).json["data"] == []


async def test_a_database_file_keeps_identity_and_devices(tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    async with Emulator(db=db) as first:
        before = first.info()
        authority = Path(first.ca).read_text()
        first.cloud.register_device("DEV0000001")
        first.cloud.claim_device("DEV0000001")
        port, mqtt_port = int(first.api.rpartition(":")[2]), first.mqtt_port
    async with Emulator(db=db, port=port, mqtt_port=mqtt_port) as second:
        assert second.info() == before
        assert Path(second.ca).read_text() == authority
        assert second.cloud.device("DEV0000001") is not None
    assert Path(before["ca"]).parent == tmp_path


async def test_a_database_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
    with pytest.raises(OSError, match=r"cloud\.db: not a database of this version"):
        async with Emulator(db=path):
            raise AssertionError
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("settings",)]


async def test_an_emulator_in_memory_leaves_no_file() -> None:
    async with Emulator() as emulator:
        ca = Path(emulator.ca)
        assert ca.exists()
    assert not ca.parent.exists()


async def test_a_stopped_emulator_says_so() -> None:
    emulator = Emulator()
    with pytest.raises(RuntimeError, match="not running"):
        _ = emulator.api


async def test_https_is_served_with_a_certificate_of_the_ca() -> None:
    async with Emulator(tls=True) as emulator, aiohttp.ClientSession() as session:
        assert emulator.api.startswith("https://")
        context = ssl.create_default_context(cafile=emulator.ca)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        for host in ("127.0.0.1", "localhost"):
            url = f"{emulator.api.replace('localhost', host)}/tok/device/find"
            async with session.post(url, headers={"X-Token": emulator.token}, ssl=context) as response:
                assert response.status == 200


async def test_a_port_in_use_is_an_error_of_the_caller() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError, match="address already in use"):
            async with Emulator(port=taken.getsockname()[1]):
                raise AssertionError
        with pytest.raises(OSError, match="address already in use"), EmulatorThread(port=taken.getsockname()[1]):
            raise AssertionError


async def test_a_thread_serves_and_ends_with_its_block() -> None:
    before = set(threading.enumerate())
    with EmulatorThread() as emulator:
        assert list(emulator.info()) == INFO
        async with aiohttp.ClientSession() as session:
            url, headers = f"{emulator.api}/tok/device/find", {"X-Token": emulator.token}
            async with session.post(url, headers=headers) as response:
                assert response.status == 200
            with_connection_open = emulator.api
    assert not {thread.name for thread in set(threading.enumerate()) - before if "ioto-emulator" in thread.name}
    with pytest.raises(OSError):
        await exchange(with_connection_open, b"")


def test_the_cloud_may_be_used_from_many_threads() -> None:
    with EmulatorThread() as emulator, ThreadPoolExecutor(8) as pool:

        def live(number: int) -> None:
            for _ in range(10):
                emulator.cloud.register_device(f"DEV{number}")
                emulator.cloud.claim_device(f"DEV{number}")
                emulator.cloud.release_device(f"DEV{number}")

        list(pool.map(live, range(32)))
        assert emulator.cloud.device("DEV0") is None


async def test_a_fault_answers_in_place_of_the_cloud_as_often_as_told(emu: Emulator, post: Post) -> None:
    emu.faults.add(Fault("device/find", status=503, body="<html>", headers={"Retry-After": "7"}, times=2))
    assert (await post("/tok/device/get", {"id": "X"})).status == 400
    for _ in range(2):
        reply = await post("/tok/device/find", {})
        assert (reply.status, reply.text, reply.headers["Retry-After"]) == (503, "<html>", "7")
    assert (await post("/tok/device/find", {})).status == 200


async def test_a_fault_may_send_any_body_and_content_type(emu: Emulator, post: Post) -> None:
    emu.faults.add(Fault(body=b'{"data":[', headers={"Content-Type": "text/html"}))
    reply = await post("/tok/device/find", {})
    assert (reply.status, reply.text, reply.headers["Content-Type"]) == (200, '{"data":[', "text/html")


async def test_the_first_matching_fault_wins(emu: Emulator, post: Post) -> None:
    emu.faults.add(Fault(status=500))
    emu.faults.add(Fault(status=503, times=None))
    assert [(await post("/tok/device/find", {})).status for _ in range(3)] == [500, 503, 503]
    emu.faults.clear()
    assert (await post("/tok/device/find", {})).status == 200


@each_row_after_reset("reset, claimed", [("before", False), ("after", True)])
async def test_a_reset_cuts_the_connection_before_or_after_the_work(
    emu: Emulator, post: Post, reset: str, claimed: bool
) -> None:
    emu.cloud.register_device("DEV0000001")
    emu.faults.add(Fault("device/claim", reset="before" if reset == "before" else "after"))
    with pytest.raises(aiohttp.ClientOSError):
        await post("/tok/device/claim", {"id": "DEV0000001"})
    assert (emu.cloud.device("DEV0000001") is not None) is claimed
    assert emu.requests[-1].status == 0


async def test_a_truncated_reply_to_a_client_that_has_gone_does_no_harm(
    emu: Emulator, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    emu.faults.add(Fault(truncate=True))
    host, _, port = emu.api.rpartition("//")[2].partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_bytes("/tok/device/find", emu.token, b"{}")[:-1])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    while not emu.requests:
        await asyncio.sleep(0)
    assert (await post("/tok/device/find", {})).status == 200
    assert [record.getMessage() for record in caplog.records] == []


def test_a_connection_that_has_lost_its_socket_can_be_cut_too() -> None:
    class Gone(asyncio.Transport):
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    transport = Gone()
    reset(transport)
    assert transport.aborted


async def test_a_truncated_reply_ends_early(emu: Emulator, post: Post) -> None:
    emu.faults.add(Fault(truncate=True))
    with pytest.raises(aiohttp.ClientPayloadError):
        await post("/tok/device/find", {})


async def test_a_delayed_request_does_not_hold_up_others(emu: Emulator, post: Post) -> None:
    emu.faults.add(Fault("device/find", delay=3600))
    slow = asyncio.create_task(post("/tok/device/find", {}))
    assert (await post("/tok/device/get", {"id": "X"})).status == 400
    assert not slow.done()
    slow.cancel()


def test_an_interrupt_at_the_start_of_a_thread_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ioto_async.emulator.server.wait", interrupt)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), EmulatorThread():
        raise AssertionError
    assert not {thread.name for thread in set(threading.enumerate()) - before if "ioto-emulator" in thread.name}
