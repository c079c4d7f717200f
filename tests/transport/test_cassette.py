"""Recording to a cassette and playing from it: what is kept, what answers what, and what goes wrong."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ioto_async import (
    Attempt,
    AuthenticationError,
    BuilderClient,
    CallTimeoutError,
    Cassette,
    CassetteError,
    CognitoLogin,
    ConnectionFailedError,
    ConnectionLostError,
    DecodeError,
    IotoClient,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitedError,
    RetryPolicy,
    ServiceError,
    TokenProviderError,
)
from ioto_async.emulator import Emulator
from ioto_async.transport.cassette_file import Exchange, Head, append, begin, read
from tests.rawserver import TOKEN, RawServer, Step, client_of, drop, reply, reset, served, silent
from tests.rows import each_row
from tests.test_secrets import shown

from .cassettes import failure, player, recorded

CLAIM = "M72DANY8BZ"
ACCOUNT = "01HV0000000000000000ACC0NT"
PASSWORD = "pass-W0rd/secret"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trip.cassette"


# A trip -----------------------------------------------------------------------------------------------------------


async def trip(client: IotoClient, folder: Path, id: str = CLAIM) -> list[object]:
    """Something of everything: calls, paging, files, a device's certificate, the Builder, and a refusal."""
    seen: list[object] = [await client.device.claim(id), await client.device.get(id)]
    await client.store.set(id, "temp", 21.5)
    seen.append((await client.store.get(id, "temp")).value)
    seen.append([device.id async for device in client.device.find(limit=1)])
    seen.append((await client.device.provision(id)).id)
    await client.file.upload("a.bin", bytes(range(256)))
    await client.file.download("a.bin", folder / "a.bin")
    seen.append((folder / "a.bin").read_bytes())
    seen.append((await client.builder.device.get(id)).id)
    seen.append(await client.test.ping())
    seen.append(str(await failure(client.device.get("NOSUCH1234"))))
    return seen


async def test_what_is_recorded_is_played_without_a_network_a_token_and_an_account(path: Path, tmp_path: Path) -> None:
    async with Emulator(mqtt=False) as emulator:
        emulator.cloud.register_device(CLAIM)
        async with IotoClient.from_env(emulator.env, cassette=path) as client:
            live = await trip(client, tmp_path)
    masked = Cassette(path)._masks.alias(CLAIM)
    for order in ("loose", "strict"):
        # The script may name the device as it did, or as it is called in the cassette.
        for id in (CLAIM, masked):
            async with player(path, order=order) as client:
                played = await trip(client, tmp_path, id)
                assert isinstance(client._pool.cassette, Cassette)
                assert client._pool.cassette.unplayed == []
                assert client._pool.connector is None or not client._pool.connector._conns
            assert [type(value) for value in played] == [type(value) for value in live]
            assert played[2] == 21.5
            assert played[3:5] == [[masked], masked]
            assert played[5] == live[5]
            assert played[7:] == live[7:]


async def test_no_secret_and_no_identifier_is_in_the_file(path: Path, tmp_path: Path) -> None:
    async with Emulator(mqtt=False) as emulator:
        emulator.cloud.register_device(CLAIM)
        login = CognitoLogin(
            emulator.cognito, emulator.cloud.client_id, emulator.cloud.username, emulator.cloud.password
        )
        async with IotoClient.from_env(emulator.env, cassette=Cassette(path, "append")) as client:
            await trip(client, tmp_path)
            certificates = await client.device.provision(CLAIM)
            await client.device.get_creds()
            await client.user.find()
            await client.builder.device.register(CLAIM, emulator.product_token)
            await client.file.get_signed_url(filename="a.bin", command="get")
            async with client.with_options(login=login, origin=emulator.origin) as user:
                await user.user.login()
        info, builder = emulator.info(), emulator.cloud.builder
        key = certificates.key
    assert key is not None
    text = path.read_text("utf-8")
    secrets = ("token", "login_token", "product_token", "password", "builder_token", "control_token")
    ids = ("account_id", "cloud_id", "client_id", "username", "api")
    values = {name: info[name] for name in (*secrets, *ids)}  # type: ignore[literal-required]
    values |= {"claim ID": CLAIM, "key": key.splitlines()[1], "Builder": builder.token}
    assert [name for name, value in values.items() if value in text] == []
    assert "PRIVATE KEY" in text
    assert '"operation": "InitiateAuth"' in text


