"""What help(), signatures and the values of modules show: nothing of the environment."""

import os
import subprocess
import sys
from pathlib import Path

import ioto_async

ROOT = Path(ioto_async.__file__).parent.parent
MARK = "MARKED-not-for-documents"
VARIABLES = ("IOTO_API", "IOTO_TOKEN", "IOTO_ACCOUNT", "IOTO_PASSWORD", "BUILDER_TOKEN", "AWS_SECRET_ACCESS_KEY")

RENDER = """
import contextlib, importlib, inspect, pkgutil, pydoc
import ioto_async
from ioto_async.cli import main

def render(value):
    print(pydoc.plain(pydoc.render_doc(value)))
    for member in [value, *(getattr(value, name, None) for name in vars(value))]:
        if callable(member):
            try:
                print(inspect.signature(member))
            except (TypeError, ValueError):
                pass  # it has none

# Every module, so that nobody has to remember to add one; importing __main__ would run it.
names = [found.name for found in pkgutil.walk_packages(ioto_async.__path__, "ioto_async.")]
for name in ["ioto_async", *(name for name in names if not name.endswith("__main__"))]:
    module = importlib.import_module(name)
    print({key: value for key, value in vars(module).items() if not key.startswith("__")})
    for value in vars(module).values():
        if getattr(value, "__module__", None) == name and (inspect.isclass(value) or inspect.isroutine(value)):
            render(value)
commands = ("", "call", "fleet provision", "metric write", "emulator", "demo", "doctor", "whoami")
for words in map(str.split, commands):
    with contextlib.suppress(SystemExit):
        main([*words, "--help"])
print("rendered", len(names))
"""


def test_help_and_signatures_show_nothing_of_the_environment() -> None:
    environ = {**os.environ, **{name: f"https://{MARK}-{name}" for name in VARIABLES}}
    command = [sys.executable, "-c", RENDER]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    assert all(word in done.stdout for word in ("with_options", "from_env", "Usage: ioto-async call", "rendered "))
    shown = [line.strip()[:200] for line in (done.stdout + done.stderr).splitlines() if MARK in line]
    assert shown == []
