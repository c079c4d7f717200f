"""``ioto-async emulator``: the embedded cloud as a process."""

import asyncio
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter, validators

from ..emulator import Emulator
from ..emulator.request import Refused
from ..emulator.state.cloud import Cloud
from ..emulator.state.users import check_role
from ..errors import InvalidArgumentError
from .report import FLAG

__all__ = ["emulator"]

Words: TypeAlias = Annotated[Sequence[str], Parameter(negative=(), show_default=False)]


async def emulator(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    db: str | None = None,
    tls: Annotated[bool, FLAG] = False,
    clouds: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=100))] = 1,
    mqtt: bool = True,
    mqtt_port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    user: Words = (),
    invite: Words = (),
    sign_up: Words = (),
    update: Words = (),
) -> None:
    """Serve embedded device clouds and their Builder until SIGINT or SIGTERM.

    When it is ready it prints one line of JSON: api, builder, token, login_token, origin, account_id, cloud_id,
    product_token, ca (the file of the CA certificate), cognito, user_pool, client_id, username, password,
    builder_token, mqtt_host, mqtt_port (null with --no-mqtt); and with more than one cloud the same of the further ones
    in the array clouds.

    Whom options add to the first cloud is in the array users: email, role and invite, the key of the invitation, as
    far as there are such. They all sign in with the password of the line. Updates are in the array updates: id and
    version. Each of these options may be given several times; what the database has already is not added again.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one, as every further cloud does.
        db: SQLite file that keeps the cloud; in memory without. Further clouds have files beside it.
        tls: serve https with a certificate of the emulator's own CA.
        clouds: how many clouds to serve.
        mqtt: serve MQTT too, over TLS for devices with the certificate that device/provision gives them.
        mqtt_port: port for MQTT; 0 takes a free one, as every further cloud does.
        user: EMAIL:ROLE of a user to add to the account of the line; the roles are user, admin and owner.
        invite: EMAIL:ROLE of a user to add and invite, who has signed up but not called user/login yet.
        sign_up: EMAIL of somebody who has signed up and is no user; user/login gives him an account of his own.
        update: FILE:VERSION of a firmware image to publish for the product of the line.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Emulator(host=host, port=port, db=db, tls=tls, clouds=clouds, mqtt=mqtt, mqtt_port=mqtt_port) as running:
        line: dict[str, object] = {**running.info()}
        if people := [
            *(_user(running.cloud, word) for word in user),
            *(_invited(running.cloud, word) for word in invite),
            *(_signed_up(running.cloud, word) for word in sign_up),
        ]:
            line["users"] = people
        if updates := [_update(running.cloud, word) for word in update]:
            line["updates"] = updates
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        await stop.wait()


def _user(cloud: Cloud, word: str) -> dict[str, str]:
    email, role = _parts("--user", word, "EMAIL:ROLE")
    with _explained("--user", word), cloud.lock:
        if cloud.users.of_email(email) is None:
            cloud.add_user(email, role=check_role(role), password=cloud.password)
        return _shown(cloud, email)


def _invited(cloud: Cloud, word: str) -> dict[str, str]:
    email, role = _parts("--invite", word, "EMAIL:ROLE")
    with _explained("--invite", word), cloud.lock:
        known = cloud.users.of_email(email)
        cloud.users.invite(known.id if known else cloud.add_user(email, role=check_role(role)))
        return _signed_up(cloud, email)


def _signed_up(cloud: Cloud, email: str) -> dict[str, str]:
    with _explained("--sign-up", email), cloud.lock:
        if cloud.identities.of_email(email) is None:
            cloud.sign_up(email, cloud.password)
        return _shown(cloud, email)


def _shown(cloud: Cloud, email: str) -> dict[str, str]:
    user = cloud.users.of_email(email)
    if user is None:
        return {"email": email}
    return {"email": email, "role": user.role} | ({"invite": user.invite} if user.invite else {})


def _update(cloud: Cloud, word: str) -> dict[str, str]:
    file, version = _parts("--update", word, "FILE:VERSION")
    image = Path(file).read_bytes()
    with _explained("--update", word), cloud.lock:
        known = cloud.updates.published(version, image, cloud.product_token)
        return {"id": known or cloud.add_update(version, image), "version": version}


def _parts(option: str, word: str, form: str) -> tuple[str, str]:
    first, _, second = word.rpartition(":")
    if not first or not second:
        raise InvalidArgumentError(f"{option} {word}: expected {form}")
    return first, second


@contextmanager
def _explained(option: str, word: str) -> Iterator[None]:
    """Let what the cloud refuses be wrong usage of *option*."""
    try:
        yield
    except (Refused, ValueError) as error:
        raise InvalidArgumentError(f"{option} {word}: {error}") from error
