"""Credentials: which header goes where, who asks the provider, and that no token is ever shown."""

import asyncio
import gc
import itertools
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest
from yarl import URL

from ioto_async import (
    Attempt,
    AuthenticationError,
    BuilderClient,
    CallError,
    ConnectionFailedError,
    ConnectionLostError,
    DecodeError,
    InvalidArgumentError,
    IotoClient,
    IotoError,
    OutcomeUnknownError,
    TokenProviderError,
)
from ioto_async.transport.auth import LoginAuth, NoAuth, TokenAuth
from ioto_async.transport.credentials import Decision
from tests.rawserver import TOKEN, RawServer, Request, Step, client_of, drop, leftover_tasks, reply, served, silent
from tests.rows import each_row

DEVICE = {"id": "D1", "accountId": "A1"}
ORIGIN = "app.example"
SECRET = "s3cr3t-T0ken/with+odd=chars"
SOON = 0.05


class Provider:
    """Gives token-1, token-2, …; waits for *limiter* first; fails with the *failures* that are some at their turns."""

    def __init__(self, *failures: BaseException | None, limiter: asyncio.Event | None = None) -> None:
        self.calls = 0
        self.entered = asyncio.Event()
        self._failures = list(failures)
        self._limiter = limiter

    async def __call__(self) -> str:
        self.calls += 1
        self.entered.set()
        if self._limiter is not None:
            await self._limiter.wait()
        trouble = self._failures.pop(0) if self._failures else None
        if trouble is not None:
            raise trouble
        return f"token-{self.calls}"


def accepting(*tokens: str) -> Callable[[Request], Step]:
    """A service that takes these tokens and refuses others."""

    def handler(request: Request) -> Step:
        return reply(200, DEVICE) if request.header("Authorization") in tokens else reply(403, "Authentication failed")

    return handler


def login(provider: Any, **options: Any) -> dict[str, Any]:
    return {"login": provider, "origin": ORIGIN, **options}


@asynccontextmanager
async def aged(*steps: Step, **options: Any) -> AsyncIterator[tuple[RawServer, IotoClient]]:
    """As `served`; between two looks at the clock a minute passes, so that no token is young when it is refused."""
    async with served(*steps, **options) as (server, client):
        assert isinstance(client._auth, LoginAuth)
        client._auth.credentials.clock = partial(next, itertools.count(0.0, 60.0))
        yield server, client


async def failure(call: Any) -> CallError:
    with pytest.raises(CallError) as caught:
        await call
    return caught.value


# What is sent -----------------------------------------------------------------------------------------------------


async def test_a_cloud_token_is_sent_alone_on_the_tok_path() -> None:
    async with served(reply(200, DEVICE), token=SECRET) as (server, client):
        await client.device.get("D1")
    (request,) = server.requests
    assert (request.header("Authorization"), request.path) == (SECRET, "/tok/device/get")
    assert request.header("Origin") is None


async def test_a_cloud_token_is_sent_as_bearer_by_option() -> None:
    async with served(reply(200, DEVICE), token=SECRET, bearer=True) as (server, client):
        await client.device.get("D1")
    (request,) = server.requests
    assert (request.header("Authorization"), request.path) == (f"bearer {SECRET}", "/tok/device/get")


async def test_a_login_token_goes_with_the_origin_on_the_bare_path() -> None:
    async with served(reply(200, DEVICE), **login(SECRET)) as (server, client):
        await client.device.get("D1")
    (request,) = server.requests
    assert (request.header("Authorization"), request.header("Origin")) == (SECRET, ORIGIN)
    assert request.path == "/device/get"


@pytest.mark.parametrize(
    ("options", "path"),
    [({"token": SECRET}, "/base/v1/tok/device/get"), (login(SECRET), "/base/v1/device/get")],
)
async def test_a_path_of_the_endpoint_goes_in_front(options: dict[str, Any], path: str) -> None:
    async with RawServer.of(reply(200, DEVICE)) as server, client_of(f"{server.url}/base/v1/", **options) as client:
        await client.device.get("D1")
    assert server.requests[0].path == path


