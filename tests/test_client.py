"""The session manager: pool and loop, borrowed sessions, clones, the environment, endpoints; and the embedded cloud."""

import asyncio
import copy
import gc
import itertools
import pickle
import threading
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp
import pytest

from ioto_async import (
    OMIT,
    Attempt,
    AuthenticationError,
    BadRequestError,
    BuilderClient,
    CallError,
    Certificates,
    ClientStateError,
    ConnectionFailedError,
    DeviceLink,
    InvalidArgumentError,
    IotoClient,
    MetricQuery,
    MissingSettingError,
    NotFoundError,
    Omit,
    RetryPolicy,
)
from ioto_async.codec import decoding
from ioto_async.controllers.base import Controller
from ioto_async.emulator import Emulator
from ioto_async.models import Device
from ioto_async.operations import IOTO
from ioto_async.settings import BUILDER_URL, parse_endpoint
from ioto_async.transport.auth import LoginAuth
from ioto_async.transport.options import TransportOptions
from tests.rawserver import (
    GUARD,
    TOKEN,
    RawServer,
    Request,
    Step,
    client_of,
    in_thread,
    leftover_tasks,
    reply,
    served,
    silent,
)
from tests.rows import each_row

DEVICE = {"id": "D1", "accountId": "A1"}
API = "https://cloud.example"
SECRET = "s3cr3t-T0ken"
SOON = 0.05


def answer(request: Request) -> Step:
    return reply(200, DEVICE)


def close(request: Request) -> Step:
    return reply(200, DEVICE, close=True)


# The pool ---------------------------------------------------------------------------------------------------------


async def test_a_client_connects_at_its_first_call_and_not_before() -> None:
    async with served(handler=answer) as (server, client):
        assert server.connections == 0
        await client.device.get("D1")
        assert server.connections == 1


def test_a_client_can_be_made_without_a_running_loop() -> None:
    with in_thread(reply(200, DEVICE)) as server:
        client = client_of(server)

        async def main() -> str | None:
            async with client:
                return (await client.device.get("D1")).id

        assert asyncio.run(main()) == "D1"


async def test_a_client_can_be_used_without_async_with() -> None:
    async with RawServer(handler=answer) as server:
        client = client_of(server)
        try:
            assert (await client.device.get("D1")).id == "D1"
        finally:
            await client.aclose()


async def test_async_with_gives_the_client_itself() -> None:
    client = client_of(API)
    async with client as entered:
        assert entered is client


async def test_connections_are_kept_between_calls() -> None:
    async with served(handler=answer) as (server, client):
        for _ in range(5):
            await client.device.get("D1")
    assert server.connections == 1


async def test_closing_the_client_closes_its_connections() -> None:
    async with RawServer(handler=answer) as server:
        async with client_of(server) as client:
            await client.device.get("D1")
        await server.until(lambda: server.open == 0)


async def test_a_call_after_aclose_says_that_the_client_is_closed() -> None:
    async with RawServer(handler=answer) as server:
        client = client_of(server)
        await client.device.get("D1")
        await client.aclose()
        with pytest.raises(ClientStateError, match="closed"):
            await client.device.get("D1")
    assert len(server.requests) == 1


async def test_a_client_that_was_never_used_can_be_closed() -> None:
    client = client_of(API)
    await client.aclose()
    with pytest.raises(ClientStateError, match="closed"):
        await client.device.get("D1")


async def test_closing_twice_is_no_error() -> None:
    async with served(handler=answer) as (_, client):
        await client.device.get("D1")
        await client.aclose()
        await client.aclose()


async def test_a_closed_client_opens_again_with_async_with() -> None:
    async with RawServer(handler=answer) as server:
        client = client_of(server)
        for _ in range(2):
            async with client:
                await client.device.get("D1")
    assert (server.connections, len(server.requests)) == (2, 2)


async def test_an_error_within_async_with_closes_the_client_and_gets_through() -> None:
    client = client_of(API)
    with pytest.raises(KeyError):
        async with client:
            raise KeyError("the user's own")
    with pytest.raises(ClientStateError):
        await client.device.get("D1")


async def test_a_find_after_aclose_says_that_the_client_is_closed() -> None:
    client = client_of(API)
    await client.aclose()
    with pytest.raises(ClientStateError):
        async for _ in client.device.find():
            pass


async def test_a_builder_is_closed_with_its_client() -> None:
    client = client_of(API)
    await client.aclose()
    with pytest.raises(ClientStateError):
        await client.builder.device.register("D1", "product")


async def test_a_used_client_leaves_no_task_behind() -> None:
    async with RawServer(handler=answer) as server:
        async with client_of(server) as client:
            await asyncio.gather(*[client.device.get("D1") for _ in range(10)])
        await server.until(lambda: server.open == 0)
        assert await leftover_tasks() == set()


# Loops ------------------------------------------------------------------------------------------------------------


