"""Bulk runs over a Dask cluster: what workers do, what becomes of the work of a lost one, and what travels."""

import asyncio
import contextlib
import fcntl
import itertools
import json
import logging
import random
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster, Nanny, Worker
from distributed.comm import tcp

import tests.distributed.calls as calls
from ioto_async import (
    AuthenticationError,
    ClientStateError,
    InvalidArgumentError,
    IotoClient,
    IotoError,
    Outcome,
    Progress,
)
from ioto_async.bulk import EarlierError
from ioto_async.bulk.options import key_of
from ioto_async.distributed import LostSchedulerError, LostWorkerError, bulk, session
from ioto_async.distributed.shards import Directory, Shard, Sharder
from ioto_async.distributed.workers import Workers
from ioto_async.emulator import EmulatorThread, Fault
from ioto_async.operations import Kind
from tests.rawserver import GUARD, leftover_tasks

pytestmark = pytest.mark.slow

IDS = [f"DEV{number:07}" for number in range(200)]


@contextlib.asynccontextmanager
async def cluster_of(workers: int, env: dict[str, str] | None = None, **options: Any) -> AsyncIterator[Client]:
    """A client of a cluster on this machine: of processes that have *env*, or in this process without one."""
    if env is not None:
        options["env"] = env
    async with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=env is not None,
            protocol="tcp://",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            asynchronous=True,
            **options,
        ) as cluster,
        Client(cluster, asynchronous=True, set_as_default=False) as client,
    ):
        yield client
        # Dask may wait forever for the end of a process that is just beginning in place of a killed one.
        if cluster.worker_spec:
            await client.wait_for_workers(len(cluster.worker_spec))


@pytest.fixture
def emulator(ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorThread]:
    """A cloud with registered devices, which this process has in its environment."""
    for id in IDS:
        ioto_emulator.cloud.register_device(id)
    for name, value in ioto_emulator.env.items():
        monkeypatch.setenv(name, value)
    yield ioto_emulator
    calls.CLIENTS.clear()
    calls.LIMITS.clear()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """`calls.hold` from its beginning."""
    monkeypatch.setattr(calls, "BEGUN", asyncio.Event())
    monkeypatch.setattr(calls, "GO_ON", asyncio.Event())
    monkeypatch.setattr(calls, "CUT_OFF", asyncio.Event())
    monkeypatch.setattr(calls, "ENDED", [])


def sent(emulator: EmulatorThread) -> Counter[str]:
    """How often each device was claimed, as the cloud has it."""
    return Counter(json.loads(request.body)["id"] for request in emulator.requests if "device/claim" in request.path)


async def collected(run: AsyncIterator[Outcome[Any, Any]]) -> list[Outcome[Any, Any]]:
    return [outcome async for outcome in run]


def by_status(outcomes: Iterable[Outcome[Any, Any]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.status, set()).add(outcome.key)
    return found


# Two processes, one of which is killed ----------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_worker_that_is_killed_costs_no_item_its_outcome_and_none_is_sent_twice(
    emulator: EmulatorThread, tmp_path: Path
) -> None:
    call = partial(calls.claim_and_die, last=IDS[100], marker=tmp_path / "killed")
    async with cluster_of(2, emulator.env) as cluster:
        run = bulk(cluster, call, IDS, journal=tmp_path / "journal", shard=25, concurrency=4)
        async with run:
            outcomes = await collected(aiter(run))
    assert (tmp_path / "killed").exists()
    assert sorted(outcome.key for outcome in outcomes) == IDS
    assert max(sent(emulator).values()) == 1
    found = by_status(outcomes)
    assert found.keys() <= {"ok", "skipped", "unknown"}
    assert IDS[100] in found["unknown"]
    assert len(found["unknown"]) <= 4
    # What the lost worker had done is known to be done; of what is unknown, only what the cloud tells.
    assert found["ok"] | found.get("skipped", set()) <= sent(emulator).keys()
    assert run.summary.done == len(IDS)
    assert run.summary.unknown == len(found["unknown"])
    with pytest.raises(ExceptionGroup, match=f"{run.summary.unknown} are unknown"):
        run.raise_for_failures()


