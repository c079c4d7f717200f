"""``ioto-async emulator``: the embedded cloud as a process."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from ioto_async import IotoClient
from ioto_async.cli import _run

KEYS = [
    *("api", "builder", "token", "login_token", "origin", "account_id", "cloud_id", "product_token", "ca"),
    *("cognito", "client_id", "username", "password", "builder_token"),
]


@attrs.frozen
class Running:
    child: subprocess.Popen[str]
    info: dict[str, str]

    def client(self, **options: Any) -> IotoClient:
        return IotoClient(self.info["api"], token=self.info["token"], account_id=self.info["account_id"], **options)

    def stop(self, number: int) -> tuple[int, str, str]:
        """Send a signal and return the exit status and what else came on stdout and stderr."""
        self.child.send_signal(number)
        stdout, stderr = self.child.communicate(timeout=10)
        return self.child.returncode, stdout, stderr


@contextmanager
def emulator(*options: str) -> Iterator[Running]:
    child = subprocess.Popen(
        [sys.executable, "-m", "ioto_async.cli", "emulator", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        yield Running(child, json.loads(child.stdout.readline()))
    finally:
        child.terminate()
        child.communicate()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with emulator() as one:
        yield one


def test_the_line_has_exactly_the_documented_keys_in_their_order(running: Running) -> None:
    assert list(running.info) == KEYS
    assert all(isinstance(value, str) and value for value in running.info.values())


def test_it_listens_on_loopback_at_a_free_port(running: Running) -> None:
    host, _, port = running.info["api"].rpartition(":")
    assert host == "http://127.0.0.1"
    assert int(port) > 0
    assert running.info["builder"] == running.info["api"] + "/api"


def test_the_file_of_the_ca_is_there(running: Running) -> None:
    assert Path(running.info["ca"]).read_text().startswith("-----BEGIN CERTIFICATE-----")


async def test_it_serves_the_cloud_and_the_builder(running: Running) -> None:
    async with running.client(builder=running.info["builder"]) as client:
        await client.builder.device.register("DEV1", running.info["product_token"])
        assert (await client.device.claim("DEV1")).account_id == running.info["account_id"]


async def test_the_login_token_is_good_with_the_origin(running: Running) -> None:
    info = running.info
    async with IotoClient(info["api"], login=info["login_token"], origin=info["origin"]) as client:
        assert await client.device.find(id="NOBODY")


def test_further_clouds_are_listed_with_the_same_keys() -> None:
    with emulator("--clouds", "3") as one:
        assert list(one.info) == [*KEYS, "clouds"]
        others: Any = one.info["clouds"]
        assert [list(other) for other in others] == [KEYS, KEYS]
        assert len({one.info["api"], *(other["api"] for other in others)}) == 3


@pytest.mark.parametrize("clouds", ["0", "-1", "x"])
def test_a_number_of_clouds_that_is_none_is_wrong_usage(clouds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _run(["emulator", "--clouds", clouds])
    assert ended.value.code == 2
    assert "--clouds" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_status_0_and_nothing_more_to_say(number: int) -> None:
    with emulator() as one:
        assert one.stop(number) == (0, "", "")
        assert not Path(one.info["ca"]).exists()


async def test_a_database_keeps_the_identity_and_the_devices(tmp_path: Path) -> None:
    options = ("--db", str(tmp_path / "cloud.db"))
    with emulator(*options) as first:
        async with first.client(builder=first.info["builder"]) as client:
            await client.builder.device.register("DEV1", first.info["product_token"])
            await client.device.claim("DEV1")
        authority = Path(first.info["ca"]).read_text()
        assert first.stop(signal.SIGTERM)[0] == 0
    same = [key for key in KEYS if key not in ("api", "builder", "cognito")]
    with emulator(*options) as second:
        assert [second.info[key] for key in same] == [first.info[key] for key in same]
        assert Path(second.info["ca"]).read_text() == authority
        async with second.client() as client:
            assert (await client.device.get("DEV1")).id == "DEV1"


@pytest.fixture(scope="module")
def secure() -> Iterator[Running]:
    with emulator("--tls", "--host", "localhost") as one:
        yield one


async def test_tls_works_with_the_file_of_the_ca(secure: Running) -> None:
    assert secure.info["api"].startswith("https://localhost:")
    async with secure.client(ssl=ssl.create_default_context(cafile=secure.info["ca"])) as client:
        assert (await client.device.find()).items == []


def test_the_command_line_trusts_the_ca_that_ssl_cert_file_names(secure: Running, tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text("NOBODY\n")
    child = subprocess.run(
        [sys.executable, "-m", "ioto_async.cli", "provision", "fleet.csv", "--out", "out"],
        cwd=tmp_path,
        env=os.environ
        | {"IOTO_API": secure.info["api"], "IOTO_TOKEN": secure.info["token"], "SSL_CERT_FILE": secure.info["ca"]},
        capture_output=True,
        text=True,
    )
    assert child.stderr == "line 1: NOBODY: device/claim: 400 Cannot find device\n"


# What cannot be served ---------------------------------------------------------------------------------------------


def complaint(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What the command says when it cannot start."""
    assert _run(["emulator", *options]) in (1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ioto-async: ")
    return captured.err


def test_a_port_that_is_taken_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in complaint(capsys, "--port", port)


@pytest.mark.parametrize("port", ["-1", "65536", "web"])
def test_a_port_that_is_none_is_wrong_usage(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _run(["emulator", "--port", port])
    assert ended.value.code == 2
    assert "--port" in capsys.readouterr().err


def test_a_database_that_is_none_is_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text("id\nDEV1\n" * 100)
    assert str(path) in complaint(capsys, "--db", str(path))
    assert path.read_text() == "id\nDEV1\n" * 100


def test_a_database_in_no_folder_is_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "nowhere" / "cloud.db")
    assert path in complaint(capsys, "--db", path)


def test_a_database_of_secrets_is_its_owners_alone(tmp_path: Path) -> None:
    # It holds the key of the CA, and the tokens and keys of all devices.
    with emulator("--db", str(tmp_path / "cloud.db")):
        modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir() if "ca.pem" not in path.name}
    assert modes
    assert set(modes.values()) == {0}
