"""The words of a service in what it sends of a failure, whatever the JSON of it looks like."""

import re
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, Final

import orjson

from ..errors import one_line

__all__ = ["says_not_found", "words_of"]

_DEPTH: Final = 12
"""Levels that are looked at: no service nests its words deeper."""
_TOGETHER: Final = 3
"""Failures of a list of which the words are shown."""
_NO_LETTERS: Final = re.compile("[^a-z]+")

_NAMES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        ".*message|.*msg",
        ".*description|faultstring",
        ".*details?",
        ".*reason",
        ".*errors?|err|exceptions?|fault|failures?|cause|text",
        "title",
        "data|body|response|result|output",
        ".*code|.*status|.*type",
    )
)
"""What members with words in them are called, in lower case and letters alone; the most telling ones first."""
_CODES: Final = len(_NAMES) - 1
"""The rank of those of which a number says nothing."""
_FAILURES: Final = ("error", "errors")
"""Members whose own members may be called by what has failed."""

_NOT_FOUND: Final = re.compile(
    r"(\w+: +)?(cannot|can't|can not|could not|couldn't|unable to|failed to) find\b"
    # Of a page or a route the host speaks, not the service, as with a bare "Not Found": the endpoint is wrong then.
    r"|(?!.*\b(page|route|path|url|uri|endpoint|host|site|http)\b)(?!(\W|\d|error|status|code)*not found)"
    r"(\w.* (not found|does not exist|doesn't exist)\W*$|(\w+: +)?no such \w)",
    re.IGNORECASE,
)
"""How a service says that a record is not there; its own words are ``Cannot find device``."""


def words_of(value: Any) -> str:
    """What *value*, a JSON value that tells of a failure, says in words; empty if it says nothing.

    The names of its members are those of the services of this world: ``message``, ``Message``, ``errorMessage``,
    ``error``, ``detail`` and the like, in each other and in lists; a text that is JSON itself is read as well.
    """
    return _words(value, 0)


def says_not_found(words: str) -> bool:
    """Whether a service says with these *words* that a record is not there."""
    return _NOT_FOUND.match(one_line(words)) is not None


def _words(value: Any, depth: int, *, of_failures: bool = False) -> str:
    if depth > _DEPTH:
        return ""
    if isinstance(value, str):
        return _text(value.strip(), depth)
    if isinstance(value, list):
        found = (_words(item, depth + 1, of_failures=of_failures) for item in value if isinstance(item, (str, dict)))
        return "; ".join(_first(found, _TOGETHER))
    if isinstance(value, dict):
        return _of_object(value, depth, of_failures=of_failures)
    return ""


def _text(text: str, depth: int) -> str:
    if text[:1] in ("{", "["):
        try:
            return _words(orjson.loads(text), depth + 1) or text
        except orjson.JSONDecodeError:
            pass
    return text


def _of_object(value: dict[str, Any], depth: int, *, of_failures: bool) -> str:
    # Each part is looked at once: a reply of many levels would take for ever otherwise.
    ranked = sorted(((_rank(name), name, item) for name, item in value.items()), key=itemgetter(0))
    others: list[tuple[str, Any]] = []
    for rank, name, item in ranked:
        if rank == len(_NAMES):
            others.append((name, item))
        elif type(item) in (int, float):
            if rank < _CODES:
                return str(item)
        elif words := _words(item, depth + 1, of_failures=_letters(name).endswith(_FAILURES)):
            return words
    if of_failures:  # by what has failed, such as {"email": ["is taken"]}
        texts = ((name, item if isinstance(item, str) else _joined(item)) for name, item in others)
        if words := "; ".join(_first((f"{name}: {text}" for name, text in texts if text), _TOGETHER)):
            return words
    # Not text: it may be anything, a password as well.
    objects = (each for _, item in others for each in (item if isinstance(item, list) else [item]))
    return next(filter(None, (_words(each, depth + 1) for each in objects if isinstance(each, dict))), "")


def _rank(name: str) -> int:
    """How telling a member called *name* is; the less the better."""
    letters = _letters(name)
    return next((rank for rank, names in enumerate(_NAMES) if names.fullmatch(letters)), len(_NAMES))


def _letters(name: str) -> str:
    return _NO_LETTERS.sub("", name.lower())


def _joined(value: Any) -> str:
    return "; ".join(each for each in value if isinstance(each, str)) if isinstance(value, list) else ""


def _first(texts: Iterator[str], count: int) -> Iterator[str]:
    """The first *count* of the *texts* that are not empty."""
    for text in texts:
        if text:
            yield text
            count -= 1
            if not count:
                return
