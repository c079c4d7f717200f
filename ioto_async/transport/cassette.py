"""Cassettes: what a client sends and gets is recorded to a file, masked, and played from it without a network."""

import base64
import contextlib
import functools
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Collection
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, get_args

import aiohttp
from aiohttp.payload import Payload
from multidict import CIMultiDict

from ..errors import CassetteError, InvalidArgumentError
from .attempt import RequestPayload, flaw_of
from .cassette_file import Exchange, Head, append, begin, begin_or_go_on, go_on, read
from .masking import Masks
from .playing import SIGN_IN, Playlist
from .recorder import Recorder
from .replaying import Canned, play

__all__ = ["Cassette", "Order", "RecordMode", "open_cassette"]

RecordMode = Literal["none", "once", "new_episodes", "all", "append"]
"""What a cassette does, in the words of VCR.

``none``: it plays what is recorded; nothing goes out. ``once``: so, if the file is there, and else it records.
``new_episodes``: it plays what is recorded, and records the rest. ``all``: everything goes out, and is recorded in
place of what the file has. ``append``: everything goes out, and is added to the file.
"""
Order = Literal["loose", "strict"]
"""Which recorded exchange answers a request: the first of the same request that has not been played (``loose``), or the
next one, which must be of the same request (``strict``)."""

INLINE: Final = 1 << 16
"""Bytes of a file, and of any body that is no text, that are kept; of larger ones, size and SHA-256 are."""
_LARGEST: Final = 1 << 26
"""Bytes of a reply that are read to be recorded; of a longer one the rest is missing."""
_KEPT_HEADERS: Final = ("Content-Type", "Location", "Retry-After", "x-amz-checksum-sha256")
_CONTENT: Final = ("query", "headers", "body", "text")
_USUAL_TYPES: Final = {"body": "application/json", "text": "text/plain", "bytes": "application/octet-stream"}
_FILES: Final = "files"
_BEARER: Final = "bearer "


