"""``ioto-async metric export`` that is interrupted, and goes on where it was."""

import json
import os
import random
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import attrs
import pytest

from ioto_async.cli.metric import tables
from ioto_async.emulator import EmulatorThread, Fault
from ioto_async.emulator.recent import Recent
from ioto_async.emulator.rest.app import Received
from tests.rawserver import GUARD
from tests.rows import each_row

from .fleets import Result, start
from .metrics import NOW, Metrics, lines, requests

FLEET = [f"DEV{number}" for number in range(1, 9)]
FORMATS = ["csv", "jsonl", "parquet"]


def seed(metrics: Metrics) -> None:
    """Begin the cloud anew, with eight devices that have samples of two metrics each."""
    metrics.cloud.reset()
    cloud = metrics.cloud.cloud
    cloud.clock = NOW.timestamp
    for number, id in enumerate(FLEET):
        cloud.register_device(id)
        cloud.claim_device(id)
        metrics.add(id, 20 + number / 3)
        metrics.add(id, 40 + number, metric="humidity", ago=7200)


@pytest.fixture
def fleet(metrics: Metrics) -> Path:
    seed(metrics)
    return metrics.file("fleet.csv", "id\n" + "\n".join(FLEET) + "\n")


@attrs.frozen
class Exports:
    """Exports of the fleet to a file, some of which are interrupted."""

    metrics: Metrics
    out: Path
    names: tuple[str, ...] = ("temperature", "humidity")
    """Of the metrics."""

    @property
    def journal(self) -> Path:
        return self.out.with_name(f"{self.out.name}.journal")

    def __call__(self, *options: object) -> Result:
        named = [argument for name in self.names for argument in ("--metric", name)]
        fleet = self.out.with_name("fleet.csv")
        return self.metrics("export", "--devices", fleet, *named, "--out", self.out, "--json", *options)

    def interrupted(self, *options: object, after: int = 3) -> Result:
        """One whose token is refused when it has read some devices."""
        faults = self.metrics.cloud.faults
        faults.add(Fault("metric/fetch", times=after))
        faults.add(Fault("metric/fetch", status=401, times=None))
        result = self(*options, "--concurrency", "1")
        faults.clear()
        assert result.status == 3, result.stderr
        assert self.beside == {self.journal.name}
        return result

    def whole(self, *options: object) -> bytes:
        """What one that is not interrupted writes, to a file of its own."""
        other = attrs.evolve(self, out=self.out.with_stem("whole"))
        result = other(*options)
        assert result.status in (0, 1), result.stderr
        return other.taken()

    def taken(self) -> bytes:
        """What was written; the file is removed, and was all that was left."""
        content = self.out.read_bytes()
        self.out.unlink()
        assert self.beside == set()
        return content

    @property
    def beside(self) -> set[str]:
        """The names of the files that begin as that of the table."""
        return {path.name for path in self.out.parent.iterdir() if path.name.startswith(self.out.name)}

    def asked(self) -> list[str]:
        """The devices that were asked about since the last time, in the order of their names."""
        ids = sorted(body["deviceId"] for body in requests(self.metrics.cloud, "metric/fetch"))
        self.metrics.cloud.requests.clear()
        return ids


@pytest.fixture
def exports(metrics: Metrics, fleet: Path) -> Exports:
    return Exports(metrics, metrics.folder / "points.csv")


def of_format(exports: Exports, form: str) -> Exports:
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow comes with the extra all")
    return attrs.evolve(exports, out=exports.out.with_suffix(f".{form}"))


# What is gone on with ---------------------------------------------------------------------------------------------


