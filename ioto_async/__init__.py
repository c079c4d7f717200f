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
    from .attempt import Attempt
    from .auth import AccessToken
    from .bulk import Bulk, EarlierError, Outcome, Progress, Summary
    from .client import BuilderClient, IotoClient
    from .cognito import CognitoLogin
    from .controllers.provision import FetchedUpdate
    from .limits import Limits
    from .models import (
        JSON,
        Certificates,
        DatabaseQuery,
        Metric,
        MetricQuery,
        Metrics,
        Point,
        Range,
        Widget,
        WidgetAction,
    )
    from .mqtt import DeviceLink
    from .retry import RetryPolicy
    from .transfer import Transfer
    from .writing import BufferFullError, Sample, UnwrittenError, Writer

__all__ = [
    "JSON",
    "AccessToken",
    "Attempt",
    "BufferFullError",
    "BuilderClient",
    "Bulk",
    "Certificates",
    "CognitoLogin",
    "DatabaseQuery",
    "DeviceLink",
    "EarlierError",
    "FetchedUpdate",
    "IotoClient",
    "Limits",
    "Metric",
    "MetricQuery",
    "Metrics",
    "Outcome",
    "Point",
    "Progress",
    "Range",
    "RetryPolicy",
    "Sample",
    "Summary",
    "Transfer",
    "UnwrittenError",
    "Widget",
    "WidgetAction",
    "Writer",
    "__version__",
]
__all__ += errors.__all__

_LAZY: Final = {
    "JSON": "models",
    "AccessToken": "auth",
    "Attempt": "attempt",
    "BufferFullError": "writing",
    "BuilderClient": "client",
    "Bulk": "bulk",
    "Certificates": "models",
    "CognitoLogin": "cognito",
    "DatabaseQuery": "models",
    "DeviceLink": "mqtt",
    "EarlierError": "bulk",
    "FetchedUpdate": "controllers.provision",
    "IotoClient": "client",
    "Limits": "limits",
    "Metric": "models",
    "MetricQuery": "models",
    "Metrics": "models",
    "Outcome": "bulk",
    "Point": "models",
    "Progress": "bulk",
    "Range": "models",
    "RetryPolicy": "retry",
    "Sample": "writing",
    "Summary": "bulk",
    "Transfer": "transfer",
    "UnwrittenError": "writing",
    "Widget": "models",
    "WidgetAction": "models",
    "Writer": "writing",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    return value
