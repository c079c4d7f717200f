"""A device cloud to develop and test against, served on this machine. Needs the extra ``emulator``."""

from .faults import Fault
from .server import Emulator, EmulatorThread

__all__ = ["Emulator", "EmulatorThread", "Fault"]
