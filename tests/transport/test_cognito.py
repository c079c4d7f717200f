"""Signing in by Cognito, and the renewal of tokens before they expire."""

import asyncio
import itertools
import json
import logging
import ssl
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest
from yarl import URL

from ioto_async import AccessToken, CognitoLogin, InvalidArgumentError, IotoClient, TokenProviderError
from ioto_async.emulator import Emulator
from ioto_async.transport.auth import LoginAuth, Middleware, TokenProvider
from tests.rawserver import RawServer, Request, Step, client_of, drop, leftover_tasks, reply, reset, silent
from tests.rows import each_row

CLIENT_ID = "4vvn6qbq9f1rhn4hh2kjn3qh5o"
USER = "user@app.example"
PASSWORD = "pass-W0rd/secret"
REFRESH = "refresh-t0ken-secret"
DEVICE = {"id": "D1"}


def granted(token: str = "access-1", lifetime: Any = 3600, refresh: str | None = REFRESH) -> Step:
    result = {"AccessToken": token, "IdToken": "identity", "TokenType": "Bearer", "ExpiresIn": lifetime}
    return reply(200, {"AuthenticationResult": result | ({"RefreshToken": refresh} if refresh else {})})


def refused(
    code: str,
    message: str = "Incorrect username or password.",
    status: int = 400,
    headers: dict[str, str] | None = None,
) -> Step:
    return reply(status, json.dumps({"__type": code, "message": message}), headers=headers or {})


NOT_AUTHORIZED = refused("NotAuthorizedException")


@asynccontextmanager
async def cognito(*steps: Step, path: str = "", **options: Any) -> AsyncIterator[tuple[RawServer, CognitoLogin]]:
    async with RawServer(deque(steps)) as server:
        yield server, CognitoLogin(server.url + path, CLIENT_ID, USER, PASSWORD, **options)


async def failure(call: Awaitable[Any]) -> TokenProviderError:
    with pytest.raises(TokenProviderError) as caught:
        await call
    return caught.value


# The sign-in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "sent"), [("", "/"), ("/", "/"), ("/us-east-1_Pool", "/us-east-1_Pool")])
async def test_a_token_is_had_for_user_name_and_password(path: str, sent: str) -> None:
    async with cognito(granted(), path=path) as (server, login):
        token = await login()
    assert token == AccessToken("access-1", 3600)
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", sent)
    assert request.header("X-Amz-Target") == "AWSCognitoIdentityProviderService.InitiateAuth"
    assert request.header("Content-Type") == "application/x-amz-json-1.1"
    assert request.json == {
        "AuthFlow": "USER_PASSWORD_AUTH",
        "ClientId": CLIENT_ID,
        "AuthParameters": {"USERNAME": USER, "PASSWORD": PASSWORD},
    }


async def test_a_lifetime_may_come_as_text() -> None:
    async with cognito(granted(lifetime="3600")) as (_, login):
        assert (await login()).lifetime == 3600


async def test_the_next_tokens_are_had_for_the_refresh_token() -> None:
    answers = (granted(), granted("access-2", refresh=None), granted("access-3", refresh="other"), granted("access-4"))
    async with cognito(*answers) as (server, login):
        tokens = [(await login()).value for _ in range(4)]
    assert tokens == ["access-1", "access-2", "access-3", "access-4"]
    asked = [(request.json["AuthFlow"], request.json["AuthParameters"]) for request in server.requests[1:]]
    assert asked == [("REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": token}) for token in (REFRESH, REFRESH, "other")]
    assert {request.json["ClientId"] for request in server.requests} == {CLIENT_ID}


async def test_a_refresh_token_that_is_refused_sends_back_to_the_password() -> None:
    gone = refused("com.amazonaws.cognito#NotAuthorizedException", "Refresh Token has expired")
    async with cognito(granted(), gone, granted("access-2", refresh="other"), granted("access-3")) as (server, login):
        tokens = [(await login()).value for _ in range(3)]
    assert tokens == ["access-1", "access-2", "access-3"]
    flows = [request.json["AuthFlow"] for request in server.requests]
    assert flows == ["USER_PASSWORD_AUTH", "REFRESH_TOKEN_AUTH", "USER_PASSWORD_AUTH", "REFRESH_TOKEN_AUTH"]


async def test_a_refresh_that_fails_otherwise_does_not_send_the_password() -> None:
    async with cognito(granted(), refused("UserNotConfirmedException", "no")) as (server, login):
        await login()
        await failure(login())
    assert [request.json["AuthFlow"] for request in server.requests] == ["USER_PASSWORD_AUTH", "REFRESH_TOKEN_AUTH"]


