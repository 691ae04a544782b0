"""Have the client component on the device while it is provisioned, and no longer (D1).

The component is what users reach: the control socket, and behind it the broker and the launcher. A settings policy brings
it, even one that turns EPM off. Without any it stays until the time that the document names, also while the device is away
from its server, and a policy that returns in time keeps it.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from agent_stub.files import StateError
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.ports import Delays
from agent_stub.waits import pause_until

log = structlog.get_logger()

LOOK_EVERY = timedelta(minutes=1)
"""The wall clock may be set, so a removal that is days away is not slept through."""


class Place(Protocol):
    """Where the component stands."""

    def bring(self) -> AbstractAsyncContextManager[None]:
        """Make it stand for as long as the context is open; raise StateError where it cannot be brought or removed."""
        ...

    def clear(self) -> None:
        """Remove what is left of it; raise StateError where that fails."""
        ...


class Component:
    """The component of one device. `moved` is called whenever it came or went."""

    def __init__(
        self,
        keeper: PolicyKeeper,
        place: Place,
        *,
        now: Callable[[], datetime],
        delays: Delays,
        moved: Callable[[], None],
    ) -> None:
        self._keeper = keeper
        self._place = place
        self._now = now
        self._delays = delays
        self._moved = moved
        self._changed = asyncio.Event()
        self.looked = asyncio.Event()
        """Set once it was decided for the first time whether it stands."""
        self.stands = False
        """Also where it could not be removed: then it still counts as there."""
        self.problem = ""
        """Why it does not stand though it should, or does though it should not; empty where all is well."""

    def policy_changed(self) -> None:
        """Look again now whether the component is to stand."""
        self._changed.set()

    async def keep(self) -> None:
        """Bring and remove the component as the policy says, until cancelled."""
        while True:
            try:
                await self._once()
            except StateError as error:
                self.problem = str(error)
                event = "component_not_removed" if self.stands else "component_not_provisioned"
                log.warning(event, problem=self.problem)
            except Exception:  # without the component the agent still gets policy; the log has the traceback
                log.exception("component_broken")
                self.problem = "internal error of the agent; its log says more"
            if _is_cancelled():  # what failed was the removal at the agent's end
                return
            await self._next_look()

    async def _once(self) -> None:
        if self._is_due():
            async with self._place.bring():
                self._note(stands=True)
                while self._is_due():
                    await self._next_look()
            self._note(stands=False)
        elif self.stands:
            self._place.clear()
            self._note(stands=False)
        else:
            self.problem = ""

    def _note(self, *, stands: bool) -> None:
        self.problem = ""
        if stands != self.stands:
            self.stands = stands
            log.info("component_provisioned" if stands else "component_removed")
            self._moved()

    def _is_due(self) -> bool:
        self._changed.clear()
        held = self._keeper.held
        return held is not None and held.policy.keeps_component(self._now())

    async def _next_look(self) -> None:
        """Wait for another policy, for the time of the removal, or for the next look at the clock."""
        self.looked.set()
        await pause_until(self._changed, self._delays, self._seconds_to_look())

    def _seconds_to_look(self) -> float:
        held = self._keeper.held
        removal = held.policy.deprovision_time if held is not None else None
        left = removal - self._now() if removal is not None else LOOK_EVERY
        return min(left, LOOK_EVERY).total_seconds() if left > timedelta(0) else LOOK_EVERY.total_seconds()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
