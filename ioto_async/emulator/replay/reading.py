"""The format of a cassette, version 1, as this side reads it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

__all__ = ["Exchange", "read"]

_VERSION: Final = 1


@attrs.frozen
class Exchange:
    """One recorded request, and the reply to it.

    Attributes:
        line: where it is in the file.
        to: cloud, builder, files or sign-in.
        operation: ``controller/action``.
        credentials: token, login or none.
        query: the members of the query string.
        body: the members of the request; None where it had none.
        status: of the reply; 0 where none came whole.
        reply: the JSON value of the reply, else its text; None where it had none.
        is_text: whether *reply* is text that is no JSON.
    """

    line: int
    to: str
    operation: str
    credentials: str
    query: Mapping[str, str]
    body: Any
    status: int
    reply: Any
    is_text: bool


def read(path: Path) -> list[Exchange]:
    """Return the exchanges of a cassette; a last one without its end is left out.

    Raises:
        ValueError: it is none; the text names the line.
        OSError: it cannot be read.
    """
    blocks = _blocks(path)
    head = next(blocks, None)
    if head is None or head[1].get("cassette") != "ioto-async":
        raise ValueError(f"{path}: line 1: no cassette")
    if head[1].get("version") != _VERSION:
        raise ValueError(f"{path}: line {head[0]}: version: expected {_VERSION}, got {head[1].get('version')!r}")
    return [_exchange(path, line, members) for line, members in blocks]


def _blocks(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    lines: list[bytes] = []
    first = 0
    for number, line in enumerate(map(bytes.rstrip, path.read_bytes().split(b"\n")), 1):
        if not lines:
            first = number
            if not line:
                continue
            if line != b"{":
                raise ValueError(f"{path}: line {number}: expected a line {{")
        lines.append(line)
        if line == b"}":
            try:
                members = orjson.loads(b"\n".join(lines))
            except orjson.JSONDecodeError as error:
                raise ValueError(f"{path}: line {first + error.lineno - 1}: not JSON: {error.msg}") from None
            yield first, members
            lines.clear()


def _exchange(path: Path, line: int, members: Mapping[str, Any]) -> Exchange:
    request, reply = members.get("request"), members.get("reply")
    if not isinstance(request, dict) or not (reply is None or isinstance(reply, dict)):
        raise ValueError(f"{path}: line {line}: expected an object as the request, and one as the reply")
    names = [request.get(name) for name in ("to", "operation", "credentials")]
    query, body = request.get("query", {}), request.get("body")
    if not all(isinstance(name, str) for name in names) or not isinstance(query, dict):
        raise ValueError(f"{path}: line {line}: the request has no to, operation and credentials, or a bad query")
    to, operation, credentials = map(str, names)
    is_whole = reply is not None and members.get("failure") is None
    status = reply.get("status") if reply is not None and is_whole else 0
    if not isinstance(status, int):
        raise ValueError(f"{path}: line {line}: the reply has no status")
    content = {} if reply is None else reply
    is_text = "text" in content
    answered = content.get("text") if is_text else content.get("body")
    return Exchange(line, to, operation, credentials, query, body, status, answered, is_text)
