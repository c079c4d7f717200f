"""The ``manager`` controller of a device cloud (reference, section 11)."""

from typing import Any

from ...request import CANNOT_FIND_ACCOUNT, Call, Refused
from ...state.cloud import Cloud
from ...state.managers import CANNOT_FIND_MANAGER
from ..scope import check_cloud
from ..signed import signed_url


def get(cloud: Cloud, call: Call) -> object:
    """Return an app, without ``id`` the cloud's own; an empty object if there is none."""
    if cloud.otherwise("A87") and not call.body.get("id"):
        raise Refused("Missing id")
    return _seen(cloud, call) or {}


def get_signed_url(cloud: Cloud, call: Call) -> object:
    """Return a URL for a file of an app; ``clean`` deletes the files that are there."""
    manager_id = _known(cloud, call)
    url = signed_url(cloud, call, manager_id)
    if call.body.get("clean"):
        cloud.files.remove_account(manager_id)
    return url


def provision(cloud: Cloud, call: Call) -> object:
    """Put an app into operation."""
    return cloud.managers.provision(_known(cloud, call))


def update(cloud: Cloud, call: Call) -> object:
    """Set members of an app, without ``id`` of the cloud's own."""
    check_cloud(cloud, call)
    manager_id = _known(cloud, call)
    members = {name: value for name, value in call.body.items() if name != "display"}
    if members.get("owner"):
        members["owner"] = _owner(cloud, call, members["owner"])
    return cloud.managers.update(manager_id, members)


def update_display(cloud: Cloud, call: Call) -> object:
    """Replace the display file of an app."""
    check_cloud(cloud, call)
    return cloud.managers.update(_known(cloud, call), {"display": call.body.get("display")})


def _seen(cloud: Cloud, call: Call) -> dict[str, Any] | None:
    """Return the app that is meant; another account's app looks the same as none."""
    record = cloud.managers.get(call.body.get("id"))
    seen = record is not None and call.caller.account_id in (None, record["accountId"])
    return record if seen else None


def _known(cloud: Cloud, call: Call) -> str:
    record = _seen(cloud, call)
    if record is None:
        raise Refused(CANNOT_FIND_MANAGER)
    return str(record["id"])


def _owner(cloud: Cloud, call: Call, named: str) -> str:
    """Return the key of an account; updates name it by e-mail, and may send back what the record has, the key.

    Whoever signed in knows his own account alone, by its address or that of one of its users.
    """
    own = call.caller.account_id
    user = cloud.users.of_email(named)
    keys = [user.account_id] if user else []
    keys += [account["id"] for account in cloud.accounts.find({}, own=own, email=named)["data"]]
    for key in (*keys, named):
        if own in (None, key) and cloud.has_account(key):
            return str(key)
    raise Refused(CANNOT_FIND_ACCOUNT)
