"""The command: ``python -m benchmarks [--rounds N] [--only client|emulator|bulk|metrics|mqtt] [--json FILE]``."""

import argparse
from pathlib import Path

import orjson

from benchmarks import broker, bulk, client, emulator, links, machine, metrics

from .table import Row, render

_FEWEST = 8
"""Rounds below which httpx, which plays only in every fourth, has no two slices to compare."""
_LEGEND = """\
Medians, with the middle half in parentheses. ratio: calls/s against aiohttp + orjson, or as the name says, in the same
round; by CPU: the same of the CPU time. The bare protocol sends and counts, no more: the server can do at least that.
The CPU time of the emulator is its own, everywhere else it is the client's."""

_BULK_LEGEND = """\
Each way in a process of its own, in turns; medians, with the middle half in parentheses. grows: the peak of the
process's memory above what it had after a warm-up. stall: the longest time for which the event loop could do nothing
else."""

_METRICS_LEGEND = """\
In turns in one process, over 64 connections; medians, with the middle half in parentheses. ratio: values/s against
fetch of one item in 64 tasks, in the same round. Many tasks cost by themselves: the collector of garbage looks at all
of them again and again."""

_MQTT_LEGEND = """\
In turns in one process on one core, against the embedded cloud on another; medians, with the middle half in
parentheses. A sample counts when it is acknowledged, which is when the cloud has committed it. The last table is the
broker's own limit, found with a client that does no more than send and count."""


def main() -> None:
    """Measure and print."""
    options = _options()
    about = machine.describe()
    machine.keep_heap()
    machine.pin(machine.client_core())
    rows: list[Row] = []
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    if options.only in (None, "client"):
        rows += client.measure(options.rounds)
    if options.only in (None, "emulator"):
        rows += emulator.measure(options.rounds)
    if rows:
        print("", render(rows), _LEGEND, sep="\n\n")
    if options.only in (None, "bulk"):
        print("", bulk.measure(max(options.rounds // 8, 2)), _BULK_LEGEND, sep="\n\n")
    if options.only in (None, "metrics"):
        print("", metrics.measure(max(options.rounds // 16, 2)), _METRICS_LEGEND, sep="\n\n")
    if options.only in (None, "mqtt"):
        fewer = max(options.rounds // 8, 2)
        print("", links.measure(fewer), broker.measure(fewer), _MQTT_LEGEND, sep="\n\n")
    for row in rows:
        if row.met is False and row.warning:
            print(f"\nWARNING: {row.warning}")
    if options.json is not None:
        report = {"about": about, "rows": [row.plain() for row in rows]}
        options.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what a call costs.")
    parser.add_argument(
        "--rounds", type=int, default=48, help="turns of everyone but httpx, which gets a quarter (default %(default)s)"
    )
    parser.add_argument("--only", choices=("client", "emulator", "bulk", "metrics", "mqtt"), help="measure only this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to FILE too")
    options = parser.parse_args()
    if options.rounds < _FEWEST:
        parser.error(f"--rounds: at least {_FEWEST}, got {options.rounds}")
    return options


if __name__ == "__main__":
    main()
