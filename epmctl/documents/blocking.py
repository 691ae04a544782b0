"""Find what lint lets no server accept in documents that have other flaws, so that all of it is told at once.

Of documents without other flaws the server tells it, which knows the groups that are not among them.
"""

from collections.abc import Iterable, Iterator

from elevation.lint.blocking import find_blocking
from elevation.model import Group, ReusableCertificate, RulesPolicy, SettingsPolicy
from epmctl.documents.model import Draft
from epmctl.documents.places import line_of
from epmctl.errors import Flaw


def find_refused_by_lint(drafts: Iterable[Draft]) -> Iterator[Flaw]:
    """Give lint's errors that no save accepts, of those documents that could be read."""
    read = [(draft, draft.spec) for draft in drafts]
    groups = {spec.name: spec for _, spec in read if isinstance(spec, Group)}
    for draft, spec in read:
        if not isinstance(spec, SettingsPolicy | RulesPolicy | ReusableCertificate):
            continue
        for finding in find_blocking(spec, groups):
            key = f"spec.{finding.path}"
            yield Flaw(draft.file, line_of(draft.node, key), key, f"{finding.message} ({finding.check})")
