"""The URL and the headers of every call, whatever its operation."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import pytest

from ioto_async import InvalidArgumentError, IotoClient
from tests.methods import BUILDER, BUILDER_CALLS, BUILDER_TOKEN, CALLS, CLOUD_CALLS, MethodCall, make_client
from tests.mocked import API, TOKEN, Cloud, Sent
from tests.rows import each_row

# What is legacy warns once in a process, which may be here.
pytestmark = pytest.mark.filterwarnings("ignore:.* is a legacy operation:DeprecationWarning")


# Every call -------------------------------------------------------------------------------------------------------


@cache
def sent() -> dict[str, Sent]:
    """The requests of all calls, made once, by a clone that has a header of its own."""

    async def call_all(cloud: Cloud) -> dict[str, Sent]:
        requests = {}
        async with make_client() as client:
            clone = client.with_options(headers={"X-Trace": "7"})
            for made in CALLS:
                cloud.begin(made.reply)
                await made.call(clone)
                requests[made.name] = cloud.only
        return requests

    with Cloud() as recorded:
        return asyncio.run(call_all(recorded))


every_call = each_row("name", [made.name for made in CALLS])


@every_call
def test_a_body_is_sent_as_compact_json(name: str) -> None:
    request = sent()[name]
    assert request.content_type == "application/json"
    # JSON keeps the order of members; separators have no spaces.
    assert request.data == json.dumps(request.body, separators=(",", ":"), ensure_ascii=False).encode()


@every_call
def test_a_request_asks_for_json_and_names_the_client(name: str) -> None:
    assert sent()[name].headers["Accept"] == "application/json"
    assert sent()[name].headers["User-Agent"].startswith("ioto-async/")


@every_call
def test_a_token_is_no_part_of_url_body_or_plain_headers(name: str) -> None:
    request = sent()[name]
    shown = f"{request.url} {request.data!r} {dict(request.headers)}"
    assert TOKEN not in shown
    assert BUILDER_TOKEN not in shown


@every_call
def test_credentials_come_from_a_middleware(name: str) -> None:
    assert len(sent()[name].options["middlewares"]) == 1


@every_call
def test_redirects_are_not_followed(name: str) -> None:
    assert sent()[name].options["allow_redirects"] is False


@every_call
def test_the_headers_of_a_clone_are_sent(name: str) -> None:
    assert sent()[name].headers["X-Trace"] == "7"


@pytest.fixture
async def signed_in(cloud: Cloud) -> AsyncIterator[IotoClient]:
    async with make_client(token=None, login="ACCESS", origin="app.ioto.me") as client:
        yield client


@each_row("made", CLOUD_CALLS)
async def test_a_login_token_goes_to_the_bare_path(cloud: Cloud, signed_in: IotoClient, made: MethodCall) -> None:
    cloud.begin(made.reply)
    await made.call(signed_in)
    assert cloud.only.url == f"{API}/{made.target}"


@pytest.fixture
async def without_builder_token(cloud: Cloud) -> AsyncIterator[IotoClient]:
    async with make_client(builder_token=None) as client:
        yield client


@each_row("made", BUILDER_CALLS)
async def test_without_a_token_the_builder_is_called_bare(
    cloud: Cloud, without_builder_token: IotoClient, made: MethodCall
) -> None:
    cloud.begin(made.reply)
    await made.call(without_builder_token)
    assert (cloud.only.url, cloud.only.body) == (f"{BUILDER}/{made.target}", made.body)


# One call ---------------------------------------------------------------------------------------------------------


async def test_a_path_in_the_endpoint_stays_in_front(cloud: Cloud) -> None:
    async with IotoClient(f"{API}/stage/", token=TOKEN, environ={}) as client:
        await client.device.get("D")
    assert cloud.only.url == f"{API}/stage/tok/device/get"


async def test_headers_of_one_call_are_sent_with_it_alone(cloud: Cloud, client: IotoClient) -> None:
    await client.device.get("D", headers={"X-Trace": "7"})
    await client.device.get("D")
    assert [sent.headers.get("X-Trace") for sent in cloud.sent] == ["7", None]


async def test_a_query_of_one_call_is_not_sent_with_the_next(cloud: Cloud, client: IotoClient) -> None:
    cloud.begin(b'{"data":[]}')
    await client.device.find(limit=1)
    await client.device.find()
    assert [sent.url for sent in cloud.sent] == [f"{API}/tok/device/find?limit=1", f"{API}/tok/device/find"]


async def test_a_long_body_is_sent_without_a_warning(cloud: Cloud, client: IotoClient) -> None:
    await client.store.set("D", "k", "x" * (2 << 20))
    assert len(cloud.only.data) > 2 << 20


@each_row(
    "option", [{"timeouts": 3}, {"timeout": 0}, {"timeout": math.nan}, {"retries": -1}, {"headers": {"a b": "x"}}]
)
async def test_an_unknown_or_bad_option_is_refused_by_name(
    cloud: Cloud, client: IotoClient, option: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError, match=min(option)):
        await client.device.get("D", **option)
    assert cloud.sent == []
