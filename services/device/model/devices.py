"""Devices: who they are, what their agents report, and what administrators say of them.

- The name is unique among enrolled devices; a retired device frees it, and takes its record up again when it enrols under it.
- A banned device keeps its name and its keys from enrolling, until the ban is lifted.
- Attested facts (users, tags, ownership) come from an enrolment token or an administrator; reported ones from the agent.
- Users that the agent reports are kept only where the enrolment token allows it.
- `version` counts what administrators change and is the etag; `revision` is the directory's, moved by whatever others hear of.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from services._chassis.errors import Problem
from services.device.model import texts
from services.device.model.credentials import Credentials, Use
from services.device.model.lifecycle import Lifecycle, settle_platform
from services.device.model.pages import weigh
from services.device.model.reporting import Reported

LONGEST_FACT = 128
_OS = re.compile(r"[a-z0-9._-]{1,32}")


class EnrolmentState(enum.Enum):
    """Say whether a device has credentials."""

    ENROLLED = "ENROLLED"
    RETIRED = "RETIRED"
    BANNED = "BANNED"


class Ownership(enum.Enum):
    """Say whom a device belongs to."""

    UNKNOWN = "UNKNOWN"
    CORPORATE = "CORPORATE"
    PERSONAL = "PERSONAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Hold what the agent reports."""

    os: str
    os_version: str = ""
    architecture: str = ""
    agent_version: str = ""
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """Hold what a token or an administrator says of a device."""

    users: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    ownership: Ownership = Ownership.UNKNOWN
    scope_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Remember how a device enrolled: by which token, with which public key, and what the token allows."""

    token_id: str
    key_digest: str
    allow_reported_users: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Hold the record of one device."""

    device_id: str
    name: str
    facts: Facts
    attested: Attested
    origin: Origin
    enrolled: datetime
    enrolment: EnrolmentState = EnrolmentState.ENROLLED
    credentials: Credentials = field(default_factory=Credentials)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    reported: Reported = field(default_factory=Reported)
    """What may be reported from the device; stays where it enrols again, until other settings are told."""
    suspected_clone: datetime | None = None
    """When two lines of life were seen under this identity; None: they were not, or it was cleared."""
    quarantined: bool = False
    """Whether the device gets no settings and rules because of that."""
    last_check_in: datetime | None = None
    version: int = 1
    revision: int = 0

    @property
    def etag(self) -> str:
        """Return the lock that a change has to name."""
        return str(self.version)

    @property
    def is_enrolled(self) -> bool:
        """Tell whether the device's credentials count."""
        return self.enrolment is EnrolmentState.ENROLLED

    @property
    def is_banned(self) -> bool:
        """Tell whether the device's name and keys are kept from enrolling."""
        return self.enrolment is EnrolmentState.BANNED

    def use_of(self, serial: str) -> Use:
        """Say what a use of the device's certificate with this serial number is."""
        return self.credentials.use_of(serial)

    @property
    def bound_users(self) -> tuple[str, ...]:
        """Return the users that policies reach on this device, sorted."""
        return tuple(sorted({*self.attested.users, *self.facts.users}))

    @property
    def weight(self) -> int:
        """Return about how many bytes the device takes in a message."""
        facts = self.facts
        said = (self.name, facts.os, facts.os_version, facts.architecture, facts.agent_version)
        return weigh(said, facts.users, self.attested.users, self.attested.tags, self.attested.scope_tags)

    def with_facts(self, facts: Facts) -> "Device":
        """Return the device with what its agent reports now; users only where they are allowed."""
        users = tuple(sorted(facts.users)) if self.origin.allow_reported_users else ()
        kept = replace(facts, users=users)
        return replace(self, facts=kept, lifecycle=settle_platform(self.lifecycle, facts.os))

    def seen_by_others(self) -> tuple[object, ...]:
        """Return what the directory shows of the device; a change of it needs a new revision.

        The EPM state is not among it: if it were, the policy service's own reports would come back to it as changes.
        """
        return (
            self.name,
            self.enrolment,
            (self.facts.os, self.facts.os_version, self.facts.architecture),
            self.bound_users,
            self.attested,
            self.lifecycle.deprovision_time,
            self.quarantined,
            self.reported,
            (self.credentials.serials, self.credentials.unused_serial),
        )

    def shown_suspicion(self) -> dict[str, object]:
        """Return the mark of a clone as an audit record keeps it."""
        seen = self.suspected_clone
        return {"suspected_clone": seen.isoformat() if seen else "", "quarantined": self.quarantined}

    def shown(self) -> dict[str, object]:
        """Return the device as an audit record keeps it."""
        return {
            "name": self.name,
            "enrolment": self.enrolment.value,
            "users": list(self.attested.users),
            "reported_users": list(self.facts.users),
            "tags": list(self.attested.tags),
            "ownership": self.attested.ownership.value,
            "scope_tags": list(self.attested.scope_tags),
            **shown_facts(self.facts),
        }


def shown_facts(facts: Facts) -> dict[str, object]:
    """Return reported facts as an audit record keeps them."""
    return {
        "os": facts.os,
        "os_version": facts.os_version,
        "architecture": facts.architecture,
        "agent_version": facts.agent_version,
    }


def check_facts(field: str, facts: Facts) -> Iterator[Problem]:
    """Find everything that is wrong with what an agent reports."""
    if not _OS.fullmatch(facts.os):
        yield Problem(f"{field}.os", "must be windows, linux or macos, or another system's name in small letters")
    yield from texts.check_text(f"{field}.os_version", facts.os_version, LONGEST_FACT)
    yield from texts.check_text(f"{field}.architecture", facts.architecture, LONGEST_FACT)
    yield from texts.check_text(f"{field}.agent_version", facts.agent_version, LONGEST_FACT)
    yield from texts.check_names(f"{field}.users", facts.users, most=texts.MOST_USERS)


def check_attested(field: str, attested: Attested) -> Iterator[Problem]:
    """Find everything that is wrong with what an administrator says of a device."""
    yield from texts.check_names(f"{field}.users", attested.users, most=texts.MOST_USERS)
    yield from texts.check_names(f"{field}.tags", attested.tags, most=texts.MOST_TAGS)
    yield from texts.check_names(f"{field}.scope_tags", attested.scope_tags, most=texts.MOST_SCOPE_TAGS)
