"""Questions about policies for administrators: decode, call one use case, encode."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeAlias

import grpc.aio

from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc
from services._chassis.caller import current_caller, current_permit
from services._chassis.permits import Permit
from services.policy.codec import analysis, previews, proposals
from services.policy.codec.beside import read_beside
from services.policy.codec.linting import lint_to_proto, lint_wanted_from_proto
from services.policy.usecases.analysis.drafted import Drafting
from services.policy.usecases.analysis.lint import lint
from services.policy.usecases.analysis.lint_desk import LintDesk
from services.policy.usecases.analysis.preview import preview_assignments
from services.policy.usecases.analysis.proposal import propose_rule
from services.policy.usecases.analysis.reach import effective_policy
from services.policy.usecases.analysis.simulation import Simulation
from services.policy.usecases.analysis.turns import Turns

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class AnalysisServicer(analysis_pb2_grpc.AnalysisServiceServicer):
    """Answer `epm.policy.v1.AnalysisService`."""

    def __init__(
        self, drafting: Drafting, linting: LintDesk, simulation: Simulation, *, now: Callable[[], datetime]
    ) -> None:
        self._drafting = drafting
        self._linting = linting
        self._simulation = simulation
        self._now = now
        self._turns = Turns()

    async def Lint(
        self, request: analysis_pb2.LintRequest, _context: Context
    ) -> AsyncIterator[analysis_pb2.LintResponse]:
        """Stream what lint finds."""
        with self._turn() as permit:
            wanted = await read_beside(lint_wanted_from_proto, request)
            found = await lint(self._drafting, self._linting, wanted, permit=permit, now=self._now())
        for part in lint_to_proto(found):
            yield part

    async def Simulate(self, request: analysis_pb2.SimulateRequest, _context: Context) -> analysis_pb2.SimulateResponse:
        """Decide an attempt as the agent of a device would."""
        with self._turn() as permit:
            wanted = await read_beside(analysis.simulation_from_proto, request)
            found = await self._simulation.simulate(wanted, permit=permit, now=self._now())
        return analysis.simulated_to_proto(found)

    async def GetEffectivePolicy(
        self, request: analysis_pb2.GetEffectivePolicyRequest, _context: Context
    ) -> analysis_pb2.GetEffectivePolicyResponse:
        """Return what applies to somebody, and why."""
        with self._turn() as permit:
            wanted = await read_beside(analysis.reach_wanted_from_proto, request)
            found = await effective_policy(self._drafting, wanted, permit=permit, now=self._now())
        return analysis.effective_policy_to_proto(found)

    async def PreviewAssignments(
        self, request: analysis_pb2.PreviewAssignmentsRequest, _context: Context
    ) -> analysis_pb2.PreviewAssignmentsResponse:
        """Tell who would gain and lose what."""
        with self._turn() as permit:
            wanted = await read_beside(previews.preview_wanted_from_proto, request)
            found = await preview_assignments(self._drafting, wanted, permit=permit, now=self._now())
        return previews.preview_to_proto(found)

    async def ProposeRule(
        self, request: analysis_pb2.ProposeRuleRequest, _context: Context
    ) -> analysis_pb2.ProposeRuleResponse:
        """Propose a rule for a file that was seen."""
        with self._turn() as permit:
            wanted = await read_beside(proposals.proposal_wanted_from_proto, request)
            found = await propose_rule(self._drafting, self._linting, wanted, permit=permit, now=self._now())
        return proposals.proposed_to_proto(found)

    @contextmanager
    def _turn(self) -> Iterator[Permit]:
        """Give what the caller of the running call may see, for as long as their turn lasts."""
        with self._turns.taken(current_caller().principal):
            yield current_permit()
