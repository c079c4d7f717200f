"""``ioto-async provision``: what it reads, writes, prints and returns."""

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from ioto_async.cli import files
from ioto_async.emulator import EmulatorThread, Fault
from tests.cli import fleets
from tests.rawserver import GUARD
from tests.rows import each_row

from .fleets import piped, ran

COUNTS = ("devices", "claimed", "already_claimed", "provisioned", "kept", "failed")
TIMES = ("requests", "seconds", "requests_per_second", "p50_ms", "p99_ms")
FIGURES = (*COUNTS, "unknown", "skipped", *TIMES, "out", "manifest", "journal")
FILES = {"certificate.pem", "key.pem", "provision.json"}


@attrs.frozen
class Result(fleets.Result):
    @property
    def counts(self) -> tuple[int, ...]:
        """Devices, claimed, already claimed, provisioned, kept, failed."""
        return tuple(self.figures[name] for name in COUNTS)


@attrs.frozen
class Command:
    """Runs ``ioto-async provision`` in this process on a fleet file in a folder of its own."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def fleet(self) -> Path:
        return self.folder / "fleet.csv"

    def __call__(self, fleet: str | bytes, *options: str) -> Result:
        self.fleet.write_bytes(fleet.encode() if isinstance(fleet, str) else fleet)
        return self.on(str(self.fleet), *options)

    def on(self, file: str, *options: str) -> Result:
        return self.raw("provision", file, "--out", str(self.out), "--json", *options)

    def raw(self, *arguments: str) -> Result:
        return Result(*ran(self.capture, arguments))

    def manifest(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / "manifest.jsonl").read_text().splitlines()]

    def entry(self, id: str) -> dict[str, Any]:
        (entry,) = (entry for entry in self.manifest() if entry["id"] == id)
        return entry

    def written(self) -> set[str]:
        """The devices that have all their files."""
        return {path.name for path in self.out.iterdir() if path.is_dir() and {f.name for f in path.iterdir()} == FILES}


@pytest.fixture
def provision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, capsys)


@pytest.fixture
def anew(empty_folder: Callable[[], Path], capsys: pytest.CaptureFixture[str]) -> Callable[[], Command]:
    """Makes a command for a row of a table."""
    return lambda: Command(empty_folder(), capsys)


def operations(cloud: EmulatorThread) -> list[str]:
    return [request.path.removeprefix("/tok/") for request in cloud.requests]


def certificate_of(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())


def public_bytes(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def pair_matches(folder: Path) -> bool:
    key = load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
    return public_bytes(key.public_key()) == public_bytes(certificate_of(folder).public_key())


# What is read ------------------------------------------------------------------------------------------------------


@each_row(
    "fleet",
    {
        "a header": "id,name\nDEV1,Pump\nDEV2,Valve\n",
        "one ID a line": "DEV1\nDEV2\n",
        "no end of the last line": "DEV1\nDEV2",
        "a header of one column in capitals": "ID\nDEV1\nDEV2\n",
        "a byte order mark": "\ufeffid,name\nDEV1,\nDEV2,\n",
        "a byte order mark and no header": "\ufeffDEV1\nDEV2\n",
        "CRLF": "id,name\r\nDEV1,a\r\nDEV2,b\r\n",
        "CR": "DEV1\rDEV2\r",
        "blank lines": "\n\nid,name\n\nDEV1,a\n , \nDEV2,b\n\n",
        "quoted cells": '"id","name"\n"DEV1","a, ""b"""\n"DEV2",c\n',
        "unknown columns before the ID": "name,colour,id\na,red,DEV1\nb,,DEV2\n",
        "short rows": "id,name,product\nDEV1\nDEV2,b\n",
        "white space": " id , name \n DEV1 , a \n\tDEV2,b\n",
        "letters beyond ASCII": "id,name\nDEV1,Zażółć\nDEV2,温度\n",
    },
)
def test_every_usual_form_of_a_fleet_file_is_read(
    anew: Callable[[], Command], cloud: EmulatorThread, fleet: str
) -> None:
    provision = anew()
    result = provision(fleet)
    assert (result.status, result.counts, result.stderr) == (0, (2, 2, 0, 2, 0, 0), "")
    assert provision.written() == {"DEV1", "DEV2"}


