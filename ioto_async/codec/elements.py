"""The elements of a page: what fits is read many at once, and what does not is read one by one."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

import attrs

from ..errors import DecodeError
from ..models import JSON
from ..operations import Operation
from ..settings import conceal
from .lenient import Lenient
from .reading import Path, json_path
from .records import Mismatch

__all__ = ["Elements"]

T = TypeVar("T")

_TOGETHER: Final = 64
"""Elements between two yields."""
_MOST_REJECTED: Final = 100_000
"""Elements that are no records. No page of the service has as many: beyond, it is something else than a page."""


@attrs.define
class Elements(Generic[T]):
    """The elements of one page, as they come.

    Args:
        operation: what was called.
        cls: what elements are.
        structure: the hook that makes one.
        strict: whether an element that does not fit fails the page.
        nested: whether elements may be arrays of such, which are joined.
        instead: makes what stands in the place of an element that is no record, of the reason; None leaves it out.
        key: the member that an element which is text is taken for; None if it is taken for none.

    Attributes:
        root: where the array is in the reply.
        records: what was read.
        rejected: the elements that are no records, as they came.
        reader: knows what was odd.
    """

    operation: Operation
    cls: Any
    structure: Callable[[Any, Any], T]
    strict: bool
    nested: bool
    instead: Callable[[str], T] | None
    key: str | None = None
    root: Path = ()
    records: list[T] = attrs.field(factory=list)
    rejected: list[JSON] = attrs.field(factory=list)
    reader: Lenient = attrs.field(factory=Lenient)
    _count: int = 0

    def add(self, elements: list[Any]) -> Generator[None]:
        """Read the next *elements*; each yield is a good moment for a pause.

        Raises:
            DecodeError: one does not fit, and must; or too many do not.
        """
        runs = _runs(elements, self._count) if self.nested else (((), self._count, elements),)
        for inside, first, run in runs:
            yield from self._add((*self.root, *inside), first, run)
        self._count += len(elements)

    def _add(self, path: Path, first: int, run: list[Any]) -> Generator[None]:
        if self.cls is Any:
            self.records += run
            yield
            return
        structure, cls = self.structure, self.cls
        for at in range(0, len(run), _TOGETHER):
            some = run[at : at + _TOGETHER]
            try:
                self.records += [structure(item, cls) for item in some]
            except Mismatch:
                odd = True
            else:
                odd = False
            if odd:
                self._one_by_one(path, first + at, some)
            yield

    def _one_by_one(self, path: Path, first: int, some: Sequence[Any]) -> None:
        for place, item in enumerate(some, first):
            if type(item) is str and self.key is not None and not self.strict:
                self.reader.note((*path, place), Mismatch("an object", item))
                item = {self.key: item}  # noqa: PLW2901
            if type(item) is not dict and self.rejected and self.instead is None:
                self._reject(item)
                continue
            failed: Mismatch | None = None
            try:
                if self.strict:
                    record = self.structure(item, self.cls)
                else:
                    record = self.reader.read(item, self.cls, (*path, place))
            except Mismatch as mismatch:
                failed = mismatch
            if failed is None:
                self.records.append(record)
                continue
            if self.strict:
                at = json_path((*path, place, *reversed(failed.steps)))
                raise DecodeError(str(failed), operation=self.operation.name, path=at)
            self.reader.note((*path, place), failed)
            self._reject(item)
            if self.instead is not None:
                self.records.append(self.instead(str(failed)))

    def _reject(self, item: Any) -> None:
        self.rejected.append(conceal(item))
        if len(self.rejected) > _MOST_REJECTED:
            message = f"expected a page of records, got more than {_MOST_REJECTED} elements that are none"
            raise DecodeError(message, operation=self.operation.name, path=json_path(self.root))


def _runs(elements: list[Any], first: int) -> Iterator[tuple[tuple[int, ...], int, list[Any]]]:
    """The elements of those *elements* that are arrays, and the others, in order; the place of the first is *first*.

    Each run with the place of its array, if it is from one, and the place of its first element there.
    """
    start = 0
    for place, element in enumerate(elements):
        if type(element) is list:
            if place > start:
                yield (), first + start, elements[start:place]
            yield (first + place,), 0, element
            start = place + 1
    if start < len(elements):
        yield (), first + start, elements[start:]
