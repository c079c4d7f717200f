"""The options that all fleet commands have. Imports limits."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

import attrs
from cyclopts import Parameter

from ...errors import InvalidArgumentError
from ...limits import Limits
from ..report import FLAG

__all__ = ["DEFAULTS", "File", "Form", "RunOptions"]

File = Annotated[str, Parameter(allow_leading_hyphen=True)]  # for -
Form = Literal["jsonl", "csv", "table"]

_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|min))?")
_SECONDS: Final = {None: 1.0, "s": 1.0, "min": 60.0}


def _check_concurrency(_: object, value: object) -> None:
    if value != "auto" and not (type(value) is int and 1 <= value <= 1024):
        raise ValueError("Must be auto, or from 1 to 1024.")


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class RunOptions:
    """How a run goes about its rows."""

    id_column: str = "id"
    """Column that has the IDs."""
    concurrency: Annotated[int | Literal["auto"], Parameter(validator=_check_concurrency)] = "auto"
    """Devices at once; auto finds out how many the service can do."""
    rate: str | None = None
    """Requests at most, such as 200/s or 12000/min."""
    journal: Path | None = None
    """File that notes what was sent and what became of it, so that the next run goes on from there. By default
    FILE.COMMAND.journal, and none for what is no file and for update checks."""
    no_journal: Annotated[bool, FLAG] = False
    """Keep no journal, and look at none."""
    dask: str | None = None
    """Address of a Dask scheduler, such as tcp://host:8786: its workers do the run, each with the environment that it
    has. The journal is then a folder, FILE.COMMAND.journals by default, that they see, as they do a folder of results.
    The rate is that of all of them together, devices at once are counted for each."""
    retry_failed: Annotated[bool, FLAG] = False
    """Do again what the journal says has failed."""
    output: Form | None = None
    """Print a line for every row; the figures then go to stderr."""
    dry_run: Annotated[bool, FLAG] = False
    """Read and check the whole file, tell what would be done, and send nothing."""
    as_json: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False
    """Print the figures as one JSON object."""

    def limits(self) -> Limits:
        """What `rate` says.

        Raises:
            InvalidArgumentError: it is no rate.
        """
        if self.rate is None:
            return Limits()
        match = _RATE.fullmatch(self.rate)
        rate = float(match[1]) / _SECONDS[match[2]] if match else 0.0
        if not rate:
            raise InvalidArgumentError(f"--rate: expected requests such as 200/s or 12000/min, got {self.rate!r}")
        return Limits(rate=rate)


DEFAULTS: Final = RunOptions()
