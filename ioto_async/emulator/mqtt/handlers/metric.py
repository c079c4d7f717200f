"""The ``metric`` controller over MQTT (reference, section 10)."""

from typing import Final

from ...state.samples import expand_dimensions
from ..broker import Message
from ..call import BadMessage, DeviceCall

_NAMESPACE: Final = "Embedthis/Device"


def get(call: DeviceCall) -> list[Message]:
    """Reply with the value over the whole period, as the agent reads one number."""
    body = call.body
    metric = call.required("metric")
    found = call.cloud.metrics.engine(call.account.account_id).query(
        _NAMESPACE,
        metric,
        expand_dimensions(body.get("dimensions") or {}, call.device.id),
        body.get("period") or 300,
        body.get("statistic") or "avg",
        accumulate=True,
        timestamp=call.cloud.now(),
    )
    return call.reply("metric/get", found["points"][0].get("value") if found["points"] else None)


def set(call: DeviceCall) -> list[Message]:
    """Add a sample, dated now."""
    body = call.body
    metric, value = call.required("metric"), call.required("value")
    dimensions = body.get("dimensions") or [{}]
    if not all(isinstance(each, dict) for each in dimensions):
        raise BadMessage("dimensions must be a list of objects")
    call.account.emit(
        _NAMESPACE,
        metric,
        value,
        [expand_dimensions(each, call.device.id) for each in dimensions],
        timestamp=call.cloud.now(),
        buffer=body.get("buffer"),
    )
    return []
