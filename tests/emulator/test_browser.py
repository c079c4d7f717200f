"""A page in a real browser calls the embedded cloud; skipped where there is no Chromium."""

import asyncio
import json
import re
import shutil
from html import unescape
from pathlib import Path

import pytest
from aiohttp import web

from ioto_async.emulator import Emulator
from tests.rawserver import GUARD
from tests.rows import each_row

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")]

PAGE = """<!doctype html><pre></pre><script>
async function call(url, options) {
  const reply = await fetch(url, {credentials: 'include', ...options})
  return [reply.status, await reply.text()]
}
async function main() {
  const headers = {'Content-Type': 'application/json', Authorization: TOKEN}
  const found = await call(API + '/device/find', {method: 'POST', headers, body: '{}'})
  const refused = await call(API + '/device/get', {method: 'POST', headers, body: '{}'})
  const file = {command: 'put', filename: 'a.txt'}
  const signed = await call(API + '/file/getSignedUrl', {method: 'POST', headers, body: JSON.stringify(file)})
  const put = await call(JSON.parse(signed[1]), {method: 'PUT', body: 'text'})
  return {found, refused, put}
}
main().catch(error => String(error)).then(result => {
  document.querySelector('pre').textContent = JSON.stringify(result)
})
</script>"""


async def shown(emulator: Emulator, profile: Path) -> object:
    """What a page of this machine gets of the cloud."""
    page = PAGE.replace("TOKEN", json.dumps(emulator.login_token)).replace("API", json.dumps(emulator.api))

    async def serve(request: web.BaseRequest) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://localhost:{runner.addresses[0][1]}/"
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom"]
        child = await asyncio.create_subprocess_exec(
            str(BROWSER),
            *options,
            "--virtual-time-budget=20000",
            url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            stdout, _ = await asyncio.wait_for(child.communicate(), GUARD)
        finally:
            if child.returncode is None:
                child.kill()
    finally:
        await runner.cleanup()
    found = re.search("<pre>(.*)</pre>", stdout.decode())
    assert found is not None, stdout
    return json.loads(unescape(found[1]))


@each_row("local_origins", [True, False])
async def test_a_page_of_this_machine_calls_with_credentials_if_that_is_allowed(
    tmp_path: Path, local_origins: bool
) -> None:
    async with Emulator(local_origins=local_origins, mqtt=False) as emulator:
        result = await shown(emulator, tmp_path / str(local_origins))
        if not local_origins:
            assert result == "TypeError: Failed to fetch"
            return
        assert isinstance(result, dict)
        assert [result[name][0] for name in ("found", "refused", "put")] == [200, 400, 200]
        assert json.loads(result["found"][1])["data"] == []
        assert [request.method for request in emulator.requests].count("OPTIONS") == 4
