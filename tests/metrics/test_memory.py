"""How much memory a buffer takes."""

import asyncio
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ioto_async import Sample, Writer
from ioto_async.metrics.automation import AutomationSink
from ioto_async.metrics.model import ModelSink
from tests.rawserver import client_of

from .links import Link, writer

pytestmark = pytest.mark.slow

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


class QuickAutomation(AutomationSink):
    """The same, over automations."""

    async def send(self, samples: Sequence[Sample]) -> None:
        await asyncio.sleep(0)


class QuickModel(ModelSink):
    """The same, over models."""

    async def send(self, samples: Sequence[Sample]) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("sort", ["samples with a time", "updates of an item"])
async def test_a_hundred_thousand_that_wait_for_each_other_are_held_within_64_mib(sort: str) -> None:
    client = client_of("https://cloud.example")
    dated = sort == "samples with a time"
    way = (
        QuickAutomation(client.metric._transport, name="AddSample")
        if dated
        else QuickModel(client.metric._transport, None, model="Climate")
    )
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    w = Writer(way, count=SAMPLES, bytes=LIMIT, seconds=1000, capacity=SAMPLES)
    tracemalloc.start()
    try:
        async with client, w:
            for number in range(SAMPLES):
                timestamp = begin + timedelta(seconds=number) if dated else None
                await w.write("temp", number / 10, dimensions={"Device": "DEV0000001"}, timestamp=timestamp)
            await w.flush()
            assert w.summary.ok == SAMPLES
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= LIMIT
    assert now <= 8 << 20, "it is not given back"
