"""Read the documents that decide elevation into the kernel's nouns."""

from datetime import timedelta
from enum import Enum

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
from epmctl.documents.nodes import ScalarNode
from epmctl.documents.values import parse_duration


class _StatedScope(Enum):
    """The reporting scopes that a document can state; to report nothing it says `sendReportingData: false`."""

    DIAGNOSTIC = "DIAGNOSTIC"
    MANAGED = "MANAGED"
    ALL = "ALL"


def read_settings_policy(metadata: Metadata, spec: Fields) -> SettingsPolicy | None:
    """Read the spec of an ElevationSettingsPolicy."""
    # A response that was refused is taken for the one that goes with most, so that only the flaw itself is said.
    refused = DefaultResponse.USER_CONFIRMED
    stated = spec.choice("defaultResponse", DefaultResponse, default=None) if spec.has("defaultResponse") else None
    response = (stated or refused) if spec.has("defaultResponse") else DefaultResponse.NOT_CONFIGURED
    scope = spec.choice("reportingScope", _StatedScope, default=None) if spec.has("reportingScope") else None
    return SettingsPolicy(
        name=metadata.name,
        description=metadata.description,
        enabled=spec.flag("enabled", default=True),
        default_response=response,
        validations=frozenset(spec.choices("validations", Validation)),
        send_reporting_data=spec.flag("sendReportingData", default=True),
        reporting_scope=None if scope is None else ReportingScope[scope.name],
        stale_after=_read_stale_after(spec),
        assignments=_read_assignments(spec),
    )


def read_rules_policy(metadata: Metadata, spec: Fields) -> RulesPolicy | None:
    """Read the spec of an ElevationRulesPolicy; None without a platform, on which everything else depends."""
    platform = spec.choice("platform", Platform, default=None)
    rules = spec.each("rules", _read_rule, required=True)
    assignments = _read_assignments(spec)
    if platform is None:
        return None
    return RulesPolicy(
        name=metadata.name,
        description=metadata.description,
        platform=platform,
        rules=rules,
        assignments=assignments,
    )


def read_reusable_certificate(metadata: Metadata, spec: Fields) -> ReusableCertificate | None:
    """Read the spec of a ReusableCertificate; None where it holds no certificate."""
    certificate = _read_pem(spec, required=True)
    if certificate is None:
        return None
    return ReusableCertificate(metadata.name, certificate, metadata.description)


def read_group(metadata: Metadata, spec: Fields) -> Group | None:
    """Read the spec of a Group; None without its type."""
    group_type = spec.choice("type", GroupType, default=None)
    members = spec.texts("members")
    found_by = spec.text("filter", blank=False)
    groups = spec.texts("groups")
    for listed, called in (("members", "members"), ("groups", "groups of its own")):
        if spec.has(listed) and spec.has("filter"):
            spec.refuse("filter", f"a group has {called} or a filter, not both; remove one")
            break
    if group_type is None:
        return None
    return Group(metadata.name, group_type, members, found_by, metadata.description, groups)


def _read_rule(rule: Fields) -> Rule:
    detection = rule.fields("detection", required=True)
    elevation_type = rule.choice("elevationType", ElevationType, default=ElevationType.USER_CONFIRMED)
    children = rule.choice("childProcesses", ChildProcesses, default=None) if rule.has("childProcesses") else None
    found = Rule(
        name=rule.text("name", required=True, blank=False),
        description=rule.text_or_null("description", layout=True),
        elevation_type=elevation_type or ElevationType.USER_CONFIRMED,
        validations=frozenset(rule.choices("validations", Validation)),
        child_processes=children,
        detection=_read_detection(detection) if detection else Detection(),
        arguments=_read_arguments(rule),
        lint=rule.each("lint", _read_lint),
    )
    rule.finish()
    return found


def _read_arguments(rule: Fields) -> tuple[str, ...] | None:
    if not rule.has("arguments"):
        return None
    node = rule.node_of("arguments", required=False)
    if isinstance(node, ScalarNode) and node.type == "null":
        message = "null could mean any arguments or none; leave the key out for any, write [] for none"
        rule.refuse("arguments", message)
        return None
    return rule.texts("arguments", layout=True, blank=True)


def _read_detection(detection: Fields) -> Detection:
    found = Detection(
        file_name=detection.text_or_null("fileName"),
        file_path=detection.text_or_null("filePath"),
        file_hash=detection.text_or_null("fileHash"),
        certificate=_read_condition(detection),
        minimum_version=detection.text_or_null("minimumVersion"),
        file_description=detection.text_or_null("fileDescription"),
        product_name=detection.text_or_null("productName"),
        internal_name=detection.text_or_null("internalName"),
    )
    detection.finish()
    return found


def _read_condition(detection: Fields) -> CertificateCondition | None:
    node = detection.node_of("certificate", required=False)
    if node is None or (isinstance(node, ScalarNode) and node.type == "null"):
        return None
    condition = detection.fields("certificate")
    if condition is None:
        return None
    kind = condition.choice("type", CertificateType, default=None)
    reusable = condition.text("reusable", blank=False)
    certificate = _read_pem(condition, required=False)
    if condition.has("reusable") == condition.has("pem"):
        detection.refuse("certificate", "needs either reusable or pem")
    condition.finish()
    return CertificateCondition(kind, certificate, reusable)


def _read_pem(fields: Fields, *, required: bool) -> Certificate | None:
    pem = fields.text("pem", required=required, layout=True, blank=False)
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
    found = LintIgnore(
        check=entry.text("ignore", required=True, blank=False),
        reason=entry.text("reason", required=True, blank=False),
    )
    entry.finish()
    return found


def _read_assignments(spec: Fields) -> Assignments:
    assignments = spec.fields("assignments")
    if assignments is None:
        return Assignments()
    found = Assignments(
        include=assignments.each("include", _read_include),
        exclude=assignments.each("exclude", _read_exclude),
    )
    assignments.finish()
    return found


def _read_include(entry: Fields) -> Include:
    group = entry.text("group", required=True, blank=False)
    narrowed_by = entry.text("filter", blank=False)
    mode = entry.choice("filterMode", FilterMode, default=FilterMode.INCLUDE)
    if entry.has("filterMode") and not narrowed_by:
        entry.refuse("filterMode", "means nothing without a filter; add one or remove the mode")
    entry.finish()
    return Include(group, narrowed_by, mode or FilterMode.INCLUDE)


def _read_exclude(entry: Fields) -> Exclude:
    found = Exclude(entry.text("group", required=True, blank=False))
    entry.finish()
    return found


def _read_stale_after(spec: Fields) -> timedelta | None:
    if not spec.has("staleAfter"):
        return DEFAULT_STALE_AFTER
    node = spec.node_of("staleAfter", required=False)
    if isinstance(node, ScalarNode) and node.type == "null":
        return None
    text = spec.text("staleAfter")
    if not (isinstance(node, ScalarNode) and node.type == "str"):
        return DEFAULT_STALE_AFTER  # that it is no text was said
    try:
        return parse_duration(text)
    except ValueError as error:
        spec.refuse("staleAfter", str(error))
        return DEFAULT_STALE_AFTER
