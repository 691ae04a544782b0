"""Say all that is wrong with a draft at once, lint's errors among it."""

from collections.abc import Iterator, Mapping

from elevation.model import Assignments, Group
from services._chassis.errors import Problem
from services.policy.model.drafts import Draft, Known, NewAssignments, check_assignments, check_draft
from services.policy.model.objects import Content, Stored, with_assignments
from services.policy.model.spelling import below, errors_in_contract_spelling, without_echoes
from services.policy.ports import NO_GROUPS
from services.policy.usecases.means import Means

_PERMISSIVE = ("elevation_type", "default_response")
"""Fields that decide whether a policy allows anything."""


def problems_of(means: Means, draft: Draft[Content], known: Known) -> Iterator[Problem]:
    """Find everything that is wrong with a draft of a new object."""
    yield from check_draft(draft, known)
    yield from errors_of(means, draft)


def errors_of(means: Means, draft: Draft[Content], groups: Mapping[str, Group] = NO_GROUPS) -> Iterator[Problem]:
    """Find what lint does not let through, in what could be read of the draft.

    `groups` would be there beside those of the directory. Whether a policy allows anything is not known where a word
    that decides it could not be read: then nothing is said of its assignments.
    """
    errors = errors_in_contract_spelling(draft.kind, means.linting.errors(draft.content, groups))
    if any(flaw.field.endswith(_PERMISSIVE) for flaw in draft.flaws):
        errors = (error for error in errors if not error.field.startswith("assignments"))
    yield from below(draft.place, without_echoes(errors, draft.flaws))


def problems_of_assignments(
    means: Means, new: NewAssignments, existing: Stored[Content], known: Known
) -> Iterator[Problem]:
    """Find everything that is wrong with new assignments of a policy; what else it says was checked when it was written."""
    yield from check_assignments(new, existing, known)
    if new.assignments != Assignments():
        content = with_assignments(existing.content, new.assignments)
        errors = errors_in_contract_spelling(type(content), means.linting.errors(content))
        for problem in without_echoes(errors, new.flaws):
            if problem.field.startswith("assignments"):
                yield problem
