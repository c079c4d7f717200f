"""What the README and the page of figures show of a run, and the record that they are made of."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from .contenders import BARE, BASE, OURS
from .table import Spread, lines

__all__ = ["PAGE", "RECORD", "page", "plot", "publish", "readme", "record"]

RECORD: Final = Path("docs/speed.json")
"""Where the figures are kept."""
PAGE: Final = Path("docs/speed.md")
"""Where they all are: the table of the clients, and the figures that have goals."""
_INTRODUCTION: Final = """# Speed

`pip install -e '.[bench-peers]' && python -m benchmarks --publish .` compares a typed call with every other client, on
one core, in turns: over HTTP and HTTPS, on asyncio and uvloop. It also measures bulk runs beside workers by hand,
`asyncio.gather`, a `TaskGroup` and aiometer; batched reads beside one request for each value; samples over MQTT beside
aiomqtt; two processes beside one; the embedded cloud; and the time to start. `--only bulk` measures one of these, and
`--quick` measures all in two minutes. This page is written by the command.

## Clients"""
_GOALS: Final = """## Figures and goals

Each figure has a goal that it must reach and one that it aims at. Those that it does not reach are marked with `no`."""
_BLOCK: Final = re.compile(r"(?<=<!-- speed: begin -->\n).*?(?=<!-- speed: end -->)", re.DOTALL)
_CELLS: Final = tuple((scheme, in_flight) for scheme in ("http", "https") for in_flight in (64, 8, 1))
_RAW: Final = frozenset({"slices", "turns", "runs", "cells"})
"""What is in the JSON of a run and not in the record: every single turn."""

_THEMES: Final[Mapping[str, Mapping[str, str]]] = {
    "light": {"text": "#1f2328", "grid": "#d1d9e0", "ours": "#0969da", "limit": "#b7bdc4", "others": "#8c959f"},
    "dark": {"text": "#e6edf3", "grid": "#3d444d", "ours": "#4493f8", "limit": "#4d555e", "others": "#848d97"},
}

Client = tuple[str, str]
"""A client and its loop."""


def publish(report: Mapping[str, Any], folder: Path) -> None:
    """Write *report* into the README, the plots, the page and the record in *folder*, a checkout of the project.

    Raises:
        ValueError: the README has no place for it.
    """
    kept = record(report)
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8")
    if not _BLOCK.search(text):
        raise ValueError(f"{path}: expected the lines <!-- speed: begin --> and <!-- speed: end -->")
    path.write_text(_BLOCK.sub(lambda _: readme(kept), text), encoding="utf-8")
    (folder / PAGE).write_text(page(kept), encoding="utf-8")
    (folder / RECORD).write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    for theme in _THEMES:
        plot(kept, theme, folder / "docs" / f"speed-{theme}.svg")


def record(report: Mapping[str, Any]) -> dict[str, Any]:
    """*report* without its single turns, and with numbers no finer than they are known."""
    kept: dict[str, Any] = _lean(report)
    return kept


def _lean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _lean(each) for name, each in value.items() if name not in _RAW}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_lean(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


# The tables ---------------------------------------------------------------------------------------------------------


def readme(kept: Mapping[str, Any]) -> str:
    """What the README shows, in Markdown."""
    command = " ".join(kept["command"])
    text = f"Calls a second of each client, measured with `{command}`. All figures: [Speed]({PAGE})."
    return f"{_picture('docs/')}\n\n{text}\n\n"


def page(kept: Mapping[str, Any]) -> str:
    """The page of all figures, in Markdown."""
    parts = [_INTRODUCTION, _picture(), _clients(kept), _GOALS, _goals(kept), "## The run", _about(kept)]
    return "\n\n".join(parts) + "\n"


def _picture(folder: str = "") -> str:
    alt = f"Calls a second of each client, as a multiple of those of {BASE}"
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{folder}speed-dark.svg">'
        f'<img alt="{alt}" src="{folder}speed-light.svg"></picture>'
    )


def _clients(kept: Mapping[str, Any]) -> str:
    found = _found(kept)
    titles = ["client, loop", *(f"{scheme.upper()} {in_flight}" for scheme, in_flight in _CELLS)]
    titles += ["calls/s", "CPU us", "p50 ms", "p99 ms", "peak MiB"]
    rows = []
    for (name, loop), cells in _sorted(found):
        first = cells.get(_CELLS[0], {})
        row = [_title(name, loop)]
        if "missing" in first:
            rows.append([*row, "not installed", *[""] * (len(titles) - 2)])
            continue
        row += [_times(cells.get(cell, {})) for cell in _CELLS]
        if "rate" in first:
            row += [f"{first['rate']['median']:,.0f}", f"{first['cpu_us']:.0f}", f"{first['p50_ms']:.2f}"]
            row += [f"{first['p99_ms']:.2f}", f"{first['peak_mb']:.0f}"]
        rows.append([*row, *[""] * (len(titles) - len(row))])
    caption = (
        f"How many times as fast as {BASE} on asyncio, for 64, 8 and 1 calls in flight; calls/s and what follows are "
        "for HTTP and 64 in flight, with `device/get` of a server that does nothing."
    )
    return f"{caption}\n\n{lines(titles, rows)}"


