"""The ``action`` controller of a device cloud (reference, section 11)."""

from collections.abc import Mapping
from typing import Any

from ...request import CANNOT_FIND_ACCOUNT, CANNOT_FIND_DEVICE, Call, Refused
from ...state.account_writer import AccountWriter
from ...state.cloud import Cloud
from ..scope import check_cloud


def find(cloud: Cloud, call: Call) -> object:
    """List the automations, of one ``type`` or of all, 100 a page unless ``limit`` says otherwise."""
    check_cloud(cloud, call)
    page = cloud.actions.find(call.query, call.body.get("type"))
    page["data"] = [{**action, "cloudId": cloud.id} for action in page["data"]]
    return page


def get(cloud: Cloud, call: Call) -> object:
    """Return the automation with this ``type`` and ``id``; without ``id``, the only one of the type."""
    check_cloud(cloud, call)
    wanted = call.body["type"]
    if call.body.get("id"):
        action = cloud.actions.get(call.body["id"])
        found = [action] if action and action["type"] == wanted else []
    else:
        found = cloud.actions.find({"limit": "2"}, wanted)["data"]
    # As for a get of an item with a part of its key (reference, section 8).
    if len(found) > 1:
        raise Refused(f'There is more than one action of type "{wanted}"; name its "id"')
    return {**found[0], "cloudId": cloud.id} if found else {}


def invoke(cloud: Cloud, call: Call) -> object:
    """Run an automation; ``error`` in the reply, with status 200, says that it did not run."""
    context: dict[str, Any] = call.body.get("context") or {}
    account_id, device_id = _named(cloud, call, context)
    # The cloud knows whose automation it runs; the agent's context need not say it.
    known = {"accountId": account_id} | ({"deviceId": device_id} if device_id else {})
    writer = AccountWriter(cloud, account_id)
    try:
        reply = cloud.actions.invoke(writer, {**context, **known}, id=call.body.get("id"), name=call.body.get("name"))
    except Refused as refused:
        if not cloud.otherwise("A83"):
            raise
        reply = {"error": refused.message}
    return {**reply, "context": context}


def _named(cloud: Cloud, call: Call, context: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the account and the device that the automation acts for."""
    caller = call.caller
    device_id = context.get("deviceId") or caller.device_id
    account_id = caller.account_id or context.get("accountId")
    if device_id is None:
        # A CloudAPI token may leave the account out; without a device that tells, it is the cloud's own.
        account_id = account_id or cloud.account_id
        if not cloud.has_account(account_id):
            raise Refused(CANNOT_FIND_ACCOUNT)
        return str(account_id), None
    device = cloud.device(str(device_id), account_id)
    if device is None or caller.device_id not in (None, device_id):
        raise Refused(CANNOT_FIND_DEVICE)
    return device["accountId"], device["id"]
