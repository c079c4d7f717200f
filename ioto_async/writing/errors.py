"""What a writer raises beside the errors of its arguments. Imports floor 0, and bulk.outcome."""

from collections.abc import Sequence

from ..bulk.outcome import Outcome
from ..errors import IotoError
from .sample import Sample

__all__ = ["BufferFullError", "UnwrittenError"]


class BufferFullError(IotoError):
    """A sample was refused, as there has been no room for it for too long; the others in the buffer are kept.

    ``__cause__`` is the last failure of a request, if the service is away.

    Attributes:
        samples: how many there are in the buffer, and on their way.
        bytes: how large these are.
    """

    def __init__(self, message: str, *, samples: int, bytes: int) -> None:
        super().__init__(message)
        self.samples = samples
        self.bytes = bytes


class UnwrittenError(IotoError):
    """A writer was closed, and not all samples that it had accepted are written.

    Attributes:
        failed: how many are not in the cloud.
        unknown: how many may be there.
        outcomes: what became of those that had no outcome before the end, and of the first 100 others.
    """

    def __init__(self, message: str, *, failed: int, unknown: int, outcomes: Sequence[Outcome[Sample, None]]) -> None:
        super().__init__(message)
        self.failed = failed
        self.unknown = unknown
        self.outcomes = outcomes
