"""What lint looks at of what is authored, and what of its findings may be told to whom.

INVARIANT: nothing that is told names an object that its reader may not see, or says what is in it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from elevation.lint.catalogue import CATALOGUE
from elevation.lint.findings import Estate, Finding, Subject, Usage
from elevation.lint.linter import worst_first
from elevation.model import Group
from services._chassis.permits import Permit
from services.policy.model.edits import all_of
from services.policy.model.objects import AnyContent, Corpus, kind_of

Key: TypeAlias = tuple[str, str]
"""Kind and name of an object, as documents spell them."""

MOST_FINDINGS = 200
"""Findings that the answer of a call about one object carries."""

_NOBODY = Subject("", "")
_ACCEPTED = "its author accepts it"


def estate_of(
    corpus: Corpus, groups: Mapping[str, Group], *, groups_known: bool = True, usage: Usage | None = None
) -> Estate:
    """Return what is authored as lint looks at it; `groups_known` if these are all groups that there are."""
    return Estate(
        tuple(stored.content for stored in corpus.settings_policies),
        tuple(stored.content for stored in corpus.rules_policies),
        {stored.name: stored.content for stored in corpus.certificates},
        groups,
        groups_known,
        usage,
        {stored.name: stored.about.updated for stored in corpus.rules_policies},
    )


def usage_for(usage: Usage | None, permit: Permit | None) -> Usage | None:
    """Return what somebody may be told of usage: approvals are counted over all devices, so only who sees all is told."""
    if usage is None or (permit is not None and permit.sees_everything()):
        return usage
    return replace(usage, approved=())


def subject_of(content: AnyContent) -> Subject:
    """Return the subject of findings about an object as a whole."""
    return Subject(kind_of(type(content)).document, content.name)


def key_of_subject(subject: Subject) -> Key:
    """Return the object that a subject is, or is a rule of."""
    return subject.kind, subject.name


def visible_keys(corpus: Corpus, permit: Permit | None) -> frozenset[Key]:
    """Return the objects that a permit sees; none of them sees nothing."""
    if permit is None:
        return frozenset()
    seen = (stored for stored in all_of(corpus) if permit.sees(stored.about.scope_tags))
    return frozenset((kind_of(type(stored.content)).document, stored.name) for stored in seen)


def concerning(findings: Iterable[Finding], keys: Collection[Key]) -> list[Finding]:
    """Return the findings in which one of the objects has part."""
    return [finding for finding in findings if any(key in keys for key in _parts(finding))]


def as_seen(findings: Iterable[Finding], visible: Collection[Key]) -> list[Finding]:
    """Return findings, worst first, as they may be told to somebody who sees these objects: others in them are not named.

    What is about others alone is not told at all: it would say what is weak about them, and nobody could mend it.
    """
    return worst_first(_told(finding, visible) for finding in concerning(findings, visible))


def not_accepted(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that no author accepts."""
    return [finding for finding in findings if not finding.ignored_because]


def _told(finding: Finding, visible: Collection[Key]) -> Finding:
    subject = finding.subject
    related = tuple(other if key_of_subject(other) in visible else _NOBODY for other in finding.related)
    if key_of_subject(subject) in visible:
        return replace(finding, related=related)
    return replace(
        finding,
        subject=_NOBODY,
        path="",
        message=f"{CATALOGUE[finding.check].title}, in an object that you may not see",
        related=related,
        ignored_because=_ACCEPTED if finding.ignored_because else "",
    )


def _parts(finding: Finding) -> Iterator[Key]:
    return map(key_of_subject, (finding.subject, *finding.related))
