"""The device database: items of the schema's models."""

import copy
import json
import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any, Self

import orjson

from ..request import Refused
from ..wire import iso
from .schema import TYPES, Model, device_schema

__all__ = ["Models", "cursor", "paged"]

# A page without `limit`. The current documents give no default; the oldest gave 1, which every find trips over.
_LIMIT = 100
# How many items a find with `filter` looks at. The service stops after 25 pages of the size of its database.
_SCAN = 2500

_TABLE = """
CREATE TABLE IF NOT EXISTS items (
    model TEXT, pk BLOB, sk BLOB, gs1pk BLOB, gs1sk BLOB, expires INTEGER, data TEXT NOT NULL,
    PRIMARY KEY (model, pk, sk)
) WITHOUT ROWID
"""
_RANGE_QUERIES = {
    ("primary", False): "SELECT sk, data FROM items WHERE model = ? AND pk = ? AND sk >= ? AND sk < ?"
    " AND (expires IS NULL OR expires > ?) ORDER BY sk",
    ("primary", True): "SELECT sk, data FROM items WHERE model = ? AND pk = ? AND sk >= ? AND sk < ?"
    " AND (expires IS NULL OR expires > ?) ORDER BY sk DESC",
    ("gs1", False): "SELECT gs1sk, data FROM items WHERE model = ? AND gs1pk = ? AND gs1sk >= ? AND gs1sk < ?"
    " AND (expires IS NULL OR expires > ?) ORDER BY gs1sk",
    ("gs1", True): "SELECT gs1sk, data FROM items WHERE model = ? AND gs1pk = ? AND gs1sk >= ? AND gs1sk < ?"
    " AND (expires IS NULL OR expires > ?) ORDER BY gs1sk DESC",
}
_BROWSE = (
    "SELECT pk, sk, data FROM items WHERE model = ? AND (pk, sk) > (?, ?)"
    " AND (expires IS NULL OR expires > ?) ORDER BY pk, sk"
)
_KEYS = {"primary": ("pk", "sk"), "gs1": ("gs1pk", "gs1sk")}


def _without_nulls(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if value is not None}


def _same(left: object, right: object) -> bool:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right and isinstance(left, bool) == isinstance(right, bool)
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _nothing(model: str, verb: str, item: dict[str, Any]) -> None:
    """Do nothing about a write."""


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _filter(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """Read the option ``filter``: ``name=value``, or a text that any member contains (reference, section 5)."""
    if not text:
        return lambda item: True
    name, _, value = (part.strip() for part in text.partition("="))
    if value:
        return lambda item: name in item and value == _text(item[name])
    return lambda item: any(text in member for member in item.values() if isinstance(member, str | list))


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit") or str(_LIMIT)
    # 18 digits: what an integer of the database holds, and far beyond any page.
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text)):
        raise Refused('Bad value for "limit": not a positive number')
    return int(text)


def cursor(query: Mapping[str, str], *names: str) -> tuple[tuple[str, ...] | None, bool]:
    """Return the members *names* of the cursor in *query*, None without one, and whether it asks to walk back.

    A cursor is an object of key members, and travels as its JSON text. So it is both what replies are documented to
    hold, a string, and what query strings are, an object (reference, section 5). With both, ``next`` counts.

    Raises:
        Refused: the cursor is not one that such a find returned.
    """
    option = "next" if query.get("next") or not query.get("prev") else "prev"
    text = query.get(option)
    if not text:
        return None, False
    refusal = Refused(f'Bad value for "{option}": not a cursor of this find')
    try:
        members = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise refusal from None
    if not isinstance(members, dict) or not all(isinstance(members.get(name), str) for name in names):
        raise refusal
    return tuple(members[name] for name in names), option == "prev"


def paged(
    rows: Iterable[tuple[Mapping[str, str], dict[str, Any]]],
    query: Mapping[str, str],
    matches: Callable[[Mapping[str, Any]], bool] = lambda item: True,
) -> dict[str, Any]:
    """Return a page of the *rows* that match (reference, section 5).

    Args:
        rows: pairs of key members and item, from the cursor of *query* on, in the direction that it asks for.
        query: ``limit``, ``next``, ``prev``; with ``filter`` the limit gives way to one on the items looked at.
        matches: tells which items are wanted.

    Returns:
        ``{data, paged}``, with ``next`` if more items follow, and with ``prev`` if the query had a cursor.
    """
    limit, scan = (None, _SCAN) if query.get("filter") else (_limit(query), None)
    data: list[dict[str, Any]] = []
    first: Mapping[str, str] | None = None
    last: Mapping[str, str] | None = None
    more = False
    for number, (key, item) in enumerate(rows):
        hit = matches(item)
        more = number == scan or (hit and len(data) == limit)
        if more:
            break
        if hit:
            data.append(item)
            first = first or key
        last = key
    carried = bool(query.get("next") or query.get("prev"))
    ends = {"next": last if more else None, "prev": first if carried else None}
    if carried and not query.get("next"):
        data.reverse()
        ends = {"next": ends["prev"], "prev": ends["next"]}
    cursors = {option: orjson.dumps(key).decode() for option, key in ends.items() if key}
    return {"data": data, "paged": True} | cursors


