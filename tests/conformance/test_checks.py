"""The checks: at the embedded cloud all hold, and each tells a cloud that does otherwise."""

from typing import Final

import pytest

from ioto_async.conformance import ASSUMPTIONS, Check, Verdict
from ioto_async.emulator import Emulator
from ioto_async.emulator.otherwise import OTHERWISE
from tests.conformance.clouds import DEVICE, numbers, run_of, seeded, with_verdict
from tests.rows import each_row

POSSIBLE: Final = numbers(ASSUMPTIONS.values(), *(check for check in Check if check is not Check.NONE))


async def test_all_hold_at_the_embedded_cloud() -> None:
    async with Emulator(mqtt=False) as emulator:
        seeded(emulator)
        before = state(emulator)
        run = run_of(emulator)
        await run.run()
        assert state(emulator) == before  # all that was written is gone
    assert with_verdict(run, Verdict.DIFFERS) | with_verdict(run, Verdict.UNCLEAR) == {}
    assert with_verdict(run, Verdict.HOLDS).keys() == POSSIBLE
    assert run.report.left == []
    assert run.report.is_complete


def state(emulator: Emulator) -> list[object]:
    """What a check writes, and has to remove."""
    cloud = emulator.cloud
    with cloud.lock:
        return [
            cloud.dashboards.find(None, {})["data"],
            cloud.files.find(cloud.account_id, {}, {})["data"],
            [item["key"] for item in cloud.models.all("Store")],
            [cloud.device(DEVICE, cloud.account_id) is not None],
        ]


async def test_each_check_tells_a_cloud_that_does_otherwise(emulator: Emulator) -> None:
    @each_row("number", list(OTHERWISE))
    async def told(number: str) -> None:
        seeded(emulator, [number])
        run = run_of(emulator, only=[number])
        await run.run()
        assert with_verdict(run, Verdict.DIFFERS).keys() == {number}, run.report.findings
        assert run.report.left == []

    await told()


@pytest.mark.slow
async def test_the_other_checks_do_not_take_one_difference_for_another(emulator: Emulator) -> None:
    @each_row("number", list(OTHERWISE))
    async def told(number: str) -> None:
        seeded(emulator, [number])
        run = run_of(emulator)
        await run.run()
        assert with_verdict(run, Verdict.DIFFERS).keys() == {number}
        assert run.report.left == []

    await told()


async def test_what_was_not_allowed_is_not_done(emulator: Emulator) -> None:
    @each_row(
        "write, devices, done",
        [
            (False, (), {Check.READ}),
            (False, (DEVICE,), {Check.READ, Check.DEVICE}),
            (True, (), {Check.READ, Check.WRITE}),
        ],
    )
    async def run_so(write: bool, devices: tuple[str, ...], done: set[Check]) -> None:
        seeded(emulator)
        emulator.requests.clear()
        run = run_of(emulator, write=write, devices=devices)
        await run.run()
        assert with_verdict(run, Verdict.HOLDS).keys() == numbers(ASSUMPTIONS.values(), *done)
        bodies = b"\n".join(request.body for request in emulator.requests)
        assert (DEVICE.encode() in bodies) is bool(devices)
        operations = {request.operation for request in emulator.requests}
        assert ("dashboard/create" in operations) is write
        assert "generic/create" not in operations

    await run_so()
