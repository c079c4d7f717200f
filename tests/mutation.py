"""Mutants of the source, run against the tests of their room: ``python -m tests.mutation``.

A mutant is a copy of the package with one small change: an operator, a number, a condition, a return value, a statement
or the order of two arguments. It is killed if the tests of its room fail or do not end in time, and survives if they
pass. The same seed gives the same mutants of the same source, so two trees of tests can be compared::

    python -m tests.mutation --json after.json
    python -m tests.mutation --json before.json --tests ../before/tests
    python -m tests.mutation --compare before.json after.json

An interrupted run goes on where it stopped if it gets the same ``--json`` file, which is for one state of the source.
"""

import argparse
import ast
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "ioto_async"

ROOMS: dict[str, tuple[str, str]] = {
    "retry": ("transport/retry.py", "transport/test_retry.py transport/test_retries.py"),
    "transport": (
        "transport/transport.py transport/attempt.py transport/deadlines.py transport/effects.py",
        "transport/test_transport.py test_client.py bulk/test_doubt.py",
    ),
    "auth": ("transport/auth.py", "transport/test_auth.py transport/test_cognito.py"),
    "encoding": ("codec/encoding.py", "codec/test_encoding.py controllers/test_requests.py codec/test_roundtrip.py"),
    "decoding": ("codec/decoding.py codec/records.py", "codec/test_decoding.py codec/test_roundtrip.py"),
    "engine": (
        "bulk/engine.py bulk/calling.py",
        "bulk/test_engine.py bulk/test_ends.py bulk/test_doubt.py bulk/test_clients.py",
    ),
    "journal": ("bulk/journal.py bulk/index.py", "bulk/test_index.py bulk/test_journal.py"),
    "limits": ("transport/limits.py", "transport/test_limits.py"),
    "limiter": ("transport/limiter.py", "transport/test_limiter.py"),
}
"""The sources of each room, and its test files, the likeliest to fail first. A file that does not exist is left out."""

_PAIRS: list[tuple[type[ast.AST], type[ast.AST]]] = [
    *[(ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)],
    *[(ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div)],
]
_SWAPS = {old: new for pair in _PAIRS for old, new in (pair, pair[::-1])}
_PYTEST = "-m pytest -x -q -n 0 -p no:randomly --hypothesis-seed 0"
_LIMIT = 'ulimit -v 4194304; exec "$0" "$@"'
"""A mutant that never stops allocating must not take the memory of the machine."""

Place = tuple[ast.AST, str, int | None]
"""A node, one of its fields, and the index in it if that is a list."""


@dataclass(frozen=True)
class Mutant:
    """A file with one change: its record, and its whole text."""

    record: dict[str, Any]
    source: str


def key(record: dict[str, Any]) -> str:
    """What a record is about, on one line."""
    return f"{record['file']}:{record['line']}: {record['change']}"


def _is_left_alone(node: ast.AST) -> bool:
    """Whether a change of *node* would be seen by readers and type checkers only."""
    match node:
        case ast.Assign(targets=[ast.Name(id="__all__" | "__slots__")]) | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="logger")))) | ast.JoinedStr():
            return True
        case ast.Assert() | ast.Raise(exc=ast.Call(func=ast.Name(id="AssertionError"))):
            return True
    return False


