"""Questions about policies for administrators: decode, call one use case, encode."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, TypeAlias

import grpc.aio

from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc
from services._chassis.caller import current_permit
from services.policy.codec import analysis, previews, proposals
from services.policy.codec.linting import lint_to_proto, lint_wanted_from_proto
from services.policy.usecases.analysis.drafted import Drafting
from services.policy.usecases.analysis.lint import lint
from services.policy.usecases.analysis.lint_desk import LintDesk
from services.policy.usecases.analysis.preview import preview_assignments
from services.policy.usecases.analysis.proposal import propose_rule
from services.policy.usecases.analysis.reach import effective_policy
from services.policy.usecases.analysis.simulation import Simulation

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

    async def Lint(
        self, request: analysis_pb2.LintRequest, _context: Context
    ) -> AsyncIterator[analysis_pb2.LintResponse]:
        """Stream what lint finds."""
        wanted = lint_wanted_from_proto(request)
        found = await lint(self._drafting, self._linting, wanted, permit=current_permit(), now=self._now())
        for part in lint_to_proto(found):
            yield part

    async def Simulate(self, request: analysis_pb2.SimulateRequest, _context: Context) -> analysis_pb2.SimulateResponse:
        """Decide an attempt as the agent of a device would."""
        wanted = analysis.simulation_from_proto(request)
        found = await self._simulation.simulate(wanted, permit=current_permit(), now=self._now())
        return analysis.simulated_to_proto(found)

    async def GetEffectivePolicy(
        self, request: analysis_pb2.GetEffectivePolicyRequest, _context: Context
    ) -> analysis_pb2.GetEffectivePolicyResponse:
        """Return what applies to somebody, and why."""
        wanted = analysis.reach_wanted_from_proto(request)
        found = await effective_policy(self._drafting, wanted, permit=current_permit(), now=self._now())
        return analysis.effective_policy_to_proto(found)

    async def PreviewAssignments(
        self, request: analysis_pb2.PreviewAssignmentsRequest, _context: Context
    ) -> analysis_pb2.PreviewAssignmentsResponse:
        """Tell who would gain and lose what."""
        wanted = previews.preview_wanted_from_proto(request)
        found = await preview_assignments(self._drafting, wanted, permit=current_permit(), now=self._now())
        return previews.preview_to_proto(found)

    async def ProposeRule(
        self, request: analysis_pb2.ProposeRuleRequest, _context: Context
    ) -> analysis_pb2.ProposeRuleResponse:
        """Propose a rule for a file that was seen."""
        wanted = proposals.proposal_wanted_from_proto(request)
        found = await propose_rule(self._drafting, self._linting, wanted, permit=current_permit(), now=self._now())
        return proposals.proposed_to_proto(found)
