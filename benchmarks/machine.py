"""The machine: what it is, which core does what, and one setting of its allocator."""

import ctypes
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

__all__ = ["client_core", "describe", "keep_heap", "memory", "pin", "second_client_core", "server_core"]

_PACKAGES: Final = ("ioto-async", "aiohttp", "orjson", "attrs", "cattrs", "aiometer")
_PEERS: Final = ("uvloop", "aiofastnet", "httpx", "aiosonic", "niquests", "requests", "wreq", "pyreqwest")
_MMAP_THRESHOLD: Final = -3
_TRIM_THRESHOLD: Final = -1
_CORES: Final = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
"""The cores that this process was started with; none where they cannot be chosen."""


def client_core() -> int | None:
    """The core of what is measured; None to leave it to the system."""
    return _CORES[0] if len(_CORES) > 1 else None


def server_core() -> int | None:
    """The core of what answers; another than the client's."""
    return _CORES[-1] if len(_CORES) > 1 else None


def second_client_core() -> int | None:
    """The core of a second client, which it shares with the server where there are only two."""
    return _CORES[1] if len(_CORES) > 1 else None


def pin(*cores: int | None) -> None:
    """Keep this process, and those that it starts, on *cores*."""
    if chosen := {core for core in cores if core is not None}:
        os.sched_setaffinity(0, chosen)


def keep_heap() -> None:
    """Let glibc keep freed memory, as it does in a process that has run for long.

    asyncio reads into new buffers of 256 KiB. Whether each is mapped and unmapped again, for 15 us a call, depends on
    where the heap happens to end: without this the numbers come in two sizes.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, 4 << 20)
        libc.mallopt(_TRIM_THRESHOLD, 8 << 20)


def memory(name: str) -> int:
    """Bytes of memory, as the kernel calls them; `resource` would tell the peak of the parent, if that was higher."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def describe() -> Mapping[str, str]:
    """What has to be known to compare these numbers with others."""
    packages = ", ".join(f"{name} {_version(name)}" for name in (*_PACKAGES, *_PEERS))
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    cores = f"client on core {client_core()}, server on core {server_core()}"
    return {
        "versions": f"{platform.python_implementation()} {platform.python_version()}, {packages}",
        "machine": f"{_cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "this run": f"{cores if len(_CORES) > 1 else 'client and server not pinned'}; load before it {load}",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    model = facts.get("model name", platform.machine())
    if "cpu family" in facts and "model" in facts:
        model += f" (family {facts['cpu family']}, model {facts['model']})"
    return model
