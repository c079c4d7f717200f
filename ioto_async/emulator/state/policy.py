"""The expressions of update policies: parsed here, never evaluated as code.

The language is a part of JavaScript: names, numbers, texts, ``true``, ``false``, ``null``, ``undefined``, parentheses
and ``! && || == != === !== < <= > >=``.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import semver

__all__ = ["parse"]

_Part = Callable[[Mapping[str, Any]], Any]

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)|(?P<text>'[^'\\]*'|\"[^\"\\]*\")|(?P<name>[A-Za-z_$][\w$]*)"
    r"|(?P<sign>===|!==|==|!=|<=|>=|&&|\|\||[!<>()]))",
    re.ASCII,
)
_LITERALS: Final[Mapping[str, object]] = {"true": True, "false": False, "null": None, "undefined": None}
# These keep parsing and evaluation, which recurse, far from the interpreter's limit.
_MAX_DEPTH: Final = 50
_MAX_LENGTH: Final = 1000


def parse(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """Read a policy: the result takes the variables by name and says whether they fulfil it.

    Raises:
        ValueError: it is not in the language.
    """
    parser = _Parser(text)
    policy = parser.any_of()
    parser.expect_end()
    return lambda names: _truthy(policy(names))


def _truthy(value: object) -> bool:
    """Say what JavaScript takes for true: all objects, even empty ones."""
    if isinstance(value, float) and math.isnan(value):
        return False
    return bool(value) or isinstance(value, dict | list)


class _Parser:
    """Recursive descent; each method reads one level of precedence, the loosest first."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        self._depth = 0
        if len(text) > _MAX_LENGTH:
            raise ValueError(f"Bad policy: longer than {_MAX_LENGTH} characters")
        text = text.rstrip()
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise ValueError(f"Bad policy at {text[position : position + 20]!r}")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()

    def any_of(self) -> _Part:
        left = self._all_of()
        while self._take("||"):
            left = _either(left, self._all_of())
        return left

    def _all_of(self) -> _Part:
        left = self._equality()
        while self._take("&&"):
            left = _both(left, self._equality())
        return left

    def _equality(self) -> _Part:
        left = self._relation()
        while sign := self._take("===", "!==", "==", "!="):
            left = _compared(_COMPARE[sign], left, self._relation())
        return left

    def _relation(self) -> _Part:
        left = self._unary()
        while sign := self._take("<=", ">=", "<", ">"):
            left = _compared(_COMPARE[sign], left, self._unary())
        return left

    def _unary(self) -> _Part:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError("Bad policy: nested too deep")
        if self._take("!"):
            operand = self._unary()
            result: _Part = lambda names: not _truthy(operand(names))  # noqa: E731 - one branch of three
        elif self._take("("):
            result = self.any_of()
            if not self._take(")"):
                raise ValueError("Bad policy: ) is missing")
        else:
            result = self._value()
        self._depth -= 1
        return result

    def _value(self) -> _Part:
        if self._at == len(self._tokens):
            raise ValueError("Bad policy: it ends early")
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "sign":
            raise ValueError(f"Bad policy at {text!r}")
        if kind == "name" and text not in _LITERALS:
            # An unknown property is undefined, as in a JavaScript object.
            return lambda names: names.get(text)
        value = _LITERALS[text] if kind == "name" else float(text) if kind == "number" else text[1:-1]
        return lambda names: value

    def _take(self, *signs: str) -> str | None:
        if self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            if kind == "sign" and text in signs:
                self._at += 1
                return text
        return None

    def expect_end(self) -> None:
        if self._at < len(self._tokens):
            raise ValueError(f"Bad policy at {self._tokens[self._at][1]!r}")


def _either(left: _Part, right: _Part) -> _Part:
    def value(names: Mapping[str, Any]) -> object:
        first = left(names)
        return first if _truthy(first) else right(names)

    return value


def _both(left: _Part, right: _Part) -> _Part:
    def value(names: Mapping[str, Any]) -> object:
        first = left(names)
        return right(names) if _truthy(first) else first

    return value


def _compared(compare: Callable[[object, object], bool], left: _Part, right: _Part) -> _Part:
    return lambda names: compare(left(names), right(names))


def _strictly_equal(left: object, right: object) -> bool:
    if _is_number(left) and _is_number(right):
        return left == right
    return type(left) is type(right) and left == right


def _equal(left: object, right: object) -> bool:
    if left is None or right is None:
        return left is right
    if type(left) is type(right) or isinstance(left, dict | list) or isinstance(right, dict | list):
        return left == right
    return _number(left) == _number(right)


def _order(left: object, right: object) -> int | None:
    """Return the sign of *left* - *right*; None if they have no order."""
    if isinstance(left, str) and isinstance(right, str):
        # JavaScript orders by letters and puts 10.0.0 before 9.0.0. A policy on versions means their order.
        if semver.Version.is_valid(left) and semver.Version.is_valid(right):
            return semver.Version.parse(left).compare(right)
        return (left > right) - (left < right)
    first, second = _number(left), _number(right)
    if math.isnan(first) or math.isnan(second):
        return None
    return (first > second) - (first < second)


def _ordered(wanted: Callable[[int], bool]) -> Callable[[object, object], bool]:
    def compare(left: object, right: object) -> bool:
        order = _order(left, right)
        return order is not None and wanted(order)

    return compare


_COMPARE: Final[Mapping[str, Callable[[object, object], bool]]] = {
    "===": _strictly_equal,
    "!==": lambda left, right: not _strictly_equal(left, right),
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": _ordered(lambda order: order < 0),
    "<=": _ordered(lambda order: order <= 0),
    ">": _ordered(lambda order: order > 0),
    ">=": _ordered(lambda order: order >= 0),
}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> float:
    # None is a property that the device does not have: undefined, which has no order, rather than null, which is 0.
    try:
        return float(value or 0) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        return math.nan