async def test_identifiers_can_be_kept_but_not_secrets(path: Path) -> None:
    body = {"id": CLAIM, "accountId": ACCOUNT, "email": "ann@app.example", "note": TOKEN, "apiToken": "other-t0ken"}
    async with served(reply(200, body), cassette=Cassette(path, mask=False)) as (_, client):
        await client.call("device/get", {"id": CLAIM})
    text = path.read_text("utf-8")
    assert CLAIM in text
    assert ACCOUNT in text
    assert [secret for secret in ("ann@app.example", TOKEN, "other-t0ken") if secret in text] == []
    async with IotoClient(cassette=Cassette(path, "none", mask=False), environ={}) as client:
        assert (await client.device.get(CLAIM)).id == CLAIM


async def test_nobody_else_can_read_the_file(path: Path) -> None:
    old = os.umask(0)
    try:
        async with served(reply(), cassette=Cassette(path)) as (_, client):
            await client.call("device/get", {"id": CLAIM})
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_the_same_identifier_has_the_same_mask_when_it_is_recorded_again(path: Path) -> None:
    texts = []
    for _ in range(2):
        async with served(reply(200, {"id": CLAIM}), cassette=Cassette(path, "all")) as (_, client):
            await client.call("device/get", {"id": CLAIM})
        texts.append(path.read_text("utf-8"))
    assert texts[0] == texts[1]


# Failures ---------------------------------------------------------------------------------------------------------

FAILURES: dict[str, tuple[list[Step], type[Exception], int]] = {
    "500 and success": ([reply(500, "down"), reply(200, {"id": "D1"})], type(None), 2),  # type: ignore[dict-item]
    "429 with an hour": ([reply(429, "slow", headers={"Retry-After": "3600"})], RateLimitedError, 1),
    "500 thrice": ([reply(500, "down")] * 3, ServiceError, 3),
    "dropped": ([drop(), reset(), drop()], ConnectionLostError, 3),
    "not HTTP": ([Step(b"hello\r\n\r\n", close=True)], DecodeError, 1),
    "cut off": ([reply(200, '{"id": ', length=90, close=True)] * 3, ConnectionLostError, 3),
    "not found": ([reply(400, "Cannot find device")], NotFoundError, 1),
    "no JSON": ([reply(200, "<p>")], DecodeError, 1),
    "twins": ([reply(200, '{"id": "D1", "id": "D2"}')], type(None), 1),  # type: ignore[dict-item]
    "empty": ([reply(204)], NotFoundError, 1),
}


@each_row("steps, kind, attempts", FAILURES)
async def test_every_attempt_is_recorded_and_fails_again_without_a_wait(
    tmp_path: Path, steps: list[Step], kind: type[Exception], attempts: int, waits: list[float]
) -> None:
    path = tmp_path / f"{len([*tmp_path.iterdir()])}.cassette"
    retry = RetryPolicy(attempts=3, base=0)
    errors: list[object] = []
    async with served(*steps, retry=retry, cassette=path, max_retry_after=600.0) as (_, client):
        errors.append(await outcome(client.device.get("D1")))
    assert len(read(path).exchanges) == attempts
    waits.clear()
    cassette = Cassette(path, "none", order="strict")
    async with IotoClient(
        cassette=cassette, environ={}, retry=RetryPolicy(attempts=3, base=5.0), max_retry_after=600.0
    ) as client:
        errors.append(await outcome(client.device.get("D1")))
    assert [type(error) for error in errors] == [kind, kind]
    for name in ("status", "retry_after", "attempts", "sent", "outcome_unknown"):
        assert getattr(errors[0], name, None) == getattr(errors[1], name, None), name
    if getattr(errors[0], "status", None) is not None:
        assert str(errors[0]) == str(errors[1])
    assert cassette.unplayed == []
    assert waits == []


