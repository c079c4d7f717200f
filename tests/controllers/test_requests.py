"""What every method sends: URL, body, headers; and what it refuses to send."""

import asyncio
import json
import math
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioto_async import DatabaseQuery, InvalidArgumentError, IotoClient, MetricQuery, MqttOnlyError
from ioto_async.controllers import base
from ioto_async.models import Device, Item, Range, Widget, WidgetAction
from tests.mocked import ACCOUNT, API, TOKEN, Cloud

Call = Callable[[IotoClient], Awaitable[object]]

BUILDER = "https://api.admin.embedthis.com/api"
RECORD, LIST, URL = b'{"id":"X"}', b'{"data":[]}', b'"https://files.example/x"'
ANY = b'{"id":"X","data":[]}'
"""A record and a list at once."""
WHEN = datetime(2024, 1, 23, 2, 3, 57, 62000, tzinfo=UTC)
WHEN_ISO, WHEN_MS = "2024-01-23T02:03:57.062Z", 1705975437062
LONE_SURROGATE = "\ud800"

# What is legacy warns once in a process, which may be here.
pytestmark = pytest.mark.filterwarnings("ignore:.* is a legacy operation:DeprecationWarning")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(RECORD) as cloud:
        yield cloud


def make_client(**options: Any) -> IotoClient:
    given = {"token": TOKEN, "account_id": ACCOUNT, "builder_token": "01BUILDER", "environ": {}, **options}
    return IotoClient(API, **given)


@pytest.fixture
async def client(cloud: Cloud) -> AsyncIterator[IotoClient]:
    async with make_client() as client:
        yield client


# Every method -----------------------------------------------------------------------------------------------------

A = {"accountId": ACCOUNT}
PAGING: dict[str, Any] = {"index": "gs1", "limit": 5, "next": "N", "prev": "P"}
PAGING_QUERY = "?index=gs1&limit=5&next=N&prev=P"

LOOK: dict[str, Any] = {
    "css": [".a"],
    "emulate": "phone",
    "fixed": False,
    "framed": True,
    "layout": "grid",
    "live": True,
    "range": {"period": 60, "timezone": "utc"},
    "refresh": 30,
    "toolbar": False,
    "type": "page",
    "widgets": [{"id": "w", "defaultValue": "7"}],
    "widget_css": [],
}
"""All members of a dashboard that can be set."""
LOOK_WIRE = {("widgetCss" if name == "widget_css" else name): value for name, value in LOOK.items()}
MANAGER: dict[str, Any] = {
    "cloud_id": "C",
    "custom": True,
    "domain": "d.example",
    "name": "N",
    "owner": "a@b.c",
    "prior_domain": "e.example",
    "region": "us-east-1",
    "title": "T",
    "users": ["a@b.c"],
    "version": "1.0.0",
    "version_current": "1.0.1",
}
MANAGER_WIRE = {
    "cloudId": "C",
    "custom": True,
    "domain": "d.example",
    "name": "N",
    "owner": "a@b.c",
    "priorDomain": "e.example",
    "region": "us-east-1",
    "title": "T",
    "users": ["a@b.c"],
    "version": "1.0.0",
    "versionCurrent": "1.0.1",
}
TRANSFER: dict[str, Any] = {"id": "D", "command": "put", "filename": "a/b", "mime_type": "image/png", "size": 0}
TRANSFER_WIRE = {"id": "D", "command": "put", "filename": "a/b", "mimeType": "image/png", "size": 0}

