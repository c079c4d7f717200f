"""Makes the checks one after another, each within its time, and those alone that what came before allows."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import attrs

from ...errors import ConnectionFailedError, InvalidArgumentError, IotoError
from ...settings import seconds
from ...transport.attempt import reason_of
from .checks import CHECKS, Check
from .found import Found
from .results import CheckResult, Report, Status, failed, skipped
from .target import Target

__all__ = ["diagnose"]


async def diagnose(
    target: Target,
    *,
    limit: float = 10.0,
    checks: Sequence[Check] = CHECKS,
    on_result: Callable[[CheckResult], None] | None = None,
) -> Report:
    """Check whether *target* can be used, and say of everything that is in the way what to do.

    Nothing is changed at the cloud. A device whose certificates are given is connected once, which ends a connection
    that the device itself has.

    Args:
        target: the settings.
        limit: seconds for each check, after which it counts as failed.
        checks: what to check.
        on_result: called with each result when it is there.

    Raises:
        InvalidArgumentError: *limit* does not fit.
    """
    seconds(above_zero=True).check("limit", limit)
    results: list[CheckResult] = []
    blocked: dict[str, str] = {}
    """The checks that others must not be made after, and which one has failed."""
    async with contextlib.AsyncExitStack() as stack:
        found = Found(target, limit, stack)
        for check in checks:
            cause = next((blocked[name] for name in check.needs if name in blocked), None)
            if cause is not None:
                result = attrs.evolve(skipped(f"needs {cause}"), name=check.name)
            else:
                result = await _made(check, found)
            if cause is not None or result.status is Status.FAILED:
                blocked[check.name] = cause or check.name
            results.append(result)
            if on_result is not None:
                on_result(result)
    return Report(target.settings, tuple(results))


async def _made(check: Check, found: Found) -> CheckResult:
    """The result of a check; one that raises, or takes too long, has failed."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(found.limit):
            result = await check.make(found)
    except TimeoutError:
        result = failed(
            f"not done within {found.limit:g} s, and ended",
            "something on the way does not answer: try again, or give it more time with --timeout",
            exit_status=4,
        )
    except IotoError as error:
        result = failed(str(error), None, exit_status=_exit_status(error))
    except OSError as error:
        result = failed(reason_of(error), "check the network", exit_status=4)
    return attrs.evolve(result.changed(found.target.mask), name=check.name, seconds=time.monotonic() - started)


def _exit_status(error: IotoError) -> int:
    return 2 if isinstance(error, InvalidArgumentError) else 4 if isinstance(error, ConnectionFailedError) else 1
