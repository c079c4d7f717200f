"""How records are spelled on the wire: the names of members, and dates."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    import attrs

__all__ = ["in_utc", "iso", "wire_name"]


def wire_name(attribute: "attrs.Attribute[Any]") -> str:
    """The attribute's name in camel case, unless its metadata says another (``wire``; None for one of our own)."""
    if "wire" in attribute.metadata:
        return str(attribute.metadata["wire"])
    head, *rest = attribute.name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def iso(value: datetime) -> str:
    """ISO text of an aware *value*, in UTC with milliseconds, or microseconds where it has some.

    Raises:
        InvalidArgumentError: *value* has no time zone, or is beyond the calendar in UTC.
    """
    utc = in_utc(value)
    text = utc.isoformat(timespec="microseconds" if utc.microsecond % 1000 else "milliseconds")
    return text.removesuffix("+00:00") + "Z"


def in_utc(value: datetime) -> datetime:
    """The aware *value* in UTC.

    Raises:
        InvalidArgumentError: *value* is no datetime, has no time zone, or is beyond the calendar in UTC.
    """
    if not isinstance(value, datetime):
        raise InvalidArgumentError(f"expected a datetime, got {type(value).__name__}")
    if value.tzinfo is None:
        raise InvalidArgumentError(f"{value.isoformat()} has no time zone: use an aware datetime")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidArgumentError(f"{value.isoformat()} is beyond the calendar in UTC") from None