@pytest.mark.parametrize("options", [{"token": SECRET}, {"token": SECRET, "bearer": True}, login(SECRET)])
async def test_a_registration_goes_to_the_builder_bare_with_the_product_token(options: dict[str, Any]) -> None:
    async with RawServer.of(reply(200, {"registered": True})) as builder:
        client = client_of("https://cloud.example", builder=f"{builder.url}/api", **options)
        async with client:
            assert (await client.builder.device.register("D1", "product-token")).registered
    (request,) = builder.requests
    assert request.path == "/api/device/register"
    assert request.header("Authorization") == "bearer product-token"
    assert request.header("Origin") is None
    assert request.json == {"id": "D1", "product": "product-token"}


async def test_a_registration_needs_no_cloud() -> None:
    async with RawServer.of(reply(200, {"registered": True})) as server:
        builder = BuilderClient(f"{server.url}/api", token="builder-token")
        async with builder:
            await builder.device.register("D1", "product-token")
    assert server.requests[0].header("Authorization") == "bearer product-token"


async def test_every_attempt_carries_the_credentials_once() -> None:
    async with served(reply(500), drop(), reply(200, DEVICE)) as (server, client):
        await client.device.get("D1")
    assert [request.all("Authorization") for request in server.requests] == [[TOKEN]] * 3


