"""``ioto-async emulator``: the embedded cloud as a process."""

import asyncio
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter, validators

from ...emulator import Emulator
from ...emulator.otherwise import check_otherwise
from ...errors import InvalidArgumentError
from ..options import FLAG, JsonFlag, Texts
from ..signals import ending_signals
from .log import log_requests
from .remote import snapshot, status, wait, write_databases
from .seeding import Seeds
from .shell import BACKGROUND, PassedOn, Shell, environment, run_command, show_console, start_in_background

__all__ = ["emulator"]

emulator: Final = App(name="emulator")
emulator.command(wait)
emulator.command(status)
emulator.command(snapshot)


@emulator.default
async def serve(
    shell: Shell | None = None,
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    db: str | None = None,
    tls: Annotated[bool, FLAG] = False,
    clouds: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=100))] = 1,
    mqtt: bool = True,
    mqtt_port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    local_origins: Annotated[bool, FLAG] = False,
    otherwise: Texts = (),
    user: Texts = (),
    invite: Texts = (),
    sign_up: Texts = (),
    update: Texts = (),
    devices: str | None = None,
    claim: Annotated[bool, FLAG] = False,
    faults: str | None = None,
    log: Annotated[bool, FLAG] = False,
    export_on_exit: Path | None = None,
    env: Annotated[bool, FLAG] = False,
    exec: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    replay: Path | None = None,
    as_json: JsonFlag = False,
) -> int | None:
    """Serve embedded device clouds and their Builder until SIGINT, SIGTERM or SIGHUP.

    When it is ready it prints one line of JSON: api, builder, token, login_token, origin, account_id, cloud_id,
    product_token, ca (the file of the CA certificate), cognito, user_pool, client_id, username, password,
    builder_token, mqtt_host, mqtt_port (null with --no-mqtt), control (the URL of the control API), console (the
    URL of the console for browsers), control_token. With several clouds, the array clouds has the same members for each
    further one. On a terminal, stderr shows the URL of the console.

    What options add to the first cloud is in the line as well: users (email, role and invite, the key of the
    invitation, if there are any), updates (id and version) and devices (their IDs). All users sign in with the password
    of the line. What is already in the database is not added again.

    With --env it runs in the background and prints commands that set the environment of a shell:
    eval "$(ioto-async emulator --env)", or in fish, ioto-async emulator --env fish | source. To stop it: kill
    $IOTO_EMULATOR_PID. With --exec it runs one command in that environment, and ends with the exit status of the
    command. In both cases, IOTO_… and BUILDER_… variables that were set before are unset.

    Args:
        shell: the shell to write for with --env; the one that SHELL names by default.
        host: address to listen on.
        port: port to listen on; 0 takes a free one. Further clouds always take free ones.
        db: SQLite file that keeps the cloud; in memory by default. Further clouds have files beside it.
        tls: serve https with a certificate of the emulator's own CA.
        clouds: how many clouds to serve.
        mqtt: serve MQTT over TLS, for devices with the certificates that device/provision returns.
        mqtt_port: port for MQTT; 0 takes a free one. Further clouds always take free ones.
        local_origins: let web pages of this machine (localhost, loopback addresses) call it, besides those of the
            device app.
        otherwise: number of an assumption that the clouds break, such as A18 (docs/assumptions.md says what they do
            instead); may be given several times.
        user: EMAIL:ROLE of a user to add to the account of the line; the roles are user, admin and owner. This option
            and the next three may be given several times.
        invite: EMAIL:ROLE of a user to add and invite, who has signed up but has not called user/login yet.
        sign_up: EMAIL of a person who has signed up and is not a user; user/login creates an account for them.
        update: FILE:VERSION of a firmware image to publish for the product of the line.
        devices: how many devices to register (DEV0000001 and so on), or a file of them: a CSV with a column id, or JSON
            objects or IDs, one a line; - reads stdin.
        claim: claim these devices as well.
        faults: JSON file with an array of the faults to inject.
        log: write a line to stderr for each request and message: time, operation, caller, status, ms. The lines are
            JSON unless stderr is a terminal.
        export_on_exit: database to write on exit, for use with --db; further clouds have files beside it.
        env: run in the background, and print commands that set the environment of a shell.
        exec: run the command that follows, to the end of the line; your shell if there is none.
        replay: cassette from ioto-async --record to compare with, instead of serving: a new cloud gets the devices,
            items, users and metrics that the recorded replies show, then each recorded request. Each difference between
            the replies is printed on a line, and the exit status is 1 if there are any.
        as_json: with --replay, print one JSON object instead.
    """
    is_background = os.environ.pop(BACKGROUND, None) is not None
    _check(shell, env=env, exec=exec)
    if replay is not None:
        others: dict[str, object] = {
            "--db": db,
            "--devices": devices,
            "--faults": faults,
            "--export-on-exit": export_on_exit,
        }
        others |= {"--user": user, "--invite": invite, "--sign-up": sign_up, "--update": update}
        others |= {"--env": env, "--exec": exec is not None, "--log": log}
        if given := [option for option, value in others.items() if value]:
            raise InvalidArgumentError(f"{given[0]}: expected no --replay beside it, which serves nothing")
        from .replaying import print_replay  # seldom asked for

        return await print_replay(replay, as_json=as_json)
    if as_json:
        raise InvalidArgumentError("--json: expected --replay beside it")
    if env and not is_background:
        return await asyncio.to_thread(start_in_background, shell, log=log)
    seeds = Seeds(user=user, invite=invite, sign_up=sign_up, update=update, devices=devices, claim=claim, faults=faults)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = None if exec is None else PassedOn()
    if signals is None:
        for number in ending_signals():
            loop.add_signal_handler(number, stop.set)
    serving = Emulator(
        host=host,
        port=port,
        db=db,
        tls=tls,
        clouds=clouds,
        mqtt=mqtt,
        mqtt_port=mqtt_port,
        local_origins=local_origins,
        otherwise=_checked(otherwise),
    )
    if log:
        log_requests(serving)
    async with serving as running:
        added = seeds.add_to(running)
        result = None
        if exec is not None and signals is not None:
            result = await run_command(running, shlex.split(exec), signals)
        else:
            line = environment(running, os.environ) if is_background else {**running.info(), **added}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            if not is_background:
                show_console(running.console)
            await stop.wait()
        if export_on_exit is not None:
            write_databases(export_on_exit, running.snapshot(), "--export-on-exit")
    return result


def _checked(otherwise: Texts) -> frozenset[str]:
    try:
        return check_otherwise(otherwise)
    except ValueError as error:
        raise InvalidArgumentError(f"--{error}") from None


def _check(shell: Shell | None, *, env: bool, exec: str | None) -> None:
    if env and exec is not None:
        raise InvalidArgumentError("--exec: expected no --env beside it")
    if shell is not None and not env:
        raise InvalidArgumentError(f"{shell}: expected --env before it")
