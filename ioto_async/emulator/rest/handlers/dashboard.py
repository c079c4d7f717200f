"""The ``dashboard`` controller of a device cloud (reference, section 11)."""

from ...request import Call, Refused
from ...state.cloud import Cloud
from ..scope import account_of, named_account


def create(cloud: Cloud, call: Call) -> object:
    """Add a dashboard to an account: of the caller, else as named, else the cloud's own."""
    return cloud.dashboards.create(named_account(cloud, call) or cloud.account_id, call.body)


def find(cloud: Cloud, call: Call) -> object:
    """List the dashboards, the oldest first, 100 a page unless ``limit`` says otherwise."""
    page = cloud.dashboards.find(None if cloud.otherwise("A36") else account_of(call), call.query)
    if cloud.otherwise("A86"):
        return page["data"][0] if page["data"] else {}
    return page


def get(cloud: Cloud, call: Call) -> object:
    """Return the dashboard with this ``id``, or else with this ``name``; an empty object if there is none."""
    return cloud.dashboards.get(account_of(call), id=call.body.get("id"), name=call.body.get("name")) or {}


def remove(cloud: Cloud, call: Call) -> object:
    """Remove a dashboard; none there is fine."""
    if not call.body.get("id"):
        raise Refused("Missing id")
    if cloud.otherwise("A22") and cloud.dashboards.get(account_of(call), id=call.body["id"], name=None) is None:
        raise Refused("Cannot find dashboard")
    cloud.dashboards.remove(account_of(call), call.body["id"])
    return None


def update(cloud: Cloud, call: Call) -> object:
    """Set members of a dashboard, or remove them with null; widgets and range are replaced as a whole."""
    return cloud.dashboards.update(account_of(call), call.body["id"], call.body)
