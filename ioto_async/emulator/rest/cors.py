"""What browsers ask for before and beside the calls of a device app.

Documented is no more than that browsers send ``Origin`` (reference, section 3).
"""

from collections.abc import Mapping
from typing import Final

import attrs
from aiohttp import hdrs

__all__ = ["FILES", "OPERATIONS", "SIGN_IN", "Asked", "allowed", "is_from", "preflight"]


@attrs.frozen
class Asked:
    """The methods and the headers that the app may send to a kind of address, as the reply lists them."""

    methods: str
    headers: str


OPERATIONS: Final = Asked("POST", "Authorization, Content-Type, X-Token")
SIGN_IN: Final = Asked("POST", "Content-Type, X-Amz-Target")
FILES: Final = Asked("DELETE, GET, HEAD, PUT", "Content-Type")


def is_from(headers: Mapping[str, str], origin: str) -> bool:
    """Say whether a request comes from the app on the host *origin*."""
    # Documented is the bare host, browsers put the scheme in front.
    return headers.get(hdrs.ORIGIN, "").rpartition("//")[2].lower() == origin


def allowed(headers: Mapping[str, str], origin: str) -> dict[str, str]:
    """Return what is added to the reply: the app on the host *origin* may read it, no other page."""
    if not is_from(headers, origin):
        return {}
    return {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: headers[hdrs.ORIGIN], hdrs.VARY: hdrs.ORIGIN}


def preflight(method: str, headers: Mapping[str, str], origin: str, asked: Asked) -> dict[str, str] | None:
    """Return the headers that answer a preflight from the app on the host *origin*; None for any other request."""
    if method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in headers:
        return None
    if not is_from(headers, origin):
        return None
    return allowed(headers, origin) | {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: asked.methods,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: asked.headers,
    }
