"""One MQTT connection: aiomqtt's client, made to end promptly.

What aiomqtt 2.5 leaves to be done, and why some of its inner parts are used here:

- A connection that ends before the broker has accepted it is noticed by the time-out alone, and so is one that ends
  while topics are subscribed to; a publish waits forever, in a task of its own. Here all wait for ``lost`` as well.
- Connecting runs in a thread of the loop's, of which there are few: it can be neither interrupted nor limited in time,
  and links to a broker that does not answer keep all others from theirs. So the socket is made by ``dial``.
- Why a connection broke is told to the log alone.
- A socket is watched by its number a turn later, when it may be closed and the number another's.
"""

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

import aiomqtt
import aiomqtt.types
from paho.mqtt import client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ..errors import one_line
from ..transport.attempt import reason_of
from ..transport.proxies import Proxy
from . import aiomqtt_private  # noqa: F401  it refuses versions without the names that are used below

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


T = TypeVar("T")

_UNAVAILABLE: Final = 0x88
"""What paho makes of the one refusal, 3, that may be over the next time."""
_REFUSING_ALERTS: Final = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE")
"""Parts of the names of the TLS alerts that a broker sends for a certificate that it does not take."""
_FAREWELL: Final = 1.0
"""Seconds for a broker to read what is left for it, when the connection is closed."""


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


