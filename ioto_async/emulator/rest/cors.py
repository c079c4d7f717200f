"""Cross-origin resource sharing (CORS) for device apps in browsers.

The documents say no more than that browsers send ``Origin`` (reference, section 3). The vendor's library for browsers
sends every request with ``credentials: 'include'``.
"""

import re
from collections.abc import Mapping
from typing import Final

import attrs
from aiohttp import hdrs

__all__ = ["FILES", "OPERATIONS", "SIGN_IN", "Origins", "Policy"]

_LOCAL: Final = re.compile(
    r"https?://(localhost|[a-z0-9-]+\.localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?", re.IGNORECASE
)


@attrs.frozen
class Policy:
    """The methods and the headers that a preflight for a kind of URL allows."""

    methods: str
    headers: str


OPERATIONS: Final = Policy("POST", "Authorization, Content-Type, X-Token")
SIGN_IN: Final = Policy("POST", "Content-Type, X-Amz-Target")
FILES: Final = Policy("DELETE, GET, HEAD, PUT", "Content-Type")


@attrs.frozen
class Origins:
    """The pages that may call a cloud: those of the app on *host*, and with *local* those of this machine."""

    host: str
    local: bool

    def match(self, origin: str) -> bool:
        """Say whether a request whose header ``Origin`` is *origin* comes from such a page."""
        # Documented is the bare host, browsers put the scheme in front.
        return origin.rpartition("//")[2].lower() == self.host or (self.local and _LOCAL.fullmatch(origin) is not None)

    def response_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of a reply that such a page may read, and no other one."""
        if not self.match(headers.get(hdrs.ORIGIN, "")):
            return {}
        return {
            hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: headers[hdrs.ORIGIN],
            hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS: "true",
            hdrs.VARY: hdrs.ORIGIN,
        }

    def preflight_headers(self, method: str, headers: Mapping[str, str], policy: Policy) -> dict[str, str] | None:
        """Return the headers that answer a preflight from such a page; None for any other request."""
        if method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in headers:
            return None
        if not (readable := self.response_headers(headers)):
            return None
        return readable | {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: policy.methods,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: policy.headers,
        }
