"""The HTTP application: routes requests to operations, authenticates, validates and answers them."""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import perf_counter
from types import MappingProxyType
from typing import Any, Final

import attrs
from aiohttp import hdrs, web
from yarl import URL

from ...operations import BUILDER, IOTO, Field, Operation
from .. import wire
from ..dispatch import find_handlers
from ..faults import Fault, Faults, reset
from ..request import AUTHENTICATION_FAILED, Call, Caller, Refused
from ..state.builder import Builder
from ..state.cloud import Cloud
from ..state.cognito import CONTENT_TYPE, CognitoError, redacted
from ..state.tokens import allows
from . import cors, handlers
from .conditions import Failed, select
from .handlers import builder
from .otherwise import check_request, refusal, reshaped
from .plain import Plain, head

__all__ = ["Received", "RestApp"]

_LOG: Final = logging.getLogger(__name__)
_MAX_BODY: Final = 8 * 2**20
_MAX_MESSAGE: Final = 500
_DOWNLOAD: Final = "/download/"
_COGNITO: Final = "/cognito"
_JWKS: Final = "/.well-known/jwks.json"
_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
_BYTES: Final = "application/octet-stream"
_TAKEN_FOR_JSON: Final = (_JSON, _BYTES, _TEXT)
_ANONYMOUS: Final = Caller("public", frozenset({"public"}))

Handler = Callable[[Cloud, Call], object]


@attrs.frozen
class _Route:
    operation: Operation
    handler: Handler
    kinds: frozenset[str]
    """The kinds of token that are valid on this path."""
    caller: Callable[[Cloud, str], Caller | None]
    """Returns who the holder of a token is, to the cloud or to the Builder."""


def _routes() -> Mapping[str, _Route]:
    routes = {}
    for name, handler in find_handlers(handlers, IOTO).items():
        operation = IOTO[name]
        # Tokens and logins have paths of their own (reference, section 2); neither is valid on the other's.
        for path, kinds in ((f"/tok/{name}", {"cloud", "device"}), (f"/{name}", {"login"})):
            routes[path] = _Route(operation, handler, _public(operation) | kinds, Cloud.caller)
    for name, handler in find_handlers(builder, BUILDER).items():
        operation = BUILDER[name]
        at_builder = _at_builder(handler)
        # There is no sign-in at the Builder here: a bare path takes requests without a token, or with a product's.
        bare = _public(operation) if operation.tok else frozenset({"product"})
        routes[f"/api/{name}"] = _Route(operation, at_builder, bare, _builder_caller)
        if operation.tok:
            routes[f"/api/tok/{name}"] = _Route(operation, at_builder, bare | {"builder"}, _builder_caller)
    return MappingProxyType(routes)


def _public(operation: Operation) -> frozenset[str]:
    return frozenset({"public"} if operation.role == "public" else ())


def _at_builder(handler: Callable[[Builder, Call], object]) -> Handler:
    return lambda cloud, call: handler(cloud.builder, call)


def _builder_caller(cloud: Cloud, token: str) -> Caller | None:
    return cloud.builder.caller(token)


_ROUTES: Final = _routes()


@attrs.frozen
class Received:
    """A request that came in and the status of its answer; 0 if the connection was cut without one.

    ``caller`` is the kind of its token, ``public`` if it was not authenticated. The token itself is not kept.
    ``time`` is when it was answered, in epoch seconds by the clock of the cloud, and ``ms`` how long that took.
    """

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    caller: str
    status: int
    time: float = attrs.field(eq=False)
    ms: float = attrs.field(eq=False)
    operation: str | None
    """The name by which a fault selects the request, if any: ``device/get``, ``download``, ``files``, ``cognito``,
    ``jwks``."""
    fault: Fault | None = attrs.field(default=None, eq=False)
    """What was injected into it."""


@attrs.define
class _Answer:
    """A reply, and the request that it answers."""

    status: int = 200
    body: bytes = b""
    type: str = _JSON
    caller: str = "public"
    request: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def refuse_as_aws(self, error: CognitoError) -> None:
        self.status, self.body, self.type = 400, wire.dumps(error.body), CONTENT_TYPE

    def refuse(self, status: int, message: str) -> None:
        # Messages may show what was sent, line ends and all.
        line = "".join(letter if letter.isprintable() else " " for letter in message[:_MAX_MESSAGE])
        self.status, self.body, self.type = status, line.encode(), _TEXT


@attrs.frozen
class _Asked:
    """What an operation is asked with: the parts of a request that count."""

    token: str
    origin: str
    content_type: str
    query: dict[str, str]
    body: bytes


