"""Runs of the checks: what they refuse, what they take back, and what their reports show."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from ioto_async.conformance import Run, Verdict
from ioto_async.conformance.finding import MARK
from ioto_async.emulator import Emulator, Fault
from ioto_async.errors import AuthenticationError, ConnectionFailedError, InvalidArgumentError
from tests.conformance.clouds import DEVICE, OTHER, run_of, seeded, with_verdict
from tests.conformance.test_checks import state
from tests.rows import each_row

WRITING = ["A21", "A36", "A52", "A53", "A55", "A57", "A60", "A61", "A65"]


async def test_a_run_that_is_cancelled_removes_what_it_has_written_first(emulator: Emulator) -> None:
    @each_row("operation", ["dashboard/create", "file/put", "generic/update", "generic/create"])
    async def cancelled_after(operation: str) -> None:
        seeded(emulator)
        emulator.requests.clear()
        before = state(emulator)
        run = run_of(emulator, only=WRITING)
        task = asyncio.create_task(run.run())
        while not any(request.operation == operation for request in emulator.requests):
            assert not task.done()
            await asyncio.sleep(0)
        while not task.done():
            task.cancel()  # more than once, as somebody does who is impatient
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert state(emulator) == before
        assert not run.report.is_complete
        assert run.report.left == []

    await cancelled_after()


async def test_a_write_that_is_cancelled_under_way_is_removed(emulator: Emulator) -> None:
    seeded(emulator)
    before = state(emulator)
    emulator.faults.add(Fault("dashboard/create", delay=0.2))
    run = run_of(emulator, only=["A21"])
    task = asyncio.create_task(run.run())
    while emulator.faults:  # until it has come in, and is held back
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert "dashboard/create" in {request.operation for request in emulator.requests}
    assert state(emulator) == before


async def test_a_write_whose_reply_is_lost_is_removed(emulator: Emulator) -> None:
    seeded(emulator)
    before = state(emulator)
    emulator.faults.add(Fault("dashboard/create", reset="after"))
    run = run_of(emulator, only=["A21"])
    await run.run()
    assert with_verdict(run, Verdict.UNCLEAR)["A21"].startswith("no reply: dashboard/create: ")
    assert state(emulator) == before


async def test_what_cannot_be_removed_is_reported_by_its_name(emulator: Emulator) -> None:
    seeded(emulator)
    emulator.faults.add(Fault("file/remove", status=500, body="Service error"))
    run = run_of(emulator, only=["A53"])
    await run.run()
    (left,) = run.report.left
    assert left.startswith(f"file {MARK}-")
    assert left.endswith(".txt: 500 Service error")
    assert left in run.report.to_markdown()


async def test_a_check_that_takes_too_long_cannot_tell_and_the_others_go_on(emulator: Emulator) -> None:
    seeded(emulator)
    emulator.faults.add(Fault("test/ping", delay=60))
    run = Run(environ=emulator.env, only=["A23", "A39"], rate=1e6, timeout=0.1)
    await run.run()
    assert with_verdict(run, Verdict.UNCLEAR) == {"A23": "it did not end within 0.1 s"}
    assert with_verdict(run, Verdict.HOLDS).keys() == {"A39"}


async def test_a_service_that_asks_for_fewer_requests_is_told_apart(emulator: Emulator) -> None:
    seeded(emulator)
    emulator.faults.add(Fault("test/ping", status=429, body="Too many"))
    run = run_of(emulator, only=["A23"])
    await run.run()
    assert with_verdict(run, Verdict.UNCLEAR) == {"A23": "the service asks for fewer requests: 429 Too many"}


async def test_a_token_that_may_not_write_is_told_apart(emulator: Emulator) -> None:
    seeded(emulator)
    emulator.cloud.roles["cloud"].remove("edit")
    run = run_of(emulator, only=["A53"])
    await run.run()
    assert with_verdict(run, Verdict.UNCLEAR) == {"A53": "the caller may not call it: file/put: 403 Access denied"}


async def test_a_device_that_the_account_does_not_have_is_refused(emulator: Emulator) -> None:
    seeded(emulator)
    emulator.cloud.release_device(OTHER)
    theirs = emulator.cloud.register_device("DEV0000003")
    emulator.cloud.claim_device(theirs, emulator.cloud.add_account("Other", "other@example.com"))

    @each_row("device", [OTHER, theirs, "NOSUCHDEV0"])
    async def refused(device: str) -> None:
        emulator.requests.clear()
        with pytest.raises(InvalidArgumentError, match=f"device: {device} is not a device of the account: .*find dev"):
            await run_of(emulator, devices=(DEVICE, device)).run()
        assert "generic/create" not in {request.operation for request in emulator.requests}

    await refused()


async def test_bad_arguments_are_refused(emulator: Emulator) -> None:
    @each_row(
        "arguments, error",
        [
            ({"only": ["A0"]}, "only: there is no assumption 'A0'"),
            ({"devices": ("",)}, "device: "),
            ({"devices": (" X",)}, "device: "),
        ],
    )
    def refused(arguments: dict[str, Any], error: str) -> None:
        with pytest.raises(InvalidArgumentError, match=error):
            Run(**arguments)

    refused()
    with pytest.raises(InvalidArgumentError, match="rate"):
        await Run(environ=emulator.env, rate=0).run()


async def test_a_cloud_that_refuses_the_token_or_is_not_there_fails_the_run(emulator: Emulator) -> None:
    with pytest.raises(AuthenticationError):
        await Run(environ=emulator.env | {"IOTO_TOKEN": "WRONG"}).run()
    with pytest.raises(ConnectionFailedError):
        await Run(environ=emulator.env | {"IOTO_API": "http://127.0.0.1:1"}).run()


async def test_the_account_and_the_cloud_are_found(emulator: Emulator) -> None:
    seeded(emulator)
    environ = {name: value for name, value in emulator.env.items() if name not in ("IOTO_ACCOUNT", "IOTO_CLOUD")}
    run = Run(environ=environ, only=["A19", "A79"], rate=1e6)
    await run.run()
    assert with_verdict(run, Verdict.HOLDS).keys() == {"A19", "A79"}
    seeded(emulator)
    for device in (DEVICE, OTHER):
        emulator.cloud.release_device(device)
    run = Run(environ=environ, only=["A19", "A79"], rate=1e6)
    await run.run()  # by the one account that there is
    assert with_verdict(run, Verdict.HOLDS).keys() == {"A19", "A79"}


async def test_a_user_who_signs_in_is_checked_as_well(emulator: Emulator) -> None:
    seeded(emulator)
    environ = {name: value for name, value in emulator.env.items() if name != "IOTO_TOKEN"}
    run = Run(environ=environ, write=True, devices=(DEVICE,), rate=1e6)
    await run.run()
    assert with_verdict(run, Verdict.DIFFERS) == {}
    unclear = with_verdict(run, Verdict.UNCLEAR)
    assert unclear["A1"] == "the client signs in with a login, and this is about tokens"
    assert {"A18", "A21", "A57", "A69"} <= with_verdict(run, Verdict.HOLDS).keys()


async def test_a_report_shows_nothing_that_identifies_anybody(emulator: Emulator) -> None:
    seeded(emulator, ["A75", "A47", "A83"])
    emulator.cloud.add_user("ann@example.com", first="Ann-Sophie")
    run = run_of(emulator)
    await run.run()
    cloud = emulator.cloud
    known = {
        *(cloud.account_id, cloud.id, cloud.token, cloud.product_token, cloud.origin, cloud.endpoint),
        *(DEVICE, OTHER, emulator.api, emulator.api.rpartition("/")[2], "ann@example.com", cloud.username),
    }
    for text in (run.report.to_markdown(), run.report.to_json()):
        assert {word for word in known if word in text} == set()
    report = json.loads(run.report.to_json())
    assert report["counts"]["does not hold"] == 3
    seen = {each["number"]: each["seen"] for each in report["findings"]}
    assert seen["A47"].startswith("endpoint HOST-")
    assert seen["A75"].startswith("ACC-")
    assert MARK in seen["A83"]
