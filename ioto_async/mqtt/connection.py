"""One MQTT connection: a TLS socket that the loop watches, and the packets on it.

The socket is one of the ssl module, and not a transport of asyncio's: it costs less for each packet, and it says why a
broker has refused a certificate, which with TLS 1.3 comes after the handshake.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..errors import one_line
from ..transport.attempt import reason_of
from ..transport.proxies import Proxy
from . import packets
from .packets import Connack, Malformed, Packet, Pingresp, Puback, Publish, Suback

__all__ = ["Broken", "Connection", "ProxyRefusal", "dial"]

_PROXY_REPLY_LIMIT: Final = 1 << 14
"""Bytes of what a proxy answers."""


class ProxyRefusal(Exception):
    """The proxy does not let the connection through, and will not the next time."""


async def dial(host: str, port: int, context: ssl.SSLContext, proxy: Proxy | None = None) -> ssl.SSLSocket:
    """Connect to *port* of *host*, and shake hands; what was made is closed where that does not work.

    Args:
        host: where to.
        port: where to.
        context: the TLS of the connection.
        proxy: an http proxy to connect through.

    Returns:
        A socket that does not block.

    Raises:
        OSError: it did not work, at the last address of the host.
        ProxyRefusal: the proxy does not allow it.
    """
    if proxy is None:
        raw = await _connected(host, port)
    else:
        raw = await _connected(proxy.url.host or "", proxy.url.port or 80)
    try:
        if proxy is not None:
            await _tunnel(raw, host, port, proxy)
        secure = context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
    except BaseException:
        raw.close()
        raise
    try:
        await _shaken(secure)
    except BaseException:
        secure.close()
        raise
    return secure


async def _connected(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    failed = OSError(f"no address of {host!r} is known")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        raw = socket.socket(family, kind, protocol)
        try:
            raw.setblocking(False)
            # Each message is a segment of its own; one that waits for the other side's delayed ACK takes 40 ms.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(raw, address)
        except OSError as error:
            raw.close()
            failed = error
        except BaseException:
            raw.close()
            raise
        else:
            return raw
    raise failed


async def _tunnel(raw: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Have the proxy at the other end of *raw* connect to *port* of *host*."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(raw, _connect(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", proxy))
    reply = bytearray()
    while not reply.endswith(b"\r\n\r\n"):
        # No byte more: what follows belongs to TLS.
        byte = await loop.sock_recv(raw, 1)
        if not byte or len(reply) >= _PROXY_REPLY_LIMIT:
            raise OSError("the proxy does not answer in HTTP")
        reply += byte
    answer = re.match(rb"HTTP/1\.\d (\d{3}) ?([^\r\n]*)", reply)
    if answer is None:
        raise OSError("the proxy does not answer in HTTP")
    if answer[1] != b"200":
        text = (
            f"the proxy does not let the connection through: {one_line(b' '.join(answer.groups()).decode('latin-1'))}"
        )
        if answer[1][:1] == b"4" and answer[1] not in (b"408", b"429"):
            raise ProxyRefusal(text)
        raise OSError(text)


def _connect(target: str, proxy: Proxy) -> bytes:
    """The request of a *proxy* for a connection to *target*."""
    credentials = (f"{name}: {proxy.headers[name]}" for name in proxy.headers)
    lines = (f"CONNECT {target} HTTP/1.1", f"Host: {target}", *credentials, "")
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


async def _shaken(secure: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            secure.do_handshake()
        except ssl.SSLWantReadError:
            await _ready(secure, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _ready(secure, loop.add_writer, loop.remove_writer)
        else:
            return


async def _ready(
    secure: ssl.SSLSocket, watch: Callable[[int, Callable[[], None]], object], unwatch: Callable[[int], object]
) -> None:
    ready = asyncio.Event()
    watch(secure.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        unwatch(secure.fileno())


_REFUSALS: Final = {
    1: "Unsupported protocol version",
    2: "Client identifier not valid",
    3: "Server unavailable",
    4: "Bad user name or password",
    5: "Not authorized",
}
_UNAVAILABLE: Final = 3
"""The one refusal that may be over the next time."""
_REFUSING_ALERTS: Final = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE")
"""Parts of the names of the TLS alerts that a broker sends for a certificate that it does not take."""
_FAREWELL: Final = 1.0
"""Seconds for a broker to read what is left for it, when the connection is closed."""
_LARGEST: Final = 1 << 20
"""Bytes of a packet from the broker; the largest of AWS IoT have an eighth."""
_RECORD: Final = 1 << 14
"""Bytes of the largest TLS record: what is read at once."""
_RECORDS: Final = 64
"""How many are read before others have their turn."""


class Broken(Exception):
    """There is no connection, or no more.

    Attributes:
        refused: the broker has turned the device away, and will do so again.
        hopeless: another try would meet the same, for another reason.
        aborted: the link has given it up by itself.
    """

    def __init__(self, reason: str, *, refused: bool = False, hopeless: bool = False, aborted: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused
        self.hopeless = hopeless
        self.aborted = aborted


class Connection:
    """A connection for one use: `open` it, and `close` it whatever became of that.

    Args:
        host: the broker's.
        port: the broker's.
        client_id: the device's.
        context: TLS with the device's certificate.
        keepalive: seconds.
        timeout: seconds for the broker to accept the connection, and again for the topics.
        proxy: an http proxy to connect through.
        on_message: called with topic and payload of each message that comes.
        on_acknowledged: called with the number of each message that the broker has taken.

    Attributes:
        lost: done when the connection has ended, and then says why.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        client_id: str,
        context: ssl.SSLContext,
        keepalive: int,
        timeout: float,
        proxy: Proxy | None,
        on_message: Callable[[str, bytes], None],
        on_acknowledged: Callable[[int], None],
    ) -> None:
        self._host = host
        self._port = port
        self._client_id = client_id
        self._context = context
        self._keepalive = keepalive
        self._timeout = timeout
        self._proxy = proxy
        self._on_message = on_message
        self._on_acknowledged = on_acknowledged
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Broken] = self._loop.create_future()
        self._socket: ssl.SSLSocket | None = None
        self._reader = packets.Reader(_LARGEST)
        self._answer: asyncio.Future[Packet] | None = None
        """What `open` waits for."""
        self._accepted = False
        self._number = 0
        self._unacknowledged: set[int] = set()
        self._queue: list[bytes] = []
        self._unsent = b""
        """What the socket has not taken; OpenSSL wants to be given the same again."""
        self._writing: asyncio.Handle | None = None
        self._reading: asyncio.Handle | None = None
        self._drained: asyncio.Future[None] | None = None
        self._pulse: asyncio.TimerHandle | None = None
        self._is_probed = False
        self._read_at = self._written_at = self._loop.time()

    async def open(self, topics: Sequence[str]) -> None:
        """Connect, and subscribe to *topics*, the first of which is needed.

        Raises:
            Broken: it did not work.
        """
        try:
            async with asyncio.timeout(self._timeout) as limit:
                self._socket = await dial(self._host, self._port, self._context, self._proxy)
                self._loop.add_reader(self._socket.fileno(), self._read)
                answer = await self._answered(packets.connect(self._client_id, self._keepalive))
        except OSError as error:
            if limit.expired():
                raise Broken(f"the broker has not accepted the connection within {self._timeout:g} s") from None
            raise _reason(error) from None
        except ProxyRefusal as error:
            raise Broken(str(error), hopeless=True) from None
        except ValueError as error:  # of the parts of the library that know what a name is
            raise Broken(f"the endpoint {self._host!r} is no name of a host: {error}", hopeless=True) from None
        if not isinstance(answer, Connack):
            raise Broken("the broker has answered the connection with another packet")
        if answer.code:
            text = _REFUSALS.get(answer.code, "Unspecified error")
            raise Broken(f"the broker refuses the connection: {text}", refused=answer.code != _UNAVAILABLE)
        self._accepted = True
        self._beat()
        await self._subscribe(topics)

    async def _subscribe(self, topics: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._answered(packets.subscribe(self._next_number(), topics))
        except TimeoutError:
            answer = None
        if not isinstance(answer, Suback) or not answer.codes:
            raise Broken("the broker does not say whether the device may listen")
        if answer.codes[0] > 1:
            raise Broken(f"the broker does not let the device listen to {topics[0]}", refused=True)

    def send(self, topic: str, payload: bytes) -> int | None:
        """Send with QoS 1; return the number that ``on_acknowledged`` will be called with, None if that did not work.

        All that is sent in one turn of the loop leaves together.
        """
        if self.lost.done():
            return None
        if len(self._unacknowledged) == packets.LAST_NUMBER:
            self.abort("the broker acknowledges nothing, and there is no number left for another message")
            return None
        number = self._next_number()
        self._unacknowledged.add(number)
        self._write(packets.publish(topic, payload, number))
        return number

    async def close(self) -> None:
        """Say goodbye to the broker if it still listens, and leave nothing behind."""
        try:
            if self._accepted and not self.lost.done():
                self._write(packets.DISCONNECT)
                self._flush()
                if self._unsent and not self.lost.done():
                    self._drained = self._loop.create_future()
                    ends: set[asyncio.Future[Any]] = {self._drained, self.lost}
                    await asyncio.wait(ends, timeout=_FAREWELL, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._lose(Broken("closed"))
            if self._socket is not None:
                self._socket.close()

    def abort(self, reason: str) -> None:
        """Give the connection up, for *reason*."""
        self._lose(Broken(reason, aborted=True))

    async def _answered(self, packet: bytes) -> Packet:
        """Send *packet*, and return what answers it."""
        self._answer = self._loop.create_future()
        self._write(packet)
        ends: set[asyncio.Future[Any]] = {self._answer, self.lost}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not self._answer.done():
            raise self.lost.result()
        return self._answer.result()

    def _next_number(self) -> int:
        """A number that no message on its way has."""
        while True:
            self._number = self._number % packets.LAST_NUMBER + 1
            if self._number not in self._unacknowledged:
                return self._number

    def _lose(self, reason: Broken) -> None:
        """Note that the connection has ended, for *reason* unless it is known already, and let the loop forget it."""
        if not self.lost.done():
            self.lost.set_result(reason)
        for handle in (self._writing, self._reading, self._pulse):
            if handle is not None:
                handle.cancel()
        if self._socket is not None and (number := self._socket.fileno()) >= 0:
            self._loop.remove_reader(number)
            self._loop.remove_writer(number)

    # Writing ----------------------------------------------------------------------------------------------------------

    def _write(self, packet: bytes) -> None:
        if not self._queue and not self._unsent:
            self._writing = self._loop.call_soon(self._flush)
        self._queue.append(packet)

    def _flush(self) -> None:
        if self._socket is None or self.lost.done():
            return
        try:
            while self._unsent or self._queue:
                if not self._unsent:
                    self._unsent = b"".join(self._queue)
                    self._queue.clear()
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except ssl.SSLWantWriteError:
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
        except ssl.SSLWantReadError:
            pass  # TLS is busy with itself, and goes on when something was read
        except OSError as error:
            self._lose(self._why(error))
        else:
            self._written_at = self._loop.time()
            if self._drained is not None and not self._drained.done():
                self._drained.set_result(None)

    def _on_writable(self) -> None:
        if self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())
        self._flush()
        self._read()  # which waits as well where TLS has something to say

    # Reading ----------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        self._reading = None
        if self._socket is None or self.lost.done():
            return
        try:
            self._receive(self._socket)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
        except Malformed as error:
            self._lose(Broken(f"the broker has sent {error}"))
        except OSError as error:
            self._lose(self._why(error))
        except BaseException as error:  # of those who were called; what else was read is lost
            self._lose(Broken(f"reading has failed: {type(error).__name__}"))
            raise
        if self._unsent:
            self._flush()

    def _receive(self, secure: ssl.SSLSocket) -> None:
        for _ in range(_RECORDS):
            data = secure.recv(_RECORD)
            if not data:
                self._lose(self._why(None))
                return
            self._read_at = self._loop.time()
            for packet in self._reader.feed(data):
                self._take(packet)
            if self.lost.done():
                return
        # What TLS has read already is not announced by the socket.
        self._reading = self._loop.call_soon(self._read)

    def _take(self, packet: Packet) -> None:
        if isinstance(packet, Puback):
            if packet.number in self._unacknowledged:
                self._unacknowledged.remove(packet.number)
                self._on_acknowledged(packet.number)
        elif isinstance(packet, Publish):
            if packet.number:
                self._write(packets.puback(packet.number))
            self._on_message(packet.topic, packet.payload)
        elif isinstance(packet, Pingresp):
            self._is_probed = False
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(packet)

    # The end ----------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Probe a connection on which one side has been silent, and give it up where that is not answered."""
        now = self._loop.time()
        due = min(self._read_at, self._written_at) + self._keepalive
        if now >= due:
            if self._is_probed:
                self.abort(f"the broker has not answered a ping within {self._keepalive} s")
                return
            self._is_probed = True
            self._write(packets.PINGREQ)
            due = now + self._keepalive
        self._pulse = self._loop.call_at(due, self._beat)

    def _why(self, error: OSError | None) -> Broken:
        """Why the connection has ended: *error* says so, or what the broker has sent before."""
        if self._accepted or self._socket is None:
            return _reason(error) if error is not None else Broken("the broker has closed the connection")
        if error is not None:
            # A broker that does not take the certificate says so after the handshake of TLS 1.3, and closes. Where our
            # next write has met the end first, its word is still unread.
            try:
                self._socket.recv(1)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            except OSError as unread:
                if (refusal := _reason(unread)).refused:
                    return refusal
            return _reason(error)
        # AWS IoT ends it so for a device that its policy does not let in.
        return Broken("the broker has ended the connection before it took the device")


def _reason(error: OSError) -> Broken:
    name = getattr(error, "reason", None) or ""  # errors of the ssl module have one, most of them
    if "ALERT" in name and any(part in name for part in _REFUSING_ALERTS):
        return Broken(f"the broker does not take the certificate of the device: {name}", refused=True)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Broken(f"the certificate of the broker cannot be trusted: {error.verify_message}", hopeless=True)
    return Broken(str(error) or reason_of(error))
