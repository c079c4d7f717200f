from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from ioto_async.emulator.request import Refused
from ioto_async.emulator.state.actions import Actions
from ioto_async.emulator.state.storage import connect
from tests.rows import each_row

NOW = 1_700_000_000_123
SAMPLE = {"deviceId": "D", "metric": "temp", "value": 21.5}


class Recorder:
    """Effects that only write down what they are asked for."""

    def __init__(self) -> None:
        self.samples: list[tuple[Any, ...]] = []
        self.items: list[tuple[str, dict[str, Any]]] = []
        self.alerts: list[dict[str, Any]] = []

    def emit(
        self,
        namespace: str,
        metric: str,
        value: float,
        dimensions: Sequence[Mapping[str, Any]],
        *,
        timestamp: float,
        buffer: Any = None,
    ) -> None:
        if metric == "forbidden":
            raise ValueError("no such sample")
        self.samples.append((namespace, metric, value, dimensions, timestamp, buffer))

    def write(self, model: str, members: Mapping[str, Any]) -> object:
        if model == "Nothing":
            raise Refused('Cannot find model "Nothing"')
        self.items.append((model, dict(members)))
        return None

    def alert(self, *, name: str, subject: str, message: str, severity: str, context: Mapping[str, Any]) -> object:
        self.alerts.append(
            {"name": name, "subject": subject, "message": message, "severity": severity, "context": context}
        )
        return None


@pytest.fixture
def effects() -> Recorder:
    return Recorder()


@pytest.fixture
def actions() -> Iterator[Actions]:
    db = connect(None)
    yield Actions(db, lambda: NOW)
    db.close()


def test_a_new_cloud_can_take_samples_send_commands_and_raise_alerts(actions: Actions) -> None:
    found = actions.find({})["data"]
    assert {action["name"]: action["type"] for action in found} == {
        "MetricSample": "metric",
        "DeviceCommand": "device",
        "Alert": "alert",
    }


def test_a_cloud_that_comes_back_keeps_its_automations() -> None:
    db = connect(None)
    action_id = Actions(db, lambda: NOW).add({"name": "Mail", "type": "email"})["id"]
    again = Actions(db, lambda: NOW)
    assert again.get(action_id) is not None
    assert len(again.find({})["data"]) == 4
    db.close()


def test_metric_sample_adds_a_sample_for_the_device_and_for_all(actions: Actions, effects: Recorder) -> None:
    reply = actions.invoke(effects, SAMPLE, name="MetricSample")
    assert reply == {"name": "MetricSample", "context": SAMPLE}
    assert effects.samples == [("Embedthis/Device", "temp", 21.5, [{}, {"Device": "D"}], NOW, None)]


def test_a_sample_may_have_a_timestamp(actions: Actions, effects: Recorder) -> None:
    actions.invoke(effects, {**SAMPLE, "timestamp": NOW - 60_000}, name="MetricSample")
    assert effects.samples[0][4] == NOW - 60_000


def test_a_number_may_be_sent_as_text(actions: Actions, effects: Recorder) -> None:
    actions.invoke(effects, {**SAMPLE, "value": "21.5"}, name="MetricSample")
    assert effects.samples[0][2] == 21.5


@each_row("value", ["warm", True, [1], {}])
def test_a_value_that_is_no_number_is_an_error_in_the_reply(actions: Actions, effects: Recorder, value: object) -> None:
    context = {**SAMPLE, "value": value}
    reply = actions.invoke(effects, context, name="MetricSample")
    assert reply == {"error": f"The value {value!r} is not a number", "name": "MetricSample", "context": context}
    assert effects.samples == []


@each_row("timestamp", ["now", True, -1, 1e300])
def test_a_timestamp_that_is_no_date_is_an_error_in_the_reply(
    actions: Actions, effects: Recorder, timestamp: object
) -> None:
    reply = actions.invoke(effects, {**SAMPLE, "timestamp": timestamp}, name="MetricSample")
    assert reply["error"] == "The timestamp is not a date in milliseconds"


def test_a_missing_variable_is_named_in_the_reply(actions: Actions, effects: Recorder) -> None:
    reply = actions.invoke(effects, {"metric": "temp", "value": 1}, name="MetricSample")
    assert reply["error"] == 'The context has no "deviceId"'
    assert effects.samples == []


def test_a_disabled_automation_does_not_run(actions: Actions, effects: Recorder) -> None:
    actions.add({**actions.find({}, "metric")["data"][0], "enable": False})
    reply = actions.invoke(effects, SAMPLE, name="MetricSample")
    assert reply["error"] == "The automation is disabled"
    assert effects.samples == []


