"""Name what findings are about."""

from elevation.lint.findings import Subject
from elevation.model import ReusableCertificate, Rule, RulesPolicy, SettingsPolicy

SETTINGS = "ElevationSettingsPolicy"
RULES = "ElevationRulesPolicy"
CERTIFICATE = "ReusableCertificate"


def settings_subject(policy: SettingsPolicy) -> Subject:
    """Name a settings policy."""
    return Subject(SETTINGS, policy.name)


def rules_subject(policy: RulesPolicy) -> Subject:
    """Name a rules policy as a whole."""
    return Subject(RULES, policy.name)


def rule_subject(policy: RulesPolicy, rule: Rule) -> Subject:
    """Name one rule of a rules policy."""
    return Subject(RULES, policy.name, rule.name)


def certificate_subject(certificate: ReusableCertificate) -> Subject:
    """Name a reusable certificate."""
    return Subject(CERTIFICATE, certificate.name)