def test_two_runs_in_a_row_work() -> None:
    with in_thread(*[reply(200, DEVICE)] * 2) as server:
        client = client_of(server)

        async def main() -> str | None:
            async with client:
                return (await client.device.get("D1")).id

        assert [asyncio.run(main()), asyncio.run(main())] == ["D1", "D1"]


def test_two_runs_in_a_row_work_without_closing_in_between() -> None:
    with in_thread(*[reply(200, DEVICE, close=True)] * 2) as server:
        client = client_of(server)

        async def main(*, last: bool) -> str | None:
            device = await client.device.get("D1")
            if last:
                await client.aclose()
            return device.id

        assert [asyncio.run(main(last=last)) for last in (False, True)] == ["D1", "D1"]


def test_calls_at_once_after_a_change_of_loops_share_one_fresh_session() -> None:
    sessions = set()
    with in_thread(*[reply(200, DEVICE, close=True)] * 21) as server:
        client = client_of(server)

        async def first() -> None:
            await client.device.get("D1")

        async def second() -> None:
            async def get() -> None:
                await client.device.get("D1")
                sessions.add(client._pool.session)

            await asyncio.gather(*(get() for _ in range(20)))
            await client.aclose()

        asyncio.run(first())
        asyncio.run(second())
    assert len(sessions) == 1


@each_row("host", ["a..b.com", ".example.com", "x" * 64 + ".com", "xn--.com"])
def test_a_host_that_cannot_be_looked_up_is_refused(host: str) -> None:
    with pytest.raises(InvalidArgumentError, match="api"):
        client_of(f"https://{host}")


async def test_a_clone_with_its_own_login_ends_its_own_question_to_the_provider() -> None:
    asked = asyncio.Event()

    async def provider() -> str:
        asked.set()
        await asyncio.Event().wait()
        return "never"

    async with served() as (_, client):
        clone = client.with_options(login=provider, origin="app.example")
        call = asyncio.create_task(clone.device.get("D1"))
        await asked.wait()
        call.cancel()
        await asyncio.wait([call])
        await clone.aclose()
        assert not [task for task in await leftover_tasks() if "_fetch" in repr(task)]


def test_a_login_provider_works_in_two_runs_in_a_row() -> None:
    tokens = iter(["token-1", "token-2"])

    async def provider() -> str:
        return next(tokens)

    with in_thread(reply(200, DEVICE), reply(403), reply(200, DEVICE)) as server:
        client = client_of(server, login=provider, origin="app.example")
        assert isinstance(client._auth, LoginAuth)
        client._auth.credentials.clock = partial(
            next, itertools.count(0.0, 60.0)
        )  # no token is young when it is refused

        async def main() -> str | None:
            async with client:
                return (await client.device.get("D1")).id

        assert [asyncio.run(main()), asyncio.run(main())] == ["D1", "D1"]


async def test_a_second_running_loop_gets_a_clear_error() -> None:
    caught: list[BaseException] = []

    async def other() -> None:
        try:
            await client.device.get("D1")
        except Exception as error:  # noqa: BLE001  it is looked at below
            caught.append(error)

    async with served(handler=answer) as (server, client):
        await client.device.get("D1")
        thread = threading.Thread(target=lambda: asyncio.run(other()))
        thread.start()
        await asyncio.to_thread(thread.join, GUARD)
        assert (await client.device.get("D1")).id == "D1"
    assert [type(error) for error in caught] == [ClientStateError]
    assert "loop" in str(caught[0])
    assert len(server.requests) == 2


def test_a_borrowed_session_of_another_loop_gets_a_clear_error() -> None:
    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def use() -> None:
        await client.device.get("D1", retries=0)

    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(make())
    try:
        with in_thread(reply(200, DEVICE, close=True)) as server:
            client = client_of(server, session=session)
            with pytest.raises(ClientStateError, match="loop"):
                asyncio.run(use())
    finally:
        loop.run_until_complete(session.close())
        loop.close()


# Borrowed sessions ------------------------------------------------------------------------------------------------


async def test_a_borrowed_session_is_used_and_never_closed() -> None:
    async with RawServer(handler=answer) as server, aiohttp.ClientSession(headers={"X-Session": "yes"}) as session:
        async with client_of(server, session=session) as client:
            await client.device.get("D1")
        await client.aclose()
        assert not session.closed
        assert server.requests[0].header("X-Session") == "yes"
        assert server.open == 1


async def test_a_client_of_a_borrowed_session_is_closed_by_aclose_all_the_same() -> None:
    async with aiohttp.ClientSession() as session:
        client = client_of(API, session=session)
        await client.aclose()
        with pytest.raises(ClientStateError, match="closed"):
            await client.device.get("D1")


async def test_a_borrowed_session_that_is_closed_is_named() -> None:
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(ClientStateError, match="session"):
        await client_of(API, session=session).device.get("D1")


