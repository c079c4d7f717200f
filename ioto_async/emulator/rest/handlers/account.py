"""The ``account`` controller of a device cloud (reference, section 11).

A login sees its own account alone; others are not found. A CloudAPI token sees all accounts of its cloud, closed ones
as well.
"""

from typing import Any

from ...request import CANNOT_FIND_ACCOUNT, Call, Refused
from ...state.cloud import Cloud


def _named(call: Call) -> str:
    """Return the account that is meant, without ``id`` the caller's own."""
    own = call.caller.account_id
    account_id = call.body.get("id") or own
    if account_id is None:
        raise Refused("Missing id")
    if own not in (None, account_id):
        raise Refused(CANNOT_FIND_ACCOUNT)
    return str(account_id)


def close(cloud: Cloud, call: Call) -> object:
    """End an account and all that is its own; its record stays."""
    cloud.close_account(_named(call))
    return None


def create(cloud: Cloud, call: Call) -> object:
    """Add an account with its first user, an owner."""
    user = cloud.users.open_account(call.body["name"], call.body["email"])
    return {
        "account": cloud.accounts.load(user.account_id).record(cloud.id),
        "user": user.record(cloud.id),
    }


def find(cloud: Cloud, call: Call) -> object:
    """List accounts in the order of their keys, 100 a page unless ``limit`` says otherwise."""
    return cloud.accounts.find(
        call.query, own=call.caller.account_id, id=call.body.get("id"), email=call.body.get("email")
    )


def get(cloud: Cloud, call: Call) -> object:
    """Return the account with this ``id`` or ``email``, with neither the caller's own."""
    id_, email = call.body.get("id"), call.body.get("email")
    own = call.caller.account_id
    if not id_ and not email:
        id_ = own or (cloud.account_id if cloud.otherwise("A37") else None)
    if not id_ and not email:
        raise Refused("Missing id or email")
    found: list[dict[str, Any]] = cloud.accounts.find({"limit": "2"}, own=own, id=id_, email=email)["data"]
    # As for a get of an item with a part of its key (reference, section 8).
    if len(found) > 1:
        raise Refused('There is more than one account with this "email"; name its "id"')
    return found[0] if found else {}


def update_identity(cloud: Cloud, call: Call) -> object:
    """Change the name and the address of an account, without ``id`` of the caller's own."""
    account = cloud.accounts.load(_named(call))
    cloud.accounts.update(account.id, call.body)
    return cloud.accounts.load(account.id).record(cloud.id)
