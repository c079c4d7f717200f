"""Runs ``ioto-async metric`` as a user does, and knows what is in the cloud."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from ioto_async.emulator import EmulatorThread
from ioto_async.emulator.state.metrics import MetricEngine

from .fleets import Result, ran

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SPACE = "Embedthis/Device"


@attrs.frozen
class Metrics:
    """The commands, in a folder of their own, and the metrics of the cloud."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    cloud: EmulatorThread

    def __call__(self, *arguments: object) -> Result:
        """Run ``ioto-async metric ARGUMENTS``."""
        return Result(*ran(self.capture, ["metric", *map(str, arguments)]))

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    @property
    def _engine(self) -> MetricEngine:
        return self.cloud.cloud.metrics.engine(self.cloud.account_id)

    def add(self, device: str, value: float, *, ago: float = 1, metric: str = "temperature") -> None:
        """Add a sample of *ago* seconds before now."""
        now = self.cloud.cloud.now()
        with self.cloud.cloud.lock:
            self._engine.emit(SPACE, metric, value, [{"Device": device}], timestamp=now - ago * 1000)

    def total(self, metric: str = "temperature", **dimensions: str) -> tuple[float, float]:
        """Sum and count of all samples of a metric."""
        found = []
        for statistic in ("sum", "count"):
            now = self.cloud.cloud.now()
            with self.cloud.cloud.lock:
                result = self._engine.query(
                    SPACE, metric, dimensions, 31_536_000, statistic, accumulate=True, timestamp=now
                )
            found.append(result["points"][0].get("value") or 0 if result["points"] else 0)
        return found[0], found[1]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def requests(cloud: EmulatorThread, operation: str) -> list[dict[str, Any]]:
    """The bodies of the requests for an *operation*."""
    return [json.loads(request.body) for request in cloud.requests if request.path.endswith(f"/{operation}")]
