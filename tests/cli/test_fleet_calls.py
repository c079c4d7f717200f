"""When a run of ``ioto-async fleet`` goes on after a failure, and when it does not; what its jobs are made of."""

import io
import pickle
from collections.abc import Callable

import pytest

from ioto_async import IotoClient
from ioto_async.cli.fleet.jobs import (
    CHECK_UPDATE,
    CLAIM,
    REGISTER,
    RELEASE,
    Done,
    Job,
    JobSettings,
    cloud_client,
    cloud_endpoint,
)
from ioto_async.cli.fleet.provisioning import PROVISION
from ioto_async.cli.fleet.run import FleetRun, run
from ioto_async.cli.options import FleetOptions
from ioto_async.cli.rows import Row, RowError, Source, read_rows
from ioto_async.cli.run import UnreachableError
from ioto_async.emulator import EmulatorThread
from ioto_async.errors import ConnectionFailedError
from ioto_async.operations import Kind

from .fleets import Fleet

REFUSED = ConnectionFailedError("connection refused", operation="device/claim")


def job_of(answer: Callable[[int], None]) -> Job[IotoClient]:
    """A job that does a row if *answer* does not raise for its line."""

    async def call(client: IotoClient, row: Row, settings: JobSettings) -> Done:
        answer(row.line)
        return Done("done")

    return Job(
        name="test", client=cloud_client, endpoint=cloud_endpoint, call=call, kind=Kind.REPLAYABLE, results=("done",)
    )


async def statuses(job: Job[IotoClient], rows: int) -> tuple[list[str], bool]:
    """The status of each row in the order of the file, and whether the service counted as gone."""
    ended: dict[int, str] = {}
    client = IotoClient("https://cloud.example", token="01TOKEN", environ={})
    items = [Row(line, f"DEV{line}") for line in range(rows)]
    going = FleetRun(
        title="fleet test",
        source=Source(io.StringIO(), read_rows, path=None, total=rows),
        options=FleetOptions(concurrency=4),
        counts={},
        job=job,
        client=client,
        settings=JobSettings(),
    )
    async with going.open_bulk(items) as bulk:
        try:
            async for outcome in bulk:
                ended[outcome.item.line] = outcome.status
        except UnreachableError:
            gone = True
        else:
            gone = False
    return [ended[line] for line in sorted(ended)], gone


def refuse(*lines: int) -> Callable[[int], None]:
    def answer(line: int) -> None:
        if line in lines:
            raise REFUSED

    return answer


async def test_a_service_that_never_answered_ends_the_run_at_the_first_row() -> None:
    assert await statuses(job_of(refuse(*range(100))), 100) == ([], True)


class Clock:
    """A time of which a second passes with each call."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("ioto_async.cli.run._PAUSE", 0.0)
    monkeypatch.setattr("ioto_async.cli.run.time", clock)
    return clock


def failing(times: int, lines: Callable[[int], bool]) -> Callable[[int], None]:
    """Answers for rows of *lines* after so many connections have failed for each."""
    left: dict[int, int] = {}

    def answer(line: int) -> None:
        left[line] = left.get(line, times) - 1
        if lines(line) and left[line] >= 0:
            raise REFUSED

    return answer


async def test_rows_that_a_short_outage_has_kept_from_the_service_are_called_for_again() -> None:
    assert await statuses(job_of(failing(20, lambda line: line > 0)), 100) == (["ok"] * 100, False)


async def test_a_service_that_is_away_too_long_ends_the_run_and_fails_no_row(clock: Clock) -> None:
    called: list[int] = []

    def answer(line: int) -> None:
        clock.now += 1
        called.append(line)
        refuse(*range(1, 100))(line)

    assert await statuses(job_of(answer), 100) == (["ok"], True)
    assert 60 <= len(called) < 70


async def test_a_row_that_is_never_delivered_while_others_are_fails_alone(clock: Clock) -> None:
    def answer(line: int) -> None:
        clock.now += 1
        refuse(3)(line)

    found, gone = await statuses(job_of(answer), 200)
    assert (found.count("ok"), found[3], gone) == (199, "failed", False)


async def test_a_row_that_is_cut_off_on_its_way_is_called_for_again_as_well() -> None:
    refusing = failing(3, lambda line: True)

    def answer(line: int) -> None:
        try:
            refusing(line)
        except ConnectionFailedError as error:
            raise RowError(str(error), claimed="now") from error

    assert await statuses(job_of(answer), 20) == (["ok"] * 20, False)


async def test_what_no_row_can_be_blamed_for_is_raised(cloud: EmulatorThread, fleet: Fleet) -> None:
    def answer(line: int) -> None:
        raise ZeroDivisionError

    fleet.write("DEV1\n")
    with pytest.raises(ZeroDivisionError):
        await run(job_of(answer), str(fleet.file), JobSettings(), FleetOptions(no_journal=True))


def test_every_job_can_be_pickled() -> None:
    jobs = [REGISTER, CLAIM, PROVISION, RELEASE, CHECK_UPDATE]
    assert pickle.loads(pickle.dumps(jobs)) == jobs


def test_settings_can_be_pickled_and_show_no_token() -> None:
    settings = JobSettings(product="01SECRET", account="01ACCOUNT")
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert "01SECRET" not in repr(settings)
