"""The journal of a bulk run: its lines, what a run does with it, and what becomes of it when things go wrong."""

import asyncio
import errno
import json
import os
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioto_async import AuthenticationError, BadRequestError, InvalidArgumentError, OutcomeUnknownError
from ioto_async.bulk import Bulk, EarlierError, Journal
from ioto_async.operations import Kind
from tests.rawserver import GUARD, TOKEN, Request, Step, reply, served
from tests.rows import each_row

from .calls import (
    Calls,
    Source,
    consume,
    echo,
    lines,
    no_task_is_left,
    others,
    outcomes,
    states,
    statuses,
    turns,
    until,
    written,
)


class Refused(Exception):
    """What a call of the tests raises."""


def once_in_doubt() -> OutcomeUnknownError:
    return OutcomeUnknownError("the connection broke", operation="action/invoke", outcome_unknown=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


class Counted:
    """A call that returns at once, or raises what *errors* says of its item."""

    def __init__(self, **errors: BaseException) -> None:
        self.items: list[str] = []
        self._errors = errors

    async def __call__(self, item: str) -> str:
        self.items.append(item)
        if item in self._errors:
            raise self._errors[item]
        return f"secret value of {item}"


async def outcomes_of(call: Counted, path: Path, verified: bool | Exception | None, items: list[str]) -> dict[str, str]:
    async def verify(item: str) -> bool | None:
        if isinstance(verified, Exception):
            raise verified
        return verified

    run = Bulk(call, items, concurrency=1, journal=path, verify=verify)
    return {outcome.key: outcome.status async for outcome in run}


@each_row(
    "verified, status, called",
    [(True, "skipped", []), (None, "skipped", []), (False, "ok", ["a"]), (Refused("no"), "failed", [])],
)
async def test_an_item_that_is_done_is_verified_where_that_is_asked_for(
    tmp_path: Path, verified: bool | Exception | None, status: str, called: list[str]
) -> None:
    path = tmp_path / f"{status}-{verified}.jsonl"
    await outcomes(Bulk(Counted(), ["a"], concurrency=1, journal=path))
    before = lines(path)
    call = Counted()
    assert await outcomes_of(call, path, verified, ["a", "b"]) == {"a": status, "b": "ok"}
    assert call.items == [*called, "b"]
    assert states(path) == {"a": "ok", "b": "ok"}
    # Nothing is noted as sent that is done: a kill would leave it in doubt.
    assert [line for line in lines(path)[len(before) :] if line["key"] == "a"] == [] or called


async def test_an_error_of_all_items_ends_a_run_that_verifies(path: Path) -> None:
    await outcomes(Bulk(Counted(), ["a", "b"], concurrency=1, journal=path))

    async def verify(item: str) -> bool:
        raise Refused(item)

    run = Bulk(Counted(), ["a", "b"], concurrency=1, journal=path, verify=verify, stop_on=Refused)
    with pytest.raises(Refused, match="a"):
        await outcomes(run)
    assert (run.summary.done, states(path)) == (0, {"a": "ok", "b": "ok"})


async def test_a_skipped_item_tells_when_it_was_done(path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    await outcomes(Bulk(Counted(), ["a"], concurrency=1, journal=path))
    (outcome,) = await outcomes(Bulk(Counted(), ["a"], concurrency=1, journal=path))
    assert outcome.done_at is not None
    assert before <= outcome.done_at <= datetime.now(UTC)


# The lines --------------------------------------------------------------------------------------------------------


async def test_an_item_has_a_line_before_its_call_and_one_after_it(path: Path) -> None:
    call = Counted(b=Refused("no"), c=once_in_doubt())
    await outcomes(Bulk(call, ["a", "b", "c"], concurrency=1, journal=path))
    head, *body = lines(path)
    assert head == {"journal": 1, "call": None}
    for key, status in (("a", "ok"), ("b", "failed"), ("c", "unknown")):
        sent, ended = (line for line in body if line["key"] == key)
        assert sent == {"key": key, "status": "sent"}
        assert (ended["status"], ended["attempts"]) == (status, 1)
        assert 0 <= ended["elapsed"] < GUARD
    assert len(body) == 6


async def test_a_method_of_a_client_is_named_in_the_first_line(path: Path) -> None:
    async with served(reply(200, {"id": "D1", "accountId": "A1"})) as (_, client):
        await outcomes(client.bulk(client.with_options(retries=1).device.claim, ["D1"], journal=path))
    assert lines(path)[0]["call"] == "device/claim"


async def test_the_line_is_in_the_file_when_the_request_is_sent(path: Path) -> None:
    seen: dict[str, str | None] = {}

    def handler(request: Request) -> Step:
        id = request.json["id"]
        seen[id] = states(path).get(id)
        return reply(200, {"id": id, "accountId": "A1"})

    async with served(handler=handler) as (_, client):
        await outcomes(client.bulk(client.device.claim, (f"D{number}" for number in range(100)), journal=path))
    assert seen == dict.fromkeys((f"D{number}" for number in range(100)), "sent")


@pytest.mark.parametrize("sort", ["items", "later"])
async def test_the_line_is_in_the_file_when_the_call_begins_and_the_outcome_when_it_is_given(
    path: Path, sort: str
) -> None:
    async def call(item: int) -> None:
        assert states(path)[str(item)] == "sent"
        await asyncio.sleep(0)
        assert states(path)[str(item)] == "sent"

    run = Bulk(call, Source(50).of(sort), concurrency=7, journal=path)
    async for outcome in run:
        assert outcome.status == "ok", outcome.error
        assert states(path)[outcome.key] == "ok"
    assert run.summary.ok == 50


async def test_values_and_texts_of_foreign_errors_are_not_written(path: Path) -> None:
    call = Counted(b=Refused("the password is hunter2"), c=ValueError("https://bucket/?X-Amz-Signature=0123"))
    await outcomes(Bulk(call, ["a", "b", "c"], concurrency=1, journal=path))
    text = path.read_text()
    assert "secret value" not in text
    assert "hunter2" not in text
    assert "Signature" not in text
    assert "Refused" in text, "the type of the error is worth knowing"


async def test_the_token_is_not_written_when_the_service_repeats_it(path: Path) -> None:
    async with served(reply(400, f"bad token {TOKEN}"), reply(400, f"{TOKEN}\n\x1b[31m")) as (_, client):
        await outcomes(client.bulk(client.device.claim, ["D1", "D2"], journal=path, concurrency=1))
    assert TOKEN not in path.read_text()
    assert "bad token" in path.read_text()


KEYS = ["", " ", "a\nb", "\r\n", "\u2028", "\x00", "ключ", "😀", '"quoted"', "\\", "x" * 100_000, "\u0085"]


@pytest.mark.parametrize("key", KEYS[1:], ids=lambda key: repr(key[:10]))
async def test_any_text_will_do_as_a_key(path: Path, key: str) -> None:
    call = Counted()
    for _ in range(2):
        await outcomes(Bulk(call, [key, "other"], concurrency=1, journal=path))
    assert call.items == [key, "other"]
    assert states(path) == {key: "ok", "other": "ok"}


@pytest.mark.parametrize("key", ["\ud800", "a\udfffb"])
async def test_a_key_with_half_a_character_is_refused_by_name_and_nothing_is_sent(path: Path, key: str) -> None:
    call = Counted()
    with pytest.raises(InvalidArgumentError, match="key"):
        await outcomes(Bulk(call, ["a", key, "b"], concurrency=1, journal=path))
    assert key not in call.items
    assert not {"sent"} & set(states(path).values())


@pytest.mark.parametrize("item", [("a", 1), {"id": 1}, 2.5, None, True])
async def test_items_without_a_key_of_their_own_need_one_for_a_journal(path: Path, item: Any) -> None:
    call = Counted()
    with pytest.raises(InvalidArgumentError, match="key"):
        await outcomes(Bulk(call, [item], concurrency=1, journal=path))
    assert call.items == []


async def test_whole_numbers_are_keys(path: Path) -> None:
    calls: list[int] = []

    async def call(item: int) -> None:
        calls.append(item)

    for _ in range(2):
        await outcomes(Bulk(call, range(5), concurrency=2, journal=path))
    assert calls == [0, 1, 2, 3, 4]


# Going on ---------------------------------------------------------------------------------------------------------


async def test_what_was_done_is_skipped(path: Path) -> None:
    first, second = Counted(), Counted()
    await outcomes(Bulk(first, ["a", "b"], concurrency=1, journal=path))
    run = Bulk(second, ["a", "b", "c"], concurrency=1, journal=path)
    found = {outcome.key: (outcome.status, outcome.attempts, outcome.error) for outcome in await outcomes(run)}
    assert found == {"a": ("skipped", 0, None), "b": ("skipped", 0, None), "c": ("ok", 1, None)}
    assert second.items == ["c"]
    assert (run.summary.skipped, run.summary.ok) == (2, 1)


async def test_what_has_failed_is_told_again_and_not_called(path: Path) -> None:
    await outcomes(
        Bulk(Counted(a=AuthenticationError("no entry", operation="device/claim")), ["a"], concurrency=1, journal=path)
    )
    call = Counted()
    (outcome,) = await outcomes(Bulk(call, ["a"], concurrency=1, journal=path))
    assert (outcome.status, outcome.attempts, call.items) == ("failed", 0, [])
    assert isinstance(outcome.error, EarlierError)
    assert "no entry" in str(outcome.error)


async def test_what_is_told_of_an_earlier_call_does_not_grow_from_run_to_run(path: Path) -> None:
    await outcomes(
        Bulk(
            Counted(a=BadRequestError("no", operation="x/y", outcome_unknown=True)), ["a"], concurrency=1, journal=path
        )
    )

    async def reconcile(item: str) -> None:
        return None  # it cannot be told

    told = set()
    for _ in range(4):
        (outcome,) = await outcomes(Bulk(Counted(), ["a"], concurrency=1, journal=path, reconcile=reconcile))
        assert outcome.status == "unknown"
        told.add(str(outcome.error))
    assert told == {"when it was called before: x/y: no"}
    assert {line["error"] for line in lines(path)[1:] if "error" in line} == {"x/y: no"}


async def test_what_has_failed_is_called_again_if_that_is_asked_for(path: Path) -> None:
    await outcomes(Bulk(Counted(a=Refused()), ["a", "b"], concurrency=1, journal=path))
    call = Counted()
    found = await statuses(Bulk(call, ["a", "b"], concurrency=1, journal=path, retry_failed=True))
    assert (found, call.items) == ({"a": "ok", "b": "skipped"}, ["a"])
    assert states(path) == {"a": "ok", "b": "ok"}


@pytest.mark.parametrize("state", ["sent", "unknown"])
@pytest.mark.parametrize("kind", [Kind.READ, Kind.REPLAYABLE])
async def test_what_may_have_been_done_and_can_be_repeated_is_called_again(path: Path, state: str, kind: Kind) -> None:
    written(path, ("a", "sent"), ("a", state))
    call = Counted()
    assert await statuses(Bulk(call, ["a"], concurrency=1, journal=path, kind=kind)) == {"a": "ok"}
    assert call.items == ["a"]


@pytest.mark.parametrize("state", ["sent", "unknown"])
@pytest.mark.parametrize("kind", [Kind.ONCE, None])
async def test_what_may_have_been_done_and_must_not_be_repeated_is_unknown(
    path: Path, state: str, kind: Kind | None
) -> None:
    written(path, ("a", "sent"), ("a", state))
    call = Counted()
    for _ in range(3):
        (outcome,) = await outcomes(Bulk(call, ["a"], concurrency=1, journal=path, kind=kind, retry_failed=True))
        assert (outcome.status, outcome.attempts) == ("unknown", 0)
        assert isinstance(outcome.error, EarlierError)
    assert call.items == []


@pytest.mark.parametrize("state", ["sent", "unknown"])
@pytest.mark.parametrize(
    ("answer", "status", "called"), [(True, "ok", []), (False, "ok", ["a"]), (None, "unknown", [])], ids=str
)
async def test_reconcile_decides_what_an_earlier_run_has_done(
    path: Path, state: str, answer: Any, status: str, called: list[str]
) -> None:
    written(path, ("a", "sent"), ("a", state))
    call, asked = Counted(), list[str]()

    async def reconcile(item: str) -> bool | None:
        asked.append(item)
        return answer  # type: ignore[no-any-return]

    found = await statuses(Bulk(call, ["a"], concurrency=1, journal=path, reconcile=reconcile))
    assert (found, call.items, asked) == ({"a": status}, called, ["a"])
    assert states(path) == {"a": status}


async def test_a_reconcile_that_raises_leaves_what_an_earlier_run_has_sent_unknown(path: Path) -> None:
    written(path, ("a", "sent"))
    call = Counted()

    async def reconcile(item: str) -> bool:
        raise Refused

    for _ in range(2):
        found = await statuses(Bulk(call, ["a"], concurrency=1, journal=path, reconcile=reconcile))
        assert found == {"a": "unknown"}
    assert (call.items, states(path)) == ([], {"a": "unknown"})


async def test_what_turned_out_not_to_be_sent_is_called(path: Path) -> None:
    written(path, ("a", "sent"), ("a", "undone"))
    call = Counted()
    assert await statuses(Bulk(call, ["a"], concurrency=1, journal=path, kind=Kind.ONCE)) == {"a": "ok"}
    assert call.items == ["a"]


async def test_the_item_whose_error_ends_the_run_is_taken_up_by_the_next(path: Path) -> None:
    first = Counted(b=AuthenticationError("no", operation="action/invoke"))
    run = Bulk(first, list("abcd"), concurrency=1, journal=path, stop_on=AuthenticationError)
    with pytest.raises(AuthenticationError):
        await outcomes(run)
    assert states(path)["b"] == "undone"
    assert "sent" not in states(path).values()
    second = Counted()
    found = await statuses(Bulk(second, list("abcd"), concurrency=1, journal=path))
    assert found == {"a": "skipped", "b": "ok", "c": "ok", "d": "ok"}


async def test_an_item_that_is_unknown_and_ends_the_run_is_not_sent_again(path: Path) -> None:
    run = Bulk(Counted(b=once_in_doubt()), list("abcd"), concurrency=1, journal=path, stop_on=OutcomeUnknownError)
    with pytest.raises(OutcomeUnknownError):
        await outcomes(run)
    second = Counted()
    found = await statuses(Bulk(second, list("abcd"), concurrency=1, journal=path))
    assert found == {"a": "skipped", "b": "unknown", "c": "ok", "d": "ok"}


async def test_what_the_grace_has_cut_off_is_unknown_in_the_journal(path: Path) -> None:
    calls = Calls()
    run = Bulk(calls, map(str, range(100)), concurrency=4, journal=path)
    done = asyncio.ensure_future(outcomes(run))
    await until(lambda: len(calls.open) == 4)
    calls.give("1")
    run.stop(grace=0)
    await done
    assert states(path) == {"0": "unknown", "1": "ok", "2": "unknown", "3": "unknown"}


async def test_a_run_that_is_stopped_leaves_nothing_in_doubt(path: Path) -> None:
    calls = Calls()
    run = Bulk(calls, map(str, range(100)), concurrency=4, journal=path)
    done = asyncio.ensure_future(outcomes(run))
    await until(lambda: bool(calls.open))
    run.stop()
    calls.give_all()
    while not done.done():
        calls.give_all()
        await asyncio.sleep(0)
    await done
    assert not {"sent", "unknown"} & set(states(path).values())


class Leave(Exception):
    """What a consumer raises."""


@pytest.mark.parametrize("way", ["break", "exception", "cancel"])
async def test_a_run_that_is_left_can_be_gone_on_with(path: Path, way: str) -> None:
    calls = Calls()
    found: list[str] = []

    async def use() -> None:
        async with Bulk(calls, map(str, range(50)), concurrency=4, journal=path, kind=Kind.REPLAYABLE) as run:
            async for outcome in run:
                found.append(outcome.key)
                if len(found) == 10:
                    if way == "break":
                        break
                    if way == "exception":
                        raise Leave
                    await asyncio.Event().wait()

    task = asyncio.create_task(use())
    while not task.done() and len(found) < 10:
        calls.give_all()
        await turns(3)
    if way == "cancel":
        task.cancel()
    with suppress(Leave, asyncio.CancelledError):
        await task
    assert others() == set()
    before = states(path)
    assert all(before[key] == "ok" for key in found)
    resumed = Counted()
    statuses_ = await statuses(Bulk(resumed, map(str, range(50)), concurrency=4, journal=path, kind=Kind.REPLAYABLE))
    assert set(statuses_.values()) <= {"ok", "skipped"}
    assert set(resumed.items) == {str(number) for number in range(50)} - {k for k, s in before.items() if s == "ok"}
    assert set(states(path).values()) == {"ok"}


async def test_what_had_failed_has_still_failed_if_the_run_stops_before_it_is_called_again(path: Path) -> None:
    await outcomes(Bulk(Counted(b=Refused("why")), ["a", "b"], concurrency=1, journal=path))
    stopping = Counted(c=AuthenticationError("no", operation="device/claim"))
    run = Bulk(stopping, ["c", "b"], concurrency=2, journal=path, retry_failed=True, stop_on=AuthenticationError)
    with pytest.raises(AuthenticationError):
        await outcomes(run)
    assert stopping.items == ["c"]
    call = Counted()
    assert await statuses(Bulk(call, ["b"], concurrency=1, journal=path)) == {"b": "failed"}
    assert call.items == []


async def test_what_was_not_begun_when_the_loop_was_left_is_not_in_doubt(path: Path) -> None:
    """It was noted together with others, so that the journal is written once for all of them."""
    begun: list[str] = []

    async def call(item: str) -> None:
        begun.append(item)
        await asyncio.sleep(0)

    async with Bulk(call, map(str, range(64)), concurrency=64, journal=path) as run:
        async for _ in run:
            break
    never_sent = {key for key, state in states(path).items() if state == "sent"} - set(begun)
    assert never_sent == set()
    second = Counted()
    found = await statuses(Bulk(second, map(str, range(64)), concurrency=64, journal=path))
    assert {key for key, status in found.items() if status == "unknown"} <= set(begun)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the open files are not listed here")
async def test_the_file_is_closed_and_free_when_the_loop_was_left(path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        async with Bulk(echo, map(str, range(50)), concurrency=2, journal=path) as run:
            async for _ in run:
                break
    await no_task_is_left()
    assert len(list(descriptors.iterdir())) <= before


# Duplicates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3, 8])
@pytest.mark.parametrize("ordered", [False, True])
async def test_an_item_that_comes_twice_is_called_once(path: Path, concurrency: int, *, ordered: bool) -> None:
    begun: list[str] = []

    async def call(item: str) -> None:
        begun.append(item)
        await asyncio.sleep(0)

    items = ["a", "b", "a", "a", "c", "b"]
    found = await outcomes(Bulk(call, items, concurrency=concurrency, journal=path, ordered=ordered))
    assert sorted(begun) == ["a", "b", "c"]
    assert sorted((outcome.key, outcome.status) for outcome in found) == sorted(
        [("a", "ok"), ("b", "ok"), ("c", "ok"), ("a", "skipped"), ("a", "skipped"), ("b", "skipped")]
    )


async def test_an_item_that_must_not_be_repeated_and_comes_twice_is_called_once_also_if_it_is_unknown(
    path: Path,
) -> None:
    call = Counted(a=once_in_doubt())
    found = await outcomes(Bulk(call, ["a", "a", "a"], concurrency=1, journal=path))
    assert call.items == ["a"]
    assert "ok" not in {outcome.status for outcome in found}


@pytest.mark.parametrize("concurrency", [1, 3, 8])
@pytest.mark.parametrize("ordered", [False, True])
async def test_items_with_the_key_of_one_that_fails_fail_with_what_has_failed_it(
    path: Path, concurrency: int, *, ordered: bool
) -> None:
    begun: list[str] = []

    async def call(item: str) -> None:
        begun.append(item)
        await asyncio.sleep(0)
        if item == "a":
            raise Refused("why")

    items = ["a", "b", "a", "a", "c"]
    found = await outcomes(Bulk(call, items, concurrency=concurrency, journal=path, ordered=ordered))
    assert sorted(begun) == ["a", "b", "c"]
    assert sorted((outcome.key, outcome.status, str(outcome.error)) for outcome in found) == [
        ("a", "failed", "when it was called before: Refused"),
        ("a", "failed", "when it was called before: Refused"),
        ("a", "failed", "why"),
        ("b", "ok", "None"),
        ("c", "ok", "None"),
    ]
    assert states(path) == {"a": "failed", "b": "ok", "c": "ok"}


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_items_with_the_key_of_one_that_is_unknown_are_unknown(path: Path, concurrency: int) -> None:
    call = Counted(a=once_in_doubt())
    found = await outcomes(Bulk(call, ["a", "a"], concurrency=concurrency, journal=path))
    assert [(outcome.status, type(outcome.error)) for outcome in found] == [
        ("unknown", OutcomeUnknownError),
        ("unknown", EarlierError),
    ]
    assert call.items == ["a"]


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_an_item_that_comes_twice_is_called_again_after_a_failure_if_that_is_asked_for(
    path: Path, concurrency: int
) -> None:
    begun: list[str] = []

    async def call(item: str) -> None:
        begun.append(item)
        if len(begun) == 1:
            raise Refused

    found = await outcomes(Bulk(call, ["a", "a", "a"], concurrency=concurrency, journal=path, retry_failed=True))
    assert [outcome.status for outcome in found] == ["failed", "ok", "skipped"]
    assert begun == ["a", "a"]


async def test_items_with_one_key_wait_for_the_first_and_keep_nobody_else_waiting(path: Path) -> None:
    calls = Calls()
    done = asyncio.ensure_future(outcomes(Bulk(calls, ["a", "a", "b", "a", "c"], concurrency=4, journal=path)))
    await until(lambda: calls.open == ["a", "b", "c"])
    await turns()
    assert calls.begun == ["a", "b", "c"]
    calls.give_all()
    assert sorted((outcome.key, outcome.status) for outcome in await done) == [
        ("a", "ok"),
        ("a", "skipped"),
        ("a", "skipped"),
        ("b", "ok"),
        ("c", "ok"),
    ]
    assert calls.begun == ["a", "b", "c"]


@pytest.mark.parametrize("ordered", [False, True])
async def test_items_with_one_key_that_are_not_begun_keep_back_no_outcome(path: Path, *, ordered: bool) -> None:
    written(path, ("c", "sent"), ("c", "ok"))

    async def call(item: str) -> None:
        run.stop()

    run = Bulk(call, ["a", "b", "b", "c"], concurrency=4, journal=path, ordered=ordered)
    assert await statuses(run) == {"a": "ok", "c": "skipped"}
    assert states(path) == {"a": "ok", "b": "undone", "c": "ok"}


@pytest.mark.parametrize("ordered", [False, True])
async def test_more_items_with_one_key_than_are_read_ahead_all_have_their_outcome(path: Path, *, ordered: bool) -> None:
    items = ["a"] * 50 + ["b"] + ["a"] * 50
    found = await outcomes(Bulk(Counted(), items, concurrency=2, journal=path, ordered=ordered))
    assert sorted(outcome.status for outcome in found) == ["ok", "ok", *["skipped"] * 99]


async def test_without_a_journal_an_item_that_comes_twice_is_called_twice() -> None:
    call = Counted()
    assert len(await outcomes(Bulk(call, ["a", "a"], concurrency=1))) == 2
    assert call.items == ["a", "a"]


# Torn ends --------------------------------------------------------------------------------------------------------


def entries(data: bytes) -> dict[str, str]:
    """What the whole lines of *data* say of each key."""
    found = {}
    for line in data[: data.rfind(b"\n") + 1].splitlines()[1:]:
        entry = json.loads(line)
        found[entry["key"]] = entry["status"]
    return found


async def test_a_journal_that_was_cut_anywhere_is_what_its_whole_lines_say(path: Path) -> None:
    call = Counted(b=Refused(), c=once_in_doubt())
    await outcomes(Bulk(call, ["a", "b", "c", "ключ\n"], concurrency=2, journal=path))
    whole = path.read_bytes()
    keys = ["a", "b", "c", "ключ\n", "new"]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        expected = entries(whole[:length])
        journal = Journal(path, None)
        journal.open()
        assert {key: journal.state(key) for key in keys} == {key: expected.get(key) for key in keys}, length
        journal.sent("new")
        journal.ended("new", "ok", 1, 0.1, None)
        journal.flush()
        assert journal.state("new") == "ok"
        await journal.close()
        assert states(path) == {**expected, "new": "ok"}, length


NOTES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d\n", "ё"]),
        st.sampled_from(["sent", "ok", "failed", "unknown", "undone", "flush", "reopen"]),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(notes=NOTES, cut=st.integers(0, 120))
def test_a_journal_tells_what_was_noted_last_also_after_it_was_torn(
    tmp_path_factory: pytest.TempPathFactory, notes: list[tuple[str, str]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"

    async def main() -> None:
        expected: dict[str, str] = {}
        journal = Journal(path, "device/claim")
        journal.open()
        for key, note in notes:
            if note == "flush":
                journal.flush()
            elif note == "reopen":
                await journal.close()
                journal = Journal(path, "device/claim")
                journal.open()
            elif note == "sent":
                journal.sent(key)
                expected[key] = note
            else:
                journal.ended(key, note, 1, 0.5, "why")  # type: ignore[arg-type]
                expected[key] = note
            assert {name: journal.state(name) for name in "abc"} == {name: expected.get(name) for name in "abc"}
        await journal.close()
        data = path.read_bytes()
        assert entries(data) == expected
        data = data[: max(len(data) - cut, 0)]
        path.write_bytes(data)
        journal = Journal(path, "device/claim")
        journal.open()
        assert {name: journal.state(name) for name in "abc"} == {name: entries(data).get(name) for name in "abc"}
        await journal.close()

    asyncio.run(main())


async def test_a_run_heals_a_torn_line_and_goes_on(path: Path) -> None:
    written(path, ("a", "sent"), ("a", "ok"), ("b", "sent"))
    with path.open("ab") as file:
        file.write(b'{"key":"b","status":"o')
    call = Counted()
    found = await statuses(Bulk(call, ["a", "b", "c"], concurrency=1, journal=path, kind=Kind.REPLAYABLE))
    assert found == {"a": "skipped", "b": "ok", "c": "ok"}
    assert states(path) == dict.fromkeys("abc", "ok")


# Files that are no journals ---------------------------------------------------------------------------------------

FOREIGN = [
    b"id\nM72DANY8BZ\n",
    b"M72DANY8BZ",
    b'{"id": "M72DANY8BZ"}\n',
    b'{"id": "M72DANY8BZ"}',
    b"\n",
    b"\n\n",
    b"[]\n",
    b"null\n",
    b"1\n",
    b'"journal"\n',
    b"\x00\x01\x02",
    b"\xff\xfe{\n",
    b'{"journal":"The Lancet","call":"1823"}',
    b'{"journal": "The Lancet", "volume": 1}',
    b'{"journal":"The Lancet"}\n',
    b'{"journal":2,"call":null}\n',
    b'{"journal":2,"call":nul',
    b'{"journal":1}\n',
]


@pytest.mark.parametrize("data", FOREIGN, ids=repr)
async def test_a_file_that_is_no_journal_is_refused_by_its_path_and_left_as_it_is(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    call = Counted()
    with pytest.raises(InvalidArgumentError, match=f"journal: .*{path.name}"):
        await outcomes(Bulk(call, ["a"], concurrency=1, journal=path))
    assert path.read_bytes() == data
    assert call.items == []
    await no_task_is_left()


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b"{}",
        b"nonsense",
        b'{"key":"a"}',
        b'{"key":1,"status":"ok"}',
        b'{"key":"a","status":"done"}',
        b'{"key":"a","status":["ok"]}',
        b'["a","ok"]',
        b'{"key":"a","status":"o{"key":"a","status":"ok"}',
        b"\x00" * 20,
    ],
    ids=repr,
)
async def test_a_spoilt_line_is_refused_by_its_number_and_the_file_left_as_it_is(path: Path, spoilt: bytes) -> None:
    written(path, ("a", "sent"), ("a", "ok"))
    with path.open("ab") as file:
        file.write(spoilt + b'\n{"key":"b","status":"sent"}\n')
    data = path.read_bytes()
    call = Counted()
    with pytest.raises(InvalidArgumentError, match=f"{path.name}.*line 4"):
        await outcomes(Bulk(call, ["a", "b", "c"], concurrency=1, journal=path))
    assert path.read_bytes() == data
    assert call.items == []


async def test_a_name_tells_the_journals_of_two_jobs_apart(path: Path) -> None:
    call = Counted()
    await outcomes(Bulk(call, ["a"], concurrency=1, journal=path, name="one job"))
    assert lines(path)[0]["call"] == "one job"
    with pytest.raises(InvalidArgumentError, match="of one job, not of another"):
        await outcomes(Bulk(call, ["a"], concurrency=1, journal=path, name="another"))
    assert call.items == ["a"]


async def test_a_journal_of_another_job_in_which_nothing_has_come_of_anything_is_begun_anew(path: Path) -> None:
    call = Counted(a=Refused("not there"))
    with pytest.raises(Refused):
        await outcomes(Bulk(call, ["a", "b"], concurrency=1, journal=path, name="at the wrong place", stop_on=Refused))
    assert states(path) == {"a": "undone"}
    found = await statuses(Bulk(Counted(), ["a", "b"], concurrency=1, journal=path, name="at the right one"))
    assert found == {"a": "ok", "b": "ok"}
    assert lines(path)[0]["call"] == "at the right one"
    assert states(path) == {"a": "ok", "b": "ok"}


@pytest.mark.parametrize("status", ["sent", "ok", "failed", "unknown"])
async def test_a_journal_of_another_job_that_tells_of_something_is_left_as_it_is(path: Path, status: str) -> None:
    written(path, ("a", "undone"), ("b", status), call="another job")
    before = path.read_bytes()
    with pytest.raises(InvalidArgumentError, match="another job"):
        await outcomes(Bulk(echo, ["a"], concurrency=1, journal=path, name="this job"))
    assert path.read_bytes() == before


async def test_a_journal_of_another_operation_is_refused_by_both_names(path: Path) -> None:
    written(path, ("D1", "ok"), call="device/claim")
    data = path.read_bytes()
    async with served() as (server, client):
        with pytest.raises(InvalidArgumentError, match=r"device/claim.*device/release"):
            await outcomes(client.bulk(client.device.release, ["D1"], journal=path))
    assert (path.read_bytes(), server.requests) == (data, [])


async def test_a_journal_of_an_operation_is_refused_for_a_callable_of_ones_own(path: Path) -> None:
    written(path, ("D1", "ok"), call="device/claim")
    with pytest.raises(InvalidArgumentError, match="device/claim"):
        await outcomes(Bulk(echo, ["D1"], concurrency=1, journal=path))


async def test_a_journal_in_a_folder_that_is_not_there_is_refused_by_its_path(tmp_path: Path) -> None:
    call = Counted()
    with pytest.raises(InvalidArgumentError, match=r"journal: No such file.*nowhere"):
        await outcomes(Bulk(call, ["a"], concurrency=1, journal=tmp_path / "nowhere" / "journal.jsonl"))
    assert call.items == []


async def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises((OSError, InvalidArgumentError), match=tmp_path.name):
        await outcomes(Bulk(echo, ["a"], concurrency=1, journal=tmp_path))


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="there are no such devices here")
async def test_a_device_is_no_journal() -> None:
    """What is written to it is not there when it is read."""
    with pytest.raises(InvalidArgumentError, match=r"journal.*/dev/null"):
        await outcomes(Bulk(echo, ["a"], concurrency=1, journal="/dev/null"))


async def test_nothing_is_made_before_somebody_iterates(path: Path) -> None:
    Bulk(echo, ["a"], concurrency=1, journal=path)
    assert not path.exists()


# One run at a time ------------------------------------------------------------------------------------------------


async def test_a_second_run_with_the_same_journal_is_refused_while_the_first_goes_on(path: Path) -> None:
    calls = Calls()
    done = asyncio.ensure_future(outcomes(Bulk(calls, ["a"], concurrency=1, journal=path)))
    await until(lambda: bool(calls.open))
    second = Counted()
    with pytest.raises(InvalidArgumentError, match=f"another run.*{path.name}"):
        await outcomes(Bulk(second, ["a", "b"], concurrency=1, journal=path))
    assert second.items == []
    calls.give("a")
    assert [outcome.status for outcome in await done] == ["ok"]
    assert await statuses(Bulk(second, ["a", "b"], concurrency=1, journal=path)) == {"a": "skipped", "b": "ok"}


HOLDER = """
    import asyncio, sys
    from ioto_async.bulk import Bulk

    async def call(item):
        print(item, flush=True)
        await asyncio.Event().wait()

    async def main():
        async for outcome in Bulk(call, ["a"], concurrency=1, journal=sys.argv[1]):
            pass

    asyncio.run(main())
"""


async def test_a_run_of_another_process_keeps_its_journal_until_it_is_killed(path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(HOLDER), str(path)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"a\n"
        call = Counted()
        with pytest.raises(InvalidArgumentError, match="another run"):
            await outcomes(Bulk(call, ["a", "b"], concurrency=1, journal=path))
        assert call.items == []
    finally:
        child.kill()
        child.communicate()
    assert await statuses(Bulk(call, ["a", "b"], concurrency=1, journal=path)) == {"a": "unknown", "b": "ok"}
    assert call.items == ["b"]


# When it cannot be written ----------------------------------------------------------------------------------------

FULL = """
    import asyncio, json, resource, sys
    from ioto_async.bulk import Bulk

    begun = []

    async def call(item):
        begun.append(item)
        await asyncio.sleep(0)

    async def main():
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
        given, error = [], None
        run = Bulk(call, map(str, range(10_000)), concurrency=8, journal=sys.argv[1])
        try:
            async with run:
                async for outcome in run:
                    given.append([outcome.key, outcome.status])
        except OSError as caught:
            error = [type(caught).__name__, caught.errno, str(caught)]
        print(json.dumps({"begun": begun, "given": given, "error": error, "tasks": len(asyncio.all_tasks())}))

    asyncio.run(main())
"""


def until_full(path: Path, size: int) -> dict[str, Any]:
    """A run whose journal may have *size* bytes; what it has begun and given, and how it ended."""
    # The signal, which python ignores at its start, would otherwise end it.
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), str(path), str(size)],
        capture_output=True,
        timeout=GUARD * 2,
        check=False,
    )
    assert child.returncode == 0, child.stderr.decode()
    assert child.stderr == b""
    result: dict[str, Any] = json.loads(child.stdout)
    return result


@pytest.mark.parametrize("size", [600, 1000, 1001, 4099, 20_000])
def test_when_the_disk_is_full_nothing_is_sent_or_given_that_is_not_noted(path: Path, size: int) -> None:
    result = until_full(path, size)
    noted = states(path)
    assert set(result["begun"]) <= noted.keys()
    assert {key: noted[key] for key, _ in result["given"]} == dict(result["given"])
    assert len(result["begun"]) < 1000
    assert result["error"] is not None
    assert result["error"][1] == errno.EFBIG
    assert result["tasks"] == 1
    assert path.stat().st_size <= size


def test_the_error_of_a_full_disk_names_the_journal(path: Path) -> None:
    assert path.name in until_full(path, 1000)["error"][2]


def test_a_run_whose_disk_was_full_is_gone_on_with_when_there_is_room(path: Path) -> None:
    result = until_full(path, 5000)
    noted = states(path)
    call = Counted()
    found = asyncio.run(statuses(Bulk(call, map(str, range(200)), concurrency=8, journal=path)))
    assert not set(call.items) & set(result["begun"]), "what must not be repeated was"
    in_doubt = {key for key in result["begun"] if noted[key] != "ok"}
    assert {key for key, status in found.items() if status == "unknown"} == in_doubt
    assert len(found) == 200


LEFT = """
    import asyncio, resource, sys
    from ioto_async.bulk import Bulk

    path, reason = sys.argv[1:]

    async def call(item):
        pass

    async def main():
        run = Bulk(call, range(100), concurrency=1, journal=path)
        async with run:
            async for outcome in run:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
                if reason == "error":
                    raise KeyError(reason)
                break

    try:
        asyncio.run(main())
    except (KeyError, OSError) as caught:
        print(type(caught).__name__)
"""


@each_row("reason, raised", [("error", "KeyError"), ("break", "OSError")])
def test_a_full_disk_when_the_loop_is_left_comes_out_unless_another_error_does(
    tmp_path: Path, reason: str, raised: str
) -> None:
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LEFT), str(tmp_path / reason), reason],
        capture_output=True,
        timeout=GUARD * 2,
        check=False,
    )
    assert (child.returncode, child.stdout.decode()) == (0, f"{raised}\n"), child.stderr.decode()
    (told,) = child.stderr.decode().splitlines()
    assert told.startswith("the journal could not be written: [Errno 27] File too large")


