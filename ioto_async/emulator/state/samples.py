"""The metrics of all accounts, kept in the cloud's database."""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from .metrics import LARGEST, HeldSamples, MetricEngine, MetricItem
from .policy import parse

__all__ = ["Samples", "expand_dimensions"]

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def expand_dimensions(dimensions: Mapping[str, Any], device_id: str) -> dict[str, Any]:
    """Fill in what a caller leaves to the cloud: ``"${deviceId}"`` in a value, and ``{"deviceId": true}``.

    The second is what the vendor's weather sample sends; the name of the dimension stays ``deviceId`` (reference,
    section 9).
    """
    return {
        name: value.replace("${deviceId}", device_id)
        if isinstance(value, str)
        else (device_id if name == "deviceId" and value is True else value)
        for name, value in dimensions.items()
    }


class Samples:
    """A `MetricStorage` in SQLite, and the metric engines that use it, one for each account."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        # An engine keeps buffered samples, so that there may be only one of each.
        self._engines: dict[str, MetricEngine] = {}
        self._gathered: dict[str, MetricItem] | None = None
        db.execute("CREATE TABLE IF NOT EXISTS metrics (key BLOB PRIMARY KEY, item BLOB NOT NULL) WITHOUT ROWID")
        db.execute(
            "CREATE TABLE IF NOT EXISTS held (key BLOB PRIMARY KEY, elapsed NOT NULL, due NOT NULL, size NOT NULL,"
            " total NOT NULL) WITHOUT ROWID"
        )

    def engine(self, account_id: str) -> MetricEngine:
        """Return the metrics of an account."""
        if account_id not in self._engines:
            self._engines[account_id] = MetricEngine(self, owner=account_id)
        return self._engines[account_id]

    def flush(self, *, timestamp: int) -> None:
        """Store what the engines hold in buffers; *timestamp* is the present in epoch milliseconds."""
        for engine in self._engines.values():
            engine.flush(timestamp=timestamp)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Write each metric once for all samples of the block, at its end; to be used within a transaction."""
        self._gathered = {}
        try:
            yield
            self._write()
        finally:
            self._gathered = None

    def _write(self) -> None:
        if self._gathered:
            rows = [(key.encode(), orjson.dumps(item)) for key, item in self._gathered.items()]
            self._db.executemany("INSERT OR REPLACE INTO metrics VALUES (?, ?)", rows)
            self._gathered.clear()

    def forget(self) -> None:
        """Let what is in the database count again, after a rollback."""
        self._engines.clear()

    def measure(
        self, account_id: str, rules: Iterable[Mapping[str, Any]], item: Mapping[str, Any], *, timestamp: int
    ) -> None:
        """Add the samples that the *rules* of a model's ``metrics`` make of *item* (reference, section 9).

        Args:
            account_id: whose metrics they are.
            rules: ``{namespace, fields, dimensions, where, buffer}``, the last three optional.
            item: the members that fields, dimensions and ``where`` are taken from.
            timestamp: when, in epoch milliseconds.

        Raises:
            ValueError: a rule is not one.
        """
        for rule in rules:
            # The language of `where` is documented nowhere; here it is that of update policies, with `${name}` for a
            # name allowed.
            if "where" in rule and not parse(_VARIABLE.sub(r"\1", rule["where"]))(item):
                continue
            maps = list(_maps(rule.get("dimensions", [{}]), item))
            for metric, value in _values(rule["fields"], item):
                if maps:
                    self.engine(account_id).emit(
                        rule["namespace"],
                        metric,
                        value,
                        maps,
                        timestamp=timestamp,
                        buffer=rule.get("buffer"),
                    )

    def get(self, key: str) -> MetricItem | None:
        """Return the item of *key*, None if there is none."""
        if self._gathered and (gathered := self._gathered.get(key)) is not None:
            return gathered
        row = self._db.execute("SELECT item FROM metrics WHERE key = ?", (key.encode(),)).fetchone()
        if row is None:
            return None
        item: MetricItem = orjson.loads(row[0])
        return item

    def put(self, key: str, item: MetricItem) -> None:
        """Store *item*, in place of what *key* had."""
        if self._gathered is not None:
            self._gathered[key] = item
        else:
            self._db.execute("INSERT OR REPLACE INTO metrics VALUES (?, ?)", (key.encode(), orjson.dumps(item)))

    def keys(self, prefix: str) -> Iterator[str]:
        """Return the keys that begin with *prefix*, in ascending order."""
        self._write()
        begin = prefix.encode()
        rows = self._db.execute(
            "SELECT key FROM metrics WHERE key >= ? AND key < ? ORDER BY key", (begin, begin + b"\xff")
        )
        return (row[0].decode() for row in rows)

    def keys_of_device(self, account_id: str, device_id: str, limit: int) -> list[str]:
        """Return the keys of an account's metrics that have a device for a dimension, up to *limit* of them."""
        begin = f"{account_id}#".encode()
        # A dimension ends the key, or has another behind it.
        rows = self._db.execute(
            "SELECT key FROM metrics WHERE key >= ? AND key < ? AND instr(CAST(key AS TEXT) || ',', ?) LIMIT ?",
            (begin, begin + b"\xff", f"={device_id},", limit),
        )
        return [key.decode() for (key,) in rows]

    def hold(self, key: str, held: HeldSamples) -> None:
        """Store what is held for *key*, in place of what was."""
        self._db.execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?)", (key.encode(), *held))

    def held(self, prefix: str) -> Iterator[tuple[str, HeldSamples]]:
        """Return the keys that begin with *prefix* and for which something was held, with what it is."""
        begin = prefix.encode()
        rows = self._db.execute("SELECT * FROM held WHERE key >= ? AND key < ?", (begin, begin + b"\xff"))
        return ((row[0].decode(), HeldSamples(*row[1:])) for row in rows)


def _values(fields: Sequence[str | Mapping[str, str]], item: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Pair metric names with the values that can be samples; a field is ``name`` or ``{Metric: name}``."""
    for field in fields:
        named = {field: field} if isinstance(field, str) else field
        for metric, member in named.items():
            value = item.get(member)
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST:
                yield metric, value


def _maps(dimensions: Iterable[Mapping[str, str]], item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Fill in dimension maps, ``{Dimension: member}``; one that names a member that *item* lacks is left out."""
    for names in dimensions:
        values = {dimension: item.get(member) for dimension, member in names.items()}
        if None not in values.values():
            yield values