def test_stdin_is_read_for_a_dash(cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    redirected = provision.folder / "stdin"
    redirected.write_bytes("\ufeffid\r\nDEV1\r\nDEV2\r\n".encode())
    with redirected.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        result = provision.on("-")
        assert not stdin.closed
    assert (result.status, result.counts) == (0, (2, 2, 0, 2, 0, 0))


def test_a_named_pipe_is_read_as_a_file(cloud: EmulatorThread, provision: Command) -> None:
    # A shell makes one for `ioto-async provision <(…)`.
    os.mkfifo(provision.fleet)
    writer = threading.Thread(target=provision.fleet.write_text, args=("DEV1\nDEV2\n",))
    writer.start()
    try:
        result = provision.on(str(provision.fleet))
    finally:
        writer.join()
    assert (result.status, result.counts) == (0, (2, 2, 0, 2, 0, 0))


@each_row(
    "fleet, problem",
    {
        "empty": ("", "no rows"),
        "a byte order mark alone": ("\ufeff", "no rows"),
        "blank lines alone": ("\n \n,,\n", "no rows"),
        "no column id": ("name,product\na,b\n", "no column id: name, product"),
        "a column twice": ("id,name,ID\nDEV1,a,DEV2\n", "names a column twice"),
    },
)
def test_a_file_without_devices_is_wrong_usage(
    anew: Callable[[], Command], cloud: EmulatorThread, fleet: str, problem: str
) -> None:
    provision = anew()
    result = provision(fleet)
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr.startswith("ioto-async: FILE: ")
    assert problem in result.stderr
    assert not cloud.requests


def test_a_header_alone_is_a_fleet_of_none(cloud: EmulatorThread, provision: Command) -> None:
    result = provision("id,name\n")
    assert (result.status, result.counts) == (0, (0, 0, 0, 0, 0, 0))


def test_a_missing_file_is_wrong_usage(cloud: EmulatorThread, provision: Command) -> None:
    result = provision.on("nowhere.csv")
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr == "ioto-async: FILE: No such file or directory: nowhere.csv\n"


def test_a_directory_as_file_is_wrong_usage(cloud: EmulatorThread, provision: Command) -> None:
    result = provision.on(str(provision.folder))
    assert (result.status, result.stdout) == (2, "")
    assert "Is a directory" in result.stderr


@each_row(
    "row, problem",
    {
        "bytes that are no UTF-8 in the ID": (b"DEV\xff,a", "got 'DEV\\udcff'"),
        "bytes that are no UTF-8 in a column": (b"DEV2,a\xff", "name: not UTF-8"),
        "a control character": (b"DEV2,a\x1b[2J", "control character"),
        "a NUL": (b"DEV2,a\x00", "control character"),
        "a duplicate": (b"DEV1,again", "DEV1 is already on line 2"),
        "no ID": (b",a", "id is empty"),
        "too many cells": (b"DEV2,a,b,c", "4 columns where the header has 2"),
        "text behind a quote": (b'"DEV2"x,a', "not CSV"),
        "an unclosed quote": (b'DEV2,"a', "not CSV"),
        "a cell without end": (b"DEV2," + b"a" * 140_000, "not CSV"),
        "a space in the ID": (b"DEV 2,a", "letters, digits"),
        "a long ID": (b"A" * 129 + b",a", "up to 128"),
    },
)
def test_a_bad_row_is_reported_with_its_line_and_the_others_go_on(
    anew: Callable[[], Command], cloud: EmulatorThread, row: bytes, problem: str
) -> None:
    provision = anew()
    result = provision(b"id,name\nDEV1,a\n\n" + row + b"\nDEV3,c\nDEV4,d\n")
    assert (result.status, result.counts) == (1, (4, 3, 0, 3, 0, 1))
    (line,) = result.stderr.splitlines()
    assert line.startswith("line 4: ")
    assert problem in line
    assert provision.written() == {"DEV1", "DEV3", "DEV4"}


def test_a_bad_row_is_in_the_manifest(cloud: EmulatorThread, provision: Command) -> None:
    provision("id\nDEV1\nDEV1\n")
    assert {
        "id": None,
        "line": 3,
        "text": "DEV1",
        "status": "failed",
        "error": "id DEV1 is already on line 2",
    } in provision.manifest()


@each_row("id", ["..", ".", "../x", "a/b", "/etc/x", "a\\b", "-x", "C:x", "~", "$HOME", "manifest.jsonl", "a\u2215b"])
def test_an_id_that_could_lead_out_of_the_folder_is_refused(
    anew: Callable[[], Command], cloud: EmulatorThread, id: str
) -> None:
    provision = anew()
    result = provision(f"id\n{id}\n")
    assert (result.status, result.counts) == (1, (1, 0, 0, 0, 0, 1))
    assert {path.name for path in provision.out.iterdir()} == {"manifest.jsonl"}
    assert not cloud.requests


def test_a_row_of_too_many_cells_is_reported_with_its_id(cloud: EmulatorThread, provision: Command) -> None:
    result = provision("name,id\nPump,DEV1,x\n")
    assert result.stderr == "line 2: DEV1: 3 columns where the header has 2\n"


def test_control_characters_of_a_file_do_not_reach_the_terminal(cloud: EmulatorThread, provision: Command) -> None:
    result = provision("id,name\n\x1b[31mDEV1,a,b\n\x1b]0;x\x07,b\n")
    assert result.status == 1
    assert "\x1b" not in result.stderr


def test_a_cell_on_two_lines_does_not_shift_the_line_numbers(cloud: EmulatorThread, provision: Command) -> None:
    result = provision('id,name\nDEV1,"a\nb"\nDEV2,b\n..,c\n')
    assert "line 5: ..: " in result.stderr
    assert provision.entry("DEV2")["line"] == 4


# What is written ---------------------------------------------------------------------------------------------------


def test_the_certificate_is_of_the_clouds_authority_and_fits_the_key(cloud: EmulatorThread, provision: Command) -> None:
    provision("DEV1\n")
    certificate = certificate_of(provision.out / "DEV1")
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(Path(cloud.ca).read_bytes()))
    assert certificate.subject.rfc4514_string() == "CN=DEV1"
    assert pair_matches(provision.out / "DEV1")


