"""The one table of operations: controllers, retries and the embedded cloud all read it. Pure data.

Source: API reference, sections 11 and 12. A field is written ``name[!][@role][:type]``: ``!`` for required,
``@role`` for a field that only callers of that role may send, the type where it is not a string. ``*`` says that
the body is open: any other member may travel beside the named ones.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial
from types import MappingProxyType, MethodType
from typing import Final, Literal

import attrs

__all__ = ["BUILDER", "IOTO", "MQTT", "OPERATION", "Field", "Kind", "Operation", "Reply", "operation_of"]


class Kind(Enum):
    """What a second delivery of the same request would do; decides which failures are retried."""

    READ = "read"
    """Changes nothing."""
    REPLAYABLE = "replayable"
    """Sets a state that a second delivery sets again: by key, by claim ID, to a value."""
    ONCE = "once"
    """Adds, triggers or counts something, so that a second delivery would do it twice."""


class Reply(Enum):
    """What the body of a successful reply holds."""

    RECORD = "record"
    PAGED = "paged"
    OBJECT = "object"
    STRING = "string"
    NONE = "none"


@attrs.frozen
class Field:
    """One documented member of a body or a query string, named as on the wire."""

    name: str
    type: Literal["string", "base64", "number", "count", "boolean", "object", "array", "cursor", "any"] = "string"
    required: bool = False
    role: str | None = None


def _fields(text: str) -> tuple[Field, ...]:
    fields = []
    for word in text.split():
        head, _, type_ = word.partition(":")
        head, _, role = head.partition("@")
        fields.append(Field(head.rstrip("!"), type_ or "string", head.endswith("!"), role or None))  # type: ignore[arg-type]
    return tuple(fields)


@attrs.frozen(eq=False)
class Operation:
    """One endpoint.

    Attributes:
        name: ``controller/action``, which is also the path behind the base URL and the ``/tok`` prefix.
        role: the role or capability that the caller needs.
        kind: whether a request may be sent again.
        reply: the shape of a successful reply.
        body: the documented body members.
        query: the documented members of the query string.
        open: whether members beyond ``body`` may be sent.
        tok: whether a token puts ``/tok`` in front of the path; false for ``device/register`` alone.
        instead: what to call in place of an operation that is legacy, or that has no HTTP form; else empty.
    """

    name: str
    role: str
    kind: Kind
    reply: Reply
    body: tuple[Field, ...]
    query: tuple[Field, ...]
    open: bool
    tok: bool
    instead: str


READ, REPLAYABLE, ONCE = Kind
RECORD, PAGED, OBJECT, STRING, NONE = Reply

# A cursor is documented as an object in queries and as a string in replies.
_PAGING: Final = "index@owner limit:count next:cursor prev:cursor"


def _row(
    name: str,
    role: str,
    kind: Kind,
    reply: Reply,
    body: str = "",
    query: str = "",
    *,
    tok: bool = True,
    instead: str = "",
) -> Operation:
    members = body.split()
    open_ = "*" in members
    return Operation(
        name,
        role,
        kind,
        reply,
        _fields(" ".join(member for member in members if member != "*")),
        _fields(query),
        open_,
        tok,
        instead,
    )


def _table(*rows: Operation) -> MappingProxyType[str, Operation]:
    return MappingProxyType({row.name: row for row in rows})


# With an owner's token most calls name their account (reference, section 3). Where the documented tables leave
# ``accountId@owner`` out (claim, release, alerts, dashboards, users, file/put), it is inferred from that.
_DASHBOARD: Final = (
    "css:array emulate fixed:boolean framed:boolean layout live:boolean range:object refresh:number toolbar:boolean"
    " type widgets:array widgetCss:array accountId@owner"
)
_TRANSFER: Final = "id command filename mimeType size:number"
_MANAGER: Final = (
    "cloudId custom:boolean domain id name owner priorDomain region title users:array version versionCurrent"
)
_ITEM: Final = "_type! deviceId accountId@owner *"

IOTO: Final = _table(
    _row("account/close", "admin", ONCE, NONE, "id@owner"),
    _row("account/create", "user", ONCE, OBJECT, "email! name!", instead="user/login, which makes the account"),
    _row("account/find", "admin", READ, PAGED, "id@admin email@admin", _PAGING),
    _row("account/get", "user", READ, RECORD, "id@owner email@owner", "index@owner"),
    _row("account/updateIdentity", "admin", REPLAYABLE, RECORD, "id@owner email name"),
    _row("action/find", "user", READ, PAGED, "cloudId! type", _PAGING),
    _row("action/get", "admin", READ, RECORD, "cloudId! type! id"),
    _row("action/invoke", "user", ONCE, OBJECT, "id name context:object"),
    _row("alert/find", "user", READ, PAGED, "accountId@owner", _PAGING),
    _row("alert/get", "admin", READ, RECORD, "id accountId@owner"),
    _row("alert/remove", "admin", REPLAYABLE, NONE, "id accountId@owner"),
    _row("alert/update", "admin", REPLAYABLE, RECORD, "id resolved:boolean accountId@owner"),
    _row("dashboard/create", "user", ONCE, RECORD, f"name! {_DASHBOARD}", _PAGING),
    _row("dashboard/find", "user", READ, PAGED, "accountId@owner"),
    _row("dashboard/get", "user", READ, RECORD, "id name accountId@owner"),
    _row("dashboard/remove", "user", REPLAYABLE, NONE, "id accountId@owner"),
    _row("dashboard/update", "user", REPLAYABLE, RECORD, f"id! name {_DASHBOARD}", _PAGING),
    # Claim and release are documented as not idempotent, but set the state of one claim ID: a second delivery is
    # refused or changes nothing.
    _row("device/claim", "claimDevice", REPLAYABLE, RECORD, "id! accountId@owner"),
    _row("device/find", "user", READ, PAGED, "id accountId@owner productId", _PAGING),
    _row("device/get", "user", READ, RECORD, "id! accountId@owner"),
    _row("device/getCreds", "device", READ, OBJECT),
    _row("device/getSignedUrl", "device", READ, STRING, _TRANSFER),
    # The device agent repeats device/provision until it is answered, and it is documented as idempotent.
    _row("device/provision", "device", REPLAYABLE, OBJECT, "id!"),
    _row("device/release", "releaseDevice", REPLAYABLE, RECORD, "id! accountId@owner"),
    _row("device/remove", "user", REPLAYABLE, RECORD, "id! accountId@owner", instead="device/release"),
    _row("file/get", "view", READ, OBJECT, "filename! accountId"),
    _row("file/getSignedUrl", "view", READ, STRING, f"accountId {_TRANSFER}"),
    _row("file/list", "view", READ, PAGED, "*"),
    _row("file/put", "edit", REPLAYABLE, OBJECT, "filename mimeType data:base64 accountId@owner"),
    _row("file/remove", "view", REPLAYABLE, NONE, "*"),
    _row("generic/create", "user", ONCE, RECORD, _ITEM, "exists:any"),
    _row("generic/find", "user", READ, PAGED, _ITEM, _PAGING),
    _row("generic/get", "user", READ, RECORD, _ITEM),
    _row("generic/remove", "user", REPLAYABLE, NONE, _ITEM),
    _row("generic/update", "user", REPLAYABLE, RECORD, _ITEM, "exists:any"),
    _row("manager/get", "admin", READ, RECORD, "id"),
    # It deletes the old files if told to (``clean``).
    _row("manager/getSignedUrl", "admin", REPLAYABLE, STRING, f"clean:boolean {_TRANSFER}"),
    _row("manager/provision", "admin", REPLAYABLE, RECORD, "id!"),
    _row("manager/update", "admin", REPLAYABLE, RECORD, _MANAGER),
    _row("manager/updateDisplay", "admin", REPLAYABLE, RECORD, "cloudId display id"),
    _row("metric/fetch", "user", READ, PAGED, "items!:array deviceId! accountId@owner"),
    _row("metric/getDeviceSchema", "user", READ, OBJECT, "cloudId"),
    _row("metric/getMetricList", "user", READ, OBJECT, "cloudId!@owner namespace metric model", _PAGING),
    _row("provision/checkin", "device", READ, OBJECT, "id productId test:boolean *", instead="provision/update"),
    _row("provision/getCerts", "device", REPLAYABLE, OBJECT, "id!"),
    _row("provision/getCreds", "device", READ, OBJECT, instead="device/getCreds"),
    _row("provision/update", "upgrade", READ, OBJECT, "id! product! version! test:boolean *"),
    _row("provision/updateReport", "upgrade", ONCE, NONE, "id! update! success!:boolean"),
    _row("test/ping", "public", READ, STRING),
    _row("user/create", "admin", ONCE, RECORD, "email! role! sendInvite:boolean accountId@owner"),
    _row("user/find", "user", READ, PAGED, "email@admin id@admin accountId@owner"),
    _row("user/get", "user", READ, RECORD, "email@admin id@admin accountId@owner"),
    _row("user/getRoles", "admin", READ, OBJECT),
    _row("user/login", "public", REPLAYABLE, OBJECT, "invite register:boolean social:boolean"),
    _row("user/remove", "admin", REPLAYABLE, NONE, "email id accountId@owner"),
    _row("user/update", "user", REPLAYABLE, RECORD, "email first id last preferences:object accountId@owner"),
    _row("user/updateRole", "admin", REPLAYABLE, RECORD, "id role@admin sendInvite:boolean accountId@owner"),
)
"""The operations of a device cloud, by name."""

BUILDER: Final = _table(
    _row(
        "device/claim",
        "user",
        REPLAYABLE,
        RECORD,
        "id! cloudToken! accountId! test:boolean",
        instead="device/claim of the device cloud",
    ),
    _row("device/find", "user", READ, PAGED, "id cloudId productId", "limit:count next:cursor prev:cursor"),
    _row("device/get", "user", READ, RECORD, "id!"),
    _row("device/lookup", "user", READ, RECORD, "product!"),
    _row("device/register", "public", REPLAYABLE, OBJECT, "id! product! account cloud test:boolean *", tok=False),
    _row("device/release", "user", REPLAYABLE, NONE, "id!"),
    _row("device/remove", "admin", REPLAYABLE, NONE, "id!"),
    _row("device/removeAll", "owner", ONCE, OBJECT, "productId!"),
    _row("metric/fetch", "user", READ, PAGED, "items!:array"),
    _row("test/echo", "public", READ, NONE, "*"),
    _row("test/empty", "public", READ, NONE, "*"),
    _row("test/exception", "public", READ, NONE),
    _row("test/success", "public", READ, NONE),
)
"""The operations of the Builder, by name; their paths begin behind the ``/api`` of its base URL."""

MQTT: Final = _table(
    _row(
        "metric/get",
        "device",
        READ,
        OBJECT,
        "metric dimensions:object period:number statistic",
        instead="metric/fetch, or DeviceLink.get_metric as a device",
    ),
    _row(
        "metric/set",
        "device",
        ONCE,
        NONE,
        "metric value:number dimensions:array buffer:object",
        instead="metric.writer, or DeviceLink.set_metric as a device",
    ),
    _row("store/get", "device", READ, RECORD, "key", instead="generic/get on the model Store"),
    _row(
        "store/set",
        "device",
        REPLAYABLE,
        NONE,
        "key expires:number value:any type",
        instead="generic/update on the model Store",
    ),
)
"""The operations that devices call over MQTT, by name; they have no HTTP form (reference, section 10)."""

OPERATION: Final = "operation"
"""The attribute in which a controller's method carries its operation; None where it is made of several."""


def operation_of(call: Callable[..., object]) -> Operation | None:
    """The operation of a controller's bound method, `functools.partial` included; None for anything else."""
    while isinstance(call, partial):
        call = call.func
    return getattr(call, OPERATION, None) if isinstance(call, MethodType) else None
