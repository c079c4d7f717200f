"""The pages of the documentation, and the world in which their examples run."""

import ast
import asyncio
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import attrs
import pytest

from ioto_async import IotoClient
from ioto_async.emulator import EmulatorThread

__all__ = ["OPERATIONS", "PAGES", "ROOT", "Block", "Page", "World", "blocks", "commands"]

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
OPERATIONS: Final = "docs/operations.md"
"""Its examples are run by test_docs.py, which also looks at the request that each of them makes."""

_FENCE: Final = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_DEVICE: Final = re.compile(r"M72DANY8B[0-9A-Z]")
_CLAIMS: Final = re.compile(r"\.claim\b|\bprovision [\w.-]+\.csv|fleet claim")
_SERVES: Final = re.compile(r"ioto-async emulator(?! (?:wait|status|snapshot)\b)(?!.* --(?:exec|env|replay)\b)")
_MARK: Final = "[end of a command]"
_IN_BACKGROUND: Final = "IOTO_EMULATOR_PID"
"""The process of ``ioto-async emulator --env``."""


@attrs.frozen
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    """Of the page, counted from 1, on which the source begins."""
    language: str
    source: str

    @property
    def padded(self) -> str:
        """The source with as many empty lines in front as the page has, so that tracebacks name its lines."""
        return "\n" * (self.line - 1) + self.source

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str, language: str | None = None) -> list[Block]:
    """Return the blocks of *page*, of one *language* or of all."""
    text = PAGES[page]
    found = []
    for match in _FENCE.finditer(text):
        indent, name, source = match.groups()
        if language in (None, name):
            source = re.sub(f"^{indent}", "", source, flags=re.MULTILINE)
            found.append(Block(page, text.count("\n", 0, match.start(3)) + 1, name, source))
    return found


@attrs.frozen
class Command:
    """A command of a console block, and what the page says that it prints."""

    text: str
    output: str

    @property
    def runs(self) -> bool:
        """Whether it can be run: not if it installs something (.ci/run does), or has a place for the reader to fill."""
        return not self.text.startswith("pip install") and "…" not in self.text

    def shows(self, printed: str) -> bool:
        """Say whether *printed* is what the page has, in which ``…`` stands for any text."""
        expected = ".*".join(re.escape(part) for part in _tidy(self.output).split("…"))
        return not self.output.strip() or re.fullmatch(expected, _tidy(printed), re.DOTALL) is not None


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console *block*: lines after a ``$``, which go on in the next line after a backslash."""
    for part in re.split(r"^\$ ", block.source, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = f"{command}\n{more}"
        yield Command(command, output)


@attrs.frozen
class Page:
    """A page whose examples run one after the other: in one folder, with one embedded cloud, as a reader tries them."""

    name: str

    @property
    def blocks(self) -> list[Block]:
        """What runs of it."""
        return [block for block in blocks(self.name) if block.language in ("python", "console")]

    @property
    def devices(self) -> list[str]:
        """The IDs that its examples have, which are registered."""
        return sorted(set(_DEVICE.findall(PAGES[self.name])))


class _Shell:
    """One bash for all commands of a page, so that a variable that is set stays set."""

    def __init__(self, folder: Path) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Run *command*, and return its exit status and what it has printed, on stdout and stderr."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {command}\n}} < /dev/null\necho '{_MARK}' $?\n")
        self._bash.stdin.flush()
        printed = ""
        while _MARK not in printed:
            line = self._bash.stdout.readline()
            assert line, f"{command}\nhas ended the shell:\n{printed}"
            printed += line
        printed, _, status = printed.partition(_MARK)
        return int(status), printed

    def environ(self) -> dict[str, str]:
        """The variables that are set in it."""
        _, names = self.run("compgen -e")
        values = (self.run(f'printf %s "${name}"') for name in names.split())
        return dict(zip(names.split(), (value for _, value in values), strict=True))

    def close(self) -> None:
        self._bash.communicate()


class World:
    """What the examples of a page take as given: a cloud in the environment, a folder, and the names of the page.

    The devices of a page are registered. They are claimed before each block, unless it claims them itself.
    """

    def __init__(self, page: Page, emulator: EmulatorThread, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._page, self._emulator, self._folder, self._patch = page, emulator, folder / "page", monkeypatch
        self.names: dict[str, Any] = {"__name__": "__main__", "emulator": emulator}
        self._runner = asyncio.Runner()
        self._servers: list[subprocess.Popen[str]] = []
        self._folder.mkdir()
        program = folder / "bin" / "ioto-async"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m ioto_async.cli "$@"\n')
        program.chmod(0o755)
        monkeypatch.chdir(self._folder)
        monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{Path(sys.executable).parent}", prepend=os.pathsep)
        monkeypatch.setenv("COLUMNS", "100")
        for name, value in {**emulator.env, "SSL_CERT_FILE": emulator.ca}.items():
            monkeypatch.setenv(name, value)
        for id in page.devices:
            emulator.cloud.register_device(id)
        emulator.cloud.add_update("2.0.0", b"image")
        self._shell = _Shell(self._folder)

    def __enter__(self) -> Self:
        self.names["client"] = IotoClient.from_env()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.terminate()
            server.communicate()
        self._shell.close()
        if number := os.environ.get(_IN_BACKGROUND):
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGTERM)
        self._runner.run(self.names["client"].aclose())
        self._runner.close()

    def run(self, block: Block) -> None:
        """Run *block*; it fails as a test does."""
        claim = not _CLAIMS.search(block.source)
        for id in self._page.devices:
            if (self._emulator.cloud.device(id) is not None) is not claim:
                (self._emulator.cloud.claim_device if claim else self._emulator.cloud.release_device)(id)
        if block.language == "console":
            for command in commands(block):
                if command.runs:
                    self._command(block, command)
        else:
            code = compile(block.padded, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            if code.co_flags & inspect.CO_COROUTINE:
                self._runner.run(eval(code, self.names))
            else:
                exec(code, self.names)

    def _command(self, block: Block, command: Command) -> None:
        shown = re.fullmatch(r"cat ([\w./-]+)", command.text)
        if shown and not (self._folder / shown[1]).exists():
            (self._folder / shown[1]).write_text(command.output)  # what a page shows of a file is how it gets there
        elif _SERVES.match(command.text):
            self._serve(command.text)
        else:
            # A real cloud is asked twice a second; this one bears more.
            text = command.text.replace(" --conformance", " --conformance --rate 1000/s")
            status, printed = self._shell.run(text)
            assert status == 0, f"{block}: {command.text}\nhas ended with {status}:\n{printed}"
            assert command.shows(printed), f"{block}: {command.text}\nhas printed:\n{printed}"
            if command.text.startswith(("eval ", "export ")):
                for name, value in self._shell.environ().items():
                    self._patch.setenv(name, value)  # for the programs of the page as well

    def _serve(self, command: str) -> None:
        """Start a server on a free port, and leave it running until the end of the page."""
        words = shlex.split(re.sub(r"--port \d+", "--port 0", command), comments=True)
        server = subprocess.Popen(words, cwd=self._folder, stdout=subprocess.PIPE, text=True)
        self._servers.append(server)
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["api"]