class Cassette:
    """A file of recorded exchanges: ``IotoClient(cassette=Cassette("trip.cassette"))``.

    It may be given to several clients, and to those of one test after another; it plays each exchange once.

    Args:
        path: of the file.
        mode: see `RecordMode`.
        order: see `Order`.
        mask: whether identifiers are masked (claim IDs, the keys of accounts, users and the like), each always by the
            same mask. Secrets, e-mail addresses and URLs always are.
        ignore: names of members of bodies and query strings that need not be as recorded when played, such as
            ``timestamp``.

    Attributes:
        path: see above.
        mode: see above.

    Raises:
        InvalidArgumentError: an argument does not fit.
        CassetteError: the file is none, is damaged, or is not there and must be.
        OSError: it cannot be read.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        mode: RecordMode = "once",
        *,
        order: Order = "loose",
        mask: bool = True,
        ignore: Collection[str] = (),
    ) -> None:
        self.path = _path(path)
        self.mode = _one_of("mode", mode, get_args(RecordMode))
        _one_of("order", order, get_args(Order))
        if not isinstance(mask, bool):
            raise InvalidArgumentError(f"mask: expected True or False, got {mask!r}")
        if isinstance(ignore, str) or not all(isinstance(name, str) for name in ignore):
            raise InvalidArgumentError(f"ignore: expected names of members, got {ignore!r}")
        exists = self.path.exists() and self.path.stat().st_size > 0
        if mode == "none" and not exists:
            raise CassetteError(
                f"{self.path}: no such cassette; the mode once records one, as does ioto-async --record FILE"
            )
        recorded = read(self.path) if exists else None
        self._head = Head(ids=mask) if recorded is None else recorded.head
        if recorded is not None and mode == "all" and self._head.ids != mask:
            self._head = Head(self._head.salt, mask)
        self._is_begun = recorded is not None and mode != "all"
        self._records = mode in ("all", "append", "new_episodes") or not exists
        self._masks = Masks(self._head.salt, ids=self._head.ids)
        if recorded is not None and self._records and mode != "all":
            if self._head.ids != mask:
                raise InvalidArgumentError(f"mask: {self.path} was begun with mask={self._head.ids}")
            go_on(self.path)
        self._playlist: Playlist | None = None
        if recorded is not None and mode in ("none", "once", "new_episodes"):
            self._playlist = Playlist(
                str(self.path),
                recorded.exchanges,
                strict=order == "strict",
                ignore=frozenset(ignore),
                alias=self._masks.alias,
            )

    def __repr__(self) -> str:
        return f"Cassette({str(self.path)!r}, {self.mode!r})"

    @property
    def only_plays(self) -> bool:
        """Whether nothing goes out, so that no credentials, no endpoint and no pause between attempts are needed."""
        return not self._records

    @property
    def unplayed(self) -> list[str]:
        """What has not been played yet: the operation and the line of each exchange; sign-ins are not among it."""
        left = [] if self._playlist is None else self._playlist.left
        return [f"{exchange.request['operation']} (line {exchange.line})" for exchange in left]

    def middleware(self, to: str) -> aiohttp.ClientMiddlewareType:
        """What stands between aiohttp and the requests *to* ``cloud``, ``builder``, ``files`` or ``sign-in``."""
        return functools.partial(self._handle, to)

    async def _handle(
        self, to: str, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        try:
            return await self._answer(to, request, handler)
        except CassetteError as error:
            failed = error.with_traceback(None)  # whose variables are what is to be masked
        raise failed

    async def _answer(
        self, to: str, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        described = await self._described(to, request)
        if self._playlist is not None:
            masked = self._masked(described)
            if (exchange := self._playlist.find(masked)) is not None:
                return await self._play(exchange, request)
            if not self._records:
                raise self._playlist.refusal(masked)
        return await self._record(described, request, handler)

    def _masked(self, part: dict[str, Any]) -> dict[str, Any]:
        """A request or a reply, masked: what is in it, and not what this module says of it."""
        self._masks.look_at({name: part[name] for name in _CONTENT if name in part})
        return {name: self._masks.value(value) if name in _CONTENT else value for name, value in part.items()}

    # Requests ---------------------------------------------------------------------------------------------------------

    async def _described(self, to: str, request: aiohttp.ClientRequest) -> dict[str, Any]:
        """A request as a cassette has it, not masked."""
        headers = request.headers
        for name in ("Authorization", "X-Token"):
            token = headers.get(name, "")
            self._masks.learn(token[len(_BEARER) :] if token.lower().startswith(_BEARER) else token)
        has_token = "Authorization" in headers or "X-Token" in headers
        described: dict[str, Any] = {
            "to": to,
            "operation": _operation(to, request),
            "credentials": ("login" if "Origin" in headers else "token") if has_token else "none",
        }
        if to == _FILES:
            described["url"] = self._masks.url(str(request.url))
            if request.method == "PUT":
                described["bytes"] = {"size": _length(request)}
            return described
        if query := dict(request.url.query):
            described["query"] = query
        described |= self._content(await _bytes_of(request), headers.get("Content-Type", ""))
        if to == SIGN_IN and isinstance(described.get("body"), dict):
            parameters = described["body"].get("AuthParameters", {})
            for name, value in parameters.items():
                if name != "USERNAME":
                    self._masks.learn(value)
        return described

    # Replay -----------------------------------------------------------------------------------------------------------

    async def _play(self, exchange: Exchange, request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        canned = self._canned(exchange)
        if canned.failure == "not connected":
            raise aiohttp.ClientConnectionError("no connection, as there was none when this was recorded")
        if canned.failure == "certificate refused":
            error = ValueError("the certificate was refused when this was recorded")
            raise aiohttp.ClientConnectorCertificateError(request.connection_key, error)
        expected = exchange.request.get("bytes", {}).get("sha256")

        def answer(sha256: str) -> Canned:
            if expected not in (None, sha256):
                raise CassetteError(
                    f"{self.path}: line {exchange.line}: the file that is sent is not the one that was: recorded "
                    f"SHA-256 {expected}, sent {sha256}"
                )
            return canned

        body = request.body if isinstance(request.body, Payload) else None
        return await play(request, body, _length(request), answer)

    def _canned(self, exchange: Exchange) -> Canned:
        reply = exchange.reply
        if reply is None:
            return Canned(failure=exchange.failure)
        headers = CIMultiDict(reply.get("headers", {}))
        body = b""
        for form, usual in _USUAL_TYPES.items():
            if form in reply:
                headers.setdefault("Content-Type", usual)
                body = self._body(form, reply[form], exchange.line)
        return Canned(reply["status"], headers.items(), body, exchange.failure)

    def _body(self, form: str, value: Any, line: int) -> bytes:
        if form == "body":
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        if form == "text":
            return str(value).encode("utf-8", "surrogatepass")
        if "base64" not in value:
            raise CassetteError(
                f"{self.path}: line {line}: the body has {value.get('size')} bytes; its SHA-256 alone is recorded"
            )
        try:
            return base64.b64decode(value["base64"], validate=True)
        except (ValueError, TypeError):
            raise CassetteError(f"{self.path}: line {line}: reply.bytes.base64: not base64") from None

    # Recording --------------------------------------------------------------------------------------------------------

    async def _record(
        self, described: dict[str, Any], request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        try:
            response = await handler(request)
        except BaseException as error:
            if (failure := _failure_of(error, request)) is not None:
                self._note(described, request, None, failure)
            raise
        if described["to"] == _FILES and request.method == "GET" and response.status == 200:
            _Tee(response, functools.partial(self._note_file, described, request, response)).begin()
            return response
        data, failure = bytearray(), None
        try:
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > _LARGEST:
                    failure = "connection lost"
                    break
        except BaseException as error:
            failure = _failure_of(error, request) or "no reply"
            if not isinstance(error, (aiohttp.ClientError, OSError)):
                self._note_reply(described, request, response, bytes(data), failure)
                raise
        finally:
            response.close()  # of one that was read to its end, the connection is kept all the same
        self._note_reply(described, request, response, bytes(data), failure)
        canned = Canned(response.status, response.headers.items(), bytes(data), failure)
        return await play(request, None, 0, lambda _: canned)

    def _note_reply(
        self,
        described: dict[str, Any],
        request: aiohttp.ClientRequest,
        response: aiohttp.ClientResponse,
        data: bytes,
        failure: str | None,
    ) -> None:
        content = self._content(data, response.headers.get("Content-Type", ""))
        self._note(described, request, self._reply(response, content), failure)

    def _reply(self, response: aiohttp.ClientResponse, content: dict[str, Any]) -> dict[str, Any]:
        """A reply as a cassette has it, not masked."""
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        if "Retry-After" in headers and "Date" in response.headers:
            headers["Date"] = response.headers["Date"]
        usual = next((_USUAL_TYPES[form] for form in content if form in _USUAL_TYPES), None)
        if headers.get("Content-Type", "").partition(";")[0] == usual:
            del headers["Content-Type"]
        return {"status": response.status, **({"headers": headers} if headers else {}), **content}

    def _content(self, data: bytes, type: str) -> dict[str, Any]:
        """A body in the form in which it can be read."""
        if not data:
            return {}
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return {"bytes": self._bytes(data)}
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_refuse)
            if isinstance(value, (dict, list)) or "json" in type:
                json.dumps(value, allow_nan=False)
                return {"body": value}
        return {"text": text}

    def _bytes(self, data: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        text = data.decode("latin-1")
        if len(data) <= INLINE and self._masks.text(text) == text:
            found["base64"] = base64.b64encode(data).decode()
        return found

    def _note_file(
        self,
        described: dict[str, Any],
        request: aiohttp.ClientRequest,
        response: aiohttp.ClientResponse,
        tee: "_Tee",
        failure: str | None,
    ) -> None:
        """Note a file that was downloaded."""
        content: dict[str, Any] = {"bytes": {"size": tee.size, "sha256": tee.sha256}}
        text: str | None = None
        if tee.size <= INLINE:
            try:
                text = tee.kept.decode()
                content = {"text": text}
            except UnicodeDecodeError:
                content = {"bytes": self._bytes(bytes(tee.kept))}
        reply = self._reply(response, content)
        if text is not None and self._masks.text(text) != text:
            reply.get("headers", {}).pop("x-amz-checksum-sha256", None)  # which is not that of what is left
        self._note(described, request, reply, failure)

    def _begin(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.mode == "all":
            begin(self.path, self._head)
        else:
            self._take_head(begin_or_go_on(self.path, self._head))
        self._is_begun = True

    def _take_head(self, head: Head) -> None:
        """Mask as whoever has begun the file, which another process may just have done."""
        if head.ids != self._head.ids:
            raise CassetteError(f"{self.path}: was begun with mask={head.ids} by another process meanwhile")
        if head != self._head:
            self._head = head
            self._masks.reseed(head.salt)

    def _note(
        self,
        described: dict[str, Any],
        request: aiohttp.ClientRequest,
        reply: dict[str, Any] | None,
        failure: str | None = None,
    ) -> None:
        if (checksum := getattr(request.body, "checksum", None)) is not None and "bytes" in described:
            described["bytes"]["sha256"] = checksum
        try:
            if not self._is_begun:
                self._begin()
            for part in (described, reply or {}):
                self._masks.look_at({name: part[name] for name in _CONTENT if name in part})
            exchange = Exchange(self._masked(described), None if reply is None else self._masked(reply), failure)
            append(self.path, exchange)
        except OSError as error:
            raise CassetteError(f"{self.path}: cannot be written: {error.strerror}") from None


def open_cassette(given: object, record: str | None, replay: str | None) -> Recorder:
    """See `cassette_of`. The clients of a process share the one that a variable names."""
    if isinstance(given, Recorder):
        return given
    if given is not None:
        if not isinstance(given, (str, PathLike)):
            raise InvalidArgumentError(f"cassette: expected a Cassette or the path of one, got {type(given).__name__}")
        return Cassette(given)
    if record is not None and replay is not None:
        raise InvalidArgumentError("IOTO_RECORD and IOTO_REPLAY: set one of them")
    return _named(os.path.abspath(record or replay or ""), "append" if record is not None else "none")  # noqa: PTH100


@functools.cache
def _named(path: str, mode: RecordMode) -> Cassette:
    return Cassette(path, mode)


class _Tee:
    """Looks at the body of a reply while it is read, and says when it has ended, whoever ends it.

    Attributes:
        size: bytes that have been read.
        kept: the first of them.
    """

    def __init__(self, response: aiohttp.ClientResponse, ended: "Callable[[_Tee, str | None], None]") -> None:
        self._response = response
        self._content = response.content
        self._close = response.close
        self._ended = ended
        self._digest = hashlib.sha256()
        self.size = 0
        self.kept = bytearray()
        self._is_over = False

    def begin(self) -> None:
        """Take the place of what the response has."""
        vars(self._response).update(content=self, close=self.close)

    @property
    def sha256(self) -> str:
        """Of the bytes, in hex."""
        return self._digest.hexdigest()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def read(self, n: int = -1) -> bytes:
        """Some bytes, or all."""
        try:
            data = await self._content.read(n)
        except (aiohttp.ClientError, OSError):
            self._over("connection lost")
            raise
        self._see(data)
        if not data or n < 0:
            self._over(None)
        return data

    async def iter_any(self) -> AsyncIterator[bytes]:
        """What comes, as it comes."""
        while data := await self.read(1 << 16):
            yield data

    def close(self) -> None:
        """Close the connection; a body that was not read to its end counts as cut off."""
        self._close()
        self._over("no reply")

    def _see(self, data: bytes) -> None:
        self._digest.update(data)
        self.size += len(data)
        if len(self.kept) <= INLINE:
            self.kept += data

    def _over(self, failure: str | None) -> None:
        if not self._is_over:
            self._is_over = True
            self._ended(self, failure)


def _path(path: str | PathLike[str]) -> Path:
    if not isinstance(path, (str, PathLike)) or not os.fspath(path):
        raise InvalidArgumentError(f"path: expected the path of a cassette, got {path!r}")
    found = Path(path)
    if found.exists() and not found.is_file():
        raise InvalidArgumentError(f"path: {found} is no regular file")
    return found


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise InvalidArgumentError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
    return value


def _operation(to: str, request: aiohttp.ClientRequest) -> str:
    if to == _FILES:
        return request.method
    if to == SIGN_IN:
        return request.headers.get("X-Amz-Target", "").rpartition(".")[2] or "unknown"
    return "/".join(request.url.path.split("/")[-2:])


def _length(request: aiohttp.ClientRequest) -> int:
    size = request.body.size if isinstance(request.body, Payload) else len(request.body)
    return size or 0


async def _bytes_of(request: aiohttp.ClientRequest) -> bytes:
    body = request.body
    if isinstance(body, RequestPayload):
        return body.body.data
    return await body.as_bytes() if isinstance(body, Payload) else bytes(body)


def _was_sent(request: aiohttp.ClientRequest) -> bool:
    body = request.body
    return bool(getattr(body.body if isinstance(body, RequestPayload) else body, "sent", True))


def _failure_of(error: BaseException, request: aiohttp.ClientRequest) -> str | None:
    """The word of a cassette for how a request has ended; None for what has nothing to do with the network."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "certificate refused"
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)):
        return "not connected"
    if isinstance(error, (aiohttp.ClientError, OSError)):
        if isinstance(error, aiohttp.ClientError) and flaw_of(error) is not None:
            return "not HTTP"
        return "connection lost" if _was_sent(request) else "not connected"
    if isinstance(error, Exception):
        return None
    return "no reply" if _was_sent(request) else "not connected"


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is there twice")
    return members


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
