"""One call over the wire: statuses, broken replies, retries, deadlines, the pool; against a raw server."""

import asyncio
import gzip
import logging
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ioto_async import (
    Attempt,
    AuthenticationError,
    BadRequestError,
    CallError,
    CallTimeoutError,
    ClientStateError,
    ConnectionFailedError,
    ConnectionLostError,
    DecodeError,
    InBandError,
    InvalidArgumentError,
    IotoClient,
    IotoError,
    Limits,
    NotFoundError,
    OutcomeUnknownError,
    PoolTimeoutError,
    RateLimitedError,
    RetryPolicy,
    ServiceError,
    StatusError,
    UnexpectedStatusError,
)
from ioto_async.errors import DeviceBlockedError
from ioto_async.transport.attempt import reason_of, text_of
from ioto_async.transport.pauses import Pause
from tests.rawserver import (
    GUARD,
    RawServer,
    Request,
    Step,
    client_of,
    drop,
    leftover_tasks,
    reply,
    reset,
    served,
    silent,
    unread,
)
from tests.rows import each_row

SOON = 0.05
"""Seconds of a deadline that is to be missed."""
LATER = 1.0
"""Seconds of a deadline that is missed only if there is a bug."""

CHUNK_AND_A_HALF = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"id\r\n99\r\n": "D'

DEVICE = {"id": "D1", "accountId": "A1"}

Call = Callable[[IotoClient], Awaitable[Any]]


async def get(client: IotoClient, **options: Any) -> Any:
    return await client.device.get("D1", **options)


async def claim(client: IotoClient, **options: Any) -> Any:
    return await client.device.claim("D1", **options)


async def create(client: IotoClient, **options: Any) -> Any:
    return await client.generic.create("Note", {"text": "x"}, **options)


async def report(client: IotoClient, **options: Any) -> None:
    await client.provision.update_report("D1", "U1", success=True, **options)


READ, REPLAYABLE, ONCE = get, claim, create
KINDS = {"READ": READ, "REPLAYABLE": REPLAYABLE, "ONCE": ONCE}


async def failure(call: Awaitable[Any]) -> CallError:
    with pytest.raises(CallError) as caught:
        await call
    return caught.value


@pytest.fixture
def waits(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    # Nor does anybody wait for the end of a pause that the service asked for.
    monkeypatch.setattr(Pause, "begin", lambda pause, seconds: None)
    return waits


# The request ------------------------------------------------------------------------------------------------------


async def test_a_call_is_a_post_of_json_to_controller_and_action() -> None:
    async with served(reply(200, DEVICE)) as (server, client):
        await client.device.get("D1")
    (request,) = server.requests
    assert (request.method, request.target, request.json) == ("POST", "/tok/device/get", {"id": "D1"})
    assert request.header("Content-Type") == "application/json"
    assert request.header("Accept") == "application/json"


async def test_a_body_has_an_exact_length_and_is_not_chunked() -> None:
    async with served(reply(200, DEVICE)) as (server, client):
        await client.device.get("D1")
    (request,) = server.requests
    assert request.header("Content-Length") == str(len(request.body))
    assert request.header("Transfer-Encoding") is None


async def test_every_attempt_sends_the_same_body() -> None:
    async with served(reply(500), drop(), reply(200, DEVICE)) as (server, client):
        await get(client)
    assert [request.json for request in server.requests] == [{"id": "D1"}] * 3


# Statuses to errors -----------------------------------------------------------------------------------------------


ERRORS: dict[int, type[StatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: AuthenticationError,
    404: UnexpectedStatusError,
    405: UnexpectedStatusError,
    409: UnexpectedStatusError,
    413: UnexpectedStatusError,
    429: RateLimitedError,
    500: ServiceError,
    501: ServiceError,
    502: ServiceError,
    503: ServiceError,
    504: ServiceError,
    599: ServiceError,
}


@each_row("status, cls", ERRORS.items())
async def test_a_status_has_its_error(status: int, cls: type[Any]) -> None:
    async with served(reply(status, "what the service says")) as (_, client):
        error = await failure(get(client, retries=0))
    assert type(error) is cls
    assert (error.status, error.message, error.operation) == (
        status,
        "what the service says",
        "device/get",
    )


async def test_a_record_that_is_not_there_is_a_not_found_error() -> None:
    async with served(reply(400, "Cannot find device")) as (_, client):
        error = await failure(get(client))
    assert type(error) is NotFoundError
    assert (error.status, error.message, error.outcome_unknown) == (400, "Cannot find device", False)


async def test_an_empty_reply_to_a_get_is_a_not_found_error() -> None:
    async with served(reply(200, b"")) as (_, client):
        error = await failure(get(client))
    assert (type(error), error.status) == (NotFoundError, 200)


@each_row("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_never_followed(status: int) -> None:
    async with RawServer.of() as elsewhere, served() as (server, client):
        headers = {"Location": f"{elsewhere.url}/tok/device/get"}
        server.steps.append(reply(status, b"", headers=headers))
        error = await failure(get(client))
        assert (type(error), error.status) == (UnexpectedStatusError, status)
        assert (len(server.requests), elsewhere.connections) == (1, 0)


async def test_the_error_of_a_redirect_says_where_it_led() -> None:
    async with served(reply(302, b"", headers={"Location": "https://other.example/x"})) as (_, client):
        error = await failure(get(client))
    assert "https://other.example/x" in error.message


async def test_an_error_without_text_shows_the_reason() -> None:
    async with served(reply(400, b"")) as (_, client):
        assert (await failure(get(client))).message == "Scripted"


@pytest.mark.parametrize("body", ['{"message": "Too much"}', '{"message": "Too much", "code": 7}', "Too  \n much\x07"])
async def test_the_message_is_the_service_s_text_in_one_line(body: str) -> None:
    async with served(reply(400, body)) as (_, client):
        assert (await failure(get(client))).message == "Too much"


async def test_a_json_error_without_a_text_shows_the_reason() -> None:
    # The gateway's own failures are known to carry a null.
    async with served(reply(504, '{"message": null}')) as (_, client):
        assert (await failure(get(client, retries=0))).message == "Scripted"


async def test_a_message_is_cut_to_500_characters() -> None:
    async with served(reply(400, "x" * 5000)) as (_, client):
        assert (await failure(get(client))).message == "x" * 500


async def test_the_message_of_an_in_band_error_is_one_line_of_at_most_500_characters_too() -> None:
    async with served(reply(200, {"error": "first\nsecond " + "x" * 5000})) as (_, client):
        error = await failure(client.device.provision("D1"))
    assert isinstance(error, InBandError)
    assert "\n" not in error.message
    assert len(error.message) <= 500


async def test_a_message_that_is_no_utf_8_is_shown_as_far_as_it_is() -> None:
    async with served(reply(400, b"caf\xe9 closed")) as (_, client):
        assert (await failure(get(client))).message == "caf\ufffd closed"


async def test_a_page_of_html_in_place_of_a_message_is_not_shown() -> None:
    async with served(reply(502, "<html><body>Bad gateway</body></html>")) as (_, client):
        error = await failure(get(client, retries=0))
    assert "<" not in error.message
    assert "HTML" in error.message


# Replies that are no answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("<!DOCTYPE html><html>Sign in</html>", "HTML"),
        ('{"id": "D1", "acc', "not JSON"),
        ("null", "object"),
        ("[]", "object"),
        ('"D1"', "object"),
        ("17", "object"),
        (b"\xff\xfe", "not JSON"),
    ],
)
async def test_a_success_that_is_not_what_was_asked_for_is_a_decode_error(body: bytes | str, hint: str) -> None:
    async with served(reply(200, body)) as (server, client):
        error = await failure(claim(client))
    assert type(error) is DecodeError
    assert (error.path, error.status, error.operation) == ("$", 200, "device/claim")
    assert hint in error.message
    assert len(server.requests) == 1


async def test_a_member_of_the_wrong_type_is_named() -> None:
    async with served(reply(200, {"data": {"id": [5]}})) as (_, client):
        error = await failure(get(client))
    assert isinstance(error, DecodeError)
    assert error.path == "$.data.id"


async def test_the_text_of_a_decode_error_does_not_show_the_reply() -> None:
    async with served(reply(200, '{"key": "-----BEGIN PRIVATE KEY-----')) as (_, client):
        error = await failure(client.device.provision("D1"))
    assert "PRIVATE" not in f"{error} {error!r} {error.__cause__!r}"


async def test_an_empty_reply_where_a_record_is_due_is_a_decode_error() -> None:
    async with served(reply(200, b"")) as (_, client):
        error = await failure(claim(client))
    assert type(error) is DecodeError
    assert "empty" in error.message


async def test_no_content_where_a_record_is_due_is_a_decode_error_with_its_status() -> None:
    async with served(reply(204)) as (_, client):
        error = await failure(claim(client))
    assert (type(error), error.status) == (DecodeError, 204)


@pytest.mark.parametrize("answer", [reply(204), reply(200, b""), reply(200, "OK"), reply(200, {})])
async def test_an_operation_without_a_documented_reply_takes_any_success(answer: Step) -> None:
    async with served(answer) as (server, client):
        await report(client)
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [reply(200, "<html>"), reply(200, b""), reply(200, '{"id": "D'), reply(200, [])])
@pytest.mark.parametrize("call", [claim, create])
async def test_an_unreadable_success_of_a_write_leaves_the_outcome_unknown(call: Call, answer: Step) -> None:
    async with served(answer) as (_, client):
        error = await failure(call(client))
    assert (type(error), error.outcome_unknown) == (DecodeError, True)