@pytest.mark.parametrize("option", [{"limit": 5}, {"keepalive": 5.0}, {"ssl": False}])
async def test_a_borrowed_session_has_its_own_pool_settings(option: dict[str, Any]) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(InvalidArgumentError, match=next(iter(option))):
            client_of(API, session=session, **option)


async def test_a_borrowed_session_that_raises_for_status_changes_no_error() -> None:
    async with RawServer.of(reply(400, "No")) as server, aiohttp.ClientSession(raise_for_status=True) as session:
        with pytest.raises(CallError) as caught:
            await client_of(server, session=session).generic.create("Note")
    assert (type(caught.value), caught.value.message) == (BadRequestError, "No")


async def test_a_borrowed_session_with_a_short_timeout_does_not_cut_a_longer_one_of_ours() -> None:
    hold = asyncio.Event()
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SOON))
    async with RawServer.of(reply(200, DEVICE, hold=hold), silent()) as server, session:
        client = client_of(server, session=session)
        task = asyncio.create_task(client.device.get("D1", retries=0))
        await server.received(1)
        with pytest.raises(CallError):
            await client.device.get("D1", timeout=2 * SOON, retries=0)
        hold.set()
        assert (await task).id == "D1"


async def test_the_middlewares_of_a_borrowed_session_still_run() -> None:
    seen: list[str] = []

    async def trace(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        seen.append(request.url.path)
        return await handler(request)

    async with RawServer(handler=answer) as server, aiohttp.ClientSession(middlewares=[trace]) as session:
        await client_of(server, session=session).device.get("D1")
    assert (seen, server.requests[0].header("Authorization")) == (["/tok/device/get"], TOKEN)


async def test_two_clients_may_borrow_one_session() -> None:
    async with RawServer(handler=answer) as server, aiohttp.ClientSession() as session:
        one, two = (client_of(server, session=session, token=token) for token in ("one", "two"))
        await one.device.get("D1")
        await one.aclose()
        await two.device.get("D1")
    assert [request.header("Authorization") for request in server.requests] == ["one", "two"]


async def test_a_client_keeps_no_cookies() -> None:
    async with served(reply(200, DEVICE, headers={"Set-Cookie": "a=b"}), reply(200, DEVICE)) as (server, client):
        await client.device.get("D1")
        await client.device.get("D1")
    assert server.requests[1].header("Cookie") is None


# Options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        {"retry": 3},
        {"retry": None},
        {"timeout": 0},
        {"timeout": "30"},
        {"headers": {"Authorization": "x"}},
        {"headers": {"X-Y": 5}},
        {"headers": None},
        {"headers": ["X-Y"]},
        {"middlewares": 5},
        {"middlewares": [5]},
        {"observer": "print"},
        {"max_reply": 0},
        {"max_reply": -1},
        {"max_reply": "16M"},
        {"limit": -1},
        {"limit": "100"},
        {"keepalive": -1.0},
        {"keepalive": "15"},
        {"ssl": "ca.pem"},
        {"session": "session"},
        {"limt": 5},
    ],
    ids=repr,
)
def test_a_wrong_option_is_refused_by_name_when_the_client_is_made(option: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(option))):
        client_of(API, **option)


@pytest.mark.parametrize("option", [{"limit": 5}, {"session": None}, {"keepalive": 5}, {"retrys": 2}], ids=repr)
def test_a_clone_refuses_what_only_a_client_can_have(option: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(option))):
        client_of(API).with_options(**option)


@each_row("retries", [-1, 1.5, "2", True])
def test_a_clone_refuses_a_senseless_number_of_retries(retries: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="retries"):
        client_of(API).with_options(retries=retries)


def test_token_and_login_together_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="token and login"):
        client_of(API, token=SECRET, login=SECRET, origin="app.example")


# Clones -----------------------------------------------------------------------------------------------------------


async def test_a_clone_shares_the_pool() -> None:
    async with served(handler=answer, limit=1) as (server, client):
        await client.device.get("D1")
        await client.with_options(retries=0).with_options(timeout=5).device.get("D1")
    assert server.connections == 1


async def test_closing_a_clone_leaves_the_pool_open() -> None:
    async with served(handler=answer) as (server, client):
        async with client.with_options(retries=0) as clone:
            await clone.device.get("D1")
        await clone.aclose()
        await client.device.get("D1")
        await clone.device.get("D1")
    assert server.connections == 1


async def test_a_clone_is_closed_with_its_client() -> None:
    client = client_of(API)
    clone = client.with_options(retries=0)
    await client.aclose()
    with pytest.raises(ClientStateError, match="closed"):
        await clone.device.get("D1")


async def test_a_clone_does_not_open_a_closed_client_again() -> None:
    client = client_of(API)
    clone = client.with_options(retries=0)
    await client.aclose()
    with pytest.raises(ClientStateError, match="closed"):
        await clone.__aenter__()


