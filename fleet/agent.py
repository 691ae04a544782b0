"""One virtual agent: `agent_stub`'s policy conversation, kept going and disturbed by the script."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import grpc.aio

from agent_stub.links import CHANNEL_OPTIONS, Link, SessionError, keep
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.policy.manifest import PolicyRefusedError
from agent_stub.policy.stream import PolicyStream
from agent_stub.system import VERSION, SystemDelays
from epm.device.v1 import agent_pb2_grpc as device_grpc
from epm.device.v1.agent_pb2 import COMPONENT_STATE_UNSPECIFIED, ComponentState
from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from fleet.faults import Armed, KilledError
from fleet.invariants import Witness
from fleet.keepers import LightKeeper, Memory, holding_of
from fleet.lifecycle import check_in, component_of, epm_state_of
from fleet.line import Ears, LineStub
from fleet.members import Member
from fleet.model import ORDERS, AgentReport, Fault, FaultKind, Holding, Standing, Tally

SECOND_STREAM_SECONDS = 0.5
"""How long the second of two streams of one agent lives."""

_STOPPED_FOR = frozenset({FaultKind.RESTART, FaultKind.RESTORE})
"""Faults that befall an agent which is not running: a stream of the run before would be measured by what the next one holds."""

_OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.enable_http_proxy", 0),
    # Each agent has a connection of its own, whatever else of this process goes to the same place.
    ("grpc.use_local_subchannel_pool", 1),
)


class FleetDelays(SystemDelays):
    """Waits as agents do, but never longer than a bound."""

    def __init__(self, longest: float, die: random.Random) -> None:
        super().__init__()
        self._longest = longest
        self._die = die

    def jitter(self, most: float) -> float:
        """Draw a number of seconds between 0 and the given one, or the bound."""
        return self._die.uniform(0, min(most, self._longest))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of the world an agent lives by."""

    address: str
    """Where it connects to: its server, or a relay in front of it."""
    delays: FleetDelays
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    check_in: bool = False


