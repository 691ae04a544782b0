"""Check what an author writes for what passes for something else.

Such texts work, so that what holds them already goes on: agents and the store do not ask. They are refused where they
are written, in documents and by the servers. `elevation.checks` says what is wrong beyond that.
"""

from collections.abc import Iterator

from elevation import texts
from elevation.model import (
    Assignments,
    Group,
    LintIgnore,
    Problem,
    ReusableCertificate,
    Rule,
    RulesPolicy,
    SettingsPolicy,
)


def check_written(
    authored: SettingsPolicy | RulesPolicy | ReusableCertificate | Group, *, named: bool
) -> list[Problem]:
    """Find texts that pass for others; `named` tells that the object gets its name now."""
    found = [*texts.check_visible("description", authored.description, layout=True)]
    if named:
        found += texts.check_new_name("name", authored.name)
    if isinstance(authored, Group):
        return [*found, *texts.check_visible("filter", authored.filter)]
    found += _check_reasons("lint", authored.lint)
    if isinstance(authored, ReusableCertificate):
        return found
    if isinstance(authored, RulesPolicy):
        for number, rule in enumerate(authored.rules):
            found += _check_rule(f"rules[{number}]", rule)
    return [*found, *_check_filters(authored.assignments)]


def _check_rule(path: str, rule: Rule) -> Iterator[Problem]:
    detection = rule.detection
    yield from texts.check_new_name(f"{path}.name", rule.name)
    yield from texts.check_visible(f"{path}.description", rule.description, layout=True)
    for field, text in (
        ("fileName", detection.file_name),
        ("filePath", detection.file_path),
        ("fileHash", detection.file_hash),
        ("minimumVersion", detection.minimum_version),
        ("fileDescription", detection.file_description),
        ("productName", detection.product_name),
        ("internalName", detection.internal_name),
    ):
        yield from texts.check_visible(f"{path}.detection.{field}", text)
    for number, line in enumerate(rule.arguments or ()):
        yield from texts.check_visible(f"{path}.arguments[{number}]", line, layout=True)
    yield from _check_reasons(f"{path}.lint", rule.lint)


def _check_reasons(path: str, lint: tuple[LintIgnore, ...]) -> Iterator[Problem]:
    for number, ignored in enumerate(lint):
        yield from texts.check_visible(f"{path}[{number}].reason", ignored.reason)


def _check_filters(assignments: Assignments) -> Iterator[Problem]:
    for number, include in enumerate(assignments.include):
        yield from texts.check_visible(f"assignments.include[{number}].filter", include.filter)
