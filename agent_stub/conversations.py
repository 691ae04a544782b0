"""Hold the conversations of one device with its servers: check-in, policy, events, and the renewal of its certificate."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from agent_stub.links import Channels, Link, Session, keep
from agent_stub.ports import Delays
from agent_stub.renewal import Certificates, Renewal


@dataclass(slots=True)
class Links:
    """The conversations, as `epm-agent status` shows them."""

    policy: Link = field(default_factory=lambda: Link("policy"))
    events: Link = field(default_factory=lambda: Link("events"))
    check_in: Link = field(default_factory=lambda: Link("check-in"))

    def __post_init__(self) -> None:
        """Have the policy service asked soon where another refuses the device: its word ends what the device may do."""
        self.events.on_refused = self.check_in.on_refused = self.policy.hurry

    def shown(self) -> dict[str, object]:
        """Show all by their names."""
        return {link.name: link.shown() for link in (self.policy, self.events, self.check_in)}


@dataclass(frozen=True, slots=True)
class Conversations:
    """All that is said to the servers. `streams` opens the sessions of a set of connections."""

    links: Links
    certificates: Certificates
    renewal: Renewal
    check_in: Session
    streams: Callable[[Channels], Mapping[str, Session]]
    delays: Delays

    async def hold(self) -> None:
        """Converse until cancelled. A candidate of a renewal is tried before any stream is opened by what it renews."""
        try:
            async with running(keep(self.links.check_in, self.check_in, self.delays), self.renewal.keep()):
                await self.certificates.tried.wait()
                while True:
                    await self._stream()
        finally:
            await self.certificates.close()

    async def _stream(self) -> None:
        """Hold the streams until the device speaks by another certificate."""
        self.certificates.promoted.clear()
        channels = self.certificates.channels
        sessions = self.streams(channels)
        links = (self.links.policy, self.links.events)
        async with running(*(keep(link, sessions[link.name], self.delays) for link in links)):
            await self.certificates.promoted.wait()
        await channels.close()


@asynccontextmanager
async def running(*duties: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Do the duties beside the block, and stop them at its end."""
    tasks = [asyncio.create_task(duty) for duty in duties]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
