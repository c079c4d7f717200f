"""Options that several commands have."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import attrs
from cyclopts import Parameter

from ..bulk.locks import try_lock
from ..errors import InvalidArgumentError
from ..settings import check_text, in_seconds, parse_endpoint
from ..transport.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..client import ClientOptions
    from ..transport.attempt import Attempt

__all__ = [
    "FLAG",
    "UNATTENDED",
    "Concurrency",
    "File",
    "FleetOptions",
    "JournalOptions",
    "JsonFlag",
    "OutputFormat",
    "RecordFormat",
    "RunOptions",
    "Texts",
    "check_account",
    "check_journal",
    "parse_duration",
    "use_api",
]

FLAG: Final = Parameter(negative=(), show_default=False)
"""How an option without a value is declared."""
JsonFlag = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]
"""The option of every command that prints figures."""
Texts = Annotated[tuple[str, ...], FLAG]
"""An option that may be given several times, with one text each."""
File = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""The path of a file, or - for stdin."""
Concurrency = int | Literal["auto"]
OutputFormat = Literal["jsonl", "csv", "table"]
"""How the rows of a run are printed, one by one."""
RecordFormat = Literal["table", "json", "jsonl", "csv"]
"""How records are printed."""

_MAX_CONNECTIONS: Final = 256
"""Where ``auto`` ends; more in flight make no client faster."""
UNATTENDED: "Final[ClientOptions]" = {"max_retry_after": 900.0, "trust_env": True}
"""Options of the client of any run, which waits longer as nobody does so before the screen."""
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|min))?")
_SECONDS: Final = {None: 1.0, "s": 1.0, "min": 60.0}


def _check_concurrency(_: object, value: object) -> None:
    if value != "auto" and not (type(value) is int and 1 <= value <= 1024):
        raise ValueError("Must be auto, or from 1 to 1024.")


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class RunOptions:
    """How fast a run goes, and how it prints its figures."""

    concurrency: Annotated[Concurrency, Parameter(validator=_check_concurrency)] = "auto"
    """Rows at once; auto finds out how many the service can do."""
    rate: str | None = None
    """Requests at most, such as 200/s or 12000/min."""
    patience: str = "60s"
    """How long the cloud may be away before the run ends; what was not delivered is left to the next run. A cloud that
    was never reached ends it at once, unless it is to be reached over MQTT."""
    as_json: JsonFlag = False
    """Print the figures as one JSON object."""

    @property
    def connections(self) -> int:
        """How many connections the calls of the run need at most."""
        return _MAX_CONNECTIONS if self.concurrency == "auto" else self.concurrency

    @property
    def patience_seconds(self) -> float:
        """The `patience` in seconds.

        Raises:
            InvalidArgumentError: it is no duration.
        """
        return parse_duration("--patience", self.patience)

    def limits(self) -> Limits:
        """The `rate` as limits of a client.

        Raises:
            InvalidArgumentError: it is not a rate.
        """
        if self.rate is None:
            return Limits()
        match = _RATE.fullmatch(self.rate)
        rate = float(match[1]) / _SECONDS[match[2]] if match else 0.0
        if not rate:
            raise InvalidArgumentError(f"--rate: expected requests such as 200/s or 12000/min, got {self.rate!r}")
        return Limits(rate=rate)

    def client_options(self, observer: "Callable[[Attempt], None]") -> "ClientOptions":
        """The options of the client that makes the calls; *observer* is called after each attempt.

        Raises:
            InvalidArgumentError: the rate is not a rate.
        """
        return {
            **UNATTENDED,
            "limit": self.connections,
            "limits": self.limits(),
            "observer": observer,
        }


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class JournalOptions(RunOptions):
    """Options of a run that keeps a journal."""

    journal: Path | None = None
    """File that notes what was sent and what became of it, so that the next run goes on from there. By default it is
    beside the file, named after it and the command; none is kept for stdin and pipes."""
    no_journal: Annotated[bool, FLAG] = False
    """Keep no journal, and ignore one that exists."""
    retry_failed: Annotated[bool, FLAG] = False
    """Try again what has failed according to the journal."""

    def journal_path(self, default: str | None) -> Path | None:
        """The path of the journal; None to keep none.

        Args:
            default: the path if no option gives one; None to keep no journal then.

        Raises:
            InvalidArgumentError: the options contradict each other.
        """
        if self.journal is not None:
            if self.no_journal:
                raise InvalidArgumentError("--journal and --no-journal: give one of them")
            return self.journal
        if self.no_journal or default is None:
            if self.retry_failed:
                raise InvalidArgumentError(
                    "--retry-failed: there is no journal that says what has failed: give --journal"
                )
            return None
        return Path(default)


def use_api(api: str | None) -> None:
    """Have this process, and what it starts, use the device cloud *api* of ``--api``, as if ``IOTO_API`` said so.

    Raises:
        InvalidArgumentError: it is no URL of one.
    """
    if api is not None:
        os.environ["IOTO_API"] = str(parse_endpoint(api, name="--api"))


def check_account(account: str | None) -> str | None:
    """Return the *account* of ``--account`` if it can be one, or None.

    Raises:
        InvalidArgumentError: it cannot.
    """
    return None if account is None else check_text("--account", account)


def parse_duration(option: str, text: str) -> float:
    """Seconds of a duration such as ``90s``, ``5m``, ``1.5h``, ``1d`` or ``4w``.

    Raises:
        InvalidArgumentError: *text* is not a duration, or is zero.
    """
    seconds: float | str = in_seconds(text)
    if isinstance(seconds, str):
        raise InvalidArgumentError(f"{option}: expected a duration such as 90s, 5m, 1h, 1d or 4w, got {text!r}")
    return seconds


def check_journal(path: Path, *, is_directory: bool = False) -> None:
    """Create the journal at *path* if there is none.

    Raises:
        InvalidArgumentError: it cannot be written.
    """
    try:
        if is_directory:
            path.mkdir(parents=True, exist_ok=True)
            return
        if not path.exists() or path.is_file():
            with path.open("ab") as file:
                try_lock(file)  # whether that can be done; another run that has it is told of when it is opened
            return
        trouble = "Is a directory" if path.is_dir() else "no regular file"
    except OSError as error:
        trouble = str(error.strerror)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"--journal: {error}, or give --no-journal") from None
    raise InvalidArgumentError(f"--journal: {trouble}: {path}: name another one, or --no-journal") from None


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class FleetOptions(JournalOptions):
    """Options of every fleet command."""

    id_column: str = "id"
    """Column that has the IDs; a column id beside it is not sent."""
    journal: Path | None = None
    """File that notes what was sent and what became of it, so that the next run goes on from there. By default
    FILE.COMMAND.journal; none is kept for stdin, pipes and update checks."""
    dask: str | None = None
    """Address of a Dask scheduler, such as tcp://host:8786: its workers do the run, each with the environment that it
    has. The journal is then a folder, FILE.COMMAND.journals by default, that they see, as they do a folder of results.
    The rate applies to all of them together, the concurrency to each."""
    verify: Annotated[bool, FLAG] = False
    """Ask the service about each device that the journal calls done, and do again those that are not."""
    output: OutputFormat | None = None
    """Print a line for every row; the figures then go to stderr."""
    dry_run: Annotated[bool, FLAG] = False
    """Read and check the whole file, report what would be done, and send nothing."""
