"""The documented operations (``data/operations.json``), for the tests that hold the code against them."""

import json
import re
from pathlib import Path
from typing import Any

import attrs

__all__ = ["CURRENT", "ROWS", "Member", "Row", "snake"]


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
    legacy: bool
    body: tuple[Member, ...]
    query: tuple[Member, ...]
    open: bool
    """Whether the body may have other members."""
    reply: tuple[Member, ...]

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


def _members(rows: list[dict[str, Any]]) -> tuple[Member, ...]:
    return tuple(
        Member(row["name"], row["type"], row.get("required", False), row.get("role"))
        for row in rows
        if row["name"] not in ("", "*")
    )


def _row(row: dict[str, Any]) -> Row:
    return Row(
        row["api"],
        row["path"].removeprefix("/"),
        row["role"],
        row["protocol"] == "http",
        row["status"] == "legacy",
        _members(row["body"]),
        _members(row["query"]),
        any(member["name"] == "*" for member in row["body"]),
        _members(row["response"]["fields"]),
    )


ROWS = {
    row.key: row
    for row in map(_row, json.loads((Path(__file__).parent / "data" / "operations.json").read_text("utf-8")))
}
"""Every documented operation; those of the Builder have ``builder:`` before their name."""

CURRENT = {key: row for key, row in ROWS.items() if row.http and not row.legacy}
"""What is neither legacy nor MQTT."""
