"""Checks of metrics; those of series are about a device that the user has named."""

from typing import Any, Final

from ..finding import MARK, Finding, Unclear, differs, holds
from ..probe import Probe, Reply, shape

__all__: list[str] = []

_NAMESPACE: Final = "Embedthis/Device"
_MILLISECONDS: Final = 1e11
_PERIOD: Final = 86_400
_MANY: Final = 100


def _nothing(**members: object) -> dict[str, object]:
    """An item for an unknown metric."""
    return {"namespace": _NAMESPACE, "metric": MARK, "dimensions": {}, "statistic": "avg", "period": 300, **members}


async def _ask(probe: Probe, *items: dict[str, object]) -> Reply:
    reply = await probe.ask("metric/fetch", {"deviceId": probe.device, **probe.of_account, "items": [*items]})
    if reply.status in (401, 403):
        raise Unclear(f"the caller may not call it: metric/fetch: {reply.status} {reply.text}")
    return reply


async def _fetch(probe: Probe, *items: dict[str, object]) -> list[dict[str, Any]]:
    """The answers to *items*, nested or not."""
    reply = await _ask(probe, *items)
    if not reply.is_ok:
        raise Unclear(f"metric/fetch: {reply.status} {reply.text}")
    answers: list[dict[str, Any]] = []
    for each in reply.records:
        answers += (one for one in (each if isinstance(each, list) else [each]) if isinstance(one, dict))
    if not answers:
        raise Unclear(f"no answers: {reply}")
    return answers


async def _known(probe: Probe, **members: object) -> dict[str, Any]:
    """The answer of a metric of the device that has points."""
    listed = await probe.get(
        "metric/getMetricList", {"cloudId": probe.cloud_id, "namespace": _NAMESPACE, **probe.of_account}
    )
    names = [name for name in listed.record.get("metrics", []) if isinstance(name, str)][:10]
    if not names:
        raise Unclear(f"there are no metrics in {_NAMESPACE}")
    of_device = {"Device": probe.device}
    items = [_nothing(metric=name, dimensions=each, period=_PERIOD) for name in names for each in (of_device, {})]
    for item, answer in zip(items, await _fetch(probe, *items), strict=False):
        if any(point.get("count") for point in answer.get("points") or []):
            return (await _fetch(probe, {**item, **members}))[0]
    raise Unclear("none of the metrics has a point of the last day")


def _stamps(answer: dict[str, Any]) -> list[float]:
    stamps = [point.get("timestamp") for point in answer.get("points") or []]
    numbers = [stamp for stamp in stamps if isinstance(stamp, (int, float))]
    if not numbers:
        raise Unclear(f"no point has a number for a timestamp: {shape(answer)}")
    return numbers


async def a69(probe: Probe) -> Finding:
    """Ask for two unknown metrics."""
    reply = await _ask(probe, _nothing(), _nothing(statistic="max"))
    if not reply.is_ok:
        raise Unclear(f"metric/fetch: {reply.status} {reply.text}")
    is_flat = len(reply.records) == 2 and all(isinstance(each, dict) for each in reply.records)
    return holds(str(reply)) if is_flat else differs(str(reply))


async def a70(probe: Probe) -> Finding:
    """Look at a series."""
    stamps = _stamps(await _known(probe))
    return holds(f"{stamps[-1]}") if min(stamps) >= _MILLISECONDS else differs(f"{stamps[-1]}")


async def a71(probe: Probe) -> Finding:
    """Look at an accumulated point."""
    stamps = _stamps(await _known(probe, accumulate=True))
    return holds(f"{stamps[0]}") if stamps[0] < _MILLISECONDS else differs(f"{stamps[0]}")


async def a72(probe: Probe) -> Finding:
    """Ask for an unknown metric."""
    reply = await _ask(probe, _nothing())
    if not reply.is_ok:
        return differs(f"{reply.status} {reply.text}")
    (answer, *_) = await _fetch(probe, _nothing())
    return differs(shape(answer)) if answer.get("error") or answer.get("points") else holds(shape(answer))


async def a73(probe: Probe) -> Finding:
    """Ask for a period that no span has."""
    period = (await _known(probe, period=_PERIOD - 400)).get("period")
    return holds(f"{period} for {_PERIOD - 400}") if period == _PERIOD else differs(f"{period} for {_PERIOD - 400}")


async def a74(probe: Probe) -> Finding:
    """Give an item an id."""
    (answer, *_) = await _fetch(probe, _nothing(id=MARK))
    return holds(shape(answer)) if answer.get("id") == MARK else differs(shape(answer))


async def a75(probe: Probe) -> Finding:
    """Look at the owner."""
    (answer, *_) = await _fetch(probe, _nothing())
    owner = answer.get("owner")
    return holds("the account") if owner == probe.account_id else differs(f"{owner}")


async def a76(probe: Probe) -> Finding:
    """Ask for an unknown statistic, and for a known one."""
    reply = await _ask(probe, _nothing(statistic="conformance"), _nothing())
    if not reply.is_ok:
        return differs(f"{reply.status} {reply.text}")
    bad, *others = await _fetch(probe, _nothing(statistic="conformance"), _nothing())
    return holds(shape(bad)) if bad.get("error") and others else differs(f"{shape(bad)}, and {len(others)} others")


async def a77(probe: Probe) -> Finding:
    """Leave the statistic and the period out."""
    item = _nothing()
    del item["statistic"], item["period"]
    reply = await _ask(probe, item)
    if not reply.is_ok:
        return differs(f"{reply.status} {reply.text}")
    (answer, *_) = await _fetch(probe, item)
    error = answer.get("error")
    if error and "metric" in str(error).lower():  # it is there that matters, not the default
        raise Unclear(f"{error}")
    return differs(f"{error}") if error else holds(shape(answer))


async def a78(probe: Probe) -> Finding:
    """Ask for many unknown metrics."""
    reply = await _ask(probe, *(_nothing(id=f"{number}") for number in range(_MANY)))
    seen = f"{reply.status}, {len(reply.records)} answers"
    return holds(seen) if reply.is_ok and len(reply.records) == _MANY else differs(seen)


async def a79(probe: Probe) -> Finding:
    """List the namespaces."""
    reply = await probe.get("metric/getMetricList", {"cloudId": probe.cloud_id})
    is_known = isinstance(reply.record.get("namespaces"), list)
    return holds(str(reply)) if is_known else differs(str(reply))


async def a80(probe: Probe) -> Finding:
    """Look at the schema."""
    reply = await probe.get("metric/getDeviceSchema")
    is_known = isinstance(reply.record.get("models"), dict)
    seen = f"{reply.status}: {shape(reply.value, 1)}"
    return holds(seen) if is_known else differs(seen)
