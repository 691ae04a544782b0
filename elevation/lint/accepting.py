"""Which findings an author may accept where: those about a rule in the rule, those about a whole object in its `spec`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from elevation.lint.catalogue import CATALOGUE
from elevation.model import LintIgnore, Problem
from elevation.rule_checks import LINT_CHECK

_OF_OBJECTS: Final = frozenset({"L6", "L18", "L24", "L26", "L27", "L28", "L31", "D22", "D23"})
_OF_BOTH: Final = frozenset({"L6", "L28"})  # a certificate stands in a rule, or is an object; so is what usage tells of
_IGNORABLE: Final = tuple(check.id for check in CATALOGUE.values() if check.ignorable)

IN_RULES: Final = tuple(check for check in _IGNORABLE if check not in _OF_OBJECTS or check in _OF_BOTH)
"""Checks that a rule may set aside."""
IN_SPECS: Final = tuple(check for check in _IGNORABLE if check in _OF_OBJECTS)
"""Checks that a policy or a certificate may set aside."""


def check_accepted(
    path: str, lint: Sequence[LintIgnore], before: Sequence[LintIgnore], *, in_rule: bool
) -> Iterator[Problem]:
    """Find checks that cannot be set aside where `lint` does so; what stood there `before` may stay."""
    kept, seen = Counter(ignored.check for ignored in before), Counter[str]()
    for number, ignored in enumerate(lint):
        check = ignored.check
        seen[check] += 1
        if seen[check] > kept[check] and (message := _fault(check, in_rule=in_rule, again=seen[check] > 1)):
            yield Problem(f"{path}[{number}].ignore", message)


def _fault(check: str, *, in_rule: bool, again: bool) -> str:
    """Say why a check cannot be set aside; blank if it can, and for what has not the form of one, which is said already."""
    here, there = (IN_RULES, IN_SPECS) if in_rule else (IN_SPECS, IN_RULES)
    if LINT_CHECK.fullmatch(check) is None:
        return ""
    if check in here:
        return f"{check} is set aside already; remove the repetition" if again else ""
    choices = f"{'a rule' if in_rule else 'a policy or a certificate'} sets aside {', '.join(here)}"
    if check in there:
        place = "the spec of its policy or certificate" if in_rule else "the rule that it is about"
        return f"{check} is set aside in {place}; {choices}"
    if check in CATALOGUE:
        return f"{check} is an error that nobody can set aside; mend what it finds. {choices[0].upper()}{choices[1:]}"
    return f"{check} is no check; {choices}"
