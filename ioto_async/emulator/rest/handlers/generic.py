"""The ``generic`` controller of a device cloud (reference, section 11)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ...request import Call, Refused
from ...state.account_writer import AccountWriter
from ...state.cloud import Cloud
from ...state.models import Models
from ...state.schema import milliseconds
from ..scope import identified, scope

_EXISTS: Final[Mapping[str, bool | None]] = MappingProxyType({"": None, "null": None, "true": True, "false": False})


_KEY: Final = ("accountId", "deviceId", "id")


def _account(cloud: Cloud, members: Mapping[str, Any]) -> AccountWriter:
    # A model whose key names no account may be written without one; its samples then are the cloud's own.
    return AccountWriter(cloud, members.get("accountId") or cloud.account_id)


def _exists(cloud: Cloud, call: Call, default: bool | None) -> bool | None:
    """Read the option ``exists``; the vendor's ``?exists`` without a value means null (reference, section 5)."""
    if "exists" not in call.query:
        return default
    text = call.query["exists"]
    if text == "" and cloud.otherwise("A57"):
        return default
    if text not in _EXISTS or (text == "null" and cloud.otherwise("A58")):
        raise Refused(f'Bad value for "exists": {text}')
    return _EXISTS[text]


def _models(cloud: Cloud, call: Call) -> Models:
    return cloud.models.for_roles(call.caller.roles)


def _asked(cloud: Cloud, call: Call) -> tuple[str, dict[str, Any]]:
    model: str = call.body["_type"]
    return model, identified(model, scope(cloud, call))


def _written(cloud: Cloud, call: Call) -> tuple[str, dict[str, Any]]:
    if call.body["_type"] == "Metric":
        raise Refused('Model "Metric" is written by the cloud alone')
    model, members = _asked(cloud, call)
    for name, field in cloud.models.schema["models"].get(model, {}).items():
        if cloud.otherwise("A62") and field.get("readonly") and name not in _KEY:
            members.pop(name, None)
        if cloud.otherwise("A64") and field["type"] == "string" and isinstance(members.get(name), int):
            members[name] = str(members[name])
    return model, members


def _shown(cloud: Cloud, members: Mapping[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """Return the *record* of an item as this cloud shows it to who sent *members*."""
    if cloud.otherwise("A65") and record:
        record = {**members, **record}
    if cloud.otherwise("A33") and record:
        record = {**dict.fromkeys(cloud.models.schema["models"][record["_type"]]), **record}
    if cloud.otherwise("A32") and "expires" in record:
        record["expires"] = milliseconds(record["expires"]) // 1000
    return record


def create(cloud: Cloud, call: Call) -> object:
    """Write a new item; ``exists`` says otherwise. Returns its record."""
    model, members = _written(cloud, call)
    record = _models(cloud, call).create(
        model, members, _exists(cloud, call, None if cloud.otherwise("A60") else False)
    )
    _account(cloud, members).measure(model, members, record)
    if cloud.otherwise("A63"):
        record = {**record, "created": record["updated"]}
    return _shown(cloud, members, record)


def find(cloud: Cloud, call: Call) -> object:
    """List the items that match the body's members, 100 a page unless ``limit`` says otherwise."""
    return _models(cloud, call).find(*_asked(cloud, call), call.query)


def get(cloud: Cloud, call: Call) -> object:
    """Return the item that the body's members identify."""
    # What the service answers for no match is not documented; an empty object is a record of nothing.
    model, members = _asked(cloud, call)
    if cloud.otherwise("A61"):
        found = _models(cloud, call).find(model, members, {"limit": "1"})["data"]
        return _shown(cloud, members, found[0]) if found else {}
    return _shown(cloud, members, _models(cloud, call).get(model, members) or {})


def remove(cloud: Cloud, call: Call) -> object:
    """Remove an item by its whole key; none there is fine unless ``exists`` is true."""
    _models(cloud, call).remove(*_written(cloud, call), _exists(cloud, call, None))
    return None


def update(cloud: Cloud, call: Call) -> object:
    """Set members of an item that is there; ``exists`` says otherwise. Returns its record."""
    model, members = _written(cloud, call)
    record = _models(cloud, call).update(model, members, _exists(cloud, call, None if cloud.otherwise("A59") else True))
    _account(cloud, members).measure(model, members, record)
    return _shown(cloud, members, record)
