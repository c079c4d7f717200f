"""The ``metric`` controller of the Builder (reference, section 12)."""

from collections.abc import Mapping
from typing import Any

from ....request import Call
from ....state.builder import Builder
from ....state.metrics import MetricResult
from ...metric_items import checked, echoed, failed


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
