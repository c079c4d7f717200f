"""Checks of attributes that settings and queries share, as attrs validators. Imports errors only."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import InvalidArgumentError

if TYPE_CHECKING:
    import attrs

__all__ = ["is_number", "must_be"]


def must_be(
    expected: str, fits: Callable[[Any], bool], *, of: str = ""
) -> Callable[[object, "attrs.Attribute[Any]", object], None]:
    """An attrs validator that raises `InvalidArgumentError`, naming attribute and value, unless the value *fits*.

    Args:
        expected: what the value must be, in words.
        fits: whether a value is that.
        of: what the attribute belongs to, for the error.
    """

    def validate(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if not fits(value):
            owner = f"{of}: " if of else ""
            raise InvalidArgumentError(f"{owner}{attribute.name}: expected {expected}, got {value!r}")

    return validate


def is_number(value: object) -> bool:
    """Whether *value* is an int or a float, and no boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
