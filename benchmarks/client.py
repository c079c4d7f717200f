"""A typed call through `IotoClient` against every other client that could do it: `contenders`, taking turns."""

import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from benchmarks import machine

from .contenders import BARE, BASE, BASE_MIDDLEWARE, CONTENDERS, OURS, OURS_MIDDLEWARE, Contender, Target
from .reference import told
from .request import IN_FLIGHT, SCHEMES
from .responder import responder
from .table import Figure, Piece, Row, Section, Spread, progress
from .turns import Seat, Slice, compare, seated, take_turns

__all__ = ["measure"]

_BASE_GOALS: Final = {64: (3.0, 3.5), 8: (2.6, 3.0), 1: (2.3, 2.5)}
"""What must be reached, and what is hoped for, against aiohttp + orjson."""
_FASTEST_GOALS: Final = {64: (1.0, 1.2), 8: (1.2, 1.4), 1: (1.6, 1.9)}
_MIDDLEWARE_GOAL: Final = (0.95, 1.05)
_BUSY: Final = 0.7
"""CPU time of the server for a call that may be seen, as a share of the client's: with more it is the limit."""

_COLUMNS: Final = (
    "client",
    "calls/s",
    "ratio",
    "quartiles",
    "CPU us",
    "CPU ratio",
    "p50 ms",
    "p99 ms",
    "peak MiB",
    "server us",
)
_LEGEND: Final = f"""\
Medians of slices. ratio: calls/s against {BASE} on asyncio in the same round, with its quartiles; CPU us: CPU time
of the client's process for a call; server us: that of the server. All clients take turns on one core, the server has
another."""


def measure(
    rounds: int,
    *,
    seconds: float,
    seed: int,
    pattern: str = "",
    schemes: Sequence[str] = SCHEMES,
    in_flight: Sequence[int] = IN_FLIGHT,
) -> Iterator[Piece]:
    """Measure the contenders whose title contains *pattern*, one set of rows for each scheme and number of calls.

    Args:
        rounds: turns of each.
        seconds: the length of a turn.
        seed: of the order within the rounds.
        pattern: `BASE` plays anyway.
        schemes: http, https.
        in_flight: how many calls there are at once.
    """
    wanted = [each for each in CONTENDERS if pattern.lower() in each.title.lower() or each.name == BASE]
    there = [each for each in wanted if not each.missing]
    with (
        responder() as server,
        tempfile.TemporaryDirectory() as folder,
        seated(there, machine.client_core()) as seats,
    ):
        ca = Path(folder) / "ca.pem"
        ca.write_text(server.where.ca)
        for scheme in schemes:
            for count in in_flight:
                progress(f"{len(seats)} clients over {scheme.upper()}, {count} in flight")
                target = Target(server.where.base(scheme), str(ca), count)
                references = take_turns(seats, target, rounds=rounds, seconds=seconds, seed=seed, server=server.cpu)
                yield Section(
                    title=f"device/get over {scheme.upper()}, {count} in flight",
                    columns=_COLUMNS,
                    legend=f"{_LEGEND}\n{told(references)}",
                )
                yield from _rows(wanted, {seat.contender: seat for seat in seats}, scheme, count)
                yield from _figures(seats, scheme, count, complete=not pattern)


def _rows(wanted: Sequence[Contender], seats: Mapping[Contender, Seat], scheme: str, in_flight: int) -> Iterator[Row]:
    base = next((seat.slices for each, seat in seats.items() if each.name == BASE and each.loop == "asyncio"), {})
    for contender in wanted:
        seat = seats.get(contender)
        raw = {"client": contender.name, "loop": contender.loop, "scheme": scheme, "in_flight": in_flight}
        if seat is None:
            why = f"not installed: {', '.join(contender.missing)}"
            yield Row(cells=_cells(contender.title, why), raw=raw | {"missing": contender.missing})
        elif seat.failure or seat.summary is None or not seat.slices:
            why = seat.failure.reason if seat.failure else "did nothing"
            yield Row(cells=_cells(contender.title, f"failed: {why}"), raw=raw | {"failure": why})
        else:
            yield _row(seat, base, raw)


def _cells(*cells: str) -> list[str]:
    return [*cells, *[""] * (len(_COLUMNS) - len(cells))]


