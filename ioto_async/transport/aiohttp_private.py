"""All private names of aiohttp that this package uses, as there are no public ones; looked for at import."""

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    from yarl import URL

__all__ = ["CAN_SEND_UNASKED", "check_borrowable", "loop_of", "middlewares_of", "permission_of", "proxy_of"]

_LOOP: Final = "_loop"
_MIDDLEWARES: Final = "_middlewares"
_PROXY: Final = "_default_proxy"
_PROXY_AUTH: Final = "_default_proxy_auth"
_CONTINUE: Final = "_continue"


def _missing() -> tuple[str, ...]:
    """What the sessions of the installed aiohttp do not have; version 3 lists in ``ATTRS`` what they have."""
    known = {*getattr(aiohttp.ClientSession, "ATTRS", ()), *getattr(aiohttp.ClientSession, "__slots__", ())}
    return tuple(name for name in (_LOOP, _MIDDLEWARES, _PROXY, _PROXY_AUTH) if name not in known)


_MISSING: Final = _missing()
CAN_SEND_UNASKED: Final = hasattr(aiohttp.ClientRequest, _CONTINUE)
"""Whether a body can be sent though its host, which was asked with ``Expect: 100-continue``, says nothing."""


def check_borrowable() -> None:
    """Make sure that all that a client has to know of a session which it is given can be known.

    Raises:
        InvalidArgumentError: the installed aiohttp does not show it.
    """
    if _MISSING:
        raise InvalidArgumentError(
            f"session: aiohttp {aiohttp.__version__} has no ClientSession.{_MISSING[0]}, without which none can be "
            "shared: let the client make its own session, or install an aiohttp that has it"
        )


def loop_of(session: aiohttp.ClientSession) -> asyncio.AbstractEventLoop:
    """The event loop of *session*."""
    loop: asyncio.AbstractEventLoop = getattr(session, _LOOP)
    return loop


def middlewares_of(session: aiohttp.ClientSession) -> tuple[aiohttp.ClientMiddlewareType, ...]:
    """The middlewares of *session*, which those of a request would replace."""
    return tuple(getattr(session, _MIDDLEWARES))


def proxy_of(session: aiohttp.ClientSession) -> "tuple[URL | str | None, aiohttp.BasicAuth | None]":
    """The proxy of *session*, and the credentials for it."""
    return getattr(session, _PROXY), getattr(session, _PROXY_AUTH)


def permission_of(request: aiohttp.ClientRequest) -> "asyncio.Future[bool] | None":
    """What *request* waits for before it sends its body, if it does."""
    permission: asyncio.Future[bool] | None = getattr(request, _CONTINUE, None)
    return permission
