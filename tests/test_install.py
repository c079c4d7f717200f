"""The command that adds an extra: it works for whoever has installed the package the way that it is."""

import json
import subprocess
import sys
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import ioto_async
from ioto_async._install import install_command
from tests.rows import each_row

ROOT = Path(ioto_async.__file__).parent.parent


def installed(folder: Path, origin: object, installer: str | None = "pip\n") -> PathDistribution:
    """The metadata of a package with that ``direct_url.json``; None for none, text for one that is no JSON."""
    info = folder / "ioto_async-0.1.0.dist-info"
    info.mkdir(exist_ok=True)
    for name, content in {
        "direct_url.json": origin if isinstance(origin, str) else json.dumps(origin),
        "INSTALLER": installer,
    }.items():
        (info / name).unlink(missing_ok=True)
        if content not in (None, "null"):
            (info / name).write_text(str(content))
    return PathDistribution(info)


@each_row(
    "origin, command",
    {
        "an index": (None, "pip install 'ioto-async[cli]'"),
        "a checkout": (
            {"url": "file:///home/ann/my%20ioto", "dir_info": {"editable": True}},
            "pip install -e '/home/ann/my ioto[cli]'",
        ),
        "a copy of a checkout": ({"url": "file:///src/ioto", "dir_info": {}}, "pip install '/src/ioto[cli]'"),
        "not editable": ({"url": "file:///src", "dir_info": {"editable": False}}, "pip install '/src[cli]'"),
        "a wheel": (
            {"url": "file:///w/ioto_async-0.1.0-py3-none-any.whl", "archive_info": {}},
            "pip install 'ioto-async[cli] @ file:///w/ioto_async-0.1.0-py3-none-any.whl'",
        ),
        "a wheel of a server": (
            {"url": "https://files.example/ioto_async-0.1.0-py3-none-any.whl", "archive_info": {"hash": "x"}},
            "pip install 'ioto-async[cli] @ https://files.example/ioto_async-0.1.0-py3-none-any.whl'",
        ),
        "a repository": (
            {"url": "https://git.example/ioto.git", "vcs_info": {"vcs": "git", "commit_id": "4f2c"}},
            "pip install 'ioto-async[cli] @ git+https://git.example/ioto.git@4f2c'",
        ),
        "a branch of a repository": (
            {
                "url": "https://git.example/all.git",
                "vcs_info": {"vcs": "git", "commit_id": "4f2c", "requested_revision": "main"},
                "subdirectory": "sdk",
            },
            "pip install 'ioto-async[cli] @ git+https://git.example/all.git@main#subdirectory=sdk'",
        ),
        "no JSON": ("{", "pip install 'ioto-async[cli]'"),
        "JSON of something else": ("[1]", "pip install 'ioto-async[cli]'"),
        "an odd URL": ({"url": 5, "dir_info": {}}, "pip install 'ioto-async[cli]'"),
    },
)
def test_the_command_names_again_where_the_package_came_from(tmp_path: Path, origin: object, command: str) -> None:
    assert install_command("cli", installed(tmp_path, origin)) == command


@each_row(
    "installer, command",
    [
        ("uv", "uv pip install -e '/src[plot]'"),
        ("pip", "pip install -e '/src[plot]'"),
        (None, "pip install -e '/src[plot]'"),
    ],
)
def test_the_command_is_that_of_who_has_installed_the_package(
    tmp_path: Path, installer: str | None, command: str
) -> None:
    origin: dict[str, Any] = {"url": "file:///src", "dir_info": {"editable": True}}
    assert install_command("plot", installed(tmp_path, origin, installer)) == command


def test_a_checkout_that_is_not_installed_is_named_itself() -> None:
    # Isolated, so that nothing is installed in it.
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from ioto_async import _install; "
    code += "print(_install.install_command('cli'))"
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"pip install -e '{ROOT}[cli]'\n", "")


@each_row(
    "missing, command",
    [("cyclopts", "doctor"), ("rich", "demo"), ("cryptography", "emulator"), ("semver", "emulator")],
)
def test_a_command_without_the_package_that_it_needs_names_what_installs_it(missing: str, command: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from ioto_async.cli import main; main([{command!r}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"ioto-async: {missing} is not installed: {install_command('cli')}\n"


def test_the_emulator_says_which_extra_it_needs() -> None:
    code = "import sys; sys.modules['semver'] = None; import ioto_async.emulator"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (
        "semver is not installed, which the emulator needs: install ioto-async with its extra emulator" in done.stderr
    )
