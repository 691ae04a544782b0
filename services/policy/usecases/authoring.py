"""Look at single objects, create, change, assign and delete them.

Each verb that writes authorises, checks, and only then compares etags, all inside one transaction.
"""

from dataclasses import replace

from elevation.model import Assignments, ReusableCertificate
from services._chassis.errors import ConflictError, InvalidError, Problem, StateError
from services._chassis.paging import Page, page_request
from services._chassis.permits import Permit
from services.policy.model.drafts import (
    Draft,
    Known,
    NewAssignments,
    check_assignments,
    check_draft,
    duplicate_of,
    revised,
)
from services.policy.model.objects import (
    Action,
    Change,
    Content,
    Stored,
    action_between,
    assignments_of,
    certificates_named,
    kind_of,
    moved_targets,
    targets_of,
    with_assignments,
)
from services.policy.ports import Directories, Store, Work
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
from services.policy.usecases.writing import write


async def get_object(store: Store, kind: type[Content], name: str, *, permit: Permit) -> Stored[Content]:
    """Return an object. Raises NotFoundError."""
    async with store.reading() as work:
        return await visible(work, kind, name, permit)


async def list_objects(
    store: Store, kind: type[Content], *, permit: Permit, page_size: int, page_token: str
) -> Page[Stored[Content]]:
    """Return a page of the objects that the caller may see, by name."""
    request = page_request(page_size=page_size, page_token=page_token, question=kind_of(kind).many)
    async with store.reading() as work:
        return await work.page(kind, request, permit.visible_tags())


async def create_object(
    store: Store, directories: Directories, draft: Draft[Content], *, author: Author
) -> Stored[Content]:
    """Create an object.

    Raises DeniedError for groups and tags out of scope, InvalidError with all problems, ConflictError for a name taken.
    """
    tags = tags_after(author.permit, draft.scope_tags, None)
    targets = targets_of(assignments_of(draft.content))
    if targets:
        refuse_out_of_scope(author.check(ASSIGN), targets, tags)
    groups = known_groups(directories, targets)
    async with store.writing() as work:
        found = await known_certificates(work, certificates_named(draft.content))
        if problems := list(check_draft(draft, Known(groups, nameable(found, None, [author.permit])))):
            raise InvalidError(problems)
        return await _create(work, draft, tags, author)


async def duplicate_object(
    store: Store, kind: type[Content], name: str, *, new_name: str, author: Author
) -> Stored[Content]:
    """Create an object with the content, tags and labels of another, for nobody yet.

    Raises NotFoundError, DeniedError for tags out of scope, InvalidError with all problems, ConflictError for a name taken.
    """
    async with store.writing() as work:
        original = await visible(work, kind, name, author.check(READ))
        draft = duplicate_of(original, new_name)
        tags = tags_after(author.permit, draft.scope_tags, None)
        found = await known_certificates(work, certificates_named(draft.content))
        if problems := list(check_draft(draft, Known(certificates=nameable(found, original, [author.permit])))):
            raise InvalidError(problems)
        return await _create(work, draft, tags, author)


async def _create(work: Work, draft: Draft[Content], tags: frozenset[str], author: Author) -> Stored[Content]:
    if draft.content.name in await work.find(draft.kind, [draft.content.name]):
        raise ConflictError(f"the name of {draft.title} is taken; choose another name")
    return await write(work, None, revised(draft, None, tags=tags, actor=author.principal, now=author.now), author)


async def update_object(store: Store, draft: Draft[Content], *, author: Author) -> Stored[Content]:
    """Replace an object but for its assignments, under its etag; the same call again changes nothing.

    Raises NotFoundError, DeniedError for tags out of scope, InvalidError with all problems, ConflictError for a stale etag.
    """
    async with store.writing() as work:
        existing = await visible(work, draft.kind, draft.content.name, author.permit)
        tags = tags_after(author.permit, draft.scope_tags, existing.about.scope_tags)
        if problems := await _problems_of_update(work, draft, existing, author.permit):
            raise InvalidError(problems)
        kept = replace(draft, content=with_assignments(draft.content, assignments_of(existing.content)))
        wanted = revised(kept, existing, tags=tags, actor=author.principal, now=author.now)
        return await _replace(work, existing, wanted, etag=draft.etag, author=author)


async def assign_policy(
    store: Store, directories: Directories, kind: type[Content], new: NewAssignments, *, author: Author
) -> Stored[Content]:
    """Replace the assignments of a policy; the same call again changes nothing.

    Raises NotFoundError, DeniedError for groups out of scope, InvalidError with all problems, ConflictError for a stale etag.
    """
    groups = known_groups(directories, targets_of(new.assignments))
    async with store.writing() as work:
        existing = await visible(work, kind, new.name, author.permit)
        moved = moved_targets(assignments_of(existing.content), new.assignments)
        refuse_out_of_scope(author.permit, moved, existing.about.scope_tags)
        if problems := list(check_assignments(new, existing, Known(groups))):
            raise InvalidError(problems)
        about = replace(existing.about, updated=author.now, updated_by=author.principal)
        wanted = Stored(with_assignments(existing.content, new.assignments), about)
        return await _replace(work, existing, wanted, etag=new.etag, author=author)


async def delete_object(store: Store, kind: type[Content], name: str, *, etag: str, author: Author) -> int:
    """Delete an object and return the revision.

    Raises NotFoundError, ConflictError for a stale etag, StateError for a certificate that rules name.
    """
    async with store.writing() as work:
        existing = await visible(work, kind, name, author.permit)
        refuse_stale(existing, etag)
        if issubclass(kind, ReusableCertificate):
            await _refuse_in_use(work, name, author.permit)
        revision = await work.next_revision()
        change = Change(before=existing, after=None, revision=revision, actor=author.principal, now=author.now)
        await work.save(change)
        return revision


async def _replace(
    work: Work, existing: Stored[Content], wanted: Stored[Content], *, etag: str, author: Author
) -> Stored[Content]:
    """Write the object unless it is already as wanted: a call that is repeated finds its own work, not a conflict."""
    if action_between(existing, wanted) is Action.UNCHANGED:
        return existing
    refuse_stale(existing, etag)
    return await write(work, existing, wanted, author)


async def _problems_of_update(
    work: Work, draft: Draft[Content], existing: Stored[Content], permit: Permit
) -> list[Problem]:
    found = await known_certificates(work, certificates_named(draft.content))
    known = Known(certificates=nameable(found, existing, [permit]))
    unassigned = replace(draft, content=with_assignments(draft.content, Assignments()))
    problems = list(check_draft(unassigned, known, existing))
    if not draft.etag:
        message = f"is missing; read {draft.title} and send the etag it has, so that nobody's change is lost"
        problems.append(Problem(f"{draft.place}.metadata.etag", message))
    return problems


async def _refuse_in_use(work: Work, certificate: str, permit: Permit) -> None:
    policies = await work.naming(certificate)
    if not policies:
        return
    shown = [
        f"{policy.name}/{rule.name}"
        for policy in policies
        if permit.sees(policy.about.scope_tags)
        for rule in policy.content.rules
        if rule.detection.certificate is not None and rule.detection.certificate.reusable == certificate
    ]
    hidden = "" if all(permit.sees(policy.about.scope_tags) for policy in policies) else "rules that you may not see"
    users = ", ".join(filter(None, [*shown, hidden]))
    raise StateError(
        f'the reusable certificate "{certificate}" is named by {users}; change those rules first',
        reason="CERTIFICATE_IN_USE",
    )
