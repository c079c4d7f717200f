"""The process that `test_crash` kills: a run over the lines of a file, whose outcomes it writes down as they come.

Arguments: which call, the items, the journal, the outcomes, the summary.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import attrs

from ioto_async import BadRequestError, IotoClient
from ioto_async.bulk import Bulk


async def claimed(client: IotoClient, item: str) -> bool:
    try:
        device = await client.device.get(item)
    except BadRequestError:
        return False
    return device.id == item


def run_of(client: IotoClient, call: str, items: list[str], journal: str) -> Bulk[str, object]:
    if call == "claim":
        return client.bulk(
            client.device.claim, items, journal=journal, concurrency=16, reconcile=lambda item: claimed(client, item)
        )

    async def count(item: str) -> object:
        return await client.action.invoke("Count", context={"item": item})

    return client.bulk(count, items, journal=journal, concurrency=16)


async def main(call: str, items: str, journal: str, outcomes: str, summary: str) -> None:
    async with IotoClient.from_env() as client:
        run = run_of(client, call, Path(items).read_text().split(), journal)
        # One write for each line, which no end of the process tears.
        with open(outcomes, "ab", buffering=0) as file:  # noqa: PTH123  a few bytes
            async for outcome in run:
                file.write(f"{os.getpid()} {outcome.key} {outcome.status}\n".encode())
    counts = attrs.asdict(run.summary, filter=lambda field, _: field.name != "errors")
    Path(summary).write_text(json.dumps(counts))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
