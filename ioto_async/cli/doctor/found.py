"""What the checks have found out so far, for those that follow."""

from contextlib import AsyncExitStack

import attrs
from yarl import URL

from ...client import IotoClient
from ...settings import Secret
from ...transport.proxies import Proxy
from .identity import Identity
from .target import Target

__all__ = ["Found"]


@attrs.define
class Found:
    """What is known of the target; each attribute is set by the check that finds it out."""

    target: Target
    limit: float
    """Seconds for each check."""
    stack: AsyncExitStack
    """Closes what the checks have opened."""
    url: URL = attrs.field(init=False)
    """The endpoint."""
    proxy: Proxy | None = None
    """The proxy that it is reached through."""
    proxy_source: str = "HTTPS_PROXY"
    """What names it."""
    login: Secret | None = None
    """The access token of the sign-in; None if there was none."""
    date: str | None = None
    """The header ``Date`` of a reply."""
    received: float = 0.0
    """When that reply came, in epoch seconds."""
    latency: float = 0.0
    """Seconds that it took."""
    client: IotoClient = attrs.field(init=False)
    """A client with the credentials that are configured, which acts for no account."""
    identity: Identity = attrs.field(init=False)
    """Who the caller is."""