async def test_a_middleware_of_the_user_does_not_see_the_token_beforehand() -> None:
    seen: list[str | None] = []

    async def spy(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        seen.append(request.headers.get("Authorization"))
        return await handler(request)

    async with served(reply(200, DEVICE), middlewares=[spy]) as (server, client):
        await client.device.get("D1")
    assert (seen, server.requests[0].header("Authorization")) == ([None], TOKEN)


async def test_what_a_middleware_of_the_user_sends_again_is_authenticated() -> None:
    async def twice(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        (await handler(request)).release()
        return await handler(request)

    async with served(reply(200, DEVICE), reply(200, DEVICE), middlewares=[twice]) as (server, client):
        await client.device.get("D1")
    assert [request.all("Authorization") for request in server.requests] == [[TOKEN]] * 2
    assert [request.json for request in server.requests] == [{"id": "D1"}] * 2


# Another origin ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"token": SECRET}, {"token": SECRET, "bearer": True}, login(SECRET)])
async def test_credentials_never_go_to_another_origin(options: dict[str, Any]) -> None:
    async with RawServer.of(reply(200, DEVICE)) as elsewhere:

        async def astray(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            request.url = URL(elsewhere.url).with_path(request.url.path)
            return await handler(request)

        async with served(middlewares=[astray], **options) as (server, client):
            await client.device.get("D1")
    (request,) = elsewhere.requests
    assert SECRET not in repr(request.headers)
    assert server.requests == []


async def test_the_provider_is_not_asked_for_the_sake_of_another_origin() -> None:
    provider = Provider()
    async with RawServer.of(reply(403, "Who are you?")) as elsewhere:

        async def astray(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            request.url = URL(elsewhere.url).with_path(request.url.path)
            return await handler(request)

        async with served(middlewares=[astray], **login(provider)) as (_, client):
            await failure(client.device.get("D1"))
    assert provider.calls == 0


async def test_a_product_token_does_not_follow_to_the_cloud() -> None:
    def handler(request: Request) -> Step:
        return reply(200, {"registered": True} if request.path.endswith("register") else DEVICE)

    async with RawServer(handler=handler) as server:
        client = client_of(server, builder=f"{server.url}/api", token=SECRET)
        async with client:
            await client.builder.device.register("D1", "product-token")
            await client.device.get("D1")
    assert [request.header("Authorization") for request in server.requests] == ["bearer product-token", SECRET]
    assert server.connections == 1


# The provider -----------------------------------------------------------------------------------------------------


async def test_the_provider_is_asked_when_a_token_is_needed_and_not_before() -> None:
    provider = Provider()
    async with served(handler=accepting("token-1"), **login(provider)) as (_, client):
        assert provider.calls == 0
        await client.device.get("D1")
        await client.device.get("D1")
    assert provider.calls == 1


async def test_many_callers_at_the_start_ask_the_provider_once() -> None:
    limiter = asyncio.Event()
    provider = Provider(limiter=limiter)
    async with served(handler=accepting("token-1"), **login(provider)) as (server, client):
        calls = [asyncio.create_task(client.device.get("D1")) for _ in range(30)]
        await provider.entered.wait()
        await leftover_tasks()
        limiter.set()
        await asyncio.gather(*calls)
    assert (provider.calls, len(server.requests)) == (1, 30)


async def test_many_callers_that_are_refused_ask_the_provider_once() -> None:
    provider = Provider()
    async with aged(handler=accepting("token-2"), **login(provider)) as (server, client):
        await asyncio.gather(*[client.device.get("D1") for _ in range(30)])
    assert provider.calls == 2
    assert [request.header("Authorization") for request in server.requests].count("token-2") == 30


async def test_a_late_refusal_of_an_old_token_does_not_ask_again() -> None:
    late = asyncio.Event()
    provider = Provider()

    def handler(request: Request) -> Step:
        if request.json["id"] == "late" and request.header("Authorization") == "token-1":
            return reply(403, "expired", hold=late)
        return accepting("token-2")(request)

    async with aged(handler=handler, **login(provider)) as (server, client):
        waiting = asyncio.create_task(client.device.get("late"))
        await server.received(1)
        await client.device.get("D1")
        late.set()
        await waiting
    assert provider.calls == 2


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_login_token_is_renewed_and_the_request_sent_again(status: int) -> None:
    provider = Provider()
    async with aged(reply(status, "expired"), reply(200, DEVICE), **login(provider)) as (server, client):
        assert (await client.device.get("D1")).id == "D1"
    first, second = server.requests
    assert [request.header("Authorization") for request in (first, second)] == ["token-1", "token-2"]
    assert (second.body, second.path, second.header("Origin")) == (first.body, first.path, ORIGIN)


async def test_a_refused_request_is_sent_again_even_if_it_may_be_done_only_once() -> None:
    provider = Provider()
    answers = (reply(403, "expired"), reply(200, {"_type": "Note"}))
    async with aged(*answers, **login(provider)) as (server, client):
        await client.generic.create("Note", {"text": "x"})
    assert [request.json for request in server.requests] == [{"_type": "Note", "text": "x"}] * 2


async def test_a_request_that_is_refused_twice_is_given_up() -> None:
    provider = Provider()
    async with aged(*[reply(403, "role too low")] * 5, **login(provider)) as (server, client):
        error = await failure(client.device.get("D1"))
    assert (type(error), error.status, error.attempts) == (AuthenticationError, 403, 1)
    assert (len(server.requests), provider.calls) == (2, 2)


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_connection_of_a_refused_request_is_used_again(chunked: bool) -> None:
    answers = (reply(403, "expired" * 1000, chunked=chunked), reply(200, DEVICE))
    async with aged(*answers, **login(Provider()), limit=1) as (server, client):
        await client.device.get("D1")
    assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("options", [{"token": SECRET}, login(SECRET)])
async def test_a_token_that_cannot_be_renewed_is_not_sent_twice(status: int, options: dict[str, Any]) -> None:
    async with served(*[reply(status)] * 3, **options) as (server, client):
        assert type(await failure(client.device.get("D1"))) is AuthenticationError
    assert len(server.requests) == 1


async def test_a_renewed_token_is_used_by_the_calls_that_follow() -> None:
    provider = Provider()
    async with aged(handler=accepting("token-2"), **login(provider)) as (server, client):
        await client.device.get("D1")
        await client.device.get("D1")
    assert [request.header("Authorization") for request in server.requests] == ["token-1", "token-2", "token-2"]


async def test_a_cancelled_caller_does_not_cancel_the_others_that_wait_for_the_token() -> None:
    limiter = asyncio.Event()
    provider = Provider(limiter=limiter)
    async with served(handler=accepting("token-1"), **login(provider)) as (_, client):
        calls = [asyncio.create_task(client.device.get("D1")) for _ in range(3)]
        await provider.entered.wait()
        await leftover_tasks()
        calls[0].cancel()
        await asyncio.wait([calls[0]])
        limiter.set()
        assert [device.id for device in await asyncio.gather(*calls[1:])] == ["D1", "D1"]
    assert calls[0].cancelled()
    assert provider.calls == 1


async def test_the_answer_to_a_cancelled_caller_serves_the_next_one() -> None:
    limiter = asyncio.Event()
    provider = Provider(limiter=limiter)
    async with served(handler=accepting("token-1"), **login(provider)) as (_, client):
        task = asyncio.create_task(client.device.get("D1"))
        await provider.entered.wait()
        task.cancel()
        await asyncio.wait([task])
        limiter.set()
        await client.device.get("D1")
    assert provider.calls == 1


async def test_a_deadline_covers_the_wait_for_the_provider() -> None:
    provider = Provider(limiter=asyncio.Event())
    async with served(**login(provider)) as (server, client):
        error = await failure(client.generic.create("Note", timeout=SOON, retries=0))
    assert (type(error), error.sent, error.outcome_unknown) == (ConnectionFailedError, False, False)
    assert server.requests == []


async def test_a_closed_client_leaves_no_question_to_the_provider_behind() -> None:
    provider = Provider(limiter=asyncio.Event())
    async with served(**login(provider)) as (_, client):
        await failure(client.device.get("D1", timeout=SOON, retries=0))
        await client.aclose()
        left = [task for task in await leftover_tasks() if "_fetch" in repr(task)]
        for task in left:
            task.cancel()
    assert left == []


@pytest.mark.parametrize("closed", ["the owner", "the clone"])
async def test_closing_ends_the_question_of_a_clone_with_a_login_of_its_own(closed: str) -> None:
    provider = Provider(limiter=asyncio.Event())
    async with served() as (_, client):
        clone = client.with_options(**login(provider))
        call = asyncio.create_task(clone.device.get("D1"))
        await provider.entered.wait()
        call.cancel()
        await asyncio.wait([call])
        assert [task for task in await leftover_tasks() if "_fetch" in repr(task)]
        await (client if closed == "the owner" else clone).aclose()
        left = [task for task in await leftover_tasks() if "_fetch" in repr(task)]
        for task in left:
            task.cancel()
    assert left == []


async def test_closing_a_clone_leaves_the_login_that_it_shares_alone() -> None:
    limiter = asyncio.Event()
    provider = Provider(limiter=limiter)
    async with served(handler=accepting("token-1"), **login(provider)) as (_, client):
        call = asyncio.create_task(client.device.get("D1"))
        await provider.entered.wait()
        await client.with_options(retries=0).aclose()
        limiter.set()
        assert (await call).id == "D1"


async def test_the_logins_of_clones_that_nobody_has_any_more_are_forgotten() -> None:
    async with served() as (_, client):
        for _ in range(50):
            client.with_options(**login(Provider()))
        gc.collect()
        assert len(client._logins) == 0


async def test_a_failure_of_the_provider_says_so() -> None:
    trouble = OSError("identity service down")
    provider = Provider(trouble)
    async with served(**login(provider)) as (server, client):
        error = await failure(client.device.get("D1"))
    assert type(error) is TokenProviderError
    assert (error.operation, error.attempts, error.sent, error.outcome_unknown) == ("device/get", 1, False, False)
    assert error.__cause__ is trouble
    assert server.requests == []


async def test_the_provider_is_asked_again_after_its_failure() -> None:
    provider = Provider(OSError("down"))
    async with served(handler=accepting("token-2"), **login(provider)) as (_, client):
        await failure(client.device.get("D1"))
        assert (await client.device.get("D1")).id == "D1"


async def test_a_provider_that_is_cancelled_by_itself_does_not_look_like_a_cancelled_caller() -> None:
    provider = Provider(asyncio.CancelledError())
    async with served(**login(provider)) as (_, client):
        task = asyncio.create_task(client.device.get("D1"))
        await asyncio.wait([task])
    assert not task.cancelled()
    assert isinstance(task.exception(), TokenProviderError)


async def test_callers_that_share_a_failure_of_the_provider_each_get_an_error_of_their_own() -> None:
    limiter = asyncio.Event()
    provider = Provider(OSError("down"), limiter=limiter)
    async with served(**login(provider)) as (_, client):
        calls = [
            asyncio.create_task(failure(client.device.get("D1"))),
            asyncio.create_task(failure(client.generic.create("Note"))),
        ]
        await provider.entered.wait()
        await leftover_tasks()
        limiter.set()
        errors = await asyncio.gather(*calls)
    assert provider.calls == 1
    assert [error.operation for error in errors] == ["device/get", "generic/create"]


@each_row("garbage", [None, "", 17, b"token", "two words", "line\nbreak", "t\u00f6ken", ["token"]])
async def test_garbage_from_the_provider_is_refused_without_being_shown(garbage: Any) -> None:
    async def provider() -> Any:
        return garbage

    async with served(**login(provider)) as (server, client):
        error = await failure(client.device.get("D1"))
    assert type(error) is TokenProviderError
    if isinstance(garbage, str) and garbage:
        assert garbage not in f"{error} {error!r} {error.__cause__!r}"
    assert server.requests == []


async def test_a_provider_that_is_not_async_is_a_failure_of_the_provider() -> None:
    async with served(**login(lambda: "token-1")) as (_, client):
        assert type(await failure(client.device.get("D1"))) is TokenProviderError


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_stands_if_the_token_cannot_be_renewed(status: int, caplog: pytest.LogCaptureFixture) -> None:
    provider = Provider(None, OSError(f"down {SECRET}"))
    async with aged(reply(status, "role too low"), **login(provider)) as (server, client):
        error = await failure(client.device.get("D1"))
    assert (type(error), error.status, error.message, error.sent) == (AuthenticationError, status, "role too low", True)
    assert (provider.calls, len(server.requests)) == (2, 1)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "WARNING",
        "the renewal of a login token failed: the provider of login tokens: raised OSError",
    )


async def test_a_token_that_could_not_be_renewed_is_kept() -> None:
    provider = Provider(None, OSError("down"))
    async with aged(reply(403, "role too low"), reply(200, DEVICE), **login(provider)) as (server, client):
        await failure(client.user.create("ann@example.com", "admin"))
        assert (await client.device.get("D1")).id == "D1"
    assert [request.header("Authorization") for request in server.requests] == ["token-1", "token-1"]


async def test_a_refusal_of_a_young_token_stands() -> None:
    provider = Provider()
    async with served(*[reply(403, "role too low")] * 3, **login(provider)) as (server, client):
        for _ in range(3):
            assert type(await failure(client.device.get("D1"))) is AuthenticationError
    assert (provider.calls, len(server.requests)) == (1, 3)


@pytest.mark.parametrize(("age", "asked"), [(9.9, 1), (10.0, 2)])
@pytest.mark.parametrize("works", [True, False])
async def test_the_provider_is_asked_again_ten_seconds_after_its_last_answer(
    age: float, asked: int, works: bool
) -> None:
    now = 0.0
    provider = Provider(None, None if works else OSError("down"))
    async with served(*[reply(403, "role too low")] * 9, **login(provider)) as (_, client):
        assert isinstance(client._auth, LoginAuth)
        client._auth.credentials.clock = lambda: now
        await failure(client.device.get("D1"))
        now = age
        await failure(client.device.get("D1"))
        await failure(client.device.get("D1"))
    assert provider.calls == asked


async def test_many_callers_whose_refusal_stands_have_asked_the_provider_once() -> None:
    now = 0.0
    limiter = asyncio.Event()
    limiter.set()
    provider = Provider(None, OSError("down"), limiter=limiter)
    async with served(handler=accepting("nothing"), **login(provider)) as (server, client):
        assert isinstance(client._auth, LoginAuth)
        client._auth.credentials.clock = lambda: now
        await client._auth.headers(Decision.ASK)
        now = 60.0
        limiter.clear()
        calls = [asyncio.create_task(failure(client.device.get("D1"))) for _ in range(30)]
        await server.received(30)
        await leftover_tasks()
        limiter.set()
        errors = await asyncio.gather(*calls)
    assert {type(error) for error in errors} == {AuthenticationError}
    assert (provider.calls, len(server.requests)) == (2, 30)


async def test_a_refused_request_that_waits_for_a_new_token_in_vain_was_not_done() -> None:
    limiter = asyncio.Event()
    calls = 0

    async def provider() -> str:
        nonlocal calls
        calls += 1
        if calls > 1:
            await limiter.wait()
        return "token-1"

    async with aged(reply(403, "expired"), **login(provider)) as (server, client):
        error = await failure(client.generic.create("Note", timeout=4 * SOON, retries=0))
        assert len(server.requests) == 1
        limiter.set()
    assert not isinstance(error, OutcomeUnknownError)
    assert error.outcome_unknown is False


async def test_the_observer_is_told_of_a_failure_of_the_provider() -> None:
    seen: list[Attempt] = []
    async with served(**login(Provider(OSError("down"))), observer=seen.append) as (_, client):
        await failure(client.device.get("D1"))
    assert [(attempt.status, attempt.failure is None) for attempt in seen] == [(None, False)]


async def test_the_outcome_of_an_earlier_attempt_is_not_forgotten_when_the_provider_fails() -> None:
    calls = 0

    async def provider() -> str:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError("down")
        return "token-1"

    async with aged(drop(), reply(403, "expired"), **login(provider)) as (_, client):
        error = await failure(client.device.claim("D1"))
    assert (type(error), error.attempts, error.outcome_unknown) == (AuthenticationError, 2, True)


# Refused credentials ----------------------------------------------------------------------------------------------


UNFIT_TOKENS = ["", " ", "two words", "tab\there", "line\r\nX-Evil: 1", "nul\x00", "del\x7f", "t\u00f6ken", "\ud800"]


@pytest.mark.parametrize("make", [lambda t: TokenAuth(t), lambda t: LoginAuth(t, origin=ORIGIN)])
@each_row("token", UNFIT_TOKENS)
def test_a_token_that_cannot_be_sent_is_refused_without_being_shown(make: Callable[[str], Any], token: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        make(token)
    shown = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value)
    assert not token.strip() or token not in shown
    assert not token.strip() or repr(token)[1:-1] not in shown


@pytest.mark.parametrize("token", [b"token", 17, ["token"], object()])
def test_a_token_that_is_no_text_is_refused(token: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="token"):
        IotoClient("https://cloud.example", token=token, environ={})


@pytest.mark.parametrize("provider", [b"token", 17, ["token"]])
def test_a_login_that_is_neither_token_nor_provider_is_refused(provider: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="login"):
        IotoClient("https://cloud.example", login=provider, origin=ORIGIN, environ={})


@pytest.mark.parametrize("origin", ["", "app example", "app\r\nX-Evil: 1", "\x00", "\u00e4pp.example"])
def test_an_origin_that_cannot_be_sent_is_refused(origin: str) -> None:
    with pytest.raises(InvalidArgumentError, match="origin"):
        IotoClient("https://cloud.example", login=SECRET, origin=origin, environ={})


def test_login_without_an_origin_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="IOTO_HOST"):
        IotoClient("https://cloud.example", login=SECRET, environ={})


@pytest.mark.parametrize("product", ["", "two words", "line\nbreak"])
async def test_a_product_token_that_cannot_be_sent_is_refused_without_being_shown(product: str) -> None:
    async with BuilderClient("https://builder.example/api") as builder:
        with pytest.raises(InvalidArgumentError, match="product") as caught:
            await builder.device.register("D1", product)
    assert not product or product not in str(caught.value)


# Secrecy ----------------------------------------------------------------------------------------------------------

ECHOES: dict[str, Callable[[], Step]] = {
    "refusal": lambda: reply(403, f"bad token {SECRET}"),
    "bad request": lambda: reply(400, f"bearer {SECRET} is not known"),
    "failure": lambda: reply(500, json.dumps({"message": f"token {SECRET}"})),
    "redirect": lambda: reply(302, b"", headers={"Location": f"https://other.example/?token={SECRET}"}),
    "at the cut": lambda: reply(400, "x" * 490 + SECRET),
    "reason": lambda: Step(f"HTTP/1.1 400 {SECRET}\r\nContent-Length: 0\r\n\r\n".encode()),
    "in band": lambda: reply(200, {"error": f"token {SECRET} is not known"}),
    "no JSON": lambda: reply(200, f"token {SECRET}"),
    "wrong type": lambda: reply(200, [SECRET]),
    "wrong member": lambda: reply(200, {"port": SECRET}),
    "no status line": lambda: Step(f"{SECRET}\r\n\r\n".encode(), close=True),
    "bad header": lambda: Step(f"HTTP/1.1 200 OK\r\n{SECRET}\r\n\r\n".encode(), close=True),
    "bad length": lambda: Step(f"HTTP/1.1 200 OK\r\nContent-Length: {SECRET}\r\n\r\n".encode(), close=True),
    "bad chunk": lambda: Step(
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n".encode(), close=True
    ),
}


async def fetched(client: IotoClient) -> CallError:
    return await failure(client.with_options(strict=True).device.provision("D1", retries=1))


def chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


METHODS: dict[str, dict[str, Any]] = {
    "token": {"token": SECRET},
    "bearer": {"token": SECRET, "bearer": True},
    "login": login(SECRET),
}


@pytest.mark.parametrize("method", METHODS)
@each_row("echo", ECHOES)
async def test_an_error_never_shows_a_token_that_the_service_repeats(
    method: str, caplog: pytest.LogCaptureFixture, echo: Callable[[], Step]
) -> None:
    seen: list[Attempt] = []
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        async with served(echo(), echo(), observer=seen.append, **METHODS[method]) as (_, client):
            error = await fetched(client)
    shown = {
        "str": str(error),
        "repr": repr(error),
        "message": error.message,
        "attributes": repr(vars(error)),
        "traceback": "".join(traceback.format_exception(error)),
        "attempts": repr(seen),
        "log": caplog.text + repr([vars(rec) for rec in caplog.records if rec.name == "ioto_async"]),
    }
    # Half a token is too much as well.
    assert [part for part, text in shown.items() if SECRET[:8] in text] == []
    assert SECRET[:8].encode() not in pickle.dumps(error)


@pytest.mark.parametrize("echo", ["no status line", "bad header", "refusal", "failure"])
async def test_the_causes_of_an_error_do_not_show_the_token_either(echo: str) -> None:
    async with served(ECHOES[echo](), ECHOES[echo](), token=SECRET) as (_, client):
        error = await fetched(client)
    # What error trackers send: every exception of the chain, by repr.
    assert [type(link) for link in chain(error) if SECRET[:8] in repr(link)] == []


async def test_a_product_token_that_the_builder_repeats_is_not_shown() -> None:
    async with RawServer.of(reply(400, f"unknown product {SECRET}")) as server, BuilderClient(server.url) as builder:
        error = await failure(builder.device.register("D1", SECRET))
    assert SECRET not in f"{error} {error!r}"


async def test_an_old_token_that_the_service_repeats_late_is_not_shown() -> None:
    late = asyncio.Event()
    provider = Provider()

    def handler(request: Request) -> Step:
        if request.json["id"] == "late":
            return reply(500, f"no luck with {request.header('Authorization')}", hold=late)
        return accepting("token-2")(request)

    async with aged(handler=handler, **login(provider)) as (server, client):
        waiting = asyncio.create_task(failure(client.device.get("late", retries=0)))
        await server.received(1)
        await client.device.get("D1")
        late.set()
        error = await waiting
    assert "token-1" not in str(error)


async def test_a_provided_token_that_the_service_repeats_is_not_shown() -> None:
    async with aged(*[reply(403, "token-1 token-2")] * 2, **login(Provider())) as (_, client):
        error = await failure(client.device.get("D1"))
    assert "token-" not in str(error)


@pytest.mark.parametrize("options", [*METHODS.values(), login(Provider)])
def test_no_repr_shows_a_token(options: dict[str, Any]) -> None:
    client = client_of("https://cloud.example", **options)
    reprs = f"{client!r} {client} {client.builder!r} {client.device!r} {client._auth!r} {client._pool!r}"
    assert SECRET not in reprs
    assert "cloud.example" in reprs


def test_the_reprs_of_credentials_show_none() -> None:
    assert (repr(TokenAuth(SECRET)), repr(NoAuth())) == ("TokenAuth('***')", "NoAuth()")
    assert SECRET not in repr(LoginAuth(SECRET, origin=ORIGIN))


async def test_a_connection_failure_does_not_show_the_token(caplog: pytest.LogCaptureFixture) -> None:
    async with RawServer() as server:
        url = server.url
    with caplog.at_level(logging.DEBUG):
        async with client_of(url, token=SECRET) as client:
            error = await fetched(client)
    assert SECRET not in "".join(traceback.format_exception(error)) + caplog.text


async def test_a_missed_deadline_does_not_show_the_token() -> None:
    async with served(silent(), token=SECRET) as (_, client):
        error = await failure(client.device.get("D1", timeout=SOON, retries=0))
    assert SECRET not in "".join(traceback.format_exception(error))


# Clones -----------------------------------------------------------------------------------------------------------


async def test_clones_share_the_token_of_the_provider() -> None:
    provider = Provider()
    async with served(handler=accepting("token-1"), **login(provider)) as (_, client):
        await asyncio.gather(client.device.get("D1"), client.with_options(retries=0).device.get("D1"))
        await client.with_options(timeout=5).device.get("D1")
    assert provider.calls == 1


async def test_a_clone_with_other_credentials_uses_them_alone() -> None:
    async with served(*[reply(200, DEVICE)] * 3) as (server, client):
        await client.with_options(token="other").device.get("D1")
        await client.with_options(login="third", origin=ORIGIN).device.get("D1")
        await client.device.get("D1")
    assert [(request.header("Authorization"), request.path) for request in server.requests] == [
        ("other", "/tok/device/get"),
        ("third", "/device/get"),
        (TOKEN, "/tok/device/get"),
    ]
    assert [request.header("Origin") for request in server.requests] == [None, ORIGIN, None]


async def test_another_origin_of_a_clone_is_sent_or_refused_but_not_ignored() -> None:
    async with served(reply(200, DEVICE), **login(SECRET)) as (server, client):
        try:
            clone = client.with_options(origin="other.example")
        except IotoError:
            return
        await clone.device.get("D1")
    assert server.requests[0].header("Origin") == "other.example"


async def test_bearer_of_a_clone_is_sent_or_refused_but_not_ignored() -> None:
    async with served(reply(200, DEVICE)) as (server, client):
        try:
            clone = client.with_options(bearer=True)
        except IotoError:
            return
        await clone.device.get("D1")
    assert server.requests[0].header("Authorization") == f"bearer {TOKEN}"


def test_bearer_with_a_login_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="bearer"):
        client_of("https://cloud.example", **login(SECRET), bearer=True)


async def test_a_token_outlives_the_pool() -> None:
    provider = Provider()
    async with RawServer(handler=accepting("token-1")) as server:
        client = client_of(server, **login(provider))
        async with client:
            await client.device.get("D1")
        async with client:
            await client.device.get("D1")
    assert provider.calls == 1


@pytest.mark.parametrize(("sent", "kind"), [(b"garbage\r\n\r\n", DecodeError), (b"HTTP/1.1 200", ConnectionLostError)])
async def test_the_cause_of_an_error_does_not_show_the_token_of_the_request(sent: bytes, kind: type[CallError]) -> None:
    async with RawServer.of(Step(sent, close=True)) as server, client_of(server, token=SECRET) as client:
        error = await failure(client.device.get("D1", retries=0))
    assert type(error) is kind
    assert SECRET not in f"{error!r} {error.__cause__!r} {error.__context__!r} {getattr(error.__cause__, 'args', ())!r}"


async def test_a_caller_that_is_cancelled_together_with_the_question_is_cancelled() -> None:
    provider = Provider(limiter=asyncio.Event())
    async with served(**login(provider)) as (_, client):
        call = asyncio.create_task(client.device.get("D1"))
        await provider.entered.wait()
        for task in asyncio.all_tasks():
            if "_fetch" in repr(task):
                task.cancel()
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
