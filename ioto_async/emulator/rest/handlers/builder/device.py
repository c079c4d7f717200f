"""The ``device`` controller of the Builder (reference, section 12)."""

from typing import Final

from ....request import Call, Refused
from ....state.builder import Builder, DeviceCloud, Product
from ....wire import iso

_NOT_PROPERTIES: Final = ("id", "product", "account", "cloud")


def claim(builder: Builder, call: Call) -> object:
    """Claim a device for an account of the cloud whose CloudAPI token the body has."""
    body, owner = call.body, call.caller.account_id
    device = builder.registry.owned(body["id"], owner)
    _cloud_of(builder, body["cloudToken"]).claim_device(device.id, body["accountId"])
    if body.get("test") is not None:
        builder.registry.mark(device.id, test=body["test"])
    device = builder.registry.owned(device.id, owner)
    model = device.properties.get("model")
    return {
        "id": device.id,
        "cloudId": device.cloud_id,
        "productId": device.product_id,
        "test": device.test,
        "created": iso(device.created or 0),
        "accessed": iso(device.accessed),
    } | ({"model": model} if isinstance(model, str) else {})


def _cloud_of(builder: Builder, token: str) -> DeviceCloud:
    for cloud in builder.clouds.values():
        caller = cloud.caller(token)
        if caller is not None and caller.kind == "cloud":
            return cloud
    raise Refused("Cannot find cloud with this cloudToken")


def find(builder: Builder, call: Call) -> object:
    """List devices, claimed or not, in the order of their claim IDs, 100 a page unless ``limit`` says otherwise."""
    body = call.body
    return builder.registry.find(
        call.query,
        owner=call.caller.account_id,
        id=body.get("id"),
        cloud_id=body.get("cloudId"),
        product_id=body.get("productId"),
    )


def get(builder: Builder, call: Call) -> object:
    """Return the record of a device, claimed or not."""
    return builder.registry.owned(call.body["id"], call.caller.account_id).builder_record()


def lookup(builder: Builder, call: Call) -> object:
    """Return the record of the product that a product token is of."""
    product = _product(builder, call, call.body["product"])
    return {
        "accountId": product.account_id,
        "description": product.description,
        "id": product.id,
        "name": product.name,
        "planId": product.plan_id,
        "suspended": builder.tokens.is_suspended(product.id),
        "url": product.url,
    }


def _product(builder: Builder, call: Call, id: str) -> Product:
    return builder.product(id, call.caller.account_id)


def register(builder: Builder, call: Call) -> object:
    """Register a device, and claim it if the body names ``account`` and ``cloud`` (wire examples, 1.1).

    Until it is claimed the reply has one member, which the agent counts. The other members of the body are kept as
    the device's properties.
    """
    body = call.body
    id_: str = body["id"]
    properties = {name: value for name, value in body.items() if name not in _NOT_PROPERTIES}
    builder.registry.register(id_, body["product"], properties)
    device = builder.registry.load(id_)
    if device is not None and device.cloud_id is None and body.get("account") and body.get("cloud"):
        builder.cloud(body["cloud"]).claim_device(id_, body["account"])
        device = builder.registry.load(id_)
    if device is None or device.cloud_id is None:
        return {"registered": True}
    return {"registered": True, **builder.cloud(device.cloud_id).registration(device)}


def release(builder: Builder, call: Call) -> object:
    """Take a device back from whatever cloud it is claimed in; one that is not claimed stays as it is."""
    builder.release_device(builder.registry.owned(call.body["id"], call.caller.account_id).id)
    return None


def remove(builder: Builder, call: Call) -> object:
    """Forget a device that is not claimed."""
    device = builder.registry.owned(call.body["id"], call.caller.account_id)
    if device.cloud_id is not None:
        raise Refused("Device is claimed; release it first")
    builder.registry.remove(device.id)
    return None


def remove_all(builder: Builder, call: Call) -> object:
    """Forget all devices of a product, those that are claimed as well, and return how many there were."""
    # Whether it stops at claimed devices is not documented; its name says all.
    devices = builder.registry.of_product(_product(builder, call, call.body["productId"]).id)
    for device in devices:
        builder.release_device(device.id)
        builder.registry.remove(device.id)
    return len(devices)
