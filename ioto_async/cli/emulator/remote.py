"""The commands for an embedded cloud that runs elsewhere, by its control API."""

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from cyclopts import App

from ...errors import ConnectionFailedError, InvalidArgumentError, IotoError
from ..files import open_output
from ..options import parse_duration

__all__ = ["snapshot", "status", "wait", "write_databases"]

_PREFIX: Final = "/_emulator"
_PAUSE: Final = 0.05
_TIMEOUT: Final = 60.0


def wait(*, url: str | None = None, timeout: str = "30s") -> None:
    """Wait until an embedded cloud is ready.

    Args:
        url: URL of the cloud; IOTO_EMULATOR by default.
        timeout: how long to wait at most, such as 30s or 2m.
    """
    ends = time.monotonic() + parse_duration("--timeout", timeout)
    while not _is_ready(url, raising=time.monotonic() >= ends):
        time.sleep(_PAUSE)


def _is_ready(url: str | None, *, raising: bool) -> bool:
    try:
        _ask("GET", "status", url)
    except ConnectionFailedError:
        if raising:
            raise
        return False
    return True


def status(*, url: str | None = None) -> None:
    """Print the status of an embedded cloud as one JSON object: the time, devices, faults, requests and messages.

    Args:
        url: URL of the cloud; IOTO_EMULATOR by default.
    """
    sys.stdout.write(json.dumps(_ask("GET", "status", url)) + "\n")


def save(file: Path, /, *, url: str | None = None) -> None:
    """Save the state of an embedded cloud as a database for --db; further clouds have files beside it.

    Args:
        file: the database to write.
        url: URL of the cloud; IOTO_EMULATOR by default.
    """
    images = [base64.b64decode(image) for image in _ask("GET", "snapshot", url)["databases"]]
    write_databases(file, images, "FILE")


def load(file: Path, /, *, url: str | None = None) -> None:
    """Return an embedded cloud to a saved state.

    Args:
        file: the database that was written.
        url: URL of the cloud; IOTO_EMULATOR by default.
    """
    images = []
    for number in range(1, len(_ask("GET", "status", url)["clouds"]) + 1):
        path = _path(file, number)
        try:
            images.append(base64.b64encode(path.read_bytes()).decode())
        except OSError as error:
            raise InvalidArgumentError(f"FILE: {error.strerror}: {path}") from None
    _ask("PUT", "snapshot", url, {"databases": images})


snapshot: Final = App(name="snapshot", help="Save the state of an embedded cloud, or return to it.")
snapshot.command(save)
snapshot.command(load)


def write_databases(file: Path, images: list[bytes], option: str) -> None:
    """Write a snapshot as the databases that ``--db FILE`` would have made."""
    for number, image in enumerate(images, 1):
        path = _path(file, number)
        with open_output(path, option) as output:
            os.fchmod(output.fileno(), 0o600)  # keys and tokens are in it
            output.write(image)


def _path(file: Path, number: int) -> Path:
    return file if number == 1 else file.with_stem(f"{file.stem}-{number}")


def _ask(method: str, name: str, url: str | None, body: object = None) -> Any:
    """Send a request to the control API and return its answer."""
    base = _base(url)
    data = None if body is None else json.dumps(body).encode()
    token = os.environ.get("IOTO_EMULATOR_TOKEN")
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"bearer {token}"} if token else {})
    request = urllib.request.Request(f"{base}/{name}", data, headers, method=method)  # noqa: S310 - it is http(s)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise IotoError(f"{base}/{name}: {error.code} {_reason(error.read())}") from None
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        text = f"cannot reach {base}: {getattr(reason, 'strerror', None) or reason}"
        raise ConnectionFailedError(text, operation=f"emulator/{name}", sent=False) from None
    except ValueError:
        raise IotoError(f"{base}/{name}: the answer is not that of an embedded cloud") from None


def _base(url: str | None) -> str:
    given = url if url is not None else os.environ.get("IOTO_EMULATOR")
    if not given:
        raise InvalidArgumentError("--url: expected the URL of an embedded cloud, here or in IOTO_EMULATOR")
    if not given.startswith(("http://", "https://")):
        raise InvalidArgumentError(f"--url: expected a URL such as http://127.0.0.1:8080, got {given!r}")
    return given.rstrip("/").removesuffix(_PREFIX) + _PREFIX


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, TypeError, KeyError):
        return "the answer is not that of an embedded cloud"
