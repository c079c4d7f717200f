"""The table of assumptions: complete, stable, and true of what it names."""

import importlib
import inspect
from types import ModuleType
from typing import Final

import pytest

from ioto_async.conformance import ASSUMPTIONS, Assumption, Check
from ioto_async.conformance.checks import CHECKS
from ioto_async.emulator.otherwise import OTHERWISE, check_otherwise
from tests.rows import each_row

OPEN_QUESTIONS: Final = {
    "Envelope of non-list replies": ("A19",),
    "whether it differs between /tok and login calls": ("A98",),
    "Wire spelling of object cursors": ("A27",),
    "and of exists=null in a query string": ("A57", "A58"),
    "Default page size": ("A25",),
    "Reply to a get with no match": ("A20",),
    "status codes other than 200/400/403/500": ("A9", "A11", "A14", "A15"),
    "What remove replies": ("A21", "A22"),
    "Mapping of tokens to view, edit, upgrade, claimDevice, releaseDevice": ("A38", "A42"),
    "Nesting of metric/fetch data": ("A69", "A94"),
    "and point timestamp unit": ("A70", "A71"),
    "file/list and file/put replies are marked TBD": ("A52", "A53"),
    "Whether a test flag is accepted by device/claim": ("A44",),
    "Rate limits of the REST API": ("A14",),
    "A trigger page names /tok/trigger/invoke": ("A84",),
}
"""What the reference leaves open (section 13)."""


def test_the_numbers_are_those_that_were_given_and_never_change() -> None:
    assert sorted(ASSUMPTIONS, key=lambda number: int(number[1:])) == [f"A{number}" for number in range(1, 99)]
    assert {number: each.number for number, each in ASSUMPTIONS.items() if each.number != number} == {}


@each_row("question", list(OPEN_QUESTIONS))
def test_every_open_question_of_the_reference_is_an_assumption(question: str) -> None:
    assert ASSUMPTIONS.keys() >= set(OPEN_QUESTIONS[question])


@each_row("assumption", ASSUMPTIONS)
def test_an_assumption_says_all_that_it_is_to_say(assumption: Assumption) -> None:
    texts = assumption.says, assumption.source, assumption.wrong_if, assumption.client, assumption.emulator
    assert all(texts)
    assert assumption.says.endswith(".")
    assert assumption.source.endswith(".")
    assert not assumption.wrong_if.endswith(".")
    assert (assumption.check is Check.NONE) == bool(assumption.why_not)


@each_row("assumption", ASSUMPTIONS)
def test_what_an_assumption_names_exists(assumption: Assumption) -> None:
    for name in assumption.client:
        assert named(f"ioto_async.{name}") is not None
    for name in assumption.emulator:
        assert named(f"ioto_async.emulator.{name}") is not None


def named(name: str) -> object:
    """What *name* is of: a module, or something in one."""
    module, rest = name, ""
    while True:
        try:
            found: object = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            rest = f"{last}.{rest}" if rest else last
    assert isinstance(found, ModuleType)
    for part in filter(None, rest.split(".")):
        found = inspect.getattr_static(found, part) if inspect.isclass(found) else getattr(found, part)
    return found


def test_what_can_be_checked_has_a_check_and_can_be_left_by_the_embedded_cloud() -> None:
    possible = {each.number for each in ASSUMPTIONS.values() if each.check is not Check.NONE}
    assert possible == CHECKS.keys()
    assert possible == OTHERWISE.keys()


def test_the_embedded_cloud_refuses_to_leave_what_it_does_not_know() -> None:
    with pytest.raises(
        ValueError, match="otherwise: 'A8' is not an assumption that a cloud can break; those are A1, A2, "
    ):
        check_otherwise(["A18", "A8"])
