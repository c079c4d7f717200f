from pathlib import Path
from typing import Any

import pytest

from ioto_async.emulator import Emulator

from .conftest import Post, Reply
from .tables import each_row_after_reset

DEVICE = "DEV0000001"
NOW = 1_700_000_000
SPACE = "Embedthis/Device"


class Metrics:
    """Samples in by automation and metrics out, with the CloudAPI token."""

    def __init__(self, emu: Emulator, post: Post) -> None:
        self._emu = emu
        self._post = post

    async def add(self, value: object, metric: str = "temp", device: str = DEVICE, **context: object) -> Reply:
        context = {"deviceId": device, "metric": metric, "value": value, **context}
        return await self._post("/tok/action/invoke", {"name": "MetricSample", "context": context})

    async def fetch(self, *items: object) -> list[dict[str, Any]]:
        body = {"accountId": self._emu.account_id, "deviceId": DEVICE, "items": items}
        reply = await self._post("/tok/metric/fetch", body)
        assert reply.status == 200, reply.text
        data: list[dict[str, Any]] = reply.json["data"]
        return data

    async def total(self, metric: str, dimensions: dict[str, object]) -> tuple[float, float]:
        """Return sum and count of a metric."""
        item = {"namespace": SPACE, "metric": metric, "dimensions": dimensions, "accumulate": True}
        answers = await self.fetch({**item, "statistic": "sum"}, {**item, "statistic": "count"})
        assert all("error" not in answer for answer in answers)
        totals = [answer["points"][0]["value"] if answer["points"] else 0 for answer in answers]
        return totals[0], totals[1]


def claim(emu: Emulator) -> None:
    emu.cloud.clock = lambda: NOW
    emu.cloud.register_device(DEVICE)
    emu.cloud.claim_device(DEVICE)


@pytest.fixture
def metrics(emu: Emulator, post: Post) -> Metrics:
    claim(emu)
    return Metrics(emu, post)


# Samples


async def test_a_sample_counts_for_its_device_and_for_all(emu: Emulator, metrics: Metrics) -> None:
    emu.cloud.register_device("DEV0000002")
    emu.cloud.claim_device("DEV0000002")
    await metrics.add(20)
    await metrics.add(30, device="DEV0000002")
    assert await metrics.total("temp", {"Device": DEVICE}) == (20, 1)
    assert await metrics.total("temp", {}) == (50, 2)


async def test_the_reply_of_an_automation_repeats_the_context(metrics: Metrics) -> None:
    context = {"deviceId": DEVICE, "metric": "temp", "value": 20}
    assert (await metrics.add(20)).json == {"name": "MetricSample", "context": context}


async def test_an_automation_that_fails_says_so_within_a_200(metrics: Metrics) -> None:
    reply = await metrics.add("warm")
    assert reply.status == 200
    assert reply.json["error"] == "The value 'warm' is not a number"


@each_row_after_reset("value", [2**60, "nan", "inf"], before=claim)
async def test_a_number_that_cannot_be_stored_is_an_error_within_a_200(metrics: Metrics, value: object) -> None:
    assert "error" in (await metrics.add(value)).json


async def test_an_automation_needs_a_claimed_device(metrics: Metrics) -> None:
    reply = await metrics.add(20, device="DEV0000009")
    assert (reply.status, reply.text) == (400, "Cannot find device")


async def test_a_device_runs_automations_for_itself(emu: Emulator, metrics: Metrics, post: Post) -> None:
    token = emu.cloud.create_token("device", device_id=DEVICE)
    body = {"name": "MetricSample", "context": {"metric": "temp", "value": 20}}
    assert (await post("/tok/action/invoke", body, token=f"bearer {token}")).json == {
        "name": "MetricSample",
        "context": body["context"],
    }
    assert await metrics.total("temp", {"Device": DEVICE}) == (20, 1)


