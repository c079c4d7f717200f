"""The job of ``fleet provision``: claim a device, fetch its certificate, write it to files."""

import asyncio
import itertools
import json
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from ...client import IotoClient
from ...errors import ConnectionFailedError, InvalidArgumentError, IotoError
from ...models import Certificates, Registration
from ...operations import Kind
from .. import files
from ..rows import Row, RowError
from ..run import AUTH_ERRORS
from .disk import Disk
from .jobs import (
    Done,
    Job,
    JobSettings,
    check_registration,
    claim,
    cloud_client,
    cloud_endpoint,
    is_claimed,
    register,
    registration_columns,
)

__all__ = ["PROVISION"]

_DISK: Final = Disk(threads=8, group=16)
_LINES: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
_LOOK_UPS: Final = 6
"""How often the Builder is asked for a device that was just claimed until it knows that."""


def _check(row: Row, settings: JobSettings) -> None:
    if settings.as_device:
        check_registration(row, settings)
    try:
        files.check_device_folder((settings.out or Path()) / row.id)
    except (InvalidArgumentError, OSError) as error:
        raise RowError(str(error)) from None


def _columns(settings: JobSettings) -> dict[str, str]:
    return registration_columns(settings) if settings.as_device else {}


async def _provision(client: IotoClient, row: Row, settings: JobSettings) -> Done:
    folder = (settings.out or Path()) / row.id
    _, now = await claim(client, row, settings, partial(asyncio.to_thread, _earlier_account, folder / files.PROVISION))
    when = "now" if now else "before"
    if not now and not settings.overwrite and await asyncio.to_thread(files.is_complete, folder):
        return Done("kept", claimed=when)
    try:
        certificates = await _fetch(client, row, settings, folder)
    except AUTH_ERRORS:
        raise
    except (IotoError, OSError) as error:
        # Whatever the cloud has done, the files are missing: this is a failure, and not an unknown outcome.
        raise RowError(str(error), claimed=when) from error
    return Done("provisioned", {"endpoint": certificates.endpoint, "thing": certificates.thing}, claimed=when)


async def _fetch(client: IotoClient, row: Row, settings: JobSettings, folder: Path) -> Certificates:
    registration = None
    if settings.as_device:
        registration = await _known_registration(client, row, settings)
        certificates = await _as_device(client, row, registration)
    else:
        certificates = await client.device.provision(row.id)
    if not certificates.certificate or not certificates.key:
        raise RowError("device/provision: the reply has no certificate or no key")
    await _DISK.write(partial(_draft, folder, certificates, registration, overwrite=settings.overwrite))
    return certificates


async def _known_registration(client: IotoClient, row: Row, settings: JobSettings) -> Registration:
    for number in itertools.count(1):
        registration = await register(client.builder, row, settings)
        if registration.api and registration.token:
            return registration
        if number == _LOOK_UPS:
            break
        await asyncio.sleep(0.25 * 2**number)
    raise RowError("device/register: the Builder does not know yet that the device is claimed")


async def _as_device(client: IotoClient, row: Row, registration: Registration) -> Certificates:
    """Fetch certificates with the token of the device; that it is refused does not concern other devices."""
    device = client.with_options(api=registration.api, token=registration.token).device
    try:
        return await device.provision(row.id)
    except (*AUTH_ERRORS, ConnectionFailedError) as error:
        raise RowError(str(error)) from None


def _draft(
    folder: Path, certificates: Certificates, registration: Registration | None, *, overwrite: bool
) -> files.Draft:
    assert certificates.certificate is not None
    assert certificates.key is not None
    try:
        provision = orjson.dumps(_for_device(certificates, registration), option=_LINES)
    except orjson.JSONEncodeError:
        raise RowError("device/provision: the reply is nested too deep to be written to a file") from None
    if not files.make_folder(folder):
        _clear(folder, certificates.key, overwrite=overwrite)
    return files.Draft(
        folder,
        {files.KEY: certificates.key, files.CERTIFICATE: certificates.certificate, files.PROVISION: (provision,)},
    )


def _clear(folder: Path, key: str, *, overwrite: bool) -> None:
    """Make the *folder* of a device, which was there before, ready for its files."""
    files.check_device_folder(folder)
    present = files.read(folder / files.KEY)
    if present not in (None, key.encode()) and not overwrite:
        raise RowError(f"{folder / files.KEY} holds another key: --overwrite replaces it")
    # Removed first, so that the folder is not complete while key and certificate do not belong together.
    (folder / files.PROVISION).unlink(missing_ok=True)
    for name in (files.KEY, files.CERTIFICATE, files.PROVISION):
        files.remove_temporaries(folder / name)


def _for_device(certificates: Certificates, registration: Registration | None) -> dict[str, object]:
    """What a device needs besides its certificate and key, by the names of the service."""
    known: dict[str, object] = {name: value for name, value in certificates.extra.items() if name != "cert"}
    known |= {
        "id": certificates.id,
        "accountId": certificates.account_id,
        "endpoint": certificates.endpoint,
        "port": certificates.port,
        "thing": certificates.thing,
    }
    if registration is not None:
        known |= {
            "api": registration.api,
            "token": registration.token,
            "cloudType": registration.cloud_type,
            "cloudName": registration.cloud_name,
            "cloudRegion": registration.cloud_region,
        }
    return {name: value for name, value in known.items() if value is not None}


def _earlier_account(path: Path) -> str | None:
    """The account in the file that an earlier run has written to *path*; None if it names none."""
    try:
        written = json.loads(files.read(path) or b"{}")
    except ValueError:
        return None
    account = written.get("accountId") if isinstance(written, dict) else None
    return account if isinstance(account, str) else None


PROVISION: Final = Job(
    name="provision",
    client=cloud_client,
    endpoint=cloud_endpoint,
    call=_provision,
    kind=Kind.REPLAYABLE,
    results=("claimed", "already_claimed", "provisioned", "kept"),
    shown=("endpoint", "thing"),
    check=_check,
    columns=_columns,
    verify=is_claimed,
    when_skipped=Done("kept", claimed="before"),
)
