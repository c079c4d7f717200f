"""Secrets: text that is used by its value and not shown by chance, and what tracebacks with local variables show."""

import copy
import json
import pickle
import pprint
import reprlib
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.pretty import pretty_repr
from yarl import URL

import ioto_async
from ioto_async import (
    AccessToken,
    BuilderClient,
    Bulk,
    Certificates,
    CognitoLogin,
    Credentials,
    DeviceLink,
    IotoClient,
    Registration,
    RetryPolicy,
    Secret,
    UpdateOffer,
    Writer,
)
from ioto_async import with_raw_response as raw
from ioto_async.controllers import DeviceController
from ioto_async.emulator import Emulator
from ioto_async.settings import Settings
from ioto_async.transfer.transfer import upload
from ioto_async.transport.auth import LoginAuth, TokenAuth
from tests.rawserver import GUARD, RawServer, Request, Step, client_of, drop, reply, served
from tests.rows import each_row

MARK = "MARKED"
"""Is in every secret here. Tests keep these in globals, as their own variables are shown as well."""
TOKEN, LOGIN, PASSWORD = f"{MARK}-token", f"{MARK}-login", f"{MARK}-password"
KEY = f"-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----\n"
API = "https://cloud.example"
SIGNED = f"{API}/{MARK}-file?X-Amz-Signature={MARK}-signature"
KEYS = json.dumps({"id": "D1", "key": KEY})
CERTIFICATES = Certificates(id="D1", certificate="C", key=KEY, endpoint="mqtt.example")
TOKENS = json.dumps({"AuthenticationResult": {"AccessToken": TOKEN, "RefreshToken": LOGIN, "ExpiresIn": 3600}})
PROXY = f"http://user:{MARK}@127.0.0.1:9"
TESTS = str(Path(__file__).parent)
ENVIRON = {"IOTO_API": API, "IOTO_TOKEN": TOKEN, "BUILDER_TOKEN": f"{MARK}-builder", "IOTO_PASSWORD": PASSWORD}
SIGN_IN = {
    "IOTO_API": API,
    "IOTO_COGNITO": "https://cognito.example",
    "IOTO_CLIENT_ID": "C1",
    "IOTO_USERNAME": "ann",
    "IOTO_PASSWORD": PASSWORD,
    "IOTO_HOST": "app.example",
}


# Text -------------------------------------------------------------------------------------------------------------


def test_a_secret_is_text_whose_repr_is_masked() -> None:
    secret = Secret(TOKEN)
    assert (secret, f"{secret}", str(secret), secret + "x", hash(secret)) == (
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN + "x",
        hash(TOKEN),
    )
    assert json.loads(json.dumps({"a": secret})) == orjson.loads(orjson.dumps({"a": secret})) == {"a": TOKEN}
    for shown in (repr(secret), f"{secret!r}", repr([secret]), ascii(secret), repr({"token": secret})):
        assert MARK not in shown
        assert "Secret('***')" in shown


def test_tools_that_shorten_text_or_look_into_records_show_no_secret() -> None:
    certificates = Certificates(id="D1", key=KEY, extra={"apiToken": Secret(TOKEN)})
    for held in (Secret(KEY), [Secret(KEY)], certificates, {"key": certificates.key}):
        assert MARK not in pretty_repr(held, max_string=60) + reprlib.repr(held) + pprint.pformat(held)
    assert (Secret(TOKEN)[:6], type(Secret(TOKEN)[:6])) == (MARK, Secret)


@each_row("again", [copy.copy, copy.deepcopy, lambda secret: pickle.loads(pickle.dumps(secret))])
def test_the_copy_of_a_secret_is_one(again: Callable[[Secret], object]) -> None:
    assert (again(Secret(TOKEN)), type(again(Secret(TOKEN)))) == (TOKEN, Secret)


