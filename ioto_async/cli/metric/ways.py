"""The ways for samples to the cloud, as the command line names them. Imports client, writing, mqtt, running, files."""

import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import attrs
from cyclopts import Parameter

from ...client import ClientOptions, IotoClient
from ...config import Settings
from ...errors import InvalidArgumentError, IotoError, NotFoundError
from ...models import Certificates
from ...mqtt import DeviceLink
from ...writing import Writer, WriterOptions
from ...writing.link import LinkWay
from .. import files
from ..report import FLAG
from ..running.reaching import REFUSED
from .arguments import seconds_of

__all__ = ["Destination", "Via", "WayOptions", "destination"]

Via = Literal["automation", "model", "mqtt"]

_NEEDED: Final[dict[str, str]] = {"automation": "automation", "model": "model", "mqtt": "certs"}
"""The option that each way cannot do without, and no other has."""
_AT_ONCE: Final[dict[str, int]] = {"model": 256, "mqtt": 100}
"""Samples at once, where that does not follow what the service can do: a request of a model has several of them."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class WayOptions:
    """What the ways need."""

    automation: str | None = None
    """Name of the automation; its variables are metric, value, timestamp, deviceId for the dimension Device, and the
    names of the other dimensions."""
    model: str | None = None
    """Name of the model; metrics are its fields, and dimensions tell the item, Device as deviceId. Its rules are not
    checked: a field without a metric rule is written, and makes no sample."""
    create: Annotated[bool, FLAG] = False
    """Create items of the model instead of updating them."""
    certs: Path | None = None
    """For MQTT: the folder of the device as fleet provision has written it, its provision.json, or with --device the
    folder of the fleet. A cloud whose certificate the system does not trust is trusted with SSL_CERT_FILE=ca.pem."""
    device: str | None = None
    """ID for the dimension Device of rows that have no dimensions; over MQTT that of the certificate by default."""
    account: str | None = None
    """Account that owns the items of the model; IOTO_ACCOUNT by default."""
    at_least_once: Annotated[bool, FLAG] = False
    """Send again what was sent and may be written, so that a sample may count twice."""
    patience: str = "60s"
    """How long the cloud may take no samples before the run ends. One that was never reached ends it at once, unless it
    is to be reached over MQTT."""


Open = Callable[[WriterOptions], AbstractAsyncContextManager[Writer]]


@attrs.frozen(kw_only=True)
class Destination:
    """Where samples go, and how."""

    name: str
    """What a journal calls it."""
    device: str | None
    """For samples that have no dimensions."""
    concurrency: int | Literal["auto"]
    """Samples at once."""
    stop_on: tuple[type[IotoError], ...]
    """What no other sample would fare better with."""
    client: IotoClient | None
    """Whose requests carry them; None over MQTT."""
    open: Open
    """Opens a writer."""


def destination(
    via: Via, options: WayOptions, concurrency: int | Literal["auto"], client_options: ClientOptions
) -> Destination:
    """Find out where samples go that go that way.

    Args:
        via: the way.
        options: what it needs.
        concurrency: samples at once.
        client_options: of the client, if there is one.

    Raises:
        InvalidArgumentError: an option is missing or does not fit, or the environment names no cloud.
    """
    _check(via, options)
    if concurrency == "auto" and via in _AT_ONCE:
        concurrency = _AT_ONCE[via]
    if via == "mqtt":
        return _over_mqtt(options, concurrency)
    client = IotoClient(account_id=options.account, **client_options)
    metric, again = client.metric, options.at_least_once

    @asynccontextmanager
    async def open_(chosen: WriterOptions) -> AsyncGenerator[Writer, None]:
        async with client:
            if options.model is not None:
                model, create = options.model, options.create
                writer = metric.writer(via="model", model=model, create=create, at_least_once=again, **chosen)
            else:
                name = options.automation or ""
                writer = metric.writer(via="automation", name=name, at_least_once=again, **chosen)
            async with writer:
                yield writer

    target = f"{via} {options.automation or options.model} at {str(Settings.from_env(os.environ).api).rstrip('/')}"
    # What an automation does not find is itself; of its variables it complains in a 200.
    stop_on = (*REFUSED, NotFoundError) if via == "automation" else REFUSED
    return _named(target, options.device, concurrency, stop_on, client, open_)


def _over_mqtt(options: WayOptions, concurrency: int | Literal["auto"]) -> Destination:
    assert options.certs is not None
    certificates = _certificates(options.certs, options.device)
    patience = seconds_of("--patience", options.patience)

    @asynccontextmanager
    async def open_(chosen: WriterOptions) -> AsyncGenerator[Writer, None]:
        try:
            link = DeviceLink(certificates, patience=patience)
        except ModuleNotFoundError as error:
            raise InvalidArgumentError(f"--via: {error}") from None
        async with link, Writer(LinkWay(link=link), **chosen) as writer:
            yield writer

    return _named(f"mqtt at {certificates.endpoint}", certificates.id, concurrency, REFUSED, None, open_)


def _named(
    target: str,
    device: str | None,
    concurrency: int | Literal["auto"],
    stop_on: tuple[type[IotoError], ...],
    client: IotoClient | None,
    open_: Open,
) -> Destination:
    name = f"metric write via {target}" + (f" for {device}" if device else "")
    return Destination(name=name, device=device, concurrency=concurrency, stop_on=stop_on, client=client, open=open_)


def _check(via: Via, options: WayOptions) -> None:
    for way, name in _NEEDED.items():
        given = getattr(options, name) is not None
        if way == via and not given:
            raise InvalidArgumentError(f"--{name}: --via {via} needs it")
        if way != via and given:
            raise InvalidArgumentError(f"--{name}: belongs to --via {way}, not to {via}")
    if options.create and via != "model":
        raise InvalidArgumentError(f"--create: belongs to --via model, not to {via}")


def _certificates(path: Path, device: str | None) -> Certificates:
    """What `fleet provision` has written for a device."""
    folder = path.parent if path.is_file() else path
    if device is not None and not (folder / files.PROVISION).exists():
        folder = folder / device
    found: dict[str, bytes] = {}
    for name in (files.PROVISION, files.CERTIFICATE, files.KEY):
        content = files.read(folder / name)
        if content is None:
            hint = "" if device is not None else ": name the device by --device, or its own folder"
            raise InvalidArgumentError(f"--certs: no {name} in {folder}{hint}")
        found[name] = content
    try:
        known = json.loads(found[files.PROVISION])
        id, account, endpoint, port = (known.get(name) for name in ("id", "accountId", "endpoint", "port"))
    except (ValueError, AttributeError):
        raise InvalidArgumentError(f"--certs: {folder / files.PROVISION} is not what fleet provision writes") from None
    if device is not None and id != device:
        raise InvalidArgumentError(f"--certs: {folder} is of device {id}, not of {device}")
    return Certificates(
        id=id,
        account_id=account,
        endpoint=endpoint,
        port=port,
        certificate=found[files.CERTIFICATE].decode(errors="replace"),
        key=found[files.KEY].decode(errors="replace"),
    )
