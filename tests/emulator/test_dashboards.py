from itertools import count
from typing import Any

from ioto_async.emulator import Emulator

from .conftest import Post
from .tables import each_row_after_reset

RANGE = {"anchor": "relative", "period": 2_419_200, "refresh": 60, "override": False, "timezone": "local"}
WIDGET: dict[str, Any] = {"anchor": {}, "css": [], "dimensions": {}, "range": {}}
EVERYTHING: dict[str, Any] = {
    "css": ["body {}"],
    "emulate": "phone",
    "fixed": True,
    "framed": False,
    "layout": "flow",
    "live": True,
    "name": "All",
    "range": {
        "anchor": "absolute",
        "start": "2024-01-23T02:03:57.062Z",
        "period": 60,
        "refresh": 1.5,
        "override": True,
        "timezone": "utc",
    },
    "refresh": 30,
    "toolbar": False,
    "type": "page",
    "widgetCss": [{"color": "red"}],
    "widgets": [],
}


async def create(post: Post, **members: object) -> dict[str, Any]:
    reply = await post("/tok/dashboard/create", {"name": "Board"} | members)
    assert reply.status == 200, reply.text
    record: dict[str, Any] = reply.json
    return record


async def test_a_new_dashboard_has_an_id_an_account_and_the_default_layout(emu: Emulator, post: Post) -> None:
    record = await create(post)
    assert len(record["id"]) == 26
    assert record == {"id": record["id"], "accountId": emu.account_id, "name": "Board", "layout": "grid"}


async def test_every_documented_member_comes_back(emu: Emulator, post: Post) -> None:
    record = await create(post, **EVERYTHING)
    assert record == EVERYTHING | {"id": record["id"], "accountId": emu.account_id}
    assert (await post("/tok/dashboard/get", {"id": record["id"]})).json == record


async def test_nulls_and_members_beyond_the_table_are_not_stored(post: Post) -> None:
    record = await create(post, refresh=None, design={"x": 1}, range=None)
    assert record.keys() == {"id", "accountId", "name", "layout"}


async def test_a_range_has_the_documented_defaults(post: Post) -> None:
    assert (await create(post, range={}))["range"] == RANGE
    assert (await create(post, range={"period": 60, "start": None}))["range"] == RANGE | {"period": 60}


async def test_the_start_of_a_range_is_shown_as_the_cloud_shows_dates(post: Post) -> None:
    for start in ("2024-01-23T03:03:57.062+01:00", 1_705_975_437_062):
        assert (await create(post, range={"start": start}))["range"]["start"] == "2024-01-23T02:03:57.062Z"


async def test_a_widget_has_the_documented_defaults_and_keeps_what_no_table_lists(post: Post) -> None:
    widgets = [{}, {"type": "gauge", "sparkle": {"a": [1]}, "title": None}]
    assert (await create(post, widgets=widgets))["widgets"] == [
        WIDGET,
        WIDGET | {"type": "gauge", "sparkle": {"a": [1]}},
    ]


async def test_the_range_of_a_widget_has_the_defaults_once_it_says_something(post: Post) -> None:
    (widget,) = (await create(post, widgets=[{"range": {"period": 60}}]))["widgets"]
    assert widget["range"] == RANGE | {"period": 60}


@each_row_after_reset(
    "members, message",
    [
        ({"refresh": "often"}, "refresh must be of type number"),
        ({"type": "sheet"}, "type must be page or dashboard, not 'sheet'"),
        ({"widgets": ["gauge"]}, "widgets[0] must be an object, not 'gauge'"),
        ({"widgets": [{}, {}, {"z": "top"}]}, "widgets[2].z must be a number, not 'top'"),
        ({"widgets": [{"z": True}]}, "widgets[0].z must be a number, not True"),
        ({"widgets": [{"fixed": 1}]}, "widgets[0].fixed must be a boolean, not 1"),
        ({"widgets": [{"css": "a"}]}, "widgets[0].css must be an array, not 'a'"),
        ({"widgets": [{"anchor": []}]}, "widgets[0].anchor must be an object, not []"),
        ({"widgets": [{"width": 1}]}, "widgets[0].width must be a string, not 1"),
        ({"widgets": [{"range": {"refresh": "x"}}]}, "widgets[0].range.refresh must be a number, not 'x'"),
        ({"widgets": [{"actions": [7]}]}, "widgets[0].actions[0] must be an object, not 7"),
        (
            {"widgets": [{"actions": [{}, {"conditions": {}}]}]},
            "widgets[0].actions[1].conditions must be an array, not {}",
        ),
        ({"range": {"anchor": "left"}}, "range.anchor must be absolute or relative, not 'left'"),
        ({"range": {"timezone": "CET"}}, "range.timezone must be local or utc, not 'CET'"),
        ({"range": {"start": "soon"}}, "range.start must be a date, not 'soon'"),
        ({"range": {"start": 1e300}}, "range.start must be a date, not 1e+300"),
        ({"range": {"start": True}}, "range.start must be a date, not True"),
    ],
)
async def test_a_member_of_the_wrong_kind_is_named_with_its_place(
    post: Post, members: dict[str, object], message: str
) -> None:
    record = await create(post)
    for path, body in (("create", {"name": "X"}), ("update", {"id": record["id"]})):
        reply = await post(f"/tok/dashboard/{path}", body | members)
        assert (reply.status, reply.text) == (400, message)
    assert (await post("/tok/dashboard/find", {})).json["data"] == [record]


