"""Check what an author writes for what passes for something else, or sets aside what it cannot.

Such documents work, so that what holds them already goes on: agents and the store do not ask. They are refused where they
are written, in documents and by the servers. `elevation.checks` says what is wrong beyond that.
"""

from collections.abc import Collection, Iterator, Sequence

from elevation import texts
from elevation.lint.accepting import check_accepted
from elevation.lookalikes import skeleton
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

Policy = SettingsPolicy | RulesPolicy | ReusableCertificate


def check_written(authored: Policy | Group, *, named: bool, before: Policy | Group | None = None) -> list[Problem]:
    """Find texts that pass for others, and findings that cannot be set aside.

    `named` tells that the object gets its name now; rules and set-aside findings that it had `before` may stay.
    """
    found = [*texts.check_visible("description", authored.description, layout=True)]
    if named:
        found += texts.check_new_name("name", authored.name)
    if isinstance(authored, Group):
        return [*found, *texts.check_visible("filter", authored.filter)]
    found += _check_reasons("lint", authored.lint)
    accepted = () if before is None or isinstance(before, Group) else before.lint
    found += check_accepted("lint", authored.lint, accepted, in_rule=False)
    if isinstance(authored, ReusableCertificate):
        return found
    if isinstance(authored, RulesPolicy):
        rules = {rule.name: rule for rule in before.rules} if isinstance(before, RulesPolicy) else {}
        found += _check_twins(authored.rules, rules)
        for number, rule in enumerate(authored.rules):
            found += _check_rule(f"rules[{number}]", rule, rules.get(rule.name))
    return [*found, *_check_filters(authored.assignments)]


def _check_twins(rules: Sequence[Rule], before: Collection[str]) -> Iterator[Problem]:
    """Find new rules that look like another one by name; the same name, whatever its case, is for `elevation.checks`."""
    first: dict[str, int] = {}
    for number in sorted(range(len(rules)), key=lambda number: rules[number].name not in before):
        name = rules[number].name
        if not name or name != name.strip() or list(texts.check_new_name("", name)):
            continue
        earlier = first.setdefault(skeleton(name).casefold(), number)
        other = rules[earlier].name
        if name not in before and name.casefold() != other.casefold():
            message = f'looks the same as "{other}", the name of rules[{earlier}]; choose a name that does not'
            yield Problem(f"rules[{number}].name", message)


def _check_rule(path: str, rule: Rule, before: Rule | None) -> Iterator[Problem]:
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
    yield from check_accepted(f"{path}.lint", rule.lint, before.lint if before else (), in_rule=True)


def _check_reasons(path: str, lint: tuple[LintIgnore, ...]) -> Iterator[Problem]:
    for number, ignored in enumerate(lint):
        yield from texts.check_visible(f"{path}[{number}].reason", ignored.reason)


def _check_filters(assignments: Assignments) -> Iterator[Problem]:
    for number, include in enumerate(assignments.include):
        yield from texts.check_visible(f"assignments.include[{number}].filter", include.filter)
