"""The records of the API as attrs classes.

What tells a record from others, such as `Device.id`, is always there; every other member may be None. ``extra`` keeps
what is not documented, and what came in another type than the documented one, named as on the wire.

A record is loaded when it is first used: its class is made then, which takes a millisecond or two.
"""

from typing import TYPE_CHECKING, Final

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .account import Account
    from .action import Action, ActionResult
    from .alert import Alert
    from .builder import BuilderDevice, BuilderProduct, Registration
    from .dashboard import Dashboard, Range, Widget, WidgetAction
    from .device import Credentials, Device
    from .file import File
    from .generic import Item
    from .manager import Manager
    from .metric import DEVICE_NAMESPACE, DatabaseQuery, Metric, MetricKey, MetricList, MetricQuery, Point, Statistic
    from .page import Cursor, Page
    from .provision import Certificates, UpdateOffer
    from .record import Record
    from .store import StoreItem
    from .tables import MetricRow, Metrics
    from .user import Login, NewAccount, User
    from .value import JSON

__all__ = [
    "DEVICE_NAMESPACE",
    "JSON",
    "Account",
    "Action",
    "ActionResult",
    "Alert",
    "BuilderDevice",
    "BuilderProduct",
    "Certificates",
    "Credentials",
    "Cursor",
    "Dashboard",
    "DatabaseQuery",
    "Device",
    "File",
    "Item",
    "Login",
    "Manager",
    "Metric",
    "MetricKey",
    "MetricList",
    "MetricQuery",
    "MetricRow",
    "Metrics",
    "NewAccount",
    "Page",
    "Point",
    "Range",
    "Record",
    "Registration",
    "Statistic",
    "StoreItem",
    "UpdateOffer",
    "User",
    "Widget",
    "WidgetAction",
]

_HOMES: Final = {
    "account": "Account",
    "action": "Action ActionResult",
    "alert": "Alert",
    "builder": "BuilderDevice BuilderProduct Registration",
    "dashboard": "Dashboard Range Widget WidgetAction",
    "device": "Credentials Device",
    "file": "File",
    "generic": "Item",
    "manager": "Manager",
    "metric": "DEVICE_NAMESPACE DatabaseQuery Metric MetricKey MetricList MetricQuery Point Statistic",
    "page": "Cursor Page",
    "provision": "Certificates UpdateOffer",
    "record": "Record",
    "store": "StoreItem",
    "tables": "MetricRow Metrics",
    "user": "Login NewAccount User",
    "value": "JSON",
}
if not TYPE_CHECKING:  # type checkers would take it for a promise of any name
    __getattr__ = lazy_names(__name__, _HOMES)
