"""The pure parts of the benchmarks, and that the README shows what was measured."""

import http.client
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

from benchmarks import publish
from benchmarks.contenders import BASE, CONTENDERS, OURS, Call, Contender, Target
from benchmarks.request import DEVICE_ID
from benchmarks.responder import responder
from benchmarks.table import Figure, Section, Spread, lines
from benchmarks.turns import Slice, compare, seated
from tests.rows import each_row

ROOT = Path(__file__).parent.parent


# Numbers ------------------------------------------------------------------------------------------------------------


def test_a_spread_is_the_median_and_the_quartiles() -> None:
    assert Spread.of([4, 1, 3, 2, 5]) == Spread(3, 2, 4)


def test_a_single_number_has_no_spread() -> None:
    assert Spread.of([7]) == Spread(7, 7, 7)


@each_row(
    "median, text",
    [
        (0.95, "0.950 (0.855 to 1.045)"),
        (3.0, "3.00 (2.70 to 3.30)"),
        (41.26, "41.3 (37.1 to 45.4)"),
        (12345.6, "12,346 (11,111 to 13,580)"),
        (0.0, "0 (0 to 0)"),
    ],
)
def test_a_spread_has_the_digits_that_mean_something(median: float, text: str) -> None:
    assert Spread(median, median * 0.9, median * 1.1).text() == text


@each_row(
    "found, at_most, met",
    [(3.0, False, True), (2.99, False, False), (3.0, True, True), (3.01, True, False)],
)
def test_a_figure_says_whether_its_goal_is_met(found: float, at_most: bool, met: bool) -> None:
    figure = Figure(what="calls", found=Spread.of([found]), must=3, aim=4, at_most=at_most)
    assert figure.met is met
    assert figure.cells()[4].startswith("yes" if met else "NO")
    assert figure.plain()["met"] is met


def test_a_figure_is_met_by_the_one_that_does_as_well() -> None:
    share = Figure(what="share", found=Spread.of([0.96]), unit="of the ideal", must=0.95, aim=0.95)
    figure = Figure(what="times by hand", found=Spread.of([0.9]), must=1, aim=1.3)
    assert not figure.met
    either = attrs.evolve(figure, instead=share)
    assert either.met
    assert either.cells()[1:5] == (
        "0.900 (0.900 to 0.900); 0.960 (0.960 to 0.960) of the ideal",
        ">= 1; or >= 0.95 of the ideal",
        "1.3",
        "yes",
    )


def test_slices_are_compared_within_their_rounds() -> None:
    ours = {0: Slice(10, wall=10, cpu=5), 1: Slice(10, wall=20, cpu=5), 2: Slice(10, wall=1, cpu=1)}
    theirs = {0: Slice(10, wall=30, cpu=10), 1: Slice(10, wall=20, cpu=20)}
    assert compare(ours, theirs) == [3, 1]
    assert compare(ours, theirs, cpu=True) == [2, 4]


# Tables -------------------------------------------------------------------------------------------------------------


def test_a_table_is_markdown() -> None:
    assert lines(("what", "ms"), [("a call", "1.5"), ("two", "10.25")]) == (
        "| what   |    ms |\n|--------|------:|\n| a call |   1.5 |\n| two    | 10.25 |"
    )


def test_a_section_can_be_printed_before_its_rows_are_known() -> None:
    section = Section(title="Calls", columns=("client", "calls/s"), legend="Medians.")
    *text, head, rule = section.head().split("\n")
    assert text == ["### Calls", "", "Medians.", ""]
    assert len(head) == len(rule) == len(section.line(("IotoClient", "1,234")))


# What is published --------------------------------------------------------------------------------------------------


def spread(number: float) -> dict[str, float]:
    return {"median": number, "low": number * 0.9, "high": number * 1.1}


def row(name: str, ratio: float, scheme: str, in_flight: int) -> dict[str, Any]:
    return {
        "client": name,
        "loop": "asyncio",
        "scheme": scheme,
        "in_flight": in_flight,
        "rate": spread(ratio * 10_000),
        "ratio": spread(ratio),
        "cpu_us": 100 / ratio,
        "p50_ms": 5.123456789,
        "p99_ms": 9.0,
        "peak_mb": 60.0,
        "slices": [{"calls": 10, "wall": 1.0, "cpu": 1.0, "server": 1.0}],
        "cells": ["printed"],
    }


def report() -> dict[str, Any]:
    rows = [
        row(name, ratio, scheme, in_flight)
        for scheme in ("http", "https")
        for in_flight in (64, 8, 1)
        for name, ratio in ((BASE, 1.0), (OURS, 3.25))
    ]
    away = {"client": "elsewhere", "loop": "asyncio", "scheme": "http", "in_flight": 64, "missing": ["elsewhere"]}
    figure = Figure(what="typed call", found=Spread.of([3.25]), must=3, aim=3.5)
    return {
        "command": ["python", "-m", "benchmarks"],
        "about": {"machine": "two cores"},
        "themes": [{"theme": "client", "sections": [{"title": "calls", "rows": [*rows, away]}]}],
        "figures": [figure.plain()],
    }


def test_a_record_has_no_single_turns() -> None:
    kept = publish.record(report())
    [first, *_] = kept["themes"][0]["sections"][0]["rows"]
    assert first.keys().isdisjoint({"slices", "cells"})
    assert first["p50_ms"] == 5.1235
    assert kept["figures"][0]["met"] is True