def _row(seat: Seat, base: Mapping[int, Slice], raw: Mapping[str, object]) -> Row:
    assert seat.summary is not None
    slices = list(seat.slices.values())
    rate = Spread.of([1e6 / slice_.wall for slice_ in slices])
    cpu = statistics.median(slice_.cpu for slice_ in slices)
    server = statistics.median(slice_.server for slice_ in slices)
    ratio = cpu_ratio = None
    cells = [seat.contender.title, f"{rate.median:,.0f}", "", "", f"{cpu:.1f}", ""]
    if base:
        ratio = Spread.of(compare(seat.slices, base))
        cpu_ratio = statistics.median(compare(seat.slices, base, cpu=True))
        cells[2:4] = f"{ratio.median:.2f}", f"{ratio.low:.2f} to {ratio.high:.2f}"
        cells[5] = f"{cpu_ratio:.2f}"
    summary = seat.summary
    cells += [f"{summary.p50:.2f}", f"{summary.p99:.2f}", f"{summary.peak:.0f}", f"{server:.1f}"]
    figures = {
        "rate": attrs.asdict(rate),
        "ratio": attrs.asdict(ratio) if ratio else None,
        "cpu_us": cpu,
        "cpu_ratio": cpu_ratio,
        "p50_ms": summary.p50,
        "p99_ms": summary.p99,
        "peak_mb": summary.peak,
        "server_us": server,
        "slices": [attrs.asdict(slice_) for slice_ in slices],
    }
    return Row(cells=cells, raw={**raw, **figures})


# Goals --------------------------------------------------------------------------------------------------------------


def _figures(seats: Sequence[Seat], scheme: str, in_flight: int, *, complete: bool) -> Iterator[Piece]:
    played = {(seat.contender.name, seat.contender.loop): seat for seat in seats if seat.slices and not seat.failure}
    for loop in ("asyncio", "uvloop"):
        where = f"{scheme.upper()}, {loop}, {in_flight} in flight"
        ours, base = played.get((OURS, loop)), played.get((BASE, loop))
        if ours and base:
            yield _figure(f"typed call / {BASE}; {where}", ours, base, _BASE_GOALS[in_flight])
        fastest = _fastest(played, loop)
        if ours and fastest and complete:
            what = f"typed call / the fastest other client; {where}"
            yield _figure(what, ours, fastest, _FASTEST_GOALS[in_flight])
        ours, base = played.get((OURS_MIDDLEWARE, loop)), played.get((BASE_MIDDLEWARE, loop))
        if ours and base:
            yield _figure(f"with a user's middleware / {BASE_MIDDLEWARE}; {where}", ours, base, _MIDDLEWARE_GOAL)
    for seat in played.values():
        busy = statistics.median(slice_.server / slice_.cpu for slice_ in seat.slices.values())
        if seat.contender.name != BARE and in_flight > 1 and busy > _BUSY:
            yield (
                f"WARNING: for {seat.contender.title} the server needs {busy * 100:.0f} % of the CPU time that the "
                "client does: it may be what was measured"
            )


def _fastest(played: Mapping[tuple[str, str], Seat], loop: str) -> Seat | None:
    """The fastest of the others on *loop*; the transports of aiofastnet work with asyncio's."""
    loops = {loop, "aiofastnet"} if loop == "asyncio" else {loop}
    none_of_them = {OURS, OURS_MIDDLEWARE, BARE}
    others = [seat for (name, its), seat in played.items() if name not in none_of_them and its in loops]
    return min(others, key=lambda seat: statistics.median(each.wall for each in seat.slices.values()), default=None)


def _figure(what: str, ours: Seat, theirs: Seat, goal: tuple[float, float]) -> Figure:
    must, aim = goal
    sides = " / ".join(
        f"{seat.contender.title} {1e6 / statistics.median(each.wall for each in seat.slices.values()):,.0f}/s"
        for seat in (ours, theirs)
    )
    by_cpu = statistics.median(compare(ours.slices, theirs.slices, cpu=True))
    found = Spread.of(compare(ours.slices, theirs.slices))
    return Figure(what=what, found=found, must=must, aim=aim, sides=f"{sides}; by CPU time {by_cpu:.2f}")
