"""Commands go through the proxy that the environment names."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ioto_async.cli import _run
from ioto_async.emulator import EmulatorThread
from tests.proxy import TestProxy
from tests.rawserver import GUARD

DEVICE = "M72DANY8BZ"


@pytest.fixture
def proxy() -> Iterator[TestProxy]:
    """In a thread of its own, as commands bring their loops."""
    proxy, ready, end = TestProxy(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        async with proxy:
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    assert ready.wait(GUARD)
    yield proxy
    loop.call_soon_threadsafe(end.set)
    thread.join()
    loop.close()


def test_calls_fleets_and_metrics_go_through_it(
    ioto_emulator: EmulatorThread,
    proxy: TestProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**ioto_emulator.env, "HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url}.items():
        monkeypatch.setenv(name, value)
    for id in (DEVICE, "DEV0000002"):
        ioto_emulator.cloud.register_device(id)
    fleet = tmp_path / "fleet.csv"
    fleet.write_text(f"id\n{DEVICE}\nDEV0000002\n")
    commands = {
        "/tok/device/claim": ["fleet", "claim", str(fleet)],
        "/tok/device/get": ["call", "device/get", f"id={DEVICE}"],
        "/tok/metric/fetch": ["metric", "get", DEVICE, "temperature"],
    }
    for path, command in commands.items():
        proxy.asked.clear()
        _run(command)
        assert any(path in line for line in proxy.asked), (command, proxy.asked)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    proxy.asked.clear()
    assert _run(["call", "device/get", f"id={DEVICE}"]) == 0
    assert proxy.asked == []
