"""``ioto-async emulator --replay``: where an embedded cloud answers otherwise than a recorded one."""

import json
import sys
from pathlib import Path

from ...emulator import Emulator
from ...emulator.replay.playing import lines, replay
from ...errors import InvalidArgumentError

__all__ = ["print_replay"]


async def print_replay(path: Path, *, as_json: bool) -> int:
    """Play the cassette at *path* to a cloud of its own, print the differences, and return the exit status.

    Raises:
        InvalidArgumentError: it is no cassette, or cannot be read.
    """
    async with Emulator(mqtt=False) as emulator:
        try:
            report = await replay(emulator.cloud, path)
        except ValueError as error:
            raise InvalidArgumentError(f"--replay: {error}") from None
        except OSError as error:
            raise InvalidArgumentError(f"--replay: {path}: {error.strerror}") from None
    figures = report.figures()
    if as_json:
        listed = [
            {
                "line": each.exchange.line,
                "operation": each.exchange.operation,
                "path": difference.path,
                "recorded": difference.recorded,
                "here": difference.here,
            }
            for each in report.played
            for difference in each.found
        ]
        sys.stdout.write(json.dumps({**figures, "seeded": report.seeded, "found": listed}) + "\n")
    else:
        for line in lines(report):
            sys.stdout.write(f"{line}\n")
        exchanges, found = _counted(figures["exchanges"], "exchange"), _counted(figures["differences"], "difference")
        different, skipped = f"{figures['different']} different ({found})", f"{figures['not_compared']} not compared"
        sys.stdout.write(f"{exchanges}: {figures['same']} the same, {different}, {skipped}\n")
    return 0 if report.is_same else 1


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
