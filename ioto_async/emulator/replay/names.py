"""What is called otherwise here than in a cassette: the keys that each side makes up by itself."""

import re
from typing import Any, Final

__all__ = ["EMAIL", "MASK", "Names", "is_masked"]

MASK: Final = re.compile(r"MASK[0-9A-HJKMNP-TV-Z]{12}")
EMAIL: Final = re.compile(r"mask-[0-9a-hjkmnp-tv-z]{12}@masked\.example")
_WORD: Final = re.compile(r"[0-9A-Za-z_-]{4,64}")


def is_masked(value: object) -> bool:
    """Whether *value* is the mask of a key or of an address."""
    return isinstance(value, str) and bool(MASK.fullmatch(value) or EMAIL.fullmatch(value))


class Names:
    """Pairs of a name in a cassette and one here; neither has two."""

    def __init__(self) -> None:
        self._here: dict[str, str] = {}
        self._there: dict[str, str] = {}

    def pair(self, recorded: str, here: str) -> bool:
        """Note that both mean the same; false if either is known to mean something else."""
        if recorded in self._here or here in self._there:
            return self._here.get(recorded) == here
        self._here[recorded], self._there[here] = here, recorded
        return True

    def knows(self, recorded: str) -> bool:
        """Whether there is a name here for *recorded*."""
        return recorded in self._here

    def here(self, value: Any) -> Any:
        """JSON of a cassette as it is called here."""
        if isinstance(value, dict):
            return {name: self.here(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.here(each) for each in value]
        if not isinstance(value, str):
            return value
        if value in self._here:
            return self._here[value]
        return _WORD.sub(lambda match: self._here.get(match[0], match[0]), value)
