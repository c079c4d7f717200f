"""How a check asks a cloud: the replies as they came, at the client's pace, and what was written is taken back."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import aiohttp
import attrs
import orjson

from ..client import IotoClient
from ..codec.words import says_not_found, words_of
from ..errors import CallError, InvalidArgumentError, one_line
from ..settings import conceal
from .finding import MARK, Unclear
from .masking import Masks

__all__ = ["Context", "Probe", "Reply", "Sending", "shape"]

T = TypeVar("T")

_LARGEST: Final = 16 * 2**20
_UNDO_TIMEOUT: Final = 15.0
"""Seconds for one thing to be taken back."""
_LOGIN_ONLY: Final = "the client signs in with a login, and this is about tokens"


@attrs.frozen
class Sending:
    """How a request is sent that no method of the client makes.

    Attributes:
        method: the HTTP method.
        body: the bytes of the body; None for no body.
        is_bare: whether ``/tok`` is left out of the path.
        headers: those of the credentials; none if it is empty.
        options: further members of the query string.
    """

    method: str = "POST"
    body: bytes | None = None
    is_bare: bool = False
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    options: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Reply:
    """A reply as it came.

    Attributes:
        operation: what was called.
        status: its HTTP status.
        type: its content type, in lower case and without parameters.
        body: its body.
    """

    operation: str
    status: int
    type: str
    body: bytes = attrs.field(repr=False)

    @property
    def is_ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        """Whether the request was refused for what it is, and not for who sends it, or how often."""
        return 400 <= self.status < 500 and self.status not in (401, 403, 408, 429)

    @property
    def text(self) -> str:
        """The body as text in one line, of which the end may be missing."""
        return one_line(self.body.decode("utf-8", "replace"))

    @property
    def value(self) -> Any:
        """The JSON of the body; text where it is none, and None where it is empty."""
        if not self.body.strip():
            return None
        try:
            return conceal(orjson.loads(self.body))
        except orjson.JSONDecodeError:
            return self.body.decode("utf-8", "replace")

    @property
    def record(self) -> dict[str, Any]:
        """The record in it, whether it is wrapped in ``data`` or not; empty where there is none."""
        value = self.value
        if isinstance(value, dict) and value.keys() <= {"data", "paged"} and isinstance(value.get("data"), dict):
            value = value["data"]
        return value if isinstance(value, dict) else {}

    @property
    def records(self) -> list[Any]:
        """The elements of the list in it, whether that is wrapped in ``data`` or not; empty where there is none."""
        value = self.value
        if isinstance(value, dict):
            value = value.get("data")
        return value if isinstance(value, list) else []

    def __str__(self) -> str:
        seen = self.text if self.type != "application/json" or not self.is_ok else shape(self.value)
        return f"{self.operation}: {self.status} {self.type or 'without a type'}: {seen or 'empty'}"


def shape(value: object, depth: int = 2) -> str:
    """What JSON looks like: names of members and types, and no values."""
    if isinstance(value, dict):
        if not depth:
            return "object"
        parts = [f"{name}: {shape(member, depth - 1)}" for name, member in sorted(value.items())[:12]]
        return "{" + ", ".join(parts + ["…"] * (len(value) > 12)) + "}"
    if isinstance(value, list):
        return f"[{len(value)} of {shape(value[0], depth - 1) if depth else 'any'}]" if value else "[]"
    names: dict[type | tuple[type, ...], str] = {bool: "boolean", (int, float): "number", str: "string"}
    return next((name for types, name in names.items() if isinstance(value, types)), "null")


@attrs.define
class Context:
    """What is known of the cloud and of the caller.

    Attributes:
        token: the token of the client; None if it signs in with a login.
        account_id: the account that it acts for; None if that is not known.
        cloud_id: the cloud; None if that is not known.
        device: the device that the user has named, of the check under way; None if there is none.
    """

    token: str | None = attrs.field(repr=False)
    account_id: str | None = None
    cloud_id: str | None = None
    device: str | None = None


_SENDING: Final[ContextVar[Sending | None]] = ContextVar("ioto_async_conformance_sending", default=None)
_SEEN: Final[ContextVar[list[Reply] | None]] = ContextVar("ioto_async_conformance_seen", default=None)


class Capture:
    """The aiohttp client middleware that keeps replies as they came, and sends what no method of the client makes.

    It works within a call of the client, which so has its limits, its pauses and its time-out.

    Args:
        session: sends what the client does not.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send *request*."""
        sending, seen = _SENDING.get(), _SEEN.get()
        response = await (handler(request) if sending is None else self._send(request, sending))
        if seen is not None:
            body = await _read(response)
            operation = "/".join(request.url.path.split("/")[-2:])
            seen.append(Reply(operation, response.status, response.content_type.lower(), body))
        return response

    def _send(self, request: aiohttp.ClientRequest, sending: Sending) -> Awaitable[aiohttp.ClientResponse]:
        url = request.url
        if sending.is_bare:
            url = url.with_path(url.raw_path.replace("/tok/", "/", 1), encoded=True).with_query(url.query)
        url = url.update_query(sending.options)
        headers = {"Content-Type": "application/json", **sending.headers}
        return self._session.request(
            sending.method, url, data=sending.body, headers=headers, allow_redirects=False, middlewares=()
        )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, or the beginning of a large one; whoever reads it after this finds it empty."""
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > _LARGEST:
            response.close()
            break
    return bytes(data)