def test_provision_json_has_what_the_device_needs_to_connect(cloud: EmulatorThread, provision: Command) -> None:
    provision("DEV1\n")
    assert json.loads((provision.out / "DEV1" / "provision.json").read_text()) == {
        "id": "DEV1",
        "accountId": cloud.account_id,
        "endpoint": "localhost",
        "port": cloud.mqtt_port,
        "thing": "DEV1",
        "cloudType": "dedicated",
        "cloudName": "Embedded",
        "cloudRegion": "us-east-1",
    }


@pytest.fixture
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_open_umask")
def test_files_and_folders_are_the_owners_alone(cloud: EmulatorThread, provision: Command) -> None:
    provision("DEV1\n")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (provision.out, *provision.out.rglob("*"))}
    assert modes == {"out": 0o700, "DEV1": 0o700, "manifest.jsonl": 0o600, **dict.fromkeys(FILES, 0o600)}


def test_the_manifest_has_a_line_for_every_row(cloud: EmulatorThread, provision: Command) -> None:
    cloud.cloud.claim_device("DEV2")
    provision("id\nDEV1\nDEV2\nNOBODY\n..\n", "--concurrency", "1")
    # A bad row is over as soon as it is read, which may be before others are.
    manifest = sorted(provision.manifest(), key=lambda entry: int(entry["line"]))
    assert manifest == [
        {"id": "DEV1", "line": 2, "claimed": "now", "status": "provisioned"},
        {"id": "DEV2", "line": 3, "claimed": "before", "status": "provisioned"},
        {"id": "NOBODY", "line": 4, "status": "failed", "error": "device/claim: 400 Cannot find device"},
        {"id": None, "line": 5, "text": "..", "status": "failed", "error": manifest[3]["error"]},
    ]


def test_nothing_temporary_is_left(cloud: EmulatorThread, provision: Command) -> None:
    provision("DEV1\n")
    assert {str(path.relative_to(provision.out)) for path in provision.out.rglob("*")} == {
        "DEV1",
        "manifest.jsonl",
        *(f"DEV1/{name}" for name in FILES),
    }


def test_json_is_one_object_with_the_documented_figures(cloud: EmulatorThread, provision: Command) -> None:
    result = provision("DEV1\nDEV2\n")
    assert len(result.stdout.splitlines()) == 1
    assert tuple(result.figures) == FIGURES
    assert result.figures["requests"] == 4
    assert result.figures["manifest"] == str(provision.out / "manifest.jsonl")


def test_without_json_the_figures_are_a_table(cloud: EmulatorThread, provision: Command) -> None:
    provision.fleet.write_text("DEV1\nDEV2\n")
    result = provision.raw("provision", str(provision.fleet), "--out", str(provision.out))
    assert re.search(r"provisioned\W+2\b", result.stdout)
    assert re.search(r"already claimed\W+0\b", result.stdout)


def test_no_bar_is_drawn_where_stderr_is_no_terminal(cloud: EmulatorThread, provision: Command) -> None:
    assert provision("DEV1\n").stderr == ""


def test_no_secret_is_printed_or_in_the_manifest(cloud: EmulatorThread, provision: Command) -> None:
    cloud.faults.add(Fault("device/claim", status=400, body=f"no: {cloud.token}"))
    cloud.faults.add(Fault("device/register", status=400, body=f"no: {cloud.product_token}"))
    fleet = f"id,product\nDEV1,{cloud.product_token}\nDEV2,{cloud.product_token}\nDEV3,{cloud.product_token}\n"
    result = provision(fleet, "--as-device", "--concurrency", "1")
    assert result.counts == (3, 2, 0, 1, 0, 2)
    told = result.stdout + result.stderr + (provision.out / "manifest.jsonl").read_text()
    folder = provision.out / "DEV3"
    secrets = [cloud.token, cloud.login_token, cloud.product_token]
    secrets.append(json.loads((folder / "provision.json").read_text())["token"])
    secrets += (folder / "key.pem").read_text().splitlines()
    assert [secret for secret in secrets if secret in told] == []


# Run again ---------------------------------------------------------------------------------------------------------


