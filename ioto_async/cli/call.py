"""``ioto-async call``: call any operation by its path."""

import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from types import SimpleNamespace
from typing import Annotated, Any, Final

import aiohttp
from cyclopts import Parameter
from yarl import URL

from ..client import BuilderClient, IotoClient
from ..controllers.base import replacement
from ..controllers.paging import Paged
from ..errors import AuthenticationError, InvalidArgumentError, StatusError
from ..models import JSON, Cursor, Page
from ..models.value import json_text
from ..operations import BUILDER, IOTO, Operation, Reply
from ..settings import Settings
from .members import check_encoding, split_member, value_of, without_duplicates
from .options import FLAG, use_api

__all__ = ["call"]

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
    paginate: Annotated[bool, FLAG] = False,
    include: Annotated[bool, Parameter(name=("--include", "-i"), negative=(), show_default=False)] = False,
    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), negative=(), show_default=False)] = False,
) -> None:
    """Call an operation and print its unchanged reply as JSON.

    The endpoint and the credentials come from IOTO_API and IOTO_TOKEN; nothing is added to the body. For instance, a
    page of a list, all IDs of it, and one record with the status and the headers of its reply:

        ioto-async call generic/find _type=Store deviceId=M72DANY8BZ --query limit=10
        ioto-async call device/find --query limit=100 --paginate | jq -r '.data[].id'
        ioto-async call device/get id=M72DANY8BZ -i

    Args:
        operation: controller/action, such as device/get; undocumented ones work as well.
        members: members of the body, as key=text or key:=json.
        api: base URL of the device cloud; IOTO_API by default.
        query: key=value to add to the query string; may be given several times.
        builder: call the Builder (IOTO_BUILDER, BUILDER_TOKEN) instead of the device cloud.
        paginate: go on with the next page until the last, and print the reply of each; backward if --query has prev.
        include: print the status and the headers of a reply before it.
        verbose: show each request and the status of its reply on stderr; tokens and keys are masked.
    """
    use_api(api)
    check_encoding((operation, *members, *query))
    row = (BUILDER if builder else IOTO).get(operation)
    body = without_duplicates("", (_member(text, row) for text in members))
    options = without_duplicates("--query ", map(_option, query))
    if row is not None and row.instead:
        _print_lines(f"ioto-async: {replacement(row)}")
    if paginate and row is not None and row.reply is not Reply.PAGED:
        raise InvalidArgumentError(f"--paginate: {operation} has no pages")
    # A session of our own tells when a request is sent; a middleware is called before that.
    head = _Head()
    traces = [*([_VerboseTrace(body).config()] if verbose else []), *([head.config()] if include else [])]

    async def fetch(cursor: Mapping[str, Cursor]) -> Page[str]:
        try:
            reply = await _call(client, operation, body, {**options, **cursor})
        except StatusError:
            sys.stdout.write(head.text)
            raise
        text = f"{head.text}{json_text(reply, indent=True)}\n"
        cursors = reply if isinstance(reply, Mapping) else {}
        return Page(items=[text], next=_cursor(cursors.get("next")), prev=_cursor(cursors.get("prev")))

    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trace_configs=traces) as session:
        kind = BuilderClient if builder else IotoClient
        client = kind(session=session, trust_env=True)
        async with client:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # it has been printed above
                if not paginate:
                    sys.stdout.writelines((await fetch({})).items)
                    return
                found = Paged(operation, fetch, next=options.pop("next", None), prev=options.pop("prev", None))
                async with aclosing(found.pages()) as pages:
                    async for page in pages:
                        sys.stdout.writelines(page.items)
                        sys.stdout.flush()


def _cursor(value: JSON) -> Cursor | None:
    return value if value and isinstance(value, (str, dict)) else None


async def _call(
    client: IotoClient | BuilderClient, operation: str, body: Mapping[str, object], options: Mapping[str, Cursor]
) -> JSON:
    try:
        return await client.call(operation, body, query=options)
    except AuthenticationError as error:
        if isinstance(client, BuilderClient) and Settings.from_env().builder_token is None:
            error.add_note("it went without a token: set BUILDER_TOKEN")
        raise


def _member(text: str, row: Operation | None) -> tuple[str, object]:
    name, sign, value = split_member(text)
    if sign == "=":
        for field in () if row is None else row.body:
            if field.name == name and field.type not in _TEXT_TYPES:
                raise InvalidArgumentError(f"{name}: expected JSON ({field.type}), got text: write := for =")
    return name, value_of(name, sign, value)


def _option(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise InvalidArgumentError(f"--query {text}: expected key=value")
    return name, value


class _Head:
    """The status and the headers of the last reply, as text."""

    text = ""

    def config(self) -> aiohttp.TraceConfig:
        """The trace config for a session."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._on_reply)
        return config

    async def _on_reply(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, got: aiohttp.TraceRequestEndParams
    ) -> None:
        reply = got.response
        version = "HTTP/1.1" if reply.version is None else f"HTTP/{reply.version.major}.{reply.version.minor}"
        lines = [f"{version} {reply.status} {reply.reason or ''}".rstrip()]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        self.text = "\n".join([*lines, "", ""])


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
