"""What options add to the first cloud: users, updates, devices and faults."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from ...emulator import Emulator
from ...emulator.faults import parse_faults
from ...emulator.request import Refused
from ...emulator.state.cloud import Cloud
from ...emulator.state.users import check_role
from ...errors import InvalidArgumentError
from ..rows import BadRow, open_source, read_rows

__all__ = ["Seeds"]


@attrs.frozen(kw_only=True)
class Seeds:
    """What is to be added; the attributes are the options of the command."""

    user: Sequence[str] = ()
    invite: Sequence[str] = ()
    sign_up: Sequence[str] = ()
    update: Sequence[str] = ()
    devices: str | None = None
    claim: bool = False
    faults: str | None = None

    def add_to(self, running: Emulator) -> dict[str, object]:
        """Add it, and return what the line says of it: of each kind that was asked for, an array.

        Raises:
            InvalidArgumentError: an option is wrong, or its file cannot be read.
        """
        cloud, added = running.cloud, dict[str, object]()
        if users := [
            *(_add_user(cloud, text) for text in self.user),
            *(_invite(cloud, text) for text in self.invite),
            *(_sign_up(cloud, text) for text in self.sign_up),
        ]:
            added["users"] = users
        if updates := [_add_update(cloud, text) for text in self.update]:
            added["updates"] = updates
        if self.devices is not None:
            devices = _devices(self.devices)
            with _usage_error("--devices", self.devices):
                added["devices"] = running.seed(devices, claim=self.claim)
        elif self.claim:
            raise InvalidArgumentError("--claim: expected --devices beside it")
        if self.faults is not None:
            text = _read("--faults", self.faults)
            with _usage_error("--faults", self.faults):
                for fault in parse_faults(json.loads(text)):
                    running.faults.add(fault)
        return added


def _devices(text: str) -> int | list[dict[str, Any]]:
    """Return how many devices *text* says, or those of the file that it names."""
    if text.isascii() and text.isdigit():
        return int(text)
    with open_source(text, partial(read_rows, option="--devices"), "--devices") as source:
        devices: list[dict[str, Any]] = []
        for row in source.read(source.lines):
            if isinstance(row, BadRow):
                raise InvalidArgumentError(f"--devices: line {row.line}: {row.reason}")
            devices.append({**row.columns, "id": row.id})
        return devices


def _add_user(cloud: Cloud, text: str) -> dict[str, str]:
    email, role = _split("--user", text, "EMAIL:ROLE")
    with _usage_error("--user", text), cloud.lock:
        if cloud.users.of_email(email) is None:
            cloud.add_user(email, role=check_role(role), password=cloud.password)
        return _info(cloud, email)


def _invite(cloud: Cloud, text: str) -> dict[str, str]:
    email, role = _split("--invite", text, "EMAIL:ROLE")
    with _usage_error("--invite", text), cloud.lock:
        known = cloud.users.of_email(email)
        cloud.users.invite(known.id if known else cloud.add_user(email, role=check_role(role)))
        return _sign_up(cloud, email)


def _sign_up(cloud: Cloud, email: str) -> dict[str, str]:
    with _usage_error("--sign-up", email), cloud.lock:
        if cloud.identities.of_email(email) is None:
            cloud.sign_up(email, cloud.password)
        return _info(cloud, email)


def _info(cloud: Cloud, email: str) -> dict[str, str]:
    user = cloud.users.of_email(email)
    if user is None:
        return {"email": email}
    return {"email": email, "role": user.role} | ({"invite": user.invite} if user.invite else {})


def _add_update(cloud: Cloud, text: str) -> dict[str, str]:
    file, version = _split("--update", text, "FILE:VERSION")
    image = _read("--update", file)
    with _usage_error("--update", text), cloud.lock:
        known = cloud.updates.published(version, image, cloud.product_token)
        return {"id": known or cloud.add_update(version, image), "version": version}


def _read(option: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"{option}: {error.strerror}: {file}") from None


def _split(option: str, text: str, form: str) -> tuple[str, str]:
    first, _, second = text.rpartition(":")
    if not first or not second:
        raise InvalidArgumentError(f"{option} {text}: expected {form}")
    return first, second


@contextmanager
def _usage_error(option: str, text: str) -> Iterator[None]:
    """Report what the cloud refuses as wrong usage of *option*."""
    try:
        yield
    except (Refused, ValueError) as error:
        raise InvalidArgumentError(f"{option} {text}: {error}") from error
