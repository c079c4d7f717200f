"""Asyncio SDK for EmbedThis Ioto device clouds.

What needs aiohttp is loaded when it is first used, so that ``import ioto_async``, which pytest does through our plugin,
costs next to nothing. The embedded cloud is `ioto_async.emulator`.
"""

import importlib
from typing import TYPE_CHECKING, Final

from . import errors
from ._version import __version__
from .errors import *  # noqa: F403

if TYPE_CHECKING:
    from .client import BuilderClient, IotoClient
    from .models import DatabaseQuery, MetricQuery
    from .retry import RetryPolicy
    from .transport import Attempt

__all__ = [
    "Attempt",
    "BuilderClient",
    "DatabaseQuery",
    "IotoClient",
    "MetricQuery",
    "RetryPolicy",
    "__version__",
]
__all__ += errors.__all__

_LAZY: Final = {
    "Attempt": "transport",
    "BuilderClient": "client",
    "DatabaseQuery": "models",
    "IotoClient": "client",
    "MetricQuery": "models",
    "RetryPolicy": "retry",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    return value
