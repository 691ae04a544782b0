"""What a virtual agent tells of its component, and what EPM's state is by its document."""

from collections.abc import Callable
from datetime import UTC, datetime

from agent_stub.checkin import DEADLINE_SECONDS, CheckIn
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.system import facts
from elevation.words import Platform
from epm.device.v1 import agent_pb2, agent_pb2_grpc
from fleet.keepers import LightKeeper

_FOREVER = datetime.max.replace(tzinfo=UTC)


def epm_state_of(keeper: PolicyKeeper, now: datetime) -> str:
    """Name the state of EPM on a device that holds this, as contracts name it."""
    held = keeper.held
    if held is None or not held.policy.keeps_component(now):
        return "NOT_PROVISIONED"
    if not held.policy.keeps_component(_FOREVER):
        return "DEPROVISION_PENDING"
    return "ACTIVE" if held.policy.is_enabled() else "DISABLED"


def component_of(keeper: PolicyKeeper, now: datetime) -> "agent_pb2.ComponentState.ValueType":
    """Say whether the component stands; a light agent, which reads no document, does not tell."""
    if isinstance(keeper, LightKeeper):
        return agent_pb2.COMPONENT_STATE_UNSPECIFIED
    if keeper.held is not None and keeper.held.policy.keeps_component(now):
        return agent_pb2.COMPONENT_STATE_PRESENT
    return agent_pb2.COMPONENT_STATE_ABSENT


def check_in(
    stub: "agent_pb2_grpc.DeviceAgentServiceAsyncStub",
    device_id: str,
    component: "Callable[[], agent_pb2.ComponentState.ValueType]",
    now: Callable[[], datetime],
) -> CheckIn:
    """Check in as agents do."""

    async def call(request: agent_pb2.CheckInRequest) -> agent_pb2.CheckInResponse:
        return await stub.CheckIn(request, timeout=DEADLINE_SECONDS)

    def request() -> agent_pb2.CheckInRequest:
        return agent_pb2.CheckInRequest(device_id=device_id, facts=facts(Platform.LINUX, ()), component=component())

    return CheckIn(call, request, now)