async def test_a_device_cannot_speak_for_another(emu: Emulator, metrics: Metrics, post: Post) -> None:
    emu.cloud.register_device("DEV0000002")
    emu.cloud.claim_device("DEV0000002")
    token = emu.cloud.create_token("device", device_id=DEVICE)
    context = {"deviceId": "DEV0000002", "metric": "temp", "value": 20}
    reply = await post("/tok/action/invoke", {"name": "MetricSample", "context": context}, token=token)
    assert (reply.status, reply.text) == (400, "Cannot find device")


async def test_a_service_value_becomes_a_metric(emu: Emulator, metrics: Metrics, post: Post) -> None:
    body = {"_type": "Service", "deviceId": DEVICE, "accountId": emu.account_id, "value": 7}
    await post("/tok/generic/update?exists", body)
    assert await metrics.total("value", {"Device": DEVICE}) == (7, 1)
    assert await metrics.total("value", {}) == (7, 1)


async def test_a_rule_leaves_out_the_dimensions_that_it_cannot_fill_in(
    emu: Emulator, metrics: Metrics, post: Post
) -> None:
    await post("/tok/generic/update?exists", {"_type": "Service", "accountId": emu.account_id, "value": 7})
    found = await post("/tok/metric/getMetricList", {"cloudId": emu.cloud.id, "namespace": SPACE, "metric": "value"})
    assert found.json["dimensions"] == [{}]


async def test_a_rule_may_rename_and_select(emu: Emulator, metrics: Metrics, post: Post) -> None:
    definition = {
        "pk": {"type": "string", "value": "fault#${accountId}"},
        "sk": {"type": "string", "value": "fault#"},
        "accountId": {"type": "string"},
        "temp": {"type": "number"},
        "note": {"type": "string"},
    }
    rule = {"namespace": SPACE, "fields": [{"Temperature": "temp"}, "note"], "where": "${temp} > 50"}
    emu.cloud.models.add_model("Fault", definition, {"metrics": [rule]})
    for temp in (40, 60):
        body = {"_type": "Fault", "accountId": emu.account_id, "temp": temp, "note": "hot"}
        await post("/tok/generic/update?exists", body)
    assert await metrics.total("Temperature", {}) == (60, 1)


async def test_a_command_is_an_item_for_the_device(emu: Emulator, metrics: Metrics, post: Post) -> None:
    context = {"deviceId": DEVICE, "program": "date", "parameters": "-u"}
    await post("/tok/action/invoke", {"name": "DeviceCommand", "context": context})
    body = {"_type": "Command", "accountId": emu.account_id, "deviceId": DEVICE}
    (command,) = (await post("/tok/generic/find", body)).json["data"]
    assert (command["command"], command["args"]) == ("custom", {"program": "date", "parameters": "-u"})


# Fetch


async def test_fetch_answers_each_item_in_order(emu: Emulator, metrics: Metrics) -> None:
    await metrics.add(20)
    answers = await metrics.fetch(
        {"namespace": SPACE, "metric": "temp", "dimensions": {}, "id": "a"},
        {"namespace": SPACE, "metric": "none", "dimensions": {}},
    )
    first, second = answers
    assert (first["metric"], first["namespace"], first["owner"]) == ("temp", SPACE, emu.account_id)
    assert (first["id"], first["period"], first["samples"]) == ("a", 300, 10)
    assert [point["value"] for point in first["points"] if point["count"]] == [20]
    assert "id" not in second
    assert second["points"] == []


async def test_one_bad_item_does_not_spoil_the_others(metrics: Metrics) -> None:
    await metrics.add(20)
    good = {"namespace": SPACE, "metric": "temp"}
    bad: list[object] = [
        {"metric": "temp"},
        {"namespace": SPACE},
        {**good, "period": 0},
        {**good, "period": "5"},
        {**good, "statistic": "mode"},
        {**good, "dimensions": [{}]},
        {**good, "accumulate": 1},
        {**good, "cloudId": "another"},
        {"namespace": "Database", "model": "Stores", "field": "value"},
        {"namespace": "Database", "model": "Store"},
        "temp",
    ]
    *errors, last = await metrics.fetch(*bad, good)
    assert [bool(answer.get("error")) and "points" not in answer for answer in errors] == [True] * len(bad)
    assert last["points"]


