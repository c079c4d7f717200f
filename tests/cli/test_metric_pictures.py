"""What ``ioto-async metric get --graph`` and ``--plot`` draw."""

import io
import math
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ioto_async.cli.metric.pictures import Series, draw, plot
from ioto_async.models import Metric, Point
from tests.rawserver import GUARD
from tests.rows import each_row

from .metrics import NOW, Metrics

pytest.importorskip("matplotlib", reason="matplotlib comes with the extra all")
pytest.importorskip("plotext", reason="plotext comes with the extra all")

PNG = b"\x89PNG\r\n\x1a\n"
BRAILLE = re.compile("[\u2801-\u28ff]")


def series(
    values: list[float | None], *, step: float = 7200, period: float = 86_400, unit: str | None = None
) -> Series:
    """Points up to now; None is one without samples."""
    first = NOW - timedelta(seconds=step * (len(values) - 1))
    points = [
        Point(value=value or 0, count=0 if value is None else 3, timestamp=first + timedelta(seconds=step * place))
        for place, value in enumerate(values)
    ]
    metric = Metric(dimensions={"Device": "DEV1"}, period=period, samples=len(values), points=points)
    return Series.of(metric, "DEV1", "temperature", "avg", unit=unit)


def drawn(shown: Series, *, width: int = 80) -> list[str]:
    return draw(shown, width=width, height=18, colour=False).splitlines()


def canvas(picture: list[str]) -> list[str]:
    """What is between the axes."""
    return [re.split("[┤│]", line)[1] for line in picture if re.search("[┤│]", line)]


def left_of(picture: list[str]) -> list[str]:
    """The labels of the values, from above."""
    return [line.partition("┤")[0].strip() for line in picture if "┤" in line]


# In the terminal --------------------------------------------------------------------------------------------------


def test_the_graph_has_title_units_and_round_ticks() -> None:
    picture = drawn(series([20 + math.sin(place) for place in range(12)], unit="°C"))
    assert picture[0].strip() == "temperature of DEV1: avg, points of 2h"
    assert left_of(picture) == ["20.5", "20", "19.5"]
    assert re.split(r"\s+", picture[-2].strip()) == ["16:00", "20:00", "01", "May", "04:00", "08:00", "12:00"]
    assert re.split(r"\s{2,}", picture[-1]) == ["avg (°C)", "time (UTC), 30 Apr 2026 to 01 May 2026"]


def test_points_without_samples_are_a_gap_and_no_zeros() -> None:
    picture = drawn(series([20, 21, 22, None, None, None, None, 22, 21, 20, 21, 22]))
    assert left_of(picture) == ["22", "21.5", "21", "20.5", "20"]
    rows = canvas(picture)
    columns = "".join("." if any(row[place] != " " for row in rows) else " " for place in range(len(rows[0])))
    assert max(map(len, re.findall(" +", columns))) > len(columns) / 3  # four of the twelve points are not there


def test_a_point_between_two_gaps_is_seen() -> None:
    picture = "".join(canvas(drawn(series([None, 20, None, 22, None]))))
    assert picture.count("•") == 2


def test_a_single_point_is_at_the_end_of_its_period() -> None:
    picture = drawn(series([21.5]))
    assert "".join(canvas(picture)).count("•") == 1
    assert left_of(picture) == ["21.5"]
    assert picture[0].strip() == "temperature of DEV1: avg, one point for 1d"


@each_row("width", [40, 80, 200])
def test_the_graph_is_as_wide_as_the_terminal(width: int) -> None:
    picture = drawn(series([float(place) for place in range(12)]), width=width)
    assert max(map(len, picture)) == width


@each_row(
    "count, step, labels",
    [
        (12, 300, ["11:10", "11:20", "11:30", "11:40", "11:50", "12:00"]),
        (10, 30, ["11:56", "11:57", "11:58", "11:59", "12:00"]),
        (14, 43_200, ["25 Apr", "26 Apr", "27 Apr", "28 Apr", "29 Apr", "30 Apr", "01 May"]),
        (12, 2_628_000, ["Jul 2025", "Sep 2025", "Nov 2025", "Jan 2026", "Mar 2026", "May 2026"]),
        (6, 2, ["11:59:50", "11:59:55", "12:00:00"]),
    ],
)
def test_ticks_are_round_times(count: int, step: float, labels: list[str]) -> None:
    picture = drawn(series([float(place) for place in range(count)], step=step, period=count * step))
    found = re.sub(r"(\d\d) (\w{3})", r"\1_\2", re.sub(r"(\w{3}) (\d{4})", r"\1_\2", picture[-2]))
    assert [word.replace("_", " ") for word in found.split()] == labels


@each_row(
    "values, labels",
    [
        ([1_000_000, 1_009_000], ["1,008,000", "1,006,000", "1,004,000", "1,002,000", "1,000,000"]),
        ([0, 0.0015], ["0.0015", "0.001", "0.0005", "0"]),
        ([-5, 5], ["4", "2", "0", "-2", "-4"]),
        ([7, 7], ["7"]),
    ],
)
def test_values_are_round(values: list[float | None], labels: list[str]) -> None:
    assert left_of(drawn(series(values))) == labels


