"""Say all that is wrong with a draft at once, lint's errors among it."""

from collections.abc import Iterator, Mapping

from elevation.model import Assignments, Group
from services._chassis.errors import Problem
from services.policy.model.drafts import Draft, Known, NewAssignments, check_assignments, check_draft
from services.policy.model.objects import Content, Stored, with_assignments
from services.policy.model.spelling import below, errors_in_contract_spelling
from services.policy.ports import NO_GROUPS
from services.policy.usecases.means import Means


def problems_of(means: Means, draft: Draft[Content], known: Known) -> Iterator[Problem]:
    """Find everything that is wrong with a draft of a new object."""
    yield from check_draft(draft, known)
    yield from errors_of(means, draft)


def errors_of(means: Means, draft: Draft[Content], groups: Mapping[str, Group] = NO_GROUPS) -> Iterator[Problem]:
    """Find what lint does not let through; of a draft that could not be read it would speak at random.

    `groups` would be there beside those of the directory.
    """
    if not draft.flaws:
        errors = means.linting.errors(draft.content, groups)
        yield from below(draft.place, errors_in_contract_spelling(draft.kind, errors))


def problems_of_assignments(
    means: Means, new: NewAssignments, existing: Stored[Content], known: Known
) -> Iterator[Problem]:
    """Find everything that is wrong with new assignments of a policy; what else it says was checked when it was written."""
    yield from check_assignments(new, existing, known)
    if not new.flaws and new.assignments != Assignments():
        content = with_assignments(existing.content, new.assignments)
        for problem in errors_in_contract_spelling(type(content), means.linting.errors(content)):
            if problem.field.startswith("assignments"):
                yield problem