@each_row(
    "holder, name",
    [
        (lambda: Certificates(key=KEY), "key"),
        (lambda: Credentials(secret_access_key=KEY), "secret_access_key"),
        (lambda: Credentials(session_token=KEY), "session_token"),
        (lambda: Registration(token=KEY), "token"),
        (lambda: UpdateOffer(url=KEY), "url"),
        (lambda: AccessToken(KEY), "value"),
        (lambda: Settings.from_env({"IOTO_TOKEN": KEY}), "token"),
        (lambda: Settings.from_env({"BUILDER_TOKEN": KEY}), "builder_token"),
        (lambda: Settings.from_env({"IOTO_PASSWORD": KEY}), "password"),
    ],
)
def test_what_is_secret_is_one_from_the_moment_it_is_read(holder: Callable[[], object], name: str) -> None:
    held = getattr(holder(), name)
    assert (type(held), held) == (Secret, KEY)
    assert MARK not in repr(holder())


async def test_the_secrets_of_replies_are_read_as_such() -> None:
    provisioned = {"id": "D1", "key": KEY, "certificate": "PEM", "privateKey": TOKEN, "old": [KEY]}
    item = {"_type": "Store", "key": "name", "apiKey": TOKEN, "tokens": [TOKEN]}
    async with served(
        reply(200, provisioned),
        reply(200, json.dumps(SIGNED)),
        reply(200, provisioned),
        reply(200, {"data": [item]}),
    ) as (_, client):
        certificates = await client.device.provision("D1")
        url = await client.file.get_signed_url(filename="a", command="get")
        called: Any = await client.call("device/provision", {"id": "D1"})
        found = (await client.generic.find("Store")).items[0]
    secrets = [certificates.key, certificates.extra["privateKey"], *certificates.extra["old"], url]
    secrets += [called["key"], called["privateKey"], found["apiKey"], *found["tokens"]]
    assert {type(secret) for secret in secrets} == {Secret}
    assert MARK not in f"{certificates} {url!r} {called} {found}"
    assert (called["certificate"], found["key"], type(found["key"])) == ("PEM", "name", str)
    assert called == provisioned


# Tracebacks with local variables ----------------------------------------------------------------------------------


def shown(error: BaseException) -> str:
    """What a tool shows of *error*, local variables included, but for those of the tests."""
    rendered = traceback.TracebackException.from_exception(error, capture_locals=True)
    pending = [rendered]
    while pending:
        part = pending.pop()
        part.stack[:] = [frame for frame in part.stack if not frame.filename.startswith(TESTS)]
        pending += filter(None, [part.__cause__, part.__context__, *(part.exceptions or ())])
    return "".join(rendered.format()) + repr(error) + str(error)


async def failure(call: Callable[..., Awaitable[object]], *arguments: object) -> BaseException:
    with pytest.raises(Exception) as caught:
        await call(*arguments)
    return caught.value


class Tenant(IotoClient):
    """A client of the user's own, who has not called the constructor yet."""


