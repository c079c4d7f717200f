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
    from .bulk import Bulk, EarlierError, Outcome, Progress, Summary
    from .client import BuilderClient, IotoClient
    from .codec.encoding import OMIT, Omit
    from .controllers.provision import FetchedUpdate
    from .metrics.sample import BufferFullError, Sample, UnwrittenError
    from .metrics.writer import Writer
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
    from .transfer.transfer import Transfer
    from .transport.attempt import Attempt
    from .transport.auth import AccessToken
    from .transport.cognito import CognitoLogin
    from .transport.limits import Limits
    from .transport.retry import RetryPolicy

__all__ = [
    "JSON",
    "OMIT",
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
    "Omit",
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
    "OMIT": "codec.encoding",
    "AccessToken": "transport.auth",
    "Attempt": "transport.attempt",
    "BufferFullError": "metrics.sample",
    "BuilderClient": "client",
    "Bulk": "bulk",
    "Certificates": "models",
    "CognitoLogin": "transport.cognito",
    "DatabaseQuery": "models",
    "DeviceLink": "mqtt",
    "EarlierError": "bulk",
    "FetchedUpdate": "controllers.provision",
    "IotoClient": "client",
    "Limits": "transport.limits",
    "Metric": "models",
    "MetricQuery": "models",
    "Metrics": "models",
    "Omit": "codec.encoding",
    "Outcome": "bulk",
    "Point": "models",
    "Progress": "bulk",
    "Range": "models",
    "RetryPolicy": "transport.retry",
    "Sample": "metrics.sample",
    "Summary": "bulk",
    "Transfer": "transfer.transfer",
    "UnwrittenError": "metrics.sample",
    "Widget": "models",
    "WidgetAction": "models",
    "Writer": "metrics.writer",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    return value