async def test_a_clone_changes_nothing_in_its_client() -> None:
    async with served(*[reply(200, DEVICE)] * 2) as (server, client):
        await client.with_options(account_id="A2", headers={"X-Y": "1"}).device.get("D1")
        await client.device.get("D1")
    assert [request.json for request in server.requests] == [{"id": "D1", "accountId": "A2"}, {"id": "D1"}]
    assert [request.header("X-Y") for request in server.requests] == ["1", None]


async def test_headers_of_a_clone_are_added_to_those_of_the_client() -> None:
    async with served(reply(200, DEVICE), headers={"X-A": "1", "X-B": "1"}) as (server, client):
        await client.with_options(headers={"X-B": "2", "X-C": "2"}).device.get("D1")
    assert [server.requests[0].header(name) for name in ("X-A", "X-B", "X-C")] == ["1", "2", "2"]


async def test_retries_of_a_clone_are_those_after_the_first_attempt() -> None:
    async with served(*[reply(500)] * 9) as (server, client):
        with pytest.raises(CallError) as caught:
            await client.with_options(retries=2).device.get("D1")
    assert (caught.value.attempts, len(server.requests)) == (3, 3)


async def test_options_of_a_clone_hold_for_its_builder_too() -> None:
    seen: list[Attempt] = []
    async with RawServer.of(reply(200, {"registered": True})) as server:
        client = client_of(API, builder=server.url)
        async with client:
            await client.with_options(observer=seen.append).builder.device.register("D1", "product")
    assert [attempt.operation for attempt in seen] == ["device/register"]


async def test_another_cloud_needs_its_own_credentials() -> None:
    with pytest.raises(InvalidArgumentError, match="credentials"):
        client_of(API).with_options(api="https://other.example")


async def test_a_clone_for_another_cloud_goes_there() -> None:
    async with RawServer(handler=answer) as other, served() as (server, client):
        await client.with_options(api=other.url, token="other").device.get("D1")
    assert [request.header("Authorization") for request in other.requests] == ["other"]
    assert server.requests == []


async def test_a_clone_of_a_client_that_allows_http_allows_it_too() -> None:
    client = IotoClient("http://cloud.example", token=TOKEN, environ={}, allow_http=True)
    client.with_options(api="http://other.example", token=TOKEN)
    with pytest.raises(InvalidArgumentError, match="loopback"):
        client_of(API).with_options(api="http://other.example", token=TOKEN)


def test_a_clone_refuses_headers_and_retry_policies_that_are_none_by_name() -> None:
    client = client_of(API)
    for name, changes in (("headers", {"headers": None}), ("retry", {"retry": 3, "retries": 1})):
        with pytest.raises(InvalidArgumentError, match=f"^{name}: expected"):
            client.with_options(**changes)


async def test_a_clone_looks_at_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(handler=answer, environ={}) as (server, client):
        for name, value in (("API", API), ("TOKEN", "other"), ("ACCOUNT", "other"), ("BUILDER", "http://nonsense")):
            monkeypatch.setenv(f"IOTO_{name}", value)
        clone = client.with_options(retries=0)
        await clone.device.get("D1")
        assert BUILDER_URL in repr(clone.builder)
    assert [(request.header("Authorization"), request.json) for request in server.requests] == [(TOKEN, {"id": "D1"})]


def test_a_clone_has_all_that_its_client_was_made_with() -> None:
    made: dict[str, Any] = {
        "timeout": 5.0,
        "retry": RetryPolicy(attempts=2),
        "headers": {"X-A": "1"},
        "middlewares": (print,),
        "observer": print,
        "max_reply": 1000,
    }
    client = client_of(API, account_id="A1", builder="https://builder.example", builder_token=SECRET, **made)
    clone = client.with_options().with_options(account_id="A2")
    assert clone._options == client._options == TransportOptions(**made)
    assert (clone.account_id, client.account_id) == ("A2", "A1")
    assert (clone._auth, clone._builder_auth) == (client._auth, client._builder_auth)
    assert repr(clone.builder) == repr(client.builder)
    assert clone.builder._options == client._options


# Subclasses -------------------------------------------------------------------------------------------------------


class Fleet(Controller):
    """A controller of a user's own."""

    __slots__ = ()

    async def first(self) -> str | None:
        device = await self._transport.call(IOTO["device/get"], decoding.record(Device), {"id": "D1"}, {})
        return device.id


class WithController(IotoClient):
    """Has no constructor of its own; makes a controller where the transport is made."""

    def _connect(self) -> None:
        super()._connect()
        self.fleet = Fleet(self._transport, self.account_id)


class Tenant(IotoClient):
    """Has an argument more, attributes and a controller that its constructor makes, and a default of its own."""

    def __init__(self, *args: Any, tenant: str, **kwargs: Any) -> None:
        kwargs.setdefault("timeout", 5.0)
        kwargs.setdefault("token", "the tenant's")
        super().__init__(*args, **kwargs)
        self.tenant = tenant
        self.fleet = Fleet(self._transport, self.account_id)

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "tenant": self.tenant}