BRIEFLY_FULL = """
    import asyncio, json, os, resource, sys
    from ioto_async.bulk import Bulk

    path, given, begun = sys.argv[1], [], []
    last = asyncio.Event()

    def room(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    async def call(item):
        begun.append(item)
        if item == 0:
            await last.wait()
            room(resource.RLIM_INFINITY)
        elif item == 5:
            room(os.path.getsize(path))

    async def main():
        run = Bulk(call, range(1000), concurrency=4, ordered=True, journal=path)

        async def release():
            while run.summary.stopped is None:
                await asyncio.sleep(0)
            last.set()

        task, error = asyncio.create_task(release()), None
        try:
            async with run:
                async for outcome in run:
                    given.append([outcome.key, outcome.status])
        except OSError as caught:
            error = caught.errno
        await task
        print(json.dumps({"begun": begun, "given": given, "error": error}))

    asyncio.run(main())
"""


def test_when_the_disk_is_full_for_a_while_an_ordered_run_gives_what_is_known_and_then_raises(path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BRIEFLY_FULL), str(path)],
        capture_output=True,
        timeout=GUARD * 2,
        check=False,
    )
    assert (child.returncode, child.stderr.decode()) == (0, "")
    result = json.loads(child.stdout)
    assert result["error"] == errno.EFBIG
    assert len(result["begun"]) >= 6
    assert result["given"] == [[str(item), "ok"] for item in sorted(result["begun"])]
    assert {key: state for key, state in states(path).items() if state != "undone"} == dict(result["given"])


