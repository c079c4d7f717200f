"""How records are spelled on the wire: the names of members, and dates."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    import attrs

__all__ = ["EPOCH", "epoch_ms", "in_utc", "iso", "wire_name"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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


def epoch_ms(value: datetime) -> int:
    """Milliseconds since 1970 of an aware *value*.

    Raises:
        InvalidArgumentError: *value* is no datetime, has no time zone, or is beyond the calendar in UTC.
    """
    return (in_utc(value) - EPOCH) // timedelta(milliseconds=1)


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
