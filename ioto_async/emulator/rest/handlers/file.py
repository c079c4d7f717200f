"""The ``file`` controller of a device cloud (reference, section 11).

The bodies of ``file/list`` and ``file/remove`` are open, so that what is looked for in them is checked here.
"""

import base64
import binascii
import hashlib
from typing import Final

from ...request import Call, Refused
from ...state.cloud import Cloud
from ..scope import named_account, own_device
from ..signed import check_folder, signed_url

# What the real cloud's gateway lets through in one reply, 6 MB; a file beyond needs a signed URL.
_LARGEST_REPLY: Final = 4 * 2**20


def get(cloud: Cloud, call: Call) -> object:
    """Return the record of a file with its content in base64, ``data``; an empty object if there is none."""
    file = cloud.files.get(_owner(cloud, call), call.body["filename"])
    if file is None:
        return {}
    if file.size > _LARGEST_REPLY:
        raise Refused(f"filename has {file.size} bytes, too many for a reply; download it from a signed URL")
    download = cloud.files.read(file)
    try:
        content = b"".join(iter(download.next, b""))
    finally:
        download.close()
    data = base64.b64encode(content).decode()
    return data if cloud.otherwise("A54") else {**file.record(), "data": data}


def get_signed_url(cloud: Cloud, call: Call) -> object:
    """Return a URL for a file of an account. The agent names its device, which must be one of the account."""
    device_id = call.body.get("id")
    owner = own_device(cloud, call, device_id).account_id if device_id else None
    return signed_url(cloud, call, owner or _owner(cloud, call))


def list(cloud: Cloud, call: Call) -> object:
    """List the files whose records have the body's members, 100 a page unless ``limit`` says otherwise."""
    if cloud.otherwise("A38") and call.caller.kind == "cloud":
        raise Refused("Access denied", 403)
    owner = _owner(cloud, call)
    wanted = {name: value for name, value in call.body.items() if name != "accountId" and value is not None}
    page = cloud.files.find(owner, wanted, call.query)
    if cloud.otherwise("A52"):
        page["data"] = [record["filename"] for record in page["data"]]
    return page


def put(cloud: Cloud, call: Call) -> object:
    """Write a file, new or not, and return its record."""
    body = call.body
    if body.get("data") is None:
        raise Refused("Missing data")
    try:
        content = binascii.a2b_base64(body["data"], strict_mode=True)
    except ValueError:  # as binascii.Error is, and what letters beyond ASCII raise
        raise Refused("data must be base64") from None
    check_folder(cloud, call)
    record = cloud.files.put(_owner(cloud, call), body.get("filename"), body.get("mimeType"), content).record()
    if cloud.otherwise("A55"):
        record["checksum"] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return {} if cloud.otherwise("A53") else record


def remove(cloud: Cloud, call: Call) -> object:
    """Remove a file; none there is fine."""
    check_folder(cloud, call)
    cloud.files.remove(_owner(cloud, call), call.body.get("filename"))
    return None


def _owner(cloud: Cloud, call: Call) -> str:
    """Return the account of the caller, else the one that is named, else the cloud's own."""
    if call.caller.account_id is not None and call.body.get("accountId") not in (None, call.caller.account_id):
        raise Refused("accountId must be that of the caller", 403)
    return named_account(cloud, call) or cloud.account_id
