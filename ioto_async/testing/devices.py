"""Devices of an emulator: a fleet of them, and links of those that are online."""

import itertools
from contextlib import AsyncExitStack
from typing import Unpack

from ..emulator import EmulatorThread
from ..emulator.state.provisioning import certificates
from ..errors import InvalidArgumentError
from ..models import Certificates
from ..mqtt import DeviceLink, LinkOptions

__all__ = ["FleetFactory", "LinkFactory"]


class FleetFactory:
    """What the fixture ``ioto_fleet`` is: ``ioto_fleet(10)`` makes ten devices and returns their claim IDs.

    Args:
        emulator: where they are made.
    """

    def __init__(self, emulator: EmulatorThread) -> None:
        self._emulator = emulator
        self._numbers = itertools.count(1)

    def __call__(self, count: int, *, claim: bool = True, **properties: object) -> list[str]:
        """Make devices that were not there before.

        Args:
            count: how many.
            claim: whether to claim them, for the account of the cloud; else they are registered, and can be claimed.
            properties: what is known of each: ``account_id`` to claim them for another account, the ``product`` token,
                the ``version`` of their firmware, and all else that a device tells of itself.

        Returns:
            Their claim IDs: ``DEV0000001`` and so on.

        Raises:
            InvalidArgumentError: *count* is not a number of devices, or *properties* has an ``id``.
            Refused: there is no such account or product.
        """
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise InvalidArgumentError(f"count: expected a whole number of devices, 0 or more, got {count!r}")
        if "id" in properties:
            raise InvalidArgumentError(
                f"id: the fleet chooses its IDs, got {properties['id']!r}; use ioto_emulator.seed for your own"
            )
        cloud = self._emulator.cloud
        with cloud.lock:
            candidates = (f"DEV{number:07d}" for number in self._numbers)
            ids = itertools.islice((id for id in candidates if cloud.builder.registry.load(id) is None), count)
            return self._emulator.seed(({**properties, "id": id} for id in ids), claim=claim)


class LinkFactory:
    """What the fixture ``ioto_link`` is: ``await ioto_link("M72DANY8BZ")`` connects that device over MQTT.

    Args:
        emulator: the cloud that it connects to.
        fleet: makes the devices for links without an ID.
        stack: closes the links.
    """

    def __init__(self, emulator: EmulatorThread, fleet: FleetFactory, stack: AsyncExitStack) -> None:
        self._emulator = emulator
        self._fleet = fleet
        self._stack = stack

    async def __call__(self, device_id: str | None = None, **options: Unpack[LinkOptions]) -> DeviceLink:
        """Connect a device, and keep it connected until the test ends or calls ``aclose``.

        It is registered, claimed and provisioned unless it is already. None of this counts as a request: it is not in
        ``ioto_emulator.requests``, and takes no fault.

        Args:
            device_id: claim ID; None for a new device.
            options: as for a `DeviceLink`.

        Raises:
            AuthenticationError: a fault or the emulator turns the device away.
            ConnectionFailedError: there was no connection in time.
            InvalidArgumentError: an option does not fit.
            Refused: *device_id* cannot be a claim ID.
        """
        cloud = self._emulator.cloud
        if device_id is None:
            [device_id] = self._fleet(1)
        else:
            self._emulator.seed([{"id": device_id}], claim=True)
        with cloud.lock:
            known = certificates(cloud, cloud.devices.claimed(device_id, None))
        link = DeviceLink(
            Certificates(
                account_id=known["accountId"],
                certificate=known["certificate"],
                endpoint=known["endpoint"],
                id=known["id"],
                key=known["key"],
                port=known["port"],
            ),
            ca=self._emulator.ca,
            **options,
        )
        return await self._stack.enter_async_context(link)
