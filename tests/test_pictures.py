"""The pictures of the documentation: what is recorded, how it is drawn, and that they are up to date."""

import importlib.util
from html import unescape
from typing import Any

import pytest

from tests.pages import ROOT
from tests.rows import each_row


def script(name: str) -> Any:
    """The program ``docs/NAME.py``."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


picture = script("picture")
floors = script("floors")


@each_row(
    "recording, shown",
    [
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("10 %\r\x1b[2K20 %\r\x1b[2K100 %\r\n", ["100 %"]),
        ("a\r\nb\r\n\r\x1b[1A\x1b[2K\x1b[1A\x1b[2Kc\r\nd\r\n", ["c", "d"]),
        ("\x1b[?25l\x1b[32mgreen\x1b[0m\r\n\x1b[?25h\r\n", ["\x1b[32mgreen\x1b[0m"]),
    ],
)
def test_the_last_screen_of_a_recording_is_shown(recording: str, shown: list[str]) -> None:
    assert picture.screen(recording) == shown


def test_a_picture_has_the_text_and_its_colours() -> None:
    drawn = picture.draw("ioto-async demo", ["\x1b[32ma & b\x1b[0m"], picture.LOOKS["dark"])
    assert unescape(drawn).count(">a\xa0&\xa0b<") == 1
    assert '#3fb950">a' in drawn
    assert picture.LOOKS["dark"].theme.background_color.hex in drawn


def test_a_command_is_recorded_as_a_terminal_shows_it(tmp_path: Any) -> None:
    shown = picture.screen(picture.record("ioto-async demo --help", tmp_path))
    assert "\x1b[1mUsage: " in shown[0]
    assert "ioto-async demo" in shown[0]
    with pytest.raises(RuntimeError, match="ioto-async nonsense has ended with"):
        picture.record("ioto-async nonsense", tmp_path)


@each_row("theme", ["light", "dark"])
def test_the_picture_of_the_demo_is_of_a_run_without_failures(theme: str) -> None:
    drawn = (ROOT / "docs" / f"demo-{theme}.svg").read_text("utf-8")
    assert picture.COMMAND in unescape(drawn).replace("\xa0", " ")
    assert "://" not in drawn.replace("http://www.w3.org/2000/svg", "")  # nothing of other hosts


@each_row("theme", ["light", "dark"])
def test_the_picture_of_the_floors_is_up_to_date(theme: str) -> None:
    drawn = (ROOT / "docs" / f"architecture-{theme}.svg").read_text("utf-8")
    assert drawn == floors.draw(floors.LOOKS[theme]), "run: python docs/floors.py"
