"""What the control API shows of the clouds: what came in, devices, metrics and database items. Nothing is secret."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final

from .. import wire
from ..bodies import OPERATIONS
from ..faults import Injected, fault_members
from ..mqtt.broker import Message
from ..request import CANNOT_FIND_DEVICE, Refused
from ..rest.app import Received
from ..state.cloud import Cloud
from ..state.devices import STATES, Device
from ..state.models import Models
from .controlled import Controlled, cloud_of, members_of, one_of, text_of, whole_of
from .masking import masked
from .records import message_members, request_members

__all__ = ["activity", "device", "devices", "items", "metrics", "models", "operations", "seen_device"]

_SHOWN: Final = 200
_LARGEST: Final = 16_384
_PAGE: Final = 50
_MOST: Final = 500
_METRICS: Final = 60
_STATISTICS: Final = ("avg", "min", "max", "sum", "count")
_YEAR: Final = 31_536_000


def operations(emulator: Controlled, given: Any) -> object:
    """Return the names by which faults select requests and messages."""
    members_of(given)
    return {"operations": sorted(OPERATIONS)}


# What came in ---------------------------------------------------------------------------------------------------------


def activity(emulator: Controlled, given: Any) -> object:
    """Return the status, and what came in after a cursor, the last 200 of it: requests, messages, faults over MQTT."""
    requests, messages, injected = emulator.requests, emulator.messages, emulator.faults.injected
    run = emulator.run
    after = _marks(text_of(members_of(given, "after"), "after"), run)
    marks = requests.total, messages.total, injected.total
    came = [(request.time, _request(emulator, request)) for request in requests.since(after[0])[-_SHOWN:]]
    came += [(time, _fault(time, each)) for time, each in injected.dated_since(after[2])[-_SHOWN:]]
    came += [(time, _message(emulator, time, each)) for time, each in messages.dated_since(after[1])[-_SHOWN:]]
    came = sorted(came, key=lambda each: each[0])[-_SHOWN:]
    return {
        "run": run,
        "next": "-".join(map(str, (run, *marks))),
        "skipped": sum(marks) - sum(after) - len(came),
        "activity": [each for _, each in came],
        "status": emulator.status(),
    }


def _marks(cursor: str, run: str) -> tuple[int, ...]:
    """Return how many requests, messages and faults there were before a cursor; none if it is of another run."""
    if not cursor:
        return 0, 0, 0
    of, *marks = cursor.split("-")
    if len(marks) != 3 or not all(mark.isascii() and mark.isdigit() and len(mark) < 16 for mark in marks):
        raise ValueError(f"after: expected what another reply has as next, got {cursor!r}")
    return tuple(map(int, marks)) if of == run else (0, 0, 0)


def _request(emulator: Controlled, request: Received) -> dict[str, object]:
    return {"kind": "request", **_masked(emulator, request_members(request, _LARGEST))}


def _message(emulator: Controlled, time: float, message: Message) -> dict[str, object]:
    members = _masked(emulator, message_members(message, _LARGEST))
    return {
        "kind": "message",
        "time": wire.iso(int(time * 1000)),
        "operation": members["operation"],
        "caller": members["client_id"],
        "path": members["topic"],
        "body": members["payload"],
    }


def _fault(time: float, injected: Injected) -> dict[str, object]:
    return {
        "kind": "fault",
        "time": wire.iso(int(time * 1000)),
        "operation": injected.operation,
        "caller": injected.client_id,
        "fault": fault_members(injected.fault),
    }


def _masked(emulator: Controlled, value: Any) -> Any:
    clouds = emulator.clouds
    issuers = [clouds[0].builder.tokens, *(cloud.tokens for cloud in clouds)]
    with clouds[0].lock:
        return masked(value, lambda token: any(tokens.has(token) for tokens in issuers))


# Devices --------------------------------------------------------------------------------------------------------------


def devices(emulator: Controlled, given: Any) -> object:
    """Return a page of the devices that a cloud has claimed or could claim, and how many there are in each state."""
    members = members_of(given, "cloud", "text", "state", "after", "limit")
    cloud = cloud_of(emulator, members)
    limit = whole_of(members, "limit", _PAGE, 1, _MOST)
    state = one_of(members, "state", STATES, "")
    text, after = text_of(members, "text"), text_of(members, "after")
    with cloud.lock:
        online = cloud.publisher.connected()
        found, total = cloud.devices.browse(text=text, state=state, online=online, after=after, limit=limit + 1)
        counts = {**cloud.devices.count_states(), "online": len(online)}
    page = found[:limit]
    return {
        "devices": [_device(device, online) for device in page],
        "next": page[-1].id if len(found) > limit else None,
        "total": total,
        "counts": counts,
    }


def device(emulator: Controlled, given: Any) -> object:
    """Return a device, with the properties that it registered with."""
    members = members_of(given, "cloud", "id")
    cloud = cloud_of(emulator, members)
    with cloud.lock:
        found = seen_device(cloud, text_of(members, "id"))
        shown = _device(found, cloud.publisher.connected())
        endpoint = f"{cloud.endpoint}:{cloud.mqtt_port}"
    return {
        **shown,
        "created": None if found.created is None else wire.iso(found.created),
        "mqtt": endpoint if found.state == "provisioned" else None,
        "properties": _masked(emulator, dict(found.properties)),
    }


def seen_device(cloud: Cloud, id: str) -> Device:
    """Return a device that *cloud* has claimed or could claim.

    Raises:
        Refused: there is none.
    """
    found = cloud.builder.registry.load(id)
    if found is None or found.cloud_id not in (None, cloud.id):
        raise Refused(CANNOT_FIND_DEVICE)
    return found


def _device(device: Device, online: Collection[str]) -> dict[str, object]:
    return {
        "id": device.id,
        "state": device.state,
        "online": device.cloud_id is not None and device.id in online,
        "accessed": wire.iso(device.accessed),
        "product": device.product,
        "account_id": device.account_id,
        "version": device.version,
        "test": device.test,
    }


def metrics(emulator: Controlled, given: Any) -> object:
    """Return the series of a device's metrics, up to 60 of them; samples that are held by buffers do not count."""
    members = members_of(given, "cloud", "id", "period", "statistic")
    cloud = cloud_of(emulator, members)
    period = whole_of(members, "period", 3600, 1, _YEAR)
    statistic = one_of(members, "statistic", _STATISTICS, "avg")
    with cloud.lock:
        found = seen_device(cloud, text_of(members, "id"))
        if found.account_id is None:
            return {"metrics": [], "more": False}
        keys = cloud.metrics.keys_of_device(found.account_id, found.id, _METRICS + 1)
        engine = cloud.metrics.engine(found.account_id)
        series = engine.series(keys[:_METRICS], period, statistic, timestamp=cloud.now())
    return {"metrics": series, "more": len(keys) > _METRICS}


