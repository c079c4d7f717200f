"""What every method sends, and what a controller itself refuses to send."""

import asyncio
import inspect
import math
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest

from ioto_async import OMIT, InvalidArgumentError, IotoClient, MqttOnlyError, Range, operations
from ioto_async.controllers import base
from ioto_async.operations import operation_of
from tests import methods
from tests.documented import ROWS
from tests.methods import (
    BUILDER,
    BUILDER_CALLS,
    CALLS,
    CLOUD_CALLS,
    METHODS,
    WHEN,
    WHEN_ISO,
    MethodCall,
    make_client,
    method_of,
)
from tests.mocked import ACCOUNT, API, TOKEN, Cloud
from tests.rows import each_row

Call = Callable[[IotoClient], Awaitable[object]]
RECORD = b'{"id":"X"}'

# What is legacy warns once in a process, which may be here.
pytestmark = pytest.mark.filterwarnings("ignore:.* is a legacy operation:DeprecationWarning")


# Every method -----------------------------------------------------------------------------------------------------


@each_row("made", CALLS)
async def test_a_method_posts_its_members_to_its_path(cloud: Cloud, client: IotoClient, made: MethodCall) -> None:
    cloud.begin(made.reply)
    await made.call(client.with_options())  # a clone counts its reads of metrics from 0
    base = BUILDER if made in BUILDER_CALLS else API
    prefix = "" if made.key == "builder:device/register" else "tok/"
    assert (cloud.only.method, cloud.only.url) == ("POST", f"{base}/{prefix}{made.target}")
    assert cloud.only.body == made.body


def test_a_method_knows_its_row_of_the_table() -> None:
    client = make_client()
    assert [
        key
        for key in METHODS.keys() & ROWS.keys()
        if operation_of(method_of(key, client))
        is not (operations.BUILDER if key.startswith("builder:") else operations.IOTO)[ROWS[key].name]
    ] == []


@pytest.fixture
async def without_account(cloud: Cloud) -> AsyncIterator[IotoClient]:
    async with make_client(account_id=None) as client:
        yield client


@each_row("made", CLOUD_CALLS)
async def test_a_client_without_an_account_names_none(
    cloud: Cloud, without_account: IotoClient, made: MethodCall
) -> None:
    cloud.begin(made.reply)
    await made.call(without_account.with_options())
    # The calls of Account name it by its key.
    named = {member: value for member, value in made.body.items() if member != "accountId" and value != ACCOUNT}
    assert cloud.only.body == named


async def test_register_goes_to_the_builder_that_is_configured(cloud: Cloud) -> None:
    async with make_client(builder="https://builder.example/base") as client:
        await client.builder.device.register("D", "P")
    assert cloud.only.url == "https://builder.example/base/device/register"


async def test_fetching_no_metrics_sends_nothing(cloud: Cloud, client: IotoClient) -> None:
    assert await client.metric.fetch("D", []) == []
    assert await client.builder.metric.fetch([]) == []
    assert cloud.sent == []


async def test_a_find_that_is_not_awaited_sends_nothing(cloud: Cloud, client: IotoClient) -> None:
    client.device.find()
    assert cloud.sent == []


async def test_the_refresh_of_a_dashboard_and_of_its_range_are_periods(cloud: Cloud, client: IotoClient) -> None:
    await client.dashboard.update("X", refresh="1.5m", range=Range(period="1d", refresh=timedelta(minutes=1)))
    assert cloud.only.body["refresh"] == 90
    assert cloud.only.body["range"] == {"period": 86400, "refresh": 60}


# Accounts ---------------------------------------------------------------------------------------------------------

WITH_ACCOUNT = {key: method for key, method in METHODS.items() if method.body.get("accountId") == ACCOUNT}
"""The methods that name the client's account, and take another."""


def test_a_method_that_names_an_account_takes_another_and_no_other_does() -> None:
    client = make_client()
    takes = {key for key in METHODS if "account_id" in inspect.signature(methods.method_of(key, client)).parameters}
    assert takes - {"builder:device/claim"} == WITH_ACCOUNT.keys()
    assert len(WITH_ACCOUNT) == 37


