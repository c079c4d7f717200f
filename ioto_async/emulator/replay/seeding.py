"""What a cloud must have held when a cassette was recorded, as far as its replies show that.

Devices, items of the database, users, accounts and metrics are looked for. What a request of the cassette has made by
itself was not there before.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from ..request import Refused
from ..state.cloud import Cloud
from ..state.users import check_role
from .names import Names, is_masked
from .reading import Exchange

__all__ = ["Seeded", "seed"]

_DEVICE_CONTROLLERS: Final = ("device", "provision")
_MOST_SAMPLES: Final = 1000
"""Samples that are made up for one point of a metric."""
_WRITES_SAMPLES: Final = ("action/invoke", "generic/create", "generic/update")


Seeded = dict[str, int]
"""How many records of each kind were made."""


def seed(cloud: Cloud, exchanges: Sequence[Exchange], names: Names) -> Seeded:
    """Bring an empty *cloud* into the state before the first of *exchanges*, and note in *names* what is called how."""
    with cloud.lock:
        seeder = _Seeder(cloud, names)
        seeder.accounts(exchanges)
        for exchange in exchanges:
            seeder.look_at(exchange)
        return seeder.counts


def _records(value: object) -> Iterator[Mapping[str, Any]]:
    """The objects in a reply, the outer ones first."""
    if isinstance(value, Mapping):
        yield value
        for each in value.values():
            yield from _records(each)
    elif isinstance(value, list):
        for each in value:
            yield from _records(each)


def _listed(reply: object) -> list[Mapping[str, Any]]:
    """The records that a find or a get has answered."""
    data = reply.get("data") if isinstance(reply, Mapping) and isinstance(reply.get("data"), list) else [reply]
    return [each for each in data or [] if isinstance(each, Mapping) and each]


class _Seeder:
    def __init__(self, cloud: Cloud, names: Names) -> None:
        self._cloud = cloud
        self._names = names
        self._devices: set[str] = set()
        self._items: set[tuple[str, ...]] = set()
        self._users: set[str] = set()
        self._metrics: set[str] = set()
        self._has_written = False
        self.counts: Seeded = {"devices": 0, "items": 0, "users": 0, "accounts": 0, "metrics": 0}

    # Names ------------------------------------------------------------------------------------------------------------

    def accounts(self, exchanges: Sequence[Exchange]) -> None:
        """Let the first account, cloud and product be those that are there, and add the other ones."""
        latest = 0.0
        for exchange in exchanges:
            if exchange.to not in ("cloud", "builder"):
                continue
            for record in _records([exchange.body, exchange.reply]):
                self._name(exchange, record)
                latest = max(latest, _latest(record))
        if latest:
            self._cloud.clock = lambda: latest

    def _name(self, exchange: Exchange, record: Mapping[str, Any]) -> None:
        cloud = self._cloud
        account = record.get("managerAccountId" if exchange.to == "builder" else "accountId")
        if exchange.operation.startswith("account/") and "email" in record:
            account = record.get("id")
        if isinstance(account, str) and account and not self._names.knows(account):
            if not self._names.pair(account, cloud.account_id):
                number = self.counts["accounts"] + 1
                self._names.pair(account, cloud.add_account(f"Account {number}", f"account-{number}@ioto.test"))
            self.counts["accounts"] += 1
        for name, here in (("cloudId", cloud.id), ("productId", cloud.product_token)):
            recorded = record.get(name)
            if isinstance(recorded, str) and not self._names.knows(recorded):
                self._names.pair(recorded, here)
        product = exchange.body.get("product") if isinstance(exchange.body, Mapping) else None
        if isinstance(product, str) and is_masked(product) and not self._names.knows(product):
            self._names.pair(product, cloud.product_token)

    def _account(self, recorded: object) -> str:
        known = isinstance(recorded, str) and self._names.knows(recorded)
        return str(self._names.here(recorded)) if known else self._cloud.account_id

    # Records ----------------------------------------------------------------------------------------------------------

    def look_at(self, exchange: Exchange) -> None:
        """Make what *exchange* shows to have been there, unless an earlier one has shown it."""
        if exchange.to not in ("cloud", "builder") or not exchange.status:
            return
        body = exchange.body if isinstance(exchange.body, Mapping) else {}
        controller = exchange.operation.partition("/")[0]
        with suppress(Refused, ValueError):  # what cannot be there here shows as a difference
            self._device(exchange, controller, body)
        if exchange.to == "builder" or exchange.status != 200:
            return
        if controller == "generic":
            self._item(exchange, body)
        elif controller == "user":
            self._user(exchange)
        elif controller == "account":
            self._own_account(exchange)
        elif exchange.operation == "metric/fetch":
            self._metric(exchange, body)
        self._has_written |= exchange.operation in _WRITES_SAMPLES

    def _device(self, exchange: Exchange, controller: str, body: Mapping[str, Any]) -> None:
        records: list[Mapping[str, Any]] = []
        if controller in _DEVICE_CONTROLLERS:
            records = _listed(exchange.reply) if exchange.status == 200 else []
            records.append(body)
        elif isinstance(device := body.get("deviceId"), str):
            records = [{"id": device, "accountId": body.get("accountId")}]
        elif isinstance(context := body.get("context"), Mapping) and isinstance(context.get("deviceId"), str):
            records = [{"id": context["deviceId"], "accountId": context.get("accountId")}]
        for record in records:
            id = record.get("id")
            if isinstance(id, str) and id not in self._devices:
                self._devices.add(id)
                self._add_device(exchange, id, record)

    def _add_device(self, exchange: Exchange, id: str, record: Mapping[str, Any]) -> None:
        is_registered, is_claimed = _was(exchange)
        if not is_registered:
            return
        properties = {name: record[name] for name in ("test", "version", "model") if name in record}
        self._cloud.register_device(id, **properties)
        self.counts["devices"] += 1
        if is_claimed:
            name = "managerAccountId" if exchange.to == "builder" else "accountId"
            self._cloud.claim_device(id, self._account(record.get(name)))

    def _item(self, exchange: Exchange, body: Mapping[str, Any]) -> None:
        model = body.get("_type")
        if not isinstance(model, str) or model not in self._cloud.models.schema["models"]:
            return
        was_there = exchange.operation in ("generic/get", "generic/find") or (
            exchange.operation == "generic/update" and exchange.query.get("exists", "true") == "true"
        )
        records = [body, *_listed(exchange.reply)] if not was_there else _listed(exchange.reply)
        for record in records:
            members = {name: value for name, value in record.items() if name != "_type"}
            key = (model, *(str(members.get(name)) for name in ("accountId", "deviceId", "key", "id", "name")))
            if key in self._items:
                continue
            self._items.add(key)
            if was_there:
                # A refused one shows as a difference.
                with suppress(Refused, ValueError, KeyError):
                    here = {"accountId": self._cloud.account_id, **self._names.here(members)}
                    known = self._cloud.models.schema["models"][model]
                    here = {name: value for name, value in here.items() if name in known and name != "updated"}
                    self._cloud.models.for_devices().update(model, here, None, updated=members.get("updated"))
                    self.counts["items"] += 1

    def _user(self, exchange: Exchange) -> None:
        if exchange.operation not in ("user/find", "user/get", "user/login"):
            for record in _listed(exchange.reply):
                self._users.add(str(record.get("id")))
            return
        found = exchange.reply.get("user") if exchange.operation == "user/login" else exchange.reply
        for record in _listed(found):
            id, email, role = (record.get(name) for name in ("id", "email", "role"))
            if not isinstance(id, str) or id in self._users or not isinstance(email, str):
                continue
            if not self._users:
                for user in self._cloud.users.of_account(self._cloud.account_id):
                    self._cloud.users.remove(user)  # who is there from the start is not in the cassette
            self._users.add(id)
            with suppress(Refused):
                names = {name: record.get(name) for name in ("first", "last")}
                account = self._account(record.get("accountId"))
                here = self._cloud.add_user(email, role=check_role(str(role)), account_id=account, **names)
                self._names.pair(id, here)
                self.counts["users"] += 1

    def _own_account(self, exchange: Exchange) -> None:
        if exchange.operation not in ("account/get", "account/find"):
            return
        for record in _listed(exchange.reply):
            with suppress(Refused):
                self._cloud.accounts.update(
                    self._account(record.get("id")),
                    {name: record[name] for name in ("name", "email") if name in record},
                )

    def _metric(self, exchange: Exchange, body: Mapping[str, Any]) -> None:
        asked = body.get("items")
        for index, record in enumerate(_listed(exchange.reply)):
            query = asked[index] if isinstance(asked, list) and index < len(asked) else {}
            if self._has_written or not isinstance(query, Mapping) or "model" in query:
                continue
            series = str([record.get(name) for name in ("namespace", "metric", "dimensions")])
            points = record.get("points")
            if series in self._metrics or not isinstance(points, list):
                continue
            self._metrics.add(series)
            engine = self._cloud.metrics.engine(self._account(body.get("accountId")))
            for value, timestamp in _samples(points, str(query.get("statistic", "avg"))):
                with suppress(ValueError, TypeError):
                    dimensions = self._names.here(record.get("dimensions") or {})
                    engine.emit(record["namespace"], record["metric"], value, (dimensions,), timestamp=timestamp)
            self.counts["metrics"] += bool(points)


def _was(exchange: Exchange) -> tuple[bool, bool]:
    """Whether the device of an exchange was registered before it, and claimed."""
    reply = exchange.reply
    text = reply if isinstance(reply, str) else ""
    if exchange.operation == "device/register":
        return (True, True) if isinstance(reply, Mapping) and "api" in reply else (False, False)
    if exchange.status != 200:
        is_known = "already" in text.lower()
        return is_known, is_known
    if exchange.operation == "device/claim":
        return True, False
    if exchange.to == "builder":
        records = _listed(reply)
        return True, any(isinstance(record.get("managerAccountId"), str) for record in records)
    return (bool(reply), bool(reply)) if exchange.operation.startswith("device/") else (True, True)


def _samples(points: Sequence[Any], statistic: str) -> Iterator[tuple[float, float]]:
    """Samples that make *points*: value and epoch milliseconds, the oldest first."""
    for point in sorted((each for each in points if isinstance(each, Mapping)), key=_moment):
        value, count, moment = point.get("value"), point.get("count"), _moment(point)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not moment:
            continue
        number = min(count, _MOST_SAMPLES) if isinstance(count, int) else 1
        if statistic == "count":
            value, number = 0.0, min(int(value), _MOST_SAMPLES)
        for _ in range(number):
            yield (value / number if statistic == "sum" else value), moment


def _moment(point: Mapping[str, Any]) -> float:
    """When a point was, in epoch milliseconds; 0 if that is not known."""
    value = point.get("timestamp")
    if isinstance(value, str):
        with suppress(ValueError):
            return datetime.fromisoformat(value).timestamp() * 1000
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return value if value > 1e11 else value * 1000.0  # seconds
    return 0.0


def _latest(record: Mapping[str, Any]) -> float:
    """When the last point of a metric was, in epoch seconds."""
    points = record.get("points")
    if not isinstance(points, list):
        return 0.0
    return max((_moment(point) for point in points if isinstance(point, Mapping)), default=0.0) / 1000
