"""``ioto-async call``."""

import json
from typing import Any

import pytest

from ioto_async.cli import _run
from ioto_async.emulator import EmulatorThread

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


@pytest.mark.parametrize("flag", ["-v", "--verbose"])
def test_the_request_is_shown_without_the_token(
    flag: str, cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]
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


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["device/get", "id"], "id: expected key=text or key:=json"),
        (["device/get", "=x"], "=x: expected key=text or key:=json"),
        (["device/get", "id:=x"], "id: not JSON"),
        (["device/get", "--query", "limit"], "--query limit: expected key=value"),
        (["device/get"], "device/get: id is required"),
        (["device"], "device"),
        (["metric/set", "metric=x"], "MQTT"),
    ],
)
def test_what_cannot_be_sent_is_told(
    words: list[str], complaint: str, cloud: EmulatorThread, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["call", *words]) == 2
    assert complaint in capsys.readouterr().err
    assert not cloud.requests


def test_a_refused_token_has_its_exit_status(
    cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IOTO_TOKEN", "01NOTHINGOFTHESORT")
    assert _run(["call", "device/find"]) == 3
    assert "01NOTHINGOFTHESORT" not in capsys.readouterr().err
