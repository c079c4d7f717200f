"""A client on clouds that do otherwise: it gives the same, as far as that can be."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest

from ioto_async import IotoClient, IotoError, MetricQuery, RetryPolicy
from ioto_async.emulator import Emulator
from ioto_async.emulator.otherwise import OTHERWISE
from tests.conformance.clouds import DEVICE, OTHER, seeded
from tests.rows import each_row

UNLIKE: Final = {
    "A18": {"pages"},  # there is no cursor to go on with
    "A38": {"files"},  # it may not
    "A39": {"roles"},  # a list does not say what a role may do
    "A47": {"provision"},  # the record is as it came; a link makes a host of it
    "A50": {"update"},  # the product is wrong
    "A57": {"store"},  # a key cannot be set that may be new or not
}
"""What is not the same on which cloud, and why it cannot be."""

Call = Callable[[IotoClient], Awaitable[object]]


async def _failure(call: Awaitable[object]) -> str:
    with pytest.raises(IotoError) as caught:
        await call
    return type(caught.value).__name__


async def store(client: IotoClient) -> object:
    await client.store.set(DEVICE, "speed", 3)
    value = (await client.store.get(DEVICE, "speed")).value
    await client.store.remove(DEVICE, "speed")
    return value


async def dashboards(client: IotoClient) -> object:
    made = await client.dashboard.create("Main")
    got, listed = await client.dashboard.get(made.id), await client.dashboard.find()
    await client.dashboard.remove(made.id)
    return got.name, [each.name for each in listed.items]


async def files(client: IotoClient) -> object:
    await client.file.put("a.txt", b"hello")
    got = (await client.file.get("a.txt")).content
    listed = [file.filename async for file in client.file.list()]
    await client.file.remove("a.txt")
    return got, listed


async def metrics(client: IotoClient) -> object:
    dimensions = {"Device": DEVICE}
    series = MetricQuery("temperature", dimensions, period="1d")
    total = MetricQuery("temperature", dimensions, period="1d", accumulate=True)
    found = await client.metric.fetch(DEVICE, [series, total])
    dates = [metric.points[-1].timestamp for metric in found if metric.points]
    now = client.metric.value(DEVICE, "temperature", period="1d")
    return [date and date.year > 2000 for date in dates], await now


CALLS: Final[dict[str, Call]] = {
    "ping": lambda client: client.test.ping(),
    "finds": lambda client: _all(device.id async for device in client.device.find()),
    "pages": lambda client: _all(device.id async for device in client.device.find(limit=1)),
    "device": lambda client: _of(client.device.get(DEVICE), lambda device: (device.id, type(device.created))),
    "no device": lambda client: _failure(client.device.get("NOTTHERE00")),
    "no dashboard": lambda client: _failure(client.dashboard.get("00000000000000000000000000")),
    "bad request": lambda client: _failure(client.file.get("/a")),
    "no token": lambda client: _failure(_first(client.with_options(token="WRONG"))),
    "store": store,
    "dashboards": dashboards,
    "files": files,
    "metrics": metrics,
    "update": lambda client: _of(client.provision.update(DEVICE, "any", "1.0.0"), lambda offer: offer.url),
    "url": lambda client: _of(client.file.get_signed_url(command="get", filename="x"), lambda url: url[:7]),
    "account": lambda client: _of(client.account.get(id=client.account_id), lambda account: account.name),
    "roles": lambda client: _of(client.user.get_roles(), sorted),
    "walk": lambda client: _walk(client),
    "schema": lambda client: _of(client.metric.get_device_schema(), lambda schema: sorted(schema["models"])),
    "provision": lambda client: _of(client.device.provision(DEVICE), lambda certs: (certs.endpoint, certs.port)),
}
"""What users do, and what of it is compared."""


async def _first(client: IotoClient) -> object:
    return await client.device.find()


async def _all(items: AsyncIterator[object]) -> list[object]:
    return [item async for item in items]


async def _of(call: Awaitable[Any], what: Callable[[Any], object]) -> object:
    return what(await call)


async def _walk(client: IotoClient) -> object:
    account = await client.account.get(id=client.account_id)
    return [key.metric async for key in client.metric.walk(str(account.cloud_id))]


async def results(emulator: Emulator) -> dict[str, object]:
    found: dict[str, object] = {}
    async with IotoClient.from_env(emulator.env, retry=RetryPolicy(attempts=1)) as client:
        for name, call in CALLS.items():
            try:
                found[name] = await call(client)
            except IotoError as error:
                found[name] = f"{type(error).__name__}: {error}"
    return found


FORMS: Final = ("A9", "A10", "A17", "A18", "A19", "A20", "A23", "A24", "A27", "A31", "A52", "A54", "A69", "A79", "A86")
"""Clouds whose replies have another form; the others are tried by the slow test."""


@pytest.mark.parametrize("numbers", [FORMS, pytest.param([*OTHERWISE], marks=pytest.mark.slow)], ids=["forms", "all"])
async def test_a_client_gives_the_same_on_clouds_that_do_otherwise(emulator: Emulator, numbers: list[str]) -> None:
    seeded(emulator)
    usual = await results(emulator)
    assert usual["finds"] == [DEVICE, OTHER]
    assert usual["metrics"] == ([True, True], 21.5)
    assert not [text for text in usual.values() if isinstance(text, str) and "Error: " in text]

    @each_row("number", numbers)
    async def same(number: str) -> None:
        seeded(emulator, [number])
        found = await results(emulator)
        different = {name: each for name, each in found.items() if each != usual[name]}
        assert different.keys() == UNLIKE.get(number, set()), different

    await same()
