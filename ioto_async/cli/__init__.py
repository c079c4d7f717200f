"""The command line ``ioto-async``; the module of a command is imported when it is run.

Before any command, ``--record FILE`` adds what it sends and gets to a cassette, and ``--replay FILE`` plays one.

Exit status: 0 success, 1 something has failed, 2 wrong usage, 3 the token or the sign-in was refused, 4 the cloud or
the sign-in service was not reached, 129 interrupted by SIGHUP, 130 by SIGINT, 143 by SIGTERM.
"""

import contextlib
import importlib
import io
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .._version import __version__
from ..errors import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidArgumentError,
    IotoError,
    MissingSettingError,
    TokenProviderError,
)
from .command_line import ARGUMENTS, command_line, text_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["main"]

_COMMANDS: Final = {
    "alert": ("alert", "List alerts, or mark them as resolved."),
    "call": ("call", "Call an operation and print its unchanged reply as JSON."),
    "demo": ("demo", "Provision a fleet on an embedded cloud, then write and read back its metrics."),
    "device": ("device", "List the claimed devices of an account, show one, or send it a command."),
    "doctor": (
        "doctor.commands",
        "Check whether this machine can use an Ioto cloud, and say how to fix what it finds.",
    ),
    "emulator": ("emulator", "Serve embedded device clouds and their Builder until SIGINT, SIGTERM or SIGHUP."),
    "fleet": ("fleet", "Register, claim, provision or release the devices of a file, or check their updates."),
    "metric": ("metric", "Read metrics of devices, draw them, export those of a fleet, or write samples."),
    "provision": ("fleet", "Claim every device of a fleet and fetch its certificates."),
    "store": ("store", "Get, set, list or remove the values that a device keeps by key."),
    "user": ("user", "List the users of an account."),
    "whoami": (
        "doctor.commands",
        "Print who you are to the cloud: endpoint, kind of token, role, account and user.",
    ),
}
"""The module of each command, and what its own help begins with; ``provision`` is short for ``fleet provision``."""
_OPTIONS: Final = {
    "--record FILE": "Before a command: add requests and replies to a cassette, without secrets; or set IOTO_RECORD.",
    "--replay FILE": "Before a command: take the replies from a cassette, without a network; or set IOTO_REPLAY.",
    "--help, -h": "Print this help and exit.",
    "--version": "Print the version and exit.",
}
_SUMMARY: Final = "Work with EmbedThis Ioto device clouds."
_FOR_COMMANDS: Final[tuple[list[str], ...]] = ([], ["--help"], ["-h"])
"""Arguments that ask for the list of commands."""
_FLAGS: Final = {"api": "--api"}
"""The flags of arguments that have one; secrets have none, as others see command lines."""
_EXTRA: Final = ("cryptography", "rich", "semver")
"""What the extra ``cli`` brings besides cyclopts."""
_CASSETTES: Final = {"--record": "IOTO_RECORD", "--replay": "IOTO_REPLAY"}
"""Options before the command, and the variables that say the same."""
_INTERRUPTED: Final = (129, 130, 143)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command in *arguments* (by default those of the process) and exit with its status."""
    if sys.stdout is None:  # the parent process has closed it
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # as stderr: a character that it cannot encode must not end the command
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    elif isinstance(sys.stderr, io.TextIOWrapper) and isinstance(_raw(sys.stderr), io.FileIO):
        lossy = io.BufferedWriter(_Lossy(sys.stderr.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(lossy, sys.stderr.encoding, "backslashreplace", line_buffering=True)
    sys.exit(_run(arguments))


def _raw(stream: io.TextIOWrapper) -> object:
    """What *stream* writes to, whether Python was told to buffer it or not."""
    return getattr(stream.buffer, "raw", stream.buffer)


class _Lossy(io.FileIO):
    """Stderr, on which nothing depends: what cannot be written to it is dropped."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write *data*, or drop it."""
        written = None
        with contextlib.suppress(OSError):
            written = super().write(data)
        return memoryview(data).nbytes if written is None else written


