"""What it takes to begin: importing the client where aiohttp is there already, and ``ioto-async --help``."""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from .reference import reference, told
from .table import Figure, Piece, Row, Section, Spread

__all__ = ["measure"]

_IMPORT: Final = """\
import time
began = time.perf_counter()
import aiohttp
middle = time.perf_counter()
import ioto_async.client
print(middle - began, time.perf_counter() - middle)
"""
_HELP: Final = [sys.executable, "-m", "ioto_async.cli", "--help"]
_COLUMNS: Final = ("what", "ms", "quartiles")


def measure(rounds: int) -> Iterator[Piece]:
    """Measure each in fresh processes, in turns."""
    aiohttp, ours, help_, references = [], [], [], []
    for turn in range(rounds + 1):
        found = subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True, text=True).stdout
        began = time.perf_counter()
        subprocess.run(_HELP, check=True, stdout=subprocess.DEVNULL)
        took = time.perf_counter() - began
        if turn:  # the first reads the files from the disk
            theirs, mine = map(float, found.split())
            aiohttp.append(theirs * 1e3)
            ours.append(mine * 1e3)
            help_.append(took * 1e3)
            references.append(reference())
    yield Section(title="Beginning", columns=_COLUMNS, legend=told(references))
    for what, numbers in (
        ("import aiohttp", aiohttp),
        ("import ioto_async.client above that", ours),
        ("ioto-async --help", help_),
    ):
        spread = Spread.of(numbers)
        cells = (what, f"{spread.median:.0f}", f"{spread.low:.0f} to {spread.high:.0f}")
        yield Row(cells=cells, raw={"what": what, "ms": numbers})
    for what, numbers, must, aim in (
        ("import ioto_async.client above import aiohttp", ours, 60, 30),
        ("ioto-async --help", help_, 250, 150),
    ):
        yield Figure(
            what=what, found=Spread.of(numbers), unit="ms", must=must, aim=aim, at_most=True, sides=told(references)
        )
