"""Look at single objects, create, change, assign and delete them.

Each verb that writes authorises, checks, and only then compares etags, all inside one transaction.
"""

from dataclasses import replace

from elevation.model import Assignments, ReusableCertificate
from services._chassis.errors import ConflictError, InvalidError, Problem
from services._chassis.permits import Permit
from services.policy.model.drafts import Draft, Known, NewAssignments, check_draft, duplicate_of, revised
from services.policy.model.edits import Edit, Written
from services.policy.model.objects import (
    Action,
    Content,
    Stored,
    action_between,
    assignments_of,
    certificates_named,
    moved_targets,
    targets_of,
    with_assignments,
)
from services.policy.ports import Store, Work
from services.policy.usecases.checking import errors_of, problems_of, problems_of_assignments
from services.policy.usecases.in_use import refuse_in_use
from services.policy.usecases.means import Means
from services.policy.usecases.references import known_certificates, known_groups, nameable
from services.policy.usecases.scope import (
    ASSIGN,
    READ,
    Author,
    refuse_out_of_scope,
    refuse_stale,
    tags_after,
    visible,
)
from services.policy.usecases.twins import twin_problems
from services.policy.usecases.writing import erase, write


async def get_object(store: Store, kind: type[Content], name: str, *, permit: Permit) -> Stored[Content]:
    """Return an object. Raises NotFoundError."""
    async with store.reading() as work:
        return await visible(work, kind, name, permit)


async def create_object(work: Work, means: Means, draft: Draft[Content], *, author: Author) -> Written[Content]:
    """Create an object.

    Raises DeniedError for groups and tags out of scope, InvalidError with all problems, ConflictError for a name taken.
    """
    tags = tags_after(author.permit, draft.scope_tags, None)
    targets = targets_of(assignments_of(draft.content))
    if targets:
        refuse_out_of_scope(author.check(ASSIGN), targets, tags)
    groups = known_groups(means.directories, targets)
    found = await known_certificates(work, certificates_named(draft.content))
    known = Known(groups, nameable(found, None, [author.permit]), means.most_rules, means.known_tags())
    if problems := [*problems_of(means, draft, known), *await twin_problems(work, draft.kind, [draft])]:
        raise InvalidError(problems)
    return await _create(work, draft, tags=tags, author=author)


async def duplicate_object(
    work: Work, means: Means, original: type[Content], name: str, *, new_name: str, author: Author
) -> Written[Content]:
    """Create an object with the content, tags and labels of another, for nobody yet.

    Raises NotFoundError, DeniedError for tags out of scope, InvalidError with all problems, ConflictError for a name taken.
    """
    like = await visible(work, original, name, author.check(READ))
    draft = duplicate_of(like, new_name)
    tags = tags_after(author.permit, draft.scope_tags, None)
    found = await known_certificates(work, certificates_named(draft.content))
    known = Known({}, nameable(found, like, [author.permit]), means.most_rules)
    if problems := [*problems_of(means, draft, known), *await twin_problems(work, draft.kind, [draft])]:
        raise InvalidError([_of_duplicate(problem) for problem in problems])
    return await _create(work, draft, tags=tags, author=author, duplicate_of=name)


async def update_object(work: Work, means: Means, draft: Draft[Content], *, author: Author) -> Written[Content]:
    """Replace an object but for its assignments, under its etag; the same call again changes nothing.

    Raises NotFoundError, DeniedError for tags out of scope, InvalidError with all problems, ConflictError for a stale etag.
    """
    existing = await visible(work, draft.kind, draft.content.name, author.permit)
    tags = tags_after(author.permit, draft.scope_tags, existing.about.scope_tags)
    kept = replace(draft, content=with_assignments(draft.content, assignments_of(existing.content)))
    if problems := await _problems_of_update(work, means, kept, existing, author=author):
        raise InvalidError(problems)
    wanted = revised(kept, existing, tags=tags, actor=author.principal, now=author.now)
    return await _replace(work, existing, wanted, etag=draft.etag, author=author)


async def assign_policy(
    work: Work, means: Means, kind: type[Content], new: NewAssignments, *, author: Author
) -> Written[Content]:
    """Replace the assignments of a policy; the same call again changes nothing.

    Raises NotFoundError, DeniedError for groups out of scope, InvalidError with all problems, ConflictError for a stale etag.
    """
    groups = known_groups(means.directories, targets_of(new.assignments))
    existing = await visible(work, kind, new.name, author.permit)
    moved = moved_targets(assignments_of(existing.content), new.assignments)
    refuse_out_of_scope(author.permit, moved, existing.about.scope_tags)
    if problems := list(problems_of_assignments(means, new, existing, Known(groups))):
        raise InvalidError(problems)
    about = replace(existing.about, updated=author.now, updated_by=author.principal)
    wanted = Stored(with_assignments(existing.content, new.assignments), about)
    return await _replace(work, existing, wanted, etag=new.etag, author=author)


async def delete_object(work: Work, kind: type[Content], name: str, *, etag: str, author: Author) -> None:
    """Delete an object.

    Raises NotFoundError, ConflictError for a stale etag, StateError for a certificate that rules name.
    """
    existing = await visible(work, kind, name, author.permit)
    refuse_stale(existing, etag)
    if issubclass(kind, ReusableCertificate):
        refuse_in_use([name], await work.naming(name), sees=author.permit.sees)
    await erase(work, existing, author)


async def _create(
    work: Work, draft: Draft[Content], *, tags: frozenset[str], author: Author, duplicate_of: str = ""
) -> Written[Content]:
    if draft.content.name in await work.find(draft.kind, [draft.content.name]):
        raise ConflictError(f"the name of {draft.title} is taken; choose another name")
    wanted = revised(draft, None, tags=tags, actor=author.principal, now=author.now)
    kept = await write(work, None, wanted, author, duplicate_of=duplicate_of)
    return Written(kept, (Edit(None, kept),))


async def _replace(
    work: Work, existing: Stored[Content], wanted: Stored[Content], *, etag: str, author: Author
) -> Written[Content]:
    """Write the object unless it is already as wanted: a call that is repeated finds its own work, not a conflict."""
    kept = existing
    if action_between(existing, wanted) is not Action.UNCHANGED:
        refuse_stale(existing, etag)
        kept = await write(work, existing, wanted, author)
    return Written(kept, (Edit(existing, kept),))


async def _problems_of_update(
    work: Work, means: Means, draft: Draft[Content], existing: Stored[Content], *, author: Author
) -> list[Problem]:
    """Find what is wrong with a draft that keeps its assignments; whom those name was checked when they were made."""
    found = await known_certificates(work, certificates_named(draft.content))
    known = Known({}, nameable(found, existing, [author.permit]), means.most_rules, means.known_tags())
    unassigned = replace(draft, content=with_assignments(draft.content, Assignments()))
    problems = [*check_draft(unassigned, known, existing), *errors_of(means, draft)]
    if not draft.etag:
        message = f"is missing; read {draft.title} and send the etag it has, so that nobody's change is lost"
        problems.append(Problem(f"{draft.place}.metadata.etag", message))
    return problems


def _of_duplicate(problem: Problem) -> Problem:
    """Name the field of the call that a problem of the new object comes from: its name, else the original."""
    own = problem.field == "metadata.name"
    return Problem("new_name" if own else f"original.{problem.field}", problem.message)