@attrs.define
class _Undo:
    """Something to be taken back."""

    what: str
    undo: Callable[[], Coroutine[Any, Any, Reply]]


class Probe:
    """Asks a cloud for the checks.

    Args:
        client: makes the calls: with `Capture` among its middlewares, without retries.
        context: what is known.
        masks: learns what replies show.

    Attributes:
        client: see above.
        context: see above.
        left: what could not be taken back, and why.
    """

    def __init__(self, client: IotoClient, context: Context, masks: Masks) -> None:
        self.client = client
        self.context = context
        self.left: list[str] = []
        self._masks = masks
        self._undos: list[_Undo] = []

    # What is known -------------------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """The token of the client."""
        return _known(self.context.token, _LOGIN_ONLY)

    @property
    def account_id(self) -> str:
        """The account of the client."""
        return _known(self.context.account_id, "the account is not known: give --account, or set IOTO_ACCOUNT")

    @property
    def cloud_id(self) -> str:
        """The key of the cloud."""
        return _known(self.context.cloud_id, "the key of the cloud is not known: set IOTO_CLOUD")

    @property
    def device(self) -> str:
        """The device that the user has named."""
        return _known(self.context.device, "no device was named: give --device ID")

    @property
    def of_account(self) -> dict[str, object]:
        """The member ``accountId`` of a body, where one is needed and known."""
        needed = self.context.token is not None and self.context.account_id is not None
        return {"accountId": self.context.account_id} if needed else {}

    # Requests ------------------------------------------------------------------------------------------------------

    async def ask(
        self,
        operation: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, object] | None = None,
        sending: Sending | None = None,
    ) -> Reply:
        """Call *operation* and return its reply, whatever it is.

        Raises:
            Unclear: there was none, or it says that there are too many requests.
        """
        seen: list[Reply] = []
        marks = _SENDING.set(sending), _SEEN.set(seen)
        try:
            await self.client.call(operation, body, query=query)
        except InvalidArgumentError as error:
            raise Unclear(f"not sent: {error}") from None
        except CallError as error:
            if not seen:  # what the client makes of a reply does not matter here
                raise Unclear(f"no reply: {error}") from None
        finally:
            _SENDING.reset(marks[0])
            _SEEN.reset(marks[1])
        reply = seen[-1]
        self._masks.learn(operation, reply.value)
        if reply.status in (408, 429, 503):
            raise Unclear(f"the service asks for fewer requests: {reply.status} {reply.text}")
        return reply

    async def get(
        self, operation: str, body: Mapping[str, object] | None = None, *, query: Mapping[str, object] | None = None
    ) -> Reply:
        """As `ask`, for what is to succeed.

        Raises:
            Unclear: it does not, or the caller may not.
        """
        reply = await self.ask(operation, body, query=query)
        if not reply.is_ok:
            why = "the caller may not call it" if reply.status in (401, 403) else "expected a success"
            raise Unclear(f"{why}: {operation}: {reply.status} {reply.text}")
        return reply

    async def write(
        self,
        operation: str,
        body: Mapping[str, object],
        *,
        query: Mapping[str, object] | None = None,
        must: bool = True,
    ) -> Reply:
        """As `get`, or with *must* false as `ask`, for what changes something: when it is cancelled, it ends first."""
        call = self.get(operation, body, query=query) if must else self.ask(operation, body, query=query)
        return await _to_its_end(asyncio.ensure_future(call))

    # What is written ------------------------------------------------------------------------------------------------

    def name(self) -> str:
        """A name that nothing else has."""
        return f"{MARK}-{secrets.token_hex(6)}"

    def take_back(self, what: str, undo: Callable[[], Coroutine[Any, Any, Reply]]) -> None:
        """Call *undo* when the check has ended in any way; to be said before it is written."""
        self._undos.append(_Undo(what, undo))

    @asynccontextmanager
    async def taking_back(self) -> AsyncIterator[None]:
        """Run a check in the body; what it has written is taken back then, whatever happens."""
        try:
            yield
        finally:
            if self._undos:
                await _to_its_end(asyncio.ensure_future(self._undo_all()))

    async def _undo_all(self) -> None:
        while self._undos:
            each = self._undos.pop()
            try:
                async with asyncio.timeout(_UNDO_TIMEOUT):
                    reply = await each.undo()
                is_absent = reply.status == 404 or says_not_found(words_of(reply.value))
                if not reply.is_ok and not is_absent:
                    self.left.append(f"{each.what}: {reply.status} {reply.text}")
            except TimeoutError:
                self.left.append(f"{each.what}: no reply within {_UNDO_TIMEOUT:g} s")
            except Unclear as unclear:
                self.left.append(f"{each.what}: {unclear}")

    # What several checks write --------------------------------------------------------------------------------------

    def item(self, **members: object) -> dict[str, object]:
        """The body of a generic call on a Store item of the device; its key is a new name unless it is given."""
        item = {"_type": "Store", **self.of_account, "deviceId": self.device, "key": self.name(), **members}

        async def undo() -> Reply:
            return await self.ask("generic/remove", {name: item[name] for name in item if name in _STORE_KEY})

        self.take_back(f"Store item {item['key']} of the device {self.device}", undo)
        return item

    async def dashboard(self) -> tuple[dict[str, Any], str]:
        """Make a dashboard, and return its record and its name."""
        name = self.name()

        made: dict[str, Any] = {}

        async def undo() -> Reply:
            if "id" not in made:  # its reply was lost
                found = await self.ask("dashboard/get", {"name": name, **self.of_account})
                if not found.record.get("id"):
                    return found
                made.update(found.record)
            return await self.ask("dashboard/remove", {"id": made["id"], **self.of_account})

        self.take_back(f"dashboard {name}", undo)
        made |= (await self.write("dashboard/create", {"name": name, **self.of_account})).record
        return made, name

    async def file(self, content: bytes) -> tuple[Reply, str]:
        """Write a file, and return the reply and its name."""
        name = f"{self.name()}.txt"

        async def undo() -> Reply:
            return await self.ask("file/remove", {"filename": name, **self.of_account})

        self.take_back(f"file {name}", undo)

        body = {"filename": name, "mimeType": "text/plain", "data": base64.b64encode(content).decode()}
        return await self.write("file/put", {**body, **self.of_account}), name


_STORE_KEY: Final = ("_type", "accountId", "deviceId", "key")


def _known(value: str | None, why_not: str) -> str:
    if value is None:
        raise Unclear(why_not)
    return value


async def _to_its_end(task: "asyncio.Future[T]") -> T:
    """The result of *task*, which ends before this does, however often this is cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                break
            cancelled = error
        except Exception:  # noqa: BLE001 - the task has it
            break
    if cancelled is not None:
        with suppress(asyncio.CancelledError, Exception):
            task.result()
        raise cancelled
    return task.result()
