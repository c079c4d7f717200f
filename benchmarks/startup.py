"""What it takes to begin: importing the client where aiohttp is there already, and ``ioto-async --help``."""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

import attrs

from .reference import brief, reference, told
from .table import Figure, Piece, Row, Section, Spread

__all__ = ["measure"]

_SCRIPT: Final = """\
import time
began, cpu = time.perf_counter(), time.process_time()
import aiohttp
print(time.perf_counter() - began, time.process_time() - cpu)
began, cpu = time.perf_counter(), time.process_time()
import ioto_async.client
print(time.perf_counter() - began, time.process_time() - cpu)
"""
_AIOHTTP: Final = "import aiohttp"
_OURS: Final = "import ioto_async.client above import aiohttp"
_HELP: Final = "ioto-async --help"
_GOALS: Final = {_OURS: (60.0, 30.0), _HELP: (250.0, 150.0)}
_COLUMNS: Final = ("what", "ms", "quartiles", "CPU ms")


@attrs.frozen
class _Took:
    """Milliseconds by the clock and of CPU time."""

    wall: float
    cpu: float


def measure(rounds: int) -> Iterator[Piece]:
    """Measure each in fresh processes, in turns."""
    took: dict[str, list[_Took]] = {_AIOHTTP: [], _OURS: [], _HELP: []}
    references = []
    for turn in range(rounds + 1):
        found = [*_imports(), _help()]
        if turn:  # the first reads the files from the disk
            references.append(reference())
            for name, each in zip(took, found, strict=True):
                took[name].append(each)
    yield Section(title="Beginning", columns=_COLUMNS, legend=told(references))
    for name, all_ in took.items():
        spread = Spread.of([each.wall for each in all_])
        cpu = statistics.median(each.cpu for each in all_)
        cells = (name, f"{spread.median:.0f}", f"{spread.low:.0f} to {spread.high:.0f}", f"{cpu:.0f}")
        yield Row(cells=cells, raw={"what": name, "turns": [attrs.asdict(each) for each in all_]})
        if name in _GOALS:
            must, aim = _GOALS[name]
            yield Figure(what=name, found=spread, unit="ms", must=must, aim=aim, at_most=True, sides=brief(references))


def _imports() -> list[_Took]:
    """What it took to import aiohttp, and the client after that."""
    printed = subprocess.run([sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True).stdout
    return [_Took(*(float(seconds) * 1e3 for seconds in line.split())) for line in printed.splitlines()]


def _help() -> _Took:
    before, began = _children(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "ioto_async.cli", "--help"], check=True, stdout=subprocess.DEVNULL)
    return _Took((time.perf_counter() - began) * 1e3, (_children() - before) * 1e3)


def _children() -> float:
    """Seconds of CPU time of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
