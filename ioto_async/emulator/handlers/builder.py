"""What devices call on the Builder (reference, section 12). Imports ``cloud`` and ``request``."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ..cloud import Cloud
from ..request import Call, Refused

__all__ = ["HANDLERS"]

_NOT_PROPERTIES: Final = ("id", "product", "account", "cloud")


def register(cloud: Cloud, call: Call) -> object:
    """Register a device, and claim it if the body names ``account`` and ``cloud`` (wire examples, 1.1).

    Until it is claimed the reply has one member, which the agent counts. The other members of the body are kept as
    the device's properties.
    """
    body = call.body
    id_: str = body["id"]
    properties = {name: value for name, value in body.items() if name not in _NOT_PROPERTIES}
    cloud.devices.register(id_, body["product"], properties)
    record = cloud.device(id_)
    if record is None and body.get("account") and body.get("cloud"):
        if body["cloud"] != cloud.id:
            raise Refused("Cannot find cloud")
        record = cloud.claim_device(id_, body["account"])
    if record is None:
        return {"registered": True}
    return {
        "registered": True,
        "api": cloud.api,
        "token": cloud.tokens.of_device(cloud.id, record["accountId"], id_),
        "cloudType": cloud.type,
        "cloudName": cloud.name,
        "cloudRegion": cloud.region,
    }


HANDLERS: Final[Mapping[str, Callable[[Cloud, Call], object]]] = MappingProxyType({"device/register": register})
