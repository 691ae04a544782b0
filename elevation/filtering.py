"""Filters over whatever has fields: the subset of AIP-160 that assignments, groups and lists use.

    filter     = sequence ; sequence = factor { AND factor } ; factor = term { OR term }
    term       = [ NOT ] ( "(" filter ")" | restriction ) ; restriction = field operator value

OR binds more tightly than AND, as AIP-160 has it; brackets say it clearly. Operators: `=` and `!=` (equal, exactly),
`>=` `<=` `<` `>` (by code points, versions and numbers numerically) and `:` (has: one of many values; a part of a text;
`field:*` means filled). A value, or the key after a dot, is a bare word or a text in quotes. A restriction of a field with
many values holds if one of them satisfies it, and `!=` if none is equal. A field that is not filled is never equal.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeAlias, TypeVar

from elevation.filter_values import Kind, OperatorError, Value, ValueTextError, compare

Facts = TypeVar("Facts")
Test: TypeAlias = Callable[[Facts], bool]
"""A compiled filter, or a part of it."""

MAX_LENGTH = 2048
_MAX_DEPTH = 32
_KEYWORDS = frozenset({"AND", "OR", "NOT"})
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<operator>!=|>=|<=|[=<>:])|(?P<bracket>[()])"""
    r"""|(?P<word>[^\s()=<>!:"']+))"""
)