CALLS: dict[str, tuple[Call, str, dict[str, Any], bytes]] = {
    "account.close": (lambda c: c.account.close(), "account/close", {"id": ACCOUNT}, b""),
    "account.close, another": (lambda c: c.account.close("I"), "account/close", {"id": "I"}, b""),
    "account.create": (
        lambda c: c.account.create("a@b.c", "N"),
        "account/create",
        {"email": "a@b.c", "name": "N"},
        RECORD,
    ),
    "account.find": (lambda c: c.account.find(), "account/find", {}, LIST),
    "account.find, with all": (
        lambda c: c.account.find(id="I", email="a@b.c", **PAGING),
        f"account/find{PAGING_QUERY}",
        {"id": "I", "email": "a@b.c"},
        LIST,
    ),
    "account.get": (lambda c: c.account.get(), "account/get", {"id": ACCOUNT}, RECORD),
    "account.get, by email": (lambda c: c.account.get(email="a@b.c"), "account/get", {"email": "a@b.c"}, RECORD),
    "account.get, with all": (
        lambda c: c.account.get("I", email="a@b.c", index="gs1"),
        "account/get?index=gs1",
        {"id": "I", "email": "a@b.c"},
        RECORD,
    ),
    "account.update_identity": (
        lambda c: c.account.update_identity(name="N"),
        "account/updateIdentity",
        {"id": ACCOUNT, "name": "N"},
        RECORD,
    ),
    "account.update_identity, with all": (
        lambda c: c.account.update_identity("I", email="a@b.c", name="N"),
        "account/updateIdentity",
        {"id": "I", "email": "a@b.c", "name": "N"},
        RECORD,
    ),
    "alert.find": (lambda c: c.alert.find(), "alert/find", A, LIST),
    "alert.find, with all": (lambda c: c.alert.find(**PAGING), f"alert/find{PAGING_QUERY}", A, LIST),
    "alert.get": (lambda c: c.alert.get("I"), "alert/get", {"id": "I"} | A, RECORD),
    "alert.remove": (lambda c: c.alert.remove("I"), "alert/remove", {"id": "I"} | A, b""),
    "alert.update": (
        lambda c: c.alert.update("I", resolved=False),
        "alert/update",
        {"id": "I", "resolved": False} | A,
        RECORD,
    ),
    "dashboard.create": (lambda c: c.dashboard.create("N"), "dashboard/create", {"name": "N"} | A, RECORD),
    "dashboard.create, with all": (
        lambda c: c.dashboard.create("N", **LOOK),
        "dashboard/create",
        {"name": "N", **LOOK_WIRE} | A,
        RECORD,
    ),
    "dashboard.create, of records": (
        lambda c: c.dashboard.create(
            "N",
            range=Range(start=WHEN, override=True, extra={"mine": 1}),
            widgets=(Widget(page_size=5, actions=[WidgetAction(type="url")], range=Range(period=1)), {"z": 1}),
        ),
        "dashboard/create",
        {
            "name": "N",
            "range": {"start": WHEN_ISO, "override": True, "mine": 1},
            "widgets": [{"pageSize": 5, "actions": [{"type": "url"}], "range": {"period": 1}}, {"z": 1}],
        }
        | A,
        RECORD,
    ),
    "dashboard.find": (lambda c: c.dashboard.find(), "dashboard/find", A, LIST),
    "dashboard.get": (lambda c: c.dashboard.get("I"), "dashboard/get", {"id": "I"} | A, RECORD),
    "dashboard.get, by name": (lambda c: c.dashboard.get(name="N"), "dashboard/get", {"name": "N"} | A, RECORD),
    "dashboard.remove": (lambda c: c.dashboard.remove("I"), "dashboard/remove", {"id": "I"} | A, b""),
    "dashboard.update": (lambda c: c.dashboard.update("I"), "dashboard/update", {"id": "I"} | A, RECORD),
    "dashboard.update, with all": (
        lambda c: c.dashboard.update("I", name="N", **LOOK),
        "dashboard/update",
        {"id": "I", "name": "N", **LOOK_WIRE} | A,
        RECORD,
    ),
    "device.remove": (lambda c: c.device.remove("D"), "device/remove", {"id": "D"} | A, RECORD),
    "file.get": (lambda c: c.file.get("a/b"), "file/get", {"filename": "a/b"} | A, RECORD),
    "file.get_signed_url, bare": (lambda c: c.file.get_signed_url(), "file/getSignedUrl", A, URL),
    "file.get_signed_url": (
        lambda c: c.file.get_signed_url(**TRANSFER),
        "file/getSignedUrl",
        TRANSFER_WIRE | A,
        URL,
    ),
    "file.list": (lambda c: c.file.list(), "file/list", A, LIST),
    "file.list, with all": (
        lambda c: c.file.list(filters={"mimeType": "image/png"}),
        "file/list",
        {"mimeType": "image/png"} | A,
        LIST,
    ),
    "file.put": (lambda c: c.file.put("a/b", b"\x00\xff"), "file/put", {"filename": "a/b", "data": "AP8="} | A, b""),
    "file.put, with all": (
        lambda c: c.file.put("a/b", b"", mime_type="text/plain"),
        "file/put",
        {"filename": "a/b", "mimeType": "text/plain", "data": ""} | A,
        b"{}",
    ),
    "file.remove": (lambda c: c.file.remove("a/b"), "file/remove", {"filename": "a/b"} | A, b""),
    "manager.get": (lambda c: c.manager.get(), "manager/get", {}, RECORD),
    "manager.get, another": (lambda c: c.manager.get("I"), "manager/get", {"id": "I"}, RECORD),
    "manager.get_signed_url, bare": (lambda c: c.manager.get_signed_url(), "manager/getSignedUrl", {}, URL),
    "manager.get_signed_url": (
        lambda c: c.manager.get_signed_url(clean=False, **TRANSFER),
        "manager/getSignedUrl",
        {"clean": False, **TRANSFER_WIRE},
        URL,
    ),
    "manager.provision": (lambda c: c.manager.provision("I"), "manager/provision", {"id": "I"}, RECORD),
    "manager.update": (
        lambda c: c.manager.update("I", **MANAGER),
        "manager/update",
        {"id": "I", **MANAGER_WIRE},
        RECORD,
    ),
    "manager.update, bare": (lambda c: c.manager.update("I"), "manager/update", {"id": "I"}, RECORD),
    "manager.update_display": (
        lambda c: c.manager.update_display("I", "{}", cloud_id="C"),
        "manager/updateDisplay",
        {"id": "I", "display": "{}", "cloudId": "C"},
        RECORD,
    ),
    "provision.checkin": (lambda c: c.provision.checkin(), "provision/checkin", {}, RECORD),
    "provision.checkin, with all": (
        lambda c: c.provision.checkin(id="D", product_id="P", test=True, properties={"pro": 1}),
        "provision/checkin",
        {"id": "D", "productId": "P", "test": True, "pro": 1},
        RECORD,
    ),
    "provision.get_creds": (lambda c: c.provision.get_creds(), "provision/getCreds", {}, RECORD),
    "user.create": (
        lambda c: c.user.create("a@b.c", "user"),
        "user/create",
        {"email": "a@b.c", "role": "user"} | A,
        RECORD,
    ),
    "user.create, with all": (
        lambda c: c.user.create("a@b.c", "owner", send_invite=True),
        "user/create",
        {"email": "a@b.c", "role": "owner", "sendInvite": True} | A,
        RECORD,
    ),
    "user.find": (lambda c: c.user.find(), "user/find", A, LIST),
    "user.find, with all": (
        lambda c: c.user.find(id="I", email="a@b.c"),
        "user/find",
        {"id": "I", "email": "a@b.c"} | A,
        LIST,
    ),
    "user.get": (lambda c: c.user.get(), "user/get", A, RECORD),
    "user.get, with all": (
        lambda c: c.user.get("I", email="a@b.c"),
        "user/get",
        {"id": "I", "email": "a@b.c"} | A,
        RECORD,
    ),
    "user.get_roles": (lambda c: c.user.get_roles(), "user/getRoles", {}, RECORD),
    "user.login": (lambda c: c.user.login(), "user/login", {}, b"{}"),
    "user.login, with all": (
        lambda c: c.user.login(invite="K", register=True, social=False),
        "user/login",
        {"invite": "K", "register": True, "social": False},
        b"{}",
    ),
    "user.remove": (lambda c: c.user.remove("I"), "user/remove", {"id": "I"} | A, b""),
    "user.remove, by address": (
        lambda c: c.user.remove(email="a@b.c"),
        "user/remove",
        {"email": "a@b.c"} | A,
        b"",
    ),
    "user.update": (lambda c: c.user.update("I"), "user/update", {"id": "I"} | A, RECORD),
    "user.update, of the caller": (lambda c: c.user.update(first="F"), "user/update", {"first": "F"} | A, RECORD),
    "user.update, with all": (
        lambda c: c.user.update("I", email="a@b.c", first="F", last="L", preferences={"a": {"b": [None]}}),
        "user/update",
        {"id": "I", "email": "a@b.c", "first": "F", "last": "L", "preferences": {"a": {"b": [None]}}} | A,
        RECORD,
    ),
    "user.update_role": (
        lambda c: c.user.update_role("I", "admin"),
        "user/updateRole",
        {"id": "I", "role": "admin"} | A,
        RECORD,
    ),
    "user.update_role, with all": (
        lambda c: c.user.update_role("I", "admin", send_invite=True),
        "user/updateRole",
        {"id": "I", "role": "admin", "sendInvite": True} | A,
        RECORD,
    ),
    "device.claim": (lambda c: c.device.claim("D"), "device/claim", {"id": "D"} | A, RECORD),
    "test.ping": (lambda c: c.test.ping(), "test/ping", {}, b"pinged\n"),
    "device.find, bare": (lambda c: c.device.find(), "device/find", A, LIST),
    "device.find": (
        lambda c: c.device.find(id="D", product_id="P", **PAGING),
        f"device/find{PAGING_QUERY}",
        {"id": "D", "productId": "P"} | A,
        LIST,
    ),
    "device.get": (lambda c: c.device.get("D"), "device/get", {"id": "D"} | A, RECORD),
    "device.get_creds": (lambda c: c.device.get_creds(), "device/getCreds", {}, RECORD),
    "device.get_signed_url, bare": (lambda c: c.device.get_signed_url(), "device/getSignedUrl", {}, URL),
    "device.get_signed_url": (
        lambda c: c.device.get_signed_url(**TRANSFER),
        "device/getSignedUrl",
        TRANSFER_WIRE,
        URL,
    ),
    "device.provision": (lambda c: c.device.provision("D"), "device/provision", {"id": "D"}, RECORD),
    "device.release": (lambda c: c.device.release("D"), "device/release", {"id": "D"} | A, RECORD),
    "provision.get_certs": (lambda c: c.provision.get_certs("D"), "provision/getCerts", {"id": "D"}, RECORD),
    "provision.update": (
        lambda c: c.provision.update("D", "P", "1.2.3"),
        "provision/update",
        {"id": "D", "product": "P", "version": "1.2.3"},
        RECORD,
    ),
    "provision.update, with all": (
        lambda c: c.provision.update("D", "P", "1.2.3", test=False, properties={"pro": "true", "model": None}),
        "provision/update",
        {"id": "D", "product": "P", "version": "1.2.3", "test": False, "pro": "true", "model": None},
        RECORD,
    ),
    "provision.update_report": (
        lambda c: c.provision.update_report("D", "U", success=False),
        "provision/updateReport",
        {"id": "D", "update": "U", "success": False},
        b"",
    ),
    "metric.fetch": (
        lambda c: c.metric.fetch("D", [MetricQuery("temp")]),
        "metric/fetch",
        {
            "deviceId": "D",
            "items": [
                {
                    "namespace": "Embedthis/Device",
                    "metric": "temp",
                    "dimensions": {},
                    "statistic": "avg",
                    "period": 300,
                }
            ],
        }
        | A,
        LIST,
    ),
    "metric.fetch, with all": (
        lambda c: c.metric.fetch(
            "D",
            [
                MetricQuery(
                    "temp",
                    {"Device": "D"},
                    "current",
                    period=86400,
                    accumulate=True,
                    start=WHEN,
                    limit=3,
                    namespace="N",
                    cloud_id="C",
                    id="I",
                )
            ],
        ),
        "metric/fetch",
        {
            "deviceId": "D",
            "items": [
                {
                    "namespace": "N",
                    "metric": "temp",
                    "dimensions": {"Device": "D"},
                    "statistic": "current",
                    "period": 86400,
                    "accumulate": True,
                    "start": WHEN_MS,
                    "limit": 3,
                    "cloudId": "C",
                    "id": "I",
                }
            ],
        }
        | A,
        LIST,
    ),
    "metric.series": (
        lambda c: c.metric.series("D", "temp"),
        "metric/fetch",
        {
            "deviceId": "D",
            "items": [
                {
                    "namespace": "Embedthis/Device",
                    "metric": "temp",
                    "dimensions": {"Device": "D"},
                    "statistic": "avg",
                    "period": 300,
                    "id": "read-0",
                }
            ],
        }
        | A,
        b'{"data": [{}]}',
    ),
    "metric.value, with all": (
        lambda c: c.metric.value(
            "D",
            "temp",
            statistic="max",
            period=timedelta(days=1),
            dimensions={},
            start=WHEN,
            namespace="N",
            cloud_id="C",
        ),
        "metric/fetch",
        {
            "deviceId": "D",
            "items": [
                {
                    "namespace": "N",
                    "metric": "temp",
                    "dimensions": {},
                    "statistic": "max",
                    "period": 86400,
                    "accumulate": True,
                    "start": WHEN_MS,
                    "cloudId": "C",
                    "id": "read-0",
                }
            ],
        }
        | A,
        b'{"data": [{}]}',
    ),
    "metric.fetch, database": (
        lambda c: c.metric.fetch("D", iter([DatabaseQuery("Service", "value", limit=1)])),
        "metric/fetch",
        {
            "deviceId": "D",
            "items": [
                {
                    "namespace": "Database",
                    "model": "Service",
                    "field": "value",
                    "dimensions": {},
                    "statistic": "current",
                    "limit": 1,
                }
            ],
        }
        | A,
        LIST,
    ),
    "metric.get_device_schema": (lambda c: c.metric.get_device_schema(), "metric/getDeviceSchema", {}, RECORD),
    "metric.get_device_schema, with all": (
        lambda c: c.metric.get_device_schema(cloud_id="C"),
        "metric/getDeviceSchema",
        {"cloudId": "C"},
        RECORD,
    ),
    "metric.get_metric_list": (
        lambda c: c.metric.get_metric_list("C"),
        "metric/getMetricList",
        {"cloudId": "C"},
        RECORD,
    ),
    "metric.get_metric_list, with all": (
        lambda c: c.metric.get_metric_list("C", namespace="N", metric="temp", model="Store", **PAGING),
        f"metric/getMetricList{PAGING_QUERY}",
        {"cloudId": "C", "namespace": "N", "metric": "temp", "model": "Store"},
        RECORD,
    ),
    "action.find": (lambda c: c.action.find("C"), "action/find", {"cloudId": "C"}, LIST),
    "action.find, with all": (
        lambda c: c.action.find("C", type="metric", **PAGING),
        f"action/find{PAGING_QUERY}",
        {"cloudId": "C", "type": "metric"},
        LIST,
    ),
    "action.get": (lambda c: c.action.get("C", "metric"), "action/get", {"cloudId": "C", "type": "metric"}, RECORD),
    "action.get, with all": (
        lambda c: c.action.get("C", "metric", id="I"),
        "action/get",
        {"cloudId": "C", "type": "metric", "id": "I"},
        RECORD,
    ),
    "action.invoke": (lambda c: c.action.invoke("Run"), "action/invoke", {"name": "Run"}, RECORD),
    "action.invoke, by id": (
        lambda c: c.action.invoke(id="I", context={"a": [1]}),
        "action/invoke",
        {"id": "I", "context": {"a": [1]}},
        RECORD,
    ),
    "generic.create": (
        lambda c: c.generic.create("Store", {"key": "k"}, device_id="D"),
        "generic/create",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        RECORD,
    ),
    "generic.find": (lambda c: c.generic.find("Store"), "generic/find", {"_type": "Store"} | A, LIST),
    "generic.find, with all": (
        lambda c: c.generic.find("Store", {"key": "k"}, device_id="D", **PAGING),
        f"generic/find{PAGING_QUERY}",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        LIST,
    ),
    "generic.get": (
        lambda c: c.generic.get("Store", {"key": "k"}, device_id="D"),
        "generic/get",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        RECORD,
    ),
    "generic.remove": (
        lambda c: c.generic.remove("Store", {"key": "k"}, device_id="D"),
        "generic/remove",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        b"",
    ),
    "generic.update": (
        lambda c: c.generic.update("Store", {"key": "k", "description": None}, device_id="D"),
        "generic/update",
        {"_type": "Store", "deviceId": "D", "key": "k", "description": None} | A,
        RECORD,
    ),
    "store.get": (
        lambda c: c.store.get("D", "k"),
        "generic/get",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        RECORD,
    ),
    "store.set": (
        lambda c: c.store.set("D", "k", 1),
        "generic/update?exists=",
        {"_type": "Store", "deviceId": "D", "key": "k", "value": 1, "type": "number"} | A,
        RECORD,
    ),
    "store.set, with all": (
        lambda c: c.store.set("D", "k", {"a": 1}, type="string", expires=WHEN),
        "generic/update?exists=",
        {
            "_type": "Store",
            "deviceId": "D",
            "key": "k",
            "value": {"a": 1},
            "type": "string",
            "expires": WHEN_MS,
        }
        | A,
        RECORD,
    ),
    "store.remove": (
        lambda c: c.store.remove("D", "k"),
        "generic/remove",
        {"_type": "Store", "deviceId": "D", "key": "k"} | A,
        b"",
    ),
    "store.find": (lambda c: c.store.find("D"), "generic/find", {"_type": "Store", "deviceId": "D"} | A, LIST),
    "store.find, with all": (
        lambda c: c.store.find("D", limit=5, next="N", prev="P"),
        "generic/find?limit=5&next=N&prev=P",
        {"_type": "Store", "deviceId": "D"} | A,
        LIST,
    ),
}
REGISTRATIONS: dict[str, tuple[Call, dict[str, Any]]] = {
    "bare": (lambda c: c.builder.device.register("D", "P"), {"id": "D", "product": "P"}),
    "with all": (
        lambda c: c.builder.device.register(
            "D", "P", account="A", cloud="C", test=True, properties={"name": "Demo", "created": WHEN}
        ),
        {
            "id": "D",
            "product": "P",
            "account": "A",
            "cloud": "C",
            "test": True,
            "name": "Demo",
            "created": WHEN_ISO,
        },
    ),
}

