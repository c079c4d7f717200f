"""Proxies: which one a URL is reached through, as an option or the environment says."""

import base64
import urllib.request
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import attrs
from yarl import URL

from ..errors import InvalidArgumentError
from ..settings import Secret, flag, secret

__all__ = ["Proxies", "Proxy", "check_proxy", "concealed", "parse_proxy", "proxy_arguments"]

_FLAG: Final = flag()
_VARIABLES: Final = {"http": "HTTP_PROXY", "https": "HTTPS_PROXY"}


@attrs.frozen
class Proxy:
    """A proxy, and what it wants to know of its users."""

    url: URL
    """Without user-info, which must not show in errors."""
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Its credentials; for the proxy alone."""


def parse_proxy(value: object, *, name: str = "proxy") -> Proxy:
    """Return the proxy that the URL *value* names.

    Args:
        value: ``http://host:port`` or ``https://host:port``, with user and password in front of the host if it wants
            them; text or a `yarl.URL`.
        name: what to call it in an error.

    Raises:
        InvalidArgumentError: it is no such URL. The text does not show it, as it may hold a password.
    """
    expected = f"{name}: expected the URL of an http or https proxy, such as http://proxy.example:3128"
    value = concealed(value)
    if not isinstance(value, Secret):
        raise InvalidArgumentError(f"{expected}, got {type(value).__name__}")
    proxy = _parsed(value)
    if isinstance(proxy, str):
        raise InvalidArgumentError(f"{expected}{proxy}")
    return proxy


def concealed(value: Any) -> Any:
    """*value* as a `Secret` if it can be the URL of a proxy, as that may hold a password."""
    return Secret(value) if isinstance(value, (str, URL)) else value


def _parsed(value: str) -> Proxy | str:
    """The proxy, or what is wrong with its URL: an error that is raised here would show it among its variables."""
    try:
        url = URL(value)
        fits = url.scheme in ("http", "https") and bool(url.host and url.port)
    except ValueError:
        return "; this is no URL"
    if not fits:
        return f", got {url.scheme or 'no scheme'}://…"
    headers = {}
    if url.user is not None or url.password is not None:
        credentials = f"{url.user or ''}:{url.password or ''}".encode()
        headers["Proxy-Authorization"] = Secret(f"Basic {base64.b64encode(credentials).decode()}")
    return Proxy(url.origin(), headers)


def check_proxy(instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept *value* for a field of an attrs class, if it is None or the URL of a proxy.

    Raises:
        InvalidArgumentError: it is neither.
    """
    value = concealed(value)
    if value is not None:
        parse_proxy(value, name=attribute.name)


class Proxies:
    """The proxies of a client, of a sign-in or of a device link.

    Args:
        proxy: the URL of a proxy for all requests; None for none.
        trust_env: whether ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` say it where *proxy* does not.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """

    __slots__ = ("_proxy", "_trust_env")

    def __init__(self, proxy: str | URL | None = None, *, trust_env: bool = False) -> None:
        self._proxy = None if proxy is None else parse_proxy(proxy)
        _FLAG.check("trust_env", trust_env)
        self._trust_env = trust_env

    def of(self, url: URL) -> Proxy | None:
        """The proxy that *url* is reached through; None for a connection of its own.

        Raises:
            InvalidArgumentError: the variable that names it has no URL of an http or https proxy.
        """
        if self._proxy is not None or not self._trust_env:
            return self._proxy
        if urllib.request.proxy_bypass(f"{url.host}:{url.port}"):
            return None
        found = secret(urllib.request.getproxies().get(url.scheme))
        return parse_proxy(found, name=_VARIABLES[url.scheme]) if found else None


def proxy_arguments(
    proxy: Proxy | None, url: URL, headers: MutableMapping[str, str]
) -> tuple[URL | None, Mapping[str, str] | None]:
    """The ``proxy`` and ``proxy_headers`` of an aiohttp request to *url*, whose *headers* get what else is needed."""
    if proxy is None:
        return None, None
    if url.scheme == "http":  # there is no CONNECT, which aiohttp sends the others with
        headers.update(proxy.headers)
    return proxy.url, proxy.headers
