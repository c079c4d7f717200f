"""``ioto-async doctor`` and ``whoami``: each failure leads to one sentence and to what to do next."""

import asyncio
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ioto_async.cli import _run
from ioto_async.cli.doctor import CHECKS, Report, Target, diagnose
from ioto_async.cli.doctor.printing import lines_of, summary_of
from ioto_async.emulator import EmulatorThread, Fault
from tests.proxy import TestProxy
from tests.rawserver import GUARD, RawServer, Request, Step, drop, reply, silent
from tests.rows import each_row

API = "https://abc.execute-api.us-east-1.amazonaws.com"
TOKEN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
PASSWORD = "pass-w0rd-0123"
ACCOUNT = "01ARZ3NDEKTSV4RRFFQ69G5FAW"
NETWORK = ("endpoint", "proxy", "dns", "tcp", "tls", "service")
SECRETS = ("IOTO_TOKEN", "IOTO_PASSWORD", "BUILDER_TOKEN", "IOTO_PRODUCT")


@pytest.fixture
def cloud(ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> EmulatorThread:
    """A cloud that the environment names, all but its MQTT, whose authority this process does not trust."""
    for name in [name for name in os.environ if name.startswith(("IOTO_", "BUILDER_"))]:
        monkeypatch.delenv(name)
    for name, value in ioto_emulator.env.items():
        if not name.startswith("IOTO_MQTT"):
            monkeypatch.setenv(name, value)
    return ioto_emulator


async def examine(environ: Mapping[str, str | None], *names: str, limit: float = GUARD, **settings: Any) -> Report:
    """The report of the checks *names*, or of all; it shows no secret, and its lines fit."""
    given = {name: value for name, value in environ.items() if value is not None}
    checks = [check for check in CHECKS if not names or check.name in names]
    report = await diagnose(Target.from_env(given, **settings), limit=limit, checks=checks)
    shown = json.dumps(report.to_dict())
    for name in SECRETS:
        if len(given.get(name, "")) > 3:
            assert given[name].strip() not in shown
    for check in report.checks:
        for line in lines_of(check, width=80):  # but for what must not be broken, such as a path
            assert len(line) <= 80 or len(line[19:].replace("-> ", "").split()) == 1
    return report


def check_failure(report: Report, name: str, summary: str, hint: str, status: int) -> None:
    """The first check that has failed is *name*, and what follows from it is skipped."""
    failed = [check for check in report.checks if check.status == "failed"]
    assert failed, summary_of(report)
    assert failed[0].name == name, failed
    assert re.search(summary, failed[0].summary), failed[0]
    assert re.search(hint, failed[0].hint or ""), failed[0]
    assert report.exit_status == status


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


# The endpoint and what leads there --------------------------------------------------------------------------------


@each_row(
    "environ, summary, hint",
    {
        "nothing": ({}, "no endpoint is set", r"IOTO_API \(or --api\).*emulator --env"),
        "empty": ({"IOTO_API": ""}, "no endpoint is set", "--api"),
        "no scheme": ({"IOTO_API": API.removeprefix("https://")}, "expected an absolute https URL", "https:// in fr"),
        "http": ({"IOTO_API": API.replace("https", "http")}, "not a loopback address", f"set IOTO_API to {API}$"),
        "another scheme": ({"IOTO_API": "mqtt://abc.example"}, "expected an absolute https", "replace the scheme"),
        "the prefix of tokens": ({"IOTO_API": f"{API}/tok"}, "leave out /tok", f"set IOTO_API to {API}$"),
        "an operation": ({"IOTO_API": f"{API}/tok/device/get"}, "path of an operation, /device/get", f"to {API}$"),
        "a query": ({"IOTO_API": f"{API}?x=1"}, "must not have a query", f"set IOTO_API to {API}$"),
        "a line break": ({"IOTO_API": f"{API}\n"}, "white space", "take away the white space"),
        "a space within": ({"IOTO_API": "https://a b.example"}, "white space", "base URL of the device cloud"),
        "a password": ({"IOTO_API": f"https://me:{PASSWORD}@abc.example"}, "user-info", "token goes into IOTO_TOKEN"),
        "a token": ({"IOTO_API": TOKEN, "IOTO_TOKEN": TOKEN}, "expected an absolute https", "looks like a token"),
        "dots": ({"IOTO_API": "https://….amazonaws.com"}, "no URL", "base URL of the device cloud"),
        "the vendor's Builder": ({"IOTO_API": "https://api.admin.embedthis.com/api"}, "is the Builder", "IOTO_API to"),
        "a Builder": (
            {"IOTO_API": "https://b.example/api/", "IOTO_BUILDER": "https://b.example/api"},
            "is the Builder, as IOTO_BUILDER says",
            "the cloud panel",
        ),
        "the site of the vendor": ({"IOTO_API": "https://www.embedthis.com"}, "is a web site", "the cloud panel"),
        "the device app": ({"IOTO_API": "https://app.example", "IOTO_HOST": "app.example"}, "device app", "panel"),
        "the sign-in": (
            {"IOTO_API": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_x"},
            "is the sign-in service",
            "the cloud panel",
        ),
        "the broker": ({"IOTO_API": "https://x-ats.iot.us-east-1.amazonaws.com"}, "is the MQTT endpoint", "panel"),
    },
)
async def test_an_endpoint_that_cannot_be_one_is_told_by_its_url(
    environ: dict[str, str], summary: str, hint: str
) -> None:
    report = await examine(environ, *NETWORK)
    check_failure(report, "endpoint", summary, hint, 2)
    assert [check.status for check in report.checks[1:]] == ["skipped"] * 5
    assert {check.summary for check in report.checks[1:]} == {"needs endpoint"}
    assert PASSWORD not in json.dumps(report.to_dict())


async def test_a_flag_goes_before_a_variable_and_is_named() -> None:
    report = await examine({"IOTO_API": API}, "endpoint", api="http://other.example")
    check_failure(report, "endpoint", "^--api: other.example is not a loopback", "^set --api to https://other", 2)
    assert report.settings["api"].to_dict() == {"value": "http://other.example", "source": "--api"}


async def test_a_path_is_a_warning_as_a_proxy_may_want_one() -> None:
    report = await examine({"IOTO_API": f"{API}/clouds/7"}, "endpoint")
    assert (report["endpoint"].status, report.exit_status) == ("warning", 0)
    assert f"set IOTO_API to {API}" in (report["endpoint"].hint or "")


async def test_every_setting_is_shown_with_where_it_came_from_and_no_secret() -> None:
    environ = {"IOTO_API": API, "IOTO_TOKEN": TOKEN, "IOTO_PASSWORD": PASSWORD, "IOTO_HOST": "app.example"}
    report = await examine(environ, "endpoint", account=ACCOUNT, product=TOKEN)
    settings = report.to_dict()["settings"]
    assert settings["account"] == {"value": ACCOUNT, "source": "--account"}
    assert settings["origin"] == {"value": "app.example", "source": "IOTO_HOST"}
    assert settings["token"] == {"value": "26 characters", "source": "IOTO_TOKEN"}
    assert settings["product"] == {"value": "26 characters", "source": "--product"}
    assert settings["builder"] == {"value": "https://api.admin.embedthis.com/api", "source": "default"}
    assert settings["username"] == {"value": None, "source": None}


@each_row(
    "code, summary, hint",
    [
        (socket.EAI_NONAME, "there is no host abc", "^check the name in IOTO_API, and the network"),
        (socket.EAI_AGAIN, "abc.*cannot be looked up", "name servers"),
    ],
)
async def test_a_host_without_addresses(monkeypatch: pytest.MonkeyPatch, code: int, summary: str, hint: str) -> None:
    def refuse(*args: object, **options: object) -> list[Any]:
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    check_failure(await examine({"IOTO_API": API}, *NETWORK), "dns", summary, hint, 4)


async def test_a_check_that_hangs_is_ended_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        pytest.fail("asyncio waits for its threads when the process ends, however long they hang")

    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: over.wait(GUARD))
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", refuse)
    environ = {"IOTO_API": API, "BUILDER_TOKEN": TOKEN, "IOTO_MQTT_HOST": "mqtt.example"}
    sign_in = {"IOTO_COGNITO": "https://sign-in.example", "IOTO_CLIENT_ID": "X", "IOTO_HOST": "app.example"}
    report = await examine(environ | sign_in | {"IOTO_USERNAME": "me", "IOTO_PASSWORD": PASSWORD}, limit=0.2)
    over.set()
    check_failure(report, "dns", r"not done within 0\.2 s, and ended", "--timeout", 4)
    ended = {check.name for check in report.checks if "not done within" in check.summary}
    assert ended == {"dns", "sign-in", "builder", "mqtt"}


async def test_a_port_at_which_nothing_listens() -> None:
    report = await examine({"IOTO_API": f"https://localhost:{unused_port()}"}, *NETWORK)
    check_failure(report, "tcp", "nothing accepts connections at localhost:.*: Connection refused", "port in IOTO_A", 4)


# TLS --------------------------------------------------------------------------------------------------------------


def certificate(folder: Path, *, begins: float = -10, ends: float = 100, issuer: str | None = None) -> Path:
    """A file with a certificate for localhost and its key, valid for these days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    signer = subject if issuer is None else x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, issuer)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=ends))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key if issuer is None else ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    pem = signed.public_bytes(serialization.Encoding.PEM)
    pem += key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path = folder / f"{begins}-{ends}-{issuer}.pem"
    path.write_bytes(pem)
    return path


@asynccontextmanager
async def serving(file: Path, change: Callable[[ssl.SSLContext], object] = id) -> AsyncIterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    change(context)
    async with RawServer(tls=context, handler=lambda request: reply(200, "pinged\n")) as server:
        yield server


@each_row(
    "options, trusted, host, summary, hint",
    {
        "expired": ({"ends": -1.0}, True, "localhost", "expired on 20", "clock of this machine, which says 20"),
        "not yet": ({"begins": 5.0}, True, "localhost", "not valid before 20", "clock of this machine"),
        "self-signed": ({}, False, "localhost", r"signed by itself \(localhost\)", "SSL_CERT_FILE.*ssl="),
        "unknown authority": ({"issuer": "ACME"}, False, "localhost", r"not trusted \(ACME\)", "SSL_CERT_FILE"),
        "another name": ({}, True, "127.0.0.1", "not for 127.0.0.1, but for localhost", "check the name in IOTO_API"),
    },
)
async def test_a_certificate_that_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: dict[str, Any],
    trusted: bool,
    host: str,
    summary: str,
    hint: str,
) -> None:
    file = certificate(tmp_path, **options)
    with monkeypatch.context() as patch:
        if trusted:
            patch.setenv("SSL_CERT_FILE", str(file))
        async with serving(file) as server:
            report = await examine({"IOTO_API": f"https://{host}:{server.port}"}, *NETWORK)
            assert server.requests == []
    check_failure(report, "tls", summary, hint, 4)
    assert report["tls"].details["verified"] is False


@each_row(
    "content, hint",
    [(None, "there is no such file"), ("", "no certificate in PEM form"), ("junk", "no certificate in PEM form")],
)
async def test_a_file_of_authorities_that_is_none_is_the_cause(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, hint: str
) -> None:
    authorities = tmp_path / "authorities.pem"
    authorities.unlink(missing_ok=True)
    if content is not None:
        authorities.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    async with serving(certificate(tmp_path)) as server:
        report = await examine({"IOTO_API": f"https://localhost:{server.port}"}, *NETWORK)
    check_failure(report, "tls", "is not trusted", f"SSL_CERT_FILE=.*: .*{hint}", 4)


async def test_a_certificate_that_is_trusted_is_shown_with_its_end_and_a_near_end_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for ends, status in ((100, "ok"), (5, "warning")):
        file = certificate(tmp_path, ends=ends)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        async with serving(file) as server:
            check = (await examine({"IOTO_API": f"https://localhost:{server.port}"}, *NETWORK[:5]))["tls"]
        end = datetime.now(UTC) + timedelta(days=ends)
        assert (check.status, check.details["issuer"], check.details["version"]) == (status, "localhost", "TLSv1.3")
        assert check.details["trust"] == f"SSL_CERT_FILE={file}"
        assert str(check.details["expires"]).startswith(f"{end:%Y-%m-%d}")
        assert f"valid until {end:%Y-%m-%d}" in check.summary


def wants_certificate(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED


def has_no_cipher(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")


@pytest.mark.parametrize("change", [wants_certificate, has_no_cipher])
async def test_a_handshake_that_the_host_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: Callable[[ssl.SSLContext], object]
) -> None:
    file = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    async with serving(file, change) as server:
        report = await examine({"IOTO_API": f"https://localhost:{server.port}"}, *NETWORK)
    check_failure(report, "tls", f"no TLS with localhost:{server.port}: ", "version of TLS|client", 4)


async def test_http_and_https_are_told_from_each_other(cloud: EmulatorThread, tmp_path: Path) -> None:
    report = await examine({"IOTO_API": cloud.api.replace("http://127.0.0.1", "https://localhost")}, *NETWORK)
    check_failure(report, "tls", "does not speak TLS", "http:// instead of https://", 4)
    async with serving(certificate(tmp_path)) as secure:
        report = await examine({"IOTO_API": f"http://localhost:{secure.port}"}, *NETWORK)
        check_failure(report, "service", "does not speak HTTP", "https:// instead of http://", 4)


# The service and its clock ----------------------------------------------------------------------------------------

_HTML = {"Content-Type": "text/html"}
_JSON = {"Content-Type": "application/json"}


@each_row(
    "step, summary, hint, status",
    {
        "a page": (reply(200, "<html><title>Hi</title></html>", headers=_HTML), "no Ioto cloud", "cloud panel", 1),
        "a page that is not there": (
            reply(404, "<html><title>Oops</title></html>", headers=_HTML),
            "no Ioto cloud at .*404 an HTML page: Oops",
            "IOTO_API",
            1,
        ),
        "JSON of something else": (reply(200, {"a": 1}), "no Ioto cloud", "cloud panel", 1),
        "a gateway without an API": (
            reply(403, {"message": "Missing Authentication Token"}, headers=_JSON),
            "no Ioto cloud at .*403 Missing Authentication Token",
            "cloud panel",
            1,
        ),
        "a redirect": (
            reply(301, "", headers={"Location": f"https://elsewhere.example/x?token={PASSWORD}"}),
            "redirects to https://elsewhere.example, and",
            "URL of the cloud itself",
            1,
        ),
        "a failure": (reply(503, "down"), "the service fails: 503 down", "try again later", 1),
        "too much": (reply(429, "slow", headers={"Retry-After": "900"}), "429 slow", "try again later", 1),
        "no HTTP": (Step(b"\x15\x03\x01\x00\x02\x02\x0a", close=True), "does not speak HTTP", "check the port", 4),
        "no answer": (drop(), "does not speak HTTP: Server disconnected", "check the port", 4),
    },
)
async def test_what_answers_and_is_no_ioto_cloud(step: Step, summary: str, hint: str, status: int) -> None:
    async with RawServer(handler=lambda request: step) as server:
        report = await examine({"IOTO_API": server.url, "IOTO_TOKEN": TOKEN}, *NETWORK, "clock", "token")
        assert [request.path for request in server.requests] == ["/test/ping"]
        assert server.requests[0].header("Authorization") is None
    check_failure(report, "service", summary, hint, status)
    assert (report["token"].status, report["token"].summary) == ("skipped", "needs service")
    assert PASSWORD not in json.dumps(report.to_dict())


@each_row(
    "step, status, hint",
    [
        (reply(403, {"message": "Forbidden"}, headers=_JSON), "ok", "IOTO_API may be of another API"),
        (reply(401, {"message": "Unauthorized"}, headers=_JSON), "ok", "IOTO_API may be of another API"),
        (reply(400, "Unknown action"), "warning", "check the endpoint"),
    ],
)
async def test_what_may_be_an_ioto_cloud_is_told_by_the_token(step: Step, status: str, hint: str) -> None:
    async with RawServer(handler=lambda request: step) as server:
        report = await examine({"IOTO_API": server.url, "IOTO_TOKEN": TOKEN}, *NETWORK, "clock", "token")
    assert report["service"].status == status
    assert report["token"].status == "failed"
    assert re.search(hint, report["token"].hint or "")


async def test_a_service_that_is_silent() -> None:
    async with RawServer(handler=lambda request: silent()) as server:
        report = await examine({"IOTO_API": server.url}, *NETWORK, limit=1.0)
    check_failure(report, "service", "timed out after 0.9 s", "--timeout", 4)


async def test_a_cloud_that_wants_a_token_for_everything_is_one() -> None:
    async with RawServer(handler=lambda request: reply(403, "Authentication failed")) as server:
        report = await examine({"IOTO_API": server.url}, *NETWORK)
    assert report["service"].status == "ok"
    assert "403 Authentication failed" in report["service"].summary


async def test_the_clock_is_compared_with_that_of_the_service(cloud: EmulatorThread) -> None:
    report = await examine(cloud.env, *NETWORK, "clock")
    assert report["clock"].status == "ok"
    cloud.advance(3600)
    clock = (await examine(cloud.env, *NETWORK, "clock"))["clock"]
    assert clock.status == "warning"
    assert re.search(r"(59 min \d+ s|1 h 0 min) behind the service's", clock.summary)
    assert "signed URLs" in (clock.hint or "")
    assert -3700 < float(str(clock.details["seconds"])) < -3500


async def test_a_reply_without_a_date_tells_nothing_of_the_clock() -> None:
    async with RawServer(handler=lambda request: reply(200, "pinged\n")) as server:
        assert (await examine({"IOTO_API": server.url}, *NETWORK, "clock"))["clock"].status == "skipped"


# Proxies ----------------------------------------------------------------------------------------------------------


async def test_the_proxy_is_told_with_what_names_it_and_without_its_password(
    cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with TestProxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url_of("me", PASSWORD))
        report = await examine(cloud.env | {"IOTO_MQTT_HOST": None})
        assert report["proxy"].details == {"url": proxy.url, "source": "HTTP_PROXY"}
        assert report["tcp"].details["port"] == proxy.port
        assert (report["account"].status, report.exit_status) == ("ok", 0)
        assert proxy.asked
        assert PASSWORD not in json.dumps(report.to_dict())
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert "NO_PROXY exempts 127.0.0.1 from HTTP_PROXY" in (await examine(cloud.env, *NETWORK))["proxy"].summary
        report = await examine(cloud.env, *NETWORK, proxy=proxy.url)
        assert report["proxy"].details["source"] == "the option proxy"


@each_row(
    "answer, summary, hint",
    [
        (b"HTTP/1.1 407 Proxy Authentication Required", "the proxy.* 407 ", "http://USER:PASSWORD@HOST:PORT"),
        (b"HTTP/1.1 403 Forbidden", "the proxy does not let the connection through: 403 ", "NO_PROXY"),
        (b"HTTP/1.1 502 Bad Gateway", "the proxy does not let the connection through: 502 ", "NO_PROXY"),
        (b"SSH-2.0-OpenSSH", "the proxy does not answer in HTTP", "NO_PROXY"),
    ],
)
async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch, answer: bytes, summary: str, hint: str) -> None:
    async with TestProxy(answer=answer + b"\r\nContent-Length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url_of("me", PASSWORD))
        report = await examine({"IOTO_API": "https://localhost:9"}, *NETWORK)
    check_failure(report, "tls", summary, hint, 4)
    assert PASSWORD not in json.dumps(report.to_dict())


async def test_a_proxy_that_wants_a_password_for_plain_http(
    cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with TestProxy(authorization="x") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        check_failure(await examine(cloud.env), "service", "the proxy refuses: 407", "USER:PASSWORD", 4)


async def test_a_proxy_that_is_not_there_or_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{unused_port()}")
    check_failure(await examine({"IOTO_API": API}, *NETWORK), "tcp", "nothing accepts", "port in HTTPS_PROXY", 4)
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://me:{PASSWORD}@proxy.example:1080")
    report = await examine({"IOTO_API": API}, *NETWORK)
    check_failure(report, "proxy", "HTTPS_PROXY: expected the URL of an http", "set HTTPS_PROXY to a URL", 2)
    assert PASSWORD not in json.dumps(report.to_dict())


# Credentials, role and account ------------------------------------------------------------------------------------

Change = Callable[[EmulatorThread], dict[str, str | None]]
NO_TOKEN: dict[str, str | None] = {"IOTO_TOKEN": None}
NO_SIGN_IN = dict.fromkeys(("IOTO_COGNITO", "IOTO_CLIENT_ID", "IOTO_USERNAME", "IOTO_PASSWORD"))


def device_token(cloud: EmulatorThread) -> str:
    device = cloud.cloud.register_device()
    cloud.cloud.claim_device(device)
    return cloud.cloud.create_token("device", device_id=device)


def suspended(cloud: EmulatorThread) -> dict[str, str | None]:
    token = cloud.cloud.create_token("cloud")
    cloud.cloud.suspend_token(token)
    return {"IOTO_TOKEN": token}


def signed_up(cloud: EmulatorThread) -> dict[str, str | None]:
    cloud.cloud.sign_up("new@ioto.test", PASSWORD)
    return NO_TOKEN | {"IOTO_USERNAME": "new@ioto.test", "IOTO_PASSWORD": PASSWORD}


def jwt(cloud: EmulatorThread) -> dict[str, str | None]:
    # {"token_use":"id","exp":1700000000}
    return {"IOTO_TOKEN": "eyJhbGciOiJub25lIn0.eyJ0b2tlbl91c2UiOiJpZCIsImV4cCI6MTcwMDAwMDAwMH0.c2lnbmF0dXJl"}


@each_row(
    "change, name, summary, hint, status",
    {
        "none": (lambda _: NO_TOKEN | NO_SIGN_IN, "token", "no credentials are set", "set IOTO_TOKEN.*IOTO_COGNITO", 2),
        "unknown": (lambda _: {"IOTO_TOKEN": TOKEN}, "token", "403 Authentication failed$", "of another cloud", 3),
        "suspended": (suspended, "token", "403 Authentication failed$", "suspended", 3),
        "a line break": (lambda c: {"IOTO_TOKEN": f"{c.token}\n"}, "token", "IOTO_TOKEN: holds white", "line break", 2),
        "bearer": (lambda c: {"IOTO_TOKEN": f"Bearer {c.token}"}, "token", "white space", "leave out the word", 2),
        "of the product": (lambda c: {"IOTO_TOKEN": c.product_token}, "token", "token of IOTO_PRODUCT", "CloudAPI", 3),
        "of the Builder": (
            lambda c: {"IOTO_TOKEN": c.env["BUILDER_TOKEN"]},
            "token",
            "the BuilderAPI token of BUILDER_TOKEN",
            "make a CloudAPI token",
            3,
        ),
        "of a login": (
            lambda c: {"IOTO_TOKEN": c.login_token},
            "token",
            "the login access token of a sign-in$",
            "unset IOTO_TOKEN and set IOTO_COGNITO",
            3,
        ),
        "a JWT": (jwt, "token", "the id token of a sign-in, which expired at 2023-11-14", "unset IOTO_TOKEN", 3),
        "half a sign-in": (
            lambda _: NO_TOKEN | {"IOTO_PASSWORD": None, "IOTO_HOST": None},
            "sign-in",
            "IOTO_PASSWORD, IOTO_HOST are not set",
            "set IOTO_PASSWORD and IOTO_HOST",
            2,
        ),
        "a wrong password": (lambda _: NO_TOKEN | {"IOTO_PASSWORD": "wrong"}, "sign-in", "refused", "IOTO_PASSWORD", 3),
        "a wrong client": (lambda _: NO_TOKEN | {"IOTO_CLIENT_ID": "x"}, "sign-in", "refused", "IOTO_CLIENT_ID", 3),
        "a sign-in elsewhere": (
            lambda _: NO_TOKEN | {"IOTO_COGNITO": f"http://localhost:{unused_port()}"},
            "sign-in",
            "nothing accepts connections",
            "port in IOTO_COGNITO",
            4,
        ),
        "http for the sign-in": (
            lambda _: NO_TOKEN | {"IOTO_COGNITO": "http://sign-in.example"},
            "sign-in",
            "IOTO_COGNITO: sign-in.example is not a loopback",
            "correct",
            2,
        ),
        "another app": (lambda _: NO_TOKEN | {"IOTO_HOST": "other.example"}, "token", "403", "IOTO_HOST .other.ex", 3),
        "no user yet": (signed_up, "token", "refuses the token of the sign-in", "must sign in there once", 3),
    },
)
async def test_credentials_that_are_not_taken(
    cloud: EmulatorThread, change: Change, name: str, summary: str, hint: str, status: int
) -> None:
    cloud.reset()
    report = await examine(cloud.env | {"IOTO_MQTT_HOST": None} | change(cloud))
    check_failure(report, name, summary, hint, status)
    assert {report[name].status for name in ("role", "account")} == {"skipped"}


def user(role: Any) -> Change:
    def change(cloud: EmulatorThread) -> dict[str, str | None]:
        cloud.cloud.add_user("one@ioto.test", password=PASSWORD, role=role)
        return NO_TOKEN | {"IOTO_USERNAME": "one@ioto.test", "IOTO_PASSWORD": PASSWORD}

    return change


@each_row(
    "change, kind, role, status",
    [
        (lambda _: {}, "CloudAPI token", "owner", "ok"),
        (lambda c: {"IOTO_TOKEN": device_token(c)}, "device token", "device", "warning"),
        (lambda _: NO_TOKEN, "login access token", "owner", "ok"),
        (user("admin"), "login access token", "admin", "ok"),
        (user("user"), "login access token", "user", "warning"),
    ],
)
async def test_the_kind_of_the_token_and_its_role_are_found_out(
    cloud: EmulatorThread, change: Change, kind: str, role: str, status: str
) -> None:
    cloud.reset()
    before = cloud.cloud.builder.registry.count()
    report = await examine(cloud.env | change(cloud) | {"IOTO_MQTT_HOST": None})
    assert report.exit_status == 0
    assert report["token"].details["kind"] == kind
    assert (report["role"].details["role"], report["role"].status) == (role, status)
    assert ("admin" in str(report["role"].details["allows"])) == (role in ("owner", "admin"))
    if role == "user":
        assert "not claim, provision or release" in report["role"].summary
        assert "sign in as an admin" in (report["role"].hint or "")
    assert cloud.cloud.builder.registry.count() - before == (role == "device")


def answering(replies: dict[str, Step]) -> Callable[[Request], Step]:
    """Answers requests by the last two parts of their path; all else is refused as of too low a role."""
    return lambda request: replies.get("/".join(request.path.split("/")[-2:]), reply(403, "Access denied"))


@each_row(
    "replies, kind, role, account",
    {
        "lists no accounts": (
            {"account/find": reply(400, "Missing accountId"), "device/find": reply(200, {"data": []})},
            "CloudAPI token",
            "owner",
            "the cloud does not say which",
        ),
        "answers something else": (
            {"account/find": reply(200, '"text"'), "device/find": reply(200, {"data": []})},
            "CloudAPI token",
            "owner",
            "the cloud does not say which",
        ),
        "has no accounts": ({"account/find": reply(200, {"data": []})}, "CloudAPI token", "owner", "no account yet"),
        "may only look": ({"device/find": reply(200, {"data": []})}, "CloudAPI token", "user", "does not say which"),
    },
)
async def test_a_token_is_told_apart_by_what_it_may_do(
    replies: dict[str, Step], kind: str, role: str, account: str
) -> None:
    ping = {"test/ping": reply(200, "pinged\n")}
    async with RawServer(handler=answering(ping | replies)) as server:
        environ = {"IOTO_API": server.url, "IOTO_TOKEN": TOKEN}
        report = await examine(environ, *NETWORK, "sign-in", "token", "role", "account")
    assert (report["token"].status, report["token"].details["kind"]) == ("ok", kind)
    assert report["role"].details["role"] == role
    assert account in report["account"].summary


async def test_a_user_whom_only_the_sign_in_tells_of_is_found(cloud: EmulatorThread) -> None:
    cloud.faults.add(Fault("user/get", status=400, body="Missing id", times=None))
    report = await examine(cloud.env | NO_TOKEN | {"IOTO_MQTT_HOST": None})
    cloud.faults.clear()
    assert (report["token"].status, report["role"].details["role"], report["account"].status) == ("ok", "owner", "ok")
    login = next(request for request in cloud.requests if request.operation == "user/login")
    assert json.loads(login.body) == {"register": False}


def other_account(cloud: EmulatorThread) -> str:
    return cloud.cloud.add_account("Other", "other@ioto.test")


def closed_account(cloud: EmulatorThread) -> str:
    account = other_account(cloud)
    cloud.cloud.close_account(account)
    return account


@each_row(
    "change, status, summary, hint, exit_status",
    {
        "its own": (lambda _: {}, "ok", r"\(Demo\), from IOTO_ACCOUNT$", "^$", 0),
        "the only one": (lambda _: {"IOTO_ACCOUNT": None}, "warning", "the only account is", "set IOTO_ACCOUNT=", 0),
        "one of two": (
            lambda c: {"IOTO_ACCOUNT": other_account(c) and None},
            "warning",
            r"several: .*\(Demo\), .*\(Other\)",
            "set IOTO_ACCOUNT",
            0,
        ),
        "another one": (lambda c: {"IOTO_ACCOUNT": other_account(c)}, "ok", r"\(Other\), from IOTO_ACCOUNT", "^$", 0),
        "none": (
            lambda _: {"IOTO_ACCOUNT": ACCOUNT},
            "failed",
            "there is no account",
            r"that the token sees:.*Demo",
            1,
        ),
        "a closed one": (lambda c: {"IOTO_ACCOUNT": closed_account(c)}, "failed", r"is closed", "another account", 1),
        "a line break": (
            lambda c: {"IOTO_ACCOUNT": f"{c.account_id}\n"},
            "failed",
            "no white space",
            "without it$",
            2,
        ),
        "of the user": (lambda _: NO_TOKEN | {"IOTO_ACCOUNT": None}, "ok", "that of the user", "^$", 0),
        "not of the user": (
            lambda c: NO_TOKEN | {"IOTO_ACCOUNT": other_account(c)},
            "failed",
            "IOTO_ACCOUNT names .*, but demo@ioto.test is of",
            "unset IOTO_ACCOUNT",
            1,
        ),
    },
)
async def test_the_account_is_found_where_the_api_allows(
    cloud: EmulatorThread, change: Change, status: str, summary: str, hint: str, exit_status: int
) -> None:
    cloud.reset()
    report = await examine(cloud.env | {"IOTO_MQTT_HOST": None} | change(cloud))
    account = report["account"]
    assert (account.status, report.exit_status) == (status, exit_status), account
    assert re.search(summary, account.summary), account
    assert re.search(hint, account.hint or ""), account


# The Builder and MQTT ---------------------------------------------------------------------------------------------


@each_row(
    "change, status, summary, hint, exit_status",
    {
        "all": (lambda _: {}, "ok", "accepts BUILDER_TOKEN; the product is Demo", "^$", 0),
        "no token": (lambda _: {"BUILDER_TOKEN": None}, "ok", "BUILDER_TOKEN is not set", "^$", 0),
        "a wrong token": (lambda _: {"BUILDER_TOKEN": TOKEN}, "failed", "refuses BUILDER_TOKEN", "BuilderAPI token", 3),
        "that of the cloud": (
            lambda c: {"BUILDER_TOKEN": c.token},
            "failed",
            "the same as IOTO_TOKEN, which is for the device cloud",
            "BuilderAPI token",
            3,
        ),
        "no such product": (lambda _: {"IOTO_PRODUCT": TOKEN}, "failed", "product of IOTO_PRODUCT", "IOTO_PRODUCT", 1),
        "no path": (lambda c: {"IOTO_BUILDER": f"{c.api}/"}, "failed", "refuses|Builder", "ends with /api", 3),
        "nothing there": (
            lambda _: {"IOTO_BUILDER": f"http://localhost:{unused_port()}/api"},
            "failed",
            "from IOTO_BUILDER: nothing accepts connections",
            "port in IOTO_BUILDER",
            4,
        ),
        "http": (lambda _: {"IOTO_BUILDER": "http://b.example/api"}, "failed", "not a loopback", "correct", 2),
        "not set": (
            lambda _: {"IOTO_BUILDER": None, "BUILDER_TOKEN": None},
            "skipped",
            "would be the vendor's",
            "IOTO_BUILDER",
            0,
        ),
    },
)
async def test_the_builder(
    cloud: EmulatorThread, change: Change, status: str, summary: str, hint: str, exit_status: int
) -> None:
    report = await examine(cloud.env | change(cloud), "builder")
    builder = report["builder"]
    assert (builder.status, report.exit_status) == (status, exit_status), builder
    assert re.search(summary, builder.summary), builder
    assert re.search(hint, builder.hint or ""), builder


@pytest.fixture
def fleet(cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a fleet of one device, DEV1, whose cloud this process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", cloud.ca)
    cloud.cloud.register_device("DEV1")
    (tmp_path / "fleet.csv").write_text("id\nDEV1\n")
    assert _run(["provision", str(tmp_path / "fleet.csv"), "--out", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


async def test_a_device_connects_with_its_certificate_until_it_is_released(cloud: EmulatorThread, fleet: Path) -> None:
    for folder, device in ((fleet / "DEV1", None), (fleet, "DEV1")):
        report = await examine(cloud.env, "mqtt", certs=folder, device=device)
        details = report["mqtt"].details
        assert (report["mqtt"].status, details["device"], details["port"]) == ("ok", "DEV1", cloud.mqtt_port)
        assert details["alpn"] == "x-amzn-mqtt-ca"
    cloud.cloud.release_device("DEV1")
    report = await examine(cloud.env, "mqtt", certs=fleet / "DEV1")
    check_failure(report, "mqtt", "does not accept DEV1", "provision the device again", 3)


@each_row(
    "settings, change, status, summary, hint",
    {
        "no folder": ({"certs": Path("/nonexistent")}, {}, 2, "--certs: no provision.json", "fleet provision"),
        "no listener": ({}, {"IOTO_MQTT_PORT": str(unused_port())}, 4, "nothing accepts", "IOTO_MQTT_PORT"),
        "no port": ({}, {"IOTO_MQTT_PORT": "x"}, 2, "IOTO_MQTT_PORT: invalid", "correct"),
        "no trust": ({}, {}, 4, "not trusted", "SSL_CERT_FILE"),
    },
)
async def test_an_mqtt_endpoint_that_is_not_reached(
    cloud: EmulatorThread, settings: dict[str, Any], change: dict[str, str], status: int, summary: str, hint: str
) -> None:
    report = await examine(cloud.env | change, "mqtt", **settings)
    check_failure(report, "mqtt", summary, hint, status)


async def test_without_a_certificate_the_mqtt_endpoint_is_not_known(cloud: EmulatorThread) -> None:
    report = await examine(cloud.env | {"IOTO_MQTT_HOST": None}, "mqtt")
    assert (report["mqtt"].status, report.exit_status) == ("skipped", 0)
    assert "--certs" in (report["mqtt"].hint or "")


# The commands -----------------------------------------------------------------------------------------------------


def test_the_lines_are_80_columns_wide_and_the_status_is_that_of_the_first_failure(
    cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["doctor"]) == 0
    good = capsys.readouterr().out
    monkeypatch.setenv("IOTO_TOKEN", TOKEN)
    monkeypatch.delenv("BUILDER_TOKEN")
    assert _run(["doctor"]) == 3
    bad = capsys.readouterr().out
    for text in (good, bad):
        assert max(map(len, text.splitlines())) <= 80
        assert not any(value in text for value in (cloud.token, TOKEN, cloud.env["IOTO_PASSWORD"], cloud.product_token))
    assert "No problems found." in good
    assert re.search(r"^  IOTO_TOKEN +26 characters$", good, re.MULTILINE)
    assert "1 check has failed" in bad
    assert re.search(r"^  IOTO_BUILDER +http\S+/api$", bad, re.MULTILINE)
    assert re.search(r"^failed +token +the cloud refuses IOTO_TOKEN", bad, re.MULTILINE)
    assert re.search(r"^skipped +role +needs token$", bad, re.MULTILINE)


@each_row("change, status", [({}, 0), ({"IOTO_TOKEN": TOKEN}, 3), ({"IOTO_API": ""}, 2)])
def test_the_json_always_has_the_same_keys(
    cloud: EmulatorThread,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    status: int,
) -> None:
    with monkeypatch.context() as patch:
        for name, value in change.items():
            patch.setenv(name, value)
        assert _run(["doctor", "--json"]) == status
    report = json.loads(capsys.readouterr().out)
    assert [*report] == ["ok", "warning", "failed", "skipped", "settings", "checks"]
    assert report["ok"] is (status == 0)
    assert [check["name"] for check in report["checks"]] == [check.name for check in CHECKS]
    assert {tuple(check) for check in report["checks"]} == {("name", "status", "summary", "hint", "seconds", "details")}
    assert {tuple(setting) for setting in report["settings"].values()} == {("value", "source")}


def test_the_whole_of_it_over_tls_in_a_process_of_its_own(tmp_path: Path) -> None:
    with EmulatorThread(tls=True) as cloud:
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **cloud.env}
        command = [sys.executable, "-m", "ioto_async.cli", "doctor", "--json", "--timeout", f"{GUARD:.0f}s"]
        done = subprocess.run(command, env=environ | {"SSL_CERT_FILE": cloud.ca}, capture_output=True, check=False)
        report = json.loads(done.stdout)
        assert (done.returncode, report["failed"], done.stderr) == (0, 0, b"")
        statuses = {check["name"]: check["status"] for check in report["checks"]}
        assert {name for name, status in statuses.items() if status != "ok"} == {"sign-in"}
        done = subprocess.run(command, env=environ, capture_output=True, check=False)
        assert done.returncode == 4
        assert (
            next(check for check in json.loads(done.stdout)["checks"] if check["status"] == "failed")["name"] == "tls"
        )


@each_row(
    "options, message",
    [
        (["--timeout", "soon"], "--timeout: expected a duration"),
        (["--device", "DEV1"], "--device: expected --certs or --conformance beside it"),
    ],
)
def test_an_option_that_does_not_fit_is_wrong_usage(
    cloud: EmulatorThread, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert _run(["doctor", *options]) == 2
    assert message in capsys.readouterr().err


@each_row(
    "change, token, role, email",
    [
        (lambda _: {}, "CloudAPI token", "owner", None),
        (lambda c: {"IOTO_TOKEN": device_token(c)}, "device token", "device", None),
        (lambda _: NO_TOKEN, "login access token", "owner", "demo@ioto.test"),
        (user("user"), "login access token", "user", "one@ioto.test"),
    ],
)
def test_whoami_says_who_the_caller_is(
    cloud: EmulatorThread,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Change,
    token: str,
    role: str,
    email: str | None,
) -> None:
    cloud.reset()
    with monkeypatch.context() as patch:
        for name, value in change(cloud).items():
            patch.delenv(name) if value is None else patch.setenv(name, value)
        assert _run(["whoami", "--json"]) == 0
        who = json.loads(capsys.readouterr().out)
        assert _run(["whoami"]) == 0
        lines = capsys.readouterr().out.splitlines()
    assert [*who] == ["endpoint", "token", "role", "account_id", "account_name", "user_id", "user_email"]
    assert (who["endpoint"], who["token"], who["role"], who["user_email"]) == (cloud.api, token, role, email)
    assert who["account_id"] == cloud.account_id
    assert [line.split()[0] for line in lines] == ["endpoint", "token", "role", "account", "user"]
    assert cloud.account_id in lines[3]


def test_whoami_acts_for_the_account_that_is_set(
    cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = other_account(cloud)
    monkeypatch.setenv("IOTO_ACCOUNT", other)
    assert _run(["whoami", "--json"]) == 0
    who = json.loads(capsys.readouterr().out)
    assert (who["account_id"], who["account_name"]) == (other, "Other")
    monkeypatch.delenv("IOTO_ACCOUNT")
    assert _run(["whoami"]) == 0
    assert "none of several: set IOTO_ACCOUNT" in capsys.readouterr().out


@each_row(
    "change, status, message",
    [
        ({"IOTO_TOKEN": TOKEN}, 3, "403 Authentication failed (ioto-async doctor says what to do)"),
        ({"IOTO_API": f"http://localhost:{unused_port()}"}, 4, "(ioto-async doctor says what to do)"),
        ({"IOTO_API": ""}, 2, "give --api, or set IOTO_API"),
        ({"IOTO_ACCOUNT": ACCOUNT}, 2, f"IOTO_ACCOUNT: there is no account {ACCOUNT!r} (ioto-async doctor says"),
        ({"IOTO_TOKEN": "", "IOTO_ACCOUNT": ACCOUNT}, 2, "IOTO_ACCOUNT: demo@ioto.test acts for "),
    ],
)
def test_whoami_fails_as_other_commands_do(
    cloud: EmulatorThread,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    no_waits: None,
    change: dict[str, str],
    status: int,
    message: str,
) -> None:
    with monkeypatch.context() as patch:
        for name, value in change.items():
            patch.setenv(name, value)
        assert _run(["whoami"]) == status
    assert message in capsys.readouterr().err


# The page ---------------------------------------------------------------------------------------------------------

_PAGE = (Path(__file__).parent.parent.parent / "docs" / "doctor.md").read_text("utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_lists_the_checks_and_the_lines_that_there_are() -> None:
    listed = re.findall(r"^\| `([a-z][a-z-]*)` \|", _PAGE, re.MULTILINE)
    names = [check.name for check in CHECKS]
    assert listed == names
    assert re.findall(r"^(?:ok|warning|failed|skipped) +([a-z-]+)", _blocks("text")[0], re.MULTILINE) == names


def test_the_checks_can_be_imported_without_the_command_line() -> None:
    code = "import ioto_async.cli.doctor, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"cyclopts", "rich", "cryptography"} & {*loaded} == set()
