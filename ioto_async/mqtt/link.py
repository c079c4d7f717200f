"""A device's connection to its cloud by MQTT."""

import asyncio
import itertools
import logging
import math
import random
import re
import ssl
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self, Unpack

from ..codec.encoding import OMIT, Omit
from ..errors import (
    AuthenticationError,
    CallError,
    CallTimeoutError,
    ClientStateError,
    ConnectionFailedError,
    InvalidArgumentError,
    RateLimitedError,
)
from ..models import Certificates, Statistic
from ..operations import IOTO, MQTT, Kind, Operation
from ..settings import Period, check_options
from ..transport.effects import reporting
from ..transport.proxies import concealed
from ..transport.retry import Failure, RetryPolicy
from ..transport.shared import Shared
from . import payloads
from .connection import Broken, Connection
from .events import Contested, EventBuffer, LinkEvent, Throttle, parse_event
from .options import PORT, LinkOptions, Options, checked
from .outbox import Message, Outbox
from .payloads import StoreType, StoreValue
from .tls import Trust, make_context

__all__ = ["DeviceLink"]

logger = logging.getLogger("ioto_async")

_SET_METRIC: Final = MQTT["metric/set"]
_CONNECT: Final = "mqtt/connect"
"""What the connection itself is called in errors."""
_CONTESTED: Final = 3
"""Connections in a row that the broker has accepted and soon ended, before it looks like another client's doing."""
_BLOCK: Final = 3600.0
"""Seconds that a device stays away when the cloud closes the connection on it; as the agent does."""
_LARGEST: Final = 128 * 1024
"""Bytes of a message; AWS IoT ends the connection for more."""
_FIRST_NUMBER: Final = 100
_LATE_REPLY: Final = re.compile(r"(metric|store)/get/[0-9]+")


