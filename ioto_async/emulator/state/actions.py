"""The automations of the embedded cloud."""

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import orjson

from ..request import Refused
from ..wire import LAST_DATE, dumps, new_ulid
from .models import cursor, paged
from .samples import expand_dimensions

__all__ = ["TYPES", "Actions", "Effects"]

TYPES: Final = (
    "alert",
    "builder-alert",
    "builder-metric",
    "database",
    "delay",
    "device",
    "email",
    "eventbridge",
    "http",
    "lambda",
    "metric",
    "mqtt",
    "sms",
)
"""The types of automations (reference, section 7)."""

_VARIABLE: Final = re.compile(r"\$\{(.*?)\}")
_TABLE: Final = "CREATE TABLE IF NOT EXISTS actions (id TEXT PRIMARY KEY, name TEXT NOT NULL, data BLOB NOT NULL)"
_BY_NAME: Final = "CREATE INDEX IF NOT EXISTS actions_name ON actions (name, id)"

# What the arguments of an automation are called is documented for none of the types. These are what a cloud needs for
# the vendor's scripts, and for samples and alerts over REST.
_SEEDS: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "MetricSample",
        "type": "metric",
        "description": "Add a sample to a metric of a device and of all devices",
        "args": {
            "namespace": "Embedthis/Device",
            "metric": "${metric}",
            "value": "${value}",
            "dimensions": [{}, {"Device": "${deviceId}"}],
        },
    },
    {
        "name": "DeviceCommand",
        "type": "device",
        "description": "Let a device run a program",
        # What the app "demo" of the vendor's agent runs, with the context that the vendor's script sends.
        "args": {
            "deviceId": "${deviceId}",
            "command": "custom",
            "args": {"program": "${program}", "parameters": "${parameters}"},
        },
    },
    {
        "name": "Alert",
        "type": "alert",
        "description": "Raise an alert",
        "message": "${message}",
        "severity": "info",
    },
)


class Effects(Protocol):
    """What an automation can do to the cloud, on behalf of one account."""

    def emit(
        self,
        namespace: str,
        metric: str,
        value: float,
        dimensions: Sequence[Mapping[str, Any]],
        *,
        timestamp: float,
        buffer: Any = None,
    ) -> None:
        """Add a sample; ValueError if it cannot be one. *timestamp* is in epoch milliseconds."""

    def write(self, model: str, members: Mapping[str, Any]) -> object:
        """Write an item of the account, new or not; Refused if the members are not right."""

    def alert(self, *, name: str, subject: str, message: str, severity: str, context: Mapping[str, Any]) -> object:
        """Raise an alert of the account (reference, section 7)."""


class _FailedError(Exception):
    """An automation that was found does not run; its reply says why."""