def _places(node: ast.AST, *, in_function: bool = False) -> Iterator[tuple[Place, ast.AST, bool]]:
    """Every node below *node* that may change, with its place, and whether it belongs to a function."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "ops", "op"):
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST) and not _is_left_alone(child):
                yield (node, name, index if isinstance(value, list) else None), child, in_function
                inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from _places(child, in_function=inside)


def _copy(node: Any, **fields: Any) -> Any:
    """*node* with other *fields*; what it is made of is shared."""
    return type(node)(**{name: fields.get(name, value) for name, value in ast.iter_fields(node)})


def _expressions(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand where the expression *node* stands."""
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                yield _copy(node, ops=[*ops[:index], _SWAPS[type(op)](), *ops[index + 1 :]])
        case ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in _SWAPS:
            yield _copy(node, op=_SWAPS[type(op)]())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(value=float(value)):
            yield from (ast.Constant(number) for number in ((2 * value, value / 2) if value else (1.0,)))
        case ast.IfExp():
            yield from (_copy(node, test=ast.Constant(value)) for value in (True, False))
        case ast.Call(func=ast.Name(id="min" | "max" | "isinstance")):
            pass  # the order does not matter, or every mutant fails at once
        case ast.Call(args=[first, second, *others]):
            if ast.dump(first) != ast.dump(second) and not isinstance(second, ast.Starred):
                yield _copy(node, args=[second, first, *others])


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand where the statement *node* of a function stands."""
    match node:
        case ast.If():
            yield from (_copy(node, test=ast.Constant(value)) for value in (True, False))
        case ast.While(test=test) if not isinstance(test, ast.Constant):
            yield _copy(node, test=ast.Constant(False))
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Assign() | ast.Delete() | ast.Raise():
            yield ast.Pass()
        case ast.Break() | ast.Continue():
            yield ast.Pass()
        case ast.AugAssign(op=op):
            yield ast.Pass()
            if type(op) in _SWAPS:
                yield _copy(node, op=_SWAPS[type(op)]())


def _mutant(room: str, file: str, tree: ast.Module, place: Place, old: ast.AST, new: ast.AST) -> Mutant:
    texts = [ast.unparse(ast.fix_missing_locations(node)).partition("\n")[0] for node in (old, new)]
    parent, name, index = place
    value = getattr(parent, name)
    setattr(parent, name, new if index is None else [*value[:index], new, *value[index + 1 :]])
    source = ast.unparse(ast.fix_missing_locations(tree))
    setattr(parent, name, value)
    record = {"room": room, "file": file, "line": vars(old)["lineno"], "change": " -> ".join(texts)}
    return Mutant(record, source)


def chosen(count: int, seed: int, rooms: list[str]) -> dict[str, Mutant]:
    """The mutants of *rooms* among *count* of all rooms, each of which has a share by the number of its mutants."""
    changes: dict[str, list[tuple[str, ast.Module, Place, ast.AST, ast.AST]]] = {room: [] for room in ROOMS}
    for room, (sources, _) in ROOMS.items():
        for file in sources.split():
            if (path := ROOT / PACKAGE / file).exists():
                tree = ast.parse(path.read_text("utf-8"))
                for place, old, in_function in _places(tree):
                    others = [*_expressions(old), *(_statements(old) if in_function else ())]
                    changes[room] += [(file, tree, place, old, new) for new in others]
    total = sum(map(len, changes.values()))
    mutants: list[Mutant] = []
    for room in rooms:
        share = min(round(count * len(changes[room]) / total), len(changes[room]))
        mutants += [_mutant(room, *change) for change in random.Random(f"{seed} {room}").sample(changes[room], share)]
    return {key(mutant.record): mutant for mutant in mutants}


class Workshop:
    """A copy of the package and of the tests, in which one mutant at a time is tried."""

    def __init__(self, path: Path, tests: Path) -> None:
        self.path = path
        for source, name in ((ROOT / PACKAGE, PACKAGE), (tests, "tests")):
            shutil.copytree(source, path / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", path)

    def run(self, room: str, limit: float | None) -> str | None:
        """What the tests of *room* say: passed, failed, or None if they take more than *limit* seconds."""
        files = [f"tests/{name}" for name in ROOMS[room][1].split() if (self.path / "tests" / name).exists()]
        shutil.rmtree(self.path / ".hypothesis/examples", ignore_errors=True)
        process = subprocess.Popen(
            ["/bin/sh", "-c", _LIMIT, sys.executable, *_PYTEST.split(), *files],
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(self.path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return "failed" if process.wait(limit) else "passed"
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def try_out(self, mutant: Mutant, limit: float, mtime: int) -> dict[str, Any]:
        """The record of *mutant*; its file gets *mtime*, as Python tells stale bytecode by that."""
        path = self.path / PACKAGE / mutant.record["file"]
        original = path.read_text("utf-8")
        path.write_text(mutant.source, "utf-8")
        os.utime(path, (mtime, mtime))
        began = time.monotonic()
        try:
            outcome = {"failed": "killed", "passed": "survived", None: "time-out"}[
                self.run(mutant.record["room"], limit)
            ]
        finally:
            path.write_text(original, "utf-8")
        return {**mutant.record, "outcome": outcome, "seconds": round(time.monotonic() - began, 1)}


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The records of a file by what they changed."""
    records = map(json.loads, path.read_text("utf-8").splitlines()) if path.exists() else ()
    return {key(record): record for record in records}


def compare(before: Path, after: Path) -> int:
    """List what was killed *before* and is not *after*; 1 if there is any."""
    old, new = read(before), read(after)
    lost = [
        f"{name}: {new[name]['outcome'] if name in new else 'not tried'}"
        for name, record in old.items()
        if record["outcome"] != "survived" and (name not in new or new[name]["outcome"] == "survived")
    ]
    sys.stdout.write("\n".join([*lost, f"{len(lost)} of {len(old)} mutants were killed before and are not after", ""]))
    return int(bool(lost))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=400, help="mutants of all rooms together")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS), metavar="ROOM")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tests", type=Path, default=ROOT / "tests", help="another tree of tests")
    parser.add_argument("--json", type=Path, help="one record a line; what is there already is not tried again")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    options = parser.parse_args()
    if options.compare:
        return compare(*options.compare)
    mutants = chosen(options.count, options.seed, options.rooms)
    with TemporaryDirectory() as temporary:
        records = options.json or Path(temporary, "records.json")
        workshops = queue.SimpleQueue[Workshop]()
        limits: dict[str, float] = {}
        for job in range(options.jobs):
            workshop = Workshop(Path(temporary, str(job)), options.tests.resolve())
            for room in options.rooms:
                began = time.monotonic()
                if workshop.run(room, None) == "failed":
                    parser.exit(2, f"the tests of {room} fail without a mutant\n")
                limits[room] = 30 + 5 * (time.monotonic() - began)
            workshops.put(workshop)

        def try_out(number: int, mutant: Mutant) -> dict[str, Any]:
            workshop = workshops.get()
            try:
                return workshop.try_out(mutant, limits[mutant.record["room"]], 1_000_000_000 + number)
            finally:
                workshops.put(workshop)

        done = read(records)
        left = [mutant for name, mutant in mutants.items() if name not in done]
        with records.open("a", encoding="utf-8") as file, ThreadPoolExecutor(options.jobs) as pool:
            try:
                for each in as_completed([pool.submit(try_out, *numbered) for numbered in enumerate(left)]):
                    file.write(f"{json.dumps(each.result())}\n")
                    file.flush()
            except KeyboardInterrupt:
                pool.shutdown(cancel_futures=True)
                raise
        found = [record for name, record in read(records).items() if name in mutants]
    sys.stdout.write("".join(f"{key(record)}: survived\n" for record in found if record["outcome"] == "survived"))
    for room in options.rooms:
        counts = Counter(record["outcome"] for record in found if record["room"] == room)
        sys.stdout.write(f"{room}: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
