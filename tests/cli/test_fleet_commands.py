"""``ioto-async fleet``: what each command does with a device."""

import inspect
import json
import re
from collections.abc import Callable

import pytest

from ioto_async.cli import fleet as fleet_commands
from ioto_async.emulator import EmulatorThread, Fault
from tests.rows import each_row

from .fleets import Fleet


def operations(cloud: EmulatorThread) -> list[str]:
    return [request.path.rpartition("/tok/")[2].removeprefix("/api/") for request in cloud.requests]


# register ----------------------------------------------------------------------------------------------------------


def test_register_makes_devices_known_with_their_columns_as_properties(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write(f"id,product,name,test\nNEW1,{cloud.product_token},Pump 1,true\n")
    result = fleet("register")
    assert (result.status, result.figures["registered"], result.stderr) == (0, 1, "")
    assert [json.loads(request.body) for request in cloud.requests] == [
        {"id": "NEW1", "product": cloud.product_token, "name": "Pump 1", "test": True}
    ]
    cloud.cloud.claim_device("NEW1")


def test_register_takes_the_product_of_the_option_where_the_row_has_none(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("NEW1\nNEW2\n")
    result = fleet("register", "--product", cloud.product_token)
    assert (result.status, result.figures["registered"]) == (0, 2)


def test_register_needs_no_device_cloud(cloud: EmulatorThread, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IOTO_API", "IOTO_TOKEN", "IOTO_COGNITO"):
        monkeypatch.delenv(name)
    fleet.write("NEW1\n")
    assert fleet("register", "--product", cloud.product_token).status == 0


def test_register_without_a_product_fails_its_row_before_anything_is_sent(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("id,product\nNEW1,\n")
    result = fleet("register")
    assert (result.status, result.figures["failed"]) == (1, 1)
    assert result.stderr.startswith("line 2: NEW1: product: ")
    assert not cloud.requests


def test_register_tells_where_a_claimed_device_belongs_and_not_its_token(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.claim_device("DEV1")
    fleet.write("DEV1\n")
    (row,) = fleet.listed("register", "--product", cloud.product_token).rows
    assert row["api"] == cloud.api
    assert "token" not in row


def test_a_product_that_is_refused_fails_the_row_that_names_it_alone(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write(f"id,product\nNEW1,WRONG\nNEW2,{cloud.product_token}\n")
    result = fleet("register")
    assert (result.status, result.figures["registered"], result.figures["failed"]) == (1, 1, 1)
    assert result.stderr.startswith("line 2: NEW1: device/register: 403 ")


def test_a_product_of_all_rows_that_is_refused_ends_the_run(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("NEW1\nNEW2\nNEW3\n")
    result = fleet("register", "--product", "WRONG", "--concurrency", "1")
    assert (result.status, len(cloud.requests)) == (3, 1)


# claim -------------------------------------------------------------------------------------------------------------


def test_claim_claims_and_fetches_no_certificate(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\nDEV2\n")
    result = fleet("claim")
    assert (result.status, result.figures["claimed"], operations(cloud)) == (0, 2, ["device/claim", "device/claim"])
    assert cloud.cloud.device("DEV2") is not None


def test_claim_finds_a_device_done_that_is_ours(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.claim_device("DEV1")
    fleet.write("DEV1\n")
    result = fleet("claim")
    assert (result.status, result.figures["claimed"], result.figures["already_claimed"]) == (0, 0, 1)


def test_claim_fails_a_device_of_another_account_alone(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.claim_device("DEV1", cloud.cloud.add_account("Other", "other@ioto.test"))
    fleet.write("DEV1\nDEV2\n")
    result = fleet("claim")
    assert (result.status, result.figures["claimed"], result.figures["failed"]) == (1, 1, 1)


def test_claim_acts_for_the_account_that_is_given(cloud: EmulatorThread, fleet: Fleet) -> None:
    other = cloud.cloud.add_account("Other", "other@ioto.test")
    fleet.write("DEV1\n")
    assert fleet("claim", "--account", other).status == 0
    assert cloud.cloud.device("DEV1", other) is not None


# release -----------------------------------------------------------------------------------------------------------


def test_release_hands_devices_back(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.claim_device("DEV1")
    fleet.write("DEV1\n")
    result = fleet("release")
    assert (result.status, result.figures["released"]) == (0, 1)
    assert cloud.cloud.device("DEV1") is None


def test_release_fails_a_device_that_nobody_has_claimed(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    result = fleet("release")
    assert (result.status, result.figures["failed"]) == (1, 1)
    assert result.stderr == "line 1: DEV1: device/release: 400 Cannot find device\n"


def test_a_release_whose_reply_is_lost_is_a_release(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.claim_device("DEV1")
    cloud.faults.add(Fault("device/release", reset="after"))
    fleet.write("DEV1\n")
    result = fleet("release")
    assert (result.status, result.figures["released"]) == (0, 1)


def test_a_release_of_a_run_that_was_killed_is_looked_up(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.claim_device("DEV2")
    fleet.write("DEV1\nDEV2\n")
    # Both were sent; the first was done.
    fleet.write_journal("release", '{"key":"DEV1","status":"sent"}\n{"key":"DEV2","status":"sent"}\n')
    result = fleet("release")
    assert (result.status, result.figures["failed"], result.figures["unknown"]) == (0, 0, 0)
    assert operations(cloud).count("device/release") == 1
    assert cloud.cloud.device("DEV2") is None


# check-update ------------------------------------------------------------------------------------------------------


def test_check_update_prints_what_each_device_would_get(cloud: EmulatorThread, fleet: Fleet) -> None:
    update = cloud.cloud.add_update("2.0.0", b"image")
    for id in ("DEV1", "DEV2"):
        cloud.cloud.claim_device(id)
    fleet.write("id,version\nDEV1,1.0.0\nDEV2,2.0.0\n")
    old, new = fleet.listed("check-update", "--product", cloud.product_token).rows
    assert (old["result"], old["version"], old["update"]) == ("offered", "2.0.0", update)
    assert (new["result"], new["message"]) == ("up_to_date", "No update available")


def test_check_update_lists_the_devices_where_no_form_is_asked_for(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.add_update("2.0.0", b"image")
    cloud.cloud.claim_device("DEV1")
    fleet.write(f"id,version,product\nDEV1,1.0.0,{cloud.product_token}\n")
    result = fleet.raw("fleet", "check-update", str(fleet.file))
    (row,) = (line.split() for line in result.stdout.splitlines() if "DEV1" in line)
    assert row[:4] == ["2", "DEV1", "ok", "offered"]
    assert "version=2.0.0" in row


def test_check_update_does_not_show_where_the_image_is(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.add_update("2.0.0", b"image")
    cloud.cloud.claim_device("DEV1")
    fleet.write("id,version\nDEV1,1.0.0\n")
    result = fleet.listed("check-update", "--product", cloud.product_token)
    assert "download" not in result.stdout + result.stderr


def test_check_update_tells_the_policy_the_other_columns(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.add_update("2.0.0", b"image", policy="model == 'P-7'")
    for id in ("DEV1", "DEV2"):
        cloud.cloud.claim_device(id)
    fleet.write("id,version,model\nDEV1,1.0.0,P-6\nDEV2,1.0.0,P-7\n")
    rows = fleet.listed("check-update", "--product", cloud.product_token).rows
    assert [row["result"] for row in rows] == ["up_to_date", "offered"]


def test_check_update_needs_the_product(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("id,version,product\nDEV1,1.0.0,\n")
    result = fleet("check-update")
    assert (result.status, bool(cloud.requests)) == (1, False)
    assert result.stderr.startswith("line 2: DEV1: product: ")


@each_row(
    "text", ["id,version\nOLD1,\nNEW1,2.0.0\n", "OLD1\nNEW1\n", '{"id":"OLD1"}\n{"id":"NEW1","version":"2.0.0"}\n']
)
def test_check_update_takes_the_version_that_the_cloud_knows(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, text: str
) -> None:
    fleet = new_fleet()
    cloud.cloud.add_update("2.0.0", b"image")
    for id, version in (("OLD1", "1.0.0"), ("NEW1", "2.0.0")):
        cloud.cloud.register_device(id, version=version)
        cloud.cloud.claim_device(id)
    fleet.write(text)
    old, new = fleet.listed("check-update", "--product", cloud.product_token).rows
    assert (old["result"], new["result"]) == ("offered", "up_to_date")


def test_check_update_fails_a_device_whose_version_nobody_knows(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.claim_device("DEV1")
    fleet.write("DEV1\n")
    result = fleet("check-update", "--product", cloud.product_token)
    assert (result.status, result.stderr.startswith("line 1: DEV1: version: neither the file nor")) == (1, True)


def test_check_update_counts_what_is_up_to_date(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.add_update("2.0.0", b"image")
    for id in ("DEV1", "DEV2", "DEV3"):
        cloud.cloud.claim_device(id)
    fleet.write("id,version\nDEV1,2.0.0\nDEV2,1.0.0\nDEV3,2.0.0\nNOBODY1,2.0.0\n")
    result = fleet.raw("fleet", "check-update", str(fleet.file), "--product", cloud.product_token)
    assert re.findall(r"DEV\d", result.stdout) == ["DEV2"]
    assert re.search(r"up to date\W+2\b", result.stderr)
    listed = fleet.listed("check-update", "--product", cloud.product_token)
    assert [row["id"] for row in listed.rows] == ["DEV1", "DEV2", "DEV3", "NOBODY1"]


@each_row("command", ["register", "check-update", "provision"])
def test_a_column_that_is_missing_is_one_error(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, command: str
) -> None:
    fleet = new_fleet()
    options = ["--out", str(fleet.out), "--as-device"] if command == "provision" else []
    for text in ("id,name\nNEW1,a\nNEW2,b\n", "NEW1\nNEW2\n"):
        fleet.write(text)
        result = fleet(command, *options)
        assert (result.status, result.stdout, len(cloud.requests)) == (2, "", 0)
        (line,) = result.stderr.splitlines()
        assert line.startswith("ioto-async: FILE: there is no column product: ")


def test_check_update_asks_again_when_it_is_run_again(cloud: EmulatorThread, fleet: Fleet) -> None:
    cloud.cloud.claim_device("DEV1")
    fleet.write("id,version\nDEV1,1.0.0\n")
    fleet("check-update", "--product", cloud.product_token)
    cloud.cloud.add_update("2.0.0", b"image")
    assert fleet("check-update", "--product", cloud.product_token).figures["offered"] == 1


# provision ---------------------------------------------------------------------------------------------------------


def test_the_short_name_of_provision_is_the_same_command(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    assert fleet.provision().status == 0
    again = fleet.raw("provision", str(fleet.file), "--out", str(fleet.out), "--json")
    assert (again.status, again.figures["skipped"]) == (0, 1)


def test_provision_lists_no_key_material(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write("DEV1\n")
    result = fleet.listed("provision", "--out", str(fleet.out))
    (row,) = result.rows
    assert (row["result"], row["claimed"], row["thing"]) == ("provisioned", "now", "DEV1")
    assert "BEGIN" not in result.stdout


# All of them -------------------------------------------------------------------------------------------------------


@each_row("command", ["register", "claim", "provision", "release", "check-update"])
def test_help_tells_of_the_common_options(fleet: Fleet, command: str) -> None:
    text = fleet.raw("fleet", command, "--help").stdout
    for option in (
        "id-column",
        "concurrency",
        "rate",
        "journal",
        "no-journal",
        "retry-failed",
        "output",
        "dry-run",
    ):
        assert f"--{option}" in text


def test_help_tells_of_every_fleet_command(fleet: Fleet) -> None:
    text = fleet.raw("fleet", "--help").stdout
    for name in set(fleet_commands.__all__) - {"fleet"}:
        first = (inspect.getdoc(getattr(fleet_commands, name)) or "").splitlines()[0]
        assert name.replace("_", "-") in text
        assert first.split()[0] in text


def test_a_refused_token_ends_the_run_at_once(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IOTO_TOKEN", "WRONG")

    @each_row("command", ["claim", "provision", "release"])
    def check(command: str) -> None:
        fleet = new_fleet()
        fleet.write("DEV1\nDEV2\nDEV3\n")
        more = ("--out", str(fleet.out)) if command == "provision" else ()
        result = fleet(command, "--concurrency", "1", *more)
        assert (result.status, len(cloud.requests)) == (3, 1)
        assert result.stderr.endswith("403 Authentication failed (item DEV1)\n")
        assert "403" in result.figures["stopped"]

    check()
