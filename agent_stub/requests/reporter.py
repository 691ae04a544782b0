"""Tell the server what grants were used for, until it has taken every use in."""

import asyncio
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from agent_stub.links import End, Link
from agent_stub.requests.calls import RequestServer
from agent_stub.requests.ledger import GrantLedger
from agent_stub.requests.model import Use
from epm.policy.v1 import requests_pb2

MOST_AT_ONCE = 100
REPORTED = End("uses of grants were reported", 0.0, still_connected=True)


class UseReporter:
    """The device's side of `ReportGrantUses`: each session waits for uses, and is one call."""

    def __init__(self, server: RequestServer, ledger: GrantLedger) -> None:
        self._server = server
        self._ledger = ledger
        self._wake = asyncio.Event()
        ledger.on_use(self._wake.set)

    async def session(self, link: Link) -> End:
        """Report the oldest uses as soon as there are any."""
        while not self._ledger.waiting:
            self._wake.clear()
            await self._wake.wait()
        uses = self._ledger.waiting[:MOST_AT_ONCE]
        await self._server.report(_message(uses))
        if not link.connected:
            link.answered()
        self._ledger.taken_in(use.attempt_id for use in uses)
        return REPORTED


def _message(uses: Sequence[Use]) -> requests_pb2.ReportGrantUsesRequest:
    return requests_pb2.ReportGrantUsesRequest(
        uses=[requests_pb2.GrantUse(grant_id=use.grant_id, attempt_id=use.attempt_id, used=_time(use)) for use in uses]
    )


def _time(use: Use) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(use.used)
    return found