def test_what_the_cloud_refuses_is_an_error_in_the_reply(actions: Actions, effects: Recorder) -> None:
    actions.add({"name": "Write", "type": "database", "args": {"_type": "Nothing"}})
    assert actions.invoke(effects, {}, name="Write")["error"] == 'Cannot find model "Nothing"'
    assert actions.invoke(effects, {**SAMPLE, "metric": "forbidden"}, name="MetricSample")["error"]


@each_row("named", [{"name": "None"}, {"id": "None"}])
def test_an_unknown_automation_is_refused(actions: Actions, effects: Recorder, named: dict[str, str]) -> None:
    with pytest.raises(Refused, match="Cannot find action"):
        actions.invoke(effects, {}, **named)


def test_an_automation_must_be_named(actions: Actions, effects: Recorder) -> None:
    with pytest.raises(Refused, match="Missing"):
        actions.invoke(effects, {})


def test_the_id_goes_before_the_name(actions: Actions, effects: Recorder) -> None:
    action_id = actions.add({"name": "Alarm", "type": "alert"})["id"]
    assert actions.invoke(effects, {}, id=action_id, name="MetricSample")["name"] == "Alarm"


def test_device_command_writes_a_command(actions: Actions, effects: Recorder) -> None:
    context = {"deviceId": "D", "program": "date", "parameters": "-u"}
    actions.invoke(effects, context, name="DeviceCommand")
    expected = {"deviceId": "D", "command": "custom", "args": {"program": "date", "parameters": "-u"}}
    assert effects.items == [("Command", expected)]


def test_a_database_automation_writes_an_item(actions: Actions, effects: Recorder) -> None:
    args = {"_type": "Store", "deviceId": "${deviceId}", "key": "last", "value": "${value}", "type": "number"}
    actions.add({"name": "Keep", "type": "database", "args": args})
    actions.invoke(effects, SAMPLE, name="Keep")
    assert effects.items == [("Store", {**args, "deviceId": "D", "value": 21.5})]


def test_variables_are_replaced_at_every_depth(actions: Actions, effects: Recorder) -> None:
    args = {"list": ["${a}", {"deep": "a is ${a}, b is ${b}"}], "number": 7}
    actions.add({"name": "Web", "type": "http", "args": args, "message": "${a}!", "destination": "http://x/${a}"})
    actions.invoke(effects, {"a": 1, "b": "two"}, name="Web")
    (run,) = actions.invocations
    assert run["args"] == {"list": [1, {"deep": "a is 1, b is two"}], "number": 7}
    assert (run["message"], run["destination"]) == ("1!", "http://x/1")


@each_row("type", ["http", "email", "lambda", "mqtt", "sms", "eventbridge", "delay", "builder-alert", "builder-metric"])
def test_what_reaches_outside_is_written_down(actions: Actions, effects: Recorder, type: str) -> None:
    actions.invocations.clear()
    action_id = actions.add({"name": "Out", "type": type})["id"]
    actions.invoke(effects, {"a": 1}, id=action_id)
    expected = {"id": action_id, "name": "Out", "type": type, "args": {}, "context": {"a": 1}, "timestamp": NOW}
    assert actions.invocations == [expected]


def test_an_alert_is_raised(actions: Actions, effects: Recorder) -> None:
    actions.add({"name": "Hot", "type": "alert", "message": "It is ${value} degrees", "severity": "critical"})
    actions.invoke(effects, SAMPLE, name="Hot")
    assert effects.alerts == [
        {
            "name": "Hot",
            "subject": "Hot",
            "message": "It is 21.5 degrees",
            "severity": "critical",
            "context": SAMPLE,
        }
    ]


def test_an_alert_may_be_a_number(actions: Actions, effects: Recorder) -> None:
    actions.invoke(effects, {"message": 42}, name="Alert")
    assert [alert["message"] for alert in effects.alerts] == ["42"]


@each_row("record", [{"type": "metric"}, {"name": "X"}, {"name": "X", "type": "magic"}])
def test_an_automation_needs_a_name_and_a_known_type(actions: Actions, record: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="name and one of the types"):
        actions.add(record)


def test_find_pages_there_and_back(actions: Actions) -> None:
    every = [action["id"] for action in actions.find({})["data"]]
    first = actions.find({"limit": "1"})
    second = actions.find({"limit": "1", "next": first["next"]})
    third = actions.find({"limit": "1", "next": second["next"]})
    back = actions.find({"limit": "1", "prev": second["prev"]})
    assert [page["data"][0]["id"] for page in (first, second, third, back)] == [*every, every[0]]
    assert "next" not in third