def _run(arguments: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else [*arguments]
    ARGUMENTS.set(arguments)
    with contextlib.ExitStack() as stack:
        try:
            arguments = _take_cassette(arguments, stack)
        except InvalidArgumentError as error:
            return _print_error(str(error), 2)
        return _run_one(_join_command(arguments))


def _take_cassette(arguments: list[str], stack: contextlib.ExitStack) -> list[str]:
    """Set the variable for a cassette, until *stack* ends, and return the *arguments* behind its option.

    Raises:
        InvalidArgumentError: no file is named, or more than one.
    """
    option, sign, file = arguments[0].partition("=") if arguments else ("", "", "")
    if option not in _CASSETTES:
        return arguments
    rest = arguments[1:]
    if not sign:
        file, rest = (rest or [""])[0], rest[1:]
    if not file:
        raise InvalidArgumentError(f"{option}: expected the path of a cassette")
    if rest and rest[0].partition("=")[0] in _CASSETTES:
        raise InvalidArgumentError(f"{rest[0].partition('=')[0]}: expected no {option} before it")
    before = {name: os.environ.pop(name, None) for name in _CASSETTES.values()}
    stack.callback(_restore, before)
    os.environ[_CASSETTES[option]] = file
    return rest


def _restore(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def _run_one(arguments: list[str]) -> int:
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        status = _print_commands() if arguments in _FOR_COMMANDS else _run_command(command, arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 130
    except ModuleNotFoundError as error:
        if _package(error) not in _EXTRA:
            raise
        return _print_missing(error)
    except IotoError as error:
        return _print_error(_text(error), _status(error))
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:
            # The reader of the results is gone, or the disk is full. What is still buffered is not written at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _print_error(text_of(error), 1)
    if status in _INTERRUPTED and command != "emulator":  # which has it from a command of its own
        return _print_error(f"interrupted{_resume_hint(arguments)}", status)
    return status or 0


def _print_commands() -> int:
    """Print the list of commands; here, as all that reads and prints the help of one takes long to load."""
    import shutil
    import textwrap

    rows = {name: summary for name, (_, summary) in _COMMANDS.items()} | _OPTIONS
    indent = max(map(len, rows)) + 4
    width = max(shutil.get_terminal_size().columns, indent + 20)
    sys.stdout.write(f"Usage: ioto-async COMMAND\n\n{_SUMMARY}\n\nCommands:\n")
    for name, text in rows.items():
        line = textwrap.fill(f"  {name:{indent - 2}}{text}", width, subsequent_indent=" " * indent)
        sys.stdout.write(f"{line}\n")
    return 0


def _run_command(command: str | None, arguments: list[str]) -> int | None:
    try:
        import cyclopts
    except ModuleNotFoundError as error:
        return _print_missing(error)
    app = cyclopts.App(
        name="ioto-async",
        help=_SUMMARY,
        # The list of commands has no markup, and what reads that takes as long to load as the rest of it.
        help_format=None if command in _COMMANDS else "plaintext",
        version=__version__,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        exit_on_error=False,
        print_error=False,
    )
    if command in _COMMANDS:
        home, _ = _COMMANDS[command]
        app.command(getattr(importlib.import_module(f"{__name__}.{home}"), command), name=command)
    else:
        for name, (home, summary) in _COMMANDS.items():
            app.command(f"{__name__}.{home}:{name}", name=name, help=summary)
    try:
        status: int | None = app(arguments)
    except cyclopts.CycloptsError as error:
        known = " ".join(("ioto-async", *(error.command_chain or ())))
        return _print_error(f"{' '.join(str(error).split())} See {known} --help.", 2)
    return status


def _join_command(arguments: list[str]) -> list[str]:
    """The *arguments*, with all that follows ``--exec`` as its value: another command's options are none of ours."""
    if arguments[:1] != ["emulator"] or "--exec" not in arguments:
        return arguments
    end = arguments.index("--exec") + 1
    return [*arguments[:end], shlex.join(arguments[end:])]


def _resume_hint(arguments: Sequence[str]) -> str:
    """How to go on with a command that was interrupted; empty for one that never keeps a journal."""
    from .files import is_stream

    if arguments[:1] not in (["fleet"], ["provision"]) and arguments[:2] != ["metric", "write"]:
        return ""
    files = [argument.removeprefix("--from=") for argument in arguments]
    keeps_journal = "--no-journal" not in arguments and not any(file == "-" or is_stream(Path(file)) for file in files)
    if keeps_journal or any(argument.startswith("--journal") for argument in arguments):
        return f": to go on, run {command_line()}"
    return ": there is no journal to go on from; --journal FILE keeps one"


def _text(error: IotoError) -> str:
    """What is said of *error*: of a setting that is missing, the flag and the variable."""
    if isinstance(error, MissingSettingError):
        flag = _FLAGS.get(error.argument)
        given = "" if flag is None else f"give {flag}, or "
        return f"no {error.what}: {given}set {error.variable}; ioto-async doctor checks all settings"
    return f"{error}" + "".join(f" ({note})" for note in getattr(error, "__notes__", ()))


def _status(error: BaseException | None) -> int:
    """The exit status for *error*."""
    if isinstance(error, InvalidArgumentError):
        return 2
    if isinstance(error, AuthenticationError):
        return 3
    if isinstance(error, ConnectionFailedError):
        return 4
    if isinstance(error, TokenProviderError):
        # The only provider of the command line signs in; its own error, which is the cause, has the status of that.
        cause = error.__cause__
        if isinstance(cause, TokenProviderError):
            return 4 if cause.status is None else 3 if 400 <= cause.status < 500 and cause.attempts == 1 else 1
    return 1


def _print_missing(error: ModuleNotFoundError) -> int:
    from .._install import install_command

    return _print_error(f"{_package(error)} is not installed: {install_command('cli')}", 2)


def _package(error: ModuleNotFoundError) -> str:
    return (error.name or "").partition(".")[0]


def _print_error(text: str, status: int) -> int:
    sys.stderr.write(f"ioto-async: {text}\n")
    return status
