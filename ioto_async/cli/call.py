"""``ioto-async call``: any operation, by its path. Imports the clients."""

import re
import sys
from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import orjson
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from cyclopts import Parameter

from ..client import BuilderClient, IotoClient
from ..errors import InvalidArgumentError
from .report import FLAG

__all__ = ["call"]

_MEMBER: Final = re.compile(r"([^:=]+)(:?=)(.*)", re.DOTALL)
_CREDENTIALS: Final = "Authorization"

Members: TypeAlias = dict[str, object]


async def call(
    operation: str,
    *members: str,
    query: Annotated[Sequence[str], Parameter(negative=())] = (),
    builder: Annotated[bool, FLAG] = False,
    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), negative=(), show_default=False)] = False,
) -> None:
    """Call an operation and print its reply, as it came, as JSON.

    The endpoint and the credentials come from IOTO_API and IOTO_TOKEN; nothing is added to the body. For instance
    ioto-async call generic/find _type=Store deviceId=M72DANY8BZ --query limit=10

    Args:
        operation: controller/action, such as device/get; it need not be a documented one.
        members: members of the body, as key=text or key:=json.
        query: key=value of the query string; may be given several times.
        builder: call the Builder (IOTO_BUILDER, BUILDER_TOKEN) instead of the device cloud.
        verbose: show each request and the status of its reply on stderr; the token is masked.
    """
    body = dict(_member(word) for word in members)
    options = dict(_option(word) for word in query)
    middlewares = (_Shown(body),) if verbose else ()
    client: IotoClient | BuilderClient
    client = BuilderClient(middlewares=middlewares) if builder else IotoClient(middlewares=middlewares)
    async with client:
        reply = await client.call(operation, body, query=options)
    sys.stdout.write(orjson.dumps(reply, option=orjson.OPT_INDENT_2).decode() + "\n")


def _member(word: str) -> tuple[str, object]:
    match = _MEMBER.fullmatch(word)
    if match is None:
        raise InvalidArgumentError(f"{word}: expected key=text or key:=json")
    name, sign, value = match.groups()
    if sign == "=":
        return name, value
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise InvalidArgumentError(f"{name}: not JSON: {error.msg} at character {error.pos}") from None


def _option(word: str) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if not name or not sign:
        raise InvalidArgumentError(f"--query {word}: expected key=value")
    return name, value


class _Shown:
    """Shows what was sent once the credentials, which are added further in, are in place."""

    def __init__(self, body: Members) -> None:
        self._body = orjson.dumps(body).decode()

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        try:
            response = await handler(request)
        finally:
            headers = [f"{name}: {'***' if name == _CREDENTIALS else value}" for name, value in request.headers.items()]
            _say(f"{request.method} {request.url}", *headers, "", self._body, "")
        _say(f"{response.status} {response.reason}", "")
        return response


def _say(*lines: str) -> None:
    sys.stderr.write("\n".join(lines) + "\n")
