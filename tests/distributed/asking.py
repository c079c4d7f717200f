"""A process that asks for a run over the workers of a cluster, to be killed: ``python asking.py ADDRESS``."""

import asyncio
import sys

from distributed import Client

import tests.distributed.calls as calls
from ioto_async.distributed import bulk


async def main(address: str) -> None:
    async with Client(address, asynchronous=True, set_as_default=False) as cluster:
        async for _ in bulk(cluster, calls.hold, range(10, 20), concurrency=3):
            pass


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
