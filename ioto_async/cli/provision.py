"""``ioto-async provision``: a file of claim IDs in, certificates on disk out."""

import asyncio
import contextlib
import itertools
import json
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Annotated, Final, Literal, TextIO, TypeVar

import attrs
from cyclopts import Parameter, validators

from ..client import IotoClient
from ..errors import (
    AuthenticationError,
    BadRequestError,
    CallError,
    ConnectionFailedError,
    InvalidArgumentError,
    IotoError,
    NotFoundError,
)
from ..models import Certificates, Device, Registration
from . import files
from .fleet import BadRow, Row, RowError, count_rows, open_fleet, read_fleet
from .report import FLAG, JsonFlag, ProgressBar, Stopwatch, print_report
from .workers import for_each

__all__ = ["provision"]

T = TypeVar("T")

_SHOWN: Final = 20
"""Failures that are printed; the manifest has them all."""
_LOOKS: Final = 6
"""How often a device that was just claimed is looked up on the Builder until it is known there."""
_BOOLEANS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Stop(Exception):
    """Something that no other device would fare better with."""

    def __init__(self, error: CallError) -> None:
        super().__init__(str(error))
        self.error = error


@attrs.define
class _Job:
    """Claims and provisions one device after the other; everything that is known of the run."""

    client: IotoClient
    out: Path
    concurrency: int
    product: str | None
    as_device: bool
    overwrite: bool
    manifest: files.Manifest
    progress: ProgressBar
    counts: dict[str, int] = attrs.field(
        factory=lambda: dict.fromkeys(("devices", "claimed", "already_claimed", "provisioned", "kept", "failed"), 0)
    )
    _account: str | None = None
    _reached: bool = False
    _unreached: int = 0

    async def run(self, row: Row | BadRow) -> None:
        """Bring one row to its end, whatever that is, and note it."""
        entry: dict[str, object] = {"id": row.id, "line": row.line}
        stop = None
        try:
            if isinstance(row, BadRow):
                entry |= {"id": None, "text": row.id}  # whatever stands there, it is no device of this fleet
                raise RowError(row.reason)
            entry["status"] = await self._device(row, entry)
        except Stop as error:
            stop = error
            entry |= {"status": "failed", "error": str(error)}
        except (IotoError, OSError) as error:
            entry |= {"status": "failed", "error": str(error)}
            if self.counts["failed"] < _SHOWN:
                self.progress.say(f"line {row.line}: {row.id or 'no id'}: {error}")
        self.counts["devices"] += 1
        self.counts[str(entry["status"])] += 1
        self.manifest.write(entry)
        self.progress.update(self.counts["devices"], self.counts["failed"])
        if stop is not None:
            raise stop

    async def _shared(self, call: Awaitable[T]) -> T:
        """Await a call with the token and the cloud that all devices share.

        Raises:
            Stop: the token is refused, or the cloud cannot be reached any more: no other device would fare better.
        """
        try:
            result = await call
        except AuthenticationError as error:
            raise Stop(error) from None
        except ConnectionFailedError as error:
            self._unreached += 1
            if not self._reached or self._unreached >= self.concurrency:
                raise Stop(error) from None
            raise
        except CallError:
            self._reached, self._unreached = True, 0
            raise
        self._reached, self._unreached = True, 0
        return result

    async def _device(self, row: Row, entry: dict[str, object]) -> Literal["provisioned", "kept"]:
        columns = self._register_columns(row) if self.as_device else {}
        claimed_now = await self._claim(row)
        entry["claimed"] = "now" if claimed_now else "before"
        folder = self.out / row.id
        if not claimed_now and not self.overwrite and await asyncio.to_thread(files.is_complete, folder):
            return "kept"
        registration = None
        if self.as_device:
            registration = await self._register(row, columns)
            device = self.client.with_options(api=registration.api, token=registration.token).device
            certificates = await device.provision(row.id)
        else:
            certificates = await self._shared(self.client.device.provision(row.id))
        if not certificates.certificate or not certificates.key:
            raise RowError("device/provision: the reply has no certificate or no key")
        await asyncio.to_thread(self._write, folder, certificates, registration)
        return "provisioned"

    async def _claim(self, row: Row) -> bool:
        """Claim a device; false if it already was this account's."""
        try:
            device = await self._shared(self.client.device.claim(row.id))
        except NotFoundError:
            raise
        except BadRequestError as refused:
            # Refused because it is claimed, perhaps by us: in an earlier run, or by an attempt whose reply was lost.
            try:
                device = await self._shared(self.client.device.get(row.id))
            except NotFoundError:
                raise refused from None
            await self._check_owner(row, device)
            if not refused.outcome_unknown:
                self.counts["already_claimed"] += 1
                return False
        self._account = self._account or device.account_id
        self.counts["claimed"] += 1
        return True

    async def _check_owner(self, row: Row, device: Device) -> None:
        """Refuse a claimed device of another account: a CloudAPI token sees those as well.

        Which account is ours is told by the settings, by the claims of this run, or by what an earlier one has left.
        """
        ours = self.client.account_id or self._account
        if ours is None:
            ours = await asyncio.to_thread(_account_left, self.out / row.id / files.PROVISION)
        if ours is None:
            raise RowError(
                f"already claimed by {device.account_id}: if that is you, say so by --account or IOTO_ACCOUNT"
            )
        if device.account_id != ours:
            raise RowError(f"already claimed, by another account: {device.account_id}")

    def _register_columns(self, row: Row) -> dict[str, object]:
        """What device/register is told of a device, by the names of the file's columns."""
        columns: dict[str, object] = {"product": self.product, **row.columns}
        if not columns["product"]:
            raise RowError("product: --as-device needs the product token: a column product, or --product")
        if "test" in columns:
            columns["test"] = _BOOLEANS.get(str(columns["test"]).lower())
            if columns["test"] is None:
                raise RowError(f"test: expected true or false, got {row.columns['test']!r}")
        return columns

    async def _register(self, row: Row, columns: dict[str, object]) -> Registration:
        properties = dict(columns)
        product = str(properties.pop("product"))
        for look in itertools.count(1):
            registration = await self.client.builder.device.register(row.id, product, properties=properties)
            if registration.api and registration.token:
                return registration
            if look == _LOOKS:
                break
            await asyncio.sleep(0.25 * 2**look)
        raise RowError("device/register: the Builder does not know yet that the device is claimed")

    def _write(self, folder: Path, certificates: Certificates, registration: Registration | None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        assert certificates.certificate is not None
        assert certificates.key is not None
        present = files.read(folder / files.KEY)
        if present not in (None, certificates.key.encode()) and not self.overwrite:
            raise RowError(f"{folder / files.KEY} holds another key: --overwrite replaces it")
        # First, so that the folder does not look complete while key and certificate do not belong together.
        (folder / files.PROVISION).unlink(missing_ok=True)
        for name in (files.KEY, files.CERTIFICATE, files.PROVISION):
            files.sweep(folder / name)
        files.write_private(folder / files.KEY, certificates.key)
        files.write_private(folder / files.CERTIFICATE, certificates.certificate)
        files.write_private(
            folder / files.PROVISION, json.dumps(_provision(certificates, registration), indent=2) + "\n"
        )


def _provision(certificates: Certificates, registration: Registration | None) -> dict[str, object]:
    """What a device needs to know beside its certificate and key, named as the service names it."""
    known: dict[str, object] = {
        "id": certificates.id,
        "accountId": certificates.account_id,
        "endpoint": certificates.endpoint,
        "port": certificates.port,
        "thing": certificates.thing,
        **{name: value for name, value in certificates.extra.items() if name != "cert"},
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


def _account_left(path: Path) -> str | None:
    """The account in what an earlier run has written to *path*; None if there is nothing that says so."""
    try:
        left = json.loads(files.read(path) or b"{}")
    except ValueError:
        return None
    return left.get("accountId") if isinstance(left, dict) else None


async def provision(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],  # for -
    /,
    *,
    out: Path,
    account: str | None = None,
    product: str | None = None,
    concurrency: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1024))] = 64,
    as_device: Annotated[bool, FLAG] = False,
    overwrite: Annotated[bool, FLAG] = False,
    as_json: JsonFlag = False,
) -> int:
    """Claim every device of a fleet and fetch its certificates.

    The cloud is the one that IOTO_API and IOTO_TOKEN name. For each device OUT/ID gets certificate.pem, key.pem and
    provision.json; OUT/manifest.jsonl has a line for every row. Run again, devices that are done are left as they
    are.

    Args:
        file: a CSV with a header (id, and what else is known: product, name, …), or one ID a line; - reads stdin.
        out: folder for the results.
        account: account to claim for; IOTO_ACCOUNT by default.
        product: product token, for rows that have none; only --as-device needs it.
        concurrency: devices at once.
        as_device: fetch certificates as the device does, with the token that device/register returns.
        overwrite: replace keys that are there and differ.
        as_json: print the figures as one JSON object.
    """
    stopwatch = Stopwatch()
    client = IotoClient(account_id=account, limit=concurrency, observer=stopwatch.observe)
    out.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240  nothing else runs yet
    stop: CallError | None = None
    with _opened(file) as (lines, total), files.Manifest(out) as manifest, ProgressBar("provision", total) as progress:
        job = _Job(client, out, concurrency, product, as_device, overwrite, manifest, progress)
        try:
            async with client:
                await for_each(job.run, _read(lines, from_pipe=total is None), concurrency)
        except Stop as stopped:
            stop = stopped.error
        if job.counts["failed"] > _SHOWN:
            progress.say(f"and {job.counts['failed'] - _SHOWN} more: see {manifest.path}")
    figures: dict[str, object] = {**job.counts, **stopwatch.figures(), "out": str(out), "manifest": str(manifest.path)}
    if stop is not None:
        figures["stopped"] = str(stop)
    print_report(figures, as_json=as_json, title="provision")
    if stop is not None:
        raise stop
    return 1 if job.counts["failed"] else 0


