"""Requests to an ASGI app without a server between."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["request"]


async def request(app: Callable[..., Awaitable[None]], path: str, body: str = "") -> tuple[int, Any]:
    """Return the status and the JSON of the reply of *app*, to a POST if there is a *body*."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body.encode()}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST" if body else "GET",
        "path": path,
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"content-type", b"application/json")],
        "root_path": "",
        "http_version": "1.1",
    }
    await app(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))
