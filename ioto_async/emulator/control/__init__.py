"""The control API, ``/_emulator/…``: what an `Emulator` object can do, for programs in any language.

It is no part of the emulated API. It answers requests of this machine, and those that bring its token.
"""

from .app import PREFIX, ControlApp
from .controlled import Controlled

__all__ = ["PREFIX", "ControlApp", "Controlled"]
