"""The signed URLs that operations answer with, and whose files a device may write."""

from ..request import Call, Refused
from ..state.cloud import Cloud

__all__ = ["check_folder", "signed_url"]

_WRITES = ("put", "delete")


def signed_url(cloud: Cloud, call: Call, owner: str, *, folder: str | None = None) -> object:
    """Return the URL that the body's members ask for.

    Args:
        cloud: where the file is.
        call: what asks for it.
        owner: the account, or the device app.
        folder: where the file's name begins; None for the top.

    Raises:
        Refused: a member cannot be, or the caller may not do with the file what the URL would be for.
    """
    body = call.body
    command = body.get("command") or "get"
    # Documented is one role for all three commands, that of who may view; what file/put needs, a put needs too.
    if command in _WRITES and "edit" not in call.caller.roles:
        raise Refused(f"command {command} needs the role edit", 403)
    if command in _WRITES and folder is None:
        check_folder(cloud, call)
    url = cloud.files.signed_url(
        owner,
        body.get("filename"),
        folder=folder,
        command=command,
        size=body.get("size"),
        mime_type=body.get("mimeType"),
    )
    return {"url": url} if cloud.otherwise("A24") else url


def check_folder(cloud: Cloud, call: Call) -> None:
    """Refuse a device that would write in the folder of another one of its account, ``<device id>/...``."""
    folder, inside, _ = str(call.body.get("filename")).partition("/")
    if call.caller.device_id in (None, folder) or not inside:
        return
    if cloud.device(folder, call.caller.account_id) is not None:
        raise Refused("filename is in the folder of another device", 403)
