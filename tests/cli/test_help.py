"""The list of commands that ``ioto-async --help`` prints."""

import importlib
import inspect
import subprocess
import sys

import pytest
from cyclopts import App

from ioto_async import cli
from tests.rows import each_row

_COMMANDS = cli._COMMANDS


@each_row("command", sorted(_COMMANDS))
def test_the_list_says_of_a_command_what_its_own_help_begins_with(command: str) -> None:
    module, summary = _COMMANDS[command]
    found = getattr(importlib.import_module(f"ioto_async.cli.{module}"), command)
    text = found.help if isinstance(found, App) else inspect.getdoc(found)
    assert str(text).splitlines()[0] == summary


@each_row("arguments", [["--help"], ["-h"], [], ["--version"]])
def test_the_list_is_printed_without_loading_the_commands(arguments: list[str]) -> None:
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from ioto_async.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    loaded = {*done.stdout.split()}
    assert "ioto_async.cli" in loaded
    assert {name for name in loaded if name.split(".")[0] in ("aiohttp", "cryptography", "markdown_it")} == set()
    assert {name for name in loaded if name.startswith(("ioto_async.cli.", "ioto_async.client"))} == {
        "ioto_async.cli.command_line"
    }


@each_row("command", sorted(_COMMANDS))
def test_help_of_one_command_may_be_asked_for_before_it(capsys: pytest.CaptureFixture[str], command: str) -> None:
    asked = []
    for arguments in (["--help", command], [command, "--help"]):
        assert cli._run(arguments) == 0
        asked.append(capsys.readouterr().out)
    assert asked[0] == asked[1] != ""


@each_row(
    "arguments, complaint",
    [
        (["whoam"], 'Unknown command "whoam". Did you mean "whoami"?'),
        (["fleet", "clam"], 'Unknown command "clam". Did you mean "claim"?'),
        (
            ["metric", "get"],
            'Command "metric get" parameter DEVICE requires an argument. See ioto-async metric get --help.',
        ),
        (["device", "list", "--limit", "0"], 'Invalid value "0" for --limit. Must be 1 or more.'),
        (
            ["store", "list", "DEV1", "--output", "xml"],
            'Invalid value "xml" for --output. Choose from: "table", "json"',
        ),
    ],
)
def test_wrong_usage_is_one_line_with_the_next_step(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert cli._run(arguments) == 2
    stdout, stderr = capsys.readouterr()
    (line,) = stderr.splitlines()
    assert line.startswith(f"ioto-async: {complaint}")
    assert line.endswith(" --help.")
    assert stdout == ""
