"""A fixed loop of pure Python, to read absolute figures by: on a machine where it takes twice as long, so may they."""

import time
from collections.abc import Collection
from typing import Final

from .table import Spread

__all__ = ["brief", "reference", "told"]

_STEPS: Final = 100_000


def reference() -> float:
    """Run the loop; the result is its CPU time in seconds."""
    began = time.process_time()
    total = 0
    for step in range(_STEPS):
        total = (total + step) & 0xFFFF
    return time.process_time() - began


def brief(found: Collection[float]) -> str:
    """What it took, for a cell of a table."""
    return f"reference loop {Spread.of(found).median * 1e3:.2f} ms"


def told(found: Collection[float]) -> str:
    """What it took, for the reader."""
    spread = Spread.of([seconds * 1e3 for seconds in found])
    return f"Reference loop, {_STEPS:,} steps of pure Python, in the same run: {spread.text(2)} ms."
