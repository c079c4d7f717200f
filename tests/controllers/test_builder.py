"""The Builder's credentials: where the token comes from, and where it goes."""

from collections.abc import Mapping
from typing import Any

import pytest

from ioto_async import AuthenticationError, BuilderClient, InvalidArgumentError, IotoClient
from tests.rawserver import RawServer, Step, reply
from tests.rows import each_row

SECRET = "01BUILDERSECRET"


def client_of(server: RawServer, environ: Mapping[str, str] | None = None, **options: Any) -> IotoClient:
    builder = f"{server.url}/api"
    return IotoClient("https://cloud.example", token="01CLOUD", builder=builder, environ=environ or {}, **options)


async def headers_of(client: IotoClient | BuilderClient, server: RawServer) -> tuple[str, str | None]:
    """Path and credentials of one call to the Builder."""
    builder = client if isinstance(client, BuilderClient) else client.builder
    async with client:
        await builder.device.get("D")
    return server.requests[-1].path, server.requests[-1].header("Authorization")


@pytest.fixture
def found() -> Step:
    return reply(200, {"id": "D"})


async def test_a_builder_token_is_sent_raw_behind_the_prefix(found: Step) -> None:
    async with RawServer.of(found) as server:
        sent = await headers_of(client_of(server, builder_token=SECRET), server)
    assert sent == ("/api/tok/device/get", SECRET)


async def test_the_environment_gives_the_builder_token(found: Step) -> None:
    async with RawServer.of(found) as server:
        sent = await headers_of(client_of(server, {"BUILDER_TOKEN": SECRET}), server)
    assert sent == ("/api/tok/device/get", SECRET)


async def test_a_builder_token_that_is_given_goes_before_the_environment_s(found: Step) -> None:
    async with RawServer.of(found) as server:
        sent = await headers_of(client_of(server, {"BUILDER_TOKEN": "01OTHER"}, builder_token=SECRET), server)
    assert sent[1] == SECRET


async def test_without_a_builder_token_nothing_authenticates(found: Step) -> None:
    async with RawServer.of(found) as server:
        sent = await headers_of(client_of(server, {"BUILDER_TOKEN": ""}), server)
    assert sent == ("/api/device/get", None)


async def test_a_clone_has_a_builder_token_of_its_own(found: Step) -> None:
    async with RawServer.of(found, found) as server, client_of(server, builder_token="01OTHER") as client:
        await client.with_options(builder_token=SECRET).builder.device.get("D")
        await client.builder.device.get("D")
        tokens = [request.header("Authorization") for request in server.requests]
    assert tokens == [SECRET, "01OTHER"]


async def test_a_clone_keeps_the_builder_token(found: Step) -> None:
    async with RawServer.of(found) as server, client_of(server, builder_token=SECRET) as client:
        await client.with_options(token="01THIRD", account_id="A").builder.device.get("D")
        assert server.requests[-1].header("Authorization") == SECRET


async def test_a_registration_goes_with_the_product_token_all_the_same() -> None:
    async with RawServer.of(reply(200, {"registered": True})) as server:
        async with client_of(server, builder_token=SECRET) as client:
            await client.builder.device.register("D", "01PRODUCT")
        (request,) = server.requests
    assert (request.path, request.header("Authorization")) == ("/api/device/register", "bearer 01PRODUCT")


async def test_a_builder_token_does_not_go_to_the_device_cloud(found: Step) -> None:
    async with (
        RawServer.of(found) as server,
        IotoClient(server.url, token="01CLOUD", builder_token=SECRET, environ={}) as client,
    ):
        await client.device.get("D")
        assert server.requests[-1].header("Authorization") == "01CLOUD"


@each_row("environ", [{"BUILDER_TOKEN": SECRET}, {}])
async def test_a_builder_of_its_own_takes_the_token_from_the_environment(found: Step, environ: dict[str, str]) -> None:
    async with RawServer.of(found) as server:
        client = BuilderClient(environ={"IOTO_BUILDER": f"{server.url}/api", **environ})
        path, token = await headers_of(client, server)
    assert (path, token) == (("/api/tok/device/get", SECRET) if environ else ("/api/device/get", None))


async def test_a_builder_token_is_never_shown() -> None:
    async with RawServer.of(reply(403, f"the token {SECRET} is not allowed")) as server:
        client = client_of(server, builder_token=SECRET)
        async with client:
            with pytest.raises(AuthenticationError) as refused:
                await client.builder.device.get("D")
    assert SECRET not in f"{client!r} {client.builder!r} {client.builder.device!r} {refused.value} {refused.value!r}"


@each_row("token", ["", f"{SECRET} x", f"{SECRET}\n", 5])
async def test_a_builder_token_that_cannot_be_sent_is_refused_by_name(token: Any) -> None:
    for make in (
        lambda: IotoClient("https://cloud.example", token="T", builder_token=token, environ={}),
        lambda: IotoClient("https://cloud.example", token="T", environ={}).with_options(builder_token=token),
        lambda: BuilderClient("https://builder.example/api", token=token, environ={}),
    ):
        with pytest.raises(InvalidArgumentError, match="token: ") as refused:
            make()
        assert SECRET not in str(refused.value)
