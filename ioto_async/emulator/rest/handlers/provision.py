"""The ``provision`` controller of a device cloud (reference, section 11)."""

from ...request import Call, Refused
from ...state.cloud import Cloud
from ..scope import own_device
from . import device as devices


def checkin(cloud: Cloud, call: Call) -> object:
    """Offer an update as ``update`` does, in the form of the first generation: ``{}`` if there is none.

    Its table has no version: what the body may hold beyond the table goes before the device's record.
    """
    id_ = call.caller.device_id or call.body.get("id")
    if not id_:
        raise Refused("Missing id")
    device = own_device(cloud, call, id_)
    version = call.body.get("version") or device.version
    if version is None:
        raise Refused("Missing version")
    if not isinstance(version, str):
        raise Refused("version must be of type string")
    offer = cloud.updates.offer(device, version, call.body)
    cloud.devices.check(device.id, version)
    if offer is None:
        return {}
    return {"checksum": offer.checksum, "url": f"{cloud.api}/download/{offer.path}", "version": offer.version}


def get_certs(cloud: Cloud, call: Call) -> object:
    """Provision a device: the older name of ``device/provision``."""
    return devices.provision(cloud, call)


def get_creds(cloud: Cloud, call: Call) -> object:
    """Make up temporary AWS keys: the older name of ``device/getCreds``."""
    return devices.get_creds(cloud, call)


def update(cloud: Cloud, call: Call) -> object:
    """Offer the newest update that suits the device, or say in ``message`` that there is none.

    The product of the body is not looked at: the cloud knows it from the device (wire examples, 4.5).
    """
    device = own_device(cloud, call, call.body["id"])
    version = call.body["version"]
    if cloud.otherwise("A50") and call.body["product"] != device.product_id:
        raise Refused("Cannot find product")
    offer = cloud.updates.offer(device, version, call.body)
    if not cloud.otherwise("A51"):
        cloud.devices.check(device.id, version)
    if offer is None:
        return {} if cloud.otherwise("A49") else {"message": "No update available"}
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