@each_row("form", FORMATS)
def test_an_interrupted_export_goes_on_and_writes_what_a_whole_one_does(
    exports: Exports, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(tables, "_ROW_GROUP", 36)  # of a device and a half
    exports = of_format(exports, form)
    whole = exports.whole()
    exports.interrupted()
    exports.asked()
    exports.interrupted(after=2)
    assert exports.asked() == FLEET[3:6]
    result = exports()
    assert (result.status, exports.asked()) == (0, FLEET[5:])
    assert {name: result.figures[name] for name in ("devices", "failed", "series", "rows", "read_earlier")} == {
        "devices": 8,
        "failed": 0,
        "series": 16,
        "rows": 16 * 12,
        "read_earlier": 5,
    }
    assert result.stderr.startswith("going on with the export of 2")
    assert exports.taken() == whole


def test_an_interruption_says_how_to_go_on(exports: Exports) -> None:
    result = exports.interrupted("--restart")
    told, error = result.stderr.splitlines()
    name, _, again = told.partition(": to go on, run ")
    assert name == f"what was read is kept in {exports.journal}"
    assert "--restart" not in again
    assert error.startswith("ioto-async: metric/fetch: 401")
    assert result.figures["journal"] == str(exports.journal)
    arguments = shlex.split(again)[2:]
    exports.asked()
    result = exports.metrics(*arguments)
    assert (result.status, exports.asked()) == (0, FLEET[3:])
    assert "journal" not in result.figures


def test_a_table_that_was_there_stays_until_the_new_one_is_whole(exports: Exports) -> None:
    exports.out.write_text("before")
    faults = exports.metrics.cloud.faults
    faults.add(Fault("metric/fetch", times=3))
    faults.add(Fault("metric/fetch", status=401))
    assert (exports("--concurrency", "1").status, exports.out.read_text()) == (3, "before")
    assert exports().status == 0
    assert exports.taken() == exports.whole()


def test_it_goes_on_where_a_link_leads(exports: Exports) -> None:
    kept = exports.out.parent / "kept"
    kept.mkdir()
    link = exports.out.with_name("link.csv")
    link.symlink_to(Path("kept", "points.csv"))
    faults = exports.metrics.cloud.faults
    faults.add(Fault("metric/fetch", times=3))
    faults.add(Fault("metric/fetch", status=401, times=None))
    linked = attrs.evolve(exports, out=link)
    assert linked("--concurrency", "1").status == 3
    assert [path.name for path in kept.iterdir()] == ["points.csv.journal"]
    faults.clear()
    assert linked().status == 0
    assert [path.name for path in kept.iterdir()] == ["points.csv"]


def test_devices_from_a_pipe_are_gone_on_with(exports: Exports) -> None:
    text = exports.out.with_name("fleet.csv").read_bytes()
    whole = exports.whole()
    command = ["--metric", "temperature", "--metric", "humidity", "--out", str(exports.out), "--concurrency", "1"]
    faults = exports.metrics.cloud.faults
    faults.add(Fault("metric/fetch", times=3))
    faults.add(Fault("metric/fetch", status=401, times=None))
    for status in (3, 0):
        child = start("metric", "export", "--devices", "-", *command, environ=exports.metrics.cloud.env, stdin=-1)
        _, stderr = child.communicate(text, timeout=GUARD)
        assert child.returncode == status, stderr
        faults.clear()
    assert exports.asked() == sorted([*FLEET, *FLEET, FLEET[3]])
    assert exports.taken() == whole


def test_devices_that_the_file_has_got_meanwhile_are_read_and_others_left_out(exports: Exports) -> None:
    fleet = exports.out.with_name("fleet.csv")
    exports.interrupted()
    fleet.write_text("id\nDEV8\nDEV2\n")
    exports.asked()
    result = exports()
    assert (result.status, exports.asked(), result.figures["read_earlier"]) == (0, ["DEV8"], 1)
    assert exports.taken() == exports.whole()


# What has failed --------------------------------------------------------------------------------------------------


def test_what_has_failed_is_read_again(exports: Exports) -> None:
    whole = exports.whole()
    faults = exports.metrics.cloud.faults
    exports.asked()
    faults.add(Fault("metric/fetch", status=400, body="no such device"))
    answers = [{"namespace": "Embedthis/Device", "metric": name, "error": "too old"} for name in ("temperature", "x")]
    faults.add(Fault("metric/fetch", body=json.dumps({"data": answers})))
    result = exports.interrupted(after=1)
    assert "DEV1: metric/fetch: 400 no such device" in result.stderr
    assert "DEV2: temperature: metric/fetch: 200 too old" in result.stderr
    assert exports.asked() == FLEET[:4]
    result = exports()
    assert (result.status, result.figures["failed"], exports.asked()) == (0, 0, [*FLEET[:2], *FLEET[3:]])
    assert exports.taken() == whole


def test_rows_that_cannot_be_used_are_in_their_place(exports: Exports) -> None:
    rows = ["..", FLEET[0], *FLEET[1:4], "", "x y", FLEET[4], FLEET[0], *FLEET[5:], "/"]
    exports.out.with_name("fleet.csv").write_text("id,name\n" + "".join(f"{id},n\n" for id in rows))
    exports = of_format(exports, "jsonl")
    whole = exports.whole("--concurrency", "1")
    read = [row["device_id"] for row in lines(whole.decode())]
    assert [id for place, id in enumerate(read) if read[place - 1 : place] != [id]] == rows
    exports.interrupted()
    assert exports("--concurrency", "8").status == 1
    assert exports.taken() == whole


def test_nothing_is_left_where_nothing_was_read(exports: Exports) -> None:
    faults = exports.metrics.cloud.faults
    faults.add(Fault("metric/fetch", status=400))
    faults.add(Fault("metric/fetch", status=401, times=None))
    result = exports("--concurrency", "1")
    assert (result.status, exports.beside) == (3, set())
    assert "to go on" not in result.stderr
    assert "journal" not in result.figures


# The range --------------------------------------------------------------------------------------------------------


@each_row(
    "period, later",
    [("1d", 0), ("1d", 600), ("1d", 3600), ("5m", 20), ("1h", 120), ("20h", 60), ("1w", 40_000), ("1d", 100_000)],
)
def test_a_range_that_ends_now_stays_what_it_was(exports: Exports, metrics: Metrics, period: str, later: float) -> None:
    seed(metrics)
    metrics.cloud.cloud.clock = lambda: NOW.timestamp() + 137.5  # within intervals of any length
    exports.interrupted("--period", period)
    now = NOW + timedelta(seconds=137.5)
    metrics.cloud.cloud.clock = lambda: now.timestamp() + later
    for id in FLEET if later else ():
        metrics.add(id, 1_000_000, ago=0)
    exports.asked()
    metrics.cloud.requests.clear()
    assert exports("--period", period).status == 0
    items = [item for body in requests(metrics.cloud, "metric/fetch") for item in body["items"]]
    assert len({item["start"] for item in items}) == 1
    table = exports.taken().decode().splitlines()
    dates = {datetime.fromisoformat(row.split(",")[6]) for row in table[1:]}
    assert max(dates) <= now
    if later and later >= 86_400:  # no interval has both samples of then and of now
        assert "1000000" not in "".join(table)


@each_row("period", ["5m", "1h", "1d", "1w", "4w"])
def test_it_goes_on_in_the_same_intervals(exports: Exports, metrics: Metrics, period: str) -> None:
    seed(metrics)
    metrics.cloud.cloud.clock = lambda: NOW.timestamp() + 137.5
    exports = attrs.evolve(exports, names=("temperature",))
    for id in FLEET:
        for ago in (200, 100, 1):
            metrics.add(id, 20, ago=ago)
    whole = exports.whole("--period", period)
    exports.interrupted("--period", period)
    metrics.cloud.cloud.clock = lambda: NOW.timestamp() + 141
    assert exports("--period", period).status == 0
    assert exports.taken() == whole


def test_a_start_is_kept_as_it_is(exports: Exports, metrics: Metrics) -> None:
    options = ("--start", (NOW - timedelta(hours=6)).isoformat(), "--period", "4h")
    whole = exports.whole(*options)
    exports.interrupted(*options)
    metrics.cloud.requests.clear()
    assert exports(*options).status == 0
    starts = {item["start"] for body in requests(metrics.cloud, "metric/fetch") for item in body["items"]}
    assert starts == {(NOW - timedelta(hours=6)).timestamp() * 1000}
    assert exports.taken() == whole


def test_without_a_sample_the_range_is_by_the_clock_of_this_machine(exports: Exports, metrics: Metrics) -> None:
    exports = attrs.evolve(exports, names=("rare",))
    metrics.cloud.faults.add(Fault("metric/fetch", times=3))
    metrics.cloud.faults.add(Fault("metric/fetch", status=401))
    assert exports("--concurrency", "1").status == 3
    begun = datetime.fromisoformat(json.loads(exports.journal.read_bytes().splitlines()[0])["at"])
    metrics.cloud.requests.clear()
    assert exports().status == 0
    (start,) = {item["start"] for body in requests(metrics.cloud, "metric/fetch") for item in body["items"]}
    assert start == (begun - timedelta(days=1)).timestamp() * 1000


# What is not gone on with -----------------------------------------------------------------------------------------


@each_row(
    "options, complaint",
    {
        "another period": (["--period", "1h"], "with --period=1d, not with --period=1h"),
        "a start": (["--start", "2026-04-30T12:00Z"], "with --start=, not with --start=2026-04-30T12:00Z"),
        "another metric": (["--metric", "x"], "without --metric=x"),
        "another statistic": (["--statistic", "max"], "with --statistic=avg, not with --statistic=max"),
        "other dimensions": (["--dimensions", "{}"], "without '--dimensions={}'"),
        "another namespace": (["--namespace", "n"], "with --namespace=Embedthis/Device, not with --namespace=n"),
        "another account": (["--account", "A2"], "with --account=…, not with --account=A2"),
        "another column": (["--id-column", "serial"], "with --id-column=id, not with --id-column=serial"),
    },
)
def test_another_export_is_refused_and_can_be_begun(exports: Exports, options: list[str], complaint: str) -> None:
    exports.out.with_name("fleet.csv").write_text("id,serial\n" + "".join(f"{id},{id}\n" for id in FLEET))
    exports.interrupted()
    exports.asked()
    result = exports(*options)
    assert (result.status, exports.asked(), exports.beside) == (2, [], {exports.journal.name})
    told = result.stderr.replace(exports.metrics.cloud.account_id, "…")
    assert told == f"ioto-async: --out: {exports.journal} is of an export {complaint}; --restart begins anew\n"
    assert exports(*options, "--restart").status in (0, 1)
    assert exports.asked() == FLEET
    exports.out.unlink()
    assert exports.beside == set()


def test_another_cloud_file_or_order_is_refused(
    exports: Exports, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports.interrupted()
    other = metrics.file("other.csv", "id\nDEV1\n")
    result = exports("--devices", other)
    assert result.status == 2
    result = metrics("export", "--devices", other, "--metric", "temperature", "--out", exports.out)
    assert f"not with --devices={other}" in result.stderr
    result = attrs.evolve(exports, names=("humidity", "temperature"))()
    assert (result.status, "the same metrics in another order" in result.stderr) == (2, True)
    with EmulatorThread() as another:
        api = another.env["IOTO_API"]
        monkeypatch.setenv("IOTO_API", api)
        result = exports()
        assert (result.status, len(another.requests)) == (2, 0)
        assert f"not with IOTO_API={api}" in result.stderr


def test_a_torn_last_line_is_read_again(exports: Exports) -> None:
    whole = exports.whole()
    exports.interrupted()
    content = exports.journal.read_bytes()
    last = content.rstrip(b"\n").rindex(b'{"key":"DEV3"')
    exports.journal.write_bytes(content[: last + 40])
    exports.out.with_name(f"{exports.out.name}.part").write_text("device_id,na")  # as a killed run leaves it
    exports.asked()
    assert (exports().status, exports.asked()) == (0, FLEET[2:])
    assert exports.taken() == whole


def damaged(content: bytes) -> Iterator[tuple[bytes, str]]:
    """What may have become of a journal, and what is told of it."""
    head, *rest = content.splitlines(keepends=True)
    done = next(place for place, line in enumerate(rest) if b'"ok"' in line)
    value = rest[done].replace(b",20,", b",21,", 1)
    assert value not in rest
    before, after = b"".join(rest[:done]), b"".join(rest[done + 1 :])
    number = done + 2
    yield head + before + value + after, f", line {number}: damaged: its checksum is another"
    yield head + before + rest[done].replace(b"DEV1", b"DEV9", 1) + after, f", line {number}: damaged"
    yield head + before + bytes(100) + b"\n" + after, f", line {number}: expected key and status"
    yield before + after, " is no journal of a bulk run"
    yield b"id,value\n" + content, " is no journal of a bulk run"
    yield content.replace(b"metric export", b"metric write", 1), " is of metric write"


def test_a_damaged_journal_is_refused_and_can_be_begun_anew(exports: Exports) -> None:
    whole = exports.whole()
    exports.interrupted()
    content = exports.journal.read_bytes()

    @each_row("damaged, complaint", [*damaged(content)])
    def is_refused(damaged: bytes, complaint: str) -> None:
        exports.journal.write_bytes(damaged)
        exports.asked()
        result = exports()
        assert (result.status, exports.asked(), exports.out.exists()) == (2, [], False)
        assert result.stderr.startswith(f"ioto-async: --out: {exports.journal}{complaint}"), result.stderr
        assert result.stderr.endswith("; --restart begins anew\n")
        assert exports("--restart").status == 0
        assert exports.asked() == FLEET
        assert exports.taken() == whole

    is_refused()


def test_a_journal_of_nothing_is_no_obstacle(exports: Exports) -> None:
    whole = exports.whole()
    exports.interrupted()
    head = exports.journal.read_bytes().splitlines(keepends=True)[0]
    for content in (b"", head[:30], head, head.replace(b"1d", b"1h"), head + b'{"key":"DEV1","status":"sent"}\n'):
        exports.journal.write_bytes(content)
        exports.asked()
        result = exports()
        assert (result.status, "going on" in result.stderr, exports.asked()) == (0, False, FLEET)
        assert exports.taken() == whole


def test_a_journal_that_is_a_link_is_refused(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = tmp_path_factory.mktemp("kept") / "file"
    kept.write_text("kept")
    exports.journal.symlink_to(kept)
    for option in ((), ("--restart",)):
        result = exports(*option)
        assert (result.status, kept.read_text()) == (2, "kept")
        assert "points.csv.journal is a symbolic link" in result.stderr


@each_row("options", [(), ("--out", "/dev/null", "--output", "csv")])
def test_what_is_not_a_file_cannot_be_begun_anew(exports: Exports, options: tuple[str, ...]) -> None:
    fleet = exports.out.with_name("fleet.csv")
    result = exports.metrics("export", "--devices", fleet, "--metric", "temperature", "--restart", *options)
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr == "ioto-async: --restart: there is no file to begin anew: give --out FILE\n"


# Outages, signals and kills ---------------------------------------------------------------------------------------


class Record(Recent[Received]):
    """All that the cloud has received; calls *moment* when that is *fatal* requests."""

    fatal = -1
    moment: Callable[[], object] = staticmethod(lambda: None)

    def append(self, received: Received) -> None:
        super().append(received)
        if len(self) == self.fatal:
            self.moment()


@attrs.define
class Site:
    """A cloud of its own with a fleet, whose time stands still, and exports by processes of their own."""

    folder: Path
    size: int
    record: Record = attrs.field(factory=Record)
    port: int = 0
    environ: dict[str, str] = attrs.field(factory=dict)
    ids: list[str] = attrs.field(factory=list)

    def cloud(self) -> EmulatorThread:
        thread = EmulatorThread(db=self.folder / "cloud.db", port=self.port, mqtt=False)
        thread.requests = self.record
        return thread

    def begin(self, cloud: EmulatorThread) -> None:
        cloud.cloud.clock = NOW.timestamp
        self.environ = cloud.env
        self.port = int(cloud.env["IOTO_API"].rpartition(":")[2])

    def seed(self, cloud: EmulatorThread) -> None:
        self.ids = ids = [cloud.cloud.register_device() for _ in range(self.size)]
        with cloud.cloud.lock:
            engine = cloud.cloud.metrics.engine(cloud.account_id)
            for number, id in enumerate(ids):
                cloud.cloud.claim_device(id)
                for metric in ("temperature", "humidity"):
                    timestamp = NOW.timestamp() * 1000 - 1000
                    engine.emit("Embedthis/Device", metric, number / 7, [{"Device": id}], timestamp=timestamp)
        (self.folder / "fleet.csv").write_text("id\n..\n" + "\n".join(ids) + "\n")

    def command(self, out: Path, *options: str) -> list[str]:
        metrics = ["--metric", "temperature", "--metric", "humidity"]
        fleet = str(self.folder / "fleet.csv")
        return ["metric", "export", "--devices", fleet, *metrics, "--out", str(out), "--json", *options]

    def export(self, out: Path, *options: str) -> tuple[int, str, str]:
        child = start(*self.command(out, *options), environ=self.environ)
        stdout, stderr = child.communicate(timeout=GUARD)
        return child.returncode, stdout.decode(), stderr.decode()

    def kept(self, out: Path) -> set[str]:
        """The devices that the journal has the points of."""
        journal = out.with_name(f"{out.name}.journal")
        if not journal.exists():
            return set()
        whole = [line for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        entries = [json.loads(line) for line in whole[1:]]
        return {entry["key"] for entry in entries if entry["status"] == "ok"}

    def asked(self) -> list[str]:
        bodies = [json.loads(received.body) for received in self.record]
        self.record.clear()
        return [body["deviceId"] for body in bodies]


def test_an_outage_is_gone_on_from(tmp_path: Path) -> None:
    site = Site(tmp_path, 60)
    out = tmp_path / "points.csv"
    away = threading.Event()
    with site.cloud() as cloud:
        site.begin(cloud)
        site.seed(cloud)
        assert site.export(tmp_path / "whole.csv")[0] == 1
        site.asked()
        site.record.fatal, site.record.moment = 20, away.set
        child = start(*site.command(out, "--patience", "0.5s", "--concurrency", "2"), environ=site.environ)
        assert away.wait(GUARD)
    stdout, stderr = child.communicate(timeout=GUARD)
    assert child.returncode == 4, stderr
    assert json.loads(stdout)["journal"] == f"{out}.journal"
    assert b"waiting up to 0.5 s for the service: " in stderr
    assert b": to go on, run ioto-async metric export " in stderr
    kept = site.kept(out)
    assert kept
    site.record.clear()
    with site.cloud() as cloud:
        site.begin(cloud)
        status, text, stderr_text = site.export(out)
    assert (status, json.loads(text)["read_earlier"]) == (1, len(kept)), stderr_text
    assert kept.isdisjoint(site.asked())
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not list(tmp_path.glob("points.csv.*"))


@pytest.mark.slow
@each_row("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_gone_on_from(tmp_path: Path, number: signal.Signals, status: int) -> None:
    folder = tmp_path / number.name
    folder.mkdir()
    site = Site(folder, 80)
    out = folder / "points.jsonl"
    with site.cloud() as cloud:
        site.begin(cloud)
        site.seed(cloud)
        assert site.export(folder / "whole.jsonl")[0] == 1
        site.asked()
        begun = threading.Event()
        site.record.fatal, site.record.moment = 30, begun.set
        child = start(*site.command(out, "--rate", "100/s"), environ=site.environ)
        assert begun.wait(GUARD)
        child.send_signal(number)
        _, stderr = child.communicate(timeout=GUARD)
    assert (child.returncode, b"ioto-async: interrupted\n" in stderr) == (status, True), stderr
    kept, asked = site.kept(out), site.asked()
    assert 0 < len(kept) <= len(asked) < site.size
    again = re.search(rb"to go on, run ioto-async (.*)\n", stderr)
    assert again is not None
    assert shlex.split(again[1].decode()) == site.command(out, "--rate", "100/s")
    with site.cloud() as cloud:
        site.begin(cloud)
        assert site.export(out, "--rate", "1000/s")[0] == 1
    assert sorted([*site.asked(), *kept]) == sorted(site.ids)
    assert out.read_bytes() == (folder / "whole.jsonl").read_bytes()


def kill(victims: list[int]) -> None:
    for victim in victims:
        os.kill(victim, signal.SIGKILL)


@pytest.mark.slow
@each_row("form", FORMATS)
def test_kills_at_any_time_cost_nothing_that_was_noted(tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow comes with the extra all")
    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"the moments follow from seed {seed}\n")  # shown if the test fails
    dice = random.Random(seed)
    folder = tmp_path / form
    folder.mkdir()
    site = Site(folder, 120)
    out = folder / f"points.{form}"
    with site.cloud() as cloud:
        site.begin(cloud)
        site.seed(cloud)
        assert site.export(folder / f"whole.{form}")[0] == 1
    assert len(site.asked()) == 120
    kept: set[str] = set()
    for _ in range(2):
        victims: list[int] = []
        # A cloud of its own for each: once it has ended, no request of a killed process is still on its way.
        with site.cloud() as cloud:
            site.begin(cloud)
            site.record.fatal = dice.randrange(1, 45)
            site.record.moment = partial(kill, victims)
            child = start(*site.command(out, "--concurrency", str(dice.choice((1, 8, 64)))), environ=site.environ)
            victims.append(child.pid)
            child.communicate(timeout=GUARD)
        assert child.returncode == -signal.SIGKILL
        assert not out.exists()
        assert kept.isdisjoint(site.asked())
        assert kept <= site.kept(out)
        kept = site.kept(out)
        if dice.random() < 0.5 and kept:  # as if it had been killed while it wrote a line
            with (folder / f"{out.name}.journal").open("ab") as journal:
                journal.write(b'{"key":"DEV","status":"ok","value":{'[: dice.randrange(1, 30)])
    site.record.fatal = -1
    with site.cloud() as cloud:
        site.begin(cloud)
        status, text, stderr = site.export(out)
    assert (status, json.loads(text)["read_earlier"]) == (1, len(kept)), stderr
    assert sorted([*site.asked(), *kept]) == sorted(site.ids)
    assert out.read_bytes() == (folder / f"whole.{form}").read_bytes()
    assert not list(folder.glob("points.*.*"))
