"""The dashboards of the embedded cloud (reference, section 7)."""

import sqlite3
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from ..request import Refused
from ..wire import dumps, iso, new_ulid
from .models import cursor, paged
from .schema import milliseconds

__all__ = ["Dashboards"]

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS dashboards (
    id TEXT PRIMARY KEY, account_id TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL
)
"""
_FIND: Final = "SELECT id, data FROM dashboards WHERE (:account IS NULL OR account_id = :account)"
_FORWARD: Final = _FIND + " AND id > :position ORDER BY id"
_BACK: Final = _FIND + " AND id < :position ORDER BY id DESC"
_BY_ID: Final = _FIND + " AND id = :key"
_BY_NAME: Final = _FIND + " AND name = :key LIMIT 2"


def _members(text: str) -> Mapping[str, str]:
    """Read ``name[:type]`` words; a member without a type is a string."""
    words = (word.partition(":") for word in text.split())
    return MappingProxyType({name: type_ or "string" for name, _, type_ in words})


_DASHBOARD: Final = _members(
    "css:array emulate fixed:boolean framed:boolean layout live:boolean name range:object refresh:number"
    " toolbar:boolean type:kind widgetCss:array widgets:array"
)
_RANGE: Final = _members("anchor:anchor start:date period:number refresh:number override:boolean timezone:timezone")
_WIDGET: Final = _members(
    "actions:array accept anchor:object axes:object cloudId columns:array css:array datetime defaultValue"
    " dimensions:object field fields:array fixed:boolean form formField footer format framed:boolean header height id"
    " icon input items label legend:object left limit:number max:number min:number metric model multiple:boolean"
    " namespace options:object pageSize:number pivot placeholder prefix presentation range:object region rows:number"
    " show statistic subtitle suffix text ticks:number timezone title top type units url validate width z:number"
)
_ACTION: Final = _members("type target conditions:array")

_RANGE_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {"anchor": "relative", "period": 2_419_200, "refresh": 60, "override": False, "timezone": "local"}
)


def _is_date(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        iso(milliseconds(value))
    except (ValueError, OverflowError):
        return False
    return True


_TYPES: Final[Mapping[str, tuple[str, Callable[[object], bool]]]] = MappingProxyType(
    {
        "string": ("a string", lambda value: isinstance(value, str)),
        "number": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
        "boolean": ("a boolean", lambda value: isinstance(value, bool)),
        "object": ("an object", lambda value: isinstance(value, dict)),
        "array": ("an array", lambda value: isinstance(value, list)),
        "date": ("a date", _is_date),
        "kind": ("page or dashboard", lambda value: value in ("page", "dashboard")),
        "anchor": ("absolute or relative", lambda value: value in ("absolute", "relative")),
        "timezone": ("local or utc", lambda value: value in ("local", "utc")),
    }
)


class Dashboards:
    """The table of dashboards. For an account None stands for all of them, which a CloudAPI token may see."""

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int]) -> None:
        self._db = db
        self._now = now
        db.execute(_TABLE)
        db.execute("CREATE INDEX IF NOT EXISTS dashboards_name ON dashboards (name, id)")

    def create(self, account_id: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """Add a dashboard and return its record.

        Args:
            account_id: its owner.
            members: documented ones count, with ``name`` among them; nulls are as if absent.

        Raises:
            Refused: a member, at whatever depth, is of the wrong type.
        """
        given = {name: value for name, value in _dashboard(members).items() if value is not None}
        record = {"id": new_ulid(self._now()), "accountId": account_id, "layout": "grid"} | given
        return self._save(record)

    def find(self, account_id: str | None, query: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of dashboards, the oldest first.

        Raises:
            Refused: bad limit or cursor.
        """
        position, back = cursor(query, "id")
        start = position[0] if position else ""
        rows = self._db.execute(_BACK if back else _FORWARD, {"account": account_id, "position": start})
        return paged((({"id": id_}, orjson.loads(data)) for id_, data in rows), query)

    def get(self, account_id: str | None, *, id: str | None = None, name: str | None = None) -> dict[str, Any] | None:
        """Return the dashboard *id*, or else the one called *name*; None if there is none.

        Raises:
            Refused: neither is given, or several have the name.
        """
        if not id and not name:
            raise Refused('Missing "id" or "name"')
        rows = self._db.execute(_BY_ID if id else _BY_NAME, {"account": account_id, "key": id or name}).fetchall()
        # As for a get of an item with a part of its key (reference, section 8).
        if len(rows) > 1:
            raise Refused(f'There is more than one dashboard with the name "{name}"; name its "id"')
        if not rows:
            return None
        record: dict[str, Any] = orjson.loads(rows[0][1])
        return record

    def remove(self, account_id: str | None, id: str) -> None:
        """Remove a dashboard; none there is fine."""
        self._db.execute(
            "DELETE FROM dashboards WHERE id = :id AND (:account IS NULL OR account_id = :account)",
            {"id": id, "account": account_id},
        )

    def update(self, account_id: str | None, id: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """Set the *members* of a dashboard, remove those that are None, and return its record.

        Raises:
            Refused: there is no such dashboard, or a member is of the wrong type.
        """
        record = self.get(account_id, id=id)
        if record is None:
            raise Refused("Cannot find dashboard")
        if members.get("name", True) in (None, ""):
            raise Refused("Missing name")
        record |= _dashboard(members)
        return self._save({name: value for name, value in record.items() if value is not None})

    def remove_account(self, account_id: str) -> None:
        """Remove all dashboards of an account."""
        self._db.execute("DELETE FROM dashboards WHERE account_id = ?", (account_id,))

    def _save(self, record: dict[str, Any]) -> dict[str, Any]:
        self._db.execute(
            "INSERT OR REPLACE INTO dashboards VALUES (?, ?, ?, ?)",
            (record["id"], record["accountId"], record["name"], dumps(record)),
        )
        return record


def _dashboard(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the documented members, checked and with defaults filled in at depth; nulls are kept."""
    given = {name: value for name, value in members.items() if name in _DASHBOARD}
    checked: dict[str, Any] = dict.fromkeys(given) | _checked(given, _DASHBOARD, "")
    if given.get("range") is not None:
        checked["range"] = _range(given["range"], "range.")
    if given.get("widgets") is not None:
        checked["widgets"] = [_widget(each, f"widgets[{index}]") for index, each in enumerate(given["widgets"])]
    return checked


def _range(members: Mapping[str, Any], path: str) -> dict[str, Any]:
    range_ = {**_RANGE_DEFAULTS, **_checked(members, _RANGE, path)}
    if "start" in range_:
        range_["start"] = iso(milliseconds(range_["start"]))
    return range_


def _widget(widget: object, path: str) -> dict[str, Any]:
    # Members that no document lists stay: widgets differ by type, and the list is older than some of the types.
    members = {"anchor": {}, "css": [], "dimensions": {}, "range": {}} | _checked(
        _object(widget, path), _WIDGET, f"{path}."
    )
    # The range of a widget overrides; an empty one does not.
    if members["range"]:
        members["range"] = _range(members["range"], f"{path}.range.")
    if "actions" in members:
        members["actions"] = [
            _checked(_object(each, f"{path}.actions[{index}]"), _ACTION, f"{path}.actions[{index}].")
            for index, each in enumerate(members["actions"])
        ]
    return members


def _object(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{path} must be an object, not {value!r}")
    return value


def _checked(members: Mapping[str, Any], types: Mapping[str, str], path: str) -> dict[str, Any]:
    """Return *members* without nulls, which the cloud does not store, once they are of their documented types."""
    given = {name: value for name, value in members.items() if value is not None}
    for name, value in given.items():
        what, fits = _TYPES[types[name]] if name in types else ("", None)
        if fits and not fits(value):
            raise Refused(f"{path}{name} must be {what}, not {value!r}")
    return given