async def test_every_sign_in_closes_its_connection() -> None:
    async with cognito(granted(), granted()) as (server, login):
        await login()
        await login()
        await server.until(lambda: server.open == 0)
    assert server.connections == 2


def test_a_login_belongs_to_no_event_loop() -> None:
    async def once() -> None:
        async with RawServer.of(granted()) as server:
            login._endpoint = URL(server.url)
            await login()

    login = CognitoLogin("https://cognito.example", CLIENT_ID, USER, PASSWORD)
    asyncio.run(once())
    asyncio.run(once())


# Failures ---------------------------------------------------------------------------------------------------------


FINAL: list[tuple[Step, str]] = [
    (NOT_AUTHORIZED, "NotAuthorizedException: Incorrect username or password."),
    (refused("a.b#UserNotFoundException", "User does not exist."), "UserNotFoundException: User does not exist."),
    (reply(200, {"ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": "s3ssion"}), "NEW_PASSWORD_REQUIRED"),
    (reply(200, {"ChallengeName": "SOFTWARE_TOKEN_MFA"}), "SOFTWARE_TOKEN_MFA"),
    (reply(200, {}), "AuthenticationResult"),
    (reply(200, {"AuthenticationResult": []}), "AuthenticationResult"),
    (reply(200, {"AuthenticationResult": {}}), "AccessToken"),
    (reply(200, {"AuthenticationResult": {"AccessToken": 17}}), "AccessToken"),
    (granted(lifetime="soon"), "ExpiresIn"),
    (granted(lifetime=0), "ExpiresIn"),
    (granted(lifetime="0"), "ExpiresIn"),
    (reply(200, "<html>"), "JSON"),
    (reply(200, []), "JSON"),
    (reply(403, "<html>"), "403"),
    (reply(302, b"", headers={"Location": "http://127.0.0.1:1/"}), "302"),
]


@each_row("answer, text", FINAL)
async def test_a_sign_in_that_is_refused_says_why_and_is_not_repeated(answer: Step, text: str) -> None:
    async with cognito(answer, granted()) as (server, login):
        error = await failure(login())
    assert text in str(error)
    assert len(server.requests) == 1


BUSY = refused("TooManyRequestsException", "Rate exceeded")


@pytest.mark.parametrize("trouble", [drop(), reset(), reply(500), reply(503, "{}"), BUSY])
async def test_a_failure_that_may_pass_is_tried_again(trouble: Step, waits: list[float]) -> None:
    async with cognito(trouble, trouble, granted()) as (server, login):
        assert (await login()).value == "access-1"
    assert (len(server.requests), len(waits)) == (3, 2)


@pytest.mark.parametrize("trouble", [drop(), reply(500), BUSY])
async def test_a_failure_that_does_not_pass_is_told(trouble: Step, waits: list[float]) -> None:
    async with cognito(*[trouble] * 9) as (server, login):
        error = await failure(login())
    assert (len(server.requests), error.attempts, len(waits)) == (3, 3, 2)


@pytest.mark.parametrize("status", [400, 429, 503])
async def test_a_sign_in_waits_as_long_as_it_is_asked_to(status: int, waits: list[float]) -> None:
    busy = refused("TooManyRequestsException", "Rate exceeded", status, {"Retry-After": "17"})
    async with cognito(busy, granted()) as (_, login):
        assert (await login()).value == "access-1"
    assert waits == [17.0]


async def test_a_sign_in_that_is_asked_to_wait_too_long_fails_with_that_wait(waits: list[float]) -> None:
    async with cognito(reply(429, headers={"Retry-After": "61"}), granted()) as (server, login):
        error = await failure(login())
    assert (error.retry_after, error.attempts, len(server.requests), waits) == (61.0, 1, 1, [])


async def test_a_refusal_after_a_failure_counts_the_attempts(waits: list[float]) -> None:
    async with cognito(drop(), NOT_AUTHORIZED) as (_, login):
        error = await failure(login())
    assert (error.status, error.attempts, len(waits)) == (400, 2, 1)
    assert error.operation == "cognito/InitiateAuth"


async def test_the_password_has_attempts_of_its_own_after_a_refresh_token_that_is_refused(waits: list[float]) -> None:
    trouble = reply(500)
    answers = (granted(), trouble, trouble, NOT_AUTHORIZED, trouble, trouble, granted("access-2"))
    async with cognito(*answers) as (server, login):
        await login()
        assert (await login()).value == "access-2"
    assert len(server.requests) == len(answers)


