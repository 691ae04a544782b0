"""What is stored with a draft on top: what policies would be, and for whom, before anybody saves it.

A draft is checked as a save would check it, but for what it takes to write: rights, etags and scopes. INVARIANT: nothing
here changes what is stored.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from elevation.checks import check_group, check_nesting
from elevation.lookalikes import twin_message, twins
from elevation.model import Group, ReusableCertificate
from services._chassis.errors import InvalidError, Problem
from services._chassis.permits import Permit
from services.policy.model.directory import Directory
from services.policy.model.drafts import Draft, Known, LintableProblem, check_draft, lintable_problems, revised
from services.policy.model.edits import Edit, all_of, with_edits
from services.policy.model.effective import EffectivePolicies
from services.policy.model.findings import Key as SubjectKey
from services.policy.model.findings import key_of_subject, subject_of
from services.policy.model.objects import (
    AnyContent,
    Corpus,
    Key,
    Stored,
    certificates_named,
    delivered,
    key_of,
    kind_of,
)
from services.policy.model.spelling import below, without_echoes
from services.policy.ports import Store
from services.policy.usecases.checking import errors_of
from services.policy.usecases.documents import PolicyBook
from services.policy.usecases.means import Means
from services.policy.usecases.newest import CaughtUp, newest_corpus
from services.policy.usecases.references import nameable

MOST_NAMED = 20
"""Policies that a problem names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftedGroup:
    """Hold a group as it would be, and where the request holds it; `flaws` could not be read."""

    place: str
    group: Group
    flaws: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Name an object or a group that would be deleted, and where the request does so."""

    place: str
    kind: type[AnyContent | Group]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Hold policies and groups as they would be; what is not in it stays as it is stored."""

    drafts: Sequence[Draft[AnyContent]] = ()
    groups: Sequence[DraftedGroup] = ()
    deletions: Sequence[Deletion] = ()
    flaws: tuple[Problem, ...] = ()
    """What could not be read, with its whole path."""

    @property
    def is_empty(self) -> bool:
        """Tell whether all stays as it is."""
        return not (self.drafts or self.groups or self.deletions or self.flaws)

    @property
    def deleted_groups(self) -> frozenset[str]:
        """Return the groups that would be deleted."""
        return frozenset(deletion.name for deletion in self.deletions if deletion.kind is Group)

    @property
    def regroups(self) -> frozenset[str]:
        """Return the groups that would be others than they are, or be no more."""
        return self.deleted_groups | {each.group.name for each in self.groups}


@dataclass(frozen=True, slots=True)
class Drafted:
    """Hold policies, devices and groups at one moment, and what follows from them."""

    corpus: Corpus
    directory: Directory
    effective: EffectivePolicies


class Drafting:
    """Lay drafts over the newest policies."""

    def __init__(self, store: Store, book: PolicyBook, caught_up: CaughtUp, means: Means) -> None:
        self._store = store
        self._book = book
        self._caught_up = caught_up
        self._means = means

    async def stored(self) -> Drafted:
        """Return what is stored, once it is as new as anything that was saved before. Raises UnavailableError."""
        corpus = await newest_corpus(self._store, self._book, self._caught_up)
        return Drafted(corpus, self._book.directory(), self._book.effective())

    async def drafted(
        self, stored: Drafted, overlay: Overlay, permit: Permit, *, now: datetime, beside: Iterable[Problem] = ()
    ) -> Drafted:
        """Return what would be. Raises InvalidError with all problems that a save would have, and those `beside` it."""
        problems = [*beside]
        if not overlay.is_empty:
            problems += await asyncio.to_thread(self.problems, stored, overlay, permit)
        if problems:
            raise InvalidError(problems)
        return laid_over(stored, overlay, permit, now=now)

    def problems(self, stored: Drafted, overlay: Overlay, permit: Permit) -> list[Problem]:
        """Return all problems that a save would have."""
        pending = {each.group.name: each.group for each in overlay.groups}
        found = [*problems_of(overlay, stored, permit, most_rules=self._means.most_rules)]
        return found + [problem for draft in overlay.drafts for problem in errors_of(self._means, draft, pending)]

    def lintable(
        self, stored: Drafted, overlay: Overlay, permit: Permit, *, beside: Iterable[Problem] = ()
    ) -> Mapping[SubjectKey, Sequence[LintableProblem]]:
        """Return the problems of each draft that lint has a name for. Raises InvalidError with all others."""
        most_rules = self._means.most_rules
        problems = [*beside, *problems_of(overlay, stored, permit, most_rules=most_rules, but_for_lint=True)]
        if problems:
            raise InvalidError(problems)
        each = each_known(overlay, stored, permit, most_rules=most_rules)
        return {
            key_of_subject(subject_of(draft.content)): lintable_problems(draft, known, existing)
            for draft, existing, known in each
        }