async def test_the_pause_that_a_recorded_reply_asks_for_is_not_kept(path: Path, waits: list[float]) -> None:
    request = {"to": "cloud", "operation": "device/get", "credentials": "token", "body": {"id": "D1"}}
    begin(path, Head(ids=False))
    append(path, Exchange(request, {"status": 429, "headers": {"Retry-After": "20"}, "text": "too many"}))
    append(path, Exchange(request, {"status": 200, "body": {"id": "D1"}}))
    seen: list[Attempt] = []
    async with IotoClient(cassette=Cassette(path, "none", mask=False), environ={}, observer=seen.append) as client:
        assert (await client.device.get("D1")).id == "D1"
        assert client._transport._pause.until == 0
    assert [attempt.status for attempt in seen] == [429, 200]
    assert waits == []


async def outcome(call: Awaitable[object]) -> object:
    try:
        await call
    except Exception as error:  # noqa: BLE001
        return error
    return None


async def test_a_connection_that_was_refused_is_refused_again(path: Path) -> None:
    retry = RetryPolicy(attempts=1)
    async with client_of("http://127.0.0.1:9", retry=retry, cassette=path) as client:
        live = await failure(client.action.invoke("A1"))
    async with IotoClient(cassette=Cassette(path, "none"), environ={}, retry=retry) as client:
        played = await failure(client.action.invoke("A1"))
    assert type(live) is type(played) is ConnectionFailedError
    assert not played.sent


async def test_what_was_sent_and_not_answered_is_in_doubt_again(path: Path) -> None:
    async with served(drop(), cassette=path) as (_, client):
        await failure(client.action.invoke("A1"))
    async with player(path) as client:
        assert type(await failure(client.action.invoke("A1"))) is OutcomeUnknownError


async def test_a_request_that_was_not_answered_in_time_is_not_answered_again(path: Path) -> None:
    async with served(silent(), cassette=path) as (server, client):
        call = asyncio.ensure_future(client.device.get("D1"))
        await server.received(1)
        call.cancel()
        await asyncio.wait([call])
    assert [exchange.failure for exchange in read(path).exchanges] == ["no reply"]
    async with player(path) as client:
        assert type(await failure(client.device.get("D1", timeout=1.0, retries=0))) is CallTimeoutError


async def test_the_traceback_of_a_request_that_was_not_recorded_shows_no_secret(path: Path) -> None:
    await recorded(path, "DEV1")
    mark = "s3cr3t-Mark"
    for order in ("loose", "strict"):
        cassette = Cassette(path, "none", order=order)
        async with IotoClient(cassette=cassette, token=f"{mark}-token", environ={}) as client:
            error = await failure(client.call("device/get", {"id": "DEV2", "apiToken": mark}))
        assert isinstance(error, CassetteError)
        assert mark not in shown(error)


async def test_the_traceback_of_a_cassette_that_cannot_be_written_shows_no_secret(path: Path) -> None:
    mark = "s3cr3t-Mark"
    async with served(reply(200, {"token": mark}), token=f"{mark}-token", cassette=path / "below") as (_, client):
        path.write_text("")
        error = await failure(client.call("device/get", {"id": "DEV2", "apiToken": mark}))
    assert isinstance(error, CassetteError)
    assert "cannot be written" in str(error)
    assert mark not in shown(error)


# Which exchange answers -------------------------------------------------------------------------------------------


async def test_calls_at_the_same_time_are_answered_in_any_order(path: Path) -> None:
    ids = [f"DEV{number:07}" for number in range(20)]
    await recorded(path, *ids)
    async with player(path) as client:
        found = await asyncio.gather(*(client.device.get(id) for id in reversed(ids)))
        assert isinstance(client._pool.cassette, Cassette)
        alias = client._pool.cassette._masks.alias
    assert [device.id for device in found] == [alias(id) for id in reversed(ids)]