@pytest.mark.parametrize("ordered", [False, True])
async def test_when_somebody_has_cut_the_journal_a_run_gives_what_is_known_and_then_raises(
    path: Path, *, ordered: bool
) -> None:
    names = list("abcdef")
    await outcomes(Bulk(Counted(**dict.fromkeys(names, Refused())), names, concurrency=1, journal=path))
    calls, given = Calls(), list[str]()
    run = Bulk(calls, names, concurrency=3, journal=path, ordered=ordered, retry_failed=True)
    done = asyncio.ensure_future(consume(run, lambda outcome: given.append(outcome.key)))
    await until(lambda: calls.open == ["a", "b", "c"])
    os.truncate(path, 40)
    calls.give_all()
    with pytest.raises(OSError, match="changed"):
        await done
    assert sorted(given) == ["a", "b", "c"]
    assert calls.begun == ["a", "b", "c"]


async def test_a_disk_that_fails_to_keep_what_it_was_given_is_not_hidden(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        await outcomes(Bulk(echo, ["a"], concurrency=1, journal=path))
    await no_task_is_left()


async def test_a_disk_that_failed_once_is_not_hidden(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system tells of bytes that it has lost only once."""
    fsync, failures = os.fsync, [OSError(errno.EIO, os.strerror(errno.EIO))]

    def fails_once(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_once)
    journal = Journal(path, None)
    journal.open()
    journal.sync()
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        await journal.close()


class Disk:
    """A disk that keeps what it was given when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.release = threading.Event(), threading.Event()
        self.descriptors: list[int] = []
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        self.begun.set()
        assert self.release.wait(GUARD)
        os.fstat(descriptor)  # raises if it was closed meanwhile
        self.descriptors.append(descriptor)


async def test_a_journal_that_is_closed_is_written_before_the_disk_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever kills a process that hangs there loses nothing."""
    disk = Disk(monkeypatch)
    journal = Journal(path, None)
    journal.open()
    journal.sync()
    await until(disk.begun.is_set)
    journal.sent("a")
    closing = asyncio.create_task(journal.close())
    await turns()
    assert states(path) == {"a": "sent"}
    assert not closing.done()
    disk.release.set()
    await closing
    assert len(disk.descriptors) == 2


async def test_a_journal_is_not_closed_while_the_disk_is_waited_for_however_often_that_is_cancelled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    journal = Journal(path, None)
    journal.open()
    journal.sync()
    await until(disk.begun.is_set)
    journal.ended("a", "ok", 1, 0.1, None)
    closing = asyncio.create_task(journal.close())
    for _ in range(3):
        await turns()
        closing.cancel()
    await turns()
    assert not closing.done()
    disk.release.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert len(disk.descriptors) == 2
    assert states(path) == {"a": "ok"}
    again = Journal(path, None)
    again.open()  # the lock is free
    await again.close()


async def test_a_run_that_is_cancelled_twice_loses_no_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, begun, cleaning = Disk(monkeypatch), list[str](), list[str]()

    async def call(item: str) -> None:
        begun.append(item)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cleaning.append(item)
            await turns(50)

    done = asyncio.ensure_future(outcomes(Bulk(call, list("abcdef"), concurrency=3, journal=path)))
    await until(lambda: len(begun) == 3)
    done.cancel()
    await until(lambda: len(cleaning) == 3)
    done.cancel()
    await until(disk.begun.is_set)
    done.cancel()
    await turns()
    disk.release.set()
    with pytest.raises(asyncio.CancelledError):
        await done
    assert {key: state for key, state in states(path).items() if state != "undone"} == dict.fromkeys("abc", "ok")
    assert others() == set()


@each_row("code", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM, errno.ENOSYS, errno.EIO])
async def test_a_journal_that_cannot_be_locked_is_refused_by_its_name(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    call = Counted()
    with pytest.raises(InvalidArgumentError) as caught:
        await outcomes(Bulk(call, ["a"], concurrency=1, journal=path))
    assert str(caught.value).startswith(f"journal: {path} cannot be locked ({os.strerror(code)}), ")
    assert "local disk" in str(caught.value)
    assert call.items == []
