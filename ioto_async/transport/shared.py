"""What is shared within a process, and neither copied nor pickled."""

from typing import ClassVar, NoReturn, SupportsIndex

__all__ = ["Shared"]


class Shared:
    """A base of classes whose instances have connections or tasks of an event loop."""

    __slots__ = ()

    _instead: ClassVar[str] = "make another where it is needed"
    """What to do instead of a copy."""

    def __repr__(self) -> str:
        # Tracebacks show objects whose constructor has raised, too.
        try:
            return self._repr()
        except AttributeError:
            return f"<{type(self).__name__}, not made>"

    def _repr(self) -> str:
        return object.__repr__(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # copy.copy, copy.deepcopy and pickle ask for this; a TypeError is what they raise themselves.
        name = type(self).__name__
        raise TypeError(f"{name} has connections of this process and cannot be copied or pickled: {self._instead}")
