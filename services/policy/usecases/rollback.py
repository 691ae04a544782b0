"""Give an object the content of an old revision again, as a new one."""

from dataclasses import dataclass, replace

from elevation.model import Assignments
from services._chassis.errors import ConflictError, InvalidError, Problem
from services._chassis.expected import present_state
from services.policy.model.application import AnyDraft, AnyStored
from services.policy.model.drafts import Draft, Known, check_draft, revised
from services.policy.model.edits import Edit, Written
from services.policy.model.objects import (
    Action,
    AnyContent,
    Content,
    Stored,
    action_between,
    assignments_of,
    certificates_named,
    moved_targets,
    targets_of,
    with_assignments,
)
from services.policy.ports import Work
from services.policy.usecases.checking import errors_of
from services.policy.usecases.means import Means
from services.policy.usecases.references import known_certificates, known_groups, nameable
from services.policy.usecases.revisions import newest_visible, state_at
from services.policy.usecases.scope import ASSIGN, CREATE, Author, refuse_out_of_scope, refuse_stale, tags_after
from services.policy.usecases.twins import twin_problems
from services.policy.usecases.writing import write


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """Name the object, and the change whose content is wanted."""

    name: str
    change: int
    etag: str = ""
    with_assignments: bool = False


async def roll_back(
    work: Work, means: Means, kind: type[Content], asked: Rollback, *, author: Author
) -> Written[Content]:
    """Give an object old content; labels and scope tags stay. What was deleted is made again. The same again changes nothing.

    Raises NotFoundError, DeniedError for groups and tags out of scope, InvalidError with all problems, ConflictError for a
    stale etag.
    """
    newest = await newest_visible(work, kind, asked.name, author.permit)
    past = await state_at(work, newest, asked.change)
    existing = (await work.find(kind, [asked.name])).get(asked.name)
    draft = _draft(asked, past.stored, existing, newest.stored)
    _authorise(draft, existing, author)
    if problems := await _problems(work, means, draft, existing, asked=asked, author=author):
        raise InvalidError(problems)
    wanted = revised(draft, existing, tags=draft.scope_tags, actor=author.principal, now=author.now)
    if existing and action_between(existing, wanted) is Action.UNCHANGED:
        return Written(existing, (Edit(existing, existing),))
    _refuse_stale(draft, existing)
    kept = await write(work, existing, wanted, author, rolled_back_to=asked.change)
    return Written(kept, (Edit(existing, kept),))


def _draft(
    asked: Rollback, past: Stored[Content], existing: Stored[Content] | None, newest: Stored[Content]
) -> Draft[Content]:
    about = existing.about if existing else newest.about
    assignments = assignments_of(past.content) if asked.with_assignments else _present(existing)
    return Draft(
        place="",
        content=with_assignments(past.content, assignments),
        scope_tags=about.scope_tags,
        labels=about.labels,
        etag=asked.etag,
    )


def _present(existing: Stored[AnyContent] | None) -> Assignments:
    return assignments_of(existing.content) if existing else Assignments()


def _authorise(draft: AnyDraft, existing: AnyStored | None, author: Author) -> None:
    if existing is None:
        tags_after(author.check(CREATE), draft.scope_tags, None)
    if moved := moved_targets(_present(existing), assignments_of(draft.content)):
        refuse_out_of_scope(author.check(ASSIGN), moved, draft.scope_tags)


async def _problems(
    work: Work, means: Means, draft: AnyDraft, existing: AnyStored | None, *, asked: Rollback, author: Author
) -> list[Problem]:
    """Check the old content anew; assignments that stay as they are were checked when they were made."""
    assignments = assignments_of(draft.content) if asked.with_assignments else Assignments()
    checked = replace(draft, content=with_assignments(draft.content, assignments))
    found = await known_certificates(work, certificates_named(draft.content))
    groups = known_groups(means.directories, targets_of(assignments))
    known = Known(groups, nameable(found, existing, [author.permit]), means.most_rules)
    problems = [*check_draft(checked, known, existing), *errors_of(means, draft)]
    return problems if existing else [*problems, *await twin_problems(work, draft.kind, [draft])]


def _refuse_stale(draft: AnyDraft, existing: AnyStored | None) -> None:
    if existing is not None:
        refuse_stale(existing, draft.etag)
    elif draft.etag:
        message = f"{draft.title} was deleted meanwhile; leave the etag out to make it again"
        raise ConflictError(message, stale=True, details=present_state(""))