CONSTRUCTORS: dict[str, Callable[[], object]] = {
    "no URL": lambda: IotoClient(f"https://{MARK}@cloud.example", token=TOKEN, environ={}),
    "http": lambda: IotoClient("http://cloud.example", token=TOKEN, builder_token=TOKEN, environ={}),
    "the token for the URL": lambda: IotoClient(TOKEN, token=API, environ={}),
    "builder": lambda: IotoClient(API, token=TOKEN, builder=f"https://builder.example?{MARK}", environ={}),
    "token": lambda: IotoClient(API, token=f"{TOKEN}\n", environ={}),
    "login": lambda: IotoClient(API, login=f"{LOGIN} ", origin="app.example", environ={}),
    "login without origin": lambda: IotoClient(API, login=LOGIN, environ={}),
    "both": lambda: IotoClient(API, token=TOKEN, login=LOGIN, environ={}),
    "builder token": lambda: IotoClient(API, token=TOKEN, builder_token=f"{TOKEN} x", environ={}),
    "account": lambda: IotoClient(API, token=TOKEN, account_id="", environ={}),
    "option": lambda: IotoClient(API, token=TOKEN, timeout=-1, environ={}),
    "unknown option": lambda: IotoClient(API, token=TOKEN, environ={}, colour="red"),  # type: ignore[call-arg]
    "headers": lambda: IotoClient(API, token=TOKEN, headers={"Host": "x"}, environ={}),
    "environment": lambda: IotoClient(timeout=-1, environ=ENVIRON),
    "from_env": lambda: IotoClient.from_env({**ENVIRON, "IOTO_API": "cloud.example"}),
    "half a sign-in": lambda: IotoClient.from_env({**SIGN_IN, "IOTO_USERNAME": ""}),
    "white space in a sign-in": lambda: IotoClient.from_env({**SIGN_IN, "IOTO_PASSWORD": f"{PASSWORD} "}),
    "clone": lambda: IotoClient(API, token=TOKEN, environ={}).with_options(token=LOGIN, api="cloud.example"),
    "clone with both": lambda: IotoClient(API, token=TOKEN, environ={}).with_options(token=TOKEN, login=LOGIN),
    "clone with a bad option": lambda: IotoClient(API, token=TOKEN, environ={}).with_options(token=LOGIN, timeout=0),
    "Builder": lambda: BuilderClient("cloud.example", token=TOKEN, environ=ENVIRON),
    "Builder with a bad token": lambda: BuilderClient(token=f" {TOKEN}", environ=ENVIRON),
    "sign-in": lambda: CognitoLogin("cognito.example", "C1", "ann", PASSWORD),
    "sign-in with a bad name": lambda: CognitoLogin(API, "C1", "", PASSWORD),
    "sign-in with a bad password": lambda: CognitoLogin(API, "C1", "ann", f"{PASSWORD} "),
    "sign-in with a bad option": lambda: CognitoLogin(API, "C1", "ann", PASSWORD, timeout=0),
    "login auth": lambda: LoginAuth(LOGIN, origin=""),
    "token auth": lambda: TokenAuth(f"{TOKEN} "),
    "proxy": lambda: IotoClient(API, token=TOKEN, proxy=f"socks5://u:{MARK}@proxy", environ={}),
    "proxy that is no URL": lambda: IotoClient(API, token=TOKEN, proxy=f"http://u:{MARK}@proxy:x", environ={}),
    "proxy and a bad option": lambda: IotoClient(API, token=TOKEN, proxy=URL(PROXY), limit=0, environ={}),
    "proxy of an environment": lambda: IotoClient.from_env({}, proxy=PROXY),
    "proxy of a sign-in": lambda: CognitoLogin(API, "C1", "ann", PASSWORD, proxy=f"socks5://u:{MARK}@proxy"),
    "proxy of a sign-in with a bad option": lambda: CognitoLogin(API, "C1", "ann", PASSWORD, proxy=PROXY, timeout=0),
    "proxy of a link": lambda: DeviceLink(CERTIFICATES, proxy=PROXY.replace("http", "https")),
    "proxy of a link with a bad option": lambda: DeviceLink(CERTIFICATES, proxy=URL(PROXY), window=0),
    "link": lambda: DeviceLink(Certificates(id="D1", certificate="C", key=KEY)),
    "link with a bad option": lambda: DeviceLink(CERTIFICATES, window=0),
}


@each_row("make", CONSTRUCTORS)
def test_the_traceback_of_a_failed_constructor_shows_no_secret(make: Callable[[], object]) -> None:
    with pytest.raises(ioto_async.InvalidArgumentError) as caught:
        make()
    assert MARK not in shown(caught.value)


@each_row("cls", [IotoClient, BuilderClient, CognitoLogin, DeviceLink, Tenant, Bulk, Writer, DeviceController])
def test_what_is_half_made_can_be_shown(cls: Any) -> None:
    assert cls.__name__ in repr(cls.__new__(cls))


