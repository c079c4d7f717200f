"""What a claimed device needs to connect over MQTT."""

from typing import Any

from .cloud import Cloud
from .devices import Device

__all__ = ["certificates"]


def certificates(cloud: Cloud, device: Device) -> dict[str, Any]:
    """Return certificate, key and MQTT address, the same ones as long as the claim and the authority last."""
    certificate, key = device.certificate, device.key
    if certificate is None or key is None or cloud.authority.has_ended() or cloud.otherwise("A46"):
        certificate, key = cloud.authority.issue(device.id)
        cloud.devices.certify(device.id, certificate, key)
    return {
        "accountId": device.account_id,
        "certificate": certificate,
        "endpoint": f"mqtts://{cloud.endpoint}" if cloud.otherwise("A47") else cloud.endpoint,
        "id": device.id,
        "key": key,
        "port": cloud.mqtt_port,
        "thing": device.id,
        "cloudType": cloud.type,
        "cloudName": cloud.name,
        "cloudRegion": cloud.region,
    }