class Models:
    """The items of all models; a key template keeps the accounts apart (reference, section 8).

    Args:
        db: the cloud's database; the items have a table of their own in it.
        now: returns the time in epoch milliseconds.

    Attributes:
        schema: what ``metric/getDeviceSchema`` answers.
        changed: called with the model, ``UPSERT`` or ``REMOVE``, and the item with its ``sk``, after each write; may
            be set.
    """

    def __init__(self, db: sqlite3.Connection, now: Callable[[], int]) -> None:
        self._db = db
        self._now = now
        self.schema = device_schema()
        self.changed: Callable[[str, str, dict[str, Any]], None] = _nothing
        self._roles: Container[str] | None = None
        self._checks_readonly = True
        db.execute(_TABLE)
        db.execute("CREATE INDEX IF NOT EXISTS items_gs1 ON items (model, gs1pk, gs1sk)")

    def for_roles(self, roles: Container[str]) -> Self:
        """Return the items as they are to a caller with *roles*; without this, all of them are to be had.

        A Store is read by its ``role`` (reference, section 7): to a caller without that role it is not found, and
        cannot be written either.
        """
        view = copy.copy(self)
        view._roles = roles
        return view

    def for_devices(self) -> Self:
        """Return the items as a device writes them: with read-only members, and ``changed`` is not told of it."""
        view = copy.copy(self)
        view.changed = _nothing
        view._checks_readonly = False
        return view

    def add_model(
        self, name: str, definition: Mapping[str, Mapping[str, Any]], process: Mapping[str, Any] | None = None
    ) -> None:
        """Add a model to the schema, or replace one.

        Args:
            name: the ``_type`` of its items.
            definition: its members as OneTable writes them, with ``value`` templates for ``pk`` and ``sk``.
            process: its entry in the ``process`` section, for instance with ``metrics``.

        Raises:
            ValueError: there is no template for ``pk`` or ``sk``, or a member has no type or an unknown one.
        """
        if not all("value" in definition.get(key, {}) for key in ("pk", "sk")):
            raise ValueError(f"model {name!r} has no templates for pk and sk")
        if untyped := [member for member, field in definition.items() if field.get("type") not in TYPES]:
            raise ValueError(f"model {name!r} has no known type for {', '.join(untyped)}")
        fields = {member: dict(field) for member, field in definition.items()}
        self.schema["models"][name] = fields | {"updated": {"type": "date", "readonly": True}}
        self.schema["process"][name] = dict(process or {})

    def process(self, name: str) -> Mapping[str, Any]:
        """Return what the section ``process`` of the schema says of a model."""
        found: Mapping[str, Any] = self.schema["process"].get(name, {})
        return found

    def create(self, name: str, members: Mapping[str, Any], exists: bool | None = False) -> dict[str, Any]:
        """Write a whole item and return its record.

        Args:
            name: the model.
            members: the members of the item; None counts as absent.
            exists: whether the item must be there (True), must not be (False), or may be (None).

        Raises:
            Refused: unknown model, wrong, missing or read-only member, or the item's presence.
        """
        model = self._model(name)
        given = model.stored(members)
        self._check_readonly(model, given, {})
        item = _without_nulls(model.defaults(self._now()) | given)
        for member, field in model.fields.items():
            if field.get("required") and "value" not in field and member not in item:
                raise model.invalid(member, "required")
        self._present("create", model, item, exists)
        return self._save(model, item)

    def get(self, name: str, members: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the record that *members* identify, None if there is none.

        A whole key alone decides; with a part of the sort key all members must match.

        Raises:
            Refused: unknown model, a member of the partition key is missing, or several items match.
        """
        model = self._model(name)
        wanted = model.stored(members)
        if model.prefix("sk", wanted)[1] is None:
            item = self._load(model, wanted)
            return model.shown(item) if item and self._readable(model, item) else None
        found: list[dict[str, Any]] = self.find(name, members, {"limit": "2"})["data"]
        if len(found) > 1:
            raise Refused(f'Get of "{name}" without a whole key finds more than one item')
        return found[0] if found else None

    def find(self, name: str, members: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of the records that *members* match, in the order of their sort keys.

        Args:
            name: the model.
            members: those of the key select, the others must be equal.
            query: ``index`` (primary or gs1), ``limit``, ``next``, ``prev``, ``filter``; others are ignored.

        Returns:
            ``{data, paged}``, with ``next`` if more items follow, and with ``prev`` if the query had a cursor.

        Raises:
            Refused: unknown model or index, a member of the partition key is missing, or a bad option.
        """
        model = self._model(name)
        wanted = _without_nulls(model.stored(members))
        accepts = _filter(query.get("filter", ""))

        def matches(item: Mapping[str, Any]) -> bool:
            if not self._readable(model, item):
                return False
            return accepts(item) and all(_same(value, item.get(each)) for each, value in wanted.items())

        page = paged(self._range(model, wanted, query), query, matches)
        page["data"] = [model.shown(item) for item in page["data"]]
        return page

    def update(
        self, name: str, members: Mapping[str, Any], exists: bool | None = True, *, updated: str | None = None
    ) -> dict[str, Any]:
        """Set the *members* of an item, remove those that are None, and return its record.

        Args:
            name: the model.
            members: the key, and what to change; nested values are replaced as a whole.
            exists: whether the item must be there (True), must not be (False), or may be (None).
            updated: the date of the change as it is stored; now if None.

        Raises:
            Refused: unknown model, wrong or read-only member, a required one set to None, the item's presence.
        """
        model = self._model(name)
        given = model.stored(members)
        # As in the library: a new item that comes from an update need not have all required members.
        for member, value in given.items():
            if value is None and model.fields[member].get("required"):
                raise model.invalid(member, "required")
        new = {} if exists else model.defaults(self._now())
        present = self._present("update", model, new | given, exists)
        self._check_readonly(model, given, present or {})
        item = _without_nulls((present or new) | given)
        # As in the library: `created` is stamped by an upsert alone.
        if exists is None and "created" in model.fields:
            item.setdefault("created", iso(self._now()))
        return self._save(model, item, updated)

    def remove(self, name: str, members: Mapping[str, Any], exists: bool | None = None) -> None:
        """Remove the item with the key in *members*; only with *exists* True must it be there.

        Raises:
            Refused: unknown model, a member of the key is missing, or there is no such item.
        """
        model = self._model(name)
        wanted = model.stored(members)
        present = self._present("remove", model, wanted, exists or None)
        self._db.execute("DELETE FROM items WHERE model = ? AND pk = ? AND sk = ?", self._key(model, wanted))
        if present is not None:
            self.changed(name, "REMOVE", self._sent(model, {**present, "updated": iso(self._now())}))

    def since(self, name: str, members: Mapping[str, Any], date: str) -> list[dict[str, Any]]:
        """Return all items that *members* select and that were written after *date*, each with its ``sk``.

        An item that lacks one of the members is selected as well: without a ``deviceId`` it is for all devices.

        Raises:
            Refused: unknown model, or a member of the partition key is missing.
        """
        model = self._model(name)
        wanted = _without_nulls(model.stored(members))
        items = (item for _, item in self._range(model, wanted, {}) if item["updated"] > date)
        return [
            self._sent(model, item)
            for item in items
            if all(_same(value, item.get(name, value)) for name, value in wanted.items())
        ]

    def all(self, name: str) -> list[dict[str, Any]]:
        """Return all items of a model, whosever they are.

        Raises:
            Refused: unknown model.
        """
        model = self._model(name)
        rows = self._db.execute("SELECT data FROM items WHERE model = ?", (name,)).fetchall()
        return [model.shown(json.loads(data)) for (data,) in rows]

    def count(self) -> dict[str, int]:
        """Return how many items of each model are stored, those that have expired included."""
        rows = self._db.execute("SELECT model, count(*) FROM items GROUP BY model")
        found: dict[str, int] = dict(rows.fetchall())
        return {name: found.get(name, 0) for name in self.schema["models"]}

    def browse(self, name: str, *, text: str, after: str, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """Return items of a model, whosever they are, in the order of their keys.

        Args:
            name: the model.
            text: what is anywhere in the JSON of an item, in whatever case.
            after: what the page before returned; empty for the first page.
            limit: how many items.

        Returns:
            The records, and where the next page begins, None if there is no more. A page may be short of *limit*: it
            looks at no more than 2500 items.

        Raises:
            Refused: unknown model, or *after* is not from such a page.
        """
        model = self._model(name)
        try:
            position, _ = cursor({"next": after}, "pk", "sk")
        except Refused:
            raise Refused('Bad value for "after": not where a page of items ended') from None
        start = [part.encode() for part in position or ("", "")]
        found: list[dict[str, Any]] = []
        last: dict[str, str] = {}
        for number, (pk, sk, data) in enumerate(self._db.execute(_BROWSE, (name, *start, self._now() // 1000))):
            if len(found) == limit or number == _SCAN:
                return found, orjson.dumps(last).decode()
            item = model.shown(json.loads(data))
            if text.casefold() in json.dumps(item, ensure_ascii=False).casefold():
                found.append(item)
            last = {"pk": pk.decode(), "sk": sk.decode()}
        return found, None

    def by_sort_key(self, sk: str) -> tuple[str, dict[str, str]] | None:
        """Return the model whose sort keys look like *sk*, and the members that *sk* is made of; None if none is."""
        for name in self.schema["models"]:
            members = self._model(name).parts("sk", sk)
            if members is not None:
                return name, members
        return None

    def _sent(self, model: Model, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return an *item* as devices get it."""
        return {**model.shown(item), "sk": model.key("sk", item)}

    def _model(self, name: str) -> Model:
        if name not in self.schema["models"]:
            raise Refused(f'Cannot find model "{name}"')
        return Model(name, self.schema["models"][name])

    def _readable(self, model: Model, item: Mapping[str, Any]) -> bool:
        role = item.get("role") if model.name == "Store" else None
        return not role or self._roles is None or role in self._roles

    def _present(self, verb: str, model: Model, item: Mapping[str, Any], exists: bool | None) -> dict[str, Any] | None:
        """Return what is in the place of *item*, if it may be written there."""
        present = self._load(model, item)
        if present is not None and not self._readable(model, present):
            # The reply to an update would show it, and another role in its place would open it.
            raise Refused(f'Cannot {verb} "{model.name}": the item needs the role {present["role"]}', 403)
        if exists is not None and exists != (present is not None):
            state = "does not exist" if exists else "exists"
            raise Refused(f'Cannot {verb} "{model.name}": the item {state}')
        return present

    def _check_readonly(self, model: Model, given: Mapping[str, Any], present: Mapping[str, Any]) -> None:
        # Where the service draws the line is not documented. Here a read-only member names the item or comes back as
        # it was read, so that a caller may send the record it got.
        for member in sorted(given.keys() - model.key_members()) if self._checks_readonly else ():
            if model.fields[member].get("readonly") and not _same(given[member], present.get(member)):
                raise model.invalid(member, "read-only")

    def _key(self, model: Model, item: Mapping[str, Any]) -> tuple[str, bytes, bytes]:
        return model.name, model.key("pk", item).encode(), model.key("sk", item).encode()

    def _load(self, model: Model, item: Mapping[str, Any]) -> dict[str, Any] | None:
        row = self._db.execute(
            "SELECT data FROM items WHERE model = ? AND pk = ? AND sk = ? AND (expires IS NULL OR expires > ?)",
            (*self._key(model, item), self._now() // 1000),
        ).fetchone()
        if row is None:
            return None
        present: dict[str, Any] = json.loads(row[0])
        return present

    def _save(self, model: Model, item: dict[str, Any], updated: str | None = None) -> dict[str, Any]:
        item["updated"] = updated or iso(self._now())
        name, pk, sk = self._key(model, item)
        (hash_, no_hash), (sort, no_sort) = model.prefix("gs1pk", item), model.prefix("gs1sk", item)
        gs1: tuple[bytes | None, bytes | None] = (None, None)
        if no_hash is None and no_sort is None:
            # Sort keys of this index need not be unique; with the primary key behind them they are, in their order.
            gs1 = hash_.encode(), b"\0".join((sort.encode(), pk, sk))
        expires = next((item.get(member) for member, field in model.fields.items() if field.get("ttl")), None)
        self._db.execute(
            "INSERT OR REPLACE INTO items (model, pk, sk, gs1pk, gs1sk, expires, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (name, pk, sk, *gs1, expires, json.dumps(item)),
        )
        self.changed(name, "UPSERT", self._sent(model, item))
        return model.shown(item)

    def _range(
        self, model: Model, wanted: Mapping[str, Any], query: Mapping[str, str]
    ) -> Iterator[tuple[Mapping[str, str], dict[str, Any]]]:
        index = query.get("index") or "primary"
        if index not in _KEYS:
            raise Refused(f'Cannot find index "{index}"')
        hash_, sort = _KEYS[index]
        partition = model.key(hash_, wanted)
        begin, missing = model.prefix(sort, wanted)
        low = begin.encode()
        # No text has the byte FF. A whole key has nothing behind it; in gs1, a zero and the primary key.
        high = low + (b"\xff" if missing else b"\1" if index == "gs1" else b"\0")
        position, back = cursor(query, hash_, sort)
        if position and position[0] != partition:
            raise Refused("The cursor belongs to another find")
        if position and back:
            high = min(high, position[1].encode())
        elif position:
            low = max(low, position[1].encode() + b"\0")
        rows = self._db.execute(
            _RANGE_QUERIES[index, back], (model.name, partition.encode(), low, high, self._now() // 1000)
        )
        for key, data in rows:
            yield {hash_: partition, sort: key.decode()}, json.loads(data)
