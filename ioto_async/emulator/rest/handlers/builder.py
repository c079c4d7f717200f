"""The operations of the Builder (reference, section 12).

These handlers get the Builder, not the cloud at whose address they were called. A BuilderAPI token sees the products
of its own account, and their devices, whatever cloud these are claimed in.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from ...request import Call, Refused
from ...state.builder import Builder, DeviceCloud, Product
from ...state.metrics import MetricResult
from ...wire import iso
from .metric import checked, echoed, failed

__all__ = ["HANDLERS"]

_NOT_PROPERTIES: Final = ("id", "product", "account", "cloud")


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


def fetch(builder: Builder, call: Call) -> object:
    """Answer each item with a list of metrics, in their order; with ``multiple`` one for each map of dimensions."""
    owner = str(call.caller.account_id)
    return {"data": [_answer(builder, owner, item) for item in call.body["items"]], "paged": True}


def _answer(builder: Builder, owner: str, item: object) -> list[dict[str, Any]]:
    if not isinstance(item, dict):
        return [{"error": "An item must be an object"}]
    try:
        metrics = _metrics(builder, owner, checked(item, builder.clouds))
        return [{**metric, **echoed(item, owner)} for metric in metrics]
    except ValueError as error:
        return [{**failed(item, error), **echoed(item, owner)}]


def _metrics(builder: Builder, owner: str, request: Mapping[str, Any]) -> list[MetricResult]:
    if "model" in request:
        raise ValueError("model needs a device cloud")
    engine = builder.metrics.engine(owner)
    named = request["namespace"], request["metric"]
    period, statistic, now = request["period"], request["statistic"], builder.now()
    if request.get("multiple") is True:
        return [_in_milliseconds(each) for each in engine.query_all(*named, period, statistic, timestamp=now)]
    result = engine.query(
        *named,
        request["dimensions"],
        period,
        statistic,
        accumulate=request["accumulate"],
        start=request["start"],
        timestamp=now,
    )
    return [_in_milliseconds(result) if request["accumulate"] else result]


def _in_milliseconds(result: MetricResult) -> MetricResult:
    """Date an accumulated *result* as the Builder documents it; the engine has it in seconds."""
    for point in result["points"]:
        point["timestamp"] *= 1000
    return result


def echo(builder: Builder, call: Call) -> object:
    """Return the body's members."""
    return dict(call.body)


def nothing(builder: Builder, call: Call) -> object:
    """Succeed."""
    return None


def exception(builder: Builder, call: Call) -> object:
    """Fail as a defect of the service does."""
    raise Refused("Service error", 500)


HANDLERS: Final[Mapping[str, Callable[[Builder, Call], object]]] = MappingProxyType(
    {
        "device/claim": claim,
        "device/find": find,
        "device/get": get,
        "device/lookup": lookup,
        "device/register": register,
        "device/release": release,
        "device/remove": remove,
        "device/removeAll": remove_all,
        "metric/fetch": fetch,
        "test/echo": echo,
        "test/empty": nothing,
        "test/exception": exception,
        "test/success": nothing,
    }
)
