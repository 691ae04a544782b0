"""Filters over device attributes: the subset of AIP-160 that assignments and groups use.

    filter     = sequence ; sequence = factor { AND factor } ; factor = term { OR term }
    term       = [ NOT ] ( "(" filter ")" | restriction ) ; restriction = field operator value

OR binds more tightly than AND, as AIP-160 has it; brackets say it clearly. Operators: `=` and `!=` (equal, exactly),
`>=` `<=` `<` `>` (numerically for osVersion, by code points elsewhere) and `:` (has: one of the values of `tag`; a part
of the text elsewhere; `field:*` means filled). A value is a bare word or a text in quotes. `tag` has many values: a
restriction holds if one of them satisfies it, and `!=` if none is equal. A field that the device lacks is never equal.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from elevation.model import Attributes
from elevation.versions import compare_versions

FIELDS = {
    "name": "name",
    "os": "os",
    "osVersion": "osVersion",
    "os_version": "osVersion",
    "architecture": "architecture",
    "ownership": "ownership",
    "tag": "tag",
    "tags": "tag",
}
"""Every spelling of a field, and the field that it means."""

FIELD_NAMES = tuple(dict.fromkeys(FIELDS.values()))
"""The fields, as messages and answers spell them."""

REPORTED_FIELDS = frozenset({"os", "osVersion", "architecture"})
"""Fields that agents report, and may report otherwise at any time; the others are attested.

A name is what the device asked for when it enrolled, and stays; `tag` and `ownership` come from a token or an administrator.
"""

MAX_LENGTH = 2048
_MAX_DEPTH = 32
_SPELLINGS = {field: [spelling for spelling, meant in FIELDS.items() if meant == field] for field in FIELDS.values()}
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<operator>!=|>=|<=|[=<>:])|(?P<bracket>[()])"""
    r"""|(?P<word>[^\s()=<>!:"']+))"""
)

Test = Callable[[Attributes], bool]
"""A compiled filter."""


class FilterError(ValueError):
    """A filter that does not mean anything; the message names the position, counted from 1."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(f"{message} (position {position + 1})")
        self.position = position


@dataclass(frozen=True, slots=True)
class Restriction:
    """One thing that a filter asks for, whatever joins it to the others."""

    field: str
    holds: Test


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


@lru_cache(maxsize=4096)
def compile_filter(text: str) -> Test:
    """Compile a filter; raise FilterError naming the first thing that is wrong."""
    return _Parser(text).parse()


@lru_cache(maxsize=4096)
def restrictions_of(text: str) -> tuple[Restriction, ...]:
    """Take a filter apart; a change of attributes that changes no answer here does not change the filter's either.

    Raises FilterError as `compile_filter` does.
    """
    parser = _Parser(text)
    parser.parse()
    return tuple(parser.restrictions)


def _tokens(text: str) -> Iterator[_Token]:
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            raise FilterError(position, "has a character that belongs to nothing; put values in double quotes")
        kind = str(found.lastgroup)
        yield _Token(kind, found[kind], found.start(kind))
        position = found.end()
    yield _Token("end", "", end)


class _Parser:
    """Read a filter by recursive descent."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise FilterError(MAX_LENGTH, f"is longer than {MAX_LENGTH} characters")
        self.restrictions: list[Restriction] = []
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0

    def parse(self) -> Test:
        test = self._conjunction()
        rest = self._tokens[self._at]
        if rest.kind != "end":
            raise FilterError(rest.position, f'"{rest.text}" stands where AND, OR or the end belongs')
        return test

    def _conjunction(self) -> Test:
        parts = [self._disjunction()]
        while self._keyword("AND"):
            parts.append(self._disjunction())
        return parts[0] if len(parts) == 1 else lambda facts: all(part(facts) for part in parts)

    def _disjunction(self) -> Test:
        parts = [self._term()]
        while self._keyword("OR"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else lambda facts: any(part(facts) for part in parts)

    def _term(self) -> Test:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise FilterError(self._tokens[self._at].position, "nests too deeply")
        test = self._negation() if self._keyword("NOT") else self._simple()
        self._depth -= 1
        return test

    def _negation(self) -> Test:
        inner = self._term()
        return lambda facts: not inner(facts)

    def _simple(self) -> Test:
        token = self._next()
        if token.text == "(" and token.kind == "bracket":
            inner = self._conjunction()
            closing = self._next()
            if closing.text != ")" or closing.kind != "bracket":
                raise FilterError(closing.position, "lacks a closing bracket")
            return inner
        if token.kind != "word" or token.text in {"AND", "OR", "NOT"}:
            raise FilterError(token.position, f"needs a field here; known are {', '.join(_SPELLINGS)}")
        if token.text not in FIELDS:
            raise FilterError(token.position, f'field "{token.text}" is unknown; known are {", ".join(_SPELLINGS)}')
        operator = self._next()
        if operator.kind != "operator":
            raise FilterError(operator.position, "needs one of = != >= <= > < : after a field")
        field = FIELDS[token.text]
        restriction = Restriction(field, _restriction(field, operator, self._next()))
        self.restrictions.append(restriction)
        return restriction.holds

    def _keyword(self, word: str) -> bool:
        token = self._tokens[self._at]
        if token.kind == "word" and token.text == word:
            self._at += 1
            return True
        return False

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token


def _restriction(field: str, operator: _Token, value: _Token) -> Test:
    if value.kind == "text":
        wanted = re.sub(r"\\(.)", r"\1", value.text[1:-1])
    elif value.kind == "word" and value.text not in {"AND", "OR", "NOT"}:
        wanted = value.text
    else:
        raise FilterError(value.position, "needs a value after an operator")
    if operator.text == ":" and wanted == "*" and value.kind == "word":
        return lambda facts: any(_values(facts, field))
    if operator.text in {"=", "!="} and "*" in wanted:
        raise FilterError(value.position, 'has a wildcard, which "=" does not know; use ":" for a part of a text')
    if operator.text == "!=":
        equal = _comparison(field, "=", wanted)
        return lambda facts: not any(equal(value) for value in _values(facts, field))
    holds = _comparison(field, operator.text, wanted)
    return lambda facts: any(holds(value) for value in _values(facts, field))


def _comparison(field: str, operator: str, wanted: str) -> Callable[[str], bool]:
    if operator == ":":
        return (lambda value: value == wanted) if field == "tag" else (lambda value: wanted in value)
    if field == "osVersion":
        return lambda value: _holds(operator, compare_versions(value, wanted))
    return lambda value: _holds(operator, (value > wanted) - (value < wanted))


def _holds(operator: str, order: int | None) -> bool:
    if order is None:
        return False
    if order == 0:
        return operator in {"=", ">=", "<="}
    return operator in ({">", ">="} if order > 0 else {"<", "<="})


def _values(facts: Attributes, field: str) -> list[str]:
    """Collect the values of a field under all its spellings."""
    found: list[str] = []
    for spelling in _SPELLINGS[field]:
        value = facts.get(spelling, "")
        found.extend([value] if isinstance(value, str) else value)
    return [value for value in found if value]