class RestApp:
    """Answers the requests to one cloud, one at a time.

    Args:
        cloud: the state.
        faults: the faults to inject.
        requests: where received requests are recorded.
        local_origins: whether pages of this machine may call it.
    """

    def __init__(self, cloud: Cloud, faults: Faults, requests: deque[Received], *, local_origins: bool = False) -> None:
        self._cloud = cloud
        self._origins = cors.Origins(cloud.origin, local_origins)
        self._faults = faults
        self._requests = requests

    def application(self) -> web.Application:
        """Return the application that answers any request; its one route leads here."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    def answer(self, request: Plain) -> bytes | None:
        """Return the reply to a plain request, None if the application is to answer it."""
        path = request.path
        route = _ROUTES.get(path)
        if route is None or self._faults:
            return None
        started = perf_counter()
        query = dict(URL.build(path="/", query_string=request.query, encoded=True).query) if request.query else {}
        answer = _Answer(request=request.body)
        try:
            answer.body = self._operate(route, _Asked(_bare(request.token), "", _JSON, query, request.body), answer)
        except Exception as error:  # noqa: BLE001 - a defect in one handler must not end the server
            _refuse(path, answer, error)
        now = self._cloud.clock()
        seen = hdrs.METH_POST, path, query, request.body, answer.caller, answer.status
        self._requests.append(Received(*seen, now, _ms(started), route.operation.name))
        return head(answer.status, answer.type, len(answer.body), int(now)) + answer.body

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path, started = request.rel_url.raw_path, perf_counter()
        policy = cors.SIGN_IN if _is_cognito(path) else cors.OPERATIONS
        preflight = self._origins.preflight_headers(request.method, request.headers, policy)
        if preflight is not None:
            self._record(request, path, _Answer(), 204, started)
            return web.Response(status=204, headers=preflight)
        route = self._route(path)
        fault = self._faults.take(_operation(path, route))
        if fault is not None:
            return await self._inject(request, path, route, fault, started)
        answer = await self._answer(request, path, route)
        self._record(request, path, answer, answer.status, started)
        return _response(path, answer, self._headers(request, answer))

    def _route(self, path: str) -> _Route | None:
        if self._cloud.otherwise("A84"):
            path = path.replace("/trigger/", "/action/")
        route = _ROUTES.get(path)
        if route is not None and self._cloud.otherwise("A3"):
            return attrs.evolve(route, kinds=route.kinds | {"cloud", "device"})
        return route

    def _headers(self, request: web.Request, answer: _Answer) -> dict[str, str]:
        return {hdrs.CONTENT_TYPE: answer.type} | dict(answer.headers) | self._origins.response_headers(request.headers)

    def _record(
        self,
        request: web.Request,
        path: str,
        answer: _Answer,
        status: int,
        started: float,
        fault: Fault | None = None,
    ) -> None:
        body = wire.dumps(redacted(answer.request)) if _is_cognito(path) else answer.request
        now, ms = self._cloud.clock(), _ms(started)
        operation = _operation(path, _ROUTES.get(path))
        seen = request.method, path, _query(request), body, answer.caller, status
        self._requests.append(Received(*seen, now, ms, operation, fault))

    async def _answer(self, request: web.Request, path: str, route: _Route | None) -> _Answer:
        answer = _Answer()
        try:
            answer.request = await _read(request)
            if _is_cognito(path):
                self._sign_in(request, path, answer)
            elif path.startswith(_DOWNLOAD) and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
                self._image(request, path, answer)
            else:
                answer.body = self._dispatch(request, route, answer)
        except Exception as error:  # noqa: BLE001 - a defect in one handler must not end the server
            if self._cloud.differences and type(error) is Refused and not _is_cognito(path):
                error = refusal(self._cloud, error)
            _refuse(path, answer, error)
            if self._cloud.otherwise("A10") and answer.type == _TEXT:
                answer.body, answer.type = wire.dumps({"message": answer.body.decode()}), _JSON
        return answer

    def _sign_in(self, request: web.Request, path: str, answer: _Answer) -> None:
        if path.endswith(_JWKS) and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
            pool = path.removeprefix(_COGNITO).removesuffix(_JWKS).strip("/")
            with self._cloud.lock:
                answer.body = wire.dumps(self._cloud.identities.jwks(pool))
            return
        if request.method != hdrs.METH_POST:
            raise CognitoError("UnknownOperationException", "The method must be POST.")
        pool = path.removeprefix(_COGNITO).strip("/")
        target = request.headers.get("X-Amz-Target", "")
        with self._cloud.lock:
            reply = self._cloud.identities.initiate_auth(pool, target, request.content_type, answer.request)
        answer.body, answer.type = wire.dumps(reply), CONTENT_TYPE

    def _image(self, request: web.Request, path: str, answer: _Answer) -> None:
        with self._cloud.lock:
            image = self._cloud.updates.image(path.removeprefix(_DOWNLOAD))
        if image is None:
            # As a store with signed URLs answers; 404 is not among the documented statuses.
            raise Refused("Cannot find image", 403)
        etag = f'"{hashlib.md5(image, usedforsecurity=False).hexdigest()}"'
        part = select(request.headers, len(image), etag)
        answer.status, answer.body, answer.type = part.status, image[part.start : part.stop], _BYTES
        answer.headers = {hdrs.ETAG: etag, hdrs.ACCEPT_RANGES: "bytes", **part.headers}

    def _dispatch(self, request: web.Request, route: _Route | None, answer: _Answer) -> bytes:
        cloud = self._cloud
        if request.method != hdrs.METH_POST and not (request.method == hdrs.METH_GET and cloud.otherwise("A4")):
            raise Refused("Method must be POST")
        if route is None:
            raise Refused("Missing Authentication Token", 403) if cloud.otherwise("A15") else Refused("Unknown action")
        origin = request.headers.get(hdrs.ORIGIN, "")
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        token = _bare(authorization) if cloud.otherwise("A2") else _token(request.headers)
        if cloud.otherwise("A1") and authorization.lower().startswith("bearer "):
            token = authorization  # as no token looks
        asked = _Asked(token, origin, request.content_type, _query(request), answer.request)
        return self._operate(route, asked, answer)

    def _operate(self, route: _Route, asked: _Asked, answer: _Answer) -> bytes:
        cloud = self._cloud
        with cloud.lock:
            # An invalid token is refused even where none is needed.
            caller = route.caller(cloud, asked.token) if asked.token else _ANONYMOUS
            if caller is None or caller.kind not in route.kinds or not self._origin_fits(caller, asked.origin):
                raise Refused(AUTHENTICATION_FAILED, 403)
            answer.caller = caller.kind
            operation = route.operation
            if not allows(caller, operation.role, operation.name):
                # Not the text above, which makes the device agent drop its provisioning.
                raise Refused("Access denied", 403)
            body = _body(asked)
            _check_query(operation.query, asked.query, caller)
            _check_body(operation.body, body, caller)
            # A product token is for its own product alone.
            if caller.kind == "product" and body["product"] != asked.token:
                raise Refused("product must be that of the token", 403)
            if cloud.differences:
                check_request(cloud, operation, asked.body, body, asked.query)
            reply = route.handler(cloud, Call(caller, body, asked.query))
            if cloud.differences:
                reply = reshaped(cloud, operation, asked.query, reply)
                if reply is None and cloud.otherwise("A21"):
                    answer.status = 204
                    return b""
        if isinstance(reply, bytes):
            answer.type = _TEXT
            return reply
        # What the cloud answers where no reply is documented is not known; an empty object suits every client.
        return wire.dumps({} if reply is None else reply)

    def _origin_fits(self, caller: Caller, origin: str) -> bool:
        return caller.kind != "login" or self._origins.match(origin)

    async def _inject(
        self, request: web.Request, path: str, route: _Route | None, fault: Fault, started: float
    ) -> web.StreamResponse:
        await asyncio.sleep(fault.delay)
        if fault.reset == "before" or fault.status is not None or fault.body is not None:
            answer = _fault_answer(fault)
            answer.request = await request.read()
        else:
            answer = await self._answer(request, path, route)
        self._record(request, path, answer, 0 if fault.reset else answer.status, started, fault)
        headers = self._headers(request, answer) | dict(fault.headers)
        if fault.reset:
            reset(request.transport)
        elif fault.truncate:
            return await _send_truncated(request, answer, headers)
        return _response(path, answer, headers)


def _ms(started: float) -> float:
    """How many milliseconds have passed since *started*."""
    return (perf_counter() - started) * 1000


def _is_cognito(path: str) -> bool:
    return path == _COGNITO or path.startswith(f"{_COGNITO}/")


def _operation(path: str, route: _Route | None) -> str | None:
    """Return the name by which a fault selects the request."""
    if route is not None:
        return route.operation.name
    if path.startswith(_DOWNLOAD):
        return "download"
    if _is_cognito(path):
        return "jwks" if path.endswith(_JWKS) else "cognito"
    return None


async def _read(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise Refused("Body is too large") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Refused("Body cannot be read") from error


def _refuse(path: str, answer: _Answer, error: Exception) -> None:
    """Make *answer* say what has failed."""
    if isinstance(error, CognitoError):
        answer.refuse_as_aws(error)
    elif isinstance(error, Failed):
        answer.refuse(error.status, error.message)
        answer.headers = error.headers
    elif not isinstance(error, Refused):
        _LOG.error("%s failed", path, exc_info=error)
        answer.refuse(500, "Service error")
    elif _is_cognito(path):
        answer.refuse_as_aws(CognitoError("SerializationException", error.message))
    else:
        answer.refuse(error.status, error.message)


def _token(headers: Mapping[str, str]) -> str:
    text = headers.get(hdrs.AUTHORIZATION)
    return _bare(headers.get("X-Token", "") if text is None else text)


def _bare(text: str) -> str:
    """The token in the *text* of a header."""
    scheme, _, token = text.strip().partition(" ")
    text = token.strip() if scheme.lower() == "bearer" else text.strip()
    # No token has other than ASCII characters, and the database takes no lone surrogates.
    return text if text.isascii() else "?"


def _query(request: web.Request) -> dict[str, str]:
    return dict(request.query) if request.query_string else {}


def _body(asked: _Asked) -> dict[str, Any]:
    body = asked.body.strip()
    # No refusal is documented. What clients put on bytes by themselves is taken for JSON, a form or a page is not.
    if body and asked.content_type not in _TAKEN_FOR_JSON:
        raise Refused(f"Content-Type must be {_JSON}")
    try:
        return wire.loads(body)
    except ValueError as error:
        raise Refused(str(error)) from error


def _check_body(fields: tuple[Field, ...], members: dict[str, Any], caller: Caller) -> None:
    """Validate the documented members; all others pass.

    A null counts as absent, and so does an empty text where the member is required.
    """
    for field in fields:
        value = members.get(field.name)
        if value is None or (value == "" and field.required):
            if field.required:
                raise Refused(f"Missing {field.name}")
            continue
        _check_role(field, value, caller)
        if field.type != "any" and not _TYPE_CHECKS[field.type](value):
            read = _FROM_TEXT.get(field.name)
            members[field.name] = converted = read(value) if read else None
            if converted is None:
                raise _wrong_type(field)


def _check_query(fields: tuple[Field, ...], members: Mapping[str, str], caller: Caller) -> None:
    """Validate the documented options; all others pass, and those without a value."""
    for field in fields:
        value = members.get(field.name)
        if value:
            _check_role(field, value, caller)


def _wrong_type(field: Field) -> Refused:
    return Refused(f"{field.name} must be of type {field.type}")


def _check_role(field: Field, value: object, caller: Caller) -> None:
    # What happens to a member that the caller may not send is not documented. It is refused, unless it says what
    # holds anyway: the caller's own account or cloud. Owners of an account do not reach into other accounts either.
    if value == {"accountId": caller.account_id, "cloudId": caller.cloud_id}.get(field.name):
        return
    if field.role is not None and field.role not in caller.roles:
        raise Refused(f"{field.name} needs the role {field.role}", 403)
    if field.name == "accountId" and caller.kind in ("login", "device"):
        raise Refused("accountId must be that of the caller", 403)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPE_CHECKS: Final[Mapping[str, Callable[[object], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "base64": lambda value: isinstance(value, str),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
}


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16 else None


def _boolean(value: object) -> bool | None:
    return _BOOLEANS.get(value) if isinstance(value, str) else None


_BOOLEANS: Final[Mapping[str, bool]] = {"true": True, "false": False}


# What shipped clients send as text: the agent a size, the updater's shell form a success.
_FROM_TEXT: Final[Mapping[str, Callable[[object], int | bool | None]]] = {
    "size": _number,
    "success": _boolean,
}


def _fault_answer(fault: Fault) -> _Answer:
    status = 200 if fault.status is None else fault.status
    body = fault.body.encode() if isinstance(fault.body, str) else fault.body or b""
    return _Answer(status, body, _JSON if status == 200 else _TEXT)


def _response(path: str, answer: _Answer, headers: Mapping[str, str]) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body, headers=headers)
    if path.startswith(_DOWNLOAD):
        response.force_close()  # the vendor's updater reads an image until the connection ends
    return response


async def _send_truncated(request: web.Request, answer: _Answer, headers: Mapping[str, str]) -> web.StreamResponse:
    length = {hdrs.CONTENT_LENGTH: str(len(answer.body))}
    response = web.StreamResponse(status=answer.status, headers=dict(headers) | length)
    response.force_close()
    # The client may have disconnected.
    with suppress(ConnectionError):
        await response.prepare(request)
        await response.write(answer.body[: len(answer.body) // 2])
    return response