BUILDER_CALLS: dict[str, tuple[Call, str, dict[str, Any], bytes]] = {
    "device.claim": (
        lambda c: c.builder.device.claim("D", "T", "A"),
        "device/claim",
        {"id": "D", "cloudToken": "T", "accountId": "A"},
        RECORD,
    ),
    "device.claim, with all": (
        lambda c: c.builder.device.claim("D", "T", "A", test=True),
        "device/claim",
        {"id": "D", "cloudToken": "T", "accountId": "A", "test": True},
        RECORD,
    ),
    "device.find": (lambda c: c.builder.device.find(), "device/find", {}, LIST),
    "device.find, with all": (
        lambda c: c.builder.device.find(id="D", cloud_id="C", product_id="P", limit=5, next="N", prev="P"),
        "device/find?limit=5&next=N&prev=P",
        {"id": "D", "cloudId": "C", "productId": "P"},
        LIST,
    ),
    "device.get": (lambda c: c.builder.device.get("D"), "device/get", {"id": "D"}, RECORD),
    "device.lookup": (lambda c: c.builder.device.lookup("P"), "device/lookup", {"product": "P"}, RECORD),
    "device.release": (lambda c: c.builder.device.release("D"), "device/release", {"id": "D"}, b""),
    "device.remove": (lambda c: c.builder.device.remove("D"), "device/remove", {"id": "D"}, b""),
    "device.remove_all": (
        lambda c: c.builder.device.remove_all("P"),
        "device/removeAll",
        {"productId": "P"},
        b"3",
    ),
    "metric.fetch": (
        lambda c: c.builder.metric.fetch([MetricQuery("m", namespace="Embedthis/Cloud"), DatabaseQuery("M", "f")]),
        "metric/fetch",
        {
            "items": [
                {
                    "namespace": "Embedthis/Cloud",
                    "metric": "m",
                    "dimensions": {},
                    "statistic": "avg",
                    "period": 300,
                },
                {"namespace": "Database", "model": "M", "field": "f", "dimensions": {}, "statistic": "current"},
            ]
        },
        LIST,
    ),
    "test.echo": (lambda c: c.builder.test.echo(), "test/echo", {}, b"{}"),
    "test.echo, with all": (lambda c: c.builder.test.echo({"a": [None]}), "test/echo", {"a": [None]}, b"{}"),
    "test.empty": (lambda c: c.builder.test.empty(), "test/empty", {}, b""),
    "test.empty, with all": (lambda c: c.builder.test.empty({"a": 1}), "test/empty", {"a": 1}, b""),
    "test.exception": (lambda c: c.builder.test.exception(), "test/exception", {}, b""),
    "test.success": (lambda c: c.builder.test.success(), "test/success", {}, b""),
}

every_call_of_the_builder = pytest.mark.parametrize("name", BUILDER_CALLS)
every_call = pytest.mark.parametrize("name", CALLS)
every_registration = pytest.mark.parametrize("name", REGISTRATIONS)


