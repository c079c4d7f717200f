"""What the fleet commands do with each row.

A job is plain data and functions of modules, so that it can be pickled and done elsewhere. It is called with a client,
a row and its settings, and returns what was done or raises an error. Two kinds of errors concern all rows: a token or
a sign-in that is refused (`AUTH_ERRORS`), and a service that cannot be reached (`ConnectionFailedError`). An error of
these kinds that concerns its row alone is raised as a `RowError`.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import attrs

from ...client import BuilderClient, ClientOptions, IotoClient
from ...errors import AuthenticationError, BadRequestError, MissingSettingError, NotFoundError
from ...models import JSON, Device, Registration
from ...operations import Kind
from ...settings import BUILDER_URL, Settings
from ..rows import Row, RowError

__all__ = [
    "CHECK_UPDATE",
    "CLAIM",
    "REGISTER",
    "RELEASE",
    "Client",
    "Done",
    "Job",
    "JobSettings",
    "check_registration",
    "claim",
    "cloud_client",
    "cloud_endpoint",
    "is_claimed",
    "register",
    "registration_columns",
]

Client = TypeVar("Client", IotoClient, BuilderClient)

_BOOLEANS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@attrs.define(kw_only=True)
class JobSettings:
    """The settings of a run, for every row."""

    account: str | None = None
    """The account whose devices count as ours; if it is not given, the first claim of a run sets it."""
    product: str | None = attrs.field(default=None, repr=False)
    """Product of rows that name none: its token, or for update checks its key."""
    out: Path | None = None
    """Folder for certificates."""
    as_device: bool = False
    """Fetch certificates with the token that ``device/register`` returns."""
    overwrite: bool = False
    """Replace existing keys that differ."""


@attrs.frozen
class Done:
    """What was done for a row."""

    result: str
    """One of the `Job.results`."""
    shown: dict[str, JSON] = attrs.field(factory=dict)
    """Members of the reply that may be shown, by the service's names: no token, no key, no signed URL."""
    claimed: str | None = None
    """If claiming was only a part of the job, when that was done: ``now`` or ``before``."""


def _accept_all(row: Row, settings: JobSettings) -> None:
    """Accept any row."""


def _no_columns(settings: JobSettings) -> dict[str, str]:
    """No row needs more than its ID."""
    return {}


@attrs.frozen(kw_only=True)
class Job(Generic[Client]):
    """One of the fleet commands."""

    name: str
    client: Callable[[JobSettings, ClientOptions], Client]
    """Makes the client, from the environment of the process that calls it."""
    endpoint: Callable[[Settings], str]
    """The base URL of the service."""
    call: Callable[[Client, Row, JobSettings], Awaitable[Done]]
    kind: Kind
    """What a second call for the same row does."""
    results: tuple[str, ...]
    shown: tuple[str, ...] = ()
    """The members that `Done.shown` may have."""
    counted: tuple[str, ...] = ()
    """Results that are listed only where a list of all rows is asked for."""
    check: Callable[[Row, JobSettings], None] = _accept_all
    """Checks a row before anything is sent; raises a `RowError` if it cannot be used."""
    columns: Callable[[JobSettings], dict[str, str]] = _no_columns
    """The columns that every row needs, and what for."""
    reconcile: Callable[[Client, Row, JobSettings], Awaitable[bool | None]] | None = None
    """Looks up whether a row whose outcome is unknown is done; None if that cannot be told."""
    verify: Callable[[Client, Row, JobSettings], Awaitable[bool]] | None = None
    """Looks up whether a row that an earlier run has done is still done; None to do it again, which changes nothing."""
    when_skipped: Done | None = None
    """How a row is reported that an earlier run has done."""


def cloud_client(settings: JobSettings, options: ClientOptions) -> IotoClient:
    """A client of the device cloud."""
    return IotoClient(account_id=settings.account, **options)


def cloud_endpoint(settings: Settings) -> str:
    """The base URL of the device cloud.

    Raises:
        MissingSettingError: the environment does not name it.
    """
    if settings.api is None:
        raise MissingSettingError("base URL of the device cloud", argument="api", variable="IOTO_API")
    return settings.api


def _builder_endpoint(settings: Settings) -> str:
    return settings.builder or BUILDER_URL


def _builder_client(settings: JobSettings, options: ClientOptions) -> BuilderClient:
    return BuilderClient(**options)


# register ----------------------------------------------------------------------------------------------------------

_REGISTERING: Final = "registering needs the product token: a column product, or --product"


def check_registration(row: Row, settings: JobSettings) -> None:
    """Check that a *row* can be registered.

    Raises:
        RowError: the product token is missing, or a column does not fit.
    """
    if not _product(row, settings):
        raise RowError(f"product: {_REGISTERING}")
    _properties(row)


def registration_columns(settings: JobSettings) -> dict[str, str]:
    """The columns that registering needs."""
    return {"product": _REGISTERING} if settings.product is None else {}


def _product(row: Row, settings: JobSettings) -> str | None:
    return row.text("product") or settings.product


def _properties(row: Row, *named: str) -> dict[str, JSON]:
    """The columns that are sent under their own names: all but the product and those in *named*."""
    properties = {name: value for name, value in row.columns.items() if name != "product" and name not in named}
    test = properties.get("test")
    if test is not None and not isinstance(test, bool):
        properties["test"] = _BOOLEANS.get(str(test).lower())
        if properties["test"] is None:
            raise RowError(f"test: expected true or false, got {test!r}")
    return properties


async def register(builder: BuilderClient, row: Row, settings: JobSettings) -> Registration:
    """Register the device of a *row*.

    Raises:
        RowError: the product token in the row itself is refused.
    """
    try:
        return await builder.device.register(row.id, _product(row, settings) or "", properties=_properties(row))
    except AuthenticationError as error:
        if row.text("product"):
            raise RowError(str(error)) from None
        raise


