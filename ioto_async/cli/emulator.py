"""``ioto-async emulator``: the embedded cloud as a process."""

import asyncio
import json
import signal
import sys
from typing import Annotated

from cyclopts import Parameter, validators

from .report import FLAG

__all__ = ["emulator"]


async def emulator(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    db: str | None = None,
    tls: Annotated[bool, FLAG] = False,
    clouds: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=100))] = 1,
) -> None:
    """Serve embedded device clouds and their Builder until SIGINT or SIGTERM.

    When it is ready it prints one line of JSON: api, builder, token, login_token, origin, account_id, cloud_id,
    product_token, ca (the file of the CA certificate), cognito, client_id, username, password, builder_token; and
    with more than one cloud the same of the further ones in the array clouds.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one, as every further cloud does.
        db: SQLite file that keeps the cloud; in memory without. Further clouds have files beside it.
        tls: serve https with a certificate of the emulator's own CA.
        clouds: how many clouds to serve.
    """
    from ..emulator import Emulator

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Emulator(host=host, port=port, db=db, tls=tls, clouds=clouds) as cloud:
        sys.stdout.write(json.dumps(cloud.info()) + "\n")
        sys.stdout.flush()
        await stop.wait()
