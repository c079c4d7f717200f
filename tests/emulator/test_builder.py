import json
import logging
from typing import Any
from urllib.parse import quote

import pytest

from ioto_async.emulator import Emulator

from .conftest import Post, Reply
from .tables import each_row_after_reset

UNKNOWN = (400, "Cannot find device")
DEVICE = "DEV0000001"


class AtTheBuilder:
    """Sends one request with a BuilderAPI token, of its own admin unless another is given."""

    def __init__(self, emu: Emulator, post: Post) -> None:
        self._emu = emu
        self._post = post

    async def __call__(self, name: str, body: object = None, *, token: str | None = None, query: str = "") -> Reply:
        token = self._emu.cloud.builder.token if token is None else token
        return await self._post(f"/api/tok/{name}{query}", {} if body is None else body, token=token)


@pytest.fixture
def builder(emu: Emulator, post: Post) -> AtTheBuilder:
    return AtTheBuilder(emu, post)


@pytest.fixture
def stranger(emu: Emulator) -> str:
    """A token of another account of the Builder."""
    return emu.cloud.builder.create_token("owner", "another account")


# Callers


async def test_a_builder_token_is_nothing_on_a_cloud_and_the_other_way_round(emu: Emulator, post: Post) -> None:
    for path, token in (
        ("/tok/device/find", emu.cloud.builder.token),
        ("/api/tok/device/find", emu.token),
        ("/api/tok/device/find", emu.product_token),
        ("/api/device/find", emu.cloud.builder.token),
        ("/api/device/register", emu.cloud.builder.token),
    ):
        reply = await post(path, {}, token=token)
        assert (reply.status, reply.text) == (403, "Authentication failed"), path


@each_row_after_reset(
    "role, refused",
    [("user", {"device/remove", "device/removeAll"}), ("admin", {"device/removeAll"}), ("owner", set())],
)
async def test_each_role_may_what_the_ones_before_it_may(
    emu: Emulator, builder: AtTheBuilder, role: Any, refused: set[str]
) -> None:
    token = emu.cloud.create_token("builder", role=role)
    names = ("device/find", "device/get", "device/release", "device/remove", "device/removeAll", "metric/fetch")
    denied = {name for name in names if (await builder(name, token=token)).text == "Access denied"}
    assert denied == refused


async def test_a_builder_token_expires(emu: Emulator, builder: AtTheBuilder) -> None:
    emu.cloud.clock = lambda: 1000.0
    token = emu.cloud.builder.create_token(lifetime=60)
    assert (await builder("device/find", token=token)).status == 200
    emu.cloud.clock = lambda: 1060.0
    assert (await builder("device/find", token=token)).status == 403


# Devices


async def test_a_record_says_who_has_the_product_and_who_claimed(emu: Emulator, builder: AtTheBuilder) -> None:
    emu.cloud.register_device(DEVICE, test=True)
    record = {"accountId": emu.cloud.builder.account_id, "id": DEVICE, "productId": emu.product_token, "test": True}
    assert (await builder("device/get", {"id": DEVICE})).json == record
    emu.cloud.claim_device(DEVICE)
    claimed = {"cloudId": emu.cloud_id, "managerAccountId": emu.account_id}
    assert (await builder("device/get", {"id": DEVICE})).json == record | claimed


async def test_devices_are_listed_in_pages_claimed_or_not(emu: Emulator, builder: AtTheBuilder) -> None:
    ids = [emu.cloud.register_device(f"DEV000000{number}") for number in range(5)]
    emu.cloud.claim_device(ids[3])
    found, query = [], ""
    while True:
        reply = (await builder("device/find", query=f"?limit=2{query}")).json
        found += [each["id"] for each in reply["data"]]
        if "next" not in reply:
            break
        query = f"&next={quote(reply['next'])}"
    assert found == ids


async def test_a_list_is_narrowed_by_id_cloud_and_product(emu: Emulator, builder: AtTheBuilder) -> None:
    product = emu.cloud.builder.add_product("Other")
    emu.cloud.register_device(DEVICE)
    emu.cloud.register_device("DEV0000002", product=product)
    emu.cloud.claim_device("DEV0000002")

    async def ids(**body: str) -> list[str]:
        return [each["id"] for each in (await builder("device/find", body)).json["data"]]

    assert await ids() == [DEVICE, "DEV0000002"]
    assert await ids(id=DEVICE) == [DEVICE]
    assert await ids(cloudId=emu.cloud_id) == await ids(productId=product) == ["DEV0000002"]
    assert await ids(cloudId="nowhere") == []


async def test_a_released_device_is_registered_and_no_more(emu: Emulator, post: Post, builder: AtTheBuilder) -> None:
    token = await post.device_token(DEVICE)
    assert (await builder("device/release", {"id": DEVICE})).status == 200
    assert emu.cloud.device(DEVICE) is None
    assert (await post("/tok/device/provision", {"id": DEVICE}, token=token)).status == 403
    # A second delivery changes nothing.
    assert (await builder("device/release", {"id": DEVICE})).status == 200
    assert (await post.register(id=DEVICE)).text == '{"registered":true}'


