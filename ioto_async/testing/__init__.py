"""The pytest plugin: an embedded device cloud, and a client of it, for tests of code that uses Ioto; and mocks.

::

    async def test_claims(ioto_client, ioto_emulator):
        ioto_emulator.cloud.register_device("M72DANY8BZ")
        assert (await ioto_client.device.claim("M72DANY8BZ")).id == "M72DANY8BZ"

Many devices at once: `ioto_fleet`. Devices that are connected over MQTT: `ioto_link`.

Against a cassette, which is recorded once and then played: `ioto_cassette`.

Without a cloud: `mock_client` and `canned_pages`; with canned replies of HTTP: `aioresponses`, if that is installed.

pytest loads this module in every run, so it imports nothing that a run without these fixtures would wait for. The
cloud needs the extra ``emulator``; client and links need pytest-asyncio, or the plugin of anyio.
"""

import zlib
from typing import TYPE_CHECKING, Final

import pytest

from .._lazy import lazy_names
from . import loops

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..client import IotoClient
    from ..emulator import EmulatorThread
    from ..transport.cassette import Cassette
    from .devices import FleetFactory, LinkFactory
    from .mocks import canned_pages, mock_client
    from .responses import aioresponses

__all__ = [
    "FleetFactory",
    "LinkFactory",
    "aioresponses",
    "canned_pages",
    "ioto_cassette",
    "ioto_client",
    "ioto_emulator",
    "ioto_fleet",
    "ioto_link",
    "mock_client",
]

_MODES: Final = ("none", "once", "new_episodes", "all")
_OPTION: Final = "--ioto-record"
_LONGEST: Final = 120
"""Characters of a test's name that are in that of its cassette."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for what `ioto_cassette` does."""
    parser.getgroup("ioto").addoption(
        _OPTION,
        choices=_MODES,
        default="none",
        help="what ioto_cassette does: play (none, the default), record what has no cassette (once), record what is "
        "missing in it (new_episodes), or record all anew",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Add the fixtures of the event loops, and the marker for the options of a cassette."""
    config.pluginmanager.register(loops)
    config.addinivalue_line(
        "markers", "ioto_cassette(order=…, mask=…, ignore=…): options of the Cassette of the fixture ioto_cassette"
    )


@pytest.fixture(scope="session")
def _ioto_emulator_thread() -> "Iterator[EmulatorThread]":
    try:
        from ..emulator import EmulatorThread
    except ModuleNotFoundError as error:
        from .._install import install_command

        pytest.fail(f"{error}: {install_command('emulator')}", pytrace=False)
    with EmulatorThread() as emulator:
        yield emulator


@pytest.fixture
def ioto_emulator(_ioto_emulator_thread: "EmulatorThread") -> "EmulatorThread":
    """An embedded device cloud with nothing in it but its tokens; one server for all tests, begun anew for each."""
    _ioto_emulator_thread.reset()
    return _ioto_emulator_thread


@pytest.fixture
def ioto_cassette(request: pytest.FixtureRequest) -> "Cassette":
    """The `Cassette` of a test, for ``IotoClient(cassette=ioto_cassette)``; what it does says ``--ioto-record``.

    It is in the folder ``cassettes`` beside the module of the test: ``cassettes/test_fleet/test_claims.cassette``.
    """
    from ..transport.cassette import Cassette

    folder = request.path.parent / "cassettes" / request.path.stem
    name = request.node.name if request.cls is None else f"{request.cls.__name__}.{request.node.name}"
    file = "".join(char if char.isalnum() or char in "-_.[]" else "_" for char in name)
    if file != name or len(file) > _LONGEST:  # another test may have the same one
        file = f"{file[:_LONGEST]}-{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"
    marker = request.node.get_closest_marker("ioto_cassette")
    options = {} if marker is None else dict(marker.kwargs)
    mode = request.config.getoption(_OPTION)
    path = folder / f"{file}.cassette"
    if mode == "none" and not path.exists():
        pytest.fail(f"there is no cassette {path}: run the test with {_OPTION}=once to record it", pytrace=False)
    return Cassette(path, mode, **options)


@pytest.fixture
def ioto_client(request: pytest.FixtureRequest, ioto_emulator: "EmulatorThread") -> "IotoClient":
    """A client of `ioto_emulator` with its CloudAPI token and account; it belongs to the event loop of the test."""
    from ..client import IotoClient

    stack = loops.exit_stack(request)
    client = IotoClient.from_env(ioto_emulator.env)
    stack.push_async_callback(client.aclose)
    return client


@pytest.fixture
def ioto_fleet(ioto_emulator: "EmulatorThread") -> "FleetFactory":
    """Make devices in `ioto_emulator`: calling it with 10 returns the claim IDs of ten devices, which are claimed."""
    from .devices import FleetFactory

    return FleetFactory(ioto_emulator)


@pytest.fixture
def ioto_link(
    request: pytest.FixtureRequest, ioto_emulator: "EmulatorThread", ioto_fleet: "FleetFactory"
) -> "LinkFactory":
    """Connect devices to `ioto_emulator` over MQTT: awaiting its call with a claim ID returns the `DeviceLink`."""
    from .devices import LinkFactory

    return LinkFactory(ioto_emulator, ioto_fleet, loops.exit_stack(request))


if not TYPE_CHECKING:
    _HOMES: Final = {
        "devices": "FleetFactory LinkFactory",
        "mocks": "canned_pages mock_client",
        "responses": "aioresponses",
    }
    __getattr__ = lazy_names(__name__, _HOMES)