async def test_strictly_the_next_request_must_be_the_next_one(path: Path) -> None:
    await recorded(path, "DEV1", "DEV2")
    async with player(path, order="strict") as client:
        error = await failure(client.device.get("DEV2"))
        assert isinstance(error, CassetteError)
        assert "line 7" in str(error)
        assert "body.id: recorded 'MASK" in str(error)
        await client.device.get("DEV1")
        await client.device.get("DEV2")
        assert "each has been played" in str(await failure(client.device.get("DEV2")))


async def test_what_was_not_recorded_is_told_with_the_nearest_request(path: Path) -> None:
    async with served(handler=lambda request: reply(200, request.json), cassette=path) as (_, client):
        await client.call("device/get", {"id": "DEV1", "colour": "red"})
        await client.call("device/get", {"id": "DEV2", "colour": "green", "size": 5})
    async with player(path) as client:
        error = await failure(client.call("device/get", {"id": "DEV2", "colour": "blue", "size": 5}))
        assert str(error).endswith(
            "trip.cassette: device/get: no recorded request fits; the nearest is that of line 16: "
            "body.colour: recorded 'green', sent 'blue'"
        )
        error = await failure(client.device.claim("DEV1"))
        assert str(error).endswith("no device/claim was recorded: there are device/get")
        await client.call("device/get", {"id": "DEV1", "colour": "red"})
        error = await failure(client.call("device/get", {"id": "DEV1", "colour": "red"}))
        assert str(error).endswith("device/get: it was recorded 1 time (line 7), and each has been played")


async def test_accounts_are_told_apart_where_both_sides_name_one(path: Path) -> None:
    async with served(handler=lambda request: reply(200, request.json), cassette=path) as (_, client):
        for account in ("ACCOUNT0001", "ACCOUNT0002"):
            await client.call("device/get", {"id": "DEV1", "accountId": account})
    async with player(path) as client:
        found: Any = await client.call("device/get", {"id": "DEV1", "accountId": "ACCOUNT0002"})
        assert isinstance(client._pool.cassette, Cassette)
        assert found["accountId"] == client._pool.cassette._masks.alias("ACCOUNT0002")
        error = await failure(client.call("device/get", {"id": "DEV1", "accountId": "ACCOUNT0003"}))
        assert "body.accountId: recorded 'MASK" in str(error)
        await client.call("device/get", {"id": "DEV1"})


async def test_two_processes_may_begin_one_file(path: Path) -> None:
    cassettes = [Cassette(path, "append"), Cassette(path, "append")]  # none has begun it
    for cassette in cassettes:
        async with served(handler=lambda request: reply(200, request.json), cassette=cassette) as (_, client):
            await client.device.get("DEV1")
    first, second = read(path).exchanges
    assert first.request == second.request


async def test_members_that_change_can_be_ignored(path: Path) -> None:
    async with served(handler=lambda request: reply(200, request.json), cassette=path) as (_, client):
        await client.call("device/get", {"id": "DEV1", "now": 1, "at": {"now": 1}})
    async with player(path, ignore=["now"]) as client:
        await client.call("device/get", {"id": "DEV1", "now": 2, "at": {"now": 3}})


async def test_text_whose_identifiers_are_known_from_elsewhere_is_the_same(path: Path) -> None:
    async with served(handler=lambda request: reply(200, request.json), cassette=path) as (_, client):
        await client.device.get("DEV1")
        await client.call("alert/note", {"text": "DEV1 is hot"})
    assert "DEV1" not in path.read_text("utf-8")
    async with player(path) as client:  # it has not seen the identifier
        await client.call("alert/note", {"text": "DEV1 is hot"})
        assert isinstance(await failure(client.call("alert/note", {"text": "DEV2 is hot"})), CassetteError)


# Where it stands --------------------------------------------------------------------------------------------------


