"""For every current operation, how the client's method is called with all that the documents name.

A scenario gets a prepared world and returns what its calls returned or raised; between them they send every documented
member and see every documented member of the replies. The methods that are made of several have a scenario, too.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from ioto_async import CognitoLogin, DatabaseQuery, InBandError, IotoClient, IotoError, MetricQuery
from ioto_async.emulator import Emulator
from ioto_async.models import Range, Widget, WidgetAction
from tests.documented import example, snake
from tests.recorder import Recorder

__all__ = ["LOOK", "SCENARIOS", "World", "world"]

DEVICE = "DEV0000001"
"""Claimed by the emulator's account."""
FREE = "DEV0000002"
"""Registered, not claimed."""
SECOND = "DEV0000003"
"""Claimed as well."""
EMAIL = "ada@ioto.test"
PASSWORD = "Correct-Horse-7"


def _made(cls: type[Any], **members: Any) -> Any:
    """A record with all members that the documents name, *members* among them."""
    documented: dict[str, Any] = example(cls.__name__)
    return cls(**{snake(name): value for name, value in documented.items()} | members)


RANGE: Range = _made(Range, anchor="absolute", start=datetime(2024, 1, 23, 2, 3, 57, 62000, UTC), timezone="utc")
WIDGET: Widget = _made(Widget, range=RANGE, actions=[_made(WidgetAction, conditions=["x > 1"])])
LOOK: dict[str, Any] = {
    "css": ["body {}"],
    "emulate": "phone",
    "fixed": True,
    "framed": False,
    "layout": "grid",
    "live": False,
    "range": RANGE,
    "refresh": 30,
    "toolbar": True,
    "type": "page",
    "widgets": [WIDGET],
    "widget_css": [".x {}"],
}
"""All optional members of a dashboard, with all of the records inside it."""
ACTION = {
    "name": "Everything",
    "type": "http",
    "args": {"a": 1},
    "buffer": {"count": 2},
    "context": {"x": 1},
    "description": "All members of an Action",
    "destination": "https://example.test/hook",
    "due": 1_800_000_000,
    "enable": True,
    "error": "The last run failed",
    "expression": "x > 1",
    "format": "json",
    "message": "It is ${x}",
    "poll": 60,
    "rearm": 300,
    "severity": "warning",
    "trigger": "database",
}
ALARM = {"name": "Hot", "type": "alert", "message": "It is ${value} degrees", "severity": "critical"}
SAMPLE = {"deviceId": DEVICE, "metric": "temp", "value": 21.5}


@attrs.define
class World:
    """An emulator with something of everything, and its callers."""

    emulator: Emulator
    cloud: Recorder
    builder: Recorder
    client: IotoClient
    """With the CloudAPI token and the BuilderAPI token."""
    device: IotoClient
    """With the token of `DEVICE`."""
    login: IotoClient
    """With a login token of the owner of the cloud's own account."""


