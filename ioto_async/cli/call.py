"""``ioto-async call``: call any operation by its path."""

import json
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Annotated, Any, Final, TypeVar

import aiohttp
from cyclopts import Parameter
from yarl import URL

from ..client import BuilderClient, IotoClient
from ..controllers.base import replacement
from ..errors import AuthenticationError, InvalidArgumentError
from ..models import JSON
from ..models.value import json_text
from ..operations import BUILDER, IOTO, Operation
from ..settings import Settings
from .options import FLAG, use_api

__all__ = ["call"]

T = TypeVar("T")

_MEMBER: Final = re.compile(r"([^:=]+)(:?=)(.*)", re.DOTALL)
_SECRET: Final = re.compile(
    ".*(token|password|secret|key|certificate|authorization)s?|product", re.IGNORECASE | re.DOTALL
)
"""Names of members and headers that are masked; ``product`` may be a product token."""
_BEARER: Final = "bearer "
_TEXT_TYPES: Final = ("string", "base64", "cursor", "any")
"""Types of members whose value may be text."""


async def call(
    operation: str,
    /,
    *members: str,
    api: str | None = None,
    query: Annotated[Sequence[str], Parameter(negative=())] = (),
    builder: Annotated[bool, FLAG] = False,
    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), negative=(), show_default=False)] = False,
) -> None:
    """Call an operation and print its unchanged reply as JSON.

    The endpoint and the credentials come from IOTO_API and IOTO_TOKEN; nothing is added to the body. An example:
    ioto-async call generic/find _type=Store deviceId=M72DANY8BZ --query limit=10

    Args:
        operation: controller/action, such as device/get; undocumented ones work as well.
        members: members of the body, as key=text or key:=json.
        api: base URL of the device cloud; IOTO_API by default.
        query: key=value to add to the query string; may be given several times.
        builder: call the Builder (IOTO_BUILDER, BUILDER_TOKEN) instead of the device cloud.
        verbose: show each request and the status of its reply on stderr; tokens and keys are masked.
    """
    use_api(api)
    _check_encoding((operation, *members, *query))
    row = (BUILDER if builder else IOTO).get(operation)
    body = _without_duplicates("", (_member(text, row) for text in members))
    options = _without_duplicates("--query ", map(_option, query))
    if row is not None and row.instead:
        _print_lines(f"ioto-async: {replacement(row)}")
    # A session of our own tells when a request is sent; a middleware is called before that.
    traces = [_VerboseTrace(body).config()] if verbose else []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trace_configs=traces) as session:
        kind = BuilderClient if builder else IotoClient
        client = kind(session=session, trust_env=True)
        async with client:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # it has been printed above
                reply = await _call(client, operation, body, options)
    sys.stdout.write(json_text(reply, indent=True) + "\n")


async def _call(
    client: IotoClient | BuilderClient, operation: str, body: Mapping[str, object], options: Mapping[str, str]
) -> JSON:
    try:
        return await client.call(operation, body, query=options)
    except AuthenticationError as error:
        if isinstance(client, BuilderClient) and Settings.from_env().builder_token is None:
            error.add_note("it went without a token: set BUILDER_TOKEN")
        raise


def _check_encoding(arguments: Iterable[str]) -> None:
    for position, argument in enumerate(arguments, 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            # Without the value, which may be a secret.
            name = re.split("[:=]", argument)[0] if "=" in argument else f"argument {position}"
            raise InvalidArgumentError(f"{ascii(name)[1:-1]}: the text is not UTF-8") from None


def _without_duplicates(prefix: str, members: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, value in members:
        if name in found:
            raise InvalidArgumentError(f"{prefix}{name}: given twice")
        found[name] = value
    return found


def _member(text: str, row: Operation | None) -> tuple[str, object]:
    match = _MEMBER.fullmatch(text)
    if match is None:
        raise InvalidArgumentError(f"{text}: expected key=text or key:=json")
    name, sign, value = match.groups()
    if sign == "=":
        for field in () if row is None else row.body:
            if field.name == name and field.type not in _TEXT_TYPES:
                raise InvalidArgumentError(f"{name}: expected JSON ({field.type}), got text: write := for =")
        return name, value
    try:
        # Not by orjson, which converts integers of more than 64 bits to floats.
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise InvalidArgumentError(f"{name}: not JSON: {error.msg} at character {error.pos}") from None
    except (RecursionError, ValueError):  # Python reads no number of more than 4300 digits
        raise InvalidArgumentError(f"{name}: nested too deep, or a number that is too large") from None


def _option(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise InvalidArgumentError(f"--query {text}: expected key=value")
    return name, value


class _VerboseTrace:
    """Prints requests when they are sent, and the status of replies, without the secrets in them."""

    def __init__(self, body: Mapping[str, object]) -> None:
        self._body = body
        settings = Settings.from_env()
        self._secrets = {settings.token, settings.builder_token, settings.password}

    def config(self) -> aiohttp.TraceConfig:
        """The trace config for a session."""
        config = aiohttp.TraceConfig()
        config.on_request_headers_sent.append(self._on_sent)
        config.on_request_end.append(self._on_reply)
        return config

    async def _on_sent(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, sent: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        self._secrets.add(sent.headers.get("Authorization", "").removeprefix(_BEARER))
        headers = [f"{name}: {self._masked(value, name)}" for name, value in sent.headers.items()]
        _print_lines(f"{sent.method} {self._url(sent.url)}", *headers, "", json_text(self._masked(self._body)), "")

    async def _on_reply(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, got: aiohttp.TraceRequestEndParams
    ) -> None:
        _print_lines(f"{got.response.status} {self._masked(got.response.reason)}", "")

    def _url(self, url: URL) -> URL:
        return url.with_query([(name, str(self._masked(value, name))) for name, value in url.query.items()])

    def _masked(self, value: Any, name: str = "") -> Any:
        """*value*, the value of a member or header called *name*, without secrets."""
        if value is not None and _SECRET.fullmatch(name):
            return "***"
        if isinstance(value, Mapping):
            return {name: self._masked(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [self._masked(part) for part in value]
        if isinstance(value, str):
            for secret in sorted(filter(None, self._secrets), key=len, reverse=True):
                value = value.replace(secret, "***")
        return value


def _print_lines(*lines: str) -> None:
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
