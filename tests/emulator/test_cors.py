import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from ioto_async.emulator import Emulator, Fault
from tests.rows import each_row

from .conftest import Post, Reply
from .tables import each_row_after_reset

ALLOW = "Access-Control-Allow-Origin"


async def preflight(post: Post, origin: str, path: str = "/device/find") -> Reply:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return await post(path, method="OPTIONS", token="", headers=headers)


async def test_a_preflight_of_the_app_is_answered_without_a_token(emu: Emulator, post: Post) -> None:
    reply = await preflight(post, "https://app.ioto.test")
    assert (reply.status, reply.text) == (204, "")
    assert reply.headers[ALLOW] == "https://app.ioto.test"
    assert reply.headers["Access-Control-Allow-Methods"] == "POST"
    assert reply.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type, X-Token"
    assert reply.headers["Vary"] == "Origin"
    assert emu.requests[-1].status == 204


async def test_a_preflight_of_a_sign_in_allows_what_a_sign_in_sends(post: Post) -> None:
    reply = await preflight(post, "https://app.ioto.test", "/cognito")
    assert "X-Amz-Target" in reply.headers["Access-Control-Allow-Headers"]


@each_row_after_reset("origin", ["https://evil.test", "https://app.ioto.test.evil.test", "null", ""])
async def test_another_page_is_not_allowed_in(post: Post, origin: str) -> None:
    reply = await preflight(post, origin)
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]
    reply = await post("/test/ping", token="", headers={"Origin": origin})
    assert reply.status == 200
    assert ALLOW not in reply.headers


async def test_each_cloud_has_an_app_of_its_own() -> None:
    async with Emulator(clouds=2) as emulator:
        assert [cloud.origin for cloud in emulator.clouds] == ["app.ioto.test", "app2.ioto.test"]


async def test_options_without_a_question_is_no_preflight(post: Post) -> None:
    reply = await post("/device/find", method="OPTIONS", headers={"Origin": "https://app.ioto.test"})
    assert (reply.status, reply.text) == (400, "Method must be POST")


async def test_the_app_may_read_replies_and_refusals(emu: Emulator, post: Post) -> None:
    for reply, status in (
        (await post.login("/device/find", {}), 200),
        (await post.login("/device/get", {}), 400),
        (await post.login("/device/find", {}, token="nobody"), 403),
    ):
        assert reply.status == status
        assert reply.headers[ALLOW] == f"https://{emu.origin}"
        assert reply.headers["Vary"] == "Origin"


async def test_a_request_that_is_no_browsers_gets_no_header_of_theirs(post: Post) -> None:
    reply = await post("/tok/device/find", {})
    assert ALLOW not in reply.headers
    assert "Vary" not in reply.headers


async def test_replies_may_be_read_by_requests_with_credentials(emu: Emulator, post: Post) -> None:
    origin = f"https://{emu.origin}"
    for reply in (
        await preflight(post, origin),
        await preflight(post, origin, "/cognito"),
        await post.login("/device/find", {}),
        await post.login("/device/get", {}),
    ):
        assert reply.headers["Access-Control-Allow-Credentials"] == "true"


LOCAL = [
    "http://localhost:3000",
    "https://localhost",
    "http://LOCALHOST:5173",
    "http://127.0.0.1:8080",
    "http://127.1.2.3",
    "http://[::1]:3000",
    "http://my-app.localhost:3000",
]
OTHER = [
    "http://localhost.evil.test",
    "http://evil.test/localhost",
    "http://127.0.0.1.evil.test",
    "http://localhost:3000.evil.test",
    "ftp://localhost",
    "localhost:3000",
    "null",
    "",
]


@pytest.fixture
async def local() -> AsyncIterator[Emulator]:
    async with Emulator(local_origins=True) as emulator:
        yield emulator


