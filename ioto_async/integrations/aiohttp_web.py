"""aiohttp.web: errors of calls as problem replies."""

from aiohttp import web
from aiohttp.typedefs import Handler

from ..errors import IotoError
from . import PROBLEM_TYPE, problem_of

__all__ = ["error_middleware"]


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request whose call has failed with `problem_of` it: ``web.Application(middlewares=[error_middleware])``.

    Requests end with their client where the server is told so: ``web.run_app(app, handler_cancellation=True)``.
    """
    try:
        return await handler(request)
    except IotoError as error:
        problem = problem_of(error)
        return web.json_response(
            problem.body(), status=problem.status, headers=problem.headers, content_type=PROBLEM_TYPE
        )
