from itertools import count
from typing import Any

from ioto_async.emulator import Emulator

from .conftest import Post
from .tables import each_row_after_reset

FIELDS = {
    *("accountId", "cloudId", "context", "count", "id", "message", "name", "seq", "severity", "subject"),
    *("resolved", "timestamp"),
}


async def raise_alert(post: Post, **context: object) -> None:
    reply = await post("/tok/action/invoke", {"name": "Alert", "context": {"message": "Too hot"} | context})
    assert "error" not in reply.json


async def alerts(post: Post, **body: object) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = (await post("/tok/alert/find", body)).json["data"]
    return data


async def test_an_automation_raises_an_alert_with_all_documented_members(emu: Emulator, post: Post) -> None:
    emu.cloud.clock = lambda: 1_700_000_000.123
    await raise_alert(post, value=40)
    (alert,) = await alerts(post)
    assert alert.keys() == FIELDS
    assert alert["accountId"] == emu.account_id
    assert alert["cloudId"] == emu.cloud_id
    assert alert["context"] == {"message": "Too hot", "value": 40, "accountId": emu.account_id}
    assert (alert["name"], alert["subject"], alert["message"]) == ("Alert", "Alert", "Too hot")
    assert (alert["count"], alert["severity"], alert["resolved"]) == (1, "info", False)
    assert alert["timestamp"] == "2023-11-14T22:13:20.123Z"


async def test_an_alert_that_is_repeated_counts(emu: Emulator, post: Post) -> None:
    emu.cloud.clock = lambda: 1000.0
    await raise_alert(post)
    (first,) = await alerts(post)
    emu.cloud.clock = lambda: 2000.0
    await raise_alert(post, message="Still too hot")
    (second,) = await alerts(post)
    changed = {"count": 2, "message": "Still too hot", "context": first["context"] | {"message": "Still too hot"}}
    assert second == first | changed


async def test_an_alert_that_was_resolved_is_raised_anew(post: Post) -> None:
    await raise_alert(post)
    (first,) = await alerts(post)
    assert (await post("/tok/alert/update", {"id": first["id"], "resolved": True})).json == first | {"resolved": True}
    await raise_alert(post)
    both = {alert["id"]: alert for alert in await alerts(post)}
    assert len(both) == 2
    assert {alert["seq"] for alert in both.values()} == {first["seq"]}
    assert {alert["count"] for alert in both.values()} == {1}
    assert both[first["id"]]["resolved"] is True


async def test_alerts_of_other_devices_severities_names_or_accounts_are_others(emu: Emulator, post: Post) -> None:
    add = emu.cloud.add_alert
    add("Hot", "40", context={"deviceId": "DEV0000001"})
    add("Hot", "40", context={"deviceId": "DEV0000002"})
    add("Hot", "41", context={"deviceId": "DEV0000002"})
    add("Hot", "40", severity="critical")
    add("Cold", "40")
    add("Cold", "40", subject="Winter")
    add("Cold", "40", account_id=emu.cloud.add_account("Other", "other@ioto.test"))
    assert sorted(alert["count"] for alert in await alerts(post)) == [1, 1, 1, 1, 1, 2]
    assert len({alert["seq"] for alert in await alerts(post)}) == 6


async def test_an_alert_is_had_by_its_id(emu: Emulator, post: Post) -> None:
    alert = emu.cloud.add_alert("Hot", "40")
    assert (await post("/tok/alert/get", {"id": alert["id"]})).json == alert
    assert (await post("/tok/alert/get", {"id": "X"})).json == {}


@each_row_after_reset("path", ["get", "remove", "update"])
async def test_without_an_id_no_alert_is_meant(post: Post, path: str) -> None:
    reply = await post(f"/tok/alert/{path}", {})
    assert (reply.status, reply.text) == (400, "Missing id")


async def test_an_update_of_nothing_is_refused(post: Post) -> None:
    reply = await post("/tok/alert/update", {"id": "X", "resolved": True})
    assert (reply.status, reply.text) == (400, "Cannot find alert")


async def test_an_update_may_leave_all_as_it_is(emu: Emulator, post: Post) -> None:
    alert = emu.cloud.add_alert("Hot", "40")
    assert (await post("/tok/alert/update", {"id": alert["id"]})).json == alert


async def test_a_mark_that_is_null_is_removed(emu: Emulator, post: Post) -> None:
    alert = emu.cloud.add_alert("Hot", "40")
    await post("/tok/alert/update", {"id": alert["id"], "resolved": True})
    record = (await post("/tok/alert/update", {"id": alert["id"], "resolved": None})).json
    assert record == {name: value for name, value in alert.items() if name != "resolved"}
    assert emu.cloud.add_alert("Hot", "40")["count"] == 2


async def test_an_alert_is_removed_once_or_twice(emu: Emulator, post: Post) -> None:
    alert, other = emu.cloud.add_alert("Hot", "40"), emu.cloud.add_alert("Cold", "4")
    for _ in range(2):
        reply = await post("/tok/alert/remove", {"id": alert["id"]})
        assert (reply.status, reply.text) == (200, "{}")
    assert await alerts(post) == [other]


async def test_find_pages_there_and_back(emu: Emulator, post: Post) -> None:
    emu.cloud.clock = count(1000.0).__next__
    raised = [emu.cloud.add_alert(f"Alarm {number}", "x") for number in range(3)]
    first = (await post("/tok/alert/find?limit=2", {})).json
    assert (first["data"], first["paged"]) == (raised[:2], True)
    second = (await post(f"/tok/alert/find?limit=2&next={first['next']}", {})).json
    assert second["data"] == raised[2:]
    assert "next" not in second
    assert (await post(f"/tok/alert/find?limit=2&prev={second['prev']}", {})).json["data"] == raised[:2]


async def test_an_account_sees_its_own_alerts_alone(emu: Emulator, post: Post) -> None:
    account_id = emu.cloud.add_account("Other", "other@ioto.test")
    other, own = emu.cloud.add_alert("Hot", "40", account_id=account_id), emu.cloud.add_alert("Hot", "40")
    assert (await post.login("/alert/find", {})).json["data"] == [own]
    assert (await post.login("/alert/get", {"id": other["id"]})).json == {}
    reply = await post.login("/alert/update", {"id": other["id"], "resolved": True})
    assert (reply.status, reply.text) == (400, "Cannot find alert")
    assert (await post.login("/alert/remove", {"id": other["id"]})).status == 200
    assert await alerts(post, accountId=account_id) == [other]
    assert len(await alerts(post)) == 2


async def test_the_alerts_of_an_account_go_with_it(emu: Emulator, post: Post) -> None:
    account_id = emu.cloud.add_account("Other", "other@ioto.test")
    emu.cloud.add_alert("Hot", "40", account_id=account_id)
    kept = emu.cloud.add_alert("Hot", "40")
    with emu.cloud.lock:
        emu.cloud.alerts.remove_account(account_id)
    assert await alerts(post) == [kept]


async def test_an_alert_of_a_device_names_its_account(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    body = {"name": "Alert", "context": {"message": "Help"}}
    assert (await post("/tok/action/invoke", body, token=token)).json["name"] == "Alert"
    (alert,) = await alerts(post)
    assert (alert["accountId"], alert["context"]["deviceId"]) == (emu.account_id, "DEV0000001")