async def test_another_try_of_a_sign_in_is_logged_with_its_reason(
    waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    async with cognito(BUSY, granted()) as (_, login):
        with caplog.at_level(logging.INFO, "ioto_async"):
            await login()
    (record,) = [record for record in caplog.records if record.name == "ioto_async"]
    assert record.getMessage().startswith("cognito/InitiateAuth: retry in ")
    assert record.getMessage().endswith("Cognito: TooManyRequestsException: Rate exceeded")


async def test_a_service_that_cannot_be_reached_is_named(waits: list[float]) -> None:
    async with RawServer() as server:
        pass
    error = await failure(CognitoLogin(server.url, CLIENT_ID, USER, PASSWORD)())
    assert f"127.0.0.1:{server.port}" in str(error)
    assert len(waits) == 2


async def test_a_service_that_never_answers_runs_out_of_time(waits: list[float]) -> None:
    async with cognito(silent(), silent(), silent(), timeout=0.05) as (server, login):
        error = await failure(login())
    assert "in time" in str(error)
    assert len(server.requests) == len(waits) + 1 == 3


@pytest.mark.parametrize(
    "answer",
    [
        refused("InvalidParameterException", f"no {PASSWORD} {REFRESH}"),
        reply(400, f"{PASSWORD} {REFRESH}"),
        reply(200, {"ChallengeName": f"{PASSWORD} {REFRESH}"}),
        Step(f"{PASSWORD} {REFRESH}\r\n\r\n".encode(), close=True),
    ],
)
async def test_no_error_shows_a_secret(answer: Step, waits: list[float], caplog: pytest.LogCaptureFixture) -> None:
    async with cognito(granted(), *[answer] * 9) as (_, login):
        await login()
        with caplog.at_level(logging.DEBUG):
            error = await failure(login())
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) + caplog.text
    assert PASSWORD not in shown
    assert REFRESH not in shown


async def test_no_error_shows_a_refresh_token_that_was_replaced() -> None:
    late = refused("InvalidParameterException", f"no {REFRESH} nor {REFRESH}-2 nor {REFRESH}-3")
    answers = (granted(), granted(refresh=f"{REFRESH}-2"), granted(refresh=f"{REFRESH}-3"), late)
    async with cognito(*answers) as (_, login):
        for _ in range(3):
            await login()
        error = await failure(login())
    assert error.message == "Cognito: InvalidParameterException: no *** nor *** nor ***"


def test_no_repr_shows_a_secret() -> None:
    shown = repr(CognitoLogin("https://cognito.example", CLIENT_ID, USER, PASSWORD)) + repr(AccessToken("access-1", 5))
    assert PASSWORD not in shown
    assert "access-1" not in shown


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"endpoint": "cognito.example"}, "endpoint"),
    ({"endpoint": "http://cognito.example"}, "endpoint"),
    ({"client_id": ""}, "client_id"),
    ({"username": None}, "username"),
    ({"password": 17}, "password"),
    ({"client_id": f"{CLIENT_ID}\n"}, "client_id: .* white space"),
    ({"username": f" {USER}"}, "username: .* white space"),
    ({"username": f"{USER}\x00"}, "username: .* printable"),
    ({"password": f"{PASSWORD}\n"}, "password: .* white space"),
    ({"password": f" {PASSWORD}"}, "password: .* white space"),
    ({"endpoint": "https://cognito.example\n"}, "endpoint"),
    ({"ssl": False}, "ssl"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": float("inf")}, "timeout"),
]


@each_row("change, name", UNFIT)
def test_an_argument_that_does_not_fit_is_named(change: dict[str, Any], name: str) -> None:
    arguments: dict[str, Any] = {
        "endpoint": "https://cognito.example",
        "client_id": CLIENT_ID,
        "username": USER,
        "password": PASSWORD,
    }
    with pytest.raises(InvalidArgumentError, match=name) as refused:
        CognitoLogin(**arguments | change)
    assert PASSWORD not in str(refused.value)


# As the login of a client -----------------------------------------------------------------------------------------


