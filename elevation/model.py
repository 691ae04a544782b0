"""The nouns of the kernel: policies, attempts and decisions.

Names are those of the document form, in snake_case. Everything is immutable. An empty text means "not filled"; `None`
is used only where absence is a case of its own and says in its comment which. Times are aware and UTC. Nothing here
checks a document: `elevation.checks` does, and says all that is wrong at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from elevation.reasons import Cause, unnamed
from elevation.words import (
    CertificateType,
    ChildProcesses,
    DefaultResponse,
    ElevationType,
    FilterMode,
    GroupType,
    LostAt,
    Outcome,
    Platform,
    ReportingScope,
    Source,
    Trigger,
    Validation,
)

__all__ = [
    "ALL_DEVICES",
    "ALL_USERS",
    "DEFAULT_STALE_AFTER",
    "Assignments",
    "Attempt",
    "Attributes",
    "Certificate",
    "CertificateCondition",
    "CertificateType",
    "ChildProcesses",
    "Conflict",
    "Decision",
    "DefaultResponse",
    "Detection",
    "Device",
    "ElevationType",
    "Exclude",
    "FileEvidence",
    "FilterMode",
    "Grant",
    "Group",
    "GroupType",
    "Include",
    "LintIgnore",
    "Loser",
    "LostAt",
    "NearMiss",
    "Outcome",
    "Parent",
    "Platform",
    "Problem",
    "ReportingScope",
    "ReusableCertificate",
    "Rule",
    "RulesPolicy",
    "Settings",
    "SettingsPolicy",
    "Signer",
    "Source",
    "Trigger",
    "User",
    "Validation",
]

ALL_DEVICES = "all-devices"
ALL_USERS = "all-users"
DEFAULT_STALE_AFTER = timedelta(days=30)

Attributes = Mapping[str, str | Sequence[str]]
"""Facts about a device that filters ask for; `tag` has many values, the others one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document: where, in the spelling of the document, and what to do about it."""

    path: str
    message: str
    check: str = ""
    """The check of lint that finds it, for example `L1`; blank where the catalogue has none."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A parsed X.509 certificate. Two certificates are the same when their DER bytes are."""

    der: bytes
    subject: str = field(compare=False)
    issuer: str = field(compare=False)
    subject_name: bytes = field(compare=False, repr=False)
    issuer_name: bytes = field(compare=False, repr=False)
    not_before: datetime = field(compare=False)
    not_after: datetime = field(compare=False)


@dataclass(frozen=True, slots=True)
class CertificateCondition:
    """The signer that a rule asks for: a certificate written into the rule, or the name of a reusable one."""

    type: CertificateType | None
    """None: not stated, which `checks` refuses."""
    certificate: Certificate | None = None
    reusable: str = ""


@dataclass(frozen=True, slots=True)
class Detection:
    """The part of a rule that recognises a file. Every filled field has to hold."""

    file_name: str = ""
    file_path: str = ""
    file_hash: str = ""
    certificate: CertificateCondition | None = None
    minimum_version: str = ""
    file_description: str = ""
    product_name: str = ""
    internal_name: str = ""