def test_a_report_is_published_into_a_checkout(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra all")
    (tmp_path / "docs").mkdir()
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- speed: begin -->\nold\n<!-- speed: end -->\nafter\n")
    publish.publish(report(), tmp_path)
    text = readme.read_text()
    assert text.startswith("before\n<!-- speed: begin -->\n<picture>")
    assert text.endswith("<!-- speed: end -->\nafter\n")
    assert "old" not in text
    page = (tmp_path / publish.PAGE).read_text()
    assert re.search(r"\| IotoClient +\| +3\.25 \| +3\.25 \|", page)
    assert re.search(r"\| elsewhere +\| not installed \|", page)
    assert re.search(r"\| typed call +\| +3\.25 \| .* \| +yes \|", page)
    kept = orjson.loads((tmp_path / publish.RECORD).read_bytes())
    assert publish.readme(kept) in text
    assert page == publish.page(kept)
    for theme in ("light", "dark"):
        drawn = (tmp_path / "docs" / f"speed-{theme}.svg").read_text()
        assert "<svg" in drawn
        assert "IotoClient" in drawn
        assert "elsewhere" not in drawn


def test_a_readme_without_a_place_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing to see")
    with pytest.raises(ValueError, match=r"README\.md: expected the lines <!-- speed: begin -->"):
        publish.publish(report(), tmp_path)
    assert (tmp_path / "README.md").read_text() == "nothing to see"


def test_the_readme_shows_what_was_recorded() -> None:
    kept = orjson.loads((ROOT / publish.RECORD).read_bytes())
    block = f"<!-- speed: begin -->\n{publish.readme(kept)}<!-- speed: end -->"
    assert block in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / publish.PAGE).read_text(encoding="utf-8") == publish.page(kept)


# Contenders ---------------------------------------------------------------------------------------------------------


def test_contenders_are_told_apart_by_their_titles() -> None:
    titles = [contender.title for contender in CONTENDERS]
    assert len(set(titles)) == len(titles)


def test_a_contender_says_what_is_not_installed() -> None:
    assert Contender("elsewhere", working, ("no_such_client", "attrs")).missing == ["no_such_client"]


@asynccontextmanager
async def working(target: Target) -> AsyncIterator[Call]:
    async def call() -> str:
        return DEVICE_ID

    yield call


@asynccontextmanager
async def mistaken(target: Target) -> AsyncIterator[Call]:
    async def call() -> str:
        return "another"

    yield call


@asynccontextmanager
async def broken(target: Target) -> AsyncIterator[Call]:
    raise OSError("nobody there")
    yield


@asynccontextmanager
async def ending(target: Target) -> AsyncIterator[Call]:
    os._exit(1)
    yield


def test_contenders_play_in_processes_of_their_own_and_failures_are_reported() -> None:
    target = Target("http://127.0.0.1:1", "", in_flight=2)
    made = [
        Contender("working", working),
        Contender("mistaken", mistaken),
        Contender("broken", broken),
        Contender("ending", ending),
    ]
    with seated(made, None) as seats:
        for seat in seats:
            seat.open(target)
            seat.play(0.001, 0, lambda: 0.0)
            seat.close()
    fine, mistake, failure, end = seats
    assert fine.failure is None
    assert fine.slices[0].calls >= 2
    assert fine.summary is not None
    assert fine.summary.peak > 0
    assert mistake.failure is not None
    assert "expected the device" in mistake.failure.reason
    assert failure.failure is not None
    assert failure.failure.reason == "OSError: nobody there"
    assert end.failure is not None
    assert end.failure.reason == "its process has ended"


def test_a_turn_to_warm_up_does_not_count() -> None:
    with seated([Contender("working", working)], None) as [seat]:
        seat.open(Target("http://127.0.0.1:1", "", in_flight=2))
        seat.play(0.001, None, lambda: 0.0)
        seat.close()
    assert seat.slices == {}
    assert seat.summary is None
    assert seat.failure is not None
    assert seat.failure.reason == "RuntimeError: expected calls, got none"


# The responder ------------------------------------------------------------------------------------------------------


def test_the_responder_answers_over_http_and_https_however_requests_arrive() -> None:
    request = b'POST /tok/device/get HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"id":""}'
    with responder() as server:
        where = server.where
        context = ssl.create_default_context(cadata=where.ca)
        plain = http.client.HTTPConnection("127.0.0.1", where.port)
        secure = http.client.HTTPSConnection("127.0.0.1", where.tls_port, context=context)
        for connection in (plain, secure):
            for _ in range(3):
                connection.request("POST", "/tok/device/get", b"{}")
                reply = connection.getresponse()
                assert reply.status == 200
                assert orjson.loads(reply.read())["id"] == DEVICE_ID
            connection.close()
        with socket.create_connection(("127.0.0.1", where.port)) as raw:
            for part in (request[:20], request[20:-3], request[-3:] + request + request[:30], request[30:]):
                raw.sendall(part)
            received = b""
            while received.count(b"}") < 3:
                received += raw.recv(1 << 16)
        assert received.count(b"HTTP/1.1 200 OK") == 3
        assert server.cpu() > 0
