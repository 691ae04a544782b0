"""The nouns of the agent."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from elevation.model import Decision, FileEvidence, Parent, Platform, Trigger, Validation


@dataclass(frozen=True, slots=True)
class Subject:
    """The user who asks, as the operating system (or, in the demo, the `UnsafeStatedIdentity`) names them."""

    name: str
    administrator: bool


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of the control socket, as the kernel of the system names it."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Rights:
    """By whose rights a file is opened, as the system numbers them."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Stated:
    """What a caller says of itself. Only `UnsafeStatedIdentity` believes it; any other identity refuses it."""

    user: str = ""
    administrator: bool | None = None
    """None: not stated."""
    platform: Platform | None = None
    """None: the platform of the device."""
    trigger: Trigger | None = None
    """None: REQUEST."""
    parent: Parent | None = None
    """None: not a child process."""

    def __bool__(self) -> bool:
        """Tell whether anything is stated."""
        return self != Stated()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an attempt comes from: who, on what platform, started by what."""

    subject: Subject
    platform: Platform
    rights: Rights
    """Those of the calling process, whoever it states to be."""
    trigger: Trigger = Trigger.REQUEST
    parent: Parent | None = None
    """None: not a child process."""


class Result(Enum):
    """How an attempt went on after its decision."""

    ELEVATED = "ELEVATED"
    DENIED = "DENIED"
    CANCELLED = "CANCELLED"
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
    NOT_MANAGED = "NOT_MANAGED"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the user is told."""

    attempt_id: str
    decision: Decision
    result: Result
    message: str
    file: FileEvidence
    kind: str = ""
    interpreter: str = ""
    owner: str = ""
    platform: Platform = Platform.LINUX
    request_id: str = ""
    """Elevation request that the attempt led to; empty: none."""


@dataclass(frozen=True, slots=True)
class Submission:
    """How the support was asked."""

    message: str
    """What the user is told: that the request is in, or why it is not."""
    request_id: str = ""
    """Empty: nothing was asked."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a decision asks of the user."""

    file: str
    arguments: tuple[str, ...]
    validations: frozenset[Validation]
    reason: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the device is, and where its services are. Written at enrolment."""

    device_id: str
    device_name: str
    trust_domain: str
    policy_address: str
    reporting_address: str
    device_address: str
    policy_keys: dict[str, bytes] = field(repr=False)
    """Ed25519 public keys by key id."""
    policy_keys_issued: datetime | None = None
    """When the manifest was issued that told of these keys. None: the enrolment told of them."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a connection needs, PEM."""

    key: bytes = field(repr=False)
    certificate: bytes
    ca: bytes


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of the device: by its wall clock, and since it started."""

    wall: datetime
    since_boot: timedelta
