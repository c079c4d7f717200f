"""What an assumption is: something that no document settles, and that this package is built on all the same."""

from enum import Enum

import attrs

__all__ = ["Assumption", "Check"]


class Check(Enum):
    """What checking an assumption takes."""

    READ = "read-only"
    """Requests that change nothing and name no device."""
    DEVICE = "read-only, of a device"
    """Requests that change nothing, about a device that the user has named."""
    WRITE = "writing"
    """Writes to the account, which are taken back."""
    DEVICE_WRITE = "writing, of a device"
    """Writes about a device that the user has named, which are taken back."""
    NONE = "none"
    """It cannot be checked, or not without harm."""

    @property
    def writes(self) -> bool:
        """Whether it changes something for a while."""
        return self in (Check.WRITE, Check.DEVICE_WRITE)

    @property
    def needs_device(self) -> bool:
        """Whether it is about a device that the user has named."""
        return self in (Check.DEVICE, Check.DEVICE_WRITE)


@attrs.frozen
class Assumption:
    """One assumption.

    Attributes:
        number: ``A1``, ``A2`` and so on; a number is never given to another assumption.
        group: the heading that it stands under.
        says: what is assumed, a sentence.
        source: the document that it follows, or the reason for it.
        wrong_if: what would tell it wrong.
        client: the modules and functions of the package that rely on it, without ``ioto_async.``.
        emulator: those of the embedded cloud that do as it says, without ``ioto_async.emulator.``.
        check: what checking it takes.
        why_not: why it cannot be checked, for those that cannot.
    """

    number: str
    group: str
    says: str
    source: str
    wrong_if: str
    client: tuple[str, ...]
    emulator: tuple[str, ...]
    check: Check
    why_not: str = ""
