"""``ioto-async fleet … --dask``: the same commands, on the workers of a cluster."""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from ioto_async.cli.report import ProgressBar
from ioto_async.emulator import EmulatorThread, Fault

from .fleets import Fleet

IDS = [f"FLEET{number}" for number in range(40)]


@pytest.fixture
def address(cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster of two processes, which have credentials that this process has not."""
    from distributed import LocalCluster

    for name in cloud.env:
        monkeypatch.delenv(name)
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        env=cloud.env,
    ) as cluster:
        yield cluster.scheduler_address


def operations(cloud: EmulatorThread) -> Counter[str]:
    return Counter(request.path.rpartition("/tok/")[2].removeprefix("/api/") for request in cloud.requests)


def test_a_cluster_does_what_one_machine_does_and_a_token_that_it_is_refused_with_ends_the_run(
    cloud: EmulatorThread, fleet: Fleet, address: str
) -> None:
    assert "IOTO_TOKEN" not in os.environ
    fleet.write("id\n" + "\n".join(IDS) + "\n")
    result = fleet("register", "--product", cloud.product_token, "--dask", address)
    assert (result.status, result.figures["registered"]) == (0, 40)
    result = fleet("claim", "--dask", address, "--rate", "2000/s")
    assert (result.status, result.figures["claimed"], result.stderr) == (0, 40, "")
    assert operations(cloud) == {"device/register": 40, "device/claim": 40}
    again = fleet("claim", "--dask", address)
    assert (again.status, again.figures["skipped"], operations(cloud)["device/claim"]) == (0, 40, 40)
    provisioned = fleet.provision("--dask", address)
    assert (provisioned.status, provisioned.figures["provisioned"]) == (0, 40)
    assert all((fleet.out / id / "key.pem").exists() for id in IDS)
    (fleet.out / IDS[7] / "key.pem").unlink()
    provisioned = fleet.provision("--dask", address)
    assert (provisioned.status, provisioned.figures["provisioned"], provisioned.figures["skipped"]) == (0, 1, 39)

    cloud.requests.clear()
    cloud.faults.add(Fault("device/claim", status=401, body="Unauthorized", times=None))
    result = fleet("claim", "--dask", address, "--concurrency", "1", "--no-journal")
    assert result.status == 3
    assert len(cloud.requests) < 20


def test_a_scheduler_that_is_not_there_is_wrong_usage(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.write("DEV1\n")
    result = fleet("claim", "--dask", "nowhere")
    assert (result.status, result.stdout) == (2, "")
    assert "--dask: no scheduler at nowhere" in result.stderr


@pytest.mark.slow
def test_a_scheduler_that_is_lost_is_one_line_with_the_figures_and_how_to_go_on(
    cloud: EmulatorThread, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.write("id\n" + "\n".join(IDS) + "\n")
    scheduler = subprocess.Popen(
        [
            *(sys.executable, "-m", "distributed.cli.dask_scheduler"),
            *("--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert scheduler.stderr is not None
    with scheduler, scheduler.stderr as log:
        address = next(line.split()[-1] for line in log if "Scheduler at:" in line)
        reading = threading.Thread(target=log.read)
        # It has no worker, which is the first thing that is told, and lost then.
        progress = ProgressBar.print

        def print_line(self: ProgressBar, line: str) -> None:
            progress(self, line)
            scheduler.kill()

        monkeypatch.setattr(ProgressBar, "print", print_line)
        reading.start()
        result = fleet("claim", "--dask", address, "--patience", "1s")
        reading.join()
    assert (result.status, result.figures["devices"]) == (1, 0)
    assert result.figures["stopped"] == "the scheduler of the cluster was lost"
    how = f"(the same command goes on from {fleet.folder}/fleet.csv.claim.journals)"
    assert result.stderr.splitlines() == [
        "the cluster has no worker: waiting for one",
        "the connection to the scheduler was lost: trying to connect again",
        f"ioto-async: the scheduler of the cluster was lost {how}",
    ]