async def test_an_unreadable_success_of_a_read_leaves_nothing_unknown() -> None:
    async with served(reply(200, "<html>")) as (_, client):
        assert (await failure(get(client))).outcome_unknown is False


async def test_a_reply_may_be_chunked() -> None:
    async with served(reply(200, DEVICE, chunked=True)) as (_, client):
        assert (await client.device.get("D1")).id == "D1"


async def test_a_reply_may_be_compressed() -> None:
    body = gzip.compress(b'{"id": "D1"}')
    async with served(reply(200, body, headers={"Content-Encoding": "gzip"})) as (_, client):
        assert (await client.device.get("D1")).id == "D1"


async def test_a_message_may_be_compressed() -> None:
    body = gzip.compress(b"Not like this")
    async with served(reply(400, body, headers={"Content-Encoding": "gzip"})) as (_, client):
        assert (await failure(get(client))).message == "Not like this"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(200, b'"' + b"x" * 2000 + b'"'), id="with a length"),
        pytest.param(reply(200, b'"' + b"x" * 2000 + b'"', chunked=True), id="chunked"),
        pytest.param(
            reply(200, gzip.compress(b'"' + b"x" * 2000 + b'"'), headers={"Content-Encoding": "gzip"}), id="compressed"
        ),
        pytest.param(Step(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, close=True), id="until the end of the connection"),
        pytest.param(reply(200, b"x" * 2000, length=100 << 20), id="of 100 MiB"),
    ],
)
async def test_a_reply_that_is_too_large_is_refused_before_all_of_it_is_read(answer: Step) -> None:
    async with served(answer, max_reply=1000) as (server, client):
        error = await failure(client.device.get_signed_url())
    assert type(error) is DecodeError
    assert "1000 bytes" in error.message
    assert len(server.requests) == 1


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_reply_of_exactly_the_permitted_size_is_taken(chunked: bool) -> None:
    body = b'"' + b"x" * 998 + b'"'
    async with served(reply(200, body, chunked=chunked), max_reply=1000) as (_, client):
        assert await client.device.get_signed_url() == "x" * 998


async def test_the_pool_is_usable_after_a_reply_that_was_too_large() -> None:
    async with served(reply(200, b"x" * 99, length=10**9), reply(200, DEVICE), max_reply=50, limit=1) as (_, client):
        await failure(get(client))
        assert (await get(client)).id == "D1"


async def test_a_long_failure_is_not_read_to_its_end() -> None:
    async with served(reply(400, b"y" * 100_000, length=10**9), reply(200, DEVICE), limit=1) as (_, client):
        error = await failure(get(client))
        assert (type(error), error.message) == (BadRequestError, "y" * 500)
        assert (await get(client)).id == "D1"


# What is retried --------------------------------------------------------------------------------------------------

FAILURES: dict[str, tuple[Step, str]] = {
    "closed after reading": (drop(), "unknown"),
    "reset": (reset(), "unknown"),
    "half a status line": (Step(b"HTTP/1.1 200 O", close=True), "unknown"),
    "cut body": (reply(200, b'{"id": "D', length=99, close=True), "unknown"),
    "408": (reply(408), "refused"),
    "S3's time-out": (reply(400, "<Error><Code>RequestTimeout</Code></Error>"), "refused"),
    "500": (reply(500), "unknown"),
    "502": (reply(502), "unknown"),
    "503": (reply(503), "unknown"),
    "504": (reply(504), "unknown"),
    "500 with Retry-After": (reply(500, headers={"Retry-After": "0"}), "unknown"),
    "503 with Retry-After": (reply(503, headers={"Retry-After": "0"}), "refused"),
    "429": (reply(429), "refused"),
    "429 with Retry-After": (reply(429, headers={"Retry-After": "0"}), "refused"),
    "400": (reply(400), "definite"),
    "400 with Retry-After": (reply(400, headers={"Retry-After": "0"}), "definite"),
    "401": (reply(401), "definite"),
    "403": (reply(403), "definite"),
    "404": (reply(404), "definite"),
    "409": (reply(409), "definite"),
    "302": (reply(302), "definite"),
}


