"""The ``metric`` controller of a device cloud (reference, section 11)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...request import Call, Refused
from ...state.cloud import Cloud
from ...state.models import Models
from ...state.samples import expand_dimensions
from ..metric_items import checked, echoed, failed
from ..scope import check_cloud, identified, named_account, scope


def fetch(cloud: Cloud, call: Call) -> object:
    """Answer each item with one metric, in their order; one that cannot be answered has ``error`` instead of points.

    The list is flat, as the reply of the device cloud is documented; the Builder's nests it (reference, section 9).
    """
    members = scope(cloud, call)
    if "accountId" not in members:
        raise Refused('Missing "accountId" for the owner of the metrics')
    items = call.body["items"]
    answers: list[Any] = [_answer(cloud, call, members, item) for item in items]
    if cloud.otherwise("A76") and (error := next((each["error"] for each in answers if "error" in each), None)):
        raise Refused(error)
    if cloud.otherwise("A78"):
        answers = answers[:10]
    if cloud.otherwise("A69"):
        answers = [[each] for each in answers]
    return {"data": answers, "paged": True}


def _answer(cloud: Cloud, call: Call, members: Mapping[str, Any], item: object) -> dict[str, Any]:
    if not isinstance(item, dict):
        return {"error": "An item must be an object"}
    echo = echoed(item, "default" if cloud.otherwise("A75") else members["accountId"])
    if cloud.otherwise("A74"):
        echo.pop("id", None)
    if cloud.otherwise("A77") and not item.keys() >= {"statistic", "period"}:
        return {**failed(item, ValueError("Missing statistic or period")), **echo}
    try:
        request = checked(item, (cloud.id,))
        request["dimensions"] = expand_dimensions(request["dimensions"], members["deviceId"])
        if "model" in request:
            return {**_from_database(cloud.models.for_roles(call.caller.roles), members, request), **echo}
        return {**_from_metrics(cloud, members, request), **echo}
    except (Refused, ValueError) as error:
        return {**failed(item, error), **echo}


def _from_metrics(cloud: Cloud, members: Mapping[str, Any], request: Mapping[str, Any]) -> Mapping[str, Any]:
    found = cloud.metrics.engine(members["accountId"]).query(
        request["namespace"],
        request["metric"],
        request["dimensions"],
        request["period"],
        request["statistic"],
        accumulate=request["accumulate"],
        start=request["start"],
        timestamp=cloud.now(),
    )
    if cloud.otherwise("A72") and not found["points"]:
        raise ValueError("Cannot find metric")
    if cloud.otherwise("A73"):
        found["period"] = request["period"]
    if cloud.otherwise("A71" if request["accumulate"] else "A70"):
        for point in found["points"]:
            point["timestamp"] = point["timestamp"] * 1000 if request["accumulate"] else point["timestamp"] // 1000
    return found


def _from_database(models: Models, members: Mapping[str, Any], request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Make a point of each item that has a number in the field; the dimensions name members that must match."""
    owner = {name: members[name] for name in ("accountId", "deviceId")}
    wanted = identified(request["model"], {**request["dimensions"], **owner})
    page = models.find(request["model"], wanted, {"limit": str(request["limit"])})
    field = request["field"]
    points = [
        {"value": record[field], "timestamp": _milliseconds(record["updated"]), "count": 1}
        for record in page["data"]
        if isinstance(record.get(field), int | float) and not isinstance(record[field], bool)
    ]
    return {
        "namespace": request["namespace"],
        "metric": request.get("metric") or field,
        "dimensions": request["dimensions"],
        "period": request["period"],
        "points": points,
        "samples": len(points),
    }


def _milliseconds(date: str) -> int:
    return round(datetime.fromisoformat(date).timestamp() * 1000)


def get_device_schema(cloud: Cloud, call: Call) -> object:
    """Return the schema of the device database."""
    check_cloud(cloud, call)
    return {"schema": cloud.models.schema} if cloud.otherwise("A80") else cloud.models.schema


def get_metric_list(cloud: Cloud, call: Call) -> object:
    """List the namespaces in use; the metrics of ``namespace``; the dimension maps of ``metric``."""
    check_cloud(cloud, call)
    # No account is documented for this call; a CloudAPI token that names none lists that of the cloud's owner.
    engine = cloud.metrics.engine(named_account(cloud, call) or cloud.account_id)
    found = engine.metric_list(call.body.get("namespace"), call.body.get("metric"))
    return found["namespaces"] if cloud.otherwise("A79") and len(found) == 1 else found
