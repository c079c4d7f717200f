"""Runs that are killed again and again: the journal, the summary and the cloud's own record agree item by item."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from ioto_async.emulator import EmulatorThread
from ioto_async.emulator.recent import Recent
from ioto_async.emulator.rest.app import Received
from tests.rawserver import GUARD

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here"),
]

CHILD = Path(__file__).with_name("killed.py")
AT_ONCE = 16
"""Calls that the child has in flight at most."""


class Record(Recent[Received]):
    """All that the cloud has received; it kills the process *victim* as it notes the request number *fatal*."""

    victim: int | None = None
    fatal = -1

    def append(self, received: Received) -> None:
        super().append(received)
        if self.victim is not None and len(self) >= self.fatal:
            os.kill(self.victim, signal.SIGKILL)
            self.victim = None


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
def emulator(record: Record) -> Iterator[EmulatorThread]:
    thread = EmulatorThread()
    thread.requests = record
    with thread:
        yield thread


@attrs.frozen
class Job:
    """What a child works on, and what it leaves."""

    call: str
    folder: Path
    environ: dict[str, str]
    items: list[str]

    def __attrs_post_init__(self) -> None:
        (self.folder / "items").write_text("\n".join(self.items))

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    def begin(self) -> "subprocess.Popen[bytes]":
        names = ("items", "journal", "outcomes", "summary")
        command = [sys.executable, str(CHILD), self.call, *(str(self.folder / name) for name in names)]
        return subprocess.Popen(command, env=os.environ | self.environ, stderr=subprocess.PIPE)

    def lines(self) -> list[tuple[str, str]]:
        """Key and status of each line of the journal."""
        whole = (json.loads(line) for line in self.journal.read_bytes().splitlines()[1:])
        return [(line["key"], line["status"]) for line in whole]

    def given(self) -> dict[str, list[tuple[str, str]]]:
        """Key and status of the outcomes that each process has given, in their order."""
        found: dict[str, list[tuple[str, str]]] = {}
        for line in (self.folder / "outcomes").read_text().splitlines():
            process, key, status = line.split()
            found.setdefault(process, []).append((key, status))
        return found

    @property
    def summary(self) -> dict[str, object]:
        counts: dict[str, object] = json.loads((self.folder / "summary").read_text())
        return counts


def until_done(job: Job, record: Record, kills: int, dice: random.Random) -> str:
    """Let children work until one reaches the end, *kills* of them having been killed; the process that did."""
    # What was noted and not sent at the end of a process never comes, so the last requests may be that many fewer.
    latest = len(job.items) - 2 * AT_ONCE * kills
    moments = sorted(dice.sample(range(1, latest), kills))
    for moment in moments:
        # It notes the victim before the first request can come, and the others have been answered or are lost.
        record.fatal = max(moment, len(record) + 1)
        child = job.begin()
        record.victim = child.pid
        _, text = child.communicate(timeout=GUARD)
        assert child.returncode == -signal.SIGKILL, text.decode()
        if dice.random() < 0.5:
            tear(job.journal, dice)
    record.victim = None
    child = job.begin()
    _, text = child.communicate(timeout=GUARD)
    assert (child.returncode, text) == (0, b"")
    return str(child.pid)


def tear(journal: Path, dice: random.Random) -> None:
    """Leave the beginning of a further line at the end, as if the process had been killed while it wrote it."""
    line = b'{"key":"never sent","status":"sent"}\n'
    with journal.open("ab") as file:
        file.write(line[: dice.randrange(1, len(line))])


def seeded() -> random.Random:
    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"the moments follow from seed {seed}\n")  # shown if the test fails
    return random.Random(seed)


def items_of(record: Record, operation: str, member: str) -> Counter[str]:
    """How often each item came with a request for *operation*."""
    bodies = [json.loads(received.body) for received in record if received.path == f"/tok/{operation}"]
    return Counter(body["context"][member] if "context" in body else body[member] for body in bodies)


def test_claims_that_are_killed_20_times_are_each_done_once(
    emulator: EmulatorThread, record: Record, tmp_path: Path
) -> None:
    items = [f"DEV{number:07}" for number in range(5000)]
    for item in items:
        emulator.cloud.register_device(item)
    job = Job("claim", tmp_path, emulator.env, items)
    last = until_done(job, record, 20, seeded())

    # The journal: one final state for each, and every request was noted before it was sent.
    lines = job.lines()
    assert dict(lines) == dict.fromkeys(items, "ok")
    sent = Counter(key for key, status in lines if status == "sent")
    received = items_of(record, "device/claim", "id")
    assert received.keys() == set(items)
    assert all(received[item] <= sent[item] for item in items)
    assert received.total() - len(items) <= 20 * AT_ONCE, "more was sent twice than was in flight at the ends"

    # The cloud: every device is claimed, and nothing was done twice.
    done = Counter(json.loads(r.body)["id"] for r in record if r.path == "/tok/device/claim" and r.status == 200)
    assert done == dict.fromkeys(items, 1)
    assert all((emulator.cloud.device(item) or {})["accountId"] == emulator.account_id for item in items)

    # The outcomes of the last run, its summary, and the outcomes that were given before.
    given = job.given()
    final = dict(given[last])
    assert len(given[last]) == len(final) == len(items)
    assert set(final.values()) <= {"ok", "skipped"}
    counts = Counter(final.values())
    summary = job.summary
    assert (summary["ok"], summary["skipped"]) == (counts["ok"], counts["skipped"])
    assert (summary["failed"], summary["unknown"], summary["stopped"]) == (0, 0, None)
    assert {status for outcomes in given.values() for _, status in outcomes} <= {"ok", "skipped"}
    newly = Counter(key for outcomes in given.values() for key, status in outcomes if status == "ok")
    assert set(newly.values()) == {1}, "an item was told to be done by two runs"


def test_what_must_not_be_repeated_is_never_sent_twice_however_often_the_run_is_killed(
    emulator: EmulatorThread, record: Record, tmp_path: Path
) -> None:
    emulator.cloud.actions.add({"name": "Count", "type": "http"})
    items = [f"item-{number}" for number in range(2000)]
    job = Job("count", tmp_path, emulator.env, items)
    last = until_done(job, record, 20, seeded())

    received = items_of(record, "action/invoke", "item")
    assert set(received.values()) == {1}, "an item was sent twice"
    invoked = Counter(invocation["context"]["item"] for invocation in emulator.cloud.actions.invocations)
    assert invoked == received

    # Every item has one outcome, which the journal, the cloud and the summary agree about.
    given = job.given()
    final = dict(given[last])
    assert len(given[last]) == len(final) == len(items)
    assert set(final.values()) <= {"ok", "skipped", "unknown"}
    unknown = {item for item in items if final[item] == "unknown"}
    assert unknown | received.keys() == set(items), "an item was not sent, and is told to be done"
    assert len(unknown) <= 20 * 2 * AT_ONCE
    states = dict(job.lines())
    assert {item for item in items if states[item] == "ok"} == set(items) - unknown
    assert {states[item] for item in unknown} <= {"sent", "unknown"}
    counts = Counter(final.values())
    assert {name: job.summary[name] for name in counts} == counts

    # What a run has told is what the next ones tell.
    for outcomes in given.values():
        for key, status in outcomes:
            assert (status == "unknown") == (key in unknown)