async def test_an_item_that_fails_repeats_its_names(emu: Emulator, metrics: Metrics) -> None:
    item = {"namespace": SPACE, "metric": "temp", "dimensions": {"Device": DEVICE}}
    (answer,) = await metrics.fetch({**item, "statistic": "mode", "id": 7})
    assert {**answer, "error": ""} == {**item, "error": "", "id": 7, "owner": emu.account_id}


@each_row_after_reset(
    "asked, answered",
    [
        ({"Device": "${deviceId}"}, {"Device": DEVICE}),
        ({"deviceId": True}, {"deviceId": DEVICE}),
        ({"Device": "x"}, {"Device": "x"}),
    ],
    before=claim,
)
async def test_the_cloud_fills_in_the_device(
    metrics: Metrics, asked: dict[str, object], answered: dict[str, object]
) -> None:
    (answer,) = await metrics.fetch({"namespace": SPACE, "metric": "temp", "dimensions": asked})
    assert answer["dimensions"] == answered


async def test_fetch_reads_the_database_too(emu: Emulator, metrics: Metrics) -> None:
    for number in range(3):
        item = {"accountId": emu.account_id, "deviceId": DEVICE, "key": f"k{number}", "type": "number"}
        emu.cloud.models.create("Store", {**item, "value": number or "none"})
    (answer,) = await metrics.fetch({"namespace": "Database", "model": "Store", "field": "value", "limit": 2})
    assert answer["points"] == [{"value": 1, "timestamp": NOW * 1000, "count": 1}]
    assert (answer["metric"], answer["samples"]) == ("value", 1)


async def test_fetch_needs_the_account_of_the_metrics(metrics: Metrics, post: Post) -> None:
    reply = await post("/tok/metric/fetch", {"deviceId": DEVICE, "items": []})
    assert reply.status == 400
    assert "accountId" in reply.text


async def test_fetch_needs_a_claimed_device(emu: Emulator, metrics: Metrics, post: Post) -> None:
    body = {"accountId": emu.account_id, "deviceId": "DEV0000002", "items": []}
    reply = await post("/tok/metric/fetch", body)
    assert (reply.status, reply.text) == (400, "Cannot find device")


async def test_a_fetch_is_answered_with_a_page_that_is_the_only_one(
    emu: Emulator, metrics: Metrics, post: Post
) -> None:
    body = {"accountId": emu.account_id, "deviceId": DEVICE, "items": []}
    assert (await post("/tok/metric/fetch", body)).json == {"data": [], "paged": True}


async def test_a_login_reads_the_metrics_of_its_account(metrics: Metrics, post: Post) -> None:
    await metrics.add(20)
    body = {"deviceId": DEVICE, "items": [{"namespace": SPACE, "metric": "temp", "accumulate": True}]}
    (answer,) = (await post.login("/metric/fetch", body)).json["data"]
    assert answer["points"][0]["value"] == 20


# Lists


async def test_the_metric_list_goes_as_deep_as_it_is_asked(emu: Emulator, metrics: Metrics, post: Post) -> None:
    await metrics.add(20)
    path, body = "/tok/metric/getMetricList", {"cloudId": emu.cloud.id}
    assert (await post(path, body)).json == {"namespaces": [SPACE]}
    body["namespace"] = SPACE
    assert (await post(path, body)).json == {"namespaces": [SPACE], "metrics": ["temp"]}
    body["metric"] = "temp"
    assert (await post(path, body)).json["dimensions"] == [{}, {"Device": DEVICE}]


@each_row_after_reset("path", ["metric/getMetricList", "metric/getDeviceSchema", "action/find"])
async def test_another_cloud_is_not_found(post: Post, path: str) -> None:
    reply = await post(f"/tok/{path}", {"cloudId": "another"})
    assert (reply.status, reply.text) == (400, "Cannot find cloud")


async def test_the_schema_has_the_documented_models(post: Post) -> None:
    schema = (await post("/tok/metric/getDeviceSchema")).json
    assert {"Store", "Device", "Command", "Log", "Service", "Metric"} <= schema["models"].keys()
    assert schema["process"]["Service"]["metrics"][0]["fields"] == ["value"]