async def test_a_client_signs_in_when_it_needs_a_token_and_again_when_that_is_refused() -> None:
    def answer(request: Request) -> Step:
        return reply(200, DEVICE) if request.header("Authorization") == "access-2" else reply(403, "expired")

    async with (
        cognito(granted(), granted("access-2")) as (idp, login),
        RawServer(handler=answer) as server,
        client_of(server, login=login, origin="app.example") as client,
    ):
        assert isinstance(client._auth, LoginAuth)
        client._auth.credentials.clock = partial(
            next, itertools.count(0.0, 60.0)
        )  # no token is young when it is refused
        assert (await client.device.get("D1")).id == "D1"
        await client.device.get("D1")
    assert len(idp.requests) == 2
    assert [request.header("Authorization") for request in server.requests] == ["access-1", "access-2", "access-2"]


async def test_an_error_of_the_sign_in_comes_out_of_the_call_with_its_text() -> None:
    async with (
        cognito(NOT_AUTHORIZED) as (_, login),
        RawServer() as server,
        client_of(server, login=login, origin="app.example") as client,
    ):
        error = await failure(client.device.get("D1"))
    assert str(error) == (
        "device/get: the provider of login tokens: Cognito: NotAuthorizedException: Incorrect username or password."
    )
    assert server.requests == []


async def test_the_wait_that_a_sign_in_is_asked_for_comes_out_of_the_call() -> None:
    async with (
        cognito(refused("TooManyRequestsException", "Rate exceeded", 429, {"Retry-After": "61"})) as (_, login),
        RawServer() as server,
        client_of(server, login=login, origin="app.example") as client,
    ):
        error = await failure(client.device.get("D1"))
    assert (error.retry_after, error.operation, server.requests) == (61.0, "device/get", [])


def environment(cloud: str, idp: str) -> dict[str, str]:
    return {
        "IOTO_API": cloud,
        "IOTO_COGNITO": idp,
        "IOTO_CLIENT_ID": CLIENT_ID,
        "IOTO_USERNAME": USER,
        "IOTO_PASSWORD": PASSWORD,
        "IOTO_HOST": "app.example",
    }


async def test_a_client_can_sign_in_as_the_environment_says() -> None:
    async with (
        RawServer.of(granted()) as idp,
        RawServer.of(reply(200, DEVICE)) as server,
        IotoClient.from_env(environment(server.url, idp.url)) as client,
    ):
        await client.device.get("D1")
    assert idp.requests[0].json["AuthParameters"] == {"USERNAME": USER, "PASSWORD": PASSWORD}
    (request,) = server.requests
    assert (request.path, request.header("Authorization"), request.header("Origin")) == (
        "/device/get",
        "access-1",
        "app.example",
    )


async def test_a_token_of_the_environment_goes_before_a_sign_in() -> None:
    async with RawServer() as idp, RawServer.of(reply(200, DEVICE)) as server:
        environ = environment(server.url, idp.url) | {"IOTO_TOKEN": "cloud-token"}
        async with IotoClient.from_env(environ) as client:
            await client.device.get("D1")
    assert (idp.requests, server.requests[0].header("Authorization")) == ([], "cloud-token")


@pytest.mark.parametrize("name", ["IOTO_CLIENT_ID", "IOTO_USERNAME", "IOTO_PASSWORD", "IOTO_HOST"])
def test_half_a_sign_in_in_the_environment_is_refused(name: str) -> None:
    environ = environment("https://cloud.example", "https://cognito.example")
    del environ[name]
    with pytest.raises(InvalidArgumentError, match=name):
        IotoClient.from_env(environ)


@each_row("name", ["IOTO_COGNITO", "IOTO_CLIENT_ID", "IOTO_USERNAME", "IOTO_PASSWORD", "IOTO_HOST"])
def test_white_space_around_a_part_of_a_sign_in_in_the_environment_is_refused_by_name(name: str) -> None:
    environ = environment("https://cloud.example", "https://cognito.example")
    with pytest.raises(
        InvalidArgumentError, match="origin: expected" if name == "IOTO_HOST" else f"{name}: .* white space"
    ) as refused:
        IotoClient.from_env({**environ, name: f"{environ[name]}\n"})
    assert PASSWORD not in str(refused.value)


def test_a_client_that_can_neither_send_a_token_nor_sign_in_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="set IOTO_TOKEN, or to sign in IOTO_COGNITO"):
        IotoClient("https://cloud.example", environ={})


def test_the_repr_of_a_client_shows_nothing_of_the_sign_in() -> None:
    client = IotoClient.from_env(environment("https://cloud.example", "https://cognito.example"))
    assert PASSWORD not in f"{client!r} {client._auth!r} {vars(client)!r}"