@pytest.mark.parametrize("kind", KINDS)
@each_row("step, sort", FAILURES)
async def test_a_call_is_repeated_as_its_kind_and_the_failure_allow(kind: str, step: Step, sort: str) -> None:
    async with served(step, reply(200, DEVICE)) as (server, client):
        result: Any = (await asyncio.gather(KINDS[kind](client), return_exceptions=True))[0]
    if sort == "refused" or (sort == "unknown" and kind != "ONCE"):
        assert not isinstance(result, BaseException)
    elif sort == "unknown":
        assert type(result) is OutcomeUnknownError
    else:
        assert isinstance(result, StatusError)
    assert len(server.requests) == (1 if isinstance(result, BaseException) else 2)


@pytest.mark.parametrize("call", [READ, REPLAYABLE])
async def test_a_connection_that_is_closed_before_the_request_is_read_costs_an_attempt(call: Call) -> None:
    async with served(unread(), reply(200, DEVICE)) as (server, client):
        await call(client)
    assert (server.connections, len(server.requests)) == (2, 1)


@pytest.mark.parametrize("call", [READ, REPLAYABLE])
async def test_a_request_without_an_answer_in_time_is_sent_again(call: Call) -> None:
    def handler(request: Request) -> Step:
        return silent() if request.connection == 1 else reply(200, DEVICE)

    async with served(handler=handler, timeout=SOON) as (server, client):
        await call(client)
    assert len(server.requests) > 1


async def test_a_request_that_must_not_be_repeated_is_not_when_there_is_no_answer_in_time() -> None:
    async with served(silent(), reply(200, DEVICE), timeout=SOON) as (server, client):
        assert type(await failure(create(client))) is OutcomeUnknownError
    assert len(server.requests) == 1


@pytest.mark.parametrize("call", KINDS.values(), ids=KINDS)
async def test_a_refused_connection_is_tried_again_for_every_kind(call: Call) -> None:
    attempts: list[Attempt] = []
    async with RawServer() as server:
        url = server.url
    async with client_of(url, observer=attempts.append) as client:
        error = await failure(call(client))
    assert type(error) is ConnectionFailedError
    assert (error.attempts, error.sent, error.outcome_unknown, error.status) == (4, False, False, None)
    assert len(attempts) == 4


