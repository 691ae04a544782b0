"""Tell the device service now and then, and whenever the component comes or goes, how the device is."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from agent_stub.links import End, Link
from epm.device.v1 import agent_pb2

DEADLINE_SECONDS = 10.0
USUAL_SECONDS = 300.0

Call = Callable[[agent_pb2.CheckInRequest], Awaitable[agent_pb2.CheckInResponse]]


class CheckIn:
    """The device's side of `CheckIn`: each session is one call, which `request` says what to say in."""

    def __init__(
        self, call: Call, request: Callable[[], agent_pb2.CheckInRequest], now: Callable[[], datetime]
    ) -> None:
        self._call = call
        self._request = request
        self._now = now

    async def session(self, link: Link) -> End:
        """Call once, and come back when the server says."""
        response = await self._call(self._request())
        if not link.connected:
            link.answered()
        link.last_answer = self._now()
        wait = response.next_check_in.ToTimedelta().total_seconds() if response.HasField("next_check_in") else 0.0
        return End("checked in", wait if wait > 0 else USUAL_SECONDS, still_connected=True)
