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
from ioto_async.errors import BadRequestError, ConnectionFailedError
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


async def statuses(job: Job[IotoClient], rows: int, concurrency: int = 64) -> tuple[list[str], bool]:
    """The status of each row in the order of the file, and whether the service counted as gone."""
    ended: dict[int, str] = {}
    client = IotoClient("https://cloud.example", token="01TOKEN", environ={})
    items = [Row(line, f"DEV{line}") for line in range(rows)]
    going = FleetRun(
        title="fleet test",
        source=Source(io.StringIO(), read_rows, path=None, total=rows),
        options=FleetOptions(concurrency=concurrency),
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


async def test_a_connection_that_fails_later_fails_its_row_alone() -> None:
    assert await statuses(job_of(refuse(1, 2)), 4) == (["ok", "failed", "failed", "ok"], False)


async def test_a_service_that_is_gone_for_sixteen_rows_ends_the_run() -> None:
    assert await statuses(job_of(refuse(*range(1, 100))), 100) == (["ok", *["failed"] * 15], True)


async def test_with_few_at_once_fewer_rows_tell_that_a_service_is_gone() -> None:
    assert await statuses(job_of(refuse(*range(1, 100))), 100, concurrency=2) == (["ok", "failed"], True)


async def test_every_answer_gives_new_patience() -> None:
    # Fifteen failures, an answer that is a refusal of the row, fifteen failures.
    def answer(line: int) -> None:
        if line == 16:
            raise BadRequestError("no", operation="device/claim", status=400)
        refuse(*range(1, 32))(line)

    assert await statuses(job_of(answer), 33) == (["ok", *["failed"] * 31, "ok"], False)


async def test_a_row_that_fails_on_its_way_counts_as_well() -> None:
    def answer(line: int) -> None:
        try:
            refuse(*range(100))(line)
        except ConnectionFailedError as error:
            raise RowError(str(error), claimed="now") from error

    assert await statuses(job_of(answer), 100) == (["failed"] * 15, True)


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