async def test_what_middlewares_make_of_a_request_is_recorded(path: Path) -> None:
    seen = []

    async def twice(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        for _ in range(2):
            response = await handler(request)
            seen.append((response.status, await response.read()))
        return response

    async with served(reply(200, {"id": "A"}), reply(200, {"id": "B"}), middlewares=[twice], cassette=path) as (
        _,
        client,
    ):
        await client.device.get("DEV1")
    assert len(read(path).exchanges) == 2
    async with IotoClient(cassette=Cassette(path, "none"), middlewares=[twice], environ={}) as client:
        await client.device.get("DEV1")
    assert len(seen) == 4


async def test_a_borrowed_session_is_recorded_and_played_as_well(path: Path) -> None:
    for _ in range(2):
        async with (
            aiohttp.ClientSession() as session,
            RawServer.of(reply(200, {"id": "DEV1"})) as server,
            client_of(server, session=session, cassette=path) as client,
        ):
            await client.device.get("DEV1")
    assert server.requests == []


async def test_clones_and_the_builder_share_the_cassette(path: Path) -> None:
    async with served(handler=lambda request: reply(200, {"id": "DEV1"}), cassette=path) as (server, client):
        assert client._pool.cassette is not None
        builder = BuilderClient(server.url, cassette=client._pool.cassette, environ={})
        async with builder:
            await builder.device.get("DEV1")
        await client.with_options(token="another-t0ken").device.get("DEV1")
    exchanges = read(path).exchanges
    assert [exchange.request["to"] for exchange in exchanges] == ["builder", "cloud"]
    assert [exchange.request["credentials"] for exchange in exchanges] == ["none", "token"]
    assert "another-t0ken" not in path.read_text("utf-8")


async def test_requests_go_the_fast_way_without_a_cassette_and_not_with_one(path: Path) -> None:
    async with served(reply(), reply()) as (_, client):
        await client.call("device/get", {"id": "D1"})
        assert client._transport._may_be_fast
    async with served(reply(), cassette=path) as (_, client):
        assert not client._transport._may_be_fast


def test_the_variables_name_a_cassette_for_all_clients_of_a_process(path: Path) -> None:
    async def get(environ: dict[str, str]) -> Any:
        async with IotoClient(environ=environ) as client:
            return await client.device.get("DEV1")

    async def record() -> None:
        async with RawServer(handler=lambda _: reply(200, {"id": "DEV1"})) as server:
            environ = {"IOTO_API": server.url, "IOTO_TOKEN": TOKEN, "IOTO_RECORD": str(path)}
            await asyncio.gather(get(environ), get(environ))

    asyncio.run(record())
    assert len(read(path).exchanges) == 2
    assert asyncio.run(get({"IOTO_REPLAY": str(path)})).id.startswith("MASK")


# Sign-in ----------------------------------------------------------------------------------------------------------

GRANTED = {"AuthenticationResult": {"AccessToken": "access-1", "TokenType": "Bearer", "ExpiresIn": 3600}}


async def test_a_sign_in_is_recorded_and_played_as_often_as_it_is_needed(path: Path) -> None:
    async with RawServer.of(reply(500, "down"), reply(200, GRANTED)) as cognito:
        login = CognitoLogin(cognito.url, "client-1", "ann", PASSWORD)
        async with served(
            reply(403, "Authentication failed"),
            reply(200, {"id": "DEV1"}),
            login=login,
            origin="app.example",
            cassette=path,
        ) as (_, client):
            await failure(client.device.get("DEV1"))
            await client.device.get("DEV1")
    text = path.read_text("utf-8")
    assert [secret for secret in (PASSWORD, "access-1", "client-1", "ann") if f'"{secret}"' in text] == []
    environ = {
        "IOTO_COGNITO": "https://cognito.example",
        "IOTO_CLIENT_ID": "client-1",
        "IOTO_USERNAME": "ann",
        "IOTO_PASSWORD": "another",
        "IOTO_HOST": "app.example",
    }
    cassette = Cassette(path, "none", order="strict")
    async with IotoClient(cassette=cassette, environ=environ) as client:
        assert isinstance(await failure(client.device.get("DEV1")), AuthenticationError)
    async with IotoClient(cassette=cassette, environ=environ) as client:  # it signs in once more
        await client.device.get("DEV1")
    assert cassette.unplayed == []


async def test_a_provider_of_ones_own_is_not_asked_when_all_is_played(path: Path) -> None:
    asked: list[str] = []

    async def provider() -> str:
        asked.append("")
        return f"access-{len(asked)}"

    options: dict[str, Any] = {"login": provider, "origin": "app.example"}
    async with served(reply(200, {"id": "DEV1"}), cassette=path, **options) as (_, client):
        await client.device.get("DEV1")
    assert len(asked) == 1
    async with IotoClient(cassette=Cassette(path, "none"), environ={}, **options) as client:
        await client.device.get("DEV1")
    assert len(asked) == 1


async def test_a_sign_in_that_was_not_recorded_is_told(path: Path) -> None:
    await recorded(path, "DEV1")
    login = CognitoLogin("https://cognito.example", "client-1", "ann", PASSWORD)
    async with IotoClient(cassette=Cassette(path, "none"), login=login, origin="app.example", environ={}) as client:
        error = await failure(client.device.get("DEV1"))
    assert isinstance(error, TokenProviderError)
    assert "no InitiateAuth (sign-in) was recorded: there are device/get" in str(error)


# Files ------------------------------------------------------------------------------------------------------------


async def test_of_a_large_file_size_and_checksum_are_recorded(path: Path, tmp_path: Path) -> None:
    data = os.urandom(200_000)
    async with Emulator(mqtt=False) as emulator, IotoClient.from_env(emulator.env, cassette=path) as client:
        await client.file.upload("a.bin", data)
        await client.file.download("a.bin", tmp_path / "a.bin")
    assert path.stat().st_size < 10_000
    async with player(path) as client:
        await client.file.upload("a.bin", data)
        error = await failure(client.file.download("a.bin", tmp_path / "b.bin"))
        assert "the body has 200000 bytes; its SHA-256 alone is recorded" in str(error)
    async with player(path) as client:
        error = await failure(client.file.upload("a.bin", data[::-1]))
        assert "the file that is sent is not the one that was" in str(error)


async def test_a_file_with_a_secret_in_it_is_recorded_without_it(path: Path, tmp_path: Path) -> None:
    async with Emulator(mqtt=False) as emulator, IotoClient.from_env(emulator.env, cassette=path) as client:
        await client.file.upload("a.txt", f"our token is {emulator.token}".encode())
        await client.file.download("a.txt", tmp_path / "a.txt")
        token = emulator.token
    assert token not in path.read_text("utf-8")
    async with player(path) as client:
        await client.file.upload("a.txt", f"our token is {token}".encode())
        await client.file.download("a.txt", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "our token is ***"


# The end of a process ---------------------------------------------------------------------------------------------

KILLED = """
import asyncio, sys
from ioto_async import IotoClient

async def main():
    async with IotoClient(sys.argv[1], token="token-0123456789", environ={"IOTO_RECORD": sys.argv[2]}) as client:
        for number in range(100000):
            await client.device.get(f"DEV{number:07}")
            print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_recording_that_is_killed_leaves_what_was_recorded(path: Path) -> None:
    async with RawServer(handler=lambda request: reply(200, request.json)) as server:
        counts = []
        for _ in range(2):
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", KILLED, server.url, str(path), stdout=subprocess.PIPE
            )
            assert child.stdout is not None
            for _ in range(20):
                await child.stdout.readline()
            child.send_signal(signal.SIGKILL)
            await child.wait()
            counts.append(len(read(path).exchanges))
    assert counts[0] >= 20
    assert counts[1] >= counts[0] + 20
    assert json.loads(json.dumps(read(path).exchanges[-1].members()))