@each_row("key", sorted(WITH_ACCOUNT))
async def test_an_account_of_the_call_goes_before_the_client_s(cloud: Cloud, client: IotoClient, key: str) -> None:
    method = METHODS[key]
    cloud.begin(method.reply)
    await method.call(client.with_options(), account_id="OTHER")
    assert cloud.only.body == method.body | {"accountId": "OTHER"}


@each_row("key", sorted(WITH_ACCOUNT))
async def test_an_account_of_a_clone_goes_before_the_client_s(cloud: Cloud, client: IotoClient, key: str) -> None:
    method = METHODS[key]
    cloud.begin(method.reply)
    await method.call(client.with_options(account_id="CLONE"))
    assert cloud.only.body["accountId"] == "CLONE"


@each_row("key", sorted(WITH_ACCOUNT))
async def test_an_empty_account_is_not_replaced_by_the_client_s(cloud: Cloud, client: IotoClient, key: str) -> None:
    method = METHODS[key]
    cloud.begin(method.reply)
    with pytest.raises(InvalidArgumentError, match=r"account"):
        await method.call(client, account_id="")
    assert cloud.sent == []


async def test_the_environment_names_the_account(cloud: Cloud) -> None:
    environ = {"IOTO_API": API, "IOTO_TOKEN": TOKEN, "IOTO_ACCOUNT": "FROM-ENV"}
    async with IotoClient.from_env(environ) as client:
        await client.device.get("D")
    assert cloud.only.body["accountId"] == "FROM-ENV"


async def test_an_empty_client_wide_account_is_never_sent(cloud: Cloud) -> None:
    with pytest.raises(InvalidArgumentError, match=r"account"):
        async with make_client(account_id="") as client:
            await client.device.get("D")
    assert cloud.sent == []


# Generic and Store ------------------------------------------------------------------------------------------------


@each_row("method", ["create", "update"])
@each_row("exists, query", [("any", "?exists="), (True, "?exists=true"), (False, "?exists=false"), (None, "")])
async def test_exists_is_spelled_as_documented_and_left_out_by_default(
    cloud: Cloud, client: IotoClient, method: str, exists: object, query: str
) -> None:
    cloud.begin(RECORD)
    options = {} if exists is None else {"exists": exists}
    await getattr(client.generic, method)("Store", **options)
    assert cloud.only.url == f"{API}/tok/generic/{method}{query}"


@each_row(
    "value, type_",
    [
        (True, "boolean"),
        (0, "number"),
        (1.5, "number"),
        ("", "string"),
        ("x", "string"),
        ({}, "object"),
        ([], "object"),
    ],
)
async def test_the_type_of_a_stored_value_is_seen(cloud: Cloud, client: IotoClient, value: object, type_: str) -> None:
    cloud.begin(RECORD)
    await client.store.set("D", "k", value)
    assert (cloud.only.body["value"], cloud.only.body["type"]) == (value, type_)


class Level(IntEnum):
    LOW = 1


class Mode(StrEnum):
    ECO = "eco"


class Odd(Enum):
    TEXT = "eco"
    NUMBER = 3
    DATE = WHEN
    PARTS = ("a", "b")
    NOTHING = None
    NAN = math.nan


