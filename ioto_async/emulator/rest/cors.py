"""Cross-origin resource sharing (CORS) for device apps in browsers.

The documents say no more than that browsers send ``Origin`` (reference, section 3).
"""

from collections.abc import Mapping
from typing import Final

import attrs
from aiohttp import hdrs

__all__ = ["FILES", "OPERATIONS", "SIGN_IN", "Policy", "matches", "preflight_headers", "response_headers"]


@attrs.frozen
class Policy:
    """The methods and the headers that a preflight for a kind of URL allows."""

    methods: str
    headers: str


OPERATIONS: Final = Policy("POST", "Authorization, Content-Type, X-Token")
SIGN_IN: Final = Policy("POST", "Content-Type, X-Amz-Target")
FILES: Final = Policy("DELETE, GET, HEAD, PUT", "Content-Type")


def matches(sent: str, origin: str) -> bool:
    """Say whether the header ``Origin`` that was *sent* names the app on the host *origin*."""
    # Documented is the bare host, browsers put the scheme in front.
    return sent.rpartition("//")[2].lower() == origin


def response_headers(headers: Mapping[str, str], origin: str) -> dict[str, str]:
    """Return the headers of a reply that the app on the host *origin* may read, and no other page."""
    if not matches(headers.get(hdrs.ORIGIN, ""), origin):
        return {}
    return {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: headers[hdrs.ORIGIN], hdrs.VARY: hdrs.ORIGIN}


def preflight_headers(method: str, headers: Mapping[str, str], origin: str, policy: Policy) -> dict[str, str] | None:
    """Return the headers that answer a preflight from the app on the host *origin*; None for any other request."""
    if method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in headers:
        return None
    if not matches(headers.get(hdrs.ORIGIN, ""), origin):
        return None
    return response_headers(headers, origin) | {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: policy.methods,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: policy.headers,
    }
