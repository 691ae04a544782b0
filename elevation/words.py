"""The fixed words of the kernel. A word in a document, a contract and a report is the name of its member here."""

from enum import Enum


class Platform(Enum):
    """The operating system that a rules policy is written for."""

    __hash__ = object.__hash__  # every decision looks an index up by it, and hashing the name takes longer

    WINDOWS = "WINDOWS"
    LINUX = "LINUX"
    MACOS = "MACOS"


class ElevationType(Enum):
    """What a rule does with the file it recognises."""

    AUTOMATIC = "AUTOMATIC"
    USER_CONFIRMED = "USER_CONFIRMED"
    CURRENT_USER = "CURRENT_USER"
    SUPPORT_APPROVED = "SUPPORT_APPROVED"
    DENY = "DENY"


class DefaultResponse(Enum):
    """The answer where no rule matches an explicit attempt."""

    NOT_CONFIGURED = "NOT_CONFIGURED"
    DENY = "DENY"
    USER_CONFIRMED = "USER_CONFIRMED"
    SUPPORT_APPROVED = "SUPPORT_APPROVED"


class Validation(Enum):
    """What the user owes before the elevation."""

    BUSINESS_JUSTIFICATION = "BUSINESS_JUSTIFICATION"
    AUTHENTICATION = "AUTHENTICATION"


class ChildProcesses(Enum):
    """What becomes of processes that an elevated process starts."""

    REQUIRE_RULE = "REQUIRE_RULE"
    ALLOW = "ALLOW"
    DENY = "DENY"


class ReportingScope(Enum):
    """What may leave the device. NOTHING is an outcome of the merge only; a document says sendReportingData: false."""

    NOTHING = "NOTHING"
    DIAGNOSTIC = "DIAGNOSTIC"
    MANAGED = "MANAGED"
    ALL = "ALL"


class CertificateType(Enum):
    """Which certificate of a signature a condition speaks of: the leaf or its direct issuer."""

    PUBLISHER = "PUBLISHER"
    CERTIFICATE_AUTHORITY = "CERTIFICATE_AUTHORITY"


class GroupType(Enum):
    """What a group consists of."""

    DEVICE = "DEVICE"
    USER = "USER"


class FilterMode(Enum):
    """Whether an include holds for the devices that its filter finds, or for the others."""

    INCLUDE = "INCLUDE"
    EXCLUDE = "EXCLUDE"


class Trigger(Enum):
    """How an attempt came about: the user chose elevation, an ordinary start, or an elevated process started it."""

    REQUEST = "REQUEST"
    LAUNCH = "LAUNCH"
    CHILD = "CHILD"


class Outcome(Enum):
    """What is to happen."""

    ELEVATE = "ELEVATE"
    PROMPT = "PROMPT"
    REQUEST_APPROVAL = "REQUEST_APPROVAL"
    DENY = "DENY"
    NOT_MANAGED = "NOT_MANAGED"


class Source(Enum):
    """What a decision comes from."""

    RULE = "RULE"
    GRANT = "GRANT"
    DEFAULT_RESPONSE = "DEFAULT_RESPONSE"
    ADMINISTRATOR = "ADMINISTRATOR"
    NOT_ACTIVE = "NOT_ACTIVE"
    STALE = "STALE"
    NO_RULE = "NO_RULE"
    ERROR = "ERROR"


class LostAt(Enum):
    """The step of the order of rules at which a matching rule fell."""

    DENY = "DENY"
    TARGET = "TARGET"
    HASH = "HASH"
    SPECIFICITY = "SPECIFICITY"
    TYPE = "TYPE"
    NAME = "NAME"
