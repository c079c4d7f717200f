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
    from .client import BuilderClient, IotoClient
    from .cognito import CognitoLogin
    from .controllers.provision import FetchedUpdate
    from .models import JSON, DatabaseQuery, MetricQuery, Range, Widget, WidgetAction
    from .retry import RetryPolicy
    from .transfer import Transfer

__all__ = [
    "JSON",
    "AccessToken",
    "Attempt",
    "BuilderClient",
    "CognitoLogin",
    "DatabaseQuery",
    "FetchedUpdate",
    "IotoClient",
    "MetricQuery",
    "Range",
    "RetryPolicy",
    "Transfer",
    "Widget",
    "WidgetAction",
    "__version__",
]
__all__ += errors.__all__

_LAZY: Final = {
    "JSON": "models",
    "AccessToken": "auth",
    "Attempt": "attempt",
    "BuilderClient": "client",
    "CognitoLogin": "cognito",
    "DatabaseQuery": "models",
    "FetchedUpdate": "controllers.provision",
    "IotoClient": "client",
    "MetricQuery": "models",
    "Range": "models",
    "RetryPolicy": "retry",
    "Transfer": "transfer",
    "Widget": "models",
    "WidgetAction": "models",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    return value
