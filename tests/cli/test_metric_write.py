"""``ioto-async metric write``: the samples of a file in the cloud, and what its journal says of them."""

import contextlib
import itertools
import json
import re
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ioto_async.emulator import EmulatorThread, Fault
from tests.rawserver import GUARD
from tests.rows import each_row

from .fleets import Fleet, Result, piped, start
from .metrics import NOW, Metrics, lines, requests

AUTOMATION = ("--via", "automation", "--automation", "MetricSample")
SAMPLES = "metric,value,dimensions.Device\ntemperature,20,DEV1\ntemperature,22,DEV1\nhumidity,40,DEV2\n"


@pytest.fixture
def samples(metrics: Metrics) -> Path:
    return metrics.file("samples.csv", SAMPLES)


def write(metrics: Metrics, *options: object, file: object = None) -> Result:
    """Write the samples by the automation; the figures are JSON."""
    return metrics("write", "--from", file or metrics.folder / "samples.csv", "--json", *AUTOMATION, *options)


def counts(result: Result) -> dict[str, int]:
    """The figures about samples that are not zero."""
    names = ("samples", "written", "failed", "unknown", "skipped")
    return {name: result.figures[name] for name in names if result.figures[name]}


def journaled(metrics: Metrics) -> list[str]:
    """The last status of each sample, in their order."""
    rows = lines((metrics.folder / "samples.csv.write.journal").read_text())
    return list({row["key"]: row["status"] for row in rows[1:]}.values())


# The sinks --------------------------------------------------------------------------------------------------------


def test_an_automation_adds_each_sample(metrics: Metrics, samples: Path, cloud: EmulatorThread) -> None:
    result = write(metrics)
    assert (result.status, counts(result)) == (0, {"samples": 3, "written": 3})
    assert metrics.total("temperature", Device="DEV1") == (42, 2)
    assert metrics.total("humidity", Device="DEV2") == (40, 1)
    assert len(requests(cloud, "action/invoke")) == 3


def test_a_timestamp_goes_with_its_sample(metrics: Metrics, cloud: EmulatorThread) -> None:
    file = metrics.file("samples.jsonl", '{"metric":"t","value":1,"timestamp":"2026-05-01T11:59:00Z"}\n')
    assert write(metrics, "--device", "DEV1", file=file).status == 0
    (body,) = requests(cloud, "action/invoke")
    assert body["context"]["timestamp"] == 1_777_636_740_000


def test_fields_of_an_item_travel_together(metrics: Metrics, cloud: EmulatorThread) -> None:
    rows = [{"metric": f"field{number}", "value": number} for number in range(8)]
    file = metrics.file("samples.jsonl", "\n".join(map(json.dumps, rows)))
    result = metrics("write", "--from", file, "--via", "model", "--model", "Service", "--device", "DEV1", "--json")
    bodies = requests(cloud, "generic/update")
    assert {name: value for body in bodies for name, value in body.items() if name.startswith("field")} == {
        f"field{number}": number for number in range(8)
    }
    assert (len(bodies) < 8, {body["deviceId"] for body in bodies}) == (True, {"DEV1"})
    assert result.status == 0, result.stderr


def test_a_model_with_rules_makes_samples(metrics: Metrics, cloud: EmulatorThread) -> None:
    file = metrics.file("samples.csv", "metric,value,dimensions.Device\nvalue,3,DEV1\n")
    by_model = ("write", "--from", file, "--via", "model", "--model", "Service", "--json")
    created = metrics(*by_model, "--create")
    assert (created.status, counts(created)) == (0, {"samples": 1, "written": 1}), created.stderr
    file.write_text("metric,value,dimensions.Device\nvalue,3,DEV1\nvalue,4,DEV1\nvalue,5,DEV1\n")
    updated = metrics(*by_model)
    assert (updated.status, counts(updated)) == (0, {"samples": 3, "written": 2, "skipped": 1}), updated.stderr
    assert metrics.total("value", Device="DEV1") == (12, 3)


