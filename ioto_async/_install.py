"""How this package was installed, and the command that adds an extra to it."""

import importlib.metadata
import json
import shlex
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

__all__ = ["install_command"]

_NAME: Final = "ioto-async"
_SOURCE: Final = Path(__file__).parent.parent
"""The checkout that this package runs from, if it does."""


def install_command(extra: str, distribution: importlib.metadata.Distribution | None = None) -> str:
    """The command that adds *extra* to the package, for whoever has installed it the way that it is.

    ``pip install 'ioto-async[cli]'`` finds nothing where the package has come from a checkout, an archive or a
    repository: ``direct_url.json`` says so (PEP 610), and the command has to name it again.

    Args:
        extra: name of the extra.
        distribution: the installed package; the present one by default.
    """
    if distribution is None:
        try:
            distribution = importlib.metadata.distribution(_NAME)
        except importlib.metadata.PackageNotFoundError:  # it runs from a checkout that was not installed
            return _pip("pip", "-e", f"{_SOURCE}[{extra}]") if (_SOURCE / "pyproject.toml").is_file() else _plain(extra)
    installer = "uv pip" if (distribution.read_text("INSTALLER") or "").strip() == "uv" else "pip"
    origin = _origin(distribution)
    url = origin.get("url")
    if not isinstance(url, str):
        return _plain(extra, installer)
    path = Path(_path(url)) if url.startswith("file:") else None
    if path is not None and "dir_info" in origin:
        is_editable = isinstance(origin["dir_info"], dict) and origin["dir_info"].get("editable") is True
        return _pip(installer, *(["-e"] if is_editable else []), f"{path}[{extra}]")
    return _pip(installer, f"{_NAME}[{extra}] @ {_requirement(url, origin)}")


def _path(url: str) -> str:
    """The path of a ``file:`` URL."""
    return unquote(urlsplit(url).path)


def _origin(distribution: importlib.metadata.Distribution) -> dict[str, Any]:
    """What ``direct_url.json`` says; empty for a package from an index."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return origin if isinstance(origin, dict) else {}


def _requirement(url: str, origin: dict[str, Any]) -> str:
    """The URL of an archive or a repository, as a requirement names it."""
    repository = origin.get("vcs_info")
    if isinstance(repository, dict):
        revision = repository.get("requested_revision") or repository.get("commit_id")
        url = f"{repository.get('vcs', 'git')}+{url}" + (f"@{revision}" if revision else "")
    folder = origin.get("subdirectory")
    return f"{url}#subdirectory={folder}" if folder else url


def _plain(extra: str, installer: str = "pip") -> str:
    return _pip(installer, f"{_NAME}[{extra}]")


def _pip(installer: str, *words: str) -> str:
    return f"{installer} install {shlex.join(words)}"
