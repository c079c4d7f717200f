"""The fixtures of the pytest plugin that make devices, and the bodies that an emulator has received."""

import aiohttp
import pytest

from ioto_async import InvalidArgumentError, IotoClient
from ioto_async.emulator import EmulatorThread, Fault
from ioto_async.testing import FleetFactory, LinkFactory
from tests.rows import each_row


async def test_a_fleet_is_claimed_and_each_call_makes_more(ioto_client: IotoClient, ioto_fleet: FleetFactory) -> None:
    first, second = ioto_fleet(2, version="1.2.0"), ioto_fleet(1)
    assert [*first, *second] == ["DEV0000001", "DEV0000002", "DEV0000003"]
    devices = (await ioto_client.device.find()).items
    assert [(device.id, device.version) for device in devices] == [*((id, "1.2.0") for id in first), (*second, None)]


async def test_a_fleet_that_is_registered_alone_can_be_claimed(
    ioto_client: IotoClient, ioto_fleet: FleetFactory, ioto_emulator: EmulatorThread
) -> None:
    ids = ioto_fleet(2, claim=False)
    assert (await ioto_client.device.find()).items == []
    assert [(await ioto_client.device.claim(id)).id for id in ids] == ids
    assert [body["id"] for body in ioto_emulator.bodies("device/claim")] == ids


def test_a_fleet_takes_no_device_that_is_there_already(ioto_fleet: FleetFactory, ioto_emulator: EmulatorThread) -> None:
    ioto_emulator.cloud.register_device("DEV0000002")
    assert ioto_fleet(2) == ["DEV0000001", "DEV0000003"]
    assert ioto_emulator.cloud.device("DEV0000002") is None


def test_a_fleet_can_be_anothers(ioto_fleet: FleetFactory, ioto_emulator: EmulatorThread) -> None:
    account_id = ioto_emulator.cloud.add_account("Other", "other@example.com")
    [id] = ioto_fleet(1, account_id=account_id)
    assert ioto_emulator.cloud.device(id, account_id) is not None


@each_row(
    "count, properties, message",
    [
        (-1, {}, "count: expected a whole number of devices, 0 or more, got -1"),
        (True, {}, "count: expected a whole number of devices, 0 or more, got True"),
        ("3", {}, "count: expected a whole number of devices, 0 or more, got '3'"),
        (
            1,
            {"id": "M72DANY8BZ"},
            "id: the fleet chooses its IDs, got 'M72DANY8BZ'; use ioto_emulator.seed for your own",
        ),
    ],
)
def test_what_is_no_fleet_is_refused(
    ioto_fleet: FleetFactory, count: int, properties: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        ioto_fleet(count, **properties)  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize("known", ["nothing", "registered", "claimed"])
async def test_a_link_is_that_of_a_device_which_is_online(
    known: str, ioto_link: LinkFactory, ioto_client: IotoClient, ioto_emulator: EmulatorThread
) -> None:
    if known != "nothing":
        ioto_emulator.seed([{"id": "M72DANY8BZ"}], claim=known == "claimed")
    link = await ioto_link("M72DANY8BZ", window=1)
    assert (link.device_id, link.is_connected) == ("M72DANY8BZ", True)
    assert not ioto_emulator.requests
    [item] = (await ioto_client.generic.find("Device")).items
    assert (item["id"], item["connection"]) == ("M72DANY8BZ", "online")


async def test_a_link_without_an_id_is_that_of_a_new_device(ioto_link: LinkFactory, ioto_fleet: FleetFactory) -> None:
    ids = ioto_fleet(1)
    links = [await ioto_link(), await ioto_link(ids[0])]
    assert [link.device_id for link in links] == ["DEV0000002", "DEV0000001"]
    await links[0].aclose()
    assert [link.is_connected for link in links] == [False, True]


async def test_a_link_leaves_the_faults_of_a_test_to_it(
    ioto_link: LinkFactory, ioto_client: IotoClient, ioto_emulator: EmulatorThread
) -> None:
    ioto_emulator.faults.add(Fault("device/provision", status=503))
    await ioto_link("M72DANY8BZ")
    assert len(ioto_emulator.faults.left()) == 1
    assert (await ioto_client.device.provision("M72DANY8BZ")).id == "M72DANY8BZ"
    assert [request.status for request in ioto_emulator.requests] == [503, 200]


async def test_bodies_are_those_of_an_operation_in_their_order(
    ioto_link: LinkFactory, ioto_client: IotoClient, ioto_emulator: EmulatorThread
) -> None:
    link = await ioto_link("M72DANY8BZ")
    await link.set_metric("temperature", 21.5)
    await link.ping()
    await ioto_client.device.get("M72DANY8BZ")
    await ioto_client.call("device/get", {"id": "M72DANY8BZ"})
    sent = ioto_emulator.bodies("device/get")
    assert sent == [{"accountId": ioto_emulator.account_id, "id": "M72DANY8BZ"}, {"id": "M72DANY8BZ"}]
    assert [(body["metric"], body["value"]) for body in ioto_emulator.bodies("mqtt/metric/set")] == [
        ("temperature", 21.5)
    ]
    assert ioto_emulator.bodies("device/claim") == []


async def test_a_body_that_is_not_json_is_bytes(ioto_emulator: EmulatorThread) -> None:
    async with aiohttp.ClientSession(ioto_emulator.api) as session, session.post("/tok/device/get", data=b"\xff"):
        pass
    assert ioto_emulator.bodies("device/get") == [b"\xff"]


@each_row(
    "operation, message",
    [
        ("device/clam", "operation: 'device/clam' is not known; did you mean 'device/claim'?"),
        ("mqtt/metric/sett", "operation: 'mqtt/metric/sett' is not known; did you mean 'mqtt/metric/set'?"),
        ("", "operation: '' is not known"),
        (None, "operation: None is not known"),
    ],
)
def test_bodies_of_no_operation_are_refused(ioto_emulator: EmulatorThread, operation: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        ioto_emulator.bodies(operation)
    assert str(caught.value) == message
