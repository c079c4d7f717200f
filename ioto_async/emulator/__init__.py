"""A device cloud to develop and test against, served on this machine. Needs the extra ``emulator``."""

try:
    from .faults import Fault
    from .server import Emulator, EmulatorThread
except ModuleNotFoundError as error:
    if error.name not in ("cryptography", "semver"):
        raise
    raise ModuleNotFoundError(
        f"{error.name} is not installed, which the emulator needs: install ioto-async with its extra emulator",
        name=error.name,
    ) from None

__all__ = ["Emulator", "EmulatorThread", "Fault"]
