"""``ioto-async emulator``: the embedded cloud as a process."""

import asyncio
import hashlib
import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import attrs
import pytest
from cyclopts import App

from ioto_async import CognitoLogin, IotoClient, IotoError
from ioto_async.cli import _run
from ioto_async.cli.emulator import serve
from tests.rawserver import GUARD
from tests.rows import each_row

KEYS = [
    *("api", "builder", "token", "login_token", "origin", "account_id", "cloud_id", "product_token", "ca"),
    *("cognito", "user_pool", "client_id", "username", "password", "builder_token", "mqtt_host", "mqtt_port"),
    *("control", "console", "control_token"),
]


@attrs.frozen
class Running:
    info: dict[str, Any]

    def client(self, **options: Any) -> IotoClient:
        return IotoClient(self.info["api"], token=self.info["token"], account_id=self.info["account_id"], **options)


@attrs.frozen
class Process(Running):
    child: subprocess.Popen[str]

    def stop(self, number: int) -> tuple[int, str, str]:
        """Send a signal and return the exit status and what else came on stdout and stderr."""
        self.child.send_signal(number)
        stdout, stderr = self.child.communicate(timeout=GUARD)
        return self.child.returncode, stdout, stderr


@contextmanager
def process(*options: str) -> Iterator[Process]:
    """The command in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-m", "ioto_async.cli", "emulator", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        yield Process(json.loads(child.stdout.readline()), child)
    finally:
        child.terminate()
        child.communicate()


class Line(io.StringIO):
    """What is printed, and whether it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.is_there = asyncio.Event()

    def flush(self) -> None:
        self.is_there.set()


@asynccontextmanager
async def emulator(*options: str) -> AsyncIterator[Running]:
    """The command in this process, until the end of the block, which SIGTERM ends it for."""
    app = App(result_action="return_value")
    app.command(serve, name="emulator")
    command, arguments, _ = app.parse_args(["emulator", *options])
    line = Line()
    with redirect_stdout(line):
        serving = asyncio.create_task(command(*arguments.args, **arguments.kwargs))
        printing = asyncio.create_task(line.is_there.wait())
        await asyncio.wait([serving, printing], return_when=asyncio.FIRST_COMPLETED)
        printing.cancel()
    if serving.done():
        serving.result()
    try:
        yield Running(json.loads(line.getvalue()))
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        assert await serving is None


ADMIN, PLAIN, INVITED, NEW = "admin@x.test", "plain@x.test", "invited@x.test", "new@x.test"
PEOPLE = ("--user", f"{ADMIN}:admin", "--user", f"{PLAIN}:user", "--invite", f"{INVITED}:admin", "--sign-up", NEW)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """One process for all tests that look at it."""
    with process(*PEOPLE) as one:
        yield one


async def test_the_line_has_exactly_the_documented_keys_in_their_order() -> None:
    async with emulator() as one:
        assert list(one.info) == KEYS
        assert all(isinstance(value, str) and value for key, value in one.info.items() if key != "mqtt_port")
        assert isinstance(one.info["mqtt_port"], int)


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


async def test_further_clouds_are_listed_with_the_same_keys() -> None:
    async with emulator("--clouds", "3") as one:
        assert list(one.info) == [*KEYS, "clouds"]
        others: Any = one.info["clouds"]
        assert [list(other) for other in others] == [KEYS, KEYS]
        assert len({one.info["api"], *(other["api"] for other in others)}) == 3


@each_row("clouds", ["0", "-1", "x"])
def test_a_number_of_clouds_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str], clouds: str) -> None:
    assert _run(["emulator", "--clouds", clouds]) == 2
    assert "--clouds" in capsys.readouterr().err


