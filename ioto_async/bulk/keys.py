"""What tells the items of a bulk run apart. Imports errors."""

from collections.abc import Callable
from typing import TypeVar

from ..errors import InvalidArgumentError

__all__ = ["key_of"]

Item = TypeVar("Item")


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
