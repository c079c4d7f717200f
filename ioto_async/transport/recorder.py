"""What a pool knows of a cassette."""

from typing import Protocol, runtime_checkable

import aiohttp

__all__ = ["Recorder"]


@runtime_checkable
class Recorder(Protocol):
    """Stands between aiohttp and the network; see `Cassette`."""

    @property
    def only_plays(self) -> bool:
        """Whether all replies come from it."""

    def middleware(self, to: str) -> aiohttp.ClientMiddlewareType:
        """The innermost middleware of requests *to* ``cloud``, ``builder``, ``files`` or ``sign-in``."""
