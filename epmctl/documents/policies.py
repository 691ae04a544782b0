"""Read the documents that decide elevation into the kernel's nouns."""

from datetime import timedelta

from elevation.model import (
    DEFAULT_STALE_AFTER,
    Assignments,
    Certificate,
    CertificateCondition,
    Detection,
    Exclude,
    Group,
    Include,
    LintIgnore,
    ReusableCertificate,
    Rule,
    RulesPolicy,
    SettingsPolicy,
)
from elevation.words import (
    CertificateType,
    ChildProcesses,
    DefaultResponse,
    ElevationType,
    FilterMode,
    GroupType,
    Platform,
    ReportingScope,
    Validation,
)
from epmctl.documents.fields import Fields
from epmctl.documents.model import Metadata
from epmctl.documents.tables import StatedScope
from epmctl.documents.values import parse_duration


def read_settings_policy(metadata: Metadata, spec: Fields) -> SettingsPolicy | None:
    """Read the spec of an ElevationSettingsPolicy."""
    # A response that was refused is taken for the one that goes with most, so that only the flaw itself is said.
    response = spec.choice("defaultResponse", DefaultResponse, refused=DefaultResponse.USER_CONFIRMED)
    scope = spec.choice("reportingScope", StatedScope)
    return SettingsPolicy(
        name=metadata.name,
        description=metadata.description,
        enabled=spec.flag("enabled"),
        default_response=response or DefaultResponse.NOT_CONFIGURED,
        validations=frozenset(spec.choices("validations", Validation)),
        send_reporting_data=spec.flag("sendReportingData"),
        reporting_scope=None if scope is None else ReportingScope[scope.name],
        stale_after=_read_stale_after(spec),
        lint=spec.each("lint", _read_lint),
        assignments=_read_assignments(spec),
    )


def read_rules_policy(metadata: Metadata, spec: Fields) -> RulesPolicy | None:
    """Read the spec of an ElevationRulesPolicy; None without a platform, on which everything else depends."""
    platform = spec.choice("platform", Platform)
    rules = spec.each("rules", _read_rule)
    lint = spec.each("lint", _read_lint)
    assignments = _read_assignments(spec)
    if platform is None:
        return None
    return RulesPolicy(
        name=metadata.name,
        description=metadata.description,
        platform=platform,
        rules=rules,
        lint=lint,
        assignments=assignments,
    )


def read_reusable_certificate(metadata: Metadata, spec: Fields) -> ReusableCertificate | None:
    """Read the spec of a ReusableCertificate; None where it holds no certificate."""
    certificate = _read_pem(spec)
    lint = spec.each("lint", _read_lint)
    if certificate is None:
        return None
    return ReusableCertificate(metadata.name, certificate, metadata.description, lint)


def read_group(metadata: Metadata, spec: Fields) -> Group | None:
    """Read the spec of a Group; None without its type."""
    group_type = spec.choice("type", GroupType)
    members = spec.texts("members")
    found_by = spec.text("filter")
    groups = spec.texts("groups")
    for listed, called in (("members", "members"), ("groups", "groups of its own")):
        if spec.has(listed) and spec.has("filter"):
            spec.refuse("filter", f"a group has {called} or a filter, not both; remove one")
            break
    if group_type is None:
        return None
    return Group(metadata.name, group_type, members, found_by, metadata.description, groups)


def _read_rule(rule: Fields) -> Rule:
    detection = rule.fields("detection")
    elevation_type = rule.choice("elevationType", ElevationType)
    children = rule.choice("childProcesses", ChildProcesses)
    return Rule(
        name=rule.text("name"),
        description=rule.text("description"),
        elevation_type=elevation_type or ElevationType.USER_CONFIRMED,
        validations=frozenset(rule.choices("validations", Validation)),
        child_processes=children,
        detection=_read_detection(detection) if detection else Detection(),
        arguments=_read_arguments(rule),
        lint=rule.each("lint", _read_lint),
    )


def _read_arguments(rule: Fields) -> tuple[str, ...] | None:
    if not rule.has("arguments"):
        return None
    if rule.is_null("arguments"):
        message = "null could mean any arguments or none; leave the key out for any, write [] for none"
        rule.refuse("arguments", message)
        return None
    return rule.texts("arguments")


def _read_detection(detection: Fields) -> Detection:
    return Detection(
        file_name=detection.text("fileName"),
        file_path=detection.text("filePath"),
        file_hash=detection.text("fileHash"),
        certificate=_read_condition(detection),
        minimum_version=detection.text("minimumVersion"),
        file_description=detection.text("fileDescription"),
        product_name=detection.text("productName"),
        internal_name=detection.text("internalName"),
    )


def _read_condition(detection: Fields) -> CertificateCondition | None:
    condition = detection.fields("certificate")
    if condition is None:
        return None
    kind = condition.choice("type", CertificateType)
    reusable = condition.text("reusable")
    certificate = _read_pem(condition)
    if condition.has("reusable") == condition.has("pem"):
        detection.refuse("certificate", "needs either reusable or pem")
    return CertificateCondition(kind, certificate, reusable)


def _read_pem(fields: Fields) -> Certificate | None:
    pem = fields.text("pem")
    if not pem.strip():
        return None
    # cryptography takes as long to import as everything else together.
    from elevation.certificates import parse_pem  # noqa: PLC0415

    try:
        return parse_pem(pem)
    except ValueError as error:
        fields.refuse("pem", str(error))
        return None


def _read_lint(entry: Fields) -> LintIgnore:
    return LintIgnore(
        check=entry.text("ignore"),
        reason=entry.text("reason"),
    )


def _read_assignments(spec: Fields) -> Assignments:
    assignments = spec.fields("assignments")
    if assignments is None:
        return Assignments()
    return Assignments(
        include=assignments.each("include", _read_include),
        exclude=assignments.each("exclude", _read_exclude),
    )


def _read_include(entry: Fields) -> Include:
    group = entry.text("group")
    narrowed_by = entry.text("filter")
    mode = entry.choice("filterMode", FilterMode)
    if entry.has("filterMode") and not narrowed_by:
        entry.refuse("filterMode", "means nothing without a filter; add one or remove the mode")
    return Include(group, narrowed_by, mode or FilterMode.INCLUDE)


def _read_exclude(entry: Fields) -> Exclude:
    return Exclude(entry.text("group"))


def _read_stale_after(spec: Fields) -> timedelta | None:
    if spec.is_null("staleAfter"):
        return None
    flaws = len(spec.flaws.found)
    text = spec.text("staleAfter")
    if not spec.has("staleAfter") or len(spec.flaws.found) > flaws:
        return DEFAULT_STALE_AFTER  # that it is no text was said
    try:
        return parse_duration(text)
    except ValueError as error:
        spec.refuse("staleAfter", str(error))
        return DEFAULT_STALE_AFTER