@pytest.mark.slow
@each_row("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_status_0_and_nothing_more_to_say(heard_hangup: None, number: signal.Signals) -> None:
    with process() as one:
        assert one.stop(number) == (0, "", "")
        assert not Path(one.info["ca"]).exists()


async def test_mqtt_can_be_left_out_or_given_a_port(tmp_path: Path) -> None:
    async with emulator("--no-mqtt") as without:
        assert (without.info["mqtt_host"], without.info["mqtt_port"]) == (None, None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with emulator("--mqtt-port", str(port)) as running:
        assert (running.info["mqtt_host"], running.info["mqtt_port"]) == ("localhost", port)
        with socket.create_connection(("127.0.0.1", port)):
            pass


async def test_a_database_keeps_the_identity_and_the_devices(tmp_path: Path) -> None:
    options = ("--db", str(tmp_path / "cloud.db"))
    async with emulator(*options) as first:
        async with first.client(builder=first.info["builder"]) as client:
            await client.builder.device.register("DEV1", first.info["product_token"])
            await client.device.claim("DEV1")
        authority = Path(first.info["ca"]).read_text()
    same = [key for key in KEYS if key not in ("api", "builder", "cognito", "mqtt_port", "control", "console")]
    async with emulator(*options) as second:
        assert [second.info[key] for key in same] == [first.info[key] for key in same]
        assert Path(second.info["ca"]).read_text() == authority
        async with second.client() as client:
            assert (await client.device.get("DEV1")).id == "DEV1"


# Users and updates ---------------------------------------------------------------------------------------------------


def people(running: Running) -> dict[str, dict[str, str]]:
    listed: Any = running.info["users"]
    return {person.pop("email"): person for person in json.loads(json.dumps(listed))}


def signed_in(running: Running, email: str) -> IotoClient:
    info = running.info
    login = CognitoLogin(info["cognito"], info["client_id"], email, info["password"])
    return IotoClient(info["api"], login=login, origin=info["origin"], environ={})


def test_whom_options_add_is_in_the_line(running: Running) -> None:
    assert list(running.info) == [*KEYS, "users"]
    found = people(running)
    assert len(found[INVITED].pop("invite")) == 26
    assert found == {ADMIN: {"role": "admin"}, PLAIN: {"role": "user"}, INVITED: {"role": "admin"}, NEW: {}}


async def test_a_user_signs_in_with_his_role_and_the_password_of_the_line(running: Running) -> None:
    for email, role in ((ADMIN, "admin"), (PLAIN, "user")):
        async with signed_in(running, email) as client:
            login = await client.user.login()
            assert login.account is not None
            assert login.user is not None
            assert (login.account.id, login.user.role) == (running.info["account_id"], role)
            if role == "user":
                with pytest.raises(IotoError, match="Access denied"):
                    await client.user.get_roles()


async def test_who_is_invited_signs_in_with_the_key_of_his_invitation(running: Running) -> None:
    async with signed_in(running, INVITED) as client:
        with pytest.raises(IotoError, match="Cannot find invitation"):
            await client.user.login(invite="another")
        login = await client.user.login(invite=people(running)[INVITED]["invite"])
        assert login.account is not None
        assert login.account.id == running.info["account_id"]


async def test_who_signed_up_gets_an_account_of_his_own(running: Running) -> None:
    async with signed_in(running, NEW) as client:
        with pytest.raises(IotoError, match="Cannot find user"):
            await client.user.login(register=False)
        login = await client.user.login()
        assert login.user is not None
        assert login.user.role == "owner"
        assert login.user.account_id != running.info["account_id"]


async def test_an_update_is_published_for_the_product(tmp_path: Path) -> None:
    image = tmp_path / "firmware.bin"
    image.write_bytes(b"firmware")
    async with emulator("--update", f"{image}:2.0.0") as one:
        updates: Any = one.info["updates"]
        async with one.client(builder=one.info["builder"]) as client:
            await client.builder.device.register("DEV1", one.info["product_token"])
            await client.device.claim("DEV1")
            offer = await client.provision.update("DEV1", one.info["product_token"], "1.0.0")
        assert updates == [{"id": offer.update, "version": "2.0.0"}]
        assert offer.checksum == hashlib.sha256(b"firmware").hexdigest()


async def test_what_the_database_has_is_not_added_again(tmp_path: Path) -> None:
    image = tmp_path / "firmware.bin"
    image.write_bytes(b"firmware")
    options = ("--db", str(tmp_path / "cloud.db"), *PEOPLE, "--update", f"{image}:2.0.0")
    async with emulator(*options) as first:
        pass
    async with emulator(*options) as second:
        assert [second.info[key] for key in ("password", "users", "updates")] == [
            first.info[key] for key in ("password", "users", "updates")
        ]


@each_row(
    "option, word, why",
    [
        ("--user", "a@x.test", "expected EMAIL:ROLE"),
        ("--user", ":admin", "expected EMAIL:ROLE"),
        ("--user", "a:admin", 'Bad value for "email": not an address'),
        ("--user", "a@x.test:boss", 'Bad value for "role": boss is not user, admin or owner'),
        ("--invite", "a@x.test:", "expected EMAIL:ROLE"),
        ("--invite", "a@x.test:boss", 'Bad value for "role": boss is not user, admin or owner'),
        ("--sign-up", "a", 'Bad value for "email": not an address'),
        ("--update", "1.0.0", "expected FILE:VERSION"),
        ("--update", f"{__file__}:v1", "v1 is not valid SemVer string"),
    ],
)
def test_what_cannot_be_added_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], option: str, word: str, why: str
) -> None:
    assert _run(["emulator", option, word]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"ioto-async: {option} {word}: {why}\n")


def test_an_image_that_is_not_there_is_reported_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert str(tmp_path / "none.bin") in complaint(capsys, "--update", f"{tmp_path / 'none.bin'}:1.0.0")


# TLS -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure() -> Iterator[Running]:
    with process("--tls", "--host", "localhost") as one:
        yield one


async def test_tls_works_with_the_file_of_the_ca(secure: Running) -> None:
    assert secure.info["api"].startswith("https://localhost:")
    async with secure.client(ssl=ssl.create_default_context(cafile=secure.info["ca"])) as client:
        assert (await client.device.find()).items == []


def test_the_command_line_trusts_the_ca_that_ssl_cert_file_names(secure: Running, tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text("NOBODY\n")
    # In a process of its own: aiohttp reads the file when it is imported.
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


def test_a_port_that_is_taken_is_reported_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in complaint(capsys, "--port", port)


@each_row("port", ["-1", "65536", "web"])
def test_a_port_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str], port: str) -> None:
    assert _run(["emulator", "--port", port]) == 2
    assert "--port" in capsys.readouterr().err


def test_a_database_that_is_none_is_reported_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text("id\nDEV1\n" * 100)
    assert str(path) in complaint(capsys, "--db", str(path))
    assert path.read_text() == "id\nDEV1\n" * 100


def test_a_database_in_no_folder_is_reported_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "nowhere" / "cloud.db")
    assert path in complaint(capsys, "--db", path)


async def test_a_database_of_secrets_is_its_owners_alone(tmp_path: Path) -> None:
    # It holds the key of the CA, and the tokens and keys of all devices.
    async with emulator("--db", str(tmp_path / "cloud.db")):
        modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir() if "ca.pem" not in path.name}
    assert modes
    assert set(modes.values()) == {0}
