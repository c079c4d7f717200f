"""The options of commands that go through the rows of a file."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

import attrs
from cyclopts import Parameter

from ..errors import InvalidArgumentError
from ..transport.limits import Limits
from .report import FLAG, JsonFlag

__all__ = ["DEFAULTS", "File", "Form", "JournaledPace", "Pace", "RunOptions", "check_journal", "connections"]


File = Annotated[str, Parameter(allow_leading_hyphen=True)]  # for -

_CONNECTIONS: Final = 256
"""Where ``auto`` ends; more in flight make no client faster."""
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|min))?")
_SECONDS: Final = {None: 1.0, "s": 1.0, "min": 60.0}


def connections(concurrency: int | Literal["auto"]) -> int:
    """Connections that calls of that *concurrency* need at most."""
    return _CONNECTIONS if concurrency == "auto" else concurrency


def _check_concurrency(_: object, value: object) -> None:
    if value != "auto" and not (type(value) is int and 1 <= value <= 1024):
        raise ValueError("Must be auto, or from 1 to 1024.")


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Pace:
    """How fast a run goes, and what it says at its end."""

    concurrency: Annotated[int | Literal["auto"], Parameter(validator=_check_concurrency)] = "auto"
    """Rows at once; auto finds out how many the service can do."""
    rate: str | None = None
    """Requests at most, such as 200/s or 12000/min."""
    as_json: JsonFlag = False
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


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class JournaledPace(Pace):
    """How fast a run goes that keeps a journal, and what it does with what is in there."""

    journal: Path | None = None
    """File that notes what was sent and what became of it, so that the next run goes on from there. By default it is
    beside the file, named after it and the command; there is none for what is no file."""
    no_journal: Annotated[bool, FLAG] = False
    """Keep no journal, and look at none."""
    retry_failed: Annotated[bool, FLAG] = False
    """Do again what the journal says has failed."""

    def path(self, file: str, command: str, *, is_kept: bool) -> Path | None:
        """Where the journal of *command* for *file* is; None for no journal.

        Args:
            file: the path of the file.
            command: how the name of the journal ends, if no other is given.
            is_kept: whether there is a journal if nothing is said.

        Raises:
            InvalidArgumentError: both a journal and none are asked for, or failures of none.
        """
        if self.journal is not None:
            if self.no_journal:
                raise InvalidArgumentError("--journal and --no-journal: give one of them")
            return self.journal
        if self.no_journal or not is_kept:
            if self.retry_failed:
                raise InvalidArgumentError(
                    "--retry-failed: there is no journal that says what has failed: give --journal"
                )
            return None
        return Path(f"{file}.{command}")


def check_journal(path: Path, *, is_directory: bool = False) -> None:
    """Make sure that *path* can be written.

    Raises:
        InvalidArgumentError: it cannot.
    """
    try:
        if is_directory:
            path.mkdir(parents=True, exist_ok=True)
        else:
            with path.open("ab"):
                pass
    except OSError as error:
        raise InvalidArgumentError(f"--journal: {error.strerror}: {path}: name another one, or --no-journal") from None


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
