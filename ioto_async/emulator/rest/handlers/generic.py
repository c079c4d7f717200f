"""The ``generic`` controller of a device cloud (reference, section 11)."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from ...request import Call, Refused
from ...state.cloud import Cloud
from ...state.models import Models
from .device import account_of, own_device

__all__ = ["HANDLERS", "Account", "check_cloud", "identified", "named_account", "scope"]

_EXISTS: Final[Mapping[str, bool | None]] = MappingProxyType({"": None, "null": None, "true": True, "false": False})


class Account:
    """What is written to a cloud on behalf of one account, and the samples that come of it."""

    def __init__(self, cloud: Cloud, account_id: str) -> None:
        self.account_id = account_id
        self._cloud = cloud

    def emit(
        self,
        namespace: str,
        metric: str,
        value: float,
        dimensions: Sequence[Mapping[str, Any]],
        *,
        timestamp: float,
        buffer: Any = None,
    ) -> None:
        """Add a sample to the account's metrics."""
        engine = self._cloud.metrics.engine(self.account_id)
        engine.emit(namespace, metric, value, dimensions, timestamp=timestamp, buffer=buffer)

    def write(self, model: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """Write an item of the account, new or not, and return its record."""
        members = {**members, "accountId": self.account_id}
        record = self._cloud.models.update(model, members, None)
        self.measure(model, members, record)
        return record

    def alert(
        self, *, name: str, subject: str, message: str, severity: str, context: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Raise an alert of the account and return its record."""
        return self._cloud.alerts.add(
            self.account_id,
            self._cloud.id,
            name=name,
            subject=subject,
            message=message,
            severity=severity,
            context=context,
        )

    def measure(self, model: str, members: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Add the samples that the model's rules make of a *record* just written.

        The rules also see the *members* that the call named: a Service keeps no ``deviceId``, but its samples have it.
        """
        rules = self._cloud.schema_of(model).get("metrics", ())
        self._cloud.metrics.measure(self.account_id, rules, {**members, **record}, timestamp=self._cloud.now())


def check_cloud(cloud: Cloud, call: Call) -> None:
    """Refuse a call that names another cloud."""
    if call.body.get("cloudId", cloud.id) != cloud.id:
        raise Refused("Cannot find cloud")


def named_account(cloud: Cloud, call: Call) -> str | None:
    """Return the account that the caller acts for; None if a CloudAPI token names none.

    Raises:
        Refused: there is no such account.
    """
    account_id = account_of(call)
    if account_id and not cloud.has_account(account_id):
        raise Refused("Cannot find account")
    return account_id or None


def scope(cloud: Cloud, call: Call) -> dict[str, Any]:
    """Return the body's members with the account and the device that the caller acts for, where they are known.

    Raises:
        Refused: there is no such account, or the device is not claimed by it.
    """
    members = dict(call.body)
    account_id = named_account(cloud, call)
    if account_id:
        members["accountId"] = account_id
    device_id = members.get("deviceId") or call.caller.device_id
    if device_id:
        members["deviceId"] = own_device(cloud, call, device_id).id
    return members


def identified(model: str, members: dict[str, Any]) -> dict[str, Any]:
    """Return *members* with the ``id`` of a Device, if they have a ``deviceId`` alone."""
    # A vendor's example gets a Device by `deviceId`; the key of the model calls it `id` (reference, section 8).
    if model == "Device" and "deviceId" in members:
        return {"id": members["deviceId"], **members}
    return members


def _account(cloud: Cloud, members: Mapping[str, Any]) -> Account:
    # A model whose key names no account may be written without one; its samples then are the cloud's own.
    return Account(cloud, members.get("accountId") or cloud.account_id)


def _exists(call: Call, default: bool | None) -> bool | None:
    """Read the option ``exists``; the vendor's ``?exists`` without a value means null (reference, section 5)."""
    if "exists" not in call.query:
        return default
    text = call.query["exists"]
    if text not in _EXISTS:
        raise Refused(f'Bad value for "exists": {text}')
    return _EXISTS[text]


def _models(cloud: Cloud, call: Call) -> Models:
    return cloud.models.seen_by(call.caller.roles)


def _asked(cloud: Cloud, call: Call) -> tuple[str, dict[str, Any]]:
    model: str = call.body["_type"]
    return model, identified(model, scope(cloud, call))


def _written(cloud: Cloud, call: Call) -> tuple[str, dict[str, Any]]:
    if call.body["_type"] == "Metric":
        raise Refused('Model "Metric" is written by the cloud alone')
    return _asked(cloud, call)


def create(cloud: Cloud, call: Call) -> object:
    """Write a new item; ``exists`` says otherwise. Returns its record."""
    model, members = _written(cloud, call)
    record = _models(cloud, call).create(model, members, _exists(call, False))
    _account(cloud, members).measure(model, members, record)
    return record


def find(cloud: Cloud, call: Call) -> object:
    """List the items that match the body's members, 100 a page unless ``limit`` says otherwise."""
    return _models(cloud, call).find(*_asked(cloud, call), call.query)


def get(cloud: Cloud, call: Call) -> object:
    """Return the item that the body's members identify."""
    # What the service answers for no match is not documented; an empty object is a record of nothing.
    return _models(cloud, call).get(*_asked(cloud, call)) or {}


def remove(cloud: Cloud, call: Call) -> object:
    """Remove an item by its whole key; none there is fine unless ``exists`` is true."""
    _models(cloud, call).remove(*_written(cloud, call), _exists(call, None))
    return None


def update(cloud: Cloud, call: Call) -> object:
    """Set members of an item that is there; ``exists`` says otherwise. Returns its record."""
    model, members = _written(cloud, call)
    record = _models(cloud, call).update(model, members, _exists(call, True))
    _account(cloud, members).measure(model, members, record)
    return record


HANDLERS: Final[Mapping[str, Callable[[Cloud, Call], object]]] = MappingProxyType(
    {
        "generic/create": create,
        "generic/find": find,
        "generic/get": get,
        "generic/remove": remove,
        "generic/update": update,
    }
)
