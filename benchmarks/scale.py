"""What a second core brings: two processes that call beside one, and the demo of a whole fleet."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks import machine

from .contenders import CONTENDERS, OURS, Target
from .reference import brief, reference
from .responder import responder
from .table import Figure, Piece, Row, Section, Spread, progress
from .turns import Seat, Slice, seated

__all__ = ["measure"]

_IN_FLIGHT: Final = 64
_SECONDS: Final = 0.5
_GOAL: Final = (1.6, 1.7)
_DEVICES: Final = 10_000
_DEMO_GOAL: Final = (15.0, 8.0)


def measure(rounds: int, *, quick: bool = False) -> Iterator[Piece]:
    """Measure both; if *quick*, without the demo."""
    yield from _processes(rounds)
    if not quick:
        yield from _demo()


def _processes(rounds: int) -> Iterator[Piece]:
    columns = ("processes", "calls/s", "quartiles", "CPU us")
    yield Section(title=f"Typed calls of two processes, {_IN_FLIGHT} in flight each", columns=columns)
    [ours] = [each for each in CONTENDERS if each.name == OURS and each.loop == "asyncio"]
    alone, both, cpu_alone, cpu_both = [], [], [], []
    with (
        responder() as server,
        tempfile.TemporaryDirectory() as folder,
        seated([ours], machine.client_core()) as first,
        seated([ours], machine.second_client_core()) as second,
    ):
        ca = Path(folder) / "ca.pem"
        ca.write_text(server.where.ca)
        seats = [*first, *second]
        for seat in seats:
            seat.open(Target(server.where.base("http"), str(ca), _IN_FLIGHT))
        for turn in range(rounds + 1):
            one, two = _play(first), _play(seats)
            if turn:
                alone.append(sum(1e6 / each.wall for each in one))
                both.append(sum(1e6 / each.wall for each in two))
                cpu_alone += [each.cpu for each in one]
                cpu_both += [each.cpu for each in two]
        for seat in seats:
            seat.close()
    for count, rates, cpu in ((1, alone, cpu_alone), (2, both, cpu_both)):
        rate = Spread.of(rates)
        spread = f"{rate.low:,.0f} to {rate.high:,.0f}"
        cells = (str(count), f"{rate.median:,.0f}", spread, f"{statistics.median(cpu):.1f}")
        yield Row(cells=cells, raw={"processes": count, "rates": rates, "cpu_us": cpu})
    must, aim = _GOAL
    yield Figure(
        what="two processes on two cores / one",
        found=Spread.of([two / one for one, two in zip(alone, both, strict=True)]),
        must=must,
        aim=aim,
        sides=f"{statistics.median(both):,.0f}/s / {statistics.median(alone):,.0f}/s",
    )


def _play(seats: list[Seat]) -> list[Slice]:
    """Let all of *seats* play at the same time."""
    for seat in seats:
        seat.start("play", _SECONDS)
    slices = [seat.end() for seat in seats]
    for seat in seats:
        if seat.failure is not None:
            raise RuntimeError(seat.failure.reason)
    return slices


def _demo() -> Iterator[Piece]:
    yield Section(title=f"ioto-async demo --devices {_DEVICES}", columns=("what", "seconds"))
    progress("the demo")
    references = [reference() for _ in range(5)]
    command = [sys.executable, "-m", "ioto_async.cli", "demo", "--devices", str(_DEVICES), "--json"]
    machine.pin(machine.client_core(), machine.server_core())
    try:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            done = subprocess.run([*command, "--out", folder], check=True, capture_output=True)
            seconds = time.perf_counter() - began
    finally:
        machine.pin(machine.client_core())
    yield Row(cells=("all of it", f"{seconds:.1f}"), raw={"seconds": seconds, "told": json.loads(done.stdout)})
    must, aim = _DEMO_GOAL
    what = f"demo of {_DEVICES:,} devices on two cores"
    yield Figure(
        what=what, found=Spread.of([seconds]), unit="s", must=must, aim=aim, at_most=True, sides=brief(references)
    )
