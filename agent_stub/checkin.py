"""Tell the device service now and then that the device is alive."""

from collections.abc import Callable
from datetime import datetime

from agent_stub.links import End, Link
from epm.device.v1 import agent_pb2, agent_pb2_grpc

DEADLINE_SECONDS = 10.0
USUAL_SECONDS = 300.0
SHORTEST_SECONDS = 5.0


class CheckIn:
    """The device's side of `CheckIn`: each session is one call."""

    def __init__(
        self,
        stub: "agent_pb2_grpc.DeviceAgentServiceAsyncStub",
        device_id: str,
        facts: Callable[[], agent_pb2.DeviceFacts],
        now: Callable[[], datetime],
    ) -> None:
        self._stub = stub
        self._device_id = device_id
        self._facts = facts
        self._now = now

    async def session(self, link: Link) -> End:
        """Call once, and come back when the server says."""
        request = agent_pb2.CheckInRequest(device_id=self._device_id, facts=self._facts())
        response = await self._stub.CheckIn(request, timeout=DEADLINE_SECONDS)
        if not link.connected:
            link.answered()
        link.last_answer = self._now()
        wait = response.next_check_in.ToTimedelta().total_seconds() if response.HasField("next_check_in") else 0.0
        return End("checked in", max(wait or USUAL_SECONDS, SHORTEST_SECONDS), still_connected=True)
