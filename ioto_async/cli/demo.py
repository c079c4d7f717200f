"""``ioto-async demo``: provision a fleet on an embedded cloud, then write and read back its metrics."""

import asyncio
import csv
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
from cyclopts import Parameter, validators

from ..client import IotoClient
from ..emulator import EmulatorThread
from ..errors import IotoError
from ..models import MetricQuery
from .files import write_private
from .options import JsonFlag
from .report import ProgressBar, RequestStats, print_report

__all__ = ["demo"]

_CONCURRENCY: Final = 64


async def demo(
    *,
    devices: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1_000_000))] = 500,
    out: Path | None = None,
    as_json: JsonFlag = False,
) -> int:
    """Provision a fleet on an embedded cloud, then write and read back its metrics.

    Args:
        devices: size of the fleet.
        out: folder for the fleet file and the results; a new temporary one by default.
        as_json: print the figures as one JSON object.
    """
    folder = out or Path(tempfile.mkdtemp(prefix="ioto-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    fleet = folder / "fleet.csv"
    with _emulator(devices) as cloud:
        _write_fleet(fleet, cloud.devices, cloud.product_token)
        # In a process of its own, as a user runs it.
        command = [
            sys.executable,
            "-P",
            "-m",
            "ioto_async.cli",
            "provision",
            str(fleet),
            "--out",
            str(folder / "devices"),
        ]
        child = await asyncio.to_thread(
            subprocess.run, [*command, "--json"], env={**os.environ, **cloud.env}, stdout=subprocess.PIPE, check=False
        )
        if not child.stdout:
            return child.returncode  # the reason is on stderr
        provisioned: dict[str, Any] = json.loads(child.stdout)
        recording = {name: os.environ[name] for name in ("IOTO_RECORD",) if name in os.environ}
        metrics = await _metrics({**recording, **cloud.env}, cloud.devices)
    figures = {**provisioned, **metrics, "fleet": str(fleet)}
    print_report(figures, as_json=as_json, title="demo")
    worked = child.returncode == 0 and metrics["metrics_read_back"] == devices
    return 0 if worked and provisioned.get("provisioned") == devices else 1


@attrs.frozen
class _Cloud:
    """What has to be known of the embedded cloud and its fleet."""

    env: dict[str, str] = attrs.field(repr=False)
    product_token: str = attrs.field(repr=False)
    devices: list[str]


@contextmanager
def _emulator(devices: int) -> Iterator[_Cloud]:
    """Run an embedded cloud that has so many *devices* registered, in a process and on a core of its own."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(there, devices), daemon=True)
    process.start()
    there.close()
    try:
        yield here.recv()
    finally:
        # The other side ends when it sees the end of the pipe, and so it does if this process is killed.
        here.close()
        process.join()


def _serve(pipe: Connection, devices: int) -> None:
    # Ctrl-C is for the process that asked for the cloud.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with EmulatorThread() as cloud, suppress(EOFError, OSError):
        ids = [cloud.cloud.register_device() for _ in range(devices)]
        pipe.send(_Cloud(cloud.env, cloud.product_token, ids))
        pipe.recv()


def _write_fleet(path: Path, ids: Sequence[str], product: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["id", "product", "name"])
    writer.writerows([id, product, f"Demo {number}"] for number, id in enumerate(ids, 1))
    write_private(path, text.getvalue())  # the product token is in it


async def _metrics(environ: dict[str, str], ids: Sequence[str]) -> dict[str, float]:
    """Write a sample for every device by an automation, and read it back."""
    requests = RequestStats()
    values = {id: 15 + number % 150 / 10 for number, id in enumerate(ids)}
    counts = {"metrics_written": 0, "metrics_read_back": 0, "metrics_failed": 0}

    async with IotoClient.from_env(environ, observer=requests.observe, limit=_CONCURRENCY) as client:

        async def write(id: str) -> None:
            await client.action.invoke(
                "MetricSample", context={"deviceId": id, "metric": "temperature", "value": values[id]}
            )

        async def read(id: str) -> None:
            query = MetricQuery("temperature", {"Device": id}, "avg", period=3600, accumulate=True)
            (metric,) = await client.metric.fetch(id, [query])
            if not metric.points or metric.points[0].value != values[id]:
                raise _MismatchError(f"wrote {values[id]}, read {metric.points or metric.error}")

        for name, step in (("metrics_written", write), ("metrics_read_back", read)):
            with ProgressBar(name.replace("_", " "), len(ids)) as bar:
                async for outcome in client.bulk(step, ids, concurrency=_CONCURRENCY, observer=bar.update):
                    counts[name if outcome.error is None else "metrics_failed"] += 1
                    if outcome.error is not None:
                        bar.print(f"{outcome.key}: {outcome.error}")
    return counts | {f"metrics_{name}": value for name, value in requests.figures().items()}


class _MismatchError(IotoError):
    """What was read is not what was written."""
