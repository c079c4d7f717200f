"""An environment in which every command works on an embedded cloud: for a shell, or for one command."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Literal
from urllib.parse import urlsplit

from ...emulator import Emulator
from ..command_line import ARGUMENTS

__all__ = [
    "BACKGROUND",
    "PassedOn",
    "Shell",
    "environment",
    "run_command",
    "show_console",
    "start_in_background",
]

Shell = Literal["bash", "zsh", "fish"]
BACKGROUND: Final = "_IOTO_EMULATOR_BACKGROUND"
"""The variable that tells a process that it is the one in the background."""
_OURS: Final = ("IOTO_", "BUILDER_")
_RECORD: Final = "IOTO_RECORD"
"""What leads nowhere else, but to a file of what is sent here."""
_PROXIES: Final = ("NO_PROXY", "no_proxy")
# What curl, requests and boto3 read in place of SSL_CERT_FILE.
_BUNDLES: Final = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")
_PASSED_ON: Final = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH")
# What a terminal sends to all processes in its foreground, the command among them.
_OF_TERMINALS: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH)


# The environment ------------------------------------------------------------------------------------------------------


def environment(running: Emulator, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables to be set; None for those to be removed from *environ*, as they may lead elsewhere."""
    stale = dict.fromkeys((name for name in environ if name.startswith(_OURS) and name != _RECORD), None)
    hosts = dict.fromkeys(["localhost", "127.0.0.1", "::1", urlsplit(running.api).hostname or ""])
    unproxied = {
        name: ",".join(dict.fromkeys([*filter(None, environ.get(name, "").split(",")), *hosts])) for name in _PROXIES
    }
    # Node adds the one to the system's; where Python and curl read the other, there is no other way to add one.
    trusted = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", *(name for name in _BUNDLES if environ.get(name))]
    # The command may go to another folder than that which --db begins in.
    trust = dict.fromkeys(trusted, str(Path(running.ca).absolute()))
    return {**stale, **running.env, **unproxied, **trust}


def _statements(variables: Mapping[str, str | None], shell: Shell) -> Iterable[str]:
    """Return a line for each variable, for the *shell* to read."""
    for name, value in variables.items():
        if shell == "fish":
            # A universal variable would be erased for good, and cannot be hidden; empty it means nothing.
            unset = f"set -qU {name}; and set -gx {name} ''; or set -e {name};"
            yield unset if value is None else f"set -gx {name} {_quote_for_fish(value)};"
        else:
            yield f"unset {name};" if value is None else f"export {name}={shlex.quote(value)};"


def _quote_for_fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _own_shell() -> Shell:
    name = Path(os.environ.get("SHELL", "")).name
    return "fish" if name == "fish" else "zsh" if name == "zsh" else "bash"


# In the background ----------------------------------------------------------------------------------------------------


def start_in_background(shell: Shell | None, *, log: bool) -> int:
    """Run this command again, in the background, and print what puts its variables into a shell.

    Args:
        shell: whose language to write; that of SHELL if None.
        log: whether the process in the background may write to stderr.

    Returns the exit status of that process, whose message is on stderr, if it has not started; else 0.
    """
    command = [sys.executable, "-P", "-m", "ioto_async.cli", *ARGUMENTS.get()]
    # Not the caller's stderr: whoever reads that to its end would wait for the process in the background.
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(  # noqa: S603 - this very command
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if log else errors,
            env={**os.environ, BACKGROUND: "1"},
            start_new_session=True,
        )
        assert child.stdout is not None
        try:
            with child.stdout as lines:
                line = lines.readline()
        except BaseException:
            child.terminate()
            raise
        if not line:
            status = child.wait()
            _copy(errors)
            return status or 1
    variables: dict[str, str | None] = {**json.loads(line), "IOTO_EMULATOR_PID": str(child.pid)}
    child.returncode = 0  # it is not waited for
    sys.stdout.writelines(f"{line}\n" for line in _statements(variables, shell or _own_shell()))
    show_console(f"{variables['IOTO_EMULATOR']}/")
    _show_previous(os.environ.get("IOTO_EMULATOR_PID", ""))
    return 0


def _show_previous(pid: str) -> None:
    """Say how to stop the cloud that the shell has had until now, as its variable is about to be replaced."""
    if not (pid.isascii() and pid.isdigit() and int(pid)):  # 0 would be this group of processes
        return
    try:
        os.kill(int(pid), 0)
    except (OSError, OverflowError):
        return
    sys.stderr.write(f"ioto-async: the previous embedded cloud of this shell still runs; to stop it: kill {pid}\n")


def show_console(url: str) -> None:
    """Say to people on a terminal where the console is."""
    if sys.stderr.isatty():
        sys.stderr.write(f"The console is at {url}\n")


def _copy(errors: IO[bytes]) -> None:
    errors.seek(0)
    sys.stderr.write(errors.read().decode(errors="replace"))


# One command ----------------------------------------------------------------------------------------------------------


class PassedOn:
    """Passes the signals of this process on to the command, from now on; what comes before it runs waits for it."""

    def __init__(self) -> None:
        self._child: asyncio.subprocess.Process | None = None
        self._waiting: list[signal.Signals] = []
        loop = asyncio.get_running_loop()
        for number in (signal.Signals[name] for name in _PASSED_ON):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it for SIGHUP
                loop.add_signal_handler(number, self._pass_on, number)

    def to(self, child: asyncio.subprocess.Process) -> None:
        """Pass them on to *child*."""
        self._child = child
        for number in self._waiting:
            child.send_signal(number)

    def _pass_on(self, number: signal.Signals) -> None:
        if self._child is None:
            self._waiting.append(number)
        elif self._child.returncode is None and not (number in _OF_TERMINALS and _is_in_foreground()):
            self._child.send_signal(number)


async def run_command(running: Emulator, words: Sequence[str], signals: PassedOn) -> int:
    """Run a command, the user's shell if there are no *words*, and return its exit status, 128 + n for signal n."""
    variables = environment(running, os.environ)
    environ = {name: value for name, value in {**os.environ, **variables}.items() if value is not None}
    command = list(words) or [os.environ.get("SHELL") or "/bin/sh"]
    try:
        child = await asyncio.create_subprocess_exec(*command, env=environ)
    except OSError as error:
        # As shells have it.
        sys.stderr.write(f"ioto-async: --exec: {command[0]}: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126
    signals.to(child)
    status = await child.wait()
    return status if status >= 0 else 128 - status


def _is_in_foreground() -> bool:
    """Whether this process is in the foreground of a terminal, whose signals the command gets by itself."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