CALLS: dict[str, tuple[list[Step], Callable[[IotoClient], Awaitable[object]]]] = {
    "401": ([reply(401, f"no {TOKEN}")], lambda client: client.device.get("D1")),
    "500": ([reply(500, json.dumps({"message": TOKEN}))], lambda client: client.device.get("D1", retries=0)),
    "redirect": ([reply(302, headers={"Location": f"/{TOKEN}"})], lambda client: client.device.get("D1")),
    "dropped": ([drop()], lambda client: client.device.get("D1", retries=0)),
    "unknown": ([drop()], lambda client: client.action.invoke("A1")),
    "late": ([Step()], lambda client: client.device.get("D1", retries=0, timeout=0.05)),
    "no JSON": ([reply(200, f"<p>{TOKEN}")], lambda client: client.device.get("D1")),
    "cut off": ([reply(200, KEYS[:-1])], lambda client: client.device.provision("D1")),
    "another type": (
        [reply(200, KEYS.replace('"id": ', '"id": 5, "was": '))],
        lambda client: client.with_options(strict=True).device.provision("D1"),
    ),
    "in band": ([reply(200, json.dumps({"error": "no", "key": KEY}))], lambda client: client.device.provision("D1")),
    "too long": ([reply(200, KEYS)], lambda client: client.with_options(max_reply=10).device.provision("D1")),
    "by path": ([reply(400, "no")], lambda client: client.call("other/call", {"apiToken": TOKEN, "secret": TOKEN})),
    "no JSON by path": ([reply(200, KEYS[:-1])], lambda client: client.call("device/provision", {"id": "D1"})),
    "a bad member": ([], lambda client: client.call("other/call", {"apiToken": TOKEN, "x": object()})),
    "a bad option": ([], lambda client: client.call("other/call", {"apiToken": TOKEN}, timeout=-1)),
    "a closed client": ([], lambda client: closed(client)),
    "register": ([], lambda client: client.builder.device.register("D1", f"{TOKEN} ")),
    "register by path": ([], lambda client: client.builder.call("device/register", {"product": f"{TOKEN} "})),
    "lookup": ([], lambda client: client.builder.device.lookup(TOKEN, timeout=-1)),
    "bulk": ([reply(500, TOKEN)], lambda client: failed_run(client)),
    "raw, by path": ([reply(400, "no")], lambda client: raw(client.call)("other/call", {"apiToken": TOKEN})),
    "raw, cut off": ([reply(200, KEYS[:-1])], lambda client: raw(client.device.provision)("D1")),
    "raw, lookup": ([], lambda client: raw(client.builder.device.lookup)(TOKEN, timeout=-1)),
    "raw, register": ([], lambda client: raw(client.builder.device.register)("D1", f"{TOKEN} ")),
}


async def closed(client: IotoClient) -> object:
    await client.aclose()
    return await client.device.get("D1")


async def failed_run(client: IotoClient) -> None:
    run = client.bulk(client.device.claim, ["D1"], concurrency=1)
    async for _ in run:
        pass
    run.raise_for_failures()


async def provider() -> str:
    return TOKEN


@each_row("steps, call", CALLS)
@pytest.mark.filterwarnings("ignore:.* is a legacy operation:DeprecationWarning")
async def test_the_traceback_of_a_failed_call_shows_no_secret(
    steps: list[Step], call: Callable[[IotoClient], Awaitable[object]]
) -> None:
    for credentials in ({"token": TOKEN}, {"token": TOKEN, "bearer": True}, {"login": TOKEN}, {"login": provider}):
        async with served(*steps, retry=RetryPolicy(attempts=1), origin="app.example", **credentials) as (_, client):
            error = await failure(call, client)
        assert MARK not in shown(error), credentials
    async with client_of("http://127.0.0.1:9", token=TOKEN, retry=RetryPolicy(attempts=1)) as client:
        assert MARK not in shown(await failure(client.device.get, "D1"))
    async with client_of(API, token=TOKEN, retry=RetryPolicy(attempts=1), proxy=PROXY) as client:
        assert MARK not in shown(await failure(client.device.get, "D1")) + repr(client)


@each_row(
    "provide",
    [lambda: f"{LOGIN} ", lambda: AccessToken(f"{LOGIN}\n"), lambda: AccessToken(LOGIN, -1), lambda: 1 / 0],
)
async def test_the_traceback_of_a_failed_token_provider_shows_no_secret(provide: Callable[[], Any]) -> None:
    async def login() -> Any:
        return provide()

    async with served(login=login, origin="app.example") as (_, client):
        assert MARK not in shown(await failure(client.device.get, "D1"))


SIGN_INS = [
    reply(400, json.dumps({"__type": "NotAuthorizedException", "message": f"not {PASSWORD}"})),
    reply(500, PASSWORD),
    reply(200, TOKENS[:-1]),
    reply(200, f"[{TOKENS}]"),
    reply(200, TOKENS.replace("3600", "-1")),
    reply(200, TOKENS.replace('"AccessToken": ', '"AccessToken": 5, "Other": ')),
    reply(200, TOKENS.replace("AuthenticationResult", "Session")),
    reply(200, json.dumps({"ChallengeName": "MFA", "Session": TOKEN})),
    drop(),
]


