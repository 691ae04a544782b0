"""What administrators author, as it is kept: the kernel's own policies and certificates, with what is known about each.

- A name is unique among the objects of its kind.
- `revision` is the one of the service in which the content (rules, settings, certificate, assignments) last changed; it
  only grows. `etag` changes with every write.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from elevation.model import ReusableCertificate, RulesPolicy, SettingsPolicy

Content = TypeVar("Content", bound=SettingsPolicy | RulesPolicy | ReusableCertificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Say who made an object, who may see it and which state of it this is."""

    scope_tags: frozenset[str]
    labels: Mapping[str, str] = field(default_factory=dict)
    revision: int
    etag: str
    created: datetime
    updated: datetime
    updated_by: str


@dataclass(frozen=True, slots=True)
class Stored(Generic[Content]):
    """Hold one object as it is kept."""

    content: Content
    about: About

    @property
    def name(self) -> str:
        """Return the object's name."""
        return self.content.name


@dataclass(frozen=True, slots=True)
class Corpus:
    """Hold everything that is authored, at one revision of the service: what effective policies are worked out from."""

    revision: int
    settings_policies: tuple[Stored[SettingsPolicy], ...] = ()
    rules_policies: tuple[Stored[RulesPolicy], ...] = ()
    certificates: tuple[Stored[ReusableCertificate], ...] = ()
