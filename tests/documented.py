"""The documented operations and records (``data/``), for the tests that hold the code against them."""

import json
import re
from pathlib import Path
from typing import Any

import attrs

__all__ = ["CURRENT", "EXAMPLES", "INFERRED_ACCOUNT", "RECORDS", "ROWS", "Member", "Row", "example", "of_type", "snake"]

_DATA = Path(__file__).parent / "data"

RECORDS: dict[str, dict[str, str]] = json.loads((_DATA / "records.json").read_text("utf-8"))
"""Every documented record with the types of its members (reference, sections 7 and 9).

A type that is the name of another record, or that name and ``[]``, says what the notes of the documents say.
"""


@attrs.frozen
class Member:
    """A member of a body, a query or a reply."""

    name: str
    type: str
    required: bool = False
    role: str | None = None


@attrs.frozen
class Row:
    """One documented operation."""

    api: str
    """ioto or builder."""
    name: str
    """As in the path: ``device/getCreds``."""
    role: str
    http: bool
    """Whether it is called over HTTP; over MQTT if not."""
    legacy: bool
    idempotent: bool
    body: tuple[Member, ...]
    query: tuple[Member, ...]
    open: bool
    """Whether the body may have other members."""
    shape: str
    """Of the reply: record, paged, object, list or none."""
    reply: tuple[Member, ...]
    """The members of a record in the reply; those that are records themselves have the name as their type."""
    reply_open: bool
    """Whether the reply may have other members."""

    @property
    def key(self) -> str:
        return self.name if self.api == "ioto" else f"builder:{self.name}"

    @property
    def method(self) -> str:
        """The name of the client's method, from the client on."""
        controller, _, action = self.name.partition("/")
        return f"{'builder.' if self.api == 'builder' else ''}{controller}.{snake(action)}"


def snake(name: str) -> str:
    """Return *name*, a member or an action of the API, as Python spells it."""
    return re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name)


def of_type(type: str) -> tuple[Member, ...]:
    """Return the members of the documented record that *type* names, alone or in an array; none if it is no record."""
    return tuple(Member(name, inner) for name, inner in RECORDS.get(type.removesuffix("[]"), {}).items() if name != "*")


EXAMPLES: dict[str, object] = {
    "string": "text",
    "number": 5,
    "boolean": True,
    "object": {},
    "array": [],
    "date": "2024-01-23T02:03:57.062Z",
}
"""A JSON value of each type that is no record."""


def example(type: str) -> Any:
    """Return a JSON value of *type*; a record has all its members, at whatever depth."""
    if type in EXAMPLES:
        return EXAMPLES[type]
    record = {member.name: example(member.type) for member in of_type(type)}
    return [record] if type.endswith("[]") else record


def _members(rows: list[dict[str, Any]]) -> tuple[Member, ...]:
    return tuple(
        Member(row["name"], row["type"], row.get("required", False), row.get("role"))
        for row in rows
        if row["name"] not in ("", "*")
    )


def _reply(rows: list[dict[str, Any]]) -> tuple[Member, ...]:
    """The members of a reply, with the types of the record that has the same ones."""
    members = _members(rows)
    names = {member.name for member in members}
    same = (of_type(record) for record in RECORDS)
    return next((each for each in same if names and {member.name for member in each} == names), members)


def _is_open(rows: list[dict[str, Any]]) -> bool:
    return any(row["name"] == "*" for row in rows)


def _row(row: dict[str, Any]) -> Row:
    return Row(
        row["api"],
        row["path"].removeprefix("/"),
        row["role"],
        row["protocol"] == "http",
        row["status"] == "legacy",
        row["idempotent"],
        _members(row["body"]),
        _members(row["query"]),
        _is_open(row["body"]),
        row["response"]["shape"],
        _reply(row["response"]["fields"]),
        _is_open(row["response"]["fields"]),
    )


ROWS = {row.key: row for row in map(_row, json.loads((_DATA / "operations.json").read_text("utf-8")))}
"""Every documented operation; those of the Builder have ``builder:`` before their name."""

CURRENT = {key: row for key, row in ROWS.items() if row.http and not row.legacy}
"""What is neither legacy nor MQTT."""

INFERRED_ACCOUNT = {
    "alert/find", "alert/get", "alert/remove", "alert/update",
    "dashboard/create", "dashboard/find", "dashboard/get", "dashboard/remove", "dashboard/update",
    "device/claim", "device/release", "device/remove", "file/put",
    "user/create", "user/find", "user/get", "user/remove", "user/update", "user/updateRole",
}  # fmt: skip
"""What takes ``accountId`` though its table does not list it: an owner's token names the account that it acts for
(reference, section 3)."""