def problems_of(
    overlay: Overlay, stored: Drafted, permit: Permit, *, most_rules: int, but_for_lint: bool = False
) -> Iterator[Problem]:
    """Find everything that is wrong with a draft, as a save of all of it at once would, but for lint's errors.

    `but_for_lint` leaves out what `lintable_problems` finds, too.
    """
    yield from overlay.flaws
    yield from _repeated(overlay)
    present = _by_key(stored.corpus)
    deleted = {(deletion.kind, deletion.name) for deletion in overlay.deletions}
    for draft, existing, known in each_known(overlay, stored, permit, most_rules=most_rules):
        if existing is None and (draft.kind, draft.content.name) in present:
            message = f"{draft.title} is not within your scope; choose another name"
            yield Problem(f"{draft.place}.metadata.name", message)
        yield from check_draft(draft, known, existing, but_for_lint=but_for_lint)
    yield from _twins(overlay, {key for key in present if key not in deleted})
    yield from _problems_of_groups(overlay, stored)
    yield from _problems_of_deletions(overlay, present, permit)
    yield from _problems_of_deleted_groups(overlay, stored)


def each_known(
    overlay: Overlay, stored: Drafted, permit: Permit, *, most_rules: int
) -> Iterator[tuple[Draft[AnyContent], Stored[AnyContent] | None, Known]]:
    """Give each draft with what it takes the place of, as far as that may be seen, and with what it may refer to."""
    present = _by_key(stored.corpus)
    deleted = {(deletion.kind, deletion.name) for deletion in overlay.deletions}
    own = frozenset(draft.content.name for draft in overlay.drafts if draft.kind is ReusableCertificate)
    left = {
        found.name: found for found in stored.corpus.certificates if (ReusableCertificate, found.name) not in deleted
    }
    groups = {name: group.type for name, group in groups_over(stored.directory, overlay).items()}
    for draft in overlay.drafts:
        existing = present.get((draft.kind, draft.content.name))
        if existing is not None and not permit.sees(existing.about.scope_tags):
            existing = None
        yield draft, existing, Known(groups, own | nameable(left, existing, [permit]), most_rules)


def laid_over(stored: Drafted, overlay: Overlay, permit: Permit, *, now: datetime) -> Drafted:
    """Return what would be, of a draft that was checked; what it changes has revision 0."""
    if overlay.is_empty:
        return stored
    corpus, groups = corpus_over(stored.corpus, overlay, permit, now=now), groups_over(stored.directory, overlay)
    known = replace(stored.directory, groups=groups) if overlay.regroups else stored.directory
    return Drafted(corpus, known, stored.effective.after(corpus, known.groups))


def corpus_over(stored: Corpus, overlay: Overlay, permit: Permit, *, now: datetime) -> Corpus:
    """Return all policies and certificates as they would be, of a draft that was checked."""
    present = _by_key(stored)
    deleted = {(deletion.kind, deletion.name) for deletion in overlay.deletions}
    edits = [Edit(found, None) for key, found in present.items() if key in deleted]
    for draft in overlay.drafts:
        existing = present.get((draft.kind, draft.content.name))
        edits.append(Edit(existing, _changed(draft, existing, permit, now)))
    return with_edits(stored, edits)


def groups_over(stored: Directory, overlay: Overlay) -> Mapping[str, Group]:
    """Return all groups as they would be."""
    after = {**stored.groups, **{each.group.name: each.group for each in overlay.groups}}
    for name in overlay.deleted_groups:
        after.pop(name, None)
    return after


def hidden(objects: Iterable[Stored[AnyContent]], permit: Permit) -> frozenset[str]:
    """Return the names of the objects that the caller may not see."""
    return frozenset(found.name for found in objects if not permit.sees(found.about.scope_tags))


def _by_key(corpus: Corpus) -> dict[Key, Stored[AnyContent]]:
    return {key_of(found.content): found for found in all_of(corpus)}


def _changed(
    draft: Draft[AnyContent], existing: Stored[AnyContent] | None, permit: Permit, now: datetime
) -> Stored[AnyContent]:
    """Return the object as it would be; whoever drafts it sees it, whatever tags it would get."""
    tags = existing.about.scope_tags if existing else permit.tags_for_new_object()
    made = revised(draft, existing, tags=tags, actor="", now=now)
    if existing is not None and delivered(existing.content) == delivered(draft.content):
        return Stored(made.content, replace(made.about, updated=existing.about.updated))
    return Stored(made.content, replace(made.about, revision=0))