class Connection(aiomqtt.Client):
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
        self._heard: list[OSError] = []
        log = logging.Logger("ioto_async.mqtt", logging.WARNING)  # nobody else's, and silent
        log.addFilter(self._listen)
        super().__init__(
            host,
            port,
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            keepalive=keepalive,
            timeout=timeout,
            max_inflight_messages=0,
            logger=log,
        )
        self._context = context
        self._via = proxy
        self.lost: asyncio.Future[Broken] = asyncio.get_running_loop().create_future()
        self._hear = on_message
        self._acknowledged = on_acknowledged
        self._disconnected.add_done_callback(self._on_broken)

    async def open(self, topics: Sequence[str]) -> None:
        """Connect, and subscribe to *topics*, the first of which is needed.

        Raises:
            Broken: it did not work.
        """
        try:
            async with asyncio.timeout(self.timeout) as limit:
                secure = await dial(self._hostname, self._port, self._context, self._via)
                self._client._create_socket = lambda: secure  # type: ignore[method-assign]
                self._client_connect()
                await asyncio.wait({self._connected})
            self._connected.result()
        except (OSError, aiomqtt.MqttError) as error:
            if limit.expired():
                raise Broken(f"the broker has not accepted the connection within {self.timeout:g} s") from None
            raise self._reason(error) from None
        except ProxyRefusal as error:
            raise Broken(str(error), hopeless=True) from None
        except ValueError as error:  # of the parts of the library that know what a name is
            raise Broken(f"the endpoint {self._hostname!r} is no name of a host: {error}", hopeless=True) from None
        granted = await self._unless_lost(self.subscribe([(topic, 1) for topic in topics]))
        if not granted:
            raise Broken("the broker does not say whether the device may listen")
        if isinstance(granted[0], ReasonCode) and granted[0].is_failure:
            raise Broken(f"the broker does not let the device listen to {topics[0]}", refused=True)

    def send(self, topic: str, payload: bytes) -> int | None:
        """Send with QoS 1; return the number that ``on_acknowledged`` will be called with, None if that did not work.

        Past the method of aiomqtt, which needs a task for each message and knows nothing of a lost connection.
        """
        info = self._client.publish(topic, payload, 1)
        return info.mid if info.rc == paho.MQTT_ERR_SUCCESS else None

    async def close(self) -> None:
        """Say goodbye to the broker if it still listens, and leave nothing behind."""
        try:
            if self._was_accepted() and not self.lost.done():
                self.timeout = _FAREWELL
                await self.__aexit__(None, None, None)
        except aiomqtt.MqttError:
            pass  # the broker does not read any more
        finally:
            self._lose(Broken("closed"))
            self._client._sock_close()
            if self._misc_task is not None:
                self._misc_task.cancel()
                await asyncio.wait({self._misc_task})

    def abort(self, reason: str) -> None:
        """Give the connection up, for *reason*."""
        self._lose(Broken(reason, aborted=True))

    async def _unless_lost(self, call: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(call)
        try:
            ends: set[asyncio.Future[Any]] = {task, self.lost}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self.lost.result()
            return task.result()
        except aiomqtt.MqttError as error:
            raise self._reason(error) from None
        finally:
            task.cancel()

    def _lose(self, reason: Broken) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError(str(reason)))
            self._connected.exception()  # whether or not somebody waits for it

    def _reason(self, error: BaseException | None) -> Broken:
        """Why there is no connection; *error* is what aiomqtt says, and the socket may have said more."""
        if self.lost.done():
            return self.lost.result()
        # aiomqtt's error for a connection that failed has the text of the cause alone.
        cause = error.__context__ if isinstance(error, aiomqtt.MqttError) else error
        heard = [*self._heard, *([cause] if isinstance(cause, OSError) else [])]
        for told in heard:
            name = getattr(told, "reason", None) or ""  # errors of the ssl module have one, most of them
            if "ALERT" in name and any(part in name for part in _REFUSING_ALERTS):
                return Broken(f"the broker does not take the certificate of the device: {name}", refused=True)
            if isinstance(told, ssl.SSLCertVerificationError):
                return Broken(f"the certificate of the broker cannot be trusted: {told.verify_message}", hopeless=True)
        if heard:
            return Broken(str(heard[-1]) or reason_of(heard[-1]))
        return Broken("the broker has closed the connection" if error is None else str(error))

    def _was_accepted(self) -> bool:
        return self._connected.done() and self._connected.exception() is None

    def _listen(self, record: logging.LogRecord) -> bool:
        self._heard += [arg for arg in record.args or () if isinstance(arg, OSError)]
        return False

    def _on_broken(self, disconnected: "asyncio.Future[None]") -> None:
        if disconnected.cancelled():  # nobody waits any more until it is
            return
        self._lose(self._reason(disconnected.exception()))

    # Called by paho ---------------------------------------------------------------------------------------------------

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if reason_code.is_failure:
            refused = reason_code != _UNAVAILABLE
            self._lose(Broken(f"the broker refuses the connection: {reason_code}", refused=refused))
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not self._was_accepted():
            # AWS IoT ends it so for a device that its policy does not let in.
            self._lose(self._reason(aiomqtt.MqttError("the broker has ended the connection before it took the device")))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self,
        client: paho.Client,
        userdata: Any,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        self._acknowledged(mid)

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        # Past the queue of aiomqtt, of which every reading makes a task.
        self._hear(message.topic, bytes(message.payload))

    def _on_socket_open(self, client: paho.Client, userdata: Any, sock: aiomqtt.types.PahoSocket) -> None:
        self._loop.add_reader(sock.fileno(), self._read)
        self._misc_task = self._loop.create_task(self._misc_loop())

    def _read(self) -> None:
        try:
            self._client.loop_read()
            # What TLS has read already is not announced by the socket.
            while isinstance(sock := self._client.socket(), ssl.SSLSocket) and sock.pending():
                self._client.loop_read()
        except Exception as error:  # noqa: BLE001  paho raises all kinds of them for what is no MQTT
            self._lose(self._reason(error))

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: aiomqtt.types.PahoSocket) -> None:
        self._loop.add_writer(sock.fileno(), self._write)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:
            self._lose(Broken(f"writing has failed: {type(error).__name__}"))
            raise

    def _on_socket_close(self, client: paho.Client, userdata: Any, sock: aiomqtt.types.PahoSocket) -> None:
        if not self._was_accepted() and isinstance(sock, ssl.SSLSocket):
            # A broker that does not take the certificate says so after the handshake of TLS 1.3, and closes. Where our
            # next write has met the end first, its word is still unread.
            try:
                sock.recv(1)
            except OSError as error:
                self._heard.append(error)
        super()._on_socket_close(client, userdata, sock)
