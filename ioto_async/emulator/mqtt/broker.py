"""The MQTT broker: connections, sessions and topic permissions.

It is the server side of MQTT 3.1.1 as AWS IoT Core speaks it: QoS 0 and 1, and a client certificate for every
connection. A message to a topic that the client may not publish to ends the connection. What
clients publish goes to the cloud, in batches, and is acknowledged when the cloud has stored it; of the clients none but
the publisher itself may subscribe to it.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import attrs

from ..faults import Fault
from ..state.mqtt_sessions import MqttSessions
from .packets import (
    ACCEPTED,
    IDENTIFIER_REJECTED,
    NOT_AUTHORIZED,
    SUBSCRIPTION_REFUSED,
    BadPacket,
    BadProtocol,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Reader,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
    encode,
)
from .sessions import Session
from .tls import Tls
from .topics import is_filter, is_topic

__all__ = ["Broker", "Grant", "Message", "Publication", "Service"]

_LOG: Final = logging.getLogger(__name__)
# Limits of AWS IoT Core.
_MAX_PACKET: Final = 128 * 1024
_MAX_FILTERS: Final = 8
_KEEP_ALIVES: Final = (30, 1200)
_SESSION_LIFE: Final = 3600
# How long a client may take to send CONNECT, seconds, like the others here.
_CONNECT_TIMEOUT: Final = 30
_EXPIRY_INTERVAL: Final = 1.0
# A fleet that comes back connects all at once.
_BACKLOG: Final = 1024
# The bytes of a packet that the vendor's agent can read: it takes 4096 in, and then loses their topic.
_MAX_AGENT: Final = 4095
# Those beside topic and payload, in a packet of that size.
_HEAD: Final = 7
# How much may wait in memory for a client that does not read, in bytes.
_MAX_UNREAD: Final = 8 * 2**20


class Message(NamedTuple):
    """What a client published, or what it is to get."""

    client_id: str
    topic: str
    payload: bytes


@attrs.frozen
class Grant:
    """What a client may do: the beginnings of the topics that it may publish to, and of its topic filters.

    No other client may subscribe to what it publishes.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


class Service(Protocol):
    """What the broker needs of the cloud; called in the loop of the broker."""

    def authorize(self, client_id: str, certificate: bytes) -> Grant | None:
        """Return what the client with this *certificate* (DER) may do; None to refuse it."""

    def fault(self, topic: str | None) -> Fault | None:
        """Return the fault for a message to *topic*, or for None that for a CONNECT."""

    def receive(self, messages: Sequence[Message], retained: Sequence[tuple[Message, int]] = ()) -> list[Message]:
        """Carry out *messages* in one transaction and return the replies.

        Args:
            messages: what clients published.
            retained: those of them that are to be retained, with their QoS.

        Raises:
            Exception: they cannot be stored; the clients are to send them again.
        """

    def retained(self, topic: str) -> tuple[bytes, int] | None:
        """Return payload and QoS of what was retained last for *topic*; None if nothing was, or it was empty."""

    def throttle(self, client_id: str, *, close: bool) -> Message:
        """Return the message that tells a client to slow down, or with *close* to disconnect."""


class Publication(NamedTuple):
    """A message on its way to the cloud; a will has no connection."""

    connection: "_Connection | None"
    message: Message
    packet_id: int
    qos: int
    retain: bool
    fault: Fault | None


