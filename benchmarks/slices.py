"""Taking turns: everyone gets a short slice in every round, in an order of its own."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs

__all__ = ["Player", "Slice", "compare", "take_turns", "workers"]


@attrs.frozen
class Slice:
    """What one call cost in one slice, in microseconds; or two of them divided."""

    wall: float
    cpu: float


@attrs.frozen
class Player:
    """Who takes turns: how to do a number of calls, how many in a slice, and in which rounds (every so many)."""

    play: Callable[[int], Awaitable[None]]
    calls: int
    every: int = 1


def workers(call: Callable[[], Awaitable[object]], in_flight: int) -> Callable[[int], Awaitable[None]]:
    """Make a function that does a number of calls, *in_flight* of them at once."""

    async def play(calls: int) -> None:
        left = iter(range(calls))

        async def work() -> None:
            for _ in left:
                await call()

        await asyncio.gather(*(work() for _ in range(in_flight)))

    return play


async def take_turns(
    players: Mapping[str, Player], rounds: int, *, cpu: Callable[[], float] = time.process_time
) -> dict[str, dict[int, Slice]]:
    """Give every player its slice in every round, after one to warm up; the result is by name and round.

    Args:
        players: who plays, by name.
        rounds: how many.
        cpu: the seconds of CPU time that are looked at; this process's by default.
    """
    slices: dict[str, dict[int, Slice]] = {name: {} for name in players}
    for player in players.values():
        await player.play(player.calls)
    for turn in range(rounds):
        names = [name for name, player in players.items() if turn % player.every == 0]
        # The same shuffles in every run; a fixed order would give each the same one to clean up after.
        random.Random(turn).shuffle(names)
        for name in names:
            slices[name][turn] = await _timed(players[name], cpu)
    return slices


async def _timed(player: Player, cpu: Callable[[], float]) -> Slice:
    cpu_before, before = cpu(), time.perf_counter()
    await player.play(player.calls)
    wall, cpu_used = time.perf_counter() - before, cpu() - cpu_before
    return Slice(wall / player.calls * 1e6, cpu_used / player.calls * 1e6)


def compare(ours: Mapping[int, Slice], theirs: Mapping[int, Slice]) -> Sequence[Slice]:
    """*theirs* divided by *ours*: how many times as fast and as cheap ours was, in each round that both played."""
    pairs = [(ours[turn], theirs[turn]) for turn in ours.keys() & theirs.keys()]
    return [Slice(their.wall / our.wall, their.cpu / our.cpu) for our, their in pairs]
