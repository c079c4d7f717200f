"""What MQTT keeps in the cloud's database: sessions that outlive their connections, and retained messages."""

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

import orjson

__all__ = ["KeptMessage", "KeptSession", "MqttSessions", "RetainedMessages", "SessionRecord"]

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS mqtt_sessions (client_id TEXT PRIMARY KEY, filters BLOB NOT NULL) WITHOUT ROWID",
    (
        "CREATE TABLE IF NOT EXISTS mqtt_queue (number INTEGER PRIMARY KEY AUTOINCREMENT, client_id TEXT NOT NULL,"
        " topic TEXT NOT NULL, payload BLOB NOT NULL, packet_id INTEGER NOT NULL DEFAULT 0, retain INTEGER NOT NULL)"
    ),
    "CREATE INDEX IF NOT EXISTS mqtt_queue_of ON mqtt_queue (client_id, packet_id)",
    (
        "CREATE TABLE IF NOT EXISTS mqtt_published (number INTEGER PRIMARY KEY, client_id TEXT, topic TEXT NOT NULL,"
        " payload BLOB NOT NULL)"
    ),
)
_RETAINED: Final = (
    "CREATE TABLE IF NOT EXISTS mqtt_retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL, qos INTEGER NOT NULL)"
    " WITHOUT ROWID"
)


class KeptMessage(NamedTuple):
    """A message that waits for its client; ``packet_id`` is 0 if it was not sent yet."""

    number: int
    topic: str
    payload: bytes
    packet_id: int
    retain: int


class KeptSession(NamedTuple):
    """A session as it was when the process ended: subscriptions with their QoS, and messages in their order."""

    filters: dict[str, int]
    messages: list[KeptMessage]


class MqttSessions:
    """Keeps sessions, and what was published and is not in the queues of its subscribers yet.

    Args:
        db: the cloud's database.
        lock: the lock of the clouds; each method takes it, and may be called from any thread.
    """

    def __init__(self, db: sqlite3.Connection, lock: threading.RLock) -> None:
        self._db = db
        self._lock = lock
        for table in _TABLES:
            db.execute(table)

    def load(self) -> dict[str, KeptSession]:
        """Return the sessions, by client ID."""
        with self._lock:
            found = {
                client_id: KeptSession(orjson.loads(filters), [])
                for client_id, filters in self._db.execute("SELECT client_id, filters FROM mqtt_sessions")
            }
            rows = self._db.execute(
                "SELECT client_id, number, topic, payload, packet_id, retain FROM mqtt_queue ORDER BY number"
            )
            for client_id, *message in rows:
                if client_id in found:
                    found[client_id].messages.append(KeptMessage(*message))
            return found

    def record(self, client_id: str) -> "SessionRecord":
        """Return where the session of a client is kept."""
        return SessionRecord(self._db, self._lock, client_id)

    def remove(self, client_id: str | None) -> None:
        """Forget the session of a client, of all clients for None."""
        with self._lock:
            for table in ("mqtt_sessions", "mqtt_queue"):
                self._db.execute(f"DELETE FROM {table} WHERE client_id = ifnull(?, client_id)", (client_id,))  # noqa: S608

    def push(self, topic: str, payload: bytes, client_id: str | None) -> int:
        """Keep what is published until it is in the queues, in the transaction that is open; return its number."""
        with self._lock:
            cursor = self._db.execute(
                "INSERT INTO mqtt_published (client_id, topic, payload) VALUES (?, ?, ?)", (client_id, topic, payload)
            )
            return int(cursor.lastrowid or 0)

    def pushed(self) -> list[tuple[int, str | None, str, bytes]]:
        """Return what is published and not in the queues: number, client ID, topic, payload."""
        with self._lock:
            return self._db.execute("SELECT * FROM mqtt_published ORDER BY number").fetchall()

    @contextmanager
    def delivering(self, number: int) -> Iterator[None]:
        """Put what was pushed as *number* into the queues in the block, all at once."""
        with self._lock:
            self._db.execute("BEGIN")
            with self._db:
                yield
                self._db.execute("DELETE FROM mqtt_published WHERE number = ?", (number,))


class SessionRecord:
    """The session of one client in the database."""

    def __init__(self, db: sqlite3.Connection, lock: threading.RLock, client_id: str) -> None:
        self._db = db
        self._lock = lock
        self._client_id = client_id

    def subscribed(self, filters: Mapping[str, int]) -> None:
        """Note the subscriptions."""
        self._run("INSERT OR REPLACE INTO mqtt_sessions VALUES (?, ?)", self._client_id, orjson.dumps(filters))

    def queued(self, topic: str, payload: bytes, retain: bool) -> int:
        """Note a message, and return its number."""
        statement = "INSERT INTO mqtt_queue (client_id, topic, payload, retain) VALUES (?, ?, ?, ?)"
        return self._run(statement, self._client_id, topic, payload, retain)

    def sent(self, number: int, packet_id: int) -> None:
        """Note that a message is on its way."""
        self._run("UPDATE mqtt_queue SET packet_id = ? WHERE number = ?", packet_id, number)

    def acknowledged(self, packet_id: int) -> None:
        """Forget a message that the client has."""
        self._run("DELETE FROM mqtt_queue WHERE client_id = ? AND packet_id = ?", self._client_id, packet_id)

    def _run(self, statement: str, *values: object) -> int:
        with self._lock:
            return int(self._db.execute(statement, values).lastrowid or 0)


class RetainedMessages:
    """The last message to each topic of those that were to be retained.

    Args:
        db: the cloud's database.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.execute(_RETAINED)

    def keep(self, topic: str, payload: bytes, qos: int) -> None:
        """Keep a message in the place of the one before; an empty *payload* ends that, and is not kept."""
        if payload:
            self._db.execute("INSERT OR REPLACE INTO mqtt_retained VALUES (?, ?, ?)", (topic, payload, qos))
        else:
            self._db.execute("DELETE FROM mqtt_retained WHERE topic = ?", (topic,))

    def load(self, topic: str) -> tuple[bytes, int] | None:
        """Return payload and QoS of what is kept for *topic*, if there is such."""
        found = self._db.execute("SELECT payload, qos FROM mqtt_retained WHERE topic = ?", (topic,)).fetchone()
        return found and (found[0], found[1])
