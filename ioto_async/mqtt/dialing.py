"""Makes a TLS socket to a broker without a thread: one that waits would keep others from theirs. Standard library."""

import asyncio
import socket
import ssl
from collections.abc import Callable

__all__ = ["dial"]


async def dial(host: str, port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Connect to *port* of *host*, and shake hands; what was made is closed where that does not work.

    Returns:
        A socket that does not block.

    Raises:
        OSError: it did not work, at the last address of the host.
    """
    raw = await _connected(host, port)
    try:
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
