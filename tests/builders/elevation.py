"""Build what the kernel works on: certificates, policies, attempts, and the golden cases in document form."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from elevation.certificates import parse_pem
from elevation.index import CompiledPolicy, compile_policy
from elevation.model import (
    Attempt,
    Certificate,
    CertificateCondition,
    CertificateType,
    ChildProcesses,
    Decision,
    Detection,
    Device,
    ElevationType,
    FileEvidence,
    Grant,
    Parent,
    Platform,
    Rule,
    RulesPolicy,
    Settings,
    Signer,
    Trigger,
    User,
    Validation,
)

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HASH = "a" * 64
OTHER_HASH = "b" * 64


@cache
def pem(name: str) -> str:
    """Read one of the golden certificates; tests/golden/README.md says what they are."""
    return (GOLDEN / "certificates" / f"{name}.pem").read_text(encoding="ascii")


def certificate(name: str) -> Certificate:
    """Parse one of the golden certificates."""
    return parse_pem(pem(name))


def signer(leaf: str = "vendor", *chain: str, trusted: bool = True) -> Signer:
    """Make a signature by golden certificates; without a chain, the issuing one and the root."""
    return Signer(certificate(leaf), tuple(certificate(name) for name in chain or ("issuing", "root")), trusted)


def publisher(name: str = "vendor") -> CertificateCondition:
    """Ask for a leaf certificate."""
    return CertificateCondition(CertificateType.PUBLISHER, certificate(name))


def authority(name: str = "issuing") -> CertificateCondition:
    """Ask for the direct issuer of the leaf."""
    return CertificateCondition(CertificateType.CERTIFICATE_AUTHORITY, certificate(name))


def rule(
    name: str = "rule",
    elevation_type: ElevationType = ElevationType.USER_CONFIRMED,
    *,
    file_name: str = "setup.exe",
    arguments: tuple[str, ...] | None = None,
    children: ChildProcesses | None = None,
    **detection: Any,
) -> Rule:
    """Make a rule; further keywords are fields of its detection."""
    return Rule(
        name=name,
        elevation_type=elevation_type,
        arguments=arguments,
        child_processes=children,
        detection=Detection(file_name=file_name, **detection),
    )


def policy(*rules: Rule, name: str = "policy", platform: Platform = Platform.WINDOWS) -> RulesPolicy:
    """Make a rules policy."""
    return RulesPolicy(name=name, platform=platform, rules=rules)


def compiled(
    *policies: RulesPolicy, settings: Settings | None = None, user_targeted: tuple[str, ...] = ()
) -> CompiledPolicy:
    """Compile policies under settings that enable; `user_targeted` are names of policies."""
    targeted = [(found, found.name in user_targeted) for found in policies]
    return compile_policy(Settings() if settings is None else settings, targeted, {})


def evidence(path: str = r"C:\Installers\setup.exe", sha256: str = HASH, **facts: Any) -> FileEvidence:
    """Make the evidence of a file."""
    return FileEvidence(path=path, sha256=sha256, **facts)


def attempt(
    file: FileEvidence | None = None,
    *arguments: str,
    trigger: Trigger = Trigger.REQUEST,
    platform: Platform = Platform.WINDOWS,
    parent: Parent | None = None,
    grants: tuple[Grant, ...] = (),
    user: User | None = None,
    confirmed: datetime | None = None,
    now: datetime = NOW,
) -> Attempt:
    """Make an attempt by alice on ws-17."""
    return Attempt(
        device=Device("ws-17"),
        user=User("alice") if user is None else user,
        trigger=trigger,
        platform=platform,
        file=evidence() if file is None else file,
        arguments=arguments,
        parent=parent,
        grants=grants,
        policy_confirmed=confirmed,
        now=now,
    )


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """One case: documents, an attempt in the form of files, and the decision that the specification asks for."""

    scenario: str
    name: str
    proves: tuple[str, ...]
    documents: tuple[Mapping[str, Any], ...]
    attempt: Mapping[str, Any]
    expected: Mapping[str, Any]

    @property
    def documents_text(self) -> str:
        """Write the documents as one YAML file (JSON is YAML)."""
        return "\n---\n".join(json.dumps({"apiVersion": "openepm/v1", **document}) for document in self.documents)

    @property
    def is_explained(self) -> bool:
        """Tell whether the case states losers and near misses."""
        return "losers" in self.expected or "nearMisses" in self.expected

    @property
    def full_expectation(self) -> dict[str, Any]:
        """Give the whole decision, with what the case leaves out."""
        outcome = self.expected["outcome"]
        blank: dict[str, Any] = {
            "elevationType": None,
            "validations": [],
            "policy": None,
            "rule": None,
            "losers": [],
            "nearMisses": [],
        }
        return {**blank, "managed": outcome != "NOT_MANAGED", **self.expected}


def golden_cases() -> Iterator[GoldenCase]:
    """Read all golden cases."""
    content = yaml.safe_load((GOLDEN / "decisions.yaml").read_text(encoding="utf-8"))
    bases = content["bases"]
    for scenario in content["scenarios"]:
        documents = tuple(_filled(document) for document in scenario["documents"])
        for case in scenario["cases"]:
            base = bases[case.get("base", scenario.get("base", "windows"))]
            attempt_form = _merged(_merged(base, scenario.get("attempt", {})), case.get("attempt", {}))
            yield GoldenCase(
                scenario=scenario["name"],
                name=case["name"],
                proves=tuple(case["proves"]),
                documents=documents,
                attempt=_filled(attempt_form),
                expected=case["expect"],
            )


def decision_form(decision: Decision) -> dict[str, Any]:
    """Write a decision in the form of files, without its reason."""
    return {
        "outcome": decision.outcome.name,
        "managed": decision.managed,
        "elevationType": None if decision.elevation_type is None else decision.elevation_type.name,
        "validations": [validation.name for validation in Validation if validation in decision.validations],
        "source": decision.source.name,
        "policy": decision.policy,
        "rule": decision.rule,
        "losers": [
            {"policy": loser.policy, "rule": loser.rule, "lostAt": loser.lost_at.name} for loser in decision.losers
        ],
        "nearMisses": [
            {"policy": miss.policy, "rule": miss.rule, "failed": miss.failed} for miss in decision.near_misses
        ],
    }


def _merged(base: Any, change: Any) -> Any:
    if isinstance(base, dict) and isinstance(change, dict):
        return {**base, **{key: _merged(base.get(key), value) for key, value in change.items()}}
    return change


def _filled(form: Any) -> Any:
    """Put hashes and certificates in the place of their names: $A, $B, $C and the names of certificates."""
    if isinstance(form, dict):
        return {key: _filled(value) for key, value in form.items()}
    if isinstance(form, list):
        return [_filled(value) for value in form]
    if isinstance(form, str) and form.startswith("$"):
        name = form[1:]
        return name.lower() * 64 if len(name) == 1 else pem(name)
    return form
