"""The records of the API as attrs classes. Every member is optional; ``extra`` keeps what is not documented."""

from .action import Action, ActionResult
from .builder import Registration
from .device import Credentials, Device
from .generic import Item
from .metric import DatabaseQuery, Metric, MetricList, MetricQuery, Point, Statistic
from .page import Cursor, Page
from .provision import Certificates, UpdateOffer
from .store import StoreItem

__all__ = [
    "Action",
    "ActionResult",
    "Certificates",
    "Credentials",
    "Cursor",
    "DatabaseQuery",
    "Device",
    "Item",
    "Metric",
    "MetricList",
    "MetricQuery",
    "Page",
    "Point",
    "Registration",
    "Statistic",
    "StoreItem",
    "UpdateOffer",
]
