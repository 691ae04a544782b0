"""Lists of what is authored: by which fields they are filtered, and in which orders they stand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from elevation import filtering
from elevation.filter_values import Kind, Value
from elevation.filtering import Field, Vocabulary
from elevation.model import ReusableCertificate, RulesPolicy, SettingsPolicy
from elevation.words import DefaultResponse, ElevationType, Platform
from services._chassis import ordering
from services._chassis.errors import Problem
from services.policy.model.certificates import fingerprint_of
from services.policy.model.objects import AnyContent, Content, Stored, assignments_of, certificates_named

Facts: TypeAlias = Stored[AnyContent]
Test: TypeAlias = filtering.Test[Facts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Ask for a page of a list."""

    page_size: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: str = ""


class Sorting(Enum):
    """What a list is sorted by; objects that are alike in it stand by name."""

    NAME = "name"
    UPDATED = "updated"
    REVISION = "revision"


@dataclass(frozen=True, slots=True)
class Order:
    """Say how a list is sorted."""

    by: Sorting = Sorting.NAME
    descending: bool = False

    @property
    def shape(self) -> tuple[type, ...]:
        """Return the types of a key: the name alone, or a number before it."""
        return (str,) if self.by is Sorting.NAME else (int, str)

    def key(self, stored: Facts) -> tuple[str | int, ...]:
        """Return where an object stands."""
        match self.by:
            case Sorting.NAME:
                return (stored.name,)
            case Sorting.UPDATED:
                return (microseconds(stored.about.updated), stored.name)
            case Sorting.REVISION:
                return (stored.about.revision, stored.name)


BY_NAME = Order()
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")


def microseconds(time: datetime) -> int:
    """Return a time as a number that pages continue by."""
    since = time - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def read_order(order_by: str) -> Order | Problem:
    """Read an order (AIP-132), or say what is wrong with it."""
    found = ordering.read_order(order_by, [sorting.value for sorting in Sorting])
    if isinstance(found, Problem):
        return found
    return BY_NAME if found is None else Order(Sorting(found.by), descending=found.descending)


def read_filter(kind: type[Content], text: str) -> Test | Problem | None:
    """Read a filter over objects of a kind, or say what is wrong with it; None where it finds all."""
    if not text.strip():
        return None
    try:
        return filtering.compile_with(_VOCABULARIES[kind], text).holds
    except filtering.FilterError as error:
        return Problem("filter", str(error))


def _filled(text: str) -> list[Value]:
    return [text] if text else []


def _label(key: str) -> Field[Facts]:
    return Field(
        f"label.{key}",
        Kind.TEXT,
        lambda stored: [stored.about.labels[key]] if key in stored.about.labels else [],
    )


def _words(*members: type[Enum]) -> tuple[str, ...]:
    return tuple(member.name for kind in members for member in kind)


def _assigned(stored: Facts) -> list[Value]:
    return [target.group for target in assignments_of(stored.content).include]


def _excluded(stored: Facts) -> list[Value]:
    return [target.group for target in assignments_of(stored.content).exclude]


def _of_settings(stored: Facts) -> Iterator[SettingsPolicy]:
    if isinstance(stored.content, SettingsPolicy):
        yield stored.content


def _of_rules(stored: Facts) -> Iterator[RulesPolicy]:
    if isinstance(stored.content, RulesPolicy):
        yield stored.content


def _of_certificate(stored: Facts) -> Iterator[ReusableCertificate]:
    if isinstance(stored.content, ReusableCertificate):
        yield stored.content


_COMMON: tuple[Field[Facts], ...] = (
    Field("name", Kind.TEXT, lambda stored: [stored.name]),
    Field("description", Kind.TEXT, lambda stored: _filled(stored.content.description)),
    Field("scopeTag", Kind.MANY, lambda stored: stored.about.scope_tags),
    Field("updatedBy", Kind.TEXT, lambda stored: _filled(stored.about.updated_by)),
    Field("created", Kind.TIME, lambda stored: [stored.about.created]),
    Field("updated", Kind.TIME, lambda stored: [stored.about.updated]),
    Field("revision", Kind.NUMBER, lambda stored: [stored.about.revision]),
)
_ASSIGNED: Field[Facts] = Field("assigned", Kind.MANY, _assigned)
_EXCLUDED: Field[Facts] = Field("excluded", Kind.MANY, _excluded)
_SETTINGS: tuple[Field[Facts], ...] = (
    Field("enabled", Kind.BOOLEAN, lambda stored: [policy.enabled for policy in _of_settings(stored)]),
    Field(
        "defaultResponse",
        Kind.WORD,
        lambda stored: [policy.default_response.name for policy in _of_settings(stored)],
        _words(DefaultResponse),
    ),
    _ASSIGNED,
    _EXCLUDED,
)
_RULES: tuple[Field[Facts], ...] = (
    Field(
        "platform", Kind.WORD, lambda stored: [policy.platform.name for policy in _of_rules(stored)], _words(Platform)
    ),
    Field("rules", Kind.NUMBER, lambda stored: [len(policy.rules) for policy in _of_rules(stored)]),
    Field(
        "elevationType",
        Kind.WORD,
        lambda stored: [rule.elevation_type.name for policy in _of_rules(stored) for rule in policy.rules],
        _words(ElevationType),
    ),
    Field("certificate", Kind.MANY, lambda stored: certificates_named(stored.content)),
    _ASSIGNED,
    _EXCLUDED,
)
_CERTIFICATES: tuple[Field[Facts], ...] = (
    Field("subject", Kind.TEXT, lambda stored: [held.certificate.subject for held in _of_certificate(stored)]),
    Field("issuer", Kind.TEXT, lambda stored: [held.certificate.issuer for held in _of_certificate(stored)]),
    Field(
        "fingerprint", Kind.TEXT, lambda stored: [fingerprint_of(held.certificate) for held in _of_certificate(stored)]
    ),
    Field("notAfter", Kind.TIME, lambda stored: [held.certificate.not_after for held in _of_certificate(stored)]),
)


def _vocabulary(own: tuple[Field[Facts], ...]) -> Vocabulary[Facts]:
    return Vocabulary({field.name: field for field in (*_COMMON, *own)}, {"label": _label})


_VOCABULARIES: Mapping[type, Vocabulary[Facts]] = {
    SettingsPolicy: _vocabulary(_SETTINGS),
    RulesPolicy: _vocabulary(_RULES),
    ReusableCertificate: _vocabulary(_CERTIFICATES),
}
