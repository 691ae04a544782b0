"""Every state that an object ever had, as its history keeps it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic

from services.policy.model.objects import Action, Content, Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """Say what one change did to an object, who made it, when and why."""

    change: int
    content_revision: int
    """Revision of the content then; 0 where that was not kept."""
    action: Action
    author: str
    time: datetime
    reason: str = ""
    scope_tags: frozenset[str]
    rolled_back_to: int = 0
    as_code: bool = False


@dataclass(frozen=True, slots=True)
class Past(Generic[Content]):
    """Hold an object as a change left it, or as it was when it was deleted; its etag is empty: it is no state of now."""

    revision: Revision
    stored: Stored[Content]

    @property
    def deleted(self) -> bool:
        """Tell whether the change deleted the object."""
        return self.revision.action is Action.DELETED
