"""Draws the floors of the package, as ``tests/test_imports.py`` has them, in light and in dark.

Run it after a change of the floors or of what a folder says that it is for: ``python docs/floors.py``. It writes
``docs/architecture-light.svg`` and ``docs/architecture-dark.svg``; a test fails while they are stale.
"""

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = ROOT / "ioto_async"
EMULATOR: Final = "emulator"
SHARED: Final = "operations"
"""The one room that the embedded cloud reads as well."""

_WIDTH: Final = 390
_BESIDE: Final = 120
_GAP: Final = 10
_LETTER: Final = 6.3
"""Pixels that a letter of the text takes, at most."""


@attrs.frozen
class _Look:
    text: str
    muted: str
    line: str
    fill: str
    accent: str


LOOKS: Final[Mapping[str, _Look]] = {
    "light": _Look("#1f2328", "#59636e", "#d1d9e0", "#f6f8fa", "#ddf4ff"),
    "dark": _Look("#f0f6fc", "#9198a1", "#3d444d", "#151b23", "#0c2d4b"),
}


def floors() -> list[list[str]]:
    """Return the rooms of each floor, the highest first; those with an underscore are left out."""
    tree = ast.parse((ROOT / "tests" / "test_imports.py").read_text("utf-8"))
    (table,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "FLOORS"
    )
    rooms: dict[str, int] = ast.literal_eval(table)
    by_floor: dict[int, list[str]] = {}
    for room, floor in rooms.items():
        if not room.startswith("_"):
            by_floor.setdefault(floor, []).append(room)
    return [by_floor[floor] for floor in sorted(by_floor, reverse=True)]


def purpose(room: str) -> str:
    """Return what a *room* says that it is for, in the first sentence of its module."""
    path = PACKAGE / f"{room}.py"
    text = ast.get_docstring(ast.parse((path if path.exists() else PACKAGE / room / "__init__.py").read_text("utf-8")))
    assert text
    sentence = re.split(r"[;.](?:\s|$)", text.split("\n")[0])[0]
    return sentence.replace("``", "")


def draw(look: _Look) -> str:
    """Return the SVG of the floors."""
    left, y = _WIDTH + 2 * _GAP, _GAP
    whole = left + _BESIDE + _GAP
    parts: list[str] = []
    for rooms in floors():
        width = (_WIDTH - _GAP * (len(rooms) - 1)) / len(rooms)
        height = 30 + 14 * max(len(_wrapped(room, width)) for room in rooms)
        for place, room in enumerate(rooms):
            fill = look.accent if room == SHARED else look.fill
            parts += _box(room, _GAP + place * (width + _GAP), y, width, height, fill, look)
        y += height + _GAP
        if SHARED in rooms:
            parts += _box(EMULATOR, left, _GAP, _BESIDE, y - 2 * _GAP, look.fill, look)
            parts += _lines(["It imports", SHARED, "and nothing", "else."], left + 10, y - 62, look.muted)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {y}" width="{whole}" height="{y}">',
            "<title>The floors of ioto_async</title>",
            '<g font-family="system-ui, sans-serif" font-size="12">',
            *parts,
            "</g>",
            "</svg>",
            "",
        ]
    )


def _box(room: str, x: float, y: float, width: float, height: float, fill: str, look: _Look) -> Iterator[str]:
    yield (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" rx="6" fill="{fill}" stroke="{look.line}"/>'
    )
    yield f'<text x="{x + 10:.1f}" y="{y + 18}" font-weight="600" fill="{look.text}">{escape(room)}</text>'
    yield from _lines(_wrapped(room, width), x + 10, y + 34, look.muted)


def _wrapped(room: str, width: float) -> list[str]:
    return textwrap.wrap(purpose(room), int((width - 20) / _LETTER))


def _lines(lines: list[str], x: float, y: float, color: str) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f'<text x="{x:.1f}" y="{y + 14 * number}" fill="{color}">{escape(line)}</text>'


if __name__ == "__main__":
    for name, look in LOOKS.items():
        (ROOT / "docs" / f"architecture-{name}.svg").write_text(draw(look), "utf-8")
