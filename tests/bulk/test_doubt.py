"""Whether what an item was to do may have been done: seen through whatever a callable makes of a call of the client."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest

from ioto_async import CallError, IotoClient, Limits, RetryPolicy
from ioto_async.controllers import DeviceController
from ioto_async.emulator import Emulator
from ioto_async.models import Device
from ioto_async.operations import Kind
from tests.rawserver import GUARD, Request, Step, drop, reply, served, silent

from .calls import outcomes, states, statuses, turns

Call = Callable[[str], Awaitable[Any]]


class Hurry:
    """Ends the time of whoever waits for a reply when the request has come; the time itself never passes."""

    def __init__(self) -> None:
        self.deadline: asyncio.Timeout | None = None
        self.waiting: asyncio.Task[Any] | None = None

    def __call__(self, request: Request) -> Step:
        if self.deadline is not None:
            self.deadline.reschedule(0)
        if self.waiting is not None:
            self.waiting.cancel()
        return silent()


def in_a_timeout(client: IotoClient, hurry: Hurry) -> Call:
    async def call(item: str) -> None:
        async with asyncio.timeout(None) as hurry.deadline:
            await client.action.invoke(item)

    return call


def in_a_task_that_is_cancelled(client: IotoClient, hurry: Hurry) -> Call:
    async def call(item: str) -> None:
        hurry.waiting = asyncio.ensure_future(client.action.invoke(item))
        await asyncio.wait([hurry.waiting])
        raise RuntimeError("gave up")

    return call


def in_a_group_with_a_timeout(client: IotoClient, hurry: Hurry) -> Call:
    async def call(item: str) -> None:
        async with asyncio.TaskGroup() as group, asyncio.timeout(None) as hurry.deadline:
            await group.create_task(client.action.invoke(item))

    return call


@pytest.mark.parametrize("wrapped", [in_a_timeout, in_a_task_that_is_cancelled, in_a_group_with_a_timeout])
async def test_what_was_given_up_after_it_was_sent_is_unknown_and_never_sent_twice(
    tmp_path: Path, wrapped: Callable[[IotoClient, Hurry], Call]
) -> None:
    hurry, path = Hurry(), tmp_path / "journal"
    async with served(handler=hurry) as (server, client):
        for _ in range(3):
            run = client.bulk(wrapped(client, hurry), ["a"], concurrency=1, journal=path, retry_failed=True)
            assert await statuses(run) == {"a": "unknown"}
    assert len(server.requests) == 1


def in_a_group(client: IotoClient) -> Call:
    async def call(item: str) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(client.action.invoke(item))

    return call


def as_another_error(client: IotoClient) -> Call:
    async def call(item: str) -> None:
        try:
            await client.action.invoke(item)
        except CallError as error:
            raise ValueError(item) from error

    return call


def as_an_error_without_a_cause(client: IotoClient) -> Call:
    async def call(item: str) -> None:
        result = await asyncio.gather(client.action.invoke(item), return_exceptions=True)
        raise LookupError(f"{len(result)} failed")

    return call


WRAPPED = [in_a_group, as_another_error, as_an_error_without_a_cause]


@pytest.mark.parametrize("wrapped", WRAPPED)
async def test_a_connection_that_broke_is_seen_through_what_is_raised_instead(
    tmp_path: Path, wrapped: Callable[[IotoClient], Call]
) -> None:
    path = tmp_path / "journal"
    async with served(handler=lambda _: drop()) as (server, client):
        for _ in range(3):
            run = client.bulk(wrapped(client), ["a"], concurrency=1, journal=path, retry_failed=True)
            assert await statuses(run) == {"a": "unknown"}
    assert len(server.requests) == 1


@pytest.mark.parametrize("wrapped", WRAPPED)
async def test_a_reply_that_cannot_be_read_is_seen_through_what_is_raised_instead(
    tmp_path: Path, wrapped: Callable[[IotoClient], Call]
) -> None:
    """It may have told of success."""
    path = tmp_path / "journal"
    async with served(handler=lambda _: reply(200, b"not JSON")) as (server, client):
        for _ in range(3):
            run = client.bulk(wrapped(client), ["a"], concurrency=1, journal=path, retry_failed=True)
            assert await statuses(run) == {"a": "unknown"}
    assert len(server.requests) == 1


@pytest.mark.parametrize("wrapped", WRAPPED)
async def test_what_was_refused_has_failed_whatever_is_raised_instead(
    tmp_path: Path, wrapped: Callable[[IotoClient], Call]
) -> None:
    path = tmp_path / "journal"
    async with served(handler=lambda _: reply(400, "no")) as (server, client):
        for count in (1, 2):
            run = client.bulk(wrapped(client), ["a"], concurrency=1, journal=path, retry_failed=True)
            assert await statuses(run) == {"a": "failed"}
            assert len(server.requests) == count


@pytest.mark.parametrize(("through_client", "status"), [(True, "failed"), (False, "unknown")])
async def test_what_was_given_up_before_its_turn_has_failed_if_it_does_nothing_but_calls(
    tmp_path: Path, status: str, *, through_client: bool
) -> None:
    """Nothing was sent for it; what else it has done only the callable can say."""
    held = asyncio.Event()
    async with served(handler=lambda _: reply(200, {}, hold=held), limits=Limits(in_flight=1)) as (server, client):
        before = asyncio.create_task(client.action.invoke("before"))
        await server.received(1)

        async def call(item: str) -> None:
            async with asyncio.timeout(None) as deadline:
                asyncio.get_running_loop().call_soon(deadline.reschedule, 0)
                await client.action.invoke(item)

        run = client.bulk(call, ["a"], concurrency=1, journal=tmp_path / "journal", through_client=through_client)
        found = await statuses(run)
        held.set()
        await before
    assert found == {"a": status}
    assert len(server.requests) == 1


async def test_a_read_that_is_given_up_leaves_nothing_in_doubt() -> None:
    hurry = Hurry()

    async def call(item: str) -> None:
        async with asyncio.timeout(None) as hurry.deadline:
            await client.device.get(item)

    async with served(handler=hurry) as (_, client):
        assert await statuses(client.bulk(call, ["a"], concurrency=1, through_client=True)) == {"a": "failed"}


@pytest.mark.parametrize(
    ("kind", "status"), [(None, "unknown"), (Kind.ONCE, "unknown"), (Kind.REPLAYABLE, "unknown"), (Kind.READ, "failed")]
)
async def test_a_call_past_the_client_that_runs_out_of_time_is_unknown_unless_it_reads(
    kind: Kind | None, status: str
) -> None:
    async def call(item: str) -> None:
        raise TimeoutError

    async with served() as (_, client):
        assert await statuses(client.bulk(call, ["a"], concurrency=1, kind=kind)) == {"a": status}


async def test_the_doubt_of_one_item_is_not_that_of_the_next() -> None:
    def handler(request: Request) -> Step:
        return drop() if request.json["name"] == "a" else reply(400, "no")

    async with served(handler=handler) as (_, client):
        found = await statuses(client.bulk(as_another_error(client), ["a", "b"], concurrency=1))
    assert found == {"a": "unknown", "b": "failed"}


async def test_what_a_provider_of_tokens_has_sent_is_not_sent_for_the_item() -> None:
    clients: list[IotoClient] = []

    async def provider() -> str:
        user = clients[0].with_options(token="a-token-to-sign-in-with")
        await asyncio.gather(user.call("user/signIn"), return_exceptions=True)
        raise LookupError

    async with served(handler=lambda _: drop(), login=provider, origin="app.ioto.me") as (server, client):
        clients.append(client)
        assert await statuses(client.bulk(client.action.invoke, ["a"], concurrency=1)) == {"a": "failed"}
    assert [request.path for request in server.requests] == ["/tok/user/signIn"]


# Several requests for one item ------------------------------------------------------------------------------------


class Steps:
    """A callable with two requests, the second of which waits for its turn until the test ends."""

    def __init__(self, client: IotoClient, first: str) -> None:
        self._client = client
        self._first = first

    async def __call__(self, item: str) -> None:
        await self._client.call(self._first, {"name": item} if self._first == "action/invoke" else {"id": item})
        await self._client.action.invoke(f"{item} again")


@pytest.mark.parametrize(
    ("first", "through_client", "status"),
    [("action/invoke", True, "unknown"), ("device/get", True, "undone"), ("device/get", False, "unknown")],
)
@pytest.mark.parametrize("grace", [None, 0])
async def test_an_item_that_was_half_done_when_the_run_stops_is_unknown(
    tmp_path: Path, first: str, status: str, grace: float | None, *, through_client: bool
) -> None:
    """One that has only read is as if it had not begun, if it does nothing but calls."""
    path, held = tmp_path / "journal", asyncio.Event()

    def handler(request: Request) -> Step:
        id = request.json.get("id") or request.json.get("name")
        return reply(200, {"id": id, "accountId": "A1"}, hold=held if id == "other" else None)

    async with served(handler=handler, limits=Limits(in_flight=1)) as (server, client):
        run = client.bulk(
            Steps(client, first),
            ["a"],
            concurrency=1,
            journal=path,
            retry_failed=True,
            through_client=through_client,
        )
        done = asyncio.ensure_future(outcomes(run))
        await server.received(1)
        other = asyncio.create_task(client.action.invoke("other"))  # gets its turn before the second request of a
        await server.received(2)
        await turns()
        run.stop(grace=grace)
        async with asyncio.timeout(GUARD):
            found = [outcome.status for outcome in await done]
        held.set()
        await other
    assert [request.json.get("name", "a") for request in server.requests] == ["a", "other"]
    assert (found, states(path)) == ([] if status == "undone" else [status], {"a": status})


async def test_of_several_requests_at_once_none_is_lost_without_a_word_when_the_run_stops(tmp_path: Path) -> None:
    """One of them is refused for now, and cannot be sent again any more; the callable must not pass for done."""
    path, refusal, held = tmp_path / "journal", asyncio.Event(), asyncio.Event()

    def handler(request: Request) -> Step:
        if request.json["name"] == "a1":
            return reply(200, {}, hold=held)
        return reply(429, "slow down", headers={"Retry-After": "100"}, hold=refusal)

    async def call(item: str) -> None:
        async with asyncio.TaskGroup() as group:
            for number in "12":
                group.create_task(client.action.invoke(item + number))

    async with served(handler=handler) as (server, client):
        run = client.bulk(call, ["a"], concurrency=1, journal=path)
        done = asyncio.ensure_future(outcomes(run))
        await server.received(2)
        run.stop()
        refusal.set()
        while not client._pool.limiter.pauses.left:
            await asyncio.sleep(0)
        held.set()
        async with asyncio.timeout(GUARD):
            found = [outcome.status for outcome in await done]
    assert found == ["unknown"]
    assert states(path) == {"a": "unknown"}


@pytest.mark.parametrize(("through_client", "status"), [(True, "undone"), (False, "unknown")])
async def test_a_request_that_waits_beside_one_in_flight_does_not_keep_a_run_from_stopping(
    tmp_path: Path, status: str, *, through_client: bool
) -> None:
    path, refusal = tmp_path / "journal", asyncio.Event()
    pause = reply(429, "slow down", headers={"Retry-After": "100"}, hold=refusal)

    async with served(handler=lambda _: pause, limits=Limits(in_flight=1)) as (server, client):

        async def call(item: str) -> None:
            async with asyncio.TaskGroup() as group:
                for number in "12":
                    group.create_task(client.action.invoke(item + number))

        run = client.bulk(call, ["a"], concurrency=1, journal=path, through_client=through_client)
        done = asyncio.ensure_future(outcomes(run))
        await server.received(1)
        await turns()
        run.stop()
        refusal.set()
        async with asyncio.timeout(GUARD):
            found = [outcome.status for outcome in await done]
    assert (found, states(path)) == ([] if status == "undone" else [status], {"a": status})


# What nobody but the callable knows -------------------------------------------------------------------------------


class Acting:
    """A callable that calls the client, acts elsewhere, and then waits until it is cut off."""

    def __init__(self, first: Callable[[], Awaitable[Any]] | None) -> None:
        self._first = first
        self.acted = 0
        self.is_waiting = asyncio.Event()

    async def __call__(self, item: str) -> None:
        if self._first is not None:
            await self._first()
        self.acted += 1
        self.is_waiting.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("first", ["nothing", "test.ping", "device.get"])
@pytest.mark.parametrize("way", ["stop", "leave"])
async def test_what_was_done_past_the_client_is_not_forgotten_when_the_run_ends(
    tmp_path: Path, first: str, way: str
) -> None:
    path = tmp_path / "journal"
    async with served(handler=lambda _: reply(200, {"id": "a"})) as (_, client):
        calls = {"nothing": None, "test.ping": client.test.ping, "device.get": lambda: client.device.get("a")}
        acting = Acting(calls[first])
        run = client.bulk(acting, ["a"], concurrency=1, journal=path)
        done = asyncio.ensure_future(statuses(run))
        await acting.is_waiting.wait()
        if way == "stop":
            run.stop(grace=0)
            assert await done == {"a": "unknown"}
        else:
            done.cancel()
            await asyncio.wait([done])
        assert await statuses(client.bulk(acting, ["a"], concurrency=1, journal=path)) == {"a": "unknown"}
    assert acting.acted == 1


async def test_an_installation_inside_of_a_fetched_update_is_not_forgotten_when_the_run_stops(tmp_path: Path) -> None:
    """A method of the client that awaits what somebody else has written."""
    path = tmp_path / "journal"
    async with Emulator() as emulator, IotoClient.from_env(emulator.env) as client:
        emulator.cloud.add_update("2.0.0", b"image")
        emulator.cloud.register_device("DEV0000001")
        await client.device.claim("DEV0000001")
        begun: list[Path] = []

        async def install(image: Path) -> None:
            begun.append(image)
            run.stop(grace=0)
            await asyncio.Event().wait()

        fetch = partial(
            client.provision.fetch_update,
            product=emulator.product_token,
            version="1.0.0",
            path=tmp_path / "image",
            install=install,
        )
        run = client.bulk(fetch, ["DEV0000001"], concurrency=1, journal=path)
        assert await statuses(run) == {"DEV0000001": "unknown"}
        assert len(begun) == 1


async def test_a_method_that_a_subclass_has_written_anew_may_do_anything(tmp_path: Path) -> None:
    class Devices(DeviceController):
        async def claim(self, id: str, **options: Any) -> Device:
            await acting(id)
            return Device(id=id)

    path, acting = tmp_path / "journal", Acting(None)
    async with served() as (_, client):
        devices = Devices(client._transport, None)
        run = client.bulk(devices.claim, ["a"], concurrency=1, journal=path)
        done = asyncio.ensure_future(statuses(run))
        await acting.is_waiting.wait()
        run.stop(grace=0)
        assert await done == {"a": "unknown"}


async def test_a_callable_wrapped_round_a_method_is_not_taken_for_it(tmp_path: Path) -> None:
    async with served(handler=lambda _: reply(200, {"id": "a"})) as (_, client):

        @wraps(client.device.claim)
        async def call(item: str) -> None:
            await client.test.ping()
            run.stop(grace=0)
            await asyncio.Event().wait()

        run = client.bulk(call, ["a"], concurrency=1, journal=tmp_path / "journal")
        assert await statuses(run) == {"a": "unknown"}


# Transfers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "status"), [(500, "unknown"), (503, "undone")])
@pytest.mark.parametrize("grace", [None, 0])
async def test_an_upload_that_is_stopped_before_it_is_sent_again_is_unknown_if_the_file_may_be_there(
    tmp_path: Path, answer: int, status: str, grace: float | None
) -> None:
    path = tmp_path / "journal"
    policy = RetryPolicy(base=1e9, cap=1e9, elapsed=math.inf)
    signed: list[str] = []

    def handler(request: Request) -> Step:
        if request.method == "POST":
            return reply(200, json.dumps(signed[0]).encode())
        return reply(answer, "busy", headers={"Retry-After": "100"} if answer == 503 else {})

    async with served(handler=handler, retry=policy) as (server, client):
        signed.append(f"{server.url}/bucket/file?signature=0123456789")
        run = client.bulk(partial(client.file.upload, source=b"data"), ["file"], concurrency=1, journal=path)
        done = asyncio.ensure_future(outcomes(run))
        await server.received(2)
        await turns()
        run.stop(grace=grace)
        async with asyncio.timeout(GUARD):
            found = [outcome.status for outcome in await done]
    assert (found, states(path)) == ([] if status == "undone" else [status], {"file": status})


async def test_an_upload_that_is_stopped_before_its_last_byte_was_sent_has_done_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    begun = asyncio.Event()
    signed: list[str] = []

    async def source() -> AsyncIterator[bytes]:
        begun.set()
        await asyncio.Event().wait()
        yield b"never"

    def handler(request: Request) -> Step:
        return reply(200, json.dumps(signed[0]).encode())

    async with served(handler=handler) as (server, client):
        signed.append(f"{server.url}/bucket/file?signature=0123456789")

        run = client.bulk(
            lambda name: client.file.upload(name, source(), size=5),
            ["file"],
            concurrency=1,
            journal=path,
            through_client=True,
        )
        done = asyncio.ensure_future(outcomes(run))
        await begun.wait()
        run.stop(grace=0)
        async with asyncio.timeout(GUARD):
            assert await done == []
    assert states(path) == {"file": "undone"}


async def test_a_download_that_is_stopped_before_it_is_asked_for_again_has_done_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    policy = RetryPolicy(base=1e9, cap=1e9, elapsed=math.inf)
    signed: list[str] = []

    def handler(request: Request) -> Step:
        return reply(200, json.dumps(signed[0]).encode()) if request.method == "POST" else reply(500, "ouch")

    async with served(handler=handler, retry=policy) as (server, client):
        signed.append(f"{server.url}/bucket/file?signature=0123456789")
        run = client.bulk(partial(client.file.download, path=tmp_path / "file"), ["file"], concurrency=1, journal=path)
        done = asyncio.ensure_future(outcomes(run))
        await server.received(2)
        await turns()
        run.stop()
        async with asyncio.timeout(GUARD):
            assert await done == []
    assert states(path) == {"file": "undone"}


# Sign-in ----------------------------------------------------------------------------------------------------------


async def test_a_call_that_waits_for_a_login_token_when_the_run_is_cut_off_has_done_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    asked = asyncio.Event()

    async def provider() -> str:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with served(login=provider, origin="app.ioto.me") as (server, client):
        run = client.bulk(client.action.invoke, ["a"], concurrency=1, journal=path)
        done = asyncio.ensure_future(outcomes(run))
        await asked.wait()
        run.stop(grace=0)
        async with asyncio.timeout(GUARD):
            assert await done == []
        assert server.requests == []
    assert states(path) == {"a": "undone"}