def _title(name: str, loop: str) -> str:
    return name if loop == "asyncio" else f"{name}, {loop}"


def _times(row: Mapping[str, Any]) -> str:
    ratio = row.get("ratio")
    return f"{ratio['median']:.2f}" if ratio else "failed" if "failure" in row else ""


def _goals(kept: Mapping[str, Any]) -> str:
    titles = ("what", "found", "quartiles", "must", "aim", "met")
    rows = []
    for figure in kept["figures"]:
        found, unit = Spread(**figure["found"]), f" {figure['unit']}" if figure["unit"] else ""
        cells = [figure["what"], f"{found.number(found.median)}{unit}"]
        cells.append(f"{found.number(found.low)} to {found.number(found.high)}")
        cells += [f"{'<=' if figure['at_most'] else '>='} {figure['must']:,g}", f"{figure['aim']:,g}"]
        rows.append([*cells, "yes" if figure["met"] else "no"])
    return lines(titles, rows)


def _about(kept: Mapping[str, Any]) -> str:
    about = "\n".join(f"{name}: {value}  " for name, value in kept["about"].items())
    return f"`{' '.join(kept['command'])}`\n\n{about}"


def _found(kept: Mapping[str, Any]) -> dict[Client, dict[tuple[str, int], Mapping[str, Any]]]:
    """The rows of the clients, by client, and by scheme and calls in flight."""
    found: dict[Client, dict[tuple[str, int], Mapping[str, Any]]] = {}
    for row in _client_rows(kept):
        found.setdefault((row["client"], row["loop"]), {})[row["scheme"], row["in_flight"]] = row
    return found


def _client_rows(kept: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for theme in kept["themes"]:
        if theme["theme"] == "client":
            for section in theme["sections"]:
                yield from section["rows"]


def _sorted(
    found: Mapping[Client, Mapping[tuple[str, int], Mapping[str, Any]]],
) -> list[tuple[Client, Mapping[tuple[str, int], Mapping[str, Any]]]]:
    """Loop by loop, and the fastest first."""

    def key(item: tuple[Client, Mapping[tuple[str, int], Mapping[str, Any]]]) -> tuple[bool, float]:
        (_, loop), cells = item
        ratio = cells.get(_CELLS[0], {}).get("ratio")
        return loop == "uvloop", -ratio["median"] if ratio else 0.0

    return sorted(found.items(), key=key)


# The plot -----------------------------------------------------------------------------------------------------------


def plot(kept: Mapping[str, Any], theme: str, path: Path) -> None:
    """Draw the clients, those on uvloop excepted, as an SVG in the colours of *theme*: light or dark."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    colors = _THEMES[theme]
    rows = [(_title(*client), cells) for client, cells in _sorted(_found(kept)) if client[1] != "uvloop"]
    rows = [(name, cells) for name, cells in rows if any(_times(cell) for cell in cells.values())][::-1]
    # Text stays text, and the same figures make the same file.
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "speed", "font.size": 9, "text.color": colors["text"]}
    ):
        figure = Figure(figsize=(10, 0.42 * len(rows) + 1.2), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots(1, len(_CELLS), sharey=True)
        for axis, cell in zip(axes, _CELLS, strict=True):
            ratios = [(cells.get(cell, {}).get("ratio") or {"median": 0.0})["median"] for _, cells in rows]
            shades = [
                colors["ours" if name.startswith(OURS) else "limit" if name.startswith(BARE) else "others"]
                for name, _ in rows
            ]
            bars = axis.barh([name for name, _ in rows], ratios, color=shades)
            axis.bar_label(bars, [f"{ratio:.2g}" for ratio in ratios], padding=2, color=colors["text"], fontsize=8)
            axis.set_title(f"{cell[0].upper()}, {cell[1]}", fontsize=9, color=colors["text"])
            axis.margins(x=0.28)
            axis.axvline(1, color=colors["grid"], linewidth=1)
            axis.patch.set_alpha(0)
            axis.tick_params(colors=colors["text"], length=0)
            axis.set_xticks([])
            for side in axis.spines.values():
                side.set_visible(False)
        figure.suptitle(f"Calls a second, {BASE} = 1; by scheme and calls in flight", fontsize=10, color=colors["text"])
        figure.savefig(path, format="svg", metadata={"Date": None})