async def _register(client: BuilderClient, row: Row, settings: JobSettings) -> Done:
    reply = await register(client, row, settings)
    shown: dict[str, JSON] = {
        "registered": reply.registered,
        "api": reply.api,
        "cloudType": reply.cloud_type,
        "cloudName": reply.cloud_name,
        "cloudRegion": reply.cloud_region,
    }
    return Done("registered", _without_none(shown))


REGISTER: Final = Job(
    name="register",
    client=_builder_client,
    endpoint=_builder_endpoint,
    call=_register,
    kind=Kind.REPLAYABLE,
    results=("registered",),
    shown=("registered", "api", "cloudType", "cloudName", "cloudRegion"),
    check=check_registration,
    columns=registration_columns,
)


# claim -------------------------------------------------------------------------------------------------------------


async def claim(
    client: IotoClient,
    row: Row,
    settings: JobSettings,
    earlier_account: Callable[[], Awaitable[str | None]] | None = None,
) -> tuple[Device, bool]:
    """Claim the device of a *row*.

    Args:
        client: of the device cloud.
        row: the device.
        settings: say which account is ours.
        earlier_account: looks up the account that an earlier run has claimed the device for, if that is recorded.

    Returns:
        The device, and whether it was claimed now; false if it was ours already.

    Raises:
        RowError: it belongs to another account.
    """
    try:
        device, now = await client.device.claim(row.id), True
    except NotFoundError:
        raise
    except BadRequestError as refused:
        # Refused because it is claimed, perhaps by us: in an earlier run, or by an attempt whose reply was lost.
        try:
            device, now = await client.device.get(row.id), refused.outcome_unknown
        except NotFoundError:
            raise refused from None
        ours = client.account_id or settings.account or (await earlier_account() if earlier_account else None)
        _check_owner(device, ours)
    if now:
        settings.account = settings.account or device.account_id
    return device, now


def _check_owner(device: Device, ours: str | None) -> None:
    """Check that a claimed device is not of another account: a CloudAPI token can read those as well."""
    if ours is None:
        raise RowError(f"already claimed by {device.account_id}: if that is you, say so by --account or IOTO_ACCOUNT")
    if device.account_id != ours:
        raise RowError(f"already claimed, by another account: {device.account_id}")


async def _claim(client: IotoClient, row: Row, settings: JobSettings) -> Done:
    device, now = await claim(client, row, settings)
    created = device.created.isoformat() if device.created else None
    # Nothing about the product: the API does not document which of its members are secret.
    shown: dict[str, JSON] = {"accountId": device.account_id, "created": created}
    return Done("claimed" if now else "already_claimed", _without_none(shown))


def _without_none(members: dict[str, JSON]) -> dict[str, JSON]:
    return {name: value for name, value in members.items() if value is not None}


async def is_claimed(client: IotoClient, row: Row, settings: JobSettings) -> bool:
    """Whether the device of a *row* is claimed, by us if it is known who that is."""
    try:
        device = await client.device.get(row.id)
    except NotFoundError:
        return False
    ours = client.account_id or settings.account
    return ours is None or device.account_id == ours


CLAIM: Final = Job(
    name="claim",
    client=cloud_client,
    endpoint=cloud_endpoint,
    call=_claim,
    kind=Kind.REPLAYABLE,
    results=("claimed", "already_claimed"),
    shown=("accountId", "created"),
    verify=is_claimed,
)


# release -----------------------------------------------------------------------------------------------------------


async def _release(client: IotoClient, row: Row, settings: JobSettings) -> Done:
    try:
        await client.device.release(row.id)
    except NotFoundError as error:
        if not error.outcome_unknown:  # else an attempt whose reply was lost has released it
            raise
    return Done("released")


async def _is_released(client: IotoClient, row: Row, settings: JobSettings) -> bool:
    try:
        await client.device.get(row.id)
    except NotFoundError:
        return True
    return False


RELEASE: Final = Job(
    name="release",
    client=cloud_client,
    endpoint=cloud_endpoint,
    call=_release,
    kind=Kind.REPLAYABLE,
    results=("released",),
    reconcile=_is_released,
    verify=_is_released,
)


# check-update ------------------------------------------------------------------------------------------------------


_CHECKING: Final = "an update check needs the key of the product: a column product, or --product"


def _check_product(row: Row, settings: JobSettings) -> None:
    if not _product(row, settings):
        raise RowError(f"product: {_CHECKING}")
    row.text("version")
    _properties(row)


def _update_columns(settings: JobSettings) -> dict[str, str]:
    return {"product": _CHECKING} if settings.product is None else {}


async def _check_update(client: IotoClient, row: Row, settings: JobSettings) -> Done:
    product = _product(row, settings) or ""
    version = row.text("version") or (await client.device.get(row.id)).version
    if not version:
        raise RowError("version: neither the file nor the cloud says which one the device runs: add a column version")
    offer = await client.provision.update(row.id, product, version, properties=_properties(row, "version"))
    # Not the URL: it gives access to the image.
    shown: dict[str, JSON] = {
        "version": offer.version,
        "update": offer.update,
        "checksum": offer.checksum,
        "message": offer.message,
    }
    return Done("offered" if offer.url else "up_to_date", _without_none(shown))


CHECK_UPDATE: Final = Job(
    name="check-update",
    client=cloud_client,
    endpoint=cloud_endpoint,
    call=_check_update,
    kind=Kind.READ,
    results=("offered", "up_to_date"),
    shown=("version", "update", "checksum", "message"),
    counted=("up_to_date",),
    check=_check_product,
    columns=_update_columns,
)
