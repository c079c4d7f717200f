"""The one table of operations: controllers, retries and the embedded cloud all read it. Pure data.

Source: API reference, sections 11 and 12. A field is written ``name[!][@role][:type]``: ``!`` for required,
``@role`` for a field that only callers of that role may send, the type where it is not a string. ``*`` says that
the body is open: any other member may travel beside the named ones.
"""

from enum import Enum
from types import MappingProxyType
from typing import Final, Literal

import attrs

__all__ = ["BUILDER", "IOTO", "Field", "Kind", "Operation", "Reply"]


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
    type: Literal["string", "number", "count", "boolean", "object", "array", "cursor", "any"] = "string"
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
    """

    name: str
    role: str
    kind: Kind
    reply: Reply
    body: tuple[Field, ...]
    query: tuple[Field, ...]
    open: bool
    tok: bool


READ, REPLAYABLE, ONCE = Kind
RECORD, PAGED, OBJECT, STRING, NONE = Reply

# A cursor is documented as an object in queries and as a string in replies.
_PAGING: Final = "index@owner limit:count next:cursor prev:cursor"


def _row(
    name: str, role: str, kind: Kind, reply: Reply, body: str = "", query: str = "", *, tok: bool = True
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
    )


def _table(*rows: Operation) -> MappingProxyType[str, Operation]:
    return MappingProxyType({row.name: row for row in rows})


IOTO: Final = _table(
    _row("action/find", "user", READ, PAGED, "cloudId! type", _PAGING),
    _row("action/get", "admin", READ, RECORD, "cloudId! type! id"),
    _row("action/invoke", "user", ONCE, OBJECT, "id name context:object"),
    # Claim and release are documented as not idempotent, but set the state of one claim ID: a second delivery is
    # refused or changes nothing. Their accountId is not in the documented tables either; a CloudAPI token names its
    # account in most calls (reference, section 3).
    _row("device/claim", "claimDevice", REPLAYABLE, RECORD, "id! accountId@owner"),
    _row("device/find", "user", READ, PAGED, "id accountId@owner productId", _PAGING),
    _row("device/get", "user", READ, RECORD, "id! accountId@owner"),
    _row("device/getCreds", "device", READ, OBJECT),
    _row("device/getSignedUrl", "device", READ, STRING, "id command filename mimeType size:number"),
    # The device agent repeats device/provision until it is answered, and it is documented as idempotent.
    _row("device/provision", "device", REPLAYABLE, OBJECT, "id!"),
    _row("device/release", "releaseDevice", REPLAYABLE, RECORD, "id! accountId@owner"),
    _row("generic/create", "user", ONCE, RECORD, "_type! deviceId accountId@owner *", "exists:any"),
    _row("generic/find", "user", READ, PAGED, "_type! deviceId accountId@owner *", _PAGING),
    _row("generic/get", "user", READ, RECORD, "_type! deviceId accountId@owner *"),
    _row("generic/remove", "user", REPLAYABLE, NONE, "_type! deviceId accountId@owner *"),
    _row("generic/update", "user", REPLAYABLE, RECORD, "_type! deviceId accountId@owner *", "exists:any"),
    _row("metric/fetch", "user", READ, PAGED, "items!:array deviceId! accountId@owner"),
    _row("metric/getDeviceSchema", "user", READ, OBJECT, "cloudId"),
    _row("metric/getMetricList", "user", READ, OBJECT, "cloudId!@owner namespace metric model", _PAGING),
    _row("provision/getCerts", "device", REPLAYABLE, OBJECT, "id!"),
    _row("provision/update", "upgrade", READ, OBJECT, "id! product! version! test:boolean *"),
    _row("provision/updateReport", "upgrade", ONCE, NONE, "id! update! success!:boolean"),
    _row("test/ping", "public", READ, STRING),
)
"""The operations of a device cloud, by name."""

BUILDER: Final = _table(
    _row(
        "device/register",
        "public",
        REPLAYABLE,
        OBJECT,
        "id! product! account cloud test:boolean *",
        tok=False,
    ),
)
"""The operations of the Builder, by name; their paths begin behind the ``/api`` of its base URL."""