async def test_the_trust_of_a_client_is_that_of_its_sign_in() -> None:
    context = ssl.create_default_context()
    client = IotoClient.from_env(environment("https://cloud.example", "https://cognito.example"), ssl=context)
    assert isinstance(client._auth, LoginAuth)
    assert isinstance(client._auth._provider, CognitoLogin)
    assert client._auth._provider._ssl is context


# Renewal before the end -------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Calls:
    """Requests with the tokens of a provider, on a clock of its own."""

    def __init__(self, provider: TokenProvider, server: RawServer, session: aiohttp.ClientSession) -> None:
        self.clock = Clock()
        self.auth = LoginAuth(provider, origin="app.example", clock=self.clock)
        self._url = URL(server.url)
        self._session = session

    async def __call__(self, at: float | None = None) -> str:
        """The token that goes with a request *at* so many seconds, before a renewal that it began has had its turn."""
        await leftover_tasks()
        if at is not None:
            self.clock.now = 1000.0 + at
        async with self._session.post(self._url, middlewares=(Middleware(self.auth, self._url),)) as response:
            return await response.text()


@asynccontextmanager
async def calls(provider: TokenProvider) -> AsyncIterator[Calls]:
    def echo(request: Request) -> Step:
        return reply(200, request.header("Authorization") or "")

    async with RawServer(handler=echo) as server, aiohttp.ClientSession() as session:
        yield Calls(provider, server, session)


def numbered(lifetime: float | None, *troubles: Exception | None) -> Callable[[], Awaitable[AccessToken]]:
    """Gives token-1, token-2, …, and raises the *troubles* that are none where their turn comes."""
    count = 0

    async def provider() -> AccessToken:
        nonlocal count
        count += 1
        await asyncio.sleep(0)  # as one that asks somebody
        trouble = troubles[count - 1] if count <= len(troubles) else None
        if trouble is not None:
            raise trouble
        return AccessToken(f"token-{count}", lifetime)

    return provider


@pytest.mark.parametrize(("lifetime", "margin"), [(3600, 60), (601, 60), (600, 60), (100, 10), (1, 0.1)])
async def test_a_token_is_renewed_shortly_before_it_expires(lifetime: float, margin: float) -> None:
    async with calls(numbered(lifetime)) as call:
        assert await call(0) == "token-1"
        assert await call(lifetime - margin * 1.01) == "token-1"
        assert await call() == "token-1"
        due = lifetime - margin * 0.99
        assert await call(due) == "token-1"  # it is still good
        assert await call() == "token-2"
        assert await call(2 * due) == "token-2"
        assert await call() == "token-3"


async def test_a_slow_renewal_does_not_hold_up_calls_before_the_old_token_expires() -> None:
    limiter = asyncio.Event()
    count = 0

    async def provider() -> AccessToken:
        nonlocal count
        count += 1
        if count > 1:
            await limiter.wait()
        return AccessToken(f"token-{count}", 100)

    async with calls(provider) as call:
        assert await call(0) == "token-1"
        assert [await call(at) for at in (91, 95, 99.9)] == ["token-1"] * 3
        assert count == 2
        waiting = [asyncio.create_task(call(100)) for _ in range(3)]
        await leftover_tasks()
        assert not any(task.done() for task in waiting)
        limiter.set()
        assert await asyncio.gather(*waiting) == ["token-2"] * 3
    assert count == 2


async def test_a_renewal_in_the_background_ends_with_its_client() -> None:
    never = asyncio.Event()
    count = 0

    async def provider() -> AccessToken:
        nonlocal count
        count += 1
        if count > 1:
            await never.wait()
        return AccessToken("token", 100)

    async with calls(provider) as call:
        await call(0)
        await call(95)
        assert [task for task in await leftover_tasks() if "_fetch" in repr(task)]
        await call.auth.close()
        assert not [task for task in await leftover_tasks() if "_fetch" in repr(task)]
        assert await call(99) == "token"


async def test_a_lifetime_counts_from_the_question() -> None:
    async with calls(numbered(100)) as call:
        inner = call.auth._provider

        async def slow() -> str | AccessToken:
            call.clock.now += 50
            assert not isinstance(inner, str)
            return await inner()

        call.auth._provider = slow
        assert await call(0) == "token-1"
        assert await call(91) == "token-1"
        assert await call() == "token-2"


async def test_a_token_of_unknown_lifetime_is_kept_until_it_is_refused() -> None:
    async with calls(numbered(None)) as call:
        assert await call(0) == "token-1"
        assert await call(1e9) == "token-1"


