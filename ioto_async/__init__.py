"""Asyncio SDK for EmbedThis Ioto device clouds.

What needs aiohttp is loaded when it is first used, so that ``import ioto_async``, which pytest does through our plugin,
costs next to nothing. The embedded cloud is `ioto_async.emulator`.
"""

from typing import TYPE_CHECKING, Final

from . import errors
from ._lazy import lazy_names
from ._version import __version__
from .errors import *  # noqa: F403

if TYPE_CHECKING:
    from .bulk import Bulk, BulkOptions, EarlierError, Outcome, Progress, RunOptions, Summary
    from .client import BuilderClient, CallerOptions, ClientOptions, IotoClient
    from .codec.encoding import OMIT, Omit
    from .controllers.provision import FetchedUpdate
    from .metrics.options import WriterOptions
    from .metrics.sample import BufferFullError, Sample, UnwrittenError
    from .metrics.writer import Writer
    from .models import (
        JSON,
        Account,
        Action,
        ActionResult,
        Alert,
        BuilderDevice,
        BuilderProduct,
        Certificates,
        Credentials,
        Cursor,
        Dashboard,
        DatabaseQuery,
        Device,
        File,
        Item,
        Login,
        Manager,
        Metric,
        MetricKey,
        MetricList,
        MetricQuery,
        MetricRow,
        Metrics,
        NewAccount,
        Page,
        Point,
        Range,
        Record,
        Registration,
        Statistic,
        StoreItem,
        UpdateOffer,
        User,
        Widget,
        WidgetAction,
    )
    from .mqtt import DeviceLink, LinkOptions
    from .settings import Period, Secret
    from .transfer.transfer import Transfer
    from .transport.attempt import Attempt
    from .transport.auth import AccessToken
    from .transport.cassette import Cassette
    from .transport.cognito import CognitoLogin
    from .transport.limits import Limits
    from .transport.options import CallOptions
    from .transport.raw import RawResponse, with_raw_response
    from .transport.retry import RetryPolicy

__all__ = [
    "JSON",
    "OMIT",
    "AccessToken",
    "Account",
    "Action",
    "ActionResult",
    "Alert",
    "Attempt",
    "BufferFullError",
    "BuilderClient",
    "BuilderDevice",
    "BuilderProduct",
    "Bulk",
    "BulkOptions",
    "CallOptions",
    "CallerOptions",
    "Cassette",
    "Certificates",
    "ClientOptions",
    "CognitoLogin",
    "Credentials",
    "Cursor",
    "Dashboard",
    "DatabaseQuery",
    "Device",
    "DeviceLink",
    "EarlierError",
    "FetchedUpdate",
    "File",
    "IotoClient",
    "Item",
    "Limits",
    "LinkOptions",
    "Login",
    "Manager",
    "Metric",
    "MetricKey",
    "MetricList",
    "MetricQuery",
    "MetricRow",
    "Metrics",
    "NewAccount",
    "Omit",
    "Outcome",
    "Page",
    "Period",
    "Point",
    "Progress",
    "Range",
    "RawResponse",
    "Record",
    "Registration",
    "RetryPolicy",
    "RunOptions",
    "Sample",
    "Secret",
    "Statistic",
    "StoreItem",
    "Summary",
    "Transfer",
    "UnwrittenError",
    "UpdateOffer",
    "User",
    "Widget",
    "WidgetAction",
    "Writer",
    "WriterOptions",
    "__version__",
    "with_raw_response",
]
__all__ += errors.__all__

_HOMES: Final = {
    "bulk": "Bulk BulkOptions EarlierError Outcome Progress RunOptions Summary",
    "client": "BuilderClient CallerOptions ClientOptions IotoClient",
    "codec.encoding": "OMIT Omit",
    "controllers.provision": "FetchedUpdate",
    "metrics.options": "WriterOptions",
    "metrics.sample": "BufferFullError Sample UnwrittenError",
    "metrics.writer": "Writer",
    "models": """
        JSON Account Action ActionResult Alert BuilderDevice BuilderProduct Certificates Credentials Cursor Dashboard
        DatabaseQuery Device File Item Login Manager Metric MetricKey MetricList MetricQuery MetricRow Metrics
        NewAccount Page Point Range Record Registration Statistic StoreItem UpdateOffer User Widget WidgetAction
    """,
    "mqtt": "DeviceLink LinkOptions",
    "settings": "Period Secret",
    "transfer.transfer": "Transfer",
    "transport.attempt": "Attempt",
    "transport.auth": "AccessToken",
    "transport.cassette": "Cassette",
    "transport.cognito": "CognitoLogin",
    "transport.limits": "Limits",
    "transport.options": "CallOptions",
    "transport.raw": "RawResponse with_raw_response",
    "transport.retry": "RetryPolicy",
}


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # type checkers would take it for a promise of any name
    __getattr__ = lazy_names(__name__, _HOMES)
