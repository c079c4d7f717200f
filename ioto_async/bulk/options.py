"""How a bulk run goes about its items."""

import os
from collections.abc import Awaitable, Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar

import attrs

from ..errors import InvalidArgumentError
from ..operations import Kind
from ..settings import must_be
from .outcome import Progress

__all__ = ["BulkOptions", "Options", "key_of"]


Item = TypeVar("Item")


class BulkOptions(TypedDict, Generic[Item], total=False):
    """How a bulk run goes about its items; all of it may be left out.

    ``concurrency``: calls in flight at most, or ``auto`` (the default) to find out how many the service can do. Where
    there is no client, or the calls do not go through it, nothing can be found out, and a number is needed.

    ``ordered``: give the outcomes in the order of the items. No item is begun that is more than twice the
    concurrency ahead of the first that has not ended.

    ``journal``: path of a file that notes what was sent and what became of it; what it has is not done again (see
    `Journal`).

    ``name``: what the journal is of; a run with another one is refused. By default the operation, if *call* is the
    method of one.

    ``key``: tells an item from all others. By default a text or a whole number is its own key; any other item has its
    position, which is not enough for a journal.

    ``sequence_key``: items for which it gives equal values are called for one after the other, in their order; the
    others do not wait for them. None for an item that waits for no other.

    ``reconcile``: asked what became of an item whose outcome is unknown: true if it was done, false if it was not (it
    is then called, once more), None if that cannot be told.

    ``kind``: what a second call for the same item would do. Known for the methods of a client; ``Kind.ONCE`` for
    anything else.

    ``through_client``: whether *call* changes something only by calls and transfers of clients. A call that was ended
    before it had changed anything then has no outcome, and the next run takes its item up. Known for the methods of a
    client; whatever else was ended once it had begun is unknown.

    ``retry_failed``: call again for what the journal says has failed.

    ``stop_after``: failed and unknown outcomes after which no further item is begun.

    ``stop_on``: exceptions that no other item would fare better with, such as `AuthenticationError` and
    `TokenProviderError`. The first ends the run, and is raised when the calls in flight have ended. Its item has no
    outcome; the next run takes it up. A closed client does the same, and a ``Retry-After`` of more than 15 minutes.

    ``total``: how many items there are; by default their ``len``, if they have one.

    ``observer``: told the `Progress` twice a second and at the end. Must not block.
    """

    concurrency: int | Literal["auto"]
    ordered: bool
    journal: str | os.PathLike[str] | None
    name: str | None
    key: Callable[[Item], str] | None
    sequence_key: Callable[[Item], Hashable] | None
    reconcile: Callable[[Item], Awaitable[bool | None]] | None
    kind: Kind | None
    through_client: bool
    retry_failed: bool
    stop_after: int | None
    stop_on: type[Exception] | tuple[type[Exception], ...]
    total: int | None
    observer: Callable[[Progress], None] | None


def _path(value: object) -> object:
    return Path(value) if isinstance(value, (str, os.PathLike)) else value


def _are_exceptions(value: Any) -> bool:
    kinds = value if isinstance(value, tuple) else (value,)
    return all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds)


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


_flag: Final = must_be("true or false", lambda value: isinstance(value, bool))
_callable: Final = must_be("a callable", _or_none(callable))


@attrs.frozen(kw_only=True)
class Options(Generic[Item]):
    """`BulkOptions`, checked.

    Raises:
        InvalidArgumentError: one of them does not fit.
    """

    concurrency: int | Literal["auto"] = attrs.field(
        default="auto",
        validator=must_be("auto, or a whole number from 1", lambda value: value == "auto" or _is_count(value, 1)),
    )
    ordered: bool = attrs.field(default=False, validator=_flag)
    journal: Path | None = attrs.field(
        default=None, converter=_path, validator=must_be("a path", _or_none(lambda value: isinstance(value, Path)))
    )
    name: str | None = attrs.field(
        default=None, validator=must_be("a text", _or_none(lambda value: isinstance(value, str)))
    )
    key: Callable[[Item], str] | None = attrs.field(default=None, validator=_callable)
    sequence_key: Callable[[Item], Hashable] | None = attrs.field(default=None, validator=_callable)
    reconcile: Callable[[Item], Awaitable[bool | None]] | None = attrs.field(default=None, validator=_callable)
    kind: Kind | None = attrs.field(
        default=None, validator=must_be("a Kind", _or_none(lambda value: isinstance(value, Kind)))
    )
    through_client: bool = attrs.field(default=False, validator=_flag)
    retry_failed: bool = attrs.field(default=False, validator=_flag)
    stop_after: int | None = attrs.field(
        default=None, validator=must_be("a whole number from 1", _or_none(lambda value: _is_count(value, 1)))
    )
    stop_on: type[Exception] | tuple[type[Exception], ...] = attrs.field(
        default=(), validator=must_be("exceptions", _are_exceptions)
    )
    total: int | None = attrs.field(
        default=None, validator=must_be("a whole number from 0", _or_none(lambda value: _is_count(value, 0)))
    )
    observer: Callable[[Progress], None] | None = attrs.field(default=None, validator=_callable)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Options[Item]":
        """The options *given*, and the defaults of the others."""
        if unknown := given.keys() - BulkOptions.__annotations__.keys():
            expected = ", ".join(BulkOptions.__annotations__)
            raise InvalidArgumentError(f"unknown option {min(unknown)!r}: expected one of {expected}")
        return cls(**given)


def _is_count(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def key_of(key: Callable[[Item], str] | None, item: Item, position: int, *, has_journal: bool) -> str:
    """What tells an *item* from all others.

    Args:
        key: the caller's way to tell; without one a text or a whole number is its own key.
        item: the item.
        position: its number; without a journal, the key of anything else.
        has_journal: whether the key has to be found again by another run.

    Raises:
        InvalidArgumentError: there is nothing that tells it, or *key* gives no text.
    """
    found: object = item
    if key is not None:
        found = key(item)
    elif type(item) is int:
        return str(item)
    elif not isinstance(item, str):
        if not has_journal:
            return str(position)
        raise InvalidArgumentError(f"key: a journal needs one for items of type {type(item).__name__}")
    if not has_journal and isinstance(found, str):
        return found
    if not isinstance(found, str) or not found:
        raise InvalidArgumentError(f"key: expected a text that is not empty for item {position}, got {found!r}")
    if not found.isascii() and any("\ud800" <= char <= "\udfff" for char in found):
        raise InvalidArgumentError(f"key: expected whole characters for item {position}, got {found!r}")
    return found
