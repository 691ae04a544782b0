"""Questions about policies for administrators: decode, call one use case, encode."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc.aio

from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc
from services._chassis.errors import StateError

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class AnalysisServicer(analysis_pb2_grpc.AnalysisServiceServicer):
    """Answer `epm.policy.v1.AnalysisService`."""

    def Lint(self, _request: analysis_pb2.LintRequest, _context: Context) -> AsyncIterator[analysis_pb2.LintResponse]:
        """Stream what lint finds."""
        raise _unanswered("Lint")

    async def Simulate(
        self, _request: analysis_pb2.SimulateRequest, _context: Context
    ) -> analysis_pb2.SimulateResponse:
        """Decide an attempt as the agent of a device would."""
        raise _unanswered("Simulate")

    async def GetEffectivePolicy(
        self, _request: analysis_pb2.GetEffectivePolicyRequest, _context: Context
    ) -> analysis_pb2.GetEffectivePolicyResponse:
        """Return what applies to somebody, and why."""
        raise _unanswered("GetEffectivePolicy")

    async def PreviewAssignments(
        self, _request: analysis_pb2.PreviewAssignmentsRequest, _context: Context
    ) -> analysis_pb2.PreviewAssignmentsResponse:
        """Tell who would gain and lose what."""
        raise _unanswered("PreviewAssignments")

    async def ProposeRule(
        self, _request: analysis_pb2.ProposeRuleRequest, _context: Context
    ) -> analysis_pb2.ProposeRuleResponse:
        """Propose a rule for a file that was seen."""
        raise _unanswered("ProposeRule")


def _unanswered(method: str) -> StateError:
    return StateError(f"this server does not answer {method} yet")
