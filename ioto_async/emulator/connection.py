"""How a connection is cut off. Standard library only."""

import asyncio
import socket
import struct

__all__ = ["cut"]


def cut(transport: asyncio.Transport | None) -> None:
    """End a connection so that the peer sees a reset; one that has ended is left alone."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    # TLS has none any more once its peer has gone.
    if connection is not None:
        # Without lingering the peer sees a reset instead of an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
