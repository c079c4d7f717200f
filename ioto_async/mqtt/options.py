"""Options of device links, and the certificates that a link needs."""

import re
from typing import Final, TypedDict

import attrs
from yarl import URL

from ..errors import InvalidArgumentError
from ..models import Certificates
from ..settings import check_text, flag, seconds, whole_number
from ..transport.proxies import Proxies, Proxy, check_proxy

__all__ = ["PORT", "LinkOptions", "Options", "checked"]

PORT: Final = 443
"""The agent's, where the certificates name none."""

_OF: Final = "DeviceLink"


class LinkOptions(TypedDict, total=False):
    """How a link connects and sends. Each option can be left out.

    Attributes:
        window: messages that are sent and not acknowledged, from 1 to 10 000; 100 by default.
        patience: seconds without an acknowledgement after which calls fail (see `DeviceLink`); 60 by default.
        timeout: seconds that the broker has to accept the connection, to say whether the device may listen, and to
            acknowledge a message, before the connection is given up and made again; and those that a reply may take. 30
            by default.
        keepalive: whole seconds, from 30 to 1200, after which an idle connection is probed; 60 by default.
        base: seconds; upper bound of the wait before the first new connection; 0.25 by default.
        cap: seconds; upper bound of all such waits; 8 by default.
        backlog: events that are kept until they are read (see `DeviceLink.events`); 1000 by default.
        proxy: URL of an http proxy, which the link asks for a tunnel (CONNECT); with user and password in it if the
            proxy wants them.
        trust_env: whether ``HTTPS_PROXY`` and ``NO_PROXY`` of the process say which proxy to use; False by default.
    """

    window: int
    patience: float
    timeout: float
    keepalive: int
    base: float
    cap: float
    backlog: int
    proxy: str | URL | None
    trust_env: bool


_ADDRESS: Final = re.compile(r"(?:mqtts?|ssl|tls|https)://([^/:\[\]]+)(?::([0-9]{1,5}))?/?")
"""An endpoint that is a URL."""


@attrs.frozen(kw_only=True)
class Options:
    """`LinkOptions` with their defaults and checks."""

    window: int = attrs.field(default=100, validator=whole_number(1, 10_000, of=_OF))
    patience: float = attrs.field(default=60.0, validator=seconds(above_zero=True, of=_OF))
    timeout: float = attrs.field(default=30.0, validator=seconds(above_zero=True, of=_OF))
    keepalive: int = attrs.field(default=60, validator=whole_number(30, 1200, of=_OF))
    base: float = attrs.field(default=0.25, validator=seconds(of=_OF))
    cap: float = attrs.field(default=8.0, validator=seconds(of=_OF))
    backlog: int = attrs.field(default=1000, validator=whole_number(1, of=_OF))
    proxy: str | URL | None = attrs.field(default=None, repr=False, validator=check_proxy)
    trust_env: bool = attrs.field(default=False, validator=flag(of=_OF))

    def proxy_of(self, host: str, port: int) -> Proxy | None:
        """The proxy that a broker is reached through.

        Raises:
            InvalidArgumentError: it is no http proxy, or *host* is no name of a host.
        """
        if self.proxy is None and not self.trust_env:
            return None
        try:
            url = URL.build(scheme="https", host=host, port=port)
        except ValueError as error:
            raise InvalidArgumentError(f"{_OF}: certs: endpoint: {host!r} is no name of a host: {error}") from None
        proxy = Proxies(self.proxy, trust_env=self.trust_env).of(url)
        if proxy is not None and proxy.url.scheme != "http":
            raise InvalidArgumentError(f"{_OF}: proxy: expected an http proxy, got {proxy.url.scheme}://…")
        return proxy


def checked(certs: Certificates) -> Certificates:
    """Return *certs*, their endpoint as a host, if a link can be made with them.

    Raises:
        InvalidArgumentError: one of their parts is missing or does not fit.
    """
    if not isinstance(certs, Certificates):
        raise InvalidArgumentError(f"{_OF}: certs: expected Certificates, got {type(certs).__name__}")
    for name in ("id", "certificate", "key", "endpoint"):
        value = getattr(certs, name)
        if not isinstance(value, str) or not value:
            raise InvalidArgumentError(f"{_OF}: certs: {name} is required")
    check_text(f"{_OF}: certs: endpoint", certs.endpoint)
    for name in ("id", "account_id"):
        value = getattr(certs, name)
        if value is not None and not re.fullmatch(r"[^/+#\s\x00]+", value):
            raise InvalidArgumentError(f"{_OF}: certs: {name}: expected a key without / + # and spaces, got {value!r}")
    if certs.port is not None and not (type(certs.port) is int and 0 < certs.port < 65536):
        raise InvalidArgumentError(f"{_OF}: certs: port: expected 1 to 65535, got {certs.port!r}")
    address = _ADDRESS.fullmatch(str(certs.endpoint))
    if address is None:
        return certs
    # The device agent reads a host and a port. A cloud may have a URL in their place.
    port = certs.port if certs.port is not None or address[2] is None else int(address[2])
    return attrs.evolve(certs, endpoint=address[1], port=port)
