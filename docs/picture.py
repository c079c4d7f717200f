"""Records a command as it runs in a terminal and draws the last screen as SVG, in light and in dark.

Run it after a change of what the demo prints: ``python docs/picture.py``. It writes ``docs/demo-light.svg`` and
``docs/demo-dark.svg``. The pictures hold what the command printed, and need nothing from other hosts to be shown.
"""

import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from fcntl import ioctl
from html import escape
from io import StringIO
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Final

import attrs
from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme

COMMAND: Final = "ioto-async demo --out demo"
FOLDER: Final = Path(__file__).parent
COLUMNS: Final = 80
_CELL: Final = 8.43
_LINE: Final = 20
_MARGIN: Final = 20
_ESCAPE: Final = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|(.)", re.DOTALL)


@attrs.frozen
class _Look:
    """The colours of a picture: those of its frame, and those of a terminal."""

    frame: str
    theme: TerminalTheme


_DARK: Final = [(110, 118, 129), (255, 123, 114), (63, 185, 80), (210, 153, 34), (88, 166, 255), (188, 140, 255)]
_LIGHT: Final = [(36, 41, 47), (207, 34, 46), (17, 99, 41), (77, 45, 0), (9, 105, 218), (130, 80, 223)]

LOOKS: Final[Mapping[str, _Look]] = {
    "light": _Look("#d1d9e0", TerminalTheme((255, 255, 255), (31, 35, 40), [*_LIGHT, (27, 124, 131), (110, 119, 129)])),
    "dark": _Look("#3d444d", TerminalTheme((13, 17, 23), (230, 237, 243), [*_DARK, (57, 197, 207), (177, 186, 196)])),
}


def record(command: str, folder: Path) -> str:
    """Run *command* in *folder*, in a terminal of its own, and return all that it wrote there.

    Raises:
        RuntimeError: the command has failed.
    """
    program, *arguments = shlex.split(command)
    assert program == "ioto-async"
    here, there = pty.openpty()
    ioctl(there, TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "ioto_async.cli", *arguments],
        cwd=folder, env=environ, stdin=there, stdout=there, stderr=there,
    )  # fmt: skip
    os.close(there)
    chunks = []
    try:
        while chunk := os.read(here, 65536):
            chunks.append(chunk)
    except OSError:
        pass  # how Linux says that the other end of a terminal is closed
    os.close(here)
    text = b"".join(chunks).decode()
    if status := child.wait():
        raise RuntimeError(f"{command} has ended with {status}: {text}")
    return text


def screen(recording: str) -> list[str]:
    """Return the lines that a terminal shows after a *recording*: colours as they came, movements carried out.

    What rich writes is understood: line ends, cursor up, and erase line.
    """
    lines, row = [""], 0
    for numbers, letter, char in _ESCAPE.findall(recording):
        if char == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif letter == "A":
            row = max(0, row - int(numbers or 1))
        elif letter == "K":
            lines[row] = ""
        elif letter == "m":
            lines[row] += f"\x1b[{numbers}m"
        elif char and char != "\r":
            lines[row] += char
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def draw(command: str, lines: list[str], look: _Look) -> str:
    """Return an SVG of a terminal in which *command* has written *lines*."""
    console = Console(width=COLUMNS, file=StringIO(), color_system="truecolor", force_terminal=True)
    decoder = AnsiDecoder()
    rows = [decoder.decode_line(line) for line in (f"\x1b[2m$\x1b[0m \x1b[1m{command}\x1b[0m", *lines)]
    width, height = round(COLUMNS * _CELL + 2 * _MARGIN), len(rows) * _LINE + 2 * _MARGIN
    fill = look.theme.background_color.hex
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{escape(command)}, as a terminal shows it</title>",
        f'<rect x="1" y="1" width="{width - 2}" height="{height - 2}" rx="8" stroke="{look.frame}" fill="{fill}"/>',
        '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14">',
    ]
    for number, row in enumerate(rows):
        column, y = 0, _MARGIN + number * _LINE + 15
        for segment in row.render(console, end=""):
            text, style = segment.text, segment.style or Style.null()
            if text.strip():  # spaces are no-break ones, as SVG joins others
                parts.append(
                    f'<text x="{_MARGIN + column * _CELL:.2f}" y="{y}" textLength="{len(text) * _CELL:.2f}"'
                    f"{_attributes(style, look.theme)}>{escape(text).replace(' ', chr(160))}</text>"
                )
            column += len(text)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _attributes(style: Style, theme: TerminalTheme) -> str:
    color = style.color.get_truecolor(theme).hex if style.color else theme.foreground_color.hex
    return f' fill="{color}"' + ' font-weight="bold"' * bool(style.bold) + ' opacity="0.7"' * bool(style.dim)


def main() -> None:
    """Record the demo and write its pictures."""
    with tempfile.TemporaryDirectory() as folder:
        lines = screen(record(COMMAND, Path(folder)))
    for name, look in LOOKS.items():
        (FOLDER / f"demo-{name}.svg").write_text(draw(COMMAND, lines, look), "utf-8")


if __name__ == "__main__":
    main()
