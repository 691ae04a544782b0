"""What the agent needs of its surroundings. Adapters implement these; tests bring fakes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from agent_stub.inspection.inspector import Inspection
from agent_stub.inspection.opened import OpenedFile
from agent_stub.model import Moment, Origin, Peer, Question, Stated, Subject
from elevation.model import Platform


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> Moment:
        """Give the present moment."""
        ...


class Delays(Protocol):
    """Waits between two tries."""

    async def pause(self, seconds: float) -> None:
        """Wait that long."""
        ...

    def jitter(self, most: float) -> float:
        """Draw a number of seconds between 0 and the given one."""
        ...


class Inspector(Protocol):
    """Finds out what is known of a file."""

    async def inspect(self, file: OpenedFile, platform: Platform, now: datetime) -> Inspection:
        """Give the evidence; raise EvidenceError where there is none."""
        ...


class Identities(Protocol):
    """Tells who asks."""

    def origin(self, peer: Peer, stated: Stated) -> Origin:
        """Name user, platform and trigger of an attempt; raise RefusedError for statements that are not believed."""
        ...

    def judged_path(self, path: str, platform: Platform) -> str:
        """Give the path by which a file is judged on a platform."""
        ...


class Prompter(Protocol):
    """Asks the user. All methods return None where the user does not answer or gives up."""

    async def confirm(self, question: Question) -> bool | None:
        """Ask whether the elevation is wanted."""
        ...

    async def justification(self, problem: str) -> str | None:
        """Ask for a reason; `problem` says what was wrong with the last one, or is empty."""
        ...

    async def approval(self, question: Question) -> bool | None:
        """Ask whether the support is to be asked."""
        ...


class Launcher(Protocol):
    """Starts programs with elevated rights."""

    async def launch(self, file: OpenedFile, arguments: Sequence[str], subject: Subject) -> "Launched":
        """Start the program; raise OSError where that fails."""
        ...


class Launched(Protocol):
    """What came of a launch."""

    @property
    def message(self) -> str:
        """Say in one sentence what was done."""
        ...

    @property
    def exit_code(self) -> int | None:
        """Give the exit code; None if nothing ran."""
        ...


class OwnRequests(Protocol):
    """What users may see and do of their own elevation requests. Requests are shown as plain values."""

    def listed(self, user: str) -> list[dict[str, object]]:
        """Show all of a user's."""
        ...

    def news(self, user: str) -> list[dict[str, object]]:
        """Show those whose state the user was not shown yet."""
        ...

    def shown(self, user: str, requests: Sequence[Mapping[str, object]]) -> None:
        """Note that a user was shown requests as they were then."""
        ...

    async def awaited(self, user: str, request_id: str) -> list[dict[str, object]]:
        """Wait for one to be decided, or without an id for news; raise RefusedError for one that the user does not have."""
        ...

    async def cancel(self, user: str, request_id: str) -> list[dict[str, object]]:
        """Take one back; raise RefusedError where that fails."""
        ...