class FilterError(ValueError):
    """A filter that does not mean anything; the message names the position, counted from 1."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(f"{message} (position {position + 1})")
        self.position = position


@dataclass(frozen=True, slots=True)
class Field(Generic[Facts]):
    """A field that filters know: what its values are, and where they are found; none where it is not filled."""

    name: str
    kind: Kind
    values: Callable[[Facts], Iterable[Value]]
    words: tuple[str, ...] = ()
    """The words that there are, where the values are fixed."""


@dataclass(frozen=True, slots=True)
class Vocabulary(Generic[Facts]):
    """All fields that a filter may name, by their spellings; `keyed` ones are followed by a dot and a key."""

    fields: Mapping[str, Field[Facts]]
    keyed: Mapping[str, Callable[[str], Field[Facts]]] = field(default_factory=dict)

    def find(self, spelling: str) -> Field[Facts] | None:
        """Return the field of this spelling; None if there is none."""
        name, _, key = spelling.partition(".")
        if key and name in self.keyed:
            return self.keyed[name](key)
        return self.fields.get(spelling)

    def known(self) -> str:
        """Name the fields, each as it is spelled first."""
        return ", ".join(
            [*dict.fromkeys(known.name for known in self.fields.values()), *map("{}.KEY".format, self.keyed)]
        )


@dataclass(frozen=True, slots=True)
class Restriction(Generic[Facts]):
    """One thing that a filter asks for, whatever joins it to the others."""

    field: str
    holds: Test[Facts]
    narrows: bool = True
    """Whether it stands under AND alone, so that what the filter finds is never more for it: not in OR or NOT, and no `!=`."""
    operator: str = ""
    value: str = ""
    """What it compares with; `*` with `:` is any."""


@dataclass(frozen=True, slots=True)
class Filter(Generic[Facts]):
    """A compiled filter, whole and taken apart."""

    holds: Test[Facts]
    restrictions: tuple[Restriction[Facts], ...]


def compile_with(vocabulary: Vocabulary[Facts], text: str) -> Filter[Facts]:
    """Compile a filter over these fields; raise FilterError naming the first thing that is wrong."""
    parser = _Parser(vocabulary, text)
    holds = parser.parse()
    return Filter(holds, tuple(parser.restrictions))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


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


class _Parser(Generic[Facts]):
    """Read a filter by recursive descent."""

    def __init__(self, vocabulary: Vocabulary[Facts], text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise FilterError(MAX_LENGTH, f"is longer than {MAX_LENGTH} characters")
        self.restrictions: list[Restriction[Facts]] = []
        self._vocabulary = vocabulary
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0

    def parse(self) -> Test[Facts]:
        test = self._conjunction()
        rest = self._tokens[self._at]
        if rest.kind != "end":
            raise FilterError(rest.position, f'"{rest.text}" stands where AND, OR or the end belongs')
        return test

    def _conjunction(self) -> Test[Facts]:
        parts = [self._disjunction()]
        while self._keyword("AND"):
            parts.append(self._disjunction())
        return parts[0] if len(parts) == 1 else lambda facts: all(part(facts) for part in parts)

    def _disjunction(self) -> Test[Facts]:
        begun = len(self.restrictions)
        parts = [self._term()]
        while self._keyword("OR"):
            parts.append(self._term())
        if len(parts) == 1:
            return parts[0]
        self._widen(begun)
        return lambda facts: any(part(facts) for part in parts)

    def _term(self) -> Test[Facts]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise FilterError(self._tokens[self._at].position, "nests too deeply")
        test = self._negation() if self._keyword("NOT") else self._simple()
        self._depth -= 1
        return test

    def _negation(self) -> Test[Facts]:
        begun = len(self.restrictions)
        inner = self._term()
        self._widen(begun)
        return lambda facts: not inner(facts)

    def _simple(self) -> Test[Facts]:
        token = self._next()
        if token.text == "(" and token.kind == "bracket":
            inner = self._conjunction()
            closing = self._next()
            if closing.text != ")" or closing.kind != "bracket":
                raise FilterError(closing.position, "lacks a closing bracket")
            return inner
        known = self._field(token)
        operator = self._next()
        if operator.kind != "operator":
            raise FilterError(operator.position, "needs one of = != >= <= > < : after a field")
        value = self._next()
        holds = _restriction(known, operator, value)
        narrows = operator.text != "!="
        self.restrictions.append(Restriction(known.name, holds, narrows, operator.text, _text(value)))
        return holds

    def _field(self, token: _Token) -> Field[Facts]:
        if token.kind != "word" or token.text in _KEYWORDS:
            raise FilterError(token.position, f"needs a field here; known are {self._vocabulary.known()}")
        key = self._tokens[self._at]
        if token.text.endswith(".") and key.kind == "text" and key.position == token.position + len(token.text):
            found = self._vocabulary.find(token.text + _text(self._next()))
        else:
            found = self._vocabulary.find(token.text)
        if found is None:
            known = self._vocabulary.known()
            raise FilterError(token.position, f'field "{token.text}" is unknown; known are {known}')
        return found

    def _widen(self, begun: int) -> None:
        """Note that the restrictions since then no longer stand under AND alone."""
        self.restrictions[begun:] = [replace(restriction, narrows=False) for restriction in self.restrictions[begun:]]

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


def _restriction(known: Field[Facts], operator: _Token, value: _Token) -> Test[Facts]:
    values, wanted = known.values, _text(value)
    if operator.text == ":" and wanted == "*" and value.kind == "word":
        return lambda facts: any(True for _ in values(facts))
    if operator.text in {"=", "!="} and "*" in wanted:
        raise FilterError(value.position, 'has a wildcard, which "=" does not know; use ":" for a part of a text')
    try:
        holds = compare(known.kind, operator.text, wanted, words=known.words)
    except OperatorError as error:
        raise FilterError(operator.position, str(error)) from error
    except ValueTextError as error:
        raise FilterError(value.position, str(error)) from error
    if operator.text == "!=":
        return lambda facts: not any(holds(value) for value in values(facts))
    return lambda facts: any(holds(value) for value in values(facts))


def _text(value: _Token) -> str:
    if value.kind == "text":
        return re.sub(r"\\(.)", r"\1", value.text[1:-1])
    if value.kind == "word" and value.text not in _KEYWORDS:
        return value.text
    raise FilterError(value.position, "needs a value after an operator")
