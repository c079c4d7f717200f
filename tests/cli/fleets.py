"""Runs ``ioto-async fleet`` as a user does, in this process or in one of its own."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from ioto_async.cli import _run


@attrs.frozen
class Result:
    status: int
    stdout: str
    stderr: str

    @property
    def figures(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.stdout)
        return loaded

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines of ``--output jsonl``, in the order of the file."""
        return sorted((json.loads(line) for line in self.stdout.splitlines()), key=lambda row: int(row["line"]))


@attrs.frozen
class Fleet:
    """A fleet file in a folder of its own, and the commands for it."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def file(self) -> Path:
        return self.folder / "fleet.csv"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def journal(self, command: str) -> Path:
        return self.folder / f"fleet.csv.{command}.journal"

    def write_journal(self, command: str, lines: str) -> None:
        """Leave what a run of *command* at the cloud of the environment may have left."""
        head = {"journal": 1, "call": f"fleet {command} at {os.environ['IOTO_API']}"}
        self.journal(command).write_text(json.dumps(head, separators=(",", ":")) + "\n" + lines)

    def journaled(self, command: str) -> dict[str, str]:
        """The last status of each ID in the journal."""
        lines = [json.loads(line) for line in self.journal(command).read_text().splitlines()]
        return {line["key"]: line["status"] for line in lines[1:]}

    def write(self, text: str) -> None:
        self.file.write_text(text, encoding="utf-8")

    def __call__(self, command: str, *options: str) -> Result:
        """Run ``ioto-async fleet COMMAND FILE``; the figures are JSON."""
        return self.raw("fleet", command, str(self.file), "--json", *options)

    def provision(self, *options: str) -> Result:
        return self("provision", "--out", str(self.out), *options)

    def listed(self, command: str, *options: str) -> Result:
        """Run it with a line of JSON for every row on stdout."""
        return self.raw("fleet", command, str(self.file), "--output", "jsonl", *options)

    def raw(self, *arguments: str) -> Result:
        return Result(*ran(self.capture, arguments))


def ran(capture: pytest.CaptureFixture[str], arguments: Sequence[str]) -> tuple[int, str, str]:
    """Run ``ioto-async`` in this process: its status, and what it has printed on stdout and stderr."""
    capture.readouterr()
    status = _run(arguments)
    captured = capture.readouterr()
    return status, captured.out, captured.err


@contextlib.contextmanager
def piped(text: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let stdin be a pipe that gives *text*, which must not be more than a pipe can hold."""
    read, write = os.pipe()
    os.write(write, text.encode())
    os.close(write)
    with os.fdopen(read) as stdin, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", stdin)
        yield


def start(*arguments: str, environ: dict[str, str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "ioto_async.cli", *arguments],
        env=os.environ | environ | {"PYTHONUNBUFFERED": ""},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what was read ahead would be lost to communicate
    )
