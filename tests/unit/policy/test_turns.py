"""Few questions of one caller are worked on at once, and not many in all."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.policy.v1 import analysis_pb2, policies_pb2
from services._chassis.errors import LimitError
from services.policy.usecases.analysis.turns import OF_ONE_CALLER, Turns
from tests.builders.analysis import Questions, questions, simulate_request
from tests.builders.elevation import attempt, evidence
from tests.builders.refusals import refusal_of
from tests.builders.rollouts import World
from tests.fakes.policy_delivery import FakeDirectories, device, settings, stored


def test_a_caller_has_so_many_turns_and_gets_them_back() -> None:
    turns = Turns(of_one=1, of_all=9)
    with turns.taken("emil"):
        with pytest.raises(LimitError, match="1 questions of yours") as refused, turns.taken("emil"):
            pass
        with turns.taken("lea"):
            pass
    with turns.taken("emil"):
        pass
    assert (refused.value.reason, refused.value.retry_after) == ("TOO_MANY_QUESTIONS", timedelta(seconds=1))


def test_all_together_have_so_many_turns_and_failing_gives_them_back() -> None:
    turns = Turns(of_one=9, of_all=2)
    with turns.taken("emil"), turns.taken("lea"), pytest.raises(LimitError, match="2 questions about"):
        turns.taken("max").__enter__()
    with pytest.raises(ZeroDivisionError), turns.taken("max"):
        raise ZeroDivisionError
    with turns.taken("emil"), turns.taken("lea"):
        pass


ATTEMPT = simulate_request(attempt(evidence()), "d1")
REQUESTS = {
    "Simulate": ATTEMPT,
    "GetEffectivePolicy": analysis_pb2.GetEffectivePolicyRequest(device="d1"),
    "PreviewAssignments": analysis_pb2.PreviewAssignmentsRequest(),
    "ProposeRule": analysis_pb2.ProposeRuleRequest(
        file=event_pb2.FileFacts(path="/opt/tool", sha256="a" * 64), platform=rules_pb2.PLATFORM_LINUX
    ),
}


class Held(World):
    """A world that nobody has caught up with until the gate opens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gate, self.waiting = asyncio.Event(), asyncio.Semaphore(0)

    async def caught_up(self, revision: int) -> None:
        self.waiting.release()
        await self.gate.wait()
        await super().caught_up(revision)


@pytest.mark.parametrize("rpc", REQUESTS)
async def test_who_asks_too_much_at_once_is_told_to_wait_and_nobody_else_is(tmp_path: Path, rpc: str) -> None:
    world = Held(FakeDirectories(device("d1")))
    world.author(stored(settings()))
    asked = Questions(world)
    asked.hire("emil")
    async with questions(tmp_path, asked):
        busy = [asyncio.ensure_future(asked.send(rpc, REQUESTS[rpc])) for _ in range(OF_ONE_CALLER)]
        for _ in busy:
            await world.waiting.acquire()
        refused = await refusal_of(asked.send(rpc, REQUESTS[rpc]))
        other = asyncio.ensure_future(asked.call("PreviewAssignments", by="emil"))
        await world.waiting.acquire()
        world.gate.set()
        await asyncio.gather(*busy, other)
        await asked.call("PreviewAssignments")
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_QUESTIONS")
    assert refused.retry_after == timedelta(seconds=1)


async def test_a_draft_of_too_many_objects_is_refused_before_any_is_looked_at(tmp_path: Path) -> None:
    named = policies_pb2.ObjectRef(kind="ReusableCertificate", name="c")
    draft = analysis_pb2.Draft(deletions=[named] * 10_001)
    async with questions(tmp_path) as asked:
        refused = await asked.refused("PreviewAssignments", draft=draft)
    assert refused.problems == {"draft": "holds 10001 objects; at most 10000 are allowed in one draft"}