Scenario = Callable[[World], Awaitable[list[Any]]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(key: str) -> Callable[[Scenario], Scenario]:
    def keep(function: Scenario) -> Scenario:
        SCENARIOS[key] = function
        return function

    return keep


async def raised(call: Awaitable[Any]) -> IotoError:
    """Return the failure that a 200 carries."""
    try:
        await call
    except InBandError as error:
        return error
    raise AssertionError("nothing was raised")


async def pages(find: Callable[..., Any], **query: Any) -> list[Any]:
    """Ask for a page, the one behind it and the one before that, and return the records of all."""
    first = await find(index="primary", limit=1, **query)
    second = await find(index="primary", limit=1, next=first.next, **query)
    back = await find(index="primary", limit=1, prev=second.prev, **query)
    return [*first.items, *second.items, *back.items]


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Start an emulator and its clients, with recorders between them."""
    async with (
        Emulator(clouds=2, mqtt=False) as emulator,
        Recorder(emulator.api) as cloud,
        Recorder(emulator.builder) as builder,
    ):
        shared: dict[str, Any] = {"environ": {}, "builder": builder.url}
        for claim_id in (DEVICE, FREE, SECOND):
            emulator.cloud.register_device(claim_id, version="1.0.0", test=True, model="Demo-01")
        for claim_id in (DEVICE, SECOND):
            emulator.cloud.claim_device(claim_id)
        async with (
            IotoClient(
                cloud.url,
                token=emulator.token,
                account_id=emulator.account_id,
                builder_token=emulator.cloud.builder.create_token(role="owner"),
                **shared,
            ) as client,
            IotoClient(cloud.url, token=emulator.cloud.create_token("device", device_id=DEVICE), **shared) as device,
            IotoClient(cloud.url, login=emulator.login_token, origin=emulator.origin, **shared) as login,
        ):
            yield World(emulator, cloud, builder, client, device, login)


# Account ----------------------------------------------------------------------------------------------------------


@scenario("account/close")
async def _(w: World) -> list[Any]:
    account = w.emulator.cloud.add_account("Other", "other@ioto.test")
    await w.client.account.close(id=account)
    return []


@scenario("account/get")
async def _(w: World) -> list[Any]:
    await w.login.user.login()
    account = await w.client.account.get(id=w.emulator.account_id, email=None, index="primary")
    by_email = await w.client.account.get(email=account.email, index="gs1")
    return [account, by_email]


@scenario("account/find")
async def _(w: World) -> list[Any]:
    await w.login.user.login()
    other = w.emulator.cloud.add_account("Other", "other@ioto.test")
    both = await w.client.account.find(id=other, email="other@ioto.test")
    return [*both.items, *await pages(w.client.account.find)]


@scenario("account/updateIdentity")
async def _(w: World) -> list[Any]:
    await w.login.user.login()
    return [
        await w.client.account.update_identity(id=w.emulator.account_id, email="new@ioto.test", name="New name"),
    ]


# Action -----------------------------------------------------------------------------------------------------------


def add_action(w: World, record: dict[str, Any]) -> str:
    with w.emulator.cloud.lock:
        return str(w.emulator.cloud.actions.add(record)["id"])


@scenario("action/find")
async def _(w: World) -> list[Any]:
    add_action(w, ACTION)
    add_action(w, ACTION | {"name": "More"})
    cloud = w.emulator.cloud_id
    typed = await w.client.action.find(cloud, type="http")

    async def find(**query: Any) -> Any:
        return await w.client.action.find(cloud, **query)

    return [*typed.items, *await pages(find)]


@scenario("action/get")
async def _(w: World) -> list[Any]:
    id = add_action(w, ACTION)
    return [await w.client.action.get(w.emulator.cloud_id, "http", id=id)]


@scenario("action/invoke")
async def _(w: World) -> list[Any]:
    id = add_action(w, ACTION)
    done = await w.client.action.invoke("Everything", id=id, context={"x": 2})
    failed = await raised(w.client.action.invoke("MetricSample", context=SAMPLE | {"value": "warm"}))
    return [done, failed]


# Alert ------------------------------------------------------------------------------------------------------------


async def raise_alerts(w: World) -> str:
    """Raise two alerts, and return the key of the newest."""
    add_action(w, ALARM)
    add_action(w, ALARM | {"name": "Cold", "message": "Only ${value} degrees"})
    await w.client.action.invoke("Hot", context=SAMPLE)
    await w.client.action.invoke("Cold", context=SAMPLE)
    page = await w.client.alert.find()
    w.cloud.exchanges.clear()
    w.emulator.requests.clear()
    return str(page.items[-1].id)


@scenario("alert/find")
async def _(w: World) -> list[Any]:
    await raise_alerts(w)
    return await pages(w.client.alert.find)


@scenario("alert/get")
async def _(w: World) -> list[Any]:
    return [await w.client.alert.get(id=await raise_alerts(w))]


@scenario("alert/update")
async def _(w: World) -> list[Any]:
    return [await w.client.alert.update(id=await raise_alerts(w), resolved=True)]


@scenario("alert/remove")
async def _(w: World) -> list[Any]:
    await w.client.alert.remove(id=await raise_alerts(w))
    return []


# Dashboard --------------------------------------------------------------------------------------------------------

PASTED = {"index": "primary", "limit": 1, "next": "x", "prev": "x"}
"""The paging options that the documents list for dashboard/create and /update by mistake."""


@scenario("dashboard/create")
async def _(w: World) -> list[Any]:
    made = await w.client.dashboard.create("Board", **LOOK)
    await w.client.call("dashboard/create", {"name": "Other", "accountId": w.emulator.account_id}, query=PASTED)
    return [made]


async def add_dashboard(w: World, name: str = "Board") -> str:
    made = await w.client.dashboard.create(name, **LOOK)
    return str(made.id)


@scenario("dashboard/find")
async def _(w: World) -> list[Any]:
    await add_dashboard(w)
    return list((await w.client.dashboard.find()).items)


@scenario("dashboard/get")
async def _(w: World) -> list[Any]:
    id = await add_dashboard(w)
    return [await w.client.dashboard.get(id=id, name="Board"), await w.client.dashboard.get(name="Board")]


@scenario("dashboard/update")
async def _(w: World) -> list[Any]:
    id = await add_dashboard(w)
    changed = await w.client.dashboard.update(id, name="New name", **LOOK)
    await w.client.call("dashboard/update", {"id": id, "accountId": w.emulator.account_id}, query=PASTED)
    return [changed]


@scenario("dashboard/remove")
async def _(w: World) -> list[Any]:
    await w.client.dashboard.remove(id=await add_dashboard(w))
    return []


# Device -----------------------------------------------------------------------------------------------------------


async def check_version(w: World, id: str = DEVICE) -> None:
    """Let the device look for an update, which notes the version that it runs."""
    await w.client.provision.update(id, w.emulator.product_token, "1.0.0")


@scenario("device/claim")
async def _(w: World) -> list[Any]:
    w.emulator.cloud.claim_device(FREE)
    await check_version(w, FREE)
    w.emulator.cloud.release_device(FREE)
    return [await w.client.device.claim(FREE)]


@scenario("device/find")
async def _(w: World) -> list[Any]:
    await check_version(w)
    one = await w.client.device.find(id=DEVICE, product_id=w.emulator.product_token)
    return [*one.items, *await pages(w.client.device.find)]


@scenario("device/get")
async def _(w: World) -> list[Any]:
    await check_version(w)
    return [await w.client.device.get(DEVICE)]


@scenario("device/getCreds")
async def _(w: World) -> list[Any]:
    return [await w.device.device.get_creds()]


@scenario("device/getSignedUrl")
async def _(w: World) -> list[Any]:
    return [
        await w.device.device.get_signed_url(
            id=DEVICE, command="put", filename="log.txt", mime_type="text/plain", size=3
        )
    ]


@scenario("device/provision")
async def _(w: World) -> list[Any]:
    certificates = await w.device.device.provision(DEVICE)
    w.emulator.cloud.block_device(DEVICE, 60)
    return [certificates, await raised(w.device.device.provision(DEVICE))]


@scenario("device/release")
async def _(w: World) -> list[Any]:
    await check_version(w)
    return [await w.client.device.release(DEVICE)]


# File -------------------------------------------------------------------------------------------------------------


async def put_file(w: World) -> None:
    await w.client.file.put(filename="notes/a.txt", mime_type="text/plain", data=b"content")


@scenario("file/get")
async def _(w: World) -> list[Any]:
    await put_file(w)
    return [await w.client.file.get("notes/a.txt", account_id=w.emulator.account_id)]


@scenario("file/getSignedUrl")
async def _(w: World) -> list[Any]:
    return [
        await w.client.file.get_signed_url(
            account_id=w.emulator.account_id,
            command="put",
            filename="notes/b.txt",
            mime_type="text/plain",
            size=3,
            id=DEVICE,
        )
    ]


@scenario("file/list")
async def _(w: World) -> list[Any]:
    await put_file(w)
    return list((await w.client.file.list({"filename": "notes/a.txt"})).items)


@scenario("file/put")
async def _(w: World) -> list[Any]:
    return [await w.client.file.put(filename="notes/a.txt", mime_type="text/plain", data=b"content")]


@scenario("file/remove")
async def _(w: World) -> list[Any]:
    await put_file(w)
    await w.client.file.remove("notes/a.txt")
    return []


# Generic ----------------------------------------------------------------------------------------------------------


async def add_item(w: World, key: str = "colour") -> None:
    await w.client.generic.create("Store", {"key": key, "value": "red", "type": "string"}, device_id=DEVICE)


@scenario("generic/create")
async def _(w: World) -> list[Any]:
    item = {"key": "colour", "value": "red", "type": "string"}
    return [await w.client.generic.create("Store", item, device_id=DEVICE, exists=False)]


@scenario("generic/find")
async def _(w: World) -> list[Any]:
    await add_item(w)
    await add_item(w, "shape")

    async def find(**query: Any) -> Any:
        return await w.client.generic.find("Store", {"value": "red"}, device_id=DEVICE, **query)

    return await pages(find)


@scenario("generic/get")
async def _(w: World) -> list[Any]:
    await add_item(w)
    return [await w.client.generic.get("Store", {"key": "colour"}, device_id=DEVICE)]


@scenario("generic/remove")
async def _(w: World) -> list[Any]:
    await add_item(w)
    await w.client.generic.remove("Store", {"key": "colour"}, device_id=DEVICE)
    return []


@scenario("generic/update")
async def _(w: World) -> list[Any]:
    item = {"key": "colour", "value": "blue", "type": "string"}
    return [await w.client.generic.update("Store", item, device_id=DEVICE, exists="any")]


# Manager ----------------------------------------------------------------------------------------------------------


async def manager_id(w: World) -> str:
    return str((await w.client.manager.get()).id)


def changes(w: World) -> dict[str, Any]:
    """All members of a manager but the two keys."""
    return {
        "custom": True,
        "domain": "things.example.test",
        "name": "Things",
        "owner": w.emulator.cloud.username,
        "prior_domain": "app.example.test",
        "region": "us-east-1",
        "title": "My things",
        "users": [EMAIL],
        "version": "1.2.3",
        "version_current": "1.2.2",
    }


@scenario("manager/get")
async def _(w: World) -> list[Any]:
    id = await manager_id(w)
    await w.client.manager.update(id=id, **changes(w))
    await w.client.manager.provision(id)
    return [await w.client.manager.get(id=id)]


@scenario("manager/getSignedUrl")
async def _(w: World) -> list[Any]:
    return [
        await w.client.manager.get_signed_url(
            id=await manager_id(w),
            clean=True,
            command="put",
            filename="index.html",
            mime_type="text/html",
            size=3,
        )
    ]


@scenario("manager/provision")
async def _(w: World) -> list[Any]:
    id = await manager_id(w)
    await w.client.manager.update(id=id, **changes(w))
    return [await w.client.manager.provision(id)]


@scenario("manager/update")
async def _(w: World) -> list[Any]:
    id = await manager_id(w)
    await w.client.manager.provision(id)
    return [await w.client.manager.update(id=id, cloud_id=w.emulator.cloud_id, **changes(w))]


@scenario("manager/updateDisplay")
async def _(w: World) -> list[Any]:
    id = await manager_id(w)
    await w.client.manager.update(id=id, **changes(w))
    await w.client.manager.provision(id)
    return [await w.client.manager.update_display(cloud_id=w.emulator.cloud_id, display="{}", id=id)]


# Metric -----------------------------------------------------------------------------------------------------------


async def emit(w: World) -> None:
    await w.client.action.invoke("MetricSample", context=SAMPLE)


def metric_items(w: World, metric: str = "temp", namespace: str = "Embedthis/Device") -> list[Any]:
    """One item of each sort, the first of a metric that has a value, the second of a model that is not there."""
    cloud, start = w.emulator.cloud_id, datetime.now(UTC) - timedelta(hours=1)
    options: dict[str, Any] = {"period": 3600, "accumulate": True, "start": start, "limit": 5, "namespace": namespace}
    return [
        MetricQuery(metric, {"Device": DEVICE}, "sum", cloud_id=cloud, id="1", **options),
        DatabaseQuery("Nothing", "value", cloud_id=cloud, limit=1, id="2"),
    ]


@scenario("metric/fetch")
async def _(w: World) -> list[Any]:
    await emit(w)
    await add_item(w, "temperature")
    return list(await w.client.metric.fetch(DEVICE, metric_items(w)))


@scenario("metric/getDeviceSchema")
async def _(w: World) -> list[Any]:
    return [await w.client.metric.get_device_schema(cloud_id=w.emulator.cloud_id)]


@scenario("metric/getMetricList")
async def _(w: World) -> list[Any]:
    await emit(w)
    cloud = w.emulator.cloud_id
    return [
        await w.client.metric.get_metric_list(
            cloud, namespace="Embedthis/Device", metric="temp", model="Store", index="primary", limit=1
        ),
        await w.client.metric.get_metric_list(cloud, next="x", prev="x"),
    ]


@scenario("metric.series")
async def _(w: World) -> list[Any]:
    await emit(w)
    w.cloud.exchanges.clear()
    return [await w.client.metric.series(DEVICE, "temp", cloud_id=w.emulator.cloud_id)]


@scenario("metric.value")
async def _(w: World) -> list[Any]:
    await emit(w)
    w.cloud.exchanges.clear()
    return [await w.client.metric.value(DEVICE, "temp")]


@scenario("metric.fetch_many")
async def _(w: World) -> list[Any]:
    await emit(w)
    w.cloud.exchanges.clear()
    query = MetricQuery("temp", {"Device": "${deviceId}"})
    return [outcome async for outcome in w.client.metric.fetch_many([DEVICE, "NOSUCHDEV1"], [query])]


@scenario("metric.walk")
async def _(w: World) -> list[Any]:
    await emit(w)
    w.cloud.exchanges.clear()
    return [key async for key in w.client.metric.walk(w.emulator.cloud_id)]


@scenario("metric.writer")
async def _(w: World) -> list[Any]:
    told: list[Any] = []
    sinks: list[dict[str, Any]] = [{"via": "automation", "name": "MetricSample"}, {"via": "model", "model": "Service"}]
    for sink in sinks:
        async with w.client.metric.writer(**sink, on_outcome=told.append) as writer:
            await writer.write("value", 21.5, dimensions={"Device": DEVICE})
    return told


# Provision --------------------------------------------------------------------------------------------------------


@scenario("provision/getCerts")
async def _(w: World) -> list[Any]:
    return [await w.device.provision.get_certs(DEVICE)]


@scenario("provision/update")
async def _(w: World) -> list[Any]:
    product = w.emulator.product_token
    nothing = await w.device.provision.update(DEVICE, product, "1.0.0", test=True, properties={"pro": "true"})
    w.emulator.cloud.add_update("2.0.0", b"firmware")
    return [nothing, await w.device.provision.update(DEVICE, product, "1.0.0")]


@scenario("provision/updateReport")
async def _(w: World) -> list[Any]:
    update = w.emulator.cloud.add_update("2.0.0", b"firmware")
    await w.device.provision.update(DEVICE, w.emulator.product_token, "1.0.0")
    await w.device.provision.update_report(DEVICE, update, success=True)
    return []


# Test -------------------------------------------------------------------------------------------------------------


@scenario("test/ping")
async def _(w: World) -> list[Any]:
    return [await w.client.test.ping()]


# User -------------------------------------------------------------------------------------------------------------


def add_user(w: World, email: str = "eve@ioto.test") -> str:
    return w.emulator.cloud.add_user(email, password=PASSWORD, role="user", first="Eve", last="Adams")


@scenario("user/create")
async def _(w: World) -> list[Any]:
    return [await w.client.user.create("eve@ioto.test", "admin", send_invite=True)]


@scenario("user/find")
async def _(w: World) -> list[Any]:
    await name_user(w)
    id = add_user(w)
    page = await w.client.user.find(email="eve@ioto.test", id=id)
    return [*page.items, *(await w.client.user.find()).items]


async def name_user(w: World) -> None:
    """Give the owner a name and a time of last use."""
    await w.login.user.login()
    await w.login.user.update(first="Ada", last="Lovelace")


@scenario("user/get")
async def _(w: World) -> list[Any]:
    await name_user(w)
    own = await w.login.user.get()
    return [own, await w.client.user.get(email=own.email, id=own.id)]


@scenario("user/getRoles")
async def _(w: World) -> list[Any]:
    return [await w.client.user.get_roles()]


@scenario("user/login")
async def _(w: World) -> list[Any]:
    cloud = w.emulator.cloud
    await name_user(w)
    # The app is the owner's, and to others it does not show everything.
    owner = await w.login.user.login()
    await w.client.user.create(EMAIL, "admin", send_invite=True)
    cloud.sign_up(EMAIL, PASSWORD)
    provider = CognitoLogin(w.emulator.cognito, cloud.client_id, EMAIL, PASSWORD)
    async with IotoClient(w.cloud.url, login=provider, origin=cloud.origin, environ={}) as invited:
        return [owner, await invited.user.login(invite=cloud.invitations()[EMAIL], register=True, social=False)]


@scenario("user/remove")
async def _(w: World) -> list[Any]:
    await w.client.user.remove(email="eve@ioto.test", id=add_user(w))
    return []


@scenario("user/update")
async def _(w: World) -> list[Any]:
    await w.login.user.login()
    own = await w.login.user.get()
    return [
        await w.client.user.update(
            id=own.id, email="new@ioto.test", first="Ada", last="Lovelace", preferences={"theme": "dark"}
        )
    ]


@scenario("user/updateRole")
async def _(w: World) -> list[Any]:
    await name_user(w)
    id = add_user(w)
    return [await w.client.user.update_role(id=id, role="admin", send_invite=True)]


# Builder ----------------------------------------------------------------------------------------------------------


@scenario("builder:device/register")
async def _(w: World) -> list[Any]:
    account, cloud = w.emulator.account_id, w.emulator.cloud_id
    product = w.emulator.product_token
    waiting = await w.client.builder.device.register(FREE, product)
    claimed = await w.client.builder.device.register(
        FREE, product, account=account, cloud=cloud, test=True, properties={"model": "Demo-01"}
    )
    return [waiting, claimed]


@scenario("builder:device/get")
async def _(w: World) -> list[Any]:
    return [await w.client.builder.device.get(DEVICE)]


@scenario("builder:device/find")
async def _(w: World) -> list[Any]:
    product, cloud = w.emulator.product_token, w.emulator.cloud_id
    one = await w.client.builder.device.find(id=DEVICE, cloud_id=cloud, product_id=product)
    first = await w.client.builder.device.find(limit=1)
    second = await w.client.builder.device.find(limit=1, next=first.next)
    back = await w.client.builder.device.find(limit=1, prev=second.prev)
    return [*one.items, *first.items, *second.items, *back.items]


@scenario("builder:device/lookup")
async def _(w: World) -> list[Any]:
    return [await w.client.builder.device.lookup(w.emulator.product_token)]


@scenario("builder:device/release")
async def _(w: World) -> list[Any]:
    await w.client.builder.device.release(DEVICE)
    return []


@scenario("builder:device/remove")
async def _(w: World) -> list[Any]:
    await w.client.builder.device.remove(FREE)
    return []


@scenario("builder:device/removeAll")
async def _(w: World) -> list[Any]:
    for claim_id in (DEVICE, SECOND):
        w.emulator.cloud.release_device(claim_id)
    return [await w.client.builder.device.remove_all(w.emulator.product_token)]


@scenario("builder:metric/fetch")
async def _(w: World) -> list[Any]:
    w.emulator.cloud.builder.add_sample("requests", 1, [{"Device": DEVICE}])
    return list(await w.client.builder.metric.fetch(metric_items(w, "requests", "Embedthis/Cloud")))


@scenario("builder:test/echo")
async def _(w: World) -> list[Any]:
    return [await w.client.builder.test.echo({"a": 1})]


@scenario("builder:test/empty")
async def _(w: World) -> list[Any]:
    await w.client.builder.test.empty({"a": 1})
    return []


@scenario("builder:test/success")
async def _(w: World) -> list[Any]:
    await w.client.builder.test.success()
    return []


@scenario("builder:test/exception")
async def _(w: World) -> list[Any]:
    try:
        await w.client.builder.test.exception(retries=0)
    except IotoError as error:
        return [error]
    raise AssertionError("nothing was raised")


# Methods that are made of several ---------------------------------------------------------------------------------


async def uploaded(w: World, upload: Callable[..., Any], **named: Any) -> list[Any]:
    w.cloud.exchanges.clear()
    return [await upload("log.txt", b"content", **named)]


async def downloaded(w: World, methods: Any, **named: Any) -> list[Any]:
    """Write a file, fetch it, and return what came back."""
    await methods.upload("log.txt", b"content", **named)
    w.cloud.exchanges.clear()
    with TemporaryDirectory() as directory:
        path = Path(directory) / "copy"
        await methods.download("log.txt", path, **named)
        return [path.read_bytes()]


@scenario("file.upload")
async def _(w: World) -> list[Any]:
    return await uploaded(w, w.client.file.upload)


@scenario("file.download")
async def _(w: World) -> list[Any]:
    return await downloaded(w, w.client.file)


@scenario("device.upload")
async def _(w: World) -> list[Any]:
    return await uploaded(w, w.device.device.upload, id=DEVICE)


@scenario("device.download")
async def _(w: World) -> list[Any]:
    return await downloaded(w, w.device.device, id=DEVICE)


@scenario("manager.upload")
async def _(w: World) -> list[Any]:
    return await uploaded(w, w.client.manager.upload, id=await manager_id(w))


@scenario("manager.download")
async def _(w: World) -> list[Any]:
    return await downloaded(w, w.client.manager, id=await manager_id(w))


@scenario("provision.fetch_update")
async def _(w: World) -> list[Any]:
    w.emulator.cloud.add_update("2.0.0", b"firmware")
    with TemporaryDirectory() as directory:
        path = Path(directory) / "image"
        await w.device.provision.fetch_update(DEVICE, w.emulator.product_token, "1.0.0", path)
        return [path.read_bytes()]


async def add_setting(w: World) -> None:
    """Store an item with all members; a role is what the store's own methods do not set."""
    item = {"key": "colour", "value": "red", "type": "string", "role": "user", "expires": 4_000_000_000_000}
    await w.client.generic.update("Store", item, device_id=DEVICE, exists="any")
    w.cloud.exchanges.clear()


@scenario("store.find")
async def _(w: World) -> list[Any]:
    await add_setting(w)
    return list((await w.client.store.find(DEVICE)).items)


@scenario("store.get")
async def _(w: World) -> list[Any]:
    await add_setting(w)
    return [await w.client.store.get(DEVICE, "colour")]


@scenario("store.remove")
async def _(w: World) -> list[Any]:
    await add_setting(w)
    await w.client.store.remove(DEVICE, "colour")
    return []


@scenario("store.set")
async def _(w: World) -> list[Any]:
    await add_setting(w)
    return [await w.client.store.set(DEVICE, "colour", "blue", expires=datetime(2100, 1, 1, tzinfo=UTC))]