@every_call
async def test_a_method_posts_its_members_to_its_path(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, path, body, cloud.reply = CALLS[name]
    await call(client)
    sent = cloud.only
    url, _, query = sent.url.partition("?")
    expected, _, expected_query = path.partition("?")
    assert (sent.method, url, sent.body) == ("POST", f"{API}/tok/{expected}", body)
    assert sorted(query.split("&")) == sorted(expected_query.split("&"))


@every_call
async def test_a_body_is_sent_as_compact_json(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    await call(client)
    assert cloud.only.content_type == "application/json"
    # JSON keeps the order of members; separators have no spaces.
    assert cloud.only.data == json.dumps(cloud.only.body, separators=(",", ":"), ensure_ascii=False).encode()


@every_call
async def test_a_request_asks_for_json_and_names_the_client(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    await call(client)
    assert cloud.only.headers["Accept"] == "application/json"
    assert cloud.only.headers["User-Agent"].startswith("ioto-async/")


@every_call
async def test_a_token_is_no_part_of_url_body_or_plain_headers(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    await call(client)
    sent = cloud.only
    assert TOKEN not in f"{sent.url} {sent.data!r} {dict(sent.headers)}"


@every_call
async def test_credentials_come_from_a_middleware(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    await call(client)
    assert len(cloud.only.options["middlewares"]) == 1


@every_call
async def test_redirects_are_not_followed(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    await call(client)
    assert cloud.only.options["allow_redirects"] is False


@every_call
async def test_a_login_token_goes_to_the_bare_path(cloud: Cloud, name: str) -> None:
    call, path, _, cloud.reply = CALLS[name]
    async with make_client(token=None, login="ACCESS", origin="app.ioto.me") as client:
        await call(client)
    assert cloud.only.url.partition("?")[0] == f"{API}/{path.partition('?')[0]}"


@every_call
async def test_a_client_without_an_account_names_none(cloud: Cloud, name: str) -> None:
    call, _, body, cloud.reply = CALLS[name]
    async with make_client(account_id=None) as client:
        await call(client)
    # The calls of Account name it by its key.
    assert cloud.only.body == {
        member: value for member, value in body.items() if member != "accountId" and value != ACCOUNT
    }


@every_call
async def test_the_options_of_a_call_add_headers(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, _, _, cloud.reply = CALLS[name]
    clone = client.with_options(headers={"X-Trace": "7"})
    await call(clone)
    assert cloud.only.headers["X-Trace"] == "7"


@every_registration
async def test_register_posts_to_the_builder_without_the_prefix(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, body = REGISTRATIONS[name]
    await call(client)
    assert (cloud.only.method, cloud.only.url, cloud.only.body) == ("POST", f"{BUILDER}/device/register", body)


@every_call_of_the_builder
async def test_a_builder_token_puts_its_prefix_behind_the_path_of_the_base(
    cloud: Cloud, client: IotoClient, name: str
) -> None:
    call, path, body, cloud.reply = BUILDER_CALLS[name]
    await call(client)
    assert (cloud.only.method, cloud.only.url, cloud.only.body) == ("POST", f"{BUILDER}/tok/{path}", body)


@every_call_of_the_builder
async def test_without_a_token_the_builder_is_called_bare(cloud: Cloud, name: str) -> None:
    call, path, body, cloud.reply = BUILDER_CALLS[name]
    async with make_client(builder_token=None) as client:
        await call(client)
    assert (cloud.only.url, cloud.only.body) == (f"{BUILDER}/{path}", body)


@every_call_of_the_builder
async def test_a_builder_token_is_no_part_of_url_body_or_plain_headers(
    cloud: Cloud, client: IotoClient, name: str
) -> None:
    call, _, _, cloud.reply = BUILDER_CALLS[name]
    await call(client)
    assert "01BUILDER" not in f"{cloud.only.url} {cloud.only.data!r} {dict(cloud.only.headers)}"


async def test_register_goes_to_the_builder_that_is_configured(cloud: Cloud) -> None:
    async with make_client(builder="https://builder.example/base") as client:
        await client.builder.device.register("D", "P")
    assert cloud.only.url == "https://builder.example/base/device/register"


async def test_a_path_in_the_endpoint_stays_in_front(cloud: Cloud) -> None:
    async with IotoClient(f"{API}/stage/", token=TOKEN, environ={}) as client:
        await client.device.get("D")
    assert cloud.only.url == f"{API}/stage/tok/device/get"


async def test_headers_of_one_call_are_sent_with_it_alone(cloud: Cloud, client: IotoClient) -> None:
    await client.device.get("D", headers={"X-Trace": "7"})
    await client.device.get("D")
    assert [sent.headers.get("X-Trace") for sent in cloud.sent] == ["7", None]


async def test_a_query_of_one_call_is_not_sent_with_the_next(cloud: Cloud, client: IotoClient) -> None:
    cloud.reply = LIST
    await client.device.find(limit=1)
    await client.device.find()
    assert [sent.url for sent in cloud.sent] == [f"{API}/tok/device/find?limit=1", f"{API}/tok/device/find"]


async def test_fetching_no_metrics_sends_nothing(cloud: Cloud, client: IotoClient) -> None:
    assert await client.metric.fetch("D", []) == []
    assert await client.builder.metric.fetch([]) == []
    assert cloud.sent == []


async def test_a_find_that_is_not_awaited_sends_nothing(cloud: Cloud, client: IotoClient) -> None:
    client.device.find()
    assert cloud.sent == []


async def test_a_long_body_is_sent_without_a_warning(cloud: Cloud, client: IotoClient) -> None:
    await client.store.set("D", "k", "x" * (2 << 20))
    assert len(cloud.only.data) > 2 << 20


# Accounts ---------------------------------------------------------------------------------------------------------

WITH_ACCOUNT: dict[str, tuple[Callable[..., Awaitable[object]], bytes]] = {
    "alert.find": (lambda c, **o: c.alert.find(**o), LIST),
    "alert.get": (lambda c, **o: c.alert.get("I", **o), RECORD),
    "alert.remove": (lambda c, **o: c.alert.remove("I", **o), b""),
    "alert.update": (lambda c, **o: c.alert.update("I", **o), RECORD),
    "dashboard.create": (lambda c, **o: c.dashboard.create("N", **o), RECORD),
    "dashboard.find": (lambda c, **o: c.dashboard.find(**o), LIST),
    "dashboard.get": (lambda c, **o: c.dashboard.get("I", **o), RECORD),
    "dashboard.remove": (lambda c, **o: c.dashboard.remove("I", **o), b""),
    "dashboard.update": (lambda c, **o: c.dashboard.update("I", **o), RECORD),
    "device.remove": (lambda c, **o: c.device.remove("D", **o), RECORD),
    "file.get": (lambda c, **o: c.file.get("a", **o), RECORD),
    "file.get_signed_url": (lambda c, **o: c.file.get_signed_url(**o), URL),
    "file.list": (lambda c, **o: c.file.list(**o), LIST),
    "file.put": (lambda c, **o: c.file.put("a", b"", **o), b""),
    "file.remove": (lambda c, **o: c.file.remove("a", **o), b""),
    "user.create": (lambda c, **o: c.user.create("a@b.c", "user", **o), RECORD),
    "user.find": (lambda c, **o: c.user.find(**o), LIST),
    "user.get": (lambda c, **o: c.user.get(**o), RECORD),
    "user.remove": (lambda c, **o: c.user.remove("I", **o), b""),
    "user.update": (lambda c, **o: c.user.update("I", **o), RECORD),
    "user.update_role": (lambda c, **o: c.user.update_role("I", "user", **o), RECORD),
    "device.claim": (lambda c, **o: c.device.claim("D", **o), RECORD),
    "device.find": (lambda c, **o: c.device.find(**o), LIST),
    "device.get": (lambda c, **o: c.device.get("D", **o), RECORD),
    "device.release": (lambda c, **o: c.device.release("D", **o), RECORD),
    "generic.create": (lambda c, **o: c.generic.create("Store", **o), RECORD),
    "generic.find": (lambda c, **o: c.generic.find("Store", **o), LIST),
    "generic.get": (lambda c, **o: c.generic.get("Store", **o), RECORD),
    "generic.remove": (lambda c, **o: c.generic.remove("Store", **o), b""),
    "generic.update": (lambda c, **o: c.generic.update("Store", **o), RECORD),
    "metric.fetch": (lambda c, **o: c.metric.fetch("D", [MetricQuery("temp")], **o), LIST),
    "store.get": (lambda c, **o: c.store.get("D", "k", **o), RECORD),
    "store.set": (lambda c, **o: c.store.set("D", "k", 1, **o), RECORD),
    "store.remove": (lambda c, **o: c.store.remove("D", "k", **o), b""),
    "store.find": (lambda c, **o: c.store.find("D", **o), LIST),
}
every_call_with_an_account = pytest.mark.parametrize("name", WITH_ACCOUNT)


@every_call_with_an_account
async def test_an_account_of_the_call_goes_before_the_client_s(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, cloud.reply = WITH_ACCOUNT[name]
    await call(client, account_id="OTHER")
    assert cloud.only.body["accountId"] == "OTHER"


@every_call_with_an_account
async def test_an_account_of_a_clone_goes_before_the_client_s(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, cloud.reply = WITH_ACCOUNT[name]
    await call(client.with_options(account_id="CLONE"))
    assert cloud.only.body["accountId"] == "CLONE"


@every_call_with_an_account
async def test_an_empty_account_is_not_replaced_by_the_client_s(cloud: Cloud, client: IotoClient, name: str) -> None:
    call, cloud.reply = WITH_ACCOUNT[name]
    with pytest.raises(InvalidArgumentError, match=r"account"):
        await call(client, account_id="")
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


# Exists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exists", "query"), [("any", "?exists="), (True, "?exists=true"), (False, "?exists=false")])
@pytest.mark.parametrize("method", ["create", "update"])
async def test_exists_is_spelled_as_documented(
    cloud: Cloud, client: IotoClient, method: str, exists: object, query: str
) -> None:
    await getattr(client.generic, method)("Store", exists=exists)
    assert cloud.only.url == f"{API}/tok/generic/{method}{query}"


@pytest.mark.parametrize("method", ["create", "update"])
async def test_exists_is_left_out_by_default(cloud: Cloud, client: IotoClient, method: str) -> None:
    await getattr(client.generic, method)("Store")
    assert cloud.only.url == f"{API}/tok/generic/{method}"


# Cursors ----------------------------------------------------------------------------------------------------------


def _received(url: str) -> dict[str, str]:
    """The query string as a server reads it."""
    query = parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    return {name: value for name, (value,) in query.items()}


FINDS: dict[str, Callable[..., Awaitable[object]]] = {
    "account": lambda c, **o: c.account.find(**o),
    "alert": lambda c, **o: c.alert.find(**o),
    "builder.device": lambda c, **o: c.builder.device.find(**o),
    "device": lambda c, **o: c.device.find(**o),
    "action": lambda c, **o: c.action.find("C", **o),
    "generic": lambda c, **o: c.generic.find("Store", **o),
    "store": lambda c, **o: c.store.find("D", **o),
}
every_find = pytest.mark.parametrize("find", FINDS)
SPECIAL = [
    "a+b",
    "a&b=c",
    "100%",
    "%2B",
    "a b",
    "é😀",
    "a#b?c/d;e",
    '"quoted"',
    "null",
    "\\",
    "line\r\nline\t",
    "=",
    "\x00",
    " ",
]


@every_find
@pytest.mark.parametrize("direction", ["next", "prev"])
@pytest.mark.parametrize("cursor", SPECIAL, ids=ascii)
async def test_a_text_cursor_arrives_as_it_was_given(
    cloud: Cloud, client: IotoClient, find: str, direction: str, cursor: str
) -> None:
    cloud.reply = LIST
    await FINDS[find](client, **{direction: cursor})
    assert _received(cloud.only.url) == {direction: cursor}


@every_find
@pytest.mark.parametrize("direction", ["next", "prev"])
async def test_an_object_cursor_is_sent_as_json(cloud: Cloud, client: IotoClient, find: str, direction: str) -> None:
    cloud.reply = LIST
    cursor = {"pk": "d#A+&=%", "sk": "d#é", "n": 1.5, "deep": {"list": [None, True]}}
    await FINDS[find](client, **{direction: cursor})
    received = _received(cloud.only.url)
    assert received.keys() == {direction}
    assert json.loads(received[direction]) == cursor


@pytest.mark.parametrize("cursor", ["a+b&c=d%é", {"pk": "d#A+&=%", "sk": "é"}], ids=["text", "object"])
async def test_the_cursor_of_a_page_fetches_the_next(
    cloud: Cloud, client: IotoClient, cursor: str | dict[str, str]
) -> None:
    cloud.reply = json.dumps({"data": [], "next": cursor}).encode()
    page = await client.device.find()
    await client.device.find(next=page.next)
    value = _received(cloud.sent[1].url)["next"]
    assert value == cursor or json.loads(value) == cursor


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Lone surrogates are no text.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé", max_size=3), inner, max_size=3),
    max_leaves=6,
)


def _sent_by(call: Call) -> tuple[str, Any]:
    """URL and body of the one request that *call* makes, in a loop of its own."""

    async def run() -> None:
        async with make_client() as client:
            await call(client)

    with Cloud(ANY) as cloud:
        asyncio.run(run())
        return cloud.only.url, cloud.only.body


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_cursor_arrives_as_it_was_given(cursor: str) -> None:
    url, _ = _sent_by(lambda client: client.device.find(next=cursor))
    assert _received(url) == {"next": cursor}


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, min_size=1, max_size=3))
def test_any_object_cursor_arrives_as_it_was_given(cursor: dict[str, Any]) -> None:
    url, _ = _sent_by(lambda client: client.device.find(next=cursor))
    assert json.loads(_received(url)["next"]) == cursor


# Values -----------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (WHEN, WHEN_ISO),
        (WHEN.astimezone(timezone(timedelta(hours=5, minutes=30))), WHEN_ISO),
        (datetime(1969, 12, 31, tzinfo=UTC), "1969-12-31T00:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (1.5e300, 1.5e300),
        ("é😀\x00", "é😀\x00"),
        ({"a": [None, {}, []]}, {"a": [None, {}, []]}),
        ((1, 2), [1, 2]),
        (Device(account_id="A", created=WHEN), {"accountId": "A", "created": WHEN_ISO}),
        (Item(type="Store", extra={"key": "k"}), {"_type": "Store", "key": "k"}),
        ([{"when": WHEN}], [{"when": WHEN_ISO}]),
    ],
    ids=ascii,
)
async def test_a_value_is_sent_as_documented(cloud: Cloud, client: IotoClient, value: object, wire: object) -> None:
    await client.generic.create("M", {"v": value})
    assert cloud.only.body["v"] == wire


@pytest.mark.parametrize(
    ("value", "type_"),
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
    await client.store.set("D", "k", value)
    assert (cloud.only.body["value"], cloud.only.body["type"]) == (value, type_)


@settings(max_examples=60, deadline=None)
@given(json_values)
def test_any_json_value_is_sent_as_it_is(value: object) -> None:
    _, body = _sent_by(lambda client: client.generic.update("M", {"v": value}))
    # The text of both shows 1, 1.0 and true apart, which an equation does not.
    assert repr(body["v"]) == repr(value)


@pytest.mark.parametrize("value", [UUID(int=1), Colour.RED], ids=["uuid", "enum"])
@pytest.mark.parametrize("beside", [None, "null"], ids=["null", "the word null"])
async def test_whether_a_value_can_be_sent_does_not_depend_on_its_neighbours(
    cloud: Cloud, client: IotoClient, value: object, beside: object
) -> None:
    async def accepted(fields: Mapping[str, object]) -> bool:
        try:
            await client.generic.update("M", fields)
        except InvalidArgumentError:
            return False
        return True

    assert await accepted({"v": value}) == await accepted({"v": value, "w": beside})


async def test_the_values_of_the_caller_are_not_changed(cloud: Cloud, client: IotoClient) -> None:
    fields: dict[str, object] = {"key": "k", "when": WHEN}
    await client.generic.create("M", fields, device_id="D")
    assert fields == {"key": "k", "when": WHEN}


# Bad arguments ----------------------------------------------------------------------------------------------------


class Opaque:
    """No JSON."""


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def _deep(levels: int) -> list[Any]:
    deep: list[Any] = []
    for _ in range(levels):
        deep = [deep]
    return deep


# Name of the value, the value.
UNFIT: dict[str, Any] = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "naive datetime": datetime(2024, 1, 1),
    "date": date(2024, 1, 1),
    "bytes": b"x",
    "set": {1},
    "object": Opaque(),
    "decimal": Decimal(1),
    "lone surrogate": LONE_SURROGATE,
    "2**64": 2**64,
    "-2**63-1": -(2**63) - 1,
}
TEXTS: dict[str, Any] = {"empty": "", "None": None, "number": 5, "bytes": b"x", "surrogate": LONE_SURROGATE}
OTHER_TEXTS = {name: value for name, value in TEXTS.items() if name not in ("empty", "None")}
NUMBERS: dict[str, Any] = {"text": "5", "boolean": True, "nan": math.nan, "inf": math.inf, "2**64": 2**64}
CURSORS: dict[str, Any] = {
    "number": 5,
    "bytes": b"x",
    "list": ["x"],
    "boolean": True,
    "surrogate": LONE_SURROGATE,
    "nan inside": {"a": math.nan},
    "set inside": {"a": {1}},
    "member name": {1: 2},
}
Bad = tuple[Callable[[Any, Any], Awaitable[object]], str, str, dict[str, Any]]

# The call, the operation and the field that the error names, and the values that are refused.
BAD: list[Bad] = [
    # Required texts.
    (lambda c, v: c.device.claim(v), "device/claim", "id", TEXTS),
    (lambda c, v: c.device.get(v), "device/get", "id", TEXTS),
    (lambda c, v: c.device.release(v), "device/release", "id", TEXTS),
    (lambda c, v: c.device.provision(v), "device/provision", "id", TEXTS),
    (lambda c, v: c.provision.get_certs(v), "provision/getCerts", "id", TEXTS),
    (lambda c, v: c.provision.update(v, "P", "1.0.0"), "provision/update", "id", TEXTS),
    (lambda c, v: c.provision.update("D", v, "1.0.0"), "provision/update", "product", TEXTS),
    (lambda c, v: c.provision.update("D", "P", v), "provision/update", "version", TEXTS),
    (lambda c, v: c.provision.update_report(v, "U", success=True), "provision/updateReport", "id", TEXTS),
    (lambda c, v: c.provision.update_report("D", v, success=True), "provision/updateReport", "update", TEXTS),
    (lambda c, v: c.metric.fetch(v, [MetricQuery("temp")]), "metric/fetch", "deviceId", TEXTS),
    (lambda c, v: c.metric.fetch("D", [MetricQuery(v)]), "metric/fetch", "metric", TEXTS),
    (lambda c, v: c.metric.fetch("D", [MetricQuery("m", statistic=v)]), "metric/fetch", "statistic", TEXTS),
    (lambda c, v: c.metric.fetch("D", [MetricQuery("m", namespace=v)]), "metric/fetch", "namespace", TEXTS),
    (lambda c, v: c.metric.fetch("D", [DatabaseQuery(v, "f")]), "metric/fetch", "model", TEXTS),
    (lambda c, v: c.metric.fetch("D", [DatabaseQuery("M", v)]), "metric/fetch", "field", TEXTS),
    (lambda c, v: c.metric.series(v, "temp"), "metric/fetch", "deviceId", TEXTS),
    (lambda c, v: c.metric.series("D", v), "metric/fetch", "metric", TEXTS),
    (lambda c, v: c.metric.value("D", "m", statistic=v), "metric/fetch", "statistic", TEXTS),
    (lambda c, v: c.metric.value("D", "m", namespace=v), "metric/fetch", "namespace", TEXTS),
    (lambda c, v: c.metric.get_metric_list(v), "metric/getMetricList", "cloudId", TEXTS),
    (lambda c, v: c.action.find(v), "action/find", "cloudId", TEXTS),
    (lambda c, v: c.action.get(v, "metric"), "action/get", "cloudId", TEXTS),
    (lambda c, v: c.action.get("C", v), "action/get", "type", TEXTS),
    (lambda c, v: c.action.invoke(v), "action/invoke", "name", TEXTS),
    (lambda c, v: c.action.invoke(id=v), "action/invoke", "id", TEXTS),
    (lambda c, v: c.generic.create(v), "generic/create", "_type", TEXTS),
    (lambda c, v: c.generic.find(v), "generic/find", "_type", TEXTS),
    (lambda c, v: c.generic.get(v), "generic/get", "_type", TEXTS),
    (lambda c, v: c.generic.remove(v), "generic/remove", "_type", TEXTS),
    (lambda c, v: c.generic.update(v), "generic/update", "_type", TEXTS),
    (lambda c, v: c.store.get(v, "k"), "generic/get", "deviceId", TEXTS),
    (lambda c, v: c.store.get("D", v), "generic/get", "key", TEXTS),
    (lambda c, v: c.store.set(v, "k", 1), "generic/update", "deviceId", TEXTS),
    (lambda c, v: c.store.set("D", v, 1), "generic/update", "key", TEXTS),
    (lambda c, v: c.store.remove(v, "k"), "generic/remove", "deviceId", TEXTS),
    (lambda c, v: c.store.remove("D", v), "generic/remove", "key", TEXTS),
    (lambda c, v: c.store.find(v), "generic/find", "deviceId", TEXTS),
    (lambda c, v: c.builder.device.register(v, "P"), "device/register", "id", TEXTS),
    (lambda c, v: c.builder.device.register("D", v), "device/register", "product", TEXTS),
    (lambda c, v: c.account.create(v, "N"), "account/create", "email", TEXTS),
    (lambda c, v: c.account.create("a@b.c", v), "account/create", "name", TEXTS),
    (lambda c, v: c.alert.get(v), "alert/get", "id", TEXTS),
    (lambda c, v: c.alert.remove(v), "alert/remove", "id", TEXTS),
    (lambda c, v: c.alert.update(v), "alert/update", "id", TEXTS),
    (lambda c, v: c.dashboard.create(v), "dashboard/create", "name", TEXTS),
    (lambda c, v: c.dashboard.get(v), "dashboard/get", "id", TEXTS),
    (lambda c, v: c.dashboard.get(name=v), "dashboard/get", "name", TEXTS),
    (lambda c, v: c.dashboard.remove(v), "dashboard/remove", "id", TEXTS),
    (lambda c, v: c.dashboard.update(v), "dashboard/update", "id", TEXTS),
    (lambda c, v: c.device.remove(v), "device/remove", "id", TEXTS),
    (lambda c, v: c.file.get(v), "file/get", "filename", TEXTS),
    (lambda c, v: c.file.put(v, b""), "file/put", "filename", TEXTS),
    (lambda c, v: c.file.remove(v), "file/remove", "filename", TEXTS),
    (lambda c, v: c.manager.provision(v), "manager/provision", "id", TEXTS),
    (lambda c, v: c.manager.update(v), "manager/update", "id", TEXTS),
    (lambda c, v: c.manager.update_display(v, "{}"), "manager/updateDisplay", "id", TEXTS),
    (lambda c, v: c.manager.update_display("I", v), "manager/updateDisplay", "display", TEXTS),
    (lambda c, v: c.user.create(v, "user"), "user/create", "email", TEXTS),
    (lambda c, v: c.user.create("a@b.c", v), "user/create", "role", TEXTS),
    (lambda c, v: c.user.remove(v), "user/remove", "id", TEXTS),
    (lambda c, v: c.user.remove(email=v), "user/remove", "email", TEXTS),
    (lambda c, v: c.user.update(v), "user/update", "id", OTHER_TEXTS),
    (lambda c, v: c.user.update_role(v, "user"), "user/updateRole", "id", TEXTS),
    (lambda c, v: c.user.update_role("I", v), "user/updateRole", "role", TEXTS),
    (lambda c, v: c.builder.device.claim(v, "T", "A"), "device/claim", "id", TEXTS),
    (lambda c, v: c.builder.device.claim("D", v, "A"), "device/claim", "cloudToken", TEXTS),
    (lambda c, v: c.builder.device.claim("D", "T", v), "device/claim", "accountId", TEXTS),
    (lambda c, v: c.builder.device.get(v), "device/get", "id", TEXTS),
    (lambda c, v: c.builder.device.lookup(v), "device/lookup", "product", TEXTS),
    (lambda c, v: c.builder.device.release(v), "device/release", "id", TEXTS),
    (lambda c, v: c.builder.device.remove(v), "device/remove", "id", TEXTS),
    (lambda c, v: c.builder.device.remove_all(v), "device/removeAll", "productId", TEXTS),
    # Optional texts.
    (lambda c, v: c.account.close(v), "account/close", "id", OTHER_TEXTS | {"empty": ""}),
    (lambda c, v: c.account.get(v), "account/get", "id", OTHER_TEXTS | {"empty": ""}),
    (lambda c, v: c.account.get(index=v), "account/get", "index", OTHER_TEXTS),
    (lambda c, v: c.account.find(email=v), "account/find", "email", OTHER_TEXTS),
    (lambda c, v: c.account.update_identity(v, name="N"), "account/updateIdentity", "id", OTHER_TEXTS),
    (lambda c, v: c.account.update_identity(email=v), "account/updateIdentity", "email", OTHER_TEXTS),
    (lambda c, v: c.dashboard.create("N", layout=v), "dashboard/create", "layout", OTHER_TEXTS),
    (lambda c, v: c.dashboard.update("I", name=v), "dashboard/update", "name", OTHER_TEXTS),
    (lambda c, v: c.file.get_signed_url(command=v), "file/getSignedUrl", "command", OTHER_TEXTS),
    (lambda c, v: c.file.list(account_id=v), "file/list", "accountId", OTHER_TEXTS | {"empty": ""}),
    (lambda c, v: c.file.put("a", b"", mime_type=v), "file/put", "mimeType", OTHER_TEXTS),
    (lambda c, v: c.manager.get(v), "manager/get", "id", OTHER_TEXTS | {"empty": ""}),
    (lambda c, v: c.manager.get_signed_url(filename=v), "manager/getSignedUrl", "filename", OTHER_TEXTS),
    (lambda c, v: c.manager.update("I", domain=v), "manager/update", "domain", OTHER_TEXTS),
    (lambda c, v: c.user.get(v), "user/get", "id", OTHER_TEXTS | {"empty": ""}),
    (lambda c, v: c.user.find(email=v), "user/find", "email", OTHER_TEXTS),
    (lambda c, v: c.user.login(invite=v), "user/login", "invite", OTHER_TEXTS),
    (lambda c, v: c.user.update("I", first=v), "user/update", "first", OTHER_TEXTS),
    (lambda c, v: c.builder.device.find(cloud_id=v), "device/find", "cloudId", OTHER_TEXTS),
    (lambda c, v: c.device.find(id=v), "device/find", "id", OTHER_TEXTS),
    (lambda c, v: c.device.find(product_id=v), "device/find", "productId", OTHER_TEXTS),
    (lambda c, v: c.device.find(account_id=v), "device/find", "accountId", OTHER_TEXTS),
    (lambda c, v: c.metric.value("D", "m", account_id=v), "metric/fetch", "accountId", OTHER_TEXTS),
    (lambda c, v: c.metric.value("D", "m", cloud_id=v), "metric/fetch", "cloud_id", {"empty": "", "number": 5}),
    (lambda c, v: c.device.find(index=v), "device/find", "index", OTHER_TEXTS),
    (lambda c, v: c.device.get_signed_url(id=v), "device/getSignedUrl", "id", OTHER_TEXTS),
    (lambda c, v: c.device.get_signed_url(command=v), "device/getSignedUrl", "command", OTHER_TEXTS),
    (lambda c, v: c.device.get_signed_url(filename=v), "device/getSignedUrl", "filename", OTHER_TEXTS),
    (lambda c, v: c.device.get_signed_url(mime_type=v), "device/getSignedUrl", "mimeType", OTHER_TEXTS),
    (lambda c, v: c.metric.get_device_schema(cloud_id=v), "metric/getDeviceSchema", "cloudId", OTHER_TEXTS),
    (lambda c, v: c.metric.get_metric_list("C", namespace=v), "metric/getMetricList", "namespace", OTHER_TEXTS),
    (lambda c, v: c.metric.get_metric_list("C", metric=v), "metric/getMetricList", "metric", OTHER_TEXTS),
    (lambda c, v: c.metric.get_metric_list("C", model=v), "metric/getMetricList", "model", OTHER_TEXTS),
    (lambda c, v: c.action.find("C", type=v), "action/find", "type", OTHER_TEXTS),
    (lambda c, v: c.action.get("C", "metric", id=v), "action/get", "id", OTHER_TEXTS),
    (lambda c, v: c.generic.get("M", device_id=v), "generic/get", "deviceId", OTHER_TEXTS),
    (lambda c, v: c.generic.get("M", account_id=v), "generic/get", "accountId", OTHER_TEXTS),
    (lambda c, v: c.store.set("D", "k", 1, type=v), "generic/update", "type", OTHER_TEXTS),
    (lambda c, v: c.builder.device.register("D", "P", account=v), "device/register", "account", OTHER_TEXTS),
    (lambda c, v: c.builder.device.register("D", "P", cloud=v), "device/register", "cloud", OTHER_TEXTS),
    # Numbers and switches.
    (lambda c, v: c.account.find(limit=v), "account/find", "limit", NUMBERS | {"zero": 0, "half": 0.5}),
    (lambda c, v: c.dashboard.create("N", refresh=v), "dashboard/create", "refresh", NUMBERS),
    (lambda c, v: c.alert.update("I", resolved=v), "alert/update", "resolved", {"text": "true", "number": 1}),
    (lambda c, v: c.dashboard.update("I", live=v), "dashboard/update", "live", {"text": "true", "number": 1}),
    (lambda c, v: c.manager.get_signed_url(clean=v), "manager/getSignedUrl", "clean", {"text": "true", "number": 1}),
    (lambda c, v: c.user.login(register=v), "user/login", "register", {"text": "true", "number": 1}),
    (lambda c, v: c.user.create("a@b.c", "user", send_invite=v), "user/create", "sendInvite", {"number": 1}),
    (lambda c, v: c.device.find(limit=v), "device/find", "limit", NUMBERS),
    (lambda c, v: c.metric.get_metric_list("C", limit=v), "metric/getMetricList", "limit", NUMBERS),
    (lambda c, v: c.device.get_signed_url(size=v), "device/getSignedUrl", "size", NUMBERS),
    (lambda c, v: c.metric.fetch("D", [MetricQuery("m", limit=v)]), "metric/fetch", "limit", NUMBERS),
    (
        lambda c, v: c.metric.fetch("D", [MetricQuery("m", period=v)]),
        "metric/fetch",
        "period",
        NUMBERS | {"zero": 0, "negative": -300, "None": None},
    ),
    (
        lambda c, v: c.metric.value("D", "m", period=v),
        "metric/fetch",
        "period",
        NUMBERS | {"zero": 0, "negative": -300, "None": None, "no time": timedelta(0)},
    ),
    (
        lambda c, v: c.provision.update_report("D", "U", success=v),
        "provision/updateReport",
        "success",
        {"None": None, "text": "true", "number": 1},
    ),
    (
        lambda c, v: c.provision.update("D", "P", "1.0.0", test=v),
        "provision/update",
        "test",
        {"text": "true", "number": 1},
    ),
    (
        lambda c, v: c.builder.device.register("D", "P", test=v),
        "device/register",
        "test",
        {"text": "true", "number": 1},
    ),
    # exists: a boolean or "any".
    (
        lambda c, v: c.generic.create("M", exists=v),
        "generic/create",
        "exists",
        {"text": "yes", "number": 1, "list": []},
    ),
    (
        lambda c, v: c.generic.update("M", exists=v),
        "generic/update",
        "exists",
        {"text": "yes", "number": 1, "list": []},
    ),
    # Dates.
    (
        lambda c, v: c.store.set("D", "k", 1, expires=v),
        "generic/update",
        "expires",
        {"naive": datetime(2024, 1, 1), "number": 5, "text": WHEN_ISO},
    ),
    (
        lambda c, v: c.metric.fetch("D", [MetricQuery("m", start=v)]),
        "metric/fetch",
        "start",
        {"naive": datetime(2024, 1, 1), "number": 5, "text": WHEN_ISO},
    ),
    (
        lambda c, v: c.metric.series("D", "m", start=v),
        "metric/fetch",
        "start",
        {"naive": datetime(2024, 1, 1), "number": 5, "text": WHEN_ISO, "list": []},
    ),
    (
        lambda c, v: c.dashboard.create("N", range=Range(start=v)),
        "dashboard/create",
        "range.start",
        {"naive": datetime(2024, 1, 1)},
    ),
    # Cursors.
    (lambda c, v: c.device.find(next=v), "device/find", "next", CURSORS),
    (lambda c, v: c.generic.find("M", prev=v), "generic/find", "prev", CURSORS),
    (lambda c, v: c.metric.get_metric_list("C", next=v), "metric/getMetricList", "next", CURSORS),
    # Values that are no JSON, wherever a value can stand.
    (lambda c, v: c.generic.create("M", {"colour": v}), "generic/create", "colour", UNFIT),
    (lambda c, v: c.generic.update("M", {"a": [1, {"colour": v}]}), "generic/update", "a[1].colour", UNFIT),
    (lambda c, v: c.generic.find("M", {"colour": v}), "generic/find", "colour", UNFIT),
    (lambda c, v: c.store.set("D", "k", v), "generic/update", "value", UNFIT),
    (lambda c, v: c.action.invoke("Run", context={"colour": v}), "action/invoke", "colour", UNFIT),
    (
        lambda c, v: c.metric.fetch("D", [MetricQuery("m", {"colour": v})]),
        "metric/fetch",
        "items[0].dimensions.colour",
        UNFIT,
    ),
    (lambda c, v: c.metric.value("D", "m", dimensions={"colour": v}), "metric/fetch", "dimensions.colour", UNFIT),
    (
        lambda c, v: c.provision.update("D", "P", "1.0.0", properties={"colour": v}),
        "provision/update",
        "colour",
        UNFIT,
    ),
    (
        lambda c, v: c.builder.device.register("D", "P", properties={"colour": v}),
        "device/register",
        "colour",
        UNFIT,
    ),
    (lambda c, v: c.generic.create("M", {"v": Item(extra={"colour": v})}), "generic/create", "colour", UNFIT),
    (lambda c, v: c.user.update("I", preferences={"colour": v}), "user/update", "preferences.colour", UNFIT),
    (lambda c, v: c.dashboard.create("N", css=[v]), "dashboard/create", "css[0]", UNFIT),
    (
        lambda c, v: c.dashboard.create("N", widgets=[{}, Widget(options={"colour": v})]),
        "dashboard/create",
        "widgets[1].options.colour",
        UNFIT,
    ),
    (lambda c, v: c.file.list({"colour": v}), "file/list", "colour", UNFIT),
    (lambda c, v: c.builder.test.echo({"colour": v}), "test/echo", "colour", UNFIT),
    # What is no mapping, no list, or no bytes.
    (lambda c, v: c.file.put("a", v), "file/put", "data", {"text": "AP8=", "None": None, "list": [1]}),
    (lambda c, v: c.file.list(v), "file/list", "filters", {"list": [("a", 1)], "text": "abc"}),
    (lambda c, v: c.user.update("I", preferences=v), "user/update", "preferences", {"list": [1], "text": "x"}),
    (lambda c, v: c.dashboard.create("N", range=v), "dashboard/create", "range", {"list": [1], "text": "x"}),
    (lambda c, v: c.dashboard.create("N", css=v), "dashboard/create", "css", {"text": "x", "mapping": {}}),
    (lambda c, v: c.dashboard.update("I", widgets=v), "dashboard/update", "widgets", {"text": "x", "mapping": {}}),
    (
        lambda c, v: c.dashboard.update("I", widgets=[{}, v]),
        "dashboard/update",
        "widgets[1]",
        {"text": "x", "number": 1, "None": None, "range": Range()},
    ),
    (lambda c, v: c.manager.update("I", users=v), "manager/update", "users", {"text": "a@b.c", "mapping": {}}),
    (
        lambda c, v: c.builder.metric.fetch(v),
        "metric/fetch",
        "items",
        {"mapping inside": [{"metric": "m"}], "text inside": ["m"], "number": 5},
    ),
    (lambda c, v: c.builder.test.empty(v), "test/empty", "fields", {"list": [("a", 1)], "text": "abc"}),
    (
        lambda c, v: c.generic.create("M", v),
        "generic/create",
        "fields",
        {"list": [("a", 1)], "text": "abc", "number": 5},
    ),
    (
        lambda c, v: c.provision.update("D", "P", "1.0.0", properties=v),
        "provision/update",
        "properties",
        {"list": [("a", 1)], "text": "abc", "number": 5},
    ),
    (lambda c, v: c.action.invoke("Run", context=v), "action/invoke", "context", {"list": [1], "text": "x"}),
    (
        lambda c, v: c.metric.fetch("D", v),
        "metric/fetch",
        "items",
        {"mapping inside": [{"metric": "m"}], "text inside": ["m"], "number": 5},
    ),
    (
        lambda c, v: c.metric.fetch("D", [MetricQuery("m", dimensions=v)]),
        "metric/fetch",
        "dimensions",
        {"list": [1], "text": "x", "None": None},
    ),
    (
        lambda c, v: c.metric.series("D", "m", dimensions=v),
        "metric/fetch",
        "dimensions",
        {"list": [1], "text": "x", "number": 5},
    ),
    # Members that are given twice.
    (lambda c, v: c.file.list(v, account_id="A"), "file/list", "accountId", {"twice": {"accountId": "B"}}),
    (lambda c, v: c.provision.checkin(id="D", properties=v), "provision/checkin", "id", {"twice": {"id": "E"}}),
    (lambda c, v: c.generic.create("M", v), "generic/create", "_type", {"twice": {"_type": "N"}}),
    (lambda c, v: c.generic.get("M", v, device_id="D"), "generic/get", "deviceId", {"twice": {"deviceId": "E"}}),
    (
        lambda c, v: c.generic.update("M", v, account_id="A"),
        "generic/update",
        "accountId",
        {"twice": {"accountId": "B"}},
    ),
    (
        lambda c, v: c.provision.update("D", "P", "1.0.0", properties=v),
        "provision/update",
        "version",
        {"twice": {"version": "2.0.0"}},
    ),
    (
        lambda c, v: c.builder.device.register("D", "P", properties=v),
        "device/register",
        "product",
        {"twice": {"product": "Q"}},
    ),
    # Members that are named by fields alone are checked all the same.
    (lambda c, v: c.generic.get("M", {"deviceId": v}), "generic/get", "deviceId", OTHER_TEXTS),
    (lambda c, v: c.provision.update("D", "P", "1.0.0", properties={"test": v}), "provision/update", "test", {"": "x"}),
    # Names of members.
    (lambda c, v: c.generic.create("M", {v: 1}), "generic/create", "", {"number": 1, "surrogate": LONE_SURROGATE}),
    (
        lambda c, v: c.generic.create("M", {"a": {v: 1}}),
        "generic/create",
        "a",
        {"number": 1, "surrogate": LONE_SURROGATE},
    ),
]


BAD_CALLS = [
    pytest.param(call, value, operation, field, id=f"{operation} {field}: {name}")
    for call, operation, field, values in BAD
    for name, value in values.items()
]


@pytest.mark.parametrize(("call", "value", "operation", "field"), BAD_CALLS)
async def test_a_bad_argument_is_refused_by_name_before_anything_is_sent(
    cloud: Cloud,
    client: IotoClient,
    call: Callable[[IotoClient, Any], Awaitable[object]],
    value: object,
    operation: str,
    field: str,
) -> None:
    cloud.reply = ANY
    with pytest.raises(InvalidArgumentError) as refused:
        await call(client, value)
    assert cloud.sent == []
    assert operation in str(refused.value)
    assert field in str(refused.value).replace(operation, "")


@pytest.mark.parametrize("value", [_circle(), _deep(300), _deep(5000)], ids=["circle", "300 levels", "5000 levels"])
async def test_a_value_without_an_end_is_refused(cloud: Cloud, client: IotoClient, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"generic/create"):
        await client.generic.create("M", {"v": value})
    assert cloud.sent == []


async def test_a_date_beyond_the_calendar_in_utc_is_refused(cloud: Cloud, client: IotoClient) -> None:
    late = datetime.max.replace(tzinfo=timezone(timedelta(hours=-3)))
    with pytest.raises(InvalidArgumentError, match=r"generic/create.*when"):
        await client.generic.create("M", {"when": late})
    assert cloud.sent == []


async def test_running_an_automation_needs_its_name_or_its_id(cloud: Cloud, client: IotoClient) -> None:
    with pytest.raises(InvalidArgumentError, match=r"action/invoke.*name.*id"):
        await client.action.invoke()
    assert cloud.sent == []


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda c: c.account.update_identity("I"), "account/updateIdentity: email or name is required"),
        (lambda c: c.dashboard.get(), "dashboard/get: id or name is required"),
        (lambda c: c.user.remove(), "user/remove: id or email is required"),
        (lambda c: c.alert.remove(None), "alert/remove: id is required"),
    ],
    ids=["account", "dashboard", "user.remove", "alert"],
)
async def test_a_call_about_nothing_is_refused(cloud: Cloud, client: IotoClient, call: Call, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await call(client)
    assert str(refused.value) == text
    assert cloud.sent == []


@pytest.mark.parametrize("name", ["colour", "name_", "widgetCss", "limit", "id"])
async def test_a_dashboard_has_no_other_members(cloud: Cloud, client: IotoClient, name: str) -> None:
    members: dict[str, Any] = {name: "x"}
    with pytest.raises(InvalidArgumentError, match=rf"dashboard/create.*'{name}'"):
        await client.dashboard.create("N", **members)
    assert cloud.sent == []


async def test_the_options_of_a_call_go_beside_the_members_of_a_dashboard(cloud: Cloud, client: IotoClient) -> None:
    await client.dashboard.update("I", live=True, headers={"X-Trace": "7"}, timeout=5)
    assert cloud.only.body == {"id": "I", "live": True} | A
    assert cloud.only.headers["X-Trace"] == "7"


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.builder.device.claim("D", b"SECRET", "A"),
        lambda c: c.builder.device.claim("D", f"SECRET{LONE_SURROGATE}", "A"),
        lambda c: c.file.put("a", "SECRET"),
        lambda c: c.action.invoke("Run", context="SECRET"),
        lambda c: c.builder.device.register("D", b"SECRET"),
        lambda c: c.provision.update("D", b"SECRET", "1.0.0"),
        lambda c: c.builder.device.register("D", "P", properties={"key": f"SECRET{LONE_SURROGATE}"}),
    ],
    ids=["cloud token", "text of a cloud token", "data", "context", "product of register", "product of update", "key"],
)
async def test_a_refused_text_is_not_shown(cloud: Cloud, client: IotoClient, call: Call) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await call(client)
    assert "SECRET" not in str(refused.value)


async def test_an_unknown_option_is_refused(cloud: Cloud, client: IotoClient) -> None:
    with pytest.raises(InvalidArgumentError, match=r"timeouts"):
        await client.device.get("D", timeouts=3)  # type: ignore[call-arg]
    assert cloud.sent == []


@pytest.mark.parametrize("option", [{"timeout": 0}, {"timeout": math.nan}, {"retries": -1}, {"headers": {"a b": "x"}}])
async def test_a_bad_option_is_refused_by_name(cloud: Cloud, client: IotoClient, option: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=min(option)):
        await client.device.get("D", **option)
    assert cloud.sent == []


# Legacy operations ------------------------------------------------------------------------------------------------

LEGACY: dict[str, tuple[Call, str]] = {
    "account/create": (lambda c: c.account.create("a@b.c", "N"), "user/login, which makes the account"),
    "device/remove": (lambda c: c.device.remove("D"), "device/release"),
    "provision/checkin": (lambda c: c.provision.checkin(), "provision/update"),
    "provision/getCreds": (lambda c: c.provision.get_creds(), "device/getCreds"),
    "device/claim": (lambda c: c.builder.device.claim("D", "T", "A"), "device/claim of the device cloud"),
}
every_legacy_operation = pytest.mark.parametrize("name", LEGACY)


@pytest.fixture
def nothing_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not warned yet."""
    monkeypatch.setattr(base, "_warned", set())


@pytest.mark.usefixtures("nothing_warned", "cloud")
@every_legacy_operation
async def test_the_first_call_of_a_legacy_operation_warns_its_caller(client: IotoClient, name: str) -> None:
    call, instead = LEGACY[name]
    with pytest.warns(DeprecationWarning, match="legacy") as warned:
        await call(client)
    (warning,) = warned
    where = " of the Builder" if name == "device/claim" else ""
    assert str(warning.message) == f"{name}{where} is a legacy operation: use {instead}"
    assert warning.filename == __file__


@pytest.mark.usefixtures("nothing_warned", "cloud")
@every_legacy_operation
async def test_later_calls_of_a_legacy_operation_do_not_warn(client: IotoClient, name: str) -> None:
    call, _ = LEGACY[name]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        await call(client)
        await call(client)
        await call(client.with_options(account_id="OTHER"))
    assert len(warned) == 1


@pytest.mark.usefixtures("nothing_warned", "cloud")
async def test_every_legacy_operation_warns_for_itself(client: IotoClient) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for call, _ in LEGACY.values():
            await call(client)
    assert [str(warning.message).partition(" ")[0] for warning in warned] == list(LEGACY)


@pytest.mark.usefixtures("nothing_warned", "cloud")
async def test_a_call_in_a_task_warns_whoever_made_it(client: IotoClient) -> None:
    with pytest.warns(DeprecationWarning, match="legacy") as warned:
        await asyncio.gather(client.device.remove("D"), client.device.remove("E"))
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.usefixtures("nothing_warned", "cloud")
async def test_what_is_not_legacy_does_not_warn(client: IotoClient) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await client.device.claim("D")
        await client.device.release("D")


# MQTT -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "operation", "instead"),
    [
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
    ],
)
async def test_what_devices_call_over_mqtt_is_refused_with_the_way_to_do_it(
    cloud: Cloud, client: IotoClient, call: Call, operation: str, instead: str
) -> None:
    with pytest.raises(MqttOnlyError) as refused:
        await call(client)
    assert str(refused.value).startswith(f"{operation}: ")
    assert "MQTT" in str(refused.value)
    assert instead in str(refused.value)
    assert cloud.sent == []
