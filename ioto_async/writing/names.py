"""What the cloud calls what a sample has. Imports floors 0 and 1."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ..errors import InvalidArgumentError
from ..operations import Operation

__all__ = ["DIMENSIONS", "check_flag", "check_members", "check_names"]

DIMENSIONS: Final[Mapping[str, str]] = MappingProxyType({"Device": "deviceId"})
"""What the documents call the dimension of a device, and the member that has it."""


def check_names(operation: Operation, argument: str, names: Mapping[str, str]) -> dict[str, str]:
    """A copy of the *names* that the *argument* has for something of a sample.

    Raises:
        InvalidArgumentError: they are no names, or two things have the same.
    """
    if not isinstance(names, Mapping) or not all(
        isinstance(name, str) and name for pair in names.items() for name in pair
    ):
        raise InvalidArgumentError(f"{operation.name}: {argument}: expected a mapping of names to names, got {names!r}")
    if len(set(names.values())) < len(names):
        raise InvalidArgumentError(f"{operation.name}: {argument}: two of them have the same name: {dict(names)!r}")
    return dict(names)


def check_members(operation: Operation, argument: str, members: Mapping[str, object] | None) -> dict[str, object]:
    """A copy of what the *argument* has for all samples, empty for None.

    Raises:
        InvalidArgumentError: it is no mapping.
    """
    if members is None:
        return {}
    if not isinstance(members, Mapping):
        raise InvalidArgumentError(f"{operation.name}: {argument}: expected a mapping, got {type(members).__name__}")
    return dict(members)


def check_flag(operation: Operation, argument: str, value: bool) -> bool:
    """The *value* of an *argument* that is true or false.

    Raises:
        InvalidArgumentError: it is neither.
    """
    if not isinstance(value, bool):
        raise InvalidArgumentError(f"{operation.name}: {argument}: expected true or false, got {value!r}")
    return value
