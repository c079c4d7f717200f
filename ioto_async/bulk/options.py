"""Options of bulk runs, in this process and on the workers of a cluster."""

import os
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar

import attrs

from ..errors import InvalidArgumentError
from ..operations import Kind
from ..settings import flag, function, instance_of, must_be, or_none, whole_number
from .outcome import Progress

__all__ = ["CONCURRENCY", "BaseOptions", "BulkOptions", "Options", "RunOptions", "key_of"]


Item = TypeVar("Item")


class RunOptions(TypedDict, Generic[Item], total=False):
    """Options of any bulk run. Each of them can be left out.

    Attributes:
        concurrency: calls in flight at most, or ``auto`` (the default) to find out how many the service can handle.
            ``auto`` needs a client through which the calls go.
        journal: path of a file that records what was sent and how it ended; what has ended is not done again (see
            `Journal`). No journal by default.
        name: what the journal is of; a run with another name is refused. By default the operation, if the call is the
            method of one.
        key: gives the text that tells an item from all others. By default a text or a whole number is its own key; any
            other item is known by its position, which is not enough for a journal.
        kind: what a second call for the same item would do. By default that of the operation, if the call is the method
            of one, and otherwise ``Kind.ONCE``.
        through_client: whether the call changes something only by calls and transfers of clients. If so, a call that
            was ended before it had changed anything has no outcome, and the next run takes its item up; if not, its
            outcome is unknown as soon as it has begun. By default true for the methods of a client alone.
        retry_failed: call again for the items that have failed according to the journal.
        stop_on: exceptions that would meet all other items as well, such as `AuthenticationError` and
            `TokenProviderError`; none by default. The first one ends the run, and is raised when the calls in flight
            have ended. Its item has no outcome, and the next run takes it up. A closed client always ends the run like
            that, and so does a `DeviceLink` that its cloud keeps away for too much traffic.
        total: how many items there are; by default their ``len``, if they have one.
        observer: called with the `Progress` twice a second and at the end; must not block.
    """

    concurrency: int | Literal["auto"]
    journal: str | os.PathLike[str] | None
    name: str | None
    key: Callable[[Item], str] | None
    kind: Kind | None
    through_client: bool
    retry_failed: bool
    stop_on: type[Exception] | tuple[type[Exception], ...]
    total: int | None
    observer: Callable[[Progress], None] | None


class BulkOptions(RunOptions[Item], Generic[Item], total=False):
    """Options of ``client.bulk``: those of any bulk run (see `RunOptions`), and some more. Each can be left out.

    Attributes:
        ordered: give the outcomes in the order of the items. No item is begun that is more than twice the concurrency
            ahead of the first one that has not ended.
        sequence_key: gives a value for an item; items of equal values are called for one after the other, in their
            order, and others do not wait for them. None for an item that waits for no other. By default none does.
        reconcile: awaited with an item whose outcome is unknown; returns whether the item was done, or None if that
            cannot be told. An item that was not done is called once more.
        verify: awaited with an item that the journal knows as done; returns whether it still is, or None if that cannot
            be told. An item that is not is called again; one for which it raises has failed in this run, and stays done
            in the journal. By default the journal is believed.
        keep_values: have the journal keep what the calls return, which has to be JSON: a skipped outcome has it as its
            value. Not by default, as values may be keys and tokens.
        stop_after: how many outcomes may be failed or unknown before no further item is begun; any number by default.
    """

    ordered: bool
    sequence_key: Callable[[Item], Hashable] | None
    reconcile: Callable[[Item], Awaitable[bool | None]] | None
    verify: Callable[[Item], Awaitable[bool | None]] | None
    keep_values: bool
    stop_after: int | None


def _as_path(value: Any) -> Any:
    return Path(value) if isinstance(value, (str, os.PathLike)) else value


def _are_exceptions(value: Any) -> bool:
    kinds = value if isinstance(value, tuple) else (value,)
    return all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds)


CONCURRENCY: Final = must_be(
    "auto, or a whole number from 1", lambda value: value == "auto" or (type(value) is int and value >= 1)
)


@attrs.frozen(kw_only=True)
class BaseOptions(Generic[Item]):
    """`RunOptions` with their defaults and checks."""

    concurrency: int | Literal["auto"] = attrs.field(default="auto", validator=CONCURRENCY)
    journal: Path | None = attrs.field(
        default=None,
        converter=_as_path,
        validator=or_none(must_be("a path", lambda value: isinstance(value, Path))),
    )
    name: str | None = attrs.field(
        default=None, validator=or_none(must_be("a text", lambda value: isinstance(value, str)))
    )
    key: Callable[[Item], str] | None = attrs.field(default=None, validator=or_none(function()))
    kind: Kind | None = attrs.field(default=None, validator=or_none(instance_of(Kind)))
    through_client: bool = attrs.field(default=False, validator=flag())
    retry_failed: bool = attrs.field(default=False, validator=flag())
    stop_on: type[Exception] | tuple[type[Exception], ...] = attrs.field(
        default=(), validator=must_be("exceptions", _are_exceptions)
    )
    total: int | None = attrs.field(default=None, validator=or_none(whole_number(0)))
    observer: Callable[[Progress], None] | None = attrs.field(default=None, validator=or_none(function()))


@attrs.frozen(kw_only=True)
class Options(BaseOptions[Item], Generic[Item]):
    """`BulkOptions` with their defaults and checks."""

    ordered: bool = attrs.field(default=False, validator=flag())
    sequence_key: Callable[[Item], Hashable] | None = attrs.field(default=None, validator=or_none(function()))
    reconcile: Callable[[Item], Awaitable[bool | None]] | None = attrs.field(
        default=None, validator=or_none(function())
    )
    verify: Callable[[Item], Awaitable[bool | None]] | None = attrs.field(default=None, validator=or_none(function()))
    keep_values: bool = attrs.field(default=False, validator=flag())
    stop_after: int | None = attrs.field(default=None, validator=or_none(whole_number(1)))


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
    if key is None and isinstance(item, str) and item and (item.isascii() or not has_journal):
        return item
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
