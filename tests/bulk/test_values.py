"""Values that the journal keeps: what was called before has its value again."""

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest

from ioto_async import InvalidArgumentError
from ioto_async.bulk import Bulk, ForeignJournalError, Journal
from ioto_async.operations import Kind
from tests.rows import each_row

from .calls import Calls, lines, outcomes, states, turns, until


async def name(item: str) -> dict[str, object]:
    return {"item": item, "numbers": [1, 2.5, None, 1e22], "text": "é\n"}


async def never(item: str) -> dict[str, object]:
    raise AssertionError(item)


async def still(item: str) -> bool:
    return True


def has_begun(calls: Calls, item: str) -> bool:
    return item in calls.open


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


async def test_a_skipped_outcome_has_the_value_of_the_earlier_call(path: Path) -> None:
    first = await outcomes(Bulk(name, ["a", "b"], concurrency=1, journal=path, keep_values=True))
    again = await outcomes(Bulk(never, ["b", "a"], concurrency=1, journal=path, keep_values=True))
    assert [(outcome.status, outcome.key) for outcome in again] == [("skipped", "b"), ("skipped", "a")]
    assert [outcome.value for outcome in again] == [outcome.value for outcome in reversed(first)]


async def test_a_verified_outcome_has_it_as_well(path: Path) -> None:
    await outcomes(Bulk(name, ["a"], concurrency=1, journal=path, keep_values=True))
    (again,) = await outcomes(Bulk(never, ["a"], concurrency=1, journal=path, keep_values=True, verify=still))
    assert (again.status, again.value) == ("skipped", await name("a"))


async def test_what_waits_for_its_turn_is_noted_at_once(path: Path) -> None:
    calls = Calls()
    run = Bulk(calls, [*"abcd"], concurrency=2, ordered=True, journal=path, keep_values=True, kind=Kind.READ)
    reader = asyncio.create_task(outcomes(run))
    for item in "bcd":
        await until(partial(has_begun, calls, item))
        calls.give(item, item)
    await until(lambda: calls.open == ["a"])
    await turns()
    assert states(path) == {"a": "sent", "b": "ok", "c": "ok", "d": "ok"}
    calls.give("a", "a")
    assert [outcome.value for outcome in await reader] == [*"abcd"]


async def test_values_are_not_kept_unless_that_is_asked_for(path: Path) -> None:
    await outcomes(Bulk(name, ["a"], concurrency=1, journal=path))
    assert "value" not in lines(path)[-1]
    (again,) = await outcomes(Bulk(never, ["a"], concurrency=1, journal=path))
    assert (again.status, again.value) == ("skipped", None)


async def test_values_that_are_missing_are_asked_for(path: Path) -> None:
    await outcomes(Bulk(name, ["a"], concurrency=1, journal=path))
    with pytest.raises(InvalidArgumentError, match="line 3: damaged: its checksum is another"):
        await outcomes(Bulk(never, ["a"], concurrency=1, journal=path, keep_values=True))


async def test_a_value_of_what_has_failed_is_not_kept(path: Path) -> None:
    async def fail(item: str) -> None:
        raise ValueError(item)

    await outcomes(Bulk(fail, ["a"], concurrency=1, journal=path, keep_values=True, kind=Kind.READ))
    (again,) = await outcomes(
        Bulk(name, ["a"], concurrency=1, journal=path, keep_values=True, kind=Kind.READ, retry_failed=True)
    )
    assert (again.status, again.value) == ("ok", await name("a"))


async def test_a_value_that_is_no_json_ends_the_run(path: Path) -> None:
    async def odd(item: str) -> object:
        return {item: asyncio}

    with pytest.raises(InvalidArgumentError, match="keep_values: the value of item a is no JSON"):
        await outcomes(Bulk(odd, ["a"], concurrency=1, journal=path, keep_values=True))


async def test_a_journal_says_when_it_was_begun(path: Path) -> None:
    journal = Journal(path, "call", keeps_values=True)
    journal.open()
    begun = journal.begun
    await journal.close()
    assert begun is not None
    again = Journal(path, "call", keeps_values=True)
    again.open()
    await again.close()
    assert again.begun == begun.replace(microsecond=0)
    assert not again.has_values


async def test_a_journal_of_another_call_names_it(path: Path) -> None:
    await outcomes(Bulk(name, ["a"], concurrency=1, journal=path, keep_values=True, name="one"))
    journal = Journal(path, "two", keeps_values=True)
    with pytest.raises(ForeignJournalError, match="is of one, not of two: give each its own") as caught:
        journal.open()
    assert (caught.value.theirs, journal.has_values) == ("one", True)


@each_row("mask", [0x01, 0x10, 0x80])
async def test_no_changed_byte_changes_a_value(path: Path, mask: int) -> None:
    path.unlink(missing_ok=True)
    await outcomes(Bulk(name, ["a", "b"], concurrency=1, journal=path, keep_values=True, name="one"))
    content = path.read_bytes()
    values = {entry["key"]: entry["value"] for entry in lines(path) if "value" in entry}
    refused = 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
        journal = Journal(path, "one", keeps_values=True)
        try:
            journal.open()
        except InvalidArgumentError:
            refused += 1
            continue
        for key in values:
            if journal.state(key) == "ok":
                assert journal.value(key) == values[key], json.loads(content.splitlines()[1])
        await journal.close()
    assert refused > len(content) / 3
