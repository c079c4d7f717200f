"""The ``device`` controller of a device cloud (reference, section 11)."""

import secrets
from typing import Final

from ...request import Call, Refused
from ...state.cloud import Cloud
from ...state.provisioning import certificates
from ...wire import iso
from ..scope import account_of, own_device
from ..signed import signed_url

_CREDS_LIFE_MS: Final = 3_600_000


def claim(cloud: Cloud, call: Call) -> object:
    """Take a registered device into an account: of the caller, else as named, else the cloud's own."""
    if cloud.otherwise("A43"):
        record = cloud.device(call.body["id"], account_of(call) or cloud.account_id)
        if record is not None:
            return record
    return cloud.claim_device(call.body["id"], account_of(call))


def find(cloud: Cloud, call: Call) -> object:
    """List claimed devices in the order of their claim IDs, 100 a page unless ``limit`` says otherwise."""
    if cloud.otherwise("A34") and account_of(call) is None:
        raise Refused("Missing accountId")
    return cloud.devices.find(
        call.query, id=call.body.get("id"), account_id=account_of(call), product_id=call.body.get("productId")
    )


def get(cloud: Cloud, call: Call) -> object:
    """Return the record of a claimed device."""
    return own_device(cloud, call, call.body["id"]).record()


def get_creds(cloud: Cloud, call: Call) -> object:
    """Make up temporary AWS keys; the real ones exist in dedicated clouds only."""
    if cloud.type != "dedicated":
        raise Refused("Credentials need a dedicated cloud")
    return {
        "accessKeyId": "ASIA" + secrets.token_hex(8).upper(),
        "secretAccessKey": secrets.token_urlsafe(30),
        "sessionToken": secrets.token_urlsafe(120),
        "region": cloud.region,
        "expires": iso(cloud.now() + _CREDS_LIFE_MS),
    }


def get_signed_url(cloud: Cloud, call: Call) -> object:
    """Return a URL for a file of the device, which is its account's under the claim ID: ``<device id>/<filename>``."""
    device_id = call.body.get("id") or call.caller.device_id
    if not device_id:
        raise Refused("Missing id")
    device = own_device(cloud, call, device_id)
    return signed_url(cloud, call, str(device.account_id), folder=device.id)


def provision(cloud: Cloud, call: Call) -> object:
    """Return certificate, key and MQTT address, the same ones as long as the claim and the authority last.

    The members are at top level. A blocked device gets ``error`` and ``delay`` (seconds) instead, with status 200.
    """
    device = own_device(cloud, call, call.body["id"])
    delay = device.blocked_until - cloud.now()
    if delay > 0:
        return {"error": "Device blocked due to excess traffic", "delay": -(-delay // 1000)}
    return certificates(cloud, device)


def release(cloud: Cloud, call: Call) -> object:
    """Hand a device back to the Builder; its token and certificate end."""
    return cloud.release_device(call.body["id"], account_of(call))


def remove(cloud: Cloud, call: Call) -> object:
    """Release a device: the operation's older name."""
    return release(cloud, call)
