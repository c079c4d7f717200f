"""The options that all fleet commands have. Imports running."""

from pathlib import Path
from typing import Annotated, Final, Literal

import attrs
from cyclopts import Parameter

from ..report import FLAG
from ..running.options import File, JournaledPace

__all__ = ["DEFAULTS", "File", "Form", "RunOptions"]

Form = Literal["jsonl", "csv", "table"]


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class RunOptions(JournaledPace):
    """How a run goes about its rows."""

    id_column: str = "id"
    """Column that has the IDs."""
    journal: Path | None = None
    """File that notes what was sent and what became of it, so that the next run goes on from there. By default
    FILE.COMMAND.journal, and none for what is no file and for update checks."""
    dask: str | None = None
    """Address of a Dask scheduler, such as tcp://host:8786: its workers do the run, each with the environment that it
    has. The journal is then a folder, FILE.COMMAND.journals by default, that they see, as they do a folder of results.
    The rate is that of all of them together, devices at once are counted for each."""
    output: Form | None = None
    """Print a line for every row; the figures then go to stderr."""
    dry_run: Annotated[bool, FLAG] = False
    """Read and check the whole file, tell what would be done, and send nothing."""


DEFAULTS: Final = RunOptions()
