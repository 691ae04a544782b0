"""The nouns of lint: what it looks at, and what it finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from elevation.model import Group, ReusableCertificate, RulesPolicy, SettingsPolicy


class Severity(IntEnum):
    """How bad a finding is; the worst is the greatest."""

    INFO = 1
    WARNING = 2
    HIGH = 3
    ERROR = 4


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """A policy or a certificate, by the kind of its document and its name; with `rule`, one rule of it."""

    kind: str
    """`ElevationSettingsPolicy`, `ElevationRulesPolicy` or `ReusableCertificate`."""
    name: str
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that lint finds; `why` and `remedy` stand in the catalogue under `check`."""

    check: str
    """`L1` to `L31`, `D22` or `D23`."""
    severity: Severity
    subject: Subject
    path: str
    """Place below `spec`, in the spelling of the document form, for example `rules[3].detection.filePath`."""
    message: str
    why: str
    remedy: str
    related: tuple[Subject, ...] = ()
    ignored_because: str = ""
    """Why the author accepts it; empty: nobody does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedFile:
    """A file that was elevated under approvals, and by how many users."""

    sha256: str
    file_name: str
    approvals: int
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What rules were used for, as reports tell it."""

    counted_from: datetime
    """Since when everything that came in is counted."""
    last_used: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    """The end of the last day on which a rule decided, by the names of its policy and its own; none did that is not there."""
    more_rules: bool = False
    """Whether others decided too: then nothing follows from absence."""
    approved: tuple[ApprovedFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Estate:
    """Everything that can meet on a device: what lint looks at. Each policy, certificate and group was checked by itself."""

    settings_policies: tuple[SettingsPolicy, ...] = ()
    rules_policies: tuple[RulesPolicy, ...] = ()
    certificates: Mapping[str, ReusableCertificate] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    groups_known: bool = False
    """Whether `groups` are all that there are: else nobody knows of one that is not among them."""
    usage: Usage | None = None
    """None: not known."""
    written: Mapping[str, datetime] = field(default_factory=dict)
    """When rules policies were written last, by name; one that is not among them is as good as new."""
