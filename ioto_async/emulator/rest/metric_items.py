"""The items of ``metric/fetch``: checked, completed with defaults, and echoed in the replies."""

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Any, Final

from ..wire import LAST_DATE

__all__ = ["checked", "echoed", "failed"]

_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = MappingProxyType(
    {
        "accumulate": bool,
        "cloudId": str,
        "dimensions": dict,
        "field": str,
        "limit": int,
        "metric": str,
        "model": str,
        "namespace": str,
        "period": (int, float),
        "start": (int, float),
        "statistic": str,
    }
)
# `statistic` is documented as required and with a default; the default would have no use if it were.
_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {"accumulate": False, "dimensions": {}, "period": 300, "statistic": "avg", "start": None, "limit": 100}
)


def checked(item: Mapping[str, Any], cloud_ids: Container[str]) -> dict[str, Any]:
    """Return a request item with its defaults.

    Raises:
        ValueError: a member is missing, has the wrong type, or names a cloud that is none of *cloud_ids*.
    """
    request = {**_DEFAULTS, **{name: value for name, value in item.items() if value is not None}}
    for name, type_ in _TYPES.items():
        value = request.get(name)
        if value is not None and (not isinstance(value, type_) or (type_ is not bool and isinstance(value, bool))):
            raise ValueError(f"{name} has the wrong type")
    if not -LAST_DATE <= (request["start"] or 0) <= LAST_DATE:
        raise ValueError("start is not a date in milliseconds")
    for name in ("namespace", "field" if "model" in request else "metric"):
        if not request.get(name):
            raise ValueError(f"Missing {name}")
    if "cloudId" in request and request["cloudId"] not in cloud_ids:
        raise ValueError("Cannot find cloud")
    return request


def echoed(item: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return the members that each answer to *item* has besides the metric."""
    return {"owner": owner} | ({"id": item["id"]} if "id" in item else {})


def failed(item: Mapping[str, Any], error: Exception) -> dict[str, Any]:
    """Return the answer to an *item* that has none."""
    named = {name: item[name] for name in ("metric", "namespace", "dimensions") if name in item}
    return {**named, "error": str(error)}