@pytest.fixture
def certified(metrics: Metrics, fleet: Fleet, cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a fleet of two devices, as ``fleet provision`` has written it."""
    fleet.write("DEV1\nDEV2\n")
    assert fleet.provision().status == 0
    monkeypatch.setenv("SSL_CERT_FILE", cloud.ca)
    return fleet.out


def by_mqtt(metrics: Metrics, certs: Path, *options: object) -> Result:
    return metrics(
        "write", "--from", metrics.folder / "samples.csv", "--via", "mqtt", "--certs", certs, "--json", *options
    )


@pytest.mark.parametrize("certs", ["--device DEV2", "DEV2", "DEV2/provision.json"])
def test_a_device_sends_them_over_mqtt(
    certs: str, metrics: Metrics, certified: Path, cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IOTO_API", "IOTO_TOKEN"):
        monkeypatch.delenv(name)  # a device knows nothing of them
    metrics.file("samples.csv", "metric,value,dimensions.Device\ntemperature,20,\ntemperature,22,\nt,1,DEV9\n")
    option = certs.split() if certs.startswith("-") else []
    result = by_mqtt(metrics, certified if option else certified / certs, *option)
    assert (result.status, counts(result)) == (0, {"samples": 3, "written": 3}), result.stderr
    assert metrics.total("temperature", Device="DEV2") == (42, 2)
    assert metrics.total("t", Device="DEV9") == (1, 1)
    assert {message.client_id for message in cloud.messages} == {"DEV2"}


def test_a_timestamp_is_no_matter_of_mqtt(metrics: Metrics, certified: Path) -> None:
    metrics.file("samples.csv", "metric,value,timestamp\nt,1,2026-05-01T12:00Z\nt,2,\n")
    result = by_mqtt(metrics, certified / "DEV1")
    assert (result.status, counts(result)) == (1, {"samples": 2, "written": 1, "failed": 1})
    assert "line 2: t: write: timestamp of 't': over MQTT the cloud dates samples when they come" in result.stderr


def test_a_broker_that_refuses_the_device_ends_it(metrics: Metrics, certified: Path, cloud: EmulatorThread) -> None:
    cloud.faults.add(Fault("mqtt/connect", status=5, times=None))
    metrics.file("samples.csv", SAMPLES)
    result = by_mqtt(metrics, certified / "DEV1")
    assert (result.status, counts(result)) == (3, {})
    assert "mqtt/connect" in result.stderr


def test_a_broker_that_is_not_there_ends_it(metrics: Metrics, certified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    provision = certified / "DEV1" / "provision.json"
    provision.write_text(json.dumps({**json.loads(provision.read_text()), "port": port}))
    metrics.file("samples.csv", SAMPLES)
    result = by_mqtt(metrics, certified / "DEV1", "--patience", "1s")
    assert (result.status, counts(result)) == (4, {})


@each_row(
    "certs, options, complaint",
    [
        ("", [], "--certs: no provision.json in "),
        ("nowhere", ["--device", "DEV1"], "--certs: no provision.json in "),
        ("DEV1", ["--device", "DEV2"], "--certs: "),
    ],
)
def test_certificates_that_are_not_there_are_reported(
    metrics: Metrics, certified: Path, certs: str, options: list[str], complaint: str
) -> None:
    metrics.file("samples.csv", SAMPLES)
    result = by_mqtt(metrics, certified / certs, *options)
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr.startswith(f"ioto-async: {complaint}")


def test_no_key_is_shown(metrics: Metrics, certified: Path) -> None:
    (certified / "DEV1" / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nTOPSECRET\n")
    metrics.file("samples.csv", SAMPLES)
    result = by_mqtt(metrics, certified / "DEV1")
    assert (result.status, "TOPSECRET" in result.stderr) == (2, False)
    assert "certificate and key cannot be used" in result.stderr


@each_row(
    "options, complaint",
    [
        (["--via", "automation"], "--automation: --via automation needs it"),
        (["--via", "model"], "--model: --via model needs it"),
        (["--via", "mqtt"], "--certs: --via mqtt needs it"),
        (["--via", "mqtt", "--certs", ".", "--rate", "5/s"], "--rate: there are no requests over MQTT"),
        (["--via", "model", "--model", "M", "--automation", "A"], "--automation: belongs to --via automation"),
        (["--via", "automation", "--automation", "A", "--create"], "--create: belongs to --via model"),
        (["--via", "automation", "--automation", "A", "--patience", "long"], "--patience: expected a duration"),
        (["--via", "automation", "--automation", "A", "--retry-failed", "--no-journal"], "--retry-failed: "),
        (["--via", "automation", "--automation", "A", "--key", "id"], "--from: the header has no column id"),
    ],
)
def test_wrong_usage_is_reported_and_nothing_is_sent(
    metrics: Metrics, samples: Path, cloud: EmulatorThread, options: list[str], complaint: str
) -> None:
    result = metrics("write", "--from", samples, *options)
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr.startswith(f"ioto-async: {complaint}")
    assert requests(cloud, "action/invoke") == []


def test_the_help_tells_that_rules_of_a_model_are_not_checked(metrics: Metrics) -> None:
    shown = " ".join(metrics("write", "--help").stdout.replace("│", " ").split())
    assert "Its rules are not checked" in shown


# Failures ---------------------------------------------------------------------------------------------------------


def test_a_sample_that_is_refused_does_not_stop_the_others(metrics: Metrics, samples: Path) -> None:
    samples.write_text(SAMPLES + "temperature,warm,DEV1\ntemperature,1,\n")  # no device for the automation
    result = write(metrics)
    assert (result.status, counts(result)) == (1, {"samples": 5, "written": 3, "failed": 2})
    assert result.stderr.splitlines() == [
        "line 5: temperature: value: expected a finite number, got 'warm'",
        'line 6: temperature: action/invoke: 200 The context has no "deviceId"',
    ]


def test_a_refused_token_ends_it(metrics: Metrics, samples: Path, cloud: EmulatorThread) -> None:
    cloud.faults.add(Fault("action/invoke", status=401, times=None))
    result = write(metrics, "--concurrency", "1")
    assert (result.status, counts(result)) == (3, {})
    assert result.figures["stopped"].startswith("action/invoke: 401")
    assert result.stderr == f"ioto-async: {result.figures['stopped']}\n"
    cloud.faults.clear()
    assert counts(write(metrics)) == {"samples": 3, "written": 3}  # what the refusal met is taken up


def test_an_automation_that_is_not_there_ends_it(metrics: Metrics, samples: Path, cloud: EmulatorThread) -> None:
    samples.write_text("metric,value,dimensions.Device\n" + "t,1,DEV1\n" * 500)
    options = ["--via", "automation", "--automation", "Sample", "--json", "--concurrency", "4"]
    result = metrics("write", "--from", samples, *options)
    why = 'action/invoke: 400 Cannot find action with name "Sample"'
    assert (result.status, counts(result), result.figures["stopped"]) == (1, {}, why)
    assert result.stderr == f"ioto-async: {why}\n"
    assert len(requests(cloud, "action/invoke")) <= 4
    assert counts(write(metrics)) == {"samples": 500, "written": 500}  # the journal has nothing against it


def test_a_sample_of_an_unknown_device_fails_and_the_others_are_written(metrics: Metrics) -> None:
    rows = [*["t,1,DEV1"] * 200, "t,1,NOSUCHDEV1", *["t,1,DEV1"] * 200]
    metrics.file("samples.csv", "metric,value,dimensions.Device\n" + "\n".join(rows))
    result = write(metrics)
    assert (result.status, counts(result)) == (1, {"samples": 401, "written": 400, "failed": 1})
    assert result.stderr == "line 202: t: action/invoke: 400 Cannot find device\n"
    assert counts(write(metrics)) == {"samples": 401, "failed": 1, "skipped": 400}, "each is told as what it was"


def test_only_what_says_that_the_automation_is_not_there_ends_it(metrics: Metrics, cloud: EmulatorThread) -> None:
    texts = {
        "Cannot find device": 2,
        "Cannot find Device DEV1": 2,
        "Cannot find account": 2,
        "cannot find transaction": 2,
        "Cannot find action": 0,
        "Cannot find Automation": 0,
        "Cannot find trigger MetricSample": 0,
        "Cannot find MetricSample": 0,
    }
    found = {}
    for number, text in enumerate(texts):
        file = metrics.file(f"{number}.csv", "metric,value,dimensions.Device\nt,1,DEV1\nt,2,DEV1\nt,3,DEV1\n")
        cloud.faults.add(Fault("action/invoke", status=400, body=text))
        found[text] = write(metrics, "--concurrency", "1", file=file).figures["written"]
    assert found == texts


def test_an_item_that_is_not_there_does_not_end_it(metrics: Metrics, cloud: EmulatorThread) -> None:
    cloud.faults.add(Fault("generic/update", status=400, body="Cannot find item"))
    file = metrics.file("samples.csv", "metric,value,dimensions.Device\na,1,DEV1\nb,1,DEV2\n")
    options = ["--via", "model", "--model", "Service", "--json", "--concurrency", "1"]
    result = metrics("write", "--from", file, *options)
    assert (result.status, result.figures["samples"], "line 2: a: " in result.stderr) == (1, 2, True), result.stderr


def test_samples_that_the_service_drops_as_too_old_are_warned_of_once(metrics: Metrics, samples: Path) -> None:
    rows = [f"t,{minute},2026-05-01T11:{minute}Z,DEV1" for minute in range(59, 29, -1)]
    samples.write_text("metric,value,timestamp,dimensions.Device\n" + "\n".join(rows))
    result = write(metrics)
    assert (result.status, counts(result)) == (0, {"samples": 30, "written": 30})
    (warning,) = result.stderr.splitlines()
    assert warning.startswith("line 8: t: the timestamp is more than five minutes before one of its series")


def test_a_cloud_that_is_not_reached_ends_it(metrics: Metrics, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    monkeypatch.setenv("IOTO_API", f"http://127.0.0.1:{port}")
    result = write(metrics)
    assert (result.status, counts(result)) == (4, {})
    assert "waiting" not in result.stderr
    assert set(journaled(metrics)) <= {"undone"}


def test_a_cloud_that_takes_nothing_for_too_long_ends_it(
    metrics: Metrics, samples: Path, cloud: EmulatorThread
) -> None:
    cloud.faults.add(Fault("action/invoke", status=429, headers={"Retry-After": "0"}, times=None))
    result = write(metrics, "--patience", "0.5s", "--concurrency", "2")
    assert (result.status, result.figures["written"], result.figures["failed"]) == (1, 0, 0)
    assert result.figures["stopped"].startswith("action/invoke: 429")
    assert "waiting up to 0.5 s for the cloud: action/invoke: 429" in result.stderr
    cloud.faults.clear()
    # One may just have been on its way when it ended.
    assert counts(write(metrics, "--at-least-once")) == {"samples": 3, "written": 3}
    assert metrics.total("temperature", Device="DEV1") == (42, 2)


def test_a_cloud_that_is_away_for_a_while_is_waited_for(metrics: Metrics, samples: Path, cloud: EmulatorThread) -> None:
    cloud.faults.add(Fault("action/invoke", status=429, headers={"Retry-After": "0"}, times=7))
    assert counts(write(metrics, "--concurrency", "1")) == {"samples": 3, "written": 3}
    assert metrics.total("temperature", Device="DEV1") == (42, 2)


# The journal ------------------------------------------------------------------------------------------------------


def test_what_is_written_is_not_written_again(metrics: Metrics, samples: Path, cloud: EmulatorThread) -> None:
    first = write(metrics)
    assert first.figures["journal"] == f"{samples}.write.journal"
    samples.write_text(SAMPLES + "temperature,30,DEV1\n")
    again = write(metrics)
    assert (again.status, counts(again)) == (0, {"samples": 4, "written": 1, "skipped": 3})
    told = re.escape(f"3 skipped: {samples}.write.journal says that they are written") + r" \(.* UTC\)\n"
    assert re.fullmatch(told, again.stderr)
    assert metrics.total("temperature", Device="DEV1") == (72, 3)


def test_a_key_tells_samples_that_have_moved(metrics: Metrics) -> None:
    file = metrics.file("samples.csv", "id,metric,value,dimensions.Device\na,t,1,DEV1\nb,t,2,DEV1\n")
    write(metrics, "--key", "id")
    file.write_text("id,metric,value,dimensions.Device\nb,t,2,DEV1\nc,t,4,DEV1\na,t,1,DEV1\n")
    assert counts(write(metrics, "--key", "id")) == {"samples": 3, "written": 1, "skipped": 2}
    assert metrics.total("t", Device="DEV1") == (7, 3)


def test_what_has_failed_is_reported_and_only_written_again_if_asked(
    metrics: Metrics, samples: Path, cloud: EmulatorThread
) -> None:
    cloud.faults.add(Fault("action/invoke", status=400, body="no"))
    assert counts(write(metrics, "--concurrency", "1")) == {"samples": 3, "written": 2, "failed": 1}
    again = write(metrics)
    assert (again.status, counts(again)) == (1, {"samples": 3, "failed": 1, "skipped": 2})
    assert "line 2: temperature: when it was called before: action/invoke: 400 no" in again.stderr
    assert "1 have failed in an earlier run; --retry-failed sends such samples again" in again.stderr
    assert counts(write(metrics, "--retry-failed")) == {"samples": 3, "written": 1, "skipped": 2}


def test_what_may_be_written_is_reported_and_only_sent_again_if_asked(
    metrics: Metrics, samples: Path, cloud: EmulatorThread
) -> None:
    cloud.faults.add(Fault("action/invoke", reset="after"))
    for _ in range(2):
        result = write(metrics, "--concurrency", "1")
        assert (result.status, result.figures["unknown"]) == (1, 1)
        assert "line 2: temperature: may be written: " in result.stderr
        assert "1 may be written; --at-least-once sends such samples again" in result.stderr
        assert "--retry-failed" not in result.stderr
        assert metrics.total("temperature", Device="DEV1") == (42, 2)
    result = write(metrics, "--at-least-once")
    assert (result.status, counts(result)) == (0, {"samples": 3, "written": 1, "skipped": 2})
    assert metrics.total("temperature", Device="DEV1") == (62, 3)  # twice, as was asked for


def test_a_refusal_after_an_attempt_in_doubt_leaves_the_sample_in_doubt(
    metrics: Metrics, samples: Path, cloud: EmulatorThread
) -> None:
    cloud.faults.add(Fault("action/invoke", reset="after"))
    cloud.faults.add(Fault("action/invoke", status=400))
    result = write(metrics, "--concurrency", "1", "--at-least-once")
    assert counts(result) == {"samples": 3, "written": 2, "unknown": 1}
    assert metrics.total("temperature", Device="DEV1") == (42, 2)


def test_what_breaks_while_a_sample_is_sent_leaves_it_in_doubt(
    metrics: Metrics, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(way: object, samples: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("ioto_async.metrics.automation.AutomationSink.send", send)
    result = write(metrics)
    assert (result.status, counts(result)) == (1, {"samples": 3, "unknown": 3})
    assert "line 2: temperature: may be written: broken" in result.stderr
    assert journaled(metrics) == ["unknown"] * 3


def test_the_journal_is_of_one_target(metrics: Metrics, samples: Path) -> None:
    write(metrics)
    other = metrics("write", "--from", samples, "--via", "model", "--model", "Service")
    assert (other.status, "metric write via automation MetricSample at " in other.stderr) == (2, True)
    assert write(metrics, "--device", "DEV1").status == 2


def test_without_a_journal_everything_is_written_again(metrics: Metrics, samples: Path) -> None:
    write(metrics, "--no-journal")
    result = write(metrics, "--no-journal")
    assert (counts(result), "journal" in result.figures) == ({"samples": 3, "written": 3}, False)
    assert metrics.total("temperature", Device="DEV1") == (84, 4)


def test_samples_come_from_a_pipe(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    with piped(SAMPLES, monkeypatch):
        result = write(metrics, file="-")
    assert (result.status, result.figures["written"], "journal" in result.figures) == (0, 3, False)
    assert metrics.total("temperature", Device="DEV1") == (42, 2)


# Runs that end early ----------------------------------------------------------------------------------------------

MANY = 600


@pytest.fixture
def many(metrics: Metrics, samples: Path) -> Path:
    """Samples of a metric each, so that the cloud knows of each how often it has it."""
    rows = [f"t{number},{number},DEV1" for number in range(MANY)]
    samples.write_text("metric,value,dimensions.Device\n" + "\n".join(rows))
    return samples


def times_written(metrics: Metrics) -> list[float]:
    """How often the cloud has each of the many samples."""
    return [metrics.total(f"t{number}", Device="DEV1")[1] for number in range(MANY)]


@pytest.fixture
def some_arrived(metrics: Metrics, cloud: EmulatorThread) -> Callable[[], AbstractContextManager[None]]:
    """Waits until the cloud has some samples; while the body runs, the cloud does nothing more."""
    arrived, go_on = threading.Event(), threading.Event()
    looks = itertools.count(1)

    def clock() -> float:
        if next(looks) == 200:  # one or some for each request
            arrived.set()
            assert go_on.wait(GUARD)
        return NOW.timestamp()

    @contextlib.contextmanager
    def waiting() -> Iterator[None]:
        try:
            assert arrived.wait(GUARD)
            yield
        finally:
            go_on.set()

    cloud.cloud.clock = clock
    return waiting


@pytest.mark.slow
def test_an_interrupted_run_finishes_what_it_began_and_the_next_one_does_the_rest(
    metrics: Metrics, many: Path, some_arrived: Callable[[], AbstractContextManager[None]], cloud: EmulatorThread
) -> None:
    command = ["metric", "write", "--from", str(many), *AUTOMATION, "--concurrency", "4", "--json"]
    child = start(*command, environ=cloud.env)
    with some_arrived():
        child.send_signal(signal.SIGINT)
    stdout, stderr = (stream.decode() for stream in child.communicate(timeout=GUARD))
    figures = json.loads(stdout)
    assert (child.returncode, figures["stopped"]) == (130, "by SIGINT")
    assert 0 < figures["written"] == figures["samples"] < MANY  # nothing was cut off
    again = stderr.splitlines()[-1].partition("to go on, run ")[2]
    assert shlex.split(again) == ["ioto-async", *command]
    rest = write(metrics)
    assert counts(rest) == {"samples": MANY, "written": MANY - figures["written"], "skipped": figures["written"]}
    assert times_written(metrics) == [1] * MANY


@pytest.mark.slow
def test_after_a_kill_no_sample_is_written_twice_and_those_in_doubt_are_reported(
    metrics: Metrics, many: Path, some_arrived: Callable[[], AbstractContextManager[None]], cloud: EmulatorThread
) -> None:
    child = start("metric", "write", "--from", str(many), *AUTOMATION, environ=cloud.env)
    with some_arrived():
        child.kill()
    child.communicate()
    result = write(metrics)
    found = counts(result)
    in_doubt = found.pop("unknown", 0)
    assert found == {"samples": MANY, "written": found["written"], "skipped": MANY - in_doubt - found["written"]}
    times = times_written(metrics)
    assert set(times) <= {0, 1}
    assert times.count(0) <= in_doubt
    told = re.findall(r"^line \d+: t\d+: may be written: ", result.stderr, re.MULTILINE)
    assert len(told) == min(in_doubt, 3), "one cause has three lines"
    assert result.status == (1 if in_doubt else 0)


def test_a_second_signal_ends_samples_that_hang_and_says_that_they_may_be_written(
    metrics: Metrics, samples: Path, cloud: EmulatorThread
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = cloud.env | {"IOTO_API": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        options = [*AUTOMATION, "--concurrency", "1", "--json"]
        child = start("metric", "write", "--from", str(samples), *options, environ=environ)
        connection, _ = silent.accept()
        with connection:
            assert b"action/invoke" in connection.recv(1000)
            for _ in range(2):
                child.send_signal(signal.SIGINT)
                assert child.stderr is not None
                child.stderr.readline()
            stdout, stderr = child.communicate(timeout=GUARD)
    figures = json.loads(stdout)
    assert (child.returncode, figures["unknown"], figures["samples"]) == (130, 1, 1)
    assert b"Traceback" not in stderr
    assert journaled(metrics)[0] == "unknown"


def test_a_sample_that_waits_for_the_cloud_when_it_ends_is_the_next_run_s(
    metrics: Metrics, samples: Path, cloud: EmulatorThread
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        environ = cloud.env | {"IOTO_API": f"http://127.0.0.1:{busy.getsockname()[1]}"}
        options = [*AUTOMATION, "--concurrency", "1", "--json"]
        child = start("metric", "write", "--from", str(samples), *options, environ=environ)
        connection, _ = busy.accept()
        with connection:
            assert b"action/invoke" in connection.recv(1000)
            connection.sendall(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n")
            child.send_signal(signal.SIGINT)
            stdout, _ = child.communicate(timeout=GUARD)
    assert (child.returncode, json.loads(stdout)["samples"]) == (130, 0)
    assert set(journaled(metrics)) == {"undone"}


@pytest.mark.slow
def test_a_run_that_waits_for_input_ends_at_the_first_signal(
    metrics: Metrics, some_arrived: Callable[[], AbstractContextManager[None]], cloud: EmulatorThread
) -> None:
    command = ["metric", "write", "--from", "-", *AUTOMATION, "--journal", str(metrics.folder / "journal")]
    child = start(*command, environ=cloud.env, stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(b"metric,value,dimensions.Device\n" + b"t,1,DEV1\n" * 300)
    child.stdin.flush()
    with some_arrived():
        child.send_signal(signal.SIGINT)
    assert child.wait(GUARD) == 130  # its input stays open
    child.communicate()