class Broker:
    """Serves MQTT. All methods but `send`, `drop`, `connected` and `advance` are for its own loop.

    Args:
        service: the cloud.
        clock: gives seconds that only go forward.
        store: where sessions are kept that outlive their connections; None to keep them in memory alone.
        presence: called with a client ID, and whether the client is connected, when that has changed; not for the
            clients that are cut off by `stop`.
    """

    def __init__(
        self,
        service: Service,
        clock: Callable[[], float],
        store: MqttSessions | None = None,
        presence: Callable[[str, bool], None] = lambda client_id, online: None,
    ) -> None:
        self.service: Final = service
        self._presence = presence
        self.clock: Final = clock
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._connections: set[_Connection] = set()
        self._clients: dict[str, _Connection] = {}
        self._sessions: dict[str, Session] = {}
        # The clients whose sessions are in the store.
        self._kept: set[str] = set()
        self._inbox: list[Publication] = []

    async def start(self, host: str, port: int, context: ssl.SSLContext) -> int:
        """Take up the sessions that were kept, listen, and return the port.

        Raises:
            OSError: the address cannot be had.
        """
        self._resume()
        self._server = await self._loop.create_server(
            lambda: Tls(_Connection(self), context), host, port, backlog=_BACKLOG
        )
        self._expire()
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """End all connections and listen no more."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.abort()
        # Nothing of it was acknowledged.
        self._inbox.clear()
        # Not wait_closed(), which would wait for the TLS handshakes that are under way.
        await asyncio.sleep(0)

    def send(self, topic: str, payload: bytes, client_id: str | None = None) -> None:
        """Publish a message to all subscribers, or to *client_id* alone; may be called from any thread."""
        # It is to be as durable as what it tells of, which is stored by now or in the same transaction.
        number = self._store.push(topic, payload, client_id) if self._store is not None and self._kept else None
        self._loop.call_soon_threadsafe(self._deliver, topic, payload, client_id, number)

    def drop(self, client_id: str | None = None) -> None:
        """End the connection and the session of a client, of all for None, after what was sent; from any thread."""
        if self._store is not None and self._kept:
            self._store.remove(client_id)
        self._loop.call_soon_threadsafe(self._drop, client_id)

    def connected(self) -> list[str]:
        """Return the IDs of the clients that are connected; may be called from any thread."""
        return list(self._clients)

    def _drop(self, client_id: str | None) -> None:
        for each in list(self._sessions) if client_id is None else [client_id]:
            self._forget(each)
            connection = self._clients.get(each)
            if connection is not None:
                connection.close("its device is not claimed any more")

    def _forget(self, client_id: str) -> None:
        """End the session of a client."""
        self._sessions.pop(client_id, None)
        if self._store is not None and client_id in self._kept:
            self._kept.discard(client_id)
            self._store.remove(client_id)

    def _resume(self) -> None:
        """Take up what another process has left."""
        if self._store is None:
            return
        for client_id, kept in self._store.load().items():
            session = self._sessions[client_id] = Session.kept(kept, self._store.record(client_id))
            session.expires = self.clock() + _SESSION_LIFE
            self._kept.add(client_id)
        for number, to, topic, payload in self._store.pushed():
            self._deliver(topic, payload, to, number)

    def _deliver(self, topic: str, payload: bytes, client_id: str | None, number: int | None) -> None:
        """Publish a message, which was pushed as *number* if it was."""
        if self._store is None or number is None:
            self.publish(topic, payload, client_id)
        else:
            with self._store.delivering(number):
                self.publish(topic, payload, client_id)

    def publish(self, topic: str, payload: bytes, client_id: str | None = None) -> None:
        """Publish a message, as `send` does."""
        for each in list(self._sessions) if client_id is None else [client_id]:
            session = self._sessions.get(each)
            if session is not None:
                self._enqueue(session, each, topic, payload)

    def _enqueue(self, session: Session, client_id: str, topic: str, payload: bytes, qos: int = 1) -> None:
        if len(topic) + len(payload) > _MAX_AGENT - _HEAD and session.wants(topic):
            _LOG.warning(
                "%s: a packet of %s bytes to %s: the vendor's agent reads no more than %s;"
                " it loses the message, or reconnects without end",
                *(client_id, len(encode(Publish(topic, payload, 1, 1))), topic, _MAX_AGENT),
            )
        packets, kept = session.enqueue(topic, payload, qos)
        if not kept:
            _LOG.warning("%s is behind; a message to %s is dropped", client_id, topic)
        if packets:
            self._clients[client_id].send(*packets)

    def advance(self, seconds: float) -> None:
        """Let the sessions of clients that are not connected age; may be called from any thread.

        Connections stay: how long one may be silent is measured in the time of the client.
        """
        self._loop.call_soon_threadsafe(self._age, seconds)

    def _age(self, seconds: float) -> None:
        for session in self._sessions.values():
            if session.expires is not None:
                session.expires -= seconds
        self.expire()

    def expire(self) -> None:
        """End the connections that have been silent for too long, and the sessions that have expired."""
        now = self.clock()
        for connection in list(self._connections):
            if now > connection.deadline:
                connection.close("it has been silent for too long")
                # The peer may be gone, and never agree to a close.
                connection.reset()
        for client_id, session in list(self._sessions.items()):
            if session.expires is not None and now > session.expires:
                self._forget(client_id)

    def _expire(self) -> None:
        self.expire()
        self._expiry = self._loop.call_later(_EXPIRY_INTERVAL, self._expire)

    # For connections ----------------------------------------------------------------------------------------------

    def connection_made(self, connection: "_Connection") -> None:
        """Note a new connection; one whose handshake ended after the broker did is aborted."""
        self._connections.add(connection)
        if self._server is None:
            connection.abort()

    def connection_lost(self, connection: "_Connection") -> None:
        """Note that a connection is gone."""
        self.disconnect(connection)
        self._connections.discard(connection)

    def disconnect(self, connection: "_Connection") -> None:
        """Note that a client is disconnected, however often it is called, and publish its will if it has one."""
        client_id, will = connection.client_id, connection.will
        if will is not None:
            connection.will = None
            message = Message(client_id, will.topic, will.payload)
            self.receive(Publication(None, message, 0, will.qos, will.retain, None))
        if self._clients.get(client_id) is connection:
            del self._clients[client_id]
            session = self._sessions.get(client_id)
            if session is not None and session.clean:
                self._forget(client_id)
            elif session is not None:
                session.expires = self.clock() + _SESSION_LIFE
            if self._server is not None:
                self._presence(client_id, False)

    def connect(self, connection: "_Connection", clean: bool) -> tuple[Session, bool]:
        """Return the session of a connection and whether it was present; another with its client ID is closed."""
        client_id = connection.client_id
        other = self._clients.get(client_id)
        if other is not None:
            other.close("another connection has its client ID")
        session = self._sessions.get(client_id)
        present = session is not None and not clean
        if session is None or not present:
            self._forget(client_id)
            record = None if clean or self._store is None else self._store.record(client_id)
            session = Session(clean=clean, record=record)
            if record is not None:
                self._kept.add(client_id)
                record.subscribed({})
        self._clients[client_id], self._sessions[client_id] = connection, session
        self._presence(client_id, True)
        return session, present

    def receive(self, publication: Publication) -> None:
        """Take a message that a client published; all of one iteration of the loop are stored together."""
        self._inbox.append(publication)
        if len(self._inbox) == 1:
            self._loop.call_soon(self._process)

    def _process(self) -> None:
        inbox, self._inbox = self._inbox, []
        if not inbox:
            return
        try:
            retained = [(each.message, each.qos) for each in inbox if each.retain]
            replies = self.service.receive([each.message for each in inbox], retained)
        except Exception:  # noqa: BLE001 - whatever it is, nothing was stored, and the clients must not believe so
            _LOG.exception("%s messages cannot be stored", len(inbox))
            for each in inbox:
                if each.connection is not None:
                    each.connection.close("its messages cannot be stored")
            return
        acknowledged: dict[_Connection, list[Packet]] = {}
        for connection, message, packet_id, _, _, fault in inbox:
            if fault is not None and fault.throttle:
                replies.append(self.service.throttle(message.client_id, close=fault.throttle == "close"))
            if connection is None:
                continue
            if fault is not None and fault.reset:
                connection.reset()
            elif packet_id:
                acknowledged.setdefault(connection, []).append(Puback(packet_id))
        for connection, packets in acknowledged.items():
            connection.send(*packets)
        self._send_back(inbox)
        for client_id, topic, payload in replies:
            self.publish(topic, payload, client_id)

    def _send_back(self, inbox: Iterable[Publication]) -> None:
        """Send messages to their publishers where these have subscribed to them."""
        for each in inbox:
            session = self._sessions.get(each.message.client_id)
            if session is not None and session.hears_itself:
                self._enqueue(session, *each.message, each.qos)


class _Connection:
    """The connection of one client.

    Attributes:
        client_id: empty until the client was admitted.
        will: what to publish if the connection is lost.
        deadline: when the connection ends unless the client sends something, in seconds of the broker's clock.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._reader = Reader(_MAX_PACKET)
        self._transport: Tls
        self._grant: Grant | None = None
        self._session: Session
        self._certificate = b""
        self._keep_alive: float = _CONNECT_TIMEOUT
        # The packets behind one that a fault delays; None if none is delayed.
        self._delayed: list[Packet] | None = None
        self.client_id = ""
        self.will: Will | None = None
        self.deadline = broker.clock() + _CONNECT_TIMEOUT

    # From below ---------------------------------------------------------------------------------------------------

    def connection_made(self, tls: Tls) -> None:
        """Begin, after the handshake."""
        self._transport = tls
        self._certificate = tls.peer_certificate()
        self._broker.connection_made(self)

    def data_received(self, data: bytes) -> None:
        """Carry out what came."""
        # Bytes that are no CONNECT do not extend the time for it.
        if self._grant is not None:
            self.deadline = self._broker.clock() + self._keep_alive
        self._take(self._reader.feed(data))

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is gone."""
        self._broker.connection_lost(self)

    # To the client ------------------------------------------------------------------------------------------------

    def send(self, *packets: Packet) -> None:
        """Send *packets*, each in a record of its own, unless the connection is ending."""
        if packets and not self._transport.is_closing():
            for packet in packets:
                self._transport.write(encode(packet))
            self._transport.flush()
            if self._transport.get_write_buffer_size() > _MAX_UNREAD:
                self.close("it does not read what it is sent")
                self._transport.abort()

    def close(self, why: str) -> None:
        """End the connection after what was sent."""
        if not self._transport.is_closing():
            _LOG.info("The connection of %s is closed: %s", self.client_id or "a client", why)
            self._disconnect()

    def _disconnect(self) -> None:
        self._transport.close()
        # The close may take long to complete.
        self._broker.disconnect(self)

    def reset(self) -> None:
        """Reset the connection."""
        self._transport.reset()

    def abort(self) -> None:
        """End the connection at once, as a server does that stops."""
        self.will = None
        self._transport.abort()

    # Packets ------------------------------------------------------------------------------------------------------

    def _take(self, packets: Iterable[Packet]) -> None:
        try:
            for packet in packets:
                if self._transport.is_closing():
                    return
                if self._delayed is None:
                    self._handle(packet)
                else:
                    self._delayed.append(packet)
        except BadProtocol as error:
            self._transport.write(error.refusal)
            self._transport.flush()
            self.close(str(error))
        except BadPacket as error:
            self.close(str(error))

    def _handle(self, packet: Packet) -> None:
        if isinstance(packet, (Publish, Connect)):
            self._delay_or_act(packet)
        elif self._grant is None:
            raise BadPacket("the first packet is not a CONNECT (3.1)")
        elif isinstance(packet, Puback):
            self.send(*self._session.acknowledge(packet.packet_id))
        elif isinstance(packet, Subscribe):
            grant = self._grant
            if len(packet.filters) > _MAX_FILTERS:
                raise BadPacket(f"a SUBSCRIBE with {len(packet.filters)} filters; {_MAX_FILTERS} are allowed")
            codes = tuple(self._subscribe(grant, *each) for each in packet.filters)
            self.send(Suback(packet.packet_id, codes))
            for (filter_, _), granted in zip(packet.filters, codes, strict=True):
                if granted != SUBSCRIPTION_REFUSED:
                    self._send_retained(filter_, granted)
        elif isinstance(packet, Unsubscribe):
            for filter_ in packet.filters:
                self._session.unsubscribe(filter_)
            self.send(Unsuback(packet.packet_id))
        elif isinstance(packet, Pingreq):
            self.send(Pingresp())
        elif isinstance(packet, Disconnect):
            self.will = None
            self._disconnect()
        else:
            raise BadPacket("a packet that clients do not send")

    def _delay_or_act(self, packet: Publish | Connect) -> None:
        if isinstance(packet, Publish) is (self._grant is None):
            raise BadPacket("a first packet that is not a CONNECT, or a second CONNECT (3.1)")
        fault = self._broker.service.fault(packet.topic if isinstance(packet, Publish) else None)
        if fault is not None and fault.delay:
            self._delayed = []
            asyncio.get_running_loop().call_later(fault.delay, self._resume, packet, fault)
        else:
            self._act(packet, fault)

    def _resume(self, packet: Publish | Connect, fault: Fault) -> None:
        delayed, self._delayed = self._delayed or [], None
        if not self._transport.is_closing():
            self._act(packet, fault)
            self._take(delayed)

    def _act(self, packet: Publish | Connect, fault: Fault | None) -> None:
        if fault is not None and (fault.reset == "before" or (fault.reset and isinstance(packet, Connect))):
            self.reset()
        elif isinstance(packet, Publish):
            self._publish(packet, fault)
        elif fault is not None and fault.status is not None:
            self._refuse(fault.status)
        else:
            self._connect(packet)

    def _connect(self, packet: Connect) -> None:
        if not packet.client_id:
            self._refuse(IDENTIFIER_REJECTED)
            return
        grant = self._broker.service.authorize(packet.client_id, self._certificate)
        will = packet.will
        # AWS IoT Core closes the connection without a CONNACK; the return code tells the user why.
        if grant is None or (will is not None and not _may_publish(grant, will)):
            self._refuse(NOT_AUTHORIZED)
            return
        self._grant, self.client_id, self.will = grant, packet.client_id, will
        least, most = _KEEP_ALIVES
        # One and a half times what the client says (3.1.2.10).
        self._keep_alive = 1.5 * max(least, min(packet.keep_alive or most, most))
        self.deadline = self._broker.clock() + self._keep_alive
        self._session, present = self._broker.connect(self, packet.clean_session)
        self._session.hears_itself = self._session.has_filter_below(grant.publish)
        self.send(Connack(ACCEPTED, present), *self._session.resume())

    def _refuse(self, code: int) -> None:
        self.send(Connack(code))
        self.close(f"CONNECT is refused with {code}")

    def _publish(self, packet: Publish, fault: Fault | None) -> None:
        if self._grant is None or not _may_publish(self._grant, packet):
            self.close(f"it may not publish to {packet.topic!r}")
        else:
            message = Message(self.client_id, packet.topic, packet.payload)
            self._broker.receive(Publication(self, message, packet.packet_id, packet.qos, packet.retain, fault))

    def _subscribe(self, grant: Grant, filter: str, qos: int) -> int:
        if not is_filter(filter):
            raise BadPacket("an invalid topic filter (4.7)")
        granted = min(qos, 1)
        if not filter.startswith(grant.subscribe) or not self._session.subscribe(filter, granted):
            # As at AWS IoT Core, the connection stays.
            _LOG.info("%s may not subscribe to %r", self.client_id, filter)
            return SUBSCRIPTION_REFUSED
        self._session.hears_itself = self._session.has_filter_below(grant.publish)
        return granted

    def _send_retained(self, filter: str, granted: int) -> None:
        # As at AWS IoT Core, a filter with wildcards, which no topic has, brings nothing that was retained.
        found = self._broker.service.retained(filter)
        if found is not None:
            payload, qos = found
            self.send(*self._session.enqueue_retained(filter, payload, min(qos, granted)))


def _may_publish(grant: Grant, what: Publish | Will) -> bool:
    # AWS IoT Core retains nothing that is published to its own topics.
    is_refused = what.qos > 1 or (what.retain and what.topic.startswith("$"))
    return is_topic(what.topic) and what.topic.startswith(grant.publish) and not is_refused
