"""The ``provision`` controller of a device cloud (reference, section 11). Imports ``cloud`` and ``handlers.device``."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ..cloud import Cloud
from ..request import Call
from .device import own_device
from .device import provision as get_certs

__all__ = ["HANDLERS"]


def update(cloud: Cloud, call: Call) -> object:
    """Offer the newest update that suits the device, or say in ``message`` that there is none.

    The product of the body is not looked at: the cloud knows it from the device (wire examples, 4.5).
    """
    device = own_device(cloud, call, call.body["id"])
    version = call.body["version"]
    offer = cloud.updates.offer(device, version, call.body)
    cloud.devices.check(device.id, version)
    if offer is None:
        return {"message": "No update available"}
    return {
        "checksum": offer.checksum,
        "url": f"{cloud.api}/download/{offer.path}",
        "update": offer.update,
        "version": offer.version,
    }


def update_report(cloud: Cloud, call: Call) -> object:
    """Note whether an offered update was installed."""
    device = own_device(cloud, call, call.body["id"])
    cloud.updates.report(call.body["update"], device.id, success=call.body["success"])
    return None


HANDLERS: Final[Mapping[str, Callable[[Cloud, Call], object]]] = MappingProxyType(
    {
        "provision/getCerts": get_certs,
        "provision/update": update,
        "provision/updateReport": update_report,
    }
)
