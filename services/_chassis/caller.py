"""Who makes the call that is running: set by the interceptor, read by servicers and the audit record."""

import enum
from contextvars import ContextVar
from dataclasses import dataclass, field

from cryptography import x509

from services._chassis.permits import Permit


class CallerKind(enum.Enum):
    """Tell callers apart by how they prove who they are."""

    ANONYMOUS = "anonymous"
    ADMINISTRATOR = "administrator"
    DEVICE = "device"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Know the caller; what does not belong to its kind is empty.

    `groups` are the principal groups that an identity provider counts it into, beside those that the rbac service knows.
    """

    kind: CallerKind
    source: str = ""
    principal: str = ""
    groups: frozenset[str] = frozenset()
    token_id: str = ""
    device_id: str = ""
    service: str = ""
    certificate: bytes = field(default=b"", repr=False, compare=False)
    """Leaf certificate that a device showed, PEM."""

    @property
    def certificate_serial(self) -> str:
        """Return the serial number of a device's certificate, as `serial_of` writes it; empty for any other caller."""
        return serial_of(x509.load_pem_x509_certificate(self.certificate)) if self.certificate else ""

    @property
    def name(self) -> str:
        """Return the caller as logs and audit records write it, for example `user:alice` or `device:4f1c`."""
        match self.kind:
            case CallerKind.ADMINISTRATOR:
                return self.principal
            case CallerKind.DEVICE:
                return f"device:{self.device_id}"
            case CallerKind.SERVICE:
                return f"service:{self.service}"
            case CallerKind.ANONYMOUS:
                return "anonymous"


def serial_of(certificate: x509.Certificate) -> str:
    """Write a certificate's serial number in lower-case hex without leading zeros."""
    return f"{certificate.serial_number:x}"


@dataclass(frozen=True, slots=True)
class CallContext:
    """Hold what is known of the call that is running."""

    caller: Caller
    permit: Permit
    request_id: str
    decision_id: str
    """The access decision that let the call in, as its log line and its refusal name it."""
    reason: str = ""
    """Why an administrator makes the call, in their own words; for the audit record alone, never for a log."""


_CURRENT: ContextVar[CallContext] = ContextVar("openepm_call")


def set_call(context: CallContext) -> None:
    """Make `context` the running call of this task; the interceptor's business alone, and that of tests."""
    _CURRENT.set(context)


def current_call() -> CallContext | None:
    """Return the running call; None in a worker, which acts for the service itself."""
    return _CURRENT.get(None)


def current_caller() -> Caller:
    """Return who makes the running call. Raises LookupError outside of a call."""
    return _CURRENT.get().caller


def current_permit() -> Permit:
    """Return the scope within which the right that the RPC asked for counts. Raises LookupError outside of a call."""
    return _CURRENT.get().permit


def current_reason() -> str:
    """Return why the running call is made, in the words of who makes it. Raises LookupError outside of a call."""
    return _CURRENT.get().reason
