"""One namespace for each controller of the API."""

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
