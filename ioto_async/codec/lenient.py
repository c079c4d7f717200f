"""Lenient reading: what can be made of a reply that does not fit its record, one odd member at a time.

Nothing here runs before the strict reading of a reply has failed, so that one that fits costs nothing more.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, get_args, get_origin

import attrs

from ..models.value import json_text
from ..settings import conceal
from .reading import Path, sort_of
from .records import Mismatch, Reader, converted, converter, members, readers
from .words import words_of

__all__ = ["Lenient", "loads"]

_SURROGATES: Final = re.compile("[\\ud800-\\udfff]")


@attrs.define
class Lenient:
    """One lenient reading.

    A member that does not fit becomes what it plainly means, or None; its raw value stays in ``extra`` under its name
    on the wire. A list goes without its elements of which nothing can be made; the list as it came stays in ``extra``
    as well.
    """

    odd: list[tuple[Path, str]] = attrs.field(factory=list)
    """Where something did not fit first, and what was expected and seen there; without text of the reply."""
    _sorts: set[str] = attrs.field(factory=set)

    def note(self, path: Path, mismatch: Mismatch) -> None:
        """Remember that what is at *path* does not fit, unless it differs by a position from what is known."""
        path = (*path, *reversed(mismatch.steps))
        sort = sort_of(path)
        if sort not in self._sorts:
            self._sorts.add(sort)
            self.odd.append((path, str(mismatch)))

    def read(self, value: object, cls: Any, path: Path, sent: Mapping[str, object] | None = None) -> Any:
        """Make a *cls* of *value*, as far as it goes.

        Args:
            value: a JSON value.
            cls: a type that the converter knows.
            path: where the value is.
            sent: the body of the request; a record that lacks its key, and answers a request that named it, has that.

        Raises:
            Mismatch: nothing can be made of it: it is no object, lacks its key, or does not plainly mean a *cls*.
        """
        if _is_record(cls):
            return self._record(value, cls, path, sent or {})
        return self._fitted(value, cls, path, converter.get_structure_hook(cls))[0]

    def _fitted(self, value: object, cls: Any, path: Path, hook: Callable[[Any, Any], Any]) -> tuple[Any, bool]:
        """What *value* is as a *cls*, by its *hook* if it can, and whether nothing but members of records was odd."""
        try:
            return hook(value, cls), True
        except Mismatch as mismatch:
            if _is_record(cls):
                return self._record(value, cls, path, {}), True
            if get_origin(cls) is list and type(value) is list:
                return self._list(value, get_args(cls)[0], path)
            meant = converted(value, cls)
            if meant is None:
                raise
            self.note(path, mismatch)
            return meant, False

    def _record(self, value: object, cls: Any, path: Path, sent: Mapping[str, object]) -> Any:
        if type(value) is not dict:
            raise Mismatch("an object", value)
        if getattr(cls, "any_type", False):
            return converter.get_structure_hook(cls)(value, cls)
        known: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        plan = _plan(cls)
        for name, item in value.items():
            reader = plan.readers.get(name)
            if reader is None:
                extra[name] = item
            elif type(item) is reader[1]:
                known[reader[0]] = item
            elif item is not None:
                known[reader[0]], fits = self._member(item, reader, (*path, name))
                if not fits:
                    extra[name] = item
        for name, argument in plan.keys.items():
            if not known.get(argument):
                known[argument] = _key(name, value, sent)
        if plan.keeps_extra:
            known["extra"] = conceal(extra)
        return cls(**known)

    def _member(self, item: Any, reader: Reader, path: Path) -> tuple[Any, bool]:
        try:
            return self._fitted(item, reader[3], path, reader[2])
        except Mismatch as mismatch:
            self.note(path, mismatch)
        if path[-1] == "error" and item:  # what failed must not look as if it had not
            return words_of(item) or json_text(item), False
        return None, False

    def _list(self, value: list[Any], element: Any, path: Path) -> tuple[list[Any], bool]:
        items: list[Any] = []
        hook = converter.get_structure_hook(element)
        all_fit = True
        for position, item in enumerate(value):
            try:
                read, fits = self._fitted(item, element, (*path, position), hook)
                items.append(read)
            except Mismatch as mismatch:
                self.note((*path, position), mismatch)
                fits = False
            all_fit = all_fit and fits
        return items, all_fit


def _is_record(cls: Any) -> bool:
    return attrs.has(get_origin(cls) or cls)


@attrs.frozen
class _Plan:
    """How records of a class are read."""

    readers: Mapping[str, Reader]
    keys: Mapping[str, str]
    """The arguments that a record cannot be made without, by wire name."""
    keeps_extra: bool


@cache
def _plan(cls: Any) -> _Plan:
    keys = {name: field.name for name, field in members(cls).items() if field.default is attrs.NOTHING}
    return _Plan(readers(cls, converter), keys, any(field.name == "extra" for field in attrs.fields(cls)))


def _key(name: str, value: Mapping[str, object], sent: Mapping[str, object]) -> str:
    """The key *name* of the record in *value*, which the record lacks: that of the request which it answers."""
    named = sent.get(name)
    if isinstance(named, str) and named:
        return named
    mismatch = Mismatch("a string that is not empty", value.get(name))
    mismatch.steps.append(name)
    raise mismatch


def loads(data: bytes) -> Any:
    """The value of what is JSON but for a detail.

    A byte order mark is ignored. Bytes that are no UTF-8, and halves of characters, become U+FFFD; NaN, the infinities
    and numbers that no float holds become null.

    Raises:
        ValueError: it is something else, or nested too deep.
    """
    try:
        value = json.loads(
            data.decode("utf-8-sig", "replace"), parse_constant=_nothing, parse_int=_whole, parse_float=_finite
        )
        return _whole_characters(value)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _nothing(_: str) -> None:
    """What NaN and the infinities are read as."""


def _finite(text: str) -> float | None:
    return number if math.isfinite(number := float(text)) else None


def _whole(text: str) -> int | float | None:
    return int(text) if len(text) < 19 else _finite(text)


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(name): _whole_characters(item) for name, item in value.items()}
    return value
