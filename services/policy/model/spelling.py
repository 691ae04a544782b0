"""The places of problems: the kernel names them as documents do, callers know the fields of the contract."""

import re
from collections.abc import Iterable, Iterator

import elevation.model
from elevation.lint.findings import Finding
from elevation.model import SettingsPolicy
from services._chassis.errors import Problem
from services.policy.model.objects import Content

_METADATA = re.compile(r"^(name|description)$")
_PARTS = (
    (re.compile(r"^((?:rules\[\d+\]\.)?)lint(\[\d+\])"), r"\1lint_ignores\2"),
    (re.compile(r"^((?:rules\[\d+\]\.)?lint_ignores\[\d+\]\.)ignore$"), r"\1finding"),
    (re.compile(r"^(rules\[\d+\]\.arguments)(\[\d+\])"), r"\1.command_lines\2"),
)


def in_contract_spelling(kind: type[Content], problems: Iterable[elevation.model.Problem]) -> Iterator[Problem]:
    """Name the field of the contract, below the object, that each problem of a document is about."""
    for problem in problems:
        yield Problem(_field(kind, problem.path), problem.message)


def errors_in_contract_spelling(kind: type[Content], errors: Iterable[Finding]) -> Iterator[Problem]:
    """Say lint's errors as problems, each with the identifier of its check."""
    for error in errors:
        yield Problem(_field(kind, error.path), f"{error.message} ({error.check}); {error.remedy}")


def below(place: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    """Put the place of the object before the fields."""
    for problem in problems:
        yield Problem(".".join(filter(None, (place, problem.field))), problem.message)


def without_echoes(problems: Iterable[Problem], flaws: Iterable[Problem]) -> Iterator[Problem]:
    """Drop problems at or right above a place that could not even be read: they say the same flaw again."""
    places = [flaw.field for flaw in flaws]
    for problem in problems:
        if not any(place == problem.field or place.startswith(f"{problem.field}.") for place in places):
            yield problem


def _field(kind: type[Content], path: str) -> str:
    field = re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", path)
    if _METADATA.match(field):
        return f"metadata.{field}"
    if issubclass(kind, SettingsPolicy) and not field.startswith(("assignments", "lint")):
        return f"settings.{field}"
    for pattern, written in _PARTS:
        field = pattern.sub(written, field)
    return field