async def test_a_device_is_released_before_it_is_removed(emu: Emulator, post: Post, builder: AtTheBuilder) -> None:
    await post.device_token(DEVICE)
    reply = await builder("device/remove", {"id": DEVICE})
    assert (reply.status, reply.text) == (400, "Device is claimed; release it first")
    await builder("device/release", {"id": DEVICE})
    assert (await builder("device/remove", {"id": DEVICE})).status == 200
    reply = await post("/tok/device/claim", {"id": DEVICE})
    assert (reply.status, reply.text) == UNKNOWN


async def test_all_devices_of_a_product_are_removed_and_counted(
    emu: Emulator, post: Post, builder: AtTheBuilder
) -> None:
    owner = emu.cloud.builder.create_token("owner")
    token = await post.device_token(DEVICE)
    emu.cloud.register_device("DEV0000002")
    kept = emu.cloud.register_device("DEV0000003", product=emu.cloud.builder.add_product("Other"))
    for number in ("2", "0"):
        reply = await builder("device/removeAll", {"productId": emu.product_token}, token=owner)
        assert (reply.status, reply.text) == (200, number)
    assert (await post("/tok/device/provision", {"id": DEVICE}, token=token)).status == 403
    assert [each["id"] for each in (await builder("device/find")).json["data"]] == [kept]
    reply = await builder("device/removeAll", {"productId": "nobody"}, token=owner)
    assert (reply.status, reply.text) == (400, "Cannot find product")


async def test_the_old_claim_goes_by_the_token_of_the_cloud(emu: Emulator, builder: AtTheBuilder) -> None:
    emu.cloud.clock = lambda: 1706061837.062
    emu.cloud.register_device(DEVICE, model="Demo-01")
    body = {"id": DEVICE, "cloudToken": emu.token, "accountId": emu.account_id}
    reply = (await builder("device/claim", body)).json
    assert reply == {
        "id": DEVICE,
        "cloudId": emu.cloud_id,
        "productId": emu.product_token,
        "model": "Demo-01",
        "test": False,
        "created": "2024-01-24T02:03:57.062Z",
        "accessed": "2024-01-24T02:03:57.062Z",
    }
    assert reply["test"] is False


async def test_the_old_claim_can_mark_a_test_device(emu: Emulator, builder: AtTheBuilder) -> None:
    emu.cloud.register_device(DEVICE)
    body = {"id": DEVICE, "cloudToken": emu.token, "accountId": emu.account_id, "test": True}
    assert (await builder("device/claim", body)).json["test"] is True
    record = emu.cloud.device(DEVICE)
    assert record is not None
    assert record["test"] is True


async def test_the_old_claim_needs_a_token_and_an_account_of_a_cloud(emu: Emulator, builder: AtTheBuilder) -> None:
    emu.cloud.register_device(DEVICE)
    good = {"id": DEVICE, "cloudToken": emu.token, "accountId": emu.account_id}
    for wrong, text in (
        ({"cloudToken": "nobody"}, "Cannot find cloud with this cloudToken"),
        ({"cloudToken": emu.login_token}, "Cannot find cloud with this cloudToken"),
        ({"accountId": "nobody"}, "Cannot find account"),
        ({"id": "NOBODY"}, "Cannot find device"),
    ):
        reply = await builder("device/claim", good | wrong)
        assert (reply.status, reply.text) == (400, text)
    assert emu.cloud.device(DEVICE) is None


# Products


async def test_a_product_is_looked_up_by_its_token(emu: Emulator, builder: AtTheBuilder) -> None:
    product = emu.cloud.builder.add_product("Lamp", description="A lamp", url="https://lamp.test")
    record = (await builder("device/lookup", {"product": product})).json
    assert set(record) == {"accountId", "description", "id", "name", "planId", "suspended", "url"}
    assert (record["id"], record["name"], record["description"]) == (product, "Lamp", "A lamp")
    assert (record["accountId"], record["url"]) == (emu.cloud.builder.account_id, "https://lamp.test")
    reply = await builder("device/lookup", {"product": "nobody"})
    assert (reply.status, reply.text) == (400, "Cannot find product")


async def test_a_product_whose_token_is_suspended_says_so(emu: Emulator, builder: AtTheBuilder) -> None:
    body = {"product": emu.product_token}
    assert (await builder("device/lookup", body)).json["suspended"] is False
    emu.cloud.suspend_token(emu.product_token)
    assert (await builder("device/lookup", body)).json["suspended"] is True


async def test_another_account_of_the_builder_sees_and_changes_nothing(
    emu: Emulator, builder: AtTheBuilder, stranger: str
) -> None:
    emu.cloud.register_device(DEVICE)
    emu.cloud.claim_device(DEVICE)
    for name in ("get", "release", "remove"):
        reply = await builder(f"device/{name}", {"id": DEVICE}, token=stranger)
        assert (reply.status, reply.text) == UNKNOWN
    for name, member in (("lookup", "product"), ("removeAll", "productId")):
        reply = await builder(f"device/{name}", {member: emu.product_token}, token=stranger)
        assert (reply.status, reply.text) == (400, "Cannot find product")
    assert (await builder("device/find", {"id": DEVICE}, token=stranger)).json["data"] == []
    assert emu.cloud.device(DEVICE) is not None


