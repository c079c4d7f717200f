"""``ioto-async fleet``: one call for each device of a file, with a journal to go on from."""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App

from ...errors import InvalidArgumentError
from ..options import FLAG, File, FleetOptions, use_api
from .jobs import CHECK_UPDATE, CLAIM, REGISTER, RELEASE, JobSettings
from .provisioning import PROVISION
from .run import run

__all__ = ["check_update", "claim", "fleet", "provision", "register", "release"]

_OPTIONS: Final = FleetOptions()


def _use_api(api: str | None, options: FleetOptions) -> None:
    if api is not None and options.dask is not None:
        raise InvalidArgumentError("--api: the workers of --dask have an environment of their own: set IOTO_API there")
    use_api(api)


async def register(file: File, /, *, product: str | None = None, options: FleetOptions = _OPTIONS) -> int:
    """Register every device of a fleet with the Builder.

    The Builder is the one that IOTO_BUILDER names, or the vendor's. The product token comes from the column product;
    the other columns are registered as properties of the device.

    Args:
        file: a CSV with a header, JSON objects (one a line), or one ID a line; - reads stdin.
        product: product token, for rows that have none.
        options: of every run.
    """
    return await run(REGISTER, file, JobSettings(product=product), options)


async def claim(
    file: File, /, *, api: str | None = None, account: str | None = None, options: FleetOptions = _OPTIONS
) -> int:
    """Claim every device of a fleet.

    The cloud is the one that IOTO_API and IOTO_TOKEN name. A device that is the account's already counts as done.

    Args:
        file: a CSV with a header, JSON objects (one a line), or one ID a line; - reads stdin.
        api: base URL of the device cloud; IOTO_API by default.
        account: account to claim for; IOTO_ACCOUNT by default.
        options: of every run.
    """
    _use_api(api, options)
    return await run(CLAIM, file, JobSettings(account=account), options)


async def provision(
    file: File,
    /,
    *,
    out: Path,
    api: str | None = None,
    account: str | None = None,
    product: str | None = None,
    as_device: Annotated[bool, FLAG] = False,
    overwrite: Annotated[bool, FLAG] = False,
    options: FleetOptions = _OPTIONS,
) -> int:
    """Claim every device of a fleet and fetch its certificates.

    The cloud is the one that IOTO_API and IOTO_TOKEN name. For each device OUT/ID gets certificate.pem, key.pem and
    provision.json; OUT/manifest.jsonl has a line for every row. Run again, devices that are done are left as they
    are.

    Args:
        file: a CSV with a header (id, and what else is known: product, name, …), JSON objects (one a line), or one ID
            a line; - reads stdin.
        out: folder for the results.
        api: base URL of the device cloud; IOTO_API by default.
        account: account to claim for; IOTO_ACCOUNT by default.
        product: product token, for rows that have none; only --as-device needs it.
        as_device: fetch certificates as the device does, with the token that device/register returns.
        overwrite: fetch again what is there, and replace keys that differ.
        options: of every run.
    """
    _use_api(api, options)
    settings = JobSettings(account=account, product=product, out=out, as_device=as_device, overwrite=overwrite)
    return await run(PROVISION, file, settings, options)


async def release(
    file: File, /, *, api: str | None = None, account: str | None = None, options: FleetOptions = _OPTIONS
) -> int:
    """Hand every device of a fleet back to the Builder, so that it can be claimed again.

    The cloud is the one that IOTO_API and IOTO_TOKEN name.

    Args:
        file: a CSV with a header, JSON objects (one a line), or one ID a line; - reads stdin.
        api: base URL of the device cloud; IOTO_API by default.
        account: account that owns the devices; IOTO_ACCOUNT by default.
        options: of every run.
    """
    _use_api(api, options)
    return await run(RELEASE, file, JobSettings(account=account), options)


async def check_update(
    file: File, /, *, api: str | None = None, product: str | None = None, options: FleetOptions = _OPTIONS
) -> int:
    """Show which update each device of a fleet would get.

    The cloud is the one that IOTO_API and IOTO_TOKEN name. The column version says what a device runs; where there is
    none, the cloud does. The column product says which product it is; the other columns go to the policy of the update
    as they are. Devices that are up to date are counted, and listed with --output. Nothing is installed.

    Args:
        file: a CSV with a header, JSON objects (one a line), or one ID a line; - reads stdin.
        api: base URL of the device cloud; IOTO_API by default.
        product: key of the product, for rows that have none.
        options: of every run.
    """
    _use_api(api, options)
    return await run(CHECK_UPDATE, file, JobSettings(product=product), options, output="table")


fleet = App(name="fleet", help="Register, claim, provision or release the devices of a file, or check their updates.")
for command in (register, claim, provision, release, check_update):
    fleet.command(command)