class DeviceLink(Shared):
    """A device's connection to its cloud: it sends samples and values, asks for some, and hears what the cloud says.

    ::

        certs = await device_client.device.provision("M72DANY8BZ")
        async with DeviceLink(certs) as link:
            await link.set_metric("TEMP", 21.5)

    MQTT 3.1.1 over TLS with the certificate of the device, its claim ID as client id, QoS 1. A link is for one
    ``async with`` in one event loop; any number of tasks may use it at once.

    A connection that breaks is made again, after a random time that grows with each failure until a connection lasts.
    What was not acknowledged is sent again: a message arrives at least once, and twice where the first acknowledgement
    was lost. Connections that the broker ends again and again, as where two clients use one client id, are told by the
    event `Contested` and a warning in the log.
    At most *window* messages are under way; further calls wait for their turn. A call that is cancelled is not sent
    any more if it still waits, and may have arrived if it does not.

    **When a call fails.** After *patience* seconds in which nothing was acknowledged, or only what was sent later, the
    calls that have waited so long fail: with `ConnectionFailedError` where the message was never sent, with
    `OutcomeUnknownError` (samples) or `ConnectionLostError` where it was. The link goes on trying. A broker that does
    not take the certificate or the device ends the link: all calls raise `AuthenticationError` from then on. So does
    one whose own certificate is not to be trusted: calls that wait then raise `ConnectionFailedError`, all that follow
    `ClientStateError`. Closing the link raises `ClientStateError` in the calls that wait.

    **Throttling.** The link obeys ``mqtt/throttle`` by itself. Without ``close`` it leaves half a second between two
    messages, twice as much with each further throttle up to a minute, and half as much after each quiet minute. With
    ``close`` it closes the connection and stays away for an hour; until then calls raise `RateLimitedError` with
    ``retry_after`` set, or, where a sample was on its way, `OutcomeUnknownError`.

    Args:
        certs: what ``device.provision`` returned: ``id``, ``certificate``, ``key``, ``endpoint``, ``port`` (443).
        ca: who vouches for the broker, instead of the system's trust store: PEM text, the path of a PEM file, or an
            `ssl.SSLContext`, whose loaded authorities are taken over, and nothing else. A process with many links
            saves memory and time if it names the few authorities that it needs.
        options: see `LinkOptions`.

    Raises:
        InvalidArgumentError: an argument does not fit.

    Source: reference, section 10; the vendor's agent, ``src/mqtt.c``.
    """

    def __init__(
        self,
        certs: Certificates,
        *,
        ca: Trust = None,
        **options: Unpack[LinkOptions],
    ) -> None:
        if "proxy" in options:
            options["proxy"] = concealed(options["proxy"])  # tracebacks may show this variable
        self._certs = checked(certs)
        self._ca = ca
        chosen = self._options = check_options(Options, options)
        self._proxy = chosen.proxy_of(str(self._certs.endpoint), self._certs.port or PORT)
        self._backoff = RetryPolicy(attempts=sys.maxsize, elapsed=math.inf, base=chosen.base, cap=chosen.cap)
        self._id = str(certs.id)
        self._rules = f"$aws/rules/IotoDevice/ioto/service/{self._id}/"
        account = certs.account_id
        self._topics = [
            f"ioto/device/{self._id}/#",
            "ioto/account/all/#",
            *([f"ioto/account/{account}/#"] if account else []),
        ]
        self._connection: Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._replies: dict[str, asyncio.Future[bytes]] = {}
        self._numbers = itertools.count(_FIRST_NUMBER)
        self._changes = itertools.count(1)
        self._events = EventBuffer(chosen.backlog)
        self._trouble = "not connected yet"
        self._blocked_until = -math.inf
        self._closed = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that the broker has accepted; calls can be made all the same."""
        return self._connection is not None and not self._connection.lost.done()

    @property
    def device_id(self) -> str:
        """Claim ID of the device."""
        return self._id

    def _repr(self) -> str:
        state = "closed" if self._closed else "connected" if self.is_connected else "not connected"
        return f"DeviceLink({self._id!r}, {self._certs.endpoint}:{self._certs.port or PORT}, {state})"

    async def __aenter__(self) -> Self:
        """Connect; tries for *patience* seconds.

        Raises:
            AuthenticationError: the broker does not take the certificate or the device.
            ConnectionFailedError: there was no connection in time, or the broker cannot be trusted.
            InvalidArgumentError: certificate, key or *ca* cannot be used.
            ClientStateError: the link has been used already.
        """
        if self._loop is not None or self._closed:
            raise ClientStateError("a device link is for one `async with`: make another")
        loop = self._loop = self._events.loop = asyncio.get_running_loop()
        self._outbox = Outbox(
            window=self._options.window,
            patience=self._options.patience,
            timeout=self._options.timeout,
            give_up=self._out_of_patience,
            stalled=self._stalled,
        )
        self._first: asyncio.Future[None] = loop.create_future()
        self._runner = loop.create_task(self._run())
        try:
            await asyncio.wait({self._first}, timeout=self._options.patience)
            self._check_first()
        except BaseException:
            await self.aclose()
            raise
        return self

    def _check_first(self) -> None:
        if not self._first.done():
            raise self._out_of_patience()
        self._first.result()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; nothing of the link is left running. Calls that wait raise `ClientStateError`.

        A broker that is slow has a second to read what is left for it.
        """
        if self._loop is None:
            self._closed = True
            return
        self._of_this_loop()
        if not self._closed:
            self._closed = True
            self._end(ClientStateError("the link is closed"))
            self._runner.cancel()
        cancelled: asyncio.CancelledError | None = None
        while not self._runner.done():
            try:
                await asyncio.wait({self._runner})
            except asyncio.CancelledError as error:  # the connection has to end first
                cancelled = error
        if cancelled is not None:
            raise cancelled
        if not self._runner.cancelled():
            self._runner.result()

    # What a device says -----------------------------------------------------------------------------------------------

    @reporting
    async def set_metric(
        self,
        metric: str,
        value: float,
        *,
        dimensions: Sequence[Mapping[str, object]] | None = None,
        buffer: Mapping[str, object] | None = None,
    ) -> None:
        """Add a sample, and return when the broker has acknowledged it. It is dated when it arrives.

        Args:
            metric: name of the metric.
            value: the sample; finite.
            dimensions: dimension maps, each of which gets the sample; ``[{}]`` for none, by default the device's own
                ``[{"Device": "${deviceId}"}]``, in which the cloud fills in the ID.
            buffer: ``sum``, ``count``, ``elapsed`` (as *period* of `get_metric`), ``force``: how long the cloud gathers
                samples.

        Raises:
            InvalidArgumentError: an argument does not fit.
            CallError: it was not acknowledged; ``outcome_unknown`` tells whether it may have arrived. See the class.
            ClientStateError: the link is not open, or was closed meanwhile.

        Source: reference, section 10; wire examples 1.8.
        """
        body = payloads.sample(metric, value, dimensions, buffer)
        message = self._message(_SET_METRIC.name, _SET_METRIC.kind, self._rules + _SET_METRIC.name, body)
        await self._outbox.send(message)

    @reporting
    async def get_metric(
        self,
        metric: str,
        *,
        dimensions: Mapping[str, object] | None = None,
        period: Period = 300,
        statistic: Statistic = "avg",
    ) -> float | None:
        """Read one value of a metric: all of *period* in one.

        Args:
            metric: name of the metric.
            dimensions: exact dimension map, by default the device's own ``{"Device": "${deviceId}"}``.
            period: seconds, a `datetime.timedelta`, or text such as ``"1h"``.
            statistic: see `Statistic`.

        Returns:
            The value; None where there is none.

        Raises:
            InvalidArgumentError: an argument does not fit.
            CallTimeoutError: there was no reply within ``timeout`` seconds.
            DecodeError: the reply is no number.
            CallError: see the class.
            ClientStateError: the link is not open, or was closed meanwhile.
        """
        operation = MQTT["metric/get"]
        body = payloads.value_query(metric, dimensions, period, statistic)
        return payloads.number(operation, await self._ask(operation, body))

    @reporting
    async def set_store(
        self,
        key: str,
        value: StoreValue,
        *,
        type: StoreType | None = None,
        expires: datetime | Omit | None = OMIT,
    ) -> None:
        """Set a key of the device's store, and return when the broker has acknowledged it.

        Args:
            key: the key.
            value: a number, text or a boolean.
            type: ``number``, ``string`` or ``boolean``; what *value* is.
            expires: when the item goes away, aware; None for never. What is left out stays as it is.

        Raises:
            InvalidArgumentError: an argument does not fit.
            CallError: it was not acknowledged; ``outcome_unknown`` tells whether it may have arrived. See the class.
            ClientStateError: the link is not open, or was closed meanwhile.
        """
        operation, body = MQTT["store/set"], payloads.stored(key, value, type, expires)
        await self._send(operation.name, operation.kind, self._rules + operation.name, body)

    @reporting
    async def get_store(self, key: str) -> StoreValue | None:
        """Read a key of the device's store.

        Replies are bare values: text that reads like a number or a boolean comes back as one.

        Args:
            key: the key.

        Returns:
            The value; None where there is none.

        Raises:
            InvalidArgumentError: *key* does not fit.
            CallTimeoutError: there was no reply within ``timeout`` seconds.
            CallError: see the class.
            ClientStateError: the link is not open, or was closed meanwhile.
        """
        return payloads.scalar(await self._ask(MQTT["store/get"], payloads.store_query(key)))

    @reporting
    async def ping(self) -> None:
        """Send an empty message, and return when the broker has acknowledged it.

        Raises:
            CallError: it was not; see the class.
            ClientStateError: the link is not open, or was closed meanwhile.
        """
        operation = IOTO["test/ping"]
        await self._send(operation.name, operation.kind, f"ioto/service/{self._id}/test/ping", b"")

    @reporting
    async def sync_up(self, changes: Iterable[Mapping[str, object]]) -> int:
        """Send changes of the device's database, and return when the broker has acknowledged them.

        Args:
            changes: each ``{"cmd": create|update|upsert|remove, "key": sort key, "item": {…}}``.

        Returns:
            The number that the cloud quotes in `SyncAcknowledged`, when it has stored them.

        Raises:
            InvalidArgumentError: *changes* are no mappings, or hold what is no JSON.
            CallError: they were not acknowledged; see the class.
            ClientStateError: the link is not open, or was closed meanwhile.
        """
        number = next(self._changes)
        await self._sync("db/syncToDynamo", payloads.changes(number, changes))
        return number

    @reporting
    async def sync_down(self, since: datetime) -> None:
        """Ask for the items that have changed in the cloud: they come as `ItemSynced`, then there is a `SyncDown`.

        Args:
            since: when the last such run was, as its `SyncDown` said; aware.

        Raises:
            InvalidArgumentError: *since* is no aware datetime.
            CallError: it was not acknowledged; see the class.
            ClientStateError: the link is not open, or was closed meanwhile.
        """
        await self._sync("db/syncDown", payloads.since(since))

    def events(self) -> AsyncIterator[LinkEvent]:
        """What the cloud tells the device: ``async for event in link.events()``.

        The newest *backlog* events wait until they are read. Where nobody reads, the oldest go: a warning is logged,
        and the next that is read is an `EventsLost` with their number. Releases older than 10 s and throttles older
        than 30 s are left out, as the agent ignores them. Each event goes to one reader. Reading ends when the link is
        closed, and raises where the broker has turned the device away or cannot be trusted.

        What the cloud says while there is no connection is lost, and no event tells so: the broker keeps nothing for a
        device that is away. `sync_down` asks for the items that have changed meanwhile.
        """
        return self._events

    # How it is sent ---------------------------------------------------------------------------------------------------

    async def _sync(self, name: str, payload: bytes) -> None:
        # A change names its item and a time, so that it may arrive twice.
        await self._send(name, Kind.REPLAYABLE, self._rules + name, payload)

    async def _send(self, name: str, kind: Kind, topic: str, payload: bytes) -> None:
        message = self._message(name, kind, topic, payload)
        await self._outbox.send(message)

    def _message(self, name: str, kind: Kind, topic: str, payload: bytes) -> Message:
        """A message, if it can be sent."""
        self._of_this_loop()
        if self._closed:
            raise ClientStateError("the link is closed")
        if len(topic) + len(payload) > _LARGEST:
            raise InvalidArgumentError(f"{name}: a message may have {_LARGEST} bytes, this one has {len(payload)}")
        message = Message(name, kind, topic, payload)
        if (left := self._blocked_until - message.since) > 0:
            raise _blocked(name, left)
        return message

    async def _ask(self, operation: Operation, payload: bytes) -> bytes:
        place = f"{operation.name}/{next(self._numbers)}"
        message = self._message(operation.name, operation.kind, f"ioto/service/{self._id}/{place}", payload)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._replies[place] = reply
        limit = self._options.timeout
        try:
            async with asyncio.timeout(limit):
                await self._outbox.send(message)
                return await reply
        except TimeoutError:
            text = f"no reply within {limit:g} s"
            raise CallTimeoutError(text, operation=operation.name, sent=message.sent) from None
        finally:
            del self._replies[place]

    def _of_this_loop(self) -> None:
        if self._loop is None:
            raise ClientStateError("the link is not open: use it as `async with DeviceLink(...) as link`")
        if self._loop is not asyncio.get_running_loop():
            raise ClientStateError("the link belongs to another event loop")

    # The connection ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Keep a connection until the link is closed or turned away."""
        try:
            # It reads files.
            context = await asyncio.get_running_loop().run_in_executor(None, make_context, self._certs, self._ca)
            await self._keep(context)
        except InvalidArgumentError as error:
            self._end(error)
        except asyncio.CancelledError:
            if not self._closed:  # somebody ends all tasks that there are
                self._end(ClientStateError("the task of the link was cancelled"))
            raise
        except Exception as error:
            self._end(ClientStateError(f"the link has failed: {type(error).__name__}"))
            raise

    async def _keep(self, context: ssl.SSLContext) -> None:
        failures = ended = 0
        """Connections in a row that did not last, and those of them that the broker had accepted and ended."""
        while True:
            opened = asyncio.get_running_loop().time()
            was_accepted = False
            try:
                broken = await self._connected(context)
                was_accepted = True
            except Broken as error:
                broken = error
            self._trouble = str(broken)
            if broken.refused or broken.hopeless:
                kind = AuthenticationError if broken.refused else ConnectionFailedError
                self._end(kind(str(broken), operation=_CONNECT, sent=False))
                return
            now = asyncio.get_running_loop().time()
            # A broker that accepts a connection, or even a message, and then always ends it is no better than one that
            # is away.
            if now - opened > self._backoff.cap + self._options.timeout:
                failures = ended = 0
            failures += 1
            logger.info("%s: the connection has ended: %s", self._id, broken)
            if was_accepted and not broken.aborted:
                ended += 1
                if ended == _CONTESTED:
                    self._contested(ended, broken)
            await asyncio.sleep(max(self._wait(failures), self._blocked_until - now))

    def _contested(self, connections: int, broken: Broken) -> None:
        logger.warning(
            "%s: the broker has ended %d connections in a row soon after it had accepted them (%s): does another client"
            " use the same client id and certificate?",
            self._id,
            connections,
            broken,
        )
        self._events.put(Contested(connections=connections, reason=str(broken)))

    def _wait(self, failures: int) -> float:
        wait = self._backoff.wait(
            Failure.NEVER_DELIVERED,
            Kind.READ,
            attempts=failures,
            elapsed=0.0,
            retry_after=None,
            random=random.random,
        )
        assert wait is not None  # the policy has no end
        return wait

    async def _connected(self, context: ssl.SSLContext) -> Broken:
        """Connect once, and return why the connection has ended."""
        assert self._certs.endpoint is not None
        connection = Connection(
            self._certs.endpoint,
            self._certs.port or PORT,
            client_id=self._id,
            context=context,
            keepalive=self._options.keepalive,
            timeout=self._options.timeout,
            proxy=self._proxy,
            on_message=self._heard,
            on_acknowledged=self._outbox.acknowledge,
        )
        try:
            await connection.open(self._topics)
            self._connection = connection
            self._outbox.attach(connection.send)
            if not self._first.done():
                self._first.set_result(None)
            return await asyncio.shield(connection.lost)  # which others wait for
        finally:
            self._connection = None
            self._outbox.detach()
            await connection.close()

    def _heard(self, topic: str, payload: bytes) -> None:
        place = topic.removeprefix(f"ioto/device/{self._id}/")
        if (reply := self._replies.get(place)) is not None:
            if not reply.done():
                reply.set_result(payload)
            return
        if _LATE_REPLY.fullmatch(place):
            logger.debug("%s: a reply came too late: %s", self._id, place)
            return
        event = parse_event(topic, payload, datetime.now(UTC))
        if event is None:
            logger.debug("%s: too old to act on: %s", self._id, topic)
            return
        if isinstance(event, Throttle):
            self._throttle(event)
        self._events.put(event)

    def _throttle(self, event: Throttle) -> None:
        logger.warning("%s: the cloud throttles the device%s", self._id, " and closes the connection" * event.close)
        if not event.close:
            self._outbox.throttle()
            return
        self._blocked_until = asyncio.get_running_loop().time() + _BLOCK
        self._outbox.fail(_blocked(_CONNECT, _BLOCK))
        if self._connection is not None:
            self._connection.abort("the cloud has asked the device to stay away")

    def _stalled(self) -> None:
        if self._connection is not None:
            self._connection.abort(f"nothing was acknowledged within {self._options.timeout:g} s")

    def _out_of_patience(self) -> ConnectionFailedError:
        what = "no acknowledgement" if self.is_connected else "no connection"
        last = "" if self.is_connected else f": {self._trouble}"
        return ConnectionFailedError(
            f"{what} within {self._options.patience:g} s{last}", operation=_CONNECT, sent=False
        )

    def _end(self, cause: CallError | ClientStateError | InvalidArgumentError) -> None:
        """End all waiting, now and from now on, with *cause*."""
        if not self._first.done():
            self._first.set_exception(cause)
            self._first.exception()  # whoever opens the link may have been cancelled
        if isinstance(cause, InvalidArgumentError):
            cause = ClientStateError(f"the link could not be opened: {cause}")
        self._outbox.end(cause)
        self._events.end(cause if isinstance(cause, CallError) else None)
        for place, reply in self._replies.items():
            if not reply.done():
                reply.set_exception(_for_reply(cause, place))
                reply.exception()  # whoever asked may still wait for the acknowledgement


def _for_reply(cause: CallError | ClientStateError, place: str) -> CallError | ClientStateError:
    if isinstance(cause, ClientStateError):
        return ClientStateError(str(cause))
    return type(cause)(cause.message, operation=place.rpartition("/")[0])


def _blocked(name: str, left: float) -> RateLimitedError:
    return RateLimitedError(
        "the cloud has closed the connection for too much traffic", operation=name, sent=False, retry_after=left
    )