def states(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_a_second_run_leaves_the_files_alone(cloud: EmulatorThread, provision: Command) -> None:
    provision("DEV1\nDEV2\n")
    before = states(provision.out / "DEV1")
    result = provision("DEV1\nDEV2\n")
    assert (result.status, result.counts) == (0, (2, 0, 0, 0, 2, 0))
    assert states(provision.out / "DEV1") == before


def test_a_kept_device_is_noted_as_kept(cloud: EmulatorThread, provision: Command) -> None:
    provision("DEV1\n")
    provision("DEV1\n")
    assert provision.manifest() == [{"id": "DEV1", "line": 1, "claimed": "before", "status": "kept"}]


def test_a_key_that_differs_is_not_replaced(cloud: EmulatorThread, provision: Command) -> None:
    key = provision.out / "DEV1" / "key.pem"
    key.parent.mkdir(parents=True)
    key.write_text("another key\n")
    result = provision("DEV1\nDEV2\n")
    assert (result.status, result.counts) == (1, (2, 2, 0, 1, 0, 1))
    assert "--overwrite" in result.stderr
    assert key.read_text() == "another key\n"
    assert provision.written() == {"DEV2"}


def test_a_key_that_differs_is_replaced_where_that_is_asked_for(cloud: EmulatorThread, provision: Command) -> None:
    key = provision.out / "DEV1" / "key.pem"
    key.parent.mkdir(parents=True)
    key.write_text("another key\n")
    result = provision("DEV1\n", "--overwrite")
    assert (result.status, result.counts) == (0, (1, 1, 0, 1, 0, 0))
    assert pair_matches(key.parent)
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_no_text_fails_its_device_alone(cloud: EmulatorThread, provision: Command) -> None:
    key = provision.out / "DEV1" / "key.pem"
    key.parent.mkdir(parents=True)
    key.write_bytes(b"\x30\x82\xff\xfe")  # DER
    result = provision("DEV1\nDEV2\n")
    assert (result.status, result.counts) == (1, (2, 2, 0, 1, 0, 1))
    assert key.read_bytes() == b"\x30\x82\xff\xfe"


def test_a_file_in_the_place_of_a_folder_fails_its_device_alone(cloud: EmulatorThread, provision: Command) -> None:
    provision.out.mkdir()
    (provision.out / "DEV1").write_text("")
    result = provision("DEV1\nDEV2\n")
    assert (result.status, result.counts) == (1, (2, 2, 0, 1, 0, 1))
    assert result.stderr.startswith("line 1: DEV1: ")


@each_row("name", sorted(FILES))
def test_a_missing_file_is_written_and_the_key_stays(anew: Callable[[], Command], name: str) -> None:
    provision = anew()
    provision("DEV1\n")
    folder = provision.out / "DEV1"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / name).unlink()
    result = provision("DEV1\n")
    assert (result.status, result.counts) == (0, (1, 0, 1, 1, 0, 0))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_overwrite_fetches_again_what_is_there(cloud: EmulatorThread, provision: Command) -> None:
    provision("DEV1\n")
    result = provision("DEV1\n", "--overwrite")
    assert (result.status, result.counts) == (0, (1, 0, 1, 1, 0, 0))


