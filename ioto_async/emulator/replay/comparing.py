"""Where a reply here differs from a recorded one.

Not compared: dates; secrets, URLs and the names of hosts, if both sides have one; keys that each side makes up, as long
as one of theirs is always the same of ours; the order of records that have a key; the records of a page of several,
which each side has in the order of its keys.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from .names import EMAIL, MASK, Names

__all__ = ["Difference", "differences"]

_SECRET: Final = "***"  # noqa: S105  it is none
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)")
_URL: Final = re.compile(r"[a-z]+://\S+")
_PEM: Final = re.compile(r"-----BEGIN ([A-Z ]+)-----")
_KEY_NAME: Final = re.compile(r"(^|[a-z])(id|Id)$|^owner$|^thing$")
_VOLATILE: Final = frozenset(
    # Of time and place: when something was, where it is served, and what a cloud calls itself.
    ("timestamp", "expires", "start", "endpoint", "port", "cloudName", "cloudRegion", "region", "domain", "certArn")
)
_KEYS: Final = ("id", "filename", "email", "key", "name")
"""Members that tell records apart."""
_NOTHING: Final = object()


@attrs.frozen
class Difference:
    """A value that is not the same; None for one that is not there."""

    path: str
    recorded: Any
    here: Any
    missing: str | None = None
    """On which side it is not there: recorded, here, or neither."""

    def __str__(self) -> str:
        recorded = "nothing" if self.missing == "recorded" else _shown(self.recorded)
        here = "nothing" if self.missing == "here" else _shown(self.here)
        return f"{self.path}: recorded {recorded}, here {here}"


def differences(recorded: Any, here: Any, names: Names, *, is_page: bool) -> list[Difference]:
    """Compare the JSON value or the text of two replies.

    Args:
        recorded: what was recorded.
        here: what this cloud has answered.
        names: the keys that are known to be the same; what is found is added.
        is_page: whether it is one page of several.
    """
    if is_page and isinstance(recorded, Mapping) and isinstance(here, Mapping):
        recorded, here = ({**reply, "data": _lengths(reply.get("data"))} for reply in (recorded, here))
    return [*_compared("reply", "", recorded, here, names)]


def _lengths(data: object) -> object:
    return len(data) if isinstance(data, list) else data


def _compared(path: str, name: str, recorded: Any, here: Any, names: Names) -> Iterator[Difference]:
    if isinstance(recorded, Mapping) and isinstance(here, Mapping):
        for member in [*recorded, *(member for member in here if member not in recorded)]:
            there, ours = recorded.get(member, _NOTHING), here.get(member, _NOTHING)
            if there is _NOTHING:
                yield Difference(f"{path}.{member}", None, ours, "recorded")
            elif ours is _NOTHING:
                yield Difference(f"{path}.{member}", there, None, "here")
            else:
                yield from _compared(f"{path}.{member}", member, there, ours, names)
    elif isinstance(recorded, list) and isinstance(here, list):
        if len(recorded) != len(here):
            yield Difference(f"{path}.length", len(recorded), len(here))
        for index, (there, ours) in enumerate(_paired(recorded, here, names)):
            yield from _compared(f"{path}[{index}]", name, there, ours, names)
    elif not _is_same(name, recorded, here, names):
        yield Difference(path, recorded, here)


def _paired(recorded: Sequence[Any], here: Sequence[Any], names: Names) -> Iterator[tuple[Any, Any]]:
    """The elements that belong together: those with the same key, and the others in their order."""
    left = list(here)
    later = []
    for element in recorded:
        key = _key(names.here(element))
        match = next((other for other in left if key is not None and _key(other) == key), _NOTHING)
        if match is _NOTHING:
            later.append(element)
        else:
            left.remove(match)
            yield element, match
    yield from zip(later, left, strict=False)


def _key(element: object) -> object:
    if isinstance(element, Mapping):
        return next(((name, element[name]) for name in _KEYS if isinstance(element.get(name), str)), None)
    return None


def _is_same(name: str, recorded: Any, here: Any, names: Names) -> bool:
    if isinstance(recorded, str) and isinstance(here, str):
        return _is_same_text(name, recorded, here, names)
    if name in _VOLATILE:
        return _is_number(recorded) == _is_number(here) and (recorded is None) == (here is None)
    if _is_number(recorded) and _is_number(here):
        return bool(abs(recorded - here) <= 1e-9 * max(abs(recorded), abs(here)))
    return bool(recorded == here) and type(recorded) is type(here)


def _is_same_text(name: str, recorded: str, here: str, names: Names) -> bool:
    if recorded == here or names.here(recorded) == here:
        return True
    if name in _VOLATILE or (name in ("next", "prev") and names.pair(recorded, here)):
        return True
    for pattern in (_DATE, _URL, _PEM):
        if (there := pattern.match(recorded)) and (ours := pattern.match(here)):
            return pattern is not _PEM or there[1] == ours[1]
    if recorded == _SECRET:
        return bool(here)
    if MASK.fullmatch(recorded) or EMAIL.fullmatch(recorded) or _KEY_NAME.search(name):
        return names.pair(recorded, here)
    return _matches(names.here(recorded), here)


def _matches(recorded: str, here: str) -> bool:
    """Whether two texts are the same but for what is masked in the recorded one."""
    parts = re.split(rf"{re.escape(_SECRET)}|{MASK.pattern}|{EMAIL.pattern}", recorded)
    return len(parts) > 1 and re.fullmatch(".+?".join(map(re.escape, parts)), here, re.DOTALL) is not None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: object) -> str:
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
