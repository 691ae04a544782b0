"""What calls do to objects: each as it was and as it is written, and everything as it is afterwards."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeAlias

from elevation.lint.findings import Subject
from elevation.model import Group, ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.permits import Permit
from services.policy.model.objects import AnyContent, Content, Corpus, Item, Stored, key_of


@dataclass(frozen=True, slots=True)
class Edit(Generic[Content]):
    """Turn one object into another; no `before` creates it, no `after` deletes it."""

    before: Stored[Content] | None
    after: Stored[Content] | None


AnyEdit: TypeAlias = Edit[AnyContent]


class Edited(Protocol):
    """What a verb did."""

    @property
    def edits(self) -> Sequence[AnyEdit]:
        """Return what became of each object."""
        ...

    @property
    def groups(self) -> Mapping[str, Group]:
        """Return the groups that are about to exist."""
        ...


@dataclass(frozen=True, slots=True)
class Written(Generic[Content]):
    """Hold an object as it was written, or would be, and the edits that this takes."""

    stored: Stored[Content]
    edits: tuple[Edit[Content], ...]
    groups: Mapping[str, Group] = field(default_factory=dict)
    """Those that are about to exist: a call about one object knows of none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """Say what a call was about, so that it can be told what lint finds there."""

    subjects: frozenset[Subject]
    rehearsed: Sequence[AnyEdit] = ()
    """What would be written on top of what is stored."""
    groups: Mapping[str, Group] = field(default_factory=dict)
    """Groups that would be there beside those of the directory."""
    permit: Permit | None
    """Where its caller may read; None reads nothing but what the call was about."""


def with_edits(corpus: Corpus, edits: Iterable[AnyEdit]) -> Corpus:
    """Return everything that is authored as it would be after the edits."""
    objects = {key_of(found.content): found for found in all_of(corpus)}
    changed = False
    for edit in edits:
        changed = True
        if edit.before is not None:
            objects.pop(key_of(edit.before.content), None)
        if edit.after is not None:
            objects[key_of(edit.after.content)] = edit.after
    if not changed:
        return corpus
    return replace(
        corpus,
        settings_policies=_sorted(SettingsPolicy, objects.values()),
        rules_policies=_sorted(RulesPolicy, objects.values()),
        certificates=_sorted(ReusableCertificate, objects.values()),
    )


def all_of(corpus: Corpus) -> tuple[Stored[AnyContent], ...]:
    """Return all objects of every kind."""
    return (*corpus.settings_policies, *corpus.rules_policies, *corpus.certificates)


def _sorted(kind: type[Item], objects: Iterable[Stored[AnyContent]]) -> tuple[Stored[Item], ...]:
    found = (Stored(each.content, each.about) for each in objects if isinstance(each.content, kind))
    return tuple(sorted(found, key=lambda each: each.name))
