"""The command: ``python -m benchmarks [--only THEME ...] [--quick] [--json FILE]``."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from benchmarks import machine

from .request import IN_FLIGHT, SCHEMES
from .table import Figure, Piece, Row, Section, figures

_ROUNDS: Final = 12
_QUICK_ROUNDS: Final = 3
_SECONDS: Final = 0.1
_QUICK_SECONDS: Final = 0.03


@attrs.frozen
class _Pace:
    """How much is measured."""

    rounds: int
    seconds: float
    seed: int
    quick: bool
    clients: str
    schemes: Sequence[str]
    in_flight: Sequence[int]

    def some(self, full: int) -> int:
        """Rounds of what takes longer: *full* of them, one if it has to be quick."""
        return 1 if self.quick else full


def _measure(module: str, rounds: int, **more: Any) -> Iterable[Piece]:
    """What `measure` of *module* gives.

    The module is imported only now: the processes beside this one import this one, and their memory is measured.
    """
    found: Iterable[Piece] | str = import_module(f"benchmarks.{module}").measure(rounds, **more)
    return [found] if isinstance(found, str) else found


def _client(pace: _Pace) -> Iterable[Piece]:
    more = {"pattern": pace.clients, "schemes": pace.schemes, "in_flight": pace.in_flight}
    return _measure("client", pace.rounds, seconds=pace.seconds, seed=pace.seed, **more)


THEMES: Final[Mapping[str, Callable[[_Pace], Iterable[Piece]]]] = {
    "client": _client,
    "bulk": lambda pace: _measure("bulk", pace.some(3), seed=pace.seed, quick=pace.quick),
    "metrics": lambda pace: _measure("metrics", pace.some(3)),
    "conversion": lambda pace: _measure("conversion", 5 * pace.some(3)),
    "startup": lambda pace: _measure("startup", 3 * pace.some(4)),
    "scale": lambda pace: _measure("scale", 3 * pace.some(3), quick=pace.quick),
    "emulator": lambda pace: _measure("emulator", 3 * pace.some(3)),
    "mqtt": lambda pace: chain.from_iterable(_measure(module, pace.some(3)) for module in ("links", "broker")),
}


class _Report:
    """Prints what is found as it comes, and keeps it."""

    def __init__(self) -> None:
        self.themes: list[dict[str, Any]] = []
        self.figures: list[Figure] = []

    def take(self, theme: str, pieces: Iterable[Piece]) -> None:
        """Print the *pieces* of a theme."""
        kept: dict[str, Any] = {"theme": theme, "sections": [], "text": []}
        self.themes.append(kept)
        began = time.perf_counter()
        section: Section | None = None
        for piece in pieces:
            if isinstance(piece, Section):
                section = piece
                kept["sections"].append({"title": piece.title, "columns": list(piece.columns), "rows": []})
                _say(f"\n{piece.head()}")
            elif isinstance(piece, Row):
                assert section is not None
                kept["sections"][-1]["rows"].append({"cells": list(piece.cells), **piece.raw})
                _say(section.line(piece.cells))
            elif isinstance(piece, Figure):
                self.figures.append(piece)
            else:
                kept["text"].append(piece)
                _say(f"\n{piece}")
        kept["seconds"] = time.perf_counter() - began
        _say(f"\n{theme}: {kept['seconds']:.0f} s in all")

    def plain(self) -> dict[str, Any]:
        """What was found, for JSON."""
        return {"themes": self.themes, "figures": [figure.plain() for figure in self.figures]}


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    """Measure, print and write."""
    options = _options()
    about = machine.describe()
    machine.keep_heap()
    machine.pin(machine.client_core())
    _say("\n".join(f"{name}: {value}" for name, value in about.items()))
    names = [field.name for field in attrs.fields(_Pace)]
    pace = _Pace(**{name: getattr(options, name) for name in names})
    report = _Report()
    for theme in options.only or THEMES:
        report.take(theme, THEMES[theme](pace))
        found = {"command": ["python", "-m", "benchmarks", *sys.argv[1:]], "about": about, **report.plain()}
        if options.json is not None:  # after each, so that what was measured is not lost with what fails
            options.json.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if report.figures:
        _say(f"\n### Figures with a goal\n\n{figures(report.figures)}")
    if options.publish is not None:
        from .publish import publish

        publish(found, options.publish)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what a call costs.")
    parser.add_argument("--only", choices=THEMES, nargs="+", metavar="THEME", help=f"only {', '.join(THEMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns: less than two minutes for all")
    parser.add_argument("--rounds", type=int, help=f"turns of each client; {_ROUNDS}, or {_QUICK_ROUNDS} with --quick")
    parser.add_argument(
        "--seconds", type=float, help=f"the length of a turn; {_SECONDS}, or {_QUICK_SECONDS} with --quick"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the order within a round (default %(default)s)")
    parser.add_argument(
        "--clients", default="", metavar="TEXT", help="of the clients only those with TEXT in their name"
    )
    parser.add_argument("--schemes", choices=SCHEMES, nargs="+", default=SCHEMES)
    parser.add_argument("--in-flight", type=int, choices=IN_FLIGHT, nargs="+", default=IN_FLIGHT)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, of every turn too, to FILE")
    parser.add_argument(
        "--publish",
        type=Path,
        metavar="FOLDER",
        help="write the figures, the plots and the record into README.md and docs of FOLDER, a checkout",
    )
    options = parser.parse_args()
    options.rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS)
    options.seconds = options.seconds or (_QUICK_SECONDS if options.quick else _SECONDS)
    if options.publish is not None and ("client" not in (options.only or THEMES) or options.clients):
        parser.error("--publish: needs the theme client, with all clients")
    if options.rounds < 2:
        parser.error(f"--rounds: at least 2, got {options.rounds}")
    return options


if __name__ == "__main__":
    main()
