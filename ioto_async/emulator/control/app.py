"""The application of the control API: who may call, and what is called."""

import hmac
import ipaddress
import logging
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import hdrs, web
from yarl import URL

from .. import wire
from ..request import Refused
from . import console
from .actions import ACTIONS
from .controlled import Controlled

__all__ = ["PREFIX", "ControlApp"]

_LOG: Final = logging.getLogger(__name__)
PREFIX: Final = "/_emulator"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class ControlApp:
    """Answers the requests of the control API.

    Args:
        emulator: what to control.
        token: what a request must bring that does not come from this machine.
    """

    def __init__(self, emulator: Controlled, token: str) -> None:
        self._emulator = emulator
        self._token = token

    def add_to(self, app: web.Application) -> None:
        """Answer the requests of *app* to the control API."""
        app.router.add_get(PREFIX, self._redirect)
        app.router.add_get(PREFIX + "/", self._show)
        app.router.add_route("*", PREFIX + "/{name}", self._handle)

    async def _redirect(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={hdrs.LOCATION: f"{PREFIX}/"})

    async def _show(self, request: web.Request) -> web.Response:
        # There is nothing in it but the form for the token, before the page has been let in.
        return console.page(200 if self._may_call(request) else 403)

    async def _handle(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        methods = ACTIONS.get(name)
        if not self._may_call(request):
            return _error(403, "the control API is for this machine, or needs its token: Authorization: bearer TOKEN")
        if methods is None:
            return _error(404, f"{name!r} is not known; there are {', '.join(ACTIONS)}")
        action = methods.get(request.method)
        if action is None:
            allowed = ", ".join(methods)
            return _error(405, f"{name}: expected {allowed}, got {request.method}", {hdrs.ALLOW: allowed})
        try:
            if request.method == hdrs.METH_GET:
                return _reply(action(self._emulator, dict(request.query)))
            # Not read(), which has a limit that snapshots may exceed.
            return _reply(action(self._emulator, _parse(await request.content.read())))
        except (Refused, ValueError) as error:
            return _error(400, f"{name}: {error}")
        except (web.RequestPayloadError, ConnectionError):
            return _error(400, f"{name}: the body cannot be read")
        except Exception as error:  # noqa: BLE001 - a defect must not end the server
            _LOG.error("%s failed", request.path, exc_info=error)
            return _error(500, f"{name}: {type(error).__name__}: {error}")

    def _may_call(self, request: web.Request) -> bool:
        given = request.headers.get(hdrs.AUTHORIZATION)
        if given is not None:
            return hmac.compare_digest(given.rpartition(" ")[2].encode(), self._token.encode())
        # A page of the web can send requests to this machine, under a name of its own too.
        origin, here = request.headers.get(hdrs.ORIGIN), _own_url(request)
        return (
            _is_loopback(request.remote)
            and here is not None
            and _is_loopback(here.host)
            and (origin is None or origin == str(here.origin()))
            and not _is_part_of_another_page(request.headers)
        )


def _own_url(request: web.Request) -> URL | None:
    try:
        return URL.build(scheme=request.scheme, authority=request.host) if request.host else None
    except ValueError:
        return None


def _is_part_of_another_page(headers: Mapping[str, str]) -> bool:
    """Whether a page of another origin wants it as an image, a script or the like, without saying its origin."""
    return headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and headers.get("Sec-Fetch-Mode") != "navigate"


def _is_loopback(host: str | None) -> bool:
    if host in _LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _reply(value: object) -> web.Response:
    return web.Response(body=wire.dumps(value), content_type="application/json", headers=console.GUARDS)


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=wire.dumps({"error": text}),
        content_type="application/json",
        headers={**console.GUARDS, **(headers or {})},
    )


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the body is not valid JSON: {error}") from error
