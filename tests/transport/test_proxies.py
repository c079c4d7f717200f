"""Proxies: all that a client sends goes through one on loopback, over TLS."""

import base64
import ssl
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from ioto_async import (
    CallError,
    CognitoLogin,
    ConnectionFailedError,
    DeviceLink,
    InvalidArgumentError,
    IotoClient,
    TokenProviderError,
)
from ioto_async.emulator import Emulator
from ioto_async.models import Certificates
from ioto_async.transport.proxies import Proxies, parse_proxy
from tests.proxy import TestProxy
from tests.rawserver import GUARD, RawServer, client_of, reply
from tests.rows import each_row

PASSWORD = "s3cret-of-the-proxy"


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator(tls=True) as emu:
        yield emu


@pytest.fixture
async def proxy() -> AsyncIterator[TestProxy]:
    async with TestProxy() as proxy:
        yield proxy


def trust(emu: Emulator) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=emu.ca)


def targets(proxy: TestProxy) -> set[str]:
    assert {line.split(" ")[0] for line in proxy.asked} == {"CONNECT"}
    return {line.split(" ")[1] for line in proxy.asked}


def target_of(url: str) -> str:
    return f"{URL(url).host}:{URL(url).port}"


async def everything(emu: Emulator, client: IotoClient, tmp_path: Path) -> None:
    """A call, a call of the Builder and transfers both ways."""
    await client.device.claim("DEV0000001")
    await client.builder.device.get("DEV0000001")
    await client.file.upload("a.txt", b"abc")
    await client.file.download("a.txt", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"abc"


@pytest.mark.parametrize("way", ["option", "environment", "lower case"])
async def test_calls_and_transfers_go_through_the_proxy(
    emu: Emulator, proxy: TestProxy, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    emu.cloud.register_device("DEV0000001")
    options: Any = {"proxy": proxy.url} if way == "option" else {"trust_env": True}
    if way != "option":
        monkeypatch.setenv("HTTPS_PROXY" if way == "environment" else "https_proxy", proxy.url)
    async with IotoClient(environ=emu.env, ssl=trust(emu), **options) as client:
        await everything(emu, client, tmp_path)
    assert targets(proxy) >= {target_of(emu.env["IOTO_API"]), target_of(emu.cloud.files.url)}
    assert not any("uthorization" in head for head in proxy.heads), "a token is the cloud's alone"


async def test_without_an_option_the_environment_is_not_asked(
    emu: Emulator, proxy: TestProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emu.cloud.register_device("DEV0000001")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    async with IotoClient(environ=emu.env, ssl=trust(emu)) as client:
        await everything(emu, client, tmp_path)
    assert proxy.asked == []


@each_row(
    "no_proxy, is_used",
    [
        ("localhost", False),
        ("example.com,localhost", False),
        ("*", False),
        ("localhost:1", True),
        ("example.com", True),
        ("", True),
    ],
)
async def test_no_proxy_names_hosts_that_are_reached_directly(no_proxy: str, is_used: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        async with Emulator(tls=True) as emu, TestProxy() as proxy:
            patch.setenv("HTTPS_PROXY", proxy.url)
            patch.setenv("NO_PROXY", no_proxy)
            async with IotoClient(environ=emu.env, ssl=trust(emu), trust_env=True) as client:
                await client.test.ping()
    assert bool(proxy.asked) is is_used


async def test_the_option_comes_before_the_environment(
    emu: Emulator, proxy: TestProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    async with IotoClient(environ=emu.env, ssl=trust(emu), proxy=proxy.url, trust_env=True) as client:
        await client.test.ping()
    assert len(proxy.asked) == 1


async def test_a_proxy_gets_the_credentials_in_its_url_and_nobody_else_does(emu: Emulator, tmp_path: Path) -> None:
    emu.cloud.register_device("DEV0000001")
    word = base64.b64encode(f"us@er:{PASSWORD}".encode()).decode()
    sent: list[str] = []

    async def note(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        sent.extend(request.headers)
        return await handler(request)

    async with TestProxy(authorization=f"Basic {word}") as proxy:
        options: Any = {"proxy": proxy.url_of("us%40er", PASSWORD), "middlewares": [note]}
        async with IotoClient(environ=emu.env, ssl=trust(emu), **options) as client:
            await everything(emu, client, tmp_path)
            assert PASSWORD not in repr(client)
    assert "Host" in sent
    assert "Proxy-Authorization" not in sent


async def test_requests_over_plain_http_go_through_it_in_absolute_form() -> None:
    word = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    async with (
        RawServer.of(*[reply(200, {"id": "D1", "accountId": "A1"})] * 2) as server,
        TestProxy(authorization=f"Basic {word}") as proxy,
        client_of(server, proxy=proxy.url_of("user", PASSWORD)) as client,
    ):
        await client.device.get("D1")
    assert proxy.asked == [f"POST {server.url}/tok/device/get HTTP/1.1"]


async def test_a_sign_in_goes_through_the_proxy_of_its_client(emu: Emulator, proxy: TestProxy) -> None:
    env = {name: value for name, value in emu.env.items() if name != "IOTO_TOKEN"}
    async with IotoClient(environ=env, ssl=trust(emu), proxy=proxy.url) as client:
        await client.device.find()
    assert targets(proxy) >= {target_of(emu.env["IOTO_COGNITO"]), target_of(emu.env["IOTO_API"])}


async def test_a_sign_in_of_its_own_has_a_proxy_of_its_own(
    emu: Emulator, proxy: TestProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("IOTO_COGNITO", "IOTO_CLIENT_ID", "IOTO_USERNAME", "IOTO_PASSWORD")
    arguments = [emu.env[name] for name in names]
    await CognitoLogin(*arguments, ssl=trust(emu), proxy=proxy.url)()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    await CognitoLogin(*arguments, ssl=trust(emu), trust_env=True)()
    await CognitoLogin(*arguments, ssl=trust(emu))()
    assert len(proxy.asked) == 2


@pytest.mark.parametrize("way", ["option", "environment"])
async def test_a_device_link_goes_through_a_tunnel(
    emu: Emulator, proxy: TestProxy, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    certs = await provisioned(emu)
    options: Any = {"proxy": proxy.url} if way == "option" else {"trust_env": True}
    if way == "environment":
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    async with DeviceLink(certs, ca=emu.ca, **options) as link:
        await link.set_metric("TEMP", 20)
    assert proxy.asked == [f"CONNECT {certs.endpoint}:{certs.port} HTTP/1.1"]


async def test_a_proxy_that_wants_a_password_gets_it_from_a_device_link(emu: Emulator) -> None:
    certs = await provisioned(emu)
    word = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    async with (
        TestProxy(authorization=f"Basic {word}") as proxy,
        DeviceLink(certs, ca=emu.ca, proxy=proxy.url_of("user", PASSWORD)) as link,
    ):
        await link.set_metric("TEMP", 20)
        assert PASSWORD not in repr(link)


async def provisioned(emu: Emulator) -> Certificates:
    emu.cloud.register_device("DEV0000001")
    emu.cloud.claim_device("DEV0000001")
    async with IotoClient(environ=emu.env, ssl=trust(emu)) as client:
        return await client.device.provision("DEV0000001")


# What goes wrong --------------------------------------------------------------------------------------------------


@each_row(
    "answer, text, attempts",
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403 Forbidden", 1),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "407", 1),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "502 Bad Gateway", 3),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "503 Busy", 3),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP", None),
        (b"", "", 3),
    ],
)
async def test_what_the_proxy_does_not_let_through_was_never_delivered(
    answer: bytes, text: str, attempts: int | None
) -> None:
    async with TestProxy(answer=answer) as proxy:
        url = proxy.url_of("user", PASSWORD)
        async with client_of("https://cloud.example", proxy=url) as client:
            with pytest.raises(ConnectionFailedError) as caught:
                await client.action.invoke("Automation", retries=2)
    error = caught.value
    assert (error.sent, error.outcome_unknown, error.status) == (False, False, None)
    assert text in str(error)
    assert attempts in (None, error.attempts)
    assert PASSWORD not in "".join(traceback.format_exception(error)) + repr(error.__cause__)


async def test_a_proxy_that_is_not_there_is_named() -> None:
    async with client_of("https://cloud.example", proxy=f"http://user:{PASSWORD}@127.0.0.1:1") as client:
        with pytest.raises(ConnectionFailedError, match=r"cannot connect to the proxy 127\.0\.0\.1:1: ") as caught:
            await client.device.get("D1", retries=0)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value)) + repr(caught.value.__cause__)


async def test_a_sign_in_says_what_the_proxy_says() -> None:
    async with TestProxy(answer=b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n") as proxy:
        login = CognitoLogin("https://cognito.example", "client", "user", "password", proxy=proxy.url)
        with pytest.raises(TokenProviderError, match="the proxy does not let the request through: 407 No"):
            await login()
    assert len(proxy.asked) == 1


@each_row(
    "answer, text",
    [
        (b"HTTP/1.1 407 No\r\n\r\n", "the proxy does not let the connection through: 407 No"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "the proxy does not let the connection through: 502 Bad Gateway"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the proxy does not answer in HTTP"),
        (b"a" * 20_000, "the proxy does not answer in HTTP"),
        (b"", "the proxy does not answer in HTTP"),
    ],
)
async def test_a_device_link_says_what_the_proxy_says(answer: bytes, text: str) -> None:
    async with Emulator(tls=True) as emu, TestProxy(answer=answer) as proxy:
        certs = await provisioned(emu)
        link = DeviceLink(certs, ca=emu.ca, proxy=proxy.url, patience=0.6, base=0.01, cap=0.01)
        with pytest.raises(ConnectionFailedError) as caught:
            async with link:
                raise AssertionError("connected")
    assert text in str(caught.value)


@each_row(
    "value",
    [
        "proxy.example:3128",
        "socks5://proxy.example:1080",
        "http://",
        "http://proxy.example:99999",
        "",
        f"ftp://user:{PASSWORD}@proxy.example",
        f"user:{PASSWORD}@proxy.example:3128",
        3128,
        b"http://proxy.example",
    ],
)
async def test_what_is_no_proxy_is_refused_by_name_and_without_its_password(value: Any) -> None:
    makers: list[Any] = [
        lambda: client_of("https://cloud.example", proxy=value),
        lambda: CognitoLogin("https://cognito.example", "client", "user", "password", proxy=value),
        lambda: parse_proxy(value),
    ]
    for make in makers:
        with pytest.raises(InvalidArgumentError, match=r"^proxy: expected the URL of an http or https proxy") as caught:
            make()
        assert PASSWORD not in str(caught.value)


def test_a_variable_that_names_no_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://user:{PASSWORD}@proxy.example")
    with pytest.raises(InvalidArgumentError, match=r"^HTTPS_PROXY: expected the URL") as caught:
        client_of("https://cloud.example", trust_env=True)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_trust_env_is_true_or_false(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="trust_env: expected True or False"):
        client_of("https://cloud.example", trust_env=value)


def test_a_variable_for_http_is_not_asked_for_https(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    proxies = Proxies(trust_env=True)
    assert proxies.of(URL("https://cloud.example")) is None
    found = proxies.of(URL("http://cloud.example"))
    assert found is not None
    assert str(found.url) == "http://proxy.example"


# Borrowed sessions ------------------------------------------------------------------------------------------------


async def test_transfers_go_through_the_proxy_of_a_borrowed_session(
    emu: Emulator, proxy: TestProxy, tmp_path: Path
) -> None:
    emu.cloud.register_device("DEV0000001")
    connector = aiohttp.TCPConnector(ssl=trust(emu))
    async with aiohttp.ClientSession(connector=connector, proxy=proxy.url) as session:
        await everything(emu, IotoClient(environ=emu.env, session=session), tmp_path)
    assert target_of(emu.cloud.files.url) in targets(proxy)


async def test_a_proxy_may_be_given_beside_a_borrowed_session(emu: Emulator, proxy: TestProxy) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust(emu))) as session:
        client = IotoClient(environ=emu.env, session=session, proxy=proxy.url)
        await client.test.ping()
    assert len(proxy.asked) == 1


async def test_a_call_that_fails_is_a_call_error_whatever_the_proxy_does(proxy: TestProxy) -> None:
    """The proxy cannot reach the host, and closes."""
    async with client_of("https://127.0.0.1:1", proxy=proxy.url) as client:
        with pytest.raises(CallError):
            await client.device.get("D1", retries=0, timeout=GUARD)
