"""The words of a service in what it sends of a failure, whatever the JSON of it looks like."""

import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

__all__ = ["words_of"]

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
_NUMBERED: Final = _NAMES[:-1]
"""Those of which a number says something."""
_FAILURES: Final = ("error", "errors", "fields", "violations")
"""Members whose own members may be called by what has failed."""


def words_of(value: Any) -> str:
    """What *value*, a JSON value that tells of a failure, says in words; empty if it says nothing.

    The names of its members are those of the services of this world: ``message``, ``Message``, ``errorMessage``,
    ``error``, ``detail`` and the like, in each other and in lists; a text that is JSON itself is read as well.
    """
    return _words(value, 0)


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
    named = [(_NO_LETTERS.sub("", name.lower()), item) for name, item in value.items()]
    for names in _NAMES:
        for name, item in named:
            if names.fullmatch(name):
                if type(item) in (int, float) and names in _NUMBERED:
                    return str(item)
                if words := _words(item, depth + 1, of_failures=name.endswith(_FAILURES)):
                    return words
    if of_failures:  # by what has failed, such as {"email": ["is taken"]}
        found = ((name, _words(item, depth + 1)) for name, item in value.items() if isinstance(item, (str, list)))
        return "; ".join(_first((f"{name}: {words}" for name, words in found if words), _TOGETHER))
    objects = (
        each
        for item in value.values()
        for each in (item if isinstance(item, list) else [item])
        if isinstance(each, dict)  # not text: it may be anything, a password as well
    )
    return next(filter(None, (_words(each, depth + 1) for each in objects)), "")


def _first(texts: Iterator[str], count: int) -> Iterator[str]:
    """The first *count* of the *texts* that are not empty."""
    for text in texts:
        if text:
            yield text
            count -= 1
            if not count:
                return