# The database ---------------------------------------------------------------------------------------------------------


def models(emulator: Controlled, given: Any) -> object:
    """Return the models of a cloud and how many items each has."""
    cloud = cloud_of(emulator, members_of(given, "cloud"))
    with cloud.lock:
        counts = cloud.models.count()
    return {"models": [{"name": name, "items": count} for name, count in counts.items()]}


def items(emulator: Controlled, given: Any) -> object:
    """Return a page of the items of a model, or of a device the first 50 of each model."""
    members = members_of(given, "cloud", "model", "id", "text", "after", "limit")
    cloud = cloud_of(emulator, members)
    limit = whole_of(members, "limit", _PAGE, 1, _MOST)
    text, after = text_of(members, "text"), text_of(members, "after")
    if ("model" in members) == ("id" in members):
        raise ValueError("expected model or id, and not both")
    with cloud.lock:
        if "id" in members:
            found, more = _items_of(cloud.models, seen_device(cloud, text_of(members, "id"))), None
        else:
            found, more = cloud.models.browse(text_of(members, "model"), text=text, after=after, limit=limit)
    return {"items": _masked(emulator, found), "next": more}


def _items_of(models: Models, device: Device) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if device.account_id is None:
        return found
    for name, fields in models.schema["models"].items():
        member = "deviceId" if "deviceId" in fields else "id" if name == "Device" else None
        if member is not None:
            # The keys of a model that a test has added may need other members too.
            with suppress(Refused):
                wanted = {"accountId": device.account_id, member: device.id}
                found += models.find(name, wanted, {"limit": str(_PAGE)})["data"]
    return found