class VirtualAgent:
    """One agent of the fleet. `live` runs until it is cancelled; faults come in by `befall`."""

    def __init__(
        self, member: Member, memory: Memory, surroundings: Surroundings, *, armed: Armed, tally: Tally
    ) -> None:
        self.number = member.number
        self.witness = Witness(member.identity.device_name, member.identity.device_id)
        self._member = member
        self._memory = memory
        self._surroundings = surroundings
        self._delays = surroundings.delays
        self._armed = armed
        self._link, self._telling = Link("policy"), Link("check-in")
        self._told: ComponentState.ValueType = COMPONENT_STATE_UNSPECIFIED
        self._shift = timedelta()
        self._clock_set: asyncio.TimerHandle | None = None
        self._orders: asyncio.Queue[Fault] = asyncio.Queue()
        self._ears = Ears(self.witness, tally, armed, lambda: self.holding, self._delays.pause)
        self._keeper = memory.restarted()
        self._boot_id = self._run_id = self._surroundings.new_id()
        self.witness.holds(self.holding)

    @property
    def connected(self) -> bool:
        """Tell whether the stream is open and greeted."""
        return self._link.connected

    @property
    def holding(self) -> Holding:
        """Say what is in force."""
        return holding_of(self._keeper)

    @property
    def standing(self) -> Standing:
        """Say what is to be compared with the server."""
        tells = self._surroundings.check_in and not isinstance(self._keeper, LightKeeper)
        return Standing(self.holding, epm_state_of(self._keeper, self._surroundings.now()) if tells else "")

    def report(self) -> AgentReport:
        """Say how the agent is."""
        identity = self._member.identity
        grade = "light" if isinstance(self._keeper, LightKeeper) else "faithful"
        return AgentReport(
            name=identity.device_name,
            device_id=identity.device_id,
            grade=grade,
            connected=self.connected,
            holding=self.holding,
            problem=self._link.problem,
            faults=self._armed.happened_here,
        )

    def befall(self, fault: Fault) -> None:
        """Let a fault happen: at once, or at the next fitting moment."""
        if fault.kind is FaultKind.CLOCK:
            self._armed.happened(fault.kind)
            self._shift = fault.shift
            loop = asyncio.get_running_loop()
            self._clock_set = loop.call_later(fault.lasts.total_seconds(), self._set_clock)
        elif fault.kind in ORDERS:
            self._orders.put_nowait(fault)
        else:
            self._armed.arm(fault)

    def calm(self) -> None:
        """Forget faults that have not happened, and set the clock right."""
        self._armed.calm()
        self._set_clock()
        while not self._orders.empty():
            self._orders.get_nowait()

    async def live(self) -> None:
        """Hold the stream, for ever."""
        while True:
            async with self._channel() as channel:
                if not self._surroundings.check_in:
                    await self._connect(channel)
                    continue
                telling = asyncio.create_task(self._tell(channel))
                try:
                    await self._connect(channel)
                finally:
                    telling.cancel()
                    await asyncio.wait({telling})

    async def _connect(self, channel: grpc.aio.Channel) -> None:
        """Hold streams over one connection, until something happens to the whole agent."""
        stub = LineStub(channel, self._ears)
        session = asyncio.create_task(keep(self._link, self._stream(stub, self._keeper).session, self._delays))
        order = asyncio.create_task(self._orders.get())
        try:
            await asyncio.wait({session, order}, return_when=asyncio.FIRST_COMPLETED)
            if not _is_killed(session):
                # Where the server has sent the agent away for good, only the script brings it back.
                fault = await order
                if fault.kind in _STOPPED_FOR:
                    session.cancel()
                    await asyncio.wait({session})
                await self._obey(fault, channel)
        finally:
            for task in (session, order):
                task.cancel()
            await asyncio.wait({session, order})
            self._link.connected = False
        if _is_killed(session):
            self._restart()

    async def _tell(self, channel: grpc.aio.Channel) -> None:
        """Check in, for ever: over the connection of the stream, or another where the device service is elsewhere."""
        identity = self._member.identity
        async with AsyncExitStack() as held:
            if identity.device_address != identity.policy_address:
                channel = await held.enter_async_context(self._channel(identity.device_address))
            stub: device_grpc.DeviceAgentServiceAsyncStub = device_grpc.DeviceAgentServiceStub(channel)
            session = check_in(stub, identity.device_id, self._tell_component, self._now).session
            await keep(self._telling, session, self._delays)

    def _tell_component(self) -> "ComponentState.ValueType":
        self._told = component_of(self._keeper, self._now())
        return self._told

    def _policy_changed(self) -> None:
        if component_of(self._keeper, self._now()) != self._told:
            self._telling.hurry()

    async def _obey(self, fault: Fault, channel: grpc.aio.Channel) -> None:
        self._armed.happened(fault.kind)
        match fault.kind:
            case FaultKind.CLONE:
                await self._be_cloned(fault.lasts)
            case FaultKind.OPEN_TWICE:
                await self._open_another(channel)
            case FaultKind.RESTART:
                self._restart()
            case FaultKind.RESTORE:
                if self._memory.rewind():
                    self._restart()
                    self.witness.rewound(self.holding)
            case _:
                pass  # a reconnection is what follows every order

    def _restart(self) -> None:
        """Begin another run of the agent, on what it kept."""
        self._keeper = self._memory.restarted()
        self._run_id = self._surroundings.new_id()

    async def _be_cloned(self, lasts: timedelta) -> None:
        """Let a copy of the device speak for a while, with an identity that is the same and a run of its own."""
        keeper = LightKeeper(self._member.identity).copy_of(self._keeper)
        async with self._channel() as channel:
            stub: agent_pb2_grpc.PolicyStreamServiceAsyncStub = agent_pb2_grpc.PolicyStreamServiceStub(channel)
            stream = self._stream(stub, keeper, run_id=self._surroundings.new_id())
            with suppress(TimeoutError):
                async with asyncio.timeout(lasts.total_seconds()):
                    await keep(Link("clone"), stream.session, self._delays)

    async def _open_another(self, channel: grpc.aio.Channel) -> None:
        """Open a second stream beside the first, and close it."""
        stub: agent_pb2_grpc.PolicyStreamServiceAsyncStub = agent_pb2_grpc.PolicyStreamServiceStub(channel)
        keeper = LightKeeper(self._member.identity).copy_of(self._keeper)
        stream = self._stream(stub, keeper)
        # The last is how gRPC says that the server sent this stream away while it was answering.
        with suppress(TimeoutError, grpc.aio.AioRpcError, SessionError, asyncio.InvalidStateError):
            async with asyncio.timeout(SECOND_STREAM_SECONDS):
                await stream.session(Link("second"))

    def _stream(
        self, stub: "agent_pb2_grpc.PolicyStreamServiceAsyncStub | LineStub", keeper: PolicyKeeper, run_id: str = ""
    ) -> PolicyStream:
        return PolicyStream(
            stub.as_stub() if isinstance(stub, LineStub) else stub,
            keeper,
            lambda: self._hello(run_id or self._run_id),
            delays=self._delays,
            now=self._now,
            changed=self._policy_changed,
            refused=_nothing_refused,
        )

    def _hello(self, run_id: str) -> agent_pb2.Hello:
        device_id = self._member.identity.device_id
        return agent_pb2.Hello(device_id=device_id, agent_version=VERSION, boot_id=self._boot_id, run_id=run_id)

    def _channel(self, address: str = "") -> grpc.aio.Channel:
        own = self._member.credentials
        credentials = grpc.ssl_channel_credentials(
            root_certificates=own.ca, private_key=own.key, certificate_chain=own.certificate
        )
        host = (address or self._member.identity.policy_address).rpartition(":")[0].strip("[]")
        options = (*_OPTIONS, ("grpc.ssl_target_name_override", host))
        return grpc.aio.secure_channel(address or self._surroundings.address, credentials, options=options)

    def _now(self) -> datetime:
        return self._surroundings.now() + self._shift

    def _set_clock(self) -> None:
        self._shift = timedelta()
        if self._clock_set is not None:
            self._clock_set.cancel()


def _is_killed(session: "asyncio.Task[None]") -> bool:
    return session.done() and not session.cancelled() and isinstance(session.exception(), KilledError)


def _nothing_refused(error: PolicyRefusedError) -> None:
    """Need not hear of refusals: the line sees them."""
    del error
