"""What administrators hand in, and everything that can be wrong with it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeAlias

import elevation.model
from elevation import checks, texts
from elevation.model import Assignments, GroupType, ReusableCertificate, RulesPolicy, SettingsPolicy
from elevation.written import check_written
from services._chassis.errors import Problem
from services._chassis.scope_tags import missing_tags
from services.policy.model.objects import About, AnyContent, Content, Item, Stored, kind_of, with_assignments
from services.policy.model.spelling import below, in_contract_spelling, without_echoes

LintableProblem: TypeAlias = elevation.model.Problem
"""One that lint has a name for, at its place in the document."""

MOST_SCOPE_TAGS = 100
MOST_LABELS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft(Generic[Content]):
    """Hold one object as it was handed in.

    INVARIANT: a draft with `flaws` is never written; what could not be read of it stands there as something harmless.
    """

    place: str
    """Where the request holds the object, for example `rules_policies[3]`."""
    content: Content
    scope_tags: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""
    flaws: tuple[Problem, ...] = ()
    """What could not be read, below the place."""

    @property
    def kind(self) -> type[Content]:
        """Return the kind of the object."""
        return type(self.content)

    @property
    def title(self) -> str:
        """Name the object in a sentence."""
        return f'the {kind_of(self.kind).noun} "{self.content.name}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAssignments:
    """Hold the assignments that a policy is to get."""

    name: str
    etag: str
    assignments: Assignments
    flaws: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """Say what a draft may refer to."""

    groups: Mapping[str, GroupType] = field(default_factory=dict)
    certificates: Collection[str] = ()
    most_rules: int = checks.MAX_RULES
    tags: frozenset[str] = frozenset()
    """Scope tags that there are; none where they are not known, or none is given."""


def duplicate_of(original: Stored[Item], new_name: str) -> Draft[Item]:
    """Return a draft of another object like this one, for nobody yet."""
    content = replace(with_assignments(original.content, Assignments()), name=new_name)
    about = original.about
    return Draft(place="", content=content, scope_tags=about.scope_tags, labels=dict(about.labels))


def check_draft(
    draft: Draft[Content], known: Known, existing: Stored[Content] | None = None, *, but_for_lint: bool = False
) -> Iterator[Problem]:
    """Find everything that is wrong with a draft, by itself and by what it refers to or replaces.

    `but_for_lint` leaves out what `lintable_problems` finds.
    """
    before = existing.content if existing else None
    written = check_written(draft.content, named=before is None, before=before)  # what is there keeps what it has
    told = _check_content(draft.content, _with_room(known, existing))
    content = (problem for problem in told if not (but_for_lint and problem.check))
    found = [
        *in_contract_spelling(draft.kind, content),
        *in_contract_spelling(draft.kind, written),
        *_check_about(draft),
        *_check_tags(draft, known, existing),
        *_check_platform(draft.content, before),
    ]
    yield from below(draft.place, [*draft.flaws, *without_echoes(found, draft.flaws)])


def lintable_problems(
    draft: Draft[Content], known: Known, existing: Stored[Content] | None = None
) -> list[LintableProblem]:
    """Find what is wrong with a draft that lint has a name for."""
    return [problem for problem in _check_content(draft.content, _with_room(known, existing)) if problem.check]


def check_assignments(new: NewAssignments, existing: Stored[Content], known: Known) -> Iterator[Problem]:
    """Find everything that is wrong with the assignments alone; the policy was checked when it was written."""
    content = with_assignments(existing.content, new.assignments)
    told = [*_check_content(content, known), *check_written(content, named=False, before=existing.content)]
    found = in_contract_spelling(type(content), told)
    own = [problem for problem in found if problem.field.startswith("assignments")]
    yield from (*new.flaws, *without_echoes(own, new.flaws))


def revised(
    draft: Draft[Content], existing: Stored[Content] | None, *, tags: frozenset[str], actor: str, now: datetime
) -> Stored[Content]:
    """Return the object that a checked draft asks for, as yet under the revision and the etag of the existing one."""
    about = About(
        scope_tags=tags,
        labels=dict(draft.labels),
        revision=existing.about.revision if existing else 0,
        etag=existing.about.etag if existing else "",
        created=existing.about.created if existing else now,
        updated=now,
        updated_by=actor,
        created_by=existing.about.created_by if existing else actor,
        applied_change=existing.about.applied_change if existing else 0,
    )
    return Stored(draft.content, about)


def _with_room(known: Known, existing: Stored[Content] | None) -> Known:
    """Let a policy that holds more rules than the limit keep as many: else it could not be mended step by step."""
    content = existing.content if existing else None
    present = len(content.rules) if isinstance(content, RulesPolicy) else 0
    return replace(known, most_rules=max(known.most_rules, present))


def _check_content(content: AnyContent, known: Known) -> Iterator[elevation.model.Problem]:
    match content:
        case SettingsPolicy():
            yield from checks.check_settings_policy(content)
            yield from checks.check_references(content, known.groups, known.certificates)
        case RulesPolicy():
            yield from checks.check_rules_policy(content, most_rules=known.most_rules)
            yield from checks.check_references(content, known.groups, known.certificates)
        case ReusableCertificate():
            yield from checks.check_reusable_certificate(content)


def _check_about(draft: Draft[Content]) -> Iterator[Problem]:
    if len(draft.scope_tags) > MOST_SCOPE_TAGS:
        yield Problem("metadata.scope_tags", f"has {len(draft.scope_tags)} tags; at most {MOST_SCOPE_TAGS} are allowed")
    if len(draft.labels) > MOST_LABELS:
        yield Problem("metadata.labels", f"has {len(draft.labels)} labels; at most {MOST_LABELS} are allowed")
    for tag in sorted(draft.scope_tags):
        yield from _plain(texts.check_name("metadata.scope_tags", tag))
        yield from _plain(texts.check_visible("metadata.scope_tags", tag))
    for label, value in sorted(draft.labels.items()):
        place = f'metadata.labels["{label}"]'
        yield from _plain(texts.check_name(place, label))
        yield from _plain(texts.check_text(place, value, texts.MAX_FACT))
        yield from _plain(texts.check_visible(place, label))
        yield from _plain(texts.check_visible(place, value))


def _check_tags(draft: Draft[Content], known: Known, existing: Stored[Content] | None) -> Iterator[Problem]:
    named = (tag for tag in draft.scope_tags if not list(texts.check_name("", tag)))
    present = existing.about.scope_tags if existing else frozenset[str]()
    yield from (Problem("metadata.scope_tags", message) for message in missing_tags(named, present, known.tags))


def _check_platform(wanted: object, present: object) -> Iterator[Problem]:
    if isinstance(wanted, RulesPolicy) and isinstance(present, RulesPolicy) and wanted.platform != present.platform:
        yield Problem(
            "platform",
            f"cannot be changed from {present.platform.value}; make another policy for {wanted.platform.value}",
        )


def _plain(problems: Iterator[elevation.model.Problem]) -> Iterator[Problem]:
    return (Problem(problem.path, problem.message) for problem in problems)