class NoNames(AbstractResolver):
    """DNS that knows no name."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        raise OSError(None, "Name or service not known")

    async def close(self) -> None:
        pass


async def test_an_unknown_host_is_never_delivered() -> None:
    resolver = NoNames()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        client = client_of("https://cloud.example", session=session)
        error = await failure(create(client, retries=2))
    assert type(error) is ConnectionFailedError
    assert (error.attempts, error.sent, error.outcome_unknown) == (3, False, False)
    assert "cloud.example" in error.message
    assert resolver.asked == ["cloud.example"] * 3


async def test_a_call_gives_up_after_the_attempts_of_its_policy() -> None:
    async with served(*[reply(500)] * 9, retry=RetryPolicy(attempts=6, base=0)) as (server, client):
        error = await failure(get(client))
    assert (error.attempts, len(server.requests)) == (6, 6)


async def test_a_call_gives_up_when_its_budget_is_spent(waits: list[float]) -> None:
    retry = RetryPolicy(attempts=9, elapsed=0.0, base=1.0)
    async with served(*[reply(500)] * 9, retry=retry) as (server, client):
        assert (await failure(get(client))).attempts == len(server.requests) < 9
    assert waits == []


async def test_the_waits_between_attempts_stay_below_their_bounds(waits: list[float]) -> None:
    retry = RetryPolicy(attempts=5, base=2.0, cap=5.0)
    async with served(*[reply(500)] * 5, retry=retry) as (_, client):
        await failure(get(client))
    assert len(waits) == 4
    assert all(wait <= bound for wait, bound in zip(waits, [2.0, 4.0, 5.0, 5.0], strict=True))


async def test_the_last_error_is_the_one_that_is_raised() -> None:
    async with served(reply(500), drop(), reply(429, "slow down")) as (_, client):
        error = await failure(get(client, retries=2))
    assert (type(error), error.message, error.attempts) == (RateLimitedError, "slow down", 3)


async def test_an_in_band_error_is_not_repeated() -> None:
    async with served(reply(200, {"error": "No such automation"})) as (server, client):
        error = await failure(client.action.invoke("x"))
    assert (type(error), error.message, error.status) == (InBandError, "No such automation", 200)
    assert len(server.requests) == 1


async def test_a_blocked_device_says_for_how_long() -> None:
    async with served(reply(200, {"error": "Blocked", "delay": 30})) as (_, client):
        error = await failure(client.device.provision("D1"))
    assert isinstance(error, DeviceBlockedError)
    assert (error.delay, error.operation, error.attempts) == (30, "device/provision", 1)


async def test_a_retry_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async with served(reply(500, "on fire"), reply(200, DEVICE)) as (_, client):
        with caplog.at_level(logging.INFO, "ioto_async"):
            await get(client)
    (record,) = [record for record in caplog.records if record.name == "ioto_async"]
    assert "device/get" in record.getMessage()
    assert "on fire" in record.getMessage()


# The reply that says a wait ---------------------------------------------------------------------------------------


async def test_retry_after_in_seconds_is_waited_for_as_it_is(waits: list[float]) -> None:
    retry = RetryPolicy(cap=1.0)
    async with served(reply(429, headers={"Retry-After": "17"}), reply(200, DEVICE), retry=retry) as (_, client):
        await create(client)
    assert waits == [17.0]


async def test_retry_after_as_a_date_is_waited_for(waits: list[float]) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    async with served(reply(503, headers={"Retry-After": date}), reply(200, DEVICE)) as (_, client):
        await create(client)
    assert len(waits) == 1
    assert 30 < waits[0] <= 50


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("call", KINDS.values(), ids=KINDS)
async def test_retry_after_beyond_the_budget_raises_with_it(status: int, call: Call, waits: list[float]) -> None:
    answer = reply(status, headers={"Retry-After": "61"})
    async with served(answer, reply(200, DEVICE), retry=RetryPolicy(elapsed=60)) as (server, client):
        error = await failure(call(client))
    assert isinstance(error, (RateLimitedError, ServiceError))
    assert (error.retry_after, error.attempts, error.outcome_unknown) == (61.0, 1, False)
    assert (waits, len(server.requests)) == ([], 1)


async def test_a_senseless_retry_after_is_as_none() -> None:
    async with served(reply(429, headers={"Retry-After": "a while"}), reply(200, DEVICE)) as (server, client):
        await get(client)
    assert len(server.requests) == 2


async def test_a_retry_after_with_a_date_beyond_all_bounds_is_as_none() -> None:
    date = "1 Jan 99999999999999999999 00:00:00 GMT"
    async with served(reply(429, headers={"Retry-After": date}), reply(200, DEVICE)) as (server, client):
        await get(client)
    assert len(server.requests) == 2


async def test_an_outcome_unknown_keeps_the_wait_that_the_service_asked_for() -> None:
    async with served(reply(500, headers={"Retry-After": "9"})) as (_, client):
        error = await failure(create(client))
    assert (type(error), error.retry_after) == (OutcomeUnknownError, 9.0)


# What the errors know ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "cause", "status"),
    [
        (reply(500, "boom"), ServiceError, 500),
        (reply(504), ServiceError, 504),
        (drop(), ConnectionLostError, None),
        (reset(), ConnectionLostError, None),
    ],
)
async def test_an_outcome_unknown_names_its_cause(step: Step, cause: type[CallError], status: int | None) -> None:
    async with served(step) as (_, client):
        error = await failure(create(client))
    assert type(error) is OutcomeUnknownError
    assert type(error.__cause__) is cause
    assert (error.status, error.sent, error.outcome_unknown, error.attempts) == (status, True, True, 1)
    assert error.operation == "generic/create"


async def test_the_outcome_of_a_request_without_an_answer_in_time_is_unknown() -> None:
    async with served(silent()) as (_, client):
        error = await failure(create(client, timeout=SOON))
    assert type(error) is OutcomeUnknownError
    assert isinstance(error.__cause__, CallTimeoutError)
    assert (error.sent, error.outcome_unknown) == (True, True)


async def test_an_outcome_unknown_counts_the_attempts_before_it() -> None:
    async with served(reply(429), reply(429), reply(502)) as (_, client):
        error = await failure(create(client))
    assert (type(error), error.attempts) == (OutcomeUnknownError, 3)


async def test_a_read_never_leaves_an_outcome_unknown() -> None:
    async with served(drop(), reply(500)) as (_, client):
        assert (await failure(get(client, retries=1))).outcome_unknown is False


async def test_a_replayable_request_that_failed_for_good_may_have_been_done() -> None:
    async with served(reply(500), reply(500)) as (_, client):
        error = await failure(claim(client, retries=1))
    assert (type(error), error.outcome_unknown) == (ServiceError, True)


@pytest.mark.parametrize("last", [reply(400, "Already claimed"), reply(403), reply(429)])
async def test_what_an_earlier_attempt_may_have_done_is_not_forgotten(last: Step) -> None:
    async with served(drop(), last) as (_, client):
        error = await failure(claim(client, retries=1))
    assert (error.attempts, error.outcome_unknown) == (2, True)


async def test_what_an_earlier_attempt_may_have_done_is_not_forgotten_by_an_in_band_error() -> None:
    async with served(drop(), reply(200, {"error": "Cannot issue a second certificate"})) as (_, client):
        error = await failure(client.device.provision("D1"))
    assert (type(error), error.attempts, error.outcome_unknown) == (InBandError, 2, True)


async def test_what_an_earlier_attempt_may_have_done_is_not_forgotten_when_the_service_goes_away() -> None:
    server = RawServer.of(drop())
    async with server, client_of(server) as client:
        observed: list[Attempt] = []

        def stop_listening(attempt: Attempt) -> None:
            observed.append(attempt)
            assert server._server is not None
            server._server.close()

        error = await failure(claim(client.with_options(observer=stop_listening), retries=1))
    assert (type(error), error.sent, error.outcome_unknown) == (ConnectionFailedError, False, True)


@pytest.mark.parametrize("status", [400, 403, 409])
async def test_a_definite_failure_leaves_nothing_unknown(status: int) -> None:
    async with served(reply(status)) as (_, client):
        error = await failure(create(client))
    assert (error.outcome_unknown, error.sent, error.attempts, error.retry_after) == (False, True, 1, None)


@pytest.mark.parametrize(("status", "cls"), [(400, BadRequestError), (409, UnexpectedStatusError)])
async def test_a_definite_status_stays_definite_when_its_text_is_cut(status: int, cls: type[StatusError]) -> None:
    async with served(reply(status, "No", length=99, close=True)) as (_, client):
        error = await failure(create(client))
    assert (type(error), error.status) == (cls, status)


async def test_a_refusal_without_work_stays_one_when_its_text_is_cut() -> None:
    async with served(reply(429, "No", length=99, close=True), reply(200, {"_type": "Note"})) as (server, client):
        await create(client)
    assert len(server.requests) == 2


async def test_a_broken_connection_is_named_with_its_cause() -> None:
    async with served(drop()) as (_, client):
        error = await failure(get(client, retries=0))
    assert type(error) is ConnectionLostError
    assert isinstance(error.__cause__, aiohttp.ClientError)


# Options of a call ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 1, 5])
async def test_retries_of_a_call_go_before_those_of_the_client(retries: int) -> None:
    async with served(*[reply(500)] * 9) as (server, client):
        error = await failure(get(client, retries=retries))
    assert (error.attempts, len(server.requests)) == (retries + 1, retries + 1)


async def test_the_timeout_of_a_call_goes_before_that_of_the_client() -> None:
    async with served(silent(), timeout=None) as (_, client):
        assert type(await failure(get(client, timeout=SOON, retries=0))) is CallTimeoutError


async def test_no_timeout_waits_as_long_as_it_takes() -> None:
    hold = asyncio.Event()

    def handler(request: Request) -> Step:
        return reply(200, DEVICE, hold=hold) if request.json["id"] == "patient" else silent()

    async with served(handler=handler, timeout=SOON) as (_, client):
        patient = asyncio.create_task(client.device.get("patient", timeout=None))
        await failure(get(client, retries=0))  # meanwhile another call runs into its deadline
        assert not patient.done()
        hold.set()
        assert (await patient).id == "D1"


async def test_each_attempt_has_the_whole_timeout() -> None:
    async with served(silent(), silent(), silent(), timeout=SOON) as (server, client):
        error = await failure(get(client, retries=2))
    assert (type(error), error.attempts, len(server.requests)) == (CallTimeoutError, 3, 3)


async def test_a_reply_that_stops_half_way_runs_into_the_deadline() -> None:
    half = Step(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id"')

    def handler(request: Request) -> Step:
        return half if request.connection == 1 else reply(200, DEVICE)

    async with served(handler=handler, timeout=SOON) as (server, client):
        assert (await get(client)).id == "D1"
        assert [request.connection for request in server.requests][:2] == [1, 2]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", True])
async def test_a_senseless_timeout_is_refused_before_anything_is_sent(timeout: object) -> None:
    async with served() as (server, client):
        with pytest.raises(InvalidArgumentError, match="timeout"):
            await client.device.get("D1", timeout=timeout)  # type: ignore[arg-type]  # that is the point
    assert server.connections == 0


async def test_an_unknown_option_is_refused_by_name() -> None:
    async with served() as (server, client):
        with pytest.raises(InvalidArgumentError, match="timeuot"):
            await client.device.get("D1", timeuot=5)  # type: ignore[call-arg]  # that is the point
    assert server.connections == 0


async def test_headers_of_client_and_call_are_both_sent() -> None:
    async with served(reply(200, DEVICE), headers={"X-Client": "1", "X-Both": "client"}) as (server, client):
        await get(client, headers={"X-Call": "2", "X-Both": "call"})
    (request,) = server.requests
    assert [request.header(name) for name in ("X-Client", "X-Call", "X-Both")] == ["1", "2", "call"]


async def test_a_header_of_a_call_does_not_stay() -> None:
    async with served(reply(200, DEVICE), reply(200, DEVICE)) as (server, client):
        await get(client, headers={"X-Call": "2"})
        await get(client)
    assert server.requests[1].header("X-Call") is None


@pytest.mark.parametrize("name", ["User-Agent", "user-agent", "ACCEPT"])
async def test_a_default_header_is_replaced_whatever_its_case(name: str) -> None:
    async with served(reply(200, DEVICE)) as (server, client):
        await get(client, headers={name: "mine"})
    assert server.requests[0].all(name) == ["mine"]


@each_row(
    "name", ["Authorization", "authorization", "Content-Length", "Content-Type", "Host", "ORIGIN", "Transfer-Encoding"]
)
async def test_a_header_that_the_client_sets_itself_is_refused(name: str) -> None:
    async with served() as (server, client):
        with pytest.raises(InvalidArgumentError, match=name):
            await get(client, headers={name: "secret-value"})
    assert server.connections == 0


UNFIT_HEADERS: list[Any] = [
    {"": "x"},
    {"X Y": "x"},
    {"X:Y": "x"},
    {"X\r\n": "x"},
    {"X-Y": "a\r\nEvil: yes"},
    {"X-Y": "a\x00"},
    {"X-Y": 5},
    {"X-Y": None},
    {"X-Y": b"bytes"},
    {5: "x"},
    {"X-\u00e9": "x"},
    {"X-Y": "\ud800"},
    # no mapping
    None,
    "X-Y: 1",
    ["X-Y"],
    5,
]


@each_row("headers", UNFIT_HEADERS)
async def test_headers_that_cannot_be_sent_are_refused(headers: Any) -> None:
    async with served() as (server, client):
        with pytest.raises(InvalidArgumentError, match="headers"):
            await get(client, headers=headers)
    assert server.requests == []


# The pool ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500])
async def test_the_connection_of_a_failed_reply_is_used_again(status: int, chunked: bool) -> None:
    text = "x" * 40_000
    async with served(reply(status, text, chunked=chunked), reply(200, DEVICE), limit=1) as (server, client):
        await failure(get(client, retries=0))
        await get(client)
    assert server.connections == 1


async def test_retries_use_one_connection() -> None:
    async with served(*[reply(500, "x" * 20_000)] * 3, reply(200, DEVICE), limit=1) as (server, client):
        await get(client)
    assert (server.connections, len(server.requests)) == (1, 4)


async def test_the_limit_bounds_the_connections() -> None:
    async with served(*[reply(200, DEVICE)] * 20, limit=3) as (server, client):
        await asyncio.gather(*[get(client) for _ in range(20)])
    assert server.connections == 3


@pytest.mark.parametrize("call", [READ, ONCE])
async def test_a_wait_for_a_free_connection_costs_nothing_of_the_time_out(call: Call) -> None:
    hold = asyncio.Event()
    observed: list[Attempt] = []
    async with served(reply(200, DEVICE, hold=hold), reply(200, DEVICE), limit=1) as (server, client):
        running = asyncio.create_task(get(client))
        await server.received(1)
        waiting = asyncio.ensure_future(call(client.with_options(timeout=SOON, retries=0, observer=observed.append)))
        await asyncio.sleep(2 * SOON)
        assert not waiting.done()
        hold.set()
        await asyncio.gather(running, waiting)
    assert [attempt.number for attempt in observed] == [1]


@pytest.mark.parametrize("call", [READ, ONCE])
async def test_a_call_without_a_turn_in_time_has_an_error_of_its_own(call: Call) -> None:
    hold = asyncio.Event()
    async with served(reply(200, DEVICE, hold=hold), limit=1) as (server, client):
        running = asyncio.create_task(get(client))
        await server.received(1)
        error = await failure(call(client.with_options(pool_timeout=SOON)))
        hold.set()
        await running
        assert client._pool.limiter.in_flight == 0
    assert type(error) is PoolTimeoutError
    assert isinstance(error, TimeoutError)
    assert (error.sent, error.outcome_unknown, error.status, error.attempts) == (False, False, None, 1)
    assert f"no turn within {SOON:g} s: " in str(error)
    assert len(server.requests) == 1


async def test_many_more_calls_than_connections_are_served_in_their_order() -> None:
    hold = asyncio.Event()
    count = 50

    def handler(request: Request) -> Step:
        return reply(200, {**DEVICE, "id": request.json["id"]}, hold=hold)

    async with served(handler=handler, limit=1, timeout=GUARD) as (server, client):
        calls = [asyncio.create_task(client.device.get(f"D{number}")) for number in range(count)]
        await server.received(1)
        hold.set()
        assert [device.id for device in await asyncio.gather(*calls)] == [f"D{number}" for number in range(count)]
    assert [request.json["id"] for request in server.requests] == [f"D{number}" for number in range(count)]


async def test_a_middleware_may_call_through_the_client_whose_only_connection_waits_for_it() -> None:
    clients: list[IotoClient] = []

    async def ask_first(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if request.url.path.endswith("device/get"):
            await clients[0].test.ping()
        return await handler(request)

    def handler(request: Request) -> Step:
        return reply(200, b"pong" if request.path.endswith("ping") else DEVICE)

    async with served(handler=handler, limit=1, limits=Limits(in_flight=1), middlewares=[ask_first]) as (_, client):
        clients.append(client)
        async with asyncio.timeout(GUARD):
            await asyncio.gather(*[get(client) for _ in range(3)])
        assert client._pool.limiter.in_flight == 0
        assert client._pool.limiter.connections.free == 1


async def test_a_server_that_works_beyond_the_deadline_is_a_timeout_after_sending() -> None:
    async with served(silent()) as (server, client):
        error = await failure(get(client, timeout=SOON, retries=0))
    assert (type(error), error.sent) == (CallTimeoutError, True)
    assert len(server.requests) == 1


@pytest.mark.parametrize("call", [READ, REPLAYABLE])
async def test_an_idle_connection_that_the_server_closed_costs_no_call(call: Call) -> None:
    async with served(reply(200, DEVICE), reply(200, DEVICE), limit=1) as (server, client):
        await get(client)
        await server.close_connections()
        await call(client)
    assert server.connections == 2


async def test_a_kept_connection_that_is_closed_under_a_request_leaves_a_once_unknown() -> None:
    async with served(reply(200, DEVICE), drop(), reply(200, DEVICE)) as (server, client):
        await get(client)
        error = await failure(create(client))
    assert type(error) is OutcomeUnknownError
    assert [request.connection for request in server.requests] == [1, 1]


@pytest.mark.parametrize("call", [READ, ONCE])
async def test_a_refusal_whose_text_does_not_come_in_time_is_a_refusal(call: Call) -> None:
    async with served(reply(400, "No", length=99), reply(200, DEVICE), limit=1) as (server, client):
        error = await failure(call(client.with_options(timeout=SOON)))
        assert (await get(client)).id == "D1"
    assert (type(error), error.status, error.attempts, error.outcome_unknown) == (BadRequestError, 400, 1, False)
    assert len(server.requests) == 2


async def test_a_call_that_is_cancelled_while_a_refusal_is_read_is_cancelled() -> None:
    async with served(reply(400, "No", length=99)) as (server, client):
        task = asyncio.ensure_future(get(client))
        await server.received(1)
        await leftover_tasks()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_the_pool_is_usable_after_a_deadline() -> None:
    async with served(silent(), reply(200, DEVICE), limit=1) as (_, client):
        await failure(get(client, timeout=SOON, retries=0))
        assert (await get(client)).id == "D1"


CUT = [
    pytest.param(reply(500, "No", length=99, close=True), id="cut failure"),
    pytest.param(reply(400, "No", length=99, close=True), id="cut refusal"),
    pytest.param(reply(200, "No", length=99, close=True), id="cut success"),
    pytest.param(Step(CHUNK_AND_A_HALF, close=True), id="cut chunk"),
    pytest.param(reply(200, b"no gzip", headers={"Content-Encoding": "gzip"}), id="broken compression"),
]

UNFINISHED = [
    pytest.param(reply(500, "No", length=99), id="unfinished failure"),
    pytest.param(reply(200, "No", length=99), id="unfinished success"),
    pytest.param(Step(CHUNK_AND_A_HALF), id="unfinished chunk"),
]


@pytest.mark.parametrize("broken", CUT)
async def test_a_broken_reply_gives_its_place_in_the_pool_back(broken: Step) -> None:
    async with served(broken, reply(200, DEVICE), limit=1) as (_, client):
        error = await failure(get(client, retries=0))
        assert (await get(client, timeout=LATER, retries=0)).id == "D1"
    assert error.sent  # kept until here, as by a program that collects its failures


@pytest.mark.parametrize("unfinished", UNFINISHED)
async def test_a_deadline_within_a_reply_gives_its_place_in_the_pool_back(unfinished: Step) -> None:
    async with served(unfinished, reply(200, DEVICE), limit=1) as (_, client):
        error = await failure(get(client, timeout=SOON, retries=0))
        assert (await get(client, timeout=LATER, retries=0)).id == "D1"
    assert error.sent


@pytest.mark.parametrize("unfinished", UNFINISHED)
async def test_a_cancellation_within_a_reply_gives_its_place_in_the_pool_back(unfinished: Step) -> None:
    async with served(unfinished, reply(200, DEVICE), limit=1) as (server, client):
        task = asyncio.create_task(get(client))
        await server.received(1)
        await leftover_tasks()  # the client reads what there is
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            kept = error
        assert (await get(client, timeout=LATER, retries=0)).id == "D1"
    assert kept.__traceback__ is not None


async def test_many_deadlines_at_once_each_end_their_own_call() -> None:
    def handler(request: Request) -> Step:
        return silent() if request.json["id"] == "slow" else reply(200, DEVICE)

    async with served(handler=handler) as (_, client):
        calls = [client.device.get("slow", timeout=LATER, retries=0) for _ in range(20)]
        calls += [client.device.get("fast", timeout=GUARD) for _ in range(20)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(result, CallTimeoutError) for result in results] == [True] * 20 + [False] * 20


async def test_a_shorter_deadline_that_begins_later_is_kept() -> None:
    async with served(silent(), silent()) as (server, client):
        long = asyncio.create_task(get(client, timeout=3600, retries=0))
        await server.received(1)
        assert type(await failure(get(client, timeout=SOON, retries=0))) is CallTimeoutError
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long


async def test_two_calls_in_a_row_have_deadlines_of_their_own() -> None:
    async with served(reply(200, DEVICE), silent(), silent()) as (_, client):
        await get(client, timeout=LATER)
        assert type(await failure(get(client, timeout=SOON, retries=0))) is CallTimeoutError
        assert type(await failure(get(client, timeout=SOON, retries=0))) is CallTimeoutError


# TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "scripted")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
async def secure(certificate: Path) -> AsyncIterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with RawServer(tls=context) as server:
        yield server


async def test_a_certificate_that_is_not_trusted_is_not_tried_again(secure: RawServer) -> None:
    attempts: list[Attempt] = []
    async with client_of(secure, observer=attempts.append) as client:
        error = await failure(get(client))
    assert type(error) is ConnectionFailedError
    assert (error.attempts, error.sent, error.outcome_unknown) == (1, False, False)
    assert len(attempts) == 1
    assert secure.requests == []


async def test_a_certificate_for_another_host_is_not_tried_again(secure: RawServer, certificate: Path) -> None:
    context = ssl.create_default_context(cafile=certificate)
    async with client_of(f"https://localhost:{secure.port}", ssl=context) as client:
        error = await failure(get(client))
    assert (type(error), error.attempts, error.sent) == (ConnectionFailedError, 1, False)


async def test_a_trust_store_of_one_s_own_is_used(secure: RawServer, certificate: Path) -> None:
    secure.steps.append(reply(200, DEVICE))
    async with client_of(secure, ssl=ssl.create_default_context(cafile=certificate)) as client:
        assert (await get(client)).id == "D1"


async def test_a_server_that_does_not_speak_tls_is_never_delivered() -> None:
    async with RawServer.of() as server, client_of(f"https://127.0.0.1:{server.port}") as client:
        async with asyncio.timeout(GUARD):
            error = await failure(create(client, retries=1, timeout=SOON))
    assert (error.sent, error.outcome_unknown) == (False, False)


@each_row("highest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
async def test_a_server_of_an_older_tls_is_told_as_such(certificate: Path, highest: ssl.TLSVersion) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(certificate)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is deprecated indeed
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, highest
    new = ssl.create_default_context(cafile=certificate)
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    async with RawServer(tls=old) as server, client_of(server, ssl=new) as client:
        error = await failure(get(client, retries=0))
    assert type(error) is ConnectionFailedError
    host, _, reason = error.message.partition(": ")
    assert host == f"cannot connect to 127.0.0.1:{server.port}"
    assert "handshake" in reason.lower() or "version" in reason.lower() or "protocol" in reason.lower()


@each_row(
    "cause, text",
    [
        (ConnectionResetError(), "closed during the TLS handshake"),
        (ConnectionResetError(104, "reset"), "reset"),
        (OSError(), "OSError"),
        (TimeoutError(), "TimeoutError"),
        (OSError("words"), "words"),
        (ssl.SSLError(1, "[SSL] bad"), "[SSL] bad"),
    ],
)
def test_a_failure_to_connect_always_says_something(cause: OSError, text: str) -> None:
    assert reason_of(cause).startswith(text)
    key: Any = SimpleNamespace(host="host", port=443, ssl=True)
    assert text_of(aiohttp.ClientConnectorError(key, cause)).startswith(f"cannot connect to host:443: {text}")
    assert text_of(cause)
    assert text_of(aiohttp.ClientError()) == "ClientError"


# The observer -----------------------------------------------------------------------------------------------------


async def test_the_observer_sees_every_attempt() -> None:
    seen: list[Attempt] = []
    async with served(reply(500, "boom"), drop(), reply(200, DEVICE), observer=seen.append) as (_, client):
        await get(client)
    assert [(attempt.operation, attempt.number, attempt.status) for attempt in seen] == [
        ("device/get", 1, 500),
        ("device/get", 2, None),
        ("device/get", 3, 200),
    ]
    assert seen[0].failure == "boom"
    assert seen[1].failure
    assert seen[2].failure is None
    assert all(attempt.elapsed >= 0 for attempt in seen)


async def test_the_observer_sees_a_missed_deadline() -> None:
    seen: list[Attempt] = []
    async with served(silent(), observer=seen.append) as (_, client):
        await failure(get(client, timeout=SOON, retries=0))
    assert [(attempt.number, attempt.status) for attempt in seen] == [(1, None)]
    assert seen[0].failure
    assert "timed out" in seen[0].failure


async def test_the_observer_sees_a_cancelled_attempt() -> None:
    seen: list[Attempt] = []
    async with served(silent(), observer=seen.append) as (server, client):
        task = asyncio.create_task(get(client))
        await server.received(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [(attempt.number, attempt.status, attempt.failure) for attempt in seen] == [(1, None, "cancelled")]


async def test_the_observer_is_told_no_status_of_a_reply_that_is_not_complete() -> None:
    seen: list[Attempt] = []
    async with served(reply(200, b'{"id"', length=99, close=True), observer=seen.append) as (_, client):
        await failure(get(client, retries=0))
    assert [attempt.status for attempt in seen] == [None]
    assert seen[0].failure


async def test_the_observer_sees_that_a_reply_was_too_large() -> None:
    seen: list[Attempt] = []
    async with served(reply(200, b"x" * 99), observer=seen.append, max_reply=50) as (_, client):
        await failure(get(client))
    assert [attempt.failure is None for attempt in seen] == [False]


async def test_an_observer_that_raises_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(attempt: Attempt) -> None:
        raise ValueError("the observer's own trouble")

    async with served(reply(500), reply(200, DEVICE), observer=broken) as (_, client):
        assert (await get(client)).id == "D1"
    assert any("observer" in record.getMessage() for record in caplog.records)


async def test_an_observer_that_raises_does_not_hide_the_failure() -> None:
    def broken(attempt: Attempt) -> None:
        raise ValueError("the observer's own trouble")

    async with served(reply(400, "No"), observer=broken) as (_, client):
        assert type(await failure(get(client))) is BadRequestError


# Cancellation -----------------------------------------------------------------------------------------------------


async def test_the_cancellation_of_a_caller_gets_through() -> None:
    async with served(silent()) as (server, client):
        task = asyncio.create_task(get(client))
        await server.received(1)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()


async def test_the_pool_is_usable_after_a_cancellation() -> None:
    async with served(silent(), reply(200, DEVICE), limit=1) as (server, client):
        task = asyncio.create_task(get(client))
        await server.received(1)
        task.cancel()
        await asyncio.wait([task])
        assert (await get(client)).id == "D1"


async def test_a_cancellation_while_waiting_for_a_connection_leaves_the_pool_usable() -> None:
    hold = asyncio.Event()
    async with served(reply(200, DEVICE, hold=hold), reply(200, DEVICE), limit=1) as (server, client):
        running = asyncio.create_task(get(client))
        await server.received(1)
        queued = asyncio.create_task(get(client))
        await leftover_tasks()
        queued.cancel()
        await asyncio.wait([queued])
        assert queued.cancelled()
        hold.set()
        await running
        assert (await get(client)).id == "D1"
    assert len(server.requests) == 2


async def test_a_cancellation_between_attempts_gets_through() -> None:
    observed = asyncio.Event()

    def seen(attempt: Attempt) -> None:
        observed.set()

    retry = RetryPolicy(base=3600, cap=3600, elapsed=float("inf"))
    pause = reply(429, headers={"Retry-After": "3600"})
    async with served(pause, retry=retry, observer=seen, max_retry_after=3600) as (_, client):
        task = asyncio.create_task(get(client))
        await observed.wait()
        await leftover_tasks()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_cancelled_call_leaves_no_task_behind() -> None:
    async with RawServer.of(silent()) as server:
        async with client_of(server) as client:
            task = asyncio.create_task(get(client))
            await server.received(1)
            task.cancel()
            await asyncio.wait([task])
        await server.until(lambda: server.open == 0)
        assert await leftover_tasks() == set()


async def test_a_missed_deadline_leaves_no_task_behind() -> None:
    async with RawServer.of(silent()) as server:
        async with client_of(server) as client:
            await failure(get(client, timeout=SOON, retries=0))
        await server.until(lambda: server.open == 0)
        assert await leftover_tasks() == set()


async def test_a_missed_deadline_does_not_leave_its_task_half_cancelled() -> None:
    async with served(silent()) as (_, client):
        await failure(get(client, timeout=SOON, retries=0))
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


@pytest.mark.parametrize("first", ["cancellation", "deadline"])
async def test_a_cancellation_at_the_moment_of_the_deadline_gets_through(first: str) -> None:
    loop = asyncio.get_running_loop()
    reached = asyncio.Event()

    async def both_at_once(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # The deadline is over by the time the loop looks at its timers, which is in its next turn.
        reached.set()
        caller = asyncio.current_task()
        assert caller is not None
        if first == "cancellation":
            loop.call_soon(caller.cancel)
        else:
            loop.call_soon(lambda: loop.call_soon(caller.cancel))
        await asyncio.Event().wait()
        return await handler(request)

    async with served(middlewares=[both_at_once]) as (server, client):
        task = asyncio.create_task(get(client, timeout=1e-9, retries=5))
        await asyncio.wait([task], timeout=GUARD)
        assert reached.is_set()
        assert task.cancelled()
    assert server.connections == 0


async def test_a_timeout_around_a_call_ends_it_as_a_timeout() -> None:
    async with served(silent()) as (_, client):
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(SOON):
                await get(client)
    assert not isinstance(caught.value, IotoError)


async def test_a_deadline_of_a_call_inside_a_timeout_stays_the_call_s_own() -> None:
    async with served(silent()) as (_, client), asyncio.timeout(GUARD) as outer:
        assert type(await failure(get(client, timeout=SOON, retries=0))) is CallTimeoutError
        assert not outer.expired()


# Closing under way ------------------------------------------------------------------------------------------------


async def test_a_call_under_way_when_the_client_is_closed_ends_with_an_error_of_ours() -> None:
    async with RawServer.of(silent()) as server:
        client = client_of(server)
        task = asyncio.create_task(get(client))
        await server.received(1)
        await client.aclose()
        async with asyncio.timeout(GUARD):
            await asyncio.wait([task])
    assert isinstance(task.exception(), IotoError)


async def test_a_call_that_waits_for_a_connection_when_the_client_is_closed_is_not_taken_for_cancelled() -> None:
    async with RawServer.of(silent()) as server:
        client = client_of(server, limit=1)
        running = asyncio.create_task(get(client))
        await server.received(1)
        queued = asyncio.create_task(get(client))
        await leftover_tasks()
        await client.aclose()
        async with asyncio.timeout(GUARD):
            await asyncio.wait([running, queued])
    assert not queued.cancelled()
    assert isinstance(queued.exception(), IotoError)


async def test_a_call_between_attempts_when_the_client_is_closed_says_so() -> None:
    observed = asyncio.Event()

    def seen(attempt: Attempt) -> None:
        observed.set()

    async with RawServer.of(reply(429, headers={"Retry-After": "0.05"})) as server:
        client = client_of(server, observer=seen)
        task = asyncio.create_task(get(client))
        await observed.wait()
        await client.aclose()
        with pytest.raises(ClientStateError, match="closed"):
            await task


@pytest.mark.parametrize(("first", "unknown"), [(drop(), True), (reply(429, headers={"Retry-After": "0.05"}), False)])
async def test_what_an_earlier_attempt_may_have_done_is_told_when_the_client_is_closed(
    first: Step, unknown: bool
) -> None:
    observed = asyncio.Event()

    def seen(attempt: Attempt) -> None:
        observed.set()

    async with RawServer.of(first) as server:
        client = client_of(server, observer=seen, retry=RetryPolicy(base=0.05))
        task = asyncio.create_task(client.store.set("D", "key", 1))
        await observed.wait()
        await client.aclose()
        with pytest.raises(ClientStateError, match="closed") as caught:
            await task
    assert caught.value.outcome_unknown is unknown


@pytest.mark.parametrize("borrowed", [False, True])
@pytest.mark.parametrize("timeout", [None, GUARD])
@pytest.mark.parametrize("answer", [silent(), reply(200, b"{", length=99)], ids=["no reply", "half a reply"])
async def test_closing_the_client_ends_its_calls(answer: Step, timeout: float | None, borrowed: bool) -> None:
    async with RawServer.of(answer) as server, aiohttp.ClientSession() as session:
        client = client_of(server, **({"session": session} if borrowed else {}))
        task = asyncio.create_task(get(client, timeout=timeout))
        await server.received(1)
        await leftover_tasks()
        await client.aclose()
        async with asyncio.timeout(GUARD):
            await asyncio.wait([task])
        assert not session.closed
    error = task.exception()
    assert isinstance(error, ClientStateError)
    assert "closed meanwhile" in str(error)
    assert task.cancelling() == 0


async def test_a_call_that_somebody_cancels_when_the_client_is_closed_is_cancelled() -> None:
    async with RawServer.of(silent()) as server:
        client = client_of(server)
        task = asyncio.create_task(get(client))
        await server.received(1)
        task.cancel()
        await client.aclose()
        await asyncio.wait([task])
    assert task.cancelled()


async def test_a_middleware_that_closes_the_client_comes_to_its_end() -> None:
    ended = False

    async def closing(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        nonlocal ended
        response = await handler(request)
        await client.aclose()
        ended = True
        return response

    async with RawServer.of(reply(200, DEVICE)) as server:
        client = client_of(server, middlewares=[closing])
        await get(client)
    assert ended


async def test_closing_the_client_leaves_the_calls_of_others_through_a_borrowed_session_alone() -> None:
    hold = asyncio.Event()
    async with RawServer.of(reply(200, DEVICE, hold=hold)) as server, aiohttp.ClientSession() as session:
        one, other = client_of(server, session=session), client_of(server, session=session)
        task = asyncio.create_task(get(one))
        await server.received(1)
        await other.aclose()
        hold.set()
        await task
        await one.aclose()


async def test_an_observer_is_told_that_the_client_was_closed() -> None:
    seen: list[Attempt] = []
    async with RawServer.of(silent()) as server:
        client = client_of(server, observer=seen.append)
        task = asyncio.create_task(get(client))
        await server.received(1)
        await client.aclose()
        await asyncio.wait([task])
    assert isinstance(task.exception(), ClientStateError)
    assert [attempt.failure for attempt in seen] == ["the client was closed meanwhile"]
