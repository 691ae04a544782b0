"""What the child may say of a file, checked strictly: the child read hostile bytes and is not trusted either."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from agent_stub.inspection.opened import EvidenceError

REPORT_LIMIT = 1 << 20
TEXT_LIMIT = 1024
_TEXTS = ("version", "description", "product_name", "internal_name", "company_name", "interpreter")
_PACKAGE_TEXTS = ("name", "version", "maintainer")


@dataclass(frozen=True, slots=True)
class ReportedSigner:
    """A signature as the child saw it: certificates in DER, and whether digest and signature are right."""

    leaf: bytes
    chain: tuple[bytes, ...]
    intact: bool


@dataclass(frozen=True, slots=True)
class Package:
    """The package that owns a file."""

    name: str
    version: str
    maintainer: str


@dataclass(frozen=True, slots=True)
class Report:
    """The facts of a file. An empty text is a fact that is missing."""

    sha256: str
    kind: str
    version: str = ""
    description: str = ""
    product_name: str = ""
    internal_name: str = ""
    company_name: str = ""
    interpreter: str = ""
    signers: tuple[ReportedSigner, ...] = ()
    package: Package | None = None
    """None: no package owns the file."""


def parse_report(line: bytes, expected_size: int) -> Report:
    """Read the child's answer; raise EvidenceError for anything that is not exactly a report."""
    try:
        fields = json.loads(line)
        if fields.pop("size") != expected_size:
            raise EvidenceError("it changed while it was read")
        return _report(fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise EvidenceError("its inspection gave no usable answer") from error


def _report(fields: dict[str, Any]) -> Report:
    known = {"sha256", "kind", "signers", "package", *_TEXTS}
    if unknown := set(fields) - known:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    sha256 = _text(fields["sha256"])
    if len(bytes.fromhex(sha256)) != 32:  # noqa: PLR2004 - the length of a SHA-256
        raise ValueError("sha256 is no SHA-256")
    return Report(
        sha256=sha256,
        kind=_text(fields["kind"]),
        signers=tuple(_signer(signer) for signer in fields.get("signers", ())),
        package=_package(fields.get("package") or {}),
        **{name: _text(fields.get(name, "")) for name in _TEXTS},
    )


def _signer(fields: dict[str, Any]) -> ReportedSigner:
    return ReportedSigner(
        leaf=base64.b64decode(fields["leaf"], validate=True),
        chain=tuple(base64.b64decode(one, validate=True) for one in fields["chain"]),
        intact=fields["intact"] is True,
    )


def _package(fields: dict[str, Any]) -> Package | None:
    return Package(*(_text(fields[name]) for name in _PACKAGE_TEXTS)) if fields else None


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > TEXT_LIMIT:
        raise ValueError("a text is missing or too long")
    return value
