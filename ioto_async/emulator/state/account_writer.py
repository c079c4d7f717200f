"""Writes samples, items and alerts to a cloud on behalf of one account."""

from collections.abc import Mapping, Sequence
from typing import Any

from .cloud import Cloud

__all__ = ["AccountWriter"]


class AccountWriter:
    """Writes to one account of a cloud; items that its models measure also add samples."""

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
        rules = self._cloud.models.process(model).get("metrics", ())
        self._cloud.metrics.measure(self.account_id, rules, {**members, **record}, timestamp=self._cloud.now())
