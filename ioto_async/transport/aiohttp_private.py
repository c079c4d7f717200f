"""All private names of aiohttp that this package uses, as there are no public ones; looked for at import."""

import asyncio
import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    from yarl import URL

__all__ = [
    "CAN_SEND_UNASKED",
    "check_borrowable",
    "is_patched",
    "loop_of",
    "middlewares_of",
    "permission_of",
    "proxy_of",
    "use_protocol",
]

_LOOP: Final = "_loop"
_MIDDLEWARES: Final = "_middlewares"
_PROXY: Final = "_default_proxy"
_PROXY_AUTH: Final = "_default_proxy_auth"
_CONTINUE: Final = "_continue"
_FACTORY: Final = "_factory"


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


def _own(name: str) -> object:
    """The method of `aiohttp.ClientSession` that is called *name*, if it is aiohttp's own."""
    method = vars(aiohttp.ClientSession).get(name)
    is_own = isinstance(method, FunctionType) and method.__code__.co_filename == inspect.getfile(aiohttp.ClientSession)
    return method if is_own else None


_SESSION: Final = aiohttp.ClientSession
_REQUEST: Final = _own("_request")
_POST: Final = _own("post")


def is_patched() -> bool:
    """Whether somebody else's hands are on how aiohttp sends requests: a mock, a recorder, a tracer."""
    return _SESSION._request is not _REQUEST or _SESSION.post is not _POST


def _takes(function: Callable[..., object], *names: str) -> bool:
    return {*names} <= inspect.signature(function).parameters.keys()


_IS_KNOWN: Final = (
    _takes(aiohttp.ClientRequest, "method", "url", "headers", "data", "loop")
    and _takes(aiohttp.TCPConnector.connect, "req", "traces", "timeout")
    and _takes(ResponseHandler.set_response_params, "read_until_eof")
)
"""Whether aiohttp can be used in parts as a `FastPath` does."""


def use_protocol(connector: aiohttp.TCPConnector, protocol: type[ResponseHandler]) -> bool:
    """Have the connections of a *connector*, which has none yet, use *protocol*; false where that is not possible."""
    if not _IS_KNOWN or not hasattr(connector, _FACTORY):
        return False
    setattr(connector, _FACTORY, functools.partial(protocol, loop=asyncio.get_running_loop()))
    return True
