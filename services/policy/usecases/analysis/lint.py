"""Lint what is stored, or what it would be with a draft on top, for somebody who asks."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from elevation.lint.findings import Estate, Finding, Subject, Usage
from elevation.lint.linter import worst_first
from elevation.lint.structure import findings_of, renumbered, sound_rules
from elevation.model import Group, RulesPolicy
from services._chassis.errors import Problem
from services._chassis.permits import Permit
from services.policy.model.drafts import Draft, LintableProblem
from services.policy.model.edits import all_of
from services.policy.model.findings import (
    Key,
    as_seen,
    concerning,
    estate_of,
    key_of_subject,
    not_accepted,
    subject_of,
    visible_keys,
)
from services.policy.model.objects import AnyContent, Corpus, assignments_of, kind_of, targets_of
from services.policy.usecases.analysis.drafted import Drafted, Drafting, Overlay, corpus_over, groups_over
from services.policy.usecases.analysis.lint_desk import LintDesk


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedObject:
    """Name an object, and where the request does so."""

    place: str
    kind: type[AnyContent]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LintWanted:
    """Say what to lint, and which findings are wanted; `flaws` could not be read."""

    overlay: Overlay = field(default_factory=Overlay)
    draft_only: bool = False
    objects: Sequence[NamedObject] = ()
    with_ignored: bool = False
    flaws: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Ground:
    """Hold what lint looks at, and what of it is told."""

    estate: Estate
    about: frozenset[Subject] | None
    visible: frozenset[Key]
    unsound: Mapping[Key, Sequence[LintableProblem]]


async def lint(
    drafting: Drafting, desk: LintDesk, wanted: LintWanted, *, permit: Permit, now: datetime
) -> list[Finding]:
    """Return what lint finds, worst first; others than the caller may see count, and are not named.

    Raises InvalidError with all problems that are no findings, UnavailableError, LimitError where lint takes too long.
    """
    stored = await drafting.stored()
    ground = await asyncio.to_thread(
        partial(_laid, drafting, stored, wanted, permit=permit, now=now, usage=desk.usage(permit))
    )
    found = await desk.lint(ground.estate, about=ground.about)
    return await asyncio.to_thread(_told, found, wanted, ground)


def _laid(
    drafting: Drafting, stored: Drafted, wanted: LintWanted, *, permit: Permit, now: datetime, usage: Usage | None
) -> _Ground:
    """Lay the draft over what is stored, beside the streams."""
    visible = visible_keys(stored.corpus, permit) | _drafted(wanted.overlay)
    beside = [*wanted.flaws, *_not_there(wanted.objects, visible)]
    unsound = drafting.lintable(stored, wanted.overlay, permit, beside=beside)
    overlay = replace(wanted.overlay, drafts=[_sound(draft, unsound) for draft in wanted.overlay.drafts])
    corpus, groups = corpus_over(stored.corpus, overlay, permit, now=now), groups_over(stored.directory, overlay)
    return _Ground(estate_of(corpus, groups, usage=usage), _concerned(wanted, corpus, groups), visible, unsound)


def _told(found: Sequence[Finding], wanted: LintWanted, ground: _Ground) -> list[Finding]:
    found = worst_first([*_errors(wanted.overlay, ground.unsound), *_in_place(found, wanted.overlay, ground.unsound)])
    if ground.about is not None:
        found = concerning(found, set(map(key_of_subject, ground.about)))
    if wanted.objects:
        found = concerning(found, {(kind_of(each.kind).document, each.name) for each in wanted.objects})
    told = as_seen(found, ground.visible)
    return told if wanted.with_ignored else not_accepted(told)


def _drafted(overlay: Overlay) -> frozenset[Key]:
    return frozenset(key_of_subject(subject_of(draft.content)) for draft in overlay.drafts)


def _not_there(objects: Sequence[NamedObject], visible: Collection[Key]) -> Iterator[Problem]:
    for each in objects:
        kind = kind_of(each.kind)
        if (kind.document, each.name) not in visible:
            yield Problem(f"{each.place}.name", f'there is no {kind.noun} "{each.name}"; list them for their names')


def _sound(draft: Draft[AnyContent], unsound: Mapping[Key, Sequence[LintableProblem]]) -> Draft[AnyContent]:
    """Return a draft without the rules that lint cannot look at."""
    content = draft.content
    if not isinstance(content, RulesPolicy):
        return draft
    numbers = sound_rules(unsound[key_of_subject(subject_of(content))], len(content.rules))
    return replace(draft, content=replace(content, rules=tuple(content.rules[number] for number in numbers)))


def _errors(overlay: Overlay, unsound: Mapping[Key, Sequence[LintableProblem]]) -> Iterator[Finding]:
    """Give what no save would accept as findings."""
    for draft in overlay.drafts:
        subject = subject_of(draft.content)
        rules = draft.content.rules if isinstance(draft.content, RulesPolicy) else ()
        yield from findings_of(unsound[key_of_subject(subject)], subject, rules)


def _in_place(
    findings: Iterable[Finding], overlay: Overlay, unsound: Mapping[Key, Sequence[LintableProblem]]
) -> Iterator[Finding]:
    """Give rules the numbers that they have in the drafts."""
    numbers = {
        (key := key_of_subject(subject_of(draft.content))): sound_rules(unsound[key], len(draft.content.rules))
        for draft in overlay.drafts
        if isinstance(draft.content, RulesPolicy)
    }
    for finding in findings:
        drafted = numbers.get(key_of_subject(finding.subject))
        yield finding if drafted is None else renumbered(finding, drafted)


def _concerned(wanted: LintWanted, corpus: Corpus, groups: Mapping[str, Group]) -> frozenset[Subject] | None:
    """Return the objects that the wanted findings are about; None: all there are.

    A draft is about what is in it, and about the policies that name a group that it changes or deletes.
    """
    if not wanted.draft_only:
        named = (Subject(kind_of(each.kind).document, each.name) for each in wanted.objects)
        return frozenset(named) or None
    changed = set(wanted.overlay.regroups)
    changed |= {group.name for group in groups.values() if not changed.isdisjoint(group.groups)}
    drafted = (subject_of(draft.content) for draft in wanted.overlay.drafts)
    regrouped = (
        subject_of(stored.content)
        for stored in all_of(corpus)
        if not changed.isdisjoint(targets_of(assignments_of(stored.content)))
    )
    return frozenset((*drafted, *regrouped))
