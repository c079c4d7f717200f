"""Devices to begin with."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..request import Refused
from ..wire import new_claim_id
from .cloud import Cloud

__all__ = ["seed_devices"]

_MOST: Final = 9_999_999


def seed_devices(cloud: Cloud, devices: int | Iterable[Mapping[str, Any]], *, claim: bool) -> list[str]:
    """Register devices, and claim them if *claim* or an account of theirs says so; see ``Emulator.seed``."""
    if isinstance(devices, int) and not isinstance(devices, bool):
        if not 0 <= devices <= _MOST:
            raise ValueError(f"devices: expected a number from 0 to {_MOST}, got {devices}")
        devices = ({"id": f"DEV{number:07d}"} for number in range(1, devices + 1))
    elif isinstance(devices, (str, Mapping)) or not isinstance(devices, Iterable):
        raise ValueError(f"devices: expected a number or an array of objects, got {devices!r}")
    with cloud.lock, cloud.builder.transaction():
        return [_seed(cloud, device, f"devices[{index}]", claim) for index, device in enumerate(devices)]


def _seed(cloud: Cloud, device: object, place: str, claim: bool) -> str:
    if not isinstance(device, Mapping):
        raise ValueError(f"{place}: expected an object, got {device!r}")
    properties = {name: value for name, value in device.items() if value is not None}
    known = {name: properties.pop(name, None) for name in ("id", "product", "account_id")}
    for name, value in known.items():
        if value is not None and (not isinstance(value, str) or not value):
            raise ValueError(f"{place}.{name}: expected a text that is not empty, got {value!r}")
    id = known["id"] or new_claim_id()
    registry = cloud.builder.registry
    try:
        present = registry.load(id)
        if present is None:
            registry.register(id, cloud.builder.product(known["product"] or cloud.product_token).id, properties)
        if (claim or known["account_id"]) and (present is None or present.account_id is None):
            cloud.claim_device(id, known["account_id"])
    except Refused as error:
        raise Refused(f"{place}: {id}: {error.message}", error.status) from error
    return id
