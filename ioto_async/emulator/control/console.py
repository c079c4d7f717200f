"""The console: one page for browsers, which does all that it does by the control API."""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

__all__ = ["GUARDS", "page"]

_FILE: Final = Path(__file__).with_name("console.html")
_INLINE: Final = "<{0}>(.*?)</{0}>"
GUARDS: Final[Mapping[str, str]] = {
    hdrs.CACHE_CONTROL: "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""The headers of all replies: no other page embeds them, and nobody keeps them."""


def page(status: int) -> web.Response:
    """Return the page."""
    text, policy = _page()
    headers = {**GUARDS, "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return web.Response(status=status, text=text, content_type="text/html", headers=headers)


@cache
def _page() -> tuple[str, str]:
    """Return the page and its policy: its own script and style, its own server, and nothing else."""
    text = _FILE.read_text("utf-8")
    policy = (
        f"default-src 'none'; script-src {_hash(text, 'script')}; style-src {_hash(text, 'style')}; img-src data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _hash(text: str, element: str) -> str:
    (inline,) = re.findall(_INLINE.format(element), text, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