@pytest.mark.slow
async def test_what_a_killed_worker_had_sent_is_looked_up(emulator: EmulatorThread, tmp_path: Path) -> None:
    call = partial(calls.claim_and_die, last=IDS[100], marker=tmp_path / "killed")
    async with cluster_of(2, emulator.env) as cluster:
        run = bulk(
            cluster, call, IDS, journal=tmp_path / "journal", shard=25, concurrency=4, reconcile=calls.is_claimed
        )
        outcomes = await collected(aiter(run))
    found = by_status(outcomes)
    assert found.keys() <= {"ok", "skipped"}
    assert IDS[100] in found["ok"]
    assert sent(emulator) == Counter(IDS)


@pytest.mark.slow
async def test_what_may_be_sent_twice_is_completed_after_a_worker_was_killed(
    emulator: EmulatorThread, tmp_path: Path
) -> None:
    for id in IDS:
        emulator.cloud.claim_device(id)
    call = partial(calls.set_and_die, last=IDS[100], marker=tmp_path / "killed")
    async with cluster_of(2, emulator.env) as cluster:
        run = bulk(cluster, call, IDS, shard=25, concurrency=4, kind=Kind.REPLAYABLE)
        outcomes = await collected(aiter(run))
    assert (tmp_path / "killed").exists()
    assert by_status(outcomes) == {"ok": set(IDS)}
    assert len(outcomes) == len(IDS)
    assert {outcome.value for outcome in outcomes} == set(IDS)


@pytest.mark.slow
async def test_without_a_journal_the_shard_of_a_killed_worker_is_unknown(
    emulator: EmulatorThread, tmp_path: Path
) -> None:
    call = partial(calls.claim_and_die, last=IDS[100], marker=tmp_path / "killed")
    async with cluster_of(2, emulator.env) as cluster:
        outcomes = await collected(aiter(bulk(cluster, call, IDS, shard=25, concurrency=4)))
    assert sorted(outcome.key for outcome in outcomes) == IDS
    assert max(sent(emulator).values()) == 1
    found = by_status(outcomes)
    assert found.keys() == {"ok", "unknown"}
    assert found["unknown"] >= set(IDS[100:125])
    # It may have had the results of the shard before as well.
    assert len(found["unknown"]) in (25, 50)
    assert found["ok"] <= sent(emulator).keys()
    assert {type(outcome.error) for outcome in outcomes if outcome.status == "unknown"} == {LostWorkerError}


@pytest.mark.slow
async def test_a_shard_that_kills_more_workers_than_dask_allows_is_unknown(emulator: EmulatorThread) -> None:
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        async with cluster_of(1, emulator.env) as cluster:
            run = bulk(cluster, calls.die_always, range(3), kind=Kind.READ)
            outcomes = await collected(aiter(run))
    assert by_status(outcomes) == {"unknown": {"0", "1", "2"}}
    assert all("all those workers died" in str(outcome.error) for outcome in outcomes)


# What travels, and where clients are made -------------------------------------------------------------------------