@contextlib.contextmanager
def _opened(file: str) -> Iterator[tuple[TextIO, int | None]]:
    """The lines of *file*, and how many rows are in it, None if that cannot be told beforehand."""
    if file == "-" and sys.stdin is None:
        raise InvalidArgumentError("FILE: there is no standard input")
    lines = open_fleet(sys.stdin.fileno() if file == "-" else file)
    if not lines.seekable():
        yield lines, None  # its reader closes it
        return
    with lines:
        start = lines.tell()
        total = count_rows(lines)
        lines.seek(start)
        yield lines, total


async def _read(lines: TextIO, *, from_pipe: bool) -> AsyncIterator[Row | BadRow]:
    if not from_pipe:
        for row in read_fleet(lines):
            yield row
        return
    # Somebody may be typing: the loop goes on meanwhile. A thread of its own, which an interrupted run need not join.
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Row | BadRow | Exception | None] = asyncio.Queue(1)

    def hand_over(item: Row | BadRow | Exception | None) -> None:
        put = queue.put(item)
        try:
            asyncio.run_coroutine_threadsafe(put, loop).result()
        except RuntimeError:  # the loop is closed
            put.close()
            raise CancelledError from None

    def read() -> None:
        with contextlib.suppress(CancelledError), lines:  # cancelled: the run has ended, nobody wants more
            try:
                for row in read_fleet(lines):
                    hand_over(row)
            except (InvalidArgumentError, OSError) as error:
                hand_over(error)
            hand_over(None)

    threading.Thread(target=read, name="fleet", daemon=True).start()
    while (item := await queue.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item
