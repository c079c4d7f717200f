"""One namespace for each controller of the API. Imports floors 0 to 2."""

from .action import ActionController
from .builder import BuilderDeviceController
from .device import DeviceController
from .generic import GenericController
from .metric import MetricController
from .provision import ProvisionController
from .store import StoreController
from .test import TestController

__all__ = [
    "ActionController",
    "BuilderDeviceController",
    "DeviceController",
    "GenericController",
    "MetricController",
    "ProvisionController",
    "StoreController",
    "TestController",
]