async def test_no_credentials_are_sent_to_the_cluster(
    emulator: EmulatorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames: list[bytes] = []
    to_frames: Callable[..., Any] = vars(tcp)["to_frames"]

    async def recorded(*args: object, **kwargs: object) -> list[bytes]:
        made: list[bytes] = await to_frames(*args, **kwargs)
        frames.extend(map(bytes, made))
        return made

    # The scheduler is in this process as well, so that this is all that workers are told.
    monkeypatch.setattr(tcp, "to_frames", recorded)
    async with cluster_of(2, emulator.env) as cluster:
        run = bulk(cluster, calls.claim, IDS[:50], journal=tmp_path / "journal", shard=10)
        assert by_status(await collected(aiter(run))) == {"ok": set(IDS[:50])}
    told = b"".join(frames)
    assert IDS[7].encode() in told
    assert emulator.token.encode() not in told
    assert emulator.env["BUILDER_TOKEN"].encode() not in told
    assert emulator.env["IOTO_PASSWORD"].encode() not in told


async def test_a_worker_makes_one_client_for_all_its_shards_with_its_share_of_the_rate(
    emulator: EmulatorThread,
) -> None:
    async with cluster_of(2, emulator.env) as cluster:
        run = bulk(cluster, calls.where, range(60), rate=500, shard=5, connect=calls.connect)
        seen = {outcome.value async for outcome in run}
    assert run.summary.ok == 60
    assert {value[1:] for value in seen if value is not None} == {(250, 1)}


async def test_the_share_of_the_rate_follows_the_number_of_workers(emulator: EmulatorThread) -> None:
    async with cluster_of(2, emulator.env) as cluster:
        run = bulk(cluster, calls.where, itertools.count(), rate=50, kind=Kind.READ, connect=calls.connect)
        rates: list[float | None] = []
        async with run:
            async for outcome in run:
                assert outcome.value is not None, outcome
                if not rates:
                    assert cluster.cluster is not None
                    cluster.cluster.scale(1)
                rates.append(outcome.value[1])
                if rates[-1] == 50:
                    break
    assert set(rates) == {25, 50}


async def test_the_clients_are_closed_at_the_end(emulator: EmulatorThread) -> None:
    async with cluster_of(1) as cluster:
        async with bulk(cluster, calls.claim, IDS[:10], shard=2, connect=calls.connect) as run:
            assert len(await collected(aiter(run))) == 10
        (client,) = calls.CLIENTS
        with pytest.raises(ClientStateError, match="closed"):
            await client.device.get(IDS[0])


async def test_leaving_the_loop_ends_the_calls_on_the_workers(emulator: EmulatorThread, held: None) -> None:
    async with cluster_of(1) as cluster:
        async with bulk(cluster, calls.hold, range(100), shard=10, concurrency=2, connect=calls.connect) as run:
            async for outcome in run:
                assert outcome.status == "ok"
                await calls.BEGUN.wait()  # with the next shard
                break
        assert sorted(calls.ENDED) == [10, 11]
        assert not session._SESSIONS
        (client,) = calls.CLIENTS
        with pytest.raises(ClientStateError, match="closed"):
            await client.device.get(IDS[0])
    assert run.summary.done == 1


# The items --------------------------------------------------------------------------------------------------------


async def test_items_are_taken_as_there_is_room(emulator: EmulatorThread) -> None:
    taken = 0

    def items() -> Iterator[str]:
        nonlocal taken
        for id in IDS:
            taken += 1
            yield id

    async with cluster_of(1) as cluster, bulk(cluster, calls.claim, items(), shard=5) as run:
        async for _ in run:
            assert taken <= 3 * 5  # two shards for the worker, and one that waits
            break


async def test_an_observer_is_told_how_far_the_run_is(emulator: EmulatorThread) -> None:
    told: list[Progress] = []
    async with cluster_of(1) as cluster:
        run = bulk(cluster, calls.claim, IDS[:20], shard=5, observer=told.append)
        await collected(aiter(run))
    assert told[-1].summary == run.summary
    assert (told[-1].total, told[-1].in_flight, told[-1].eta) == (20, 0, 0)


async def test_an_async_source_is_closed_when_the_loop_is_left(emulator: EmulatorThread) -> None:
    class Source:
        closed = False

        async def __aiter__(self) -> AsyncIterator[str]:
            try:
                for id in IDS:
                    yield id
            finally:
                self.closed = True

    source = Source()
    async with cluster_of(1) as cluster, bulk(cluster, calls.claim, source, shard=5) as run:
        async for _ in run:
            break
    assert source.closed


async def test_what_the_source_raises_ends_the_run(emulator: EmulatorThread) -> None:
    def items() -> Iterator[str]:
        yield from IDS[:10]
        raise OSError("the disk")

    async with cluster_of(1) as cluster:
        run = bulk(cluster, calls.claim, items(), shard=5)
        with pytest.raises(OSError, match="the disk"):
            await collected(aiter(run))
    assert run.summary.ok == len(sent(emulator)) <= 10


async def test_an_item_comes_back_as_it_was_given(emulator: EmulatorThread) -> None:
    items = [(number, [number]) for number in range(10)]
    async with cluster_of(1) as cluster:
        outcomes = await collected(aiter(bulk(cluster, calls.where, items, connect=calls.connect)))
    assert [outcome.key for outcome in outcomes] == [str(number) for number in range(10)]
    assert all(outcome.item is item for outcome, item in zip(outcomes, items, strict=True))


async def test_an_item_that_cannot_be_pickled_ends_the_run(emulator: EmulatorThread) -> None:
    async with cluster_of(1) as cluster:
        with pytest.raises(InvalidArgumentError, match="items: expected items that can be pickled"):
            await collected(aiter(bulk(cluster, calls.where, [(number for number in range(3))])))


async def test_a_value_that_cannot_be_pickled_is_told_and_lost(emulator: EmulatorThread) -> None:
    async with cluster_of(1) as cluster:
        outcomes = await collected(aiter(bulk(cluster, calls.return_stubborn, range(4))))
    assert [(outcome.status, outcome.value) for outcome in outcomes] == [
        ("ok", 0),
        ("ok", None),
        ("ok", 2),
        ("ok", None),
    ]
    assert "generator, cannot be pickled" in str(outcomes[1].error)


async def test_an_error_that_cannot_be_pickled_is_told_by_its_name(emulator: EmulatorThread) -> None:
    async with cluster_of(1) as cluster:
        outcomes = await collected(aiter(bulk(cluster, calls.raise_stubborn, range(4))))
    assert [outcome.status for outcome in outcomes] == ["ok", "failed", "ok", "failed"]
    assert str(outcomes[1].error) == "Stubborn, which cannot be pickled"


# Journals ---------------------------------------------------------------------------------------------------------


async def test_a_second_run_skips_what_is_done_in_whatever_order_and_shards_it_comes(
    emulator: EmulatorThread, tmp_path: Path
) -> None:
    shuffled = IDS[:60] * 2
    random.Random(1).shuffle(shuffled)
    async with cluster_of(1) as cluster:
        run = bulk(cluster, calls.claim, IDS[:50], journal=tmp_path, shard=7)
        assert by_status(await collected(aiter(run))) == {"ok": set(IDS[:50])}
        run = bulk(cluster, calls.claim, shuffled, journal=tmp_path, shard=100)
        outcomes = await collected(aiter(run))
    assert len(outcomes) == 120
    assert by_status(outcomes) == {"ok": set(IDS[50:60]), "skipped": set(IDS[:60])}
    assert sent(emulator) == Counter(IDS[:60])


async def test_failures_are_told_again_or_called_again(emulator: EmulatorThread, tmp_path: Path) -> None:
    emulator.faults.add(Fault("device/claim", status=400, body="no", times=3))
    async with cluster_of(1) as cluster:
        run = bulk(cluster, calls.claim, IDS[:20], journal=tmp_path)
        first = by_status(await collected(aiter(run)))
        told = await collected(aiter(bulk(cluster, calls.claim, IDS[:20], journal=tmp_path)))
        again = await collected(aiter(bulk(cluster, calls.claim, IDS[:20], journal=tmp_path, retry_failed=True)))
    assert {note for error in run.summary.errors for note in error.__notes__} == {
        f"item {key}: failed" for key in first["failed"]
    }
    assert [len(error.__notes__) for error in run.summary.errors] == [1, 1, 1]
    assert by_status(told) == {"failed": first["failed"], "skipped": first["ok"]}
    assert {type(outcome.error) for outcome in told if outcome.status == "failed"} == {EarlierError}
    assert by_status(again) == {"ok": first["failed"], "skipped": first["ok"]}


async def test_two_runs_cannot_share_a_directory(emulator: EmulatorThread, tmp_path: Path) -> None:
    async with cluster_of(1) as cluster, bulk(cluster, calls.claim, IDS, journal=tmp_path, shard=1) as run:
        async for _ in run:
            with pytest.raises(InvalidArgumentError, match="journal: another run has"):
                await collected(aiter(bulk(cluster, calls.claim, IDS, journal=tmp_path)))
            break
    Directory.open(tmp_path, 1).close()  # free again


def test_a_directory_keeps_its_number_of_shards(tmp_path: Path) -> None:
    Directory.open(tmp_path / "new", 16).close()
    directory = Directory.open(tmp_path / "new", 400)
    directory.close()
    assert directory.parts == 16
    assert directory.journal(3) == tmp_path / "new" / "shard-003-of-016.jsonl"


def test_journals_of_an_unknown_number_of_shards_are_refused(tmp_path: Path) -> None:
    (tmp_path / "shard-003-of-016.jsonl").touch()
    with pytest.raises(InvalidArgumentError, match=r"shards\.txt does not say"):
        Directory.open(tmp_path, 16)


async def test_a_journal_that_a_lost_worker_still_has_is_waited_for(
    emulator: EmulatorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []
    is_free = session._is_free
    Directory.open(tmp_path, 1).close()
    with (tmp_path / "shard-000-of-001.jsonl").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def look(path: Path) -> bool:
            looks.append(is_free(path))
            held.close()
            return looks[-1]

        monkeypatch.setattr(session, "_is_free", look)
        async with cluster_of(1) as cluster:
            outcomes = await collected(aiter(bulk(cluster, calls.claim, IDS[:3], journal=tmp_path)))
    assert looks == [False, True]
    assert by_status(outcomes) == {"ok": set(IDS[:3])}


# The end ----------------------------------------------------------------------------------------------------------


async def test_a_token_that_is_refused_ends_the_run(emulator: EmulatorThread, tmp_path: Path) -> None:
    env = {**emulator.env, "IOTO_TOKEN": "refused-0123456789"}
    async with cluster_of(2, env) as cluster:
        run = bulk(
            cluster,
            calls.claim,
            IDS,
            journal=tmp_path / "journal",
            shard=25,
            concurrency=1,
            stop_on=AuthenticationError,
        )
        with pytest.raises(AuthenticationError):
            await collected(aiter(run))
        assert run.summary.stopped == "after an error"
        # One call for each worker, one more where the word to stop came after the next shard was begun.
        assert len(emulator.requests) < 20


async def test_a_client_that_cannot_be_made_on_a_worker_ends_the_run(emulator: EmulatorThread) -> None:
    async with cluster_of(1, {"IOTO_API": "", "IOTO_TOKEN": ""}) as cluster:
        with pytest.raises(
            InvalidArgumentError, match=r"1 worker of the cluster, and none can take part: tcp://.*IOTO_API"
        ):
            await collected(aiter(bulk(cluster, calls.claim, IDS)))


async def test_a_run_that_is_stopped_ends_what_is_in_flight_and_begins_nothing(
    emulator: EmulatorThread, held: None
) -> None:
    async with cluster_of(1) as cluster:
        run = bulk(cluster, calls.hold, range(10, 100), shard=10, concurrency=3)
        running = asyncio.create_task(collected(aiter(run)))
        await calls.BEGUN.wait()
        run.stop("enough")
        await asyncio.wait(run._telling)  # workers have been told
        calls.GO_ON.set()
        outcomes = await running
    assert sorted(outcome.item for outcome in outcomes if outcome.status == "ok") == [10, 11, 12]
    assert len(outcomes) == len(calls.ENDED) == 3
    assert run.summary.stopped == "enough"


async def test_calls_that_outlive_the_grace_are_unknown(emulator: EmulatorThread, tmp_path: Path) -> None:
    emulator.faults.add(Fault("device/claim", times=1))
    emulator.faults.add(Fault("device/claim", delay=3600, times=None))
    async with cluster_of(1) as cluster:
        run = bulk(cluster, calls.claim, IDS[:3], shard=1, concurrency=1)
        statuses = {}
        async for outcome in run:
            statuses[outcome.key] = outcome.status
            run.stop(grace=0)
    assert statuses.pop(IDS[0]) == "ok"
    assert set(statuses.values()) <= {"unknown"}
    assert IDS[2] not in statuses


async def test_a_run_is_iterated_over_once(emulator: EmulatorThread) -> None:
    async with cluster_of(1) as cluster:
        run = bulk(cluster, calls.claim, IDS[:0])
        assert await collected(aiter(run)) == []
        with pytest.raises(ClientStateError, match="once"):
            aiter(run)


# Arguments --------------------------------------------------------------------------------------------------------


async def test_arguments_that_do_not_fit_are_refused(emulator: EmulatorThread) -> None:
    async def inner(client: IotoClient, item: str) -> None: ...

    async with cluster_of(1) as cluster, IotoClient.from_env() as client:
        for expected, call, options in [
            ("call: expected a function of a module", client.device.claim, {}),
            ("call: expected a function of a module", inner, {}),
            ("call: expected a function of a module", lambda client, item: None, {}),
            ("call: expected an async function", calls.connect, {}),
            ("reconcile: expected a function of a module", calls.claim, {"reconcile": inner}),
            ("shard: expected a whole number from 1, got 0", calls.claim, {"shard": 0}),
            ("rate: expected requests a second above 0", calls.claim, {"rate": 0}),
            ("concurrency: expected auto, or a whole number", calls.claim, {"concurrency": 0}),
            ("kind: expected an instance of Kind, or None, got 'once'", calls.claim, {"kind": "once"}),
            ("connect: expected a callable", calls.claim, {"connect": 1}),
            ("unknown option 'ordered': expected one of concurrency, journal", calls.claim, {"ordered": True}),
        ]:
            with pytest.raises(InvalidArgumentError, match=expected):
                bulk(cluster, call, IDS, **options)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="items: expected an iterable"):
            bulk(cluster, calls.claim, "text")
        with pytest.raises(InvalidArgumentError, match="cluster_client: expected"):
            bulk(client, calls.claim, IDS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "item", "has_journal", "expected"),
    [
        (None, "a", True, "a"),
        (None, 5, True, "5"),
        (None, 1.5, False, "7"),
        (len, "abc", True, "key: expected a text"),
        (None, 1.5, True, "key: a journal needs one for items of type float"),
    ],
)
def test_the_key_of_an_item_is_that_of_a_run_on_one_machine(
    key: Any, item: object, has_journal: bool, expected: str
) -> None:
    if expected.startswith("key:"):
        with pytest.raises(InvalidArgumentError, match=expected):
            key_of(key, item, 7, has_journal=has_journal)
    else:
        assert key_of(key, item, 7, has_journal=has_journal) == expected


