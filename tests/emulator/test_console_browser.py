"""The console in a real browser; skipped where there is no Chromium."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from ioto_async.emulator import Emulator, Fault
from tests.rows import each_row

from .chromium import BROWSER, Page, chromium
from .conftest import Post
from .mqtt_devices import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")]

DEVICE = "DEV0000001"
IMAGE = "<img src=x onerror='window.pwned=1'>"
VIEWS = ("devices", f"devices/{DEVICE}", "requests", "database", "faults", "cloud")
CONNECTION = "document.getElementById('connection').textContent"


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with chromium(tmp_path / "profile") as page:
        yield page
        assert page.problems == []


async def shown(page: Page, emu: Emulator, view: str, width: int = 1280, *, dark: bool = False) -> None:
    """Open a view and wait until it is there."""
    await page.open("about:blank")
    await page.open(f"{emu.console}#/{view}", width, dark=dark)
    await page.until(CONNECTION, "Live")


async def rows(page: Page, table: str) -> int:
    return int(await page.run(f"document.querySelectorAll('#{table} tbody tr').length"))


# What it shows and does -----------------------------------------------------------------------------------------------


async def test_a_device_is_claimed_and_released(emu: Emulator, page: Page) -> None:
    await shown(page, emu, "devices")
    await page.sees("No devices yet")
    emu.seed(2)
    await page.sees(DEVICE)
    assert await rows(page, "device-table") == 2
    await page.click(f"[aria-label='Claim {DEVICE}']")
    await page.sees("Claimed", "#device-table tbody tr")
    assert (emu.cloud.device(DEVICE) or {})["accountId"] == emu.account_id
    await page.click(f"[aria-label='Release {DEVICE}']")
    await page.sees("Release this device?")
    await page.key("Escape")
    await page.until("document.getElementById('ask').open", False)
    assert emu.cloud.device(DEVICE)
    await page.click(f"[aria-label='Release {DEVICE}']")
    await page.click("#ask-yes")
    await page.sees("Registered", "#device-table tbody tr")
    assert emu.cloud.device(DEVICE) is None


async def test_it_works_with_the_keyboard_alone(emu: Emulator, page: Page) -> None:
    emu.seed(1)
    await shown(page, emu, "devices")
    await page.until("document.querySelectorAll('#device-table tbody tr').length", 1)
    focused = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"
    seen: list[str] = []
    while (seen[-1:] or [""])[0] != f"Claim {DEVICE}":
        await page.key("Tab")
        seen.append(str(await page.run(focused)))
        assert len(seen) < 40, seen
        outline = await page.run("getComputedStyle(document.activeElement).outlineStyle")
        hidden = await page.run("document.activeElement.type === 'radio'")  # its label has the outline
        assert outline != "none" or hidden, seen
    assert seen[0] == "Skip to content"
    assert DEVICE in seen
    await page.key("Enter")
    await page.sees("Claimed", "#device-table tbody")
    # The row was made anew, and the focus is where it was.
    await page.until(focused, f"Release {DEVICE}")
    await page.key("Enter")
    await page.until("document.getElementById('ask').open")
    await page.key("Tab")
    await page.key("Enter")
    await page.sees("Registered", "#device-table tbody")


async def test_of_ten_thousand_devices_a_page_is_shown(emu: Emulator, page: Page) -> None:
    emu.seed(10_000)
    await shown(page, emu, "devices")
    await page.sees("50 of 10,000")
    assert await rows(page, "device-table") == 50
    await page.click("#device-pager button:last-child")
    await page.sees("100 of 10,000")
    await page.sees("DEV0000051")
    await page.run("document.getElementById('device-text').focus()")
    await page.type("dev0009")
    await page.sees("50 of 1,000")
    await page.sees("DEV0009000")
    await page.type("999")
    await page.sees("1 of 1")
    await page.type("9")
    await page.sees("No device fits")
    assert await page.run("document.querySelectorAll('*').length") < 1500


async def test_requests_appear_with_what_was_injected(emu: Emulator, post: Post, page: Page) -> None:
    await shown(page, emu, "requests")
    await page.sees("No requests yet")
    await page.sees(emu.api)
    emu.faults.add(Fault("device/get", status=503, headers={"Retry-After": "1"}))
    await post("/tok/device/get", {"id": DEVICE})
    await post("/tok/device/find", {"productId": emu.product_token})
    await page.sees("Answers with 503, Retry-After: 1", "#request-table")
    await page.until("document.querySelector('#request-table tbody button').textContent", "device/find")
    await page.click("#request-table tbody button")
    await page.sees("POST /tok/device/find", "#details")
    text = await page.text("#details")
    assert "•••" in text
    assert emu.product_token not in text
    await page.key("Escape")
    await page.click("input[value=fault] + span")
    await page.until("document.querySelectorAll('#request-table tbody tr').length", 1)
    await page.click("input[name=kind][value=''] + span")
    await page.click("#pause")
    await post("/tok/metric/getMetricList")
    await page.sees("1 more since the pause")
    assert "getMetricList" not in await page.text("#request-table")
    await page.click("#pause")
    await page.sees("getMetricList", "#request-table")
    await page.click("#clear")
    await page.sees("No requests yet")
    assert not emu.requests


async def test_faults_are_set_and_removed(emu: Emulator, page: Page) -> None:
    await shown(page, emu, "faults")
    await page.sees("No faults are set")
    await page.run("document.getElementById('fault-operation').focus()")
    await page.type("device/get")
    await page.until("document.querySelectorAll('#operations option').length > 50")
    await page.click("#fault-all")
    await page.click("#fault-form button.primary")
    await page.sees("Answers with 503", "#fault-list")
    assert emu.faults.left() == [Fault("device/get", status=503, times=None)]
    await page.run(
        "for (const [id, value] of [['fault-kind', 'delay'], ['fault-operation', '']]) {"
        "document.getElementById(id).value = value; document.getElementById(id).dispatchEvent(new Event('change')) }"
    )
    await page.click("#fault-form button.primary")
    await page.sees("Waits 2 s", "#fault-list")
    await page.click("[aria-label='Remove the fault: Answers with 503']")
    await page.until("document.querySelectorAll('#fault-list tr').length", 1)
    assert emu.faults.left() == [Fault(None, delay=2, times=None)]
    await page.click("#clear-faults")
    await page.sees("No faults are set")
    # What the cloud refuses is said beside the form.
    await page.run("document.getElementById('fault-form').noValidate = true")
    await page.run("document.getElementById('fault-delay').value = '-1'")
    await page.click("#fault-form button.primary")
    await page.sees("faults: fault.delay: expected seconds, 0 or more, got -1", "#fault-form")


async def test_time_passes_devices_are_added_and_all_is_reset(emu: Emulator, page: Page) -> None:
    await shown(page, emu, "cloud")
    await page.click("#quick button:nth-child(4)")
    await page.sees("+31 d", "#ahead")
    assert emu.cloud.clock.ahead == 31 * 86400
    await page.click("#time-form button.primary")
    await page.sees("+32 d", "#ahead")
    await page.click("#seed-claim")
    await page.click("#seed-form button.primary")
    await page.until("document.getElementById('count-devices').textContent", "5")
    assert emu.cloud.devices.count() == 5
    await page.click("#reset")
    await page.click("#ask-yes")
    await page.until("document.getElementById('ahead').hidden")
    assert (emu.cloud.clock.ahead, emu.status()["registered"]) == (0, 0)


async def test_one_of_several_clouds_is_chosen(page: Page) -> None:
    async with Emulator(clouds=2, mqtt=False) as emu:
        emu.seed(1, claim=True, cloud=2)
        await shown(page, emu, "devices")
        await page.sees("No devices yet")
        await page.run(
            "document.getElementById('clouds').value = '2';"
            "document.getElementById('clouds').dispatchEvent(new Event('change'))"
        )
        await page.sees(DEVICE)
        await page.click("a[href='#/cloud']")
        await page.sees(emu.clouds[1].api, "#cloud-facts")
        # It is remembered, and at first the one whose server the page is from.
        await page.open(f"{emu.console}?again#/cloud")
        await page.sees(emu.clouds[1].api, "#cloud-facts")
        await page.open(f"{emu.clouds[1].api}/_emulator/#/devices")
        await page.sees(DEVICE)


class TestDevice:
    @pytest.fixture
    def mqtt(self) -> bool:
        return True

    async def test_a_device_shows_its_presence_metrics_items_and_commands(
        self, emu: Emulator, post: Post, page: Page, tmp_path: Path
    ) -> None:
        device = await Fleet(emu, post, tmp_path)()
        await shown(page, emu, f"devices/{DEVICE}")
        await page.sees("Offline")
        await page.sees("No metrics yet")
        async with device.client() as client:
            await page.sees("Online")
            sample = {"metric": "heat", "value": 21.5, "dimensions": [{"Device": DEVICE}]}
            await client.publish(device.topic("metric/set"), json.dumps(sample), qos=1)
            value = {"key": "speed", "value": 1450, "type": "number"}
            await client.publish(device.topic("store/set"), json.dumps(value), qos=1)
            await page.sees("21.5", "#charts figure")
            assert (
                await page.run("document.querySelector('#charts svg').getAttribute('aria-label')")
                == "heat: 1 values, the newest 21.5"
            )
            await page.sees("1450", "#own-items")
            await page.sees("mqtt/store/set", "#own-activity")
            await page.click("#command")
            await page.click("#command-name")
            await page.type("reboot")
            await page.run("document.getElementById('command-args').value = '{in: 5}'")
            await page.click("#command-dialog button.primary")
            await page.sees("The arguments are not valid JSON", "#command-dialog")
            await page.run("document.getElementById('command-args').value = '{\"in\": 5}'")
            await page.click("#command-dialog button.primary")
            await page.sees("reboot", "#own-items")
            assert not await page.run("document.getElementById('command-dialog').open")
        (command,) = emu.cloud.models.all("Command")
        assert (command["deviceId"], command["command"], command["args"]) == (DEVICE, "reboot", {"in": 5})
        await page.sees("Offline")


# Hostile surroundings -------------------------------------------------------------------------------------------------


async def test_what_devices_and_users_have_chosen_is_text(emu: Emulator, post: Post, page: Page) -> None:
    product = emu.cloud.builder.add_product(IMAGE)
    emu.cloud.register_device(DEVICE, product=product, version=IMAGE, **{IMAGE: IMAGE})
    emu.cloud.claim_device(DEVICE)
    engine = emu.cloud.metrics.engine(emu.account_id)
    engine.emit(IMAGE, IMAGE, 1, [{"Device": DEVICE, IMAGE: IMAGE}], timestamp=emu.cloud.now())
    item = {"_type": "Store", "accountId": emu.account_id, "deviceId": DEVICE, "key": IMAGE, "type": "string"}
    assert (await post("/tok/generic/create", {**item, "value": IMAGE})).status == 200
    emu.faults.add(Fault("device/get", status=500, body=IMAGE, headers={"X-A": IMAGE}))
    await post(f"/tok/device/get?q={IMAGE}", {IMAGE: IMAGE, "id": DEVICE})
    await post(f"/{IMAGE}", {"id": DEVICE})
    emu.faults.add(Fault(IMAGE, status=500, body=IMAGE))
    for view in VIEWS:
        await shown(page, emu, view)
        if view != "cloud":
            await page.sees(IMAGE, "#main")
        for selector in ("#request-table tbody button", "#item-table tbody button"):
            if await page.run(f"Boolean(document.querySelector('{selector}')?.checkVisibility())"):
                await page.click(selector)
                await page.sees("onerror", "#details")
                await page.key("Escape")
        assert await page.run("document.images.length") == 0
        assert await page.run("window.pwned") is None


async def test_a_device_that_is_none_says_so(emu: Emulator, page: Page) -> None:
    await shown(page, emu, "devices/%3Cimg%20src=x%20onerror=alert(1)%3E")
    await page.sees("There is no such device")
    assert await page.text("#device-title") == "<img src=x onerror=alert(1)>"
    await shown(page, emu, "devices/%E0%A4%A")
    await page.sees("There is no such device")


ATTACK = """<!doctype html><iframe src="{control}/"></iframe><form method=post enctype="text/plain" target=frame
action="{control}/reset"><input name=a></form><iframe name=frame></iframe><script>
async function main() {
  const tried = []
  for (const options of [{}, {mode: 'no-cors'}, {method: 'POST'}, {method: 'POST', mode: 'no-cors'}]) {
    for (const name of ['activity', 'info', 'reset', '']) {
      try {
        const reply = await fetch('{control}/' + name, options)
        tried.push(await reply.text())
      } catch { tried.push('') }
    }
  }
  document.forms[0].submit()
  for (let left = 20; left; left--) {
    tried.push(await new Promise(resolve => {
      const source = new EventSource('{control}/activity')
      source.onerror = () => { source.close(); resolve('') }
    }))
  }
  return tried
}
main().then(tried => { window.tried = tried })
</script>"""


async def test_another_page_reads_and_does_nothing(emu: Emulator, page: Page) -> None:
    emu.seed(3)

    async def serve(request: web.BaseRequest) -> web.Response:
        return web.Response(text=ATTACK.replace("{control}", emu.control), content_type="text/html")

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        for host in ("127.0.0.1", "localhost"):
            await page.open(f"http://{host}:{runner.addresses[0][1]}/")
            await page.until("Array.isArray(window.tried)")
            assert set(await page.run("window.tried")) == {""}
        assert emu.status()["registered"] == 3
    finally:
        await runner.cleanup()
    page.problems.clear()  # the browser says what it has blocked


async def test_under_a_name_of_the_web_it_shows_nothing(emu: Emulator, page: Page) -> None:
    emu.seed(3)
    port = emu.api.rpartition(":")[2]
    await page.open(f"http://rebound.localhost:{port}/_emulator/")
    await page.sees("This page needs a token")
    reply = await page.run("fetch('reset', {method: 'POST'}).then(reply => reply.status)")
    assert (reply, emu.status()["registered"]) == (403, 3)


async def test_from_elsewhere_it_asks_for_the_token(emu: Emulator, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    emu.seed(1)
    monkeypatch.setattr("aiohttp.web_request.BaseRequest.remote", "192.0.2.1")
    await page.open(f"{emu.console}#/devices")
    await page.sees("This page needs a token")
    await page.click("#token")
    await page.type("wrong")
    await page.key("Enter")
    await page.sees("The token is not right.")
    await page.type(emu.control_token)
    await page.key("Enter")
    await page.sees(DEVICE, "#device-table")
    assert emu.control_token not in await page.run("document.documentElement.outerHTML")
    await page.open(f"{emu.console}?again#/devices")
    await page.sees(DEVICE, "#device-table")


async def test_it_survives_a_restart_of_the_cloud(page: Page, tmp_path: Path) -> None:
    options = {"db": tmp_path / "cloud.db", "mqtt": False}
    async with Emulator(**options) as emu, aiohttp.ClientSession() as session:  # type: ignore[arg-type]
        port = int(emu.api.rpartition(":")[2])
        emu.seed(2)
        await Post(emu, session)("/tok/device/find")
        await shown(page, emu, "requests")
        await page.sees("device/find", "#request-table")
    await page.until(CONNECTION, "Disconnected")
    await page.sees("Disconnected: the cloud cannot be reached.", "#banner")
    assert "device/find" in await page.text("#request-table")
    async with Emulator(**options, port=port) as emu:  # type: ignore[arg-type]
        await page.until(CONNECTION, "Live")
        await page.sees("No requests yet")
        assert await page.run("document.getElementById('banner').hidden")
        await page.click("a[href='#/devices']")
        await page.sees("DEV0000002")


# How it looks ---------------------------------------------------------------------------------------------------------


@each_row("width", [1280, 400, 320])
async def test_it_never_scrolls_sideways(emu: Emulator, post: Post, page: Page, width: int) -> None:
    long = "X" * 64
    emu.cloud.reset()
    emu.seed([{"id": DEVICE}, {"id": long, "version": "1.2.3-" + "x" * 200}], claim=True)
    engine = emu.cloud.metrics.engine(emu.account_id)
    for value in (-1e15, 0.5, 9e15):
        for device in (DEVICE, long):
            engine.emit("N" * 90, "m" * 90, value, [{"Device": device, "Very": "long" * 40}], timestamp=emu.cloud.now())
    item = {"_type": "Store", "accountId": emu.account_id, "deviceId": long, "key": "k" * 200, "type": "object"}
    await post("/tok/generic/create", {**item, "value": {"text": "v" * 900}})
    emu.faults.add(Fault("o" * 90, status=500, body="b" * 300))
    await post("/tok/" + "p" * 300, {"id": DEVICE})
    for view in (*VIEWS, f"devices/{long}"):
        await shown(page, emu, view, width)
        await page.until("!document.querySelector('main > section:not([hidden])').matches('#locked')")
        assert await page.run("document.documentElement.scrollWidth <= innerWidth"), view


ROLES = ("button", "link", "textbox", "searchbox", "combobox", "spinbutton", "checkbox", "radio", "img")


async def test_everything_that_can_be_used_has_a_name(emu: Emulator, post: Post, page: Page) -> None:
    emu.seed(2, claim=True)
    emu.faults.add(Fault(status=500))
    await post("/tok/device/get", {"id": DEVICE})
    for view in VIEWS:
        await shown(page, emu, view)
        tree = (await page.send("Accessibility.getFullAXTree"))["nodes"]
        roles = (
            "button",
            "link",
            "textbox",
            "searchbox",
            "combobox",
            "spinbutton",
            "checkbox",
            "radio",
            "img",
            "table",
        )
        found = [node for node in tree if node.get("role", {}).get("value") in roles and not node["ignored"]]
        assert len(found) > 5
        unnamed = [node for node in found if node["role"]["value"] != "table" and not node["name"]["value"].strip()]
        assert unnamed == [], view


def luminance(color: str) -> float:
    """The relative luminance of rgb(…), as WCAG has it."""
    parts = [int(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


CONTRASTS = """
[...document.querySelectorAll('body *')].filter(
  element => element.checkVisibility() && element.matches(':not(option, svg *, .vh, .vh *, :disabled)')
    && [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())
).map(element => {
  const color = of => getComputedStyle(of).backgroundColor
  let behind = element
  while (color(behind) === 'rgba(0, 0, 0, 0)' && behind.parentElement) behind = behind.parentElement
  return [element.textContent.trim().slice(0, 40), getComputedStyle(element).color, color(behind)]
})"""


@each_row("dark", [False, True])
async def test_text_stands_out_in_light_and_dark(emu: Emulator, post: Post, page: Page, dark: bool) -> None:
    emu.cloud.reset()
    emu.seed(2)
    emu.cloud.claim_device(DEVICE)
    emu.faults.add(Fault("device/get", status=503))
    emu.faults.add(Fault("device/find", delay=0.001))
    emu.faults.add(Fault(reset="after"))
    await post("/tok/device/find")
    with suppress(aiohttp.ClientError):
        await post("/tok/nothing")
    emu.faults.add(Fault("device/find", status=500))
    for view in VIEWS:
        await shown(page, emu, view, dark=dark)
        found = await page.run(CONTRASTS)
        assert len(found) > 10
        for text, color, background in found:
            light, other = sorted((luminance(color), luminance(background)), reverse=True)
            assert (light + 0.05) / (other + 0.05) >= 4.5, (view, text, color, background)
    page_itself = await page.run("getComputedStyle(document.documentElement).backgroundColor")
    assert (luminance(page_itself) < 0.1) is dark