async def test_a_token_without_a_lifetime_after_one_with_is_kept() -> None:
    lifetimes = iter((100.0, None))

    async def provider() -> AccessToken:
        lifetime = next(lifetimes)
        await asyncio.sleep(0)
        return AccessToken(f"token-{lifetime}", lifetime)

    async with calls(provider) as call:
        assert [await call(0), await call(99), await call(), await call(1e9)] == [
            "token-100.0",
            "token-100.0",
            "token-None",
            "token-None",
        ]


async def test_many_callers_renew_a_token_once() -> None:
    async with calls(numbered(100)) as call:
        assert await call(0) == "token-1"
        assert await asyncio.gather(*[call(95) for _ in range(20)]) == ["token-1"] * 20
        assert await asyncio.gather(*[call(100) for _ in range(20)]) == ["token-2"] * 20


async def test_a_renewal_that_fails_before_the_end_leaves_the_old_token_in_use(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with calls(numbered(100, None, OSError(f"down {PASSWORD}"))) as call:
        assert await call(0) == "token-1"
        with caplog.at_level(logging.WARNING):
            assert [await call(95), await call(97), await call(99)] == ["token-1"] * 3
        assert await call(101) == "token-3"
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["the renewal of a login token failed: the provider of login tokens: raised OSError"]


async def test_a_renewal_that_fails_after_the_end_is_an_error() -> None:
    async with calls(numbered(100, None, OSError("down"))) as call:
        assert await call(0) == "token-1"
        await failure(call(100))
        assert await call() == "token-3"


async def test_the_renewal_of_a_cancelled_caller_serves_the_next_one() -> None:
    limiter = asyncio.Event()
    count = 0

    async def provider() -> AccessToken:
        nonlocal count
        count += 1
        await limiter.wait()
        return AccessToken(f"token-{count}", 100)

    async with calls(provider) as call:
        task = asyncio.create_task(call(0))
        await leftover_tasks()
        task.cancel()
        await asyncio.wait([task])
        limiter.set()
        await leftover_tasks()
        assert (await call(), count) == ("token-1", 1)


@pytest.mark.parametrize("lifetime", [0, -1, float("inf"), "3600", True])
def test_a_lifetime_that_is_none_is_refused(lifetime: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="lifetime"):
        AccessToken("token", lifetime)


# The embedded cloud -----------------------------------------------------------------------------------------------


def signing_in(emulator: Emulator, **change: str) -> dict[str, str]:
    return {name: value for name, value in emulator.env.items() if name != "IOTO_TOKEN"} | change


async def test_a_user_signs_in_to_the_embedded_cloud_as_the_environment_says() -> None:
    async with Emulator() as emulator, IotoClient.from_env(signing_in(emulator)) as client:
        emulator.cloud.register_device("DEV0000001")
        emulator.cloud.claim_device("DEV0000001")
        devices = [device.id async for device in client.device.find()]
    assert devices == ["DEV0000001"]


async def test_a_token_that_the_embedded_cloud_takes_no_longer_is_replaced() -> None:
    seen: list[Any] = []
    async with Emulator() as emulator:
        emulator.cloud.login_lifetime = 600
        async with IotoClient.from_env(signing_in(emulator), observer=seen.append) as client:
            assert isinstance(client._auth, LoginAuth)
            client._auth.credentials.clock = partial(
                next, itertools.count(0.0, 60.0)
            )  # no token is young when it is refused
            await client.device.find()
            # The client's clock knows nothing of the hour that has passed there.
            emulator.cloud.clock = lambda: time.time() + 3600
            await client.device.find()
    assert [(attempt.status, attempt.number) for attempt in seen] == [(200, 1), (200, 1)]


async def test_a_wrong_password_is_told_by_the_embedded_cloud() -> None:
    async with Emulator() as emulator:
        environ = signing_in(emulator, IOTO_PASSWORD=PASSWORD)
        async with IotoClient.from_env(environ) as client:
            error = await failure(client.device.find())
    assert "NotAuthorizedException" in str(error)
    assert PASSWORD not in str(error)


async def test_a_sign_in_trusts_what_the_client_is_told_to_trust(waits: list[float]) -> None:
    async with Emulator(tls=True) as emulator:
        context = ssl.create_default_context(cafile=emulator.ca)
        async with IotoClient.from_env(signing_in(emulator), ssl=context) as client:
            await client.device.find()
        async with IotoClient.from_env(signing_in(emulator)) as client:
            error = await failure(client.device.find())
    assert "certificate" in str(error).lower()
    assert waits == []
