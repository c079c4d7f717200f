import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from ioto_async.emulator import Emulator, Fault

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
