"""Many tasks, little room, a link that fails in every way: every sample comes to one end, and nobody waits forever."""

import asyncio
import math
import random
import sys
from contextlib import suppress
from typing import Any

import pytest

from ioto_async import BadRequestError, BufferFullError, RetryPolicy, UnwrittenError, Writer
from ioto_async.metrics import outage
from tests.bulk.calls import others
from tests.rawserver import GUARD

from .links import Link, away, in_doubt, statuses, writer

pytestmark = pytest.mark.slow


class Moody(Link):
    """Acknowledges, fails or dawdles, as the dice say.

    Attributes:
        taken: the values that it has acknowledged.
        doubtful: those that it may have taken.
        refused: those that it has not taken, and will not.
    """

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice
        self.taken: list[float] = []
        self.doubtful: set[float] = set()
        self.refused: set[float] = set()

    async def set_metric(self, metric: str, value: float, **rest: Any) -> None:
        self.doubtful.add(value)
        for _ in range(self._dice.randrange(4)):
            await asyncio.sleep(0)
        self.doubtful.discard(value)
        mood = self._dice.random()
        if mood < 0.3:
            raise away()
        if mood < 0.35:
            self.doubtful.add(value)
            raise in_doubt()
        if mood < 0.4:
            self.refused.add(value)
            raise BadRequestError("no", operation="metric/set", status=400)
        self.taken.append(value)


async def write_some(w: Writer, numbers: list[int], dice: random.Random, accepted: set[str], maybe: set[str]) -> None:
    """Write samples, with changes of mind in between."""
    for number in numbers:
        task = asyncio.create_task(w.write("m" * dice.randrange(1, 40), number, key=str(number)))
        if dice.random() < 0.2:
            for _ in range(dice.randrange(6)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            maybe.add(str(number))
        elif isinstance(task.exception(), BufferFullError):
            continue
        else:
            task.result()
            accepted.add(str(number))
        if dice.random() < 0.05:
            await w.flush()


@pytest.mark.parametrize("run", range(20))
async def test_every_accepted_sample_has_one_outcome_which_is_true(run: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "_WAITS", RetryPolicy(attempts=10**9, elapsed=math.inf, base=0))
    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"the run follows from seed {seed}\n")  # shown if the test fails
    dice = random.Random(seed)
    link = Moody(dice)
    w, told = writer(
        link,
        count=dice.randrange(1, 10),
        capacity=dice.randrange(1, 10),
        capacity_bytes=dice.randrange(20, 200),
        concurrency=dice.randrange(1, 10),
        seconds=0,
        patience=GUARD,
    )
    accepted: set[str] = set()
    cancelled: set[str] = set()
    ended_early = dice.random() < 0.5
    parts = [[*range(start, 400, 8)] for start in range(8)]
    with suppress(UnwrittenError):
        async with asyncio.timeout(GUARD), w:
            await asyncio.gather(*(write_some(w, part, dice, accepted, cancelled) for part in parts))
            if ended_early:
                await w.aclose(grace=0)
    found = statuses(told)
    assert (w.pending, others()) == (0, set())
    # A write that was cancelled has done nothing.
    assert found.keys() == accepted
    assert not found.keys() & cancelled
    by = {status: {key for key in found if found[key] == status} for status in ("ok", "failed", "unknown")}
    assert by["ok"] == {str(int(value)) for value in link.taken}
    assert len(link.taken) == len(by["ok"]), "a sample was sent twice"
    assert by["unknown"] == {str(int(value)) for value in link.doubtful}
    assert by["failed"] >= {str(int(value)) for value in link.refused}
    if not ended_early:
        assert by["failed"] == {str(int(value)) for value in link.refused}