# Automations


async def test_automations_are_listed_by_type(emu: Emulator, post: Post) -> None:
    page = (await post("/tok/action/find", {"cloudId": emu.cloud.id, "type": "metric"})).json
    (action,) = page["data"]
    assert (action["name"], action["cloudId"]) == ("MetricSample", emu.cloud.id)
    body = {"cloudId": emu.cloud.id, "type": "metric", "id": action["id"]}
    assert (await post("/tok/action/get", body)).json == action


async def test_get_of_an_automation_without_its_id_needs_a_single_one(emu: Emulator, post: Post) -> None:
    body = {"cloudId": emu.cloud.id, "type": "device"}
    assert (await post("/tok/action/get", body)).json["name"] == "DeviceCommand"
    emu.cloud.actions.add({"name": "Another", "type": "device"})
    assert (await post("/tok/action/get", body)).status == 400


async def test_get_of_no_automation_is_an_empty_object(emu: Emulator, post: Post) -> None:
    body = {"cloudId": emu.cloud.id, "type": "email", "id": "none"}
    assert (await post("/tok/action/get", body)).json == {}


async def test_an_unknown_automation_is_refused(post: Post) -> None:
    reply = await post("/tok/action/invoke", {"name": "Nothing"})
    assert (reply.status, reply.text) == (400, 'Cannot find action with name "Nothing"')


@each_row_after_reset("account", ["nobody", ["nobody"], 1], before=claim)
async def test_an_automation_runs_for_no_account_that_is_not_there(
    emu: Emulator, post: Post, metrics: Metrics, account: object
) -> None:
    context = {"accountId": account, "metric": "temp", "value": 1}
    reply = await post("/tok/action/invoke", {"name": "Alert", "context": context | {"message": "x"}})
    assert (reply.status, reply.text) == (400, "Cannot find account")
    closed = emu.cloud.add_account("Closed", "closed@ioto.test")
    emu.cloud.close_account(closed)
    reply = await post("/tok/action/invoke", {"name": "Alert", "context": context | {"accountId": closed}})
    assert (reply.status, reply.text) == (400, "Cannot find account")
    assert (await post("/tok/alert/find", {})).json["data"] == []


@each_row_after_reset("start", [1e300, -1e300, 8_640_000_000_000_001])
async def test_a_start_that_is_no_date_fails_its_item_alone(emu: Emulator, post: Post, start: float) -> None:
    device = emu.cloud.register_device()
    emu.cloud.claim_device(device)
    good = {"namespace": "Embedthis/Device", "metric": "t", "statistic": "avg"}
    body = {"accountId": emu.account_id, "deviceId": device, "items": [{**good, "start": start}, good]}
    reply = await post("/tok/metric/fetch", body)
    assert reply.status == 200
    assert [metric.get("error") for metric in reply.json["data"]] == ["start is not a date in milliseconds", None]


async def test_samples_held_in_a_buffer_are_stored_when_the_cloud_stops(tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    async with Emulator(db=db) as emulator:
        device = emulator.cloud.register_device()
        emulator.cloud.claim_device(device)
        engine = emulator.cloud.metrics.engine(emulator.account_id)
        engine.emit("Embedthis/Device", "t", 4, timestamp=emulator.cloud.now(), buffer={"elapsed": 60})
    async with Emulator(db=db) as emulator:
        engine = emulator.cloud.metrics.engine(emulator.account_id)
        assert engine.metric_list("Embedthis/Device")["metrics"] == ["t"]


@each_row_after_reset("context", [{"metric": {"x": 1}, "value": 1}, {"metric": "t", "value": "1_000"}])
async def test_a_sample_of_the_wrong_types_does_not_run(emu: Emulator, post: Post, context: dict[str, Any]) -> None:
    device = emu.cloud.register_device()
    emu.cloud.claim_device(device)
    reply = await post("/tok/action/invoke", {"name": "MetricSample", "context": {"deviceId": device, **context}})
    assert (reply.status, "error" in reply.json) == (200, True)