def test_an_overwrite_that_broke_off_is_completed_by_the_next_run(
    cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    provision("DEV1\n")
    cloud.cloud.release_device("DEV1")  # its next certificate comes with another key
    replace = Path.replace

    def broken(path: Path, target: Path) -> Path:
        if target.name == files.CERTIFICATE:
            raise OSError("the disk is full")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", broken)
        assert provision("DEV1\n", "--overwrite").status == 1
    provision("DEV1\n", "--retry-failed")
    assert pair_matches(provision.out / "DEV1")


def test_the_manifest_keeps_the_devices_of_another_fleet(cloud: EmulatorThread, provision: Command) -> None:
    provision("DEV1\n")
    provision("DEV2\n")
    assert [entry["id"] for entry in provision.manifest()] == ["DEV1", "DEV2"]


def test_a_row_that_was_put_right_leaves_no_failure_in_the_manifest(cloud: EmulatorThread, provision: Command) -> None:
    provision("id\nDEV 1\n")
    provision("id\nDEV1\n")
    assert [entry["status"] for entry in provision.manifest()] == ["provisioned"]


def test_a_killed_run_is_folded_into_the_manifest(cloud: EmulatorThread, provision: Command) -> None:
    provision.out.mkdir()
    (provision.out / "manifest.jsonl").write_text(
        '{"id":"OLD","line":1,"status":"provisioned"}\n{"id":"DEV9","line":2,"status":"failed","error":"x"}\n'
    )
    (provision.out / "manifest.jsonl.part").write_text(
        '{"id":"DEV9","line":2,"status":"provisioned"}\n{"id":"DEV8","li'
    )
    provision("DEV1\n")
    assert [(entry["id"], entry["status"]) for entry in provision.manifest()] == [
        ("OLD", "provisioned"),
        ("DEV9", "provisioned"),
        ("DEV1", "provisioned"),
    ]
    assert not (provision.out / "manifest.jsonl.part").exists()


def test_of_two_lines_of_a_killed_run_the_newest_counts(cloud: EmulatorThread, provision: Command) -> None:
    provision.out.mkdir()
    (provision.out / "manifest.jsonl.part").write_text(
        '{"id":"DEV9","line":1,"status":"failed","error":"x"}\n{"id":"DEV9","line":1,"status":"provisioned"}\n'
    )
    provision("DEV1\n")
    assert [(entry["id"], entry["status"]) for entry in provision.manifest()] == [
        ("DEV9", "provisioned"),
        ("DEV1", "provisioned"),
    ]


def test_lines_of_others_stay_in_the_manifest(cloud: EmulatorThread, provision: Command) -> None:
    provision.out.mkdir()
    (provision.out / "manifest.jsonl").write_text('{"comment":"by hand"}\n')
    provision("DEV1\n")
    assert provision.manifest()[0] == {"comment": "by hand"}


def test_a_last_line_by_hand_that_has_no_end_stays_in_the_manifest(cloud: EmulatorThread, provision: Command) -> None:
    provision.out.mkdir()
    (provision.out / "manifest.jsonl").write_text('{"id":"OLD","line":1,"status":"kept"}')
    provision("DEV1\n")
    assert [entry["id"] for entry in provision.manifest()] == ["OLD", "DEV1"]


# With the token of the device --------------------------------------------------------------------------------------


def test_as_device_registers_and_then_provisions_with_the_token_it_got(
    cloud: EmulatorThread, provision: Command
) -> None:
    result = provision(f"id,product\nDEV1,{cloud.product_token}\n", "--as-device")
    assert (result.status, result.counts) == (0, (1, 1, 0, 1, 0, 0))
    assert [(request.path, request.caller) for request in cloud.requests] == [
        ("/tok/device/claim", "cloud"),
        ("/api/device/register", "product"),
        ("/tok/device/provision", "device"),
    ]


def test_as_device_notes_the_cloud_and_the_token_for_the_device(cloud: EmulatorThread, provision: Command) -> None:
    provision("DEV1\n", "--as-device", "--product", cloud.product_token)
    known = json.loads((provision.out / "DEV1" / "provision.json").read_text())
    assert known["api"] == cloud.api
    assert known["token"] not in ("", cloud.token, cloud.product_token)


def test_as_device_registers_the_other_columns_as_properties(cloud: EmulatorThread, provision: Command) -> None:
    provision("id,name,model,note\nDEV1,Pump 1,P-7,\n", "--as-device", "--product", cloud.product_token)
    (body,) = (request.body for request in cloud.requests if request.path == "/api/device/register")
    assert json.loads(body) == {"id": "DEV1", "product": cloud.product_token, "name": "Pump 1", "model": "P-7"}


def test_as_device_without_a_product_fails_the_row_before_it_is_claimed(
    cloud: EmulatorThread, provision: Command
) -> None:
    result = provision(f"id,product\nDEV1,\nDEV2,{cloud.product_token}\n", "--as-device")
    assert (result.status, result.counts) == (1, (2, 1, 0, 1, 0, 1))
    assert result.stderr.startswith("line 2: DEV1: product: ")
    assert cloud.cloud.device("DEV1") is None


def test_as_device_a_wrong_product_fails_its_row_alone(cloud: EmulatorThread, provision: Command) -> None:
    result = provision(f"id,product\nDEV1,WRONG\nDEV2,{cloud.product_token}\n", "--as-device")
    assert (result.status, result.counts) == (1, (2, 2, 0, 1, 0, 1))
    assert result.stderr.startswith("line 2: DEV1: device/register: 403 ")


def test_as_device_a_column_test_marks_a_test_device(cloud: EmulatorThread, provision: Command) -> None:
    result = provision("id,test\nDEV1,true\n", "--as-device", "--product", cloud.product_token)
    assert (result.status, result.stderr) == (0, "")
    assert (cloud.cloud.device("DEV1") or {}).get("test") is True


def test_as_device_a_header_that_is_no_utf8_is_reported(cloud: EmulatorThread, provision: Command) -> None:
    result = provision(b"id,n\xffme\nDEV1,a\n", "--as-device", "--product", cloud.product_token)
    assert result.status in (1, 2)
    assert "Traceback" not in result.stderr


def test_as_device_the_builder_is_asked_again_until_it_knows_of_the_claim(
    cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = asyncio.sleep
    monkeypatch.setattr("asyncio.sleep", lambda _: sleep(0))
    cloud.faults.add(Fault("device/register", body='{"registered":true}', times=2))
    result = provision("DEV1\n", "--as-device", "--product", cloud.product_token)
    assert (result.status, result.counts) == (0, (1, 1, 0, 1, 0, 0))


def test_as_device_a_builder_that_never_knows_of_the_claim_fails_the_row(
    cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = asyncio.sleep
    monkeypatch.setattr("asyncio.sleep", lambda _: sleep(0))
    cloud.faults.add(Fault("device/register", body='{"registered":true}', times=None))
    result = provision("DEV1\n", "--as-device", "--product", cloud.product_token)
    assert result.counts == (1, 1, 0, 0, 0, 1)
    assert "does not know yet" in result.stderr


# Whose device it is ------------------------------------------------------------------------------------------------


def test_a_device_that_is_ours_already_counts_as_done(cloud: EmulatorThread, provision: Command) -> None:
    cloud.cloud.claim_device("DEV1")
    result = provision("DEV1\n")
    assert (result.status, result.counts) == (0, (1, 0, 1, 1, 0, 0))


def test_a_device_of_another_account_fails_and_the_others_go_on(cloud: EmulatorThread, provision: Command) -> None:
    cloud.cloud.claim_device("DEV1", cloud.cloud.add_account("Other", "other@ioto.test"))
    result = provision("DEV1\nDEV2\n")
    assert (result.status, result.counts) == (1, (2, 1, 0, 1, 0, 1))
    assert result.stderr == "line 1: DEV1: device/claim: 400 Device is already claimed\n"


def test_an_unknown_device_fails_and_the_others_go_on(cloud: EmulatorThread, provision: Command) -> None:
    result = provision("NOBODY\nDEV2\n")
    assert (result.status, result.counts) == (1, (2, 1, 0, 1, 0, 1))
    assert result.stderr == "line 1: NOBODY: device/claim: 400 Cannot find device\n"


def test_account_claims_for_that_account(cloud: EmulatorThread, provision: Command) -> None:
    other = cloud.cloud.add_account("Other", "other@ioto.test")
    assert provision("DEV1\n", "--account", other).status == 0
    assert cloud.cloud.device("DEV1", other) is not None


def test_a_blocked_device_is_reported_with_its_delay(cloud: EmulatorThread, provision: Command) -> None:
    cloud.cloud.block_device("DEV1", 90)
    result = provision("DEV1\nDEV2\n")
    assert (result.status, result.counts) == (1, (2, 2, 0, 1, 0, 1))
    assert re.fullmatch(r"line 1: DEV1: device/provision: .*excess traffic.* \d+ s\)\n", result.stderr)


# What goes wrong on the way ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_passing_failure_does_not_fail_the_device(anew: Callable[[], Command], cloud: EmulatorThread) -> None:
    faults = {
        "503": Fault(status=503),
        "503 with Retry-After": Fault(status=503, headers={"Retry-After": "0"}),
        "429": Fault(status=429, headers={"Retry-After": "0"}),
        "500 thrice": Fault(status=500, times=3),
        "502 of a proxy": Fault(status=502, body="<html>", headers={"Content-Type": "text/html"}),
        "reset before": Fault(reset="before"),
        "reset after": Fault(reset="after"),
        "half a reply": Fault(truncate=True),
    }
    operations = ("device/claim", "device/provision")

    @each_row(
        "operation, fault",
        {f"{operation}: {name}": (operation, fault) for operation in operations for name, fault in faults.items()},
    )
    def check(operation: str, fault: Fault) -> None:
        provision = anew()
        cloud.faults.add(attrs.evolve(fault, operation=operation))
        result = provision("DEV1\nDEV2\n")
        assert (result.status, result.stderr, result.figures["provisioned"]) == (0, "", 2)
        assert provision.written() == {"DEV1", "DEV2"}

    check()


def test_old_files_of_a_released_device_are_not_kept_when_the_reply_to_its_claim_is_lost(
    cloud: EmulatorThread, provision: Command
) -> None:
    provision("DEV1\n")
    cloud.cloud.release_device("DEV1")  # the certificate on disk ends with the claim
    cloud.faults.add(Fault("device/claim", reset="after"))
    result = provision("DEV1\n", "--no-journal")
    assert result.figures["kept"] == 0


@each_row(
    "fault, told",
    {
        "500": (Fault(status=500, body="Service error", times=4), "500 Service error (4 attempts)"),
        "truncated JSON": (Fault(body='{"id":"DEV1",'), "device/provision: reply at $: "),
        "HTML": (Fault(body="<html>Sign in</html>"), "device/provision: reply at $: "),
        "an array": (Fault(body="[]"), "device/provision: reply at $: "),
        "a wrong type": (Fault(body='{"key":["high"]}'), "no certificate"),
        "an empty object": (Fault(body="{}"), "no certificate"),
        "204": (Fault(status=204), "device/provision: "),
        "a redirect": (Fault(status=302, headers={"Location": "https://x.test/"}), "302 redirect to"),
        "404": (Fault(status=404), "404 "),
        "an empty certificate": (Fault(body='{"certificate":"","key":""}'), "no certificate"),
        "an error in a 200": (Fault(body='{"error":"no luck"}'), "no luck"),
    },
)
def test_a_bad_reply_fails_its_device_alone(
    anew: Callable[[], Command], cloud: EmulatorThread, fault: Fault, told: str
) -> None:
    provision = anew()
    cloud.faults.add(attrs.evolve(fault, operation="device/provision"))
    result = provision("DEV1\nDEV2\n", "--concurrency", "1")
    # After a 500 the certificate may have been made all the same.
    lost = result.figures["failed"] + result.figures["unknown"]
    assert (result.status, result.counts[:5], lost) == (1, (2, 2, 0, 1, 0), 1)
    assert result.stderr.startswith("line 1: DEV1: ")
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert provision.written() == {"DEV2"}


def test_a_failed_device_is_completed_by_the_next_run(cloud: EmulatorThread, provision: Command) -> None:
    cloud.faults.add(Fault("device/provision", status=400, body="not now"))
    provision("DEV1\n")
    result = provision("DEV1\n", "--retry-failed")
    assert (result.status, result.counts) == (0, (1, 0, 1, 1, 0, 0))
    assert provision.entry("DEV1")["status"] == "provisioned"


def test_a_refused_token_ends_the_run_at_once(
    cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IOTO_TOKEN", "WRONG")
    result = provision("DEV1\nDEV2\nDEV3\n", "--concurrency", "1")
    assert (result.status, operations(cloud)) == (3, ["device/claim"])
    assert result.stderr == "ioto-async: device/claim: 403 Authentication failed (item DEV1)\n"
    assert "WRONG" not in result.stdout


def test_a_wrong_password_ends_the_run_at_once(
    cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IOTO_TOKEN")
    monkeypatch.setenv("IOTO_PASSWORD", "not-this-0ne")
    result = provision("DEV1\nDEV2\nDEV3\n", "--concurrency", "1")
    assert (result.status, operations(cloud)) == (3, ["/cognito"])
    assert result.stderr.startswith("ioto-async: device/claim: the provider of login tokens: Cognito: NotAuthorized")
    assert "not-this-0ne" not in result.stdout + result.stderr


def test_an_unreachable_cloud_ends_the_run(
    cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:  # bound, but nobody listens
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("IOTO_API", f"http://127.0.0.1:{free.getsockname()[1]}")
        result = provision("DEV1\nDEV2\n", "--concurrency", "1")
    assert result.status == 4
    assert result.stderr.startswith("ioto-async: device/claim: ")
    assert not cloud.requests


def test_a_run_that_is_ended_still_prints_its_figures(
    cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IOTO_TOKEN", "WRONG")
    result = provision("DEV1\n")
    assert tuple(result.figures) == (*FIGURES, "stopped")


# Wrong usage -------------------------------------------------------------------------------------------------------


@each_row(
    "arguments",
    {
        "no file": ["provision"],
        "no folder": ["provision", "fleet.csv"],
        "concurrency 0": ["provision", "fleet.csv", "--out", "x", "--concurrency", "0"],
        "concurrency in words": ["provision", "fleet.csv", "--out", "x", "--concurrency", "many"],
        "an unknown option": ["provision", "fleet.csv", "--out", "x", "--nonsense"],
        "two files": ["provision", "fleet.csv", "more.csv", "--out", "x"],
        "an unknown command": ["nonsense"],
    },
)
def test_wrong_arguments_exit_with_2(cloud: EmulatorThread, provision: Command, arguments: list[str]) -> None:
    result = provision.raw(*arguments)
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr


@each_row("name", ["IOTO_API", "IOTO_TOKEN"])
def test_an_unset_variable_is_named(
    anew: Callable[[], Command], cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    provision = anew()
    with monkeypatch.context() as patch:
        patch.delenv(name)
        # A sign-in is another way to authenticate.
        for other in ("IOTO_COGNITO", "IOTO_CLIENT_ID", "IOTO_USERNAME", "IOTO_PASSWORD"):
            patch.delenv(other)
        result = provision("DEV1\n")
    assert (result.status, result.stdout) == (2, "")
    assert name in result.stderr


@each_row(
    "name, value",
    [
        ("IOTO_API", "http://ioto.example"),
        ("IOTO_API", "nonsense"),
        ("IOTO_API", "https://user:secret-word@ioto.example"),
        ("IOTO_TOKEN", "secret-word\n"),
        ("IOTO_BUILDER", "https://user:secret-word@builder.example"),
    ],
)
def test_a_bad_variable_is_wrong_usage_and_shows_no_secret(
    anew: Callable[[], Command], cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    provision = anew()
    with monkeypatch.context() as patch:
        patch.setenv(name, value)
        result = provision("DEV1\n")
    assert (result.status, result.stdout) == (2, "")
    assert "secret-word" not in result.stderr
    assert not cloud.requests


def test_a_file_as_folder_is_reported_without_a_traceback(cloud: EmulatorThread, provision: Command) -> None:
    provision.out.write_text("")
    result = provision("DEV1\n")
    assert result.status in (1, 2)
    assert result.stderr.startswith("ioto-async: ")
    assert str(provision.out) in result.stderr


def test_help_tells_of_every_command(provision: Command) -> None:
    text = provision.raw("--help").stdout
    for command in ("demo", "emulator", "provision"):
        assert re.search(rf"\b{command} +\w", text), f"{command} has no description"


def test_help_tells_of_every_option(provision: Command) -> None:
    text = provision.raw("provision", "--help").stdout
    for option in ("--out", "--account", "--product", "--concurrency", "--as-device", "--overwrite", "--json"):
        assert option in text
    assert "IOTO_API" in text


# As a process ------------------------------------------------------------------------------------------------------


def start(*arguments: str, environ: dict[str, str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "ioto_async.cli", "provision", *arguments],
        env=os.environ | environ,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def interrupt_twice(child: subprocess.Popen[bytes]) -> None:
    """The first interruption waits for calls in flight, the second does not."""
    assert child.stderr is not None
    child.send_signal(signal.SIGINT)
    for line in child.stderr:
        if line.startswith(b"SIGINT: "):
            break
    child.send_signal(signal.SIGINT)


def ended(child: subprocess.Popen[bytes]) -> int:
    """The exit status; a process that hangs fails the test."""
    try:
        return child.wait(GUARD)
    finally:
        child.kill()
        child.communicate()


def test_an_interrupted_run_exits_with_130_and_its_manifest_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.jsonl").write_text('{"id":"OLD","line":1,"status":"provisioned"}\n')
    (tmp_path / "fleet.csv").write_text("id\n..\nDEV1\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = {"IOTO_API": f"http://127.0.0.1:{silent.getsockname()[1]}", "IOTO_TOKEN": "token"}
        child = start(str(tmp_path / "fleet.csv"), "--out", str(out), environ=environ)
        connection, _ = silent.accept()
        with connection:
            assert b"device/claim" in connection.recv(1000)
            interrupt_twice(child)
            assert ended(child) == 130
    entries = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [(entry["id"], entry["status"]) for entry in entries] == [
        ("OLD", "provisioned"),
        (None, "failed"),
        ("DEV1", "unknown"),
    ]
    assert [path.name for path in out.iterdir()] == ["manifest.jsonl"]


def test_a_run_that_waits_for_stdin_can_be_interrupted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = {"IOTO_API": f"http://127.0.0.1:{silent.getsockname()[1]}", "IOTO_TOKEN": "token"}
        child = start("-", "--out", str(tmp_path), environ=environ, stdin=subprocess.PIPE)
        assert child.stdin is not None
        child.stdin.write(b"DEV1\n")
        child.stdin.flush()
        connection, _ = silent.accept()
        with connection:
            # Once the first device is under way, somebody waits for the next line.
            assert b"device/claim" in connection.recv(1000)
            interrupt_twice(child)
            assert ended(child) == 130


def test_on_a_terminal_the_bar_comes_to_its_end(cloud: EmulatorThread, tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text("id\nDEV1\nDEV2\nDEV3\n")
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "ioto_async.cli", "provision", "fleet.csv", "--out", "out", "--json"],
        cwd=tmp_path,
        env=os.environ | cloud.env | {"TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = terminal_output(ours)
    stdout, _ = child.communicate()
    assert json.loads(stdout)["provisioned"] == 3
    assert "3/3" in shown


def terminal_output(descriptor: int) -> str:
    output = b""
    while True:
        try:
            output += os.read(descriptor, 4096)
        except OSError:  # how a terminal tells its end
            os.close(descriptor)
            return output.decode()


def test_the_shell_gets_the_exit_status_and_nothing_else_on_stdout(cloud: EmulatorThread, tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text("id\nDEV1\nDEV1\n")
    child = subprocess.run(
        [sys.executable, "-m", "ioto_async.cli", "provision", "fleet.csv", "--out", "out", "--json"],
        cwd=tmp_path,
        env=os.environ | cloud.env,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 1
    assert json.loads(child.stdout)["failed"] == 1
    assert child.stderr == "line 3: DEV1: id DEV1 is already on line 2\n"


def test_without_an_account_a_claimed_device_is_not_taken_for_ours(
    cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IOTO_ACCOUNT")
    other = cloud.cloud.add_account("Other", "other@ioto.test")
    cloud.cloud.claim_device("DEV1", other)
    result = provision("DEV1\n")
    assert result.status == 1
    assert f"already claimed by {other}" in result.stderr
    assert not (provision.out / "DEV1").exists()


def test_without_an_account_the_claims_of_the_run_tell_which_devices_are_ours(
    cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IOTO_ACCOUNT")
    cloud.cloud.claim_device("DEV2")
    cloud.cloud.claim_device("DEV3", cloud.cloud.add_account("Other", "other@ioto.test"))
    result = provision("DEV1\nDEV2\nDEV3\n", "--concurrency", "1")
    assert (result.status, provision.written()) == (1, {"DEV1", "DEV2"})
    assert "another account" in provision.entry("DEV3")["error"]


def test_without_an_account_a_second_run_knows_its_own_devices(
    cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IOTO_ACCOUNT")
    provision("DEV1\n")
    result = provision("DEV1\n")
    assert (result.status, result.figures["kept"]) == (0, 1)


def test_a_claim_that_fails_inside_a_200_fails_its_device(cloud: EmulatorThread, provision: Command) -> None:
    cloud.faults.add(Fault("device/claim", body=b'{"error":"no luck"}'))
    result = provision("DEV1\n")
    assert (result.status, result.figures["claimed"]) == (1, 0)
    assert "no luck" in result.stderr


def test_a_refused_token_ends_a_piped_run_without_a_traceback(
    cloud: EmulatorThread, provision: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IOTO_TOKEN", "refused")
    with piped("".join(f"DEV{number}\n" for number in range(500)), monkeypatch):
        result = provision.on("-")
    assert result.status == 3
    assert "Traceback" not in result.stderr


def test_what_a_killed_run_was_writing_is_removed(cloud: EmulatorThread, provision: Command) -> None:
    (provision.out / "DEV1").mkdir(parents=True)
    (provision.out / "DEV1" / ".key.pem.abc").write_text("half a key")
    (provision.out / ".manifest.jsonl.abc").write_text("half a manifest")
    assert provision("DEV1\n").status == 0
    assert provision.written() == {"DEV1"}
    assert not (provision.out / ".manifest.jsonl.abc").exists()


def test_a_torn_line_alone_does_not_spoil_the_next(cloud: EmulatorThread, provision: Command) -> None:
    provision.out.mkdir()
    (provision.out / "manifest.jsonl.part").write_text('{"id":"DEV4","li')
    assert provision("DEV1\n").status == 0
    assert [entry["id"] for entry in provision.manifest()] == ["DEV1"]


def test_a_second_run_into_the_same_folder_is_refused(cloud: EmulatorThread, provision: Command) -> None:
    provision.out.mkdir()
    with files.Manifest(provision.out):
        result = provision("DEV1\n")
    assert (result.status, "another run" in result.stderr) == (2, True)


def test_a_spoilt_file_of_an_earlier_run_fails_its_device_alone(
    anew: Callable[[], Command], cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IOTO_ACCOUNT")

    @each_row("left", [b"{", b"[]", b"\xff", b"{}"])
    def check(left: bytes) -> None:
        provision = anew()
        cloud.cloud.claim_device("DEV1")
        (provision.out / "DEV1").mkdir(parents=True)
        (provision.out / "DEV1" / "provision.json").write_bytes(left)
        result = provision("DEV1\nDEV2\n", "--concurrency", "1")
        assert (result.status, provision.written()) == (1, {"DEV2"})
        assert "already claimed by" in provision.entry("DEV1")["error"]

    check()