def _repeated(overlay: Overlay) -> Iterator[Problem]:
    """Find objects and groups that the draft speaks of twice."""
    first: dict[tuple[object, str], str] = {}
    named = [
        *((draft.kind, draft.content.name, draft.place, ".metadata.name") for draft in overlay.drafts),
        *((Group, each.group.name, each.place, ".name") for each in overlay.groups),
        *((deletion.kind, deletion.name, deletion.place, ".name") for deletion in overlay.deletions),
    ]
    for kind, name, place, field in named:
        earlier = first.setdefault((kind, name), place)
        if earlier != place and name:
            yield Problem(f"{place}{field}", f'"{name}" stands at {earlier} too; remove one')


def _twins(overlay: Overlay, kept: Collection[Key]) -> Iterator[Problem]:
    """Find new objects that would look like others by name."""
    there = {*kept, *((draft.kind, draft.content.name) for draft in overlay.drafts)}
    for draft in overlay.drafts:
        if (draft.kind, draft.content.name) not in kept:
            looking = (twin for twin in sorted(twins(draft.content.name)) if (draft.kind, twin) in there)
            for twin in islice(looking, 1):
                yield Problem(f"{draft.place}.metadata.name", twin_message(twin))


def _problems_of_groups(overlay: Overlay, stored: Drafted) -> Iterator[Problem]:
    after = groups_over(stored.directory, overlay)
    nesting: dict[str, str] = {}
    for name, other in sorted(after.items()):
        if stored.directory.groups.get(name) is other:
            for nested in other.groups:
                nesting.setdefault(nested, name)
    for each in overlay.groups:
        group, before = each.group, stored.directory.groups.get(each.group.name)
        found = [Problem(fault.path, fault.message) for fault in (*check_group(group), *check_nesting(group, after))]
        if before is not None and before.type is not group.type and not each.flaws:
            found.append(Problem("type", f"cannot be changed from {before.type.value}; make another group"))
        if group.groups and (holder := nesting.get(group.name)):
            message = f'"{holder}" nests this group, and groups nest one level deep; name its members here instead'
            found.append(Problem("groups", message))
        yield from below(each.place, [*each.flaws, *without_echoes(found, each.flaws)])


def _problems_of_deletions(
    overlay: Overlay, present: Mapping[Key, Stored[AnyContent]], permit: Permit
) -> Iterator[Problem]:
    named = dict(_named_certificates(overlay, present, permit))
    for deletion in overlay.deletions:
        if issubclass(deletion.kind, Group):
            continue
        existing = present.get((deletion.kind, deletion.name))
        if existing is None or not permit.sees(existing.about.scope_tags):
            message = f'there is no {kind_of(deletion.kind).noun} "{deletion.name}"; list them for their names'
            yield Problem(f"{deletion.place}.name", message)
        elif deletion.kind is ReusableCertificate and deletion.name in named:
            yield Problem(f"{deletion.place}.name", f"is named by {named[deletion.name]}; change those rules too")


def _problems_of_deleted_groups(overlay: Overlay, stored: Drafted) -> Iterator[Problem]:
    """Find groups that could not be deleted even if no policy named them."""
    nesting: dict[str, str] = {}
    for name, group in sorted(groups_over(stored.directory, overlay).items()):
        for nested in group.groups:
            nesting.setdefault(nested, name)
    for deletion in overlay.deletions:
        if deletion.kind is not Group:
            continue
        if deletion.name not in stored.directory.groups:
            yield Problem(f"{deletion.place}.name", f'there is no group "{deletion.name}"; list them for their names')
        elif holder := nesting.get(deletion.name):
            yield Problem(f"{deletion.place}.name", f'is nested by "{holder}"; take it out of there too')


def _named_certificates(
    overlay: Overlay, present: Mapping[Key, Stored[AnyContent]], permit: Permit
) -> Iterator[tuple[str, str]]:
    """Say of each certificate that would go who would still name it; looked up once, whatever is deleted how often."""
    going = {deletion.name for deletion in overlay.deletions if deletion.kind is ReusableCertificate}
    if not going:
        return
    drafts = {(draft.kind, draft.content.name): draft.content for draft in overlay.drafts}
    gone = {(other.kind, other.name) for other in overlay.deletions}
    after = {**{key: found.content for key, found in present.items() if key not in gone}, **drafts}
    using: dict[str, list[Key]] = {}
    for key, content in after.items():
        for name in certificates_named(content) & going:
            using.setdefault(name, []).append(key)
    for name, users in using.items():
        shown = sorted(key[1] for key in users if key in drafts or permit.sees(present[key].about.scope_tags))
        hiding = ["rules that you may not see"] if len(shown) < len(users) else []
        yield name, ", ".join([*shown[:MOST_NAMED], *hiding])