@each_row(
    "value, sent, type_",
    [
        (Odd.TEXT, "eco", "string"),
        (Odd.NUMBER, 3, "number"),
        (Odd.DATE, WHEN_ISO, "string"),
        (Odd.PARTS, ["a", "b"], "object"),
        (Level.LOW, 1, "number"),
        (Mode.ECO, "eco", "string"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001", "string"),
        (WHEN, WHEN_ISO, "string"),
        ((1, 2), [1, 2], "object"),
        ({"mode": Odd.TEXT}, {"mode": "eco"}, "object"),
        (Range(period=5), {"period": 5}, "object"),
    ],
)
async def test_the_type_of_a_stored_value_is_that_of_what_is_sent(
    cloud: Cloud, client: IotoClient, value: object, sent: object, type_: str
) -> None:
    cloud.begin(RECORD)
    await client.store.set("D", "k", value)
    assert (cloud.only.body["value"], cloud.only.body["type"]) == (sent, type_)


@each_row(
    "value, text",
    [
        (None, "value is required"),
        (Odd.NOTHING, "value is required"),
        (Odd.NAN, "value: nan is not a finite number"),
        ([Odd.NAN], r"value\[0\]: nan is not a finite number"),
        (math.inf, "value: inf is not a finite number"),
        (Decimal(1), "value: Decimal is not JSON"),
        (b"x", "value: bytes is not JSON"),
        (date(2024, 1, 1), "value: date is not JSON"),
        (datetime(2024, 1, 1), "value: 2024-01-01T00:00:00 has no time zone"),
        (OMIT, "value: Omit is not JSON"),
    ],
)
async def test_a_value_that_cannot_be_stored_is_refused_by_name(client: IotoClient, value: object, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^generic/update: {text}"):
        await client.store.set("D", "k", value)


# What a controller refuses ----------------------------------------------------------------------------------------

Twice = tuple[Callable[[IotoClient, Any], Awaitable[object]], str, str, dict[str, Any]]

TWICE: list[Twice] = [
    (lambda c, v: c.file.list(v, account_id="A"), "file/list", "accountId", {"accountId": "B"}),
    (lambda c, v: c.provision.checkin(id="D", properties=v), "provision/checkin", "id", {"id": "E"}),
    (lambda c, v: c.generic.create("M", v), "generic/create", "_type", {"_type": "N"}),
    (lambda c, v: c.generic.get("M", v, device_id="D"), "generic/get", "deviceId", {"deviceId": "E"}),
    (
        lambda c, v: c.generic.update("M", v, account_id="A"),
        "generic/update",
        "accountId",
        {"accountId": "B"},
    ),
    (
        lambda c, v: c.provision.update("D", "P", "1.0.0", properties=v),
        "provision/update",
        "version",
        {"version": "2.0.0"},
    ),
    (
        lambda c, v: c.builder.device.register("D", "P", properties=v),
        "device/register",
        "product",
        {"product": "Q"},
    ),
]


@each_row("call, operation, member, fields", TWICE)
async def test_a_member_that_is_given_as_an_argument_as_well_is_refused(
    cloud: Cloud, client: IotoClient, call: Any, operation: str, member: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await call(client, fields)
    assert str(refused.value).startswith(f"{operation}: ")
    assert str(refused.value).endswith(f": {member} was given as an argument as well")
    assert cloud.sent == []


@each_row(
    "call, text",
    [
        (lambda c: c.account.update_identity("I"), "account/updateIdentity: email or name is required"),
        (lambda c: c.action.invoke(), "action/invoke: name or id is required"),
        (lambda c: c.dashboard.get(), "dashboard/get: id or name is required"),
        (lambda c: c.user.remove(), "user/remove: id or email is required"),
        (lambda c: c.alert.remove(None), "alert/remove: id is required"),
    ],
)
async def test_a_call_about_nothing_is_refused(cloud: Cloud, client: IotoClient, call: Call, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await call(client)
    assert str(refused.value) == text
    assert cloud.sent == []


@each_row("name", ["colour", "name_", "widgetCss", "limit", "id"])
async def test_a_dashboard_has_no_other_members(cloud: Cloud, client: IotoClient, name: str) -> None:
    members: dict[str, Any] = {name: "x"}
    with pytest.raises(InvalidArgumentError, match=rf"dashboard/create.*'{name}'"):
        await client.dashboard.create("N", **members)
    assert cloud.sent == []


async def test_the_options_of_a_call_go_beside_the_members_of_a_dashboard(cloud: Cloud, client: IotoClient) -> None:
    await client.dashboard.update("I", live=True, headers={"X-Trace": "7"}, timeout=5)
    assert cloud.only.body == {"id": "I", "live": True, "accountId": ACCOUNT}
    assert cloud.only.headers["X-Trace"] == "7"


# Legacy operations ------------------------------------------------------------------------------------------------

LEGACY = {
    "account/create": "account/create is a legacy operation: use user/login, which makes the account",
    "device/remove": "device/remove is a legacy operation: use device/release",
    "provision/checkin": "provision/checkin is a legacy operation: use provision/update",
    "provision/getCreds": "provision/getCreds is a legacy operation: use device/getCreds",
    "builder:device/claim": ("device/claim of the Builder is a legacy operation: use device/claim of the device cloud"),
}


@pytest.fixture
def nothing_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not warned yet."""
    monkeypatch.setattr(base, "_warned", set())


def test_the_legacy_operations_are_the_documented_ones() -> None:
    assert {key for key, row in ROWS.items() if row.legacy} == LEGACY.keys()


@pytest.mark.usefixtures("nothing_warned", "cloud")
@each_row("key, text", LEGACY.items())
async def test_the_first_call_of_a_legacy_operation_warns_whoever_awaits_it(
    client: IotoClient, key: str, text: str
) -> None:
    with pytest.warns(DeprecationWarning, match="legacy") as warned:
        await METHODS[key].call(client)
    (warning,) = warned
    assert str(warning.message) == text
    assert warning.filename == __file__


@pytest.mark.usefixtures("nothing_warned", "cloud")
@each_row("key", sorted(LEGACY))
async def test_later_calls_of_a_legacy_operation_do_not_warn(client: IotoClient, key: str) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        await METHODS[key].call(client)
        await METHODS[key].call(client)
        await METHODS[key].call(client.with_options(account_id="OTHER"))
    assert len(warned) == 1


@pytest.mark.usefixtures("nothing_warned", "cloud")
async def test_every_legacy_operation_warns_for_itself(client: IotoClient) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for key in LEGACY:
            await METHODS[key].call(client)
    assert [str(warning.message) for warning in warned] == list(LEGACY.values())


@pytest.mark.usefixtures("nothing_warned")
def test_a_call_in_a_task_warns_whoever_runs_the_loop() -> None:
    async def main() -> None:
        with Cloud(b'{"id":"D"}'):
            async with make_client() as client:
                await asyncio.gather(client.device.remove("D"), client.device.remove("E"))

    with pytest.warns(DeprecationWarning, match="legacy") as warned:
        asyncio.run(main())
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.usefixtures("nothing_warned", "cloud")
async def test_what_is_not_legacy_does_not_warn(client: IotoClient) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await client.device.claim("D")
        await client.device.release("D")


# MQTT -------------------------------------------------------------------------------------------------------------

OVER_MQTT: list[tuple[Call, str, str]] = [
    (lambda c: c.metric.get("m"), "metric/get", "metric/fetch"),
    (
        lambda c: c.metric.get("m", dimensions={"Device": "D"}, period=300, statistic="avg"),
        "metric/get",
        "metric/fetch",
    ),
    (lambda c: c.metric.set("m", 1), "metric/set", "metric.writer"),
    (lambda c: c.metric.set("m", 1.5, dimensions=[{}], buffer={"elapsed": 0}), "metric/set", "metric.writer"),
    (lambda c: c.call("metric/get"), "metric/get", "metric/fetch"),
    (lambda c: c.call("metric/set", {"metric": "m"}), "metric/set", "metric.writer"),
    (lambda c: c.call("store/get"), "store/get", "generic/get"),
    (lambda c: c.call("store/set"), "store/set", "generic/update"),
]


@each_row("call, operation, instead", OVER_MQTT)
async def test_what_devices_call_over_mqtt_is_refused_with_what_to_call_instead(
    cloud: Cloud, client: IotoClient, call: Call, operation: str, instead: str
) -> None:
    with pytest.raises(MqttOnlyError) as refused:
        await call(client)
    assert str(refused.value).startswith(f"{operation}: ")
    assert "MQTT" in str(refused.value)
    assert instead in str(refused.value)
    assert cloud.sent == []
