"""Enrolment tokens: what lets a new device in.

The text is shown once and kept as a SHA-256 digest. A token lets in until it expires, is revoked or is used up.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from services._chassis.errors import Problem
from services.device.model import texts
from services.device.model.pages import weigh

TOKEN_PREFIX = "epmenr_"  # noqa: S105 - marks tokens for people and for scanners of leaked secrets
DEFAULT_LIFETIME = timedelta(days=7)
LARGEST_QUOTA = 100_000
MOST_GROUPS = 100


class Refusal(enum.Enum):
    """Say why a token lets nobody in, and what to do."""

    UNKNOWN = "is not known here; check that it is whole, or ask for a new one"
    REVOKED = "was revoked; ask for a new one"
    EXPIRED = "has expired; ask for a new one"
    USED_UP = "is used up; ask for a new one"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDraft:
    """Describe a token that an administrator asks for; `expires` None means the default lifetime."""

    description: str = ""
    quota: int = 1
    expires: datetime | None = None
    users: tuple[str, ...] = ()
    allow_reported_users: bool = False
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    scope_tags: tuple[str, ...] = ()
    device_id: str = ""
    device_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentToken:
    """Hold the record of one token; its text is nowhere."""

    token_id: str
    digest: bytes
    quota: int
    expires: datetime
    created: datetime
    description: str = ""
    used: int = 0
    users: tuple[str, ...] = ()
    allow_reported_users: bool = False
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    scope_tags: tuple[str, ...] = ()
    device_id: str = ""
    device_names: tuple[str, ...] = ()
    revoked: datetime | None = None

    def refusal(self, now: datetime) -> Refusal | None:
        """Say why the token does not count any more; None if it does, used up or not."""
        if self.revoked is not None:
            return Refusal.REVOKED
        return Refusal.EXPIRED if now >= self.expires else None

    @property
    def used_up(self) -> bool:
        """Tell whether as many devices as allowed have enrolled."""
        return self.used >= self.quota

    @property
    def weight(self) -> int:
        """Return about how many bytes the token takes in a message."""
        return weigh((self.description,), self.users, self.groups, self.tags, self.scope_tags)

    def shown(self) -> dict[str, object]:
        """Return the token as an audit record keeps it."""
        return {
            "description": self.description,
            "quota": self.quota,
            "expires": self.expires.isoformat(),
            "users": list(self.users),
            "allow_reported_users": self.allow_reported_users,
            "groups": list(self.groups),
            "tags": list(self.tags),
            "scope_tags": list(self.scope_tags),
            "revoked": self.revoked.isoformat() if self.revoked else "",
        }


def check_draft(draft: TokenDraft, now: datetime) -> Iterator[Problem]:
    """Find everything that is wrong with a token that is asked for."""
    at = "enrolment_token"
    yield from texts.check_text(f"{at}.description", draft.description, texts.LONGEST_NOTE)
    if not 1 <= draft.quota <= LARGEST_QUOTA:
        yield Problem(f"{at}.quota", f"must be from 1 to {LARGEST_QUOTA}; say how many devices may enrol")
    if draft.expires is not None and draft.expires <= now:
        yield Problem(f"{at}.expires", "must be in the future; leave it out for seven days")
    yield from texts.check_names(f"{at}.users", draft.users, most=texts.MOST_USERS)
    yield from texts.check_names(f"{at}.groups", draft.groups, most=MOST_GROUPS)
    yield from texts.check_names(f"{at}.tags", draft.tags, most=texts.MOST_TAGS)
    yield from texts.check_names(f"{at}.scope_tags", draft.scope_tags, most=texts.MOST_SCOPE_TAGS)
