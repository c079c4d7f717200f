"""What a writer needs of a sink, which takes samples to the cloud."""

from collections.abc import Hashable, Iterator, Sequence
from typing import ClassVar, Protocol

from ..transport.pool import Pool
from .sample import Sample

__all__ = ["Sink"]


class Sink(Protocol):
    """Takes samples to the cloud."""

    concurrency: ClassVar[int | None]
    """Requests in flight where nothing else is said; None for what the limiter of the pool finds out."""

    @property
    def repeats(self) -> bool:
        """Whether what may be in the cloud is sent again."""

    @property
    def reports(self) -> bool:
        """Whether all that `send` does is noted in the effects of its task."""

    @property
    def pool(self) -> Pool | None:
        """The pool of the client that the requests go through; None if they do not."""

    def check(self, sample: Sample) -> None:
        """Look whether this sink can take a *sample*.

        Raises:
            InvalidArgumentError: it cannot; the text names what it is about.
        """

    def requests(self, samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
        """The *samples* of each request, in the order in which they were written."""

    def sequence_key(self, samples: Sequence[Sample]) -> Hashable:
        """What a request must not overtake another with; None for any."""

    async def send(self, samples: Sequence[Sample]) -> None:
        """Send the *samples* of one request.

        Raises:
            IotoError: with ``outcome_unknown`` set if they may be in the cloud, else they are not.
        """
