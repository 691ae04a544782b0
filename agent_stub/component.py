"""Have the client component on the device while it is provisioned, and no longer (D1).

The component is what users reach: the control socket, and behind it the broker and the launcher. A settings policy brings
it, even one that turns EPM off. Without any it stays until the time that the document names, also while the device is away
from its server, and a policy that returns in time keeps it.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

import structlog

from agent_stub.files import StateError
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.ports import Delays

log = structlog.get_logger()

LOOK_EVERY = timedelta(minutes=1)
"""The wall clock may be set, so a removal that is days away is not slept through."""


class Component:
    """The component of one device. `bring` makes it stand for as long as its context is open."""

    def __init__(
        self,
        keeper: PolicyKeeper,
        bring: Callable[[], AbstractAsyncContextManager[None]],
        now: Callable[[], datetime],
        delays: Delays,
    ) -> None:
        self._keeper = keeper
        self._bring = bring
        self._now = now
        self._delays = delays
        self._changed = asyncio.Event()
        self.stands = False
        self.problem = ""
        """Why it does not stand though it should; empty where it does or should not."""

    def policy_changed(self) -> None:
        """Look again now whether the component is to stand."""
        self._changed.set()

    async def keep(self) -> None:
        """Bring and remove the component as the policy says, until cancelled."""
        while True:
            try:
                if self._is_due():
                    await self._stand()
            except Exception:  # without the component the agent still gets policy; the log has the traceback
                log.exception("component_broken")
                self.problem = "internal error of the agent; its log says more"
            await self._next_look()

    async def _stand(self) -> None:
        try:
            async with self._bring():
                self.stands, self.problem = True, ""
                log.info("component_provisioned")
                while self._is_due():
                    await self._next_look()
            log.info("component_removed")
        except StateError as error:
            self.problem = str(error)
            log.warning("component_not_provisioned", problem=self.problem)
        finally:
            self.stands = False

    def _is_due(self) -> bool:
        self._changed.clear()
        held = self._keeper.held
        return held is not None and held.policy.keeps_component(self._now())

    async def _next_look(self) -> None:
        """Wait for another policy, for the time of the removal, or for the next look at the clock."""
        changed = asyncio.create_task(self._changed.wait())
        pause = asyncio.create_task(self._delays.pause(self._seconds_to_look()))
        try:
            await asyncio.wait({changed, pause}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            pause.cancel()
            await asyncio.gather(changed, pause, return_exceptions=True)

    def _seconds_to_look(self) -> float:
        held = self._keeper.held
        removal = held.policy.deprovision_time if held is not None else None
        left = removal - self._now() if removal is not None else LOOK_EVERY
        return min(left, LOOK_EVERY).total_seconds() if left > timedelta(0) else LOOK_EVERY.total_seconds()
