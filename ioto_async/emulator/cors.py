"""What browsers ask for before and beside the calls of a device app. Imports nothing of the package.

Documented is no more than that browsers send ``Origin`` (reference, section 3).
"""

from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs

__all__ = ["allowed", "is_from", "preflight"]

_HEADERS: Final = "Authorization, Content-Type, X-Token"
# What a sign-in sends.
_COGNITO_HEADERS: Final = "Content-Type, X-Amz-Target"


def is_from(headers: Mapping[str, str], origin: str) -> bool:
    """Say whether a request comes from the app on the host *origin*."""
    # Documented is the bare host, browsers put the scheme in front.
    return headers.get(hdrs.ORIGIN, "").rpartition("//")[2].lower() == origin


def allowed(headers: Mapping[str, str], origin: str) -> dict[str, str]:
    """Return what is added to the reply: the app on the host *origin* may read it, no other page."""
    if not is_from(headers, origin):
        return {}
    return {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: headers[hdrs.ORIGIN], hdrs.VARY: hdrs.ORIGIN}


def preflight(method: str, headers: Mapping[str, str], origin: str, *, cognito: bool) -> dict[str, str] | None:
    """Return the headers that answer a preflight from the app on the host *origin*; None for any other request."""
    if method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in headers:
        return None
    if not is_from(headers, origin):
        return None
    return allowed(headers, origin) | {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: hdrs.METH_POST,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _COGNITO_HEADERS if cognito else _HEADERS,
    }
