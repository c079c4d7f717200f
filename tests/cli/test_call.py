"""``ioto-async call``."""

import asyncio
import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from ioto_async.cli import _run, main
from ioto_async.emulator import EmulatorThread, Fault
from tests.rawserver import GUARD, RawServer, Step, in_thread, reply, silent
from tests.rows import each_row

DEVICE = "M72DANY8BZ"


@pytest.fixture
def cloud(ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> EmulatorThread:
    for name, value in ioto_emulator.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BUILDER_TOKEN", ioto_emulator.cloud.builder.token)
    ioto_emulator.cloud.register_device(DEVICE)
    ioto_emulator.cloud.claim_device(DEVICE)
    return ioto_emulator


def sent(cloud: EmulatorThread) -> tuple[str, Any, dict[str, str]]:
    last = cloud.requests[-1]
    return last.path, json.loads(last.body), dict(last.query)


def test_the_reply_is_printed_as_json(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["call", "device/get", f"id={DEVICE}"]) == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout)["id"] == DEVICE
    assert stderr == ""


@each_row("levels, status", [(200, 0), (600, 0), (1000, 0), (3000, 1)])
def test_a_reply_that_is_nested_very_deep_is_printed_or_an_error(
    cloud: EmulatorThread, capsys: pytest.CaptureFixture[str], levels: int, status: int
) -> None:
    for body in ("%s", '{"x": %s}', '{"error": %s}'):
        cloud.faults.add(Fault("device/get", body=body % ("[" * levels + "]" * levels)))
        ended = _run(["call", "device/get", f"id={DEVICE}"])
        stdout, stderr = capsys.readouterr()
        assert ended == (1 if "error" in body else status)
        assert bool(json.loads(stdout or "null")) == (ended == 0)
        assert len(stderr.splitlines()) == (ended != 0)


def test_what_stdout_cannot_encode_is_escaped(
    cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding="ascii"))
    with pytest.raises(SystemExit) as ended:
        main(["call", "--builder", "test/echo", "value=Wärme"])
    sys.stdout.flush()
    assert (ended.value.code, capsys.readouterr().err) == (0, "")
    assert json.loads(pipe.getvalue().decode("ascii").replace("\\xe4", "ä"))["value"] == "Wärme"


def test_members_are_text_or_json_and_nothing_is_added(cloud: EmulatorThread) -> None:
    members = ["_type=Store", f"deviceId={DEVICE}", f"accountId={cloud.account_id}", "key=a=b:=c", "type=object"]
    assert (
        _run(["call", "generic/update", *members, 'value:={"n": 9007199254740993, "t": [null]}', "--query", "exists="])
        == 0
    )
    path, body, query = sent(cloud)
    assert path == "/tok/generic/update"
    assert body == {
        "_type": "Store",
        "deviceId": DEVICE,
        "accountId": cloud.account_id,
        "key": "a=b:=c",
        "type": "object",
        "value": {"n": 9007199254740993, "t": [None]},
    }
    assert query == {"exists": ""}


def test_options_of_the_query_may_be_several(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["call", "device/find", "--query", "limit=1", "--query", "index=primary"]) == 0
    assert sent(cloud)[2] == {"limit": "1", "index": "primary"}
    assert len(json.loads(capsys.readouterr().out)["data"]) == 1


def test_text_is_printed_as_a_json_string(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["call", "test/ping"]) == 0
    assert json.loads(capsys.readouterr().out) == "pinged"


