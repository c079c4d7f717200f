"""Writes ``docs/public-api.txt``: every public name, with the signatures of its methods, as they stand in the source.

``python -m tests.public_api`` after a change of the public interface. Read from the source, as the text of a signature
is then the same on every version of Python.
"""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Final

__all__ = ["PAGE", "public_api"]

PAGE: Final = Path(__file__).parent.parent / "docs" / "public-api.txt"
PACKAGES: Final = (
    "ioto_async",
    "ioto_async.bulk",
    "ioto_async.controllers",
    "ioto_async.distributed",
    "ioto_async.emulator",
    "ioto_async.integrations",
    "ioto_async.integrations.aiohttp_web",
    "ioto_async.integrations.starlette",
    "ioto_async.models",
    "ioto_async.mqtt",
    "ioto_async.operations",
    "ioto_async.testing",
)
"""The packages whose ``__all__`` may be relied upon; everything else is ours."""


def public_api() -> str:
    """The whole list. A class that several packages have is listed with the first, and named with the others."""
    seen: dict[int, str] = {}
    return "\n".join(line for package in PACKAGES for line in _package(package, seen)) + "\n"


def _package(package: str, seen: dict[int, str]) -> Iterator[str]:
    module = importlib.import_module(package)
    for name in sorted(module.__all__):
        value, path = getattr(module, name), f"{package}.{name}"
        known = seen.setdefault(id(value), path)
        if known != path and isinstance(value, type | FunctionType):
            yield f"{path} = {known}"
        elif isinstance(value, type) and value.__module__.startswith("ioto_async"):
            yield from _class(value, path)
        elif isinstance(value, FunctionType) and value.__module__.startswith("ioto_async"):
            yield from (f"{path}{_signature(node)}" for node in _body_of(value) if isinstance(node, _FUNCTIONS))
        else:
            yield path


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _class(cls: type, path: str) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    yield f"class {path}({bases})" if bases else f"class {path}"
    # Those of bases that are not public themselves are members as well; the nearest definition counts.
    members: dict[str, list[str]] = {}
    for owner in cls.__mro__:
        if owner.__module__.startswith("ioto_async"):
            found: dict[str, list[str]] = {}
            for name, line in _members(owner):
                found.setdefault(name, []).append(line)
            members = {**found, **members}
    for _, lines in sorted(members.items()):
        yield from (f"    {line}" for line in lines)


def _members(cls: type) -> Iterator[tuple[str, str]]:
    (node,) = _body_of(cls)
    assert isinstance(node, ast.ClassDef)
    for member in node.body:
        if isinstance(member, _FUNCTIONS) and (
            member.name in ("__init__", "__call__") or not member.name.startswith("_")
        ):
            marks = [ast.unparse(mark) for mark in member.decorator_list]
            if not any(mark.endswith((".validator", ".default", ".setter")) for mark in marks):
                shown = "".join(f"@{mark} " for mark in marks if mark in ("property", "classmethod", "staticmethod"))
                start = "async " if isinstance(member, ast.AsyncFunctionDef) else ""
                yield member.name, f"{shown}{start}{member.name}{_signature(member)}"
        elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            if not member.target.id.startswith("_"):
                yield member.target.id, f"{member.target.id}: {ast.unparse(member.annotation)}{_default(member.value)}"
        elif isinstance(member, ast.Assign):  # a member of an enum
            for target in member.targets:
                if isinstance(target, ast.Name) and not target.id.startswith("_"):
                    yield target.id, f"{target.id} = {ast.unparse(member.value)}"


def _default(value: ast.expr | None) -> str:
    """What of the value of a member its reader may rely upon: that there is one."""
    if isinstance(value, ast.Call):  # attrs.field(…)
        return " = ..." if {"default", "factory"} & {word.arg for word in value.keywords} else ""
    return "" if value is None else f" = {ast.unparse(value)}"


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(node.args)}){result}"


def _body_of(value: type | FunctionType) -> list[ast.stmt]:
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body


if __name__ == "__main__":
    PAGE.write_text(public_api(), encoding="utf-8")