async def test_a_dashboard_is_found_by_id_or_by_name(post: Post) -> None:
    one, other = await create(post), await create(post, name="Other")
    assert (await post("/tok/dashboard/get", {"id": one["id"]})).json == one
    assert (await post("/tok/dashboard/get", {"name": "Other"})).json == other
    assert (await post("/tok/dashboard/get", {"id": one["id"], "name": "Other"})).json == one


@each_row_after_reset("body", [{"id": "X"}, {"name": "X"}])
async def test_a_dashboard_that_is_not_there_is_an_empty_object(post: Post, body: dict[str, str]) -> None:
    assert (await post("/tok/dashboard/get", body)).json == {}


async def test_a_get_needs_an_id_or_a_name(post: Post) -> None:
    reply = await post("/tok/dashboard/get", {})
    assert (reply.status, reply.text) == (400, 'Missing "id" or "name"')


async def test_a_name_that_several_have_does_not_tell_which(post: Post) -> None:
    await create(post)
    await create(post)
    reply = await post("/tok/dashboard/get", {"name": "Board"})
    assert (reply.status, reply.text) == (400, 'There is more than one dashboard with the name "Board"; name its "id"')


async def test_an_update_sets_and_removes_members(post: Post) -> None:
    record = await create(post, refresh=30, toolbar=True, widgets=[{"id": "a"}])
    body = {"id": record["id"], "name": "New", "refresh": None, "widgets": [], "layout": "flow"}
    expected = {**record, "name": "New", "widgets": [], "layout": "flow"}
    del expected["refresh"]
    assert (await post("/tok/dashboard/update", body)).json == expected
    assert (await post("/tok/dashboard/get", {"name": "New"})).json == expected
    assert (await post("/tok/dashboard/get", {"name": "Board"})).json == {}


@each_row_after_reset("name", ["", None])
async def test_an_update_cannot_take_the_name_away(post: Post, name: object) -> None:
    record = await create(post)
    reply = await post("/tok/dashboard/update", {"id": record["id"], "name": name})
    assert (reply.status, reply.text) == (400, "Missing name")


async def test_an_update_of_nothing_is_refused(post: Post) -> None:
    reply = await post("/tok/dashboard/update", {"id": "X", "fixed": True})
    assert (reply.status, reply.text) == (400, "Cannot find dashboard")


async def test_a_dashboard_is_removed_once_or_twice(post: Post) -> None:
    one, other = await create(post), await create(post, name="Other")
    for _ in range(2):
        reply = await post("/tok/dashboard/remove", {"id": one["id"]})
        assert (reply.status, reply.text) == (200, "{}")
    assert (await post("/tok/dashboard/find", {})).json["data"] == [other]
    assert (await post("/tok/dashboard/remove", {})).text == "Missing id"


async def test_find_pages_there_and_back(emu: Emulator, post: Post) -> None:
    emu.cloud.clock = count(1000.0).__next__
    records = [await create(post, name=f"Board {number}") for number in range(3)]
    first = (await post("/tok/dashboard/find?limit=2", {})).json
    assert (first["data"], first["paged"]) == (records[:2], True)
    second = (await post(f"/tok/dashboard/find?limit=2&next={first['next']}", {})).json
    assert second["data"] == records[2:]
    assert "next" not in second
    back = (await post(f"/tok/dashboard/find?limit=2&prev={second['prev']}", {})).json
    assert back["data"] == records[:2]


async def test_a_page_has_a_hundred_unless_told_otherwise(post: Post) -> None:
    for number in range(101):
        await create(post, name=f"Board {number}")
    page = (await post("/tok/dashboard/find", {})).json
    assert len(page["data"]) == 100
    assert page["next"]


async def test_a_user_sees_and_changes_those_of_his_account_alone(emu: Emulator, post: Post) -> None:
    other = await create(post, accountId=emu.cloud.add_account("Other", "other@ioto.test"))
    token = emu.cloud.create_token("login", role="user")
    own = (await post.login("/dashboard/create", {"name": "Mine"}, token=token)).json
    assert own["accountId"] == emu.account_id
    assert (await post.login("/dashboard/find", {}, token=token)).json["data"] == [own]
    for body in ({"id": other["id"]}, {"name": "Board"}):
        assert (await post.login("/dashboard/get", body, token=token)).json == {}
    reply = await post.login("/dashboard/update", {"id": other["id"], "name": "Taken"}, token=token)
    assert (reply.status, reply.text) == (400, "Cannot find dashboard")
    assert (await post.login("/dashboard/remove", {"id": other["id"]}, token=token)).status == 200
    reply = await post.login("/dashboard/find", {"accountId": other["accountId"]}, token=token)
    assert reply.status == 403
    assert (await post("/tok/dashboard/find", {"accountId": other["accountId"]})).json["data"] == [other]


async def test_a_cloud_token_that_names_no_account_sees_all_dashboards(emu: Emulator, post: Post) -> None:
    await create(post, accountId=emu.cloud.add_account("Other", "other@ioto.test"))
    await create(post)
    assert len((await post("/tok/dashboard/find", {})).json["data"]) == 2
    assert len((await post("/tok/dashboard/find", {"accountId": emu.account_id})).json["data"]) == 1


async def test_a_dashboard_needs_an_account_that_is_there(post: Post) -> None:
    reply = await post("/tok/dashboard/create", {"name": "X", "accountId": "nobody"})
    assert (reply.status, reply.text) == (400, "Cannot find account")


async def test_the_dashboards_of_an_account_go_with_it(emu: Emulator, post: Post) -> None:
    account_id = emu.cloud.add_account("Other", "other@ioto.test")
    await create(post, accountId=account_id)
    kept = await create(post)
    with emu.cloud.lock:
        emu.cloud.dashboards.remove_account(account_id)
    assert (await post("/tok/dashboard/find", {})).json["data"] == [kept]
