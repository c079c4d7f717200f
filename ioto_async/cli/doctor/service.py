"""Whether an Ioto cloud answers, and whether its clock and ours agree."""

import math
import time
from email.utils import parsedate_to_datetime
from typing import Final

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from yarl import URL

from ...client import BuilderClient, ClientOptions
from ...controllers import TestController
from ...errors import (
    AuthenticationError,
    CallError,
    CallTimeoutError,
    ConnectionFailedError,
    ConnectionLostError,
    DecodeError,
    RateLimitedError,
    ServiceError,
    StatusError,
    UnexpectedStatusError,
)
from ...transport.retry import RetryPolicy
from .found import Found
from .network import PROXY_LOGIN
from .results import CheckResult, failed, ok, skipped, warning

__all__ = ["check_clock", "check_service", "options_of", "unreached"]

_ONCE: Final = RetryPolicy(attempts=1)
_MARGIN: Final = 0.5
"""Seconds by which a call ends before its check, to tell what it waited for."""
_TOLERATED: Final = 10.0
"""Seconds between the clocks that are not worth telling."""
_PROXY_AUTHENTICATION: Final = 407
_PING: Final = "pinged"
_NO_API: Final = ("Not Found", "Missing Authentication Token")
"""What AWS API Gateway itself says of a path that leads to no API."""


def options_of(found: Found) -> ClientOptions:
    """The options of a client that makes the calls of checks: once, and within their time."""
    timeout = found.limit - min(_MARGIN, found.limit / 10)
    options: ClientOptions = {"retry": _ONCE, "timeout": timeout, "max_retry_after": 0.0, "trust_env": True}
    if found.target.proxy is not None:
        options["proxy"] = found.target.proxy
    return options


async def check_service(found: Found) -> CheckResult:
    """Whether the endpoint answers as an Ioto cloud does; it is asked without a token."""
    replies: list[ClientResponse] = []

    async def note(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        started = time.monotonic()
        response = await handler(request)
        found.received, found.latency = time.time(), time.monotonic() - started
        found.date = response.headers.get("Date")
        replies.append(response)
        return response

    options: ClientOptions = {**options_of(found), "middlewares": [note]}
    # A client of the device cloud would have credentials.
    async with BuilderClient(str(found.url), environ={}, **options) as client:
        try:
            reply = await TestController(client._transport, None).ping()
        except CallError as error:
            return _refused(error, found, replies[-1] if replies else None)
    if not reply.startswith(_PING):
        return _not_ioto(found, "its reply to test/ping is not that of one")
    return ok(f"answers test/ping in {found.latency * 1000:.0f} ms", ms=round(found.latency * 1000, 1), status=200)


def _refused(error: CallError, found: Found, reply: ClientResponse | None) -> CheckResult:
    """What a failure of the call tells of the service."""
    if isinstance(error, (ConnectionLostError, DecodeError)):
        hint = f"check the port in {found.target.named('api')}"
        if found.url.scheme == "http":
            hint += "; if TLS is spoken there, write https:// instead of http://"
        return failed(f"what listens there does not speak HTTP: {error.message}", hint, exit_status=4)
    if not isinstance(error, StatusError) or reply is None:
        return unreached(error)
    text = f"{error.status} {error.message}"
    if error.status == _PROXY_AUTHENTICATION:
        return unreached(error)
    if isinstance(error, UnexpectedStatusError) and (location := reply.headers.get("Location")) is not None:
        return _redirected(found, location)
    if isinstance(error, (ServiceError, RateLimitedError)):
        return failed(f"the service fails: {text}", "try again later; if that does not help, ask the vendor")
    if reply.content_type == "text/html" or error.message in _NO_API or error.status == 404:
        return _not_ioto(found, f"it answers {text}")
    latency = found.latency * 1000
    details = {"ms": round(latency, 1), "status": error.status}
    if isinstance(error, AuthenticationError):  # a cloud, or its gateway, may want a token even here
        return ok(f"answers in {latency:.0f} ms: {text}", **details)
    hint = f"if the next checks fail, set {found.target.named('api')} to the URL that the Builder shows"
    return warning(f"answers {text} to test/ping, as no Ioto cloud is known to", hint, **details)


def _redirected(found: Found, location: str) -> CheckResult:
    try:
        target = found.url.join(URL(location))
        known = str(target.origin()) if target.host else None
    except ValueError:
        known = None
    hint = f"set {found.target.named('api')} to the URL of the cloud itself"
    return failed(
        f"{str(found.url).rstrip('/')} redirects to {known or 'another place'}, and redirects are not followed", hint
    )


def _not_ioto(found: Found, why: str) -> CheckResult:
    hint = f"set {found.target.named('api')} to the URL that the cloud panel of the Builder shows"
    if found.proxy is not None:
        hint = f"the proxy of {found.proxy_source} may have answered in its place; if not, {hint}"
    return failed(f"there is no Ioto cloud at {str(found.url).rstrip('/')}: {why}", hint)


def unreached(error: CallError) -> CheckResult:
    """The result of a check whose call failed, where the credentials were not refused."""
    if isinstance(error, (ConnectionFailedError, CallTimeoutError)):
        hint = "check the network, the proxy and the port"
        if isinstance(error, CallTimeoutError):
            hint = "try again, or give it more time with --timeout"
        return failed(error.message, hint, exit_status=4)
    if error.status == _PROXY_AUTHENTICATION:
        return failed(f"the proxy refuses: {error.status} {error.message}", PROXY_LOGIN, exit_status=4)
    return failed(str(error), "check the endpoint and try again; if it is right, report what the service answers")


async def check_clock(found: Found) -> CheckResult:
    """Whether the clock of this machine agrees with that of the service."""
    try:
        theirs = parsedate_to_datetime(found.date or "").timestamp()
    except ValueError:
        return skipped("the reply has no date")
    # The date has whole seconds, and was written when the reply was on its way.
    difference = found.received - found.latency / 2 - (theirs + 0.5)
    seconds = round(difference, 1)
    if abs(difference) <= _TOLERATED:
        return ok(f"within {max(math.ceil(abs(difference)), 1)} s of the service's", seconds=seconds)
    direction = "ahead of" if difference > 0 else "behind"
    return warning(
        f"the clock of this machine is {_span(abs(difference))} {direction} the service's",
        "set it, for example with timedatectl set-ntp true: a wrong clock makes certificates, login tokens and signed"
        " URLs fail",
        seconds=seconds,
    )


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
