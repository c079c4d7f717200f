"""Every method of the client that makes one request: how it is called, what it sends, what kind of reply it has.

The one table of methods of the tests, keyed by the documented operation (``device/get``, ``builder:device/get``) or,
where a method is made of other operations, by the name of the method (``store.get``).
"""

import operator
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from types import MethodType
from typing import Any

import attrs

from ioto_async import OMIT, DatabaseQuery, IotoClient, MetricQuery, with_raw_response
from ioto_async.models import (
    Account,
    Action,
    ActionResult,
    Alert,
    BuilderDevice,
    BuilderProduct,
    Certificates,
    Credentials,
    Dashboard,
    Device,
    Item,
    Login,
    Manager,
    Metric,
    MetricList,
    NewAccount,
    Range,
    Registration,
    StoreItem,
    UpdateOffer,
    User,
    Widget,
    WidgetAction,
)
from tests.documented import ROWS
from tests.mocked import ACCOUNT, API, TOKEN

__all__ = [
    "BUILDER",
    "BUILDER_CALLS",
    "BUILDER_TOKEN",
    "CALLS",
    "CLOUD_CALLS",
    "COMPOSED",
    "METHODS",
    "WHEN",
    "WHEN_ISO",
    "WHEN_MS",
    "Call",
    "Method",
    "MethodCall",
    "RawClient",
    "Replies",
    "Request",
    "make_client",
    "method_of",
]

BUILDER = "https://api.admin.embedthis.com/api"
BUILDER_TOKEN = "01BUILDER"
WHEN = datetime(2024, 1, 23, 2, 3, 57, 62000, tzinfo=UTC)
WHEN_ISO, WHEN_MS = "2024-01-23T02:03:57.062Z", 1705975437062


def make_client(**options: Any) -> IotoClient:
    """A client of `tests.mocked.Cloud` with an account, a CloudAPI token and a BuilderAPI token."""
    given = {"token": TOKEN, "account_id": ACCOUNT, "builder_token": BUILDER_TOKEN, "environ": {}, **options}
    return IotoClient(API, **given)


class RawClient:
    """A client, or a controller of one, whose methods are called through `with_raw_response`."""

    def __init__(self, of: object) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._of, name)
        return with_raw_response(value) if isinstance(value, MethodType) else RawClient(value)


def method_of(key: str, client: IotoClient | None = None) -> Any:
    """The bound method of the row *key* of `ROWS` or `COMPOSED`."""
    return operator.attrgetter(ROWS[key].method if key in ROWS else key)(client or make_client())


class Replies(Enum):
    """What a method is answered with."""

    RECORD = auto()
    FOUND = auto()
    """A record, without which the method raises `NotFoundError`."""
    PAGE = auto()
    METRICS = auto()
    """A page of metrics, nested or not."""
    ANSWERS = auto()
    """As many metrics as items were asked for."""
    OBJECT = auto()
    """Any JSON object, returned as it is."""
    URL = auto()
    NUMBER = auto()
    TEXT = auto()
    NOTHING = auto()


_LEAST: dict[Replies, bytes] = {
    Replies.RECORD: b'{"id":"X"}',
    Replies.FOUND: b'{"id":"X"}',
    Replies.PAGE: b'{"data":[]}',
    Replies.METRICS: b'{"data":[]}',
    Replies.ANSWERS: b'{"data": [{}]}',
    Replies.OBJECT: b'{"id":"X"}',
    Replies.URL: b'"https://files.example/x"',
    Replies.NUMBER: b"3",
    Replies.TEXT: b"pinged\n",
    Replies.NOTHING: b"",
}


Call = Callable[..., Awaitable[Any]]
"""Calls a method of the client that it is given, with the options that it is given."""


@attrs.frozen
class Request:
    """Another call of a method, and what it sends."""

    call: Callable[[IotoClient], Awaitable[Any]]
    body: dict[str, Any]
    query: str = ""


@attrs.frozen
class Method:
    """A method of the client."""

    call: Call
    body: dict[str, Any]
    """What `call` sends; `ACCOUNT` is the client's account."""
    replies: Replies
    record: type[Any] | None = None
    """The record that has an attribute for every documented member of the reply; None if no member is documented."""
    more: dict[str, Request] = attrs.field(factory=dict)
    query: str = ""
    operation: str = ""
    """Of a method that is no operation itself: the one that it calls."""
    reply: bytes = attrs.field()
    """The least that the method takes for an answer."""

    @reply.default
    def _least(self) -> bytes:
        return _LEAST[self.replies]


