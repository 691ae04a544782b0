"""One linter for the process: lints in turn, beside everything else, and goes on whatever happened to one."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from elevation.lint.findings import Estate, Finding
from elevation.model import RulesPolicy
from services._chassis.errors import LimitError
from services.policy.model.edits import Touched
from services.policy.model.findings import subject_of
from services.policy.model.objects import Corpus
from services.policy.usecases.analysis.lint_desk import LONGEST, LintDesk
from tests.builders.linted import sound, tools
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.policy_delivery import FakeDirectories, corpus


def desk_of(*policies: RulesPolicy) -> LintDesk:
    async def newest() -> Corpus:
        return corpus(*policies)

    return LintDesk(newest, FakeDirectories(), now=lambda: NOW, monotonic=lambda: 0.0)


async def none_authored() -> Corpus:
    return corpus()


WEAK = tools("weak", sound("weak", file_path=""), to=("all-devices",))


async def test_who_gives_up_waiting_leaves_the_linter_to_its_work_and_the_next_waits_for_it() -> None:
    desk, reached, gate = desk_of(), threading.Event(), threading.Event()

    class Held(tuple[RulesPolicy, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[RulesPolicy]:
            reached.set()
            assert gate.wait(10)
            return super().__iter__()

    left = asyncio.ensure_future(desk.lint(Estate(rules_policies=Held((WEAK,)))))
    await asyncio.to_thread(reached.wait, 10)
    left.cancel()
    following = asyncio.ensure_future(desk.lint(Estate(rules_policies=(WEAK,))))
    await asyncio.wait({left})
    assert not following.done()
    gate.set()
    assert [finding.check for finding in await following] == ["L26", "L7"]
    await desk.close()


async def test_a_lint_that_fails_leaves_nothing_behind() -> None:
    desk = desk_of(WEAK)
    broken = replace(WEAK, rules=(None,))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        await desk.lint(Estate(rules_policies=(WEAK, broken)))
    assert [finding.check for finding in await desk.lint(Estate(rules_policies=(WEAK,)))] == ["L26", "L7"]
    await desk.close()


async def test_objects_that_nobody_may_read_are_named_to_those_who_write_them() -> None:
    desk = desk_of(WEAK)
    found: list[Finding] = [*await desk.findings(Touched(subjects=frozenset({subject_of(WEAK)}), permit=None))]
    assert [(finding.check, finding.subject.name) for finding in found] == [("L26", "weak"), ("L7", "weak")]
    await desk.close()


async def test_nobody_waits_for_lint_without_end_and_the_next_is_answered() -> None:
    clock = FakeClock()

    class Slow(tuple[RulesPolicy, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[RulesPolicy]:
            clock.advance(timedelta(seconds=LONGEST + 1))
            return super().__iter__()

    desk = LintDesk(none_authored, FakeDirectories(), now=lambda: NOW, monotonic=clock.monotonic)
    with pytest.raises(LimitError, match="too many to compare") as refused:
        await desk.lint(Estate(rules_policies=Slow((WEAK,))))
    assert refused.value.reason == "LINT_TOO_LONG"
    assert [finding.check for finding in await desk.lint(Estate(rules_policies=(WEAK,)))] == ["L26", "L7"]
    await desk.close()


async def test_who_has_waited_too_long_for_others_is_told_so() -> None:
    clock, reached, gate = FakeClock(), threading.Event(), threading.Event()

    class Held(tuple[RulesPolicy, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[RulesPolicy]:
            reached.set()
            assert gate.wait(10)
            return super().__iter__()

    desk = LintDesk(none_authored, FakeDirectories(), now=lambda: NOW, monotonic=clock.monotonic)
    first = asyncio.ensure_future(desk.lint(Estate(rules_policies=Held((WEAK,)))))
    await asyncio.to_thread(reached.wait, 10)
    following = asyncio.ensure_future(desk.lint(Estate(rules_policies=(WEAK,))))
    await asyncio.sleep(0)
    clock.advance(timedelta(seconds=LONGEST + 1))
    gate.set()
    refused = await asyncio.gather(first, following, return_exceptions=True)
    assert [str(error).partition(";")[0] for error in refused] == [
        "lint took longer than 10 s: rules, patterns or filters are too many to compare",
        "lint took longer than 10 s: others came first",
    ]
    await desk.close()
