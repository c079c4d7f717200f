"""Values that JSON can hold."""

from typing import TypeAlias

__all__ = ["JSON"]

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"
"""Any JSON value, as it comes off the wire."""
