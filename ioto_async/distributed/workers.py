"""Which workers a cluster has, and which of them can take part in a run."""

import logging
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from ..errors import InvalidArgumentError, one_line

__all__ = ["Workers"]

logger = logging.getLogger("ioto_async")

_SHOWN: Final = 3
"""Addresses in a message, at most."""


@attrs.define
class Workers:
    """The workers of a cluster, by their addresses; warns of those that are lost or cannot take part.

    Args:
        sequel: tells what follows when a worker is lost that had a number of items.
    """

    _sequel: Callable[[int], str]
    present: frozenset[str] = frozenset()
    _refused: dict[str, Exception] = attrs.field(factory=dict)
    _is_waiting: bool = False

    @property
    def fit(self) -> frozenset[str]:
        """Those that can take part, as far as is known."""
        return self.present - self._refused.keys()

    @property
    def unfit(self) -> frozenset[str]:
        """Those that cannot."""
        return self.present & self._refused.keys()

    def update(self, addresses: Iterable[str], in_hand: Callable[[frozenset[str]], int]) -> None:
        """Take note that these are the workers now.

        Args:
            addresses: of the workers.
            in_hand: how many items some workers had.
        """
        addresses = frozenset(addresses)
        lost, self.present = (self.present - addresses) & self.fit, addresses
        if lost:
            items = in_hand(lost)
            sequel = f"; {self._sequel(items)}" if items else "; the others go on" if self.fit else ""
            logger.warning("%s lost: %s%s", _count(lost, "worker was", "workers were"), _listed(lost), sequel)
        if addresses:
            self._is_waiting = False
        elif not self._is_waiting:
            self._is_waiting = True
            logger.warning("the cluster has no worker: waiting for one")

    def refuse(self, address: str, error: Exception) -> None:
        """Take note that a worker cannot take part, because of an *error*."""
        if address not in self._refused:
            self._refused[address] = error
            if self.fit:
                logger.warning("the worker %s cannot take part, the others go on: %s", address, _text(error))

    def check(self) -> None:
        """Make sure that there may be somebody to take part.

        Raises:
            InvalidArgumentError: all workers that there are cannot.
        """
        if self.present and not self.fit:
            address = min(self.present)
            error = self._refused[address]
            raise InvalidArgumentError(
                f"{_count(self.present, 'worker of the cluster', 'workers of the cluster')}, and none can take part:"
                f" {address}: {_text(error)}"
            ) from error


def _text(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__


def _count(addresses: frozenset[str], one: str, many: str) -> str:
    return f"{len(addresses)} {one if len(addresses) == 1 else many}"


def _listed(addresses: frozenset[str]) -> str:
    shown = sorted(addresses)[:_SHOWN]
    return ", ".join(shown) + (", …" if len(addresses) > _SHOWN else "")
