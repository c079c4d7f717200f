"""Drives a headless Chromium over its debugging protocol, as people would: keys, clicks, what a page shows."""

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.rawserver import GUARD

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0")


class Page:
    """A page; ``problems`` are the errors that it has shown in its console, and what its policy has blocked."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self.problems: list[str] = []

    async def receive(self) -> None:
        """Receive replies and events until the connection ends."""
        async for message in self._socket:
            event = json.loads(message.data)
            if "id" in event:
                self._replies.pop(event["id"]).set_result(event)
            elif event["method"] == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(event["params"]["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["source"] != "network":
                self.problems.append(event["params"]["entry"]["text"])

    async def send(self, method: str, **params: object) -> Any:
        """Carry out a method of the protocol."""
        number = next(self._numbers)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(GUARD):
            event = await reply
        assert "error" not in event, (method, event["error"])
        return event["result"]

    async def run(self, script: str) -> Any:
        """Return what an expression of JavaScript gives."""
        result = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, (script, result["exceptionDetails"])
        return result["result"].get("value")

    async def open(self, url: str, width: int = 1280, *, dark: bool = False, height: int = 900) -> None:
        """Show *url* in a window of this size, in light or dark."""
        await self.size(width, height)
        await self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        await self.send("Page.navigate", url=url)

    async def size(self, width: int, height: int = 900) -> None:
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def until(self, script: str, wanted: object = True) -> Any:
        """Wait until an expression gives what is *wanted*; None and undefined are not True."""
        found = None
        try:
            async with asyncio.timeout(GUARD):
                while (found := await self.run(f"(() => {{ try {{ return {script} }} catch {{}} }})()")) != wanted:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{script} is {found!r}, not {wanted!r}: {await self.text()}") from None
        return found

    async def text(self, selector: str = "body") -> str:
        """Return what people read there."""
        return str(await self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def sees(self, text: str, selector: str = "body") -> None:
        """Wait until *text* is to be read there."""
        place = json.dumps(selector)
        await self.until(f"document.querySelector({place}).innerText.includes({json.dumps(text)})")

    async def click(self, selector: str) -> None:
        """Click in the middle of the first element that fits, once it is there."""
        place = json.dumps(selector)
        await self.until(
            f"document.querySelector({place}).checkVisibility() && !document.querySelector({place}).disabled"
        )
        box = await self.run(
            f"(e => (e.scrollIntoView({{block: 'center'}}), e.getBoundingClientRect().toJSON()))"
            f"(document.querySelector({place}))"
        )
        where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.send("Input.insertText", text=text)

    async def key(self, name: str, *, shift: bool = False) -> None:
        """Press a key such as Tab."""
        code, text = _KEYS[name]
        keys: Mapping[str, object] = {"key": name, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        await self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **keys)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **keys)

    async def picture(self, path: Path) -> None:
        """Write what is shown as a PNG file, all of the page's height."""
        result = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(result["data"]))


_KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " "), "Escape": (27, "")}


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Page]:
    """A browser with one empty page, until the end of the block."""
    child = await asyncio.create_subprocess_exec(
        str(BROWSER),
        *_OPTIONS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stderr is not None
    try:
        async with aiohttp.ClientSession() as session:
            url = await _page_url(child.stderr, session)
            draining = asyncio.create_task(child.stderr.read())
            async with session.ws_connect(url, max_msg_size=0) as socket:
                page = Page(socket)
                receiving = asyncio.create_task(page.receive())
                for domain in ("Page", "Runtime", "Log"):
                    await page.send(f"{domain}.enable")
                yield page
            await receiving
        draining.cancel()
    finally:
        if child.returncode is None:
            child.terminate()
        async with asyncio.timeout(GUARD):
            await child.wait()


async def _page_url(stderr: asyncio.StreamReader, session: aiohttp.ClientSession) -> str:
    """The URL of the page's debugging protocol; Chromium says on stderr where it listens."""
    async with asyncio.timeout(GUARD):
        while not (line := (await stderr.readline()).decode()).startswith("DevTools listening on "):
            assert line, "Chromium has ended"
        base = "http://" + line.split("/")[2]
        while True:
            async with session.get(base + "/json/list") as reply:
                for target in json.loads(await reply.text()):
                    if target["type"] == "page":
                        return str(target["webSocketDebuggerUrl"])