RECORD, FOUND, PAGE, METRICS, ANSWERS, OBJECT, URL, NUMBER, TEXT, NOTHING = Replies

# Parts of calls and of bodies

_A = {"accountId": ACCOUNT}
_PAGING: dict[str, Any] = {"index": "gs1", "limit": 5, "next": "N", "prev": "P"}
_PAGING_QUERY = "index=gs1&limit=5&next=N&prev=P"
_LOOK: dict[str, Any] = {
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
_LOOK_WIRE = {("widgetCss" if name == "widget_css" else name): value for name, value in _LOOK.items()}
_MANAGER: dict[str, Any] = {
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
_MANAGER_WIRE = {
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


def _cleared(members: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(members)


def _omitted(members: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(members, OMIT)


_TRANSFER: dict[str, Any] = {"id": "D", "command": "put", "filename": "a/b", "mime_type": "image/png", "size": 0}
_TRANSFER_WIRE = {"id": "D", "command": "put", "filename": "a/b", "mimeType": "image/png", "size": 0}
_KEY = {"_type": "Store", "deviceId": "D", "key": "k"}
_TEMP: dict[str, Any] = {
    "namespace": "Embedthis/Device",
    "metric": "temp",
    "dimensions": {},
    "statistic": "avg",
    "period": 300,
}
_OF_DEVICE = _TEMP | {"dimensions": {"Device": "D"}, "id": "read-0"}

METHODS: dict[str, Method] = {
    "account/close": Method(
        lambda c, **o: c.account.close(**o),
        {"id": ACCOUNT},
        NOTHING,
        more={"another": Request(lambda c: c.account.close("I"), {"id": "I"})},
    ),
    "account/create": Method(
        lambda c, **o: c.account.create("a@b.c", "N", **o), {"email": "a@b.c", "name": "N"}, RECORD, NewAccount
    ),
    "account/find": Method(
        lambda c, **o: c.account.find(**o),
        {},
        PAGE,
        Account,
        {
            "with all": Request(
                lambda c: c.account.find(id="I", email="a@b.c", **_PAGING), {"id": "I", "email": "a@b.c"}, _PAGING_QUERY
            )
        },
    ),
    "account/get": Method(
        lambda c, **o: c.account.get(**o),
        {"id": ACCOUNT},
        FOUND,
        Account,
        {
            "by email": Request(lambda c: c.account.get(email="a@b.c"), {"email": "a@b.c"}),
            "with all": Request(
                lambda c: c.account.get("I", email="a@b.c", index="gs1"), {"id": "I", "email": "a@b.c"}, "index=gs1"
            ),
        },
    ),
    "account/updateIdentity": Method(
        lambda c, **o: c.account.update_identity(name="N", **o),
        {"id": ACCOUNT, "name": "N"},
        RECORD,
        Account,
        {
            "with all": Request(
                lambda c: c.account.update_identity("I", email="a@b.c", name="N"),
                {"id": "I", "email": "a@b.c", "name": "N"},
            ),
            "cleared": Request(
                lambda c: c.account.update_identity(email=None, name=OMIT), {"id": ACCOUNT, "email": None}
            ),
        },
    ),
    "action/find": Method(
        lambda c, **o: c.action.find("C", **o),
        {"cloudId": "C"},
        PAGE,
        Action,
        {
            "with all": Request(
                lambda c: c.action.find("C", type="metric", **_PAGING),
                {"cloudId": "C", "type": "metric"},
                _PAGING_QUERY,
            )
        },
    ),
    "action/get": Method(
        lambda c, **o: c.action.get("C", "metric", **o),
        {"cloudId": "C", "type": "metric"},
        FOUND,
        Action,
        {
            "with all": Request(
                lambda c: c.action.get("C", "metric", id="I"), {"cloudId": "C", "type": "metric", "id": "I"}
            )
        },
    ),
    "action/invoke": Method(
        lambda c, **o: c.action.invoke("Run", **o),
        {"name": "Run"},
        RECORD,
        ActionResult,
        {"by id": Request(lambda c: c.action.invoke(id="I", context={"a": [1]}), {"id": "I", "context": {"a": [1]}})},
    ),
    "alert/find": Method(
        lambda c, **o: c.alert.find(**o),
        _A,
        PAGE,
        Alert,
        {"with all": Request(lambda c: c.alert.find(**_PAGING), _A, _PAGING_QUERY)},
    ),
    "alert/get": Method(lambda c, **o: c.alert.get("I", **o), {"id": "I"} | _A, FOUND, Alert),
    "alert/remove": Method(lambda c, **o: c.alert.remove("I", **o), {"id": "I"} | _A, NOTHING),
    "alert/update": Method(
        lambda c, **o: c.alert.update("I", **o),
        {"id": "I"} | _A,
        RECORD,
        Alert,
        {
            "with all": Request(lambda c: c.alert.update("I", resolved=False), {"id": "I", "resolved": False} | _A),
            "cleared": Request(lambda c: c.alert.update("I", resolved=None), {"id": "I", "resolved": None} | _A),
            "left out": Request(lambda c: c.alert.update("I", resolved=OMIT), {"id": "I"} | _A),
        },
    ),
    "dashboard/create": Method(
        lambda c, **o: c.dashboard.create("N", **o),
        {"name": "N"} | _A,
        RECORD,
        Dashboard,
        {
            "with all": Request(lambda c: c.dashboard.create("N", **_LOOK), {"name": "N", **_LOOK_WIRE} | _A),
            "of records": Request(
                lambda c: c.dashboard.create(
                    "N",
                    range=Range(start=WHEN, override=True, extra={"mine": 1}),
                    widgets=(Widget(page_size=5, actions=[WidgetAction(type="url")], range=Range(period=1)), {"z": 1}),
                ),
                {
                    "name": "N",
                    "range": {"start": WHEN_ISO, "override": True, "mine": 1},
                    "widgets": [{"pageSize": 5, "actions": [{"type": "url"}], "range": {"period": 1}}, {"z": 1}],
                }
                | _A,
            ),
        },
    ),
    "dashboard/find": Method(lambda c, **o: c.dashboard.find(**o), _A, PAGE, Dashboard),
    "dashboard/get": Method(
        lambda c, **o: c.dashboard.get("I", **o),
        {"id": "I"} | _A,
        FOUND,
        Dashboard,
        {"by name": Request(lambda c: c.dashboard.get(name="N"), {"name": "N"} | _A)},
    ),
    "dashboard/remove": Method(lambda c, **o: c.dashboard.remove("I", **o), {"id": "I"} | _A, NOTHING),
    "dashboard/update": Method(
        lambda c, **o: c.dashboard.update("I", **o),
        {"id": "I"} | _A,
        RECORD,
        Dashboard,
        {
            "with all": Request(
                lambda c: c.dashboard.update("I", name="N", **_LOOK), {"id": "I", "name": "N", **_LOOK_WIRE} | _A
            ),
            "cleared": Request(
                lambda c: c.dashboard.update("I", name=None, **_cleared(_LOOK)),
                {"id": "I", "name": None, **dict.fromkeys(_LOOK_WIRE)} | _A,
            ),
            "left out": Request(lambda c: c.dashboard.update("I", name=OMIT, **_omitted(_LOOK)), {"id": "I"} | _A),
        },
    ),
    "device/claim": Method(lambda c, **o: c.device.claim("D", **o), {"id": "D"} | _A, RECORD, Device),
    "device/find": Method(
        lambda c, **o: c.device.find(**o),
        _A,
        PAGE,
        Device,
        {
            "with all": Request(
                lambda c: c.device.find(id="D", product_id="P", **_PAGING),
                {"id": "D", "productId": "P"} | _A,
                _PAGING_QUERY,
            )
        },
    ),
    "device/get": Method(lambda c, **o: c.device.get("D", **o), {"id": "D"} | _A, FOUND, Device),
    "device/getCreds": Method(lambda c, **o: c.device.get_creds(**o), {}, RECORD, Credentials),
    "device/getSignedUrl": Method(
        lambda c, **o: c.device.get_signed_url(**o),
        {},
        URL,
        more={"with all": Request(lambda c: c.device.get_signed_url(**_TRANSFER), _TRANSFER_WIRE)},
    ),
    "device/provision": Method(lambda c, **o: c.device.provision("D", **o), {"id": "D"}, RECORD, Certificates),
    "device/release": Method(lambda c, **o: c.device.release("D", **o), {"id": "D"} | _A, RECORD, Device),
    "device/remove": Method(lambda c, **o: c.device.remove("D", **o), {"id": "D"} | _A, RECORD, Device),
    "file/get": Method(lambda c, **o: c.file.get("a/b", **o), {"filename": "a/b"} | _A, FOUND),
    "file/getSignedUrl": Method(
        lambda c, **o: c.file.get_signed_url(**o),
        _A,
        URL,
        more={"with all": Request(lambda c: c.file.get_signed_url(**_TRANSFER), _TRANSFER_WIRE | _A)},
    ),
    "file/list": Method(
        lambda c, **o: c.file.list(**o),
        _A,
        PAGE,
        more={
            "with all": Request(
                lambda c: c.file.list(filters={"mimeType": "image/png"}), {"mimeType": "image/png"} | _A
            )
        },
    ),
    "file/put": Method(
        lambda c, **o: c.file.put("a/b", b"\x00\xff", **o),
        {"filename": "a/b", "data": "AP8="} | _A,
        RECORD,
        more={
            "with all": Request(
                lambda c: c.file.put("a/b", b"", mime_type="text/plain"),
                {"filename": "a/b", "mimeType": "text/plain", "data": ""} | _A,
            )
        },
        reply=b"",
    ),
    "file/remove": Method(lambda c, **o: c.file.remove("a/b", **o), {"filename": "a/b"} | _A, NOTHING),
    "generic/create": Method(
        lambda c, **o: c.generic.create("Store", **o),
        {"_type": "Store"} | _A,
        RECORD,
        Item,
        {"with all": Request(lambda c: c.generic.create("Store", {"key": "k"}, device_id="D"), _KEY | _A)},
    ),
    "generic/find": Method(
        lambda c, **o: c.generic.find("Store", **o),
        {"_type": "Store"} | _A,
        PAGE,
        more={
            "with all": Request(
                lambda c: c.generic.find("Store", {"key": "k"}, device_id="D", **_PAGING), _KEY | _A, _PAGING_QUERY
            )
        },
    ),
    "generic/get": Method(
        lambda c, **o: c.generic.get("Store", **o),
        {"_type": "Store"} | _A,
        FOUND,
        more={"with all": Request(lambda c: c.generic.get("Store", {"key": "k"}, device_id="D"), _KEY | _A)},
    ),
    "generic/remove": Method(
        lambda c, **o: c.generic.remove("Store", **o),
        {"_type": "Store"} | _A,
        NOTHING,
        more={"with all": Request(lambda c: c.generic.remove("Store", {"key": "k"}, device_id="D"), _KEY | _A)},
    ),
    "generic/update": Method(
        lambda c, **o: c.generic.update("Store", **o),
        {"_type": "Store"} | _A,
        RECORD,
        more={
            "with all": Request(
                lambda c: c.generic.update("Store", {"key": "k", "description": None}, device_id="D"),
                _KEY | {"description": None} | _A,
            )
        },
    ),
    "manager/get": Method(
        lambda c, **o: c.manager.get(**o),
        {},
        FOUND,
        Manager,
        {"another": Request(lambda c: c.manager.get("I"), {"id": "I"})},
    ),
    "manager/getSignedUrl": Method(
        lambda c, **o: c.manager.get_signed_url(**o),
        {},
        URL,
        more={
            "with all": Request(
                lambda c: c.manager.get_signed_url(clean=False, **_TRANSFER), {"clean": False, **_TRANSFER_WIRE}
            )
        },
    ),
    "manager/provision": Method(lambda c, **o: c.manager.provision("I", **o), {"id": "I"}, RECORD, Manager),
    "manager/update": Method(
        lambda c, **o: c.manager.update("I", **o),
        {"id": "I"},
        RECORD,
        Manager,
        {
            "with all": Request(lambda c: c.manager.update("I", **_MANAGER), {"id": "I", **_MANAGER_WIRE}),
            "cleared": Request(
                lambda c: c.manager.update("I", **_cleared(_MANAGER)), {"id": "I", **dict.fromkeys(_MANAGER_WIRE)}
            ),
            "left out": Request(lambda c: c.manager.update("I", **_omitted(_MANAGER)), {"id": "I"}),
        },
    ),
    "manager/updateDisplay": Method(
        lambda c, **o: c.manager.update_display("I", "{}", **o),
        {"id": "I", "display": "{}"},
        RECORD,
        Manager,
        {
            "with all": Request(
                lambda c: c.manager.update_display("I", "{}", cloud_id="C"),
                {"id": "I", "display": "{}", "cloudId": "C"},
            )
        },
    ),
    "metric/fetch": Method(
        lambda c, **o: c.metric.fetch("D", [MetricQuery("temp")], **o),
        {"deviceId": "D", "items": [_TEMP]} | _A,
        METRICS,
        Metric,
        {
            "with all": Request(
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
                | _A,
            ),
            "database": Request(
                lambda c: c.metric.fetch("D", iter([DatabaseQuery("Service", "value", limit=1)])),
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
                | _A,
            ),
        },
    ),
    "metric/getDeviceSchema": Method(
        lambda c, **o: c.metric.get_device_schema(**o),
        {},
        OBJECT,
        more={"with all": Request(lambda c: c.metric.get_device_schema(cloud_id="C"), {"cloudId": "C"})},
    ),
    "metric/getMetricList": Method(
        lambda c, **o: c.metric.get_metric_list("C", **o),
        {"cloudId": "C"},
        RECORD,
        MetricList,
        {
            "with all": Request(
                lambda c: c.metric.get_metric_list("C", namespace="N", metric="temp", model="Store", **_PAGING),
                {"cloudId": "C", "namespace": "N", "metric": "temp", "model": "Store"},
                _PAGING_QUERY,
            )
        },
    ),
    "metric.series": Method(
        lambda c, **o: c.metric.series("D", "temp", **o),
        {"deviceId": "D", "items": [_OF_DEVICE]} | _A,
        ANSWERS,
        operation="metric/fetch",
    ),
    "metric.value": Method(
        lambda c, **o: c.metric.value("D", "temp", **o),
        {"deviceId": "D", "items": [_OF_DEVICE | {"accumulate": True}]} | _A,
        ANSWERS,
        more={
            "with all": Request(
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
                | _A,
            )
        },
        operation="metric/fetch",
    ),
    "provision/checkin": Method(
        lambda c, **o: c.provision.checkin(**o),
        {},
        RECORD,
        UpdateOffer,
        {
            "with all": Request(
                lambda c: c.provision.checkin(id="D", product_id="P", test=True, properties={"pro": 1}),
                {"id": "D", "productId": "P", "test": True, "pro": 1},
            )
        },
    ),
    "provision/getCerts": Method(lambda c, **o: c.provision.get_certs("D", **o), {"id": "D"}, RECORD, Certificates),
    "provision/getCreds": Method(lambda c, **o: c.provision.get_creds(**o), {}, RECORD, Credentials),
    "provision/update": Method(
        lambda c, **o: c.provision.update("D", "P", "1.2.3", **o),
        {"id": "D", "product": "P", "version": "1.2.3"},
        RECORD,
        UpdateOffer,
        {
            "with all": Request(
                lambda c: c.provision.update("D", "P", "1.2.3", test=False, properties={"pro": "true", "model": None}),
                {"id": "D", "product": "P", "version": "1.2.3", "test": False, "pro": "true", "model": None},
            )
        },
    ),
    "provision/updateReport": Method(
        lambda c, **o: c.provision.update_report("D", "U", success=False, **o),
        {"id": "D", "update": "U", "success": False},
        NOTHING,
    ),
    "store.find": Method(
        lambda c, **o: c.store.find("D", **o),
        {"_type": "Store", "deviceId": "D"} | _A,
        PAGE,
        more={
            "with all": Request(
                lambda c: c.store.find("D", limit=5, next="N", prev="P"),
                {"_type": "Store", "deviceId": "D"} | _A,
                "limit=5&next=N&prev=P",
            )
        },
        operation="generic/find",
    ),
    "store.get": Method(
        lambda c, **o: c.store.get("D", "k", **o), _KEY | _A, FOUND, StoreItem, operation="generic/get"
    ),
    "store.remove": Method(
        lambda c, **o: c.store.remove("D", "k", **o), _KEY | _A, NOTHING, operation="generic/remove"
    ),
    "store.set": Method(
        lambda c, **o: c.store.set("D", "k", 1, **o),
        _KEY | {"value": 1, "type": "number"} | _A,
        RECORD,
        more={
            "with all": Request(
                lambda c: c.store.set("D", "k", {"a": 1}, type="string", expires=WHEN),
                _KEY | {"value": {"a": 1}, "type": "string", "expires": WHEN_MS} | _A,
                "exists=",
            ),
            "that never goes away": Request(
                lambda c: c.store.set("D", "k", 1, expires=None),
                _KEY | {"value": 1, "type": "number", "expires": None} | _A,
                "exists=",
            ),
        },
        query="exists=",
        operation="generic/update",
    ),
    "test/ping": Method(lambda c, **o: c.test.ping(**o), {}, TEXT),
    "user/create": Method(
        lambda c, **o: c.user.create("a@b.c", "user", **o),
        {"email": "a@b.c", "role": "user"} | _A,
        RECORD,
        User,
        {
            "with all": Request(
                lambda c: c.user.create("a@b.c", "owner", send_invite=True),
                {"email": "a@b.c", "role": "owner", "sendInvite": True} | _A,
            )
        },
    ),
    "user/find": Method(
        lambda c, **o: c.user.find(**o),
        _A,
        PAGE,
        User,
        {"with all": Request(lambda c: c.user.find(id="I", email="a@b.c"), {"id": "I", "email": "a@b.c"} | _A)},
    ),
    "user/get": Method(
        lambda c, **o: c.user.get(**o),
        _A,
        FOUND,
        User,
        {"with all": Request(lambda c: c.user.get("I", email="a@b.c"), {"id": "I", "email": "a@b.c"} | _A)},
    ),
    "user/getRoles": Method(lambda c, **o: c.user.get_roles(**o), {}, OBJECT),
    "user/login": Method(
        lambda c, **o: c.user.login(**o),
        {},
        RECORD,
        Login,
        {
            "with all": Request(
                lambda c: c.user.login(invite="K", register=True, social=False),
                {"invite": "K", "register": True, "social": False},
            )
        },
        reply=b"{}",
    ),
    "user/remove": Method(
        lambda c, **o: c.user.remove("I", **o),
        {"id": "I"} | _A,
        NOTHING,
        more={"by address": Request(lambda c: c.user.remove(email="a@b.c"), {"email": "a@b.c"} | _A)},
    ),
    "user/update": Method(
        lambda c, **o: c.user.update("I", **o),
        {"id": "I"} | _A,
        RECORD,
        User,
        {
            "of the caller": Request(lambda c: c.user.update(first="F"), {"first": "F"} | _A),
            "cleared": Request(
                lambda c: c.user.update("I", email=None, first=None, last=None, preferences=None),
                {"id": "I", "email": None, "first": None, "last": None, "preferences": None} | _A,
            ),
            "left out": Request(
                lambda c: c.user.update("I", email=OMIT, first=OMIT, last=OMIT, preferences=OMIT), {"id": "I"} | _A
            ),
            "with all": Request(
                lambda c: c.user.update("I", email="a@b.c", first="F", last="L", preferences={"a": {"b": [None]}}),
                {"id": "I", "email": "a@b.c", "first": "F", "last": "L", "preferences": {"a": {"b": [None]}}} | _A,
            ),
        },
    ),
    "user/updateRole": Method(
        lambda c, **o: c.user.update_role("I", "admin", **o),
        {"id": "I", "role": "admin"} | _A,
        RECORD,
        User,
        {
            "with all": Request(
                lambda c: c.user.update_role("I", "admin", send_invite=True),
                {"id": "I", "role": "admin", "sendInvite": True} | _A,
            )
        },
    ),
    "builder:device/claim": Method(
        lambda c, **o: c.builder.device.claim("D", "T", "A", **o),
        {"id": "D", "cloudToken": "T", "accountId": "A"},
        RECORD,
        BuilderDevice,
        {
            "with all": Request(
                lambda c: c.builder.device.claim("D", "T", "A", test=True),
                {"id": "D", "cloudToken": "T", "accountId": "A", "test": True},
            )
        },
    ),
    "builder:device/find": Method(
        lambda c, **o: c.builder.device.find(**o),
        {},
        PAGE,
        BuilderDevice,
        {
            "with all": Request(
                lambda c: c.builder.device.find(id="D", cloud_id="C", product_id="P", limit=5, next="N", prev="P"),
                {"id": "D", "cloudId": "C", "productId": "P"},
                "limit=5&next=N&prev=P",
            )
        },
    ),
    "builder:device/get": Method(lambda c, **o: c.builder.device.get("D", **o), {"id": "D"}, FOUND, BuilderDevice),
    "builder:device/lookup": Method(
        lambda c, **o: c.builder.device.lookup("P", **o), {"product": "P"}, FOUND, BuilderProduct
    ),
    "builder:device/register": Method(
        lambda c, **o: c.builder.device.register("D", "P", **o),
        {"id": "D", "product": "P"},
        RECORD,
        Registration,
        {
            "with all": Request(
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
            )
        },
    ),
    "builder:device/release": Method(lambda c, **o: c.builder.device.release("D", **o), {"id": "D"}, NOTHING),
    "builder:device/remove": Method(lambda c, **o: c.builder.device.remove("D", **o), {"id": "D"}, NOTHING),
    "builder:device/removeAll": Method(
        lambda c, **o: c.builder.device.remove_all("P", **o), {"productId": "P"}, NUMBER
    ),
    "builder:metric/fetch": Method(
        lambda c, **o: c.builder.metric.fetch([MetricQuery("m")], **o),
        {"items": [_TEMP | {"metric": "m"}]},
        METRICS,
        Metric,
        {
            "of both sorts": Request(
                lambda c: c.builder.metric.fetch(
                    [MetricQuery("m", namespace="Embedthis/Cloud"), DatabaseQuery("M", "f")]
                ),
                {
                    "items": [
                        _TEMP | {"namespace": "Embedthis/Cloud", "metric": "m"},
                        {"namespace": "Database", "model": "M", "field": "f", "dimensions": {}, "statistic": "current"},
                    ]
                },
            )
        },
    ),
    "builder:test/echo": Method(
        lambda c, **o: c.builder.test.echo(**o),
        {},
        OBJECT,
        more={"with all": Request(lambda c: c.builder.test.echo({"a": [None]}), {"a": [None]})},
        reply=b"{}",
    ),
    "builder:test/empty": Method(
        lambda c, **o: c.builder.test.empty(**o),
        {},
        NOTHING,
        more={"with all": Request(lambda c: c.builder.test.empty({"a": 1}), {"a": 1})},
    ),
    "builder:test/exception": Method(lambda c, **o: c.builder.test.exception(**o), {}, NOTHING),
    "builder:test/success": Method(lambda c, **o: c.builder.test.success(**o), {}, NOTHING),
}

COMPOSED: dict[str, set[str]] = {
    "device.download": {"device/getSignedUrl"},
    "device.upload": {"device/getSignedUrl"},
    "file.download": {"file/getSignedUrl"},
    "file.upload": {"file/getSignedUrl"},
    "manager.download": {"manager/getSignedUrl"},
    "manager.upload": {"manager/getSignedUrl"},
    "metric.fetch_many": {"metric/fetch"},
    "metric.walk": {"metric/getMetricList"},
    "metric.writer": {"action/invoke", "generic/update"},
    "provision.fetch_update": {"provision/update", "provision/updateReport"},
    **{name: {method.operation} for name, method in METHODS.items() if method.operation},
}
"""Methods that are made of documented operations, and of which."""


@attrs.frozen
class MethodCall:
    """One call of a method."""

    name: str
    key: str = attrs.field(repr=False)
    """The row of `METHODS`."""
    call: Callable[[IotoClient], Awaitable[Any]] = attrs.field(repr=False)
    body: dict[str, Any] = attrs.field(repr=False)
    query: str = attrs.field(repr=False)
    reply: bytes = attrs.field(repr=False)

    @property
    def target(self) -> str:
        """Where the call goes below the base URL, when nothing authenticates it by a token."""
        name = METHODS[self.key].operation or ROWS[self.key].name
        return f"{name}?{self.query}" if self.query else name


def _calls() -> Iterator[MethodCall]:
    for key, method in METHODS.items():
        yield MethodCall(key, key, method.call, method.body, method.query, method.reply)
        for name, request in method.more.items():
            yield MethodCall(f"{key}, {name}", key, request.call, request.body, request.query, method.reply)


CALLS = [*_calls()]
"""Every call of the table."""
CLOUD_CALLS = [made for made in CALLS if not made.key.startswith("builder:")]
BUILDER_CALLS = [made for made in CALLS if made.key.startswith("builder:")]
