"""The ``alert`` controller of a device cloud (reference, section 11)."""

from ...request import Call, Refused
from ...state.cloud import Cloud
from ..scope import account_of


def find(cloud: Cloud, call: Call) -> object:
    """List the alerts, the oldest first, 100 a page unless ``limit`` says otherwise."""
    return cloud.alerts.find(account_of(call), call.query)


def get(cloud: Cloud, call: Call) -> object:
    """Return an alert; an empty object if there is none."""
    return cloud.alerts.get(account_of(call), _id(call)) or {}


def remove(cloud: Cloud, call: Call) -> object:
    """Remove an alert; none there is fine."""
    cloud.alerts.remove(account_of(call), _id(call))
    return None


def update(cloud: Cloud, call: Call) -> object:
    """Mark an alert as handled, or as not, and return its record."""
    return cloud.alerts.update(account_of(call), _id(call), call.body)


def _id(call: Call) -> str:
    # Not documented as required; but without it no one alert is meant.
    if not call.body.get("id"):
        raise Refused("Missing id")
    id_: str = call.body["id"]
    return id_
