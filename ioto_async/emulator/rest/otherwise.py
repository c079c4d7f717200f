"""What requests and replies of a cloud look like that does not keep to the assumptions on all of them."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from ...operations import Field, Operation, Reply
from .. import wire
from ..request import AUTHENTICATION_FAILED, CANNOT_FIND_DEVICE, Refused
from ..state.cloud import Cloud

__all__ = ["check_request", "refusal", "reshaped"]

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_CURSORS: Final = ("next", "prev")


def check_request(
    cloud: Cloud, operation: Operation, body: bytes, members: Mapping[str, Any], query: dict[str, str]
) -> None:
    """Refuse what this cloud does not take, and change *query* to what it makes of it."""
    if cloud.otherwise("A7") and not body:
        raise Refused("Body is not valid JSON")
    if cloud.otherwise("A5") and not operation.open:
        _check_known(operation.body, members)
    if cloud.otherwise("A6"):
        _check_known(operation.query, query)
    if operation.reply is Reply.PAGED:
        if cloud.otherwise("A26"):
            query.pop("limit", None)
        if cloud.otherwise("A25"):
            query.setdefault("limit", "1")


def _check_known(fields: tuple[Field, ...], members: Mapping[str, Any]) -> None:
    for name in members.keys() - {field.name for field in fields}:
        raise Refused(f"Unknown member {name}")


def reshaped(cloud: Cloud, operation: Operation, query: Mapping[str, str], reply: object) -> object:
    """Return the *reply* as this cloud sends it."""
    if operation.reply is Reply.RECORD and isinstance(reply, dict):
        if cloud.otherwise("A20") and not reply:
            raise Refused("Cannot find item", 404)
        if cloud.otherwise("A19"):
            reply = {"data": reply}
    elif operation.reply is Reply.PAGED and isinstance(reply, dict) and isinstance(reply.get("data"), list):
        reply = _page(cloud, query, reply)
    return _numbered(reply) if cloud.otherwise("A31") else reply


def _page(cloud: Cloud, query: Mapping[str, str], page: dict[str, Any]) -> object:
    if cloud.otherwise("A28") and page["data"] and not any(query.get(name) for name in _CURSORS):
        page["prev"] = page.get("next") or wire.dumps({"id": ""}).decode()
    if cloud.otherwise("A27"):
        page |= {name: orjson.loads(page[name]) for name in _CURSORS if name in page}
    if cloud.otherwise("A29"):
        page.setdefault("next", None)
    return page["data"] if cloud.otherwise("A18") else page


def _numbered(value: Any) -> Any:
    """Return JSON with epoch milliseconds for dates."""
    if isinstance(value, dict):
        return {name: _numbered(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_numbered(member) for member in value]
    if isinstance(value, str) and _DATE.fullmatch(value):
        return round(datetime.fromisoformat(value).timestamp() * 1000)
    return value


def refusal(cloud: Cloud, refused: Refused) -> Refused:
    """Return what this cloud says where another one says *refused*."""
    status, message = refused.status, refused.message
    if message == AUTHENTICATION_FAILED:
        status = 401 if cloud.otherwise("A11") else status
        message = "Forbidden" if cloud.otherwise("A12") else message
    if message == CANNOT_FIND_DEVICE and cloud.otherwise("A17"):
        message = "No such device"
    if status == 400 and cloud.otherwise("A9"):
        status = 422
    return Refused(message, status)
