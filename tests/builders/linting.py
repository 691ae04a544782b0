"""Build what lint looks at: the golden cases as documents, and estates of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from elevation.lint.findings import Estate, Finding
from elevation.lint.linter import Linter
from elevation.model import Platform
from epmctl.documents.files import Source
from epmctl.documents.load import load_texts
from tests.builders.elevation import GOLDEN, NOW, pem

Mapped = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LintCase:
    """A rule that a check finds, and rules that nearly have it."""

    name: str
    check: str
    platform: Platform
    rule: Mapped
    finds: Sequence[tuple[str, str, str]]
    nearly: Sequence[Mapped]


def lint_cases() -> Iterator[LintCase]:
    """Read tests/golden/lint.yaml."""
    golden = yaml.safe_load((GOLDEN / "lint.yaml").read_text(encoding="utf-8"))
    for case in golden["cases"]:
        platform = Platform(case.get("platform", "WINDOWS"))
        base = golden["bases"][platform.value]
        yield LintCase(
            name=case["name"],
            check=case["check"],
            platform=platform,
            rule=_changed(base, case["rule"]),
            finds=[(check, severity, f"rules[0].{path}") for check, severity, path in case["finds"]],
            nearly=[_changed(base, change) for change in case["nearly"]],
        )


def base_rules() -> Iterator[tuple[Platform, Mapped]]:
    """Give the rules that the golden cases change, which have no finding."""
    golden = yaml.safe_load((GOLDEN / "lint.yaml").read_text(encoding="utf-8"))
    for platform, rule in golden["bases"].items():
        yield Platform(platform), _changed(rule, {})


def rules_document(platform: Platform, *rules: Mapped, **spec: Any) -> Mapped:
    """Write a rules policy with the name p."""
    return {
        "kind": "ElevationRulesPolicy",
        "metadata": {"name": "p"},
        "spec": {"platform": platform.value, "rules": list(rules), **spec},
    }


def settings_document(**spec: Any) -> Mapped:
    """Write a settings policy with the name s."""
    return {"kind": "ElevationSettingsPolicy", "metadata": {"name": "s"}, "spec": spec}


def estate_of(*documents: Mapped) -> Estate:
    """Read documents, without their apiVersion, as `epm` does."""
    text = yaml.safe_dump_all([{"apiVersion": "openepm/v1", **document} for document in documents])
    loaded = load_texts([Source("documents.yaml", text)])
    return Estate(
        loaded.settings_policies(),
        loaded.rules_policies(),
        {found.name: found for found in loaded.reusable_certificates()},
        {group.name: group for group in loaded.groups()},
    )


def lint(*documents: Mapped) -> list[Finding]:
    """Lint documents at the time of the golden cases."""
    return Linter().lint(estate_of(*documents), now=NOW)


def seen(findings: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """Give check, severity and place of findings."""
    return [(finding.check, finding.severity.name, finding.path) for finding in findings]


def _changed(base: Any, change: Any) -> Any:
    """Merge a change into a base; null takes a key away, and `$…` stands for a hash or a certificate."""
    if isinstance(base, Mapping) and isinstance(change, Mapping):
        keys = [*base, *(key for key in change if key not in base)]
        merged = {key: _changed(base.get(key), change.get(key, base.get(key))) for key in keys}
        return {key: value for key, value in merged.items() if value is not None}
    if isinstance(change, Mapping):
        return _changed({}, change)
    if isinstance(change, str) and change.startswith("$"):
        return "a" * 64 if change == "$A" else pem(change[1:])
    return change