class Actions:
    """The automations, and a record of the runs with an effect outside the cloud.

    Args:
        db: the cloud's database; the automations have a table of their own in it.
        now: returns the time in epoch milliseconds.

    Attributes:
        invocations: ``{id, name, type, args, message, destination, context, timestamp}`` for each run of a type with
            an effect outside (http, email, lambda, mqtt, sms, eventbridge, delay, builder-*); nothing is sent.
    """

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int]) -> None:
        self._db = db
        self._now = now
        self.invocations: list[dict[str, Any]] = []
        db.execute(_TABLE)
        db.execute(_BY_NAME)
        if db.execute("SELECT 1 FROM actions").fetchone() is None:
            for seed in _SEEDS:
                self.add(seed)

    def add(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Add an automation, or replace the one with the same ``id``, and return its record.

        Args:
            record: an Action (reference, section 7) with ``name`` and ``type``; ``id`` is made if it is not there.

        Raises:
            ValueError: no name, or a type that is not documented.
        """
        if not record.get("name") or record.get("type") not in TYPES:
            raise ValueError(f"an automation needs a name and one of the types {', '.join(TYPES)}")
        action = {"id": new_ulid(self._now()), "enable": True, **record}
        self._db.execute(
            "INSERT OR REPLACE INTO actions VALUES (?, ?, ?)", (action["id"], action["name"], dumps(action))
        )
        return action

    def get(self, id: str) -> dict[str, Any] | None:
        """Return the automation *id*, None if there is none."""
        row = self._db.execute("SELECT data FROM actions WHERE id = ?", (id,)).fetchone()
        return None if row is None else _action(row)

    def find(self, query: Mapping[str, str], type: str | None = None) -> dict[str, Any]:
        """Return a page of the automations, of one *type* or of all, in the order of their IDs.

        Raises:
            Refused: bad limit or cursor.
        """
        position, back = cursor(query, "id")
        rows = self._db.execute(
            "SELECT data FROM actions WHERE id < ? ORDER BY id DESC"
            if back
            else "SELECT data FROM actions WHERE id > ? ORDER BY id",
            (position[0] if position else "",),
        )
        actions = map(_action, rows)
        return paged(
            (({"id": action["id"]}, action) for action in actions),
            query,
            lambda action: type in (None, action["type"]),
        )

    def invoke(
        self, effects: Effects, context: Mapping[str, Any], *, id: str | None = None, name: str | None = None
    ) -> dict[str, Any]:
        """Run the automation *id*, or else the oldest one called *name*.

        ``${name}`` is replaced from *context* wherever it stands in its args, message and destination; a text that is
        nothing else takes the value as it is. For a metric, ``timestamp`` in *context* (epoch ms) dates the sample.

        Returns:
            ``{name, context}``, and ``error`` if it did not run: disabled, a variable missing, a bad value.

        Raises:
            Refused: there is no such automation.
        """
        column, key = ("id", id) if id else ("name", name)
        if not key:
            raise Refused('Missing "id" or "name"')
        row = self._db.execute(
            "SELECT data FROM actions WHERE id = ?"
            if id
            else "SELECT data FROM actions WHERE name = ? ORDER BY id LIMIT 1",
            (key,),
        ).fetchone()
        if row is None:
            raise Refused(f'Cannot find action with {column} "{key}"')
        action = _action(row)
        reply = {"name": action["name"], "context": dict(context)}
        try:
            self._run(effects, action, context)
        except _FailedError as error:
            return {"error": str(error), **reply}
        return reply

    def _run(self, effects: Effects, action: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        if not action["enable"]:
            raise _FailedError("The automation is disabled")
        args = _expand(action.get("args", {}), context)
        texts = {member: _expand(action[member], context) for member in ("message", "destination") if member in action}
        try:
            match action["type"]:
                case "metric":
                    self._emit(effects, args, action.get("buffer"), context)
                case "device":
                    effects.write("Command", args)
                case "database":
                    # Which model is written is named as in the body of a generic call.
                    effects.write(str(args.get("_type")), args)
                case "alert":
                    effects.alert(
                        name=action["name"],
                        subject=action["name"],
                        message=_text(texts.get("message", "")),
                        severity=action.get("severity", "info"),
                        context=context,
                    )
                case type_:
                    run = {"id": action["id"], "name": action["name"], "type": type_, "args": args, **texts}
                    self.invocations.append({**run, "context": dict(context), "timestamp": self._now()})
        except (Refused, ValueError) as error:
            raise _FailedError(str(error)) from error

    def _emit(self, effects: Effects, args: Mapping[str, Any], buffer: object, context: Mapping[str, Any]) -> None:
        timestamp = context.get("timestamp", self._now())
        if isinstance(timestamp, bool) or not isinstance(timestamp, int | float) or not 0 <= timestamp <= LAST_DATE:
            raise _FailedError("The timestamp is not a date in milliseconds")
        if not isinstance(args.get("metric"), str):
            raise _FailedError("The metric has no name")
        dimensions = [
            expand_dimensions(each, str(context.get("deviceId", ""))) for each in args.get("dimensions", [{}])
        ]
        effects.emit(
            str(args.get("namespace", "")),
            args["metric"],
            _number(args.get("value")),
            dimensions,
            timestamp=timestamp,
            buffer=buffer,
        )


def _action(row: tuple[bytes]) -> dict[str, Any]:
    action: dict[str, Any] = orjson.loads(row[0])
    return action


def _number(value: object) -> float:
    # Python reads digits in groups, 1_000; JavaScript does not.
    if isinstance(value, bool) or not isinstance(value, int | float | str) or "_" in str(value):
        raise _FailedError(f"The value {value!r} is not a number")
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        raise _FailedError(f"The value {value!r} is not a number") from None


def _expand(value: Any, context: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _expand(member, context) for name, member in value.items()}
    if isinstance(value, list):
        return [_expand(member, context) for member in value]
    if not isinstance(value, str):
        return value
    whole = _VARIABLE.fullmatch(value)
    if whole:
        return _variable(whole[1], context)
    return _VARIABLE.sub(lambda match: _text(_variable(match[1], context)), value)


def _variable(name: str, context: Mapping[str, Any]) -> Any:
    if context.get(name) is None:
        raise _FailedError(f'The context has no "{name}"')
    return context[name]


def _text(value: object) -> str:
    return value if isinstance(value, str) else dumps(value).decode()
