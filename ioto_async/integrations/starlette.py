"""Starlette and FastAPI: errors of calls as problem replies, and requests that end when their client has left."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..errors import IotoError
from . import PROBLEM_TYPE, problem_of

__all__ = ["CancelOnDisconnect", "error_handler"]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[MutableMapping[str, Any], _Receive, _Send], Awaitable[None]]


async def error_handler(request: Request, error: Exception) -> Response:
    """Answer a request with `problem_of` the error: ``app.add_exception_handler(IotoError, error_handler)``."""
    if not isinstance(error, IotoError):
        raise error
    problem = problem_of(error)
    return JSONResponse(problem.body(), problem.status, dict(problem.headers), PROBLEM_TYPE)


class CancelOnDisconnect:
    """ASGI middleware that cancels a request whose client has left: ``app.add_middleware(CancelOnDisconnect)``.

    A call of the device cloud that the request waits for ends with it. Frameworks leave such requests alone, so that a
    page that is reloaded in impatience asks the device cloud each time. Work that goes on after the reply is not
    cancelled, nor are WebSockets.
    """

    def __init__(self, app: _App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Exchange(receive, send).run(self._app, scope)


class _Exchange:
    """One request and its reply."""

    def __init__(self, receive: _Receive, send: _Send) -> None:
        self._receive, self._send = receive, send
        # One message is read ahead, so that a body is not gathered here that nobody reads.
        self._messages: asyncio.Queue[_Message] = asyncio.Queue(1)
        self._is_answered = False

    async def run(self, app: _App, scope: MutableMapping[str, Any]) -> None:
        serving = asyncio.ensure_future(app(scope, self._messages.get, self._note_and_send))
        watching = asyncio.ensure_future(self._watch(serving))
        try:
            await serving
        except asyncio.CancelledError:
            if not watching.done() or watching.cancelled() or not watching.result():
                serving.cancel()
                raise
        finally:
            watching.cancel()

    async def _watch(self, serving: "asyncio.Future[None]") -> bool:
        """Pass messages on; True if *serving* was cancelled because the client has left."""
        while True:
            message = await self._receive()
            left = message["type"] == "http.disconnect"
            if left and not self._is_answered:
                serving.cancel()
                return True
            await self._messages.put(message)
            if left:
                return False

    async def _note_and_send(self, message: _Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._is_answered = True
        await self._send(message)
