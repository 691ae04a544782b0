"""Lint what is stored, or would be: one linter for the process, which keeps what it prepared, and works beside the streams."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from elevation.lint.blocking import find_blocking
from elevation.lint.findings import Estate, Finding, Subject, Usage
from elevation.lint.linter import Linter
from elevation.lint.patience import GaveUpError
from elevation.model import Group
from services._chassis.errors import LimitError, UnavailableError
from services._chassis.permits import Permit
from services.policy.model.edits import Touched, with_edits
from services.policy.model.findings import as_seen, estate_of, key_of_subject, usage_for, visible_keys
from services.policy.model.objects import AnyContent, Corpus
from services.policy.ports import NO_GROUPS, Directories

Newest = Callable[[], Awaitable[Corpus]]
"""Returns everything that is authored, as new as anything that was saved before."""
KnownUsage = Callable[[], Usage | None]
"""Returns what rules are used for, at once; None where it is not known."""


LONGEST = 10.0
"""Seconds after which nobody waits for lint any more, its turn to come among them; a large estate takes one or two."""


class LintDesk:
    """Lint one estate after the other, each in its turn."""

    def __init__(
        self,
        newest: Newest,
        directories: Directories,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        usage: KnownUsage = lambda: None,
    ) -> None:
        self._newest = newest
        self._directories = directories
        self._now = now
        self._monotonic = monotonic
        self._usage = usage
        self._linter = Linter()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lint")
        """INVARIANT: the linter works in this thread alone, also while nobody waits for it any more."""

    def errors(self, content: AnyContent, groups: Mapping[str, Group] = NO_GROUPS) -> Sequence[Finding]:
        """Return what no save accepts in the object by itself, and by the groups that it names, some as they would be."""
        return find_blocking(content, {**self._groups(), **groups} if groups else self._groups())

    async def findings(self, touched: Touched) -> Sequence[Finding]:
        """Return what lint finds in which objects that a call was about have part, worst first."""
        corpus = with_edits(await self._newest(), touched.rehearsed)
        known = self._known_groups()
        groups = {**(known or {}), **touched.groups}
        usage = self.usage(touched.permit)
        estate = estate_of(corpus, groups, groups_known=known is not None, usage=usage)
        found = await self.lint(estate, about=touched.subjects)
        own = frozenset(map(key_of_subject, touched.subjects))
        return as_seen(found, own | visible_keys(corpus, touched.permit))

    async def lint(self, estate: Estate, *, about: Collection[Subject] | None = None) -> list[Finding]:
        """Return what lint finds, with `about` that alone in which these have part; a thread does it, one at a time.

        Raises LimitError where that takes too long.
        """
        until = self._monotonic() + LONGEST
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, estate, about, until)

    def usage(self, permit: Permit | None) -> Usage | None:
        """Return what is known of usage and may be told under the permit."""
        return usage_for(self._usage(), permit)

    async def close(self) -> None:
        """Begin nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self, estate: Estate, about: Collection[Subject] | None, until: float) -> list[Finding]:
        if self._monotonic() > until:
            raise _too_long("others came first")
        linter, self._linter = self._linter, Linter()
        try:
            found = linter.lint(estate, now=self._now(), about=about, given_up=lambda: self._monotonic() > until)
        except GaveUpError:
            raise _too_long("rules, patterns or filters are too many to compare") from None
        self._linter = linter  # one that failed half-way is not used again
        return found

    def _groups(self) -> Mapping[str, Group]:
        """Return the groups that there are; none while they are not known, which is not for lint to refuse."""
        return self._known_groups() or {}

    def _known_groups(self) -> Mapping[str, Group] | None:
        try:
            return self._directories.directory().groups
        except UnavailableError:
            return None


def _too_long(why: str) -> LimitError:
    return LimitError(
        f"lint took longer than {LONGEST:.0f} s: {why}; try again, about less at once", reason="LINT_TOO_LONG"
    )
