"""What lint finds in one rule by itself.

A Deny rule gives nothing away, so of the checks here only the one about its child processes looks at it. A hash settles
which file it is, so where there is one the name and the signer may be as wide as they like; the folder may not, since
programs load what lies beside them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from elevation.checks import MAX_RULES
from elevation.lint.arguments import lint_arguments
from elevation.lint.catalogue import found
from elevation.lint.findings import Finding, Severity, Subject
from elevation.lint.places import place_of, usually_mapped
from elevation.lint.programs import is_installer, risky_kind, takes_nearly_all
from elevation.lint.subjects import rule_subject, rules_subject
from elevation.model import (
    CertificateType,
    ChildProcesses,
    ElevationType,
    Platform,
    Rule,
    RulesPolicy,
)
from elevation.paths import extension
from elevation.wildcards import has_wildcard


@dataclass(frozen=True, slots=True)
class RuleInPolicy:
    """A rule and where it stands."""

    rule: Rule
    platform: Platform
    path: str
    subject: Subject

    def finding(self, check: str, severity: Severity, field: str, message: str) -> Finding:
        """Make a finding about a field of the rule."""
        return found(check, severity, self.subject, path=f"{self.path}.{field}", message=message)


def lint_rules(policy: RulesPolicy) -> Iterator[Finding]:
    """Look at every rule of a policy by itself, and at how many there are."""
    if len(policy.rules) > MAX_RULES:
        message = f"has {len(policy.rules)} rules; a server accepts {MAX_RULES} unless its operator allows more"
        yield found("L24", Severity.WARNING, rules_subject(policy), path="rules", message=message)
    for number, rule in enumerate(policy.rules):
        here = RuleInPolicy(rule, policy.platform, f"rules[{number}]", rule_subject(policy, rule))
        if rule.elevation_type is ElevationType.DENY:
            yield from _ignored_child_processes(here)
        else:
            for look in _LOOKS:
                yield from look(here)
        yield from lint_arguments(rule, policy.platform, here.path, here.subject)


def _ignored_child_processes(here: RuleInPolicy) -> Iterator[Finding]:
    children = here.rule.child_processes
    if children is not None:
        message = f"childProcesses {children.value} stands in a Deny rule, which starts no children"
        yield here.finding("L25", Severity.INFO, "childProcesses", message)


def _signer(here: RuleInPolicy) -> Iterator[Finding]:
    detection = here.rule.detection
    condition = detection.certificate
    signed = detection.product_name or detection.internal_name or detection.file_description
    if condition is None or detection.file_hash or signed:
        return
    protected = place_of(detection.file_path, here.platform).protected
    if not protected:
        message = f'the certificate and the file name "{detection.file_name}" are all that tells the file'
        yield here.finding("L4", Severity.WARNING, "detection.certificate", message)
    if condition.type is CertificateType.CERTIFICATE_AUTHORITY:
        message = f'every publisher of the certificate authority counts for "{detection.file_name}"'
        severity = Severity.WARNING if protected else Severity.HIGH
        yield here.finding("L5", severity, "detection.certificate.type", message)


def _folder(here: RuleInPolicy) -> Iterator[Finding]:
    rule, folder = here.rule, here.rule.detection.file_path
    if not folder:
        yield from _unsigned_script(here, Severity.WARNING, "may lie anywhere, since filePath is blank")
        automatic = rule.elevation_type is ElevationType.AUTOMATIC
        wild = has_wildcard(rule.detection.file_name) is not None
        severity = Severity.HIGH if automatic or wild else Severity.WARNING
        message = f'"{rule.detection.file_name}" counts in every folder, since filePath is blank'
        yield here.finding("L7", severity, "detection.filePath", message)
        return
    if here.platform is Platform.WINDOWS and usually_mapped(folder):
        message = f'filePath "{folder}" is on drive {folder[:2]}, a letter that is usually mapped to a network share'
        yield here.finding("L9", Severity.WARNING, "detection.filePath", message)
    writable = place_of(folder, here.platform).writable
    if writable:
        yield here.finding("L8", Severity.HIGH, "detection.filePath", _writable_message(here, writable))
        yield from _unsigned_script(here, Severity.HIGH, "lies where users write")


def _unsigned_script(here: RuleInPolicy, severity: Severity, where: str) -> Iterator[Finding]:
    detection = here.rule.detection
    if extension(detection.file_name).casefold() == "ps1" and detection.certificate is None:
        message = f'the script "{detection.file_name}" is known by its hash alone and {where}'
        yield here.finding("L30", severity, "detection.fileName", message)


def _writable_message(here: RuleInPolicy, writable: str) -> str:
    detection = here.rule.detection
    message = f'filePath "{detection.file_path}" takes in {writable}, where standard users can write'
    if here.platform is Platform.LINUX and not detection.file_hash:
        message += "; without a hash the rule matches nothing there"
    return message


def _name(here: RuleInPolicy) -> Iterator[Finding]:
    detection = here.rule.detection
    if has_wildcard(detection.file_name) is None:
        return
    if detection.file_hash:
        message = f'fileName "{detection.file_name}" has a wildcard beside a hash that only one file has'
        yield here.finding("L11", Severity.INFO, "detection.fileName", message)
    if takes_nearly_all(detection.file_name):
        message = f'fileName "{detection.file_name}" has fewer than three characters that are no wildcard'
        if detection.file_hash:
            message += ", and the hash alone keeps the rule narrow"
        severity = Severity.WARNING if detection.file_hash else Severity.HIGH
        yield here.finding("L10", severity, "detection.fileName", message)


def _children(here: RuleInPolicy) -> Iterator[Finding]:
    rule = here.rule
    if rule.child_processes is not ChildProcesses.ALLOW:
        return
    name = rule.detection.file_name
    kind = _risk(here) or ("an installer" if is_installer(name) else "")
    message = f'whatever "{name}" starts is elevated without a rule'
    if kind:
        message += f", and it is {kind}"
    yield here.finding("L12", Severity.HIGH if kind else Severity.WARNING, "childProcesses", message)


def _program(here: RuleInPolicy) -> Iterator[Finding]:
    rule = here.rule
    kind = risky_kind(rule.detection, here.platform)
    if kind and rule.arguments is None:
        message = f'"{rule.detection.file_name}" is {kind} and is elevated with any arguments'
        yield here.finding("L13", Severity.HIGH, "arguments", message)


def _type(here: RuleInPolicy) -> Iterator[Finding]:
    rule = here.rule
    name = rule.detection.file_name
    if rule.elevation_type is ElevationType.CURRENT_USER:
        message = f'"{name}" is elevated as the user who asks'
        yield here.finding("L14", Severity.WARNING, "elevationType", message)
    if rule.elevation_type is ElevationType.USER_CONFIRMED and not rule.validations and (kind := _risk(here)):
        message = f'"{name}" is {kind} and is elevated after one click'
        yield here.finding("L17", Severity.WARNING, "validations", message)


def _risk(here: RuleInPolicy) -> str:
    """Say why a file is risky; blank if it is not known to be."""
    detection = here.rule.detection
    if takes_nearly_all(detection.file_name) and not detection.file_hash:
        return "any program at all"
    return risky_kind(detection, here.platform)


_LOOKS: tuple[Callable[[RuleInPolicy], Iterator[Finding]], ...] = (
    _signer,
    _folder,
    _name,
    _children,
    _program,
    _type,
)