def documents(text: str) -> list[Any]:
    """The JSON texts that follow one another in *text*."""
    found = []
    while text := text.lstrip():
        value, end = json.JSONDecoder().raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_pages_are_printed_until_the_last(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [DEVICE, *(cloud.cloud.register_device(f"DEV{number}") for number in range(4))]
    for id in ids[1:]:
        cloud.cloud.claim_device(id)
    assert _run(["call", "device/find", "--query", "limit=2", "--paginate"]) == 0
    pages = documents(capsys.readouterr().out)
    assert [len(page["data"]) for page in pages] == [2, 2, 1]
    assert sorted(device["id"] for page in pages for device in page["data"]) == sorted(ids)
    second = pages[0]["next"]
    cursor = second if isinstance(second, str) else json.dumps(second)
    assert _run(["call", "device/find", "--query", "limit=2", "--query", f"next={cursor}", "--paginate"]) == 0
    assert [page["data"] for page in documents(capsys.readouterr().out)] == [page["data"] for page in pages[1:]]
    last = pages[2]["prev"]
    cursor = last if isinstance(last, str) else json.dumps(last)
    assert _run(["call", "device/find", "--query", "limit=2", "--query", f"prev={cursor}", "--paginate"]) == 0
    assert [page["data"] for page in documents(capsys.readouterr().out)] == [pages[1]["data"], pages[0]["data"]]


def test_an_undocumented_operation_has_pages_if_its_reply_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = {"data": [1], "next": {"pk": "a"}}, {"data": [2], "next": None}
    with in_thread(reply(200, first), reply(200, second)) as server:
        monkeypatch.setenv("IOTO_API", server.url)
        monkeypatch.setenv("IOTO_TOKEN", "01TOKEN")
        assert _run(["call", "teapot/find", "--paginate"]) == 0
    assert documents(capsys.readouterr().out) == [first, second]


def test_pages_that_come_again_are_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = {"data": [1], "next": "a"}
    with in_thread(reply(200, page), reply(200, page)) as server:
        monkeypatch.setenv("IOTO_API", server.url)
        monkeypatch.setenv("IOTO_TOKEN", "01TOKEN")
        assert _run(["call", "device/find", "--paginate"]) == 1
    stdout, stderr = capsys.readouterr()
    assert documents(stdout) == [page, page]
    assert stderr == "ioto-async: device/find: 200 the service sent the same cursor (next) again\n"


def test_an_operation_without_pages_is_refused(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.requests.clear()
    assert _run(["call", "device/get", f"id={DEVICE}", "--paginate"]) == 2
    assert capsys.readouterr() == ("", "ioto-async: --paginate: device/get has no pages\n")
    assert not cloud.requests


@each_row("flag", ["-i", "--include"])
def test_the_status_and_the_headers_of_a_reply_are_included(
    cloud: EmulatorThread, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert _run(["call", "device/get", f"id={DEVICE}", flag]) == 0
    stdout, stderr = capsys.readouterr()
    head, _, body = stdout.partition("\n\n")
    assert head.splitlines()[0] == "HTTP/1.1 200 OK"
    assert "Content-Type: application/json" in head
    assert json.loads(body)["id"] == DEVICE
    assert stderr == ""


def test_the_headers_of_each_page_are_before_it(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.faults.add(Fault("device/find", body='{"data": [1], "next": "a"}', headers={"X-Page": "one"}))
    cloud.faults.add(Fault("device/find", body='{"data": [2]}', headers={"X-Page": "two"}))
    assert _run(["call", "device/find", "--paginate", "-i"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines if line.startswith(("X-Page", "    "))] == [
        "X-Page: one",
        "1",
        "X-Page: two",
        "2",
    ]


def test_the_status_and_the_headers_of_a_refusal_are_included(
    cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["call", "device/get", "id=NOSUCHDEV1", "-i"]) == 1
    stdout, stderr = capsys.readouterr()
    assert stdout.splitlines()[0] == "HTTP/1.1 400 Bad Request"
    assert stdout.endswith("\n\n")
    assert stderr == "ioto-async: device/get: 400 Cannot find device\n"


@each_row("flag", ["-v", "--verbose"])
def test_the_request_is_shown_without_the_token(
    cloud: EmulatorThread, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert _run(["call", "device/find", f"id={DEVICE}", "--query", "limit=5", flag]) == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout)["data"]
    assert stderr.startswith(f"POST {cloud.api}/tok/device/find?limit=5\n")
    assert "Authorization: ***\n" in stderr
    assert f'\n{{"id":"{DEVICE}"}}\n' in stderr
    assert "\n200 OK\n" in stderr
    assert cloud.token not in stdout + stderr


def test_the_request_is_shown_when_it_is_refused(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["call", "device/get", "id=NOSUCHDEV1", "-v"]) == 1
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert "\n400 Bad Request\n" in stderr
    assert stderr.splitlines()[-1] == "ioto-async: device/get: 400 Cannot find device"


def test_secrets_are_not_shown_in_a_request(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    secrets = [f"s3cret-{number}" for number in range(7)]
    members = [
        f"cloudToken={secrets[0]}",
        f"PASSWORD={secrets[1]}",
        f"apiKey={secrets[2]}",
        f"product={secrets[3]}",
        f'context:={{"list": [{{"clientSecret": "{secrets[4]}", "privateKey": {{"pem": "{secrets[5]}"}}}}]}}',
        f"note=it is {cloud.token}.",
        "model=M1",
    ]
    query = ["--query", f"token={secrets[6]}", "--query", f"note={cloud.token}", "--query", "limit=1"]
    assert _run(["call", "teapot/brew", *members, *query, "-v"]) == 1
    assert {"cloudToken", "note", "model"} < sent(cloud)[1].keys()
    shown = capsys.readouterr().err
    assert [secret for secret in (*secrets, cloud.token) if secret in shown] == []
    assert "?token=***&note=***&limit=1\n" in shown
    assert '"note":"it is ***.","model":"M1"' in shown


def test_the_token_of_a_registration_is_not_shown(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["device/register", f"id={DEVICE}", f"product={cloud.product_token}", f"name=a {cloud.product_token}"]
    assert _run(["call", *words, "--builder", "-v"]) == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout)["registered"] is True
    assert sent(cloud)[0] == "/api/device/register"
    assert "Authorization: ***\n" in stderr
    assert cloud.product_token not in stderr


def test_a_request_that_is_not_sent_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with in_thread() as server:
        pass
    monkeypatch.setenv("IOTO_API", server.url)
    monkeypatch.setenv("IOTO_TOKEN", "01TOKEN")
    monkeypatch.setattr("random.random", lambda: 0.0)
    assert _run(["call", "device/find", "-v"]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ioto-async: device/find: ")


async def test_a_request_is_shown_while_its_reply_is_awaited() -> None:
    async with RawServer.of(silent()) as server:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "ioto_async.cli", "call", "device/find", "-v"),
            env=os.environ | {"IOTO_API": server.url, "IOTO_TOKEN": "01TOKEN"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert child.stderr is not None
        async with asyncio.timeout(GUARD):
            assert await child.stderr.readline() == f"POST {server.url}/tok/device/find\n".encode()
        child.kill()
        await child.communicate()


def test_every_attempt_and_its_reply_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    with in_thread(reply(500, "no"), reply(200, {"data": []})) as server:
        monkeypatch.setenv("IOTO_API", server.url)
        monkeypatch.setenv("IOTO_TOKEN", "01TOKEN")
        assert _run(["call", "device/find", "-v"]) == 0
    lines = capsys.readouterr().err.splitlines()
    post = f"POST {server.url}/tok/device/find"
    assert [line for line in lines if line.startswith(("POST", "500", "200"))] == [
        post,
        "500 Scripted",
        post,
        "200 Scripted",
    ]


def test_a_registration_by_its_path_goes_with_the_product_token(
    cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BUILDER_TOKEN")
    assert _run(["call", "device/register", f"id={DEVICE}", f"product={cloud.product_token}", "--builder"]) == 0
    assert json.loads(capsys.readouterr().out)["token"]


@each_row(
    "words, note",
    [
        (["device/remove", f"id={DEVICE}"], "device/remove is a legacy operation: use device/release"),
        (
            ["device/claim", "id=D", "cloudToken=T", "accountId=A", "--builder"],
            "device/claim of the Builder is a legacy operation: use device/claim of the device cloud",
        ),
    ],
)
def test_a_legacy_operation_is_reported_with_what_replaces_it(
    cloud: EmulatorThread, capsys: pytest.CaptureFixture[str], words: list[str], note: str
) -> None:
    cloud.requests.clear()
    _run(["call", *words])
    assert capsys.readouterr().err.splitlines()[0] == f"ioto-async: {note}"
    assert len(cloud.requests) == 1


def test_an_operation_that_nobody_knows_is_the_services_to_refuse(
    cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["call", "teapot/brew", "cups:=2"]) == 1
    assert sent(cloud)[:2] == ("/tok/teapot/brew", {"cups": 2})
    assert "teapot/brew" in capsys.readouterr().err


def test_the_builder_is_called_with_its_own_token(cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["call", "device/get", f"id={DEVICE}", "--builder"]) == 0
    assert json.loads(capsys.readouterr().out)["managerAccountId"] == cloud.account_id
    assert sent(cloud)[0] == "/api/tok/device/get"


@each_row(
    "words, complaint",
    [
        (["device/get", "id"], "id: expected key=text or key:=json"),
        (["device/get", "=x"], "=x: expected key=text or key:=json"),
        (["device/get", "id:=x"], "id: not JSON"),
        (["device/get", "--query", "limit"], "--query limit: expected key=value"),
        (["device/get", "id=1", "id=2"], "ioto-async: id: given twice\n"),
        (["device/get", "id=1", "id:=2"], "ioto-async: id: given twice\n"),
        (["device/find", "--query", "limit=1", "--query", "limit=2"], "--query limit: given twice"),
        (["teapot/brew", "n:=18446744073709551616"], "teapot/brew: n: the number does not fit into 64 bits"),
        (["teapot/brew", "n:=-9223372036854775809"], "teapot/brew: n: the number does not fit into 64 bits"),
        (["teapot/brew", 'n:={"a": [1, 123456789012345678901234567890]}'], "n.a[1]: the number does not fit"),
        (["device/getSignedUrl", f"size:=1{'0' * 400}"], "size: the number does not fit into 64 bits"),
        (["teapot/brew", f"n:=1{'0' * 5000}"], "ioto-async: n: "),
        (["teapot/brew", f"n:={'[' * 100_000}"], "ioto-async: n: "),
        (["teapot/brew", "n:=NaN"], "teapot/brew: n: nan is not a finite number"),
        (["provision/updateReport", "success=true"], "success: expected JSON (boolean), got text: write := for ="),
        (["device/getSignedUrl", "size=5"], "size: expected JSON (number), got text: write := for ="),
        (["action/invoke", "context={}"], "context: expected JSON (object), got text: write := for ="),
        (["device/get", "id=\udcff"], "ioto-async: id: the text is not UTF-8"),
        (["device/get", 'id:="\udcff"'], "ioto-async: id: the text is not UTF-8"),
        (["device/find", "--query", "index=\udcff"], "ioto-async: index: the text is not UTF-8"),
        (["device/find", "\udcff=x"], "ioto-async: \\udcff: the text is not UTF-8"),
        (["device/\udcff"], "ioto-async: argument 1: the text is not UTF-8"),
        (["device/get"], "device/get: id is required"),
        (["device"], "device"),
        (["metric/set", "metric=x"], "MQTT"),
    ],
)
def test_what_cannot_be_sent_is_reported(
    cloud: EmulatorThread, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    cloud.requests.clear()
    assert _run(["call", *words]) == 2
    assert complaint in capsys.readouterr().err
    assert not cloud.requests


def test_a_refused_token_has_its_exit_status(
    cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IOTO_TOKEN", "01NOTHINGOFTHESORT")
    assert _run(["call", "device/find"]) == 3
    assert "01NOTHINGOFTHESORT" not in capsys.readouterr().err


@pytest.fixture
def signing_in(cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("IOTO_TOKEN")
    monkeypatch.setattr("random.random", lambda: 0.0)
    return monkeypatch


def test_a_sign_in_has_the_exit_status_of_its_call(signing_in: pytest.MonkeyPatch) -> None:
    assert _run(["call", "device/find"]) == 0


def test_a_wrong_password_has_the_exit_status_of_a_refused_token(
    signing_in: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signing_in.setenv("IOTO_PASSWORD", "not-this-0ne")
    assert _run(["call", "device/find"]) == 3
    shown = capsys.readouterr().err
    assert "NotAuthorizedException" in shown
    assert "not-this-0ne" not in shown


def test_a_sign_in_service_that_is_not_reached_has_the_exit_status_of_such_a_cloud(
    signing_in: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with in_thread() as server:
        pass
    signing_in.setenv("IOTO_COGNITO", server.url)
    assert _run(["call", "device/find"]) == 4
    assert f"127.0.0.1:{server.port}" in capsys.readouterr().err


@each_row("answer", [reply(200, "{}"), reply(500, "{}"), reply(400, {"__type": "TooManyRequestsException"})])
def test_a_sign_in_service_that_fails_has_the_exit_status_of_a_failure(
    signing_in: pytest.MonkeyPatch, answer: Step
) -> None:
    with in_thread(answer, answer, answer) as server:
        signing_in.setenv("IOTO_COGNITO", server.url)
        assert _run(["call", "device/find"]) == 1