@each_row("step", SIGN_INS)
async def test_the_traceback_of_a_failed_sign_in_shows_no_secret(step: Step) -> None:
    async with RawServer(handler=lambda _: step) as cognito:
        login = CognitoLogin(cognito.url, "C1", "ann", PASSWORD, timeout=GUARD)
        assert MARK not in shown(await failure(login))
        async with client_of(API, login=login, origin="app.example") as client:
            assert MARK not in shown(await failure(client.device.get, "D1"))
    assert MARK not in shown(await failure(login))  # it is not reached any more


async def test_the_traceback_of_a_failed_renewal_shows_no_secret() -> None:
    async with RawServer.of(reply(200, TOKENS), reply(400, f"not {LOGIN}")) as cognito:
        login = CognitoLogin(cognito.url, "C1", "ann", PASSWORD, timeout=GUARD)
        await login()
        assert MARK not in shown(await failure(login))


def signed(*steps: Step) -> Callable[[Request], Step]:
    """A server that is API and bucket: it signs URLs of its own, or takes the next of *steps*."""
    left = list(steps)

    def answer(request: Request) -> Step:
        if request.path.endswith("/getSignedUrl"):
            return reply(200, json.dumps(f"http://{request.header('Host')}/b/{MARK}-file?X-Amz-Signature={MARK}-sign"))
        if request.path.endswith("/update"):
            url = f"http://{request.header('Host')}/b/{MARK}-file?X-Amz-Signature={MARK}-sign"
            return reply(200, {"url": url, "version": "2.0.0", "update": "U1", "checksum": "0" * 64})
        return left.pop(0) if left else reply(200)

    return answer


def stop(*_: object) -> None:
    raise RuntimeError("stop")


TRANSFERS: dict[str, tuple[list[Step], Callable[[IotoClient, Path], Awaitable[object]]]] = {
    "upload 403": ([reply(403, f"no {MARK}-sign")] * 2, lambda client, _: client.file.upload("a", b"data")),
    "upload dropped": ([drop()], lambda client, _: client.file.upload("a", b"data")),
    "upload whose progress raises": ([reply(200)], lambda client, _: client.file.upload("a", b"data", progress=stop)),
    "upload late": ([Step()], lambda client, _: client.file.upload("a", b"data", timeout=0.05)),
    "download 404": ([reply(404)], lambda client, path: client.file.download("a", path / "a")),
    "download too large": ([reply(200, "abc")], lambda client, path: client.file.download("a", path / "a", max_size=1)),
    "download of another": (
        [reply(200, "abc")],
        lambda client, path: client.file.download("a", path / "a", checksum="0" * 64),
    ),
    "download whose progress raises": (
        [reply(200, "abc")],
        lambda client, path: client.file.download("a", path / "a", progress=stop),
    ),
    "download cut off": (
        [reply(200, "abc", length=9, close=True)],
        lambda client, path: client.file.download("a", path / "a"),
    ),
    "update": ([reply(200, "abc")], lambda client, path: client.provision.fetch_update("D1", "P", "1.0.0", path / "a")),
    "no signed URL": ([], lambda client, _: bad_url(client)),
}


async def bad_url(client: IotoClient) -> object:
    async def sign(**_: object) -> str:
        return f"ftp://{MARK}@x"

    return await upload(client._transport, "file/upload", sign, "a", b"data", {})


@each_row("steps, transfer", TRANSFERS)
async def test_the_traceback_of_a_failed_transfer_shows_no_secret(
    tmp_path: Path, steps: list[Step], transfer: Callable[[IotoClient, Path], Awaitable[object]]
) -> None:
    async with served(handler=signed(*steps), token=TOKEN, retry=RetryPolicy(attempts=1)) as (_, client):
        assert MARK not in shown(await failure(transfer, client, tmp_path))


async def test_the_traceback_of_a_failed_link_shows_no_secret() -> None:
    assert MARK not in shown(await failure(DeviceLink(CERTIFICATES).__aenter__))  # its key is none
    async with Emulator() as emulator, IotoClient.from_env(emulator.env) as client:
        emulator.cloud.register_device("D1")
        await client.device.claim("D1")
        certificates = await client.device.provision("D1")
        error = await failure(DeviceLink(certificates).__aenter__)  # the broker is not trusted
    assert certificates.key is not None
    assert certificates.key.splitlines()[1] not in shown(error)
