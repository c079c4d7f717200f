"""The documented database models, and what a model says of its members."""

import copy
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs
import orjson

from ..request import Refused
from ..wire import iso, new_ulid

__all__ = ["TYPES", "Model", "device_schema", "milliseconds"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARIABLE = re.compile(r"\$\{(.*?)\}")


def _model(pk: str, sk: str, members: str, **more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Spell out a model; a member is ``name[!][=][:type]``, with ``!`` for required and ``=`` for read-only."""
    fields: dict[str, dict[str, Any]] = {
        "pk": {"type": "string", "value": pk, "hidden": True},
        "sk": {"type": "string", "value": sk, "hidden": True},
    }
    for member in f"{members} updated=:date".split():
        head, _, type_ = member.partition(":")
        name = head.rstrip("!=")
        field: dict[str, Any] = {"type": type_ or "string"}
        if type_ == "ulid":
            field = {"type": "string", "generate": "ulid"}
        elif type_ == "ttl":
            field = {"type": "date", "ttl": True}
        if "!" in head:
            field["required"] = True
        # OneTable knows no read-only members; how the service marks them is not documented.
        if "=" in head:
            field["readonly"] = True
        fields[name] = field | more.get(name, {})
    fields["_source"] = {"type": "string", "hidden": True}
    return fields


_SCHEMA: dict[str, Any] = {
    "format": "onetable:1.1.0",
    "name": "Current",
    "version": "0.0.1",
    "indexes": {
        "primary": {"hash": "pk", "sort": "sk"},
        "gs1": {"hash": "gs1pk", "sort": "gs1sk", "project": "all"},
    },
    "params": {
        "createdField": "created",
        "isoDates": True,
        "nulls": False,
        "separator": "#",
        "timestamps": "update",
        "typeField": "_type",
        "updatedField": "updated",
    },
    "queries": {},
    # SyncState is not here: it lives on devices alone, and has no partition key (reference, section 8).
    "models": {
        "Store": _model(
            "s#${accountId}#${deviceId}",
            "s#${key}",
            "accountId!= deviceId!= key! value!:object type! role created=:date expires:ttl",
        ),
        "Device": _model(
            "d#${accountId}",
            "d#${id}",
            "accountId= id!= connection created:date description model name product state test:boolean",
            connection={"enum": ["online", "offline"]},
        ),
        "Command": _model(
            "command#",
            "command#${accountId}#${deviceId}#${id}",
            "accountId!= deviceId!= id:ulid command! args!:object description created=:date expires:ttl",
            args={"default": {}},
        ),
        "Log": _model(
            "l#${accountId}#${deviceId}",
            "l#${id}",
            "accountId!= deviceId!= id:ulid message context:object created=:date expires:ttl",
            context={"default": {}},
        ),
        "Broadcast": _model(
            "bcast#${accountId}#${deviceId}",
            "bcast#${key}",
            "accountId!= deviceId!= key! value!:object type! created=:date expires:ttl",
        ),
        "Pin": _model(
            "pin#${accountId}#${deviceId}",
            "pin#${name}",
            "accountId!= deviceId!= name! value:object description",
        ),
        # One item in the whole cloud: its documented key names no account and no device.
        "Service": _model("service#", "service#", "value:number"),
        "Settings": _model(
            "settings#${accountId}#${deviceId}",
            "settings#",
            "accountId! deviceId! name address phone enabled:boolean comments selection volume:number"
            " power:boolean expires:ttl",
        ),
        "Metric": _model(
            "metric#${version}#${owner}",
            "metric#${namespace}#${metric}#${dimensions}",
            "namespace! metric! dimensions! owner! version:number spans!:array seq:number expires:ttl",
            version={"default": 1},
            seq={"default": 0},
        ),
    },
    "process": {
        "Store": {"enable": "both", "sync": "up"},
        "Device": {"enable": "both", "sync": "up"},
        "Command": {"enable": "both", "sync": "down"},
        "Log": {"enable": "both", "sync": "up"},
        "Broadcast": {"enable": "both", "sync": "down"},
        "Pin": {"enable": "both", "sync": "both"},
        "Service": {
            "enable": "both",
            "sync": "up",
            "metrics": [
                {
                    "namespace": "Embedthis/Device",
                    "fields": ["value"],
                    "dimensions": [{}, {"Device": "deviceId"}],
                }
            ],
        },
        "Settings": {"enable": "both", "sync": "up"},
        "Metric": {"enable": "cloud"},
    },
}

_SCHEMA_JSON: Final = orjson.dumps(_SCHEMA)


def device_schema() -> dict[str, Any]:
    """Return a copy of the schema that ``metric/getDeviceSchema`` answers (reference, section 8)."""
    # Every start and reset makes one; this is many times faster than a deep copy.
    schema: dict[str, Any] = orjson.loads(_SCHEMA_JSON)
    return schema


def milliseconds(value: Any) -> int:
    """Return a date that came in, ISO 8601 text or epoch milliseconds, as epoch milliseconds.

    Raises:
        ValueError: the text is no such date. A number that is none is an OverflowError or a ValueError.
    """
    if not isinstance(value, str):
        return int(value)
    date = datetime.fromisoformat(value)
    return (date.replace(tzinfo=date.tzinfo or UTC) - _EPOCH) // timedelta(milliseconds=1)


def _date(value: object, *, ttl: bool) -> str | int:
    ms = milliseconds(value)
    if not ttl:
        return iso(ms)
    seconds = math.ceil(ms / 1000)
    iso(seconds * 1000)  # a date that cannot be shown is refused now
    return seconds


TYPES: Mapping[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "date": lambda value: isinstance(value, str | int | float) and not isinstance(value, bool),
    # The `value` of a Store has this type and is documented as any JSON value; the library does not look either.
    "object": lambda value: True,
}


@attrs.frozen
class Model:
    """One model: its name, and its members by name as OneTable writes them."""

    name: str
    fields: Mapping[str, Mapping[str, Any]]

    def invalid(self, member: str, why: str) -> Refused:
        """Return the refusal of *member*, to be raised."""
        return Refused(f'Validation error in "{self.name}" for "{member}": {why}')

    def stored(self, members: Mapping[str, Any]) -> dict[str, Any]:
        """Return the *members* that the model knows, as they are stored; None stays, and means to remove.

        Members beyond the schema are dropped, as the library does; keys are only ever made from their templates.

        Raises:
            Refused: a value is not of its member's type or not one of its choices.
        """
        return {
            name: value if value is None else self._stored(name, self.fields[name], value)
            for name, value in members.items()
            if name in self.fields and "value" not in self.fields[name]
        }

    def _stored(self, name: str, field: Mapping[str, Any], value: object) -> object:
        # The library turns "5" into 5 and 5 into "5"; here a wrong type is refused, which shows the mistake.
        if not TYPES[field["type"]](value):
            raise self.invalid(name, f"not of type {field['type']}")
        if field["type"] == "date":
            try:
                value = _date(value, ttl=field.get("ttl", False))
            except (ValueError, OverflowError, OSError):
                raise self.invalid(name, "not a date") from None
        if "enum" in field and value not in field["enum"]:
            raise self.invalid(name, f"not one of {', '.join(map(str, field['enum']))}")
        return value

    def defaults(self, ms: int) -> dict[str, Any]:
        """Return the members that a new item has by itself; *ms* (epoch) goes into a generated ID."""
        made = {name: new_ulid(ms) for name, field in self.fields.items() if field.get("generate") == "ulid"}
        return made | self._given()

    def _given(self) -> dict[str, Any]:
        return {name: copy.deepcopy(field["default"]) for name, field in self.fields.items() if "default" in field}

    def key_members(self) -> frozenset[str]:
        """Return the names of the members that make the primary key."""
        return frozenset(name for key in ("pk", "sk") for name in _VARIABLE.findall(self.fields[key]["value"]))

    def prefix(self, key: str, item: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return how much of *key* (``pk``, ``sk``, ``gs1pk``, ``gs1sk``) the members of *item* make.

        The second value names the first member that is missing; None says that the key is whole.
        """
        if key not in self.fields:
            return "", key
        made, end = "", 0
        template = self.fields[key]["value"]
        for variable in _VARIABLE.finditer(template):
            made += template[end : variable.start()]
            value = item.get(variable[1])
            if value is None:
                return made, variable[1]
            made += value if isinstance(value, str) else json.dumps(value)
            end = variable.end()
        return made + template[end:], None

    def parts(self, key: str, made: str) -> dict[str, str] | None:
        """Return the members that the text *made* of *key* was made of; None if it was not made of this template."""
        template = _VARIABLE.split(self.fields[key]["value"])
        pattern = "".join(f"(?P<{part}>.+?)" if number % 2 else re.escape(part) for number, part in enumerate(template))
        match = re.fullmatch(pattern, made, re.DOTALL)
        return match.groupdict() if match else None

    def key(self, key: str, item: Mapping[str, Any]) -> str:
        """Return the whole *key* of *item*.

        Raises:
            Refused: a member of the key is missing (the library's MissingError).
        """
        made, missing = self.prefix(key, item)
        if missing is not None:
            raise Refused(f'Missing "{missing}" for the key of "{self.name}"')
        return made

    def shown(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record of a stored *item* as replies show it."""
        record = {"_type": self.name}
        for name, value in (self._given() | dict(item)).items():
            field = self.fields[name]
            if not field.get("hidden", "value" in field):
                record[name] = iso(value * 1000) if field.get("ttl") else value
        return record