async def test_of_one_journal_there_is_one_shard_at_a_time() -> None:
    sharder = Sharder(range(100), lambda item, _: str(item), 4, lambda: 10, lambda: 100)
    about: list[Shard[int]] = []
    seen: list[int] = []
    shards = sharder.shards()
    while True:
        following = asyncio.ensure_future(anext(shards, None))
        await leftover_tasks()  # gives it its turns
        if not following.done():
            sharder.settle(about.pop(0))
        if (shard := await following) is None:
            break
        seen += shard.items
        about.append(shard)
        assert len({shard.part for shard in about}) == len(about)
    assert sorted(seen) == list(range(100))


# A shared cluster -------------------------------------------------------------------------------------------------


class Warnings(logging.Handler):
    """The warnings of a run, and when one comes."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._came.set()

    async def has(self, text: str) -> None:
        """Wait for one with a *text*."""
        async with asyncio.timeout(GUARD):
            while not any(text in line for line in self.lines):
                self._came.clear()
                await self._came.wait()


@pytest.fixture
async def warnings() -> AsyncIterator[Warnings]:
    handler = Warnings()
    logger = logging.getLogger("ioto_async")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def _left_at(dask_scheduler: Any) -> dict[str, list[str]]:
    kept = {
        "worker plugins": dask_scheduler.worker_plugins,
        "metadata": dask_scheduler.task_metadata,
        "tasks": dask_scheduler.tasks,
    }
    return {name: [str(key) for key in keys if "ioto" in str(key)] for name, keys in kept.items()}


async def left_at(cluster: Client) -> list[str]:
    """What a scheduler has of us."""
    kept: dict[str, list[str]] = await cluster.run_on_scheduler(_left_at)
    return sorted(itertools.chain(*kept.values()))


def address_of(cluster: Any) -> str:
    address: str = cluster.scheduler.address
    return address


def without_package(cluster: Client) -> Nanny:
    """A worker more, which cannot load the package."""
    lack = "import sys; sys.modules['ioto_async'] = None"
    return Nanny(address_of(cluster), nthreads=1, host="127.0.0.1", preload=[lack])


@pytest.mark.slow
async def test_a_worker_without_the_package_is_named_and_nothing_keeps_another_one_from_joining(
    emulator: EmulatorThread, warnings: Warnings
) -> None:
    async with cluster_of(1, emulator.env) as cluster, without_package(cluster) as bad:
        outcomes = await collected(aiter(bulk(cluster, calls.claim, IDS, shard=10)))
        assert by_status(outcomes) == {"ok": set(IDS)}
        assert len(outcomes) == len(IDS)
        (line,) = warnings.lines
        assert line.startswith(f"the worker {bad.worker_address} cannot take part, the others go on: ModuleNotFound")
        assert await left_at(cluster) == []
        async with without_package(cluster):
            assert len(await cluster.nthreads()) == 3
            assert bad.worker_address in await cluster.nthreads()


async def test_what_a_killed_process_asked_for_ends_on_the_workers(emulator: EmulatorThread, held: None) -> None:
    async with cluster_of(1) as cluster:
        asking = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.distributed.asking", address_of(cluster)
        )
        async with asyncio.timeout(GUARD):
            await calls.BEGUN.wait()
            ((left,),) = [[*sessions.values()] for sessions in session._SESSIONS.values()]
            asking.kill()
            await asking.wait()
            await calls.CUT_OFF.wait()
            await asyncio.wait([left._watching])
        assert sorted(calls.ENDED) == [10, 11, 12]
        assert not session._SESSIONS
        assert await left_at(cluster) == []


async def test_a_cluster_without_workers_is_told_and_what_no_worker_has_begun_is_not_unknown(
    emulator: EmulatorThread, warnings: Warnings
) -> None:
    async with cluster_of(0) as cluster:
        run = bulk(cluster, calls.claim, IDS, shard=10)
        running = asyncio.create_task(collected(aiter(run)))
        await warnings.has("the cluster has no worker: waiting for one")
        run.stop("enough", grace=3600)
        assert await running == []
        assert await left_at(cluster) == []
    assert run.summary.stopped == "enough"


async def test_what_a_lost_worker_had_begun_is_unknown_if_the_run_is_stopped_before_another_one_comes(
    emulator: EmulatorThread, held: None, warnings: Warnings
) -> None:
    async with cluster_of(1) as cluster:
        run = bulk(cluster, calls.hold, range(10, 100), shard=10, concurrency=5)
        running = asyncio.create_task(collected(aiter(run)))
        await calls.BEGUN.wait()
        assert cluster.cluster is not None
        cluster.cluster.scale(0)
        await warnings.has("the cluster has no worker: waiting for one")
        run.stop("enough", grace=3600)
        outcomes = await running
    assert by_status(outcomes) == {"unknown": {str(number) for number in range(10, 20)}}
    assert {str(outcome.error) for outcome in outcomes} == {"the worker that had the item was lost"}


async def test_the_progress_is_that_of_the_workers(emulator: EmulatorThread, held: None) -> None:
    told: list[Progress] = []

    def observe(progress: Progress) -> None:
        told.append(progress)
        if progress.summary.ok == 10:
            calls.GO_ON.set()

    async with cluster_of(1) as cluster:
        run = bulk(cluster, calls.hold, range(20), concurrency=5, observer=observe)
        assert len(await collected(aiter(run))) == 20
    ahead = next(progress for progress in told if progress.summary.ok == 10)
    assert (ahead.in_flight, ahead.total) == (10, 20)
    assert told[-1].summary == run.summary


async def test_a_lost_worker_is_named_and_what_follows() -> None:
    here = {"tcp://1", "tcp://2", "tcp://3"}
    warnings = Warnings()
    logging.getLogger("ioto_async").addHandler(warnings)
    workers = Workers(lambda items: f"{items} items are done again")
    workers.update(here, lambda lost: 0)
    workers.refuse("tcp://3", IotoError("no token"))
    workers.refuse("tcp://3", IotoError("no token"))
    workers.update({"tcp://1"}, lambda lost: 5 * len(lost))
    workers.update({"tcp://1", "tcp://4"}, lambda lost: 5)
    workers.update({"tcp://4"}, lambda lost: 0)
    workers.update([], lambda lost: 0)
    workers.update([], lambda lost: 0)
    logging.getLogger("ioto_async").removeHandler(warnings)
    assert warnings.lines == [
        "the worker tcp://3 cannot take part, the others go on: no token",
        "1 worker was lost: tcp://2; 5 items are done again",
        "1 worker was lost: tcp://1; the others go on",
        "1 worker was lost: tcp://4",
        "the cluster has no worker: waiting for one",
    ]


# A scheduler that is lost -----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def scheduler_at(port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, Worker]]:
    """A scheduler in a process of its own, and a worker in this one; the address of the scheduler is known before."""
    scheduler = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "distributed.cli.dask_scheduler"),
        *("--host", "127.0.0.1", "--port", str(port), "--no-dashboard"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with Worker(f"tcp://127.0.0.1:{port}", nthreads=1, host="127.0.0.1") as worker:
            yield scheduler, worker
    finally:
        if scheduler.returncode is None:
            scheduler.kill()
        await scheduler.wait()


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found: int = server.getsockname()[1]
    return found


async def test_a_scheduler_that_comes_back_is_gone_on_with(
    emulator: EmulatorThread, held: None, warnings: Warnings, port: int
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        scheduler, worker = await stack.enter_async_context(scheduler_at(port))
        cluster = await stack.enter_async_context(
            Client(worker.scheduler.address, asynchronous=True, set_as_default=False, timeout=GUARD)
        )
        run = bulk(cluster, calls.hold, range(20), shard=10, concurrency=5, kind=Kind.READ)
        outcomes = aiter(run)
        first = await anext(outcomes)
        await calls.BEGUN.wait()
        scheduler.kill()
        await calls.CUT_OFF.wait()  # the worker closes itself
        await warnings.has("the connection to the scheduler was lost")
        calls.GO_ON.set()
        await stack.enter_async_context(scheduler_at(port))
        rest = await collected(outcomes)
    assert sorted(outcome.item for outcome in [first, *rest] if outcome.status == "ok") == [*range(20)]
    assert any("the run goes on" in line for line in warnings.lines)


async def test_a_scheduler_that_stays_away_ends_the_run(emulator: EmulatorThread, held: None, port: int) -> None:
    async with (
        scheduler_at(port) as (scheduler, worker),
        Client(worker.scheduler.address, asynchronous=True, set_as_default=False, timeout=1) as cluster,
    ):
        run = bulk(cluster, calls.hold, range(100), shard=10, concurrency=5, kind=Kind.READ)
        outcomes = aiter(run)
        assert (await anext(outcomes)).status == "ok"
        await calls.BEGUN.wait()
        scheduler.kill()
        with pytest.raises(LostSchedulerError, match="the scheduler of the cluster was lost"):
            await collected(outcomes)
    assert run.summary.ok == 10
    # The worker has had a shard, or two; what was not sent to it has no outcome.
    assert run.summary.unknown in (10, 20)
    assert {str(error) for error in run.summary.errors} == {"the scheduler of the cluster was lost"}
