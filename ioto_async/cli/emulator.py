"""``ioto-async emulator``: the embedded cloud as a process."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from ..emulator import Emulator
from ..emulator.request import Refused
from ..emulator.state.cloud import Cloud
from ..emulator.state.users import check_role
from ..errors import InvalidArgumentError
from .options import FLAG, Texts
from .signals import ending_signals

__all__ = ["emulator"]


async def emulator(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    db: str | None = None,
    tls: Annotated[bool, FLAG] = False,
    clouds: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=100))] = 1,
    mqtt: bool = True,
    mqtt_port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    local_origins: Annotated[bool, FLAG] = False,
    user: Texts = (),
    invite: Texts = (),
    sign_up: Texts = (),
    update: Texts = (),
) -> None:
    """Serve embedded device clouds and their Builder until SIGINT, SIGTERM or SIGHUP.

    When it is ready it prints one line of JSON: api, builder, token, login_token, origin, account_id, cloud_id,
    product_token, ca (the file of the CA certificate), cognito, user_pool, client_id, username, password,
    builder_token, mqtt_host, mqtt_port (null with --no-mqtt), control (the URL of the control API), control_token; and
    with more than one cloud the same of the further ones in the array clouds.

    Users that options add to the first cloud are in the array users: email, and where they exist role and invite, the
    key of the invitation. All of them sign in with the password of the line. Updates are in the array updates: id and
    version. Each of these options may be given several times; what is already in the database is not added again.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one, as every further cloud does.
        db: SQLite file that keeps the cloud; in memory without. Further clouds have files beside it.
        tls: serve https with a certificate of the emulator's own CA.
        clouds: how many clouds to serve.
        mqtt: serve MQTT too, over TLS for devices with the certificate that device/provision gives them.
        mqtt_port: port for MQTT; 0 takes a free one, as every further cloud does.
        local_origins: let pages of this machine (localhost, loopback addresses) call it from browsers, besides those of
            the device app.
        user: EMAIL:ROLE of a user to add to the account of the line; the roles are user, admin and owner.
        invite: EMAIL:ROLE of a user to add and invite, who has signed up but not called user/login yet.
        sign_up: EMAIL of a person who has signed up and is not a user; user/login creates an account for them.
        update: FILE:VERSION of a firmware image to publish for the product of the line.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ending_signals():
        loop.add_signal_handler(number, stop.set)
    async with Emulator(
        host=host,
        port=port,
        db=db,
        tls=tls,
        clouds=clouds,
        mqtt=mqtt,
        mqtt_port=mqtt_port,
        local_origins=local_origins,
    ) as running:
        info: dict[str, object] = {**running.info()}
        if users := [
            *(_add_user(running.cloud, text) for text in user),
            *(_invite(running.cloud, text) for text in invite),
            *(_sign_up(running.cloud, text) for text in sign_up),
        ]:
            info["users"] = users
        if updates := [_add_update(running.cloud, text) for text in update]:
            info["updates"] = updates
        sys.stdout.write(json.dumps(info) + "\n")
        sys.stdout.flush()
        await stop.wait()


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
    image = Path(file).read_bytes()
    with _usage_error("--update", text), cloud.lock:
        known = cloud.updates.published(version, image, cloud.product_token)
        return {"id": known or cloud.add_update(version, image), "version": version}


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
