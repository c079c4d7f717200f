"""What is installed here."""

import platform
import ssl

import aiohttp

from ..._version import __version__
from .found import Found
from .results import CheckResult, ok

__all__ = ["check_versions"]


async def check_versions(found: Found) -> CheckResult:
    """The versions of what every call depends on."""
    python, tls = platform.python_version(), " ".join(ssl.OPENSSL_VERSION.split()[:2])
    return ok(
        f"ioto-async {__version__}, Python {python}, aiohttp {aiohttp.__version__}, {tls}",
        ioto_async=__version__,
        python=python,
        aiohttp=aiohttp.__version__,
        openssl=tls,
        system=f"{platform.system()} {platform.release()}",
    )
