"""How much memory a buffer takes."""

import asyncio
import tracemalloc
from typing import Any

import pytest

from .links import Link, writer

SAMPLES = 100_000
LIMIT = 64 << 20


class Quick(Link):
    """Acknowledges each sample a moment after it came, and remembers none."""

    async def set_metric(self, metric: str, value: float, **rest: Any) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("sort", ["few series", "each of its own"])
async def test_a_hundred_thousand_samples_are_held_and_sent_within_64_mib(sort: str) -> None:
    w, _ = writer(Quick(), count=SAMPLES, bytes=LIMIT, seconds=1000, capacity=SAMPLES, on_outcome=None)
    tracemalloc.start()
    try:
        async with w:
            for number in range(SAMPLES):
                device = number if sort == "each of its own" else number % 100
                metric = f"/city/{device}/temp"
                await w.write(metric, number / 10, dimensions={"Device": f"DEV{device:07}"})
            assert w.pending == SAMPLES
            await w.flush()
            assert (w.pending, w.summary.ok) == (0, SAMPLES)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= LIMIT
    assert now <= 8 << 20, "it is not given back"
