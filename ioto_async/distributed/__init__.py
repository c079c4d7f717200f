"""Bulk runs over the workers of a Dask cluster. Needs the extra ``dask``."""

try:
    from .run import DistributedBulk, LostSchedulerError, LostWorkerError, bulk
except ModuleNotFoundError as error:
    if error.name not in ("dask", "distributed"):
        raise
    from .._install import install_command

    raise ModuleNotFoundError(
        f"{error.name} is not installed, which runs over many machines need: {install_command('dask')}",
        name=error.name,
    ) from None

__all__ = ["DistributedBulk", "LostSchedulerError", "LostWorkerError", "bulk"]
