"""One namespace for each controller of the API; each is loaded when it is first used, with its records."""

from typing import TYPE_CHECKING, Final

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .account import AccountController
    from .action import ActionController
    from .alert import AlertController
    from .builder import BuilderDeviceController, BuilderMetricController, BuilderTestController
    from .dashboard import DashboardController, DashboardMembers
    from .device import DeviceController
    from .file import FileController
    from .generic import GenericController
    from .manager import ManagerController
    from .metric import MetricController
    from .provision import ProvisionController
    from .store import StoreController
    from .test import TestController
    from .user import UserController

__all__ = [
    "AccountController",
    "ActionController",
    "AlertController",
    "BuilderDeviceController",
    "BuilderMetricController",
    "BuilderTestController",
    "DashboardController",
    "DashboardMembers",
    "DeviceController",
    "FileController",
    "GenericController",
    "ManagerController",
    "MetricController",
    "ProvisionController",
    "StoreController",
    "TestController",
    "UserController",
]

_HOMES: Final = {
    "account": "AccountController",
    "action": "ActionController",
    "alert": "AlertController",
    "builder": "BuilderDeviceController BuilderMetricController BuilderTestController",
    "dashboard": "DashboardController DashboardMembers",
    "device": "DeviceController",
    "file": "FileController",
    "generic": "GenericController",
    "manager": "ManagerController",
    "metric": "MetricController",
    "provision": "ProvisionController",
    "store": "StoreController",
    "test": "TestController",
    "user": "UserController",
}
if not TYPE_CHECKING:  # type checkers would take it for a promise of any name
    __getattr__ = lazy_names(__name__, _HOMES)