async def test_a_product_of_another_account_has_its_own_devices(
    emu: Emulator, builder: AtTheBuilder, stranger: str
) -> None:
    product = emu.cloud.builder.add_product("Theirs", account_id="another account")
    emu.cloud.register_device(DEVICE, product=product)
    assert (await builder("device/get", {"id": DEVICE}, token=stranger)).json["accountId"] == "another account"
    reply = await builder("device/get", {"id": DEVICE})
    assert (reply.status, reply.text) == UNKNOWN


# Metrics

ITEM = {"namespace": "Embedthis/Cloud", "metric": "calls", "statistic": "sum", "period": 300, "accumulate": True}


async def fetch(builder: AtTheBuilder, *items: object, token: str | None = None) -> Any:
    reply = await builder("metric/fetch", {"items": [*items]}, token=token)
    assert reply.status == 200
    return reply.json["data"]


async def test_metrics_come_in_a_page(builder: AtTheBuilder) -> None:
    assert (await builder("metric/fetch", {"items": []})).json == {"data": [], "paged": True}


async def test_metrics_come_in_a_list_for_each_item(emu: Emulator, builder: AtTheBuilder) -> None:
    emu.cloud.clock = lambda: 1706061837.0
    for value, cloud in ((1, "a"), (2, "b")):
        emu.cloud.builder.add_sample("calls", value, [{}, {"Cloud": cloud}])
    (every,), (one,), several = await fetch(
        builder, ITEM | {"id": "x"}, ITEM | {"dimensions": {"Cloud": "b"}}, ITEM | {"multiple": True}
    )
    assert (every["points"][0]["value"], every["id"], every["owner"]) == (3, "x", emu.cloud.builder.account_id)
    assert one["points"][0]["value"] == 2
    assert sorted(metric["points"][0]["value"] for metric in several) == [1, 2, 3]


@each_row_after_reset("accumulate", [True, False])
async def test_points_are_dated_in_milliseconds(emu: Emulator, builder: AtTheBuilder, accumulate: bool) -> None:
    emu.cloud.clock = lambda: 1706061837.0
    emu.cloud.builder.add_sample("calls", 1)
    ((metric,),) = await fetch(builder, ITEM | {"accumulate": accumulate})
    assert metric["points"]
    for point in metric["points"]:
        assert abs(point["timestamp"] - 1706061837000) <= 300_000


@each_row_after_reset(
    "item, error",
    [
        (1, "An item must be an object"),
        ({"metric": "calls", "statistic": "sum"}, "Missing namespace"),
        (ITEM | {"period": "x"}, "period has the wrong type"),
        (ITEM | {"cloudId": "nowhere"}, "Cannot find cloud"),
        (ITEM | {"cloudId": []}, "cloudId has the wrong type"),
        (ITEM | {"statistic": "most"}, "statistic 'most' is unknown"),
        (ITEM | {"model": "Store", "field": "value"}, "model needs a device cloud"),
    ],
)
async def test_an_item_that_cannot_be_answered_says_why(builder: AtTheBuilder, item: object, error: str) -> None:
    (bad,), (good,) = await fetch(builder, item, ITEM)
    assert bad["error"] == error
    assert "error" not in good


async def test_each_account_of_the_builder_has_its_own_metrics(
    emu: Emulator, builder: AtTheBuilder, stranger: str
) -> None:
    emu.cloud.builder.add_sample("calls", 1)
    emu.cloud.builder.add_sample("calls", 5, account_id="another account")
    assert (await fetch(builder, ITEM))[0][0]["points"][0]["value"] == 1
    assert (await fetch(builder, ITEM, token=stranger))[0][0]["points"][0]["value"] == 5


# Tests


@each_row_after_reset("path", ["/api/tok", "/api"])
async def test_anybody_may_try_the_builder(post: Post, path: str) -> None:
    reply = await post(f"{path}/test/echo", {"a": [1, {"b": None}]}, token="")
    assert reply.json == {"a": [1, {"b": None}]}
    for name in ("empty", "success"):
        reply = await post(f"{path}/test/{name}", {"a": 1}, token="")
        assert (reply.status, json.loads(reply.text)) == (200, {})


async def test_the_exception_is_an_answer_and_no_defect(
    builder: AtTheBuilder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "ioto_async.emulator"):
        reply = await builder("test/exception")
    assert (reply.status, reply.text) == (500, "Service error")
    assert caplog.records == []


async def test_there_is_no_other_operation_of_the_builder(post: Post, emu: Emulator) -> None:
    for path in ("/api/tok/device/register", "/api/tok/user/get", "/api/test/ping"):
        reply = await post(path, {}, token=emu.cloud.builder.token)
        assert (reply.status, reply.text) == (400, "Unknown action")