class OneCloud(IotoClient):
    """Fixes where it goes, and the token."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, token=TOKEN, limit=1, **options)
        self.url = url

    def _arguments(self) -> dict[str, Any]:
        arguments = {**super()._arguments(), "url": self.url}
        del arguments["api"], arguments["token"]
        return arguments


async def test_a_clone_of_a_subclass_is_one_with_its_controllers() -> None:
    async with RawServer(handler=answer) as server:
        client = WithController(server.url, token=TOKEN, environ={})
        async with client:
            clone = client.with_options(headers={"X-Y": "1"})
            assert type(clone) is WithController
            assert await clone.fleet.first() == await client.fleet.first() == "D1"
    assert [request.header("X-Y") for request in server.requests] == ["1", None]
    assert server.connections == 1


async def test_a_clone_of_a_subclass_with_more_arguments_is_made_with_those() -> None:
    async with RawServer(handler=answer) as server:
        client = Tenant(server.url, tenant="T1", token=SECRET, timeout=7, environ={})
        async with client:
            clone = client.with_options(headers={"X-Y": "1"}).with_options(retries=0)
            assert (type(clone), clone.tenant) == (Tenant, "T1")
            assert (clone._options.timeout, clone._auth) == (7, client._auth), (
                "its defaults stand only where none is given"
            )
            assert await clone.fleet.first() == await client.fleet.first() == "D1"
    assert [(r.header("X-Y"), r.header("Authorization")) for r in server.requests] == [("1", SECRET), (None, SECRET)]
    assert server.connections == 1


async def test_a_clone_of_a_subclass_that_fixes_arguments_shares_the_pool() -> None:
    async with RawServer(handler=answer) as server:
        async with OneCloud(server.url, environ={}, account_id="A1") as client:
            async with client.with_options(account_id="A2") as clone:
                assert (type(clone), clone.url) == (OneCloud, server.url)
                await clone.device.get("D1")
            await client.device.get("D1")
        with pytest.raises(ClientStateError, match="closed"):
            await clone.device.get("D1")
    assert [request.json["accountId"] for request in server.requests] == ["A2", "A1"]
    assert server.connections == 1


@each_row("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_client_and_what_belongs_to_it_are_neither_copied_nor_pickled(
    copied: Callable[[object], object],
) -> None:
    client = IotoClient(API, token=SECRET, environ={})
    run = client.bulk(client.device.claim, ["D1"])
    writer = client.metric.writer(via="automation", name="AddSample")
    link = DeviceLink(Certificates(id="D1", certificate="C", key="K", endpoint="mqtt.example"))
    for shared in (
        client,
        client.with_options(),
        client.builder,
        client.device,
        client.builder.test,
        run,
        writer,
        link,
    ):
        expected = f"{type(shared).__name__} has connections of this process and cannot be copied or pickled: "
        with pytest.raises(TypeError, match=expected) as refused:
            copied(shared)
        assert SECRET not in str(refused.value)
    with pytest.raises(TypeError, match=r"DeviceController has connections .* make another client in another process"):
        pickle.dumps(client.device.claim)  # as for a pool of processes
    with pytest.raises(TypeError, match=r"IotoClient has .*: share it, make a clone with with_options\(\)"):
        copied({"client": client}) if copied is not copy.copy else copied(client)


# The environment --------------------------------------------------------------------------------------------------


async def test_a_client_takes_everything_from_the_environment() -> None:
    def handler(request: Request) -> Step:
        return reply(200, {"registered": True} if request.path.endswith("register") else DEVICE)

    async with RawServer(handler=handler) as server:
        environ = {
            "IOTO_API": server.url,
            "IOTO_TOKEN": SECRET,
            "IOTO_ACCOUNT": "A1",
            "IOTO_BUILDER": f"{server.url}/api",
        }
        async with IotoClient.from_env(environ) as client:
            await client.device.get("D1")
            await client.builder.device.register("D1", "product")
    first, second = server.requests
    assert (first.header("Authorization"), first.json["accountId"]) == (SECRET, "A1")
    assert second.path == "/api/device/register"


async def test_the_environment_gives_the_origin_of_a_login() -> None:
    async with served(reply(200, DEVICE), login=SECRET, environ={"IOTO_HOST": "app.example"}) as (server, client):
        await client.device.get("D1")
    assert server.requests[0].header("Origin") == "app.example"


async def test_a_login_goes_before_the_token_of_the_environment() -> None:
    environ = {"IOTO_TOKEN": "other", "IOTO_HOST": "app.example"}
    async with served(reply(200, DEVICE), login=SECRET, environ=environ) as (server, client):
        await client.device.get("D1")
    assert (server.requests[0].header("Authorization"), server.requests[0].path) == (SECRET, "/device/get")


async def test_arguments_go_before_the_environment() -> None:
    environ = {"IOTO_API": API, "IOTO_TOKEN": "other", "IOTO_ACCOUNT": "other"}
    async with served(reply(200, DEVICE), token=SECRET, account_id="A1", environ=environ) as (server, client):
        await client.device.get("D1")
    (request,) = server.requests
    assert (request.header("Authorization"), request.json["accountId"]) == (SECRET, "A1")


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOTO_API", API)
    monkeypatch.setenv("IOTO_TOKEN", SECRET)
    monkeypatch.setenv("IOTO_ACCOUNT", "A7")
    client = IotoClient.from_env()
    assert (client.account_id, "cloud.example" in repr(client)) == ("A7", True)


def test_the_builder_takes_its_url_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOTO_BUILDER", "https://builder.example/api")
    assert "https://builder.example/api" in repr(BuilderClient())
    monkeypatch.delenv("IOTO_BUILDER")
    assert BUILDER_URL in repr(BuilderClient())


@each_row(
    "environ, name",
    [
        ({}, "IOTO_API"),
        ({"IOTO_API": "", "IOTO_TOKEN": SECRET}, "IOTO_API"),
        ({"IOTO_TOKEN": SECRET}, "IOTO_API"),
        ({"IOTO_API": API}, "IOTO_TOKEN"),
        ({"IOTO_API": API, "IOTO_TOKEN": ""}, "IOTO_TOKEN"),
        ({"IOTO_API": API, "IOTO_TOKEN": f"{SECRET}\n"}, "IOTO_TOKEN: "),
        ({"IOTO_API": f"{API}\n", "IOTO_TOKEN": SECRET}, "IOTO_API: "),
        ({"IOTO_API": API, "IOTO_TOKEN": SECRET, "IOTO_BUILDER": f" {API}"}, "IOTO_BUILDER: "),
        ({"IOTO_API": API, "IOTO_TOKEN": SECRET, "BUILDER_TOKEN": f"{SECRET} "}, "BUILDER_TOKEN: "),
        ({"IOTO_API": API, "IOTO_TOKEN": SECRET, "IOTO_ACCOUNT": "A1\n"}, "IOTO_ACCOUNT: .* white space"),
        ({"IOTO_API": API, "IOTO_TOKEN": SECRET, "IOTO_ACCOUNT": " A1"}, "IOTO_ACCOUNT: .* white space"),
        ({"IOTO_API": API, "IOTO_TOKEN": SECRET, "IOTO_ACCOUNT": "A1\u200b"}, "IOTO_ACCOUNT: .* printable"),
        ({"IOTO_API": "cloud.example", "IOTO_TOKEN": SECRET}, "IOTO_API: "),
        ({"IOTO_API": API, "IOTO_TOKEN": SECRET, "IOTO_BUILDER": "http://builder.example"}, "IOTO_BUILDER: "),
    ],
)
def test_an_environment_that_does_not_fit_is_refused_by_name(environ: dict[str, str], name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=name) as caught:
        IotoClient.from_env(environ)
    assert SECRET not in str(caught.value)


SIGN_IN = "IOTO_COGNITO, IOTO_CLIENT_ID, IOTO_USERNAME, IOTO_PASSWORD and IOTO_HOST"


@each_row(
    "environ, text",
    {
        "endpoint": ({}, "api: no base URL of the device cloud: give api, or set IOTO_API"),
        "credentials": (
            {"IOTO_API": API},
            f"token: no credentials: give token or login, or set IOTO_TOKEN, or to sign in {SIGN_IN}",
        ),
        "a part of the sign-in": (
            {"IOTO_API": API, "IOTO_COGNITO": API, "IOTO_USERNAME": "me"},
            "login: no complete sign-in: give login, or set IOTO_CLIENT_ID and IOTO_PASSWORD beside IOTO_COGNITO",
        ),
        "the app": (
            {"IOTO_API": API, "IOTO_COGNITO": API, **dict.fromkeys(("IOTO_CLIENT_ID", "IOTO_USERNAME"), "me")}
            | {"IOTO_PASSWORD": SECRET},
            "origin: no domain of the device app, which login tokens go with: give origin, or set IOTO_HOST",
        ),
    },
)
def test_a_setting_that_is_missing_is_named_as_an_argument_and_as_a_variable(
    environ: dict[str, str], text: str
) -> None:
    with pytest.raises(MissingSettingError) as caught:
        IotoClient.from_env(environ)
    assert str(caught.value) == text


@each_row("account", [" A1", "A1\n", "A1 ", "\u00a0A1", "A\x001", "A1\ufeff", "", " ", 5, b"A1"])
def test_an_account_that_can_match_none_is_refused_by_name(account: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="account_id: expected ") as refused:
        IotoClient(API, token=SECRET, account_id=account, environ={})
    assert repr(account) in str(refused.value)
    with pytest.raises(InvalidArgumentError, match="account_id: expected"):
        IotoClient(API, token=SECRET, environ={}).with_options(account_id=account)


async def test_a_key_with_white_space_around_it_is_refused_by_name_in_every_call() -> None:
    client = IotoClient(API, token=SECRET, environ={})
    calls: dict[str, Awaitable[object]] = {
        "device/find: accountId": client.device.find(account_id="A1\n"),
        "device/claim: id": client.device.claim("M72DANY8BZ\n"),
        "device/get: id": client.call("device/get", {"id": " M72DANY8BZ"}),
        "metric/fetch: deviceId": client.metric.fetch("M72DANY8BZ ", [MetricQuery("t")]),
        "action/find: cloudId": client.action.find("C1\r\n"),
    }
    for name, call in calls.items():
        with pytest.raises(InvalidArgumentError, match=f"{name}: expected no white space around it"):
            await call


def test_from_env_takes_options() -> None:
    with pytest.raises(InvalidArgumentError, match="timeout"):
        IotoClient.from_env({"IOTO_API": API, "IOTO_TOKEN": SECRET}, timeout=-1)


async def test_an_account_of_a_call_goes_before_that_of_the_client() -> None:
    async with served(reply(200, DEVICE), account_id="A1") as (server, client):
        await client.device.get("D1", account_id="A2")
    assert server.requests[0].json == {"id": "D1", "accountId": "A2"}


# Endpoints --------------------------------------------------------------------------------------------------------


@each_row(
    "value, url",
    [
        ("https://cloud.example", "https://cloud.example/"),
        ("https://cloud.example/", "https://cloud.example/"),
        ("https://cloud.example:8443", "https://cloud.example:8443/"),
        ("HTTPS://Cloud.Example", "https://cloud.example/"),
        ("https://cloud.example/base/v1", "https://cloud.example/base/v1"),
        ("https://cloud.example/base/v1/", "https://cloud.example/base/v1"),
        ("https://cloud.example/a%2Fb", "https://cloud.example/a%2Fb"),
        ("https://cloud.example/mytok", "https://cloud.example/mytok"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("http://localhost:8080", "http://localhost:8080/"),
        ("http://LOCALHOST", "http://localhost/"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1/"),
        ("http://127.8.9.10", "http://127.8.9.10/"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
    ],
)
def test_an_endpoint_is_kept_as_it_is(value: str, url: str) -> None:
    assert str(parse_endpoint(value)) == url


@each_row(
    "value",
    [
        "",
        "   ",
        "cloud.example",
        "cloud.example/x",
        "//cloud.example",
        "/x",
        "https://",
        "https:///x",
        "https://:443",
        "https:cloud.example",
        "ftp://cloud.example",
        "ws://cloud.example",
        "file:///x",
        "https://cloud.example:99999",
        "https://cloud.example:abc",
        "https://cloud.example:0",
        "https://[::1",
        " https://cloud.example",
        "https://cloud.example\n",
        "https://cloud .example",
        "https://cloud.example/\x00",
        "https://cloud.example?x=1",
        "https://cloud.example?",
        "https://cloud.example/x?",
        "https://cloud.example#",
        "https://cloud.example/#x",
        "https://cloud.example?#",
        "https://user@cloud.example",
        "https://user:password@cloud.example",
        "https://:password@cloud.example",
        "https://cloud.example/tok",
        "https://cloud.example/tok/",
        "https://cloud.example/base/tok",
        "http://cloud.example",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://169.254.169.254",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://evil-localhost",
        "http://[2001:db8::1]",
    ],
)
def test_an_endpoint_that_does_not_fit_is_refused(value: str) -> None:
    with pytest.raises(InvalidArgumentError, match="builder"):
        parse_endpoint(value, name="builder")


@each_row("value", [None, 5, b"https://cloud.example", ["https://cloud.example"]])
def test_an_endpoint_that_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="api"):
        parse_endpoint(value)


@each_row("value", ["http://cloud.example", "http://10.0.0.1:8080/x"])
def test_plain_http_beyond_loopback_is_allowed_if_asked_for(value: str) -> None:
    assert str(parse_endpoint(value, allow_http=True)).startswith(value)
    assert value in repr(IotoClient(value, token=TOKEN, environ={}, allow_http=True))


@each_row(
    "value",
    [
        f"https://user:{SECRET}@cloud.example",
        f"https://{SECRET}@cloud.example",
        f"http://user:{SECRET}@cloud.example",
        f"ftp://user:{SECRET}@cloud.example",
        f"user:{SECRET}@cloud.example",
        f"https:user:{SECRET}@cloud.example",
        f"https://user:{SECRET}@cloud.example:99999",
        f"https://user:{SECRET}@cloud.example:abc",
        f"https://user:{SECRET}@[::1",
        f"https://user:{SECRET}@cloud\u2100.example",
        f"https://user:{SECRET}@cloud.example\n",
        f"https://cloud.example?token={SECRET}",
        f"https://cloud.example#{SECRET}",
        f"https://cloud.example/x?token={SECRET}",
        f"cloud.example?token={SECRET}",
        SECRET,
    ],
)
def test_a_refused_endpoint_does_not_show_secrets(value: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        IotoClient(value, token=TOKEN, environ={})
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"


# Warnings ---------------------------------------------------------------------------------------------------------


async def use(server: RawServer, kind: str) -> None:
    if kind == "used":
        async with client_of(server) as client:
            await client.device.get("D1")
    elif kind == "never used":
        client_of(server)
    elif kind == "opened":
        async with client_of(server):
            pass
    elif kind == "clone":
        async with client_of(server) as client:
            await client.with_options(retries=0).device.get("D1")
    elif kind == "failed":
        async with client_of(server) as client:
            with pytest.raises(CallError):
                await client.device.get("missing")
    else:
        async with aiohttp.ClientSession() as session:
            await client_of(server, session=session).device.get("D1")


@pytest.mark.parametrize("kind", ["used", "never used", "opened", "clone", "failed", "borrowed"])
async def test_a_client_leaves_no_resource_warning(kind: str) -> None:
    def handler(request: Request) -> Step:
        return reply(400, "No") if request.json["id"] == "missing" else reply(200, DEVICE)

    gc.collect()
    async with RawServer(handler=handler) as server:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await use(server, kind)
            gc.collect()
    assert [warning for warning in caught if issubclass(warning.category, ResourceWarning)] == []


# The embedded cloud -----------------------------------------------------------------------------------------------


async def test_a_device_is_registered_claimed_read_and_released() -> None:
    async with Emulator() as cloud, IotoClient.from_env(cloud.env) as client:
        await client.builder.device.register("D1", cloud.product_token)
        assert (await client.device.claim("D1")).id == "D1"
        assert (await client.device.get("D1")).account_id == cloud.account_id
        assert [device.id async for device in client.device.find(limit=1)] == ["D1"]
        await client.device.release("D1")
        with pytest.raises(NotFoundError):
            await client.device.get("D1")


async def test_a_login_token_works_on_the_embedded_cloud() -> None:
    async with Emulator() as cloud:
        client = IotoClient(cloud.api, login=cloud.login_token, origin=cloud.origin, environ={})
        async with client:
            assert (await client.device.find()).items == []


async def test_a_wrong_token_is_refused_by_the_embedded_cloud() -> None:
    async with Emulator() as cloud, IotoClient(cloud.api, token="wrong", environ={}) as client:
        with pytest.raises(AuthenticationError):
            await client.device.find()


async def test_a_walk_through_the_embedded_cloud_meets_every_item_once() -> None:
    keys = {f"k{number}" for number in range(7)}
    async with Emulator() as cloud, IotoClient.from_env(cloud.env) as client:
        await client.builder.device.register("D1", cloud.product_token)
        await client.device.claim("D1")
        await asyncio.gather(*[client.store.set("D1", key, key) for key in keys])
        found = [item.key async for item in client.store.find("D1", limit=3)]
    assert sorted(filter(None, found)) == sorted(keys)


async def test_the_certificate_of_the_embedded_cloud_is_not_trusted_by_itself() -> None:
    async with Emulator(tls=True) as cloud, IotoClient.from_env(cloud.env, retry=RetryPolicy(base=0)) as client:
        with pytest.raises(ConnectionFailedError) as caught:
            await client.device.find()
    assert caught.value.attempts == 1


def test_an_option_that_is_not_known_is_told_with_those_that_are() -> None:
    with pytest.raises(InvalidArgumentError, match=r"unknown option 'nope': expected one of timeout.*limits"):
        IotoClient("https://cloud.example", token="01TOKEN", environ={}, nope=1)  # type: ignore[call-arg]


async def test_members_are_set_cleared_and_left_out(ioto_client: IotoClient) -> None:
    user = await ioto_client.user.create("bob@example.com", "user")
    await ioto_client.user.update(user.id, first="Bob", last="Builder", preferences={"theme": "dark"})
    changed = await ioto_client.user.update(user.id, first=None, last=OMIT)
    assert (changed.first, changed.last, changed.extra) == (None, "Builder", {"preferences": {"theme": "dark"}})
    dashboard = await ioto_client.dashboard.create("Main", css=[".a"], refresh=30, live=OMIT, type=None)
    changed_dashboard = await ioto_client.dashboard.update(dashboard.id, css=None)
    assert (changed_dashboard.css, changed_dashboard.refresh, changed_dashboard.name) == (None, 30, "Main")


def test_omit_is_one_object_with_a_name() -> None:
    assert (repr(OMIT), pickle.loads(pickle.dumps(OMIT)), copy.deepcopy(OMIT)) == ("OMIT", OMIT, OMIT)
    assert [*Omit] == [OMIT]