async def test_pages_of_this_machine_are_allowed_if_that_is_asked_for(
    local: Emulator, browser: aiohttp.ClientSession
) -> None:
    @each_row("origin, allowed", [*((origin, True) for origin in LOCAL), *((origin, False) for origin in OTHER)])
    async def is_called(origin: str, allowed: bool) -> None:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        async with browser.options(f"{local.api}/device/find", headers=asked) as reply:
            assert (reply.status == 204, reply.headers.get(ALLOW) == origin) == (allowed, allowed)
        headers = {"Origin": origin, "Authorization": local.login_token}
        async with browser.post(f"{local.api}/device/find", headers=headers) as reply:
            assert reply.status == (200 if allowed else 403)
            assert (reply.headers.get(ALLOW), reply.headers.get("Access-Control-Allow-Credentials")) == (
                (origin, "true") if allowed else (None, None)
            )
        async with browser.options(f"{local.cloud.files.url}/x", headers=asked) as reply:
            assert (reply.headers.get(ALLOW) == origin) is allowed

    await is_called()


async def test_the_app_is_allowed_beside_them(local: Emulator, browser: aiohttp.ClientSession) -> None:
    headers = {"Origin": f"https://{local.origin}", "Authorization": local.login_token}
    async with browser.post(f"{local.api}/device/find", headers=headers) as reply:
        assert (reply.status, reply.headers[ALLOW]) == (200, f"https://{local.origin}")


@each_row_after_reset("origin", LOCAL)
async def test_pages_of_this_machine_are_others_by_default(post: Post, emu: Emulator, origin: str) -> None:
    reply = await preflight(post, origin)
    assert ALLOW not in reply.headers
    headers = {"Origin": origin}
    assert (await post("/device/find", {}, token=emu.login_token, headers=headers)).status == 403


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def signed(post: Post, command: str) -> str:
    return str((await post("/tok/file/getSignedUrl", {"command": command, "filename": "a.txt"})).json)


@each_row_after_reset("method", ["GET", "PUT", "DELETE"])
async def test_a_preflight_of_the_app_for_a_signed_url_is_answered(
    emu: Emulator, post: Post, browser: aiohttp.ClientSession, method: str
) -> None:
    emu.faults.add(Fault("files", status=503))  # for the transfer, not for its preflight
    url = await signed(post, method.lower())
    asked = {"Origin": f"https://{emu.origin}", "Access-Control-Request-Method": method}
    async with browser.options(url, headers=asked) as reply:
        assert (reply.status, await reply.read()) == (204, b"")
        assert reply.headers[ALLOW] == f"https://{emu.origin}"
        assert method in reply.headers["Access-Control-Allow-Methods"].split(", ")
        assert reply.headers["Access-Control-Allow-Headers"] == "Content-Type"
        assert reply.headers["Vary"] == "Origin"
    assert emu.requests[-1].status == 204
    assert "signature" not in emu.requests[-1].query
    async with browser.options(url, headers=asked | {"Origin": "https://evil.test"}) as reply:
        assert ALLOW not in reply.headers


async def test_the_app_may_read_what_a_signed_url_answers_and_no_other_page(
    emu: Emulator, post: Post, browser: aiohttp.ClientSession
) -> None:
    for origin, readable in ((f"https://{emu.origin}", True), ("https://evil.test", False)):
        headers = {"Origin": origin}
        for method, status in (("PUT", 200), ("GET", 200), ("DELETE", 204), ("GET", 404)):
            url = await signed(post, method.lower())
            async with browser.request(method, url, data=b"x" if method == "PUT" else None, headers=headers) as reply:
                assert reply.status == status
                assert (reply.headers.get(ALLOW) == origin) is readable
                assert (reply.headers.get("Vary") == "Origin") is readable


async def test_a_fault_is_for_the_call_and_not_for_its_preflight(emu: Emulator, post: Post) -> None:
    emu.faults.add(Fault(status=503, body=json.dumps({"message": "busy"})))
    assert (await preflight(post, "https://app.ioto.test")).status == 204
    reply = await post.login("/device/find", {})
    assert reply.status == 503
    assert reply.headers[ALLOW] == f"https://{emu.origin}"