@dataclass(frozen=True, slots=True)
class LintIgnore:
    """A lint check that the author of a rule, a policy or a certificate sets aside, and why."""

    check: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One detection and one elevation type."""

    name: str
    description: str = ""
    elevation_type: ElevationType = ElevationType.USER_CONFIRMED
    validations: frozenset[Validation] = frozenset()
    child_processes: ChildProcesses | None = None
    """None: not stated, which is REQUIRE_RULE on WINDOWS and MACOS and refused on LINUX."""
    detection: Detection = field(default_factory=Detection)
    arguments: tuple[str, ...] | None = None
    """The allowed command lines as authored. None: not restricted; empty: only without arguments."""
    lint: tuple[LintIgnore, ...] = ()


@dataclass(frozen=True, slots=True)
class Include:
    """A group that gets a policy, narrowed by a filter over device attributes where there is one."""

    group: str
    filter: str = ""
    filter_mode: FilterMode = FilterMode.INCLUDE


@dataclass(frozen=True, slots=True)
class Exclude:
    """A group that does not get a policy, whatever includes it."""

    group: str


@dataclass(frozen=True, slots=True)
class Assignments:
    """Who gets a policy. Without includes: nobody."""

    include: tuple[Include, ...] = ()
    exclude: tuple[Exclude, ...] = ()


@dataclass(frozen=True, slots=True)
class RulesPolicy:
    """A named list of rules for one platform."""

    name: str
    platform: Platform
    rules: tuple[Rule, ...] = ()
    assignments: Assignments = field(default_factory=Assignments)
    description: str = ""
    lint: tuple[LintIgnore, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingsPolicy:
    """A named policy that turns elevation on or off and says what holds where no rule matches."""

    name: str
    enabled: bool = True
    default_response: DefaultResponse = DefaultResponse.NOT_CONFIGURED
    validations: frozenset[Validation] = frozenset()
    send_reporting_data: bool = True
    reporting_scope: ReportingScope | None = None
    """None: not stated, which is ALL where reporting data is sent."""
    stale_after: timedelta | None = DEFAULT_STALE_AFTER
    """None: the policy never gets stale."""
    assignments: Assignments = field(default_factory=Assignments)
    description: str = ""
    lint: tuple[LintIgnore, ...] = ()


@dataclass(frozen=True, slots=True)
class ReusableCertificate:
    """A certificate that many rules name."""

    name: str
    certificate: Certificate
    description: str = ""
    lint: tuple[LintIgnore, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Devices or users under one name: listed, in the groups that it nests, or (devices) found by a filter."""

    name: str
    type: GroupType
    members: tuple[str, ...] = ()
    filter: str = ""
    description: str = ""
    groups: tuple[str, ...] = ()
    """Groups whose members are members of this one too."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Settings policies that disagree on one setting; `values` stands in the order of `policies`."""

    setting: str
    policies: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings policies that apply to one user on one device, merged."""

    enabled: bool = True
    default_response: DefaultResponse = DefaultResponse.NOT_CONFIGURED
    validations: frozenset[Validation] = frozenset()
    reporting_scope: ReportingScope = ReportingScope.ALL
    stale_after: timedelta | None = DEFAULT_STALE_AFTER
    conflicts: tuple[Conflict, ...] = ()

    @property
    def send_reporting_data(self) -> bool:
        """Tell whether anything may leave the device."""
        return self.reporting_scope is not ReportingScope.NOTHING


@dataclass(frozen=True, slots=True)
class Signer:
    """One signature of a file: its leaf, the issuers above it (nearest first), and whether the system trusts it."""

    leaf: Certificate
    chain: tuple[Certificate, ...] = ()
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class FileEvidence:
    """What is known of one concrete file. An empty text is a fact that is missing."""

    path: str
    sha256: str = ""
    version: str = ""
    description: str = ""
    product_name: str = ""
    internal_name: str = ""
    company_name: str = ""
    root_only_path: bool = False
    signers: tuple[Signer, ...] = ()
    local: bool = True
    """False where the agent saw that the file lies on a network mount or a mapped drive, which no path tells."""


@dataclass(frozen=True, slots=True)
class Device:
    """The device of an attempt, with the groups it is in."""

    name: str
    groups: frozenset[str] = frozenset()
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class User:
    """The user who asks, with the groups they are in and whether they administer the device."""

    name: str
    groups: frozenset[str] = frozenset()
    administrator: bool = False


@dataclass(frozen=True, slots=True)
class Parent:
    """The rule that elevated the process which starts a child."""

    policy: str
    rule: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What an approval allows: this user, this device, this file, these arguments, from then until then."""

    id: str
    user: str
    device: str
    sha256: str
    arguments: tuple[str, ...] | None
    """None: any arguments."""
    not_before: datetime
    expires: datetime
    uses_left: int | None = None
    """None: as often as wanted."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A user or the system asks, on one device, to elevate one file."""

    device: Device
    user: User
    trigger: Trigger
    platform: Platform
    file: FileEvidence
    now: datetime
    arguments: tuple[str, ...] = ()
    parent: Parent | None = None
    """None: not a child process."""
    grants: tuple[Grant, ...] = ()
    policy_confirmed: datetime | None = None
    """When the server last confirmed the policy. None: now."""


@dataclass(frozen=True, slots=True)
class Loser:
    """A rule that matched and did not decide, with the step at which it fell."""

    policy: str
    rule: str
    lost_at: LostAt


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A rule with exactly one filled detection field that does not hold, named as in the document."""

    policy: str
    rule: str
    failed: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to happen with an attempt, and why."""

    outcome: Outcome
    source: Source
    cause: Cause
    elevation_type: ElevationType | None = None
    validations: frozenset[Validation] = frozenset()
    policy: str | None = None
    """None: no rule decided. Empty: one of a policy that whoever asks may not see."""
    rule: str | None = None
    grant: str | None = None
    """The id of the grant that was used, if one was."""
    detail: str = ""
    losers: tuple[Loser, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()

    @property
    def managed(self) -> bool:
        """Tell whether elevation management took part: everything but NOT_MANAGED, denials too."""
        return self.outcome is not Outcome.NOT_MANAGED

    @property
    def reason(self) -> str:
        """Say in one sentence for people why the decision came out so."""
        said = unnamed(self.cause) if self.policy == "" else self.cause.value
        return said.format(policy=self.policy, rule=self.rule, detail=self.detail)