def test_there_is_no_colour_but_in_a_terminal() -> None:
    shown = series([1, 2, 3])
    assert "\x1b" not in draw(shown, width=60, height=12, colour=False)
    assert "\x1b" in draw(shown, width=60, height=12, colour=True)


def test_graph_draws_instead_of_the_table(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    for place in range(6):
        metrics.add("DEV1", 20 + place, ago=20_000 - place * 3600)
    result = metrics("get", "DEV1", "temperature", "--graph", "--unit", "K")
    picture = result.stdout.splitlines()
    assert (result.status, len(picture), max(map(len, picture))) == (0, 20, 70)
    assert "samples" not in result.stdout
    assert picture[-1].startswith("avg (K) ")
    assert BRAILLE.search(result.stdout)
    both = metrics("get", "DEV1", "temperature", "--graph", "--output", "table").stdout
    assert "samples" in both
    assert BRAILLE.search(both)


def test_the_graph_does_with_what_stdout_can_encode(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    for ago in (20_000, 12_000, 1):
        metrics.add("DEV1", ago, ago=ago)

    @each_row("encoding, unit", [("ascii", "?C"), ("latin-1", "°C")])
    def check(encoding: str, unit: str) -> None:
        pipe = io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding=encoding))
            result = metrics("get", "DEV1", "temperature", "--graph", "--output", "table", "--unit", "°C")
            sys.stdout.flush()
            text = pipe.getvalue().decode(encoding)
        assert (result.status, "?" in text.replace("?C", ""), f"avg ({unit})" in text) == (0, False, True)
        assert sum("|" in line and "*" in line for line in text.splitlines()) > 5

    check()


def test_nothing_is_drawn_of_no_samples(metrics: Metrics) -> None:
    metrics.add("DEV1", 20, ago=80_000)
    result = metrics("get", "DEV1", "temperature", "--graph", "--period", "5m", "--plot", metrics.folder / "x.png")
    assert (result.status, result.stdout) == (0, "")
    assert result.stderr == "ioto-async: no samples, so there is nothing to draw\n"
    assert not (metrics.folder / "x.png").exists()


def test_in_a_terminal_the_graph_has_its_width_and_colours(metrics: Metrics) -> None:
    for place in range(6):
        metrics.add("DEV1", 20 + place, ago=20_000 - place * 3600)
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "ioto_async.cli", "metric", "get", "DEV1", "temperature", "--graph"]
    environ = {**os.environ, "COLUMNS": "66", "NO_COLOR": ""}
    child = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=end, stderr=subprocess.PIPE)
    os.close(end)
    shown = b""
    try:
        while part := os.read(terminal, 10_000):
            shown += part
    except OSError:  # the other side is closed
        pass
    os.close(terminal)
    _, stderr = child.communicate(timeout=GUARD)
    assert (child.returncode, stderr) == (0, b"")
    text = shown.decode()
    assert "\x1b[" in text
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in text.splitlines()) == 66


# In a file --------------------------------------------------------------------------------------------------------


def texts(path: Path) -> str:
    """The comments of an SVG, in which matplotlib has the texts that it draws as outlines."""
    return "\n".join(re.findall("<!-- (.*?) -->", path.read_text(encoding="utf-8")))


def test_a_plot_has_title_units_and_readable_ticks(tmp_path: Path) -> None:
    path = tmp_path / "temperature.svg"
    plot(series([20 + math.sin(place) for place in range(12)], unit="°C"), path)
    written = texts(path).splitlines()
    assert {
        *("temperature of DEV1", "avg, points of 2h", "avg (°C)", "time (UTC), 30 Apr 2026 to 01 May 2026"),
        *("15:00", "01 May", "03:00", "12:00"),
    } <= set(written)


def test_a_plot_has_gaps(tmp_path: Path) -> None:
    path = tmp_path / "temperature.svg"
    plot(series([20, 21, None, None, 23, None, 20, 22]), path)
    root = ElementTree.parse(path).getroot()
    strokes = [
        element.attrib["d"]
        for element in root.iter("{http://www.w3.org/2000/svg}path")
        if "stroke: #1f77b4; stroke-width: 1.8" in element.attrib.get("style", "")
    ]
    assert [len(re.findall("[ML]", stroke)) for stroke in strokes] == [2, 1, 2]


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    metric = Metric(dimensions={}, period=60, samples=1, points=[Point(value=1, count=1, timestamp=datetime.now(UTC))])
    plot(Series.of(metric, "DEV1", "cost_$\\bad{$", "avg", unit="$\\bad$"), tmp_path / "cost.svg")
    assert "cost_$\\bad{$ (no dimensions)" in texts(tmp_path / "cost.svg")


def test_plot_writes_the_picture_instead_of_the_table(metrics: Metrics) -> None:
    metrics.add("DEV1", 20)
    path = metrics.folder / "temperature.png"
    result = metrics("get", "DEV1", "temperature", "--plot", path)
    assert (result.status, result.stdout, result.stderr) == (0, "", "")
    assert path.read_bytes().startswith(PNG)


def test_a_plot_that_cannot_be_written_is_reported(metrics: Metrics) -> None:
    metrics.add("DEV1", 20)
    result = metrics("get", "DEV1", "temperature", "--plot", metrics.folder / "missing" / "temperature.png")
    assert (result.status, "No such file or directory" in result.stderr) == (1, True)
